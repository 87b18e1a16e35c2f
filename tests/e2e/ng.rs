//! NG as its clients speak it: over UDP by the load generator's client, over TCP, HTTP and WebSockets by hand. The parties
//! behind the client are two sockets that send each other RTP.

use crate::support::{Ear, Engine, Net, SOON, wait_for};
use futures_util::{SinkExt, StreamExt};
use loadtest::bencode::Value as Bencode;
use loadtest::ng::{Client, Failed};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const CONFIG: &str = r#"
listener.main = { media = "IP1:0" }
engine.ng = ["udp:IP1:0", "tcp:IP1:0", "http:IP1:2225", "ws:IP1:2225"]
engine.delete_delay = "0s"
"#;

fn start(net: Net, more: &str) -> Engine {
    Engine::start(&net.fill(&format!("{CONFIG}{more}")))
}

/// Where NG is spoken by this carrier.
fn at(engine: &Engine, carrier: &str) -> SocketAddr {
    let all = engine.ready()["ng"].as_array().expect("the ready line says where NG is spoken");
    let found = all.iter().find(|ng| ng["carrier"] == carrier).expect("the carrier is configured");
    found["address"].as_str().and_then(|address| address.parse().ok()).expect("an address")
}

fn sdp(address: SocketAddr) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n\
         a=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n",
        ip = address.ip(),
        port = address.port()
    )
}

/// Where the audio of an SDP goes.
fn audio(sdp: &str) -> SocketAddr {
    let after = |prefix: &str| sdp.lines().find_map(|line| line.strip_prefix(prefix)).expect("the line");
    let port = after("m=audio ").split(' ').next().unwrap_or_default();
    format!("{}:{port}", after("c=IN IP4 ")).parse().expect("an address")
}

/// A call from offer to delete: media both ways, the API, metrics and an idle engine after it.
fn a_call(more: &str) {
    let net = Net::new();
    let engine = start(net, more);
    let mut client = Client::connect(at(&engine, "udp")).expect("a socket");
    client.ping().expect("pong");
    let (a, b) = (Ear::at(net.ip(2)), Ear::at(net.ip(3)));
    let to_b_side = client.offer("one@pbx", a.address()).expect("an offer is taken").rtp;
    let to_a_side = client.answer("one@pbx", b.address()).expect("an answer is taken").rtp;
    assert_eq!(to_b_side.ip(), net.ip(1), "our address stands in what the callee gets");
    // Each side sends to the port that its peer's SDP names: the answer goes to the caller.
    a.is_heard_by(&b, to_a_side, 0x11);
    b.is_heard_by(&a, to_b_side, 0x22);

    let calls = engine.calls();
    assert_eq!(calls.len(), 1, "{calls:?}");
    let id = calls[0]["id"].as_str().expect("an id");
    let shown = engine.json(&format!("/v1/calls/{id}"));
    assert!(shown.to_string().contains("one@pbx"), "{shown}");
    assert_eq!(engine.metric("strowger_calls_active{trunk=\"ng\",direction=\"in\"}"), 1.0);
    assert_eq!(engine.metric("strowger_ng_requests_total{command=\"offer\",result=\"ok\"}"), 1.0);
    assert!(engine.metric("strowger_ng_seconds_count") >= 3.0);
    let refused =
        engine.request("POST", &format!("/v1/calls/{id}/hold"), "Content-Type: application/json\r\n", "{}");
    assert_eq!(refused.status, 409, "{}", refused.body);

    client.delete("one@pbx").expect("it is deleted");
    engine.wait_idle();
    assert_eq!(engine.metric("strowger_calls_total{trunk=\"ng\",direction=\"in\",result=\"deleted\"}"), 1.0);
}

#[test]
fn a_call_of_an_ng_client_has_media_both_ways_by_epoll() {
    a_call("engine.backend = \"epoll\"\n");
}

#[test]
fn a_call_of_an_ng_client_has_media_both_ways_by_uring() {
    a_call("engine.backend = \"uring\"\n");
}

