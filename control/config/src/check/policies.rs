//! What does not go together in policies, and their rate files.

use super::{Check, ReadFile};
use crate::error::{ConfigError, Kind};
use crate::place::Path;
use crate::policy::{Destinations, Policy, Prefixes, Thresholds};
use policy::{Action, Base, Per, Rates};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rate files by what the configuration calls them.
pub(crate) type RateFiles = BTreeMap<String, Arc<Rates>>;

impl Check<'_> {
    pub(super) fn policies(&mut self) {
        let config = self.config;
        let root = Path::ROOT.key("policy");
        for (name, policy) in config.policy.iter() {
            let path = root.key(name);
            if self.is_unread(&path) {
                continue;
            }
            let rules = &path.key("rules");
            let has_rules = policy.rules != Thresholds::default();
            if !has_rules && policy.destinations.is_none() && policy.callers.is_none() {
                self.unfit(&path, "decides nothing; give `rules`, `destinations` or `callers`");
            }
            if policy.rules.spend.is_some() && policy.rates.is_none() {
                self.unfit(&rules.key("spend"), "needs `rates`: a file of prefixes and prices");
            }
            self.thresholds(rules, &policy.rules);
            self.counted_prefixes(&path, policy);
            for (key, actions) in [("warn", &policy.warn), ("critical", &policy.critical)] {
                for (index, action) in actions.iter().enumerate() {
                    if let Action::Divert(flow) = action {
                        self.flow(&path.key(key).entry(index), flow);
                    }
                }
            }
            if let Some(Destinations::Own(prefixes)) = &policy.destinations {
                self.destinations(&path.key("destinations"), prefixes);
            }
            if let Some(callers) = &policy.callers {
                let list = path.key("callers");
                if callers.allow.is_empty() && callers.deny.is_empty() {
                    self.unfit(&list, "decides nothing; give `allow` or `deny`");
                }
                let deny = list.key("deny");
                for (index, entry) in callers.deny.iter().enumerate() {
                    if let Some(first) = callers.allow.iter().position(|allowed| allowed == entry) {
                        let value = format!("\"{}\"", entry.0);
                        self.twice(&deny.entry(index), value, &list.key("allow").entry(first));
                    }
                }
            }
        }
    }

    /// Levels that cannot be meant.
    fn thresholds(&mut self, path: &Path<'_>, rules: &Thresholds) {
        let counts = [
            ("cpm", rules.cpm),
            ("concurrent", rules.concurrent),
            ("total", rules.total),
            ("sequential", rules.sequential),
            ("spend", rules.spend),
            ("distinct", rules.distinct),
        ];
        for (key, levels) in counts {
            if let Some(levels) = levels
                && levels.warning <= 0.0
            {
                self.unfit(&path.key(key), format!("a level is above 0, and {} is not", levels.warning));
            }
        }
        let most = f64::from(policy::fraud::DISTINCT_MAX);
        if let Some(levels) = rules.distinct
            && levels.critical > most
        {
            let why =
                format!("at most {most} numbers are told apart, so {} is never reached", levels.critical);
            self.unfit(&path.key("distinct"), why);
        }
        let short = rules.short_calls.as_ref().map(|rule| ("short_calls", "ratio", rule.ratio));
        let answered = rules.answer_ratio.as_ref().map(|rule| ("answer_ratio", "below", rule.below.0));
        for (key, share, levels) in short.into_iter().chain(answered) {
            for level in [levels.warning, levels.critical] {
                if !(0.0..=1.0).contains(&level) {
                    let (value, least, most) = (level.to_string(), "0".to_owned(), "1".to_owned());
                    self.error(&path.key(key).key(share), Kind::OutOfRange { value, least, most });
                }
            }
        }
    }

    /// `prefixes` and `prefix_digits` exclude each other and mean nothing alone.
    fn counted_prefixes(&mut self, path: &Path<'_>, policy: &Policy) {
        let given =
            [("prefixes", !policy.prefixes.is_empty()), ("prefix_digits", policy.prefix_digits.is_some())];
        for (key, _) in given.iter().filter(|(_, given)| *given) {
            if !policy.per.contains(&Per::Prefix) {
                self.unfit(&path.key(key), "means nothing without \"prefix\" in `per`");
            }
        }
        if given.iter().all(|(_, given)| *given) {
            let why = "excludes `prefixes`: a prefix is one of a list or the first digits";
            self.unfit(&path.key("prefix_digits"), why);
        }
    }

    pub(super) fn destinations(&mut self, path: &Path<'_>, prefixes: &Prefixes) {
        if self.is_unread(path) {
            return;
        }
        if prefixes.base == Base::None && prefixes.allow.is_empty() {
            let why =
                "allows nothing; give `allow`, or base = \"default\" to deny something of the built-in table";
            self.unfit(path, why);
        }
        let deny = path.key("deny");
        for (index, entry) in prefixes.deny.iter().enumerate() {
            if let Some(first) = prefixes.allow.iter().position(|allowed| allowed == entry) {
                let value = crate::value::text_of(entry);
                self.twice(&deny.entry(index), value, &path.key("allow").entry(first));
            }
        }
    }

    /// Reads each rate file once; each bad line of it is an error.
    pub(super) fn rates(&mut self, files: &mut ReadFile<'_>) -> RateFiles {
        let config = self.config;
        let root = Path::ROOT.key("policy");
        let folder = std::path::Path::new(&**self.file).parent().unwrap_or(std::path::Path::new(""));
        let mut read = RateFiles::new();
        for (name, policy) in config.policy.iter() {
            let Some(rates) = policy.rates.as_ref().filter(|rates| !read.contains_key(*rates)) else {
                continue;
            };
            let path = root.key(name);
            let path = path.key("rates");
            let file = folder.join(rates);
            let parsed = match files(&file) {
                Ok(text) => Rates::parse(&text),
                Err(why) => {
                    self.unfit(&path, format!("the file {} cannot be read: {why}", file.display()));
                    continue;
                }
            };
            match parsed {
                Ok(parsed) => {
                    read.insert(rates.clone(), Arc::new(parsed));
                }
                Err(lines) => {
                    let file: Arc<str> = file.display().to_string().into();
                    self.errors.extend(lines.into_iter().map(|bad| ConfigError {
                        file: Arc::clone(&file),
                        line: u32::try_from(bad.line).unwrap_or(u32::MAX),
                        column: 1,
                        path: path.to_string(),
                        kind: Kind::BadRate(bad.reason),
                    }));
                }
            }
        }
        read
    }
}
