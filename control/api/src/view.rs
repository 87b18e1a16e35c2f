//! Calls as JSON. The forms are the API's own: the ledger's views know nothing of it. Times are RFC 3339 in UTC,
//! lengths of time in milliseconds.

use base::{Instant, Now, Wall};
use command::report::StreamReport;
use command::{PortReport, VoiceReport, report::Totals};
use ledger::view::OrderView;
use ledger::{CallSummary, CallView, LegView, TraceEntry, TraceView};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Rows of calls, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CallList {
    /// The rows; at most `limit`.
    calls: Vec<CallRow>,
    /// There are more than these.
    more: bool,
}

/// One call in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CallRow {
    /// Id of the call.
    id: String,
    /// `setup`, `ringing`, `answered` or `ending`.
    state: &'static str,
    /// INVITE received.
    created: String,
    /// Answered at.
    answered: Option<String>,
    /// Since the answer.
    duration_ms: Option<u64>,
    /// Calling number as the caller gave it.
    from: String,
    /// Called number as the caller gave it.
    to: String,
    /// Trunk that the call came from.
    trunk_in: String,
    /// Trunk that it went to, once chosen.
    trunk_out: Option<String>,
}

/// All of one call.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Call {
    #[serde(flatten)]
    row: CallRow,
    /// The route that was taken.
    route: Option<String>,
    /// Legs, the caller's first.
    legs: Vec<Leg>,
    /// What happened, in order.
    timeline: Vec<Happening>,
    /// The room that it sits in.
    room: Option<String>,
    /// Sounds, digits, recordings and forks that go on.
    orders: Vec<Order>,
}

/// Something that was asked of the call's media and goes on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Order {
    /// For `stop`.
    id: String,
    /// `play`, `dtmf`, `record` or `fork`.
    kind: &'static str,
    /// The source, the recording's file, or where the fork goes.
    what: String,
    /// Since when.
    since: String,
    /// A recording that is paused.
    paused: bool,
}

/// One line of a timeline.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Happening {
    /// When.
    at: String,
    /// What.
    what: String,
}

/// One leg of a call.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Leg {
    /// `A`, `B`, `B2` …
    name: String,
    /// `in` or `out`, as seen from us.
    direction: &'static str,
    /// Its trunk.
    trunk: Option<String>,
    /// Dialog state in a word.
    state: String,
    /// Call-ID of its dialog.
    sip_call_id: String,
    /// The peer's signalling address.
    remote: Option<String>,
    /// Our signalling address.
    local: Option<String>,
    /// Transport in upper case.
    transport: &'static str,
    /// Codecs by m-line.
    codecs: Vec<String>,
    /// Media by port.
    media: Vec<MediaPort>,
    /// One sentence that explains what this leg's media does or lacks.
    sentence: String,
}

/// One media port of a leg.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MediaPort {
    /// Number within the call.
    port: u16,
    /// Our address.
    local: String,
    /// What the peer's SDP said.
    signalled: Option<String>,
    /// Where its packets come from, once learned.
    learned: Option<String>,
    /// How often the source moved after it was locked.
    moves: u32,
    /// RTP received and accepted.
    received: Traffic,
    /// RTP sent.
    sent: Traffic,
    /// RTCP packets received.
    rtcp_received: u64,
    /// RTCP packets sent.
    rtcp_sent: u64,
    /// Since the last packet of any kind.
    silent_ms: Option<u64>,
    /// Packets dropped, by reason.
    dropped: BTreeMap<&'static str, u64>,
    /// The last foreign source that was refused.
    foreign: Option<String>,
    /// Packets that the kernel dropped because the socket's queue was full.
    kernel_drops: u64,
    /// Mean opinion score of all that the peer sent, 1.0 to 4.5; null where nothing could be rated.
    mos: Option<f64>,
    /// What became of the peer's speech, where it is decoded or made here.
    voice: Option<Voice>,
    /// Streams that the peer sent.
    streams: Vec<Stream>,
}

