//! Copies of what is said that go elsewhere as it is said: RTP and WebSockets. Whoever gets them, or does not, the call
//! goes on.

use crate::support::hearing::{amplitude, goes_on};
use crate::support::studio::{Call, Party, Studio};
use crate::support::talker::{PCMU, Packet, Talker, Tone};
use crate::support::{PAIR, SOON, wait_for};
use futures_util::StreamExt;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpSocket;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

const A: u32 = 440;
const B: u32 = 800;

/// The longest that speech may take to whoever gets the fork.
const AT_ONCE: Duration = Duration::from_millis(200);

fn fork(studio: &Studio, call: &Call, to: &str, options: &str) -> String {
    let started = studio.of(call, "fork", &format!(r#"{{"to": "{to}", {options}}}"#), 201);
    let id = started["id"].as_str().unwrap_or_else(|| panic!("{started:#}")).to_owned();
    let told = studio.wait_event("fork.started", &id);
    assert_eq!((&told["call"], &told["to"]), (&call.id.as_str().into(), &to.into()), "{told:#}");
    let views = studio.show(&call.id)["orders"].clone();
    assert!(views.to_string().contains("\"fork\""), "{views:#}");
    id
}

/// Ends a fork; what is told of it.
fn stop(studio: &Studio, call: &Call, id: &str) -> Value {
    studio.of(call, "stop", &format!(r#"{{"id": "{id}"}}"#), 204);
    studio.wait_event("fork.ended", &format!("\"{id}\""))
}

/// One tone, and nothing of the other.
fn has_only(rate: u32, samples: &[i16], tone: u32, other: u32) {
    let (wanted, unwanted) = (amplitude(rate, samples, tone), amplitude(rate, samples, other));
    assert!(wanted > 6_000.0 && unwanted < 150.0, "{tone} Hz {wanted:.0}, {other} Hz {unwanted:.0}");
}

/// From now on a party says silence while the flag is set, and its tone otherwise.
fn say_at_times(party: &mut Party) -> Arc<AtomicBool> {
    let is_quiet = Arc::new(AtomicBool::new(false));
    let (quiet, mut tone) = (Arc::clone(&is_quiet), Tone::new(PCMU, f64::from(party.hz), 7));
    party.talker.say(party.to, move |n| {
        vec![if quiet.load(Ordering::Relaxed) { tone.of(n, &[0; 160]) } else { tone.packet(n) }]
    });
    is_quiet
}

/// The first moment after `since` at which 20 ms of these are loud.
fn loud_at(frames: &[(Instant, Vec<i16>)], since: Instant) -> Option<Instant> {
    let is_loud = |pcm: &[i16]| pcm.iter().any(|sample| sample.unsigned_abs() > 4_000);
    frames.iter().find(|(at, pcm)| *at > since && is_loud(pcm)).map(|(at, _)| *at)
}

/// L16 with the time of its coming.
fn linear(packets: &[Packet]) -> Vec<(Instant, Vec<i16>)> {
    let pcm = |bytes: &[u8]| bytes.chunks_exact(2).map(|two| i16::from_be_bytes([two[0], two[1]])).collect();
    packets.iter().map(|packet| (packet.at, pcm(packet.payload()))).collect()
}

fn joined(frames: &[(Instant, Vec<i16>)]) -> Vec<i16> {
    frames.iter().flat_map(|(_, pcm)| pcm.clone()).collect()
}

/// A stream is whole: nothing is missing, and no 20 ms come much later than they are due.
fn is_steady(packets: &[Packet]) {
    for pair in packets.windows(2) {
        assert_eq!(pair[1].sequence(), pair[0].sequence().wrapping_add(1), "in order, and whole");
        assert_eq!(pair[1].timestamp(), pair[0].timestamp().wrapping_add(160));
    }
    let (first, last) = (packets[0].at, packets[packets.len() - 1].at);
    let due = Duration::from_millis(20) * (packets.len() as u32 - 1);
    assert!((last - first).abs_diff(due) < AT_ONCE, "{} packets in {:?}", packets.len(), last - first);
}

fn rtp_carries_each_party_in_a_stream_of_its_own(back_end: &str) {
    let studio = Studio::new(back_end);
    let mut call = studio.connect((PCMU, A), (PCMU, B));
    let is_quiet = say_at_times(&mut call.a);
    call.b.talker.say_tone(call.b.to, PCMU, f64::from(B));
    call.b.talker.wait_heard(0, 20);
    let receiver = Talker::at(studio.net.ip(4));
    let id = fork(&studio, &call, &format!("rtp://{}", receiver.address()), r#""layout": "stereo""#);
    receiver.wait_heard(96, 100);
    // A says nothing for a while, then something: it is heard at once.
    is_quiet.store(true, Ordering::Relaxed);
    receiver.wait_heard(96, 60);
    let again = Instant::now();
    is_quiet.store(false, Ordering::Relaxed);
    receiver.wait_heard(96, 100);
    let ended = stop(&studio, &call, &id);
    assert_eq!((&ended["outcome"], &ended["lost_ms"]), (&"done".into(), &"0".into()), "{ended:#}");
    let heard = receiver.heard();
    let side = |odd: u32| -> Vec<Packet> { heard.iter().filter(|p| p.ssrc() % 2 == odd).cloned().collect() };
    let (left, right) = (side(0), side(1));
    assert_eq!(left.len(), right.len());
    assert!(left.iter().all(|p| p.ssrc() + 1 == right[0].ssrc()), "one stream each");
    is_steady(&left);
    is_steady(&right);
    let (left, right) = (linear(&left), linear(&right));
    has_only(8_000, &joined(&left[10..40]), A, B);
    has_only(8_000, &joined(&right[10..40]), B, A);
    let took = loud_at(&left, again).expect("A is heard again") - again;
    assert!(took < AT_ONCE, "after {took:?}");
    goes_on(&call.a.talker.heard(), PCMU, Duration::ZERO);
    studio.wait_bridges("relay", 1);
    studio.end(call);
}

#[test]
fn rtp_carries_each_party_in_a_stream_of_its_own_on_epoll() {
    rtp_carries_each_party_in_a_stream_of_its_own("epoll");
}

#[test]
fn rtp_carries_each_party_in_a_stream_of_its_own_on_uring() {
    rtp_carries_each_party_in_a_stream_of_its_own("uring");
}

#[test]
fn mono_ulaw_has_both_and_ends_with_the_call() {
    let studio = Studio::new("epoll");
    let call = studio.call((PCMU, A), (PCMU, B));
    let receiver = Talker::at(studio.net.ip(4));
    let id = fork(&studio, &call, &format!("rtp://{}", receiver.address()), r#""codec": "pcmu""#);
    receiver.wait_heard(0, 60);
    let both = receiver.listen(PCMU);
    for hz in [A, B] {
        assert!(amplitude(8_000, &both, hz) > 3_000.0, "{hz} Hz");
    }
    studio.end(call);
    let ended = studio.wait_event("fork.ended", &format!("\"{id}\""));
    assert_eq!(ended["outcome"], "closed", "{ended:#}");
}

#[test]
fn forks_go_neither_to_the_engine_nor_to_many_nor_by_tls() {
    let ranged = PAIR.replace("media = \"IP1:0\"", "media = \"IP1:20000-20999\"");
    let studio = Studio::with("epoll", "", &ranged, &[]);
    let call = studio.call((PCMU, A), (PCMU, B));
    let own = format!("rtp://{}:20500", studio.net.ip(1));
    for to in [own.as_str(), "rtp://224.0.0.1:4000", "rtp://255.255.255.255:4000", "wss://127.0.0.1/"] {
        let refused = studio.of(&call, "fork", &format!(r#"{{"to": "{to}"}}"#), 422);
        assert_eq!(refused["errors"][0]["field"], "to", "{refused:#}");
    }
    studio.end(call);
}

/// What a WebSocket has brought: texts, and samples with the time of their coming.
#[derive(Default)]
struct Brought {
    texts: Vec<Value>,
    frames: Vec<(Instant, Vec<u8>)>,
    closed: bool,
}

/// A robot's ear.
struct Robot {
    address: SocketAddr,
    brought: Arc<Mutex<Brought>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Robot {
    /// Listens; one that is deaf takes the connection, and nothing after that.
    fn at(ip: std::net::Ipv4Addr, is_deaf: bool) -> Robot {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let entered = runtime.enter();
        let socket = TcpSocket::new_v4().expect("a socket");
        if is_deaf {
            socket.set_recv_buffer_size(4_096).expect("a small buffer");
        }
        socket.bind((ip, 0).into()).expect("an address");
        let listener = socket.listen(1).expect("a listener");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel();
        let brought: Arc<Mutex<Brought>> = Arc::default();
        let into = Arc::clone(&brought);
        let hear = async move {
            let (stream, _) = listener.accept().await.expect("the engine comes");
            let mut socket = accept_async(stream).await.expect("it speaks WebSocket");
            if is_deaf {
                let _ = stopped.await;
                return;
            }
            while let Some(Ok(message)) = socket.next().await {
                let mut brought = into.lock().expect("no panic");
                match message {
                    Message::Text(text) => brought.texts.push(serde_json::from_str(&text).expect("JSON")),
                    Message::Binary(bytes) => brought.frames.push((Instant::now(), bytes.to_vec())),
                    Message::Close(_) => brought.closed = true,
                    _ => {}
                }
            }
        };
        drop(entered);
        std::thread::spawn(move || runtime.block_on(hear));
        Robot { address, brought, stop: Some(stop) }
    }

    fn url(&self) -> String {
        format!("ws://{}/hear", self.address)
    }

    fn wait_frames(&self, more: usize) {
        let count = || self.brought.lock().expect("no panic").frames.len();
        let before = count();
        wait_for(&format!("{more} messages"), SOON, || (count() >= before + more).then_some(()));
    }

    /// The samples of each channel of a stereo fork.
    fn channels(&self) -> [Vec<(Instant, Vec<i16>)>; 2] {
        let brought = self.brought.lock().expect("no panic");
        [0, 2].map(|from| {
            let pcm = |bytes: &[u8]| -> Vec<i16> {
                bytes.chunks_exact(4).map(|four| i16::from_le_bytes([four[from], four[from + 1]])).collect()
            };
            brought.frames.iter().map(|(at, bytes)| (*at, pcm(bytes))).collect()
        })
    }
}

#[test]
fn a_websocket_gets_a_greeting_and_20_ms_a_message() {
    let studio = Studio::new("epoll");
    let mut call = studio.connect((PCMU, A), (PCMU, B));
    let is_quiet = say_at_times(&mut call.b);
    call.a.talker.say_tone(call.a.to, PCMU, f64::from(A));
    call.a.talker.wait_heard(0, 20);
    let robot = Robot::at(studio.net.ip(4), false);
    let id = fork(&studio, &call, &robot.url(), r#""layout": "stereo", "rate": 16000"#);
    robot.wait_frames(50);
    is_quiet.store(true, Ordering::Relaxed);
    robot.wait_frames(30);
    let again = Instant::now();
    is_quiet.store(false, Ordering::Relaxed);
    robot.wait_frames(50);
    let ended = stop(&studio, &call, &id);
    assert_eq!((&ended["outcome"], &ended["lost_ms"]), (&"done".into(), &"0".into()), "{ended:#}");
    wait_for("the end of the WebSocket", SOON, || robot.brought.lock().unwrap().closed.then_some(()));
    let texts = robot.brought.lock().unwrap().texts.clone();
    let [greeting] = &texts[..] else { panic!("one text: {texts:?}") };
    let wanted = serde_json::json!({
        "id": id, "call": call.id, "format": "s16le", "rate": 16_000, "channels": 2, "frame_ms": 20,
    });
    assert_eq!(*greeting, wanted);
    let [left, right] = robot.channels();
    assert!(left.iter().all(|(_, pcm)| pcm.len() == 320), "20 ms each");
    has_only(16_000, &joined(&left[10..40]), A, B);
    has_only(16_000, &joined(&right[10..40]), B, A);
    let took = loud_at(&right, again).expect("B is heard again") - again;
    assert!(took < AT_ONCE, "after {took:?}");
    studio.end(call);
}

#[test]
fn a_receiver_that_takes_nothing_costs_the_call_nothing() {
    let studio = Studio::new("epoll");
    let call = studio.call((PCMU, A), (PCMU, B));
    let mut robot = Robot::at(studio.net.ip(4), true);
    let id = fork(&studio, &call, &robot.url(), r#""layout": "stereo", "rate": 48000"#);
    call.a.talker.wait_heard(0, 250);
    goes_on(&call.a.talker.heard(), PCMU, Duration::ZERO);
    goes_on(&call.b.talker.heard(), PCMU, Duration::ZERO);
    let ended = stop(&studio, &call, &id);
    let lost = |ended: &Value| ended["lost_ms"].as_str().and_then(|ms| ms.parse::<u64>().ok());
    assert!(lost(&ended).is_some_and(|ms| ms > 500), "{ended:#}");
    robot.stop.take();
    // And one that is not there.
    let nobody = format!("ws://{}:9/", studio.net.ip(4));
    let id = fork(&studio, &call, &nobody, r#""layout": "mono""#);
    let ended = studio.wait_event("fork.ended", &format!("\"{id}\""));
    assert_eq!(ended["outcome"], "failed", "{ended:#}");
    call.b.hears(&[A], &[B]);
    studio.end(call);
}

#[test]
fn a_room_is_forked_as_a_whole() {
    let studio = Studio::new("epoll");
    let call = studio.call((PCMU, A), (PCMU, B));
    studio.ask("PUT", "/v1/rooms/blue", "{}", 201);
    studio.ask("PUT", &format!("/v1/rooms/blue/calls/{}", call.id), "{}", 200);
    let robot = Robot::at(studio.net.ip(4), false);
    let body = format!(r#"{{"to": "{}", "rate": 8000}}"#, robot.url());
    let started = studio.ask("POST", "/v1/rooms/blue/fork", &body, 201);
    robot.wait_frames(60);
    studio.ask("POST", "/v1/rooms/blue/stop", &started.to_string(), 204);
    studio.wait_event("fork.ended", started["id"].as_str().expect("an id"));
    let brought = robot.brought.lock().expect("no panic");
    assert_eq!((&brought.texts[0]["room"], &brought.texts[0]["channels"]), (&"blue".into(), &1.into()));
    let pcm: Vec<i16> = brought.frames[20..60]
        .iter()
        .flat_map(|(_, bytes)| bytes.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])))
        .collect();
    for hz in [A, B] {
        assert!(amplitude(8_000, &pcm, hz) > 3_000.0, "{hz} Hz");
    }
    drop(brought);
    studio.of(&call, "leave", "", 204);
    studio.ask("DELETE", "/v1/rooms/blue", "", 204);
    studio.end(call);
}
