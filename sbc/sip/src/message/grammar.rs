//! Whether field values follow the grammar: one pass over the octets, without taking the value apart
//! (RFC 3261 section 25.1). Each scanner begins at an offset and gives the offset after what it read.
use super::text::{self, Class};
use super::uri::{self, Uri};

/// Which liberties an address has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// From, To: any scheme (RFC 4475 section 3.3.4), display names of nearly all octets, since real devices write
    /// `J. R. (home) <sip:…>` without quotes; but no comma, which would make it two.
    Party,
    /// Contact: what is no URI passes (whoever routes by it finds out), a quoted parameter may lack its last quote,
    /// and what stands between `>` and `;` is ignored.
    Contact,
    /// Route and its like: a URI that can be routed by.
    Route,
}

/// Whether `value` is one address.
pub(super) fn is_address(value: &[u8], kind: Address) -> bool {
    address(value, 0, kind) == Some(value.len())
}

/// Whether `value` is a list of addresses.
pub(super) fn are_addresses(value: &[u8], kind: Address) -> bool {
    is_list(value, |at| address(value, at, kind))
}

/// Whether `value` is a list of Via values.
pub(super) fn are_vias(value: &[u8]) -> bool {
    is_list(value, |at| via(value, at))
}

/// A list has a member; commas with nothing behind them may stand at its end only.
fn is_list(value: &[u8], member: impl Fn(usize) -> Option<usize>) -> bool {
    let mut at = 0;
    while let Some(end) = member(at) {
        if end == value.len() {
            return true;
        }
        at = text::skip(value, end + 1, Class::BLANK);
        if matches!(value.get(at), None | Some(b',')) {
            return value[at..].iter().all(|&byte| byte == b',' || text::is_blank(byte));
        }
    }
    false
}

/// `name-addr` or `addr-spec` with its parameters; gives the offset of the comma behind it, or the end.
fn address(value: &[u8], at: usize, kind: Address) -> Option<usize> {
    let start = text::skip(value, at, Class::BLANK);
    let mut open = if value.get(start) == Some(&b'"') {
        let end = start + text::quoted_len(&value[start..])?;
        text::skip(value, end, Class::BLANK)
    } else {
        text::skip(value, start, Class::DISPLAY)
    };
    while kind == Address::Party && value.get(open) == Some(&b'"') {
        open = text::skip(value, open + 1, Class::DISPLAY);
    }
    match value.get(open) {
        Some(b'<') => {
            let close = text::skip(value, open + 1, Class::URI);
            if value.get(close) != Some(&b'>') || !is_uri(&value[open + 1..close], kind) {
                return None;
            }
            let after = if kind == Address::Contact {
                let rest = &value[close..];
                close + memchr::memchr2(b';', b',', rest).unwrap_or(rest.len())
            } else {
                close + 1
            };
            parameters(value, after, kind)
        }
        None | Some(b';' | b',') => {
            let uri = text::trim_end(&value[start..open]);
            // A `?` would be taken for the field's own, hence <> is a must there (RFC 3261 section 20).
            let cut_short =
                memchr::memchr(b'?', uri).is_some() && Uri::parse(uri).is_none_or(|uri| uri.is_sip());
            if cut_short || text::skip(uri, 0, Class::URI) != uri.len() || !is_uri(uri, kind) {
                return None;
            }
            parameters(value, open, kind)
        }
        Some(_) => None,
    }
}

/// Whether this text, which has the octets of a URI, is one as far as this kind of address needs it.
fn is_uri(text: &[u8], kind: Address) -> bool {
    match kind {
        Address::Party => uri::scheme_len(text).is_some(),
        Address::Contact => !text.is_empty(),
        Address::Route => Uri::split(text).is_some(),
    }
}

/// `SIP/2.0/transport sent-by *( ";" parameter )`, blanks allowed around each part.
fn via(value: &[u8], at: usize) -> Option<usize> {
    let at = text::skip(value, at, Class::BLANK);
    let end = text::skip(value, at, Class::TOKEN);
    if !value[at..end].eq_ignore_ascii_case(b"SIP") {
        return None;
    }
    let at = text::skip(value, slash(value, end)?, Class::BLANK);
    let end = text::skip(value, at, Class::TOKEN);
    if &value[at..end] != b"2.0" {
        return None;
    }
    let at = text::skip(value, slash(value, end)?, Class::BLANK);
    let end = text::skip(value, at, Class::TOKEN);
    let sent_by = text::skip(value, end, Class::BLANK);
    if end == at || sent_by == end {
        return None;
    }
    let at = sent_by;
    // Answers go to where the request came from, so sent-by may be nearly anything; a lone quote would swallow the
    // parameters.
    let end = text::skip(value, at, Class::SENT_BY);
    let quotes = value[at..end].iter().filter(|&&byte| byte == b'"').count();
    if end == at || quotes % 2 != 0 { None } else { parameters(value, end, Address::Party) }
}

fn slash(value: &[u8], at: usize) -> Option<usize> {
    let at = text::skip(value, at, Class::BLANK);
    (value.get(at) == Some(&b'/')).then_some(at + 1)
}

/// `*( ";" name [ "=" value ] )` up to a comma or the end; the last may be empty.
fn parameters(value: &[u8], mut at: usize, kind: Address) -> Option<usize> {
    loop {
        at = text::skip(value, at, Class::BLANK);
        match value.get(at) {
            None | Some(b',') => return Some(at),
            Some(b';') => at = text::skip(value, at + 1, Class::BLANK),
            Some(_) => return None,
        }
        let name = at;
        at = text::skip(value, name, Class::TOKEN);
        if at == name {
            return matches!(value.get(at), None | Some(b',')).then_some(at);
        }
        at = text::skip(value, at, Class::BLANK);
        if value.get(at) != Some(&b'=') {
            continue;
        }
        at = text::skip(value, at + 1, Class::BLANK);
        match value.get(at) {
            Some(b'"') => match text::quoted_len(&value[at..]) {
                Some(len) => at += len,
                None if kind == Address::Contact => return Some(value.len()),
                None => return None,
            },
            // Some devices write +sip.instance=<urn:…> without the quotes.
            Some(b'<') if kind == Address::Contact => at += memchr::memchr(b'>', &value[at..])? + 1,
            _ => at = text::skip(value, at, Class::VALUE),
        }
    }
}
