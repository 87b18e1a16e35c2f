//! From the configuration to what `b2bua` works with: names become indexes, and trunks keep the pools in which their
//! calls are counted.

use crate::check::default_listener;
use crate::engine::Answer;
use crate::listener::Listener;
use crate::root::Checked;
use crate::route::{NumberRule, Route};
use crate::trunk::Trunk;
use crate::words::{Host, Source, TargetUri};
use b2bua::spec;
use b2bua::spec::{RouteOrder, Spec, Transport, UnknownAnswer};
use base::Duration;
use command::Timeouts;
use ledger::Pool;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

/// The pools of trunks by name: one trunk is counted in one pool through all versions, as long as anybody holds it.
#[derive(Debug, Default)]
pub struct PoolBook {
    pools: BTreeMap<String, Weak<Pool>>,
}

impl PoolBook {
    /// Without pools.
    pub fn new() -> PoolBook {
        PoolBook::default()
    }

    /// The pool of a trunk.
    pub fn pool(&mut self, name: &str) -> Arc<Pool> {
        if let Some(pool) = self.pools.get(name).and_then(Weak::upgrade) {
            return pool;
        }
        let pool = Pool::new(name, u32::MAX);
        self.pools.insert(name.to_owned(), Arc::downgrade(&pool));
        pool
    }
}

impl Checked {
    /// What the B2BUA works with. Trunks whose names were in `pools` keep their pools, so calls in progress stay counted.
    pub fn spec(&self, version: u64, pools: &mut PoolBook) -> Spec {
        pools.pools.retain(|_, pool| pool.strong_count() > 0);
        let config = self.config();
        let listeners: BTreeMap<&str, usize> = config.listener.names().zip(0..).collect();
        let trunks: BTreeMap<&str, usize> = config.trunk.names().zip(0..).collect();
        let first = default_listener(&config.listener).unwrap_or(0);
        let mut routes: Vec<spec::Route> = config.route.iter().filter_map(|r| route(r, &trunks)).collect();
        if config.engine.route_order == RouteOrder::Longest {
            routes = longest_first(routes);
        }
        Spec {
            version,
            listeners: config.listener.iter().map(|(name, l)| listener(name, l)).collect(),
            trunks: config
                .trunk
                .iter()
                .map(|(name, t)| {
                    let used = t.listener.as_deref().and_then(|l| listeners.get(l).copied()).unwrap_or(first);
                    trunk(name, t, used, pools.pool(name))
                })
                .collect(),
            routes,
            number_rules: config.number_rule.iter().map(|r| number_rule(r, &trunks)).collect(),
            route_order: config.engine.route_order,
            unknown: match config.unknown.answer {
                Answer::Silent | Answer::Divert(_) => UnknownAnswer::Silent,
                Answer::Forbidden => UnknownAnswer::Forbidden,
                Answer::Attack => UnknownAnswer::Attack,
            },
            orphan: config.engine.orphan,
        }
    }
}

fn listener(name: &str, listener: &Listener) -> spec::Listener {
    let heard = |transport| matches!(transport, Transport::Udp | Transport::Tcp);
    spec::Listener {
        name: name.to_owned(),
        sip: listener
            .sip
            .iter()
            .filter(|sip| heard(sip.transport))
            .map(|sip| spec::SipBind { transport: sip.transport, address: sip.address })
            .collect(),
        media: listener
            .media
            .iter()
            .map(|range| spec::MediaRange { address: range.address, ports: range.ports.clone() })
            .collect(),
        advertise: listener.advertise.clone(),
        dscp_sip: listener.dscp.sip.0,
        dscp_rtp: listener.dscp.rtp.0,
    }
}

fn trunk(name: &str, trunk: &Trunk, listener: usize, pool: Arc<Pool>) -> spec::Trunk {
    let silence = &trunk.media_timeout;
    spec::Trunk {
        name: name.to_owned(),
        listener,
        listener_only: trunk.listener.is_some(),
        from: trunk.from.iter().filter_map(source).collect(),
        to: trunk.to.iter().map(|to| target(&to.uri, to.weight)).collect(),
        codes: spec::Codes {
            retry: trunk.codes.retry.iter().map(|r| r.0.clone()).collect(),
            stop: trunk.codes.stop.iter().map(|r| r.0.clone()).collect(),
            map: trunk.codes.map.0.iter().map(|(from, to)| (from.0, to.0)).collect(),
        },
        learn: trunk.learn,
        timeouts: Timeouts {
            both: silence.both.0,
            // Silence of one side is always noticed; it ends the call only where that is configured (media.md).
            one: Some(silence.one.0.unwrap_or(ONE_SIDE_NOTICED)),
            hold: silence.hold.0,
        },
        one_ends: silence.one.0.is_some(),
        session_timer: trunk.session_timer.0,
        max_duration: trunk.max_duration.0,
        pool,
    }
}

fn source(source: &Source) -> Option<spec::Source> {
    match source {
        Source::Network { address, prefix, port } => {
            Some(spec::Source::Net { address: *address, prefix: *prefix, port: *port })
        }
        Source::Name { name, port } => Some(spec::Source::Host { name: name.clone(), port: *port }),
        Source::Digest => None,
    }
}

fn target(uri: &TargetUri, weight: u32) -> spec::Target {
    let host = match &uri.to.host {
        Host::Name(name) => name.clone(),
        ip @ Host::Ip(_) => ip.to_string(),
    };
    spec::Target { host, port: uri.to.port, transport: uri.transport, weight }
}

/// A route by a group or only from accounts is left out; `run` has refused to start with the first of them.
fn route(route: &Route, trunks: &BTreeMap<&str, usize>) -> Option<spec::Route> {
    let from: Vec<usize> = route.from.iter().filter_map(|name| trunks.get(name.as_str()).copied()).collect();
    if from.is_empty() && !route.from.is_empty() {
        return None;
    }
    Some(spec::Route {
        name: route.name.to_string(),
        from,
        to: route.to.iter().map(|to| to.pattern.clone()).collect(),
        via: *trunks.get(route.via.as_str())?,
        max_duration: route.max_duration.0,
    })
}

/// One entry a pattern, the most specific first; among equals the order of the file holds.
fn longest_first(routes: Vec<spec::Route>) -> Vec<spec::Route> {
    let mut apart: Vec<(usize, spec::Route)> = Vec::with_capacity(routes.len());
    for route in routes {
        if route.to.is_empty() {
            apart.push((0, route));
            continue;
        }
        for pattern in &route.to {
            let mut one = spec::Route { to: vec![pattern.clone()], ..route.clone() };
            one.name.clone_from(&route.name);
            apart.push((pattern.specificity(), one));
        }
    }
    apart.sort_by_key(|(specificity, _)| core::cmp::Reverse(*specificity));
    apart.into_iter().map(|(_, route)| route).collect()
}

fn number_rule(rule: &NumberRule, trunks: &BTreeMap<&str, usize>) -> spec::NumberRule {
    spec::NumberRule {
        name: rule.name.to_string(),
        on: rule.on,
        trunk: rule.trunk.iter().filter_map(|name| trunks.get(name.as_str()).copied()).collect(),
        matches: rule.matches.pattern.clone(),
        to: rule.to.template.clone(),
    }
}

const ONE_SIDE_NOTICED: Duration = Duration::from_secs(30);
