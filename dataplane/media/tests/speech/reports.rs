//! RTCP: reports of our own where media is made here, reports of peers only where their streams pass.

use crate::world::*;
use command::Verdict;
use media::wire::rtcp::{RR, SDES, SR};

#[test]
fn both_sides_of_a_transcoded_call_get_reports_within_five_seconds_and_go_on_getting_them() {
    let mut world = World::call(&[pcmu()], 20, &[opus()], 20);
    let (mut a, mut b) = (Talker::a(&pcmu(), 20), Talker::b(&opus(), 20));
    world.talk(30_000, &mut [&mut a, &mut b]);
    for slot in [A_RTCP, B_RTCP] {
        let heard = world.heard(slot - 1);
        let told = world.reports(slot);
        assert!((3..=13).contains(&told.len()), "{}", told.len());
        assert!(told.iter().any(|told| told.at < 5_000_000 && told.kinds[0] == SR));
        assert!(told.iter().all(|told| told.kinds.contains(&SDES)));
        for pair in told.windows(2) {
            assert!(pair[1].at - pair[0].at <= 7_600_000);
        }
        let senders: Vec<_> = told.iter().filter(|told| told.kinds[0] == SR).collect();
        assert!(senders.len() + 1 >= told.len());
        assert!(senders.iter().all(|told| told.sender == heard[0].header.ssrc));
    }
    let sent = world.port(1).sent.packets;
    assert_eq!(world.port(1).rtcp_sent, world.port(1).rtcp_sent.min(sent));
}

#[test]
fn sender_reports_agree_with_the_rtp_within_five_milliseconds() {
    for (source, sink, clock) in [(pcmu(), opus(), 48), (opus(), pcmu(), 8), (pcmu(), g722(), 8)] {
        let mut world = World::call(std::slice::from_ref(&source), 20, std::slice::from_ref(&sink), 20);
        world.talk(20_000, &mut [&mut Talker::a(&source, 20)]);
        let heard = world.heard(B_RTP);
        let mut checked = 0;
        for told in world.reports(B_RTCP) {
            let Some(info) = told.info else { continue };
            // The first packet after it, taken back to its moment.
            let Some(next) = heard.iter().find(|packet| packet.at >= told.at) else { continue };
            let expected = next.header.timestamp.wrapping_sub(((next.at - told.at) * clock / 1_000) as u32);
            let off = info.timestamp.wrapping_sub(expected) as i32;
            assert!(off.unsigned_abs() <= 5 * clock as u32, "{off} ticks of {clock} kHz");
            let wall = WALL_US + told.at;
            let seconds = (info.ntp >> 32) - 2_208_988_800;
            assert_eq!(seconds, wall / 1_000_000);
            let count = heard.iter().filter(|packet| packet.at < told.at).count() as u32;
            assert!(info.packets.abs_diff(count) <= 1);
            checked += 1;
        }
        assert!(checked >= 2, "{checked}");
    }
}

#[test]
fn the_loss_that_we_see_is_told_to_who_sends() {
    let mut world = World::call(&[pcmu()], 20, &[opus()], 20);
    let mut a = Talker::a(&pcmu(), 20);
    for n in 0..1_500 {
        let packet = a.speak();
        if n % 10 != 5 {
            world.send(A_RTP, A, &packet).unwrap();
        }
        world.wait(20);
    }
    let told = world.reports(A_RTCP);
    let blocks: Vec<_> = told.iter().flat_map(|told| &told.blocks).collect();
    assert!(blocks.len() >= 3);
    for block in &blocks[1..] {
        assert_eq!(block.ssrc, a.header.ssrc);
        // A tenth of 256, and what the edges of the interval cut off.
        assert!((21..=31).contains(&block.fraction_lost), "{}", block.fraction_lost);
    }
    assert!((100..=150).contains(&blocks.last().unwrap().lost));
    // B hears of nothing that A lost: its stream is whole.
    assert!(world.reports(B_RTCP).iter().all(|told| told.blocks.is_empty()));
}

