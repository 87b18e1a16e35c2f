//! JSON as a second notation of the protocol: read within bounds, written so that whatever is text stays what it was.
//! Knows no command. RFC 8259.

use crate::bencode::DEPTH_MAX;
use crate::failure::Failure;
use crate::raw;
use crate::value::{Dict, VALUES_MAX, Value};

/// Where an object or array ends, looking at each byte once however it arrives.
#[derive(Debug, Default)]
pub struct Scan {
    at: usize,
    depth: usize,
    in_text: bool,
    escaped: bool,
    /// Commas and what opens: at least as many as there are values, but for one.
    marks: usize,
}

impl Scan {
    /// The end of the value that `bytes` begin with, or `None` while there are too few of them. Call again with the same
    /// bytes and more behind them.
    ///
    /// # Errors
    /// [`Failure::Json`] for what begins otherwise, is nested too deeply or has too many values.
    pub fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Failure> {
        while let Some(&byte) = bytes.get(self.at) {
            self.at += 1;
            if self.in_text {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_text = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' if self.depth > 0 => self.in_text = true,
                b'{' | b'[' => {
                    self.depth += 1;
                    self.marks += 1;
                }
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Ok(Some(self.at));
                    }
                }
                b',' => self.marks += 1,
                _ if self.depth == 0 => return Err(Failure::Json),
                _ => {}
            }
            if self.depth > DEPTH_MAX || self.marks > VALUES_MAX {
                return Err(Failure::Json);
            }
        }
        Ok(None)
    }
}

/// Reads one value and nothing else. `true` and `false` are 1 and 0, as rtpengine has them; what is `null` is left out; a
/// fraction becomes whole.
///
/// # Errors
/// [`Failure::Json`].
pub fn read(bytes: &[u8]) -> Result<Value, Failure> {
    // First what costs nothing: the tree is never built of a hostile text.
    if Scan::default().end(bytes)? != Some(bytes.len()) {
        return Err(Failure::Json);
    }
    let json = serde_json::from_slice(bytes).map_err(|_| Failure::Json)?;
    value(json).ok_or(Failure::Json)
}

fn value(json: serde_json::Value) -> Option<Value> {
    use serde_json::Value as Json;
    Some(match json {
        Json::Null => return None,
        Json::Bool(yes) => Value::Int(yes.into()),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Value::Int(number),
            // Saturates: what is beyond 63 bits is beyond any key's bounds as well.
            (None, Some(number)) => Value::Int(number as i64),
            (None, None) => return None,
        },
        Json::String(text) => Value::Text(text.into_bytes()),
        Json::Array(values) => Value::List(values.into_iter().filter_map(value).collect()),
        Json::Object(entries) => {
            let entries =
                entries.into_iter().filter_map(|(key, json)| Some((key.into_bytes(), value(json)?)));
            Value::Dict(Dict(entries.collect()))
        }
    })
}

/// Texts of the outermost object by their keys, in any spelling, without reading the rest: the first of each.
pub fn texts_at_top<const N: usize>(bytes: &[u8], keys: [&str; N]) -> [Option<Vec<u8>>; N] {
    let mut found = [const { None }; N];
    let (mut depth, mut at) = (0usize, 0);
    // The key whose value comes next.
    let mut wanted = None;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let Some(len) = text_len(&bytes[at..]) else { break };
                let text = &bytes[at..at + len];
                let behind = bytes[at + len..].trim_ascii_start();
                at += len;
                if depth != 1 {
                    continue;
                }
                match (wanted.take(), behind.first()) {
                    (None, Some(b':')) => {
                        let key: Option<String> = serde_json::from_slice(text).ok();
                        let is =
                            |wanted: &&str| raw::is_word(key.as_deref().unwrap_or("").as_bytes(), wanted);
                        wanted = keys.iter().position(is).filter(|key| found[*key].is_none());
                    }
                    (Some(key), _) => {
                        let text: Option<String> = serde_json::from_slice(text).ok();
                        found[key] = text.map(String::into_bytes);
                    }
                    (None, _) => {}
                }
                continue;
            }
            b'{' | b'[' => (depth, wanted) = (depth + 1, None),
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => wanted = None,
            b'-' | b'0'..=b'9' if depth == 1 => {
                let len = bytes[at..].iter().take_while(|byte| !b",} \t\r\n".contains(byte)).count();
                if let Some(key) = wanted.take() {
                    let number: Option<serde_json::Value> = serde_json::from_slice(&bytes[at..at + len]).ok();
                    found[key] = number.and_then(value).and_then(|number| number.to_text());
                }
                at += len.max(1);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Bytes of the text that `bytes` begin with, its quotes included.
fn text_len(bytes: &[u8]) -> Option<usize> {
    let mut escaped = true; // the first quote opens
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Writes a dictionary. A text that is no UTF-8 has U+FFFD in its place, since JSON knows no bytes.
pub fn write(dict: &Dict) -> Vec<u8> {
    let mut out = Vec::new();
    write_dict(dict, &mut out);
    out
}

fn write_dict(dict: &Dict, out: &mut Vec<u8>) {
    out.push(b'{');
    for (n, (key, value)) in dict.0.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_text(key, out);
        out.push(b':');
        write_value(value, out);
    }
    out.push(b'}');
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::Text(text) => write_text(text, out),
        Value::List(values) => {
            out.push(b'[');
            for (n, value) in values.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write_value(value, out);
            }
            out.push(b']');
        }
        Value::Dict(dict) => write_dict(dict, out),
    }
}

fn write_text(text: &[u8], out: &mut Vec<u8>) {
    serde_json::to_writer(out, &*String::from_utf8_lossy(text)).expect("a text is written to memory");
}
