//! What becomes of each key of an rtpengine.conf, and that whatever comes out can be checked and run.

use super::*;
use crate::Config;
use proptest::prelude::*;

/// A machine with a name and a network interface.
fn import(text: &str) -> Imported {
    import_section("rtpengine", text)
}

fn import_section(section: &str, text: &str) -> Imported {
    let resolve = |name: &str| match name {
        "eth0" => vec![[192, 0, 2, 20].into(), "2001:db8::20".parse().expect("an address")],
        "proxy.example.net" => vec![[192, 0, 2, 30].into()],
        _ => Vec::new(),
    };
    let host = Host { section, address: [192, 0, 2, 10].into(), resolve: &resolve };
    rtpengine(text, &host)
}

/// The lines that stand in the file, comments aside; it must be valid.
fn lines(imported: &Imported) -> Vec<String> {
    if let Err(errors) = Config::check(&imported.toml, "strowger.toml") {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        panic!("{}\n{}", errors.join("\n"), imported.toml);
    }
    let bare = |line: &str| line.split(" #").next().unwrap_or("").trim().to_owned();
    let lines = imported.toml.lines().filter(|line| !line.starts_with('#')).map(bare);
    lines.filter(|line| !line.is_empty()).collect()
}

fn becomes(keys: &str, expected: &[&str]) {
    let imported = import(&format!("[rtpengine]\n{keys}\n"));
    let lines = lines(&imported);
    for line in expected {
        assert!(lines.iter().any(|it| it == line), "{keys}: no `{line}` in\n{}", imported.toml);
    }
}

fn warns(keys: &str, expected: &str) {
    let imported = import(&format!("[rtpengine]\n{keys}\n"));
    lines(&imported);
    let warnings: Vec<_> = imported.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.iter().any(|it| it == expected), "{keys}: no `{expected}` in {warnings:#?}");
}

#[test]
fn a_file_as_debian_ships_it_becomes_one_that_runs() {
    let imported = import(include_str!("../../tests/import/rtpengine.conf"));
    let expected = [
        "[listener.\"default\"]",
        "media = [\"192.0.2.10:30000-39999\"]",
        "dscp = { rtp = 46 }",
        "[engine]",
        "ng = [\"udp:127.0.0.1:2223\", \"http:127.0.0.1:2225\", \"ws:127.0.0.1:2225\"]",
        "recordings = \"/var/spool/rtpengine\"",
    ];
    assert_eq!(lines(&imported), expected);
    let warnings: Vec<_> = imported.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "line 5: not carried over: table, because packets are not relayed by a kernel module: nothing has to be loaded",
            "line 8: default: `any` becomes 192.0.2.10, by which others reach this machine as it seems: name the addresses",
            "line 13: not carried over: listen-cli, because the terminal's commands (`strowger calls` and others) ask engine.api",
            "line 22: not carried over: recording-method, because recordings are sound files of both sides; packets are captured by `strowger calls pcap`",
            "line 26: [rtpengine-testing] is not carried over, because [rtpengine] is: --section rtpengine-testing takes it instead",
        ]
    );
    let testing = import_section("rtpengine-testing", include_str!("../../tests/import/rtpengine.conf"));
    assert!(lines(&testing).contains(&"ng = [\"udp:0.0.0.0:2223\"]".to_owned()), "{}", testing.toml);
}

#[test]
fn interfaces_become_listeners() {
    becomes("interface = 192.0.2.1", &["[listener.\"default\"]", "media = [\"192.0.2.1:30000-39999\"]"]);
    becomes(
        "interface = pub/192.0.2.1!203.0.113.1;priv/10.0.0.1",
        &[
            "[listener.\"pub\"]",
            "media = [\"192.0.2.1:30000-39999\"]",
            "advertise = [\"203.0.113.1\"]",
            "[listener.\"priv\"]",
            "media = [\"10.0.0.1:30000-39999\"]",
        ],
    );
    becomes(
        "interface = pub/192.0.2.1!203.0.113.1;pub/2001:db8::1",
        &[
            "media = [\"192.0.2.1:30000-39999\", \"[2001:db8::1]:30000-39999\"]",
            "advertise = [\"203.0.113.1\"]",
        ],
    );
    becomes(
        "interface = pub/eth0\nport-min=20000\nport-max=29999",
        &["media = [\"192.0.2.20:20000-29999\", \"[2001:db8::20]:20000-29999\"]"],
    );
    becomes("interface = a/proxy.example.net!proxy.example.net", &["advertise = [\"192.0.2.30\"]"]);
    becomes(
        "interface = rr:1/192.0.2.1;rr:2/192.0.2.2",
        &["[listener.\"rr\"]", "media = [\"192.0.2.1:30000-39999\", \"192.0.2.2:30000-39999\"]"],
    );
    becomes("", &["media = [\"192.0.2.10:30000-39999\"]"]);
    warns("", "no interface: media is heard on 192.0.2.10, by which others reach this machine as it seems");
    warns("interface = nowhere0", "line 2: default: nowhere0 is no address that is known here: passed over");
    warns("interface = 192.0.2.1;192.0.2.1", "line 2: default: 192.0.2.1 stands there already: passed over");
    warns(
        "interface = a/192.0.2.1;b=a",
        "line 2: the alias b is not carried over, because listeners have one name: let requests say a",
    );
    warns(
        "interface = 192.0.2.1!2001:db8::1",
        "line 2: default: 192.0.2.1 and what it advertises are of two families: passed over",
    );
}

