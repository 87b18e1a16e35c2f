//! Routes, compiled: which one a call takes. Prefixes stand in a tree, so that a look-up takes as many steps as the
//! number has digits, however many routes there are.

mod tree; // patterns of digits

use crate::explain::{RouteVerdict, Step, Witness};
use crate::number::Pattern;
use crate::when::When;
use base::Wall;
use base::hash::{HashKey, KeyedMap};
use core::fmt;
use std::borrow::Cow;
use tree::{Alphabet, Key, Tree};

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

    /// The codes under which a route is filed; `None` if it is filed for anybody and must be asked.
    fn codes(&self) -> Option<Vec<u32>> {
        let trunks = self.trunks.iter().map(|trunk| trunk_code(*trunk));
        let accounts = self.accounts.iter().map(|account| account_code(*account));
        let codes: Option<Vec<u32>> = trunks.chain(accounts).collect();
        codes.filter(|codes| (1..=FILED_MAX).contains(&codes.len()))
    }
}

/// A route is filed for so many trunks and accounts singly; with more it would take too much room.
const FILED_MAX: usize = 4;

/// Codes of who a route is filed for.
const ANYBODY: u32 = 0;

fn trunk_code(trunk: usize) -> Option<u32> {
    u32::try_from(trunk).ok()?.checked_mul(2)?.checked_add(1)
}

fn account_code(account: usize) -> Option<u32> {
    u32::try_from(account).ok()?.checked_mul(2)?.checked_add(2)
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

/// All routes. A look-up costs a few steps for each digit, and a check of each route that takes the number from this
/// source and comes before the one that is taken. What cannot stand in the tree is tried one by one: regexes, classes in
/// patterns of more than 24 places. All this takes 38 bytes for a prefix (measured: 1 M of 6 to 10
/// digits), beside the routes themselves.
#[derive(Clone)]
pub struct Table {
    matches: Vec<Match>,
    order: Order,
    tree: Tree,
    /// Whole numbers that do not fit into the tree: long ones, names of many letters.
    names: KeyedMap<Box<[u8]>, u32>,
    /// Filed routes: those of the tree's keys, then those of the names, then the one of routes for any number.
    lists: Lists,
    /// What must be tried one by one; by source, then in the order of the file.
    others: Vec<Other>,
}

/// Routes that take the same numbers, list by list.
#[derive(Clone, Debug, Default)]
struct Lists {
    /// One each, and one behind the last.
    heads: Vec<Head>,
    /// Of lists with more than one entry.
    entries: Vec<Entry>,
    /// Where the lists of names begin.
    names: u32,
    /// The list of routes for any number.
    any: Option<u32>,
}

/// One list. Most have one entry, which is found here without another look at memory.
#[derive(Clone, Copy, Debug)]
struct Head {
    /// Where its entries begin; those of a list of one are none.
    start: u32,
    first: Entry,
}

/// One route in a list; a list is ordered by source, then as the file.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Whose calls it takes.
    from: u32,
    /// Index of the route, and [`ASK`].
    route: u32,
}

/// Flag of a route that has conditions beyond source and number.
const ASK: u32 = 1 << 31;

/// One pattern that is tried by itself.
#[derive(Clone, Copy, Debug)]
struct Other {
    from: u32,
    route: u32,
    /// Index in the route's patterns.
    pattern: u32,
}

impl Default for Table {
    fn default() -> Self {
        Table::compile(Vec::new(), Order::First)
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} routes, {:?}", self.matches.len(), self.order)
    }
}

impl Table {
    /// Compiles routes, in the order of the file; a route's index here is its index in every answer.
    pub fn compile(matches: Vec<Match>, order: Order) -> Table {
        assert!(matches.len() < ASK as usize, "indexes of routes have 31 bits");
        let mut alphabet = Alphabet::new();
        let mut names = KeyedMap::with_hasher(HashKey::default());
        let mut filed: Vec<(Key, Entry)> =
            Vec::with_capacity(matches.iter().map(|m| m.to.len().max(1)).sum());
        let mut others = Vec::new();
        for (route, it) in matches.iter().enumerate() {
            let codes = it.from.codes();
            let route = route as u32;
            let asked = codes.is_none() && it.from != From::default() || it.has_conditions();
            let entry = |from: u32| Entry { from, route: if asked { route | ASK } else { route } };
            let codes = codes.as_deref().unwrap_or(&[ANYBODY]);
            if it.to.is_empty() {
                filed.extend(codes.iter().map(|from| (ANY, entry(*from))));
            }
            for (pattern, number) in it.to.iter().enumerate() {
                let key = match number {
                    Pattern::Exact(exact) => Some(alphabet.exact(exact).unwrap_or_else(|| {
                        let next = names.len() as u32;
                        NAMES + Key::from(*names.entry(exact.as_slice().into()).or_insert(next))
                    })),
                    Pattern::Digits { elements, open } => alphabet.digits(elements, *open),
                    Pattern::Regex(_) => None,
                };
                match key {
                    Some(key) => filed.extend(codes.iter().map(|from| (key, entry(*from)))),
                    None => others.extend(codes.iter().map(|from| Other {
                        from: *from,
                        route,
                        pattern: pattern as u32,
                    })),
                }
            }
        }
        others.sort_unstable_by_key(|other| (other.from, other.route, other.pattern));
        let (keys, lists) = Lists::of(filed);
        Table { matches, order, tree: Tree::new(keys, &alphabet), names, lists, others }
    }

