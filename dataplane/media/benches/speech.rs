//! Speech through converted calls in virtual time, for a judge to score: `cargo bench -p media --bench speech -- FOLDER
//! [--seeds N]`. Writes WAV files and `list.jsonl`, which says what each of them is; `scripts/score` runs it and asks
//! PESQ. The voices are those of `../shared/testdata/audio`.
#![expect(clippy::print_stdout, reason = "tells what it has made")]

use base::{Duration, Instant, Now, Rng, Wall};
use codec::coder::{Decoder, Encoder, EncoderSettings, Format, PAYLOAD_MAX};
use codec::registry::{self, Codec};
use codec::resample::Resampler;
use codec::wav;
use command::spec::Audience;
use command::{
    Accept, BridgeId, BridgeSpec, EdgeSpec, Learn, Party, Payload, Phase, PortIndex, PortSpec, Remote,
    RemoteTag, SendTo, Timeouts, Transform, VoiceReport,
};
use media::wire::rtcp::{ReportBlock, Writer};
use media::wire::rtp::{Header, Rtp};
use media::{Bridges, BridgesConfig, OpenPort, Packet, Slot};
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

fn main() {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench" && word != "--test");
    let (mut folder, mut seeds) = (None, 10);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--seeds" => seeds = words.next().and_then(|n| n.parse().ok()).unwrap_or(seeds),
            _ => folder = Some(PathBuf::from(word)),
        }
    }
    let Some(folder) = folder else {
        println!("speech: a folder is needed for what is to be scored; scripts/score gives one");
        return;
    };
    let mut studio = Studio::new(folder);
    clear_calls(&mut studio);
    lossy_calls(&mut studio, seeds);
    println!("{} recordings to be scored", studio.lines);
}

/// Every conversion without loss, beside the same two codecs without an engine between them.
fn clear_calls(studio: &mut Studio) {
    let narrow = [("pcmu", "opus"), ("opus", "pcmu"), ("pcmu", "pcma"), ("pcmu", "g722")];
    let wide = [("g722", "opus"), ("opus", "g722"), ("l16", "opus"), ("pcmu", "opus")];
    for (voices, rate, pairs) in [(VOICES_8K, 8_000, narrow), (VOICES_16K, 16_000, wide)] {
        for voice in voices {
            let Some(speech) = studio.voice(voice, rate) else { continue };
            for (from, to) in pairs {
                let (from_format, to_format) = (payload(from), payload(to));
                let (sent, rate_in) = say(&from_format, &speech, rate);
                let mut call = Call::new(&from_format, &to_format);
                let out = call.carry(&sent, None);
                let heard = listen(&to_format, rate, &out);
                // The same without the engine: what the first codec leaves of the speech, through the second one.
                let left = listen(&from_format, rate, &sent);
                let rate_between = rate_in.min(call.rate(&from_format, &to_format)).max(8_000);
                let left = convert(&left, rate, rate_between);
                let (again, _) = say(&to_format, &left, rate_between);
                let ceiling = listen(&to_format, rate, &again);
                // And the worse of the two alone.
                let (alone, _) = say(&to_format, &speech, rate);
                let [first, second] = [listen(&from_format, rate, &sent), listen(&to_format, rate, &alone)];
                let bits = bits_a_second(&out);
                studio.call(
                    &format!("{from}-{to}"),
                    voice,
                    (rate, bits),
                    &[("call", &heard), ("codecs", &ceiling), (from, &first), (to, &second)],
                );
            }
        }
    }
}

/// PCMU to Opus here, through a lossy network, and back to PCMU in another engine: as the engines do it, without forward
/// error correction, and without concealment either.
fn lossy_calls(studio: &mut Studio, seeds: u64) {
    for voice in VOICES_LOSS {
        let Some(speech) = studio.voice(voice, 8_000) else { continue };
        for (loss, percent) in [("random", 5u8), ("random", 10), ("bursty", 5), ("bursty", 10)] {
            for seed in 1..=seeds {
                for way in ["fec", "plc", "none"] {
                    lossy_call(studio, (voice, &speech), (loss, percent), seed, way);
                }
            }
        }
    }
}

