//! Every key and flag in its spellings, and what each means.

use super::*;
use crate::failure::Failure;
use crate::frame;
use crate::options::{CodecName, DtmfSecurity, Echo, Options, Tos};
use command::Suite;
use proptest::prelude::*;

/// An offer with one more key.
fn offer(key: &str, value: impl Into<Value>) -> Dict {
    let text = |text: &str| Value::text(text);
    Dict::new()
        .with("command", text("offer"))
        .with("call-id", text("c"))
        .with("from-tag", text("f"))
        .with("sdp", text("v=0"))
        .with(key, value)
}

fn read(dict: &Dict) -> Request {
    Request::read(dict).expect("a request")
}

/// What a request has to say beside its command: exactly this, and nothing unknown.
fn means(dict: &Dict, fill: impl Fn(&mut Options)) {
    let mut expected = Options::default();
    fill(&mut expected);
    let request = read(dict);
    assert_eq!((&request.options, &request.unknown[..]), (&expected, &[][..]), "{dict:?}");
}

/// A flag means the same as an entry of `flags`, as all of `flags`, and in `rtpp-flags`, in all its spellings.
fn flag(flag: &str, fill: impl Fn(&mut Options)) {
    let spellings = [flag.to_owned(), flag.to_ascii_lowercase(), flag.to_ascii_uppercase()];
    for flag in spellings {
        means(&offer("rtpp-flags", &*flag), &fill);
        for flag in [flag.clone(), flag.replace('-', " "), flag.replace('-', "_")] {
            means(&offer("flags", Value::texts([&*flag])), &fill);
            means(&offer("flags", &*flag), &fill);
        }
    }
}

/// A key means the same with spaces, hyphens and underscores, in capitals, and as `key=value` in `rtpp-flags`.
fn key(key: &str, value: &str, fill: impl Fn(&mut Options)) {
    for key in [key.to_owned(), key.replace('-', " "), key.replace('-', "_"), key.to_ascii_uppercase()] {
        means(&offer(&key, value), &fill);
    }
    means(&offer("rtpp-flags", format!("{key}={value}")), &fill);
}

/// As [`key`], for keys that may have a list.
fn list(name: &str, values: &[&str], fill: impl Fn(&mut Options)) {
    means(&offer(name, Value::texts(values.iter().copied())), &fill);
    means(&offer(name, values.join(",")), &fill);
    let brackets = format!("[{}]", values.join(" "));
    key(name, &brackets, fill);
}

/// As [`key`], for numbers, which come as such, too.
fn number(name: &str, value: i64, fill: impl Fn(&mut Options)) {
    key(name, &value.to_string(), &fill);
    means(&offer(name, value), &fill);
}

fn codec(name: &str) -> CodecName {
    CodecName { name: name.to_owned(), ..CodecName::default() }
}

#[test]
fn flags_mean_the_same_wherever_they_stand() {
    flag("all", |o| o.selector.all = Some(All::All));
    flag("pause", |o| o.media.pause_recording = true);
    key("pause", "yes", |o| o.media.pause_recording = true);
    flag("directional", |o| o.selector.directional = true);
    flag("bidirectional", |o| o.selector.bidirectional = true);
    flag("fatal", |o| o.fatal = true);
    flag("fast", |o| o.fast = true);
    flag("to-tag", |o| o.to_tag = true);
    flag("SIP-source-address", |o| o.sip_source_address = true);
    flag("asymmetric", |o| o.source.asymmetric = true);
    flag("strict-source", |o| o.source.strict = true);
    flag("media-handover", |o| o.source.handover = true);
    flag("unidirectional", |o| o.source.unidirectional = true);
    flag("original-sendrecv", |o| o.sdp.original_direction = true);
    flag("loop-protect", |o| o.sdp.loop_protect = true);
    flag("no-rtcp-attribute", |o| o.sdp.no_rtcp = true);
    flag("full-rtcp-attribute", |o| o.sdp.full_rtcp = true);
    flag("generate-mid", |o| o.sdp.generate_mid = true);
    flag("strip-extmap", |o| o.sdp.strip_extmap = true);
    flag("allow-no-codec-media", |o| o.sdp.allow_no_codecs = true);
    flag("allow-empty-codec-medias", |o| o.sdp.allow_no_codecs = true);
    flag("pad-crypto", |o| o.sdes.pad = true);
    flag("single-codec", |o| o.codec.single = true);
    flag("always-transcode", |o| o.codec.always_transcode = true);
    flag("allow-transcoding", |o| o.codec.allow_transcoding = true);
    flag("reuse-codecs", |o| o.codec.reuse = true);
    flag("no-codec-renegotiation", |o| o.codec.reuse = true);
    flag("record-call", |o| o.media.record = Some(true));
    flag("inject-DTMF", |o| o.media.inject_dtmf = true);
    flag("block-DTMF", |o| o.media.block_dtmf = true);
    flag("detect-DTMF", |o| o.media.detect_dtmf = true);
    flag("early-media", |o| o.media.early = true);
    flag("WebRTC", |o| {
        (o.transport, o.ice, o.sdes.off) = (Some(Transport::Dtls), Ice::Force, true);
        (o.rtcp_mux.offer, o.rtcp_mux.require, o.sdp.no_rtcp, o.sdp.generate_mid) = (true, true, true, true);
    });
}

