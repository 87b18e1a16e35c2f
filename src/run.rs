//! `strowger run`: reads the configuration, builds the parts and the rings between them, supervises, stops in order.

use crate::clips::{Clips, ClipsConfig};
use crate::engine::{Configuration, Running, ToClips, ToHooks, ToStore};
use crate::forks::WebSockets;
use crate::keeping;
use crate::{logging, usage};
use anyhow::{Context, Result, anyhow, bail};
use api::engine::Engine;
use b2bua::{Spec, Transport};
use base::{Clock, Mailbox, Now};
use command::Event;
use config::engine::{Backend, CdrSink, Complexity, Dns, NgCarrier, Pin, Role, Shards};
use config::value::Word;
use config::{Checked, Config, PoolBook};
use core::net::SocketAddr;
use edge::blocked::Blocked;
use edge::gate::Gate;
use edge::input::Bell;
use edge::ng_stream::{NgSpeaks, NgStreams};
use edge::resolver::{Resolver, Servers};
use edge::stream::{StreamGuard, Streams};
use edge::udp::{Listening, Paths, UdpSocket};
use edge::{EdgeConfig, Input, NgEdge};
use ledger::{Ask, Bans, SignallingStats};
use shard::recorder::{Recorder, RecorderConfig};
use shard::{BackendChoice, MediaListener, ShardConfig, ShardHandle};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Arguments of `run`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The configuration; `./strowger.toml`, then `/etc/strowger/strowger.toml`.
    file: Option<PathBuf>,
    /// Ends when standard input does; for programs that start an engine.
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
    /// Lets a test make shards fail.
    #[arg(long, hide = true)]
    allow_panic: bool,
}

/// Runs the engine until a signal ends it.
pub fn run(arguments: &Arguments) -> ExitCode {
    let file = match &arguments.file {
        Some(file) => file.clone(),
        None => {
            let places = ["strowger.toml", "/etc/strowger/strowger.toml"].map(PathBuf::from);
            match places.into_iter().find(|p| p.exists()) {
                Some(file) => file,
                None => {
                    return usage(
                        "no configuration: neither ./strowger.toml nor /etc/strowger/strowger.toml",
                    );
                }
            }
        }
    };
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) => return usage(format!("{}: {error}", file.display())),
    };
    let checked = match Config::check(&text, &file.display().to_string()) {
        Ok(checked) => checked,
        Err(errors) => {
            for error in errors {
                eprintln!("{error}");
            }
            return ExitCode::from(2);
        }
    };
    let missing = checked.missing_secrets();
    let refused = checked.not_in_effect().into_iter().filter(|n| n.protective).chain(missing);
    let refused: Vec<String> = refused.map(|n| n.to_string()).collect();
    if !refused.is_empty() {
        for line in refused {
            eprintln!("{line}");
        }
        return usage("refused to start: these keys protect somebody and would not be in effect");
    }
    match start_and_serve(arguments, &file, &text, checked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("strowger: {error:#}");
            // Whatever keeps it from starting stands in the file or on the host.
            ExitCode::from(2)
        }
    }
}

