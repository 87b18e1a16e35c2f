//! Shares that come out exactly and evenly mixed: each pick gives every member its weight as credit, the richest is
//! picked and pays for all. Who cannot take the call takes no part, neither earns nor pays.

use super::Standing;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a group remembers between calls, shared by all signalling shards. The lock is held for a few additions.
#[derive(Debug, Default)]
pub struct GroupState {
    /// By place of the member; another number of members starts afresh.
    credits: Mutex<Vec<i64>>,
}

impl GroupState {
    /// Nobody owes anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Picks one of `open`; says at which place of it.
    pub(super) fn pick(&self, members: usize, open: &[Standing]) -> Option<usize> {
        let mut credits = self.credits(members);
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (at, standing) in open.iter().enumerate() {
            let credit = &mut credits[standing.member];
            *credit += i64::from(standing.weight);
            total += i64::from(standing.weight);
            if best.is_none_or(|(_, most)| *credit > most) {
                best = Some((at, *credit));
            }
        }
        let (at, _) = best?;
        credits[open[at].member] -= total;
        Some(at)
    }

    /// Takes back a pick of the same `open` that came to nothing.
    pub(super) fn undo(&self, members: usize, open: &[Standing], picked: usize) {
        let mut credits = self.credits(members);
        let mut total = 0;
        for standing in open {
            credits[standing.member] -= i64::from(standing.weight);
            total += i64::from(standing.weight);
        }
        credits[open[picked].member] += total;
    }

    fn credits(&self, members: usize) -> MutexGuard<'_, Vec<i64>> {
        let mut credits = self.credits.lock().unwrap_or_else(PoisonError::into_inner);
        if credits.len() != members {
            credits.clear();
            credits.resize(members, 0);
        }
        credits
    }
}
