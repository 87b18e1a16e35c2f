//! What is asked of calls and rooms, and what media and the world get to see of it.

use super::world::{AUDIO, Phone, VIDEO, World};
use base::Duration;
use command::{
    BridgeId, Event, FileFormat, ForkTo, Layout, Order, Outcome, PlayMode, PortIndex, Sound, Tone, Transform,
};
use ledger::{
    Ask, AskFailed, CallId, ForkStart, Hold, Join, Legs, Mute, MuteDirection, OrderId, Play, RecordAsk,
    RecordFrom, RecordStart, RecordingState, RoomOptions, SeatOptions, SendDigits, Subject,
};

fn tone() -> Play {
    Play {
        legs: Legs::Both,
        sound: Sound::Tone(Tone { steps: Vec::new(), once: true }),
        source: "tone:busy/de".into(),
        mode: PlayMode::Mix,
        times: Some(2),
        start: Duration::from_millis(500),
        gain_centibel: -30,
    }
}

fn play(world: &mut World, subject: Subject, play: Play) -> Result<OrderId, AskFailed> {
    world.ask(|reply| Ask::Play(subject, Box::new(play), reply)).expect("an answer")
}

fn mute(
    world: &mut World,
    id: CallId,
    legs: Legs,
    direction: MuteDirection,
    on: bool,
) -> Result<(), AskFailed> {
    world.ask(|reply| Ask::Mute(id, Mute { legs, direction, on }, reply)).expect("an answer")
}

fn record(world: &mut World, subject: Subject, ask: RecordAsk) -> Result<ledger::Recorded, AskFailed> {
    world.ask(|reply| Ask::Record(subject, ask, reply)).expect("an answer")
}

fn join(world: &mut World, id: CallId, room: &str, ad_hoc: bool) -> Result<ledger::RoomView, AskFailed> {
    let join = Join { room: room.into(), ad_hoc, legs: Legs::Both, seats: None };
    world.ask(|reply| Ask::Join(id, Box::new(join), reply)).expect("an answer")
}

fn seats(world: &World, phone: &Phone) -> Vec<Option<BridgeId>> {
    let ports = &world.specs[&phone.bridge].ports;
    ports.iter().map(|port| port.voice.seat.as_ref().map(|seat| seat.room)).collect()
}

fn make_room(world: &mut World, name: &str, options: RoomOptions) -> (ledger::RoomView, bool) {
    world.ask(|reply| Ask::PutRoom(name.into(), options, reply)).expect("an answer").expect("a room")
}

#[test]
fn a_sound_is_played_to_the_legs_that_are_meant_and_its_end_is_told_once() {
    let mut world = World::new();
    let phone = world.call();
    let id = play(&mut world, Subject::Call(phone.id), tone()).unwrap();
    assert_eq!(id.to_string(), format!("{}-1", phone.id));
    let orders: Vec<_> = world.orders.drain(..).collect();
    let [
        (_, first, Order::Play { port: a, mode, times, start, gain_centibel, .. }),
        (_, second, Order::Play { port: b, .. }),
    ] = &orders[..]
    else {
        panic!("{orders:?}")
    };
    assert_eq!((*a, *b), (Some(PortIndex(0)), Some(PortIndex(1))));
    assert_eq!((*mode, *times, start.as_millis(), *gain_centibel), (PlayMode::Mix, Some(2), 500, -30));
    assert_eq!(
        world.events(),
        [format!("play.started call={} id={id} leg=both source=tone:busy/de", phone.id)]
    );
    world.ended(phone.bridge, *first, Outcome::Done, 900);
    assert_eq!(world.events(), [""; 0], "the other leg still hears it");
    world.ended(phone.bridge, *second, Outcome::Done, 1_000);
    assert_eq!(world.events(), [format!("play.ended call={} id={id} outcome=done length_ms=1000", phone.id)]);
    let gone = world.ask(|reply| Ask::Stop(Subject::Call(phone.id), Some(id), reply)).unwrap();
    assert_eq!(gone, Err(AskFailed::NoOrder));
}

