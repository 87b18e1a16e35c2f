//! Why a call (or another request) was refused, and what follows: status, reason, counter, cause in the record.

use crate::spec::Texts;

/// One decision of ours against a request. Answers of the far end are not refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// No route matches.
    #[error("no route")]
    NoRoute,
    /// The route says so.
    #[error("rejected by route")]
    ByRoute(u16),
    /// The route's hook says so.
    #[error("rejected by hook")]
    ByHook(u16),
    /// The route's hook did not answer, and without an answer nobody calls.
    #[error("hook failed")]
    HookFailed,
    /// The number is empty or cannot be one.
    #[error("number incomplete")]
    BadNumber,
    /// It has been here before (RFC 7332, sealed hop token).
    #[error("loop")]
    Loop,
    /// Max-Forwards is used up.
    #[error("too many hops")]
    TooManyHops,
    /// The message itself earns this status (400, 406, 415, 416, 420, 501 …).
    #[error("request unacceptable")]
    Message(u16),
    /// The caller gave up before the call was one.
    #[error("cancelled")]
    Cancelled,
    /// A method that we know and do not take here.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// REFER: nobody has allowed it.
    #[error("refer declined")]
    ReferDeclined,
    /// Nothing in the SDP that can be passed on.
    #[error("media unacceptable")]
    BadMedia,
    /// A policy forbids the number or the caller.
    #[error("forbidden by policy")]
    Policy,
    /// A policy takes it for fraud.
    #[error("fraud suspected")]
    Fraud,
    /// The trunk or account is out of use.
    #[error("out of use")]
    Disabled,
    /// A limit has no place left.
    #[error("limit reached")]
    LimitFull,
    /// A limit takes no more calls a second.
    #[error("too many calls a second")]
    TooFast,
    /// Members of the group live, and none has a place left (requirements 2.3, -2).
    #[error("group full")]
    GroupFull,
    /// No member of the group has the resource (requirements 2.3, -4).
    #[error("no such resource")]
    NoResource,
    /// All targets failed, none resolves, or none lives (requirements 2.3, -3).
    #[error("no destination available")]
    NoDestination,
    /// We failed (requirements 2.3, -1).
    #[error("internal error")]
    Internal,
    /// The media range is used up.
    #[error("no port left")]
    NoPorts,
    /// The process has no descriptor left.
    #[error("no descriptor left")]
    NoDescriptors,
    /// The shard is behind; new calls are shed first.
    #[error("overload")]
    Overload,
    /// The engine is being drained.
    #[error("draining")]
    Draining,
    /// The source is nobody; answered 403 because the configuration says so.
    #[error("source unknown")]
    UnknownSource,
    /// The source is nobody; answered as requirements 2.4 say for a gateway.
    #[error("attack")]
    Attack,
    /// A phone that has not registered; answered as requirements 2.4 say for a registrar.
    #[error("attack on registrar")]
    AttackRegistrar,
}

impl Refusal {
    /// SIP status for the caller (RFC 3261 section 21, surface.md "Answers to callers"; requirements 2.3 and 2.4 where
    /// `texts` say so).
    pub fn status(self, texts: Texts) -> u16 {
        match self {
            Refusal::NoRoute => 404,
            Refusal::BadNumber => 484,
            Refusal::Loop => 482,
            Refusal::TooManyHops => 483,
            Refusal::Message(status) | Refusal::ByRoute(status) | Refusal::ByHook(status) => status,
            Refusal::Cancelled => 487,
            Refusal::MethodNotAllowed => 405,
            Refusal::ReferDeclined => 603,
            Refusal::BadMedia => 488,
            Refusal::LimitFull
            | Refusal::TooFast
            | Refusal::GroupFull
            | Refusal::NoResource
            | Refusal::NoDestination => match texts {
                Texts::Rfc => 503,
                Texts::Opensips => 500,
            },
            Refusal::NoPorts
            | Refusal::NoDescriptors
            | Refusal::Overload
            | Refusal::Draining
            | Refusal::HookFailed
            | Refusal::AttackRegistrar => 503,
            Refusal::Internal | Refusal::Attack => 500,
            Refusal::UnknownSource | Refusal::Policy | Refusal::Fraud | Refusal::Disabled => 403,
        }
    }

    /// Reason phrase where it is not the status's usual one.
    pub fn phrase(self, texts: Texts) -> Option<&'static str> {
        match (texts, self) {
            (Texts::Opensips, Refusal::LimitFull | Refusal::TooFast | Refusal::GroupFull) => {
                Some("Service Full")
            }
            (Texts::Opensips, Refusal::NoDestination) => Some("Service Down"),
            (Texts::Opensips, Refusal::NoResource) => Some("No Resource"),
            (Texts::Opensips, Refusal::Internal) => Some("System Error"),
            (Texts::Rfc, Refusal::NoDestination | Refusal::NoResource) => Some("No destination available"),
            (_, Refusal::Attack) => Some("Attack!!"),
            (_, Refusal::AttackRegistrar) => Some("Attack!"),
            _ => None,
        }
    }

    /// Seconds after which a new try makes sense.
    pub fn retry_after(self) -> Option<u32> {
        match self {
            Refusal::LimitFull | Refusal::GroupFull | Refusal::NoPorts | Refusal::NoDescriptors => Some(10),
            Refusal::TooFast => Some(1),
            Refusal::Overload | Refusal::HookFailed => Some(2),
            Refusal::Draining => Some(30),
            _ => None,
        }
    }

    /// Stable word for counters and records.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::NoRoute => "no_route",
            Refusal::ByRoute(_) => "route_reject",
            Refusal::ByHook(_) => "hook_reject",
            Refusal::HookFailed => "hook_failed",
            Refusal::BadNumber => "bad_number",
            Refusal::Loop => "loop",
            Refusal::TooManyHops => "too_many_hops",
            Refusal::Message(_) => "bad_message",
            Refusal::Cancelled => "cancel",
            Refusal::MethodNotAllowed => "method_not_allowed",
            Refusal::ReferDeclined => "refer_declined",
            Refusal::BadMedia => "bad_media",
            Refusal::Policy => "policy",
            Refusal::Fraud => "fraud",
            Refusal::Disabled => "disabled",
            Refusal::LimitFull => "limit_full",
            Refusal::TooFast => "limit_rate",
            Refusal::GroupFull => "group_full",
            Refusal::NoResource => "no_resource",
            Refusal::NoDestination => "no_destination",
            Refusal::Internal => "internal",
            Refusal::NoPorts => "no_ports",
            Refusal::NoDescriptors => "no_descriptors",
            Refusal::Overload => "overload",
            Refusal::Draining => "draining",
            Refusal::UnknownSource => "unknown_source",
            Refusal::Attack | Refusal::AttackRegistrar => "attack",
        }
    }
}

/// Value of a Reason header (RFC 3326); what would end the quoted text is left out.
pub fn reason(code: u16, text: &str) -> Vec<u8> {
    let text: String =
        text.chars().filter(|c| !c.is_control() && !matches!(c, '"' | '\\')).take(160).collect();
    format!("SIP;cause={code};text=\"{text}\"").into_bytes()
}

impl From<routing::group::Outcome> for Refusal {
    fn from(outcome: routing::group::Outcome) -> Self {
        use routing::group::Outcome;
        match outcome {
            Outcome::Full => Refusal::GroupFull,
            Outcome::Down => Refusal::NoDestination,
            Outcome::NoResource => Refusal::NoResource,
            Outcome::Internal => Refusal::Internal,
        }
    }
}
