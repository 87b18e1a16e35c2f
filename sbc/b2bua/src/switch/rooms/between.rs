//! Calls between sides that want different media: other codecs, other digits, keys of their own.

use super::world::{AUDIO, Phone, World};
use crate::spec::{DigitsBy, Makeable, Media, Srtp};
use base::Duration;
use command::spec::Secure;
use command::{DigitsTowards, Event, Order, PortIndex, Transform};
use std::sync::Arc;

const PLAIN: &str = "m=audio 4000 RTP/AVP 0";
const OPUS: &str = "m=audio 4000 RTP/AVP 111\r\na=rtpmap:111 opus/48000/2";
const RELAY: &str = "application/dtmf-relay";

/// A world in which callers and callees have their media treated so.
fn world(callers: Media, callees: Media) -> World {
    let codec = |name, clock, channels, number| Makeable {
        name,
        clock,
        channels,
        fmtp: "",
        number,
        ptimes: &[10, 20, 40, 60],
    };
    World::with(1, |spec| {
        spec.makeable = Arc::from([codec("PCMU", 8000, 1, 0), codec("opus", 48000, 2, 111)]);
        spec.trunks[0].media = callers;
        spec.trunks[1].media = callees;
    })
}

fn digits(dtmf: DigitsBy) -> Media {
    Media { dtmf, ..Media::default() }
}

fn call(world: &mut World, caller: &str, callee: &str) -> Phone {
    let (number, out) = world.ring(&[caller]);
    world.answer(number, &out, &[callee])
}

fn press(world: &mut World, phone: &Phone, port: u16, digit: char) {
    let duration = Duration::from_millis(100);
    world.media(Event::Digit { bridge: phone.bridge, port: PortIndex(port), digit, duration });
}

#[test]
fn a_callee_with_one_codec_of_its_own_is_converted_for() {
    let codecs = Arc::from([Box::from("PCMU")]);
    let mut world = world(Media::default(), Media { codecs, ..Media::default() });
    let (number, out) = world.ring(&[OPUS]);
    assert!(out.contains("RTP/AVP 0\r\n") && !out.contains("opus"), "{out}");
    let phone = world.answer(number, &out, &[PLAIN]);
    let edges = &world.specs[&phone.bridge].edges;
    let payloads: Vec<_> = edges
        .iter()
        .filter_map(|edge| match edge.transform {
            Transform::Transcode { to_payload, ptime_ms } => Some((edge.to.0, to_payload, ptime_ms)),
            _ => None,
        })
        .collect();
    assert_eq!(payloads, [(1, 0, 20), (0, 111, 20)]);
}

#[test]
fn digits_that_media_hears_go_out_by_info_one_at_a_time() {
    let mut world = world(Media::default(), digits(DigitsBy::Info));
    let (number, out) = world.ring(&[AUDIO]);
    assert!(!out.contains("telephone-event"), "{out}");
    let phone = world.answer(number, &out, &[PLAIN]);
    let spec = &world.specs[&phone.bridge];
    assert!(spec.ports[0].voice.digits.report);
    assert_eq!(spec.ports[1].voice.digits.towards, DigitsTowards::Nothing);
    press(&mut world, &phone, 0, '4');
    press(&mut world, &phone, 0, '#');
    press(&mut world, &phone, 1, '9');
    assert_eq!(world.count_sent("INFO "), 1, "the second waits for the answer to the first");
    assert_eq!(
        world.infos_answered(),
        ["Signal=4\r\nDuration=100\r\n", "Signal=#\r\nDuration=100\r\n"],
        "the callee's own digit is not its own to hear"
    );
    assert_eq!(world.events().len(), 3);
}

