//! From relay to mix and back, as media.md says it, judged at the receiver.

use super::world::*;
use command::{BridgeId, Event, Outcome, PlayMode, PortIndex, SdesKeys, Suite};
use media::wire::rtp::Header;

const PITCH: f64 = 500.0;
const LOUD: f64 = 8_000.0;
const PROMPT: f64 = 1_300.0;
/// RTP clock ticks of a millisecond of G.711.
const TICKS: u64 = 8;

/// A relayed call between two sines.
fn relayed(world: &mut World, sealed: bool) -> (BridgeId, usize, usize) {
    let mut sides = vec![side(pcmu(), Says::Sine(PITCH, LOUD)), side(pcmu(), Says::Sine(PITCH, LOUD))];
    if sealed {
        let key = |suite: Suite, fill| SdesKeys {
            suite,
            key: vec![fill; suite.key_len() + suite.salt_len()],
            mki: Vec::new(),
        };
        sides[0].keys = Some((key(Suite::AesCm128Sha1_80, 1), key(Suite::AesCm128Sha1_80, 2)));
        sides[1].keys = Some((key(Suite::AeadAes256Gcm, 3), key(Suite::AeadAes256Gcm, 4)));
    }
    let (id, peers) = world.call(sides);
    (id, peers[0], peers[1])
}

/// A second of a prompt towards the second port.
fn prompt(mode: PlayMode) -> command::Order {
    play(Some(PortIndex(1)), clip(8_000, tone(1.0, 8_000, PROMPT, 6_000.0)), mode)
}

/// What a call looks like around a prompt: a second before it, the second of it, a second after it.
struct Around {
    world: World,
    id: BridgeId,
    a: usize,
    b: usize,
    begun: u64,
    done: u64,
}

fn around(mode: PlayMode, sealed: bool, loss: u64) -> Around {
    let mut world = World::new();
    let (id, a, b) = relayed(&mut world, sealed);
    world.peers[a].loss = loss;
    world.peers[b].loss = loss;
    world.run(1_000);
    let begun = world.time;
    let ticket = world.order(id, &prompt(mode)).unwrap();
    world.run(2_000);
    let ended = world.ended(ticket).unwrap();
    assert_eq!((ended.outcome, ended.length), (Outcome::Done, base::Duration::from_secs(1)));
    let told = |(_, event): &&(u64, Event)| matches!(event, Event::Ended { .. });
    let done = world.events.iter().find(told).unwrap().0;
    Around { world, id, a, b, begun, done }
}

fn headers(world: &World, peer: usize) -> Vec<(u64, Header)> {
    world.peers[peer].got.iter().map(|got| (got.at, got.header)).collect()
}

/// All that a receiver may rely on: one SSRC and payload type, numbers that only go on by one (or by what the network
/// lost while packets were relayed), time that goes on as the clock does.
fn check_headers(around: &Around, losses: bool) {
    let all = headers(&around.world, around.b);
    let first = all[0];
    for pair in all.windows(2) {
        let ((at, one), (then, next)) = (pair[0], pair[1]);
        assert_eq!((next.ssrc, next.payload_type), (first.1.ssrc, 0), "at {}", then - around.begun);
        let step = next.sequence.wrapping_sub(one.sequence);
        let ticks = next.timestamp.wrapping_sub(one.timestamp);
        let made = then > around.begun && then <= around.done;
        assert!(step == 1 || losses && !made && step < 6, "sequence by {step} at {}", then - around.begun);
        assert!(ticks >= 160 && ticks % 160 == 0, "timestamp by {ticks} at {}", then - around.begun);
        // Time on the wire and time in the header go together, to within a frame at the seams.
        let passed = (then - at) as f64 / MS as f64 * TICKS as f64;
        assert!((f64::from(ticks) - passed).abs() <= 160.0 + 8.0, "{ticks} in {passed}");
    }
    let drift = |n: usize| {
        let passed = ((all[n].0 - first.0) as f64 / MS as f64 * TICKS as f64) as i64;
        i64::from(all[n].1.timestamp.wrapping_sub(first.1.timestamp)) - passed
    };
    assert!(drift(all.len() - 1).abs() <= 2 * 160, "over all: {}", drift(all.len() - 1));
    let markers = all[1..].iter().filter(|(_, header)| header.marker).count();
    assert!(markers <= 1, "{markers} markers");
}

