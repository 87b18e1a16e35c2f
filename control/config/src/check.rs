//! What only shows when the whole file is known: references to what is not defined, the same thing said twice, and
//! values that are fine alone but not together.

use crate::engine::NgAddress;
use crate::error::{ConfigError, Kind, nearest};
use crate::group::Group;
use crate::limit::OwnLimit;
use crate::listener::Listener;
use crate::objects::{Objects, Rule};
use crate::read::{Places, Segment, below, push_segment};
use crate::root::{Config, place_of};
use crate::trunk::Trunk;
use crate::words::{Host, MediaAddress, Name, Rate, SipAddress, Source};
use b2bua::number::Pattern;
use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Finds every error that shows in the whole; `before` are the errors of reading, whose consequences are not repeated.
pub(crate) fn check(
    config: &Config,
    places: &Places,
    file: &Arc<str>,
    before: &[ConfigError],
) -> Vec<ConfigError> {
    let unread = before.iter().map(|error| error.path.as_str()).collect();
    let mut check = Check { config, places, file, unread, errors: Vec::new() };
    check.listeners();
    check.trunks();
    check.groups();
    check.routes();
    check.number_rules();
    check.accounts();
    check.limits();
    check.policies();
    check.engine();
    check.errors
}

struct Check<'a> {
    config: &'a Config,
    places: &'a Places,
    file: &'a Arc<str>,
    /// Paths with an error already.
    unread: BTreeSet<&'a str>,
    errors: Vec<ConfigError>,
}

