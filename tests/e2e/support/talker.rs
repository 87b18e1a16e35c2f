//! A phone's media with codecs and keys of its own: it speaks at the pace of a phone from a thread, keeps whatever comes
//! with the time of its coming, and decodes that when it is asked.

use super::wire::{Socket, Wire, rtp};
use super::{SOON, wait_for};
use codec::coder::{EncoderSettings, Format, PAYLOAD_MAX};
use codec::registry;
use command::SdesKeys;
use media::srtp::{Opener, Sealer};
use std::f64::consts::TAU;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// One phone's media.
pub struct Talker {
    pub wire: Wire,
    heard: Arc<Mutex<Vec<Packet>>>,
    reports: Arc<Mutex<Vec<Packet>>>,
    stop: Arc<AtomicBool>,
    speech: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
    ears: Vec<JoinHandle<()>>,
}

/// What has come: the bytes as they were on the wire.
#[derive(Clone, Debug)]
pub struct Packet {
    pub at: Instant,
    pub bytes: Vec<u8>,
}

impl Packet {
    pub fn payload_type(&self) -> u8 {
        self.bytes[1] & 0x7f
    }

    pub fn marker(&self) -> bool {
        self.bytes[1] & 0x80 != 0
    }

    pub fn sequence(&self) -> u16 {
        u16::from_be_bytes([self.bytes[2], self.bytes[3]])
    }

    pub fn timestamp(&self) -> u32 {
        u32::from_be_bytes([self.bytes[4], self.bytes[5], self.bytes[6], self.bytes[7]])
    }

    pub fn ssrc(&self) -> u32 {
        u32::from_be_bytes([self.bytes[8], self.bytes[9], self.bytes[10], self.bytes[11]])
    }

    pub fn payload(&self) -> &[u8] {
        &self.bytes[12..]
    }
}

/// A payload format of a phone.
#[derive(Clone, Copy, Debug)]
pub struct Codec {
    pub number: u8,
    pub name: &'static str,
    pub clock: u32,
}

pub const PCMU: Codec = Codec { number: 0, name: "PCMU", clock: 8_000 };
pub const PCMA: Codec = Codec { number: 8, name: "PCMA", clock: 8_000 };
pub const G722: Codec = Codec { number: 9, name: "G722", clock: 8_000 };
pub const OPUS: Codec = Codec { number: 111, name: "opus", clock: 48_000 };
pub const WIDE: Codec = Codec { number: 112, name: "L16", clock: 16_000 };

impl Codec {
    fn format(self) -> Format<'static> {
        let channels = if self.name == "opus" { 2 } else { 1 };
        Format { name: self.name, clock: self.clock, channels, fmtp: "" }
    }

    /// Samples a second that it is run at here.
    pub fn rate(self) -> u32 {
        match self.name {
            "opus" => 48_000,
            "G722" => 16_000,
            _ => self.clock,
        }
    }

    /// Its lines of SDP, after the `m=` line.
    pub fn lines(self) -> String {
        let channels = if self.name == "opus" { "/2" } else { "" };
        format!("a=rtpmap:{} {}/{}{channels}\r\n", self.number, self.name, self.clock)
    }
}

/// SDP of a phone with these codecs, and events at their numbers and clocks.
pub fn description(media: SocketAddr, profile: &str, codecs: &[Codec], events: &[(u8, u32)]) -> String {
    let numbers: Vec<String> =
        codecs.iter().map(|c| c.number).chain(events.iter().map(|e| e.0)).map(|n| n.to_string()).collect();
    let mut text =
        super::softphone::sdp(media, &format!("audio {{port}} {profile} {}", numbers.join(" ")), &[]);
    codecs.iter().for_each(|codec| text.push_str(&codec.lines()));
    for (number, clock) in events {
        text.push_str(&format!("a=rtpmap:{number} telephone-event/{clock}\r\na=fmtp:{number} 0-15\r\n"));
    }
    text
}

/// A tone in packets of 20 ms: packet `n` of a stream.
pub struct Tone {
    codec: Codec,
    encoder: Box<dyn codec::coder::Encoder>,
    hz: f64,
    ssrc: u32,
    first: u16,
}

impl Tone {
    pub fn new(codec: Codec, hz: f64, ssrc: u32) -> Tone {
        let known = registry::find(&codec.format()).expect("a codec of the engine");
        let encoder = known.encoder(&codec.format(), EncoderSettings { rate: codec.rate(), complexity: 5 });
        Tone { codec, encoder, hz, ssrc, first: 1_000 }
    }

    /// Packet `n`, of this tone.
    pub fn packet(&mut self, n: u32) -> Vec<u8> {
        let rate = self.encoder.rate();
        let samples = rate / 50;
        let at = |i: u32| f64::from(n * samples + i) / f64::from(rate);
        let pcm: Vec<i16> = (0..samples).map(|i| ((TAU * self.hz * at(i)).sin() * 8_000.0) as i16).collect();
        self.of(n, &pcm)
    }

    /// Packet `n`, of these samples.
    pub fn of(&mut self, n: u32, pcm: &[i16]) -> Vec<u8> {
        let mut payload = [0; PAYLOAD_MAX];
        let len = self.encoder.encode(pcm, &mut payload);
        let timestamp = 50_000 + n * (self.codec.clock / 50);
        let sequence = self.first.wrapping_add(n as u16);
        rtp(self.codec.number, sequence, timestamp, self.ssrc, &payload[..len])
    }
}

impl Talker {
    /// Listens at this address.
    pub fn at(ip: impl Into<IpAddr>) -> Talker {
        Talker::answering(ip, |_| None)
    }

