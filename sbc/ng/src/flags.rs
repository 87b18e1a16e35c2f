//! Keys, flags and their many spellings, read into [`Options`](crate::options::Options): keys of the dictionary, entries of `flags` with
//! their prefix forms, and `rtpp-flags`. What nobody knows is noted and otherwise passed over. Decides nothing.

mod values; // what stands behind keys: numbers, words, addresses, codecs

use crate::options::{All, AttributeChange, AttributePlace, Change, CodecOptions, Ice, Learning, Transport};
use crate::raw::{Item, Items, Word, after_word, bracketed, is_word};
use crate::request::{Command, Request, UNKNOWN_LEN_MAX, UNKNOWN_MAX};
use crate::value::{Dict, Value};
use std::collections::BTreeMap;
use values::{
    address, attribute_place, base64, codec_name, echo, escaped, is_branch_word, is_list, media_kind, name,
    number_in, push_suites, security, set, string, switch, texts, tos, word_in,
};

/// Entries of a list that are kept at most: what comes later is passed over and noted.
const LIST_MAX: usize = 64;

/// What a request says, as far as it was read.
pub struct Reader {
    request: Request,
    /// Interfaces that came one by one.
    directions: usize,
    /// `SRTP`, `AVPF` and `DTLS` as words of their own, which add up.
    transport: Option<(bool, bool, bool)>,
}

/// Commands that are for one party if they name it, and for the whole call otherwise.
fn selects_by_tag(command: Command) -> bool {
    matches!(
        command,
        Command::BlockDtmf
            | Command::UnblockDtmf
            | Command::BlockMedia
            | Command::UnblockMedia
            | Command::SilenceMedia
            | Command::UnsilenceMedia
    )
}

impl Reader {
    /// Nothing read yet.
    pub fn new(command: Command) -> Reader {
        Reader { request: Request::new(command), directions: 0, transport: None }
    }

    /// Reads a whole dictionary: `rtpp-flags` last, because they count more than keys that a client always adds.
    pub fn dict(&mut self, dict: &Dict) {
        let mut seen: BTreeMap<String, &Value> = BTreeMap::new();
        let mut flags = None;
        for (key, value) in &dict.0 {
            let word = Word::of(key);
            if let Some(first) = seen.get(word.as_str()) {
                // Kamailio says `delete delay` as a number and `delete-delay` as a text: that is the same twice.
                if *first != value && first.to_text().is_none_or(|text| Some(text) != value.to_text()) {
                    self.unknown(&[key, b" (repeated)"]);
                }
                continue;
            }
            // What is no word of ours is noted each time.
            if !word.as_str().is_empty() {
                seen.insert(word.as_str().to_owned(), value);
            }
            if word.as_str() == "rtpp-flags" {
                flags = Some(value);
            } else if !self.key(word.as_str(), value) {
                self.unknown(&[key]);
            }
        }
        if flags.is_none() && self.request.from_tag.is_some() && selects_by_tag(self.request.command) {
            // Clients that write `rtpp-flags` always say from-tag, and `directional` where they mean it.
            self.request.options.selector.directional = true;
        }
        match flags {
            Some(Value::Text(text)) => self.raw(text, Whence::Raw),
            Some(_) => self.unknown(&[b"rtpp-flags"]),
            None => {}
        }
    }

    /// What was read, without what the command has no use for.
    pub fn finish(mut self) -> Request {
        if let Some((secure, feedback, dtls)) = self.transport {
            let rtp = Transport::Rtp { secure, feedback };
            self.request.options.transport = Some(if dtls { Transport::Dtls } else { rtp });
        }
        let command = self.request.command;
        let codec = &mut self.request.options.codec;
        // As rtpengine: answers keep to what the offer has said.
        if !matches!(
            command,
            Command::Offer | Command::Publish | Command::SubscribeRequest | Command::PlayMedia
        ) {
            let CodecOptions { accept, consume, mask, set, transcode, .. } = codec;
            [accept, consume, mask, set, transcode].into_iter().for_each(Vec::clear);
        }
        if command != Command::Offer {
            self.request.options.ptime = None;
            self.request.options.ptime_reverse = None;
        }
        self.request
    }

