//! The SDP that both proxies write for the same requests, line by line. Ports, addresses and keys differ from run to
//! run and stand by what they are.

use crate::stand::{Make, Proxy, Sdp, Setup};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// One exchange: what A offers and B answers, each with its options.
struct Case {
    name: &'static str,
    offer: (String, Json),
    answer: Option<(String, Json)>,
}

fn case(name: &'static str, offer: &str, with: Json) -> Case {
    Case { name, offer: (offer.to_owned(), with), answer: None }
}

impl Case {
    fn answered(mut self, answer: &str, with: Json) -> Case {
        self.answer = Some((answer.to_owned(), with));
        self
    }
}

/// Runs all of them against both and compares.
fn both_say_the_same(cases: &[Case]) {
    let Some(theirs) = Proxy::start(Make::Rtpengine, &Setup::default()) else { return };
    let ours = Proxy::start(Make::Strowger, &Setup::default()).expect("the engine that cargo built");
    let mut differences = String::new();
    for case in cases {
        let (wanted, found) = (told(&theirs, case), told(&ours, case));
        if wanted != found {
            differences += &format!("\n== {}: {}\n{}", case.name, case.offer.1, compared(&wanted, &found));
        }
    }
    assert!(differences.is_empty(), "- rtpengine's lines, + ours:{differences}");
}

/// Lines beside each other.
fn compared(wanted: &[String], found: &[String]) -> String {
    let mut text = String::new();
    let same = wanted.iter().zip(found).take_while(|(w, f)| w == f).count();
    wanted[..same].iter().for_each(|line| text += &format!("    {line}\n"));
    wanted[same..].iter().for_each(|line| text += &format!("  - {line}\n"));
    found[same..].iter().for_each(|line| text += &format!("  + {line}\n"));
    text
}

/// What B and A are told, with names for what differs from run to run.
fn told(proxy: &Proxy, case: &Case) -> Vec<String> {
    let call = proxy.call();
    let mut names = Names { proxy, ports: BTreeMap::new() };
    let mut lines = Vec::new();
    let mut say = |who: &str, reply: &Json| {
        lines.push(format!("{who}: {}", reply["error-reason"].as_str().unwrap_or("told")));
        if let Some(sdp) = reply["sdp"].as_str() {
            lines.extend(names.named(&Sdp(sdp.to_owned())));
        }
    };
    let reply = call.ng.ask(&call.offering(&proxy.net.fill(&case.offer.0), &case.offer.1));
    say("B", &reply);
    if let Some((answer, with)) = &case.answer {
        let reply = call.ng.ask(&call.answering(&proxy.net.fill(answer), with));
        say("A", &reply);
    }
    lines
}

/// Names of ports in the order in which they were seen.
struct Names<'p> {
    proxy: &'p Proxy,
    ports: BTreeMap<u16, String>,
}

