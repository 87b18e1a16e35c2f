//! Groups: who is chosen, who never is, and how exact shares are.

use super::*;
use crate::explain::Collected;
use base::Rng;
use ledger::{Lease, lease::Part};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Trunks that are down, and calls by trunk.
#[derive(Default)]
struct Trunks {
    down: BTreeMap<usize, &'static str>,
    calls: BTreeMap<usize, u32>,
}

impl World for Trunks {
    fn may_try(&self, trunk: usize) -> Result<(), &'static str> {
        self.down.get(&trunk).map_or(Ok(()), |why| Err(*why))
    }
    fn calls(&self, trunk: usize) -> u32 {
        self.calls.get(&trunk).copied().unwrap_or(0)
    }
}

fn group(name: &str, pick: Pick, members: Vec<Member>) -> Group {
    let (compare, ties) = (Compare::Relative, Ties::Random);
    Group { name: name.into(), pick, compare, ties, members, state: Arc::default() }
}

fn member(trunk: usize) -> Member {
    Member {
        name: format!("trunk-{trunk}"),
        to: Way::Trunk(trunk),
        weight: 1,
        priority: 0,
        resources: Vec::new(),
        shape: Shape::default(),
    }
}

fn weighing(trunk: usize, weight: u32) -> Member {
    Member { weight, ..member(trunk) }
}

fn offering(trunk: usize, resources: &[(&str, u32)]) -> Member {
    let pool =
        |(name, max): &(&str, u32)| ((*name).to_owned(), Pool::new(format!("trunk-{trunk}/{name}"), *max));
    Member { resources: resources.iter().map(pool).collect(), ..member(trunk) }
}

fn inner(index: usize) -> Member {
    Member { name: format!("group-{index}"), to: Way::Group(index), ..member(0) }
}

/// Takes real places, as the B2BUA does.
fn lease(candidate: &Candidate<'_>, class: ledger::limit::Class) -> Result<Lease, String> {
    let parts = candidate.resources.iter().map(|pool| Part::Pool(pool));
    Lease::take(0, base::Instant(1), class, parts).map_err(|hit| hit.limit)
}

fn place(candidate: &Candidate<'_>) -> Result<Lease, String> {
    lease(candidate, ledger::limit::Class::Normal)
}

fn pick(
    groups: &[Group],
    wanted: &Wanted<'_>,
    world: &Trunks,
    rng: &mut Rng,
) -> Result<(usize, Lease), Outcome> {
    choose(groups, Way::Group(0), wanted, world, rng, place, &mut ())
        .map(|(chosen, lease)| (chosen.trunk, lease))
}

/// Who is chosen in turn, without places.
fn turns(groups: &[Group], wanted: &Wanted<'_>, world: &Trunks, count: usize) -> Vec<usize> {
    let mut rng = Rng::from_seed(1);
    (0..count).map(|_| pick(groups, wanted, world, &mut rng).unwrap().0).collect()
}

fn shares(chosen: &[usize]) -> BTreeMap<usize, usize> {
    chosen.iter().fold(BTreeMap::new(), |mut shares, trunk| {
        *shares.entry(*trunk).or_default() += 1;
        shares
    })
}

fn pstn() -> [String; 1] {
    ["pstn".to_owned()]
}

#[test]
fn three_media_servers_fill_evenly_to_their_caps() {
    let members =
        vec![offering(0, &[("pstn", 10)]), offering(1, &[("pstn", 20)]), offering(2, &[("pstn", 30)])];
    let groups = [group("100", Pick::FreeCapacity, members)];
    let (names, world) = (pstn(), Trunks::default());
    let wanted = Wanted { resources: &names, ..Wanted::default() };
    let mut rng = Rng::from_seed(7);
    let mut held = Vec::new();
    for call in 1..=60u32 {
        held.push(pick(&groups, &wanted, &world, &mut rng).unwrap());
        let used = |m: usize| groups[0].members[m].resources[0].1.used();
        for (m, max) in [(0, 10), (1, 20), (2, 30)] {
            let even = f64::from(call) * f64::from(max) / 60.0;
            assert!((f64::from(used(m)) - even).abs() <= 1.0, "call {call}: {} of {max} on {m}", used(m));
        }
    }
    let chosen: Vec<_> = held.iter().map(|(trunk, _)| *trunk).collect();
    assert_eq!(shares(&chosen), BTreeMap::from([(0, 10), (1, 20), (2, 30)]));
    assert_eq!(pick(&groups, &wanted, &world, &mut rng).unwrap_err(), Outcome::Full, "the 61st");
    held.remove(5);
    assert!(pick(&groups, &wanted, &world, &mut rng).is_ok(), "a place that is given back is taken again");
}

