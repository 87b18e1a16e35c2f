//! Which codecs each side is offered, and what is converted in between.

use crate::stand::{Proxy, Sdp, of_codecs, scenarios, told};
use crate::support::baresip::share_at;
use crate::support::talker::{Codec, G722, OPUS, PCMA, PCMU, Talker, description};
use serde_json::{Value as Json, json};

scenarios! {
    codecs_are_stripped,
    all_codecs_are_stripped_but_those_that_are_offered,
    exceptions_from_stripping_stay_in_place,
    codecs_are_added_and_converted,
    masked_codecs_are_hidden_and_converted,
    consumed_codecs_are_hidden_and_understood,
    accepted_codecs_are_taken_by_who_cannot_speak_them,
    parameters_of_added_codecs_are_written,
    wide_speech_is_converted,
    opus_is_converted,
    a_codec_that_both_have_passes_untouched,
    always_converting_is_done_as_told,
    one_codec_is_answered_if_that_is_wanted,
    the_time_of_a_packet_is_written,
    packets_get_another_length,
    events_follow_the_clocks_of_what_is_added,
    the_prefix_forms_say_the_same,
}

/// What `b` is offered of these codecs.
fn offered(proxy: &Proxy, codecs: &[Codec], more: &Json) -> Sdp {
    let (call, pair) = (proxy.call(), proxy.pair());
    told(&call.ng.does(&call.offering(&of_codecs(pair.a.address(), codecs), more)))
}

fn codecs_are_stripped(proxy: &Proxy) {
    let sdp = offered(proxy, &[PCMU, PCMA, G722], &json!({"codec": {"strip": ["PCMA"]}}));
    assert_eq!(sdp.codecs(0), ["PCMU", "G722"], "{}", sdp.0);
    assert!(!sdp.0.contains("PCMA"), "{}", sdp.0);
}

fn all_codecs_are_stripped_but_those_that_are_offered(proxy: &Proxy) {
    let more = json!({"codec": {"strip": ["all"], "offer": ["PCMA", "PCMU"]}});
    let sdp = offered(proxy, &[PCMU, G722, PCMA], &more);
    assert_eq!(sdp.codecs(0), ["PCMA", "PCMU"], "in the order of the words: {}", sdp.0);
}

fn exceptions_from_stripping_stay_in_place(proxy: &Proxy) {
    let more = json!({"codec": {"strip": ["all"], "except": ["PCMA", "PCMU"]}});
    let sdp = offered(proxy, &[PCMU, G722, PCMA], &more);
    assert_eq!(sdp.codecs(0), ["PCMU", "PCMA"], "in the order of the offer: {}", sdp.0);
}

/// A call in which A offers `of_a` and speaks what it is answered first, and B, who is offered as `more` says, answers and
/// speaks `of_b`: each hears the other's tone. Gives what A and B were told.
fn converts(proxy: &Proxy, of_a: &[Codec], of_b: Codec, more: &Json) -> (Sdp, Sdp) {
    let call = proxy.call();
    let (mut a, mut b) = (Talker::at(proxy.net.ip(2)), Talker::at(proxy.net.ip(3)));
    let to_b = call.offer(&of_codecs(a.address(), of_a), more);
    assert!(to_b.codecs(0).contains(&of_b.name.to_owned()), "{}", to_b.0);
    // B answers by the number that it was offered.
    let at = to_b.codecs(0).iter().position(|name| name == of_b.name).expect("offered");
    let of_b = Codec { number: to_b.line(0)[3 + at].parse().expect("a number"), ..of_b };
    let to_a = call.answer(&of_codecs(b.address(), &[of_b]), &json!({}));
    let a_speaks = *of_a.iter().find(|codec| codec.name == to_a.codecs(0)[0]).expect("a codec of A");
    a.say_tone(to_a.media(0), a_speaks, 440.0);
    b.say_tone(to_b.media(0), of_b, 800.0);
    for (who, talker, codec, hz) in [("A", &a, a_speaks, 800.0), ("B", &b, of_b, 440.0)] {
        let heard = talker.listen(codec);
        let half = &heard[heard.len() / 2..];
        let share = share_at(codec.rate(), half, hz);
        assert!(share > 0.8, "{who} hears the other's tone: {share:.3}");
    }
    call.delete();
    (to_a, to_b)
}

