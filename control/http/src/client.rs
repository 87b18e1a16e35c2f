//! One POST or GET with a deadline for all of it: place, name, connection, reply. Redirects are replies like any other.

use crate::pool::{Place, Pool};
use crate::url::Url;
use core::time::Duration;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response};
use std::sync::Arc;

/// Sends requests; clones share their connections. Must be used on a tokio runtime with net and time.
#[derive(Clone, Debug)]
pub struct Client {
    pool: Arc<Pool>,
    limits: Limits,
}

/// What one client may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections to one host at once; further requests wait for a place until their deadline.
    pub connections_per_host: usize,
    /// Octets of a reply's body.
    pub reply_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { connections_per_host: 16, reply_max: 1 << 20 }
    }
}

/// What the server said, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 to 599.
    pub status: u16,
    /// In the server's order, names in lower case; values that are no text are left out.
    pub headers: Vec<(String, String)>,
    /// Whole.
    pub body: Vec<u8>,
}

impl Reply {
    /// 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name, which is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Why there is no reply. [`Failed::name`] is stable, for counters and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Failed {
    /// No place, no connection or no whole reply within the deadline.
    #[error("no reply in time")]
    Timeout,
    /// The host's name has no address.
    #[error("the name has no address")]
    Resolve,
    /// No address of the host took the connection.
    #[error("no connection")]
    Connect,
    /// TLS could not be agreed on, or the certificate is not trusted.
    #[error("no TLS connection")]
    Tls,
    /// The connection broke, or what came is no HTTP.
    #[error("the connection broke before a whole reply")]
    Broken,
    /// The reply's body is longer than [`Limits::reply_max`].
    #[error("the reply is too long")]
    TooLong,
    /// A header that was to be sent has octets that no header may have.
    #[error("a header to be sent is malformed")]
    Header,
}

impl Failed {
    /// All of them.
    pub const ALL: [Failed; 7] = [
        Failed::Timeout,
        Failed::Resolve,
        Failed::Connect,
        Failed::Tls,
        Failed::Broken,
        Failed::TooLong,
        Failed::Header,
    ];

    /// A stable word.
    pub fn name(self) -> &'static str {
        match self {
            Failed::Timeout => "timeout",
            Failed::Resolve => "resolve",
            Failed::Connect => "connect",
            Failed::Tls => "tls",
            Failed::Broken => "broken",
            Failed::TooLong => "too_long",
            Failed::Header => "header",
        }
    }
}

impl Client {
    /// A client without connections.
    pub fn new(limits: Limits) -> Client {
        Client { pool: Arc::new(Pool::new(limits)), limits }
    }

    /// Sends `body` and waits for the whole reply, at most `deadline` from now. Without a `content-type` among
    /// `headers` the body is JSON. When a kept connection turns out to be closed by the server, the request is sent
    /// once more on a new one, so a server may see it twice.
    ///
    /// # Errors
    /// There is no reply. A status of 400 or 500 is one.
    pub async fn post(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
        deadline: Duration,
    ) -> Result<Reply, Failed> {
        let mut request = Outgoing::new(url, Method::POST, body.into())?;
        request.add(CONTENT_TYPE, "application/json")?;
        request.add_all(headers)?;
        tokio::time::timeout(deadline, self.send(url, &request)).await.unwrap_or(Err(Failed::Timeout))
    }

    /// Asks for what is at `url` and waits for the whole reply, at most `deadline` from now. As with
    /// [`Client::post`], a server may see the request twice.
    ///
    /// # Errors
    /// There is no reply. A status of 400 or 500 is one.
    pub async fn get(
        &self,
        url: &Url,
        headers: &[(&str, &str)],
        deadline: Duration,
    ) -> Result<Reply, Failed> {
        let mut request = Outgoing::new(url, Method::GET, Bytes::new())?;
        request.add_all(headers)?;
        tokio::time::timeout(deadline, self.send(url, &request)).await.unwrap_or(Err(Failed::Timeout))
    }

    async fn send(&self, url: &Url, request: &Outgoing) -> Result<Reply, Failed> {
        let place = self.pool.place(url, false).await?;
        let reused = place.reused;
        match self.exchange(place, request).await {
            Err(Failed::Broken) if reused => {
                let place = self.pool.place(url, true).await?;
                self.exchange(place, request).await
            }
            done => done,
        }
    }

    async fn exchange(&self, mut place: Place, request: &Outgoing) -> Result<Reply, Failed> {
        let response = place.sender.send_request(request.request()).await.map_err(|_| Failed::Broken)?;
        let reply = self.read(response).await?;
        place.keep();
        Ok(reply)
    }

