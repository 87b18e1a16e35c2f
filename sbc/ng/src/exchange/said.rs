//! What an SDP says of each m-line, owned: read once when it is taken, kept until the next. Decides nothing.

use command::MediaClass;
use core::net::{IpAddr, SocketAddr};
use sdp::crypto::CryptoLine;
use sdp::{Codec, Direction, Host, Kind, Line, Media, Proto, parse_number, word};

/// One payload type of an m-line as its writer describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    /// 0 to 127.
    pub number: u8,
    /// `PCMU/8000` as in `a=rtpmap`; empty for a dynamic number without one.
    pub map: String,
    /// Encoding name, the first word of `map`.
    pub name: String,
    /// RTP clock in Hz.
    pub clock: u32,
    /// Channels, 1 if not said.
    pub channels: u8,
    /// Of `a=fmtp`; empty if none.
    pub fmtp: String,
    /// Values of `a=rtcp-fb` behind the number.
    pub feedback: Vec<String>,
    /// Put there by us: the other side does not have it.
    pub is_made: bool,
    /// What we are to make in bits a second, where the client says so.
    pub bitrate: Option<u32>,
}

impl Format {
    /// For comparisons.
    pub fn codec(&self) -> Codec<'_> {
        Codec {
            number: self.number,
            name: &self.name,
            clock: self.clock,
            channels: self.channels,
            fmtp: &self.fmtp,
        }
    }

    /// Whether it carries speech by itself.
    pub fn is_speech(&self) -> bool {
        let codec = self.codec();
        codec.is_speech() && !codec.is_redundancy()
    }

    /// Tone events.
    pub fn is_event(&self) -> bool {
        self.codec().is_event()
    }

    /// Events and noise: they follow the clocks of speech.
    pub fn is_supplement(&self) -> bool {
        self.codec().is_event() || self.codec().is_noise()
    }

    /// Whether both are the same encoding, clock and channels.
    pub fn is_same(&self, other: &Format) -> bool {
        self.codec().is_same(&other.codec())
    }

    fn of(codec: &Codec<'_>) -> Format {
        Format {
            number: codec.number,
            map: map(codec.name, codec.clock, codec.channels),
            name: codec.name.to_owned(),
            clock: codec.clock,
            channels: codec.channels,
            fmtp: codec.fmtp.to_owned(),
            feedback: Vec::new(),
            is_made: false,
            bitrate: None,
        }
    }
}

/// `name/clock[/channels]`.
pub(super) fn map(name: &str, clock: u32, channels: u8) -> String {
    match (name, channels) {
        ("", _) => String::new(),
        (_, 0 | 1) => format!("{name}/{clock}"),
        _ => format!("{name}/{clock}/{channels}"),
    }
}

/// How packets of an m-line travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    /// `RTP/AVP` and its kin.
    Rtp {
        /// The `S`.
        secure: bool,
        /// The `F`.
        feedback: bool,
    },
    /// Another kind of RTP.
    OtherRtp,
    /// T.38.
    Udptl,
    /// Something else over UDP.
    Udp,
    /// Keys could only come by DTLS.
    Dtls,
    /// Not over UDP: not for us, it is refused.
    Foreign,
}

impl Profile {
    fn of(media: &Media<'_>) -> Profile {
        let text = media.proto_text();
        let ends_with = |byte: u8| text.last().is_some_and(|last| last.eq_ignore_ascii_case(&byte));
        if media.needs_dtls() {
            return Profile::Dtls;
        }
        match media.proto() {
            Proto::Rtp => Profile::Rtp { secure: false, feedback: ends_with(b'F') },
            Proto::Srtp => Profile::Rtp { secure: true, feedback: ends_with(b'F') },
            Proto::OtherRtp => Profile::OtherRtp,
            Proto::Udptl => Profile::Udptl,
            Proto::Udp => Profile::Udp,
            Proto::DtlsRtp | Proto::Dtls => Profile::Dtls,
            Proto::Tcp | Proto::Other => Profile::Foreign,
        }
    }

    /// How its packets are told apart; `None` where none come to us.
    pub fn class(self) -> Option<MediaClass> {
        match self {
            Profile::Rtp { .. } | Profile::OtherRtp => Some(MediaClass::Rtp),
            Profile::Udptl => Some(MediaClass::Udptl),
            Profile::Udp => Some(MediaClass::Opaque),
            Profile::Dtls | Profile::Foreign => None,
        }
    }

