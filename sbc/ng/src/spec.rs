//! The configuration as NG calls need it, as plain data. Made whole by control; a call keeps the one it started with.

use base::Duration;
use command::Timeouts;
use core::net::{IpAddr, SocketAddr};
use sdp::Makeable;
use std::sync::Arc;

/// What holds for NG calls.
#[derive(Clone, Debug)]
pub struct Spec {
    /// All listeners, numbered as the media shards number them; one without addresses for media has none here.
    pub listeners: Vec<Listener>,
    /// Whose packets a port takes, if a request does not say.
    pub source: SourceRule,
    /// How long a deleted call lives on, if `delete` does not say.
    pub delete_delay: Duration,
    /// What can be decoded and encoded.
    pub makeable: Arc<[Makeable]>,
    /// Every NG call takes a place in each.
    pub pools: Vec<Arc<ledger::Pool>>,
    /// Who gets NG events (digits) over UDP.
    pub events_to: Vec<SocketAddr>,
    /// How long silence may last.
    pub timeouts: Timeouts,
    /// How long a call may stay without an answer.
    pub unanswered: Duration,
}

impl Default for Spec {
    fn default() -> Self {
        Spec {
            listeners: Vec::new(),
            source: SourceRule::default(),
            delete_delay: Duration::from_secs(30),
            makeable: Arc::from([]),
            pools: Vec::new(),
            events_to: Vec::new(),
            timeouts: Timeouts {
                both: Some(Duration::from_secs(60)),
                one: None,
                hold: Some(Duration::from_secs(3_600)),
            },
            unanswered: Duration::from_secs(3_600),
        }
    }
}

/// Addresses for media under one name: `direction` and `interface` name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listener {
    /// As in the configuration.
    pub name: String,
    /// Where ports are bound: at most one address of each family.
    pub media: Vec<IpAddr>,
    /// What SDPs say instead: at most one of each family.
    pub advertise: Vec<IpAddr>,
    /// DSCP of media, 0 to 63, if no request says.
    pub dscp: u8,
}

/// Whose packets a port takes once a source is learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceRule {
    /// The learned source's, as everywhere in this engine.
    #[default]
    Locked,
    /// Anybody's, as rtpengine does without `strict source`.
    Rtpengine,
}
