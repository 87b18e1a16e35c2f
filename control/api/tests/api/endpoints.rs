//! Every endpoint: what it says, what it refuses, what it bounds.

use crate::fake::{CALL, CONFIG, ENDING, Fake, Mood, OTHER_SHARD, World, tokens};
use api::{Engine, Limits, ServeError, Tokens};
use serde_json::json;
use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;

#[test]
fn lists_merge_all_shards_newest_first() {
    let world = World::new();
    let list = world.get("/v1/calls").json();
    let ids: Vec<&str> =
        list["calls"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [ENDING, OTHER_SHARD, CALL]);
    assert_eq!(list["more"], false);
    let short = world.get("/v1/calls?limit=2").json();
    assert_eq!((short["calls"].as_array().unwrap().len(), &short["more"]), (2, &json!(true)));
    let count = |query: &str| world.get(query).json()["calls"].as_array().unwrap().len();
    assert_eq!(count("/v1/calls?trunk=carrier"), 2);
    assert_eq!(count("/v1/calls?trunk=pbx&number=%2B1503"), 3);
    assert_eq!(count("/v1/calls?number=999"), 0);
}

#[test]
fn a_call_is_shown_with_legs_media_and_sentence() {
    let world = World::new();
    let call = world.get(&format!("/v1/calls/{CALL}")).json();
    assert_eq!((&call["state"], &call["route"]), (&json!("answered"), &json!("route-1")));
    assert_eq!(call["created"], "2026-11-21T08:01:56.501000Z");
    assert_eq!(call["timeline"][0]["what"], "INVITE from pbx");
    let leg = &call["legs"][0];
    assert_eq!(leg["sentence"], "A: 500 packets received from 198.51.100.7:4000.");
    let port = &leg["media"][0];
    assert_eq!(port["dropped"], json!({ "source_locked": 212 }));
    assert_eq!(port["received"], json!({ "packets": 500, "bytes": 86000 }));
    assert_eq!(port["learned"], "198.51.100.7:4000");
    let stream = &port["streams"][0];
    assert_eq!(
        (&stream["ssrc"], &stream["jitter_ms"], &stream["reported_loss"]),
        (&json!("deadbeef"), &json!(1.5), &json!(0.25))
    );
    assert_eq!(
        (&stream["r_factor"], &stream["mos"], &port["mos"]),
        (&json!(87.6), &json!(4.28), &json!(4.28))
    );
}

#[test]
fn a_call_is_hung_up_once() {
    let world = World::new();
    let reply = world.ask("DELETE", &format!("/v1/calls/{CALL}"), &[], "");
    assert_eq!((reply.status, reply.body.len()), (204, 0));
    assert_eq!(*world.fake.hung_up.lock().unwrap(), [CALL.parse().unwrap()]);
    let ending = world.ask("DELETE", &format!("/v1/calls/{ENDING}"), &[], "");
    assert_eq!((ending.status, ending.class().as_str()), (409, "wrong_state"));
}

#[test]
fn what_is_wrong_is_said_in_one_form() {
    let world = World::new();
    for (method, path, status, class) in [
        ("GET", "/v1/calls/0123456789ab000000000009", 404, "no_call"),
        ("GET", "/v1/calls/xyz", 404, "no_call"),
        ("GET", "/v1/calls/%ff", 400, "bad_request"),
        ("GET", "/v1/calls/0123456789ab00ff00000001", 404, "no_call"),
        ("GET", "/v1/calls?limit=0", 422, "invalid_field"),
        ("GET", "/v1/calls?limit=x", 422, "invalid_field"),
        ("GET", "/v1/calls?limt=5", 422, "invalid_field"),
        ("GET", "/v1/calls?number=%zz&number=%ff", 400, "bad_request"),
        ("GET", "/v1/calls/0123456789ab000000000001/trace?format=gif", 422, "invalid_field"),
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/v1/trunks/nobody", 404, "not_found"),
        ("POST", "/v1/calls", 405, "method_not_allowed"),
        ("PUT", "/v1/calls/0123456789ab000000000001", 405, "method_not_allowed"),
        ("GET", "/v1/config?version=7", 404, "not_found"),
    ] {
        let reply = world.ask(method, path, &[], "");
        // An escape that is no UTF-8 is replaced in a query, refused in a path.
        if path.contains("%zz") && reply.status == 200 {
            continue;
        }
        assert_eq!((reply.status, reply.class().as_str()), (status, class), "{method} {path}");
    }
    let field = world.get("/v1/calls?limt=5").json();
    assert_eq!(field["errors"][0], json!({ "field": "limt", "expected": "one of trunk, number, limit" }));
    assert!(world.ask("POST", "/v1/calls", &[], "").header("allow").unwrap().contains("GET"));
}

