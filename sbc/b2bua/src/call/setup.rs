//! From the INVITE of the caller to that of the callee: look the target up, open ports, call.

use super::ending::Release;
use super::offer::sdp_of;
use super::{Call, Media, Plan, Stage};
use crate::admit::Admitted;
use crate::desk::{Desk, Hop, Of, Output, Query, What};
use crate::headers;
use crate::leg::{Arrival, Inbound, Leg, Record, text};
use crate::refusal::Refusal;
use crate::session::{self, Asked};
use crate::spec::{self, Transport};
use base::{Duration, Instant, Key, Now};
use command::RemoteTag;
use ledger::{Class, Direction, Lease};
use policy::fraud::{Money, Ticket};
use sdp::{Negotiation, NegotiationConfig, Side, SideConfig};
use sip::dialog::Dialog;
use sip::flow::{Flow, Target};
use sip::message::Message;
use sip::message::write::Writer;
use std::borrow::Cow;
use std::sync::Arc;

/// How long a target may say nothing at all before the next one is tried. Timer B (32 s) is for the last one.
const NO_ANSWER: Duration = Duration::from_secs(4);
/// How long all tries together may take before anybody rings.
const SETUP: Duration = Duration::from_secs(150);
/// Calls out that one call may lead to, whatever the configuration and DNS say.
const ATTEMPTS_MAX: u16 = 32;
/// Octets beyond which a request prefers a stream (RFC 3261 section 18.1.1).
const DATAGRAM_MAX: usize = 1_300;

/// What a call holds from its admission on.
pub(crate) struct Held {
    /// Its places in the limits of those who call.
    pub lease: Lease,
    /// Its place in the tables of fraud, if a policy watches it.
    pub ticket: Option<Ticket>,
}

impl Call {
    /// A new call from an admitted INVITE. Nothing has been sent yet.
    pub fn new(
        desk: &mut Desk,
        now: Now,
        key: Key,
        arrival: Arrival<'_>,
        admitted: Box<Admitted>,
        held: Held,
    ) -> Result<Call, Refusal> {
        let Arrival { tx, flow, message: invite } = arrival;
        let spec = Arc::clone(&desk.spec);
        let kernel = flow.local.ip();
        let listener = usize::from(flow.listener);
        let public = match desk.local(listener, flow.transport, kernel) {
            Some((_, public)) => public,
            None => core::net::SocketAddr::new(desk.advertised(listener, kernel), flow.local.port()),
        };
        let record = Record::new(now, Direction::In, invite);
        let mut a = Leg::new(0, Side::A, admitted.trunk, flow.back(), public, record);
        a.local_tag = desk.new_tag(key, 0);
        a.dialog = Some(Dialog::uas(invite, &a.local_tag).map_err(|e| Refusal::Message(e.status()))?);
        a.invite = Some(Inbound::new(tx, flow, invite));
        a.learn_abilities(invite);
        let trunk = &spec.trunks[admitted.trunk];
        let media = admitted.account.map_or(&trunk.media, |account| &spec.accounts[account].media);
        let config = NegotiationConfig {
            a: SideConfig {
                session_id: desk.rng.u64() >> 2,
                sip_source: Some(flow.remote.ip()),
                learn: trunk.learn,
                dscp: spec.listeners.get(listener).map_or(0, |l| l.dscp_rtp),
                ..side_config(media)
            },
            timeouts: trunk.timeouts,
            makeable: Arc::clone(&spec.makeable),
            ..NegotiationConfig::default()
        };
        let mut call = Call {
            key,
            id: desk.call_ids.mint(),
            stage: Stage::Resolving,
            a,
            b: None,
            offer: sdp_of(invite).map(Arc::from),
            plan: Plan::default(),
            chosen: None,
            bridge: None,
            media: Media::None,
            negotiation: Negotiation::new(config),
            a_bind: None,
            b_bind: None,
            b_tag: RemoteTag(0),
            exchange: None,
            late: None,
            passes: Vec::new(),
            digits: None,
            reoffer: None,
            lease_in: Some(held.lease),
            lease_out: None,
            ticket: held.ticket,
            money: Money::default(),
            answered: None,
            release: None,
            report: None,
            records_written: false,
            timeline: Vec::new(),
            steps: Vec::new(),
            shows: Vec::new(),
            max_at: None,
            setup_until: Some(now.mono + SETUP),
            no_answer_at: None,
            alarm: Instant(u64::MAX),
            one_way_noted: false,
            control: None,
            admitted,
            spec,
        };
        desk.note(&mut call.steps, now, key, 0, true, invite.raw());
        call.tell(now, format!("INVITE from trunk {}", call.trunk(call.admitted.trunk).name));
        Ok(call)
    }

