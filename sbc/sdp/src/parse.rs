//! The borrowed reader: cuts an SDP into lines and m-lines, and checks once what media depends on, so that getters
//! cannot fail. Takes CRLF, LF and CR as line ends and unknown lines as they come; is strict about ports and addresses,
//! where a wrong reading would misroute media. RFC 4566, RFC 8866, RFC 3605 (a=rtcp), RFC 5761 (a=rtcp-mux).

use crate::line::{Lines, find_attribute, parse_number, strip_word, trim, word, words};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest SDP that is read, in bytes.
pub const BYTES_MAX: usize = 64 * 1024;
/// Most lines.
pub const LINES_MAX: usize = 1024;
/// Most m-lines.
pub const MEDIA_MAX: usize = 32;
/// Most formats of one m-line: as many as there are payload types.
pub const FORMATS_MAX: usize = 128;

/// Why an SDP was not taken. The name of each is stable: `inspect`, logs and metrics show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SdpError {
    /// Longer than [`BYTES_MAX`].
    #[error("longer than 64 KB")]
    TooLong,
    /// More than [`LINES_MAX`] lines.
    #[error("more than 1,024 lines")]
    TooManyLines,
    /// More than [`MEDIA_MAX`] m-lines.
    #[error("more than 32 m-lines")]
    TooManyMedia,
    /// More than [`FORMATS_MAX`] formats in an m-line.
    #[error("more than 128 formats in an m-line")]
    TooManyFormats,
    /// A NUL byte, where readers would disagree.
    #[error("contains a NUL byte")]
    Nul,
    /// Does not begin with `v=0`.
    #[error("does not begin with v=0")]
    Version,
    /// An m-line without kind, port, protocol or formats.
    #[error("an m-line is not understood")]
    Media,
    /// A port that is no number from 0 to 65535.
    #[error("an m-line's port is no port")]
    Port,
    /// A c= that names no Internet address, or several that disagree.
    #[error("a c= line is not understood")]
    Connection,
    /// A live m-line without a c= of its own or of the session.
    #[error("a live m-line has no c= line")]
    NoConnection,
    /// An a=rtcp that is no port and address.
    #[error("an a=rtcp line is not understood")]
    Rtcp,
}

impl SdpError {
    /// Stable name.
    pub fn class(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::TooManyLines => "too_many_lines",
            Self::TooManyMedia => "too_many_media",
            Self::TooManyFormats => "too_many_formats",
            Self::Nul => "nul",
            Self::Version => "version",
            Self::Media => "media",
            Self::Port => "port",
            Self::Connection => "connection",
            Self::NoConnection => "no_connection",
            Self::Rtcp => "rtcp",
        }
    }
}

/// One session description.
#[derive(Clone, Debug)]
pub struct Sdp<'a> {
    session: &'a [u8],
    connection: Option<Connection<'a>>,
    media: Vec<Media<'a>>,
}

/// One m-line with the lines under it, and what holds for it from the session.
#[derive(Clone, Debug)]
pub struct Media<'a> {
    session: &'a [u8],
    text: &'a [u8],
    kind: Kind,
    port: u16,
    port_count: u16,
    proto: Proto,
    proto_text: &'a [u8],
    formats: &'a [u8],
    connection: Option<Connection<'a>>,
    rtcp: Option<Rtcp<'a>>,
    rtcp_mux: bool,
    direction: Direction,
    has_crypto: bool,
    has_fingerprint: bool,
}

