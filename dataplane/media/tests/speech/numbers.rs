//! Sequence, timestamp, SSRC and marker of what is made here; packets that are late, lost, doubled or nonsense.

use crate::world::*;
use command::Verdict;
use media::wire::rtp::Header;

fn call() -> (World, Talker) {
    (World::call(&[pcmu(), events()], 20, &[opus(), events()], 20), Talker::a(&pcmu(), 20))
}

/// Sends numbered packets (of those that the talker says in order, 20 ms apart) at their times in ms; (at, number)
/// sorted by time. Returns what came of each.
fn play(world: &mut World, talker: &mut Talker, order: &[(u64, usize)]) -> Vec<Result<bool, Verdict>> {
    let count = order.iter().map(|(_, n)| n + 1).max().unwrap();
    let packets: Vec<Vec<u8>> = (0..count).map(|_| talker.speak()).collect();
    let begin = world.micros;
    order
        .iter()
        .map(|(at, n)| {
            world.wait_micros(begin + at * 1_000 - world.micros);
            world.send(A_RTP, A, &packets[*n])
        })
        .collect()
}

fn in_order(numbers: std::ops::Range<usize>) -> Vec<(u64, usize)> {
    numbers.map(|n| (n as u64 * 20, n)).collect()
}

#[test]
fn a_stream_of_our_own_begins_below_two_to_the_fifteenth_with_a_marker() {
    let mut firsts = Vec::new();
    for ssrc in 0..20 {
        let (mut world, mut a) = call();
        world.bridges = {
            // Other random numbers each time.
            let config = media::BridgesConfig { rng: base::Rng::from_seed(ssrc), ..crate::rules::config() };
            media::Bridges::new(world.now(), config)
        };
        let id = world.id;
        world.open(id, 0, 0);
        world.open(id, 1, 2);
        world.set(|_| {});
        world.talk(100, &mut [&mut a]);
        let heard = world.heard(B_RTP);
        assert!(heard[0].header.marker && !heard[1].header.marker);
        // The first packet is the next after the first number.
        assert!(heard[0].header.sequence <= 0x8000);
        firsts.push((heard[0].header.ssrc, heard[0].header.sequence, heard[0].header.timestamp));
    }
    firsts.sort();
    firsts.dedup_by_key(|first| first.0);
    assert_eq!(firsts.len(), 20, "random");
}

#[test]
fn jitter_passes_on_and_timestamps_are_those_of_the_source() {
    let (mut world, mut a) = call();
    let times: Vec<(u64, usize)> = (0..100).map(|n| (n as u64 * 20 + [0, 7, 15, 3][n % 4], n)).collect();
    assert!(play(&mut world, &mut a, &times).iter().all(Result::is_ok));
    let heard = world.heard(B_RTP);
    assert_steps(&heard, 960);
    let first = heard[0].at;
    let at: Vec<u64> = heard.iter().map(|packet| (packet.at - first) / 1_000).collect();
    assert_eq!(at, times.iter().map(|(at, _)| *at).collect::<Vec<_>>(), "nothing waits");
}

#[test]
fn a_packet_that_is_overtaken_is_put_in_order() {
    let (mut world, mut a) = call();
    let mut order = in_order(0..20);
    order[10] = (200, 11);
    order[11] = (230, 10);
    assert!(play(&mut world, &mut a, &order).iter().all(Result::is_ok));
    let heard = world.heard(B_RTP);
    assert_eq!(heard.len(), 20);
    assert_steps(&heard, 960);
    assert_eq!(world.port(0).voice.unwrap_or_default().concealed.as_millis(), 0);
    let (pcm, rate) = listen(&opus(), &heard);
    assert!((frequency(&pcm[9_000..], rate) - 440.0).abs() < 3.0);
}

