//! What outlives the process beside records: bans, which configurations were in force, and the index of recordings. Read
//! at start, written when it has changed; whoever changes something never waits for the disk.

use crate::engine::VERSIONS_MAX;
use api::engine::ConfigVersion;
use base::Clock;
use ledger::{Ban, Banner, Bans, Net, Recordings};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use store::{BanRow, Store};

/// How often what has changed is written.
const EVERY: Duration = Duration::from_secs(1);

/// The versions of the configuration that earlier runs have left, and this one: a new one if it differs from the last.
pub fn versions(store: &Store, clock: Clock, text: &str) -> VecDeque<ConfigVersion> {
    let kept = store.load_versions(VERSIONS_MAX).unwrap_or_else(|error| {
        tracing::error!(%error, "versions of the configuration cannot be read");
        Vec::new()
    });
    let mut versions: VecDeque<ConfigVersion> = kept
        .into_iter()
        .map(|kept| ConfigVersion { version: kept.number, applied: kept.at, text: kept.text.into() })
        .collect();
    versions.make_contiguous().sort_by_key(|version| version.version);
    if versions.back().is_none_or(|last| *last.text != *text) {
        let version = versions.back().map_or(1, |last| last.version + 1);
        let new = ConfigVersion { version, applied: clock.now().wall, text: text.into() };
        save_version(store, &new, "start");
        versions.push_back(new);
    }
    versions
}

/// Writes a version that is in force now.
pub fn save_version(store: &Store, version: &ConfigVersion, who: &str) {
    let kept = store::ConfigVersion {
        number: version.version,
        at: version.applied,
        who: who.to_owned(),
        text: version.text.to_string(),
    };
    if let Err(error) = store.save_version(&kept) {
        tracing::error!(%error, "the version of the configuration is not written");
    }
}

/// Takes over what was banned when the engine ended.
pub fn load_bans(clock: Clock, store: &Store, bans: &Bans) {
    let rows = match store.load_bans() {
        Ok(rows) => rows,
        Err(error) => return tracing::error!(%error, "bans of the earlier run cannot be read"),
    };
    let now = clock.now().wall;
    let since = now;
    let read = rows.into_iter().filter_map(|row| {
        let net: Net = row.network.parse().ok()?;
        let by = Banner::named(&row.who).unwrap_or(Banner::Operator);
        Some(Ban { net, until: row.until, since, by, reason: row.reason })
    });
    let taken = bans.import(now, read);
    if taken > 0 {
        tracing::info!(taken, "bans of the earlier run are in force");
    }
}

/// Writes bans as they change, as long as the runtime lives.
pub fn keep_bans(store: Arc<Store>, bans: Arc<Bans>) {
    tokio::spawn(async move {
        let mut written = bans.revision();
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tick.tick().await;
            let revision = bans.revision();
            if revision == written {
                continue;
            }
            let (store, bans) = (Arc::clone(&store), Arc::clone(&bans));
            let saved = tokio::task::spawn_blocking(move || save_bans(&store, &bans)).await;
            if saved.is_ok_and(|saved| saved) {
                written = revision;
            }
        }
    });
}

/// What the earlier run left running has ended with it.
pub fn interrupt_recordings(store: &Store) {
    match store.interrupt_recordings() {
        Ok(0) => {}
        Ok(interrupted) => tracing::warn!(interrupted, "recordings of the earlier run ended with it"),
        Err(error) => tracing::error!(%error, "recordings of the earlier run cannot be read"),
    }
}

/// Writes the index of recordings as it changes, as long as the runtime lives.
pub fn keep_recordings(store: Arc<Store>, recordings: Arc<Recordings>) {
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tick.tick().await;
            let (store, recordings) = (Arc::clone(&store), Arc::clone(&recordings));
            let _ = tokio::task::spawn_blocking(move || save_recordings(&store, &recordings)).await;
        }
    });
}

/// Writes what has changed in the index of recordings; false if the disk refuses, which is told.
pub fn save_recordings(store: &Store, recordings: &Recordings) -> bool {
    let rows = recordings.unsaved();
    if rows.is_empty() {
        return true;
    }
    match store.save_recordings(&rows) {
        Ok(()) => {
            recordings.saved(&rows);
            true
        }
        Err(error) => {
            tracing::error!(%error, "the index of recordings is not written");
            false
        }
    }
}

/// Writes all bans; false if the disk refuses, which is told.
pub fn save_bans(store: &Store, bans: &Bans) -> bool {
    let rows: Vec<BanRow> = bans
        .export()
        .into_iter()
        .map(|ban| BanRow {
            network: ban.net.to_string(),
            until: ban.until,
            reason: ban.reason,
            who: ban.by.name().to_owned(),
        })
        .collect();
    match store.save_bans(&rows) {
        Ok(()) => true,
        Err(error) => {
            tracing::error!(%error, "bans are not written");
            false
        }
    }
}
