//! The task that asks. Equal questions in flight share one request; each waits no longer than its own deadline, and a
//! request for which nobody waits any more is given up.

use crate::cache::Cache;
use crate::stats::HookStats;
use crate::{answer, question};
use core::time::Duration;
use http_out::{Client, Failed, Reply};
use ledger::{HookAnswer, HookFailed, HookQuestion};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

/// Bounds of the service.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Questions that may wait: in the queue, and again for answers.
    pub waiting: usize,
    /// Requests at a time.
    pub requests: usize,
    /// Connections to one host at a time.
    pub connections: usize,
    /// Answers that are remembered.
    pub cached: usize,
    /// Bytes of a question.
    pub question_max: usize,
    /// Bytes of an answer.
    pub answer_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            waiting: 16_384,
            requests: 256,
            connections: 64,
            cached: 16_384,
            question_max: 64 << 10,
            answer_max: 64 << 10,
        }
    }
}

/// The asking end; clones share the queue. When the last is dropped, questions that wait are answered as time-outs.
#[derive(Clone, Debug)]
pub struct Hooks {
    queue: mpsc::Sender<Waiting>,
    stats: Arc<HookStats>,
}

/// Called once: on the service's thread, or at once on the asker's when there is no room. Must not block.
type Callback = Box<dyn FnOnce(HookAnswer) + Send>;

struct Waiting {
    question: HookQuestion,
    until: Instant,
    answer: Callback,
}

impl Hooks {
    /// Starts the service on the runtime that this is called in.
    pub fn start(limits: Limits) -> Hooks {
        let (queue, questions) = mpsc::channel(limits.waiting);
        let stats = Arc::<HookStats>::default();
        let service = Service {
            client: Client::new(http_out::Limits {
                connections_per_host: limits.connections,
                reply_max: limits.answer_max,
            }),
            cache: Cache::new(limits.cached),
            limits,
            stats: Arc::clone(&stats),
            flights: HashMap::new(),
            requests: JoinSet::new(),
            deadlines: BTreeMap::new(),
            serial: 0,
        };
        tokio::spawn(service.run(questions));
        Hooks { queue, stats }
    }

    /// Asks, from any thread, without waiting. `answer` is called exactly once, at the latest when the deadline is over.
    pub fn ask(&self, question: HookQuestion, answer: impl FnOnce(HookAnswer) + Send + 'static) {
        let until = Instant::now() + question.deadline;
        let waiting = Waiting { question, until, answer: Box::new(answer) };
        if let Err(refused) = self.queue.try_send(waiting) {
            let (waiting, failed) = match refused {
                TrySendError::Full(waiting) => (waiting, HookFailed::Busy),
                TrySendError::Closed(waiting) => (waiting, HookFailed::Late),
            };
            let answer = HookAnswer::Failed(failed);
            self.stats.answered(&answer);
            (waiting.answer)(answer);
        }
    }

    /// What has been counted.
    pub fn stats(&self) -> &Arc<HookStats> {
        &self.stats
    }
}

struct Service {
    limits: Limits,
    stats: Arc<HookStats>,
    client: Client,
    cache: Cache,
    flights: HashMap<Arc<[u8]>, Flight>,
    requests: JoinSet<Done>,
    /// Every waiting question by its end.
    deadlines: BTreeMap<Place, Arc<[u8]>>,
    serial: u64,
}

/// What became of a request, and of which question.
type Done = (Arc<[u8]>, Result<HookAnswer, HookFailed>);

/// The end of a waiting question; the number keeps those of one moment apart.
type Place = (Instant, u64);

/// One request and who waits for it.
struct Flight {
    waiters: BTreeMap<Place, Callback>,
    request: AbortHandle,
    started: Instant,
    cache: Duration,
}

impl Service {
    async fn run(mut self, mut questions: mpsc::Receiver<Waiting>) {
        loop {
            let next = self.deadlines.first_key_value().map(|(place, _)| place.0);
            tokio::select! {
                biased;
                // Without a deadline the branch is off.
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => self.on_deadline(),
                Some(done) = self.requests.join_next(), if !self.requests.is_empty() => {
                    // A request that was given up has nobody who waits for it.
                    if let Ok((key, result)) = done {
                        self.on_result(&key, result);
                    }
                }
                question = questions.recv() => match question {
                    Some(waiting) => self.on_question(waiting),
                    None => break,
                },
            }
        }
        // The engine stops: nobody is left waiting for ever.
        while let Some((place, key)) = self.deadlines.pop_first() {
            self.time_out(place, &key);
        }
    }

