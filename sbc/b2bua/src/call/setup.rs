//! From the INVITE to the answer: look the target up, open ports, call, pass what comes back, try the next one.

use super::ending::Release;
use super::offer::{Late, Reoffer};
use super::{Call, Media, Plan, Stage};
use crate::admit::Admitted;
use crate::desk::{Desk, Hop, Output, Query, What};
use crate::headers;
use crate::leg::{Arrival, Fork, Inbound, Leg, Record, SentReliable, Unacked, text};
use crate::refusal::Refusal;
use crate::session::{self, Asked, SessionTimer};
use crate::spec::Transport;
use base::{Duration, Instant, Key, Now};
use command::{Command, OpenedPort, PortWant, RemoteTag};
use core::net::IpAddr;
use ledger::{Direction, Lease};
use sdp::{Negotiation, NegotiationConfig, Sdp, Side, SideConfig};
use sip::dialog::Dialog;
use sip::flow::{Flow, Target};
use sip::message::write::Writer;
use sip::message::{Message, Method, Refresher};
use sip::transaction::Repeat;
use std::sync::Arc;

/// How long a target may say nothing at all before the next one is tried. Timer B (32 s) is for the last one.
const NO_ANSWER: Duration = Duration::from_secs(4);
/// How long all tries together may take before anybody rings.
const SETUP: Duration = Duration::from_secs(150);
/// How long a callee may ring after its last word; RFC 3261 section 16.6 wants more than three minutes.
const RING: Duration = Duration::from_secs(185);
/// Reliable provisional responses that may wait for the PRACK of the one before.
const RELIABLE_MAX: usize = 8;
/// Early dialogs that one INVITE may have.
const FORKS_MAX: usize = 12;
/// Octets beyond which a request prefers a stream (RFC 3261 section 18.1.1).
const DATAGRAM_MAX: usize = 1_300;

impl Call {
    /// A new call from an admitted INVITE. Nothing has been sent yet.
    pub fn new(
        desk: &mut Desk,
        now: Now,
        key: Key,
        arrival: Arrival<'_>,
        admitted: Admitted,
        lease: Lease,
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
        let config = NegotiationConfig {
            a: SideConfig {
                session_id: desk.rng.u64() >> 2,
                sip_source: Some(flow.remote.ip()),
                learn: trunk.learn,
                dscp: spec.listeners.get(listener).map_or(0, |l| l.dscp_rtp),
                ..SideConfig::default()
            },
            timeouts: trunk.timeouts,
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
            bridge: None,
            media: Media::None,
            negotiation: Negotiation::new(config),
            a_bind: None,
            b_bind: None,
            b_tag: RemoteTag(0),
            exchange: None,
            late: None,
            passes: Vec::new(),
            reoffer: None,
            _lease_in: Some(lease),
            lease_out: None,
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
            admitted,
            spec,
        };
        desk.note(&mut call.steps, now, key, 0, true, invite.raw());
        call.tell(now, format!("INVITE from trunk {}", call.trunk(call.admitted.trunk).name));
        Ok(call)
    }

    /// Begins to look for the callee.
    pub fn start(&mut self, desk: &mut Desk, now: Now) {
        let route = &self.spec.routes[self.admitted.route];
        tracing::info!(
            call = %self.id,
            call_id = %self.a.record.sip_call_id(),
            from = %self.a.record.caller(),
            to = %self.a.record.callee(),
            trunk = %self.trunk(self.admitted.trunk).name,
            source = %self.a.target.remote,
            route = %route.name,
            via = %self.trunk(route.via).name,
            "call"
        );
        let line = format!("route {} leads to trunk {}", route.name, self.trunk(route.via).name);
        self.tell(now, line);
        if let Some(sdp) = self.initial_offer()
            && let Err(error) = self.negotiation.lines_wanted(&sdp)
        {
            self.tell(now, format!("SDP: {error}"));
            return self.release(desk, now, Release::refused(Refusal::BadMedia));
        }
        let invite =
            self.a.invite.as_ref().map(|i| session::answer(&i.message(), self.session_wanted(Side::A)));
        if invite == Some(Asked::TooShort) {
            return self.release(desk, now, Release::refused(Refusal::Message(422)));
        }
        match Lease::take([&self.trunk(self.trunk_out()).pool]) {
            Ok(lease) => self.lease_out = Some(lease),
            Err(_) => return self.release(desk, now, Release::refused(Refusal::TrunkFull)),
        }
        self.next_attempt(desk, now);
    }