#[test]
fn what_media_refuses_is_refused_with_its_reason() {
    let mut world = World::new();
    let phone = world.call();
    world.refuse = Some("a codec that cannot be decoded");
    let refused = play(&mut world, Subject::Call(phone.id), tone());
    assert_eq!(refused, Err(AskFailed::Unsupported("a codec that cannot be decoded")));
    // The leg whose order was taken does not hear it alone.
    let started = world.orders[1].1;
    assert!(world.orders.iter().any(|(_, _, order)| *order == Order::Stop { started }));
    assert!(
        world.events().last().is_some_and(|line| line.starts_with("play.ended") && line.contains("failed"))
    );
    let view = world.ask(|reply| Ask::Show(phone.id, reply)).unwrap().unwrap();
    assert_eq!(view.orders, []);
}

#[test]
fn nobody_is_answered_before_media_has_had_its_say() {
    let mut world = World::new();
    let phone = world.call();
    world.held = Some(Vec::new());
    let answer = world.ask_later(|reply| Ask::Play(Subject::Call(phone.id), Box::new(tone()), reply));
    assert_eq!(answer(), None);
    let (bridge, ticket) = world.held.take().unwrap()[0];
    world.media(Event::Report { bridge, ticket, report: Box::default() });
    assert!(answer().is_some_and(|answer| answer.is_ok()));
}

#[test]
fn a_call_that_ends_answers_those_who_wait() {
    let mut world = World::new();
    let phone = world.call();
    world.held = Some(Vec::new());
    let answer = world.ask_later(|reply| Ask::Play(Subject::Call(phone.id), Box::new(tone()), reply));
    world.hang_up(&phone);
    assert_eq!(answer(), Some(Err(AskFailed::Ending)));
    assert_eq!(play(&mut world, Subject::Call(phone.id), tone()), Err(AskFailed::NoCall));
}

#[test]
fn stopping_without_a_name_ends_sounds_and_leaves_recordings() {
    let mut world = World::new();
    let phone = world.call();
    let subject = || Subject::Call(phone.id);
    play(&mut world, subject(), Play { legs: Legs::A, ..tone() }).unwrap();
    record(&mut world, subject(), RecordAsk::Start(RecordStart::default())).unwrap();
    let started = world.orders[0].1;
    world.orders.clear();
    assert_eq!(world.ask(|reply| Ask::Stop(subject(), None, reply)), Some(Ok(())));
    let orders: Vec<_> = world.orders.iter().map(|(_, _, order)| order.clone()).collect();
    assert_eq!(orders, [Order::Stop { started }]);
}

#[test]
fn digits_go_to_a_leg_with_a_gap_that_a_receiver_can_hear() {
    let mut world = World::new();
    let phone = world.call();
    let digits = SendDigits { legs: Legs::B, digits: "12#".into(), duration_ms: 250, gap_ms: 0 };
    let id = world.ask(|reply| Ask::Dtmf(phone.id, Box::new(digits), reply)).unwrap().unwrap();
    let (bridge, ticket, order) = world.orders[0].clone();
    let expected = Order::Dtmf { port: PortIndex(1), digits: "12#".into(), duration_ms: 250, gap_ms: 40 };
    assert_eq!((bridge, order), (phone.bridge, expected));
    world.ended(bridge, ticket, Outcome::Done, 870);
    let told = world.events();
    assert_eq!(told[1], format!("dtmf.ended call={} id={id} outcome=done length_ms=870", phone.id));
    assert!(!told.join(" ").contains("12#"), "digits may be a secret: {told:?}");
}

