//! Records as rows of SQLite: one list of columns, by which they are written and read.

use crate::record::{Record, RecordId, RecordQuality};
use crate::time::Time;
use base::Wall;
use ledger::CallId;
use rusqlite::types::{FromSql, Type};
use rusqlite::{Row, Statement, ToSql, params};
use std::borrow::Cow;

/// All columns of a record, in the order of [`insert`] and [`read`].
pub(crate) const COLUMNS: &str = "seq, call_id, leg, direction, trunk, \"group\", route, account, account_code, \
     sip_call_id, from_user, from_name, from_header, to_user, to_host, to_uri, local, remote, created, progress, \
     progress_status, progress_reason, answered, final_status, final_reason, ended, post_dial_delay_ms, ring_ms, \
     duration_ms, release_by, release_cause, release_reason, policy, billable, price_per_minute, cost, tags, received, \
     sent, lost, jitter_max_us, one_way, mos";

/// The statement for [`insert`]: a record that is there already changes nothing.
pub(crate) fn insert_text() -> String {
    let marks = "?, ".repeat(COLUMNS.split(',').count());
    let marks = marks.trim_end_matches(", ");
    format!("insert into cdr ({COLUMNS}) values ({marks}) on conflict (call_id, leg) do nothing")
}

/// Inserts one record; `false` if it was there.
pub(crate) fn insert(
    statement: &mut Statement<'_>,
    seq: i64,
    record: &Record<'_>,
) -> Result<bool, rusqlite::Error> {
    let call_id = record.call_id.to_string();
    let (local, remote) = (record.local.map(|at| at.to_string()), record.remote.map(|at| at.to_string()));
    let tags = if record.tags.is_empty() {
        Cow::Borrowed("{}")
    } else {
        Cow::Owned(serde_json::to_string(&record.tags).expect("names and values are plain data"))
    };
    let quality = record.quality.as_ref();
    let count = |get: fn(&RecordQuality) -> u64| quality.map(|quality| whole(get(quality)));
    let changed = statement.execute(params![
        seq,
        call_id,
        record.leg,
        record.direction,
        record.trunk,
        record.group,
        record.route,
        record.account,
        record.account_code,
        record.sip_call_id,
        record.from_user,
        record.from_name,
        record.from_header,
        record.to_user,
        record.to_host,
        record.to_uri,
        local,
        remote,
        micros(record.created),
        record.progress.map(micros),
        record.progress_status,
        record.progress_reason,
        record.answered.map(micros),
        record.final_status,
        record.final_reason,
        micros(record.ended),
        record.post_dial_delay_ms.map(whole),
        record.ring_ms.map(whole),
        whole(record.duration_ms),
        record.release_by,
        record.release_cause,
        record.release_reason,
        record.policy,
        record.billable,
        record.price_per_minute,
        record.cost,
        tags,
        count(|quality| quality.received),
        count(|quality| quality.sent),
        count(|quality| quality.lost),
        count(|quality| quality.jitter_max_us),
        quality.map(|quality| quality.one_way),
        quality.and_then(|quality| quality.mos).map(f64::from),
    ])?;
    Ok(changed > 0)
}

/// Reads a row of [`COLUMNS`]: its number and the record.
pub(crate) fn read(row: &Row<'_>) -> Result<(i64, Record<'static>), rusqlite::Error> {
    let mut columns = Columns { row, at: 0 };
    let c = &mut columns;
    let seq = c.next()?;
    let call: CallId = c.parsed()?;
    let leg = c.next()?;
    let record = Record {
        id: RecordId { call, leg },
        call_id: call,
        leg,
        direction: c.text()?,
        trunk: c.perhaps()?,
        group: c.perhaps()?,
        route: c.perhaps()?,
        account: c.perhaps()?,
        account_code: c.perhaps()?,
        sip_call_id: c.text()?,
        from_user: c.text()?,
        from_name: c.text()?,
        from_header: c.text()?,
        to_user: c.text()?,
        to_host: c.text()?,
        to_uri: c.text()?,
        local: c.next::<Option<String>>()?.and_then(|text| text.parse().ok()),
        remote: c.next::<Option<String>>()?.and_then(|text| text.parse().ok()),
        created: c.time()?,
        progress: c.time_perhaps()?,
        progress_status: c.next()?,
        progress_reason: c.text()?,
        answered: c.time_perhaps()?,
        final_status: c.next()?,
        final_reason: c.text()?,
        ended: c.time()?,
        post_dial_delay_ms: c.count_perhaps()?,
        ring_ms: c.count_perhaps()?,
        duration_ms: c.count()?,
        release_by: c.text()?,
        release_cause: c.text()?,
        release_reason: c.perhaps()?,
        policy: c.perhaps()?,
        billable: c.next()?,
        price_per_minute: c.next()?,
        cost: c.next()?,
        tags: serde_json::from_str(&c.next::<String>()?).unwrap_or_default(),
        quality: c.quality()?,
    };
    Ok((seq, record))
}

/// A row's columns, one after the other.
struct Columns<'a, 'stmt> {
    row: &'a Row<'stmt>,
    at: usize,
}

impl Columns<'_, '_> {
    fn next<T: FromSql>(&mut self) -> Result<T, rusqlite::Error> {
        self.at += 1;
        self.row.get(self.at - 1)
    }

    fn parsed<T: core::str::FromStr>(&mut self) -> Result<T, rusqlite::Error> {
        let text: String = self.next()?;
        let bad = rusqlite::Error::InvalidColumnType(self.at - 1, text.clone(), Type::Text);
        text.parse().map_err(|_| bad)
    }

    fn text(&mut self) -> Result<Cow<'static, str>, rusqlite::Error> {
        Ok(Cow::Owned(self.next()?))
    }

    fn perhaps(&mut self) -> Result<Option<Cow<'static, str>>, rusqlite::Error> {
        Ok(self.next::<Option<String>>()?.map(Cow::Owned))
    }

    fn count_perhaps(&mut self) -> Result<Option<u64>, rusqlite::Error> {
        Ok(self.next::<Option<i64>>()?.map(|count| u64::try_from(count).unwrap_or(0)))
    }

    fn count(&mut self) -> Result<u64, rusqlite::Error> {
        Ok(self.count_perhaps()?.unwrap_or(0))
    }

    fn time_perhaps(&mut self) -> Result<Option<Time>, rusqlite::Error> {
        Ok(self.count_perhaps()?.map(|at| Time(Wall(at))))
    }

    fn time(&mut self) -> Result<Time, rusqlite::Error> {
        Ok(Time(Wall(self.count()?)))
    }

    fn quality(&mut self) -> Result<Option<RecordQuality>, rusqlite::Error> {
        let (received, sent) = (self.count_perhaps()?, self.count()?);
        let (lost, jitter_max_us) = (self.count()?, self.count()?);
        let (one_way, mos) = (self.next::<Option<bool>>()?.unwrap_or(false), self.next::<Option<f64>>()?);
        let mos = mos.map(|mos| mos as f32);
        Ok(received.map(|received| RecordQuality { received, sent, lost, jitter_max_us, one_way, mos }))
    }
}

/// SQLite's numbers are signed; what is larger is as large as can be.
pub(crate) fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn micros(time: Time) -> impl ToSql {
    whole(time.0.0)
}