impl Names<'_> {
    fn named(&mut self, sdp: &Sdp) -> Vec<String> {
        let session = sdp.session();
        let mut lines: Vec<String> =
            session.iter().filter(|line| !line.starts_with("c=")).map(|line| self.line(line)).collect();
        for n in 0..sdp.count() {
            let section = sdp.section(n);
            lines.push(self.line(section[0]));
            lines.extend(self.section(&session, &section));
        }
        lines
    }

    /// The lines of an m-line, sorted: 10.5 writes addresses where they stood and attributes in an order of its own,
    /// later ones, whose order is ours, with each m-line. Left out is what does not matter: suites that only rtpengine
    /// has with the numbers that they take, DTLS, which ours does not offer, and what stands at a line that is refused.
    fn section(&mut self, session: &[&str], section: &[&str]) -> Vec<String> {
        if section[0].split(' ').nth(1) == Some("0") {
            return Vec::new();
        }
        let own = section.iter().find(|line| line.starts_with("c="));
        let mut lines: Vec<String> = Vec::new();
        lines.extend(
            own.or_else(|| session.iter().find(|line| line.starts_with("c="))).map(|line| self.line(line)),
        );
        for line in section[1..].iter().filter(|line| !line.starts_with("c=")) {
            // Versions differ in what they say of formats that they add.
            let foreign = [
                "AES_192_CM",
                " F8_128",
                " NULL_HMAC",
                "a=setup:",
                "a=fingerprint:",
                "a=tls-id:",
                "a=sendrecv",
                "useinbandfec",
            ];
            if !foreign.iter().any(|word| line.contains(word)) {
                lines.push(self.line(line).replace(" 0-15", " 0-16"));
            }
        }
        lines.sort();
        lines
    }

    fn line(&mut self, line: &str) -> String {
        let mut text = line.to_owned();
        if let Some(rest) = line.strip_prefix("m=") {
            let mut words: Vec<String> = rest.split(' ').map(str::to_owned).collect();
            if let Some(port) = words.get(1).and_then(|word| word.parse().ok()) {
                words[1] = self.port(port);
            }
            text = format!("m={}", words.join(" "));
        } else if let Some(rest) = line.strip_prefix("a=rtcp:") {
            let (port, more) =
                rest.split_once(' ').map_or((rest, String::new()), |(p, m)| (p, format!(" {m}")));
            text = format!("a=rtcp:{}{more}", port.parse().map_or(port.to_owned(), |port| self.port(port)));
        } else if let Some((head, key)) = line.split_once(" inline:") {
            let behind = key.find(['|', ' ']).map_or("", |at| &key[at..]);
            let suite = head.split(' ').nth(1).unwrap_or_default();
            text = format!("a=crypto:N {suite} inline:KEY{behind}");
        }
        (0..8).fold(text, |text, n| text.replace(&self.proxy.net.ip(n).to_string(), &format!("IP{n}")))
    }

    /// Ports of ours are even and the odd one behind; those of parties are below them.
    fn port(&mut self, port: u16) -> String {
        if port < 10_000 {
            return port.to_string();
        }
        let (even, more) = (port & !1, if port % 2 == 1 { "+1" } else { "" });
        let count = self.ports.len();
        let name = self.ports.entry(even).or_insert_with(|| format!("PORT{count}"));
        format!("{name}{more}")
    }
}

const HEAD: &str = "v=0\r\no=phone 17 4 IN IP4 IP2\r\ns=A call\r\nc=IN IP4 IP2\r\nt=0 0\r\n";
const HEAD_B: &str = "v=0\r\no=- 99 1 IN IP4 IP3\r\ns=-\r\nc=IN IP4 IP3\r\nt=0 0\r\n";

fn sdp(lines: &str) -> String {
    format!("{HEAD}{}", lines.replace('\n', "\r\n"))
}

fn sdp_b(lines: &str) -> String {
    format!("{HEAD_B}{}", lines.replace('\n', "\r\n"))
}

const PLAIN: &str = "m=audio 4000 RTP/AVP 0\n";
const USUAL: &str = "m=audio 4000 RTP/AVP 0 8 101\na=rtpmap:0 PCMU/8000\na=rtpmap:8 PCMA/8000\n\
                     a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-16\na=ptime:20\na=sendrecv\n";
const MANY: &str = "m=audio 4000 RTP/AVP 111 9 18 0 8 96 97\na=rtpmap:111 opus/48000/2\n\
                    a=fmtp:111 useinbandfec=1;maxplaybackrate=48000\na=rtpmap:9 G722/8000\na=rtpmap:18 G729/8000\n\
                    a=fmtp:18 annexb=no\na=rtpmap:96 telephone-event/8000\na=fmtp:96 0-15\n\
                    a=rtpmap:97 telephone-event/48000\na=maxptime:150\n";

