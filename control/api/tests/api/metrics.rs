//! The metrics page: valid for promtool and for OpenMetrics, complete, and as the document says.

use crate::fake::World;
use api::Engine;
use api::Page;
use api::metrics::{Kind, families as f};
use base::{Histogram, Wall};
use std::io::Write;
use std::process::{Command, Stdio};

/// What `main` adds for media shards and pools: every family that no signalling shard fills.
pub fn media(page: &mut Page) {
    let histogram = Histogram::default();
    histogram.record(30_000, 3);
    for shard in ["0", "1"] {
        page.count(&f::RTP_PACKETS, &[shard, "in"], 10);
        page.count(&f::RTP_BYTES, &[shard, "in"], 1720);
        page.count(&f::RTP_DROPPED, &[shard, "source_locked"], 1);
        page.histogram(&f::RTP_FORWARD, &[shard], &histogram);
        page.histogram(&f::SHARD_LATENESS, &[shard], &histogram);
        page.add(&f::BRIDGES, &[shard, "relay"], 2.0);
        page.add(&f::PORTS_FREE, &["main", shard], 500.0);
        page.add(&f::PORTS_USED, &["main", shard], 4.0);
        page.add(&f::SHARD_LOAD, &[shard], 0.25);
    }
    page.add(&f::TRANSCODE_SESSIONS, &["pcmu", "opus"], 3.0);
    page.add(&f::RECORDINGS_ACTIVE, &[], 1.0);
    page.count(&f::HOOK_QUESTIONS, &["late"], 1);
    page.count(&f::HOOK_ANSWERS, &["cache"], 1);
    page.histogram(&f::HOOK_TIME, &[], &histogram);
    let requests = ledger::stats::Labelled::default();
    requests.add(&["offer", "ok"], 3);
    page.labelled(&f::NG_REQUESTS, &requests);
    page.count(&f::NG_REPEATED, &["replayed"], 1);
    page.count(&f::NG_DROPPED, &[], 1);
    page.histogram(&f::NG_TIME, &[], &histogram);
    page.cdr(&store::CdrStats { written: 7, ..Default::default() });
    let url = "http://billing.example/cdrs?token=geheim".to_owned();
    page.webhook(&store::WebhookStats { url, delivered: 5, failed: 1, waiting: 2 });
}

fn world() -> World {
    let world = World::new();
    for stats in &world.fake.stats {
        stats.parse_errors.add(&["bad_cseq"], 1);
        stats.messages.add(&["in", "INVITE", "request"], 3);
        stats.messages.add(&["out", "INVITE", "200"], 2);
        stats.calls_active.add(&["pbx", "in"], 1);
        stats.calls.add(&["p\"b\\x\n", "in", "answered"], 5);
        stats.refused.add(&["no_route"], 1);
        stats.one_way.add(&["pbx"], 1);
        stats.kernel_drops.add(&["main"], 1);
        stats.queue_dropped.add(&["events"], 0);
        stats.setup.record(40_000_000, 5);
        stats.calls_now.set(2);
        stats.load_ppm.set(125_000);
        stats.limit_drift.set(1);
        stats.fraud_actions.add(&["toll-fraud", "cpm", "cut"], 2);
        stats.add_mos("pbx", 4.25);
        stats.add_mos("pbx", 1.0);
        // A label that was cut: the family still has its labels.
        stats.calls.add(&[&"x".repeat(300), "in", "answered"], 1);
    }
    world.fake.disable_trunk("carrier", None).unwrap();
    let source = "203.0.113.66".parse().unwrap();
    world.fake.bans.add(ledger::Ban::of(source, ledger::Banner::Auto, Wall(1), None, "flood")).unwrap();
    assert!(world.fake.bans.is_banned(Wall(2), source));
    world.fake.events.publish(ledger::Event::new(Wall(1), "ban.added"));
    world
}

#[test]
fn every_family_is_on_the_page_and_shards_add_up() {
    let world = world();
    let page = world.get("/metrics");
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    for family in f::ALL {
        let head = format!("# TYPE {} {}\n", family.name, family.kind.name());
        assert!(page.text().contains(&head), "{head}");
    }
    for line in [
        "strowger_calls_current 4",
        "strowger_calls_active{trunk=\"pbx\",direction=\"in\"} 2",
        "strowger_calls_total{trunk=\"p\\\"b\\\\x\\n\",direction=\"in\",result=\"answered\"} 10",
        "strowger_call_setup_seconds_count 10",
        "strowger_shard_load{shard=\"sip-1\"} 0.125",
        "strowger_shard_load{shard=\"1\"} 0.25",
        "strowger_queue_dropped_total{queue=\"cdr\"} 0",
        "strowger_cdrs_written_total 7",
        "strowger_cdr_webhook_total{url=\"http://billing.example/cdrs\",result=\"delivered\"} 5",
        "strowger_limit_used{limit=\"pstn\"} 9",
        "strowger_limit_refused_total{limit=\"pstn\",reason=\"full\"} 4",
        "strowger_limit_drift 2",
        "strowger_fraud_actions_total{policy=\"toll-fraud\",rule=\"cpm\",action=\"cut\"} 4",
        "strowger_mos_bucket{trunk=\"pbx\",le=\"1.5\"} 2",
        "strowger_mos_bucket{trunk=\"pbx\",le=\"4.2\"} 2",
        "strowger_mos_bucket{trunk=\"pbx\",le=\"4.5\"} 4",
        "strowger_mos_sum{trunk=\"pbx\"} 10.5",
        "strowger_trunk_up{trunk=\"pbx\"} 1",
        "strowger_trunk_up{trunk=\"carrier\"} 0",
        "strowger_bans_active 1",
        "strowger_bans_stopped_total 1",
        "strowger_events_total{sink=\"bus\",result=\"published\"} 1",
    ] {
        assert!(page.text().lines().any(|l| l == line), "{line} is not in\n{}", page.text());
    }
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let world = world();
    let page = world.get("/metrics");
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        assert_ne!(std::env::var("STROWGER_PEERS").as_deref(), Ok("required"), "promtool is not installed");
        eprintln!("promtool is not installed: the page was not judged");
        return;
    };
    child.stdin.take().unwrap().write_all(&page.body).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn openmetrics_is_sent_when_it_is_asked_for() {
    let world = world();
    let page = world.ask("GET", "/metrics", &["Accept: application/openmetrics-text; version=1.0.0"], "");
    assert_eq!(
        page.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(page.text().ends_with("\n# EOF\n"));
    for family in f::ALL.iter().filter(|family| family.kind == Kind::Counter) {
        let bare = family.name.strip_suffix("_total").unwrap();
        assert!(page.text().contains(&format!("# TYPE {bare} counter\n{}", family.name)), "{bare}");
    }
}
