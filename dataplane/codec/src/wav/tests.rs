//! WAV files of our own making, honest and lying ones.

use super::*;
use proptest::prelude::*;

#[test]
fn every_coding_is_read_as_the_same_sound() {
    let samples = [0i16, 256, -256, 12_800, -12_800, 32_512, -32_768];
    let each = |write: &dyn Fn(i16) -> Vec<u8>| {
        samples.iter().flat_map(|sample| write(*sample)).collect::<Vec<u8>>()
    };
    check(1, 8, &each(&|sample| vec![((sample >> 8) + 128) as u8]), &samples);
    check(1, 16, &each(&|sample| sample.to_le_bytes().to_vec()), &samples);
    check(1, 24, &each(&|sample| (i32::from(sample) << 8).to_le_bytes()[..3].to_vec()), &samples);
    check(1, 32, &each(&|sample| (i32::from(sample) << 16).to_le_bytes().to_vec()), &samples);
    check(3, 32, &each(&|sample| (f32::from(sample) / 32_768.0).to_le_bytes().to_vec()), &samples);
    check(7, 8, &[0xff, 0x80, 0x00], &[0, 32_124, -32_124]);
    check(6, 8, &[0xd5, 0xaa, 0x2a], &[8, 32_256, -32_256]);
}

#[test]
fn floating_point_beyond_the_range_is_clipped_and_no_number_is_silence() {
    let data: Vec<u8> =
        [2.0f32, -2.0, f32::NAN, f32::INFINITY].iter().flat_map(|x| x.to_le_bytes()).collect();
    check(3, 32, &data, &[i16::MAX, i16::MIN, 0, i16::MAX]);
}

#[test]
fn the_extensible_form_is_read() {
    let mut fmt = format(0xfffe, 1, 8_000, 16);
    fmt.extend_from_slice(&[22, 0, 16, 0, 4, 0, 0, 0, 1, 0]);
    fmt.extend_from_slice(&EXTENSIBLE_REST);
    let file = riff(&[(b"fmt ", &fmt), (b"data", &[1, 0, 2, 0])]);
    assert_eq!(mono(&Wav::parse(&file).unwrap()), [1, 2]);
    fmt[30] ^= 1;
    let file = riff(&[(b"fmt ", &fmt), (b"data", &[1, 0, 2, 0])]);
    assert_eq!(Wav::parse(&file).unwrap_err(), BadWav::Coding);
}

#[test]
fn channels_are_averaged_or_taken_alone() {
    let data: Vec<u8> =
        [100i16, 300, -50, -51, i16::MAX, i16::MAX].iter().flat_map(|x| x.to_le_bytes()).collect();
    let file = riff(&[(b"fmt ", &format(1, 2, 8_000, 16)), (b"data", &data)]);
    let wav = Wav::parse(&file).unwrap();
    assert_eq!((wav.frames(), wav.channels(), wav.rate()), (3, 2, 8_000));
    assert_eq!(mono(&wav), [200, -50, i16::MAX]);
    let mut right = [0; 3];
    assert_eq!((wav.channel(1, 1, &mut right), right), (2, [-51, i16::MAX, 0]));
    assert_eq!((wav.channel(2, 0, &mut right), wav.mono(9, &mut right)), (0, 0));
}

#[test]
fn a_lying_length_is_read_as_far_as_the_file_goes() {
    for len in [0, 8, 0x7fff_0000, u32::MAX] {
        let mut file = riff(&[(b"fmt ", &format(1, 1, 8_000, 16)), (b"data", &[])]);
        let at = file.len() - 4;
        file[at..].copy_from_slice(&len.to_le_bytes());
        file.extend_from_slice(&[1, 0, 2, 0, 3]);
        assert_eq!(mono(&Wav::parse(&file).unwrap()), [1, 2], "{len}");
    }
    // An empty file, and one with something behind no samples, are empty.
    let empty = riff(&[(b"fmt ", &format(1, 1, 8_000, 16)), (b"data", &[])]);
    assert_eq!(Wav::parse(&empty).unwrap().frames(), 0);
    let empty = riff(&[(b"fmt ", &format(1, 1, 8_000, 16)), (b"data", &[]), (b"LIST", b"INFO")]);
    assert_eq!(Wav::parse(&empty).unwrap().frames(), 0);
}

