//! What media does about an m-line: from what was said, told and agreed to a [`LineState`]. Holds no state of its own.

use super::codecs::{self, find, is_convertible, makeable};
use super::line::Line;
use super::said::{Format, Medium};
use super::{LineState, SideState};
use crate::options::{CodecName, Options};
use command::spec::Secure;
use command::{Digits, DigitsTowards, MediaClass, Payload, RtcpMux, Transform};
use core::net::SocketAddr;
use sdp::crypto::Agreed;
use sdp::{Direction, Makeable, Side};

/// What an answer has settled.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Agreement {
    pub offerer: Side,
    pub codecs: codecs::Told,
    /// By side: where keys end here.
    pub keys: [Option<Agreed>; 2],
    /// By side: RTCP goes with RTP.
    pub muxed: [bool; 2],
    /// Keys pass that we do not have.
    pub sealed: bool,
    /// By side: where it wanted RTP.
    pub addresses: [Option<SocketAddr>; 2],
}

impl Line {
    /// What media has to know. `asked` is what the last offer wanted.
    pub fn state(&self, asked: [&Options; 2], made: &[Makeable]) -> LineState {
        let is_refused = self.is_dead();
        LineState {
            kind: self.kind,
            class: self.class().unwrap_or(MediaClass::Opaque),
            is_refused,
            sides: [Side::A, Side::B].map(|side| self.side(side, asked)),
            transforms: self.transforms(asked, made),
        }
    }

    fn side(&self, side: Side, asked: [&Options; 2]) -> SideState {
        let said = self.said[side as usize].as_ref();
        let told = self.told[side as usize].as_ref();
        let agreed = self.agreed.as_ref();
        let mux = match (agreed, said, told) {
            (Some(agreed), ..) if agreed.muxed[side as usize] => RtcpMux::Muxed,
            (Some(_), ..) => RtcpMux::Separate,
            (None, Some(said), _) if said.mux => RtcpMux::Offered,
            (None, None, Some(told)) if told.is_muxed => RtcpMux::Muxed,
            (None, None, Some(told)) if told.mux => RtcpMux::Offered,
            (None, ..) => RtcpMux::Separate,
        };
        let direction = said.map_or(Direction::Inactive, |said| match said.is_refused {
            true => Direction::Inactive,
            false => said.intent(),
        });
        let keys = agreed.and_then(|agreed| agreed.keys[side as usize].as_ref());
        // What we have offered is what we shall encrypt with, until the answer says which.
        let offered = told.filter(|_| agreed.is_none()).and_then(|told| told.crypto.first());
        let is_muxed = mux == RtcpMux::Muxed;
        SideState {
            rtp: said.and_then(|said| said.rtp),
            rtcp: said.and_then(|said| if is_muxed { said.rtp } else { said.rtcp }),
            sends: direction.sends(),
            receives: direction.receives(),
            mux,
            payloads: self.payloads(side, asked),
            secure: match (keys, offered) {
                (Some(keys), _) => Some(Secure::Sdes(keys.ours.clone())),
                (None, Some(line)) => Some(Secure::Sdes(line.keys.clone())),
                (None, None) => None,
            },
            keys: keys.map(|keys| keys.theirs.clone()),
            is_sealed: match agreed {
                Some(agreed) => agreed.sealed,
                None => self.said.iter().flatten().any(super::line::is_sealed),
            },
            digits: self.digits(side, asked),
        }
    }

    /// Payload types as a side numbers them, what it prefers first.
    fn payloads(&self, side: Side, asked: [&Options; 2]) -> Vec<Payload> {
        if self.class() != Some(MediaClass::Rtp) {
            return Vec::new();
        }
        let mut payloads = Vec::new();
        let set = &asked[side as usize].codec.set;
        let said = self.said[side as usize].as_ref().map_or(&[][..], |said| &said.formats);
        let told = self.told[side as usize].as_ref().map_or(&[][..], |told| &told.formats);
        match &self.agreed {
            Some(agreed) if side == agreed.offerer => {
                // It takes what it offered; what it says of its codecs is what it wants to get.
                for format in &agreed.codecs.formats {
                    let fmtp = find(said.iter(), format).map_or(&format.fmtp, |said| &said.fmtp);
                    add(&mut payloads, format.number, format, fmtp, set);
                }
            }
            Some(agreed) => {
                // It sends what it was offered under the offer's numbers; some send their own.
                for format in &agreed.codecs.accepted {
                    let wanted = find(told.iter(), format);
                    let bitrate = wanted.and_then(|wanted| wanted.bitrate);
                    let format = Format { bitrate, ..format.clone() };
                    add(&mut payloads, format.number, &format, &format.fmtp, set);
                }
                for format in &agreed.codecs.accepted {
                    if let Some(wanted) = find(told.iter(), format) {
                        add(&mut payloads, wanted.number, format, &format.fmtp, set);
                    }
                }
            }
            None => {
                let formats = if said.is_empty() { told } else { said };
                formats
                    .iter()
                    .for_each(|format| add(&mut payloads, format.number, format, &format.fmtp, set));
            }
        }
        payloads
    }

