//! What is admitted and what is refused, step by step.

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
    answer: Option<&Hooked>,
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
    for (uri, number) in [("sip:12%33@h", "123"), ("tel:1-2(3).4;ext=5", "1234"), ("sip:123;isub=7@h", "123")]
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
    let said = answer.map(|answer| Hooked { route: "out".into(), answer: answer.clone() });
    run(|_| {}, spec, PBX, uri, "X-Tag: gold\r\n", said.as_ref())
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
    let Decision::Admit(admitted) = hooked(&spec, "sip:911@h", None) else { panic!("an emergency passes") };
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
    let Decision::Admit(admitted) = hooked(&spec, "sip:911@h", None) else { panic!("an emergency passes") };
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
    let Decision::Admit(admitted) = hooked(&spec, "sip:+14165551234@h", None) else { panic!("it passes") };
    assert_eq!(admitted.set_headers[0].1, b"pbx:+14165551234/{unknown}");
    assert_eq!(admitted.caller, b"+1100");
}

#[test]
fn parameters_lead_no_switch_to_a_number_that_nobody_judged() {
    let spec = judged();
    for (uri, params) in [
        ("sip:+14165550100;rn=+18765550100;npdi@h", ""),
        ("sip:+14165550100%3Brn=+18765550100@h", ""),
        ("sip:+14165550100;isub=7;rn=+18765550100;ext=9@h", ";isub=7;ext=9"),
        ("sip:911;rn=+18765550100;ext=9@h", ""),
    ] {
        let Decision::Admit(admitted) = hooked(&spec, uri, None) else { panic!("{uri} passes") };
        assert_eq!(String::from_utf8_lossy(&admitted.callee_params), params, "{uri}");
    }
}

#[test]
fn what_a_caller_wrote_begins_no_address_of_its_own() {
    let mut spec = judged();
    spec.routes[0].set_headers = vec![("P-Asserted-Identity".into(), "<sip:{callee}@x>".into())];
    spec.trunks[0].policies.clear();
    let Decision::Admit(admitted) = hooked(&spec, "sip:a%3E,%3Csip%3Ab@h", None) else { panic!("it passes") };
    assert_eq!(admitted.set_headers[0].1, b"<sip:a%3E%2C%3Csip%3Ab@x>");
}

#[test]
fn a_number_that_a_route_makes_an_emergency_is_one() {
    let mut spec = judged();
    spec.routes[0].callee = Some(Template::parse("{1-}").unwrap());
    let Decision::Admit(admitted) = hooked(&spec, "sip:9911@h", None) else { panic!("an emergency passes") };
    assert_eq!((admitted.class, admitted.callee.as_slice()), (Class::Emergency, &b"911"[..]));
}

#[test]
fn the_answer_of_another_routes_hook_means_nothing() {
    let mut spec = judged();
    spec.routes[0].hook = Some(hook(true));
    let said = Hooked { route: "another".into(), answer: HookAnswer::Continue };
    let decision = run(|_| {}, &spec, PBX, "sip:+14165551234@h", "", Some(&said));
    assert!(matches!(decision, Decision::Ask(_)), "{decision:?}");
}

#[test]
fn lists_of_callers_hear_of_asserted_identities_too() {
    let mut spec = judged();
    spec.policies[0].callers = Some(Arc::new(policy::numbers::Callers::new([], ["666*"]).unwrap()));
    let call = |fields: &str| run(|_| {}, &spec, PBX, "sip:+14165551234@h", fields, None);
    assert!(matches!(call(""), Decision::Admit(_)));
    let denied = call("P-Asserted-Identity: <sip:666123@b>\r\n");
    assert_eq!(refusal(&denied), Some((Refusal::Policy, Some(0))));
}