#[test]
fn a_shard_that_does_not_answer_is_a_503_within_its_time() {
    let world = World::new();
    for mood in [Mood::Full, Mood::Dead, Mood::Silent] {
        *world.fake.mood.lock().unwrap() = mood;
        for path in ["/v1/calls".to_owned(), format!("/v1/calls/{CALL}"), format!("/v1/calls/{CALL}/trace")] {
            let reply = world.get(&path);
            assert_eq!((reply.status, reply.class().as_str()), (503, "busy"), "{mood:?} {path}");
            assert_eq!(reply.header("retry-after"), Some("1"));
        }
    }
    *world.fake.mood.lock().unwrap() = Mood::Dead;
    let health = world.get("/healthz");
    assert_eq!((health.status, health.json()), (503, json!({ "status": "signalling shard 0 is down" })));
    *world.fake.mood.lock().unwrap() = Mood::Fine;
    assert_eq!(world.get("/healthz").json(), json!({ "status": "ok" }));
}

#[test]
fn tokens_give_their_roles_and_no_more() {
    let world = World::with(tokens(), Limits::default());
    let call = format!("/v1/calls/{CALL}");
    let status = |method: &str, path: &str, token: Option<&str>, body: &str| {
        let header = token.map(|token| format!("Authorization: Bearer {token}"));
        world.ask(method, path, &header.iter().map(String::as_str).collect::<Vec<_>>(), body).status
    };
    for (method, path, body, by_role) in [
        ("GET", "/v1/calls", "", [401, 200, 200, 200]),
        ("GET", "/metrics", "", [401, 200, 200, 200]),
        ("GET", "/v1/trunks", "", [401, 200, 200, 200]),
        ("DELETE", &call, "", [401, 403, 204, 204]),
        ("GET", "/v1/config", "", [401, 403, 403, 200]),
        ("POST", "/v1/drain", "", [401, 403, 403, 200]),
        ("PUT", "/v1/log", "{\"filter\":\"warn\"}", [401, 403, 403, 200]),
        ("GET", "/healthz", "", [200, 200, 200, 200]),
        ("GET", "/openapi.json", "", [200, 200, 200, 200]),
        ("GET", "/docs", "", [200, 200, 200, 200]),
    ] {
        let got =
            [None, Some("read"), Some("calls"), Some("admin")].map(|token| status(method, path, token, body));
        assert_eq!(got, by_role, "{method} {path}");
    }
    assert_eq!(world.get("/v1/calls").header("www-authenticate"), Some("Bearer"));
    assert_eq!(status("GET", "/v1/calls", Some("raed"), ""), 401);
}

#[test]
fn a_listener_for_the_world_needs_a_token() {
    let fake = Fake::new();
    let listen = |tokens| {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        api::spawn(listener, Arc::clone(&fake) as Arc<dyn Engine>, tokens, Limits::default())
    };
    assert!(matches!(listen(Tokens::default()), Err(ServeError::Open { .. })));
    assert!(listen(tokens()).is_ok());
}