#[test]
fn the_four_outcomes() {
    let groups =
        [group("g", Pick::FreeCapacity, vec![offering(0, &[("pstn", 1)]), offering(1, &[("pstn", 1)])])];
    let (names, fax) = (pstn(), ["fax".to_owned()]);
    let wanted = Wanted { resources: &names, ..Wanted::default() };
    let (mut rng, mut world) = (Rng::from_seed(1), Trunks::default());
    let no_fax = Wanted { resources: &fax, ..wanted };
    assert_eq!(pick(&groups, &no_fax, &world, &mut rng).unwrap_err(), Outcome::NoResource);
    let held = [
        pick(&groups, &wanted, &world, &mut rng).unwrap(),
        pick(&groups, &wanted, &world, &mut rng).unwrap(),
    ];
    assert_eq!(pick(&groups, &wanted, &world, &mut rng).unwrap_err(), Outcome::Full);
    world.down.insert(0, "disabled");
    assert_eq!(pick(&groups, &wanted, &world, &mut rng).unwrap_err(), Outcome::Full, "one is up");
    world.down.insert(1, "down by probe");
    assert_eq!(pick(&groups, &wanted, &world, &mut rng).unwrap_err(), Outcome::Down);
    assert_eq!(pick(&groups, &no_fax, &world, &mut rng).unwrap_err(), Outcome::NoResource);
    let circle = [group("a", Pick::Priority, vec![inner(0)])];
    assert_eq!(pick(&circle, &wanted, &world, &mut rng).unwrap_err(), Outcome::Internal);
    assert_eq!(pick(&[], &wanted, &world, &mut rng).unwrap_err(), Outcome::Internal);
    assert_eq!(
        pick(&[group("e", Pick::Random, vec![])], &wanted, &world, &mut rng).unwrap_err(),
        Outcome::Down
    );
    drop(held);
}

#[test]
fn the_tightest_resource_decides() {
    let mut members =
        vec![offering(0, &[("pstn", 100), ("transcode", 4)]), offering(1, &[("pstn", 50), ("transcode", 8)])];
    members.push(offering(2, &[("pstn", 1000)]));
    let mut groups = [group("g", Pick::FreeCapacity, members)];
    groups[0].compare = Compare::Absolute;
    let both = ["pstn".to_owned(), "transcode".to_owned()];
    let names = pstn();
    let (world, mut rng) = (Trunks::default(), Rng::from_seed(1));
    let wanted = Wanted { resources: &both, ..Wanted::default() };
    let (chosen, lease) = pick(&groups, &wanted, &world, &mut rng).unwrap();
    assert_eq!((chosen, lease.pools().count()), (1, 2), "8 of 50 is more than 4 of 100; a place in each");
    let wanted = Wanted { resources: &names, ..wanted };
    assert_eq!(pick(&groups, &wanted, &world, &mut rng).unwrap().0, 2);
    groups[0].members.pop();
    assert_eq!(pick(&groups, &wanted, &world, &mut rng).unwrap().0, 0);
}

#[test]
fn equals_are_picked_by_lot_or_the_first() {
    let world = Trunks::default();
    for pick in [Pick::FreeCapacity, Pick::LeastCalls] {
        let mut groups = [group("g", pick, (0..3).map(|t| offering(t, &[("pstn", 10)])).collect())];
        let by_lot = shares(&turns(&groups, &Wanted::default(), &world, 3000));
        assert!(by_lot.len() == 3 && by_lot.values().all(|share| (850..1150).contains(share)), "{by_lot:?}");
        groups[0].ties = Ties::First;
        assert_eq!(shares(&turns(&groups, &Wanted::default(), &world, 50)), BTreeMap::from([(0, 50)]));
    }
}