fn start_and_serve(arguments: &Arguments, file: &Path, text: &str, checked: Checked) -> Result<()> {
    let clock = Clock::start();
    let logging = logging::start(&checked.engine().log.0);
    for notice in checked.not_in_effect() {
        tracing::warn!(notice = %notice, "key without effect, or with one to think about");
    }
    let descriptors = shard::sys::raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let engine = checked.engine().clone();
    // What must last: the secret of this installation, and the records.
    let folder = engine.store.folder();
    std::fs::create_dir_all(folder).with_context(|| format!("{}", folder.display()))?;
    let secret = store::Secret::load_or_create(&folder.join("strowger.secret"))?;
    let settings = records(&engine)?;
    let (writer, found) = store::CdrWriter::spawn(&settings, clock)?;
    if found.interrupted > 0 || found.torn_bytes > 0 {
        tracing::warn!(
            interrupted = found.interrupted,
            torn_bytes = found.torn_bytes,
            "the earlier run ended suddenly; records of its calls are written now"
        );
    }

    let store = Arc::new(store::Store::open(&settings.database)?);
    let versions = keeping::versions(&store, clock, text);
    let version = versions.back().map_or(1, |version| version.version);
    let mut pools = PoolBook::with_key(secret.hash_key("limits")); // strangers choose the keys
    let spec = Arc::new(checked.spec(version, &mut pools));
    let ng_spec = Arc::new(checked.ng_spec(&mut pools));
    warn_about_ports(&spec);

    // Mailboxes first, since everybody needs those of others.
    let shards = engine.signalling_shards as usize;
    let mut bells = Vec::new();
    let (mut inboxes, mut events) = (Vec::new(), Vec::new());
    for _ in 0..shards {
        let bell = Bell::new()?;
        inboxes.push(Mailbox::<Input>::new(INBOX, bell.clone()));
        events.push(Mailbox::<Event>::new(EVENTS, bell.clone()));
        bells.push(bell);
    }

    let media = start_media(arguments, clock, &engine, &spec, &events, &secret)?;
    let gate = Arc::new(Gate::default());
    gate.apply(&spec);
    let blocked = Blocked::new(clock);
    let mut shared = b2bua::Shared::new(clock.now(), secret.hash_key("shared"));
    shared.bans = Arc::new(Bans::with(secret.hash_key("bans"), blocked.clone()));
    let bans = Arc::clone(&shared.bans);
    keeping::load_bans(clock, &store, &bans);
    let (sockets, listeners, bound) = bind(&spec, shards, &gate, &blocked)?;
    let ng_bound = bind_ng(&engine, shards)?;

    let steering = secret.hash_key("steering");
    let _entered = runtime.enter();
    let guard = StreamGuard { gate: Arc::clone(&gate), bans: Arc::clone(&bans), clock };
    let streams = Streams::start(listeners, inboxes.clone(), steering, guard)?;
    let ng_streams = NgStreams::start(ng_bound.listeners, inboxes.clone(), steering)?;
    let servers = match &engine.dns {
        Dns::System => Servers::System,
        Dns::Servers(list) => Servers::Given(list.iter().map(|d| d.0).collect()),
    };
    let resolver =
        Resolver::start(&servers, inboxes.clone(), base::Rng::from_seed(seed(&secret, clock.now(), 99)))
            .map_err(|e| anyhow!("engine.dns: {e}"))?;

    keeping::keep_bans(Arc::clone(&store), Arc::clone(&bans));
    keeping::interrupt_recordings(&store);
    keeping::keep_recordings(Arc::clone(&store), Arc::clone(&shared.recordings));
    let hooks = hook::Hooks::start(hook::Limits::default());

    let stats: Vec<Arc<SignallingStats>> = (0..shards).map(|_| Arc::default()).collect();
    let ng_stats: Vec<Arc<ng::counts::NgStats>> = (0..shards).map(|_| Arc::default()).collect();
    let ng_book = Arc::new(ng::book::Book::default());
    let clips = Arc::new(Clips::new(ClipsConfig::new(Some(engine.sounds.0.clone())), clock));
    let sounds = Arc::new(ToClips::new(Arc::clone(&clips), runtime.handle().clone(), inboxes.clone()));
    let mut threads = Vec::new();
    let all = bells.into_iter().zip(sockets).zip(ng_bound.sockets);
    for (index, ((bell, sockets), ng_sockets)) in all.enumerate() {
        let config = b2bua::Config {
            node: 0,
            shard: index as u8,
            shards,
            media_shards: media.len(),
            steering,
            secret: secret.hash_key("hop"),
            timers: sip::transaction::Timers::default(),
            calls_max: 262_144,
            trace_bytes: 16 << 20,
            generation: 1,
            allow_panic: arguments.allow_panic,
            shared: shared.clone(),
        };
        let ng = (!engine.ng.is_empty()).then(|| NgEdge {
            config: ng::desk::Config {
                node: config.node,
                shard: config.shard,
                media_shards: config.media_shards,
                generation: config.generation,
                calls_max: config.calls_max,
                secret: secret.hash_key("ng"),
                recordings: Arc::clone(&shared.recordings),
                events: Arc::clone(&shared.events),
                book: Arc::clone(&ng_book),
            },
            spec: Arc::clone(&ng_spec),
            sockets: ng_sockets,
            streams: ng_streams.clone(),
            sounds: Arc::clone(&sounds) as Arc<dyn edge::Sounds>,
            stats: Arc::clone(&ng_stats[index]),
        });
        threads.push(edge::spawn(EdgeConfig {
            clock,
            config,
            spec: Arc::clone(&spec),
            seed: seed(&secret, clock.now(), index as u64),
            sockets,
            gate: Arc::clone(&gate),
            bans: Arc::clone(&bans),
            blocked: blocked.clone(),
            bound: bound.clone(),
            bell,
            inbox: inboxes[index].clone(),
            events: events[index].clone(),
            peers: inboxes.clone(),
            media: media.iter().map(|m| m.commands().clone()).collect(),
            records: Arc::new(ToStore(writer.handle())),
            hooks: Arc::new(ToHooks { hooks: hooks.clone(), inboxes: inboxes.clone() }),
            streams: streams.clone(),
            resolver: resolver.clone(),
            ng,
            stats: Arc::clone(&stats[index]),
        })?);
    }

    let running = Arc::new(Running {
        clock,
        inboxes,
        signalling: stats,
        ng: ng_stats,
        media: media.iter().map(|m| Arc::clone(m.stats())).collect(),
        orders: media.iter().map(|m| m.commands().clone()).collect(),
        allow_panic: arguments.allow_panic,
        records: writer.handle(),
        store: Arc::clone(&store),
        cdrs: store.reader()?,
        shared,
        hooks: Arc::clone(hooks.stats()),
        clips,
        recordings: engine.recordings.0.clone(),
        logging,
        draining: AtomicBool::new(false),
        configuration: Mutex::new(Configuration {
            config: checked.into_config(),
            spec: Arc::clone(&spec),
            ng_spec,
            pools,
            versions,
        }),
        file: file.display().to_string(),
    });
    let socket =
        std::net::TcpListener::bind(engine.api).with_context(|| format!("engine.api {}", engine.api))?;
    let api = api::server::spawn(
        socket,
        Arc::clone(&running) as Arc<dyn Engine>,
        tokens(&engine)?,
        api::Limits::default(),
    )?;

    let ready = ready_line(&spec, &bound, &ng_bound.ready, &media, api.address(), descriptors);
    println!("{ready}");
    tracing::info!(%ready, "ready");
    runtime.block_on(supervise(arguments, file, &running))?;
    drop(api);
    stop(&running, threads);
    drop(media);
    keeping::save_bans(&store, &bans);
    keeping::save_recordings(&store, &running.shared.recordings);
    drop(writer); // writes what was handed over
    tracing::info!("stopped");
    // The log writer gets a moment for its last lines.
    std::thread::sleep(Duration::from_millis(20));
    Ok(())
}

