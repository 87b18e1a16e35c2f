//! The account that calls are made with: registered before the first call, refreshed at half its time, given back after
//! the last (RFC 3261 section 10, RFC 8760).

use sip::message::Message;
use sip::message::write::Writer;

use super::Uac;
use crate::dialog::{Resend, T2};

/// How long a registration is asked for, seconds.
const EXPIRES: u32 = 3_600;

#[derive(Debug, Default)]
pub(super) struct Registration {
    state: State,
    call_id: String,
    cseq: u32,
    /// What is asked for now: 0 to be forgotten.
    expires: u32,
    challenged: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    None,
    Asking(Resend),
    /// Refreshed at this time.
    Registered(u64),
}

impl Registration {
    pub(super) fn due(&self) -> Option<u64> {
        match &self.state {
            State::None => None,
            State::Asking(request) => Some(request.at),
            State::Registered(until) => Some(*until),
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::None)
    }

    pub(super) fn is_about(&self, message: &Message<'_>) -> bool {
        !self.is_idle() && message.call_id() == self.call_id.as_bytes()
    }
}

impl Uac {
    /// Asks for the registration; calls begin when it is there.
    pub(super) fn register(&mut self, now: u64) {
        self.registration.call_id = format!("r-{}@{}", self.run, self.plan.local.ip());
        self.registration.expires = EXPIRES;
        self.registration.challenged = false;
        self.send_register(now, None);
    }

    /// Gives the registration back once all calls are over.
    pub(super) fn unregister_when_done(&mut self, now: u64) {
        if self.has_placed_all() && matches!(self.registration.state, State::Registered(_)) {
            self.registration.expires = 0;
            self.registration.challenged = false;
            self.send_register(now, None);
        }
    }

