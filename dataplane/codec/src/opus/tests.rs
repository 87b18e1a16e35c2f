//! Streams of an encoder that is not ours, damage, and what the far end may ask for.

use super::*;
use crate::coder::Format;
use crate::registry::find;
use std::path::PathBuf;

fn voice(n: usize) -> f64 {
    let t = n as f64 / 48_000.0;
    // A voice of 120 Hz that comes and goes three times a second.
    let voice: f64 =
        (1..12).map(|h| (t * 120.0 * f64::from(h) * core::f64::consts::TAU).sin() / f64::from(h)).sum();
    voice * (1.2 + (t * 3.0 * core::f64::consts::TAU).sin()) * 3_000.0
}

fn speech(rate: u32, ms: usize) -> Vec<i16> {
    let step = 48_000 / rate as usize;
    (0..rate as usize / 1_000 * ms).map(|n| voice(n * step) as i16).collect()
}

fn format(fmtp: &str) -> Format<'_> {
    Format { name: "opus", clock: 48_000, channels: 2, fmtp }
}

fn encoder(fmtp: &str, rate: u32) -> Box<dyn Encoder> {
    find(&format(fmtp)).unwrap().encoder(&format(fmtp), EncoderSettings { rate, complexity: 5 })
}

fn decoder(rate: u32) -> Box<dyn Decoder> {
    OPUS.decoder(&format(""), rate)
}

/// Encodes in packets of this many samples.
fn packets(encoder: &mut dyn Encoder, pcm: &[i16], samples: usize) -> Vec<Vec<u8>> {
    let mut payload = [0; PAYLOAD_MAX];
    let mut packet = |pcm| {
        let len = encoder.encode(pcm, &mut payload);
        payload[..len].to_vec()
    };
    pcm.chunks_exact(samples).map(&mut packet).collect()
}

fn level(pcm: &[i16]) -> f64 {
    (pcm.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / pcm.len() as f64).sqrt()
}

/// The packets of a file as `opus_demo` writes it, each with what the encoder's range coder ended with.
#[expect(clippy::print_stderr, reason = "absent material is named")]
fn stream(name: &str) -> Vec<(u32, Vec<u8>)> {
    let root = std::env::var_os("STROWGER_TESTDATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata"),
        PathBuf::from,
    );
    let Ok(bytes) = std::fs::read(root.join("audio/opus").join(name).with_extension("bit")) else {
        eprintln!("ABSENT: testdata/audio/opus/{name}.bit: this stream was not decoded");
        return Vec::new();
    };
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let len = number(at) as usize;
        found.push((number(at + 4), bytes[at + 8..at + 8 + len].to_vec()));
        at += 8 + len;
    }
    found
}

/// Name, milliseconds a packet.
const STREAMS: [(&str, f64); 10] = [
    ("audio20_64k", 20.0),
    ("lowdelay5_64k", 5.0),
    ("nb20_8k", 20.0),
    ("voip10_32k_cbr", 10.0),
    ("voip20_16k", 20.0),
    ("voip20_24k_fec", 20.0),
    ("voip20_dtx", 20.0),
    ("voip40_20k", 40.0),
    ("voip60_12k", 60.0),
    ("wb20_20k", 20.0),
];

#[test]
fn streams_of_another_encoder_end_each_packet_in_its_state() {
    for (name, ms) in STREAMS {
        let (mut ours, mut ranged) = (decoder(48_000), binding::Ranged::new());
        let (mut pcm, mut same) = ([0; 5_760], [0; 5_760]);
        for (number, (range, payload)) in stream(name).iter().enumerate() {
            let samples = (ms * 48.0) as usize;
            assert_eq!(ours.decode(payload, &mut pcm), Ok(samples), "{name}, packet {number}");
            let found = ranged.decode(payload, &mut same);
            assert!(pcm[..samples] == same[..samples], "{name}, packet {number}: the same samples");
            // Packets of DTX leave the range coder alone.
            assert!(found == *range || payload.len() <= 2, "{name}, packet {number}");
        }
    }
}

