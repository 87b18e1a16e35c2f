//! Rooms: who hears whom, at which rates, who is told, how calls come and go without hearing of it by SIP, and what is
//! left when a room or its shard ends.

use crate::support::baresip::{Baresip, share_of};
use crate::support::hearing::{ACCURACY, goes_on, longest_break, timeline};
use crate::support::studio::{Call, Party, Studio};
use crate::support::talker::{Codec, G722, OPUS, PCMU, Tone, WIDE};
use crate::support::wire::rtp;
use crate::support::{Engine, Net, PAIR, SOON, wait_for};
use std::time::Duration;

/// What a stream may lack when it changes from being relayed to being mixed and back.
const BREAK: Duration = Duration::from_millis(40);
/// Seats are turned down by so much, so that all tones together fit.
const QUIETER: &str = r#"{"gain": -6}"#;

fn seat(studio: &Studio, room: &str, call: &Call, body: &str) {
    studio.ask("PUT", &format!("/v1/rooms/{room}/calls/{}", call.id), body, 200);
}

fn end_room(studio: &Studio, room: &str) {
    studio.ask("DELETE", &format!("/v1/rooms/{room}"), "", 204);
}

/// All that sit in a room hear each of the others that `can` be heard by them, and never themselves.
fn each_hears_the_others(parties: &[&Party], can: impl Fn(&Party, u32) -> bool) {
    for party in parties {
        let others = || parties.iter().map(|other| other.hz).filter(|hz| *hz != party.hz);
        let heard: Vec<u32> = others().filter(|hz| can(party, *hz)).collect();
        let mut not: Vec<u32> = others().filter(|hz| !can(party, *hz)).collect();
        not.push(party.hz);
        if party.codec.rate() == 8_000 {
            // What is above the band would fold down.
            not.retain(|hz| *hz < 4_000);
        }
        party.hears(&heard, &not);
    }
}

