//! Two baresip phones with an engine between them: each plays its own tone and must hear the other's.

use crate::support::baresip::{Baresip, share_of};
use crate::support::{Engine, Net, PAIR, SOON, wait_for};
use serde_json::Value;

const TONE_A: f64 = 440.0;
const TONE_B: f64 = 800.0;

struct Pair {
    engine: Engine,
    a: Baresip,
    b: Baresip,
    net: Net,
}

impl Pair {
    /// `None` where baresip is absent.
    fn new(back_end: &str) -> Option<Pair> {
        Pair::with(back_end, PAIR)
    }

    fn with(back_end: &str, config: &str) -> Option<Pair> {
        let net = Net::new();
        let a = Baresip::start(net.ip(2), "2001", TONE_A, false)?;
        let b = Baresip::start(net.ip(3), "15550100", TONE_B, true)?;
        let engine = Engine::start(&format!("engine.backend = \"{back_end}\"\n{}", net.fill(config)));
        assert_eq!(engine.ready()["backend"], back_end);
        Some(Pair { engine, a, b, net })
    }

    /// A calls B; gives the id of the call.
    fn connect(&mut self) -> String {
        self.dial("")
    }

    fn dial(&mut self, parameters: &str) -> String {
        self.a.order("dial", &format!("sip:15550100@{}{parameters}", self.engine.sip(0)));
        self.a.expect("CALL_ESTABLISHED");
        self.b.expect("CALL_ESTABLISHED");
        self.engine.wait_call("answered")
    }

    /// Waits until either side has sent so many packets more.
    fn talk(&self, id: &str, packets: u64) {
        let before = self.received(id);
        wait_for("speech both ways", SOON, || {
            let now = self.received(id);
            (now[0] >= before[0] + packets && now[1] >= before[1] + packets).then_some(())
        });
    }

    /// RTP packets from A and from B.
    fn received(&self, id: &str) -> [u64; 2] {
        let call = self.show(id);
        [0, 1].map(|leg| {
            call["legs"][leg]["media"][0]["received"]["packets"].as_u64().expect("a count of packets")
        })
    }

    fn show(&self, id: &str) -> Value {
        self.engine.json(&format!("/v1/calls/{id}"))
    }

    /// The last second that each has heard is the other's tone.
    fn each_heard_the_other(&self) {
        for (phone, own, other) in [(&self.a, TONE_A, TONE_B), (&self.b, TONE_B, TONE_A)] {
            let heard =
                wait_for("a second of recording", SOON, || Some(phone.heard()).filter(|h| h.len() >= 8_000));
            let heard = &heard[heard.len() - 6_400..];
            let (wanted, unwanted) = (share_of(heard, other), share_of(heard, own));
            assert!(wanted > 0.9, "{wanted:.3} of the power is the other's tone, {unwanted:.3} its own");
        }
    }
}

fn audio_passes_both_ways(back_end: &str, caller_hangs_up: bool) {
    let Some(mut pair) = Pair::new(back_end) else { return };
    let id = pair.connect();
    pair.talk(&id, 80);
    let call = pair.show(&id);
    for leg in 0..2 {
        let media = &call["legs"][leg]["media"][0];
        assert_eq!(media["streams"][0]["lost"], 0, "{media:#}");
    }
    let release_by = if caller_hangs_up {
        pair.a.order("hangup", "");
        pair.b.expect("CALL_CLOSED");
        "caller"
    } else {
        pair.b.order("hangup", "");
        pair.a.expect("CALL_CLOSED");
        "callee"
    };
    pair.engine.wait_idle();
    pair.each_heard_the_other();
    let cdrs = pair.engine.wait_cdrs(2);
    for cdr in &cdrs {
        assert_eq!(
            (&cdr["release_by"], &cdr["release_cause"]),
            (&release_by.into(), &"normal".into()),
            "{cdr:#}"
        );
        assert!(cdr["quality"]["received"].as_u64().is_some_and(|n| n >= 80), "{cdr:#}");
    }
    // The phones know nothing of each other.
    let (ip_a, ip_b) = (pair.net.ip(2).to_string(), pair.net.ip(3).to_string());
    assert!(!pair.a.log().contains(&format!("@{ip_b}")), "A has seen B's address");
    assert!(!pair.b.log().contains(&format!("@{ip_a}")), "B has seen A's address");
}

#[test]
fn phones_hear_each_other_on_epoll() {
    audio_passes_both_ways("epoll", true);
}

#[test]
fn phones_hear_each_other_on_uring() {
    audio_passes_both_ways("uring", false);
}

#[test]
fn hold_and_resume_by_the_caller() {
    let Some(mut pair) = Pair::new("epoll") else { return };
    let id = pair.connect();
    pair.talk(&id, 80);
    let direction = |pair: &Pair, word: &str| {
        wait_for(&format!("A's leg to be {word}"), SOON, || {
            let call = pair.show(&id);
            call["legs"][0]["codecs"][0].as_str().is_some_and(|codecs| codecs.ends_with(word)).then_some(())
        });
    };
    pair.a.order("hold", "");
    direction(&pair, "sendonly");
    pair.a.order("resume", "");
    direction(&pair, "sendrecv");
    // baresip 1.0 stops its recording at the hold; that packets flow again is seen by the engine.
    pair.talk(&id, 50);
    pair.a.order("hangup", "");
    pair.b.expect("CALL_CLOSED");
    pair.engine.wait_idle();
    pair.each_heard_the_other();
}

#[test]
fn digits_arrive_as_events() {
    let Some(mut pair) = Pair::new("uring") else { return };
    let id = pair.connect();
    pair.talk(&id, 20);
    for digit in ["5", "#"] {
        pair.a.order("sndcode", digit);
        wait_for(&format!("digit {digit}"), SOON, || {
            pair.b.log().contains(&format!("received event: '{digit}' (end=0)")).then_some(())
        });
    }
    pair.a.order("hangup", "");
    pair.b.expect("CALL_CLOSED");
    pair.engine.wait_idle();
}

#[test]
fn the_caller_speaks_tcp_and_the_callee_udp() {
    // A connection comes from a port of its own, so the PBX is known by its address.
    let config = PAIR.replace("\"IP2:5060\"", "{ from = [\"IP2\", \"127.0.0.1\"], to = \"sip:IP2:5060\" }");
    let Some(mut pair) = Pair::with("epoll", &config) else { return };
    let id = pair.dial(";transport=tcp");
    assert_eq!(pair.show(&id)["legs"][0]["transport"], "TCP");
    assert_eq!(pair.show(&id)["legs"][1]["transport"], "UDP");
    pair.talk(&id, 80);
    pair.b.order("hangup", "");
    pair.a.expect("CALL_CLOSED");
    pair.engine.wait_idle();
    pair.each_heard_the_other();
}
