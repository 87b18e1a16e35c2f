//! SIPp as caller or callee: started with a ladder, waited for, and made to tell what it saw when it fails.

use super::ladder::{Role, scenario};
use super::net::Folder;
use super::{Ear, SOON, wait_for};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A SIPp that runs.
pub struct Sipp {
    child: Child,
    folder: Folder,
    what: String,
    finished: Option<ExitStatus>,
}

/// A SIPp to be started.
pub struct Setup {
    role: Role,
    ladder: String,
    local: SocketAddr,
    remote: SocketAddr,
    media: SocketAddr,
    number: String,
    tcp: bool,
    calls: u32,
    rate: u32,
    more: Vec<String>,
    files: Vec<(String, Vec<u8>)>,
}

/// No scenario takes longer.
const DEADLINE: Duration = Duration::from_secs(50);

impl Sipp {
    /// With defaults: one call, UDP, number 2002, media at port 6000.
    pub fn setup(role: Role, ladder: &str, local: SocketAddr, remote: SocketAddr) -> Setup {
        Setup {
            role,
            ladder: ladder.to_owned(),
            local,
            remote,
            media: SocketAddr::new(local.ip(), 6000),
            number: "2002".into(),
            tcp: false,
            calls: 1,
            rate: 10,
            more: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Waits for the end of its calls, all of which must have gone by the ladder.
    pub fn passes(mut self) {
        self.wait_passed();
    }

    /// As [`Sipp::passes`], when its messages are still to be looked at.
    pub fn wait_passed(&mut self) {
        let status = self.wait();
        assert!(status.success(), "SIPp {} ended with {status}", self.what);
    }

    /// All of them pass; on failure all of them tell, since the reason often stands with the other one.
    pub fn all_pass<const N: usize>(mut parties: [Sipp; N]) {
        let bad: Vec<String> = parties
            .iter_mut()
            .map(|party| (party.wait(), party.what.clone()))
            .filter(|(status, _)| !status.success())
            .map(|(status, what)| format!("{what} ended with {status}"))
            .collect();
        assert!(bad.is_empty(), "SIPp: {bad:?}");
    }

    fn wait(&mut self) -> ExitStatus {
        let what = format!("SIPp {} to end", self.what);
        let status = wait_for(&what, DEADLINE, || self.child.try_wait().expect("a child"));
        self.finished = Some(status);
        status
    }

    /// Where the far end wants media, as the last message said that was received as `message` with the word `sdp`.
    pub fn media_of(&self, message: &str) -> SocketAddr {
        wait_for(&format!("SDP in {message} at SIPp {}", self.what), SOON, || {
            let log = self.read("log");
            let line = log.lines().rev().find(|line| line.starts_with(&format!("media {message} ")))?;
            let words: Vec<&str> = line.split_whitespace().collect();
            let ip: IpAddr = words.get(4)?.parse().ok()?;
            Some(SocketAddr::new(ip, words.get(6).filter(|_| words.len() == 8)?.parse().ok()?))
        })
    }

    /// What it has written to a file of its folder, octets that are no text replaced.
    fn read(&self, name: &str) -> String {
        let bytes = std::fs::read(self.folder.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// All messages so far, sent and received, as SIPp writes them down.
    pub fn messages(&self) -> String {
        self.read("messages")
    }
}

impl Drop for Sipp {
    fn drop(&mut self) {
        if self.finished.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("=== SIPp {} in {}", self.what, self.folder.path().display());
            eprintln!("{}\n{}\n{}", self.read("messages"), self.read("errors"), self.read("screen"));
        }
    }
}

impl Setup {
    /// Its SDP names this socket, through which the test itself hears and talks.
    pub fn ear(mut self, ear: &Ear) -> Setup {
        self.media = ear.address();
        self
    }

    /// Who is called.
    pub fn number(mut self, number: &str) -> Setup {
        self.number = number.to_owned();
        self
    }

    /// Over one TCP connection.
    pub fn tcp(mut self) -> Setup {
        self.tcp = true;
        self
    }

    /// So many calls, started at so many a second.
    pub fn calls(mut self, calls: u32, rate: u32) -> Setup {
        (self.calls, self.rate) = (calls, rate);
        self
    }

    /// Further arguments of `sipp`.
    pub fn with(mut self, arguments: &[&str]) -> Setup {
        self.more.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    /// A file in its working directory, for what it plays.
    pub fn file(mut self, name: &str, content: &[u8]) -> Setup {
        self.files.push((name.to_owned(), content.to_vec()));
        self
    }

    /// Starts it; a callee can be called when this returns.
    pub fn start(self) -> Sipp {
        let folder = Folder::new();
        let xml = scenario(self.role, &self.ladder, self.media, &self.number);
        let file = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(folder.path().join("scenario.xml"), xml).expect("writable");
        for (name, content) in &self.files {
            std::fs::write(folder.path().join(name), content).expect("writable");
        }
        let screen = std::fs::File::create(folder.path().join("screen")).expect("writable");
        let mut command = Command::new("sipp");
        command.arg("-sf").arg(file("scenario.xml"));
        command.args([
            "-i",
            &bracketed(self.local.ip()),
            "-p",
            &self.local.port().to_string(),
            "-bind_local",
        ]);
        command.args(["-mi", &bracketed(self.local.ip()), "-s", &self.number]);
        command.args(["-m", &self.calls.to_string(), "-r", &self.rate.to_string()]);
        command.args(["-t", if self.tcp { "t1" } else { "u1" }, "-nostdin", "-skip_rlimit"]);
        command.args(["-timeout", "45s", "-timeout_error"]);
        command.args(["-trace_err", "-error_file", &file("errors")]);
        command.args(["-trace_msg", "-message_file", &file("messages")]);
        command.args(["-trace_logs", "-log_file", &file("log")]);
        command.args(&self.more);
        if self.role == Role::Uac {
            command.arg(self.remote.to_string());
        }
        let child = command
            .env("TERM", "dumb")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(screen.try_clone().expect("a file"))
            .stderr(screen)
            .spawn()
            .expect("SIPp is installed");
        let what = format!("{:?} at {}", self.role, self.local);
        let mut sipp = Sipp { child, folder, what, finished: None };
        if self.role == Role::Uas {
            let tables: &[&str] = if self.tcp { &["tcp", "tcp6"] } else { &["udp", "udp6"] };
            wait_for(&format!("SIPp {} to listen", sipp.what), SOON, || {
                assert!(sipp.child.try_wait().is_ok_and(|ended| ended.is_none()), "SIPp starts");
                listens(self.local, tables).then_some(())
            });
        }
        sipp
    }
}

fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// Whether somebody has this address, as the kernel's tables say.
fn listens(address: SocketAddr, tables: &[&str]) -> bool {
    let ip = match address.ip() {
        IpAddr::V4(ip) => format!("{:08X}", u32::from_ne_bytes(ip.octets())),
        IpAddr::V6(ip) => {
            let words = ip.octets();
            words.chunks(4).map(|w| format!("{:08X}", u32::from_ne_bytes([w[0], w[1], w[2], w[3]]))).collect()
        }
    };
    let wanted = format!(" {ip}:{:04X} ", address.port());
    tables.iter().any(|table| {
        std::fs::read_to_string(format!("/proc/net/{table}")).is_ok_and(|text| text.contains(&wanted))
    })
}
