//! Keys in SDP (RFC 4568), made and ended on either side; media is encrypted and opened by the test itself.

use crate::stand::keys::{arrive_plain, arrive_resealed, arrive_sealed, fresh, of_suite, offered, sealed};
use crate::stand::{Proxy, Sdp, audio, scenarios, told};
use crate::support::wire::Wire;
use command::Suite;
use media::srtp::Sealer;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;

scenarios! {
    keys_are_made_for_the_callee,
    keys_of_the_caller_end_here,
    keys_on_both_sides_are_kept_apart,
    each_suite_works,
    sdes_off_offers_no_keys,
    suites_can_be_left_out,
    keys_stay_over_an_offer_anew,
    what_is_not_authentic_is_dropped,
    keys_may_be_padded_and_live_for_a_time,
    keys_beside_plain_media_are_offered_as_such,
    keys_beside_plain_media_are_accepted,
}

const USUAL: Suite = Suite::AesCm128Sha1_80;

fn secure(wire: &Wire, crypto: &str) -> String {
    audio(wire.address()).replace("RTP/AVP", "RTP/SAVP") + crypto
}

fn keys_are_made_for_the_callee(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let to_b = call.offer(&audio(pair.a.address()), &json!({"transport-protocol": "RTP/SAVP"}));
    assert_eq!(to_b.protocol(0), "RTP/SAVP");
    let ours = of_suite(&to_b, USUAL);
    let (line, theirs) = fresh(1, ours.tag, USUAL);
    let to_a = call.answer(&secure(&pair.b, &line), &json!({}));
    assert_eq!((to_a.protocol(0), offered(&to_a).len()), ("RTP/AVP", 0), "{}", to_a.0);
    arrive_sealed(&pair.a, to_a.media(0), &pair.b, &ours.keys);
    arrive_plain(&pair.b, &theirs, to_b.media(0), &pair.a);
}

fn keys_of_the_caller_end_here(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let (line, theirs) = fresh(2, 1, USUAL);
    let to_b = call.offer(&secure(&pair.a, &line), &json!({"transport-protocol": "RTP/AVP"}));
    assert_eq!((to_b.protocol(0), offered(&to_b).len()), ("RTP/AVP", 0), "{}", to_b.0);
    let to_a = call.answer(&audio(pair.b.address()), &json!({}));
    assert_eq!(to_a.protocol(0), "RTP/SAVP");
    let ours = of_suite(&to_a, USUAL);
    assert_eq!(ours.tag, 1, "the tag of the offer");
    arrive_plain(&pair.a, &theirs, to_a.media(0), &pair.b);
    arrive_sealed(&pair.b, to_b.media(0), &pair.a, &ours.keys);
}

/// Both sides encrypt; gives what each was told.
fn both(proxy: &Proxy, suite_a: Suite, suite_b: Suite) -> (Sdp, Sdp) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let (line, of_a) = fresh(3, 1, suite_a);
    let to_b = call.offer(&secure(&pair.a, &line), &json!({"transport-protocol": "RTP/SAVP"}));
    let for_b = of_suite(&to_b, suite_b);
    let (line, of_b) = fresh(4, for_b.tag, suite_b);
    let to_a = call.answer(&secure(&pair.b, &line), &json!({}));
    let for_a = of_suite(&to_a, suite_a);
    arrive_resealed(&pair.a, &of_a, to_a.media(0), &pair.b, &for_b.keys);
    arrive_resealed(&pair.b, &of_b, to_b.media(0), &pair.a, &for_a.keys);
    (to_a, to_b)
}

fn keys_on_both_sides_are_kept_apart(proxy: &Proxy) {
    both(proxy, USUAL, USUAL);
    both(proxy, USUAL, Suite::AesCm128Sha1_32);
}

fn each_suite_works(proxy: &Proxy) {
    let suites = [
        Suite::AeadAes256Gcm,
        Suite::AeadAes128Gcm,
        Suite::AesCm256Sha1_80,
        Suite::AesCm256Sha1_32,
        Suite::AesCm128Sha1_80,
        Suite::AesCm128Sha1_32,
    ];
    for (n, suite) in suites.into_iter().enumerate() {
        let (call, pair) = (proxy.call(), proxy.pair());
        let to_b = call.offer(&audio(pair.a.address()), &json!({"transport-protocol": "RTP/SAVP"}));
        let ours = of_suite(&to_b, suite);
        let (line, theirs) = fresh(10 + n as u8, ours.tag, suite);
        let to_a = call.answer(&secure(&pair.b, &line), &json!({}));
        arrive_sealed(&pair.a, to_a.media(0), &pair.b, &ours.keys);
        arrive_plain(&pair.b, &theirs, to_b.media(0), &pair.a);
        call.delete();
    }
}

fn offer(proxy: &Proxy, more: &Json) -> Sdp {
    let (call, pair) = (proxy.call(), proxy.pair());
    told(&call.ng.does(&call.offering(&audio(pair.a.address()), more)))
}

fn suites(sdp: &Sdp) -> BTreeSet<String> {
    let lines = sdp.attributes(0, "crypto");
    lines.iter().filter_map(|line| line.split(' ').nth(1)).map(str::to_owned).collect()
}

fn sdes_off_offers_no_keys(proxy: &Proxy) {
    for more in [json!({"SDES": ["off"]}), json!({"flags": ["SDES-off"]})] {
        let mut all = json!({"transport-protocol": "RTP/AVP"});
        all.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let sdp = offer(proxy, &all);
        assert!(suites(&sdp).is_empty(), "{}", sdp.0);
    }
}