#[test]
fn one_address_under_two_names_has_its_ports_shared_out() {
    becomes(
        "interface = pub/10.0.0.1!203.0.113.1;priv/10.0.0.1",
        &["media = [\"10.0.0.1:30000-34999\"]", "media = [\"10.0.0.1:35000-39999\"]"],
    );
    becomes(
        "interface = pub/10.0.0.1!203.0.113.1;pub/10.0.0.2!203.0.113.2",
        &["[listener.\"pub\"]", "[listener.\"pub-2\"]"],
    );
}

#[test]
fn interfaces_in_sections_become_listeners_too() {
    let text = "[rtpengine]\ninterfaces-config = interface\n[interface-pub]\naddress = 192.0.2.1\nadvertised = 203.0.113.1\n\
                port-min = 40000\nport-max = 49999\nexclude-ports = 40002\n[interface-x]\nname = priv\naddress = 10.0.0.1\n\
                [interface-virt]\nalias = pub\n";
    let imported = import(text);
    let expected = [
        "[listener.\"pub\"]",
        "media = [\"192.0.2.1:40000-49999\"]",
        "advertise = [\"203.0.113.1\"]",
        "[listener.\"priv\"]",
        "media = [\"10.0.0.1:30000-39999\"]",
        "[engine]",
    ];
    assert_eq!(lines(&imported), expected);
    let warned: Vec<_> = imported.warnings.iter().map(|it| it.line).collect();
    assert_eq!(warned, [8, 13, 0], "{:?}", imported.warnings);
}

#[test]
fn ports_begin_even_and_end_odd() {
    becomes("interface=192.0.2.1\nport-min=30001\nport-max=40000", &["media = [\"192.0.2.1:30002-39999\"]"]);
    becomes("interface=192.0.2.1\nport-min=10000", &["media = [\"192.0.2.1:10000-39999\"]"]);
    becomes("interface=192.0.2.1\nport-min=1\nport-max=65535", &["media = [\"192.0.2.1:2-65535\"]"]);
    warns(
        "interface=192.0.2.1\nport-min=soon",
        "line 3: port-min is no number from 1 to 65535: 30000 is used",
    );
    warns(
        "interface=192.0.2.1\nport-min=50000\nport-max=40000",
        "line 4: port-min and port-max leave no pair of ports: 30000 to 39999 are used",
    );
    becomes(
        "interface=192.0.2.1\nport-min=2000\nport-max=3000\nlisten-ng=2223",
        &["media = [\"192.0.2.1:2224-2999\"]"],
    );
}

#[test]
fn ng_is_heard_where_it_was() {
    becomes("listen-ng = 2223", &["ng = [\"udp:0.0.0.0:2223\"]"]);
    becomes("listen-ng = 127.0.0.1:2223;[::1]:2223", &["ng = [\"udp:127.0.0.1:2223\", \"udp:[::1]:2223\"]"]);
    becomes(
        "listen-ng=localhost:22222\nlisten-tcp-ng=22222",
        &["ng = [\"udp:127.0.0.1:22222\", \"tcp:0.0.0.0:22222\"]"],
    );
    becomes(
        "listen-http = 127.0.0.1:8080",
        &["api = \"127.0.0.1:8081\"", "ng = [\"http:127.0.0.1:8080\", \"ws:127.0.0.1:8080\"]"],
    );
    warns("listen-ng = nowhere:1", "line 2: listen-ng: its address is not known here: passed over");
    warns("listen-ng = localhost", "line 2: listen-ng has no port: passed over");
    warns(
        "listen-tcp-ng = 1;1",
        "line 2: listen-tcp-ng: 0.0.0.0:1 is left out, because it stands there already",
    );
    warns("", "no listen-ng: NG is spoken nowhere until engine.ng says where");
    warns(
        "listen-udp = 12222",
        "line 2: not carried over: listen-udp, because the old protocol of single lines is not spoken: let the SIP server speak NG (module rtpengine)",
    );
}

