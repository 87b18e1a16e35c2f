//! The way of a packet through a bridge: what is it, who sent it, what becomes of it on each edge.

use super::maker::Leave;
use super::outgoing::Outgoing;
use super::port::{Found, Port, Sender};
use super::relay::{Edge, Way};
use super::reports::{self, Identity};
use super::{Bridges, Hop, Packet, Place, Pulse, SINKS_MAX, Slot};
use crate::wire::rtp::{Header, Rtp};
use base::{Instant, Now, Rng};
use codec::payload::Frame;
use command::{DigitsTowards, Verdict};
use core::net::SocketAddr;
use core::ops::Range;

/// Whether a packet is part of a digit that is looked at here.
#[derive(Clone, Copy)]
pub(super) struct IsKey(bool);

impl Bridges {
    /// The packet path: what is it, who sent it, where to. Afterwards the packet's bytes are as they are to be sent.
    /// `None` if they are not to be sent: what was made of them, now or later, is found by [`Bridges::drain_made`].
    /// No allocation, no lock, no log, no panic; every drop is counted here, by port and in all.
    ///
    /// `source` must be canonical: IPv4 in IPv4 form, also on a socket of both families.
    ///
    /// # Errors
    /// Why it goes nowhere.
    #[inline]
    pub fn handle_packet(
        &mut self,
        now: Now,
        slot: Slot,
        source: SocketAddr,
        packet: &mut Packet<'_>,
    ) -> Result<Option<Hop>, Verdict> {
        self.more_hops.clear();
        self.counters.packets_in += 1;
        self.counters.bytes_in += packet.len as u64;
        let place = self.slots.get(slot.0 as usize).copied().unwrap_or(Place::NONE);
        let routed = self.pass(now.mono, place, source, packet);
        match routed {
            Ok(Some(_)) => {
                self.counters.packets_out += 1;
                self.counters.bytes_out += packet.len as u64;
            }
            Ok(None) => {}
            Err(verdict) => self.on_dropped(place, source, verdict),
        }
        routed
    }

    #[inline]
    fn pass(
        &mut self,
        now: Instant,
        place: Place,
        source: SocketAddr,
        packet: &mut Packet<'_>,
    ) -> Result<Option<Hop>, Verdict> {
        if packet.truncated {
            return Err(Verdict::Oversize);
        }
        let bytes = packet.buffer.get_mut(..packet.len).ok_or(Verdict::Oversize)?;
        let (_, port) =
            self.ports.at_mut(place.port()).filter(|(_, port)| port.named).ok_or(Verdict::Idle)?;
        let found = port.classify(now, place.is_rtcp(), bytes)?;
        // Before anything else looks at it (media.md, "SRTP").
        let found = if port.own_key.is_some() {
            let (found, len) = port.unseal(found, bytes).map_err(|why| port.why_sealed(source, why))?;
            packet.len = len;
            found
        } else {
            found
        };
        let sender = port.check_source(now, source, place.is_rtcp(), &found)?;
        port.count(now, &found, sender, packet.len);
        let only_sink = match (found, &port.edge) {
            (Found::Rtp(header), Some(edge))
                if edge.is_relay() && port.more_edges.is_empty() && port.audio.is_none() =>
            {
                edge.write_header(header, packet.buffer);
                Some((edge.sink, edge.rewritten(header, edge.rewrite)))
            }
            (Found::Rtp(_) | Found::Rtcp(_) | Found::Datagram, _) => None,
        };
        if let Sender::Learned { moved } = sender {
            self.on_learned(place, source, moved);
        }
        if let Some((sink, header)) = only_sink {
            return self.send(now, sink, Some(header), packet).map(Some);
        }
        match found {
            Found::Rtp(header) => self.pass_speech(now, place, header, packet),
            Found::Rtcp(_) => self.pass_rtcp(now, place, packet),
            Found::Datagram => self.fan_out(now, place, place.is_rtcp(), None, packet),
        }
    }

