//! One CDR as others see it, with the stable field names of docs/cdr.md: as a line of JSON here, as CSV and as a row of
//! SQLite in modules of their own. The ledger's plain `Cdr` knows nothing of it.

use crate::time::Time;
use base::{Duration, Wall};
use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;
use ledger::{CallId, Cdr, Quality};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The fields in the order in which they are written. Borrows from a `Cdr`, or owns what was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record<'a> {
    /// Stable name of the record: the same at every delivery.
    pub id: RecordId,
    /// Links the legs of a call.
    #[serde(with = "as_text")]
    pub call_id: CallId,
    /// 0 is the caller's leg, attempts follow in order.
    pub leg: u16,
    /// `in` or `out`, as seen from us.
    pub direction: Cow<'a, str>,
    /// Null where the peer is no trunk.
    pub trunk: Option<Cow<'a, str>>,
    /// Null where the trunk was not chosen by a group.
    #[serde(default)]
    pub group: Option<Cow<'a, str>>,
    /// Null before one was found.
    pub route: Option<Cow<'a, str>>,
    /// Null where the leg belongs to none.
    #[serde(default)]
    pub account: Option<Cow<'a, str>>,
    /// What the account is billed under.
    #[serde(default)]
    pub account_code: Option<Cow<'a, str>>,
    /// Call-ID of this leg's dialog.
    pub sip_call_id: Cow<'a, str>,
    /// User part of From.
    pub from_user: Cow<'a, str>,
    /// Display name of From.
    pub from_name: Cow<'a, str>,
    /// The whole From.
    pub from_header: Cow<'a, str>,
    /// User part of the Request-URI.
    pub to_user: Cow<'a, str>,
    /// Host part of the Request-URI.
    pub to_host: Cow<'a, str>,
    /// The whole Request-URI.
    pub to_uri: Cow<'a, str>,
    /// Our address and port.
    pub local: Option<SocketAddr>,
    /// The peer's address and port.
    pub remote: Option<SocketAddr>,
    /// INVITE received or sent.
    pub created: Time,
    /// First provisional answer above 100.
    pub progress: Option<Time>,
    /// Its status.
    pub progress_status: Option<u16>,
    /// Its reason phrase.
    #[serde(default)]
    pub progress_reason: Cow<'a, str>,
    /// Final answer to the INVITE.
    pub answered: Option<Time>,
    /// Its status, also of a refusal.
    pub final_status: Option<u16>,
    /// Its reason phrase.
    pub final_reason: Cow<'a, str>,
    /// End of the leg.
    pub ended: Time,
    /// From INVITE to ringing.
    pub post_dial_delay_ms: Option<u64>,
    /// From ringing to the final answer.
    pub ring_ms: Option<u64>,
    /// From answer to end.
    pub duration_ms: u64,
    /// `caller`, `callee`, `engine` or `operator`.
    pub release_by: Cow<'a, str>,
    /// Stable word.
    pub release_cause: Cow<'a, str>,
    /// Reason header of what ended the leg.
    #[serde(default)]
    pub release_reason: Option<Cow<'a, str>>,
    /// The rule that refused or cut the call.
    #[serde(default)]
    pub policy: Option<Cow<'a, str>>,
    /// Whether the leg is to be billed.
    #[serde(default)]
    pub billable: bool,
    /// By the rate table.
    #[serde(default)]
    pub price_per_minute: Option<f64>,
    /// By the rate table, to 6 decimals.
    #[serde(default)]
    pub cost: Option<f64>,
    /// Business headers of the call; values of a repeated one are joined with a comma.
    pub tags: BTreeMap<String, String>,
    /// Null where no media flowed.
    pub quality: Option<RecordQuality>,
}

/// Media of one leg, all m-lines together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RecordQuality {
    /// RTP packets from this peer.
    pub received: u64,
    /// RTP packets to this peer.
    pub sent: u64,
    /// Packets of this peer that never came.
    pub lost: u64,
    /// Largest jitter.
    pub jitter_max_us: u64,
    /// The peer should have sent and nothing came.
    pub one_way: bool,
    /// 1 to 4.5.
    #[serde(default)]
    pub mos: Option<f32>,
}

/// Names a record for ever. Prints as `CALL-LEG`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordId {
    /// The call.
    pub call: CallId,
    /// Number of the leg in the call.
    pub leg: u16,
}

/// The text names no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the id of a record: the call's 24 digits, \"-\" and the number of the leg")]
pub struct NoRecordId;

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.call, self.leg)
    }
}

