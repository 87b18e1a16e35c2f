//! Clips from files of our own and from a server of our own.

use super::*;
use codec::coder::EncoderSettings;
use codec::{ogg, wav};
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[test]
fn files_are_loaded_at_their_rate_or_the_next_higher_one() {
    let folder = Folder::new("rates");
    for (rate, wanted) in [
        (8_000, 8_000),
        (12_000, 12_000),
        (16_000, 16_000),
        (24_000, 24_000),
        (32_000, 32_000),
        (48_000, 48_000),
        (11_025, 12_000),
        (22_050, 24_000),
        (44_100, 48_000),
        (96_000, 48_000),
        (7_999, 8_000),
    ] {
        folder.put("a.wav", &wav_file(rate, &tone(rate, rate as usize)));
        let clip = folder.load("a.wav").unwrap();
        assert_eq!(clip.rate, wanted);
        let second = clip.samples.len() as i64 - i64::from(wanted);
        assert!(second.abs() <= 150, "{} samples from {rate} Hz", clip.samples.len());
        let likeness = likeness(&clip.samples, &tone(wanted, wanted as usize));
        // 7,999 Hz are taken for 8,000, so that a second ends a twentieth of a turn beside.
        assert!(likeness > 0.98, "{likeness} from {rate} Hz");
    }
}

#[test]
fn sounds_come_from_bytes_and_from_whole_paths_below_the_folder() {
    let folder = Folder::new("bytes");
    let clips = || Clips::new(ClipsConfig::new(Some(folder.path.clone())), Clock::start());
    let pcm = tone(8_000, 8_000);
    let clip = run(clips().decode(wav_file(8_000, &pcm))).unwrap();
    assert_eq!((clip.rate, &clip.samples[..]), (8_000, &pcm[..]));
    assert_eq!(run(clips().decode(opus_file(16_000, &tone(16_000, 16_000)))).unwrap().rate, 16_000);
    assert!(matches!(run(clips().decode(b"no sound".to_vec())), Err(ClipError::NotSound(_))));
    let short = ClipsConfig { file_max: 1_000, ..ClipsConfig::new(None) };
    let long = run(Clips::new(short, Clock::start()).decode(wav_file(8_000, &pcm)));
    assert_eq!(long.unwrap_err(), ClipError::TooLong);
    folder.put("in/a.wav", &wav_file(8_000, &pcm));
    let whole = folder.path.join("in/a.wav");
    for path in ["in/a.wav", whole.to_str().unwrap()] {
        assert_eq!(run(clips().load_file(path)).unwrap().samples.len(), 8_000, "{path}");
    }
    let outside = folder.path.join("../a.wav");
    for path in ["/etc/hostname", outside.to_str().unwrap(), "http://127.0.0.1:9/a.wav"] {
        assert_eq!(run(clips().load_file(path)).unwrap_err(), ClipError::NotAllowed, "{path}");
    }
}

#[test]
fn opus_is_known_by_its_bytes_and_decoded_at_the_rate_that_was_encoded() {
    let folder = Folder::new("opus");
    for rate in [8_000, 16_000, 48_000] {
        folder.put("greeting.wav", &opus_file(rate, &tone(rate, rate as usize)));
        let clip = folder.load("greeting.wav").unwrap();
        assert_eq!((clip.rate, clip.samples.len()), (rate, rate as usize));
        let likeness = likeness(&clip.samples, &tone(rate, rate as usize));
        assert!(likeness > 0.9, "{likeness} at {rate} Hz");
    }
}