    /// The sink's socket and target; counted as sent. The stream goes on from what was made here before, and is
    /// encrypted where the sink wants it so. `header` is that of an RTP packet; RTCP and others have none.
    #[inline]
    pub(super) fn send(
        &mut self,
        now: Instant,
        sink: u32,
        header: Option<Header>,
        packet: &mut Packet<'_>,
    ) -> Result<Hop, Verdict> {
        let Bridges { ports, rng, .. } = self;
        let (_, sink) = ports.at_mut(sink).ok_or(Verdict::NoTarget)?;
        let hop = Hop { slot: sink.media.slot, target: sink.media.target? };
        if sink.audio.is_some() || sink.own_key.is_some() {
            sink.dress(now, header, packet, rng)?;
        }
        sink.sent.packets += 1;
        sink.sent.bytes += packet.len as u64;
        Ok(hop)
    }

    /// As [`Bridges::send`], for RTCP.
    pub(super) fn send_rtcp(&mut self, sink: u32, packet: &mut Packet<'_>) -> Result<Hop, Verdict> {
        let (_, sink) = self.ports.at_mut(sink).ok_or(Verdict::NoTarget)?;
        let hop = Hop { slot: sink.control.slot, target: sink.control.target? };
        if let Some(own) = &mut sink.own_key {
            packet.len = own.sealer.seal_rtcp(packet.buffer, packet.len)?;
        }
        sink.rtcp_sent += 1;
        Ok(hop)
    }

    /// To every sink that gets the bytes as they are: the first hop is the answer, the others wait in `more_hops`. A sink
    /// that cannot be sent to is counted; it is the answer if there is no hop at all. Of RTCP, sinks with a key of their
    /// own, or other names for its streams, get copies; of RTP they have theirs already ([`Bridges::pass_several`]).
    pub(super) fn fan_out(
        &mut self,
        now: Instant,
        place: Place,
        is_rtcp: bool,
        header: Option<(Header, IsKey)>,
        packet: &mut Packet<'_>,
    ) -> Result<Option<Hop>, Verdict> {
        let count = self.ports.at(place.port()).map_or(0, |(_, port)| port.edges().count());
        let (mut first, mut copied) = (None, false);
        for n in 0..count.min(SINKS_MAX) {
            let Some((_, port)) = self.ports.at(place.port()) else { break };
            let Some(edge) = port.edges().nth(n) else { break };
            let (sink, passes) = (edge.sink, edge.is_relay() || is_rtcp && edge.passes_rtcp());
            // Sinks that are served elsewhere, or hear digits in another way.
            let is_apart = header.is_some_and(|(_, IsKey(is_key))| {
                !matches!(edge.way, Way::Closed)
                    && (!self.shares_bytes(edge) || is_key && !self.takes_events(sink))
            });
            if is_apart {
                continue;
            }
            let identity = (is_rtcp && passes && count > 1).then(|| self.identity(place.port(), edge));
            let hop = match (passes, is_rtcp) {
                (false, _) => Err(Verdict::Closed),
                (true, true)
                    if let Some(identity) = &identity
                        && (!identity.is_plain() || self.has_key(sink)) =>
                {
                    if let Err(verdict) = self.send_rtcp_copy(sink, identity, packet) {
                        self.count_drop(place, verdict);
                    }
                    copied = true;
                    continue;
                }
                (true, true) => self.send_rtcp(sink, packet),
                (true, false) => self.send(now, sink, header.map(|(header, _)| header), packet),
            };
            match (first, hop) {
                (Some(Ok(_)), Ok(hop)) => {
                    self.more_hops.push(hop);
                    self.counters.packets_out += 1;
                    self.counters.bytes_out += packet.len as u64;
                }
                (Some(Ok(_)), Err(verdict)) => self.count_drop(place, verdict),
                (Some(Err(verdict)), hop) => {
                    self.count_drop(place, verdict);
                    first = Some(hop);
                }
                (None, hop) => first = Some(hop),
            }
        }
        match first {
            None | Some(Err(_)) if copied => Ok(None),
            Some(first) => first.map(Some),
            None => Err(Verdict::Closed),
        }
    }

