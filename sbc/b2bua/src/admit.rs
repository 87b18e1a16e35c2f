//! Whether a request may become a call, and which. One function that reads top to bottom: who, guard, what, may it,
//! where. It is pure and changes nothing; what counts (fraud, the lease: "how much") is done by the caller afterwards,
//! last of all. `route explain` runs the same function with a witness that takes notes.

use crate::explain::Tell;
use crate::headers::SUPPORTED;
use crate::hop;
use crate::judge::{self, Who};
use crate::number::{Pattern, Template};
use crate::refusal::Refusal;
use crate::spec::{Action, NumberOf, Route, Spec, Texts, Transport, UnknownAnswer};
use crate::trunk::Identities;
use base::{Duration, HashKey, Now};
use core::net::SocketAddr;
use ledger::{Class, HookAnswer, HookQuestion};
use routing::group::Way;
use routing::rewrite;
use routing::table::Asked;
use sip::message::{Message, Method, Name, Scheme};

/// What `admit` looks at, besides the message.
#[derive(Clone, Copy)]
pub struct World<'w> {
    /// Now.
    pub now: Now,
    /// The configuration in force.
    pub spec: &'w Spec,
    /// Its sources, resolved.
    pub identities: &'w Identities,
    /// The installation's secret.
    pub secret: &'w HashKey,
    /// No new calls are wanted.
    pub draining: bool,
    /// The shard is behind.
    pub overloaded: bool,
}

/// Where a request came from.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The listener that received it.
    pub listener: usize,
    /// How.
    pub transport: Transport,
    /// From where.
    pub source: SocketAddr,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A call.
    Admit(Box<Admitted>),
    /// No call; the sender is told.
    Refuse(Refused),
    /// The route's hook has to be asked; with its answer `admit` is run again.
    Ask(Box<HookQuestion>),
    /// No call: it is answered and held, and leads nowhere.
    Divert,
    /// No call, and no answer.
    Silence,
}

/// A refusal with what the record and the answer say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub refusal: Refusal,
    /// Index of the source trunk, if there is one.
    pub trunk: Option<usize>,
    /// Index of the account, if there is one.
    pub account: Option<usize>,
    /// Index of the route, if one was found.
    pub route: Option<usize>,
    /// Which codes and texts the caller gets.
    pub texts: Texts,
    /// The policy that refused, or the limit that is full.
    pub by: Option<String>,
    /// More for people, in the answer's Reason header.
    pub detail: Option<String>,
}

impl Refused {
    /// Without further words.
    pub fn new(refusal: Refusal, trunk: Option<usize>) -> Self {
        let (account, route, by, detail) = (None, None, None, None);
        Refused { refusal, trunk, account, route, texts: Texts::Rfc, by, detail }
    }
}

/// An admitted call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Index of the trunk that it came from.
    pub trunk: usize,
    /// Index of the account that calls, if one does.
    pub account: Option<usize>,
    /// Index of the route.
    pub route: usize,
    /// Where it goes: as the route says, or its hook.
    pub way: Way,
    /// Calling number after all rewriting, unescaped.
    pub caller: Vec<u8>,
    /// Called number after all rewriting, unescaped.
    pub callee: Vec<u8>,
    /// Parameters of the called number, from their first `;` on.
    pub callee_params: Vec<u8>,
    /// What it may take of what is reserved.
    pub class: Class,
    /// Headers to set on the outgoing leg.
    pub set_headers: Vec<(String, Vec<u8>)>,
    /// The call ends after this.
    pub max_duration: Option<Duration>,
    /// For the next leg.
    pub max_forwards: u8,
    /// Value of the hop token for the next leg.
    pub hop_token: Vec<u8>,
}

/// Longest number that is one.
pub const NUMBER_MAX: usize = 128;