/// The other direction was never touched.
fn check_other_direction(around: &Around) {
    let (a, b) = (&around.world.peers[around.a], &around.world.peers[around.b]);
    let sent: Vec<&[u8]> = b.sent.iter().map(|(_, bytes)| &bytes[..]).collect();
    let mut at = 0;
    for got in &a.got {
        at += sent[at..].iter().position(|bytes| *bytes == &got.bytes[..]).expect("byte for byte") + 1;
    }
    assert!(a.got.len() > 140, "{}", a.got.len());
}

/// Where the continuous sine stands in what the receiver plays, in samples of its period, block by block of 10 ms;
/// `None` where it is not heard.
fn phases(pcm: &[i16]) -> Vec<Option<f64>> {
    let period = 8_000.0 / PITCH;
    let blocks = pcm.chunks_exact(80).enumerate().map(|(n, block)| {
        let (mut re, mut im) = (0.0, 0.0);
        for (k, sample) in block.iter().enumerate() {
            let angle = std::f64::consts::TAU * PITCH * (n * 80 + k) as f64 / 8_000.0;
            re += f64::from(*sample) * angle.cos();
            im += f64::from(*sample) * angle.sin();
        }
        let level = 2.0 * re.hypot(im) / 80.0;
        (level > LOUD / 2.0).then(|| im.atan2(re) / std::f64::consts::TAU * period)
    });
    blocks.collect()
}

/// The longest time for which the sine was not where it belongs: breaks of its phase, and holes.
fn longest_break(pcm: &[i16]) -> usize {
    let phases = phases(pcm);
    let (mut longest, mut run, mut last): (usize, usize, Option<f64>) = (0, 0, None);
    let period = 8_000.0 / PITCH;
    for phase in phases {
        let goes_on = phase.is_some_and(|phase| {
            last.is_none_or(|last: f64| {
                let apart = (phase - last).rem_euclid(period);
                apart.min(period - apart) < 1.0
            })
        });
        run = if goes_on { 0 } else { run + 10 };
        last = phase.or(last);
        longest = longest.max(run);
    }
    longest
}

#[test]
fn a_prompt_goes_on_where_the_relayed_stream_is_and_gives_it_back() {
    for mode in [PlayMode::Mix, PlayMode::Replace] {
        let around = around(mode, false, 0);
        check_headers(&around, false);
        check_other_direction(&around);
        let heard = around.world.peers[around.b].decoded(around.begun + 100 * MS, around.done - 100 * MS);
        assert!(amplitude(&heard, 8_000, PROMPT) > 5_000.0, "{mode:?}");
        let other = amplitude(&heard, 8_000, PITCH);
        assert!(if mode == PlayMode::Mix { other > 7_000.0 } else { other < 100.0 }, "{mode:?}: {other}");
    }
}

#[test]
fn a_continuous_sine_breaks_for_forty_milliseconds_at_most() {
    for sealed in [false, true] {
        let around = around(PlayMode::Mix, sealed, 0);
        let pcm = around.world.peers[around.b].timeline(0);
        let longest = longest_break(&pcm);
        assert!(longest <= 40, "{longest} ms, sealed: {sealed}");
    }
}

#[test]
fn encrypted_and_lossy_streams_go_on_as_well() {
    for (sealed, loss) in [(true, 0), (false, 3), (true, 3)] {
        let around = around(PlayMode::Mix, sealed, loss);
        check_headers(&around, loss > 0);
        if !sealed {
            check_other_direction(&around);
        }
        let heard = around.world.peers[around.b].decoded(around.begun + 100 * MS, around.done - 100 * MS);
        assert!(amplitude(&heard, 8_000, PROMPT) > 5_000.0);
        assert!(amplitude(&heard, 8_000, PITCH) > 6_000.0);
    }
}

#[test]
fn after_the_prompt_packets_are_relayed_by_constant_offsets() {
    let around = around(PlayMode::Replace, false, 0);
    let (a, b) = (&around.world.peers[around.a], &around.world.peers[around.b]);
    let mut offsets = Vec::new();
    for got in b.got.iter().filter(|got| got.at > around.done + 60 * MS) {
        let sent = a.sent.iter().rev().find(|(at, _)| *at <= got.at).unwrap();
        let header = media::wire::rtp::Rtp::parse(&sent.1).unwrap().header();
        assert_eq!(sent.1[12..], got.bytes[12..], "the payload is untouched");
        offsets.push((
            got.header.sequence.wrapping_sub(header.sequence),
            got.header.timestamp.wrapping_sub(header.timestamp),
        ));
    }
    assert!(offsets.len() > 40);
    assert!(offsets.windows(2).all(|pair| pair[0] == pair[1]), "{:?}", &offsets[..3]);
}

