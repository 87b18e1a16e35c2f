//! Why octets are no SIP message, and what that earns the sender.
use super::Message;

/// What is wrong with a message: the first thing found. Names are stable and serve as metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorClass {
    /// The first line is neither a request line nor a status line.
    #[error("the start line is malformed")]
    StartLine,
    /// A SIP version that is not 2.0.
    #[error("the SIP version is unknown")]
    Version,
    /// The Request-URI is no URI, or carries what no Request-URI may carry (RFC 3261 section 19.1.1).
    #[error("the Request-URI is malformed")]
    RequestUri,
    /// The Request-URI is longer than [`super::URI_MAX`].
    #[error("the Request-URI is too long")]
    UriTooLong,
    /// The status is no number from 100 to 699.
    #[error("the status code is malformed")]
    StatusCode,
    /// A field line without colon, with a name that is no token, or with a lone CR.
    #[error("a header line is malformed")]
    HeaderLine,
    /// A field line is longer than [`super::HEADER_LINE_MAX`].
    #[error("a header line is too long")]
    HeaderTooLong,
    /// More than [`super::HEADERS_MAX`] field lines.
    #[error("there are too many header lines")]
    TooManyHeaders,
    /// The octets end before the empty line.
    #[error("the header section has no end")]
    Truncated,
    /// The message is longer than [`crate::frame::MESSAGE_MAX`].
    #[error("the message is too large")]
    TooLarge,
    /// Via, From, To, Call-ID or CSeq is missing.
    #[error("a mandatory header field is missing")]
    MissingHeader,
    /// Call-ID, `CSeq` or Max-Forwards stands twice.
    #[error("Call-ID, CSeq or Max-Forwards is repeated")]
    DuplicateHeader,
    /// Content-Length is no number.
    #[error("Content-Length is malformed")]
    ContentLength,
    /// Two Content-Length fields differ.
    #[error("two Content-Length fields differ")]
    ContentLengthMismatch,
    /// A stream needs Content-Length (RFC 3261 section 18.3).
    #[error("Content-Length is missing on a stream")]
    ContentLengthMissing,
    /// Content-Length says more octets than the datagram has.
    #[error("Content-Length is larger than the datagram")]
    ContentLengthTooLarge,
    /// A Via value breaks the grammar.
    #[error("Via is malformed")]
    Via,
    /// From breaks the grammar.
    #[error("From is malformed")]
    From,
    /// To breaks the grammar.
    #[error("To is malformed")]
    To,
    /// Call-ID is empty or holds blanks or controls.
    #[error("Call-ID is malformed")]
    CallId,
    /// `CSeq` has no number up to 2^31-1 and a method.
    #[error("CSeq is malformed")]
    CSeq,
    /// The `CSeq` method is not the method of the request.
    #[error("the CSeq method is not the method of the request")]
    CSeqMethod,
    /// Max-Forwards is no number from 0 to 255.
    #[error("Max-Forwards is malformed")]
    MaxForwards,
    /// A Contact value breaks the grammar.
    #[error("Contact is malformed")]
    Contact,
    /// A Route, Record-Route, Path or Service-Route value breaks the grammar.
    #[error("a route is malformed")]
    Route,
    /// Content-Type is no media type.
    #[error("Content-Type is malformed")]
    ContentType,
    /// Expires is no number.
    #[error("Expires is malformed")]
    Expires,
    /// Date has a time zone that is not GMT (RFC 3261 section 20.17).
    #[error("Date is malformed")]
    Date,
    /// Session-Expires or Min-SE is no number (RFC 4028 section 4).
    #[error("Session-Expires or Min-SE is malformed")]
    SessionExpires,
    /// `RSeq` or `RAck` breaks the grammar (RFC 3262 section 7).
    #[error("RSeq or RAck is malformed")]
    Reliability,
}

impl ErrorClass {
    /// Every class, in the order of the enum: for counters.
    pub const ALL: [Self; 30] = [
        Self::StartLine,
        Self::Version,
        Self::RequestUri,
        Self::UriTooLong,
        Self::StatusCode,
        Self::HeaderLine,
        Self::HeaderTooLong,
        Self::TooManyHeaders,
        Self::Truncated,
        Self::TooLarge,
        Self::MissingHeader,
        Self::DuplicateHeader,
        Self::ContentLength,
        Self::ContentLengthMismatch,
        Self::ContentLengthMissing,
        Self::ContentLengthTooLarge,
        Self::Via,
        Self::From,
        Self::To,
        Self::CallId,
        Self::CSeq,
        Self::CSeqMethod,
        Self::MaxForwards,
        Self::Contact,
        Self::Route,
        Self::ContentType,
        Self::Expires,
        Self::Date,
        Self::SessionExpires,
        Self::Reliability,
    ];

