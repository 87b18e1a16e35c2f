//! What does not go together in groups, routes and number rules.

use super::Check;
use crate::error::{Kind, Notice};
use crate::group::Group;
use crate::objects::Rule;
use crate::place::Path;
use crate::root::{Checked, Config};
use crate::route::Route;
use crate::words::{NumberPattern, NumberTemplate};
use ledger::Class;
use routing::group::Pick;
use routing::number::Pattern;
use std::collections::{BTreeMap, BTreeSet};

impl Check<'_> {
    pub(super) fn groups(&mut self) {
        let config = self.config;
        let root = Path::ROOT.key("group");
        for (name, group) in config.group.iter() {
            let path = root.key(name);
            if config.trunk.position(name).is_some() {
                self.twice(&path, format!("the name \"{name}\""), &Path::ROOT.key("trunk").key(name));
            }
            let list = path.key("members");
            if group.members.is_empty() && !self.is_unread(&list) {
                self.unfit(&list, "a group without members");
            }
            let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
            for (index, member) in group.members.iter().enumerate() {
                let entry = list.entry(index);
                self.way(&entry.key("trunk"), &member.trunk);
                if let Some(first) = seen.insert(&member.trunk, index)
                    && !self.is_unread(&entry)
                {
                    self.twice(&entry, format!("\"{}\"", member.trunk), &list.entry(first));
                }
                let is_trunk = config.trunk.position(&member.trunk).is_some();
                if group.pick == Pick::FreeCapacity
                    && is_trunk
                    && member.resources.0.is_empty()
                    && !self.is_unread(&entry)
                {
                    let why = "has no `resources`, and `free-capacity` compares what is free of them";
                    self.unfit(&entry, why);
                }
            }
        }
        self.circles();
    }

    /// The name of a trunk or group to which calls are to go.
    fn way(&mut self, path: &Path<'_>, name: &str) {
        let config = self.config;
        match config.trunk.get(name) {
            Some(trunk) if trunk.to.is_empty() && !self.is_unread(&Path::ROOT.key("trunk").key(name)) => {
                self.unfit(path, format!("trunk \"{name}\" has no `to`, so it cannot be called"));
            }
            Some(_) => {}
            None if config.group.position(name).is_some() => {}
            None => {
                let known = config.trunk.names().chain(config.group.names());
                self.no_such(path, "trunk or group", name, known);
            }
        }
    }

    /// Reports each circle of groups once, at its first group in the file.
    fn circles(&mut self) {
        let config = self.config;
        let groups: BTreeMap<&str, &Group> = config.group.iter().collect();
        let mut done: BTreeSet<&str> = BTreeSet::new();
        for start in config.group.names() {
            // Depth first with a stack of our own: groups may be nested as deep as the file is long.
            let mut way: Vec<(&str, usize)> = vec![(start, 0)];
            let mut on_way: BTreeSet<&str> = BTreeSet::from([start]);
            while let Some((name, next)) = way.last_mut() {
                let member = groups.get(name).and_then(|group| group.members.get(*next));
                *next += 1;
                let Some(member) = member else {
                    done.insert(name);
                    on_way.remove(*name);
                    way.pop();
                    continue;
                };
                let member = member.trunk.as_str();
                if on_way.contains(member) {
                    let first = way.iter().position(|(name, _)| *name == member).unwrap_or(0);
                    let mut circle: Vec<String> = way[first..].iter().map(|(n, _)| (*n).to_owned()).collect();
                    circle.push(member.to_owned());
                    self.error(&Path::ROOT.key("group").key(member).key("members"), Kind::Circle(circle));
                } else if groups.contains_key(member) && !done.contains(member) {
                    way.push((member, 0));
                    on_way.insert(member);
                }
            }
        }
    }

    pub(super) fn routes(&mut self) {
        let config = self.config;
        let root = Path::ROOT.key("route");
        for route in config.route.iter() {
            let path = root.key(route.name());
            for (index, from) in route.from.iter().enumerate() {
                if config.trunk.position(from).is_none() && config.account.position(from).is_none() {
                    let known = config.trunk.names().chain(config.account.names());
                    self.no_such(&path.key("from").entry(index), "trunk or account", from, known);
                }
            }
            match (&route.via, route.reject) {
                (Some(via), None) => self.way(&path.key("via"), via),
                (None, Some(_)) if route.hook.is_some() => {
                    self.unfit(&path.key("hook"), "means nothing beside `reject`: its calls are refused");
                }
                (None, Some(_)) => {}
                (Some(_), Some(_)) => {
                    self.unfit(&path.key("reject"), "excludes `via`: a call goes somewhere or is refused");
                }
                (None, None) if self.is_unread(&path) => {}
                (None, None) => {
                    let kind = Kind::Missing("the trunk or group that is called, or `reject`".to_owned());
                    self.error(&path.key("via"), kind);
                }
            }
            if let Some(template) = &route.callee {
                self.template(&path, "callee", template, "to", &route.to);
            }
            if let Some(template) = &route.set_caller {
                self.template(&path, "set_caller", template, "caller", &route.caller);
            }
            if route.class == Some(Class::Emergency) {
                self.emergency_route(&path, route);
            }
        }
    }

    /// An emergency route lifts limits, so it must not take more than it should.
    fn emergency_route(&mut self, path: &Path<'_>, route: &Route) {
        if route.to.is_empty() && !self.is_unread(path) {
            let why = "an emergency route exceeds every limit, so it names its numbers: give `to`";
            self.unfit(&path.key("class"), why);
        }
        if route.reject.is_some() {
            self.unfit(&path.key("reject"), "an emergency call is not refused");
        }
        if route.hook.is_some() {
            self.unfit(&path.key("hook"), "an emergency call waits for nobody");
        }
    }

    /// The groups that a template names must be in every pattern that it may be used with.
    fn template(
        &mut self,
        path: &Path<'_>,
        key: &str,
        template: &NumberTemplate,
        patterns_key: &str,
        patterns: &[NumberPattern],
    ) {
        let Some(highest) = template.highest_group() else { return };
        if self.is_unread(path) {
            return;
        }
        let groups = |pattern: &NumberPattern| match &pattern.0 {
            Pattern::Regex(regex) => Some(regex.captures_len() - 1),
            Pattern::Exact(_) | Pattern::Digits { .. } => None,
        };
        let fewest = patterns.iter().map(groups).min().unwrap_or(None);
        let here = path.key(key);
        match fewest {
            Some(groups) if highest <= groups => {}
            Some(groups) => {
                self.unfit(&here, format!("names group {highest}, but `{patterns_key}` has {groups}"));
            }
            None => {
                let why = format!(
                    "names group {highest}, but `{patterns_key}` is no \"~REGEX\"; a cut is written {{{highest}-}}"
                );
                self.unfit(&here, why);
            }
        }
    }

    pub(super) fn number_rules(&mut self) {
        let config = self.config;
        let root = Path::ROOT.key("number_rule");
        for rule in config.number_rule.iter() {
            let path = root.key(rule.name());
            for (index, trunk) in rule.trunk.iter().enumerate() {
                if config.trunk.position(trunk).is_none() {
                    self.no_such(&path.key("trunk").entry(index), "trunk", trunk, config.trunk.names());
                }
            }
            self.template(&path, "to", &rule.to, "match", core::slice::from_ref(&rule.matches));
        }
    }
}

impl Checked {
    /// Routes that ask for a resource which nothing on their way has: their calls are refused.
    pub(crate) fn missing_resources(&self) -> Vec<Notice> {
        let config = self.config();
        let mut found = Vec::new();
        for route in config.route.iter().filter(|route| !route.resources.is_empty()) {
            let Some(via) = &route.via else { continue };
            let offered = offered(config, via);
            for (index, resource) in route.resources.iter().enumerate() {
                if !offered.contains(resource.as_str()) {
                    let why = format!(
                        "nothing behind \"{via}\" has this resource: calls are refused with No Resource"
                    );
                    let path = Path::ROOT.key("route");
                    let path = path.key(route.name());
                    let path = path.key("resources");
                    found.push(self.notice(&path.entry(index), why, false));
                }
            }
        }
        found
    }
}

/// The resources of all members behind a name.
fn offered<'c>(config: &'c Config, via: &'c str) -> BTreeSet<&'c str> {
    let mut offered = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut open = vec![via];
    while let Some(name) = open.pop() {
        let Some(group) = config.group.get(name).filter(|_| seen.insert(name)) else { continue };
        for member in &group.members {
            offered.extend(member.resources.0.keys().map(String::as_str));
            open.push(&member.trunk);
        }
    }
    offered
}
