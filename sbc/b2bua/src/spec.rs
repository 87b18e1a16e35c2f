//! The configuration as the B2BUA wants it: plain, validated, with names turned into indexes. Made by `control/config`
//! once per applied version; a call keeps the version that it started with.

use crate::number::Pattern;
use base::Duration;
use command::{Learn, Timeouts};
use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;
use ledger::Pool;
pub use sip::flow::Transport;
use std::sync::Arc;

/// One applied version.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// Counts up with every applied configuration.
    pub version: u64,
    /// Where we listen and have media ports.
    pub listeners: Vec<Listener>,
    /// Who is out there.
    pub trunks: Vec<Trunk>,
    /// In the order of the file, or longest first: the first that matches wins.
    pub routes: Vec<Route>,
    /// In the order of the file.
    pub number_rules: Vec<NumberRule>,
    /// Route order.
    pub route_order: RouteOrder,
    /// What sources get that are nobody.
    pub unknown: UnknownAnswer,
    /// How long media goes on without its signalling shard.
    pub orphan: Duration,
}

/// `listener.NAME`.
#[derive(Clone, Debug)]
pub struct Listener {
    /// As in the configuration.
    pub name: String,
    /// SIP addresses to bind; port 0 lets the system choose.
    pub sip: Vec<SipBind>,
    /// Media ranges, at most one for each address; port 0..=0 lets the system choose.
    pub media: Vec<MediaRange>,
    /// What to write instead of our address, by family.
    pub advertise: Vec<IpAddr>,
    /// DSCP of SIP, 0 to 63.
    pub dscp_sip: u8,
    /// DSCP of RTP, 0 to 63.
    pub dscp_rtp: u8,
}

/// One SIP address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SipBind {
    /// UDP or TCP (others come with their issue).
    pub transport: Transport,
    /// May be a wildcard.
    pub address: SocketAddr,
}

/// One media range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaRange {
    /// May be a wildcard.
    pub address: IpAddr,
    /// Even and odd ports.
    pub ports: RangeInclusive<u16>,
}

/// `trunk.NAME`.
#[derive(Clone, Debug)]
pub struct Trunk {
    /// As in the configuration.
    pub name: String,
    /// Index of the listener that calls to it leave from; the first one if not said.
    pub listener: usize,
    /// The configuration names the listener, so that it is recognised on that one only.
    pub listener_only: bool,
    /// Who is it.
    pub from: Vec<Source>,
    /// Where it is called, in order of preference.
    pub to: Vec<Target>,
    /// Which final answers lead to the next target and how codes are rewritten.
    pub codes: Codes,
    /// How the sources of its media are learned.
    pub learn: Learn,
    /// How long silence may last.
    pub timeouts: Timeouts,
    /// One side's silence also ends the call.
    pub one_ends: bool,
    /// RFC 4028; `None` is off.
    pub session_timer: Option<Duration>,
    /// Calls end after this.
    pub max_duration: Option<Duration>,
    /// Calls on it now, both directions: counts, and later limits.
    pub pool: Arc<Pool>,
}

/// Who a trunk is: the most specific one wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A network, or an address if the prefix is full; over UDP only from `port` if it is given.
    Net {
        /// Network address.
        address: IpAddr,
        /// Prefix length.
        prefix: u8,
        /// Source port of datagrams.
        port: Option<u16>,
    },
    /// A host name, resolved from time to time by control.
    Host {
        /// The name.
        name: String,
        /// Source port of datagrams.
        port: Option<u16>,
    },
}

/// One address of a trunk, before DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Host name or address as written in the Request-URI (IPv6 in brackets).
    pub host: String,
    /// Port, if given: then neither NAPTR nor SRV is asked (RFC 3263 section 4).
    pub port: Option<u16>,
    /// `;transport=`, if given: then it is never overridden.
    pub transport: Option<Transport>,
    /// Share among targets of equal rank; for later load balancing.
    pub weight: u32,
}

/// `trunk.NAME.codes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Codes {
    /// Lead to the next target.
    pub retry: Vec<RangeInclusive<u16>>,
    /// End the search, even if also in `retry`.
    pub stop: Vec<RangeInclusive<u16>>,
    /// Rewritten towards the caller.
    pub map: Vec<(u16, u16)>,
}

impl Default for Codes {
    fn default() -> Self {
        Codes { retry: vec![408..=408, 500..=599], stop: Vec::new(), map: Vec::new() }
    }
}

impl Codes {
    /// Whether the next target is tried after this final answer.
    pub fn retries(&self, code: u16) -> bool {
        !self.stop.iter().any(|r| r.contains(&code)) && self.retry.iter().any(|r| r.contains(&code))
    }

    /// What the caller is told. A 503 of one trunk is a 500 for the caller, since it says nothing about us
    /// (RFC 3261 section 16.7), unless the map says otherwise.
    pub fn towards_caller(&self, code: u16) -> u16 {
        match self.map.iter().find(|(from, _)| *from == code) {
            Some((_, to)) => *to,
            None if code == 503 => 500,
            None => code,
        }
    }
}

/// `[[route]]`.
#[derive(Clone, Debug)]
pub struct Route {
    /// As in the configuration, or `route-N`.
    pub name: String,
    /// Indexes of source trunks; empty for any.
    pub from: Vec<usize>,
    /// Called numbers; none for any.
    pub to: Vec<Pattern>,
    /// Index of the trunk that is called.
    pub via: usize,
    /// Calls by this route end after this.
    pub max_duration: Option<Duration>,
}

/// `[[number_rule]]`: rewrites a number before routes are looked at.
#[derive(Clone, Debug)]
pub struct NumberRule {
    /// As in the configuration, or `number-rule-N`.
    pub name: String,
    /// Which number.
    pub on: NumberOf,
    /// Indexes of source trunks; empty for any.
    pub trunk: Vec<usize>,
    /// What it applies to.
    pub matches: Pattern,
    /// What it becomes: text with `{2-}` (from the third character on), `{0-3}`, `{1}` (group of a regex).
    pub to: crate::number::Template,
}

/// Whose number a rule rewrites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberOf {
    /// Request-URI user.
    Callee,
    /// From user.
    Caller,
}

/// `engine.route_order`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum RouteOrder {
    /// As in the file.
    #[default]
    First,
    /// Longest literal prefix first.
    Longest,
}

/// `unknown.answer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UnknownAnswer {
    /// Nothing at all.
    #[default]
    Silent,
    /// 403.
    Forbidden,
    /// 503 "Attack!" (requirements 2.4).
    Attack,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A trunk with defaults, for tests.
    pub(crate) fn trunk(name: &str, from: Vec<Source>) -> Trunk {
        Trunk {
            name: name.into(),
            listener: 0,
            listener_only: false,
            from,
            to: Vec::new(),
            codes: Codes::default(),
            learn: Learn::Window,
            timeouts: Timeouts::default(),
            one_ends: false,
            session_timer: Some(Duration::from_secs(1800)),
            max_duration: None,
            pool: Pool::new(name, u32::MAX),
        }
    }

    #[test]
    fn codes_lead_on_or_stop_and_are_rewritten() {
        let codes = Codes { stop: vec![503..=503], map: vec![(603, 486)], ..Codes::default() };
        assert!(codes.retries(500) && codes.retries(408) && !codes.retries(503) && !codes.retries(486));
        assert_eq!(
            (codes.towards_caller(603), codes.towards_caller(503), codes.towards_caller(404)),
            (486, 500, 404)
        );
    }
}
