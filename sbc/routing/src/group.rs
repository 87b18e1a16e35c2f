//! Groups of trunks: which member a call goes to. One function chooses, takes the places by the caller's hand, and goes
//! on to the next best when they cannot be had, so that no two calls share a last place (requirements 2.3).

mod smooth; // shares that come out exactly

use crate::explain::{Free, MemberVerdict, Step, Witness};
use base::{HashKey, Rng};
use ledger::Pool;
pub use smooth::GroupState;
use std::borrow::Cow;
use std::sync::Arc;

/// `group.NAME`.
#[derive(Clone, Debug)]
pub struct Group {
    /// As in the configuration.
    pub name: String,
    /// How a member is picked.
    pub pick: Pick,
    /// For `free-capacity`: what is compared.
    pub compare: Compare,
    /// For `free-capacity` and `least-calls`: who wins among equals.
    pub ties: Ties,
    /// In the order of the file.
    pub members: Vec<Member>,
    /// What `round-robin` and `weighted` remember; a new version of the configuration takes over the state of the group
    /// of the same name.
    pub state: Arc<GroupState>,
}

/// What a route or a member leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// Index of a trunk.
    Trunk(usize),
    /// Index of a group.
    Group(usize),
}

/// One member of a group.
#[derive(Clone, Debug)]
pub struct Member {
    /// Name of the trunk or group; what `hash` goes by.
    pub name: String,
    /// What it is.
    pub to: Way,
    /// Share, for `weighted`, `least-calls`, `random` and `hash`; 0 counts as 1.
    pub weight: u32,
    /// For `priority`: the lowest comes first, equals in the order of the file.
    pub priority: u32,
    /// Capacity by name. A call takes a place in each that it wants; the pools are shared through versions by name.
    pub resources: Vec<(String, Arc<Pool>)>,
    /// How a call looks that goes there.
    pub shape: Shape,
}

/// How a call looks on its way to a member (requirements 2.11).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Technical prefix put before the called number.
    pub prefix: Vec<u8>,
    /// Replaces the user of From.
    pub caller: Option<Vec<u8>>,
    /// Host of the Request-URI.
    pub host: Option<String>,
}

impl Shape {
    /// What an inner group's member says holds; what it leaves open is as the outer one says.
    fn under(&self, outer: &Shape) -> Shape {
        let prefix = if self.prefix.is_empty() { &outer.prefix } else { &self.prefix };
        Shape {
            prefix: prefix.clone(),
            caller: self.caller.clone().or_else(|| outer.caller.clone()),
            host: self.host.clone().or_else(|| outer.host.clone()),
        }
    }
}

/// How a member is picked, among those that can take the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// One after the other.
    RoundRobin,
    /// By weight, evenly mixed; shares are exact after each cycle.
    Weighted,
    /// The fewest calls for its weight.
    LeastCalls,
    /// The largest free part of the wanted resources.
    FreeCapacity,
    /// The first that can.
    Priority,
    /// By chance and weight.
    Random,
    /// The same for the same key; a change of members moves only their share.
    Hash(HashOf),
}

/// What `hash` looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashOf {
    /// Called number.
    Callee,
    /// Calling number.
    Caller,
    /// Call-ID.
    CallId,
    /// Source address.
    Source,
}

/// What `free-capacity` compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compare {
    /// `1 - used / max`.
    #[default]
    Relative,
    /// `max - used`.
    Absolute,
}

/// Who wins among equals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ties {
    /// Any of them.
    #[default]
    Random,
    /// The first in the order of the file.
    First,
}

/// What a call wants of a group.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Resources that a member must offer; none: each member's own, whatever they are.
    pub resources: &'a [String],
    /// Trunks that this call has tried: never chosen again.
    pub tried: &'a [usize],
    /// An emergency: full members may be used too, the emptiest first.
    pub exceed: bool,
    /// Only tells what would happen: what the group remembers stays as it is. `take` then must take nothing either.
    pub dry: bool,
    /// Called number.
    pub callee: &'a [u8],
    /// Calling number.
    pub caller: &'a [u8],
    /// Call-ID of the A leg.
    pub call_id: &'a [u8],
    /// Source address, in any form that is the same for the same source.
    pub source: &'a [u8],
}

