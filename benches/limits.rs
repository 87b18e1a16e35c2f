//! What a call pays for its limits: taking a lease and giving it back, asking whether its source is banned, telling the
//! world; and what a shard pays for its recount.

use base::{Duration, HashKey, Instant, Wall};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ledger::{Auditor, Ban, Banner, Bans, Bounds, Class, Event, EventBus, Net};
use ledger::{KeyedPools, Lease, Limit, Part, Pool, Rate};
use std::hint::black_box;
use std::sync::Arc;

const NOW: Instant = Instant(1_000_000_000);

fn pools(rate: Option<Rate>) -> [Arc<Pool>; 4] {
    ["trunk", "account", "pstn", "engine"]
        .map(|name| Pool::with(name, Bounds { calls: 1_000_000, reserved: 10, rate }))
}

fn keyed(rate: Option<Rate>) -> Arc<KeyedPools> {
    let bounds = Bounds { calls: 10, reserved: 0, rate };
    KeyedPools::new("caller", bounds, 1_000_000, HashKey::new([1, 2]))
}

/// A rate that never refuses here.
fn fast() -> Option<Rate> {
    Some(Rate { interval: Duration::from_nanos(1), burst: u32::MAX })
}

fn lease(c: &mut Criterion) {
    let mut group = c.benchmark_group("lease");
    // One lease, taken and given back. Goal: 200 ns for four pools.
    group.throughput(Throughput::Elements(1));
    let take = |parts: &[Part<'_>], now| Lease::take(0, now, Class::Normal, parts.iter().copied()).is_ok();
    let plain = pools(None);
    let parts = plain.each_ref().map(Part::Pool);
    group.bench_function("one pool", |b| b.iter(|| assert!(take(black_box(&parts[..1]), NOW))));
    group.bench_function("four pools", |b| b.iter(|| assert!(take(black_box(&parts), NOW))));
    let paced = pools(fast());
    let mixed = [Part::Pool(&paced[0]), parts[1], parts[2], parts[3]];
    // Time passes, so that rates recover and keys go.
    let mut now = NOW;
    let mut next = || {
        now += Duration::from_micros(10);
        now
    };
    group.bench_function("four pools, one with a rate", |b| {
        b.iter(|| assert!(take(black_box(&mixed), next())));
    });
    let all_paced = paced.each_ref().map(Part::Pool);
    group
        .bench_function("four pools with rates", |b| b.iter(|| assert!(take(black_box(&all_paced), next()))));
    let callers = keyed(None);
    let busy = Lease::take(0, NOW, Class::Normal, [Part::Key(&callers, b"+498912345")]);
    let known = [parts[0], parts[1], parts[2], Part::Key(&callers, b"+498912345")];
    group.bench_function("three pools and a busy key", |b| b.iter(|| assert!(take(black_box(&known), NOW))));
    let fresh = [parts[0], parts[1], parts[2], Part::Key(&callers, b"+498954321")];
    group.bench_function("three pools and a new key", |b| b.iter(|| assert!(take(black_box(&fresh), NOW))));
    let full = Pool::new("full", 0);
    let refused = [parts[0], parts[1], parts[2], Part::Pool(&full)];
    group.bench_function("refused by the fourth pool", |b| {
        b.iter(|| assert!(!take(black_box(&refused), NOW)));
    });
    drop(busy);
    group.finish();
}

fn recount(c: &mut Criterion) {
    let mut group = c.benchmark_group("recount");
    let trunks: Vec<_> = (0..100).map(|n| Pool::new(format!("trunk {n}"), u32::MAX)).collect();
    let callers = keyed(None);
    let leases: Vec<Lease> = (0..10_000usize)
        .filter_map(|n| {
            let (a, b) = (&trunks[n % 100], &trunks[n * 7 % 100]);
            let parts =
                [Part::Pool(a), Part::Pool(b), Part::Pool(&trunks[0]), Part::Key(&callers, &[n as u8])];
            Lease::take(0, NOW, Class::Emergency, parts).ok()
        })
        .collect();
    // One lease of four places.
    group.throughput(Throughput::Elements(leases.len() as u64));
    let mut auditor = Auditor::new(0);
    group.bench_function("10,000 leases in 100 pools", |b| {
        b.iter(|| {
            let recount = auditor.recount(trunks.iter().map(Limit::Pool), &leases);
            assert_eq!((recount.drift(), recount.leases), (0, leases.len()));
        });
    });
    group.finish();
}

fn bans(c: &mut Criterion) {
    let mut group = c.benchmark_group("bans");
    // One source asked for. Goal: 100 ns.
    group.throughput(Throughput::Elements(1));
    let now = Wall(1_000);
    let free: [IpAddr; 2] =
        [Ipv4Addr::new(192, 0, 2, 1).into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()];
    let empty = Bans::new(HashKey::new([1, 2]));
    group.bench_function("nobody is banned", |b| {
        b.iter(|| assert!(!empty.is_banned(now, black_box(free[0]))));
    });
    let full = Bans::new(HashKey::new([1, 2]));
    let host = |n: u32| IpAddr::from(Ipv4Addr::from_bits(0x0a00_0000 + n));
    let until = Some(Wall(2_000));
    full.import(now, (0..65_536).map(|n| Ban::of(host(n), Banner::Auto, now, until, "flood")));
    full.import(
        now,
        (0..4_096u32).filter_map(|n| {
            let net = Net::new(Ipv4Addr::from_bits(0x6440_0000 + (n << 10)).into(), 23)?;
            Some(Ban { net, until: None, since: now, by: Banner::Operator, reason: String::new() })
        }),
    );
    assert_eq!(full.len(), 65_536 + 4_096);
    for (name, source) in [("a free IPv4 source", free[0]), ("a free IPv6 source", free[1])] {
        group.bench_function(name, |b| b.iter(|| assert!(!full.is_banned(now, black_box(source)))));
    }
    let mut n = 0;
    group.bench_function("banned sources", |b| {
        b.iter(|| {
            n = (n + 7_919) % 65_536;
            assert!(full.is_banned(now, black_box(host(n))));
        });
    });
    group.bench_function("a banned network", |b| {
        b.iter(|| assert!(full.is_banned(now, black_box(Ipv4Addr::from_bits(0x6440_0401).into()))));
    });
    group.finish();
}

fn events(c: &mut Criterion) {
    let mut group = c.benchmark_group("events");
    // One event with two fields, made and told to nobody.
    group.throughput(Throughput::Elements(1));
    let bus = EventBus::new(Wall(1));
    group.bench_function("publish, nobody listens", |b| {
        b.iter(|| bus.publish(Event::new(Wall(2), "limit.full").with("limit", "acme").with("why", "full")));
    });
    group.finish();
}

criterion_group!(benches, lease, recount, bans, events);
criterion_main!(benches);