#[test]
fn keys_with_a_twin_are_carried_over() {
    becomes("max-sessions = 5000", &["[limit.ng]", "calls = 5000", "ng_pool = [\"ng\"]"]);
    becomes("tos = 185", &["dscp = { rtp = 46 }"]);
    becomes("delete-delay = 0", &["delete_delay = \"0s\""]);
    becomes("num-threads = 8", &["media_shards = 8"]);
    becomes("recording-dir = /srv/a \"b\"", &["recordings = \"/srv/a \\\"b\\\"\""]);
    becomes("dtmf-log-dest = 192.0.2.7:9000", &["ng_events = [\"192.0.2.7:9000\"]"]);
    for (level, word) in [("-1", "error"), ("3", "error"), ("4", "warn"), ("6", "info"), ("7", "debug")] {
        becomes(&format!("log-level = {level}"), &[&format!("log = \"{word}\"")]);
    }
    warns("delete-delay = -1", "line 2: delete-delay is no number from 0 to 86400: 30 seconds are used");
    warns("max-sessions = many", "line 2: max-sessions is no number from 1 to 10000000: there is no limit");
}

#[test]
fn what_is_so_anyway_needs_no_words() {
    let text = "[rtpengine]\ntable=-1\ntimeout=60\nsilent-timeout=3600\nfinal-timeout=0\nmax-sessions=-1\nnum-threads=0\n\
                no-fallback=false\nsip-source=no\ninterface=192.0.2.1\nlisten-ng=127.0.0.1:2223\nlog-srtp-keys=false\n";
    let imported = import(text);
    assert_eq!(imported.warnings, []);
    assert_eq!(lines(&imported).len(), 4, "{}", imported.toml);
}

#[test]
fn passwords_are_not_told() {
    let imported =
        import("[rtpengine]\nredis = secret@192.0.2.1:6379/5\nmysql-pass = secret\njanus-secret = secret\n");
    assert!(!imported.toml.contains("secret@") && !imported.toml.contains("= secret"), "{}", imported.toml);
    assert!(imported.warnings.iter().all(|it| !it.text.contains("secret@")));
    assert_eq!(imported.warnings.iter().filter(|it| it.line > 0).count(), 3);
}

#[test]
fn bad_lines_are_named_by_their_numbers() {
    let text = "early = 1\n[rtpengine]\n# comment\n; comment\n\nno equals sign\n= value\nwings = 2\nwings = 3\n[open\na = 1\n";
    let warnings: Vec<_> = import(text).warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "line 1: stands before any [section]; passed over",
            "line 6: is no `key = value`; passed over",
            "line 7: has no key before its `=`; passed over",
            "line 8: wings counts no more, because line 9 says it again",
            "line 9: not carried over: wings, because Strowger has no such key",
            "line 10: a section has no closing bracket; what follows it is passed over",
            "line 11: [] is not carried over, because [rtpengine] is: --section  takes it instead",
            "no listen-ng: NG is spoken nowhere until engine.ng says where",
            "no interface: media is heard on 192.0.2.10, by which others reach this machine as it seems",
        ]
    );
    let none = import("").warnings;
    assert!(none[0].text.starts_with("no key stands in a section [rtpengine]"), "{none:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_is_imported_can_be_checked(text in "[\\x00-\\x7fäß]{0,200}") {
        lines(&import(&format!("[rtpengine]\n{text}")));
    }

    #[test]
    fn whatever_keys_are_imported_the_file_can_be_checked(
        keys in proptest::collection::vec((key(), value()), 0..12)
    ) {
        let text: String = keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        lines(&import(&format!("[rtpengine]\n{text}")));
    }
}

fn key() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(vec![
        "interface",
        "interface",
        "interface",
        "port-min",
        "port-max",
        "listen-ng",
        "listen-tcp-ng",
        "listen-http",
        "listen-udp",
        "timeout",
        "delete-delay",
        "tos",
        "max-sessions",
        "num-threads",
        "recording-dir",
        "log-level",
        "dtmf-log-dest",
        "table",
        "interfaces-config",
        "redis",
        "wings",
    ])
}

fn value() -> impl Strategy<Value = String> {
    let address = || {
        proptest::sample::select(vec![
            "192.0.2.1",
            "10.0.0.1",
            "any",
            "eth0",
            "0.0.0.0",
            "2001:db8::1",
            "[::1]",
            "224.0.0.1",
            "localhost",
            "x",
        ])
    };
    let interface = (
        proptest::sample::select(vec!["", "a/", "b/", "a:1/", "a:2/", "b=a", "ä {}/", "/"]),
        address(),
        proptest::option::of(address()),
    );
    let interface = interface.prop_map(|(name, address, advertise)| match advertise {
        Some(advertise) => format!("{name}{address}!{advertise}"),
        None => format!("{name}{address}"),
    });
    let port = prop_oneof![0u32..70_000, 29_998u32..30_005, Just(8080), Just(2223)];
    prop_oneof![
        proptest::collection::vec(interface, 0..6).prop_map(|all| all.join(";")),
        port.clone().prop_map(|port| port.to_string()),
        (address(), port.clone()).prop_map(|(address, port)| format!("{address}:{port}")),
        proptest::collection::vec((address(), port), 0..4)
            .prop_map(|all| all.iter().map(|(address, port)| format!("{address}:{port};")).collect()),
        "[ -~]{0,20}",
    ]
}