/// What is known of trunks beyond the configuration.
pub trait World {
    /// Whether a trunk may be tried now; looks only, takes no trial.
    ///
    /// # Errors
    /// Why not, for people: [`WhyNot::word`](crate::health::WhyNot::word).
    fn may_try(&self, trunk: usize) -> Result<(), &'static str>;
    /// Calls on it now.
    fn calls(&self, trunk: usize) -> u32;
    /// Its own limit: what `free-capacity` goes by for a member without resources.
    fn capacity(&self, _trunk: usize) -> Option<Free> {
        None
    }
}

/// Somebody who could take the call; the caller takes the places.
#[derive(Debug)]
pub struct Candidate<'a> {
    /// Its index.
    pub trunk: usize,
    /// Groups and their members that led to it, the outermost first; empty where a route leads to the trunk.
    pub path: &'a [(usize, usize)],
    /// Pools in which the call takes a place, beside those of the trunk.
    pub resources: &'a [&'a Arc<Pool>],
    /// How the call looks there.
    pub shape: &'a Shape,
}

/// Who was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Index of the trunk.
    pub trunk: usize,
    /// Groups and their members that led to it, the outermost first.
    pub path: Vec<(usize, usize)>,
    /// How the call looks there.
    pub shape: Shape,
}

/// Nobody was chosen (the numbers are those of `lb_start`, requirements 2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Outcome {
    /// -4: no member offers the resource.
    #[error("no resource")]
    NoResource,
    /// -3: those that offer it are down, disabled, or were tried.
    #[error("all down")]
    Down,
    /// -2: some are up, and none has room.
    #[error("all full")]
    Full,
    /// -1: the groups lead in a circle, or nowhere.
    #[error("internal error")]
    Internal,
}

/// Groups in groups, at most.
pub const DEPTH_MAX: usize = 8;

/// Groups that lead back to themselves, or deeper than [`DEPTH_MAX`]: the way there, by index, if there is one. A
/// configuration with such a way is to be refused.
pub fn find_loop(groups: &[Group]) -> Option<Vec<usize>> {
    fn follow(groups: &[Group], safe: &mut [usize], path: &mut Vec<usize>) -> bool {
        let at = *path.last().expect("a way begins somewhere");
        // From a group that was seen to be safe, so many levels go on.
        if safe[at] > 0 {
            return path.len() + safe[at] > DEPTH_MAX + 1;
        }
        if path.len() > DEPTH_MAX || path[..path.len() - 1].contains(&at) {
            return true;
        }
        let mut levels = 1;
        for member in &groups[at].members {
            if let Way::Group(inner) = member.to {
                path.push(inner);
                if follow(groups, safe, path) {
                    return true;
                }
                path.pop();
                levels = levels.max(1 + safe[inner]);
            }
        }
        safe[at] = levels;
        false
    }
    let mut safe = vec![0; groups.len()];
    (0..groups.len()).find_map(|start| {
        let mut path = vec![start];
        follow(groups, &mut safe, &mut path).then_some(path)
    })
}

/// Chooses who gets the call. `take` takes a place in everything that bounds this candidate, all or nothing, and says
/// otherwise which limit is full; then the next best is asked.
///
/// # Errors
/// Nobody could be taken; the reason is that of the member who came nearest.
pub fn choose<T>(
    groups: &[Group],
    way: Way,
    wanted: &Wanted<'_>,
    world: &impl World,
    rng: &mut Rng,
    mut take: impl FnMut(&Candidate<'_>) -> Result<T, String>,
    witness: &mut impl Witness,
) -> Result<(Chosen, T), Outcome> {
    let mut choice = Choice { groups, wanted, world, rng, witness, path: Vec::new() };
    match way {
        Way::Group(group) => choice.enter(group, &mut take),
        Way::Trunk(trunk) => choice.only(trunk, &mut take),
    }
}

/// One choosing.
struct Choice<'a, W, T> {
    groups: &'a [Group],
    wanted: &'a Wanted<'a>,
    world: &'a W,
    rng: &'a mut Rng,
    witness: &'a mut T,
    /// Groups and members through which it goes at this moment.
    path: Vec<(usize, usize)>,
}

