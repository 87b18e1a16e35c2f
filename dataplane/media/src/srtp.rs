//! Encrypted media under one key: sealed when it goes, opened when it comes, in place (RFC 3711, 6188, 7714). Holds what
//! was sealed and seen of each stream; negotiates nothing and knows no source.

mod counter; // AES in counter mode
mod gcm; // AES-GCM
mod hmac; // HMAC-SHA1
mod derive; // session keys
mod window; // indices and what has been seen of them
mod lane; // one packet under one key

use crate::wire::rtcp::Compound;
use crate::wire::rtp::Rtp;
use command::{SdesKeys, Verdict};
use core::fmt;
use derive::Master;
use lane::{ENCRYPTED, Job, Lane};
use window::{Place, Window};

/// Bytes that sealing adds at most: RTCP's index, the longest identifier of a key, the longest tag.
pub const OVERHEAD_MAX: usize = 4 + MKI_MAX + gcm::LEN;

/// Bytes of a master key identifier at most (RFC 4568 section 6.1).
const MKI_MAX: usize = 128;

/// Streams that an [`Opener`] remembers; when there are more, the one that has been silent longest is forgotten.
pub const OPENED_MAX: usize = 8;

/// Streams that a [`Sealer`] takes: it forgets none.
pub const SEALED_MAX: usize = 16;

/// A key that is of another length than its suite asks, or whose identifier is longer than 128 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadKeys;

impl fmt::Display for BadKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key does not fit its suite")
    }
}

impl core::error::Error for BadKeys {}

/// Both lanes of one key.
struct Session {
    keys: SdesKeys,
    rtp: Lane,
    rtcp: Lane,
}

impl Session {
    fn new(keys: &SdesKeys) -> Result<Self, BadKeys> {
        let suite = keys.suite;
        let fits = keys.key.len() == suite.key_len() + suite.salt_len() && keys.mki.len() <= MKI_MAX;
        let (key, salt) = keys.key.split_at_checked(suite.key_len()).filter(|_| fits).ok_or(BadKeys)?;
        let master = Master::new(key, salt);
        let lane = |rtcp| Lane::new(suite, &master, rtcp).ok_or(BadKeys);
        Ok(Session { rtp: lane(false)?, rtcp: lane(true)?, keys: keys.clone() })
    }
}

/// Encrypts what we send. Never seals two packets with the same index of one stream.
pub struct Sealer {
    session: Session,
    /// The first `len` are in use; the one used last is `current`.
    streams: [Sealed; SEALED_MAX],
    len: usize,
    current: usize,
    /// The index that was used last for RTCP, of whatever stream.
    rtcp_index: u32,
}

#[derive(Clone, Copy, Default)]
struct Sealed {
    ssrc: u32,
    window: Window,
}

impl Sealer {
    /// Nothing has been sealed with these keys yet.
    ///
    /// # Errors
    /// [`BadKeys`].
    pub fn new(keys: &SdesKeys) -> Result<Self, BadKeys> {
        Ok(Sealer {
            session: Session::new(keys)?,
            streams: [Sealed::default(); SEALED_MAX],
            len: 0,
            current: 0,
            rtcp_index: 0,
        })
    }

    /// Whether this seals with just these keys: then it must go on, for it knows which indices are spent.
    pub fn same_key(&self, keys: &SdesKeys) -> bool {
        self.session.keys == *keys
    }

    /// Whether only one more stream can be sealed, and this is none of those that are.
    pub fn is_last_place(&self, ssrc: u32) -> bool {
        self.len + 1 >= SEALED_MAX && self.streams[..self.len].iter().all(|stream| stream.ssrc != ssrc)
    }

    /// Bytes that [`Sealer::seal_rtp`] adds.
    pub fn rtp_overhead(&self) -> usize {
        self.session.rtp.tag_len() + self.session.keys.mki.len()
    }

