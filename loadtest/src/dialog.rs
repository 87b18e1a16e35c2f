//! What caller and callee have in common: outputs, retransmission, and the requests within a dialog
//! (RFC 3261 sections 12 and 17). Deliberately simple: one call is one dialog, over UDP.

use std::net::SocketAddr;

use sip::message::write::Writer;
use sip::message::{Message, Name, Uri};

use crate::session::Remote;
use crate::speech::Codec;

/// T1 of RFC 3261 section 17.1.1.1, nanoseconds.
pub(crate) const T1: u64 = 500_000_000;
/// T2: the longest gap between retransmissions other than INVITE's.
pub(crate) const T2: u64 = 4_000_000_000;
/// Timers B, F and H.
pub(crate) const GIVE_UP: u64 = 64 * T1;
/// How long a call that is over still answers what comes late: three of the longest gaps between repetitions.
pub(crate) const AFTERLIFE: u64 = 12_000_000_000;

/// What a party wants done.
#[derive(Debug)]
pub enum Output {
    /// Send this datagram.
    Send {
        /// Where to.
        to: SocketAddr,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Begin to send audio.
    Speak {
        /// Number of the call, the same for both its parties.
        call: u32,
        /// Index of the party's media socket.
        socket: usize,
        /// Where to.
        remote: Remote,
        /// In what.
        codec: Codec,
    },
    /// This party is silent until it speaks again.
    Rest(u32),
    /// This party sends digits within its audio (RFC 4733).
    Dial {
        /// Number of the call.
        call: u32,
        /// What is dialled.
        digits: String,
    },
    /// Both parties stop sending audio.
    Hush(u32),
}

/// A message that is sent again until it is answered.
#[derive(Debug)]
pub(crate) struct Resend {
    pub bytes: Vec<u8>,
    pub to: SocketAddr,
    pub at: u64,
    gap: u64,
    gap_max: u64,
    give_up_at: u64,
    /// A provisional response came.
    heard: bool,
}

impl Resend {
    /// For a message that is sent for the first time at `now`; gaps double up to `gap_max`.
    pub(crate) fn new(now: u64, bytes: Vec<u8>, to: SocketAddr, gap_max: u64) -> Self {
        Resend { bytes, to, at: now + T1, gap: T1, gap_max, give_up_at: now + GIVE_UP, heard: false }
    }

    /// A provisional response came: nothing is sent again, and the end is `ns` away from the first of them, however
    /// many come.
    pub(crate) fn on_provisional(&mut self, now: u64, ns: u64) {
        if !std::mem::replace(&mut self.heard, true) {
            self.wait(now, ns);
        }
    }

    /// Nothing is sent again, and the end is `ns` away.
    pub(crate) fn wait(&mut self, now: u64, ns: u64) {
        self.give_up_at = now.saturating_add(ns);
        self.at = self.give_up_at;
    }

    /// At its time: the datagram to send again, or `None` if it is time to give up.
    pub(crate) fn again(&mut self) -> Option<Output> {
        if self.at >= self.give_up_at {
            return None;
        }
        self.gap = (self.gap * 2).min(self.gap_max);
        self.at = (self.at + self.gap).min(self.give_up_at);
        Some(self.send())
    }

    pub(crate) fn send(&self) -> Output {
        Output::Send { to: self.to, bytes: self.bytes.clone() }
    }
}

/// Where requests within a dialog go.
#[derive(Debug)]
pub(crate) struct Dialog {
    /// From and To as this side's requests carry them.
    pub local: Vec<u8>,
    pub remote: Vec<u8>,
    /// Request-URI.
    pub target: Vec<u8>,
    /// Route values, in order.
    pub routes: Vec<Vec<u8>>,
    pub next_hop: SocketAddr,
}

impl Dialog {
    /// The caller's view, made from the 2xx; `fallback` is used where the next hop is no IP address.
    pub(crate) fn of_caller(answer: &Message<'_>, fallback: SocketAddr) -> Self {
        let mut routes: Vec<_> = answer.record_routes().map(|route| route.raw.to_vec()).collect();
        routes.reverse();
        Self::new(answer, Name::From, Name::To, routes, fallback)
    }

