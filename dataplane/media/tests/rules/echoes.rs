//! A port that sends to itself because the spec says so: what its peer says goes back to it (NG `media-echo`).

use crate::world::{A, A_RTCP, A_RTP, B, B_RTP, World, edge, report_of, rewritten, rtp, rtp_with};
use command::{Transform, Verdict};
use media::wire::rtp::Header;

const NAME: u32 = 0x0ec0_0ec0;

fn echoing(who: &[u16]) -> World {
    World::with(|spec| {
        let across = |from| who.iter().all(|port| *port != from);
        spec.edges = vec![edge(0, 1, Transform::Drop), edge(1, 0, Transform::Drop)];
        spec.edges.retain(|edge| across(edge.from.0));
        spec.edges
            .extend(who.iter().map(|port| edge(*port, *port, rewritten(NAME + u32::from(*port), 0, 0))));
    })
}

#[test]
fn what_a_peer_says_goes_back_under_another_name() {
    let mut world = echoing(&[0]);
    for number in 1..5 {
        let (slot, target, bytes) = world.pass(A_RTP, A, &rtp(7, number)).unwrap();
        assert_eq!((slot, target.as_str()), (A_RTP, A));
        let header =
            Header { ssrc: NAME, sequence: number, timestamp: u32::from(number) * 160, ..Header::default() };
        assert_eq!(bytes, rtp_with(header), "speech and numbers are as they came");
        world.wait(20);
    }
    // What the other side says goes nowhere.
    assert_eq!(world.send(B_RTP, B, &rtp(8, 1)), Err(Verdict::Closed));
}

#[test]
fn both_sides_hear_themselves_and_nobody_else() {
    let mut world = echoing(&[0, 1]);
    let (slot, target, bytes) = world.pass(A_RTP, A, &rtp(7, 1)).unwrap();
    assert_eq!((slot, target.as_str(), &bytes[8..12]), (A_RTP, A, &NAME.to_be_bytes()[..]));
    let (slot, target, bytes) = world.pass(B_RTP, B, &rtp(8, 1)).unwrap();
    assert_eq!((slot, target.as_str(), &bytes[8..12]), (B_RTP, B, &(NAME + 1).to_be_bytes()[..]));
}

#[test]
fn an_echo_begins_and_ends_in_a_call_that_goes_on() {
    let mut world = World::new();
    assert_eq!(world.talk(A_RTP, A, 7, 1..10), Ok((B_RTP, B.into())));
    world.set(|spec| spec.edges[0] = edge(0, 0, rewritten(NAME, 0, 0)));
    assert_eq!(world.talk(A_RTP, A, 7, 10..20), Ok((A_RTP, A.into())));
    world.set(|spec| spec.edges[0] = edge(0, 1, Transform::Relay { payload_map: Vec::new(), rewrite: None }));
    assert_eq!(world.talk(A_RTP, A, 7, 20..30), Ok((B_RTP, B.into())));
}

#[test]
fn reports_of_a_peer_do_not_come_back_as_if_somebody_else_had_sent_them() {
    let mut world = echoing(&[0]);
    assert!(world.send(A_RTP, A, &rtp(7, 1)).is_ok());
    match world.pass(A_RTCP, A, &report_of(7)) {
        Ok((slot, _, bytes)) => {
            assert_eq!(slot, A_RTCP);
            assert_eq!(bytes[4..8], NAME.to_be_bytes(), "under the name of the echo");
        }
        Err(verdict) => assert_eq!(verdict, Verdict::Unmapped),
    }
}

#[test]
fn a_port_that_hears_itself_still_does_not_send_to_our_own_addresses() {
    let mut world = World::with(|spec| {
        spec.edges = vec![edge(0, 0, rewritten(NAME, 0, 0))];
        spec.ports[0].remotes[0].rtp = Some("10.0.0.1:30000".parse().unwrap());
    });
    assert_eq!(world.send(A_RTP, "10.0.0.1:30000", &rtp(7, 1)), Err(Verdict::SelfSend));
}