#[test]
fn flags_that_change_nothing_here_are_known() {
    for known in [
        "trust-address",
        "symmetric",
        "port-latching",
        "trickle-ICE",
        "reject-ICE",
        "ICE-reject",
        "reset",
        "no-tls-id",
        "provisional",
        "new-branch",
        "force-answer",
    ] {
        flag(known, |_| {});
    }
    for known in
        ["replace-session-connection", "ICE-trickle", "ICE-lite-both", "DTLS-passive", "SDES-encrypted_srtp"]
    {
        flag(known, |_| {});
    }
}

#[test]
fn entries_of_keys_come_as_flags_with_a_prefix_too() {
    flag("replace-origin", |o| o.sdp.replace_origin = true);
    flag("replace-origin-full", |o| o.sdp.replace_origin_full = true);
    flag("replace-session-name", |o| o.sdp.replace_session_name = true);
    flag("replace-SDP-version", |o| o.sdp.replace_version = true);
    flag("replace-force-increment-sdp-ver", |o| o.sdp.force_version = true);
    flag("replace-username", |o| o.sdp.replace_username = true);
    flag("replace-zero-address", |o| o.sdp.replace_zero_address = true);
    flag("rtcp-mux-offer", |o| o.rtcp_mux.offer = true);
    flag("rtcp-mux-require", |o| o.rtcp_mux.require = true);
    flag("rtcp-mux-demux", |o| o.rtcp_mux.demux = true);
    flag("rtcp-mux-accept", |o| o.rtcp_mux.accept = true);
    flag("rtcp-mux-reject", |o| o.rtcp_mux.reject = true);
    flag("endpoint-learning-off", |o| o.source.learning = Some(Learning::Off));
    flag("endpoint-learning-immediate", |o| o.source.learning = Some(Learning::Immediate));
    flag("endpoint-learning-delayed", |o| o.source.learning = Some(Learning::Delayed));
    flag("endpoint-learning-heuristic", |o| o.source.learning = Some(Learning::Heuristic));
    flag("ICE-remove", |_| {});
    flag("ICE-force", |o| o.ice = Ice::Force);
    flag("DTLS-off", |o| o.dtls_off = true);
    flag("OSRTP-offer", |o| o.osrtp.offer = true);
    flag("OSRTP-accept-RFC", |o| o.osrtp.accept = true);
    flag("SDES-off", |o| o.sdes.off = true);
    flag("SDES-nonew", |o| o.sdes.no_new = true);
    flag("SDES-pad", |o| o.sdes.pad = true);
    flag("SDES-lifetime", |o| o.sdes.lifetime = true);
    flag("SDES-static", |o| o.sdes.keep = true);
    flag("SDES-prefer", |o| o.sdes.prefer = true);
    flag("T38-stop", |_| {});
    flag("T.38-no-V.27ter", |_| {});
    flag("transport-protocol-RTP/SAVP", |o| {
        o.transport = Some(Transport::Rtp { secure: true, feedback: false });
    });
    flag("sdp-media-remove-video", |o| o.sdp.remove_media = vec![b"video".to_vec()]);
}

#[test]
fn names_behind_a_prefix_keep_their_letters() {
    let is = |text: &str, fill: &dyn Fn(&mut Options)| {
        means(&offer("flags", Value::texts([text])), fill);
        means(&offer("rtpp-flags", text), fill);
    };
    is("SDES-no-AES_CM_128_HMAC_SHA1_32", &|o| o.sdes.without = vec![Suite::AesCm128Sha1_32]);
    is("SDES-no-NULL_HMAC_SHA1_32", &|_| {});
    is("SDES-only-aead_aes_256_gcm", &|o| o.sdes.only = vec![Suite::AeadAes256Gcm]);
    is("SDES-order:AES_256_CM_HMAC_SHA1_80;AES_192_CM_HMAC_SHA1_80;AES_CM_128_HMAC_SHA1_80;", &|o| {
        o.sdes.order = vec![Suite::AesCm256Sha1_80, Suite::AesCm128Sha1_80];
    });
    is("SDES-offerer_pref:AEAD_AES_128_GCM", &|o| o.sdes.offerer_preference = vec![Suite::AeadAes128Gcm]);
    is("from-tags-Ab_1--x", &|o| o.selector.from_tags = vec![b"Ab_1=x".to_vec()]);
    is("codec-strip-PCMU", &|o| o.codec.strip = vec![codec("PCMU")]);
    is("codec-ignore-EVS", &|o| o.codec.ignore = vec![codec("EVS")]);
    is("codec-offer-telephone-event", &|o| o.codec.offer = vec![codec("telephone-event")]);
    is("codec-except-AMR-WB", &|o| o.codec.except = vec![codec("AMR-WB")]);
    is("codec-mask-all", &|o| o.codec.mask = vec![codec("all")]);
    is("codec-consume-full", &|o| o.codec.consume = vec![codec("full")]);
    is("codec-accept-any", &|o| o.codec.accept = vec![codec("any")]);
    is("transcode-PCMA", &|o| o.codec.transcode = vec![codec("PCMA")]);
    is("codec-transcode-PCMA", &|o| o.codec.transcode = vec![codec("PCMA")]);
    is("codec-set-opus/48000/2/32000", &|o| {
        let numbers =
            CodecName { clock: Some(48_000), channels: Some(2), bitrate: Some(32_000), ..codec("opus") };
        o.codec.set = vec![numbers];
    });
    for text in ["codec-transcode-iLBC/8000/1///mode--30", "codec-transcode-iLBC/8000/1///mode=30"] {
        is(text, &|o| {
            let fmtp = Some("mode=30".to_owned());
            o.codec.transcode =
                vec![CodecName { clock: Some(8_000), channels: Some(1), fmtp, ..codec("iLBC") }];
        });
    }
    is("codec-accept-opus/48000/2//60//compression_level=2", &|o| {
        let name = CodecName { clock: Some(48_000), channels: Some(2), ptime: Some(60), ..codec("opus") };
        o.codec.accept = vec![name];
    });
}

