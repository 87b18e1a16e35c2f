//! The systems under test: child processes on the second processor, ended by their own numbers.

use anyhow::{Context, Result, bail};
use loadtest::process::Sample;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// The processor of the generator.
pub const GENERATOR: usize = 0;
/// The processor of the system under test; `None` where there is only one.
pub fn tested() -> Option<usize> {
    // Not the number of those that we may use: that is one as soon as we are pinned.
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    (online.trim() != "0" && !online.is_empty()).then_some(1)
}

/// This process and its later threads stay on the generator's processor, as far as `taskset` is there.
pub fn stay_on_first_processor() {
    let me = std::process::id().to_string();
    let _ = Command::new("taskset")
        .args(["-a", "-c", "-p", &GENERATOR.to_string(), &me])
        .stdout(Stdio::null())
        .status();
}

/// Whether a program is installed.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    path.split(':').any(|folder| Path::new(folder).join(program).exists())
}

/// A command that runs on the processor of the system under test, where there is a way.
pub fn on_tested(program: &str) -> Command {
    match tested() {
        Some(cpu) if is_installed("taskset") => {
            let mut command = Command::new("taskset");
            command.args(["-c", &cpu.to_string(), program]);
            command
        }
        _ => Command::new(program),
    }
}

/// A folder that goes with us.
pub struct Folder(pub PathBuf);

