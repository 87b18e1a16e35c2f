//! What is written down of a call or room: sample by sample.

use super::world::*;
use command::{BridgeId, FileFormat, Layout, Order, Outcome, Payload, PlayMode, Recording, RoomSpec, Ticket};
use media::Tape;
use media::wire::rtp::Header;
use std::sync::{Arc, Mutex};

#[derive(Default)]
pub struct Log {
    left: Vec<i16>,
    right: Vec<i16>,
    /// Where pauses begin and end.
    pauses: Vec<(usize, bool)>,
    paused: bool,
    finished: Option<Outcome>,
}

#[derive(Clone, Default)]
pub struct Reel(Arc<Mutex<Log>>);

impl Tape for Reel {
    fn push(&mut self, left: &[i16], right: &[i16]) {
        let mut log = self.0.lock().unwrap();
        let silence = vec![0; left.len()];
        let (left, right) = if log.paused { (&silence[..], &silence[..]) } else { (left, right) };
        log.left.extend(left);
        log.right.extend(right);
    }

    fn mark_pause(&mut self, on: bool) {
        let mut log = self.0.lock().unwrap();
        let at = log.left.len();
        log.paused = on;
        log.pauses.push((at, on));
    }

    fn finish(self: Box<Self>, outcome: Outcome) {
        assert_eq!(self.0.lock().unwrap().finished.replace(outcome), None, "finished once");
    }
}

impl Reel {
    pub fn left(&self) -> Vec<i16> {
        self.0.lock().unwrap().left.clone()
    }

    pub fn right(&self) -> Vec<i16> {
        self.0.lock().unwrap().right.clone()
    }

    pub fn finished(&self) -> Option<Outcome> {
        self.0.lock().unwrap().finished
    }
}

pub fn stereo() -> Recording {
    Recording {
        path: "call".into(),
        layout: Layout::Stereo,
        format: FileFormat::Wav,
        rate: None,
        mask_digits: false,
        from_first_packet: false,
    }
}

fn mono() -> Recording {
    Recording { layout: Layout::Mono, ..stereo() }
}

pub fn record(world: &mut World, id: BridgeId, recording: &Recording) -> (Ticket, Reel) {
    let reel = Reel::default();
    let ticket = world.ticket();
    let now = world.now();
    let rate = recording.rate.unwrap_or(world.bridges.tape_want(id).unwrap().widest);
    world.bridges.record(now, id, ticket, recording, rate, Box::new(reel.clone())).unwrap();
    (ticket, reel)
}

/// A tape that keeps nothing.
struct Waste;

impl Tape for Waste {
    fn push(&mut self, _left: &[i16], _right: &[i16]) {}
    fn mark_pause(&mut self, _on: bool) {}
    fn finish(self: Box<Self>, _outcome: Outcome) {}
}

/// Records on such a tape.
pub fn record_nothing(world: &mut World, id: BridgeId) {
    let (ticket, now) = (world.ticket(), world.now());
    world.bridges.record(now, id, ticket, &stereo(), 16_000, Box::new(Waste)).unwrap();
}

/// Samples that are told apart for eight seconds, in G.711 too, and are never 0.
pub fn counter(seed: u64) -> Says {
    let mut rng = base::Rng::from_seed(seed);
    Says::Samples(
        (0..65_535)
            .map(|_| rng.below(20_000) as i16 - 10_000)
            .map(|n| if n.abs() < 8 { 99 } else { n })
            .collect(),
    )
}

/// What a peer has sent in whole, decoded.
pub fn said(world: &World, peer: usize) -> Vec<i16> {
    let peer = &world.peers[peer];
    let mut decoder = decoder(&peer.payload);
    let mut pcm = [0; 5_760];
    let mut all = Vec::new();
    for (_, bytes) in &peer.sent {
        let len = decoder.decode(&bytes[12..], &mut pcm).unwrap();
        all.extend(&pcm[..len]);
    }
    all
}

/// Every sample of a channel is that of what was said, one after the other, from somewhere on; how many. With disorder on
/// the way the first tenth of a second is told by what came before the recording.
fn check_exact(channel: &[i16], said: &[i16], jitter: u64) -> usize {
    let first = channel.iter().position(|sample| *sample != 0).expect("something was recorded");
    let first = first + if jitter > 0 { 1_000 } else { 0 };
    let heard = &channel[first..];
    let probe = &heard[..heard.len().min(64)];
    let begin =
        said.windows(probe.len()).position(|window| window == probe).expect("it begins where it was said");
    let wrong = heard.iter().zip(&said[begin..]).position(|(one, other)| one != other);
    assert_eq!(wrong, None, "sample {wrong:?} of {} differs", heard.len());
    assert!(begin + heard.len() <= said.len(), "more was recorded than said");
    heard.len()
}

