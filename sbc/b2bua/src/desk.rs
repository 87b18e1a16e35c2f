//! What every call of a shard works with: the transactions, the way out, random numbers, counters, the trace memory.
//! Owns no call. Builds what all messages of ours have in common: Via, Contact, tags, Call-IDs.

use crate::spec::{Spec, Target as SpecTarget, Transport};
use crate::trace::{Step, Trace, method_number};
use base::{HashKey, Key, Now, Rng};
use command::{BridgeId, Command, Ticket};
use core::net::{IpAddr, SocketAddr};
use ledger::{Bans, CallIds, Cdr, EventBus, HookQuestion, Recordings, Rooms, SignallingStats};
use policy::fraud::Fraud;
use policy::guard::{Guard, GuardSpec};
use sdp::crypto::KeySource;
use sip::flow::{Flow, Target};
use sip::message::write::Writer;
use sip::message::{Message, Method};
use sip::stack::{ClientTx, ServerTx, Stack, Transmit};
use sip::transaction::Timers;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// What a signalling shard is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// This machine, in ids.
    pub node: u8,
    /// This shard.
    pub shard: u8,
    /// How many signalling shards there are.
    pub shards: usize,
    /// How many media shards there are.
    pub media_shards: usize,
    /// Names the owner of a Call-ID; the same on all shards.
    pub steering: HashKey,
    /// The installation's secret.
    pub secret: HashKey,
    /// SIP timers.
    pub timers: Timers,
    /// Calls that may exist at once.
    pub calls_max: u32,
    /// Bytes of recent messages to keep for `trace`.
    pub trace_bytes: usize,
    /// How often this shard has been started.
    pub generation: u32,
    /// Whether `Ask::Panic` is honoured.
    pub allow_panic: bool,
    /// What all signalling shards have in common.
    pub shared: Shared,
}

/// What all signalling shards have in common: memory of what was done against us, and the way out for events.
#[derive(Clone, Debug)]
pub struct Shared {
    /// Counts of the fraud profiles.
    pub fraud: Arc<Fraud>,
    /// Strangers and their offences.
    pub guard: Arc<Guard>,
    /// Sources that nobody listens to.
    pub bans: Arc<Bans>,
    /// What the world is told.
    pub events: Arc<EventBus>,
    /// Rooms, and who sits in them.
    pub rooms: Arc<Rooms>,
    /// Recordings that run.
    pub recordings: Arc<Recordings>,
}

impl Shared {
    /// Empty ones. `key` comes from the operating system's random numbers.
    pub fn new(now: Now, key: HashKey) -> Shared {
        Shared {
            fraud: Arc::new(Fraud::new(key, FRAUD_KEYS_MAX)),
            guard: Arc::new(Guard::new(key, GuardSpec::default(), STRANGERS_MAX)),
            bans: Arc::new(Bans::new(key)),
            events: EventBus::new(now.wall),
            rooms: Arc::default(),
            recordings: Arc::default(),
        }
    }
}

/// Keys that fraud profiles count at a time, all together.
const FRAUD_KEYS_MAX: usize = 1 << 18;
/// Strangers that are remembered.
const STRANGERS_MAX: usize = 1 << 16;

/// What the shell has to do.
#[derive(Debug)]
pub enum Output {
    /// Send a SIP message.
    Send(Transmit),
    /// Ask a media shard.
    Media {
        /// Which.
        shard: usize,
        /// What.
        command: Command,
    },
    /// Look a target up; answered by `Switch::handle_resolved`.
    Resolve {
        /// Comes back with the answer.
        query: Query,
        /// What to look up (RFC 3263).
        target: SpecTarget,
    },
    /// Ask a route's hook; answered by `Switch::handle_hooked`.
    Ask {
        /// Comes back with the answer.
        ticket: Key,
        /// What to ask.
        question: Box<HookQuestion>,
    },
    /// A leg was answered: keep its record, in case we die.
    Opened(Box<Cdr>),
    /// A leg ended: write its record.
    Ended(Box<Cdr>),
}

/// Ties a look-up to what waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Who.
    pub of: Of,
    /// Which of the trunk's targets.
    pub target: u16,
}

