//! Connections with real sockets; a task stands for the signalling threads and answers what it is asked with who was
//! asked.

use super::*;
use crate::input::Bell;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

const SHARDS: usize = 2;
const STEERING: [u64; 2] = [7, 9];

struct World {
    address: SocketAddr,
}

/// Runs a story against a server whose shards answer until the story ends.
fn with_server<F: Future<Output = ()>>(speaks: NgSpeaks, story: impl FnOnce(World) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let bell = Bell::new().unwrap();
        let inboxes: Vec<_> = (0..SHARDS).map(|_| Mailbox::<Input>::new(64, bell.clone())).collect();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let streams =
            NgStreams::start(vec![(speaks, socket)], inboxes.clone(), HashKey::new(STEERING)).unwrap();
        let shards = answer_all(inboxes, streams);
        tokio::select! {
            () = story(World { address }) => {}
            () = shards => {}
        }
    });
}

/// `COOKIE d5:shardi0e…`: which shard was asked, and what.
async fn answer_all(inboxes: Vec<Mailbox<Input>>, streams: NgStreams) {
    loop {
        for (shard, inbox) in inboxes.iter().enumerate() {
            while let Some(Input::Ng(request)) = inbox.receive() {
                let Frame { cookie, payload } = request.frame();
                let text = String::from_utf8_lossy(payload).into_owned();
                let reply = format!("{shard}:{text}").into_bytes();
                let reply = if cookie.is_empty() { reply } else { [cookie, b" ", &reply].concat() };
                streams.reply(request.origin, reply).unwrap();
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
}

fn ask_about(call: &str) -> String {
    format!("d7:call-id{}:{call}7:command5:querye", call.len())
}

fn owner(call: &str) -> usize {
    HashKey::new(STEERING).owner(call.as_bytes(), SHARDS)
}

/// Reads until the text is there.
async fn expect(stream: &mut TcpStream, wanted: &str) {
    let mut got = vec![0; wanted.len()];
    timeout(Duration::from_secs(10), stream.read_exact(&mut got)).await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&got), wanted);
}

#[test]
fn requests_of_a_tcp_connection_go_to_the_owners_of_their_calls_and_replies_come_back_to_it() {
    with_server(NgSpeaks::Tcp, |world| async move {
        let calls: Vec<String> = (0..8).map(|n| format!("call-{n}")).collect();
        assert!((0..SHARDS).all(|shard| calls.iter().any(|call| owner(call) == shard)));
        let mut one = TcpStream::connect(world.address).await.unwrap();
        let mut two = TcpStream::connect(world.address).await.unwrap();
        for call in &calls {
            // In pieces, and two at once.
            let text = format!("c1 {}c2 {}", ask_about(call), ask_about(call));
            let (head, tail) = text.split_at(text.len() / 3);
            one.write_all(head.as_bytes()).await.unwrap();
            two.write_all(format!("x {}", ask_about(call)).as_bytes()).await.unwrap();
            one.write_all(tail.as_bytes()).await.unwrap();
            let reply = format!("{}:{}", owner(call), ask_about(call));
            expect(&mut one, &format!("c1 {reply}c2 {reply}")).await;
            expect(&mut two, &format!("x {reply}")).await;
        }
        // Whoever has asked may say that this was all.
        one.write_all(b"c3 d7:command4:pinge").await.unwrap();
        one.shutdown().await.unwrap();
        let mut rest = String::new();
        timeout(Duration::from_secs(10), one.read_to_string(&mut rest)).await.unwrap().unwrap();
        assert!(rest.starts_with("c3 ") && rest.ends_with("d7:command4:pinge"), "{rest}");
    });
}

#[test]
fn what_is_no_request_ends_its_connection_and_no_other() {
    with_server(NgSpeaks::Tcp, |world| async move {
        let mut good = TcpStream::connect(world.address).await.unwrap();
        for junk in ["GET / HTTP/1.1\r\n\r\n", "cookie xyz", &"c".repeat(10_000)] {
            let mut bad = TcpStream::connect(world.address).await.unwrap();
            bad.write_all(junk.as_bytes()).await.unwrap();
            let ended = timeout(Duration::from_secs(10), bad.read(&mut [0; 16])).await.unwrap();
            assert!(matches!(ended, Ok(0) | Err(_)), "{junk}");
        }
        good.write_all(b"c d7:command4:pinge").await.unwrap();
        expect(&mut good, "c ").await;
    });
}

#[test]
fn a_connection_has_a_bounded_number_of_open_requests() {
    let mut waiting = Waiting::default();
    assert!(waiting.has_room() && waiting.is_done());
    for _ in 0..ASKED_MAX {
        assert!(waiting.has_room());
        waiting.asked();
    }
    assert!(!waiting.has_room());
    waiting.answered();
    assert!(waiting.has_room() && !waiting.is_done());
}

/// One request over HTTP; the head and the body of the answer.
async fn http(address: SocketAddr, head: &str, body: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let text = format!(
        "{head} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

#[test]
fn http_carries_requests_with_and_without_cookies() {
    with_server(NgSpeaks::Web, |world| async move {
        let typed =
            |path: &str, kind: &str| format!("POST {path} HTTP/1.1\r\nContent-Type: {kind}\r\nX-Rest:");
        let (head, body) = http(world.address, "GET /ping", "").await;
        assert!(head.starts_with("HTTP/1.1 200") && body == "pong\n", "{head}\n{body}");
        let asked = ask_about("call-1");
        let reply = format!("{}:{asked}", owner("call-1"));
        let (head, body) =
            http(world.address, &typed("/ng", "application/x-rtpengine-ng"), &format!("c9 {asked}")).await;
        assert!(head.contains("content-type: application/x-rtpengine-ng"), "{head}");
        assert_eq!(body, format!("c9 {reply}"));
        let json = r#"{"command":"query","call-id":"call-1"}"#;
        let (head, body) = http(world.address, &typed("/ng-plain", "application/json"), json).await;
        assert!(head.contains("content-type: application/json"), "{head}");
        assert_eq!(body, format!("{}:{json}", owner("call-1")));
        for (head, body, status) in [
            ("GET /".to_owned(), "", "404"),
            ("GET /ng".to_owned(), "", "405"),
            (typed("/ng", "text/plain"), "c d7:command4:pinge", "415"),
            ("POST /ng".to_owned(), "c d7:command4:pinge", "415"),
            (typed("/ng", "application/json"), "no-cookie", "400"),
            (
                "POST /ng-plain HTTP/1.1\r\nContent-Type: application/json\r\nOrigin: http://evil.test\r\nX-Rest:"
                    .to_owned(),
                json,
                "403",
            ),
        ] {
            let (answer, _) = http(world.address, &head, body).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
        }
    });
}

async fn websocket(address: SocketAddr, protocol: &str) -> Result<WebSocketStream<TcpStream>, String> {
    let mut request = format!("ws://{address}/").into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", protocol.parse().unwrap());
    let stream = TcpStream::connect(address).await.unwrap();
    let (socket, answer) = client_async(request, stream).await.map_err(|error| error.to_string())?;
    assert!(protocol.contains(answer.headers()["sec-websocket-protocol"].to_str().unwrap()));
    Ok(socket)
}

#[test]
fn websockets_carry_requests_as_texts_and_as_octets() {
    with_server(NgSpeaks::Web, |world| async move {
        let mut socket = websocket(world.address, "other.test, ng.rtpengine.com").await.unwrap();
        for n in 0..20 {
            let asked = ask_about(&format!("call-{n}"));
            let reply = format!("c{n} {}:{asked}", owner(&format!("call-{n}")));
            let asked = format!("c{n} {asked}");
            let (asked, reply) = match n % 2 {
                0 => (Message::text(asked), Message::text(reply)),
                _ => (Message::binary(asked), Message::binary(reply)),
            };
            socket.send(asked).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), reply);
        }
        socket.close(None).await.unwrap();
        let mut plain = websocket(world.address, "ng-plain.rtpengine.com").await.unwrap();
        plain.send(Message::text(ask_about("call-1"))).await.unwrap();
        let reply = plain.next().await.unwrap().unwrap();
        assert_eq!(
            reply.into_text().unwrap().as_str(),
            format!("{}:{}", owner("call-1"), ask_about("call-1"))
        );
        assert!(websocket(world.address, "janus-protocol").await.unwrap_err().contains("400"));
    });
}

#[test]
fn connections_beyond_the_bound_are_closed_and_places_come_back() {
    with_server(NgSpeaks::Web, |world| async move {
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS_MAX - 1 {
            held.push(TcpStream::connect(world.address).await.unwrap());
        }
        held.push(websocket(world.address, "ng.rtpengine.com").await.unwrap().into_inner());
        let mut late = TcpStream::connect(world.address).await.unwrap();
        let ended = timeout(Duration::from_secs(10), late.read(&mut [0; 1])).await.unwrap();
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
        // A WebSocket holds its place as long as it is there.
        drop(held.pop());
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let mut next = TcpStream::connect(world.address).await.unwrap();
            next.write_all(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            if matches!(next.read(&mut [0; 16]).await, Ok(16)) {
                break;
            }
            assert!(Instant::now() < deadline, "its place has not come back");
        }
    });
}

/// The status that a request with these lines in its head is answered with.
async fn status(address: SocketAddr, lines: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let text = format!("{lines}Connection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(Duration::from_secs(10), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn pages_are_refused_wherever_they_say_they_are_from() {
    with_server(NgSpeaks::Web, |world| async move {
        let port = world.address.port();
        for (lines, wanted) in [
            (format!("Host: 127.0.0.1:{port}\r\n"), "200"),
            (format!("Host: [::1]:{port}\r\n"), "200"),
            (format!("Host: LocalHost:{port}\r\n"), "200"),
            // Its name was pointed at loopback after the page was loaded.
            (format!("Host: evil.test:{port}\r\nOrigin: http://evil.test:{port}\r\n"), "403"),
            (format!("Host: evil.test:{port}\r\n"), "403"),
            ("Host: \u{e4}\r\n".to_owned(), "403"),
            (format!("Host: 127.0.0.1:{port}\r\nOrigin: http://127.0.0.1:{port}\r\n"), "403"),
            (format!("Host: localhost:{port}\r\nOrigin: null\r\n"), "403"),
        ] {
            let got = status(world.address, &format!("GET /ping HTTP/1.1\r\n{lines}")).await;
            assert_eq!(got, wanted, "{lines}");
        }
        assert_eq!(status(world.address, "GET /ping HTTP/1.0\r\n").await, "200", "no browser is so old");
        let mut request = format!("ws://{}/", world.address).into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("Sec-WebSocket-Protocol", "ng.rtpengine.com".parse().unwrap());
        headers.insert("Origin", format!("http://{}", world.address).parse().unwrap());
        let stream = TcpStream::connect(world.address).await.unwrap();
        let refused = client_async(request, stream).await.unwrap_err();
        assert!(refused.to_string().contains("403"), "{refused}");
    });
}

#[test]
fn the_kernel_asks_after_silent_peers() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, server) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let (_client, (stream, _)) = (client.unwrap(), server.unwrap());
        notice_death(&stream);
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), IDLE);
    });
}

