//! Drives every fuzz entry of the crates for a fixed time with inputs mutated from corpora: ours, which are committed,
//! and the shared ones where they are present. Time by `STROWGER_FUZZ_SECONDS` (2 an entry unless told otherwise), the
//! start by `STROWGER_SEED`. What failed is kept as a file whose name is printed; put it into `tests/data/fuzz/ENTRY/`,
//! and it is tried first from then on.
#![expect(clippy::disallowed_methods, reason = "runs for a fixed time")]
#![expect(clippy::print_stderr, reason = "says how far it came, and what failed")]

use base::Rng;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Inputs are no longer than this: a datagram.
const LEN_MAX: usize = 65_535;

#[test]
fn sip_parse() {
    drive("sip_parse", sip::fuzz::parse, &sip_messages(), SIP_WORDS);
}

#[test]
fn sip_cut() {
    // Quadratic in the length by intent: short streams.
    let streams: Vec<_> = sip_messages().into_iter().filter(|message| message.len() < 1_500).collect();
    drive("sip_cut", |bytes| sip::fuzz::cut(&bytes[..bytes.len().min(4_000)]), &streams, SIP_WORDS);
}

#[test]
fn sip_show() {
    drive("sip_show", sip::fuzz::show, &sip_messages(), SIP_WORDS);
}

#[test]
fn sdp_parse_and_write() {
    drive("sdp_parse_and_write", sdp::fuzz::parse_and_write, &descriptions(), SDP_WORDS);
}

#[test]
fn sdp_offer_and_answer() {
    drive("sdp_offer_and_answer", sdp::fuzz::offer_and_answer, &descriptions(), SDP_WORDS);
}

#[test]
fn sdp_crypto() {
    let lines = [
        "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4 WSH=128",
        "2 AEAD_AES_128_GCM inline:QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYg==",
    ];
    let lines = lines.map(|line| line.as_bytes().to_vec());
    drive("sdp_crypto", sdp::fuzz::crypto, &lines, &[b"|", b":", b"inline:", b"2^31", b"KDR=1", b"=="]);
}

#[test]
fn media_wire() {
    drive("media_wire", media::fuzz::wire, &datagrams(), RTP_WORDS);
}

#[test]
fn media_srtp() {
    let seeds: Vec<_> = datagrams()
        .iter()
        .zip((0..6).cycle())
        .map(|(datagram, how)| [&[how], &datagram[..]].concat())
        .collect();
    drive("media_srtp", media::fuzz::srtp, &seeds, RTP_WORDS);
}

#[test]
fn codec_noise() {
    let seeds =
        [vec![20, 200, 60, 127], vec![70], vec![0; 20], vec![1, 254, 0, 254, 0, 254, 0, 254, 0, 254, 0]];
    drive("codec_noise", codec::fuzz::noise, &seeds, &[&[127], &[254], &[0], &[40, 255]]);
}

#[test]
fn media_mixer() {
    // Twelve join, all speak, then changes of every kind.
    let mut seed = vec![1, 3];
    seed.extend((0..12).flat_map(|n| [0, 0xff, n, n * 5, 20]));
    seed.extend((0..40u8).flat_map(|n| [n, n.wrapping_mul(7), n % 14, n * 3, n.wrapping_mul(11)]));
    // A room takes long: short stories.
    drive(
        "media_mixer",
        |bytes| media::fuzz::mixer(&bytes[..bytes.len().min(400)]),
        &[seed],
        &[&[2], &[3], &[0; 5]],
    );
}

#[test]
fn media_playout() {
    // Speech of one codec with losses, then of all of them with noise, events and jumps; each played as it comes.
    let story = |kinds: &[u8], step: u8, len: u8| {
        let record = |n: u8| {
            let what = 0x40 | kinds[usize::from(n) % kinds.len()];
            [&[what, step, len][..], &vec![n; len.into()]].concat()
        };
        [vec![step], (0..100).flat_map(record).collect()].concat()
    };
    let seeds =
        [story(&[0x18], 1, 160), story(&[0x1a, 0x1c], 2, 40), story(&[0x18, 0x19, 0x1b, 0x05, 0x00], 1, 80)];
    drive("media_playout", media::fuzz::playout, &seeds, &[&[0xff], &[0x80, 1, 0], &[0xd8, 2, 3]]);
}