    /// Notes what nobody knows, in pieces.
    fn unknown(&mut self, pieces: &[&[u8]]) {
        if self.request.unknown.len() < UNKNOWN_MAX {
            let mut note = String::new();
            for piece in pieces {
                let piece = &piece[..piece.len().min(UNKNOWN_LEN_MAX)];
                note.extend(String::from_utf8_lossy(piece).chars().filter(|c| !c.is_control()));
            }
            note.truncate(note.floor_char_boundary(UNKNOWN_LEN_MAX));
            self.request.unknown.push(note);
        }
    }

    /// One key of the dictionary; whether it and its value mean something.
    fn key(&mut self, key: &str, value: &Value) -> bool {
        // What is a list elsewhere may come as one text in brackets.
        let text = value.as_text().filter(|text| text.starts_with(b"[") && is_list(key));
        if let Some(inner) = text.and_then(bracketed) {
            return self.key(key, &inner);
        }
        let request = &mut self.request;
        let options = &mut request.options;
        let (selector, media) = (&mut options.selector, &mut options.media);
        match key {
            "command" => true,
            "call-id" => name(&mut request.call_id, value),
            "from-tag" => name(&mut request.from_tag, value),
            "to-tag" => name(&mut request.to_tag, value),
            "via-branch" => name(&mut request.via_branch, value),
            "sdp" => name(&mut request.sdp, value),

            "label" | "from-label" => name(&mut selector.label, value),
            "set-label" => name(&mut selector.set_label, value),
            "to-label" => name(&mut selector.to_label, value),
            "to-call-id" => name(&mut selector.to_call_id, value),
            "metadata" => name(&mut options.metadata, value),
            "address" => set(&mut selector.address, address(value)),
            "all" => self.each(key, value, Reader::all),
            "from-tags" => self.each(key, value, Reader::one_of_from_tags),

            "received-from" => set(&mut options.received_from, address(value)),
            "media-address" => set(&mut options.media_address, address(value)),
            "address-family" => {
                let family =
                    word_in(value, &[("ip4", false), ("ipv4", false), ("ip6", true), ("ipv6", true)]);
                set(&mut options.is_ipv6, family)
            }
            "direction" => self.each(key, value, Reader::direction),
            "interface" | "from-interface" | "in-iface" => set(&mut options.interfaces[0], string(value)),
            "to-interface" | "out-iface" => set(&mut options.interfaces[1], string(value)),
            "endpoint-learning" => self.each(key, value, Reader::learning),

            "flags" => self.flags(value),
            "replace" => self.each(key, value, Reader::replace),
            "transport-protocol" => self.each(key, value, Reader::transport),
            "ice" => self.each(key, value, Reader::ice),
            "dtls" | "dtls-reverse" => self.each(key, value, Reader::dtls),
            "sdes" => self.each(key, value, Reader::sdes),
            "osrtp" => self.each(key, value, Reader::osrtp),
            "rtcp-mux" => self.each(key, value, Reader::rtcp_mux),
            "t38" | "t.38" => self.each(key, value, Reader::t38),
            "supports" => self.each(key, value, Reader::supports),
            "sdp-attr" => self.attributes(value),
            "sdp-media-remove" => self.each(key, value, Reader::remove_media),

            "codec" | "codecs" => match value {
                Value::Dict(dict) => {
                    for (way, names) in &dict.0 {
                        if !self.codec_key(Word::of(way).as_str(), names) {
                            self.unknown(&[b"codec-", way]);
                        }
                    }
                    true
                }
                Value::Int(_) | Value::Text(_) | Value::List(_) => false,
            },
            "transcode" => self.codec_key(key, value),
            "ptime" | "repacketize" => number_in(&mut options.ptime, value, 1..=1_000),
            "ptime-reverse" | "reverse-ptime" => number_in(&mut options.ptime_reverse, value, 1..=1_000),
            "tos" => value.as_int().inspect(|number| options.tos = tos(*number)).is_some(),
            "delete-delay" => number_in(&mut options.delete_delay, value, 0..=86_400),
            "limit" => number_in(&mut options.limit, value, 1..=u32::MAX),

            "record-call" => set(&mut media.record, switch(value)),
            "output-destination"
            | "output-dest"
            | "output-file"
            | "output-pattern"
            | "recording-destination"
            | "recording-dest"
            | "recording-file"
            | "recording-pattern" => set(&mut media.recording_file, string(value)),
            "dtmf-security" => set(&mut media.dtmf_security, security(value)),
            "media-echo" => set(&mut media.echo, echo(value)),
            "file" => set(&mut media.play.file, string(value)),
            "blob" => name(&mut media.play.blob, value),
            "blob64" => set(&mut media.play.blob, value.as_text().and_then(base64)),
            "db-id" => {
                media.play.db_id = true;
                true
            }
            "repeat-times" => number_in(&mut media.play.times, value, 0..=u32::MAX),
            "repeat-duration" | "duration" => number_in(&mut media.play.duration_ms, value, 0..=u32::MAX),
            "start-pos" => number_in(&mut media.play.start_ms, value, 0..=u32::MAX),
            // Between digits; or a recording is to be paused rather than stopped.
            "pause" if value.as_int().is_none() && switch(value) == Some(true) => {
                media.pause_recording = true;
                true
            }
            "pause" => number_in(&mut media.play.pause_ms, value, 0..=u32::MAX),
            "code" | "digit" => set(&mut media.play.code, string(value)),
            // Decibels below full scale, with a minus or without.
            "volume" => {
                let volume = value.as_int().map(|volume| volume.unsigned_abs().min(63) as i16);
                set(&mut media.play.volume_db, volume.map(|volume| -volume))
            }
            "generate-rtcp" | "passthrough" | "passthru" => switch(value) == Some(false),
            "audio-player" | "player" => {
                word_in(value, &[("default", ()), ("off", ()), ("no", ()), ("disable", ()), ("disabled", ())])
                    .is_some()
            }

            // What needs no deed of ours: it is so anyway, or is about what is not there.
            "sip-message-type" | "sip-code" | "sip-response-code" | "instance" | "ice-lite"
            | "dtls-fingerprint" | "t38-version" | "t.38-version" => true,
            _ => match key.strip_prefix("codec-") {
                Some(way) => self.codec_key(way, value),
                None => false,
            },
        }
    }