#[test]
fn keys_mean_the_same_in_all_their_spellings() {
    key("address-family", "IP6", |o| o.is_ipv6 = Some(true));
    key("address-family", "IP4", |o| o.is_ipv6 = Some(false));
    key("media-address", "2001:db8::1", |o| o.media_address = "2001:db8::1".parse().ok());
    key("media-address", "[2001:db8::1]", |o| o.media_address = "2001:db8::1".parse().ok());
    key("received-from", "192.0.2.1", |o| o.received_from = "192.0.2.1".parse().ok());
    key("received-from", "IP6:2001:db8::1", |o| o.received_from = "2001:db8::1".parse().ok());
    key("address", "192.0.2.1", |o| o.selector.address = "192.0.2.1".parse().ok());
    key("interface", "pub", |o| o.interfaces[0] = Some("pub".to_owned()));
    key("from-interface", "pub", |o| o.interfaces[0] = Some("pub".to_owned()));
    key("to-interface", "priv", |o| o.interfaces[1] = Some("priv".to_owned()));
    key("in-iface", "pub", |o| o.interfaces[0] = Some("pub".to_owned()));
    key("out-iface", "priv", |o| o.interfaces[1] = Some("priv".to_owned()));
    key("endpoint-learning", "delayed", |o| o.source.learning = Some(Learning::Delayed));
    key("label", "a[b]", |o| o.selector.label = Some(b"a[b]".to_vec()));
    key("from-label", "caller", |o| o.selector.label = Some(b"caller".to_vec()));
    key("set-label", "x", |o| o.selector.set_label = Some(b"x".to_vec()));
    key("to-label", "x", |o| o.selector.to_label = Some(b"x".to_vec()));
    key("to-call-id", "x", |o| o.selector.to_call_id = Some(b"x".to_vec()));
    key("metadata", "a:b|c:d", |o| o.metadata = Some(b"a:b|c:d".to_vec()));
    key("all", "flows", |o| o.selector.all = Some(All::Flows));
    key("all", "offer-answer", |o| o.selector.all = Some(All::OfferAnswer));
    key("all", "non-offer-answer", |o| o.selector.all = Some(All::ExceptOfferAnswer));
    key("all", "none", |_| {});
    for (word, secure, feedback) in [
        ("RTP/AVP", false, false),
        ("RTP/AVPF", false, true),
        ("RTP/SAVP", true, false),
        ("rtp/savpf", true, true),
    ] {
        key("transport-protocol", word, |o| o.transport = Some(Transport::Rtp { secure, feedback }));
    }
    key("transport-protocol", "UDP/TLS/RTP/SAVPF", |o| o.transport = Some(Transport::Dtls));
    key("transport-protocol", "accept", |o| o.transport = Some(Transport::Accept));
    key("ICE", "force-relay", |o| o.ice = Ice::Force);
    key("ICE", "optional", |_| {});
    key("DTLS", "no", |o| o.dtls_off = true);
    key("DTLS-reverse", "passive", |_| {});
    key("record-call", "yes", |o| o.media.record = Some(true));
    key("record-call", "off", |o| o.media.record = Some(false));
    key("recording-file", "a.wav", |o| o.media.recording_file = Some("a.wav".to_owned()));
    key("output-destination", "a.wav", |o| o.media.recording_file = Some("a.wav".to_owned()));
    key("DTMF-security", "zero", |o| o.media.dtmf_security = Some(DtmfSecurity::Zero));
    key("media-echo", "sinkhole", |o| o.media.echo = Some(Echo::Blackhole));
    key("media-echo", "bkw", |o| o.media.echo = Some(Echo::Backwards));
    key("file", "/srv/a.wav", |o| o.media.play.file = Some("/srv/a.wav".to_owned()));
    key("blob64", "UklGRg==", |o| o.media.play.blob = Some(b"RIFF".to_vec()));
    key("blob64", "UklGRg", |o| o.media.play.blob = Some(b"RIFF".to_vec()));
    key("db-id", "7", |o| o.media.play.db_id = true);
    key("code", "*", |o| o.media.play.code = Some("*".to_owned()));
    key("SIP-message-type", "sip-reply", |_| {});
    key("generate-RTCP", "off", |_| {});
}