/// Calls with sides of three rates: all hear all, and wide ones what narrow ones cannot.
fn parties_of_three_rates_share_a_room(back_end: &str) {
    let studio = Studio::new(back_end);
    let calls = [
        studio.call((PCMU, 440), (PCMU, 620)),
        studio.call((G722, 5_000), (G722, 5_400)),
        studio.call((WIDE, 5_800), (WIDE, 6_100)),
        studio.call((OPUS, 6_500), (OPUS, 6_900)),
    ];
    studio.ask("PUT", "/v1/rooms/wide", r#"{"talkers": 8}"#, 201);
    calls.iter().for_each(|call| seat(&studio, "wide", call, QUIETER));
    let parties: Vec<&Party> = calls.iter().flat_map(|call| [&call.a, &call.b]).collect();
    each_hears_the_others(&parties, |party, hz| hz < 4_000 || party.codec.rate() > 8_000);
    // The narrow call leaves, and is a call of two again.
    let narrow = &calls[0];
    studio.of(narrow, "leave", "", 204);
    narrow.a.hears(&[620], &[440]);
    narrow.b.hears(&[440], &[620]);
    studio.nobody_was_asked();
    end_room(&studio, "wide");
    for _ in &calls[1..] {
        studio.a.expect_bye();
        studio.b.expect_bye();
    }
    let [narrow, ..] = calls;
    studio.end(narrow);
}

#[test]
fn parties_of_three_rates_share_a_room_on_epoll() {
    parties_of_three_rates_share_a_room("epoll");
}

#[test]
fn parties_of_three_rates_share_a_room_on_uring() {
    parties_of_three_rates_share_a_room("uring");
}

/// Uncompressed speech of every rate, beside Opus: all hear all that their rate can hold.
#[test]
fn parties_of_all_rates_share_a_room() {
    const L16: Codec = Codec { number: 113, name: "L16", clock: 8_000 };
    const RATES: [Codec; 3] = [L16, Codec { clock: 32_000, ..L16 }, Codec { clock: 48_000, ..L16 }];
    let studio = Studio::new("epoll");
    let mut calls = vec![
        studio.call((RATES[0], 440), (RATES[0], 700)),
        studio.call((RATES[1], 5_000), (RATES[1], 9_000)),
    ];
    // At 48 kHz a packet holds 10 ms.
    let mut widest = studio.connect((RATES[2], 13_000), (RATES[2], 15_000));
    for party in [&mut widest.a, &mut widest.b] {
        let hz = party.hz;
        party.talker.say(party.to, move |n| {
            let packet = |half: u32| {
                let first = n * 960 + half * 480;
                let at = |i: u32| {
                    (std::f64::consts::TAU * f64::from(hz) * f64::from(first + i) / 48_000.0).sin() * 8_000.0
                };
                let payload: Vec<u8> = (0..480).flat_map(|i| (at(i) as i16).to_be_bytes()).collect();
                rtp(113, (2 * n + half) as u16, first, 0x2000_0000 | hz, &payload)
            };
            vec![packet(0), packet(1)]
        });
    }
    calls.push(widest);
    calls.push(studio.call((OPUS, 1_000), (OPUS, 2_500)));
    studio.ask("PUT", "/v1/rooms/rates", r#"{"talkers": 8}"#, 201);
    calls.iter().for_each(|call| seat(&studio, "rates", call, QUIETER));
    let parties: Vec<&Party> = calls.iter().flat_map(|call| [&call.a, &call.b]).collect();
    for party in &parties {
        // Opus spends its bits where people hear.
        let band = if party.codec.name == "opus" { 8_000 } else { party.codec.rate() * 9 / 20 };
        let others = || parties.iter().map(|other| other.hz).filter(|hz| *hz != party.hz);
        let heard: Vec<u32> = others().filter(|hz| *hz < band).collect();
        party.hears(&heard, &[party.hz]);
    }
    studio.nobody_was_asked();
    end_room(&studio, "rates");
    for _ in &calls {
        studio.a.expect_bye();
        studio.b.expect_bye();
    }
    studio.engine.wait_idle();
}

/// A second call joins the first and leaves again: the first hears no break, and is relayed afterwards.
fn a_call_is_joined_and_left_without_a_break(back_end: &str) {
    let studio = Studio::new(back_end);
    let first = studio.call((PCMU, 440), (PCMU, 800));
    // It says nothing at first, so that what breaks is seen.
    let mut second = studio.connect((PCMU, 1_200), (PCMU, 1_700));
    first.a.talker.wait_heard(0, 25);
    let room = studio.of(&first, "join", &format!(r#"{{"call": "{}"}}"#, second.id), 200);
    let name = room["name"].as_str().expect("a name").to_owned();
    studio.wait_bridges("mix", 2);
    first.a.talker.wait_heard(0, 50);
    studio.of(&second, "leave", "", 204);
    studio.wait_bridges("relay", 2);
    wait_for("the room to end", SOON, || {
        (studio.engine.get(&format!("/v1/rooms/{name}")).status == 404).then_some(())
    });
    first.a.talker.wait_heard(0, 25);
    for (party, other) in [(&first.a, 800), (&first.b, 440)] {
        let heard = party.talker.heard();
        goes_on(&heard, PCMU, BREAK);
        let broken = longest_break(8_000, &timeline(PCMU, &heard), other);
        assert!(broken <= BREAK + ACCURACY, "{other} Hz is broken for {broken:?}");
    }
    // Once more, and this time it speaks.
    studio.of(&first, "join", &format!(r#"{{"call": "{}"}}"#, second.id), 200);
    // Three are heard at a time where nobody says otherwise.
    second.a.talker.say_tone(second.a.to, PCMU, 1_200.0);
    second.b.hears(&[440, 800, 1_200], &[1_700]);
    each_hears_the_others(&[&first.a, &first.b, &second.a], |_, _| true);
    studio.nobody_was_asked();
    // The first call ends: the second is a call of two, and the room is gone.
    let Call { mut sip, .. } = first;
    studio.a.hang_up(&mut sip.a, &studio.b);
    second.b.talker.say_tone(second.b.to, PCMU, 1_700.0);
    second.a.hears(&[1_700], &[1_200, 440, 800]);
    second.b.hears(&[1_200], &[1_700, 440, 800]);
    wait_for("the room to end", SOON, || {
        studio.engine.json("/v1/rooms")["rooms"].as_array().is_some_and(Vec::is_empty).then_some(())
    });
    studio.end(second);
}

#[test]
fn a_call_is_joined_and_left_without_a_break_on_epoll() {
    a_call_is_joined_and_left_without_a_break("epoll");
}

#[test]
fn a_call_is_joined_and_left_without_a_break_on_uring() {
    a_call_is_joined_and_left_without_a_break("uring");
}

#[test]
fn a_room_is_told_of_recorded_and_ended() {
    let studio = Studio::new("uring");
    studio.ask("PUT", "/v1/rooms/blue", r#"{"record": {"format": "wav"}}"#, 201);
    studio.ask("PUT", "/v1/rooms/blue", r#"{"talkers": 9}"#, 422);
    let calls = [studio.call((PCMU, 440), (PCMU, 620)), studio.connect((PCMU, 900), (PCMU, 1_200))];
    calls.iter().for_each(|call| seat(&studio, "blue", call, "{}"));
    let room = studio.engine.json("/v1/rooms/blue");
    let members: Vec<&str> =
        room["calls"].as_array().expect("a list").iter().filter_map(|c| c["call"].as_str()).collect();
    assert_eq!(members.len(), 2);
    assert!(calls.iter().all(|call| members.contains(&call.id.as_str())), "{room:#}");
    // Who says something is told; the second call says nothing.
    calls[1].a.hears(&[440, 620], &[]);
    let talking = studio.wait_event("room.talking", &calls[0].id);
    assert_eq!((&talking["room"], &talking["on"]), (&"blue".into(), &"true".into()), "{talking:#}");
    // Announcements are heard by all.
    let id =
        studio.ask("POST", "/v1/rooms/blue/play", r#"{"source": "tone:1700", "gain": 6}"#, 201)["id"].clone();
    for party in [&calls[0].a, &calls[1].a, &calls[1].b] {
        party.hears(&[1_700], &[]);
    }
    studio.ask("POST", "/v1/rooms/blue/stop", &format!(r#"{{"id": {id}}}"#), 204);
    studio.wait_event("play.ended", id.as_str().expect("an id"));
    // A seat that is muted, and one that hears nothing.
    seat(&studio, "blue", &calls[0], r#"{"leg": "a", "talks": false}"#);
    calls[1].b.hears(&[620], &[440, 1_700]);
    seat(&studio, "blue", &calls[0], r#"{"leg": "a", "hears": false, "talks": true}"#);
    calls[1].b.hears(&[440, 620], &[]);
    calls[0].a.hears(&[], &[620]);
    studio.ask("PUT", &format!("/v1/rooms/red/calls/{}", calls[0].id), "{}", 404);
    studio.nobody_was_asked();

    end_room(&studio, "blue");
    for _ in &calls {
        studio.a.expect_bye();
        studio.b.expect_bye();
    }
    studio.engine.wait_idle();
    assert_eq!(studio.engine.get("/v1/rooms/blue").status, 404);
    for call in &calls {
        studio.wait_event("room.joined", &call.id);
        studio.wait_event("room.left", &call.id);
    }
    studio.wait_event("room.created", "blue");
    studio.wait_event("room.ended", "blue");
    studio.wait_event("recording.ended", "blue");
    let rows = studio.engine.json("/v1/recordings?room=blue");
    let row = &rows["recordings"][0];
    assert_eq!(row["state"], "done", "{rows:#}");
    let file = studio.engine.folder().join("recordings").join(row["file"].as_str().expect("a file"));
    let file = std::fs::read(file).expect("the file is there");
    let wav = codec::wav::Wav::parse(&file).expect("a WAV file");
    assert_eq!(
        wav.frames() as u64 * 1000 / u64::from(wav.rate()),
        row["length_ms"].as_u64().expect("a length")
    );
    assert!(wav.frames() > wav.rate() as usize / 2);
    let mut pcm = vec![0; wav.frames()];
    wav.mono(0, &mut pcm);
    let loudest = pcm
        .chunks(wav.rate() as usize / 5)
        .map(|part| crate::support::hearing::amplitude(wav.rate(), part, 620));
    assert!(loudest.fold(0.0, f64::max) > 3_000.0);
}

/// Ten calls at once and ten in turn: all sit, and all are hung up with the room.
#[test]
fn twenty_calls_join_and_the_room_ends_with_all_of_them() {
    let studio = Studio::new("epoll");
    let calls: Vec<Call> = (0..20).map(|n| studio.connect((PCMU, 400 + n), (PCMU, 800 + n))).collect();
    studio.ask("PUT", "/v1/rooms/many", r#"{"tones": true}"#, 201);
    let (at_once, in_turn) = calls.split_at(10);
    std::thread::scope(|scope| {
        for call in at_once {
            let engine = &studio.engine;
            scope.spawn(move || {
                let path = format!("/v1/rooms/many/calls/{}", call.id);
                let json = "Content-Type: application/json\r\n";
                let answer = engine.request("PUT", &path, json, "{}");
                assert_eq!(answer.status, 200, "{}", answer.body);
            });
        }
    });
    in_turn.iter().for_each(|call| seat(&studio, "many", call, "{}"));
    assert_eq!(studio.engine.json("/v1/rooms/many")["calls"].as_array().map(Vec::len), Some(20));
    studio.wait_bridges("room", 1);
    studio.wait_bridges("mix", 20);
    // One of them speaks, and all others hear it.
    let [first, .., last] = &calls[..] else { unreachable!("twenty") };
    let mut tone = Tone::new(PCMU, 1_500.0, 7);
    for party in [&last.a, &first.b] {
        let end = std::time::Instant::now() + SOON;
        for n in 0.. {
            first.a.talker.wire.rtp.send(first.a.to, &tone.packet(n));
            std::thread::sleep(Duration::from_millis(20));
            let heard = party.talker.heard();
            let line = timeline(PCMU, &heard);
            let tail = &line[line.len().saturating_sub(1_600)..];
            if line.len() > 1_600 && crate::support::hearing::amplitude(8_000, tail, 1_500) > 4_000.0 {
                break;
            }
            assert!(std::time::Instant::now() < end, "the one who speaks is not heard");
        }
    }
    end_room(&studio, "many");
    for _ in &calls {
        studio.a.expect_bye();
        studio.b.expect_bye();
    }
    studio.engine.wait_idle();
    assert_eq!(studio.engine.json("/v1/rooms")["rooms"].as_array().map(Vec::len), Some(0));
}

/// A room's shard fails: the calls of the room end with BYE, calls on the other shard lose nothing.
#[test]
fn a_failed_shard_ends_its_rooms_and_no_packet_of_others_is_lost() {
    let config = PAIR.replace("media = \"IP1:0\"", "media = \"IP1:10000-10999\"");
    let studio = Studio::with("epoll", "engine.media_shards = 2", &config, &["--allow-panic"]);
    let calls: Vec<Call> = (0..6).map(|n| studio.connect((PCMU, 400 + n), (PCMU, 800 + n))).collect();
    let (mut first, others): (Vec<Call>, Vec<Call>) =
        calls.into_iter().partition(|call| call.a.to.port() / 2 % 2 == 0);
    assert!(first.len() >= 2 && !others.is_empty(), "{} and {} calls", first.len(), others.len());
    studio.ask("PUT", "/v1/rooms/doomed", "{}", 201);
    first.iter().for_each(|call| seat(&studio, "doomed", call, "{}"));
    for party in first.iter_mut().flat_map(|call| [&mut call.a, &mut call.b]) {
        party.talker.say_tone(party.to, PCMU, f64::from(party.hz));
    }
    assert_eq!(studio.engine.json("/v1/rooms/doomed")["shard"], 0);
    let relayed = &others[0];
    // So many packets a second are sent as to see each that is missing.
    const PACKETS: u16 = 400;
    let json = "Content-Type: application/json\r\n";
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..PACKETS {
                let packet = rtp(0, n, u32::from(n) * 160, 0xbeef, &[n as u8; 160]);
                relayed.a.talker.wire.rtp.send(relayed.a.to, &packet);
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        relayed.b.talker.wait_heard(0, 50);
        studio.engine.request("POST", "/v1/debug/panic", json, "{\"shard\":\"media-0\"}");
        for _ in &first {
            studio.a.expect_bye();
            studio.b.expect_bye();
        }
    });
    wait_for("all packets", SOON, || (relayed.b.talker.heard().len() >= usize::from(PACKETS)).then_some(()));
    let heard: Vec<u16> = relayed.b.talker.heard().iter().map(|packet| packet.sequence()).collect();
    assert!(heard.iter().copied().eq(0..PACKETS), "each packet in order: {heard:?}");
    studio.wait_event("room.ended", "doomed");
    assert_eq!(studio.engine.get("/v1/rooms/doomed").status, 404);
    assert_eq!(studio.engine.calls().len(), others.len());
    for mut call in others {
        studio.a.hang_up(&mut call.sip.a, &studio.b);
    }
    wait_for("the last call to be gone", SOON, || studio.engine.calls().is_empty().then_some(()));
    assert_eq!(studio.engine.metric("strowger_limit_drift"), 0.0);
}

/// Six phones of others in three calls: each hears the five others and not itself.
fn phones_share_a_room(back_end: &str) {
    const TONES: [u32; 6] = [440, 620, 810, 1_030, 1_310, 1_730];
    let net = Net::new();
    let phones = TONES.iter().enumerate().map(|(n, hz)| {
        let user = if n % 2 == 0 { format!("200{n}") } else { format!("30{n}") };
        Baresip::start(net.ip(n as u32 + 2), &user, f64::from(*hz), n % 2 == 1)
    });
    let Some(mut phones) = phones.collect::<Option<Vec<_>>>() else { return };
    let mut config = format!(
        "engine.backend = \"{back_end}\"\nlistener.main = {{ sip = \"udp:IP1:0\", media = \"IP1:0\" }}\n"
    );
    for n in 0..6 {
        config.push_str(&format!("trunk.phone{n} = \"IP{}:5060\"\n", n + 2));
    }
    for n in [1, 3, 5] {
        config.push_str(&format!("[[route]]\nto = \"30{n}\"\nvia = \"phone{n}\"\n"));
    }
    let engine = Engine::start(&net.fill(&config));
    for n in [0, 2, 4] {
        phones[n].order("dial", &format!("sip:30{}@{}", n + 1, engine.sip(0)));
        phones[n].expect("CALL_ESTABLISHED");
        phones[n + 1].expect("CALL_ESTABLISHED");
    }
    let json = "Content-Type: application/json\r\n";
    let ask = |method: &str, path: &str, body: &str, status: u16| {
        let answer = engine.request(method, path, json, body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
    };
    ask("PUT", "/v1/rooms/all", r#"{"talkers": 6}"#, 201);
    let calls = wait_for("three calls", SOON, || Some(engine.calls()).filter(|calls| calls.len() == 3));
    for call in &calls {
        let id = call["id"].as_str().expect("an id");
        wait_for("the answer", SOON, || {
            (engine.json(&format!("/v1/calls/{id}"))["state"] == "answered").then_some(())
        });
        ask("PUT", &format!("/v1/rooms/all/calls/{id}"), r#"{"gain": -9}"#, 200);
    }
    let sent = || engine.metric("strowger_rtp_packets_total");
    let before = sent();
    wait_for("a second of speech in the room", SOON, || (sent() - before > 6.0 * 2.0 * 70.0).then_some(()));
    ask("DELETE", "/v1/rooms/all", "", 204);
    phones.iter_mut().for_each(|phone| drop(phone.expect("CALL_CLOSED")));
    engine.wait_idle();
    for (n, phone) in phones.iter().enumerate() {
        let heard =
            wait_for("a second of recording", SOON, || Some(phone.heard()).filter(|h| h.len() >= 8_000));
        let heard = &heard[heard.len() - 6_400..];
        let shares: Vec<f64> = TONES.iter().map(|hz| share_of(heard, f64::from(*hz))).collect();
        for (of, share) in shares.iter().enumerate() {
            if of == n {
                assert!(*share < 0.005, "phone {n} hears itself: {shares:.3?}");
            } else {
                assert!(*share > 0.1, "phone {n} does not hear phone {of}: {shares:.3?}");
            }
        }
    }
}

#[test]
fn phones_share_a_room_on_epoll() {
    phones_share_a_room("epoll");
}

#[test]
fn phones_share_a_room_on_uring() {
    phones_share_a_room("uring");
}