    /// One list of codecs.
    fn codec_key(&mut self, way: &str, value: &Value) -> bool {
        let mut known = true;
        texts(value, |text| {
            known = match self.codec(way, text) {
                Some(true) => true,
                Some(false) => {
                    self.unknown(&[b"codec-", way.as_bytes(), b"-", text]);
                    true
                }
                None => false,
            };
        }) && known
    }

    /// One codec of one list; `None` if there is no such list.
    fn codec(&mut self, way: &str, text: &[u8]) -> Option<bool> {
        let codec = &mut self.request.options.codec;
        let list = match way {
            "strip" => &mut codec.strip,
            "ignore" => &mut codec.ignore,
            "offer" => &mut codec.offer,
            "except" => &mut codec.except,
            "mask" => &mut codec.mask,
            "consume" => &mut codec.consume,
            "accept" => &mut codec.accept,
            "transcode" => &mut codec.transcode,
            "set" => &mut codec.set,
            _ => return None,
        };
        let name = codec_name(&escaped(text)).filter(|_| list.len() < LIST_MAX);
        let is_known = name.is_some();
        list.extend(name);
        Some(is_known)
    }

    /// Reads the texts of a value one by one; those that mean nothing are noted behind the key. Whether it is such a value.
    fn each(&mut self, key: &str, value: &Value, read: fn(&mut Reader, &[u8]) -> bool) -> bool {
        texts(value, |text| {
            if !read(self, text) {
                self.unknown(&[key.as_bytes(), b"-", text]);
            }
        })
    }