    fn on_question(&mut self, waiting: Waiting) {
        let Waiting { question: asked, until, answer } = waiting;
        let now = Instant::now();
        // Those that waited too long in the queue are over before they are asked.
        if until <= now {
            return self.tell(answer, HookAnswer::Failed(HookFailed::Late));
        }
        let key = question::key(&asked);
        if let Some(known) = self.cache.get(&key, now) {
            self.stats.cached();
            return self.tell(answer, known);
        }
        if self.deadlines.len() >= self.limits.waiting {
            return self.tell(answer, HookAnswer::Failed(HookFailed::Busy));
        }
        self.serial += 1;
        let place = (until, self.serial);
        if let Some((key, _)) = self.flights.get_key_value(&key[..]) {
            let key = Arc::clone(key);
            self.stats.joined();
            let flight = self.flights.get_mut(&key).expect("it was there in the line above");
            flight.waiters.insert(place, answer);
            self.deadlines.insert(place, key);
            return;
        }
        let body = question::body(&asked);
        if body.len() > self.limits.question_max {
            return self.tell(answer, HookAnswer::Failed(HookFailed::Nonsense));
        }
        if self.requests.len() >= self.limits.requests {
            return self.tell(answer, HookAnswer::Failed(HookFailed::Busy));
        }
        let key = Arc::<[u8]>::from(key);
        self.stats.requested();
        let request = self.requests.spawn(request(self.client.clone(), Arc::clone(&key), asked.url, body));
        let waiters = BTreeMap::from([(place, answer)]);
        self.flights.insert(Arc::clone(&key), Flight { waiters, request, started: now, cache: asked.cache });
        self.deadlines.insert(place, key);
    }

    fn on_result(&mut self, key: &Arc<[u8]>, result: Result<HookAnswer, HookFailed>) {
        let Some(flight) = self.flights.remove(key) else { return };
        let now = Instant::now();
        self.stats.seconds.record((now - flight.started).as_nanos() as u64, 1);
        let answer = result.unwrap_or_else(HookAnswer::Failed);
        // Failures are not remembered: the next call asks again.
        if !flight.cache.is_zero() && !matches!(answer, HookAnswer::Failed(_)) {
            self.cache.put(Arc::clone(key), answer.clone(), now + flight.cache);
        }
        for (place, waiter) in flight.waiters {
            self.deadlines.remove(&place);
            self.tell(waiter, answer.clone());
        }
    }

    fn on_deadline(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self.deadlines.first_entry()
            && entry.key().0 <= now
        {
            let (place, key) = entry.remove_entry();
            self.time_out(place, &key);
        }
    }

    fn time_out(&mut self, place: Place, key: &Arc<[u8]>) {
        let Some(flight) = self.flights.get_mut(key) else { return };
        let waiter = flight.waiters.remove(&place);
        if flight.waiters.is_empty() {
            flight.request.abort();
            self.flights.remove(key);
        }
        if let Some(waiter) = waiter {
            self.tell(waiter, HookAnswer::Failed(HookFailed::Late));
        }
    }

    fn tell(&self, waiter: Callback, answer: HookAnswer) {
        self.stats.answered(&answer);
        waiter(answer);
    }
}

/// One request, as long as somebody waits for it.
async fn request(client: Client, key: Arc<[u8]>, url: String, body: Vec<u8>) -> Done {
    let result = exchange(&client, &url, body).await;
    (key, result)
}

async fn exchange(client: &Client, url: &str, body: Vec<u8>) -> Result<HookAnswer, HookFailed> {
    let nonsense = |why: &dyn core::fmt::Display| {
        tracing::warn!(url, %why, "hook gave no answer that makes sense");
        HookFailed::Nonsense
    };
    let place = url.parse().map_err(|error: http_out::UrlError| nonsense(&error))?;
    match client.post(&place, &[("accept", "application/json")], body, REQUEST_MAX).await {
        Ok(Reply { status: 200, body, .. }) => answer::read(&body).map_err(|why| nonsense(&why)),
        // Redirects are not followed: where calls go is decided by whoever the configuration names.
        Ok(Reply { status, .. }) => Err(nonsense(&format_args!("status {status}"))),
        Err(Failed::TooLong) => Err(nonsense(&Failed::TooLong)),
        Err(Failed::Timeout) => Err(HookFailed::Late),
        Err(failed @ (Failed::Resolve | Failed::Connect | Failed::Tls | Failed::Broken | Failed::Header)) => {
            tracing::warn!(url, %failed, "hook is not reached");
            Err(HookFailed::Unreachable)
        }
    }
}

/// The waiting questions' deadlines are shorter; this only bounds a mistake.
const REQUEST_MAX: Duration = Duration::from_secs(60);