    /// Begins to look for the callee.
    pub fn start(&mut self, desk: &mut Desk, now: Now) {
        let route = self.route();
        tracing::info!(
            call = %self.id,
            call_id = %self.a.record.sip_call_id(),
            from = %self.a.record.caller(),
            to = %self.a.record.callee(),
            dialled = %text(&self.admitted.callee),
            trunk = %self.trunk(self.admitted.trunk).name,
            source = %self.a.target.remote,
            route = %route.name,
            tags = ?self.a.record.tags,
            "call"
        );
        let line = format!("route {}", route.name);
        self.tell(now, line);
        if let Some(sdp) = self.initial_offer()
            && let Err(error) = self.negotiation.lines_wanted(&sdp)
        {
            self.tell(now, format!("SDP: {error}"));
            return self.release(desk, now, Release::refused(Refusal::BadMedia, self.route().texts));
        }
        let invite =
            self.a.invite.as_ref().map(|i| session::answer(&i.message(), self.session_wanted(Side::A)));
        if invite == Some(Asked::TooShort) {
            return self.release(desk, now, Release::refused(Refusal::Message(422), self.route().texts));
        }
        self.next_trunk(desk, now);
    }

    /// The SDP of the caller's INVITE; none for a late offer.
    pub(super) fn initial_offer(&self) -> Option<Arc<[u8]>> {
        self.offer.clone()
    }

    /// Seconds of session timer that we want on a leg.
    pub(super) fn session_wanted(&self, side: Side) -> Option<u32> {
        let trunk = match side {
            Side::A => Some(self.admitted.trunk),
            Side::B => self.trunk_out(),
        };
        self.trunk(trunk?)
            .session_timer
            .map(|d| u32::try_from(d.as_secs()).unwrap_or(u32::MAX).max(session::MIN_SE))
    }

    /// The next address of the target, or the next target of the trunk, or the next trunk.
    pub(super) fn next_attempt(&mut self, desk: &mut Desk, now: Now) {
        self.no_answer_at = None;
        if self.plan.attempts >= ATTEMPTS_MAX {
            return self.give_up(desk, now, Refusal::NoDestination, None);
        }
        if let Some(hop) = self.plan.hops.pop_front() {
            self.plan.hop = Some(hop);
            self.plan.no_stream = false;
            return self.prepare(desk, now);
        }
        let target =
            self.trunk_out().and_then(|trunk| self.trunk(trunk).to.get(self.plan.next_target)).cloned();
        let Some(target) = target else { return self.next_trunk(desk, now) };
        let query = Query { of: Of::Call(self.key), target: self.plan.next_target as u16 };
        self.plan.next_target += 1;
        self.stage = Stage::Resolving;
        desk.output.push_back(Output::Resolve { query, target });
    }

    /// Whether there is somebody left to call.
    pub(super) fn has_more(&self) -> bool {
        let of_trunk = self.trunk_out().map_or(0, |trunk| self.trunk(trunk).to.len());
        let is_left =
            !self.plan.hops.is_empty() || self.plan.next_target < of_trunk || self.has_more_trunks();
        is_left && self.plan.attempts < ATTEMPTS_MAX
    }

    /// The target's addresses are known.
    pub fn handle_resolved(&mut self, desk: &mut Desk, now: Now, target: u16, hops: Vec<Hop>) {
        if self.stage != Stage::Resolving || usize::from(target) + 1 != self.plan.next_target {
            return;
        }
        if hops.is_empty() {
            let host = self.target(usize::from(target)).map(|t| t.host.clone()).unwrap_or_default();
            tracing::info!(call = %self.id, call_id = %self.a.record.sip_call_id(), %host, "target does not resolve");
            self.tell(now, format!("{host} does not resolve"));
        }
        const HOPS_MAX: usize = 16;
        self.plan.hops = hops.into_iter().take(HOPS_MAX).collect();
        self.next_attempt(desk, now);
    }

