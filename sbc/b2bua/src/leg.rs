//! One leg of a call: its dialog, what was last sent on it, and what it waits for. Knows nothing of the other leg.

use crate::desk::{Desk, Token, What};
use crate::headers;
use crate::session::SessionTimer;
use crate::spec::Transport;
use base::{Duration, Instant, Key, Now, Wall};
use core::net::{IpAddr, SocketAddr};
use ledger::{CallId, Cdr, Direction, ReleasedBy};
use sdp::Side;
use sip::dialog::Dialog;
use sip::flow::{Flow, Target};
use sip::frame::Framing;
use sip::message::write::Writer;
use sip::message::{Message, Method, NameAddr, Uri, unfold};
use sip::stack::{ClientTx, ServerTx};
use sip::transaction::Repeat;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

/// One leg.
pub struct Leg {
    /// 0 is the caller's; attempts count up.
    pub number: u16,
    pub side: Side,
    /// Index of its trunk.
    pub trunk: usize,
    /// Where its requests go as long as the dialog says nothing better, and from which address.
    pub target: Target,
    /// Our address as Via and Contact say it.
    pub public: SocketAddr,
    /// Our tag.
    pub local_tag: Vec<u8>,
    /// The dialog: of the caller from the INVITE on, of a callee from its first answer on.
    pub dialog: Option<Dialog>,
    /// What the callee's forks have in common; `None` on the caller's leg.
    pub pending: Option<Dialog>,
    /// Early dialogs of the callee, one for each To tag.
    pub forks: Vec<Fork>,
    /// The INVITE that we sent.
    pub client: Option<ClientTx>,
    /// An INVITE that came and waits for its final answer: the first one or a re-INVITE.
    pub invite: Option<Inbound>,
    /// A 2xx of ours that waits for its ACK.
    pub unacked: Option<Unacked>,
    /// The ACK that we sent last, repeated when the 2xx comes again.
    pub ack: Option<SentAck>,
    /// Reliable provisional responses of ours (RFC 3262).
    pub reliable: Reliable,
    pub session: Option<SessionTimer>,
    /// A re-INVITE of ours that keeps the session alive waits for its answer: no other INVITE may go out meanwhile.
    pub refreshing: bool,
    /// The peer takes UPDATE.
    pub allows_update: bool,
    /// The peer does PRACK.
    pub does_100rel: bool,
    /// Our BYE waits for its answer.
    pub bye: Option<ClientTx>,
    /// BYE as soon as the ACK has come (RFC 3261 section 15).
    pub bye_wanted: bool,
    pub ended: bool,
    pub record: Record,
}

/// A request that has just come in a transaction of its own.
#[derive(Clone, Copy)]
pub struct Arrival<'m> {
    pub tx: ServerTx,
    pub flow: &'m Flow,
    pub message: &'m Message<'m>,
}

/// A request that waits for our answer.
#[derive(Clone)]
pub struct Inbound {
    pub tx: ServerTx,
    pub flow: Flow,
    raw: Box<[u8]>,
}

/// One early dialog of a callee.
pub struct Fork {
    pub dialog: Dialog,
    /// Last RSeq that was acknowledged.
    pub rseq: Option<u32>,
}

/// A 2xx to an INVITE, repeated until its ACK comes.
pub struct Unacked {
    pub cseq: u32,
    pub bytes: Arc<[u8]>,
    pub target: Target,
    pub repeat: Repeat,
}

/// An ACK that we sent.
pub struct SentAck {
    pub cseq: u32,
    pub bytes: Arc<[u8]>,
    pub target: Target,
}

/// Reliable provisional responses: one at a time, the rest waits.
#[derive(Default)]
pub struct Reliable {
    pub rseq: u32,
    pub sent: Option<SentReliable>,
    pub queue: VecDeque<(u16, Vec<u8>)>,
}

/// One that waits for its PRACK.
pub struct SentReliable {
    pub rseq: u32,
    pub bytes: Arc<[u8]>,
    pub target: Target,
    pub repeat: Repeat,
}

/// What the record of the leg will say. Of the INVITE only what stands in it is kept; it is taken apart when a record or
/// a view is made.
#[derive(Clone, Debug)]
pub struct Record {
    pub direction: Direction,
    call_id: Box<[u8]>,
    from: Box<[u8]>,
    uri: Box<[u8]>,
    pub created: Now,
    pub progress: Option<(Wall, u16)>,
    pub progress_at: Option<Instant>,
    pub answered: Option<Now>,
    pub final_answer: Option<(u16, String)>,
    pub tags: Vec<(String, String)>,
}

impl Inbound {
    pub fn new(tx: ServerTx, flow: &Flow, message: &Message<'_>) -> Self {
        Inbound { tx, flow: *flow, raw: message.raw().into() }
    }