/// Decides on a request that would start a call. `hooked` is the answer of the hook that an earlier run asked for.
pub fn admit(
    world: &World<'_>,
    origin: Origin,
    message: &Message<'_>,
    hooked: Option<&HookAnswer>,
    tell: &mut impl Tell,
) -> Decision {
    // 1. who
    let Some(trunk) = identify(world, origin, message) else {
        tell.say("who", || format!("{} belongs to no trunk", origin.source));
        return unknown(world.spec, message);
    };
    tell.say("who", || format!("{} is trunk {}", origin.source, world.spec.trunks[trunk].name));
    // Accounts call from where they have registered: theirs is the registrar's to say.
    decide(world, Who { trunk, account: None }, origin, message, hooked, tell)
}

/// Steps 2 to 5, for a caller who is known.
pub fn decide(
    world: &World<'_>,
    who: Who,
    origin: Origin,
    message: &Message<'_>,
    hooked: Option<&HookAnswer>,
    tell: &mut impl Tell,
) -> Decision {
    let Who { trunk, account } = who;
    let spec = world.spec;
    let refused = |refusal| Refused {
        account,
        texts: spec.listeners.get(origin.listener).map_or(Texts::Rfc, |l| l.texts),
        ..Refused::new(refusal, Some(trunk))
    };
    let refuse = |refusal| Decision::Refuse(refused(refusal));

    // 2. guard
    if let Some(status) = earned(message) {
        tell.say("guard", || format!("the message earns a {status}"));
        return refuse(if status == 483 { Refusal::TooManyHops } else { Refusal::Message(status) });
    }

    // 3. what
    let Some((callee, callee_params)) = callee(message) else { return refuse(Refusal::BadNumber) };
    let from = message.from().parsed();
    let caller = from.as_ref().and_then(|uri| uri.user_text()).unwrap_or_default();
    if callee.is_empty() || callee.len() > NUMBER_MAX || caller.len() > NUMBER_MAX {
        tell.say("what", || format!("a number of {} characters is none", callee.len().max(caller.len())));
        return refuse(Refusal::BadNumber);
    }
    let callee = rewrite(&spec.number_rules, NumberOf::Callee, Some(trunk), &callee, tell);
    let caller = rewrite(&spec.number_rules, NumberOf::Caller, Some(trunk), &caller, tell);
    if callee.is_empty() || callee.len() > NUMBER_MAX || caller.len() > NUMBER_MAX {
        tell.say("what", || "the number rules leave no number".to_owned());
        return refuse(Refusal::BadNumber);
    }
    let emergency = spec.emergency.iter().any(|number| number.as_slice() == callee.as_ref());
    if emergency {
        tell.say("what", || format!("{} is an emergency number", text(&callee)));
    }
    if !emergency && world.draining {
        tell.say("guard", || "no new calls are taken: draining".to_owned());
        return refuse(Refusal::Draining);
    }
    if !emergency && world.overloaded {
        tell.say("guard", || "no new calls are taken: overload".to_owned());
        return refuse(Refusal::Overload);
    }
    let mark = hop::mark(world.secret, &spec.trunks[trunk].name, &caller, &callee);
    if hop::is_loop(tokens(message), mark) {
        return refuse(Refusal::Loop);
    }

    // 5. where. Looked up before it is judged, since a route may rewrite the number; nobody is called before 4.
    let header = |name: &str, holds: &mut dyn FnMut(&[u8]) -> bool| {
        message.headers().any(|f| f.raw_name.eq_ignore_ascii_case(name.as_bytes()) && holds(f.value))
    };
    let asked = Asked {
        trunk: Some(trunk),
        account,
        caller: &caller,
        callee: &callee,
        now: world.now.wall,
        header: &header,
    };
    let found = spec.table.find(&asked, tell).map(|index| (index, &spec.routes[index]));
    let (mut dialled, mut shown) = match found {
        Some((_, route)) => (
            reshape(route.callee.as_ref(), &route.to, &callee),
            reshape(route.set_caller.as_ref(), &[], &caller),
        ),
        None => (callee.to_vec(), caller.to_vec()),
    };
    if let Some(HookAnswer::Route { to, from, .. }) = hooked {
        dialled = to.as_ref().map_or(dialled, |to| to.as_bytes().to_vec());
        shown = from.as_ref().map_or(shown, |from| from.as_bytes().to_vec());
    }
    if dialled.is_empty() || dialled.len() > NUMBER_MAX {
        return refuse(Refusal::BadNumber);
    }

    // 4. may it: judged on the number that would be dialled, technical prefixes apart (requirements 2.6).
    let refused = |refusal| Refused {
        route: found.map(|(index, _)| index),
        texts: found.map_or(refused(refusal).texts, |(_, route)| route.texts),
        ..refused(refusal)
    };
    if emergency {
        tell.say("may it", || "an emergency: no policy is asked".to_owned());
    } else if let Err(denied) = judge::may(world, who, &shown, &dialled, tell) {
        let detail = Some(denied.rule);
        return Decision::Refuse(Refused { by: Some(denied.policy), detail, ..refused(denied.refusal) });
    }

    let Some((index, route)) = found else { return Decision::Refuse(refused(Refusal::NoRoute)) };
    let way = match route.action {
        Action::To(way) => way,
        Action::Reject(status) => return Decision::Refuse(refused(Refusal::ByRoute(status))),
    };
    let way = match (&route.hook, hooked) {
        (None, _) | (Some(_), Some(HookAnswer::Continue)) => way,
        // Nothing that can fail stands between a caller and help (requirements S4-8).
        (Some(hook), _) if emergency => {
            tell.say("where", || format!("hook {} is not asked: an emergency", hook.url));
            way
        }
        (Some(hook), None) => {
            tell.say("where", || format!("hook {} would be asked", hook.url));
            return Decision::Ask(Box::new(HookQuestion {
                url: hook.url.clone(),
                deadline: hook.deadline,
                cache: hook.cache,
                call_id: text(message.call_id()),
                facts: facts(spec, who, route, origin, &shown, &dialled, message),
            }));
        }
        (Some(hook), Some(HookAnswer::Failed(failed))) if hook.goes_on => {
            tell.say("where", || format!("hook {}: {}; the call goes on", hook.url, failed.name()));
            way
        }
        (Some(hook), Some(HookAnswer::Failed(failed))) => {
            let detail = Some(format!("hook {}", failed.name()));
            tell.say("where", || {
                format!("hook {}: {}; nobody calls without an answer", hook.url, failed.name())
            });
            return Decision::Refuse(Refused { detail, ..refused(Refusal::HookFailed) });
        }
        (Some(_), Some(HookAnswer::Reject { status, reason })) => {
            let detail = reason.clone();
            return Decision::Refuse(Refused { detail, ..refused(Refusal::ByHook(*status)) });
        }
        (Some(_), Some(HookAnswer::Route { via: None, .. })) => way,
        (Some(_), Some(HookAnswer::Route { via: Some(name), .. })) => match way_named(spec, name) {
            Some(way) => way,
            None => {
                let detail = Some(format!(
                    "hook names no trunk or group: {}",
                    name.chars().take(64).collect::<String>()
                ));
                return Decision::Refuse(Refused { detail, ..refused(Refusal::HookFailed) });
            }
        },
    };
    let mut max_duration = route.max_duration;
    let mut set_headers: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, value) in &route.set_headers {
        let value = fill(value, spec, who, &shown, &dialled);
        set_headers.push((name.clone(), value));
    }
    if let Some(HookAnswer::Route { headers, max_duration: hooked_max, .. }) = hooked {
        set_headers.extend(headers.iter().map(|(name, value)| (name.clone(), clean(value.as_bytes()))));
        max_duration = [max_duration, *hooked_max].into_iter().flatten().min();
    }
    let own = spec.trunks[trunk].class;
    Decision::Admit(Box::new(Admitted {
        trunk,
        account,
        route: index,
        way,
        class: if emergency { Class::Emergency } else { route.class.unwrap_or(own) },
        set_headers,
        max_duration,
        // RFC 3261 section 16.6: one hop is used up by us, as if we were a proxy; 70 where none is given.
        max_forwards: message.max_forwards().map_or(70, |n| n.saturating_sub(1)),
        hop_token: hop::append(tokens(message), mark),
        caller: shown,
        callee: dialled,
        callee_params,
    }))
}

