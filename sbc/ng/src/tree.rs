//! The answers of `query`, `delete`, `list` and `statistics`, in the layout that clients of rtpengine read. Knows what a
//! call is and what media has seen of it; asks nobody.

mod figures; // `statistics`

pub use figures::{Figures, statistics};

use crate::book::Book;
use crate::exchange::SideState;
use crate::facts::{CallFacts, LineFacts, PartyFacts, Role};
use crate::value::{Dict, Value};
use base::{Instant, Now, Wall};
use command::{BridgeReport, Payload, PortReport, RtcpMux, StreamReport};
use core::net::SocketAddr;

/// What a reply may take on the wire: it goes out as one datagram of UDP.
const REPLY_MAX: usize = 60_000;
/// Calls that `list` names if nobody says how many.
const LIST_DEFAULT: usize = 32;

/// What `query` and `delete` tell of.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// Now.
    pub now: Now,
    /// The call.
    pub facts: &'a CallFacts,
    /// What media has seen of it; without one, nothing was seen.
    pub report: Option<&'a BridgeReport>,
    /// `from-tag`: only this party and those it talks with.
    pub from_tag: Option<&'a [u8]>,
    /// `to-tag`, which goes before `from-tag`.
    pub to_tag: Option<&'a [u8]>,
    /// `metadata` of the call ([`crate::control::Controls::metadata`]).
    pub metadata: Option<&'a [u8]>,
    /// Whether it was or is recorded.
    pub is_recorded: bool,
}

/// The answer of `query`, and of a `delete` that is not `fast`; without `result`. It never takes more than a datagram:
/// of too many streams the oldest are left out, of too many parties the media of the first, and `warning` says so.
pub fn query(query: &Query<'_>) -> Dict {
    let meant = parties(query);
    let mut streams: Vec<&StreamReport> = Vec::new();
    for (_, line) in lines(&meant) {
        if let Some(report) = report_of(query, line) {
            streams.extend(&report.streams);
        }
    }
    streams.sort_by_key(|stream| stream.last);
    let mut whole = head(query);
    let ssrcs = whole.0.len();
    whole.put("SSRC", Dict::new());
    let mut tags: Vec<(Vec<u8>, Dict)> = meant.iter().map(|party| party_dict(query, party)).collect();
    whole.put("totals", totals(query, &meant));
    if query.is_recorded {
        whole.put("recording", Dict::new().with("call recording", Value::Int(1)));
    }
    // The rest of the reply (`result`, further warnings) needs some room, too.
    let mut room = REPLY_MAX.saturating_sub(size_of(&whole) + 1_024);
    let mut warnings = Vec::new();
    let mut whole_media = tags.len();
    for (tag, dict) in tags.iter_mut().rev() {
        let size = size_of(dict) + tag.len() + 8;
        if size > room {
            dict.0.retain(|(key, _)| key != b"medias" && key != b"subscriptions" && key != b"subscribers");
            whole_media -= 1;
        }
        room = room.saturating_sub(size_of(dict) + tag.len() + 8);
    }
    if whole_media < tags.len() {
        warnings.push(format!("media of {} tags left out", tags.len() - whole_media));
    }
    let mut shown = Dict::new();
    let mut left_out = 0;
    for stream in streams.iter().rev() {
        let key = stream.ssrc.to_string();
        if shown.get(&key).is_some() {
            continue;
        }
        let dict = stream_dict(query.now, stream);
        let size = size_of(&dict) + key.len() + 4;
        if size > room {
            left_out += 1;
            continue;
        }
        room -= size;
        shown.put(key, dict);
    }
    if left_out > 0 {
        warnings.push(format!("{left_out} oldest SSRCs left out"));
    }
    let mut by_tag = Dict::new();
    for (tag, dict) in tags {
        by_tag.put(tag, dict);
    }
    whole.0[ssrcs].1 = shown.into();
    whole.0.insert(ssrcs + 1, (b"tags".to_vec(), by_tag.into()));
    if !warnings.is_empty() {
        whole.put("warning", Value::text(warnings.join("; ")));
    }
    whole
}

