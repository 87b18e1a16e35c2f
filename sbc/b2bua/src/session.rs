//! Session timers of one leg (RFC 4028): who refreshes, when, and when the peer has failed to.

use base::{Duration, Instant};
use sip::message::write::Writer;
use sip::message::{Message, Refresher, SessionExpires};

/// The shortest interval that we take: RFC 4028 section 4 allows no less.
pub const MIN_SE: u32 = 90;

/// The agreed timer of one leg; there is none until a 2xx says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimer {
    /// Seconds.
    pub interval: u32,
    /// Whether we refresh; else the peer does.
    pub ours: bool,
    due: Instant,
}

impl SessionTimer {
    /// Starts (or restarts, at each refresh) the timer.
    pub fn start(now: Instant, interval: u32, ours: bool) -> Self {
        let seconds = u64::from(interval.max(MIN_SE));
        // RFC 4028 section 10: the refresher acts at half time; the other side ends the session a third of the
        // interval, at most 32 s, before it would expire.
        let wait = if ours { seconds / 2 } else { seconds - (seconds / 3).min(32) };
        SessionTimer { interval, ours, due: now + Duration::from_secs(wait) }
    }

    /// The same timer, due after `wait`: for another try.
    pub fn start_in(now: Instant, timer: SessionTimer, wait: Duration) -> Self {
        SessionTimer { due: now + wait, ..timer }
    }

    /// When to refresh, or when to give the peer up.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// As both forms of the header need it: `1800;refresher=uas`.
    pub fn header(interval: u32, refresher: Refresher) -> String {
        let who = match refresher {
            Refresher::Uac => "uac",
            Refresher::Uas => "uas",
        };
        format!("{interval};refresher={who}")
    }
}

/// What a request asks of a server that wants `ours` seconds (`None`: it wants no timer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// No timer on this leg.
    Off,
    /// Too short: 422 with our minimum.
    TooShort,
    /// This long, refreshed by this one.
    Agreed {
        /// Seconds.
        interval: u32,
        /// Who refreshes.
        refresher: Refresher,
        /// Whether the response must say `Require: timer` (RFC 4028 section 9).
        required: bool,
    },
}

/// The server's side: what to answer to an INVITE or UPDATE (RFC 4028 section 9).
pub fn answer(request: &Message<'_>, ours: Option<u32>) -> Asked {
    let supported = request.supports(b"timer") || request.requires(b"timer");
    let wanted: Option<SessionExpires> = request.session_expires();
    if let Some(wanted) = wanted
        && supported
        && wanted.seconds < MIN_SE
    {
        return Asked::TooShort;
    }
    let min_se = request.min_se().unwrap_or(MIN_SE).max(MIN_SE);
    let interval = match (wanted, ours) {
        (None, None) => return Asked::Off,
        // The server may only shorten, and not below the client's minimum.
        (Some(wanted), Some(ours)) => wanted.seconds.min(ours.max(min_se)),
        (Some(wanted), None) => wanted.seconds,
        (None, Some(ours)) => ours.max(min_se),
    };
    let refresher = match wanted.and_then(|w| w.refresher) {
        Some(refresher) if supported => refresher,
        _ if supported => Refresher::Uac,
        // Table 2: a client that does not do timers cannot refresh.
        _ => Refresher::Uas,
    };
    Asked::Agreed { interval, refresher, required: supported && refresher == Refresher::Uac }
}

/// The client's side: what a 2xx has agreed (RFC 4028 section 7.2); `None` is no timer.
pub fn agreed(now: Instant, response: &Message<'_>) -> Option<SessionTimer> {
    let expires = response.session_expires()?;
    let ours = expires.refresher != Some(Refresher::Uas);
    Some(SessionTimer::start(now, expires.seconds, ours))
}

/// Session-Expires of a 2xx, and the timer that follows.
pub fn write_answer(writer: &mut Writer, now: Instant, asked: Asked) -> Option<SessionTimer> {
    let Asked::Agreed { interval, refresher, required } = asked else { return None };
    writer.header("Session-Expires", SessionTimer::header(interval, refresher));
    if required {
        writer.header("Require", "timer");
    }
    Some(SessionTimer::start(now, interval, refresher == Refresher::Uas))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sip::frame::Framing;

    fn request(headers: &str) -> Vec<u8> {
        format!(
            "INVITE sip:1@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:1@h>\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:a@h>\r\n{headers}Content-Length: 0\r\n\r\n"
        )
        .into_bytes()
    }

    fn check(headers: &str, ours: Option<u32>, expected: Asked) {
        let bytes = request(headers);
        let message = Message::parse(&bytes, Framing::Datagram).map_err(|e| e.class).unwrap();
        assert_eq!(answer(&message, ours), expected, "{headers}");
    }

    #[test]
    fn the_server_answers_as_table_2_of_rfc_4028() {
        let agreed = |interval, refresher, required| Asked::Agreed { interval, refresher, required };
        check("", None, Asked::Off);
        check("", Some(1800), agreed(1800, Refresher::Uas, false));
        check("Supported: timer\r\n", Some(1800), agreed(1800, Refresher::Uac, true));
        let asks = |se: &str| format!("Supported: timer\r\nSession-Expires: {se}\r\n");
        check(&asks("60"), Some(1800), Asked::TooShort);
        check(&asks("3600"), Some(1800), agreed(1800, Refresher::Uac, true));
        check(&asks("3600;refresher=uas"), None, agreed(3600, Refresher::Uas, false));
        check(&format!("{}Min-SE: 2000\r\n", asks("3600")), Some(1800), agreed(2000, Refresher::Uac, true));
        check("Session-Expires: 600\r\n", None, agreed(600, Refresher::Uas, false));
    }

    #[test]
    fn refreshes_come_at_half_time_and_a_silent_peer_is_given_up_before_the_end() {
        let start = Instant(0);
        assert_eq!(SessionTimer::start(start, 1800, true).due(), start + Duration::from_secs(900));
        assert_eq!(SessionTimer::start(start, 1800, false).due(), start + Duration::from_secs(1768));
        assert_eq!(SessionTimer::start(start, 90, false).due(), start + Duration::from_secs(60));
    }
}
