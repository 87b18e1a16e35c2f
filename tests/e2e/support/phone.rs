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

/// Status of a response; 0 for anything else.
pub fn status(message: &str) -> u16 {
    message
        .strip_prefix("SIP/2.0 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}