/// The answer of `list`; without `result`.
pub fn list(book: &Book, limit: Option<u32>) -> Dict {
    let limit = limit.map_or(LIST_DEFAULT, |limit| limit as usize);
    let mut room = REPLY_MAX - 1_024;
    let mut calls = Vec::new();
    let mut dict = Dict::new();
    for call in book.list(limit.min(REPLY_MAX)) {
        let size = call.len() + 8;
        if size > room {
            dict.put("warning", Value::text("more calls than a reply holds"));
            break;
        }
        room -= size;
        calls.push(call.to_vec());
    }
    dict.0.insert(0, (b"calls".to_vec(), Value::texts(calls)));
    dict
}

/// The parties that are told of.
fn parties<'a>(query: &Query<'a>) -> Vec<&'a PartyFacts> {
    let said = |tag: Option<&'a [u8]>| tag.filter(|tag| !tag.is_empty());
    let Some(tag) = said(query.to_tag).or(said(query.from_tag)) else {
        return query.facts.parties.iter().collect();
    };
    let Some(one) = query.facts.tagged(tag) else { return Vec::new() };
    let others = query.facts.parties.iter().filter(|party| {
        party.party != one.party && (one.peers.contains(&party.party) || one.sources.contains(&party.party))
    });
    core::iter::once(one).chain(others).collect()
}

fn lines<'a>(parties: &[&'a PartyFacts]) -> impl Iterator<Item = (&'a PartyFacts, &'a LineFacts)> {
    parties.iter().flat_map(|party| party.lines.iter().map(move |line| (*party, line)))
}

fn report_of<'a>(query: &Query<'a>, line: &LineFacts) -> Option<&'a PortReport> {
    query.report?.ports.iter().find(|port| port.port == line.port)
}

fn head(query: &Query<'_>) -> Dict {
    let facts = query.facts;
    let mut dict = Dict::new();
    dict.put("created", Value::count(facts.created.seconds()));
    dict.put("created_us", Value::count(facts.created.0 % 1_000_000));
    dict.put("last signal", Value::count(facts.last_signal.seconds()));
    if let Some(metadata) = query.metadata {
        dict.put("metadata", Value::text(metadata));
    }
    dict
}

fn party_dict(query: &Query<'_>, party: &PartyFacts) -> (Vec<u8>, Dict) {
    let key = match party.tag.is_empty() {
        true => format!("<untagged {}>", party.party.0).into_bytes(),
        false => party.tag.clone(),
    };
    let tag_of = |party: &PartyFacts| Value::text(party.tag.clone());
    let entry = |other: &PartyFacts, kind: &str| {
        Value::from(Dict::new().with("tag", tag_of(other)).with("type", Value::text(kind)))
    };
    let mut dict = Dict::new();
    dict.put("tag", tag_of(party));
    if !party.via_branch.is_empty() {
        dict.put("via-branch", Value::text(party.via_branch.clone()));
    }
    if let Some(label) = &party.label {
        dict.put("label", Value::text(label.clone()));
    }
    dict.put("created", Value::count(party.created.seconds()));
    let parties = &query.facts.parties;
    let peers: Vec<&PartyFacts> = parties.iter().filter(|other| party.peers.contains(&other.party)).collect();
    if let Some(peer) = peers.iter().rev().find(|peer| !peer.tag.is_empty()) {
        dict.put("in dialogue with", tag_of(peer));
    }
    let talks = || peers.iter().map(|other| entry(other, "offer/answer"));
    let heard = parties.iter().filter(|other| party.sources.contains(&other.party));
    let hearers = parties.iter().filter(|other| other.sources.contains(&party.party));
    let subscribed = |other| entry(other, "pub/sub");
    dict.put("subscriptions", Value::List(talks().chain(heard.map(subscribed)).collect()));
    dict.put("subscribers", Value::List(talks().chain(hearers.map(subscribed)).collect()));
    let medias = party.lines.iter().map(|line| media_dict(query, party, line).into());
    dict.put("medias", Value::List(medias.collect()));
    (key, dict)
}