    /// The list `flags`, or all of it as one text.
    fn flags(&mut self, value: &Value) -> bool {
        match value {
            Value::Text(text) if !self.flag(text) => self.raw(text, Whence::Flags),
            Value::Text(_) => {}
            Value::List(values) => {
                for value in values {
                    match value {
                        Value::Text(text) if self.flag(text) => {}
                        Value::Text(text) if self.entry_pair(text) => {}
                        Value::Text(text) if self.bare(text) => {}
                        Value::Text(text) => self.unknown(&[text]),
                        // `c=[…]` among the flags of a text.
                        Value::Dict(dict) => self.pairs(dict),
                        Value::Int(_) | Value::List(_) => self.unknown(&[b"flags"]),
                    }
                }
            }
            Value::Int(_) | Value::Dict(_) => return false,
        }
        true
    }

    /// Pairs as an entry of `flags`.
    fn pairs(&mut self, dict: &Dict) {
        for (key, value) in &dict.0 {
            if !self.pair(key, value, Whence::Flags) {
                self.unknown(&[key, b"=", value.as_text().unwrap_or(b"[]")]);
            }
        }
    }

    /// `key=value` as an entry of `flags`: all behind the sign is the value.
    fn entry_pair(&mut self, text: &[u8]) -> bool {
        let at = text.iter().position(|byte| *byte == b'=');
        at.is_some_and(|at| self.pair(&text[..at], &Value::text(&text[at + 1..]), Whence::Flags))
    }

    /// Flags as one text.
    fn raw(&mut self, text: &[u8], whence: Whence) {
        let mut items = Items::of(text);
        for item in items.by_ref() {
            match item {
                Item::Flag(flag) => {
                    if !self.bare(flag) {
                        self.unknown(&[flag]);
                    }
                }
                Item::Pair(key, value) => {
                    if !self.pair(key, &value, whence) {
                        self.unknown(&[key, b"=", value.as_text().unwrap_or(b"[]")]);
                    }
                }
            }
        }
        if items.is_cut {
            self.unknown(&[b"rtpp-flags (too many)"]);
        }
    }

    /// A pair of a text of flags.
    fn pair(&mut self, key: &[u8], value: &Value, whence: Whence) -> bool {
        let word = Word::of(key);
        let request = &mut self.request;
        match (word.as_str(), value) {
            ("", _) => false,
            // One list within `rtpp-flags`; flags within flags would go as deep as a request is long.
            ("flags", value) => match (whence, value) {
                (Whence::Raw, Value::List(_)) => self.flags(value),
                _ => false,
            },
            ("to-tag", _) => {
                request.options.to_tag = true;
                name(&mut request.to_tag, value)
            }
            ("from-tag", _) => {
                request.options.selector.directional = true;
                name(&mut request.from_tag, value)
            }
            // By what `frame::call_id_of` finds the request came to this shard: it looks nowhere else.
            ("call-id", _) => match whence {
                Whence::Raw => request.call_id.is_some() || name(&mut request.call_id, value),
                Whence::Flags => false,
            },
            // Words for Kamailio, which sends the branch itself as a key.
            ("via-branch", Value::Text(text)) if is_branch_word(text, request.via_branch.is_some()) => true,
            (word, _) if self.key(word, value) => true,
            (_, Value::Text(text)) => self.flag(&[key, b"=", text].concat()),
            (_, Value::Int(_) | Value::List(_) | Value::Dict(_)) => false,
        }
    }

