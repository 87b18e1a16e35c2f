//! Worlds in which all that counts calls is under stress: groups with resources, limits, fraud that is cut live, breakers
//! and probes, hooks that are late or lost, the tarpit, changes of the configuration. In calm ones nothing is lost and the
//! phones' own counts must equal the engine's at any time; in rough ones phones and shards die, BYEs never arrive and
//! clocks are set, and everything must be free afterwards.

use super::check::{self, Trouble};
use super::phone::Phone;
use super::plan::{self, Acks, Answer, Plan, answer, ms, pick, seconds, some_ms};
use super::world::{Hooks, Weather, World, trunk};
use b2bua::Spec;
use b2bua::number::Pattern;
use b2bua::spec::{Action, Divert, Hook, KeyOf, Limit, Match, Order, Policy, Route, Trunk, UnknownAnswer};
use base::{Duration, HashKey, Rng};
use core::net::SocketAddr;
use ledger::{Ask, Bounds, CallState, Class, Direction, KeyedPools, Pool, Rate};
use policy::fraud::{self, Levels, Per, Prefixes, Profile, ProfileSpec, Rules};
use policy::rates::Rates;
use routing::group::{Compare, Group, GroupState, HashOf, Member, Pick, Shape, Ties, Way};
use routing::health::{BreakerSpec, ProbeSpec};
use routing::table::From;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a world may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Nothing is lost and nobody dies.
    Calm,
    /// All that may go wrong.
    Rough,
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// INVITEs of phones.
    pub calls: u64,
    /// Legs to callees.
    pub legs: u64,
    pub answered: u64,
    /// How calls ended: cause, and how many.
    pub causes: BTreeMap<String, u64>,
    pub simulated: Duration,
    /// Times that the engine's counts were compared with the list of calls, and with the phones' own.
    pub looks: u64,
    pub compared: u64,
    pub shards_died: u64,
    pub phones_died: u64,
    pub clocks_set: u64,
    pub configurations: u64,
    /// Places that recounts of leases found wrong, all together.
    pub drift: u64,
    /// What did not hold.
    pub mismatches: Vec<String>,
}

impl Figures {
    pub fn add(&mut self, other: Figures) {
        self.calls += other.calls;
        self.legs += other.legs;
        self.answered += other.answered;
        for (cause, count) in other.causes {
            *self.causes.entry(cause).or_default() += count;
        }
        self.simulated += other.simulated;
        self.looks += other.looks;
        self.compared += other.compared;
        self.shards_died += other.shards_died;
        self.phones_died += other.phones_died;
        self.clocks_set += other.clocks_set;
        self.configurations += other.configurations;
        self.drift += other.drift;
        self.mismatches.extend(other.mismatches);
    }
}

const CALLERS: usize = 0;
const PRIORITY: usize = 1;
/// The first trunk that is called; the phone of trunk `n` is 203.0.113.(n - 1).
const CALLED: usize = 2;
/// How many of these there are.
const CALLEES: usize = 6;
/// Phones: three that call, one that nobody knows, then the callees.
const STRANGER: usize = 3;
const FIRST_CALLEE: usize = 4;

/// One world from its seed.
pub fn chaos(seed: u64, mood: Mood, calls: u64) -> Figures {
    let mut rng = Rng::from_seed(seed ^ 0xc4a0);
    let spec = random_spec(&mut rng, calls);
    let (shards, media_shards) = (1 + rng.below(3) as usize, 1 + rng.below(2) as usize);
    let mut world = World::new(seed, shards, media_shards, spec);
    world.hooks = Hooks::Anything(vec!["free".into(), "w1".into(), "nobody".into(), "nested".into()]);
    world.weather = match mood {
        Mood::Calm => Weather { delay_max_ms: 20, ..Weather::FINE },
        Mood::Rough => Weather { delay_max_ms: 300, lost: rng.below(60), doubled: 20 },
    };
    if mood == Mood::Rough {
        world.byes_lost = rng.below(80);
    }
    world.watched = pools(&world.spec);
    for ip in ["198.51.100.1", "198.51.100.2", "198.51.101.1", "198.18.0.66"] {
        world.phones.push(phone(ip, "203.0.113.", mood, rng.fork()));
    }
    for n in 1..=CALLEES {
        world.phones.push(phone(&format!("203.0.113.{n}"), "198.51.10", mood, rng.fork()));
    }
    let began = world.now;
    let mut storm = Storm { world, mood, rng, figures: Figures { calls, ..Figures::default() } };
    storm.rage();
    storm.settle();
    let Storm { world, mut figures, .. } = storm;
    figures.simulated = world.now.since(began);
    figures.drift = world.drift;
    for record in &world.records {
        figures.legs += u64::from(record.direction == Direction::Out);
        figures.answered += u64::from(record.leg == 0 && record.answered.is_some());
        if record.leg == 0 {
            *figures.causes.entry(record.release_cause.clone()).or_default() += 1;
        }
    }
    figures
}

