//! A configuration that changes under a running engine, and an engine that takes no more calls.

use crate::sipp_basic::{CALLEE, CALLER};
use crate::support::command::{said, strowger};
use crate::support::softphone::{Connected, Softphone, audio};
use crate::support::wire::{Wire, rtp};
use crate::support::{Engine, Net, PAIR, SOON, Stage, wait_for};
use std::fmt::Write as _;
use std::time::{Duration, Instant};

struct World {
    net: Net,
    engine: Engine,
    a: Softphone,
    b: Softphone,
    media_a: Wire,
    media_b: Wire,
}

impl World {
    fn new() -> World {
        let net = Net::new();
        let engine = Engine::start(&net.fill(PAIR));
        let phone = |n| Softphone::at((net.ip(n), 5060));
        let (a, b) = (phone(2), phone(3));
        World { net, engine, a, b, media_a: Wire::at(net.ip(2)), media_b: Wire::at(net.ip(3)) }
    }

    fn connect(&self) -> Connected {
        let (offer, answer) = (audio(self.media_a.address()), audio(self.media_b.address()));
        self.a.connect(&self.b, self.engine.sip(0), "15550100", &offer, &answer)
    }

    fn still_talks(&self, call: &Connected) {
        self.media_a.reach(call.answered.media(0), &self.media_b, 1);
        let packet = rtp(0, 1, 160, 2, &[9; 160]);
        self.media_b.rtp.send(call.offered.media(0), &packet);
        self.media_a.rtp.expect(&packet, call.answered.media(0));
    }

    /// The file, with a second carrier that takes all calls.
    fn other_route(&self) -> String {
        let text = std::fs::read_to_string(self.engine.config_file()).expect("the file is there");
        text.replacen("via = \"carrier\"", "via = \"other\"", 1)
            .replace("trunk.pbx", &self.net.fill("trunk.other = \"IP4:5060\"\ntrunk.pbx"))
    }

    fn version(&self) -> u64 {
        self.engine.json("/v1/config/versions")["current"].as_u64().expect("a version")
    }

    fn ring_other(&self, other: &Softphone) {
        let mut call = self.a.invite(self.engine.sip(0), "15550111", &audio(self.media_a.address()));
        let invite = other.expect("INVITE");
        other.answer(&invite, 486, "");
        other.expect("ACK");
        let refusal = self.a.expect("486 INVITE");
        self.a.ack_refusal(&mut call, &refusal);
    }
}

#[test]
fn sighup_applies_a_route_and_leaves_the_call_in_progress_alone() {
    let world = World::new();
    let mut call = world.connect();
    std::fs::write(world.engine.config_file(), world.other_route()).expect("writable");
    world.engine.signal("HUP");
    wait_for("the second version", SOON, || (world.version() == 2).then_some(()));
    let other = Softphone::at((world.net.ip(4), 5060));
    world.ring_other(&other);
    world.still_talks(&call);
    world.a.hang_up(&mut call.a, &world.b);
    world.engine.wait_idle();
}

#[test]
fn an_invalid_file_changes_nothing_and_the_operator_is_told() {
    let world = World::new();
    let before = world.engine.get("/v1/config").body;
    std::fs::write(
        world.engine.config_file(),
        format!("{before}\n[[route]]\nfrom = \"nobody\"\nvai = \"pbx\"\n"),
    )
    .expect("writable");
    world.engine.signal("HUP");
    let line = wait_for("the error in the log", SOON, || {
        let log = world.engine.log();
        log.lines().find(|line| line.contains("ERROR") && line.contains("vai")).map(str::to_owned)
    });
    assert!(line.contains("configuration not applied") && line.contains("\"line\":"), "{line}");
    assert_eq!((world.version(), world.engine.get("/v1/config").body), (1, before));
    let mut call = world.connect();
    world.a.hang_up(&mut call.a, &world.b);
}