    /// A word of a text of flags: also those about transport and direction, which Kamailio has in this place only.
    fn bare(&mut self, flag: &[u8]) -> bool {
        let (mut secure, mut feedback, mut dtls) = self.transport.unwrap_or_default();
        match Word::of(flag).as_str() {
            "rtp" => secure = false,
            "srtp" => secure = true,
            "avp" => feedback = false,
            "avpf" => feedback = true,
            "dtls" => dtls = true,
            "internal" | "external" => return self.direction(flag),
            _ => return self.flag(flag) || flag.contains(&b'/') && self.transport(flag),
        }
        self.transport = Some((secure, feedback, dtls));
        true
    }

    /// One flag; whether it means something.
    fn flag(&mut self, flag: &[u8]) -> bool {
        let options = &mut self.request.options;
        let selector = &mut options.selector;
        match Word::of(flag).as_str() {
            "all" => selector.all = Some(All::All),
            "directional" => selector.directional = true,
            "bidirectional" => selector.bidirectional = true,
            "fatal" => options.fatal = true,
            "fast" => options.fast = true,
            "to-tag" => options.to_tag = true,

            "sip-source-address" => options.sip_source_address = true,
            "trust-address" => options.sip_source_address = false,
            "asymmetric" => options.source.asymmetric = true,
            "symmetric" => options.source.asymmetric = false,
            "strict-source" => options.source.strict = true,
            "media-handover" => options.source.handover = true,
            "unidirectional" => options.source.unidirectional = true,

            "original-sendrecv" => options.sdp.original_direction = true,
            "loop-protect" => options.sdp.loop_protect = true,
            "no-rtcp-attribute" => options.sdp.no_rtcp = true,
            "full-rtcp-attribute" => options.sdp.full_rtcp = true,
            "generate-mid" => options.sdp.generate_mid = true,
            "strip-extmap" => options.sdp.strip_extmap = true,
            "allow-no-codec-media"
            | "allow-no-codec-medias"
            | "allow-empty-codec-media"
            | "allow-empty-codec-medias" => options.sdp.allow_no_codecs = true,

            "pad-crypto" => options.sdes.pad = true,
            "single-codec" => options.codec.single = true,
            "always-transcode" => options.codec.always_transcode = true,
            "allow-transcoding" => options.codec.allow_transcoding = true,
            "reuse-codecs" | "no-codec-renegotiation" => options.codec.reuse = true,

            "record-call" => options.media.record = Some(true),
            "pause" => options.media.pause_recording = true,
            "inject-dtmf" => options.media.inject_dtmf = true,
            "block-dtmf" => options.media.block_dtmf = true,
            "detect-dtmf" => options.media.detect_dtmf = true,
            "early-media" => options.media.early = true,

            "webrtc" => {
                options.transport = Some(Transport::Dtls);
                options.ice = Ice::Force;
                options.sdes.off = true;
                (options.rtcp_mux.offer, options.rtcp_mux.require) = (true, true);
                (options.sdp.no_rtcp, options.sdp.generate_mid) = (true, true);
            }

            // So it is anyway: ports stay, keys end here, ICE is taken out, no jitter buffer is asked for.
            "port-latching"
            | "provisional"
            | "new-branch"
            | "reset"
            | "recrypt"
            | "trickle-ice"
            | "reject-ice"
            | "ice-reject"
            | "no-tls-id"
            | "no-redis-update"
            | "no-jitter-buffer"
            | "no-player"
            | "no-audio-player"
            | "no-passthrough"
            | "debug"
            | "debugging"
            | "force-answer"
            | "skip-recording-db"
            | "skip-recording-database"
            | "symmetric-codecs" => {}
            _ => return self.prefixed(flag),
        }
        true
    }

    /// A flag that stands for an entry of a key: `codec-strip-EVS`, `SDES-off`.
    fn prefixed(&mut self, flag: &[u8]) -> bool {
        for (prefix, read) in PREFIXES {
            if let Some(rest) = after_word(flag, prefix) {
                return read(self, rest);
            }
        }
        let after = after_word(flag, "codec-").unwrap_or(flag);
        let Some(dash) = after.iter().position(|byte| *byte == b'-') else { return false };
        let way = Word::of(&after[..dash]);
        let is_prefix = after.len() < flag.len() || way.as_str() == "transcode";
        is_prefix && self.codec(way.as_str(), &after[dash + 1..]) == Some(true)
    }

