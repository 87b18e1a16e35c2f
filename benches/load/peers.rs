//! The systems under test: child processes on the second processor, ended by their own numbers.

use anyhow::{Context, Result, bail};
pub use loadtest::peers::{
    Folder, GENERATOR, Process, RtpEngine, free_port, is_installed, on_tested, stay_on_first_processor,
    tested,
};
use loadtest::process::{Sample, sample_all};
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// Starts a program of the generator's side; its output goes to `folder`.
pub fn spawn(command: &mut Command, folder: &Folder) -> Result<Process> {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.0.join("output"))?;
    let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?;
    Ok(Process::new(child, None))
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
        let process = Process::new(child, Some(folder));
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

/// Debian's rtpengine in user space; `None` where it is not installed.
pub fn rtpengine() -> Result<Option<RtpEngine>> {
    let rtpengine = RtpEngine::start()?;
    if rtpengine.is_none() {
        println!("rtpengine is not installed (apt install rtpengine-daemon): left out");
    }
    Ok(rtpengine)
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
        let Some(rtpengine) = rtpengine()? else { return Ok(None) };
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
        let process = Process::new(child, Some(folder));
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
    sample_all(pids, true)
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
