//! Random worlds. The only input is a seed; it is printed.

use super::check::{self, Trouble};
use super::phone::Phone;
use super::plan::{self, pick, seconds, some_ms};
use super::world::{Weather, World, route, trunk};
use b2bua::Spec;
use b2bua::spec::Order;
use base::{Duration, Rng};
use core::net::SocketAddr;
use ledger::{Ask, Bounds};

#[test]
fn in_fine_weather_every_call_ends_as_it_should() {
    each_seed(200, |seed| storm(seed, Weather { delay_max_ms: 30, ..Weather::FINE }, Trouble::None));
}

#[test]
fn in_bad_weather_nothing_is_left_behind() {
    each_seed(300, |seed| storm(seed, Weather { delay_max_ms: 900, lost: 40, doubled: 40 }, Trouble::None));
}

#[test]
fn shards_that_die_leave_nothing_behind() {
    each_seed(200, |seed| storm(seed, Weather { delay_max_ms: 200, lost: 20, doubled: 20 }, Trouble::Deaths));
}

/// `STROWGER_SEED` replays one world; `STROWGER_FIRST` and `STROWGER_RUNS` make a soak.
pub fn each_seed(runs: u64, mut world: impl FnMut(u64)) {
    let fixed = std::env::var("STROWGER_SEED").ok().map(|s| s.parse().expect("a u64"));
    let runs = std::env::var("STROWGER_RUNS").ok().map_or(runs, |s| s.parse().expect("a u64"));
    let begin = std::env::var("STROWGER_FIRST").ok().map(|s| s.parse().expect("a u64"));
    let first: u64 = fixed.or(begin).unwrap_or_else(|| u64::from(std::process::id()) * 1_000);
    for seed in first..first + if fixed.is_some() { 1 } else { runs } {
        eprintln!("replay: STROWGER_SEED={seed} cargo test --test sim");
        world(seed);
    }
}

/// The side of the callers, and that of the callees.
const CALLERS: &str = "198.51.100.";
const CALLEES: &str = "203.0.113.";

fn storm(seed: u64, weather: Weather, trouble: Trouble) {
    let mut rng = Rng::from_seed(seed ^ 0x5eed);
    let spec = random_spec(&mut rng);
    let (shards, media_shards) = (1 + rng.below(2) as usize, 1 + rng.below(2) as usize);
    let mut world = World::new(seed, shards, media_shards, spec);
    world.weather = weather;
    world.names.insert("pool.example".into(), vec![address("203.0.113.2:5060"), address("203.0.113.3:5060")]);
    if rng.below(4) == 0 {
        world.media[0].pairs_max = 6;
    }
    let phones = 3;
    for n in 1..=phones {
        world.phones.push(phone(&format!("{CALLERS}{n}"), CALLEES, rng.fork()));
    }
    for n in 1..=3 {
        world.phones.push(phone(&format!("{CALLEES}{n}"), CALLERS, rng.fork()));
    }
    if rng.below(3) == 0 {
        world.unreachable.insert(address("203.0.113.9:5060"));
    }
    let calls = 10 + rng.below(15);
    for number in 1..=calls {
        let pause = pick(&mut rng, &[10, 1_000, 20_000, 120_000]);
        world.run_for(some_ms(&mut rng, pause));
        let caller = rng.below(phones) as usize;
        let plan = plan::random(&mut rng);
        let user = format!("{}{number:04}", 1 + rng.below(6));
        let now = world.now;
        world.phones[caller].call(now, &user, &plan);
        if rng.below(8) == 0 {
            world.phones[caller].send_lone(now, "OPTIONS", &[]);
        }
        if rng.below(6) == 0 {
            somebody_asks(&mut world, &mut rng);
        }
        if trouble == Trouble::Deaths {
            something_dies(&mut world, &mut rng);
        }
    }
    // Who still talks hangs up in the end; who has lost its peer is told by a timer. The longest is that of hold.
    world.run_for(seconds(3 * 3_600));
    let now = world.now;
    for phone in &mut world.phones {
        for id in 0..phone.dialogs.len() {
            phone.hang_up(now, id);
        }
    }
    world.run_for(seconds(6 * 3_600));
    check::nothing_is_left(&world, trouble);
}

/// Control looks at calls and hangs some up.
fn somebody_asks(world: &mut World, rng: &mut Rng) {
    let shard = rng.below(world.switches.len() as u64) as usize;
    let ids = world.calls_of(shard);
    if ids.is_empty() {
        return;
    }
    let id = ids[rng.below(ids.len() as u64) as usize];
    let now = world.time();
    let ask = match rng.below(8) {
        0..=2 => Ask::Show(id, Box::new(|view| drop(view.expect("it was listed")))),
        3..=4 => Ask::Trace(id, Box::new(|trace| drop(trace.expect("it was listed")))),
        5..=6 => Ask::Hangup(id, Box::new(|_| {})),
        _ => Ask::HangupAll,
    };
    world.switches[shard].handle_ask(now, ask);
}

fn something_dies(world: &mut World, rng: &mut Rng) {
    match rng.below(30) {
        0 => {
            let shard = rng.below(world.switches.len() as u64) as usize;
            world.restart_switch(shard);
        }
        1 => {
            let shard = rng.below(world.media.len() as u64) as usize;
            world.restart_media(shard);
        }
        2 => {
            let phone = rng.below(world.phones.len() as u64) as usize;
            world.phones[phone].is_alive = false;
        }
        _ => {}
    }
}

fn phone(ip: &str, hidden: &'static str, rng: Rng) -> Phone {
    let address = SocketAddr::new(ip.parse().expect("an address"), 5060);
    Phone::new(address, hidden, rng, Box::new(|rng, _| plan::random(rng)))
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// Callers, and three ways to the callees: one address, two by name, and one that leads on from dead ends.
fn random_spec(rng: &mut Rng) -> Spec {
    let mut trunks = vec![
        trunk("callers", [198, 51, 100, 0], &["198.51.100.1"]),
        trunk("one", [203, 0, 113, 0], &["203.0.113.1"]),
        trunk("two", [203, 0, 114, 0], &["pool.example"]),
        trunk("many", [203, 0, 115, 0], &["nowhere.example", "203.0.113.9", "203.0.113.1", "pool.example"]),
    ];
    for trunk in &mut trunks {
        trunk.session_timer = pick(rng, &[None, Some(seconds(90)), Some(seconds(300)), Some(seconds(1_800))]);
        trunk.max_duration = pick(rng, &[None, None, Some(seconds(600)), Some(seconds(7_200))]);
        trunk.one_ends = rng.below(4) == 0;
        trunk.pool.set(Bounds { calls: pick(rng, &[u32::MAX, u32::MAX, 4]), ..Bounds::default() });
    }
    let routes = vec![
        route("one", &[0], "1.", 1),
        route("two", &[0], "2.", 2),
        route("many", &[0], "3.", 3),
        route("one again", &[0], "4.", 1),
        route("two again", &[0], "5.", 2),
    ];
    let mut spec = Spec { trunks, orphan: Duration::from_secs(300), ..Spec::default() };
    spec.set_routes(routes, Order::First);
    spec
}
