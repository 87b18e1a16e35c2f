//! Any requests, restarts and refusals in any order: every request is answered once, ports never move, and nothing is
//! left when all is over.

use crate::world::*;
use base::{Duration, Rng};
use command::Event;
use ng::value::Dict;
use std::collections::BTreeMap;

const CALLS: [&str; 3] = ["one", "two", "three"];
const TAGS: [&str; 5] = ["a", "b", "c", "d", "e"];
const BRANCHES: [&str; 3] = ["", "z1", "z2"];

fn sdp(rng: &mut Rng) -> String {
    let port = 4_000 + rng.below(1_000) as u16 * 2;
    let address = [A, B, C, "10.0.0.7", "0.0.0.0"][rng.below(5) as usize];
    let mut sdp = audio(address, port);
    match rng.below(10) {
        0 => sdp = with_direction(&sdp, "sendonly"),
        1 => sdp = with_direction(&sdp, "inactive"),
        2 => sdp.push_str("m=video 4100 RTP/AVP 31\r\n"),
        3 => sdp.push_str("m=video 0 RTP/AVP 31\r\n"),
        4 => sdp = sdp.replace("RTP/AVP 0 8", "RTP/AVP 8"),
        5 => sdp.truncate(rng.below(sdp.len() as u64) as usize),
        6 => sdp = sdp.replace("RTP/AVP", "RTP/SAVP"),
        _ => {}
    }
    sdp
}

fn any_request(rng: &mut Rng) -> Dict {
    let pick = |rng: &mut Rng, list: &[&'static str]| list[rng.below(list.len() as u64) as usize];
    let call = pick(rng, &CALLS);
    let (from, to, branch) = (pick(rng, &TAGS), pick(rng, &TAGS), pick(rng, &BRANCHES));
    let sdp = sdp(rng);
    let mut dict = match rng.below(20) {
        0..=3 => offer(call, from, &sdp),
        4 | 5 => reoffer(call, from, to, &sdp),
        6..=9 => answer(call, from, to, &sdp),
        10 => request("delete", &[("call-id", call), ("from-tag", from)]),
        11 => delete(call, ["0", "2", "20"][rng.below(3) as usize]),
        12 => request("query", &[("call-id", call)]),
        13 => request("block media", &[("call-id", call), ("from-tag", from)]),
        14 => request("play media", &[("call-id", call), ("from-tag", from), ("file", "x.wav")]),
        15 => request("publish", &[("call-id", call), ("from-tag", from), ("sdp", &sdp)]),
        16 => request("subscribe request", &[("call-id", call), ("from-tag", from), ("to-tag", to)]),
        17 => request("subscribe answer", &[("call-id", call), ("to-tag", to), ("sdp", &sdp)]),
        18 => request("unsubscribe", &[("call-id", call), ("to-tag", to)]),
        _ => request(["ping", "list", "statistics", "nonsense"][rng.below(4) as usize], &[]),
    };
    if !branch.is_empty() {
        dict = with(dict, "via-branch", branch);
    }
    if rng.below(4) == 0 {
        let list = [
            "asymmetric",
            "strict-source",
            "media-handover",
            "fatal",
            "to-tag",
            "fast",
            "block-DTMF",
            "record-call",
        ];
        let flag = pick(rng, &list);
        dict = flags(dict, &[flag]);
    }
    dict
}

/// One story; the number of calls that came about, so that a story is not empty.
fn story(seed: u64) -> u64 {
    let mut rng = Rng::from_seed(seed);
    let mut world = World::with(|spec| spec.unanswered = Duration::from_secs(50));
    let mut asked = Vec::new();
    // Ports that a party of a call was told, by its tag, branch and m-line: they never move while it is there.
    let mut told: BTreeMap<u16, String> = BTreeMap::new();
    for _ in 0..120 {
        world.is_quick = rng.below(3) > 0;
        world.is_full = rng.below(15) == 0;
        match rng.below(30) {
            0 => world.restart(rng.below(2) as u8),
            1 | 2 => world.pass(Duration::from_secs(rng.below(40))),
            3 => {
                let bridge = world.bridges.keys().nth(rng.below(4) as usize).copied();
                if let Some(bridge) = bridge {
                    world
                        .ng
                        .handle_media(world.now, Event::Silent { bridge, silent: Duration::from_secs(60) });
                    world.run();
                }
            }
            4 => {
                if let Some((ticket, _)) = world.sounds.pop() {
                    world.ng.handle_sound(world.now, ticket, Err("no such file"));
                    world.run();
                }
            }
            5 => {
                world.work();
                world.run();
            }
            _ => {
                let request = any_request(&mut rng);
                asked.push(world.ask(&request));
                if rng.below(8) == 0 {
                    let again = asked[asked.len() - 1].clone();
                    let before = world.replies.get(&again).map_or(0, Vec::len);
                    world.ask_as(&again, &request);
                    let after = world.replies.get(&again).map_or(0, Vec::len);
                    assert!(after <= before + 1);
                    // Counted once below.
                    if let Some(replies) = world.replies.get_mut(&again).filter(|replies| replies.len() > 1) {
                        replies.pop();
                    }
                }
            }
        }
        for bridge in world.bridges.values() {
            for port in &bridge.ports {
                let local = port.local.to_string();
                let known = told.entry(port.local.port()).or_insert_with(|| local.clone());
                assert_eq!(*known, local, "a port does not move");
            }
        }
        assert!(world.pool.used() as usize >= world.bridges.len(), "a bridge without a place");
        assert_eq!(world.pool.used() as usize, world.ng.len(), "a place for each call");
    }
    let calls = world.book.totals().calls;
    world.is_quick = true;
    world.is_full = false;
    world.run();
    world.work();
    world.run();
    while let Some((ticket, _)) = world.sounds.pop() {
        world.ng.handle_sound(world.now, ticket, Err("no such file"));
        world.run();
    }
    for name in CALLS {
        asked.push(world.ask(&delete(name, "0")));
    }
    world.pass(Duration::from_secs(1));
    // What was stopped under an order waits for media, which tells the end of each.
    for cookie in &asked {
        let replies = world.replies.get(cookie).map_or(0, Vec::len);
        assert_eq!(replies, 1, "seed {seed}: {cookie} was answered {replies} times");
    }
    world.assert_empty();
    calls
}

#[test]
fn whatever_comes_is_answered_once_and_leaves_nothing() {
    let stories = std::env::var("STROWGER_STORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    let first = std::env::var("STROWGER_STORY").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let calls: u64 = (first..first + stories).map(story).sum();
    assert!(calls > stories * 5, "{calls} calls");
}