#[test]
fn an_emergency_goes_where_nobody_else_may() {
    let groups =
        [group("g", Pick::FreeCapacity, vec![offering(0, &[("pstn", 1)]), offering(1, &[("pstn", 2)])])];
    let (mut world, mut rng) = (Trunks::default(), Rng::from_seed(1));
    let mut held: Vec<_> =
        (0..3).map(|_| pick(&groups, &Wanted::default(), &world, &mut rng).unwrap().1).collect();
    let wanted = Wanted { exceed: true, ..Wanted::default() };
    let mut emergency = |world: &Trunks| {
        let take = |candidate: &Candidate<'_>| lease(candidate, ledger::limit::Class::Emergency);
        let chosen = choose(&groups, Way::Group(0), &wanted, world, &mut rng, take, &mut ());
        chosen.map(|(chosen, lease)| {
            held.push(lease);
            chosen.trunk
        })
    };
    let chosen: Vec<_> = (0..4).map(|_| emergency(&world).unwrap()).collect();
    assert_eq!(shares(&chosen).len(), 2, "the emptiest first: {chosen:?}");
    world.down = BTreeMap::from([(0, "down by probe"), (1, "down by probe")]);
    assert_eq!(emergency(&world), Err(Outcome::Down));
}

#[test]
fn the_fewest_calls_for_its_weight() {
    let groups = [
        group("g", Pick::LeastCalls, vec![weighing(0, 1), weighing(1, 3), inner(1)]),
        group("h", Pick::Random, vec![member(2), member(3)]),
    ];
    let mut world = Trunks { calls: BTreeMap::from([(0, 2), (1, 5), (2, 1), (3, 1)]), ..Trunks::default() };
    assert_eq!(turns(&groups, &Wanted::default(), &world, 1), [1]);
    world.calls.insert(1, 6);
    world.calls.insert(2, 0);
    assert!(turns(&groups, &Wanted::default(), &world, 10).iter().all(|trunk| [2, 3].contains(trunk)));
}

#[test]
fn priority_goes_down_the_list() {
    let groups =
        [group("g", Pick::Priority, vec![Member { priority: 2, ..member(0) }, member(1), member(2)])];
    let mut world = Trunks::default();
    let mut tried = Vec::new();
    for expected in [1, 2, 0] {
        assert_eq!(turns(&groups, &Wanted { tried: &tried, ..Wanted::default() }, &world, 1), [expected]);
        tried.push(expected);
    }
    world.down.insert(1, "breaker open");
    assert_eq!(turns(&groups, &Wanted::default(), &world, 3), [2, 2, 2]);
}

#[test]
fn chance_goes_by_weight() {
    let groups = [group("g", Pick::Random, vec![weighing(0, 1), weighing(1, 3), weighing(2, 6)])];
    let chosen = shares(&turns(&groups, &Wanted::default(), &Trunks::default(), 10_000));
    for (trunk, expected) in [(0, 1000), (1, 3000), (2, 6000)] {
        assert!(chosen[&trunk].abs_diff(expected) < 200, "{chosen:?}");
    }
}

#[test]
fn rounds_are_even_and_skip_who_cannot() {
    let groups = [group("g", Pick::RoundRobin, (0..3).map(|t| weighing(t, 9)).collect())];
    let mut world = Trunks::default();
    assert_eq!(turns(&groups, &Wanted::default(), &world, 6), [0, 1, 2, 0, 1, 2]);
    world.down.insert(1, "disabled");
    assert_eq!(shares(&turns(&groups, &Wanted::default(), &world, 100)), BTreeMap::from([(0, 50), (2, 50)]));
}

#[test]
fn looking_on_moves_nothing() {
    let groups = [group("g", Pick::RoundRobin, (0..3).map(member).collect())];
    let world = Trunks::default();
    let dry = Wanted { dry: true, ..Wanted::default() };
    for expected in [0, 1, 2, 0] {
        assert_eq!(turns(&groups, &dry, &world, 5), [expected; 5]);
        assert_eq!(turns(&groups, &Wanted::default(), &world, 1), [expected]);
    }
}

#[test]
fn shares_stay_exact_when_threads_choose_together() {
    let groups = [group("g", Pick::Weighted, vec![weighing(0, 5), weighing(1, 3), weighing(2, 2)])];
    let chosen: Vec<usize> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| turns(&groups, &Wanted::default(), &Trunks::default(), 2500)))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(shares(&chosen), BTreeMap::from([(0, 5000), (1, 3000), (2, 2000)]));
}