/// A member that is not excluded.
#[derive(Clone, Copy)]
struct Standing {
    member: usize,
    weight: u32,
    /// The highest is picked; not used by shares.
    score: i64,
}

impl<'a, W: World, E: Witness> Choice<'a, W, E> {
    /// A route leads to a trunk.
    fn only<T>(
        &mut self,
        trunk: usize,
        take: &mut impl FnMut(&Candidate<'_>) -> Result<T, String>,
    ) -> Result<(Chosen, T), Outcome> {
        let result = match self.wanted.resources.first() {
            Some(resource) => Err(MemberVerdict::Lacks(Cow::Borrowed(resource))),
            None => self.may_try(trunk).and_then(|()| self.take(trunk, &[], take)),
        };
        let verdict = result.as_ref().err().cloned().unwrap_or(MemberVerdict::Chosen);
        self.witness.saw(Step::Trunk { trunk, verdict });
        result.map_err(|verdict| {
            let outcome = outcome_of(&verdict);
            self.witness.saw(Step::Nobody { group: Cow::Borrowed(""), outcome });
            outcome
        })
    }

    /// Chooses in a group.
    fn enter<T, F: FnMut(&Candidate<'_>) -> Result<T, String>>(
        &mut self,
        index: usize,
        take: &mut F,
    ) -> Result<(Chosen, T), Outcome> {
        let Some(group) = self.groups.get(index).filter(|_| self.path.len() < DEPTH_MAX) else {
            return Err(Outcome::Internal);
        };
        if E::LISTENS {
            self.witness.saw(Step::Group { group: Cow::Borrowed(&group.name), pick: group.pick });
        }
        // Nobody offers what nobody lists; an empty group has nobody who is up.
        let mut nearest = if group.members.is_empty() { Outcome::Down } else { Outcome::NoResource };
        let mut open = Vec::with_capacity(group.members.len());
        for member in 0..group.members.len() {
            match self.standing(index, member) {
                Ok(standing) => open.push(standing),
                Err(verdict) => {
                    nearest = nearest.max(outcome_of(&verdict));
                    self.tell(index, member, verdict);
                }
            }
        }
        while let Some(at) = self.pick(group, &open) {
            let member = open[at].member;
            let result = match group.members[member].to {
                Way::Trunk(trunk) => {
                    self.path.push((index, member));
                    let pools = self.pools();
                    let result = self.take(trunk, &pools, take);
                    self.path.pop();
                    result
                }
                Way::Group(inner) => {
                    self.path.push((index, member));
                    let result = self.enter(inner, take).map_err(MemberVerdict::Nobody);
                    self.path.pop();
                    result
                }
            };
            if group.shares() && (result.is_err() || self.wanted.dry) {
                group.state.undo(group.members.len(), &open, at);
            }
            open.remove(at);
            match result {
                Ok(taken) => {
                    self.tell(index, member, MemberVerdict::Chosen);
                    for other in open.iter().filter(|_| E::LISTENS) {
                        self.tell(index, other.member, MemberVerdict::Behind);
                    }
                    return Ok(taken);
                }
                Err(verdict) => {
                    nearest = nearest.max(outcome_of(&verdict));
                    self.tell(index, member, verdict);
                }
            }
        }
        self.witness.saw(Step::Nobody { group: Cow::Borrowed(&group.name), outcome: nearest });
        Err(nearest)
    }

    /// Takes the places of a trunk, at the end of the path.
    fn take<T>(
        &self,
        trunk: usize,
        resources: &[&Arc<Pool>],
        take: &mut impl FnMut(&Candidate<'_>) -> Result<T, String>,
    ) -> Result<(Chosen, T), MemberVerdict<'a>> {
        let shape = self.path.iter().fold(Shape::default(), |outer, (group, member)| {
            self.groups[*group].members[*member].shape.under(&outer)
        });
        let taken = take(&Candidate { trunk, path: &self.path, resources, shape: &shape })
            .map_err(|limit| MemberVerdict::Full(Cow::Owned(limit)))?;
        Ok((Chosen { trunk, path: self.path.clone(), shape }, taken))
    }

    /// The pools in which a call takes a place that goes this path.
    fn pools(&self) -> Vec<&'a Arc<Pool>> {
        let (groups, wanted) = (self.groups, self.wanted);
        let mut pools: Vec<&'a Arc<Pool>> = Vec::new();
        for (group, member) in &self.path {
            for (name, pool) in &groups[*group].members[*member].resources {
                // One place a pool, also where two levels share it.
                if wanted.takes(name) && !pools.iter().any(|had| Arc::ptr_eq(had, pool)) {
                    pools.push(pool);
                }
            }
        }
        pools
    }