    /// The request again; it was checked when it came.
    pub fn message(&self) -> Message<'_> {
        match Message::parse(&self.raw, Framing::Stream) {
            Ok(message) => message,
            Err(malformed) => malformed.into_readable(),
        }
    }
}

impl Record {
    pub fn new(now: Now, direction: Direction, invite: &Message<'_>) -> Self {
        Record {
            direction,
            call_id: invite.call_id().into(),
            from: unfold(invite.from().raw).into(),
            uri: invite.request().map(|line| line.uri).unwrap_or_default().into(),
            created: now,
            progress: None,
            progress_at: None,
            answered: None,
            final_answer: None,
            tags: headers::tags(invite),
        }
    }

    /// Call-ID of the leg's dialog.
    pub fn sip_call_id(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.call_id)
    }

    /// User part of From.
    pub fn caller(&self) -> String {
        let uri = NameAddr::read(&self.from).parsed();
        uri.and_then(|uri| uri.user_text().map(|user| text(&user))).unwrap_or_default()
    }

    /// User part of the Request-URI.
    pub fn callee(&self) -> String {
        Uri::parse(&self.uri).and_then(|uri| uri.user_text().map(|user| text(&user))).unwrap_or_default()
    }

    /// The record of the leg as far as the INVITE tells it; what came later is for the caller to fill in.
    pub fn begin(&self, call: CallId, leg: u16) -> Cdr {
        let from = NameAddr::read(&self.from);
        let (final_status, final_reason) = match &self.final_answer {
            Some((code, reason)) => (Some(*code), reason.clone()),
            None => (None, String::new()),
        };
        Cdr {
            call,
            leg,
            direction: self.direction,
            trunk: None,
            group: None,
            route: None,
            account: None,
            account_code: None,
            sip_call_id: self.sip_call_id().into_owned(),
            from_user: self.caller(),
            from_name: text(&from.display_text()),
            from_header: text(&self.from),
            to_user: self.callee(),
            to_host: Uri::parse(&self.uri).map(|uri| text(uri.host)).unwrap_or_default(),
            to_uri: text(&self.uri),
            local: None,
            remote: None,
            created: self.created.wall,
            progress: self.progress.map(|(at, _)| at),
            progress_status: self.progress.map(|(_, code)| code),
            progress_reason: String::new(),
            answered: self.answered.map(|at| at.wall),
            final_status,
            final_reason,
            ended: self.created.wall,
            post_dial_delay: self.progress_at.map(|at| at.since(self.created.mono)),
            duration: Duration::ZERO,
            released_by: ReleasedBy::Engine,
            release_cause: String::new(),
            release_reason: None,
            policy: None,
            billable: self.answered.is_some(),
            price_per_minute: None,
            cost: None,
            tags: self.tags.clone(),
            quality: None,
        }
    }
}

