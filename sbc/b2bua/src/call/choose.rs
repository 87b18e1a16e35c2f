//! Who is called next: a trunk of the route's group that lives and has places left, and how the attempt went for it. The
//! places of an attempt are taken with the choice and given back with the next one.

use super::ending::Release;
use super::{Call, Chosen};
use crate::desk::Desk;
use crate::refusal::Refusal;
use crate::spec::{Spec, Trunk};
use base::{Instant, Now, Rng};
use ledger::{Class, Lease, LimitHit, Part, Why};
use routing::explain::{Free, MemberVerdict, Step, Witness};
use routing::group::{Candidate, DEPTH_MAX, Group, Outcome, Wanted, Way, World, choose};
use routing::health::{Attempt, Health};

/// Trunks as a choice sees them.
pub(crate) struct Trunks<'s> {
    pub spec: &'s Spec,
    pub now: Instant,
    /// An emergency call tries what may be dead, if nothing else is left.
    pub even_dead: bool,
}

impl World for Trunks<'_> {
    fn may_try(&self, trunk: usize) -> Result<(), &'static str> {
        if self.even_dead {
            return Ok(());
        }
        self.spec.trunks[trunk].health.would(self.now).map_err(|why| why.word())
    }

    fn calls(&self, trunk: usize) -> u32 {
        self.spec.trunks[trunk].pool.used()
    }

    fn capacity(&self, trunk: usize) -> Option<Free> {
        let pool = &self.spec.trunks[trunk].pool;
        Some(Free { used: pool.used(), max: pool.bounds().calls }).filter(|free| free.max != u32::MAX)
    }
}

