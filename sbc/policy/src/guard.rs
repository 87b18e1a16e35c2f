//! Strangers: counts the offences and requests of sources that are nobody, and says who is to be banned. A source
//! address of a datagram can be forged, so that a ban may hit whom the attacker names: identified peers must never come
//! here, and what `exempt` or `known` names is never banned.

use base::{Duration, HashKey, Instant, Now};
use core::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Shared by all signalling shards. Memory is fixed: sources live in sets of eight, and in a full set the one goes that
/// has offended least and longest ago. So a flood of forged sources can make it forget, but not grow, and since the
/// sets are keyed nobody can aim at one source.
#[derive(Debug)]
pub struct Guard {
    key: HashKey,
    spec: RwLock<Arc<GuardSpec>>,
    /// A power of two of them; each owns a part of the sets.
    parts: Vec<Mutex<Part>>,
    sets_max: u64,
}

/// How strangers are judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardSpec {
    /// Offences within `window` that ban; 0 never bans for them.
    pub ban_after: u32,
    /// How long; `None` until an operator acts.
    pub ban: Option<Duration>,
    /// How long an offence counts; to a quarter longer.
    pub window: Duration,
    /// Requests of one source above this ban it.
    pub flood: Option<Rate>,
    /// Whether scanners are banned by what they call themselves.
    pub scanners: bool,
    /// Names of scanners beside the built-in ones; any case.
    pub scanner_names: Vec<String>,
    /// Never banned.
    pub exempt: Vec<Network>,
}

/// So many requests in so long, at once or spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At least 1.
    pub requests: u32,
    /// In this time.
    pub per: Duration,
}

/// Addresses that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// Any address of it.
    pub address: IpAddr,
    /// How many bits are shared.
    pub bits: u8,
}

/// What a stranger did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Offence {
    /// Asked for something as nobody that we know.
    UnknownRequest,
    /// Sent what is no SIP.
    Malformed,
    /// Did not know the password.
    AuthFailed,
    /// Is a scanner by its own words: banned at once.
    Scanner,
    /// Sends more than `flood` allows: banned at once.
    Flood,
}

/// A source to be banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BanWanted {
    /// Whose request it was.
    pub source: IpAddr,
    /// What to ban: the address, or its /64 in IPv6, where one host has them all.
    pub network: Network,
    /// `None` until an operator acts.
    pub until: Option<Instant>,
    /// The last offence.
    pub reason: Offence,
}

/// A part of the sources.
#[derive(Debug)]
struct Part {
    sets: Vec<[Source; WAYS]>,
}

/// What is known of one source.
#[derive(Clone, Copy, Debug, Default)]
struct Source {
    /// Keyed hash of the network; zero is nobody.
    id: u64,
    last: Instant,
    /// When all requests so far were due, at the rate of `flood` (GCRA).
    due: Instant,
    /// In quarters of the window.
    quarter: u64,
    offences: [u16; QUARTERS],
    /// Not banned again before: the ban is on its way.
    quiet_until: Instant,
}

impl Guard {
    /// Remembers at most `sources_max` sources, of 64 bytes each.
    pub fn new(key: HashKey, spec: GuardSpec, sources_max: usize) -> Guard {
        let sets = (sources_max / WAYS).max(PARTS);
        let part = || Mutex::new(Part { sets: vec![[Source::default(); WAYS]; sets / PARTS] });
        Guard {
            key,
            spec: RwLock::new(Arc::new(spec)),
            parts: (0..PARTS).map(|_| part()).collect(),
            sets_max: (sets / PARTS) as u64,
        }
    }

    /// A changed configuration; what was counted stays.
    pub fn set(&self, spec: GuardSpec) {
        *self.spec.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(spec);
    }

