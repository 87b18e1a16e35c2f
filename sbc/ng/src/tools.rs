//! What every NG call of a shard works with: the way out, ids, answers to requests.

use crate::control::LateRecording;
use crate::counts::{CLIENTS_MAX, NgStats, is_error};
use crate::desk::{Config, Output};
use crate::failure::Failure;
use crate::frame::{self, Frame, Notation};
use crate::replay::{self, Replay};
use crate::reply::Reply;
use crate::request;
use crate::value::{Dict, Value};
use base::{Duration, HashKey, Instant, Key, Now, Rng};
use command::{BridgeId, Command, Ticket};
use core::net::IpAddr;
use ledger::CallIds;
use sdp::crypto::KeySource;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Tools of one shard.
pub(crate) struct Tools {
    pub config: Config,
    pub output: VecDeque<Output>,
    pub rng: Rng,
    /// Where keys of media come from: unlike `rng`, what was seen of it tells nothing of what comes.
    pub keys: KeySource,
    pub call_ids: CallIds,
    pub stats: Arc<NgStats>,
    pub replay: Replay,
    /// Recordings whose files outlast their calls, with the media shard that writes them.
    pub late: BTreeMap<Ticket, (usize, LateRecording)>,
    /// Sounds that are being loaded: who wants them, and until when. Tickets rise, so the first is due first.
    pub sounds: BTreeMap<Ticket, (Key, Instant)>,
    /// Whose requests are counted one by one, and their addresses in words.
    clients: Vec<(IpAddr, String)>,
    bridges_made: u64,
    tickets: u64,
}

/// A request that is still to be answered: where to, and in which words.
#[derive(Debug)]
pub(crate) struct Asked {
    pub cookie: Box<[u8]>,
    pub notation: Notation,
    /// Who asked, and its place among the requests that may come again.
    pub replay: replay::Key,
    pub at: Instant,
    /// `None` for what is no request.
    pub command: Option<request::Command>,
    /// What nobody knew in it.
    pub unknown: Vec<String>,
    /// What else goes into the reply's `warning`.
    pub warnings: Vec<String>,
}

/// What a request is answered.
#[derive(Debug)]
pub(crate) enum Said {
    Ok(Dict),
    Pong,
    Failed(Failure),
    /// There is no room; with whether the client knows the word `load limit`.
    LoadLimit {
        is_known: bool,
    },
}

impl From<Result<Dict, Failure>> for Said {
    fn from(result: Result<Dict, Failure>) -> Said {
        result.map_or_else(Said::Failed, Said::Ok)
    }
}

impl From<Failure> for Said {
    fn from(failure: Failure) -> Said {
        Said::Failed(failure)
    }
}

impl Tools {
    pub fn new(now: Now, config: Config, mut rng: Rng, stats: Arc<NgStats>) -> Self {
        let keys = KeySource::from_seed(key_seed(&config, &mut rng));
        Tools {
            keys,
            call_ids: CallIds::ng(now.wall, config.node, config.shard),
            replay: Replay::new(now.mono, HashKey::new([rng.u64(), rng.u64()])),
            // Serials of bridges go on where an earlier generation cannot have come to.
            bridges_made: u64::from(config.generation) << 31,
            // What an earlier generation asked for may still be answered: to nobody.
            tickets: TICKETS | u64::from(config.generation) << 32,
            output: VecDeque::new(),
            late: BTreeMap::new(),
            sounds: BTreeMap::new(),
            clients: Vec::new(),
            config,
            rng,
            stats,
        }
    }

    /// A bridge on the next media shard in turn. Serials are odd; those of the B2BUA are even.
    pub fn new_bridge(&mut self) -> BridgeId {
        self.bridges_made += 1;
        let shard = self.bridges_made % self.config.media_shards.max(1) as u64;
        BridgeId::new(self.config.node, shard as u8, self.config.shard, self.bridges_made << 1 | 1)
    }

    pub fn new_ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    pub fn media(&mut self, bridge: BridgeId, command: Command) {
        self.output.push_back(Output::Media { shard: bridge.media_shard(), command });
    }