#[test]
fn digits_for_a_leg_that_wants_info_go_out_by_signalling_one_after_the_other() {
    let mut world = World::with(1, |spec| spec.trunks[1].media.dtmf = sdp::DigitsBy::Info);
    let phone = world.call();
    let digits = SendDigits { legs: Legs::Both, digits: "7#".into(), duration_ms: 200, gap_ms: 100 };
    world.ask(|reply| Ask::Dtmf(phone.id, Box::new(digits.clone()), reply)).unwrap().unwrap();
    let ports: Vec<_> = world.orders.drain(..).map(|(_, _, order)| order).collect();
    assert!(matches!(&ports[..], [Order::Dtmf { port: PortIndex(0), .. }]), "{ports:?}");
    for digit in ["Signal=7\r\nDuration=200", "Signal=#\r\nDuration=200"] {
        let info = world.answer_info();
        assert!(info.contains(digit), "{info}");
    }
    let only_info = SendDigits { legs: Legs::B, ..digits };
    world.events();
    let id = world.ask(|reply| Ask::Dtmf(phone.id, Box::new(only_info), reply)).unwrap().unwrap();
    assert_eq!(world.events()[1], format!("dtmf.ended call={} id={id} outcome=done length_ms=0", phone.id));
    assert!(world.orders.is_empty());
}

#[test]
fn digits_and_fax_tones_of_a_peer_are_told() {
    let mut world = World::new();
    let phone = world.call();
    for digit in ['4', '2'] {
        let duration = Duration::from_millis(120);
        world.media(Event::Digit { bridge: phone.bridge, port: PortIndex(1), digit, duration });
    }
    let signal = command::Signal::FaxCalling;
    world.media(Event::Signal { bridge: phone.bridge, port: PortIndex(0), signal });
    let call = phone.id;
    assert_eq!(
        world.events(),
        [
            format!("dtmf.digit call={call} leg=b digit=4 duration_ms=120"),
            format!("dtmf.digit call={call} leg=b digit=2 duration_ms=120"),
            format!("call.signal call={call} leg=a signal=fax_calling"),
        ]
    );
    let view = world.ask(|reply| Ask::Show(call, reply)).unwrap().unwrap();
    let lines: Vec<_> = view.timeline.iter().map(|(_, line)| line.as_str()).collect();
    assert!(lines.ends_with(&["digits come from B", "fax calling from A"]), "{lines:?}");
}

#[test]
fn a_recording_starts_pauses_and_stops_and_the_book_knows() {
    let mut world = World::new();
    let phone = world.call();
    let subject = || Subject::Call(phone.id);
    let start = RecordStart { layout: Layout::Stereo, format: FileFormat::OggOpus, ..RecordStart::default() };
    let one = record(&mut world, subject(), RecordAsk::Start(start)).unwrap();
    assert_eq!(one.file, format!("{}-1.opus", phone.id));
    let (_, started, order) = world.orders[0].clone();
    let Order::Record(recording) = order else { panic!("{order:?}") };
    assert_eq!((recording.path, recording.layout), (format!("{}-1", phone.id), Layout::Stereo));
    record(&mut world, subject(), RecordAsk::Pause(None)).unwrap();
    record(&mut world, subject(), RecordAsk::Pause(None)).unwrap();
    record(&mut world, subject(), RecordAsk::Resume(Some(one.id))).unwrap();
    let orders: Vec<_> = world.orders[1..].iter().map(|(_, _, order)| order.clone()).collect();
    assert_eq!(
        orders,
        [Order::Pause { started }, Order::Resume { started }],
        "a pause in a pause is nothing new"
    );
    let two = record(&mut world, subject(), RecordAsk::Start(RecordStart::default())).unwrap();
    let several = record(&mut world, subject(), RecordAsk::Stop(None));
    assert_eq!(several, Err(AskFailed::WrongState("several recordings run: name one by its id")));
    record(&mut world, subject(), RecordAsk::Stop(Some(one.id))).unwrap();
    assert_eq!(world.orders.last().unwrap().2, Order::Stop { started });
    world.ended(phone.bridge, started, Outcome::Stopped, 12_340);
    let states: Vec<_> = world.shared.recordings.unsaved().iter().map(|row| (row.id, row.state)).collect();
    assert_eq!(states, [(one.id, RecordingState::Done), (two.id, RecordingState::Recording)]);
    // A call that ends does not wait for its file: that is whole a moment later, and only then told of.
    let second =
        world.orders.iter().filter(|(_, _, order)| matches!(order, Order::Record(_))).nth(1).unwrap().1;
    world.hang_up(&phone);
    assert_eq!(world.shared.recordings.unsaved()[1].state, RecordingState::Recording);
    world.ended(phone.bridge, second, Outcome::Closed, 5_678);
    let rows = world.shared.recordings.unsaved();
    let told: Vec<_> = rows.iter().map(|row| (row.length.as_millis(), row.state)).collect();
    assert_eq!(told, [(12_340, RecordingState::Done), (5_678, RecordingState::Done)]);
    let last = world.events().pop().unwrap();
    assert!(last.starts_with("recording.ended") && last.contains("outcome=closed"), "{last}");
}