#[test]
fn other_chunks_are_passed_over_with_and_without_their_padding() {
    for padded in [true, false] {
        let mut file = b"RIFF\0\0\0\0WAVE".to_vec();
        file.extend_from_slice(b"bext\x03\0\0\0abc");
        file.extend_from_slice(&[0][..usize::from(padded)]);
        file.extend_from_slice(&riff(&[(b"fmt ", &format(1, 1, 8_000, 16)), (b"data", &[1, 0])])[12..]);
        assert_eq!(mono(&Wav::parse(&file).unwrap()), [1], "padded: {padded}");
    }
}

#[test]
fn what_is_no_sound_is_told_why() {
    let data: (&[u8; 4], &[u8]) = (b"data", &[1, 0]);
    let with = |fmt: &[u8]| Wav::parse(&riff(&[(b"fmt ", fmt), data])).unwrap_err();
    let plain = format(1, 1, 8_000, 16);
    let changed = |at: usize, byte: u8| {
        let mut fmt = plain.clone();
        fmt[at] = byte;
        fmt
    };
    assert_eq!(Wav::parse(b"").unwrap_err(), BadWav::NotWav);
    assert_eq!(Wav::parse(b"RIFF\0\0\0\0AVI ").unwrap_err(), BadWav::NotWav);
    assert_eq!(Wav::parse(&riff(&[data])).unwrap_err(), BadWav::NoFormat);
    assert_eq!(Wav::parse(&riff(&[(b"fmt ", &plain)])).unwrap_err(), BadWav::NoData);
    assert_eq!(with(&plain[..15]), BadWav::NoFormat);
    assert_eq!(with(&changed(0, 2)), BadWav::Coding, "ADPCM");
    assert_eq!(with(&changed(14, 12)), BadWav::Coding, "12 bits");
    assert_eq!(with(&changed(2, 0)), BadWav::Frame, "no channel");
    assert_eq!(with(&format(1, 65, 8_000, 16)), BadWav::Frame, "65 channels");
    assert_eq!(with(&changed(12, 0)), BadWav::Frame, "frames of no bytes");
    assert_eq!(with(&format(1, 1, 0, 16)), BadWav::Rate);
    assert_eq!(with(&format(1, 1, u32::MAX, 16)), BadWav::Rate);
}

#[test]
fn a_file_without_end_says_so() {
    let header = header(48_000, 2, 5 << 30, 90);
    assert_eq!((&header[4..8], &header[40..44]), (&[255; 4][..], &[255; 4][..]));
}

