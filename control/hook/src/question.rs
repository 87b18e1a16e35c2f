//! What is asked: the facts of one call as JSON. Two questions that differ only in the call are the same question.

use ledger::HookQuestion;
use serde_json::{Map, Value};

/// The body of the request: `call_id`, the facts, and `headers` as an object.
pub fn body(question: &HookQuestion) -> Vec<u8> {
    let mut body = object(question);
    body.insert("call_id".to_owned(), Value::String(question.call_id.clone()));
    Value::Object(body).to_string().into_bytes()
}

/// What makes two questions the same: all but the call.
pub fn key(question: &HookQuestion) -> Vec<u8> {
    let mut key = question.url.as_bytes().to_vec();
    key.push(b' ');
    key.extend_from_slice(Value::Object(object(question)).to_string().as_bytes());
    key
}

fn object(question: &HookQuestion) -> Map<String, Value> {
    let mut object = Map::new();
    let mut headers = Map::new();
    for (name, value) in &question.facts {
        match name.strip_prefix("headers.") {
            Some(header) => add(&mut headers, header, value),
            None => add(&mut object, name, value),
        }
    }
    object.insert("headers".to_owned(), Value::Object(headers));
    object
}

/// Several values of one name are one list (RFC 3261 section 7.3.1).
fn add(object: &mut Map<String, Value>, name: &str, value: &str) {
    match object.get_mut(name) {
        Some(Value::String(known)) => {
            known.push_str(", ");
            known.push_str(value);
        }
        _ => {
            object.insert(name.to_owned(), Value::String(value.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    #[test]
    fn a_question_is_json_and_equal_but_for_its_call() {
        let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let question = HookQuestion {
            url: "http://a/".into(),
            deadline: Duration::from_millis(200),
            cache: Duration::ZERO,
            call_id: "c1".into(),
            facts: vec![
                fact("from", "2001"),
                fact("to", "+1\"\n"),
                fact("headers.X-A", "1"),
                fact("headers.X-B", "é"),
                fact("headers.X-A", "2"),
            ],
        };
        assert_eq!(
            String::from_utf8(body(&question)).unwrap(),
            r#"{"call_id":"c1","from":"2001","headers":{"X-A":"1, 2","X-B":"é"},"to":"+1\"\n"}"#
        );
        let again = HookQuestion { call_id: "c2".into(), ..question.clone() };
        let elsewhere = HookQuestion { url: "http://b/".into(), ..question.clone() };
        let other = HookQuestion { facts: vec![fact("from", "2002")], ..question.clone() };
        assert_eq!(key(&question), key(&again));
        assert_ne!(key(&question), key(&elsewhere));
        assert_ne!(key(&question), key(&other));
    }
}
