//! Shards that fail, and an engine that is killed: what goes on, what ends, and what the records say of it.

use crate::support::softphone::{Connected, Softphone, audio};
use crate::support::wire::{Wire, rtp};
use crate::support::{Engine, Folder, Net, PAIR, SOON, wait_for};
use std::time::Duration;

struct World {
    engine: Engine,
    a: Softphone,
    b: Softphone,
    media_a: Wire,
    media_b: Wire,
}

impl World {
    fn new(more: &str) -> World {
        let net = Net::new();
        let config = net.fill(&format!("{more}\n{PAIR}"));
        let engine = Engine::start_in(Folder::new(), &config, &["--allow-panic"]);
        let phone = |n| Softphone::at((net.ip(n), 5060));
        World { engine, a: phone(2), b: phone(3), media_a: Wire::at(net.ip(2)), media_b: Wire::at(net.ip(3)) }
    }

    fn connect(&self) -> Connected {
        let (offer, answer) = (audio(self.media_a.address()), audio(self.media_b.address()));
        let call = self.a.connect(&self.b, self.engine.sip(0), "15550100", &offer, &answer);
        self.media_a.reach(call.answered.media(0), &self.media_b, 1);
        self.media_b.reach(call.offered.media(0), &self.media_a, 2);
        call
    }

    fn fail(&self, shard: &str) {
        let body = format!("{{\"shard\":\"{shard}\"}}");
        let json = "Content-Type: application/json\r\n";
        let answer = self.engine.request("POST", "/v1/debug/panic", json, &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    fn hang_up(&self, mut call: Connected) {
        self.a.hang_up(&mut call.a, &self.b);
        wait_for("the call to be gone", SOON, || self.engine.calls().is_empty().then_some(()));
    }
}

#[test]
fn calls_of_a_failed_media_shard_end_and_new_ones_are_taken_on_epoll() {
    calls_end_with_their_media_shard("epoll");
}

#[test]
fn calls_of_a_failed_media_shard_end_and_new_ones_are_taken_on_uring() {
    calls_end_with_their_media_shard("uring");
}

fn calls_end_with_their_media_shard(back_end: &str) {
    let world = World::new(&format!("engine.media_shards = 1\nengine.backend = \"{back_end}\""));
    let call = world.connect();
    world.fail("media-0");
    world.a.expect_bye();
    world.b.expect_bye();
    wait_for("the call to be gone", SOON, || world.engine.calls().is_empty().then_some(()));
    let cdrs = world.engine.wait_cdrs(2);
    assert!(cdrs.iter().all(|cdr| cdr["release_by"] == "engine"), "{cdrs:#?}");
    for gauge in ["strowger_calls_active", "strowger_limit_used", "strowger_limit_drift"] {
        assert_eq!(world.engine.metric(gauge), 0.0, "{gauge}: what the call had taken is given back");
    }
    drop(call);
    let next = world.connect();
    world.hang_up(next);
    wait_for("the operator to be told", SOON, || {
        world.engine.log().contains("media shard failed").then_some(())
    });
}

#[test]
fn media_goes_on_when_its_signalling_shard_fails_and_ends_after_a_while() {
    let world = World::new("engine.orphan = \"2s\"");
    let call = world.connect();
    let (to_a, to_b) = (call.answered.media(0), call.offered.media(0));
    world.fail("sip-0");
    // The call is unknown to the new generation, and its records say why; its media is still relayed.
    let cdrs = world.engine.wait_cdrs(2);
    assert!(cdrs.iter().all(|cdr| cdr["release_cause"] == "interrupted"), "{cdrs:#?}");
    assert!(world.engine.calls().is_empty(), "the new generation knows no call");
    for n in 0..20u16 {
        let packet = rtp(0, 5_000 + n, u32::from(n) * 160, 1, &[n as u8; 160]);
        world.media_a.rtp.send(to_a, &packet);
        world.media_b.rtp.expect(&packet, to_b);
    }
    // A new call is taken beside it.
    let (media_a, media_b) = (Wire::at(world.media_a.address().ip()), Wire::at(world.media_b.address().ip()));
    let (offer, answer) = (audio(media_a.address()), audio(media_b.address()));
    let next = world.a.connect(&world.b, world.engine.sip(0), "15550101", &offer, &answer);
    media_a.reach(next.answered.media(0), &media_b, 3);
    wait_for("the orphan's media to end", SOON, || {
        world.media_a.rtp.send(to_a, &rtp(0, 9_000, 1, 1, &[1; 160]));
        world.media_b.rtp.receive_within(Duration::from_millis(100)).is_none().then_some(())
    });
    media_a.reach(next.answered.media(0), &media_b, 3);
    world.hang_up(next);
    // A request for the call that is gone gets its answer.
    let mut gone = call.a;
    world.a.request(&mut gone, "BYE", "");
    world.a.expect("481 BYE");
}

#[test]
fn records_of_calls_survive_a_kill() {
    let net = Net::new();
    let config = net.fill(PAIR);
    let engine = Engine::start(&config);
    let (a, b) = (Softphone::at((net.ip(2), 5060)), Softphone::at((net.ip(3), 5060)));
    let (media_a, media_b) = (Wire::at(net.ip(2)), Wire::at(net.ip(3)));
    let (offer, answer) = (audio(media_a.address()), audio(media_b.address()));
    // One call has ended, one is up.
    let mut ended = a.connect(&b, engine.sip(0), "15550100", &offer, &answer);
    a.hang_up(&mut ended.a, &b);
    engine.wait_cdrs(2);
    a.connect(&b, engine.sip(0), "15550101", &offer, &answer);
    engine.wait_call("answered");
    wait_for("both legs to be in the journal", SOON, || {
        let journal =
            std::fs::read_to_string(engine.folder().join("strowger.db.journal-cdr")).unwrap_or_default();
        (journal.matches("sip:15550101@").count() >= 2).then_some(())
    });
    let folder = engine.kill();
    let engine = Engine::start_in(folder, &config, &[]);
    let cdrs = engine.wait_cdrs(4);
    let interrupted: Vec<_> = cdrs.iter().filter(|cdr| cdr["release_cause"] == "interrupted").collect();
    assert_eq!(interrupted.len(), 2, "{cdrs:#?}");
    assert_eq!(interrupted[0]["call_id"], interrupted[1]["call_id"]);
    assert!(interrupted.iter().all(|cdr| cdr["to_user"] == "15550101" && cdr["release_by"] == "engine"));
    wait_for("the operator to be told", SOON, || {
        engine.log().contains("earlier run ended suddenly").then_some(())
    });
    // Started once more, it tells nothing twice.
    let folder = engine.kill();
    let engine = Engine::start_in(folder, &config, &[]);
    assert_eq!(engine.wait_cdrs(4).len(), 4);
}

#[test]
fn only_an_engine_for_tests_can_be_made_to_fail() {
    let engine = Engine::start(&Net::new().fill(PAIR));
    let json = "Content-Type: application/json\r\n";
    let answer = engine.request("POST", "/v1/debug/panic", json, "{\"shard\":\"sip-0\"}");
    assert_eq!(answer.status, 404, "{}", answer.body);
    assert!(!engine.get("/openapi.json").body.contains("debug/panic"));
}
