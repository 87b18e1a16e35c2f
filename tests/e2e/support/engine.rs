//! The engine under test as a child process, seen through its API, metrics, records and log. It ends with its owner.

use super::net::Folder;
use super::{SOON, wait_for};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A running `strowger run`.
pub struct Engine {
    child: Child,
    folder: Folder,
    ready: Value,
}

/// What the API said.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: String,
    pub body: String,
}

impl Engine {
    /// Starts one in a folder of its own. The text is TOML without a table `[engine]`: settings of the engine are
    /// dotted keys at its top (`engine.backend = "epoll"`); the API's address is chosen here.
    pub fn start(config: &str) -> Engine {
        Engine::start_in(Folder::new(), config, &[])
    }

    /// As [`Engine::start`], in a folder that another engine has left, and with further arguments of `run`.
    pub fn start_in(folder: Folder, config: &str, arguments: &[&str]) -> Engine {
        let file = folder.path().join("strowger.toml");
        std::fs::write(&file, format!("engine.api = \"127.0.0.1:0\"\n{config}")).expect("writable");
        let create = |name| std::fs::File::create(folder.path().join(name)).expect("writable");
        let log = folder.path().join("engine.log");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("writable");
        let mut child = Command::new(env!("CARGO_BIN_EXE_strowger"))
            .args(["run", "--until-stdin-closes"])
            .args(arguments)
            .arg(&file)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(create("engine.out"))
            .stderr(log)
            .spawn()
            .expect("the binary that cargo built starts");
        let ready = wait_for("the engine's ready line", SOON, || {
            let text = std::fs::read_to_string(folder.path().join("engine.out")).unwrap_or_default();
            if let Some(status) = child.try_wait().expect("a child") {
                let log = std::fs::read_to_string(folder.path().join("engine.log")).unwrap_or_default();
                panic!("the engine ended with {status}:\n{log}");
            }
            let line = text.lines().next().filter(|_| text.ends_with('\n'))?;
            Some(serde_json::from_str::<Value>(line).expect("the ready line is JSON")["ready"].take())
        });
        Engine { child, folder, ready }
    }

    /// What the ready line said.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its working directory: configuration, records, secret, log.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration file; write it anew and send SIGHUP to apply.
    pub fn config_file(&self) -> PathBuf {
        self.folder().join("strowger.toml")
    }

    /// SIP address number `n` in the order of the configuration.
    pub fn sip(&self, n: usize) -> SocketAddr {
        self.ready["sip"][n]["address"]
            .as_str()
            .and_then(|a| a.parse().ok())
            .expect("a listener with an address")
    }

    pub fn api(&self) -> SocketAddr {
        self.ready["api"].as_str().and_then(|a| a.parse().ok()).expect("the API has an address")
    }

