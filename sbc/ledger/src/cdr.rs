//! Call detail records: one a leg, linked by the call id. Written when the leg ends; plain data, the store renders it.

use crate::id::CallId;
use base::{Duration, Wall};
use core::net::SocketAddr;

/// One leg's record.
#[derive(Clone, Debug, PartialEq)]
pub struct Cdr {
    /// The call that the leg belongs to. With `leg` a stable, unique name of the record.
    pub call: CallId,
    /// Number of the leg in the call: 0 is the caller's, attempts follow in order.
    pub leg: u16,
    /// As seen from us.
    pub direction: Direction,
    /// The trunk, if the leg belongs to one.
    pub trunk: Option<String>,
    /// The group by which the trunk was chosen.
    pub group: Option<String>,
    /// The route that was taken.
    pub route: Option<String>,
    /// The account that the leg belongs to.
    pub account: Option<String>,
    /// What the account is billed under.
    pub account_code: Option<String>,
    /// Call-ID of this leg's dialog.
    pub sip_call_id: String,
    /// User part of From on this leg.
    pub from_user: String,
    /// Display name of From.
    pub from_name: String,
    /// The whole From value.
    pub from_header: String,
    /// Number that was asked for: user part of the Request-URI.
    pub to_user: String,
    /// Host part of the Request-URI.
    pub to_host: String,
    /// The whole Request-URI.
    pub to_uri: String,
    /// Our address.
    pub local: Option<SocketAddr>,
    /// The peer's address.
    pub remote: Option<SocketAddr>,
    /// INVITE received or sent.
    pub created: Wall,
    /// First provisional response above 100.
    pub progress: Option<Wall>,
    /// Its status.
    pub progress_status: Option<u16>,
    /// Its reason phrase.
    pub progress_reason: String,
    /// Final answer to the INVITE.
    pub answered: Option<Wall>,
    /// Its status, also of a refusal.
    pub final_status: Option<u16>,
    /// Its reason phrase.
    pub final_reason: String,
    /// The leg ended.
    pub ended: Wall,
    /// From INVITE to ringing.
    pub post_dial_delay: Option<Duration>,
    /// From answer to end.
    pub duration: Duration,
    /// Who ended the leg.
    pub released_by: ReleasedBy,
    /// Why, in a stable word such as `normal`, `cancel`, `no_route`, `media_timeout`, `session_expired`.
    pub release_cause: String,
    /// Reason header of the BYE, CANCEL or refusal that ended the leg, such as `Q.850;cause=16`.
    pub release_reason: Option<String>,
    /// What refused the call or cut it: a policy and its rule, such as `toll-fraud: spend critical`, or a limit.
    pub policy: Option<String>,
    /// Whether the leg is to be billed: answered, unless the code table says otherwise.
    pub billable: bool,
    /// Price of a minute by the rate table.
    pub price_per_minute: Option<f64>,
    /// What the leg cost by the rate table, to 6 decimals; known when it has ended.
    pub cost: Option<f64>,
    /// Values of business headers that came with the call (requirements S3-2), such as `X-Sign-ID`.
    pub tags: Vec<(String, String)>,
    /// What media looked like, if any flowed.
    pub quality: Option<Quality>,
}

impl Cdr {
    /// Stable id of the record: the same at every delivery.
    pub fn id(&self) -> String {
        format!("{}-{}", self.call, self.leg)
    }
}

/// Which way a leg was set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// They called us.
    In,
    /// We called them.
    Out,
}

impl Direction {
    /// `in` or `out`.
    pub fn name(self) -> &'static str {
        match self {
            Direction::In => "in",
            Direction::Out => "out",
        }
    }
}

/// Who ended a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleasedBy {
    /// The side that called.
    Caller,
    /// The side that was called.
    Callee,
    /// We did: a timer, a rule, a failure.
    Engine,
    /// Somebody asked us to, by API or command.
    Operator,
}

impl ReleasedBy {
    /// `caller`, `callee`, `engine` or `operator`.
    pub fn name(self) -> &'static str {
        match self {
            ReleasedBy::Caller => "caller",
            ReleasedBy::Callee => "callee",
            ReleasedBy::Engine => "engine",
            ReleasedBy::Operator => "operator",
        }
    }
}

/// Media of one leg, all m-lines together.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Quality {
    /// RTP packets from this peer.
    pub received: u64,
    /// RTP packets to this peer.
    pub sent: u64,
    /// Packets of this peer that never came.
    pub lost: u64,
    /// Largest jitter in microseconds.
    pub jitter_max_us: u64,
    /// The peer should have sent and never did: nothing was received from it.
    pub one_way: bool,
    /// Mean opinion score of what the peer sent, 1 to 4.5, by the E-model (ITU-T G.107).
    pub mos: Option<f32>,
}
