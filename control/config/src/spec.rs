//! From the configuration to what `b2bua` works with: names become indexes, and what versions share comes from the book.

use crate::account::Account;
use crate::book::PoolBook;
use crate::check::default_listener;
use crate::engine::{Answer, NgSource, Unknown};
use crate::group::{Group, Member};
use crate::limit::{Limit, LimitPer, OwnLimit};
use crate::listener::Listener;
use crate::objects::Objects;
use crate::policy::{Destinations, Policy, Thresholds};
use crate::root::{Checked, Config};
use crate::route::{NumberRule, OnTimeout, Route};
use crate::trunk::{Dtmf, Srtp, Transcode, Trunk, TrunkClass};
use crate::words::{Codec, Host, Name, Rate, Source, TargetUri, makeable};
use b2bua::spec;
use b2bua::spec::{KeyOf, Spec, Texts, Transport, UnknownAnswer};
use base::Duration;
use command::Timeouts;
use ledger::{Bounds, Class};
use ng::spec::SourceRule;
use policy::fraud;
use policy::guard::{GuardSpec, Network};
use policy::{Callers, Profile, ProfileSpec};
use routing::group::{Shape, Way};
use routing::health::{BreakerSpec, ProbeSpec};
use routing::{From, Match, NumberRule as Rewriting};
use std::sync::Arc;

impl Checked {
    /// What the B2BUA works with. What has a name that is in `book` goes on as it is, with its new limits: calls in
    /// progress stay counted, trunks that are down stay down.
    pub fn spec(&self, version: u64, book: &mut PoolBook) -> Spec {
        book.sweep();
        let config = self.config();
        let names = Names { config };
        let first = default_listener(&config.listener).unwrap_or(0);
        let limits: Vec<spec::Limit> =
            config.limit.iter().map(|(name, l)| named_limit(config, name, l, book)).collect();
        let mut made = Spec {
            version,
            listeners: config.listener.iter().map(|(name, l)| listener(name, l)).collect(),
            trunks: config
                .trunk
                .iter()
                .map(|(name, t)| {
                    let used =
                        t.listener.as_deref().and_then(|l| config.listener.position(l)).unwrap_or(first);
                    trunk(name, t, used, names, &limits, book)
                })
                .collect(),
            accounts: config.account.iter().map(|(name, a)| account(name, a, names, &limits, book)).collect(),
            groups: config.group.iter().map(|(name, g)| group(name, g, names, book)).collect(),
            policies: config.policy.iter().map(|(name, p)| self.policy(name, p)).collect(),
            number_rules: config.number_rule.iter().map(|r| number_rule(r, names)).collect(),
            makeable: makeable(),
            emergency: config.engine.emergency.iter().map(|number| number.0.clone().into_bytes()).collect(),
            unknown: unknown(&config.unknown, book),
            orphan: config.engine.orphan,
            ..Spec::default()
        };
        let texts = common_texts(&config.listener);
        let routes = config.route.iter().filter_map(|r| Some((matching(r, names), route(r, names, texts)?)));
        made.set_routes(routes, config.engine.route_order);
        made
    }

    /// What NG calls work with; its limits are those of [`Checked::spec`].
    pub fn ng_spec(&self, book: &mut PoolBook) -> ng::spec::Spec {
        let config = self.config();
        let engine = &config.engine;
        let pools = engine.ng_pool.iter().filter_map(|name| {
            match named_limit(config, name, config.limit.get(name)?, book) {
                spec::Limit::Shared(pool) => Some(pool),
                spec::Limit::Each(..) => None, // refused by the check
            }
        });
        ng::spec::Spec {
            listeners: config.listener.iter().map(|(name, l)| ng_listener(name, l)).collect(),
            source: match engine.ng_source {
                NgSource::Locked => SourceRule::Locked,
                NgSource::Rtpengine => SourceRule::Rtpengine,
            },
            delete_delay: engine.delete_delay,
            makeable: makeable(),
            pools: pools.collect(),
            events_to: engine.ng_events.clone(),
            ..ng::spec::Spec::default()
        }
    }

