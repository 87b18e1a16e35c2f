//! RTP in any codec, sent on time to a converter, and what comes of it. What arrives is another stream than the one
//! that was sent, so that packets belong together by their time stamps.

use crate::peers::GENERATOR;
use crate::plane::payload;
use anyhow::Result;
use codec::coder::{EncoderSettings, Format, PAYLOAD_MAX};
use codec::registry;
use loadtest::figures::Times;
use loadtest::sys::{self, Epoll, Inbox, Target};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::rc::Rc;

/// Payloads of 20 ms, one after the other, again from the first.
pub struct Recording {
    payloads: Vec<Vec<u8>>,
    payload_type: u8,
    /// Ticks of its clock a packet.
    step: u32,
}

impl Recording {
    /// Speech-like audio in a codec.
    pub fn speech(name: &str) -> Recording {
        let payload = payload(name);
        let channels = if name == "opus" { 2 } else { 1 };
        let format = Format { name, clock: payload.clock, channels, fmtp: "" };
        let codec = registry::find(&format).expect("a codec of ours");
        let rate = if name == "l16" { 32_000 } else { 8_000 };
        let mut encoder = codec.encoder(&format, EncoderSettings { rate, complexity: 5 });
        let mut pcm = loadtest::speech::synthesize(5, 10);
        if encoder.rate() != 8_000 {
            let mut wide = vec![0; pcm.len() * encoder.rate() as usize / 8_000];
            let mut resampler = codec::resample::Resampler::new(8_000, encoder.rate());
            let len = encoder.rate() as usize / 50;
            for (from, to) in pcm.chunks_exact(160).zip(wide.chunks_exact_mut(len)) {
                resampler.process(from, to);
            }
            pcm = wide;
        }
        let mut coded = [0; PAYLOAD_MAX];
        let payloads = pcm.chunks_exact(encoder.rate() as usize / 50).map(|frame| {
            let len = encoder.encode(frame, &mut coded);
            coded[..len].to_vec()
        });
        Recording { payloads: payloads.collect(), payload_type: payload.number, step: payload.clock / 50 }
    }

    /// A tone in µ-law, of a frequency that is a multiple of 50 Hz.
    pub fn tone(hertz: f64, amplitude: f64) -> Recording {
        let sample = |n: usize| amplitude * (n as f64 * hertz * std::f64::consts::TAU / 8_000.0).sin();
        let code = |n| loadtest::speech::Codec::Pcmu.encode(sample(n) as i16);
        Recording { payloads: vec![(0..160).map(code).collect()], payload_type: 0, step: 160 }
    }

    /// With the payload type that the far side wants.
    pub fn numbered(mut self, payload_type: u8) -> Recording {
        self.payload_type = payload_type;
        self
    }
}

/// Sockets of many parties, each of which says a recording and hears what comes.
pub struct Streams {
    parties: Vec<Party>,
    epoll: Epoll,
    /// When each party that is sent to gets its next packet: all have the same period.
    order: Vec<usize>,
    lateness: Times,
}

/// One party.
pub struct Party {
    socket: UdpSocket,
    /// Whom it hears: an index, itself in a room.
    source: usize,
    target: Option<Target>,
    says: Rc<Recording>,
    ssrc: u32,
    sequence: u16,
    sent: u64,
    /// When the last packets left, by number.
    sent_at: [u64; KEPT],
    /// Time stamp of the first that came, and the number of the packet that it came of.
    first: Option<(u32, u64)>,
    last: u64,
    /// The last packet.
    pub heard: Vec<u8>,
    /// What came, in order, where it is kept.
    pub kept: Option<Vec<Kept>>,
    received: u64,
    bytes: u64,
    duplicates: u64,
}

/// A packet that came.
pub struct Kept {
    /// By its time stamp, in packets.
    pub number: u64,
    /// When the kernel had it.
    pub at_ns: u64,
    pub payload: Vec<u8>,
}

/// What was heard in the measured time.
#[derive(Default)]
pub struct Outcome {
    pub latency: Times,
    pub lateness: Times,
    pub received: u64,
    /// Packets that did not come between the first and the last that did, and those of parties that heard nothing.
    pub lost: u64,
    /// Kilobits of payload a second, by party: one of the first kind (A) and one of the second.
    pub kilobits: [f64; 2],
}

const KEPT: usize = 64;
const PERIOD_NS: u64 = 20_000_000;