#[test]
fn media_bridge() {
    // A story is records of a length, an instruction and the bytes.
    let story = |steps: [u8; 4]| {
        let record = |(datagram, step): (Vec<u8>, u8)| [vec![datagram.len() as u8, step], datagram].concat();
        let mut story = vec![9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        story.extend(datagrams().into_iter().zip(steps.into_iter().cycle()).flat_map(record));
        story
    };
    let stories = [story([1, 2, 3, 4]), story([0x11, 0x12, 0x21, 0x22]), story([8, 9, 10, 11])];
    drive("media_bridge", media::fuzz::bridge, &stories, RTP_WORDS);
}

#[test]
fn codec_decoders() {
    let opus = [
        &[0x08, 0x40, 0x77, 0x12, 0x90, 0x21][..],
        &[0x48, 0x70, 1, 2, 3],
        &[0xf8, 0xff, 0xfe],
        &[0xfb, 3, 0xff, 0xfe, 0xff, 0xfe, 0xff, 0xfe],
        &[0x0b, 0xc2, 2, 1, 5, 6, 7, 0],
        &[0x59, 0x10, 1, 0x10, 2],
        &[0x6a, 2, 1, 2, 3, 4, 5],
        &[0x78],
    ];
    let step = |how: u8, payload: &[u8]| [&[how, payload.len() as u8], payload].concat();
    let steps: Vec<u8> = opus
        .iter()
        .flat_map(|packet| [step(8, packet), step(0x28, packet), step(0x38, &[])].concat())
        .collect();
    // Each codec, and Opus at each of its rates.
    let which = (0..8).chain((1..5).map(|rate| rate << 4 | 7));
    let seeds: Vec<_> = which.map(|which| [&[which][..], &steps].concat()).collect();
    drive("codec_decoders", codec::fuzz::decoders, &seeds, OPUS_WORDS);
}

#[test]
fn codec_wav() {
    let pauses = [codec::wav::Pause { start: Duration::from_millis(1), end: Duration::from_millis(2) }];
    let mut tail = Vec::new();
    codec::wav::tail(8_000, &pauses, &mut tail);
    let file = |channels| {
        let header = codec::wav::header(8_000, channels, 64, tail.len());
        [&header[..], &[1, 2, 3, 0xff].repeat(16), &tail].concat()
    };
    drive("codec_wav", codec::fuzz::wav, &[file(1), file(2)], WAV_WORDS);
}

#[test]
fn codec_ogg() {
    let opus = codec::coder::Format { name: "opus", clock: 48_000, channels: 2, fmtp: "" };
    let codec = codec::registry::find(&opus).expect("Opus is a codec of ours");
    let file = |channels: usize| {
        let settings = codec::coder::EncoderSettings { rate: 8_000, complexity: 0 };
        let encoders = (0..channels).map(|_| codec.encoder(&opus, settings)).collect();
        let mut recording = codec::ogg::Recording::new(1, 8_000, encoders);
        let mut file = Vec::new();
        recording.begin(&mut file);
        recording.push(
            &vec![&[0, 4_000, 8_000, 4_000, 0, -4_000, -8_000, -4_000].repeat(100)[..]; channels],
            &mut file,
        );
        recording.finish(&mut file);
        file
    };
    drive("codec_ogg", codec::fuzz::ogg, &[file(1), file(2)], OGG_WORDS);
}

#[test]
fn media_digits() {
    let key = |code: u8, number: u8| {
        let packet = |at: u8, end: u8| [20, number + at, 1, number, code, end | 10, 0, 160 + at];
        [packet(0, 0), packet(1, 0), packet(2, 0x80), packet(3, 0x80)].concat()
    };
    let seeds = [key(1, 0), [key(5, 0), key(5, 100)].concat()];
    drive("media_digits", media::fuzz::digits, &seeds, &[&[0xff, 0xff], &[0x8a]]);
}

#[test]
fn media_tones() {
    let seeds =
        ["busy/de", "440+480@-19/2000,0/4000", "!400*16/1000,0/2000"].map(|text| text.as_bytes().to_vec());
    drive("media_tones", media::fuzz::tones, &seeds, &[b"/", b",", b"+", b"@-63", b"600000", b"0"]);
}

#[test]
fn config_check() {
    drive("config_check", config::fuzz::check, &files("tests/data/config", "toml"), CONFIG_WORDS);
}

#[test]
fn ng_bencode() {
    let seeds = [
        &b"d8:supportsl10:load limite3:sdp9:v=0\r\ns=-\r\n3:ICE6:remove7:command5:offere"[..],
        b"d6:result5:error12:error-reason15:Unknown call-ide",
        b"li-12e0:d1:ali1ei2eeee",
        b"5_1 d7:command4:pinge",
    ];
    drive(
        "ng_bencode",
        ng::fuzz::bencode,
        &seeds.map(<[u8]>::to_vec),
        &[b"d", b"l", b"e", b"i0e", b"1:a", b"999999:"],
    );
}

#[test]
fn ng_json() {
    drive("ng_json", ng::fuzz::json, &ng_payloads("json"), NG_WORDS);
}

#[test]
fn ng_request() {
    let payloads = [ng_payloads("json"), ng_payloads("bencode")].concat();
    let datagrams: Vec<_> = payloads.iter().map(|payload| [b"7_1 ", &payload[..]].concat()).collect();
    drive("ng_request", ng::fuzz::request, &datagrams, NG_WORDS);
}

#[test]
fn ng_stream() {
    let payloads = [ng_payloads("json"), ng_payloads("bencode")].concat();
    let streams: Vec<_> =
        payloads.iter().map(|payload| [b"\n7_1 ", &payload[..], b"x  d0:e"].concat()).collect();
    drive("ng_stream", ng::fuzz::stream, &streams, NG_WORDS);
}

#[test]
fn ng_subscribe() {
    drive("ng_subscribe", ng::fuzz::subscribe, &descriptions(), SDP_WORDS);
}

#[test]
fn ng_flags() {
    drive("ng_flags", ng::fuzz::flags, &ng_payloads("flags"), NG_WORDS);
}

/// Our own requests as clients send them: in files of a notation each.
fn ng_payloads(ending: &str) -> Vec<Vec<u8>> {
    files("sbc/ng/tests/requests", ending)
}

#[test]
fn ng_exchange() {
    // Wishes, then what is offered and what answers it.
    let pairs = descriptions();
    let pair = |(n, sdp): (usize, &Vec<u8>)| {
        let answer = &pairs[(n + 1) % pairs.len()];
        [&[0, n as u8, 1, (n * 7) as u8, 0, (n * 31) as u8, 1, 0], &sdp[..], b"\r\n", answer].concat()
    };
    let mut seeds: Vec<Vec<u8>> = pairs.iter().enumerate().map(pair).collect();
    let keys = b"v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/SAVP 8 96\r\na=rtpmap:96 opus/48000/2\r\n\
        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
    seeds.extend((0..=255).map(|wish| [&[0, wish, 0, wish, 1, 9, 0, 0], &keys[..], keys].concat()));
    drive("ng_exchange", ng::fuzz::exchange, &seeds, SDP_WORDS);
}

/// An entry that nobody drives finds nothing.
#[test]
fn every_entry_is_driven() {
    let here = include_str!("fuzz.rs");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for folder in ["dataplane", "sbc", "control", "."] {
        for entry in std::fs::read_dir(root.join(folder)).expect("a folder of crates") {
            let entry = entry.expect("a readable entry");
            let Ok(text) = std::fs::read_to_string(entry.path().join("src/fuzz.rs")) else { continue };
            let name = entry.file_name().to_string_lossy().into_owned();
            for line in text.lines().filter_map(|line| line.strip_prefix("pub fn ")) {
                let call = format!("{name}::fuzz::{}", line.split('(').next().expect("a name"));
                assert!(here.contains(&call), "{call} is driven by no test here");
                count += 1;
            }
        }
    }
    assert!(count >= 9, "{count} entries found");
}

/// Runs `entry` on every seed as it is, then on mutations until the time is over.
fn drive(name: &str, entry: impl Fn(&[u8]), seeds: &[Vec<u8>], words: &[&[u8]]) {
    assert!(!seeds.is_empty(), "a corpus");
    let seconds =
        std::env::var("STROWGER_FUZZ_SECONDS").ok().map_or(2.0, |text| text.parse().expect("seconds"));
    let seed = std::env::var("STROWGER_SEED").ok().map(|text| text.parse().expect("a u64"));
    let seed: u64 = seed.unwrap_or_else(|| std::process::id().into());
    let run = |input: &[u8]| {
        let kept = Kept { name, input };
        entry(input);
        drop(kept);
    };
    let known = files(&format!("tests/data/fuzz/{name}"), "bin");
    known.iter().chain(seeds).for_each(|input| run(input));

    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let mut mutator = Mutator { rng: Rng::from_seed(seed), seeds, words };
    let mut runs = 0;
    while Instant::now() < end {
        run(&mutator.next());
        runs += 1;
    }
    eprintln!(
        "{name}: {} kept inputs, {} seeds, {runs} mutations; replay: STROWGER_SEED={seed} cargo test --test fuzz {name}",
        known.len(),
        seeds.len()
    );
}

/// Writes its input to a file if the entry panics on it.
struct Kept<'a> {
    name: &'a str,
    input: &'a [u8],
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-failed.bin", self.name));
            let written = std::fs::write(&file, self.input);
            eprintln!("failed on {} bytes, kept in {} ({written:?})", self.input.len(), file.display());
        }
    }
}

