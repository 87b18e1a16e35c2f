//! Recordings of calls: what the files hold, how they are found and fetched, and what is left of them when the engine is
//! killed.

use crate::support::hearing::{amplitude, goes_on};
use crate::support::studio::{Call, Studio};
use crate::support::talker::{PCMU, Tone};
use crate::support::{Engine, PAIR, SOON, peer, wait_for};
use codec::wav::Wav;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

const A: u32 = 440;
const B: u32 = 800;

/// A recording that is being made.
struct Recording {
    id: String,
    file: String,
    since: Instant,
}

fn start(studio: &Studio, call: &Call, options: &str) -> Recording {
    let more = if options.is_empty() { String::new() } else { format!(", {options}") };
    let recorded = studio.of(call, "record", &format!(r#"{{"action": "start"{more}}}"#), 201);
    let text =
        |name: &str| recorded[name].as_str().unwrap_or_else(|| panic!("{name}: {recorded:#}")).to_owned();
    Recording { id: text("id"), file: text("file"), since: Instant::now() }
}

/// Ends a recording; how long it took in all, when its end is told.
fn stop(studio: &Studio, call: &Call, recording: &Recording) -> Duration {
    let body = format!(r#"{{"action": "stop", "id": "{}"}}"#, recording.id);
    let stopped = studio.of(call, "record", &body, 200);
    let took = recording.since.elapsed();
    assert_eq!(stopped["file"], recording.file, "{stopped:#}");
    let ended = studio.wait_event("recording.ended", &format!("\"{}\"", recording.id));
    assert_eq!((&ended["file"], &ended["lost_ms"]), (&stopped["file"], &"0".into()), "{ended:#}");
    took
}

/// A file as the API gives it.
fn download(engine: &Engine, id: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(engine.api()).expect("the API listens");
    stream.set_read_timeout(Some(SOON)).expect("a socket");
    let path = format!("/v1/recordings/{id}/file");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", engine.api())
        .expect("the API reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("all of it comes");
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    (head, answer.split_off(end + 4))
}

/// Rate, and the samples of each channel.
fn read(file: &[u8]) -> (u32, Vec<Vec<i16>>) {
    let wav = Wav::parse(file).expect("a WAV file");
    let channel = |n| {
        let mut pcm = vec![0; wav.frames()];
        let len = wav.channel(n, 0, &mut pcm);
        assert_eq!(len, pcm.len());
        pcm
    };
    (wav.rate(), (0..wav.channels()).map(channel).collect())
}

fn length(samples: usize, rate: u32) -> Duration {
    Duration::from_millis(samples as u64 * 1000 / u64::from(rate))
}

/// What was recorded is as long as it was recorded.
fn is_as_long(found: Duration, took: Duration) {
    assert!(found.abs_diff(took) <= Duration::from_millis(100), "{found:?} of a recording of {took:?}");
}

/// One tone, and nothing of the other.
fn has_only(rate: u32, samples: &[i16], tone: u32, other: u32) {
    let middle = &samples[samples.len() / 4..samples.len() * 3 / 4];
    let (wanted, unwanted) = (amplitude(rate, middle, tone), amplitude(rate, middle, other));
    assert!(wanted > 6_000.0 && unwanted < 100.0, "{tone} Hz {wanted:.0}, {other} Hz {unwanted:.0}");
}

fn recordings_of(studio: &Studio, call: &Call) -> Vec<Value> {
    studio.engine.json(&format!("/v1/recordings?call={}", call.id))["recordings"]
        .as_array()
        .cloned()
        .expect("a list")
}

/// Start, stop, start: two files, each with what was said meanwhile; the streams of the call are not touched.
fn a_call_is_recorded_twice(back_end: &str) {
    let studio = Studio::new(back_end);
    let call = studio.call((PCMU, A), (PCMU, B));
    let mono = start(&studio, &call, "");
    call.a.talker.wait_heard(0, 60);
    let mono_took = stop(&studio, &call, &mono);
    let stereo = start(&studio, &call, r#""layout": "stereo", "from": "now""#);
    let running = recordings_of(&studio, &call);
    assert_eq!((&running[0]["id"], &running[0]["state"]), (&stereo.id.as_str().into(), &"recording".into()));
    studio.ask("DELETE", &format!("/v1/recordings/{}", stereo.id), "", 409);
    call.a.talker.wait_heard(0, 60);
    let stereo_took = stop(&studio, &call, &stereo);
    for party in [&call.a, &call.b] {
        goes_on(&party.talker.heard(), PCMU, Duration::ZERO);
    }
    studio.wait_bridges("relay", 1);

    let rows = recordings_of(&studio, &call);
    assert_eq!(rows.len(), 2, "{rows:#?}");
    for (row, made, layout) in [(&rows[0], &stereo, "stereo"), (&rows[1], &mono, "mono")] {
        assert_eq!(
            (&row["id"], &row["file"]),
            (&made.id.as_str().into(), &made.file.as_str().into()),
            "newest first"
        );
        assert_eq!((&row["call"], &row["state"]), (&call.id.as_str().into(), &"done".into()));
        assert_eq!(
            (&row["layout"], &row["format"], &row["lost_ms"]),
            (&layout.into(), &"wav".into(), &0.into())
        );
    }
    let (head, file) = download(&studio.engine, &mono.id);
    assert!(head.to_ascii_lowercase().contains("content-type: audio/wav"), "{head}");
    let (rate, channels) = read(&file);
    assert_eq!((rate, channels.len()), (8_000, 1));
    is_as_long(length(channels[0].len(), rate), mono_took);
    let told = rows[1]["length_ms"].as_u64().expect("a length");
    assert_eq!(u128::from(told), length(channels[0].len(), rate).as_millis());
    let middle = &channels[0][channels[0].len() / 4..channels[0].len() * 3 / 4];
    for tone in [A, B] {
        let level = amplitude(rate, middle, tone);
        assert!(level > 3_000.0, "{tone} Hz {level:.0}");
    }
    let (rate, channels) = read(&download(&studio.engine, &stereo.id).1);
    assert_eq!((rate, channels.len()), (8_000, 2));
    is_as_long(length(channels[0].len(), rate), stereo_took);
    has_only(rate, &channels[0], A, B);
    has_only(rate, &channels[1], B, A);

    studio.ask("DELETE", &format!("/v1/recordings/{}", mono.id), "", 204);
    studio.ask("GET", &format!("/v1/recordings/{}/file", mono.id), "", 404);
    assert_eq!(recordings_of(&studio, &call).len(), 1);
    assert!(!studio.engine.folder().join("recordings").join(&mono.file).exists());
    studio.end(call);
}

#[test]
fn a_call_is_recorded_twice_on_epoll() {
    a_call_is_recorded_twice("epoll");
}

#[test]
fn a_call_is_recorded_twice_on_uring() {
    a_call_is_recorded_twice("uring");
}

#[test]
fn a_pause_is_silence_and_marked() {
    let studio = Studio::new("epoll");
    let call = studio.call((PCMU, A), (PCMU, B));
    let recording = start(&studio, &call, r#""layout": "stereo""#);
    call.a.talker.wait_heard(0, 40);
    studio.of(&call, "record", r#"{"action": "pause"}"#, 200);
    let paused = recording.since.elapsed();
    assert_eq!(recordings_of(&studio, &call)[0]["state"], "paused");
    call.a.talker.wait_heard(0, 40);
    studio.of(&call, "record", r#"{"action": "resume"}"#, 200);
    let resumed = recording.since.elapsed();
    call.a.talker.wait_heard(0, 40);
    let took = stop(&studio, &call, &recording);
    let file = download(&studio.engine, &recording.id).1;
    let wav = Wav::parse(&file).expect("a WAV file");
    let [pause] = wav.pauses() else { panic!("one pause: {:?}", wav.pauses()) };
    let near = |found: Duration, wanted: Duration| found.abs_diff(wanted) < Duration::from_millis(100);
    assert!(near(pause.start, paused) && near(pause.end, resumed), "{pause:?} {paused:?} {resumed:?}");
    let (rate, channels) = read(&file);
    is_as_long(length(channels[0].len(), rate), took);
    let at = |time: Duration| (time.as_millis() as usize * rate as usize) / 1000;
    for (channel, tone, other) in [(&channels[0], A, B), (&channels[1], B, A)] {
        has_only(rate, &channel[..at(pause.start)], tone, other);
        assert!(channel[at(pause.start) + 8..at(pause.end) - 8].iter().all(|sample| *sample == 0));
        has_only(rate, &channel[at(pause.end)..], tone, other);
    }
    studio.end(call);
}

#[test]
fn a_recording_in_opus_is_read_by_the_tools_of_others() {
    let (Some(opusinfo), Some(opusdec)) = (peer("opusinfo"), peer("opusdec")) else { return };
    let studio = Studio::new("uring");
    let call = studio.call((PCMU, A), (PCMU, B));
    let recording = start(&studio, &call, r#""layout": "stereo", "format": "opus""#);
    call.a.talker.wait_heard(0, 60);
    let took = stop(&studio, &call, &recording);
    let (head, file) = download(&studio.engine, &recording.id);
    assert!(head.to_ascii_lowercase().contains("content-type: audio/ogg"), "{head}");
    let folder = studio.engine.folder();
    std::fs::write(folder.join("call.opus"), &file).expect("writable");
    let said = Command::new(opusinfo).arg("call.opus").current_dir(folder).output().expect("opusinfo starts");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("Channels: 2") && !said.contains("WARNING") && !said.contains("ERROR"), "{said}");
    let done = Command::new(opusdec).args(["--quiet", "call.opus", "call.wav"]).current_dir(folder).status();
    assert!(done.is_ok_and(|status| status.success()), "opusdec reads it");
    let (rate, channels) = read(&std::fs::read(folder.join("call.wav")).expect("readable"));
    is_as_long(length(channels[0].len(), rate), took);
    for (channel, tone, other) in [(&channels[0], A, B), (&channels[1], B, A)] {
        let middle = &channel[channel.len() / 4..channel.len() * 3 / 4];
        let (wanted, unwanted) = (amplitude(rate, middle, tone), amplitude(rate, middle, other));
        assert!(wanted > 5_000.0 && unwanted < 400.0, "{tone} Hz {wanted:.0}, {other} Hz {unwanted:.0}");
    }
    studio.end(call);
}

/// Digits in somebody's speech are not to be heard in a file that masks them; in one that does not, they are.
#[test]
fn digits_are_masked() {
    // The digit 1.
    const DIGIT: [u32; 2] = [697, 1_209];
    let studio = Studio::new("epoll");
    let mut call = studio.call((PCMU, A), (PCMU, B));
    let masked = start(&studio, &call, r#""layout": "stereo", "mask_digits": true"#);
    let open = start(&studio, &call, r#""layout": "stereo""#);
    let mut tone = Tone::new(PCMU, f64::from(A), 0x1000_0000 | A);
    // The stream goes on: 440 Hz, with a digit of 200 ms in each second.
    let first =
        u32::from(call.b.talker.heard().last().expect("A is heard").sequence().wrapping_sub(1_000)) + 1;
    call.a.talker.say(call.a.to, move |n| {
        let at = |i: u32, hz: u32| {
            let t = f64::from(n * 160 + i) / 8_000.0;
            (std::f64::consts::TAU * f64::from(hz) * t).sin() * 4_000.0
        };
        let is_digit = n % 50 >= 20 && n % 50 < 30;
        let sample = |i| if is_digit { DIGIT.map(|hz| at(i, hz)).iter().sum() } else { at(i, A) * 2.0 };
        let pcm: Vec<i16> = (0..160).map(|i| sample(i) as i16).collect();
        vec![tone.of(first + n, &pcm)]
    });
    call.b.talker.wait_heard(0, 100);
    for recording in [&masked, &open] {
        stop(&studio, &call, recording);
    }
    let left = |recording: &Recording| read(&download(&studio.engine, &recording.id).1).1.remove(0);
    // The longest that both tones of the digit are there, in steps of 10 ms.
    let longest = |samples: &[i16]| -> usize {
        let is_digit = |part: &[i16]| DIGIT.iter().all(|hz| amplitude(8_000, part, *hz) > 1_800.0);
        let parts: Vec<bool> = samples.chunks_exact(80).map(is_digit).collect();
        parts.split(|digit| !digit).map(<[bool]>::len).max().unwrap_or(0) * 10
    };
    let (masked, open) = (left(&masked), left(&open));
    assert!(longest(&open) >= 180, "{} ms", longest(&open));
    // Nobody takes less than 40 ms for a digit (Q.24).
    assert!(longest(&masked) <= 20, "{} ms", longest(&masked));
    let rest = masked.chunks_exact(800).map(|part| amplitude(8_000, part, A)).fold(0.0, f64::max);
    assert!(rest > 6_000.0, "the rest is there: {rest:.0}");
    studio.end(call);
}

/// `kill -9` in the middle: the file is valid and holds all but the last second, and the next run knows of it.
fn a_killed_engine_leaves_its_recordings(format: &str) {
    let studio = Studio::new("epoll");
    let call = studio.call((PCMU, A), (PCMU, B));
    let recording = start(&studio, &call, &format!(r#""layout": "stereo", "format": "{format}""#));
    call.a.talker.wait_heard(0, 130);
    // The index is written once a second.
    wait_for("the recording to be in the index", SOON, || {
        (!recordings_of(&studio, &call).is_empty()).then_some(())
    });
    let took = recording.since.elapsed();
    let Studio { engine, a, b, net } = studio;
    let folder = engine.kill();
    drop((a, b, call));
    let file =
        std::fs::read(folder.path().join("recordings").join(&recording.file)).expect("the file is there");
    let engine = Engine::start_in(folder, &net.fill(PAIR), &[]);
    let row = engine.json(&format!("/v1/recordings/{}", recording.id));
    assert_eq!(
        (&row["state"], &row["file"]),
        (&"interrupted".into(), &recording.file.as_str().into()),
        "{row:#}"
    );
    let (_, fetched) = download(&engine, &recording.id);
    assert_eq!(fetched.len(), file.len());
    let (rate, channels) = if format == "wav" {
        read(&fetched)
    } else {
        let Some(opusdec) = peer("opusdec") else { return };
        let done = Command::new(opusdec)
            .args(["--quiet", &format!("recordings/{}", recording.file), "left.wav"])
            .current_dir(engine.folder())
            .status();
        assert!(done.is_ok_and(|status| status.success()), "opusdec reads it");
        read(&std::fs::read(engine.folder().join("left.wav")).expect("readable"))
    };
    let held = length(channels[0].len(), rate);
    assert!(held + Duration::from_millis(1_100) > took, "{held:?} of {took:?}");
    let middle = |n: usize| &channels[n][channels[n].len() / 4..channels[n].len() * 3 / 4];
    let (left, right) = (amplitude(rate, middle(0), A), amplitude(rate, middle(1), B));
    assert!(left > 5_000.0 && right > 5_000.0, "{left:.0} {right:.0}");
}

#[test]
fn a_killed_engine_leaves_its_recordings_as_wav() {
    a_killed_engine_leaves_its_recordings("wav");
}

#[test]
fn a_killed_engine_leaves_its_recordings_in_opus() {
    a_killed_engine_leaves_its_recordings("opus");
}

#[test]
fn calls_of_a_trunk_are_recorded_from_the_answer_to_the_end() {
    let config = PAIR
        .replace("trunk.carrier = \"IP3:5060\"", "trunk.carrier = { address = \"IP3:5060\", record = true }");
    let studio = Studio::with("uring", "", &config, &[]);
    let mut call = studio.call((PCMU, A), (PCMU, B));
    assert_eq!(studio.engine.metric("strowger_recordings_active"), 1.0);
    call.a.talker.wait_heard(0, 50);
    studio.a.hang_up(&mut call.sip.a, &studio.b);
    let ended = studio.wait_event("recording.ended", &call.id);
    studio.engine.wait_idle();
    let rows = recordings_of(&studio, &call);
    let [row] = &rows[..] else { panic!("one recording: {rows:#?}") };
    assert_eq!((&row["state"], &row["file"]), (&"done".into(), &ended["file"]));
    let (rate, channels) = read(&download(&studio.engine, row["id"].as_str().expect("an id")).1);
    let held = length(channels[0].len(), rate);
    assert!(held >= Duration::from_millis(900), "{held:?}");
    assert_eq!(row["length_ms"].as_u64().map(u128::from), Some(held.as_millis()), "{row:#}");
    assert!(amplitude(rate, &channels[0][rate as usize / 2..], A) > 3_000.0);
    assert_eq!(studio.engine.metric("strowger_recordings_active"), 0.0);
}

#[test]
fn what_cannot_be_recorded_is_told() {
    let studio = Studio::new("epoll");
    let call = studio.call((PCMU, A), (PCMU, B));
    for (body, status) in [
        (r#"{"action": "stop"}"#, 409),
        (r#"{"action": "pause"}"#, 409),
        (r#"{"action": "rewind"}"#, 422),
        (r#"{"action": "start", "rate": 11025}"#, 422),
        (r#"{"action": "start", "format": "mp3"}"#, 422),
        (r#"{"action": "start", "id": "x"}"#, 422),
    ] {
        studio.of(&call, "record", body, status);
    }
    studio.ask("POST", &format!("/v1/calls/{}/record", "0".repeat(24)), r#"{"action": "start"}"#, 404);
    studio.ask("GET", "/v1/recordings/nothing", "", 404);
    assert!(recordings_of(&studio, &call).is_empty());
    studio.end(call);
}
