//! Who may do what: bearer tokens with roles, compared in constant time. Without tokens only a loopback listener is
//! served, and only for callers that a web page cannot impersonate.

use crate::problem::{Class, Problem};
use crate::server::Api;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, uri::Authority};
use axum::middleware::Next;
use axum::response::Response;
use core::net::IpAddr;
use std::str::FromStr;

/// What a token allows; each includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look at calls and objects, scrape metrics.
    Read,
    /// Also end calls.
    Calls,
    /// Also see and change the configuration, drain, set logs.
    Admin,
}

impl Role {
    /// As in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Calls => "calls",
            Role::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = TokenError;
    fn from_str(text: &str) -> Result<Self, TokenError> {
        [Role::Read, Role::Calls, Role::Admin]
            .into_iter()
            .find(|role| role.name() == text)
            .ok_or(TokenError::Role)
    }
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is empty, or has characters that no `Authorization` header can carry.
    #[error("expected a token of printable ASCII without spaces")]
    Token,
    /// The role is unknown.
    #[error("expected \"read\", \"calls\" or \"admin\"")]
    Role,
}

/// The tokens that are accepted. Never printed.
#[derive(Clone, Default)]
pub struct Tokens {
    tokens: Vec<(Vec<u8>, Role)>,
}

impl core::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Tokens({})", self.tokens.len())
    }
}

impl Tokens {
    /// Accepts one more.
    ///
    /// # Errors
    /// [`TokenError::Token`]
    pub fn add(&mut self, token: &str, role: Role) -> Result<(), TokenError> {
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Token);
        }
        self.tokens.push((token.as_bytes().to_vec(), role));
        Ok(())
    }

    /// Nobody needs (or has) one.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The role of a token. All are compared, each over the whole of what was given, so that time tells nothing.
    fn role(&self, given: &[u8]) -> Option<Role> {
        let mut found = None;
        for (token, role) in &self.tokens {
            let mut differs = u8::from(token.len() != given.len());
            for (i, byte) in given.iter().enumerate() {
                differs |= byte ^ token[i % token.len()];
            }
            if core::hint::black_box(differs) == 0 {
                found = found.max(Some(*role));
            }
        }
        found
    }
}

/// Lets a request through to a route that needs a role.
pub(crate) async fn guard(
    State((api, needed)): State<(Api, Option<Role>)>,
    request: Request,
    next: Next,
) -> Response {
    match needed.map_or(Ok(()), |role| check(&api.tokens, role, request.headers())) {
        Ok(()) => next.run(request).await,
        Err(problem) => axum::response::IntoResponse::into_response(problem),
    }
}

fn check(tokens: &Tokens, needed: Role, headers: &HeaderMap) -> Result<(), Problem> {
    if tokens.is_empty() {
        return check_local(headers);
    }
    let given = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    let token = given.and_then(|value| {
        let (scheme, token) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())
    });
    match token.and_then(|token| tokens.role(token)) {
        None => {
            Err(Problem::new(Class::Unauthorized, "a known token as Authorization: Bearer TOKEN is needed"))
        }
        Some(role) if role < needed => {
            let detail = format!("the token's role is {}; {} is needed", role.name(), needed.name());
            Err(Problem::new(Class::Forbidden, detail))
        }
        Some(_) => Ok(()),
    }
}

/// Without tokens every local process is welcome, but a page in a browser on this machine is not: neither one of
/// another origin nor one whose name was pointed at loopback after it was loaded.
fn check_local(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |detail| Err(Problem::new(Class::Forbidden, detail));
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let local = host.and_then(|host| host.parse::<Authority>().ok()).is_some_and(|authority| {
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
    });
    if host.is_some() && !local {
        return refused("without tokens the Host must be an address or localhost");
    }
    match headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or("")) {
        Some(origin) if host.is_none_or(|host| origin.strip_prefix("http://") != Some(host)) => {
            refused("requests of other origins need a token")
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_token_gives_its_role_and_no_more() {
        let mut tokens = Tokens::default();
        tokens.add("reader", Role::Read).unwrap();
        tokens.add("admin-token", Role::Admin).unwrap();
        assert_eq!(tokens.add("", Role::Admin), Err(TokenError::Token));
        assert_eq!(tokens.add("two words", Role::Admin), Err(TokenError::Token));
        let status = |value: &str, role| {
            check(&tokens, role, &headers(&[("authorization", value)])).err().map(|p| p.status())
        };
        assert_eq!(status("Bearer reader", Role::Read), None);
        assert_eq!(status("bearer admin-token ", Role::Calls), None);
        assert_eq!(status("Bearer reader", Role::Calls), Some(403));
        for wrong in ["Bearer readerreader", "Bearer reade", "Bearer ", "Bearer", "Basic reader", "reader"] {
            assert_eq!(status(wrong, Role::Read), Some(401), "{wrong}");
        }
        assert_eq!(check(&tokens, Role::Read, &HeaderMap::new()).unwrap_err().status(), 401);
        assert_eq!(("calls".parse(), "root".parse::<Role>()), (Ok(Role::Calls), Err(TokenError::Role)));
    }

    #[test]
    fn an_open_listener_is_closed_to_web_pages() {
        let allowed =
            |pairs: &[(&'static str, &str)]| check(&Tokens::default(), Role::Admin, &headers(pairs)).is_ok();
        assert!(allowed(&[]));
        assert!(allowed(&[("host", "127.0.0.1:8080")]));
        assert!(allowed(&[("host", "[::1]:8080")]));
        assert!(allowed(&[("host", "localhost:8080"), ("origin", "http://localhost:8080")]));
        assert!(!allowed(&[("host", "evil.example:8080")]), "a name that was pointed at loopback");
        assert!(!allowed(&[("host", "127.0.0.1:8080"), ("origin", "http://evil.example")]));
        assert!(!allowed(&[("host", "127.0.0.1:8080"), ("origin", "null")]));
        assert!(!allowed(&[("host", "")]));
    }
}
