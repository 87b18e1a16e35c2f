//! One call through the engine, whatever comes of it, and what the engine tells of it.

use super::softphone::{Connected, Message, Softphone, audio};
use super::{Engine, SOON};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Two phones and the way between them.
#[derive(Clone, Copy)]
pub struct Way<'p> {
    pub a: &'p Softphone,
    pub b: &'p Softphone,
    pub engine: SocketAddr,
}

impl Way<'_> {
    /// 2001 calls this number. B takes what comes.
    ///
    /// # Errors
    /// The refusal, acknowledged.
    pub fn call(&self, number: &str) -> Result<Connected, Message> {
        self.call_as("2001", number)
    }

    /// As [`Way::call`], as somebody.
    pub fn call_as(&self, caller: &str, number: &str) -> Result<Connected, Message> {
        self.call_answered(caller, number, 200)
    }

    /// As [`Way::call_as`]; B answers with this status.
    pub fn call_answered(&self, caller: &str, number: &str, status: u16) -> Result<Connected, Message> {
        let media = |phone: &Softphone| audio((phone.address().ip(), 4000).into());
        let mut a = self.a.invite_as(caller, self.engine, number, &media(self.a));
        let (end, mut far) = (Instant::now() + SOON, None);
        loop {
            if let Some(offered) = self.b.expect_within("INVITE", STEP) {
                let sdp = if status == 200 { media(self.b) } else { String::new() };
                far = Some((self.b.answer(&offered, status, &sdp), offered));
            }
            let ours = |answer: &Message| answer.header("Call-ID") == a.call_id;
            match self.a.final_answer_within(STEP).filter(ours) {
                Some(answered) if answered.kind() == "200 INVITE" => {
                    self.a.ack(&mut a, &answered);
                    let (b, offered) = far.expect("who answers was called");
                    self.b.expect("ACK");
                    return Ok(Connected { a, b, offered, answered });
                }
                Some(refusal) => {
                    self.a.ack_refusal(&mut a, &refusal);
                    return Err(refusal);
                }
                None => assert!(Instant::now() < end, "nobody answers the call of {caller} to {number}"),
            }
        }
    }

    /// As [`Way::call`], of a call that must come about.
    pub fn connects(&self, number: &str) -> Connected {
        self.call(number).unwrap_or_else(|refusal| panic!("{number} is refused: {}", refusal.text))
    }

    /// As [`Way::call`], of a call that must be refused with this status and without anybody being called.
    pub fn is_refused(&self, number: &str, status: u16) -> Message {
        let Err(refusal) = self.call(number) else { panic!("{number} may be called") };
        assert_eq!(refusal.kind(), format!("{status} INVITE"), "{number}: {}", refusal.text);
        assert!(self.b.expect_within("INVITE", Duration::ZERO).is_none(), "{number}: nobody is called");
        refusal
    }

    /// A hangs up.
    pub fn ends(&self, mut call: Connected) {
        self.a.hang_up(&mut call.a, self.b);
    }
}

const STEP: Duration = Duration::from_millis(5);

/// All events of these kinds that the engine remembers and those that come, until there are enough.
///
/// # Panics
/// When that takes too long; the message says what came instead.
pub fn events(engine: &Engine, kinds: &str, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let api = engine.api();
    let mut stream = TcpStream::connect(api).expect("the API listens");
    stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a socket");
    let request = format!("GET /v1/events?kind={kinds} HTTP/1.1\r\nHost: {api}\r\nLast-Event-ID: 1\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the API reads");
    let (mut text, mut buffer, end) = (Vec::new(), vec![0; 65_536], Instant::now() + SOON);
    loop {
        if let Ok(len) = stream.read(&mut buffer) {
            text.extend_from_slice(&buffer[..len]);
        }
        let said = String::from_utf8_lossy(&text);
        let data = said.lines().filter_map(|line| line.strip_prefix("data: "));
        let found: Vec<Value> = data.filter_map(|data| serde_json::from_str(data).ok()).collect();
        if enough(&found) {
            return found;
        }
        assert!(Instant::now() < end, "too few events of {kinds}: {found:#?} in {said}");
    }
}
