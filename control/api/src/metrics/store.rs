//! Figures of the CDR writer.

use super::{Page, families as f};
use store::{CdrStats, WebhookStats};

impl Page {
    /// Adds the figures of the CDR writer.
    pub fn cdr(&mut self, stats: &CdrStats) {
        self.count(&f::CDRS_WRITTEN, &[], stats.written);
        self.count(&f::CDR_WRITE_ERRORS, &[], stats.errors);
        self.add(&f::CDR_QUEUE, &[], stats.queued as f64);
        self.add(&f::CDR_UNCOMMITTED, &[], stats.uncommitted as f64);
        self.add(&f::CDR_OPEN_LEGS, &[], stats.open_legs as f64);
        self.count(&f::QUEUE_DROPPED, &["cdr"], stats.dropped);
    }

    /// Adds the figures of one webhook. Its address is shown without query, which may hold a secret.
    pub fn webhook(&mut self, stats: &WebhookStats) {
        let url = stats.url.split('?').next().unwrap_or_default();
        self.count(&f::CDR_WEBHOOK, &[url, "delivered"], stats.delivered);
        self.count(&f::CDR_WEBHOOK, &[url, "failed"], stats.failed);
        self.add(&f::CDR_WEBHOOK_WAITING, &[url], stats.waiting as f64);
    }
}