fn recorded_call(format: &Payload, jitter: u64) {
    let mut world = World::new();
    let (id, peers) =
        world.call(vec![side(format.clone(), counter(1)), side(format.clone(), counter(30_000))]);
    // Others, whose packets come late and in disorder.
    let (other, noisy) = world.call(vec![side(pcmu(), counter(1)), side(pcmu(), counter(2))]);
    for peer in noisy {
        world.peers[peer].jitter = 100 * MS;
    }
    for peer in &peers {
        world.peers[*peer].jitter = jitter;
    }
    world.run(500);
    let (ticket, reel) = record(&mut world, id, &stereo());
    let (_, beside) = record(&mut world, other, &stereo());
    world.run(6_000);
    world.order(id, &Order::Stop { started: ticket }).unwrap();
    assert_eq!(reel.finished(), None, "what was said until now is still heard");
    world.run(300);
    assert_eq!(reel.finished(), Some(Outcome::Done));
    assert_eq!(beside.finished(), None);
    let length = reel.left().len();
    assert!((47_800..=48_200).contains(&length), "six seconds are {length} samples");
    assert_eq!(length, reel.right().len());
    for (channel, peer) in [(reel.left(), peers[0]), (reel.right(), peers[1])] {
        let exact = check_exact(&channel, &said(&world, peer), jitter);
        assert!(exact > 8_000 * 29 / 5, "{exact} samples");
    }
    // Relayed all the while.
    assert!(
        world.peers[peers[1]]
            .got
            .iter()
            .all(|got| world.peers[peers[0]].sent.iter().any(|(_, sent)| *sent == got.bytes))
    );
}

#[test]
fn every_sample_of_both_sides_is_recorded_once() {
    recorded_call(&l16(8_000), 0);
    recorded_call(&pcmu(), 0);
}

#[test]
fn jitter_of_a_hundred_milliseconds_costs_no_sample() {
    recorded_call(&l16(8_000), 100 * MS);
    recorded_call(&pcma(), 100 * MS);
}

#[test]
fn mono_holds_both_sides_in_one_channel() {
    let mut world = World::new();
    let sides = vec![side(pcmu(), Says::Sine(430.0, 5_000.0)), side(pcmu(), Says::Sine(1_130.0, 5_000.0))];
    let (id, _) = world.call(sides);
    world.run(500);
    let (_, reel) = record(&mut world, id, &mono());
    let (_, both) = record(&mut world, id, &stereo());
    world.run(3_000);
    let (mono, left, right) = (reel.left(), both.left(), both.right());
    for (pcm, low, high) in [(&mono, true, true), (&left, true, false), (&right, false, true)] {
        let pcm = &pcm[8_000..];
        for (pitch, wanted) in [(430.0, low), (1_130.0, high)] {
            let level = amplitude(pcm, 8_000, pitch);
            assert!(if wanted { level > 4_500.0 } else { level < 50.0 }, "{pitch}: {level}");
        }
    }
}

#[test]
fn what_is_said_in_a_pause_is_on_no_tape_and_time_goes_on() {
    let mut world = World::new();
    let (id, peers) = world.call(vec![side(pcmu(), Says::Sine(430.0, 5_000.0)), side(pcmu(), Says::Quiet)]);
    world.run(500);
    let (ticket, reel) = record(&mut world, id, &stereo());
    world.run(2_000);
    world.order(id, &Order::Pause { started: ticket }).unwrap();
    // The number of a card.
    world.peers[peers[0]].says = Says::Sine(1_130.0, 5_000.0);
    world.run(1_000);
    world.order(id, &Order::Resume { started: ticket }).unwrap();
    world.peers[peers[0]].says = Says::Sine(1_970.0, 5_000.0);
    world.run(2_000);
    world.order(id, &Order::Stop { started: ticket }).unwrap();
    world.run(300);
    let pauses = reel.0.lock().unwrap().pauses.clone();
    assert_eq!(pauses.iter().map(|(_, on)| *on).collect::<Vec<_>>(), [true, false]);
    let (from, to) = (pauses[0].0, pauses[1].0);
    assert!((7_800..=8_700).contains(&(to - from)), "{}", to - from);
    let left = reel.left();
    assert!(left[from..to].iter().all(|sample| *sample == 0));
    for block in left.chunks_exact(400) {
        let leaked = amplitude(block, 8_000, 1_130.0);
        assert!(
            leaked < 500.0
                || amplitude(block, 8_000, 430.0) > 500.0
                || amplitude(block, 8_000, 1_970.0) > 500.0
        );
    }
    assert!(amplitude(&left[..from], 8_000, 1_130.0) < 50.0 && amplitude(&left[to..], 8_000, 1_130.0) < 50.0);
    // Of what is said outside the pause hardly anything is missing.
    let said = |pitch: f64, pcm: &[i16]| {
        pcm.chunks_exact(160).filter(|b| amplitude(b, 8_000, pitch) > 3_000.0).count()
    };
    assert!(said(430.0, &left[..from]) >= 85, "{} of 88 ticks", said(430.0, &left[..from]));
    assert!(said(1_970.0, &left[to..]) >= 82, "{} of 88 ticks", said(1_970.0, &left[to..]));
    assert!((39_800..=40_200).contains(&left.len()), "{}", left.len());
    let refused = world.order(id, &Order::Pause { started: ticket }).unwrap_err();
    assert!(refused.0.contains("recording"), "{}", refused.0);
}

