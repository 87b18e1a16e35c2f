//! The way of RTCP: what it tells of streams is noted; it passes where media passes, and ends where media is made here
//! (RFC 3550 section 6, media.md "Relay"). Streams of ours have reports of their own.

use super::port::Port;
use super::relay::{self, Edge, Way};
use super::reports::{self, Identity};
use super::{Bridges, Hop, Packet, Place, Pulse, SINKS_MAX};
use crate::reporter::metrics_of;
use crate::wire::rtcp::{Compound, ReportBlock};
use base::{Duration, Instant, Key, Now};
use command::Verdict;
use command::spec::Rewrite;

impl Edge {
    /// Whether reports pass: they tell of the stream that passes.
    pub(super) fn passes_rtcp(&self) -> bool {
        matches!(self.way, Way::Relay | Way::Law(_) | Way::Silence)
    }
}

impl Edge {
    /// Whether what the sink gets is made here.
    pub(super) fn is_made(&self) -> bool {
        matches!(self.way, Way::Transcode(_) | Way::Heard)
    }
}

impl Port {
    /// How the stream that is relayed to it is changed, since one was made here.
    pub(super) fn spliced(&self) -> Option<Rewrite> {
        self.audio.as_ref()?.out.as_ref()?.spliced()
    }
}

impl Bridges {
    /// Takes from RTCP what it tells of streams, hides names, and fits it to rewritten streams; it ends here where no
    /// stream passes.
    #[cold]
    pub(super) fn pass_rtcp(
        &mut self,
        now: Instant,
        place: Place,
        packet: &mut Packet<'_>,
    ) -> Result<Option<Hop>, Verdict> {
        let Some((_, port)) = self.ports.at(place.port()) else { return Err(Verdict::Idle) };
        if port.sealed {
            return self.fan_out(now, place, true, None, packet);
        }
        let bytes = packet.buffer.get_mut(..packet.len).ok_or(Verdict::Oversize)?;
        let (bridge, is_ended) = (port.bridge, port.ends_rtcp());
        self.hear_reports(now, place.port(), bytes);
        if is_ended {
            return Ok(None);
        }
        if let Some(bridge) = self.bridges.get(bridge) {
            relay::hide_names(&bridge.secret, bytes);
        }
        // Of several sinks each may know the stream by other names: those get copies of their own.
        if let Some((_, port)) = self.ports.at(place.port())
            && port.more_edges.is_empty()
            && let Some(edge) = &port.edge
        {
            let identity = self.identity(place.port(), edge);
            if !identity.is_plain() {
                packet.len = reports::translate(&identity, bytes)?;
            }
        }
        self.fan_out(now, place, true, None, packet)
    }

    pub(super) fn hear_reports(&mut self, now: Instant, place: u32, bytes: &[u8]) {
        let Ok(compound) = Compound::parse(bytes) else { return };
        for part in compound.parts() {
            if let (Some(sender), Some(info)) = (part.sender(), part.sender_info())
                && let Some((_, port)) = self.ports.at_mut(place)
            {
                let tag = port.tag();
                if let Some(stream) = port.streams.find(tag, sender) {
                    stream.on_sender_report(now, &info);
                }
            }
            for mut block in part.blocks() {
                if self.hear_of_ours(now, place, &block) {
                    continue;
                }
                let spliced = self.ports.at(place).and_then(|(_, port)| port.spliced());
                for n in 0..SINKS_MAX {
                    let Some((_, port)) = self.ports.at(place) else { return };
                    let Some(feeder) = port.feeders.get(n).copied() else { break };
                    let Some((_, feeder)) = self.ports.at_mut(feeder) else { continue };
                    let rewrite =
                        feeder.edges().find(|edge| edge.sink == place).and_then(|edge| edge.rewrite);
                    let rewrite = rewrite.or(spliced);
                    if let (Some(rewrite), Some(current)) = (rewrite, feeder.streams.current_ssrc())
                        && rewrite.ssrc == block.ssrc
                    {
                        block.ssrc = current;
                    }
                    let tag = feeder.tag();
                    if let Some(stream) = feeder.streams.find(tag, block.ssrc) {
                        stream.on_report(now, &block);
                        break;
                    }
                }
            }
        }
    }