fn lossy_call(
    studio: &mut Studio,
    (voice, speech): (&str, &[i16]),
    (loss, percent): (&str, u8),
    seed: u64,
    way: &str,
) {
    let pcmu = payload("pcmu");
    let mut opus = payload("opus");
    if way == "fec" {
        opus.fmtp = "useinbandfec=1".into();
    }
    let (sent, _) = say(&pcmu, speech, 8_000);
    let told = (way == "fec").then_some(percent);
    let made = Call::new(&pcmu, &opus).carry(&sent, told);
    let redundant = made.iter().filter(|packet| has_redundancy(&packet.payload)).count();
    let mut network = Network::new(loss, percent, seed);
    let arrived: Vec<Sent> = made.iter().filter(|_| !network.loses()).cloned().collect();
    let lost = made.len() - arrived.len();
    let (heard, recovered) = if way == "none" {
        let pcm = listen(&opus, 8_000, &arrived);
        let (coded, _) = say(&pcmu, &pcm, 8_000);
        (listen(&pcmu, 8_000, &coded), 0)
    } else {
        let mut call = Call::new(&opus, &pcmu);
        let out = call.carry(&arrived, None);
        (listen(&pcmu, 8_000, &out), call.voice().recovered)
    };
    let line = serde_json::json!({
        "kind": "loss", "loss": loss, "percent": percent, "voice": voice, "seed": seed, "way": way,
        "packets": made.len(), "lost": lost, "redundant": redundant, "recovered": recovered,
        "bits": bits_a_second(&made).round(),
    });
    studio.keep(line, (voice, 8_000), &heard, &format!("{loss}{percent}-{way}-{seed}"));
}

/// Speakers at 8 kHz, at 16 kHz, and those that are heard under loss: a second and another voice.
const VOICES_8K: &[&str] = &["speech_8k_a", "speech_8k_b", "speech_48k_a"];
const VOICES_16K: &[&str] = &["speech_16k_a", "speech_16k_b", "speech_48k_a"];
const VOICES_LOSS: &[&str] = &["speech_8k_a", "speech_48k_a"];

/// Where recordings are kept, and the list of them.
struct Studio {
    folder: PathBuf,
    list: fs::File,
    lines: usize,
}

impl Studio {
    fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).expect("the folder can be made");
        let list = fs::File::create(folder.join("list.jsonl")).expect("the folder can be written to");
        Studio { folder, list, lines: 0 }
    }

    /// A voice at a rate, kept as what others are compared with; none, loudly, where it is absent.
    fn voice(&mut self, name: &str, rate: u32) -> Option<Vec<i16>> {
        let Ok(file) = fs::read(material().join(format!("{name}.wav"))) else {
            println!("ABSENT: testdata/audio/{name}.wav: nothing was said with this voice");
            return None;
        };
        let file = wav::Wav::parse(&file).expect("a WAV file");
        let mut speech = vec![0; file.frames()];
        file.mono(0, &mut speech);
        let speech = convert(&speech, file.rate(), rate);
        self.write(&format!("{name}-{rate}"), rate, &speech);
        Some(speech)
    }

    /// One conversion: the call and what it is compared with.
    fn call(&mut self, name: &str, voice: &str, (rate, bits): (u32, f64), ways: &[(&str, &[i16])]) {
        for (way, pcm) in ways {
            let line = serde_json::json!({
                "kind": "call", "call": name, "voice": voice, "way": way, "bits": bits.round(),
            });
            self.keep(line, (voice, rate), pcm, &format!("{name}-{way}"));
        }
    }

    fn keep(&mut self, mut line: serde_json::Value, (voice, rate): (&str, u32), pcm: &[i16], name: &str) {
        let name = format!("{voice}-{rate}-{name}");
        self.write(&name, rate, pcm);
        line["heard"] = format!("{name}.wav").into();
        line["said"] = format!("{voice}-{rate}.wav").into();
        line["rate"] = rate.into();
        writeln!(self.list, "{line}").expect("the list can be written to");
        self.lines += 1;
    }

    fn write(&self, name: &str, rate: u32, pcm: &[i16]) {
        let mut file = wav::header(rate, 1, pcm.len() as u64 * 2, 0).to_vec();
        pcm.iter().for_each(|sample| file.extend(sample.to_le_bytes()));
        fs::write(self.folder.join(format!("{name}.wav")), file).expect("the folder can be written to");
    }
}

