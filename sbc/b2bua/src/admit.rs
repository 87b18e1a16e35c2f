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
    /// The caller shows another number than its own by our will: what asserts its own does not pass.
    pub is_renamed: bool,
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

/// What the hook of a route has said of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hooked {
    /// Name of the route whose hook it is: the answer means nothing to another.
    pub route: String,
    /// What it said.
    pub answer: HookAnswer,
}

/// Longest number that is one.
pub const NUMBER_MAX: usize = 128;

/// Decides on a request that would start a call. `hooked` is the answer of the hook that an earlier run asked for.
pub fn admit(
    world: &World<'_>,
    origin: Origin,
    message: &Message<'_>,
    hooked: Option<&Hooked>,
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
    hooked: Option<&Hooked>,
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
    let asked_for = callee;
    let callee = rewrite(&spec.number_rules, NumberOf::Callee, Some(trunk), &asked_for, tell);
    let caller = rewrite(&spec.number_rules, NumberOf::Caller, Some(trunk), &caller, tell);
    if callee.is_empty() || callee.len() > NUMBER_MAX || caller.len() > NUMBER_MAX {
        tell.say("what", || "the number rules leave no number".to_owned());
        return refuse(Refusal::BadNumber);
    }
    let asks_for_help = is_emergency(spec, &callee, tell);
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
    // A route may make an emergency number of what was asked for.
    let emergency = asks_for_help || is_emergency(spec, &dialled, tell);
    if !emergency && world.draining {
        tell.say("guard", || "no new calls are taken: draining".to_owned());
        return refuse(Refusal::Draining);
    }
    if !emergency && world.overloaded {
        tell.say("guard", || "no new calls are taken: overload".to_owned());
        return refuse(Refusal::Overload);
    }
    // The configuration or the time may lead to another route by now than to the one whose hook was asked.
    let hooked = hooked
        .filter(|hooked| !emergency && found.is_some_and(|(_, r)| r.hook.is_some() && r.name == hooked.route))
        .map(|hooked| &hooked.answer);
    let mut is_renamed = found.is_some_and(|(_, route)| route.set_caller.is_some());
    if let Some(HookAnswer::Route { to, from, .. }) = hooked {
        is_renamed |= from.is_some();
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
    } else if let Err(denied) = judge::may(world, who, &callers(&shown, message), &dialled, tell) {
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
    // What belongs to the number that was asked for says nothing about another one.
    let callee_params = if !emergency && dialled == asked_for { callee_params } else { Vec::new() };
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
        is_renamed,
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

fn is_emergency(spec: &Spec, number: &[u8], tell: &mut impl Tell) -> bool {
    let is_one = spec.emergency.iter().any(|known| known.as_slice() == number);
    if is_one {
        tell.say("what", || format!("{} is an emergency number", text(number)));
    }
    is_one
}

/// All that the caller says to be: the number it shows, and those that it asserts (RFC 3325).
fn callers(shown: &[u8], message: &Message<'_>) -> Vec<Vec<u8>> {
    let asserted = [Name::PAssertedIdentity, Name::PPreferredIdentity];
    let of_headers = asserted.into_iter().flat_map(|name| message.addresses(name));
    let users = of_headers.filter_map(|address| Some(address.parsed()?.user_text()?.into_owned()));
    core::iter::once(shown.to_vec()).chain(users).collect()
}

/// A header's value with what stands in braces filled in.
fn fill(value: &str, spec: &Spec, who: Who, caller: &[u8], callee: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len() + 16);
    let mut rest = value;
    while let Some(at) = rest.find('{') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let Some(end) = rest[at..].find('}') else { break };
        match &rest[at + 1..at + end] {
            // What a caller wrote cannot end an address or begin another one.
            "caller" => out.extend_from_slice(crate::call::escape_strictly(caller).as_bytes()),
            "callee" => out.extend_from_slice(crate::call::escape_strictly(callee).as_bytes()),
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

/// The number that was asked for and what belongs to it: user of a `sip:` URI, or number of a `tel:` one. Of the
/// parameters of a telephone number (RFC 3966 section 3, RFC 3261 section 19.1.6) only those pass that lead no switch
/// to another number: `rn`, `cic` and `npdi` (RFC 4694) would, unjudged.
fn callee(message: &Message<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let uri = message.request_uri()?;
    let user = uri.user_text()?;
    let is_number =
        uri.scheme == Scheme::Tel || user.first().is_some_and(|b| *b == b'+' || b.is_ascii_digit());
    if !is_number {
        return Some((user.into_owned(), Vec::new()));
    }
    let mut parts = user.split(|b| *b == b';');
    // Separators of tel numbers are for people (RFC 3966 section 5.1.1).
    let is_digit = |b: &u8| uri.scheme != Scheme::Tel || !matches!(b, b'-' | b'.' | b'(' | b')');
    let number = parts.next().unwrap_or_default().iter().copied().filter(is_digit).collect();
    let mut params = Vec::new();
    for part in parts {
        let name = part.split(|b| *b == b'=').next().unwrap_or_default();
        if [&b"isub"[..], b"ext", b"postd"].iter().any(|known| name.eq_ignore_ascii_case(known)) {
            params.push(b';');
            params.extend_from_slice(part);
        }
    }
    Some((number, params))
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
mod tests;
