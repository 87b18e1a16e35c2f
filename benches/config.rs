//! How long it takes to read, check and convert a configuration of 100,000 routes, and what reloading it costs when
//! nothing has changed. The figures that `docs/performance.md` quotes.

use core::fmt::Write as _;
use core::hint::black_box;
use criterion::{Criterion, Throughput};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUTES: u64 = 100_000;
const HEAD: &str = "listener.m = { sip = \"udp:127.0.0.1:0\", media = \"127.0.0.1:0\" }\n\
                    trunk.a = \"192.0.2.1\"\ntrunk.b = \"192.0.2.2\"\n";

/// Routes of so many prefixes each, all different.
fn routes(prefixes: u64) -> String {
    let mut text = String::from(HEAD);
    for route in 0..ROUTES {
        text.push_str("[[route]]\nfrom = \"a\"\nto = [");
        for prefix in 0..prefixes {
            let _ = write!(text, "\"+{}.\", ", 10_000_000 + route * prefixes + prefix);
        }
        text.push_str("]\nvia = \"b\"\n");
    }
    text
}

fn bench(criterion: &mut Criterion) {
    for (name, prefixes) in [("100000 routes of one prefix", 1), ("100000 routes of ten prefixes", 10)] {
        let text = routes(prefixes);
        let mut group = criterion.benchmark_group(format!("config, {name}"));
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(10))
            .throughput(Throughput::Elements(ROUTES));
        group.bench_function("check", |b| {
            b.iter(|| config::Config::check(black_box(&text), "bench").expect("a valid configuration"));
        });
        let checked = config::Config::check(&text, "bench").expect("a valid configuration");
        group.bench_function("spec", |b| {
            b.iter(|| black_box(&checked).spec(1, &mut config::PoolBook::new()));
        });
        group.bench_function("check and spec", |b| {
            b.iter(|| {
                let checked =
                    config::Config::check(black_box(&text), "bench").expect("a valid configuration");
                checked.spec(1, &mut config::PoolBook::new())
            });
        });
        group.bench_function("diff of equal ones", |b| {
            b.iter(|| config::diff::diff(black_box(checked.config()), black_box(checked.config())));
        });
        group.finish();
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    bench(&mut criterion);
    criterion.final_summary();
}
