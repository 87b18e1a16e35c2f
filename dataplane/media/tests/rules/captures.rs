//! Real media: what came out of other people's engines passes byte by byte and is counted as tshark counts it.

use crate::world::*;
use command::Verdict;
use media::wire::classify::{Kind, classify};

#[path = "../../src/material.rs"]
#[expect(dead_code, reason = "sounds are for others")]
mod material; // test material of others

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
fn datagrams(name: &str) -> Vec<Vec<u8>> {
    material::datagrams(name).into_iter().map(|(_, datagram)| datagram).collect()
}
