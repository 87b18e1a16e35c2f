//! Sounds to be played: found below one folder or fetched by HTTP, decoded off the shards, and kept for a while. WAV and
//! Ogg-Opus, known by their first bytes, whatever they are called.

use base::{Clock, Duration, Instant};
use codec::coder::Format;
use codec::ogg::{BadOgg, OpusFile};
use codec::wav::{BadWav, Wav};
use codec::{registry, resample};
use command::Clip;
use core::fmt;
use http_out::{Client, Failed, Limits, Url};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use tokio::sync::Semaphore;

/// What clips may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipsConfig {
    /// Sounds that are named by path are below it; without one there are none.
    pub folder: Option<PathBuf>,
    /// Octets of a file, or of what a server sends.
    pub file_max: usize,
    /// Octets of samples of one clip.
    pub clip_max: usize,
    /// How long a clip may sound.
    pub length_max: Duration,
    /// Octets of samples that are kept after they have been used, over all clips.
    pub kept_max: usize,
    /// How long what a server sent is used before it is asked again. Files are looked at each time.
    pub fetched_keep: Duration,
    /// How long a server may take.
    pub deadline: Duration,
}

impl ClipsConfig {
    /// 128 MiB a file, 64 MiB or 30 min a clip, 256 MiB kept, 5 min between two fetches, 10 s for one.
    pub fn new(folder: Option<PathBuf>) -> Self {
        ClipsConfig {
            folder,
            file_max: 128 << 20,
            clip_max: 64 << 20,
            length_max: Duration::from_secs(30 * 60),
            kept_max: 256 << 20,
            fetched_keep: Duration::from_secs(5 * 60),
            deadline: Duration::from_secs(10),
        }
    }
}

/// Loads clips; one for the whole process. Must be used on a tokio runtime.
pub struct Clips {
    config: ClipsConfig,
    clock: Clock,
    client: Client,
    kept: Mutex<Kept>,
    /// Fetches at once, and decodings at once: each may hold a whole file.
    fetching: Semaphore,
    decoding: Semaphore,
}

/// Why there is no such clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClipError {
    /// No such file; or the server said so.
    NotFound,
    /// The path leads out of the folder, there is no folder, or the file may not be read.
    NotAllowed,
    /// The server gave nothing: why, in words.
    Unreachable(String),
    /// No sound that can be read: why, in words.
    NotSound(String),
    /// Longer, or larger, than clips may be.
    TooLong,
}

impl fmt::Display for ClipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClipError::NotFound => f.write_str("there is no such sound"),
            ClipError::NotAllowed => {
                f.write_str("sounds are files below the folder of sounds, or http:// URLs")
            }
            ClipError::Unreachable(why) => write!(f, "the sound cannot be fetched: {why}"),
            ClipError::NotSound(why) => write!(f, "the sound cannot be read: {why}"),
            ClipError::TooLong => f.write_str("the sound is too long"),
        }
    }
}

impl ClipError {
    /// The same in a few fixed words.
    pub fn in_short(&self) -> &'static str {
        match self {
            ClipError::NotFound => "there is no such sound",
            ClipError::NotAllowed => "sounds are files below the folder of sounds",
            ClipError::Unreachable(_) => "the sound cannot be fetched",
            ClipError::NotSound(_) => "the sound cannot be read",
            ClipError::TooLong => "the sound is too long",
        }
    }
}

impl core::error::Error for ClipError {}

impl From<io::Error> for ClipError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ClipError::NotFound,
            io::ErrorKind::PermissionDenied => ClipError::NotAllowed,
            _ => ClipError::NotSound(error.to_string()),
        }
    }
}

impl From<BadWav> for ClipError {
    fn from(bad: BadWav) -> Self {
        ClipError::NotSound(bad.to_string())
    }
}

impl From<BadOgg> for ClipError {
    fn from(bad: BadOgg) -> Self {
        match bad {
            BadOgg::TooLong => ClipError::TooLong,
            _ => ClipError::NotSound(bad.to_string()),
        }
    }
}

/// Files that are decoded at once: each takes a CPU.
const DECODING: usize = 2;
/// Servers that are asked at once: each may send a whole file.
const FETCHING: usize = 4;

impl Clips {
    /// Without a clip.
    pub fn new(config: ClipsConfig, clock: Clock) -> Self {
        let limits = Limits { reply_max: config.file_max, ..Limits::default() };
        Clips {
            client: Client::new(limits),
            config,
            clock,
            kept: Mutex::default(),
            fetching: Semaphore::new(FETCHING),
            decoding: Semaphore::new(DECODING),
        }
    }