/// Who waits for a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// An attempt of this call.
    Call(Key),
    /// A round of probes.
    Probe(Key),
}

/// One address of a target, after DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// How to send.
    pub transport: Transport,
    /// Where to.
    pub remote: SocketAddr,
    /// The address that the kernel would send from.
    pub local: IpAddr,
}

/// What a transaction gives back: whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// The call; for a probe the round that it belongs to, for a diverted call its place there.
    pub call: Key,
    /// Leg number.
    pub leg: u16,
    /// What the request is for.
    pub what: What,
}

/// What a request of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The INVITE that sets a leg up (or, for a server transaction, the one that came).
    Invite,
    /// PRACK for a provisional response.
    Prack,
    /// Ends a leg.
    Bye,
    /// Passes an offer of the other side on, or makes one of ours.
    Offer,
    /// Keeps a session alive.
    Refresh,
    /// INFO or MESSAGE of the other side.
    Pass,
    /// INFO of ours with a digit.
    Digit,
    /// Asks a trunk whether it lives; belongs to no call.
    Probe,
    /// Ends a diverted call.
    Tarpit,
}

/// Tools of one shard.
pub struct Desk {
    pub(crate) config: Config,
    pub(crate) spec: Arc<Spec>,
    /// By listener: what is really bound.
    pub(crate) bound: Vec<Vec<(Transport, SocketAddr)>>,
    pub(crate) stack: Stack<Token>,
    pub(crate) output: VecDeque<Output>,
    pub(crate) rng: Rng,
    /// Where keys of media come from: unlike `rng`, what was seen of it tells nothing of what comes.
    pub(crate) keys: KeySource,
    pub(crate) call_ids: CallIds,
    pub(crate) trace: Trace,
    pub(crate) stats: Arc<SignallingStats>,
    /// Their serials are even; those of NG, on the same shard, are odd.
    bridges_made: u64,
    tickets: u64,
    /// Dialogs that were ended as soon as they began, the latest first.
    unwanted: VecDeque<u64>,
    /// Recordings whose files outlast their calls.
    pub(crate) late: BTreeMap<Ticket, crate::orders::Late>,
}

impl Desk {
    pub(crate) fn new(
        now: Now,
        config: Config,
        spec: Arc<Spec>,
        mut rng: Rng,
        stats: Arc<SignallingStats>,
    ) -> Self {
        let limits = sip::stack::Limits::default();
        let key = HashKey::new([rng.u64(), rng.u64()]);
        let keys = KeySource::from_seed(key_seed(&config, &mut rng));
        Desk {
            keys,
            stack: Stack::new(now.mono, config.timers, limits, key),
            call_ids: CallIds::new(now.wall, config.node, config.shard),
            trace: Trace::new(config.trace_bytes),
            // Serials of bridges go on where an earlier generation cannot have come to.
            bridges_made: u64::from(config.generation) << 31,
            tickets: 0,
            unwanted: VecDeque::new(),
            late: BTreeMap::new(),
            bound: Vec::new(),
            output: VecDeque::new(),
            config,
            spec,
            rng,
            stats,
        }
    }

    /// A bridge on the next media shard in turn.
    pub(crate) fn new_bridge(&mut self) -> BridgeId {
        self.bridges_made += 1;
        let shard = self.bridges_made % self.config.media_shards.max(1) as u64;
        BridgeId::new(self.config.node, shard as u8, self.config.shard, self.bridges_made << 1)
    }

    /// The serial of a bridge whose media shard is not known yet.
    pub(crate) fn new_bridge_serial(&mut self) -> u64 {
        self.bridges_made += 1;
        self.bridges_made << 1
    }

    pub(crate) fn new_ticket(&mut self) -> command::Ticket {
        self.tickets += 1;
        command::Ticket(self.tickets)
    }

    pub(crate) fn media(&mut self, shard: usize, command: Command) {
        self.output.push_back(Output::Media { shard, command });
    }

