//! What is asked of a call's media, of rooms and of recordings: bodies, answers, refusals. The fake's shards take all that
//! is well formed, know one room, and put what they were asked into an answer's words where there is room for them.

use crate::fake::{CALL, ENDING, OTHER_SHARD, World, tokens};
use api::{Limits, SoundError};
use base::{Duration, Wall};
use command::{Clip, FileFormat, ForkCoding, ForkTo, Layout, Sound, Tone};
use ledger::{
    Ask, AskFailed, CallId, OrderId, RecordAsk, Recorded, RecordingRow, RecordingState, RoomMember,
    RoomOptions, RoomView, SeatOptions, Subject,
};
use serde_json::json;
use std::sync::Mutex;

/// What the shards were asked, as text; tests of this file look for what is theirs.
static ASKED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Whether a shard was asked so; digits and sounds are shown as the ledger shows them.
fn was_asked(text: &str) -> bool {
    ASKED.lock().unwrap().iter().any(|asked| asked.contains(text))
}

pub fn sound(source: &str) -> Result<Sound, SoundError> {
    match source {
        "hello.wav" => Ok(Sound::Clip(Clip { rate: 8_000, samples: vec![0; 8].into() })),
        "busy.wav" => Err(SoundError::Busy("too many files are being read".into())),
        tone if tone.starts_with("tone:") => Ok(Sound::Tone(Tone { steps: Vec::new(), once: false })),
        _ => Err(SoundError::Wrong("a file below the folder of sounds".into())),
    }
}

pub fn fork_to(to: &str) -> Result<ForkTo, SoundError> {
    match to.split_once("://") {
        Some(("rtp", target)) => {
            Ok(ForkTo::Rtp { target: target.parse().unwrap(), coding: ForkCoding::default() })
        }
        Some(("ws", _)) => Ok(ForkTo::WebSocket { url: to.to_owned() }),
        _ => Err(SoundError::Wrong("rtp://HOST:PORT or ws://HOST/PATH".into())),
    }
}

/// What the fake's shards answer; shard 1 owns the room.
pub fn answer(shard: usize, ask: Ask) {
    ASKED.lock().unwrap().push(format!("{shard} {ask:?}"));
    let known = |id: CallId| match id.to_string().as_str() {
        CALL | OTHER_SHARD => Ok(()),
        ENDING => Err(AskFailed::Ending),
        _ => Err(AskFailed::NoCall),
    };
    let of = |subject: &Subject| match subject {
        Subject::Call(id) => known(*id).map(|()| *id),
        Subject::Room(name) if name != "blue" => Err(AskFailed::NoRoom),
        Subject::Room(_) if shard != 1 => Err(AskFailed::Elsewhere(1)),
        Subject::Room(_) => Ok(OTHER_SHARD.parse().unwrap()),
    };
    let order = |of: CallId| OrderId { of, number: 3 };
    match ask {
        Ask::Play(subject, play, reply) => reply(match play.source.as_str() {
            "tone:refused" => Err(AskFailed::Unsupported("keys that we do not hold")),
            _ => of(&subject).map(order),
        }),
        Ask::Stop(subject, id, reply) => reply(match id {
            Some(id) if id.number != 3 => Err(AskFailed::NoOrder),
            _ => of(&subject).map(drop),
        }),
        Ask::Dtmf(id, _, reply) => reply(known(id).map(|()| order(id))),
        Ask::Record(subject, record, reply) => reply(of(&subject).and_then(|of| match record {
            RecordAsk::Pause(None) => {
                Err(AskFailed::WrongState("several recordings run: name one by its id"))
            }
            _ => Ok(Recorded { id: order(of), file: format!("{}.wav", order(of)) }),
        })),
        Ask::Fork(subject, _, reply) => reply(of(&subject).map(order)),
        Ask::Mute(id, _, reply) => reply(known(id)),
        Ask::Hold(id, _, reply) => reply(known(id)),
        Ask::Leave(id, room, reply) => reply(match room.as_deref() {
            Some("blue") | None => known(id),
            Some(_) => Err(AskFailed::WrongState("the call is not in the room")),
        }),
        Ask::Join(id, join, reply) => {
            reply(known(id).and_then(|()| match (join.room.as_str(), join.ad_hoc) {
                ("blue", _) => Ok(room("blue", id)),
                (name, true) => Ok(room(name, id)),
                _ => Err(AskFailed::NoRoom),
            }));
        }
        Ask::PutRoom(name, options, reply) => {
            let view = RoomView { options, members: Vec::new(), ..room(&name, CallId::default()) };
            reply(Ok((view, name != "blue")));
        }
        Ask::Rooms(name, reply) => reply(match name.as_deref() {
            None | Some("blue") => vec![room("blue", CALL.parse().unwrap())],
            Some(_) => Vec::new(),
        }),
        Ask::CloseRoom(name, reply) => reply(name == "blue" && shard == 1),
        _ => {}
    }
}

