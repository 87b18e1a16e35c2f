//! What control says of routing: trunks and their states, groups, limits, decisions without a call.

use crate::fake::{Mood, World};
use serde_json::json;

#[test]
fn a_trunk_is_taken_out_for_a_while_and_in_again() {
    let world = World::new();
    assert_eq!(world.get("/v1/trunks/pbx/status").json(), json!({ "trunk": "pbx", "state": "up" }));
    let out = world.ask("POST", "/v1/trunks/pbx/disable", &[], r#"{"for":"10m"}"#);
    let expected = json!({
        "trunk": "pbx", "state": "disabled",
        "since": "2026-11-21T08:01:56.500000Z", "until": "2026-11-21T08:11:56.500000Z"
    });
    assert_eq!((out.status, out.json()), (200, expected.clone()));
    assert_eq!(world.get("/v1/trunks/pbx/status").json(), expected);
    assert_eq!(world.get("/v1/trunks/pbx").json()["status"], expected);
    let ever = world.ask("POST", "/v1/trunks/pbx/disable", &[], "").json();
    assert_eq!((&ever["state"], ever.get("until")), (&json!("disabled"), None));
    let enabled = world.ask("POST", "/v1/trunks/pbx/enable", &[], "");
    assert_eq!(enabled.json(), json!({ "trunk": "pbx", "state": "up" }));
    for (method, path) in [("GET", "status"), ("POST", "disable"), ("POST", "enable")] {
        let reply = world.ask(method, &format!("/v1/trunks/nobody/{path}"), &[], "");
        assert_eq!((reply.status, reply.class().as_str()), (404, "not_found"), "{path}");
    }
    for body in [r#"{"for":"ten"}"#, r#"{"for":600}"#, r#"{"fro":"1h"}"#] {
        let reply = world.ask("POST", "/v1/trunks/pbx/disable", &[], body);
        assert_eq!((reply.status, reply.class().as_str()), (422, "invalid_field"), "{body}");
    }
    let wrong = world.ask("POST", "/v1/trunks/pbx/disable", &[], r#"{"for":"ten"}"#).json();
    assert_eq!(wrong["errors"][0]["field"], "for");
}

#[test]
fn members_of_a_group_and_limits_say_how_full_they_are() {
    let world = World::new();
    let group = world.get("/v1/groups/out/status").json();
    assert_eq!(
        group["members"][0],
        json!({
            "name": "carrier", "kind": "trunk", "weight": 1, "state": "up", "calls": 7,
            "resources": [{ "resource": "pstn", "used": 7, "max": 30 }]
        })
    );
    assert_eq!(world.get("/v1/groups/nobody/status").class(), "not_found");
    let limits = world.get("/v1/limits").json();
    assert_eq!(
        limits["limits"],
        json!([
            { "limit": "pstn", "used": 9, "max": 10, "reserved": 2, "refused": { "full": 4, "fast": 1, "crowded": 0 } },
            { "limit": "trunk.pbx", "used": 3, "reserved": 0, "refused": { "full": 0, "fast": 0, "crowded": 0 } },
            {
                "limit": "x", "used": 0, "reserved": 0, "rate": 0.5, "burst": 3, "keys": 12,
                "refused": { "full": 0, "fast": 0, "crowded": 0 }
            },
        ])
    );
}

#[test]
fn a_decision_is_told_without_a_call() {
    let world = World::new();
    let ask = |body: serde_json::Value| world.ask("POST", "/v1/route/explain", &[], &body.to_string());
    let told = ask(json!({
        "from": "2001", "to": "+15035550100", "source": "10.0.0.2",
        "headers": { "X-Tag": "a", "X-Both": ["1", "2"] }, "at": "2026-11-21T08:00:00+01:00"
    }))
    .json();
    assert_eq!((&told["verdict"], told.get("status")), (&json!("route"), Some(&json!(null))));
    assert_eq!(told["steps"][0], json!({ "stage": "who", "text": "Some(10.0.0.2:5060) is trunk pbx" }));
    assert_eq!(
        told["steps"][1]["text"],
        r#"[("X-Both", "1"), ("X-Both", "2"), ("X-Tag", "a")] at Some(Wall(1795244400000000))"#
    );
    let refused = ask(json!({ "from": "2001", "to": "+882" })).json();
    assert_eq!(
        (&refused["verdict"], &refused["status"], &refused["reason"], &refused["refusal"]),
        (&json!("refuse"), &json!(403), &json!("Forbidden"), &json!("destination"))
    );
    for (body, field) in [
        (json!({ "from": "1", "to": "2", "source": "pbx.example" }), "source"),
        (json!({ "from": "1", "to": "2", "at": "now" }), "at"),
        (json!({ "from": "1", "to": "2".repeat(20_000) }), "to"),
        (json!({ "from": "1", "to": "2", "trunk": "nobody" }), "body"),
        (json!({ "from": "1", "to": "2", "trnk": "pbx" }), "trnk"),
        (json!({ "from": "1" }), "to"),
    ] {
        let reply = ask(body);
        assert_eq!((reply.status, reply.class().as_str()), (422, "invalid_field"));
        assert_eq!(reply.json()["errors"][0]["field"], field);
    }
    *world.fake.mood.lock().unwrap() = Mood::Full;
    assert_eq!(ask(json!({ "from": "1", "to": "2" })).status, 503);
}