    async fn read(&self, response: Response<hyper::body::Incoming>) -> Result<Reply, Failed> {
        let (head, mut incoming) = response.into_parts();
        if incoming.size_hint().lower() > self.limits.reply_max as u64 {
            return Err(Failed::TooLong);
        }
        let mut body = Vec::new();
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|_| Failed::Broken)?;
            if let Some(data) = frame.data_ref() {
                if body.len() + data.len() > self.limits.reply_max {
                    return Err(Failed::TooLong);
                }
                body.extend_from_slice(data);
            }
        }
        let headers = head.headers.iter();
        let headers = headers
            .filter_map(|(name, value)| Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned())))
            .collect();
        Ok(Reply { status: head.status.as_u16(), headers, body })
    }
}

/// A request that can be sent again.
struct Outgoing {
    method: Method,
    target: hyper::Uri,
    headers: hyper::HeaderMap,
    body: Bytes,
}

impl Outgoing {
    fn new(url: &Url, method: Method, body: Bytes) -> Result<Outgoing, Failed> {
        let target = url.target().parse().map_err(|_| Failed::Header)?;
        let mut request = Outgoing { method, target, headers: hyper::HeaderMap::new(), body };
        request.add(USER_AGENT, "strowger")?;
        request.add(HOST, &url.authority())?;
        Ok(request)
    }