impl Check<'_> {
    fn error(&mut self, path: &str, kind: Kind) {
        let place = place_of(self.places, path);
        self.errors.push(ConfigError {
            file: Arc::clone(self.file),
            line: place.line,
            column: place.column,
            path: path.to_owned(),
            kind,
        });
    }

    fn unfit(&mut self, path: &str, why: impl Into<String>) {
        self.error(path, Kind::Unfit(why.into()));
    }

    /// Whether something at or below this path, or the table around it, could not be read.
    fn is_unread(&self, path: &str) -> bool {
        let below = self.unread.range(path..).next().is_some_and(|found| found.starts_with(path));
        let mut above = path;
        while let Some(at) = above.rfind(['.', '[']) {
            above = &above[..at];
            if self.unread.contains(above) {
                return true;
            }
        }
        below
    }

    fn line(&self, path: &str) -> u32 {
        place_of(self.places, path).line
    }

    /// A reference by name.
    fn refer<'n>(
        &mut self,
        path: &str,
        what: &'static str,
        name: &str,
        known: impl Iterator<Item = &'n str> + Clone,
    ) -> bool {
        if known.clone().any(|k| k == name) || self.is_unread(path) {
            return true;
        }
        let known: Vec<String> = known.take(NAMES_MAX).map(str::to_owned).collect();
        let nearest = nearest(name, known.iter().map(String::as_str));
        self.error(path, Kind::NoSuch { what, name: crate::error::cut(name), known, nearest });
        false
    }

    // ---- listeners ---------------------------------------------------------------------------------------------------

    fn listeners(&mut self) {
        let config = self.config;
        if config.listener.len() > LISTENERS_MAX {
            self.unfit("listener", format!("more than {LISTENERS_MAX} listeners"));
            return;
        }
        let mut sip: Vec<(SipAddress, String)> = Vec::new();
        let mut media: Vec<(MediaAddress, String)> = Vec::new();
        for (name, listener) in config.listener.iter() {
            let path = below("listener", name);
            for (key, count) in [("sip", listener.sip.len()), ("media", listener.media.len())] {
                if count > ADDRESSES_MAX {
                    self.unfit(&below(&path, key), format!("more than {ADDRESSES_MAX} addresses"));
                    return;
                }
            }
            for (index, address) in listener.sip.iter().enumerate() {
                let here = entry(&below(&path, "sip"), index);
                self.collides(&here, address, &sip, |a, b| {
                    sip_sockets_meet(a, b).then(|| format!("the address {}", crate::value::Word::word(b)))
                });
                sip.push((*address, here));
            }
            for (index, range) in listener.media.iter().enumerate() {
                let here = entry(&below(&path, "media"), index);
                let list = below(&path, "media");
                self.collides(&here, range, &media, |a, b| {
                    media_ranges_meet(a, b).then(|| format!("the range {}", crate::value::Word::word(b)))
                });
                let same_address = listener.media[..index].iter().position(|r| r.address == range.address);
                if let Some(first) = same_address
                    && !media_ranges_meet(&listener.media[first], range)
                {
                    let (other, line) = (entry(&list, first), self.line(&entry(&list, first)));
                    let value = format!("the address {} with one range of ports", range.address);
                    self.error(&here, Kind::Twice { value, other, line });
                }
                media.push((range.clone(), here));
            }
            self.advertised(&path, listener);
        }
    }

    /// Reports the first earlier entry that `meets` the new one.
    fn collides<T>(
        &mut self,
        here: &str,
        new: &T,
        earlier: &[(T, String)],
        meets: impl Fn(&T, &T) -> Option<String>,
    ) {
        let met = earlier.iter().find_map(|(old, path)| Some((meets(new, old)?, path.clone())));
        if let Some((what, other)) = met {
            let line = self.line(&other);
            self.error(here, Kind::Unfit(format!("overlaps {what} of {other} (line {line})")));
        }
    }

    fn advertised(&mut self, path: &str, listener: &Listener) {
        let list = below(path, "advertise");
        for (index, address) in listener.advertise.iter().enumerate() {
            let here = entry(&list, index);
            if address.is_unspecified() || address.is_multicast() {
                self.unfit(
                    &here,
                    "a wildcard or group cannot be advertised; write the address that peers reach",
                );
            }
            let first = listener.advertise[..index].iter().position(|a| a.is_ipv4() == address.is_ipv4());
            if let Some(first) = first {
                let other = entry(&list, first);
                let line = self.line(&other);
                let value = if address.is_ipv4() { "an IPv4 address" } else { "an IPv6 address" };
                self.error(&here, Kind::Twice { value: value.to_owned(), other, line });
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
                    &entry(&below(path, "media"), index),
                    "a wildcard needs `advertise` when engine.ng is set: an NG offer does not say who the peer is",
                );
            }
        }
    }

    // ---- trunks ------------------------------------------------------------------------------------------------------

    fn trunks(&mut self) {
        let config = self.config;
        // Who has said a source so far: which trunk, on which listener (`None` is on all), and where.
        let mut sources: BTreeMap<String, Vec<(usize, Option<usize>, String)>> = BTreeMap::new();
        for (number, (name, trunk)) in config.trunk.iter().enumerate() {
            let path = below("trunk", name);
            let listener = self.trunk_listener(&path, trunk);
            if trunk.from.is_empty() && trunk.to.is_empty() && !self.is_unread(&path) {
                self.unfit(&path, "needs `address`, or `from` (who it is) or `to` (where it is called)");
            }
            for (index, source) in trunk.from.iter().enumerate() {
                if *source == Source::Digest {
                    continue;
                }
                let word = crate::value::Word::word(source);
                let only_on = listener.filter(|_| trunk.listener.is_some());
                let said = sources.entry(word.clone()).or_default();
                let other = said.iter().find(|(trunk, on, _)| {
                    *trunk != number && (on.is_none() || only_on.is_none() || *on == only_on)
                });
                let other = other.map(|(_, _, other_path)| other_path.clone());
                let list = below(&path, "from");
                let short = !self.places.contains_key(&list);
                let here = if short { below(&path, "address") } else { entry(&list, index) };
                match other {
                    Some(other) => {
                        let line = self.line(&other);
                        self.error(&here, Kind::Twice { value: format!("\"{word}\""), other, line });
                    }
                    None => said.push((number, only_on, here)),
                }
            }
            self.targets(&path, trunk, listener);
            for (key, limit) in
                [("limit", &trunk.limit), ("limit_in", &trunk.limit_in), ("limit_out", &trunk.limit_out)]
            {
                self.own_limit(&below(&path, key), limit.as_ref());
            }
            self.policy_names(&below(&path, "policy"), &trunk.policy);
            if trunk.register.is_some() && trunk.auth.is_none() {
                self.unfit(&below(&path, "register"), "a login needs `auth` with user and password");
            }
            if trunk.register.is_some() && trunk.to.is_empty() && !self.is_unread(&path) {
                self.unfit(&below(&path, "register"), "a login needs `to`: where to log in");
            }
            let mut told = BTreeSet::new();
            for (from, _) in &trunk.codes.map.0 {
                if !told.insert(*from) {
                    self.unfit(
                        &below(&below(&path, "codes"), "map"),
                        format!("the code {} stands twice", from.0),
                    );
                }
            }
        }
    }

    /// Index of the listener that a trunk uses.
    fn trunk_listener(&mut self, path: &str, trunk: &Trunk) -> Option<usize> {
        let config = self.config;
        let here = below(path, "listener");
        let index = match &trunk.listener {
            Some(name) => {
                if !self.refer(&here, "listener", name, config.listener.names()) {
                    return None;
                }
                config.listener.names().position(|n| n == name.as_str())?
            }
            None => match default_listener(&config.listener) {
                Some(index) => index,
                None => {
                    if !self.is_unread("listener") {
                        self.unfit(path, "there is no listener with `sip` that the trunk could use");
                    }
                    return None;
                }
            },
        };
        let (name, listener) = config.listener.iter().nth(index)?;
        let listener_path = below("listener", name);
        for (key, empty) in [("sip", listener.sip.is_empty()), ("media", listener.media.is_empty())] {
            if empty && !self.is_unread(&listener_path) {
                self.unfit(
                    &here,
                    format!("listener \"{name}\" has no `{key}`, and calls of this trunk need it"),
                );
            }
        }
        Some(index)
    }

    fn targets(&mut self, path: &str, trunk: &Trunk, listener: Option<usize>) {
        let list = below(path, "to");
        let listener = listener.and_then(|index| self.config.listener.iter().nth(index));
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (index, target) in trunk.to.iter().enumerate() {
            let here = entry(&list, index);
            let word = crate::value::Word::word(&target.uri);
            if let Some(first) = seen.insert(word.clone(), index) {
                let other = entry(&list, first);
                let line = self.line(&other);
                self.error(&here, Kind::Twice { value: format!("\"{word}\""), other, line });
            }
            if let (Host::Ip(IpAddr::V6(ip)), Some((name, listener))) = (&target.uri.to.host, listener)
                && !listener.sip.is_empty()
                && listener.sip.iter().all(|sip| sip.address.is_ipv4())
            {
                self.unfit(&here, format!("listener \"{name}\" has no IPv6 address to reach {ip} from"));
            }
        }
    }

    fn own_limit(&mut self, path: &str, limit: Option<&OwnLimit>) {
        let Some(limit) = limit else { return };
        if limit.calls.is_none() && limit.cps.is_none() && limit.pool.is_none() && !self.is_unread(path) {
            self.unfit(path, "limits nothing; give `calls`, `cps` or `pool`");
        }
        self.burst(path, limit.cps, limit.burst);
        if let Some(pool) = &limit.pool {
            self.refer(&below(path, "pool"), "limit", pool, self.config.limit.names());
        }
    }

    fn burst(&mut self, path: &str, cps: Option<Rate>, burst: Option<u32>) {
        if burst.is_some() && cps.is_none() && !self.is_unread(path) {
            self.unfit(&below(path, "burst"), "means nothing without `cps`");
        }
    }

    fn policy_names(&mut self, path: &str, policies: &[Name]) {
        for (index, policy) in policies.iter().enumerate() {
            self.refer(&entry(path, index), "policy", policy, self.config.policy.names());
        }
    }

    // ---- groups ------------------------------------------------------------------------------------------------------

    fn groups(&mut self) {
        let config = self.config;
        let known = config.trunk.names().chain(config.group.names());
        for (name, group) in config.group.iter() {
            let path = below("group", name);
            if config.trunk.get(name).is_some() {
                let other = below("trunk", name);
                let line = self.line(&other);
                self.error(&path, Kind::Twice { value: format!("the name \"{name}\""), other, line });
            }
            let list = below(&path, "members");
            if group.members.is_empty() && !self.is_unread(&list) {
                self.unfit(&list, "a group without members");
            }
            let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
            for (index, member) in group.members.iter().enumerate() {
                let here = below(&entry(&list, index), "trunk");
                self.refer(&here, "trunk or group", &member.trunk, known.clone());
                if let Some(first) = seen.insert(&member.trunk, index) {
                    let other = entry(&list, first);
                    let line = self.line(&other);
                    self.error(&here, Kind::Twice { value: format!("\"{}\"", member.trunk), other, line });
                }
            }
        }
        self.circles();
    }

    /// Reports each circle of groups once, at its first group in the file.
    fn circles(&mut self) {
        let config = self.config;
        let groups: BTreeMap<&str, &Group> = config.group.iter().collect();
        let mut done: BTreeSet<&str> = BTreeSet::new();
        for start in config.group.names() {
            // Depth first with a stack of our own: groups may be nested as deep as the file is long.
            let mut way: Vec<(&str, usize)> = vec![(start, 0)];
            while let Some((name, next)) = way.last_mut() {
                let member = groups.get(name).and_then(|group| group.members.get(*next));
                *next += 1;
                let Some(member) = member else {
                    done.insert(name);
                    way.pop();
                    continue;
                };
                let member = member.trunk.as_str();
                if let Some(first) = way.iter().position(|(name, _)| *name == member) {
                    let mut circle: Vec<String> = way[first..].iter().map(|(n, _)| (*n).to_owned()).collect();
                    circle.push(member.to_owned());
                    self.error(&below(&below("group", member), "members"), Kind::Circle(circle));
                } else if groups.contains_key(member) && !done.contains(member) {
                    way.push((member, 0));
                }
            }
        }
    }

    // ---- routes and rules --------------------------------------------------------------------------------------------

    fn routes(&mut self) {
        let config = self.config;
        let trunks: BTreeMap<&str, &Trunk> = config.trunk.iter().collect();
        let ways_out = config.trunk.names().chain(config.group.names());
        let groups: BTreeSet<&str> = config.group.names().collect();
        let accounts: BTreeSet<&str> = config.account.names().collect();
        for route in config.route.iter() {
            let path = below("route", route.name());
            for (index, from) in route.from.iter().enumerate() {
                if !trunks.contains_key(from.as_str()) && !accounts.contains(from.as_str()) {
                    let here = entry(&below(&path, "from"), index);
                    let known = config.trunk.names().chain(config.account.names());
                    self.refer(&here, "trunk or account", from, known);
                }
            }
            if route.via.is_empty() {
                continue; // reported when it was read
            }
            let here = below(&path, "via");
            match trunks.get(route.via.as_str()) {
                Some(trunk) if trunk.to.is_empty() && !self.is_unread(&below("trunk", &route.via)) => {
                    let why = format!("trunk \"{}\" has no `to`, so it cannot be called", route.via);
                    self.unfit(&here, why);
                }
                Some(_) => {}
                None if groups.contains(route.via.as_str()) => {}
                None => {
                    self.refer(&here, "trunk or group", &route.via, ways_out.clone());
                }
            }
        }
    }

    fn number_rules(&mut self) {
        let config = self.config;
        let trunks: BTreeSet<&str> = config.trunk.names().collect();
        for rule in config.number_rule.iter() {
            let path = below("number_rule", rule.name());
            for (index, trunk) in rule.trunk.iter().enumerate() {
                if !trunks.contains(trunk.as_str()) {
                    self.refer(&entry(&below(&path, "trunk"), index), "trunk", trunk, config.trunk.names());
                }
            }
            let Some(highest) = rule.to.highest_group() else { continue };
            let here = below(&path, "to");
            match &rule.matches.pattern {
                _ if self.is_unread(&path) => {}
                Pattern::Regex(regex) if highest < regex.captures_len() => {}
                Pattern::Regex(regex) => {
                    let groups = regex.captures_len() - 1;
                    self.unfit(&here, format!("names group {highest}, but `match` has {groups}"));
                }
                Pattern::Exact(_) | Pattern::Digits { .. } => {
                    self.unfit(
                        &here,
                        format!("names group {highest}, but `match` is no \"~REGEX\"; a cut is written {{{highest}-}}"),
                    );
                }
            }
        }
    }

    // ---- accounts, limits, policies, engine --------------------------------------------------------------------------

    fn accounts(&mut self) {
        let config = self.config;
        for (name, account) in config.account.iter() {
            let path = below("account", name);
            let parts = name.split_once('@');
            if !parts
                .is_some_and(|(user, domain)| !user.is_empty() && !domain.is_empty() && !domain.contains('@'))
            {
                self.unfit(&path, "an account is named \"user@domain\"");
            }
            self.own_limit(&below(&path, "limit"), account.limit.as_ref());
            self.policy_names(&below(&path, "policy"), &account.policy);
        }
    }

    fn limits(&mut self) {
        let config = self.config;
        for (name, limit) in config.limit.iter() {
            let path = below("limit", name);
            if limit.calls.is_none() && limit.cps.is_none() && !self.is_unread(&path) {
                self.unfit(&path, "limits nothing; give `calls` or `cps`");
            }
            self.burst(&path, limit.cps, limit.burst);
        }
    }

    fn policies(&mut self) {
        let config = self.config;
        for (name, policy) in config.policy.iter() {
            let path = below("policy", name);
            let rules = policy.rules.entries();
            if rules.is_empty() && policy.destinations.is_none() && !self.is_unread(&path) {
                self.unfit(&path, "decides nothing; give `rules` or `destinations`");
            }
            if policy.rules.spend.is_some() && policy.rates.is_none() && !self.is_unread(&path) {
                self.unfit(
                    &below(&below(&path, "rules"), "spend"),
                    "needs `rates`: a file of prefixes and prices",
                );
            }
        }
    }

    fn engine(&mut self) {
        let engine = &self.config.engine;
        if !engine.api.ip().to_canonical().is_loopback()
            && engine.tokens.is_empty()
            && !self.is_unread("engine")
        {
            let why = format!(
                "{} is not loopback, so `tokens` are needed: [{{ token = \"env:NAME\", role = \"admin\" }}]",
                engine.api
            );
            self.unfit("engine.api", why);
        }
        for (index, token) in engine.tokens.iter().enumerate() {
            let first = engine.tokens[..index].iter().position(|t| t.token == token.token);
            if let Some(first) = first
                && !self.is_unread("engine.tokens")
            {
                let other = entry("engine.tokens", first);
                let line = self.line(&other);
                let value = format!("\"{}\"", token.token);
                self.error(&entry("engine.tokens", index), Kind::Twice { value, other, line });
            }
        }
    }
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

fn entry(list: &str, index: usize) -> String {
    let mut path = list.to_owned();
    push_segment(&mut path, Segment::Index(index));
    path
}

/// A signalling flow names its listener in 16 bits; more would be a mistake anyway.
const LISTENERS_MAX: usize = 256;
const ADDRESSES_MAX: usize = 64;
const NAMES_MAX: usize = 1000;
