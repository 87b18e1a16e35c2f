//! Sides that speak different codecs hear each other (DC-3, S1-18), reports go both ways (S3-5), echoes are taken out
//! (S1-2); what needs no conversion passes untouched.

use crate::support::baresip::{Abilities, Baresip};
use crate::support::capture::Capture;
use crate::support::duet::{Duet, assert_tone, config, media_line};
use crate::support::talker::{
    Codec, G722, OPUS, PCMA, PCMU, Packet, Talker, Tone, WIDE, decode, description,
};
use crate::support::wire::rtp;
use crate::support::{Engine, Net, SOON, wait_for};
use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

const TONE_A: u32 = 440;
const TONE_B: u32 = 800;

/// Two real phones that share no codec.
fn phones_without_common_codec(back_end: &str, of_a: &str, of_b: &str) {
    let net = Net::new();
    let phone = |n, user, tone, callee, codecs| {
        Baresip::with(net.ip(n), user, f64::from(tone), callee, Abilities { codecs, ..Abilities::default() })
    };
    let Some(mut a) = phone(2, "2001", TONE_A, false, of_a) else { return };
    let Some(mut b) = phone(3, "15550100", TONE_B, true, of_b) else { return };
    let named = |codecs: &str| {
        let codec = codecs.trim_end_matches("/2").trim_end_matches("/1");
        format!(
            "codecs = [\"{}\"]",
            if codec.starts_with("L16") { codec } else { codec.split('/').next().unwrap_or(codec) }
        )
    };
    let engine = Engine::start(&net.fill(&config(back_end, &named(of_a), &named(of_b))));
    a.order("dial", &format!("sip:15550100@{}", engine.sip(0)));
    a.expect("CALL_ESTABLISHED");
    b.expect("CALL_ESTABLISHED");
    let id = engine.wait_call("answered");
    let sent = |leg: usize| {
        engine.json(&format!("/v1/calls/{id}"))["legs"][leg]["media"][0]["sent"]["packets"]
            .as_u64()
            .unwrap_or(0)
    };
    wait_for("speech both ways", SOON, || (sent(0) >= 90 && sent(1) >= 90).then_some(()));
    a.order("hangup", "");
    b.expect("CALL_CLOSED");
    engine.wait_idle();
    for (who, phone, wanted) in [("A", &a, TONE_B), ("B", &b, TONE_A)] {
        let heard = wait_for("a second of recording", SOON, || {
            Some(phone.recording()).filter(|heard| heard.samples.len() >= heard.rate as usize)
        });
        assert_tone(who, heard.rate, &heard.samples, wanted);
    }
    for cdr in engine.wait_cdrs(2) {
        assert_eq!(cdr["release_cause"], "normal", "{cdr:#}");
    }
}

#[test]
fn phones_with_opus_and_ulaw_hear_each_other_on_epoll() {
    phones_without_common_codec("epoll", "opus/48000/2", "PCMU/8000");
}

#[test]
fn phones_with_opus_and_ulaw_hear_each_other_on_uring() {
    phones_without_common_codec("uring", "opus/48000/2", "PCMU/8000");
}

#[test]
fn phones_with_g722_and_alaw_hear_each_other_on_epoll() {
    phones_without_common_codec("epoll", "G722/8000", "PCMA/8000");
}

#[test]
fn phones_with_g722_and_alaw_hear_each_other_on_uring() {
    phones_without_common_codec("uring", "G722/8000", "PCMA/8000");
}

#[test]
fn phones_with_linear_and_ulaw_hear_each_other_on_epoll() {
    phones_without_common_codec("epoll", "L16/16000/1", "PCMU/8000");
}

#[test]
fn phones_with_linear_and_ulaw_hear_each_other_on_uring() {
    phones_without_common_codec("uring", "L16/16000/1", "PCMU/8000");
}

