//! Routes, compiled: which one a call takes. Prefixes stand in a tree, so that a look-up takes as many steps as the
//! number has digits, however many routes there are.

use crate::explain::{RouteVerdict, Step, Witness};
use crate::number::Pattern;
use crate::when::When;
use base::Wall;
use std::borrow::Cow;

/// What a route takes. Each condition that is empty holds for every call.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// Where the call comes from.
    pub from: From,
    /// Called numbers: any of these.
    pub to: Vec<Pattern>,
    /// Calling numbers: any of these.
    pub caller: Vec<Pattern>,
    /// Headers and their values: all of these, each in any header of that name.
    pub headers: Vec<(String, Pattern)>,
    /// When.
    pub when: Option<When>,
}

/// Where calls come from: any of these, or anybody if both are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct From {
    /// Indexes of trunks.
    pub trunks: Vec<usize>,
    /// Indexes of accounts.
    pub accounts: Vec<usize>,
}

impl From {
    fn has(&self, asked: &Asked<'_>) -> bool {
        (self.trunks.is_empty() && self.accounts.is_empty())
            || asked.trunk.is_some_and(|trunk| self.trunks.contains(&trunk))
            || asked.account.is_some_and(|account| self.accounts.contains(&account))
    }
}

/// Whether any value of the header of this name satisfies the question.
pub type HeaderLookup<'a> = dyn Fn(&str, &mut dyn FnMut(&[u8]) -> bool) -> bool + 'a;

/// A call that looks for its route.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Index of the trunk that it comes from.
    pub trunk: Option<usize>,
    /// Index of the account.
    pub account: Option<usize>,
    /// Calling number, rewritten.
    pub caller: &'a [u8],
    /// Called number, rewritten.
    pub callee: &'a [u8],
    /// When.
    pub now: Wall,
    /// Its headers.
    pub header: &'a HeaderLookup<'a>,
}

/// Which of the routes that match is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Order {
    /// The first in the file.
    #[default]
    First,
    /// The one with the most fixed places for this called number ([`Pattern::specificity`]); among equals the first in
    /// the file.
    Longest,
}

/// All routes.
#[derive(Clone, Debug, Default)]
pub struct Table {
    matches: Vec<Match>,
    order: Order,
}

impl Table {
    /// Compiles routes, in the order of the file; a route's index here is its index in every answer.
    pub fn compile(matches: Vec<Match>, order: Order) -> Table {
        Table { matches, order }
    }

    /// What the routes take.
    pub fn matches(&self) -> &[Match] {
        &self.matches
    }

    /// Which one is taken.
    pub fn order(&self) -> Order {
        self.order
    }

    /// The route of a call.
    pub fn find(&self, asked: &Asked<'_>, witness: &mut impl Witness) -> Option<usize> {
        self.search(asked, None, witness)
    }

    /// The next route that matches, after `after`: for a hook that says "go on". Over and over again it gives all that
    /// match, each once.
    pub fn find_after(&self, asked: &Asked<'_>, after: usize, witness: &mut impl Witness) -> Option<usize> {
        self.search(asked, Some(after), witness)
    }

    fn search(&self, asked: &Asked<'_>, after: Option<usize>, witness: &mut impl Witness) -> Option<usize> {
        let rank = |route: usize| {
            let fit = match self.order {
                Order::First => 0,
                Order::Longest => self.matches[route].fit(asked.callee),
            };
            (usize::MAX - fit, route)
        };
        let after = after.map(rank);
        let best = (0..self.matches.len())
            .filter(|route| self.matches[*route].missed(asked).is_none())
            .map(rank)
            .filter(|rank| after.is_none_or(|after| *rank > after))
            .min()
            .map(|(_, route)| route);
        for (route, it) in self.matches.iter().enumerate() {
            let verdict = it.missed(asked).unwrap_or_else(|| match after {
                Some(after) if rank(route) <= after => RouteVerdict::Passed,
                _ if best == Some(route) => RouteVerdict::Chosen(it.fit(asked.callee)),
                _ => RouteVerdict::Behind(it.fit(asked.callee)),
            });
            witness.saw(Step::Route { route, verdict });
        }
        best
    }
}

impl Match {
    /// Why it does not take the call.
    fn missed(&self, asked: &Asked<'_>) -> Option<RouteVerdict<'_>> {
        let takes = |patterns: &[Pattern], number: &[u8]| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(number))
        };
        if !takes(&self.to, asked.callee) {
            return Some(RouteVerdict::Callee);
        }
        if !self.from.has(asked) {
            return Some(RouteVerdict::From);
        }
        if !takes(&self.caller, asked.caller) {
            return Some(RouteVerdict::Caller);
        }
        if !self.when.as_ref().is_none_or(|when| when.matches(asked.now)) {
            return Some(RouteVerdict::Time);
        }
        let lacks =
            |(name, pattern): &&(String, Pattern)| !(asked.header)(name, &mut |value| pattern.matches(value));
        self.headers.iter().find(lacks).map(|(name, _)| RouteVerdict::Header(Cow::Borrowed(name)))
    }

    /// How many places of the called number it fixes.
    fn fit(&self, callee: &[u8]) -> usize {
        self.to.iter().filter(|p| p.matches(callee)).map(Pattern::specificity).max().unwrap_or(0)
    }
}
