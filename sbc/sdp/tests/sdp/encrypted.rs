//! Keys that end here: what each side is offered and told, and what media gets of them.

use crate::call::{OUR_A, OUR_B, audio, lines, media, port, text};
use crate::converted::{between, side};
use command::spec::Secure;
use command::{Learn, RemoteTag, SdesKeys, Suite};
use sdp::crypto::{CryptoLine, KeySource};
use sdp::{Negotiation, Side, SideConfig, Srtp, Unacceptable};

const TAG: RemoteTag = RemoteTag(1);
const FORK: RemoteTag = RemoteTag(2);

fn call(a: Option<Srtp>, b: Option<Srtp>) -> Negotiation {
    let config = |address, srtp| SideConfig { srtp, ..side(address, &[]) };
    let mut call = between(config(OUR_A, a), config(OUR_B, b));
    call.set_keys(KeySource::from_seed([3; 32]));
    call
}

fn key(seed: u8, suite: Suite) -> SdesKeys {
    KeySource::from_seed([seed; 32]).keys(suite)
}

fn line(tag: u32, keys: &SdesKeys) -> String {
    let mut out = b"a=crypto:".to_vec();
    CryptoLine { tag, keys: keys.clone() }.write(&mut out);
    String::from_utf8(out).expect("a line is text")
}

fn savp(sdp: &[u8]) -> Vec<u8> {
    text(sdp).replace("RTP/AVP", "RTP/SAVP").into_bytes()
}

fn crypto(sdp: &[u8]) -> Vec<CryptoLine> {
    let text = text(sdp);
    let lines = lines(&text, "a=crypto:").into_iter();
    lines.map(|line| CryptoLine::parse(&line.as_bytes()[9..]).expect("we write what can be read")).collect()
}

fn ours(call: &Negotiation, index: u16) -> Option<SdesKeys> {
    match &port(&call.spec(), index).secure {
        Some(Secure::Sdes(keys)) => Some(keys.clone()),
        _ => None,
    }
}

fn theirs(call: &Negotiation, index: u16) -> Option<SdesKeys> {
    port(&call.spec(), index).remotes[0].keys.clone()
}

const CM: Suite = Suite::AesCm128Sha1_80;

#[test]
fn one_side_is_encrypted_and_the_other_plain() {
    let mut call = call(Some(Srtp::Optional), None);
    let a = key(1, CM);
    let offer = savp(&audio("192.0.2.10", 4000, "0", &format!("a=crypto:9 F8 x\n{}", line(4, &a))));
    let offered = call.offer(Side::A, &offer).expect("a good offer");
    assert_eq!(media(&offered), "m=audio 30000 RTP/AVP 0");
    let told = call.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "0", "")).expect("a good answer").sdp;
    call.commit(TAG).expect("it has answered");
    call.answered();
    // Exactly one line: the offerer's tag, the first suite that we know.
    let answered = crypto(&told);
    assert_eq!((answered.len(), answered[0].tag, answered[0].keys.suite), (1, 4, CM));
    assert_eq!(lines(&text(&told), "m="), ["m=audio 20000 RTP/SAVP 0"]);
    assert_eq!((ours(&call, 0), theirs(&call, 0)), (Some(answered[0].keys.clone()), Some(a.clone())));
    assert_eq!((ours(&call, 2), theirs(&call, 2)), (None, None));
    let spec = call.spec();
    assert!(spec.ports.iter().all(|port| port.learn == Learn::Window && !port.remotes[0].sealed));

    // A re-offer with the same key keeps ours; another key or media address changes it.
    let mut again = |offer: &[u8]| {
        call.offer(Side::A, offer).expect("a good offer");
        let told = call.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "0", "")).expect("a good answer").sdp;
        call.commit(TAG).expect("it has answered");
        crypto(&told)[0].keys.clone()
    };
    let hold = savp(&audio("192.0.2.10", 4000, "0", &format!("a=sendonly\n{}", line(1, &a))));
    assert_eq!(again(&hold), answered[0].keys);
    let moved = again(&savp(&audio("192.0.2.11", 4000, "0", &line(1, &a))));
    assert_ne!(moved, answered[0].keys);
    let other = again(&savp(&audio("192.0.2.11", 4000, "0", &line(1, &key(2, CM)))));
    assert!(other != moved && other != answered[0].keys);
}