fn codecs_are_added_and_converted(proxy: &Proxy) {
    let more = json!({"codec": {"transcode": ["PCMA"]}});
    let (_, to_b) = converts(proxy, &[PCMU], PCMA, &more);
    assert_eq!(to_b.codecs(0), ["PCMU", "PCMA"], "{}", to_b.0);
}

fn masked_codecs_are_hidden_and_converted(proxy: &Proxy) {
    let more = json!({"codec": {"mask": ["PCMU"], "transcode": ["PCMA"]}});
    let (to_a, to_b) = converts(proxy, &[PCMU], PCMA, &more);
    assert_eq!(to_b.codecs(0), ["PCMA"], "{}", to_b.0);
    assert_eq!(to_a.codecs(0), ["PCMU"], "{}", to_a.0);
}

fn consumed_codecs_are_hidden_and_understood(proxy: &Proxy) {
    let more = json!({"codec": {"consume": ["G722"]}});
    let (_, to_b) = converts(proxy, &[G722, PCMU], PCMU, &more);
    assert_eq!(to_b.codecs(0), ["PCMU"], "{}", to_b.0);
}

fn accepted_codecs_are_taken_by_who_cannot_speak_them(proxy: &Proxy) {
    let more = json!({"codec": {"accept": ["G722"], "transcode": ["PCMA"]}});
    let (to_a, _) = converts(proxy, &[G722], PCMA, &more);
    assert_eq!(to_a.codecs(0), ["G722"], "{}", to_a.0);
}

fn parameters_of_added_codecs_are_written(proxy: &Proxy) {
    let more = json!({"codec": {"transcode": ["opus/48000/2"], "set": ["opus/48000/2"]}});
    let sdp = offered(proxy, &[PCMU], &more);
    assert_eq!(sdp.codecs(0), ["PCMU", "opus"], "{}", sdp.0);
    assert!(sdp.attributes(0, "rtpmap").iter().any(|map| map.ends_with(" opus/48000/2")), "{}", sdp.0);
}

fn wide_speech_is_converted(proxy: &Proxy) {
    converts(proxy, &[PCMU], G722, &json!({"codec": {"transcode": ["G722"]}}));
    converts(proxy, &[G722], PCMU, &json!({"codec": {"transcode": ["PCMU"], "mask": ["G722"]}}));
}

fn opus_is_converted(proxy: &Proxy) {
    converts(proxy, &[PCMU], OPUS, &json!({"codec": {"transcode": ["opus"]}}));
    converts(proxy, &[OPUS], PCMA, &json!({"codec": {"transcode": ["PCMA"], "mask": ["opus"]}}));
}

fn a_codec_that_both_have_passes_untouched(proxy: &Proxy) {
    // Even where others were added.
    let (call, pair) = (proxy.call(), proxy.pair());
    let to_b =
        call.offer(&of_codecs(pair.a.address(), &[PCMU]), &json!({"codec": {"transcode": ["PCMA", "opus"]}}));
    let to_a = call.answer(&of_codecs(pair.b.address(), &[PCMU]), &json!({}));
    for packet in crate::stand::packets(&pair.a, 10) {
        pair.a.rtp.send(to_a.media(0), &packet);
        assert_eq!(pair.b.rtp.receive().0[12..], packet[12..], "the same payload");
    }
    let _ = to_b;
}

fn always_converting_is_done_as_told(proxy: &Proxy) {
    let more = json!({"codec": {"transcode": ["PCMA"]}, "flags": ["always-transcode"]});
    let (to_a, _) = converts(proxy, &[PCMU], PCMA, &more);
    assert_eq!(to_a.codecs(0)[0], "PCMU", "{}", to_a.0);
}

