//! Bencode as the NG protocol uses it: keys in any order. The judge's own; nothing here is shared with the engine.

/// A bencoded value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `i-1e`
    Int(i64),
    /// `4:text`, any bytes.
    Text(Vec<u8>),
    /// `l…e`
    List(Vec<Value>),
    /// `d…e`, in the order of the wire.
    Dict(Vec<(Vec<u8>, Value)>),
}

/// Lists and dictionaries within each other that are read at most.
const DEPTH_MAX: usize = 16;

impl Value {
    /// A string.
    pub fn text(text: impl AsRef<[u8]>) -> Self {
        Value::Text(text.as_ref().to_vec())
    }

    /// The value of a key, if this is a dictionary that has it.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let Value::Dict(entries) = self else { return None };
        entries.iter().find(|entry| entry.0 == key.as_bytes()).map(|entry| &entry.1)
    }

    /// The bytes, if this is a string.
    pub fn as_text(&self) -> Option<&[u8]> {
        match self {
            Value::Text(text) => Some(text),
            Value::Int(_) | Value::List(_) | Value::Dict(_) => None,
        }
    }

    /// Appends the wire form.
    pub fn write(&self, out: &mut Vec<u8>) {
        let text = |text: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(format!("{}:", text.len()).as_bytes());
            out.extend_from_slice(text);
        };
        match self {
            Value::Int(number) => out.extend_from_slice(format!("i{number}e").as_bytes()),
            Value::Text(bytes) => text(bytes, out),
            Value::List(values) => {
                out.push(b'l');
                values.iter().for_each(|value| value.write(out));
                out.push(b'e');
            }
            Value::Dict(entries) => {
                out.push(b'd');
                for (key, value) in entries {
                    text(key, out);
                    value.write(out);
                }
                out.push(b'e');
            }
        }
    }

    /// Reads one value that fills `bytes`; `None` if they are anything else.
    pub fn read(bytes: &[u8]) -> Option<Value> {
        let (value, rest) = read(bytes, 0)?;
        rest.is_empty().then_some(value)
    }

    /// Reads the value that `bytes` begin with, and returns what stands after it; `None` if it is not whole.
    pub fn read_first(bytes: &[u8]) -> Option<(Value, &[u8])> {
        read(bytes, 0)
    }
}

fn read(bytes: &[u8], depth: usize) -> Option<(Value, &[u8])> {
    if depth > DEPTH_MAX {
        return None;
    }
    let (&first, mut rest) = bytes.split_first()?;
    match first {
        b'i' => {
            let end = rest.iter().position(|&byte| byte == b'e')?;
            let number = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
            Some((Value::Int(number), &rest[end + 1..]))
        }
        b'l' => {
            let mut values = Vec::new();
            while *rest.first()? != b'e' {
                let (value, after) = read(rest, depth + 1)?;
                values.push(value);
                rest = after;
            }
            Some((Value::List(values), &rest[1..]))
        }
        b'd' => {
            let mut entries = Vec::new();
            while *rest.first()? != b'e' {
                let (key, after) = read_text(rest)?;
                let (value, after) = read(after, depth + 1)?;
                entries.push((key.to_vec(), value));
                rest = after;
            }
            Some((Value::Dict(entries), &rest[1..]))
        }
        _ => read_text(bytes).map(|(text, rest)| (Value::text(text), rest)),
    }
}

fn read_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = bytes.iter().position(|&byte| byte == b':')?;
    let len: usize = std::str::from_utf8(&bytes[..colon]).ok()?.parse().ok()?;
    let rest = &bytes[colon + 1..];
    (len <= rest.len()).then(|| rest.split_at(len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value> {
        let text = proptest::collection::vec(any::<u8>(), 0..20);
        let leaf = prop_oneof![any::<i64>().prop_map(Value::Int), text.clone().prop_map(Value::Text)];
        leaf.prop_recursive(4, 32, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
                proptest::collection::vec((text.clone(), inner), 0..5).prop_map(Value::Dict),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in value()) {
            let mut bytes = Vec::new();
            value.write(&mut bytes);
            prop_assert_eq!(Value::read(&bytes), Some(value));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            Value::read(&bytes);
        }
    }

    #[test]
    fn the_usual_reply_reads() {
        let reply = Value::read(b"d3:sdp5:v=0\r\n6:result2:oke").unwrap();
        assert_eq!(reply.get("result").and_then(Value::as_text), Some(&b"ok"[..]));
        for bad in [&b""[..], b"i12", b"5:abc", b"d3:abce", b"l", b"4:abcde", b"9999999999999999999999:a"] {
            assert_eq!(Value::read(bad), None);
        }
        assert_eq!(Value::read(&[b'l'; 10_000]), None);
    }
}