    /// Listens, and answers packets to where they came from.
    pub fn answering(
        ip: impl Into<IpAddr>,
        answer: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> Talker {
        let wire = Wire::at(ip);
        let stop = Arc::new(AtomicBool::new(false));
        let (heard, reports) = (Arc::default(), Arc::default());
        let ears = vec![
            listen(wire.rtp.twin(), &heard, &stop, answer),
            listen(wire.rtcp.twin(), &reports, &stop, |_| None),
        ];
        Talker { wire, heard, reports, stop, speech: None, ears }
    }

    pub fn address(&self) -> SocketAddr {
        self.wire.address()
    }

    /// From now on says packet after packet, one each 20 ms; where there is none nothing is sent. Ends what was said before.
    pub fn say(&mut self, to: SocketAddr, mut packet: impl FnMut(u32) -> Vec<Vec<u8>> + Send + 'static) {
        self.hush();
        let (socket, quiet) = (self.wire.rtp.twin(), Arc::new(AtomicBool::new(false)));
        let stop = quiet.clone();
        let thread = std::thread::spawn(move || {
            let began = Instant::now();
            for n in 0u32.. {
                let due = began + Duration::from_millis(20) * n;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                packet(n).iter().for_each(|packet| socket.send(to, packet));
            }
        });
        self.speech = Some((quiet, thread));
    }

    /// Says a tone.
    pub fn say_tone(&mut self, to: SocketAddr, codec: Codec, hz: f64) {
        let mut tone = Tone::new(codec, hz, 0x1000_0000 | hz as u32);
        self.say(to, move |n| vec![tone.packet(n)]);
    }

    /// Says a tone, encrypted.
    pub fn say_sealed(&mut self, to: SocketAddr, codec: Codec, hz: f64, keys: &SdesKeys) {
        let mut tone = Tone::new(codec, hz, 0x1000_0000 | hz as u32);
        let mut sealer = Sealer::new(keys).expect("a key");
        self.say(to, move |n| {
            let packet = tone.packet(n);
            let mut buffer = vec![0; 2_048];
            buffer[..packet.len()].copy_from_slice(&packet);
            let len = sealer.seal_rtp(&mut buffer, packet.len()).expect("room for the tag");
            buffer.truncate(len);
            vec![buffer]
        });
    }

    /// Says no more.
    pub fn hush(&mut self) {
        if let Some((quiet, thread)) = self.speech.take() {
            quiet.store(true, Ordering::Relaxed);
            let _ = thread.join();
        }
    }

    /// RTP that has come so far.
    pub fn heard(&self) -> Vec<Packet> {
        self.heard.lock().expect("no panic").clone()
    }

    /// RTCP that has come so far.
    pub fn reports(&self) -> Vec<Packet> {
        self.reports.lock().expect("no panic").clone()
    }

    /// Forgets what has come.
    pub fn forget(&self) {
        self.heard.lock().expect("no panic").clear();
    }

    /// Waits until so many packets more of this payload type have come; gives all since.
    pub fn wait_heard(&self, number: u8, count: usize) -> Vec<Packet> {
        let before = self.heard.lock().expect("no panic").len();
        wait_for(&format!("{count} packets of type {number} at {}", self.address()), SOON, || {
            let heard = self.heard.lock().expect("no panic");
            let new: Vec<Packet> =
                heard[before..].iter().filter(|p| p.payload_type() == number).cloned().collect();
            (new.len() >= count).then_some(new)
        })
    }

    /// Waits for a second of speech in this codec after what has come so far, and hears it.
    pub fn listen(&self, codec: Codec) -> Vec<i16> {
        decode(codec, &self.wait_heard(codec.number, 50))
    }

    /// As [`Talker::listen`], encrypted.
    pub fn listen_sealed(&self, codec: Codec, keys: &SdesKeys) -> Vec<i16> {
        decode(codec, &opened(&self.wait_heard(codec.number, 50), keys))
    }
}

/// The packets decrypted; each must be authentic.
pub fn opened(packets: &[Packet], keys: &SdesKeys) -> Vec<Packet> {
    let mut opener = Opener::new(keys).expect("a key");
    packets
        .iter()
        .map(|packet| {
            let mut bytes = packet.bytes.clone();
            let len = opener.open_rtp(&mut bytes).expect("an authentic packet");
            bytes.truncate(len);
            Packet { at: packet.at, bytes }
        })
        .collect()
}

/// The speech in these packets.
pub fn decode(codec: Codec, packets: &[Packet]) -> Vec<i16> {
    let known = registry::find(&codec.format()).expect("a codec of the engine");
    let mut decoder = known.decoder(&codec.format(), codec.rate());
    let mut speech = Vec::new();
    let mut pcm = vec![0; codec.rate() as usize * 120 / 1000];
    for packet in packets {
        let len = decoder.decode(packet.payload(), &mut pcm).expect("a payload of this codec");
        speech.extend_from_slice(&pcm[..len]);
    }
    speech
}

impl Drop for Talker {
    fn drop(&mut self) {
        self.hush();
        self.stop.store(true, Ordering::Relaxed);
        self.ears.drain(..).for_each(|ear| drop(ear.join()));
    }
}

fn listen(
    socket: Socket,
    heard: &Arc<Mutex<Vec<Packet>>>,
    stop: &Arc<AtomicBool>,
    mut answer: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static,
) -> JoinHandle<()> {
    let (heard, stop) = (heard.clone(), stop.clone());
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let Some((bytes, from)) = socket.receive_within(Duration::from_millis(50)) else { continue };
            let at = Instant::now();
            if let Some(packet) = answer(&bytes) {
                socket.send(from, &packet);
            }
            heard.lock().expect("no panic").push(Packet { at, bytes });
        }
    })
}