#[test]
fn a_missing_packet_is_waited_for_forty_milliseconds_and_then_concealed() {
    let (mut world, mut a) = call();
    let mut order = in_order(0..20);
    order.remove(10);
    assert!(play(&mut world, &mut a, &order).iter().all(Result::is_ok));
    world.wait(100);
    let heard = world.heard(B_RTP);
    assert_eq!(heard.len(), 20, "its time is filled");
    assert_steps(&heard, 960);
    // The one after it came at 220.
    let waited: Vec<u64> = heard[9..14].iter().map(|packet| packet.at / 1_000).collect();
    assert_eq!(waited, [180, 260, 260, 260, 260]);
    assert_eq!(world.port(0).voice.unwrap().concealed.as_millis(), 20);
    let (pcm, rate) = listen(&opus(), &heard);
    let hole = &pcm[200 * 48..230 * 48];
    assert!(level_at(hole, rate, 440.0) > -18.0, "{}", level_at(hole, rate, 440.0));
    // What comes after all is late, once counted.
    let (mut world, mut a) = call();
    order.push((400, 10));
    let taken = play(&mut world, &mut a, &order);
    assert_eq!(taken.last(), Some(&Err(Verdict::Late)));
    assert_eq!(world.drops(0), [(Verdict::Late, 1)]);
}

#[test]
fn a_gap_without_notice_is_concealed_for_sixty_milliseconds_at_most() {
    let (mut world, mut a) = call();
    let order: Vec<_> = in_order(0..40).into_iter().filter(|(_, n)| !(10..20).contains(n)).collect();
    play(&mut world, &mut a, &order);
    world.wait(100);
    let heard = world.heard(B_RTP);
    assert_eq!(world.port(0).voice.unwrap().concealed.as_millis(), 60);
    let steps = steps(&heard);
    assert_eq!(steps.iter().sum::<u32>(), 39 * 960, "time goes on as at the source");
    assert_eq!(steps.iter().filter(|step| **step != 960).collect::<Vec<_>>(), [&(8 * 960)]);
    // The pause ends with a marker.
    let marked: Vec<usize> = (0..heard.len()).filter(|n| heard[*n].header.marker).collect();
    assert_eq!(marked, [0, 13]);
}

#[test]
fn what_comes_twice_is_counted_and_changes_nothing() {
    let (mut world, mut a) = call();
    let mut order = in_order(0..20);
    order.insert(6, (101, 5));
    order.insert(15, (265, 10));
    let taken = play(&mut world, &mut a, &order);
    assert_eq!((taken[6], taken[15]), (Err(Verdict::Duplicate), Err(Verdict::Duplicate)));
    assert_eq!(world.drops(0), [(Verdict::Duplicate, 2)]);
    assert_steps(&world.heard(B_RTP), 960);
    // Also while it waits for another.
    let (mut world, mut a) = call();
    let taken = play(&mut world, &mut a, &[(0, 0), (20, 2), (21, 2), (22, 1), (60, 3)]);
    assert_eq!(taken, [Ok(false), Ok(false), Err(Verdict::Duplicate), Ok(false), Ok(false)]);
}

#[test]
fn nonsense_is_counted_by_its_name_and_disturbs_nothing() {
    let mut world = World::call(&[opus()], 20, &[pcmu()], 20);
    let mut a = Talker::a(&opus(), 20);
    world.talk(400, &mut [&mut a]);
    // A payload type that nobody negotiated.
    let strange = a.packet(77, &[1, 2, 3]);
    assert_eq!(world.send(A_RTP, A, &strange), Err(Verdict::NoCodec));
    // An Opus packet whose lengths contradict each other takes its time all the same.
    let bad = a.packet(111, &[0xff, 0xff, 0xff]);
    assert_eq!(world.send(A_RTP, A, &bad), Err(Verdict::Undecodable));
    a.pause(20);
    a.header.marker = false;
    world.wait(20);
    world.talk(400, &mut [&mut a]);
    assert_eq!(world.drops(0), [(Verdict::NoCodec, 1), (Verdict::Undecodable, 1)]);
    let heard = world.heard(A_RTP);
    assert!(heard.is_empty());
    let heard = world.heard(B_RTP);
    assert_steps(&heard, 160);
    assert_eq!(heard.len(), 41);
    let (pcm, rate) = listen(&pcmu(), &heard);
    assert!((frequency(&pcm[4_000..], rate) - 440.0).abs() < 5.0);
}