#[test]
fn a_configuration_is_read_checked_compared_replaced_and_rolled_back() {
    let world = World::new();
    let shown = world.get("/v1/config");
    assert_eq!((shown.text(), shown.header("etag")), (CONFIG, Some("\"1\"")));
    assert_eq!(shown.header("content-type"), Some("application/toml"));

    let bad = world.ask("POST", "/v1/config/validate", &[], "\ntrnk.x = 1\n");
    assert_eq!((bad.status, bad.class().as_str()), (422, "invalid_field"));
    assert_eq!(
        bad.json()["errors"][0],
        json!({ "field": "trnk", "expected": "a known key; did you mean trunk?", "line": 2 })
    );
    assert_eq!(world.ask("POST", "/v1/config/validate", &[], CONFIG).json(), json!({ "valid": true }));

    let changed = CONFIG.replace("10.0.0.2", "10.0.0.3");
    let diff = world.ask("POST", "/v1/config/diff", &[], &changed).json();
    assert_eq!(
        diff,
        json!({ "version": 1, "changes": [{ "path": "trunk.pbx", "before": "10.0.0.2", "after": "10.0.0.3" }] })
    );

    let stale = world.ask("PUT", "/v1/config", &["If-Match: \"9\""], &changed);
    assert_eq!((stale.status, stale.class().as_str()), (412, "stale"));
    let invalid = world.ask("PUT", "/v1/config", &[], "trnk = 1");
    assert_eq!((invalid.status, world.get("/v1/config").text()), (422, CONFIG));
    let refused = world.ask("PUT", "/v1/config", &[], "# in_use");
    assert_eq!((refused.status, refused.class().as_str()), (409, "wrong_state"));
    let json_body = world.ask("PUT", "/v1/config", &["Content-Type: application/json; charset=utf-8"], "{}");
    assert_eq!((json_body.status, json_body.class().as_str()), (415, "media_type"));
    let applied =
        world.ask("PUT", "/v1/config", &["If-Match: \"1\"", "Content-Type: application/toml"], &changed);
    assert_eq!((applied.json(), applied.header("etag")), (json!({ "version": 2 }), Some("\"2\"")));

    let back = world.ask("POST", "/v1/config/rollback", &[], "{\"version\":1}");
    assert_eq!(back.json(), json!({ "version": 3 }));
    assert_eq!(world.get("/v1/config").text(), CONFIG);
    assert_eq!(world.get("/v1/config?version=2").text(), changed);
    let versions = world.get("/v1/config/versions").json();
    assert_eq!((&versions["current"], versions["versions"].as_array().unwrap().len()), (&json!(3), 3));
    for body in ["", "{}", "{\"version\":\"x\"}", "{\"version\":1,\"force\":true}", "["] {
        let reply = world.ask("POST", "/v1/config/rollback", &[], body);
        assert_eq!((reply.status, reply.class().as_str()), (422, "invalid_field"), "{body}");
    }
    assert_eq!(world.ask("POST", "/v1/config/rollback", &[], "{\"version\":77}").status, 404);
}

#[test]
fn objects_are_listed_without_their_secrets() {
    let world = World::new();
    world.fake.stats[0].calls_active.add(&["pbx", "in"], 2);
    world.fake.stats[1].calls_active.add(&["pbx", "in"], 1);
    let trunks = world.get("/v1/trunks");
    assert!(!trunks.text().contains("geheim"));
    let pbx = world.get("/v1/trunks/pbx");
    assert_eq!(
        pbx.json(),
        json!({
            "name": "pbx", "settings": { "address": "10.0.0.2" }, "calls": { "in": 3, "out": 0 },
            "status": { "trunk": "pbx", "state": "up" }
        })
    );
    assert_eq!(pbx.header("etag"), Some("\"1\""));
    assert_eq!(world.get("/v1/routes").json()["objects"][0]["name"], "route-1");
    assert_eq!(world.get("/v1/number_rules/strip-00").json()["settings"]["match"], "00ZX.");
    assert_eq!(world.get("/v1/listeners").json()["objects"][0]["name"], "main");
}

