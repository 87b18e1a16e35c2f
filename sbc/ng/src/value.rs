//! What a request or a reply says, whichever notation it was in: an owned tree. Knows no command and no notation.

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
}
