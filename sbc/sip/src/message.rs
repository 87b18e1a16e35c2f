//! A SIP message as a borrowed view of its octets: checked once by `Message::parse`, then read by getters that
//! cannot fail and do not allocate. It decides nothing about what a message is good for (RFC 3261 sections 7 and 20).
mod text; // octets: blanks, quotes, lists, parameters
mod name; // header field names
mod method;
mod uri;
mod grammar; // whether a value is what it should be
mod address; // name-addr and addr-spec
mod via;
mod error; // error classes, and what is readable of a bad message
mod parse; // the way from octets to a checked message
mod earns; // the refusal that a valid request earns by itself
pub mod write; // building messages

pub use address::{NameAddr, NameAddrs, addresses};
pub use earns::OPTION_TAGS;
pub use error::{ErrorClass, Malformed};
pub use method::Method;
pub use name::Name;
pub(crate) use text::{Class, is_token, is_token_byte, skip, trim_end};
pub use text::{Params, Split, split, trim, unfold, unquote};
pub use uri::{Scheme, Uri, host_port, unescape};
pub use via::{COOKIE, Via};

use crate::frame::Framing;

/// Field lines that one message may have.
pub const HEADERS_MAX: usize = 128;
/// Octets that one field line may have, folds included.
pub const HEADER_LINE_MAX: usize = 8_192;
/// Octets that the Request-URI may have.
pub const URI_MAX: usize = 4_096;

/// One parsed message. About 1.2 KB, all borrowed from the octets it was read from.
#[derive(Clone)]
pub struct Message<'a> {
    /// Start line to the end of the body; neither leading line ends nor trailing octets.
    raw: &'a [u8],
    line: StartLine<'a>,
    /// Offset of the body in `raw`.
    body: usize,
    cseq: CSeq<'a>,
    max_forwards: Option<u8>,
    /// Whether a field that may stand once stands twice.
    is_ambiguous: bool,
    field_count: u8,
    /// Index of the first field of each name, `ABSENT` if there is none.
    first: [u8; Name::COUNT],
    fields: [Slot; HEADERS_MAX],
}

/// Marks a name that the message does not have.
const ABSENT: u8 = u8::MAX;
const _: () = assert!(HEADERS_MAX < ABSENT as usize);

#[derive(Clone, Copy, Debug)]
enum StartLine<'a> {
    Request(RequestLine<'a>),
    Response { status: u16, reason: &'a [u8] },
}

/// What a request wants, of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLine<'a> {
    /// The method.
    pub method: Method<'a>,
    /// The Request-URI as it stands.
    pub uri: &'a [u8],
}

/// Where a field line stands in the message.
#[derive(Clone, Copy, Debug)]
struct Slot {
    name: Name,
    name_len: u8,
    name_at: u16,
    value_at: u16,
    value_len: u16,
}

/// One field line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Which field it is.
    pub name: Name,
    /// The name as written, without blanks.
    pub raw_name: &'a [u8],
    /// The value without blanks at its ends; folds are still in it: see [`unfold`].
    pub value: &'a [u8],
}

/// Number and method of the `CSeq` field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// 0 to 2^31-1.
    pub number: u32,
    /// The method that the message belongs to.
    pub method: Method<'a>,
}

/// Which provisional response a PRACK acknowledges (RFC 3262 section 7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RAck<'a> {
    /// The `RSeq` of that response.
    pub rseq: u32,
    /// The `CSeq` of that response.
    pub cseq: CSeq<'a>,
}

/// Who refreshes the session (RFC 4028 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The one who sent the request.
    Uac,
    /// The one who answered it.
    Uas,
}

/// The Session-Expires field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// Seconds until the session ends unless it is refreshed; clamped to `u32`.
    pub seconds: u32,
    /// Who refreshes, if the field says so.
    pub refresher: Option<Refresher>,
}

