//! Exact races of what judges and counts calls: hooks, cuts, failover, breakers, switched-off trunks, emergencies.

use super::directed::{CALLER, ONE, TWO, assert_cause, long, phone, world};
use super::phone::dialog::{End, State};
use super::plan::{Act, Plan, answer, ms, seconds};
use super::world::{Hooks, World, route, trunk};
use b2bua::Spec;
use b2bua::spec::{Action, Hook, Limit, Match, Order, Policy, Route, UnknownAnswer};
use base::Duration;
use ledger::{Bounds, HookAnswer, Pool, ReleasedBy};
use policy::fraud::{self, Levels, Prefixes, Profile, ProfileSpec, Rules};
use routing::group::{Compare, Group, GroupState, Member, Pick, Shape, Ties, Way};
use routing::health::{BreakerSpec, Word};
use std::sync::Arc;

// ---- hooks

#[test]
fn a_cancel_while_the_hook_is_asked_ends_the_call_and_a_late_answer_changes_nothing() {
    for hooks in [Hooks::Lost, Hooks::Says(ms(1_500), HookAnswer::Continue)] {
        let mut world = world(|spec| asked(spec, true), Plan::default());
        world.hooks = hooks;
        let call = world.call(&Plan { cancel_after: Some(ms(500)), ..Plan::default() });
        world.run_for(ms(400));
        assert_eq!((world.switches[0].waiting(), world.spec.trunks[0].pool.used()), (1, 0), "no place yet");
        world.run_for(ms(200));
        assert_eq!(world.switches[0].waiting(), 0, "nothing waits for the answer");
        assert_eq!(world.phones[CALLER].dialogs[call].end, Some(End::Refused(487)));
        world.ends();
        assert!(world.called.is_empty(), "nobody was called");
        assert_cause(&world, "cancel", ReleasedBy::Caller);
    }
}

#[test]
fn a_lost_hook_lets_the_call_go_on_or_not_as_its_route_says() {
    for (goes_on, end, cause) in
        [(true, Some(End::ByeSent), "normal"), (false, Some(End::Refused(503)), "hook_failed")]
    {
        let mut world = world(|spec| asked(spec, goes_on), long());
        world.hooks = Hooks::Lost;
        let call = world.call(&Plan { bye_after: Some(seconds(5)), ..Plan::default() });
        world.run_for(seconds(60));
        assert_eq!(world.phones[CALLER].dialogs[call].end, end);
        world.ends();
        let by = if goes_on { ReleasedBy::Caller } else { ReleasedBy::Engine };
        assert_cause(&world, cause, by);
    }
}

#[test]
fn a_caller_whose_trunk_leaves_while_the_hook_is_asked_is_told() {
    let mut world = world(|spec| asked(spec, true), Plan::default());
    world.hooks = Hooks::Says(ms(1_500), HookAnswer::Continue);
    let call = world.call(&Plan::default());
    world.run_for(ms(500));
    let mut spec = Spec::clone(&world.spec);
    spec.trunks[0].from.clear();
    world.apply(spec);
    world.run_for(seconds(2));
    assert_eq!(world.phones[CALLER].dialogs[call].end, Some(End::Refused(403)));
    world.apply(Spec::clone(&world.spec));
    world.ends();
    assert_eq!(world.legs().len(), 1);
}

// ---- fraud

#[test]
fn a_call_in_early_media_is_cut_within_a_second() {
    let ringing = Plan { answers: vec![(ms(300), answer(183))], ..Plan::default() };
    let mut world = world(|spec| watched(spec, vec![fraud::Action::Event, fraud::Action::Cut]), ringing);
    let first = world.call(&long());
    world.run_for(seconds(3));
    assert_eq!(world.phones[CALLER].dialogs[first].state, State::Early);
    // The second reaches the threshold: both are live calls of the key.
    let second = world.call(&long());
    world.run_for(ms(1_000));
    for call in [first, second] {
        assert_eq!(world.phones[CALLER].dialogs[call].end, Some(End::Refused(403)), "call {call}");
    }
    assert_eq!(world.phones[ONE].dialogs[0].end, Some(End::Cancelled));
    assert_eq!((world.shared.fraud.stats().live, world.spec.trunks[1].pool.used()), (0, 0));
    world.ends();
    assert_cause(&world, "fraud", ReleasedBy::Engine);
}

