//! The whole file: reading it, what was found beside errors, and writing it back.

use crate::account::Account;
use crate::check::{self, RateFiles};
use crate::describe::table;
use crate::document;
use crate::engine::{Engine, Unknown};
use crate::error::{ConfigError, Kind, Notice};
use crate::group::Group;
use crate::limit::Limit;
use crate::listener::Listener;
use crate::objects::{Objects, Rules};
use crate::place::{Path, Places};
use crate::policy::Policy;
use crate::read::{Reader, push_key};
use crate::route::{NumberRule, Route};
use crate::secret::Secret;
use crate::trunk::Trunk;
use crate::value::{Lack, Value, Visitor};
use core::fmt;
use std::sync::Arc;

table! {
    /// The whole file. Names, never numbers; unknown keys and values are errors.
    pub struct Config {
        /// Where we are heard.
        listener: Objects<Listener> = Objects::default();
        /// Who is out there.
        trunk: Objects<Trunk> = Objects::default();
        /// Trunks that stand for each other.
        group: Objects<Group> = Objects::default();
        /// Where calls go.
        route: Rules<Route> = Rules::default();
        /// How numbers are rewritten before routes are looked at.
        number_rule: Rules<NumberRule> = Rules::default();
        /// Who may register.
        account: Objects<Account> = Objects::default();
        /// What several trunks or accounts share.
        limit: Objects<Limit> = Objects::default();
        /// What is watched and refused.
        policy: Objects<Policy> = Objects::default();
        /// The engine itself.
        engine: Engine = Engine::default();
        /// What sources get that are nobody.
        unknown: Unknown = Unknown::default();
    }
}

/// A configuration without errors, and where its keys stand.
#[derive(Clone, Debug)]
pub struct Checked {
    config: Config,
    file: Arc<str>,
    places: Places,
    rates: RateFiles,
}

impl Config {
    /// Reads and validates a configuration; `file` is its name in errors, and rate files lie relative to its folder.
    ///
    /// # Errors
    /// Every mistake that was found, in the order of the text, and then those of rate files; never an empty list.
    pub fn check(text: &str, file: &str) -> Result<Checked, Vec<ConfigError>> {
        Config::check_with(text, file, &mut read_file)
    }

    /// The same, with a way to read rate files.
    pub(crate) fn check_with(
        text: &str,
        file: &str,
        files: &mut check::ReadFile<'_>,
    ) -> Result<Checked, Vec<ConfigError>> {
        if text.len() > TEXT_MAX {
            return Err(vec![ConfigError {
                file: file.into(),
                line: 1,
                column: 1,
                path: String::new(),
                kind: Kind::TooLong(TEXT_MAX),
            }]);
        }
        let mut reader = Reader::new(text, file);
        let config = document::read(text, &mut reader);
        let (file, places, mut errors, mut more) = reader.finish();
        let mut rates = RateFiles::new();
        if let Some(config) = &config {
            let found = check::check(config, &places, text, &file, &errors, files);
            let room = ERRORS_MAX.saturating_sub(errors.len());
            more += found.more + found.errors.len().saturating_sub(room);
            errors.extend(found.errors.into_iter().take(room));
            rates = found.rates;
        }
        match config {
            Some(config) if errors.is_empty() => Ok(Checked { config, file, places, rates }),
            _ => {
                errors.sort_by(|a, b| {
                    let key = |e: &ConfigError| (e.file != file, e.line, e.column);
                    key(a).cmp(&key(b)).then_with(|| (&a.file, &a.path).cmp(&(&b.file, &b.path)))
                });
                if more > 0 {
                    let last = errors.iter().rfind(|e| e.file == file).map_or((1, 1), |e| (e.line, e.column));
                    let kind = Kind::More(more);
                    errors.push(ConfigError {
                        file,
                        line: last.0,
                        column: last.1,
                        path: String::new(),
                        kind,
                    });
                }
                Err(errors)
            }
        }
    }
}

fn read_file(path: &std::path::Path) -> Result<String, String> {
    let about = std::fs::metadata(path).map_err(|e| e.to_string())?;
    if !about.is_file() {
        return Err("it is no file".to_owned());
    }
    if about.len() > RATES_MAX {
        return Err(format!("it is larger than {RATES_MAX} bytes"));
    }
    std::fs::read_to_string(path).map_err(|e| e.to_string())
}