#[test]
fn pauses_that_follow_each_other_quickly_never_record_what_is_said_in_them() {
    let mut world = World::new();
    let (id, _) = world.call(vec![side(pcmu(), Says::Sine(430.0, 5_000.0)), side(pcmu(), Says::Quiet)]);
    world.run(500);
    let (ticket, reel) = record(&mut world, id, &stereo());
    world.run(1_000);
    let pause = Order::Pause { started: ticket };
    world.order(id, &pause).unwrap();
    world.run(500);
    world.order(id, &Order::Resume { started: ticket }).unwrap();
    world.run(60);
    world.order(id, &pause).unwrap();
    world.run(2_000);
    let left = reel.left();
    assert!(left[left.len() - 14_000..].iter().all(|sample| *sample == 0));
}

#[test]
fn a_recording_may_begin_with_the_first_packet() {
    for from_first_packet in [true, false] {
        let mut world = World::new();
        let (id, peers) = world.call(vec![side(pcmu(), Says::Nothing), side(pcmu(), Says::Nothing)]);
        let recording = Recording { from_first_packet, ..stereo() };
        let (_, reel) = record(&mut world, id, &recording);
        world.run(2_000);
        assert_eq!(reel.left().is_empty(), from_first_packet);
        world.peers[peers[1]].says = counter(1);
        world.run(2_000);
        let len = reel.left().len();
        let wanted = if from_first_packet { 13_000..=16_000 } else { 29_900..=32_200 };
        assert!(wanted.contains(&len), "{len}");
        check_exact(&reel.right(), &said(&world, peers[1])[..], 0);
    }
}

#[test]
fn digits_are_masked_in_speech_and_where_they_come_as_events() {
    for masks in [true, false] {
        let mut world = World::new();
        let (id, peers) =
            world.call(vec![side(pcmu(), Says::Sine(1_000.0, 3_000.0)), side(pcmu(), Says::Quiet)]);
        world.run(500);
        let (_, reel) = record(&mut world, id, &Recording { mask_digits: masks, ..stereo() });
        world.run(1_000);
        // The five, in the speech.
        world.peers[peers[0]].says = Says::Chord(vec![(770.0, 8_000.0), (1_336.0, 8_000.0)]);
        world.run(200);
        world.peers[peers[0]].says = Says::Sine(1_000.0, 3_000.0);
        world.run(1_500);
        let left = reel.left();
        let mut detector = media::dtmf::tones::Detector::new(8_000);
        let mut found = 0;
        left.chunks(160).for_each(|block| detector.process(block, |_| found += 1));
        assert_eq!(found == 0, masks, "{found}");
        assert!(amplitude(&left[4_000..8_000], 8_000, 1_000.0) > 2_500.0, "what is no digit is heard");
        let tail = &left[left.len() - 4_000..];
        assert!(amplitude(tail, 8_000, 1_000.0) > 2_500.0, "and after it");
    }
}

