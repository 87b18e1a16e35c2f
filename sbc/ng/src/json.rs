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

/// Reads one object or array and nothing else, in the order in which it is written. `true` and `false` are 1 and 0, as
/// rtpengine has them; what is `null` is left out; a fraction becomes whole.
///
/// # Errors
/// [`Failure::Json`].
pub fn read(bytes: &[u8]) -> Result<Value, Failure> {
    // First what costs nothing: no tree is built of a hostile text, and what is built below is within bounds.
    if Scan::default().end(bytes)? != Some(bytes.len()) {
        return Err(Failure::Json);
    }
    Reader { rest: bytes }.value().flatten().ok_or(Failure::Json)
}

/// Texts of the outermost object by their keys, in any spelling, without reading the rest: the first of each.
pub fn texts_at_top<const N: usize>(bytes: &[u8], keys: [&str; N]) -> [Option<Vec<u8>>; N] {
    let mut found = [const { None }; N];
    let mut reader = Reader { rest: bytes };
    // Wherever it ends for being no JSON, what was found holds: the request will be refused all the same.
    let _ = reader.entries(|reader, key| {
        let wanted = keys.iter().position(|wanted| raw::is_word(&key, wanted));
        let Some(place) = wanted.map(|wanted| &mut found[wanted]).filter(|place| place.is_none()) else {
            return reader.skip();
        };
        match reader.rest.first()? {
            b'{' | b'[' => {
                *place = Some(None);
                reader.skip()
            }
            _ => {
                // `null` is nothing: the next one counts.
                *place = reader.value()?.map(|value| value.to_text());
                Some(())
            }
        }
    });
    found.map(Option::flatten)
}

/// Reads on; `None` where no JSON goes on so.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    /// One value; `Some(None)` for `null`. As deep as [`Scan`] allows.
    fn value(&mut self) -> Option<Option<Value>> {
        self.blanks();
        Some(Some(match self.rest.first()? {
            b'{' => {
                let mut dict = Dict::new();
                self.entries(|reader, key| {
                    let value = reader.value()?;
                    dict.0.extend(value.map(|value| (key, value)));
                    Some(())
                })?;
                Value::Dict(dict)
            }
            b'[' => {
                let mut list = Vec::new();
                self.members(b'[', b']', |reader| {
                    list.extend(reader.value()?);
                    Some(())
                })?;
                Value::List(list)
            }
            b'"' => Value::Text(self.text()?),
            b't' => Value::Int(self.word(b"true").map(|()| 1)?),
            b'f' => Value::Int(self.word(b"false").map(|()| 0)?),
            b'n' => return self.word(b"null").map(|()| None),
            _ => Value::Int(self.number()?),
        }))
    }

    /// Goes behind a value without building it.
    fn skip(&mut self) -> Option<()> {
        match self.rest.first()? {
            b'{' | b'[' => {
                let end = Scan::default().end(self.rest).ok()??;
                self.rest = &self.rest[end..];
                Some(())
            }
            b'"' => self.token(text_len(self.rest)?).map(drop),
            _ => self.value().map(drop),
        }
    }

    /// The entries of an object; `entry` reads the value of a key.
    fn entries(&mut self, mut entry: impl FnMut(&mut Self, Vec<u8>) -> Option<()>) -> Option<()> {
        self.members(b'{', b'}', |reader| {
            let key = reader.text()?;
            reader.blanks();
            reader.word(b":")?;
            reader.blanks();
            entry(reader, key)
        })
    }

    /// What stands between two brackets and commas.
    fn members(
        &mut self,
        open: u8,
        close: u8,
        mut member: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.blanks();
        self.word(&[open])?;
        self.blanks();
        if self.rest.first() == Some(&close) {
            return self.word(&[close]);
        }
        loop {
            self.blanks();
            member(self)?;
            self.blanks();
            if self.rest.first() == Some(&close) {
                return self.word(&[close]);
            }
            self.word(b",")?;
        }
    }

    fn text(&mut self) -> Option<Vec<u8>> {
        let len = text_len(self.rest)?;
        let text: String = serde_json::from_slice(self.token(len)?).ok()?;
        Some(text.into_bytes())
    }

    /// Beyond 63 bits it stands still there: no key goes so far.
    fn number(&mut self) -> Option<i64> {
        let len =
            self.rest.iter().take_while(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte)).count();
        let number: serde_json::Number = serde_json::from_slice(self.token(len)?).ok()?;
        number.as_i64().or_else(|| number.as_f64().map(|number| number as i64))
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(())
    }

    fn token(&mut self, len: usize) -> Option<&[u8]> {
        let (token, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(token)
    }

    fn blanks(&mut self) {
        let len = self.rest.iter().take_while(|byte| b" \t\r\n".contains(byte)).count();
        self.rest = &self.rest[len..];
    }
}

