//! Tones by name and country: the cadences of ITU-T E.180 supplement 2 (various tones used in national networks),
//! the precise tone plan of North America (GR-506) and E.180's own special information tone.

use super::text::cadence;
use command::Tone;

/// Countries with a column of their own, as ISO 3166 names them; `itu` is what E.180 recommends to all.
pub const COUNTRIES: &[&str] =
    &["us", "ca", "uk", "gb", "de", "fr", "it", "es", "jp", "au", "in", "br", "nl", "se", "ch", "at", "itu"];

/// Names of tones. The first five differ by country.
pub const NAMES: &[&str] = &[
    "dial",
    "ring",
    "busy",
    "congestion",
    "call-waiting",
    "sit",
    "beep",
    "record",
    "milliwatt",
    "join",
    "leave",
    "silence",
];

/// A tone by its name (one of [`NAMES`]) and country (one of [`COUNTRIES`], in any case); `None` if either is unknown.
pub fn named(name: &str, country: &str) -> Option<Tone> {
    let country = country.to_ascii_lowercase();
    if !COUNTRIES.contains(&country.as_str()) {
        return None;
    }
    let country = match country.as_str() {
        "ca" => "us",
        "gb" => "uk",
        other => other,
    };
    let national = match name.to_ascii_lowercase().as_str() {
        "dial" => 0,
        "ring" | "ringback" | "ringing" => 1,
        "busy" => 2,
        "congestion" | "reorder" => 3,
        "call-waiting" | "callwaiting" => 4,
        other => return everywhere(other, country),
    };
    let row = TABLE.iter().find(|row| row.country == country)?;
    cadence(row.tones[national], false).ok()
}

/// Tones that are the same in all countries, or nearly.
fn everywhere(name: &str, country: &str) -> Option<Tone> {
    let (text, once) = match (name, country) {
        // Bellcore's frequencies and lengths for "no circuit".
        ("sit", "us") => ("985/380,1429/380,1777/380", true),
        ("sit", _) => ("950/330,1400/330,1800/330,0/1000", false),
        ("beep", _) => ("1000/250", true),
        ("record", _) => ("1400/500,0/15000", false),
        ("milliwatt", _) => ("1004@0", false),
        ("join", _) => ("440@-19/100,660@-19/150", true),
        ("leave", _) => ("660@-19/100,440@-19/150", true),
        ("silence", _) => ("0/1000", false),
        _ => return None,
    };
    cadence(text, once).ok()
}

struct Row {
    country: &'static str,
    /// Dial, ring, busy, congestion, call waiting.
    tones: [&'static str; 5],
}

const TABLE: &[Row] = &[
    Row {
        country: "itu",
        tones: ["425", "425/1000,0/4000", "425/500,0/500", "425/250,0/250", "425/200,0/600,425/200,0/3000"],
    },
    Row {
        country: "us",
        tones: [
            "350+440",
            "440+480@-19/2000,0/4000",
            "480+620@-24/500,0/500",
            "480+620@-24/250,0/250",
            "440/300,0/10000",
        ],
    },
    Row {
        country: "uk",
        tones: [
            "350+440",
            "400+450/400,0/200,400+450/400,0/2000",
            "400/375,0/375",
            "400/400,0/350,400/225,0/525",
            "400/100,0/3000",
        ],
    },
    Row {
        country: "de",
        tones: ["425", "425/1000,0/4000", "425/480,0/480", "425/240,0/240", "425/200,0/200,425/200,0/5000"],
    },
    Row {
        country: "fr",
        tones: ["440", "440/1500,0/3500", "440/500,0/500", "440/250,0/250", "440/300,0/10000"],
    },
    Row {
        country: "it",
        tones: [
            "425/200,0/200,425/600,0/1000",
            "425/1000,0/4000",
            "425/500,0/500",
            "425/200,0/200",
            "425/400,0/100,425/250,0/100,425/150,0/14000",
        ],
    },
    Row {
        country: "es",
        tones: [
            "425",
            "425/1500,0/3000",
            "425/200,0/200",
            "425/200,0/200,425/200,0/200,425/200,0/600",
            "425/175,0/175,425/175,0/3500",
        ],
    },
    Row {
        country: "jp",
        tones: [
            "400",
            "400*16/1000,0/2000",
            "400/500,0/500",
            "400/500,0/500",
            "400*16/500,0/4000,400*16/50,0/450,400*16/50,0/3450",
        ],
    },
    Row {
        country: "au",
        tones: [
            "413+438",
            "413+438/400,0/200,413+438/400,0/2000",
            "425/375,0/375",
            "425/375,0/375,425@-23/375,0/375",
            "425/200,0/200,425/200,0/4400",
        ],
    },
    Row {
        country: "in",
        tones: [
            "400*25",
            "400*25/400,0/200,400*25/400,0/2000",
            "400/750,0/750",
            "400/250,0/250",
            "400/200,0/100,400/200,0/7500",
        ],
    },
    Row {
        country: "br",
        tones: ["425", "425/1000,0/4000", "425/250,0/250", "425/250,0/250,425/750,0/250", "425/50,0/1000"],
    },
    Row {
        country: "nl",
        tones: ["425", "425/1000,0/4000", "425/500,0/500", "425/250,0/250", "425/500,0/9500"],
    },
    Row {
        country: "se",
        tones: ["425", "425/1000,0/5000", "425/250,0/250", "425/250,0/750", "425/200,0/500,425/200,0/9100"],
    },
    Row {
        country: "ch",
        tones: ["425", "425/1000,0/4000", "425/500,0/500", "425/200,0/200", "425/200,0/200,425/200,0/4000"],
    },
    Row {
        country: "at",
        tones: ["420", "420/1000,0/5000", "420/400,0/400", "420/200,0/200", "420/40,0/1950"],
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tone::STEPS_MAX;
    use base::Duration;

    #[test]
    fn every_country_has_every_tone() {
        for country in COUNTRIES {
            for name in NAMES {
                let tone = named(name, country).unwrap_or_else(|| panic!("{name} of {country}"));
                assert!((1..=STEPS_MAX).contains(&tone.steps.len()), "{name} of {country}");
                assert!(tone.steps.iter().all(|step| step.duration > Duration::ZERO), "{name} of {country}");
            }
        }
    }

    #[test]
    fn tones_are_those_of_their_country() {
        let check = |name, country, cadence_ms: &[(u16, u16, u64)]| {
            let tone = named(name, country).unwrap();
            let steps = tone.steps.iter();
            let told = steps.map(|step| {
                (step.frequencies[0], step.frequencies[1], step.duration.as_millis().try_into().unwrap())
            });
            assert_eq!(told.collect::<Vec<_>>(), cadence_ms, "{name} of {country}");
        };
        check("ring", "US", &[(440, 480, 2_000), (0, 0, 4_000)]);
        check("busy", "us", &[(480, 620, 500), (0, 0, 500)]);
        check("ring", "gb", &[(400, 450, 400), (0, 0, 200), (400, 450, 400), (0, 0, 2_000)]);
        check("busy", "de", &[(425, 0, 480), (0, 0, 480)]);
        check("dial", "fr", &[(440, 0, 1_000)]);
        check("ring", "jp", &[(400, 16, 1_000), (0, 0, 2_000)]);
        assert!(named("ring", "jp").unwrap().steps[0].modulated);
        assert!(named("beep", "de").unwrap().once && !named("ring", "de").unwrap().once);
        assert_eq!((named("busy", "xx"), named("hum", "us")), (None, None));
    }
}
