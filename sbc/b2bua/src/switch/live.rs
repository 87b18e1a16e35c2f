//! What is watched while calls are up: fraud that shows over time, the books of the limits, and what follows from a
//! finding: events, live cuts, trunks and accounts out of use, lowered limits, bans.

use super::Switch;
use crate::call::Release;
use crate::judge::Who;
use crate::spec::Spec;
use base::{Duration, Instant, Key, Now};
use core::net::IpAddr;
use ledger::{Ban, Banner, Event, Limit};
use policy::fraud::{Action, Finding, LiveFinding};
use std::sync::Arc;

/// How often live calls are judged: a cut comes well within a second.
const TICK: Duration = Duration::from_millis(250);
/// How often the books of the limits are recounted.
const AUDIT: Duration = Duration::from_secs(5);

/// What a finding means for the call that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// It goes on.
    Nothing,
    /// It is refused.
    Refuse,
    /// It is answered and held.
    Divert,
}

/// When the next look is due.
#[derive(Debug, Default)]
pub(super) struct Watch {
    tick_at: Instant,
    audit_at: Instant,
}

impl Switch {
    /// Looks, if it is time.
    pub(super) fn handle_watch(&mut self, now: Now) {
        if self.watch.tick_at <= now.mono {
            self.watch.tick_at = now.mono + TICK;
            self.judge_live(now);
            self.tend_rooms(now);
        }
        if self.watch.audit_at <= now.mono {
            self.watch.audit_at = now.mono + AUDIT;
            self.audit();
            self.tidy(now);
        }
    }

    /// When the next look is due: there is nothing to see without calls.
    pub(super) fn watch_due(&self) -> Option<(Instant, &'static str)> {
        if self.calls.is_empty() {
            return Some((self.watch.audit_at, "audit"));
        }
        // Whatever the configuration says now: calls are watched as it said when they began.
        let at = self.watch.tick_at.min(self.watch.audit_at);
        Some((at, "watch"))
    }

    fn judge_live(&mut self, now: Now) {
        let mut found: Vec<LiveFinding> = Vec::new();
        self.desk.config.shared.fraud.tick(now, self.desk.config.shard, &mut found);
        for LiveFinding { call, finding } in found {
            let key = Key::from_bits(call);
            let Some(live) = self.calls.get(key) else { continue };
            let (spec, who, source) = (Arc::clone(&live.spec), live.who(), live.a.target.remote.ip());
            self.act(now, &spec, who, source, &finding);
            if finding.actions().contains(&Action::Cut) {
                let rule = format!("{} {}", finding.rule, finding.level.word());
                let policy = finding.profile.name.clone();
                self.with_call(key, |call, desk| {
                    call.tell(now, format!("cut by policy {policy}: {rule}"));
                    call.release(desk, now, Release::cut(&rule, &policy));
                });
            }
        }
    }

    /// Does what a finding wants done, except to the call itself.
    pub(super) fn act(
        &mut self,
        now: Now,
        spec: &Spec,
        who: Who,
        source: IpAddr,
        finding: &Finding,
    ) -> Wanted {
        let trunk = &spec.trunks[who.trunk];
        let account = who.account.map(|account| &spec.accounts[account]);
        let (policy, rule) = (finding.profile.name.as_str(), finding.rule);
        let mut wanted = Wanted::Nothing;
        for action in finding.actions() {
            let word = word(action);
            // New calls are refused as long as the level holds; everything else happens once.
            match action {
                Action::Reject => wanted = Wanted::Refuse,
                Action::Divert(_) if wanted == Wanted::Nothing => wanted = Wanted::Divert,
                _ if !finding.first => continue,
                Action::Event | Action::Cut | Action::Divert(_) => {}
                Action::Disable(time) => {
                    // Whoever is out of use from this call on does not get this one through.
                    wanted = Wanted::Refuse;
                    let until = time.map(|time| now.mono + time);
                    let (name, health) = match account {
                        Some(account) => (&account.name, &account.health),
                        None => (&trunk.name, &trunk.health),
                    };
                    tracing::warn!(name = %name, policy, rule, "disabled");
                    if let Some(change) = health.disable(now.mono, until) {
                        crate::switch::tell_health(&self.desk, now, name, change);
                    }
                }
                Action::Lower(calls) => match account {
                    Some(account) => account.pool.lower(Some(*calls)),
                    None => trunk.pool.lower(Some(*calls)),
                },
                Action::Ban(time) => {
                    // A trunk is put out of use by `disable`; its address may be shared, or forged by others.
                    if !self.identities.knows(source) {
                        let until = time.map(|time| now.wall + time);
                        let reason = format!("policy {policy}: {rule}");
                        self.add_ban(now, Ban::of(source, Banner::Fraud, now.wall, until, reason));
                    }
                }
            }
            self.desk.stats.fraud_actions.add(&[policy, rule, word], 1);
        }
        if finding.first {
            let kind = match finding.level {
                policy::fraud::Level::Warning => "fraud.warning",
                policy::fraud::Level::Critical => "fraud.critical",
            };
            let event = Event::new(now.wall, kind)
                .with("policy", policy)
                .with("rule", rule)
                .with("key", &finding.key)
                .with("value", finding.value)
                .with("threshold", finding.threshold)
                .with("actions", finding.actions().iter().map(word).collect::<Vec<_>>().join(","));
            tracing::warn!(policy, rule, key = %finding.key, value = finding.value, threshold = finding.threshold,
                level = finding.level.word(), "fraud");
            self.desk.config.shared.events.publish(event);
        }
        wanted
    }

    /// Recounts the places of this shard's calls; what differs is a leak, which is told and never repaired.
    fn audit(&mut self) {
        let leases = self.calls.iter().flat_map(|(_, call)| call.leases()).chain(self.tarpit.leases());
        let recount = self.auditor.recount(self.desk.spec.limits(), leases);
        self.desk.stats.limit_drift.set(recount.drift());
        for drift in &recount.drifts {
            tracing::error!(limit = %drift.limit, held = drift.held, counted = drift.counted, "limit drifts");
        }
    }

    /// Forgets what has ended by itself: bans, keys of limits without calls, accounts out of use.
    fn tidy(&mut self, now: Now) {
        let spec = Arc::clone(&self.desk.spec);
        for limit in spec.limits() {
            if let Limit::Keyed(pools) = limit {
                pools.expire(now.mono);
            }
        }
        for account in &spec.accounts {
            if let Some(change) = account.health.poll(now.mono) {
                crate::switch::tell_health(&self.desk, now, &account.name, change);
            }
        }
        for ban in self.desk.config.shared.bans.expire(now.wall) {
            let event = Event::new(now.wall, "ban.expired").with("net", ban.net).with("by", ban.by.name());
            self.desk.config.shared.events.publish(event);
        }
    }
}

/// Stable word of an action, for counters.
fn word(action: &Action) -> &'static str {
    match action {
        Action::Event => "event",
        Action::Reject => "reject",
        Action::Cut => "cut",
        Action::Disable(_) => "disable",
        Action::Ban(_) => "ban",
        Action::Divert(_) => "divert",
        Action::Lower(_) => "lower",
    }
}
