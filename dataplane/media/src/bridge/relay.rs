//! Relay: payload untouched, the header only where the edge says so, CNAMEs of RTCP hidden (media.md, "Relay").

use super::law::Law;
use super::transcode::Transcoder;
use crate::wire::rtcp::{Items, Part};
use crate::wire::rtp::Header;
use base::{HashKey, Rng};
use command::spec::{Audience, Rewrite};
use command::{EdgeSpec, Party, Transform};

/// One way out of a port.
#[derive(Debug)]
pub(super) struct Edge {
    /// Place of the sink port.
    pub sink: u32,
    /// What the spec wants.
    pub wanted: Wanted,
    /// What is done about it now.
    pub way: Way,
    /// Hundredths of a decibel, where media is decoded.
    pub gain_centibel: i16,
    /// Payload types by the source's number, where the sink numbers them differently.
    map: Option<Box<[u8; 128]>>,
    pub rewrite: Option<Rewrite>,
}

/// What the spec wants of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Drop,
    Relay,
    Transcode { to_payload: u8, ptime_ms: u16 },
    Silence,
}

/// What is done with packets of an edge.
#[derive(Debug)]
pub(super) enum Way {
    /// Nothing: counted and dropped.
    Closed,
    /// The payload untouched.
    Relay,
    /// The payload of G.711 through a table; all else as relay.
    Law(Law),
    /// Decoded and made anew.
    Transcode(Box<Transcoder>),
    /// The sink hears the ear of this port.
    Heard,
    /// The payload is overwritten with silence.
    Silence,
}

impl Edge {
    /// The edge as wanted; how it is done is decided when all of the bridge is known. What was done before goes on.
    pub fn new(spec: &EdgeSpec, sink: u32, sink_party: Party, before: Option<Edge>) -> Self {
        let audible = match spec.audience {
            Audience::All => true,
            Audience::Only(party) => party == sink_party,
        };
        let wanted = match &spec.transform {
            _ if !audible => Wanted::Drop,
            Transform::Relay { .. } => Wanted::Relay,
            Transform::Transcode { to_payload, ptime_ms } => {
                Wanted::Transcode { to_payload: *to_payload, ptime_ms: *ptime_ms }
            }
            Transform::Silence => Wanted::Silence,
            Transform::Drop => Wanted::Drop,
        };
        let way = before.map_or(Way::Closed, |before| before.way);
        let mut edge =
            Edge { sink, wanted, way, gain_centibel: spec.gain_centibel, map: None, rewrite: None };
        if let Transform::Relay { payload_map, rewrite } = &spec.transform {
            edge.rewrite = *rewrite;
            if payload_map.iter().any(|(from, to)| from != to) {
                edge.set_map(payload_map);
            }
        }
        edge
    }

    /// Payload types that the sink numbers differently: (source's, sink's).
    pub fn set_map(&mut self, payload_map: &[(u8, u8)]) {
        let mut table: Box<[u8; 128]> = Box::new(core::array::from_fn(|n| n as u8));
        for (from, to) in payload_map {
            table[usize::from(from & 0x7f)] = to & 0x7f;
        }
        self.map = Some(table);
    }

    /// What the sink calls a payload type of the source.
    pub fn mapped(&self, payload_type: u8) -> u8 {
        self.map.as_ref().map_or(payload_type, |map| map[usize::from(payload_type & 0x7f)])
    }

    /// Whether payloads pass untouched.
    #[inline]
    pub fn is_relay(&self) -> bool {
        matches!(self.way, Way::Relay)
    }

    /// Whether packets leave by it as they came.
    pub fn is_plain(&self) -> bool {
        self.map.is_none() && self.rewrite.is_none()
    }

    /// Gives an RTP packet the header that the sink is to see.
    #[inline]
    pub fn write_header(&self, header: Header, packet: &mut [u8]) {
        if !self.is_plain() {
            self.rewritten(header, self.rewrite).write(packet);
        }
    }