#[test]
fn drain_and_log_are_set_and_told() {
    let world = World::new();
    assert_eq!(world.get("/readyz").status, 200);
    assert_eq!(world.ask("POST", "/v1/drain", &[], "").json(), json!({ "on": true }));
    assert_eq!(world.get("/readyz").json(), json!({ "status": "draining" }));
    assert!(world.get("/metrics").text().contains("strowger_draining 1\n"));
    assert_eq!(world.ask("POST", "/v1/drain", &[], "{\"on\":false}").json(), json!({ "on": false }));
    assert_eq!(world.get("/readyz").status, 200);
    assert_eq!(world.ask("PUT", "/v1/log", &[], "{\"filter\":\"sip=debug\"}").status, 200);
    assert_eq!(world.get("/v1/log").json(), json!({ "filter": "sip=debug" }));
    let bad = world.ask("PUT", "/v1/log", &[], "{\"filter\":\"==\"}");
    assert_eq!((bad.status, bad.json()["errors"][0]["field"].as_str()), (422, Some("filter")));
}

#[test]
fn the_pages_that_document_the_api_are_served() {
    let world = World::new();
    let api = world.get("/openapi.json").json();
    assert!(api["openapi"].as_str().unwrap().starts_with("3."));
    assert!(api["paths"]["/v1/calls/{id}"]["delete"].is_object());
    let page = world.get("/docs");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    for outside in ["http://", "https://", "//cdn", "@import", "src="] {
        assert!(!page.text().contains(outside), "{outside}");
    }
    assert_eq!(world.ask("HEAD", "/docs", &[], "").status, 200);
}

#[test]
fn a_ladder_is_json_and_a_capture_that_tshark_reads() {
    let world = World::new();
    let trace = world.get(&format!("/v1/calls/{CALL}/trace")).json();
    assert_eq!(trace["forgotten"], 1);
    assert_eq!(
        (&trace["entries"][3]["line"], &trace["entries"][3]["leg"]),
        (&json!("503 Service Unavailable (INVITE)"), &json!(1))
    );
    assert!(trace["entries"][0]["raw"].as_str().unwrap().starts_with("INVITE sip:"));

    let capture = world.get(&format!("/v1/calls/{CALL}/trace?format=pcap"));
    assert_eq!(capture.header("content-type"), Some("application/vnd.tcpdump.pcap"));
    assert!(capture.header("content-disposition").unwrap().contains(CALL));
    let fields = [
        "frame.time_epoch",
        "ip.src",
        "ipv6.dst",
        "udp.checksum.status",
        "ip.checksum.status",
        "sip.Method",
        "sip.Status-Code",
    ];
    let mut tshark = Command::new("tshark");
    tshark.args([
        "-r",
        "-",
        "-o",
        "udp.check_checksum:TRUE",
        "-o",
        "ip.check_checksum:TRUE",
        "-T",
        "fields",
        "-E",
        "separator=,",
    ]);
    for field in fields {
        tshark.args(["-e", field]);
    }
    let started = tshark.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let Ok(mut child) = started else {
        assert_ne!(std::env::var("STROWGER_PEERS").as_deref(), Ok("required"), "tshark is not installed");
        eprintln!("tshark is not installed: the capture was not read");
        return;
    };
    child.stdin.take().unwrap().write_all(&capture.body).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Checksums of status 1 are good ones.
    let expected = "1795248116.500000000,10.0.0.2,,1,1,INVITE,\n\
                    1795248116.501000000,192.0.2.1,,1,1,,100\n\
                    1795248116.502000000,192.0.2.1,,1,1,INVITE,\n\
                    1795248116.530000000,203.0.113.5,,1,1,,503\n\
                    1795248116.532000000,,2001:db8::9,1,,INVITE,\n\
                    1795248116.590000000,,2001:db8::1,1,,,200\n\
                    1795248116.591000000,192.0.2.1,,1,1,,200\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}
