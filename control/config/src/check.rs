//! What only shows when the whole file is known: references to what is not defined, the same thing said twice, and
//! values that are fine alone but not together.

mod routing; // groups, routes, number rules
mod shadow; // routes that no call reaches
mod policies; // policies and their rate files
mod ng; // where NG is spoken

pub(crate) use policies::RateFiles;

use crate::engine::{Answer, NgAddress};
use crate::error::{ConfigError, Kind, Notice, nearest};
use crate::limit::OwnLimit;
use crate::listener::Listener;
use crate::objects::Objects;
use crate::place::{Path, Places};
use crate::policy::Destinations;
use crate::root::{Checked, Config, ERRORS_MAX};
use crate::trunk::{Srtp, Target, Trunk};
use crate::words::{Host, MediaAddress, Name, Rate, SipAddress, Source};
use b2bua::spec::Transport;
use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Finds every error that shows in the whole; `before` are the errors of reading, whose consequences are not repeated.
/// Rate files are read by `files`.
pub(crate) fn check(
    config: &Config,
    places: &Places,
    text: &str,
    file: &Arc<str>,
    before: &[ConfigError],
    files: &mut ReadFile<'_>,
) -> Found {
    let unread = before.iter().map(|error| error.path.as_str()).collect();
    let mut check = Check { config, places, text, file, unread, errors: Vec::new(), more: 0 };
    check.listeners();
    check.trunks();
    check.groups();
    check.routes();
    check.shadows();
    check.number_rules();
    check.accounts();
    check.limits();
    check.policies();
    let rates = check.rates(files);
    check.engine();
    check.ng();
    check.unknown();
    Found { errors: check.errors, more: check.more, rates }
}

impl Checked {
    /// Trunks whose media is encrypted with keys that anybody can read on the way.
    pub(crate) fn readable_keys(&self) -> Vec<Notice> {
        let is_plain = |trunk: &Trunk| {
            let is_tls = |to: &Target| matches!(to.uri.transport, Some(Transport::Tls | Transport::Wss));
            trunk.to.is_empty() || !trunk.to.iter().all(is_tls)
        };
        let has_keys = |trunk: &Trunk| matches!(trunk.srtp, Some(Srtp::Optional | Srtp::Required));
        let trunks = self.config().trunk.iter().filter(|(_, trunk)| has_keys(trunk) && is_plain(trunk));
        let notice = |(name, _): (&str, &Trunk)| {
            let path = Path::ROOT.key("trunk");
            let path = path.key(name);
            let why =
                "the keys stand in signalling that is not encrypted: who can read it can hear the media";
            self.notice(&path.key("srtp"), why.to_owned(), false)
        };
        trunks.map(notice).collect()
    }
}

/// What a check has found.
pub(crate) struct Found {
    /// In no order.
    pub errors: Vec<ConfigError>,
    /// Further errors, only counted.
    pub more: usize,
    /// The rate files that could be read.
    pub rates: RateFiles,
}

/// Reads a file that the configuration names; the error is the system's.
pub(crate) type ReadFile<'a> = dyn FnMut(&std::path::Path) -> Result<String, String> + 'a;

struct Check<'a> {
    config: &'a Config,
    places: &'a Places,
    text: &'a str,
    file: &'a Arc<str>,
    /// Paths with an error already.
    unread: BTreeSet<&'a str>,
    errors: Vec<ConfigError>,
    more: usize,
}