fn suites_can_be_left_out(proxy: &Proxy) {
    let all = suites(&offer(proxy, &json!({"transport-protocol": "RTP/SAVP"})));
    let without = ["no-AEAD_AES_256_GCM", "no-AEAD_AES_128_GCM", "no-AES_CM_128_HMAC_SHA1_32"];
    let some = offer(proxy, &json!({"transport-protocol": "RTP/SAVP", "SDES": without}));
    let flags: Vec<String> = without.iter().map(|word| format!("SDES-{word}")).collect();
    let same = offer(proxy, &json!({"transport-protocol": "RTP/SAVP", "flags": flags}));
    assert_eq!(suites(&some), suites(&same));
    for word in without {
        let suite = &word["no-".len()..];
        assert!(all.contains(suite) && !suites(&some).contains(suite), "{suite}: {}", some.0);
    }
    assert!(suites(&some).contains("AES_CM_128_HMAC_SHA1_80"), "{}", some.0);
}

fn keys_stay_over_an_offer_anew(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let secured = json!({"transport-protocol": "RTP/SAVP"});
    let to_b = call.offer(&audio(pair.a.address()), &secured);
    let ours = of_suite(&to_b, USUAL);
    let (line, theirs) = fresh(5, ours.tag, USUAL);
    let to_a = call.answer(&secure(&pair.b, &line), &json!({}));
    arrive_sealed(&pair.a, to_a.media(0), &pair.b, &ours.keys);
    let again = call.offer(
        &audio(pair.a.address()),
        &json!({"transport-protocol": "RTP/SAVP", "to-tag": "b", "SDES": ["static"]}),
    );
    let ours = of_suite(&again, USUAL);
    let (line, _) = fresh(5, ours.tag, USUAL);
    let to_a = call.answer(&secure(&pair.b, &line), &json!({}));
    arrive_sealed(&pair.a, to_a.media(0), &pair.b, &ours.keys);
    arrive_plain(&pair.b, &theirs, to_b.media(0), &pair.a);
}

fn what_is_not_authentic_is_dropped(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let (line, theirs) = fresh(6, 1, USUAL);
    let to_b = call.offer(&secure(&pair.a, &line), &json!({"transport-protocol": "RTP/AVP"}));
    let to_a = call.answer(&audio(pair.b.address()), &json!({}));
    let _ = to_b;
    let mut sealer = Sealer::new(&theirs).expect("a key");
    let packets = crate::stand::packets(&pair.a, 3);
    let mut forged = sealed(&mut sealer, &packets[0]);
    *forged.last_mut().expect("a tag") ^= 1;
    pair.a.rtp.send(to_a.media(0), &forged);
    pair.a.rtp.send(to_a.media(0), &packets[1]); // not encrypted at all
    pair.b.rtp.expect_silence();
    pair.a.rtp.send(to_a.media(0), &sealed(&mut sealer, &packets[2]));
    assert_eq!(pair.b.rtp.receive().0, packets[2]);
}

fn keys_may_be_padded_and_live_for_a_time(proxy: &Proxy) {
    let key = |sdp: &Sdp| {
        let lines = sdp.attributes(0, "crypto");
        let line = lines
            .iter()
            .find(|line| line.contains(" AES_256_CM_HMAC_SHA1_80 "))
            .expect("a suite with padding");
        line.split("inline:").nth(1).expect("a key").to_owned()
    };
    let plain = key(&offer(proxy, &json!({"transport-protocol": "RTP/SAVP"})));
    assert!(!plain.contains('=') && !plain.contains('|'), "{plain}");
    let padded = key(&offer(proxy, &json!({"transport-protocol": "RTP/SAVP", "SDES": ["pad"]})));
    assert!(padded.contains("=="), "{padded}");
    let lives = key(&offer(proxy, &json!({"transport-protocol": "RTP/SAVP", "SDES": ["lifetime"]})));
    assert!(lives.contains("|2^31"), "{lives}");
}

fn keys_beside_plain_media_are_offered_as_such(proxy: &Proxy) {
    // RFC 8643: AVP with keys; who does not know them stays in the clear.
    let (call, pair) = (proxy.call(), proxy.pair());
    let wants = json!({"transport-protocol": "RTP/AVP", "OSRTP": ["offer"]});
    let to_b = call.offer(&audio(pair.a.address()), &wants);
    assert_eq!(to_b.protocol(0), "RTP/AVP", "{}", to_b.0);
    let ours = of_suite(&to_b, USUAL);
    let (line, theirs) = fresh(7, ours.tag, USUAL);
    let to_a = call.answer(&(audio(pair.b.address()) + &line), &json!({}));
    assert!(offered(&to_a).is_empty(), "{}", to_a.0);
    arrive_sealed(&pair.a, to_a.media(0), &pair.b, &ours.keys);
    arrive_plain(&pair.b, &theirs, to_b.media(0), &pair.a);
    let (call, pair) = (proxy.call(), proxy.pair());
    let to_b = call.offer(&audio(pair.a.address()), &wants);
    let to_a = call.answer(&audio(pair.b.address()), &json!({}));
    pair.talk(crate::stand::Ports { a: to_a.media(0), b: to_b.media(0) });
}

fn keys_beside_plain_media_are_accepted(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let (line, theirs) = fresh(8, 1, USUAL);
    let offer = audio(pair.a.address()) + &line;
    let to_b = call.offer(&offer, &json!({"transport-protocol": "RTP/AVP", "OSRTP": ["accept"]}));
    let to_a = call.answer(&audio(pair.b.address()), &json!({"OSRTP": ["accept"]}));
    let ours = of_suite(&to_a, USUAL);
    assert_eq!(to_a.protocol(0), "RTP/AVP");
    arrive_plain(&pair.a, &theirs, to_a.media(0), &pair.b);
    arrive_sealed(&pair.b, to_b.media(0), &pair.a, &ours.keys);
}
