//! Figures of limits.

use super::{Page, families as f};
use crate::standing::LimitStatus;

impl Page {
    /// Adds the figures of one limit.
    pub fn limit(&mut self, status: &LimitStatus) {
        let name = status.limit.as_str();
        self.add(&f::LIMIT_USED, &[name], status.used as f64);
        let refused = status.refused;
        for (reason, count) in [("full", refused.full), ("fast", refused.fast), ("crowded", refused.crowded)]
        {
            self.count(&f::LIMIT_REFUSED, &[name, reason], count);
        }
    }
}
