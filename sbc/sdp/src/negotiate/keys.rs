//! Encryption of each m-line towards each side: what is written of keys, and which ones were agreed on. Keys live in the
//! texts that were written; nothing else is kept. RFC 4568, RFC 8643; media.md "SRTP by SDES".

use super::Unacceptable;
use super::config::{SideConfig, Srtp};
use crate::crypto::{self, Agreed, CryptoLine, KeySource};
use crate::parse::{Media, Proto};
use command::Suite;

/// What is written of keys in one m-line; the default leaves all as it is.
#[derive(Debug, Default)]
pub(super) struct KeyEdit {
    pub(super) proto: Option<Box<[u8]>>,
    pub(super) crypto: Option<Vec<CryptoLine>>,
}

/// What was written and said of one m-line in an earlier exchange with the same side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Earlier<'r, 'a> {
    pub(super) told: &'r Media<'a>,
    pub(super) said: Option<&'r Media<'a>>,
    /// It made the offer.
    pub(super) offered: bool,
}

/// Whether encryption ends here: one of the sides says how it wants it.
pub(super) fn end_here(one: &SideConfig, other: &SideConfig) -> bool {
    one.srtp.is_some() || other.srtp.is_some()
}

/// Whether keys of an m-line could be ours: it is of a profile that has a secure twin.
fn is_ours(media: &Media<'_>) -> bool {
    matches!(media.proto(), Proto::Rtp | Proto::Srtp)
}

/// Whether what the offerer of this m-line sends and gets is encrypted by us.
fn is_offer_secure(media: &Media<'_>, offerer: &SideConfig) -> bool {
    offerer.srtp != Some(Srtp::Never) && media.crypto().any(|value| CryptoLine::parse(value).is_ok())
}

/// Keys of an offer to `reader`; `earlier` is what was agreed with it before.
pub(super) fn offer(
    media: &Media<'_>,
    writer: &SideConfig,
    reader: &SideConfig,
    earlier: Option<Earlier<'_, '_>>,
    source: Option<&mut KeySource>,
) -> Result<KeyEdit, Unacceptable> {
    if !end_here(writer, reader) || !is_ours(media) {
        return Ok(KeyEdit::default());
    }
    let is_savp = media.proto() == Proto::Srtp;
    match writer.srtp {
        Some(Srtp::Never) if is_savp => return Err(Unacceptable::KeyUnwanted),
        Some(Srtp::Required) if !is_savp => return Err(Unacceptable::KeyMissing),
        _ if is_savp && !is_offer_secure(media, writer) => return Err(Unacceptable::KeyMissing),
        _ => {}
    }
    let proto = Some(profile(media, reader.srtp == Some(Srtp::Required)));
    if !matches!(reader.srtp, Some(Srtp::Optional | Srtp::Required)) {
        return Ok(KeyEdit { proto, crypto: Some(Vec::new()) });
    }
    // The same key again, so that a peer that has not changed goes on where it is.
    let ours = earlier.map(|earlier| lines(earlier.told)).filter(|lines| !lines.is_empty());
    let crypto = match ours {
        Some(lines) => lines,
        None => crypto::offer(&Suite::ALL, source.ok_or(Unacceptable::NoPorts)?),
    };
    Ok(KeyEdit { proto, crypto: Some(crypto) })
}

/// The m-lines of one exchange, where there is an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines<'r, 'a> {
    /// As the offerer said it.
    pub(super) offer: &'r Media<'a>,
    /// As the answerer was told it.
    pub(super) offered: &'r Media<'a>,
    /// As the answerer said it.
    pub(super) answer: &'r Media<'a>,
}

/// Keys of the answer to the offerer. `told` is the answer that it has been told already.
pub(super) fn answer(
    lines: Lines<'_, '_>,
    offerer: &SideConfig,
    answerer: &SideConfig,
    told: Option<&Media<'_>>,
    earlier: Option<Earlier<'_, '_>>,
    source: Option<&mut KeySource>,
) -> Result<KeyEdit, Unacceptable> {
    let Lines { offer, offered, answer } = lines;
    if !end_here(offerer, answerer) || !is_ours(offer) {
        return Ok(KeyEdit::default());
    }
    let must_be = answerer.srtp == Some(Srtp::Required) || answer.proto() == Proto::Srtp;
    let has_keys = answer.crypto().next().is_some();
    let was_offered = offered.crypto().next().is_some();
    if was_offered && (must_be || has_keys) && answerer_keys(offered, answer).is_none() {
        return Err(Unacceptable::KeyMissing);
    }
    if !was_offered && answer.proto() == Proto::Srtp {
        return Err(Unacceptable::Mismatch);
    }
    let proto = Some(offer.proto_text().into());
    if !is_offer_secure(offer, offerer) {
        return Ok(KeyEdit { proto, crypto: Some(Vec::new()) });
    }
    if let Some(told) = told {
        return Ok(KeyEdit { proto, crypto: Some(self::lines(told)) });
    }
    let before = earlier.and_then(|earlier| {
        let said = earlier.said.filter(|said| said.rtp() == offer.rtp())?;
        if earlier.offered { offerer_keys(said, earlier.told) } else { answerer_keys(earlier.told, said) }
    });
    let source = source.ok_or(Unacceptable::NoPorts)?;
    let (line, _) = crypto::answer(offer.crypto(), &Suite::ALL, before.as_ref(), source)
        .ok_or(Unacceptable::KeyMissing)?;
    Ok(KeyEdit { proto, crypto: Some(vec![line]) })
}

/// What was agreed with the one who made the offer, from what it was told.
pub(super) fn offerer_keys(offer: &Media<'_>, told: &Media<'_>) -> Option<Agreed> {
    let ours = lines(told).into_iter().next()?;
    let mut theirs = offer.crypto().filter_map(|value| CryptoLine::parse(value).ok());
    let theirs = theirs.find(|line| line.tag == ours.tag && line.keys.suite == ours.keys.suite)?;
    Some(Agreed { ours: ours.keys, theirs: theirs.keys })
}

/// What was agreed with the one who answered what we offered.
pub(super) fn answerer_keys(offered: &Media<'_>, answer: &Media<'_>) -> Option<Agreed> {
    crypto::accept(&lines(offered), answer.crypto()).ok()
}

/// The keys that we have offered, the first line's.
pub(super) fn offered_keys(offered: &Media<'_>) -> Option<command::SdesKeys> {
    lines(offered).into_iter().next().map(|line| line.keys)
}

fn lines(media: &Media<'_>) -> Vec<CryptoLine> {
    media.crypto().filter_map(|value| CryptoLine::parse(value).ok()).collect()
}

/// RTP/AVP or RTP/SAVP, with feedback where the writer has it.
fn profile(media: &Media<'_>, is_secure: bool) -> Box<[u8]> {
    let has_feedback = media.proto_text().last().is_some_and(|last| last.eq_ignore_ascii_case(&b'F'));
    let name: &[u8] = match (is_secure, has_feedback) {
        (false, false) => b"RTP/AVP",
        (false, true) => b"RTP/AVPF",
        (true, false) => b"RTP/SAVP",
        (true, true) => b"RTP/SAVPF",
    };
    name.into()
}