/// Makes inputs out of seeds: a few small damages each.
struct Mutator<'a> {
    rng: Rng,
    seeds: &'a [Vec<u8>],
    /// Words that mean something to the entry.
    words: &'a [&'a [u8]],
}

impl<'a> Mutator<'a> {
    fn next(&mut self) -> Vec<u8> {
        let mut input = self.pick().to_vec();
        // Mostly few: what is damaged everywhere is refused at the first byte.
        for _ in 0..1 << self.rng.below(4) {
            self.damage(&mut input);
        }
        input.truncate(LEN_MAX);
        input
    }

    fn damage(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len() + 1);
        let range = at..(at + self.below(17)).min(input.len());
        match self.rng.below(10) {
            0 if at < input.len() => input[at] ^= 1 << self.rng.below(8),
            1 if at < input.len() => input[at] = self.rng.u32() as u8,
            2 => drop(input.splice(range, [])),
            3 => {
                let piece = input[range].to_vec();
                input.splice(at..at, piece);
            }
            4 => {
                let word = self.words[self.below(self.words.len())];
                input.splice(at..at, word.iter().copied());
            }
            5 => {
                let word = self.words[self.below(self.words.len())];
                input.splice(range, word.iter().copied());
            }
            6 => {
                let other = self.pick();
                let from = self.below(other.len());
                let tail = other[from..].to_vec();
                input.splice(at.., tail);
            }
            7 => self.other_number(input, at),
            8 => self.swap_lines(input),
            _ if self.rng.below(4) == 0 => input.truncate(at),
            _ => {
                let byte = [0, b'\r', b'\n', b' ', b'"', b'\\', b'<', b';', b',', b'%', 0x7f, 0x80, 0xff];
                input.insert(at, byte[self.below(byte.len())]);
            }
        }
    }

    /// Another number in the place of the next one: limits, and one beyond.
    fn other_number(&mut self, input: &mut Vec<u8>, at: usize) {
        const NUMBERS: [&str; 14] = [
            "0",
            "1",
            "-1",
            "127",
            "128",
            "255",
            "256",
            "65535",
            "65536",
            "2147483647",
            "2147483648",
            "4294967296",
            "18446744073709551615",
            "99999999999999999999999",
        ];
        let Some(start) = input[at..].iter().position(u8::is_ascii_digit).map(|n| at + n) else { return };
        let len = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = NUMBERS[self.below(NUMBERS.len())];
        input.splice(start..start + len, number.bytes());
    }

    /// Two lines change places, or one comes twice.
    fn swap_lines(&mut self, input: &mut Vec<u8>) {
        let mut lines: Vec<_> = input.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        if lines.is_empty() {
            return;
        }
        let (one, two) = (self.below(lines.len()), self.below(lines.len()));
        if self.rng.below(2) == 0 {
            lines.swap(one, two);
        } else {
            let line = lines[one].clone();
            lines.insert(two, line);
        }
        *input = lines.concat();
    }

    fn pick(&mut self) -> &'a [u8] {
        &self.seeds[self.rng.below(self.seeds.len() as u64) as usize]
    }

    fn below(&mut self, bound: usize) -> usize {
        self.rng.below(bound as u64) as usize
    }
}

