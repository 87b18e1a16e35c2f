//! What a request wants beside its SDP, as plain data: keys, flags and their many spellings, read once by `flags` and
//! `request`. Decides nothing.

use command::Suite;
use core::net::IpAddr;

/// All of one request. The default is a request that says nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// `received-from`: where the SIP message came from.
    pub received_from: Option<IpAddr>,
    /// `SIP-source-address`: media is expected from there rather than from the SDP's address.
    pub sip_source_address: bool,
    /// `media-address`: written into the SDP instead of our own.
    pub media_address: Option<IpAddr>,
    /// `address-family`: true is IPv6.
    pub is_ipv6: Option<bool>,
    /// `direction`, `from-interface`/`to-interface`, `interface`: listeners towards the sender and the receiver.
    pub interfaces: [Option<String>; 2],
    /// How sources are learned.
    pub source: SourceOptions,
    /// What is rewritten in the SDP.
    pub sdp: SdpOptions,
    /// `transport-protocol`; `None` keeps the sender's.
    pub transport: Option<Transport>,
    /// Keys in the SDP.
    pub sdes: SdesOptions,
    /// RFC 8643.
    pub osrtp: OsrtpOptions,
    /// `ICE`.
    pub ice: Ice,
    /// `DTLS=off`, or `None` if not said.
    pub dtls_off: bool,
    /// RTCP on one port with RTP.
    pub rtcp_mux: RtcpMuxOptions,
    /// Codecs.
    pub codec: CodecOptions,
    /// `ptime`: towards the receiver, in milliseconds.
    pub ptime: Option<u16>,
    /// `ptime-reverse`: towards the sender.
    pub ptime_reverse: Option<u16>,
    /// What is done with media.
    pub media: MediaOptions,
    /// `TOS`.
    pub tos: Tos,
    /// Which parties a command is for, beside the tags.
    pub selector: Selector,
    /// `delete-delay` in seconds.
    pub delete_delay: Option<u32>,
    /// `fatal`: an unknown call is an error of `delete`.
    pub fatal: bool,
    /// `fast`: no statistics in the answer.
    pub fast: bool,
    /// `to-tag` among the flags: `to-tag` counts in `delete`.
    pub to_tag: bool,
    /// `supports: ["load limit"]`.
    pub knows_load_limit: bool,
    /// `metadata`.
    pub metadata: Option<Vec<u8>>,
    /// `limit` of `list`.
    pub limit: Option<u32>,
}

/// `TOS`, for both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tos {
    /// Nothing said, or more than an octet: in an offer what the listener has.
    #[default]
    Listener,
    /// The whole octet; DSCP is its upper six bits.
    Octet(u8),
    /// Below nothing: what it was before.
    Unchanged,
}

/// Sources (media.md "Learning the source").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceOptions {
    /// `asymmetric`.
    pub asymmetric: bool,
    /// `strict-source`.
    pub strict: bool,
    /// `media-handover`.
    pub handover: bool,
    /// `endpoint-learning`.
    pub learning: Option<Learning>,
    /// `unidirectional`.
    pub unidirectional: bool,
}

/// `endpoint-learning`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the protocol")]
pub enum Learning {
    Off,
    Immediate,
    Delayed,
    Heuristic,
}

/// Lines of the SDP.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SdpOptions {
    /// `replace: origin`.
    pub replace_origin: bool,
    /// `replace: origin-full`: user name, session id and version, too.
    pub replace_origin_full: bool,
    /// `replace: session-name`.
    pub replace_session_name: bool,
    /// `replace: SDP-version`: the version grows when and only when the SDP changes.
    pub replace_version: bool,
    /// `replace: force-increment-sdp-ver`.
    pub force_version: bool,
    /// `replace: username`.
    pub replace_username: bool,
    /// `replace: zero-address`: 0.0.0.0 is replaced, too.
    pub replace_zero_address: bool,
    /// `original-sendrecv`: directions pass as they are, also without a change on hold.
    pub original_direction: bool,
    /// `loop-protect`: a mark by which an SDP of ours is known and left alone.
    pub loop_protect: bool,
    /// `no-rtcp-attribute`.
    pub no_rtcp: bool,
    /// `full-rtcp-attribute`: with address.
    pub full_rtcp: bool,
    /// `generate-mid`.
    pub generate_mid: bool,
    /// `allow-no-codec-media`.
    pub allow_no_codecs: bool,
    /// `strip-extmap`.
    pub strip_extmap: bool,
    /// `sdp-attr`: changes of attribute lines by where they stand.
    pub attributes: Vec<AttributeChange>,
    /// `sdp-media-remove`: kinds of media that are left out.
    pub remove_media: Vec<Vec<u8>>,
}