    /// A Call-ID whose hash leads to this shard, so that both legs of a call live together.
    pub(crate) fn new_call_id(&mut self) -> Vec<u8> {
        loop {
            let mut id = Vec::with_capacity(24);
            self.rng.token(24, &mut id);
            if self.config.steering.owner(&id, self.config.shards) == usize::from(self.config.shard) {
                return id;
            }
        }
    }

    /// A tag of ours that leads back to the call and leg; the random half keeps strangers from guessing it.
    pub(crate) fn new_tag(&mut self, call: Key, leg: u16) -> Vec<u8> {
        let bits = call.to_bits() ^ self.config.secret.of(b"tag");
        let mut tag = format!("{bits:016x}{leg:02x}").into_bytes();
        self.rng.token(10, &mut tag);
        tag
    }

    /// The reverse of [`Desk::new_tag`], for any text.
    pub(crate) fn read_tag(&self, tag: &[u8]) -> Option<(Key, u16)> {
        let text = core::str::from_utf8(tag).ok().filter(|t| t.len() == 28)?;
        let bits = u64::from_str_radix(text.get(..16)?, 16).ok()?;
        let leg = u16::from_str_radix(text.get(16..18)?, 16).ok()?;
        Some((Key::from_bits(bits ^ self.config.secret.of(b"tag")), leg))
    }

    /// Our address towards a peer: what the socket has, and what Via and Contact say.
    pub(crate) fn local(
        &self,
        listener: usize,
        transport: Transport,
        kernel: IpAddr,
    ) -> Option<(SocketAddr, SocketAddr)> {
        let bound = self.bound.get(listener)?;
        let (_, address) = bound.iter().find(|(t, a)| *t == transport && a.is_ipv4() == kernel.is_ipv4())?;
        let ip = if address.ip().is_unspecified() { kernel } else { address.ip() };
        Some((
            SocketAddr::new(ip, address.port()),
            SocketAddr::new(self.advertised(listener, ip), address.port()),
        ))
    }

    /// What to write instead of an address of ours.
    pub(crate) fn advertised(&self, listener: usize, ip: IpAddr) -> IpAddr {
        let advertise = self.spec.listeners.get(listener).map(|l| l.advertise.as_slice()).unwrap_or_default();
        advertise.iter().copied().find(|a| a.is_ipv4() == ip.is_ipv4()).unwrap_or(ip)
    }

    /// A Via value with a fresh branch; `rport` so that replies find us through a NAT (RFC 3581).
    pub(crate) fn via(&mut self, transport: Transport, public: SocketAddr) -> Vec<u8> {
        let mut via = format!("SIP/2.0/{} {public};branch=", transport.via()).into_bytes();
        via.extend_from_slice(&sip::stack::new_branch(&mut self.rng));
        if transport == Transport::Udp {
            via.extend_from_slice(b";rport");
        }
        via
    }

    /// Answers a request and remembers the answer in the call's ladder.
    pub(crate) fn respond(&mut self, now: Now, tx: ServerTx, code: u16, bytes: Vec<u8>) -> Arc<[u8]> {
        let bytes: Arc<[u8]> = bytes.into();
        self.stack.respond(now.mono, tx, code, Arc::clone(&bytes));
        bytes
    }

    /// Sends a request in a transaction.
    pub(crate) fn request(
        &mut self,
        now: Now,
        target: Target,
        token: Token,
        bytes: Vec<u8>,
    ) -> Option<ClientTx> {
        match self.stack.request(now.mono, target, token, bytes) {
            Ok(tx) => Some(tx),
            Err(error) => {
                tracing::warn!(%error, remote = %target.remote, "request not sent");
                None
            }
        }
    }

    /// A 2xx that nobody wants (a late one, or of a losing fork): acknowledged and ended at once, so that the far
    /// end does not ring on (RFC 3261 section 13.2.2.4).
    pub(crate) fn end_unwanted(&mut self, now: Now, flow: &Flow, response: &Message<'_>, token: Token) {
        let Some((_, public)) = self.local(usize::from(flow.listener), flow.transport, flow.local.ip())
        else {
            return;
        };
        let Some(mut dialog) = unwanted_dialog(response) else { return };
        let via = self.via(flow.transport, public);
        let ack = dialog.ack(response.cseq().number, &via).finish();
        self.stack.send(flow.back(), ack);
        if !self.is_first_unwanted(response) {
            return; // The 2xx comes again until the ACK is there; one BYE is enough.
        }
        let via = self.via(flow.transport, public);
        let bye = dialog.next_request(Method::Bye, &via).finish();
        self.request(now, flow.back(), Token { what: What::Bye, ..token }, bye);
    }