#[test]
fn every_stream_decodes_at_every_rate_as_long_as_it_says() {
    for rate in OPUS.rates {
        for (name, ms) in STREAMS {
            let mut decoder = decoder(*rate);
            let (mut pcm, mut loudest) = ([0; 5_760], 0.0f64);
            let stream = stream(name);
            for (_, payload) in &stream {
                let samples = (ms * f64::from(rate / 1_000)) as usize;
                assert_eq!(decoder.samples(payload), Ok(samples));
                assert_eq!(decoder.decode(payload, &mut pcm), Ok(samples), "{name} at {rate}");
                loudest = loudest.max(level(&pcm[..samples]));
            }
            assert!(stream.is_empty() || loudest > 500.0, "{name} at {rate}: {loudest}");
        }
    }
}

#[test]
fn what_was_encoded_comes_back_at_every_rate_and_length() {
    for rate in OPUS.rates {
        for ptime in OPUS.ptimes {
            let samples = usize::from(*ptime) * *rate as usize / 1_000;
            let spoken = speech(*rate, 600);
            let (mut decoder, mut pcm) = (decoder(*rate), [0; 5_760]);
            let mut heard = Vec::new();
            for payload in packets(&mut *encoder("", *rate), &spoken, samples) {
                assert_eq!(decoder.samples(&payload), Ok(samples));
                assert_eq!(decoder.decode(&payload, &mut pcm), Ok(samples));
                heard.extend_from_slice(&pcm[..samples]);
            }
            let (sent, got) = (level(&spoken), level(&heard[heard.len() / 4..]));
            assert!((0.6..1.6).contains(&(got / sent)), "{rate} Hz, {ptime} ms: {sent:.0} became {got:.0}");
        }
    }
}

#[test]
fn damage_never_gets_to_libopus_and_does_not_stop_the_stream() {
    let mut decoder = decoder(8_000);
    let mut pcm = [0; 960];
    let good = packets(&mut *encoder("", 8_000), &speech(8_000, 200), 160);
    for payload in &good {
        for bad in [&[][..], &[0x0b], &[0x0b, 0], &[0x0b, 0x41, 255], &[payload[0] | 3, 63, 1]] {
            assert_eq!(decoder.samples(bad), Err(Undecodable), "{bad:02x?}");
            assert_eq!(decoder.decode(bad, &mut pcm), Err(Undecodable));
            assert!(!decoder.recover(bad, &mut pcm[..160]));
        }
        assert_eq!(decoder.decode(payload, &mut pcm), Ok(160));
    }
    assert_eq!(decoder.decode(&good[0], &mut pcm[..159]), Err(Undecodable), "no room");
}

#[test]
fn a_lost_packet_is_won_back_from_the_next_where_the_far_end_loses() {
    let spoken = speech(16_000, 2_000);
    let mut encoder = encoder("useinbandfec=1", 16_000);
    encoder.set_loss(20);
    let sent = packets(&mut *encoder, &spoken, 320);
    let whole = run(&sent, |_| false, true);
    let is_lost = |number: usize| number > 10 && number.is_multiple_of(5);
    let (recovered, concealed) = (run(&sent, is_lost, true), run(&sent, is_lost, false));
    let error = |heard: &[i16]| {
        let differences = whole.iter().zip(heard).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
        differences.sum::<f64>().sqrt()
    };
    assert!(
        error(&recovered) < 0.7 * error(&concealed),
        "{:.0} against {:.0}",
        error(&recovered),
        error(&concealed)
    );
}

/// Decodes; of a lost packet what the next one holds, or what libopus makes up.
fn run(sent: &[Vec<u8>], is_lost: impl Fn(usize) -> bool, recovers: bool) -> Vec<i16> {
    let (mut decoder, mut pcm, mut heard) = (decoder(16_000), [0; 1_920], Vec::new());
    for (number, payload) in sent.iter().enumerate() {
        if is_lost(number) {
            let next = &sent[number + 1];
            // What had no voice in it is not repeated.
            if !recovers || !decoder.recover(next, &mut pcm[..320]) {
                decoder.conceal(&mut pcm[..320]);
            }
        } else {
            assert_eq!(decoder.decode(payload, &mut pcm), Ok(320));
        }
        heard.extend_from_slice(&pcm[..320]);
    }
    heard
}

