//! The header fields that we know by name, their compact forms and whether they are lists.
//! Everything else is `Other` and keeps its spelling in the message (RFC 3261 section 20 and the later registry).

/// How often a field may stand in one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A comma-separated list; several field lines are one list (RFC 3261 section 7.3.1).
    List,
    /// At most one field line; a second one makes the message ambiguous.
    Single,
    /// Any number of field lines, and commas are part of the value.
    Free,
}

macro_rules! names {
    ($( $variant:ident, $text:literal, $compact:literal, $kind:ident; )*) => {
        /// A header field name. `Other` is every name that is not in the list.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "a variant is the name in camel case; its RFC is found by that name")]
        pub enum Name { $($variant,)* Other }

        const TABLE: &[(Name, &str, &str, Kind)] = &[
            $((Name::$variant, $text, $compact, Kind::$kind),)*
        ];
    };
}

names! {
    Accept, "Accept", "", List;
    AcceptContact, "Accept-Contact", "a", List;
    AcceptEncoding, "Accept-Encoding", "", List;
    AcceptLanguage, "Accept-Language", "", List;
    AlertInfo, "Alert-Info", "", List;
    Allow, "Allow", "", List;
    AllowEvents, "Allow-Events", "u", List;
    AuthenticationInfo, "Authentication-Info", "", Free;
    Authorization, "Authorization", "", Free;
    CallId, "Call-ID", "i", Single;
    CallInfo, "Call-Info", "", List;
    Contact, "Contact", "m", List;
    ContentDisposition, "Content-Disposition", "", Single;
    ContentEncoding, "Content-Encoding", "e", List;
    ContentLanguage, "Content-Language", "", List;
    ContentLength, "Content-Length", "l", Free;
    ContentType, "Content-Type", "c", Single;
    CSeq, "CSeq", "", Single;
    Date, "Date", "", Free;
    Diversion, "Diversion", "", List;
    ErrorInfo, "Error-Info", "", List;
    Event, "Event", "o", Single;
    Expires, "Expires", "", Single;
    From, "From", "f", Single;
    HistoryInfo, "History-Info", "", List;
    Identity, "Identity", "y", Free;
    InReplyTo, "In-Reply-To", "", List;
    Join, "Join", "", Single;
    MaxForwards, "Max-Forwards", "", Single;
    MimeVersion, "MIME-Version", "", Free;
    MinExpires, "Min-Expires", "", Single;
    MinSe, "Min-SE", "", Single;
    Organization, "Organization", "", Free;
    PAccessNetworkInfo, "P-Access-Network-Info", "", List;
    PAssertedIdentity, "P-Asserted-Identity", "", List;
    PAssociatedUri, "P-Associated-URI", "", List;
    PCalledPartyId, "P-Called-Party-ID", "", Free;
    PChargingVector, "P-Charging-Vector", "", Free;
    PEarlyMedia, "P-Early-Media", "", List;
    PPreferredIdentity, "P-Preferred-Identity", "", List;
    PVisitedNetworkId, "P-Visited-Network-ID", "", List;
    Path, "Path", "", List;
    Priority, "Priority", "", Free;
    Privacy, "Privacy", "", Free;
    ProxyAuthenticate, "Proxy-Authenticate", "", Free;
    ProxyAuthorization, "Proxy-Authorization", "", Free;
    ProxyRequire, "Proxy-Require", "", List;
    RAck, "RAck", "", Single;
    Reason, "Reason", "", List;
    RecordRoute, "Record-Route", "", List;
    ReferSub, "Refer-Sub", "", Single;
    ReferTo, "Refer-To", "r", Single;
    ReferredBy, "Referred-By", "b", Single;
    RejectContact, "Reject-Contact", "j", List;
    RemotePartyId, "Remote-Party-ID", "", List;
    Replaces, "Replaces", "", Single;
    ReplyTo, "Reply-To", "", Single;
    RequestDisposition, "Request-Disposition", "d", List;
    Require, "Require", "", List;
    RetryAfter, "Retry-After", "", Single;
    Route, "Route", "", List;
    RSeq, "RSeq", "", Single;
    Server, "Server", "", Free;
    ServiceRoute, "Service-Route", "", List;
    SessionExpires, "Session-Expires", "x", Single;
    SessionId, "Session-ID", "", Free;
    SipEtag, "SIP-ETag", "", Single;
    SipIfMatch, "SIP-If-Match", "", Single;
    Subject, "Subject", "s", Free;
    SubscriptionState, "Subscription-State", "", Single;
    Supported, "Supported", "k", List;
    TargetDialog, "Target-Dialog", "", Single;
    Timestamp, "Timestamp", "", Free;
    To, "To", "t", Single;
    Unsupported, "Unsupported", "", List;
    UserAgent, "User-Agent", "", Free;
    UserToUser, "User-to-User", "", List;
    Via, "Via", "v", List;
    Warning, "Warning", "", List;
    WwwAuthenticate, "WWW-Authenticate", "", Free;
}