#[test]
fn a_recording_from_the_answer_waits_for_it() {
    let mut world = World::new();
    let (number, out) = world.ring(&[AUDIO]);
    let (id, _) = world.newest();
    let answer = RecordAsk::Start(RecordStart { from: RecordFrom::Answer, ..RecordStart::default() });
    let waiting = record(&mut world, Subject::Call(id), answer).unwrap();
    let early = record(&mut world, Subject::Call(id), RecordAsk::Pause(Some(waiting.id)));
    assert!(matches!(early, Err(AskFailed::WrongState(_))), "{early:?}");
    assert_eq!((world.orders.len(), world.shared.recordings.active()), (0, 0));
    world.answer(number, &out, &[AUDIO]);
    assert!(matches!(world.orders[..], [(_, _, Order::Record(_))]), "{:?}", world.orders);
    assert_eq!(world.shared.recordings.unsaved()[0].id, waiting.id);
}

#[test]
fn a_fork_is_told_of_when_it_begins_and_when_all_of_it_is_sent() {
    let mut world = World::new();
    let phone = world.call();
    let to = ForkTo::WebSocket { url: "ws://robot/hear".into() };
    let start =
        ForkStart { to, target: "ws://robot/hear".into(), layout: Layout::Stereo, rate: Some(16_000) };
    let fork = |world: &mut World| {
        let (subject, start) = (Subject::Call(phone.id), Box::new(start.clone()));
        world.ask(|reply| Ask::Fork(subject, start, reply)).expect("an answer")
    };
    let id = fork(&mut world).unwrap();
    let (_, ticket, order) = world.orders[0].clone();
    let Order::Fork(ordered) = order else { panic!("{order:?}") };
    assert_eq!((ordered.id, ordered.room, ordered.rate), (id.to_string(), None, Some(16_000)));
    assert_eq!(world.events(), [format!("fork.started call={} id={id} to=ws://robot/hear", phone.id)]);
    // What ends sounds ends no fork; its own id does.
    world.ask(|reply| Ask::Stop(Subject::Call(phone.id), None, reply)).unwrap().unwrap();
    assert_eq!(world.orders.len(), 1);
    world.ask(|reply| Ask::Stop(Subject::Call(phone.id), Some(id), reply)).unwrap().unwrap();
    assert_eq!(world.orders[1].2, Order::Stop { started: ticket });
    world.ended(phone.bridge, ticket, Outcome::Done, 900);
    let told = format!(
        "fork.ended call={} id={id} outcome=done length_ms=900 to=ws://robot/hear lost_ms=0",
        phone.id
    );
    assert_eq!(world.events(), [told]);
    // One that goes on when the call ends is told of after it; one that media refuses ends at once.
    let second = fork(&mut world).unwrap();
    let ticket = world.orders[2].1;
    world.refuse = Some("a format that cannot be decoded");
    assert_eq!(fork(&mut world), Err(AskFailed::Unsupported("a format that cannot be decoded")));
    world.refuse = None;
    world.hang_up(&phone);
    let ended = |world: &mut World| -> Vec<String> {
        world.events().into_iter().filter(|line| line.starts_with("fork.ended")).collect()
    };
    let before = ended(&mut world);
    assert!(matches!(&before[..], [line] if line.contains("outcome=failed")), "{before:?}");
    world.ended(phone.bridge, ticket, Outcome::Closed, 1_200);
    let after = ended(&mut world);
    assert!(
        matches!(&after[..], [line] if line.contains(&format!("id={second} outcome=closed"))),
        "{after:?}"
    );
}

