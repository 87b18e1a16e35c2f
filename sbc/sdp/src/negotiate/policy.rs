//! Which codecs a side is offered, and which one of its own an offerer is told, where they may be converted. Plain
//! rules over lists (media.md "Offers, answers, codecs"); reads and writes no SDP.

use crate::codec::Codec;

/// Audio that can be decoded and encoded here, as we offer it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Makeable {
    /// Encoding name as SDP writes it.
    pub name: &'static str,
    /// RTP clock in Hz.
    pub clock: u32,
    /// Channels as in SDP.
    pub channels: u8,
    /// What we say of what we receive; empty for nothing.
    pub fmtp: &'static str,
    /// The payload type that it gets if that is free: its static one, or a dynamic one that peers are used to.
    pub number: u8,
    /// The lengths of packets that we make, in milliseconds, shortest first.
    pub ptimes: &'static [u8],
}

impl Makeable {
    /// Whether a codec of an SDP is this one.
    pub fn is(&self, codec: &Codec<'_>) -> bool {
        self.name.eq_ignore_ascii_case(codec.name)
            && self.clock == codec.clock
            && self.channels == codec.channels
    }
}

/// What a policy chooses from.
#[derive(Clone, Copy, Debug)]
pub struct Choosing<'c> {
    /// What the offerer offers: speech only, in its order.
    pub theirs: &'c [Codec<'c>],
    /// What the reader may be offered, by name; empty is all.
    pub list: &'c [Box<str>],
    /// What can be made from any of these; empty where nothing may be converted.
    pub makeable: &'c [Makeable],
}

/// One codec of an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Of the offerer: an index of [`Choosing::theirs`].
    Theirs(usize),
    /// Of ours: an index of [`Choosing::makeable`].
    Ours(usize),
}

/// How codecs are chosen between two sides.
pub trait CodecPolicy: core::fmt::Debug + Send + Sync {
    /// What the reader is offered, in order; none if there is nothing that both can use.
    fn offer(&self, from: &Choosing<'_>) -> Vec<Choice>;

    /// Which of its own the offerer is told (an index of [`Choosing::theirs`]), when the answerer has chosen one that
    /// it did not offer.
    fn convert(&self, from: &Choosing<'_>) -> Option<usize>;
}

/// The default: whatever avoids transcoding.
#[derive(Clone, Copy, Debug, Default)]
pub struct AvoidTranscoding;

impl CodecPolicy for AvoidTranscoding {
    fn offer(&self, from: &Choosing<'_>) -> Vec<Choice> {
        let is_listed = |codec: &Codec<'_>| from.list.is_empty() || from.list.iter().any(|e| names(e, codec));
        let shared = (0..from.theirs.len()).filter(|index| is_listed(&from.theirs[*index]));
        let mut choices: Vec<Choice> = shared.map(Choice::Theirs).collect();
        for entry in from.list {
            for (index, ours) in from.makeable.iter().enumerate() {
                let is_new = !choices.contains(&Choice::Ours(index));
                let is_theirs = from.theirs.iter().any(|codec| ours.is(codec));
                if is_new && !is_theirs && names(entry, &as_codec(ours)) {
                    choices.push(Choice::Ours(index));
                }
            }
        }
        choices
    }

    fn convert(&self, from: &Choosing<'_>) -> Option<usize> {
        from.theirs.iter().position(|codec| find_makeable(from.makeable, codec).is_some())
    }
}

/// Whether an entry of a list names a codec: by name, or by name and clock (`L16/16000`).
pub(super) fn names(entry: &str, codec: &Codec<'_>) -> bool {
    let (name, clock) = match entry.split_once('/') {
        Some((name, rest)) => (name, Some(rest.split('/').next().unwrap_or_default())),
        None => (entry, None),
    };
    name.eq_ignore_ascii_case(codec.name) && clock.is_none_or(|clock| clock.parse() == Ok(codec.clock))
}

pub(super) fn find_makeable<'m>(makeable: &'m [Makeable], codec: &Codec<'_>) -> Option<&'m Makeable> {
    makeable.iter().find(|makeable| makeable.is(codec))
}

/// As a codec of an SDP, under the number that we like.
pub(super) fn as_codec(makeable: &Makeable) -> Codec<'static> {
    Codec {
        number: makeable.number,
        name: makeable.name,
        clock: makeable.clock,
        channels: makeable.channels,
        fmtp: makeable.fmtp,
    }
}
