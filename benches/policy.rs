//! What the judgement of a call costs: the destination table, rates, fraud profiles at set-up and over live calls, and
//! the guard under a flood of forged sources. Time is virtual.
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use base::{Duration, HashKey, Instant, Now, Rng, Wall};
use core::hint::black_box;
use core::net::IpAddr;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use policy::{
    Action, AnswerRatio, Base, Destinations, Entry, Facts, Fraud, Guard, GuardSpec, Levels, Per, Prefixes,
    Profile, ProfileSpec, Rate, Rates, Rules, ShortCalls,
};
use std::sync::Arc;

fn destinations(c: &mut Criterion) {
    let mut group = c.benchmark_group("destination");
    group.throughput(Throughput::Elements(1));
    let numbers: Vec<_> = ["+14165550100", "+18765550100", "+442079460123", "+12129765550", "alice"].into();
    let judge = |table: &Destinations, turn: &mut usize| {
        *turn = (*turn + 1) % numbers.len();
        black_box(table.judge(numbers[*turn].as_bytes()).allowed)
    };
    let mut turn = 0;
    group.bench_function("judge, default table", |b| {
        b.iter(|| judge(Destinations::default_table(), &mut turn));
    });
    let list =
        |names: &[&str]| names.iter().map(|name| Entry::parse(name).expect("an entry")).collect::<Vec<_>>();
    let (allow, deny) =
        (list(&["@us", "@ca", "@gb", "+4930"]), list(&["@premium", "@high-risk", "@satellite"]));
    let own = Destinations::own(Base::Default, &allow, &deny);
    group.bench_function("judge, own lists", |b| b.iter(|| judge(&own, &mut turn)));
    group.bench_function("build, own lists", |b| b.iter(|| Destinations::own(Base::Default, &allow, &deny)));
    group.finish();
}

fn rates(c: &mut Criterion) {
    let mut group = c.benchmark_group("rates");
    let mut rng = Rng::from_seed(1);
    let mut prefixes: Vec<u64> = (0..1_100_000).map(|_| 1_000_000 + rng.below(900_000_000)).collect();
    prefixes.sort_unstable();
    prefixes.dedup();
    prefixes.truncate(1_000_000);
    let text: String = prefixes.iter().map(|prefix| format!("{prefix},0.0125,60,60\n")).collect();
    group.sample_size(10);
    group
        .bench_function("parse 1 M prefixes", |b| b.iter(|| Rates::parse(&text).expect("a good file").len()));
    let rates = Rates::parse(&text).expect("a good file");
    let numbers: Vec<_> =
        (0..4096).map(|_| format!("+{}", 10_000_000_000 + rng.below(9_000_000_000_000))).collect();
    let mut turn = 0;
    group.throughput(Throughput::Elements(1)).sample_size(100);
    group.bench_function("find among 1 M prefixes", |b| {
        b.iter(|| {
            turn = (turn + 1) % numbers.len();
            black_box(rates.find(numbers[turn].as_bytes()))
        });
    });
    group.finish();
}

/// As in the example of surface.md, with every rule there is.
fn profile(n: usize, rates: &Arc<Rates>) -> Arc<Profile> {
    let both = |warning: f64, critical: f64| Some(Levels { warning, critical });
    let per = [
        vec![Per::Account, Per::Prefix],
        vec![Per::Trunk],
        vec![Per::Source],
        vec![Per::Caller],
        vec![Per::Account],
    ];
    let ratio = |warning, critical| Levels { warning, critical };
    Profile::new(ProfileSpec {
        name: format!("profile {n}"),
        per: per[n % per.len()].clone(),
        prefixes: Prefixes::Digits(2),
        window: Duration::from_secs(86_400),
        rules: Rules {
            cpm: both(1e9, 2e9),
            concurrent: both(1e9, 2e9),
            total: both(1e9, 2e9),
            sequential: both(1e9, 2e9),
            duration: Some(Levels {
                warning: Duration::from_secs(7_200),
                critical: Duration::from_secs(14_400),
            }),
            spend: both(1e9, 2e9),
            distinct: both(50.0, 100.0),
            short_calls: Some(ShortCalls {
                ratio: ratio(2.0, 3.0),
                under: Duration::from_secs(6),
                min_calls: 20,
            }),
            answer_ratio: Some(AnswerRatio { below: ratio(0.0, 0.0), min_calls: 20 }),
        },
        warn: Vec::new(),
        critical: vec![Action::Reject, Action::Cut],
        rates: Some(Arc::clone(rates)),
    })
}

fn at(ms: u64) -> Now {
    Now { mono: Instant(1_000_000_000 + ms * 1_000_000), wall: Wall(1_700_000_000_000_000) }
}

/// Callers, accounts and sources of a busy carrier: 1,000 accounts, 20 numbers each.
struct Calls {
    accounts: Vec<String>,
    callers: Vec<String>,
    callees: Vec<String>,
    rng: Rng,
}

