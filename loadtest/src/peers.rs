//! Engines to compare with, as child processes that end with us: Debian's rtpengine in user space, our own. Where there
//! are two processors the generator stays on the first and the engine on the second.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::ng::Client;
use crate::sys;

/// How long an engine may take to start.
const START_FOR: Duration = Duration::from_secs(10);

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

/// A command that runs on the processor of the system under test, where there is a way. It ends with the thread that
/// starts it, also where that is killed.
pub fn on_tested(program: &str) -> Command {
    let mut command = match tested() {
        Some(cpu) if is_installed("taskset") => {
            let mut command = Command::new("taskset");
            command.args(["-c", &cpu.to_string(), program]);
            command
        }
        _ => Command::new(program),
    };
    sys::end_with_us(&mut command);
    command
}

/// A folder that goes with us.
#[derive(Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    /// A new one.
    ///
    /// # Errors
    /// As `create_dir_all`.
    pub fn new(name: &str) -> io::Result<Folder> {
        let unique = format!("strowger-{name}-{}-{:x}", std::process::id(), crate::sys::mono_ns());
        let path = std::env::temp_dir().join(unique);
        fs::create_dir_all(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A free UDP port of 127.0.0.1, free a moment ago at least.
///
/// # Errors
/// None is.
pub fn free_port() -> io::Result<SocketAddr> {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// An address of loopback that no other peer of this machine has: rtpengine shares its ports (`SO_REUSEADDR`), so that two of
/// them at one address take each other's packets.
fn own_address() -> IpAddr {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 + (count / 250 % 128) as u8, high ^ (count % 250) as u8, low.clamp(1, 254)).into()
}

/// A child process, ended when it is dropped: by closing its input where that is ours, else by a signal.
#[derive(Debug)]
pub struct Process {
    child: Child,
    _folder: Option<Folder>,
}

impl Process {
    /// Ends `child` when dropped, and removes `folder` after that.
    pub fn new(child: Child, folder: Option<Folder>) -> Process {
        Process { child, _folder: folder }
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// As `wait`.
    pub fn wait(&mut self) -> io::Result<()> {
        self.child.wait().map(drop)
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

/// Debian's rtpengine in user space.
#[derive(Debug)]
pub struct RtpEngine {
    process: Process,
    /// Where it takes NG commands by UDP; TCP and HTTP at the ports of the same number.
    pub ng: SocketAddr,
}

impl RtpEngine {
    /// Starts it; `None` where it is not installed.
    ///
    /// # Errors
    /// It does not start.
    pub fn start() -> io::Result<Option<RtpEngine>> {
        Self::start_with(&[])
    }

    /// The same with more arguments.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_with(arguments: &[String]) -> io::Result<Option<RtpEngine>> {
        if !is_installed("rtpengine") {
            return Ok(None);
        }
        let (ng, media) = (free_port()?, own_address());
        let folder = Folder::new("rtpengine")?;
        let begun = Instant::now();
        let child = on_tested("rtpengine")
            .args(["--foreground", "--table=-1", "--log-stderr", "--log-level=3"])
            .args(["--port-min=10000", "--port-max=29999", "--config-file=none"])
            .args([format!("--interface={media}"), format!("--listen-ng={ng}")])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.0.join("log"))?)
            .spawn()?;
        let process = Process::new(child, Some(folder));
        wait_for(ng, "rtpengine", begun + START_FOR)?;
        Ok(Some(RtpEngine { process, ng }))
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it says of its version.
    pub fn version() -> Option<String> {
        let output = Command::new("rtpengine").arg("--version").output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        Some(String::from_utf8_lossy(&text).lines().next()?.trim().to_owned())
    }
}

/// Our engine with NG, and nothing else open.
#[derive(Debug)]
pub struct Strowger {
    process: Process,
    /// Where it takes NG commands.
    pub ng: SocketAddr,
}

impl Strowger {
    /// Starts `program` with a configuration of its own; `engine` are more lines of its section `[engine]`.
    ///
    /// # Errors
    /// It does not start; with its own words.
    pub fn start(program: &Path, engine: &[String]) -> io::Result<Strowger> {
        let ng = free_port()?;
        let folder = Folder::new("engine")?;
        let file = folder.0.join("strowger.toml");
        let path = folder.0.display();
        // Media below the ports that the system hands out, of which NG's is one.
        let text = format!(
            "listener.main = {{ sip = \"udp:127.0.0.1:0\", media = \"127.0.0.1:10000-29999\" }}\n\
             [engine]\napi = \"127.0.0.1:0\"\nlog = \"warn\"\nng = [\"udp:{ng}\"]\n\
             store = \"sqlite:{path}/strowger.db\"\ncdr = [\"jsonl:{path}/cdr.jsonl\"]\n{}\n",
            engine.join("\n")
        );
        fs::write(&file, text)?;
        let log = folder.0.join("log");
        let begun = Instant::now();
        let mut child = on_tested(&program.display().to_string())
            .args(["run", "--until-stdin-closes"])
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log)?)
            .spawn()?;
        let stdout = child.stdout.take();
        let process = Process::new(child, Some(folder));
        let line = stdout.map(|stdout| first_line(stdout, START_FOR)).transpose()?.unwrap_or_default();
        if line.is_empty() {
            let words = fs::read_to_string(&log).unwrap_or_default();
            return Err(io::Error::other(format!("strowger did not start: {}", words.trim())));
        }
        wait_for(ng, "strowger", begun + START_FOR)?;
        Ok(Strowger { process, ng })
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// What `output` says first; empty if it ends without a word or says nothing in time.
fn first_line(output: impl io::Read + Send + 'static, within: Duration) -> io::Result<String> {
    let (tell, told) = mpsc::channel();
    // Where nothing comes, it ends with the process that it reads from.
    thread::Builder::new().name("load-peer".to_owned()).spawn(move || {
        let mut line = String::new();
        let _ = tell.send(BufReader::new(output).read_line(&mut line).map(|_| line));
    })?;
    told.recv_timeout(within).unwrap_or_else(|_| Ok(String::new()))
}

/// Until it answers a ping.
fn wait_for(ng: SocketAddr, name: &str, until: Instant) -> io::Result<()> {
    let mut client = Client::connect(ng)?;
    loop {
        if client.ping_once().is_ok() {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(io::Error::other(format!("{name} does not answer")));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_ends_with_its_owner_and_its_folder_with_it() {
        let folder = Folder::new("test").unwrap();
        let path = folder.0.clone();
        let child = Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        let process = Process::new(child, Some(folder));
        let proc = PathBuf::from(format!("/proc/{}", process.pid()));
        assert!(proc.exists() && path.exists());
        drop(process);
        assert!(!proc.exists() && !path.exists());
    }

    #[test]
    fn a_child_ends_with_the_thread_that_started_it() {
        let start = || on_tested("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap();
        // Its thread ends without a word, as a generator does that is killed.
        let mut child = thread::spawn(start).join().unwrap();
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(20));
            thread::yield_now();
        }
    }

    #[test]
    fn a_program_that_says_nothing_is_not_waited_for_without_end() {
        let (silent, _speaker) = io::pipe().unwrap();
        assert_eq!(first_line(silent, Duration::from_millis(20)).unwrap(), "");
        assert_eq!(first_line(&b"ready\nmore"[..], START_FOR).unwrap(), "ready\n");
        let nobody = free_port().unwrap();
        assert!(wait_for(nobody, "nobody", Instant::now()).is_err());
    }

    #[test]
    fn a_program_that_is_no_engine_says_why() {
        let error = Strowger::start(Path::new("false"), &[]).unwrap_err();
        assert!(error.to_string().contains("did not start"), "{error}");
        assert!(!is_installed("no-such-program-anywhere"));
    }
}