#[test]
fn what_leaks_into_the_speech_while_an_event_is_sent_is_masked() {
    let mut world = World::new();
    let (id, peers) = world.call(vec![side(pcmu(), Says::Quiet), side(pcmu(), Says::Quiet)]);
    world.run(500);
    let (_, reel) = record(&mut world, id, &Recording { mask_digits: true, ..stereo() });
    world.run(1_000);
    // A peer whose speech goes on beside the events: something that no detector would take for a digit.
    let slot = 0;
    let stamp = world.peers[peers[0]].timestamp;
    world.peers[peers[0]].says = Says::Sine(1_700.0, 6_000.0);
    for n in 0..15u16 {
        let peer = &mut world.peers[peers[0]];
        let header = Header {
            marker: n == 0,
            payload_type: 101,
            sequence: peer.sequence,
            timestamp: stamp,
            ssrc: peer.ssrc,
        };
        peer.sequence = peer.sequence.wrapping_add(1);
        let ticks = (160 * (n + 1)).to_be_bytes();
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend([5, if n >= 12 { 0x8a } else { 0x0a }, ticks[0], ticks[1]]);
        world.deliver(slot, peers[0], &bytes);
        world.run(20);
    }
    world.peers[peers[0]].says = Says::Quiet;
    world.run(1_000);
    let loud = reel.left().iter().filter(|sample| sample.unsigned_abs() > 3_000).count();
    assert!(loud < 8 * 60, "{loud} samples of what sounded under the event were recorded");
}

#[test]
fn several_recordings_and_prompts_go_on_beside_each_other() {
    let mut world = World::new();
    let (id, peers) = world.call(vec![side(l16(8_000), counter(1)), side(l16(8_000), counter(5_000))]);
    world.run(500);
    let (first, one) = record(&mut world, id, &stereo());
    world.run(1_000);
    let (_, two) = record(&mut world, id, &stereo());
    world.run(1_000);
    world.order(id, &Order::Stop { started: first }).unwrap();
    world.run(1_000);
    world.close(id);
    assert_eq!((one.finished(), two.finished()), (Some(Outcome::Done), Some(Outcome::Closed)));
    for (reel, least) in [(&one, 13_000), (&two, 15_000)] {
        let (left, right) = (said(&world, peers[0]), said(&world, peers[1]));
        assert!(
            check_exact(&reel.left(), &left, 0) >= least && check_exact(&reel.right(), &right, 0) >= least
        );
    }
    let refused = world.bridges.tape_want(id).unwrap_err();
    assert!(!refused.0.is_empty());
}

#[test]
fn a_ninth_recording_and_one_of_what_cannot_be_decoded_are_refused() {
    let mut world = World::new();
    let (id, _) = world.call(vec![side(pcmu(), Says::Quiet), side(pcmu(), Says::Quiet)]);
    for _ in 0..8 {
        record(&mut world, id, &mono());
    }
    assert!(world.bridges.tape_want(id).unwrap_err().0.contains("too many"));
    let (other, _) = world.call_with(vec![side(pcmu(), Says::Quiet), side(pcmu(), Says::Quiet)], |spec| {
        spec.ports.iter_mut().for_each(|port| port.payloads = vec![payload(18, "g729", 8_000)]);
    });
    assert!(world.bridges.tape_want(other).unwrap_err().0.contains("decoded"));
}

#[test]
fn a_room_is_recorded_as_all_hear_it() {
    let mut world = World::new();
    let room = world.room(RoomSpec::default());
    let pitches = [430.0, 1_130.0, 5_300.0];
    let mut peers = Vec::new();
    for (pitch, format) in pitches.into_iter().zip([pcmu(), pcma(), g722()]) {
        let (_, peer) = world.solo(format, Says::Sine(pitch, 5_000.0));
        world.sit(peer, Some(seat(room)));
        peers.push(peer);
    }
    world.run(500);
    let (ticket, reel) = record(&mut world, room, &mono());
    world.run(2_000);
    world.order(room, &play(None, clip(8_000, tone(1.0, 8_000, 1_970.0, 5_000.0)), PlayMode::Mix)).unwrap();
    world.run(1_000);
    world.order(room, &Order::Stop { started: ticket }).unwrap();
    assert_eq!(reel.finished(), Some(Outcome::Done));
    let pcm = reel.left();
    assert!((47_600..=48_400).contains(&pcm.len()), "{}", pcm.len());
    for pitch in pitches {
        let level = amplitude(&pcm[8_000..30_000], 16_000, pitch);
        assert!(level > 3_500.0, "{pitch}: {level}");
    }
    let announced = amplitude(&pcm[34_000..46_000], 16_000, 1_970.0);
    assert!(announced > 3_500.0, "{announced}");
    let (_, again) = record(&mut world, room, &mono());
    world.run(500);
    world.close(room);
    assert_eq!(again.finished(), Some(Outcome::Closed));
}