impl Name {
    /// How many names there are, `Other` included.
    pub(crate) const COUNT: usize = Name::Other as usize + 1;

    /// The name of these bytes in any case, long or compact; no surrounding blanks.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let key = Key::of(bytes);
        let mut slot = key.hash();
        loop {
            let index = HASHED[slot];
            if index == EMPTY {
                return Self::Other;
            }
            let entry = &KEYS[index as usize];
            if entry.0 == key
                && (bytes.len() <= 16 || bytes.eq_ignore_ascii_case(entry.1.as_str().as_bytes()))
            {
                return entry.1;
            }
            slot = (slot + 1) % HASHED.len();
        }
    }

    /// The name as the registry writes it; empty for `Other`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        TABLE.get(self as usize).map_or("", |row| row.1)
    }

    /// Whether commas separate values of this field (quotes and `<>` aside).
    #[must_use]
    pub fn is_list(self) -> bool {
        TABLE.get(self as usize).is_some_and(|row| row.3 == Kind::List)
    }

    /// Whether a message may carry this field once only.
    #[must_use]
    pub fn is_single(self) -> bool {
        TABLE.get(self as usize).is_some_and(|row| row.3 == Kind::Single)
    }
}

/// Length, first eight and last eight octets in lower case: all there is of a name up to 16 octets.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key {
    len: usize,
    first: u64,
    last: u64,
}

impl Key {
    const fn of(name: &[u8]) -> Self {
        let len = name.len();
        let (first, last) = match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
            (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
            _ => (short(name), 0),
        };
        Self { len, first: lower(first), last: lower(last) }
    }

    const fn hash(self) -> usize {
        let mixed =
            (self.first ^ self.last.rotate_left(29) ^ self.len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (64 - HASHED_BITS)) as usize
    }
}

/// Fewer than eight octets as one number: together with their length it stands for them alone.
const fn short(name: &[u8]) -> u64 {
    match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            u32::from_le_bytes(*first) as u64 | (u32::from_le_bytes(*last) as u64) << 32
        }
        _ => match name {
            [one] => *one as u64,
            [one, two] => *one as u64 | (*two as u64) << 8,
            [one, two, three] => *one as u64 | (*two as u64) << 8 | (*three as u64) << 16,
            _ => 0,
        },
    }
}

/// Eight octets, each ASCII capital turned into its small letter.
const fn lower(octets: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let low = octets & (0x7f * ONES);
    let from_a = low + (0x80 - b'A' as u64) * ONES;
    let past_z = low + (0x7f - b'Z' as u64) * ONES;
    let capital = (from_a ^ past_z) & !octets & (0x80 * ONES);
    octets | capital >> 2
}

const EMPTY: u8 = u8::MAX;
const HASHED_BITS: u32 = 9;

/// The keys of all names and all compact forms.
static KEYS: [(Key, Name); 2 * TABLE.len()] = {
    let mut keys = [(Key::of(b""), Name::Other); 2 * TABLE.len()];
    let mut index = 0;
    while index < TABLE.len() {
        let (name, text, compact, _) = TABLE[index];
        keys[2 * index] = (Key::of(text.as_bytes()), name);
        keys[2 * index + 1] = (Key::of(compact.as_bytes()), name);
        index += 1;
    }
    keys
};
const _: () = assert!(2 * TABLE.len() < EMPTY as usize);

/// Open addressing with linear probing into `KEYS`: most names are found at the first probe.
static HASHED: [u8; 1 << HASHED_BITS] = {
    let mut hashed = [EMPTY; 1 << HASHED_BITS];
    let mut index = 0;
    while index < KEYS.len() {
        if KEYS[index].0.len > 0 {
            let mut slot = KEYS[index].0.hash();
            while hashed[slot] != EMPTY {
                slot = (slot + 1) % hashed.len();
            }
            hashed[slot] = index as u8;
        }
        index += 1;
    }
    hashed
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_by_its_compact_form() {
        for (index, &(name, text, compact, _)) in TABLE.iter().enumerate() {
            assert_eq!(name as usize, index);
            assert_eq!(Name::of(text.as_bytes()), name);
            assert_eq!(Name::of(text.to_ascii_uppercase().as_bytes()), name);
            assert_eq!(Name::of(text.to_ascii_lowercase().as_bytes()), name);
            assert_eq!(name.as_str(), text);
            if !compact.is_empty() {
                assert_eq!(Name::of(compact.as_bytes()), name);
                assert_eq!(Name::of(compact.to_ascii_uppercase().as_bytes()), name);
            }
        }
    }

    #[test]
    fn an_unknown_name_is_other() {
        for unknown in
            ["Call\rID", "P-Access-XXXwork-Info", "", "X-Foo", "Viaa", "Vi", "z", "NewFangledHeader"]
        {
            assert_eq!(Name::of(unknown.as_bytes()), Name::Other);
        }
        assert_eq!(Name::Other.as_str(), "");
    }
}