struct Storm {
    world: World,
    mood: Mood,
    rng: Rng,
    figures: Figures,
}

impl Storm {
    fn rage(&mut self) {
        let usual = pick(&mut self.rng, &[50, 300, 1_500]);
        for number in 1..=self.figures.calls {
            let pause = if self.rng.below(20) == 0 { usual * 10 } else { usual };
            let pause = some_ms(&mut self.rng, pause);
            self.world.run_for(pause);
            self.call(number);
            if self.rng.below(25) == 0 {
                self.look();
            }
            if self.rng.below(30) == 0 {
                self.change();
            }
            if self.rng.below(30) == 0 {
                self.operator();
            }
            if self.rng.below(60) == 0 {
                self.set_clock();
            }
            if self.mood == Mood::Rough && self.rng.below(40) == 0 {
                self.death();
                let phone = self.rng.below(self.world.phones.len() as u64) as usize;
                if !self.world.phones[phone].is_alive {
                    self.start_again(phone);
                }
            }
            if self.mood == Mood::Calm && self.rng.below(40) == 0 {
                self.compare();
            }
        }
    }

    fn call(&mut self, number: u64) {
        let rng = &mut self.rng;
        let mut plan = plan(rng, self.mood);
        plan.caller = format!("c{}", rng.below(6));
        let from = pick(rng, &[0, 0, 0, 1, 1, 2]);
        let from = if rng.below(20) == 0 { STRANGER } else { from };
        if rng.below(5) == 0 {
            plan.cancel_after = Some(some_ms(rng, 8_000));
        }
        if !self.world.phones[from].is_alive {
            self.start_again(from);
        }
        let rng = &mut self.rng;
        let way = if is_in_need(number) { 9 } else { 1 + rng.below(8) };
        let now = self.world.now;
        self.world.phones[from].call(now, &format!("{way}{number:05}"), &plan);
    }

    /// The engine's counts against its own list of calls.
    fn look(&mut self) {
        self.figures.looks += 1;
        let rows = self.world.rows();
        let rows = || rows.iter().filter(|row| row.state != CallState::Ending);
        for trunk in &self.world.spec.trunks {
            let from = rows().filter(|row| row.trunk_in == trunk.name).count();
            let to = rows().filter(|row| row.trunk_out.as_ref() == Some(&trunk.name)).count();
            if trunk.pool.used() as usize != from + to {
                let (name, used, now) = (&trunk.name, trunk.pool.used(), self.world.now);
                self.figures
                    .mismatches
                    .push(format!("{now:?}: {name} counts {used}, listed are {from} + {to}"));
            }
        }
    }