fn material() -> PathBuf {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata");
    std::env::var_os("STROWGER_TESTDATA").map_or(shared, PathBuf::from).join("audio")
}

fn payload(name: &str) -> Payload {
    let (number, clock) = match name {
        "pcmu" => (0, 8_000),
        "pcma" => (8, 8_000),
        "g722" => (9, 8_000),
        "l16" => (97, 16_000),
        _ => (111, 48_000),
    };
    Payload { number, clock, encoding: name.into(), fmtp: String::new() }
}

fn find(payload: &Payload) -> (Format<'_>, &'static Codec) {
    let channels = if payload.encoding == "opus" { 2 } else { 1 };
    let format = Format { name: &payload.encoding, clock: payload.clock, channels, fmtp: &payload.fmtp };
    (format, registry::find(&format).expect("a codec"))
}

/// A packet on the wire.
#[derive(Clone, Debug)]
struct Sent {
    /// Microseconds since the beginning.
    at: u64,
    header: Header,
    payload: Vec<u8>,
}

/// Speech of `rate` in packets of 20 ms, each of which leaves when it is full; the codec's own rate.
fn say(payload: &Payload, speech: &[i16], rate: u32) -> (Vec<Sent>, u32) {
    let (format, codec) = find(payload);
    let mut encoder: Box<dyn Encoder> = codec.encoder(&format, EncoderSettings { rate, complexity: 5 });
    let own = encoder.rate();
    let speech = convert(speech, rate, own);
    let mut coded = [0; PAYLOAD_MAX];
    let frame = own as usize / 50;
    let mut packets = Vec::new();
    for (n, pcm) in speech.chunks_exact(frame).enumerate() {
        let len = encoder.encode(pcm, &mut coded);
        let header = Header {
            marker: n == 0,
            payload_type: payload.number,
            sequence: n as u16,
            timestamp: n as u32 * (payload.clock / 50),
            ssrc: 7,
        };
        packets.push(Sent { at: (n as u64 + 1) * 20_000, header, payload: coded[..len].to_vec() });
    }
    (packets, own)
}

/// What a peer hears at `rate`: each packet at its time, and silence where nothing has come.
fn listen(payload: &Payload, rate: u32, packets: &[Sent]) -> Vec<i16> {
    let (format, codec) = find(payload);
    let mut decoder: Box<dyn Decoder> = codec.decoder(&format, rate);
    let own = decoder.rate();
    let Some(first) = packets.first() else { return Vec::new() };
    let mut heard = Vec::new();
    let mut pcm = vec![0; own as usize / 1000 * 120];
    for packet in packets {
        let ticks = packet.header.timestamp.wrapping_sub(first.header.timestamp);
        let place = (u64::from(ticks) * u64::from(own) / u64::from(payload.clock)) as usize;
        let len = decoder.decode(&packet.payload, &mut pcm).unwrap_or(0);
        if heard.len() < place + len {
            heard.resize(place + len, 0);
        }
        heard[place..place + len].copy_from_slice(&pcm[..len]);
    }
    convert(&heard, own, rate)
}

fn convert(pcm: &[i16], from: u32, to: u32) -> Vec<i16> {
    if from == to {
        return pcm.to_vec();
    }
    let mut resampler = Resampler::new(from, to);
    let mut out = Vec::new();
    let mut buffer = vec![0; to as usize / 50];
    for piece in pcm.chunks_exact(from as usize / 50) {
        let len = resampler.process(piece, &mut buffer);
        out.extend(&buffer[..len]);
    }
    out
}

