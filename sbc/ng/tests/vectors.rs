//! Bencode as an independent encoder wrote it, and what must be refused.
#![expect(clippy::print_stderr, reason = "an absent corpus must be seen")]

use ng::bencode::Value;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

#[test]
fn what_others_encoded_is_read_as_they_meant_it() {
    let Some(vectors) = vectors() else { return };
    for row in rows(&vectors, "valid") {
        let bytes = bytes_of(row);
        let value = Value::read(&bytes).unwrap_or_else(|error| panic!("{}: {error}", row["name"]));
        match row.get("json_hex_string") {
            Some(hex) => assert_eq!(value.text(), Some(&unhex(hex.as_str().expect("text"))[..])),
            None => assert!(same(&row["json"], value), "{}: {value:?}", row["name"]),
        }
        ng::fuzz::bencode(&bytes);
    }
}

#[test]
fn what_some_send_and_none_should_is_read_all_the_same() {
    let Some(vectors) = vectors() else { return };
    for row in rows(&vectors, "tolerate") {
        assert!(Value::read(&bytes_of(row)).is_ok(), "{}", row["name"]);
    }
}

#[test]
fn what_is_no_bencode_is_refused() {
    let Some(vectors) = vectors() else { return };
    for row in rows(&vectors, "invalid") {
        let bytes = bytes_of(row);
        assert!(Value::read(&bytes).is_err(), "{}", row["name"]);
        ng::fuzz::bencode(&bytes);
    }
}

fn same(json: &Json, value: Value<'_>) -> bool {
    match (json, value) {
        (Json::Number(one), Value::Int(two)) => one.as_i64() == Some(two),
        (Json::String(one), Value::Text(two)) => one.as_bytes() == two,
        (Json::Array(one), Value::List(two)) => {
            one.len() == two.iter().count() && one.iter().zip(two.iter()).all(|(one, two)| same(one, two))
        }
        (Json::Object(one), Value::Dict(two)) => {
            one.len() == two.iter().count()
                && one.iter().all(|(key, one)| two.get(key).is_some_and(|two| same(one, two)))
        }
        _ => false,
    }
}

fn rows<'a>(vectors: &'a Json, kind: &str) -> &'a [Json] {
    let rows = vectors[kind].as_array().expect("a list of vectors");
    assert!(!rows.is_empty());
    rows
}

fn bytes_of(row: &Json) -> Vec<u8> {
    unhex(row["hex"].as_str().expect("bytes in hex"))
}

fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16).expect("a hex digit") as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The vectors are not part of the project; says so where they are absent.
fn vectors() -> Option<Json> {
    let root = std::env::var_os("STROWGER_TESTDATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata"),
        PathBuf::from,
    );
    let path = root.join("vectors/bencode.json");
    let Ok(text) = std::fs::read(&path) else {
        eprintln!(
            "ABSENT CORPUS: {} (set STROWGER_TESTDATA); only our own cases are checked",
            path.display()
        );
        return None;
    };
    Some(serde_json::from_slice(&text).expect("vectors as JSON"))
}
