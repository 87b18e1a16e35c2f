//! A call as people see it: a row, all of it, its ladder, and one sentence a leg that explains what its media does.

use crate::admit::Refused;
use crate::call::{Call, Stage};
use crate::desk::Desk;
use crate::leg::{Leg, Record};
use crate::refusal::Refusal;
use crate::spec::Spec;
use crate::trace::method_name;
use base::Now;
use command::{BridgeReport, PortReport, Verdict};
use core::net::IpAddr;
use ledger::{
    CallId, CallState, CallSummary, CallView, Cdr, Direction, LegView, ReleasedBy, TraceEntry, TraceView,
};
use sdp::{AddressKind, Side, address_kind};
use sip::flow::Flow;
use sip::message::Message;

impl Call {
    /// Whether it is going down.
    pub fn is_ending(&self) -> bool {
        self.stage == Stage::Ending
    }

    /// A row of the list.
    pub fn summary(&self) -> CallSummary {
        let state = match self.stage {
            Stage::Resolving | Stage::Opening => CallState::Setup,
            Stage::Calling if self.a.record.progress.is_some() => CallState::Ringing,
            Stage::Calling => CallState::Setup,
            Stage::Up => CallState::Answered,
            Stage::Ending => CallState::Ending,
        };
        CallSummary {
            id: self.id,
            state,
            created: self.a.record.created.wall,
            answered: self.answered.map(|at| at.wall),
            from: self.a.record.caller(),
            to: self.a.record.callee(),
            trunk_in: self.trunk(self.admitted.trunk).name.clone(),
            trunk_out: self.trunk_out().map(|trunk| self.trunk(trunk).name.clone()),
        }
    }

    /// All of it, with media as the shard reported it.
    pub fn view(&self, desk: &Desk, report: Option<&BridgeReport>) -> CallView {
        let _ = desk;
        let legs = [Some(&self.a), self.b.as_ref()];
        CallView {
            summary: self.summary(),
            route: Some(self.route().name.clone()),
            legs: legs.into_iter().flatten().map(|leg| self.leg_view(leg, report)).collect(),
            timeline: self.timeline.clone(),
            room: self.room().map(str::to_owned),
            orders: self.order_views(),
        }
    }

    fn leg_view(&self, leg: &Leg, report: Option<&BridgeReport>) -> LegView {
        let name = match leg.number {
            0 => "A".to_owned(),
            1 => "B".to_owned(),
            n => format!("B{n}"),
        };
        let state = match (&leg.dialog, leg.ended) {
            (_, true) => "ended",
            (Some(_), false) if leg.record.answered.is_some() => "confirmed",
            _ => "early",
        };
        let ports: Vec<PortReport> = report
            .map(|r| r.ports.iter().filter(|p| p.party == leg.side.party()).cloned().collect())
            .unwrap_or_default();
        let lines = self.negotiation.describe(leg.side);
        let codecs = lines
            .iter()
            .map(|line| match line.refused {
                true => format!("{} refused", line.kind.name()),
                false => format!("{} {} {}", line.kind.name(), line.codecs.join(" "), line.direction.name()),
            })
            .collect();
        let sentence = self.sentence(&name, leg, &ports);
        LegView {
            name,
            direction: leg.record.direction,
            trunk: Some(self.trunk(leg.trunk).name.clone()),
            state: state.into(),
            sip_call_id: leg.record.sip_call_id().into_owned(),
            remote: Some(leg.target.remote),
            local: leg.target.local,
            transport: leg.target.transport.via(),
            media: ports,
            codecs,
            sentence,
        }
    }

