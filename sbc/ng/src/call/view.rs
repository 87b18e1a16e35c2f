//! The call as people see it: a row, all of it, and a sentence a party that explains what its media does.

use super::party::Participant;
use super::{Call, Step, What};
use command::{BridgeReport, PortReport, Verdict};
use ledger::{CallState, CallSummary, CallView, Direction, LegView};
use sdp::{AddressKind, address_kind};

impl Call {
    /// A row of the list. Parties are named by their tags, all there is.
    pub fn summary(&self) -> CallSummary {
        let first = self.dialogues.first();
        let tag =
            |side: usize| first.map(|dialogue| self.tag_text(dialogue.parties[side])).unwrap_or_default();
        let state = match () {
            () if self.is_over() || self.is_deleted() => CallState::Ending,
            () if self.answered.is_some() => CallState::Answered,
            () => CallState::Setup,
        };
        CallSummary {
            id: self.id,
            state,
            created: self.created.wall,
            answered: self.answered.map(|at| at.wall),
            from: tag(0),
            to: tag(1),
            trunk_in: "ng".into(),
            trunk_out: None,
        }
    }

    /// All of it, with media as the shard reported it.
    pub(super) fn view(&self, report: Option<&BridgeReport>) -> CallView {
        CallView {
            summary: self.summary(),
            route: None,
            legs: self.parties.iter().enumerate().map(|(n, party)| self.leg(n, party, report)).collect(),
            timeline: self.steps.iter().map(|step| (step.at, self.words(step))).collect(),
            room: None,
            orders: Vec::new(),
        }
    }

    fn leg(&self, number: usize, party: &Participant, report: Option<&BridgeReport>) -> LegView {
        let mine = self.dialogues.iter().filter_map(|dialogue| Some((dialogue, dialogue.side(party.id)?)));
        let (dialogue, side) =
            match mine.clone().find(|(dialogue, _)| self.is_active(dialogue)).or(mine.clone().next()) {
                Some((dialogue, side)) => (Some(dialogue), side),
                None => (None, sdp::Side::A),
            };
        let ports = dialogue.map(|dialogue| &self.set(dialogue.set(side)).ports);
        let is_mine = |port: &&PortReport| ports.is_some_and(|ports| ports.contains(&port.port));
        let media: Vec<PortReport> =
            report.map(|report| report.ports.iter().filter(is_mine).cloned().collect()).unwrap_or_default();
        let lines = dialogue.map(|dialogue| dialogue.lines.as_slice()).unwrap_or_default();
        let codecs = lines
            .iter()
            .map(|line| {
                let state = &line.sides[side as usize];
                let names: Vec<_> =
                    state.payloads.iter().map(|payload| payload.encoding.to_uppercase()).collect();
                match line.is_refused {
                    true => format!("{} refused", line.kind.name()),
                    false => format!(
                        "{} {} {}",
                        line.kind.name(),
                        names.join(" "),
                        direction(state.sends, state.receives)
                    ),
                }
            })
            .collect();
        let name = name(number);
        let state = match dialogue {
            Some(dialogue) if dialogue.deleted_at.is_some() => "ended",
            Some(dialogue) if dialogue.is_answered() => "confirmed",
            _ => "early",
        };
        let sentence = sentence(&name, party, &media);
        LegView {
            name,
            direction: if side == sdp::Side::A { Direction::In } else { Direction::Out },
            trunk: Some("ng".into()),
            state: state.into(),
            sip_call_id: String::from_utf8_lossy(&self.name).into_owned(),
            remote: None,
            local: None,
            transport: "NG",
            media,
            codecs,
            sentence,
        }
    }

    /// What happened, in words.
    fn words(&self, step: &Step) -> String {
        let tag = |party: u16| self.tag_text(command::Party(party));
        match step.what {
            What::Offered(party) => format!("offer of {}", tag(party)),
            What::Answered(party) => format!("answer of {}", tag(party)),
            What::Failed(failure) => format!("refused: {failure}"),
            What::Opened(count) => format!("{count} ports open"),
            What::Deleted => "delete".into(),
            What::Revived => "goes on after all".into(),
            What::PartyLeft(party) => format!("party {party} left"),
            What::Learned(port, source) => format!("port {port} hears {source}"),
            What::Moved(port, source) => format!("the source of port {port} moved to {source}"),
            What::Foreign(port, source) => format!("port {port} refuses a foreign source, {source}"),
            What::OneSideSilent(port) => format!("port {port} is silent"),
            What::Unsupported(what) => format!("media cannot do it: {what}"),
            What::Asked(command) => command.name().to_owned(),
            What::Ended(why) => format!("ended: {}", why.name()),
        }
    }
}

/// `A`, `B`, `B2` …
fn name(number: usize) -> String {
    match number {
        0 => "A".to_owned(),
        1 => "B".to_owned(),
        n => format!("B{n}"),
    }
}

fn direction(sends: bool, receives: bool) -> &'static str {
    sdp::Direction::new(sends, receives).name()
}

/// What a party's media does or lacks, for somebody who hears nothing.
fn sentence(name: &str, party: &Participant, ports: &[PortReport]) -> String {
    let Some(port) = ports.first() else { return format!("{name}: no media ports are open") };
    let received: u64 = ports.iter().map(|port| port.received.packets).sum();
    let sent: u64 = ports.iter().map(|port| port.sent.packets).sum();
    let remark = |ip| match address_kind(ip) {
        AddressKind::Private => " (private)",
        AddressKind::Cgnat => " (carrier NAT)",
        _ => "",
    };
    let signalled = match port.signalled {
        Some(address) => format!("SDP says {address}{}", remark(address.ip())),
        None => "its SDP names no address".to_owned(),
    };
    let mut text = format!("{name}: {received} packets received, {sent} sent; {signalled}");
    match (port.learned, party.source.signalling) {
        (Some(learned), _) if Some(learned) != port.signalled => {
            text.push_str(&format!(", media comes from {learned}{}", remark(learned.ip())));
        }
        (None, Some(signalling)) => text.push_str(&format!(", SIP came from {signalling}")),
        (Some(_), _) | (None, None) => {}
    }
    for (verdict, count) in ports.iter().flat_map(|port| &port.dropped) {
        text.push_str(&format!("; {count} dropped {}", verdict.name()));
        if *verdict == Verdict::SourceLocked
            && let Some(foreign) = port.foreign
        {
            text.push_str(&format!(" from {foreign}"));
        }
    }
    text
}