#[test]
fn a_hash_moves_only_the_share_of_who_left() {
    let members: Vec<_> =
        [1, 2, 3, 4].iter().zip(0..).map(|(weight, trunk)| weighing(trunk, *weight)).collect();
    let all = [group("g", Pick::Hash(HashOf::Callee), members.clone())];
    let fewer = [group("g", Pick::Hash(HashOf::Callee), members[..3].to_vec())];
    let world = Trunks::default();
    let mut counts = [0; 4];
    for number in 0..10_000 {
        let callee = format!("+1212{number:07}");
        let wanted = Wanted { callee: callee.as_bytes(), ..Wanted::default() };
        let before = turns(&all, &wanted, &world, 2);
        assert_eq!(before[0], before[1], "the same number goes the same way");
        let after = turns(&fewer, &wanted, &world, 1)[0];
        assert!(before[0] == 3 || before[0] == after, "{callee} moved from {} to {after}", before[0]);
        counts[before[0]] += 1;
    }
    for (count, expected) in counts.into_iter().zip([1000, 2000, 3000, 4000i32]) {
        assert!((count - expected).abs() < 250, "{counts:?}");
    }
}

#[test]
fn each_hash_looks_at_its_own_key() {
    for (of, at) in [(HashOf::Callee, 0), (HashOf::Caller, 1), (HashOf::CallId, 2), (HashOf::Source, 3)] {
        let groups = [group("g", Pick::Hash(of), (0..10).map(member).collect())];
        let chosen = |changed: usize| {
            let keys: Vec<Vec<Vec<u8>>> = (0..20u8)
                .map(|n| (0..4).map(|key| if key == changed { vec![n] } else { Vec::new() }).collect())
                .collect();
            let chosen: Vec<_> = keys
                .iter()
                .map(|keys| {
                    let wanted = Wanted {
                        callee: &keys[0],
                        caller: &keys[1],
                        call_id: &keys[2],
                        source: &keys[3],
                        ..Wanted::default()
                    };
                    turns(&groups, &wanted, &Trunks::default(), 1)[0]
                })
                .collect();
            shares(&chosen).len()
        };
        for changed in 0..4 {
            assert_eq!(chosen(changed) > 1, changed == at, "{of:?}, key {changed}");
        }
    }
}

#[test]
fn groups_in_groups_pass_on_shape_places_and_the_next_best() {
    let shape = |prefix: &str, caller: Option<&str>, host: Option<&str>| Shape {
        prefix: prefix.into(),
        caller: caller.map(Into::into),
        host: host.map(Into::into),
    };
    let mut groups = [
        group("top", Pick::Priority, vec![inner(1), member(9)]),
        group("carriers", Pick::Priority, vec![offering(1, &[("pstn", 1)]), offering(2, &[("pstn", 5)])]),
    ];
    groups[0].members[0].shape = shape("88", Some("+1"), Some("outer.example"));
    groups[0].members[0].resources = vec![("pstn".into(), Pool::new("both", 2))];
    groups[1].members[1].shape = shape("99", None, Some("inner.example"));
    let (names, world, mut rng) = (pstn(), Trunks::default(), Rng::from_seed(1));
    let wanted = Wanted { resources: &names, ..Wanted::default() };
    let mut choose = || choose(&groups, Way::Group(0), &wanted, &world, &mut rng, place, &mut ());
    let (first, first_lease) = choose().unwrap();
    assert_eq!(
        (first.trunk, &first.path, first.shape),
        (1, &vec![(0, 0), (1, 0)], shape("88", Some("+1"), Some("outer.example")))
    );
    assert_eq!(first_lease.pools().map(|pool| pool.name()).collect::<Vec<_>>(), ["both", "trunk-1/pstn"]);
    let (second, second_lease) = choose().unwrap();
    assert_eq!((second.trunk, second.shape), (2, shape("99", Some("+1"), Some("inner.example"))));
    assert_eq!(
        choose().unwrap_err(),
        Outcome::Full,
        "the member that is a group is full; the other lacks the resource"
    );
    drop((first_lease, second_lease));
    assert!(groups[0].members[0].resources[0].1.used() == 0);
}

#[test]
fn a_trunk_can_be_the_way() {
    let (mut world, mut rng) = (Trunks::default(), Rng::from_seed(1));
    let mut only = |world: &Trunks, wanted: &Wanted<'_>, full: Option<&str>| {
        let take = |_: &Candidate<'_>| full.map_or(Ok(()), |limit| Err(limit.to_owned()));
        choose(&[], Way::Trunk(4), wanted, world, &mut rng, take, &mut ()).map(|(chosen, ())| chosen.trunk)
    };
    assert_eq!(only(&world, &Wanted::default(), None), Ok(4));
    assert_eq!(only(&world, &Wanted::default(), Some("acme")), Err(Outcome::Full));
    assert_eq!(only(&world, &Wanted { tried: &[4], ..Wanted::default() }, None), Err(Outcome::Down));
    assert_eq!(
        only(&world, &Wanted { resources: &pstn(), ..Wanted::default() }, None),
        Err(Outcome::NoResource)
    );
    world.down.insert(4, "breaker open");
    assert_eq!(only(&world, &Wanted::default(), None), Err(Outcome::Down));
}

