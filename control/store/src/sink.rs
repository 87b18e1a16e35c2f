//! Where records go: the entries of `engine.cdr`.

use core::fmt;
use core::str::FromStr;
use http_out::{Url, UrlError};
use std::path::PathBuf;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// `jsonl:PATH`: one line of JSON a record.
    Jsonl(PathBuf),
    /// `csv:PATH`: one line of comma-separated values a record (RFC 4180), after a line with their names.
    Csv(PathBuf),
    /// `webhook:URL`: posted as arrays of JSON.
    Webhook(Url),
}

/// The text names no sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// Not one of the kinds.
    #[error("expected \"jsonl:PATH\", \"csv:PATH\" or \"webhook:URL\"")]
    Kind,
    /// The address of a webhook is none.
    #[error("webhook: {0}")]
    Url(UrlError),
}

impl FromStr for Sink {
    type Err = SinkError;
    fn from_str(text: &str) -> Result<Self, SinkError> {
        match text.split_once(':') {
            Some(("jsonl", path)) if !path.is_empty() => Ok(Sink::Jsonl(path.into())),
            Some(("csv", path)) if !path.is_empty() => Ok(Sink::Csv(path.into())),
            Some(("webhook", url)) => url.parse().map(Sink::Webhook).map_err(SinkError::Url),
            _ => Err(SinkError::Kind),
        }
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sink::Jsonl(path) => write!(f, "jsonl:{}", path.display()),
            Sink::Csv(path) => write!(f, "csv:{}", path.display()),
            Sink::Webhook(url) => write!(f, "webhook:{url}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinks_are_named_by_their_kind() {
        for text in ["jsonl:a:b.jsonl", "csv:/x/cdr.csv", "webhook:https://example.com:8443/cdrs?x=1"] {
            assert_eq!(text.parse::<Sink>().unwrap().to_string(), text);
        }
        for bad in ["", "jsonl:", "csv:", "cdr.jsonl", "webhook", "http://x"] {
            assert_eq!(bad.parse::<Sink>(), Err(SinkError::Kind), "{bad}");
        }
        assert_eq!("webhook:x".parse::<Sink>(), Err(SinkError::Url(UrlError::Scheme)));
    }
}