/// Messages that may wait for a signalling thread.
const INBOX: usize = 16_384;
/// Media events that may wait for a signalling thread.
const EVENTS: usize = 65_536;

/// Where records go, as the configuration says.
fn records(engine: &config::Engine) -> Result<store::CdrSettings> {
    let config::engine::Store::Sqlite(database) = &engine.store else {
        bail!("engine.store: only \"sqlite:PATH\" is in effect yet");
    };
    let sink = |sink: &CdrSink| {
        Ok(match sink {
            CdrSink::Jsonl(path) => store::Sink::Jsonl(path.clone()),
            CdrSink::Csv(path) => store::Sink::Csv(path.clone()),
            CdrSink::Webhook(url) => {
                store::Sink::Webhook(url.0.parse().with_context(|| format!("engine.cdr: {}", url.0))?)
            }
        })
    };
    Ok(store::CdrSettings {
        sinks: engine.cdr.iter().map(sink).collect::<Result<_>>()?,
        keep: store::Keep { age: engine.cdr_keep.0, rows: None },
        ..store::CdrSettings::new(database)
    })
}

fn start_media(
    arguments: &Arguments,
    clock: Clock,
    engine: &config::Engine,
    spec: &Spec,
    events: &[Mailbox<Event>],
    secret: &store::Secret,
) -> Result<Vec<ShardHandle>> {
    let cpus = shard::sys::allowed_cpus();
    let count = match engine.media_shards {
        Shards::Auto => cpus.len().saturating_sub(1).max(1),
        Shards::Count(n) => n as usize,
    };
    let pinned = match engine.pin {
        Pin::Auto => cpus.len() >= 4,
        Pin::On => true,
        Pin::Off => false,
    };
    let listeners: Vec<MediaListener> = spec
        .listeners
        .iter()
        .enumerate()
        .flat_map(|(number, listener)| {
            listener.media.iter().map(move |range| MediaListener {
                listener: number as u16,
                address: range.address,
                ports: range.ports.clone(),
            })
        })
        .collect();
    let back_end = match engine.backend {
        Backend::Auto | Backend::Steer | Backend::Xdp => BackendChoice::Auto,
        Backend::Epoll => BackendChoice::Epoll,
        Backend::Uring => BackendChoice::Uring,
    };
    let crossings = shard::crossing_rings(count);
    let folder = RecorderConfig::new(engine.recordings.0.clone());
    let recorder = Recorder::start(folder).map_err(|e| anyhow!("the writer of recordings: {e}"))?;
    recorder.dial_by(Arc::new(WebSockets::start().map_err(|e| anyhow!("WebSockets: {e}"))?));
    (0..count)
        .map(|index| {
            let base = ShardConfig::new(clock, seed(secret, clock.now(), 1_000 + index as u64));
            let config = ShardConfig {
                index: index as u8,
                shards: count as u8,
                // The first CPU is left to signalling.
                cpu: pinned.then(|| cpus[(index + 1) % cpus.len()]),
                listeners: listeners.clone(),
                back_end,
                allow_panic: arguments.allow_panic,
                orphan: spec.orphan,
                pairs_max: (base.pairs_max / count as u32).max(1),
                events: events.to_vec(),
                crossings: crossings.clone(),
                recorder: Some(recorder.clone()),
                complexity: match engine.opus_complexity {
                    Complexity::Auto => base.complexity,
                    Complexity::Fixed(complexity) => complexity,
                },
                adapts: engine.opus_complexity == Complexity::Auto,
                ..base
            };
            shard::spawn(config).map_err(|e| anyhow!("media shard {index}: {e}"))
        })
        .collect()
}