#[test]
fn a_diverted_call_is_held_apart_and_leaves_no_ticket() {
    let mut world = world(|spec| watched(spec, vec![fraud::Action::Divert("held".into())]), long());
    let first = world.call(&Plan { bye_after: Some(seconds(10)), ..Plan::default() });
    let second = world.call(&Plan { acts: vec![(seconds(1), offer())], ..long() });
    world.run_for(seconds(5));
    assert_eq!(world.phones[ONE].offered, 1);
    assert_eq!(world.phones[CALLER].dialogs[second].state, State::Up);
    let divert = Arc::clone(&world.spec.unknown.divert.pool);
    assert_eq!((divert.used(), world.spec.trunks[0].pool.used(), world.shared.fraud.stats().live), (1, 1, 1));
    world.run_for(seconds(60));
    assert_eq!(world.phones[CALLER].dialogs[first].end, Some(End::ByeSent));
    assert_eq!(world.phones[CALLER].dialogs[second].end, Some(End::ByeHeard), "it ends by itself");
    world.ends();
    let held: Vec<_> = world.legs().iter().filter(|r| r.release_cause == "diverted").map(|r| r.leg).collect();
    assert_eq!(held, [0]);
}

#[test]
fn a_request_within_a_call_of_nobody_is_not_diverted() {
    let mut world = world(|spec| spec.unknown.answer = UnknownAnswer::Divert, Plan::default());
    world.phones.push(phone("198.18.0.66", Plan::default()));
    let now = world.now;
    world.phones[4].send_lone(now, "INVITE", &[("To", "<sip:1@192.0.2.1>;tag=0123456789abcdef01abcdefghij")]);
    world.run_for(seconds(60));
    assert!(world.phones[4].lone.is_empty());
    assert_eq!(world.switches[0].stats().diverted.get(), 0);
}

#[test]
fn who_is_only_called_may_hang_up_late_and_is_never_banned() {
    // Both hang up within the time that a BYE needs, ten times.
    let callee = Plan { bye_after: Some(ms(10_003)), ..Plan::default() };
    let mut world = world(|spec| spec.trunks[1].from.clear(), callee);
    for _ in 0..10 {
        world.call(&Plan { bye_after: Some(seconds(10)), ..Plan::default() });
        world.run_for(seconds(60));
    }
    assert_eq!(world.phones[ONE].unanswered, []);
    let stats = world.switches[0].stats();
    assert_eq!((stats.unknown_dropped.get(), stats.banned_dropped.get()), (0, 0));
    world.ends();
}

// ---- members and their places

#[test]
fn the_place_of_a_member_that_failed_is_free_before_the_next_one_is_tried() {
    // One place for both members together.
    let line = Pool::new("line", 1);
    let change = |spec: &mut Spec| {
        for trunk in &mut spec.trunks[1..] {
            trunk.limits_out = vec![Limit::Shared(Arc::clone(&line))];
        }
    };
    let busy = Plan { answers: vec![(ms(10), answer(503))], ..Plan::default() };
    let mut world = world(|spec| two_members(spec, change), busy);
    let call = world.call(&long());
    world.run_for(seconds(10));
    assert_eq!(world.phones[CALLER].dialogs[call].state, State::Up);
    assert_eq!((world.phones[ONE].offered, world.phones[TWO].calls_in(), line.used()), (1, 1, 1));
    assert_eq!((world.spec.trunks[1].pool.used(), world.spec.trunks[2].pool.used()), (0, 1));
    let second = world.call(&long());
    world.run_for(seconds(10));
    assert_eq!(world.phones[CALLER].dialogs[second].end, Some(End::Refused(503)), "the line is full");
    world.hang_up(call);
    world.ends();
}

