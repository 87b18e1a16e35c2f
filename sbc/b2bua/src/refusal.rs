//! Why a call (or another request) was refused, and what follows: status, reason, counter, cause in the record.

/// One decision of ours against a request. Answers of the far end are not refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refusal {
    /// No route matches.
    #[error("no route")]
    NoRoute,
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
    /// A method that we know and do not take here.
    #[error("method not allowed")]
    MethodNotAllowed,
    /// REFER: nobody has allowed it.
    #[error("refer declined")]
    ReferDeclined,
    /// Nothing in the SDP that can be passed on.
    #[error("media unacceptable")]
    BadMedia,
    /// A trunk has no place left.
    #[error("trunk full")]
    TrunkFull,
    /// All targets failed or none resolves.
    #[error("no destination available")]
    NoDestination,
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
    /// The source is nobody; answered as requirements 2.4 say.
    #[error("attack")]
    Attack,
}

impl Refusal {
    /// SIP status for the caller (RFC 3261 section 21, surface.md "Answers to callers").
    pub fn status(self) -> u16 {
        match self {
            Refusal::NoRoute => 404,
            Refusal::BadNumber => 484,
            Refusal::Loop => 482,
            Refusal::TooManyHops => 483,
            Refusal::Message(status) => status,
            Refusal::MethodNotAllowed => 405,
            Refusal::ReferDeclined => 603,
            Refusal::BadMedia => 488,
            Refusal::TrunkFull
            | Refusal::NoDestination
            | Refusal::NoPorts
            | Refusal::NoDescriptors
            | Refusal::Overload
            | Refusal::Draining
            | Refusal::Attack => 503,
            Refusal::UnknownSource => 403,
        }
    }

    /// Reason phrase where it is not the status's usual one.
    pub fn phrase(self) -> Option<&'static str> {
        match self {
            Refusal::NoDestination => Some("No destination available"),
            Refusal::Attack => Some("Attack!"),
            _ => None,
        }
    }

    /// Seconds after which a new try makes sense.
    pub fn retry_after(self) -> Option<u32> {
        match self {
            Refusal::TrunkFull | Refusal::NoPorts | Refusal::NoDescriptors => Some(10),
            Refusal::Overload => Some(2),
            Refusal::Draining => Some(30),
            _ => None,
        }
    }

    /// Stable word for counters and records.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::NoRoute => "no_route",
            Refusal::BadNumber => "bad_number",
            Refusal::Loop => "loop",
            Refusal::TooManyHops => "too_many_hops",
            Refusal::Message(_) => "bad_message",
            Refusal::MethodNotAllowed => "method_not_allowed",
            Refusal::ReferDeclined => "refer_declined",
            Refusal::BadMedia => "bad_media",
            Refusal::TrunkFull => "trunk_full",
            Refusal::NoDestination => "no_destination",
            Refusal::NoPorts => "no_ports",
            Refusal::NoDescriptors => "no_descriptors",
            Refusal::Overload => "overload",
            Refusal::Draining => "draining",
            Refusal::UnknownSource => "unknown_source",
            Refusal::Attack => "attack",
        }
    }
}