#[test]
fn recordings_of_speech_are_read_whole() {
    let Some(bytes) = shared("audio/speech_8k_a.wav") else { return };
    let wav = Wav::parse(&bytes).unwrap();
    assert_eq!((wav.rate(), wav.channels()), (8_000, 1));
    let pcm = mono(&wav);
    let loudest = pcm.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
    assert!(pcm.len() > 8_000 * 5 && loudest > 3_000, "{} samples up to {loudest}", pcm.len());
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        samples in proptest::collection::vec(any::<i16>(), 0..600),
        channels in 1u16..=2,
        rate in prop_oneof![Just(8_000u32), Just(11_025), Just(16_000), Just(44_100), Just(48_000)],
        bounds in proptest::collection::vec((0u64..1 << 30, 0u64..1 << 30), 0..20),
    ) {
        let frames = samples.len() / usize::from(channels);
        let samples = &samples[..frames * usize::from(channels)];
        let pauses: Vec<_> = bounds
            .iter()
            .map(|(start, len)| Pause { start: time(*start, rate), end: time(start + len, rate) })
            .collect();
        let file = file(rate, channels, samples, &pauses);
        prop_assert_eq!(u32::from_le_bytes(file[4..8].try_into().unwrap()) as usize, file.len() - 8);
        let wav = Wav::parse(&file).unwrap();
        prop_assert_eq!((wav.rate(), wav.channels(), wav.frames()), (rate, usize::from(channels), frames));
        prop_assert_eq!(wav.pauses(), &pauses);
        for channel in 0..wav.channels() {
            let mut pcm = vec![0; frames];
            prop_assert_eq!(wav.channel(channel, 0, &mut pcm), frames);
            prop_assert!(pcm.iter().eq(samples.iter().skip(channel).step_by(channels.into())));
        }
    }

    #[test]
    fn a_file_cut_anywhere_behind_its_header_is_read_up_to_there(samples in proptest::collection::vec(any::<i16>(), 1..300), cut in 0usize..700) {
        let whole = file(8_000, 1, &samples, &[Pause { start: Duration::ZERO, end: Duration::from_millis(5) }]);
        let cut = HEADER_LEN + cut.min(whole.len() - HEADER_LEN);
        let read = mono(&Wav::parse(&whole[..cut]).unwrap());
        let there = ((cut - HEADER_LEN) / 2).min(samples.len());
        prop_assert_eq!(read, &samples[..there]);
    }

    #[test]
    fn nothing_that_comes_makes_it_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), at in 0usize..200) {
        crate::fuzz::wav(&bytes);
        let whole = file(8_000, 1, &[1, 2, 3], &[]);
        let at = at.min(bytes.len());
        bytes.splice(at..at, whole);
        bytes.drain(..at);
        crate::fuzz::wav(&bytes);
    }
}

fn check(tag: u16, bits: u16, data: &[u8], expected: &[i16]) {
    let file = riff(&[(b"fmt ", &format(tag, 1, 16_000, bits)), (b"data", data)]);
    assert_eq!(mono(&Wav::parse(&file).unwrap()), expected, "format {tag}, {bits} bits");
}

fn mono(wav: &Wav<'_>) -> Vec<i16> {
    let mut pcm = vec![0; wav.frames()];
    assert_eq!(wav.mono(0, &mut pcm), pcm.len());
    pcm
}

fn file(rate: u32, channels: u16, samples: &[i16], pauses: &[Pause]) -> Vec<u8> {
    let mut marks = Vec::new();
    tail(rate, pauses, &mut marks);
    let mut file = header(rate, channels, samples.len() as u64 * 2, marks.len()).to_vec();
    samples.iter().for_each(|sample| file.extend_from_slice(&sample.to_le_bytes()));
    file.extend_from_slice(&marks);
    file
}

fn format(tag: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
    let frame = channels.wrapping_mul(bits / 8);
    let mut format = Vec::new();
    format.extend_from_slice(&tag.to_le_bytes());
    format.extend_from_slice(&channels.to_le_bytes());
    format.extend_from_slice(&rate.to_le_bytes());
    format.extend_from_slice(&rate.wrapping_mul(frame.into()).to_le_bytes());
    format.extend_from_slice(&frame.to_le_bytes());
    format.extend_from_slice(&bits.to_le_bytes());
    format
}

fn riff(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut file = b"RIFF\0\0\0\0WAVE".to_vec();
    for (name, body) in chunks {
        file.extend_from_slice(*name);
        file.extend_from_slice(&(body.len() as u32).to_le_bytes());
        file.extend_from_slice(body);
        file.extend_from_slice(&[0][..body.len() % 2]);
    }
    file
}

/// A file of the shared test data; none, loudly, where it is absent.
#[expect(clippy::print_stderr, reason = "absent material is named")]
fn shared(name: &str) -> Option<Vec<u8>> {
    let root = std::env::var_os("STROWGER_TESTDATA").map_or_else(
        || std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata"),
        std::path::PathBuf::from,
    );
    let found = std::fs::read(root.join(name)).ok();
    if found.is_none() {
        eprintln!("ABSENT: testdata/{name}: it was not read");
    }
    found
}