#[test]
fn reports_of_peers_end_at_transcoded_edges() {
    let mut world = World::call(&[pcmu()], 20, &[opus()], 20);
    let (mut a, mut b) = (Talker::a(&pcmu(), 20), Talker::b(&opus(), 20));
    world.talk(1_000, &mut [&mut a, &mut b]);
    world.sent.clear();
    let ours = 0x0bad_0000;
    for (slot, source, ssrc) in [(A_RTCP, A_CONTROL, a.header.ssrc), (B_RTCP, B_CONTROL, b.header.ssrc)] {
        for report in [
            rtcp(0x80, 200, &[ssrc, 1, 2, 3, 4, 5]),
            rtcp(0x81, 201, &[ssrc, ours, 0, 0, 0, 0, 0]),
            [rtcp(0x80, 201, &[ssrc]), rtcp(0x81, 203, &[ssrc])].concat(),
        ] {
            assert_eq!(world.send(slot, source, &report), Ok(false));
        }
    }
    assert!(world.sent.is_empty());
    assert_eq!((world.port(0).rtcp_received, world.port(1).rtcp_received), (3, 3));
    assert_eq!((world.drops(0), world.drops(1)), (vec![], vec![]));
    // They are heard: the sender report is echoed in ours.
    world.talk(8_000, &mut [&mut a, &mut b]);
    let told = world.reports(A_RTCP);
    assert!(told.iter().flat_map(|told| &told.blocks).any(|block| block.last_sr == (1 << 16)));
}

#[test]
fn reports_pass_where_g711_is_converted_in_place() {
    let mut world = World::call(&[pcmu()], 20, &[pcma()], 20);
    let (mut a, mut b) = (Talker::a(&pcmu(), 20), Talker::b(&pcma(), 20));
    world.talk(1_000, &mut [&mut a, &mut b]);
    let report = rtcp(0x81, 201, &[b.header.ssrc, a.header.ssrc, 9 << 24, 0, 0, 0, 0]);
    assert_eq!(world.send(B_RTCP, B_CONTROL, &report), Ok(true));
    let told = world.reports(A_RTCP);
    assert_eq!((told.len(), told[0].sender), (1, b.header.ssrc));
    assert_eq!(told[0].blocks[0].ssrc, a.header.ssrc);
    world.wait(10_000);
    assert!(world.reports(A_RTCP).is_empty() && world.reports(B_RTCP).is_empty(), "no reports of our own");
}

#[test]
fn a_promoted_stream_is_reported_at_once_and_a_demoted_one_is_mapped() {
    // B takes another packet time than A sends: the first packet passes, then the stream is made here.
    let mut world = World::call(&[pcmu()], 20, &[pcma()], 40);
    let mut a = Talker::a(&pcmu(), 20);
    world.talk(200, &mut [&mut a]);
    let told = world.reports(B_RTCP);
    assert!(!told.is_empty() && told[0].at < 40_000, "{told:?}");
    world.talk(200, &mut [&mut a]);
    let made = world.heard(B_RTP);
    assert_eq!(made[0].header.ssrc, a.header.ssrc);
    // Relayed again, as after a re-INVITE: both numbers go on by a frame at least.
    world.set(|spec| {
        spec.ports[0].payloads = vec![pcma()];
        spec.edges[0].transform = relay();
        spec.edges[1].transform = relay();
    });
    a.change(&pcma());
    a.header.ssrc = 777;
    world.talk(200, &mut [&mut a]);
    let relayed = world.heard(B_RTP);
    let (last, first) = (made.last().unwrap().header, relayed[0].header);
    assert_eq!((first.ssrc, first.sequence), (last.ssrc, last.sequence.wrapping_add(1)));
    assert!((160..=640).contains(&first.timestamp.wrapping_sub(last.timestamp)));
    assert_steps(&relayed, 160);
    // Its reports are mapped there and back.
    world.reports(B_RTCP);
    let timestamp = a.header.timestamp;
    let report = rtcp(0x80, 200, &[777, 1, 2, timestamp, 4, 5]);
    assert_eq!(world.send(A_RTCP, A_CONTROL, &report), Ok(true));
    let told = world.reports(B_RTCP).pop().unwrap();
    assert_eq!(told.sender, first.ssrc);
    let next = relayed.last().unwrap().header.timestamp.wrapping_add(160);
    assert_eq!(told.info.unwrap().timestamp, next);
    let report = rtcp(0x81, 201, &[5, first.ssrc, 0, 0, 0, 0, 0]);
    assert_eq!(world.send(B_RTCP, B_CONTROL, &report), Ok(true));
    assert_eq!(world.reports(A_RTCP).pop().unwrap().blocks[0].ssrc, 777);
    // One of somebody else's stream goes.
    let foreign = rtcp(0x80, 200, &[778, 1, 2, timestamp, 4, 5]);
    assert_eq!(world.send(A_RTCP, A_CONTROL, &foreign), Err(Verdict::Unmapped));
}

#[test]
fn who_only_listens_reports_as_a_receiver() {
    let mut world = World::call(&[pcmu()], 20, &[opus()], 20);
    world.talk(12_000, &mut [&mut Talker::a(&pcmu(), 20)]);
    let told = world.reports(A_RTCP);
    assert!(told.len() >= 2 && told.iter().all(|told| told.kinds[0] == RR), "nothing was sent to A");
}
