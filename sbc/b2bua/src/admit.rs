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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::Pattern;
    use crate::spec::tests::trunk;
    use crate::spec::{Route, Source};
    use sip::frame::Framing;
    use std::collections::BTreeMap;

    fn spec() -> Spec {
        let source = Source::Net { address: "198.51.100.0".parse().unwrap(), prefix: 24, port: None };
        let to = vec![Pattern::parse("1X.").unwrap()];
        Spec {
            trunks: vec![trunk("pbx", vec![source]), trunk("carrier", Vec::new())],
            routes: vec![Route { name: "out".into(), from: vec![0], to, via: 1, max_duration: None }],
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
        let text = format!(
            "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:100@b>;tag=1\r\nTo: <{uri}>\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:a@h>\r\n{fields}Content-Length: 0\r\n\r\n"
        );
        let message = Message::parse(text.as_bytes(), Framing::Datagram).map_err(|e| e.class).unwrap();
        let identities = Identities::new(spec, &BTreeMap::new());
        let secret = HashKey::new([1, 2]);
        let mut world =
            World { spec, identities: &identities, secret: &secret, draining: false, overloaded: false };
        change(&mut world);
        let source = source.parse().unwrap();
        admit(&world, Origin { listener: 0, transport: Transport::Udp, source }, &message)
    }

    const PBX: &str = "198.51.100.7:5060";

    #[test]
    fn each_step_refuses_what_is_its_to_refuse() {
        let spec = spec();
        let check = |uri: &str, fields: &str, expected: Refusal| {
            let decision = decide(|_| {}, &spec, PBX, uri, fields);
            assert_eq!(decision, Decision::Refuse(expected, Some(0)), "{uri} {fields}");
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
        assert_eq!(draining, Decision::Refuse(Refusal::Draining, Some(0)));
        let behind = decide(|w| w.overloaded = true, &spec, PBX, "sip:123@h", "");
        assert_eq!(behind, Decision::Refuse(Refusal::Overload, Some(0)));
    }

    #[test]
    fn strangers_get_what_the_configuration_says() {
        let mut spec = spec();
        for (unknown, expected) in [
            (UnknownAnswer::Silent, Decision::Silence),
            (UnknownAnswer::Forbidden, Decision::Refuse(Refusal::UnknownSource, None)),
            (UnknownAnswer::Attack, Decision::Refuse(Refusal::Attack, None)),
        ] {
            spec.unknown = unknown;
            assert_eq!(decide(|_| {}, &spec, "203.0.113.1:5060", "sip:123@h", ""), expected);
        }
    }

    #[test]
    fn a_call_is_admitted_with_its_numbers_and_its_mark() {
        for (uri, number) in [("sip:12%33@h", "123"), ("tel:1-2(3).4;ext=5", "1234")] {
            let decision = decide(|_| {}, &spec(), PBX, uri, "Max-Forwards: 20\r\n");
            let Decision::Admit(admitted) = decision else { panic!("{uri}: {decision:?}") };
            assert_eq!(String::from_utf8_lossy(&admitted.callee), number);
            assert_eq!((admitted.trunk, admitted.route, admitted.max_forwards), (0, 0, 19));
            assert_eq!((admitted.caller.as_slice(), admitted.hop_token.len()), (&b"100"[..], 16));
        }
    }
}
