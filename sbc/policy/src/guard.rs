//! Strangers: counts the offences and requests of sources that are nobody, and says who is to be banned. A source
//! address of a datagram can be forged, so identified peers must never come here, and exempt ones are never banned.

use base::{Duration, HashKey, Instant, Now};
use core::net::IpAddr;

/// How strangers are judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuardSpec {
    /// Offences within `window` that ban; 0 never bans for them.
    pub ban_after: u32,
    /// How long; `None` until an operator acts.
    pub ban: Option<Duration>,
    /// How long an offence counts.
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

/// So many requests in so long.
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
    /// Is a scanner by its own words.
    Scanner,
    /// Sends more than `flood` allows.
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

/// Shared by all signalling shards.
#[derive(Debug)]
pub struct Guard {
    _key: HashKey,
    spec: GuardSpec,
}

impl Guard {
    /// Remembers at most `sources_max` sources.
    pub fn new(key: HashKey, spec: GuardSpec, _sources_max: usize) -> Guard {
        Guard { _key: key, spec }
    }

    /// A changed configuration; what was counted stays.
    pub fn set(&self, _spec: GuardSpec) {}

    /// Counts an offence. `known` says whether the source is an identified peer after all; it is asked only before a
    /// ban.
    pub fn offence(
        &self,
        _now: Now,
        _source: IpAddr,
        _offence: Offence,
        _known: impl FnOnce(IpAddr) -> bool,
    ) -> Option<BanWanted> {
        None
    }

    /// Counts a request of a stranger against `flood`.
    pub fn request(
        &self,
        _now: Now,
        _source: IpAddr,
        _known: impl FnOnce(IpAddr) -> bool,
    ) -> Option<BanWanted> {
        None
    }

    /// Whether a message says of itself that it comes from a scanner: the values of User-Agent, From and To.
    pub fn is_scanner(&self, _user_agent: Option<&[u8]>, _from: &[u8], _to: &[u8]) -> bool {
        self.spec.scanners && false
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