    fn add_all(&mut self, headers: &[(&str, &str)]) -> Result<(), Failed> {
        for (name, text) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Failed::Header)?;
            self.add(name, text)?;
        }
        Ok(())
    }

    fn add(&mut self, name: HeaderName, text: &str) -> Result<(), Failed> {
        self.headers.insert(name, HeaderValue::from_str(text).map_err(|_| Failed::Header)?);
        Ok(())
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    const SECOND: Duration = Duration::from_secs(1);
    const LONG: Duration = Duration::from_secs(20);

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test);
    }

    fn client(connections_per_host: usize) -> Client {
        Client::new(Limits { connections_per_host, reply_max: 100 })
    }

    /// Reads one request; its head in lower case, and its body. `None` at the end of the connection.
    async fn request(stream: &mut TcpStream) -> Option<(String, String)> {
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
                let len = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                let len: usize = len.map_or(0, |len| len.parse().unwrap());
                if bytes.len() >= end + 4 + len {
                    return Some((head, String::from_utf8(bytes[end + 4..].to_vec()).unwrap()));
                }
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// A server that answers each request on each connection with what `answer` makes of its number, counted over
    /// all connections; `None` closes the connection.
    async fn server(
        answer: impl Fn(usize) -> Option<String> + Send + Sync + 'static,
    ) -> (Url, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?a=b", listener.local_addr().unwrap()).parse().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (answer, seen, number) =
            (Arc::new(answer), Arc::clone(&connections), Arc::new(AtomicUsize::new(0)));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                seen.fetch_add(1, Ordering::Relaxed);
                let (answer, number) = (Arc::clone(&answer), Arc::clone(&number));
                tokio::spawn(async move {
                    while request(&mut stream).await.is_some() {
                        let Some(text) = answer(number.fetch_add(1, Ordering::Relaxed)) else { return };
                        stream.write_all(text.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        (url, connections)
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nX-Who: me\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[test]
    fn a_request_says_what_it_should_and_the_reply_comes_whole() {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let host = listener.local_addr().unwrap();
            let asked = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let asked = request(&mut stream).await.unwrap();
                stream.write_all(b"HTTP/1.1 418 Teapot\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
                stream.write_all(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").await.unwrap();
                asked
            });
            let url = format!("http://{host}/hook?a=b").parse().unwrap();
            let reply = client(1).post(&url, &[("X-Id", "7")], "{}", LONG).await.unwrap();
            assert_eq!(
                (reply.status, reply.body.as_slice(), reply.is_success()),
                (418, &b"abcde"[..], false)
            );
            assert_eq!(reply.header("transfer-encoding"), Some("chunked"));
            let (head, body) = asked.await.unwrap();
            assert!(head.starts_with("post /hook?a=b http/1.1\r\n"), "{head}");
            for line in
                ["content-type: application/json", "x-id: 7", &format!("host: {host}"), "content-length: 2"]
            {
                assert!(head.lines().any(|known| known == line), "{line} in {head}");
            }
            assert_eq!(body, "{}");
        });
    }

    #[test]
    fn what_is_asked_for_comes_whole_or_not_at_all() {
        run(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/a.wav", listener.local_addr().unwrap()).parse().unwrap();
            let asked = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                let asked = request(&mut stream).await.unwrap();
                stream.write_all(ok("abc").as_bytes()).await.unwrap();
                request(&mut stream).await.unwrap();
                stream.write_all(ok(&"x".repeat(101)).as_bytes()).await.unwrap();
                asked
            });
            let client = client(1);
            assert_eq!(client.get(&url, &[("accept", "audio/wav")], LONG).await.unwrap().body, b"abc");
            assert_eq!(client.get(&url, &[], LONG).await, Err(Failed::TooLong));
            let (head, body) = asked.await.unwrap();
            assert!(
                head.starts_with("get /a.wav http/1.1\r\n") && head.contains("accept: audio/wav"),
                "{head}"
            );
            assert!(!head.contains("content-type") && body.is_empty(), "{head}");
        });
    }

    #[test]
    fn connections_are_kept_and_bounded() {
        run(async {
            let (url, connections) = server(|n| Some(ok(&n.to_string()))).await;
            let client = client(2);
            for n in 0..5 {
                let reply = client.post(&url, &[], "", LONG).await.unwrap();
                assert_eq!(reply.body, n.to_string().as_bytes());
            }
            assert_eq!(connections.load(Ordering::Relaxed), 1);
            let many: Vec<_> = (0..20)
                .map(|_| {
                    let (client, url) = (client.clone(), url.clone());
                    tokio::spawn(async move { client.post(&url, &[], "", LONG).await })
                })
                .collect();
            for one in many {
                assert!(one.await.unwrap().unwrap().is_success());
            }
            assert_eq!(connections.load(Ordering::Relaxed), 2, "two at most");
        });
    }

    #[test]
    fn a_kept_connection_that_the_server_closed_is_replaced() {
        run(async {
            // Every second request finds the connection closed by the server.
            let (url, connections) = server(|n| (n % 2 == 0).then(|| ok(""))).await;
            let client = client(1);
            for _ in 0..3 {
                assert!(client.post(&url, &[], "", LONG).await.unwrap().is_success());
            }
            assert_eq!(connections.load(Ordering::Relaxed), 3);
        });
    }

    #[test]
    fn each_way_to_fail_has_its_name() {
        run(async {
            let client = client(1);
            let post = async |url: &Url| client.post(url, &[], "x", SECOND).await.unwrap_err().name();
            let (closes, _) = server(|_| None).await;
            assert_eq!(post(&closes).await, "broken");
            let (speaks_else, _) = server(|_| Some("SIP/2.0 200 OK\r\n\r\n".to_owned())).await;
            assert_eq!(post(&speaks_else).await, "broken");
            let (says_long, _) = server(|_| Some(ok(&"x".repeat(101)))).await;
            assert_eq!(post(&says_long).await, "too_long");
            let chunk =
                format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nc8\r\n{}\r\n", "x".repeat(200));
            let (is_long, _) = server(move |_| Some(chunk.clone())).await;
            assert_eq!(post(&is_long).await, "too_long");
            let (hangs, _) =
                server(|_| Some("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab".to_owned())).await;
            let short = client.post(&hangs, &[], "", Duration::from_millis(50)).await.unwrap_err();
            assert_eq!(short, Failed::Timeout);
            let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", gone.local_addr().unwrap()).parse().unwrap();
            drop(gone);
            assert_eq!(post(&url).await, "connect");
            assert_eq!(post(&"http://nobody.invalid/".parse().unwrap()).await, "resolve");
            let bad = client.post(&url, &[("x", "a\r\nb")], "", SECOND).await.unwrap_err();
            assert_eq!(bad, Failed::Header);
        });
    }

    #[test]
    fn a_request_that_timed_out_gives_its_place_back() {
        run(async {
            let (url, _) = server(|n| Some(if n == 0 { String::new() } else { ok("") })).await;
            let client = client(1);
            let hung = client.post(&url, &[], "", Duration::from_millis(50)).await;
            assert_eq!(hung, Err(Failed::Timeout));
            assert!(client.post(&url, &[], "", LONG).await.unwrap().is_success());
        });
    }

    #[test]
    fn redirects_are_not_followed() {
        run(async {
            let moved = "HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n";
            let (url, _) = server(move |n| (n == 0).then(|| moved.to_owned())).await;
            let reply = client(1).post(&url, &[], "", LONG).await.unwrap();
            assert_eq!((reply.status, reply.header("location")), (302, Some("/other")));
        });
    }
}