/// Any two codecs, in both directions, without a real phone.
fn talkers_hear_each_other(back_end: &str, of_a: Codec, of_b: Codec) {
    let name = |codec: Codec| match codec.name {
        "L16" => "codecs = [\"L16/16000\"]".to_owned(),
        name => format!("codecs = [\"{name}\"]"),
    };
    let mut line = Duet::new(&config(back_end, &name(of_a), &name(of_b)));
    let call = line.connect(&[of_a], &[], &[of_b], &[]);
    line.media_a.say_tone(call.answered.media(0), of_a, f64::from(TONE_A));
    line.media_b.say_tone(call.offered.media(0), of_b, f64::from(TONE_B));
    for (who, media, codec, wanted) in
        [("A", &line.media_a, of_a, TONE_B), ("B", &line.media_b, of_b, TONE_A)]
    {
        let packets = media.wait_heard(codec.number, 50);
        assert_tone(who, codec.rate(), &decode(codec, &packets), wanted);
        // One stream without a gap.
        for pair in packets.windows(2) {
            assert_eq!(pair[0].ssrc(), pair[1].ssrc(), "{who}");
            assert_eq!(pair[1].sequence(), pair[0].sequence().wrapping_add(1), "{who}");
            let step = pair[1].timestamp().wrapping_sub(pair[0].timestamp());
            assert_eq!(step, codec.clock / 50, "{who}: a packet each 20 ms");
        }
    }
    line.end(call);
}

#[test]
fn any_codec_becomes_any_other_on_epoll() {
    for (of_a, of_b) in [(OPUS, G722), (WIDE, OPUS), (PCMU, PCMA)] {
        talkers_hear_each_other("epoll", of_a, of_b);
    }
}

#[test]
fn any_codec_becomes_any_other_on_uring() {
    for (of_a, of_b) in [(G722, WIDE), (PCMA, OPUS), (PCMA, PCMU)] {
        talkers_hear_each_other("uring", of_a, of_b);
    }
}

fn the_inside_speaks_ulaw_only(back_end: &str) {
    let mut line = Duet::new(&config(back_end, "", "codecs = [\"PCMU\"]"));
    let call = line.connect(&[OPUS], &[(101, 48_000)], &[PCMU], &[(101, 8_000)]);
    let offered = call.offered.body();
    assert!(media_line(offered).starts_with("m=audio RTP/AVP 0 "), "{offered}");
    let maps: BTreeSet<&str> = offered
        .lines()
        .filter_map(|line| line.strip_prefix("a=rtpmap:")?.split_once(' ').map(|(_, name)| name))
        .collect();
    assert!(
        maps.iter().all(|name| name.starts_with("PCMU/8000") || name.starts_with("telephone-event/")),
        "{maps:?}"
    );
    assert!(maps.contains("telephone-event/8000"), "{maps:?}");
    let answered = call.answered.body();
    assert_eq!(media_line(answered), "m=audio RTP/AVP 111 101", "{answered}");
    assert!(answered.contains("a=rtpmap:111 opus/48000/2"), "{answered}");
    line.media_a.say_tone(call.answered.media(0), OPUS, f64::from(TONE_A));
    line.media_b.say_tone(call.offered.media(0), PCMU, f64::from(TONE_B));
    assert_tone("A", 48_000, &line.media_a.listen(OPUS), TONE_B);
    assert_tone("B", 8_000, &line.media_b.listen(PCMU), TONE_A);
    line.end(call);
}

#[test]
fn inside_is_ulaw_and_outside_stays_opus_on_epoll() {
    the_inside_speaks_ulaw_only("epoll");
}

#[test]
fn inside_is_ulaw_and_outside_stays_opus_on_uring() {
    the_inside_speaks_ulaw_only("uring");
}

/// What both sides can do is not touched, be it known here or not.
fn passes_untouched(back_end: &str, pbx: &str, carrier: &str, codec: Codec) {
    let mut line = Duet::new(&config(back_end, pbx, carrier));
    let call = line.connect(&[codec], &[(101, codec.clock)], &[codec], &[(101, codec.clock)]);
    for body in [call.offered.body(), call.answered.body()] {
        assert_eq!(media_line(body), format!("m=audio RTP/AVP {} 101", codec.number), "{body}");
        assert!(body.contains(codec.lines().trim_end()), "{body}");
    }
    let payload = |n: u32, who: u8| vec![who ^ n as u8; 20 + (n % 40) as usize];
    let packet = move |n: u32, who: u8| {
        rtp(codec.number, n as u16, n * codec.clock / 50, who.into(), &payload(n, who))
    };
    line.media_a.say(call.answered.media(0), move |n| vec![packet(n, 0xa)]);
    line.media_b.say(call.offered.media(0), move |n| vec![packet(n, 0xb)]);
    for (media, from) in [(&line.media_a, 0xb), (&line.media_b, 0xa)] {
        for heard in media.wait_heard(codec.number, 30) {
            assert_eq!(heard.bytes, packet(heard.sequence().into(), from), "as it was sent");
        }
    }
    line.end(call);
}