fn sip_messages() -> Vec<Vec<u8>> {
    let ours = [files("tests/data/sip", "sip"), files("tests/data/typical", "sip")].concat();
    let others =
        [shared("sip/rfc4475", "dat"), shared("sip/vendor", "sip"), shared("attack/messages", "sip")];
    [ours, others.concat()].concat()
}

fn descriptions() -> Vec<Vec<u8>> {
    [files("sbc/sdp/tests/samples", "sdp"), files("tests/data/typical", "sdp"), shared("sdp", "sdp")].concat()
}

/// RTP with and without extension, padding and CSRC; RTCP, STUN, DTLS, UDPTL.
fn datagrams() -> Vec<Vec<u8>> {
    let hex = [
        "80080001000000a00000000700000000d5d5d5d5",
        "9008000200000140000000070000beef0001bede0001100001aa0000d5d5",
        "b2e5000300000140000000070000000100000002bede000132ab00000a00050402000002",
        "80c80006000000071234567812345678000000a0000000010000002081ca000300000007010578404061620000",
        "81c9000700000008000000070100000a00000010000000050000000600000000",
        "82cb000200000007000000080362796500",
        "000100002112a442000102030405060708090a0b",
        "16fefd0000000000000000000a0100000000000000000a",
        "0001020304050607",
    ];
    hex.iter().map(|text| unhex(text)).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).expect("a hex digit") as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The files of a folder of the project, in order.