/// What a template of a route makes of a number: groups are those of the first pattern that matches it.
fn reshape(template: Option<&Template>, patterns: &[Pattern], number: &[u8]) -> Vec<u8> {
    let Some(template) = template else { return number.to_vec() };
    let none = Pattern::Exact(Vec::new());
    let pattern = patterns.iter().find(|pattern| pattern.matches(number)).unwrap_or(&none);
    template.apply(pattern, number)
}

/// The trunk or group of this name.
fn way_named(spec: &Spec, name: &str) -> Option<Way> {
    let trunk = spec.trunks.iter().position(|t| t.name == name).map(Way::Trunk);
    trunk.or_else(|| spec.groups.iter().position(|g| g.name == name).map(Way::Group))
}

/// What a hook is told.
fn facts(
    spec: &Spec,
    who: Who,
    route: &Route,
    origin: Origin,
    caller: &[u8],
    callee: &[u8],
    message: &Message<'_>,
) -> Vec<(String, String)> {
    let account = who.account.map(|a| spec.accounts[a].name.clone());
    let known = [
        ("route", Some(route.name.clone())),
        ("trunk", Some(spec.trunks[who.trunk].name.clone())),
        ("account", account),
        ("from", Some(text(caller))),
        ("to", Some(text(callee))),
        ("source", Some(origin.source.ip().to_string())),
    ];
    let known = known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let business = crate::headers::tags(message).into_iter();
    known.chain(business.map(|(name, value)| (format!("headers.{name}"), value))).collect()
}