#[test]
fn nothing_is_won_back_where_nothing_was_put() {
    for (fmtp, loss) in [("useinbandfec=1", 0), ("", 20)] {
        let mut encoder = encoder(fmtp, 16_000);
        encoder.set_loss(loss);
        let sent = packets(&mut *encoder, &speech(16_000, 1_000), 320);
        let mut decoder = decoder(16_000);
        let mut pcm = [7; 320];
        assert!(sent.iter().all(|payload| !decoder.recover(payload, &mut pcm)), "{fmtp} at {loss} %");
        assert_eq!(pcm, [7; 320], "untouched");
    }
    let redundant =
        stream("voip20_24k_fec").iter().filter(|(_, p)| Packet::parse(p).unwrap().has_redundancy()).count();
    assert!(stream("voip20_24k_fec").is_empty() || redundant > 100, "{redundant} packets");
    assert!(stream("voip20_16k").iter().all(|(_, p)| !Packet::parse(p).unwrap().has_redundancy()));
}

#[test]
fn redundancy_begins_and_ends_with_the_loss_that_is_reported() {
    for (rate, complexity, loss) in
        [(8_000, 5, 10), (8_000, 0, 3), (16_000, 0, 5), (48_000, 5, 1), (48_000, 0, 25)]
    {
        let samples = rate as usize / 50;
        let spoken = speech(rate, 3_000);
        let mut encoder = encoder("useinbandfec=1", rate);
        encoder.set_complexity(complexity);
        let mut has = |loss: u8, second: usize| {
            encoder.set_loss(loss);
            let sent = packets(&mut *encoder, &spoken[second * samples * 50..][..samples * 50], samples);
            sent[10..].iter().filter(|p| Packet::parse(p).unwrap().has_redundancy()).count()
        };
        assert_eq!(has(0, 0), 0);
        let with = has(loss, 1);
        assert!(with > 15, "{rate} Hz, complexity {complexity}, loss {loss} %: {with} packets of 40");
        assert_eq!(has(0, 2), 0);
    }
}

#[test]
fn silence_is_told_once_and_then_not_sent_but_now_and_then() {
    let mut pcm = speech(16_000, 500);
    pcm.resize(16_000 * 5 / 2, 0);
    let sent = packets(&mut *encoder("usedtx=1", 16_000), &pcm, 320);
    let quiet = &sent[60..];
    let decoder = decoder(16_000);
    let told = quiet.iter().filter(|p| !p.is_empty() && decoder.is_silence(p)).count();
    let unsent = quiet.iter().filter(|p| p.is_empty()).count();
    let spoken = quiet.len() - told - unsent;
    assert!(unsent > quiet.len() / 2 && (1..=6).contains(&told) && spoken > 0, "{unsent} {told} {spoken}");
    assert!(sent[..25].iter().all(|p| p.len() > 2), "speech is sent");
    // Without being asked for, nothing is left out.
    assert!(packets(&mut *encoder("", 16_000), &pcm, 320).iter().all(|p| !p.is_empty()));
}

#[test]
fn the_far_end_is_given_what_it_asks_for() {
    let spoken = speech(48_000, 2_000);
    let bits = |fmtp: &str| {
        let sent = packets(&mut *encoder(fmtp, 48_000), &spoken, 960);
        sent.iter().map(|p| p.len() * 8).sum::<usize>() / 2
    };
    let (usual, low) = (bits(""), bits("minptime=10; MaxAverageBitrate=12000"));
    assert!(usual > 20_000 && low < 14_000, "{usual} and {low} bit/s");
    assert!(bits("maxaveragebitrate=400000") < 45_000, "an upper bound is no wish");

    let cbr = packets(&mut *encoder("cbr=1", 48_000), &spoken, 960);
    assert!(cbr.iter().all(|p| p.len() == cbr[0].len()));
    let narrow = packets(&mut *encoder("maxplaybackrate=8000;stereo=1", 48_000), &spoken, 960);
    assert!(narrow.iter().all(|p| p[0] >> 3 < 4 && p[0] & 4 == 0), "narrow band, mono");
}

