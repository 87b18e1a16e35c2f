//! One HTTP/1.1 request over a plain TCP connection: enough for the engine's own API, and no more.

use super::{ApiArgs, ClientError};
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// The engine's API.
pub(super) struct Api {
    /// `HOST:PORT`.
    authority: String,
    token: Option<String>,
    /// Print what it says.
    pub(super) json: bool,
}

/// What it answered; never an error status.
pub(super) struct Answer {
    head: String,
    /// As sent.
    pub(super) body: Vec<u8>,
}

const DEFAULT_API: &str = "http://127.0.0.1:8080";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longer than the engine lets its shards think, and than a large configuration takes.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_MAX: u64 = 256 << 20;
/// Of an answer that does not end: a line, or its head.
const LINE_MAX: u64 = 1 << 20;

impl Api {
    /// Where arguments, environment or the default say that it is.
    pub(super) fn new(args: &ApiArgs) -> Result<Api, ClientError> {
        let from = |given: &Option<String>, name: &str| given.clone().or_else(|| std::env::var(name).ok());
        let url = from(&args.api, "STROWGER_API").unwrap_or_else(|| DEFAULT_API.to_owned());
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some((scheme, _)) => {
                return Err(ClientError::Usage(format!(
                    "{url}: {scheme} is not spoken here; expected http://HOST[:PORT]"
                )));
            }
            None => &url,
        };
        let authority = rest.trim_end_matches('/');
        if authority.is_empty() || authority.contains(['/', '?', '#', '@', ' ']) || !authority.is_ascii() {
            return Err(ClientError::Usage(format!("{url}: expected http://HOST[:PORT]")));
        }
        // Behind the bracket of an IPv6 address a colon begins a port.
        let after = authority.rsplit_once(']').map_or(authority, |(_, after)| after);
        let authority = if after.contains(':') { authority.to_owned() } else { format!("{authority}:8080") };
        let token = from(&args.token, "STROWGER_TOKEN").map(|given| resolve(&given)).transpose()?;
        Ok(Api { authority, token, json: args.json })
    }

    /// A GET.
    pub(super) fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.send("GET", path, &[], b"")
    }

    /// Any request. An error status is an error with the engine's own words.
    pub(super) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> Result<Answer, ClientError> {
        let answer = self.exchange(method, path, headers, body).map_err(|error| self.unreachable(&error))?;
        let (status, answer) = parse(&answer).ok_or_else(|| self.foreign())?;
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        Err(ClientError::Refused { status, message: refusal(status, &answer) })
    }

    /// A GET whose answer does not end: each line of it, until `line` says that it was enough or the engine closes.
    pub(super) fn follow(
        &self,
        path: &str,
        headers: &[&str],
        mut line: impl FnMut(&str) -> Result<bool, ClientError>,
    ) -> Result<(), ClientError> {
        let broken = |error: io::Error| self.unreachable(&error);
        let mut stream = self.connect().map_err(broken)?;
        self.ask(&mut stream, "GET", path, headers, b"").map_err(broken)?;
        let mut reader = BufReader::new(stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut head).map_err(broken)? == 0
                || head.len() as u64 > LINE_MAX
            {
                return Err(self.foreign());
            }
        }
        let chunked = header(&String::from_utf8_lossy(&head), "transfer-encoding").is_some();
        if !head.starts_with(b"HTTP/1.1 200 ") || !chunked {
            reader.take(LINE_MAX).read_to_end(&mut head).map_err(broken)?;
            let (status, answer) = parse(&head).ok_or_else(|| self.foreign())?;
            return Err(ClientError::Refused { status, message: refusal(status, &answer) });
        }
        let (mut text, mut size) = (Vec::new(), String::new());
        loop {
            size.clear();
            // An engine that stops does not say so with a last chunk.
            let read = reader.by_ref().take(LINE_MAX).read_line(&mut size);
            let length = match read {
                Ok(0) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                read => read.map_err(broken).and_then(|_| {
                    let digits = size.split(';').next().unwrap_or("").trim();
                    usize::from_str_radix(digits, 16).map_err(|_| self.foreign())
                })?,
            };
            if length == 0 {
                return Ok(());
            }
            reader.by_ref().take(length as u64 + 2).read_to_end(&mut text).map_err(broken)?;
            text.truncate(text.len().saturating_sub(2));
            if text.len() as u64 > LINE_MAX {
                return Err(self.foreign());
            }
            while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
                let rest = text.split_off(end + 1);
                let whole = core::mem::replace(&mut text, rest);
                if !line(String::from_utf8_lossy(&whole).trim_end())? {
                    return Ok(());
                }
            }
        }
    }

    fn unreachable(&self, error: &io::Error) -> ClientError {
        let hint = match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                "nothing listens there: is `strowger run` up, and is engine.api this address?"
            }
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer in time",
            _ => "the connection failed",
        };
        ClientError::Unreachable(format!("no engine at http://{}: {hint} ({error})", self.authority))
    }

    fn foreign(&self) -> ClientError {
        let text =
            format!("what listens at http://{} does not speak HTTP as the engine does", self.authority);
        ClientError::Unreachable(text)
    }

    fn exchange(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = self.connect()?;
        // An engine that refuses early may close before it has read all; its answer counts.
        let written = self.ask(&mut stream, method, path, headers, body);
        let mut answer = Vec::new();
        match stream.take(ANSWER_MAX).read_to_end(&mut answer) {
            Err(error) if answer.is_empty() => Err(written.err().unwrap_or(error)),
            Err(_) | Ok(_) => Ok(answer),
        }
    }

    fn ask(
        &self,
        stream: &mut TcpStream,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> io::Result<()> {
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        stream.set_write_timeout(Some(READ_TIMEOUT))?;
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.authority);
        if let Some(token) = &self.token {
            request.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        for header in headers {
            request.push_str(&format!("{header}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        stream.write_all(&bytes)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in self.authority.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }
}

impl Answer {
    /// The body as JSON.
    pub(super) fn json(&self) -> Result<Value, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            ClientError::Unreachable(format!("the answer is no JSON ({error}): is this the engine's API?"))
        })
    }

    /// A header of it.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The number in its ETag.
    pub(super) fn version(&self) -> Option<u64> {
        header(&self.head, "etag")?.trim_matches('"').parse().ok()
    }
}

fn resolve(given: &str) -> Result<String, ClientError> {
    let token = match given.split_once(':') {
        Some(("env", name)) => std::env::var(name)
            .map_err(|_| ClientError::Usage(format!("token: the variable {name} is not set")))?,
        Some(("file", path)) => std::fs::read_to_string(path)
            .map_err(|error| ClientError::Usage(format!("token: {path}: {error}")))?,
        _ => given.to_owned(),
    };
    let token = token.trim().to_owned();
    let fit = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    fit.then_some(token)
        .ok_or_else(|| ClientError::Usage("token: expected printable ASCII without spaces".into()))
}

/// Status, head and body of a complete answer.
fn parse(bytes: &[u8]) -> Option<(u16, Answer)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let status =
        head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 "))?.get(..3)?.parse().ok()?;
    let rest = &bytes[end + 4..];
    let body =
        if header(&head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            unchunk(rest)?
        } else {
            match header(&head, "content-length") {
                Some(length) => rest.get(..length.parse().ok()?)?.to_vec(),
                None => rest.to_vec(),
            }
        };
    Some((status, Answer { head, body }))
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// RFC 9112 section 7.1; `None` if it ends early.
fn unchunk(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n")?;
        let size = core::str::from_utf8(&bytes[..end]).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        bytes = &bytes[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

/// What the engine says, a line for each field that is wrong.
fn refusal(status: u16, answer: &Answer) -> String {
    let Ok(problem) = serde_json::from_slice::<Value>(&answer.body) else {
        return format!("the engine answered {status}");
    };
    let errors = problem["errors"].as_array().map_or(&[][..], Vec::as_slice);
    if errors.is_empty() {
        return super::clean(problem["detail"].as_str().unwrap_or("the engine refused"));
    }
    let line = |error: &Value| {
        let place = error["line"].as_u64().map_or_else(String::new, |line| format!("{line}: "));
        let text = |name: &str| super::clean(error[name].as_str().unwrap_or(""));
        match text("field").as_str() {
            "" => format!("{place}{}", text("expected")),
            field => format!("{place}{field}: {}", text("expected")),
        }
    };
    errors.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Percent-encodes what is not plain (RFC 3986 section 2.3).
pub(super) fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_a_host_with_or_without_a_port() {
        let api = |url: &str| {
            let args = ApiArgs { api: Some(url.into()), token: Some("t".into()), json: false };
            Api::new(&args).map(|api| api.authority).map_err(|error| error.exit_code())
        };
        for (url, authority) in [
            ("http://127.0.0.1:9", "127.0.0.1:9"),
            ("http://sbc.example/", "sbc.example:8080"),
            ("[::1]", "[::1]:8080"),
            ("http://[::1]:81", "[::1]:81"),
        ] {
            assert_eq!(api(url), Ok(authority.to_owned()), "{url}");
        }
        for bad in ["https://x", "http://", "http://x/v1", "http://u@x", "http://a b"] {
            assert_eq!(api(bad), Err(2), "{bad}");
        }
    }

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        let body = |text: &str| parse(text.as_bytes()).map(|(status, answer)| (status, answer.body));
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n";
        assert_eq!(body(&format!("{head}abc")), Some((200, b"abc".to_vec())));
        assert_eq!(body(&format!("{head}ab")), None);
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(body(&format!("{chunked}2;x\r\nab\r\n1\r\nc\r\n0\r\n\r\n")), Some((200, b"abc".to_vec())));
        for broken in ["", "2\r\nab", "zz\r\n", "ffffffffffffffff\r\nab\r\n", "-1\r\n"] {
            assert_eq!(body(&format!("{chunked}{broken}")), None, "{broken}");
        }
        for broken in ["", "SIP/2.0 200 OK\r\n\r\n", "HTTP/1.1 2\r\n\r\n", "HTTP/1.1 \u{e9}\u{e9} \r\n\r\n"] {
            assert_eq!(body(broken), None, "{broken}");
        }
    }

    #[test]
    fn what_is_not_plain_is_escaped() {
        assert_eq!(escape("+1 503/é"), "%2B1%20503%2F%C3%A9");
    }
}
