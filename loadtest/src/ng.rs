//! A client of rtpengine's NG protocol, one command at a time, and a load test of media proxies with it: offers and
//! answers at their intended times, media through the ports that they open, deletes.
mod wire; // bencode and JSON over UDP, TCP and HTTP, many requests at once
mod session; // the parties' SDP, and the judge of what the proxy makes of it
mod desk; // the signalling of a run
mod load; // a whole run
mod report; // what it found

pub use desk::Tally;
pub use load::{LoadNg, Progress, Says, run};
pub use report::{Point, Report, Steady};
pub use wire::Transport;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::bencode::Value;
use crate::session::{self as sdp, Remote};
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
        Ok(Client { socket, cookies: 0 })
    }

    /// Sends a command and returns the reply, whose result is not an error.
    ///
    /// # Errors
    /// See [`Failed`].
    pub fn command(&mut self, name: &str, entries: Vec<(&str, Value)>) -> Result<Value, Failed> {
        self.command_in(TRIES, name, entries)
    }

    fn command_in(&mut self, tries: usize, name: &str, entries: Vec<(&str, Value)>) -> Result<Value, Failed> {
        self.cookies += 1;
        let cookie = format!("{:x}_{:x}", sys::real_ns(), self.cookies);
        let mut entries: Vec<_> = entries.into_iter().map(|(k, v)| (k.as_bytes().to_vec(), v)).collect();
        entries.push((b"command".to_vec(), Value::text(name)));
        let mut request = format!("{cookie} ").into_bytes();
        Value::Dict(entries).write(&mut request);
        let mut buffer = vec![0; 65_536];
        let mut last = io::Error::from(io::ErrorKind::TimedOut);
        for _ in 0..tries {
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

    /// Whether it answers one request, within a second.
    ///
    /// # Errors
    /// See [`Failed`].
    pub fn ping_once(&mut self) -> Result<(), Failed> {
        self.command_in(1, "ping", vec![]).map(drop)
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
        self.command("delete", vec![("call-id", Value::text(call)), ("from-tag", Value::text("a"))]).map(drop)
    }

    fn describe(&mut self, name: &str, which: usize, call: &str, at: SocketAddr) -> Result<Remote, Failed> {
        let sdp = sdp::write(at, crate::speech::Codec::Pcmu, 1);
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
        let reply = self.command(name, entries)?;
        let sdp = reply.get("sdp").and_then(Value::as_text).ok_or(Failed::Nonsense("no SDP in the reply"))?;
        sdp::read(sdp).ok_or(Failed::Nonsense("no audio in the SDP of the reply"))
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

#[cfg(test)]
pub(crate) mod fake; // proxies that misbehave

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_carry_their_reason() {
        let refused = Value::read(b"d6:result5:error12:error-reason16:Ran out of portse").unwrap();
        assert_eq!(check(refused).unwrap_err().to_string(), "the media proxy refuses: Ran out of ports");
        assert!(matches!(check(Value::Int(1)), Err(Failed::Nonsense(_))));
    }
}
