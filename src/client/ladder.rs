//! A call's messages as a ladder of plain ASCII: the caller's side left, the engine in the middle, the called sides right.

use super::rows;
use super::table::clock_time;
use core::fmt::Write;
use serde_json::Value;
use std::collections::BTreeMap;

/// Characters from one lane to the next: three lanes fit into 80 columns.
const WIDTH: usize = 31;
/// Characters of the time before the first lane.
const MARGIN: usize = 14;
/// Lanes that are drawn; a call with more attempts than that is read as JSON.
const LANES_MAX: usize = 12;

/// A trace as the API gives it.
pub(super) fn draw(trace: &Value) -> String {
    let entries = rows(trace, "entries");
    // Lane 0 is the caller, 1 the engine, then the called legs in order.
    let mut lanes: BTreeMap<u64, (usize, String)> = BTreeMap::from([(0, (0, "-".to_owned()))]);
    for entry in entries {
        let leg = entry["leg"].as_u64().unwrap_or(0);
        let peer = format!("{} {}", ascii(&entry["transport"]), ascii(&entry["remote"]));
        lanes.entry(leg).or_insert_with(|| (0, String::new())).1 = peer;
    }
    for (i, lane) in lanes.values_mut().enumerate() {
        lane.0 = if i == 0 { 0 } else { i + 1 };
    }
    let count = (lanes.len() + 1).min(LANES_MAX);
    let mut out = String::new();
    for (leg, (_, peer)) in &lanes {
        let _ = writeln!(out, "{:>3} = {peer}", name(*leg));
    }
    let forgotten = trace["forgotten"].as_u64().unwrap_or(0);
    if forgotten > 0 {
        let _ = writeln!(out, "      (older messages forgotten: {forgotten})");
    }
    let mut heads = blank(count, b' ');
    put(&mut heads, 1, "strowger");
    for (leg, (lane, _)) in &lanes {
        put(&mut heads, *lane, &name(*leg));
    }
    line(&mut out, "", &heads);
    line(&mut out, "", &blank(count, b'|'));
    for entry in entries {
        let lane = lanes.get(&entry["leg"].as_u64().unwrap_or(0)).map_or(0, |lane| lane.0);
        let mut row = blank(count, b'|');
        if lane < count {
            arrow(&mut row, lane, entry["received"] == true, &ascii(&entry["line"]));
        }
        line(&mut out, &clock_time(&entry["at"]), &row);
    }
    out
}

/// `A`, `B`, `B2` … as in `calls show`.
fn name(leg: u64) -> String {
    match leg {
        0 => "A".to_owned(),
        1 => "B".to_owned(),
        n => format!("B{n}"),
    }
}

/// A row with this at each lane.
fn blank(lanes: usize, at_lane: u8) -> Vec<u8> {
    let mut row = vec![b' '; MARGIN + (lanes - 1) * WIDTH + WIDTH / 2];
    for lane in 0..lanes {
        row[position(lane)] = at_lane;
    }
    row
}

fn position(lane: usize) -> usize {
    MARGIN + lane * WIDTH
}

/// Writes a text centred on a lane.
fn put(row: &mut [u8], lane: usize, text: &str) {
    let start = position(lane).saturating_sub(text.len() / 2);
    for (cell, byte) in row.iter_mut().skip(start).zip(text.bytes()) {
        *cell = byte;
    }
}

/// From the lane to the engine if it was received, else to the lane.
fn arrow(row: &mut [u8], lane: usize, received: bool, label: &str) {
    let (left, right) = (position(lane.min(1)), position(lane.max(1)));
    row[left + 1..right].fill(b'-');
    let rightwards = (lane == 0) == received;
    if rightwards {
        row[right - 1] = b'>';
    } else {
        row[left + 1] = b'<';
    }
    let room = right - left - 5;
    // Without room, the method of a response is the first to go.
    let label = if label.len() > room { label.split(" (").next().unwrap_or(label) } else { label };
    let label: String = label.chars().take(room).collect();
    let start = left + 1 + (right - left - 1 - label.len() - 2) / 2;
    for (cell, byte) in row[start..].iter_mut().zip(format!(" {label} ").bytes()) {
        *cell = byte;
    }
}

fn line(out: &mut String, time: &str, row: &[u8]) {
    let row = String::from_utf8_lossy(row);
    let _ = writeln!(out, "{time}{}", row[time.len().min(MARGIN - 1)..].trim_end());
}

fn ascii(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or("-")
        .chars()
        .map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn odd_traces_are_drawn_without_panic() {
        let long = "x".repeat(500);
        for trace in [
            json!(null),
            json!({ "entries": [] }),
            json!({ "entries": [{}, { "leg": 9, "at": "é", "line": "\u{1b}é" }] }),
            json!({ "entries": (0..40).map(|leg| json!({ "leg": leg, "line": long, "received": leg % 2 == 0 })).collect::<Vec<_>>() }),
        ] {
            let drawn = draw(&trace);
            assert!(drawn.contains("strowger") && drawn.is_ascii(), "{drawn}");
        }
    }
}
