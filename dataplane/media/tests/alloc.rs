//! The packet path takes nothing from the heap: counted around a warm bridge.

#[path = "../../../tests/support/counting.rs"]
mod counting;
#[path = "rules/world.rs"]
#[expect(dead_code, reason = "shared with the rules, which use more of it")]
mod world;

use command::{SdesKeys, Suite};
use counting::allocations;
use media::mixer::{Chime, Mixer, MixerConfig, SeatConfig};
use media::quality::{Pace, Streams};
use media::reporter::Reporter;
use media::srtp::{Opener, Sealer};
use media::wire::rtcp::VoipMetrics;
use media::wire::rtp::Header;
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

#[test]
fn a_room_mixes_a_thousand_ticks_without_the_heap() {
    let mut mixer = Mixer::new(MixerConfig { frame_ms: 20, talkers: 3, seats_max: 12 });
    let rates = [8_000, 16_000, 48_000];
    let seats: Vec<_> = (0..12).map(|n| mixer.join(SeatConfig::at(rates[n % 3])).unwrap()).collect();
    mixer.configure(seats[11], SeatConfig { coaches: Some(seats[0]), ..SeatConfig::at(48_000) }).unwrap();
    let pcm = [3_000; 960];
    let mut out = [0; 960];
    let mut changes = 0;
    let mut tick = |n: usize| {
        mixer.begin();
        // Who speaks changes all the time.
        for (k, seat) in seats.iter().enumerate().filter(|(k, _)| (n / 30 + k).is_multiple_of(4)) {
            mixer.put(*seat, &pcm[..rates[k % 3] as usize / 50], None);
        }
        if n.is_multiple_of(50) {
            mixer.chime(Chime::Joined);
        }
        mixer.mix();
        for (k, seat) in seats.iter().enumerate() {
            mixer.take(*seat, &mut out[..rates[k % 3] as usize / 50]);
        }
        changes += core::iter::from_fn(|| mixer.poll_talking()).count();
    };
    assert_eq!(allocations(|| (0..1_000).for_each(&mut tick)), 0);
    assert!(changes > 20, "{changes}");
}

#[test]
fn encryption_and_reports_work_without_the_heap() {
    for suite in Suite::ALL {
        let keys = SdesKeys { suite, key: vec![7; suite.key_len() + suite.salt_len()], mki: vec![1] };
        let (mut sealer, mut opener) = (Sealer::new(&keys).unwrap(), Opener::new(&keys).unwrap());
        let mut now = base::Now { mono: base::Instant(1), wall: base::Wall(1) };
        let mut reporter = Reporter::new(now.mono, *b"0123456789abcdef", base::Rng::from_seed(1));
        let mut streams = Streams::default();
        let mut buffer = [0; 512];
        let mut reports = 0;
        let mut turn = |n: u16| {
            let header = Header { ssrc: 7, sequence: n, timestamp: u32::from(n) * 160, ..Header::default() };
            buffer[..12].copy_from_slice(&header.to_bytes());
            let len = sealer.seal_rtp(&mut buffer, 172).unwrap();
            assert_eq!(opener.open_rtp(&mut buffer[..len]), Ok(172));
            let pace = |_| Pace { clock: 8_000, paced: true, codec: None };
            streams.on_packet(now.mono, (command::RemoteTag(0), true), &header, pace);
            reporter.on_sent(now.mono, &header, 8_000, true, 160);
            let heard = (&mut streams, command::RemoteTag(0));
            if let Some(len) = reporter.report(now, heard, Some(&VoipMetrics::default()), &mut buffer) {
                let sealed = sealer.seal_rtcp(&mut buffer, len).unwrap();
                assert_eq!(opener.open_rtcp(&mut buffer[..sealed]), Ok(len));
                reports += 1;
            }
            now.mono += base::Duration::from_millis(20);
        };
        turn(0);
        assert_eq!(allocations(|| (1..5_000).for_each(&mut turn)), 0);
        assert!(reports > 10, "{reports}");
    }
}
