//! A decision without a call, told step by step: an INVITE is written as the question describes it, and goes the way of
//! every INVITE up to the choice of a trunk, except that nothing is counted, taken or sent.

use super::Switch;
use crate::admit::{self, Admitted, Decision, Origin, World};
use crate::call::{Trunks, refusal_of};
use crate::explain::{Notes, Tell};
use crate::judge::{self, Who};
use crate::refusal::Refusal;
use crate::spec::{Spec, Texts, Transport};
use crate::trunk::Identities;
use base::{HashKey, Now, Rng};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use ledger::{Class, ExplainQuestion, Explanation, LimitHit};
use policy::fraud::{Action, Facts, Fraud};
use routing::group::{Candidate, Wanted, Way, choose};
use sip::frame::Framing;
use sip::message::Message;
use sip::message::write::Writer;
use std::collections::BTreeMap;

impl Switch {
    /// What would happen to a call.
    ///
    /// # Errors
    /// The question names what does not exist.
    pub fn explain(&self, now: Now, question: &ExplainQuestion) -> Result<Explanation, String> {
        let world = self.world(now);
        explain(&world, Some(&self.desk.config.shared.fraud), question)
    }
}

/// What would happen to a call by a configuration that is not in force: names of sources are not looked up, and all
/// limits are free.
///
/// # Errors
/// The question names what does not exist.
pub fn explain_offline(now: Now, spec: &Spec, question: &ExplainQuestion) -> Result<Explanation, String> {
    let identities = Identities::new(spec, &BTreeMap::new());
    let secret = HashKey::new([0, 0]);
    let world =
        World { now, spec, identities: &identities, secret: &secret, draining: false, overloaded: false };
    explain(&world, None, question)
}

fn explain(
    world: &World<'_>,
    fraud: Option<&Fraud>,
    question: &ExplainQuestion,
) -> Result<Explanation, String> {
    let spec = world.spec;
    let mut notes = Notes::new(spec);
    let named = |kind: &str, name: &str| format!("there is no {kind} \"{name}\"");
    let account = match &question.account {
        Some(name) => {
            let index = spec.accounts.iter().position(|a| a.name == *name);
            Some(index.ok_or_else(|| named("account", name))?)
        }
        None => None,
    };
    let trunk = match &question.trunk {
        Some(name) => {
            let index = spec.trunks.iter().position(|t| t.name == *name);
            Some(index.ok_or_else(|| named("trunk", name))?)
        }
        None => None,
    };
    let source = question.source.unwrap_or(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 5060));
    let origin = Origin { listener: 0, transport: Transport::Udp, source };
    let bytes = invite(question, account.map(|index| spec.accounts[index].name.as_str()), source);
    let message = Message::parse(&bytes, Framing::Datagram)
        .map_err(|error| format!("the call cannot be made: {}", error.class))?;
    let world = World { now: Now { wall: question.at.unwrap_or(world.now.wall), ..world.now }, ..*world };
    let trunk = trunk.or_else(|| {
        let listeners = 0..spec.listeners.len().max(1);
        listeners
            .into_iter()
            .find_map(|l| world.identities.find(l, Transport::Udp, source, Some(source.port())))
    });
    let mut told =
        Explanation { caller: question.from.clone(), callee: question.to.clone(), ..Explanation::default() };
    told.account = account.map(|index| spec.accounts[index].name.clone());
    let decision = match (trunk, account) {
        (Some(trunk), account) => {
            notes.say("who", || match account {
                Some(index) => {
                    format!("account {} by trunk {}", spec.accounts[index].name, spec.trunks[trunk].name)
                }
                None => format!("trunk {}", spec.trunks[trunk].name),
            });
            told.trunk_in = Some(spec.trunks[trunk].name.clone());
            admit::decide(&world, Who { trunk, account }, origin, &message, None, &mut notes)
        }
        (None, Some(_)) => {
            return Err("an account's calls come by a trunk: name it by `trunk` or `source`".to_owned());
        }
        (None, None) => {
            notes.say("who", || format!("{source} belongs to no trunk"));
            admit::unknown(spec, &message)
        }
    };
    match decision {
        Decision::Admit(admitted) => {
            admit_told(&world, fraud, origin, &message, &admitted, &mut notes, &mut told);
        }
        Decision::Refuse(refused) => {
            told.route = refused.route.map(|index| spec.routes[index].name.clone());
            refuse_told(&mut told, refused.refusal, refused.texts);
        }
        Decision::Ask(question) => {
            told.verdict = "ask";
            told.route =
                question.facts.iter().find(|(name, _)| name == "route").map(|(_, value)| value.clone());
        }
        Decision::Divert => told.verdict = "divert",
        Decision::Silence => told.verdict = "silence",
    }
    told.steps = notes.steps;
    Ok(told)
}

