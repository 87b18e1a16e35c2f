//! Figures of media shards, recordings and hooks on the metrics page.

use api::metrics::{Page, families as f};
use b2bua::Spec;
use codec::registry::CODECS;
use command::Verdict;
use hook::HookStats;
use media::Kind;
use ng::counts::NgStats;
use shard::ShardStats;

/// All of one media shard.
pub fn media_shard(page: &mut Page, index: usize, stats: &ShardStats, spec: &Spec) {
    let shard = index.to_string();
    let shard = shard.as_str();
    page.count(&f::RTP_PACKETS, &[shard, "in"], stats.packets_in.get());
    page.count(&f::RTP_PACKETS, &[shard, "out"], stats.packets_out.get());
    page.count(&f::RTP_BYTES, &[shard, "in"], stats.bytes_in.get());
    page.count(&f::RTP_BYTES, &[shard, "out"], stats.bytes_out.get());
    for verdict in Verdict::ALL {
        page.count(&f::RTP_DROPPED, &[shard, verdict.name()], stats.dropped(*verdict));
    }
    page.histogram(&f::RTP_FORWARD, &[shard], &stats.forward);
    page.histogram(&f::SHARD_LATENESS, &[shard], &stats.lateness);
    for (kind, count) in Kind::ALL.iter().zip(&stats.kinds) {
        page.add(&f::BRIDGES, &[shard, kind.name()], count.get() as f64);
    }
    page.declare(&f::TRANSCODE_SESSIONS);
    for (from, row) in CODECS.iter().zip(stats.transcodes.iter()) {
        for (to, count) in CODECS.iter().zip(row).filter(|(_, count)| count.get() > 0) {
            page.add(&f::TRANSCODE_SESSIONS, &[from.name, to.name], count.get() as f64);
        }
    }
    page.add(&f::SHARD_LOAD, &[shard], stats.load_permille.get() as f64 / 1_000.0);
    page.count(&f::SHARD_RESTARTS, &[shard], stats.starts.get().saturating_sub(1));
    page.count(&f::QUEUE_DROPPED, &["media_events"], stats.events_lost.get());
    page.count(&f::QUEUE_DROPPED, &["rooms_across_shards"], stats.crossings_lost.get());
    // A listener has a range for each family; its figures are of both.
    for (number, listener) in spec.listeners.iter().enumerate() {
        let of = || stats.listeners.iter().filter(move |l| usize::from(l.listener) == number);
        if of().next().is_some() {
            let labels = [listener.name.as_str(), shard];
            page.add(&f::PORTS_FREE, &labels, of().map(|l| l.free.get()).sum::<u64>() as f64);
            page.add(&f::PORTS_USED, &labels, of().map(|l| l.used.get()).sum::<u64>() as f64);
        }
    }
}

/// NG on one signalling shard; its calls have no trunk, and one leg that the peer has asked for.
pub fn ng(page: &mut Page, stats: &NgStats) {
    let calls = stats.calls_now.get();
    page.add(&f::CALLS_CURRENT, &[], calls as f64);
    page.add(&f::CALLS_ACTIVE, &["ng", "in"], calls as f64);
    page.labelled(&f::NG_REQUESTS, &stats.requests);
    page.count(&f::NG_REPEATED, &["replayed"], stats.replayed.get());
    page.count(&f::NG_REPEATED, &["waited"], stats.waited.get());
    page.count(&f::NG_DROPPED, &[], stats.dropped.get());
    page.histogram(&f::NG_TIME, &[], &stats.seconds);
    for (how, count) in stats.ended.snapshot() {
        page.add(&f::CALLS, &["ng", "in", how[0].as_str()], count as f64);
    }
    page.count(&f::CALLS_REFUSED, &["load_limit"], stats.load_limited.get());
    page.add(&f::LIMIT_DRIFT, &[], stats.limit_drift.get() as f64);
}

/// Recordings that run.
pub fn recordings(page: &mut Page, recordings: &ledger::Recordings) {
    page.add(&f::RECORDINGS_ACTIVE, &[], recordings.active() as f64);
    page.count(&f::QUEUE_DROPPED, &["recordings"], recordings.forgotten());
}

/// Questions to routes' hooks.
pub fn hooks(page: &mut Page, stats: &HookStats) {
    for (result, count) in stats.questions() {
        page.count(&f::HOOK_QUESTIONS, &[result], count);
    }
    for (source, count) in stats.sources() {
        page.count(&f::HOOK_ANSWERS, &[source], count);
    }
    page.histogram(&f::HOOK_TIME, &[], &stats.seconds);
}
