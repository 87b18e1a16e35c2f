//! A media proxy as a child process: the engine that cargo built, or Debian's rtpengine in user space. Either has the
//! same addresses, and ends with its owner.

use super::{Call, Ng, Pair};
use crate::support::wire::Wire;
use crate::support::{Engine, Folder, Net, SOON, peer, wait_for};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Whose proxy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Make {
    Strowger,
    Rtpengine,
}

/// What a scenario may want to be different.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// How long a call lives on after `delete`, in seconds.
    pub delete_delay: u32,
    /// Calls at most.
    pub calls: Option<u32>,
    /// The usual interface has `::1`, too.
    pub ipv6: bool,
}

/// A running proxy. Addresses by custom: 1 the proxy (interface `main`), 2 the caller, 3 the callee, 4 the proxy's other
/// interface `outside`, 5 who hears of events, 6 and 7 further parties.
pub struct Proxy {
    pub net: Net,
    pub make: Make,
    running: Running,
    events: UdpSocket,
}

enum Running {
    Ours(Box<Engine>),
    Theirs(Theirs),
}

struct Theirs {
    child: Child,
    folder: Folder,
}

/// Where either speaks NG.
const NG_PORT: u16 = 2223;
const HTTP_PORT: u16 = 2225;

impl Proxy {
    /// Starts one. `None` where rtpengine is absent, which is said.
    pub fn start(make: Make, setup: &Setup) -> Option<Proxy> {
        Proxy::start_at(Net::new(), make, setup)
    }

    /// At addresses that exist already.
    pub fn start_at(net: Net, make: Make, setup: &Setup) -> Option<Proxy> {
        let events = UdpSocket::bind((net.ip(5), 0)).expect("a port of our own address");
        let hears = events.local_addr().expect("bound");
        let running = match make {
            Make::Strowger => Running::Ours(Box::new(ours(net, hears, setup))),
            Make::Rtpengine => Running::Theirs(theirs(net, hears, setup)?),
        };
        let proxy = Proxy { net, make, running, events };
        proxy.wait_ready();
        Some(proxy)
    }

    fn wait_ready(&self) {
        let ng = self.ng();
        wait_for("the proxy to answer a ping", SOON, || {
            ng.send(b"ready d7:command4:pinge");
            ng.receive_within(Duration::from_millis(100)).map(drop)
        });
        // What repeated pings were answered with.
        while ng.receive_within(Duration::from_millis(1)).is_some() {}
    }

    pub fn is_ours(&self) -> bool {
        self.make == Make::Strowger
    }

    /// Where it takes requests over UDP and TCP.
    pub fn address(&self) -> SocketAddr {
        (self.net.ip(1), NG_PORT).into()
    }

    /// Where it takes requests over HTTP and WebSockets.
    pub fn http(&self) -> SocketAddr {
        (self.net.ip(1), HTTP_PORT).into()
    }

    /// A client at the caller's address.
    pub fn ng(&self) -> Ng {
        Ng::new(self.net.ip(2), self.address())
    }

    /// A call with a name of its own.
    pub fn call(&self) -> Call {
        static COUNTER: AtomicU32 = AtomicU32::new(1);
        Call::new(self, format!("call-{}", COUNTER.fetch_add(1, Ordering::Relaxed)))
    }

    /// Media of a caller and a callee.
    pub fn pair(&self) -> Pair {
        Pair { a: self.wire(2), b: self.wire(3) }
    }

    /// Media at address `n`.
    pub fn wire(&self, n: u32) -> Wire {
        Wire::at(self.net.ip(n))
    }

    /// The address of `main`.
    pub fn ip(&self) -> IpAddr {
        self.net.ip(1).into()
    }