impl<'a> Sdp<'a> {
    /// Reads and checks an SDP.
    ///
    /// # Errors
    /// See [`SdpError`].
    pub fn parse(text: &'a [u8]) -> Result<Self, SdpError> {
        if text.len() > BYTES_MAX {
            return Err(SdpError::TooLong);
        }
        if memchr::memchr(0, text).is_some() {
            return Err(SdpError::Nul);
        }
        let (mut session_end, mut starts) = (text.len(), Vec::new());
        for (number, line) in Lines::new(text).enumerate() {
            if number >= LINES_MAX {
                return Err(SdpError::TooManyLines);
            }
            if number == 0 && (line.letter != b'v' || trim(line.value) != b"0") {
                return Err(SdpError::Version);
            }
            if line.letter == b'm' {
                if starts.is_empty() {
                    session_end = line.start;
                }
                if starts.len() == MEDIA_MAX {
                    return Err(SdpError::TooManyMedia);
                }
                starts.push(line.start);
            }
        }
        let session = &text[..session_end];
        if Lines::new(session).next().is_none() {
            return Err(SdpError::Version);
        }
        let level = Level::read(session)?;
        let mut media = Vec::with_capacity(starts.len());
        for (at, &start) in starts.iter().enumerate() {
            let end = starts.get(at + 1).copied().unwrap_or(text.len());
            media.push(Media::parse(session, &text[start..end], &level)?);
        }
        Ok(Sdp { session, connection: level.connection, media })
    }

    /// The m-lines, in order.
    pub fn media(&self) -> &[Media<'a>] {
        &self.media
    }

    /// The lines before the first m-line.
    pub fn session_lines(&self) -> Lines<'a> {
        Lines::new(self.session)
    }

    /// The o= line; `None` if there is none or it has too few fields (it is replaced anyway).
    pub fn origin(&self) -> Option<Origin<'a>> {
        Origin::parse(self.session_lines().find(|line| line.letter == b'o')?.value)
    }

    /// The session's c= line.
    pub fn connection(&self) -> Option<Connection<'a>> {
        self.connection
    }

    /// The address of the first m-line that is not refused, 0.0.0.0 and :: included: which family its writer speaks.
    /// `None` for a host name, or when nothing is live.
    pub fn first_address(&self) -> Option<IpAddr> {
        let live = self.media.iter().find(|media| media.port != 0)?;
        match live.connection?.host {
            Host::Address(address) => Some(address),
            Host::Name(_) => None,
        }
    }

    /// The value of a session attribute; empty for a bare one.
    pub fn attribute(&self, name: &str) -> Option<&'a [u8]> {
        find_attribute(self.session, name)
    }

    /// The mids of each BUNDLE group (RFC 9143).
    pub fn bundles(&self) -> impl Iterator<Item = &'a [u8]> {
        self.session_lines()
            .filter_map(|line| line.attribute())
            .filter_map(|(name, value)| (name == b"group").then(|| strip_word(value, b"BUNDLE")).flatten())
    }
}

impl<'a> Media<'a> {
    fn parse(session: &'a [u8], text: &'a [u8], above: &Level<'a>) -> Result<Self, SdpError> {
        let head = Lines::new(text).next().ok_or(SdpError::Media)?;
        let (kind, rest) = word(head.value);
        let (port, rest) = word(rest);
        let (proto_text, rest) = word(rest);
        let formats = trim(rest);
        if kind.is_empty() || port.is_empty() || proto_text.is_empty() {
            return Err(SdpError::Media);
        }
        let (port, port_count) = parse_port_and_count(port)?;
        let proto = Proto::of(proto_text);
        if formats.is_empty() && port != 0 {
            return Err(SdpError::Media);
        }
        if words(formats).take(FORMATS_MAX + 1).count() > FORMATS_MAX {
            return Err(SdpError::TooManyFormats);
        }
        let level = Level::read(text)?;
        let connection = level.connection.or(above.connection);
        if connection.is_none() && port != 0 {
            return Err(SdpError::NoConnection);
        }
        Ok(Media {
            session,
            text,
            kind: Kind::of(kind),
            port,
            port_count,
            proto,
            proto_text,
            formats,
            connection,
            rtcp: level.rtcp,
            rtcp_mux: level.rtcp_mux,
            direction: level.direction.or(above.direction).unwrap_or_default(),
            has_crypto: level.has_crypto || above.has_crypto,
            has_fingerprint: level.has_fingerprint || above.has_fingerprint,
        })
    }

