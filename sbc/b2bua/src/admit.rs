//! Whether a request may become a call, and which. One function that reads top to bottom: who, guard, what, may it,
//! where. It is pure and changes nothing; the lease ("how much") is taken by the caller afterwards, last of all.

use crate::headers::SUPPORTED;
use crate::hop;
use crate::refusal::Refusal;
use crate::route;
use crate::spec::{NumberOf, Spec, Transport, UnknownAnswer};
use crate::trunk::Identities;
use base::HashKey;
use core::net::SocketAddr;
use sip::message::{Message, Method, Name, Scheme};

/// What `admit` looks at, besides the message.
#[derive(Clone, Copy)]
pub struct World<'w> {
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
    Admit(Admitted),
    /// No call; the sender is told.
    Refuse(Refusal, Option<usize>),
    /// No call, and no answer.
    Silence,
}

/// An admitted call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// Index of the trunk that it came from.
    pub trunk: usize,
    /// Index of the route.
    pub route: usize,
    /// Calling number after number rules, unescaped.
    pub caller: Vec<u8>,
    /// Called number after number rules, unescaped.
    pub callee: Vec<u8>,
    /// For the next leg.
    pub max_forwards: u8,
    /// Value of the hop token for the next leg.
    pub hop_token: Vec<u8>,
}

/// Longest number that is one.
const NUMBER_MAX: usize = 128;

/// Decides on a request that would start a call (or a MESSAGE outside of one).
pub fn admit(world: &World<'_>, origin: Origin, message: &Message<'_>) -> Decision {
    // 1. who
    let Some(trunk) = identify(world, origin, message) else { return unknown(world.spec) };
    let refuse = |refusal| Decision::Refuse(refusal, Some(trunk));

    // 2. guard
    if let Some(status) = earned(message) {
        return refuse(if status == 483 { Refusal::TooManyHops } else { Refusal::Message(status) });
    }
    if world.draining {
        return refuse(Refusal::Draining);
    }
    if world.overloaded {
        return refuse(Refusal::Overload);
    }

    // 3. what
    let Some(callee) = callee(message) else { return refuse(Refusal::BadNumber) };
    let from = message.from().parsed();
    let caller = from.as_ref().and_then(|uri| uri.user_text()).unwrap_or_default();
    let spec = world.spec;
    let callee = route::rewrite(spec, NumberOf::Callee, trunk, &callee);
    let caller = route::rewrite(spec, NumberOf::Caller, trunk, &caller);
    if callee.is_empty() || callee.len() > NUMBER_MAX {
        return refuse(Refusal::BadNumber);
    }
    let mark = hop::mark(world.secret, &spec.trunks[trunk].name, &caller, &callee);
    if hop::is_loop(tokens(message), mark) {
        return refuse(Refusal::Loop);
    }

    // 4. may it: destination policy judges the number here. There is none yet, so every number passes.

    // 5. where
    let Some((route, _)) = route::find(spec, trunk, &callee) else { return refuse(Refusal::NoRoute) };

    Decision::Admit(Admitted {
        trunk,
        route,
        // RFC 3261 section 16.6: one hop is used up by us, as if we were a proxy; 70 where none is given.
        max_forwards: message.max_forwards().map_or(70, |n| n.saturating_sub(1)),
        hop_token: hop::append(tokens(message), mark),
        caller: caller.into_owned(),
        callee: callee.into_owned(),
    })
}

/// The trunk that a request is from.
pub fn identify(world: &World<'_>, origin: Origin, message: &Message<'_>) -> Option<usize> {
    world.identities.find(origin.listener, origin.transport, origin.source, message.top_via().port)
}

/// What nobody gets.
pub fn unknown(spec: &Spec) -> Decision {
    match spec.unknown {
        UnknownAnswer::Silent => Decision::Silence,
        UnknownAnswer::Forbidden => Decision::Refuse(Refusal::UnknownSource, None),
        UnknownAnswer::Attack => Decision::Refuse(Refusal::Attack, None),
    }
}

/// The status that a request earns by itself, whoever sent it.
pub fn earned(message: &Message<'_>) -> Option<u16> {
    message.earns(&SUPPORTED)
}

/// The number that was asked for: user of a `sip:` URI, or number of a `tel:` one.
fn callee(message: &Message<'_>) -> Option<Vec<u8>> {
    let uri = message.request_uri()?;
    let text = uri.user_text()?;
    let number = match uri.scheme {
        // Separators of tel numbers are for people (RFC 3966 section 5.1.1); parameters are not part of the number.
        Scheme::Tel => text
            .iter()
            .copied()
            .take_while(|b| *b != b';')
            .filter(|b| !matches!(b, b'-' | b'.' | b'(' | b')'))
            .collect(),
        _ => text.into_owned(),
    };
    Some(number)
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