    /// The SDP of the caller's INVITE; none for a late offer.
    fn initial_offer(&self) -> Option<Arc<[u8]>> {
        self.offer.clone()
    }

    /// Seconds of session timer that we want on a leg.
    pub(super) fn session_wanted(&self, side: Side) -> Option<u32> {
        let trunk = match side {
            Side::A => self.admitted.trunk,
            Side::B => self.trunk_out(),
        };
        self.trunk(trunk)
            .session_timer
            .map(|d| u32::try_from(d.as_secs()).unwrap_or(u32::MAX).max(session::MIN_SE))
    }

    /// The next address of the target, or the next target, or the end.
    pub(super) fn next_attempt(&mut self, desk: &mut Desk, now: Now) {
        self.no_answer_at = None;
        if let Some(hop) = self.plan.hops.pop_front() {
            self.plan.hop = Some(hop);
            self.plan.no_stream = false;
            return self.prepare(desk, now);
        }
        let targets = &self.spec.trunks[self.trunk_out()].to;
        if let Some(target) = targets.get(self.plan.next_target) {
            let query = Query { call: self.key, target: self.plan.next_target as u16 };
            let target = target.clone();
            self.plan.next_target += 1;
            self.stage = Stage::Resolving;
            desk.output.push_back(Output::Resolve { query, target });
            return;
        }
        let release = match self.plan.last_failure {
            Some(code) => Release::failed(code),
            None => Release::refused(Refusal::NoDestination),
        };
        self.release(desk, now, release);
    }

    /// The target's addresses are known.
    pub fn handle_resolved(&mut self, desk: &mut Desk, now: Now, target: u16, hops: Vec<Hop>) {
        if self.stage != Stage::Resolving || usize::from(target) + 1 != self.plan.next_target {
            return;
        }
        if hops.is_empty() {
            let host = self.spec.trunks[self.trunk_out()].to[usize::from(target)].host.clone();
            tracing::info!(call = %self.id, call_id = %self.a.record.sip_call_id(), %host, "target does not resolve");
            self.tell(now, format!("{host} does not resolve"));
        }
        const HOPS_MAX: usize = 16;
        self.plan.hops = hops.into_iter().take(HOPS_MAX).collect();
        self.next_attempt(desk, now);
    }

    /// Ports for the attempt, if they are not open yet.
    fn prepare(&mut self, desk: &mut Desk, now: Now) {
        let Some(hop) = self.plan.hop else { return };
        let trunk = self.trunk_out();
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
            ..SideConfig::default()
        };
        // Ports are of one family: another family (or listener) needs others.
        let same_ports = self.b_bind == Some(b_media.bind);
        self.negotiation.set_side(Side::B, side, !same_ports);
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

    /// Where media of a side is bound and what its SDP says: the listener's range of the wanted family, else of the
    /// other one (each side of a call may have its own).
    pub(super) fn media_address(
        &self,
        desk: &Desk,
        listener: usize,
        peer: IpAddr,
        kernel: IpAddr,
    ) -> Option<MediaAddress> {
        let ranges = &self.spec.listeners.get(listener)?.media;
        let range = ranges.iter().find(|r| r.address.is_ipv4() == peer.is_ipv4()).or(ranges.first())?;
        let ip = if range.address.is_unspecified() && kernel.is_ipv4() == range.address.is_ipv4() {
            kernel
        } else {
            range.address
        };
        // Bound to what is announced, so that media leaves from there; a link-local address would need its interface, too.
        let link_local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        let bind = if link_local { range.address } else { ip };
        Some(MediaAddress { bind, public: desk.advertised(listener, ip) })
    }

    /// Asks for the ports that are missing so that `wanted` m-lines can pass; false if none is missing.
    pub(super) fn open_ports(&mut self, desk: &mut Desk, wanted: usize) -> bool {
        let missing = |side| wanted.saturating_sub(self.negotiation.lines_open(side));
        let (a, b) = (missing(Side::A), missing(Side::B));
        let (Some(a_bind), Some(b_bind)) = (self.a_bind, self.b_bind) else { return false };
        if a == 0 && b == 0 {
            return false;
        }
        let a_listener = self.a.target.listener;
        let b_listener = self.trunk(self.trunk_out()).listener as u16;
        let mut want = vec![PortWant { listener: a_listener, address: a_bind }; a];
        want.extend(vec![PortWant { listener: b_listener, address: b_bind }; b]);
        let bridge = *self.bridge.get_or_insert_with(|| desk.new_bridge());
        self.media = Media::Opening { a, b };
        desk.media(bridge.media_shard(), Command::Open { bridge, want });
        true
    }