#[test]
fn a_trial_that_is_cancelled_is_given_back() {
    let mut world = world(guarded, Plan { answers: vec![(ms(10), answer(503))], ..Plan::default() });
    let failed = world.call(&Plan::default());
    world.run_for(seconds(1));
    assert_eq!(world.phones[CALLER].dialogs[failed].end, Some(End::Refused(500)));
    assert_eq!(word(&world), Word::Open);
    let early = world.call(&Plan::default());
    world.run_for(seconds(20));
    assert_eq!(world.phones[CALLER].dialogs[early].end, Some(End::Refused(503)), "nobody tries it now");
    assert_eq!(word(&world), Word::HalfOpen);
    world.phones[ONE].answering =
        Box::new(|_, _| Plan { answers: vec![(ms(300), answer(180))], ..Plan::default() });
    let trial = world.call(&Plan { cancel_after: Some(seconds(3)), ..Plan::default() });
    world.run_for(seconds(1));
    let other = world.call(&Plan::default());
    world.run_for(seconds(1));
    assert_eq!(world.phones[CALLER].dialogs[other].end, Some(End::Refused(503)), "the trial is taken");
    world.run_for(seconds(2));
    assert_eq!(world.phones[CALLER].dialogs[trial].end, Some(End::Refused(487)));
    world.phones[ONE].answering = Box::new(|_, _| Plan::default());
    let next = world.call(&Plan::default());
    world.run_for(seconds(10));
    assert_eq!((world.phones[CALLER].dialogs[next].state, word(&world)), (State::Up, Word::Up));
    world.run_for(seconds(60));
    world.ends();
}

#[test]
fn a_trunk_whose_names_lead_nowhere_opens_its_breaker() {
    let change = |spec: &mut Spec| {
        guarded(spec);
        spec.trunks[1].to = trunk("", [0; 4], &["nowhere.example", "nothing.example"]).to;
    };
    let mut world = world(change, Plan::default());
    world.call(&Plan::default());
    world.run_for(seconds(5));
    assert_eq!(word(&world), Word::Open);
    world.run_for(seconds(20));
    assert_eq!(word(&world), Word::HalfOpen);
    world.call(&Plan::default());
    world.run_for(seconds(5));
    assert_eq!(word(&world), Word::Open, "the trial has failed");
    world.ends();
}

#[test]
fn a_trunk_that_is_switched_off_keeps_its_calls_and_gets_no_new_one() {
    let mut world = world(|_| {}, long());
    let call = world.call(&Plan { acts: vec![(seconds(20), offer())], ..long() });
    world.run_for(seconds(10));
    for trunk in [1, 0] {
        let (now, spec) = (world.now, Arc::clone(&world.spec));
        spec.trunks[trunk].health.disable(now, None);
        let refused = world.call(&Plan::default());
        world.run_for(seconds(10));
        let end = world.phones[CALLER].dialogs[refused].end;
        assert!(matches!(end, Some(End::Refused(403 | 503))), "{end:?}");
        spec.trunks[trunk].health.enable(world.now);
    }
    assert_eq!(world.phones[CALLER].dialogs[call].state, State::Up);
    assert!(world.phones[ONE].dialogs[0].words().contains(&"INVITE"), "offers pass");
    assert_eq!((world.phones[ONE].offered, world.spec.trunks[1].pool.used()), (1, 1));
    world.hang_up(call);
    world.ends();
}

#[test]
fn emergency_calls_exceed_every_limit_and_are_counted_all_the_same() {
    let change = |spec: &mut Spec| {
        for trunk in &spec.trunks {
            trunk.pool.set(Bounds { calls: 1, ..Bounds::default() });
        }
        spec.emergency = vec![b"90001".to_vec(), b"90002".to_vec()];
        let (matching, in_need) = route("in need", &[0], "9.", 1);
        spec.add_route(matching, in_need);
    };
    let mut world = world(change, long());
    let now = world.now;
    let calls =
        ["10003", "90001", "90002", "10004"].map(|user| world.phones[CALLER].call(now, user, &long()));
    world.run_for(seconds(12));
    let states = calls.map(|call| world.phones[CALLER].dialogs[call].state);
    assert_eq!(states, [State::Up, State::Up, State::Up, State::Ended]);
    assert_eq!((world.spec.trunks[0].pool.used(), world.spec.trunks[1].pool.used()), (3, 3));
    assert_eq!(world.drift, 0);
    calls.iter().for_each(|call| world.hang_up(*call));
    world.ends();
}

