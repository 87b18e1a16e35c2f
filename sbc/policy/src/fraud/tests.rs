//! Fraud in virtual time: each rule, live cuts, exact counts whatever happens, bounded memory.

use super::*;
use base::Wall;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn at(ms: u64) -> Now {
    // The wall clock jumps about; nothing may depend on it.
    Now { mono: Instant(1_000_000_000 + ms * 1_000_000), wall: Wall((ms * 7_919) % 1_000_003) }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn levels(warning: f64, critical: f64) -> Option<Levels<f64>> {
    Some(Levels { warning, critical })
}

fn spec(per: &[Per], rules: Rules) -> ProfileSpec {
    ProfileSpec {
        name: "toll".to_owned(),
        per: per.to_vec(),
        prefixes: Prefixes::Digits(2),
        window: secs(3600),
        rules,
        warn: vec![Action::Event],
        critical: vec![Action::Event, Action::Reject],
        rates: None,
    }
}

fn facts(callee: &str) -> Facts<'_> {
    Facts {
        account: Some("alice"),
        trunk: "pbx",
        caller: b"2001",
        callee: callee.as_bytes(),
        source: IpAddr::from([192, 0, 2, 1]),
    }
}

struct World {
    fraud: Fraud,
    profiles: Vec<Arc<Profile>>,
}

impl World {
    fn new(specs: impl IntoIterator<Item = ProfileSpec>) -> World {
        let profiles = specs.into_iter().map(Profile::new).collect();
        World { fraud: Fraud::new(HashKey::new([1, 2]), 10_000), profiles }
    }

    fn begin(&self, ms: u64, callee: &str) -> (Vec<Finding>, Ticket) {
        let mut found = Vec::new();
        let ticket = self.fraud.begin(at(ms), &self.profiles, &facts(callee), 0, ms, &mut found);
        (found, ticket)
    }

    /// A call that ends at once, unanswered.
    fn try_call(&self, ms: u64, callee: &str) -> String {
        let (found, ticket) = self.begin(ms, callee);
        self.fraud.end(at(ms), ticket, false);
        said(&found)
    }

    /// An answered call of this length.
    fn call(&self, ms: u64, callee: &str, lasts_ms: u64) -> (String, Money) {
        let (found, mut ticket) = self.begin(ms, callee);
        self.fraud.answered(at(ms), &mut ticket);
        (said(&found), self.fraud.end(at(ms + lasts_ms), ticket, true))
    }

    fn tick(&self, ms: u64, shard: u8) -> String {
        let mut found = Vec::new();
        self.fraud.tick(at(ms), shard, &mut found);
        let said =
            found.iter().map(|live| format!("{}: {}", live.call, said(core::slice::from_ref(&live.finding))));
        said.collect::<Vec<_>>().join("; ")
    }
}