    fn all(&mut self, text: &[u8]) -> bool {
        self.request.options.selector.all = match Word::of(text).as_str() {
            "all" => Some(All::All),
            "none" => None,
            "offer-answer" => Some(All::OfferAnswer),
            "except-offer-answer" | "not-offer-answer" | "non-offer-answer" => Some(All::ExceptOfferAnswer),
            "flows" => Some(All::Flows),
            _ => return false,
        };
        true
    }

    fn one_of_from_tags(&mut self, text: &[u8]) -> bool {
        let tags = &mut self.request.options.selector.from_tags;
        let fits = tags.len() < LIST_MAX && text.len() <= crate::request::NAME_LEN_MAX;
        if fits {
            tags.push(text.to_vec());
        }
        fits
    }

    fn escaped_tag(&mut self, text: &[u8]) -> bool {
        self.one_of_from_tags(&escaped(text))
    }

    fn direction(&mut self, text: &[u8]) -> bool {
        let place = self.request.options.interfaces.get_mut(self.directions);
        self.directions += 1;
        place.is_some_and(|place| set(place, str::from_utf8(text).ok().map(str::to_owned)))
    }

    fn learning(&mut self, text: &[u8]) -> bool {
        let learning = match Word::of(text).as_str() {
            "off" => Learning::Off,
            "immediate" => Learning::Immediate,
            "delayed" => Learning::Delayed,
            "heuristic" => Learning::Heuristic,
            _ => return false,
        };
        self.request.options.source.learning = Some(learning);
        true
    }

    fn replace(&mut self, text: &[u8]) -> bool {
        let sdp = &mut self.request.options.sdp;
        match Word::of(text).as_str() {
            "origin" => sdp.replace_origin = true,
            "origin-full" => sdp.replace_origin_full = true,
            "session-name" => sdp.replace_session_name = true,
            "sdp-version" => sdp.replace_version = true,
            "force-increment-sdp-ver" => sdp.force_version = true,
            "username" => sdp.replace_username = true,
            "zero-address" => sdp.replace_zero_address = true,
            // Of times when the session's own address could be left alone.
            "session-connection" => {}
            _ => return false,
        }
        true
    }

    fn transport(&mut self, text: &[u8]) -> bool {
        let rtp = |secure, feedback| Transport::Rtp { secure, feedback };
        let transport = match Word::of(text).as_str() {
            "rtp/avp" => rtp(false, false),
            "rtp/avpf" => rtp(false, true),
            "rtp/savp" => rtp(true, false),
            "rtp/savpf" => rtp(true, true),
            "udp/tls/rtp/savp" | "udp/tls/rtp/savpf" => Transport::Dtls,
            "accept" => Transport::Accept,
            _ => Transport::Unknown,
        };
        let is_known = transport != Transport::Unknown;
        // What nobody knows takes nobody's place.
        if is_known || self.transport.is_none() && self.request.options.transport.is_none() {
            self.transport = None;
            self.request.options.transport = Some(transport);
        }
        is_known
    }

    fn ice(&mut self, text: &[u8]) -> bool {
        match Word::of(text).as_str() {
            "remove" | "default" | "optional" => self.request.options.ice = Ice::Remove,
            "force" | "force-relay" => self.request.options.ice = Ice::Force,
            "trickle" | "ice2" | "lite" | "no-lite" => {}
            word if word.starts_with("lite-") => {}
            _ => return false,
        }
        true
    }

    fn dtls(&mut self, text: &[u8]) -> bool {
        match Word::of(text).as_str() {
            "off" | "no" | "disable" | "disabled" => self.request.options.dtls_off = true,
            "passive" | "active" => {}
            _ => return false,
        }
        true
    }

