//! What is answered: `result`, what belongs to it, and a warning about what was passed over. Knows no notation.

use crate::failure::Failure;
use crate::value::{Dict, Value};

/// A reply as it grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply(pub Dict);

impl Reply {
    /// `result: ok`.
    pub fn ok() -> Reply {
        Reply(Dict::new().with("result", Value::text("ok")))
    }

    /// `result: pong`.
    pub fn pong() -> Reply {
        Reply(Dict::new().with("result", Value::text("pong")))
    }

    /// `result: error` with its reason.
    pub fn error(failure: Failure) -> Reply {
        let reason = Value::text(failure.to_string());
        Reply(Dict::new().with("result", Value::text("error")).with("error-reason", reason))
    }

    /// `result: load limit`, only for clients that say that they know it: they try the next proxy.
    pub fn load_limit(message: &str) -> Reply {
        Reply(Dict::new().with("result", Value::text("load limit")).with("message", Value::text(message)))
    }

    /// Adds an entry.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Value>) -> &mut Reply {
        self.0.put(key, value);
        self
    }

    /// The same, in one expression.
    #[must_use]
    pub fn with(mut self, key: impl Into<Vec<u8>>, value: impl Into<Value>) -> Reply {
        self.put(key, value);
        self
    }

    /// Adds to `warning`: what was done all the same, or not at all. An error has its reason and needs no warning.
    pub fn warn(&mut self, text: &str) -> &mut Reply {
        if self.result() == "error" {
            return self;
        }
        match self.0.0.iter_mut().find(|(key, _)| key == b"warning") {
            Some((_, Value::Text(warning))) => {
                warning.extend_from_slice(b"; ");
                warning.extend_from_slice(text.as_bytes());
            }
            Some(_) | None => {
                self.0.put("warning", Value::text(text));
            }
        }
        self
    }

    /// One warning about all that a request has said and nobody knows: [`crate::request::Request::unknown`].
    pub fn warn_of_unknown(&mut self, unknown: &[String]) -> &mut Reply {
        if !unknown.is_empty() {
            self.warn(&format!("passed over, because unknown or not supported: {}", unknown.join(", ")));
        }
        self
    }

    /// The word of `result`, for counters: `ok`, `pong`, `error`, `load limit`.
    pub fn result(&self) -> &'static str {
        let result = self.0.get("result").and_then(Value::as_text);
        ["ok", "pong", "error", "load limit"]
            .into_iter()
            .find(|word| result == Some(word.as_bytes()))
            .unwrap_or("ok")
    }

    /// The dictionary, to be written by [`crate::frame::write_reply`].
    pub fn into_dict(self) -> Dict {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: Reply) -> String {
        String::from_utf8(reply.into_dict().to_bencode()).unwrap()
    }

    #[test]
    fn each_result_has_its_words() {
        assert_eq!(written(Reply::ok()), "d6:result2:oke");
        assert_eq!(written(Reply::pong()), "d6:result4:ponge");
        assert_eq!(
            written(Reply::error(Failure::UnknownCall)),
            "d6:result5:error12:error-reason15:Unknown call-ide"
        );
        assert_eq!(written(Reply::load_limit("full")), "d6:result10:load limit7:message4:fulle");
        let words = [Reply::ok(), Reply::pong(), Reply::error(Failure::NoSdp), Reply::load_limit("")];
        assert_eq!(words.each_ref().map(Reply::result), ["ok", "pong", "error", "load limit"]);
    }

    #[test]
    fn warnings_add_up_and_errors_have_none() {
        let mut reply = Reply::ok();
        reply.warn_of_unknown(&[]);
        assert_eq!(reply, Reply::ok());
        reply.warn("Unknown call-id").warn_of_unknown(&["wings".to_owned(), "fly".to_owned()]);
        let warning = "Unknown call-id; passed over, because unknown or not supported: wings, fly";
        assert_eq!(reply.0.get("warning"), Some(&Value::text(warning)));
        assert_eq!(*Reply::error(Failure::NoSdp).warn("x"), Reply::error(Failure::NoSdp));
    }
}
