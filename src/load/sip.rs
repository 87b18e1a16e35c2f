//! `strowger load sip`: calls as a scenario and a profile say, against any SIP system.

use super::{speech, table};
use crate::usage;
use anyhow::{Context, Result, anyhow, bail};
use loadtest::attack::{self, Attack};
use loadtest::digest::Account;
use loadtest::media::{TONES, speech_with};
use loadtest::profile::{Gaps, Shape};
use loadtest::run::LoadSip;
use loadtest::scenario::Scenario;
use loadtest::slo::Slo;
use loadtest::speech::{Codec, synthesize};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Arguments of `load sip`.
#[derive(clap::Args)]
pub struct Arguments {
    /// Where calls go: sip:HOST[:PORT].
    #[arg(long)]
    to: String,
    /// Calls that live at the same time.
    #[arg(long)]
    calls: u32,
    /// New calls a second.
    #[arg(long)]
    cps: f64,
    /// How long calls are placed.
    #[arg(long)]
    seconds: f64,
    /// How the rate goes: ramp, steady, soak, spike or attack.
    #[arg(long, default_value = "steady")]
    profile: String,
    /// Gaps between calls: even or poisson.
    #[arg(long, default_value = "even")]
    gaps: String,
    /// What happens in calls: basic, hold, reinvite, codec, update, options, dtmf, info, cancel, refer, busy, hangup,
    /// mixed, or a file that ends in .toml.
    #[arg(long, default_value = "basic")]
    scenario: String,
    /// How long calls talk whose scenario does not say it; without it so long that CALLS live at the same time.
    #[arg(long, value_name = "SECONDS")]
    talk: Option<f64>,
    /// A step within a call that is refused, such as a transfer, is a call that failed.
    #[arg(long)]
    strict: bool,
    /// What is said: pcmu, pcma, opus or none.
    #[arg(long, default_value = "pcmu")]
    media: String,
    /// What our answering parties say, if not the same: the system under test converts.
    #[arg(long, value_name = "CODEC")]
    uas_media: Option<String>,
    /// A WAV file with what is said; without it speech is made from the seed.
    #[arg(long, value_name = "FILE")]
    speech: Option<PathBuf>,
    /// Where our answering parties listen; `none`, or without it: somebody else answers.
    #[arg(long, value_name = "ADDRESS")]
    uas: Option<String>,
    /// How long our answering parties let it ring.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    ring: f64,
    /// Where our calling parties send from.
    #[arg(long, value_name = "ADDRESS")]
    uac: Option<SocketAddr>,
    /// The account that calls are made with.
    #[arg(long)]
    user: Option<String>,
    /// Its password; else the variable STROWGER_LOAD_PASSWORD of the environment.
    #[arg(long)]
    password: Option<String>,
    /// What stands behind the @ of its address; without it the target's address.
    #[arg(long)]
    domain: Option<String>,
    /// Registers the account first, and forgets it at the end.
    #[arg(long, requires = "user")]
    register: bool,
    /// Hostile messages a second beside the calls, with --profile attack.
    #[arg(long, value_name = "RATE", default_value_t = 100.0)]
    attack_rate: f64,
    /// Where they come from; without it another address of loopback.
    #[arg(long, value_name = "ADDRESS")]
    attack_from: Option<SocketAddr>,
    /// The attacked system is beyond this machine, and ours to attack.
    #[arg(long)]
    yes_attack: bool,
    /// The process under test: its CPU and memory are reported.
    #[arg(long)]
    pid: Option<u32>,
    /// Everything random follows from it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What decides, such as 'setup_p99<50ms,loss<0.01%,fail<0.1%'; without it everything must arrive.
    #[arg(long, default_value = "")]
    slo: String,
    /// Writes the findings here, with all that is needed to repeat the run.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Writes them here as a page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// `strowger load sip`.
pub fn load(arguments: &Arguments) -> ExitCode {
    match run(arguments) {
        Ok(code) => code,
        Err(error) => usage(format!("load sip: {error:#}")),
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let plan = plan(arguments)?;
    let report = loadtest::run::run(&plan, table())?;
    println!("{report}");
    let files = [(&arguments.json, report.json()), (&arguments.html, loadtest::html::write(&report.page()))];
    for (file, text) in files {
        if let Some(file) = file {
            std::fs::write(file, text).with_context(|| file.display().to_string())?;
        }
    }
    Ok(ExitCode::from(report.exit_status()))
}

fn plan(arguments: &Arguments) -> Result<LoadSip> {
    let host = arguments.to.strip_prefix("sip:").unwrap_or(&arguments.to);
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:5060") };
    let to = host.to_socket_addrs()?.next().ok_or_else(|| anyhow!("{host} has no address"))?;
    if arguments.calls == 0 || arguments.cps <= 0.0 || arguments.seconds <= 0.0 {
        bail!("--calls, --cps and --seconds must be more than 0");
    }
    let shape: Shape = arguments.profile.parse().context("--profile")?;
    let mut load = LoadSip::profiled(shape, to, arguments.calls, arguments.cps, arguments.seconds);
    load.gaps = match arguments.gaps.as_str() {
        "even" => Gaps::Even,
        "poisson" => Gaps::Poisson,
        other => bail!("--gaps {other}: even or poisson"),
    };
    load.scenario = Arc::new(scenario(&arguments.scenario).context("--scenario")?);
    if let Some(seconds) = arguments.talk {
        load.hold = Duration::try_from_secs_f64(seconds).context("--talk")?;
    }
    load.strict = arguments.strict;
    load.media = match arguments.media.as_str() {
        "none" => None,
        name => Some(codec(name).context("--media")?),
    };
    load.uas_media = arguments.uas_media.as_deref().map(codec).transpose().context("--uas-media")?;
    if load.media.is_some() && load.uas_media.is_some_and(|other| Some(other) != load.media) {
        // What is converted is judged by its time going on without a gap.
        if load.scenario.interrupts() {
            let name = &load.scenario.name;
            bail!(
                "--uas-media with --scenario {name}, whose holds, digits or moves interrupt what is converted"
            );
        }
    }
    voices(arguments, &mut load)?;
    load.uas = match arguments.uas.as_deref() {
        None | Some("none") => None,
        Some(address) => Some(address.parse().map_err(|_| anyhow!("--uas {address}: ADDRESS:PORT or none"))?),
    };
    load.answer_after = Duration::try_from_secs_f64(arguments.ring).context("--ring")?;
    if let Some(uac) = arguments.uac {
        load.uac = uac;
    }
    load.account = account(arguments)?;
    load.register = arguments.register;
    load.attack = if shape == Shape::Attack { Some(attack(arguments, to.ip())?) } else { None };
    load.pid = arguments.pid;
    load.seed = arguments.seed;
    load.slo = arguments.slo.parse::<Slo>().map_err(|e| anyhow!("--slo: {e}"))?;
    Ok(load)
}

fn codec(name: &str) -> Result<Codec> {
    Ok(match name {
        "pcmu" => Codec::Pcmu,
        "pcma" => Codec::Pcma,
        "opus" => Codec::Opus,
        other => bail!("{other}: pcmu, pcma or opus"),
    })
}

/// What both sides say, where that is more than the generator makes by itself.
fn voices(arguments: &Arguments, load: &mut LoadSip) -> Result<()> {
    let Some(caller) = load.media else { return Ok(()) };
    let callee = load.uas_media.unwrap_or(caller);
    let is_converted = caller != callee;
    let from_file = arguments.speech.as_deref().map(speech::file).transpose().context("--speech")?;
    load.speech = arguments.speech.as_ref().map(|file| file.display().to_string());
    if !is_converted && from_file.is_none() && caller != Codec::Opus {
        return Ok(());
    }
    if is_converted && from_file.is_some() {
        bail!("--speech and --uas-media: what is converted is known by a tone that the file does not have");
    }
    for (side, codec) in [caller, callee].into_iter().enumerate() {
        let samples = match &from_file {
            Some(samples) => samples.clone(),
            None if is_converted => speech_with(arguments.seed, TONES[side]),
            None => synthesize(arguments.seed, 20),
        };
        load.says[side] = Some(speech::recording(codec, &samples)?);
    }
    Ok(())
}

fn scenario(name: &str) -> Result<Scenario> {
    if !name.ends_with(".toml") {
        let names = || Scenario::names().collect::<Vec<_>>().join(", ");
        return Scenario::named(name).ok_or_else(|| anyhow!("{name:?} is none; there are {}", names()));
    }
    let text = std::fs::read_to_string(name).with_context(|| name.to_owned())?;
    let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Scenario::read(&stem, &text).map_err(|error| anyhow!("{name}: {error}"))
}

fn account(arguments: &Arguments) -> Result<Option<Account>> {
    let Some(user) = &arguments.user else { return Ok(None) };
    let given = arguments.password.clone().or_else(|| std::env::var("STROWGER_LOAD_PASSWORD").ok());
    let words = [Some(user), arguments.domain.as_ref()];
    if words.iter().flatten().any(|word| word.contains(|c: char| c.is_whitespace() || "<>\"@;".contains(c))) {
        bail!("--user and --domain have no blanks and none of <>\"@;");
    }
    let (user, domain) = (user.clone(), arguments.domain.clone());
    Ok(Some(Account { user, password: given.unwrap_or_default(), domain }))
}

fn attack(arguments: &Arguments, target: IpAddr) -> Result<Attack> {
    if !arguments.yes_attack && !attack::stays_here(target) {
        bail!("--profile attack on {target}, which is beyond this machine: only with --yes-attack");
    }
    if !(arguments.attack_rate > 0.0 && arguments.attack_rate.is_finite()) {
        bail!("--attack-rate must be more than 0");
    }
    let any = match target {
        IpAddr::V4(target) if target.is_loopback() => IpAddr::from([127, 0, 0, 66]),
        IpAddr::V4(_) => IpAddr::from([0, 0, 0, 0]),
        IpAddr::V6(target) if target.is_loopback() => IpAddr::V6(target),
        IpAddr::V6(_) => IpAddr::from([0u16; 8]),
    };
    let from = arguments.attack_from.unwrap_or(SocketAddr::new(any, 0));
    Ok(Attack { from, rate: arguments.attack_rate })
}