    /// One request to the API.
    pub fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> Response {
        let api = self.api();
        let mut stream = TcpStream::connect(api).expect("the API listens");
        stream.set_read_timeout(Some(SOON)).expect("a socket");
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {api}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("the API reads");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or_default();
        let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
        let body = if chunked { unchunked(body) } else { body.to_owned() };
        Response { status, headers: head.to_owned(), body }
    }

    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, "", "")
    }

    /// JSON of a GET that must be answered with 200.
    pub fn json(&self, path: &str) -> Value {
        let response = self.get(path);
        assert_eq!(response.status, 200, "GET {path}: {}", response.body);
        serde_json::from_str(&response.body).expect("the API speaks JSON")
    }

    /// Rows of the calls that exist.
    pub fn calls(&self) -> Vec<Value> {
        self.json("/v1/calls")["calls"].as_array().cloned().expect("a list")
    }

    /// Waits until exactly one call exists and is in this state; gives its id.
    pub fn wait_call(&self, state: &str) -> String {
        wait_for(&format!("a call that is {state}"), SOON, || match self.calls().as_slice() {
            [call] if call["state"] == state => call["id"].as_str().map(str::to_owned),
            _ => None,
        })
    }

    /// All samples by name and labels, as they are written.
    pub fn metrics(&self) -> BTreeMap<String, f64> {
        let page = self.get("/metrics").body;
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        samples
            .filter_map(|line| {
                let (name, value) = line.rsplit_once(' ')?;
                Some((name.to_owned(), value.parse().ok()?))
            })
            .collect()
    }

    /// Sum of a family over its labels; 0 if there is none. `name` may also be one whole sample.
    pub fn metric(&self, name: &str) -> f64 {
        let family = format!("{name}{{");
        let of = |sample: &str| sample == name || sample.starts_with(&family);
        self.metrics().iter().filter(|(sample, _)| of(sample)).map(|(_, value)| value).sum()
    }

    /// Records that were written, in order.
    pub fn cdrs(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.folder().join("cdr.jsonl")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("a record is one line of JSON")).collect()
    }

    /// Waits for so many records, and gives them by leg.
    pub fn wait_cdrs(&self, count: usize) -> Vec<Value> {
        let mut found = wait_for(&format!("{count} call detail records"), SOON, || {
            Some(self.cdrs()).filter(|cdrs| cdrs.len() >= count)
        });
        assert_eq!(found.len(), count, "no more records than legs: {found:#?}");
        found.sort_by_key(|cdr| (cdr["call_id"].to_string(), cdr["leg"].as_u64()));
        found
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder().join("engine.log")).unwrap_or_default()
    }

    /// Nothing is left of any call: no row, no place taken, no bridge, no port; and nothing has gone wrong inside.
    pub fn wait_idle(&self) {
        wait_for("the last call to be gone", Duration::from_secs(40), || {
            self.calls().is_empty().then_some(())
        });
        let taken = || {
            let gauges =
                ["strowger_limit_used", "strowger_bridges", "strowger_ports_used", "strowger_calls_current"];
            gauges.into_iter().filter(|name| self.metric(name) != 0.0).collect::<Vec<_>>()
        };
        let end = std::time::Instant::now() + SOON;
        while !taken().is_empty() {
            assert!(std::time::Instant::now() < end, "taken and not given back: {:?}", taken());
            std::thread::sleep(Duration::from_millis(5));
        }
        let log = self.log();
        let bad = log.lines().find(|line| line.contains("panick") || line.contains("\"level\":\"ERROR\""));
        assert_eq!(bad, None, "the log has no error");
    }

    /// `kill -SIGNAL` to the engine alone.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([&format!("-{signal}"), &self.pid().to_string()]).status();
        assert!(status.is_ok_and(|s| s.success()), "the engine can be signalled");
    }

    /// Waits for its end.
    pub fn wait_end(&mut self, within: Duration) -> ExitStatus {
        wait_for("the engine to end", within, || self.child.try_wait().expect("a child"))
    }

    /// `kill -9`; what it leaves behind is given back.
    pub fn kill(mut self) -> Folder {
        let _ = self.child.kill();
        let _ = self.child.wait();
        core::mem::replace(&mut self.folder, Folder::new())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() && self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.explain();
        }
        drop(self.child.stdin.take());
        for _ in 0..200 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Engine {
    /// What there is to know when a test has failed: ladders of live calls, records and the log.
    fn explain(&self) {
        const LINES: usize = 60;
        eprintln!("engine folder: {}", self.folder().display());
        let list =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.calls())).unwrap_or_default();
        for id in list.iter().filter_map(|call| call["id"].as_str()) {
            let trace = Command::new(env!("CARGO_BIN_EXE_strowger"))
                .args(["calls", "trace", id, "--api", &format!("http://{}", self.api())])
                .output();
            if let Ok(trace) = trace {
                eprintln!("--- call {id}\n{}", String::from_utf8_lossy(&trace.stdout));
            }
        }
        for cdr in self.cdrs() {
            eprintln!("--- record {cdr}");
        }
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        eprintln!("--- log, last lines\n{}", lines[lines.len().saturating_sub(LINES)..].join("\n"));
    }
}

/// The body of a chunked answer.
fn unchunked(mut text: &str) -> String {
    let mut body = String::new();
    while let Some((size, rest)) = text.split_once("\r\n") {
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else { break };
        let Some(chunk) = rest.get(..size).filter(|_| size > 0) else { break };
        body.push_str(chunk);
        text = rest.get(size + 2..).unwrap_or_default();
    }
    body
}
