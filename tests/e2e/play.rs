//! Sounds, digits, mute and hold by the API: what the parties hear, and that their streams go on as if nothing had
//! happened: no party is asked anything by SIP, and no stream jumps.

use crate::support::PAIR;
use crate::support::capture::Capture;
use crate::support::hearing::{
    ACCURACY, amplitude, babble, found, goes_on, longest_break, sine, timeline, wav,
};
use crate::support::softphone::sdp;
use crate::support::studio::{Call, Studio};
use crate::support::talker::{OPUS, PCMU, Packet, WIDE, decode};
use crate::support::wire::Wire;
use std::time::Duration;

const A: u32 = 440;
const B: u32 = 800;
/// What a stream may lack when it changes from being relayed to being made and back.
const BREAK: Duration = Duration::from_millis(40);

fn put_sound(studio: &Studio, name: &str, rate: u32, samples: &[i16]) {
    let folder = studio.engine.folder().join("sounds");
    std::fs::create_dir_all(&folder).expect("writable");
    std::fs::write(folder.join(name), wav(rate, samples)).expect("writable");
}

/// Plays a sound, and gives its id.
fn play(studio: &Studio, call: &Call, body: &str) -> String {
    let id = studio.of(call, "play", body, 201)["id"].as_str().expect("an id").to_owned();
    studio.wait_event("play.started", &id);
    id
}

/// Waits until an order has ended, and how.
fn wait_end(studio: &Studio, id: &str, outcome: &str) {
    let ended = studio.wait_event("play.ended", &format!("\"{id}\""));
    assert_eq!(ended["outcome"], outcome, "{ended:#}");
}