    /// Answers a request, and everybody who has asked the same meanwhile.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a request that is answered is gone, so that it is answered once"
    )]
    pub fn answer(&mut self, now: Now, asked: Asked, said: impl Into<Said>) {
        let (result, mut reply) = match said.into() {
            Said::Ok(mut body) => {
                body.0.reserve(2);
                ("ok", Reply(body.with("result", Value::text("ok"))))
            }
            Said::Pong => ("pong", Reply::pong()),
            Said::Failed(failure) => (failure.class(), Reply::error(failure)),
            Said::LoadLimit { is_known } => {
                self.stats.load_limited.add(1);
                self.config.book.reject();
                let reply = match is_known {
                    true => Reply::load_limit(&Failure::SessionLimit.to_string()),
                    false => Reply::error(Failure::SessionLimit),
                };
                ("load_limit", reply)
            }
        };
        reply.warn_of_unknown(&asked.unknown);
        for warning in &asked.warnings {
            reply.warn(warning);
        }
        let command = asked.command.map_or("none", request::Command::name);
        self.stats.requests.add(&[command, result], 1);
        self.count_client(asked.replay.client(), command, result);
        self.stats.seconds.record(now.mono.nanos_since(asked.at), 1);
        let bytes = frame::write_reply(&asked.cookie, asked.notation, &reply.into_dict());
        let mut origins = self.replay.answered(asked.replay, bytes.clone());
        let last = origins.pop();
        for origin in origins {
            self.output.push_back(Output::Reply { origin, bytes: bytes.clone() });
        }
        self.output.extend(last.map(|origin| Output::Reply { origin, bytes }));
    }
}

impl Tools {
    /// Counts a request for `statistics`, which names clients; there are few.
    fn count_client(&mut self, client: IpAddr, command: &str, result: &str) {
        let at = match self.clients.iter().position(|(known, _)| *known == client) {
            Some(at) => at,
            None if self.clients.len() == CLIENTS_MAX => return,
            None => {
                self.clients.push((client, client.to_string()));
                self.clients.len() - 1
            }
        };
        let result = if is_error(result) { "error" } else { "ok" };
        self.stats.clients.add(&[&self.clients[at].1, command, result], 1);
    }
}

impl Asked {
    pub fn new(now: Now, frame: &Frame<'_>, replay: replay::Key) -> Asked {
        Asked {
            cookie: frame.cookie.into(),
            notation: Notation::of(frame.payload),
            replay,
            at: now.mono,
            command: None,
            unknown: Vec::new(),
            warnings: Vec::new(),
        }
    }
}

/// Tickets of NG have a bit that those of the B2BUA never reach, so that each is one's own in the whole shard.
const TICKETS: u64 = 1 << 62;

/// For a sound to be loaded: whoever asks over HTTP waits ten seconds and no longer.
pub(crate) const SOUND_WAIT: Duration = Duration::from_secs(9);

/// A secret of this shard and start that nobody can tell who does not know the installation's secret.
fn key_seed(config: &Config, rng: &mut Rng) -> [u8; 32] {
    let mut seed = [0; 32];
    for (place, chunk) in (0u8..).zip(seed.chunks_exact_mut(8)) {
        let mut text = b"ng media keys".to_vec();
        text.extend_from_slice(&[config.node, config.shard, place]);
        text.extend_from_slice(&config.generation.to_le_bytes());
        text.extend_from_slice(&rng.u64().to_le_bytes());
        text.extend_from_slice(&rng.u64().to_le_bytes());
        chunk.copy_from_slice(&config.secret.of(&text).to_le_bytes());
    }
    seed
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Wall;
    use ledger::EventBus;

    fn tools(generation: u32) -> Tools {
        let now = Now { mono: Instant(0), wall: Wall(0) };
        let config = Config {
            node: 0,
            shard: 1,
            media_shards: 1,
            generation,
            calls_max: 1,
            secret: HashKey::new([1, 2]),
            recordings: Arc::default(),
            events: EventBus::new(now.wall),
            book: Arc::default(),
        };
        Tools::new(now, config, Rng::from_seed(1), Arc::default())
    }

    #[test]
    fn tickets_of_an_earlier_generation_are_nobody_s() {
        let mut seen = std::collections::BTreeSet::new();
        for generation in 0..4 {
            let mut tools = tools(generation);
            for _ in 0..100 {
                let ticket = tools.new_ticket();
                assert!(ticket.0 >= TICKETS && seen.insert(ticket), "{generation}: {ticket:?}");
            }
        }
    }
}
