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
        if bytes.is_empty() {
            return Self::Other;
        }
        let mut slot = hash(bytes);
        loop {
            let index = HASHED[slot];
            if index == EMPTY {
                return Self::Other;
            }
            let (name, text, compact, _) = TABLE[(index & !COMPACT) as usize];
            let candidate = if index & COMPACT == 0 { text } else { compact };
            if bytes.eq_ignore_ascii_case(candidate.as_bytes()) {
                return name;
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

const EMPTY: u8 = u8::MAX;
/// Marks an entry of `HASHED` that stands for the compact form.
const COMPACT: u8 = 0x80;
const _: () = assert!(TABLE.len() < COMPACT as usize - 1);

/// Open addressing with linear probing: most names are found at the first probe.
static HASHED: [u8; 512] = {
    let mut hashed = [EMPTY; 512];
    let mut index = 0;
    while index < TABLE.len() {
        insert(&mut hashed, TABLE[index].1.as_bytes(), index as u8);
        if !TABLE[index].2.is_empty() {
            insert(&mut hashed, TABLE[index].2.as_bytes(), index as u8 | COMPACT);
        }
        index += 1;
    }
    hashed
};

const fn insert(hashed: &mut [u8; 512], name: &[u8], value: u8) {
    let mut slot = hash(name);
    while hashed[slot] != EMPTY {
        slot = (slot + 1) % hashed.len();
    }
    hashed[slot] = value;
}

/// Length, first, middle and last letter, blind to case.
const fn hash(name: &[u8]) -> usize {
    let first = (name[0] | 0x20) as usize;
    let middle = (name[name.len() / 2] | 0x20) as usize;
    let last = (name[name.len() - 1] | 0x20) as usize;
    (name.len() * 67 + first * 31 + middle * 7 + last * 13) % 512
}

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
        for unknown in ["", "X-Foo", "Viaa", "Vi", "z", "NewFangledHeader"] {
            assert_eq!(Name::of(unknown.as_bytes()), Name::Other);
        }
        assert_eq!(Name::Other.as_str(), "");
    }
}