/// A sound for one leg is what that leg gets, and nothing else has changed before, after and for the other leg.
fn a_file_replaces_what_one_leg_hears(back_end: &str) {
    let studio = Studio::new(back_end);
    let tune = babble(8_000, 9_600);
    put_sound(&studio, "tune.wav", 8_000, &tune);
    let call = studio.call((PCMU, A), (PCMU, B));
    call.a.talker.wait_heard(0, 10);
    let id = play(&studio, &call, r#"{"source": "tune.wav", "leg": "a"}"#);
    wait_end(&studio, &id, "done");
    call.a.hears(&[B], &[A]);
    studio.wait_bridges("relay", 1);

    let heard = call.a.talker.heard();
    goes_on(&heard, PCMU, BREAK);
    let line = timeline(PCMU, &heard);
    let (at, decibels) = found(&tune, &line);
    assert!(decibels > 28.0, "{decibels:.1} dB of the sound over all else");
    assert!(line.len() > at + tune.len(), "the other party is heard after it");
    for (what, part) in
        [("before", &line[..at.saturating_sub(400)]), ("after", &line[at + tune.len() + 800..])]
    {
        let broken = longest_break(8_000, part, B);
        assert!(broken <= BREAK + ACCURACY, "{what} the sound B is heard, broken for {broken:?}");
    }
    // Nothing of what B hears was touched.
    let heard = call.b.talker.heard();
    goes_on(&heard, PCMU, Duration::ZERO);
    assert_eq!(heard[0].ssrc(), 0x1000_0000 | A, "as A sends it");
    assert_eq!(longest_break(8_000, &timeline(PCMU, &heard), A), Duration::ZERO);
    studio.end(call);
}

#[test]
fn a_file_replaces_what_one_leg_hears_on_epoll() {
    a_file_replaces_what_one_leg_hears("epoll");
}

#[test]
fn a_file_replaces_what_one_leg_hears_on_uring() {
    a_file_replaces_what_one_leg_hears("uring");
}

/// A sound beside the other party: both are heard, and the other's speech does not break at either end of it.
fn a_mixed_sound_leaves_the_other_party_audible(back_end: &str) {
    const SOUND: u32 = 1_500;
    let studio = Studio::new(back_end);
    put_sound(&studio, "soft.wav", 8_000, &sine(8_000, SOUND, 1_600, 1_000.0));
    let call = studio.call((PCMU, A), (PCMU, B));
    call.a.talker.wait_heard(0, 20);
    let id = play(&studio, &call, r#"{"source": "soft.wav", "leg": "a", "mode": "mix", "loop": true}"#);
    let during = call.a.talker.wait_heard(0, 30);
    let during = &decode(PCMU, &during)[1_600..];
    let (both, sound) = (amplitude(8_000, during, B), amplitude(8_000, during, SOUND));
    assert!((7_000.0..9_000.0).contains(&both), "B is heard with {both:.0}");
    assert!((800.0..1_200.0).contains(&sound), "the sound is heard with {sound:.0}");
    studio.of(&call, "stop", &format!(r#"{{"id": "{id}"}}"#), 204);
    wait_end(&studio, &id, "stopped");
    studio.wait_bridges("relay", 1);
    call.a.hears(&[B], &[SOUND]);
    call.a.talker.wait_heard(0, 20);
    let heard = call.a.talker.heard();
    goes_on(&heard, PCMU, BREAK);
    let broken = longest_break(8_000, &timeline(PCMU, &heard), B);
    assert!(broken <= BREAK + ACCURACY, "B is broken for {broken:?}");
    studio.end(call);
}

#[test]
fn a_mixed_sound_leaves_the_other_party_audible_on_epoll() {
    a_mixed_sound_leaves_the_other_party_audible("epoll");
}

#[test]
fn a_mixed_sound_leaves_the_other_party_audible_on_uring() {
    a_mixed_sound_leaves_the_other_party_audible("uring");
}

/// Lengths of sound and silence in turn, in milliseconds, by frames of 10 ms.
fn cadence(rate: u32, samples: &[i16]) -> Vec<(bool, usize)> {
    let loud = |frame: &[i16]| frame.iter().map(|x| i32::from(x.unsigned_abs())).max().unwrap_or(0) > 600;
    let mut runs: Vec<(bool, usize)> = Vec::new();
    for frame in samples.chunks(rate as usize / 100) {
        match runs.last_mut() {
            Some((on, length)) if *on == loud(frame) => *length += 10,
            Some(_) | None => runs.push((loud(frame), 10)),
        }
    }
    runs
}

#[test]
fn a_tone_has_the_cadence_of_its_country() {
    // Far from the tone.
    const A: u32 = 1_100;
    let studio = Studio::new("epoll");
    let call = studio.call((PCMU, A), (PCMU, B));
    let id = play(&studio, &call, r#"{"source": "tone:busy/de", "leg": "b", "loop": true}"#);
    call.b.talker.forget();
    let heard = call.b.talker.wait_heard(0, 150);
    studio.of(&call, "stop", "{}", 204);
    wait_end(&studio, &id, "stopped");
    let samples = decode(PCMU, &heard);
    let runs = cadence(8_000, &samples);
    let whole = &runs[1..runs.len() - 1];
    assert!(whole.len() >= 4, "{runs:?}");
    for (_, length) in whole {
        assert!((460..=500).contains(length), "480 ms of each: {runs:?}");
    }
    let first: usize = runs[..=usize::from(!runs[1].0)].iter().map(|run| run.1 * 8).sum();
    let sound = &samples[first + 160..first + 3_200];
    let (tone, other) = (amplitude(8_000, sound, 425), amplitude(8_000, sound, A));
    assert!(tone > 1_000.0 && other < tone / 10.0, "425 Hz: {tone:.0}, A: {other:.0}");
    call.b.hears(&[A], &[425]);
    studio.end(call);
}

#[test]
fn a_sound_is_repeated_and_begins_where_it_is_told() {
    const SOUND: u32 = 1_500;
    let studio = Studio::new("epoll");
    // 200 ms of silence, 200 ms of a tone.
    let burst = [vec![0; 1_600], sine(8_000, SOUND, 1_600, 8_000.0)].concat();
    put_sound(&studio, "burst.wav", 8_000, &burst);
    let call = studio.connect((PCMU, A), (PCMU, B));
    let id = play(&studio, &call, r#"{"source": "burst.wav", "leg": "a", "loop": 3, "start": 200}"#);
    wait_end(&studio, &id, "done");
    // A has heard all of it: nobody speaks.
    let heard = call.a.talker.heard();
    goes_on(&heard, PCMU, BREAK);
    let bursts: Vec<usize> =
        cadence(8_000, &timeline(PCMU, &heard)).iter().filter(|run| run.0).map(|run| run.1).collect();
    assert_eq!(bursts.len(), 3, "{bursts:?}");
    assert!(bursts.iter().all(|length| (190..=210).contains(length)), "{bursts:?}");
    studio.end(call);
}

#[test]
fn a_wide_sound_is_heard_wide_by_those_who_can() {
    const HIGH: u32 = 5_200;
    let config = PAIR.replace(
        "trunk.carrier = \"IP3:5060\"",
        "trunk.carrier = { address = \"IP3:5060\", codecs = \"opus\" }",
    );
    let studio = Studio::with("uring", "", &config, &[]);
    put_sound(&studio, "wide.wav", 48_000, &sine(48_000, HIGH, 48_000, 8_000.0));
    let call = studio.call((WIDE, A), (OPUS, B));
    let id = play(&studio, &call, r#"{"source": "wide.wav", "leg": "both"}"#);
    call.a.hears(&[HIGH], &[B]);
    call.b.hears(&[HIGH], &[A]);
    studio.of(&call, "stop", &format!(r#"{{"id": "{id}"}}"#), 204);
    call.a.hears(&[B], &[HIGH]);
    call.b.hears(&[A], &[HIGH]);
    studio.end(call);
}

#[test]
fn what_cannot_be_played_is_told_and_changes_nothing() {
    let studio = Studio::new("epoll");
    std::fs::create_dir_all(studio.engine.folder().join("sounds")).expect("writable");
    std::fs::write(studio.engine.folder().join("sounds/lies.wav"), b"RIFF\xff\xff\xff\xffWAVEnothing")
        .expect("writable");
    let call = studio.call((PCMU, A), (PCMU, B));
    for (body, field) in [
        (r#"{"source": "nowhere.wav"}"#, "source"),
        (r#"{"source": "../strowger.toml"}"#, "source"),
        (r#"{"source": "lies.wav"}"#, "source"),
        (r#"{"source": "tone:busy/zz"}"#, "source"),
        (r#"{"source": "tone:busy", "leg": "c"}"#, "leg"),
        (r#"{"source": "tone:busy", "mode": "over"}"#, "mode"),
        (r#"{"source": "tone:busy", "loop": 0}"#, "loop"),
        (r#"{"source": "tone:busy", "gain": 99}"#, "gain"),
    ] {
        let problem = studio.of(&call, "play", body, 422);
        assert_eq!(problem["errors"][0]["field"], field, "{body}: {problem:#}");
    }
    let nobody = "0".repeat(24);
    studio.ask("POST", &format!("/v1/calls/{nobody}/play"), r#"{"source": "tone:busy"}"#, 404);
    studio.of(&call, "stop", &format!(r#"{{"id": "{}-9"}}"#, call.id), 404);
    goes_on(&call.a.talker.wait_heard(0, 10), PCMU, Duration::ZERO);
    studio.end(call);

    // A call that is not answered yet, and one whose codec nobody here has.
    let media = Wire::at(studio.net.ip(2));
    let g729 = sdp(media.address(), "audio {port} RTP/AVP 18", &["a=rtpmap:18 G729/8000"]);
    let mut dialog = studio.a.invite(studio.engine.sip(0), "15550100", &g729);
    let invite = studio.b.expect("INVITE");
    studio.b.answer(&invite, 180, "");
    let ringing = studio.engine.calls()[0]["id"].as_str().expect("an id").to_owned();
    studio.ask("POST", &format!("/v1/calls/{ringing}/hold"), "{}", 409);
    studio.b.answer(
        &invite,
        200,
        &sdp(Wire::at(studio.net.ip(3)).address(), "audio {port} RTP/AVP 18", &["a=rtpmap:18 G729/8000"]),
    );
    let ok = studio.a.expect("200 INVITE");
    studio.a.ack(&mut dialog, &ok);
    studio.b.expect("ACK");
    let id = studio.engine.wait_call("answered");
    let problem = studio.ask("POST", &format!("/v1/calls/{id}/play"), r#"{"source": "tone:busy"}"#, 409);
    assert!(problem["detail"].as_str().is_some_and(|why| why.contains("cannot be made")), "{problem:#}");
    studio.a.hang_up(&mut dialog, &studio.b);
    studio.engine.wait_idle();
}

/// Digits by the API, as tshark sees them at the callee.
fn digits_have_their_lengths(back_end: &str) {
    const LENGTH: u32 = 160;
    const GAP: u32 = 200;
    let studio = Studio::new(back_end);
    let Some(capture) = Capture::start(&studio.net) else { return };
    let call = studio.call((PCMU, A), (PCMU, B));
    let body = format!(r#"{{"digits": "12#", "leg": "b", "duration": {LENGTH}, "gap": {GAP}}}"#);
    let id = studio.of(&call, "dtmf", &body, 201)["id"].as_str().expect("an id").to_owned();
    studio.wait_event("dtmf.ended", &format!("\"{id}\""));
    call.b.hears(&[A], &[B]);
    let heard = call.b.talker.heard();
    let rows = capture.read(
        &format!("rtpevent && udp.dstport == {}", call.b.talker.address().port()),
        &["rtpevent.event_id", "rtpevent.duration", "rtpevent.end_of_event", "rtp.timestamp", "rtp.marker"],
    );
    // An event is what has one timestamp.
    let mut digits: Vec<(u32, u32, u32, usize)> = Vec::new();
    for row in &rows {
        let number = |n: usize| row[n].parse::<u32>().unwrap_or_else(|_| panic!("a number: {row:?}"));
        let ended = usize::from(matches!(row[2].as_str(), "1" | "True"));
        match digits.last_mut().filter(|digit| digit.1 == number(3)) {
            Some(digit) => (digit.2, digit.3) = (digit.2.max(number(1)), digit.3 + ended),
            None => digits.push((number(0), number(3), number(1), ended)),
        }
    }
    assert_eq!(digits.iter().map(|digit| digit.0).collect::<Vec<_>>(), [1, 2, 11], "{rows:?}");
    for (_, _, duration, ends) in &digits {
        assert!(duration.abs_diff(LENGTH * 8) <= 160, "{duration} ticks instead of {}", LENGTH * 8);
        assert_eq!(*ends, 3, "the end is said three times: {rows:?}");
    }
    for pair in digits.windows(2) {
        let gap = pair[1].1.wrapping_sub(pair[0].1 + pair[0].2);
        assert!(gap.abs_diff(GAP * 8) <= 160, "a gap of {gap} ticks instead of {}", GAP * 8);
    }
    // One stream: numbers follow over speech and events, and speech goes on underneath.
    assert!(
        heard
            .windows(2)
            .all(|p| p[0].sequence().wrapping_add(1) == p[1].sequence() && p[0].ssrc() == p[1].ssrc())
    );
    let speech: Vec<Packet> = heard.into_iter().filter(|packet| packet.payload_type() == 0).collect();
    let steps: Vec<u32> =
        speech.windows(2).map(|p| p[1].timestamp().wrapping_sub(p[0].timestamp())).collect();
    assert!(steps.iter().all(|step| *step > 0 && step.is_multiple_of(160)), "{steps:?}");
    // What cannot be sent is refused.
    for body in [
        r#"{"digits": ""}"#,
        r#"{"digits": "12x"}"#,
        r#"{"digits": "1", "duration": 99}"#,
        r#"{"digits": "1", "duration": 1001}"#,
        r#"{"digits": "1", "gap": 5001}"#,
    ] {
        studio.of(&call, "dtmf", body, 422);
    }
    studio.of(&call, "dtmf", &format!(r#"{{"digits": "{}"}}"#, "1".repeat(101)), 422);
    studio.wait_bridges("relay", 1);
    studio.end(call);
}

#[test]
fn digits_have_their_lengths_on_epoll() {
    digits_have_their_lengths("epoll");
}

#[test]
fn digits_have_their_lengths_on_uring() {
    digits_have_their_lengths("uring");
}

/// Mute: who is silenced is heard by nobody, and all streams go on.
fn muted_parties_are_silent(back_end: &str) {
    let studio = Studio::new(back_end);
    let call = studio.call((PCMU, A), (PCMU, B));
    studio.of(&call, "mute", r#"{"leg": "a"}"#, 204);
    call.b.hears(&[], &[A]);
    call.a.hears(&[B], &[]);
    studio.of(&call, "mute", r#"{"leg": "a", "on": false}"#, 204);
    call.b.hears(&[A], &[]);
    studio.of(&call, "mute", r#"{"leg": "a", "direction": "out"}"#, 204);
    call.a.hears(&[], &[B]);
    call.b.hears(&[A], &[]);
    studio.of(&call, "mute", r#"{"leg": "a", "direction": "both"}"#, 204);
    call.a.hears(&[], &[B]);
    call.b.hears(&[], &[A]);
    studio.of(&call, "mute", r#"{"leg": "a", "direction": "both", "on": false}"#, 204);
    call.a.hears(&[B], &[]);
    call.b.hears(&[A], &[]);
    for party in [&call.a, &call.b] {
        goes_on(&party.talker.heard(), PCMU, Duration::ZERO);
    }
    studio.wait_event("call.muted", &call.id);
    studio.wait_event("call.unmuted", &call.id);
    studio.end(call);
}

#[test]
fn muted_parties_are_silent_on_epoll() {
    muted_parties_are_silent("epoll");
}

#[test]
fn muted_parties_are_silent_on_uring() {
    muted_parties_are_silent("uring");
}

/// Hold by the API: the held leg hears music, the other one nothing, and neither phone is asked.
fn a_held_leg_hears_music(back_end: &str) {
    const MUSIC: u32 = 1_000;
    let studio = Studio::new(back_end);
    put_sound(&studio, "waiting.wav", 8_000, &sine(8_000, MUSIC, 8_000, 8_000.0));
    let call = studio.call((PCMU, A), (PCMU, B));
    studio.of(&call, "hold", r#"{"leg": "a", "music": "waiting.wav"}"#, 204);
    call.a.hears(&[MUSIC], &[B]);
    call.b.hears(&[], &[A, MUSIC]);
    studio.of(&call, "hold", r#"{"leg": "a", "on": false}"#, 204);
    call.a.hears(&[B], &[MUSIC]);
    call.b.hears(&[A], &[MUSIC]);
    // Without music there is silence.
    studio.of(&call, "hold", r#"{"leg": "both"}"#, 204);
    call.a.hears(&[], &[B]);
    call.b.hears(&[], &[A]);
    studio.of(&call, "hold", r#"{"leg": "both", "on": false}"#, 204);
    call.a.hears(&[B], &[]);
    call.b.hears(&[A], &[]);
    for party in [&call.a, &call.b] {
        goes_on(&party.talker.heard(), PCMU, BREAK);
    }
    studio.wait_bridges("relay", 1);
    studio.of(&call, "hold", r#"{"leg": "a", "on": false, "music": "waiting.wav"}"#, 422);
    studio.wait_event("call.held", &call.id);
    studio.wait_event("call.resumed", &call.id);
    studio.end(call);
}

#[test]
fn a_held_leg_hears_music_on_epoll() {
    a_held_leg_hears_music("epoll");
}

#[test]
fn a_held_leg_hears_music_on_uring() {
    a_held_leg_hears_music("uring");
}