#[test]
fn numbers_come_as_numbers_and_as_texts() {
    number("ptime", 40, |o| o.ptime = Some(40));
    number("ptime-reverse", 20, |o| o.ptime_reverse = Some(20));
    number("reverse-ptime", 20, |o| o.ptime_reverse = Some(20));
    number("TOS", 184, |o| o.tos = Tos::Octet(184));
    number("TOS", 256, |_| {});
    number("TOS", -1, |o| o.tos = Tos::Unchanged);
    number("delete-delay", 0, |o| o.delete_delay = Some(0));
    number("limit", 50, |o| o.limit = Some(50));
    number("repeat-times", 3, |o| o.media.play.times = Some(3));
    number("repeat-duration", 3_000, |o| o.media.play.duration_ms = Some(3_000));
    number("duration", 250, |o| o.media.play.duration_ms = Some(250));
    number("start-pos", 1, |o| o.media.play.start_ms = Some(1));
    number("pause", 100, |o| o.media.play.pause_ms = Some(100));
    number("digit", 7, |o| o.media.play.code = Some("7".to_owned()));
    number("volume", 10, |o| o.media.play.volume_db = Some(-10));
    number("volume", -70, |o| o.media.play.volume_db = Some(-63));
    number("SIP-code", 200, |_| {});
    let dict = Dict::new().with("command", "query").with("call-id", 12).with("from-tag", 3);
    let request = read(&dict);
    assert_eq!((request.call_id, request.from_tag), (Some(b"12".to_vec()), Some(b"3".to_vec())));
}

#[test]
fn lists_come_as_lists_and_as_texts() {
    list("direction", &["pub", "priv"], |o| o.interfaces = ["pub", "priv"].map(|name| Some(name.to_owned())));
    list("replace", &["origin", "zero-address"], |o| {
        (o.sdp.replace_origin, o.sdp.replace_zero_address) = (true, true);
    });
    list("rtcp-mux", &["offer", "require"], |o| (o.rtcp_mux.offer, o.rtcp_mux.require) = (true, true));
    list("SDES", &["nonew", "no-AES_CM_128_HMAC_SHA1_80", "lifetime"], |o| {
        o.sdes.without = vec![Suite::AesCm128Sha1_80];
        (o.sdes.no_new, o.sdes.lifetime) = (true, true);
    });
    list("OSRTP", &["offer-RFC", "accept"], |o| (o.osrtp.offer, o.osrtp.accept) = (true, true));
    list("ICE", &["remove", "trickle", "lite-forward"], |_| {});
    list("T.38", &["stop", "no-ECM", "FEC"], |_| {});
    list("from-tags", &["a", "b"], |o| o.selector.from_tags = vec![b"a".to_vec(), b"b".to_vec()]);
    list("sdp-media-remove", &["video", "image"], |o| {
        o.sdp.remove_media = vec![b"video".to_vec(), b"image".to_vec()];
    });
    list("codec-strip", &["PCMU", "8"], |o| o.codec.strip = vec![codec("PCMU"), codec("8")]);
    list("transcode", &["PCMA"], |o| o.codec.transcode = vec![codec("PCMA")]);
    means(&offer("supports", Value::texts(["load limit"])), |o| o.knows_load_limit = true);
    means(&offer("received-from", Value::texts(["IP4", "192.0.2.1"])), |o| {
        o.received_from = "192.0.2.1".parse().ok();
    });
    let lists = Dict::new()
        .with("strip", Value::texts(["all"]))
        .with("offer", Value::texts(["PCMA", "opus/48000/2"]))
        .with("transcode", "G722");
    let fill = |o: &mut Options| {
        o.codec.strip = vec![codec("all")];
        o.codec.offer =
            vec![codec("PCMA"), CodecName { clock: Some(48_000), channels: Some(2), ..codec("opus") }];
        o.codec.transcode = vec![codec("G722")];
    };
    means(&offer("codec", lists.clone()), fill);
    means(&offer("codecs", lists), fill);
    means(&offer("rtpp-flags", "codec=[strip=[all] offer=[PCMA opus/48000/2] transcode=G722]"), fill);
    means(&offer("codec", "[strip=[all] offer=[PCMA opus/48000/2] transcode=[G722]]"), fill);
}

