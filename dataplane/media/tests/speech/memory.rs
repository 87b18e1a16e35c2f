//! Packets and timers take nothing from the heap, and calls hold little (design.md).

use crate::counting::{allocations, held};
use crate::world::*;
use command::Suite;
use command::spec::Secure;
use media::srtp::Sealer;
use media::{Packet, Slot};

/// A and B talk for so many turns of 20 ms; what was taken from the heap, after the first `warm` turns. Some
/// packets are lost, some are events.
fn taken(world: &mut World, turns: usize, warm: usize, talkers: &mut [(Talker, Option<Sealer>)]) -> u64 {
    let mut count = 0;
    let mut sent = 0;
    let mut buffer = [0; 2048];
    for n in 0..turns {
        for (talker, sealer) in talkers.iter_mut() {
            let mut packet = talker.speak();
            if n % 50 == 40 {
                packet = talker.packet(101, &[1, 0x0a, 0, 160]);
            }
            if n % 17 == 5 || packet.len() == 12 {
                continue;
            }
            buffer[..packet.len()].copy_from_slice(&packet);
            let len = match sealer {
                Some(sealer) => sealer.seal_rtp(&mut buffer, packet.len()).unwrap(),
                None => packet.len(),
            };
            let (now, source) = (world.now(), address(talker.address));
            let bridges = &mut world.bridges;
            let took = allocations(|| {
                let mut packet = Packet { buffer: &mut buffer, len, truncated: false };
                sent += u64::from(bridges.handle_packet(now, Slot(talker.slot), source, &mut packet).is_ok());
                bridges.drain_made(|_, _| ());
            });
            count += if n >= warm { took } else { 0 };
        }
        let end = world.micros + 20_000;
        while let Some((due, _)) = world.bridges.poll_timeout() {
            let due = due.0.div_ceil(1_000).saturating_sub(10_000_000).max(world.micros);
            if due > end {
                break;
            }
            world.micros = due;
            let (now, bridges) = (world.now(), &mut world.bridges);
            let took = allocations(|| {
                bridges.handle_timeout(now);
                bridges.drain_made(|_, _| ());
            });
            count += if n >= warm { took } else { 0 };
        }
        world.micros = end;
    }
    assert!(sent as usize > turns * talkers.len() * 9 / 10);
    count
}

fn check(name: &str, mut world: World, talkers: Vec<Talker>) {
    let mut talkers: Vec<_> = talkers.into_iter().map(|talker| (talker, None)).collect();
    assert_eq!(taken(&mut world, 3_000, 1_000, &mut talkers), 0, "{name}");
}

#[test]
fn transcoding_takes_nothing_from_the_heap() {
    for (a, b, ptime) in [(pcmu(), opus(), 40), (g722(), pcma(), 30), (opus(), linear(), 10)] {
        let name = format!("{} {}", a.encoding, b.encoding);
        let world = World::call(&[a.clone(), events()], 20, &[b.clone(), events()], ptime);
        check(&name, world, vec![Talker::a(&a, 20), Talker::b(&b, 20)]);
    }
    let world = World::call(&[pcmu(), events()], 20, &[pcma(), events()], 20);
    check("by table", world, vec![Talker::a(&pcmu(), 20), Talker::b(&pcma(), 20)]);
}

#[test]
fn encryption_takes_nothing_from_the_heap() {
    for transcoded in [false, true] {
        for suite in [Suite::AeadAes128Gcm, Suite::AesCm128Sha1_80] {
            let b = if transcoded { opus() } else { pcmu() };
            let mut world = World::with(&[pcmu(), events()], &[b.clone(), events()], |spec| {
                if transcoded {
                    spec.edges = vec![edge(0, 1, transcode(111, 20)), edge(1, 0, transcode(0, 20))];
                }
                spec.ports[1].secure = Some(Secure::Sdes(keys(suite, 1)));
                spec.ports[1].remotes[0].keys = Some(keys(suite, 2));
            });
            let sealer = Sealer::new(&keys(suite, 2)).unwrap();
            let mut talkers = vec![(Talker::a(&pcmu(), 20), None), (Talker::b(&b, 20), Some(sealer))];
            assert_eq!(taken(&mut world, 3_000, 1_000, &mut talkers), 0, "{suite:?} {transcoded}");
        }
    }
}

/// Bytes that one of several calls holds.
fn bytes(a: &command::Payload, b: &command::Payload, change: impl Fn(&mut command::BridgeSpec)) -> i64 {
    const CALLS: u64 = 16;
    let config = media::BridgesConfig { bridges_max: 64, slots_max: 256, ..crate::rules::config() };
    let mut world = World::with(std::slice::from_ref(a), std::slice::from_ref(b), |_| {});
    world.bridges = media::Bridges::new(world.now(), config);
    let mut spec = world.spec.clone();
    change(&mut spec);
    let mut packets = [Talker::a(a, 20).speak(), Talker::b(b, 20).speak()];
    // Tables that all calls share are made by the first.
    let mut before = 0;
    for n in 0..=CALLS {
        if n == 1 {
            before = held();
        }
        let id = command::BridgeId::new(0, 0, 3, n + 1);
        let slot = n as u32 * 4;
        world.open(id, 0, slot);
        world.open(id, 1, slot + 2);
        world.bridges.set(world.now(), id, &spec).unwrap();
        for (packet, (slot, source)) in packets.iter_mut().zip([(slot, A), (slot + 2, B)]) {
            let mut buffer = [0; 2048];
            buffer[..packet.len()].copy_from_slice(packet);
            let mut packet = Packet { buffer: &mut buffer, len: packet.len(), truncated: false };
            world.bridges.handle_packet(world.now(), Slot(slot), address(source), &mut packet).unwrap();
            world.bridges.drain_made(|_, _| ());
        }
        while world.bridges.poll_event().is_some() {}
    }
    // The ports themselves stand in a table that is made at the start.
    let ports = 2 * (2 * 1024 + 128) + 512;
    (held() - before) / CALLS as i64 + ports
}

#[test]
fn a_relayed_call_holds_eight_kilobytes_and_one_transcoded_to_opus_seventy_two() {
    let relayed = bytes(&pcmu(), &pcmu(), |_| {});
    assert!(relayed <= 8 * 1024, "{relayed}");
    let tables = bytes(&pcmu(), &pcma(), |spec| {
        spec.edges = vec![edge(0, 1, transcode(8, 20)), edge(1, 0, transcode(0, 20))];
    });
    assert!(tables <= 8 * 1024, "{tables}");
    let transcoded = bytes(&pcmu(), &opus(), |spec| {
        spec.edges = vec![edge(0, 1, transcode(111, 20)), edge(1, 0, transcode(0, 20))];
    });
    // 50 of them are libopus's own.
    assert!(transcoded <= 72 * 1024, "{transcoded}");
}