impl FromStr for RecordId {
    type Err = NoRecordId;
    fn from_str(text: &str) -> Result<Self, NoRecordId> {
        let (call, leg) = text.split_once('-').ok_or(NoRecordId)?;
        let call = call.parse().map_err(|_| NoRecordId)?;
        Ok(RecordId { call, leg: leg.parse().map_err(|_| NoRecordId)? })
    }
}

impl Serialize for RecordId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RecordId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A call id in JSON.
mod as_text {
    use super::{CallId, Cow, Deserialize, Deserializer, Error, Serializer};

    pub fn serialize<S: Serializer>(id: &CallId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CallId, D::Error> {
        Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(|_| D::Error::custom("no call id"))
    }
}

impl<'a> From<&'a Cdr> for Record<'a> {
    fn from(cdr: &'a Cdr) -> Self {
        let mut tags: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &cdr.tags {
            tags.entry(name.clone())
                .and_modify(|all| {
                    all.push_str(", ");
                    all.push_str(value);
                })
                .or_insert_with(|| value.clone());
        }
        let ring = cdr.progress.zip(cdr.answered).map(|(from, to)| to.0.saturating_sub(from.0) / 1_000);
        let text = |text: &'a String| Cow::Borrowed(text.as_str());
        let perhaps = |text: &'a Option<String>| text.as_deref().map(Cow::Borrowed);
        Record {
            id: RecordId { call: cdr.call, leg: cdr.leg },
            call_id: cdr.call,
            leg: cdr.leg,
            direction: Cow::Borrowed(cdr.direction.name()),
            trunk: perhaps(&cdr.trunk),
            group: perhaps(&cdr.group),
            route: perhaps(&cdr.route),
            account: perhaps(&cdr.account),
            account_code: perhaps(&cdr.account_code),
            sip_call_id: text(&cdr.sip_call_id),
            from_user: text(&cdr.from_user),
            from_name: text(&cdr.from_name),
            from_header: text(&cdr.from_header),
            to_user: text(&cdr.to_user),
            to_host: text(&cdr.to_host),
            to_uri: text(&cdr.to_uri),
            local: cdr.local,
            remote: cdr.remote,
            created: Time(cdr.created),
            progress: cdr.progress.map(Time),
            progress_status: cdr.progress_status,
            progress_reason: text(&cdr.progress_reason),
            answered: cdr.answered.map(Time),
            final_status: cdr.final_status,
            final_reason: text(&cdr.final_reason),
            ended: Time(cdr.ended),
            post_dial_delay_ms: cdr.post_dial_delay.map(millis),
            ring_ms: ring,
            duration_ms: millis(cdr.duration),
            release_by: Cow::Borrowed(cdr.released_by.name()),
            release_cause: text(&cdr.release_cause),
            release_reason: perhaps(&cdr.release_reason),
            policy: perhaps(&cdr.policy),
            billable: cdr.billable,
            price_per_minute: cdr.price_per_minute.and_then(money),
            cost: cdr.cost.and_then(money),
            tags,
            quality: cdr.quality.map(RecordQuality::from),
        }
    }
}

impl From<Quality> for RecordQuality {
    fn from(quality: Quality) -> Self {
        let Quality { received, sent, lost, jitter_max_us, one_way, mos } = quality;
        let mos = mos.filter(|mos| mos.is_finite()).map(|mos| (mos * 100.0).round() / 100.0);
        RecordQuality { received, sent, lost, jitter_max_us, one_way, mos }
    }
}

