//! Debian's Kamailio with its own rtpengine module as a child process: the same script whatever the media proxy is.

use super::{Proxy, tell};
use crate::support::{Folder, SOON, wait_for};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What sites say in every offer and answer.
pub const USUAL: &str = "replace-origin replace-session-connection ICE=remove";

/// A running Kamailio.
pub struct Kamailio {
    child: Child,
    folder: Folder,
    /// Where it takes SIP.
    pub sip: SocketAddr,
}

impl Kamailio {
    /// In front of these proxies at address 7 of the first; calls go to port 5060 of its address 3. `None` where it is
    /// absent, which is said.
    pub fn start(proxies: &[&Proxy], offer: &str, answer: &str) -> Option<Kamailio> {
        let program =
            ["/usr/sbin/kamailio", "/usr/local/sbin/kamailio"].into_iter().find(|p| Path::new(p).is_file());
        let program = program.map(Into::into).or_else(|| crate::support::peer("kamailio"))?;
        let net = proxies[0].net;
        let sip = SocketAddr::from((net.ip(7), 5060));
        // The first one is asked first, as good as always.
        let weight = |n: usize| if n == 0 && proxies.len() > 1 { "=1000" } else { "" };
        let sockets: Vec<String> =
            proxies.iter().enumerate().map(|(n, p)| format!("udp:{}{}", p.address(), weight(n))).collect();
        let folder = Folder::new();
        let file = folder.path().join("kamailio.cfg");
        let text = include_str!("../kamailio.cfg")
            .replace("SIP_ADDRESS", &sip.to_string())
            .replace("NG_SOCKETS", &sockets.join(" "))
            .replace("CALLEE_ADDRESS", &format!("{}:5060", net.ip(3)))
            .replace("OFFER_FLAGS", offer)
            .replace("ANSWER_FLAGS", answer);
        std::fs::write(&file, text).expect("writable");
        let log = std::fs::File::create(folder.path().join("log")).expect("writable");
        let child = Command::new::<std::path::PathBuf>(program)
            .args(["-DD", "-E", "-m", "64", "-M", "8", "-f"])
            .arg(&file)
            .arg("-Y")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("kamailio starts");
        let mut kamailio = Kamailio { child, folder, sip };
        kamailio.wait_ready(net.ip(2).into());
        Some(kamailio)
    }

    /// Its workers answer.
    fn wait_ready(&mut self, from: std::net::IpAddr) {
        let socket = UdpSocket::bind((from, 0)).expect("a port of our own address");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket");
        let me = socket.local_addr().expect("bound");
        let text = format!(
            "OPTIONS sip:{0} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bKready\r\nFrom: <sip:t@{me}>;tag=1\r\n\
             To: <sip:{0}>\r\nCall-ID: ready@{me}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n",
            self.sip
        );
        wait_for("kamailio to answer", SOON, || {
            assert!(
                self.child.try_wait().is_ok_and(|ended| ended.is_none()),
                "kamailio ended:\n{}",
                self.log()
            );
            let _ = socket.send_to(text.as_bytes(), self.sip);
            socket.recv_from(&mut [0; 2048]).ok().map(drop)
        });
    }

    /// What its script has told, line by line, as `TOLD what [this]`.
    pub fn told(&self, what: &str) -> Vec<String> {
        let head = format!("TOLD {what} [");
        let text = self.log();
        let inner = |line: &str| Some(line.split_once(&head)?.1.trim_end().trim_end_matches(']').to_owned());
        text.lines().filter_map(inner).collect()
    }

    /// Waits until the script has told something.
    pub fn wait_told(&self, what: &str) -> String {
        wait_for(&format!("the script to tell of {what}"), SOON, || self.told(what).into_iter().next())
    }

    /// All that it wrote.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.path().join("log")).unwrap_or_default())
            .into_owned()
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.log().lines().for_each(tell);
        }
        // Its children end with it when it is asked; not when it is killed.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        for _ in 0..500 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