    /// Whether this 2xx has not been ended before, as far as the short memory goes.
    fn is_first_unwanted(&mut self, response: &Message<'_>) -> bool {
        const UNWANTED_MAX: usize = 256;
        let name = [response.call_id(), response.to_tag().unwrap_or_default()].join(&b' ');
        let name = self.config.secret.of(&name);
        let is_first = !self.unwanted.contains(&name);
        if is_first {
            self.unwanted.truncate(UNWANTED_MAX - 1);
            self.unwanted.push_front(name);
        }
        is_first
    }

    /// Remembers a message of a call.
    pub(crate) fn note(
        &mut self,
        steps: &mut Vec<Step>,
        now: Now,
        call: Key,
        leg: u16,
        received: bool,
        message: &[u8],
    ) {
        let serial = self.trace.push(call, message);
        let (method, code) = summary(message);
        let step = Step { at: now.wall, serial, leg, code, method, received };
        if steps.len() >= crate::trace::STEPS_MAX {
            // The set-up is worth more than the middle of a long call.
            steps.remove(crate::trace::STEPS_MAX / 2);
        }
        steps.push(step);
    }
}

/// A secret of this shard and start that nobody can tell who does not know the installation's secret.
fn key_seed(config: &Config, rng: &mut Rng) -> [u8; 32] {
    let mut seed = [0; 32];
    for (place, chunk) in (0u8..).zip(seed.chunks_exact_mut(8)) {
        let mut text = b"media keys".to_vec();
        text.extend_from_slice(&[config.node, config.shard, place]);
        text.extend_from_slice(&config.generation.to_le_bytes());
        text.extend_from_slice(&rng.u64().to_le_bytes());
        text.extend_from_slice(&rng.u64().to_le_bytes());
        chunk.copy_from_slice(&config.secret.of(&text).to_le_bytes());
    }
    seed
}

/// Method (of the CSeq for responses) and status of a message of ours or a checked one, without a full parse.
fn summary(message: &[u8]) -> (u8, u16) {
    let line = message.split(|b| *b == b'\r').next().unwrap_or_default();
    if let Some(rest) = line.strip_prefix(b"SIP/2.0 ") {
        let code = core::str::from_utf8(rest.get(..3).unwrap_or_default()).ok().and_then(|c| c.parse().ok());
        let method = memchr::memmem::find(message, b"\r\nCSeq: ")
            .and_then(|at| message[at + 8..].split(|b| *b == b'\r').next())
            .and_then(|value| value.rsplit(|b| *b == b' ').next())
            .unwrap_or_default();
        return (method_number(method), code.unwrap_or(0));
    }
    (method_number(line.split(|b| *b == b' ').next().unwrap_or_default()), 0)
}

/// The dialog of a 2xx whose INVITE we no longer keep: all it needs stands in the response.
fn unwanted_dialog(response: &Message<'_>) -> Option<sip::dialog::Dialog> {
    let contact = response.contact()?;
    let mut writer = Writer::request(b"INVITE", contact.uri);
    writer.header("Via", "SIP/2.0/UDP unwanted.invalid;branch=z9hG4bKunwanted");
    writer.header("From", response.from().raw);
    let to = response.to();
    writer.header("To", [b"<", to.uri, b">"].concat());
    writer.header("Call-ID", response.call_id());
    // PRACKs of its early dialog may have used numbers; a BYE must be above them.
    writer.header("CSeq", format!("{} INVITE", response.cseq().number.saturating_add(1_000)));
    writer.header("Contact", "<sip:unwanted.invalid>");
    writer.header("Max-Forwards", "70");
    let bytes = writer.finish();
    let invite = Message::parse(&bytes, sip::frame::Framing::Stream).ok()?;
    sip::dialog::Dialog::uac(&invite).fork(response)
}
