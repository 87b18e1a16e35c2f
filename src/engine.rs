//! The running engine as control sees it: the shards' mailboxes and counters, the configuration and its versions.

use crate::clips::{ClipError, Clips};
use crate::logging::Logging;
use crate::{forks, keeping, metrics, standing};
use api::engine::{ApplyError, ConfigVersion, Engine, Fault, Loading, Resolving, SoundError};
use api::metrics::{Page, families};
use api::standing::{GroupStatus, LimitStatus, TrunkStatus};
use b2bua::Spec;
use b2bua::spec::Source;
use base::{Clock, Duration, Instant, Mailbox, Now, Wall};
use command::{Clip, Command, Sound, Ticket};
use config::{Checked, Config, ConfigError, PoolBook};
use edge::Input;
use ledger::{Ask, Bans, Event, EventBus, Net, OrderId, RecordingRow, SignallingStats};
use ng::counts::NgStats;
use ng::desk::SoundSource;
use routing::health::{Change, Health, Word};
use shard::ShardStats;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// The parts that control may reach. Made by `run` when all of them stand.
pub struct Running {
    pub clock: Clock,
    pub inboxes: Vec<Mailbox<Input>>,
    pub signalling: Vec<Arc<SignallingStats>>,
    pub ng: Vec<Arc<NgStats>>,
    pub media: Vec<Arc<ShardStats>>,
    pub orders: Vec<Mailbox<Command>>,
    pub allow_panic: bool,
    pub records: store::CdrHandle,
    pub store: Arc<store::Store>,
    pub cdrs: store::CdrReader,
    pub shared: b2bua::Shared,
    pub hooks: Arc<hook::HookStats>,
    pub clips: Arc<Clips>,
    /// Where recordings are.
    pub recordings: PathBuf,
    pub logging: Logging,
    pub draining: AtomicBool,
    pub configuration: Mutex<Configuration>,
    /// The file that it was started with.
    pub file: String,
}

/// The configuration in force and its earlier versions.
pub struct Configuration {
    pub config: Config,
    pub spec: Arc<Spec>,
    pub ng_spec: Arc<ng::spec::Spec>,
    pub pools: PoolBook,
    pub versions: VecDeque<ConfigVersion>,
}

/// Versions that are kept for a way back.
pub const VERSIONS_MAX: usize = 32;
/// Keys that only a start can change.
const FIXED: [&str; 2] = ["listener.", "engine."];
/// Those of them that a running engine can take all the same.
const FREE: [&str; 6] = [
    "engine.log",
    "engine.route_order",
    "engine.orphan",
    "engine.emergency",
    "engine.ng_",
    "engine.delete_delay",
];

impl Running {
    fn configuration(&self) -> MutexGuard<'_, Configuration> {
        self.configuration.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The configuration in force, as calls see it.
    fn spec(&self) -> Arc<Spec> {
        Arc::clone(&self.configuration().spec)
    }

    /// Takes a trunk out or in, and tells it.
    fn switch_trunk(
        &self,
        name: &str,
        switch: impl FnOnce(&Health, Instant) -> Option<Change>,
    ) -> Option<TrunkStatus> {
        let (now, spec) = (self.clock.now(), self.spec());
        let trunk = spec.trunks.iter().find(|trunk| trunk.name == name)?;
        if let Some(change) = switch(&trunk.health, now.mono) {
            let kind = match change.to {
                Word::Disabled => "trunk.disabled",
                Word::Up => "trunk.up",
                // It was taken in, and something else holds it back.
                Word::Down | Word::Open | Word::HalfOpen => "trunk.enabled",
            };
            tracing::info!(trunk = name, from = change.from.name(), to = change.to.name(), "trunk switched");
            let event = Event::new(now.wall, kind).with("trunk", name).with("from", change.from.name());
            self.shared.events.publish(event.with("to", change.to.name()).with("by", "operator"));
        }
        Some(standing::trunk(now, trunk))
    }

    /// Names files in it from the folder of the file that the engine was started with.
    fn checked(&self, text: &str) -> Result<Checked, Vec<Fault>> {
        Config::check(text, &self.file).map_err(|errors| errors.iter().map(fault).collect())
    }