impl Folder {
    /// A new one.
    pub fn new(name: &str) -> Result<Folder> {
        let path = std::env::temp_dir().join(format!("strowger-bench-{name}-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Starts a program of the generator's side; its output goes to `folder`.
pub fn spawn(command: &mut Command, folder: &Folder) -> Result<Process> {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.0.join("output"))?;
    let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
    Ok(Process { child, _folder: None })
}

/// A free UDP port of 127.0.0.1, free a moment ago at least.
pub fn free_port() -> Result<SocketAddr> {
    Ok(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A child process, ended when it is dropped.
pub struct Process {
    child: Child,
    _folder: Option<Folder>,
}

impl Process {
    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Result<()> {
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // Closing its input ends our engine in order; the others are asked by signal.
        if self.child.stdin.take().is_none() {
            let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        }
        for _ in 0..500 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Our engine.
pub struct Engine {
    process: Process,
    /// Where it takes SIP.
    pub sip: SocketAddr,
}

impl Engine {
    /// Starts it with a route from `caller` to `callee`, and all else as by default.
    pub fn start(backend: &str, caller: SocketAddr, callee: SocketAddr) -> Result<Engine> {
        let folder = Folder::new("engine")?;
        let path = folder.0.display();
        let file = folder.0.join("strowger.toml");
        let text = format!(
            "listener.main = {{ sip = \"udp:127.0.0.1:0\", media = \"127.0.0.1:10000-29999\" }}\n\
             trunk.callers = \"{caller}\"\ntrunk.callees = \"{callee}\"\n\
             [[route]]\nfrom = \"callers\"\nvia = \"callees\"\n\
             [engine]\napi = \"127.0.0.1:0\"\nbackend = \"{backend}\"\n\
             store = \"sqlite:{path}/strowger.db\"\ncdr = [\"jsonl:{path}/cdr.jsonl\"]\n"
        );
        fs::write(&file, text)?;
        let mut child = on_tested(env!("CARGO_BIN_EXE_strowger"))
            .args(["run", "--until-stdin-closes"])
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.0.join("log"))?)
            .spawn()?;
        let stdout = child.stdout.take().context("no output of the engine")?;
        let process = Process { child, _folder: Some(folder) };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let ready: serde_json::Value = serde_json::from_str(&line).context("the engine did not start")?;
        let told = ready["ready"]["backend"].as_str().unwrap_or_default();
        if told != backend {
            bail!("the engine runs with {told}, not {backend}");
        }
        let sip = ready["ready"]["sip"][0]["address"].as_str().and_then(|a| a.parse().ok());
        Ok(Engine { process, sip: sip.context("the engine tells no SIP address")? })
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// Debian's rtpengine in user space.
pub struct RtpEngine {
    process: Process,
    /// Where it takes NG commands.
    pub ng: SocketAddr,
}

impl RtpEngine {
    /// Starts it; `None` where it is not installed.
    pub fn start() -> Result<Option<RtpEngine>> {
        if !is_installed("rtpengine") {
            println!("rtpengine is not installed (apt install rtpengine-daemon): left out");
            return Ok(None);
        }
        let ng = free_port()?;
        let folder = Folder::new("rtpengine")?;
        let child = on_tested("rtpengine")
            .args(["--foreground", "--table=-1", "--interface=127.0.0.1", "--log-stderr", "--log-level=3"])
            .args(["--port-min=10000", "--port-max=29999", "--config-file=none"])
            .arg(format!("--listen-ng={ng}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.0.join("log"))?)
            .spawn()?;
        let process = Process { child, _folder: Some(folder) };
        let mut client = loadtest::ng::Client::connect(ng)?;
        for _ in 0..100 {
            if client.ping().is_ok() {
                return Ok(Some(RtpEngine { process, ng }));
            }
            thread::sleep(Duration::from_millis(50));
        }
        bail!("rtpengine does not answer")
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// Kamailio as a proxy with record-route and rtpengine for media.
pub struct Kamailio {
    process: Process,
    rtpengine: RtpEngine,
    /// Where it takes SIP.
    pub sip: SocketAddr,
}

impl Kamailio {
    /// Starts both; `None` where one is not installed.
    pub fn start(callee: SocketAddr) -> Result<Option<Kamailio>> {
        if !is_installed("kamailio") {
            println!("kamailio is not installed (apt install kamailio): left out");
            return Ok(None);
        }
        let Some(rtpengine) = RtpEngine::start()? else { return Ok(None) };
        let sip = free_port()?;
        let folder = Folder::new("kamailio")?;
        let file = folder.0.join("kamailio.cfg");
        fs::write(&file, kamailio_config(sip, rtpengine.ng, callee))?;
        let log = fs::File::create(folder.0.join("log"))?;
        let child = on_tested("kamailio")
            .args(["-DD", "-E", "-m", "256", "-M", "16", "-f"])
            .arg(&file)
            .arg("-Y")
            .arg(&folder.0)
            .env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/sbin")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let process = Process { child, _folder: Some(folder) };
        let kamailio = Kamailio { process, rtpengine, sip };
        for _ in 0..100 {
            if is_bound(sip) {
                thread::sleep(Duration::from_millis(500)); // its workers start after its sockets
                return Ok(Some(kamailio));
            }
            thread::sleep(Duration::from_millis(50));
        }
        bail!("kamailio does not start")
    }

    /// The numbers of both programs.
    pub fn pids(&self) -> [u32; 2] {
        [self.process.pid(), self.rtpengine.pid()]
    }
}

/// As an operator would write it: stateful, record-route, media through rtpengine both ways; the destination fixed.
fn kamailio_config(sip: SocketAddr, ng: SocketAddr, callee: SocketAddr) -> String {
    let modules = ["tm", "sl", "rr", "pv", "maxfwd", "siputils", "textops", "rtpengine"];
    let load: String = modules.iter().map(|m| format!("loadmodule \"{m}.so\"\n")).collect();
    format!(
        "#!KAMAILIO\ndebug=-1\nlog_stderror=yes\nfork=yes\nchildren=2\nauto_aliases=no\ndisable_tcp=yes\n\
         listen=udp:{sip}\n{load}\
         modparam(\"rtpengine\", \"rtpengine_sock\", \"udp:{ng}\")\n\
         request_route {{\n\
           if (!mf_process_maxfwd_header(\"70\")) {{ sl_send_reply(\"483\", \"Too Many Hops\"); exit; }}\n\
           if (has_totag()) {{\n\
             loose_route();\n\
             if (is_method(\"BYE\")) {{ rtpengine_delete(); }}\n\
             $du = \"sip:{callee}\";\n\
             t_relay();\n\
             exit;\n\
           }}\n\
           if (is_method(\"CANCEL\")) {{ if (t_check_trans()) {{ t_relay(); }} exit; }}\n\
           t_check_trans();\n\
           record_route();\n\
           $du = \"sip:{callee}\";\n\
           if (is_method(\"INVITE\")) {{ rtpengine_manage(\"replace-origin replace-session-connection ICE=remove\"); t_on_reply(\"1\"); }}\n\
           t_relay();\n\
         }}\n\
         onreply_route[1] {{\n\
           if (has_body(\"application/sdp\")) {{ rtpengine_manage(\"replace-origin replace-session-connection ICE=remove\"); }}\n\
         }}\n"
    )
}

fn is_bound(at: SocketAddr) -> bool {
    udp_line(at).is_some()
}

/// Datagrams that the kernel dropped at a socket of any process because it was not read in time.
pub fn kernel_drops(at: SocketAddr) -> u64 {
    udp_line(at).and_then(|line| line.split_whitespace().last()?.parse().ok()).unwrap_or(0)
}

fn udp_line(at: SocketAddr) -> Option<String> {
    let SocketAddr::V4(at) = at else { return None };
    let name = format!("{:08X}:{:04X}", u32::from_ne_bytes(at.ip().octets()), at.port());
    let text = fs::read_to_string("/proc/net/udp").ok()?;
    text.lines().find(|line| line.split_whitespace().nth(1) == Some(&name)).map(str::to_owned)
}

/// Readings of processes and all their children.
pub fn sample(pids: &[u32]) -> Vec<(u32, Sample)> {
    let mut found = Vec::new();
    let mut left = pids.to_vec();
    while let Some(pid) = left.pop() {
        if let Ok(sample) = Sample::of(pid) {
            for (task, ..) in &sample.threads {
                let children = fs::read_to_string(format!("/proc/{pid}/task/{task}/children"));
                left.extend(
                    children.unwrap_or_default().split_whitespace().filter_map(|n| n.parse::<u32>().ok()),
                );
            }
            found.push((pid, sample));
        }
    }
    found
}

/// CPU seconds that they took between two readings.
pub fn cpu_seconds(before: &[(u32, Sample)], after: &[(u32, Sample)]) -> f64 {
    let none = Sample::default();
    let of = |(pid, after): &(u32, Sample)| {
        let before = before.iter().find(|b| b.0 == *pid).map_or(&none, |b| &b.1);
        after.since(before).cpu_seconds
    };
    after.iter().map(of).sum()
}