    /// The next event that it tells over UDP, or nothing within the time.
    pub fn event_within(&self, within: Duration) -> Option<String> {
        self.events.set_read_timeout(Some(within)).expect("a socket");
        let mut buffer = [0; 4096];
        let len = self.events.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..len]).into_owned())
    }

    /// Where it writes recordings.
    pub fn recordings(&self) -> PathBuf {
        match &self.running {
            Running::Ours(engine) => engine.folder().join("recordings"),
            Running::Theirs(theirs) => theirs.folder.path().join("recordings"),
        }
    }

    /// It runs, and nothing went wrong inside.
    pub fn check(&self) {
        match &self.running {
            Running::Ours(engine) => {
                let log = engine.log();
                let bad = log.lines().find(|l| l.contains("panick") || l.contains("\"level\":\"ERROR\""));
                assert_eq!(bad, None, "the log has no error");
            }
            Running::Theirs(_) => {}
        }
        self.ng().pings();
    }

    fn log(&self) -> String {
        match &self.running {
            Running::Ours(engine) => engine.log(),
            Running::Theirs(theirs) => {
                let log = std::fs::read(theirs.folder.path().join("log")).unwrap_or_default();
                String::from_utf8_lossy(&log).into_owned()
            }
        }
    }
}

fn ours(net: Net, hears: SocketAddr, setup: &Setup) -> Engine {
    let limit = setup.calls.map_or(String::new(), |calls| {
        format!("engine.ng_pool = [\"ng\"]\nlimit.ng = {{ calls = {calls} }}\n")
    });
    let main =
        if setup.ipv6 { "[\"IP1:10000-19999\", \"[::1]:10000-64999\"]" } else { "\"IP1:10000-19999\"" };
    let config = format!(
        "engine.ng = [\"udp:IP1:{NG_PORT}\", \"tcp:IP1:{NG_PORT}\", \"http:IP1:{HTTP_PORT}\", \"ws:IP1:{HTTP_PORT}\"]\n\
         engine.delete_delay = \"{}s\"\nengine.ng_events = [\"{hears}\"]\nengine.recordings = \"recordings\"\n\
         {limit}\
         listener.main = {{ media = {main} }}\nlistener.outside = {{ media = \"IP4:10000-19999\" }}\n",
        setup.delete_delay
    );
    Engine::start(&net.fill(&config))
}

fn theirs(net: Net, hears: SocketAddr, setup: &Setup) -> Option<Theirs> {
    let program = peer("rtpengine")?;
    let folder = Folder::new();
    let recordings = folder.path().join("recordings");
    std::fs::create_dir_all(&recordings).expect("writable");
    let log = std::fs::File::create(folder.path().join("log")).expect("writable");
    let ip = net.ip(1);
    let mut command = Command::new(program);
    command
        .args(["--foreground", "--table=-1", "--config-file=none", "--log-stderr", "--log-level=6"])
        .args(["--port-min=10000", "--port-max=19999", "--num-threads=1", "--media-num-threads=1"])
        .args(["--timeout=60", "--http-threads=1", "--recording-method=pcap"])
        .arg(format!("--recording-dir={}", recordings.display()))
        .arg(format!("--interface=main/{ip}"));
    if setup.ipv6 {
        command.arg("--interface=main/::1");
    }
    command
        .arg(format!("--interface=outside/{}", net.ip(4)))
        .arg(format!("--listen-ng={ip}:{NG_PORT}"))
        .arg(format!("--listen-tcp-ng={ip}:{NG_PORT}"))
        .arg(format!("--listen-http={ip}:{HTTP_PORT}"))
        .arg(format!("--dtmf-log-dest={hears}"))
        .arg(format!("--delete-delay={}", setup.delete_delay));
    if let Some(calls) = setup.calls {
        command.arg(format!("--max-sessions={calls}"));
    }
    let child = command
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("rtpengine starts");
    Some(Theirs { child, folder })
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if std::thread::panicking() && self.make == Make::Rtpengine {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            tail.iter().rev().for_each(|line| crate::stand::tell(line));
        }
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
