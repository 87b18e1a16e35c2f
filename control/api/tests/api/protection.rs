//! Bans and what fraud policies have counted.

use crate::fake::World;
use base::Wall;
use ledger::{Ban, Banner};
use serde_json::json;

#[test]
fn a_source_is_banned_listed_and_let_in_again() {
    let world = World::new();
    let add = |body: &str| world.ask("POST", "/v1/bans", &[], body);
    let banned = add(r#"{"address":"203.0.113.0/24","ttl":"1h","reason":"scans"}"#);
    assert_eq!(banned.status, 201);
    let row = banned.json();
    assert_eq!(
        (&row["address"], &row["by"], &row["reason"]),
        (&json!("203.0.113.0/24"), &json!("operator"), &json!("scans"))
    );
    assert!(row["until"].as_str() > row["since"].as_str());
    let source = "203.0.113.7".parse().unwrap();
    let now = api::Engine::now(&*world.fake).wall;
    assert!(world.fake.bans.is_banned(now, source));
    assert!(!world.fake.bans.is_banned(Wall(now.0 + 3_700_000_000), source));
    let again = add(r#"{"address":"203.0.113.0/24"}"#);
    assert_eq!((again.status, again.json().get("until")), (200, None), "the operator's last word holds");
    let list = world.get("/v1/bans").json();
    assert_eq!(
        (list["bans"].as_array().unwrap().len(), &list["total"], &list["next"]),
        (1, &json!(1), &json!(null))
    );
    let remove = |address: &str| world.ask("DELETE", &format!("/v1/bans?address={address}"), &[], "");
    assert_eq!(remove("203.0.113.7").class(), "not_found", "as it is listed");
    assert_eq!(remove("203.0.113.0/24").status, 204);
    assert_eq!(remove("203.0.113.0/24").status, 404);
    assert!(!world.fake.bans.is_banned(now, source));
    let kinds: Vec<&str> = world.fake.events.recent(9).iter().map(|numbered| numbered.event.kind).collect();
    assert_eq!(kinds, ["ban.added", "ban.added", "ban.removed"]);
}

#[test]
fn a_trunk_is_banned_only_on_purpose() {
    let world = World::new();
    let add = |body: &str| world.ask("POST", "/v1/bans", &[], body);
    let hit = add(r#"{"address":"10.0.0.0/8"}"#);
    assert_eq!((hit.status, hit.class().as_str()), (409, "wrong_state"));
    assert!(hit.json()["detail"].as_str().unwrap().contains("trunk pbx"), "{hit:?}");
    assert_eq!(add(r#"{"address":"10.0.0.0/8","force":true}"#).status, 201);
}

#[test]
fn bans_come_in_pages() {
    let world = World::new();
    let now = api::Engine::now(&*world.fake).wall;
    for n in 0..250u8 {
        let until = if n == 7 { Some(Wall(now.0 - 1)) } else { None };
        let ban = Ban::of([203, 0, 113, n].into(), Banner::Auto, Wall(1), until, "flood");
        world.fake.bans.add(ban).unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("/v1/bans?limit=60{after}")).json();
        assert_eq!(page["total"], 250);
        seen.extend(
            page["bans"].as_array().unwrap().iter().map(|row| row["address"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let all: Vec<String> = (0..250).filter(|n| *n != 7).map(|n| format!("203.0.113.{n}")).collect();
    assert_eq!(seen, all, "each once, in order, without the one that has ended");
}

#[test]
fn a_ban_that_makes_no_sense_is_refused_with_its_field() {
    let world = World::new();
    let long = format!(r#"{{"address":"203.0.113.7","reason":"{}"}}"#, "x".repeat(257));
    for (body, field) in [
        (r#"{"address":"carrier.example"}"#, "address"),
        (r#"{"address":"203.0.113.7/24"}"#, "address"),
        (r#"{"address":"203.0.113.7/33"}"#, "address"),
        (r#"{"address":"203.0.113.7","ttl":"soon"}"#, "ttl"),
        (r#"{"address":"203.0.113.7","ttl":"0s"}"#, "ttl"),
        (r#"{"address":"203.0.113.7","reason":"a\nb"}"#, "reason"),
        (&long, "reason"),
        (r#"{"address":"203.0.113.7","tll":"1h"}"#, "tll"),
        ("", "address"),
    ] {
        let reply = world.ask("POST", "/v1/bans", &[], body);
        assert_eq!((reply.status, reply.class().as_str()), (422, "invalid_field"), "{body}");
        assert_eq!(reply.json()["errors"][0]["field"], field, "{body}");
    }
    for path in ["/v1/bans", "/v1/bans?address=x"] {
        assert_eq!(world.ask("DELETE", path, &[], "").json()["errors"][0]["field"], "address");
    }
    assert_eq!(world.get("/v1/bans?after=x").json()["errors"][0]["field"], "after");
    assert_eq!(world.get("/v1/bans?limit=0").json()["errors"][0]["field"], "limit");
}

#[test]
fn what_a_policy_has_counted_can_be_forgotten() {
    let world = World::new();
    let reset = |body: &str| world.ask("POST", "/v1/fraud/reset", &[], body);
    assert_eq!(reset(r#"{"policy":"toll-fraud","key":"trunk=pbx"}"#).status, 204);
    assert_eq!(reset(r#"{"policy":"toll-fraud","key":"trunk=x"}"#).class(), "not_found");
    assert_eq!(reset(r#"{"policy":"none","key":"trunk=pbx"}"#).class(), "not_found");
    assert_eq!(reset(r#"{"policy":"toll-fraud"}"#).class(), "invalid_field");
}