#[test]
fn places_are_free_at_once_when_the_far_end_has_died() {
    let mut world = world(
        |spec| spec.trunks[1].max_duration = Some(seconds(60)),
        Plan { vanish_after: Some(seconds(5)), ..long() },
    );
    world.call(&Plan { vanish_after: Some(seconds(5)), ..long() });
    world.run_for(seconds(50));
    assert_eq!(world.spec.trunks[1].pool.used(), 1);
    // The call is over after a minute; its BYEs are repeated for half a minute more.
    world.run_for(seconds(13));
    assert_eq!((world.spec.trunks[0].pool.used(), world.spec.trunks[1].pool.used()), (0, 0));
    assert_eq!(world.switches[0].len(), 1);
    world.ends();
}

#[test]
fn set_clocks_change_no_call() {
    let mut world = world(|spec| spec.trunks[1].max_duration = Some(seconds(60)), long());
    let base = world.wall_base;
    let call = world.call(&long());
    for to in [0, base + 3_600_000_000, 4_000_000_000_000_000, base - 3_600_000_000, base] {
        world.run_for(seconds(10));
        world.set_clock(to);
        assert_eq!(world.phones[CALLER].dialogs[call].state, State::Up);
        assert_eq!(world.spec.trunks[1].pool.used(), 1);
    }
    world.run_for(seconds(20));
    assert_eq!(world.phones[CALLER].dialogs[call].end, Some(End::ByeHeard));
    assert_eq!(world.legs()[0].duration.as_secs(), 60, "by the clock that nobody sets");
    world.ends();
}

// ---- tools

fn offer() -> Act {
    Act::Offer { update: false, direction: "sendrecv", codec: 8 }
}

fn word(world: &World) -> Word {
    world.spec.trunks[1].health.state(world.now).word
}

/// The route asks a hook first.
fn asked(spec: &mut Spec, goes_on: bool) {
    let url = "http://hook.example".into();
    spec.routes[0].hook = Some(Hook { url, deadline: seconds(2), cache: Duration::ZERO, goes_on });
}

/// From the second call within a minute on this happens.
fn watched(spec: &mut Spec, critical: Vec<fraud::Action>) {
    let total = Some(Levels { warning: 0.0, critical: 2.0 });
    let profile = Profile::new(ProfileSpec {
        name: "watch".into(),
        per: Vec::new(),
        prefixes: Prefixes::Digits(1),
        window: seconds(60),
        rules: Rules { total, ..Rules::default() },
        warn: Vec::new(),
        critical,
        rates: None,
    });
    spec.policies =
        vec![Policy { name: "watch".into(), destinations: None, callers: None, fraud: Some(profile) }];
    spec.trunks[0].policies = vec![0];
}

/// One failure opens the breaker of the callees for ten seconds; one call tries them afterwards.
fn guarded(spec: &mut Spec) {
    let breaker = BreakerSpec { timeouts: 1, fail_ratio: 0.5, min_calls: 1, open: seconds(10), trial: 1 };
    spec.trunks[1].health.set(None, Some(breaker));
}

/// The second callee is tried after the first.
fn two_members(spec: &mut Spec, change: impl FnOnce(&mut Spec)) {
    spec.trunks.push(trunk("second", [203, 0, 114, 0], &["203.0.113.2"]));
    let member = |trunk: usize| Member {
        name: trunk.to_string(),
        to: Way::Trunk(trunk),
        weight: 1,
        priority: trunk as u32,
        resources: Vec::new(),
        shape: Shape::default(),
    };
    spec.groups = vec![Group {
        name: "both".into(),
        pick: Pick::Priority,
        compare: Compare::default(),
        ties: Ties::default(),
        members: vec![member(1), member(2)],
        state: Arc::new(GroupState::new()),
    }];
    spec.set_routes([(Match::default(), Route::new("both", Action::To(Way::Group(0))))], Order::First);
    change(spec);
}
