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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::a_cdr;
    use proptest::prelude::*;

    /// The values of a line as any reader of RFC 4180 sees them.
    fn read(line: &str) -> Vec<String> {
        let mut values = vec![String::new()];
        let mut quoted = false;
        let mut chars = line.strip_suffix("\r\n").expect("a line has its end").chars().peekable();
        while let Some(c) = chars.next() {
            let value = values.last_mut().expect("there is one from the start");
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    value.push('"');
                }
                '"' => quoted = !quoted,
                ',' if !quoted => values.push(String::new()),
                c => value.push(c),
            }
        }
        assert!(!quoted);
        values
    }

    fn written(record: &Record<'_>) -> String {
        let mut out = Vec::new();
        line(record, &mut out);
        assert_eq!(id_of(&out), Some(record.id.to_string().as_str()));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_has_the_values_of_its_record_under_their_names() {
        let mut cdr = a_cdr(1, 0);
        cdr.from_name = "Ann \"A\", Bert".into();
        (cdr.cost, cdr.price_per_minute, cdr.account) = (Some(0.5), Some(0.000_001), Some("=cmd".into()));
        cdr.tags = vec![("X".into(), "1,2".into())];
        cdr.quality = Some(ledger::Quality { received: 5, mos: Some(4.2), ..Default::default() });
        let values = read(&written(&Record::from(&cdr)));
        assert_eq!(values.len(), NAMES.len());
        let value = |name: &str| values[NAMES.iter().position(|known| *known == name).unwrap()].as_str();
        for (name, expected) in [
            ("id", "000000000000000000000001-0"),
            ("leg", "0"),
            ("trunk", "pbx"),
            ("group", ""),
            ("account", "=cmd"),
            ("from_name", "Ann \"A\", Bert"),
            ("from_header", "\"Ann\" <sip:2001@example>;tag=1"),
            ("remote", "[2001:db8::1]:5060"),
            ("created", "2026-11-21T08:01:56.500000Z"),
            ("final_status", "200"),
            ("ring_ms", "3000"),
            ("billable", "true"),
            ("price_per_minute", "0.000001"),
            ("cost", "0.5"),
            ("tags", "{\"X\":\"1,2\"}"),
            ("received", "5"),
            ("one_way", "false"),
            ("mos", "4.2"),
        ] {
            assert_eq!(value(name), expected, "{name}");
        }
    }

    #[test]
    fn the_columns_are_the_fields_of_the_record() {
        let mut cdr = a_cdr(1, 0);
        cdr.quality = Some(ledger::Quality::default());
        let record = serde_json::to_value(Record::from(&cdr)).unwrap();
        let mut fields: Vec<&String> =
            record.as_object().unwrap().keys().filter(|name| *name != "quality").collect();
        fields.extend(record["quality"].as_object().unwrap().keys());
        let (mut fields, mut names) = (fields, NAMES.to_vec());
        fields.sort();
        names.sort_unstable();
        assert_eq!(fields, names);
    }

    proptest! {
        #[test]
        fn any_text_comes_back_but_control_octets_are_blanks(texts in proptest::collection::vec(any::<String>(), 6)) {
            let mut cdr = a_cdr(1, 0);
            (cdr.from_name, cdr.to_uri) = (texts[0].clone(), texts[1].clone());
            (cdr.final_reason, cdr.policy) = (texts[2].clone(), Some(texts[3].clone()));
            (cdr.sip_call_id, cdr.release_reason) = (texts[4].clone(), Some(texts[5].clone()));
            let values = read(&written(&Record::from(&cdr)));
            prop_assert_eq!(values.len(), NAMES.len());
            let names = ["from_name", "to_uri", "final_reason", "policy", "sip_call_id", "release_reason"];
            for (name, text) in names.iter().zip(&texts) {
                let plain = |c: char| if c.is_ascii_control() { ' ' } else { c };
                let at = NAMES.iter().position(|known| known == name).unwrap();
                prop_assert_eq!(&values[at], &text.chars().map(plain).collect::<String>());
            }
        }
    }
}