    /// The sound at an `http://` URL, or in a file whose path below the folder of sounds is given. At its own rate if
    /// that is one of the engine's, else at the next higher one.
    ///
    /// # Errors
    /// There is none that can be played.
    pub async fn load(&self, source: &str) -> Result<Clip, ClipError> {
        if source.contains("://") { self.fetch(source).await } else { self.open(source).await }
    }

    /// The sound in a file below the folder of sounds, by its path there or by its whole path.
    ///
    /// # Errors
    /// There is none that can be played.
    pub async fn load_file(&self, path: &str) -> Result<Clip, ClipError> {
        let folder = self.config.folder.as_deref().ok_or(ClipError::NotAllowed)?;
        let whole = Path::new(path);
        if !whole.is_absolute() {
            // It looks like a name with a folder, and nothing is fetched for NG.
            let is_url = path.contains("://");
            return if is_url { Err(ClipError::NotAllowed) } else { self.open(path).await };
        }
        // Without links, so that `..` is seen by `open`; it looks at links, too.
        let folder = std::path::absolute(folder)?;
        let below = whole.strip_prefix(folder).map_err(|_| ClipError::NotAllowed)?;
        self.open(below.to_str().ok_or(ClipError::NotAllowed)?).await
    }

    /// The sound in these bytes of a file.
    ///
    /// # Errors
    /// They are none that can be played.
    pub async fn decode(&self, bytes: Vec<u8>) -> Result<Clip, ClipError> {
        if bytes.len() > self.config.file_max {
            return Err(ClipError::TooLong);
        }
        let _turn = self.decoding.acquire().await.expect("it is never closed");
        let config = self.config.clone();
        off_the_runtime(move || decode(&bytes, &config)).await
    }

    async fn open(&self, source: &str) -> Result<Clip, ClipError> {
        let folder = self.config.folder.clone().ok_or(ClipError::NotAllowed)?;
        let path = PathBuf::from(source);
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        if source.is_empty() || source.contains('\0') || !plain {
            return Err(ClipError::NotAllowed);
        }
        let _turn = self.decoding.acquire().await.expect("it is never closed");
        let known = self.kept().find(source);
        let config = self.config.clone();
        let found = off_the_runtime(move || {
            let (mut file, stamp) = locate(&folder, &path)?;
            if let Some((known, clip)) = known
                && known == stamp
            {
                return Ok((stamp, clip));
            }
            let bytes = read(&mut file, config.file_max)?;
            Ok((stamp, decode(&bytes, &config)?))
        });
        let (stamp, clip) = found.await?;
        self.kept().keep(source, stamp, &clip, self.config.kept_max);
        Ok(clip)
    }

    async fn fetch(&self, source: &str) -> Result<Clip, ClipError> {
        let url: Url = source.parse().map_err(|_| ClipError::NotAllowed)?;
        let _place = self.fetching.acquire().await.expect("it is never closed");
        let now = read_clock(&self.clock);
        if let Some((Stamp::Fetched(at), clip)) = self.kept().find(source)
            && now.since(at) < self.config.fetched_keep
        {
            return Ok(clip);
        }
        let accept = [("accept", "audio/wav, audio/ogg, */*;q=0.1")];
        let reply =
            self.client.get(&url, &accept, self.config.deadline).await.map_err(|failed| match failed {
                Failed::TooLong => ClipError::TooLong,
                failed => ClipError::Unreachable(failed.to_string()),
            })?;
        match reply.status {
            200 => {}
            404 | 410 => return Err(ClipError::NotFound),
            status => return Err(ClipError::Unreachable(format!("the server answered {status}"))),
        }
        let _turn = self.decoding.acquire().await.expect("it is never closed");
        let config = self.config.clone();
        let clip = off_the_runtime(move || decode(&reply.body, &config)).await?;
        self.kept().keep(source, Stamp::Fetched(now), &clip, self.config.kept_max);
        Ok(clip)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        // Its map is whole between any two calls.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Clips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clips").field("config", &self.config).finish_non_exhaustive()
    }
}

/// By what a clip is known to be the same as before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stamp {
    File { changed: Option<SystemTime>, len: u64 },
    Fetched(Instant),
}

/// Clips that were used, the longest unused of which goes first.
#[derive(Default)]
struct Kept {
    clips: BTreeMap<String, KeptClip>,
    bytes: usize,
    uses: u64,
}

struct KeptClip {
    stamp: Stamp,
    clip: Clip,
    used: u64,
}

/// Clips that are kept at most, however short.
const KEPT_MAX: usize = 10_000;

impl Kept {
    fn find(&mut self, source: &str) -> Option<(Stamp, Clip)> {
        self.uses += 1;
        let known = self.clips.get_mut(source)?;
        known.used = self.uses;
        Some((known.stamp, known.clip.clone()))
    }

