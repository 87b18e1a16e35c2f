//! A client of rtpengine's NG protocol over UDP, and a load test of media proxies with it: offers and answers, media
//! through the ports that they open, deletes.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::bencode::Value;
use crate::figures::{Percentiles, Times};
use crate::process::{Sample, Usage};
use crate::relay::{self, Load, Parties, Ports};
use crate::session::{self, Remote};
use crate::sys;

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// No socket, or no answer to five copies of a request.
    #[error("the media proxy does not answer: {0}")]
    Network(#[from] io::Error),
    /// It said no.
    #[error("the media proxy refuses: {0}")]
    Refused(String),
    /// Its answer is no answer.
    #[error("the media proxy answers nonsense: {0}")]
    Nonsense(&'static str),
}

/// Speaks to one proxy, one command at a time.
#[derive(Debug)]
pub struct Client {
    socket: UdpSocket,
    cookies: u64,
    times: [Times; 3],
}

/// As Kamailio does: the same cookie again, a second apart.
const TRIES: usize = 5;
const TRY_FOR: Duration = Duration::from_secs(1);

impl Client {
    /// Speaks to the proxy at `server`.
    ///
    /// # Errors
    /// As `bind` and `connect`.
    pub fn connect(server: SocketAddr) -> io::Result<Self> {
        let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
        let socket = UdpSocket::bind(any)?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(TRY_FOR))?;
        Ok(Client { socket, cookies: 0, times: Default::default() })
    }

    /// Sends a command and returns the reply, whose result is not an error.
    ///
    /// # Errors
    /// See [`Failed`].
    pub fn command(&mut self, name: &str, entries: Vec<(&str, Value)>) -> Result<Value, Failed> {
        self.cookies += 1;
        let cookie = format!("{:x}_{:x}", sys::real_ns(), self.cookies);
        let mut entries: Vec<_> = entries.into_iter().map(|(k, v)| (k.as_bytes().to_vec(), v)).collect();
        entries.push((b"command".to_vec(), Value::text(name)));
        let mut request = format!("{cookie} ").into_bytes();
        Value::Dict(entries).write(&mut request);
        let mut buffer = vec![0; 65_536];
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        for _ in 0..TRIES {
            self.socket.send(&request)?;
            let sent = Instant::now();
            while sent.elapsed() < TRY_FOR {
                let len = match self.socket.recv(&mut buffer) {
                    Ok(len) => len,
                    Err(error) => {
                        last = error;
                        break;
                    }
                };
                // A reply to an earlier copy of an earlier request is passed over.
                let Some(reply) = buffer[..len].strip_prefix(cookie.as_bytes()) else { continue };
                let reply = Value::read(reply.strip_prefix(b" ").unwrap_or_default());
                return check(reply.ok_or(Failed::Nonsense("no bencode"))?);
            }
        }
        Err(last.into())
    }

    /// Whether it is there.
    ///
    /// # Errors
    /// See [`Failed`].
    pub fn ping(&mut self) -> Result<(), Failed> {
        self.command("ping", vec![]).map(drop)
    }

    /// Tells it of the caller, whose SDP names `address`, and returns the port that faces the callee.
    ///
    /// # Errors
    /// See [`Failed`].
    pub fn offer(&mut self, call: &str, address: SocketAddr) -> Result<Remote, Failed> {
        self.describe("offer", 0, call, address)
    }

    /// Tells it of the callee, whose SDP names `address`, and returns the port that faces the caller.
    ///
    /// # Errors
    /// See [`Failed`].
    pub fn answer(&mut self, call: &str, address: SocketAddr) -> Result<Remote, Failed> {
        self.describe("answer", 1, call, address)
    }

    /// Ends a call.
    ///
    /// # Errors
    /// See [`Failed`].
    pub fn delete(&mut self, call: &str) -> Result<(), Failed> {
        let begun = Instant::now();
        self.command("delete", vec![("call-id", Value::text(call)), ("from-tag", Value::text("a"))])?;
        self.times[2].record(elapsed_ns(begun));
        Ok(())
    }

    fn describe(&mut self, name: &str, which: usize, call: &str, at: SocketAddr) -> Result<Remote, Failed> {
        let sdp = session::write(at, crate::speech::Codec::Pcmu, 1);
        let mut entries = vec![
            ("sdp", Value::text(sdp)),
            ("ICE", Value::text("remove")),
            ("flags", Value::List(vec![Value::text("trust-address")])),
            ("replace", Value::List(vec![Value::text("origin"), Value::text("session-connection")])),
            ("transport-protocol", Value::text("RTP/AVP")),
            ("call-id", Value::text(call)),
            ("from-tag", Value::text("a")),
        ];
        if which == 1 {
            entries.push(("to-tag", Value::text("b")));
        }
        let begun = Instant::now();
        let reply = self.command(name, entries)?;
        self.times[which].record(elapsed_ns(begun));
        let sdp = reply.get("sdp").and_then(Value::as_text).ok_or(Failed::Nonsense("no SDP in the reply"))?;
        session::read(sdp).ok_or(Failed::Nonsense("no audio in the SDP of the reply"))
    }
}