/// A header's value with what stands in braces filled in.
fn fill(value: &str, spec: &Spec, who: Who, caller: &[u8], callee: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 16);
    let mut rest = value;
    while let Some(at) = rest.find('{') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let Some(end) = rest[at..].find('}') else { break };
        match &rest[at + 1..at + end] {
            "caller" => out.extend_from_slice(caller),
            "callee" => out.extend_from_slice(callee),
            "trunk" => out.extend_from_slice(spec.trunks[who.trunk].name.as_bytes()),
            "account" => {
                let name = who.account.map(|a| spec.accounts[a].name.as_str()).unwrap_or_default();
                out.extend_from_slice(name.as_bytes());
            }
            _ => out.extend_from_slice(&rest.as_bytes()[at..=at + end]),
        }
        rest = &rest[at + end + 1..];
    }
    out.extend_from_slice(rest.as_bytes());
    clean(&out)
}

/// What came from outside cannot begin a line of its own.
fn clean(value: &[u8]) -> Vec<u8> {
    value.iter().map(|b| if *b < b' ' || *b == 0x7f { b' ' } else { *b }).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The trunk that a request is from.
pub fn identify(world: &World<'_>, origin: Origin, message: &Message<'_>) -> Option<usize> {
    world.identities.find(origin.listener, origin.transport, origin.source, message.top_via().port)
}

/// What nobody gets.
pub fn unknown(spec: &Spec, message: &Message<'_>) -> Decision {
    let refuse = |refusal| Decision::Refuse(Refused::new(refusal, None));
    match spec.unknown.answer {
        UnknownAnswer::Silent => Decision::Silence,
        UnknownAnswer::Forbidden => refuse(Refusal::UnknownSource),
        UnknownAnswer::Attack => match claims_account(spec, message) {
            true => refuse(Refusal::AttackRegistrar),
            false => refuse(Refusal::Attack),
        },
        UnknownAnswer::Divert if message.method() == Method::Invite && message.to_tag().is_none() => {
            Decision::Divert
        }
        UnknownAnswer::Divert => Decision::Silence,
    }
}

/// From names a domain whose phones register here.
fn claims_account(spec: &Spec, message: &Message<'_>) -> bool {
    let Some(from) = message.from().parsed() else { return false };
    let domain_of = |name: &str| name.split_once('@').map(|(_, domain)| domain.to_owned());
    spec.accounts
        .iter()
        .filter_map(|a| domain_of(&a.name))
        .any(|d| d.as_bytes().eq_ignore_ascii_case(from.host))
}

/// The status that a request earns by itself, whoever sent it.
pub fn earned(message: &Message<'_>) -> Option<u16> {
    message.earns(&SUPPORTED)
}

/// The number that was asked for and its parameters: user of a `sip:` URI, or number of a `tel:` one.
fn callee(message: &Message<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let uri = message.request_uri()?;
    let user = uri.user_text()?;
    let is_number =
        uri.scheme == Scheme::Tel || user.first().is_some_and(|b| *b == b'+' || b.is_ascii_digit());
    // Parameters of a telephone number are not part of it (RFC 3966 section 3, RFC 3261 section 19.1.6).
    let end = user.iter().position(|b| *b == b';').filter(|_| is_number).unwrap_or(user.len());
    let (number, params) = user.split_at(end);
    match uri.scheme {
        // Separators of tel numbers are for people (RFC 3966 section 5.1.1).
        Scheme::Tel => {
            let number = number.iter().copied().filter(|b| !matches!(b, b'-' | b'.' | b'(' | b')')).collect();
            Some((number, Vec::new()))
        }
        _ => Some((number.to_vec(), params.to_vec())),
    }
}

fn tokens<'m>(message: &'m Message<'_>) -> impl Iterator<Item = &'m [u8]> {
    message
        .headers()
        .filter(|f| f.name == Name::Other && f.raw_name.eq_ignore_ascii_case(hop::HEADER.as_bytes()))
        .map(|f| f.value)
}

/// Whether we take this method outside of a dialog at all.
pub fn is_taken(method: Method<'_>) -> bool {
    matches!(method, Method::Invite | Method::Options | Method::Message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::Pattern;
    use crate::spec::tests::trunk;
    use crate::spec::{Match, Order, Policy, Source};
    use policy::destination::Destinations;
    use routing::table::{From, Table};
    use sip::frame::Framing;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn spec() -> Spec {
        let source = Source::Net { address: "198.51.100.0".parse().unwrap(), prefix: 24, port: None };
        let from = From { trunks: vec![0], ..From::default() };
        let matching = Match { from, to: vec![Pattern::parse("1X.").unwrap()], ..Match::default() };
        Spec {
            trunks: vec![trunk("pbx", vec![source]), trunk("carrier", Vec::new())],
            routes: vec![Route::new("out", Action::To(Way::Trunk(1)))],
            table: Arc::new(Table::compile(vec![matching], Order::First)),
            ..Spec::default()
        }
    }

    /// An INVITE to this URI with these fields, from this address.
    fn decide(
        change: impl FnOnce(&mut World<'_>),
        spec: &Spec,
        source: &str,
        uri: &str,
        fields: &str,
    ) -> Decision {
        run(change, spec, source, uri, fields, None)
    }

    fn run(
        change: impl FnOnce(&mut World<'_>),
        spec: &Spec,
        source: &str,
        uri: &str,
        fields: &str,
        answer: Option<&HookAnswer>,
    ) -> Decision {
        let text = format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:100@b>;tag=1\r\nTo: <{uri}>\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:a@h>\r\n{fields}Content-Length: 0\r\n\r\n"
        );
        let message = Message::parse(text.as_bytes(), Framing::Datagram).map_err(|e| e.class).unwrap();
        let identities = Identities::new(spec, &BTreeMap::new());
        let secret = HashKey::new([1, 2]);
        let mut world = World {
            now: Now::default(),
            spec,
            identities: &identities,
            secret: &secret,
            draining: false,
            overloaded: false,
        };
        change(&mut world);
        let source = source.parse().unwrap();
        let origin = Origin { listener: 0, transport: Transport::Udp, source };
        admit(&world, origin, &message, answer, &mut ())
    }

    fn refusal(decision: &Decision) -> Option<(Refusal, Option<usize>)> {
        match decision {
            Decision::Refuse(refused) => Some((refused.refusal, refused.trunk)),
            _ => None,
        }
    }

    const PBX: &str = "198.51.100.7:5060";

    #[test]
    fn each_step_refuses_what_is_its_to_refuse() {
        let spec = spec();
        let check = |uri: &str, fields: &str, expected: Refusal| {
            let decision = decide(|_| {}, &spec, PBX, uri, fields);
            assert_eq!(refusal(&decision), Some((expected, Some(0))), "{uri} {fields}");
        };
        check("sip:123@h", "Max-Forwards: 0\r\n", Refusal::TooManyHops);
        check("sip:123@h", "Require: foo\r\n", Refusal::Message(420));
        check("http://h/", "", Refusal::Message(416));
        check("sip:h", "", Refusal::BadNumber);
        check(&format!("sip:1{}@h", "2".repeat(NUMBER_MAX)), "", Refusal::BadNumber);
        check("sip:23@h", "", Refusal::NoRoute);
        let mark = hop::mark(&HashKey::new([1, 2]), "pbx", b"100", b"123");
        check("sip:123@h", &format!("X-Hop-Token: {mark:016x}\r\n"), Refusal::Loop);
        let draining = decide(|w| w.draining = true, &spec, PBX, "sip:123@h", "");
        assert_eq!(refusal(&draining), Some((Refusal::Draining, Some(0))));
        let behind = decide(|w| w.overloaded = true, &spec, PBX, "sip:123@h", "");
        assert_eq!(refusal(&behind), Some((Refusal::Overload, Some(0))));
    }

    #[test]
    fn strangers_get_what_the_configuration_says() {
        let mut spec = spec();
        for (unknown, expected) in [
            (UnknownAnswer::Silent, Decision::Silence),
            (UnknownAnswer::Forbidden, Decision::Refuse(Refused::new(Refusal::UnknownSource, None))),
            (UnknownAnswer::Attack, Decision::Refuse(Refused::new(Refusal::Attack, None))),
            (UnknownAnswer::Divert, Decision::Divert),
        ] {
            spec.unknown.answer = unknown;
            assert_eq!(decide(|_| {}, &spec, "203.0.113.1:5060", "sip:123@h", ""), expected);
        }
        spec.unknown.answer = UnknownAnswer::Attack;
        spec.accounts.push(crate::spec::tests::account("2001@b"));
        let decision = decide(|_| {}, &spec, "203.0.113.1:5060", "sip:123@h", "");
        assert_eq!(refusal(&decision), Some((Refusal::AttackRegistrar, None)), "b is a domain of ours");
    }

    #[test]
    fn a_call_is_admitted_with_its_numbers_and_its_mark() {
        for (uri, number) in
            [("sip:12%33@h", "123"), ("tel:1-2(3).4;ext=5", "1234"), ("sip:123;isub=7@h", "123")]
        {
            let decision = decide(|_| {}, &spec(), PBX, uri, "Max-Forwards: 20\r\n");
            let Decision::Admit(admitted) = decision else { panic!("{uri}: {decision:?}") };
            assert_eq!(String::from_utf8_lossy(&admitted.callee), number);
            assert_eq!((admitted.trunk, admitted.route, admitted.max_forwards), (0, 0, 19));
            assert_eq!((admitted.caller.as_slice(), admitted.hop_token.len()), (&b"100"[..], 16));
        }
    }

    // ---- judgement

    /// Two policies: `geo` with the default table on trunk 0, and a route `out` that takes everything.
    fn judged() -> Spec {
        let mut spec = spec();
        spec.policies.push(Policy {
            name: "geo".into(),
            destinations: Some(Arc::clone(Destinations::default_table())),
            callers: None,
            fraud: None,
        });
        spec.trunks[0].policies = vec![0];
        spec.emergency = vec![b"911".to_vec()];
        spec.set_routes([(Match::default(), Route::new("out", Action::To(Way::Trunk(1))))], Order::First);
        spec
    }

    fn hooked(spec: &Spec, uri: &str, answer: Option<&HookAnswer>) -> Decision {
        run(|_| {}, spec, PBX, uri, "X-Tag: gold\r\n", answer)
    }

    #[test]
    fn a_policy_judges_the_number_that_would_be_dialled() {
        let mut spec = judged();
        let by = |decision: Decision| match decision {
            Decision::Refuse(refused) => refused.by,
            Decision::Admit(_) => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(by(hooked(&spec, "sip:+18765551234@h", None)).as_deref(), Some("geo"));
        assert_eq!(by(hooked(&spec, "sip:+14165551234@h", None)), None);
        assert_eq!(by(hooked(&spec, "sip:00018765551234@h", None)).as_deref(), Some("geo"), "not E.164");
        // A route that makes another number of it is judged by that one.
        spec.routes[0].callee = Some(Template::parse("+1876{2-}").unwrap());
        assert_eq!(by(hooked(&spec, "sip:+14165551234@h", None)).as_deref(), Some("geo"));
        // So is a hook.
        spec.routes[0].callee = None;
        spec.routes[0].hook = Some(hook(true));
        let elsewhere = HookAnswer::Route {
            via: None,
            to: Some("+5355512345".into()),
            from: None,
            headers: Vec::new(),
            max_duration: None,
        };
        assert_eq!(by(hooked(&spec, "sip:+14165551234@h", Some(&elsewhere))).as_deref(), Some("geo"));
    }

    #[test]
    fn an_emergency_is_asked_nothing() {
        let mut spec = judged();
        let Decision::Admit(admitted) = hooked(&spec, "sip:911@h", None) else {
            panic!("an emergency passes")
        };
        assert_eq!(admitted.class, Class::Emergency);
        spec.emergency.clear();
        assert!(
            matches!(hooked(&spec, "sip:911@h", None), Decision::Refuse(_)),
            "no number that the table allows"
        );
    }

    fn hook(goes_on: bool) -> crate::spec::Hook {
        let (deadline, cache) = (Duration::from_millis(200), Duration::from_secs(10));
        crate::spec::Hook { url: "http://192.0.2.9/route".into(), deadline, cache, goes_on }
    }

    #[test]
    fn a_hook_is_asked_and_its_answer_holds() {
        let mut spec = judged();
        spec.routes[0].hook = Some(hook(true));
        let ask = |spec: &Spec, answer: Option<&HookAnswer>| hooked(spec, "sip:+14165551234@h", answer);
        let Decision::Ask(question) = ask(&spec, None) else { panic!("nobody was asked") };
        let fact = |name: &str| question.facts.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(
            (fact("to"), fact("trunk"), fact("headers.X-Tag")),
            (Some("+14165551234"), Some("pbx"), Some("gold"))
        );
        assert!(matches!(ask(&spec, Some(&HookAnswer::Continue)), Decision::Admit(_)));
        let late = HookAnswer::Failed(ledger::HookFailed::Late);
        assert!(matches!(ask(&spec, Some(&late)), Decision::Admit(_)), "on_timeout = continue");
        spec.routes[0].hook = Some(hook(false));
        assert_eq!(refusal(&ask(&spec, Some(&late))), Some((Refusal::HookFailed, Some(0))));
        let reject = HookAnswer::Reject { status: 404, reason: Some("No Such Client".into()) };
        assert_eq!(refusal(&ask(&spec, Some(&reject))), Some((Refusal::ByHook(404), Some(0))));
        let elsewhere = |via: &str| HookAnswer::Route {
            via: Some(via.into()),
            to: None,
            from: Some("+15035550100".into()),
            headers: vec![("X-Client".into(), "a\r\nb".into())],
            max_duration: Some(Duration::from_secs(60)),
        };
        let Decision::Admit(admitted) = ask(&spec, Some(&elsewhere("pbx"))) else { panic!("pbx is a trunk") };
        assert_eq!((admitted.way, admitted.caller.as_slice()), (Way::Trunk(0), &b"+15035550100"[..]));
        assert_eq!(admitted.set_headers, [("X-Client".to_owned(), b"a  b".to_vec())], "no line of its own");
        assert_eq!(refusal(&ask(&spec, Some(&elsewhere("nobody")))), Some((Refusal::HookFailed, Some(0))));
    }

    #[test]
    fn an_emergency_waits_for_no_hook() {
        let mut spec = judged();
        spec.routes[0].hook = Some(hook(false));
        assert!(matches!(hooked(&spec, "sip:+14165551234@h", None), Decision::Ask(_)));
        let Decision::Admit(admitted) = hooked(&spec, "sip:911@h", None) else {
            panic!("an emergency passes")
        };
        assert_eq!(admitted.class, Class::Emergency);
    }

    #[test]
    fn odd_numbers_have_a_defined_outcome() {
        let mut spec = judged();
        spec.policies.clear();
        spec.trunks[0].policies.clear();
        let long = "1".repeat(10_000);
        for (uri, expected) in [
            ("sip:alice@h".to_owned(), None),
            (format!("sip:{long}@h"), Some(Refusal::BadNumber)),
            ("sip:+@h".to_owned(), None),
            ("sip:%2B1416%35551234@h".to_owned(), None),
            ("sip:%00@h".to_owned(), None),
            ("sip:@h".to_owned(), Some(Refusal::BadNumber)),
            ("sip:h".to_owned(), Some(Refusal::BadNumber)),
            ("tel:".to_owned(), Some(Refusal::BadNumber)),
        ] {
            let text = format!(
                "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:1@b>;tag=1\r\nTo: <sip:h>\r\n\
                 Call-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:a@h>\r\nContent-Length: 0\r\n\r\n"
            );
            // A URI that is none is refused before anybody looks at its number.
            let Ok(_) = Message::parse(text.as_bytes(), Framing::Datagram) else { continue };
            let shown = &uri[..uri.len().min(30)];
            match (hooked(&spec, &uri, None), expected) {
                (Decision::Admit(_), None) => {}
                (decision, Some(expected)) => {
                    let found = refusal(&decision).map(|(refusal, _)| refusal);
                    assert!(
                        found == Some(expected) || matches!(found, Some(Refusal::Message(_))),
                        "{shown}: {decision:?}"
                    );
                }
                (decision, None) => panic!("{shown}: {decision:?}"),
            }
        }
    }

    #[test]
    fn headers_are_set_with_what_the_call_is() {
        let mut spec = judged();
        spec.routes[0].set_headers = vec![("X-accountcode".into(), "{trunk}:{callee}/{unknown}".into())];
        spec.routes[0].set_caller = Some(Template::parse("+1{0-}").unwrap());
        let Decision::Admit(admitted) = hooked(&spec, "sip:+14165551234@h", None) else {
            panic!("it passes")
        };
        assert_eq!(admitted.set_headers[0].1, b"pbx:+14165551234/{unknown}");
        assert_eq!(admitted.caller, b"+1100");
    }
}
