//! The API and the commands on a running engine with calls: list, show, trace, hang up, health, description, tokens,
//! metrics as Prometheus' own tool reads them.

use crate::support::capture;
use crate::support::command::{alone, said, strowger};
use crate::support::softphone::{Connected, Softphone, audio};
use crate::support::wire::Wire;
use crate::support::{Engine, Folder, Net, PAIR, SOON, peer, wait_for};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

struct World {
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
        World { engine, a: phone(2), b: phone(3), media_a: Wire::at(net.ip(2)), media_b: Wire::at(net.ip(3)) }
    }

    fn connect(&self) -> Connected {
        let (offer, answer) = (audio(self.media_a.address()), audio(self.media_b.address()));
        let call = self.a.connect(&self.b, self.engine.sip(0), "15550100", &offer, &answer);
        self.media_a.reach(call.answered.media(0), &self.media_b, 1);
        self.media_b.reach(call.offered.media(0), &self.media_a, 2);
        call
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_call_is_listed_shown_traced_and_hung_up_from_the_terminal() {
    let world = World::new();
    let call = world.connect();
    let engine = &world.engine;
    let list = json(&said(engine, &["calls", "list", "--json"]));
    let row = &list["calls"][0];
    let id = row["id"].as_str().expect("an id").to_owned();
    assert_eq!((&row["state"], &row["to"]), (&"answered".into(), &"15550100".into()));
    assert_eq!((&row["trunk_in"], &row["trunk_out"]), (&"pbx".into(), &"carrier".into()));
    let table = said(engine, &["calls"]);
    assert!(table.contains(&id) && table.contains("answered") && table.contains("1 call"), "{table}");
    assert!(said(engine, &["calls", "list", "--number", "999"]).contains("0 calls"));
    assert!(said(engine, &["calls", "list", "--trunk", "carrier"]).contains(&id));

    let show = said(engine, &["calls", "show", &id]);
    for line in ["A: ", "B: "] {
        let sentence =
            show.lines().find(|l| l.starts_with(line)).unwrap_or_else(|| panic!("no sentence: {show}"));
        assert!(sentence.contains("packets received"), "{sentence}");
    }
    assert!(show.contains(&call.a.call_id) && show.contains(&call.b.call_id), "{show}");
    let shown = json(&said(engine, &["calls", "show", &id, "--json"]));
    assert_eq!(shown["legs"][0]["sip_call_id"], call.a.call_id.as_str());
    assert!(shown["timeline"].as_array().is_some_and(|t| t.len() >= 2), "{shown:#}");

    let ladder = said(engine, &["calls", "trace", &id]);
    for message in ["INVITE", "200 OK", "ACK"] {
        assert!(ladder.contains(message), "{message} is missing:\n{ladder}");
    }
    let trace = json(&said(engine, &["calls", "trace", &id, "--json"]));
    let raw: Vec<&str> =
        trace["entries"].as_array().expect("entries").iter().filter_map(|e| e["raw"].as_str()).collect();
    assert!(raw.iter().any(|text| text.starts_with("INVITE ") && text.contains(&call.a.call_id)), "{raw:?}");

    assert!(said(engine, &["trunks"]).contains("pbx"));
    let watched = said(engine, &["calls", "watch", "--times", "1"]);
    assert!(watched.contains(&id), "{watched}");

    said(engine, &["calls", "hangup", &id]);
    world.a.expect_bye();
    world.b.expect_bye();
    engine.wait_idle();
    let cdrs = engine.wait_cdrs(2);
    assert!(cdrs.iter().all(|cdr| cdr["release_by"] == "operator"), "{cdrs:#?}");
    let gone = strowger(engine, &["calls", "show", &id]);
    assert_eq!(gone.status.code(), Some(1), "{gone:?}");
}

#[test]
fn a_trace_is_a_capture_that_tshark_reads() {
    let Some(tshark) = peer("tshark") else { return };
    let world = World::new();
    let mut call = world.connect();
    let id = world.engine.wait_call("answered");
    let file = world.engine.folder().join("call.pcap");
    said(&world.engine, &["calls", "trace", &id, "--pcap", file.to_str().expect("a name")]);
    let sip = world.engine.sip(0);
    let rows = capture::read(
        &tshark,
        &file,
        "sip",
        &["ip.src", "udp.srcport", "ip.dst", "udp.dstport", "sip.Method", "sip.Status-Code", "sip.Call-ID"],
    );
    let engine = [sip.ip().to_string(), sip.port().to_string()];
    let has = |from: &[String], what: &str, call_id: &str| {
        rows.iter().any(|r| r[..2] == *from && (r[4] == what || r[5] == what) && r[6] == call_id)
    };
    let a = [world.a.address().ip().to_string(), "5060".to_owned()];
    assert!(has(&a, "INVITE", &call.a.call_id), "{rows:#?}");
    assert!(has(&engine, "INVITE", &call.b.call_id), "{rows:#?}");
    assert!(has(&engine, "200", &call.a.call_id), "{rows:#?}");
    let broken =
        capture::read(&tshark, &file, "_ws.malformed || udp.checksum.status == 0", &["frame.number"]);
    assert!(broken.is_empty(), "{broken:?}");
    world.a.hang_up(&mut call.a, &world.b);
}

#[test]
fn errors_are_problems_with_the_field_and_what_was_expected() {
    let world = World::new();
    let problem = |method: &str, path: &str, body: &str, status: u16| {
        let answer = world.engine.request(method, path, "Content-Type: application/json\r\n", body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert!(answer.headers.to_lowercase().contains("application/problem+json"), "{}", answer.headers);
        json(&answer.body)
    };
    assert_eq!(problem("GET", "/v1/calls/0123", "", 404)["status"], 404);
    problem("DELETE", "/v1/calls/000000000000000000000001", "", 404);
    problem("GET", "/no/such/path", "", 404);
    problem("PATCH", "/v1/calls", "", 405);
    let wrong = problem("GET", "/v1/calls?limit=none", "", 422);
    assert!(wrong.to_string().contains("limit"), "{wrong}");
    let wrong = problem("PUT", "/v1/config", "[[route]]\nvai = \"x\"\n", 415);
    drop(wrong);
    let toml = "Content-Type: application/toml\r\n";
    let answer = world.engine.request("PUT", "/v1/config", toml, "[[route]]\nvai = \"x\"\n");
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert!(answer.body.contains("vai"), "{}", answer.body);
}

#[test]
fn health_readiness_and_the_description_are_open() {
    let engine = World::new().engine;
    assert_eq!((engine.get("/healthz").status, engine.get("/readyz").status), (200, 200));
    let description = engine.json("/openapi.json");
    for path in ["/v1/calls", "/v1/calls/{id}", "/v1/calls/{id}/trace", "/v1/config", "/v1/drain", "/metrics"]
    {
        assert!(description["paths"][path].is_object(), "{path} is not described");
    }
    assert!(engine.get("/docs").body.contains("<html"));
    said(&engine, &["drain"]);
    wait_for("draining", SOON, || (engine.get("/readyz").status == 503).then_some(()));
    said(&engine, &["drain", "--off"]);
    assert_eq!(engine.get("/readyz").status, 200);
    said(&engine, &["log", "set", "info,b2bua=debug"]);
    assert!(said(&engine, &["log"]).contains("b2bua=debug"));
}

#[test]
fn an_open_api_beyond_loopback_is_refused_at_start() {
    let folder = Folder::new();
    let file = folder.path().join("strowger.toml");
    let config = Net::new().fill(PAIR);
    let store = folder.path().display();
    let text = format!(
        "engine.api = \"0.0.0.0:0\"\nengine.store = \"sqlite:{store}/strowger.db\"\nengine.cdr = [\"jsonl:{store}/cdr.jsonl\"]\n{config}"
    );
    std::fs::write(&file, text).expect("writable");
    let output = alone(&["run", "--until-stdin-closes", file.to_str().expect("a name")]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("token"), "{error}");
}

#[test]
fn tokens_open_what_their_role_may_do() {
    let folder = Folder::new();
    let list: Vec<String> = ["read", "calls", "admin"]
        .into_iter()
        .map(|role| {
            let secret = format!("{}-secret-0123456789", &role[..1]);
            std::fs::write(folder.path().join(role), secret).expect("writable");
            format!("{{ token = \"file:{role}\", role = \"{role}\" }}")
        })
        .collect();
    let config = format!("engine.tokens = [{}]\n{}", list.join(", "), Net::new().fill(PAIR));
    let engine = Engine::start_in(folder, &config, &[]);
    let status = |token: &str, method: &str, path: &str| {
        let header =
            if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        engine.request(method, path, &header, "").status
    };
    let (read, calls, admin) = ("r-secret-0123456789", "c-secret-0123456789", "a-secret-0123456789");
    let call = "/v1/calls/000000000000000000000001";
    for (token, method, path, expected) in [
        ("", "GET", "/v1/calls", 401),
        ("wrong", "GET", "/v1/calls", 401),
        (read, "GET", "/v1/calls", 200),
        (read, "DELETE", call, 403),
        (calls, "DELETE", call, 404),
        (calls, "GET", "/v1/config", 403),
        (admin, "GET", "/v1/config", 200),
        ("", "GET", "/healthz", 200),
    ] {
        assert_eq!(status(token, method, path), expected, "{token} {method} {path}");
    }
    let refused = strowger(&engine, &["calls"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(said(&engine, &["calls", "--token", read]).contains("0 calls"));
    assert!(!engine.log().contains("secret-0123456789"), "a token never stands in the log");
}

#[test]
fn metrics_please_promtool_before_during_and_after_calls() {
    let Some(promtool) = peer("promtool") else { return };
    let world = World::new();
    let check = |when: &str| {
        let page = world.engine.get("/metrics");
        let mut child = Command::new(&promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool starts");
        child.stdin.take().expect("a pipe").write_all(page.body.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.is_empty(), "{when} calls: {said}\n{}", page.body);
        page.body
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split(' ').next().unwrap_or("").to_owned())
            .collect::<Vec<_>>()
    };
    check("before");
    let mut call = world.connect();
    check("during");
    assert_eq!(world.engine.metric("strowger_calls_active"), 2.0, "one in, one out");
    world.a.hang_up(&mut call.a, &world.b);
    world.engine.wait_idle();
    let after = check("after");
    assert_eq!(world.engine.metric("strowger_limit_drift"), 0.0);
    let mut call = world.connect();
    world.a.hang_up(&mut call.a, &world.b);
    world.engine.wait_idle();
    assert_eq!(check("after more"), after, "calls make no new series");
    let page =
        world.engine.request("GET", "/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n", "");
    assert!(page.headers.contains("application/openmetrics-text"), "{}", page.headers);
    assert!(page.body.trim_end().ends_with("# EOF"), "OpenMetrics ends with # EOF");
}
