//! Files of our own writing, whole and damaged, through libopus; the tools of others judge them in `tests/`.

use super::*;
use crate::coder::{Encoder, EncoderSettings, Format};
use crate::registry;
use proptest::prelude::*;

#[test]
fn what_is_recorded_is_heard_at_its_time() {
    for rate in [8_000, 16_000, 48_000] {
        let pcm = tone(rate, 440, 3 * rate as usize + 123);
        let file = recorded(rate, &[&pcm], &[]);
        let parsed = OpusFile::parse(&file).unwrap();
        assert_eq!((parsed.channels(), parsed.streams(), parsed.rate()), (1, 1, rate));
        let heard = parsed.mono(&mut decoders(1, rate), usize::MAX).unwrap();
        assert_eq!(heard.len(), pcm.len());
        // Within half a millisecond of its time: the modes of Opus differ by so much.
        let likely = |lag: usize| correlation(&heard[lag..], &pcm).max(correlation(&heard, &pcm[lag..]));
        let likeness = (0..=rate as usize / 2_000).map(likely).fold(0.0, f64::max);
        assert!(likeness > 0.93, "{likeness} at {rate} Hz");
    }
}

#[test]
fn channels_do_not_mix() {
    let (left, right) = (tone(16_000, 440, 32_000), vec![0; 32_000]);
    let file = recorded(16_000, &[&left, &right], &[]);
    let parsed = OpusFile::parse(&file).unwrap();
    assert_eq!((parsed.channels(), parsed.streams()), (2, 2));
    let channel = |number| parsed.channel(number, &mut decoders(2, 16_000), usize::MAX).unwrap();
    assert!(correlation(&channel(0), &left) > 0.97);
    assert!(channel(1).iter().all(|sample| sample.abs() < 8), "silence stays silence");
    let mean = parsed.mono(&mut decoders(2, 16_000), usize::MAX).unwrap();
    assert!((1.8..2.2).contains(&(energy(&left) / energy(&mean)).sqrt()));
    let none = parsed.channel(2, &mut decoders(2, 16_000), usize::MAX);
    assert_eq!(none, Err(BadOgg::Channels));
}

#[test]
fn pauses_are_found_again_and_the_page_that_marks_them_keeps_its_length() {
    let at = |millis| Duration::from_millis(millis);
    let pauses = [Pause { start: at(1_500), end: at(2_003) }, Pause { start: at(61_000), end: at(61_000) }];
    let pcm = tone(8_000, 440, 8_000);
    let file = recorded(8_000, &[&pcm], &pauses);
    assert_eq!(OpusFile::parse(&file).unwrap().pauses(), pauses);
    assert_eq!(file.len(), recorded(8_000, &[&pcm], &[]).len());
    let many = vec![pauses[0]; 1_000];
    let file = recorded(8_000, &[&pcm], &many);
    let found = OpusFile::parse(&file).unwrap().pauses().len();
    assert!((100..1_000).contains(&found), "{found} of them fit");
}

#[test]
fn a_file_that_was_cut_off_is_heard_up_to_its_last_whole_page() {
    let pcm = tone(8_000, 440, 5 * 8_000);
    let mut recording = Recording::new(7, 8_000, encoders(1, 8_000));
    let mut file = Vec::new();
    recording.begin(&mut file);
    for (second, part) in (1..).zip(pcm.chunks(8_000)) {
        recording.push(&[part], &mut file);
        recording.flush(&mut file);
        let heard = OpusFile::parse(&file).unwrap().mono(&mut decoders(1, 8_000), usize::MAX).unwrap();
        assert_eq!(heard.len(), second * 8_000 - 52, "all but what the encoder holds back");
        let torn = &file[..file.len() - 1];
        let heard = OpusFile::parse(torn).unwrap().mono(&mut decoders(1, 8_000), usize::MAX).unwrap();
        assert!(heard.len() + 8_000 + 52 >= second * 8_000, "at most the last page is gone");
    }
}