impl<'a> Message<'a> {
    /// Reads the one message at the start of `bytes`, after any empty lines. With [`Framing::Datagram`] (also for a
    /// WebSocket message) octets behind Content-Length are dropped and the body reaches to the end if there is none;
    /// with [`Framing::Stream`] `bytes` is what [`crate::frame::frame`] cut off.
    ///
    /// # Errors
    /// [`Malformed`] holds the class and what was readable.
    #[expect(
        clippy::result_large_err,
        reason = "the error holds the same view as the message, so nothing is allocated"
    )]
    pub fn parse(bytes: &'a [u8], framing: Framing) -> Result<Self, Malformed<'a>> {
        parse::parse(bytes, framing)
    }

    /// The octets of the message, start line to end of body.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// The body; empty if there is none.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        &self.raw[self.body..]
    }

    /// Whether this is a request.
    #[must_use]
    pub fn is_request(&self) -> bool {
        matches!(self.line, StartLine::Request(_))
    }

    /// The request line; `None` in a response.
    #[must_use]
    pub fn request(&self) -> Option<RequestLine<'a>> {
        match self.line {
            StartLine::Request(line) => Some(line),
            StartLine::Response { .. } => None,
        }
    }

    /// The Request-URI in parts; `None` in a response.
    #[must_use]
    pub fn request_uri(&self) -> Option<Uri<'a>> {
        Uri::parse(self.request()?.uri)
    }

    /// The status, 100 to 699; `None` in a request.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self.line {
            StartLine::Request(_) => None,
            StartLine::Response { status, .. } => Some(status),
        }
    }

    /// The reason phrase; empty in a request.
    #[must_use]
    pub fn reason(&self) -> &'a [u8] {
        match self.line {
            StartLine::Request(_) => b"",
            StartLine::Response { reason, .. } => reason,
        }
    }

    /// The method of the request, or of the request that this response answers.
    #[must_use]
    pub fn method(&self) -> Method<'a> {
        match self.line {
            StartLine::Request(line) => line.method,
            StartLine::Response { .. } => self.cseq.method,
        }
    }

    /// All field lines in order.
    pub fn headers(&self) -> impl Iterator<Item = Field<'a>> + '_ {
        self.slots().iter().map(|slot| self.field(*slot))
    }

    /// The value of the first field line of this name, folds included; always `None` for [`Name::Other`].
    #[must_use]
    pub fn header(&self, name: Name) -> Option<&'a [u8]> {
        if name == Name::Other {
            return None;
        }
        match self.first[name as usize] {
            ABSENT => None,
            index => Some(self.field(self.fields[usize::from(index)]).value),
        }
    }

    /// The value of the first field line with this name as text, in any case: for names that [`Name`] does not list.
    #[must_use]
    pub fn header_named(&self, name: &[u8]) -> Option<&'a [u8]> {
        match Name::of(name) {
            Name::Other => self
                .headers()
                .find(|field| field.name == Name::Other && field.raw_name.eq_ignore_ascii_case(name))
                .map(|field| field.value),
            known => self.header(known),
        }
    }

    /// Whether a field that may stand once (From, To, Content-Type, …) stands twice; getters read the first.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        self.is_ambiguous
    }

    /// The value of every field line of this name, undivided.
    pub fn lines(&self, name: Name) -> impl Iterator<Item = &'a [u8]> + '_ {
        let slots = match self.first[name as usize] {
            ABSENT => &[][..],
            index => &self.slots()[usize::from(index)..],
        };
        slots.iter().filter(move |slot| slot.name == name).map(|slot| self.field(*slot).value)
    }

    /// Every value of this name: lists are divided at their commas, empty members left out. Other fields give one
    /// value a line.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &'a [u8]> + '_ {
        // A separator that no value holds outside quotes and <>: the line end was cut off.
        let separator = if name.is_list() { b',' } else { 0xff };
        self.lines(name).flat_map(move |line| split(line, separator)).filter(|value| !value.is_empty())
    }

    /// The first Via value: the hop that sent this message, or for a response the hop that it goes to.
    #[must_use]
    pub fn top_via(&self) -> Via<'a> {
        self.vias().next().unwrap_or_default()
    }

    /// All Via values, top first.
    pub fn vias(&self) -> impl Iterator<Item = Via<'a>> + '_ {
        self.values(Name::Via).filter_map(Via::read)
    }

    /// The From field.
    #[must_use]
    pub fn from(&self) -> NameAddr<'a> {
        self.header(Name::From).map(NameAddr::read).unwrap_or_default()
    }

    /// The To field.
    #[must_use]
    pub fn to(&self) -> NameAddr<'a> {
        self.header(Name::To).map(NameAddr::read).unwrap_or_default()
    }

    /// The tag of From; RFC 2543 devices may have none.
    #[must_use]
    pub fn from_tag(&self) -> Option<&'a [u8]> {
        self.from().tag()
    }

    /// The tag of To: there in everything but the first request of a dialog and its 100.
    #[must_use]
    pub fn to_tag(&self) -> Option<&'a [u8]> {
        self.to().tag()
    }

    /// The first Contact, `*` aside.
    #[must_use]
    pub fn contact(&self) -> Option<NameAddr<'a>> {
        self.contacts().next()
    }

    /// All Contact values, `*` aside.
    pub fn contacts(&self) -> impl Iterator<Item = NameAddr<'a>> + '_ {
        self.addresses(Name::Contact).filter(|contact| contact.raw != b"*")
    }

    /// Whether Contact is `*`: take all bindings away (RFC 3261 section 10.2.2).
    #[must_use]
    pub fn is_contact_star(&self) -> bool {
        self.header(Name::Contact) == Some(b"*")
    }

    /// Every value of this name as an address.
    pub fn addresses(&self, name: Name) -> impl Iterator<Item = NameAddr<'a>> + '_ {
        self.values(name).map(NameAddr::read)
    }

    /// Record-Route values, top first.
    pub fn record_routes(&self) -> impl Iterator<Item = NameAddr<'a>> + '_ {
        self.addresses(Name::RecordRoute)
    }

    /// Route values, top first.
    pub fn routes(&self) -> impl Iterator<Item = NameAddr<'a>> + '_ {
        self.addresses(Name::Route)
    }

    /// The Call-ID; compared byte for byte (RFC 3261 section 20.8).
    #[must_use]
    pub fn call_id(&self) -> &'a [u8] {
        self.header(Name::CallId).unwrap_or_default()
    }

    /// The `CSeq` field.
    #[must_use]
    pub fn cseq(&self) -> CSeq<'a> {
        self.cseq
    }

    /// Max-Forwards; RFC 2543 devices may have none.
    #[must_use]
    pub fn max_forwards(&self) -> Option<u8> {
        self.max_forwards
    }

    /// Content-Type with its parameters.
    #[must_use]
    pub fn content_type(&self) -> Option<&'a [u8]> {
        self.header(Name::ContentType)
    }

    /// Whether the body is of this media type (`application/sdp`), whatever its parameters.
    #[must_use]
    pub fn is_content(&self, media_type: &[u8]) -> bool {
        self.content_type().is_some_and(|value| {
            let end = memchr::memchr(b';', value).unwrap_or(value.len());
            trim(&value[..end]).eq_ignore_ascii_case(media_type)
        })
    }

    /// Session-Expires (RFC 4028).
    #[must_use]
    pub fn session_expires(&self) -> Option<SessionExpires> {
        let value = self.header(Name::SessionExpires)?;
        let refresher = params_of(value).value(b"refresher").and_then(|who| {
            if who.eq_ignore_ascii_case(b"uac") {
                Some(Refresher::Uac)
            } else if who.eq_ignore_ascii_case(b"uas") {
                Some(Refresher::Uas)
            } else {
                None
            }
        });
        Some(SessionExpires { seconds: parse::seconds(value)?, refresher })
    }

    /// Min-SE in seconds (RFC 4028).
    #[must_use]
    pub fn min_se(&self) -> Option<u32> {
        self.header(Name::MinSe).and_then(parse::seconds)
    }

    /// Expires in seconds, clamped to `u32`.
    #[must_use]
    pub fn expires(&self) -> Option<u32> {
        self.header(Name::Expires).and_then(parse::seconds)
    }

    /// Retry-After in seconds, clamped to `u32`; comment and parameters left out.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        self.header(Name::RetryAfter).and_then(parse::seconds)
    }

    /// `RSeq` (RFC 3262).
    #[must_use]
    pub fn rseq(&self) -> Option<u32> {
        self.header(Name::RSeq).and_then(parse::rseq)
    }

    /// `RAck` (RFC 3262).
    #[must_use]
    pub fn rack(&self) -> Option<RAck<'a>> {
        self.header(Name::RAck).and_then(parse::rack)
    }

    /// The option tags of Supported, Require, Proxy-Require or Unsupported.
    pub fn option_tags(&self, name: Name) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.values(name)
    }

    /// Whether Supported lists this option tag.
    #[must_use]
    pub fn supports(&self, tag: &[u8]) -> bool {
        self.lists(Name::Supported, tag)
    }

    /// Whether Require lists this option tag.
    #[must_use]
    pub fn requires(&self, tag: &[u8]) -> bool {
        self.lists(Name::Require, tag)
    }

    /// Whether Allow lists this method; without Allow nothing is known, and the answer is no.
    #[must_use]
    pub fn allows(&self, method: Method<'_>) -> bool {
        self.values(Name::Allow).any(|allowed| Method::of(allowed) == method)
    }

    fn lists(&self, name: Name, wanted: &[u8]) -> bool {
        self.values(name).any(|value| value.eq_ignore_ascii_case(wanted))
    }

    fn slots(&self) -> &[Slot] {
        &self.fields[..usize::from(self.field_count)]
    }

    fn field(&self, slot: Slot) -> Field<'a> {
        let (name_at, value_at) = (usize::from(slot.name_at), usize::from(slot.value_at));
        Field {
            name: slot.name,
            raw_name: &self.raw[name_at..name_at + usize::from(slot.name_len)],
            value: &self.raw[value_at..value_at + usize::from(slot.value_len)],
        }
    }
}

impl std::fmt::Debug for Message<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Message({})", self.raw.escape_ascii())
    }
}

/// The parameters behind a value that is neither address nor Via.
fn params_of(value: &[u8]) -> Params<'_> {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    Params(&value[end..])
}