#[test]
fn optional_offers_plain_media_with_keys_and_takes_what_comes() {
    let offer = audio("192.0.2.10", 4000, "0", "");
    let b = key(5, CM);
    for (answer, is_secure) in
        [(audio("192.0.2.20", 5000, "0", ""), false), (audio("192.0.2.20", 5000, "0", &line(5, &b)), true)]
    {
        let mut call = call(None, Some(Srtp::Optional));
        let offered = call.offer(Side::A, &offer).expect("a good offer");
        let lines_offered = crypto(&offered);
        assert_eq!(lines(&text(&offered), "m="), ["m=audio 30000 RTP/AVP 0"]);
        assert_eq!(lines_offered.iter().map(|line| line.keys.suite).collect::<Vec<_>>(), Suite::ALL);
        assert!(ours(&call, 2).is_some(), "what comes before the key is dropped");
        let told = call.answer(Side::B, TAG, &answer).expect("a good answer").sdp;
        assert_eq!(media(&told), "m=audio 20000 RTP/AVP 0");
        call.commit(TAG).expect("it has answered");
        let expected = lines_offered.iter().find(|line| line.tag == 5).map(|line| line.keys.clone());
        assert_eq!(ours(&call, 2), expected.filter(|_| is_secure));
        assert_eq!(theirs(&call, 2), Some(b.clone()).filter(|_| is_secure));
    }
}

#[test]
fn required_takes_nothing_else() {
    let plain = audio("192.0.2.10", 4000, "0", "");
    let with_key = audio("192.0.2.10", 4000, "0", &line(1, &key(1, CM)));
    let void = savp(&audio("192.0.2.10", 4000, "0", "a=crypto:1 F8 inline:x"));
    for offer in [&plain, &with_key, &void] {
        let error = call(Some(Srtp::Required), None).offer(Side::A, offer).expect_err("it must be encrypted");
        assert_eq!((error, error.status()), (Unacceptable::KeyMissing, 488));
    }
    let mut call = call(None, Some(Srtp::Required));
    let offered = call.offer(Side::A, &plain).expect("a good offer");
    assert_eq!(lines(&text(&offered), "m="), ["m=audio 30000 RTP/SAVP 0"]);
    for answer in ["", "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:short", &line(1, &key(1, CM))] {
        let answer = savp(&audio("192.0.2.20", 5000, "0", answer));
        assert_eq!(call.answer(Side::B, TAG, &answer), Err(Unacceptable::KeyMissing), "{}", text(&answer));
    }
    let answer = savp(&audio("192.0.2.20", 5000, "0", &line(5, &key(1, CM))));
    let told = call.answer(Side::B, TAG, &answer).expect("tag 5 is that suite").sdp;
    assert_eq!(media(&told), "m=audio 20000 RTP/AVP 0", "A is told its own profile");
}

#[test]
fn never_refuses_what_must_be_encrypted_and_ignores_what_may_be() {
    let with_key = audio("192.0.2.10", 4000, "0", &line(1, &key(1, CM)));
    let error = call(Some(Srtp::Never), None).offer(Side::A, &savp(&with_key)).expect_err("unwanted");
    assert_eq!((error, error.status()), (Unacceptable::KeyUnwanted, 488));
    let mut call = call(Some(Srtp::Never), None);
    let offered = call.offer(Side::A, &with_key).expect("it may be plain, too");
    let told = call.answer(Side::B, TAG, &audio("192.0.2.20", 5000, "0", "")).expect("a good answer").sdp;
    assert!(crypto(&offered).is_empty() && crypto(&told).is_empty());
    assert_eq!(ours(&call, 0), None);
}

