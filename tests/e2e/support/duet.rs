//! Two phones of our own with media that speaks, and an engine between them.

use super::baresip::tone_near;
use super::softphone::{Connected, Dialog, Message, Softphone};
use super::talker::{Codec, Talker, description};
use super::{Engine, Net};
use std::net::SocketAddr;

/// A calls B.
pub struct Duet {
    pub engine: Engine,
    pub a: Softphone,
    pub b: Softphone,
    pub media_a: Talker,
    pub media_b: Talker,
}

/// A PBX at `IP2:5060` and a carrier at `IP3:5060` whose trunks have these keys (`codecs = ["opus"]`), calls both ways.
pub fn config(back_end: &str, pbx: &str, carrier: &str) -> String {
    let keys = |keys: &str| if keys.is_empty() { String::new() } else { format!(", {keys}") };
    let (pbx, carrier) = (keys(pbx), keys(carrier));
    format!(
        "engine.backend = \"{back_end}\"\n\
         listener.main = {{ sip = \"udp:IP1:0\", media = \"IP1:0\" }}\n\
         trunk.pbx = {{ address = \"IP2:5060\"{pbx} }}\n\
         trunk.carrier = {{ address = \"IP3:5060\"{carrier} }}\n\
         [[route]]\nfrom = \"pbx\"\nvia = \"carrier\"\n[[route]]\nfrom = \"carrier\"\nvia = \"pbx\"\n"
    )
}

impl Duet {
    pub fn new(config: &str) -> Duet {
        let net = Net::new();
        Duet::with(net, config, Talker::at(net.ip(3)))
    }

    /// With addresses and a callee's media that exist already.
    pub fn with(net: Net, config: &str, media_b: Talker) -> Duet {
        let engine = Engine::start(&net.fill(config));
        let phone = |n| Softphone::at((net.ip(n), 5060));
        let (a, b) = (phone(2), phone(3));
        Duet { engine, a, b, media_a: Talker::at(net.ip(2)), media_b }
    }

    /// A call with these codecs and events (number, clock), each as its phone says.
    pub fn connect(
        &self,
        of_a: &[Codec],
        events_a: &[(u8, u32)],
        of_b: &[Codec],
        events_b: &[(u8, u32)],
    ) -> Connected {
        let offer = description(self.media_a.address(), "RTP/AVP", of_a, events_a);
        let answer = description(self.media_b.address(), "RTP/AVP", of_b, events_b);
        self.connect_by(&offer, |_| answer)
    }

    /// A call in which B answers what it is offered.
    pub fn connect_by(&self, offer: &str, answer: impl FnOnce(&Message) -> String) -> Connected {
        let mut a = self.a.invite(self.engine.sip(0), "15550100", offer);
        let offered = self.b.expect("INVITE");
        let b = self.b.answer(&offered, 200, &answer(&offered));
        let answered = self.a.expect("200 INVITE");
        self.a.ack(&mut a, &answered);
        self.b.expect("ACK");
        Connected { a, b, offered, answered }
    }

    /// A's call is refused, and B hears nothing of it.
    pub fn refused(&self, offer: &str, status: u16) -> Message {
        let mut dialog = self.a.invite(self.engine.sip(0), "15550100", offer);
        let refusal = self.a.expect(&format!("{status} INVITE"));
        self.a.ack_refusal(&mut dialog, &refusal);
        self.engine.wait_idle();
        refusal
    }

    /// The one call as the API shows it.
    pub fn show(&self) -> serde_json::Value {
        self.engine.json(&format!("/v1/calls/{}", self.engine.wait_call("answered")))
    }

    pub fn end(&mut self, mut call: Connected) {
        self.media_a.hush();
        self.media_b.hush();
        self.a.hang_up(&mut call.a, &self.b);
        self.engine.wait_idle();
    }
}

/// The `m=` line of a description without its port.
pub fn media_line(body: &str) -> String {
    let line = body.lines().find(|line| line.starts_with("m=")).expect("an m-line");
    let words: Vec<&str> = line.split(' ').collect();
    format!("{} {}", words[0], words[2..].join(" "))
}

/// The payload type that a description gives to `opus/48000`.
pub fn number_of(body: &str, name: &str) -> u8 {
    let maps = body.lines().filter_map(|line| line.strip_prefix("a=rtpmap:")?.split_once(' '));
    let found = maps.filter(|(_, codec)| codec.trim().starts_with(name)).find_map(|(n, _)| n.parse().ok());
    found.unwrap_or_else(|| panic!("no {name} in {body}"))
}

/// A request in the dialog with a body of its own kind.
pub fn request_with(phone: &Softphone, dialog: &mut Dialog, method: &str, kind: &str, body: &str) {
    dialog.cseq += 1;
    let Dialog { call_id, local, remote, target, peer, cseq } = dialog;
    let me: SocketAddr = phone.address();
    let unique = call_id.replace('@', ".");
    let text = format!(
        "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {me};rport;branch=z9hG4bK{method}{cseq}.{unique}\r\n\
         Max-Forwards: 70\r\nFrom: {local}\r\nTo: {remote}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
         Contact: <sip:2001@{me}>\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    phone.send_raw(*peer, text.as_bytes());
}

/// In the last half second of these samples the tone is there, within 5 Hz, and hardly anything else.
pub fn assert_tone(who: &str, rate: u32, samples: &[i16], wanted: u32) {
    let last = &samples[samples.len() - rate as usize / 2..];
    let (hz, share) = tone_near(rate, last, wanted);
    assert!(hz.abs_diff(wanted) <= 5 && share > 0.9, "{who} heard {hz} Hz, {share:.3} of the power");
}