    /// What it carries.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// RTP's port, 0 if the line is refused or disabled.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many ports in a row (`49170/2`), 1 as a rule.
    pub fn port_count(&self) -> u16 {
        self.port_count
    }

    /// The class of its protocol.
    pub fn proto(&self) -> Proto {
        self.proto
    }

    /// The protocol as written, such as `RTP/AVP`.
    pub fn proto_text(&self) -> &'a [u8] {
        self.proto_text
    }

    /// The formats as written, one a word.
    pub fn formats(&self) -> impl Iterator<Item = &'a [u8]> {
        words(self.formats)
    }

    /// Its payload types: the formats that are numbers from 0 to 127.
    pub fn payload_numbers(&self) -> impl Iterator<Item = u8> {
        self.formats().filter_map(parse_number).filter(|n| *n < 128).map(|n| n as u8)
    }

    /// Its c= line, or else the session's.
    pub fn connection(&self) -> Option<Connection<'a>> {
        self.connection
    }

    /// Its address: `None` for a host name, and for 0.0.0.0 and ::, which mean "none".
    pub fn address(&self) -> Option<IpAddr> {
        match self.connection?.host {
            Host::Address(address) if !address.is_unspecified() => Some(address),
            Host::Address(_) | Host::Name(_) => None,
        }
    }

    /// Whether its c= is 0.0.0.0 or ::, which is how old peers hold (RFC 3264 section 8.4).
    pub fn is_zero_address(&self) -> bool {
        matches!(self.connection, Some(Connection { host: Host::Address(address), .. }) if address.is_unspecified())
    }

    /// Where it wants RTP; `None` if unknown, refused, or nowhere.
    pub fn rtp(&self) -> Option<SocketAddr> {
        (self.port != 0).then_some(SocketAddr::new(self.address()?, self.port))
    }

    /// Where it wants RTCP: as a=rtcp says, with RTP if muxed and `muxed` is true, else one port above.
    pub fn rtcp(&self, muxed: bool) -> Option<SocketAddr> {
        let rtp = self.rtp()?;
        if muxed {
            return Some(rtp);
        }
        match self.rtcp {
            Some(Rtcp { port: 0, .. }) => None,
            Some(Rtcp { port, host: None }) => Some(SocketAddr::new(rtp.ip(), port)),
            Some(Rtcp { port, host: Some(Host::Address(address)) }) if !address.is_unspecified() => {
                Some(SocketAddr::new(address, port))
            }
            Some(Rtcp { port, .. }) => Some(SocketAddr::new(rtp.ip(), port)),
            None => Some(SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?)),
        }
    }

    /// Its a=rtcp line (RFC 3605).
    pub fn rtcp_line(&self) -> Option<Rtcp<'a>> {
        self.rtcp
    }

    /// Whether it says a=rtcp-mux.
    pub fn rtcp_mux(&self) -> bool {
        self.rtcp_mux
    }

    /// Its direction attribute, else the session's, else sendrecv.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// What it means to do, whichever way it says so: c=0.0.0.0 takes "receives" away.
    pub fn effective_direction(&self) -> Direction {
        if self.is_zero_address() { self.direction.without_receiving() } else { self.direction }
    }

    /// Whether keys of SDES are here (RFC 4568).
    pub fn has_crypto(&self) -> bool {
        self.has_crypto
    }

    /// Whether a certificate's fingerprint is here or in the session.
    pub fn has_fingerprint(&self) -> bool {
        self.has_fingerprint
    }

    /// Whether its keys can only come from DTLS: its protocol says so, or it is SRTP with a fingerprint and no key.
    pub fn needs_dtls(&self) -> bool {
        match self.proto {
            Proto::DtlsRtp | Proto::Dtls => true,
            Proto::Srtp => self.has_fingerprint && !self.has_crypto,
            Proto::Rtp | Proto::OtherRtp | Proto::Udptl | Proto::Udp | Proto::Tcp | Proto::Other => false,
        }
    }

    /// `a=ptime` in milliseconds.
    pub fn ptime(&self) -> Option<u16> {
        self.attribute("ptime").and_then(parse_ms)
    }

    /// `a=maxptime` in milliseconds.
    pub fn maxptime(&self) -> Option<u16> {
        self.attribute("maxptime").and_then(parse_ms)
    }

    /// `a=mid` (RFC 5888).
    pub fn mid(&self) -> Option<&'a [u8]> {
        self.attribute("mid")
    }

    /// Values of a=crypto.
    pub fn crypto(&self) -> impl Iterator<Item = &'a [u8]> {
        self.attributes("crypto")
    }

    /// `a=fingerprint`, its own or the session's.
    pub fn fingerprint(&self) -> Option<&'a [u8]> {
        self.attribute("fingerprint").or_else(|| find_attribute(self.session, "fingerprint"))
    }

    /// `a=setup`, its own or the session's.
    pub fn setup(&self) -> Option<&'a [u8]> {
        self.attribute("setup").or_else(|| find_attribute(self.session, "setup"))
    }

    /// `a=ice-ufrag` and `a=ice-pwd`, its own or the session's.
    pub fn ice_credentials(&self) -> Option<(&'a [u8], &'a [u8])> {
        let either = |name| self.attribute(name).or_else(|| find_attribute(self.session, name));
        Some((either("ice-ufrag")?, either("ice-pwd")?))
    }

    /// Values of a=candidate.
    pub fn candidates(&self) -> impl Iterator<Item = &'a [u8]> {
        self.attributes("candidate")
    }

    /// The value of its first attribute of that name; empty for a bare one.
    pub fn attribute(&self, name: &str) -> Option<&'a [u8]> {
        find_attribute(self.text, name)
    }

    /// The values of all its attributes of that name.
    pub fn attributes(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        Lines::new(self.text)
            .filter_map(|line| line.attribute())
            .filter_map(move |(found, value)| (found == name.as_bytes()).then_some(value))
    }

    /// Its lines, the m= line first.
    pub fn lines(&self) -> Lines<'a> {
        Lines::new(self.text)
    }
}