#[test]
fn opus_passes_untouched_without_a_policy_on_epoll() {
    passes_untouched("epoll", "", "", OPUS);
}

#[test]
fn opus_passes_untouched_without_a_policy_on_uring() {
    passes_untouched("uring", "", "codecs = [\"opus\"]", OPUS);
}

const G729: Codec = Codec { number: 18, name: "G729", clock: 8_000 };

#[test]
fn a_codec_that_is_not_made_here_passes_on_epoll() {
    passes_untouched("epoll", "", "codecs = [\"G729\", \"PCMU\"]", G729);
}

#[test]
fn a_codec_that_is_not_made_here_passes_on_uring() {
    passes_untouched("uring", "", "", G729);
}

#[test]
fn a_trunk_is_offered_its_codecs_those_of_the_caller_first() {
    let mut line = Duet::new(&config("epoll", "", "codecs = [\"PCMA\", \"opus\", \"G722\", \"PCMU\"]"));
    let call = line.connect(&[G729, PCMU, G722], &[(101, 8_000)], &[PCMU], &[(101, 8_000)]);
    let offered = call.offered.body();
    let line_of = media_line(offered);
    let numbers: Vec<&str> = line_of.split(' ').skip(2).collect();
    // G.729 is not in the list; what the caller has comes in its order, then what is made for the trunk in the trunk's.
    assert_eq!(numbers[..3], ["0", "9", "8"], "{offered}");
    assert!(offered.contains(&format!("a=rtpmap:{} opus/48000/2", numbers[3])), "{offered}");
    assert_eq!(media_line(call.answered.body()), "m=audio RTP/AVP 0 101", "{}", call.answered.text);
    line.end(call);
}

#[test]
fn without_transcoding_sides_that_share_nothing_are_refused() {
    for (pbx, carrier) in
        [("", "codecs = [\"PCMU\"], transcode = \"never\""), ("transcode = \"never\"", "codecs = [\"PCMU\"]")]
    {
        let line = Duet::new(&config("epoll", pbx, carrier));
        let refusal = line.refused(&description(line.media_a.address(), "RTP/AVP", &[OPUS], &[]), 488);
        assert!(refusal.header("Warning").starts_with("305"), "{}", refusal.text);
        assert!(line.b.expect_within("INVITE", Duration::ZERO).is_none(), "nobody else is called");
    }
}

