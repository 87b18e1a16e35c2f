//! Figures of the CDR writer.

use super::{Page, families as f};
use store::cdr::CdrStats;

impl Page {
    /// Adds the figures of the CDR writer.
    pub fn cdr(&mut self, stats: &CdrStats) {
        self.count(&f::CDRS_WRITTEN, &[], stats.written);
        self.count(&f::CDR_WRITE_ERRORS, &[], stats.errors);
        self.add(&f::CDR_QUEUE, &[], stats.queued as f64);
        self.count(&f::QUEUE_DROPPED, &["cdr"], stats.dropped);
    }
}