fn room(name: &str, call: CallId) -> RoomView {
    let coaches = Some((OTHER_SHARD.parse().unwrap(), 1));
    let seats =
        [SeatOptions { gain_centibel: -150, coaches, ..SeatOptions::default() }, SeatOptions::default()];
    RoomView {
        name: name.into(),
        id: OTHER_SHARD.parse().unwrap(),
        created: Wall(1_795_248_116_500_000),
        ad_hoc: name != "blue",
        is_closing: false,
        options: RoomOptions::default(),
        media_shard: Some(0),
        owner: 1,
        members: vec![RoomMember { call, joined: Wall(1_795_248_117_500_000), seats }],
    }
}

/// Status of a POST, and the fields that were wrong.
fn post(world: &World, path: &str, body: &str) -> (u16, Vec<String>) {
    let reply = world.ask("POST", path, &["Content-Type: application/json"], body);
    let wrong = if reply.status == 422 { reply.json()["errors"].clone() } else { json!([]) };
    let fields = wrong.as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap().to_owned());
    (reply.status, fields.collect())
}

#[test]
fn a_sound_is_loaded_and_played() {
    let world = World::new();
    let path = format!("/v1/calls/{CALL}/play");
    let body =
        r#"{"source": "hello.wav", "leg": "b", "mode": "mix", "loop": 3, "start": 1500, "gain": -2.5}"#;
    let reply = world.ask("POST", &path, &[], body);
    assert_eq!((reply.status, reply.json()), (201, json!({ "id": format!("{CALL}-3") })));
    assert!(was_asked(
        "legs: B, sound: Clip(Clip(8 samples at 8000 Hz)), source: \"hello.wav\", mode: Mix, times: Some(3), \
         start: 1.5s, gain_centibel: -250"
    ));
    assert_eq!(post(&world, &path, r#"{"source": "tone:440+480", "loop": true}"#).0, 201);
    assert!(was_asked("source: \"tone:440+480\", mode: Replace, times: None, start: 0ns, gain_centibel: 0"));
    let refused = world.ask("POST", &path, &[], r#"{"source": "tone:refused"}"#);
    assert_eq!((refused.status, refused.class()), (409, "wrong_state".into()));
    assert_eq!(refused.json()["detail"], "keys that we do not hold");
    let busy = world.ask("POST", &path, &[], r#"{"source": "busy.wav"}"#);
    assert_eq!((busy.status, busy.class()), (503, "busy".into()));
}

#[test]
fn what_is_said_in_a_call_or_room_is_forked() {
    let world = World::new();
    let body = r#"{"to": "rtp://192.0.2.9:4000", "layout": "stereo", "codec": "pcmu"}"#;
    let reply = world.ask("POST", &format!("/v1/calls/{CALL}/fork"), &[], body);
    assert_eq!((reply.status, reply.json()), (201, json!({ "id": format!("{CALL}-3") })));
    assert!(was_asked(
        "ForkStart { to: Rtp { target: 192.0.2.9:4000, coding: Pcmu }, target: \"rtp://192.0.2.9:4000\", \
         layout: Stereo, rate: None }"
    ));
    let (status, _) = post(&world, "/v1/rooms/blue/fork", r#"{"to": "ws://robot/hear", "rate": 16000}"#);
    assert_eq!(status, 201);
    assert!(was_asked(
        "WebSocket { url: \"ws://robot/hear\" }, target: \"ws://robot/hear\", layout: Mono, rate: Some(16000)"
    ));
}

#[test]
fn bodies_that_do_not_fit_are_refused_by_field() {
    let world = World::new();
    let check = |path: &str, body: &str, field: &str| {
        let path = path.replace("CALL", CALL);
        assert_eq!(post(&world, &path, body), (422, vec![field.to_owned()]), "{path} {body}");
    };
    let play = "/v1/calls/CALL/play";
    check(play, "{}", "source");
    check(play, r#"{"source": "nothing.wav"}"#, "source");
    check(play, r#"{"source": ""}"#, "source");
    check(play, r#"{"source": 7}"#, "source");
    check(play, r#"{"source": "hello.wav", "leg": "c"}"#, "leg");
    check(play, r#"{"source": "hello.wav", "loop": 0}"#, "loop");
    check(play, r#"{"source": "hello.wav", "loop": "ever"}"#, "loop");
    check(play, r#"{"source": "hello.wav", "start": -1}"#, "start");
    check(play, r#"{"source": "hello.wav", "gain": 21}"#, "gain");
    check(play, r#"{"source": "hello.wav", "sauce": 1}"#, "sauce");
    check(play, r#"{"source": "hello.wav"} x"#, "body");
    check(play, "[", "body");
    check("/v1/rooms/blue/play", r#"{"source": "hello.wav", "leg": "a"}"#, "leg");
    check("/v1/calls/CALL/stop", r#"{"id": "7"}"#, "id");
    let dtmf = "/v1/calls/CALL/dtmf";
    check(dtmf, r#"{"digits": ""}"#, "digits");
    check(dtmf, r#"{"digits": "12a"}"#, "digits");
    check(dtmf, &format!(r#"{{"digits": "{}"}}"#, "1".repeat(101)), "digits");
    check(dtmf, r#"{"digits": "1", "duration": 99}"#, "duration");
    check(dtmf, r#"{"digits": "1", "duration": 1001}"#, "duration");
    check(dtmf, r#"{"digits": "1", "gap": 5001}"#, "gap");
    let record = "/v1/calls/CALL/record";
    check(record, "{}", "action");
    check(record, r#"{"action": "begin"}"#, "action");
    check(record, r#"{"action": "start", "rate": 44100}"#, "rate");
    check(record, r#"{"action": "start", "layout": "quad"}"#, "layout");
    check(record, &format!(r#"{{"action": "start", "id": "{CALL}-1"}}"#), "id");
    let fork = "/v1/calls/CALL/fork";
    check(fork, "{}", "to");
    check(fork, r#"{"to": ""}"#, "to");
    check(fork, r#"{"to": "wss://robot/"}"#, "to");
    check(fork, r#"{"to": "ws://robot/", "codec": "l16"}"#, "codec");
    check(fork, r#"{"to": "ws://robot/", "rate": 44100}"#, "rate");
    check(fork, r#"{"to": "rtp://192.0.2.9:4000", "codec": "pcmu", "rate": 16000}"#, "rate");
    check(fork, r#"{"to": "rtp://192.0.2.9:4000", "layout": "quad"}"#, "layout");
    check("/v1/calls/CALL/mute", r#"{"direction": "up"}"#, "direction");
    check("/v1/calls/CALL/hold", r#"{"on": false, "music": "hello.wav"}"#, "music");
    check("/v1/calls/CALL/hold", r#"{"music": "nothing.wav"}"#, "music");
    check("/v1/calls/CALL/join", "{}", "room");
    check("/v1/calls/CALL/join", r#"{"room": "blue", "call": "x"}"#, "room");
    check("/v1/calls/CALL/join", r#"{"call": "x"}"#, "call");
    check("/v1/calls/CALL/join", r#"{"room": "two words"}"#, "room");
}

#[test]
fn digits_mute_and_hold_go_to_the_call() {
    let world = World::new();
    let digits =
        post(&world, &format!("/v1/calls/{CALL}/dtmf"), r#"{"digits": "0123456789ABCD*#", "gap": 0}"#);
    assert_eq!((digits.0, was_asked("16 digits")), (201, true));
    let mute = post(&world, &format!("/v1/calls/{CALL}/mute"), r#"{"leg": "a", "direction": "out"}"#);
    assert_eq!((mute.0, was_asked("legs: A, direction: Out, on: true")), (204, true));
    let unmute = post(&world, &format!("/v1/calls/{CALL}/mute"), r#"{"on": false}"#);
    assert_eq!((unmute.0, was_asked("legs: Both, direction: In, on: false")), (204, true));
    let hold =
        post(&world, &format!("/v1/calls/{OTHER_SHARD}/hold"), r#"{"leg": "b", "music": "tone:ring/uk"}"#);
    assert_eq!(hold.0, 204);
    assert!(was_asked(&format!("1 Hold({OTHER_SHARD}, Hold {{ legs: B, on: true, music: Some(")));
}

#[test]
fn a_call_that_is_gone_or_going_takes_nothing() {
    let world = World::new();
    for (verb, body) in [
        ("play", r#"{"source": "hello.wav"}"#),
        ("fork", r#"{"to": "ws://robot/hear"}"#),
        ("stop", "{}"),
        ("dtmf", r#"{"digits": "1"}"#),
        ("record", r#"{"action": "start"}"#),
        ("mute", "{}"),
        ("hold", "{}"),
        ("join", r#"{"room": "blue"}"#),
        ("leave", ""),
    ] {
        let reply = |id: &str| world.ask("POST", &format!("/v1/calls/{id}/{verb}"), &[], body);
        let gone = reply("0123456789ab0000000000ff");
        assert_eq!((gone.status, gone.class()), (404, "no_call".into()), "{verb}");
        let ending = reply(ENDING);
        assert_eq!((ending.status, ending.class()), (409, "wrong_state".into()), "{verb}");
        assert_eq!(reply("nonsense").status, 404, "{verb}");
    }
    let stop = world.ask("POST", &format!("/v1/calls/{CALL}/stop"), &[], &format!(r#"{{"id": "{CALL}-9"}}"#));
    assert_eq!((stop.status, stop.class()), (404, "not_found".into()));
}

#[test]
fn a_recording_is_started_paused_and_stopped() {
    let world = World::new();
    let path = format!("/v1/calls/{CALL}/record");
    let body = r#"{"action": "start", "layout": "stereo", "format": "opus", "rate": 16000, "from": "first_packet", "mask_digits": true}"#;
    let reply = world.ask("POST", &path, &[], body);
    let file = json!({ "id": format!("{CALL}-3"), "file": format!("{CALL}-3.wav") });
    assert_eq!((reply.status, reply.json()), (201, file.clone()));
    assert!(was_asked(
        "Start(RecordStart { layout: Stereo, format: OggOpus, rate: Some(16000), mask_digits: true, from: FirstPacket })"
    ));
    let stopped = world.ask("POST", &path, &[], &format!(r#"{{"action": "stop", "id": "{CALL}-3"}}"#));
    assert_eq!((stopped.status, stopped.json()), (200, file));
    let paused = world.ask("POST", &path, &[], r#"{"action": "pause"}"#);
    assert_eq!(
        (paused.status, &paused.json()["detail"]),
        (409, &json!("several recordings run: name one by its id"))
    );
}

#[test]
fn rooms_are_made_shown_joined_and_ended() {
    let world = World::new();
    let put = |name: &str, body: &str| world.ask("PUT", &format!("/v1/rooms/{name}"), &[], body);
    let made = put("red", r#"{"talkers": 5, "tones": true, "record": {"layout": "stereo"}}"#);
    assert_eq!(
        (made.status, &made.json()["talkers"], &made.json()["record"]),
        (201, &json!(5), &json!(true))
    );
    assert_eq!(put("blue", "").status, 200);
    for (name, body, field) in [
        ("red", r#"{"talkers": 9}"#, "talkers"),
        ("red", r#"{"record": {"rate": 1}}"#, "record.rate"),
        ("red", r#"{"record": {"speed": 1}}"#, "record.speed"),
        ("a%20b", "", "name"),
    ] {
        let reply = put(name, body);
        assert_eq!((reply.status, &reply.json()["errors"][0]["field"]), (422, &json!(field)), "{body}");
    }
    let shown = world.get("/v1/rooms/blue").json();
    let list = world.get("/v1/rooms").json();
    assert_eq!((list["rooms"].as_array().unwrap().len(), &list["rooms"][0]), (1, &shown));
    assert_eq!(
        (&shown["calls"][0]["call"], &shown["calls"][0]["a"]),
        (
            &json!(CALL),
            &json!({ "talks": true, "hears": true, "gain": -1.5, "coaches": { "call": OTHER_SHARD, "leg": "b" } })
        )
    );
    assert_eq!(world.get("/v1/rooms/red").class(), "not_found");
    let seat = format!("/v1/rooms/blue/calls/{CALL}");
    let body = format!(
        r#"{{"leg": "a", "talks": false, "gain": 3, "coaches": {{"call": "{OTHER_SHARD}", "leg": "a"}}}}"#
    );
    assert_eq!(world.ask("PUT", &seat, &[], &body).status, 200);
    assert!(was_asked(
        "legs: A, seats: Some(SeatOptions { talks: false, hears: true, gain_centibel: 300, coaches: Some("
    ));
    let wrong = world.ask("PUT", &seat, &[], r#"{"coaches": {"call": "x", "leg": "a"}}"#);
    assert_eq!(wrong.json()["errors"][0]["field"], "coaches.call");
    assert_eq!(world.ask("DELETE", &seat, &[], "").status, 204);
    assert_eq!(world.ask("DELETE", &format!("/v1/rooms/red/calls/{CALL}"), &[], "").status, 409);
    let nowhere = world.ask("PUT", &format!("/v1/rooms/red/calls/{CALL}"), &[], "");
    assert_eq!((nowhere.status, nowhere.class()), (404, "not_found".into()));
    // The room's owner is asked, whoever was asked first.
    assert_eq!(post(&world, "/v1/rooms/blue/play", r#"{"source": "tone:beep"}"#).0, 201);
    assert_eq!(post(&world, "/v1/rooms/blue/record", r#"{"action": "start"}"#).0, 201);
    assert_eq!(post(&world, "/v1/rooms/blue/stop", "{}").0, 204);
    assert_eq!(post(&world, "/v1/rooms/red/stop", "{}").0, 404);
    assert!(was_asked("1 Play(Room(\"blue\")"));
    assert_eq!(world.ask("DELETE", "/v1/rooms/blue", &[], "").status, 204);
    assert_eq!(world.ask("DELETE", "/v1/rooms/red", &[], "").class(), "not_found");
}

#[test]
fn a_call_joins_a_call_in_a_room_of_their_own() {
    let world = World::new();
    let join = |body: &str| world.ask("POST", &format!("/v1/calls/{CALL}/join"), &[], body);
    let joined = join(&format!(r#"{{"call": "{OTHER_SHARD}"}}"#));
    assert_eq!((joined.status, &joined.json()["name"]), (200, &json!(format!("calls-{CALL}"))));
    let of_both = [(0, CALL), (1, OTHER_SHARD)].map(|(shard, call)| {
        was_asked(&format!(
            "{shard} Join({call}, Join {{ room: \"calls-{CALL}\", ad_hoc: true, legs: Both, seats: None }})"
        ))
    });
    assert_eq!(of_both, [true, true]);
    assert_eq!(join(&format!(r#"{{"call": "{CALL}"}}"#)).json()["errors"][0]["field"], "call");
    // The other cannot: the first one is not left alone in a room.
    assert_eq!(join(&format!(r#"{{"call": "{ENDING}"}}"#)).status, 409);
    let leave = world.ask("POST", &format!("/v1/calls/{CALL}/leave"), &[], "");
    assert_eq!(leave.status, 204);
}

#[test]
fn recordings_are_listed_downloaded_and_deleted() {
    let world = World::new();
    let of: CallId = CALL.parse().unwrap();
    let row = |number, state, format| {
        let id = OrderId { of, number };
        RecordingRow {
            id,
            room: (number == 2).then(|| "blue".into()),
            file: format!("{id}.{}", if format == FileFormat::Wav { "wav" } else { "opus" }),
            started: Wall(1_795_248_116_500_000),
            layout: Layout::Stereo,
            format,
            state,
            length: Duration::from_millis(2_500),
            lost: Duration::from_millis(20),
            metadata: (number == 1).then(|| "case 7".into()),
        }
    };
    let done = row(1, RecordingState::Done, FileFormat::OggOpus);
    let runs = row(2, RecordingState::Recording, FileFormat::Wav);
    *world.fake.recordings.lock().unwrap() = vec![runs.clone(), done.clone()];
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    world.fake.records.write_file(&done.file, &bytes);
    let list = world.get(&format!("/v1/recordings?call={CALL}&limit=1")).json();
    assert_eq!((list["recordings"].as_array().unwrap().len(), &list["more"]), (1, &json!(true)));
    let expected = json!({
        "id": done.id.to_string(), "call": CALL, "room": null, "file": done.file,
        "started": "2026-11-21T08:01:56.500000Z", "length_ms": 2500, "layout": "stereo", "format": "opus",
        "state": "done", "lost_ms": 20, "metadata": "case 7",
    });
    assert_eq!(world.get(&format!("/v1/recordings/{}", done.id)).json(), expected);
    assert_eq!(world.get("/v1/recordings?room=blue").json()["recordings"][0]["length_ms"], json!(null));
    assert_eq!(world.get("/v1/recordings?who=x").status, 422);
    let file = world.get(&format!("/v1/recordings/{}/file", done.id));
    assert_eq!(
        (file.status, file.header("content-type"), file.header("content-length")),
        (200, Some("audio/ogg"), Some("300000"))
    );
    assert_eq!(file.body, bytes);
    assert_eq!(world.get(&format!("/v1/recordings/{}/file", runs.id)).class(), "not_found");
    assert_eq!(world.get("/v1/recordings/nonsense").class(), "not_found");
    let delete = |id: OrderId| world.ask("DELETE", &format!("/v1/recordings/{id}"), &[], "");
    assert_eq!((delete(runs.id).status, delete(done.id).status, delete(done.id).status), (409, 204, 404));
    assert_eq!(world.get("/v1/recordings").json()["recordings"].as_array().unwrap().len(), 1);
}

#[test]
fn who_may_only_read_hears_and_changes_nothing() {
    let world = World::with(tokens(), Limits::default());
    let status = |method: &str, path: &str, token: &str| {
        world.ask(method, path, &[&format!("Authorization: Bearer {token}")], "{}").status
    };
    for (method, path) in [
        ("POST", format!("/v1/calls/{CALL}/mute")),
        ("PUT", "/v1/rooms/blue".to_owned()),
        ("DELETE", "/v1/rooms/blue".to_owned()),
        ("PUT", format!("/v1/rooms/blue/calls/{CALL}")),
        ("GET", "/v1/recordings".to_owned()),
    ] {
        assert_eq!(status(method, &path, "read"), 403, "{method} {path}");
        assert!(status(method, &path, "calls") < 300, "{method} {path}");
    }
    assert_eq!(status("GET", "/v1/rooms", "read"), 200);
}