#[test]
fn calls_of_one_client_are_spread_over_shards_and_each_is_answered() {
    let net = Net::new();
    let engine = start(net, "engine.signalling_shards = 3\nengine.media_shards = 2\n");
    let mut client = Client::connect(at(&engine, "udp")).expect("a socket");
    let (a, b) = (Ear::at(net.ip(2)), Ear::at(net.ip(3)));
    let names: Vec<String> = (0..24).map(|n| format!("call-{n}")).collect();
    for name in &names {
        client.offer(name, a.address()).expect("an offer is taken");
        client.answer(name, b.address()).expect("an answer is taken");
    }
    assert_eq!(engine.calls().len(), names.len());
    let list = client.command("list", vec![]).expect("a list");
    let Some(Bencode::List(listed)) = list.get("calls") else { panic!("{list:?}") };
    assert_eq!(listed.len(), names.len(), "all shards' calls");
    for name in &names {
        client.delete(name).expect("it is deleted");
    }
    engine.wait_idle();
}

/// Asks over HTTP, without cookie.
fn post(to: SocketAddr, request: &Value) -> Value {
    let mut stream = TcpStream::connect(to).expect("HTTP is spoken");
    stream.set_read_timeout(Some(SOON)).expect("a socket");
    let body = request.to_string();
    let head = format!(
        "POST /ng-plain HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).expect("it is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    serde_json::from_str(body).expect("JSON is answered in JSON")
}

#[test]
fn a_call_may_be_directed_by_json_over_http() {
    let net = Net::new();
    let engine = start(net, "");
    let http = at(&engine, "http");
    assert_eq!(at(&engine, "ws"), http, "one server for both");
    assert_eq!(post(http, &json!({ "command": "ping" })), json!({ "result": "pong" }));
    let (a, b) = (Ear::at(net.ip(2)), Ear::at(net.ip(3)));
    let offer = json!({
        "command": "offer", "call-id": "two", "from-tag": "a", "sdp": sdp(a.address()), "ICE": "remove",
    });
    let to_b_side = audio(post(http, &offer)["sdp"].as_str().expect("an SDP"));
    let answer = json!({
        "command": "answer", "call-id": "two", "from-tag": "a", "to-tag": "b", "sdp": sdp(b.address()),
    });
    let to_a_side = audio(post(http, &answer)["sdp"].as_str().expect("an SDP"));
    a.is_heard_by(&b, to_a_side, 0x31);
    b.is_heard_by(&a, to_b_side, 0x32);
    let queried = post(http, &json!({ "command": "query", "call-id": "two" }));
    assert_eq!(queried["result"], "ok");
    assert!(queried["totals"]["RTP"]["packets"].as_u64().is_some_and(|packets| packets >= 20), "{queried}");
    let unknown = post(http, &json!({ "command": "query", "call-id": "three" }));
    assert_eq!(unknown["error-reason"], "Unknown call-id");
    assert_eq!(
        post(http, &json!({ "command": "delete", "call-id": "two", "from-tag": "a" }))["result"],
        "ok"
    );
    engine.wait_idle();
}

#[test]
fn tcp_and_websockets_carry_requests_too() {
    let net = Net::new();
    let engine = start(net, "engine.signalling_shards = 2\n");
    let mut stream = TcpStream::connect(at(&engine, "tcp")).expect("TCP is spoken");
    stream.set_read_timeout(Some(SOON)).expect("a socket");
    stream.write_all(b"1 d7:command4:pinge2 {\"command\": \"ping\"}").expect("it is read");
    stream.shutdown(std::net::Shutdown::Write).expect("a socket");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answers");
    assert!(answer.contains("1 d6:result4:ponge"), "{answer}");
    assert!(answer.contains("2 {") && answer.contains("\"pong\""), "{answer}");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let address = at(&engine, "ws");
        let mut request = format!("ws://{address}/").into_client_request().expect("a request");
        let protocol = "ng.rtpengine.com".parse().expect("a value");
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
        let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.expect("a WebSocket");
        socket.send(Message::text("3 {\"command\": \"ping\"}")).await.expect("it is read");
        let reply = tokio::time::timeout(SOON, socket.next()).await.expect("in time");
        let reply = reply.expect("a reply").expect("a message").into_text().expect("a text");
        assert!(reply.starts_with("3 {") && reply.contains("pong"), "{reply}");
    });
}