    /// The engine's counts against those of the phones, when nothing is on its way.
    fn compare(&mut self) {
        self.world.hold_still();
        self.figures.compared += 1;
        let world = &self.world;
        let mut wrong = Vec::new();
        let mut same = |what: &str, engine: u64, phones: usize| {
            if engine != phones as u64 {
                wrong.push(format!(
                    "{:?}: {what}: the engine counts {engine}, the phones {phones}",
                    world.now
                ));
            }
        };
        for n in 0..CALLEES {
            let trunk = &world.spec.trunks[CALLED + n];
            same(&trunk.name, trunk.pool.used().into(), world.phones[FIRST_CALLEE + n].calls_in());
        }
        let group = &world.spec.groups[0];
        for (n, member) in group.members.iter().enumerate() {
            let pool = &member.resources[0].1;
            same(pool.name(), pool.used().into(), world.phones[FIRST_CALLEE + n].calls_in());
        }
        let calling: u32 =
            [CALLERS, PRIORITY].iter().map(|trunk| world.spec.trunks[*trunk].pool.used()).sum();
        let waiting: usize = world.switches.iter().map(b2bua::Switch::waiting).sum();
        let phones: usize = world.phones[..FIRST_CALLEE].iter().map(Phone::calls_out).sum();
        same("callers", u64::from(calling) + waiting as u64, phones);
        self.figures.mismatches.extend(wrong);
    }

    /// The configuration changes under load. What a pool bounds is changed for all versions, as control does it.
    fn change(&mut self) {
        self.figures.configurations += 1;
        let (world, rng) = (&mut self.world, &mut self.rng);
        let mut spec = Spec::clone(&world.applied);
        let trunk = CALLED + rng.below(CALLEES as u64) as usize;
        match rng.below(14) {
            0 | 1 => {
                let pools = pools(&spec);
                let pool = &pools[rng.below(pools.len() as u64) as usize];
                pool.set(Bounds { calls: pick(rng, &[0, 1, 3, 10, 50]), ..pool.bounds() });
            }
            2 => {
                let group = rng.below(spec.groups.len() as u64) as usize;
                let members = &mut spec.groups[group].members;
                if members.len() > 1 {
                    members.remove(rng.below(members.len() as u64) as usize);
                }
            }
            3 => {
                let until = (rng.below(2) == 0).then(|| world.now + seconds(20));
                spec.trunks[trunk].health.disable(world.now, until);
            }
            4 => {
                let until = Some(world.now + seconds(10));
                spec.trunks[pick(rng, &[CALLERS, PRIORITY])].health.disable(world.now, until);
            }
            5 => spec.trunks[CALLERS].policies.clear(),
            6 => spec.trunks[CALLERS].limits_in.clear(),
            7 => spec.policies = policies(rng),
            _ => {
                // The old one is back.
                spec = Spec::clone(&world.spec);
                for (pool, bounds) in caps(&spec) {
                    pool.set(bounds);
                    pool.lower(None);
                }
                for trunk in &spec.trunks {
                    trunk.health.enable(world.now);
                }
            }
        }
        world.apply(spec);
    }

    fn operator(&mut self) {
        let shard = self.rng.below(self.world.switches.len() as u64) as usize;
        let ids = self.world.calls_of(shard);
        let now = self.world.time();
        if !ids.is_empty() {
            let id = ids[self.rng.below(ids.len() as u64) as usize];
            self.world.switches[shard].handle_ask(now, Ask::Hangup(id, Box::new(|_| {})));
        }
        if self.rng.below(15) == 0 {
            self.world.switches[shard].handle_ask(now, Ask::HangupAll);
        }
        if self.rng.below(3) == 0 {
            let policy = self.rng.below(self.world.spec.policies.len() as u64) as usize;
            let key = format!("caller=c{}", self.rng.below(6));
            self.world.shared.fraud.reset(&self.world.spec.policies[policy].name, &key);
        }
    }

    /// Somebody sets the machine's clock, an hour at most and now and then to nonsense.
    fn set_clock(&mut self) {
        self.figures.clocks_set += 1;
        let base = self.world.wall_base;
        let step = self.rng.below(3_600_000_000);
        let to = match self.rng.below(8) {
            0 => 0,
            1 => 4_000_000_000_000_000,
            2..=4 => base.saturating_sub(step),
            _ => base + step,
        };
        self.world.set_clock(to);
    }

    fn death(&mut self) {
        let (world, rng) = (&mut self.world, &mut self.rng);
        match rng.below(6) {
            0 => {
                self.figures.shards_died += 1;
                let shard = rng.below(world.switches.len() as u64) as usize;
                world.restart_switch(shard);
            }
            1 => {
                self.figures.shards_died += 1;
                let shard = rng.below(world.media.len() as u64) as usize;
                world.restart_media(shard);
            }
            _ => {
                self.figures.phones_died += 1;
                let phone = rng.below(world.phones.len() as u64) as usize;
                world.phones[phone].is_alive = false;
                if rng.below(2) == 0 {
                    self.start_again(phone);
                }
            }
        }
    }