    fn sdes(&mut self, text: &[u8]) -> bool {
        let sdes = &mut self.request.options.sdes;
        if let Some(suite) = after_word(text, "no-") {
            return push_suites(&mut sdes.without, suite);
        }
        if let Some(suite) = after_word(text, "only-") {
            return push_suites(&mut sdes.only, suite) && !sdes.only.is_empty();
        }
        if let Some(suites) = after_word(text, "order:") {
            return push_suites(&mut sdes.order, suites);
        }
        if let Some(suites) = after_word(text, "offerer-pref:") {
            return push_suites(&mut sdes.offerer_preference, suites);
        }
        match Word::of(text).as_str() {
            "off" | "no" | "disable" | "disabled" => sdes.off = true,
            "nonew" => sdes.no_new = true,
            "pad" => sdes.pad = true,
            "lifetime" => sdes.lifetime = true,
            "static" => sdes.keep = true,
            "prefer" | "priority" => sdes.prefer = true,
            // Never otherwise.
            "encrypted-srtp" | "encrypted-srtcp" | "authenticated-srtp" => {}
            _ => return false,
        }
        true
    }

    fn osrtp(&mut self, text: &[u8]) -> bool {
        let osrtp = &mut self.request.options.osrtp;
        match Word::of(text).as_str() {
            "offer" | "offer-rfc" => osrtp.offer = true,
            "accept" | "accept-rfc" => osrtp.accept = true,
            _ => return false,
        }
        true
    }

    fn rtcp_mux(&mut self, text: &[u8]) -> bool {
        let mux = &mut self.request.options.rtcp_mux;
        match Word::of(text).as_str() {
            "offer" => mux.offer = true,
            "require" => mux.require = true,
            "demux" => mux.demux = true,
            "accept" => mux.accept = true,
            "reject" => mux.reject = true,
            _ => return false,
        }
        true
    }

    /// There is no gateway that could be stopped or spared something; to be one is what cannot be asked of us.
    fn t38(&mut self, text: &[u8]) -> bool {
        match Word::of(text).as_str() {
            "stop" | "fec" | "no-ecm" | "no-iaf" => true,
            word => word.strip_prefix("no-v").is_some_and(|number| {
                ["17", "27ter", "29", "34"].contains(&number.strip_prefix('.').unwrap_or(number))
            }),
        }
    }

    fn supports(&mut self, text: &[u8]) -> bool {
        let is_known = is_word(text, "load-limit");
        self.request.options.knows_load_limit |= is_known;
        is_known
    }

    fn remove_media(&mut self, text: &[u8]) -> bool {
        let list = &mut self.request.options.sdp.remove_media;
        let kind = media_kind(text).filter(|_| list.len() < LIST_MAX);
        let is_known = kind.is_some();
        list.extend(kind);
        is_known
    }

    /// `{ "audio": { "add": [...], "remove": [...], "substitute": [[from, to], ...] } }`
    fn attributes(&mut self, value: &Value) -> bool {
        let Value::Dict(places) = value else { return false };
        for (name, changes) in &places.0 {
            let (Some(place), Value::Dict(changes)) = (attribute_place(name), changes) else {
                self.unknown(&[b"sdp-attr-", name]);
                continue;
            };
            for (what, values) in &changes.0 {
                if !self.attribute_changes(&place, Word::of(what).as_str(), values) {
                    self.unknown(&[b"sdp-attr-", what, b"-", name]);
                }
            }
        }
        true
    }