#[test]
fn reports_of_ours_begin_at_once_and_agree_with_the_stream() {
    for sealed in [false, true] {
        let around = around(PlayMode::Mix, sealed, 0);
        let b = &around.world.peers[around.b];
        let reports: Vec<_> = b
            .sender_reports()
            .into_iter()
            .filter(|(at, ..)| *at >= around.begun && *at <= around.done)
            .collect();
        let first = reports.first().expect("a sender report");
        assert!(first.0 - around.begun < 100 * MS, "after {} ms", (first.0 - around.begun) / MS);
        let ssrc = b.got[0].header.ssrc;
        for (at, sender, info) in reports {
            assert_eq!(sender, ssrc);
            // The stream's own clock at the moment of the report: from the packet that came last.
            let last = b.got.iter().rev().find(|got| got.at <= at).unwrap();
            let expected =
                f64::from(last.header.timestamp) + (at - last.at) as f64 / MS as f64 * TICKS as f64;
            let apart = (f64::from(info.timestamp) - expected).abs() / TICKS as f64;
            assert!(apart <= 5.0, "{apart} ms");
            let wall = super::world::at(at).wall.0;
            let ntp = (info.ntp >> 32) * 1_000_000 + (((info.ntp & 0xffff_ffff) * 1_000_000) >> 32);
            let since_1900 = wall + 2_208_988_800 * 1_000_000;
            assert!(ntp.abs_diff(since_1900) < 5_000, "{ntp} {since_1900}");
        }
    }
}