    /// A phone comes back; it knows nothing of its calls.
    fn start_again(&mut self, phone: usize) {
        let (old, rng) = (&self.world.phones[phone], self.rng.fork());
        let (ip, hidden) = (old.address.ip().to_string(), old.hidden);
        self.world.phones[phone] = self::phone(&ip, hidden, self.mood, rng);
        self.world.phones[phone].has_forgotten = true;
    }

    /// Whoever still talks hangs up; whoever has lost its peer is told by a timer.
    fn settle(&mut self) {
        self.world.run_for(seconds(900));
        let now = self.world.now;
        for phone in &mut self.world.phones {
            for id in 0..phone.dialogs.len() {
                phone.hang_up(now, id);
            }
        }
        // Questions to the dead would be on their way for ever.
        let mut spec = Spec::clone(&self.world.applied);
        spec.trunks.iter_mut().for_each(|trunk| trunk.probe = None);
        self.world.apply(spec);
        for _ in 0..4 {
            self.world.run_for(seconds(300));
            self.look();
        }
        let trouble = if self.mood == Mood::Rough { Trouble::Deaths } else { Trouble::None };
        self.figures.mismatches.extend(check::what_is_wrong(&self.world, trouble));
        if let Ok(text) = std::env::var("STROWGER_STORY") {
            eprintln!("{}", self.world.story(&text));
        }
        if self.mood == Mood::Calm {
            self.compare();
            self.offers();
        }
    }

    /// What the engine counted of its calls against what the phones were offered; and no phone ever had more than its cap.
    fn offers(&mut self) {
        let world = &self.world;
        let mut wrong = Vec::new();
        let mut legs: BTreeMap<SocketAddr, u64> = BTreeMap::new();
        let mut made: BTreeMap<&str, i64> = BTreeMap::new();
        for record in &world.records {
            match record.direction {
                Direction::Out => *legs.entry(record.remote.expect("a leg has a far end")).or_default() += 1,
                Direction::In if record.release_cause != "diverted" => {
                    *made.entry(record.trunk.as_deref().unwrap_or_default()).or_default() += 1;
                }
                Direction::In => {}
            }
        }
        for phone in &world.phones[FIRST_CALLEE..] {
            let counted = legs.get(&phone.address).copied().unwrap_or(0);
            if counted != phone.offered {
                wrong.push(format!(
                    "{} was offered {} calls, {counted} are recorded",
                    phone.address, phone.offered
                ));
            }
        }
        let mut counted: BTreeMap<String, i64> = BTreeMap::new();
        for (labels, count) in world.switches.iter().flat_map(|switch| switch.stats().calls.snapshot()) {
            if labels[1] == "in" {
                *counted.entry(labels[0].clone()).or_default() += count;
            }
        }
        for (trunk, count) in &made {
            if counted.get(*trunk) != Some(count) {
                wrong.push(format!("{trunk}: {count} calls are recorded, {:?} counted", counted.get(*trunk)));
            }
        }
        let in_need = world.phones.iter().flat_map(|phone| &phone.dialogs).filter(|d| d.is_caller);
        let in_need = in_need.filter(|d| is_in_need(d.number.into())).count();
        for phone in &world.phones[FIRST_CALLEE..] {
            if phone.most > MOST + in_need {
                wrong.push(format!(
                    "{} had {} calls at a time, allowed are {MOST}",
                    phone.address, phone.most
                ));
            }
        }
        self.figures.mismatches.extend(wrong);
    }
}

/// Emergency calls.
fn is_in_need(number: u64) -> bool {
    number.is_multiple_of(41)
}

/// Calls that the trunks of the callees take at a time.
const CAPS: [u32; CALLEES] = [4, 8, 12, 12, 12, 50];
/// What a change makes of these at most.
const MOST: usize = 50;

