//! How requests and replies travel: cookies, repetitions, carriers, and all the ways to write the same thing.

use crate::stand::{Proxy, audio, bencoded, read, scenarios, told};
use crate::support::SOON;
use futures_util::{SinkExt, StreamExt};
use loadtest::bencode::Value;
use serde_json::{Value as Json, json};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tokio_tungstenite::tungstenite;

scenarios! {
    a_ping_is_answered_with_its_cookie,
    requests_in_json_are_answered_in_json,
    a_repeated_request_is_answered_again_and_done_once,
    copies_of_a_request_that_come_together_make_one_call,
    the_same_cookie_from_another_socket_is_a_repetition,
    without_a_cookie_nothing_is_answered,
    keys_come_in_any_order,
    of_repeated_keys_the_first_or_the_last_counts_but_there_is_one_call,
    numbers_may_be_texts,
    http_carries_requests_with_cookies,
    websockets_carry_requests_with_cookies,
    ;
    only strowger:
    keys_ignore_case_and_separators =
        "10.5 knows some keys with a space or a hyphen, none with an underscore, and minds most capitals",
    unknown_keys_and_flags_are_named_in_a_warning = "10.5 writes them to its log only",
    requests_over_tcp_follow_each_other =
        "10.5 frames TCP by bencode alone",
    http_and_websockets_carry_requests_without_cookies = "10.5 has no `/ng-plain` and no `ng-plain.rtpengine.com`",
}

fn a_ping_is_answered_with_its_cookie(proxy: &Proxy) {
    let ng = proxy.ng();
    ng.send(b"any.cookie-1 d7:command4:pinge");
    assert_eq!(ng.receive(), b"any.cookie-1 d6:result4:ponge");
}

fn requests_in_json_are_answered_in_json(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    assert_eq!(call.ng.ask_in_json(&json!({"command": "ping"})), json!({"result": "pong"}));
    let offered = told(&call.ng.ask_in_json(&call.offering(&audio(pair.a.address()), &json!({}))));
    let answered = told(&call.ng.ask_in_json(&call.answering(&audio(pair.b.address()), &json!({}))));
    pair.talk(crate::stand::Ports { a: answered.media(0), b: offered.media(0) });
}

/// An offer as a datagram under this cookie.
fn offer(proxy: &Proxy, cookie: &str) -> (Vec<u8>, Json) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let request = call.offering(&audio(pair.a.address()), &json!({}));
    let mut bytes = format!("{cookie} ").into_bytes();
    bencoded(&request).write(&mut bytes);
    (bytes, request)
}

fn calls(proxy: &Proxy) -> usize {
    let list = proxy.ng().does(&json!({"command": "list", "limit": 100}));
    list["calls"].as_array().expect("a list").len()
}

fn a_repeated_request_is_answered_again_and_done_once(proxy: &Proxy) {
    let (ng, (bytes, request)) = (proxy.ng(), offer(proxy, "same"));
    ng.send(&bytes);
    let first = ng.receive();
    ng.send(&bytes);
    assert_eq!(ng.receive(), first, "byte for byte: the same ports");
    // Also after the call has gone.
    ng.does(&json!({"command": "delete", "call-id": request["call-id"], "from-tag": "a", "delete-delay": 0}));
    ng.send(&bytes);
    assert_eq!(ng.receive(), first);
    ng.expect_silence();
}

fn copies_of_a_request_that_come_together_make_one_call(proxy: &Proxy) {
    let (ng, (bytes, _)) = (proxy.ng(), offer(proxy, "hurried"));
    (0..5).for_each(|_| ng.send(&bytes));
    let first = ng.receive();
    // Each copy is answered, or those that came while the first was in progress are answered by its one reply.
    while let Some(reply) = ng.receive_within(Duration::from_millis(100)) {
        assert_eq!(reply, first);
    }
    assert_eq!(calls(proxy), 1);
}

fn the_same_cookie_from_another_socket_is_a_repetition(proxy: &Proxy) {
    let ((ng, other), (bytes, _)) = ((proxy.ng(), proxy.ng()), offer(proxy, "moved"));
    ng.send(&bytes);
    let first = ng.receive();
    other.send(&bytes);
    assert_eq!(other.receive(), first, "a client that restarts its socket gets its answer");
}

fn without_a_cookie_nothing_is_answered(proxy: &Proxy) {
    let ng = proxy.ng();
    for bytes in [&b"d7:command4:pinge"[..], b"", b"\0", b"{\"command\":\"ping\"}"] {
        ng.send(bytes);
    }
    ng.expect_silence();
}

fn keys_come_in_any_order(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let Value::Dict(mut entries) = bencoded(&call.offering(&audio(pair.a.address()), &json!({}))) else {
        unreachable!("a request is a dictionary")
    };
    for _ in 0..entries.len() {
        entries.rotate_left(1);
        let mut bytes = Vec::new();
        Value::Dict(entries.clone()).write(&mut bytes);
        told(&read(&call.ng.ask_bytes(&bytes)));
    }
    assert_eq!(calls(proxy), 1);
}

fn of_repeated_keys_the_first_or_the_last_counts_but_there_is_one_call(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let Value::Dict(mut entries) = bencoded(&call.offering(&audio(pair.a.address()), &json!({}))) else {
        unreachable!("a request is a dictionary")
    };
    entries.extend(entries.clone());
    let mut bytes = Vec::new();
    Value::Dict(entries).write(&mut bytes);
    told(&read(&call.ng.ask_bytes(&bytes)));
    assert_eq!(calls(proxy), 1);
}

fn numbers_may_be_texts(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    for (ptime, tos) in [(json!(40), json!(184)), (json!("40"), json!("184"))] {
        let more = json!({"ptime": ptime, "TOS": tos});
        let sdp = call.offer(&audio(pair.a.address()), &more);
        assert!(sdp.has(0, "a=ptime:40"), "{}", sdp.0);
    }
}

