//! Payload types and what they name: rtpmap and fmtp, else the static table of RFC 3551 section 6. Compares codecs as
//! offer and answer do; makes none.

use crate::line::{parse_number, trim, word};
use crate::parse::Media;

/// One payload type of an m-line and what it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Codec<'a> {
    /// 0 to 127.
    pub number: u8,
    /// Encoding name as written; empty for a dynamic number without rtpmap.
    pub name: &'a str,
    /// RTP clock in Hz.
    pub clock: u32,
    /// Channels, 1 if not said.
    pub channels: u8,
    /// Format parameters as written; empty if none.
    pub fmtp: &'a str,
}

impl Codec<'_> {
    /// Whether both name the same encoding, clock and channels; two nameless ones are the same if their numbers are.
    pub fn is_same(&self, other: &Codec<'_>) -> bool {
        if self.name.is_empty() && other.name.is_empty() {
            return self.number == other.number;
        }
        self.name.eq_ignore_ascii_case(other.name)
            && self.clock == other.clock
            && self.channels == other.channels
    }

    /// Tone events (RFC 4733): no codec of its own.
    pub fn is_event(&self) -> bool {
        self.name.eq_ignore_ascii_case("telephone-event")
    }

    /// Comfort noise (RFC 3389): no codec of its own.
    pub fn is_noise(&self) -> bool {
        self.name.eq_ignore_ascii_case("CN")
    }

    /// Redundancy (RFC 2198): its payload holds other payload types.
    pub fn is_redundancy(&self) -> bool {
        self.name.eq_ignore_ascii_case("red")
    }

    /// Whether it carries speech by itself.
    pub fn is_speech(&self) -> bool {
        !self.is_event() && !self.is_noise()
    }
}

impl<'a> Media<'a> {
    /// Its payload types in order of preference, each once; reads its lines once.
    pub fn codecs(&self) -> Vec<Codec<'a>> {
        let mut codecs: Vec<Codec<'a>> = Vec::new();
        let mut places = [None; 128];
        for number in self.payload_numbers() {
            if places[usize::from(number)].is_none() {
                places[usize::from(number)] = Some(codecs.len());
                let (name, clock, channels) = static_codec(number).unwrap_or(("", 8000, 1));
                codecs.push(Codec { number, name, clock, channels, fmtp: "" });
            }
        }
        let mut is_mapped = [false; 128];
        for (name, value) in self.lines().filter_map(|line| line.attribute()) {
            if name != b"rtpmap" && name != b"fmtp" {
                continue;
            }
            let (number, rest) = word(value);
            let Some(number) = parse_number(number).and_then(|n| usize::try_from(n).ok()) else { continue };
            let Some(place) = places.get(number).copied().flatten() else { continue };
            let codec = &mut codecs[place];
            if name == b"fmtp" {
                if codec.fmtp.is_empty() {
                    codec.fmtp = text(rest);
                }
            } else if !is_mapped[number]
                && let Some((name, clock, channels)) = parse_rtpmap(text(rest))
            {
                is_mapped[number] = true;
                (codec.name, codec.clock, codec.channels) = (name, clock, channels);
            }
        }
        codecs
    }
}

/// `name/clock[/channels]`.
fn parse_rtpmap(value: &str) -> Option<(&str, u32, u8)> {
    let mut parts = value.split('/').map(str::trim);
    let name = parts.next().filter(|name| !name.is_empty())?;
    let clock = parse_number(parts.next()?.as_bytes()).filter(|clock| *clock > 0)?;
    let channels = parts.next().and_then(|n| parse_number(n.as_bytes())).and_then(|n| u8::try_from(n).ok());
    Some((name, clock, channels.unwrap_or(1).max(1)))
}

/// Bytes that are no UTF-8 end the text: names and parameters are ASCII.
fn text(bytes: &[u8]) -> &str {
    let bytes = trim(bytes);
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => core::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
    }
}

fn static_codec(number: u8) -> Option<(&'static str, u32, u8)> {
    Some(match number {
        0 => ("PCMU", 8000, 1),
        3 => ("GSM", 8000, 1),
        4 => ("G723", 8000, 1),
        5 => ("DVI4", 8000, 1),
        6 => ("DVI4", 16000, 1),
        7 => ("LPC", 8000, 1),
        8 => ("PCMA", 8000, 1),
        9 => ("G722", 8000, 1),
        10 => ("L16", 44100, 2),
        11 => ("L16", 44100, 1),
        12 => ("QCELP", 8000, 1),
        13 | 19 => ("CN", 8000, 1),
        14 => ("MPA", 90000, 1),
        15 => ("G728", 8000, 1),
        16 => ("DVI4", 11025, 1),
        17 => ("DVI4", 22050, 1),
        18 => ("G729", 8000, 1),
        25 => ("CelB", 90000, 1),
        26 => ("JPEG", 90000, 1),
        28 => ("nv", 90000, 1),
        31 => ("H261", 90000, 1),
        32 => ("MPV", 90000, 1),
        33 => ("MP2T", 90000, 1),
        34 => ("H263", 90000, 1),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::Sdp;

    #[test]
    fn rtpmap_comes_before_the_static_table() {
        let text = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 111 0 8 101 97\r\n\
            a=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\na=rtpmap:8 L8/8000\r\n\
            a=rtpmap:101 telephone-event/8000\r\n";
        let sdp = Sdp::parse(text).expect("valid");
        let codecs: Vec<_> = sdp.media()[0]
            .codecs()
            .iter()
            .map(|c| format!("{} {}/{}/{} {}", c.number, c.name, c.clock, c.channels, c.fmtp))
            .collect();
        assert_eq!(
            codecs,
            [
                "111 opus/48000/2 useinbandfec=1",
                "0 PCMU/8000/1 ",
                "8 L8/8000/1 ",
                "101 telephone-event/8000/1 ",
                "97 /8000/1 "
            ]
        );
    }
}