    /// Counts an offence. `known` says whether the source is an identified peer after all; it is asked only before a
    /// ban. A source whose ban was wanted is not named again for a second, while the ban is on its way: nothing counts
    /// meanwhile.
    pub fn offence(
        &self,
        now: Now,
        source: IpAddr,
        offence: Offence,
        known: impl FnOnce(IpAddr) -> bool,
    ) -> Option<BanWanted> {
        let spec = self.spec();
        let at_once = match offence {
            Offence::Scanner => spec.scanners,
            Offence::Flood => true,
            Offence::UnknownRequest | Offence::Malformed | Offence::AuthFailed => false,
        };
        let banned = self.with(now.mono, source, |known_source| {
            if now.mono < known_source.quiet_until {
                return false;
            }
            let offences = known_source.offend(now.mono, spec.window);
            let wanted = at_once || (spec.ban_after > 0 && offences >= spec.ban_after);
            if wanted {
                // The ban is for all of them: after it, however short it is, a source begins anew.
                known_source.offences = [0; QUARTERS];
            }
            wanted && known_source.may_be_named(now.mono)
        });
        if banned { wanted(&spec, now.mono, source, offence, known) } else { None }
    }

    /// Counts a request of a stranger against `flood`.
    pub fn request(&self, now: Now, source: IpAddr, known: impl FnOnce(IpAddr) -> bool) -> Option<BanWanted> {
        let spec = self.spec();
        let rate = spec.flood?;
        let banned = self.with(now.mono, source, |known_source| {
            known_source.is_flood(now.mono, rate) && known_source.may_be_named(now.mono)
        });
        if banned { wanted(&spec, now.mono, source, Offence::Flood, known) } else { None }
    }

    /// Whether a message says of itself that it comes from a scanner: the values of User-Agent, From and To. Names of
    /// devices that scanners like to borrow are not among the built-in ones.
    pub fn is_scanner(&self, user_agent: Option<&[u8]>, from: &[u8], to: &[u8]) -> bool {
        let spec = self.spec();
        if !spec.scanners {
            return false;
        }
        let agent = user_agent.unwrap_or_default();
        let own = || spec.scanner_names.iter().map(|name| name.as_bytes()).filter(|name| !name.is_empty());
        AGENTS.iter().any(|name| names(agent, name))
            || PARTIES.iter().any(|name| names(from, name) || names(to, name))
            || own().any(|name| names(agent, name) || names(from, name) || names(to, name))
    }

