//! What a route's HTTP hook is asked about a call and what it may answer: plain data between the B2BUA, which asks, and
//! control, which speaks HTTP and keeps the cache.

use base::Duration;

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookQuestion {
    /// Where to ask.
    pub url: String,
    /// How long an answer is waited for.
    pub deadline: Duration,
    /// How long an answer holds for equal questions; zero is not at all.
    pub cache: Duration,
    /// Call-ID of the caller's dialog: not part of what makes questions equal.
    pub call_id: String,
    /// What the program is told, by name: `route`, `trunk`, `account`, `from`, `to`, `source`, and the call's X- headers
    /// as `headers.NAME`.
    pub facts: Vec<(String, String)>,
}

/// What it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookAnswer {
    /// The call goes on as its route says.
    Continue,
    /// The call is refused.
    Reject {
        /// 300 to 699.
        status: u16,
        /// Reason phrase, if it is not the usual one.
        reason: Option<String>,
    },
    /// The call goes elsewhere or is changed; what is `None` stays.
    Route {
        /// Name of a trunk or group.
        via: Option<String>,
        /// New called number: judged again.
        to: Option<String>,
        /// New calling number.
        from: Option<String>,
        /// Headers to set on the outgoing leg.
        headers: Vec<(String, String)>,
        /// The call ends after this.
        max_duration: Option<Duration>,
    },
    /// There was no answer in time, or none that makes sense.
    Failed(HookFailed),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookFailed {
    /// The deadline is over.
    Late,
    /// Nobody is there, or the connection broke.
    Unreachable,
    /// A status other than 200, or a body that is no answer.
    Nonsense,
    /// Too many questions are on their way.
    Busy,
}

impl HookFailed {
    /// Stable word for counters and timelines.
    pub fn name(self) -> &'static str {
        match self {
            HookFailed::Late => "late",
            HookFailed::Unreachable => "unreachable",
            HookFailed::Nonsense => "nonsense",
            HookFailed::Busy => "busy",
        }
    }
}