    /// How RTCP of a port must change on the way by one of its edges.
    pub(super) fn identity(&self, place: u32, edge: &Edge) -> Identity {
        let Some((_, port)) = self.ports.at(place) else { return Identity::default() };
        let spliced = |place: u32| self.ports.at(place).and_then(|(_, sink)| sink.spliced());
        let forward =
            edge.rewrite.or(spliced(edge.sink)).map(|rewrite| (port.streams.current_ssrc(), rewrite));
        let back = self.ports.at(edge.sink).and_then(|(_, sink)| {
            let back = sink.edges().find(|edge| edge.sink == place)?;
            let rewrite = back.rewrite.or(spliced(place))?;
            Some((sink.streams.current_ssrc(), rewrite))
        });
        Identity { forward, back }
    }

    /// Further hops of the packet that [`Bridges::handle_packet`] has just given a hop: the same bytes go there too.
    /// Empty but for ports with several sinks.
    #[inline]
    pub fn more_hops(&self) -> &[Hop] {
        &self.more_hops
    }

    /// A report about a stream that is made here: whether it is.
    fn hear_of_ours(&mut self, now: Instant, place: u32, block: &ReportBlock) -> bool {
        let Some((_, port)) = self.ports.at_mut(place) else { return false };
        let Some(audio) = port.audio.as_deref_mut() else { return false };
        let is_ours =
            audio.out.as_ref().is_some_and(|out| out.ssrc() == block.ssrc && out.spliced().is_none());
        if is_ours {
            if let Some(reporter) = &mut audio.reporter {
                reporter.on_report(now, block);
            }
            if let Some(maker) = &mut audio.maker {
                maker.set_loss(percent(block.fraction_lost));
            }
        }
        is_ours
    }

    /// Reports of our own that are due on a port.
    pub(super) fn run_reports(&mut self, now: Now, key: Key) {
        let Bridges { ports, made, pulses, .. } = self;
        let Some(port) = ports.get_mut(key) else { return };
        let tag = port.tag();
        let Port { audio, own_key, control, streams, rtcp_sent, .. } = port;
        let Some(audio) = audio.as_deref_mut() else { return };
        if audio.report_due.is_none_or(|due| due > now.mono) {
            return;
        }
        audio.report_due = None;
        let voice = audio.report();
        let mut seen = None;
        let (Some(reporter), Some(out)) = (&mut audio.reporter, &audio.out) else { return };
        if out.spliced().is_none()
            && let Ok(target) = control.target
        {
            made.make(Hop { slot: control.slot, target }, |buffer| {
                let metrics = streams.current_report().map(|stream| metrics_of(&stream, Some(&voice)));
                let len = reporter.report(now, (streams, tag), metrics.as_ref(), buffer)?;
                seen = Compound::parse(&buffer[..len]).ok().and_then(|told| loss_of(&told));
                let len = match own_key {
                    Some(own) => own.sealer.seal_rtcp(buffer, len).ok()?,
                    None => len,
                };
                *rtcp_sent += 1;
                Some(len)
            });
        }
        // Who reports nothing loses about as much as we see lost from it (media.md, "Opus").
        if let (Some(lost), None, Some(maker)) = (seen, reporter.reported_loss(), &mut audio.maker) {
            maker.set_loss(percent(lost));
        }
        let at = reporter.poll_timeout().max(now.mono + REPORT_RETRY);
        audio.report_due = Some(at);
        pulses.insert(at, Pulse::Report(key));
    }
}

/// The worst that a report tells: lost, of 256.
fn loss_of(told: &Compound<'_>) -> Option<u8> {
    told.parts().flat_map(|part| part.blocks().map(|block| block.fraction_lost)).max()
}

fn percent(of_256: u8) -> u8 {
    (u16::from(of_256) * 100).div_ceil(256) as u8
}

/// A report that cannot be sent now is tried again after this time.
const REPORT_RETRY: Duration = Duration::from_millis(500);
