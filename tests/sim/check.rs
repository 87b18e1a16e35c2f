//! What must hold after a storm.

use super::phone::dialog::State;
use super::world::World;
use b2bua::spec::{Limit, UnknownAnswer};
use ledger::{Cdr, Direction};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    None,
    /// Shards are restarted, phones are switched off.
    Deaths,
}

/// Nothing is left in the engine, every leg has one record, and no phone saw what no peer should see.
pub fn nothing_is_left(world: &World, trouble: Trouble) {
    let wrong = what_is_wrong(world, trouble);
    if let Some(first) = wrong.first() {
        for line in &wrong {
            eprintln!("WRONG: {line}");
        }
        if let Ok(text) = std::env::var("STROWGER_STORY") {
            eprintln!("{}", world.story(&text));
        }
        panic!("{} things are wrong; the first: {first}", wrong.len());
    }
}

/// As [`nothing_is_left`]: what does not hold.
pub fn what_is_wrong(world: &World, trouble: Trouble) -> Vec<String> {
    let mut wrong = Vec::new();
    engine(world, &mut wrong);
    limits(world, &mut wrong);
    records(world, &mut wrong);
    phones(world, trouble, &mut wrong);
    wrong
}

/// All places are free again, and no recount ever found one that nobody held.
fn limits(world: &World, wrong: &mut Vec<String>) {
    wrong.extend(world.exceeded.iter().cloned());
    if world.drift > 0 {
        wrong.push(format!("recounts of leases differ by {}", world.drift));
    }
    let mut used = |name: &str, used: u64| {
        if used != 0 {
            wrong.push(format!("{used} places of {name} are still taken"));
        }
    };
    for trunk in &world.spec.trunks {
        used(&trunk.name, u64::from(trunk.pool.used()));
        for limit in trunk.limits_in.iter().chain(&trunk.limits_out) {
            match limit {
                Limit::Shared(pool) => used(pool.name(), u64::from(pool.used())),
                Limit::Each(pools, _) => used(pools.name(), pools.used()),
            }
        }
    }
    for (name, pool) in world.spec.groups.iter().flat_map(|g| &g.members).flat_map(|m| &m.resources) {
        used(name, u64::from(pool.used()));
    }
    used("divert", u64::from(world.spec.unknown.divert.pool.used()));
    used("fraud", world.shared.fraud.stats().live);
    used("keys of fraud", world.shared.fraud.stats().pinned);
    for switch in &world.switches {
        used("hooks and diverted calls", switch.waiting() as u64);
    }
}

fn engine(world: &World, wrong: &mut Vec<String>) {
    for (shard, switch) in world.switches.iter().enumerate() {
        if !switch.is_empty() {
            wrong.push(format!(
                "{} calls are left on shard {shard}: {:?}",
                switch.len(),
                switch.poll_timeout()
            ));
        }
        switch.publish();
        let stats = switch.stats();
        if stats.transactions.get() > 0 {
            wrong.push(format!("{} transactions are left on shard {shard}", stats.transactions.get()));
        }
        for (labels, count) in stats.calls_active.snapshot() {
            if count != 0 {
                wrong.push(format!("shard {shard} counts {count} calls of {labels:?}"));
            }
        }
    }
    for media in &world.media {
        if !media.bridges.is_empty() || media.pairs_open() > 0 {
            wrong.push(format!(
                "{} bridges and {} pairs are left on media shard {}",
                media.bridges.len(),
                media.pairs_open(),
                media.number
            ));
        }
    }
}