#[test]
fn a_trunk_that_records_has_its_calls_recorded_from_the_answer_on() {
    let mut world = World::with(1, |spec| spec.trunks[1].record = true);
    let phone = world.call();
    assert!(
        matches!(&world.orders[..], [(_, _, Order::Record(r))] if r.path.ends_with(&format!("{}-1", phone.id)))
    );
    world.reinvite(&phone, "a=sendonly");
    assert_eq!(world.orders.len(), 1, "once");
}

#[test]
fn muting_silences_what_a_leg_says_or_hears_and_survives_a_new_offer() {
    let mut world = World::new();
    let phone = world.call_with(&[AUDIO, VIDEO]);
    assert_eq!(world.heard(phone.bridge), [true, true]);
    for (legs, direction, heard) in [
        (Legs::A, MuteDirection::In, [false, true]),
        (Legs::A, MuteDirection::Out, [true, false]),
        (Legs::B, MuteDirection::In, [true, false]),
        (Legs::B, MuteDirection::Both, [false, false]),
        (Legs::Both, MuteDirection::In, [false, false]),
    ] {
        mute(&mut world, phone.id, legs, direction, true).unwrap();
        assert_eq!(world.heard(phone.bridge), heard, "{legs:?} {direction:?}");
        mute(&mut world, phone.id, legs, direction, false).unwrap();
        assert_eq!(world.heard(phone.bridge), [true, true], "{legs:?} {direction:?}");
    }
    mute(&mut world, phone.id, Legs::A, MuteDirection::In, true).unwrap();
    let silent = |world: &World| {
        let edges = &world.specs[&phone.bridge].edges;
        edges.iter().filter(|edge| edge.transform == Transform::Silence).count()
    };
    assert_eq!(silent(&world), 1, "the picture goes on");
    world.reinvite(&phone, "a=sendrecv");
    assert_eq!(world.heard(phone.bridge), [false, true]);
}

#[test]
fn a_mute_that_media_refuses_leaves_everything_as_it_was() {
    let mut world = World::new();
    let phone = world.call();
    world.refuse = Some("no silence in this codec");
    let refused = mute(&mut world, phone.id, Legs::A, MuteDirection::In, true);
    assert_eq!(refused, Err(AskFailed::Unsupported("no silence in this codec")));
    assert_eq!(world.heard(phone.bridge), [true, true]);
    world.reinvite(&phone, "a=sendrecv");
    assert_eq!(world.heard(phone.bridge), [true, true], "nothing of it comes back");
}

#[test]
fn a_leg_on_hold_hears_music_until_it_is_taken_back() {
    let mut world = World::new();
    let phone = world.call();
    let music = Some((tone().sound, "music.wav".to_owned()));
    let hold = |on| Hold { legs: Legs::A, on, music: music.clone().filter(|_| on) };
    let done = world.ask(|reply| Ask::Hold(phone.id, Box::new(hold(true)), reply)).unwrap();
    assert_eq!((done, world.heard(phone.bridge)), (Ok(()), [false, false]));
    let (_, started, order) = world.orders.pop().unwrap();
    let Order::Play { port: Some(PortIndex(0)), mode: PlayMode::Replace, times: None, .. } = order else {
        panic!("{order:?}")
    };
    assert_eq!(world.ask(|reply| Ask::Hold(phone.id, Box::new(hold(false)), reply)), Some(Ok(())));
    assert_eq!(world.heard(phone.bridge), [true, true]);
    assert_eq!(world.orders.pop().unwrap().2, Order::Stop { started });
}

#[test]
fn music_that_media_refuses_undoes_the_hold() {
    let mut world = World::new();
    let phone = world.call();
    // The state is taken, the order behind it is not.
    world.held = Some(Vec::new());
    let hold = Hold { legs: Legs::A, on: true, music: Some((tone().sound, "music.wav".into())) };
    let answer = world.ask_later(|reply| Ask::Hold(phone.id, Box::new(hold), reply));
    let ticket = Some(world.orders[0].1);
    world.media(Event::Unsupported { bridge: phone.bridge, ticket, what: "no" });
    let (bridge, ticket) = world.held.take().unwrap()[0];
    world.media(Event::Report { bridge, ticket, report: Box::default() });
    assert_eq!(
        (answer(), world.heard(phone.bridge)),
        (Some(Err(AskFailed::Unsupported("no"))), [true, true])
    );
}

