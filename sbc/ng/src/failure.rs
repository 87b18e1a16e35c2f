//! Why a request fails. The texts are part of the protocol: clients match some of them byte for byte, to try the next
//! media proxy, and people know the others.

/// What stands in `error-reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Failure {
    /// Neither bencode nor JSON, or nothing that a request could be.
    #[error("Invalid NG data format")]
    Format,
    /// A cookie and nothing else.
    #[error("Invalid data (no payload)")]
    Empty,
    /// It begins as a dictionary in bencode and is none.
    #[error("Could not decode bencode dictionary")]
    Bencode,
    /// It begins as JSON and is none.
    #[error("Failed to parse JSON document")]
    Json,
    /// No `command`.
    #[error("Dictionary contains no key \"command\"")]
    NoCommand,
    /// A command that nobody knows.
    #[error("Unrecognized command")]
    UnknownCommand,
    /// A command of rtpengine that this engine does not have: in the words of an rtpengine that is older than it.
    #[error("Unrecognized command")]
    UnsupportedCommand,
    /// No `call-id`.
    #[error("No call-id in message")]
    NoCallId,
    /// No `from-tag`.
    #[error("No from-tag in message")]
    NoFromTag,
    /// No `to-tag`.
    #[error("No to-tag in message")]
    NoToTag,
    /// No `sdp`.
    #[error("No SDP body in message")]
    NoSdp,
    /// An SDP that is none.
    #[error("Failed to parse SDP")]
    BadSdp,
    /// An SDP that lacks what media needs: no m-line, or no address.
    #[error("Incomplete SDP specification")]
    IncompleteSdp,
    /// Our SDP for the other side cannot be made of this one.
    #[error("Error rewriting SDP")]
    Rewrite,
    /// No such call.
    #[error("Unknown call-id")]
    UnknownCall,
    /// The tags name parties that were never in one dialogue.
    #[error("Invalid dialogue association")]
    Dialogue,
    /// A tag, label or address that names no party.
    #[error("No monologue matching the given criteria")]
    UnknownParty,
    /// The other side would need what is not there: DTLS, ICE by force.
    #[error("Unsupported transport protocol")]
    Transport,
    /// No codec is left, or none that both could use.
    #[error("No codecs left in the media description")]
    NoCodecs,
    /// Keys that cannot be used, or none where they must be.
    #[error("No usable keys in the SDP")]
    NoKeys,
    /// No port or descriptor is left; the client tries the next proxy.
    #[error("Ran out of ports")]
    NoPorts,
    /// As many calls as there may be; the client tries the next proxy.
    #[error("Parallel session limit reached")]
    SessionLimit,
    /// What is to be played or recorded cannot be: in words of its own.
    #[error("{0}")]
    Media(&'static str),
    /// A key has a value that it cannot have.
    #[error("{0}")]
    Value(&'static str),
    /// The shard that owned the call has died in between.
    #[error("Internal error")]
    Internal,
}

impl Failure {
    /// Stable word for counters.
    pub fn class(self) -> &'static str {
        match self {
            Failure::Format | Failure::Empty | Failure::Bencode | Failure::Json => "format",
            Failure::NoCommand => "no_command",
            Failure::UnknownCommand => "unknown_command",
            Failure::UnsupportedCommand => "unsupported_command",
            Failure::NoCallId | Failure::NoFromTag | Failure::NoToTag => "no_key",
            Failure::NoSdp => "no_sdp",
            Failure::BadSdp | Failure::IncompleteSdp => "bad_sdp",
            Failure::Rewrite => "rewrite",
            Failure::UnknownCall => "unknown_call",
            Failure::Dialogue | Failure::UnknownParty => "unknown_party",
            Failure::Transport => "transport",
            Failure::NoCodecs => "no_codecs",
            Failure::NoKeys => "no_keys",
            Failure::NoPorts => "no_ports",
            Failure::SessionLimit => "session_limit",
            Failure::Media(_) => "media",
            Failure::Value(_) => "value",
            Failure::Internal => "internal",
        }
    }
}