    fn attribute_changes(&mut self, place: &AttributePlace, what: &str, values: &Value) -> bool {
        let texts = |value: &Value| -> Option<[Vec<u8>; 2]> {
            let [from, to, ..] = value.as_list()? else { return None };
            Some([escaped(from.as_text()?).into_owned(), escaped(to.as_text()?).into_owned()])
        };
        match (what, values) {
            // `["from", "to"]` by itself.
            ("substitute", Value::List(list))
                if list.iter().all(|it| it.as_text().is_some_and(|text| !text.contains(&b'>'))) =>
            {
                texts(values).is_some_and(|[from, to]| self.attribute(place, Change::Substitute(from, to)))
            }
            (_, Value::List(list)) => {
                // Not `all`, which would stop at the first that says nothing.
                list.iter().fold(true, |known, value| {
                    let is_known = match (value, texts(value)) {
                        (Value::Text(text), _) => self.attribute_change(place, what, text),
                        (_, Some([from, to])) if what == "substitute" => {
                            self.attribute(place, Change::Substitute(from, to))
                        }
                        _ => false,
                    };
                    known && is_known
                })
            }
            (_, Value::Text(text)) => self.attribute_change(place, what, text),
            (_, Value::Int(_) | Value::Dict(_)) => false,
        }
    }

    /// A change as one text: `from>to` where something takes another's place.
    fn attribute_change(&mut self, place: &AttributePlace, what: &str, text: &[u8]) -> bool {
        let line = escaped(text);
        let change = match what {
            "add" => Change::Add(line.into_owned()),
            "remove" => Change::Remove(line.into_owned()),
            "substitute" | "substitude" => match line.iter().position(|byte| *byte == b'>') {
                Some(at) => Change::Substitute(line[..at].to_vec(), line[at + 1..].to_vec()),
                None => return false,
            },
            _ => return false,
        };
        self.attribute(place, change)
    }

    fn attribute(&mut self, place: &AttributePlace, change: Change) -> bool {
        // A line within a line would be another line.
        let is_line = |text: &[u8]| !text.is_empty() && !text.iter().any(|byte| b"\r\n\0".contains(byte));
        let is_lines = match &change {
            Change::Add(line) | Change::Remove(line) => is_line(line),
            Change::Substitute(from, to) => is_line(from) && is_line(to),
        };
        let list = &mut self.request.options.sdp.attributes;
        let fits = is_lines && list.len() < LIST_MAX;
        if fits {
            list.push(AttributeChange { place: place.clone(), change });
        }
        fits
    }

    /// `audio-ptime:20` behind `sdp-attr-add-`.
    fn attribute_flag(&mut self, what: &str, text: &[u8]) -> bool {
        let Some(dash) = text.iter().position(|byte| *byte == b'-') else { return false };
        let place = attribute_place(&text[..dash]);
        place.is_some_and(|place| self.attribute_change(&place, what, &text[dash + 1..]))
    }
}

/// Where a text of flags stands.
#[derive(Clone, Copy)]
enum Whence {
    /// In `rtpp-flags`.
    Raw,
    /// In `flags`, or an entry of it.
    Flags,
}

/// Reads what stands behind a prefix; whether it means something.
type Read = fn(&mut Reader, &[u8]) -> bool;

/// What stands before entries of a key that come as flags; codecs aside.
const PREFIXES: [(&str, Read); 16] = [
    ("endpoint-learning-", Reader::learning),
    ("from-tags-", Reader::escaped_tag),
    ("osrtp-", Reader::osrtp),
    ("replace-", Reader::replace),
    ("rtcp-mux-", Reader::rtcp_mux),
    ("sdes-", Reader::sdes),
    ("ice-", Reader::ice),
    ("dtls-", Reader::dtls),
    ("t38-", Reader::t38),
    ("t.38-", Reader::t38),
    ("transport-protocol-", Reader::transport),
    ("sdp-media-remove-", Reader::remove_media),
    ("sdp-attr-add-", |reader, text| reader.attribute_flag("add", text)),
    ("sdp-attr-remove-", |reader, text| reader.attribute_flag("remove", text)),
    ("sdp-attr-substitute-", |reader, text| reader.attribute_flag("substitute", text)),
    ("sdp-attr-substitude-", |reader, text| reader.attribute_flag("substitute", text)),
];

#[cfg(test)]
mod tests;
