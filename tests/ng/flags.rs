//! Every spelling of an option: as a key, as a flag, as a flag with a prefix, as one string of words.

use crate::stand::{Proxy, Sdp, audio, scenarios, told};
use serde_json::{Value as Json, json};

scenarios! {
    the_flags_of_clients_are_taken,
    words_may_be_joined_by_hyphens_or_blanks,
    lists_may_be_given_as_dictionaries_or_words,
    ;
    only strowger:
    options_may_stand_among_the_flags_with_their_key_before_them =
        "10.5 knows prefixes of codec, SDES, OSRTP, T.38 and endpoint-learning only",
    one_string_of_words_says_it_all = "10.5 has no `rtpp-flags`",
    lists_in_brackets_are_read_within_the_string = "10.5 has no `rtpp-flags`",
}

/// What `b` is told.
fn offered(proxy: &Proxy, more: &Json) -> (Sdp, Json) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let reply = call.ng.does(&call.offering(&audio(pair.a.address()), more));
    (told(&reply), reply)
}

/// Flags that change nothing in ours, which says so.
const PASSED_OVER: [&str; 8] = [
    "port-latching",
    "trickle-ICE",
    "pad-crypto",
    "no-redis-update",
    "debug",
    "reset",
    "reuse-codecs",
    "detect-DTMF",
];

fn the_flags_of_clients_are_taken(proxy: &Proxy) {
    let flags = [
        "trust-address",
        "asymmetric",
        "unidirectional",
        "strict-source",
        "media-handover",
        "port-latching",
        "generate-mid",
        "strip-extmap",
        "no-rtcp-attribute",
        "full-rtcp-attribute",
        "trickle-ICE",
        "loop-protect",
        "original-sendrecv",
        "reuse-codecs",
        "single-codec",
        "allow-transcoding",
        "inject-DTMF",
        "detect-DTMF",
        "pad-crypto",
        "no-redis-update",
        "debug",
        "reset",
        "SDES-no-AES_CM_128_HMAC_SHA1_32",
        "endpoint-learning-heuristic",
    ];
    for flag in flags {
        let (sdp, reply) = offered(proxy, &json!({"flags": [flag]}));
        assert_eq!(sdp.media(0).ip(), proxy.ip(), "{flag}");
        let warned = reply["warning"].as_str().unwrap_or_default();
        assert!(warned.is_empty() || PASSED_OVER.contains(&flag), "{flag}: {reply:#}");
    }
    for more in [
        json!({"rtcp-mux": ["offer"]}),
        json!({"rtcp-mux": ["demux"]}),
        json!({"ICE": "default"}),
        json!({"SDES": ["pad", "lifetime"]}),
        json!({"TOS": 184}),
        json!({"record-call": "off"}),
        json!({"metadata": "who:what"}),
        json!({"DTLS": "off"}),
        json!({"OSRTP": ["accept"]}),
        json!({"T.38": ["no-ecm"]}),
        json!({"xmlrpc-callback": "127.0.0.1"}),
        json!({"supports": ["load limit"]}),
        json!({"received-from": ["IP4", "127.0.0.1"]}),
        json!({"media echo": "blackhole"}),
    ] {
        let (_, reply) = offered(proxy, &more);
        assert_eq!(reply["result"], "ok", "{more}: {reply:#}");
    }
}

fn words_may_be_joined_by_hyphens_or_blanks(proxy: &Proxy) {
    for flag in ["no-rtcp-attribute", "no rtcp attribute"] {
        let (sdp, _) = offered(proxy, &json!({"flags": [flag]}));
        assert!(sdp.attributes(0, "rtcp").is_empty(), "{flag}: {}", sdp.0);
    }
    for key in ["transport-protocol", "transport protocol"] {
        let (sdp, _) = offered(proxy, &json!({key: "RTP/AVPF"}));
        assert_eq!(sdp.protocol(0), "RTP/AVPF", "{key}");
    }
}

fn lists_may_be_given_as_dictionaries_or_words(proxy: &Proxy) {
    for flags in [json!(["no-rtcp-attribute"]), json!("no-rtcp-attribute")] {
        let (_, reply) = offered(proxy, &json!({"flags": flags}));
        assert_eq!(reply["result"], "ok");
    }
}

fn options_may_stand_among_the_flags_with_their_key_before_them(proxy: &Proxy) {
    let cases = [
        (json!(["replace-session-name", "transport-protocol=RTP/AVPF"]), "RTP/AVPF"),
        (json!(["ICE=remove", "RTP/AVPF"]), "RTP/AVPF"),
        (json!(["RTP/SAVP", "SDES-pad"]), "RTP/SAVP"),
    ];
    for (flags, protocol) in cases {
        let (sdp, reply) = offered(proxy, &json!({"flags": flags, "ICE": null}));
        assert_eq!(sdp.protocol(0), protocol, "{flags}");
        assert_eq!(reply.get("warning"), None, "{flags}: {reply:#}");
    }
}

fn one_string_of_words_says_it_all(proxy: &Proxy) {
    let words = "replace-origin replace-session-connection ICE=remove RTP/AVPF no-rtcp-attribute \
                 codec-strip-telephone-event ptime=40 media-address=192.0.2.5";
    let more = json!({"rtpp-flags": words, "ICE": null, "replace": null});
    let (sdp, reply) = offered(proxy, &more);
    assert_eq!(reply.get("warning"), None, "{reply:#}");
    assert_eq!((sdp.protocol(0), sdp.codecs(0)), ("RTP/AVPF", vec!["PCMU".to_owned()]), "{}", sdp.0);
    assert!(sdp.attributes(0, "rtcp").is_empty() && sdp.has(0, "a=ptime:40"), "{}", sdp.0);
    assert_eq!(sdp.media(0).ip().to_string(), "192.0.2.5");
}

fn lists_in_brackets_are_read_within_the_string(proxy: &Proxy) {
    let more = json!({
        "rtpp-flags": "replace=[origin session-connection] codec=[strip=[all] offer=[PCMU]] RTP/AVP",
        "ICE": null, "replace": null
    });
    let (sdp, reply) = offered(proxy, &more);
    assert_eq!(reply.get("warning"), None, "{reply:#}");
    assert_eq!(sdp.codecs(0), ["PCMU"], "{}", sdp.0);
}