    /// Whether a sink gets the very bytes that came in, as others of the same source may.
    fn shares_bytes(&self, edge: &Edge) -> bool {
        let is_dressed = |sink: &Port| {
            sink.own_key.is_some() || sink.audio.as_ref().is_some_and(|audio| audio.out.is_some())
        };
        edge.is_relay()
            && edge.is_plain()
            && !self.ports.at(edge.sink).is_some_and(|(_, sink)| is_dressed(sink))
    }

    fn has_key(&self, port: u32) -> bool {
        self.ports.at(port).is_some_and(|(_, port)| port.own_key.is_some())
    }

    /// A copy of RTCP for a sink that knows the streams by other names or has a key of its own, beside sinks that get
    /// the bytes as they are.
    fn send_rtcp_copy(&mut self, sink: u32, identity: &Identity, packet: &Packet<'_>) -> Result<(), Verdict> {
        let Bridges { ports, made, .. } = self;
        let (_, sink) = ports.at_mut(sink).ok_or(Verdict::NoTarget)?;
        let hop = Hop { slot: sink.control.slot, target: sink.control.target? };
        let mut outcome = Ok(());
        made.make(hop, |buffer| {
            let mut write = || {
                let bytes = packet.buffer.get(..packet.len).ok_or(Verdict::Oversize)?;
                let copy = buffer.get_mut(..bytes.len()).ok_or(Verdict::Oversize)?;
                copy.copy_from_slice(bytes);
                let len = if identity.is_plain() { bytes.len() } else { reports::translate(identity, copy)? };
                match &mut sink.own_key {
                    Some(own) => own.sealer.seal_rtcp(buffer, len),
                    None => Ok(len),
                }
            };
            match write() {
                Ok(len) => {
                    sink.rtcp_sent += 1;
                    Some(len)
                }
                Err(verdict) => {
                    outcome = Err(verdict);
                    None
                }
            }
        });
        outcome
    }

    /// A packet of a stream that is more than relayed, or to several sinks.
    fn pass_speech(
        &mut self,
        now: Instant,
        place: Place,
        header: Header,
        packet: &mut Packet<'_>,
    ) -> Result<Option<Hop>, Verdict> {
        let payload = payload_of(packet)?;
        let Some((_, port)) = self.ports.at_mut(place.port()) else { return Err(Verdict::Idle) };
        let mut heard = Ok(None);
        let (mut blocked, mut is_key) = (false, false);
        if let Some(audio) = &mut port.audio {
            let bytes = &packet.buffer[payload.clone()];
            if let Some(keys) = &mut audio.keys
                && keys.knows(header.payload_type)
            {
                keys.on_packet(now, &header, bytes);
                is_key = true;
                blocked = audio.wants.digits.block;
                if !blocked {
                    let ear = audio.ear.as_mut();
                    heard = ear.map_or(Ok(None), |ear| ear.insert(now, &header, bytes).map(|()| None));
                }
                self.take_keys(now, place.port());
            } else if let Some(ear) = &mut audio.ear {
                heard = ear.insert(now, &header, bytes).map(|()| None);
            }
        }
        let Some((_, port)) = self.ports.at_mut(place.port()) else { return Err(Verdict::Idle) };
        let transcodes = matches!(port.edge.as_ref().map(|edge| &edge.way), Some(Way::Transcode(_)));
        if blocked && !(transcodes && port.more_edges.is_empty()) {
            return Err(Verdict::DigitBlocked);
        }
        if port.more_edges.is_empty() {
            let listens = port.audio.as_ref().is_some_and(|audio| audio.ear.is_some());
            let Some(mut edge) = port.edge.take() else {
                // A seat needs no edge: what its peer says is heard in the room.
                return if listens { heard } else { heard.and(Err(Verdict::Closed)) };
            };
            // Digits that are looked at here do not pass to somebody who gets them otherwise, or not at all.
            let passes = matches!(edge.way, Way::Relay | Way::Law(_));
            if is_key && passes && !self.takes_events(edge.sink) {
                if let Some((_, port)) = self.ports.at_mut(place.port()) {
                    port.edge = Some(edge);
                }
                return heard;
            }
            // A transcoder keeps digits back that are blocked, but counts their numbers.
            let passed = self.pass_edge(now, place, &mut edge, header, payload, packet, heard);
            if let Some((_, port)) = self.ports.at_mut(place.port()) {
                port.edge = Some(edge);
                if let (Some(audio), Ok(Some(_))) = (&mut port.audio, &passed) {
                    audio.last_passed = Some((header, now));
                }
            }
            return if blocked { Err(Verdict::DigitBlocked) } else { passed };
        }
        self.pass_several(now, place, header, payload, is_key, packet, heard)
    }