fn files(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    contents(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), ending)
}

/// The files of a shared corpus, which is not part of the project; says so where it is absent.
fn shared(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    let root = std::env::var_os("STROWGER_TESTDATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/testdata"), PathBuf::from);
    let folder = root.join(folder);
    if !folder.is_dir() {
        eprintln!("ABSENT CORPUS: {} (set STROWGER_TESTDATA); mutating our own only", folder.display());
    }
    contents(&folder, ending)
}

fn contents(folder: &Path, ending: &str) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == ending));
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a readable file")).collect()
}

const SIP_WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\r\n ",
    b"\r\n\r\n",
    b"SIP/2.0",
    b"INVITE ",
    b"Via: SIP/2.0/UDP h;branch=z9hG4bK",
    b"v:SIP/2.0/TCP [::1]:1",
    b"Content-Length: 5\r\n",
    b"l:0\r\n",
    b"Content-Length : -1\r\n",
    b"CSeq: 1 ACK\r\n",
    b"Call-ID: x\r\n",
    b"i:",
    b"m:*\r\n",
    b"<sip:a@b;lr>",
    b"\"\\\"",
    b"%00",
    b"%%",
    b";rport",
    b";received=[::1]",
    b";tag=",
    b"sip:",
    b"sips:",
    b"tel:+1",
    b"[::",
    b"?a=b&c=d",
    b"Require: x\r\n",
    b"Date: Sat, 21 Nov 2026 09:00:00 GMT\r\n",
    b"Max-Forwards: 0\r\n",
    b"\r\r\n",
    b"\0",
    b"\xc3\xa9",
];

