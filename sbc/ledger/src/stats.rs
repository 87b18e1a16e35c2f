//! Counters of one signalling shard: written by its thread with plain stores, read by the metrics page.

use base::{Counter, Histogram};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// All of one shard. Labels are bounded: trunks and routes come from the configuration, codes from a fixed list.
#[derive(Debug, Default)]
pub struct SignallingStats {
    /// Parse errors by class name.
    pub parse_errors: Labelled,
    /// `in|out`, method (known ones, else `OTHER`), code (`request` for requests).
    pub messages: Labelled,
    /// trunk, direction: calls that exist now.
    pub calls_active: Labelled,
    /// trunk, direction, result.
    pub calls: Labelled,
    /// Refusals by reason.
    pub refused: Labelled,
    /// One-way audio by trunk.
    pub one_way: Labelled,
    /// From INVITE to its final answer, of answered calls.
    pub setup: Histogram,
    /// Datagrams that the kernel dropped because a socket's queue was full, by listener.
    pub kernel_drops: Labelled,
    /// Lost packets of all ended calls.
    pub rtp_lost: Counter,
    /// Mean jitter of each stream of ended calls.
    pub jitter: Histogram,
    /// Frames of 20 ms of ended calls that were concealed.
    pub concealed: Counter,
    /// Retransmissions that were absorbed.
    pub retransmissions_in: Counter,
    /// Retransmissions that we sent.
    pub retransmissions_out: Counter,
    /// Requests from sources that are nobody, left without answer.
    pub unknown_dropped: Counter,
    /// Requests from banned sources, left without a look.
    pub banned_dropped: Counter,
    /// Calls that were answered and held, to lead nowhere.
    pub diverted: Counter,
    /// policy, rule, action: what fraud policies did.
    pub fraud_actions: Labelled,
    /// Trunk and upper bound: mean opinion scores of ended legs, each in the first class that holds it
    /// ([`MOS_BOUNDS`], else `+Inf`).
    pub mos: Labelled,
    /// Trunk: the sum of those scores in hundredths.
    pub mos_sum: Labelled,
    /// Records, events or answers dropped because a queue was full, by queue; must stay 0.
    pub queue_dropped: Labelled,
    /// Calls that exist now.
    pub calls_now: Counter,
    /// Transactions that exist now.
    pub transactions: Counter,
    /// Busy fraction of the last second in millionths.
    pub load_ppm: Counter,
    /// Places that the last recount of leases found wrong: this shard's part of `strowger_limit_drift`; must stay 0.
    pub limit_drift: Counter,
    /// Times this shard has been restarted.
    pub restarts: Counter,
}

/// Upper bounds of the classes of scores.
pub const MOS_BOUNDS: [&str; 8] = ["1.5", "2.0", "2.5", "3.0", "3.5", "4.0", "4.2", "4.5"];

impl SignallingStats {
    /// Counts the score of an ended leg of a trunk.
    pub fn add_mos(&self, trunk: &str, mos: f32) {
        let holds = |bound: &&&str| bound.parse::<f32>().is_ok_and(|bound| mos <= bound);
        let class = MOS_BOUNDS.iter().find(holds).copied().unwrap_or("+Inf");
        self.mos.add(&[trunk, class], 1);
        self.mos_sum.add(&[trunk], (mos * 100.0).round() as i64);
    }
}

/// A family of counters by label values joined with `\t`. The lock is taken once a call or message by the one writer
/// and by scrapes, never on the media path.
#[derive(Debug, Default)]
pub struct Labelled {
    values: Mutex<BTreeMap<String, i64>>,
}

impl Labelled {
    /// Adds to one member; `labels` in the order that the family's doc names.
    pub fn add(&self, labels: &[&str], n: i64) {
        let Ok(mut values) = self.values.lock() else { return };
        // Joining allocates only for members that are new.
        let mut key = [0u8; 192];
        let mut len = 0;
        for (i, label) in labels.iter().enumerate() {
            for byte in (i > 0).then_some(b'\t').into_iter().chain(label.bytes()) {
                if len < key.len() {
                    key[len] = byte;
                    len += 1;
                }
            }
        }
        let key = String::from_utf8_lossy(&key[..len]);
        match values.get_mut(key.as_ref()) {
            Some(value) => *value += n,
            None => {
                values.insert(key.into_owned(), n);
            }
        }
    }

    /// All members: label values and count, in order.
    pub fn snapshot(&self) -> Vec<(Vec<String>, i64)> {
        let Ok(values) = self.values.lock() else { return Vec::new() };
        values.iter().map(|(key, n)| (key.split('\t').map(str::to_owned).collect(), *n)).collect()
    }

    /// Forgets all members: the owner has been restarted and what it counted no longer exists.
    pub fn clear(&self) {
        if let Ok(mut values) = self.values.lock() {
            values.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_add_up_by_labels() {
        let family = Labelled::default();
        family.add(&["acme", "in"], 2);
        family.add(&["acme", "in"], -1);
        family.add(&["acme", "out"], 5);
        let rows = family.snapshot();
        assert_eq!(
            rows,
            [(vec!["acme".to_owned(), "in".to_owned()], 1), (vec!["acme".into(), "out".into()], 5)]
        );
    }
}
