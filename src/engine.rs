//! The running engine as control sees it: the shards' mailboxes and counters, the configuration and its versions.

use crate::logging::Logging;
use crate::metrics;
use api::engine::{ApplyError, ConfigVersion, Engine, Fault};
use api::metrics::{Page, families};
use b2bua::Spec;
use base::{Clock, Mailbox, Now, Wall};
use command::Command;
use config::{Checked, Config, ConfigError, PoolBook};
use edge::Input;
use ledger::{Ask, SignallingStats};
use shard::ShardStats;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// The parts that control may reach. Made by `run` when all of them stand.
pub struct Running {
    pub clock: Clock,
    pub inboxes: Vec<Mailbox<Input>>,
    pub signalling: Vec<Arc<SignallingStats>>,
    pub media: Vec<Arc<ShardStats>>,
    pub orders: Vec<Mailbox<Command>>,
    pub allow_panic: bool,
    pub records: store::CdrHandle,
    pub logging: Logging,
    pub draining: AtomicBool,
    pub configuration: Mutex<Configuration>,
}

/// The configuration in force and its earlier versions.
pub struct Configuration {
    pub config: Config,
    pub spec: Arc<Spec>,
    pub pools: PoolBook,
    pub versions: VecDeque<ConfigVersion>,
}

/// Versions that are kept for a way back.
const VERSIONS_MAX: usize = 32;
/// Keys that only a start can change.
const FIXED: [&str; 2] = ["listener.", "engine."];
/// Those of them that a running engine can take all the same.
const FREE: [&str; 3] = ["engine.log", "engine.route_order", "engine.orphan"];

impl Running {
    fn configuration(&self) -> MutexGuard<'_, Configuration> {
        self.configuration.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Calls that exist now, all shards together.
    pub fn calls(&self) -> u64 {
        self.signalling.iter().map(|s| s.calls_now.get()).sum()
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
        let spec = Arc::clone(&self.configuration().spec);
        for (index, stats) in self.media.iter().enumerate() {
            metrics::media_shard(page, index, stats, &spec);
        }
        metrics::pools(page, &spec);
        page.cdr(&self.records.stats());
        page.count(&families::QUEUE_DROPPED, &["log"], self.logging.dropped());
        let refused: u64 = self.inboxes.iter().map(Mailbox::refused).sum();
        page.count(&families::QUEUE_DROPPED, &["signalling_inbox"], refused);
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
        checked(text).map(drop)
    }

    fn apply(&self, text: &str, expected: Option<u64>) -> Result<u64, ApplyError> {
        let checked = checked(text).map_err(ApplyError::Invalid)?;
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
        let filter = checked.engine().log.0.clone();
        if filter != self.logging.filter() && filter != configuration.config.engine.log.0 {
            self.logging.set_filter(&filter).map_err(ApplyError::Refused)?;
        }
        configuration.config = checked.into_config();
        configuration.spec = Arc::clone(&spec);
        let applied = self.clock.now().wall;
        configuration.versions.push_back(ConfigVersion { version, applied, text: text.into() });
        while configuration.versions.len() > VERSIONS_MAX {
            configuration.versions.pop_front();
        }
        drop(configuration);
        self.tell_all(|| Input::Apply(Arc::clone(&spec)));
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

fn checked(text: &str) -> Result<Checked, Vec<Fault>> {
    Config::check(text, "configuration").map_err(|errors| errors.iter().map(fault).collect())
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
