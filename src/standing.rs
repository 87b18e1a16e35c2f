//! How the trunks, groups and limits of a configuration stand now: read from what the shards share, told to the API.

use api::standing::{GroupStatus, LimitStatus, MemberStatus, Refusals, ResourceStatus, TrunkStatus};
use b2bua::Spec;
use b2bua::spec::Trunk;
use base::{Instant, Now, Wall};
use ledger::{Bounds, KeyedPools, Pool, Refused};
use routing::group::{Group, HashOf, Pick, Way};
use routing::health::{State, Word};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Whether a trunk is called.
pub fn trunk(now: Now, trunk: &Trunk) -> TrunkStatus {
    let State { word, since, until, .. } = trunk.health.state(now.mono);
    TrunkStatus {
        trunk: trunk.name.clone(),
        state: word.name(),
        // The beginning of time stands for "since the start".
        since: (since > Instant(0)).then(|| wall(now, since)),
        until: until.map(|until| wall(now, until)),
    }
}

/// An instant as people read it.
fn wall(now: Now, at: Instant) -> Wall {
    let ahead = at.nanos_since(now.mono) / 1_000;
    let behind = now.mono.nanos_since(at) / 1_000;
    Wall((now.wall.0 + ahead).saturating_sub(behind))
}

/// The members of a group.
pub fn group(now: Now, spec: &Spec, group: &Group) -> GroupStatus {
    let members = group.members.iter().map(|member| {
        let mut trunks = Vec::new();
        trunks_of(spec, member.to, &mut trunks);
        let states: Vec<Word> =
            trunks.iter().map(|&index| spec.trunks[index].health.state(now.mono).word).collect();
        let best = |word: &Word| states.contains(word);
        let state = [Word::Up, Word::HalfOpen, Word::Open, Word::Down].into_iter().find(best);
        let resources = member.resources.iter().map(|(name, pool)| ResourceStatus {
            resource: name.clone(),
            used: pool.used(),
            max: pool.bounds().calls,
        });
        MemberStatus {
            name: member.name.clone(),
            kind: if matches!(member.to, Way::Trunk(_)) { "trunk" } else { "group" },
            weight: member.weight,
            state: state.unwrap_or(Word::Disabled).name(),
            calls: trunks.iter().map(|&index| spec.trunks[index].pool.used()).sum(),
            resources: resources.collect(),
        }
    });
    GroupStatus { group: group.name.clone(), pick: pick(group.pick).to_owned(), members: members.collect() }
}

/// All trunks behind a member, each once. Groups have no loops; what was seen is not looked at again all the same.
fn trunks_of(spec: &Spec, way: Way, trunks: &mut Vec<usize>) {
    let mut groups = Vec::new();
    let mut ways = vec![way];
    while let Some(way) = ways.pop() {
        match way {
            Way::Trunk(index) if !trunks.contains(&index) => trunks.push(index),
            Way::Group(index) if !groups.contains(&index) => {
                groups.push(index);
                ways.extend(spec.groups[index].members.iter().map(|member| member.to));
            }
            Way::Trunk(_) | Way::Group(_) => {}
        }
    }
}

/// As in the configuration.
fn pick(pick: Pick) -> &'static str {
    match pick {
        Pick::RoundRobin => "round-robin",
        Pick::Weighted => "weighted",
        Pick::LeastCalls => "least-calls",
        Pick::FreeCapacity => "free-capacity",
        Pick::Priority => "priority",
        Pick::Random => "random",
        Pick::Hash(HashOf::Callee) => "hash:callee",
        Pick::Hash(HashOf::Caller) => "hash:caller",
        Pick::Hash(HashOf::CallId) => "hash:call-id",
        Pick::Hash(HashOf::Source) => "hash:source",
    }
}

/// Every limit that a call may meet, each once, by name.
pub fn limits(spec: &Spec, of_ng: &ng::spec::Spec) -> Vec<LimitStatus> {
    let mut known = Known::default();
    of_ng.pools.iter().for_each(|pool| known.pool(pool));
    for limit in spec.limits() {
        match limit {
            ledger::Limit::Pool(pool) => known.pool(pool),
            ledger::Limit::Keyed(pools) => known.keyed(pools),
        }
    }
    known.by_name.into_values().collect()
}

/// Limits by name and address: one that several trunks share is one.
#[derive(Default)]
struct Known {
    by_name: BTreeMap<(String, usize), LimitStatus>,
}

impl Known {
    fn pool(&mut self, pool: &Arc<Pool>) {
        let key = (pool.name().to_owned(), Arc::as_ptr(pool).addr());
        self.by_name.entry(key).or_insert_with(|| LimitStatus {
            used: pool.used().into(),
            lowered: pool.lowered(),
            ..status(pool.name(), pool.bounds(), pool.refused())
        });
    }