fn check(reply: Value) -> Result<Value, Failed> {
    match reply.get("result").and_then(Value::as_text) {
        Some(b"ok" | b"pong") => Ok(reply),
        Some(_) => {
            let reason = reply.get("error-reason").or(reply.get("message")).and_then(Value::as_text);
            Err(Failed::Refused(String::from_utf8_lossy(reason.unwrap_or(b"without a reason")).into_owned()))
        }
        None => Err(Failed::Nonsense("no result")),
    }
}

fn elapsed_ns(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Calls with media through an NG proxy.
#[derive(Clone, Debug)]
pub struct LoadNg {
    /// The proxy's NG address.
    pub to: SocketAddr,
    /// Calls that live together.
    pub calls: usize,
    /// Addresses of our calling and answering parties.
    pub parties: [IpAddr; 2],
    /// How media is sent and measured.
    pub load: Load,
}

/// What a load test by NG found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Media.
    pub relay: relay::Report,
    /// Time of each offer.
    pub offer: Percentiles,
    /// Time of each answer.
    pub answer: Percentiles,
    /// Time of each delete.
    pub delete: Percentiles,
    /// What the process under test used for all offers and answers.
    pub set_up: Option<Usage>,
    /// What it used for all deletes.
    pub tear_down: Option<Usage>,
    /// CPU time of one offer, answer and delete, microseconds.
    pub cpu_us_per_call: Option<f64>,
    /// Resident memory that one call took, bytes.
    pub bytes_per_call: Option<f64>,
    /// Descriptors that one call took.
    pub descriptors_per_call: Option<f64>,
}