    /// Ports for the attempt, if they are not open yet.
    fn prepare(&mut self, desk: &mut Desk, now: Now) {
        let (Some(hop), Some(trunk)) = (self.plan.hop, self.trunk_out()) else { return };
        let listener = self.trunk(trunk).listener;
        let Some(b_media) = self.media_address(desk, listener, hop.remote.ip(), hop.local) else {
            return self.on_attempt_failed(desk, now, None);
        };
        let side = SideConfig {
            session_id: desk.rng.u64() >> 2,
            sip_source: Some(hop.remote.ip()),
            learn: self.trunk(trunk).learn,
            dscp: self.spec.listeners.get(listener).map_or(0, |l| l.dscp_rtp),
            address: Some(b_media.public),
            ..side_config(&self.trunk(trunk).media)
        };
        // Ports are of one family: another family (or listener) needs others.
        let same_ports = self.b_bind == Some(b_media.bind);
        self.negotiation.set_side(Side::B, side, !same_ports);
        if self.negotiation.wants_keys() {
            self.negotiation.set_keys(desk.keys.fork());
        }
        self.b_bind = Some(b_media.bind);
        let wanted = match self.initial_offer() {
            Some(sdp) => self.negotiation.lines_wanted(&sdp).unwrap_or(1),
            None => 0,
        };
        self.stage = Stage::Opening;
        if !self.open_ports(desk, wanted) {
            self.call_out(desk, now);
        }
    }

    /// Sends the INVITE of an attempt.
    pub(super) fn call_out(&mut self, desk: &mut Desk, now: Now) {
        let (Some(hop), Some(trunk)) = (self.plan.hop, self.trunk_out()) else { return };
        let offer = match (self.initial_offer(), self.negotiation.pending()) {
            (None, _) => Ok(None),
            (Some(sdp), None) => self.negotiation.offer(Side::A, &sdp).map(Some),
            (Some(_), Some(_)) => self.negotiation.offer_again().map(Some),
        };
        let offer = match offer {
            Ok(offer) => offer,
            Err(error) => {
                self.tell(now, format!("SDP of A: {error}"));
                return self.release(desk, now, Release::bad_media(error.status(), Some(error.warning())));
            }
        };
        self.plan.attempts += 1;
        let listener = self.trunk(trunk).listener;
        let mut transport = hop.transport;
        let Some((mut local, mut public)) = desk.local(listener, transport, hop.local) else {
            tracing::warn!(call = %self.id, remote = %hop.remote, %transport, "listener has no socket for this target");
            return self.on_attempt_failed(desk, now, None);
        };
        let number = self.plan.attempts;
        let tag = desk.new_tag(self.key, number);
        let call_id = desk.new_call_id();
        let mut bytes = self.write_invite(desk, transport, public, &tag, &call_id, offer.as_deref());
        let is_free = self.current_target().is_none_or(|target| target.transport.is_none());
        if bytes.len() > DATAGRAM_MAX
            && transport == Transport::Udp
            && is_free
            && !self.plan.no_stream
            && let Some((stream_local, stream_public)) = desk.local(listener, Transport::Tcp, hop.local)
        {
            // A large request prefers a stream; if none opens it goes as datagrams after all (section 18.1.1).
            (transport, local, public) = (Transport::Tcp, stream_local, stream_public);
            bytes = self.write_invite(desk, transport, public, &tag, &call_id, offer.as_deref());
        }
        let Ok(message) = Message::parse(&bytes, sip::frame::Framing::Stream) else {
            tracing::error!(call = %self.id, "our own INVITE does not parse");
            return self.release(desk, now, Release::engine("internal", 500));
        };
        let target = Target {
            transport,
            listener: listener as u16,
            local: Some(local),
            remote: hop.remote,
            stream: None,
        };
        let record = Record::new(now, Direction::Out, &message);
        let mut b = Leg::new(number, Side::B, trunk, target, public, record);
        b.local_tag = tag;
        b.pending = Some(Dialog::uac(&message));
        desk.note(&mut self.steps, now, self.key, number, false, &bytes);
        tracing::info!(
            call = %self.id,
            call_id = %self.a.record.sip_call_id(),
            b_call_id = %b.record.sip_call_id(),
            target = %hop.remote,
            %transport,
            attempt = number,
            "calling"
        );
        self.tell(now, format!("calling {} by {transport}, attempt {number}", hop.remote));
        b.client = desk.request(now, target, b.token(self.key, What::Invite), bytes);
        let sent = b.client.is_some();
        self.b = Some(b);
        self.stage = Stage::Calling;
        if !sent {
            return self.on_attempt_failed(desk, now, None);
        }
        self.no_answer_at = self.has_more().then(|| now.mono + NO_ANSWER);
    }

