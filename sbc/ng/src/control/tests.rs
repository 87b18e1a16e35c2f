//! What requests do to the media of a call, told by the spec, the orders and the answers that come of them.

use super::*;
use crate::facts::testing::{WALL, party, spec, two};
use crate::options::{All, DtmfSecurity, Echo};
use crate::value::Value;
use base::Rng;
use base::{Duration, Instant};
use command::{BridgeId, Ended, Outcome, PortIndex, Sound, Transform, Voice};
use ledger::{CallIds, RecordingState};
use proptest::prelude::*;

/// Requests that waited, and what they are answered.
type Answered = Vec<(Ticket, Result<Dict, Failure>)>;

struct World {
    controls: Controls,
    facts: CallFacts,
    recordings: Arc<Recordings>,
    tickets: u64,
    now: Now,
}

impl World {
    fn new(facts: CallFacts) -> World {
        let recordings = Arc::new(Recordings::default());
        let id = CallIds::new(WALL, 0, 1).mint();
        let made = |name, clock| Makeable { name, clock, channels: 1, fmtp: "", number: 96, ptimes: &[20] };
        let makeable = Arc::from([made("PCMU", 8_000), made("PCMA", 8_000), made("opus", 48_000)]);
        let (kept, events) = (Arc::clone(&recordings), EventBus::new(WALL));
        let controls = Controls::new(id, Rng::from_seed(1), makeable, kept, events);
        World {
            controls,
            facts,
            recordings,
            tickets: 0,
            now: Now { mono: Instant(1_000_000_000), wall: WALL },
        }
    }

