//! tshark as witness and judge: what really went over the loopback interface, read by somebody else's code.

use super::{Folder, Net, SOON, peer, wait_for};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A capture that runs.
pub struct Capture {
    program: PathBuf,
    child: Child,
    folder: Folder,
    mark: UdpSocket,
}

impl Capture {
    /// Captures all of a test's addresses; `None` where tshark is absent or may not capture.
    pub fn start(net: &Net) -> Option<Capture> {
        let program = peer("tshark")?;
        let folder = Folder::new();
        let log = std::fs::File::create(folder.path().join("log")).expect("writable");
        let child = Command::new(&program)
            .args(["-q", "-n", "-i", "lo", "-f", &format!("net {}/29", net.ip(0)), "-w"])
            .arg(folder.path().join("seen.pcapng"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("tshark starts");
        let mark = UdpSocket::bind((net.ip(7), 0)).expect("a port of our own address");
        let mut capture = Capture { program, child, folder, mark };
        if let Err(log) = capture.see("captured") {
            let required = std::env::var("STROWGER_PEERS").is_ok_and(|value| value == "required");
            assert!(!required, "tshark may not capture here and STROWGER_PEERS=required: {log}");
            eprintln!("ABSENT RIGHT: tshark may not capture here, so this test checks nothing: {log}");
            return None;
        }
        Some(capture)
    }

    /// Sends a mark until it is in the file; what tshark said if it has ended before.
    fn see(&mut self, mark: &str) -> Result<(), String> {
        let here = self.mark.local_addr().expect("bound");
        wait_for("tshark to capture", SOON * 2, || {
            if !self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
                return Some(
                    Err(std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()),
                );
            }
            let _ = self.mark.send_to(mark.as_bytes(), here);
            let seen = std::fs::read(self.folder.path().join("seen.pcapng")).unwrap_or_default();
            seen.windows(mark.len()).any(|w| w == mark.as_bytes()).then_some(Ok(()))
        })
    }

    /// Stops, and gives for each packet that fits the display filter the values of these fields; several of one field
    /// are joined by commas.
    pub fn read(mut self, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
        // All that came before the second mark is in the file with it.
        self.see("all is said").expect("tshark captures to the end");
        let _ = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        let _ = wait_for("tshark to end", SOON, || self.child.try_wait().expect("a child"));
        read(&self.program, &self.folder.path().join("seen.pcapng"), filter, fields)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a capture file as [`Capture::read`] does.
pub fn read(program: &Path, file: &Path, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    let mut command = Command::new(program);
    command.arg("-n").arg("-r").arg(file).args(["-2", "-Y", filter, "-T", "fields", "-E", "separator=|"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().expect("tshark starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(|line| line.split('|').map(str::to_owned).collect()).collect()
}