    /// Whether a peer gets digits as events.
    fn takes_events(&self, sink: u32) -> bool {
        let Some((_, sink)) = self.ports.at(sink) else { return true };
        let towards = sink.audio.as_ref().map(|audio| audio.wants.digits.towards).unwrap_or_default();
        sink.payloads.is_empty()
            || sink.has_events() && matches!(towards, DigitsTowards::Auto | DigitsTowards::Events)
    }

    /// Several sinks: those that want the bytes as they are share them, each of the others gets a copy of its own.
    #[expect(clippy::too_many_arguments, reason = "one packet with all that is known of it")]
    fn pass_several(
        &mut self,
        now: Instant,
        place: Place,
        header: Header,
        payload: Range<usize>,
        is_key: bool,
        packet: &mut Packet<'_>,
        heard: Result<Option<Hop>, Verdict>,
    ) -> Result<Option<Hop>, Verdict> {
        let Some((_, port)) = self.ports.at_mut(place.port()) else { return Err(Verdict::Idle) };
        let mut edges = (port.edge.take(), core::mem::take(&mut port.more_edges));
        let listens = port.audio.as_ref().is_some_and(|audio| audio.ear.is_some());
        let (mut is_shared, mut is_served, mut failed) = (false, false, None);
        for edge in edges.0.iter_mut().chain(&mut edges.1) {
            let passes = matches!(edge.way, Way::Relay | Way::Law(_));
            if is_key && passes && !self.takes_events(edge.sink) {
                // It hears the digit in another way.
                is_served = true;
                continue;
            }
            let passed = match &edge.way {
                Way::Closed | Way::Heard => continue,
                Way::Relay if self.shares_bytes(edge) => {
                    is_shared = true;
                    continue;
                }
                Way::Transcode(_) => self.pass_edge(now, place, edge, header, payload.clone(), packet, heard),
                Way::Relay | Way::Law(_) | Way::Silence => {
                    self.pass_copy(now, place, edge, header, payload.clone(), packet)
                }
            };
            is_served |= passed.is_ok();
            // All are counted but the last, which is the answer if nobody gets anything.
            if let Err(verdict) = passed
                && let Some(before) = failed.replace(verdict)
            {
                self.count_drop(place, before);
            }
        }
        if let Some((_, port)) = self.ports.at_mut(place.port()) {
            (port.edge, port.more_edges) = edges;
        }
        match failed {
            Some(verdict) if !is_shared && !is_served => return Err(verdict),
            Some(verdict) => self.count_drop(place, verdict),
            None if !is_shared && !is_served && !listens => return heard.and(Err(Verdict::Closed)),
            None => {}
        }
        if is_shared {
            return self.fan_out(now, place, false, Some((header, IsKey(is_key))), packet);
        }
        if is_served { Ok(None) } else { heard }
    }

