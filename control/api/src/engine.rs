//! What the API needs of the engine. `main` implements it; tests use a fake. No method may wait for media or signalling:
//! questions to shards go by [`Engine::ask`], whose answers come when they come.

use crate::metrics::Page;
use crate::standing::{GroupStatus, LimitStatus, TrunkStatus};
use base::{Duration, Now, Wall};
use command::{ForkTo, Sound};
use core::pin::Pin;
use ledger::{Ask, Bans, EventBus, Net, OrderId, RecordingRow, SignallingStats};
use std::fs::File;
use std::io;
use std::sync::Arc;
use store::{CdrReader, RecordingQuery};

/// A sound that is being loaded.
pub type Loading<'e> = Pin<Box<dyn Future<Output = Result<Sound, SoundError>> + Send + 'e>>;

/// Where a fork goes, while that is being found out.
pub type Resolving<'e> = Pin<Box<dyn Future<Output = Result<ForkTo, SoundError>> + Send + 'e>>;

/// The running engine, as control sees it.
pub trait Engine: Send + Sync + 'static {
    /// The clock that the shards' instants are read from.
    fn now(&self) -> Now;

    /// How many signalling shards there are.
    fn shards(&self) -> usize;

    /// Puts a question into a signalling shard's mailbox.
    ///
    /// # Errors
    /// Gives it back when the mailbox is full or there is no such shard.
    fn ask(&self, shard: usize, ask: Ask) -> Result<(), Ask>;

    /// Counters of the signalling shards, in order.
    fn signalling(&self) -> Vec<Arc<SignallingStats>>;

    /// Adds everything to the metrics page that is not a signalling shard's: media shards, pools, writers, queues.
    fn collect(&self, page: &mut Page);

    /// Call detail records that have been written; its calls may block.
    fn cdrs(&self) -> &CdrReader;

    /// The sound that a source names: a file below the folder of sounds, an `http://` URL, or `tone:…`.
    fn sound<'e>(&'e self, source: &'e str) -> Loading<'e>;

    /// Where a fork goes that is to go to `rtp://HOST:PORT` or `ws://HOST/PATH`; L16 where that is RTP.
    fn fork_to<'e>(&'e self, to: &'e str) -> Resolving<'e>;

    /// Recordings, those that run included, the newest first; may block.
    ///
    /// # Errors
    /// Why they cannot be had now.
    fn recordings(&self, query: &RecordingQuery) -> Result<Vec<RecordingRow>, String>;

    /// One recording; may block.
    ///
    /// # Errors
    /// As [`Engine::recordings`].
    fn recording(&self, id: OrderId) -> Result<Option<RecordingRow>, String>;

    /// Its file, to read; may block.
    ///
    /// # Errors
    /// It is not there.
    fn recording_file(&self, file: &str) -> io::Result<File>;

    /// Forgets a recording that has ended, and removes its file; may block.
    ///
    /// # Errors
    /// As [`Engine::recordings`].
    fn delete_recording(&self, id: OrderId, file: &str) -> Result<(), String>;

    /// Sources that are not listened to.
    fn bans(&self) -> &Bans;

    /// A trunk that calls from within this network.
    fn trunk_within(&self, net: Net) -> Option<String>;

    /// What happens, for those who follow it.
    fn events(&self) -> &Arc<EventBus>;

    /// How every trunk stands, in the order of the configuration.
    fn trunks(&self) -> Vec<TrunkStatus>;

    /// Takes a trunk out for a while, or until it is enabled; `None` if there is no such trunk.
    fn disable_trunk(&self, name: &str, period: Option<Duration>) -> Option<TrunkStatus>;

    /// Takes a trunk in again; `None` if there is no such trunk.
    fn enable_trunk(&self, name: &str) -> Option<TrunkStatus>;

    /// How the members of a group stand; `None` if there is no such group.
    fn group(&self, name: &str) -> Option<GroupStatus>;

    /// How full every limit is, by name.
    fn limits(&self) -> Vec<LimitStatus>;

    /// Forgets what a fraud policy has counted of one key; whether there was anything.
    fn reset_fraud(&self, policy: &str, key: &str) -> bool;

    /// Whether the process does its work.
    ///
    /// # Errors
    /// What is wrong, in a sentence.
    fn health(&self) -> Result<(), String>;

    /// Whether new calls are welcome; not while starting or draining.
    ///
    /// # Errors
    /// Why not, in a sentence.
    fn ready(&self) -> Result<(), String>;

    /// Takes no new calls (`true`), or takes them again; is called where it may block.
    fn drain(&self, on: bool);

    /// Whether it drains.
    fn draining(&self) -> bool;

    /// The log filter in force.
    fn log(&self) -> String;

    /// Sets the log filter, such as `info` or `sip=debug`.
    ///
    /// # Errors
    /// What is wrong with it.
    fn set_log(&self, filter: &str) -> Result<(), String>;

    /// A version of the configuration, or the one in force; `None` if it is not (or no longer) kept.
    fn config(&self, version: Option<u64>) -> Option<ConfigVersion>;

    /// The versions that are kept, oldest first.
    fn versions(&self) -> Vec<(u64, Wall)>;

    /// Checks a configuration; may take a while, is called where it may block.
    ///
    /// # Errors
    /// All faults that were found.
    fn validate(&self, text: &str) -> Result<(), Vec<Fault>>;

    /// Puts a configuration in force, whole or not at all, and gives its number. With `expected`, only if that version is
    /// in force at that moment.
    ///
    /// # Errors
    /// Nothing has changed then.
    fn apply(&self, text: &str, expected: Option<u64>) -> Result<u64, ApplyError>;

    /// Whether it was started for tests that make shards fail.
    fn may_fail(&self) -> bool {
        false
    }

    /// Makes a shard fail at its next turn: `media-0`, `sip-0` …
    ///
    /// # Errors
    /// The names that there are, or that it cannot be told now.
    fn fail(&self, shard: &str) -> Result<(), String> {
        Err(format!("there is no shard {shard} that may fail"))
    }
}

/// Why there is no such sound, or no such place for a fork.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SoundError {
    /// What was expected instead of this source.
    Wrong(String),
    /// It may be there, and cannot be had now.
    Busy(String),
}

/// A file could not be read to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file cannot be read to its end")]
pub struct FileGone;

/// One version of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigVersion {
    /// Its number.
    pub version: u64,
    /// When it was put in force.
    pub applied: Wall,
    /// The file's text.
    pub text: Arc<str>,
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Fault {
    /// Path of the key, such as `trunk.acme.limit.cps`; empty where the text is not even TOML.
    pub field: String,
    /// What was expected there.
    pub expected: String,
    /// Line of the file, from 1 on.
    pub line: Option<usize>,
}

/// Why a configuration was not put in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// It is invalid.
    Invalid(Vec<Fault>),
    /// Another version than the expected one is in force.
    Stale {
        /// The one in force.
        version: u64,
    },
    /// It is valid, but this running engine cannot take it: an address in use, a key that only a start can change.
    Refused(String),
}