#[test]
fn calls_join_a_room_and_leave_it_and_the_room_stays() {
    let mut world = World::new();
    let (one, two) = (world.call(), world.call());
    assert_eq!(join(&mut world, one.id, "blue", false), Err(AskFailed::NoRoom));
    let options = RoomOptions { talkers: 5, tones: true, record: None };
    assert!(make_room(&mut world, "blue", options).1 && !make_room(&mut world, "blue", options).1);
    assert_eq!(world.specs.len(), 2, "a room without members costs nothing");
    let view = join(&mut world, one.id, "blue", false).unwrap();
    join(&mut world, two.id, "blue", false).unwrap();
    let room = *world.specs.keys().find(|bridge| ![one.bridge, two.bridge].contains(bridge)).unwrap();
    let spec = world.specs[&room].room.unwrap();
    assert_eq!((spec.talkers, spec.tones, spec.tell_talking), (5, true, true));
    assert_eq!((seats(&world, &one), seats(&world, &two)), (vec![Some(room); 2], vec![Some(room); 2]));
    assert_eq!(view.members.len(), 1);
    world.reinvite(&one, "a=sendrecv");
    assert_eq!(seats(&world, &one), [Some(room); 2], "a new offer changes no seat");
    assert_eq!(
        world.ask(|reply| Ask::Leave(one.id, Some("red".into()), reply)),
        Some(Err(AskFailed::WrongState("the call is not in the room")))
    );
    assert_eq!(world.ask(|reply| Ask::Leave(one.id, Some("blue".into()), reply)), Some(Ok(())));
    assert_eq!(seats(&world, &one), [None; 2]);
    world.hang_up(&two);
    let rooms = world.ask(|reply| Ask::Rooms(None, reply)).unwrap();
    assert_eq!((rooms.len(), rooms[0].members.len(), world.closed.contains(&room)), (1, 0, false));
    let told: Vec<String> = world.events();
    let of_rooms: Vec<&str> =
        told.iter().filter(|line| line.starts_with("room.")).map(String::as_str).collect();
    let (one, two) = (one.id, two.id);
    assert_eq!(
        of_rooms,
        [
            "room.created room=blue".to_owned(),
            format!("room.joined room=blue call={one}"),
            format!("room.joined room=blue call={two}"),
            format!("room.left room=blue call={one}"),
            format!("room.left room=blue call={two}"),
        ]
    );
}

#[test]
fn a_room_made_by_calls_gives_the_last_one_back_to_itself_and_ends() {
    let mut world = World::new();
    let (one, two) = (world.call(), world.call());
    join(&mut world, one.id, "meeting", true).unwrap();
    join(&mut world, two.id, "meeting", true).unwrap();
    let room = seats(&world, &one)[0].unwrap();
    world.wait(Duration::from_millis(300));
    assert_eq!(seats(&world, &one), [Some(room); 2]);
    world.hang_up(&two);
    world.wait(Duration::from_millis(300));
    assert_eq!((seats(&world, &one), world.heard(one.bridge)), (vec![None; 2], [true, true]));
    assert_eq!(
        (world.ask(|reply| Ask::Rooms(None, reply)).unwrap().len(), world.closed.contains(&room)),
        (0, true)
    );
    assert_eq!(world.events().last().unwrap(), "room.ended room=meeting");
}