/// Steps that follow admission: fraud, limits, the choice of a trunk.
fn admit_told(
    world: &World<'_>,
    fraud: Option<&Fraud>,
    origin: Origin,
    message: &Message<'_>,
    admitted: &Admitted,
    notes: &mut Notes<'_>,
    told: &mut Explanation,
) {
    let spec = world.spec;
    let (trunk, route) = (&spec.trunks[admitted.trunk], &spec.routes[admitted.route]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (told.caller, told.callee) = (text(&admitted.caller), text(&admitted.callee));
    told.route = Some(route.name.clone());
    let who = Who { trunk: admitted.trunk, account: admitted.account };
    if let Some(fraud) = fraud.filter(|_| admitted.class != Class::Emergency) {
        let facts = Facts {
            account: admitted.account.map(|account| spec.accounts[account].name.as_str()),
            trunk: &trunk.name,
            caller: &admitted.caller,
            callee: &admitted.callee,
            source: origin.source.ip(),
        };
        let (mut is_refused, mut is_diverted) = (false, false);
        for finding in fraud.peek(world.now, &judge::profiles(spec, who), &facts) {
            notes.say("may it", || {
                let (policy, rule, level) = (&finding.profile.name, finding.rule, finding.level.word());
                format!("policy {policy}: {rule} is {} of {} ({level})", finding.value, finding.threshold)
            });
            for action in finding.actions() {
                // As `Switch::act`: what puts a trunk out of use refuses the call that did it.
                is_refused |= match action {
                    Action::Reject => true,
                    Action::Disable(_) => finding.first,
                    _ => false,
                };
                is_diverted |= matches!(action, Action::Divert(_));
            }
        }
        if is_refused {
            return refuse_told(told, Refusal::Fraud, route.texts);
        }
        if is_diverted {
            told.verdict = "divert";
            return;
        }
    }
    let source = origin.source.ip().to_string();
    let account = admitted.account.map(|account| &spec.accounts[account]);
    let pools = [Some(&trunk.pool), account.map(|account| &account.pool)].into_iter().flatten();
    for pool in pools {
        let verdict = pool.check(world.now.mono, admitted.class);
        notes.say("how much", || limit_line(pool.name(), pool.used(), pool.bounds().calls, verdict.is_ok()));
        if let Err(why) = verdict {
            let hit = LimitHit { limit: pool.name().to_owned(), why };
            return refuse_told(told, refusal_of(&hit), route.texts);
        }
    }
    let of_account = account.map(|account| account.limits.iter()).into_iter().flatten();
    for limit in trunk.limits_in.iter().chain(of_account) {
        let (name, used, max, verdict) =
            limit.look(world.now.mono, admitted.class, &admitted.caller, &admitted.callee, source.as_bytes());
        notes.say("how much", || limit_line(name, used, max, verdict.is_ok()));
        if let Err(why) = verdict {
            let hit = LimitHit { limit: name.to_owned(), why };
            return refuse_told(told, refusal_of(&hit), route.texts);
        }
    }
    let wanted = Wanted {
        resources: &route.resources,
        tried: &[],
        exceed: admitted.class == Class::Emergency,
        dry: true,
        caller: &admitted.caller,
        callee: &admitted.callee,
        call_id: message.call_id(),
        source: source.as_bytes(),
    };
    let mut trunks = Trunks { spec, now: world.now.mono, even_dead: false };
    // A look takes nothing: a limit that has room now counts as taken.
    let look = |candidate: &Candidate<'_>| {
        let target = &spec.trunks[candidate.trunk];
        let full = |limit: &str| limit.to_owned();
        target.pool.check(world.now.mono, admitted.class).map_err(|_| full(target.pool.name()))?;
        for limit in &target.limits_out {
            let (name, _, _, verdict) = limit.look(
                world.now.mono,
                admitted.class,
                &admitted.caller,
                &admitted.callee,
                source.as_bytes(),
            );
            verdict.map_err(|_| full(name))?;
        }
        for pool in candidate.resources.iter() {
            pool.check(world.now.mono, admitted.class).map_err(|_| full(pool.name()))?;
        }
        Ok(())
    };
    let mut rng = Rng::from_seed(world.now.mono.0);
    let mut chosen = choose(&spec.groups, admitted.way, &wanted, &trunks, &mut rng, look, notes);
    if chosen.is_err() && admitted.class == Class::Emergency {
        notes.say("where", || "an emergency: what may be dead is tried too".to_owned());
        trunks.even_dead = true;
        chosen = choose(&spec.groups, admitted.way, &wanted, &trunks, &mut rng, look, notes);
    }
    match chosen {
        Ok((chosen, ())) => {
            told.verdict = "route";
            told.group = chosen.path.first().map(|(group, _)| spec.groups[*group].name.clone());
            let target = &spec.trunks[chosen.trunk];
            told.trunk_out = Some(target.name.clone());
            told.uri = target.to.first().map(|to| {
                let number =
                    crate::call::escape_user(&[chosen.shape.prefix.as_slice(), &admitted.callee].concat());
                let host = chosen.shape.host.as_deref().map(str::to_owned);
                let port = to.port.map(|port| format!(":{port}")).unwrap_or_default();
                format!("sip:{number}@{}", host.unwrap_or_else(|| format!("{}{port}", to.host)))
            });
            if let Some(caller) = chosen.shape.caller.filter(|caller| !caller.is_empty()) {
                told.caller = text(&caller);
            }
        }
        Err(outcome) => {
            let refusal = match (outcome.into(), admitted.way) {
                (Refusal::GroupFull, Way::Trunk(_)) => Refusal::LimitFull,
                (refusal, _) => refusal,
            };
            refuse_told(told, refusal, route.texts);
        }
    }
}