#[test]
fn a_silent_peer_is_asked_once_and_then_given_up_unless_it_speaks() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        // As if it had been silent since long before.
        let Some(long_ago) = Instant::now().checked_sub(3 * IDLE) else { return };
        let mut silence = Silence { since: long_ago, is_asked: false };
        assert_eq!(silence.lasts().await, Next::Ask);
        assert_eq!(silence.lasts().await, Next::End);
        silence.broken();
        assert!(timeout(Duration::from_millis(1), silence.lasts()).await.is_err());
        silence.since = long_ago;
        assert_eq!(silence.lasts().await, Next::Ask, "it has spoken: it is asked again");
    });
}

#[test]
fn what_finds_a_full_mailbox_is_put_in_when_there_is_room() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let inbox = Mailbox::<Input>::new(2, Bell::new().unwrap());
        while inbox.send(Input::Stop).is_ok() {}
        let sound = || Input::NgSound(command::Ticket(7), Err("none"));
        let put = tokio::spawn(crate::put(inbox.clone(), sound()));
        tokio::task::yield_now().await;
        assert!(!put.is_finished());
        assert!(matches!(inbox.receive(), Some(Input::Stop)));
        put.await.unwrap().unwrap();
        let left: Vec<_> = core::iter::from_fn(|| inbox.receive()).collect();
        assert!(matches!(left.last(), Some(Input::NgSound(command::Ticket(7), Err("none")))), "{left:?}");
        // The shape in which the engine calls it.
        let shard = inbox.clone();
        let tell = async move |sound| {
            let _ = crate::put(shard, Input::NgSound(command::Ticket(8), sound)).await;
        };
        tokio::spawn(async move { tell(Err("later")).await }).await.unwrap();
        assert!(inbox.receive().is_some());
    });
}