fn phone(ip: &str, hidden: &'static str, mood: Mood, rng: Rng) -> Phone {
    let address = SocketAddr::new(ip.parse().expect("an address"), 5060);
    Phone::new(address, hidden, rng, Box::new(move |rng, _| plan(rng, mood)))
}

/// What a phone does in one call: mostly short and simple, so that a million of them are made in minutes.
fn plan(rng: &mut Rng, mood: Mood) -> Plan {
    if mood == Mood::Rough && rng.below(4) == 0 {
        return Plan { rtp_every: None, ..plan::random(rng) };
    }
    let mut answers: Vec<(Duration, Answer)> = Vec::new();
    if rng.below(2) == 0 {
        let code = pick(rng, &[180, 183]);
        answers.push((ms(201 + rng.below(2_000)), answer(code)));
    }
    let code = pick(rng, &[200, 200, 200, 200, 200, 200, 486, 503, 503, 404, 408, 603]);
    let slowest = pick(rng, &[300, 5_000, 40_000]);
    answers.push((ms(201 + rng.below(slowest)), answer(code)));
    if rng.below(40) == 0 {
        answers = vec![(ms(300), answer(180))];
    }
    let longest = pick(rng, &[1_000, 20_000, 60_000, 400_000]);
    let mut plan = Plan {
        answers,
        bye_after: Some(some_ms(rng, longest)),
        rtp_every: None,
        supported: vec!["timer"],
        ..Plan::default()
    };
    if mood == Mood::Rough {
        if rng.below(15) == 0 {
            plan.vanish_after = Some(some_ms(rng, 60_000));
        }
        if rng.below(30) == 0 {
            plan.acks = Acks::Never;
        }
        plan.says_trying = rng.below(6) > 0;
        if rng.below(12) == 0 {
            plan.answers.clear();
        }
        plan.cancels_by_bye = rng.below(5) == 0;
    }
    plan
}

/// All single limits of a configuration.
fn pools(spec: &Spec) -> Vec<Arc<Pool>> {
    caps(spec).into_iter().map(|(pool, _)| pool).collect()
}

/// The same, with what they bounded at the beginning.
fn caps(spec: &Spec) -> Vec<(Arc<Pool>, Bounds)> {
    let bounds = |calls| Bounds { calls, ..Bounds::default() };
    let mut caps = vec![
        (Arc::clone(&spec.trunks[CALLERS].pool), Bounds { calls: 60, reserved: 4, rate: None }),
        (Arc::clone(&spec.trunks[PRIORITY].pool), bounds(20)),
    ];
    for (n, cap) in CAPS.iter().enumerate() {
        caps.push((Arc::clone(&spec.trunks[CALLED + n].pool), bounds(*cap)));
    }
    let limits = spec.trunks.iter().flat_map(|trunk| trunk.limits_in.iter().chain(&trunk.limits_out));
    for limit in limits {
        if let Limit::Shared(pool) = limit
            && !caps.iter().any(|(known, _)| Arc::ptr_eq(known, pool))
        {
            caps.push((Arc::clone(pool), Bounds { calls: 40, reserved: 3, rate: Some(per_second(20)) }));
        }
    }
    for (_, pool) in spec.groups[0].members.iter().flat_map(|member| &member.resources) {
        let cap = pool.name().strip_prefix("channels ").and_then(|n| n.parse::<usize>().ok()).unwrap_or(0);
        caps.push((Arc::clone(pool), bounds(CAPS.get(cap).copied().unwrap_or(1))));
    }
    caps
}

fn per_second(calls: u32) -> Rate {
    Rate::each(calls, Duration::from_secs(1), calls)
}

