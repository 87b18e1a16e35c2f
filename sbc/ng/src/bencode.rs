//! Bencode as NG peers write it (BEP 3, but keys in any order and repeated): a view that is checked once and borrows
//! the datagram, and a writer. It knows no command; nothing is copied and nothing taken from the heap while reading.

/// A checked value that borrows its bytes.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// `i-1e`
    Int(i64),
    /// `4:text`: any bytes, SDP among them.
    Text(&'a [u8]),
    /// `l…e`
    List(List<'a>),
    /// `d…e`
    Dict(Dict<'a>),
}

/// The values of a list.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    /// Checked values one after the other, without the `l` and the `e`.
    inside: &'a [u8],
}

/// The entries of a dictionary.
#[derive(Clone, Copy, Debug)]
pub struct Dict<'a> {
    /// Checked keys and values in turn, without the `d` and the `e`.
    inside: &'a [u8],
}

/// Why bytes are no bencode. On a stream, [`BencodeError::Truncated`] asks for more; all else cannot be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BencodeError {
    /// The bytes end within a value.
    #[error("the bytes end within a value")]
    Truncated,
    /// No value begins with this byte.
    #[error("no value begins with this byte")]
    UnknownStart,
    /// Not digits with at most a sign before them, or beyond 64 bits.
    #[error("not an integer of 64 bits")]
    BadInteger,
    /// The length of a string is not digits and a colon.
    #[error("not the length of a string")]
    BadLength,
    /// A string beyond [`LEN_MAX`].
    #[error("a string is too long")]
    TooLong,
    /// A key that is not a string.
    #[error("a key is not a string")]
    BadKey,
    /// Lists and dictionaries within each other beyond [`DEPTH_MAX`].
    #[error("nested too deeply")]
    TooDeep,
    /// Something follows the value.
    #[error("something follows the value")]
    Surplus,
}

impl BencodeError {
    /// Stable name for counters and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::UnknownStart => "unknown_start",
            Self::BadInteger => "bad_integer",
            Self::BadLength => "bad_length",
            Self::TooLong => "too_long",
            Self::BadKey => "bad_key",
            Self::TooDeep => "too_deep",
            Self::Surplus => "surplus",
        }
    }
}

/// Lists and dictionaries within each other that are read at most; requests of rtpengine's clients need four.
pub const DEPTH_MAX: usize = 16;

/// Bytes of a string at most. Beyond a datagram, because sounds come over streams.
pub const LEN_MAX: usize = 1 << 20;

impl<'a> Value<'a> {
    /// Checks bytes that are one value and nothing else.
    ///
    /// # Errors
    /// Any [`BencodeError`].
    pub fn read(bytes: &'a [u8]) -> Result<Self, BencodeError> {
        let (value, rest) = Self::read_first(bytes)?;
        if rest.is_empty() { Ok(value) } else { Err(BencodeError::Surplus) }
    }

    /// Checks the value that `bytes` begin with, and gives what follows it.
    ///
    /// # Errors
    /// Any [`BencodeError`] but [`BencodeError::Surplus`].
    pub fn read_first(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), BencodeError> {
        let rest = check(bytes)?;
        let (value, _) = step(bytes);
        Ok((value, rest))
    }

    /// The bytes of a string.
    pub fn text(self) -> Option<&'a [u8]> {
        match self {
            Self::Text(text) => Some(text),
            Self::Int(_) | Self::List(_) | Self::Dict(_) => None,
        }
    }

    /// An integer, also one written as a string: some clients send `3:184` for `i184e`.
    pub fn number(self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(number),
            Self::Text(digits) => integer(digits).ok(),
            Self::List(_) | Self::Dict(_) => None,
        }
    }

    /// The list.
    pub fn list(self) -> Option<List<'a>> {
        match self {
            Self::List(list) => Some(list),
            Self::Int(_) | Self::Text(_) | Self::Dict(_) => None,
        }
    }

    /// The dictionary.
    pub fn dict(self) -> Option<Dict<'a>> {
        match self {
            Self::Dict(dict) => Some(dict),
            Self::Int(_) | Self::Text(_) | Self::List(_) => None,
        }
    }
}