#[test]
fn other_streams_damaged_pages_and_noise_between_them_are_passed_over() {
    let pcm = tone(8_000, 440, 16_000);
    let file = recorded(8_000, &[&pcm], &[]);
    let mut other = page::Sheet::new(99, 0);
    let mut mixed = Vec::new();
    other.add(b"\x80theora");
    other.write(0, false, &mut mixed);
    for page in cut(&file) {
        mixed.extend_from_slice(page);
        mixed.extend_from_slice(b"OggS\0\0 noise");
        other.add(&[1; 300]);
        other.write(5, false, &mut mixed);
    }
    let heard = OpusFile::parse(&mixed).unwrap().mono(&mut decoders(1, 8_000), usize::MAX).unwrap();
    assert_eq!(heard, OpusFile::parse(&file).unwrap().mono(&mut decoders(1, 8_000), usize::MAX).unwrap());
}

#[test]
fn packets_that_go_over_pages_are_put_together() {
    let parts: Vec<u8> = (0..700).map(|n| n as u8).collect();
    let mut file = Vec::new();
    let mut sheet = page::Sheet::new(1, 0);
    for headers in [&head(&[1, 0])[..], b"OpusTags\0\0\0\0\0\0\0\0"] {
        sheet.add(headers);
        sheet.write(0, false, &mut file);
    }
    // 510 bytes with no end, then the rest: pages by hand, since the writer makes none of these.
    for (flags, granule, sequence, lacing, body) in
        [(0u8, u64::MAX, 2u32, &[255u8, 255][..], &parts[..510]), (1, 960, 3, &[190, 3], &parts[510..])]
    {
        let body = [body, if granule == 960 { &[8, 1, 2] } else { &[] }].concat();
        let mut raw = b"OggS\0".to_vec();
        raw.push(flags);
        raw.extend_from_slice(&granule.to_le_bytes());
        raw.extend_from_slice(&1u32.to_le_bytes());
        raw.extend_from_slice(&sequence.to_le_bytes());
        raw.extend_from_slice(&[0; 4]);
        raw.push(lacing.len() as u8);
        raw.extend_from_slice(lacing);
        raw.extend_from_slice(&body);
        page::seal(&mut raw);
        file.extend_from_slice(&raw);
    }
    let parsed = OpusFile::parse(&file).unwrap();
    let packets: Vec<_> = parsed.packets().map(|packet| packet.data.into_owned()).collect();
    assert_eq!(packets, [parts.clone(), vec![8, 1, 2]]);
    // Without its beginning the rest is no packet.
    let pages = cut(&file);
    let gap = [pages[0], pages[1], pages[3]].concat();
    let packets: Vec<_> = OpusFile::parse(&gap).unwrap().packets().map(|packet| packet.data.len()).collect();
    assert_eq!(packets, [3]);
}

#[test]
fn what_is_no_opus_is_told_why() {
    let why = |bytes: &[u8]| OpusFile::parse(bytes).unwrap_err();
    let with = |head: &[u8]| {
        let mut file = Vec::new();
        let mut sheet = page::Sheet::new(1, 0);
        sheet.add(head);
        sheet.write(0, false, &mut file);
        sheet.add(b"OpusTags\0\0\0\0\0\0\0\0");
        sheet.write(0, false, &mut file);
        file
    };
    assert_eq!((why(b""), why(b"OggS")), (BadOgg::NotOgg, BadOgg::NotOgg));
    assert_eq!(why(&with(b"\x01vorbis")), BadOgg::NoOpus);
    assert!(OpusFile::parse(&with(&head(&[1, 0]))).is_ok());
    assert_eq!(why(&with(&head(&[1, 0])[..18])), BadOgg::Head);
    assert_eq!(why(&with(&head(&[0, 0]))), BadOgg::Head, "no channel");
    assert_eq!(why(&with(&head(&[3, 0]))), BadOgg::Channels, "three in family 0");
    assert_eq!(why(&with(&head(&[2, 1, 0, 0, 0, 1]))), BadOgg::Channels, "no stream");
    assert_eq!(why(&with(&head(&[2, 1, 1, 2, 0, 1]))), BadOgg::Channels, "more pairs than streams");
    assert_eq!(why(&with(&head(&[2, 1, 2, 0, 0, 2]))), BadOgg::Channels, "a channel that does not exist");
    let long = recorded(8_000, &[&tone(8_000, 440, 8_000)], &[]);
    let heard = OpusFile::parse(&long).unwrap().mono(&mut decoders(1, 8_000), 7_000);
    assert_eq!(heard, Err(BadOgg::TooLong));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_that_comes_makes_it_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8),
        reseal: bool,
    ) {
        let mut file = recorded(8_000, &[&tone(8_000, 440, 4_000), &tone(8_000, 300, 4_000)], &[]);
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if reseal {
            // The checksums are right, what they cover is not.
            let mut sealed = Vec::new();
            for page in cut(&file) {
                let mut page = page.to_vec();
                page::seal(&mut page);
                sealed.extend_from_slice(&page);
            }
            file = sealed;
        }
        crate::fuzz::ogg(&file);
    }
}