    /// Encrypts the RTP packet in the first `len` bytes of the buffer and returns its new length. A stream's first
    /// sequence number begins its roll-over counter at 0, so numbers of our own should begin below 2^15.
    ///
    /// # Errors
    /// The packet is left as it is: [`Verdict::Replayed`] if this number was sealed already: drop it.
    /// [`Verdict::NoKey`] if this key can seal no such number: too far behind what was sealed, as when a source begins
    /// anew under its old SSRC, or one stream too many: give it another SSRC, or make a sealer with a new key.
    /// [`Verdict::Oversize`] if the trailer does not fit the buffer. What [`Rtp::parse_sealed`] says.
    #[inline]
    pub fn seal_rtp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, Verdict> {
        let packet = buffer.get(..len).ok_or(Verdict::Oversize)?;
        let rtp = Rtp::parse_sealed(packet)?;
        let (header, clear) = (rtp.header(), len - rtp.payload().len());
        if buffer.len() - len < self.rtp_overhead() {
            return Err(Verdict::Oversize);
        }
        let stream = self.stream(header.ssrc)?;
        let index = stream.window.index(header.sequence).ok_or(Verdict::NoKey)?;
        match stream.window.place(index) {
            Place::Fresh => stream.window.note(index),
            Place::Known => return Err(Verdict::Replayed),
            Place::Behind => return Err(Verdict::NoKey),
        }
        let Session { keys, rtp, .. } = &self.session;
        let job = Job { ssrc: header.ssrc, index, word: None, mki: &keys.mki, clear };
        Ok(rtp.seal(&job, buffer, len))
    }

    /// Encrypts the RTCP packet in the first `len` bytes of the buffer and returns its new length.
    ///
    /// # Errors
    /// [`Verdict::NoKey`] after 2^31 packets: make a sealer with a new key. [`Verdict::Oversize`] if the trailer does
    /// not fit the buffer. What [`Compound::check_sealed`] says.
    pub fn seal_rtcp(&mut self, buffer: &mut [u8], len: usize) -> Result<usize, Verdict> {
        let packet = buffer.get(..len).ok_or(Verdict::Oversize)?;
        Compound::check_sealed(packet)?;
        let ssrc = rtcp_sender(packet)?;
        let Session { keys, rtcp, .. } = &self.session;
        if buffer.len() - len < 4 + keys.mki.len() + rtcp.tag_len() {
            return Err(Verdict::Oversize);
        }
        // One count for all streams; the first has 1, as elsewhere.
        let index = self.rtcp_index + 1;
        if index >= ENCRYPTED {
            return Err(Verdict::NoKey);
        }
        self.rtcp_index = index;
        let word = Some(index | ENCRYPTED);
        let job = Job { ssrc, index: index.into(), word, mki: &keys.mki, clear: RTCP_CLEAR };
        Ok(rtcp.seal(&job, buffer, len))
    }

    #[inline]
    fn stream(&mut self, ssrc: u32) -> Result<&mut Sealed, Verdict> {
        if self.len == 0 || self.streams[self.current].ssrc != ssrc {
            let known = self.streams[..self.len].iter().position(|stream| stream.ssrc == ssrc);
            self.current = match known {
                Some(place) => place,
                None if self.len == SEALED_MAX => return Err(Verdict::NoKey),
                None => {
                    self.streams[self.len].ssrc = ssrc;
                    self.len += 1;
                    self.len - 1
                }
            };
        }
        Ok(&mut self.streams[self.current])
    }
}

/// Decrypts what a peer sends. What does not authenticate changes nothing.
pub struct Opener {
    session: Session,
    /// The first `len` are in use; the one used last is `current`.
    streams: [Opened; OPENED_MAX],
    len: usize,
    current: usize,
    /// Counts the changes of `current`.
    turns: u64,
}

#[derive(Clone, Copy, Default)]
struct Opened {
    ssrc: u32,
    rtp: Window,
    rtcp: Window,
    /// When it became the current one last.
    turn: u64,
}

impl Opener {
    /// Nothing has been received under these keys yet.
    ///
    /// # Errors
    /// [`BadKeys`].
    pub fn new(keys: &SdesKeys) -> Result<Self, BadKeys> {
        Ok(Opener {
            session: Session::new(keys)?,
            streams: [Opened::default(); OPENED_MAX],
            len: 0,
            current: 0,
            turns: 0,
        })
    }

    /// Whether this opens with just these keys: then it goes on, with its roll-over counters and what it has seen.
    pub fn same_key(&self, keys: &SdesKeys) -> bool {
        self.session.keys == *keys
    }

