//! `calls show`: all of one call for people, ending with the sentences that explain its media.

use super::rows;
use super::table::{clean, clock_time, duration};
use core::fmt::Write;
use serde_json::Value;

/// A call as the API gives it.
pub(super) fn call(call: &Value) -> String {
    let mut out = String::new();
    let text = |value: &Value| clean(value.as_str().unwrap_or("-"));
    let _ = writeln!(out, "call {}  {}", text(&call["id"]), text(&call["state"]));
    let _ = writeln!(out, "  from {} by {}", text(&call["from"]), text(&call["trunk_in"]));
    let _ = writeln!(out, "  to   {} by {}", text(&call["to"]), text(&call["trunk_out"]));
    let length = call["duration_ms"].as_u64().map_or_else(|| "not answered".to_owned(), duration);
    let _ = writeln!(out, "  route {}, since {}, {length}", text(&call["route"]), text(&call["created"]));
    for leg in rows(call, "legs") {
        let _ = writeln!(
            out,
            "\nleg {} ({})  {}",
            text(&leg["name"]),
            text(&leg["direction"]),
            text(&leg["state"])
        );
        let (local, remote) = (text(&leg["local"]), text(&leg["remote"]));
        let _ = writeln!(
            out,
            "  {} {local} <-> {remote}, Call-ID {}",
            text(&leg["transport"]),
            text(&leg["sip_call_id"])
        );
        for codec in rows(leg, "codecs") {
            let _ = writeln!(out, "  {}", text(codec));
        }
        for port in rows(leg, "media") {
            media(&mut out, port);
        }
    }
    if let Some(room) = call["room"].as_str() {
        let _ = writeln!(out, "\nin room {}", clean(room));
    }
    for order in rows(call, "orders") {
        let paused = if order["paused"] == true { ", paused" } else { "" };
        let (kind, what) = (text(&order["kind"]), text(&order["what"]));
        let since = clock_time(&order["since"]);
        let _ = writeln!(out, "\n{kind} {what} since {since}{paused}, id {}", text(&order["id"]));
    }
    out.push_str("\ntimeline\n");
    for line in rows(call, "timeline") {
        let _ = writeln!(out, "  {}  {}", clock_time(&line["at"]), text(&line["what"]));
    }
    out.push('\n');
    for sentence in rows(call, "legs").iter().filter_map(|leg| leg["sentence"].as_str()) {
        let _ = writeln!(out, "{}", clean(sentence));
    }
    out
}

fn media(out: &mut String, port: &Value) {
    let text = |value: &Value| clean(value.as_str().unwrap_or("-"));
    let (signalled, learned) = (text(&port["signalled"]), text(&port["learned"]));
    let _ = writeln!(out, "  media {} <-> {learned} (SDP says {signalled})", text(&port["local"]));
    let (rx, tx) = (&port["received"], &port["sent"]);
    let _ = writeln!(
        out,
        "    received {} packets, sent {}; RTCP {} and {}",
        rx["packets"], tx["packets"], port["rtcp_received"], port["rtcp_sent"]
    );
    for (reason, n) in port["dropped"].as_object().into_iter().flatten() {
        let foreign =
            port["foreign"].as_str().map_or_else(String::new, |from| format!(", last from {}", clean(from)));
        let _ = writeln!(out, "    dropped {n} {}{foreign}", clean(reason));
    }
    if let Some(voice) = port["voice"].as_object() {
        let codec = |name: &str| clean(voice[name].as_str().unwrap_or("nothing"));
        let _ = writeln!(
            out,
            "    decodes {}, encodes {}: {} ms played, {} ms concealed, {} recovered, {} late, {} ms delay",
            codec("decodes"),
            codec("encodes"),
            voice["played_ms"],
            voice["concealed_ms"],
            voice["recovered"],
            voice["late"],
            voice["delay_ms"]
        );
    }
    for stream in rows(port, "streams") {
        let jitter = stream["jitter_max_ms"].as_f64().unwrap_or(0.0);
        let _ = writeln!(
            out,
            "    stream {} type {}: {} packets, {} lost, {} late, jitter up to {jitter:.1} ms",
            text(&stream["ssrc"]),
            stream["payload"],
            stream["packets"],
            stream["lost"],
            stream["reordered"]
        );
    }
}