/// Bytes of the text that `bytes` begin with, its quotes included.
fn text_len(bytes: &[u8]) -> Option<usize> {
    if bytes.first() != Some(&b'"') {
        return None;
    }
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate().skip(1) {
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

/// A text as JSON has it; what is no UTF-8 becomes U+FFFD.
pub(crate) fn write_text(text: &[u8], out: &mut Vec<u8>) {
    serde_json::to_writer(out, &*String::from_utf8_lossy(text)).expect("a text is written to memory");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode;
    use proptest::prelude::*;

    fn reads(text: &str, expected: &str) {
        let dict = match read(text.as_bytes()) {
            Ok(Value::Dict(dict)) => dict,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(String::from_utf8(write(&dict)).unwrap(), expected, "{text}");
    }

    #[test]
    fn values_of_all_kinds_are_read_in_their_order() {
        reads(
            r#"{"b":1,"a":"x","c":[1,"2",{}],"d":{"e":[]}}"#,
            r#"{"b":1,"a":"x","c":[1,"2",{}],"d":{"e":[]}}"#,
        );
        reads(" { \"a\" :\t[ 1 ,\r\n2 ] } ".trim(), r#"{"a":[1,2]}"#);
        reads(r#"{"a":true,"b":false,"c":null,"d":[null,1]}"#, r#"{"a":1,"b":0,"d":[1]}"#);
        reads(
            r#"{"a":20.0,"b":-1.9,"c":1e2,"d":1e30,"e":-1e400}"#.replace(",\"e\":-1e400", "").as_str(),
            r#"{"a":20,"b":-1,"c":100,"d":9223372036854775807}"#,
        );
        reads(r#"{"sdp":"v=0\r\ns=\u00e4\ud83d\ude00\"\\\/"}"#, "{\"sdp\":\"v=0\\r\\ns=ä😀\\\"\\\\/\"}");
        reads(r#"{"a":1,"a":2}"#, r#"{"a":1,"a":2}"#);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let texts = [
            "",
            "{",
            "}",
            "[1",
            "{]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "[1,]",
            "[,1]",
            "{a:1}",
            "{1:2}",
            "[01]",
            "[+1]",
            "[.5]",
            "[1e400]",
            "[--1]",
            "[tru]",
            "[nulll]",
            "[\"\\x\"]",
            "[\"\\ud800\"]",
            "[\"\n\"]",
            "[1]x",
            "{\"a\":1}{",
            "1",
            "\"a\"",
            "[\"a]",
            "[1 2]",
            "{\"a\":1 \"b\":2}",
            "[\u{a0}1]",
        ];
        for text in texts {
            assert_eq!(read(text.as_bytes()), Err(Failure::Json), "{text}");
        }
        assert_eq!(read(b"{\"a\":\"\xff\"}"), Err(Failure::Json));
    }

    #[test]
    fn depth_and_number_of_values_are_bounded() {
        let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        assert!(read(nested(DEPTH_MAX).as_bytes()).is_ok());
        for depth in [DEPTH_MAX + 1, 10_000, 400_000] {
            assert_eq!(read(nested(depth).as_bytes()), Err(Failure::Json));
            assert_eq!(read("{\"a\":".repeat(depth).as_bytes()), Err(Failure::Json));
        }
        assert!(read(["[", &"1,".repeat(VALUES_MAX - 1), "1]"].concat().as_bytes()).is_ok());
        assert_eq!(read(["[", &"1,".repeat(VALUES_MAX), "1]"].concat().as_bytes()), Err(Failure::Json));
    }

    #[test]
    fn keys_of_the_outermost_object_are_found_in_any_spelling() {
        let rows: [(&str, Option<&str>); 11] = [
            (r#"{"call-id":"a"}"#, Some("a")),
            (r#"{"x":{"call-id":"no"},"y":["call-id","no"],"Call_ID":"a\"b"}"#, Some("a\"b")),
            (r#"{"x":"call-id","call id" : 12 }"#, Some("12")),
            (r#"{"call-id":"a","call id":"b"}"#, Some("a")),
            (r#"{"call-id":null,"call id":"b"}"#, Some("b")),
            (r#"{"call-id":["a"],"call id":"b"}"#, None),
            (r#"{"call-id":true}"#, Some("1")),
            (r#"{"x":"\\","call-id":"a"}"#, Some("a")),
            (r#"{"c\u0061ll-id":"a"}"#, Some("a")),
            (r#"{"call-id"}"#, None),
            (r#"["call-id","a"]"#, None),
        ];
        for (text, expected) in rows {
            let [found] = texts_at_top(text.as_bytes(), ["call-id"]);
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_written_as_such() {
        let dict = Dict::new().with("blob", Value::text(b"a\xffb\0".to_vec()));
        assert_eq!(write(&dict), "{\"blob\":\"a\u{fffd}b\\u0000\"}".as_bytes());
    }

    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<i64>().prop_map(Value::Int), ".{0,12}".prop_map(Value::text)];
        leaf.prop_recursive(5, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
                proptest::collection::vec((".{0,12}".prop_map(String::into_bytes), inner), 0..6)
                    .prop_map(|entries| Value::Dict(Dict(entries))),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_means_the_same_in_both_notations(value in tree()) {
            let dict = Dict::new().with("v", value);
            let json = write(&dict);
            prop_assert_eq!(read(&json), Ok(Value::Dict(dict.clone())));
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok());
            let written = dict.to_bencode();
            let read = bencode::Value::read(&written).unwrap().dict().unwrap();
            prop_assert_eq!(Dict::from_bencode(read), Ok(dict));
        }

        #[test]
        fn whatever_we_read_the_library_reads(text in r#"[\[\]{}",:0-9a-e\\ntrue.+-]{0,40}"#) {
            let theirs = serde_json::from_slice::<serde_json::Value>(text.as_bytes());
            let is_tree = theirs.is_ok_and(|value| value.is_object() || value.is_array());
            let blank = text.trim_ascii() != text;
            prop_assert!(blank || is_tree == read(text.as_bytes()).is_ok(), "{}", text);
            crate::fuzz::json(text.as_bytes());
        }
    }
}
