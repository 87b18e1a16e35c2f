//! The whole file: reading it, what was found beside errors, and writing it back.

use crate::account::Account;
use crate::check;
use crate::describe::table;
use crate::engine::{Engine, Unknown};
use crate::error::{ConfigError, Kind, Notice, Place};
use crate::group::Group;
use crate::limit::Limit;
use crate::listener::Listener;
use crate::objects::{Objects, Rule, Rules};
use crate::policy::Policy;
use crate::read::{Places, Reader, push_key};
use crate::route::{NumberRule, Route};
use crate::secret::Secret;
use crate::trunk::Trunk;
use crate::value::{Lack, Value, Visitor};
use core::fmt;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

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
}

impl Config {
    /// Reads and validates a configuration; `file` is its name in errors.
    ///
    /// # Errors
    /// Every mistake that was found, in the order of the text; never an empty list.
    pub fn check(text: &str, file: &str) -> Result<Checked, Vec<ConfigError>> {
        if text.len() > TEXT_MAX {
            return Err(vec![ConfigError {
                file: file.into(),
                line: 1,
                column: 1,
                path: String::new(),
                kind: Kind::TooLong(TEXT_MAX),
            }]);
        }
        let (document, syntax) = DeTable::parse_recoverable(text);
        let mut reader = Reader::new(text, file);
        for error in &syntax {
            let offset = error.span().map_or(0, |span| span.start);
            reader.error(offset, Kind::Syntax(error.message().trim().replace('\n', ", ")));
        }
        let mut config = None;
        if syntax.is_empty() {
            let span = document.span();
            config = Config::read(&Spanned::new(span, DeValue::Table(document.into_inner())), &mut reader);
        }
        let (file, places, mut errors, mut more) = reader.finish();
        if let Some(config) = &config {
            let found = check::check(config, &places, &file, &errors);
            let room = ERRORS_MAX.saturating_sub(errors.len());
            more += found.len().saturating_sub(room);
            errors.extend(found.into_iter().take(room));
        }
        match config {
            Some(config) if errors.is_empty() => Ok(Checked { config, file, places }),
            _ => {
                errors.sort_by(|a, b| (a.line, a.column, &a.path).cmp(&(b.line, b.column, &b.path)));
                if more > 0 {
                    let last = errors.last().map_or((1, 1), |e| (e.line, e.column));
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

    /// What was read, without its places.
    pub fn into_config(self) -> Config {
        self.config
    }

    /// Where a key stands: the nearest key above it, if it is not given itself.
    pub fn place(&self, path: &str) -> Place {
        place_of(&self.places, path)
    }

    /// Keys that are given but whose function comes later, in the order of the text. With a protective one among them
    /// `run` refuses to start.
    pub fn not_in_effect(&self) -> Vec<Notice> {
        let mut found = Lacks { places: &self.places, found: Vec::new() };
        self.config.visit("", &mut found);
        let mut found = found.found;
        // A route by a group cannot be taken, and a later route must not take its calls instead.
        for route in self.config.route.iter() {
            if self.config.group.get(&route.via).is_some() {
                let path = crate::read::below(&crate::read::below("route", route.name()), "via");
                found.push((
                    path,
                    Lack { why: "not in effect yet: name a trunk, not a group", protective: true },
                ));
            }
        }
        let mut notices: Vec<Notice> = found
            .into_iter()
            .map(|(path, lack)| self.notice(path, lack.why.to_owned(), lack.protective))
            .collect();
        notices.sort_by_key(|notice| notice.line);
        notices
    }

    /// Secrets that cannot be read now: a warning for `check`, an error for `run`.
    pub fn missing_secrets(&self) -> Vec<Notice> {
        let mut found = Secrets(Vec::new());
        self.config.visit("", &mut found);
        found
            .0
            .into_iter()
            .filter_map(|(path, secret)| {
                let error = secret.resolve().err()?;
                Some(self.notice(path, error.to_string(), false))
            })
            .collect()
    }

    /// Every key that was not given, with its value as TOML; an empty value means that there is none.
    pub fn defaults(&self) -> Vec<(String, String)> {
        let mut found = Defaults { places: &self.places, found: Vec::new() };
        self.config.visit("", &mut found);
        found.found
    }

    fn notice(&self, path: String, why: String, protective: bool) -> Notice {
        Notice { file: Arc::clone(&self.file), line: self.place(&path).line, path, why, protective }
    }
}

/// The place of a key, or of the nearest key above it.
pub(crate) fn place_of(places: &Places, path: &str) -> Place {
    let mut path = path;
    loop {
        if let Some(place) = places.get(path) {
            return *place;
        }
        match path.rfind(['.', '[']) {
            Some(at) => path = &path[..at],
            None => return Place { line: 1, column: 1 },
        }
    }
}

struct Lacks<'a> {
    places: &'a Places,
    found: Vec<(String, Lack)>,
}

impl Visitor for Lacks<'_> {
    fn leaf(&mut self, _: &str, _: String) {}
    fn absent(&mut self, _: &str) {}
    fn lack(&mut self, path: &str, lack: Lack) {
        // One notice for a table is enough: its keys follow it.
        let inside = self.found.last().is_some_and(|(above, _)| {
            path.strip_prefix(above.as_str()).is_some_and(|rest| rest.starts_with(['.', '[']))
        });
        if self.places.contains_key(path) && !inside {
            self.found.push((path.to_owned(), lack));
        }
    }
    fn secret(&mut self, _: &str, _: &Secret) {}
}

struct Secrets(Vec<(String, Secret)>);

impl Visitor for Secrets {
    fn leaf(&mut self, _: &str, _: String) {}
    fn absent(&mut self, _: &str) {}
    fn lack(&mut self, _: &str, _: Lack) {}
    fn secret(&mut self, path: &str, secret: &Secret) {
        self.0.push((path.to_owned(), secret.clone()));
    }
}

struct Defaults<'a> {
    places: &'a Places,
    found: Vec<(String, String)>,
}

impl Visitor for Defaults<'_> {
    fn leaf(&mut self, path: &str, text: String) {
        if !self.places.contains_key(path) {
            self.found.push((path.to_owned(), text));
        }
    }
    fn absent(&mut self, path: &str) {
        self.leaf(path, String::new());
    }
    fn lack(&mut self, _: &str, _: Lack) {}
    fn secret(&mut self, _: &str, _: &Secret) {}
}

/// The longest text that is read, in bytes.
pub const TEXT_MAX: usize = 32 << 20;
const ERRORS_MAX: usize = 1000;
