//! `strowger demo` and `strowger load`: calls with media against an engine of our own, or against any SIP system
//! or NG media proxy.
mod compare; // two media proxies in turns
mod ng; // one media proxy
mod sip; // any SIP system
mod speech; // what parties of calls say
mod voices; // what parties say in codecs that the generator has not

use anyhow::{Context, Result, anyhow, bail};
use loadtest::run::{Lines, LoadSip, Progress};
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

/// Arguments of `demo`.
#[derive(clap::Args)]
pub struct DemoArguments {
    /// Calls that live at the same time.
    #[arg(long, default_value_t = 50)]
    calls: u32,
    /// New calls a second.
    #[arg(long, default_value_t = 20.0)]
    cps: f64,
    /// How long the whole takes, about.
    #[arg(long, default_value_t = 12.0)]
    seconds: f64,
    /// Writes the findings here.
    #[arg(long)]
    json: Option<PathBuf>,
    /// How media shards receive and send: auto, epoll or uring.
    #[arg(long, default_value = "auto")]
    backend: String,
}

/// Arguments of `load`.
#[derive(clap::Args)]
pub struct LoadArguments {
    #[command(subcommand)]
    target: LoadTarget,
}

#[derive(clap::Subcommand)]
enum LoadTarget {
    /// Any SIP system.
    #[command(
        after_help = "Example: strowger load sip --to sip:127.0.0.1:5060 --calls 100 --cps 20 --seconds 30 --uas 127.0.0.3:5060"
    )]
    Sip(Box<sip::Arguments>),
    /// Any media proxy that speaks rtpengine's NG protocol.
    #[command(
        after_help = "Example: strowger load ng --to 127.0.0.1:2223 --calls 500 --cps 250 --seconds 10 --pid 4711 --html report.html"
    )]
    Ng(Box<ng::Arguments>),
    /// Two media proxies under the same load in turns: ratios and their spread.
    #[command(after_help = "Example: strowger load compare --a strowger --b rtpengine --suite issue")]
    Compare(Box<compare::Arguments>),
}

/// `strowger demo`.
pub fn demo(arguments: &DemoArguments) -> ExitCode {
    match run_demo(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("strowger demo: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run_demo(arguments: &DemoArguments) -> Result<ExitCode> {
    let positive = arguments.calls > 0 && arguments.cps > 0.0 && arguments.seconds > 0.0;
    if !positive {
        bail!("--calls, --cps and --seconds must be more than 0");
    }
    let [uac, uas] = ["127.0.0.2:0", "127.0.0.3:0"].map(|a| a.parse::<SocketAddr>().expect("an address"));
    let lines = Lines::bind(uac, Some(uas)).context("the phones' addresses")?;
    let phones = (lines.uac()?, lines.uas()?.ok_or_else(|| anyhow!("no address for the answering side"))?);
    let folder = Folder::new()?;
    let file = folder.path.join("strowger.toml");
    std::fs::write(&file, example(phones, &folder.path, &arguments.backend))?;
    println!("Engine on loopback: callers {} -> strowger -> callees {}", phones.0, phones.1);
    let engine = Engine::start(&file)?;
    println!("strowger listens on {} (process {})\n", engine.sip, engine.pid());

    let mut load = LoadSip::ramp(engine.sip, arguments.calls, arguments.cps, arguments.seconds);
    load.uac = phones.0;
    load.uas = Some(phones.1);
    load.pid = Some(engine.pid());
    // A demonstration on whatever machine there is, generator and engine on the same processors: it shows that calls
    // work, and no figure of it is quoted.
    load.lateness_max = Duration::from_millis(100);
    let report = loadtest::run::run_on(lines, &load, table())?;
    println!("\n{report}");
    if let Some(file) = &arguments.json {
        std::fs::write(file, report.json()).with_context(|| format!("{}", file.display()))?;
    }
    engine.stop()?;
    Ok(ExitCode::from(report.exit_status()))
}

/// The built-in example: two trunks by address, a route each way.
fn example((caller, callee): (SocketAddr, SocketAddr), folder: &Path, backend: &str) -> String {
    let folder = folder.display();
    format!(
        "listener.main = {{ sip = \"udp:127.0.0.1:0\", media = \"127.0.0.1:10000-29999\" }}\n\
         trunk.callers = \"{caller}\"\n\
         trunk.callees = \"{callee}\"\n\
         [[route]]\nfrom = \"callers\"\nvia = \"callees\"\n\
         [[route]]\nfrom = \"callees\"\nvia = \"callers\"\n\
         [engine]\napi = \"127.0.0.1:0\"\nbackend = \"{backend}\"\nlog = \"warn\"\n\
         store = \"sqlite:{folder}/strowger.db\"\ncdr = [\"jsonl:{folder}/cdr.jsonl\"]\n"
    )
}

/// A folder of our own that goes with us.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new() -> Result<Folder> {
        let path = std::env::temp_dir().join(format!("strowger-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Folder { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// An engine as a child process, so that its CPU is its own. It ends when its standard input closes, thus also with us.
struct Engine {
    child: Child,
    sip: SocketAddr,
}

impl Engine {
    fn start(file: &Path) -> Result<Engine> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["run", "--until-stdin-closes"])
            .arg(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or_else(|| anyhow!("no output of the engine"))?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let ready: serde_json::Value = serde_json::from_str(&line).context("the engine did not start")?;
        let sip = ready["ready"]["sip"][0]["address"].as_str().and_then(|a| a.parse().ok());
        Ok(Engine { child, sip: sip.ok_or_else(|| anyhow!("the engine tells no SIP address"))? })
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn stop(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { bail!("the engine ended with {status}") }
    }
}

/// A live table on a terminal: one line that is written over. A pipe gets none.
fn table() -> impl FnMut(&Progress) {
    let live = std::io::stdout().is_terminal();
    let mut head = false;
    move |progress| {
        if !live {
            return;
        }
        if !core::mem::replace(&mut head, true) {
            println!(
                "{:>7} {:>7} {:>7} {:>7} {:>10} {:>9} {:>8} {:>9} {:>9} {:>6}",
                "seconds",
                "active",
                "done",
                "failed",
                "setup p99",
                "packets",
                "missing",
                "delay p50",
                "delay p99",
                "cores"
            );
        }
        let (calls, media) = (&progress.calls, progress.media.as_ref());
        print!(
            "\r{:>7.1} {:>7} {:>7} {:>7} {:>7.2} ms {:>9} {:>8} {:>6.0} us {:>6.0} us {:>6.2}",
            progress.seconds,
            calls.active,
            calls.completed,
            calls.failed,
            calls.setup_p99_us / 1e3,
            media.map_or(0, |m| m.received),
            media.map_or(0, |m| m.missing),
            media.map_or(0.0, |m| m.p50_us),
            media.map_or(0.0, |m| m.p99_us),
            progress.cores.unwrap_or(0.0),
        );
        let _ = std::io::stdout().flush();
    }
}

/// `strowger load`.
pub fn load(arguments: &LoadArguments) -> ExitCode {
    match &arguments.target {
        LoadTarget::Sip(arguments) => sip::load(arguments),
        LoadTarget::Ng(arguments) => ng::run(arguments),
        LoadTarget::Compare(arguments) => compare::run(arguments),
    }
}
