//! Figures of signalling shards: what [`SignallingStats`] counts, under the names of the page.

use super::{Family, Page, Scores, families as f};
use ledger::SignallingStats;
use ledger::stats::{Labelled, MOS_BOUNDS};

impl Page {
    /// Adds the figures of one signalling shard; those of several add up.
    pub fn signalling(&mut self, shard: usize, stats: &SignallingStats) {
        let shard = format!("sip-{shard}");
        self.add(&f::CALLS_CURRENT, &[], stats.calls_now.get() as f64);
        self.labelled(&f::CALLS_ACTIVE, &stats.calls_active);
        self.labelled(&f::CALLS, &stats.calls);
        self.labelled(&f::CALLS_REFUSED, &stats.refused);
        self.add(&f::LIMIT_DRIFT, &[], stats.limit_drift.get() as f64);
        self.count(&f::CALLS_DIVERTED, &[], stats.diverted.get());
        self.labelled(&f::FRAUD_ACTIONS, &stats.fraud_actions);
        self.mos(stats);
        self.histogram(&f::CALL_SETUP, &[], &stats.setup);
        self.labelled(&f::ONE_WAY_AUDIO, &stats.one_way);
        self.labelled(&f::SIP_MESSAGES, &stats.messages);
        self.labelled(&f::SIP_PARSE_ERRORS, &stats.parse_errors);
        self.count(&f::SIP_RETRANSMISSIONS, &["in"], stats.retransmissions_in.get());
        self.count(&f::SIP_RETRANSMISSIONS, &["out"], stats.retransmissions_out.get());
        self.count(&f::SIP_UNKNOWN_DROPPED, &[], stats.unknown_dropped.get());
        self.count(&f::SIP_BANNED_DROPPED, &[], stats.banned_dropped.get());
        self.add(&f::SIP_TRANSACTIONS, &[], stats.transactions.get() as f64);
        self.count(&f::RTP_LOST, &[], stats.rtp_lost.get());
        self.histogram(&f::RTP_JITTER, &[], &stats.jitter);
        self.count(&f::CONCEALED, &[], stats.concealed.get());
        self.add(&f::SHARD_LOAD, &[&shard], stats.load_ppm.get() as f64 / 1e6);
        self.count(&f::SHARD_RESTARTS, &[&shard], stats.restarts.get());
        self.labelled(&f::KERNEL_DROPS, &stats.kernel_drops);
        self.labelled(&f::QUEUE_DROPPED, &stats.queue_dropped);
    }

    fn mos(&mut self, stats: &SignallingStats) {
        for (labels, n) in stats.mos.snapshot() {
            let [trunk, class] = &labels[..] else { continue };
            let at = MOS_BOUNDS.iter().position(|bound| bound == class).unwrap_or(MOS.len());
            let mut scores = Scores::new(&MOS);
            scores.counts[at] = u64::try_from(n).unwrap_or(0);
            self.scores(&f::MOS, &[trunk], &scores);
        }
        for (trunk, hundredths) in stats.mos_sum.snapshot() {
            let scores = Scores { sum: hundredths as f64 / 100.0, ..Scores::new(&MOS) };
            self.scores(&f::MOS, &[trunk[0].as_str()], &scores);
        }
    }

    /// Adds a family whose members its owner counts by label.
    pub fn labelled(&mut self, family: &'static Family, members: &Labelled) {
        self.declare(family);
        for (labels, n) in members.snapshot() {
            let mut labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            // A very long label has cut those behind it off; the member is still counted.
            labels.resize(family.labels.len(), "");
            self.add(family, &labels, n as f64);
        }
    }
}

/// [`MOS_BOUNDS`] as numbers.
const MOS: [f64; MOS_BOUNDS.len()] = [1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.2, 4.5];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_counted_in_the_classes_of_the_ledger() {
        assert_eq!(MOS.map(|bound| format!("{bound:?}")), MOS_BOUNDS);
    }
}