    /// Decrypts an RTP packet and returns its new length.
    ///
    /// # Errors
    /// [`Verdict::AuthFailed`], [`Verdict::Replayed`] for what was seen already or is too far behind to be told,
    /// [`Verdict::NoKey`] if it names another master key, and what [`Rtp::parse_sealed`] says.
    #[inline]
    pub fn open_rtp(&mut self, packet: &mut [u8]) -> Result<usize, Verdict> {
        let Session { keys, rtp: lane, .. } = &self.session;
        let trailer = lane.tag_len() + keys.mki.len();
        let len = packet.len().checked_sub(trailer).ok_or(Verdict::Short)?;
        let rtp = Rtp::parse_sealed(&packet[..len])?;
        let (header, clear) = (rtp.header(), len - rtp.payload().len());
        let mki_at = if lane.is_aead() { len + lane.tag_len() } else { len };
        if packet[mki_at..mki_at + keys.mki.len()] != keys.mki {
            return Err(Verdict::NoKey);
        }
        let known = self.find(header.ssrc);
        let window = known.map_or(Window::default(), |place| self.streams[place].rtp);
        // A number from before the beginning belongs to a count that we never saw.
        let index = window.index(header.sequence).ok_or(Verdict::AuthFailed)?;
        if window.place(index) != Place::Fresh {
            return Err(Verdict::Replayed);
        }
        let job = Job { ssrc: header.ssrc, index, word: None, mki: &keys.mki, clear };
        if !lane.open(&job, packet, len) {
            return Err(Verdict::AuthFailed);
        }
        self.stream(known, header.ssrc).rtp.note(index);
        Ok(len)
    }

    /// Decrypts an RTCP packet, or checks one that is only authenticated, and returns its new length.
    ///
    /// # Errors
    /// As [`Opener::open_rtp`], and what [`Compound::check_sealed`] says.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Verdict> {
        let Session { keys, rtcp: lane, .. } = &self.session;
        let word_at = lane.word_at(packet.len(), &keys.mki).ok_or(Verdict::Short)?;
        let len =
            if lane.is_aead() { word_at.checked_sub(lane.tag_len()).ok_or(Verdict::Short)? } else { word_at };
        Compound::check_sealed(&packet[..len])?;
        let ssrc = rtcp_sender(&packet[..len])?;
        let word = crate::wire::rtcp::word(packet, word_at).ok_or(Verdict::Short)?;
        if packet[word_at + 4..word_at + 4 + keys.mki.len()] != keys.mki {
            return Err(Verdict::NoKey);
        }
        let known = self.find(ssrc);
        let window = known.map_or(Window::default(), |place| self.streams[place].rtcp);
        let index = u64::from(word & !ENCRYPTED);
        if window.place(index) != Place::Fresh {
            return Err(Verdict::Replayed);
        }
        let job = Job { ssrc, index, word: Some(word), mki: &keys.mki, clear: RTCP_CLEAR };
        if !lane.open(&job, packet, len) {
            return Err(Verdict::AuthFailed);
        }
        self.stream(known, ssrc).rtcp.note(index);
        Ok(len)
    }

    #[inline]
    fn find(&self, ssrc: u32) -> Option<usize> {
        if self.len > 0 && self.streams[self.current].ssrc == ssrc {
            return Some(self.current);
        }
        self.streams[..self.len].iter().position(|stream| stream.ssrc == ssrc)
    }

    /// The stream at a place, or a new one. Only for packets that have authenticated.
    #[inline]
    fn stream(&mut self, known: Option<usize>, ssrc: u32) -> &mut Opened {
        let place = known.unwrap_or_else(|| self.begin(ssrc));
        if place != self.current || known.is_none() {
            self.turns += 1;
            self.streams[self.current].turn = self.turns;
            self.turns += 1;
            self.streams[place].turn = self.turns;
            self.current = place;
        }
        &mut self.streams[place]
    }

    #[cold]
    fn begin(&mut self, ssrc: u32) -> usize {
        let place = if self.len < OPENED_MAX {
            self.len += 1;
            self.len - 1
        } else {
            let others = (0..OPENED_MAX).filter(|place| *place != self.current);
            others.min_by_key(|place| self.streams[*place].turn).unwrap_or(0)
        };
        self.streams[place] = Opened { ssrc, ..Opened::default() };
        place
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({:?})", self.session.keys)
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opener({:?})", self.session.keys)
    }
}

/// Bytes of an RTCP packet that are never encrypted.
const RTCP_CLEAR: usize = 8;

fn rtcp_sender(packet: &[u8]) -> Result<u32, Verdict> {
    crate::wire::rtcp::word(packet, 4).ok_or(Verdict::Short)
}

/// Compares in a time that does not tell where the first difference is.
#[inline]
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let different = one.iter().zip(other).fold(0, |all, (one, other)| all | (one ^ other));
    one.len() == other.len() && core::hint::black_box(different) == 0
}

#[cfg(test)]
mod tests;