/// Sets all calls up one after the other, sends media through them, ends them.
///
/// # Errors
/// See [`Failed`].
pub fn run(load: &LoadNg) -> Result<Report, Failed> {
    sys::raise_descriptor_limit();
    let parties = Parties::bind(load.calls, load.parties[0], load.parties[1])?;
    let mut client = Client::connect(load.to)?;
    client.ping()?;
    let sample = || load.load.pid.map(Sample::of).transpose();
    let name = |call: usize| format!("load-{call}-{}", load.load.media.seed);

    let before = sample()?;
    let mut ports = Vec::with_capacity(load.calls);
    for (call, (a, b)) in parties.a.iter().zip(&parties.b).enumerate() {
        let faces_b = client.offer(&name(call), a.address())?;
        let faces_a = client.answer(&name(call), b.address())?;
        ports.push(Ports { a: faces_a.rtp, b: faces_b.rtp });
    }
    let up = sample()?;
    let media = relay::run(&load.load, parties, &ports, None)?;
    let talked = sample()?;
    for call in 0..load.calls {
        client.delete(&name(call))?;
    }
    let down = sample()?;

    let between = |from: &Option<Sample>, to: &Option<Sample>| Some(to.as_ref()?.since(from.as_ref()?));
    let (set_up, tear_down) = (between(&before, &up), between(&talked, &down));
    let calls = load.calls.max(1) as f64;
    let cpu = set_up.as_ref().zip(tear_down.as_ref()).map(|(up, down)| up.cpu_seconds + down.cpu_seconds);
    let grown = |value: fn(&Sample) -> u64| {
        let (before, up) = before.as_ref().zip(up.as_ref())?;
        Some((value(up) as f64 - value(before) as f64) / calls)
    };
    Ok(Report {
        relay: media,
        offer: client.times[0].percentiles(),
        answer: client.times[1].percentiles(),
        delete: client.times[2].percentiles(),
        cpu_us_per_call: cpu.map(|cpu| cpu * 1e6 / calls),
        bytes_per_call: grown(|sample| sample.rss_bytes),
        descriptors_per_call: grown(|sample| sample.descriptors),
        set_up,
        tear_down,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media;
    use std::thread;

    /// A proxy that answers each offer and answer with a port of the bare relay, late and twice.
    fn proxy(ports: Vec<(SocketAddr, SocketAddr)>) -> (SocketAddr, thread::JoinHandle<usize>) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            let (mut offers, mut answers, mut deletes) = (0, 0, 0);
            while deletes < ports.len() {
                let (len, client) = socket.recv_from(&mut buffer).unwrap();
                let space = buffer[..len].iter().position(|&byte| byte == b' ').unwrap();
                let (cookie, request) =
                    (buffer[..space].to_vec(), Value::read(&buffer[space + 1..len]).unwrap());
                let reply = |port: Option<SocketAddr>, result: &str| {
                    let mut entries = vec![(b"result".to_vec(), Value::text(result))];
                    if let Some(port) = port {
                        let sdp = session::write(port, crate::speech::Codec::Pcmu, 9);
                        entries.push((b"sdp".to_vec(), Value::text(sdp)));
                    }
                    let mut bytes = [&cookie[..], b" "].concat();
                    Value::Dict(entries).write(&mut bytes);
                    socket.send_to(&bytes, client).unwrap();
                    socket.send_to(&bytes, client).unwrap();
                };
                match request.get("command").and_then(Value::as_text).unwrap() {
                    b"ping" => reply(None, "pong"),
                    b"offer" => {
                        reply(Some(ports[offers].1), "ok");
                        offers += 1;
                    }
                    b"answer" => {
                        reply(Some(ports[answers].0), "ok");
                        answers += 1;
                    }
                    _ => {
                        reply(None, "ok");
                        deletes += 1;
                    }
                }
            }
            deletes
        });
        (address, thread)
    }

    #[test]
    fn calls_are_set_up_used_and_deleted() {
        // Ports that nobody reads: media is lost, which the report must say.
        let sinks: Vec<_> = (0..6).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let at = |i: usize| sinks[i].local_addr().unwrap();
        let (to, proxy) = proxy(vec![(at(0), at(1)), (at(2), at(3)), (at(4), at(5))]);
        let media = media::Config { rtcp: false, linger: Duration::ZERO, ..media::Config::default() };
        let load = Load {
            media,
            warm_up: Duration::from_millis(20),
            measure: Duration::from_millis(80),
            pid: Some(std::process::id()),
        };
        let localhost: IpAddr = [127, 0, 0, 1].into();
        let report = run(&LoadNg { to, calls: 3, parties: [localhost; 2], load }).unwrap();
        assert_eq!(proxy.join().unwrap(), 3);
        assert_eq!((report.offer.count, report.answer.count, report.delete.count), (3, 3, 3));
        assert_eq!(report.relay.media.counts.silent_streams, 6);
        assert!(report.cpu_us_per_call.is_some());
    }

    #[test]
    fn refusals_carry_their_reason() {
        let refused = Value::read(b"d6:result5:error12:error-reason16:Ran out of portse").unwrap();
        assert_eq!(check(refused).unwrap_err().to_string(), "the media proxy refuses: Ran out of ports");
        assert!(matches!(check(Value::Int(1)), Err(Failed::Nonsense(_))));
    }
}