fn one_codec_is_answered_if_that_is_wanted(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    call.offer(&of_codecs(pair.a.address(), &[PCMU, PCMA, G722]), &json!({}));
    let answer = of_codecs(pair.b.address(), &[PCMA, PCMU]);
    let to_a = call.answer(&answer, &json!({"flags": ["single-codec"]}));
    assert_eq!(to_a.codecs(0), ["PCMA"], "{}", to_a.0);
}

fn the_time_of_a_packet_is_written(proxy: &Proxy) {
    let sdp = offered(proxy, &[PCMU], &json!({"ptime": 40}));
    assert!(sdp.has(0, "a=ptime:40"), "{}", sdp.0);
    let sdp = offered(proxy, &[PCMU], &json!({}));
    assert!(!sdp.0.contains("a=ptime"), "{}", sdp.0);
}

fn packets_get_another_length(proxy: &Proxy) {
    let call = proxy.call();
    let (mut a, b) = (Talker::at(proxy.net.ip(2)), Talker::at(proxy.net.ip(3)));
    let to_b = call.offer(&of_codecs(a.address(), &[PCMU]), &json!({"ptime": 40}));
    let answer = of_codecs(b.address(), &[PCMU]) + "a=ptime:40\r\n";
    let to_a = call.answer(&answer, &json!({"ptime-reverse": 20}));
    assert!(to_b.has(0, "a=ptime:40"), "{}", to_b.0);
    a.say_tone(to_a.media(0), PCMU, 440.0);
    let heard = b.wait_heard(PCMU.number, 10);
    // The first one may have passed before both sides were known.
    let heard = &heard[1..];
    assert!(heard.iter().all(|p| p.payload().len() == 320), "packets of 40 ms: {}", heard[0].payload().len());
    assert!(heard.windows(2).all(|p| p[1].timestamp().wrapping_sub(p[0].timestamp()) == 320));
}

fn events_follow_the_clocks_of_what_is_added(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let offer = description(pair.a.address(), "RTP/AVP", &[PCMU], &[(101, 8_000)]);
    let sdp = call.offer(&offer, &json!({"codec": {"transcode": ["opus"]}}));
    let maps = sdp.attributes(0, "rtpmap");
    for wanted in ["telephone-event/8000", "telephone-event/48000"] {
        assert!(maps.iter().any(|map| map.ends_with(wanted)), "{wanted}: {}", sdp.0);
    }
}

fn the_prefix_forms_say_the_same(proxy: &Proxy) {
    let pairs = [
        (json!({"codec": {"strip": ["PCMA"]}}), json!({"flags": ["codec-strip-PCMA"]})),
        (
            json!({"codec": {"strip": ["all"], "offer": ["PCMA", "G722"]}}),
            json!({"flags": ["codec-strip-all", "codec-offer-PCMA", "codec-offer-G722"]}),
        ),
        (
            json!({"codec": {"strip": ["all"], "except": ["PCMA"]}}),
            json!({"flags": ["codec-strip-all", "codec-except-PCMA"]}),
        ),
        (
            json!({"codec": {"mask": ["PCMU"], "transcode": ["opus/48000/2"]}}),
            json!({"flags": ["codec-mask-PCMU", "codec-transcode-opus/48000/2"]}),
        ),
        (json!({"codec": {"transcode": ["opus"]}}), json!({"flags": ["transcode-opus"]})),
    ];
    for (keys, flags) in pairs {
        let by_keys = offered(proxy, &[PCMU, PCMA, G722], &keys);
        let by_flags = offered(proxy, &[PCMU, PCMA, G722], &flags);
        assert_eq!(by_keys.codecs(0), by_flags.codecs(0), "{keys} {flags}");
        assert_eq!(by_keys.formats(0), by_flags.formats(0), "{keys} {flags}");
    }
}
