//! The words of the configuration. Each reads from one text, prints as a text that reads back equal, and suggests what
//! was probably meant.

mod time; // durations, rates
mod address; // hosts, sources, URIs
mod listening; // where we are heard
mod number; // numbers, patterns, codes
mod codec; // codecs by their names

pub use address::{DnsServer, Host, HostPort, Network, Source, TargetUri};
pub use codec::Codec;
pub(crate) use codec::makeable;
pub use listening::{Dscp, MediaAddress, SipAddress};
pub use number::{Code, CodeRange, Digits, NumberPattern, NumberTemplate, UserPart};
pub(crate) use number::{pattern_text, same_pattern};
pub use time::{Rate, RateLimit, Timer};

use crate::describe::choices;
use crate::value::{Bad, Word};
pub use b2bua::spec::Texts;

/// The name of an object; whether it is defined shows after reading.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Name(pub String);

impl Name {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl core::ops::Deref for Name {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl core::fmt::Display for Name {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Word for Name {
    const FORM: &'static str = "a name";

    fn parse(text: &str) -> Result<Self, Bad> {
        match crate::objects::check_name(text) {
            Ok(()) => Ok(Name(text.to_owned())),
            Err(why) => Err(Bad::new(why)),
        }
    }

    fn word(&self) -> String {
        self.0.clone()
    }
}

impl Word for String {
    const FORM: &'static str = "a text";

    fn parse(text: &str) -> Result<Self, Bad> {
        match text.chars().count() {
            0 => Err(Bad::new("is empty")),
            1..=4096 if !text.contains('\0') => Ok(text.to_owned()),
            _ => Err(Bad::new("is too long or holds a zero byte")),
        }
    }

    fn word(&self) -> String {
        self.clone()
    }
}

/// Where HTTP is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(pub String);

impl Word for Url {
    const FORM: &'static str = "\"http://HOST/…\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        if text.starts_with("https://") {
            // Not in silence: a record or question that cannot be sent is worse than a file that is refused.
            return Err(Bad::new(
                "needs TLS, which is not in effect yet; a proxy on this machine can add it",
            ));
        }
        let Some(rest) = text.strip_prefix("http://") else {
            return Err(Bad::new("is no HTTP address"));
        };
        if text.len() > 2048 || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Bad::new("is too long or holds a space"));
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
        if authority.contains('@') {
            return Err(Bad::new("holds a user or password"));
        }
        HostPort::read(authority).map(|_| Url(text.to_owned()))
    }

    fn word(&self) -> String {
        self.0.clone()
    }
}

choices!(for Texts {
    /// RFC 3261's.
    Rfc = "rfc";
    /// Those of the OpenSIPS configurations that some sites replace.
    Opensips = "opensips";
});

choices!(for command::Learn {
    /// As the SDP says, corrected behind NAT within 3 s, then locked.
    Window = "window";
    /// Only from the address in the SDP.
    Strict = "strict";
    /// Sent to the address in the SDP, taken from anywhere.
    Signalled = "signalled";
    /// As `window`, and again when the locked source is silent.
    Handover = "handover";
});

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Every word of the first list prints as the second says and reads back equal; the others are refused with the
    /// suggestion that stands beside them.
    pub(crate) fn check<T: Word + core::fmt::Debug>(fine: &[(&str, &str)], refused: &[(&str, Option<&str>)]) {
        for (text, printed) in fine {
            let value = T::parse(text).unwrap_or_else(|bad| panic!("{text}: {bad:?}"));
            assert_eq!(value.word(), *printed, "{text}");
            assert_eq!(T::parse(&value.word()).unwrap(), value, "{text}");
        }
        for (text, nearest) in refused {
            match T::parse(text) {
                Ok(value) => panic!("{text} should be refused, not read as {value:?}"),
                Err(bad) => assert_eq!(bad.nearest.as_deref(), *nearest, "{text}: {}", bad.why),
            }
        }
    }

    #[test]
    fn urls() {
        check::<Url>(
            &[
                ("http://10.0.0.9/route", "http://10.0.0.9/route"),
                ("http://h.example:8443", "http://h.example:8443"),
            ],
            &[
                ("ftp://x", None),
                ("https://h.example/", None),
                ("http://", None),
                ("http://u:p@h/", None),
                ("http://a b/", None),
            ],
        );
    }
}
