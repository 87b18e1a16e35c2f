//! SDES towards each side: which lines are offered, which one answers, what was agreed. Keys end here on both sides
//! always, so that sources are authenticated; what a client says of suites is kept to. RFC 4568, RFC 8643.

use super::said::Medium;
use crate::options::SdesOptions;
use command::Suite;
use sdp::crypto::{self, Agreed, CryptoLine, KeySource};

/// Whether a suite may be used.
fn is_allowed(suite: Suite, options: &SdesOptions) -> bool {
    match options.only.is_empty() {
        _ if options.off => false,
        true => !options.without.contains(&suite),
        false => options.only.contains(&suite),
    }
}

/// Lines for the receiver of an offer: the suites of its writer under its tags, then ours. `before` are lines that the
/// receiver has been told earlier: their keys stay.
pub(super) fn offer(
    said: &Medium,
    options: &SdesOptions,
    before: &[CryptoLine],
    source: &mut KeySource,
) -> Vec<CryptoLine> {
    let mut suites: Vec<(u32, Suite)> = Vec::new();
    for line in &said.crypto {
        let is_new = suites.iter().all(|(tag, suite)| *tag != line.tag && *suite != line.keys.suite);
        if is_new && suites.len() < LINES_MAX {
            suites.push((line.tag, line.keys.suite));
        }
    }
    let mut tag = suites.iter().map(|(tag, _)| *tag).max().unwrap_or(0);
    let theirs: Vec<Suite> = suites.iter().map(|(_, suite)| *suite).collect();
    suites.retain(|(_, suite)| is_allowed(*suite, options));
    if !options.no_new || theirs.is_empty() {
        for suite in Suite::ALL {
            if is_allowed(suite, options) && !theirs.contains(&suite) {
                // Tags have nine digits.
                tag = if tag < 999_999_000 { tag + 1 } else { suites.len() as u32 + 1 };
                suites.push((tag, suite));
            }
        }
    }
    if !options.order.is_empty() {
        let rank = |suite: &Suite| options.order.iter().position(|wanted| wanted == suite);
        suites.sort_by_key(|(_, suite)| rank(suite).unwrap_or(usize::MAX));
    }
    let keys = |suite: Suite, source: &mut KeySource| {
        let known = before.iter().find(|line| line.keys.suite == suite && line.keys.mki.is_empty());
        known.map_or_else(|| source.keys(suite), |line| line.keys.clone())
    };
    suites.into_iter().map(|(tag, suite)| CryptoLine { tag, keys: keys(suite, source) }).collect()
}

/// The line that answers an offer's, and both keys. The suite that the other side has chosen comes first, then what the
/// client prefers, then the offerer's order.
pub(super) fn answer(
    offer: &Medium,
    options: [&SdesOptions; 2],
    across: Option<Suite>,
    before: Option<&Agreed>,
    source: &mut KeySource,
) -> Option<(CryptoLine, Agreed)> {
    let preferred = options.into_iter().flat_map(|options| &options.offerer_preference).copied();
    let mut suites = preferred.chain(across).chain(offer.crypto.iter().map(|line| line.keys.suite));
    let suite = suites.find(|suite| {
        options.iter().all(|options| is_allowed(*suite, options))
            && offer.crypto.iter().any(|line| line.keys.suite == *suite)
    })?;
    let written: Vec<Vec<u8>> = offer
        .crypto
        .iter()
        .map(|line| {
            let mut value = Vec::new();
            line.write(&mut value);
            value
        })
        .collect();
    crypto::answer(written.iter().map(Vec::as_slice), &[suite], before, source)
}

/// What an answer to lines of ours agrees. The tag decides; where it is another one, the suite does, of which we have
/// one line.
pub(super) fn accept(offered: &[CryptoLine], answer: &Medium) -> Option<Agreed> {
    let matching = |is_tagged: bool| {
        answer.crypto.iter().find_map(|theirs| {
            let is_it = |ours: &&CryptoLine| {
                ours.keys.suite == theirs.keys.suite && (!is_tagged || ours.tag == theirs.tag)
            };
            let ours = offered.iter().find(is_it)?;
            Some(Agreed { ours: ours.keys.clone(), theirs: theirs.keys.clone() })
        })
    };
    matching(true).or_else(|| matching(false))
}

/// Lines that are kept of one offer.
const LINES_MAX: usize = 32;