const SDP_WORDS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"v=0\r\n",
    b"m=audio 4000 RTP/AVP 0 8\r\n",
    b"m=video 0 RTP/AVPF 96\r\n",
    b"m=image 4000 udptl t38\r\n",
    b"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n",
    b"c=IN IP4 0.0.0.0\r\n",
    b"c=IN IP6 ::1\r\n",
    b"c=IN IP4 224.0.0.1/3/2\r\n",
    b"a=sendonly\r\n",
    b"a=inactive\r\n",
    b"a=rtcp:9\r\n",
    b"a=rtcp-mux\r\n",
    b"a=group:BUNDLE 0 1\r\n",
    b"a=mid:0\r\n",
    b"a=candidate:1 1 udp 1 10.0.0.9 4000 typ host\r\n",
    b"a=rtpmap:0 PCMU/8000\r\n",
    b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n",
    b"a=fmtp:96 ",
    b"a=ptime:0\r\n",
    b"o=- 1 1 IN IP4 h\r\n",
    b"t=0 0\r\n",
    b"/2",
];

const RTP_WORDS: &[&[u8]] = &[
    &[0x80],
    &[0x90],
    &[0xa0],
    &[0xb0],
    &[0xbf],
    &[200],
    &[201],
    &[202],
    &[203],
    &[204],
    &[205],
    &[206],
    &[207],
    &[0xff; 4],
    &[0; 4],
    &[0xbe, 0xde, 0, 1],
    &[0x81, 202, 0, 0],
    &[0x80, 201, 0xff, 0xff],
    &[0x21, 0x12, 0xa4, 0x42],
];

const OPUS_WORDS: &[&[u8]] = &[
    &[0x0b],
    &[0xfb],
    &[0x43],
    &[0xc1],
    &[0xff; 8],
    &[0; 8],
    &[0x28, 8],
    &[0x38, 0],
    &[0x08, 20],
    &[0x48, 200],
];

const WAV_WORDS: &[&[u8]] = &[
    b"RIFF",
    b"WAVE",
    b"fmt ",
    b"data",
    b"cue ",
    b"LIST",
    b"adtl",
    b"ltxt",
    &[0; 4],
    &[0xff; 4],
    &[0xfe, 0xff],
];

const OGG_WORDS: &[&[u8]] = &[
    b"OggS",
    b"OpusHead",
    b"OpusTags",
    b"PAUSE=1.000-2.000",
    &[0xff; 8],
    &[0; 8],
    &[1, 2, 0, 0, 1],
    &[0, 4],
    &[0, 1],
];

const NG_WORDS: &[&[u8]] = &[
    b"7:command5:offer",
    b"7:call-id2:c1",
    b"l",
    b"d",
    b"e",
    b"[",
    b"]",
    b"{",
    b"}",
    b"\"",
    b"\\u0000",
    b",\"call-id\":\"a\"",
    b",\"rtpp-flags\":\"call-id=b\"",
    b" call-id=c",
    b" codec=[strip=[",
    b"codec-set-opus/48000/2/",
    b"sdp-attr-substitute-audio-a>b",
    b"SDES-only-",
    b"--",
    b"..",
    b"null",
    b"1e9",
    b"i1e",
    b"1048577:",
];

const CONFIG_WORDS: &[&[u8]] = &[
    b"\n",
    b"[",
    b"]",
    b"[[route]]\n",
    b"[engine]\n",
    b"= ",
    b"\"",
    b"'''",
    b"{ ",
    b" }",
    b", ",
    b"\"env:X\"",
    b"\"30s\"",
    b"\"40/s\"",
    b"trunk.a = \"10.0.0.1\"\n",
    b"listener.m = ",
    b"\"udp:[::1]:0\"",
    b"true",
    b"1e400",
    b"-0",
    b"\\u0000",
    b"#",
    b".",
    b"\"~(\"",
    b"\"+1X.\"",
];