/// Speech that is decoded (what the peer says) or encoded (what it hears).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Voice {
    /// What is decoded, such as `opus`.
    decodes: Option<&'static str>,
    /// What is made.
    encodes: Option<&'static str>,
    /// What was played of the peer's speech, gaps and all.
    played_ms: u64,
    /// How much of that was concealment.
    concealed_ms: u64,
    /// Frames that were won back by forward error correction.
    recovered: u64,
    /// Packets that came too late.
    late: u64,
    /// What waits to be played, now.
    delay_ms: u64,
    /// Time that was taken out to follow clock and jitter.
    shortened_ms: u64,
    /// Time that was put in.
    stretched_ms: u64,
}

/// Packets and bytes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Traffic {
    /// Packets.
    packets: u64,
    /// Bytes of UDP payload.
    bytes: u64,
}

/// One RTP stream, as received.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Stream {
    /// Eight hexadecimal digits.
    ssrc: String,
    /// Payload type seen last.
    payload: u8,
    /// Packets received.
    packets: u64,
    /// Packets that never came.
    lost: u64,
    /// Runs of packets that never came.
    bursts: u64,
    /// Packets that came late.
    reordered: u64,
    /// Packets that came twice.
    duplicates: u64,
    /// Interarrival jitter now.
    jitter_ms: f64,
    /// The largest jitter.
    jitter_max_ms: f64,
    /// The mean of the jitter over the packets.
    jitter_mean_ms: f64,
    /// As RTCP tells.
    round_trip_ms: Option<f64>,
    /// Fraction that the far end reported lost, 0 to 1.
    reported_loss: Option<f64>,
    /// What a listener would say, 0 to 100 (E-model, ITU-T G.107); null where there is no speech or too little of it.
    r_factor: Option<f64>,
    /// The same as mean opinion score, 1.0 to 4.5.
    mos: Option<f64>,
    /// First packet.
    first: String,
    /// Last packet.
    last: String,
}

/// A call's ladder.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Trace {
    /// Messages in order.
    entries: Vec<Message>,
    /// Older messages that the bounded memory has let go.
    forgotten: u64,
}

/// One SIP message of a ladder.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Message {
    /// When.
    at: String,
    /// Number of the leg: 0 is the caller's.
    leg: u16,
    /// It came from the peer.
    received: bool,
    /// Our address.
    local: String,
    /// The peer's address.
    remote: String,
    /// Transport in upper case.
    transport: &'static str,
    /// Its first line, shortened: `INVITE`, `200 OK (INVITE)`.
    line: String,
    /// The message, while the memory has it; bytes that are no UTF-8 are replaced (`?format=pcap` has them as they were).
    raw: Option<String>,
}

impl CallList {
    /// Of the rows of all shards.
    pub(crate) fn new(mut rows: Vec<CallSummary>, limit: usize, now: Now) -> CallList {
        rows.sort_by_key(|row| core::cmp::Reverse((row.created, row.id)));
        let more = rows.len() > limit;
        rows.truncate(limit);
        CallList { calls: rows.iter().map(|row| CallRow::new(row, now)).collect(), more }
    }
}

impl CallRow {
    fn new(row: &CallSummary, now: Now) -> CallRow {
        CallRow {
            id: row.id.to_string(),
            state: row.state.name(),
            created: row.created.to_string(),
            answered: row.answered.map(|at| at.to_string()),
            duration_ms: row.answered.map(|at| now.wall.0.saturating_sub(at.0) / 1_000),
            from: row.from.clone(),
            to: row.to.clone(),
            trunk_in: row.trunk_in.clone(),
            trunk_out: row.trunk_out.clone(),
        }
    }
}

impl Call {
    pub(crate) fn new(call: &CallView, now: Now) -> Call {
        let happening = |(at, what): &(Wall, String)| Happening { at: at.to_string(), what: what.clone() };
        Call {
            row: CallRow::new(&call.summary, now),
            route: call.route.clone(),
            legs: call.legs.iter().map(|leg| Leg::new(leg, now)).collect(),
            timeline: call.timeline.iter().map(happening).collect(),
            room: call.room.clone(),
            orders: call.orders.iter().map(Order::new).collect(),
        }
    }
}

impl Order {
    fn new(order: &OrderView) -> Order {
        Order {
            id: order.id.to_string(),
            kind: order.kind,
            what: order.what.clone(),
            since: order.since.to_string(),
            paused: order.paused,
        }
    }
}