fn media_dict(query: &Query<'_>, party: &PartyFacts, line: &LineFacts) -> Dict {
    let report = report_of(query, line);
    let state = line.state.as_ref();
    let mut dict = Dict::new();
    dict.put("index", Value::count(line.line + 1));
    dict.put("type", Value::text(line.kind.name()));
    if !line.protocol.is_empty() {
        dict.put("protocol", Value::text(line.protocol.clone()));
    }
    if let Some(codec) = state.zip(report).and_then(|(state, report)| codec(state, report)) {
        dict.put("codec", Value::text(codec));
    }
    dict.put("streams", Value::List(streams(query, party, line, report)));
    let mut flags = vec!["initialized"];
    // As seen from here: what the party receives is sent.
    if party.role != Role::Publishes && state.is_none_or(|state| state.receives) {
        flags.push("send");
    }
    if party.role != Role::Subscribes && state.is_none_or(|state| state.sends) {
        flags.push("recv");
    }
    if state.is_some_and(|state| state.mux == RtcpMux::Muxed) {
        flags.push("rtcp-mux");
    }
    if state.is_some_and(|state| state.secure.is_some()) {
        flags.push("SDES");
    }
    if state.is_some_and(|state| state.is_sealed) {
        flags.push("passthrough");
    }
    dict.put("flags", Value::texts(flags));
    dict
}

/// RTP, and RTCP beside it.
fn streams(
    query: &Query<'_>,
    party: &PartyFacts,
    line: &LineFacts,
    report: Option<&PortReport>,
) -> Vec<Value> {
    let state = line.state.as_ref();
    let is_muxed = state.is_some_and(|state| state.mux == RtcpMux::Muxed);
    let signalled = state.and_then(|state| state.rtp);
    let learned = report.and_then(|report| report.learned);
    let next = |address: SocketAddr| SocketAddr::new(address.ip(), address.port().saturating_add(1));
    let local = match line.local.ip().is_unspecified() {
        true => SocketAddr::new(line.advertised, line.local.port()),
        false => line.local,
    };
    let received = report.map(|report| report.received).unwrap_or_default();
    let errors = report.map_or(0, |report| report.dropped.iter().map(|(_, n)| n).sum());
    let last = report.and_then(|report| report.last_heard).map(|at| wall_of(query.now, at));
    let last = last.unwrap_or(party.created);
    let ssrc = report.and_then(|report| report.streams.last()).map(|stream| stream.ssrc);
    let mut flags = vec!["RTP"];
    if is_muxed {
        flags.push("RTCP");
    }
    let confirmed = |flags: &mut Vec<&'static str>| {
        if signalled.is_some() {
            flags.push("filled");
        }
        if learned.is_some() {
            flags.push("confirmed");
        }
    };
    confirmed(&mut flags);
    let rtcp_received = report.map_or(0, |report| report.rtcp_received);
    let rtp = stream_of(
        local,
        learned.or(signalled),
        signalled,
        last,
        flags,
        ssrc,
        stats(received.packets, received.bytes, errors),
    );
    if is_muxed {
        return vec![rtp.into()];
    }
    let wanted = state.and_then(|state| state.rtcp).or(signalled.map(next));
    let mut flags = vec!["RTCP"];
    confirmed(&mut flags);
    let endpoint = learned.map(next).or(wanted);
    // Media counts packets of RTCP, not their bytes.
    let rtcp = stream_of(next(local), endpoint, wanted, last, flags, ssrc, stats(rtcp_received, 0, 0));
    vec![rtp.into(), rtcp.into()]
}

fn stream_of(
    local: SocketAddr,
    endpoint: Option<SocketAddr>,
    advertised: Option<SocketAddr>,
    last: Wall,
    flags: Vec<&'static str>,
    ssrc: Option<u32>,
    stats: Dict,
) -> Dict {
    let mut dict = Dict::new();
    dict.put("local port", Value::count(local.port()));
    dict.put("local address", Value::text(local.ip().to_string()));
    dict.put("family", Value::text(family(local)));
    dict.put("endpoint", endpoint_dict(endpoint));
    dict.put("advertised endpoint", endpoint_dict(advertised));
    dict.put("last packet", Value::count(last.seconds()));
    dict.put("flags", Value::texts(flags));
    if let Some(ssrc) = ssrc {
        dict.put("SSRC", Value::count(ssrc));
    }
    dict.put("stats", stats);
    dict
}