#[test]
fn a_request_that_comes_twice_is_done_once() {
    let net = Net::new();
    let engine = start(net, "");
    let socket = UdpSocket::bind((net.ip(4), 0)).expect("a socket");
    socket.set_read_timeout(Some(SOON)).expect("a socket");
    socket.connect(at(&engine, "udp")).expect("a socket");
    let ear = Ear::at(net.ip(2));
    let sdp = sdp(ear.address());
    let offer = format!("c1 d7:command5:offer7:call-id5:twice8:from-tag1:a3:sdp{}:{sdp}e", sdp.len());
    let mut answers = Vec::new();
    for _ in 0..3 {
        socket.send(offer.as_bytes()).expect("it is sent");
        let mut answer = vec![0; 65_536];
        let len = socket.recv(&mut answer).expect("an answer to each");
        answers.push(String::from_utf8_lossy(&answer[..len]).into_owned());
    }
    assert!(answers[0].starts_with("c1 d") && answers.iter().all(|one| *one == answers[0]), "{answers:?}");
    assert_eq!(engine.calls().len(), 1);
    assert_eq!(engine.metric("strowger_ng_requests_total{command=\"offer\",result=\"ok\"}"), 1.0);
    assert_eq!(engine.metric("strowger_ng_repeated_total"), 2.0);
    let id = engine.calls()[0]["id"].as_str().expect("an id").to_owned();
    let hangup = engine.request("DELETE", &format!("/v1/calls/{id}"), "", "");
    assert_eq!(hangup.status, 204, "{}", hangup.body);
    engine.wait_idle();
}

#[test]
fn limits_and_a_drain_refuse_new_calls_and_leave_live_ones_alone() {
    let net = Net::new();
    let mut engine = start(net, "limit.media = { calls = 1 }\nengine.ng_pool = \"media\"\n");
    let mut client = Client::connect(at(&engine, "udp")).expect("a socket");
    let (a, b) = (Ear::at(net.ip(2)), Ear::at(net.ip(3)));
    let to_b_side = client.offer("live", a.address()).expect("an offer is taken").rtp;
    assert_eq!(engine.metric("strowger_limit_used{limit=\"media\"}"), 1.0);
    let refusal = |answer: Result<(), Failed>| match answer {
        Err(Failed::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    let full = refusal(client.offer("second", a.address()).map(drop));
    assert!(full == "Parallel session limit reached" || full.contains("limit"), "{full}");

    engine.signal("TERM");
    wait_for("the drain", SOON, || (engine.metric("strowger_draining") == 1.0).then_some(()));
    let drained = client.command(
        "offer",
        vec![
            ("call-id", Bencode::text("third")),
            ("from-tag", Bencode::text("a")),
            ("sdp", Bencode::text(sdp(a.address()))),
            ("supports", Bencode::List(vec![Bencode::text("load limit")])),
        ],
    );
    let drained = refusal(drained.map(drop));
    assert!(!drained.is_empty());
    // The live one goes on, and the engine waits for it.
    let to_a_side = client.answer("live", b.address()).expect("an answer is taken").rtp;
    a.is_heard_by(&b, to_a_side, 0x41);
    b.is_heard_by(&a, to_b_side, 0x42);
    client.delete("live").expect("it is deleted");
    assert!(engine.wait_end(SOON).success(), "it ends when the last call has ended");
}

#[test]
fn a_signalling_shard_that_dies_takes_its_ng_calls_along_and_serves_again() {
    let net = Net::new();
    let config = net.fill(&format!("{CONFIG}engine.orphan = \"0s\"\n"));
    let engine = Engine::start_in(crate::support::Folder::new(), &config, &["--allow-panic"]);
    let mut client = Client::connect(at(&engine, "udp")).expect("a socket");
    let ear = Ear::at(net.ip(2));
    client.offer("gone", ear.address()).expect("an offer is taken");
    let json = "Content-Type: application/json\r\n";
    let killed = engine.request("POST", "/v1/debug/panic", json, "{\"shard\":\"sip-0\"}");
    assert!(killed.status < 300, "{} {}", killed.status, killed.body);
    wait_for("the shard to be back", SOON, || {
        (engine.metric("strowger_shard_restarts_total{shard=\"sip-0\"}") == 1.0).then_some(())
    });
    wait_for("its call to be gone", SOON, || engine.calls().is_empty().then_some(()));
    wait_for("its ports to be free", SOON, || (engine.metric("strowger_ports_used") == 0.0).then_some(()));
    assert_eq!(engine.metric("strowger_calls_current"), 0.0);
    client.offer("next", ear.address()).expect("it serves again");
    client.delete("next").expect("it is deleted");
}
