//! What is known of payload formats: static numbers, RTP clocks and frame lengths (RFC 3551 section 6 and the formats'
//! own RFCs). Knows nothing of SDP; a format that is not here passes as relay.

/// What kind of payload a format carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Speech or music.
    Audio,
    /// Comfort noise (RFC 3389).
    Noise,
    /// Named events: digits and tones (RFC 4733).
    Event,
    /// Pictures.
    Video,
    /// Text (RFC 4103), redundancy, retransmission: relayed beside audio.
    Other,
}

/// What is known of one format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Encoding name as in SDP, in lower case.
    pub name: &'static str,
    /// What it carries.
    pub kind: Kind,
    /// Its static payload type, if it has one.
    pub number: Option<u8>,
    /// RTP clock in Hz; for `telephone-event` and `cn` the usual one, they take the clock of the audio beside them.
    pub clock: u32,
    /// Samples a second that it codes; differs from the clock for G.722 (RFC 3551 section 4.5.2) and MPEG audio.
    pub rate: u32,
    /// Channels by default.
    pub channels: u8,
    /// How bytes and time relate.
    pub frame: Frame,
}

/// How bytes and time relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Any number of samples, this many bits each.
    Samples {
        /// Bits a sample.
        bits: u8,
    },
    /// Whole frames of a fixed length.
    Fixed {
        /// Microseconds a frame.
        micros: u32,
        /// Bytes a frame; the shorter ones of some formats (G.729's SID) end a packet.
        bytes: u16,
    },
    /// The length is in the payload itself.
    Variable,
}

/// The format of a static payload type (RFC 3551 tables 4 and 5).
pub fn by_number(number: u8) -> Option<&'static Facts> {
    FACTS.iter().find(|facts| facts.number == Some(number))
}

/// The format of an encoding name, in any case.
pub fn by_name(name: &str) -> Option<&'static Facts> {
    FACTS.iter().find(|facts| facts.name.eq_ignore_ascii_case(name))
}

/// Whether timestamps of this encoding say when a packet was made: events repeat the time of their beginning
/// (RFC 4733 section 2.2.1), so nothing can be learned about jitter from them.
pub fn is_paced(name: &str) -> bool {
    !by_name(name).is_some_and(|facts| matches!(facts.kind, Kind::Event | Kind::Noise))
}

/// What coding costs a listener on the scale of ITU-T G.107, and what loss does to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impairment {
    /// Equipment impairment factor Ie without loss.
    pub ie: f32,
    /// Packet-loss robustness factor Bpl: the higher, the less loss is heard.
    pub bpl: f32,
}

/// Of a format that is not known: G.711 by a decoder that conceals nothing (ITU-T G.113 appendix I).
pub const UNKNOWN: Impairment = Impairment { ie: 0.0, bpl: 4.3 };

/// What coding in this format costs; `None` for what is no speech. Names in any case; those that are not known here
/// are [`UNKNOWN`].
///
/// Where ITU-T G.113 appendix I has values they are these; marked ones are our guess by the nearest relative that has.
pub fn impairment(name: &str) -> Option<Impairment> {
    let Some(facts) = by_name(name) else { return Some(UNKNOWN) };
    let (ie, bpl) = match (facts.kind, facts.name) {
        (Kind::Noise | Kind::Event | Kind::Video | Kind::Other, _) => return None,
        // Named in SDP, so by a phone of today: these conceal (G.711 appendix I).
        (Kind::Audio, "pcmu" | "pcma") => (0.0, 25.1),
        (Kind::Audio, "g729") => (11.0, 19.0),
        (Kind::Audio, "g723") => (15.0, 16.1),
        // Robustness: guess, as EFR.
        (Kind::Audio, "gsm") => (20.0, 10.0),
        // As EFR, which is AMR's highest mode.
        (Kind::Audio, "amr") => (5.0, 10.0),
        // Robustness of these: guess, as G.711 that conceals nothing, for they have no frames to conceal.
        (Kind::Audio, "g726-40") => (2.0, 4.3),
        (Kind::Audio, "g726-32" | "dvi4") => (7.0, 4.3),
        (Kind::Audio, "g726-24") => (25.0, 4.3),
        (Kind::Audio, "g726-16") => (50.0, 4.3),
        (Kind::Audio, "g728") => (7.0, 16.0),
        // Guesses: on this narrowband scale wide band is as good as G.711; the robustness is that of their concealment.
        (Kind::Audio, "opus" | "evs") => (0.0, 20.0),
        (Kind::Audio, "g722") => (0.0, 10.0),
        (Kind::Audio, "amr-wb") => (0.0, 10.0),
        // Guess: made for loss, coded like G.729.
        (Kind::Audio, "ilbc") => (11.0, 25.0),
        (Kind::Audio, "speex") => (11.0, 19.0),
        (Kind::Audio, _) => (UNKNOWN.ie, UNKNOWN.bpl),
    };
    Some(Impairment { ie, bpl })
}

const fn samples(name: &'static str, number: Option<u8>, clock: u32, rate: u32, bits: u8) -> Facts {
    Facts { name, kind: Kind::Audio, number, clock, rate, channels: 1, frame: Frame::Samples { bits } }
}