    /// Whether payload types, RTCP and keys mean something.
    pub fn is_rtp(self) -> bool {
        matches!(self, Profile::Rtp { .. } | Profile::OtherRtp | Profile::Dtls)
    }

    /// The `S`.
    pub fn is_secure(self) -> bool {
        matches!(self, Profile::Rtp { secure: true, .. })
    }

    /// As in an m-line; `None` for what has no one name.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Profile::Rtp { secure: false, feedback: false } => Some("RTP/AVP"),
            Profile::Rtp { secure: false, feedback: true } => Some("RTP/AVPF"),
            Profile::Rtp { secure: true, feedback: false } => Some("RTP/SAVP"),
            Profile::Rtp { secure: true, feedback: true } => Some("RTP/SAVPF"),
            Profile::OtherRtp | Profile::Udptl | Profile::Udp | Profile::Dtls | Profile::Foreign => None,
        }
    }
}

/// One m-line.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Medium {
    pub kind: Kind,
    pub profile: Profile,
    /// Port 0.
    pub is_refused: bool,
    /// c=0.0.0.0 or ::, by which old peers hold.
    pub is_zero: bool,
    /// The address of its c= line, 0.0.0.0 included; `None` for a host name.
    pub address: Option<IpAddr>,
    pub rtp: Option<SocketAddr>,
    pub rtcp: Option<SocketAddr>,
    /// As its attribute says, or the session's.
    pub direction: Direction,
    /// It has that attribute of its own.
    pub has_direction: bool,
    /// `a=rtcp-mux`.
    pub mux: bool,
    /// In order of preference; empty where there is no RTP.
    pub formats: Vec<Format>,
    /// Keys that we can use.
    pub crypto: Vec<CryptoLine>,
    /// There is a line of keys, usable or not.
    pub has_crypto: bool,
    /// In milliseconds.
    pub ptime: Option<u16>,
    pub maxptime: Option<u16>,
}

impl Medium {
    /// Reads one m-line; `muxed` says whether RTCP comes with RTP there.
    pub fn read(media: &Media<'_>) -> Medium {
        let profile = Profile::of(media);
        let address = match media.connection().map(|connection| connection.host) {
            Some(Host::Address(address)) => Some(address),
            Some(Host::Name(_)) | None => None,
        };
        Medium {
            kind: media.kind(),
            profile,
            is_refused: media.port() == 0,
            is_zero: media.is_zero_address(),
            address,
            rtp: media.rtp(),
            rtcp: media.rtcp(false),
            direction: media.direction(),
            has_direction: media.lines().any(|line| is_direction(&line)),
            mux: media.rtcp_mux(),
            formats: if profile.is_rtp() { formats(media) } else { Vec::new() },
            crypto: media.crypto().filter_map(|value| CryptoLine::parse(value).ok()).collect(),
            has_crypto: media.crypto().next().is_some(),
            ptime: media.ptime(),
            maxptime: media.maxptime(),
        }
    }

    /// What it means to do, whichever way it says so.
    pub fn intent(&self) -> Direction {
        match self.is_zero {
            true => Direction::new(self.direction.sends(), false),
            false => self.direction,
        }
    }
}

/// Which way media goes.
pub(super) fn is_direction(line: &Line<'_>) -> bool {
    let name = line.attribute().map(|(name, _)| name);
    matches!(name, Some(b"sendrecv" | b"sendonly" | b"recvonly" | b"inactive"))
}

/// Payload types with all that is said of each.
fn formats(media: &Media<'_>) -> Vec<Format> {
    let mut formats: Vec<Format> = media.codecs().iter().map(Format::of).collect();
    for (name, value) in media.lines().filter_map(|line| line.attribute()) {
        if name != b"rtcp-fb" && name != b"rtpmap" {
            continue;
        }
        let (number, rest) = word(value);
        let Some(format) = formats.iter_mut().find(|f| parse_number(number) == Some(f.number.into())) else {
            continue;
        };
        let rest = String::from_utf8_lossy(sdp::trim(rest)).into_owned();
        match name {
            b"rtcp-fb" if format.feedback.len() < FEEDBACK_MAX => format.feedback.push(rest),
            // As it was written, also where channels are named needlessly.
            b"rtpmap" if rest.split('/').next().is_some_and(|name| name.trim() == format.name) => {
                format.map = rest;
            }
            _ => {}
        }
    }
    formats
}

/// Lines of feedback of one payload type that are kept.
const FEEDBACK_MAX: usize = 16;