/// What a session or an m-line says about transport.
#[derive(Default)]
struct Level<'a> {
    connection: Option<Connection<'a>>,
    rtcp: Option<Rtcp<'a>>,
    rtcp_mux: bool,
    direction: Option<Direction>,
    has_crypto: bool,
    has_fingerprint: bool,
}

impl<'a> Level<'a> {
    fn read(text: &'a [u8]) -> Result<Self, SdpError> {
        let mut level = Level::default();
        for line in Lines::new(text) {
            match line.letter {
                b'c' => {
                    let connection = Connection::parse(line.value)?;
                    // Layers of a multicast group may have several; it is refused by its address anyway.
                    if level.connection.is_some_and(|first| first.host != connection.host)
                        && !connection.is_multicast()
                    {
                        return Err(SdpError::Connection);
                    }
                    level.connection.get_or_insert(connection);
                }
                b'a' => match line.attribute() {
                    Some((b"rtcp", value)) => level.rtcp = Some(Rtcp::parse(value)?),
                    Some((b"rtcp-mux" | b"rtcp-mux-only", _)) => level.rtcp_mux = true,
                    Some((b"crypto", _)) => level.has_crypto = true,
                    Some((b"fingerprint", _)) => level.has_fingerprint = true,
                    Some((name, b"")) => level.direction = Direction::of(name).or(level.direction),
                    Some(_) | None => {}
                },
                _ => {}
            }
        }
        Ok(level)
    }
}

/// The o= line (RFC 8866 section 5.2). Numbers stay text: peers exceed 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// User name or `-`.
    pub username: &'a [u8],
    /// Session identifier.
    pub session_id: &'a [u8],
    /// Session version.
    pub version: &'a [u8],
    /// Address or host name.
    pub address: &'a [u8],
}

