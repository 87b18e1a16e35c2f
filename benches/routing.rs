//! Where a call goes: a route among 100,000 with a million prefixes, compiling them, and choosing a member of a group with
//! places really taken and given back.
#![expect(clippy::print_stderr, reason = "the memory of a table is a figure too")]

use base::{Instant, Rng, Wall};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ledger::{Class, Lease, Part, Pool};
use routing::group::{Compare, HashOf, Pick, Ties};
use routing::number::Pattern;
use routing::{Asked, Group, Match, Member, Order, Shape, Table, Wanted, Way, World, choose};
use std::hint::black_box;
use std::sync::Arc;

const ROUTES: usize = 100_000;
const PREFIXES: usize = 10;
const NUMBERS: usize = 4096;

fn find(c: &mut Criterion) {
    let mut rng = Rng::from_seed(1);
    let routes = routes(&mut rng);
    let mut group = c.benchmark_group("routing");
    // One look-up. Goal: below 1 µs.
    group.throughput(Throughput::Elements(1));
    for order in [Order::First, Order::Longest] {
        let table = Table::compile(routes.clone(), order);
        eprintln!("{order:?}: {} MB beside the routes", table.memory() / 1_000_000);
        let numbers: Vec<_> = (0..NUMBERS).map(|_| number(&routes, &mut rng)).collect();
        group.bench_function(format!("find, {order:?}, the same number"), |b| {
            b.iter(|| table.find(&call(black_box(&numbers[0])), &mut ()));
        });
        group.bench_function(format!("find, {order:?}, {NUMBERS} numbers"), |b| {
            let mut turn = 0;
            b.iter(|| {
                turn = (turn + 1) % NUMBERS;
                table.find(&call(&numbers[turn]), &mut ())
            });
        });
        group.bench_function(format!("find, {order:?}, nothing"), |b| {
            b.iter(|| table.find(&call(black_box(b"#31#0123456789")), &mut ()));
        });
    }
    group.throughput(Throughput::Elements((ROUTES * PREFIXES) as u64));
    group.sample_size(10);
    // All routes. Goal: well below 0.5 s.
    group.bench_function("compile", |b| {
        b.iter_batched(
            || routes.clone(),
            |routes| Table::compile(routes, Order::First),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn members(c: &mut Criterion) {
    let mut group = c.benchmark_group("group");
    group.throughput(Throughput::Elements(1));
    for count in [3, 10, 100] {
        for pick in [Pick::FreeCapacity, Pick::LeastCalls, Pick::Weighted, Pick::Hash(HashOf::Callee)] {
            let groups = [of_members(pick, count)];
            let resources = ["pstn".to_owned()];
            let wanted = Wanted { resources: &resources, callee: b"+12125551234", ..Wanted::default() };
            let mut rng = Rng::from_seed(1);
            group.bench_function(format!("choose, {pick:?}, {count} members"), |b| {
                b.iter(|| choose(&groups, Way::Group(0), &wanted, &Up, &mut rng, take, &mut ()).is_ok());
            });
        }
    }
    group.finish();
}

/// Routes with prefixes of six to ten digits behind a `+`.
fn routes(rng: &mut Rng) -> Vec<Match> {
    let route = |rng: &mut Rng| {
        let to = (0..PREFIXES).map(|_| {
            let len = 6 + rng.below(5) as usize;
            Pattern::parse(&format!("+{}.", digits(len, rng))).expect("a pattern")
        });
        Match { to: to.collect(), ..Match::default() }
    };
    (0..ROUTES).map(|_| route(rng)).collect()
}

/// A number that some route takes.
fn number(routes: &[Match], rng: &mut Rng) -> Vec<u8> {
    let route = &routes[rng.below(ROUTES as u64) as usize];
    let prefix = format!("{:?}", route.to[rng.below(PREFIXES as u64) as usize]);
    let prefix = prefix.trim_end_matches('.');
    format!("{prefix}{}", digits(13 - prefix.len(), rng)).into_bytes()
}

fn digits(len: usize, rng: &mut Rng) -> String {
    (0..len)
        .map(|at| char::from(b'0' + if at == 0 { 1 + rng.below(9) } else { rng.below(10) } as u8))
        .collect()
}

fn call(callee: &[u8]) -> Asked<'_> {
    Asked {
        trunk: Some(1),
        account: None,
        caller: b"+12125550000",
        callee,
        now: Wall(0),
        header: &|_, _| false,
    }
}

fn of_members(pick: Pick, count: usize) -> Group {
    let member = |trunk: usize| Member {
        name: format!("trunk-{trunk}"),
        to: Way::Trunk(trunk),
        weight: 1 + trunk as u32 % 5,
        priority: 0,
        resources: vec![("pstn".into(), Pool::new("pstn", 30))],
        shape: Shape::default(),
    };
    Group {
        name: "100".into(),
        pick,
        compare: Compare::Relative,
        ties: Ties::Random,
        members: (0..count).map(member).collect(),
        state: Arc::default(),
    }
}

fn take(candidate: &routing::Candidate<'_>) -> Result<Lease, String> {
    let parts = candidate.resources.iter().map(|pool| Part::Pool(pool));
    Lease::take(0, Instant(1), Class::Normal, parts).map_err(|hit| hit.limit)
}

/// Everybody is up and idle.
struct Up;

impl World for Up {
    fn may_try(&self, _: usize) -> Result<(), &'static str> {
        Ok(())
    }
    fn calls(&self, _: usize) -> u32 {
        0
    }
}

criterion_group!(benches, find, members);
criterion_main!(benches);