    /// A target of the trunk that is being called.
    pub(super) fn target(&self, index: usize) -> Option<&spec::Target> {
        self.trunk_out().and_then(|trunk| self.trunk(trunk).to.get(index))
    }

    /// The target of the current attempt.
    pub(super) fn current_target(&self) -> Option<&spec::Target> {
        self.plan.next_target.checked_sub(1).and_then(|index| self.target(index))
    }

    fn emergency_address(&self) -> Option<&String> {
        let account =
            self.admitted.account.and_then(|index| self.spec.accounts[index].emergency_address.as_ref());
        account.or(self.trunk(self.admitted.trunk).emergency_address.as_ref())
    }

    fn write_invite(
        &self,
        desk: &mut Desk,
        transport: Transport,
        public: core::net::SocketAddr,
        tag: &[u8],
        call_id: &[u8],
        offer: Option<&[u8]>,
    ) -> Vec<u8> {
        let target = self.current_target();
        let shape = self.chosen.as_ref().map(|chosen| &chosen.shape);
        let mut host = target.map(|t| t.host.clone()).unwrap_or_default();
        if let Some(port) = target.and_then(|t| t.port) {
            host.push_str(&format!(":{port}"));
        }
        // The line's own domain stands in the URI, whatever address it is reached by (requirements 2.11).
        if let Some(domain) = shape.and_then(|s| s.host.as_ref()) {
            host.clone_from(domain);
        }
        let prefix = shape.map(|s| s.prefix.as_slice()).unwrap_or_default();
        let callee = escape_user(&[prefix, &self.admitted.callee, &self.admitted.callee_params].concat());
        let param = match (target.and_then(|t| t.transport), transport) {
            (Some(t), _) => format!(";transport={}", t.param()),
            (None, Transport::Udp) => String::new(),
            (None, t) => format!(";transport={}", t.param()),
        };
        let uri = format!("sip:{callee}@{host}{param}");
        let mut writer = Writer::request(b"INVITE", uri.as_bytes());
        writer.header("Via", desk.via(transport, public));
        writer.header("Max-Forwards", self.admitted.max_forwards.to_string());
        let invite = self.a.invite.as_ref().map(Inbound::message);
        let display = invite.as_ref().map(|m| m.from().display).unwrap_or_default();
        let mut from = Vec::with_capacity(80);
        if !display.is_empty() {
            from.extend_from_slice(display);
            from.push(b' ');
        }
        // A line that bills by its own number shows that one; an empty one means the caller's (requirements 2.11).
        let line_caller = shape.and_then(|s| s.caller.as_deref()).filter(|caller| !caller.is_empty());
        let caller = escape_user(line_caller.unwrap_or(&self.admitted.caller));
        let anonymous = invite
            .as_ref()
            .and_then(|m| m.from().parsed())
            .filter(|u| u.host == b"anonymous.invalid" && line_caller.is_none());
        match anonymous {
            Some(_) => from.extend_from_slice(b"<sip:anonymous@anonymous.invalid>"),
            None if caller.is_empty() => from.extend_from_slice(format!("<sip:{public}>").as_bytes()),
            None => from.extend_from_slice(format!("<sip:{caller}@{public}>").as_bytes()),
        }
        from.extend_from_slice(b";tag=");
        from.extend_from_slice(tag);
        writer.header("From", from);
        writer.header("To", format!("<sip:{callee}@{host}>"));
        writer.header("Call-ID", call_id);
        writer.header("CSeq", "1 INVITE");
        let contact = match transport {
            Transport::Udp => format!("<sip:{public}>"),
            t => format!("<sip:{public};transport={}>", t.param()),
        };
        writer.header("Contact", contact).header("Allow", headers::ALLOW);
        // A reliable provisional response to a late offer would have to carry the offer; without 100rel it waits for
        // the 2xx (RFC 3262 section 5).
        writer.header("Supported", if offer.is_some() { "timer, 100rel" } else { "timer" });
        if let Some(seconds) = self.session_wanted(Side::B) {
            // RFC 4028 section 7.3: after a 422 its minimum is said again.
            let min_se = self.plan.min_se.unwrap_or(0).max(session::MIN_SE);
            writer
                .header("Session-Expires", seconds.max(min_se).to_string())
                .header("Min-SE", min_se.to_string());
        }
        writer.header(crate::hop::HEADER, &self.admitted.hop_token);
        let mut set = Cow::Borrowed(self.admitted.set_headers.as_slice());
        let mut ours: Vec<&str> = Vec::new();
        if self.admitted.class == Class::Emergency {
            // Where a caller is, is ours to say: nobody is helped at a place that somebody else has made up.
            ours.push(headers::EMERGENCY_ADDRESS);
            set.to_mut().retain(|(name, _)| !name.eq_ignore_ascii_case(headers::EMERGENCY_ADDRESS));
            if let Some(address) = self.emergency_address() {
                set.to_mut().push((headers::EMERGENCY_ADDRESS.to_owned(), address.clone().into_bytes()));
            }
        }
        if self.admitted.is_renamed || line_caller.is_some() {
            ours.extend(headers::IDENTITIES);
        }
        ours.extend(set.iter().map(|(name, _)| name.as_str()));
        for (name, value) in &*set {
            writer.header(name, value);
        }
        if let Some(invite) = &invite {
            headers::carry(invite, &mut writer, &ours);
        }
        if let Some(offer) = offer {
            writer.body(headers::SDP, offer);
        }
        writer.finish()
    }