impl<'a> Origin<'a> {
    fn parse(value: &'a [u8]) -> Option<Self> {
        // The user name may not hold spaces, but some do: the five other fields are counted from the end.
        let fields: Vec<&[u8]> = words(value).collect();
        let [.., session_id, version, _net, _family, address] = fields[..] else { return None };
        (fields.len() >= 6).then_some(Origin { username: fields[0], session_id, version, address })
    }
}

/// A c= line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection<'a> {
    /// Where.
    pub host: Host<'a>,
    /// Whether it carries a TTL or a count, as only groups do.
    pub has_suffix: bool,
}

impl<'a> Connection<'a> {
    fn parse(value: &'a [u8]) -> Result<Self, SdpError> {
        let (net, rest) = word(value);
        let (family, rest) = word(rest);
        // Some write a remark after the address.
        let (host, _) = word(rest);
        if !net.eq_ignore_ascii_case(b"IN") {
            return Err(SdpError::Connection);
        }
        let (host, suffix) = match memchr::memchr(b'/', host) {
            Some(slash) => (&host[..slash], Some(&host[slash + 1..])),
            None => (host, None),
        };
        let host = Host::parse(family, host).ok_or(SdpError::Connection)?;
        if let Some(suffix) = suffix
            && !suffix.split(|b| *b == b'/').all(|part| parse_number(part).is_some())
        {
            return Err(SdpError::Connection);
        }
        Ok(Connection { host, has_suffix: suffix.is_some() })
    }

    /// Whether it names a group.
    pub fn is_multicast(&self) -> bool {
        matches!(self.host, Host::Address(address) if address.is_multicast())
    }
}

/// An address or a host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host<'a> {
    /// An address.
    Address(IpAddr),
    /// A host name, not resolved here.
    Name(&'a [u8]),
}

impl<'a> Host<'a> {
    fn parse(family: &[u8], host: &'a [u8]) -> Option<Self> {
        let text = core::str::from_utf8(host).ok()?;
        if family.eq_ignore_ascii_case(b"IP4") {
            if let Ok(address) = text.parse::<Ipv4Addr>() {
                return Some(Host::Address(IpAddr::V4(address)));
            }
        } else if family.eq_ignore_ascii_case(b"IP6") {
            if let Ok(address) = text.parse::<Ipv6Addr>() {
                return Some(Host::Address(IpAddr::V6(address)));
            }
        } else {
            return None;
        }
        let is_name = host.len() <= 255
            && host.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
            // 10.0.0.256 or 010.0.0.1 is a bad address, not a name
            && host.rsplit(|b| *b == b'.').find(|label| !label.is_empty())?.iter().any(u8::is_ascii_alphabetic);
        is_name.then_some(Host::Name(host))
    }
}

/// An a=rtcp line (RFC 3605).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rtcp<'a> {
    /// RTCP's port; 0 means none.
    pub port: u16,
    /// Its address, if it names one.
    pub host: Option<Host<'a>>,
}

impl<'a> Rtcp<'a> {
    fn parse(value: &'a [u8]) -> Result<Self, SdpError> {
        let (port, rest) = word(value);
        let port = parse_number(port).and_then(|n| u16::try_from(n).ok()).ok_or(SdpError::Rtcp)?;
        if trim(rest).is_empty() {
            return Ok(Rtcp { port, host: None });
        }
        let connection = Connection::parse(rest).map_err(|_| SdpError::Rtcp)?;
        Ok(Rtcp { port, host: Some(connection.host) })
    }
}

/// What an m-line carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Speech and its events.
    Audio,
    /// Video.
    Video,
    /// T.38.
    Image,
    /// T.140.
    Text,
    /// MSRP.
    Message,
    /// BFCP, data channels, FECC.
    Application,
    /// Anything else.
    Other,
}