impl Calls {
    fn new() -> Calls {
        Calls {
            accounts: (0..1_000).map(|n| format!("{n}@acme.test")).collect(),
            callers: (0..20_000).map(|n| format!("+1416555{n:05}")).collect(),
            callees: (0..50).map(|n| format!("+4420794601{n:02}")).collect(),
            rng: Rng::from_seed(7),
        }
    }

    fn next(&mut self) -> Facts<'_> {
        let caller = self.rng.below(self.callers.len() as u64) as usize;
        let callee = self.rng.below(self.callees.len() as u64) as usize;
        Facts {
            account: Some(&self.accounts[caller / 20]),
            trunk: "pbx",
            caller: self.callers[caller].as_bytes(),
            callee: self.callees[callee].as_bytes(),
            source: IpAddr::from([192, 0, (caller / 5_000) as u8, (caller / 20 % 250) as u8]),
        }
    }
}

fn fraud(c: &mut Criterion) {
    let mut group = c.benchmark_group("fraud");
    group.throughput(Throughput::Elements(1));
    let rates = Arc::new(Rates::parse("44,0.02,60,60\n1,0.01\n").expect("a good file"));
    for count in [1, 3, 10] {
        let profiles: Vec<_> = (0..count).map(|n| profile(n, &rates)).collect();
        let (fraud, mut calls, mut ms) = (Fraud::new(HashKey::new([1, 2]), 200_000), Calls::new(), 0);
        let mut found = Vec::new();
        // Every key is known.
        for _ in 0..200_000 {
            drop(fraud.begin(at(0), &profiles, &calls.next(), 0, 0, &mut found));
        }
        found.clear();
        let name = |what: &str| format!("{what}, {count} profiles of 9 rules");
        group.bench_function(name("begin"), |b| {
            b.iter_custom(|rounds| {
                let mut spent = std::time::Duration::ZERO;
                let mut done = 0;
                while done < rounds {
                    let batch = (rounds - done).min(100);
                    let mut held = Vec::with_capacity(100);
                    let start = std::time::Instant::now();
                    for _ in 0..batch {
                        ms += 2;
                        held.push(fraud.begin(at(ms), &profiles, &calls.next(), 0, ms, &mut found));
                    }
                    spent += start.elapsed();
                    found.clear();
                    done += batch;
                }
                spent
            });
        });
        group.bench_function(name("begin, answered and end"), |b| {
            b.iter(|| {
                ms += 2;
                let mut ticket = fraud.begin(at(ms), &profiles, &calls.next(), 0, ms, &mut found);
                fraud.answered(at(ms), &mut ticket);
                found.clear();
                fraud.end(at(ms + 1), ticket, true)
            });
        });
    }
    for count in [1, 3] {
        let profiles: Vec<_> = (0..count).map(|n| profile(n, &rates)).collect();
        let (fraud, mut calls, mut found) =
            (Fraud::new(HashKey::new([1, 2]), 200_000), Calls::new(), Vec::new());
        let mut held = Vec::new();
        for n in 0..10_000 {
            let mut ticket = fraud.begin(at(0), &profiles, &calls.next(), 0, n, &mut found);
            fraud.answered(at(0), &mut ticket);
            held.push(ticket);
        }
        let (mut ms, mut live) = (0, Vec::new());
        group.throughput(Throughput::Elements(10_000));
        group.bench_function(format!("tick over 10,000 live calls, {count} profiles of 9 rules"), |b| {
            b.iter(|| {
                ms += 250;
                fraud.tick(at(ms % 7_000_000), 0, &mut live);
                live.clear();
            });
        });
    }
    group.finish();
}

fn guard(c: &mut Criterion) {
    let mut group = c.benchmark_group("guard");
    group.throughput(Throughput::Elements(1));
    let flood = Some(Rate { requests: 100, per: Duration::from_secs(1) });
    let guard = Guard::new(HashKey::new([1, 2]), GuardSpec { flood, ..GuardSpec::default() }, 65_536);
    let (mut rng, mut ns) = (Rng::from_seed(3), 1_000_000_000);
    let mut now = move || {
        ns += 20_000; // 50,000 requests a second
        Now { mono: Instant(ns), wall: Wall(0) }
    };
    group.bench_function("request, a new forged source each", |b| {
        b.iter(|| guard.request(now(), IpAddr::from(rng.u32().to_be_bytes()), |_| false));
    });
    let mut rng = Rng::from_seed(3);
    group.bench_function("offence, a new forged source each", |b| {
        b.iter_batched(
            || IpAddr::from(rng.u32().to_be_bytes()),
            |source| guard.offence(now(), source, policy::Offence::UnknownRequest, |_| false),
            BatchSize::SmallInput,
        );
    });
    let agent = b"Grandstream GXP2170 1.0.11.46";
    let party = b"\"Alice\" <sip:+14165550100@sbc.example>;tag=9fxced76sl";
    group.bench_function("is_scanner, of a harmless message", |b| {
        b.iter(|| guard.is_scanner(black_box(Some(agent)), party, party));
    });
    group.finish();
}

criterion_group!(benches, destinations, rates, fraud, guard);
criterion_main!(benches);