    fn keyed(&mut self, pools: &Arc<KeyedPools>) {
        let key = (pools.name().to_owned(), Arc::as_ptr(pools).addr());
        self.by_name.entry(key).or_insert_with(|| LimitStatus {
            used: pools.used(),
            keys: Some(pools.keys_len() as u64),
            ..status(pools.name(), pools.bounds(), pools.refused())
        });
    }
}

fn status(name: &str, bounds: Bounds, refused: Refused) -> LimitStatus {
    LimitStatus {
        limit: name.to_owned(),
        max: (bounds.calls != u32::MAX).then_some(bounds.calls),
        reserved: bounds.reserved,
        rate: bounds.rate.map(|rate| 1.0 / rate.interval.as_secs_f64().max(1e-9)),
        burst: bounds.rate.map(|rate| rate.burst.max(1)),
        refused: Refusals { full: refused.full, fast: refused.fast, crowded: refused.crowded },
        ..LimitStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use b2bua::spec::Limit;
    use base::Duration;
    use routing::group::{Compare, GroupState, Member, Shape, Ties};

    fn spec() -> Spec {
        let pstn = Pool::new("pstn", 30);
        let mut acme = Trunk::new("acme", Pool::new("acme", 5));
        let mut beta = Trunk::new("beta", Pool::new("beta", u32::MAX));
        acme.limits_out = vec![Limit::Shared(Arc::clone(&pstn))];
        beta.limits_in = vec![Limit::Shared(Arc::clone(&pstn))];
        let member = |name: &str, to| Member {
            name: name.into(),
            to,
            weight: 1,
            priority: 0,
            resources: vec![("pstn".into(), Arc::clone(&pstn))],
            shape: Shape::default(),
        };
        let group = |name: &str, members| Group {
            name: name.into(),
            pick: Pick::FreeCapacity,
            compare: Compare::Relative,
            ties: Ties::First,
            members,
            state: Arc::new(GroupState::default()),
        };
        let inner = group("inner", vec![member("acme", Way::Trunk(0)), member("beta", Way::Trunk(1))]);
        let outer = group("outer", vec![member("inner", Way::Group(0)), member("acme", Way::Trunk(0))]);
        Spec { trunks: vec![acme, beta], groups: vec![inner, outer], ..Spec::default() }
    }

    #[test]
    fn a_trunk_says_since_when_and_until_when() {
        let spec = spec();
        let now = |seconds: u64| Now {
            mono: Instant(seconds * 1_000_000_000),
            wall: Wall(seconds * 1_000_000 + 7),
        };
        let up = trunk(now(5), &spec.trunks[0]);
        assert_eq!((up.state, up.since, up.until), ("up", None, None));
        let _ = spec.trunks[0].health.disable(now(10).mono, Some(now(70).mono));
        let out = trunk(now(20), &spec.trunks[0]);
        assert_eq!((out.state, out.since, out.until), ("disabled", Some(now(10).wall), Some(now(70).wall)));
        assert_eq!(trunk(now(80), &spec.trunks[0]).state, "up");
    }

    #[test]
    fn a_group_is_up_while_any_of_its_trunks_is() {
        let spec = spec();
        let now = Now { mono: Instant(9), wall: Wall(9) };
        let _ = spec.trunks[0].health.disable(now.mono, None);
        let outer = group(now, &spec, &spec.groups[1]);
        let states: Vec<_> = outer.members.iter().map(|m| (m.name.as_str(), m.kind, m.state)).collect();
        assert_eq!(states, [("inner", "group", "up"), ("acme", "trunk", "disabled")]);
        let _ = spec.trunks[1].health.disable(now.mono, None);
        assert_eq!(group(now, &spec, &spec.groups[1]).members[0].state, "disabled");
        assert_eq!(
            outer.members[1].resources[0],
            ResourceStatus { resource: "pstn".into(), used: 0, max: 30 }
        );
    }

    #[test]
    fn a_limit_that_many_share_is_listed_once() {
        let mut spec = spec();
        let bounds =
            Bounds { calls: 10, reserved: 2, rate: Some(ledger::Rate::each(40, Duration::from_secs(1), 80)) };
        spec.trunks[1].limits_out = vec![Limit::Shared(Pool::with("paced", bounds))];
        let media = Pool::with("media", Bounds { calls: 7, ..Bounds::default() });
        let of_ng = ng::spec::Spec { pools: vec![media], ..ng::spec::Spec::default() };
        let limits = limits(&spec, &of_ng);
        let names: Vec<_> = limits.iter().map(|limit| (limit.limit.as_str(), limit.max)).collect();
        assert_eq!(
            names,
            [
                ("acme", Some(5)),
                ("beta", None),
                ("divert", Some(20)),
                ("media", Some(7)),
                ("paced", Some(10)),
                ("pstn", Some(30))
            ]
        );
        let paced = &limits[4];
        assert_eq!((paced.reserved, paced.rate, paced.burst), (2, Some(40.0), Some(80)));
    }
}