fn random_spec(rng: &mut Rng, calls: u64) -> Spec {
    let mut trunks = vec![
        trunk("callers", [198, 51, 100, 0], &["198.51.100.1"]),
        Trunk { class: Class::Priority, ..trunk("priority", [198, 51, 101, 0], &["198.51.101.1"]) },
    ];
    for (n, name) in ["m1", "m2", "m3", "w1", "w2", "spare"].iter().enumerate() {
        let host = format!("203.0.113.{}", n + 1);
        let mut called = trunk(name, [203, 0, 114, n as u8], &[&host]);
        called.from.clear();
        let breaker = BreakerSpec { timeouts: 3, fail_ratio: 0.7, min_calls: 6, open: seconds(10), trial: 2 };
        called.health.set(Some(ProbeSpec { down_after: 2, up_after: 2 }), Some(breaker));
        called.probe = Some(seconds(30));
        trunks.push(called);
    }
    let shared = Pool::new("shared", 25);
    let hash = HashKey::new([rng.u64(), rng.u64()]);
    let per_caller = Bounds { calls: 12, reserved: 2, rate: Some(per_second(4)) };
    let callers = KeyedPools::new("per caller", per_caller, 5, hash);
    let callees = KeyedPools::new("per callee", Bounds { calls: 1, ..Bounds::default() }, 1_000, hash);
    trunks[CALLERS].limits_in = vec![Limit::Shared(Arc::clone(&shared)), Limit::Each(callers, KeyOf::Caller)];
    trunks[PRIORITY].limits_in = vec![Limit::Shared(shared)];
    let named = Pool::new("weighted", 12);
    for trunk in &mut trunks[CALLED + 3..CALLED + 5] {
        let each = Limit::Each(Arc::clone(&callees), KeyOf::Callee);
        trunk.limits_out = vec![Limit::Shared(Arc::clone(&named)), each];
    }
    for trunk in &mut trunks {
        // Calls of peers that have died end by these.
        trunk.session_timer = Some(seconds(90));
        trunk.max_duration = Some(seconds(600));
    }
    let groups = vec![
        group("free", Pick::FreeCapacity, &[2, 3, 4].map(Way::Trunk)),
        group("weighted", Pick::Weighted, &[5, 6].map(Way::Trunk)),
        group("hash", Pick::Hash(HashOf::Callee), &[5, 6].map(Way::Trunk)),
        group("nested", Pick::Priority, &[Way::Group(1), Way::Group(2), Way::Trunk(7)]),
        group("least", Pick::LeastCalls, &[5, 6, 7].map(Way::Trunk)),
    ];
    let hook = |goes_on| Hook {
        url: "http://hook.example".into(),
        deadline: seconds(2),
        cache: Duration::ZERO,
        goes_on,
    };
    let mut wanting = Route::new("free", Action::To(Way::Group(0)));
    wanting.resources = vec!["channels".into()];
    let mut routes = vec![
        wanting,
        Route::new("weighted", Action::To(Way::Group(1))),
        Route::new("hash", Action::To(Way::Group(2))),
        Route::new("nested", Action::To(Way::Group(3))),
        Route { hook: Some(hook(true)), ..Route::new("asked", Action::To(Way::Trunk(7))) },
        Route { hook: Some(hook(false)), ..Route::new("asked strictly", Action::To(Way::Group(4))) },
        Route { class: Some(Class::Priority), ..Route::new("priority", Action::To(Way::Group(0))) },
        Route::new("one", Action::To(Way::Trunk(5))),
        Route::new("in need", Action::To(Way::Group(pick(rng, &[0, 1, 3])))),
    ];
    let matches = (1..=routes.len()).map(|way| Match {
        from: From { trunks: vec![CALLERS, PRIORITY], ..From::default() },
        to: vec![Pattern::parse(&format!("{way}.")).expect("a pattern")],
        ..Match::default()
    });
    let matches: Vec<Match> = matches.collect();
    let mut spec = Spec { trunks, groups, orphan: seconds(300), ..Spec::default() };
    spec.set_routes(matches.into_iter().zip(routes.drain(..)), Order::First);
    spec.emergency =
        (1..=calls).filter(|n| is_in_need(*n)).map(|n| format!("9{n:05}").into_bytes()).collect();
    spec.unknown.answer = UnknownAnswer::Divert;
    spec.unknown.guard.ban_after = 0;
    spec.unknown.divert = Divert { pool: Pool::new("divert", 500), duration: seconds(30) };
    spec.policies = policies(rng);
    spec.trunks[CALLERS].policies = (0..spec.policies.len()).filter(|_| rng.below(2) == 0).collect();
    spec.trunks[PRIORITY].policies = (0..spec.policies.len()).filter(|_| rng.below(4) == 0).collect();
    for (pool, bounds) in caps(&spec) {
        pool.set(bounds);
    }
    spec
}

