//! What one leg's headers may carry to the other: identity, privacy, diversion and business headers between trusted
//! sides; all else is made anew or dropped, so that nothing of one side's topology shows on the other.

use sip::message::write::Writer;
use sip::message::{Message, Name};

/// Methods that a dialog through us may use.
pub const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, MESSAGE";
/// Option tags that we understand.
pub use sip::message::OPTION_TAGS as SUPPORTED;
/// Content of a session description.
pub const SDP: &str = "application/sdp";

/// Whether a header passes from leg to leg as it is.
fn passes(name: Name, raw_name: &[u8]) -> bool {
    match name {
        Name::PAssertedIdentity
        | Name::PPreferredIdentity
        | Name::Privacy
        | Name::Diversion
        | Name::HistoryInfo
        | Name::SessionId
        // Why a call ended (Q.850 causes, RFC 3326) says nothing about topology and is what carriers bill by.
        | Name::Reason => true,
        Name::Other => {
            let is_business = raw_name.len() > 2 && raw_name[..2].eq_ignore_ascii_case(b"x-");
            is_business && !raw_name.eq_ignore_ascii_case(crate::hop::HEADER.as_bytes())
        }
        _ => false,
    }
}

/// Tells an emergency centre where the caller is.
pub const EMERGENCY_ADDRESS: &str = "X-Emergency-Address";

/// Say who a caller really is (RFC 3325).
pub const IDENTITIES: [&str; 2] = ["P-Asserted-Identity", "P-Preferred-Identity"];

/// Copies what passes, in order, but for what is `ours` to say.
pub fn carry(from: &Message<'_>, to: &mut Writer, ours: &[&str]) {
    for field in from.headers() {
        let is_ours = ours.iter().any(|name| field.raw_name.eq_ignore_ascii_case(name.as_bytes()));
        if passes(field.name, field.raw_name) && !is_ours {
            to.field(&field);
        }
    }
}

/// What a record keeps of the business headers of a call: name and value, bounded.
pub fn tags(message: &Message<'_>) -> Vec<(String, String)> {
    const TAGS_MAX: usize = 8;
    const LEN_MAX: usize = 128;
    let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(LEN_MAX)]).into_owned();
    message
        .headers()
        .filter(|f| f.name == Name::Other && passes(f.name, f.raw_name))
        .take(TAGS_MAX)
        .map(|f| (text(f.raw_name), text(f.value)))
        .collect()
}

/// The body and its type as they came, for methods that pass through (INFO, MESSAGE).
pub fn carry_body(from: &Message<'_>, to: &mut Writer) {
    if !from.body().is_empty() {
        let content_type = from.content_type().unwrap_or(b"application/octet-stream");
        to.copy(from, Name::ContentEncoding).copy(from, Name::ContentDisposition);
        to.body(&String::from_utf8_lossy(content_type), from.body());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip::frame::Framing;

    #[test]
    fn identity_and_business_headers_pass_and_topology_does_not() {
        let text = "INVITE sip:1@h SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\n\
            To: <sip:1@h>\r\nCall-ID: secret@10.0.0.9\r\nCSeq: 1 INVITE\r\nContact: <sip:a@10.0.0.9>\r\n\
            P-Asserted-Identity: <sip:+1@b>\r\nX-Sign-ID: 42\r\nUser-Agent: pbx\r\nRecord-Route: <sip:10.0.0.1;lr>\r\n\
            Privacy: id\r\nX-Hop-Token: 0123456789abcdef\r\nFoo: bar\r\nContent-Length: 0\r\n\r\n";
        let message = Message::parse(text.as_bytes(), Framing::Datagram).map_err(|e| e.class).unwrap();
        let mut writer = Writer::request(b"INVITE", b"sip:x@y");
        carry(&message, &mut writer, &[]);
        let out = String::from_utf8(writer.finish()).unwrap();
        for wanted in ["P-Asserted-Identity: <sip:+1@b>", "X-Sign-ID: 42", "Privacy: id"] {
            assert!(out.contains(wanted), "{wanted} is carried");
        }
        for hidden in ["10.0.0", "pbx", "Foo", "X-Hop-Token", "secret"] {
            assert!(!out.contains(hidden), "{hidden} is hidden: {out}");
        }
        assert_eq!(tags(&message), [("X-Sign-ID".to_owned(), "42".to_owned())]);
    }
}
