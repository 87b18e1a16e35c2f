//! What NG calls tell listeners over UDP without being asked: digits, as rtpengine's `dtmf-log-dest` has them. Writes one
//! datagram of JSON; sends nothing.

use crate::facts::CallFacts;
use crate::json::write_text;
use base::{Duration, Wall};
use command::PortIndex;
use core::net::IpAddr;
use std::io::Write as _;

/// The level of a digit that nobody measured, in dBm0 without its sign.
const VOLUME: u8 = 10;
/// Tags that are named at most: a datagram is bounded.
const TAGS_MAX: usize = 64;

/// The datagram for a digit that came in on a port (`command::Event::Digit`); `None` if the port is nobody's, or the
/// digit is none. `source`: where the port's packets come from, if that is known better than by its SDP.
pub fn digit(
    wall: Wall,
    facts: &CallFacts,
    port: PortIndex,
    digit: char,
    duration: Duration,
    source: Option<IpAddr>,
) -> Option<Vec<u8>> {
    let party = facts.owner(port)?;
    let code = event_code(digit)?;
    let said = || party.lines.iter().find(|line| line.port == port)?.state.as_ref()?.rtp;
    let source = source.or_else(|| said().map(|rtp| rtp.ip())).or(party.address);
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"{\"callid\":");
    write_text(&facts.call_id, &mut out);
    out.extend_from_slice(b",\"source_tag\":");
    write_text(&party.tag, &mut out);
    out.extend_from_slice(b",\"source_label\":");
    write_text(party.label.as_deref().unwrap_or_default(), &mut out);
    out.extend_from_slice(b",\"tags\":[");
    let tags = facts.parties.iter().filter(|party| !party.tag.is_empty()).take(TAGS_MAX);
    for (n, party) in tags.enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_text(&party.tag, &mut out);
    }
    let (seconds, ms) = (wall.seconds(), duration.as_millis());
    let source = source.map(|address| address.to_string()).unwrap_or_default();
    // Writing to memory cannot fail.
    let _ = write!(
        out,
        "],\"type\":\"DTMF\",\"timestamp\":{seconds},\"source_ip\":\"{source}\",\"event\":{code},\
         \"duration\":{ms},\"volume\":{VOLUME}}}"
    );
    Some(out)
}

/// The code of RFC 4733 section 3.2.
fn event_code(digit: char) -> Option<usize> {
    "0123456789*#ABCD".chars().position(|known| known == digit.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing;

    #[test]
    fn a_digit_is_told_with_its_party_and_all_tags() {
        let mut facts = testing::two();
        facts.parties[0].label = Some(b"caller \"1\"\n".to_vec());
        let wall = Wall(1_795_284_272_013_930);
        let told = digit(wall, &facts, PortIndex(0), '#', Duration::from_millis(160), None).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        let expected = serde_json::json!({
            "callid": "call", "source_tag": "A", "source_label": "caller \"1\"\n", "tags": ["A", "B"],
            "type": "DTMF", "timestamp": 1_795_284_272, "source_ip": "192.0.2.1", "event": 11, "duration": 160,
            "volume": 10,
        });
        assert_eq!(told, expected);
        let learned = Some("198.51.100.7".parse().unwrap());
        let told = digit(wall, &facts, PortIndex(1), 'd', Duration::ZERO, learned).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        assert_eq!((&told["source_ip"], &told["event"]), (&"198.51.100.7".into(), &15.into()));
        assert_eq!(digit(wall, &facts, PortIndex(9), '1', Duration::ZERO, None), None);
        assert_eq!(digit(wall, &facts, PortIndex(0), 'x', Duration::ZERO, None), None);
    }

    #[test]
    fn tags_that_are_no_text_still_make_json() {
        let mut facts = testing::two();
        facts.parties[0].tag = vec![0xff, b'"', 0, b'\\'];
        let told = digit(Wall(0), &facts, PortIndex(0), '1', Duration::ZERO, None).unwrap();
        let told: serde_json::Value = serde_json::from_slice(&told).unwrap();
        assert_eq!(told["source_tag"], "\u{fffd}\"\0\\");
    }
}
