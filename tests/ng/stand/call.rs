//! One call by NG: requests that name it, and media through the ports that they give.

use super::{Ng, Proxy, Sdp};
use crate::support::wire::{Wire, rtp};
use serde_json::{Value as Json, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A call of the parties `a` and `b`.
pub struct Call {
    pub ng: Ng,
    pub id: String,
}

/// Media of a caller and a callee.
pub struct Pair {
    pub a: Wire,
    pub b: Wire,
}

impl Call {
    pub fn new(proxy: &Proxy, id: String) -> Call {
        Call { ng: proxy.ng(), id }
    }

    /// A request about this call; a key with `null` is left out.
    pub fn request(&self, command: &str, more: &Json) -> Json {
        let mut request = json!({"command": command, "call-id": self.id});
        let all = request.as_object_mut().expect("an object");
        for (key, value) in more.as_object().expect("options are an object") {
            all.insert(key.clone(), value.clone());
        }
        all.retain(|_, value| !value.is_null());
        request
    }

    /// As signalling proxies offer: from `a`.
    pub fn offering(&self, sdp: &str, more: &Json) -> Json {
        let usual = json!({
            "from-tag": "a", "sdp": sdp, "ICE": "remove", "replace": ["origin", "session-connection"]
        });
        self.request("offer", &merged(usual, more))
    }

    /// As signalling proxies answer: from `b` to `a`.
    pub fn answering(&self, sdp: &str, more: &Json) -> Json {
        let usual = json!({
            "from-tag": "a", "to-tag": "b", "sdp": sdp, "ICE": "remove",
            "replace": ["origin", "session-connection"]
        });
        self.request("answer", &merged(usual, more))
    }

    /// `a` offers; what `b` is told.
    pub fn offer(&self, sdp: &str, more: &Json) -> Sdp {
        told(&self.ng.does(&self.offering(sdp, more)))
    }

    /// `b` answers; what `a` is told.
    pub fn answer(&self, sdp: &str, more: &Json) -> Sdp {
        told(&self.ng.does(&self.answering(sdp, more)))
    }

    /// A request that succeeds.
    pub fn does(&self, command: &str, more: &Json) -> Json {
        self.ng.does(&self.request(command, more))
    }

    /// A request that fails; why.
    pub fn refuses(&self, command: &str, more: &Json) -> String {
        self.ng.refuses(&self.request(command, more))
    }

    /// Both wires in one plain call; the ports that face `a` and `b`.
    pub fn connect(&self, pair: &Pair) -> Ports {
        self.connect_with(pair, &json!({}), &json!({}))
    }

    /// As [`Call::connect`], with options in offer and answer.
    pub fn connect_with(&self, pair: &Pair, offer: &Json, answer: &Json) -> Ports {
        let to_b = self.offer(&audio(pair.a.address()), offer);
        let to_a = self.answer(&audio(pair.b.address()), answer);
        Ports { a: to_a.media(0), b: to_b.media(0) }
    }

    /// Ends it.
    pub fn delete(&self) -> Json {
        self.does("delete", &json!({"from-tag": "a"}))
    }
}

pub use crate::support::softphone::audio;

/// Where `a` and `b` send their media.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub a: SocketAddr,
    pub b: SocketAddr,
}

impl Pair {
    /// Ten packets each way: all arrive, in order, untouched, from the port of the SDP.
    pub fn talk(&self, ports: Ports) {
        self.a_is_heard(ports, 10);
        self.b_is_heard(ports, 10);
    }

    /// So many packets of `a` arrive at `b`, in order and untouched.
    pub fn a_is_heard(&self, ports: Ports, count: u16) {
        passes(&self.a, ports.a, &self.b, ports.b, count);
    }

    /// So many packets of `b` arrive at `a`.
    pub fn b_is_heard(&self, ports: Ports, count: u16) {
        passes(&self.b, ports.b, &self.a, ports.a, count);
    }

    /// What `a` says is not heard.
    pub fn a_is_not_heard(&self, ports: Ports) {
        is_dropped(&self.a, ports.a, &self.b);
    }

    /// What `b` says is not heard.
    pub fn b_is_not_heard(&self, ports: Ports) {
        is_dropped(&self.b, ports.b, &self.a);
    }
}

/// So many packets from `from`, sent to `to`, arrive at `ear` as they were sent, and come from `source`.
pub fn passes(from: &Wire, to: SocketAddr, ear: &Wire, source: SocketAddr, count: u16) {
    for packet in packets(from, count) {
        from.rtp.send(to, &packet);
        ear.rtp.expect(&packet, source);
    }
}

/// Packets from `from`, sent to `to`, do not arrive at `ear`.
pub fn is_dropped(from: &Wire, to: SocketAddr, ear: &Wire) {
    packets(from, 5).iter().for_each(|packet| from.rtp.send(to, packet));
    ear.rtp.expect_silence();
}

/// The next packets of this party: one stream, on and on.
pub fn packets(of: &Wire, count: u16) -> Vec<Vec<u8>> {
    thread_local! {
        static NEXT: RefCell<BTreeMap<SocketAddr, u16>> = RefCell::default();
    }
    let first = NEXT.with_borrow_mut(|next| {
        let next = next.entry(of.address()).or_insert(100);
        *next += count;
        *next - count
    });
    let ssrc = ssrc_of(of);
    (first..first + count).map(|n| rtp(0, n, u32::from(n) * 160, ssrc, &[0x55; 160])).collect()
}

/// The SSRC of this party.
pub fn ssrc_of(party: &Wire) -> u32 {
    0x5151_0000 | u32::from(party.address().port())
}

/// The SDP of a reply.
pub fn told(reply: &Json) -> Sdp {
    Sdp(reply["sdp"].as_str().unwrap_or_else(|| panic!("an SDP in {reply:#}")).to_owned())
}

fn merged(mut usual: Json, more: &Json) -> Json {
    let all = usual.as_object_mut().expect("an object");
    for (key, value) in more.as_object().expect("options are an object") {
        all.insert(key.clone(), value.clone());
    }
    usual
}
