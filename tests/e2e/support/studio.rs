//! An engine, and calls whose parties all speak: each a tone of its own, in a codec of its own.

use super::softphone::{Connected, Softphone};
use super::talker::{Codec, Talker, description};
use super::{Engine, Folder, Net, PAIR, SOON, wait_for};
use crate::support::attempt::events;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

/// See the module.
pub struct Studio {
    pub net: Net,
    pub engine: Engine,
    /// The phones of all callers, and of all callees.
    pub a: Softphone,
    pub b: Softphone,
}

/// One side of a call.
pub struct Party {
    pub talker: Talker,
    pub codec: Codec,
    /// What it says.
    pub hz: u32,
    /// Where it sends to.
    pub to: SocketAddr,
}

/// A call that is up.
pub struct Call {
    pub id: String,
    pub sip: Connected,
    pub a: Party,
    pub b: Party,
}

impl Studio {
    pub fn new(back_end: &str) -> Studio {
        Studio::with(back_end, "", PAIR, &[])
    }

    /// With settings of the engine, another configuration, and arguments of `run`.
    pub fn with(back_end: &str, settings: &str, config: &str, arguments: &[&str]) -> Studio {
        let net = Net::new();
        let text = format!("engine.backend = \"{back_end}\"\n{settings}\n{}", net.fill(config));
        let engine = Engine::start_in(Folder::new(), &text, arguments);
        let phone = |n| Softphone::at((net.ip(n), 5060));
        Studio { net, engine, a: phone(2), b: phone(3) }
    }

    /// Connects a call whose parties say nothing yet.
    pub fn connect(&self, (a, a_hz): (Codec, u32), (b, b_hz): (Codec, u32)) -> Call {
        let before = self.ids();
        let (talker_a, talker_b) = (Talker::at(self.net.ip(2)), Talker::at(self.net.ip(3)));
        let sdp =
            |talker: &Talker, codec| description(talker.address(), "RTP/AVP", &[codec], &[(101, 8_000)]);
        let (offer, answer) = (sdp(&talker_a, a), sdp(&talker_b, b));
        let sip = self.a.connect(&self.b, self.engine.sip(0), "15550100", &offer, &answer);
        let id = wait_for("the call to be listed", SOON, || {
            self.ids().into_iter().find(|id| !before.contains(id) && self.show(id)["state"] == "answered")
        });
        let (to_a, to_b) = (sip.answered.media(0), sip.offered.media(0));
        Call {
            id,
            sip,
            a: Party { talker: talker_a, codec: a, hz: a_hz, to: to_a },
            b: Party { talker: talker_b, codec: b, hz: b_hz, to: to_b },
        }
    }

    /// Connects a call; both parties speak and hear each other.
    pub fn call(&self, a: (Codec, u32), b: (Codec, u32)) -> Call {
        let mut call = self.connect(a, b);
        for party in [&mut call.a, &mut call.b] {
            party.talker.say_tone(party.to, party.codec, f64::from(party.hz));
        }
        for party in [&call.a, &call.b] {
            party.talker.wait_heard(party.codec.number, 5);
        }
        call
    }

    fn ids(&self) -> Vec<String> {
        self.engine.calls().iter().filter_map(|call| Some(call["id"].as_str()?.to_owned())).collect()
    }

    pub fn show(&self, id: &str) -> Value {
        self.engine.json(&format!("/v1/calls/{id}"))
    }

    /// A request to the API that must be answered with this status; its body.
    pub fn ask(&self, method: &str, path: &str, body: &str, status: u16) -> Value {
        let answer = self.engine.request(method, path, "Content-Type: application/json\r\n", body);
        assert_eq!(answer.status, status, "{method} {path} {body}: {}", answer.body);
        serde_json::from_str(&answer.body).unwrap_or(Value::Null)
    }

    /// A request about a call, as [`Studio::ask`].
    pub fn of(&self, call: &Call, what: &str, body: &str, status: u16) -> Value {
        self.ask("POST", &format!("/v1/calls/{}/{what}", call.id), body, status)
    }

    /// Waits for an event of this kind with this text in it.
    pub fn wait_event(&self, kind: &str, text: &str) -> Value {
        let fits = |event: &Value| event["kind"] == kind && event.to_string().contains(text);
        let family = kind.split('.').next().unwrap_or_default();
        let found = events(&self.engine, &format!("{family}.*"), |events| events.iter().any(fits));
        found.into_iter().find(fits).expect("found above")
    }

    /// Waits until so many bridges are of this kind.
    pub fn wait_bridges(&self, kind: &str, count: usize) {
        let sum = || -> f64 {
            let label = format!("kind=\"{kind}\"");
            let of = |name: &str| name.starts_with("strowger_bridges{") && name.contains(&label);
            self.engine.metrics().iter().filter(|(name, _)| of(name)).map(|(_, value)| value).sum()
        };
        wait_for(&format!("{count} bridges of kind {kind}"), SOON, || (sum() == count as f64).then_some(()));
    }

    /// Neither phone was asked for anything after the call was up.
    pub fn nobody_was_asked(&self) {
        for phone in [&self.a, &self.b] {
            for method in ["INVITE", "UPDATE", "BYE", "INFO"] {
                let came = phone.expect_within(method, Duration::from_millis(1));
                assert!(came.is_none(), "{}", came.map(|message| message.text).unwrap_or_default());
            }
        }
    }

    /// A hangs up; nothing is left.
    pub fn end(&self, mut call: Call) {
        self.nobody_was_asked();
        self.a.hang_up(&mut call.sip.a, &self.b);
        self.engine.wait_idle();
    }
}

impl Party {
    /// Waits until it hears these tones and none of those. Each party says its tone with an amplitude of 8000.
    pub fn hears(&self, tones: &[u32], not: &[u32]) {
        const LOUD: f64 = 1_000.0;
        const SOFT: f64 = 400.0;
        let mut heard = Vec::new();
        let end = std::time::Instant::now() + Duration::from_secs(4);
        loop {
            let packets = self.talker.wait_heard(self.codec.number, 12);
            let samples = super::talker::decode(self.codec, &packets);
            // Codecs that remember need a moment.
            let samples = &samples[samples.len() / 3..];
            let level = |hz: &u32| super::hearing::amplitude(self.codec.rate(), samples, *hz);
            let fits = tones.iter().all(|hz| level(hz) > LOUD) && not.iter().all(|hz| level(hz) < SOFT);
            if fits {
                return;
            }
            heard.push(
                tones.iter().chain(not).map(|hz| format!("{hz}: {:.0}", level(hz))).collect::<Vec<_>>(),
            );
            assert!(
                std::time::Instant::now() < end,
                "{} Hz should hear {tones:?}, not {not:?}; it heard {:?}",
                self.hz,
                heard.last()
            );
        }
    }
}