/// One change of `a=` lines, without `a=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeChange {
    /// `none` (all), `global`, `audio`, `video` …
    pub place: AttributePlace,
    /// What.
    pub change: Change,
}

/// Where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributePlace {
    /// The session's lines.
    Session,
    /// Media of this kind (`audio`, `video` …).
    Kind(Vec<u8>),
    /// Everywhere.
    All,
}

/// What happens to an attribute line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the protocol")]
pub enum Change {
    Add(Vec<u8>),
    Remove(Vec<u8>),
    Substitute(Vec<u8>, Vec<u8>),
}

/// `transport-protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `RTP/AVP`, `RTP/AVPF`, `RTP/SAVP`, `RTP/SAVPF`.
    Rtp {
        /// The `S`.
        secure: bool,
        /// The `F`.
        feedback: bool,
    },
    /// `UDP/TLS/RTP/SAVP` and `…F`, or the flag `DTLS` alone.
    Dtls,
    /// `accept`: in an answer, what the offerer offered.
    Accept,
    /// A word that is none of these.
    Unknown,
}

/// `SDES`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SdesOptions {
    /// `off`: no `a=crypto` is offered or accepted.
    pub off: bool,
    /// `nonew`: the peer's suites only, none of ours are added.
    pub no_new: bool,
    /// `no-SUITE`.
    pub without: Vec<Suite>,
    /// `only-SUITE`.
    pub only: Vec<Suite>,
    /// `order:SUITE;SUITE`.
    pub order: Vec<Suite>,
    /// `offerer_pref:SUITE;SUITE`.
    pub offerer_preference: Vec<Suite>,
    /// `pad`: Base64 with `=`.
    pub pad: bool,
    /// `lifetime`: `|2^31` is written.
    pub lifetime: bool,
    /// `static`: keys stay over re-offers.
    pub keep: bool,
    /// `prefer`: SDES rather than DTLS where both are offered.
    pub prefer: bool,
}

/// `OSRTP`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OsrtpOptions {
    /// `offer`.
    pub offer: bool,
    /// `accept` and `accept-RFC`.
    pub accept: bool,
}

/// `ICE`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ice {
    /// Nothing said, `remove`, `default` or `optional` while there is no ICE: attributes are stripped.
    #[default]
    Remove,
    /// `force` or `force-relay`: refused until there is ICE.
    Force,
}

/// `rtcp-mux`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the protocol")]
pub struct RtcpMuxOptions {
    pub offer: bool,
    pub require: bool,
    pub demux: bool,
    pub accept: bool,
    pub reject: bool,
}

