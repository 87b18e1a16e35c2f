//! What becomes of each m-line on its way through: which can pass, and what its edit is. Holds no state.

use super::Unacceptable;
use super::codecs::{self, Rules, find_same};
use super::keys::{self, Earlier, Lines};
use crate::address::{AddressKind, address_kind};
use crate::codec::Codec;
use crate::crypto::KeySource;
use crate::edit::LineEdit;
use crate::parse::{Direction, Host, Kind, Media, Proto, Sdp};
use command::MediaClass;
use core::net::{IpAddr, SocketAddr};

/// Where we are: our addresses and ports towards both sides, so that media to ourselves is seen.
pub(super) struct Ours {
    pub(super) addresses: [Option<IpAddr>; 2],
    pub(super) ports: Vec<u16>,
}

/// How packets of an m-line are told apart; `None` if it cannot pass: refused by its writer, over TCP, or with DTLS.
pub(super) fn class(media: &Media<'_>) -> Option<MediaClass> {
    if media.port() == 0 || media.needs_dtls() {
        return None;
    }
    match media.proto() {
        Proto::Rtp | Proto::Srtp | Proto::OtherRtp => Some(MediaClass::Rtp),
        Proto::Udptl => Some(MediaClass::Udptl),
        Proto::Udp => Some(MediaClass::Opaque),
        Proto::DtlsRtp | Proto::Dtls | Proto::Tcp | Proto::Other => None,
    }
}

/// Whether packets are encrypted with keys that only the two ends agree on.
pub(super) fn is_encrypted(media: &Media<'_>) -> bool {
    media.has_crypto() || media.proto() == Proto::Srtp
}

/// What was agreed before with the side that is written to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before<'r, 'a> {
    pub(super) told: &'r Sdp<'a>,
    pub(super) said: Option<&'r Sdp<'a>>,
    /// That side made the offer.
    pub(super) offered: bool,
}

impl<'r, 'a> Before<'r, 'a> {
    fn line(&self, index: usize) -> Option<Earlier<'r, 'a>> {
        Some(Earlier {
            told: self.told.media().get(index)?,
            said: self.said.and_then(|said| said.media().get(index)),
            offered: self.offered,
        })
    }
}

/// The edits of an offer, with the port of each m-line towards who will read it.
pub(super) fn offer_edits(
    offer: &Sdp<'_>,
    ports: &[u16],
    lines_max: usize,
    rules: &Rules<'_>,
    before: Option<Before<'_, '_>>,
    mut keys: Option<&mut KeySource>,
) -> Result<Vec<LineEdit>, Unacceptable> {
    let mut edits = Vec::with_capacity(offer.media().len());
    let mut why_refused = None;
    for (index, media) in offer.media().iter().enumerate() {
        if media.port() == 0 {
            edits.push(LineEdit::default());
            continue;
        }
        if class(media).is_none() || index >= lines_max {
            why_refused.get_or_insert(Unacceptable::NothingLeft);
            edits.push(LineEdit::default());
            continue;
        }
        let port = *ports.get(index).ok_or(Unacceptable::NoPorts)?;
        let earlier = before.as_ref().and_then(|before| before.line(index));
        let known = earlier.map(known_codecs).unwrap_or_default();
        let formats = codecs::offered(media, rules, &known);
        let written = formats.and_then(|formats| {
            let keys = keys::offer(media, rules.offerer, rules.answerer, earlier, keys.as_deref_mut())?;
            Ok((formats, keys))
        });
        let (formats, keys) = match written {
            Ok(written) => written,
            Err(why) => {
                why_refused = Some(why);
                edits.push(LineEdit::default());
                continue;
            }
        };
        edits.push(LineEdit {
            port,
            rtcp_port: port.saturating_add(1),
            keep_mux: true,
            direction: media.is_zero_address().then(|| media.effective_direction()),
            formats,
            proto: keys.proto,
            crypto: keys.crypto,
            ..LineEdit::default()
        });
    }
    match why_refused {
        Some(why) if edits.iter().all(|edit| edit.port == 0) => Err(why),
        Some(_) | None => Ok(edits),
    }
}

/// What a side has spoken of, the speech that it uses first.
fn known_codecs<'a>(earlier: Earlier<'_, 'a>) -> Vec<Codec<'a>> {
    let told = earlier.told.codecs();
    let said = earlier.said.map(|said| said.codecs()).unwrap_or_default();
    let (answer, offer) = if earlier.offered { (&told, &said) } else { (&said, &told) };
    let used = answer.iter().find(|codec| codec.is_speech() && find_same(offer, codec).is_some());
    used.into_iter().chain(&told).chain(&said).copied().collect()
}