#[test]
fn ending_a_room_ends_its_calls_and_its_recordings() {
    let mut world = World::new();
    let calls: Vec<Phone> = (0..3).map(|_| world.call()).collect();
    let options = RoomOptions { record: Some(RecordStart::default()), ..RoomOptions::default() };
    let (view, _) = make_room(&mut world, "blue", options);
    assert!(world.orders.is_empty(), "there is nothing to record yet");
    for phone in &calls {
        join(&mut world, phone.id, "blue", false).unwrap();
    }
    let records = world.orders.iter().filter(|(_, _, order)| matches!(order, Order::Record(_))).count();
    assert_eq!((records, world.shared.recordings.unsaved()[0].room.as_deref()), (1, Some("blue")));
    let played = play(&mut world, Subject::Room("blue".into()), tone()).unwrap();
    assert_eq!(played.of, view.id);
    assert!(matches!(world.orders.last().unwrap().2, Order::Play { port: None, .. }));
    assert_eq!(world.ask(|reply| Ask::CloseRoom("blue".into(), reply)), Some(true));
    assert_eq!(world.count_sent("BYE "), 6, "both legs of three calls");
    assert_eq!((world.specs.len(), world.ask(|reply| Ask::Rooms(None, reply)).unwrap()), (0, vec![]));
    let (room, started, _) = world.orders[0].clone();
    world.ended(room, started, Outcome::Closed, 1_500);
    let row = world.shared.recordings.unsaved().remove(0);
    assert_eq!((row.state, row.length.as_millis()), (RecordingState::Done, 1_500));
    assert_eq!(world.ask(|reply| Ask::CloseRoom("blue".into(), reply)), Some(false));
}

#[test]
fn a_seat_has_its_own_options_and_mute_holds_in_a_room_too() {
    let mut world = World::new();
    let (agent, coach) = (world.call(), world.call());
    make_room(&mut world, "blue", RoomOptions::default());
    join(&mut world, agent.id, "blue", false).unwrap();
    let whisper = SeatOptions { coaches: Some((agent.id, 0)), gain_centibel: 60, ..SeatOptions::default() };
    let asked = Join { room: "blue".into(), ad_hoc: false, legs: Legs::A, seats: Some(whisper) };
    world.ask(|reply| Ask::Join(coach.id, Box::new(asked), reply)).unwrap().unwrap();
    let seat = |world: &World, phone: &Phone, port: usize| {
        world.specs[&phone.bridge].ports[port].voice.seat.clone().unwrap()
    };
    let a = seat(&world, &coach, 0);
    assert_eq!((a.coaches, a.gain_centibel, a.talks), (Some((agent.bridge, PortIndex(0))), 60, true));
    assert_eq!(seat(&world, &coach, 1).coaches, None);
    mute(&mut world, coach.id, Legs::A, MuteDirection::In, true).unwrap();
    mute(&mut world, agent.id, Legs::B, MuteDirection::Out, true).unwrap();
    assert!(!seat(&world, &coach, 0).talks && seat(&world, &coach, 0).hears);
    assert!(seat(&world, &agent, 1).talks && !seat(&world, &agent, 1).hears);
}

#[test]
fn a_seat_that_media_refuses_is_given_back() {
    let mut world = World::new();
    let phone = world.call();
    make_room(&mut world, "blue", RoomOptions::default());
    world.refuse = Some("keys that we do not hold");
    let refused = join(&mut world, phone.id, "blue", false);
    assert_eq!(refused, Err(AskFailed::Unsupported("keys that we do not hold")));
    let rooms = world.ask(|reply| Ask::Rooms(None, reply)).unwrap();
    assert_eq!((rooms[0].members.len(), seats(&world, &phone)), (0, vec![None; 2]));
}

#[test]
fn who_speaks_in_a_room_is_told_by_call_and_leg() {
    let mut world = World::new();
    let phone = world.call();
    make_room(&mut world, "blue", RoomOptions::default());
    join(&mut world, phone.id, "blue", false).unwrap();
    let room = seats(&world, &phone)[0].unwrap();
    world.events();
    world.media(Event::Talking { bridge: room, who: (phone.bridge, PortIndex(1)), on: true });
    assert_eq!(world.events(), [format!("room.talking room=blue call={} leg=b on=true", phone.id)]);
}

