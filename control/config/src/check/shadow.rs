//! Routes that no call reaches, because an earlier one takes the same calls. Compares each called-number pattern with the
//! equal ones of other routes, by sorting: a configuration may hold a million.

use super::Check;
use crate::error::Kind;
use crate::objects::Rule;
use crate::place::Path;
use crate::route::Route;
use crate::value::text_of;
use crate::words::{Name, pattern_text, same_pattern};
use core::hash::{Hash, Hasher};
use routing::Order;
use routing::number::{Element, Pattern};
use std::hash::DefaultHasher;

/// One called-number pattern of one route, or a route that takes any number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    /// Equal for equal patterns and conditions.
    hash: u64,
    route: u32,
    /// Which of its patterns.
    at: u32,
}

impl Check<'_> {
    pub(super) fn shadows(&mut self) {
        let routes = &self.config.route[..];
        let count: usize = routes.iter().map(|route| route.to.len().max(1)).sum();
        let mut items = Vec::with_capacity(count);
        for (route, number) in routes.iter().zip(0..) {
            let conditions = conditions(route);
            let item = |hash: u64, at| Item { hash: hash ^ conditions, route: number, at };
            if route.to.is_empty() {
                items.push(item(ANY, 0));
            }
            items.extend(route.to.iter().zip(0..).map(|(to, at)| item(hash(&to.0), at)));
        }
        items.sort_unstable();
        for equal in items.chunk_by(|a, b| a.hash == b.hash).filter(|equal| equal.len() > 1) {
            for (index, later) in equal.iter().enumerate().skip(1) {
                let earlier = &equal[index.saturating_sub(COMPARED_MAX)..index];
                let before = earlier.iter().find(|earlier| self.takes(routes, earlier, later));
                if let Some(before) = before {
                    self.shadowed(routes, *before, *later);
                }
            }
        }
    }

    /// Whether the earlier route takes what the later one would.
    fn takes(&self, routes: &[Route], earlier: &Item, later: &Item) -> bool {
        let (a, b) = (&routes[earlier.route as usize], &routes[later.route as usize]);
        let same = match (a.to.get(earlier.at as usize), b.to.get(later.at as usize)) {
            (Some(a), Some(b)) => same_pattern(&a.0, &b.0),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        // A hook may let the call go on to the next route.
        same && earlier.route != later.route
            && a.hook.is_none()
            && a.caller == b.caller
            && a.headers == b.headers
            && a.when == b.when
            && self.sources_meet(&a.from, &b.from)
    }

    /// Whether the sources of an earlier route are in the way of a later one.
    fn sources_meet(&self, earlier: &[Name], later: &[Name]) -> bool {
        if earlier.is_empty() || later.is_empty() {
            // One source first and then all others is how people write it.
            return earlier.is_empty();
        }
        let has = |name: &Name| earlier.contains(name);
        match self.config.engine.route_order {
            Order::First => later.iter().all(has),
            Order::Longest => later.iter().any(has),
        }
    }

    fn shadowed(&mut self, routes: &[Route], before: Item, later: Item) {
        let (first, route) = (&routes[before.route as usize], &routes[later.route as usize]);
        let root = Path::ROOT.key("route");
        let path = root.key(route.name());
        if self.is_unread(&path) || self.is_full() {
            return;
        }
        let what = match route.to.get(later.at as usize) {
            Some(to) => format!("\"{}\"", pattern_text(&to.0)),
            None => "any number".to_owned(),
        };
        let first_path = root.key(first.name());
        let (first_to, to) = (first_path.key("to"), path.key("to"));
        let other = if first.to.is_empty() { first_path } else { first_to.entry(before.at as usize) };
        let here = if route.to.is_empty() { path } else { to.entry(later.at as usize) };
        let (line, other) = (self.line(&other), other.to_string());
        self.error(&here, Kind::Shadowed { what, other, line });
    }
}

/// Of the conditions other than source and called number; 0 if there are none.
fn conditions(route: &Route) -> u64 {
    if route.caller.is_empty() && route.headers.0.is_empty() && route.when.is_none() {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    (text_of(&route.caller), text_of(&route.headers), text_of(&route.when)).hash(&mut hasher);
    hasher.finish()
}

/// Quick, and good enough for what operators write: equal hashes are compared in full.
fn hash(pattern: &Pattern) -> u64 {
    let step = |hash: u64, value: u64| (hash.rotate_left(5) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let (start, end) = match pattern {
        Pattern::Exact(exact) => (exact.iter().fold(1, |hash, byte| step(hash, (*byte).into())), 0),
        Pattern::Digits { elements, open } => {
            let value = |element: &Element| match element {
                Element::Literal(byte) => u64::from(*byte),
                Element::X => 256,
                Element::Z => 257,
                Element::N => 258,
            };
            (elements.iter().fold(2, |hash, element| step(hash, value(element))), u64::from(*open))
        }
        Pattern::Regex(regex) => (regex.as_str().bytes().fold(3, |hash, byte| step(hash, byte.into())), 0),
    };
    step(start, end)
}

const ANY: u64 = 0;
/// So many equal patterns before one are looked at: thousands of equal ones from different sources would otherwise all
/// be compared with each other.
const COMPARED_MAX: usize = 64;