    /// The file of a recording: a plain name below their folder.
    fn recording_path(&self, file: &str) -> io::Result<PathBuf> {
        let mut parts = Path::new(file).components();
        match (parts.next(), parts.next()) {
            (Some(Component::Normal(_)), None) => Ok(self.recordings.join(file)),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// What has changed is written first, so that the store tells of recordings that run, too.
    fn save_recordings(&self) -> Result<(), String> {
        match keeping::save_recordings(&self.store, &self.shared.recordings) {
            true => Ok(()),
            false => Err("the index of recordings cannot be written".to_owned()),
        }
    }

    /// Calls that exist now, all shards together.
    pub fn calls(&self) -> u64 {
        let sip: u64 = self.signalling.iter().map(|s| s.calls_now.get()).sum();
        let ng: u64 = self.ng.iter().map(|s| s.calls_now.get()).sum();
        sip + ng
    }

    /// Tells every signalling shard; a full mailbox is tried again for a moment.
    pub fn tell_all(&self, make: impl Fn() -> Input) {
        for inbox in &self.inboxes {
            let mut input = make();
            for _ in 0..100 {
                match inbox.send(input) {
                    Ok(()) => break,
                    Err(back) => input = back,
                }
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
}

impl Engine for Running {
    fn now(&self) -> Now {
        self.clock.now()
    }

    fn shards(&self) -> usize {
        self.inboxes.len()
    }

    fn ask(&self, shard: usize, ask: Ask) -> Result<(), Ask> {
        let Some(inbox) = self.inboxes.get(shard) else { return Err(ask) };
        inbox.send(Input::Ask(ask)).map_err(|input| match input {
            Input::Ask(ask) => ask,
            _ => unreachable!("a mailbox gives back what was put in"),
        })
    }

    fn signalling(&self) -> Vec<Arc<SignallingStats>> {
        self.signalling.clone()
    }

    fn collect(&self, page: &mut Page) {
        let spec = self.spec();
        for (index, stats) in self.media.iter().enumerate() {
            metrics::media_shard(page, index, stats, &spec);
        }
        if !self.configuration().config.engine.ng.is_empty() {
            self.ng.iter().for_each(|stats| metrics::ng(page, stats));
        }
        metrics::hooks(page, &self.hooks);
        metrics::recordings(page, &self.shared.recordings);
        page.cdr(&self.records.stats());
        self.records.webhooks().iter().for_each(|webhook| page.webhook(webhook));
        page.count(&families::QUEUE_DROPPED, &["log"], self.logging.dropped());
        let refused: u64 = self.inboxes.iter().map(Mailbox::refused).sum();
        page.count(&families::QUEUE_DROPPED, &["signalling_inbox"], refused);
    }

    fn cdrs(&self) -> &store::CdrReader {
        &self.cdrs
    }

    fn sound<'e>(&'e self, source: &'e str) -> Loading<'e> {
        Box::pin(async move {
            if let Some(tone) = source.strip_prefix("tone:") {
                let tone = media::tone::parse(tone);
                return tone.map(Sound::Tone).map_err(|error| SoundError::Wrong(error.to_string()));
            }
            match self.clips.load(source).await {
                Ok(clip) => Ok(Sound::Clip(clip)),
                Err(error @ ClipError::Unreachable(_)) => Err(SoundError::Busy(format!("{source}: {error}"))),
                Err(error) => Err(SoundError::Wrong(format!("a sound that can be played: {error}"))),
            }
        })
    }

    fn fork_to<'e>(&'e self, to: &'e str) -> Resolving<'e> {
        Box::pin(async move { forks::find(to, &self.spec()).await })
    }

    fn recordings(&self, query: &store::RecordingQuery) -> Result<Vec<RecordingRow>, String> {
        self.save_recordings()?;
        self.store.load_recordings(query).map_err(|error| error.to_string())
    }

    fn recording(&self, id: OrderId) -> Result<Option<RecordingRow>, String> {
        self.save_recordings()?;
        self.store.load_recording(id).map_err(|error| error.to_string())
    }

    fn recording_file(&self, file: &str) -> io::Result<File> {
        File::open(self.recording_path(file)?)
    }

    fn delete_recording(&self, id: OrderId, file: &str) -> Result<(), String> {
        let path = self.recording_path(file).map_err(|error| error.to_string())?;
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            // It was taken away by somebody else, or nothing was ever recorded.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
        self.store.delete_recording(id).map(drop).map_err(|error| error.to_string())
    }

    fn bans(&self) -> &Bans {
        &self.shared.bans
    }

    fn trunk_within(&self, net: Net) -> Option<String> {
        let is_within = |source: &Source| match source {
            Source::Net { address, prefix, .. } => {
                let source = Net::new(*address, *prefix);
                net.contains(*address) || source.is_some_and(|source| source.contains(net.address()))
            }
            Source::Host { .. } => false,
        };
        let spec = self.spec();
        spec.trunks.iter().find(|trunk| trunk.from.iter().any(is_within)).map(|trunk| trunk.name.clone())
    }

    fn events(&self) -> &Arc<EventBus> {
        &self.shared.events
    }

    fn trunks(&self) -> Vec<TrunkStatus> {
        let now = self.clock.now();
        self.spec().trunks.iter().map(|trunk| standing::trunk(now, trunk)).collect()
    }

    fn disable_trunk(&self, name: &str, period: Option<Duration>) -> Option<TrunkStatus> {
        self.switch_trunk(name, |health, now| health.disable(now, period.map(|period| now + period)))
    }

    fn enable_trunk(&self, name: &str) -> Option<TrunkStatus> {
        self.switch_trunk(name, Health::enable)
    }

    fn group(&self, name: &str) -> Option<GroupStatus> {
        let spec = self.spec();
        let group = spec.groups.iter().find(|group| group.name == name)?;
        Some(standing::group(self.clock.now(), &spec, group))
    }

    fn limits(&self) -> Vec<LimitStatus> {
        let configuration = self.configuration();
        standing::limits(&configuration.spec, &configuration.ng_spec)
    }

    fn reset_fraud(&self, policy: &str, key: &str) -> bool {
        let known = self.shared.fraud.reset(policy, key);
        if known {
            // What the policy has lowered was lowered for what is forgotten now.
            let spec = self.spec();
            let by_it =
                |policies: &[usize]| policies.iter().any(|index| spec.policies[*index].name == policy);
            let trunks = spec.trunks.iter().filter(|trunk| by_it(&trunk.policies)).map(|trunk| &trunk.pool);
            let accounts = spec.accounts.iter().filter(|account| by_it(&account.policies)).map(|a| &a.pool);
            trunks.chain(accounts).for_each(|pool| pool.lower(None));
        }
        known
    }

    fn health(&self) -> Result<(), String> {
        match self.records.dropped() {
            0 => Ok(()),
            n => Err(format!("{n} call detail records were lost")),
        }
    }

    fn ready(&self) -> Result<(), String> {
        if self.draining() { Err("draining: no new calls are taken".into()) } else { Ok(()) }
    }

    fn drain(&self, on: bool) {
        self.draining.store(on, Ordering::Relaxed);
        tracing::info!(on, "drain");
        self.tell_all(|| Input::Ask(Ask::Drain(on)));
    }

    fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    fn log(&self) -> String {
        self.logging.filter()
    }

    fn set_log(&self, filter: &str) -> Result<(), String> {
        self.logging.set_filter(filter)
    }

    fn config(&self, version: Option<u64>) -> Option<ConfigVersion> {
        let configuration = self.configuration();
        match version {
            None => configuration.versions.back().cloned(),
            Some(version) => configuration.versions.iter().find(|v| v.version == version).cloned(),
        }
    }

    fn versions(&self) -> Vec<(u64, Wall)> {
        self.configuration().versions.iter().map(|v| (v.version, v.applied)).collect()
    }

    fn validate(&self, text: &str) -> Result<(), Vec<Fault>> {
        self.checked(text).map(drop)
    }

    fn apply(&self, text: &str, expected: Option<u64>) -> Result<u64, ApplyError> {
        let checked = self.checked(text).map_err(ApplyError::Invalid)?;
        let mut configuration = self.configuration();
        let current = configuration.versions.back().map_or(0, |v| v.version);
        if expected.is_some_and(|e| e != current) {
            return Err(ApplyError::Stale { version: current });
        }
        let changes = config::diff::diff(&configuration.config, checked.config());
        let fixed = changes.iter().find(|line| {
            let path = line.trim_start_matches(['+', '-', '~', ' ']);
            FIXED.iter().any(|f| path.starts_with(f)) && !FREE.iter().any(|f| path.starts_with(f))
        });
        if let Some(line) = fixed {
            return Err(ApplyError::Refused(format!("only a start can change this: {line}")));
        }
        if let Some(notice) = checked.not_in_effect().into_iter().find(|n| n.protective) {
            return Err(ApplyError::Refused(notice.to_string()));
        }
        let version = current + 1;
        let spec = Arc::new(checked.spec(version, &mut configuration.pools));
        let ng_spec = Arc::new(checked.ng_spec(&mut configuration.pools));
        let filter = checked.engine().log.0.clone();
        if filter != self.logging.filter() && filter != configuration.config.engine.log.0 {
            self.logging.set_filter(&filter).map_err(ApplyError::Refused)?;
        }
        configuration.config = checked.into_config();
        configuration.spec = Arc::clone(&spec);
        configuration.ng_spec = Arc::clone(&ng_spec);
        let applied = self.clock.now().wall;
        let new = ConfigVersion { version, applied, text: text.into() };
        crate::keeping::save_version(&self.store, &new, "api");
        configuration.versions.push_back(new);
        while configuration.versions.len() > VERSIONS_MAX {
            configuration.versions.pop_front();
        }
        drop(configuration);
        self.tell_all(|| Input::Apply(Arc::clone(&spec), Arc::clone(&ng_spec)));
        tracing::info!(version, changes = changes.len(), "configuration applied");
        Ok(version)
    }

    fn may_fail(&self) -> bool {
        self.allow_panic
    }

    fn fail(&self, shard: &str) -> Result<(), String> {
        let number = |kind: &str| shard.strip_prefix(kind).and_then(|n| n.parse::<usize>().ok());
        let told = match (number("media-"), number("sip-")) {
            (Some(n), _) if n < self.orders.len() => self.orders[n].send(Command::Panic).is_ok(),
            (_, Some(n)) if n < self.inboxes.len() => self.ask(n, Ask::Panic).is_ok(),
            _ => return Err("media-N or sip-N, from 0 on".into()),
        };
        if told { Ok(()) } else { Err("a shard whose mailbox is not full".into()) }
    }
}

fn fault(error: &ConfigError) -> Fault {
    Fault { field: error.path.clone(), expected: error.kind.to_string(), line: Some(error.line as usize) }
}

/// Where records go: to the store's writer.
pub struct ToStore(pub store::CdrHandle);

impl edge::Records for ToStore {
    fn opened(&self, cdr: Box<ledger::Cdr>) {
        self.0.opened(cdr);
    }

    fn ended(&self, cdr: Box<ledger::Cdr>) {
        self.0.ended(cdr);
    }

    fn shard_lost(&self, shard: usize) {
        self.0.shard_lost(shard);
    }
}

/// Where questions to hooks go: to control's service, whose answers come back to the shard that asked.
pub struct ToHooks {
    pub hooks: hook::Hooks,
    pub inboxes: Vec<Mailbox<Input>>,
}

impl edge::Hooks for ToHooks {
    fn ask(&self, shard: usize, ticket: base::Key, question: Box<ledger::HookQuestion>) {
        let inbox = self.inboxes[shard].clone();
        // A full mailbox drops the answer; the shard gives the question up by itself.
        self.hooks.ask(*question, move |answer| drop(inbox.send(Input::Hooked(ticket, answer))));
    }
}

/// Who reads the sounds that NG wants played: the clips, on control's runtime.
pub struct ToClips {
    clips: Arc<Clips>,
    runtime: Handle,
    inboxes: Vec<Mailbox<Input>>,
    places: Arc<Semaphore>,
}

/// Sounds of NG that are read, or wait for it, at a time.
const SOUNDS_MAX: usize = 64;

impl ToClips {
    /// Reads on this runtime, answers into these mailboxes.
    pub fn new(clips: Arc<Clips>, runtime: Handle, inboxes: Vec<Mailbox<Input>>) -> ToClips {
        ToClips { clips, runtime, inboxes, places: Arc::new(Semaphore::new(SOUNDS_MAX)) }
    }
}

impl edge::Sounds for ToClips {
    fn load(&self, shard: usize, ticket: Ticket, source: SoundSource) {
        let (clips, inbox) = (Arc::clone(&self.clips), self.inboxes[shard].clone());
        // A mailbox that stays full drops it; the request is given up by who asked.
        let tell = async move |sound: Result<Clip, &'static str>| {
            let _ = edge::put(inbox, Input::NgSound(ticket, sound)).await;
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            self.runtime.spawn(tell(Err("too many sounds are being read")));
            return;
        };
        self.runtime.spawn(async move {
            let sound = match source {
                SoundSource::File(path) => clips.load_file(&path).await,
                SoundSource::Blob(bytes) => clips.decode(bytes).await,
            };
            if let Err(error) = &sound {
                tracing::info!(%error, "no sound for NG");
            }
            tell(sound.map_err(|error| error.in_short())).await;
            drop(place);
        });
    }
}
