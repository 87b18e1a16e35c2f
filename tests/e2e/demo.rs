//! Commands that need no peer: the demo, the checks, and what each command says of itself.

use crate::support::Folder;
use crate::support::command::alone;
use std::path::Path;

fn data(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name).display().to_string()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_demo_shows_calls_without_loss() {
    let folder = Folder::new();
    let file = folder.path().join("demo.json");
    let output = alone(&[
        "demo",
        "--calls",
        "10",
        "--cps",
        "10",
        "--seconds",
        "4",
        "--json",
        file.to_str().expect("a name"),
    ]);
    let said = text(&output.stdout);
    let json = std::fs::read_to_string(&file).expect("the findings are written");
    let report: serde_json::Value = serde_json::from_str(&json).expect("they are JSON");
    let verdict = &report["verdict"];
    assert!(verdict["complaints"].as_array().is_some_and(Vec::is_empty), "{said}\n{}", text(&output.stderr));
    // How late the generator was is the test machine's affair; then the figures are not believed.
    assert_eq!(output.status.code(), Some(i32::from(!verdict["invalid"].is_null())), "{said}");
    assert!(report["media"]["counts"]["lost"] == 0, "{json}");
    assert!(!said.contains('\r'), "a pipe gets no live table: {said}");
}

#[test]
fn the_examples_of_the_manual_are_valid() {
    let output = alone(&["check", &data("config/smallest.toml")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = alone(&["check", &data("config/smallest.toml"), "--defaults"]);
    assert!(text(&output.stdout).contains("engine.orphan"), "{}", text(&output.stdout));
    let output = alone(&["check", &data("config/fuller.toml")]);
    assert_ne!(output.status.code(), None);
    let errors = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{errors}");
}

#[test]
fn an_rtpengine_conf_becomes_a_configuration_that_is_valid() {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("control/config/tests/import/rtpengine.conf");
    let output = alone(&["config", "import", conf.to_str().expect("a name")]);
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("line 13: not carried over: listen-cli"), "{said}");
    let folder = Folder::new();
    let file = folder.path().join("strowger.toml");
    std::fs::write(&file, &output.stdout).expect("a file");
    let output = alone(&["check", file.to_str().expect("a name")]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = alone(&["config", "import", "nowhere.conf"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

#[test]
fn a_wrong_configuration_is_told_with_line_and_nearest_key() {
    let output = alone(&["check", &data("config/bad-many.toml")]);
    assert_eq!(output.status.code(), Some(2));
    let errors = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(errors.contains("bad-many.toml:"), "{errors}");
    let output = alone(&["run", &data("config/bad-many.toml")]);
    assert_eq!(output.status.code(), Some(2), "an engine does not start with it");
}

#[test]
fn inspect_tells_what_a_message_is() {
    let folder = Folder::new();
    let write = |name: &str, bytes: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).expect("writable");
        file.display().to_string()
    };
    let invite = "INVITE sip:1@h.test SIP/2.0\r\nVia: SIP/2.0/UDP h.test;branch=z9hG4bKa\r\nFrom: <sip:2@h.test>;tag=1\r\n\
                  To: <sip:1@h.test>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:2@h.test>\r\n\
                  Content-Length: 0\r\n\r\n";
    for (name, bytes, valid) in
        [("good", invite.to_owned(), true), ("bad", invite.replace("CSeq: 1 INVITE", "CSeq: x"), false)]
    {
        let output = alone(&["inspect", "sip", &write(name, &bytes)]);
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(json["valid"], valid, "{json:#}");
    }
    let sdp =
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n";
    let output = alone(&["inspect", "sdp", &write("sdp", sdp)]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["valid"], true, "{json:#}");
}

#[test]
fn doctor_knows_this_host() {
    let output = alone(&["doctor"]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}");
    for word in ["epoll", "uring", "descriptors", "cores"] {
        assert!(said.to_lowercase().contains(word), "doctor says nothing of {word}: {said}");
    }
}

#[test]
fn the_help_of_each_command_has_an_example() {
    let commands: &[&[&str]] = &[
        &["run"],
        &["check"],
        &["demo"],
        &["load"],
        &["load", "sip"],
        &["doctor"],
        &["inspect"],
        &["calls"],
        &["calls", "list"],
        &["calls", "show"],
        &["calls", "watch"],
        &["calls", "trace"],
        &["calls", "hangup"],
        &["trunks"],
        &["config"],
        &["config", "apply"],
        &["config", "rollback"],
        &["log"],
        &["log", "set"],
        &["drain"],
    ];
    for command in commands {
        let output = alone(&[command, &["--help"][..]].concat());
        let help = text(&output.stdout);
        assert!(output.status.success(), "{command:?}");
        assert!(help.contains("Example: strowger "), "{command:?} has no example:\n{help}");
    }
}

#[test]
fn wrong_usage_is_exit_status_2() {
    for arguments in
        [&["cals"][..], &["check", "no-such-file.toml"], &["demo", "--calls", "0"], &["inspect", "sip"]]
    {
        assert_eq!(alone(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
