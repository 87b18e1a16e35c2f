//! Whether trunks live: OPTIONS to all of their targets from time to time, and what is told when the state of one
//! changes. A trunk answers a probe when any of its targets gives any answer. One signalling shard probes a trunk.

use super::Switch;
use crate::desk::{Desk, Hop, Of, Output, Query, Token, What};
use crate::spec::Spec;
use base::{Duration, Instant, Key, Now, Slab};
use ledger::Event;
use routing::health::{Change, Word};
use sip::flow::Target;
use sip::message::write::Writer;
use std::sync::Arc;

/// The probes of one shard.
pub(super) struct Probes {
    /// Version of the configuration that `due` is of.
    version: u64,
    /// Trunks that this shard probes, when next, and the last round.
    due: Vec<(Instant, usize, Option<Key>)>,
    /// The earliest of them, so that a turn with nothing to ask looks at none.
    next: Instant,
    rounds: Slab<Round>,
}

impl Probes {
    /// None yet.
    pub fn new() -> Probes {
        Probes { version: u64::MAX, due: Vec::new(), next: Instant(0), rounds: Slab::with_max(ROUNDS_MAX) }
    }
}

/// Trunks that may be asked at a time.
const ROUNDS_MAX: u32 = 1 << 16;

/// One trunk is being asked.
struct Round {
    spec: Arc<Spec>,
    trunk: usize,
    /// Targets that have said nothing yet.
    waits: usize,
    /// One has answered: what the others say changes nothing.
    answered: bool,
}

impl Switch {
    /// Probes whose time has come.
    pub(super) fn handle_probes(&mut self, now: Now) {
        if self.probes.version == self.desk.spec.version && self.probes.next > now.mono {
            return;
        }
        let spec = self.spec();
        if self.probes.version != spec.version {
            self.plan_probes(now, &spec);
        }
        for index in 0..self.probes.due.len() {
            let (at, trunk, last) = self.probes.due[index];
            if at > now.mono {
                continue;
            }
            let every = spec.trunks[trunk].probe.unwrap_or(POLL);
            self.probes.due[index].0 = now.mono + every;
            if let Some(change) = spec.trunks[trunk].health.poll(now.mono) {
                tell(&self.desk, now, &spec.trunks[trunk].name, change);
            }
            if spec.trunks[trunk].probe.is_some() {
                if let Some(last) = last {
                    self.give_up_round(now, last);
                }
                self.probes.due[index].2 = self.begin_round(&spec, trunk);
            }
        }
        self.probes.next = self.probes.due.iter().map(|(at, _, _)| *at).min().unwrap_or(Instant(u64::MAX));
    }

    /// When the next one is due, and why.
    pub(super) fn probes_due(&self) -> Option<(Instant, &'static str)> {
        if self.probes.version != self.desk.spec.version {
            return Some((Instant(0), "probe"));
        }
        (!self.probes.due.is_empty()).then_some((self.probes.next, "probe"))
    }

    /// Which trunks are this shard's to ask. The first questions are spread over the time between two, so that a start
    /// does not ask everybody at once.
    fn plan_probes(&mut self, now: Now, spec: &Arc<Spec>) {
        let (shard, shards) = (usize::from(self.desk.config.shard), self.desk.config.shards.max(1));
        self.probes.version = spec.version;
        self.probes.due = (0..spec.trunks.len())
            .filter(|trunk| trunk % shards == shard)
            .map(|trunk| {
                // Looking at those that are not probed costs less than waking up for each.
                let every = spec.trunks[trunk].probe.unwrap_or_default();
                let spread = every.mul_f64((trunk % 16) as f64 / 64.0);
                (now.mono + spread, trunk, None)
            })
            .collect();
    }

    /// Nobody has answered by the time of the next probe: that is a miss, long before timer F says so.
    fn give_up_round(&mut self, now: Now, key: Key) {
        let Some(round) = self.probes.rounds.get_mut(key).filter(|round| !round.answered) else { return };
        round.answered = true;
        let trunk = &round.spec.trunks[round.trunk];
        if let Some(change) = trunk.health.on_probe(now.mono, false) {
            tell(&self.desk, now, &trunk.name, change);
        }
    }