#[test]
fn a_room_on_another_media_shard_is_joined_and_its_death_gives_the_call_back() {
    let mut world = World::with(2, |_| {});
    let (one, two) = (world.call(), world.call());
    assert_ne!(one.bridge.media_shard(), two.bridge.media_shard());
    make_room(&mut world, "blue", RoomOptions::default());
    join(&mut world, one.id, "blue", false).unwrap();
    join(&mut world, two.id, "blue", false).unwrap();
    assert_eq!(world.ask(|reply| Ask::Rooms(None, reply)).unwrap()[0].members.len(), 2);
    let shard = one.bridge.media_shard() as u8;
    world.media(Event::Started { shard, generation: command::Generation(2) });
    assert_eq!(world.ask(|reply| Ask::Rooms(None, reply)).unwrap(), vec![]);
    let spec = &world.specs[&two.bridge];
    assert!(
        spec.ports.iter().all(|port| port.voice.seat.is_none()),
        "its legs hear each other directly again"
    );
}

#[test]
fn a_media_shard_that_dies_takes_rooms_calls_and_recordings_along() {
    let mut world = World::new();
    let phone = world.call();
    let options = RoomOptions { record: Some(RecordStart::default()), ..RoomOptions::default() };
    make_room(&mut world, "blue", options);
    join(&mut world, phone.id, "blue", false).unwrap();
    record(&mut world, Subject::Call(phone.id), RecordAsk::Start(RecordStart::default())).unwrap();
    world.media(Event::Started { shard: 0, generation: command::Generation(2) });
    assert_eq!(world.ask(|reply| Ask::Rooms(None, reply)).unwrap(), vec![]);
    let states: Vec<_> = world.shared.recordings.unsaved().iter().map(|row| row.state).collect();
    assert_eq!(states, [RecordingState::Failed; 2]);
    assert_eq!(world.count_sent("BYE "), 2);
}

#[test]
fn a_media_shard_that_dies_takes_files_of_ended_calls_along() {
    let mut world = World::new();
    let phone = world.call();
    record(&mut world, Subject::Call(phone.id), RecordAsk::Start(RecordStart::default())).unwrap();
    world.hang_up(&phone);
    world.media(Event::Started { shard: 1, generation: command::Generation(2) });
    assert_eq!(world.shared.recordings.active(), 1, "another shard's death is nothing to it");
    world.media(Event::Started { shard: 0, generation: command::Generation(2) });
    assert_eq!(world.shared.recordings.unsaved()[0].state, RecordingState::Failed);
}

#[test]
fn a_call_without_media_or_answer_can_do_little_and_says_what_it_lacks() {
    let mut world = World::new();
    world.ring(&[AUDIO]);
    let (id, _) = world.newest();
    make_room(&mut world, "blue", RoomOptions::default());
    let not_answered = AskFailed::WrongState("the call is not answered");
    assert_eq!(join(&mut world, id, "blue", false), Err(not_answered));
    let hold = Hold { legs: Legs::A, on: true, music: None };
    assert_eq!(world.ask(|reply| Ask::Hold(id, Box::new(hold), reply)), Some(Err(not_answered)));
    assert!(play(&mut world, Subject::Call(id), Play { legs: Legs::A, ..tone() }).is_ok(), "early media");
    let nobody = AskFailed::WrongState("nobody has joined the room yet");
    assert_eq!(play(&mut world, Subject::Room("blue".into()), tone()), Err(nobody));
    assert_eq!(play(&mut world, Subject::Room("red".into()), tone()), Err(AskFailed::NoRoom));
}

#[test]
fn what_goes_on_in_a_call_is_bounded() {
    let mut world = World::new();
    let phone = world.call();
    for _ in 0..crate::orders::RUNNING_MAX {
        play(&mut world, Subject::Call(phone.id), Play { legs: Legs::A, ..tone() }).unwrap();
    }
    let full = play(&mut world, Subject::Call(phone.id), tone());
    assert!(matches!(full, Err(AskFailed::WrongState(_))), "{full:?}");
    let view = world.ask(|reply| Ask::Show(phone.id, reply)).unwrap().unwrap();
    assert_eq!(
        (view.orders.len(), view.orders[0].kind, &view.orders[0].what[..]),
        (32, "play", "tone:busy/de")
    );
}