/// `codec`, and the flags about codecs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodecOptions {
    /// Left out of the offer.
    pub strip: Vec<CodecName>,
    /// `ignore`: as `strip`, but not in what the answer may come back with.
    pub ignore: Vec<CodecName>,
    /// Kept although stripped, in this order.
    pub offer: Vec<CodecName>,
    /// Kept although stripped by `all`.
    pub except: Vec<CodecName>,
    /// Hidden from the other side, but accepted from the sender by conversion.
    pub mask: Vec<CodecName>,
    /// As `mask`, and answered to the sender only if it is really used.
    pub consume: Vec<CodecName>,
    /// As `consume`, for codecs that the other side may get, too.
    pub accept: Vec<CodecName>,
    /// Added to the offer, by conversion.
    pub transcode: Vec<CodecName>,
    /// Parameters of a codec of the offer.
    pub set: Vec<CodecName>,
    /// `single-codec`: an answer keeps its first codec only.
    pub single: bool,
    /// `always-transcode`: no codec passes as it is between … what was asked for and what was offered.
    pub always_transcode: bool,
    /// `allow-transcoding`.
    pub allow_transcoding: bool,
    /// `reuse-codecs`: a re-offer keeps what was agreed.
    pub reuse: bool,
    /// `T.38`: its words; the gateway is not there, the words are known.
    pub t38: bool,
}

/// `NAME/clock/channels/bitrate/ptime/fmtp`, or `all`, `full`, `any`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodecName {
    /// As written, `PCMU`, `all` …
    pub name: String,
    /// RTP clock in Hz.
    pub clock: Option<u32>,
    /// Channels.
    pub channels: Option<u8>,
    /// Bits a second.
    pub bitrate: Option<u32>,
    /// Milliseconds a packet.
    pub ptime: Option<u16>,
    /// Format parameters.
    pub fmtp: Option<String>,
}

/// Media.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MediaOptions {
    /// `record-call`: `yes`/`on` or `no`/`off`.
    pub record: Option<bool>,
    /// `recording-file`, `recording-pattern` …: a name that is wished for.
    pub recording_file: Option<String>,
    /// `pause`: `stop recording` means `pause recording`.
    pub pause_recording: bool,
    /// `inject-DTMF`.
    pub inject_dtmf: bool,
    /// `block-DTMF`.
    pub block_dtmf: bool,
    /// `detect-DTMF`.
    pub detect_dtmf: bool,
    /// `DTMF-security`: what blocked digits become.
    pub dtmf_security: Option<DtmfSecurity>,
    /// `media-echo`.
    pub echo: Option<Echo>,
    /// `early-media`.
    pub early: bool,
    /// What is played or sent.
    pub play: PlayOptions,
}

/// `DTMF-security`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the protocol")]
pub enum DtmfSecurity {
    Off,
    Drop,
    Silence,
    Tone,
    Random,
    Zero,
    Dtmf,
}

/// `media-echo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the protocol")]
pub enum Echo {
    Blackhole,
    Forward,
    Backwards,
    Both,
}

/// `play media` and `play DTMF`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlayOptions {
    /// `file`.
    pub file: Option<String>,
    /// `blob`, or `blob64` decoded.
    pub blob: Option<Vec<u8>>,
    /// `db-id`: known, refused.
    pub db_id: bool,
    /// `repeat-times`.
    pub times: Option<u32>,
    /// `repeat-duration`, `duration`: milliseconds.
    pub duration_ms: Option<u32>,
    /// `start-pos`: milliseconds.
    pub start_ms: Option<u32>,
    /// `code` or `digit`.
    pub code: Option<String>,
    /// `volume`: decibels, below 0 as a rule.
    pub volume_db: Option<i16>,
    /// `pause`: milliseconds between digits.
    pub pause_ms: Option<u32>,
}

/// Parties and flows that a command is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// `all`, `all=all` and so on.
    pub all: Option<All>,
    /// `label`.
    pub label: Option<Vec<u8>>,
    /// `set-label`.
    pub set_label: Option<Vec<u8>>,
    /// `to-label`.
    pub to_label: Option<Vec<u8>>,
    /// `address`: the party whose SDP names it.
    pub address: Option<IpAddr>,
    /// `directional`: only the party of `from-tag`.
    pub directional: bool,
    /// `bidirectional`.
    pub bidirectional: bool,
    /// `from-tags`.
    pub from_tags: Vec<Vec<u8>>,
    /// `to-call-id`.
    pub to_call_id: Option<Vec<u8>>,
}

/// `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the protocol")]
pub enum All {
    All,
    OfferAnswer,
    ExceptOfferAnswer,
    Flows,
}