    /// Whether a member is excluded from the start, and how well it stands otherwise.
    fn standing(&mut self, group: usize, member: usize) -> Result<Standing, MemberVerdict<'a>> {
        let (groups, wanted) = (self.groups, self.wanted);
        let it = &groups[group].members[member];
        if let Way::Trunk(trunk) = it.to {
            let lacks = |name: &&String| {
                !it.offers(name) && !self.path.iter().any(|(g, m)| groups[*g].members[*m].offers(name))
            };
            if let Some(resource) = wanted.resources.iter().find(lacks) {
                return Err(MemberVerdict::Lacks(Cow::Borrowed(resource)));
            }
            self.may_try(trunk)?;
        }
        if !wanted.exceed {
            let full = |(name, pool): &&(String, Arc<Pool>)| wanted.takes(name) && room(pool).places() <= 0;
            if let Some((_, pool)) = it.resources.iter().find(full) {
                return Err(MemberVerdict::Full(Cow::Borrowed(pool.name())));
            }
        }
        let weight = if groups[group].pick == Pick::RoundRobin { 1 } else { it.weight.max(1) };
        Ok(Standing { member, weight, score: self.score(group, member) })
    }

    fn may_try(&self, trunk: usize) -> Result<(), MemberVerdict<'a>> {
        if self.wanted.tried.contains(&trunk) {
            return Err(MemberVerdict::Tried);
        }
        self.world.may_try(trunk).map_err(|why| MemberVerdict::NotNow(Cow::Borrowed(why)))
    }

    fn score(&mut self, group: usize, member: usize) -> i64 {
        let groups = self.groups;
        let it = &groups[group].members[member];
        let weight = it.weight.max(1);
        match groups[group].pick {
            Pick::RoundRobin | Pick::Weighted => 0,
            Pick::Priority => -i64::from(it.priority),
            Pick::FreeCapacity => {
                let compare = groups[group].compare;
                self.free(it, compare, self.path.len()).map_or(i64::MAX, |free| worth(free, compare))
            }
            Pick::LeastCalls => -((i64::from(self.calls(it.to, self.path.len())) << 30) / i64::from(weight)),
            Pick::Random => drawn(self.rng.u64(), weight),
            Pick::Hash(of) => {
                let key = match of {
                    HashOf::Callee => self.wanted.callee,
                    HashOf::Caller => self.wanted.caller,
                    HashOf::CallId => self.wanted.call_id,
                    HashOf::Source => self.wanted.source,
                };
                drawn(mixed(hash(it.name.as_bytes()) ^ hash(key).rotate_left(32)), weight)
            }
        }
    }

    /// The room in a member: in the tightest of the wanted resources; `None` if nothing bounds it.
    fn free(&self, member: &Member, compare: Compare, depth: usize) -> Option<Free> {
        let worth = |free: &Free| worth(*free, compare);
        let own = member.resources.iter().filter(|(name, _)| self.wanted.takes(name));
        let own = own.map(|(_, pool)| room(pool)).min_by_key(worth);
        let inner = match member.to {
            Way::Trunk(trunk) if own.is_none() => self.world.capacity(trunk),
            Way::Trunk(_) => None,
            Way::Group(inner) => self.groups.get(inner).filter(|_| depth < DEPTH_MAX).and_then(|inner| {
                // The call would find the emptiest of those that can take it.
                let able = |m: &&Member| match m.to {
                    Way::Trunk(trunk) => self.may_try(trunk).is_ok(),
                    Way::Group(_) => true,
                };
                let mut best = None;
                for member in inner.members.iter().filter(able) {
                    // One without a bound makes a group without.
                    let free = self.free(member, compare, depth + 1)?;
                    best = best.filter(|best| worth(best) >= worth(&free)).or(Some(free));
                }
                best
            }),
        };
        own.into_iter().chain(inner).min_by_key(worth)
    }

    fn calls(&self, way: Way, depth: usize) -> u32 {
        match way {
            Way::Trunk(trunk) => self.world.calls(trunk),
            Way::Group(group) => {
                let members =
                    self.groups.get(group).filter(|_| depth < DEPTH_MAX).map_or(&[][..], |g| &g.members);
                members.iter().fold(0, |sum, member| sum.saturating_add(self.calls(member.to, depth + 1)))
            }
        }
    }

    fn pick(&mut self, group: &Group, open: &[Standing]) -> Option<usize> {
        if group.shares() {
            return group.state.pick(group.members.len(), open);
        }
        let best = open.iter().map(|standing| standing.score).max()?;
        let mut equals = open.iter().enumerate().filter(|(_, standing)| standing.score == best);
        let by_lot =
            group.ties == Ties::Random && matches!(group.pick, Pick::FreeCapacity | Pick::LeastCalls);
        let lot = if by_lot { self.rng.below(equals.clone().count() as u64) } else { 0 };
        equals.nth(lot as usize).map(|(at, _)| at)
    }

    fn tell(&mut self, group: usize, member: usize, verdict: MemberVerdict<'_>) {
        if !E::LISTENS {
            return;
        }
        let of = &self.groups[group];
        let it = &of.members[member];
        let step = Step::Member {
            group: Cow::Borrowed(&of.name),
            member: Cow::Borrowed(&it.name),
            way: it.to,
            free: self.free(it, of.compare, self.path.len()),
            calls: self.calls(it.to, self.path.len()),
            weight: it.weight,
            verdict,
        };
        self.witness.saw(step);
    }
}