    /// What came of something: the answer, the asks and the answers of earlier requests.
    fn with<R>(
        &mut self,
        act: impl FnOnce(&mut Controls, Now, &CallFacts, &mut Effects<'_>) -> R,
    ) -> (R, Vec<MediaAsk>, Answered) {
        let tickets = &mut self.tickets;
        let mut new_ticket = || {
            *tickets += 1;
            Ticket(*tickets)
        };
        let mut effects = Effects::new(&mut new_ticket);
        let done = act(&mut self.controls, self.now, &self.facts, &mut effects);
        (done, effects.asks, effects.answered)
    }

    fn ask(&mut self, request: &Request) -> (Answer, Vec<MediaAsk>) {
        let (answer, asks, answered) =
            self.with(|c, now, facts, effects| c.handle(now, request, facts, effects));
        assert!(answered.is_empty());
        (answer, asks)
    }

    /// Asks for what changes the spec only.
    fn mark(&mut self, request: &Request) -> Result<Dict, Failure> {
        if request.command == Command::Connect {
            return self.controls.connect(request, &self.facts).map(|_| Dict::new());
        }
        let (answer, asks) = self.ask(request);
        assert_eq!(asks, []);
        match answer {
            Answer::Now(result) => result,
            Answer::Later(_) => panic!("nothing to wait for"),
        }
    }

    fn spec(&self) -> BridgeSpec {
        let mut spec = spec(&self.facts);
        self.controls.apply(&self.facts, false, &mut spec);
        spec
    }

    fn transform(&self, from: u16, to: u16) -> Option<Transform> {
        let spec = self.spec();
        let edge = spec.edges.iter().find(|edge| (edge.from, edge.to) == (PortIndex(from), PortIndex(to)));
        edge.map(|edge| edge.transform.clone())
    }

    fn event(&mut self, event: &Event) -> Answered {
        let (taken, asks, answered) = self.with(|c, now, _, effects| c.handle_media(now, event, effects));
        assert!(taken && asks.is_empty(), "{event:?}");
        answered
    }
}

fn request(command: Command) -> Request {
    Request {
        command,
        call_id: Some(b"call".to_vec()),
        from_tag: None,
        to_tag: None,
        via_branch: None,
        sdp: None,
        options: Options::default(),
        unknown: Vec::new(),
    }
}

/// With `from-tag` and `directional`.
fn from(command: Command, tag: &str) -> Request {
    let mut request = request(command);
    request.from_tag = Some(tag.as_bytes().to_vec());
    request.options.selector.directional = true;
    request
}

fn flow(command: Command, tag: &str, to: &str) -> Request {
    Request { to_tag: Some(to.as_bytes().to_vec()), ..from(command, tag) }
}

fn all(command: Command, tag: &str, all: All) -> Request {
    let mut request = from(command, tag);
    request.options.selector.all = Some(all);
    request
}

fn relay() -> Option<Transform> {
    Some(Transform::Relay { payload_map: Vec::new(), rewrite: None })
}

/// A and B in a call, C hears A by subscription.
fn heard() -> CallFacts {
    let mut facts = two();
    let mut third = party(2, "C", &[]);
    (third.role, third.sources) = (crate::facts::Role::Subscribes, vec![Party(0)]);
    facts.parties.push(third);
    facts
}

const FAILED: fn(&'static str) -> Failure = Failure::Media;

fn report(ticket: Ticket) -> Event {
    Event::Report { bridge: BridgeId::new(0, 0, 0, 1), ticket, report: Box::default() }
}

fn ended(ticket: Ticket, outcome: Outcome) -> Event {
    let ended = Ended { outcome, length: Duration::from_secs(3), lost: Duration::ZERO };
    Event::Ended { bridge: BridgeId::new(0, 0, 0, 1), ticket, ended }
}

fn clip(millis: usize) -> Clip {
    Clip { rate: 8_000, samples: vec![0; millis * 8].into() }
}

#[test]
fn media_is_blocked_of_a_call_a_party_or_a_flow() {
    let mut world = World::new(heard());
    assert_eq!(world.mark(&request(Command::BlockMedia)), Ok(Dict::new()));
    assert_eq!(
        (world.transform(0, 1), world.transform(1, 0)),
        (Some(Transform::Drop), Some(Transform::Drop))
    );
    world.mark(&request(Command::UnblockMedia)).unwrap();
    world.mark(&from(Command::BlockMedia, "A")).unwrap();
    assert_eq!((world.transform(0, 1), world.transform(1, 0)), (Some(Transform::Drop), relay()));
    // The whole call is let go, the party is not, unless all are meant.
    world.mark(&request(Command::UnblockMedia)).unwrap();
    assert_eq!(world.transform(0, 1), Some(Transform::Drop));
    world.mark(&all(Command::UnblockMedia, "A", All::All)).unwrap();
    assert_eq!(world.transform(0, 1), relay());
    world.mark(&flow(Command::BlockMedia, "B", "A")).unwrap();
    assert_eq!((world.transform(0, 1), world.transform(1, 0)), (relay(), Some(Transform::Drop)));
    world.mark(&flow(Command::UnblockMedia, "B", "A")).unwrap();
    assert_eq!(world.transform(1, 0), relay());
}

#[test]
fn flows_are_chosen_by_how_they_came_about() {
    let mut world = World::new(heard());
    let flows = |world: &World| {
        let selected = |to| world.controls.marks.blocks(Party(0), Party(to));
        (selected(1), selected(2))
    };
    for (which, expected) in [
        (All::OfferAnswer, (true, false)),
        (All::ExceptOfferAnswer, (false, true)),
        (All::Flows, (true, true)),
    ] {
        world.mark(&all(Command::BlockMedia, "A", which)).unwrap();
        assert_eq!(flows(&world), expected, "{which:?}");
        world.mark(&all(Command::UnblockMedia, "A", which)).unwrap();
        assert_eq!(flows(&world), (false, false));
    }
    let nobody = world.mark(&all(Command::BlockMedia, "B", All::ExceptOfferAnswer));
    assert_eq!(nobody, Err(FAILED("No eligible media subscriptions found")));
    let unheard = world.mark(&flow(Command::BlockMedia, "B", "C"));
    assert_eq!(unheard, Err(FAILED("Media flow not found (to-tag not subscribed)")));
    let unknown = world.mark(&flow(Command::BlockMedia, "A", "X"));
    assert_eq!(unknown, Err(FAILED("Media flow not found (to-tag not found)")));
}

#[test]
fn parties_are_found_as_rtpengine_finds_them() {
    let mut world = World::new(two());
    world.facts.parties[1].label = Some(b"callee".to_vec());
    // A tag alone means the whole call.
    let mut tag = from(Command::SilenceMedia, "X");
    tag.options.selector.directional = false;
    assert_eq!(world.mark(&tag), Ok(Dict::new()));
    assert_eq!(world.transform(0, 1), Some(Transform::Silence));
    world.mark(&request(Command::UnsilenceMedia)).unwrap();
    let unknown = world.mark(&from(Command::SilenceMedia, "X"));
    assert_eq!(unknown, Err(FAILED("From-tag given, but no such tag exists")));
    let by = |set: &dyn Fn(&mut Options)| {
        let mut request = request(Command::SilenceMedia);
        set(&mut request.options);
        request
    };
    let label = |text: &'static [u8]| by(&move |options| options.selector.label = Some(text.to_vec()));
    let address = |text: &str| by(&|options| options.selector.address = Some(text.parse().unwrap()));
    assert_eq!(world.mark(&label(b"who")), Err(FAILED("No monologue matching the given label")));
    assert_eq!(world.mark(&address("192.0.2.9")), Err(FAILED("Failed to match address to any tag")));
    world.mark(&label(b"callee")).unwrap();
    assert_eq!((world.transform(0, 1), world.transform(1, 0)), (relay(), Some(Transform::Silence)));
    world.mark(&address("192.0.2.1")).unwrap();
    assert_eq!(world.transform(0, 1), Some(Transform::Silence));
}

#[test]
fn silence_opens_nothing_that_is_closed() {
    let mut world = World::new(two());
    world.mark(&request(Command::SilenceMedia)).unwrap();
    let mut spec = spec(&world.facts);
    spec.edges[0].transform = Transform::Drop;
    world.controls.apply(&world.facts, false, &mut spec);
    assert_eq!([&spec.edges[0].transform, &spec.edges[1].transform], [&Transform::Drop, &Transform::Silence]);
    world.mark(&from(Command::BlockMedia, "B")).unwrap();
    assert_eq!(world.transform(1, 0), Some(Transform::Drop), "what is blocked is not heard as silence");
}

fn voices(world: &World) -> [Voice; 2] {
    let spec = world.spec();
    [0, 1].map(|port| spec.ports[port].voice.clone())
}

#[test]
fn digits_are_blocked_and_what_they_should_become_instead_is_warned_of() {
    let mut world = World::new(two());
    let blocks = |world: &World| voices(world).map(|voice| voice.digits.block);
    assert_eq!(world.mark(&from(Command::BlockDtmf, "A")), Ok(Dict::new()));
    assert_eq!(blocks(&world), [true, false]);
    let mut masked = from(Command::BlockDtmf, "B");
    masked.options.media.dtmf_security = Some(DtmfSecurity::Random);
    let reply = world.mark(&masked).unwrap();
    let warning = Value::text("DTMF-security=random: digits are dropped instead");
    assert_eq!((reply.get("warning"), blocks(&world)), (Some(&warning), [true, true]));
    masked.options.media.dtmf_security = Some(DtmfSecurity::Off);
    assert_eq!(world.mark(&masked), Ok(Dict::new()));
    assert_eq!(blocks(&world), [true, false]);
    world.mark(&request(Command::UnblockDtmf)).unwrap();
    assert_eq!(blocks(&world), [true, false], "what is said of a party stays");
    let mut everybody = request(Command::UnblockDtmf);
    everybody.options.selector.all = Some(All::All);
    world.mark(&everybody).unwrap();
    assert_eq!(blocks(&world), [false, false]);
}

#[test]
fn digits_blocked_by_an_offer_are_let_go_by_a_request() {
    let mut world = World::new(two());
    let mut options = Options::default();
    options.media.block_dtmf = true;
    world.controls.take_options(Party(0), &options);
    let mut spec = spec(&world.facts);
    spec.ports[0].voice.digits.block = true; // as the offer's own state says
    world.mark(&from(Command::UnblockDtmf, "A")).unwrap();
    world.controls.apply(&world.facts, false, &mut spec);
    assert!(!spec.ports[0].voice.digits.block);
}

#[test]
fn digits_are_told_of_where_somebody_listens() {
    let mut world = World::new(two());
    let reports = |world: &World| voices(world).map(|voice| voice.digits.report);
    assert_eq!(reports(&world), [false, false]);
    let mut options = Options::default();
    options.media.detect_dtmf = true;
    world.controls.take_options(Party(1), &options);
    assert_eq!(reports(&world), [false, true]);
    let mut spec = spec(&world.facts);
    world.controls.apply(&world.facts, true, &mut spec);
    assert!(spec.ports.iter().all(|port| port.voice.digits.report));
}

#[test]
fn echo_goes_back_to_whom_it_is_meant_for() {
    let back = |world: &World, port| match world.transform(port, port) {
        Some(Transform::Relay { rewrite: Some(rewrite), .. }) => Some(rewrite.ssrc),
        Some(other) => panic!("{other:?}"),
        None => None,
    };
    for (echo, expected) in [
        (Echo::Blackhole, [false, false]),
        (Echo::Forward, [false, true]),
        (Echo::Backwards, [true, false]),
        (Echo::Both, [true, true]),
    ] {
        let mut world = World::new(two());
        let mut options = Options::default();
        options.media.echo = Some(echo);
        world.controls.take_options(Party(0), &options);
        let echoed = [0, 1].map(|port| back(&world, port));
        assert_eq!(echoed.map(|ssrc| ssrc.is_some()), expected, "{echo:?}");
        assert!(echoed[0].is_none() || echoed[0] != echoed[1], "each stream has its name");
        assert_eq!(echoed, [0, 1].map(|port| back(&world, port)), "and keeps it");
        let across = [world.transform(0, 1), world.transform(1, 0)];
        assert!(across.iter().all(|way| matches!(way, None | Some(Transform::Drop))), "{across:?}");
    }
}

#[test]
fn an_echo_of_what_cannot_be_renamed_goes_back_as_it_came() {
    let mut world = World::new(two());
    let mut options = Options::default();
    options.media.echo = Some(Echo::Both);
    world.controls.take_options(Party(0), &options);
    let mut spec = spec(&world.facts);
    spec.ports[0].class = command::MediaClass::Udptl;
    spec.ports[1].remotes[0].sealed = true;
    world.controls.apply(&world.facts, false, &mut spec);
    let back = spec.edges.iter().filter(|edge| edge.from == edge.to).map(|edge| edge.transform.clone());
    assert_eq!(back.collect::<Vec<_>>(), [relay().unwrap(), relay().unwrap()]);
}

#[test]
fn parties_that_are_connected_hear_each_other_and_nobody_else() {
    let mut facts = two();
    facts.parties.push(party(2, "C", &[3]));
    facts.parties.push(party(3, "D", &[2]));
    let mut world = World::new(facts);
    world.mark(&Request { options: Options::default(), ..flow(Command::Connect, "A", "C") }).unwrap();
    assert_eq!((world.transform(0, 2), world.transform(2, 0)), (relay(), relay()));
    for (from, to) in [(0, 1), (1, 0), (2, 3), (3, 2)] {
        assert_eq!(world.transform(from, to), None, "{from} to {to}");
    }
    // An offer and answer of one of them ends it.
    world.controls.agreed(Party(0), Party(1));
    assert_eq!((world.transform(0, 1), world.transform(0, 2)), (relay(), None));
    // A copy changes nothing of what there is.
    world.mark(&flow(Command::Connect, "A", "D")).unwrap();
    assert_eq!(
        (world.transform(0, 1), world.transform(0, 3), world.transform(3, 0)),
        (relay(), relay(), None)
    );
    let mut other = flow(Command::Connect, "A", "D");
    other.options.selector.to_call_id = Some(b"another".to_vec());
    assert_eq!(world.mark(&other), Err(FAILED("Parties of different calls cannot be connected")));
    assert_eq!(world.mark(&from(Command::Connect, "A")), Err(Failure::NoToTag));
    assert_eq!(world.mark(&flow(Command::Connect, "A", "A")), Err(FAILED("Trying to connect to self")));
}

#[test]
fn parties_of_other_formats_are_connected_by_conversion() {
    let mut facts = two();
    let mut third = party(2, "C", &[]);
    third.lines[0].state.as_mut().unwrap().payloads =
        vec![crate::facts::testing::payload(96, "opus", 48_000)];
    facts.parties.push(third);
    let mut world = World::new(facts);
    world.mark(&flow(Command::Connect, "A", "C")).unwrap();
    assert_eq!(world.transform(0, 2), Some(Transform::Transcode { to_payload: 96, ptime_ms: 20 }));
    let state = world.facts.parties[2].lines[0].state.as_mut().unwrap();
    state.payloads = vec![crate::facts::testing::payload(8, "pcma", 8_000)];
    state.is_sealed = true;
    assert_eq!(world.transform(0, 2), None, "nobody here has the key");
}

#[test]
fn a_sound_is_loaded_played_and_answered_when_media_has_taken_it() {
    let mut world = World::new(two());
    let mut play = from(Command::PlayMedia, "A");
    play.options.media.play.file = Some("hello.wav".into());
    play.options.media.play.times = Some(3);
    play.options.media.play.start_ms = Some(500);
    let (answer, asks) = world.ask(&play);
    let source = SoundSource::File("hello.wav".into());
    assert_eq!(answer, Answer::Later(Ticket(1)));
    assert_eq!(asks, [MediaAsk::Sound { ticket: Ticket(1), source }]);
    let (_, asks, answered) =
        world.with(|c, now, facts, effects| c.handle_sound(now, Ticket(1), Ok(clip(2_000)), facts, effects));
    let [MediaAsk::Order { ticket, order }, MediaAsk::Report { ticket: fence }] = &asks[..] else {
        panic!("{asks:?}")
    };
    let Order::Play { port, sound: Sound::Clip(_), mode, times, start, .. } = order else {
        panic!("{order:?}")
    };
    assert_eq!((*port, *mode, *times), (Some(PortIndex(0)), command::PlayMode::Replace, Some(3)));
    assert_eq!((*start, answered.len()), (Duration::from_millis(500), 0));
    let answered = world.event(&report(*fence));
    assert_eq!(answered, [(Ticket(1), Ok(Dict::new().with("duration", Value::Int(2_000))))]);
    // 2.1 s later it is in its second round.
    world.now.mono += Duration::from_millis(2_100);
    let (answer, asks) = world.ask(&from(Command::StopMedia, "A"));
    assert_eq!(answer, Answer::Now(Ok(Dict::new().with("last-frame-pos", Value::Int(600)))));
    let MediaAsk::Order { order: Order::Stop { started }, .. } = &asks[0] else { panic!("{asks:?}") };
    assert_eq!(started, ticket);
    let again = world.ask(&from(Command::StopMedia, "A")).0;
    assert_eq!(
        again,
        Answer::Now(Ok(Dict::new().with("warning", Value::text("Not currently playing media"))))
    );
}

#[test]
fn a_new_sound_takes_the_place_of_the_old_one() {
    let mut world = World::new(two());
    let mut play = request(Command::PlayMedia);
    play.options.selector.all = Some(All::All);
    play.options.media.play.blob = Some(b"RIFF".to_vec());
    let mut orders = Vec::new();
    for _ in 0..2 {
        let (Answer::Later(ticket), asks) = world.ask(&play) else { panic!() };
        let is_blob = |ask: &MediaAsk| matches!(ask, MediaAsk::Sound { source: SoundSource::Blob(_), .. });
        assert!(asks.iter().all(is_blob));
        let (_, asks, _) =
            world.with(|c, now, facts, effects| c.handle_sound(now, ticket, Ok(clip(100)), facts, effects));
        let of = |ask: &MediaAsk| match ask {
            MediaAsk::Order { ticket, order: Order::Play { port, .. } } => Some((*ticket, port.unwrap().0)),
            _ => None,
        };
        let stopped = |ask: &MediaAsk| match ask {
            MediaAsk::Order { order: Order::Stop { started }, .. } => Some(*started),
            _ => None,
        };
        let stopped: Vec<Ticket> = asks.iter().filter_map(stopped).collect();
        assert_eq!(stopped, orders, "what played before ends");
        orders = asks.iter().filter_map(of).map(|(ticket, _)| ticket).collect();
        assert_eq!(asks.iter().filter_map(of).map(|(_, port)| port).collect::<Vec<_>>(), [0, 1]);
    }
    assert!(world.event(&ended(orders[0], Outcome::Done)).is_empty());
    let (answer, asks) = world.ask(&from(Command::StopMedia, "A"));
    assert_eq!(
        (answer, asks.len()),
        (Answer::Now(Ok(Dict::new().with("warning", Value::text("Not currently playing media")))), 0)
    );
}

#[test]
fn what_cannot_be_played_is_answered_with_the_reason() {
    let mut world = World::new(two());
    let of = |world: &mut World, request: &Request| match world.ask(request).0 {
        Answer::Now(result) => result.unwrap_err(),
        Answer::Later(_) => panic!("it should fail at once"),
    };
    let mut play = from(Command::PlayMedia, "A");
    assert_eq!(of(&mut world, &play), FAILED("No media file specified"));
    play.options.media.play.db_id = true;
    assert_eq!(of(&mut world, &play), FAILED("Media from a database is not supported"));
    play.options.media.play.file = Some("x".into());
    assert_eq!(
        of(&mut world, &Request { from_tag: None, ..play.clone() }),
        FAILED("No participant party specified")
    );
    let (Answer::Later(ticket), _) = world.ask(&play) else { panic!() };
    let (_, _, answered) =
        world.with(|c, now, facts, effects| c.handle_sound(now, ticket, Err("no such file"), facts, effects));
    assert_eq!(answered, [(ticket, Err(FAILED("Failed to start media playback from file")))]);
    // Media refuses the order.
    let (Answer::Later(ticket), _) = world.ask(&play) else { panic!() };
    let (_, asks, _) =
        world.with(|c, now, facts, effects| c.handle_sound(now, ticket, Ok(clip(20)), facts, effects));
    let [MediaAsk::Order { ticket: order, .. }, MediaAsk::Report { ticket: fence }] = asks[..] else {
        panic!()
    };
    let bridge = BridgeId::new(0, 0, 0, 1);
    let refused = Event::Unsupported { bridge, ticket: Some(order), what: "a format that cannot be made" };
    assert!(world.event(&refused).is_empty());
    assert_eq!(world.event(&report(fence)), [(ticket, Err(FAILED("a format that cannot be made")))]);
    // The call ends while somebody waits.
    let (Answer::Later(ticket), _) = world.ask(&play) else { panic!() };
    let (late, _, answered) = world.with(|c, _, _, effects| c.close(effects));
    assert_eq!((late.len(), answered), (0, vec![(ticket, Err(Failure::UnknownCall))]));
    let (taken, ..) =
        world.with(|c, now, facts, effects| c.handle_sound(now, ticket, Ok(clip(20)), facts, effects));
    assert!(!taken);
}

#[test]
fn sounds_repeat_as_often_or_as_long_as_wanted() {
    for (times, duration, expected) in [
        (None, None, 1),
        (Some(0), Some(0), 1),
        (Some(4), None, 4),
        (None, Some(10_000), 10),
        (None, Some(9_001), 10),
        (Some(4), Some(10_000), 4),
        (Some(40), Some(10_000), 10),
    ] {
        let mut world = World::new(two());
        let mut play = from(Command::PlayMedia, "A");
        let options = &mut play.options.media.play;
        (options.file, options.times, options.duration_ms) = (Some("x".into()), times, duration);
        let (Answer::Later(ticket), _) = world.ask(&play) else { panic!() };
        let (_, asks, _) =
            world.with(|c, now, facts, effects| c.handle_sound(now, ticket, Ok(clip(1_000)), facts, effects));
        let MediaAsk::Order { order: Order::Play { times: ordered, .. }, .. } = &asks[0] else { panic!() };
        assert_eq!(*ordered, Some(expected), "{times:?} {duration:?}");
    }
}

#[test]
fn digits_of_a_party_go_to_whom_it_talks_with() {
    let mut world = World::new(two());
    let mut play = from(Command::PlayDtmf, "A");
    for (code, digit) in [("5", "5"), ("11", "#"), ("*", "*"), ("d", "D"), ("15", "D")] {
        play.options.media.play.code = Some(code.into());
        let (answer, asks) = world.ask(&play);
        let [MediaAsk::Order { ticket, order }, MediaAsk::Report { ticket: fence }] = &asks[..] else {
            panic!()
        };
        let expected =
            Order::Dtmf { port: PortIndex(1), digits: digit.into(), duration_ms: 250, gap_ms: 100 };
        assert_eq!(order, &expected);
        let Answer::Later(waits) = answer else { panic!() };
        assert_eq!(world.event(&report(*fence)), [(waits, Ok(Dict::new()))]);
        assert!(world.event(&ended(*ticket, Outcome::Done)).is_empty());
    }
    for code in ["16", "x", "", "55x", "-1"] {
        play.options.media.play.code = Some(code.into());
        assert_eq!(world.ask(&play).0, Answer::Now(Err(FAILED("Out of range 'code' specified"))), "{code}");
    }
    let options = &mut play.options.media.play;
    (options.code, options.duration_ms, options.pause_ms, options.volume_db) =
        (Some("1".into()), Some(9_999), Some(1), Some(-8));
    let (Answer::Later(waits), asks) = world.ask(&play) else { panic!() };
    let MediaAsk::Order { order: Order::Dtmf { duration_ms, gap_ms, .. }, .. } = asks[0] else { panic!() };
    assert_eq!((duration_ms, gap_ms), (5_000, 100));
    let MediaAsk::Report { ticket: fence } = asks[1] else { panic!() };
    let [(ticket, Ok(reply))] = &world.event(&report(fence))[..] else { panic!() };
    let warning = "duration=9999 is out of range, 5000 ms is used; pause=1 is out of range, 100 ms is used; \
                   volume is not in effect for digits";
    assert_eq!((*ticket, reply.get("warning")), (waits, Some(&Value::text(warning))));
    world.facts.parties[0].peers.clear();
    let alone = world.ask(&play).0;
    assert_eq!(alone, Answer::Now(Err(FAILED("There is no sink media capable of DTMF playback"))));
}

#[test]
fn what_goes_on_at_a_time_is_bounded() {
    let mut world = World::new(two());
    let mut play = from(Command::PlayMedia, "A");
    play.options.media.play.file = Some("x".into());
    for _ in 0..32 {
        assert!(matches!(world.ask(&play).0, Answer::Later(_)));
    }
    let more = world.ask(&play).0;
    assert_eq!(more, Answer::Now(Err(FAILED("Too many sounds and digits go on already"))));
}

#[test]
fn a_recording_begins_pauses_goes_on_and_ends_in_the_book() {
    let mut world = World::new(two());
    let mut start = request(Command::StartRecording);
    start.options.media.recording_file = Some("/var/lib/../my call;1.wav".into());
    start.options.metadata = Some(b"case 7".to_vec());
    let (Answer::Later(waits), asks) = world.ask(&start) else { panic!() };
    let [MediaAsk::Order { ticket, order: Order::Record(recording) }, MediaAsk::Report { ticket: fence }] =
        &asks[..]
    else {
        panic!("{asks:?}")
    };
    assert!(recording.path.ends_with("-1-mycall1"), "{}", recording.path);
    assert_eq!(world.event(&report(*fence)), [(waits, Ok(Dict::new()))]);
    let row = |world: &World| world.recordings.unsaved().into_iter().next().unwrap();
    let first = row(&world);
    assert_eq!((first.state, first.metadata.as_deref()), (RecordingState::Recording, Some("case 7")));
    assert_eq!(first.file, format!("{}.wav", recording.path));
    assert_eq!(world.ask(&start), (Answer::Now(Ok(Dict::new())), vec![]), "it runs already");
    for (command, order, state) in [
        (Command::PauseRecording, Order::Pause { started: *ticket }, RecordingState::Paused),
        (Command::StartRecording, Order::Resume { started: *ticket }, RecordingState::Recording),
    ] {
        let (answer, asks) = world.ask(&request(command));
        let [MediaAsk::Order { order: sent, .. }] = &asks[..] else { panic!("{asks:?}") };
        assert_eq!((answer, sent, row(&world).state), (Answer::Now(Ok(Dict::new())), &order, state));
    }
    let mut pause = request(Command::StopRecording);
    pause.options.media.pause_recording = true;
    let (_, asks) = world.ask(&pause);
    assert!(
        matches!(asks[..], [MediaAsk::Order { order: Order::Pause { started }, .. }] if started == *ticket)
    );
    let mut stop = request(Command::StopRecording);
    stop.options.metadata = Some(b"case 8".to_vec());
    let (_, asks) = world.ask(&stop);
    let [MediaAsk::Order { order: Order::Stop { started }, .. }] = &asks[..] else { panic!("{asks:?}") };
    assert_eq!((started, world.controls.is_recorded()), (ticket, false));
    world.event(&ended(*ticket, Outcome::Stopped));
    let last = row(&world);
    assert_eq!((last.state, last.length), (RecordingState::Done, Duration::from_secs(3)));
    assert_eq!(last.metadata.as_deref(), Some("case 8"));
    // Another one has a name of its own.
    let (_, asks) = world.ask(&start);
    let MediaAsk::Order { order: Order::Record(recording), .. } = &asks[0] else { panic!() };
    assert!(recording.path.ends_with("-2-mycall1"));
}

#[test]
fn record_call_of_an_offer_waits_for_two_who_speak() {
    let mut world = World::new(two());
    let answered = world.facts.parties[1].lines[0].state.take();
    let mut options = Options::default();
    options.media.record = Some(true);
    world.controls.take_options(Party(0), &options);
    let settle = |world: &mut World| world.with(|c, now, facts, effects| c.settle(now, facts, effects)).1;
    assert_eq!(settle(&mut world), []);
    world.facts.parties[1].lines[0].state = answered;
    world.controls.take_options(Party(1), &Options::default());
    let asks = settle(&mut world);
    let [MediaAsk::Order { ticket, order: Order::Record(_) }] = asks[..] else { panic!("{asks:?}") };
    assert_eq!(settle(&mut world), [], "once");
    options.media.record = Some(false);
    world.controls.take_options(Party(0), &options);
    let asks = settle(&mut world);
    assert!(
        matches!(asks[..], [MediaAsk::Order { order: Order::Stop { started }, .. }] if started == ticket)
    );
}

#[test]
fn a_recording_that_is_written_after_its_call_is_told_of_late() {
    let mut world = World::new(two());
    let (_, asks) = world.ask(&request(Command::StartRecording));
    let MediaAsk::Order { ticket, .. } = asks[0] else { panic!() };
    let (mut late, ..) = world.with(|c, _, _, effects| c.close(effects));
    assert_eq!(late.iter().map(|late| late.ticket).collect::<Vec<_>>(), [ticket]);
    let how = Ended { outcome: Outcome::Closed, length: Duration::from_secs(9), lost: Duration::ZERO };
    late.remove(0).end(world.now, how);
    let row = world.recordings.unsaved().remove(0);
    assert_eq!((row.state, row.length), (RecordingState::Done, Duration::from_secs(9)));
}

#[test]
fn a_party_that_is_gone_takes_along_what_was_said_of_it() {
    let mut world = World::new(two());
    for command in [Command::BlockMedia, Command::SilenceMedia, Command::BlockDtmf] {
        world.mark(&from(command, "A")).unwrap();
    }
    world.mark(&flow(Command::BlockMedia, "B", "A")).unwrap();
    let mut options = Options::default();
    options.media.echo = Some(Echo::Both);
    world.controls.take_options(Party(0), &options);
    world.with(|c, _, _, effects| c.forget(Party(0), effects));
    assert_eq!(world.spec(), spec(&world.facts));
}

/// A command and the one that takes it back.
fn pair() -> impl Strategy<Value = (Request, Request)> {
    let commands = prop_oneof![
        Just((Command::BlockMedia, Command::UnblockMedia)),
        Just((Command::SilenceMedia, Command::UnsilenceMedia)),
        Just((Command::BlockDtmf, Command::UnblockDtmf)),
    ];
    let flows = prop_oneof![Just(All::OfferAnswer), Just(All::ExceptOfferAnswer), Just(All::Flows)];
    let tags = prop_oneof![Just("A"), Just("B"), Just("C"), Just("nobody")];
    (commands, tags.clone(), tags, 0..4_u8, flows).prop_map(|((on, off), tag, to, kind, which)| {
        let of = |command| match kind {
            0 => request(command),
            1 => from(command, tag),
            2 => flow(command, tag, to),
            _ => all(command, tag, which),
        };
        (of(on), of(off))
    })
}

proptest! {
    /// Whatever is asked and taken back in any order leaves the spec as it was.
    #[test]
    fn what_is_taken_back_leaves_nothing(
        pairs in proptest::collection::vec(pair(), 1..12),
        order in any::<proptest::sample::Index>(),
    ) {
        let mut world = World::new(heard());
        let before = world.spec();
        let mut undo = Vec::new();
        for (on, off) in &pairs {
            if world.mark(on).is_ok() {
                undo.push(off);
            }
        }
        let turn = if undo.is_empty() { 0 } else { order.index(undo.len()) };
        undo.rotate_left(turn);
        for off in undo {
            prop_assert!(world.mark(off).is_ok());
        }
        prop_assert_eq!(world.spec(), before);
    }
}
