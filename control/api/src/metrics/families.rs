//! Every family that exists. docs/metrics.md repeats this list, and a test keeps both equal.

use super::{Family, Kind};

macro_rules! families {
    ($($ident:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)+) => {
        $(#[doc = $help] pub static $ident: Family =
            Family { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)+
        /// All of them, in the order of the page that documents them.
        pub static ALL: &[&Family] = &[$(&$ident),+];
    };
}

families! {
    BUILD_INFO = Gauge "strowger_build_info" ["version"] "Always 1; the label says which version runs.";
    CONFIG_VERSION = Gauge "strowger_config_version" [] "Number of the configuration that new calls get.";
    DRAINING = Gauge "strowger_draining" [] "1 while the engine takes no new calls.";

    CALLS_CURRENT = Gauge "strowger_calls_current" [] "Calls that exist now; each is counted once.";
    CALLS_ACTIVE = Gauge "strowger_calls_active" ["trunk", "direction"] "Legs of calls that exist now, by trunk and direction as seen from us.";
    CALLS = Counter "strowger_calls_total" ["trunk", "direction", "result"] "Legs that have ended, by trunk, direction and result.";
    CALLS_REFUSED = Counter "strowger_calls_refused_total" ["reason"] "Calls that were refused, by reason.";
    CALLS_DIVERTED = Counter "strowger_calls_diverted_total" [] "Calls that were answered to lead nowhere.";
    CALL_SETUP = Histogram "strowger_call_setup_seconds" [] "From INVITE to its final answer, of answered calls.";
    ONE_WAY_AUDIO = Counter "strowger_one_way_audio_total" ["trunk"] "Ended legs whose peer should have sent media and never did.";
    MOS = Histogram "strowger_mos" ["trunk"] "Mean opinion score of what ended legs sent us, by the E-model: 1 is bad, 4.5 the best.";

    LIMIT_USED = Gauge "strowger_limit_used" ["limit"] "Places in use, by limit.";
    LIMIT_REFUSED = Counter "strowger_limit_refused_total" ["limit", "reason"] "Calls that a limit refused: full, fast (too many a second) or crowded (too many keys).";
    LIMIT_DRIFT = Gauge "strowger_limit_drift" [] "Places that the last recount of live calls found wrong; must stay 0.";
    TRUNK_UP = Gauge "strowger_trunk_up" ["trunk"] "1 while the trunk may be called; 0 while it is down, disabled, or its breaker is open.";
    HOOK_QUESTIONS = Counter "strowger_hook_questions_total" ["result"] "Questions to routes' hooks, by decision or by why there was none; busy and late count as time-outs.";
    HOOK_ANSWERS = Counter "strowger_hook_answers_total" ["source"] "Where answers of hooks came from: the cache, a request shared with equal questions, or one of their own.";
    HOOK_TIME = Histogram "strowger_hook_seconds" [] "From asking a hook to its whole answer.";

    FRAUD_ACTIONS = Counter "strowger_fraud_actions_total" ["policy", "rule", "action"] "Actions of fraud policies.";
    BANS_ACTIVE = Gauge "strowger_bans_active" [] "Bans in force.";
    BANS_STOPPED = Counter "strowger_bans_stopped_total" [] "How often something from a banned source was recognised and dropped.";
    BANS_DISPLACED = Counter "strowger_bans_displaced_total" [] "Automatic bans that ended early because there was no room for another.";
    EVENTS = Counter "strowger_events_total" ["sink", "result"] "Events, by who follows them and whether they got them.";

    SIP_MESSAGES = Counter "strowger_sip_messages_total" ["direction", "method", "code"] "SIP messages; code is request for requests.";
    SIP_PARSE_ERRORS = Counter "strowger_sip_parse_errors_total" ["class"] "Datagrams or frames that were no SIP message, by class of the error.";
    SIP_RETRANSMISSIONS = Counter "strowger_sip_retransmissions_total" ["direction"] "Retransmissions: in were absorbed, out were sent by us.";
    SIP_UNKNOWN_DROPPED = Counter "strowger_sip_unknown_dropped_total" [] "Requests from sources that are nobody, left without an answer.";
    SIP_BANNED_DROPPED = Counter "strowger_sip_banned_dropped_total" [] "Requests from banned sources, left without a look.";
    SIP_TRANSACTIONS = Gauge "strowger_sip_transactions" [] "SIP transactions that exist now.";

    NG_REQUESTS = Counter "strowger_ng_requests_total" ["command", "result"] "Requests of the NG protocol that were answered, by command and result: ok, pong, load_limit, or why there was an error.";
    NG_REPEATED = Counter "strowger_ng_repeated_total" ["how"] "Requests of NG that came again: replayed got the answer of the first, waited came before it was there.";
    NG_DROPPED = Counter "strowger_ng_dropped_total" [] "Datagrams to NG without a cookie, which cannot be answered.";
    NG_TIME = Histogram "strowger_ng_seconds" [] "From a request of NG to its answer.";

    RTP_PACKETS = Counter "strowger_rtp_packets_total" ["shard", "direction"] "Media packets: in as received, out as handed to the kernel.";
    RTP_BYTES = Counter "strowger_rtp_bytes_total" ["shard", "direction"] "Bytes of UDP payload of media packets.";
    RTP_DROPPED = Counter "strowger_rtp_dropped_total" ["shard", "reason"] "Media packets that were not forwarded, by reason.";
    RTP_LOST = Counter "strowger_rtp_lost_total" [] "RTP packets of ended calls that never reached us.";
    RTP_FORWARD = Histogram "strowger_rtp_forward_seconds" ["shard"] "From the start of the turn that took a packet to its end: the engine's own share of the delay.";
    BRIDGES = Gauge "strowger_bridges" ["shard", "kind"] "Bridges that exist now, by kind.";
    TRANSCODE_SESSIONS = Gauge "strowger_transcode_sessions" ["from", "to"] "Streams that are decoded and encoded now, by codec of their source and of their sink.";
    RTP_JITTER = Histogram "strowger_jitter_seconds" [] "Interarrival jitter of streams of ended calls: the mean of each.";
    CONCEALED = Counter "strowger_concealed_total" [] "Frames of 20 ms that never came, or too late, and were concealed; of ended calls.";
    RECORDINGS_ACTIVE = Gauge "strowger_recordings_active" [] "Recordings that run now.";
    PORTS_FREE = Gauge "strowger_ports_free" ["listener", "shard"] "Pairs of media ports that can be opened now.";
    PORTS_USED = Gauge "strowger_ports_used" ["listener", "shard"] "Pairs of media ports in use.";

    SHARD_LOAD = Gauge "strowger_shard_load" ["shard"] "Fraction of the last second that the shard's thread was busy; signalling shards are named sip-N.";
    SHARD_LATENESS = Histogram "strowger_shard_lateness_seconds" ["shard"] "How much later than asked for the shard's thread woke up for a timer.";
    SHARD_RESTARTS = Counter "strowger_shard_restarts_total" ["shard"] "How often a shard was restarted after a panic.";
    KERNEL_DROPS = Counter "strowger_kernel_drops_total" ["listener"] "Datagrams that the kernel dropped because a socket's queue was full.";
    QUEUE_DROPPED = Counter "strowger_queue_dropped_total" ["queue"] "Messages between threads that were given up because a queue was full; must stay 0.";

    CDRS_WRITTEN = Counter "strowger_cdrs_written_total" [] "Call detail records written.";
    CDR_WRITE_ERRORS = Counter "strowger_cdr_write_errors_total" [] "Writes of call detail records that failed and were tried again.";
    CDR_QUEUE = Gauge "strowger_cdr_queue" [] "Call detail records that wait for the writer.";
    CDR_UNCOMMITTED = Gauge "strowger_cdr_uncommitted" [] "Call detail records that wait for the database.";
    CDR_OPEN_LEGS = Gauge "strowger_cdr_open_legs" [] "Answered legs in the journal, whose records would be written after a crash.";
    CDR_WEBHOOK = Counter "strowger_cdr_webhook_total" ["url", "result"] "Call detail records for a webhook: delivered, and posts that failed and are tried again.";
    CDR_WEBHOOK_WAITING = Gauge "strowger_cdr_webhook_waiting" ["url"] "Call detail records that wait for a webhook.";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of the page, as they are to be.
    fn rows() -> String {
        let row = |family: &&Family| {
            let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            format!(
                "| `{}` | {} | {} | {} |\n",
                family.name,
                family.kind.name(),
                labels.join(", "),
                family.help
            )
        };
        ALL.iter().map(row).collect()
    }

    #[test]
    fn the_page_that_documents_the_families_is_complete() {
        let page = include_str!("../../../../docs/metrics.md");
        assert!(page.contains(&rows()), "docs/metrics.md should have exactly these rows:\n{}", rows());
        let listed = page.lines().filter(|line| line.starts_with("| `strowger_")).count();
        let later = page.split("## Later").nth(1).expect("a section of what comes later");
        assert_eq!(listed, ALL.len(), "the table has a row too many");
        for family in ALL {
            assert!(!later.contains(family.name), "{} exists and is not for later", family.name);
        }
    }

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        let mut names: Vec<_> = ALL.iter().map(|family| family.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len(), "no name twice");
        for family in ALL {
            assert_eq!(family.kind == Kind::Counter, family.name.ends_with("_total"), "{}", family.name);
            // A score has no unit.
            let has_unit = family.name.ends_with("_seconds") || family.name == "strowger_mos";
            assert_eq!(family.kind == Kind::Histogram, has_unit, "{}", family.name);
            assert!(family.help.ends_with('.') && !family.help.contains('|'), "{}", family.name);
        }
    }
}