#[test]
fn the_rate_it_is_run_at_is_the_narrowest_that_holds_what_the_far_end_plays() {
    for (fmtp, rate) in [
        ("", 48_000),
        ("maxplaybackrate=8000", 8_000),
        ("useinbandfec=1;maxplaybackrate = 16000 ;x", 16_000),
        ("maxplaybackrate=20000", 24_000),
        ("maxplaybackrate=44100", 48_000),
        ("maxplaybackrate=99999", 48_000),
        ("maxplaybackrate=-1", 48_000),
    ] {
        assert_eq!(OPUS.bandwidth(&format(fmtp)), rate, "{fmtp}");
    }
}

#[test]
fn after_a_reset_it_is_as_if_just_made_but_for_what_was_set() {
    let spoken = speech(8_000, 400);
    let mut encoder = encoder("", 8_000);
    let first = packets(&mut *encoder, &spoken, 160);
    assert_ne!(packets(&mut *encoder, &spoken, 160), first);
    encoder.reset();
    assert_eq!(packets(&mut *encoder, &spoken, 160), first);
}

#[test]
fn lengths_that_opus_has_no_frames_for_give_nothing() {
    let mut payload = [0; PAYLOAD_MAX];
    assert_eq!(encoder("", 8_000).encode(&[0; 240], &mut payload), 0);
}

#[test]
fn silence_needs_no_state() {
    let loud = packets(&mut *encoder("", 48_000), &speech(48_000, 200), 960);
    for ms in [10, 20, 30, 40, 60, 120] {
        for rate in OPUS.rates {
            let (mut decoder, mut pcm, mut payload) = (decoder(*rate), [0; 5_760], [0; 64]);
            for packet in &loud {
                decoder.decode(packet, &mut pcm).unwrap();
            }
            let len = OPUS.silence(ms * 48, &mut payload).unwrap();
            let samples = ms * *rate as usize / 1_000;
            // What was said before fades within a frame.
            for _ in 0..2 {
                assert_eq!(decoder.decode(&payload[..len], &mut pcm), Ok(samples), "{ms} ms");
            }
            assert!(level(&pcm[..samples]) < 2.0, "{ms} ms at {rate}: {}", level(&pcm[..samples]));
        }
    }
    assert_eq!(OPUS.silence(100, &mut [0; 64]), None, "no multiple of 2.5 ms");
    assert_eq!(OPUS.silence(48 * 140, &mut [0; 64]), None, "too long");
    assert_eq!(OPUS.silence(0, &mut [0; 64]), None);
    assert_eq!(OPUS.silence(960, &mut [0; 2]), None, "no room");
}

#[test]
fn losses_of_any_length_are_concealed() {
    let (mut decoder, mut pcm) = (decoder(8_000), [0; 960]);
    for payload in packets(&mut *encoder("", 8_000), &speech(8_000, 200), 160) {
        decoder.decode(&payload, &mut pcm).unwrap();
    }
    let mut long = [9; 2_000];
    decoder.conceal(&mut long[..160]);
    assert!(level(&long[..160]) > 300.0, "speech goes on");
    decoder.conceal(&mut long);
    assert!(level(&long[1_900..]) < 50.0, "and fades");
    decoder.conceal(&mut long[..7]);
    decoder.conceal(&mut []);
}

/// The other back end does not tell.
#[cfg(not(feature = "audiopus"))]
#[test]
fn both_coders_of_a_call_fit_into_its_memory() {
    let (encoder, decoder) = binding::sizes();
    assert!(
        encoder + decoder < 52 * 1_024,
        "{encoder} and {decoder} bytes of the 64 KB of a transcoded call"
    );
}
