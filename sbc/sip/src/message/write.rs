//! Building messages. Whatever stands in a value, one call writes one field line: line ends inside are folded into
//! spaces, so no value can add a field or end the header section (RFC 3261 sections 7 and 8.2.6).
use super::{Field, Message, Method, Name, is_token_byte, split, trim, unfold};
use std::net::{IpAddr, SocketAddr};

/// A message in the making. `finish` adds Content-Length and gives the octets.
#[derive(Clone, Debug)]
pub struct Writer {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Writer {
    /// A request. Octets that would break the request line (blanks, controls) are left out.
    #[must_use]
    pub fn request(method: &[u8], uri: &[u8]) -> Self {
        let mut head = Vec::with_capacity(1_024);
        head.extend(method.iter().copied().filter(|&byte| is_token_byte(byte)));
        head.push(b' ');
        head.extend(uri.iter().copied().filter(|&byte| byte > b' ' && byte != 0x7f));
        head.extend_from_slice(b" SIP/2.0\r\n");
        Self { head, body: Vec::new() }
    }

    /// A response with the usual reason phrase.
    #[must_use]
    pub fn response(code: u16) -> Self {
        Self::response_with(code, reason(code).as_bytes())
    }

    /// A response with a reason phrase of its own.
    #[must_use]
    pub fn response_with(code: u16, reason: &[u8]) -> Self {
        debug_assert!((100..700).contains(&code), "{code} is no SIP status");
        let mut writer = Self { head: Vec::with_capacity(1_024), body: Vec::new() };
        writer.head.extend_from_slice(b"SIP/2.0 ");
        writer.head.extend_from_slice(code.to_string().as_bytes());
        writer.head.push(b' ');
        writer.line_end(reason);
        writer
    }

    /// A response to `request` with all that RFC 3261 section 8.2.6.2 copies: Via, From, To (with `to_tag` unless
    /// it has a tag or the code is 100), Call-ID, `CSeq`; Timestamp into a 100; and Record-Route where the response
    /// makes a dialog (101 to 299 without a To tag in the request; section 12.1.1).
    #[must_use]
    pub fn reply(request: &Message<'_>, code: u16, to_tag: Option<&[u8]>) -> Self {
        let mut writer = Self::response(code);
        writer.copy(request, Name::Via);
        writer.copy_for_reply(request, code, to_tag);
        writer
    }

    /// As [`Writer::reply`], and the top Via says where the request came from: `received` if sent-by is not that
    /// address, `rport` if it was asked for (RFC 3261 section 18.2.1, RFC 3581 section 4).
    #[must_use]
    pub fn reply_from(request: &Message<'_>, source: SocketAddr, code: u16, to_tag: Option<&[u8]>) -> Self {
        let mut writer = Self::response(code);
        let mut lines = request.lines(Name::Via);
        if let Some(top_line) = lines.next() {
            let mut values = split(top_line, b',').filter(|value| !value.is_empty());
            let top = values.next().unwrap_or_default();
            writer.header("Via", stamped(&unfold(top), source));
            for value in values {
                writer.header("Via", value);
            }
        }
        for line in lines {
            writer.header("Via", line);
        }
        writer.copy_for_reply(request, code, to_tag);
        writer
    }

    fn copy_for_reply(&mut self, request: &Message<'_>, code: u16, to_tag: Option<&[u8]>) {
        let makes_dialog = matches!(request.method(), Method::Invite | Method::Subscribe | Method::Refer)
            && (101..300).contains(&code)
            && request.to_tag().is_none();
        if makes_dialog {
            self.copy(request, Name::RecordRoute);
        }
        self.copy_first(request, Name::From);
        match (request.header(Name::To), to_tag) {
            (Some(to), Some(tag)) if code != 100 && request.to_tag().is_none() => {
                let mut value = unfold(to).into_owned();
                if value.ends_with(b";") {
                    value.pop();
                }
                value.extend_from_slice(b";tag=");
                value.extend(tag.iter().copied().filter(|&byte| is_token_byte(byte)));
                self.header("To", value);
            }
            _ => {
                self.copy_first(request, Name::To);
            }
        }
        self.copy_first(request, Name::CallId);
        self.copy_first(request, Name::CSeq);
        if code == 100 {
            self.copy_first(request, Name::Timestamp);
        }
    }

    /// One field line. Line ends in the value become spaces; octets that no name has are left out of the name.
    pub fn header(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.raw_header(name.as_bytes(), value.as_ref())
    }

    /// One field line of a parsed message under its own spelling, unfolded: for unknown names that are carried on.
    pub fn field(&mut self, field: &Field<'_>) -> &mut Self {
        self.raw_header(field.raw_name, field.value)
    }