#[test]
fn each_member_is_told_with_its_reason() {
    let mut members: Vec<_> = (0..5).map(|trunk| offering(trunk, &[("pstn", 10)])).collect();
    members.push(member(5));
    members.push(offering(6, &[("pstn", 0)]));
    let mut groups = [group("g", Pick::FreeCapacity, members)];
    groups[0].ties = Ties::First;
    let names = pstn();
    let wanted = Wanted { resources: &names, tried: &[0], dry: true, ..Wanted::default() };
    let world = Trunks { down: BTreeMap::from([(1, "down by probe")]), calls: BTreeMap::from([(3, 4)]) };
    let mut told = Collected::default();
    // The trunk of member 2 has a limit of its own, and it is full.
    let take = |candidate: &Candidate<'_>| if candidate.trunk == 2 { Err("acme".to_owned()) } else { Ok(()) };
    let mut rng = Rng::from_seed(1);
    choose(&groups, Way::Group(0), &wanted, &world, &mut rng, take, &mut told).unwrap();
    let verdicts: BTreeMap<_, _> = told
        .steps
        .iter()
        .filter_map(|step| match step {
            Step::Member { way: Way::Trunk(trunk), free, calls, verdict, .. } => {
                Some((*trunk, (free.map(Free::places), *calls, verdict.clone())))
            }
            _ => None,
        })
        .collect();
    let expected = [
        (0, (Some(10), 0, MemberVerdict::Tried)),
        (1, (Some(10), 0, MemberVerdict::NotNow("down by probe".into()))),
        (2, (Some(10), 0, MemberVerdict::Full("acme".into()))),
        (3, (Some(10), 4, MemberVerdict::Chosen)),
        (4, (Some(10), 0, MemberVerdict::Behind)),
        (5, (None, 0, MemberVerdict::Lacks("pstn".into()))),
        (6, (Some(0), 0, MemberVerdict::Full("trunk-6/pstn".into()))),
    ];
    assert_eq!(verdicts, BTreeMap::from(expected));
}

#[test]
fn loops_are_found() {
    let of = |links: &[&[usize]]| -> Vec<Group> {
        let members = |to: &&[usize]| to.iter().map(|index| inner(*index)).collect();
        links.iter().map(|to| group("g", Pick::Random, members(to))).collect()
    };
    assert_eq!(find_loop(&of(&[&[1, 2], &[2], &[]])), None);
    assert_eq!(find_loop(&of(&[&[1], &[2], &[1]])), Some(vec![0, 1, 2, 1]));
    assert_eq!(find_loop(&of(&[&[0]])), Some(vec![0, 0]));
    let chain: Vec<Vec<usize>> =
        (1..=DEPTH_MAX + 1).map(|next| if next <= DEPTH_MAX { vec![next] } else { vec![] }).collect();
    let deep = |from: usize| of(&chain[from..].iter().map(|to| &to[..]).collect::<Vec<_>>());
    assert!(find_loop(&deep(0)).is_some(), "one level too many");
    // Many ways through many levels are looked at once each.
    let wide: Vec<Vec<usize>> = (0..DEPTH_MAX * 100)
        .map(|n| {
            if n / 100 + 1 < DEPTH_MAX {
                ((n / 100 + 1) * 100..(n / 100 + 2) * 100).collect()
            } else {
                vec![]
            }
        })
        .collect();
    assert_eq!(find_loop(&of(&wide.iter().map(|to| &to[..]).collect::<Vec<_>>())), None);
}

fn any_pick() -> impl Strategy<Value = Pick> {
    prop::sample::select(vec![
        Pick::RoundRobin,
        Pick::Weighted,
        Pick::LeastCalls,
        Pick::FreeCapacity,
        Pick::Priority,
        Pick::Random,
        Pick::Hash(HashOf::CallId),
    ])
}

