//! A million calls through the simulated world of `tests/sim`: limits, groups, fraud, hooks and probes while phones and
//! shards die, BYEs get lost and clocks are set. Prints what happened; anything that does not hold ends it with an error.
//!
//! `cargo bench --bench chaos [-- CALLS [SEED]]`; `-- 1000 SEED` plays one world again.
#![expect(clippy::print_stdout, reason = "the figures are the point")]
#![expect(clippy::disallowed_methods, reason = "how long it took is a figure")]

#[allow(dead_code, unused_imports, reason = "the tests in it use more")]
#[path = "../tests/sim/main.rs"]
mod sim;

use sim::chaos::{Figures, Mood, chaos};
use std::time::Instant;

/// Calls a world: enough for hours of simulated time, few enough that a mismatch is found again.
const EACH: u64 = 1_000;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` says so; `cargo test` only wants to know that it works.
    let is_test = args.iter().any(|arg| arg == "--test") || !args.iter().any(|arg| arg == "--bench");
    let mut numbers = args.iter().filter_map(|arg| arg.replace('_', "").parse::<u64>().ok());
    let calls = numbers.next().unwrap_or(if is_test { 4_000 } else { 1_000_000 });
    let first = numbers.next().unwrap_or(1);
    let began = Instant::now();
    let mut all = Figures::default();
    let worlds = calls.div_ceil(EACH);
    for world in 0..worlds {
        let seed = first + world;
        let mood = if seed.is_multiple_of(4) { Mood::Calm } else { Mood::Rough };
        let figures = chaos(seed, mood, EACH.min(calls - world * EACH));
        for wrong in &figures.mismatches {
            println!("WRONG in world {seed} ({mood:?}): {wrong}");
        }
        all.add(figures);
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("calls                      {}", all.calls);
    println!("worlds                     {worlds}, every fourth calm");
    println!("legs to callees            {}", all.legs);
    println!("answered                   {}", all.answered);
    println!("simulated time             {:.1} h", all.simulated.as_secs_f64() / 3_600.0);
    println!("shards died                {}", all.shards_died);
    println!("phones died                {}", all.phones_died);
    println!("clocks set                 {}", all.clocks_set);
    println!("configurations             {}", all.configurations);
    println!("compared with lists        {}, with the phones' own {}", all.looks, all.compared);
    println!("limit drift                {}", all.drift);
    println!("mismatches                 {}", all.mismatches.len());
    for (cause, count) in &all.causes {
        println!("ended by {cause:<17} {count}");
    }
    println!("seconds                    {seconds:.1}");
    println!("calls a second             {:.0}", calls as f64 / seconds);
    assert!(all.drift == 0 && all.mismatches.is_empty(), "the counts are wrong");
}