impl Kind {
    fn of(word: &[u8]) -> Self {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        match () {
            () if is("audio") => Kind::Audio,
            () if is("video") => Kind::Video,
            () if is("image") => Kind::Image,
            () if is("text") => Kind::Text,
            () if is("message") => Kind::Message,
            () if is("application") => Kind::Application,
            () => Kind::Other,
        }
    }

    /// As in an m-line.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Audio => "audio",
            Kind::Video => "video",
            Kind::Image => "image",
            Kind::Text => "text",
            Kind::Message => "message",
            Kind::Application => "application",
            Kind::Other => "other",
        }
    }
}

/// The class of an m-line's protocol: what a relay must know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Proto {
    /// RTP/AVP, RTP/AVPF.
    Rtp,
    /// RTP/SAVP, RTP/SAVPF: encrypted, the keys come by SDES or (with a fingerprint) by DTLS.
    Srtp,
    /// An RTP profile that we do not know.
    OtherRtp,
    /// UDP/TLS/RTP/…: needs DTLS.
    DtlsRtp,
    /// Anything else over DTLS (data channels).
    Dtls,
    /// T.38 over UDP.
    Udptl,
    /// Another protocol over UDP.
    Udp,
    /// Anything over TCP or TLS (MSRP, BFCP).
    Tcp,
    /// Not known to run over UDP.
    Other,
}

impl Proto {
    fn of(text: &[u8]) -> Self {
        let upper = text.to_ascii_uppercase();
        let mut parts = upper.split(|b| *b == b'/');
        let has = |name: &[u8]| upper.split(|b| *b == b'/').any(|part| part == name);
        match parts.next() {
            Some(b"RTP") => match parts.next() {
                Some(b"AVP" | b"AVPF") => Proto::Rtp,
                Some(b"SAVP" | b"SAVPF") => Proto::Srtp,
                _ => Proto::OtherRtp,
            },
            Some(b"UDPTL") => Proto::Udptl,
            Some(b"UDP") if has(b"TLS") || has(b"DTLS") => {
                if has(b"RTP") {
                    Proto::DtlsRtp
                } else {
                    Proto::Dtls
                }
            }
            Some(b"UDP") if has(b"UDPTL") => Proto::Udptl,
            Some(b"UDP") => Proto::Udp,
            Some(b"DTLS") => Proto::Dtls,
            Some(b"TCP" | b"TLS") => Proto::Tcp,
            _ => Proto::Other,
        }
    }

    /// Whether it is RTP, in clear or encrypted.
    pub fn is_rtp(self) -> bool {
        matches!(self, Proto::Rtp | Proto::Srtp | Proto::OtherRtp | Proto::DtlsRtp)
    }
}

/// Which way media flows, seen from who wrote the SDP (RFC 3264 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Both ways.
    #[default]
    SendRecv,
    /// The writer sends only.
    SendOnly,
    /// The writer receives only.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// Of "sends" and "receives".
    pub fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"sendrecv" => Some(Direction::SendRecv),
            b"sendonly" => Some(Direction::SendOnly),
            b"recvonly" => Some(Direction::RecvOnly),
            b"inactive" => Some(Direction::Inactive),
            _ => None,
        }
    }

    /// As the attribute is named.
    pub fn name(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    /// The writer sends.
    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// The writer receives.
    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// As seen from the other end.
    pub fn reversed(self) -> Self {
        Direction::new(self.receives(), self.sends())
    }

    /// What both allow.
    pub fn and(self, other: Direction) -> Self {
        Direction::new(self.sends() && other.sends(), self.receives() && other.receives())
    }

    fn without_receiving(self) -> Self {
        Direction::new(self.sends(), false)
    }
}

fn parse_port_and_count(word: &[u8]) -> Result<(u16, u16), SdpError> {
    let (port, count) = match memchr::memchr(b'/', word) {
        Some(slash) => (&word[..slash], Some(&word[slash + 1..])),
        None => (word, None),
    };
    let number = |text| parse_number(text).and_then(|n| u16::try_from(n).ok()).ok_or(SdpError::Port);
    Ok((number(port)?, count.map_or(Ok(1), number)?))
}

