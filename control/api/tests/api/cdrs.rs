//! Call detail records by filters and pages, as JSON and as CSV, from a real database.

use crate::fake::World;
use base::Wall;
use ledger::{Cdr, Direction, Quality, ReleasedBy};
use serde_json::{Value, json};
use std::time::Duration;

/// 2026-11-21T08:01:56.5Z.
const START: u64 = 1_795_248_116_500_000;

/// Leg `n`: one a second, every third unanswered.
pub fn record(n: u64) -> Cdr {
    let created = Wall(START + n * 1_000_000);
    let answered = !n.is_multiple_of(3);
    Cdr {
        call: format!("{n:024x}").parse().unwrap(),
        leg: 0,
        direction: Direction::In,
        trunk: Some(if n.is_multiple_of(2) { "pbx" } else { "acme" }.into()),
        group: None,
        route: Some("us".into()),
        account: (n == 5).then(|| "2001@acme.test".into()),
        account_code: None,
        sip_call_id: format!("abc{n}@example"),
        from_user: "2001".into(),
        from_name: "Ann, \"A\"".into(),
        from_header: "<sip:2001@example>;tag=1".into(),
        to_user: format!("+1503555{n:04}"),
        to_host: "example".into(),
        to_uri: format!("sip:+1503555{n:04}@example"),
        local: Some("192.0.2.1:5060".parse().unwrap()),
        remote: Some("10.0.0.2:5060".parse().unwrap()),
        created,
        progress: None,
        progress_status: None,
        progress_reason: String::new(),
        answered: answered.then_some(Wall(created.0 + 4_000_000)),
        final_status: Some(if answered { 200 } else { 486 }),
        final_reason: if answered { "OK" } else { "Busy Here" }.into(),
        ended: Wall(created.0 + 10_000_000),
        post_dial_delay: None,
        duration: if answered { Duration::from_secs(6) } else { Duration::ZERO },
        released_by: ReleasedBy::Callee,
        release_cause: if answered { "normal" } else { "busy" }.into(),
        release_reason: None,
        policy: (n == 6).then(|| "fraud.spend".into()),
        billable: answered,
        price_per_minute: None,
        cost: None,
        tags: Vec::new(),
        quality: answered.then(|| Quality { received: 500, mos: Some(4.25), ..Quality::default() }),
    }
}

fn world(records: u64) -> World {
    let world = World::new();
    world.fake.records.write((0..records).map(record));
    world
}

fn numbers(list: &Value) -> Vec<u64> {
    let rows = list["cdrs"].as_array().unwrap().iter();
    rows.map(|row| u64::from_str_radix(row["call_id"].as_str().unwrap(), 16).unwrap()).collect()
}

#[test]
fn records_come_in_pages_without_gap_or_repetition() {
    let world = world(25);
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("/v1/cdrs?limit=10&count=true{after}")).json();
        assert_eq!(page["count"], 25);
        seen.extend(numbers(&page));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, (0..25).rev().collect::<Vec<_>>(), "newest first");
    let oldest = world.get("/v1/cdrs?order=oldest&limit=3").json();
    assert_eq!((numbers(&oldest), oldest.get("count")), (vec![0, 1, 2], None));
}

#[test]
fn filters_narrow_the_list() {
    let world = world(12);
    for (query, expected) in [
        ("trunk=pbx&answered=true", vec![10, 8, 4, 2]),
        ("status=486", vec![9, 6, 3, 0]),
        ("cause=busy&trunk=acme", vec![9, 3]),
        ("account=2001%40acme.test", vec![5]),
        ("policy=fraud.spend", vec![6]),
        ("callee=%2B15035550007", vec![7]),
        ("callee=%2B150355500*&limit=2", vec![11, 10]),
        ("caller=2002", vec![]),
        ("from=2026-11-21T08:02:05.5Z&until=2026-11-21T09:02:07.5%2B01:00", vec![10, 9]),
        ("call=00000000000000000000000b", vec![11]),
        ("released_by=operator", vec![]),
    ] {
        assert_eq!(numbers(&world.get(&format!("/v1/cdrs?{query}")).json()), expected, "{query}");
    }
    let record = &world.get("/v1/cdrs?limit=1").json()["cdrs"][0];
    assert_eq!(
        (&record["trunk"], &record["created"]),
        (&json!("acme"), &json!("2026-11-21T08:02:07.500000Z"))
    );
    assert_eq!(
        (&record["id"], &record["duration_ms"]),
        (&json!("00000000000000000000000b-0"), &json!(6_000))
    );
    assert_eq!(record["quality"]["mos"], 4.25);
}

#[test]
fn spreadsheets_get_commas() {
    let world = world(5);
    let first = world.ask("GET", "/v1/cdrs?limit=3&count=true", &["Accept: text/csv"], "");
    assert_eq!(first.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    assert_eq!(first.header("total-count"), Some("5"));
    let lines: Vec<&str> = first.text().lines().collect();
    assert!(lines[0].starts_with("id,call_id,leg,"), "{}", lines[0]);
    assert!(lines.len() == 4 && lines[1].contains(",\"Ann, \"\"A\"\"\","), "{lines:?}");
    let next = first.header("next-page").unwrap();
    let second = world.get(&format!("/v1/cdrs?limit=3&format=csv&after={next}"));
    assert_eq!((second.text().lines().count(), second.header("next-page")), (3, None));
    let json = world.ask("GET", "/v1/cdrs?format=json", &["Accept: text/csv"], "");
    assert_eq!(json.header("content-type"), Some("application/json"));
}

#[test]
fn a_query_that_makes_no_sense_is_refused_with_its_field() {
    let world = world(1);
    for (query, field) in [
        ("from=yesterday", "from"),
        ("until=2026-11-21", "until"),
        ("status=busy", "status"),
        ("status=70000", "status"),
        ("call=xyz", "call"),
        ("answered=maybe", "answered"),
        ("order=random", "order"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("after=zz", "after"),
        ("count=2", "count"),
        ("format=xml", "format"),
        ("trnk=pbx", "trnk"),
        (&format!("trunk={}", "x".repeat(257)), "trunk"),
    ] {
        let reply = world.get(&format!("/v1/cdrs?{query}"));
        assert_eq!((reply.status, reply.class().as_str()), (422, "invalid_field"), "{query}");
        assert_eq!(reply.json()["errors"][0]["field"], field, "{query}");
    }
}