#[test]
fn both_sides_have_keys_of_their_own() {
    let mut call = call(Some(Srtp::Required), Some(Srtp::Required));
    let (a, b) = (key(1, CM), key(2, Suite::AeadAes128Gcm));
    let offer = savp(&audio("192.0.2.10", 4000, "0 8", &line(1, &a)));
    let offered = call.offer(Side::A, &offer).expect("a good offer");
    assert!(!text(&offered).contains(&line(1, &a)[20..]), "A's key is not B's to see");
    let answer = savp(&audio("192.0.2.20", 5000, "8", &line(2, &b)));
    let told = call.answer(Side::B, TAG, &answer).expect("a good answer").sdp;
    // A fork with another key is no other media for A.
    let fork = savp(&audio("192.0.2.21", 5000, "8", &line(2, &key(9, Suite::AeadAes128Gcm))));
    let second = call.answer(Side::B, FORK, &fork).expect("a good answer");
    assert_eq!((second.reoffer, &second.sdp), (false, &told));
    let keys: Vec<_> = port(&call.spec(), 2).remotes.iter().map(|remote| remote.keys.clone()).collect();
    assert_eq!(keys, [Some(b.clone()), Some(key(9, Suite::AeadAes128Gcm))]);
    assert_eq!(call.commit(TAG), Ok(false));
    call.answered();
    assert_eq!((theirs(&call, 0), theirs(&call, 2)), (Some(a), Some(b.clone())));
    assert_ne!(ours(&call, 0), ours(&call, 2));

    // B asks for a change; what A is offered has the key that A knows, and what B is told the one that B knows.
    let (our_a, our_b) = (ours(&call, 0), ours(&call, 2));
    let hold = savp(&audio("192.0.2.20", 5000, "8", &format!("a=sendonly\n{}", line(1, &b))));
    let offered = call.offer(Side::B, &hold).expect("a good offer");
    assert_eq!(Some(crypto(&offered)[0].keys.clone()), our_a);
    let answer = savp(&audio("192.0.2.10", 4000, "8", &format!("a=recvonly\n{}", line(1, &key(1, CM)))));
    let told = call.answer(Side::A, RemoteTag(0), &answer).expect("a good answer").sdp;
    assert_eq!(Some(crypto(&told)[0].keys.clone()), our_b);
    call.commit(RemoteTag(0)).expect("it has answered");
    assert_eq!((ours(&call, 0), ours(&call, 2)), (our_a, our_b));
}

#[test]
fn the_next_target_gets_keys_of_its_own() {
    let mut call = call(None, Some(Srtp::Optional));
    let first = call.offer(Side::A, &audio("192.0.2.10", 4000, "0", "")).expect("a good offer");
    let second = call.offer_again().expect("the next one");
    assert!(crypto(&first).iter().zip(crypto(&second)).all(|(first, second)| first.keys != second.keys));
}

#[test]
fn keys_that_pass_stay_sealed() {
    let mut call = call(None, None);
    let offer = savp(&audio("192.0.2.10", 4000, "0", &line(1, &key(1, CM))));
    let offered = call.offer(Side::A, &offer).expect("a good offer");
    assert_eq!(crypto(&offered)[0].keys, key(1, CM));
    call.answer(Side::B, TAG, &savp(&audio("192.0.2.20", 5000, "0", &line(1, &key(2, CM))))).expect("good");
    let spec = call.spec();
    assert!(spec.ports.iter().all(|port| port.secure.is_none() && port.learn == Learn::Strict));
    assert!(spec.ports.iter().all(|port| port.remotes[0].sealed && port.remotes[0].keys.is_none()));
}

#[test]
fn redundant_lines_of_one_call_stay_in_a_datagram_when_one_suite_is_agreed() {
    // After the answer only the agreed line matters; the text that is repeated is that of the offer.
    let mut call = call(None, Some(Srtp::Required));
    call.offer(Side::A, &audio("192.0.2.10", 4000, "0", "")).expect("a good offer");
    let answer = savp(&audio("192.0.2.20", 5000, "0", &line(5, &key(1, CM))));
    call.answer(Side::B, TAG, &answer).expect("a good answer");
    call.commit(TAG).expect("it has answered");
    let before = ours(&call, 2);
    let offered = call.offer(Side::A, &audio("192.0.2.10", 4002, "0", "")).expect("a good offer");
    let known = crypto(&offered).into_iter().find(|line| Some(&line.keys) == before.as_ref());
    assert_eq!(known.map(|line| line.tag), Some(5));
}