fn endpoint_dict(address: Option<SocketAddr>) -> Dict {
    let Some(address) = address else { return Dict::new() };
    let mut dict = Dict::new();
    dict.put("family", Value::text(family(address)));
    dict.put("address", Value::text(address.ip().to_string()));
    dict.put("port", Value::count(address.port()));
    dict
}

fn family(address: SocketAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn stats(packets: u64, bytes: u64, errors: u64) -> Dict {
    let mut dict = Dict::new();
    dict.put("packets", Value::count(packets));
    dict.put("bytes", Value::count(bytes));
    dict.put("errors", Value::count(errors));
    dict
}

/// What the last stream of a port was, as an `a=rtpmap` says it.
fn codec(state: &SideState, report: &PortReport) -> Option<String> {
    let payload = report.streams.last()?.payload;
    let Payload { encoding, clock, .. } = state.payloads.iter().find(|known| known.number == payload)?;
    let name = match encoding.as_str() {
        "opus" => return Some("opus/48000/2".to_owned()),
        "telephone-event" | "speex" => encoding.clone(),
        "ilbc" => "iLBC".to_owned(),
        _ => encoding.to_uppercase(),
    };
    Some(format!("{name}/{clock}"))
}

/// One SSRC: mean opinion scores times ten, round-trip times in microseconds, jitter in milliseconds, loss in percent.
fn stream_dict(now: Now, stream: &StreamReport) -> Dict {
    let mut dict = Dict::new();
    dict.put("packets", Value::count(stream.packets));
    dict.put("cumulative loss", Value::count(stream.lost));
    let Some(mos) = stream.mos else { return dict };
    let mos = (f64::from(mos) * 10.0).round() as i64;
    let round_trip = stream.round_trip.map_or(0, |time| time.as_micros());
    let loss = (stream.lost * 100).checked_div(stream.packets + stream.lost).unwrap_or(0);
    let block = |jitter: base::Duration| {
        let mut dict = Dict::new();
        dict.put("MOS", Value::Int(mos));
        dict.put("round-trip time", Value::count(round_trip));
        dict.put("round-trip time leg", Value::count(round_trip));
        dict.put("jitter", Value::count(jitter.as_millis()));
        dict.put("packet loss", Value::count(loss));
        dict
    };
    let reported = Value::count(wall_of(now, stream.last).seconds());
    dict.put("average MOS", block(stream.jitter_mean).with("samples", Value::Int(1)));
    dict.put("lowest MOS", block(stream.jitter_max).with("reported at", reported.clone()));
    dict.put("highest MOS", block(stream.jitter_mean).with("reported at", reported));
    dict
}

/// The sums over these parties.
fn totals(query: &Query<'_>, meant: &[&PartyFacts]) -> Dict {
    let (mut packets, mut bytes, mut errors, mut rtcp) = (0, 0, 0, 0);
    for (_, line) in lines(meant) {
        let Some(report) = report_of(query, line) else { continue };
        packets += report.received.packets;
        bytes += report.received.bytes;
        errors += report.dropped.iter().map(|(_, n)| n).sum::<u64>();
        rtcp += report.rtcp_received;
    }
    Dict::new().with("RTP", stats(packets, bytes, errors)).with("RTCP", stats(rtcp, 0, 0))
}

fn wall_of(now: Now, at: Instant) -> Wall {
    let ago = u64::try_from(now.mono.since(at).as_micros()).unwrap_or(u64::MAX);
    Wall(now.wall.0.saturating_sub(ago))
}

/// What a dictionary takes in bencode, within a few bytes; JSON takes about as much.
fn size_of(dict: &Dict) -> usize {
    2 + dict.0.iter().map(|(key, value)| key.len() + 6 + size_of_value(value)).sum::<usize>()
}

fn size_of_value(value: &Value) -> usize {
    match value {
        Value::Int(number) => 3 + number.unsigned_abs().checked_ilog10().unwrap_or(0) as usize + 1,
        Value::Text(text) => text.len() + 6,
        Value::List(values) => 2 + values.iter().map(|value| size_of_value(value) + 1).sum::<usize>(),
        Value::Dict(dict) => size_of(dict),
    }
}

#[cfg(test)]
mod tests;