#[test]
fn only_files_below_the_folder_are_sounds() {
    let folder = Folder::new("paths");
    folder.put("en/hello.wav", &wav_file(8_000, &[1, 2, 3]));
    assert_eq!(folder.load("en/hello.wav").unwrap().samples[..], [1, 2, 3]);
    let outside = Folder::new("paths-outside");
    outside.put("secret.wav", &wav_file(8_000, &[9]));
    std::os::unix::fs::symlink(outside.path.join("secret.wav"), folder.path.join("link.wav")).unwrap();
    std::os::unix::fs::symlink("en/hello.wav", folder.path.join("inner.wav")).unwrap();
    assert_eq!(folder.load("inner.wav").unwrap().samples[..], [1, 2, 3]);
    let secret = outside.path.join("secret.wav");
    for path in
        ["../paths-outside/secret.wav", secret.to_str().unwrap(), "", "./en", "en/../x", "a\0", "link.wav"]
    {
        assert_eq!(folder.load(path).unwrap_err(), ClipError::NotAllowed, "{path:?}");
    }
    for path in ["en/bye.wav", "en", "en/hello.wav/x"] {
        assert_eq!(folder.load(path).unwrap_err(), ClipError::NotFound, "{path}");
    }
    for url in ["ftp://host/a.wav", "file:///etc/passwd", "http://"] {
        assert_eq!(folder.load(url).unwrap_err(), ClipError::NotAllowed, "{url}");
    }
    let none = Clips::new(ClipsConfig::new(None), Clock::start());
    assert_eq!(run(none.load("en/hello.wav")).unwrap_err(), ClipError::NotAllowed);
}

#[test]
fn what_is_no_sound_or_too_long_is_told() {
    let folder = Folder::new("bad");
    folder.put("text.wav", b"hello");
    folder.put("empty.wav", &wav_file(8_000, &[]));
    folder.put("cut.ogg", &opus_file(8_000, &[0; 8_000])[..100]);
    folder.put("long.wav", &wav_file(8_000, &[0; 8_001]));
    folder.put("low.wav", &wav_file(5_000, &[0; 5_001]));
    folder.put("long.ogg", &opus_file(8_000, &[0; 8_001]));
    folder.put("large.wav", &wav_file(8_000, &vec![0; 60_000]));
    for name in ["text.wav", "empty.wav", "cut.ogg"] {
        let why = folder.load(name).unwrap_err();
        assert!(matches!(&why, ClipError::NotSound(_)), "{name}: {why}");
    }
    let mut config = ClipsConfig::new(Some(folder.path.clone()));
    config.length_max = Duration::from_secs(1);
    config.file_max = 100_000;
    let clips = Clips::new(config, Clock::start());
    for name in ["long.wav", "low.wav", "long.ogg", "large.wav"] {
        assert_eq!(run(clips.load(name)).unwrap_err(), ClipError::TooLong, "{name}");
    }
    folder.put("long.wav", &wav_file(8_000, &[0; 8_000]));
    assert_eq!(run(clips.load("long.wav")).unwrap().samples.len(), 8_000);
}

#[test]
fn a_clip_is_decoded_once_until_its_file_changes() {
    let folder = Folder::new("kept");
    folder.put("a.wav", &wav_file(8_000, &[1]));
    let clips = Clips::new(ClipsConfig::new(Some(folder.path.clone())), Clock::start());
    let first = run(clips.load("a.wav")).unwrap();
    assert_eq!(run(clips.load("a.wav")).unwrap(), first, "the same memory");
    folder.put("a.wav", &wav_file(8_000, &[1, 2]));
    assert_eq!(run(clips.load("a.wav")).unwrap().samples[..], [1, 2]);
    std::fs::remove_file(folder.path.join("a.wav")).unwrap();
    assert_eq!(run(clips.load("a.wav")).unwrap_err(), ClipError::NotFound);
}

#[test]
fn what_is_kept_is_bounded_and_the_longest_unused_goes_first() {
    let clip = |len: usize| Clip { rate: 8_000, samples: vec![0; len].into() };
    let stamp = Stamp::Fetched(Instant::default());
    let mut kept = Kept::default();
    for name in ["a", "b", "c"] {
        kept.keep(name, stamp, &clip(100), 700);
    }
    assert!(kept.find("a").is_some());
    kept.keep("d", stamp, &clip(100), 700);
    let names = |kept: &Kept| kept.clips.keys().cloned().collect::<String>();
    assert_eq!((names(&kept), kept.bytes), ("acd".to_owned(), 600));
    kept.keep("a", stamp, &clip(200), 700);
    assert_eq!((names(&kept), kept.bytes), ("ad".to_owned(), 600));
    kept.keep("e", stamp, &clip(400), 700);
    assert_eq!((names(&kept), kept.bytes), (String::new(), 0), "larger than all that is kept");
}