    /// Stable name for metrics, logs and `inspect`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::StartLine => "bad_start_line",
            Self::Version => "unknown_version",
            Self::RequestUri => "bad_request_uri",
            Self::UriTooLong => "uri_too_long",
            Self::StatusCode => "bad_status_code",
            Self::HeaderLine => "bad_header_line",
            Self::HeaderTooLong => "header_too_long",
            Self::TooManyHeaders => "too_many_headers",
            Self::Truncated => "truncated",
            Self::TooLarge => "too_large",
            Self::MissingHeader => "missing_header",
            Self::DuplicateHeader => "duplicate_header",
            Self::ContentLength => "bad_content_length",
            Self::ContentLengthMismatch => "content_length_mismatch",
            Self::ContentLengthMissing => "content_length_missing",
            Self::ContentLengthTooLarge => "content_length_too_large",
            Self::Via => "bad_via",
            Self::From => "bad_from",
            Self::To => "bad_to",
            Self::CallId => "bad_call_id",
            Self::CSeq => "bad_cseq",
            Self::CSeqMethod => "cseq_method_mismatch",
            Self::MaxForwards => "bad_max_forwards",
            Self::Contact => "bad_contact",
            Self::Route => "bad_route",
            Self::ContentType => "bad_content_type",
            Self::Expires => "bad_expires",
            Self::Date => "bad_date",
            Self::SessionExpires => "bad_session_expires",
            Self::Reliability => "bad_reliability",
        }
    }

    /// The status that a request with this fault earns (RFC 3261 section 21.4); `None` where only responses have it.
    #[must_use]
    pub fn status(self) -> Option<u16> {
        match self {
            Self::StatusCode => None,
            Self::Version => Some(505),
            Self::UriTooLong => Some(414),
            Self::TooLarge => Some(513),
            Self::StartLine
            | Self::RequestUri
            | Self::HeaderLine
            | Self::HeaderTooLong
            | Self::TooManyHeaders
            | Self::Truncated
            | Self::MissingHeader
            | Self::DuplicateHeader
            | Self::ContentLength
            | Self::ContentLengthMismatch
            | Self::ContentLengthMissing
            | Self::ContentLengthTooLarge
            | Self::Via
            | Self::From
            | Self::To
            | Self::CallId
            | Self::CSeq
            | Self::CSeqMethod
            | Self::MaxForwards
            | Self::Contact
            | Self::Route
            | Self::ContentType
            | Self::Expires
            | Self::Date
            | Self::SessionExpires
            | Self::Reliability => Some(400),
        }
    }
}

/// A message that must not be processed, with all that could be read of it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{class}")]
pub struct Malformed<'a> {
    /// The first fault.
    pub class: ErrorClass,
    pub(crate) message: Message<'a>,
}

impl<'a> Malformed<'a> {
    /// The status to answer with: `None` for a response (discard it) and for ACK, which has no answer.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        if self.message.is_request() && self.message.method() != super::Method::Ack {
            self.class.status()
        } else {
            None
        }
    }

    /// The request to answer, with [`Malformed::status`]; `None` where nobody can be answered: a response, an ACK,
    /// or no readable top Via. From, To, Call-ID and CSeq are copied into the reply as far as they are there.
    #[must_use]
    pub fn reply_to(&self) -> Option<&Message<'a>> {
        (self.status().is_some() && self.message.vias().next().is_some()).then_some(&self.message)
    }

    /// What could be read, for logs and `inspect`: its getters work, and give defaults for what is not there.
    #[must_use]
    pub fn readable(&self) -> &Message<'a> {
        &self.message
    }

    /// As [`Malformed::readable`], by value.
    #[must_use]
    pub fn into_readable(self) -> Message<'a> {
        self.message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_listed_once_under_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = ErrorClass::ALL.iter().map(|class| class.name()).collect();
        assert_eq!(names.len(), ErrorClass::ALL.len());
        for (index, class) in ErrorClass::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, index);
            assert!(class.name().bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        }
    }
}
