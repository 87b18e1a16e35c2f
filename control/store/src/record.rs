//! One CDR as one line of JSON, with the stable field names of docs/cdr.md. The wire form stays here: the ledger's
//! plain `Cdr` knows nothing of it.

use base::{Duration, Wall};
use ledger::{Cdr, Quality};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The fields in the order in which they are written. Times are RFC 3339 in UTC with microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Stable name of the record: the same at every delivery.
    pub id: String,
    /// Links the legs of a call.
    pub call_id: String,
    /// 0 is the caller's leg, attempts follow in order.
    pub leg: u16,
    /// `in` or `out`, as seen from us.
    pub direction: String,
    /// Null where the peer is no trunk.
    pub trunk: Option<String>,
    /// Null before one was found.
    pub route: Option<String>,
    /// Call-ID of this leg's dialog.
    pub sip_call_id: String,
    /// User part of From.
    pub from_user: String,
    /// Display name of From.
    pub from_name: String,
    /// The whole From.
    pub from_header: String,
    /// User part of the Request-URI.
    pub to_user: String,
    /// Host part of the Request-URI.
    pub to_host: String,
    /// The whole Request-URI.
    pub to_uri: String,
    /// Our address and port.
    pub local: Option<String>,
    /// The peer's address and port.
    pub remote: Option<String>,
    /// INVITE received or sent.
    pub created: String,
    /// First provisional answer above 100.
    pub progress: Option<String>,
    /// Its status.
    pub progress_status: Option<u16>,
    /// Final answer to the INVITE.
    pub answered: Option<String>,
    /// Its status, also of a refusal.
    pub final_status: Option<u16>,
    /// Its reason phrase.
    pub final_reason: String,
    /// End of the leg.
    pub ended: String,
    /// From INVITE to ringing.
    pub post_dial_delay_ms: Option<u64>,
    /// From ringing to the final answer.
    pub ring_ms: Option<u64>,
    /// From answer to end.
    pub duration_ms: u64,
    /// `caller`, `callee`, `engine` or `operator`.
    pub release_by: String,
    /// Stable word.
    pub release_cause: String,
    /// Business headers of the call; values of a repeated one are joined with a comma.
    pub tags: BTreeMap<String, String>,
    /// Null where no media flowed.
    pub quality: Option<RecordQuality>,
}

/// Media of one leg, all m-lines together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
}

impl From<&Cdr> for Record {
    fn from(cdr: &Cdr) -> Self {
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
        Record {
            id: cdr.id(),
            call_id: cdr.call.to_string(),
            leg: cdr.leg,
            direction: cdr.direction.name().to_owned(),
            trunk: cdr.trunk.clone(),
            route: cdr.route.clone(),
            sip_call_id: cdr.sip_call_id.clone(),
            from_user: cdr.from_user.clone(),
            from_name: cdr.from_name.clone(),
            from_header: cdr.from_header.clone(),
            to_user: cdr.to_user.clone(),
            to_host: cdr.to_host.clone(),
            to_uri: cdr.to_uri.clone(),
            local: cdr.local.map(|address| address.to_string()),
            remote: cdr.remote.map(|address| address.to_string()),
            created: cdr.created.to_string(),
            progress: cdr.progress.map(|at| at.to_string()),
            progress_status: cdr.progress_status,
            answered: cdr.answered.map(|at| at.to_string()),
            final_status: cdr.final_status,
            final_reason: cdr.final_reason.clone(),
            ended: cdr.ended.to_string(),
            post_dial_delay_ms: cdr.post_dial_delay.map(millis),
            ring_ms: ring,
            duration_ms: millis(cdr.duration),
            release_by: cdr.released_by.name().to_owned(),
            release_cause: cdr.release_cause.clone(),
            tags,
            quality: cdr.quality.map(RecordQuality::from),
        }
    }
}

impl From<Quality> for RecordQuality {
    fn from(quality: Quality) -> Self {
        let Quality { received, sent, lost, jitter_max_us, one_way } = quality;
        RecordQuality { received, sent, lost, jitter_max_us, one_way }
    }
}

impl Record {
    /// Writes the record as one line, its newline included.
    pub fn line(&self, out: &mut Vec<u8>) {
        // Plain strings and numbers into memory: nothing in it can fail.
        serde_json::to_writer(&mut *out, self).expect("a record is plain data");
        out.push(b'\n');
    }

    /// The leg was up when the engine died, and was last known to be up at `last`.
    pub(crate) fn interrupt(&mut self, answered: Option<Wall>, last: Wall) {
        self.ended = last.to_string();
        self.duration_ms = answered.map_or(0, |at| last.0.saturating_sub(at.0) / 1_000);
        self.release_by = "engine".to_owned();
        self.release_cause = "interrupted".to_owned();
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdr::tests::a_cdr;
    use proptest::prelude::*;

    #[test]
    fn the_names_of_the_fields_are_stable() {
        let mut cdr = a_cdr(1, 0);
        cdr.tags = vec![("X-Sign-ID".into(), "42".into()), ("X-Sign-ID".into(), "43".into())];
        cdr.quality = Some(Quality { received: 1, sent: 2, lost: 3, jitter_max_us: 4, one_way: true });
        let mut line = Vec::new();
        Record::from(&cdr).line(&mut line);
        let expected = concat!(
            r#"{"id":"000000000000000000000001-0","call_id":"000000000000000000000001","leg":0,"direction":"in","#,
            r#""trunk":"pbx","route":"us","sip_call_id":"abc@example","from_user":"2001","from_name":"Ann","#,
            r#""from_header":"\"Ann\" <sip:2001@example>;tag=1","to_user":"+15035550100","to_host":"example","#,
            r#""to_uri":"sip:+15035550100@example","local":"192.0.2.1:5060","remote":"[2001:db8::1]:5060","#,
            r#""created":"2026-11-21T08:01:56.500000Z","progress":"2026-11-21T08:01:57.500000Z","#,
            r#""progress_status":180,"answered":"2026-11-21T08:02:00.500000Z","final_status":200,"#,
            r#""final_reason":"OK","ended":"2026-11-21T08:02:30.500000Z","post_dial_delay_ms":1000,"#,
            r#""ring_ms":3000,"duration_ms":30000,"release_by":"caller","release_cause":"normal","#,
            r#""tags":{"X-Sign-ID":"42, 43"},"#,
            r#""quality":{"received":1,"sent":2,"lost":3,"jitter_max_us":4,"one_way":true}}"#,
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
            prop_assert_eq!(serde_json::from_slice::<Record>(&line).unwrap(), record);
        }
    }
}