/// The edits of an answer, one for each m-line of the offer that it has. `told` is the answer that the offerer has been
/// told already.
#[expect(clippy::too_many_arguments, reason = "all that an answer depends on, each used once")]
pub(super) fn answer_edits(
    offer: &Sdp<'_>,
    offered: &Sdp<'_>,
    answer: &Sdp<'_>,
    told: Option<&Sdp<'_>>,
    ports: &[u16],
    rules: &Rules<'_>,
    before: Option<Before<'_, '_>>,
    mut keys: Option<&mut KeySource>,
) -> Result<Vec<LineEdit>, Unacceptable> {
    let mut edits = Vec::with_capacity(answer.media().len());
    let lines = offer.media().iter().zip(offered.media()).zip(answer.media());
    for (index, ((offer, offered), answer)) in lines.enumerate() {
        if !is_live(offered, answer) {
            edits.push(LineEdit::default());
            continue;
        }
        if class(answer) != class(offered) || answer.kind() != offer.kind() {
            return Err(Unacceptable::Mismatch);
        }
        let port = *ports.get(index).ok_or(Unacceptable::NoPorts)?;
        let muxed = offer.rtcp_mux() && answer.rtcp_mux();
        let direction = answer
            .is_zero_address()
            .then(|| answer.effective_direction().and(offer.effective_direction().reversed()));
        let (formats, ends_here) = codecs::told(offer, offered, answer, rules)?;
        let lines = Lines { offer, offered, answer };
        let told = told.and_then(|told| told.media().get(index));
        let earlier = before.as_ref().and_then(|before| before.line(index));
        let keys = keys::answer(lines, rules.offerer, rules.answerer, told, earlier, keys.as_deref_mut())?;
        edits.push(LineEdit {
            port,
            rtcp_port: if muxed { port } else { port.saturating_add(1) },
            keep_mux: offer.rtcp_mux(),
            direction,
            formats,
            ptime_max: offer.maxptime(),
            ends_here,
            proto: keys.proto,
            crypto: keys.crypto,
        });
    }
    Ok(edits)
}

/// Whether an m-line was offered and not refused by its answer.
pub(super) fn is_live(offered: &Media<'_>, answer: &Media<'_>) -> bool {
    offered.port() != 0 && answer.port() != 0
}

/// Where `media` wants RTP, if packets can be sent there from `local`: not to another family, nor to ourselves when
/// we are reached from elsewhere.
pub(super) fn reachable(remote: SocketAddr, local: Option<IpAddr>) -> Option<SocketAddr> {
    let Some(local) = local else { return Some(remote) };
    let is_loopback = |address| address_kind(address) == AddressKind::Loopback;
    let can = remote.is_ipv4() == local.is_ipv4() && (!is_loopback(remote.ip()) || is_loopback(local));
    can.then_some(remote)
}

/// Refuses addresses that no packet may be sent to, and our own ports.
pub(super) fn check_addresses(sdp: &Sdp<'_>, local: Option<IpAddr>, ours: &Ours) -> Result<(), Unacceptable> {
    for media in sdp.media().iter().filter(|media| class(media).is_some()) {
        let connection = media.connection().map(|connection| connection.host);
        let rtcp = media.rtcp_line().and_then(|rtcp| rtcp.host);
        for host in [connection, rtcp].into_iter().flatten() {
            if let Host::Address(address) = host {
                if address_kind(address).is_refused() {
                    return Err(Unacceptable::Address);
                }
                let is_other_family = local.is_some_and(|local| local.is_ipv4() != address.is_ipv4());
                if is_other_family && !address.is_unspecified() {
                    return Err(Unacceptable::Family);
                }
            }
        }
        for remote in [media.rtp(), media.rtcp(false)].into_iter().flatten() {
            let is_ours = ours.addresses.contains(&Some(remote.ip()));
            if is_ours && ours.ports.contains(&(remote.port() & !1)) {
                return Err(Unacceptable::Loop);
            }
        }
    }
    Ok(())
}

/// Whether an answer wants other media than the offerer was told, so that the offerer needs a re-INVITE. `exchange` is
/// the offer, and as the answerer got it.
pub(super) fn is_other_media(
    exchange: (&Sdp<'_>, &Sdp<'_>),
    told: &Sdp<'_>,
    fresh: &Sdp<'_>,
    answer: &Sdp<'_>,
    rules: &Rules<'_>,
) -> bool {
    if told.media().len() != fresh.media().len() {
        return true;
    }
    told.media().iter().zip(fresh.media()).enumerate().any(|(index, (told, fresh))| {
        if (told.port() == 0) != (fresh.port() == 0) {
            return true;
        }
        if told.port() == 0 {
            return false;
        }
        let is_other_codec = || match answer.media().get(index) {
            Some(answer) if told.kind() == Kind::Audio => {
                let (codecs, answered) = (told.codecs(), answer.codecs());
                let speech = codecs.iter().find(|codec| codec.is_speech());
                let is_converted = || {
                    let (offer, offered) = (exchange.0.media().get(index), exchange.1.media().get(index));
                    offer.zip(offered).is_some_and(|(offer, offered)| {
                        codecs::conversion(offer, offered, answer, told, rules).is_some()
                    })
                };
                speech.is_some_and(|codec| find_same(&answered, codec).is_none() && !is_converted())
            }
            Some(_) | None => !told.formats().eq(fresh.formats()),
        };
        told.direction() != fresh.direction() || !told.crypto().eq(fresh.crypto()) || is_other_codec()
    })
}

/// Whether `said` is a valid answer to `asked` where direction is concerned (RFC 3264 section 6.1).
pub(super) fn answers_direction(asked: &Media<'_>, said: &Media<'_>) -> bool {
    let allowed: Direction = asked.effective_direction().reversed();
    said.direction().and(allowed) == said.direction()
}