#[test]
fn a_version_is_put_back_by_its_number() {
    let world = World::new();
    let file = world.engine.folder().join("next.toml");
    std::fs::write(&file, world.other_route()).expect("writable");
    let file = file.to_str().expect("a name");
    let diff = said(&world.engine, &["config", "diff", file]);
    assert!(diff.contains("trunk.other") && diff.contains("via"), "{diff}");
    said(&world.engine, &["config", "apply", file, "--if-version", "1"]);
    let stale = strowger(&world.engine, &["config", "apply", file, "--if-version", "1"]);
    assert_eq!(stale.status.code(), Some(1), "{stale:?}");
    let other = Softphone::at((world.net.ip(4), 5060));
    world.ring_other(&other);
    said(&world.engine, &["config", "rollback", "1"]);
    assert_eq!(world.version(), 3);
    let mut call = world.connect();
    world.a.hang_up(&mut call.a, &world.b);
    world.engine.wait_idle();
}

#[test]
fn a_hundred_thousand_routes_are_applied_and_no_call_is_lost() {
    const CALLS: u32 = 120;
    let Some(stage) = Stage::with(PAIR) else { return };
    let text = std::fs::read_to_string(stage.engine.config_file()).expect("the file is there");
    let mut routes = String::new();
    for n in 0..100_000 {
        let _ = write!(routes, "[[route]]\nfrom = \"pbx\"\nto = \"+{n:06}XXX\"\nvia = \"carrier\"\n");
    }
    let text = text.replacen("[[route]]", &format!("{routes}[[route]]"), 1);
    let file = stage.engine.folder().join("many.toml");
    std::fs::write(&file, text).expect("writable");
    let mut callee = stage.uas(CALLEE).calls(CALLS, 30).start();
    let mut caller = stage.uac(CALLER).calls(CALLS, 30).start();
    wait_for("calls", SOON, || (!stage.engine.calls().is_empty()).then_some(()));
    let began = Instant::now();
    said(&stage.engine, &["config", "apply", file.to_str().expect("a name")]);
    eprintln!("100,000 routes applied in {:?} by a build for tests", began.elapsed());
    let told =
        said(&stage.engine, &["route", "explain", "--from", "1", "--to", "+099999123", "--trunk", "pbx"]);
    assert!(told.contains("to trunk    carrier"), "{told}");
    caller.wait_passed();
    callee.wait_passed();
    stage.engine.wait_idle();
    assert_eq!(
        stage.engine.metric("strowger_calls_total{trunk=\"pbx\",direction=\"in\",result=\"answered\"}"),
        f64::from(CALLS)
    );
}

#[test]
fn sigterm_lets_calls_finish_and_takes_no_new_ones() {
    let mut world = World::new();
    let mut call = world.connect();
    world.engine.signal("TERM");
    wait_for("draining", SOON, || (world.engine.get("/readyz").status == 503).then_some(()));
    assert_eq!(world.engine.get("/healthz").status, 200);
    let mut refused = world.a.invite(world.engine.sip(0), "15550102", &audio(world.media_a.address()));
    let refusal = world.a.expect("503 INVITE");
    assert!(!refusal.header("Retry-After").is_empty(), "{}", refusal.text);
    world.a.ack_refusal(&mut refused, &refusal);
    world.still_talks(&call);
    world.a.hang_up(&mut call.a, &world.b);
    let status = world.engine.wait_end(SOON);
    assert_eq!(status.code(), Some(0));
    assert_eq!(world.engine.cdrs().len(), 3, "two legs of the call, one of the refused one");
}

#[test]
fn a_second_sigterm_ends_calls_with_bye() {
    let mut world = World::new();
    world.connect();
    world.engine.signal("TERM");
    wait_for("draining", SOON, || (world.engine.get("/readyz").status == 503).then_some(()));
    world.engine.signal("TERM");
    world.a.expect_bye();
    world.b.expect_bye();
    assert_eq!(world.engine.wait_end(Duration::from_secs(10)).code(), Some(0));
    let cdrs = world.engine.wait_cdrs(2);
    assert!(cdrs.iter().all(|cdr| cdr["release_by"] == "operator"), "{cdrs:#?}");
}