    /// What this leg's media does or lacks, for somebody who hears nothing.
    fn sentence(&self, name: &str, leg: &Leg, ports: &[PortReport]) -> String {
        if ports.is_empty() {
            return format!("{name}: no media ports are open");
        }
        let received: u64 = ports.iter().map(|p| p.received.packets).sum();
        let sent: u64 = ports.iter().map(|p| p.sent.packets).sum();
        let port = &ports[0];
        let signalled = match port.signalled {
            Some(address) => format!("SDP says {address}{}", remark(address.ip())),
            None => "its SDP names no address".to_owned(),
        };
        let mut text = format!("{name}: {received} packets received, {sent} sent; {signalled}");
        match port.learned {
            Some(learned) if Some(learned) != port.signalled => {
                text.push_str(&format!(", media comes from {learned}{}", remark(learned.ip())));
            }
            Some(_) => {}
            None => text.push_str(&format!(", SIP came from {}", leg.target.remote.ip())),
        }
        let direction = self.negotiation.describe(leg.side).first().map(|l| l.direction);
        if let Some(direction) = direction
            && direction.name() != "sendrecv"
        {
            text.push_str(&format!(", it is {}", direction.name()));
        }
        for (verdict, count) in ports.iter().flat_map(|p| &p.dropped) {
            text.push_str(&format!("; {count} dropped {}", verdict.name()));
            if *verdict == Verdict::SourceLocked
                && let Some(foreign) = port.foreign
            {
                text.push_str(&format!(" from {foreign}"));
            }
        }
        let (lost, of) = ports
            .iter()
            .flat_map(|p| &p.streams)
            .fold((0, 0), |(lost, of), stream| (lost + stream.lost, of + stream.lost + stream.packets));
        if lost > 0 {
            text.push_str(&format!("; {lost} of {of} lost before us"));
        }
        text
    }

    /// The ladder, with the messages that are still remembered.
    pub fn trace(&self, desk: &Desk) -> TraceView {
        let unspecified = core::net::SocketAddr::new(IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), 0);
        let entries = self
            .steps
            .iter()
            .map(|step| {
                let leg = if step.leg == 0 { Some(&self.a) } else { self.leg(Side::B) };
                let target = leg.map(|l| l.target);
                let method = method_name(step.method);
                TraceEntry {
                    at: step.at,
                    leg: step.leg,
                    received: step.received,
                    local: target.and_then(|t| t.local).unwrap_or(unspecified),
                    remote: target.map_or(unspecified, |t| t.remote),
                    transport: target.map_or("UDP", |t| t.transport.via()),
                    line: match step.code {
                        0 => method.to_owned(),
                        code => format!("{code} {} ({method})", sip::message::write::reason(code)),
                    },
                    raw: desk.trace.get(self.key, step.serial).map(<[u8]>::to_vec),
                }
            })
            .collect();
        TraceView { entries, forgotten: 0 }
    }
}

/// A remark on an address that cannot be reached from everywhere.
fn remark(ip: IpAddr) -> &'static str {
    match address_kind(ip) {
        AddressKind::Private => " (private)",
        AddressKind::Cgnat => " (carrier NAT)",
        _ => "",
    }
}

/// The record of a call that was refused before it was one.
pub(crate) fn refused_record(
    id: CallId,
    now: Now,
    flow: &Flow,
    message: &Message<'_>,
    refused: &Refused,
    spec: &Spec,
) -> Cdr {
    let (refusal, status) = (refused.refusal, refused.refusal.status(refused.texts));
    let phrase = refusal.phrase(refused.texts).unwrap_or(sip::message::write::reason(status));
    Cdr {
        trunk: refused.trunk.map(|index| spec.trunks[index].name.clone()),
        account: refused.account.map(|index| spec.accounts[index].name.clone()),
        route: refused.route.map(|index| spec.routes[index].name.clone()),
        policy: match (refusal, &refused.by, &refused.detail) {
            // What a limit has against it is its name.
            (Refusal::LimitFull | Refusal::TooFast, by, _) | (_, by, None) => by.clone(),
            (_, Some(by), Some(rule)) => Some(format!("{by}: {rule}")),
            (_, None, Some(_)) => None,
        },
        billable: false,
        released_by: if refusal == Refusal::Cancelled { ReleasedBy::Caller } else { ReleasedBy::Engine },
        local: Some(flow.local),
        remote: Some(flow.remote),
        final_status: Some(status),
        final_reason: phrase.to_owned(),
        release_cause: refusal.name().to_owned(),
        ..Record::new(now, Direction::In, message).begin(id, 0)
    }
}
