//! What becomes of each m-line on its way through: which can pass, what its edit is, which codecs both sides share.
//! Holds no state.

use super::{SideConfig, Unacceptable};
use crate::address::{AddressKind, address_kind};
use crate::codec::Codec;
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

/// The edits of an offer, with the port of each m-line towards who will read it.
pub(super) fn offer_edits(
    offer: &Sdp<'_>,
    ports: &[u16],
    lines_max: usize,
    reader: &SideConfig,
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
        let formats = match allowed_formats(media, &reader.codecs) {
            Ok(formats) => formats,
            Err(why) => {
                why_refused = Some(why);
                edits.push(LineEdit::default());
                continue;
            }
        };
        let port = *ports.get(index).ok_or(Unacceptable::NoPorts)?;
        edits.push(LineEdit {
            port,
            rtcp_port: port.saturating_add(1),
            keep_mux: true,
            direction: media.is_zero_address().then(|| media.effective_direction()),
            formats,
            ptime_max: None,
        });
    }
    match why_refused {
        Some(why) if edits.iter().all(|edit| edit.port == 0) => Err(why),
        Some(_) | None => Ok(edits),
    }
}

/// The edits of an answer, one for each m-line of the offer that it has.
pub(super) fn answer_edits(
    offer: &Sdp<'_>,
    offered: &Sdp<'_>,
    answer: &Sdp<'_>,
    ports: &[u16],
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
        edits.push(LineEdit {
            port,
            rtcp_port: if muxed { port } else { port.saturating_add(1) },
            keep_mux: offer.rtcp_mux(),
            direction,
            formats: answered_formats(offer, answer)?,
            ptime_max: offer.maxptime(),
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

/// The formats that a reader with a list of codecs may be offered; `None` is all.
fn allowed_formats(media: &Media<'_>, codecs: &[Box<str>]) -> Result<Option<Vec<(u8, u8)>>, Unacceptable> {
    if codecs.is_empty() || media.kind() != Kind::Audio || class(media) != Some(MediaClass::Rtp) {
        return Ok(None);
    }
    let is_listed = |codec: &Codec<'_>| codecs.iter().any(|name| name.eq_ignore_ascii_case(codec.name));
    let offered = media.codecs();
    if !offered.iter().any(|codec| codec.is_speech() && is_listed(codec)) {
        return Err(Unacceptable::NoCommonCodec);
    }
    let allowed = offered.iter().filter(|codec| !codec.is_speech() || is_listed(codec));
    Ok(Some(allowed.map(|codec| (codec.number, codec.number)).collect()))
}

/// What the offerer is told of an answer's formats (media.md): one speech codec of its own offer, the answerer's choice,
/// then events and noise, under the offerer's numbers. `None` tells all formats as they are.
fn answered_formats(offer: &Media<'_>, answer: &Media<'_>) -> Result<Option<Vec<(u8, u8)>>, Unacceptable> {
    if offer.kind() != Kind::Audio || class(answer) != Some(MediaClass::Rtp) {
        return Ok(None);
    }
    let (offered, answered) = (offer.codecs(), answer.codecs());
    let choice = answered
        .iter()
        .filter(|codec| codec.is_speech())
        .find_map(|codec| Some((codec, find_same(&offered, codec)?)))
        .ok_or(Unacceptable::NoCommonCodec)?;
    if choice.0.is_redundancy() {
        return Ok(None);
    }
    let can_renumber = can_renumber(offer, answer);
    let others = answered.iter().filter(|codec| !codec.is_speech());
    let others = others.filter_map(|codec| Some((codec, find_same(&offered, codec)?)));
    let mut formats: Vec<(u8, u8)> = Vec::new();
    for (answered, offered) in core::iter::once(choice).chain(others) {
        let number = if can_renumber { offered.number } else { answered.number };
        if formats.iter().all(|(from, to)| *from != answered.number && *to != number) {
            formats.push((answered.number, number));
        }
    }
    Ok(Some(formats))
}

/// Whether payload types may be changed on the way: not under keys that we do not hold, for the header is
/// authenticated; not beside redundancy, whose payload holds numbers too; and only where formats are narrowed.
pub(super) fn can_renumber(offer: &Media<'_>, answer: &Media<'_>) -> bool {
    offer.kind() == Kind::Audio
        && offer.proto() == Proto::Rtp
        && !is_encrypted(offer)
        && !is_encrypted(answer)
        && !answer.codecs().iter().any(Codec::is_redundancy)
}

/// The codec of a list that is the same as another: under the same number if there is one, then with the same
/// parameters, then any. Sloppy answers leave the rtpmap or its channels away: the number then decides.
pub(super) fn find_same<'r, 'a>(list: &'r [Codec<'a>], wanted: &Codec<'_>) -> Option<&'r Codec<'a>> {
    let is_alike = |codec: &&Codec<'_>| {
        let is_named = !codec.name.is_empty() && !wanted.name.is_empty();
        codec.number == wanted.number && (!is_named || codec.name.eq_ignore_ascii_case(wanted.name))
    };
    let same = || list.iter().filter(|codec| codec.is_same(wanted));
    list.iter()
        .find(is_alike)
        .or_else(|| same().find(|codec| codec.fmtp.eq_ignore_ascii_case(wanted.fmtp)))
        .or_else(|| same().next())
}

/// Whether an answer wants other media than the offerer was told, so that the offerer needs a re-INVITE.
pub(super) fn is_other_media(told: &Sdp<'_>, fresh: &Sdp<'_>, answer: &Sdp<'_>) -> bool {
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
                let (told, answered) = (told.codecs(), answer.codecs());
                let speech = told.iter().find(|codec| codec.is_speech());
                speech.is_some_and(|codec| find_same(&answered, codec).is_none())
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