/// Reports of a transcoded call, judged by tshark: each side hears of its own stream within 5 s, with its losses.
fn reports_tell_of_losses(back_end: &str) {
    let net = Net::new();
    let Some(capture) = Capture::start(&net) else { return };
    let mut line = Duet::with(net, &config(back_end, "", "codecs = [\"PCMU\"]"), Talker::at(net.ip(3)));
    let call = line.connect(&[OPUS], &[], &[PCMU], &[]);
    line.media_a.say_tone(call.answered.media(0), OPUS, f64::from(TONE_A));
    let mut tone = Tone::new(PCMU, f64::from(TONE_B), 0xbbbb);
    // Every tenth packet is lost.
    line.media_b.say(call.offered.media(0), move |n| {
        let packet = tone.packet(n);
        if n % 10 == 5 { vec![] } else { vec![packet] }
    });
    let began = Instant::now();
    // A report with a block: the packet is longer than a sender report alone.
    let has_block = |packets: &[Packet]| packets.iter().any(|p| p.bytes[0] & 0x1f > 0);
    wait_for("reports with blocks at both", SOON, || {
        (has_block(&line.media_a.reports()) && has_block(&line.media_b.reports())).then_some(())
    });
    assert!(began.elapsed() < Duration::from_secs(5), "reports come within 5 s: {:?}", began.elapsed());
    // The first may tell of a few packets only.
    let reports = line.media_b.reports().len();
    wait_for("another report", SOON, || (line.media_b.reports().len() > reports).then_some(()));
    let (a, b, engine) = (net.ip(2), net.ip(3), net.ip(1));
    line.end(call);
    let fields = [
        "ip.dst",
        "rtcp.ssrc.identifier",
        "rtcp.ssrc.fraction",
        "rtcp.ssrc.cum_nr",
        "rtcp.senderssrc",
        "_ws.malformed",
    ];
    let rows = capture.read(&format!("rtcp && ip.src == {engine}"), &fields);
    let lossy: Vec<_> =
        rows.iter().filter(|row| row[0] == b.to_string() && row[1].contains("0x0000bbbb")).collect();
    let clean: Vec<_> =
        rows.iter().filter(|row| row[0] == a.to_string() && row[1].contains("0x100001b8")).collect();
    assert!(!lossy.is_empty() && !clean.is_empty(), "{rows:?}");
    assert!(rows.iter().all(|row| row[5].is_empty()), "well formed: {rows:?}");
    let first = |text: &str| text.split(',').next().and_then(|n| n.parse::<u32>().ok()).unwrap_or_default();
    // In 256th: 10 % is 25.6; one packet more or less in a hundred is 2.6.
    let last = lossy.last().expect("a row");
    assert!((20..=32).contains(&first(&last[2])), "{rows:?}");
    assert!(clean.iter().all(|row| first(&row[2]) == 0 && first(&row[3]) == 0), "{rows:?}");
}

#[test]
fn reports_tell_each_side_of_its_losses_on_epoll() {
    reports_tell_of_losses("epoll");
}

#[test]
fn reports_tell_each_side_of_its_losses_on_uring() {
    reports_tell_of_losses("uring");
}

/// Noise in packet `n`, the same each time; loudness as of speech.
fn noise(n: u32) -> Vec<i16> {
    let mut state = u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..160)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 48) as i16) / 6
        })
        .collect()
}

fn power(samples: &[i16]) -> f64 {
    samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64
}

/// How much less of its own voice A hears after two seconds than B sends back, in decibels.
fn echo_loss(back_end: &str, carrier: &str) -> f64 {
    let net = Net::new();
    // 30 ms late and 10 dB less.
    let mut late: VecDeque<i16> = [0; 240].into();
    let mut echo = Tone::new(PCMU, 0.0, 0xec40);
    let mut n = 0;
    let media_b = Talker::answering(net.ip(3), move |packet| {
        let packet = Packet { at: Instant::now(), bytes: packet.to_vec() };
        late.extend(decode(PCMU, &[packet]));
        let heard: Vec<i16> = late.drain(..160).map(|s| (f64::from(s) * 0.316_227_766) as i16).collect();
        n += 1;
        Some(echo.of(n, &heard))
    });
    let mut line = Duet::with(net, &config(back_end, "", carrier), media_b);
    let call = line.connect(&[PCMU], &[], &[PCMU], &[]);
    let mut voice = Tone::new(PCMU, 0.0, 0xaaaa);
    line.media_a.say(call.answered.media(0), move |n| vec![voice.of(n, &noise(n))]);
    line.media_a.wait_heard(0, 100);
    let heard = decode(PCMU, &line.media_a.wait_heard(0, 50));
    line.end(call);
    let sent: Vec<i16> = (0..50).flat_map(noise).collect();
    10.0 * (power(&sent) * 0.1 / power(&heard).max(1.0)).log10()
}

fn an_echo_is_cancelled(back_end: &str) {
    let with = echo_loss(back_end, "echo_cancel = true");
    assert!(with >= 20.0, "{with:.1} dB less with it");
    let without = echo_loss(back_end, "");
    assert!(without.abs() < 1.0, "{without:.1} dB less without it");
}

#[test]
fn an_echo_is_cancelled_where_asked_on_epoll() {
    an_echo_is_cancelled("epoll");
}

#[test]
fn an_echo_is_cancelled_where_asked_on_uring() {
    an_echo_is_cancelled("uring");
}
