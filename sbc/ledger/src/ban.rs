//! Sources that are not listened to: addresses that the engine bans by itself and networks that an operator names, with
//! expiry and reason. Shared by all shards; asking is a look-up under a lock held for nanoseconds. It knows nothing of
//! trunks: that an identified trunk is never banned automatically is the caller's duty, before `add`.

pub use crate::net::{Net, NoNet};
use base::hash::KeyedMap;
use base::{HashKey, Wall};
use core::fmt;
use core::net::IpAddr;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

/// All bans of the engine.
pub struct Bans {
    /// Bans of one IPv4 address or one IPv6 /64: all automatic ones.
    hosts: Box<[RwLock<Hosts>]>,
    /// All other networks.
    spans: RwLock<Spans>,
    /// Whoever changes something holds this; askers never do.
    book: Mutex<Book>,
    len: AtomicUsize,
    /// Those of operators among them.
    of_operators: AtomicUsize,
    stopped: AtomicU64,
    displaced: AtomicU64,
    revision: AtomicU64,
    kernel: Box<dyn DropList>,
}

/// One ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Whom.
    pub net: Net,
    /// Until when; `None` until it is removed.
    pub until: Option<Wall>,
    /// Since when.
    pub since: Wall,
    /// Who decided it.
    pub by: Banner,
    /// Why, for people.
    pub reason: String,
}

/// Who decided a ban.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Banner {
    /// Flood and scanner rules, failed authentications.
    Auto,
    /// A fraud policy.
    Fraud,
    /// A person; never displaced by the others.
    Operator,
}

impl Banner {
    /// Stable word.
    pub fn name(self) -> &'static str {
        match self {
            Banner::Auto => "auto",
            Banner::Fraud => "fraud",
            Banner::Operator => "operator",
        }
    }

    /// The reverse of [`Banner::name`].
    pub fn named(name: &str) -> Option<Banner> {
        [Banner::Auto, Banner::Fraud, Banner::Operator].into_iter().find(|by| by.name() == name)
    }
}

/// What became of a ban that was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is new.
    New,
    /// It changed one that was there (a later end, another reason, the operator's word).
    Changed,
    /// The one that was there says more already: an operator's, or one that ends later.
    Kept,
}

/// There are [`OPERATOR_MAX`] bans of operators already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BansFull;

/// A drop list below user space (XDP, nftables) that follows the bans. Called in the order of the changes, one call at
/// a time, by the thread that changes something; must not block for long and must not call back.
pub trait DropList: Send + Sync {
    /// Packets from here need not come up any more.
    fn add(&self, net: Net);
    /// They may again.
    fn remove(&self, net: Net);
}

/// No drop list: packets of banned sources are read and dropped.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDropList;

impl DropList for NoDropList {
    fn add(&self, _: Net) {}
    fn remove(&self, _: Net) {}
}

/// Microseconds of wall time; `u64::MAX` is no end.
type Until = u64;

/// What one look-up finds: an IPv4 address, or the upper half of an IPv6 address.
#[derive(Clone, Copy, Debug)]
enum Host {
    V4(u32),
    V6(u64),
}

/// A part of the hosts behind one lock; two maps, because small entries stay in the processor's cache.
#[derive(Debug)]
struct Hosts {
    v4: KeyedMap<u32, Until>,
    v6: KeyedMap<u64, Until>,
}

/// Networks as spans that do not overlap, in order.
#[derive(Debug, Default)]
struct Spans {
    v4: Vec<Span>,
    v6: Vec<Span>,
}

/// Addresses as numbers, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: u128,
    last: u128,
    until: Until,
}

/// All that is known of the bans.
#[derive(Debug, Default)]
struct Book {
    bans: BTreeMap<Net, Ban>,
    /// Of automatic ones and of fraud policies, the first to end first.
    automatic: BTreeSet<(Until, Net)>,
    /// Of operators.
    operator: BTreeSet<(Until, Net)>,
}

impl fmt::Debug for Bans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bans({})", self.len())
    }
}

impl Bans {
    /// No bans, no drop list.
    pub fn new(hash: HashKey) -> Bans {
        Bans::with(hash, NoDropList)
    }

