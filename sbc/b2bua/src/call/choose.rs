//! Who is called next: a trunk of the route's group that lives and has places left, and how the attempt went for it. The
//! places of an attempt are taken with the choice and given back with the next one.

use super::ending::Release;
use super::{Call, Chosen};
use crate::desk::Desk;
use crate::refusal::Refusal;
use crate::spec::{Spec, Trunk};
use base::{Instant, Now};
use ledger::{Class, Lease, LimitHit, Part, Why};
use routing::group::{Candidate, Way, Wanted, World, choose, trunks_of};
use routing::health::{Health, Went};

/// Trunks as a choice sees them.
pub(crate) struct Trunks<'s> {
    pub spec: &'s Spec,
    pub now: Instant,
    /// An emergency call tries what may be dead, if nothing else is left.
    pub even_dead: bool,
}

impl World for Trunks<'_> {
    fn may_try(&self, trunk: usize) -> Result<(), &'static str> {
        if self.even_dead { Ok(()) } else { self.spec.trunks[trunk].health.would_try(self.now) }
    }

    fn calls(&self, trunk: usize) -> u32 {
        self.spec.trunks[trunk].pool.used()
    }
}

impl Call {
    /// Chooses the next trunk and calls it; without one the call ends.
    pub(super) fn next_trunk(&mut self, desk: &mut Desk, now: Now) {
        self.leave_trunk(desk);
        let spec = std::sync::Arc::clone(&self.spec);
        let source = self.a.target.remote.ip().to_string();
        let call_id = self.a.record.sip_call_id().into_owned();
        let wanted = Wanted {
            resources: &self.route().resources,
            tried: &self.plan.tried,
            exceed: self.admitted.class == Class::Emergency,
            caller: &self.admitted.caller,
            callee: &self.admitted.callee,
            call_id: call_id.as_bytes(),
            source: source.as_bytes(),
        };
        let (caller, callee, class) = (&self.admitted.caller, &self.admitted.callee, self.admitted.class);
        let mut hit: Option<LimitHit> = None;
        let mut take = |candidate: &Candidate<'_>| {
            let trunk = &spec.trunks[candidate.trunk];
            take_places(now.mono, class, trunk, candidate, caller, callee, source.as_bytes())
                .map_err(|limit| hit.insert(limit).limit.clone())
        };
        let mut trunks = Trunks { spec: &spec, now: now.mono, even_dead: false };
        let rng = &mut desk.rng;
        let mut chosen = choose(&spec.groups, self.admitted.way, &wanted, &trunks, rng, &mut take, &mut ());
        if chosen.is_err() && class == Class::Emergency {
            trunks.even_dead = true;
            chosen = choose(&spec.groups, self.admitted.way, &wanted, &trunks, rng, &mut take, &mut ());
        }
        let (member, lease) = match chosen {
            Ok(chosen) => chosen,
            Err(outcome) => {
                let refusal = match (outcome.into(), self.admitted.way, &hit) {
                    // Where there is nobody else, the limit itself is what the caller is told.
                    (Refusal::GroupFull, Way::Trunk(_), Some(hit)) => refusal_of(hit),
                    (refusal, _, _) => refusal,
                };
                return self.give_up(desk, now, refusal, hit);
            }
        };
        let trunk = member.trunk;
        self.lease_out = Some(lease);
        self.plan.tried.push(trunk);
        self.plan.next_target = 0;
        self.plan.hops.clear();
        let trial = spec.trunks[trunk].health.begin(now.mono);
        self.chosen = Some(Chosen { trunk, group: member.group, shape: member.shape, trial: Some(trial) });
        let name = &spec.trunks[trunk].name;
        desk.stats.calls_active.add(&[name, "out"], 1);
        let line = match member.group {
            Some(group) => format!("group {} leads to trunk {name}", spec.groups[group].name),
            None => format!("to trunk {name}"),
        };
        self.tell(now, line);
        tracing::info!(
            call = %self.id,
            call_id = %self.a.record.sip_call_id(),
            trunk = %name,
            group = member.group.map(|group| spec.groups[group].name.as_str()).unwrap_or_default(),
            tags = ?self.a.record.tags,
            "chosen"
        );
        self.next_attempt(desk, now);
    }

    /// The trunk that was called is left: its places are free for others at once.
    fn leave_trunk(&mut self, desk: &mut Desk) {
        self.lease_out = None;
        if let Some(left) = self.chosen.take() {
            let name = &self.spec.trunks[left.trunk].name;
            desk.stats.calls_active.add(&[name, "out"], -1);
            desk.stats.calls.add(&[name, "out", "failed"], 1);
        }
    }

    /// Whether the route's group has trunks that have not been tried.
    pub(super) fn has_more_trunks(&self) -> bool {
        trunks_of(&self.spec.groups, self.admitted.way).any(|trunk| !self.plan.tried.contains(&trunk))
    }

    /// Nobody is left to call: the last failure counts, or why nobody was called at all.
    pub(super) fn give_up(&mut self, desk: &mut Desk, now: Now, refusal: Refusal, hit: Option<LimitHit>) {
        let release = match self.plan.last_failure {
            Some(code) => Release::failed(code),
            None => Release::refused(refusal, self.route().texts).by_limit(hit),
        };
        self.release(desk, now, release);
    }

    /// How the attempt went, for the health of the trunk; told once an attempt.
    pub(super) fn note_health(&mut self, desk: &Desk, now: Now, went: Went) {
        let Some(chosen) = &mut self.chosen else { return };
        let trunk = &self.spec.trunks[chosen.trunk];
        let health: &Health = &trunk.health;
        let trial = chosen.trial.take().unwrap_or_else(|| health.begin(now.mono));
        if let Some(change) = health.on_result(now.mono, trial, went) {
            crate::health::tell(desk, now, trunk, change);
        }
    }
}

/// The refusal of a limit that has nothing left.
pub(crate) fn refusal_of(hit: &LimitHit) -> Refusal {
    match hit.why {
        Why::Full | Why::Crowded => Refusal::LimitFull,
        Why::Fast { .. } => Refusal::TooFast,
    }
}

/// One place in everything that an attempt on this candidate needs.
fn take_places(
    now: Instant,
    class: Class,
    trunk: &Trunk,
    candidate: &Candidate<'_>,
    caller: &[u8],
    callee: &[u8],
    source: &[u8],
) -> Result<Lease, LimitHit> {
    let own = core::iter::once(Part::Pool(&trunk.pool));
    let further = trunk.limits_out.iter().map(|limit| limit.part(caller, callee, source));
    let resources = candidate.resources.iter().map(|pool| Part::Pool(pool));
    Lease::take(now, class, own.chain(further).chain(resources))
}