#[test]
fn words_about_transport_and_direction_add_up_in_a_text_of_flags() {
    let rtp = |secure, feedback| Some(Transport::Rtp { secure, feedback });
    let rows = [
        ("RTP", rtp(false, false)),
        ("SRTP", rtp(true, false)),
        ("SRTP AVPF", rtp(true, true)),
        ("AVPF RTP", rtp(false, true)),
        ("DTLS AVPF", Some(Transport::Dtls)),
        ("RTP/SAVPF", rtp(true, true)),
        ("UDP/TLS/RTP/SAVP", Some(Transport::Dtls)),
    ];
    for (text, transport) in rows {
        means(&offer("rtpp-flags", text), |o| o.transport = transport);
        means(&offer("flags", Value::texts(text.split(' '))), |o| o.transport = transport);
    }
    for text in
        ["internal external", "direction=internal direction=external", "direction=[internal external]"]
    {
        means(&offer("rtpp-flags", text), |o| {
            o.interfaces = ["internal", "external"].map(|name| Some(name.to_owned()));
        });
    }
}

#[test]
fn tags_among_flags_count_more_than_those_that_kamailio_always_adds() {
    let request = |text: &str| read(&offer("rtpp-flags", text).with("to-tag", "t").with("via-branch", "b"));
    let plain = request("from-tag=x to-tag=y via-branch=auto-next call-id=other");
    assert_eq!(plain.call_id.as_deref(), Some(&b"c"[..]), "by which the request was steered");
    assert_eq!(plain.from_tag.as_deref(), Some(&b"x"[..]));
    assert_eq!(plain.to_tag.as_deref(), Some(&b"y"[..]));
    assert_eq!(plain.via_branch.as_deref(), Some(&b"b"[..]));
    assert!(plain.options.to_tag && plain.options.selector.directional);
    assert_eq!(request("via-branch=z").via_branch.as_deref(), Some(&b"z"[..]));
    assert_eq!(request("via-branch=2").via_branch.as_deref(), Some(&b"b"[..]), "the second Via has given it");
    let alone = read(&offer("rtpp-flags", "via-branch=2"));
    assert_eq!(alone.via_branch.as_deref(), Some(&b"2"[..]));
}

#[test]
fn all_of_a_webs_plain_client_fits_into_one_text() {
    let dict = Dict::new().with("command", "offer").with("sdp", "v=0");
    let request = read(&dict.with("rtpp_flags", "call-id=c from-tag=f label=a trust-address"));
    assert_eq!((request.call_id, request.from_tag), (Some(b"c".to_vec()), Some(b"f".to_vec())));
    assert_eq!(request.options.selector.label, Some(b"a".to_vec()));
}

#[test]
fn attributes_are_changed_by_dictionary_and_by_flag() {
    let audio = || AttributePlace::Kind(b"audio".to_vec());
    let change = |place: AttributePlace, change| AttributeChange { place, change };
    let substitute = |from: &str, to: &str| Change::Substitute(from.into(), to.into());
    let list = |texts: &[&str]| Value::texts(texts.iter().copied());
    let one = |place: &str, what: &str, value: Value| {
        offer("sdp-attr", Dict::new().with(place, Dict::new().with(what, value)))
    };
    for place in ["none", "global"] {
        means(&one(place, "add", list(&["sendrecv"])), |o| {
            o.sdp.attributes = vec![change(AttributePlace::Session, Change::Add(b"sendrecv".to_vec()))];
        });
    }
    means(&one("audio", "remove", list(&["rtpmap:101 telephone-event/8000"])), |o| {
        let line = b"rtpmap:101 telephone-event/8000".to_vec();
        o.sdp.attributes = vec![change(audio(), Change::Remove(line))];
    });
    let pairs = Value::List(vec![list(&["a", "b"]), list(&["c", "d"])]);
    means(&one("audio", "substitute", pairs), |o| {
        o.sdp.attributes = vec![change(audio(), substitute("a", "b")), change(audio(), substitute("c", "d"))];
    });
    for value in [list(&["a", "b"]), list(&["a>b"]), Value::text("a>b")] {
        means(&one("audio", "substitute", value), |o| {
            o.sdp.attributes = vec![change(audio(), substitute("a", "b"))];
        });
    }
    for text in [
        "sdp-attr-substitute-audio-fmtp:101..0-15>ptime:40",
        "sdp-attr-substitude-audio-fmtp:101..0-15>ptime:40",
    ] {
        means(&offer("flags", Value::texts([text])), |o| {
            o.sdp.attributes = vec![change(audio(), substitute("fmtp:101 0-15", "ptime:40"))];
        });
    }
    means(&offer("rtpp-flags", "sdp-attr=[audio=[add=[a--1 ptime:20]] none=[remove=tool]]"), |o| {
        o.sdp.attributes = vec![
            change(audio(), Change::Add(b"a=1".to_vec())),
            change(audio(), Change::Add(b"ptime:20".to_vec())),
            change(AttributePlace::Session, Change::Remove(b"tool".to_vec())),
        ];
    });
}