impl Record<'_> {
    /// Writes the record as one line, its newline included.
    pub fn line(&self, out: &mut Vec<u8>) {
        // Plain strings and numbers into memory: nothing in it can fail.
        serde_json::to_writer(&mut *out, self).expect("a record is plain data");
        out.push(b'\n');
    }

    /// The leg was up when the engine died, and was last known to be up at `last`. What it cost nobody knows.
    pub(crate) fn interrupt(&mut self, last: Wall) {
        self.ended = Time(last);
        self.duration_ms = self.answered.map_or(0, |at| last.0.saturating_sub(at.0.0) / 1_000);
        self.release_by = "engine".into();
        self.release_cause = "interrupted".into();
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// To 6 decimals; what is no number is no money.
fn money(amount: f64) -> Option<f64> {
    amount.is_finite().then(|| (amount * 1e6).round() / 1e6).filter(|amount| amount.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::a_cdr;
    use proptest::prelude::*;

    #[test]
    fn the_names_of_the_fields_are_stable() {
        let mut cdr = a_cdr(1, 0);
        cdr.tags = vec![("X-Sign-ID".into(), "42".into()), ("X-Sign-ID".into(), "43".into())];
        (cdr.group, cdr.account, cdr.account_code) =
            (Some("carriers".into()), Some("acme".into()), Some("A-1".into()));
        (cdr.release_reason, cdr.policy) = (Some("Q.850;cause=16".into()), Some("fraud.spend".into()));
        (cdr.price_per_minute, cdr.cost) = (Some(0.01), Some(0.0050000004));
        cdr.quality =
            Some(Quality { received: 1, sent: 2, lost: 3, jitter_max_us: 4, one_way: true, mos: Some(4.2) });
        let mut line = Vec::new();
        Record::from(&cdr).line(&mut line);
        let expected = concat!(
            r#"{"id":"000000000000000000000001-0","call_id":"000000000000000000000001","leg":0,"direction":"in","#,
            r#""trunk":"pbx","group":"carriers","route":"us","account":"acme","account_code":"A-1","sip_call_id":"abc@example","from_user":"2001","from_name":"Ann","#,
            r#""from_header":"\"Ann\" <sip:2001@example>;tag=1","to_user":"+15035550100","to_host":"example","#,
            r#""to_uri":"sip:+15035550100@example","local":"192.0.2.1:5060","remote":"[2001:db8::1]:5060","#,
            r#""created":"2026-11-21T08:01:56.500000Z","progress":"2026-11-21T08:01:57.500000Z","#,
            r#""progress_status":180,"progress_reason":"Ringing","answered":"2026-11-21T08:02:00.500000Z","final_status":200,"#,
            r#""final_reason":"OK","ended":"2026-11-21T08:02:30.500000Z","post_dial_delay_ms":1000,"#,
            r#""ring_ms":3000,"duration_ms":30000,"release_by":"caller","release_cause":"normal","#,
            r#""release_reason":"Q.850;cause=16","policy":"fraud.spend","billable":true,"price_per_minute":0.01,"#,
            r#""cost":0.005,"tags":{"X-Sign-ID":"42, 43"},"#,
            r#""quality":{"received":1,"sent":2,"lost":3,"jitter_max_us":4,"one_way":true,"mos":4.2}}"#,
            "\n"
        );
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    #[test]
    fn every_field_is_documented() {
        let page = include_str!("../../../docs/cdr.md");
        let record = serde_json::to_value(Record::from(&a_cdr(1, 0))).unwrap();
        for name in record.as_object().unwrap().keys() {
            assert!(page.contains(&format!("| `{name}` |")), "docs/cdr.md lacks {name}");
        }
    }

    proptest! {
        #[test]
        fn any_record_is_one_line_of_json_and_reads_back(
            texts in proptest::collection::vec(any::<String>(), 10),
            tags in proptest::collection::vec((any::<String>(), any::<String>()), 0..4),
            numbers in any::<[u64; 8]>(),
            status in any::<Option<u16>>(),
        ) {
            let mut cdr = a_cdr(2, status.unwrap_or(7));
            let [user, name, header, to_user, to_host, to_uri, reason, cause, call_id, trunk] = &texts[..] else {
                unreachable!("ten texts were asked for")
            };
            (cdr.from_user, cdr.from_name, cdr.from_header) = (user.clone(), name.clone(), header.clone());
            (cdr.to_user, cdr.to_host, cdr.to_uri) = (to_user.clone(), to_host.clone(), to_uri.clone());
            (cdr.final_reason, cdr.release_cause) = (reason.clone(), cause.clone());
            (cdr.sip_call_id, cdr.trunk, cdr.tags) = (call_id.clone(), Some(trunk.clone()), tags);
            (cdr.created, cdr.ended) = (Wall(numbers[0] >> 4), Wall(numbers[1] >> 4));
            (cdr.progress, cdr.answered) = (Some(Wall(numbers[2] >> 4)), Some(Wall(numbers[3] >> 4)));
            cdr.duration = Duration::from_nanos(numbers[4]);
            cdr.final_status = status;
            cdr.quality = Some(Quality { received: numbers[5], sent: numbers[6], lost: numbers[7], ..Quality::default() });
            let record = Record::from(&cdr);
            let mut line = Vec::new();
            record.line(&mut line);
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
            prop_assert_eq!(line.last(), Some(&b'\n'));
            prop_assert_eq!(serde_json::from_slice::<Record<'static>>(&line).unwrap(), record);
        }
    }
}