fn records(world: &World, wrong: &mut Vec<String>) {
    let mut calls: BTreeMap<_, BTreeMap<u16, &Cdr>> = BTreeMap::new();
    let mut by_call_id: BTreeMap<&[u8], u32> = BTreeMap::new();
    for record in &world.records {
        if calls.entry(record.call).or_default().insert(record.leg, record).is_some() {
            wrong.push(format!("two records of one leg: {record:?}"));
        }
        *by_call_id.entry(record.sip_call_id.as_bytes()).or_default() += 1;
        record_is_sound(record, world.clock_was_set, wrong);
    }
    for (id, legs) in &calls {
        let numbers: Vec<u16> = legs.keys().copied().collect();
        let is_torn = legs.values().any(|leg| world.forgotten.contains(leg.sip_call_id.as_bytes()));
        if numbers != (0..legs.len() as u16).collect::<Vec<_>>() && !is_torn {
            wrong.push(format!("{id:?} has records of legs {numbers:?}"));
        }
        let caller = legs.get(&0);
        let answered = legs.values().filter(|leg| leg.leg > 0 && leg.answered.is_some()).count();
        if answered > 1 {
            wrong.push(format!("{id:?} has {answered} answered legs"));
        }
        let is_held = caller.is_some_and(|a| a.release_cause == "diverted");
        if caller.is_some_and(|a| a.answered.is_some()) && answered == 0 && !is_held {
            wrong.push(format!("{id:?} was answered by nobody: {legs:?}"));
        }
        let last = legs.values().last();
        if caller
            .is_some_and(|a| a.answered.is_some() && last.is_some_and(|b| a.released_by != b.released_by))
        {
            wrong.push(format!("the legs of {id:?} do not agree who ended them: {legs:?}"));
        }
    }
    // Every INVITE that began a leg has one record; those that a dead shard knew may have none.
    for id in world.invited.iter().chain(&world.called) {
        let count = by_call_id.get(id.as_slice()).copied().unwrap_or(0);
        // A stranger gets no answer, and neither does who finds the place full where nothing leads on.
        let is_nobody = world.spec.unknown.answer == UnknownAnswer::Divert
            && count == 0
            && world.invited.contains(id)
            && !world.settled.contains(id);
        if count != 1 && !is_nobody && !world.forgotten.contains(id) {
            wrong.push(format!("{count} records of {}", String::from_utf8_lossy(id)));
        }
    }
}

fn record_is_sound(record: &Cdr, clock_was_set: bool, wrong: &mut Vec<String>) {
    let is_in = record.direction == Direction::In;
    if is_in != (record.leg == 0) {
        wrong.push(format!("direction: {record:?}"));
    }
    let times = [Some(record.created), record.progress, record.answered, Some(record.ended)];
    let times: Vec<_> = times.into_iter().flatten().collect();
    if !times.is_sorted() && !clock_was_set {
        wrong.push(format!("times out of order: {record:?}"));
    }
    let is_2xx = record.final_status.is_some_and(|code| (200..300).contains(&code));
    if record.answered.is_some() != is_2xx {
        wrong.push(format!("answered and final status do not agree: {record:?}"));
    }
    if record.answered.is_none() && !record.duration.is_zero() {
        wrong.push(format!("lasted without an answer: {record:?}"));
    }
    if is_in && record.final_status.is_none() {
        wrong.push(format!("a caller without a final answer: {record:?}"));
    }
    if record.release_cause.is_empty() || record.sip_call_id.is_empty() {
        wrong.push(format!("empty fields: {record:?}"));
    }
}

fn phones(world: &World, trouble: Trouble, wrong: &mut Vec<String>) {
    for phone in &world.phones {
        let is_lenient = trouble == Trouble::Deaths;
        let is_of_death = |fault: &&String| {
            // What a phone may see when a shard has died under its calls.
            ["gets 481", "was not refreshed", "nobody has", "and then", "a second To tag"]
                .iter()
                .any(|w| fault.contains(w))
        };
        let faults = phone.faults.iter().filter(|fault| !(is_lenient && is_of_death(fault)));
        wrong.extend(faults.map(|fault| format!("{}: {fault}", phone.address)));
        if !is_lenient {
            let unanswered = phone.unanswered.iter().filter(|(number, method)| {
                // What waits for a peer that has gone may time out (RFC 4320 forbids 408).
                let peer = world
                    .phones
                    .iter()
                    .flat_map(|p| &p.dialogs)
                    .any(|d| d.number == *number && d.has_vanished);
                !(peer && ["INFO", "MESSAGE", "UPDATE"].contains(&method.as_str()))
            });
            wrong.extend(unanswered.map(|line| format!("{}: no answer to {line:?}", phone.address)));
        }
        for dialog in phone.dialogs.iter().filter(|d| phone.is_alive && !d.is_over()) {
            let (number, state) = (dialog.number, dialog.state);
            // An attempt that the engine gave up before any answer leaves an early dialog of which nobody knows.
            if state == State::Up || dialog.is_caller {
                wrong.push(format!(
                    "{}: call {number} is still {state:?}: {:?}",
                    phone.address,
                    dialog.words()
                ));
            }
        }
        if !is_lenient {
            let lost = phone.dialogs.iter().filter(|d| !d.has_vanished).filter_map(|d| d.lost.as_ref());
            wrong.extend(lost.map(|text| format!("{}: {text}", phone.address)));
        }
    }
}