impl Streams {
    /// `says` of each party, and how many calls; sockets are at `ips`.
    pub fn bind(ips: [IpAddr; 2], says: &[Rc<Recording>], calls: usize) -> Result<Streams> {
        let epoll = Epoll::new()?;
        let mut parties = Vec::new();
        for _ in 0..calls {
            let first = parties.len();
            for (side, says) in says.iter().enumerate() {
                let socket = sys::udp_socket((ips[side % 2], 0).into(), 256 << 10)?;
                epoll.add(&socket, parties.len() as u64)?;
                parties.push(Party {
                    socket,
                    // The other one of a call of two.
                    source: first + (side + 1) % 2,
                    target: None,
                    says: Rc::clone(says),
                    ssrc: 0x5000_0000 + parties.len() as u32,
                    sequence: 0,
                    sent: 0,
                    sent_at: [0; KEPT],
                    first: None,
                    last: 0,
                    heard: Vec::new(),
                    kept: None,
                    received: 0,
                    bytes: 0,
                    duplicates: 0,
                });
            }
        }
        if says.len() == 1 {
            parties.iter_mut().enumerate().for_each(|(n, party)| party.source = n);
        }
        let order = (0..parties.len()).collect();
        Ok(Streams { parties, epoll, order, lateness: Times::default() })
    }

    /// Where the parties receive, by call.
    pub fn addresses(&self, a_call: usize) -> Result<Vec<Vec<SocketAddr>>> {
        let all: Result<Vec<_>, _> = self.parties.iter().map(|party| party.socket.local_addr()).collect();
        Ok(all?.chunks(a_call).map(<[_]>::to_vec).collect())
    }

    /// Where the parties send, in the same order.
    pub fn aim(&mut self, ports: impl IntoIterator<Item = SocketAddr>) {
        for (party, port) in self.parties.iter_mut().zip(ports) {
            party.target = Some(port.into());
        }
    }

    pub fn party(&mut self, index: usize) -> &mut Party {
        &mut self.parties[index]
    }

    /// Says another recording from now on.
    pub fn say(&mut self, party: usize, recording: Recording) {
        self.parties[party].says = Rc::new(recording);
    }

    /// Says other recordings from now on, by side.
    pub fn say_all(&mut self, says: &[Rc<Recording>]) {
        for (n, party) in self.parties.iter_mut().enumerate() {
            party.says = Rc::clone(&says[n % says.len()]);
        }
    }

    /// Those of both; all of them of calls of two.
    pub fn join(mut self, other: Streams) -> Streams {
        for mut party in other.parties {
            party.source = self.parties.len() ^ 1;
            // The other one keeps watching; watching anew is what moves the number.
            let _ = self.epoll.add(&party.socket, self.parties.len() as u64);
            self.order.push(self.parties.len());
            self.parties.push(party);
        }
        self
    }

    /// All talk for `warm_up`, then for `seconds`, which are measured; `at` is called at the beginning (`false`) and at
    /// the end (`true`) of what is measured.
    pub fn talk(&mut self, warm_up: f64, seconds: f64, mut at: impl FnMut(bool)) -> Outcome {
        let ns = |seconds: f64| (seconds * 1e9) as u64;
        sys::sharpen_thread(crate::peers::tested().map(|_| GENERATOR));
        let begin = sys::real_ns() + 1_000_000;
        let (measured, end) = (begin + ns(warm_up), begin + ns(warm_up + seconds));
        let mut outcome = Outcome::default();
        let mut inbox = Inbox::new(64, 2048);
        let mut ready = Vec::with_capacity(64);
        let (mut turn, mut next) = (0u64, 0);
        let mut measuring = false;
        let count = self.order.len() as u64;
        let mut before = [(0, 0); 2];
        loop {
            let now = sys::real_ns();
            if !measuring && now >= measured {
                measuring = true;
                outcome.latency.reset();
                self.lateness.reset();
                before = self.totals();
                at(false);
            }
            if now >= end {
                break;
            }
            // All within 20 ms, one after the other.
            let mut due = begin + turn * PERIOD_NS + next * PERIOD_NS / count;
            for _ in 0..32 {
                if due > now {
                    break;
                }
                let party = self.order[next as usize];
                self.parties[party].send(&mut self.lateness, due);
                next += 1;
                if next == count {
                    (turn, next) = (turn + 1, 0);
                }
                due = begin + turn * PERIOD_NS + next * PERIOD_NS / count;
            }
            self.receive(&mut inbox, &mut ready, &mut outcome.latency);
            let now = sys::real_ns();
            if due > now + 100_000 && ready.is_empty() {
                sys::sleep_until_real(due.min(now + 500_000));
            }
        }
        at(true);
        let after = self.totals();
        let linger = sys::real_ns() + 300_000_000;
        let mut late = Times::default();
        while sys::real_ns() < linger {
            self.receive(&mut inbox, &mut ready, &mut late);
            sys::sleep_until_real(sys::real_ns() + 1_000_000);
        }
        std::mem::swap(&mut outcome.lateness, &mut self.lateness);
        for side in 0..2 {
            let (packets, bytes) = (after[side].0 - before[side].0, after[side].1 - before[side].1);
            outcome.received += packets;
            outcome.kilobits[side] = bytes as f64 * 8.0 / 1e3 / (packets.max(1) as f64 / 50.0);
        }
        outcome.lost = self.parties.iter().map(Party::lost).sum();
        outcome
    }