type Bound = Vec<Vec<(Transport, SocketAddr)>>;
type Sockets = Vec<Vec<(u16, Paths)>>;
type Streaming = Vec<(u16, Listening)>;

/// Binds all SIP addresses: datagram sockets twice for each signalling shard, for known sources and for strangers;
/// streams twice.
fn bind(spec: &Spec, shards: usize, gate: &Gate, blocked: &Blocked) -> Result<(Sockets, Streaming, Bound)> {
    let mut sockets: Sockets = (0..shards).map(|_| Vec::new()).collect();
    let (mut listeners, mut bound) = (Vec::new(), Bound::new());
    for (number, listener) in spec.listeners.iter().enumerate() {
        let mut here = Vec::new();
        for sip in &listener.sip {
            let place = || format!("listener.{}.sip {}:{}", listener.name, sip.transport, sip.address);
            match sip.transport {
                Transport::Udp => {
                    let mut paths =
                        UdpSocket::bind_paths(sip.address, listener.dscp_sip, shards).with_context(place)?;
                    let address = paths[0].known.local();
                    if let Err(error) = gate.divide(&mut paths) {
                        warn_undivided(&listener.name, address, &error);
                    }
                    for strangers in paths.iter().filter_map(|paths| paths.strangers.as_ref()) {
                        blocked.guard(strangers.group()?);
                    }
                    for (shard, paths) in sockets.iter_mut().zip(paths) {
                        shard.push((number as u16, paths));
                    }
                    here.push((Transport::Udp, address));
                }
                Transport::Tcp => {
                    // The port that UDP got, where both were left to the system: one port for both is what peers expect.
                    let mut address = sip.address;
                    if address.port() == 0
                        && let Some((_, udp)) = here.iter().find(|(_, a)| a.ip() == address.ip())
                    {
                        address = *udp;
                    }
                    let mut sockets = Listening::bind(address).with_context(place)?;
                    let address = sockets.known.local_addr()?;
                    if let Err(error) = gate.divide_streams(&mut sockets) {
                        warn_undivided(&listener.name, address, &error);
                    }
                    here.push((Transport::Tcp, address));
                    listeners.push((number as u16, sockets));
                }
                Transport::Tls | Transport::Ws | Transport::Wss => bail!("{}: not in effect yet", place()),
            }
        }
        bound.push(here);
    }
    Ok((sockets, listeners, bound))
}