    fn keep(&mut self, source: &str, stamp: Stamp, clip: &Clip, bytes_max: usize) {
        self.uses += 1;
        let kept = KeptClip { stamp, clip: clip.clone(), used: self.uses };
        self.bytes += len(clip);
        if let Some(before) = self.clips.insert(source.to_owned(), kept) {
            self.bytes -= len(&before.clip);
        }
        while self.bytes > bytes_max || self.clips.len() > KEPT_MAX {
            let oldest =
                self.clips.iter().min_by_key(|(_, kept)| kept.used).map(|(source, _)| source.clone());
            let Some(gone) = oldest.and_then(|source| self.clips.remove(&source)) else { return };
            self.bytes -= len(&gone.clip);
        }
    }
}

/// Octets of its samples.
fn len(clip: &Clip) -> usize {
    size_of_val(&*clip.samples)
}

/// Opens a file below the folder, also by links as long as these stay in it.
fn locate(folder: &Path, path: &Path) -> Result<(File, Stamp), ClipError> {
    let place = folder.join(path).canonicalize()?;
    if !place.starts_with(folder.canonicalize()?) {
        return Err(ClipError::NotAllowed);
    }
    let about = fs::metadata(&place)?;
    // A pipe or device might never end, or begin.
    if !about.is_file() {
        return Err(ClipError::NotFound);
    }
    let stamp = Stamp::File { changed: about.modified().ok(), len: about.len() };
    Ok((File::open(place)?, stamp))
}

fn read(file: &mut File, len_max: usize) -> Result<Vec<u8>, ClipError> {
    let mut bytes = Vec::new();
    file.take(len_max as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > len_max { Err(ClipError::TooLong) } else { Ok(bytes) }
}

/// From the bytes of a file to samples at a rate of the engine.
fn decode(bytes: &[u8], config: &ClipsConfig) -> Result<Clip, ClipError> {
    let (rate, pcm) =
        if bytes.starts_with(b"OggS") { decode_ogg(bytes, config)? } else { decode_wav(bytes, config)? };
    if pcm.is_empty() {
        return Err(ClipError::NotSound("it is empty".to_owned()));
    }
    let wanted = rate_for(rate);
    let samples = if wanted == rate { pcm } else { resample::clip(rounded(rate), wanted, &pcm) };
    Ok(Clip { rate: wanted, samples: samples.into() })
}

fn decode_wav(bytes: &[u8], config: &ClipsConfig) -> Result<(u32, Vec<i16>), ClipError> {
    let wav = Wav::parse(bytes)?;
    let rate = wav.rate();
    let wanted = rate_for(rate);
    let becomes = wav.frames() as u64 * u64::from(wanted) / u64::from(rate);
    if becomes > samples_max(wanted, config) as u64 || wav.frames() > config.clip_max {
        return Err(ClipError::TooLong);
    }
    let mut pcm = vec![0; wav.frames()];
    wav.mono(0, &mut pcm);
    Ok((rate, pcm))
}

fn decode_ogg(bytes: &[u8], config: &ClipsConfig) -> Result<(u32, Vec<i16>), ClipError> {
    let file = OpusFile::parse(bytes)?;
    let format = Format { name: "opus", clock: 48_000, channels: 2, fmtp: "" };
    let Some(opus) = registry::find(&format) else {
        return Err(ClipError::NotSound("this build has no Opus".to_owned()));
    };
    let mut decoders: Vec<_> = (0..file.streams()).map(|_| opus.decoder(&format, file.rate())).collect();
    let rate = decoders.first().map_or(file.rate(), |decoder| decoder.rate());
    Ok((rate, file.mono(&mut decoders, samples_max(rate, config))?))
}

/// Samples of a clip at most.
fn samples_max(rate: u32, config: &ClipsConfig) -> usize {
    let by_length = config.length_max.as_millis() * u128::from(rate) / 1_000;
    (config.clip_max / size_of::<i16>()).min(usize::try_from(by_length).unwrap_or(usize::MAX))
}

/// The narrowest rate of the engine that holds all of it, if any does.
fn rate_for(rate: u32) -> u32 {
    resample::RATES.into_iter().find(|known| *known >= rate).unwrap_or(48_000)
}

/// Odd rates as the nearest that the resampler has a small table for; nobody hears the difference.
fn rounded(rate: u32) -> u32 {
    rate.next_multiple_of(25)
}

/// Runs what takes a CPU, or waits for a disk, on a thread for such.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ClipError> + Send + 'static,
) -> Result<T, ClipError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(ClipError::NotSound("reading it failed".to_owned())))
}

#[expect(clippy::disallowed_methods, reason = "control reads the clock")]
fn read_clock(clock: &Clock) -> Instant {
    clock.now().mono
}

#[cfg(test)]
mod tests;
