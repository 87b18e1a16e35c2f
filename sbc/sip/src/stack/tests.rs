//! The stack with a peer made of text, in virtual time. A ladder of `>` (sent), `<` (shown to the user) and `!`
//! (happened without a message) is compared with what the RFCs say.

use super::*;
use crate::flow::Transport;
use crate::frame::Framing;
use crate::message::write::Writer;
use core::fmt::Write;

/// A stack, its clock and the ladder so far.
pub(super) struct Bench {
    pub(super) stack: Stack<u32>,
    pub(super) now: Instant,
    pub(super) flow: Flow,
    ladder: String,
    /// Bytes of all that was sent.
    pub(super) sent: Vec<Transmit>,
}

impl Bench {
    fn new() -> Self {
        Bench::with(Limits { servers_max: 16, clients_max: 16 })
    }

    pub(super) fn with(limits: Limits) -> Self {
        let now = Instant(0);
        Bench {
            stack: Stack::new(now, Timers::default(), limits, HashKey::new([1, 2])),
            now,
            flow: Flow {
                transport: Transport::Udp,
                listener: 3,
                local: address("192.0.2.9:5060"),
                remote: address("192.0.2.1:5060"),
                stream: None,
            },
            ladder: String::new(),
            sent: Vec::new(),
        }
    }

    fn over_tcp() -> Self {
        let mut bench = Bench::new();
        bench.flow.transport = Transport::Tcp;
        bench.flow.stream = Some(FlowId { index: 4, generation: 1 });
        bench
    }

    /// Writes what came out down.
    pub(super) fn drain(&mut self) {
        let ms = self.now.0 / 1_000_000;
        while let Some(transmit) = self.stack.poll_output() {
            let message = Message::parse(&transmit.bytes, Framing::Datagram).expect("what we send is SIP");
            let line = transmit.bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line).replace(" SIP/2.0", "").replace("SIP/2.0 ", "");
            let again = if transmit.repeated { " again" } else { "" };
            writeln!(self.ladder, "{ms} > {line} ({}){again}", String::from_utf8_lossy(cseq(&message)))
                .unwrap();
            self.sent.push(transmit);
        }
        while let Some(event) = self.stack.poll_event() {
            let text = match event {
                Event::TimedOut { token, .. } => format!("TimedOut {token}"),
                Event::TransportFailed { token, .. } => format!("TransportFailed {token}"),
                Event::NoAck { token, .. } => format!("NoAck {token:?}"),
            };
            writeln!(self.ladder, "{ms} ! {text}").unwrap();
        }
    }

    /// Lets time pass, timers fire.
    pub(super) fn pass_until(&mut self, ms: u64) {
        let end = Instant(ms * 1_000_000);
        while let Some((at, _)) = self.stack.poll_timeout()
            && at <= end
        {
            self.now = self.now.max(at);
            self.stack.handle_timeout(self.now);
            self.drain();
        }
        self.now = self.now.max(end);
    }

    pub(super) fn receive(&mut self, text: &str) -> Incoming<u32> {
        let bytes = text.replace('\n', "\r\n").into_bytes();
        let message = Message::parse(&bytes, Framing::Datagram).expect(text);
        let incoming = self.stack.handle_message(self.now, &self.flow, &message);
        if let Incoming::Response { token, .. } | Incoming::Stray2xx { token, .. } = incoming {
            let ms = self.now.0 / 1_000_000;
            let kind = if matches!(incoming, Incoming::Stray2xx { .. }) { "Stray2xx" } else { "Response" };
            let status = message.status().unwrap_or_default();
            writeln!(self.ladder, "{ms} < {kind} {status} for {token}").unwrap();
        }
        self.drain();
        incoming
    }

    fn receive_request(&mut self, text: &str) -> ServerTx {
        match self.receive(text) {
            Incoming::Request(tx) => tx,
            other => panic!("{other:?} for {text}"),
        }
    }

    fn respond(&mut self, tx: ServerTx, code: u16, request: &str) -> bool {
        let bytes = request.replace('\n', "\r\n").into_bytes();
        let request = Message::parse(&bytes, Framing::Datagram).expect("a request");
        let reply = Writer::reply_from(&request, self.flow.remote, code, Some(b"ours")).finish();
        let sent = self.stack.respond(self.now, tx, code, reply);
        self.drain();
        sent
    }

    fn request(&mut self, token: u32, text: &str) -> ClientTx {
        let target = self.flow.back();
        let bytes = text.replace('\n', "\r\n").into_bytes();
        let tx = self.stack.request(self.now, target, token, bytes).expect("there is room");
        self.drain();
        tx
    }

    fn cancel(&mut self, tx: ClientTx) {
        self.stack.cancel(self.now, tx, Some(b"SIP;cause=200"));
        self.drain();
    }

    /// The ladder since the last call.
    fn ladder(&mut self) -> String {
        core::mem::take(&mut self.ladder)
    }

    fn last_sent(&self) -> String {
        String::from_utf8(self.sent.last().expect("something was sent").bytes.to_vec())
            .expect("text")
            .replace('\r', "")
    }

    pub(super) fn assert_empty(&self) {
        assert_eq!((self.stack.servers_len(), self.stack.clients_len()), (0, 0));
        let ids = (self.stack.server_ids.len(), self.stack.client_ids.len(), self.stack.merged_ids.len());
        assert_eq!(ids, (0, 0, 0));
        assert!(self.stack.streams.is_empty());
    }
}