    fn send_register(&mut self, now: u64, credentials: Option<(&'static str, String)>) {
        self.registration.cseq += 1;
        let cseq = self.registration.cseq;
        let (domain, user) = (self.domain(), self.user());
        let mut request = Writer::request(b"REGISTER", format!("sip:{domain}").as_bytes());
        request
            .header("Via", self.via(0, "REGISTER", cseq))
            .header("Max-Forwards", "70")
            .header("From", format!("<sip:{user}@{domain}>;tag=r{}", self.run))
            .header("To", format!("<sip:{user}@{domain}>"))
            .header("Call-ID", &self.registration.call_id)
            .header("CSeq", format!("{cseq} REGISTER"))
            .header("Contact", format!("<sip:{user}@{}>", self.plan.local))
            .header("Expires", self.registration.expires.to_string())
            .header("User-Agent", "strowger-load");
        if let Some((name, value)) = credentials {
            request.header(name, value);
        }
        let request = Resend::new(now, request.finish(), self.plan.target, T2);
        self.outputs.push_back(request.send());
        self.registration.state = State::Asking(request);
    }

    pub(super) fn on_registration_timer(&mut self, now: u64) {
        match &mut self.registration.state {
            State::None => (),
            State::Registered(_) => {
                self.registration.challenged = false;
                self.send_register(now, None);
            }
            State::Asking(request) => match request.again() {
                Some(again) => self.send_again(again),
                None => self.on_registered(now, Err("timeout".to_owned()), 0),
            },
        }
    }

    pub(super) fn on_register_response(&mut self, now: u64, status: u16, message: &Message<'_>) {
        let State::Asking(request) = &mut self.registration.state else { return };
        if message.cseq().number != self.registration.cseq {
            return;
        }
        match status {
            ..200 => request.on_provisional(now, 32_000_000_000),
            200..300 => {
                // What the registrar grants for our own binding; without any word of it what we asked for.
                let own = format!("{}@{}", self.user(), self.plan.local);
                let mut contacts = message.contacts();
                let contact = contacts.find(|contact| contact.uri.ends_with(own.as_bytes()));
                let granted = contact
                    .and_then(|contact| {
                        std::str::from_utf8(contact.params.value(b"expires")?).ok()?.parse().ok()
                    })
                    .or(message.expires())
                    .unwrap_or(EXPIRES);
                self.on_registered(now, Ok(()), granted);
            }
            401 | 407 => {
                let uri = format!("sip:{}", self.domain());
                match self.credentials("REGISTER", &uri, message) {
                    Some(credentials) if !self.registration.challenged => {
                        self.registration.challenged = true;
                        self.send_register(now, Some(credentials));
                    }
                    _ => self.on_registered(now, Err(status.to_string()), 0),
                }
            }
            _ => self.on_registered(now, Err(status.to_string()), 0),
        }
    }

    fn on_registered(&mut self, now: u64, outcome: Result<(), String>, granted: u32) {
        if self.registration.expires == 0 {
            self.registration.state = State::None;
            return;
        }
        let first = self.tally.registered.is_none();
        let is_there = outcome.is_ok();
        self.registration.state = if is_there {
            State::Registered(now + u64::from(granted.max(2)) * 500_000_000)
        } else {
            State::None
        };
        if first || !is_there {
            self.tally.registered = Some(outcome);
        }
        if first && is_there {
            self.begin(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{SECOND, address, plan};
    use super::*;
    use crate::dialog::Output;
    use crate::digest::Account;
    use base::Rng;
    use sip::frame::Framing;

    fn sent(uac: &mut Uac) -> Vec<u8> {
        match uac.poll_output() {
            Some(Output::Send { bytes, .. }) => bytes,
            other => panic!("{other:?}"),
        }
    }

    fn answer(uac: &mut Uac, now: u64, request: &[u8], status: u16, header: (&str, &str)) {
        let request = Message::parse(request, Framing::Datagram).unwrap();
        let mut reply = Writer::reply_from(&request, address(5060), status, Some(b"x"));
        let bytes = reply.header(header.0, header.1).finish();
        uac.handle_datagram(now, now, address(5061), &bytes);
    }

    #[test]
    fn an_account_is_registered_refreshed_and_given_back() {
        let account =
            Account { user: "anne".into(), password: "pw".into(), domain: Some("example.org".into()) };
        let mut plan = super::super::Plan { account: Some(account), register: true, total: 1, ..plan() };
        plan.talk_ns = 100 * SECOND;
        let mut now = 1_000 * SECOND;
        let mut uac = Uac::new(plan, now, Rng::from_seed(1));
        let first = sent(&mut uac);
        assert!(first.starts_with(b"REGISTER sip:example.org SIP/2.0\r\n"));
        assert!(uac.poll_output().is_none() && !uac.is_done(), "no call before it is registered");
        answer(
            &mut uac,
            now,
            &first,
            401,
            ("WWW-Authenticate", "Digest realm=\"r\", nonce=\"n\", qop=\"auth\""),
        );
        let second = sent(&mut uac);
        let text = String::from_utf8_lossy(&second).into_owned();
        assert!(
            text.contains("Authorization: Digest username=\"anne\"") && text.contains("2 REGISTER"),
            "{text}"
        );
        answer(&mut uac, now, &second, 200, ("Contact", "<sip:anne@127.0.0.1:5060>;expires=60"));
        assert_eq!(uac.tally().registered, Some(Ok(())));
        uac.handle_timeout(now);
        let invite = sent(&mut uac);
        assert!(invite.starts_with(b"INVITE "));
        assert!(String::from_utf8_lossy(&invite).contains("From: <sip:anne@example.org>;tag="));
        answer(&mut uac, now, &invite, 486, ("Server", "x"));
        sent(&mut uac); // ACK
        let last = sent(&mut uac);
        assert!(String::from_utf8_lossy(&last).contains("Expires: 0\r\n"));
        answer(&mut uac, now, &last, 200, ("Server", "x"));
        assert!(uac.is_done());
        now += 1;
        assert!(uac.poll_timeout().is_none_or(|at| at > now));
    }

    #[test]
    fn a_stop_while_it_registers_lets_no_call_begin() {
        let account = Account { user: "anne".into(), password: "pw".into(), domain: None };
        let plan = super::super::Plan { account: Some(account), register: true, ..plan() };
        let mut uac = Uac::new(plan, 0, Rng::from_seed(1));
        let first = sent(&mut uac);
        uac.wind_up(1);
        answer(&mut uac, 2, &first, 200, ("Server", "x"));
        let last = sent(&mut uac);
        assert!(String::from_utf8_lossy(&last).contains("Expires: 0\r\n"), "it is given back at once");
        answer(&mut uac, 3, &last, 200, ("Server", "x"));
        assert!(uac.is_done() && uac.tally().placed == 0);
    }

    #[test]
    fn without_a_registration_nobody_calls() {
        let account = Account { user: "anne".into(), password: "pw".into(), domain: None };
        let plan = super::super::Plan { account: Some(account), register: true, ..plan() };
        let mut uac = Uac::new(plan, 0, Rng::from_seed(1));
        let first = sent(&mut uac);
        answer(&mut uac, 1, &first, 403, ("Server", "x"));
        assert_eq!(uac.tally().registered, Some(Err("403".to_owned())));
        assert!(uac.is_done() && uac.tally().placed == 0);
    }
}