    /// Every field line of this name, unfolded, in order, under the registered spelling. Nothing for `Name::Other`.
    pub fn copy(&mut self, from: &Message<'_>, name: Name) -> &mut Self {
        if name != Name::Other {
            for value in from.lines(name) {
                self.raw_header(name.as_str().as_bytes(), value);
            }
        }
        self
    }

    /// The body and its type; without octets neither is written.
    pub fn body(&mut self, content_type: &str, body: &[u8]) -> &mut Self {
        if !body.is_empty() {
            self.header("Content-Type", content_type);
            self.body = body.to_vec();
        }
        self
    }

    /// Adds Content-Length, the empty line and the body. The writer is empty afterwards.
    #[must_use]
    pub fn finish(&mut self) -> Vec<u8> {
        let mut message = std::mem::take(&mut self.head);
        message.extend_from_slice(b"Content-Length: ");
        message.extend_from_slice(self.body.len().to_string().as_bytes());
        message.extend_from_slice(b"\r\n\r\n");
        message.append(&mut self.body);
        message
    }

    fn copy_first(&mut self, from: &Message<'_>, name: Name) {
        if let Some(value) = from.header(name) {
            self.raw_header(name.as_str().as_bytes(), value);
        }
    }

    fn raw_header(&mut self, name: &[u8], value: &[u8]) -> &mut Self {
        self.head.extend(name.iter().copied().filter(|&byte| is_token_byte(byte)));
        self.head.extend_from_slice(b": ");
        self.line_end(value);
        self
    }