#[test]
fn another_source_goes_on_in_the_same_stream() {
    let (mut world, mut a) = call();
    world.talk(400, &mut [&mut a]);
    a.header = Header { ssrc: 99, sequence: 7, timestamp: 0, marker: false, ..a.header };
    world.talk(400, &mut [&mut a]);
    // The same SSRC from elsewhere in its numbers, as after a restart of the peer.
    a.header = Header { sequence: 30_000, timestamp: 0x8000_0000, ..a.header };
    world.talk(400, &mut [&mut a]);
    assert_eq!(world.drops(0), []);
    let heard = world.heard(B_RTP);
    assert_eq!(heard.len(), 60);
    assert_steps(&heard, 960);
    let marked: Vec<usize> = (0..heard.len()).filter(|n| heard[*n].header.marker).collect();
    assert_eq!(marked, [0, 20, 40]);
}

#[test]
fn a_pause_of_the_source_is_one_for_the_sink_with_a_marker_at_its_end() {
    let (mut world, mut a) = call();
    world.talk(400, &mut [&mut a]);
    a.pause(3_000);
    world.wait(3_000);
    world.talk(400, &mut [&mut a]);
    let heard = world.heard(B_RTP);
    let steps = steps(&heard);
    assert_eq!(steps.iter().filter(|step| **step != 960).collect::<Vec<_>>(), [&(151 * 960)]);
    let marked: Vec<usize> = (0..heard.len()).filter(|n| heard[*n].header.marker).collect();
    assert_eq!(marked, [0, 20]);
    assert_eq!(world.port(0).voice.unwrap_or_default().concealed.as_millis(), 0);
}

#[test]
fn numbers_and_timestamps_wrap_without_a_seam() {
    let (mut world, mut a) = (World::call(&[pcmu()], 20, &[g722()], 20), Talker::a(&pcmu(), 20));
    // The source wraps soon; ours has wrapped after so many packets.
    let mut last = None;
    for _ in 0..66_000 {
        let packet = a.speak();
        world.send(A_RTP, A, &packet).unwrap();
        world.micros += 20_000;
        for heard in world.heard(B_RTP) {
            if let Some(before) = last.replace(heard.header) {
                let before: Header = before;
                assert_eq!(heard.header.sequence, before.sequence.wrapping_add(1));
                assert_eq!(heard.header.timestamp, before.timestamp.wrapping_add(160));
            }
        }
        world.sent.clear();
    }
}

#[test]
fn a_call_after_a_change_of_codec_keeps_its_clock_in_an_ssrc() {
    let (mut world, mut a) = call();
    world.talk(400, &mut [&mut a]);
    let before = world.heard(B_RTP);
    world.set(|spec| {
        spec.ports[1].payloads = vec![g722(), events()];
        spec.edges[0].transform = transcode(9, 20);
    });
    world.talk(400, &mut [&mut a]);
    let after = world.heard(B_RTP);
    assert_ne!(after[0].header.ssrc, before[0].header.ssrc, "another clock, another SSRC");
    assert!(after[0].header.marker && after[0].header.sequence <= 0x8000);
    assert_steps(&after, 160);
    // The same clock goes on in its SSRC.
    world.set(|spec| {
        spec.ports[1].payloads = vec![pcma(), events()];
        spec.edges[0].transform = transcode(8, 30);
    });
    world.talk(400, &mut [&mut a]);
    let last = world.heard(B_RTP);
    assert_eq!(last[0].header.ssrc, after[0].header.ssrc);
    assert_eq!(last[0].header.sequence, after.last().unwrap().header.sequence + 1);
}