    /// As [`Bridges::pass_edge`] with a copy of the packet, which leaves with what is made here.
    fn pass_copy(
        &mut self,
        now: Instant,
        place: Place,
        edge: &mut Edge,
        header: Header,
        payload: Range<usize>,
        packet: &Packet<'_>,
    ) -> Result<Option<Hop>, Verdict> {
        let bytes = packet.buffer.get(..packet.len).ok_or(Verdict::Oversize)?;
        let mut buffer = core::mem::take(&mut self.copy);
        let passed = match buffer.get_mut(..bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                let mut copy = Packet { buffer: &mut buffer, len: bytes.len(), truncated: false };
                let passed = self.pass_edge(now, place, edge, header, payload, &mut copy, Ok(None));
                if let Ok(Some(hop)) = passed {
                    let bytes = copy.buffer.get(..copy.len).unwrap_or_default();
                    self.made.make(hop, |room| {
                        room.get_mut(..bytes.len())?.copy_from_slice(bytes);
                        Some(bytes.len())
                    });
                }
                passed
            }
            None => Err(Verdict::Oversize),
        };
        self.copy = buffer;
        passed.map(|_| None)
    }

    #[expect(clippy::too_many_arguments, reason = "one packet with all that is known of it")]
    fn pass_edge(
        &mut self,
        now: Instant,
        place: Place,
        edge: &mut Edge,
        header: Header,
        payload: Range<usize>,
        packet: &mut Packet<'_>,
        heard: Result<Option<Hop>, Verdict>,
    ) -> Result<Option<Hop>, Verdict> {
        let rewritten = edge.rewritten(header, edge.rewrite);
        match &mut edge.way {
            Way::Closed => Err(Verdict::Closed),
            Way::Heard => heard,
            Way::Relay => {
                rewritten.write(packet.buffer);
                self.send(now, edge.sink, Some(rewritten), packet).map(Some)
            }
            Way::Law(law) if law.is_noise(&header) => {
                self.ask_repacketising(now, edge.sink);
                Err(Verdict::NoCodec)
            }
            Way::Law(law) => {
                let suits = law.suits(&packet.buffer[payload.clone()]);
                let number = law.convert(&header, &mut packet.buffer[payload]);
                if number.is_some() && !suits {
                    self.ask_repacketising(now, edge.sink);
                }
                let header = match number {
                    Some(payload_type) => Header { payload_type, ..rewritten },
                    None => rewritten,
                };
                header.write(packet.buffer);
                self.send(now, edge.sink, Some(header), packet).map(Some)
            }
            Way::Silence => {
                let (_, port) = self.ports.at(place.port()).ok_or(Verdict::Idle)?;
                silence(port, &header, payload, packet).ok_or(Verdict::Closed)?;
                rewritten.write(packet.buffer);
                self.send(now, edge.sink, Some(rewritten), packet).map(Some)
            }
            Way::Transcode(coder) => {
                let Bridges { ports, made, scratch, pulses, complexity, .. } = self;
                let (_, sink) = ports.at_mut(edge.sink).ok_or(Verdict::NoTarget)?;
                let (maker, mut leave) = sink.leave(now, made).ok_or(Verdict::NoTarget)?;
                maker.set_complexity(*complexity);
                let taken = coder.on_packet(&header, &packet.buffer[payload], maker, &mut leave, scratch);
                if let Some(at) = coder.poll_timeout()
                    && coder.due.is_none_or(|due| at < due)
                    && let Some((key, _)) = ports.at(place.port())
                {
                    coder.due = Some(at);
                    pulses.insert(at, Pulse::Coder(key));
                }
                taken.map(|()| None)
            }
        }
    }

    /// Transcoders of a port whose time has come.
    pub(super) fn run_coders(&mut self, now: Instant, key: base::Key) {
        let Some(port) = self.ports.get_mut(key) else { return };
        let mut edges = (port.edge.take(), core::mem::take(&mut port.more_edges));
        for edge in edges.0.iter_mut().chain(&mut edges.1) {
            let Way::Transcode(coder) = &mut edge.way else { continue };
            if coder.due.is_none_or(|due| due > now) {
                continue;
            }
            coder.due = None;
            let Bridges { ports, made, scratch, pulses, .. } = self;
            let Some((_, sink)) = ports.at_mut(edge.sink) else { continue };
            let Some((maker, mut leave)) = sink.leave(now, made) else { continue };
            coder.on_time(maker, &mut leave, scratch);
            if let Some(at) = coder.poll_timeout() {
                coder.due = Some(at);
                pulses.insert(at, Pulse::Coder(key));
            }
        }
        if let Some(port) = self.ports.get_mut(key) {
            (port.edge, port.more_edges) = edges;
        }
    }
}

