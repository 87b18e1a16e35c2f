//! Real media: what came out of other people's engines passes byte by byte and is counted as tshark counts it.

use crate::world::*;
use command::Verdict;
use media::wire::classify::{Kind, classify};
use std::path::PathBuf;

#[test]
fn captured_media_passes_byte_by_byte() {
    // Packets, and those that the numbers say are lost.
    check("g711a_sipp.pcap", 236, 0);
    check("rtp_pcmu_milliwatt.pcap", 232, 0);
    check("rtp_alaw_40ms.pcap", 826, 0);
    check("rtp_opus_dtmf.pcap", 765, 0);
    check("rtp_ulaw_dtmf.pcap", 974, 0);
    for digit in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "pound", "star"] {
        check(&format!("dtmf_2833_{digit}.pcap"), 10, 0);
    }
}

#[test]
fn captured_datagrams_of_any_kind_are_survived() {
    for name in
        ["rtcp_compound_many.pcap", "stun_classic.pcap", "sip_t38_fax_call.pcap", "rtp_ssrc_change_2.pcap"]
    {
        for datagram in datagrams(name) {
            media::fuzz::wire(&datagram);
            media::fuzz::bridge(&datagram);
        }
    }
    let stun = datagrams("stun_classic.pcap");
    assert!(stun.is_empty() || stun.iter().any(|datagram| classify(datagram) == Err(Verdict::Stun)));
    for datagram in datagrams("rtcp_compound_many.pcap") {
        assert_eq!(classify(&datagram), Ok(Kind::Rtcp));
        assert!(media::wire::rtcp::Compound::parse(&datagram).is_ok());
    }
}

fn check(name: &str, packets: u64, lost: u64) {
    let mut world = World::new();
    let datagrams = datagrams(name);
    for datagram in &datagrams {
        let passed = world.pass(A_RTP, A, datagram);
        assert_eq!(passed, Ok((B_RTP, B.into(), datagram.clone())), "{name}");
    }
    if !datagrams.is_empty() {
        let streams = world.port(0).streams;
        assert_eq!(streams.iter().map(|stream| stream.packets).sum::<u64>(), packets, "{name}");
        assert_eq!(streams.iter().map(|stream| stream.lost).sum::<u64>(), lost, "{name}");
    }
}

/// UDP payloads of a capture; none, loudly, where it is absent.
#[expect(clippy::print_stderr, reason = "absent material is named")]
fn datagrams(name: &str) -> Vec<Vec<u8>> {
    let root = std::env::var_os("STROWGER_TESTDATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata"),
        PathBuf::from,
    );
    let Ok(file) = std::fs::read(root.join("pcap").join(name)) else {
        eprintln!("ABSENT: testdata/pcap/{name}: nothing was replayed");
        return Vec::new();
    };
    let swapped = file[..4] == [0xa1, 0xb2, 0xc3, 0xd4];
    let word = |bytes: &[u8]| {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if swapped { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    let link_len = match word(&file[20..]) {
        1 => 14,
        113 => 16,
        101 | 228 => 0,
        other => panic!("{name}: link type {other}"),
    };
    let mut found = Vec::new();
    let mut rest = &file[24..];
    while rest.len() >= 16 {
        let len = word(&rest[8..]) as usize;
        let frame = &rest[16..16 + len];
        rest = &rest[16 + len..];
        let ip = &frame[link_len..];
        // IPv4 and UDP, as all of these are.
        if ip[0] >> 4 == 4 && ip[9] == 17 {
            let udp = &ip[usize::from(ip[0] & 0x0f) * 4..];
            let udp_len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
            found.push(udp[8..udp_len.min(udp.len())].to_vec());
        }
    }
    found
}