    fn line_end(&mut self, text: &[u8]) {
        self.head.extend_from_slice(&unfold(trim(text)));
        self.head.extend_from_slice(b"\r\n");
    }
}

/// The top Via value as the server that received it passes it on.
fn stamped(via: &[u8], source: SocketAddr) -> Vec<u8> {
    let address = source.ip().to_canonical();
    let mut parts = split(via, b';');
    let head = parts.next().unwrap_or_default();
    let mut out = Vec::with_capacity(via.len() + 40);
    out.extend_from_slice(head);
    let mut wants_rport = false;
    for param in parts.filter(|param| !param.is_empty()) {
        let name = param.split(|&byte| byte == b'=').next().map(trim).unwrap_or_default();
        if name.eq_ignore_ascii_case(b"rport") {
            wants_rport = true;
        } else if !name.eq_ignore_ascii_case(b"received") {
            out.push(b';');
            out.extend_from_slice(param);
        }
    }
    let host = super::Via::read(via).map(|via| via.host).unwrap_or_default();
    let said = std::str::from_utf8(host).ok().and_then(|host| host.parse::<IpAddr>().ok());
    if wants_rport || said != Some(address) {
        out.extend_from_slice(format!(";received={address}").as_bytes());
    }
    if wants_rport {
        out.extend_from_slice(format!(";rport={}", source.port()).as_bytes());
    }
    out
}

/// The reason phrase of a status (RFC 3261 section 21 and the registry); of its class where it has none.
#[must_use]
pub fn reason(code: u16) -> &'static str {
    match code {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        199 => "Early Dialog Terminated",
        200 => "OK",
        202 => "Accepted",
        204 => "No Notification",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Moved Temporarily",
        305 => "Use Proxy",
        380 => "Alternative Service",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        412 => "Conditional Request Failed",
        413 => "Request Entity Too Large",
        414 => "Request-URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        417 => "Unknown Resource-Priority",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        424 => "Bad Location Information",
        428 => "Use Identity Header",
        429 => "Provide Referrer Identity",
        430 => "Flow Failed",
        433 => "Anonymity Disallowed",
        436 => "Bad Identity Info",
        437 => "Unsupported Credential",
        438 => "Invalid Identity Header",
        439 => "First Hop Lacks Outbound Support",
        440 => "Max-Breadth Exceeded",
        469 => "Bad Info Package",
        470 => "Consent Needed",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        485 => "Ambiguous",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        493 => "Undecipherable",
        494 => "Security Agreement Required",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        555 => "Push Notification Service Not Supported",
        580 => "Precondition Failure",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        607 => "Unwanted",
        608 => "Rejected",
        _ => match code / 100 {
            1 => "Progress",
            2 => "Success",
            3 => "Redirection",
            4 => "Request Failure",
            5 => "Server Failure",
            _ => "Global Failure",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Framing;

    const INVITE: &str = "INVITE sip:b@b.example SIP/2.0\r\n\
        Via: SIP/2.0/UDP a.example:5062;rport;branch=z9hG4bK-1, SIP/2.0/TCP x.example;branch=z9hG4bK-0\r\n\
        v: SIP/2.0/TLS y.example\r\n\
        Record-Route: <sip:p1.example;lr>,\r\n <sip:p2.example;lr>\r\n\
        From: <sip:a@a.example>;tag=1\r\n\
        To: \"B\"\r\n <sip:b@b.example>\r\n\
        i: 17@a.example\r\n\
        Timestamp: 54\r\n\
        CSeq: 3 INVITE\r\n\r\n";

    fn reply(request: &str, code: u16, tag: Option<&[u8]>) -> String {
        let message = Message::parse(request.as_bytes(), Framing::Datagram).expect("valid");
        String::from_utf8(Writer::reply(&message, code, tag).finish()).expect("text")
    }

    #[test]
    fn a_reply_copies_what_the_rfc_says() {
        assert_eq!(
            reply(INVITE, 180, Some(b"ours")),
            "SIP/2.0 180 Ringing\r\n\
            Via: SIP/2.0/UDP a.example:5062;rport;branch=z9hG4bK-1, SIP/2.0/TCP x.example;branch=z9hG4bK-0\r\n\
            Via: SIP/2.0/TLS y.example\r\n\
            Record-Route: <sip:p1.example;lr>, <sip:p2.example;lr>\r\n\
            From: <sip:a@a.example>;tag=1\r\n\
            To: \"B\" <sip:b@b.example>;tag=ours\r\n\
            Call-ID: 17@a.example\r\n\
            CSeq: 3 INVITE\r\n\
            Content-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn a_100_has_no_tag_of_ours_but_the_timestamp() {
        let trying = reply(INVITE, 100, Some(b"ours"));
        assert!(!trying.contains("ours") && !trying.contains("Record-Route"), "{trying}");
        assert!(trying.contains("\r\nTimestamp: 54\r\n"), "{trying}");
    }

    #[test]
    fn a_refusal_makes_no_dialog_and_a_tag_that_is_there_stays() {
        assert!(!reply(INVITE, 486, Some(b"ours")).contains("Record-Route"));
        let again = INVITE.replace("<sip:b@b.example>\r\n", "<sip:b@b.example>;tag=theirs;\r\n");
        let answer = reply(&again, 200, Some(b"ours"));
        assert!(answer.contains(";tag=theirs;\r\n") && !answer.contains("ours"), "{answer}");
        let semicolon = INVITE.replace("<sip:b@b.example>\r\n", "<sip:b@b.example>;\r\n");
        assert!(reply(&semicolon, 200, Some(b"ours")).contains("<sip:b@b.example>;tag=ours\r\n"));
    }

    #[test]
    fn the_top_via_says_where_the_request_came_from() {
        for (top, source, stamped) in [
            ("SIP/2.0/UDP 192.0.2.1;branch=b", "192.0.2.1:5060", "SIP/2.0/UDP 192.0.2.1;branch=b"),
            ("SIP/2.0/UDP 192.0.2.1", "[::ffff:192.0.2.1]:5060", "SIP/2.0/UDP 192.0.2.1"),
            ("SIP/2.0/UDP 192.0.2.1;a=b", "192.0.2.2:9", "SIP/2.0/UDP 192.0.2.1;a=b;received=192.0.2.2"),
            (
                "SIP/2.0/UDP h;rport;branch=b",
                "192.0.2.2:9",
                "SIP/2.0/UDP h;branch=b;received=192.0.2.2;rport=9",
            ),
            ("SIP/2.0/TCP [2001:db8::1]", "[2001:db8::1]:9", "SIP/2.0/TCP [2001:db8::1]"),
            ("SIP/2.0/TCP h;received=1.2.3.4", "[2001:db8::1]:9", "SIP/2.0/TCP h;received=2001:db8::1"),
        ] {
            let request = INVITE.replace("SIP/2.0/UDP a.example:5062;rport;branch=z9hG4bK-1", top);
            let message = Message::parse(request.as_bytes(), Framing::Datagram).expect("valid");
            let source = source.parse().expect("an address");
            let bytes = Writer::reply_from(&message, source, 200, None).finish();
            let text = String::from_utf8(bytes).expect("text");
            let rest = "SIP/2.0/TCP x.example;branch=z9hG4bK-0\r\nVia: SIP/2.0/TLS y.example\r\n";
            assert!(text.contains(&format!("OK\r\nVia: {stamped}\r\nVia: {rest}")), "{text}");
        }
    }

    #[test]
    fn fields_are_carried_under_their_own_spelling() {
        let request = INVITE.replace("Timestamp: 54", "x-ODD:\r\n one\r\n two");
        let message = Message::parse(request.as_bytes(), Framing::Datagram).expect("valid");
        let mut writer = Writer::request(b"BYE", b"sip:b@b.example");
        for field in message.headers().filter(|field| field.name == Name::Other) {
            writer.field(&field);
        }
        writer.copy(&message, Name::Other).copy(&message, Name::RecordRoute);
        let text = String::from_utf8(writer.finish()).expect("text");
        assert_eq!(
            text,
            "BYE sip:b@b.example SIP/2.0\r\nx-ODD: one two\r\n\
            Record-Route: <sip:p1.example;lr>, <sip:p2.example;lr>\r\nContent-Length: 0\r\n\r\n"
        );
    }
}
