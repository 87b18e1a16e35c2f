//! The status that a well-formed request earns whoever sends it, before anybody asks who that is
//! (RFC 3261 sections 8.2.1 to 8.2.3 and 16.3). It reads the message only; policy comes later.
use super::{Message, Method, Name, Scheme, Via, params_of, trim};

/// Option tags that the engine understands (RFC 3262, RFC 4028). Any other one is refused with 420, even where its
/// header fields are carried.
pub const OPTION_TAGS: [&[u8]; 2] = [b"100rel", b"timer"];

/// Media types of an INVITE that are read, or carried with the SDP in them.
const MEDIA_TYPES: [&[u8]; 4] =
    [b"application/sdp", b"multipart/mixed", b"multipart/alternative", b"multipart/related"];

impl<'a> Message<'a> {
    /// The status of the refusal that this request earns by itself; `None` for a response, an ACK, and where
    /// processing is normal. `option_tags` are those understood, usually [`OPTION_TAGS`].
    #[must_use]
    pub fn earns(&self, option_tags: &[&[u8]]) -> Option<u16> {
        let method = self.request()?.method;
        if method == Method::Ack {
            return None;
        }
        if has_bare_cookie(self.top_via()) {
            return Some(400); // It promises an identifier and gives none (RFC 4475 section 3.2.1).
        }
        if self.is_ambiguous() {
            return Some(400); // Which one is meant is not ours to pick (RFC 4475 section 3.3.8).
        }
        if method.known().is_none() {
            return Some(501);
        }
        if matches!(self.request_uri()?.scheme, Scheme::Other(_)) {
            return Some(416);
        }
        if method == Method::Cancel {
            return None; // It goes with its INVITE, hop by hop, and has no extensions (section 8.2.2.3).
        }
        if self.max_forwards() == Some(0) {
            return Some(483);
        }
        if self.unsupported(option_tags).next().is_some() {
            return Some(420);
        }
        match method {
            Method::Register => self.has_foreign_aor().then_some(400),
            Method::Invite if !self.body_is_readable() => Some(415),
            Method::Invite if !self.accepts_sdp() => Some(406),
            _ => None,
        }
    }

    /// The option tags of Require and Proxy-Require that are not understood: what Unsupported lists beside a 420.
    pub fn unsupported<'m>(&'m self, option_tags: &'m [&[u8]]) -> impl Iterator<Item = &'a [u8]> + 'm {
        self.option_tags(Name::Require)
            .chain(self.option_tags(Name::ProxyRequire))
            .filter(|tag| !option_tags.iter().any(|known| known.eq_ignore_ascii_case(tag)))
    }

    /// An address of record is a SIP or SIPS URI (RFC 3261 section 10.2).
    fn has_foreign_aor(&self) -> bool {
        self.to().parsed().is_none_or(|uri| matches!(uri.scheme, Scheme::Other(_)))
    }

    fn body_is_readable(&self) -> bool {
        if self.body().is_empty() {
            return true;
        }
        let encoded =
            self.values(Name::ContentEncoding).any(|coding| !coding.eq_ignore_ascii_case(b"identity"));
        let typed =
            self.content_type().is_none() || MEDIA_TYPES.iter().any(|media_type| self.is_content(media_type));
        (typed && !encoded) || self.body_is_optional()
    }

    /// A body that the sender does not insist on is ignored where it is not understood (RFC 3261 section 20.11).
    fn body_is_optional(&self) -> bool {
        self.header(Name::ContentDisposition).is_some_and(|value| {
            params_of(value)
                .value(b"handling")
                .is_some_and(|handling| handling.eq_ignore_ascii_case(b"optional"))
        })
    }

    /// Without Accept, SDP is accepted (RFC 3261 section 20.1); with an empty one, nothing is.
    fn accepts_sdp(&self) -> bool {
        self.header(Name::Accept).is_none()
            || self.values(Name::Accept).any(|range| {
                let end = memchr::memchr(b';', range).unwrap_or(range.len());
                let range = trim(&range[..end]);
                [&b"application/sdp"[..], b"application/*", b"*/*"]
                    .iter()
                    .any(|wide| range.eq_ignore_ascii_case(wide))
            })
    }
}

fn has_bare_cookie(via: Via<'_>) -> bool {
    via.branch().is_some_and(|branch| branch.eq_ignore_ascii_case(super::COOKIE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Framing;

    fn check(method: &str, uri: &str, fields: &str, body: &str, expected: Option<u16>) {
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@a>;tag=1\r\n\
            To: <sip:b@b>\r\nCall-ID: 1\r\nCSeq: 1 {method}\r\n{fields}\r\n{body}"
        );
        let message = Message::parse(text.as_bytes(), Framing::Datagram).expect("valid");
        assert_eq!(message.earns(&OPTION_TAGS), expected, "{method} {uri} {fields}");
    }

    #[test]
    fn a_request_earns_what_it_says() {
        check("INVITE", "sip:b@b", "Max-Forwards: 1\r\nRequire: 100REL, timer\r\n", "", None);
        check("INVITE", "tel:+1", "", "", None);
        check("INVITE", "sip:b@b", "Require: 100rel\r\nProxy-Require: fly\r\n", "", Some(420));
        check("INVITE", "sip:b@b", "Max-Forwards: 0\r\n", "", Some(483));
        check("INVITE", "mailto:b@b", "", "", Some(416));
        check("DANCE", "sip:b@b", "", "", Some(501));
        check("INVITE", "sip:b@b", "To: <sip:c@c>\r\n", "", Some(400));
    }

    #[test]
    fn ack_and_cancel_have_no_extensions() {
        check("ACK", "mailto:b@b", "Require: fly\r\nMax-Forwards: 0\r\n", "", None);
        check("CANCEL", "sip:b@b", "Require: fly\r\n", "", None);
    }

    #[test]
    fn the_body_of_an_invite_must_be_readable_unless_it_is_optional() {
        check("INVITE", "sip:b@b", "c: application/sdp;x=y\r\n", "v=0", None);
        check("INVITE", "sip:b@b", "c: multipart/mixed;boundary=b\r\n", "--b--", None);
        check("INVITE", "sip:b@b", "c: text/plain\r\n", "hi", Some(415));
        check("INVITE", "sip:b@b", "c: text/plain\r\n", "", None);
        check(
            "INVITE",
            "sip:b@b",
            "c: text/plain\r\nContent-Disposition: render;handling=optional\r\n",
            "hi",
            None,
        );
        check("INVITE", "sip:b@b", "c: application/sdp\r\ne: gzip\r\n", "v=0", Some(415));
        check("INFO", "sip:b@b", "c: application/dtmf-relay\r\n", "Signal=1", None);
    }

    #[test]
    fn an_answer_in_sdp_must_be_acceptable() {
        check("INVITE", "sip:b@b", "Accept: text/plain, application/*;q=0.1\r\n", "", None);
        check("INVITE", "sip:b@b", "Accept: text/plain\r\n", "", Some(406));
        check("INVITE", "sip:b@b", "Accept:\r\n", "", Some(406));
        check("OPTIONS", "sip:b@b", "Accept: text/plain\r\n", "", None);
    }
}
