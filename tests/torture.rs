//! `strowger inspect` as people run it: every message of RFC 4475, and our own after them. None is left out.
#![expect(clippy::print_stderr, reason = "an absent corpus must be seen")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn every_message_of_rfc_4475_gives_the_expected_result() {
    let rows = table("rfc4475.csv");
    assert_eq!(rows.len(), 49, "none left out");
    let root = std::env::var_os("STROWGER_TESTDATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/testdata"), PathBuf::from);
    let folder = root.join("sip/rfc4475");
    if !folder.is_dir() {
        return eprintln!(
            "ABSENT CORPUS: {} (set STROWGER_TESTDATA); only our own messages are checked",
            folder.display()
        );
    }
    check_all(&folder, &rows);
}

#[test]
fn every_message_of_our_own_gives_the_expected_result() {
    check_all(&data(), &table("expectations.csv"));
}

#[test]
fn what_is_no_message_is_told_and_exits_with_1() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (name, bytes) in [("empty", &b""[..]), ("noise", NOISE), ("http", b"GET / HTTP/1.1\r\n\r\n")] {
        let file = folder.join(format!("torture-{name}.sip"));
        std::fs::write(&file, bytes).expect("a writable folder");
        let (found, code) = inspect(&file);
        assert_eq!((&found["valid"], code), (&Value::Bool(false), 1), "{name}");
        assert!(found["error"].is_string(), "{name}");
    }
    let absent =
        Command::new(env!("CARGO_BIN_EXE_strowger")).args(["inspect", "sip", "no/such/file"]).output();
    let absent = absent.expect("the binary runs");
    assert_eq!(absent.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&absent.stderr).contains("no/such/file"));
}

static NOISE: &[u8] = &[0xff; 70_000];

/// Shows all differences at once: they tend to have one reason.
fn check_all(folder: &Path, rows: &[Row]) {
    let wrong: Vec<_> = rows.iter().filter_map(|row| check(folder, row).err()).collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    eprintln!("{} messages of {}", rows.len(), folder.display());
}

fn check(folder: &Path, row: &Row) -> Result<(), String> {
    let (found, code) = inspect(&folder.join(&row.file));
    let error = found["error"].as_str().unwrap_or_default();
    let response = found["response"].as_u64().map_or(String::new(), |status| status.to_string());
    let valid = row.error.is_empty();
    let wanted = (&Value::Bool(valid), row.error.as_str(), row.response.as_str(), i32::from(!valid));
    let got = (&found["valid"], error, response.as_str(), code);
    if got == wanted {
        Ok(())
    } else {
        Err(format!("{} ({}): {got:?} for {wanted:?}", row.file, row.section))
    }
}

fn inspect(file: &Path) -> (Value, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_strowger")).args(["inspect", "sip"]).arg(file).output();
    let output = output.expect("the binary runs");
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{}: {error}: {}", file.display(), String::from_utf8_lossy(&output.stderr))
    });
    (json, output.status.code().expect("it ends by itself"))
}

struct Row {
    file: String,
    section: String,
    /// Error class; empty for valid syntax.
    error: String,
    /// Status that the message earns whoever sends it; empty for none.
    response: String,
}

fn table(name: &str) -> Vec<Row> {
    let text = std::fs::read_to_string(data().join(name)).expect("a table");
    let row = |line: &str| {
        let cells: Vec<_> = line.split(',').map(str::to_owned).collect();
        let [file, section, error, response] =
            cells.try_into().unwrap_or_else(|cells| panic!("four columns: {cells:?}"));
        Row { file, section, error, response }
    };
    text.lines().skip(1).map(row).collect()
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sip")
}