const fn frames(name: &'static str, number: Option<u8>, micros: u32, bytes: u16) -> Facts {
    let frame = Frame::Fixed { micros, bytes };
    Facts { name, kind: Kind::Audio, number, clock: 8_000, rate: 8_000, channels: 1, frame }
}

const fn variable(name: &'static str, kind: Kind, number: Option<u8>, clock: u32) -> Facts {
    Facts { name, kind, number, clock, rate: clock, channels: 1, frame: Frame::Variable }
}

const FACTS: &[Facts] = &[
    samples("pcmu", Some(0), 8_000, 8_000, 8),
    samples("pcma", Some(8), 8_000, 8_000, 8),
    // The clock is 8,000 by an old mistake that became the rule (RFC 3551 section 4.5.2).
    samples("g722", Some(9), 8_000, 16_000, 4),
    frames("gsm", Some(3), 20_000, 33),
    frames("g723", Some(4), 30_000, 24),
    samples("dvi4", Some(5), 8_000, 8_000, 4),
    variable("lpc", Kind::Audio, Some(7), 8_000),
    Facts { channels: 2, ..samples("l16", Some(10), 44_100, 44_100, 16) },
    samples("l16", Some(11), 44_100, 44_100, 16),
    variable("qcelp", Kind::Audio, Some(12), 8_000),
    variable("cn", Kind::Noise, Some(13), 8_000),
    variable("mpa", Kind::Audio, Some(14), 90_000),
    frames("g728", Some(15), 2_500, 5),
    samples("dvi4", Some(16), 11_025, 11_025, 4),
    samples("dvi4", Some(17), 22_050, 22_050, 4),
    frames("g729", Some(18), 10_000, 10),
    variable("celb", Kind::Video, Some(25), 90_000),
    variable("jpeg", Kind::Video, Some(26), 90_000),
    variable("nv", Kind::Video, Some(28), 90_000),
    variable("h261", Kind::Video, Some(31), 90_000),
    variable("mpv", Kind::Video, Some(32), 90_000),
    variable("mp2t", Kind::Video, Some(33), 90_000),
    variable("h263", Kind::Video, Some(34), 90_000),
    Facts { channels: 2, ..variable("opus", Kind::Audio, None, 48_000) },
    variable("telephone-event", Kind::Event, None, 8_000),
    variable("amr", Kind::Audio, None, 8_000),
    variable("amr-wb", Kind::Audio, None, 16_000),
    variable("evs", Kind::Audio, None, 16_000),
    variable("ilbc", Kind::Audio, None, 8_000),
    variable("speex", Kind::Audio, None, 8_000),
    samples("g726-16", None, 8_000, 8_000, 2),
    samples("g726-24", None, 8_000, 8_000, 3),
    samples("g726-32", None, 8_000, 8_000, 4),
    samples("g726-40", None, 8_000, 8_000, 5),
    variable("h264", Kind::Video, None, 90_000),
    variable("h265", Kind::Video, None, 90_000),
    variable("vp8", Kind::Video, None, 90_000),
    variable("vp9", Kind::Video, None, 90_000),
    variable("av1", Kind::Video, None, 90_000),
    variable("t140", Kind::Other, None, 1_000),
    variable("red", Kind::Other, None, 8_000),
    variable("rtx", Kind::Other, None, 90_000),
    variable("ulpfec", Kind::Other, None, 90_000),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_static_number_is_named_once() {
        for number in 0..=127 {
            let named = FACTS.iter().filter(|facts| facts.number == Some(number)).count();
            assert!(named <= 1, "{number} is named {named} times");
        }
        let known: Vec<u8> = (0..128).filter(|n| by_number(*n).is_some()).collect();
        assert_eq!(
            known,
            [0, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 25, 26, 28, 31, 32, 33, 34]
        );
    }

    #[test]
    fn names_are_found_in_any_case_and_g722_keeps_its_odd_clock() {
        let g722 = by_name("G722").unwrap();
        assert_eq!((g722.number, g722.clock, g722.rate), (Some(9), 8_000, 16_000));
        assert_eq!(by_name("opus").map(|facts| (facts.clock, facts.channels)), Some((48_000, 2)));
        assert_eq!(by_name("nothing"), None);
    }

    #[test]
    fn only_speech_is_rated_and_the_unknown_is_taken_for_g711_without_concealment() {
        assert_eq!(impairment("G729"), Some(Impairment { ie: 11.0, bpl: 19.0 }));
        assert_eq!(impairment("PCMA"), Some(Impairment { ie: 0.0, bpl: 25.1 }));
        assert_eq!(impairment("nobody-knows-it"), Some(UNKNOWN));
        for name in ["telephone-event", "cn", "h264", "t140"] {
            assert_eq!(impairment(name), None, "{name}");
        }
        for facts in FACTS {
            let rated = impairment(facts.name);
            assert_eq!(rated.is_some(), facts.kind == Kind::Audio, "{}", facts.name);
            assert!(rated.is_none_or(|rated| rated.bpl >= 1.0 && rated.ie < 95.0));
        }
    }

    #[test]
    fn events_and_noise_say_nothing_about_pace() {
        assert!(is_paced("pcmu") && is_paced("nobody-knows-it"));
        assert!(!is_paced("telephone-event") && !is_paced("CN"));
    }
}