    /// What the routes take.
    pub fn matches(&self) -> &[Match] {
        &self.matches
    }

    /// Which one is taken.
    pub fn order(&self) -> Order {
        self.order
    }

    /// Bytes that the compiled form takes beside the routes themselves.
    pub fn memory(&self) -> usize {
        let names = self.names.capacity() * size_of::<(Box<[u8]>, u32)>();
        let lists = size_of_val(&*self.lists.heads) + size_of_val(&*self.lists.entries);
        self.tree.memory() + names + lists + size_of_val(&*self.others)
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

    fn search<W: Witness>(&self, asked: &Asked<'_>, after: Option<usize>, witness: &mut W) -> Option<usize> {
        let after =
            after.and_then(|route| Some(self.rank(route as u32, self.matches.get(route)?.fit(asked.callee))));
        let mut search = Search { table: self, asked, after, best: Rank::MAX };
        self.each_list(asked, &mut |list, fit| search.list(list, fit));
        search.others();
        let best = (search.best != Rank::MAX).then_some(search.best as u32 as usize);
        if W::LISTENS {
            self.tell(asked, after, best, witness);
        }
        best
    }

    /// The lists of routes that take the called number, with the count of places that they fix.
    fn each_list(&self, asked: &Asked<'_>, found: &mut impl FnMut(u32, usize)) {
        self.tree.find(asked.callee, found);
        if !self.names.is_empty()
            && let Some(name) = self.names.get(asked.callee)
        {
            found(self.lists.names + name, asked.callee.len() + 1);
        }
        if let Some(any) = self.lists.any {
            found(any, 0);
        }
    }

    /// The lower comes first.
    fn rank(&self, route: u32, fit: usize) -> Rank {
        match self.order {
            Order::First => route.into(),
            Order::Longest => Rank::from(u32::MAX - fit as u32 - 1) << 32 | Rank::from(route),
        }
    }

    /// Tells of each route, or where there are many, of those that take the called number.
    fn tell(&self, asked: &Asked<'_>, after: Option<Rank>, best: Option<usize>, witness: &mut impl Witness) {
        let mut told: Vec<usize> = if self.matches.len() <= TOLD_MAX {
            (0..self.matches.len()).collect()
        } else {
            let mut routes = Vec::new();
            self.each_list(asked, &mut |list, _| {
                routes.extend(self.lists.get(list).iter().map(|entry| entry.index()));
            });
            let taking = |other: &&Other| other.pattern(self).matches(asked.callee);
            routes.extend(self.others.iter().filter(taking).map(|other| other.route as usize));
            routes.sort_unstable();
            routes.dedup();
            routes
        };
        if told.len() > TOLD_MAX {
            told.truncate(TOLD_MAX);
            told.extend(best.filter(|best| !told.contains(best)));
        }
        for route in &told {
            let it = &self.matches[*route];
            let fit = it.fit(asked.callee);
            let verdict = it.missed(asked).unwrap_or(match after {
                Some(after) if self.rank(*route as u32, fit) <= after => RouteVerdict::Passed,
                _ if best == Some(*route) => RouteVerdict::Chosen(fit),
                _ => RouteVerdict::Behind(fit),
            });
            witness.saw(Step::Route { route: *route, verdict });
        }
        if told.len() < self.matches.len() {
            witness.saw(Step::OtherRoutes(self.matches.len() - told.len()));
        }
    }
}

/// Where a route stands in the order.
type Rank = u64;

/// Routes that are told singly, at most.
const TOLD_MAX: usize = 200;

/// Keys behind those of the tree, which leaves the three highest bits free.
const NAMES: Key = 1 << 126;
const ANY: Key = Key::MAX;

impl Lists {
    /// Orders what is filed; gives the tree's keys, each of which has the list of its own index.
    fn of(mut filed: Vec<(Key, Entry)>) -> (Vec<Key>, Lists) {
        filed.sort_unstable_by_key(|(key, _)| *key);
        let mut keys = Vec::new();
        let mut lists = Lists { heads: Vec::with_capacity(filed.len() + 1), ..Lists::default() };
        for list in filed.chunk_by_mut(|a, b| a.0 == b.0) {
            list.sort_unstable_by_key(|(_, entry)| (entry.from, entry.index()));
            let (key, first) = list[0];
            match key {
                ANY => lists.any = Some(lists.heads.len() as u32),
                NAMES.. => {}
                key => keys.push(key),
            }
            lists.heads.push(Head { start: lists.start(), first });
            if list.len() > 1 {
                lists.entries.extend(list.iter().map(|(_, entry)| *entry));
            }
        }
        lists.names = keys.len() as u32;
        lists.heads.push(Head { start: lists.start(), first: Entry { from: ANYBODY, route: 0 } });
        (keys, lists)
    }