fn keys_ignore_case_and_separators(proxy: &Proxy) {
    let pair = proxy.pair();
    let spellings = [
        ["call-id", "from-tag", "transport-protocol", "media-address"],
        ["call id", "from tag", "transport protocol", "media address"],
        ["call_id", "from_tag", "transport_protocol", "media_address"],
        ["CALL-ID", "From-Tag", "Transport_Protocol", "MEDIA address"],
    ];
    for (n, [call_id, tag, protocol, address]) in spellings.into_iter().enumerate() {
        let reply = proxy.ng().does(&json!({
            "command": "offer", "sdp": audio(pair.a.address()), call_id: format!("spelt-{n}"), tag: "a",
            protocol: "RTP/AVPF", address: "192.0.2.77"
        }));
        let sdp = told(&reply);
        assert_eq!((sdp.protocol(0), sdp.media(0).ip().to_string().as_str()), ("RTP/AVPF", "192.0.2.77"));
        assert_eq!(reply.get("warning"), None, "{reply:#}");
    }
}

fn unknown_keys_and_flags_are_named_in_a_warning(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let more = json!({"flags": ["brew-coffee", "trust-address"], "temperature": 90, "replace": ["weather", "origin"]});
    let reply = call.ng.does(&call.offering(&audio(pair.a.address()), &more));
    let warning = reply["warning"].as_str().expect("a warning");
    for word in ["brew-coffee", "temperature", "weather"] {
        assert!(warning.contains(word), "{word} is not in: {warning}");
    }
    assert!(!warning.contains("trust-address"), "{warning}");
}

fn requests_over_tcp_follow_each_other(proxy: &Proxy) {
    let mut stream = TcpStream::connect(proxy.address()).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a socket");
    // Three at once, then one in pieces.
    let requests = b"1 d7:command4:pinge2 {\"command\": \"ping\"}3 d7:command4:pinge";
    stream.write_all(requests).expect("it reads");
    let expect = |wanted: &[u8], stream: &mut TcpStream| {
        let mut got = vec![0; wanted.len()];
        stream.read_exact(&mut got).expect("replies");
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(wanted));
    };
    expect(b"1 d6:result4:ponge2 {\"result\":\"pong\"}3 d6:result4:ponge", &mut stream);
    for byte in b"4 d7:command4:pinge" {
        stream.write_all(&[*byte]).expect("it reads");
    }
    expect(b"4 d6:result4:ponge", &mut stream);
    // What can never become a request ends the connection.
    stream.write_all(b"5 d99999999999999999999:x").expect("it reads");
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
}

/// Status and body of an HTTP exchange.
fn http(at: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(at).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a socket");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Type: application/x-rtpengine-ng\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_default(), body.to_owned())
}

fn http_carries_requests_with_cookies(proxy: &Proxy) {
    let at = proxy.http();
    assert_eq!(http(at, "GET", "/ping", "").0, 200);
    assert_eq!(http(at, "POST", "/ng", "7_1 d7:command4:pinge"), (200, "7_1 d6:result4:ponge".into()));
    assert_eq!(
        http(at, "POST", "/ng", "7_2 {\"command\": \"ping\"}"),
        (200, "7_2 {\"result\":\"pong\"}".into())
    );
    assert_eq!(http(at, "GET", "/nowhere", "").0, 404);
    // An offer by HTTP is a call for all.
    let (bytes, _) = offer(proxy, "8_1");
    let (status, body) = http(at, "POST", "/ng", &String::from_utf8(bytes).expect("text"));
    assert!(status == 200 && body.contains("6:result2:ok"), "{status} {body}");
    assert_eq!(calls(proxy), 1);
}

/// What a request is answered with over a WebSocket of its own.
fn websocket(proxy: &Proxy, protocol: &'static str, request: &'static str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(proxy.http()).await.expect("it listens");
        let uri = format!("ws://{}/", proxy.http());
        let mut hello = tungstenite::client::IntoClientRequest::into_client_request(uri).expect("a request");
        hello.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().expect("a value"));
        let (mut socket, answer) = tokio_tungstenite::client_async(hello, stream).await.expect("a WebSocket");
        assert_eq!(answer.headers()["Sec-WebSocket-Protocol"], protocol);
        socket.send(tungstenite::Message::text(request)).await.expect("it reads");
        let reply = tokio::time::timeout(SOON, socket.next()).await.expect("soon");
        String::from_utf8_lossy(&reply.expect("a reply").expect("a message").into_data()).into_owned()
    })
}

fn websockets_carry_requests_with_cookies(proxy: &Proxy) {
    let protocol = "ng.rtpengine.com";
    assert_eq!(websocket(proxy, protocol, "5_5 d7:command4:pinge"), "5_5 d6:result4:ponge");
    assert_eq!(websocket(proxy, protocol, "5_6 {\"command\": \"ping\"}"), "5_6 {\"result\":\"pong\"}");
}

fn http_and_websockets_carry_requests_without_cookies(proxy: &Proxy) {
    let plain = |body| http(proxy.http(), "POST", "/ng-plain", body);
    assert_eq!(plain("d7:command4:pinge"), (200, "d6:result4:ponge".into()));
    assert_eq!(plain("{\"command\": \"ping\"}"), (200, "{\"result\":\"pong\"}".into()));
    let protocol = "ng-plain.rtpengine.com";
    assert_eq!(websocket(proxy, protocol, "d7:command4:pinge"), "d6:result4:ponge");
    assert_eq!(websocket(proxy, protocol, "{\"command\": \"ping\"}"), "{\"result\":\"pong\"}");
}