proptest! {
    #[test]
    fn weighted_shares_are_exact_after_a_cycle(weights in prop::collection::vec(1u32..20, 1..8), cycles in 1usize..4) {
        let members = weights.iter().enumerate().map(|(trunk, weight)| weighing(trunk, *weight)).collect();
        let groups = [group("g", Pick::Weighted, members)];
        let total: u32 = weights.iter().sum();
        let chosen = turns(&groups, &Wanted::default(), &Trunks::default(), total as usize * cycles);
        let expected: BTreeMap<_, _> = weights.iter().map(|weight| *weight as usize * cycles).enumerate().collect();
        prop_assert_eq!(shares(&chosen), expected);
        for (turn, _) in chosen.iter().enumerate() {
            for (trunk, weight) in weights.iter().enumerate() {
                let so_far = chosen[..=turn].iter().filter(|chosen| **chosen == trunk).count() as f64;
                let even = (turn + 1) as f64 * f64::from(*weight) / f64::from(total);
                prop_assert!((so_far - even).abs() < weights.len() as f64, "evenly mixed");
            }
        }
    }

    #[test]
    fn who_was_tried_is_never_chosen_again_and_no_cap_is_passed(
        pick_outer in any_pick(),
        pick_inner in any_pick(),
        caps in prop::collection::vec(0u32..4, 6),
        down in prop::collection::btree_set(0usize..6, 0..4),
        calls in 1usize..20,
        seed: u64,
    ) {
        let offer = |trunk: usize| offering(trunk, &[("pstn", caps[trunk])]);
        let groups = [
            group("outer", pick_outer, vec![offer(0), inner(1), offer(1), inner(2)]),
            group("left", pick_inner, vec![offer(2), offer(3)]),
            // Trunk 2 can be reached in two ways.
            group("right", pick_inner, vec![offer(4), offer(5), offer(2)]),
        ];
        let world = Trunks { down: down.iter().map(|trunk| (*trunk, "disabled")).collect(), ..Trunks::default() };
        let mut rng = Rng::from_seed(seed);
        let mut held = Vec::new();
        for call in 0..calls {
            let (mut tried, id) = (Vec::new(), call.to_le_bytes());
            // Each attempt fails, until nobody is left.
            loop {
                let wanted = Wanted { tried: &tried, call_id: &id, ..Wanted::default() };
                match pick(&groups, &wanted, &world, &mut rng) {
                    Ok((trunk, lease)) => {
                        prop_assert!(!tried.contains(&trunk) && !down.contains(&trunk));
                        tried.push(trunk);
                        if call % 2 == 0 { held.push(lease); }
                    }
                    Err(outcome) => {
                        prop_assert!(matches!(outcome, Outcome::Full | Outcome::Down));
                        let left = groups.iter().flat_map(|g| &g.members).any(|m| match m.to {
                            Way::Trunk(trunk) => {
                                let open = !tried.contains(&trunk) && !down.contains(&trunk);
                                open && m.resources[0].1.used() < m.resources[0].1.bounds().calls
                            }
                            Way::Group(_) => false,
                        });
                        prop_assert!(!left, "somebody could have taken the call: {outcome:?}");
                        break;
                    }
                }
                for member in groups.iter().flat_map(|g| &g.members).filter(|m| matches!(m.to, Way::Trunk(_))) {
                    let pool = &member.resources[0].1;
                    prop_assert!(pool.used() <= pool.bounds().calls);
                }
            }
        }
    }

    #[test]
    fn free_capacity_stays_even_whatever_comes_and_goes(ends in prop::collection::vec(any::<bool>(), 1..200), seed: u64) {
        let caps = [10, 20, 30];
        let members = (0..3).map(|trunk| offering(trunk, &[("pstn", caps[trunk])])).collect();
        let groups = [group("g", Pick::FreeCapacity, members)];
        let mut rng = Rng::from_seed(seed);
        let mut held: Vec<(usize, Lease)> = Vec::new();
        for ends in ends {
            if ends && !held.is_empty() {
                held.remove(rng.below(held.len() as u64) as usize);
                continue;
            }
            let before: Vec<_> = groups[0].members.iter().map(|m| room(&m.resources[0].1).percent()).collect();
            match pick(&groups, &Wanted::default(), &Trunks::default(), &mut rng) {
                Ok((trunk, lease)) => {
                    held.push((trunk, lease));
                    prop_assert!(before.iter().all(|free| before[trunk] >= *free), "{before:?} {trunk}");
                }
                Err(outcome) => prop_assert!(outcome == Outcome::Full && held.len() == 60),
            }
        }
    }
}