/// Milliseconds of packet time; peers write `20` and `20.0`.
fn parse_ms(value: &[u8]) -> Option<u16> {
    let whole = value.split(|b| *b == b'.').next()?;
    parse_number(whole).and_then(|n| u16::try_from(n).ok()).filter(|ms| *ms > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_m_line_has_what_the_session_says_unless_it_says_otherwise() {
        let text =
            b"v=0\no=x y 1 2 IN IP4 gw\nc=IN IP4 192.0.2.1\na=inactive\na=setup:active\na=group:BUNDLE a b\n\
            m=audio 4000 RTP/AVP 0\na=mid:a\nm=video 4002/2 RTP/SAVPF 31\nc=IN IP6 2001:db8::1\na=sendonly\n\
            a=setup:passive\na=crypto:1 X inline:Y\na=rtcp:4010\nm=text 0 RTP/AVP 98\n";
        let sdp = Sdp::parse(text).expect("valid");
        let origin = sdp.origin().expect("there is one");
        assert_eq!((origin.username, origin.session_id, origin.address), (&b"x"[..], &b"1"[..], &b"gw"[..]));
        assert_eq!(sdp.bundles().collect::<Vec<_>>(), [b"a b"]);
        let [audio, video, refused] = sdp.media() else { panic!("three m-lines") };
        assert_eq!(
            (audio.kind(), audio.direction(), audio.mid()),
            (Kind::Audio, Direction::Inactive, Some(&b"a"[..]))
        );
        assert_eq!(audio.rtp(), "192.0.2.1:4000".parse().ok());
        assert_eq!((audio.rtcp(false), audio.rtcp(true)), ("192.0.2.1:4001".parse().ok(), audio.rtp()));
        assert_eq!((audio.setup(), video.setup()), (Some(&b"active"[..]), Some(&b"passive"[..])));
        assert_eq!(
            (video.port_count(), video.proto(), video.direction()),
            (2, Proto::Srtp, Direction::SendOnly)
        );
        assert_eq!(video.rtcp(false), "[2001:db8::1]:4010".parse().ok());
        assert!(video.has_crypto() && !audio.has_crypto());
        assert_eq!((refused.rtp(), refused.rtcp(false)), (None, None));
        assert_eq!(sdp.first_address(), "192.0.2.1".parse().ok());
    }

    #[test]
    fn protocols_fall_into_classes() {
        for (text, proto) in [
            ("RTP/AVP", Proto::Rtp),
            ("rtp/avpf", Proto::Rtp),
            ("RTP/SAVP", Proto::Srtp),
            ("RTP/SAVPF", Proto::Srtp),
            ("RTP/XAVP", Proto::OtherRtp),
            ("UDP/TLS/RTP/SAVPF", Proto::DtlsRtp),
            ("UDP/DTLS/SCTP", Proto::Dtls),
            ("DTLS/SCTP", Proto::Dtls),
            ("udptl", Proto::Udptl),
            ("UDPTL", Proto::Udptl),
            ("UDP/BFCP", Proto::Udp),
            ("udp", Proto::Udp),
            ("TCP/MSRP", Proto::Tcp),
            ("TCP/TLS/BFCP", Proto::Tcp),
            ("TCP", Proto::Tcp),
            ("*", Proto::Other),
        ] {
            assert_eq!(Proto::of(text.as_bytes()), proto, "{text}");
        }
    }

    #[test]
    fn all_line_ends_are_taken() {
        let lines: Vec<_> = Lines::new(b"v=0\r\ns=a\n\nt=b\rnonsense\r\n\r\nA=x")
            .map(|line| (line.letter, line.value))
            .collect();
        let text = |s: &'static str| s.as_bytes();
        assert_eq!(
            lines,
            [
                (b'v', text("0")),
                (b's', text("a")),
                (b't', text("b")),
                (0, text("nonsense")),
                (0, text("A=x"))
            ]
        );
    }
}