    /// Packets and bytes that the parties of even and of odd numbers have heard.
    fn totals(&self) -> [(u64, u64); 2] {
        let mut totals = [(0, 0); 2];
        for (n, party) in self.parties.iter().enumerate() {
            totals[n % 2].0 += party.received;
            totals[n % 2].1 += party.bytes;
        }
        totals
    }

    fn receive(&mut self, inbox: &mut Inbox, ready: &mut Vec<u64>, latency: &mut Times) {
        self.epoll.wait(ready, 0);
        for number in ready.iter() {
            let number = *number as usize;
            let source = self.parties[number].source;
            let (sent, sent_at) = (self.parties[source].sent, self.parties[source].sent_at);
            let party = &mut self.parties[number];
            let Party { socket, heard, kept, first, last, received, bytes, duplicates, .. } = party;
            let _ = inbox.receive(socket, |datagram| {
                let packet = datagram.bytes;
                if packet.len() <= 12 || (192..=223).contains(&packet[1]) {
                    return; // RTCP
                }
                let stamp = u32::from_be_bytes([packet[4], packet[5], packet[6], packet[7]]);
                let step = match packet[1] & 0x7f {
                    ..=96 => 160,
                    97 => 640, // ours, L16
                    _ => 960,
                };
                let (first_stamp, first_number) = *first.get_or_insert((stamp, sent.saturating_sub(1)));
                let number = first_number + u64::from(stamp.wrapping_sub(first_stamp) / step);
                *duplicates += u64::from(number <= *last && *received > 0);
                *last = number.max(*last);
                *received += 1;
                *bytes += packet.len() as u64 - 12;
                heard.clear();
                heard.extend(packet);
                if let Some(kept) = kept {
                    kept.push(Kept { number, at_ns: datagram.arrived_ns, payload: packet[12..].to_vec() });
                }
                if sent > number && sent - number < KEPT as u64 {
                    latency.record(datagram.arrived_ns.saturating_sub(sent_at[number as usize % KEPT]));
                }
            });
        }
    }
}

impl Party {
    fn send(&mut self, lateness: &mut Times, due: u64) {
        let Some(target) = &self.target else { return };
        let says = &self.says;
        let start = self.ssrc as usize * 7; // not all say the same at once
        let payload = &says.payloads[(start + self.sent as usize) % says.payloads.len()];
        let mut packet = [0; 2048];
        packet[0] = 0x80;
        packet[1] = says.payload_type | if self.sent == 0 { 0x80 } else { 0 };
        packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&(self.sent as u32).wrapping_mul(says.step).to_be_bytes());
        packet[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        packet[12..12 + payload.len()].copy_from_slice(payload);
        let now = sys::real_ns();
        lateness.record(now.saturating_sub(due));
        self.sent_at[self.sent as usize % KEPT] = now;
        let _ = sys::send_to(&self.socket, &packet[..12 + payload.len()], target);
        self.sent += 1;
        self.sequence = self.sequence.wrapping_add(1);
    }

    fn lost(&self) -> u64 {
        match self.first {
            Some((_, first)) => (self.last - first + 1).saturating_sub(self.received - self.duplicates),
            None => self.sent,
        }
    }
}

/// What an Opus packet says of itself (RFC 6716 section 3.1): bandwidth and channels.
pub fn opus_says(packet: &[u8]) -> String {
    let Some(toc) = packet.get(12) else { return "-".into() };
    let mode = match toc >> 3 {
        0..=3 => "SILK narrow band",
        4..=7 => "SILK medium band",
        8..=11 => "SILK wide band",
        12..=13 => "hybrid super-wide band",
        14..=15 => "hybrid full band",
        16..=19 => "CELT narrow band",
        20..=23 => "CELT wide band",
        24..=27 => "CELT super-wide band",
        _ => "CELT full band",
    };
    format!("{mode}, {}", if toc & 4 == 0 { "mono" } else { "stereo" })
}
