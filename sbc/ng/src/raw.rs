//! Flags as one text: `replace-origin label=a direction=[pub priv] codec=[strip=[EVS] offer=[PCMA PCMU]]`, as Kamailio
//! passes them on in `rtpp-flags`; and words in their many spellings. Knows no flag.

use crate::bencode::DEPTH_MAX;
use crate::value::{Dict, VALUES_MAX, Value};

/// Bytes of the longest word that is known anywhere, and some.
const WORD_MAX: usize = 48;

/// A word in the one spelling that is looked up: small letters, hyphens for spaces and underscores.
pub struct Word {
    bytes: [u8; WORD_MAX],
    len: usize,
}

impl Word {
    /// Of any bytes; what is too long becomes the empty word, which is known nowhere.
    pub fn of(text: &[u8]) -> Word {
        let mut word = Word { bytes: [0; WORD_MAX], len: 0 };
        if let Some(bytes) = word.bytes.get_mut(..text.len()) {
            bytes.iter_mut().zip(text).for_each(|(to, from)| *to = spelled(*from));
            word.len = text.len();
        }
        word
    }

    /// Empty for what is no UTF-8.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..self.len]).unwrap_or("")
    }
}

fn spelled(byte: u8) -> u8 {
    match byte {
        b' ' | b'_' => b'-',
        other => other.to_ascii_lowercase(),
    }
}

/// Whether a text is this word (given as [`Word`] spells it) in any spelling.
pub fn is_word(text: &[u8], word: &str) -> bool {
    text.len() == word.len() && after_word(text, word).is_some()
}

/// What follows a word (given as [`Word`] spells it) that a text begins with.
pub fn after_word<'a>(text: &'a [u8], word: &str) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(word.len())?;
    start.iter().zip(word.bytes()).all(|(byte, wanted)| spelled(*byte) == wanted).then_some(rest)
}

/// One piece of a text of flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// `trust-address`
    Flag(&'a [u8]),
    /// `label=a`, `direction=[pub priv]`
    Pair(&'a [u8], Value),
}

/// The pieces of a text, one after the other.
pub struct Items<'a> {
    rest: &'a [u8],
    /// Values that may still come.
    left: usize,
    /// There was more than may be: too many values, or brackets too deep.
    pub is_cut: bool,
}

impl<'a> Items<'a> {
    /// Of a text.
    pub fn of(text: &'a [u8]) -> Items<'a> {
        Items { rest: text, left: VALUES_MAX, is_cut: false }
    }

    /// A value: a text up to a blank or, within brackets, to a closing one; or brackets with a list of values, or with a
    /// dictionary if what comes first is a pair. `[a c=[…]]` is a list whose last entry is a dictionary.
    fn value(&mut self, depth: usize) -> Option<Value> {
        if self.left == 0 || depth > DEPTH_MAX {
            self.is_cut = true;
            return None;
        }
        self.left -= 1;
        let Some(inside) = self.rest.strip_prefix(b"[") else {
            return Some(Value::text(self.token(depth > 0, false)));
        };
        self.rest = inside;
        let (mut list, mut dict) = (Vec::new(), Dict::new());
        loop {
            self.rest = self.rest.trim_ascii_start();
            match self.rest.first() {
                None => break,
                Some(b']') => {
                    self.rest = &self.rest[1..];
                    break;
                }
                Some(_) if list.is_empty() => match self.key() {
                    Some(key) => dict.0.push((key.to_vec(), self.value(depth + 1)?)),
                    None if dict.0.is_empty() => list.push(self.value(depth + 1)?),
                    // No pair, between pairs: says nothing.
                    None => drop(self.value(depth + 1)?),
                },
                Some(_) => match self.nested_key() {
                    Some(key) => list.push(Dict::new().with(key, self.value(depth + 1)?).into()),
                    None => list.push(self.value(depth + 1)?),
                },
            }
        }
        Some(if dict.0.is_empty() { Value::List(list) } else { Value::Dict(dict) })
    }

    /// `c` of `c=[…]` in a list, which is a dictionary by itself there, and goes behind the sign.
    fn nested_key(&mut self) -> Option<&'a [u8]> {
        let before = self.rest;
        let key = self.key().filter(|_| self.rest.starts_with(b"["));
        if key.is_none() {
            self.rest = before;
        }
        key
    }

    /// `key` of `key=`, and goes behind it.
    fn key(&mut self) -> Option<&'a [u8]> {
        let at = self.rest.iter().position(|byte| b"=[] \t\r\n".contains(byte))?;
        if at == 0 || self.rest[at] != b'=' {
            return None;
        }
        let key = &self.rest[..at];
        self.rest = &self.rest[at + 1..];
        Some(key)
    }

    /// Goes behind what has no blank in it.
    fn token(&mut self, in_brackets: bool, is_flag: bool) -> &'a [u8] {
        let ends = |byte: &u8| byte.is_ascii_whitespace() || in_brackets && *byte == b']';
        let len = self.rest.iter().position(ends).unwrap_or(self.rest.len());
        // A flag has at least one byte, so that no text stands still.
        let (token, rest) = self.rest.split_at(len.max(usize::from(is_flag)));
        self.rest = rest;
        token
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        self.rest = self.rest.trim_ascii_start();
        if self.rest.is_empty() || self.is_cut {
            return None;
        }
        if let Some(key) = self.key() {
            return Some(Item::Pair(key, self.value(0)?));
        }
        self.is_cut = self.left == 0;
        self.left = self.left.checked_sub(1)?;
        Some(Item::Flag(self.token(false, true)))
    }
}

/// A value that is written in brackets, `[a b]` or `[k=v …]`, as text.
pub fn bracketed(text: &[u8]) -> Option<Value> {
    let mut items = Items::of(text.trim_ascii());
    let value = items.rest.starts_with(b"[").then(|| items.value(0))??;
    items.rest.is_empty().then_some(value)
}

/// `call-id=…` among flags.
pub fn call_id_of(flags: &[u8]) -> Option<&[u8]> {
    let mut items = Items::of(flags);
    loop {
        let before = items.rest.trim_ascii_start();
        match items.next()? {
            Item::Pair(key, Value::Text(text)) if is_word(key, "call-id") && !text.is_empty() => {
                return Some(&before[key.len() + 1..][..text.len()]);
            }
            _ => {}
        }
    }
}