    /// The header that the sink sees.
    pub fn rewritten(&self, mut header: Header, rewrite: Option<Rewrite>) -> Header {
        if let Some(map) = &self.map {
            header.payload_type = map[usize::from(header.payload_type & 0x7f)];
        }
        if let Some(rewrite) = rewrite {
            header.ssrc = rewrite.ssrc;
            header.sequence = header.sequence.wrapping_add(rewrite.sequence_offset);
            header.timestamp = header.timestamp.wrapping_add(rewrite.timestamp_offset);
        }
        header
    }
}

/// Overwrites the CNAMEs of a compound packet with others of the same length that tell nothing: they often name the
/// host and its address. Equal names stay equal within a bridge, so that audio and video still belong together.
pub(super) fn hide_names(secret: &HashKey, packet: &mut [u8]) {
    const CNAME: u8 = 1;
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut start = 0;
    while let Some(Ok((part, _))) = packet.get(start..).map(Part::parse) {
        let end = start + part.bytes().len();
        let mut items = Items::of(&part);
        let Some(bytes) = packet.get_mut(start..end) else { return };
        while let Some((_, kind, text)) = items.next_in(bytes) {
            let Some(name) = bytes.get_mut(text).filter(|_| kind == CNAME) else { continue };
            let mut rng = Rng::from_seed(secret.of(name));
            for byte in name {
                *byte = ALPHABET[(rng.u64() >> 59) as usize];
            }
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rtcp::SDES;
    use command::PortIndex;

    fn edge(payload_map: Vec<(u8, u8)>, rewrite: Option<Rewrite>) -> Edge {
        let spec = EdgeSpec {
            from: PortIndex(0),
            to: PortIndex(1),
            transform: Transform::Relay { payload_map, rewrite },
            gain_centibel: 0,
            audience: Audience::All,
        };
        Edge::new(&spec, 1, Party(1), None)
    }

    #[test]
    fn a_plain_edge_touches_nothing() {
        let mut packet = [0xff; 20];
        edge(vec![(8, 8)], None).write_header(Header::default(), &mut packet);
        assert_eq!(packet, [0xff; 20]);
    }

    #[test]
    fn payload_types_are_mapped_and_others_stay() {
        let edge = edge(vec![(101, 96), (96, 101)], None);
        let map = |payload_type| {
            let header = Header { payload_type, marker: true, ..Header::default() };
            let mut packet = header.to_bytes();
            edge.write_header(header, &mut packet);
            packet[1]
        };
        assert_eq!((map(101), map(96), map(0)), (0x80 | 96, 0x80 | 101, 0x80));
    }

    #[test]
    fn a_rewrite_shifts_numbers_and_keeps_gaps() {
        let edge = edge(vec![], Some(Rewrite { ssrc: 9, sequence_offset: 10, timestamp_offset: 1000 }));
        for sequence in [65_530u16, 65_532, 3] {
            let header = Header { sequence, timestamp: u32::MAX, ssrc: 1, ..Header::default() };
            let mut packet = header.to_bytes();
            edge.write_header(header, &mut packet);
            let expected = Header { sequence: sequence.wrapping_add(10), timestamp: 999, ssrc: 9, ..header };
            assert_eq!(packet, expected.to_bytes());
        }
    }

    #[test]
    fn names_are_hidden_but_equal_ones_stay_equal() {
        let chunk = |ssrc: u8, name: &[u8; 5]| {
            let mut b = vec![0, 0, 0, ssrc, 1, 5];
            b.extend(name);
            b.push(0);
            b
        };
        let mut packet = vec![0x83, SDES, 0, 9];
        for (ssrc, name) in [(1, b"a@1.2"), (2, b"b@1.2"), (3, b"a@1.2")] {
            packet.extend(chunk(ssrc, name));
        }
        let before = packet.clone();
        hide_names(&HashKey::new([1, 2]), &mut packet);
        let names: Vec<&[u8]> = [10, 22, 34].iter().map(|at| &packet[*at..*at + 5]).collect();
        assert!(names[0] == names[2] && names[0] != names[1] && names[0] != b"a@1.2");
        assert_eq!((packet[..10].to_vec(), packet.len()), (before[..10].to_vec(), before.len()));
        let mut elsewhere = before;
        hide_names(&HashKey::new([1, 3]), &mut elsewhere);
        assert_ne!(elsewhere[10..15], packet[10..15]);
    }
}