fn bits_a_second(packets: &[Sent]) -> f64 {
    let bytes: usize = packets.iter().map(|packet| packet.payload.len()).sum();
    bytes as f64 * 8.0 / (packets.len() as f64 * 0.02)
}

/// Whether a packet of one frame of at most 20 ms in SILK or hybrid mode repeats the frame before it (RFC 6716 section
/// 4.2.4: the bit after that of the frame's own voice activity).
fn has_redundancy(payload: &[u8]) -> bool {
    matches!(payload, [toc, first, ..] if toc >> 3 < 16 && toc & 3 == 0 && first & 0x40 != 0)
}

/// What loses packets: each by itself, or several in a row (Gilbert's model, 2.5 packets long in the mean).
struct Network {
    rng: Rng,
    enter: f64,
    leave: f64,
    bad: bool,
}

impl Network {
    fn new(kind: &str, percent: u8, seed: u64) -> Self {
        let loss = f64::from(percent) / 100.0;
        let leave = if kind == "bursty" { 0.4 } else { 1.0 - loss };
        let enter = leave * loss / (1.0 - loss);
        Network { rng: Rng::from_seed(seed * 1_000 + u64::from(percent)), enter, leave, bad: false }
    }

    fn loses(&mut self) -> bool {
        let drawn = f64::from(self.rng.u32()) / f64::from(u32::MAX);
        self.bad = if self.bad { drawn >= self.leave } else { drawn < self.enter };
        self.bad
    }
}

/// A bridge between a peer that talks and one that listens.
struct Call {
    bridges: Bridges,
    id: BridgeId,
}

impl Call {
    fn new(from: &Payload, to: &Payload) -> Self {
        let config = BridgesConfig {
            shard: 0,
            bridges_max: 1,
            slots_max: 8,
            events_max: 64,
            orphan: Duration::from_secs(300),
            own: Vec::new(),
            rng: Rng::from_seed(1),
        };
        let mut call = Call { bridges: Bridges::new(at(0), config), id: BridgeId::new(0, 0, 0, 1) };
        let ports = [(TALKER, from), (LISTENER, to)].into_iter().zip(0..);
        let ports: Vec<PortSpec> = ports.map(|((address, payload), n)| port(n, address, payload)).collect();
        for port in &ports {
            let index = port.port;
            let slot = u32::from(index.0) * 2;
            let local = SocketAddr::new([10, 0, 0, 1].into(), 30_000 + slot as u16);
            let open = OpenPort { port: index, local, rtp: Slot(slot), rtcp: Slot(slot + 1) };
            call.bridges.open(at(0), call.id, open).expect("there is room");
        }
        let edge = |from, to, payload: &Payload| EdgeSpec {
            from: PortIndex(from),
            to: PortIndex(to),
            transform: Transform::Transcode { to_payload: payload.number, ptime_ms: 20 },
            gain_centibel: 0,
            audience: Audience::All,
        };
        let spec = BridgeSpec {
            phase: Phase::Active,
            timeouts: Timeouts { both: None, one: None, hold: None },
            ports,
            edges: vec![edge(0, 1, to), edge(1, 0, from)],
            room: None,
        };
        call.bridges.set(at(0), call.id, &spec).expect("codecs of ours");
        call
    }

    /// The rate between two codecs: the narrower one's.
    fn rate(&self, from: &Payload, to: &Payload) -> u32 {
        let width = |payload| {
            let (format, codec) = find(payload);
            codec.bandwidth(&format)
        };
        width(from).min(width(to))
    }

