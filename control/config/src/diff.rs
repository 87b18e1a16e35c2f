//! What changed between two versions, as lines for people: one a key, by path. Secrets are only ever shown as where they
//! are.

use crate::objects::{Objects, Rule};
use crate::place::Path;
use crate::root::Config;
use crate::secret::Secret;
use crate::value::{Lack, Value, Visitor, text_of};
use std::collections::{BTreeMap, BTreeSet};

/// One line for each key that changed (`~`), each key or object that is new (`+`) and each that is gone (`-`).
pub fn diff(old: &Config, new: &Config) -> Vec<String> {
    let mut lines = Vec::new();
    objects("listener", &old.listener, &new.listener, &mut lines);
    objects("trunk", &old.trunk, &new.trunk, &mut lines);
    objects("group", &old.group, &new.group, &mut lines);
    rules(&old.route, &new.route, &mut lines);
    rules(&old.number_rule, &new.number_rule, &mut lines);
    objects("account", &old.account, &new.account, &mut lines);
    objects("limit", &old.limit, &new.limit, &mut lines);
    objects("policy", &old.policy, &new.policy, &mut lines);
    keys(&Path::ROOT.key("engine"), &old.engine, &new.engine, &mut lines);
    keys(&Path::ROOT.key("unknown"), &old.unknown, &new.unknown, &mut lines);
    lines
}

fn objects<T: Value + Default>(kind: &str, old: &Objects<T>, new: &Objects<T>, lines: &mut Vec<String>) {
    let (before, after): (BTreeMap<&str, &T>, BTreeMap<&str, &T>) =
        (old.iter().collect(), new.iter().collect());
    named(kind, &before, &after, lines);
    // The first listener serves the trunks that name none, so its place matters.
    if kind == "listener" {
        order(kind, old.names(), new.names(), lines);
    }
}

fn rules<T: Rule>(old: &[T], new: &[T], lines: &mut Vec<String>) {
    if old == new {
        return;
    }
    let before: BTreeMap<&str, &T> = old.iter().map(|rule| (rule.name(), rule)).collect();
    let after: BTreeMap<&str, &T> = new.iter().map(|rule| (rule.name(), rule)).collect();
    named(T::KIND, &before, &after, lines);
    order(T::KIND, old.iter().map(Rule::name), new.iter().map(Rule::name), lines);
}

fn named<T: Value>(kind: &str, old: &BTreeMap<&str, &T>, new: &BTreeMap<&str, &T>, lines: &mut Vec<String>) {
    let names: BTreeSet<&str> = old.keys().chain(new.keys()).copied().collect();
    for name in names {
        let path = Path::ROOT.key(kind);
        let path = path.key(name);
        match (old.get(name), new.get(name)) {
            (Some(before), Some(after)) => keys(&path, *before, *after, lines),
            (Some(before), None) => lines.push(format!("- {path} = {}", text_of(*before))),
            (None, Some(after)) => lines.push(format!("+ {path} = {}", text_of(*after))),
            (None, None) => {}
        }
    }
}

fn keys<T: Value>(path: &Path<'_>, old: &T, new: &T, lines: &mut Vec<String>) {
    if old == new {
        return;
    }
    let (before, after) = (leaves(path, old), leaves(path, new));
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for path in paths {
        match (before.get(path), after.get(path)) {
            (Some(old), Some(new)) if old == new => {}
            (Some(old), Some(new)) => lines.push(format!("~ {path}: {old} -> {new}")),
            (Some(old), None) => lines.push(format!("- {path} = {old}")),
            (None, Some(new)) => lines.push(format!("+ {path} = {new}")),
            (None, None) => {}
        }
    }
}

/// Says that what is in both versions stands in another order now.
fn order<'n>(
    kind: &str,
    old: impl Iterator<Item = &'n str> + Clone,
    new: impl Iterator<Item = &'n str> + Clone,
    lines: &mut Vec<String>,
) {
    let (olds, news): (BTreeSet<&str>, BTreeSet<&str>) = (old.clone().collect(), new.clone().collect());
    let before: Vec<&str> = old.filter(|name| news.contains(name)).collect();
    let after: Vec<&str> = new.filter(|name| olds.contains(name)).collect();
    if let Some(first) = (0..before.len().min(after.len())).find(|at| before[*at] != after[*at]) {
        let list = Path::ROOT.key(kind);
        let place = list.entry(first);
        lines.push(format!(
            "~ {kind}: the order changed, from {place} on: {} was {}",
            after[first], before[first]
        ));
    }
}

fn leaves<T: Value>(path: &Path<'_>, value: &T) -> BTreeMap<String, String> {
    struct Leaves(BTreeMap<String, String>);
    impl Visitor for Leaves {
        fn leaf(&mut self, path: &Path<'_>, text: &dyn Fn() -> String) {
            self.0.insert(path.to_string(), text());
        }
        fn absent(&mut self, _: &Path<'_>) {}
        fn lack(&mut self, _: &Path<'_>, _: Lack) {}
        fn secret(&mut self, _: &Path<'_>, _: &Secret) {}
    }
    let mut leaves = Leaves(BTreeMap::new());
    value.visit(path, &mut leaves);
    leaves.0
}