impl Check<'_> {
    /// Whether no more errors are listed; then one more is only counted.
    fn is_full(&mut self) -> bool {
        let full = self.errors.len() >= ERRORS_MAX;
        self.more += usize::from(full);
        full
    }

    fn error(&mut self, path: &Path<'_>, kind: Kind) {
        if self.is_full() {
            return;
        }
        let node = self.places.nearest(path);
        let place = self.places.place(self.places.nodes[node as usize].offset as usize, self.text);
        self.errors.push(ConfigError {
            file: Arc::clone(self.file),
            line: place.line,
            column: place.column,
            path: path.to_string(),
            kind,
        });
    }

    fn unfit(&mut self, path: &Path<'_>, why: impl Into<String>) {
        self.error(path, Kind::Unfit(why.into()));
    }

    /// The same thing stands here and at `other`.
    fn twice(&mut self, path: &Path<'_>, value: String, other: &Path<'_>) {
        if self.is_full() {
            return;
        }
        let (line, other) = (self.line(other), other.to_string());
        self.error(path, Kind::Twice { value, other, line });
    }

    /// Whether something at or below this path, or the table around it, could not be read.
    fn is_unread(&self, path: &Path<'_>) -> bool {
        if self.unread.is_empty() {
            return false;
        }
        let path = path.to_string();
        let below = self.unread.range(path.as_str()..).next().is_some_and(|found| found.starts_with(&path));
        let mut above = path.as_str();
        while let Some(at) = above.rfind(['.', '[']) {
            above = &above[..at];
            if self.unread.contains(above) {
                return true;
            }
        }
        below
    }

    fn line(&self, path: &Path<'_>) -> u32 {
        self.places.line(self.places.nearest(path))
    }

    /// A reference to something that is not defined.
    fn no_such<'n>(
        &mut self,
        path: &Path<'_>,
        what: &'static str,
        name: &str,
        known: impl Iterator<Item = &'n str>,
    ) {
        if self.is_unread(path) || self.is_full() {
            return;
        }
        let known: Vec<String> = known.take(NAMES_MAX).map(str::to_owned).collect();
        let nearest = nearest(name, known.iter().map(String::as_str));
        self.error(path, Kind::NoSuch { what, name: crate::error::cut(name), known, nearest });
    }

    // ---- listeners ---------------------------------------------------------------------------------------------------

    fn listeners(&mut self) {
        let config = self.config;
        if config.listener.len() > LISTENERS_MAX {
            self.unfit(&Path::ROOT.key("listener"), format!("more than {LISTENERS_MAX} listeners"));
            return;
        }
        let mut sip: Vec<(SipAddress, &str, usize)> = Vec::new();
        let mut media: Vec<(MediaAddress, &str, usize)> = Vec::new();
        let root = Path::ROOT.key("listener");
        for (name, listener) in config.listener.iter() {
            let path = root.key(name);
            for (key, count) in [("sip", listener.sip.len()), ("media", listener.media.len())] {
                if count > ADDRESSES_MAX {
                    self.unfit(&path.key(key), format!("more than {ADDRESSES_MAX} addresses"));
                    return;
                }
            }
            let list = path.key("sip");
            for (index, address) in listener.sip.iter().enumerate() {
                self.collides(&list.entry(index), "sip", address, &sip, |a, b| {
                    sip_sockets_meet(a, b).then(|| format!("the address {}", crate::value::Word::word(b)))
                });
                sip.push((*address, name, index));
            }
            let list = path.key("media");
            for (index, range) in listener.media.iter().enumerate() {
                let here = list.entry(index);
                self.collides(&here, "media", range, &media, |a, b| {
                    media_ranges_meet(a, b).then(|| format!("the range {}", crate::value::Word::word(b)))
                });
                let same_address = listener.media[..index].iter().position(|r| r.address == range.address);
                if let Some(first) = same_address
                    && !media_ranges_meet(&listener.media[first], range)
                {
                    let value = format!("the address {} with one range of ports", range.address);
                    self.twice(&here, value, &list.entry(first));
                }
                media.push((range.clone(), name, index));
            }
            self.advertised(&path, listener);
        }
    }

    /// Reports the first earlier entry that `meets` the new one.
    fn collides<T>(
        &mut self,
        here: &Path<'_>,
        key: &str,
        new: &T,
        earlier: &[(T, &str, usize)],
        meets: impl Fn(&T, &T) -> Option<String>,
    ) {
        let met = earlier.iter().find_map(|(old, name, index)| Some((meets(new, old)?, *name, *index)));
        if let Some((what, name, index)) = met {
            let other = Path::ROOT.key("listener");
            let other = other.key(name);
            let other = other.key(key);
            let other = other.entry(index);
            let line = self.line(&other);
            self.error(here, Kind::Unfit(format!("overlaps {what} of {other} (line {line})")));
        }
    }

    fn advertised(&mut self, path: &Path<'_>, listener: &Listener) {
        let list = path.key("advertise");
        for (index, address) in listener.advertise.iter().enumerate() {
            let here = list.entry(index);
            if address.is_unspecified() || address.is_multicast() {
                self.unfit(
                    &here,
                    "a wildcard or group cannot be advertised; write the address that peers reach",
                );
            }
            let first = listener.advertise[..index].iter().position(|a| a.is_ipv4() == address.is_ipv4());
            if let Some(first) = first {
                let value = if address.is_ipv4() { "an IPv4 address" } else { "an IPv6 address" };
                self.twice(&here, value.to_owned(), &list.entry(first));
            }
        }
        let ng: &[NgAddress] = &self.config.engine.ng;
        if ng.is_empty() {
            return;
        }
        for (index, range) in listener.media.iter().enumerate() {
            let advertised = listener.advertise.iter().any(|a| a.is_ipv4() == range.address.is_ipv4());
            if range.address.is_unspecified() && !advertised {
                self.unfit(
                    &path.key("media").entry(index),
                    "a wildcard needs `advertise` when engine.ng is set: an NG offer does not say who the peer is",
                );
            }
        }
    }

    // ---- trunks ------------------------------------------------------------------------------------------------------

    fn trunks(&mut self) {
        let config = self.config;
        let root = Path::ROOT.key("trunk");
        let mut sources: BTreeMap<&Source, Vec<Said>> = BTreeMap::new();
        for (number, (name, trunk)) in config.trunk.iter().enumerate() {
            let path = root.key(name);
            let listener = self.trunk_listener(&path, trunk);
            if trunk.from.is_empty() && trunk.to.is_empty() && !self.is_unread(&path) {
                self.unfit(&path, "needs `address`, or `from` (who it is) or `to` (where it is called)");
            }
            for (index, source) in trunk.from.iter().enumerate() {
                if *source == Source::Digest {
                    continue;
                }
                let only_on = listener.filter(|_| trunk.listener.is_some());
                let said = sources.entry(source).or_default();
                let other = said.iter().find(|other| {
                    let together = other.only_on.is_none() || only_on.is_none() || other.only_on == only_on;
                    other.trunk != number && together
                });
                match other.copied() {
                    Some(Said { trunk: other, index: at, .. }) => {
                        let other = config.trunk.names().nth(other).expect("its number is in the book");
                        let value = format!("\"{}\"", crate::value::Word::word(source));
                        self.same_source(&path, index, value, &root.key(other), at);
                    }
                    None => said.push(Said { trunk: number, only_on, index }),
                }
            }
            self.targets(&path, trunk, listener);
            self.trunk_limits(&path, trunk);
            self.policy_names(&path.key("policy"), &trunk.policy);
            if trunk.register.is_some() && trunk.auth.is_none() {
                self.unfit(&path.key("register"), "a login needs `auth` with user and password");
            }
            if trunk.register.is_some() && trunk.to.is_empty() && !self.is_unread(&path) {
                self.unfit(&path.key("register"), "a login needs `to`: where to log in");
            }
            let mut told = BTreeSet::new();
            for (from, _) in &trunk.codes.map.0 {
                if !told.insert(*from) {
                    let why = format!("the code {} stands twice", from.0);
                    self.unfit(&path.key("codes").key("map"), why);
                }
            }
        }
    }

    fn same_source(&mut self, path: &Path<'_>, index: usize, value: String, other: &Path<'_>, at: usize) {
        // The short form has no `from`.
        let (from, other_from) = (path.key("from"), other.key("from"));
        let short = |from: &Path<'_>| self.places.find(from).is_none();
        let (is_short, is_other_short) = (short(&from), short(&other_from));
        let here = if is_short { path.key("address") } else { from.entry(index) };
        let there = if is_other_short { other.key("address") } else { other_from.entry(at) };
        self.twice(&here, value, &there);
    }

    /// The limits of one trunk: each for itself, and what does not go together.
    fn trunk_limits(&mut self, path: &Path<'_>, trunk: &Trunk) {
        self.own_limit(&path.key("limit"), trunk.limit.as_ref());
        for (key, limit) in [("limit_in", &trunk.limit_in), ("limit_out", &trunk.limit_out)] {
            let here = path.key(key);
            self.own_limit(&here, limit.as_ref());
            let (Some(both), Some(limit)) = (&trunk.limit, limit) else { continue };
            if let (Some(all), Some(part)) = (both.calls, limit.calls)
                && part > all
            {
                let why = format!("{part} calls one way are more than the {all} of `limit`");
                self.unfit(&here.key("calls"), why);
            }
            for (index, pool) in limit.pool.iter().enumerate() {
                if let Some(first) = both.pool.iter().position(|p| p == pool) {
                    let list = path.key("limit");
                    let list = list.key("pool");
                    self.twice(&here.key("pool").entry(index), format!("\"{pool}\""), &list.entry(first));
                }
            }
        }
    }

    /// Index of the listener that a trunk uses.
    fn trunk_listener(&mut self, path: &Path<'_>, trunk: &Trunk) -> Option<usize> {
        let config = self.config;
        let here = path.key("listener");
        let index = match &trunk.listener {
            Some(name) => match config.listener.position(name) {
                Some(index) => index,
                None => {
                    self.no_such(&here, "listener", name, config.listener.names());
                    return None;
                }
            },
            None => match default_listener(&config.listener) {
                Some(index) => index,
                None => {
                    if !self.is_unread(&Path::ROOT.key("listener")) {
                        self.unfit(path, "there is no listener with `sip` that the trunk could use");
                    }
                    return None;
                }
            },
        };
        let (name, listener) = config.listener.iter().nth(index)?;
        for (key, empty) in [("sip", listener.sip.is_empty()), ("media", listener.media.is_empty())] {
            if empty && !self.is_unread(&Path::ROOT.key("listener").key(name)) {
                self.unfit(
                    &here,
                    format!("listener \"{name}\" has no `{key}`, and calls of this trunk need it"),
                );
            }
        }
        Some(index)
    }

    fn targets(&mut self, path: &Path<'_>, trunk: &Trunk, listener: Option<usize>) {
        let list = path.key("to");
        let listener = listener.and_then(|index| self.config.listener.iter().nth(index));
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (index, target) in trunk.to.iter().enumerate() {
            let here = list.entry(index);
            let word = crate::value::Word::word(&target.uri);
            let value = format!("\"{word}\"");
            if let Some(first) = seen.insert(word, index) {
                self.twice(&here, value, &list.entry(first));
            }
            if let (Host::Ip(IpAddr::V6(ip)), Some((name, listener))) = (&target.uri.to.host, listener)
                && !listener.sip.is_empty()
                && listener.sip.iter().all(|sip| sip.address.is_ipv4())
            {
                self.unfit(&here, format!("listener \"{name}\" has no IPv6 address to reach {ip} from"));
            }
        }
    }

    fn own_limit(&mut self, path: &Path<'_>, limit: Option<&OwnLimit>) {
        let config = self.config;
        let Some(limit) = limit else { return };
        if limit.calls.is_none() && limit.cps.is_none() && limit.pool.is_empty() && !self.is_unread(path) {
            self.unfit(path, "limits nothing; give `calls`, `cps` or `pool`");
        }
        self.burst(path, limit.cps, limit.burst);
        for (index, pool) in limit.pool.iter().enumerate() {
            if config.limit.position(pool).is_none() {
                self.no_such(&path.key("pool").entry(index), "limit", pool, config.limit.names());
            }
        }
    }

    fn burst(&mut self, path: &Path<'_>, cps: Option<Rate>, burst: Option<u32>) {
        if burst.is_some() && cps.is_none() && !self.is_unread(path) {
            self.unfit(&path.key("burst"), "means nothing without `cps`");
        }
    }

    fn policy_names(&mut self, path: &Path<'_>, policies: &[Name]) {
        let config = self.config;
        for (index, policy) in policies.iter().enumerate() {
            if config.policy.position(policy).is_none() {
                self.no_such(&path.entry(index), "policy", policy, config.policy.names());
            }
        }
    }

    // ---- accounts, limits, engine ------------------------------------------------------------------------------------

    fn accounts(&mut self) {
        let config = self.config;
        let root = Path::ROOT.key("account");
        for (name, account) in config.account.iter() {
            let path = root.key(name);
            let parts = name.split_once('@');
            if !parts
                .is_some_and(|(user, domain)| !user.is_empty() && !domain.is_empty() && !domain.contains('@'))
            {
                self.unfit(&path, "an account is named \"user@domain\"");
            }
            self.own_limit(&path.key("limit"), account.limit.as_ref());
            self.policy_names(&path.key("policy"), &account.policy);
            if let Destinations::Own(prefixes) = &account.destinations {
                self.destinations(&path.key("destinations"), prefixes);
            }
        }
    }

    fn limits(&mut self) {
        let config = self.config;
        let root = Path::ROOT.key("limit");
        for (name, limit) in config.limit.iter() {
            let path = root.key(name);
            if self.is_unread(&path) {
                continue;
            }
            if limit.calls.is_none() && limit.cps.is_none() {
                self.unfit(&path, "limits nothing; give `calls` or `cps`");
            }
            self.burst(&path, limit.cps, limit.burst);
            let reserve = path.key("reserve");
            match limit.calls {
                None if limit.reserve > 0 => self.unfit(&reserve, "means nothing without `calls`"),
                Some(calls) if limit.reserve > calls => {
                    let why = format!("{} places cannot be kept of {calls}", limit.reserve);
                    self.unfit(&reserve, why);
                }
                Some(_) | None => {}
            }
            if limit.keys.is_some() && limit.per.is_none() {
                self.unfit(&path.key("keys"), "means nothing without `per`");
            }
        }
    }

    fn engine(&mut self) {
        let engine = &self.config.engine;
        let root = Path::ROOT.key("engine");
        if !engine.api.ip().to_canonical().is_loopback() && engine.tokens.is_empty() && !self.is_unread(&root)
        {
            let why = format!(
                "{} is not loopback, so `tokens` are needed: [{{ token = \"env:NAME\", role = \"admin\" }}]",
                engine.api
            );
            self.unfit(&root.key("api"), why);
        }
        let list = root.key("tokens");
        for (index, token) in engine.tokens.iter().enumerate() {
            let first = engine.tokens[..index].iter().position(|t| t.token == token.token);
            if let Some(first) = first
                && !self.is_unread(&list)
            {
                self.twice(&list.entry(index), format!("\"{}\"", token.token), &list.entry(first));
            }
        }
    }

    fn unknown(&mut self) {
        let root = Path::ROOT.key("unknown");
        if let Answer::Divert(flow) = &self.config.unknown.answer {
            self.flow(&root.key("answer"), flow);
        }
    }

    /// The name of a flow to which calls are diverted.
    fn flow(&mut self, path: &Path<'_>, flow: &str) {
        if flow != TARPIT {
            self.no_such(path, "flow", flow, core::iter::once(TARPIT));
        }
    }
}

