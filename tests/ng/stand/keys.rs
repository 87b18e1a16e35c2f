//! SRTP of the test's own: keys in SDP, packets sealed and opened.

use super::{Sdp, packets};
use crate::support::wire::Wire;
use command::{SdesKeys, Suite};
use media::srtp::{Opener, Sealer};
use sdp::crypto::{CryptoLine, KeySource};
use std::net::SocketAddr;

/// A line `a=crypto` with a fresh key.
pub fn fresh(seed: u8, tag: u32, suite: Suite) -> (String, SdesKeys) {
    let keys = KeySource::from_seed([seed; 32]).keys(suite);
    let mut value = Vec::new();
    CryptoLine { tag, keys: keys.clone() }.write(&mut value);
    (format!("a=crypto:{}\r\n", String::from_utf8(value).expect("text")), keys)
}

/// The lines `a=crypto` of m-line 0 that can be read, in order.
pub fn offered(sdp: &Sdp) -> Vec<CryptoLine> {
    let lines = sdp.attributes(0, "crypto");
    lines.into_iter().filter_map(|value| CryptoLine::parse(value.as_bytes()).ok()).collect()
}

/// The one line of this suite.
pub fn of_suite(sdp: &Sdp, suite: Suite) -> CryptoLine {
    let mut lines = offered(sdp);
    lines.retain(|line| line.keys.suite == suite);
    assert_eq!(lines.len(), 1, "one line of {}: {}", suite.name(), sdp.0);
    lines.remove(0)
}

/// Plain packets of `from` arrive at `ear` encrypted with these keys.
pub fn arrive_sealed(from: &Wire, to: SocketAddr, ear: &Wire, keys: &SdesKeys) {
    let mut opener = Opener::new(keys).expect("a key");
    for packet in packets(from, 10) {
        from.rtp.send(to, &packet);
        let (mut got, _) = ear.rtp.receive();
        assert_ne!(got[12..], packet[12..], "it is encrypted");
        let len = opener.open_rtp(&mut got).expect("an authentic packet");
        assert_eq!(got[..len], packet, "it is the packet that was sent");
    }
}

/// Packets that `from` encrypts arrive at `ear` in the clear.
pub fn arrive_plain(from: &Wire, keys: &SdesKeys, to: SocketAddr, ear: &Wire) {
    let mut sealer = Sealer::new(keys).expect("a key");
    for packet in packets(from, 10) {
        from.rtp.send(to, &sealed(&mut sealer, &packet));
        assert_eq!(ear.rtp.receive().0, packet);
    }
}

/// Packets that `from` encrypts arrive at `ear` encrypted with other keys.
pub fn arrive_resealed(from: &Wire, keys: &SdesKeys, to: SocketAddr, ear: &Wire, theirs: &SdesKeys) {
    let (mut sealer, mut opener) = (Sealer::new(keys).expect("a key"), Opener::new(theirs).expect("a key"));
    for packet in packets(from, 10) {
        from.rtp.send(to, &sealed(&mut sealer, &packet));
        let (mut got, _) = ear.rtp.receive();
        let len = opener.open_rtp(&mut got).expect("an authentic packet");
        assert_eq!(got[..len], packet);
    }
}

/// One packet, encrypted.
pub fn sealed(sealer: &mut Sealer, packet: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; 2_048];
    buffer[..packet.len()].copy_from_slice(packet);
    let len = sealer.seal_rtp(&mut buffer, packet.len()).expect("room for the tag");
    buffer.truncate(len);
    buffer
}