/// What is bound for NG.
struct NgBound {
    /// Of each signalling shard.
    sockets: Vec<Vec<UdpSocket>>,
    listeners: Vec<(NgSpeaks, std::net::TcpListener)>,
    ready: Vec<(NgCarrier, SocketAddr)>,
}

/// Binds the addresses of NG: datagram sockets once for each signalling shard, streams once. HTTP and WebSockets on one
/// address are one server.
fn bind_ng(engine: &config::Engine, shards: usize) -> Result<NgBound> {
    let sockets = (0..shards).map(|_| Vec::new()).collect();
    let mut bound = NgBound { sockets, listeners: Vec::new(), ready: Vec::new() };
    let mut web: Vec<(SocketAddr, SocketAddr)> = Vec::new();
    for ng in &engine.ng {
        let place = || format!("engine.ng {}", ng.word());
        let listen = || -> Result<_> {
            let listener = std::net::TcpListener::bind(ng.address).with_context(place)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let address = match ng.carrier {
            NgCarrier::Udp => {
                let sockets = UdpSocket::bind_shards(ng.address, shards).with_context(place)?;
                let address = sockets[0].local();
                warn_about_queue(address, &sockets[0]);
                for (shard, socket) in bound.sockets.iter_mut().zip(sockets) {
                    shard.push(socket);
                }
                address
            }
            NgCarrier::Tcp => {
                let (listener, address) = listen()?;
                bound.listeners.push((NgSpeaks::Tcp, listener));
                address
            }
            NgCarrier::Http | NgCarrier::Ws => {
                let known = web.iter().find(|(wanted, _)| *wanted == ng.address && wanted.port() != 0);
                match known {
                    Some((_, address)) => *address,
                    None => {
                        let (listener, address) = listen()?;
                        bound.listeners.push((NgSpeaks::Web, listener));
                        web.push((ng.address, address));
                        address
                    }
                }
            }
        };
        bound.ready.push((ng.carrier, address));
    }
    Ok(bound)
}

/// A burst of a thousand requests is lost where the kernel grants a queue of a few hundred.
fn warn_about_queue(address: SocketAddr, socket: &UdpSocket) {
    if let Ok((granted, wanted)) = socket.queue_len()
        && granted < wanted
    {
        tracing::warn!(
            %address, granted, wanted,
            "the kernel grants a short queue to NG: bursts may be lost; set net.core.rmem_max"
        );
    }
}

fn warn_undivided(listener: &str, address: SocketAddr, error: &std::io::Error) {
    tracing::warn!(
        listener, %address, %error,
        "the kernel does not sort by source: a flood from strangers can crowd out trunks"
    );
}

fn tokens(engine: &config::Engine) -> Result<api::Tokens> {
    let mut tokens = api::Tokens::default();
    for token in &engine.tokens {
        let role = match token.role {
            Role::Read => api::Role::Read,
            Role::Calls => api::Role::Calls,
            Role::Admin => api::Role::Admin,
        };
        tokens.add(&token.token.resolve()?, role)?;
    }
    Ok(tokens)
}

/// Waits for signals and does what they ask until one of them ends the engine.
async fn supervise(arguments: &Arguments, file: &Path, running: &Arc<Running>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (closed, mut stdin_closed) = tokio::sync::mpsc::channel::<()>(1);
    if arguments.until_stdin_closes {
        std::thread::Builder::new().name("stdin".into()).spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
            drop(closed);
        })?;
    } else {
        std::mem::forget(closed); // never closes
    }
    let mut drained = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            _ = terminate.recv() => {
                if running.draining() {
                    return Ok(()); // asked twice: now
                }
                running.drain(true);
            }
            _ = interrupt.recv() => return Ok(()),
            _ = stdin_closed.recv() => return Ok(()),
            _ = hangup.recv() => apply_file(file, running),
            _ = drained.tick(), if running.draining() => {
                if running.calls() == 0 {
                    return Ok(());
                }
            }
        }
    }
}