/// A sender report of a peer as it would be now.
fn report_of(world: &World, peer: usize) -> Vec<u8> {
    let peer = &world.peers[peer];
    let mut bytes = vec![0x80, 200, 0, 6];
    bytes.extend(peer.ssrc.to_be_bytes());
    bytes.extend([0xe8, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(peer.timestamp.to_be_bytes());
    bytes.extend(100u32.to_be_bytes());
    bytes.extend(16_000u32.to_be_bytes());
    bytes
}

#[test]
fn reports_of_peers_are_mapped_after_the_prompt_and_end_here_during_it() {
    let mut world = World::new();
    let (id, a, b) = relayed(&mut world, false);
    world.run(1_000);
    let bytes = report_of(&world, a);
    world.report_from(a, &bytes);
    let count = |world: &World| world.peers[b].sender_reports().len();
    assert_eq!(count(&world), 1, "relayed before");
    world.order(id, &prompt(PlayMode::Replace)).unwrap();
    world.run(500);
    let before = count(&world);
    let bytes = report_of(&world, a);
    world.report_from(a, &bytes);
    assert_eq!(count(&world), before, "it would tell of another stream than B gets");
    world.run(1_000);
    let before = count(&world);
    let bytes = report_of(&world, a);
    world.report_from(a, &bytes);
    assert_eq!(count(&world), before + 1);
    let (_, sender, info) = *world.peers[b].sender_reports().last().unwrap();
    let last = world.peers[b].got.last().unwrap();
    assert_eq!(sender, last.header.ssrc);
    let sent = world.peers[a].timestamp.wrapping_sub(160);
    let offset = last.header.timestamp.wrapping_sub(sent);
    assert_eq!(info.timestamp, world.peers[a].timestamp.wrapping_add(offset), "mapped as its packets are");
    // What B says of the stream names the source's own numbers again on A's side.
    let extended = u32::from(last.header.sequence);
    let mut block = vec![0x81, 201, 0, 7];
    block.extend(world.peers[b].ssrc.to_be_bytes());
    block.extend(last.header.ssrc.to_be_bytes());
    block.extend([0, 0, 0, 0]);
    block.extend(extended.to_be_bytes());
    block.extend([0; 12]);
    let before = world.peers[a].reports.len();
    world.report_from(b, &block);
    assert_eq!(world.peers[a].reports.len(), before + 1);
    let (_, bytes) = world.peers[a].reports.last().unwrap();
    let compound = media::wire::rtcp::Compound::parse(bytes).unwrap();
    let back = compound.parts().flat_map(|part| part.blocks()).next().unwrap();
    assert_eq!(back.ssrc, world.peers[a].ssrc);
    assert_eq!(back.highest as u16, world.peers[a].sequence.wrapping_sub(1));
}

#[test]
fn another_prompt_later_goes_on_in_the_same_stream() {
    let mut world = World::new();
    let (id, a, b) = relayed(&mut world, false);
    world.run(1_000);
    let begun = world.time;
    world.order(id, &prompt(PlayMode::Mix)).unwrap();
    world.run(2_000);
    world.order(id, &prompt(PlayMode::Replace)).unwrap();
    world.run(2_000);
    let done = world.time;
    let around = Around { world, id, a, b, begun, done };
    check_headers(&around, false);
    check_other_direction(&around);
    let report = around.world.bridges.report(around.world.now(), around.id).unwrap();
    assert!(report.ports.iter().all(|port| port.dropped.is_empty()), "{:?}", report.ports);
}

#[test]
fn what_cannot_be_made_or_is_encrypted_for_others_stays_as_it_was() {
    let mut world = World::new();
    let sides = vec![side(pcmu(), Says::Sine(PITCH, LOUD)), side(pcmu(), Says::Sine(PITCH, LOUD))];
    let (id, _) = world.call_with(sides, |spec| {
        spec.ports[0].payloads = vec![payload(18, "g729", 8_000)];
        spec.ports[1].payloads = vec![payload(18, "g729", 8_000)];
    });
    world.run(500);
    let refused = world.order(id, &prompt(PlayMode::Replace)).unwrap_err();
    assert!(refused.0.contains("format"), "{}", refused.0);
    let (other, peers) = world.call_with(
        vec![side(pcmu(), Says::Sine(PITCH, LOUD)), side(pcmu(), Says::Sine(PITCH, LOUD))],
        |spec| spec.ports.iter_mut().for_each(|port| port.remotes[0].sealed = true),
    );
    world.run(500);
    let refused = world.order(other, &prompt(PlayMode::Replace)).unwrap_err();
    assert!(refused.0.contains("keys"), "{}", refused.0);
    world.run(500);
    for (from, to) in [(peers[0], peers[1]), (peers[1], peers[0])] {
        let (sent, got) = (&world.peers[from].sent, &world.peers[to].got);
        assert!(got.len() > 40 && sent.iter().zip(got).all(|((_, sent), got)| *sent == got.bytes));
    }
    assert!(world.events.iter().all(|(_, event)| !matches!(event, Event::Ended { .. })));
}

#[test]
fn opus_goes_on_in_its_own_clock() {
    let mut world = World::new();
    let sides = vec![side(opus(), Says::Sine(PITCH, LOUD)), side(opus(), Says::Sine(PITCH, LOUD))];
    let (id, peers) = world.call(sides);
    world.run(1_000);
    let ticket = world.order(id, &prompt(PlayMode::Mix)).unwrap();
    world.run(500);
    let since = world.time;
    world.run(1_500);
    assert_eq!(world.ended(ticket).unwrap().outcome, Outcome::Done);
    let got = &world.peers[peers[1]].got;
    assert!(got.len() > 95, "{}", got.len());
    for pair in got.windows(2) {
        let (one, next) = (pair[0].header, pair[1].header);
        assert_eq!((next.ssrc, next.payload_type), (one.ssrc, 111));
        assert_eq!(next.sequence, one.sequence.wrapping_add(1));
        let ticks = next.timestamp.wrapping_sub(one.timestamp);
        assert!((960..=3 * 960).contains(&ticks) && ticks % 960 == 0, "{ticks}");
    }
    let during = world.peers[peers[1]].decoded(since - 300 * MS, since);
    assert!(amplitude(&during, 48_000, PROMPT) > 3_500.0 && amplitude(&during, 48_000, PITCH) > 5_000.0);
}

#[test]
fn video_beside_it_stays_relayed() {
    let mut world = World::new();
    let sides = || {
        let mut sides = vec![side(pcmu(), Says::Sine(PITCH, LOUD)), side(pcmu(), Says::Sine(PITCH, LOUD))];
        // Their packets stand for pictures: what is in them is looked at by nobody.
        sides.extend([side(pcmu(), Says::Sine(PITCH, LOUD)), side(pcmu(), Says::Sine(PITCH, LOUD))]);
        sides
    };
    let (id, peers) = world.call_with(sides(), |spec| {
        spec.edges.retain(|edge| edge.from.0 / 2 == edge.to.0 / 2);
        for n in [2, 3] {
            spec.ports[n].party = command::Party(n as u16 - 2);
            spec.ports[n].payloads = vec![payload(0, "vp8", 90_000)];
        }
    });
    world.run(500);
    world.order(id, &prompt(PlayMode::Replace)).unwrap();
    world.run(2_000);
    for (from, to) in [(peers[2], peers[3]), (peers[3], peers[2])] {
        let (sent, got) = (&world.peers[from].sent, &world.peers[to].got);
        assert!(got.len() > 120 && sent.iter().zip(got).all(|((_, sent), got)| *sent == got.bytes));
    }
}