    /// From A, and from B.
    pub fn transforms(&self, asked: [&Options; 2], made: &[Makeable]) -> [Transform; 2] {
        let relay = || Transform::Relay { payload_map: Vec::new(), rewrite: None };
        let Some(agreed) = &self.agreed else { return [relay(), relay()] };
        let (near, far) = (agreed.offerer, agreed.offerer.other());
        let (Some(offer), Some(answer)) = (&self.said[near as usize], &self.said[far as usize]) else {
            return [relay(), relay()];
        };
        if self.class() != Some(MediaClass::Rtp) || !is_convertible(offer) || !is_convertible(answer) {
            return [relay(), relay()];
        }
        let made = if agreed.sealed { &[] } else { made };
        let [told, accepted] = [&agreed.codecs.formats, &agreed.codecs.accepted];
        let wanted = asked[near as usize];
        let back = asked[far as usize].ptime.or(wanted.ptime_reverse);
        let of_near = Way { from: told, to: accepted, wish: wish(answer, wanted.ptime) };
        let of_far = Way { from: accepted, to: told, wish: wish(offer, back) };
        let repacks = asked.iter().any(|asked| asked.ptime.is_some() || asked.ptime_reverse.is_some());
        let mut transforms = [relay(), relay()];
        transforms[near as usize] = of_near.transform(made, repacks);
        transforms[far as usize] = of_far.transform(made, repacks);
        transforms
    }

    fn digits(&self, side: Side, asked: [&Options; 2]) -> Digits {
        let media = &asked[side as usize].media;
        let mut digits = Digits { block: media.block_dtmf, report: media.detect_dtmf, ..Digits::default() };
        // Events that we have offered in the name of a side that has none are tones there.
        if let Some(agreed) = &self.agreed {
            let lists = [&agreed.codecs.formats, &agreed.codecs.accepted];
            let own = lists[usize::from(side != agreed.offerer)];
            let other = lists[usize::from(side == agreed.offerer)];
            let has = |list: &[Format]| list.iter().any(Format::is_event);
            let is_made = self.told.iter().flatten().flat_map(|told| &told.formats);
            let is_made = is_made.clone().any(|format| format.is_made && format.is_event());
            let wants = asked.iter().any(|asked| codecs::wants_events(&asked.codec)) || is_made;
            if wants && !has(own) && has(other) {
                digits.towards = DigitsTowards::Tones;
                digits.listen_inband = true;
            }
        }
        digits
    }
}

/// One way of speech.
struct Way<'w> {
    from: &'w [Format],
    to: &'w [Format],
    /// Milliseconds a packet that the sink wants, at most.
    wish: u16,
}

impl Way<'_> {
    fn transform(&self, made: &[Makeable], repacks: bool) -> Transform {
        let is_missing = |format: &Format| find(self.to.iter(), format).is_none();
        let speech = || self.from.iter().filter(|format| format.is_speech());
        let is_decodable = speech().any(|format| makeable(made, format).is_some());
        let is_needed = speech().any(is_missing) || repacks;
        if is_needed && is_decodable {
            let target = self.to.iter().find(|format| format.is_speech() && makeable(made, format).is_some());
            // What nobody here can make passes if it is what both prefer.
            let passes =
                speech().next().is_some_and(|from| !is_missing(from) && makeable(made, from).is_none());
            if let Some(target) = target.filter(|_| !passes) {
                let ptimes = makeable(made, target).map_or(&[20][..], |makeable| makeable.ptimes);
                let fitting = ptimes.iter().rev().find(|ms| u16::from(**ms) <= self.wish);
                let ptime_ms = fitting.or(ptimes.first()).map_or(PTIME, |ms| u16::from(*ms));
                return Transform::Transcode { to_payload: target.number, ptime_ms };
            }
        }
        let has_redundancy = self.from.iter().chain(self.to).any(|format| format.codec().is_redundancy());
        let pairs =
            self.from.iter().filter_map(|from| Some((from.number, find(self.to.iter(), from)?.number)));
        let payload_map = pairs.filter(|(from, to)| from != to && !has_redundancy).collect();
        Transform::Relay { payload_map, rewrite: None }
    }
}

/// How long packets towards a side may be: as the client wants, else as its SDP says.
fn wish(said: &Medium, wanted: Option<u16>) -> u16 {
    wanted.or(said.ptime).unwrap_or(PTIME).min(said.maxptime.unwrap_or(u16::MAX))
}

fn add(payloads: &mut Vec<Payload>, number: u8, format: &Format, fmtp: &str, set: &[CodecName]) {
    if payloads.iter().any(|payload: &Payload| payload.number == number) {
        return;
    }
    let set = set.iter().find(|entry| codecs::names(entry, format));
    let bitrate = set.and_then(|entry| entry.bitrate).or(format.bitrate).filter(|bitrate| *bitrate > 0);
    let mut fmtp = set.and_then(|entry| entry.fmtp.clone()).unwrap_or_else(|| fmtp.to_owned());
    if let Some(bitrate) = bitrate
        && format.name.eq_ignore_ascii_case("opus")
        && !fmtp.contains("maxaveragebitrate")
    {
        // The encoder reads what the far end wants (RFC 7587 section 6.1).
        let separator = if fmtp.is_empty() { "" } else { ";" };
        fmtp.push_str(&format!("{separator}maxaveragebitrate={bitrate}"));
    }
    payloads.push(Payload { number, clock: format.clock, encoding: format.name.to_ascii_lowercase(), fmtp });
}

/// Packet time where nobody says, in milliseconds.
const PTIME: u16 = 20;