fn address(text: &str) -> std::net::SocketAddr {
    text.parse().expect("an address")
}

fn cseq<'a>(message: &Message<'a>) -> &'a [u8] {
    message.header(crate::message::Name::CSeq).unwrap_or_default()
}

/// A request of the peer.
pub(super) fn theirs(method: &str, branch: &str, cseq: u32, to_tag: &str) -> String {
    let cseq_method = method;
    format!(
        "{method} sip:bob@192.0.2.9 SIP/2.0\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;branch={branch}\n\
         Max-Forwards: 70\n\
         From: <sip:alice@a.example>;tag=a1\n\
         To: <sip:bob@b.example>{to_tag}\n\
         Call-ID: call-1@a.example\n\
         CSeq: {cseq} {cseq_method}\n\
         Content-Length: 0\n\n"
    )
}

/// A request of ours.
pub(super) fn ours(method: &str, branch: &str) -> String {
    format!(
        "{method} sip:carol@c.example SIP/2.0\n\
         Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch={branch}\n\
         Route: <sip:p1.example;lr>, <sip:p2.example;lr>\n\
         Route: <sip:p3.example;lr>\n\
         Max-Forwards: 69\n\
         From: \"Bob\" <sip:bob@b.example>;tag=b1\n\
         To: <sip:carol@c.example>\n\
         Call-ID: call-2@b.example\n\
         CSeq: 17 {method}\n\
         Contact: <sip:bob@192.0.2.9>\n\
         Content-Length: 0\n\n"
    )
}

/// The peer's response to a request of ours.
pub(super) fn answer(code: u16, method: &str, branch: &str, to_tag: &str) -> String {
    format!(
        "SIP/2.0 {code} Text\n\
         Via: SIP/2.0/UDP 192.0.2.9:5060;rport=5060;received=192.0.2.9;branch={branch}\n\
         From: \"Bob\" <sip:bob@b.example>;tag=b1\n\
         To: <sip:carol@c.example>{to_tag}\n\
         Call-ID: call-2@b.example\n\
         CSeq: 17 {method}\n\
         Content-Length: 0\n\n"
    )
}

const B: &str = "z9hG4bKours1";
const P: &str = "z9hG4bKpeer1";