    fn start(&self) -> u32 {
        u32::try_from(self.entries.len()).expect("fewer patterns than 32 bits can count")
    }

    fn get(&self, list: u32) -> &[Entry] {
        let [head, next] = &self.heads[list as usize..][..2] else {
            unreachable!("one stands behind the last")
        };
        if head.start == next.start {
            return core::slice::from_ref(&head.first);
        }
        &self.entries[head.start as usize..next.start as usize]
    }
}

impl Entry {
    fn index(self) -> usize {
        (self.route & !ASK) as usize
    }
}

impl Other {
    fn pattern(self, table: &Table) -> &Pattern {
        &table.matches[self.route as usize].to[self.pattern as usize]
    }
}

/// One look-up.
struct Search<'t> {
    table: &'t Table,
    asked: &'t Asked<'t>,
    /// Only what comes after this.
    after: Option<Rank>,
    /// The best so far.
    best: Rank,
}

impl Search<'_> {
    /// Looks through the routes of one list, which all fix so many places.
    fn list(&mut self, list: u32, fit: usize) {
        let entries = self.table.lists.get(list);
        for from in self.sources() {
            for entry in of_source(entries, from, |entry| entry.from) {
                let rank = self.table.rank(entry.index() as u32, fit);
                if rank >= self.best {
                    break;
                }
                if self.is_open(rank, entry.index(), fit) && self.holds(*entry) {
                    self.best = rank;
                    break;
                }
            }
        }
    }

    /// Tries what must be tried one by one.
    fn others(&mut self) {
        for from in self.sources() {
            for other in of_source(&self.table.others, from, |other| other.from) {
                let pattern = other.pattern(self.table);
                let (route, fit) = (other.route as usize, pattern.specificity());
                let rank = self.table.rank(other.route, fit);
                let wanted = rank < self.best && self.is_open(rank, route, fit);
                if wanted && pattern.matches(self.asked.callee) && self.table.matches[route].holds(self.asked)
                {
                    self.best = rank;
                }
            }
        }
    }

    /// Under which codes routes for this call are filed.
    fn sources(&self) -> impl Iterator<Item = u32> + use<> {
        let trunk = self.asked.trunk.and_then(trunk_code);
        let account = self.asked.account.and_then(account_code);
        [Some(ANYBODY), trunk, account].into_iter().flatten()
    }

    /// Whether this route was not passed before. It stands where its best pattern puts it, and is met by the others too.
    fn is_open(&self, rank: Rank, route: usize, fit: usize) -> bool {
        self.after.is_none_or(|after| {
            rank > after
                && (self.table.order == Order::First
                    || fit == self.table.matches[route].fit(self.asked.callee))
        })
    }

    fn holds(&self, entry: Entry) -> bool {
        entry.route & ASK == 0 || self.table.matches[entry.index()].holds(self.asked)
    }
}

/// The part of a list that is for one source.
fn of_source<T>(entries: &[T], from: u32, source: impl Fn(&T) -> u32) -> &[T] {
    let start = entries.partition_point(|entry| source(entry) < from);
    let end = entries[start..].partition_point(|entry| source(entry) == from);
    &entries[start..start + end]
}

impl Match {
    fn has_conditions(&self) -> bool {
        !self.caller.is_empty() || !self.headers.is_empty() || self.when.is_some()
    }

    /// Whether it takes the call, if it takes the called number.
    fn holds(&self, asked: &Asked<'_>) -> bool {
        self.missed_beside_number(asked).is_none()
    }

    /// Why it does not take the call.
    fn missed(&self, asked: &Asked<'_>) -> Option<RouteVerdict<'_>> {
        if !takes(&self.to, asked.callee) {
            return Some(RouteVerdict::Callee);
        }
        self.missed_beside_number(asked)
    }

    fn missed_beside_number(&self, asked: &Asked<'_>) -> Option<RouteVerdict<'_>> {
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

/// Whether any of the patterns takes the number; none at all take every number.
fn takes(patterns: &[Pattern], number: &[u8]) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(number))
}

#[cfg(test)]
mod tests;