impl Voice {
    fn new(voice: &VoiceReport) -> Voice {
        let millis = |duration: base::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Voice {
            decodes: voice.decodes,
            encodes: voice.encodes,
            played_ms: millis(voice.played),
            concealed_ms: millis(voice.concealed),
            recovered: voice.recovered,
            late: voice.late,
            delay_ms: millis(voice.delay),
            shortened_ms: millis(voice.shortened),
            stretched_ms: millis(voice.stretched),
        }
    }
}

impl Leg {
    fn new(leg: &LegView, now: Now) -> Leg {
        Leg {
            name: leg.name.clone(),
            direction: leg.direction.name(),
            trunk: leg.trunk.clone(),
            state: leg.state.clone(),
            sip_call_id: leg.sip_call_id.clone(),
            remote: leg.remote.map(|address| address.to_string()),
            local: leg.local.map(|address| address.to_string()),
            transport: leg.transport,
            codecs: leg.codecs.clone(),
            media: leg.media.iter().map(|port| MediaPort::new(port, now)).collect(),
            sentence: leg.sentence.clone(),
        }
    }
}

impl MediaPort {
    fn new(port: &PortReport, now: Now) -> MediaPort {
        let text = |address: Option<core::net::SocketAddr>| address.map(|address| address.to_string());
        MediaPort {
            port: port.port.0,
            local: port.local.to_string(),
            signalled: text(port.signalled),
            learned: text(port.learned),
            moves: port.moves,
            received: port.received.into(),
            sent: port.sent.into(),
            rtcp_received: port.rtcp_received,
            rtcp_sent: port.rtcp_sent,
            silent_ms: port.last_heard.map(|at| now.mono.nanos_since(at) / 1_000_000),
            dropped: port.dropped.iter().map(|(verdict, n)| (verdict.name(), *n)).collect(),
            foreign: text(port.foreign),
            kernel_drops: port.kernel_drops,
            mos: port.mos().map(|mos| rounded(mos, 100.0)),
            voice: port.voice.as_ref().map(Voice::new),
            streams: port.streams.iter().map(|stream| Stream::new(stream, now)).collect(),
        }
    }
}

/// To a fraction of one: more digits than the model means would be noise.
fn rounded(value: f32, of_one: f64) -> f64 {
    (f64::from(value) * of_one).round() / of_one
}

impl From<Totals> for Traffic {
    fn from(Totals { packets, bytes }: Totals) -> Self {
        Traffic { packets, bytes }
    }
}

impl Stream {
    fn new(stream: &StreamReport, now: Now) -> Stream {
        let millis = |duration: base::Duration| duration.as_secs_f64() * 1_000.0;
        let at = |instant: Instant| {
            Wall(now.wall.0.saturating_sub(now.mono.nanos_since(instant) / 1_000)).to_string()
        };
        Stream {
            ssrc: format!("{:08x}", stream.ssrc),
            payload: stream.payload,
            packets: stream.packets,
            lost: stream.lost,
            bursts: stream.bursts,
            reordered: stream.reordered,
            duplicates: stream.duplicates,
            jitter_ms: millis(stream.jitter),
            jitter_max_ms: millis(stream.jitter_max),
            jitter_mean_ms: millis(stream.jitter_mean),
            round_trip_ms: stream.round_trip.map(millis),
            reported_loss: stream.reported_loss.map(|of_256| f64::from(of_256) / 256.0),
            r_factor: stream.r_factor.map(|rating| rounded(rating, 10.0)),
            mos: stream.mos.map(|mos| rounded(mos, 100.0)),
            first: at(stream.first),
            last: at(stream.last),
        }
    }
}

impl Trace {
    pub(crate) fn new(trace: &TraceView) -> Trace {
        Trace { entries: trace.entries.iter().map(Message::new).collect(), forgotten: trace.forgotten }
    }
}

impl Message {
    fn new(entry: &TraceEntry) -> Message {
        Message {
            at: entry.at.to_string(),
            leg: entry.leg,
            received: entry.received,
            local: entry.local.to_string(),
            remote: entry.remote.to_string(),
            transport: entry.transport,
            line: entry.line.clone(),
            raw: entry.raw.as_ref().map(|raw| String::from_utf8_lossy(raw).into_owned()),
        }
    }
}