impl fmt::Display for Config {
    /// As TOML that reads back equal: every key that is not as it would be anyway.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn section(f: &mut fmt::Formatter<'_>, head: &str, entries: &[(&str, String)]) -> fmt::Result {
            writeln!(f, "{head}")?;
            for (key, text) in entries {
                writeln!(f, "{key} = {text}")?;
            }
            writeln!(f)
        }
        fn objects<T>(
            f: &mut fmt::Formatter<'_>,
            kind: &str,
            objects: &Objects<T>,
            entries: impl Fn(&T) -> Vec<(&'static str, String)>,
        ) -> fmt::Result {
            for (name, object) in objects.iter() {
                let mut head = format!("[{kind}.");
                push_key(&mut head, name);
                head.push(']');
                section(f, &head, &entries(object))?;
            }
            Ok(())
        }
        objects(f, "listener", &self.listener, Listener::entries)?;
        objects(f, "trunk", &self.trunk, Trunk::entries)?;
        objects(f, "group", &self.group, Group::entries)?;
        for route in self.route.iter() {
            section(f, "[[route]]", &route.entries())?;
        }
        for rule in self.number_rule.iter() {
            section(f, "[[number_rule]]", &rule.entries())?;
        }
        objects(f, "account", &self.account, Account::entries)?;
        objects(f, "limit", &self.limit, Limit::entries)?;
        objects(f, "policy", &self.policy, Policy::entries)?;
        section(f, "[engine]", &self.engine.entries())?;
        section(f, "[unknown]", &self.unknown.entries())
    }
}

impl Checked {
    /// What was read.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// `[engine]`.
    pub fn engine(&self) -> &Engine {
        &self.config.engine
    }

    /// The rate file of this name.
    pub(crate) fn rates(&self, name: &str) -> Option<&Arc<policy::Rates>> {
        self.rates.get(name)
    }

    /// What was read, without its places.
    pub fn into_config(self) -> Config {
        self.config
    }

    /// Keys that are given but whose function comes later or who cannot do what they say, in the order of the text. With
    /// a protective one among them `run` refuses to start.
    pub fn not_in_effect(&self) -> Vec<Notice> {
        let mut found = Lacks { checked: self, inside: None, found: Vec::new() };
        self.config.visit(&Path::ROOT, &mut found);
        let mut notices = found.found;
        notices.extend(self.missing_resources());
        notices.extend(self.readable_keys());
        notices.extend(self.open_ng());
        notices.sort_by_key(|notice| notice.line);
        notices
    }

    /// Secrets that cannot be read now: a warning for `check`, an error for `run`.
    pub fn missing_secrets(&self) -> Vec<Notice> {
        let mut found = Secrets { checked: self, missing: Vec::new() };
        self.config.visit(&Path::ROOT, &mut found);
        found.missing
    }

    /// Every key that was not given, with its value as TOML; an empty value means that there is none.
    pub fn defaults(&self) -> Vec<(String, String)> {
        let mut found = Defaults { places: &self.places, found: Vec::new() };
        self.config.visit(&Path::ROOT, &mut found);
        found.found
    }

    pub(crate) fn notice(&self, path: &Path<'_>, why: String, protective: bool) -> Notice {
        let line = self.places.line(self.places.nearest(path));
        Notice { file: Arc::clone(&self.file), line, path: path.to_string(), why, protective }
    }
}

struct Lacks<'a> {
    checked: &'a Checked,
    /// The table that lacks as a whole: its keys follow it.
    inside: Option<(u32, u32)>,
    found: Vec<Notice>,
}

impl Visitor for Lacks<'_> {
    fn leaf(&mut self, _: &Path<'_>, _: &dyn Fn() -> String) {}
    fn absent(&mut self, _: &Path<'_>) {}
    fn lack(&mut self, path: &Path<'_>, lack: Lack) {
        let places = &self.checked.places;
        let Some(node) = places.find(path) else { return };
        // One notice for a table is enough.
        if self.inside.is_some_and(|(first, end)| (first..end).contains(&node)) {
            return;
        }
        self.inside = Some((node, places.end(node)));
        self.found.push(self.checked.notice(path, lack.why.to_owned(), lack.protective));
    }
    fn secret(&mut self, _: &Path<'_>, _: &Secret) {}
}

struct Secrets<'a> {
    checked: &'a Checked,
    missing: Vec<Notice>,
}

impl Visitor for Secrets<'_> {
    fn leaf(&mut self, _: &Path<'_>, _: &dyn Fn() -> String) {}
    fn absent(&mut self, _: &Path<'_>) {}
    fn lack(&mut self, _: &Path<'_>, _: Lack) {}
    fn secret(&mut self, path: &Path<'_>, secret: &Secret) {
        if let Err(error) = secret.resolve() {
            self.missing.push(self.checked.notice(path, error.to_string(), false));
        }
    }
}

struct Defaults<'a> {
    places: &'a Places,
    found: Vec<(String, String)>,
}

impl Visitor for Defaults<'_> {
    fn leaf(&mut self, path: &Path<'_>, text: &dyn Fn() -> String) {
        if self.places.find(path).is_none() {
            self.found.push((path.to_string(), text()));
        }
    }
    fn absent(&mut self, path: &Path<'_>) {
        self.leaf(path, &String::new);
    }
    fn lack(&mut self, _: &Path<'_>, _: Lack) {}
    fn secret(&mut self, _: &Path<'_>, _: &Secret) {}
}

/// The longest text that is read, in bytes.
pub const TEXT_MAX: usize = 32 << 20;
/// So many mistakes are listed; the others are counted.
pub(crate) const ERRORS_MAX: usize = 1000;
/// The longest rate file, in bytes.
const RATES_MAX: u64 = 128 << 20;