#[test]
fn urls_are_fetched_kept_and_asked_again() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1_000];
                let len = stream.read(&mut request).await.unwrap();
                let (status, body) = match &request[..len] {
                    request if request.starts_with(b"GET /a.wav ") => ("200 OK", wav_file(8_000, &[1, 2])),
                    request if request.starts_with(b"GET /long ") => ("200 OK", vec![0; 3_000]),
                    request if request.starts_with(b"GET /busy ") => ("503 Busy", Vec::new()),
                    _ => ("404 Not Found", Vec::new()),
                };
                seen.fetch_add(1, Ordering::Relaxed);
                let len = body.len();
                let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(&body).await.unwrap();
            }
        });
        let mut config = ClipsConfig::new(None);
        config.file_max = 2_000;
        let clips = Clips::new(config.clone(), Clock::start());
        let url = format!("{host}/a.wav");
        let first = clips.load(&url).await.unwrap();
        assert_eq!(first.samples[..], [1, 2]);
        assert_eq!((clips.load(&url).await.unwrap(), asked.load(Ordering::Relaxed)), (first, 1));
        let error = async |path: &str| clips.load(&format!("{host}{path}")).await.unwrap_err();
        assert_eq!(error("/none").await, ClipError::NotFound);
        assert_eq!(error("/long").await, ClipError::TooLong);
        assert_eq!(error("/busy").await, ClipError::Unreachable("the server answered 503".to_owned()));
        config.fetched_keep = Duration::ZERO;
        let forgetful = Clips::new(config, Clock::start());
        let before = asked.load(Ordering::Relaxed);
        forgetful.load(&url).await.unwrap();
        forgetful.load(&url).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), before + 2);
    });
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// Sounds for one test, gone with it.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("strowger-clips-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Folder { path }
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let place = self.path.join(name);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, bytes).unwrap();
    }

    fn load(&self, source: &str) -> Result<Clip, ClipError> {
        run(Clips::new(ClipsConfig::new(Some(self.path.clone())), Clock::start()).load(source))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn wav_file(rate: u32, pcm: &[i16]) -> Vec<u8> {
    let mut file = wav::header(rate, 1, 2 * pcm.len() as u64, 0).to_vec();
    pcm.iter().for_each(|sample| file.extend_from_slice(&sample.to_le_bytes()));
    file
}

fn opus_file(rate: u32, pcm: &[i16]) -> Vec<u8> {
    let format = Format { name: "opus", clock: 48_000, channels: 2, fmtp: "" };
    let opus = registry::find(&format).expect("Opus is a codec of ours");
    let encoder = opus.encoder(&format, EncoderSettings { rate, complexity: 5 });
    let mut recording = ogg::Recording::new(1, rate, vec![encoder]);
    let mut file = Vec::new();
    recording.begin(&mut file);
    recording.push(&[pcm], &mut file);
    recording.finish(&mut file);
    file
}

/// 440 Hz that swells once.
fn tone(rate: u32, samples: usize) -> Vec<i16> {
    let turn = |n: usize, hertz: f64| (n as f64 / f64::from(rate) * hertz * core::f64::consts::TAU).sin();
    (0..samples).map(|n| (8_000.0 * turn(n, 440.0) * turn(n, 0.5)) as i16).collect()
}

fn likeness(one: &[i16], other: &[i16]) -> f64 {
    let product =
        |a: &[i16], b: &[i16]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    product(one, other) / (product(one, one) * product(other, other)).sqrt()
}