#[test]
fn digits_by_info_become_what_the_other_side_wants() {
    let orders = |world: &mut World| -> Vec<(u16, String, u16)> {
        world
            .orders
            .drain(..)
            .map(|(_, _, order)| match order {
                Order::Dtmf { port, digits, duration_ms, .. } => (port.0, digits, duration_ms),
                other => panic!("{other:?}"),
            })
            .collect()
    };
    let ok = Some("SIP/2.0 200 OK".to_owned());
    // The caller's trunk says INFO: whatever the callee has.
    let mut said = world(digits(DigitsBy::Info), Media::default());
    let phone = call(&mut said, AUDIO, AUDIO);
    assert_eq!(said.info(&phone, 2, RELAY, "Signal=5\r\nDuration=200\r\n"), ok);
    assert_eq!(said.info(&phone, 3, "application/dtmf", "*"), ok);
    assert_eq!(orders(&mut said), [(1, "5".into(), 200), (1, "*".into(), 160)]);
    assert_eq!(said.count_sent("INFO "), 0);
    // A flash is none, and what is no digit at all passes.
    assert_eq!(said.info(&phone, 4, RELAY, "Signal=16\r\n"), ok);
    assert_eq!(said.info(&phone, 5, "application/other", "Signal=5"), None);
    assert_eq!((orders(&mut said).len(), said.count_sent("INFO ")), (0, 1));

    // Nobody says: what has events in media sends its digits there, and INFO passes.
    let mut unsaid = world(Media::default(), Media::default());
    let phone = call(&mut unsaid, AUDIO, AUDIO);
    assert_eq!(unsaid.info(&phone, 2, RELAY, "Signal=5\r\n"), None);
    assert_eq!(unsaid.infos_answered(), ["Signal=5\r\n"]);
    // To INFO from INFO, it passes too.
    let mut both = world(digits(DigitsBy::Info), digits(DigitsBy::Info));
    let phone = call(&mut both, PLAIN, PLAIN);
    assert_eq!(both.info(&phone, 2, RELAY, "Signal=5\r\n"), None);
    assert_eq!(both.infos_answered(), ["Signal=5\r\n"]);
    // To tones
    let mut tones = world(Media::default(), digits(DigitsBy::Tones));
    let phone = call(&mut tones, PLAIN, PLAIN);
    assert_eq!(tones.info(&phone, 2, RELAY, "Signal=5\r\n"), ok);
    assert_eq!(orders(&mut tones), [(1, "5".into(), 160)]);
    // Blocked ones reach nobody.
    let blocked = Media { block_dtmf: true, ..digits(DigitsBy::Info) };
    let mut blocked = world(blocked, digits(DigitsBy::Info));
    let phone = call(&mut blocked, PLAIN, PLAIN);
    assert_eq!(blocked.info(&phone, 2, RELAY, "Signal=5\r\n"), ok);
    press(&mut blocked, &phone, 0, '5');
    assert_eq!((orders(&mut blocked).len(), blocked.count_sent("INFO ")), (0, 0));
}

#[test]
fn a_callee_that_must_be_encrypted_is_offered_keys_of_the_call() {
    let srtp = Some(Srtp::Required);
    let mut world = world(Media::default(), Media { srtp, ..Media::default() });
    let (number, first) = world.ring(&[PLAIN]);
    let (_, second) = world.ring(&[PLAIN]);
    let keys = |invite: &str| -> Vec<String> {
        let lines = invite.lines().filter(|line| line.starts_with("a=crypto:"));
        lines.map(str::to_owned).collect()
    };
    assert!(first.contains("RTP/SAVP 0\r\n"), "{first}");
    assert_eq!(keys(&first).len(), 6);
    assert!(keys(&first).iter().all(|line| !keys(&second).contains(line)), "each call has its own");
    let answer = "m=audio 4000 RTP/SAVP 0\r\na=crypto:5 AES_CM_128_HMAC_SHA1_80 \
                  inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
    world.answer(number, &first, &[answer]);
    let spec = world.specs.values().find(|spec| spec.ports[1].remotes.iter().any(|r| r.keys.is_some()));
    let spec = spec.expect("the call that was answered");
    assert!(matches!(&spec.ports[1].secure, Some(Secure::Sdes(_))) && spec.ports[0].secure.is_none());
}