    /// A response to the INVITE of the current attempt.
    pub(super) fn on_invite_response(
        &mut self,
        desk: &mut Desk,
        now: Now,
        flow: &Flow,
        message: &Message<'_>,
    ) {
        let code = message.status().unwrap_or_default();
        self.no_answer_at = None;
        match code {
            100 => {}
            101..200 => self.on_provisional(desk, now, flow, message, code),
            200..300 => self.on_answer(desk, now, flow, message),
            _ => self.on_failure_response(desk, now, message, code),
        }
    }
}

/// What a trunk or account says of its media.
fn side_config(media: &spec::Media) -> SideConfig {
    SideConfig {
        codecs: Arc::clone(&media.codecs),
        transcode: media.transcode,
        srtp: media.srtp,
        digits: media.dtmf,
        block_digits: media.block_dtmf,
        echo_cancel: media.echo_cancel,
        ..SideConfig::default()
    }
}

/// A number as part of a header's value: nothing in it ends an address, a quoted text or a list.
pub(crate) fn escape_strictly(number: &[u8]) -> String {
    let mut out = String::with_capacity(number.len());
    for byte in number {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'+' | b'-' | b'_' | b'.' | b'*' => {
                out.push(char::from(*byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

/// A number as the user part of a URI: what is not allowed there is escaped (RFC 3261 section 25.1).
pub(crate) fn escape_user(number: &[u8]) -> String {
    let mut out = String::with_capacity(number.len());
    for byte in number {
        match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => out.push(char::from(*byte)),
            b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')' => out.push(char::from(*byte)),
            b'&' | b'=' | b'+' | b'$' | b',' | b';' | b'?' | b'/' => out.push(char::from(*byte)),
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_escaped_as_user_parts_need_it() {
        for (number, user) in [
            ("+4989123", "+4989123"),
            ("*21#", "*21%23"),
            ("a b@c", "a%20b%40c"),
            ("1;phone-context=x", "1;phone-context=x"),
            ("%", "%25"),
            ("ü", "%C3%BC"),
        ] {
            assert_eq!(escape_user(number.as_bytes()), user);
            let uri = format!("sip:{user}@h");
            let back =
                sip::message::Uri::parse(uri.as_bytes()).and_then(|u| u.user_text().map(|t| t.into_owned()));
            assert_eq!(back.as_deref(), Some(number.as_bytes()), "{uri}");
        }
    }
}