    /// Ports are open: what waited for them goes on.
    pub(super) fn on_opened(&mut self, desk: &mut Desk, now: Now, ports: &[OpenedPort]) {
        let Media::Opening { a, .. } = self.media else {
            // Asked for before the call ended: the bridge exists now and must go.
            return self.close_bridge(desk);
        };
        self.media = Media::Open;
        let pairs = |ports: &[OpenedPort]| ports.iter().map(|p| (p.port, p.local.port())).collect::<Vec<_>>();
        let (for_a, for_b) = ports.split_at(a.min(ports.len()));
        self.negotiation.add_ports(Side::A, pairs(for_a));
        self.negotiation.add_ports(Side::B, pairs(for_b));
        match self.stage {
            Stage::Opening => self.call_out(desk, now),
            Stage::Calling | Stage::Up => self.on_offer_ports(desk, now),
            Stage::Ending => self.close_bridge(desk),
            Stage::Resolving => {}
        }
    }

    /// Sends the INVITE of an attempt.
    fn call_out(&mut self, desk: &mut Desk, now: Now) {
        let Some(hop) = self.plan.hop else { return };
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
        let trunk = self.trunk_out();
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
        let is_free = self.spec.trunks[trunk].to[self.plan.next_target - 1].transport.is_none();
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
        let more = !self.plan.hops.is_empty() || self.plan.next_target < self.trunk(trunk).to.len();
        self.no_answer_at = more.then(|| now.mono + NO_ANSWER);
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
        let target = &self.spec.trunks[self.trunk_out()].to[self.plan.next_target - 1];
        let mut host = target.host.clone();
        if let Some(port) = target.port {
            host.push_str(&format!(":{port}"));
        }
        let callee = escape_user(&self.admitted.callee);
        let param = match (target.transport, transport) {
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
        let caller = escape_user(&self.admitted.caller);
        let anonymous =
            invite.as_ref().and_then(|m| m.from().parsed()).filter(|u| u.host == b"anonymous.invalid");
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
        if let Some(invite) = &invite {
            headers::carry(invite, &mut writer);
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

    fn on_provisional(&mut self, desk: &mut Desk, now: Now, flow: &Flow, message: &Message<'_>, code: u16) {
        if self.stage != Stage::Calling {
            return;
        }
        self.setup_until = Some(now.mono + RING);
        let Some((fork, news)) = self.fork_of(desk, now, flow, message) else {
            // No tag, so no dialog: only the fact that something goes on.
            return self.tell_caller(desk, now, code, None, message);
        };
        if !news {
            return; // A reliable response that came again; it has been acknowledged again.
        }
        let Some(b) = &mut self.b else { return };
        if b.record.progress.is_none() {
            b.record.progress = Some((now.wall, code));
            b.record.progress_at = Some(now.mono);
            self.a.record.progress = Some((now.wall, code));
            self.a.record.progress_at = Some(now.mono);
        }
        if code == 199 {
            return; // A fork has failed (RFC 6228); the others go on.
        }
        let tag = fork_tag(b.number, fork);
        let mut sdp = None;
        if self.initial_offer().is_some()
            && let Some(answer) = sdp_of(message)
        {
            match self.negotiation.answer(Side::B, tag, answer) {
                Ok(answered) => {
                    self.b_tag = tag;
                    self.negotiation.open_early();
                    self.set_media(desk);
                    sdp = Some(answered.sdp);
                }
                Err(error) => self.tell(now, format!("SDP of B in {code}: {error}")),
            }
        }
        let with = if sdp.is_some() { " with SDP" } else { "" };
        self.tell(now, format!("{code} from B{with}"));
        tracing::info!(call = %self.id, call_id = %self.a.record.sip_call_id(), code, sdp = sdp.is_some(), "progress");
        self.tell_caller(desk, now, code, sdp.as_deref(), message);
    }

    /// Finds or makes the early dialog of a response, acknowledges a reliable one, and says whether it is news.
    fn fork_of(
        &mut self,
        desk: &mut Desk,
        now: Now,
        _flow: &Flow,
        message: &Message<'_>,
    ) -> Option<(usize, bool)> {
        let key = self.key;
        let b = self.b.as_mut()?;
        b.learn_abilities(message);
        let to_tag = message.to_tag()?;
        let at = match b.forks.iter().position(|f| f.dialog.remote_tag() == to_tag) {
            Some(at) => at,
            None if b.forks.len() < FORKS_MAX => {
                let dialog = b.pending.as_ref()?.fork(message)?;
                b.forks.push(Fork { dialog, rseq: None });
                b.forks.len() - 1
            }
            None => return None,
        };
        let rseq = message.rseq().filter(|_| message.requires(b"100rel"));
        let Some(rseq) = rseq else { return Some((at, true)) };
        // RFC 3262 section 4: in order, and each one acknowledged; a gap waits for what is missing.
        let news = match b.forks[at].rseq {
            Some(last) if rseq <= last => false,
            Some(last) if rseq != last.wrapping_add(1) => return Some((at, false)),
            _ => true,
        };
        let via = desk.via(b.target.transport, b.public);
        let cseq = message.cseq().number;
        let fork = &mut b.forks[at];
        fork.rseq = Some(fork.rseq.map_or(rseq, |last| last.max(rseq)));
        let mut prack = fork.dialog.next_request(Method::Prack, &via);
        prack.header("RAck", format!("{rseq} {cseq} INVITE"));
        let bytes = prack.finish();
        let target = Leg::hop_of(b.target, &b.forks[at].dialog);
        let token = b.token(key, What::Prack);
        let number = b.number;
        if news {
            desk.note(&mut self.steps, now, key, number, false, &bytes);
            desk.request(now, target, token, bytes);
        }
        Some((at, news))
    }

    /// Passes a provisional response on to the caller, reliably if the caller asked for it (RFC 3262).
    fn tell_caller(&mut self, desk: &mut Desk, now: Now, code: u16, sdp: Option<&[u8]>, from: &Message<'_>) {
        let Some(inbound) = &self.a.invite else { return };
        let invite = inbound.message();
        let required = invite.requires(b"100rel");
        let reliable = required || (invite.supports(b"100rel") && from.requires(b"100rel"));
        if reliable && self.a.reliable.queue.len() >= RELIABLE_MAX {
            return; // Numbers must have no gap, so it is left out before it has one.
        }
        let mut writer = Writer::reply_from(&invite, inbound.flow.remote, code, Some(&self.a.local_tag));
        writer.header("Contact", self.a.contact()).header("Allow", headers::ALLOW);
        headers::carry(from, &mut writer);
        if reliable {
            if self.a.reliable.rseq == 0 {
                self.a.reliable.rseq = desk.rng.u32() >> 8; // 1 to 2^31-1 (RFC 3262 section 3)
            }
            self.a.reliable.rseq += 1;
            writer.header("Require", "100rel").header("RSeq", self.a.reliable.rseq.to_string());
        }
        if let Some(sdp) = sdp {
            writer.body(headers::SDP, sdp);
        }
        let bytes = writer.finish();
        let tx = inbound.tx;
        if reliable {
            self.a.reliable.queue.push_back((code, bytes));
            return self.send_reliable(desk, now);
        }
        desk.note(&mut self.steps, now, self.key, 0, false, &bytes);
        desk.respond(now, tx, code, bytes);
    }

    /// The next of the queued responses to the caller, once the one before has been acknowledged.
    pub(super) fn send_reliable(&mut self, desk: &mut Desk, now: Now) {
        if self.a.reliable.sent.is_some() {
            return;
        }
        let Some((code, bytes)) = self.a.reliable.queue.pop_front() else { return };
        if code >= 200 {
            return self.send_answer(desk, now, code, bytes);
        }
        let Some(inbound) = &self.a.invite else { return };
        let (tx, target) = (inbound.tx, desk.stack.reply_target(inbound.tx).unwrap_or(inbound.flow.back()));
        desk.note(&mut self.steps, now, self.key, 0, false, &bytes);
        let bytes = desk.respond(now, tx, code, bytes);
        let rseq =
            Message::parse(&bytes, sip::frame::Framing::Stream).ok().and_then(|m| m.rseq()).unwrap_or(0);
        let repeat = Repeat::until_prack(now.mono, desk.stack.timers());
        self.a.reliable.sent = Some(SentReliable { rseq, bytes, target, repeat });
    }

    /// 2xx from B.
    fn on_answer(&mut self, desk: &mut Desk, now: Now, flow: &Flow, message: &Message<'_>) {
        let key = self.key;
        let Some(b) = &mut self.b else { return };
        let cseq = message.cseq().number;
        if let Some(dialog) = &b.dialog {
            if Some(dialog.remote_tag()) == message.to_tag() {
                // The ACK was lost, or the 2xx crossed it.
                if let Some(ack) = b.ack.as_ref().filter(|a| a.cseq == cseq) {
                    desk.stack.send(ack.target, Arc::clone(&ack.bytes));
                }
            } else {
                desk.end_unwanted(now, flow, message, b.token(key, What::Bye));
            }
            return;
        }
        let at = b.forks.iter().position(|f| Some(f.dialog.remote_tag()) == message.to_tag());
        let dialog = match at {
            Some(at) => {
                let mut dialog = b.forks.swap_remove(at).dialog;
                dialog.handle_response(message);
                Some(dialog)
            }
            None => b.pending.as_ref().and_then(|p| p.fork(message)),
        };
        // The number that the fork had when its provisional responses came; its SDP hangs on it.
        let tag = fork_tag(b.number, at.unwrap_or(FORKS_MAX));
        b.client = None;
        let Some(dialog) = dialog else {
            tracing::warn!(call = %self.id, "2xx makes no dialog");
            return self.release(desk, now, Release::failed(502));
        };
        b.dialog = Some(dialog);
        b.pending = None;
        b.forks = Vec::new();
        b.learn_abilities(message);
        b.session = session::agreed(now.mono, message);
        if self.stage != Stage::Ending {
            b.record.answered = Some(now);
            b.record.final_answer = Some((message.status().unwrap_or(200), text(message.reason())));
        }
        if self.stage == Stage::Ending {
            // The CANCEL came too late: a call that nobody wants any more.
            self.acknowledge_b(desk, now, cseq, None);
            return self.send_bye(desk, now, Side::B);
        }
        self.b_tag = tag;
        let answer = sdp_of(message).map(<[u8]>::to_vec);
        if self.initial_offer().is_none() {
            let Some(offer) = answer else {
                self.acknowledge_b(desk, now, cseq, None);
                return self.release(desk, now, Release::bad_media(488, None));
            };
            self.late = Some(Late::initial(cseq, offer));
            return self.on_late_offer(desk, now);
        }
        self.acknowledge_b(desk, now, cseq, None);
        let answered = match &answer {
            Some(sdp) => self.negotiation.answer(Side::B, tag, sdp).map(Some),
            None => Ok(None), // It stood in a reliable provisional response.
        };
        let committed = answered.and_then(|answered| {
            let reoffer = self.negotiation.commit(tag)?;
            Ok((answered.map(|a| a.sdp), reoffer))
        });
        let (sdp, reoffer) = match committed {
            Ok(committed) => committed,
            Err(error) => {
                self.tell(now, format!("SDP of B: {error}"));
                return self.release(desk, now, Release::bad_media(488, Some(error.warning())));
            }
        };
        let sdp = sdp.or_else(|| self.negotiation.last_sent(Side::A).map(<[u8]>::to_vec));
        if reoffer && let Some(sdp) = self.negotiation.said(Side::B) {
            // A was told a fork's codec, and the final answer has another.
            self.reoffer = Some(Reoffer { from: Side::B, sdp: sdp.into(), at: now.mono });
        }
        self.answer_caller(desk, now, sdp.as_deref(), Some(message));
        self.set_media(desk);
    }

    fn acknowledge_b(&mut self, desk: &mut Desk, now: Now, cseq: u32, sdp: Option<&[u8]>) {
        let key = self.key;
        if let Some(b) = &mut self.b
            && let Some(ack) = b.send_ack(desk, cseq, sdp)
        {
            desk.note(&mut self.steps, now, key, b.number, false, &ack);
        }
    }

    /// The caller gets its 200 with this SDP.
    pub(super) fn answer_caller(
        &mut self,
        desk: &mut Desk,
        now: Now,
        sdp: Option<&[u8]>,
        from: Option<&Message<'_>>,
    ) {
        self.stage = Stage::Up;
        self.answered = Some(now);
        self.offer = None; // it has served
        self.setup_until = None;
        self.negotiation.open_early();
        self.negotiation.answered();
        let longest = [
            self.trunk(self.admitted.trunk).max_duration,
            self.trunk(self.trunk_out()).max_duration,
            self.spec.routes[self.admitted.route].max_duration,
        ];
        self.max_at = longest.into_iter().flatten().min().map(|d| now.mono + d);
        self.tell(now, "answered");
        tracing::info!(
            call = %self.id,
            call_id = %self.a.record.sip_call_id(),
            b_call_id = %self.b.as_ref().map(|b| b.record.sip_call_id()).unwrap_or_default(),
            "answered"
        );
        let setup = now.mono.nanos_since(self.a.record.created.mono);
        desk.stats.setup.record(setup, 1);
        let Some(inbound) = &self.a.invite else { return };
        let invite = inbound.message();
        let mut writer = Writer::reply_from(&invite, inbound.flow.remote, 200, Some(&self.a.local_tag));
        writer.header("Contact", self.a.contact()).header("Allow", headers::ALLOW);
        writer.header("Supported", "timer, 100rel");
        let asked = session::answer(&invite, self.session_wanted(Side::A));
        self.a.session = write_session(&mut writer, now.mono, asked);
        if let Some(from) = from {
            headers::carry(from, &mut writer);
        }
        if let Some(sdp) = sdp {
            writer.body(headers::SDP, sdp);
        }
        let bytes = writer.finish();
        if let Some(dialog) = &mut self.a.dialog {
            dialog.confirm();
        }
        self.a.record.answered = Some(now);
        self.a.record.final_answer = Some((200, "OK".into()));
        if self.a.reliable.sent.is_some() {
            // RFC 3262 section 3: not before the provisional response with SDP has been acknowledged.
            self.a.reliable.queue.push_back((200, bytes));
        } else {
            self.send_answer(desk, now, 200, bytes);
        }
        self.keep_open_records(desk, now);
    }

    fn send_answer(&mut self, desk: &mut Desk, now: Now, code: u16, bytes: Vec<u8>) {
        let Some(inbound) = self.a.invite.take() else { return };
        let target = desk.stack.reply_target(inbound.tx).unwrap_or(inbound.flow.back());
        let cseq = inbound.message().cseq().number;
        desk.note(&mut self.steps, now, self.key, 0, false, &bytes);
        let bytes = desk.respond(now, inbound.tx, code, bytes);
        let repeat = Repeat::until_ack(now.mono, desk.stack.timers());
        self.a.unacked = Some(Unacked { cseq, bytes, target, repeat });
    }

    fn on_failure_response(&mut self, desk: &mut Desk, now: Now, message: &Message<'_>, code: u16) {
        let Some(b) = &mut self.b else { return };
        b.client = None;
        b.record.final_answer = Some((code, text(message.reason())));
        b.ended = true;
        if self.stage != Stage::Calling {
            return;
        }
        tracing::info!(call = %self.id, call_id = %self.a.record.sip_call_id(), code, "attempt failed");
        self.tell(now, format!("{code} from B"));
        if code == 422
            && let Some(min_se) = message.min_se()
            && self.plan.min_se.replace(min_se).is_none()
        {
            // RFC 4028 section 7.3: the same target again, with an interval that it takes.
            self.write_attempt_record(desk, now);
            return self.call_out(desk, now);
        }
        self.on_attempt_failed(desk, now, Some((code, message)));
    }

    /// The INVITE timed out or did not arrive.
    pub(super) fn on_invite_failed(&mut self, desk: &mut Desk, now: Now, transport: bool) {
        let Some(b) = &mut self.b else { return };
        b.client = None;
        b.ended = true;
        let was_stream = b.target.transport == Transport::Tcp;
        if self.stage != Stage::Calling {
            return;
        }
        let is_free = self.spec.trunks[self.trunk_out()].to[self.plan.next_target - 1].transport.is_none();
        let hop_is_udp = self.plan.hop.is_some_and(|h| h.transport == Transport::Udp);
        if transport && was_stream && is_free && hop_is_udp {
            self.tell(now, "no stream opens: as a datagram instead");
            self.plan.no_stream = true;
            self.write_attempt_record(desk, now);
            return self.call_out(desk, now);
        }
        self.tell(now, if transport { "B cannot be reached" } else { "B does not answer" });
        if !transport {
            self.plan.last_failure = Some(408);
        }
        self.on_attempt_failed(desk, now, None);
    }

    /// The target has said nothing at all for a while and there is another one.
    pub(super) fn on_no_answer(&mut self, desk: &mut Desk, now: Now) {
        self.no_answer_at = None;
        if self.stage != Stage::Calling {
            return;
        }
        self.tell(now, "no answer in time: the next target");
        if let Some(b) = &mut self.b
            && let Some(tx) = b.client.take()
        {
            // CANCEL goes out if a provisional response comes after all.
            desk.stack.cancel(now.mono, tx, None);
            b.ended = true;
        }
        self.plan.last_failure = Some(408);
        self.on_attempt_failed(desk, now, None);
    }

    /// The attempt is over: its record, then the next one if the code table says so.
    fn on_attempt_failed(&mut self, desk: &mut Desk, now: Now, failure: Option<(u16, &Message<'_>)>) {
        self.no_answer_at = None;
        let goes_on = match failure {
            Some((code, _)) => self.trunk(self.trunk_out()).codes.retries(code),
            None => true,
        };
        if goes_on {
            if let Some((code, _)) = failure {
                self.plan.last_failure = Some(code);
            }
            let more =
                !self.plan.hops.is_empty() || self.plan.next_target < self.trunk(self.trunk_out()).to.len();
            if more {
                self.write_attempt_record(desk, now);
                return self.next_attempt(desk, now);
            }
        }
        let release = match (failure, self.plan.last_failure) {
            (Some((code, message)), _) => Release::failed_with(code, message),
            (None, Some(code)) => Release::failed(code),
            (None, None) => Release::refused(Refusal::NoDestination),
        };
        self.release(desk, now, release);
    }

    /// A response to an attempt that has been given up.
    pub(super) fn on_stale_response(
        &mut self,
        desk: &mut Desk,
        now: Now,
        token: crate::desk::Token,
        flow: &Flow,
        message: &Message<'_>,
    ) {
        let code = message.status().unwrap_or_default();
        if token.what == What::Invite && (200..300).contains(&code) {
            self.tell(now, format!("late 2xx of attempt {} ended", token.leg));
            desk.end_unwanted(now, flow, message, token);
        }
    }

    /// Where A's ports are bound and what its SDP says; chosen once, by the family that A's SDP or signalling has.
    pub(crate) fn choose_a_media(&mut self, desk: &Desk, flow: &Flow) -> bool {
        let sdp = self.initial_offer();
        let said = sdp
            .as_deref()
            .and_then(|bytes| Sdp::parse(bytes).ok())
            .and_then(|sdp| sdp.media().iter().find_map(|m| m.address()));
        let peer = said.unwrap_or(flow.remote.ip());
        let Some(media) = self.media_address(desk, usize::from(flow.listener), peer, flow.local.ip()) else {
            return false;
        };
        self.a_bind = Some(media.bind);
        self.negotiation.set_local(Side::A, media.public);
        true
    }
}

/// Where media of one side lives.
#[derive(Clone, Copy)]
pub(super) struct MediaAddress {
    /// What the shard binds.
    bind: IpAddr,
    /// What the SDP says.
    public: IpAddr,
}

/// The name that a fork's remote has in the bridge: attempts and forks never share one.
fn fork_tag(leg: u16, fork: usize) -> RemoteTag {
    RemoteTag(u32::from(leg) << 8 | fork as u32)
}

/// The session description of a message.
pub(super) fn sdp_of<'m>(message: &Message<'m>) -> Option<&'m [u8]> {
    let is_sdp = message.content_type().is_none() || message.is_content(b"application/sdp");
    (is_sdp && !message.body().is_empty()).then(|| message.body())
}

/// Session-Expires of a 2xx, and the timer that follows.
pub(super) fn write_session(writer: &mut Writer, now: Instant, asked: Asked) -> Option<SessionTimer> {
    let Asked::Agreed { interval, refresher, required } = asked else { return None };
    writer.header("Session-Expires", SessionTimer::header(interval, refresher));
    if required {
        writer.header("Require", "timer");
    }
    Some(SessionTimer::start(now, interval, refresher == Refresher::Uas))
}

/// A number as the user part of a URI: what is not allowed there is escaped (RFC 3261 section 25.1).
fn escape_user(number: &[u8]) -> String {
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
