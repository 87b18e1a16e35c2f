//! baresip without sound card: each plays a tone from a file, writes what it hears to a file, and takes orders and
//! tells events over a TCP connection (its module ctrl_tcp).

use super::{Folder, SOON, peer, wait_for};
use serde_json::Value;
use std::f64::consts::TAU;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// One phone.
pub struct Baresip {
    child: Child,
    folder: Folder,
    control: TcpStream,
    unread: Vec<u8>,
    events: Vec<Value>,
}

/// Samples a second of the tone that is played.
const RATE: u32 = 8000;

/// What a phone can do.
#[derive(Clone, Copy, Debug)]
pub struct Abilities<'a> {
    /// Its codecs in order, as in SDP with a comma between.
    pub codecs: &'a str,
    /// `srtp-mand` encrypts all, `srtp` offers keys under RTP/AVP, nothing does neither.
    pub encryption: &'a str,
}

impl Default for Abilities<'_> {
    fn default() -> Self {
        Abilities { codecs: "PCMU/8000,PCMA/8000", encryption: "" }
    }
}

/// What was heard.
pub struct Recording {
    pub rate: u32,
    pub samples: Vec<i16>,
}

impl Baresip {
    /// At port 5060 of this address as `user`, playing a tone; a callee answers by itself. `None` where it is absent.
    pub fn start(ip: Ipv4Addr, user: &str, tone_hz: f64, callee: bool) -> Option<Baresip> {
        Baresip::with(ip, user, tone_hz, callee, Abilities::default())
    }

    /// As [`Baresip::start`], with abilities of its own.
    pub fn with(
        ip: Ipv4Addr,
        user: &str,
        tone_hz: f64,
        callee: bool,
        abilities: Abilities<'_>,
    ) -> Option<Baresip> {
        let program = peer("baresip")?;
        let folder = Folder::new();
        let path = folder.path().display().to_string();
        // It does not turn mono into the stereo that its Opus wants.
        let channels = if abilities.codecs.contains("opus") { 2 } else { 1 };
        tone(&folder.path().join("tone.wav"), tone_hz, channels);
        let answer = if callee { ";answermode=auto" } else { "" };
        let Abilities { codecs, encryption } = abilities;
        let encryption =
            if encryption.is_empty() { String::new() } else { format!(";mediaenc={encryption}") };
        let coders: String = [("opus", "opus"), ("G722", "g722"), ("L16", "l16")]
            .into_iter()
            .filter(|(codec, _)| codecs.contains(codec))
            .map(|(_, module)| format!("module {module}.so\n"))
            .collect();
        // RTP ports differ from phone to phone, since baresip binds them on all addresses.
        let [.., c, d] = ip.octets();
        let ports = 20_000 + (u32::from(c) * 256 + u32::from(d)) % 1_400 * 8;
        let config = format!(
            "module_path {}\nsip_listen {ip}:5060\nnet_interface {ip}\nrtp_ports {ports}-{}\n\
             audio_source aufile,{path}/tone.wav\naudio_player aubridge,sink\naudio_alert aubridge,alert\n\
             ausrc_srate {RATE}\nauplay_srate {RATE}\naudio_level no\nsnd_path {path}\n\
             module g711.so\n{coders}module srtp.so\nmodule aufile.so\nmodule aubridge.so\nmodule sndfile.so\n\
             module_app account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\nctrl_tcp_listen {ip}:4444\n",
            modules(),
            ports + 7,
        );
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("writable");
        write("config", &config);
        write("accounts", &format!("<sip:{user}@{ip}>;regint=0{answer}{encryption};audio_codecs={codecs}\n"));
        write("contacts", "");
        let log = std::fs::File::create(folder.path().join("log")).expect("writable");
        let mut child = Command::new(program)
            .arg("-f")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("baresip starts");
        let control = wait_for("baresip to take orders", SOON, || {
            assert!(child.try_wait().is_ok_and(|ended| ended.is_none()), "{}", read(&folder, "log"));
            TcpStream::connect(SocketAddr::from((ip, 4444))).ok()
        });
        wait_for("baresip to be ready", SOON, || read(&folder, "log").contains("is ready").then_some(()));
        Some(Baresip { child, folder, control, unread: Vec::new(), events: Vec::new() })
    }

    /// Gives an order, such as `dial`, `hangup`, `hold`.
    pub fn order(&mut self, command: &str, parameters: &str) {
        let json = serde_json::json!({ "command": command, "params": parameters, "token": "t" }).to_string();
        write!(self.control, "{}:{json},", json.len()).expect("baresip listens");
    }

    /// Waits for an event of this type, such as `CALL_ESTABLISHED`.
    pub fn expect(&mut self, kind: &str) -> Value {
        let end = Instant::now() + SOON;
        loop {
            if let Some(at) = self.events.iter().position(|event| event["type"] == kind) {
                return self.events.remove(at);
            }
            assert!(Instant::now() < end, "no event {kind}; the phone says:\n{}", self.log());
            self.read();
        }
    }