    fn policy(&self, name: &str, policy: &Policy) -> spec::Policy {
        let has_rules = policy.rules != Thresholds::default();
        let profile = || {
            Profile::new(ProfileSpec {
                name: name.to_owned(),
                per: policy.per.clone(),
                prefixes: match &policy.prefixes[..] {
                    [] => fraud::Prefixes::Digits(
                        policy.prefix_digits.and_then(|n| u8::try_from(n).ok()).unwrap_or(PREFIX_DIGITS),
                    ),
                    list => fraud::Prefixes::List(list.iter().map(|prefix| prefix.0.clone()).collect()),
                },
                window: policy.window,
                rules: rules(&policy.rules),
                warn: policy.warn.clone(),
                critical: policy.critical.clone(),
                rates: policy.rates.as_ref().and_then(|rates| self.rates(rates)).cloned(),
            })
        };
        let callers = policy.callers.as_ref().and_then(|lists| {
            let texts = |list: &[crate::policy::CallerEntry]| -> Vec<String> {
                list.iter().map(|entry| entry.0.clone()).collect()
            };
            let (allow, deny) = (texts(&lists.allow), texts(&lists.deny));
            Callers::new(allow.iter().map(String::as_str), deny.iter().map(String::as_str)).ok()
        });
        spec::Policy {
            name: name.to_owned(),
            destinations: policy.destinations.as_ref().map(destinations),
            callers: callers.map(Arc::new),
            // Rates alone make no rule, yet they say what a call costs.
            fraud: (has_rules || policy.rates.is_some()).then(profile),
        }
    }
}

/// Names to indexes.
#[derive(Clone, Copy)]
struct Names<'a> {
    config: &'a Config,
}

impl Names<'_> {
    fn trunks(self, names: &[Name]) -> Vec<usize> {
        names.iter().filter_map(|name| self.config.trunk.position(name)).collect()
    }

    fn accounts(self, names: &[Name]) -> Vec<usize> {
        names.iter().filter_map(|name| self.config.account.position(name)).collect()
    }

    fn policies(self, names: &[Name]) -> Vec<usize> {
        names.iter().filter_map(|name| self.config.policy.position(name)).collect()
    }

    fn way(self, name: &str) -> Option<Way> {
        let trunk = self.config.trunk.position(name).map(Way::Trunk);
        trunk.or_else(|| self.config.group.position(name).map(Way::Group))
    }

    /// The shared limits of these names.
    fn limits(self, names: &[Name], limits: &[spec::Limit]) -> impl Iterator<Item = spec::Limit> {
        names.iter().filter_map(|name| limits.get(self.config.limit.position(name)?)).cloned()
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
        texts: listener.texts,
    }
}

fn ng_listener(name: &str, listener: &Listener) -> ng::spec::Listener {
    ng::spec::Listener {
        name: name.to_owned(),
        media: listener.media.iter().map(|range| range.address).collect(),
        advertise: listener.advertise.clone(),
        dscp: listener.dscp.rtp.0,
    }
}

fn trunk(
    name: &str,
    trunk: &Trunk,
    listener: usize,
    names: Names<'_>,
    limits: &[spec::Limit],
    book: &mut PoolBook,
) -> spec::Trunk {
    let silence = &trunk.media_timeout;
    let mut one_way = |key: &str, limit: &Option<OwnLimit>| -> Vec<spec::Limit> {
        let own = limit.as_ref().map(own_bounds).filter(|bounds| *bounds != Bounds::default());
        let own =
            own.map(|bounds| spec::Limit::Shared(book.pool("one way", &format!("{name}/{key}"), bounds)));
        let shared = trunk.limit.iter().chain(limit).flat_map(|l| names.limits(&l.pool, limits));
        own.into_iter().chain(shared).collect()
    };
    let (limits_in, limits_out) = (one_way("in", &trunk.limit_in), one_way("out", &trunk.limit_out));
    let health = book.health("trunk", name);
    let probe = trunk.probe.as_ref();
    health.set(
        probe.map(|probe| ProbeSpec { down_after: probe.down_after, up_after: probe.up_after }),
        trunk.breaker.as_ref().map(|breaker| BreakerSpec {
            timeouts: breaker.timeouts,
            fail_ratio: breaker.fail_ratio,
            min_calls: breaker.min_calls,
            open: breaker.open,
            trial: breaker.trial,
        }),
    );
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
            bill: trunk.codes.bill.iter().map(|r| r.0.clone()).collect(),
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
        pool: book.pool("trunk", name, trunk.limit.as_ref().map(own_bounds).unwrap_or_default()),
        limits_in,
        limits_out,
        health,
        probe: probe.map(|probe| probe.every),
        policies: names.policies(&trunk.policy),
        class: match trunk.class {
            TrunkClass::Normal => Class::Normal,
            TrunkClass::Priority => Class::Priority,
        },
        emergency_address: trunk.emergency_address.clone(),
        media: spec::Media {
            block_dtmf: trunk.block_dtmf,
            echo_cancel: trunk.echo_cancel,
            ..media(&trunk.codecs, trunk.transcode, trunk.srtp, trunk.dtmf)
        },
        record: trunk.record,
    }
}