/// What is noted of a request with one more key.
fn notes(key: &str, value: impl Into<Value>) -> Vec<String> {
    let request = read(&offer(key, value));
    assert_eq!(request.options, Options::default(), "{key}: what is not known changes nothing");
    request.unknown
}

#[test]
fn what_nobody_knows_is_noted_and_changes_nothing() {
    assert_eq!(notes("wings", "2"), ["wings"]);
    assert_eq!(notes("template", "WebRTC"), ["template"]);
    assert_eq!(
        notes("flags", Value::texts(["fly", "codec-fly-x", "replace-wings"])),
        ["fly", "codec-fly-x", "replace-wings"]
    );
    assert_eq!(notes("flags", Value::List(vec![Value::Int(1), Value::List(vec![])])), ["flags", "flags"]);
    assert_eq!(notes("flags", Dict::new().with("a", 1)), ["flags"]);
    assert_eq!(notes("rtpp-flags", "fly wings=2 x=[a]"), ["fly", "wings=2", "x=[]"]);
    assert_eq!(notes("flags", Value::texts(["egress", "T38-decode"])), ["egress", "T38-decode"]);
    assert_eq!(notes("T.38", Value::texts(["force"])), ["t.38-force"], "there is no gateway");
    assert_eq!(notes("replace", Value::texts(["wings"])), ["replace-wings"]);
    assert_eq!(
        notes("SDES", Value::texts(["only-X", "no-Y", "unencrypted_srtp"])),
        ["sdes-only-X", "sdes-no-Y", "sdes-unencrypted_srtp"]
    );
    assert_eq!(notes("codec", Value::texts(["PCMA"])), ["codec"]);
    assert_eq!(
        notes("codec", Dict::new().with("fly", "x").with("strip", "a/b")),
        ["codec-fly", "codec-strip-a/b"]
    );
    assert_eq!(notes("supports", Value::texts(["flying"])), ["supports-flying"]);
    assert_eq!(notes("flags", Value::texts(["call-id=x"])), ["call-id=x"], "nobody could steer by it");
    assert_eq!(notes("sdp-attr", Dict::new().with("roof", Dict::new())), ["sdp-attr-roof"]);
    assert_eq!(
        notes("flags", Value::texts(["sdp-attr-add-audio-x\r\nm=audio"])).len(),
        1,
        "a line is one line"
    );
}

#[test]
fn values_of_the_wrong_kind_are_noted_and_change_nothing() {
    let kinds = [Value::List(vec![]), Value::Dict(Dict::new()), Value::text("soon"), Value::Int(-7)];
    let keys = [
        "ptime",
        "limit",
        "delete-delay",
        "repeat-times",
        "media-address",
        "received-from",
        "address",
        "address-family",
        "dtmf-security",
        "media-echo",
    ];
    for key in keys {
        for kind in &kinds {
            assert_eq!(notes(key, kind.clone()), [key], "{kind:?}");
        }
    }
    for key in ["label", "interface", "file", "replace", "direction", "blob64", "rtpp-flags"] {
        assert_eq!(notes(key, Dict::new().with("a", 1)), [key]);
    }
    assert_eq!(notes("record-call", "perhaps"), ["record-call"]);
    assert_eq!(notes("sdp-attr", "x"), ["sdp-attr"]);
    assert_eq!(notes("ptime", 0), ["ptime"]);
    assert_eq!(notes("ptime", i64::MAX), ["ptime"]);
}

#[test]
fn of_repeated_keys_the_first_counts_and_the_rest_is_noted() {
    let request = read(&offer("ptime", 20).with("PTIME", 40).with("call id", "other"));
    assert_eq!(request.options.ptime, Some(20));
    assert_eq!(request.call_id.as_deref(), Some(&b"c"[..]));
    assert_eq!(request.unknown, ["PTIME (repeated)", "call id (repeated)"]);
}

#[test]
fn notes_are_bounded_in_number_and_length() {
    let long = "k".repeat(65_536);
    let request = read(&offer(&long, Value::texts((0..4_000).map(|_| &*long))));
    assert_eq!(request.unknown, ["k".repeat(UNKNOWN_LEN_MAX)]);
    let request = read(&offer("flags", Value::texts((0..4_000).map(|n| format!("ä\r\nfly{n}")))));
    assert_eq!(request.unknown.len(), UNKNOWN_MAX);
    assert_eq!(request.unknown[0], "äfly0", "no line of a log is broken");
    let request = read(&offer("rtpp-flags", "x ".repeat(30_000)));
    assert_eq!(request.unknown.len(), UNKNOWN_MAX);
    let request = read(&offer("rtpp-flags", "a=[".repeat(20_000)));
    assert!(request.unknown.len() <= UNKNOWN_MAX);
}

#[test]
fn lists_are_bounded() {
    let many = || Value::texts((0..1_000).map(|n| format!("C{n}")));
    let request = read(&offer("codec", Dict::new().with("strip", many())));
    assert_eq!(request.options.codec.strip.len(), LIST_MAX);
    assert_eq!(read(&offer("from-tags", many())).options.selector.from_tags.len(), LIST_MAX);
    let lines = Dict::new().with("audio", Dict::new().with("add", many()));
    assert_eq!(read(&offer("sdp-attr", lines)).options.sdp.attributes.len(), LIST_MAX);
}