    /// Takes what has come: netstrings of JSON.
    fn read(&mut self) {
        let mut buffer = [0; 8192];
        self.control.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket");
        let Ok(len) = self.control.read(&mut buffer) else { return };
        assert!(len > 0, "baresip has gone:\n{}", self.log());
        self.unread.extend_from_slice(&buffer[..len]);
        while let Some(colon) = self.unread.iter().position(|byte| *byte == b':') {
            let len: usize = core::str::from_utf8(&self.unread[..colon])
                .ok()
                .and_then(|n| n.parse().ok())
                .expect("a length");
            let end = colon + 1 + len;
            if self.unread.len() <= end {
                return;
            }
            let event: Value = serde_json::from_slice(&self.unread[colon + 1..end]).expect("JSON");
            self.unread.drain(..=end);
            if event["event"] == true {
                self.events.push(event);
            }
        }
    }

    /// What it printed.
    pub fn log(&self) -> String {
        read(&self.folder, "log")
    }

    /// What it heard in the call that has ended, in samples.
    pub fn heard(&self) -> Vec<i16> {
        self.recording().samples
    }

    /// As [`Baresip::heard`], with its rate; of two channels the left one.
    pub fn recording(&self) -> Recording {
        let files = std::fs::read_dir(self.folder.path()).expect("readable");
        let name = files
            .filter_map(|file| file.ok()?.file_name().into_string().ok())
            .find(|name| name.starts_with("dump-") && name.ends_with("-dec.wav"))
            .unwrap_or_else(|| panic!("nothing was recorded:\n{}", self.log()));
        let wav = std::fs::read(self.folder.path().join(name)).expect("readable");
        // Not written yet: its header comes with its end.
        let Some(data) = wav.windows(4).position(|w| w == b"data") else {
            return Recording { rate: RATE, samples: Vec::new() };
        };
        let channels = usize::from(wav[22]).max(1);
        let rate = u32::from_le_bytes([wav[24], wav[25], wav[26], wav[27]]);
        let samples = wav[data + 8..].chunks_exact(2 * channels).map(|s| i16::from_le_bytes([s[0], s[1]]));
        Recording { rate, samples: samples.collect() }
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- baresip in {}\n{}", self.folder.path().display(), self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Share of the power of these samples that is in the tone, 0 to 1 (Goertzel).
pub fn share_of(samples: &[i16], tone_hz: f64) -> f64 {
    share_at(RATE, samples, tone_hz)
}

/// As [`share_of`], at any rate.
pub fn share_at(rate: u32, samples: &[i16], tone_hz: f64) -> f64 {
    let step = TAU * tone_hz / f64::from(rate);
    let (mut s1, mut s2, mut power) = (0.0, 0.0, 0.0);
    for sample in samples {
        let x = f64::from(*sample);
        power += x * x;
        (s1, s2) = (x + 2.0 * step.cos() * s1 - s2, s1);
    }
    let tone = s1 * s1 + s2 * s2 - 2.0 * step.cos() * s1 * s2;
    if power == 0.0 { 0.0 } else { 2.0 * tone / (samples.len() as f64 * power) }
}

/// The frequency in which most of the power is, among whole hertz within 25 of the wanted one, and its share.
pub fn tone_near(rate: u32, samples: &[i16], wanted: u32) -> (u32, f64) {
    let of = |hz| (hz, share_at(rate, samples, f64::from(hz)));
    (wanted - 25..=wanted + 25).map(of).max_by(|a, b| a.1.total_cmp(&b.1)).expect("some frequencies")
}

/// Twenty seconds of a tone as a WAV file.
fn tone(file: &Path, hz: f64, channels: u8) {
    let frame = 2 * u32::from(channels);
    let bytes = RATE * 20 * frame;
    let mut wav = Vec::with_capacity(bytes as usize + 44);
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(bytes + 36).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0");
    wav.extend_from_slice(&[channels, 0]);
    wav.extend_from_slice(&RATE.to_le_bytes());
    wav.extend_from_slice(&(RATE * frame).to_le_bytes());
    wav.extend_from_slice(&[frame as u8, 0]);
    wav.extend_from_slice(b"\x10\0data");
    wav.extend_from_slice(&bytes.to_le_bytes());
    for n in 0..bytes / frame {
        let value = (TAU * hz * f64::from(n) / f64::from(RATE)).sin() * 8_000.0;
        (0..channels).for_each(|_| wav.extend_from_slice(&(value as i16).to_le_bytes()));
    }
    std::fs::write(file, wav).expect("writable");
}

/// Where the package has put the modules.
fn modules() -> &'static str {
    let places = ["/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules"];
    places.into_iter().find(|place| Path::new(place).is_dir()).unwrap_or(places[0])
}

fn read(folder: &Folder, name: &str) -> String {
    String::from_utf8_lossy(&std::fs::read(folder.path().join(name)).unwrap_or_default()).into_owned()
}