fn account(
    name: &str,
    account: &Account,
    names: Names<'_>,
    limits: &[spec::Limit],
    book: &mut PoolBook,
) -> spec::Account {
    spec::Account {
        name: name.to_owned(),
        number: account.number.as_ref().map(|number| number.0.clone()),
        destinations: destinations(&account.destinations),
        policies: names.policies(&account.policy),
        limits: account.limit.iter().flat_map(|limit| names.limits(&limit.pool, limits)).collect(),
        pool: book.pool("account", name, account.limit.as_ref().map(own_bounds).unwrap_or_default()),
        health: book.health("account", name),
        emergency_address: account.emergency_address.clone(),
        media: spec::Media {
            block_dtmf: account.block_dtmf,
            echo_cancel: account.echo_cancel,
            ..media(&account.codecs, account.transcode, account.srtp, account.dtmf)
        },
        record: account.record,
    }
}

fn media(codecs: &[Codec], transcode: Transcode, srtp: Option<Srtp>, dtmf: Dtmf) -> spec::Media {
    spec::Media {
        codecs: codecs.iter().map(|codec| codec.0.as_str().into()).collect(),
        transcode: match transcode {
            Transcode::Needed => spec::Transcode::Needed,
            Transcode::Never => spec::Transcode::Never,
        },
        srtp: srtp.map(|srtp| match srtp {
            Srtp::Never => spec::Srtp::Never,
            Srtp::Optional => spec::Srtp::Optional,
            Srtp::Required => spec::Srtp::Required,
        }),
        dtmf: match dtmf {
            Dtmf::Auto => spec::DigitsBy::Auto,
            Dtmf::Rfc4733 => spec::DigitsBy::Events,
            Dtmf::Info => spec::DigitsBy::Info,
            Dtmf::Inband => spec::DigitsBy::Tones,
        },
        ..spec::Media::default()
    }
}

fn own_bounds(limit: &OwnLimit) -> Bounds {
    Bounds { calls: limit.calls.unwrap_or(u32::MAX), reserved: 0, rate: rate(limit.cps, limit.burst) }
}

fn rate(cps: Option<Rate>, burst: Option<u32>) -> Option<ledger::Rate> {
    let cps = cps?;
    let second = u64::from(cps.count).div_ceil(cps.per.as_secs().max(1));
    let burst = burst.unwrap_or_else(|| u32::try_from(second).unwrap_or(u32::MAX));
    Some(ledger::Rate::each(cps.count, cps.per, burst))
}

fn named_limit(config: &Config, name: &str, limit: &Limit, book: &mut PoolBook) -> spec::Limit {
    let bounds = Bounds {
        calls: limit.calls.unwrap_or(u32::MAX),
        reserved: limit.reserve,
        rate: rate(limit.cps, limit.burst),
    };
    // Metrics and answers name limits of all kinds, so one that is called as a trunk is says which kind it is.
    let taken = config.trunk.position(name).is_some() || config.account.position(name).is_some();
    let shown = if taken { format!("limit.{name}") } else { name.to_owned() };
    let by = match limit.per {
        None => return spec::Limit::Shared(book.pool("limit", &shown, bounds)),
        Some(LimitPer::Caller) => KeyOf::Caller,
        Some(LimitPer::Callee) => KeyOf::Callee,
        Some(LimitPer::Source) => KeyOf::Source,
    };
    let keys_max = limit.keys.unwrap_or(KEYS) as usize;
    spec::Limit::Each(book.keyed(&shown, bounds, by, keys_max), by)
}

fn group(name: &str, group: &Group, names: Names<'_>, book: &mut PoolBook) -> routing::Group {
    let member = |member: &Member| {
        let pool = |(resource, calls): (&String, &u32)| {
            let bounds = Bounds { calls: *calls, ..Bounds::default() };
            let shown = format!("{name}/{}/{resource}", member.trunk);
            (resource.clone(), book.pool("resource", &shown, bounds))
        };
        Some(routing::Member {
            name: member.trunk.to_string(),
            to: names.way(&member.trunk)?,
            weight: member.weight,
            priority: member.priority,
            resources: member.resources.0.iter().map(pool).collect(),
            shape: Shape {
                prefix: member.prefix.as_ref().map_or_else(Vec::new, |prefix| prefix.0.clone().into_bytes()),
                caller: member.caller.as_ref().map(|caller| caller.0.clone().into_bytes()),
                host: member.host.as_ref().map(ToString::to_string),
            },
        })
    };
    routing::Group {
        name: name.to_owned(),
        pick: group.pick,
        compare: group.compare,
        ties: group.ties,
        members: group.members.iter().filter_map(member).collect(),
        state: book.group(name),
    }
}