impl Port {
    /// What it takes to make packets of this port; `None` if it makes none.
    pub(super) fn leave<'p>(
        &'p mut self,
        now: Instant,
        made: &'p mut super::made::Made,
    ) -> Option<(&'p mut super::maker::Maker, Leave<'p>)> {
        let Port { audio, own_key, media, sent, .. } = self;
        let audio = audio.as_deref_mut()?;
        let (maker, out, reporter) =
            (audio.maker.as_mut()?, audio.out.as_mut()?, audio.reporter.as_deref_mut());
        let sealer = own_key.as_deref_mut().map(|own| &mut own.sealer);
        Some((maker, Leave { now, made, aim: *media, sealer, out, reporter, sent }))
    }

    /// Gives a relayed packet the identity of the stream that was made here before, and encrypts it.
    fn dress(
        &mut self,
        now: Instant,
        header: Option<Header>,
        packet: &mut Packet<'_>,
        rng: &mut Rng,
    ) -> Result<(), Verdict> {
        if let (Some(header), Some(audio)) = (header, &mut self.audio)
            && let Some(out) = &mut audio.out
        {
            out.spliced_header(now, &header).write(packet.buffer);
        }
        let (Some(own), Some(header)) = (&mut self.own_key, header) else { return Ok(()) };
        let is_ours = self.audio.as_ref().is_some_and(|audio| audio.out.is_some());
        // A key seals few streams: the last place is for one of ours, under which all that still come go on.
        let sealed = if !is_ours && own.sealer.is_last_place(header.ssrc) {
            Err(Verdict::NoKey)
        } else {
            own.sealer.seal_rtp(packet.buffer, packet.len)
        };
        packet.len = match sealed {
            // The source has begun anew under its old SSRC: these numbers may be spent (RFC 3711 section 9.1).
            Err(Verdict::NoKey) => {
                self.begin_anew(&header, rng).spliced_header(now, &header).write(packet.buffer);
                let own = self.own_key.as_mut().ok_or(Verdict::NoKey)?;
                own.sealer.seal_rtp(packet.buffer, packet.len)?
            }
            sealed => sealed?,
        };
        Ok(())
    }

    /// What is relayed to this port is another stream from now on.
    #[cold]
    fn begin_anew(&mut self, header: &Header, rng: &mut Rng) -> &mut Outgoing {
        let payload = self.payloads.iter().find(|payload| payload.number == header.payload_type);
        let clock = payload.map_or(8_000, |payload| payload.clock);
        let audio = self.audio.get_or_insert_default();
        // One that is ours already goes on behind its last number.
        let out =
            audio.out.get_or_insert_with(|| Outgoing::new(rng.u32(), rng.u32() as u16, rng.u32(), clock));
        out.forget_splice();
        out
    }
}

/// Where the payload of an RTP packet is.
fn payload_of(packet: &Packet<'_>) -> Result<Range<usize>, Verdict> {
    let bytes = packet.buffer.get(..packet.len).ok_or(Verdict::Oversize)?;
    let rtp = Rtp::parse(bytes)?;
    let end = bytes.len() - usize::from(rtp.padding());
    Ok(end - rtp.payload().len()..end)
}

/// Overwrites a payload with the silence of its format; `None` if that is not known.
fn silence(port: &Port, header: &Header, payload: Range<usize>, packet: &mut Packet<'_>) -> Option<()> {
    let format = port.payloads.iter().find(|payload| payload.number == header.payload_type)?;
    let format = super::maker::format_of(format);
    let codec = codec::registry::find(&format)?;
    // Formats without a fixed number of bits a sample are taken to have packets of 20 ms.
    let samples = match codec::payload::by_name(codec.name)?.frame {
        Frame::Samples { bits } if bits > 0 => payload.len() * 8 / usize::from(bits),
        _ => *codec.rates.last()? as usize / 50,
    };
    let room = packet.buffer.get_mut(payload.start..)?;
    let len = codec.silence(samples, room)?;
    packet.len = payload.start + len;
    // Padding is gone.
    packet.buffer[0] &= !0x20;
    Some(())
}