#[test]
fn plain_exchanges_look_the_same() {
    let replace = |words: Json| json!({"replace": words});
    both_say_the_same(&[
        case("plain", &sdp(PLAIN), json!({})).answered(&sdp_b(PLAIN), json!({})),
        case("usual", &sdp(USUAL), json!({})).answered(&sdp_b(USUAL), json!({})),
        case("many codecs", &sdp(MANY), json!({})).answered(&sdp_b(PLAIN), json!({})),
        case("nothing replaced", &sdp(USUAL), replace(json!([]))).answered(&sdp_b(USUAL), replace(json!([]))),
        case("origin replaced", &sdp(USUAL), replace(json!(["origin"]))).answered(&sdp_b(USUAL), json!({})),
        case("names replaced", &sdp(USUAL), replace(json!(["session-name", "username"]))),
        case(
            "unknown lines",
            &sdp(&format!("{USUAL}a=silenceSupp:off - - - -\na=x-mine:1\na=label:7\n")),
            json!({}),
        ),
        case("bandwidth", &sdp("m=audio 4000 RTP/AVP 0\nb=AS:80\nb=RR:0\nb=RS:0\n"), json!({})),
        case(
            "session attributes",
            &sdp("a=tool:x\na=group:BUNDLE a\nm=audio 4000 RTP/AVP 0\na=mid:a\n"),
            json!({}),
        ),
        case("own connection", &sdp("m=audio 4000 RTP/AVP 0\nc=IN IP4 IP6\n"), json!({}))
            .answered(&sdp_b(PLAIN), json!({})),
        case("a port for RTCP", &sdp(&format!("{PLAIN}a=rtcp:4444\n")), json!({}))
            .answered(&sdp_b(PLAIN), json!({})),
        case("RTCP on one port", &sdp(&format!("{PLAIN}a=rtcp-mux\n")), json!({}))
            .answered(&sdp_b(&format!("{PLAIN}a=rtcp-mux\n")), json!({})),
        case("RTCP on one port refused", &sdp(&format!("{PLAIN}a=rtcp-mux\n")), json!({}))
            .answered(&sdp_b(PLAIN), json!({})),
        case("no line for RTCP", &sdp(PLAIN), json!({"flags": ["no-rtcp-attribute"]})),
        case("a whole line for RTCP", &sdp(PLAIN), json!({"flags": ["full-rtcp-attribute"]})),
    ]);
}

#[test]
fn directions_look_the_same() {
    let with = |direction: &str| USUAL.replace("a=sendrecv", direction);
    both_say_the_same(&[
        case("held", &sdp(&with("a=sendonly")), json!({})).answered(&sdp_b(&with("a=recvonly")), json!({})),
        case("inactive", &sdp(&with("a=inactive")), json!({}))
            .answered(&sdp_b(&with("a=inactive")), json!({})),
        case("receiving", &sdp(&with("a=recvonly")), json!({}))
            .answered(&sdp_b(&with("a=sendonly")), json!({})),
        case("held for the session", &sdp(&format!("a=sendonly\n{PLAIN}")), json!({})),
        case("no direction", &sdp(PLAIN), json!({"flags": ["original-sendrecv"]})),
        case("its own direction", &sdp(&with("a=sendonly")), json!({"flags": ["original-sendrecv"]})),
        case("a zero address", &sdp(USUAL).replace("c=IN IP4 IP2", "c=IN IP4 0.0.0.0"), json!({})),
        case(
            "a zero address replaced",
            &sdp(USUAL).replace("c=IN IP4 IP2", "c=IN IP4 0.0.0.0"),
            json!({"replace": ["origin", "zero-address"]}),
        ),
    ]);
}

#[test]
fn several_lines_look_the_same() {
    let video = "m=video 4002 RTP/AVP 96\na=rtpmap:96 VP8/90000\na=rtcp-fb:96 nack pli\na=sendonly\n";
    let fax = "m=image 4004 udptl t38\na=T38FaxVersion:0\na=T38FaxRateManagement:transferredTCF\n";
    let both = format!("{USUAL}{video}");
    both_say_the_same(&[
        case("audio and video", &sdp(&both), json!({}))
            .answered(&sdp_b(&both.replace("sendonly", "recvonly")), json!({})),
        case("video refused", &sdp(&both), json!({}))
            .answered(&sdp_b(&format!("{USUAL}m=video 0 RTP/AVP 96\n")), json!({})),
        case("video that was refused", &sdp(&both.replace("4002", "0")), json!({})),
        case("fax", &sdp(fax), json!({})).answered(&sdp_b(fax), json!({})),
        case("audio and fax", &sdp(&format!("{USUAL}{fax}")), json!({})),
        case("mids", &sdp(&both), json!({"flags": ["generate-mid"]})),
    ]);
}