/// A trunk has said this source.
#[derive(Clone, Copy)]
struct Said {
    trunk: usize,
    /// The listener on which it holds; on all, if `None`.
    only_on: Option<usize>,
    /// Which of its sources.
    index: usize,
}

/// The listener of trunks that name none: the first that has `sip`.
pub(crate) fn default_listener(listeners: &Objects<Listener>) -> Option<usize> {
    listeners.iter().position(|(_, listener)| !listener.sip.is_empty())
}

/// Both cannot be bound.
fn sip_sockets_meet(a: &SipAddress, b: &SipAddress) -> bool {
    use b2bua::spec::Transport::Udp;
    (a.transport == Udp) == (b.transport == Udp)
        && a.address.port() == b.address.port()
        && a.address.port() != 0
        && addresses_meet(a.address.ip(), b.address.ip())
}

/// Some port would belong to both.
fn media_ranges_meet(a: &MediaAddress, b: &MediaAddress) -> bool {
    *a.ports.start() != 0
        && a.ports.start() <= b.ports.end()
        && b.ports.start() <= a.ports.end()
        && addresses_meet(a.address, b.address)
}

fn addresses_meet(a: IpAddr, b: IpAddr) -> bool {
    a == b || a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified())
}

/// A signalling flow names its listener in 16 bits; more would be a mistake anyway.
const LISTENERS_MAX: usize = 256;
const ADDRESSES_MAX: usize = 64;
const NAMES_MAX: usize = 1000;
/// Answers and plays nothing; further flows come later.
const TARPIT: &str = "tarpit";