/// Octets as text; what is not UTF-8 is replaced.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Leg {
    pub fn new(
        number: u16,
        side: Side,
        trunk: usize,
        target: Target,
        public: SocketAddr,
        record: Record,
    ) -> Self {
        Leg {
            number,
            side,
            trunk,
            target,
            public,
            local_tag: Vec::new(),
            dialog: None,
            pending: None,
            forks: Vec::new(),
            client: None,
            invite: None,
            unacked: None,
            ack: None,
            reliable: Reliable::default(),
            session: None,
            refreshing: false,
            allows_update: false,
            does_100rel: false,
            bye: None,
            bye_wanted: false,
            ended: false,
            record,
        }
    }

    pub fn token(&self, call: Key, what: What) -> Token {
        Token { call, leg: self.number, what }
    }

    pub fn contact(&self) -> String {
        match self.target.transport {
            Transport::Udp => format!("<sip:{}>", self.public),
            other => format!("<sip:{};transport={}>", self.public, other.param()),
        }
    }

    /// What the peer can do, as its INVITE or 2xx says.
    pub fn learn_abilities(&mut self, message: &Message<'_>) {
        if message.header(sip::message::Name::Allow).is_some() {
            self.allows_update = message.allows(Method::Update);
        }
        self.does_100rel |= message.supports(b"100rel") || message.requires(b"100rel");
    }

    /// Where a request within the dialog goes: to the next hop of its route set if that is an address that can be
    /// reached, else to where the peer's messages came from. Names are not looked up in the middle of a call.
    pub fn hop_of(target: Target, dialog: &Dialog) -> Target {
        let Some(uri) = Uri::parse(dialog.next_hop()) else { return target };
        let said = core::str::from_utf8(uri.host).ok().and_then(|h| h.parse::<IpAddr>().ok());
        let Some(ip) = said.filter(|ip| ip.is_ipv4() == target.remote.is_ipv4()) else { return target };
        let transport = uri.param(b"transport").and_then(Transport::parse).unwrap_or(Transport::Udp);
        let remote = SocketAddr::new(ip, uri.port.unwrap_or(transport.default_port()));
        // A private Contact behind a public source is a NAT, whose outer address is the only way in.
        let behind_nat =
            sdp::signalling_rank(Some(ip), Some(target.remote.ip())).is_some() && ip != target.remote.ip();
        if behind_nat || remote == target.remote || transport != target.transport {
            return target;
        }
        // A stream that still stands is used; only when it has gone is one opened to the Contact (RFC 5923).
        Target { remote, ..target }
    }

    /// A request within the dialog, without body: Via, Contact and the rest are in it.
    pub fn next_request(&mut self, desk: &mut Desk, method: Method<'_>) -> Option<(Writer, Target)> {
        let via = desk.via(self.target.transport, self.public);
        let contact = self.contact();
        let dialog = self.dialog.as_mut()?;
        let mut writer = dialog.next_request(method, &via);
        if matches!(method, Method::Invite | Method::Update) {
            writer.header("Contact", contact).header("Allow", headers::ALLOW);
            writer.header("Supported", "timer, 100rel");
        }
        let dialog = self.dialog.as_ref()?;
        Some((writer, Leg::hop_of(self.target, dialog)))
    }

    /// Acknowledges a 2xx to our INVITE, and keeps the ACK in case the 2xx comes again.
    pub fn send_ack(&mut self, desk: &mut Desk, cseq: u32, sdp: Option<&[u8]>) -> Option<Arc<[u8]>> {
        let via = desk.via(self.target.transport, self.public);
        let dialog = self.dialog.as_ref()?;
        let mut writer = dialog.ack(cseq, &via);
        if let Some(sdp) = sdp {
            writer.body(headers::SDP, sdp);
        }
        let bytes: Arc<[u8]> = writer.finish().into();
        let target = Leg::hop_of(self.target, dialog);
        desk.stack.send(target, Arc::clone(&bytes));
        self.ack = Some(SentAck { cseq, bytes: Arc::clone(&bytes), target });
        Some(bytes)
    }

    /// The next time that something of this leg is due, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let unacked = self.unacked.as_ref().map(|u| u.repeat.poll_timeout());
        let reliable = self.reliable.sent.as_ref().map(|r| r.repeat.poll_timeout());
        let session = self.session.as_ref().filter(|_| !self.ended).map(|s| (s.due(), "session_timer"));
        [unacked, reliable, session].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Whether nothing more is expected on this leg.
    pub fn is_done(&self) -> bool {
        let waits = self.bye.is_some() || self.client.is_some() || self.unacked.is_some();
        self.ended && !waits && !self.bye_wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a request goes to a peer that sent from `source` and wrote these fields.
    fn hop(source: &str, fields: &str) -> String {
        let invite = format!(
            "INVITE sip:1@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\n\
             To: <sip:1@h>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{fields}Content-Length: 0\r\n\r\n"
        );
        let message = Message::parse(invite.as_bytes(), Framing::Datagram).map_err(|e| e.class).unwrap();
        let dialog = Dialog::uas(&message, b"ours").unwrap();
        let target = Target {
            transport: Transport::Udp,
            listener: 0,
            local: None,
            remote: source.parse().unwrap(),
            stream: None,
        };
        Leg::hop_of(target, &dialog).remote.to_string()
    }

    #[test]
    fn requests_go_to_the_contact_unless_it_is_behind_a_nat() {
        let public = "198.51.100.7:5060";
        for (source, fields, expected) in [
            (public, "Contact: <sip:a@198.51.100.7>\r\n", public),
            (public, "Contact: <sip:a@198.51.100.7:5080>\r\n", "198.51.100.7:5080"),
            (public, "Contact: <sip:a@203.0.113.9>\r\n", "203.0.113.9:5060"),
            (public, "Contact: <sip:a@10.0.0.5:5060>\r\n", public),
            ("10.0.0.1:5060", "Contact: <sip:a@10.0.0.5:5070>\r\n", "10.0.0.5:5070"),
            (public, "Contact: <sip:a@phone.example>\r\n", public),
            (public, "Contact: <sip:a@203.0.113.9;transport=tcp>\r\n", public),
            (public, "Contact: <sip:a@[2001:db8::9]>\r\n", public),
            ("[2001:db8::7]:5060", "Contact: <sip:a@[2001:db8::9]:5070>\r\n", "[2001:db8::9]:5070"),
            (
                public,
                "Record-Route: <sip:203.0.113.20:5090;lr>\r\nContact: <sip:a@10.0.0.5>\r\n",
                "203.0.113.20:5090",
            ),
        ] {
            assert_eq!(hop(source, fields), expected, "{fields}");
        }
    }
}