/// Equal in meaning: `i03e` is `i3e`. The order of keys counts.
impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Int(one), Self::Int(two)) => one == two,
            (Self::Text(one), Self::Text(two)) => one == two,
            (Self::List(one), Self::List(two)) => one.iter().eq(two.iter()),
            (Self::Dict(one), Self::Dict(two)) => one.iter().eq(two.iter()),
            (Self::Int(_) | Self::Text(_) | Self::List(_) | Self::Dict(_), _) => false,
        }
    }
}

impl<'a> List<'a> {
    /// The values in their order.
    pub fn iter(self) -> impl Iterator<Item = Value<'a>> {
        let mut rest = self.inside;
        std::iter::from_fn(move || {
            let value;
            (value, rest) = (!rest.is_empty()).then(|| step(rest))?;
            Some(value)
        })
    }
}

impl<'a> Dict<'a> {
    /// Keys and values in the order of the wire, repeated keys included.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> {
        let mut values = List { inside: self.inside }.iter();
        std::iter::from_fn(move || {
            let key = values.next()?.text().expect("a checked key is a string");
            Some((key, values.next().expect("a checked key has a value")))
        })
    }

    /// The value of a key; the first, should the key be repeated.
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        self.iter().find(|entry| entry.0 == key.as_bytes()).map(|entry| entry.1)
    }
}

/// Checks the first value and gives what follows. Without recursion, so that depth costs nothing.
fn check(bytes: &[u8]) -> Result<&[u8], BencodeError> {
    /// What may come next within the list or dictionary that is open.
    #[derive(Clone, Copy)]
    enum Inside {
        List,
        /// A key or the end.
        Key,
        /// The value of a key.
        Value,
    }
    let mut open = [Inside::List; DEPTH_MAX];
    let (mut depth, mut rest) = (0usize, bytes);
    loop {
        let (&first, behind) = rest.split_first().ok_or(BencodeError::Truncated)?;
        let place = depth.checked_sub(1).map(|top| &mut open[top]);
        match (first, place.as_deref()) {
            (b'e', Some(Inside::List | Inside::Key)) => {
                depth -= 1;
                rest = behind;
                if depth == 0 {
                    return Ok(rest);
                }
                continue;
            }
            (b'0'..=b'9', _) => {}
            (_, Some(Inside::Key)) => return Err(BencodeError::BadKey),
            (_, Some(Inside::List | Inside::Value) | None) => {}
        }
        match place {
            Some(inside @ Inside::Key) => *inside = Inside::Value,
            Some(inside @ Inside::Value) => *inside = Inside::Key,
            Some(Inside::List) | None => {}
        }
        match first {
            b'l' | b'd' => {
                let place = open.get_mut(depth).ok_or(BencodeError::TooDeep)?;
                *place = if first == b'l' { Inside::List } else { Inside::Key };
                depth += 1;
                rest = behind;
                continue;
            }
            b'i' => rest = read_integer(behind)?.1,
            b'0'..=b'9' => rest = read_text(rest)?.1,
            _ => return Err(BencodeError::UnknownStart),
        }
        if depth == 0 {
            return Ok(rest);
        }
    }
}

/// Where a value ends, looking at each byte once however it arrives. Whether it is one is for [`Value::read`] to say.
#[derive(Debug, Default)]
pub struct Scan {
    at: usize,
    depth: usize,
}

impl Scan {
    /// The end of the value that `bytes` begin with, or `None` while there are too few of them. Call again with the same
    /// bytes and more behind them.
    ///
    /// # Errors
    /// Any [`BencodeError`] that more bytes cannot mend.
    pub fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, BencodeError> {
        loop {
            if self.at > 0 && self.depth == 0 {
                return Ok((self.at <= bytes.len()).then_some(self.at));
            }
            // A string may end beyond what is there yet.
            let Some(rest) = bytes.get(self.at..).filter(|rest| !rest.is_empty()) else { return Ok(None) };
            let step = match rest[0] {
                b'l' | b'd' => {
                    self.depth += 1;
                    if self.depth > DEPTH_MAX {
                        return Err(BencodeError::TooDeep);
                    }
                    1
                }
                b'e' if self.depth > 0 => {
                    self.depth -= 1;
                    1
                }
                b'i' => match read_integer(&rest[1..]) {
                    Ok((_, behind)) => rest.len() - behind.len(),
                    Err(BencodeError::Truncated) => return Ok(None),
                    Err(error) => return Err(error),
                },
                b'0'..=b'9' => match read_len(rest) {
                    Ok((len, behind)) => rest.len() - behind.len() + len,
                    Err(BencodeError::Truncated) => return Ok(None),
                    Err(error) => return Err(error),
                },
                _ => return Err(BencodeError::UnknownStart),
            };
            self.at += step;
        }
    }
}

