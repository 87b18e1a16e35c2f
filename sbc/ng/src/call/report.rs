//! Answers that need what media has seen: `query`, `delete` and what people are shown. They wait for one report and
//! hold up nothing else.

use super::{AWAITING_MAX, Call, Media};
use crate::facts::CallFacts;
use crate::failure::Failure;
use crate::request::Request;
use crate::tools::{Asked, Tools};
use crate::tree::{self, Query};
use crate::value::Dict;
use base::Now;
use command::{BridgeReport, Command, Ticket};
use ledger::{AskFailed, CallView, Reply};

/// Who waits for a report.
pub(super) enum Awaiting {
    /// A request.
    Told(Box<Told>),
    /// Somebody who looks at it.
    Show(Reply<Result<CallView, AskFailed>>),
}

/// A request that waits, and the call as it was when it came.
pub(super) struct Told {
    asked: Asked,
    facts: CallFacts,
    from_tag: Option<Vec<u8>>,
    to_tag: Option<Vec<u8>>,
    metadata: Option<Vec<u8>>,
    is_recorded: bool,
}

impl Call {
    pub(super) fn query(&mut self, tools: &mut Tools, now: Now, request: &Request, asked: Asked) {
        let told = self.told(request, asked, request.to_tag.clone());
        self.await_report(tools, now, Awaiting::Told(Box::new(told)));
    }

    /// The answer of a `delete`: all of the call as it has been, or of the party that goes.
    pub(super) fn report_deleted(&mut self, tools: &mut Tools, now: Now, request: &Request, asked: Asked) {
        if request.options.fast {
            return tools.answer(now, asked, Ok(Dict::new()));
        }
        let to_tag = self.named(request).map(<[u8]>::to_vec);
        let told = self.told(request, asked, to_tag);
        self.await_report(tools, now, Awaiting::Told(Box::new(told)));
    }

    fn told(&self, request: &Request, asked: Asked, to_tag: Option<Vec<u8>>) -> Told {
        let controls = self.controls.as_ref();
        Told {
            asked,
            facts: self.facts(),
            from_tag: request.from_tag.clone(),
            to_tag,
            metadata: controls.and_then(|controls| controls.metadata()).map(<[u8]>::to_vec),
            is_recorded: controls.is_some_and(|controls| controls.is_recorded()),
        }
    }

    pub fn show(&mut self, tools: &mut Tools, now: Now, reply: Reply<Result<CallView, AskFailed>>) {
        self.await_report(tools, now, Awaiting::Show(reply));
    }

    fn await_report(&mut self, tools: &mut Tools, now: Now, awaiting: Awaiting) {
        match self.media {
            Media::Open | Media::Opening { has_bridge: true } if self.awaiting.len() < AWAITING_MAX => {
                let (bridge, ticket) = (self.bridge, tools.new_ticket());
                tools.media(bridge, Command::Report { bridge, ticket });
                self.awaiting.push((ticket, awaiting));
            }
            // Its last report is on the way.
            Media::Closing if self.awaiting.len() < AWAITING_MAX => {
                self.awaiting.push((tools.new_ticket(), awaiting));
            }
            Media::Open | Media::Opening { has_bridge: true } | Media::Closing => match awaiting {
                Awaiting::Told(told) => {
                    tools.stats.crowded.add(1);
                    tools.answer(now, told.asked, Failure::Value("Too many requests of one call at once"));
                }
                Awaiting::Show(reply) => reply(Err(AskFailed::WrongState("too many look at it at once"))),
            },
            Media::None | Media::Opening { has_bridge: false } | Media::Closed => {
                self.report_to(tools, now, awaiting, None);
            }
        }
    }

    pub(super) fn on_report(&mut self, tools: &mut Tools, now: Now, ticket: Ticket, report: &BridgeReport) {
        if let Some(at) = self.awaiting.iter().position(|(waits, _)| *waits == ticket) {
            let (_, awaiting) = self.awaiting.swap_remove(at);
            self.report_to(tools, now, awaiting, Some(report));
        }
    }

    /// There will be no later report than this one.
    pub(super) fn answer_awaiting(&mut self, tools: &mut Tools, now: Now, report: &BridgeReport) {
        for (_, awaiting) in core::mem::take(&mut self.awaiting) {
            self.report_to(tools, now, awaiting, Some(report));
        }
    }

    fn report_to(&self, tools: &mut Tools, now: Now, awaiting: Awaiting, report: Option<&BridgeReport>) {
        match awaiting {
            Awaiting::Told(told) => {
                let Told { asked, facts, from_tag, to_tag, metadata, is_recorded } = *told;
                let dict = tree::query(&Query {
                    now,
                    facts: &facts,
                    report,
                    from_tag: from_tag.as_deref(),
                    to_tag: to_tag.as_deref(),
                    metadata: metadata.as_deref(),
                    is_recorded,
                });
                tools.answer(now, asked, Ok(dict));
            }
            Awaiting::Show(reply) => reply(Ok(self.view(report))),
        }
    }
}