    fn begin_round(&mut self, spec: &Arc<Spec>, trunk: usize) -> Option<Key> {
        let targets = &spec.trunks[trunk].to;
        if targets.is_empty() {
            return None;
        }
        let round = Round { spec: Arc::clone(spec), trunk, waits: targets.len(), answered: false };
        let key = self.probes.rounds.insert(round).ok()?;
        for (target, to) in targets.iter().enumerate() {
            let query = Query { of: Of::Probe(key), target: target as u16 };
            self.desk.output.push_back(Output::Resolve { query, target: to.clone() });
        }
        Some(key)
    }

    /// A target of a probed trunk has been looked up: it is asked at its first address.
    pub(super) fn on_probe_resolved(&mut self, now: Now, key: Key, hops: &[Hop]) {
        let Some(round) = self.probes.rounds.get(key) else { return };
        let listener = round.spec.trunks[round.trunk].listener;
        let sent = hops.first().is_some_and(|hop| ask(&mut self.desk, now, listener, *hop, key));
        if !sent {
            self.on_probe_answer(now, key, false);
        }
    }

    /// The answer to an OPTIONS, or that there is none.
    pub(super) fn on_probe_answer(&mut self, now: Now, key: Key, answered: bool) {
        let Some(round) = self.probes.rounds.get_mut(key) else { return };
        round.waits = round.waits.saturating_sub(1);
        let is_over = round.waits == 0;
        let is_news = (answered || is_over) && !round.answered;
        round.answered |= answered;
        let trunk = &round.spec.trunks[round.trunk];
        if is_news && let Some(change) = trunk.health.on_probe(now.mono, answered) {
            tell(&self.desk, now, &trunk.name, change);
        }
        if is_over {
            self.probes.rounds.remove(key);
        }
    }
}

/// How often a trunk that is not probed is looked at: its breaker and its switch change with time.
const POLL: Duration = Duration::from_secs(1);

/// Sends the OPTIONS.
fn ask(desk: &mut Desk, now: Now, listener: usize, hop: Hop, round: Key) -> bool {
    let Some((local, public)) = desk.local(listener, hop.transport, hop.local) else { return false };
    let target = Target {
        transport: hop.transport,
        listener: listener as u16,
        local: Some(local),
        remote: hop.remote,
        stream: None,
    };
    let uri = format!("sip:{}", hop.remote);
    let mut writer = Writer::request(b"OPTIONS", uri.as_bytes());
    let via = desk.via(hop.transport, public);
    let tag = sip::stack::new_tag(&mut desk.rng);
    writer
        .header("Via", via)
        .header("Max-Forwards", "70")
        .header("From", [b"<sip:probe@", public.to_string().as_bytes(), b">;tag=", tag.as_slice()].concat())
        .header("To", format!("<{uri}>"))
        .header("Call-ID", desk.new_call_id())
        .header("CSeq", "1 OPTIONS")
        .header("Contact", format!("<sip:{public}>"))
        .header("Accept", crate::headers::SDP);
    let token = Token { call: round, leg: 0, what: What::Probe };
    desk.request(now, target, token, writer.finish()).is_some()
}

/// Tells the world that a trunk (or account) has changed.
pub(crate) fn tell(desk: &Desk, now: Now, name: &str, change: Change) {
    let kind = match change.to {
        Word::Up => "trunk.up",
        Word::Down => "trunk.down",
        Word::Open => "trunk.open",
        Word::HalfOpen => "trunk.trial",
        Word::Disabled => "trunk.disabled",
    };
    tracing::warn!(trunk = name, from = change.from.name(), to = change.to.name(), "trunk changed");
    let event = Event::new(now.wall, kind).with("trunk", name).with("from", change.from.name());
    desk.config.shared.events.publish(event.with("to", change.to.name()));
}