/// The first of checked values, and what follows it.
fn step(bytes: &[u8]) -> (Value<'_>, &[u8]) {
    const CHECKED: &str = "the bytes were checked";
    match bytes[0] {
        b'i' => {
            let (number, rest) = read_integer(&bytes[1..]).expect(CHECKED);
            (Value::Int(number), rest)
        }
        start @ (b'l' | b'd') => {
            let rest = check(bytes).expect(CHECKED);
            let inside = &bytes[1..bytes.len() - rest.len() - 1];
            let value =
                if start == b'l' { Value::List(List { inside }) } else { Value::Dict(Dict { inside }) };
            (value, rest)
        }
        _ => {
            let (text, rest) = read_text(bytes).expect(CHECKED);
            (Value::Text(text), rest)
        }
    }
}

/// Behind the `i`: the number, and what follows its `e`.
fn read_integer(bytes: &[u8]) -> Result<(i64, &[u8]), BencodeError> {
    /// A sign and digits: more are no 64 bits, so that a stream of digits is not waited for.
    const DIGITS_MAX: usize = 20;
    let len = bytes.iter().take_while(|byte| **byte == b'-' || byte.is_ascii_digit()).count();
    if len > DIGITS_MAX {
        return Err(BencodeError::BadInteger);
    }
    let (digits, rest) = bytes.split_at(len);
    match rest.first() {
        Some(b'e') => Ok((integer(digits)?, &rest[1..])),
        Some(_) => Err(BencodeError::BadInteger),
        None => Err(BencodeError::Truncated),
    }
}

/// Digits, with at most a minus before them.
fn integer(text: &[u8]) -> Result<i64, BencodeError> {
    let (negative, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(BencodeError::BadInteger);
    }
    // Towards the sign, because the least number has no positive twin.
    digits
        .iter()
        .try_fold(0i64, |number, digit| {
            let digit = i64::from(digit - b'0');
            number.checked_mul(10)?.checked_add(if negative { -digit } else { digit })
        })
        .ok_or(BencodeError::BadInteger)
}

/// A string, and what follows it.
fn read_text(bytes: &[u8]) -> Result<(&[u8], &[u8]), BencodeError> {
    let (len, behind) = read_len(bytes)?;
    behind.split_at_checked(len).ok_or(BencodeError::Truncated)
}

/// The length of a string, and what follows its colon.
fn read_len(bytes: &[u8]) -> Result<(usize, &[u8]), BencodeError> {
    let mut len = 0;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' => len = len * 10 + usize::from(byte - b'0'),
            b':' if at > 0 => return Ok((len, &bytes[at + 1..])),
            _ => return Err(BencodeError::BadLength),
        }
        if len > LEN_MAX {
            return Err(BencodeError::TooLong);
        }
        // Zeros before the length cost nothing but time: they end here.
        if at > 8 {
            return Err(BencodeError::BadLength);
        }
    }
    Err(BencodeError::Truncated)
}

/// Writes values one after the other.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
}

/// Writes the entries of a dictionary.
#[derive(Debug)]
pub struct Entries<'w> {
    writer: &'w mut Writer,
}

impl Writer {
    /// Appends an integer.
    pub fn int(&mut self, number: i64) {
        self.out.push(b'i');
        self.decimal(number.unsigned_abs(), number < 0);
        self.out.push(b'e');
    }

    /// Appends a string.
    pub fn text(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        self.decimal(text.len() as u64, false);
        self.out.push(b':');
        self.out.extend_from_slice(text);
    }