#[test]
fn protocols_and_keys_look_the_same() {
    let key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\n";
    let secure = format!("{}{key}", USUAL.replace("RTP/AVP", "RTP/SAVP"));
    let to = |protocol: &str| json!({"transport-protocol": protocol});
    let plus = |protocol: &str, sdes: Json| json!({"transport-protocol": protocol, "SDES": sdes});
    both_say_the_same(&[
        case("feedback", &sdp(USUAL), to("RTP/AVPF"))
            .answered(&sdp_b(&USUAL.replace("AVP", "AVPF")), json!({})),
        case("keys made", &sdp(USUAL), to("RTP/SAVP")).answered(&sdp_b(&secure), json!({})),
        case("keys ended", &sdp(&secure), to("RTP/AVP")).answered(&sdp_b(USUAL), json!({})),
        case("keys and feedback", &sdp(USUAL), to("RTP/SAVPF")),
        case("keys padded", &sdp(USUAL), plus("RTP/SAVP", json!(["pad"]))),
        case("keys that live", &sdp(USUAL), plus("RTP/SAVP", json!(["lifetime"]))),
        case(
            "fewer suites",
            &sdp(USUAL),
            plus("RTP/SAVP", json!(["no-AEAD_AES_256_GCM", "no-NULL_HMAC_SHA1_80"])),
        ),
        case("OSRTP", &sdp(USUAL), json!({"transport-protocol": "RTP/AVP", "OSRTP": ["offer"]}))
            .answered(&sdp_b(USUAL), json!({})),
    ]);
}

#[test]
fn codecs_look_the_same() {
    let codec = |operations: Json| json!({"codec": operations});
    let pcma = "m=audio 4000 RTP/AVP 8\na=rtpmap:8 PCMA/8000\n";
    both_say_the_same(&[
        case("strip", &sdp(MANY), codec(json!({"strip": ["G722", "G729"]}))),
        case(
            "strip all, offer some",
            &sdp(MANY),
            codec(json!({"strip": ["all"], "offer": ["PCMA", "opus"]})),
        ),
        case(
            "strip all, except some",
            &sdp(MANY),
            codec(json!({"strip": ["all"], "except": ["PCMA", "opus"]})),
        ),
        case("strip everything", &sdp(USUAL), codec(json!({"strip": ["all"]}))),
        case("transcode", &sdp(PLAIN), codec(json!({"transcode": ["PCMA"]})))
            .answered(&sdp_b(pcma), json!({})),
        case("transcode what is there", &sdp(USUAL), codec(json!({"transcode": ["PCMA"]}))),
        case("transcode to Opus", &sdp(USUAL), codec(json!({"transcode": ["opus"]}))),
        case("transcode to several", &sdp(PLAIN), codec(json!({"transcode": ["opus", "G722", "PCMA"]})))
            .answered(&sdp_b(pcma), json!({})),
        case("mask", &sdp(USUAL), codec(json!({"mask": ["PCMU"], "transcode": ["G722"]}))),
        case("mask all", &sdp(USUAL), codec(json!({"mask": ["all"], "transcode": ["PCMA"]})))
            .answered(&sdp_b(pcma), json!({})),
        case("consume", &sdp(USUAL), codec(json!({"consume": ["PCMU"]}))).answered(&sdp_b(pcma), json!({})),
        case("accept", &sdp(USUAL), codec(json!({"accept": ["PCMU"]}))).answered(&sdp_b(pcma), json!({})),
        case("one codec", &sdp(USUAL), json!({})).answered(&sdp_b(USUAL), json!({"flags": ["single-codec"]})),
        case("another time", &sdp(USUAL), json!({"ptime": 40})).answered(&sdp_b(USUAL), json!({"ptime": 30})),
    ]);
}

#[test]
fn what_is_stripped_and_said_of_addresses_looks_the_same() {
    let ice = "m=audio 4000 RTP/AVP 0\na=ice-ufrag:abcd\na=ice-pwd:0123456789012345678901\n\
               a=candidate:1 1 UDP 2130706431 IP2 4000 typ host\na=candidate:1 2 UDP 2130706430 IP2 4001 typ host\n";
    both_say_the_same(&[
        case("ICE removed", &sdp(ice), json!({})).answered(&sdp_b(PLAIN), json!({})),
        case("another side", &sdp(USUAL), json!({"direction": ["main", "outside"]}))
            .answered(&sdp_b(USUAL), json!({})),
        case("another address", &sdp(USUAL), json!({"media-address": "192.0.2.9"})),
        case("extensions", &sdp(&format!("{PLAIN}a=extmap:1 urn:x\n")), json!({"flags": ["strip-extmap"]})),
        case(
            "no address",
            "v=0\r\no=- 1 1 IN IP4 IP2\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n",
            json!({}),
        ),
    ]);
}