    /// The callee's view, made from the INVITE; `local` is To with the tag that it got.
    pub(crate) fn of_callee(invite: &Message<'_>, local: Vec<u8>, fallback: SocketAddr) -> Self {
        let routes = invite.record_routes().map(|route| route.raw.to_vec()).collect();
        Dialog { local, ..Self::new(invite, Name::To, Name::From, routes, fallback) }
    }

    /// A request within the dialog, to be completed.
    pub(crate) fn request(&self, method: &str, via: &str, call_id: &[u8], cseq: u32) -> Writer {
        let mut request = Writer::request(method.as_bytes(), &self.target);
        request.header("Via", via).header("Max-Forwards", "70");
        for route in &self.routes {
            request.header("Route", route);
        }
        request
            .header("From", &self.local)
            .header("To", &self.remote)
            .header("Call-ID", call_id)
            .header("CSeq", format!("{cseq} {method}"));
        request
    }

    fn new(
        message: &Message<'_>,
        local: Name,
        remote: Name,
        routes: Vec<Vec<u8>>,
        fallback: SocketAddr,
    ) -> Self {
        let field = |name| message.header(name).unwrap_or_default().to_vec();
        let target = message.contact().map_or_else(Vec::new, |contact| contact.uri.to_vec());
        let first = routes.first().map(|route| sip::message::NameAddr::read(route).uri);
        let next_hop = first.or(Some(&target)).and_then(address_of).unwrap_or(fallback);
        Dialog { local: field(local), remote: field(remote), target, next_hop, routes }
    }
}

/// The address of a URI whose host is an IP address.
pub(crate) fn address_of(uri: &[u8]) -> Option<SocketAddr> {
    let uri = Uri::parse(uri)?;
    let host = std::str::from_utf8(uri.host).ok()?.trim_matches(['[', ']']);
    Some(SocketAddr::new(host.parse().ok()?, uri.port.unwrap_or(5060)))
}

/// Calls have numbers below this one: as many as there are numbers to dial.
pub(crate) const NUMBERS: u32 = 8_000_000;

/// The number of a call in the number that it dials: `+1555` and seven digits, the first from 2 to 9.
pub(crate) fn number_of(call: u32) -> String {
    format!("+1555{}", 2_000_000 + call % NUMBERS)
}

/// The call that a dialled number belongs to: its last seven digits, whatever stands before.
pub(crate) fn call_of(user: &[u8]) -> Option<u32> {
    let digits = user.get(user.len().checked_sub(7)?..)?;
    let number: u32 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    number.checked_sub(2_000_000).filter(|_| digits.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_calls_however_prefixes_change() {
        for call in [0, 1, 4_711, 7_999_999] {
            assert_eq!(call_of(number_of(call).as_bytes()), Some(call));
            assert_eq!(call_of(number_of(call).replace("+1", "001").as_bytes()), Some(call));
        }
        for bad in ["", "123", "+15551000000", "+1555200000x", "+1555+200000"] {
            assert_eq!(call_of(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn gaps_double_and_end_after_64_t1() {
        let to = SocketAddr::from(([127, 0, 0, 1], 5060));
        let run = |gap_max| {
            let mut resend = Resend::new(0, vec![], to, gap_max);
            let mut at = Vec::new();
            loop {
                at.push(resend.at / 1_000_000);
                if resend.again().is_none() {
                    return at;
                }
            }
        };
        assert_eq!(run(u64::MAX), [500, 1500, 3500, 7500, 15500, 31500, 32000]);
        assert_eq!(run(T2), [500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500, 32000]);
    }

    #[test]
    fn provisional_responses_put_the_end_off_only_once() {
        let mut resend = Resend::new(0, vec![], SocketAddr::from(([127, 0, 0, 1], 5060)), T2);
        for second in 1..100 {
            resend.on_provisional(second * 1_000_000_000, 32_000_000_000);
        }
        assert_eq!(resend.at, 33_000_000_000);
        assert!(resend.again().is_none());
    }

    #[test]
    fn uris_with_ip_addresses_are_next_hops() {
        let of = |uri: &str| address_of(uri.as_bytes()).map(|a| a.to_string());
        assert_eq!(of("sip:x@10.0.0.1"), Some("10.0.0.1:5060".to_owned()));
        assert_eq!(of("sip:[2001:db8::1]:5070;lr"), Some("[2001:db8::1]:5070".to_owned()));
        assert_eq!(of("sip:host.example"), None);
    }
}
