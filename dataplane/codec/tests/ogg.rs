//! Recordings in Ogg as the tools of others see them: `opusinfo` and `opusdec` of opus-tools, and a file by `opusenc`.
//! `STROWGER_PEERS=required` makes their absence a failure.

use codec::coder::{Decoder, EncoderSettings, Format};
use codec::ogg::{OpusFile, Pause, Recording};
use codec::registry;
use codec::wav::{self, Wav};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const OPUS: Format<'_> = Format { name: "opus", clock: 48_000, channels: 2, fmtp: "" };

#[test]
fn the_tools_of_others_find_nothing_wrong_and_hear_the_same() {
    let folder = Folder::new("theirs");
    for (rate, channels) in [(8_000, 1), (16_000, 2), (48_000, 1), (48_000, 2)] {
        let pcm: Vec<_> =
            (0..channels).map(|channel| tone(rate, 440 + 200 * channel, 5 * rate as usize / 2)).collect();
        let parts: Vec<&[i16]> = pcm.iter().map(Vec::as_slice).collect();
        let whole = folder.put("whole.opus", &recorded(rate, &parts, true));
        let Some(said) = run("opusinfo", &[&whole]) else { return };
        let clean = !said.to_lowercase().contains("warning") && !said.to_lowercase().contains("error");
        assert!(clean && said.contains("PAUSE=1.500-2.000"), "{said}");
        assert!(said.contains("Playback length: 0m:02.500s"), "{said}");
        let cut = folder.put("cut.opus", &recorded(rate, &parts, false));
        for (file, seconds) in [(whole, 2.5), (cut, 2.5)] {
            let decoded = folder.path.join("decoded.wav");
            let rate_text = rate.to_string();
            run("opusdec", &[Path::new("--rate"), Path::new(&rate_text), &file, &decoded])
                .expect("opusinfo was there");
            let bytes = std::fs::read(&decoded).unwrap();
            let wav = Wav::parse(&bytes).unwrap();
            assert_eq!(wav.channels(), channels as usize);
            let heard = wav.frames() as f64 / f64::from(wav.rate());
            assert!((heard - seconds).abs() < 0.03, "{heard} s of {seconds} s");
            for (channel, said) in pcm.iter().enumerate() {
                let mut heard = vec![0; wav.frames()];
                wav.channel(channel, 0, &mut heard);
                // Within half a millisecond of its time: its modes differ by so much.
                let late = rate as usize / 2_000;
                let likely = |lag| likeness(&heard[lag..], said).max(likeness(&heard, &said[lag..]));
                let likeness = (0..=late).map(likely).fold(0.0, f64::max);
                assert!(likeness > 0.9, "{likeness}: channel {channel} of {channels} at {rate} Hz");
            }
        }
    }
}

#[test]
fn what_others_encode_is_read_to_the_sample() {
    let folder = Folder::new("ours");
    for (rate, channels) in [(8_000, 1u16), (48_000, 2)] {
        let pcm = tone(rate, 440, rate as usize + 77);
        let mut file = wav::header(rate, channels, 2 * pcm.len() as u64 * u64::from(channels), 0).to_vec();
        for sample in &pcm {
            (0..channels).for_each(|_| file.extend_from_slice(&sample.to_le_bytes()));
        }
        let (source, coded) = (folder.put("a.wav", &file), folder.path.join("a.opus"));
        if run("opusenc", &[&source, &coded]).is_none() {
            return;
        }
        let bytes = std::fs::read(&coded).unwrap();
        let parsed = OpusFile::parse(&bytes).unwrap();
        assert_eq!((parsed.channels(), parsed.streams(), parsed.rate()), (channels.into(), 1, rate));
        let opus = registry::find(&OPUS).expect("Opus is a codec of ours");
        let mut decoders: Vec<Box<dyn Decoder>> = vec![opus.decoder(&OPUS, rate)];
        let heard = parsed.mono(&mut decoders, usize::MAX).unwrap();
        assert!(heard.len().abs_diff(pcm.len()) <= 1, "{} of {}", heard.len(), pcm.len());
        let likeness = likeness(&heard, &pcm);
        assert!(likeness > 0.95, "{likeness}");
    }
}

/// What a tool says; nothing, loudly, if there is no such tool.
#[expect(clippy::print_stderr, reason = "an absent tool is named")]
fn run(tool: &str, arguments: &[&Path]) -> Option<String> {
    let Ok(output) = Command::new(tool).args(arguments).output() else {
        let required = std::env::var("STROWGER_PEERS").is_ok_and(|value| value == "required");
        assert!(!required, "{tool} is not installed and STROWGER_PEERS=required; scripts/test installs it");
        eprintln!("ABSENT: {tool}: what it says of our files was not asked");
        return None;
    };
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{tool}: {said}");
    Some(said)
}

fn recorded(rate: u32, pcm: &[&[i16]], ends: bool) -> Vec<u8> {
    let opus = registry::find(&OPUS).expect("Opus is a codec of ours");
    let settings = EncoderSettings { rate, complexity: 5 };
    let mut recording = Recording::new(7, rate, pcm.iter().map(|_| opus.encoder(&OPUS, settings)).collect());
    let mut file = Vec::new();
    recording.begin(&mut file);
    for start in (0..pcm[0].len()).step_by(rate as usize / 4) {
        let end = (start + rate as usize / 4).min(pcm[0].len());
        let part: Vec<_> = pcm.iter().map(|pcm| &pcm[start..end]).collect();
        recording.push(&part, &mut file);
        recording.flush(&mut file);
    }
    if ends {
        recording.finish(&mut file);
    }
    let mut tags = Vec::new();
    recording.tags(&[Pause { start: Duration::from_millis(1_500), end: Duration::from_secs(2) }], &mut tags);
    file[recording.tags_at() as usize..][..tags.len()].copy_from_slice(&tags);
    file
}

/// Gone with the test.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("strowger-ogg-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder { path }
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let place = self.path.join(name);
        std::fs::write(&place, bytes).unwrap();
        place
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// A tone that swells and fades, so that it is like itself at one time only.
fn tone(rate: u32, frequency: u32, samples: usize) -> Vec<i16> {
    let turn = |n: usize, hertz: f64| (n as f64 / f64::from(rate) * hertz * core::f64::consts::TAU).sin();
    (0..samples).map(|n| (8_000.0 * turn(n, frequency.into()) * (1.2 + turn(n, 1.7))) as i16).collect()
}

fn likeness(one: &[i16], other: &[i16]) -> f64 {
    let product =
        |a: &[i16], b: &[i16]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    product(one, other) / (product(one, one) * product(other, other)).sqrt()
}