/// `rule level value` of each finding; `!` where it is worth an event.
fn said(found: &[Finding]) -> String {
    let one = |finding: &Finding| {
        let first = if finding.first { "!" } else { "" };
        format!("{} {}{first} {:.4}", finding.rule, finding.level.word(), finding.value)
    };
    let mut text: Vec<_> = found.iter().map(one).collect();
    for text in &mut text {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    text.join(", ")
}

#[test]
fn calls_a_minute_are_counted_over_a_sliding_minute() {
    let world = World::new([spec(&[Per::Account], Rules { cpm: levels(3.0, 5.0), ..Rules::default() })]);
    let said: Vec<_> = (0..6).map(|n| world.try_call(n * 1_000, "+441")).collect();
    assert_eq!(said, ["", "", "cpm warning! 3", "cpm warning 4", "cpm critical! 5", "cpm critical 6"]);
    assert_eq!(world.try_call(63_500, "+441"), "cpm warning 4", "three have left the window");
    assert_eq!(world.try_call(180_000, "+441"), "", "all have");
}

#[test]
fn calls_at_a_time_are_exact_however_a_call_ends() {
    let world =
        World::new([spec(&[Per::Account], Rules { concurrent: levels(2.0, 3.0), ..Rules::default() })]);
    let (_, first) = world.begin(0, "+441");
    let (found, mut second) = world.begin(1, "+442");
    assert_eq!(said(&found), "concurrent warning! 2");
    world.fraud.answered(at(2), &mut second);
    let (found, third) = world.begin(3, "+443");
    assert_eq!(said(&found), "concurrent critical! 3");
    drop(third);
    assert_eq!(world.fraud.stats(), Stats { keys: 1, pinned: 1, live: 2, ..Stats::default() });
    world.fraud.end(at(4), second, true);
    world.fraud.end(at(5), first, false);
    assert_eq!(world.fraud.stats(), Stats { keys: 1, ..Stats::default() });
    assert_eq!(world.try_call(200_000, "+441"), "");
}

#[test]
fn a_total_knows_no_midnight_and_no_wall_clock() {
    let rules = Rules { total: levels(4.0, 8.0), ..Rules::default() };
    let world = World::new([ProfileSpec { window: secs(86_400), ..spec(&[Per::Trunk], rules) }]);
    let hour = 3_600_000;
    let said: Vec<_> = (0..5).map(|n| world.try_call(n * 6 * hour, "+441")).collect();
    assert_eq!(said, ["", "", "", "total warning! 4", "total warning 5"]);
    assert_eq!(world.try_call(48 * hour, "+441"), "", "24 hours after the last but one");
}

#[test]
fn consecutive_calls_are_those_to_the_identical_number() {
    let rules = Rules { sequential: levels(2.0, 3.0), ..Rules::default() };
    let world = World::new([spec(&[Per::Account, Per::Prefix], rules)]);
    let calls = ["+441", "+442", "+442", "+491", "+442", "+441", "+442", "+442"];
    let said: Vec<_> = calls.iter().enumerate().map(|(n, callee)| world.try_call(n as u64, callee)).collect();
    // +49 is another key, so it does not interrupt.
    assert_eq!(
        said,
        ["", "", "sequential warning! 2", "", "sequential critical! 3", "", "", "sequential warning 2"]
    );
}

#[test]
fn distinct_numbers_are_exact_up_to_the_threshold_and_slide() {
    let rules = Rules { distinct: levels(3.0, 100.0), ..Rules::default() };
    let world = World::new([spec(&[Per::Source], rules)]);
    for n in 0..1_000 {
        world.try_call(n, ["+441", "+442"][n as usize % 2]);
    }
    assert_eq!(world.try_call(1_000, "+443"), "distinct warning! 3");
    let numbers: Vec<_> = (0..500).map(|n| format!("+44{n}")).collect();
    let worst = numbers.iter().map(|number| world.try_call(2_000, number)).reduce(|_, last| last);
    assert_eq!(worst.as_deref(), Some("distinct critical 100"));
    assert_eq!(world.try_call(2_000 + 3_662_000, "+441"), "");
}

#[test]
fn a_threshold_of_distinct_numbers_is_bounded() {
    let rules = Rules { distinct: levels(1e9, 1e12), ..Rules::default() };
    let world = World::new([spec(&[], rules)]);
    let worst = (0..5_000).map(|n| world.try_call(n, &format!("+44{n}"))).reduce(|_, last| last);
    assert_eq!(worst.as_deref(), Some("distinct critical 4096"));
}

#[test]
fn many_short_calls_are_found() {
    let short_calls =
        Some(ShortCalls { ratio: Levels { warning: 0.4, critical: 0.75 }, under: secs(6), min_calls: 4 });
    let world = World::new([spec(&[Per::Account], Rules { short_calls, ..Rules::default() })]);
    for (n, lasts_ms) in [5_999, 6_000, 1_000].into_iter().enumerate() {
        assert_eq!(world.call(n as u64 * 10_000, "+441", lasts_ms).0, "", "too few to judge");
    }
    world.try_call(31_000, "+441");
    world.call(40_000, "+441", 9_000);
    assert_eq!(world.call(50_000, "+441", 100).0, "short_calls warning! 0.5");
    let said: Vec<_> = (0..4).map(|n| world.call(60_000 + n * 1_000, "+441", 100).0).collect();
    assert_eq!(
        said,
        [
            "short_calls warning 0.6",
            "short_calls warning 0.6667",
            "short_calls warning 0.7143",
            "short_calls critical! 0.75"
        ]
    );
}

#[test]
fn a_collapse_of_the_answer_ratio_is_found_and_refused_calls_do_not_feed_it() {
    let answer_ratio = Some(AnswerRatio { below: Levels { warning: 0.5, critical: 0.2 }, min_calls: 4 });
    let world = World::new([spec(&[Per::Account], Rules { answer_ratio, ..Rules::default() })]);
    world.call(0, "+441", 1_000);
    world.call(2_000, "+441", 1_000);
    world.try_call(4_000, "+441");
    world.try_call(5_000, "+441");
    assert_eq!(world.try_call(6_000, "+441"), "", "half are answered");
    assert_eq!(world.try_call(7_000, "+441"), "answer_ratio warning! 0.4");
    for n in 0..5 {
        world.try_call(8_000 + n, "+441");
    }
    assert_eq!(world.try_call(9_000, "+441"), "answer_ratio critical! 0.1818");
    for n in 0..50 {
        assert_eq!(
            world.try_call(10_000 + n, "+441"),
            "answer_ratio critical 0.1818",
            "else it would never recover"
        );
    }
}

#[test]
fn calls_that_a_limit_refuses_do_not_feed_the_answer_ratio() {
    let answer_ratio = Some(AnswerRatio { below: Levels { warning: 0.5, critical: 0.2 }, min_calls: 2 });
    let world = World::new([spec(&[Per::Account], Rules { answer_ratio, ..Rules::default() })]);
    for n in 0..50 {
        // Nobody was asked: whoever refuses drops the ticket.
        let (found, ticket) = world.begin(n, "+441");
        assert_eq!(said(&found), "");
        drop(ticket);
    }
    assert_eq!(world.try_call(100, "+441"), "");
}

fn rates() -> Option<Arc<Rates>> {
    Some(Arc::new(Rates::parse("44,0.6\n449,60,60,60\n").expect("a good file")))
}

#[test]
fn what_live_calls_cost_is_noticed_while_they_last() {
    let rules = Rules { spend: levels(0.5, 1.0), ..Rules::default() };
    let critical = vec![Action::Reject, Action::Cut];
    let world = World::new([ProfileSpec { rates: rates(), critical, ..spec(&[Per::Account], rules) }]);
    // Two calls of 0.01 a second each, on two shards.
    let mut found = Vec::new();
    let mut tickets = Vec::new();
    for shard in [0, 3] {
        let mut ticket = world.fraud.begin(at(0), &world.profiles, &facts("+441"), shard, 70, &mut found);
        world.fraud.answered(at(0), &mut ticket);
        tickets.push(ticket);
    }
    let mut told: Vec<(u64, u8, String)> = Vec::new();
    for ms in (250..=60_000).step_by(250) {
        for shard in [0, 3] {
            let said = world.tick(ms, shard);
            if !said.is_empty() {
                told.push((ms, shard, said));
            }
        }
    }
    let told: Vec<_> = told.iter().map(|(ms, shard, said)| format!("{ms} {shard} {said}")).collect();
    // 0.5 is reached in the 25th second, 1.0 in the 50th: started seconds are billed.
    assert_eq!(
        told,
        ["24250 3 70: spend warning! 0.5", "49250 3 70: spend critical! 1", "49500 0 70: spend critical 1"]
    );
    assert_eq!(said(&world.fraud.peek(at(50_000), &world.profiles, &facts("+447"))), "spend critical 1.2");
    let cost: Vec<_> = tickets
        .into_iter()
        .map(|ticket| world.fraud.end(at(60_000), ticket, true).cost.to_string())
        .collect();
    assert_eq!(cost, ["0.6", "0.6"]);
    assert_eq!(world.try_call(60_001, "+441"), "spend critical 1.2");
    assert_eq!(world.try_call(60_000 + 3_700_000, "+441"), "", "spent money leaves the window");
}

#[test]
fn an_expensive_call_is_cut_within_a_tick_by_its_minimum() {
    let rules = Rules { spend: levels(5.0, 50.0), ..Rules::default() };
    let world = World::new([ProfileSpec { rates: rates(), critical: vec![Action::Cut], ..spec(&[], rules) }]);
    let (_, mut ticket) = world.begin(0, "+4490");
    assert_eq!(world.tick(10_000, 0), "", "ringing is free");
    world.fraud.answered(at(10_000), &mut ticket);
    assert_eq!(world.tick(10_250, 0), "0: spend critical! 60");
    let money = world.fraud.end(at(10_300), ticket, true);
    assert_eq!((money.price_per_minute.to_string(), money.cost.to_string()), ("60".into(), "60".into()));
    assert_eq!(world.try_call(20_000, "+33"), "spend critical 60");
    assert_eq!(world.fraud.stats().unrated, 1);
}

#[test]
fn a_long_call_is_told_once_a_level_and_concerns_itself_alone() {
    let duration = Some(Levels { warning: secs(1800), critical: secs(7200) });
    let world = World::new([spec(&[Per::Account], Rules { duration, ..Rules::default() })]);
    let (_, mut ticket) = world.begin(7, "+441");
    let (_, _ringing) = world.begin(8, "+441");
    world.fraud.answered(at(1_000), &mut ticket);
    assert_eq!(world.tick(1_000 + 1_799_999, 0), "");
    assert_eq!(world.tick(1_000 + 1_800_000, 0), "7: duration warning! 1800");
    assert_eq!(world.tick(1_000 + 7_199_000, 0), "");
    assert_eq!(world.tick(1_000 + 7_200_100, 0), "7: duration critical! 7200.1");
    assert_eq!((world.tick(8_000_000, 0), world.try_call(8_000_000, "+441")), (String::new(), String::new()));
}

#[test]
fn a_key_with_cut_ends_all_its_live_calls_on_every_shard_and_no_others() {
    let rules = Rules { concurrent: levels(2.0, 3.0), ..Rules::default() };
    let world = World::new([ProfileSpec { critical: vec![Action::Cut], ..spec(&[Per::Account], rules) }]);
    let begin = |shard, call, account| {
        let facts = Facts { account: Some(account), ..facts("+441") };
        world.fraud.begin(at(0), &world.profiles, &facts, shard, call, &mut Vec::new())
    };
    let calls = [begin(0, 1, "alice"), begin(1, 2, "alice"), begin(0, 3, "bob"), begin(2, 4, "alice")];
    let cut = |shard| world.tick(250, shard);
    assert_eq!(cut(0), "1: concurrent critical 3");
    assert_eq!(cut(1), "2: concurrent critical 3");
    assert_eq!((cut(2), cut(2)), ("4: concurrent critical 3".to_owned(), String::new()));
    assert_eq!(world.tick(500, 0), "", "told once");
    drop(calls);
    assert_eq!(world.fraud.stats().pinned, 0);
}

#[test]
fn the_worst_comes_first_and_every_profile_is_told() {
    let total = |name: &str, warning, critical| ProfileSpec {
        name: name.to_owned(),
        ..spec(&[Per::Account], Rules { total: levels(warning, critical), ..Rules::default() })
    };
    let world = World::new([total("a", 1.0, 9.0), total("b", 9.0, 9.0), total("c", 1.0, 1.0)]);
    let (found, _ticket) = world.begin(0, "+441");
    let names: Vec<_> = found.iter().map(|f| (f.profile.name.as_str(), f.level, f.actions().len())).collect();
    assert_eq!(names, [("c", Level::Critical, 2), ("a", Level::Warning, 1)]);
}

#[test]
fn keys_are_tuples_of_what_the_profile_says() {
    let per = [Per::Account, Per::Trunk, Per::Prefix, Per::Caller, Per::Callee, Per::Source];
    let world = World::new([spec(&per, Rules { total: levels(1.0, 9.0), ..Rules::default() })]);
    let key = |facts: &Facts<'_>| world.fraud.peek(at(0), &world.profiles, facts)[0].key.clone();
    assert_eq!(
        key(&facts("+44 1\u{e9}")),
        "account=alice trunk=pbx prefix=44 caller=2001 callee=+44 1\\xc3\\xa9 source=192.0.2.1"
    );
    let anonymous = Facts { account: None, caller: b"", ..facts("") };
    assert_eq!(key(&anonymous), "trunk=pbx trunk=pbx prefix= caller= callee= source=192.0.2.1");
}

#[test]
fn a_call_without_account_counts_for_its_trunk() {
    let world = World::new([spec(&[Per::Account], Rules { total: levels(2.0, 9.0), ..Rules::default() })]);
    let begin = |account| {
        let mut found = Vec::new();
        drop(world.fraud.begin(at(0), &world.profiles, &Facts { account, ..facts("+44") }, 0, 0, &mut found));
        said(&found)
    };
    assert_eq!([begin(None), begin(Some("pbx")), begin(None)], ["", "", "total warning! 2"]);
}

#[test]
fn a_profile_of_listed_prefixes_counts_no_other_number() {
    let prefixes = Prefixes::List(vec!["+44".to_owned(), "449".to_owned()]);
    let rules = Rules { total: levels(1.0, 9.0), ..Rules::default() };
    let world = World::new([ProfileSpec { prefixes, ..spec(&[Per::Prefix], rules) }]);
    let key = |callee| world.begin(0, callee).0.first().map(|finding| finding.key.clone());
    assert_eq!(key("+4420").as_deref(), Some("prefix=44"));
    assert_eq!(key("4490").as_deref(), Some("prefix=449"));
    assert_eq!(key("+3312"), None);
}

#[test]
fn a_flood_of_keys_is_bounded_and_evicts_its_own_profile_first() {
    let rules = || Rules { total: levels(2.0, 3.0), ..Rules::default() };
    let callers = ProfileSpec { name: "callers".to_owned(), ..spec(&[Per::Caller], rules()) };
    let world = World {
        fraud: Fraud::new(HashKey::new([1, 2]), 100),
        profiles: vec![Profile::new(spec(&[Per::Account], rules())), Profile::new(callers)],
    };
    world.try_call(0, "+44");
    for n in 0..10_000u64 {
        let caller = n.to_string();
        let facts = Facts { account: Some("mallory"), caller: caller.as_bytes(), ..facts("+44") };
        drop(world.fraud.begin(at(1), &world.profiles, &facts, 0, n, &mut Vec::new()));
    }
    let stats = world.fraud.stats();
    assert_eq!((stats.keys, stats.pinned, stats.untracked), (100, 0, 0));
    assert_eq!(world.try_call(2, "+44"), "total warning! 2", "alice is remembered");
}

#[test]
fn keys_at_a_level_are_forgotten_last() {
    let rules = Rules { total: levels(2.0, 3.0), ..Rules::default() };
    let profiles = vec![Profile::new(spec(&[Per::Caller], rules))];
    let world = World { fraud: Fraud::new(HashKey::new([1, 2]), 50), profiles };
    let call = |caller: &str| {
        let facts = Facts { caller: caller.as_bytes(), ..facts("+44") };
        let mut found = Vec::new();
        drop(world.fraud.begin(at(1), &world.profiles, &facts, 0, 0, &mut found));
        said(&found)
    };
    for _ in 0..3 {
        call("guilty");
    }
    for n in 0..1_000 {
        call(&n.to_string());
    }
    assert_eq!(call("guilty"), "total critical 4");
}

#[test]
fn live_keys_are_never_evicted_and_what_finds_no_place_passes_uncounted() {
    let rules = Rules { concurrent: levels(2.0, 3.0), ..Rules::default() };
    let profiles = vec![Profile::new(spec(&[Per::Caller], rules))];
    let world = World { fraud: Fraud::new(HashKey::new([1, 2]), 10), profiles };
    let begin = |caller: &str| {
        let facts = Facts { caller: caller.as_bytes(), ..facts("+44") };
        let mut found = Vec::new();
        let ticket = world.fraud.begin(at(1), &world.profiles, &facts, 0, 0, &mut found);
        (said(&found), ticket)
    };
    let mut held: Vec<_> = (0..10).map(|n| begin(&n.to_string())).collect();
    let uncounted = begin("late");
    assert_eq!((uncounted.0.as_str(), world.fraud.stats().untracked), ("", 1));
    assert_eq!(begin("3").0, "concurrent warning! 2", "a key that lives goes on being exact");
    drop(uncounted);
    held.pop();
    assert_eq!(begin("late").0, "");
    assert_eq!((world.fraud.stats().untracked, world.fraud.stats().evicted), (1, 1));
}

#[test]
fn a_changed_profile_goes_on_with_its_counts_and_live_calls() {
    let profile = |warning, cpm| {
        Profile::new(spec(
            &[Per::Account],
            Rules { concurrent: levels(warning, 9.0), cpm, ..Rules::default() },
        ))
    };
    let world = World::new([]);
    let begin = |profile: &Arc<Profile>| {
        let mut found = Vec::new();
        let profiles = [Arc::clone(profile)];
        let ticket = world.fraud.begin(at(1), &profiles, &facts("+44"), 0, 0, &mut found);
        (said(&found), ticket)
    };
    let (_, first) = begin(&profile(9.0, None));
    assert_eq!(begin(&profile(2.0, None)).0, "concurrent warning! 2");
    // What is kept a key changes: windows begin anew, live calls stay exact.
    let (said, second) = begin(&profile(2.0, levels(50.0, 60.0)));
    assert_eq!(said, "concurrent warning! 2");
    drop((first, second));
    assert_eq!(world.fraud.stats().pinned, 0);
}

#[test]
fn an_operator_resets_a_key() {
    let world = World::new([spec(&[Per::Account], Rules { total: levels(2.0, 3.0), ..Rules::default() })]);
    world.try_call(0, "+44");
    let (found, ticket) = world.begin(1, "+44");
    assert_eq!(found[0].key, "account=alice");
    assert!(!world.fraud.reset("toll", "account=bob") && !world.fraud.reset("other", "account=alice"));
    assert!(world.fraud.reset("toll", "account=alice"));
    drop(ticket);
    assert_eq!(
        (world.try_call(2, "+44"), world.try_call(3, "+44")),
        (String::new(), "total warning! 2".to_owned())
    );
    assert!(world.fraud.reset("toll", "account=alice"), "an idle key too");
    assert_eq!(world.try_call(4, "+44"), "");
}

#[test]
fn peeking_counts_nothing() {
    let world = World::new([spec(&[Per::Account], Rules { total: levels(2.0, 3.0), ..Rules::default() })]);
    world.try_call(0, "+44");
    for _ in 0..5 {
        assert_eq!(said(&world.fraud.peek(at(1), &world.profiles, &facts("+44"))), "total warning! 2");
    }
    assert_eq!(world.fraud.stats().keys, 1);
}

#[test]
fn a_call_of_no_profile_costs_nothing_and_is_not_kept() {
    let world = World::new([]);
    let (found, ticket) = world.begin(0, "+44");
    assert!(found.is_empty());
    assert_eq!(world.fraud.stats().live, 0);
    assert_eq!(world.fraud.end(at(1), ticket, true), Money::default());
}

#[test]
fn shards_in_threads_of_their_own_leave_no_call_behind() {
    let rules = Rules { concurrent: levels(100.0, 200.0), spend: levels(1e9, 1e9), ..Rules::default() };
    let world = World::new([ProfileSpec { rates: rates(), ..spec(&[Per::Account, Per::Caller], rules) }]);
    std::thread::scope(|scope| {
        for shard in 0..4u8 {
            let world = &world;
            scope.spawn(move || {
                let mut rng = base::Rng::from_seed(shard.into());
                let mut held: Vec<Ticket> = Vec::new();
                for n in 0..5_000 {
                    let caller = rng.below(50).to_string();
                    let facts = Facts { caller: caller.as_bytes(), ..facts("+441") };
                    let mut ticket =
                        world.fraud.begin(at(n), &world.profiles, &facts, shard, n, &mut Vec::new());
                    if rng.below(2) == 0 {
                        world.fraud.answered(at(n), &mut ticket);
                    }
                    held.push(ticket);
                    if held.len() > 20 {
                        let ticket = held.swap_remove(rng.below(20) as usize);
                        if rng.below(3) > 0 {
                            world.fraud.end(at(n), ticket, rng.below(2) == 0);
                        }
                    }
                    if n % 100 == 0 {
                        world.fraud.tick(at(n), shard, &mut Vec::new());
                    }
                }
            });
        }
    });
    let stats = world.fraud.stats();
    assert_eq!((stats.keys, stats.pinned, stats.live), (50, 0, 0));
}

proptest! {
    /// Against counting by hand: any calls, ends and evictions, and the number of live calls a key is exact.
    #[test]
    fn live_calls_are_exact_whatever_happens(steps in proptest::collection::vec((0u8..8, 0u8..4, 0u64..90_000), 1..300)) {
        let rules = Rules { concurrent: levels(1.0, 1e9), cpm: levels(1e9, 1e9), ..Rules::default() };
        let profiles = vec![Profile::new(spec(&[Per::Caller], rules))];
        // Room for half of the callers only.
        let world = World { fraud: Fraud::new(HashKey::new([1, 2]), 4), profiles };
        let (mut held, mut live, mut ms) = (Vec::<(u8, Ticket)>::new(), BTreeMap::<u8, u32>::new(), 0);
        for (caller, action, passed) in steps {
            ms += passed;
            if action < 2 {
                let text = [b'0' + caller];
                let facts = Facts { caller: &text, ..facts("+44") };
                let mut found = Vec::new();
                let before = world.fraud.stats().untracked;
                let ticket = world.fraud.begin(at(ms), &world.profiles, &facts, caller, 0, &mut found);
                if world.fraud.stats().untracked == before {
                    let count = live.entry(caller).or_default();
                    *count += 1;
                    prop_assert_eq!(found[0].value, f64::from(*count));
                    held.push((caller, ticket));
                } else {
                    prop_assert!(live.values().filter(|count| **count > 0).count() == 4);
                    prop_assert!(found.is_empty());
                }
            } else if !held.is_empty() {
                let (caller, ticket) = held.swap_remove(usize::from(caller) % held.len());
                *live.entry(caller).or_default() -= 1;
                if action == 2 {
                    world.fraud.end(at(ms), ticket, true);
                }
            }
        }
        drop(held);
        prop_assert_eq!(world.fraud.stats().pinned, 0);
    }

    #[test]
    fn any_numbers_are_counted(
        caller in proptest::collection::vec(any::<u8>(), 0..200),
        callee in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let rules = Rules { total: levels(1.0, 2.0), ..Rules::default() };
        let world = World::new([spec(&[Per::Caller, Per::Callee, Per::Prefix], rules)]);
        let facts = Facts { caller: &caller, callee: &callee, ..facts("") };
        let mut found = Vec::new();
        drop(world.fraud.begin(at(0), &world.profiles, &facts, 0, 0, &mut found));
        prop_assert!(found[0].key.is_ascii() && found[0].key.len() < 1_100);
    }
}
