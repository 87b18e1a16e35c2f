//! What a request or a reply says, whichever notation it was in: an owned tree. Knows no command and no notation.

use crate::bencode;

/// Values of one request at most, keys aside. The largest that are known to be sent have less than 200.
pub const VALUES_MAX: usize = 4_096;

/// More than [`VALUES_MAX`] values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many values")]
pub struct TooMany;

/// One value. Texts are bytes, since SDP, tags and file contents are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A number.
    Int(i64),
    /// A string.
    Text(Vec<u8>),
    /// Values in order.
    List(Vec<Value>),
    /// Keys and values in the order in which they were written.
    Dict(Dict),
}

/// Keys and values in order; a key that is repeated counts where it stands first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dict(pub Vec<(Vec<u8>, Value)>);

impl Value {
    /// A string.
    pub fn text(text: impl Into<Vec<u8>>) -> Value {
        Value::Text(text.into())
    }

    /// A list of strings.
    pub fn texts<T: Into<Vec<u8>>>(texts: impl IntoIterator<Item = T>) -> Value {
        Value::List(texts.into_iter().map(Value::text).collect())
    }

    /// A counter; beyond 63 bits it stands still.
    pub fn count(count: impl TryInto<i64>) -> Value {
        Value::Int(count.try_into().unwrap_or(i64::MAX))
    }

    /// The bytes of a string.
    pub fn as_text(&self) -> Option<&[u8]> {
        match self {
            Value::Text(text) => Some(text),
            Value::Int(_) | Value::List(_) | Value::Dict(_) => None,
        }
    }

    /// A number, also one that is written as a string.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(number) => Some(*number),
            Value::Text(text) => core::str::from_utf8(text).ok()?.trim().parse().ok(),
            Value::List(_) | Value::Dict(_) => None,
        }
    }

    /// A list.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(values) => Some(values),
            Value::Int(_) | Value::Text(_) | Value::Dict(_) => None,
        }
    }

    /// A dictionary.
    pub fn as_dict(&self) -> Option<&Dict> {
        match self {
            Value::Dict(dict) => Some(dict),
            Value::Int(_) | Value::Text(_) | Value::List(_) => None,
        }
    }
}

impl Value {
    /// The bytes of a string, or a number's digits: some clients send one where others send the other.
    pub fn to_text(&self) -> Option<Vec<u8>> {
        match self {
            Value::Int(number) => Some(number.to_string().into_bytes()),
            Value::Text(text) => Some(text.clone()),
            Value::List(_) | Value::Dict(_) => None,
        }
    }

    /// From the borrowed view; `left` counts how many values there may be.
    fn from_bencode(value: bencode::Value<'_>, left: &mut usize) -> Result<Value, TooMany> {
        *left = left.checked_sub(1).ok_or(TooMany)?;
        Ok(match value {
            bencode::Value::Int(number) => Value::Int(number),
            bencode::Value::Text(text) => Value::Text(text.to_vec()),
            bencode::Value::List(list) => Value::List(
                list.iter().map(|value| Value::from_bencode(value, left)).collect::<Result<_, _>>()?,
            ),
            bencode::Value::Dict(dict) => Value::Dict(Dict::entries_from_bencode(dict, left)?),
        })
    }

    fn write_bencode(&self, writer: &mut bencode::Writer) {
        match self {
            Value::Int(number) => writer.int(*number),
            Value::Text(text) => writer.text(text),
            Value::List(values) => {
                writer.list(|writer| values.iter().for_each(|value| value.write_bencode(writer)));
            }
            Value::Dict(dict) => dict.write_bencode(writer),
        }
    }
}

impl From<Dict> for Value {
    fn from(dict: Dict) -> Value {
        Value::Dict(dict)
    }
}

impl Dict {
    /// An empty one.
    pub fn new() -> Dict {
        Dict::default()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key.as_bytes()).map(|(_, value)| value)
    }

    /// Adds an entry.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Value>) -> &mut Dict {
        self.0.push((key.into(), value.into()));
        self
    }

    /// The same, in one expression.
    #[must_use]
    pub fn with(mut self, key: impl Into<Vec<u8>>, value: impl Into<Value>) -> Dict {
        self.put(key, value);
        self
    }

    /// A copy of the borrowed view.
    ///
    /// # Errors
    /// [`TooMany`].
    pub fn from_bencode(dict: bencode::Dict<'_>) -> Result<Dict, TooMany> {
        Dict::entries_from_bencode(dict, &mut { VALUES_MAX })
    }

    fn entries_from_bencode(dict: bencode::Dict<'_>, left: &mut usize) -> Result<Dict, TooMany> {
        let entry = |(key, value): (&[u8], _)| Ok((key.to_vec(), Value::from_bencode(value, left)?));
        Ok(Dict(dict.iter().map(entry).collect::<Result<_, _>>()?))
    }

    /// As bencode, in the order in which it was filled.
    pub fn to_bencode(&self) -> Vec<u8> {
        let mut writer = bencode::Writer::default();
        self.write_bencode(&mut writer);
        writer.finish()
    }

    fn write_bencode(&self, writer: &mut bencode::Writer) {
        writer.dict(|entries| {
            self.0.iter().for_each(|(key, value)| value.write_bencode(entries.at(key)));
        });
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Value {
        Value::Int(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::text(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::text(text)
    }
}

impl From<Vec<u8>> for Value {
    fn from(text: Vec<u8>) -> Value {
        Value::Text(text)
    }
}

impl From<Vec<Value>> for Value {
    fn from(values: Vec<Value>) -> Value {
        Value::List(values)
    }
}