#[test]
fn answers_keep_to_the_codecs_that_the_offer_has_arranged() {
    let text = "codec-strip-A codec-mask-B codec-accept-C transcode-D ptime=20";
    let dict =
        Dict::new().with("command", "answer").with("call-id", "c").with("from-tag", "f").with("to-tag", "t");
    let request = read(&dict.with("sdp", "v=0").with("rtpp-flags", text));
    let mut expected = Options::default();
    expected.codec.strip = vec![codec("A")];
    assert_eq!((request.options, request.unknown), (expected, vec![]));
}

#[test]
fn what_a_command_needs_is_asked_for_in_order() {
    let rows = [
        ("offer", "", "No SDP body in message"),
        ("offer", "sdp", "No call-id in message"),
        ("offer", "sdp call-id", "No from-tag in message"),
        ("offer", "sdp call-id from-tag", ""),
        ("answer", "sdp call-id from-tag", "No to-tag in message"),
        ("answer", "sdp call-id from-tag to-tag", ""),
        ("delete", "from-tag", "No call-id in message"),
        ("delete", "call-id", ""),
        ("query", "", "No call-id in message"),
        ("ping", "", ""),
        ("list", "", ""),
        ("statistics", "", ""),
        ("publish", "", "No SDP body in message"),
        ("publish", "sdp", ""),
        ("play media", "", "No call-id in message"),
        ("Play-Media", "call-id", ""),
        ("block dtmf", "call-id", ""),
        ("subscribe request", "call-id", ""),
        ("subscribe answer", "call-id to-tag", "No SDP body in message"),
        ("subscribe answer", "sdp call-id", "No to-tag in message"),
        ("unsubscribe", "call-id", "No to-tag in message"),
        ("connect", "call-id", "No from-tag in message"),
        ("connect", "call-id from-tag", "No to-tag in message"),
        ("connect", "call-id from-tags to-tag", ""),
        ("start forwarding", "call-id", "Unrecognized command"),
        ("mesh", "", "Unrecognized command"),
        ("fly", "", "Unrecognized command"),
        ("", "", "Unrecognized command"),
    ];
    for (command, keys, expected) in rows {
        let mut dict = Dict::new().with("command", command);
        keys.split_whitespace().for_each(|key| {
            dict.put(key, "x");
        });
        let words = Request::read(&dict).err().map(|failure| failure.to_string()).unwrap_or_default();
        assert_eq!(words, expected, "{command}: {keys}");
    }
    for dict in [Dict::new(), Dict::new().with("command", 7), Dict::new().with("command", Dict::new())] {
        assert_eq!(Request::read(&dict), Err(Failure::NoCommand));
    }
    // An empty tag is no tag.
    assert_eq!(Request::read(&offer("x", 1).with("command", "")).map(|it| it.to_tag), Ok(None));
}

#[test]
fn names_are_bounded() {
    let long = "x".repeat(crate::request::NAME_LEN_MAX + 1);
    for key in ["to-tag", "via-branch", "label", "set-label", "to-label", "to-call-id"] {
        let failure = Request::read(&offer(key, &*long)).unwrap_err();
        assert_eq!(failure.to_string(), format!("{key} is too long"));
        assert!(Request::read(&offer(key, &long[1..])).is_ok());
    }
}

/// The requests in files, each in both notations, mean the same in both.
#[test]
fn requests_in_files_mean_the_same_in_both_notations() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/requests");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("requests of our own") {
        let path = entry.expect("a readable entry").path();
        if path.extension().is_some_and(|extension| extension == "bencode") {
            let read = |path: &std::path::Path| {
                let payload = std::fs::read(path).expect("a readable file");
                let (_, dict) = frame::read(&payload).unwrap_or_else(|failure| panic!("{path:?}: {failure}"));
                Request::read(&dict).unwrap_or_else(|failure| panic!("{path:?}: {failure}"))
            };
            let request = read(&path);
            assert_eq!(request, read(&path.with_extension("json")), "{path:?}");
            let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let notes: &[&str] = match &*stem {
                "unknown" => {
                    &["wings", "fly", "codec-fly-high", "flags", "ptime", "call id (repeated)", "replace"]
                }
                "play" => &["block-egress"],
                "dtmf" => &["frequency", "trigger"],
                "offer-opensips" => &["T.38-decode"],
                _ => &[],
            };
            assert_eq!(request.unknown, notes, "{stem}");
            count += 1;
        }
    }
    assert!(count >= 11, "{count} requests");
}

