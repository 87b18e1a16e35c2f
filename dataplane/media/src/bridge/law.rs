//! PCMU to PCMA and back on the way through: a table over the payload, header and gaps kept (media.md, "Transcode").

use crate::wire::rtp::Header;
use codec::g711;
use command::Payload;

/// Which payload types are what, and what they become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Law {
    /// The source's numbers.
    pcmu: Option<u8>,
    pcma: Option<u8>,
    /// The sink's.
    to: u8,
    to_alaw: bool,
    /// The source's number of comfort noise that the sink does not take.
    noise: Option<u8>,
    /// Bytes of a packet of the sink's packet time.
    packet_len: u16,
}

impl Law {
    /// `None` if there is other speech than G.711.
    pub fn new(source: &[Payload], sink: &[Payload], to: &Payload, ptime_ms: u16) -> Option<Self> {
        let number =
            |name: &str| source.iter().find(|p| p.encoding == name && p.clock == 8_000).map(|p| p.number);
        let is_g711 = |payload: &Payload| {
            matches!(payload.encoding.as_str(), "pcmu" | "pcma") && payload.clock == 8_000
        };
        let other = |payload: &&Payload| {
            let kind = codec::payload::by_name(&payload.encoding).map(|facts| facts.kind);
            kind.is_none_or(|kind| kind == codec::payload::Kind::Audio) && !is_g711(payload)
        };
        if source.iter().any(|payload| other(&payload)) || !is_g711(to) {
            return None;
        }
        Some(Law {
            pcmu: number("pcmu"),
            pcma: number("pcma"),
            to: to.number,
            noise: number("cn").filter(|_| sink.iter().all(|payload| payload.encoding != "cn")),
            to_alaw: to.encoding == "pcma",
            packet_len: ptime_ms * 8,
        })
    }

    /// Converts a payload in place and says what number it has now; `None` if it is not of ours.
    pub fn convert(&self, header: &Header, payload: &mut [u8]) -> Option<u8> {
        let number = Some(header.payload_type);
        match (number == self.pcmu, number == self.pcma) {
            (true, _) if self.to_alaw => g711::ulaw_to_alaw(payload),
            (_, true) if !self.to_alaw => g711::alaw_to_ulaw(payload),
            (false, false) => return None,
            (true, _) | (_, true) => {}
        }
        Some(self.to)
    }

    /// Whether a packet describes noise that the sink wants made.
    pub fn is_noise(&self, header: &Header) -> bool {
        self.noise == Some(header.payload_type)
    }

    /// Name of what is made.
    pub fn makes(&self) -> &'static str {
        if self.to_alaw { "pcma" } else { "pcmu" }
    }

    /// Whether the sink gets the packet time that it wants.
    pub fn suits(&self, payload: &[u8]) -> bool {
        self.packet_len == 0 || payload.len() == usize::from(self.packet_len)
    }
}
