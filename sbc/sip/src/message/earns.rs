//! The status that a well-formed request earns whoever sends it, before anybody asks who that is
//! (RFC 3261 sections 8.2.1 to 8.2.3 and 16.3). It reads the message only; policy comes later.
use super::{Message, Method, Name, Scheme, Via, params_of, trim};

/// Option tags that the engine understands: RFC 3262, 4028, 3891, 3327, 5626, 5627, 4488, 7044, 3312 is not one.
pub const OPTION_TAGS: [&[u8]; 9] =
    [b"100rel", b"timer", b"replaces", b"path", b"outbound", b"gruu", b"norefersub", b"histinfo", b"tdialog"];

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