    /// No bans, with a drop list that follows them.
    pub fn with(hash: HashKey, kernel: impl DropList + 'static) -> Bans {
        Bans {
            hosts: (0..TABLES).map(|_| RwLock::new(Hosts::new(hash))).collect(),
            spans: RwLock::new(Spans::default()),
            book: Mutex::new(Book::default()),
            len: AtomicUsize::new(0),
            of_operators: AtomicUsize::new(0),
            stopped: AtomicU64::new(0),
            displaced: AtomicU64::new(0),
            revision: AtomicU64::new(0),
            kernel: Box::new(kernel),
        }
    }

    /// Whether to listen to this source; counts those that are not listened to.
    pub fn is_banned(&self, now: Wall, source: IpAddr) -> bool {
        if self.is_empty() {
            return false;
        }
        let banned = self.covers(now, source);
        if banned {
            self.stopped.fetch_add(1, Ordering::Relaxed);
        }
        banned
    }

    /// As [`Bans::is_banned`], for the address of a trunk: only the word of an operator counts, who has been warned.
    pub fn is_banned_by_operator(&self, now: Wall, source: IpAddr) -> bool {
        if self.of_operators.load(Ordering::Relaxed) == 0 || !self.covers(now, source) {
            return false;
        }
        let banned = {
            let book = self.book();
            let mut covering = covering(&book, source);
            covering.any(|ban| ban.by == Banner::Operator && until(ban) > now.0)
        };
        if banned {
            self.stopped.fetch_add(1, Ordering::Relaxed);
        }
        banned
    }

    /// The ban that covers this source, the narrowest if there are several.
    pub fn find(&self, now: Wall, source: IpAddr) -> Option<Ban> {
        let book = self.book();
        covering(&book, source).find(|ban| until(ban) > now.0).cloned()
    }

    /// Adds or prolongs a ban. An automatic one for which there is no room displaces the automatic one that ends first.
    /// The caller has made sure that no identified trunk is covered by an automatic ban.
    ///
    /// # Errors
    /// Operators have named too many.
    pub fn add(&self, ban: Ban) -> Result<Added, BansFull> {
        let mut book = self.book();
        let (added, respan) = self.enter(&mut book, ban)?;
        if respan {
            self.respan(&book);
        }
        Ok(added)
    }

    /// Ends a ban; the net must be as it was added. Gives it back if there was one.
    pub fn remove(&self, net: Net) -> Option<Ban> {
        let mut book = self.book();
        let ban = self.forget(&mut book, net)?;
        if !net.is_host() {
            self.respan(&book);
        }
        self.kernel.remove(net);
        Some(ban)
    }

    /// Takes away what has ended; gives it back, for events. [`Bans::is_banned`] does not wait for this.
    pub fn expire(&self, now: Wall) -> Vec<Ban> {
        let mut book = self.book();
        let mut ended = Vec::new();
        while let Some((end, net)) = book.first_to_end()
            && end <= now.0
        {
            ended.extend(self.forget(&mut book, net));
        }
        if ended.iter().any(|ban| !ban.net.is_host()) {
            self.respan(&book);
        }
        for ban in &ended {
            self.kernel.remove(ban.net);
        }
        ended
    }

    /// A page of bans in the order of their nets, those after `after`.
    pub fn list(&self, after: Option<Net>, limit: usize) -> Vec<Ban> {
        let book = self.book();
        let from = after.map_or(core::ops::Bound::Unbounded, core::ops::Bound::Excluded);
        book.bans.range((from, core::ops::Bound::Unbounded)).take(limit).map(|(_, ban)| ban.clone()).collect()
    }

    /// All of them, for the store.
    pub fn export(&self) -> Vec<Ban> {
        self.list(None, usize::MAX)
    }

    /// What the store kept; what has ended meanwhile is left out. Gives how many were taken.
    pub fn import(&self, now: Wall, bans: impl IntoIterator<Item = Ban>) -> usize {
        let mut book = self.book();
        let mut taken = 0;
        let mut respan = false;
        for ban in bans.into_iter().filter(|ban| until(ban) > now.0) {
            if let Ok((added, networks)) = self.enter(&mut book, ban) {
                taken += usize::from(added != Added::Kept);
                respan |= networks;
            }
        }
        if respan {
            self.respan(&book);
        }
        taken
    }

