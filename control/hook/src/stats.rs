//! What is counted. One task writes most of it; questions that found the queue full are counted by whoever asked.

use base::Histogram;
use core::sync::atomic::{AtomicU64, Ordering};
use ledger::HookAnswer;

/// Figures of the hook service, since its start.
#[derive(Debug, Default)]
pub struct HookStats {
    questions: [AtomicU64; RESULTS.len()],
    cached: AtomicU64,
    shared: AtomicU64,
    requested: AtomicU64,
    /// From sending a request to its whole answer, of those that were answered.
    pub seconds: Histogram,
}

/// Every result: the three decisions, and why there was none.
pub const RESULTS: [&str; 7] = ["continue", "reject", "route", "late", "unreachable", "nonsense", "busy"];

fn name(answer: &HookAnswer) -> &'static str {
    match answer {
        HookAnswer::Continue => "continue",
        HookAnswer::Reject { .. } => "reject",
        HookAnswer::Route { .. } => "route",
        HookAnswer::Failed(failed) => failed.name(),
    }
}

impl HookStats {
    /// Questions by result, each question once.
    pub fn questions(&self) -> impl Iterator<Item = (&'static str, u64)> {
        RESULTS.iter().zip(&self.questions).map(|(name, count)| (*name, count.load(Ordering::Relaxed)))
    }

    /// Questions by where their answer came from: the cache, another's request, or one of their own.
    pub fn sources(&self) -> [(&'static str, u64); 3] {
        [("cache", &self.cached), ("shared", &self.shared), ("request", &self.requested)]
            .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }

    pub(crate) fn answered(&self, answer: &HookAnswer) {
        let name = name(answer);
        if let Some(index) = RESULTS.iter().position(|result| *result == name) {
            self.questions[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn cached(&self) {
        self.cached.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn joined(&self) {
        self.shared.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn requested(&self) {
        self.requested.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::HookFailed;

    #[test]
    fn every_answer_has_its_counter() {
        let stats = HookStats::default();
        let route =
            HookAnswer::Route { via: None, to: None, from: None, headers: Vec::new(), max_duration: None };
        let failed = [HookFailed::Late, HookFailed::Unreachable, HookFailed::Nonsense, HookFailed::Busy];
        let reject = HookAnswer::Reject { status: 486, reason: None };
        for answer in [HookAnswer::Continue, reject, route].into_iter().chain(failed.map(HookAnswer::Failed))
        {
            stats.answered(&answer);
        }
        assert!(stats.questions().all(|(_, count)| count == 1));
    }
}