fn recorded(rate: u32, pcm: &[&[i16]], pauses: &[Pause]) -> Vec<u8> {
    let mut recording = Recording::new(0x5354_5257, rate, encoders(pcm.len(), rate));
    let mut file = Vec::new();
    recording.begin(&mut file);
    let step = rate as usize / 4 + 1;
    for start in (0..pcm[0].len()).step_by(step) {
        let end = (start + step).min(pcm[0].len());
        let part: Vec<_> = pcm.iter().map(|pcm| &pcm[start..end]).collect();
        recording.push(&part, &mut file);
        recording.flush(&mut file);
    }
    recording.finish(&mut file);
    let mut tags = Vec::new();
    recording.tags(pauses, &mut tags);
    file[recording.tags_at() as usize..][..tags.len()].copy_from_slice(&tags);
    file
}

/// The bytes of each page.
fn cut(file: &[u8]) -> Vec<&[u8]> {
    let mut starts: Vec<_> = (0..file.len()).filter(|at| file[*at..].starts_with(b"OggS")).collect();
    starts.push(file.len());
    starts.windows(2).map(|two| &file[two[0]..two[1]]).collect()
}

/// Channels, and from the mapping family on.
fn head(parts: &[u8]) -> Vec<u8> {
    [&b"OpusHead\x01"[..], &parts[..1], &[0, 0, 0x80, 0xbb, 0, 0, 0, 0], &parts[1..]].concat()
}

const OPUS: Format<'_> = Format { name: "opus", clock: 48_000, channels: 2, fmtp: "" };

fn encoders(count: usize, rate: u32) -> Vec<Box<dyn Encoder>> {
    let opus = registry::find(&OPUS).expect("Opus is a codec of ours");
    (0..count).map(|_| opus.encoder(&OPUS, EncoderSettings { rate, complexity: 5 })).collect()
}

fn decoders(count: usize, rate: u32) -> Vec<Box<dyn Decoder>> {
    let opus = registry::find(&OPUS).expect("Opus is a codec of ours");
    (0..count).map(|_| opus.decoder(&OPUS, rate)).collect()
}

/// A tone that swells and fades, so that it is like itself at one time only.
fn tone(rate: u32, frequency: u32, samples: usize) -> Vec<i16> {
    let turn = |n: usize, hertz: f64| (n as f64 / f64::from(rate) * hertz * core::f64::consts::TAU).sin();
    (0..samples).map(|n| (8_000.0 * turn(n, frequency.into()) * (1.2 + turn(n, 1.7))) as i16).collect()
}

fn energy(pcm: &[i16]) -> f64 {
    pcm.iter().map(|sample| f64::from(*sample).powi(2)).sum()
}

fn correlation(one: &[i16], other: &[i16]) -> f64 {
    let product: f64 = one.iter().zip(other).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum();
    product / (energy(one) * energy(other)).sqrt()
}