proptest! {
    #[test]
    fn any_flags_are_survived(text in "[a-zA-Z0-9=\\[\\] ._:;>/-]{0,80}") {
        crate::fuzz::flags(text.as_bytes());
    }

    #[test]
    fn likely_flags_are_survived(
        text in "((codec|SDES|replace|sdp-attr|transcode|label|flags|call-id|ICE)[-=\\[ ]*[a-z-]{0,6}[\\] >]*){0,8}"
    ) {
        crate::fuzz::flags(text.as_bytes());
    }

    /// Whatever the tree, a text of flags that is written of it is read as it.
    #[test]
    fn brackets_are_read_as_they_were_meant(value in tree()) {
        let mut text = String::new();
        write(&value, &mut text);
        prop_assert_eq!(bracketed(text.as_bytes()), Some(value));
    }
}

fn tree() -> impl Strategy<Value = Value> {
    let word = || "[a-z0-9/.:]{1,6}".prop_map(Value::text);
    let leaf = proptest::collection::vec(word(), 0..3).prop_map(Value::List);
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let value = prop_oneof![inner, word()];
        let entry = ("[a-z-]{1,6}".prop_map(String::into_bytes), value.clone());
        prop_oneof![
            proptest::collection::vec(value, 0..4).prop_map(Value::List),
            proptest::collection::vec(entry, 1..4).prop_map(|entries| Value::Dict(Dict(entries))),
        ]
    })
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Int(_) => unreachable!("no numbers among flags"),
        Value::Text(text) => out.push_str(str::from_utf8(text).expect("a text")),
        Value::List(values) => {
            out.push('[');
            for value in values {
                write(value, out);
                out.push(' ');
            }
            out.push(']');
        }
        Value::Dict(dict) => {
            out.push('[');
            for (key, value) in &dict.0 {
                out.push_str(str::from_utf8(key).expect("a key"));
                out.push('=');
                write(value, out);
                out.push(' ');
            }
            out.push(']');
        }
    }
}

#[test]
fn a_tag_means_its_party_where_it_was_not_written_for_all() {
    let block = |key: Option<(&str, &str)>| {
        let dict = Dict::new().with("command", Value::text("block media")).with("call-id", Value::text("c"));
        let dict = dict.with("from-tag", Value::text("a"));
        let dict = key.into_iter().fold(dict, |dict, (key, value)| dict.with(key, Value::text(value)));
        read(&dict).options.selector.directional
    };
    assert!(block(None), "as stock rtpengine 10.5");
    assert!(!block(Some(("rtpp-flags", "label=x"))), "as later ones");
    assert!(block(Some(("rtpp-flags", "directional"))));
}

#[test]
fn what_is_said_twice_alike_is_no_news() {
    let delays = |second: Value| {
        let dict = Dict::new().with("command", "delete").with("call-id", "c");
        let request = read(&dict.with("delete delay", 5).with("delete-delay", second));
        (request.options.delete_delay, request.unknown)
    };
    assert_eq!(delays(Value::text("5")), (Some(5), vec![]), "as Kamailio says it");
    assert_eq!(delays(Value::text("6")), (Some(5), vec!["delete-delay (repeated)".to_owned()]));
}

#[test]
fn an_unknown_word_with_a_slash_is_no_transport() {
    let request = read(&offer("flags", Value::texts(["RTP/SAVP", "up/down"])));
    let secure = Transport::Rtp { secure: true, feedback: false };
    assert_eq!(
        (request.options.transport, &request.unknown[..]),
        (Some(secure), &["up/down".to_owned()][..])
    );
}

#[test]
fn brackets_among_others_are_of_their_own() {
    let fill = |o: &mut Options| {
        (o.sdp.replace_origin, o.sdp.generate_mid) = (true, true);
        o.codec.strip = vec![codec("PCMU"), codec("EVS")];
        o.sdp.loop_protect = true;
    };
    let text = "[generate-mid replace=[origin] codec=[strip=[PCMU EVS]] loop-protect]";
    means(&offer("flags", text), fill);
    means(&offer("rtpp-flags", format!("flags={text}")), fill);
    let request = read(&offer("rtpp-flags", "x=[a b c=[d e]] generate-mid"));
    assert_eq!((request.options.sdp.generate_mid, &request.unknown[..]), (true, &["x=[]".to_owned()][..]));
}

#[test]
fn flags_within_flags_are_noted_and_not_followed() {
    let deep = "flags=".repeat(150_000);
    let lists: [Value; 5] = [
        (&*deep).into(),
        Value::texts([&*deep]),
        Value::List(vec![Dict::new().with("flags", &*deep).into()]),
        format!("[{deep}]").as_str().into(),
        format!("flags=[x=y {deep}]").as_str().into(),
    ];
    for value in lists {
        for key in ["flags", "rtpp-flags"] {
            let ping = Dict::new().with("command", Value::text("ping")).with(key, value.clone());
            assert_eq!(read(&ping).unknown.len(), 1, "{key}");
        }
    }
    let request = read(&offer("flags", Value::texts(["flags=trust-address", "flags=[asymmetric]"])));
    assert_eq!(request.options, Options::default());
    assert_eq!(request.unknown, ["flags=trust-address", "flags=[asymmetric]"]);
}
