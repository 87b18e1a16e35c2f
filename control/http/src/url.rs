//! Where a request goes (RFC 3986, as far as `http` and `https` need it). Resolves nothing.

use core::fmt;
use core::str::FromStr;

/// An absolute address of `http` or `https`, checked once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Url {
    secure: bool,
    /// Name or address; an IPv6 address without its brackets.
    host: String,
    port: u16,
    /// Path and query, beginning with `/`.
    target: String,
}

/// Why a text is no such address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Neither `http://` nor `https://`.
    #[error("expected \"http://HOST…\" or \"https://HOST…\"")]
    Scheme,
    /// No host, or octets that no host has.
    #[error("the host is missing or malformed")]
    Host,
    /// Not 1 to 65535.
    #[error("the port is no number from 1 to 65535")]
    Port,
    /// `user:password@`: secrets belong into headers, which are never logged.
    #[error("no user and password in an address; use a header")]
    Credentials,
    /// Blanks or octets beyond ASCII, which must be percent-encoded.
    #[error("blanks and octets beyond ASCII must be percent-encoded")]
    Characters,
}

impl Url {
    /// Whether TLS is asked for.
    pub fn secure(&self) -> bool {
        self.secure
    }

    /// Name or address; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, also when it is the scheme's own.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, beginning with `/`.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// What the Host header says.
    pub fn authority(&self) -> String {
        let own = self.port == own_port(self.secure);
        match (self.host.contains(':'), own) {
            (true, true) => format!("[{}]", self.host),
            (true, false) => format!("[{}]:{}", self.host, self.port),
            (false, true) => self.host.clone(),
            (false, false) => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.target)
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let secure = match () {
            () if scheme.eq_ignore_ascii_case("http") => false,
            () if scheme.eq_ignore_ascii_case("https") => true,
            () => return Err(UrlError::Scheme),
        };
        if !text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b)) {
            return Err(UrlError::Characters);
        }
        // What follows `#` is for the reader's eyes and never sent.
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err(UrlError::Credentials);
        }
        let (host, port) = split_port(authority)?;
        let port = match port {
            None => own_port(secure),
            Some(port) if port.bytes().all(|b| b.is_ascii_digit()) => {
                port.parse().ok().filter(|port| *port > 0).ok_or(UrlError::Port)?
            }
            Some(_) => return Err(UrlError::Port),
        };
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Url { secure, host: host.to_ascii_lowercase(), port, target })
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), UrlError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(UrlError::Host)?;
        host.parse::<core::net::Ipv6Addr>().map_err(|_| UrlError::Host)?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(UrlError::Host),
        };
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let of_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if host.is_empty() || host.len() > 253 || !host.bytes().all(of_name) {
        return Err(UrlError::Host);
    }
    Ok((host, port))
}

fn own_port(secure: bool) -> u16 {
    if secure { 443 } else { 80 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_back() {
        for (text, authority, host, port, target) in [
            ("http://a.example", "a.example", "a.example", 80, "/"),
            ("HTTPS://A.example:443/x?y=1#z", "a.example", "a.example", 443, "/x?y=1"),
            ("http://127.0.0.1:8080?q", "127.0.0.1:8080", "127.0.0.1", 8080, "/?q"),
            ("http://[::1]:81/p/", "[::1]:81", "::1", 81, "/p/"),
            ("http://[2001:db8::1]", "[2001:db8::1]", "2001:db8::1", 80, "/"),
        ] {
            let url: Url = text.parse().unwrap();
            assert_eq!(
                (url.authority().as_str(), url.host(), url.port(), url.target()),
                (authority, host, port, target),
                "{text}"
            );
            assert_eq!(url.to_string().parse(), Ok(url));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_reason() {
        for (text, error) in [
            ("", UrlError::Scheme),
            ("ftp://a", UrlError::Scheme),
            ("http:/a", UrlError::Scheme),
            ("http://", UrlError::Host),
            ("http:///x", UrlError::Host),
            ("http://[::1", UrlError::Host),
            ("http://[x]/", UrlError::Host),
            ("http://a%20b/", UrlError::Host),
            ("http://a:0/", UrlError::Port),
            ("http://a:/", UrlError::Port),
            ("http://a:65536/", UrlError::Port),
            ("http://a:+1/", UrlError::Port),
            ("http://u:p@a/", UrlError::Credentials),
            ("http://a/x y", UrlError::Characters),
            ("http://a/\r\nX: y", UrlError::Characters),
            ("http://a/ü", UrlError::Characters),
        ] {
            assert_eq!(text.parse::<Url>(), Err(error), "{text:?}");
        }
    }
}
