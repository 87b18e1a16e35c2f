//! Entries for fuzzers: plain functions on bytes, which must neither panic nor break what they state.

use crate::crypto::{CryptoLine, KeySource};
use crate::edit::{Edit, LineEdit, OriginEdit, write};
use crate::negotiate::{DigitsBy, Makeable, Negotiation, NegotiationConfig, Side, SideConfig, Srtp};
use crate::parse::Sdp;
use command::{BridgeSpec, PortIndex, RemoteTag, Transform};
use core::net::{IpAddr, Ipv4Addr};

/// Reads whatever comes; what is read and written again can be read, and a second writing changes nothing more.
pub fn parse_and_write(data: &[u8]) {
    let Ok(sdp) = Sdp::parse(data) else { return };
    let _ = (sdp.origin(), sdp.bundles().count());
    for media in sdp.media() {
        let _ =
            (media.codecs(), media.rtp(), media.rtcp(false), media.ptime(), media.maxptime(), media.mid());
        let _ = (media.needs_dtls(), media.effective_direction(), media.ice_credentials());
    }
    let lines: Vec<LineEdit> = sdp.media().iter().map(|media| pass(media.port())).collect();
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    write(&sdp, &as_ours(&lines), &mut once);
    let again = Sdp::parse(&once).expect("what was written can be read");
    assert_eq!(again.media().len(), sdp.media().len(), "m-lines keep their number");
    write(&again, &as_ours(&lines), &mut twice);
    assert_eq!(once, twice, "writing twice changes nothing more");
}

/// One `a=crypto` value: what can be read can be written, and reads back as the same.
pub fn crypto(data: &[u8]) {
    let Ok(line) = CryptoLine::parse(data) else { return };
    let mut written = Vec::new();
    line.write(&mut written);
    assert_eq!(CryptoLine::parse(&written), Ok(line), "a line that we write is one that we read");
}

/// The first half is offered by A, the second answered by B, then both the other way; the spec is built at each step.
/// An offer that is taken back leaves no trace. Once as it comes, and once for each way in which sides may differ.
pub fn offer_and_answer(data: &[u8]) {
    let plain = || [1, 2].map(side);
    exchange(data, plain());
    for (srtp, digits) in
        [(Srtp::Optional, DigitsBy::Info), (Srtp::Required, DigitsBy::Events), (Srtp::Never, DigitsBy::Tones)]
    {
        let [a, b] = plain();
        let codecs = ["opus", "PCMA", "G729"].map(Box::from).into();
        exchange(data, [a, SideConfig { codecs, srtp: Some(srtp), digits, ..b }]);
    }
}

fn exchange(data: &[u8], [a, b]: [SideConfig; 2]) {
    let (offer, answer) = data.split_at(memchr::memmem::rfind(data, b"v=0").unwrap_or(data.len() / 2));
    let makeable = [("PCMA", 8000, 1, 8), ("opus", 48000, 2, 111)].map(|(name, clock, channels, number)| {
        Makeable { name, clock, channels, fmtp: "", number, ptimes: &[10, 20] }
    });
    let mut call = Negotiation::new(NegotiationConfig {
        a,
        b,
        makeable: makeable.into(),
        ..NegotiationConfig::default()
    });
    call.set_keys(KeySource::from_seed([1; 32]));
    call.add_ports(Side::A, (0..4).map(|n| (PortIndex(n), 20_000 + 2 * n)));
    call.add_ports(Side::B, (0..4).map(|n| (PortIndex(4 + n), 30_000 + 2 * n)));
    for (from, offer, answer) in [(Side::A, offer, answer), (Side::B, answer, offer)] {
        let before = call.spec();
        if call.offer(from, offer).is_err() {
            assert_eq!(call.spec(), before, "a refused offer changes nothing");
            continue;
        }
        let tag = RemoteTag(u32::from(from == Side::A));
        if let Ok(answered) = call.answer(from.other(), tag, answer) {
            Sdp::parse(&answered.sdp).expect("what was written can be read");
            let repeated = call.answer(from.other(), tag, answer).expect("the same can come twice");
            assert_eq!(
                (repeated.sdp, repeated.changed),
                (answered.sdp, false),
                "a repetition changes nothing"
            );
            call.commit(tag).expect("it has answered");
            call.answered();
        } else {
            call.rollback();
            assert_eq!(call.spec(), before, "a refused offer changes nothing");
        }
        check_edges(&call.spec());
        let _ = (call.describe(Side::A), call.describe(Side::B), call.why_not_open());
        let _ = (call.speech_port(Side::A), call.speech_port(Side::B));
        let _ = (call.same_as_last(Side::A, offer), call.same_as_last(Side::B, answer));
    }
}

/// What is made is what the sink has.
fn check_edges(spec: &BridgeSpec) {
    for edge in &spec.edges {
        if let Transform::Transcode { to_payload, .. } = edge.transform {
            let sink = spec.ports.iter().find(|port| port.port == edge.to).expect("an edge leads to a port");
            let payload = sink.payloads.iter().find(|payload| payload.number == to_payload);
            let name = &payload.expect("the sink has what is made for it").encoding;
            assert!(["pcma", "opus"].contains(&name.as_str()), "{name} cannot be made");
        }
    }
}

fn side(host: u8) -> SideConfig {
    SideConfig { address: Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, host))), ..SideConfig::default() }
}

fn pass(port: u16) -> LineEdit {
    if port == 0 {
        return LineEdit::default();
    }
    LineEdit { port: 30_000, rtcp_port: 30_001, keep_mux: true, ..LineEdit::default() }
}

fn as_ours(lines: &[LineEdit]) -> Edit<'_> {
    Edit {
        origin: OriginEdit { username: "-", session_id: 1, version: 1 },
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        lines,
    }
}