impl Call {
    /// Chooses the next trunk and calls it; without one the call ends.
    pub(super) fn next_trunk(&mut self, desk: &mut Desk, now: Now) {
        self.leave_trunk(desk, now);
        let spec = std::sync::Arc::clone(&self.spec);
        let source = self.a.target.remote.ip().to_string();
        let call_id = self.a.record.sip_call_id().into_owned();
        let wanted = Wanted {
            resources: &self.route().resources,
            tried: &self.plan.tried,
            exceed: self.admitted.class == Class::Emergency,
            dry: false,
            caller: &self.admitted.caller,
            callee: &self.admitted.callee,
            call_id: call_id.as_bytes(),
            source: source.as_bytes(),
        };
        let (caller, callee, class) = (&self.admitted.caller, &self.admitted.callee, self.admitted.class);
        let shard = desk.config.shard;
        let mut hit: Option<LimitHit> = None;
        let mut trunks = Trunks { spec: &spec, now: now.mono, even_dead: false };
        let mut chosen = None;
        for even_dead in [false, class == Class::Emergency] {
            trunks.even_dead = even_dead;
            let take = |candidate: &Candidate<'_>| {
                let trunk = &spec.trunks[candidate.trunk];
                let lease =
                    take_places(shard, now.mono, class, trunk, candidate, caller, callee, source.as_bytes())
                        .map_err(|limit| hit.insert(limit).limit.clone())?;
                match trunk.health.may_try(now.mono) {
                    Ok(pass) => Ok((lease, Some(pass))),
                    Err(_) if even_dead => Ok((lease, None)),
                    Err(why) => Err(why.word().to_owned()),
                }
            };
            let found =
                choose(&spec.groups, self.admitted.way, &wanted, &trunks, &mut desk.rng, take, &mut ());
            let is_found = found.is_ok();
            chosen = Some(found);
            if is_found || class != Class::Emergency {
                break;
            }
        }
        let chosen = chosen.expect("the loop runs at least once");
        let (member, (lease, trial)) = match chosen {
            Ok(chosen) => chosen,
            Err(outcome) => {
                let full = || in_the_way(&spec, self.admitted.way, &wanted, &trunks, &mut desk.rng);
                let hit = hit.or_else(|| (outcome == Outcome::Full).then(full).flatten());
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
        self.plan.hop = None;
        let group = member.path.first().map(|(group, _)| *group);
        self.chosen = Some(Chosen { trunk, group, shape: member.shape, trial });
        let name = &spec.trunks[trunk].name;
        desk.stats.calls_active.add(&[name, "out"], 1);
        let line = match group {
            Some(group) => format!("group {} leads to trunk {name}", spec.groups[group].name),
            None => format!("to trunk {name}"),
        };
        self.tell(now, line);
        tracing::info!(
            call = %self.id,
            call_id = %self.a.record.sip_call_id(),
            trunk = %name,
            group = group.map(|group| spec.groups[group].name.as_str()).unwrap_or_default(),
            tags = ?self.a.record.tags,
            "chosen"
        );
        self.next_attempt(desk, now);
    }

    /// The trunk that was called is left: its places are free for others at once.
    fn leave_trunk(&mut self, desk: &mut Desk, now: Now) {
        // Where no name of it had an address nothing has been said of it yet; what we could not do says nothing.
        let nowhere = self.plan.hop.is_none();
        self.note_health(desk, now, if nowhere { Attempt::Unreachable } else { Attempt::Abandoned });
        self.lease_out = None;
        if let Some(left) = self.chosen.take() {
            let name = &self.spec.trunks[left.trunk].name;
            desk.stats.calls_active.add(&[name, "out"], -1);
            desk.stats.calls.add(&[name, "out", "failed"], 1);
        }
    }

    /// Whether the route's group has trunks that have not been tried.
    pub(super) fn has_more_trunks(&self) -> bool {
        has_untried(&self.spec.groups, self.admitted.way, &self.plan.tried, 0)
    }

    /// Nobody is left to call: the last failure counts, or why nobody was called at all.
    pub(super) fn give_up(&mut self, desk: &mut Desk, now: Now, refusal: Refusal, hit: Option<LimitHit>) {
        let release = match self.plan.last_failure {
            Some(code) => Release::failed(code),
            None => Release::refused(refusal, self.route().texts).by_limit(hit),
        };
        self.release(desk, now, release);
    }

    /// What became of the attempt, for the health of the trunk; only the first word counts.
    pub(super) fn note_health(&mut self, desk: &Desk, now: Now, attempt: Attempt) {
        let Some(chosen) = &mut self.chosen else { return };
        let Some(trial) = chosen.trial.take() else { return };
        let trunk = &self.spec.trunks[chosen.trunk];
        let health: &Health = &trunk.health;
        if let Some(change) = health.on_result(now.mono, trial, attempt) {
            crate::switch::tell_health(desk, now, &trunk.name, change);
        }
    }

    /// All places that the call holds now: for the auditor.
    pub(crate) fn leases(&self) -> impl Iterator<Item = &Lease> {
        [self.lease_in.as_ref(), self.lease_out.as_ref()].into_iter().flatten()
    }
}

/// Whether a way leads to a trunk that has not been tried.
fn has_untried(groups: &[Group], way: Way, tried: &[usize], depth: usize) -> bool {
    match way {
        Way::Trunk(trunk) => !tried.contains(&trunk),
        Way::Group(group) => {
            depth < DEPTH_MAX
                && groups[group].members.iter().any(|member| has_untried(groups, member.to, tried, depth + 1))
        }
    }
}

/// The first limit that keeps a call from everybody, when none of them was so much as asked: looked for once more, with
/// somebody who listens.
fn in_the_way(
    spec: &Spec,
    way: Way,
    wanted: &Wanted<'_>,
    trunks: &Trunks<'_>,
    rng: &mut Rng,
) -> Option<LimitHit> {
    let wanted = Wanted { dry: true, ..*wanted };
    let mut full = FirstFull(None);
    // A place that has become free meanwhile comes too late for this call.
    let nobody = |_: &Candidate<'_>| -> Result<(), String> { Err(String::new()) };
    let _ = choose(&spec.groups, way, &wanted, trunks, rng, nobody, &mut full);
    full.0.filter(|limit| !limit.is_empty()).map(|limit| LimitHit { limit, why: Why::Full })
}

/// Hears which limit is full.
struct FirstFull(Option<String>);

impl Witness for FirstFull {
    fn saw(&mut self, step: Step<'_>) {
        if let Step::Member { verdict: MemberVerdict::Full(limit), .. } = step {
            self.0.get_or_insert_with(|| limit.into_owned());
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
#[expect(clippy::too_many_arguments, reason = "what bounds an attempt comes from as many places")]
fn take_places(
    shard: u8,
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
    Lease::take(shard, now, class, own.chain(further).chain(resources))
}