    /// How many sources are remembered.
    pub fn len(&self) -> usize {
        let held =
            |part: &Mutex<Part>| lock(part).sets.iter().flatten().filter(|source| source.id != 0).count();
        self.parts.iter().map(held).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn spec(&self) -> Arc<GuardSpec> {
        Arc::clone(&self.spec.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn with<T>(&self, now: Instant, source: IpAddr, act: impl FnOnce(&mut Source) -> T) -> T {
        let hash = match host(source) {
            IpAddr::V4(v4) => self.key.of(&v4.octets()),
            IpAddr::V6(v6) => self.key.of(&v6.octets()),
        };
        let mut part = lock(&self.parts[hash as usize % PARTS]);
        // The upper half of the hash chooses the set, the lower one the part.
        let set = &mut part.sets[(((hash >> 32) * self.sets_max) >> 32) as usize];
        let id = hash.max(1);
        let way = set.iter().position(|known| known.id == id).unwrap_or_else(|| {
            let least =
                |way: &usize| (set[*way].id != 0, set[*way].offences.iter().any(|n| *n > 0), set[*way].last);
            let way = (0..WAYS).min_by_key(least).unwrap_or(0);
            set[way] = Source { id, due: now, ..Source::default() };
            way
        });
        set[way].last = now;
        act(&mut set[way])
    }
}

/// Says whom to ban, unless nobody may.
fn wanted(
    spec: &GuardSpec,
    now: Instant,
    source: IpAddr,
    reason: Offence,
    known: impl FnOnce(IpAddr) -> bool,
) -> Option<BanWanted> {
    if spec.exempt.iter().any(|network| network.contains(source)) || known(source) {
        return None;
    }
    let bits = if source.to_canonical().is_ipv4() { 32 } else { HOST_BITS };
    let network = Network { address: host(source), bits };
    Some(BanWanted { source, network, until: spec.ban.map(|ban| now + ban), reason })
}

impl Source {
    /// Counts an offence; tells how many count now.
    fn offend(&mut self, now: Instant, window: Duration) -> u32 {
        let quarter_ns = u64::try_from(window.as_nanos() / 4).unwrap_or(u64::MAX).max(1);
        // One quarter more than the window has: an offence counts for the window at least.
        let quarter = now.0 / quarter_ns;
        let passed = usize::try_from(quarter.saturating_sub(self.quarter)).unwrap_or(QUARTERS).min(QUARTERS);
        self.offences.rotate_right(passed);
        self.offences[..passed].fill(0);
        self.quarter = self.quarter.max(quarter);
        self.offences[0] = self.offences[0].saturating_add(1);
        self.offences.iter().map(|n| u32::from(*n)).sum()
    }

    /// Generic cell rate: as many at once as the rate allows in its time.
    fn is_flood(&mut self, now: Instant, rate: Rate) -> bool {
        let step = u64::try_from(rate.per.as_nanos() / u128::from(rate.requests.max(1))).unwrap_or(u64::MAX);
        let due = self.due.max(now);
        let ahead = due.nanos_since(now);
        let flood = ahead + step > u64::try_from(rate.per.as_nanos()).unwrap_or(u64::MAX);
        if !flood {
            self.due = due + Duration::from_nanos(step);
        }
        flood
    }

    fn may_be_named(&mut self, now: Instant) -> bool {
        let may = now >= self.quiet_until;
        if may {
            self.quiet_until = now + QUIET;
        }
        may
    }
}

impl Offence {
    /// `unknown_request`, `malformed`, `auth_failed`, `scanner`, `flood`.
    pub fn word(self) -> &'static str {
        match self {
            Offence::UnknownRequest => "unknown_request",
            Offence::Malformed => "malformed",
            Offence::AuthFailed => "auth_failed",
            Offence::Scanner => "scanner",
            Offence::Flood => "flood",
        }
    }
}

impl Default for GuardSpec {
    fn default() -> Self {
        GuardSpec {
            ban_after: 3,
            ban: Some(Duration::from_secs(3600)),
            window: Duration::from_secs(60),
            flood: None,
            scanners: true,
            scanner_names: Vec::new(),
            exempt: Vec::new(),
        }
    }
}

impl Network {
    /// Whether this address belongs to it.
    pub fn contains(&self, address: IpAddr) -> bool {
        masked(address, self.bits) == masked(self.address, self.bits)
    }
}

/// What stands for one host: the address, or the first address of its /64.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let keep = u128::MAX << (128 - u32::from(HOST_BITS));
            Ipv6Addr::from(u128::from(v6) & keep).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// The first bits of an address; the two families never meet.
fn masked(address: IpAddr, bits: u8) -> (bool, u128) {
    let keep = |value: u128, width: u32| match width.saturating_sub(u32::from(bits)) {
        drop if drop >= width => 0,
        drop => value >> drop << drop,
    };
    match address.to_canonical() {
        IpAddr::V4(v4) => (false, keep(u128::from(u32::from(v4)), 32)),
        IpAddr::V6(v6) => (true, keep(u128::from(v6), 128)),
    }
}

/// Whether the text holds the name at the beginning of a word, in any case: `smap/0.6`, but not `dnsmapper`.
fn names(text: &[u8], name: &[u8]) -> bool {
    let mut windows = text.windows(name.len()).enumerate();
    windows.any(|(at, part)| {
        part.eq_ignore_ascii_case(name) && (at == 0 || !text[at - 1].is_ascii_alphanumeric())
    })
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How scanners call themselves in User-Agent.
const AGENTS: [&[u8]; 18] = [
    b"friendly-scanner",
    b"friendly-request",
    b"sipvicious",
    b"sipcli",
    b"sip-cli",
    b"sip-scan",
    b"sipscan",
    b"gulp",
    b"vaxsipuseragent",
    b"vaxipuseragent",
    b"pplsip",
    b"sundayddr",
    b"sundayaddr",
    b"siparmyknife",
    b"sivus",
    b"smap",
    b"iwar",
    b"scanner",
];
/// What they write into From and To; words that a person's name may hold are not here.
const PARTIES: [&[u8]; 3] = [b"sipvicious", b"friendly-scanner", b"friendly-request"];
const WAYS: usize = 8;
/// The window has four, and one is being filled.
const QUARTERS: usize = 5;
const PARTS: usize = 16;
const HOST_BITS: u8 = 64;
const QUIET: Duration = Duration::from_secs(1);
const _: () = assert!(size_of::<Source>() <= 64 && PARTS.is_power_of_two());

#[cfg(test)]
mod tests {
    use super::*;
    use base::Wall;

    fn at(ms: u64) -> Now {
        Now { mono: Instant(1_000_000_000 + ms * 1_000_000), wall: Wall(0) }
    }

    fn guard(spec: GuardSpec) -> Guard {
        Guard::new(HashKey::new([1, 2]), spec, 4096)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn nobody(_: IpAddr) -> bool {
        false
    }

    #[test]
    fn the_third_offence_within_the_window_bans() {
        let guard = guard(GuardSpec::default());
        let source = ip("192.0.2.1");
        let offend = |ms| guard.offence(at(ms), source, Offence::UnknownRequest, nobody);
        assert_eq!((offend(0), offend(59_000)), (None, None));
        let ban = offend(59_900).expect("a ban");
        assert_eq!((ban.source, ban.reason, ban.network.bits), (source, Offence::UnknownRequest, 32));
        assert_eq!(ban.until, Some(at(59_900).mono + Duration::from_secs(3600)));
        assert!((0..9).all(|_| offend(60_000).is_none()), "told once while the ban is on its way");
        assert_eq!(
            (offend(61_000), offend(61_000)),
            (None, None),
            "a ban that is over has paid for all before"
        );
        assert!(offend(61_000).is_some(), "who goes on is named again");
        assert_eq!(guard.offence(at(59_900), ip("192.0.2.2"), Offence::UnknownRequest, nobody), None);
    }

    #[test]
    fn offences_that_lie_too_far_apart_do_not_ban() {
        let guard = guard(GuardSpec::default());
        for n in 0..50 {
            let ban = guard.offence(at(n * 38_000), ip("192.0.2.1"), Offence::AuthFailed, nobody);
            assert_eq!(ban, None, "{n}");
        }
    }

    #[test]
    fn who_is_exempt_or_known_is_never_banned() {
        let exempt = vec![Network { address: ip("198.51.100.0"), bits: 24 }];
        let guard = guard(GuardSpec { exempt, ..GuardSpec::default() });
        for n in 0..10 {
            assert_eq!(guard.offence(at(n * 2_000), ip("198.51.100.9"), Offence::Scanner, nobody), None);
            assert_eq!(guard.offence(at(n * 2_000), ip("192.0.2.1"), Offence::Scanner, |_| true), None);
        }
        assert!(guard.offence(at(0), ip("198.51.101.9"), Offence::Scanner, nobody).is_some());
    }

    #[test]
    fn a_scanner_is_banned_at_once_and_not_at_all_if_not_wanted() {
        let source = ip("192.0.2.1");
        let with = |scanners| guard(GuardSpec { scanners, ban: None, ..GuardSpec::default() });
        let ban = with(true).offence(at(0), source, Offence::Scanner, nobody).expect("a ban");
        assert_eq!((ban.until, ban.reason.word()), (None, "scanner"));
        assert_eq!(with(false).offence(at(0), source, Offence::Scanner, nobody), None);
    }

    #[test]
    fn a_flood_is_what_exceeds_the_rate() {
        let flood = Some(Rate { requests: 100, per: Duration::from_secs(1) });
        let guard = guard(GuardSpec { flood, ..GuardSpec::default() });
        let request = |ms, source| guard.request(at(ms), ip(source), nobody);
        assert!((0..1_000).all(|n| request(n * 10, "192.0.2.1").is_none()), "at the rate");
        assert!((0..100).all(|_| request(0, "192.0.2.2").is_none()), "all at once");
        let ban = request(0, "192.0.2.2").expect("one too many");
        assert_eq!(ban.reason, Offence::Flood);
        guard.set(GuardSpec::default());
        assert!((0..1_000).all(|_| request(1, "192.0.2.2").is_none()), "no limit any more");
    }

    #[test]
    fn a_host_of_ipv6_is_its_whole_network() {
        let guard = guard(GuardSpec::default());
        let mut bans = (0..3).filter_map(|n| {
            guard.offence(at(0), ip(&format!("2001:db8:1:2::{n}")), Offence::Malformed, nobody)
        });
        let ban = bans.next().expect("a ban");
        assert_eq!((ban.network.address, ban.network.bits), (ip("2001:db8:1:2::"), 64));
        assert!(
            ban.network.contains(ip("2001:db8:1:2:ffff::")) && !ban.network.contains(ip("2001:db8:1:3::"))
        );
        let mapped =
            (0..3).filter_map(|_| guard.offence(at(0), ip("::ffff:192.0.2.7"), Offence::Malformed, nobody));
        assert_eq!(
            mapped.last().map(|ban| ban.network),
            Some(Network { address: ip("192.0.2.7"), bits: 32 })
        );
    }

    #[test]
    fn a_flood_of_forged_sources_does_not_grow_it_and_offenders_stay_longest() {
        let guard = guard(GuardSpec::default());
        for _ in 0..2 {
            assert_eq!(guard.offence(at(0), ip("192.0.2.1"), Offence::UnknownRequest, nobody), None);
        }
        guard.set(GuardSpec {
            flood: Some(Rate { requests: 9, per: Duration::from_secs(1) }),
            ..GuardSpec::default()
        });
        for n in 0..100_000u32 {
            guard.request(at(1), IpAddr::from((n | 0x8000_0000).to_be_bytes()), nobody);
        }
        assert_eq!(guard.len(), 4096);
        assert!(guard.offence(at(2), ip("192.0.2.1"), Offence::UnknownRequest, nobody).is_some());
    }

    #[test]
    fn scanners_are_known_by_their_words_and_devices_are_not_taken_for_them() {
        let own = vec!["evilbot".to_owned()];
        let guard = guard(GuardSpec { scanner_names: own, ..GuardSpec::default() });
        let agent = |text: &str| guard.is_scanner(Some(text.as_bytes()), b"<sip:a@b>", b"<sip:c@d>");
        let scanners = "friendly-scanner|sipcli/v1.8|VaxSIPUserAgent/3.1|PPLSIP|sundayddr|siparmyknife|SIVuS Scanner\
            |smap 0.6|iWar|Friendly-Request|sip-scan|my EvilBot 2|sipvicious|Gulp";
        for text in scanners.split('|') {
            assert!(agent(text), "{text}");
        }
        let devices = "PolycomSoundPointIP-SPIP_430-UA/3.2.3.1734|Yealink SIP-T46U 108.86.0.20|Asterisk PBX|sipsak 0.9\
            |Cisco-SIPGateway/IOS-12.x|eyeBeam|Linphone/3.6.1 (eXosip2/4.1.0)|Zoiper v2.10.19.5|dnsmapper|Friendly Phone|";
        for text in devices.split('|') {
            assert!(!agent(text), "{text}");
        }
        assert!(guard.is_scanner(None, b"\"sipvicious\"<sip:100@1.1.1.1>;tag=1", b""));
        assert!(!guard.is_scanner(None, b"\"Osmap Scanner\"<sip:100@1.1.1.1>;tag=1", b""));
        guard.set(GuardSpec { scanners: false, ..GuardSpec::default() });
        assert!(!guard.is_scanner(Some(b"friendly-scanner"), b"", b""));
    }
}
