//! A client of the NG protocol over UDP: requests are written as JSON here and travel as bencode or JSON.

use crate::support::SOON;
use loadtest::bencode::Value;
use serde_json::{Map, Value as Json, json};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// One socket.
pub struct Ng {
    socket: UdpSocket,
    to: SocketAddr,
}

impl Ng {
    pub fn new(from: impl Into<IpAddr>, to: SocketAddr) -> Ng {
        Ng { socket: UdpSocket::bind((from.into(), 0)).expect("a port of our own address"), to }
    }

    /// Sends bytes as they are.
    pub fn send(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.to).expect("loopback takes a datagram");
    }

    /// The next datagram, or nothing within the time; it must come from where requests go.
    pub fn receive_within(&self, within: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(within)).expect("a socket");
        let mut buffer = vec![0; 65_536];
        let end = Instant::now() + within;
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((len, from)) => {
                    assert_eq!(from, self.to, "the reply comes from the address that was asked");
                    return Some(buffer[..len].to_vec());
                }
                Err(_) if Instant::now() >= end => return None,
                Err(_) => {}
            }
        }
    }

    /// The next datagram.
    pub fn receive(&self) -> Vec<u8> {
        self.receive_within(SOON).expect("a reply")
    }

    /// Nothing comes.
    pub fn expect_silence(&self) {
        let came = self.receive_within(Duration::from_millis(100));
        assert!(
            came.is_none(),
            "nothing is answered: {:?}",
            came.map(|c| String::from_utf8_lossy(&c).into_owned())
        );
    }

    /// A request under a cookie of its own, in these bytes, and its reply.
    pub fn ask_bytes(&self, body: &[u8]) -> Vec<u8> {
        let cookie = cookie();
        self.send(&[cookie.as_bytes(), b" ", body].concat());
        let reply = self.receive();
        let rest = reply.strip_prefix(cookie.as_bytes()).and_then(|rest| rest.strip_prefix(b" "));
        rest.unwrap_or_else(|| panic!("the cookie comes back: {}", String::from_utf8_lossy(&reply))).to_vec()
    }

    /// A request as bencode, and its reply.
    pub fn ask(&self, request: &Json) -> Json {
        let mut bytes = Vec::new();
        bencoded(request).write(&mut bytes);
        read(&self.ask_bytes(&bytes))
    }

    /// A request as JSON, and its reply.
    pub fn ask_in_json(&self, request: &Json) -> Json {
        let reply = self.ask_bytes(request.to_string().as_bytes());
        serde_json::from_slice(&reply).expect("a request in JSON is answered in JSON")
    }

    /// A request that succeeds.
    pub fn does(&self, request: &Json) -> Json {
        let reply = self.ask(request);
        assert_eq!(reply["result"], "ok", "{request:#} is answered with {reply:#}");
        reply
    }

    /// A request that fails; why.
    pub fn refuses(&self, request: &Json) -> String {
        let reply = self.ask(request);
        assert_eq!(reply["result"], "error", "{request:#} is answered with {reply:#}");
        reply["error-reason"].as_str().expect("a reason").to_owned()
    }

    pub fn pings(&self) {
        assert_eq!(self.ask(&json!({"command": "ping"}))["result"], "pong");
    }
}

fn cookie() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(1);
    format!("{}_{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// JSON as a bencoded value; `null` is left out.
pub fn bencoded(json: &Json) -> Value {
    match json {
        Json::Number(number) => Value::Int(number.as_i64().expect("whole numbers")),
        Json::String(text) => Value::text(text),
        Json::Array(values) => Value::List(values.iter().map(bencoded).collect()),
        Json::Object(entries) => Value::Dict(
            entries
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key.as_bytes().to_vec(), bencoded(value)))
                .collect(),
        ),
        Json::Bool(_) | Json::Null => panic!("bencode has no {json}"),
    }
}

/// A bencoded reply as JSON.
pub fn read(bytes: &[u8]) -> Json {
    let value = Value::read(bytes)
        .unwrap_or_else(|| panic!("bencode comes back: {}", String::from_utf8_lossy(bytes)));
    plain(&value)
}

/// A bencoded value as JSON; of repeated keys the first counts.
pub fn plain(value: &Value) -> Json {
    match value {
        Value::Int(number) => json!(number),
        Value::Text(text) => json!(String::from_utf8_lossy(text)),
        Value::List(values) => values.iter().map(plain).collect(),
        Value::Dict(entries) => {
            let mut map = Map::new();
            for (key, value) in entries {
                map.entry(String::from_utf8_lossy(key)).or_insert_with(|| plain(value));
            }
            Json::Object(map)
        }
    }
}
