//! Records as comma-separated values (RFC 4180): a line of names, then a line a record. Values are written as they are,
//! so a spreadsheet may take one that begins with `=` for a formula.

use crate::record::Record;
use core::fmt::{Display, Write};

/// Names of the columns, in order. A new column comes last, so that positions stay.
pub const NAMES: [&str; 43] = [
    "id",
    "call_id",
    "leg",
    "direction",
    "trunk",
    "group",
    "route",
    "account",
    "account_code",
    "sip_call_id",
    "from_user",
    "from_name",
    "from_header",
    "to_user",
    "to_host",
    "to_uri",
    "local",
    "remote",
    "created",
    "progress",
    "progress_status",
    "progress_reason",
    "answered",
    "final_status",
    "final_reason",
    "ended",
    "post_dial_delay_ms",
    "ring_ms",
    "duration_ms",
    "release_by",
    "release_cause",
    "release_reason",
    "policy",
    "billable",
    "price_per_minute",
    "cost",
    "tags",
    "received",
    "sent",
    "lost",
    "jitter_max_us",
    "one_way",
    "mos",
];

/// The line of names.
pub fn header(out: &mut Vec<u8>) {
    out.extend_from_slice(NAMES.join(",").as_bytes());
    out.extend_from_slice(END);
}

/// The line of one record. Control octets in values become blanks, so that a record is always one line.
pub fn line(record: &Record<'_>, out: &mut Vec<u8>) {
    let mut line = Line { out, value: String::new(), first: true };
    line.number(Some(record.id));
    line.number(Some(record.call_id));
    line.number(Some(record.leg));
    line.text(&record.direction);
    for text in [&record.trunk, &record.group, &record.route, &record.account, &record.account_code] {
        line.text(text.as_deref().unwrap_or_default());
    }
    for text in [
        &record.sip_call_id,
        &record.from_user,
        &record.from_name,
        &record.from_header,
        &record.to_user,
        &record.to_host,
        &record.to_uri,
    ] {
        line.text(text);
    }
    line.number(record.local);
    line.number(record.remote);
    line.number(Some(record.created));
    line.number(record.progress);
    line.number(record.progress_status);
    line.text(&record.progress_reason);
    line.number(record.answered);
    line.number(record.final_status);
    line.text(&record.final_reason);
    line.number(Some(record.ended));
    line.number(record.post_dial_delay_ms);
    line.number(record.ring_ms);
    line.number(Some(record.duration_ms));
    line.text(&record.release_by);
    line.text(&record.release_cause);
    line.text(record.release_reason.as_deref().unwrap_or_default());
    line.text(record.policy.as_deref().unwrap_or_default());
    line.number(Some(record.billable));
    line.number(record.price_per_minute);
    line.number(record.cost);
    if record.tags.is_empty() {
        line.text("");
    } else {
        line.text(&serde_json::to_string(&record.tags).expect("names and values are plain data"));
    }
    let quality = record.quality;
    line.number(quality.map(|quality| quality.received));
    line.number(quality.map(|quality| quality.sent));
    line.number(quality.map(|quality| quality.lost));
    line.number(quality.map(|quality| quality.jitter_max_us));
    line.number(quality.map(|quality| quality.one_way));
    line.number(quality.and_then(|quality| quality.mos));
    line.out.extend_from_slice(END);
}

/// The id in a line of ours.
pub(crate) fn id_of(line: &[u8]) -> Option<&str> {
    core::str::from_utf8(line.split(|byte| *byte == b',').next()?).ok()
}

/// A line in the making.
struct Line<'a> {
    out: &'a mut Vec<u8>,
    value: String,
    first: bool,
}

impl Line<'_> {
    fn comma(&mut self) {
        if !core::mem::take(&mut self.first) {
            self.out.push(b',');
        }
    }

    /// A number, a time, an address: nothing that must be quoted.
    fn number(&mut self, value: Option<impl Display>) {
        self.comma();
        if let Some(value) = value {
            self.value.clear();
            let _ = write!(self.value, "{value}");
            self.out.extend_from_slice(self.value.as_bytes());
        }
    }

    fn text(&mut self, text: &str) {
        self.comma();
        let special = |byte: u8| byte < b' ' || b",\" \x7f".contains(&byte);
        if !text.bytes().any(special) {
            return self.out.extend_from_slice(text.as_bytes());
        }
        self.out.push(b'"');
        for byte in text.bytes() {
            match byte {
                b'"' => self.out.extend_from_slice(b"\"\""),
                0..b' ' | 0x7f => self.out.push(b' '),
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
    }
}

const END: &[u8] = b"\r\n";
