//! A datagram socket that speaks SIP by hand, for messages that no phone would send.

use super::SOON;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// One address that sends and receives single messages.
pub struct Phone {
    socket: UdpSocket,
}

impl Phone {
    /// At this address; port 0 for any.
    pub fn at(address: impl Into<SocketAddr>) -> Phone {
        let socket = UdpSocket::bind(address.into()).expect("the test's own address is free");
        Phone { socket }
    }

    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("a bound socket")
    }

    pub fn send(&self, to: SocketAddr, bytes: impl AsRef<[u8]>) {
        self.socket.send_to(bytes.as_ref(), to).expect("loopback takes a datagram");
    }

    /// The next message, or nothing within the time.
    pub fn receive_within(&self, within: Duration) -> Option<(String, SocketAddr)> {
        let mut buffer = vec![0; 65_536];
        self.socket.set_read_timeout(Some(within)).expect("a socket");
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((len, from)) => {
                    return Some((String::from_utf8_lossy(&buffer[..len]).into_owned(), from));
                }
                // An ICMP error of an earlier datagram.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
                Err(_) => return None,
            }
        }
    }

    /// The next message; a failure if there is none soon.
    pub fn receive(&self) -> String {
        self.receive_within(SOON).expect("a message").0
    }

    /// The next response with this status; others before it are let go.
    pub fn receive_status(&self, code: u16) -> String {
        self.receive_that(&format!("a {code}"), |message| status(message) == code)
    }

    /// The next request of this method; others before it are let go.
    pub fn receive_request(&self, method: &str) -> String {
        let start = format!("{method} ");
        self.receive_that(&start, |message| message.starts_with(&start))
    }

    /// The next final response.
    pub fn receive_that_is_final(&self) -> String {
        self.receive_that("a final response", |message| status(message) >= 200)
    }

    fn receive_that(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        const MESSAGES: usize = 50;
        let found = (0..MESSAGES).map(|_| self.receive()).find(|message| wanted(message));
        found.unwrap_or_else(|| panic!("{what} among {MESSAGES} messages"))
    }

    /// An INVITE with a plain offer.
    pub fn invite(&self, to: SocketAddr, number: &str, id: &str) -> String {
        self.request("INVITE", &format!("sip:{number}@{to}"), id, 1, SDP_TYPE, &self.sdp())
    }

    /// A description whose media port is 6000.
    pub fn sdp(&self) -> String {
        let ip = self.address().ip();
        let family = if ip.is_ipv4() { 4 } else { 6 };
        format!(
            "v=0\r\no=phone 1 1 IN IP{family} {ip}\r\ns=-\r\nc=IN IP{family} {ip}\r\nt=0 0\r\n\
             m=audio 6000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n"
        )
    }

    /// The CANCEL of an INVITE.
    pub fn cancel(invite: &str) -> String {
        hop_of(invite, "CANCEL", &field(invite, "To"))
    }

    /// The ACK of a final response: of the INVITE's transaction for a refusal, of its own for a 2xx.
    pub fn ack(invite: &str, response: &str) -> String {
        let ack = hop_of(invite, "ACK", &field(response, "To"));
        if status(response) >= 300 {
            return ack;
        }
        let uri = field(response, "Contact").trim_matches(['<', '>']).to_owned();
        let own = ack.replacen("branch=z9hG4bK", "branch=z9hG4bKack", 1);
        let (_, rest) = own.split_once(" SIP/2.0").expect("a request line");
        format!("ACK {uri} SIP/2.0{rest}")
    }

    /// A request within the dialog that an INVITE and its response made; the caller's side.
    pub fn in_dialog(&self, method: &str, invite: &str, response: &str, cseq: u32) -> String {
        let uri = field(response, "Contact").trim_matches(['<', '>']).to_owned();
        let mut text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {};rport;branch=z9hG4bKin{cseq}{method}\r\n",
            self.address()
        );
        for name in ["From", "Call-ID"] {
            text += &format!("{name}: {}\r\n", field(invite, name));
        }
        text += &format!("To: {}\r\n", field(response, "To"));
        text + &format!("CSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n")
    }

    /// An answer to a request that was received; a 183 and a 2xx of an INVITE hold a plain description.
    pub fn answer(&self, request: &str, code: u16) -> String {
        self.answer_with(request, code, "far", "")
    }

    /// As [`Phone::answer`], with a tag of its own and more header lines.
    pub fn answer_with(&self, request: &str, code: u16, tag: &str, more: &str) -> String {
        let mut text = format!("SIP/2.0 {code} Whatever\r\n");
        for name in ["Via", "From", "Call-ID", "CSeq"] {
            text += &format!("{name}: {}\r\n", field(request, name));
        }
        let to = field(request, "To");
        let tag = if to.contains(";tag=") { String::new() } else { format!(";tag={tag}") };
        text += &format!("To: {to}{tag}\r\nContact: <sip:phone@{}>\r\n{more}", self.address());
        let has_sdp = request.starts_with("INVITE ") && (code == 183 || code == 200);
        let body = if has_sdp { self.sdp() } else { String::new() };
        text += if has_sdp { SDP_TYPE } else { "" };
        text + &format!("Content-Length: {}\r\n\r\n{body}", body.len())
    }

    /// A request with the fields that every one needs; `more` are further header lines, each with CRLF.
    pub fn request(&self, method: &str, uri: &str, id: &str, cseq: u32, more: &str, body: &str) -> String {
        let me = self.address();
        let forwards = if more.contains("Max-Forwards") { "" } else { "Max-Forwards: 70\r\n" };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {me};rport;branch=z9hG4bK{id}{cseq}{method}\r\n\
             From: <sip:phone@{me}>;tag=t{id}\r\nTo: <{uri}>\r\nCall-ID: {id}@{me}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:phone@{me}>\r\n{forwards}{more}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

const SDP_TYPE: &str = "Content-Type: application/sdp\r\n";

/// A request of the same transaction as an INVITE.
fn hop_of(invite: &str, method: &str, to: &str) -> String {
    let line = invite.lines().next().expect("a request line").replacen("INVITE", method, 1);
    let mut text = format!("{line}\r\nTo: {to}\r\n");
    for name in ["Via", "From", "Call-ID", "Max-Forwards"] {
        text += &format!("{name}: {}\r\n", field(invite, name));
    }
    let cseq = field(invite, "CSeq").replacen("INVITE", method, 1);
    text + &format!("CSeq: {cseq}\r\nContent-Length: 0\r\n\r\n")
}

/// Value of the first header of this name; empty if there is none.
pub fn field(message: &str, name: &str) -> String {
    let head = message.split("\r\n\r\n").next().unwrap_or_default();
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let found = lines.find(|(n, _)| n.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

/// Status of a response; 0 for anything else.
pub fn status(message: &str) -> u16 {
    message
        .strip_prefix("SIP/2.0 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}
