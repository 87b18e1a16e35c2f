//! One request: its command, whom it is for and what it wants. Reads every spelling; decides nothing.

use crate::options::Options;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the words of the protocol")]
pub enum Command {
    Ping,
    Offer,
    Answer,
    Delete,
    Query,
    List,
    Statistics,
    StartRecording,
    StopRecording,
    PauseRecording,
    BlockDtmf,
    UnblockDtmf,
    BlockMedia,
    UnblockMedia,
    SilenceMedia,
    UnsilenceMedia,
    PlayMedia,
    StopMedia,
    PlayDtmf,
    Publish,
    SubscribeRequest,
    SubscribeAnswer,
    Unsubscribe,
    Connect,
}

/// A request that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What.
    pub command: Command,
    /// `call-id`.
    pub call_id: Option<Vec<u8>>,
    /// `from-tag`.
    pub from_tag: Option<Vec<u8>>,
    /// `to-tag`.
    pub to_tag: Option<Vec<u8>>,
    /// `via-branch`.
    pub via_branch: Option<Vec<u8>>,
    /// `sdp`.
    pub sdp: Option<Vec<u8>>,
    /// All else.
    pub options: Options,
    /// Keys, flags and values that nobody knows here, for the reply's `warning`; at most 16, each at most 64 bytes.
    pub unknown: Vec<String>,
}