    /// What the listener gets of what the talker sends; the listener tells every second how much it loses, in percent.
    fn carry(&mut self, packets: &[Sent], told: Option<u8>) -> Vec<Sent> {
        let mut out: Vec<Sent> = Vec::new();
        let mut second = 0;
        for packet in packets {
            self.wait_until(packet.at, &mut out);
            if packet.at / 1_000_000 > second
                && let (Some(percent), Some(ssrc)) = (told, out.first().map(|sent| sent.header.ssrc))
            {
                second = packet.at / 1_000_000;
                self.tell_loss(packet.at, ssrc, percent);
            }
            let mut bytes = packet.header.to_bytes().to_vec();
            bytes.extend(&packet.payload);
            self.send(packet.at, TALKER, Slot(0), &bytes, &mut out);
        }
        self.wait_until(packets.last().map_or(0, |packet| packet.at) + 200_000, &mut out);
        out
    }

    fn tell_loss(&mut self, micros: u64, ssrc: u32, percent: u8) {
        let mut buffer = [0; 256];
        let mut writer = Writer::new(&mut buffer);
        let fraction_lost = (u16::from(percent) * 256 / 100) as u8;
        writer.receiver_report(9, &[ReportBlock { ssrc, fraction_lost, ..ReportBlock::default() }]);
        writer.description(9, b"listener");
        let len = writer.len();
        let from = SocketAddr::new(address(LISTENER).ip(), address(LISTENER).port() + 1);
        self.send(micros, &from.to_string(), Slot(3), &buffer[..len], &mut Vec::new());
    }

    fn send(&mut self, micros: u64, source: &str, slot: Slot, bytes: &[u8], out: &mut Vec<Sent>) {
        let mut buffer = [0; 2048];
        buffer[..bytes.len()].copy_from_slice(bytes);
        let mut packet = Packet { buffer: &mut buffer, len: bytes.len(), truncated: false };
        let hop = self.bridges.handle_packet(at(micros), slot, address(source), &mut packet);
        let len = packet.len;
        if hop.expect("it is taken").is_some() {
            out.extend(sent(micros, &buffer[..len]));
        }
        self.drain(micros, out);
    }

    fn wait_until(&mut self, micros: u64, out: &mut Vec<Sent>) {
        while let Some((due, _)) = self.bridges.poll_timeout() {
            let due = due.0.div_ceil(1_000).saturating_sub(START_US);
            if due > micros {
                return;
            }
            self.bridges.handle_timeout(at(due));
            self.drain(due, out);
        }
    }

    fn drain(&mut self, micros: u64, out: &mut Vec<Sent>) {
        while self.bridges.poll_event().is_some() {}
        self.bridges.drain_made(|hop, bytes| {
            if hop.slot == Slot(2) {
                out.extend(sent(micros, bytes));
            }
        });
    }

    /// What became of the talker's speech.
    fn voice(&self) -> VoiceReport {
        let report = self.bridges.report(at(0), self.id).expect("the bridge lives");
        report.ports[0].voice.unwrap_or_default()
    }
}

fn sent(at: u64, bytes: &[u8]) -> Option<Sent> {
    let rtp = Rtp::parse(bytes).ok().filter(|_| !(192..=223).contains(&bytes[1]))?;
    Some(Sent { at, header: rtp.header(), payload: rtp.payload().to_vec() })
}

fn port(index: u16, at: &str, payload: &Payload) -> PortSpec {
    let remote = Remote {
        tag: RemoteTag(1),
        rtp: Some(address(at)),
        rtcp: None,
        sends: true,
        receives: true,
        keys: None,
        sealed: false,
    };
    PortSpec {
        port: PortIndex(index),
        party: Party(index),
        remotes: vec![remote],
        active: Some(RemoteTag(1)),
        learn: Learn::Signalled,
        accept: Accept::Any,
        send_to: SendTo::Signalled,
        payloads: vec![payload.clone()],
        ..PortSpec::default()
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn at(micros: u64) -> Now {
    let micros = micros + START_US;
    Now { mono: Instant(micros * 1_000), wall: Wall(1_700_000_000_000_000 + micros) }
}

const TALKER: &str = "192.0.2.1:4000";
const LISTENER: &str = "198.51.100.1:5000";
/// Late enough for times before the beginning.
const START_US: u64 = 10_000_000;