/// SIGHUP: the file again; an invalid one changes nothing.
fn apply_file(file: &Path, running: &Running) {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => return tracing::error!(file = %file.display(), %error, "configuration not applied"),
    };
    match running.apply(&text, None) {
        Ok(_) => {}
        Err(api::engine::ApplyError::Invalid(faults)) => {
            for fault in faults {
                tracing::error!(line = fault.line, key = %fault.field, "configuration not applied: {}", fault.expected);
            }
        }
        Err(error) => tracing::error!(?error, "configuration not applied"),
    }
}

/// Calls end with BYE, then threads end, then records are flushed.
fn stop(running: &Running, threads: Vec<JoinHandle<()>>) {
    if running.calls() > 0 {
        running.tell_all(|| Input::Ask(Ask::HangupAll));
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(20));
            // The last files of recordings are told of after their calls.
            if running.calls() == 0 && running.shared.recordings.active() == 0 {
                break;
            }
        }
    }
    running.tell_all(|| Input::Stop);
    for thread in threads {
        let _ = thread.join();
    }
}

/// One line that tells whoever started us where everything is.
fn ready_line(
    spec: &Spec,
    bound: &Bound,
    ng: &[(NgCarrier, SocketAddr)],
    media: &[ShardHandle],
    api: SocketAddr,
    descriptors: u64,
) -> String {
    let sip: Vec<_> = spec
        .listeners
        .iter()
        .zip(bound)
        .flat_map(|(listener, bound)| {
            bound.iter().map(|(transport, address)| {
                serde_json::json!({
                    "listener": listener.name, "transport": transport.param(), "address": address.to_string(),
                })
            })
        })
        .collect();
    let ng: Vec<_> = ng
        .iter()
        .map(|(carrier, address)| {
            serde_json::json!({ "carrier": carrier.word(), "address": address.to_string() })
        })
        .collect();
    let ranges = spec.listeners.iter().flat_map(|l| &l.media);
    // Port 0 leaves the choice to the system: any port that is not reserved for services.
    let first = |start: u16| if start == 0 { (1_024, 65_535) } else { (start, 0) };
    let pairs: u64 = ranges
        .map(|r| {
            let (start, end) = first(*r.ports.start());
            (u64::from((*r.ports.end()).max(end)) + 1 - u64::from(start)) / 2
        })
        .sum();
    let capacity =
        serde_json::json!({ "by_ports": pairs / 2, "by_descriptors": descriptors.saturating_sub(64) / 4 });
    tracing::info!(
        "capacity: {} calls by ports, {} by descriptors",
        capacity["by_ports"],
        capacity["by_descriptors"]
    );
    serde_json::json!({
        "ready": {
            "pid": std::process::id(),
            "sip": sip,
            "ng": ng,
            "api": api.to_string(),
            "media_shards": media.len(),
            "backend": media.first().map(ShardHandle::back_end),
            "capacity": capacity,
        }
    })
    .to_string()
}

/// Media ports that the kernel may give to others (surface.md).
fn warn_about_ports(spec: &Spec) {
    for (listener, low, high) in crate::check::overlapping_ports(spec) {
        tracing::warn!(
            listener,
            "media ports overlap the kernel's ephemeral ports {low}-{high}; set net.ipv4.ip_local_reserved_ports"
        );
    }
}

/// A seed that no other shard and no other start has.
fn seed(secret: &store::Secret, now: Now, number: u64) -> u64 {
    let mut text = std::process::id().to_le_bytes().to_vec();
    text.extend_from_slice(&now.wall.0.to_le_bytes());
    text.extend_from_slice(&number.to_le_bytes());
    secret.hash_key("seed").of(&text)
}