fn destinations(destinations: &Destinations) -> Arc<policy::Destinations> {
    match destinations {
        Destinations::Default => Arc::clone(policy::Destinations::default_table()),
        Destinations::Own(own) => Arc::new(policy::Destinations::own(own.base, &own.allow, &own.deny)),
    }
}

fn rules(rules: &Thresholds) -> fraud::Rules {
    fraud::Rules {
        cpm: rules.cpm,
        concurrent: rules.concurrent,
        total: rules.total,
        sequential: rules.sequential,
        duration: rules.duration,
        spend: rules.spend,
        distinct: rules.distinct,
        short_calls: rules.short_calls.as_ref().map(|rule| fraud::ShortCalls {
            ratio: rule.ratio,
            under: rule.under,
            min_calls: rule.min_calls,
        }),
        answer_ratio: rules
            .answer_ratio
            .as_ref()
            .map(|rule| fraud::AnswerRatio { below: rule.below.0, min_calls: rule.min_calls }),
    }
}

fn unknown(unknown: &Unknown, book: &mut PoolBook) -> spec::Unknown {
    let places = Bounds { calls: unknown.divert_calls, ..Bounds::default() };
    spec::Unknown {
        answer: match unknown.answer {
            Answer::Silent => UnknownAnswer::Silent,
            Answer::Forbidden => UnknownAnswer::Forbidden,
            Answer::Attack => UnknownAnswer::Attack,
            Answer::Divert(_) => UnknownAnswer::Divert,
        },
        guard: GuardSpec {
            ban_after: unknown.ban_after,
            ban: Some(unknown.ban),
            window: unknown.window,
            flood: unknown.flood.0.map(|flood| policy::guard::Rate { requests: flood.count, per: flood.per }),
            scanners: unknown.scanners,
            scanner_names: unknown.scanner_names.clone(),
            exempt: unknown
                .exempt
                .iter()
                .map(|network| Network { address: network.address, bits: network.prefix })
                .collect(),
        },
        divert: spec::Divert {
            pool: book.pool("divert", "divert", places),
            duration: unknown.divert_duration,
        },
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

fn matching(route: &Route, names: Names<'_>) -> Match {
    Match {
        from: From { trunks: names.trunks(&route.from), accounts: names.accounts(&route.from) },
        to: route.to.iter().map(|to| to.0.clone()).collect(),
        caller: route.caller.iter().map(|caller| caller.0.clone()).collect(),
        headers: route.headers.0.iter().map(|(name, value)| (name.clone(), value.0.0.clone())).collect(),
        when: route.when.clone(),
    }
}

fn route(route: &Route, names: Names<'_>, texts: Texts) -> Option<spec::Route> {
    let action = match (&route.via, route.reject) {
        (Some(via), _) => spec::Action::To(names.way(via)?),
        (None, Some(code)) => spec::Action::Reject(code.0),
        (None, None) => return None,
    };
    let template = route.callee.as_ref().map(|callee| callee.template.clone());
    Some(spec::Route {
        name: route.name.to_string(),
        action,
        to: match template {
            Some(_) => route.to.iter().map(|to| to.0.clone()).collect(),
            None => Vec::new(),
        },
        callee: template,
        set_caller: route.set_caller.as_ref().map(|caller| caller.template.clone()),
        set_headers: route.set_headers.0.iter().map(|(name, text)| (name.clone(), text.0.clone())).collect(),
        resources: route.resources.iter().map(ToString::to_string).collect(),
        class: route.class,
        hook: route.hook.as_ref().map(|hook| spec::Hook {
            url: hook.url.0.clone(),
            deadline: hook.deadline,
            cache: hook.cache,
            goes_on: hook.on_timeout == OnTimeout::Continue,
        }),
        texts: route.texts.unwrap_or(texts),
        max_duration: route.max_duration.0,
    })
}

/// What routes say that say nothing themselves: what all listeners with SIP say.
fn common_texts(listeners: &Objects<Listener>) -> Texts {
    let mut texts = listeners.iter().filter(|(_, l)| !l.sip.is_empty()).map(|(_, l)| l.texts);
    let first = texts.next().unwrap_or_default();
    if texts.all(|other| other == first) { first } else { Texts::default() }
}

fn number_rule(rule: &NumberRule, names: Names<'_>) -> Rewriting {
    Rewriting {
        name: rule.name.to_string(),
        on: rule.on,
        trunk: names.trunks(&rule.trunk),
        matches: rule.matches.0.clone(),
        to: rule.to.template.clone(),
    }
}

const ONE_SIDE_NOTICED: Duration = Duration::from_secs(30);
/// Keys of a limit that does not say how many.
const KEYS: u32 = 100_000;
/// First digits that make a prefix, where a policy does not say.
const PREFIX_DIGITS: u8 = 4;