    /// Appends a list whose values `fill` appends.
    pub fn list(&mut self, fill: impl FnOnce(&mut Writer)) {
        self.out.push(b'l');
        fill(self);
        self.out.push(b'e');
    }

    /// Appends a dictionary whose entries `fill` appends.
    pub fn dict(&mut self, fill: impl FnOnce(&mut Entries<'_>)) {
        self.out.push(b'd');
        fill(&mut Entries { writer: self });
        self.out.push(b'e');
    }

    /// Appends what was read.
    pub fn value(&mut self, value: &Value<'_>) {
        match *value {
            Value::Int(number) => self.int(number),
            Value::Text(text) => self.text(text),
            Value::List(list) => self.list(|writer| list.iter().for_each(|value| writer.value(&value))),
            Value::Dict(dict) => self.dict(|entries| {
                dict.iter().for_each(|(key, value)| entries.at(key).value(&value));
            }),
        }
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    fn decimal(&mut self, mut number: u64, negative: bool) {
        let mut digits = [0; 20];
        let mut at = digits.len();
        loop {
            at -= 1;
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        if negative {
            self.out.push(b'-');
        }
        self.out.extend_from_slice(&digits[at..]);
    }
}

impl Entries<'_> {
    /// Appends an integer under `key`.
    pub fn int(&mut self, key: impl AsRef<[u8]>, number: i64) {
        self.at(key).int(number);
    }

    /// Appends a string under `key`.
    pub fn text(&mut self, key: impl AsRef<[u8]>, text: impl AsRef<[u8]>) {
        self.at(key).text(text);
    }

    /// Appends a list under `key`.
    pub fn list(&mut self, key: impl AsRef<[u8]>, fill: impl FnOnce(&mut Writer)) {
        self.at(key).list(fill);
    }

    /// Appends a dictionary under `key`.
    pub fn dict(&mut self, key: impl AsRef<[u8]>, fill: impl FnOnce(&mut Entries<'_>)) {
        self.at(key).dict(fill);
    }

    /// Appends a key; exactly one value must be appended to what is returned.
    pub(crate) fn at(&mut self, key: impl AsRef<[u8]>) -> &mut Writer {
        self.writer.text(key);
        self.writer
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_offer_is_read_in_any_order_of_its_keys() {
        let offer = b"d8:supportsl10:load limite3:sdp5:v=0\r\n3:TOS3:1848:from-tag2:f17:command5:offere";
        let offer = Value::read(offer).unwrap().dict().unwrap();
        assert_eq!(offer.get("command").and_then(Value::text), Some(&b"offer"[..]));
        assert_eq!(offer.get("TOS").and_then(Value::number), Some(184));
        let supports = offer.get("supports").and_then(Value::list).unwrap();
        assert_eq!(supports.iter().filter_map(Value::text).collect::<Vec<_>>(), [b"load limit"]);
        assert_eq!(offer.get("to-tag"), None);
    }

    #[test]
    fn of_repeated_keys_the_first_counts_and_all_are_shown() {
        let dict = Value::read(b"d1:ai1e1:ai2ee").unwrap().dict().unwrap();
        assert_eq!(dict.get("a"), Some(Value::Int(1)));
        assert_eq!(dict.iter().count(), 2);
    }

    #[test]
    fn an_answer_is_written() {
        let mut writer = Writer::default();
        writer.dict(|answer| {
            answer.text("result", "ok");
            answer.int("created", i64::MIN);
            answer.list("tags", |tags| tags.text("f1"));
            answer.dict("totals", |totals| totals.int("RTP", 0));
        });
        assert_eq!(
            writer.finish(),
            b"d6:result2:ok7:createdi-9223372036854775808e4:tagsl2:f1e6:totalsd3:RTPi0eee"
        );
    }

    #[test]
    fn each_fault_has_its_class() {
        use BencodeError::*;
        let rows: [(&[u8], BencodeError); 24] = [
            (b"", Truncated),
            (b"i", Truncated),
            (b"i12", Truncated),
            (b"4:spa", Truncated),
            (b"12", Truncated),
            (b"l", Truncated),
            (b"d1:a", Truncated),
            (b"e", UnknownStart),
            (b"x", UnknownStart),
            (b"-1:a", UnknownStart),
            (b"l:e", UnknownStart),
            (b"d1:ae", UnknownStart),
            (b"ie", BadInteger),
            (b"i-e", BadInteger),
            (b"i+1e", BadInteger),
            (b"i1-1e", BadInteger),
            (b"i9223372036854775808e", BadInteger),
            (b"4spam", BadLength),
            (b"0000000000:", BadLength),
            (b"1000000000000000000:a", TooLong),
            (b"99999999999999999999999999:a", TooLong),
            (b"di1ei2ee", BadKey),
            (b"dlei1ee", BadKey),
            (b"4:spamX", Surplus),
        ];
        for (bytes, error) in rows {
            let found = Value::read(bytes).unwrap_err();
            assert_eq!((found, found.name()), (error, error.name()), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn depth_is_bounded_and_costs_no_stack() {
        let nested = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
        assert!(Value::read(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(Value::read(&nested(DEPTH_MAX + 1)), Err(BencodeError::TooDeep));
        assert_eq!(Value::read(&nested(10_000)), Err(BencodeError::TooDeep));
        assert_eq!(Value::read(&b"d1:a".repeat(10_000)), Err(BencodeError::TooDeep));
    }

    #[test]
    fn a_value_cut_anywhere_asks_for_more() {
        let whole = b"d7:command5:offer3:sdp5:v=0\r\n1:ald1:bi-12eee1:c0:e";
        for cut in 0..whole.len() {
            assert_eq!(Value::read(&whole[..cut]), Err(BencodeError::Truncated), "at {cut}");
        }
        let both = [&whole[..], b"5_2 d"].concat();
        assert_eq!(Value::read_first(&both).unwrap().1, b"5_2 d");
    }

    /// Appends any value, by a tree of its own.
    #[derive(Clone, Debug)]
    enum Tree {
        Int(i64),
        Text(Vec<u8>),
        List(Vec<Tree>),
        Dict(Vec<(Vec<u8>, Tree)>),
    }

    fn write(tree: &Tree, writer: &mut Writer) {
        match tree {
            Tree::Int(number) => writer.int(*number),
            Tree::Text(text) => writer.text(text),
            Tree::List(trees) => writer.list(|writer| trees.iter().for_each(|tree| write(tree, writer))),
            Tree::Dict(pairs) => writer.dict(|entries| {
                pairs.iter().for_each(|(key, tree)| write(tree, entries.at(key)));
            }),
        }
    }

    fn same(tree: &Tree, value: Value<'_>) -> bool {
        match (tree, value) {
            (Tree::Int(one), Value::Int(two)) => *one == two,
            (Tree::Text(one), Value::Text(two)) => one == two,
            (Tree::List(trees), Value::List(list)) => {
                trees.len() == list.iter().count() && trees.iter().zip(list.iter()).all(|(t, v)| same(t, v))
            }
            (Tree::Dict(pairs), Value::Dict(dict)) => {
                pairs.len() == dict.iter().count()
                    && pairs.iter().zip(dict.iter()).all(|(t, v)| t.0 == v.0 && same(&t.1, v.1))
            }
            _ => false,
        }
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let text = proptest::collection::vec(any::<u8>(), 0..20);
        let leaf = prop_oneof![any::<i64>().prop_map(Tree::Int), text.clone().prop_map(Tree::Text)];
        leaf.prop_recursive(5, 40, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Tree::List),
                proptest::collection::vec((text.clone(), inner), 0..6).prop_map(Tree::Dict),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(tree in tree()) {
            let mut writer = Writer::default();
            write(&tree, &mut writer);
            let bytes = writer.finish();
            prop_assert!(same(&tree, Value::read(&bytes).unwrap()));
            crate::fuzz::bencode(&bytes);
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            crate::fuzz::bencode(&bytes);
        }

        #[test]
        fn any_likely_bytes_are_survived(text in "[dlie0-9:-]{0,60}") {
            crate::fuzz::bencode(text.as_bytes());
        }
    }
}