impl Group {
    /// Whether it deals out shares.
    fn shares(&self) -> bool {
        matches!(self.pick, Pick::RoundRobin | Pick::Weighted)
    }
}

impl Member {
    fn offers(&self, resource: &str) -> bool {
        self.resources.iter().any(|(name, _)| name == resource)
    }
}

impl Wanted<'_> {
    fn takes(&self, resource: &str) -> bool {
        self.resources.is_empty() || self.resources.iter().any(|wanted| wanted == resource)
    }
}

fn outcome_of(verdict: &MemberVerdict<'_>) -> Outcome {
    match verdict {
        MemberVerdict::Lacks(_) => Outcome::NoResource,
        MemberVerdict::Tried | MemberVerdict::NotNow(_) => Outcome::Down,
        MemberVerdict::Full(_) | MemberVerdict::Chosen | MemberVerdict::Behind => Outcome::Full,
        MemberVerdict::Nobody(outcome) => *outcome,
    }
}

/// The room in a pool now.
fn room(pool: &Pool) -> Free {
    let max = pool.bounds().calls.min(pool.lowered().unwrap_or(u32::MAX));
    Free { used: pool.used(), max }
}

/// How much room that is: more is better, nothing is 0, too many calls are below.
fn worth(free: Free, compare: Compare) -> i64 {
    match compare {
        Compare::Absolute => free.places(),
        // The exact share: percent cut to whole numbers would make equals of what is not.
        Compare::Relative => (free.places() << 30) / i64::from(free.max.max(1)),
    }
}

/// Draws a lot for a member from 64 even bits: the highest of all wins with a chance that goes by weight, and a lot does
/// not depend on the other members (weighted rendezvous hashing).
fn drawn(bits: u64, weight: u32) -> i64 {
    // Between 0 and 1, never either.
    let even = ((bits >> 12) as f64 + 0.5) / (1u64 << 52) as f64;
    let lot = f64::from(weight) / -even.ln();
    // The bits of positive floats order as the floats do.
    lot.to_bits() as i64
}

/// Spreads every bit over all (the end of splitmix64).
fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// No secret: the same number goes to the same member after a restart, and on every engine of a cluster.
fn hash(bytes: &[u8]) -> u64 {
    HashKey::new([0x7374_726f_7767_6572, 0x726f_7574_696e_6721]).of(bytes)
}

#[cfg(test)]
mod tests;
