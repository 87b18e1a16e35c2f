//! What a user agent that is challenged answers: digest access authentication with MD5 and SHA-256, with and without
//! quality of protection (RFC 2617, RFC 7616, RFC 8760). Checks nobody.

use md5::Md5;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sip::message::{Message, Name, split, trim, unquote};

/// Who says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Name of the user, in From too.
    pub user: String,
    /// Stays out of reports.
    #[serde(skip)]
    pub password: String,
    /// What stands behind the `@` of From and of what is registered; the target's address without it.
    pub domain: Option<String>,
}

/// A hash that both sides know. The later the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    Md5,
    Sha256,
}

impl Algorithm {
    fn hash(self, text: &str) -> String {
        match self {
            Algorithm::Md5 => hex(&Md5::digest(text)),
            Algorithm::Sha256 => hex(&Sha256::digest(text)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a server wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    algorithm: Algorithm,
    /// The hash of name and password is hashed once more, with the nonces.
    session: bool,
    /// As the server wrote it; `None` where it wrote none.
    algorithm_name: Option<String>,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    /// `qop=auth` is offered.
    qop: bool,
    /// The credentials were right, but too old.
    pub stale: bool,
    proxy: bool,
}

impl Challenge {
    /// The strongest challenge of a 401 or 407 that can be answered (RFC 8760 section 2.4).
    pub fn of(response: &Message<'_>) -> Option<Challenge> {
        let (name, proxy) = match response.status()? {
            401 => (Name::WwwAuthenticate, false),
            407 => (Name::ProxyAuthenticate, true),
            _ => return None,
        };
        // Of two that are alike the first is the server's favourite.
        let mut best: Option<Challenge> = None;
        for challenge in response.lines(name).filter_map(|value| Challenge::read(value, proxy)) {
            if best.as_ref().is_none_or(|best| challenge.algorithm > best.algorithm) {
                best = Some(challenge);
            }
        }
        best
    }

    fn read(value: &[u8], proxy: bool) -> Option<Challenge> {
        let value = trim(value);
        let (scheme, rest) = value.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"digest") {
            return None;
        }
        let mut challenge = Challenge {
            algorithm: Algorithm::Md5,
            session: false,
            algorithm_name: None,
            realm: String::new(),
            nonce: String::new(),
            opaque: None,
            qop: false,
            stale: false,
            proxy,
        };
        let (mut quality_named, mut nonce_named) = (false, false);
        for parameter in split(rest, b',').take(32) {
            let Some(at) = parameter.iter().position(|&byte| byte == b'=') else { continue };
            let name = String::from_utf8_lossy(trim(&parameter[..at])).to_ascii_lowercase();
            let value = String::from_utf8_lossy(&unquote(trim(&parameter[at + 1..]))).into_owned();
            match name.as_str() {
                "realm" => challenge.realm = value,
                "nonce" => (challenge.nonce, nonce_named) = (value, true),
                "opaque" => challenge.opaque = Some(value),
                "stale" => challenge.stale = value.eq_ignore_ascii_case("true"),
                "qop" => {
                    quality_named = true;
                    challenge.qop = value.split(',').any(|word| word.trim().eq_ignore_ascii_case("auth"));
                }
                "algorithm" => {
                    let lower = value.to_ascii_lowercase();
                    challenge.session = lower.ends_with("-sess");
                    challenge.algorithm = match lower.strip_suffix("-sess").unwrap_or(&lower) {
                        "md5" => Algorithm::Md5,
                        "sha-256" => Algorithm::Sha256,
                        _ => return None,
                    };
                    challenge.algorithm_name = Some(value);
                }
                _ => (),
            }
        }
        // Only auth-int is offered: that is more than anybody needs here.
        (nonce_named && (challenge.qop || !quality_named)).then_some(challenge)
    }

    /// Name and value of the header field that answers for a request. `nonce` is our own; it must be new each time.
    pub fn answer(&self, account: &Account, method: &str, uri: &str, nonce: &str) -> (&'static str, String) {
        let hash = |text: &str| self.algorithm.hash(text);
        let Challenge { realm, nonce: theirs, .. } = self;
        let mut secret = hash(&format!("{}:{realm}:{}", account.user, account.password));
        if self.session {
            secret = hash(&format!("{secret}:{theirs}:{nonce}"));
        }
        let request = hash(&format!("{method}:{uri}"));
        let count = "00000001";
        let response = if self.qop {
            hash(&format!("{secret}:{theirs}:{count}:{nonce}:auth:{request}"))
        } else {
            hash(&format!("{secret}:{theirs}:{request}"))
        };
        let mut value = format!(
            "Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{}\", response=\"{response}\"",
            escaped(&account.user),
            escaped(realm),
            escaped(theirs),
            escaped(uri)
        );
        if let Some(name) = &self.algorithm_name {
            value += &format!(", algorithm={name}");
        }
        if self.qop || self.session {
            value += &format!(", cnonce=\"{nonce}\"");
        }
        if self.qop {
            value += &format!(", qop=auth, nc={count}");
        }
        if let Some(opaque) = &self.opaque {
            value += &format!(", opaque=\"{}\"", escaped(opaque));
        }
        (if self.proxy { "Proxy-Authorization" } else { "Authorization" }, value)
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip::frame::Framing;

    fn of(status: u16, challenges: &[&str]) -> Option<Challenge> {
        let name = if status == 407 { "Proxy-Authenticate" } else { "WWW-Authenticate" };
        let lines: String = challenges.iter().map(|value| format!("{name}: {value}\r\n")).collect();
        let response = format!(
            "SIP/2.0 {status} Unauthorized\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKa\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:a@h>;tag=2\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n{lines}Content-Length: 0\r\n\r\n"
        );
        Challenge::of(&Message::parse(response.as_bytes(), Framing::Datagram).expect("valid"))
    }

    fn account(user: &str, password: &str) -> Account {
        Account { user: user.into(), password: password.into(), domain: None }
    }

    fn response(value: &str) -> &str {
        value.split("response=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a response")
    }

    #[test]
    fn the_examples_of_the_rfcs_come_out() {
        // RFC 2617 section 3.5.
        let old = of(
            401,
            &["Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
               nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\""],
        )
        .unwrap();
        let mufasa = account("Mufasa", "Circle Of Life");
        let (name, value) = old.answer(&mufasa, "GET", "/dir/index.html", "0a4f113b");
        assert_eq!((name, response(&value)), ("Authorization", "6629fae49393a05397450978507c4ef1"));
        assert!(value.contains("opaque=\"5ccc069c403ebaf9f0171e9517f40e41\""), "{value}");
        assert!(!value.contains("algorithm"), "{value}");

        // RFC 7616 section 3.9.1.
        let nonce = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v";
        let challenge = |algorithm: &str| {
            format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, nonce=\"{nonce}\""
            )
        };
        let mufasa = account("Mufasa", "Circle of Life");
        let ours = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        for (algorithm, expected) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let (_, value) =
                of(401, &[&challenge(algorithm)]).unwrap().answer(&mufasa, "GET", "/dir/index.html", ours);
            assert_eq!(response(&value), expected);
        }
    }

    #[test]
    fn the_strongest_that_is_known_is_answered() {
        let all = [
            "Digest realm=\"r\", nonce=\"1\", algorithm=MD5",
            "Digest realm=\"r\", nonce=\"2\", algorithm=SHA-512-256",
            "Digest realm=\"r\", nonce=\"3\", algorithm=SHA-256, stale=TRUE",
            "Basic realm=\"r\"",
        ];
        let best = of(407, &all).unwrap();
        assert!(best.nonce == "3" && best.stale);
        let (name, value) = best.answer(&account("a\"b", "x"), "INVITE", "sip:1@h", "n");
        assert_eq!(name, "Proxy-Authorization");
        assert!(value.contains("username=\"a\\\"b\"") && !value.contains("qop"), "{value}");
    }

    #[test]
    fn what_cannot_be_answered_is_none() {
        for bad in ["Digest realm=\"r\"", "Basic x", "Dig", "Digest nonce=\"1\", qop=\"auth-int\"", ""] {
            assert_eq!(of(401, &[bad]), None, "{bad}");
        }
        assert_eq!(of(403, &["Digest realm=\"r\", nonce=\"1\""]), None);
    }
}
