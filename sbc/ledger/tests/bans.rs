//! Bans against a plain list: whatever is added, removed and expired in any order, asking gives what looking at every
//! ban would give.

use base::{HashKey, Wall};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use ledger::{Ban, Banner, Bans, DropList, Net};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

#[derive(Clone, Debug)]
enum Step {
    Add { net: Net, by: Banner, seconds: Option<u64> },
    Remove(Net),
    Expire,
    Pass(u64),
}

/// The nets that a drop list holds.
#[derive(Clone, Default)]
struct Kernel(Arc<Mutex<BTreeSet<Net>>>);

impl DropList for Kernel {
    fn add(&self, net: Net) {
        assert!(self.0.lock().unwrap().insert(net), "{net} twice");
    }
    fn remove(&self, net: Net) {
        assert!(self.0.lock().unwrap().remove(&net), "{net} was not there");
    }
}

/// Addresses that lie close together, so that networks nest and touch.
fn address() -> impl Strategy<Value = IpAddr> {
    let v4 = prop_oneof![0..40u32, Just(u32::MAX), u32::MAX - 9..u32::MAX];
    let v6 = (prop_oneof![0..6u64, Just(u64::MAX)], prop_oneof![0..3u64, Just(u64::MAX)]);
    prop_oneof![
        v4.prop_map(|n| Ipv4Addr::from_bits(n).into()),
        v6.prop_map(|(high, low)| Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low)).into()),
    ]
}

fn net() -> impl Strategy<Value = Net> {
    (address(), prop_oneof![0..3u8, 24..=32u8], prop_oneof![0..3u8, 58..=67u8, 126..=128u8])
        .prop_map(|(address, v4, v6)| Net::new(address, if address.is_ipv4() { v4 } else { v6 }).unwrap())
}

fn step() -> impl Strategy<Value = Step> {
    let by = prop_oneof![Just(Banner::Auto), Just(Banner::Fraud), Just(Banner::Operator)];
    prop_oneof![
        5 => (net(), by, prop::option::of(0..20u64)).prop_map(|(net, by, seconds)| Step::Add { net, by, seconds }),
        2 => net().prop_map(Step::Remove),
        1 => Just(Step::Expire),
        2 => (0..10u64).prop_map(Step::Pass),
    ]
}

fn ends(ban: &Ban) -> u64 {
    ban.until.map_or(u64::MAX, |until| until.0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn asking_is_looking_at_every_ban(
        steps in prop::collection::vec(step(), 1..60),
        asked in prop::collection::vec(address(), 20),
    ) {
        let kernel = Kernel::default();
        let bans = Bans::with(HashKey::new([1, 2]), kernel.clone());
        let (mut now, mut plain) = (Wall(1), Vec::<Ban>::new());
        for step in steps {
            match step {
                Step::Add { net, by, seconds } => {
                    let until = seconds.map(|s| Wall(now.0 + s));
                    let ban = Ban { net, until, since: now, by, reason: String::new() };
                    bans.add(ban.clone()).unwrap();
                    let stays = plain.iter().position(|old| old.net == net).is_some_and(|at| {
                        let old = &plain[at];
                        let is_kept = by != Banner::Operator
                            && (old.by == Banner::Operator || ends(old) > ends(&ban));
                        if !is_kept {
                            plain.remove(at);
                        }
                        is_kept
                    });
                    if !stays {
                        plain.push(ban);
                    }
                }
                Step::Remove(net) => {
                    let was_there = plain.iter().any(|ban| ban.net == net);
                    prop_assert_eq!(bans.remove(net).is_some(), was_there);
                    plain.retain(|ban| ban.net != net);
                }
                Step::Expire => {
                    let ended = plain.iter().filter(|ban| ends(ban) <= now.0).count();
                    prop_assert_eq!(bans.expire(now).len(), ended);
                    plain.retain(|ban| ends(ban) > now.0);
                }
                Step::Pass(seconds) => now.0 += seconds,
            }
            plain.sort_by_key(|ban| ban.net);
            prop_assert_eq!(&bans.export(), &plain);
            prop_assert_eq!(bans.len(), plain.len());
            for address in &asked {
                let covering = || plain.iter().filter(|ban| ends(ban) > now.0 && ban.net.contains(*address));
                prop_assert_eq!(bans.is_banned(now, *address), covering().count() > 0, "{}", address);
                let narrowest = covering().max_by_key(|ban| ban.net.prefix()).cloned();
                prop_assert_eq!(bans.find(now, *address), narrowest);
            }
            prop_assert!(kernel.0.lock().unwrap().iter().copied().eq(plain.iter().map(|ban| ban.net)));
        }
    }
}