fn group(name: &str, pick: Pick, ways: &[Way]) -> Group {
    let member = |(n, to): (usize, &Way)| Member {
        name: format!("{to:?}"),
        to: *to,
        weight: 1 + n as u32,
        priority: n as u32,
        resources: match name {
            "free" => vec![("channels".into(), Pool::new(format!("channels {n}"), 1))],
            _ => Vec::new(),
        },
        shape: Shape::default(),
    };
    Group {
        name: name.into(),
        pick,
        compare: Compare::Relative,
        ties: Ties::Random,
        members: ways.iter().enumerate().map(member).collect(),
        state: Arc::new(GroupState::new()),
    }
}

/// Each watches something else, and does something else about it.
fn policies(rng: &mut Rng) -> Vec<Policy> {
    use fraud::Action::{Cut, Disable, Divert, Event, Lower, Reject};
    let levels = |warning: f64, critical: f64| Some(Levels { warning, critical });
    let time = |warning, critical| Some(Levels { warning: seconds(warning), critical: seconds(critical) });
    let rates = Rates::parse("1,0.6\n2,6,60,60\n");
    let rates = rates.ok().map(Arc::new);
    let cut = || vec![Event, Cut];
    let kinds = [
        ("concurrent", Rules { concurrent: levels(3.0, 6.0), ..Rules::default() }, vec![Event, Reject]),
        ("burst", Rules { cpm: levels(10.0, 20.0), ..Rules::default() }, cut()),
        ("long", Rules { duration: time(30, 90), ..Rules::default() }, cut()),
        ("spend", Rules { spend: levels(1.0, 4.0), ..Rules::default() }, vec![Event, Cut, Reject]),
        ("decoy", Rules { total: levels(6.0, 12.0), ..Rules::default() }, vec![Divert("held".into())]),
        ("lower", Rules { distinct: levels(30.0, 60.0), ..Rules::default() }, vec![Lower(10)]),
        ("off", Rules { cpm: levels(50.0, 90.0), ..Rules::default() }, vec![Disable(Some(seconds(15)))]),
    ];
    let policy = |(name, rules, critical): (&str, Rules, Vec<fraud::Action>)| {
        let per = pick(rng, &[&[Per::Caller][..], &[Per::Trunk, Per::Prefix], &[Per::Prefix, Per::Caller]]);
        let profile = Profile::new(ProfileSpec {
            name: name.into(),
            per: per.to_vec(),
            prefixes: Prefixes::Digits(1),
            window: seconds(60),
            rules,
            warn: vec![Event],
            critical,
            rates: rates.clone(),
        });
        Policy { name: name.into(), destinations: None, callers: None, fraud: Some(profile) }
    };
    kinds.into_iter().map(policy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each_seed(runs: u64, mood: Mood) {
        let mut all = Figures::default();
        super::super::storm::each_seed(runs, |seed| {
            let figures = chaos(seed, mood, 60);
            for wrong in &figures.mismatches {
                eprintln!("WRONG: {wrong}");
            }
            assert!(figures.mismatches.is_empty() && figures.drift == 0, "{figures:?}");
            all.add(figures);
        });
        // One world may be anything; all together have seen it all.
        if all.calls >= 5_000 {
            assert!(all.answered * 5 > all.calls && all.legs * 3 > all.calls, "{all:?}");
            let causes =
                ["fraud", "limit_full", "group_full", "diverted", "hook_reject", "disabled", "cancel"];
            assert!(causes.iter().all(|cause| all.causes.contains_key(*cause)), "{all:?}");
            assert!(all.looks > 100 && (mood == Mood::Rough || all.compared > 100), "{all:?}");
        }
    }

    #[test]
    fn the_counts_of_the_engine_are_those_of_the_phones() {
        each_seed(120, Mood::Calm);
    }

    #[test]
    fn whatever_dies_every_place_is_free_again() {
        each_seed(120, Mood::Rough);
    }
}