fn limit_line(name: &str, used: u32, max: u32, free: bool) -> String {
    let of = if max == u32::MAX { "without bound".to_owned() } else { format!("of {max}") };
    format!("limit {name}: {used} in use {of}{}", if free { "" } else { ": no place" })
}

fn refuse_told(told: &mut Explanation, refusal: Refusal, texts: Texts) {
    let status = refusal.status(texts);
    let phrase = refusal.phrase(texts).unwrap_or(sip::message::write::reason(status));
    told.verdict = "refuse";
    told.status = Some((status, phrase.to_owned()));
    told.refusal = Some(refusal.name());
}

/// The INVITE of the question.
fn invite(question: &ExplainQuestion, account: Option<&str>, source: SocketAddr) -> Vec<u8> {
    let escape = |number: &str| crate::call::escape_user(number.as_bytes());
    let uri = format!("sip:{}@strowger.invalid", escape(&question.to));
    let from = match account {
        Some(account) if question.from.is_empty() => format!("<sip:{account}>;tag=explain"),
        _ => format!("<sip:{}@{source}>;tag=explain", escape(&question.from)),
    };
    let mut writer = Writer::request(b"INVITE", uri.as_bytes());
    writer
        .header("Via", format!("SIP/2.0/UDP {source};branch=z9hG4bKexplain"))
        .header("Max-Forwards", "70")
        .header("From", from)
        .header("To", format!("<{uri}>"))
        .header("Call-ID", "explain")
        .header("CSeq", "1 INVITE")
        .header("Contact", format!("<sip:{source}>"));
    for (name, value) in &question.headers {
        let clean: String = value.chars().filter(|c| !c.is_control()).collect();
        let is_token = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
        if !name.is_empty() && name.chars().all(is_token) {
            writer.header(name, clean);
        }
    }
    writer.finish()
}
