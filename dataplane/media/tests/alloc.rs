//! The packet path takes nothing from the heap: counted around a warm bridge.

#[path = "../../../tests/support/counting.rs"]
mod counting;
#[path = "rules/world.rs"]
#[expect(dead_code, reason = "shared with the rules, which use more of it")]
mod world;

use counting::allocations;
use media::{Packet, Slot};
use world::*;

#[test]
fn a_warm_bridge_passes_ten_thousand_packets_without_the_heap() {
    let mut world = World::with(|spec| {
        spec.edges[0].transform = rewritten(99, 5, 9);
        spec.edges[1].transform = command::Transform::Relay { payload_map: vec![(0, 8)], rewrite: None };
    });
    let (a, b, stranger) = (address(A), address(B), address(STRANGER));
    let (a_rtcp, b_rtcp) = (address("192.0.2.1:4001"), address("198.51.100.1:5001"));
    let mut described = report_of(7);
    described.extend(rtcp(0x81, 202, &[7, u32::from_be_bytes(*b"\x01\x02uv"), 0]));
    let templates = [
        (A_RTP, a, rtp(7, 0)),
        (B_RTP, b, rtp(8, 0)),
        (A_RTCP, a_rtcp, described),
        (B_RTCP, b_rtcp, rtcp(0x81, 201, &[8, 99, 0, 3, 0, 0, 0])),
        (A_RTP, stranger, rtp(7, 0)),
        (B_RTP, b, vec![0, 1, 2, 3]),
    ];
    let now = world.now();
    let mut buffer = [0; 2048];
    let mut passed = 0;
    let mut pass = |world: &mut World, n: u64| {
        for (slot, source, bytes) in &templates {
            buffer[..bytes.len()].copy_from_slice(bytes);
            if bytes.len() > 100 {
                buffer[2..4].copy_from_slice(&(n as u16).to_be_bytes());
            }
            let mut packet = Packet { buffer: &mut buffer, len: bytes.len(), truncated: false };
            let now = base::Now { mono: now.mono + base::Duration::from_millis(n * 20), ..now };
            passed += u64::from(world.bridges.handle_packet(now, Slot(*slot), *source, &mut packet).is_ok());
        }
    };
    pass(&mut world, 0);
    assert_eq!(allocations(|| (1..=10_000).for_each(|n| pass(&mut world, n))), 0);
    assert_eq!(passed, 4 * 10_001);
}
