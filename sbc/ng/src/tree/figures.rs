//! `statistics`: the figures of all NG calls, as `list jsonstats` of rtpengine names them. What is not known here is 0.

use crate::book::{Ended, Totals};
use crate::counts::{CLIENTS_MAX, is_error};
use crate::value::{Dict, Value};
use base::Duration;
use std::collections::BTreeMap;

/// What `statistics` tells of.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Since the engine began.
    pub uptime: Duration,
    /// Of the book of all shards.
    pub totals: Totals,
    /// Requests by command and result, as [`crate::counts::NgStats::requests`] has them; of all shards that are known.
    pub requests: Vec<(Vec<String>, i64)>,
    /// By client, as [`crate::counts::NgStats::clients`] has them.
    pub clients: Vec<(Vec<String>, i64)>,
}

/// Commands by the words that `statistics` counts them under.
pub(super) const COMMANDS: [(&str, &str); 26] = [
    ("ping", "ping"),
    ("offer", "offer"),
    ("answer", "answer"),
    ("delete", "delete"),
    ("query", "query"),
    ("list", "list"),
    ("start-recording", "startrec"),
    ("stop-recording", "stoprec"),
    ("pause-recording", "pauserec"),
    ("start-forwarding", "startfwd"),
    ("stop-forwarding", "stopfwd"),
    ("block-dtmf", "blkdtmf"),
    ("unblock-dtmf", "unblkdtmf"),
    ("block-media", "blkmedia"),
    ("unblock-media", "unblkmedia"),
    ("play-media", "playmedia"),
    ("stop-media", "stopmedia"),
    ("play-dtmf", "playdtmf"),
    ("statistics", "stats"),
    ("silence-media", "slnmedia"),
    ("unsilence-media", "unslnmedia"),
    ("publish", "pub"),
    ("subscribe-request", "subreq"),
    ("subscribe-answer", "subans"),
    ("unsubscribe", "unsub"),
    ("connect", "connect"),
];

/// The answer of `statistics`; without `result`.
pub fn statistics(figures: &Figures) -> Dict {
    let mut statistics = Dict::new();
    statistics.put("currentstatistics", current(figures));
    statistics.put("totalstatistics", total(figures));
    statistics.put("intervalstatistics", interval(figures));
    statistics.put("controlstatistics", control(figures));
    statistics.put("interfaces", Value::List(Vec::new()));
    statistics.put("transcoders", Value::List(Vec::new()));
    Dict::new().with("statistics", statistics)
}

fn current(figures: &Figures) -> Dict {
    let mut dict = Dict::new();
    let sessions = Value::count(figures.totals.now);
    dict.put("sessionsown", sessions.clone());
    dict.put("sessionsforeign", Value::Int(0));
    dict.put("sessionstotal", sessions);
    let unknown = [
        "transcodedmedia",
        "packetrate",
        "byterate",
        "errorrate",
        "media_userspace",
        "media_kernel",
        "media_mixed",
    ];
    for key in unknown {
        dict.put(key, Value::Int(0));
    }
    dict
}

fn total(figures: &Figures) -> Dict {
    let totals = &figures.totals;
    let ended = |how| totals.ended(how);
    let silent = ended(Ended::Silence);
    let unanswered = ended(Ended::Unanswered);
    let mut dict = Dict::new();
    dict.put("uptime", Value::text(figures.uptime.as_secs().to_string()));
    dict.put("managedsessions", Value::count(totals.ended.iter().sum::<u64>()));
    dict.put("rejectedsessions", Value::count(totals.rejected));
    dict.put("timeoutsessions", Value::count(silent));
    dict.put("silenttimeoutsessions", Value::Int(0));
    dict.put("finaltimeoutsessions", Value::Int(0));
    dict.put("offertimeoutsessions", Value::count(unanswered));
    dict.put("regularterminatedsessions", Value::count(ended(Ended::Deleted)));
    let forced = ended(Ended::Hangup) + ended(Ended::MediaLost) + ended(Ended::Refused);
    dict.put("forcedterminatedsessions", Value::count(forced));
    dict.put("relayedpackets", Value::count(totals.packets));
    dict.put("relayedpacketerrors", Value::count(totals.errors));
    dict.put("relayedbytes", Value::count(totals.bytes));
    dict.put("zerowaystreams", Value::count(totals.silent));
    dict.put("onewaystreams", Value::count(totals.one_way));
    dict.put("avgcallduration", seconds(totals.mean_duration()));
    dict.put("totalcallsduration", seconds(totals.duration));
    dict
}

fn interval(figures: &Figures) -> Dict {
    let mut dict = Dict::new();
    dict.put("totalcallsduration", seconds(Duration::ZERO));
    let sessions = Value::count(figures.totals.now);
    dict.put("minmanagedsessions", sessions.clone());
    dict.put("maxmanagedsessions", sessions);
    for command in ["offer", "answer", "delete"] {
        for bound in ["min", "max", "avg"] {
            dict.put(format!("{bound}{command}delay"), seconds(Duration::ZERO));
        }
    }
    for command in ["offer", "answer", "delete"] {
        for bound in ["min", "max", "avg"] {
            dict.put(format!("{bound}{command}requestrate"), Value::Int(0));
        }
    }
    dict
}

fn control(figures: &Figures) -> Dict {
    let mut all = Counts::default();
    for (labels, n) in &figures.requests {
        if let [command, result] = &labels[..] {
            all.add(command, is_error(result), *n);
        }
    }
    let mut clients: BTreeMap<&str, Counts<'_>> = BTreeMap::new();
    for (labels, n) in &figures.clients {
        if let [client, command, result] = &labels[..] {
            clients.entry(client).or_default().add(command, is_error(result), *n);
        }
    }
    let proxies = clients.iter().map(|(client, counts)| {
        let mut dict = Dict::new().with("proxy", Value::text(*client));
        counts.put("", &mut dict);
        dict.into()
    });
    // Several shards may have counted other clients first.
    let mut dict = Dict::new().with("proxies", Value::List(proxies.take(CLIENTS_MAX).collect()));
    all.put("total", &mut dict);
    dict
}

/// Requests by command.
#[derive(Default)]
struct Counts<'a> {
    by_command: BTreeMap<&'a str, i64>,
    errors: i64,
}

impl<'a> Counts<'a> {
    fn add(&mut self, command: &'a str, is_error: bool, n: i64) {
        *self.by_command.entry(command).or_default() += n;
        self.errors += if is_error { n } else { 0 };
    }

    fn put(&self, prefix: &str, dict: &mut Dict) {
        for (command, word) in COMMANDS {
            let n = self.by_command.get(command).copied().unwrap_or(0);
            dict.put(format!("{prefix}{word}count"), Value::Int(n));
        }
        dict.put(format!("{prefix}errorcount"), Value::Int(self.errors));
    }
}

/// As the peer prints it: seconds with six decimals, as text.
fn seconds(duration: Duration) -> Value {
    Value::text(format!("{:.6}", duration.as_secs_f64()))
}