#[test]
fn a_call_out_that_is_answered_by_two_forks() {
    let mut bench = Bench::new();
    bench.request(7, &ours("INVITE", B));
    bench.pass_until(600);
    bench.receive(&answer(100, "INVITE", B, ""));
    bench.pass_until(2000);
    bench.receive(&answer(180, "INVITE", B, ";tag=c1"));
    bench.receive(&answer(180, "INVITE", B, ";tag=c1"));
    bench.receive(&answer(200, "INVITE", B, ";tag=c1"));
    bench.receive(&answer(200, "INVITE", B, ";tag=c2"));
    bench.pass_until(2500);
    bench.receive(&answer(200, "INVITE", B, ";tag=c1"));
    assert_eq!(bench.receive(&answer(183, "INVITE", B, ";tag=c1")), Incoming::Absorbed);
    bench.pass_until(40_000);
    assert_eq!(bench.receive(&answer(200, "INVITE", B, ";tag=c1")), Incoming::Stray);
    insta::assert_snapshot!(bench.ladder(), @"
    0 > INVITE sip:carol@c.example (17 INVITE)
    500 > INVITE sip:carol@c.example (17 INVITE) again
    600 < Response 100 for 7
    2000 < Response 180 for 7
    2000 < Response 180 for 7
    2000 < Response 200 for 7
    2000 < Response 200 for 7
    2500 < Response 200 for 7
    ");
    bench.assert_empty();
}

#[test]
fn a_call_out_that_nobody_answers() {
    let mut bench = Bench::new();
    bench.request(7, &ours("INVITE", B));
    bench.pass_until(60_000);
    insta::assert_snapshot!(bench.ladder(), @"
    0 > INVITE sip:carol@c.example (17 INVITE)
    500 > INVITE sip:carol@c.example (17 INVITE) again
    1500 > INVITE sip:carol@c.example (17 INVITE) again
    3500 > INVITE sip:carol@c.example (17 INVITE) again
    7500 > INVITE sip:carol@c.example (17 INVITE) again
    15500 > INVITE sip:carol@c.example (17 INVITE) again
    31500 > INVITE sip:carol@c.example (17 INVITE) again
    32000 ! TimedOut 7
    ");
    assert_eq!(bench.stack.counts().resent, 6);
    bench.assert_empty();
}

#[test]
fn a_failure_is_acknowledged_on_the_way_of_the_invite() {
    let mut bench = Bench::new();
    bench.request(7, &ours("INVITE", B));
    bench.flow.remote = address("192.0.2.77:9999"); // answers may come from elsewhere
    bench.receive(&answer(486, "INVITE", B, ";tag=c1"));
    insta::assert_snapshot!(bench.last_sent(), @"
    ACK sip:carol@c.example SIP/2.0
    Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bKours1
    Route: <sip:p1.example;lr>, <sip:p2.example;lr>
    Route: <sip:p3.example;lr>
    Max-Forwards: 70
    From: \"Bob\" <sip:bob@b.example>;tag=b1
    To: <sip:carol@c.example>;tag=c1
    Call-ID: call-2@b.example
    CSeq: 17 ACK
    Content-Length: 0
    ");
    assert_eq!(bench.sent[0].target, bench.sent[1].target);
    bench.pass_until(900);
    assert_eq!(bench.receive(&answer(486, "INVITE", B, ";tag=c1")), Incoming::Absorbed);
    bench.receive(&answer(200, "INVITE", B, ";tag=c2"));
    bench.pass_until(33_000);
    insta::assert_snapshot!(bench.ladder(), @"
    0 > INVITE sip:carol@c.example (17 INVITE)
    0 < Response 486 for 7
    0 > ACK sip:carol@c.example (17 ACK)
    900 > ACK sip:carol@c.example (17 ACK) again
    900 < Stray2xx 200 for 7
    ");
    bench.assert_empty();
}

#[test]
fn a_failure_over_a_stream_leaves_nothing_behind() {
    let mut bench = Bench::over_tcp();
    bench.request(7, &ours("INVITE", B));
    bench.receive(&answer(404, "INVITE", B, ";tag=c1"));
    insta::assert_snapshot!(bench.ladder(), @"
    0 > INVITE sip:carol@c.example (17 INVITE)
    0 < Response 404 for 7
    0 > ACK sip:carol@c.example (17 ACK)
    ");
    bench.assert_empty();
}

#[test]
fn cancel_waits_for_a_provisional_response() {
    let mut bench = Bench::new();
    let tx = bench.request(7, &ours("INVITE", B));
    bench.cancel(tx);
    bench.cancel(tx);
    bench.pass_until(600);
    bench.receive(&answer(100, "INVITE", B, ""));
    insta::assert_snapshot!(bench.last_sent(), @"
    CANCEL sip:carol@c.example SIP/2.0
    Via: SIP/2.0/UDP 192.0.2.9:5060;rport;branch=z9hG4bKours1
    Route: <sip:p1.example;lr>, <sip:p2.example;lr>
    Route: <sip:p3.example;lr>
    Max-Forwards: 70
    From: \"Bob\" <sip:bob@b.example>;tag=b1
    To: <sip:carol@c.example>
    Call-ID: call-2@b.example
    CSeq: 17 CANCEL
    Reason: SIP;cause=200
    Content-Length: 0
    ");
    bench.pass_until(1200);
    assert_eq!(bench.receive(&answer(200, "CANCEL", B, ";tag=c1")), Incoming::Absorbed);
    bench.receive(&answer(487, "INVITE", B, ";tag=c1"));
    bench.pass_until(40_000);
    insta::assert_snapshot!(bench.ladder(), @"
    0 > INVITE sip:carol@c.example (17 INVITE)
    500 > INVITE sip:carol@c.example (17 INVITE) again
    600 < Response 100 for 7
    600 > CANCEL sip:carol@c.example (17 CANCEL)
    1100 > CANCEL sip:carol@c.example (17 CANCEL) again
    1200 < Response 487 for 7
    1200 > ACK sip:carol@c.example (17 ACK)
    ");
    bench.assert_empty();
}

#[test]
fn cancel_goes_at_once_while_it_rings_and_the_peer_may_stay_silent() {
    let mut bench = Bench::over_tcp();
    let tx = bench.request(7, &ours("INVITE", B));
    bench.receive(&answer(180, "INVITE", B, ";tag=c1"));
    bench.pass_until(5000);
    bench.cancel(tx);
    bench.pass_until(80_000);
    insta::assert_snapshot!(bench.ladder(), @"
    0 > INVITE sip:carol@c.example (17 INVITE)
    0 < Response 180 for 7
    5000 > CANCEL sip:carol@c.example (17 CANCEL)
    37000 ! TimedOut 7
    ");
    bench.assert_empty();
}

#[test]
fn no_cancel_goes_when_the_final_response_comes_first() {
    let mut bench = Bench::new();
    let tx = bench.request(7, &ours("INVITE", B));
    bench.cancel(tx);
    bench.receive(&answer(200, "INVITE", B, ";tag=c1"));
    bench.cancel(tx);
    insta::assert_snapshot!(bench.ladder(), @"
    0 > INVITE sip:carol@c.example (17 INVITE)
    0 < Response 200 for 7
    ");
}

#[test]
fn a_2xx_that_crosses_the_cancel_is_shown() {
    let mut bench = Bench::new();
    let tx = bench.request(7, &ours("INVITE", B));
    bench.receive(&answer(180, "INVITE", B, ";tag=c1"));
    bench.cancel(tx);
    bench.receive(&answer(200, "INVITE", B, ";tag=c1"));
    assert_eq!(bench.receive(&answer(481, "CANCEL", B, ";tag=c1")), Incoming::Absorbed);
    bench.pass_until(40_000);
    insta::assert_snapshot!(bench.ladder(), @"
    0 > INVITE sip:carol@c.example (17 INVITE)
    0 < Response 180 for 7
    0 > CANCEL sip:carol@c.example (17 CANCEL)
    0 < Response 200 for 7
    ");
    bench.assert_empty();
}

#[test]
fn a_request_that_is_no_invite_is_answered_once() {
    let mut bench = Bench::new();
    bench.request(7, &ours("OPTIONS", B));
    bench.pass_until(600);
    bench.receive(&answer(200, "OPTIONS", B, ";tag=c1"));
    assert_eq!(bench.receive(&answer(200, "OPTIONS", B, ";tag=c1")), Incoming::Absorbed);
    bench.pass_until(10_000);
    insta::assert_snapshot!(bench.ladder(), @"
    0 > OPTIONS sip:carol@c.example (17 OPTIONS)
    500 > OPTIONS sip:carol@c.example (17 OPTIONS) again
    600 < Response 200 for 7
    ");
    bench.assert_empty();
}

#[test]
fn responses_that_are_not_ours_are_dropped() {
    let mut bench = Bench::new();
    bench.request(7, &ours("INVITE", B));
    for text in [
        answer(200, "INVITE", "z9hG4bKother", ""),
        answer(200, "BYE", B, ""),
        answer(200, "CANCEL", B, ""),
        answer(200, "INVITE", B, "").replace("192.0.2.9:5060", "192.0.2.8:5060"),
        answer(200, "INVITE", B, "").replace("192.0.2.9:5060", "192.0.2.9:5070"),
        answer(200, "INVITE", B, "").replace("From:", "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\nFrom:"),
        answer(200, "INVITE", B, "").replace(";branch=z9hG4bKours1", ""),
    ] {
        assert_eq!(bench.receive(&text), Incoming::Stray, "{text}");
    }
    assert_eq!(bench.stack.counts().stray, 7);
}

#[test]
fn a_torture_response_for_a_broadcast_address_is_dropped() {
    let root = std::env::var("STROWGER_TESTDATA")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/testdata").to_owned());
    let path = std::path::Path::new(&root).join("sip/rfc4475/bcast.dat");
    let Ok(bytes) = std::fs::read(&path) else {
        #[expect(clippy::print_stderr, reason = "an absent corpus is said aloud")]
        {
            eprintln!("ABSENT: {} (RFC 4475), the case is not run", path.display());
        }
        return;
    };
    let mut bench = Bench::new();
    let message = Message::parse(&bytes, Framing::Datagram).expect("bcast is well formed");
    assert_eq!(bench.stack.handle_message(bench.now, &bench.flow, &message), Incoming::Stray);
    bench.drain();
    assert!(bench.sent.is_empty());
}

#[test]
fn icmp_fails_requests_that_have_no_response_yet() {
    let mut bench = Bench::new();
    let (udp, peer) = (Transport::Udp, address("192.0.2.1:5060"));
    bench.request(1, &ours("INVITE", "z9hG4bK1"));
    bench.request(2, &ours("INVITE", "z9hG4bK2"));
    bench.request(3, &ours("OPTIONS", "z9hG4bK3"));
    bench.receive(&answer(100, "INVITE", "z9hG4bK2", ""));
    bench.ladder();
    bench.stack.handle_transport_error(udp, address("192.0.2.2:5060"), None);
    bench.stack.handle_transport_error(Transport::Tcp, peer, None);
    bench.stack.handle_transport_error(udp, address("192.0.2.2:5060"), Some(b"z9hG4bK1"));
    bench.stack.handle_transport_error(udp, peer, Some(b"z9hG4bKunknown"));
    bench.drain();
    assert_eq!(bench.ladder(), "");
    bench.stack.handle_transport_error(udp, peer, Some(b"z9hG4bK1"));
    bench.stack.handle_transport_error(udp, peer, Some(b"z9hG4bK2"));
    bench.drain();
    insta::assert_snapshot!(bench.ladder(), @"0 ! TransportFailed 1");
    bench.stack.handle_transport_error(udp, peer, None);
    bench.drain();
    insta::assert_snapshot!(bench.ladder(), @"0 ! TransportFailed 3");
    assert_eq!(bench.stack.clients_len(), 1, "the INVITE that has an answer goes on");
}

#[test]
fn a_closed_connection_fails_its_requests() {
    let mut bench = Bench::over_tcp();
    let stream = bench.flow.stream.unwrap();
    bench.request(1, &ours("OPTIONS", "z9hG4bK1"));
    let tx = bench.request(2, &ours("OPTIONS", "z9hG4bK2"));
    bench.stack.handle_send_failed(tx);
    bench.stack.handle_stream_failed(FlowId { generation: 2, ..stream });
    bench.drain();
    bench.stack.handle_stream_failed(stream);
    bench.stack.handle_stream_failed(stream);
    bench.stack.handle_send_failed(tx);
    bench.drain();
    insta::assert_snapshot!(bench.ladder(), @"
    0 > OPTIONS sip:carol@c.example (17 OPTIONS)
    0 > OPTIONS sip:carol@c.example (17 OPTIONS)
    0 ! TransportFailed 2
    0 ! TransportFailed 1
    ");
    bench.assert_empty();
}

#[test]
fn a_repeated_invite_is_answered_with_the_last_response() {
    let (mut bench, invite) = (Bench::new(), theirs("INVITE", P, 1, ""));
    let tx = bench.receive_request(&invite);
    assert_eq!(bench.receive(&invite), Incoming::Absorbed, "nothing to repeat yet");
    let bytes = invite.replace('\n', "\r\n").into_bytes();
    let message = Message::parse(&bytes, Framing::Datagram).unwrap();
    bench.stack.trying(bench.now, tx, &bench.flow, &message);
    bench.stack.trying(bench.now, tx, &bench.flow, &message);
    bench.drain();
    bench.receive(&invite);
    assert!(bench.respond(tx, 180, &invite));
    bench.receive(&invite);
    bench.stack.set_token(tx, 5);
    assert_eq!((bench.stack.token(tx), bench.stack.is_unanswered(tx)), (Some(5), true));
    assert!(bench.respond(tx, 486, &invite) && !bench.stack.is_unanswered(tx));
    bench.pass_until(100);
    bench.receive(&invite);
    bench.pass_until(600);
    assert_eq!(bench.receive(&theirs("ACK", P, 1, ";tag=ours")), Incoming::Absorbed);
    assert_eq!(bench.receive(&invite), Incoming::Absorbed);
    assert_eq!(bench.receive(&theirs("ACK", P, 1, ";tag=ours")), Incoming::Absorbed);
    bench.pass_until(6000);
    insta::assert_snapshot!(bench.ladder(), @"
    0 > 100 Trying (1 INVITE)
    0 > 100 Trying (1 INVITE) again
    0 > 180 Ringing (1 INVITE)
    0 > 180 Ringing (1 INVITE) again
    0 > 486 Busy Here (1 INVITE)
    100 > 486 Busy Here (1 INVITE) again
    500 > 486 Busy Here (1 INVITE) again
    ");
    assert_eq!((bench.stack.counts().requests_repeated, bench.stack.token(tx)), (5, None));
    bench.assert_empty();
}

#[test]
fn a_failure_without_ack_is_reported() {
    let (mut bench, invite) = (Bench::over_tcp(), theirs("INVITE", P, 1, ""));
    let tx = bench.receive_request(&invite);
    bench.stack.set_token(tx, 5);
    bench.respond(tx, 503, &invite);
    bench.pass_until(60_000);
    insta::assert_snapshot!(bench.ladder(), @"
    0 > 503 Service Unavailable (1 INVITE)
    32000 ! NoAck Some(5)
    ");
    bench.assert_empty();
}

#[test]
fn a_2xx_is_the_users_to_repeat_and_its_ack_the_users_to_see() {
    let (mut bench, invite) = (Bench::new(), theirs("INVITE", P, 1, ""));
    let tx = bench.receive_request(&invite);
    assert!(bench.respond(tx, 200, &invite));
    assert_eq!(bench.receive(&invite), Incoming::Absorbed);
    bench.pass_until(500);
    assert!(bench.respond(tx, 200, &invite) && !bench.respond(tx, 500, &invite));
    assert_eq!(bench.receive(&theirs("ACK", "z9hG4bKpeer2", 1, ";tag=ours")), Incoming::Ack);
    // RFC 2543 devices give the ACK the branch of the INVITE.
    assert_eq!(bench.receive(&theirs("ACK", P, 1, ";tag=ours")), Incoming::Ack);
    bench.pass_until(40_000);
    assert_eq!(bench.receive(&theirs("ACK", P, 1, ";tag=ours")), Incoming::Ack);
    insta::assert_snapshot!(bench.ladder(), @"
    0 > 200 OK (1 INVITE)
    500 > 200 OK (1 INVITE)
    ");
    bench.assert_empty();
}

#[test]
fn a_request_is_answered_again_until_timer_j() {
    let (mut bench, bye) = (Bench::new(), theirs("BYE", P, 2, ";tag=ours"));
    let tx = bench.receive_request(&bye);
    assert_eq!(bench.receive(&bye), Incoming::Absorbed);
    bench.respond(tx, 200, &bye);
    bench.pass_until(31_000);
    bench.receive(&bye);
    bench.pass_until(32_000);
    let again = bench.receive_request(&bye);
    assert_ne!(tx, again);
    bench.pass_until(70_000);
    insta::assert_snapshot!(bench.ladder(), @"
    0 > 200 OK (2 BYE)
    31000 > 200 OK (2 BYE) again
    ");
    assert_eq!(bench.stack.counts().unanswered, 1, "the second was never answered");
    bench.assert_empty();
}

#[test]
fn a_cancel_finds_its_invite() {
    let (mut bench, invite) = (Bench::new(), theirs("INVITE", P, 1, ""));
    let tx = bench.receive_request(&invite);
    let Incoming::Cancel { cancel, invite: found } = bench.receive(&theirs("CANCEL", P, 1, "")) else {
        panic!("the CANCEL has the branch of the INVITE");
    };
    assert_eq!(found, tx);
    assert!(bench.respond(cancel, 200, &theirs("CANCEL", P, 1, "")));
    assert!(bench.respond(found, 487, &invite));
    assert_eq!(bench.receive(&theirs("CANCEL", P, 1, "")), Incoming::Absorbed);
    assert_eq!(bench.receive(&theirs("ACK", P, 1, ";tag=ours")), Incoming::Absorbed);
    assert_eq!(bench.receive(&theirs("CANCEL", "z9hG4bKnone", 1, "")), Incoming::Absorbed);
    bench.pass_until(40_000);
    insta::assert_snapshot!(bench.ladder(), @"
    0 > 200 OK (1 CANCEL)
    0 > 487 Request Terminated (1 INVITE)
    0 > 200 OK (1 CANCEL) again
    0 > 481 Call/Transaction Does Not Exist (1 CANCEL)
    ");
    assert_eq!(bench.stack.counts().cancel_unmatched, 1);
    bench.assert_empty();
}

#[test]
fn a_cancel_of_a_request_that_is_no_invite_finds_nothing() {
    let mut bench = Bench::new();
    bench.receive_request(&theirs("OPTIONS", P, 1, ""));
    assert_eq!(bench.receive(&theirs("CANCEL", P, 1, "")), Incoming::Absorbed);
    insta::assert_snapshot!(bench.ladder(), @"0 > 481 Call/Transaction Does Not Exist (1 CANCEL)");
}

#[test]
fn a_copy_that_came_another_way_is_refused() {
    let mut bench = Bench::new();
    let (first, second) = (theirs("INVITE", P, 1, ""), theirs("INVITE", "z9hG4bKpeer2", 1, ""));
    let tx = bench.receive_request(&first);
    assert_eq!(bench.receive(&second), Incoming::Absorbed);
    let once = bench.last_sent();
    bench.receive(&second);
    assert_eq!(bench.last_sent(), once, "the same copy gets the same answer, with the same tag");
    bench.receive_request(&theirs("INVITE", "z9hG4bKpeer3", 1, ";tag=ours")); // within a dialog: no copy
    bench.receive_request(&theirs("INVITE", "z9hG4bKpeer4", 2, ""));
    assert!(bench.respond(tx, 401, &first));
    bench.receive_request(&second); // tries again with the same CSeq: wrong, but done
    insta::assert_snapshot!(bench.ladder(), @"
    0 > 482 Loop Detected (1 INVITE)
    0 > 482 Loop Detected (1 INVITE)
    0 > 401 Unauthorized (1 INVITE)
    ");
    assert_eq!(bench.stack.counts().merged, 2);
}

#[test]
fn rfc_2543_requests_are_matched_by_what_they_say() {
    for branch in ["1", "z9hG4bK"] {
        let (mut bench, invite) = (Bench::new(), theirs("INVITE", branch, 1, ""));
        let tx = bench.receive_request(&invite);
        assert_eq!(bench.receive(&invite), Incoming::Absorbed);
        let Incoming::Cancel { cancel, invite: found } = bench.receive(&theirs("CANCEL", branch, 1, ""))
        else {
            panic!("a CANCEL is matched by its fields");
        };
        assert_eq!(found, tx);
        bench.respond(cancel, 200, &theirs("CANCEL", branch, 1, ""));
        bench.respond(tx, 487, &invite);
        let ack = theirs("ACK", branch, 1, ";tag=ours");
        assert_eq!(bench.receive(&ack.replace("tag=ours", "tag=other")), Incoming::Ack);
        assert_eq!(bench.receive(&ack.replace("call-1", "call-2")), Incoming::Ack);
        assert_eq!(bench.receive(&ack), Incoming::Absorbed);
        bench.receive_request(&theirs("BYE", branch, 2, ";tag=ours"));
        bench.receive_request(&theirs("INVITE", branch, 3, ";tag=ours"));
        insta::allow_duplicates! {
            insta::assert_snapshot!(bench.ladder(), @"
            0 > 200 OK (1 CANCEL)
            0 > 487 Request Terminated (1 INVITE)
            ");
        }
    }
}

#[test]
fn the_same_branch_of_another_host_is_another_transaction() {
    let (mut bench, invite) = (Bench::new(), theirs("OPTIONS", P, 1, ""));
    let tx = bench.receive_request(&invite);
    let other = invite.replace("Via: SIP/2.0/UDP 192.0.2.1", "Via: SIP/2.0/UDP host.example");
    assert_ne!(bench.receive_request(&other.replace("call-1", "call-9")), tx);
    assert_eq!(
        bench.receive(&other.replace("call-1", "call-9").replace("host.", "HOST.")),
        Incoming::Absorbed
    );
}

#[test]
fn a_full_stack_refuses_new_calls_and_keeps_room_for_old_ones() {
    let mut bench = Bench::new(); // 16 places, 2 of them for dialogs
    let invite =
        |n: u32| theirs("INVITE", &format!("z9hG4bKpeer{n}"), 1, "").replace("call-1", &format!("call-{n}"));
    for n in 0..14 {
        bench.receive_request(&invite(n));
    }
    assert_eq!(bench.receive(&invite(14)), Incoming::Absorbed);
    insta::assert_snapshot!(bench.ladder(), @"0 > 503 Service Unavailable (1 INVITE)");
    assert!(bench.last_sent().contains("\nRetry-After: 5\n"));
    let bye = bench.receive_request(&theirs("BYE", "z9hG4bKbye", 2, ";tag=ours"));
    assert!(matches!(bench.receive(&theirs("CANCEL", "z9hG4bKpeer3", 1, "")), Incoming::Cancel { .. }));
    assert_eq!(bench.receive(&theirs("BYE", "z9hG4bKbye2", 2, ";tag=ours")), Incoming::Absorbed);
    assert_eq!(bench.ladder(), "", "it will be repeated");
    bench.stack.forget(bye);
    bench.receive_request(&theirs("BYE", "z9hG4bKbye2", 2, ";tag=ours"));
    assert_eq!(bench.stack.counts().full, 2);
}

#[test]
fn a_full_stack_sends_no_new_requests() {
    let mut bench = Bench::new();
    for n in 0..14 {
        bench.request(n, &ours("INVITE", &format!("z9hG4bK{n}")));
    }
    let now = bench.now;
    let target = bench.flow.back();
    let mut request = |text: String| {
        bench.stack.request(now, target, 99, text.replace('\n', "\r\n").into_bytes()).map(|_| ())
    };
    assert_eq!(request(ours("INVITE", "z9hG4bKx")), Err(NotSent::Full));
    let bye = |n: u32| {
        ours("BYE", &format!("z9hG4bKbye{n}"))
            .replace("<sip:carol@c.example>", "<sip:carol@c.example>;tag=c1")
    };
    assert_eq!((request(bye(0)), request(bye(1)), request(bye(2))), (Ok(()), Ok(()), Err(NotSent::Full)));
}

#[test]
fn what_cannot_be_a_request_of_ours_is_refused() {
    let mut bench = Bench::new();
    bench.request(1, &ours("OPTIONS", B));
    let (now, target) = (bench.now, bench.flow.back());
    for text in [
        ours("OPTIONS", B), // the branch is taken
        ours("OPTIONS", "z9hG4bK"),
        ours("ACK", "z9hG4bK7"),
        ours("CANCEL", "z9hG4bK7"),
        answer(200, "OPTIONS", "z9hG4bK7", ""),
        "rubbish".to_owned(),
    ] {
        let bytes = text.replace('\n', "\r\n").into_bytes();
        assert_eq!(bench.stack.request(now, target, 1, bytes), Err(NotSent::Malformed), "{text}");
    }
    let target = Target { remote: address("224.0.1.75:5060"), ..target };
    let bytes = ours("OPTIONS", "z9hG4bK8").replace('\n', "\r\n").into_bytes();
    assert_eq!(bench.stack.request(now, target, 1, bytes.clone()), Err(NotSent::NotOneHost));
    bench.stack.send(target, bytes);
    bench.drain();
    assert_eq!((bench.sent.len(), bench.stack.counts().not_one_host), (1, 2));
}

#[test]
fn responses_go_to_where_the_request_came_from() {
    let check = |via: &str, source: &str, transport: Transport, expected: &str| {
        let mut flow = Bench::new().flow;
        (flow.transport, flow.remote) = (transport, address(source));
        let target = reply_target(&flow, &crate::message::Via::read(via.as_bytes()).expect(via));
        assert_eq!(target.remote, address(expected), "{via} from {source}");
        assert_eq!((target.local, target.listener), (Some(flow.local), 3));
    };
    let udp = Transport::Udp;
    check("SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1", "192.0.2.1:5062", udp, "192.0.2.1:5070");
    check("SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", "192.0.2.1:5062", udp, "192.0.2.1:5060");
    check("SIP/2.0/UDP 192.0.2.1:5070;rport;branch=z9hG4bK1", "192.0.2.1:5062", udp, "192.0.2.1:5062");
    check("SIP/2.0/UDP 10.0.0.1:5070;branch=z9hG4bK1", "192.0.2.1:5062", udp, "192.0.2.1:5062");
    check("SIP/2.0/UDP pc.example;branch=z9hG4bK1", "192.0.2.1:5062", udp, "192.0.2.1:5062");
    check(
        "SIP/2.0/UDP 192.0.2.1;maddr=198.51.100.1;branch=z9hG4bK1",
        "192.0.2.1:5060",
        udp,
        "192.0.2.1:5060",
    );
    check("SIP/2.0/UDP [2001:db8::1]:5070;branch=z9hG4bK1", "[2001:db8::1]:9", udp, "[2001:db8::1]:5070");
    check(
        "SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1",
        "[::ffff:192.0.2.1]:9",
        udp,
        "[::ffff:192.0.2.1]:5070",
    );
    check("SIP/2.0/TCP 192.0.2.1:5070;branch=z9hG4bK1", "192.0.2.1:40000", Transport::Tcp, "192.0.2.1:40000");
}

#[test]
fn a_response_names_the_address_that_the_request_came_from() {
    let mut bench = Bench::new();
    bench.flow.remote = address("198.51.100.7:4444");
    bench.receive(&theirs("CANCEL", P, 1, ""));
    let sent = bench.sent.last().unwrap();
    assert_eq!(sent.target.remote, bench.flow.remote);
    assert!(bench.last_sent().contains("received=198.51.100.7"));
}

#[test]
fn branches_and_tags_differ() {
    let mut rng = Rng::from_seed(1);
    let (one, two) = (new_branch(&mut rng), new_branch(&mut rng));
    assert!(one.starts_with(b"z9hG4bK") && one.len() == 23 && one != two);
    assert_ne!(new_tag(&mut rng), new_tag(&mut rng));
}