    /// How many there are, ended ones until [`Bans::expire`] has seen them.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How often a banned source was recognised.
    pub fn stopped(&self) -> u64 {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Automatic bans that ended early because there was no room for a new one.
    pub fn displaced(&self) -> u64 {
        self.displaced.load(Ordering::Relaxed)
    }

    /// Rises with every change: the store saves when it differs from what it saved.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// [`Bans::add`] but for the spans; true if they must be built again.
    fn enter(&self, book: &mut Book, ban: Ban) -> Result<(Added, bool), BansFull> {
        let (net, old) = (ban.net, book.bans.get(&ban.net));
        let is_less = old.is_some_and(|old| match (old.by, ban.by) {
            (_, Banner::Operator) => false,
            (Banner::Operator, _) => true,
            (_, _) => until(old) > until(&ban),
        });
        if is_less {
            return Ok((Added::Kept, false));
        }
        let (is_new, old_by) = (old.is_none(), old.map(|old| old.by));
        let mut respan = !net.is_host();
        if ban.by == Banner::Operator {
            if old_by != Some(Banner::Operator) && book.operator.len() >= OPERATOR_MAX {
                return Err(BansFull);
            }
        } else if is_new
            && book.automatic.len() >= AUTOMATIC_MAX
            && let Some((_, first)) = book.automatic.first().copied()
        {
            self.displaced.fetch_add(1, Ordering::Relaxed);
            self.forget(book, first);
            self.kernel.remove(first);
            respan |= !first.is_host();
        }
        let end = until(&ban);
        if let Some(old) = book.bans.remove(&net) {
            book.index(&old).remove(&(until(&old), net));
        }
        book.index(&ban).insert((end, net));
        book.bans.insert(net, ban);
        if net.is_host() {
            let host = Host::of(net.address());
            self.table(host).write().unwrap_or_else(PoisonError::into_inner).insert(host, end);
        }
        self.changed(book);
        if is_new {
            self.kernel.add(net);
        }
        Ok((if is_new { Added::New } else { Added::Changed }, respan))
    }

    fn forget(&self, book: &mut Book, net: Net) -> Option<Ban> {
        let ban = book.bans.remove(&net)?;
        book.index(&ban).remove(&(until(&ban), net));
        if net.is_host() {
            let host = Host::of(net.address());
            self.table(host).write().unwrap_or_else(PoisonError::into_inner).remove(host);
        }
        self.changed(book);
        Some(ban)
    }

    fn changed(&self, book: &Book) {
        self.len.store(book.bans.len(), Ordering::Relaxed);
        self.of_operators.store(book.operator.len(), Ordering::Relaxed);
        self.revision.fetch_add(1, Ordering::Release);
    }

    /// Builds the spans again; needed when a net that is no host came or went.
    fn respan(&self, book: &Book) {
        let (v4, v6): (Vec<&Ban>, Vec<&Ban>) =
            book.bans.values().filter(|ban| !ban.net.is_host()).partition(|ban| ban.net.address().is_ipv4());
        let spans = Spans { v4: spans(&v4), v6: spans(&v6) };
        *self.spans.write().unwrap_or_else(PoisonError::into_inner) = spans;
    }

    fn covers(&self, now: Wall, source: IpAddr) -> bool {
        let source = source.to_canonical();
        self.host_until(Host::of(source)) > now.0 || self.span_until(source) > now.0
    }

    fn host_until(&self, host: Host) -> Until {
        self.table(host).read().unwrap_or_else(PoisonError::into_inner).until(host)
    }

    fn span_until(&self, source: IpAddr) -> Until {
        let spans = self.spans.read().unwrap_or_else(PoisonError::into_inner);
        let (spans, address) = match source {
            IpAddr::V4(v4) => (&spans.v4, u128::from(v4.to_bits())),
            IpAddr::V6(v6) => (&spans.v6, v6.to_bits()),
        };
        let before = spans.partition_point(|span| span.first <= address);
        before
            .checked_sub(1)
            .map(|at| spans[at])
            .filter(|span| span.last >= address)
            .map_or(0, |span| span.until)
    }

    /// Cheap mixing is enough to choose a lock; the maps inside are keyed.
    fn table(&self, host: Host) -> &RwLock<Hosts> {
        let bits = match host {
            Host::V4(bits) => bits.into(),
            Host::V6(bits) => bits,
        };
        let mixed = bits.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &self.hosts[(mixed >> 60) as usize % self.hosts.len()]
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ban {
    /// An automatic ban of one source: an IPv4 address, or the /64 of an IPv6 address, for whoever has one has them all.
    pub fn of(
        source: IpAddr,
        by: Banner,
        since: Wall,
        until: Option<Wall>,
        reason: impl Into<String>,
    ) -> Ban {
        let net = Net::of_source(source);
        Ban { net, until, since, by, reason: reason.into() }
    }
}

impl Host {
    /// Of an address that is not a mapped one.
    fn of(address: IpAddr) -> Host {
        match address {
            IpAddr::V4(v4) => Host::V4(v4.to_bits()),
            IpAddr::V6(v6) => Host::V6((v6.to_bits() >> 64) as u64),
        }
    }
}

impl Hosts {
    fn new(hash: HashKey) -> Hosts {
        Hosts { v4: KeyedMap::with_hasher(hash), v6: KeyedMap::with_hasher(hash) }
    }

    fn until(&self, host: Host) -> Until {
        match host {
            Host::V4(bits) => self.v4.get(&bits),
            Host::V6(bits) => self.v6.get(&bits),
        }
        .copied()
        .unwrap_or(0)
    }

    fn insert(&mut self, host: Host, until: Until) {
        match host {
            Host::V4(bits) => self.v4.insert(bits, until),
            Host::V6(bits) => self.v6.insert(bits, until),
        };
    }

    fn remove(&mut self, host: Host) {
        match host {
            Host::V4(bits) => self.v4.remove(&bits),
            Host::V6(bits) => self.v6.remove(&bits),
        };
    }
}

impl Book {
    fn index(&mut self, ban: &Ban) -> &mut BTreeSet<(Until, Net)> {
        match ban.by {
            Banner::Auto | Banner::Fraud => &mut self.automatic,
            Banner::Operator => &mut self.operator,
        }
    }

    fn first_to_end(&self) -> Option<(Until, Net)> {
        self.automatic.first().into_iter().chain(self.operator.first()).min().copied()
    }
}

/// The bans that cover a source, those that have ended included, the narrowest first.
fn covering(book: &Book, source: IpAddr) -> impl Iterator<Item = &Ban> {
    let (source, longest) = match source.to_canonical() {
        v4 @ IpAddr::V4(_) => (v4, 32),
        v6 @ IpAddr::V6(_) => (v6, 128),
    };
    (0..=longest).rev().filter_map(move |prefix| book.bans.get(&Net::new(source, prefix)?))
}

fn until(ban: &Ban) -> Until {
    ban.until.map_or(Until::MAX, |until| until.0)
}

/// Networks contain each other or are apart, so one stack of those still open gives spans that do not overlap; each ends
/// when the last ban on it does.
fn spans(bans: &[&Ban]) -> Vec<Span> {
    let mut whole: Vec<Span> = bans.iter().map(|ban| whole_span(ban)).collect();
    // A containing network comes before what it contains.
    whole.sort_by_key(|span| (span.first, core::cmp::Reverse(span.last)));
    let mut cut: Vec<Span> = Vec::with_capacity(whole.len());
    let mut open: Vec<Span> = Vec::new();
    let mut from = 0;
    let close = |open: &mut Vec<Span>, cut: &mut Vec<Span>, from: &mut u128, before: Option<u128>| {
        while let Some(top) = open.last().copied()
            && before.is_none_or(|next| top.last < next)
        {
            open.pop();
            push(cut, Span { first: *from, last: top.last, until: top.until });
            *from = top.last.saturating_add(1);
        }
    };
    for span in whole {
        close(&mut open, &mut cut, &mut from, Some(span.first));
        if let Some(top) = open.last().copied()
            && span.first > from
        {
            push(&mut cut, Span { first: from, last: span.first - 1, until: top.until });
        }
        from = span.first;
        let until = open.last().map_or(0, |top| top.until).max(span.until);
        open.push(Span { until, ..span });
    }
    close(&mut open, &mut cut, &mut from, None);
    cut
}

fn push(cut: &mut Vec<Span>, span: Span) {
    // A network that ends where its container ends leaves nothing behind it.
    if span.first <= span.last && cut.last().is_none_or(|last| last.last < span.first) {
        cut.push(span);
    }
}

fn whole_span(ban: &Ban) -> Span {
    let behind = |width: u32| u128::MAX.checked_shr(128 - width + u32::from(ban.net.prefix())).unwrap_or(0);
    let (first, behind) = match ban.net.address() {
        IpAddr::V4(v4) => (v4.to_bits().into(), behind(32)),
        IpAddr::V6(v6) => (v6.to_bits(), behind(128)),
    };
    Span { first, last: first | behind, until: until(ban) }
}

/// Automatic bans and those of fraud policies.
pub const AUTOMATIC_MAX: usize = 65_536;

/// Bans of operators.
pub const OPERATOR_MAX: usize = 4_096;

/// Locks of the hosts.
const TABLES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;
    use std::sync::Arc;

    const SECOND: u64 = 1_000_000;

    fn net(text: &str) -> Net {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(seconds: u64) -> Wall {
        Wall((1_000 + seconds) * SECOND)
    }

    fn auto(source: &str, until: u64) -> Ban {
        Ban::of(ip(source), Banner::Auto, at(0), Some(at(until)), "flood")
    }

    fn operator(text: &str, until: Option<u64>) -> Ban {
        let reason = "asked for".to_owned();
        Ban { net: net(text), until: until.map(at), since: at(0), by: Banner::Operator, reason }
    }

    /// What a drop list was told.
    #[derive(Clone, Default)]
    struct Kernel(Arc<Mutex<Vec<String>>>);

    impl Kernel {
        fn told(&self) -> Vec<String> {
            core::mem::take(&mut self.0.lock().unwrap())
        }
    }

    impl DropList for Kernel {
        fn add(&self, net: Net) {
            self.0.lock().unwrap().push(format!("+{net}"));
        }
        fn remove(&self, net: Net) {
            self.0.lock().unwrap().push(format!("-{net}"));
        }
    }

    fn bans() -> Bans {
        Bans::new(HashKey::new([3, 4]))
    }

    #[test]
    fn a_banned_address_is_banned_until_its_time_and_counted() {
        let bans = bans();
        assert!(!bans.is_banned(at(0), ip("192.0.2.1")));
        assert_eq!(bans.add(auto("192.0.2.1", 60)), Ok(Added::New));
        assert!(bans.is_banned(at(0), ip("192.0.2.1")) && bans.is_banned(at(59), ip("::ffff:192.0.2.1")));
        assert!(!bans.is_banned(at(0), ip("192.0.2.2")));
        assert!(!bans.is_banned(at(60), ip("192.0.2.1")), "without anybody sweeping");
        assert_eq!((bans.stopped(), bans.len()), (2, 1));
        assert_eq!(bans.find(at(59), ip("192.0.2.1")).unwrap().reason, "flood");
        assert_eq!(bans.find(at(60), ip("192.0.2.1")), None);
    }

    #[test]
    fn an_ipv6_source_is_banned_with_its_64() {
        let bans = bans();
        bans.add(auto("2001:db8:1:2:3:4:5:6", 60)).unwrap();
        assert!(bans.is_banned(at(0), ip("2001:db8:1:2::1")));
        assert!(!bans.is_banned(at(0), ip("2001:db8:1:3::1")));
        assert_eq!(bans.list(None, 9)[0].net.to_string(), "2001:db8:1:2::/64");
        // An operator may name a single one.
        bans.add(operator("2001:db8:9::9", None)).unwrap();
        assert!(bans.is_banned(at(0), ip("2001:db8:9::9")) && !bans.is_banned(at(0), ip("2001:db8:9::8")));
        // The /64 in which mapped IPv4 addresses lie is not IPv4.
        bans.add(operator("::/64", None)).unwrap();
        bans.add(operator("::/0", None)).unwrap();
        assert!(!bans.is_banned(at(0), ip("192.0.2.1")) && bans.is_banned(at(0), ip("2001:db8::")));
    }

    #[test]
    fn nested_networks_end_one_by_one() {
        let bans = bans();
        for (text, until) in [("10.0.0.0/8", Some(10)), ("10.1.0.0/16", Some(30)), ("10.1.2.0/24", Some(20))]
        {
            bans.add(operator(text, until)).unwrap();
        }
        bans.add(operator("10.255.0.0/16", None)).unwrap();
        let banned = |now, source| bans.is_banned(at(now), ip(source));
        assert!(
            banned(9, "10.0.0.0")
                && banned(9, "10.9.9.9")
                && !banned(9, "11.0.0.0")
                && !banned(9, "9.255.255.255")
        );
        assert!(!banned(10, "10.9.9.9") && banned(10, "10.1.255.255") && !banned(10, "10.2.0.0"));
        assert!(banned(29, "10.1.2.3"), "the /24 has ended, the /16 has not");
        assert!(!banned(30, "10.1.2.3") && banned(u32::MAX.into(), "10.255.255.255"));
        assert_eq!(bans.find(at(5), ip("10.1.2.3")).unwrap().net, net("10.1.2.0/24"));
        assert_eq!(bans.expire(at(20)).len(), 2);
        assert!(banned(20, "10.1.2.3") && !banned(5, "10.9.9.9"));
        assert_eq!(bans.remove(net("10.1.0.0/16")).map(|ban| ban.by), Some(Banner::Operator));
        assert!(!banned(5, "10.1.2.3"));
        assert_eq!(bans.remove(net("10.1.0.0/16")), None);
    }

    #[test]
    fn who_says_more_wins() {
        let bans = bans();
        bans.add(auto("192.0.2.1", 60)).unwrap();
        assert_eq!(bans.add(auto("192.0.2.1", 50)), Ok(Added::Kept));
        assert_eq!(bans.add(auto("192.0.2.1", 70)), Ok(Added::Changed));
        assert!(bans.is_banned(at(69), ip("192.0.2.1")));
        // An operator may also shorten, and nobody changes what he said.
        assert_eq!(bans.add(operator("192.0.2.1", Some(5))), Ok(Added::Changed));
        assert_eq!(bans.add(auto("192.0.2.1", 90)), Ok(Added::Kept));
        assert!(bans.is_banned(at(4), ip("192.0.2.1")) && !bans.is_banned(at(5), ip("192.0.2.1")));
        assert_eq!((bans.expire(at(5)).len(), bans.len()), (1, 0));
        assert!(bans.expire(at(1_000)).is_empty(), "nothing of the older bans is left over");
    }

    #[test]
    fn a_full_list_lets_the_one_go_that_ends_first() {
        let kernel = Kernel::default();
        let bans = Bans::with(HashKey::new([3, 4]), kernel.clone());
        bans.add(operator("198.51.100.1", Some(1))).unwrap();
        for n in 0..AUTOMATIC_MAX as u32 {
            let source = Ipv4Addr::from_bits(0x0a00_0000 + n).into();
            bans.add(Ban::of(source, Banner::Auto, at(0), Some(at(1_000 + u64::from(n))), "flood")).unwrap();
        }
        assert_eq!((bans.len(), bans.displaced()), (AUTOMATIC_MAX + 1, 0));
        kernel.told();
        bans.add(Ban::of(ip("192.0.2.1"), Banner::Fraud, at(0), Some(at(5_000)), "spend")).unwrap();
        assert_eq!(kernel.told(), ["-10.0.0.0", "+192.0.2.1"]);
        assert_eq!((bans.len(), bans.displaced()), (AUTOMATIC_MAX + 1, 1));
        assert!(!bans.is_banned(at(0), ip("10.0.0.0")) && bans.is_banned(at(0), ip("10.0.0.1")));
        assert!(bans.is_banned(at(0), ip("198.51.100.1")), "never an operator's");
        // Prolonging one that is there needs no room.
        bans.add(auto("10.0.0.1", 100_000)).unwrap();
        assert_eq!(bans.displaced(), 1);
    }

    #[test]
    fn for_a_trunk_only_the_word_of_an_operator_counts() {
        let bans = bans();
        let trunk = ip("203.0.113.7");
        bans.add(auto("203.0.113.7", 100)).unwrap();
        bans.add(operator("198.51.100.0/24", None)).unwrap();
        assert!(bans.is_banned(at(1), trunk) && !bans.is_banned_by_operator(at(1), trunk));
        bans.add(operator("203.0.113.0/24", Some(50))).unwrap();
        assert!(bans.is_banned_by_operator(at(1), trunk), "a narrower automatic one hides it not");
        assert!(!bans.is_banned_by_operator(at(51), trunk), "it has ended");
        bans.remove(net("203.0.113.0/24")).unwrap();
        assert!(!bans.is_banned_by_operator(at(1), trunk));
        bans.remove(net("198.51.100.0/24")).unwrap();
        assert!(!bans.is_banned_by_operator(at(1), ip("198.51.100.1")));
    }

    #[test]
    fn operators_are_told_when_there_is_no_room() {
        let bans = bans();
        let some = |n: u32| Ban {
            net: Net::new(Ipv4Addr::from_bits(n << 8).into(), 24).unwrap(),
            ..operator("10.0.0.1", None)
        };
        assert_eq!(bans.import(at(0), (1..=OPERATOR_MAX as u32).map(some)), OPERATOR_MAX);
        assert_eq!(bans.add(operator("192.0.2.1", None)), Err(BansFull));
        bans.add(auto("192.0.2.1", 5)).unwrap();
        assert_eq!(bans.add(operator("192.0.2.1", None)), Err(BansFull));
        assert_eq!(bans.add(some(7)), Ok(Added::Changed));
        bans.remove(some(7).net).unwrap();
        assert_eq!(bans.add(operator("192.0.2.1", None)), Ok(Added::Changed));
    }

    #[test]
    fn the_drop_list_follows_every_change() {
        let kernel = Kernel::default();
        let bans = Bans::with(HashKey::new([3, 4]), kernel.clone());
        bans.add(auto("192.0.2.1", 10)).unwrap();
        bans.add(auto("192.0.2.1", 20)).unwrap();
        bans.add(operator("10.0.0.0/8", None)).unwrap();
        assert_eq!(kernel.told(), ["+192.0.2.1", "+10.0.0.0/8"]);
        assert!(bans.expire(at(19)).is_empty());
        assert_eq!(bans.expire(at(20))[0].net, net("192.0.2.1"));
        bans.remove(net("10.0.0.0/8")).unwrap();
        assert_eq!(kernel.told(), ["-192.0.2.1", "-10.0.0.0/8"]);
        assert!(bans.is_empty());
    }

    #[test]
    fn bans_survive_a_restart_but_not_their_end() {
        let before = bans();
        let mut revisions = vec![before.revision()];
        for ban in [auto("192.0.2.1", 10), auto("2001:db8::1", 30), operator("10.0.0.0/8", None)] {
            before.add(ban).unwrap();
            revisions.push(before.revision());
        }
        assert!(revisions.is_sorted_by(|a, b| a < b), "each change is seen by the store");
        let kernel = Kernel::default();
        let after = Bans::with(HashKey::new([5, 6]), kernel.clone());
        assert_eq!(after.import(at(20), before.export()), 2);
        assert_eq!(kernel.told(), ["+10.0.0.0/8", "+2001:db8::/64"]);
        assert!(!after.is_banned(at(20), ip("192.0.2.1")));
        assert!(after.is_banned(at(20), ip("10.9.9.9")) && after.is_banned(at(20), ip("2001:db8::2")));
        assert_eq!(
            after.export(),
            before.export()[..1].iter().chain(&before.export()[2..]).cloned().collect::<Vec<_>>()
        );
    }

    #[test]
    fn pages_follow_each_other_while_bans_come_and_go() {
        let bans = bans();
        for n in 1..=5 {
            bans.add(auto(&format!("192.0.2.{n}"), 10)).unwrap();
        }
        let first = bans.list(None, 2);
        bans.remove(first[1].net).unwrap();
        let rest: Vec<_> = bans.list(Some(first[1].net), 9).iter().map(|ban| ban.net.to_string()).collect();
        assert_eq!(rest, ["192.0.2.3", "192.0.2.4", "192.0.2.5"]);
    }
}
