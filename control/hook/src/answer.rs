//! What may be answered. Everything is checked here, since it ends up in messages to others: lengths, characters, and
//! headers that are not the hook's to set. What does not fit is no answer.

use core::time::Duration;
use ledger::HookAnswer;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
#[serde(tag = "action", rename_all = "lowercase", deny_unknown_fields)]
enum Wire {
    Continue {},
    Reject {
        status: u16,
        reason: Option<String>,
    },
    Route {
        via: Option<String>,
        to: Option<String>,
        from: Option<String>,
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// Seconds.
        max_duration: Option<f64>,
    },
}

/// Longest name, number or phrase.
const TEXT_MAX: usize = 128;
/// Longest value of a header.
const VALUE_MAX: usize = 512;
/// Headers that one answer may set.
const HEADERS_MAX: usize = 16;
/// Longest call that an answer may allow, in seconds: ten years.
const DURATION_MAX: f64 = 3650.0 * 86_400.0;

/// Reads an answer.
///
/// # Errors
/// What is wrong with it, for whoever wrote the hook.
pub fn read(body: &[u8]) -> Result<HookAnswer, String> {
    match serde_json::from_slice(body).map_err(|error| error.to_string())? {
        Wire::Continue {} => Ok(HookAnswer::Continue),
        Wire::Reject { status, reason } => {
            if !(300..700).contains(&status) {
                return Err(format!("status {status}: expected 300 to 699"));
            }
            reason.iter().try_for_each(|reason| plain("reason", reason))?;
            Ok(HookAnswer::Reject { status, reason })
        }
        Wire::Route { via, to, from, headers, max_duration } => {
            via.iter().try_for_each(|name| word("via", name))?;
            to.iter().try_for_each(|number| word("to", number))?;
            from.iter().try_for_each(|number| word("from", number))?;
            if headers.len() > HEADERS_MAX {
                return Err(format!("headers: at most {HEADERS_MAX}"));
            }
            headers.iter().try_for_each(|(name, value)| header(name, value))?;
            let max_duration = max_duration.map(seconds).transpose()?;
            Ok(HookAnswer::Route { via, to, from, headers: headers.into_iter().collect(), max_duration })
        }
    }
}

fn seconds(seconds: f64) -> Result<Duration, String> {
    let fits = (1.0..=DURATION_MAX).contains(&seconds);
    fits.then(|| Duration::from_secs_f64(seconds))
        .ok_or_else(|| format!("max_duration {seconds}: expected seconds, at least 1"))
}

/// A name or a number: printable ASCII that needs no quotes in a URI or a header.
fn word(field: &str, text: &str) -> Result<(), String> {
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"\"<>@;?\\".contains(&byte);
    if text.is_empty() || text.len() > TEXT_MAX || !text.bytes().all(fits) {
        return Err(format!("{field}: expected 1 to {TEXT_MAX} plain characters without spaces"));
    }
    Ok(())
}

/// A phrase on one line.
fn plain(field: &str, text: &str) -> Result<(), String> {
    if text.len() > TEXT_MAX || text.chars().any(char::is_control) {
        return Err(format!("{field}: expected at most {TEXT_MAX} bytes on one line"));
    }
    Ok(())
}

/// Only headers that mean nothing to SIP itself: `X-` and `P-`.
fn header(name: &str, value: &str) -> Result<(), String> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let start = name.get(..2).is_some_and(|start| ["x-", "p-"].contains(&&*start.to_ascii_lowercase()));
    if !start || name.len() > TEXT_MAX || !name.bytes().all(token) {
        return Err(format!("headers: {name:?} is no name that may be set; expected X-… or P-…"));
    }
    if value.len() > VALUE_MAX || value.chars().any(char::is_control) {
        return Err(format!("headers: {name}: expected at most {VALUE_MAX} bytes on one line"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_three_decisions_are_read() {
        let answer = |text: &str| read(text.as_bytes()).unwrap();
        assert_eq!(answer(r#"{"action":"continue"}"#), HookAnswer::Continue);
        assert_eq!(
            answer(r#"{"action":"reject","status":486,"reason":"Try later"}"#),
            HookAnswer::Reject { status: 486, reason: Some("Try later".into()) }
        );
        assert_eq!(
            answer(r#"{"action":"reject","status":603}"#),
            HookAnswer::Reject { status: 603, reason: None }
        );
        assert_eq!(
            answer(
                r#"{"action":"route","via":"acme","to":"+1503","headers":{"X-B":"2","x-a":"é"},"max_duration":60.5}"#
            ),
            HookAnswer::Route {
                via: Some("acme".into()),
                to: Some("+1503".into()),
                from: None,
                headers: vec![("X-B".into(), "2".into()), ("x-a".into(), "é".into())],
                max_duration: Some(Duration::from_millis(60_500)),
            }
        );
    }

    #[test]
    fn anything_else_is_no_answer() {
        for text in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"action":"dial"}"#,
            r#"{"action":"continue","vai":"x"}"#,
            r#"{"action":"reject"}"#,
            r#"{"action":"reject","status":"486"}"#,
            r#"{"action":"reject","status":200}"#,
            r#"{"action":"reject","status":700}"#,
            r#"{"action":"reject","status":486,"reason":"a\r\nVia: x"}"#,
            r#"{"action":"route","via":""}"#,
            r#"{"action":"route","via":"a b"}"#,
            r#"{"action":"route","via":"a","to":"1@evil.example;maddr=x"}"#,
            r#"{"action":"route","via":"a","to":1503}"#,
            r#"{"action":"route","via":"a","headers":{"Via":"x"}}"#,
            r#"{"action":"route","via":"a","headers":{"X-A":"1\r\nVia: x"}}"#,
            r#"{"action":"route","via":"a","headers":{"X-A: 1\r\nVia":"x"}}"#,
            r#"{"action":"route","via":"a","max_duration":0}"#,
            r#"{"action":"route","via":"a","max_duration":1e300}"#,
            r#"{"action":"route","via":"a","max_duration":"4h"}"#,
            "\u{0}\u{1}",
        ] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
        let long = format!(r#"{{"action":"route","via":"{}"}}"#, "x".repeat(TEXT_MAX + 1));
        assert!(read(long.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_answer_carries_a_line_break(body in r#"\{"action":"(reject|route)"(,"(status|reason|via|to|headers)":("[^"]{0,8}"|486|\{"X-[^"]{0,4}":"[^"]{0,8}"\})){0,4}\}"#) {
            match read(body.as_bytes()) {
                Ok(HookAnswer::Reject { reason, .. }) => prop_assert!(!reason.unwrap_or_default().contains(['\r', '\n'])),
                Ok(HookAnswer::Route { headers, .. }) => {
                    for (name, value) in headers {
                        prop_assert!(!name.contains(['\r', '\n', ':']) && !value.contains(['\r', '\n']));
                    }
                }
                _ => {}
            }
        }
    }
}
