//! What has to happen between two parties that never agreed with each other: of a connection, or of a subscription. Says
//! it in the words of media; asks nobody.

use crate::facts::{LineFacts, PartyFacts};
use command::{Payload, Transform};
use sdp::{Kind, Makeable};

/// Milliseconds a packet where nobody said anything.
const PTIME_MS: u16 = 20;

/// The lines of one party and the lines of another that take them: the first audio goes to the first audio.
pub(crate) fn pairs<'f>(
    from: &'f PartyFacts,
    to: &'f PartyFacts,
) -> impl Iterator<Item = (&'f LineFacts, &'f LineFacts)> {
    let nth_of = |party: &PartyFacts, line: &LineFacts| -> usize {
        let mut before: Vec<usize> = Vec::new();
        let earlier =
            party.lines.iter().filter(|l| l.kind == line.kind && !l.is_refused && l.line < line.line);
        earlier.for_each(|l| {
            if !before.contains(&l.line) {
                before.push(l.line);
            }
        });
        before.len()
    };
    let open = |line: &&LineFacts| !line.is_refused;
    from.lines.iter().filter(open).flat_map(move |one| {
        let nth = nth_of(from, one);
        let takes = move |two: &&LineFacts| two.kind == one.kind && nth_of(to, two) == nth;
        to.lines.iter().filter(open).filter(takes).map(move |two| (one, two))
    })
}

/// What media of one line becomes on its way to another, where `makeable` can be decoded and made; `None` if nothing can
/// pass.
pub(crate) fn between(from: &LineFacts, to: &LineFacts, makeable: &[Makeable]) -> Option<Transform> {
    let (source, sink) = (from.state.as_ref()?, to.state.as_ref()?);
    if source.is_sealed || sink.is_sealed {
        return None;
    }
    if from.kind != Kind::Audio || source.payloads.is_empty() || sink.payloads.is_empty() {
        return Some(relay(&source.payloads, &sink.payloads));
    }
    transform(&source.payloads, &sink.payloads, makeable)
}

/// What speech becomes on its way between these formats.
fn transform(source: &[Payload], sink: &[Payload], makeable: &[Makeable]) -> Option<Transform> {
    let speech = |payload: &&Payload| is_speech(payload);
    let has = |one: &Payload| sink.iter().any(|two| is_same(one, two));
    let (mut all, mut any) = (true, false);
    for payload in source.iter().filter(speech) {
        all &= has(payload);
        any |= has(payload);
    }
    if all && any {
        return Some(relay(source, sink));
    }
    let known = |payload: &Payload| makeable.iter().find(|makeable| is_made_as(payload, makeable));
    let has_ptime = |makeable: &Makeable| makeable.ptimes.iter().any(|ptime| u16::from(*ptime) == PTIME_MS);
    let made = sink.iter().find(|payload| known(payload).is_some_and(has_ptime));
    let heard = source.iter().any(|payload| known(payload).is_some());
    match made.filter(|_| heard) {
        Some(made) => Some(Transform::Transcode { to_payload: made.number, ptime_ms: PTIME_MS }),
        None => any.then(|| relay(source, sink)),
    }
}

fn relay(source: &[Payload], sink: &[Payload]) -> Transform {
    let numbers = source.iter().filter_map(|one| {
        let two = sink.iter().find(|two| is_same(one, two))?;
        (one.number != two.number).then_some((one.number, two.number))
    });
    Transform::Relay { payload_map: numbers.collect(), rewrite: None }
}

fn is_same(one: &Payload, two: &Payload) -> bool {
    one.encoding == two.encoding && one.clock == two.clock
}

fn is_speech(payload: &Payload) -> bool {
    !matches!(payload.encoding.as_str(), "telephone-event" | "cn" | "red")
}

fn is_made_as(payload: &Payload, makeable: &Makeable) -> bool {
    makeable.name.eq_ignore_ascii_case(&payload.encoding) && makeable.clock == payload.clock
}
