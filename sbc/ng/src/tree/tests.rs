//! What is told of calls, against the layout of stock rtpengine 10.5 and the size of a datagram.

use super::*;
use crate::facts::testing::{WALL, party, two};
use base::Duration;
use command::report::Totals;
use command::{Party, PortIndex, Verdict};

fn now() -> Now {
    Now { mono: Instant(100_000_000_000), wall: WALL + Duration::from_secs(30) }
}

fn stream(ssrc: u32, packets: u64, mos: Option<f32>) -> StreamReport {
    StreamReport {
        ssrc,
        payload: 8,
        packets,
        lost: 5,
        jitter_mean: Duration::from_micros(5_900),
        jitter_max: Duration::from_millis(12),
        round_trip: Some(Duration::from_micros(43_210)),
        mos,
        last: Instant(98_000_000_000),
        ..StreamReport::default()
    }
}

fn port(number: u16, packets: u64, streams: Vec<StreamReport>) -> PortReport {
    PortReport {
        port: PortIndex(number),
        party: Party(number),
        local: "0.0.0.0:30000".parse().unwrap(),
        signalled: None,
        learned: Some(format!("198.51.100.{number}:5000").parse().unwrap()),
        moves: 0,
        received: Totals { packets, bytes: packets * 172 },
        sent: Totals::default(),
        rtcp_received: 3,
        rtcp_sent: 0,
        last_heard: Some(Instant(98_000_000_000)),
        dropped: vec![(Verdict::Malformed, 2)],
        foreign: None,
        kernel_drops: 0,
        voice: None,
        streams,
    }
}

fn ask<'a>(facts: &'a CallFacts, report: Option<&'a BridgeReport>) -> Query<'a> {
    Query { now: now(), facts, report, from_tag: None, to_tag: None, metadata: None, is_recorded: false }
}

fn at<'d>(dict: &'d Dict, path: &[&str]) -> &'d Value {
    let mut value = dict.get(path[0]).unwrap_or_else(|| panic!("no {}", path[0]));
    for step in &path[1..] {
        value = match step.parse::<usize>() {
            Ok(n) if value.as_list().is_some() => &value.as_list().unwrap()[n],
            _ => value.as_dict().unwrap().get(step).unwrap_or_else(|| panic!("no {step} of {path:?}")),
        };
    }
    value
}

fn keys(value: &Value) -> Vec<String> {
    let dict = value.as_dict().unwrap();
    dict.0.iter().map(|(key, _)| String::from_utf8(key.clone()).unwrap()).collect()
}

#[test]
fn a_query_has_the_layout_of_rtpengine() {
    let mut facts = two();
    facts.parties[0].label = Some(b"caller".to_vec());
    let report = BridgeReport {
        ports: vec![
            port(0, 254, vec![stream(4_369, 254, Some(4.14))]),
            port(1, 260, vec![stream(8_738, 260, Some(3.96))]),
        ],
    };
    let dict = query(&ask(&facts, Some(&report)));
    // As rtpengine 10.5.3.5 answered on the day of this test, with what it also says left out.
    let top = ["created", "created_us", "last signal", "SSRC", "tags", "totals"];
    assert_eq!(keys(&dict.clone().into()), top);
    assert_eq!(at(&dict, &["created"]), &Value::Int(1_795_284_266));
    assert_eq!(at(&dict, &["created_us"]), &Value::Int(588_971));
    let of_stream = ["packets", "cumulative loss", "average MOS", "lowest MOS", "highest MOS"];
    assert_eq!(keys(at(&dict, &["SSRC", "4369"])), of_stream);
    let average = ["MOS", "round-trip time", "round-trip time leg", "jitter", "packet loss", "samples"];
    assert_eq!(keys(at(&dict, &["SSRC", "4369", "average MOS"])), average);
    let lowest = at(&dict, &["SSRC", "8738", "lowest MOS"]);
    assert_eq!(keys(lowest).last().unwrap(), "reported at");
    let of = |name| at(&dict, &["SSRC", "4369", "average MOS", name]);
    assert_eq!((of("MOS"), of("round-trip time")), (&Value::Int(41), &Value::Int(43_210)));
    assert_eq!((of("jitter"), of("packet loss")), (&Value::Int(5), &Value::Int(1)));
    assert_eq!(at(&dict, &["SSRC", "8738", "lowest MOS", "MOS"]), &Value::Int(40));
    assert_eq!(at(&dict, &["SSRC", "8738", "lowest MOS", "jitter"]), &Value::Int(12));
    let tag = ["tag", "label", "created", "in dialogue with", "subscriptions", "subscribers", "medias"];
    assert_eq!(keys(at(&dict, &["tags", "A"])), tag);
    assert_eq!(at(&dict, &["tags", "A", "in dialogue with"]), &Value::text("B"));
    assert_eq!(at(&dict, &["tags", "A", "subscriptions", "0", "type"]), &Value::text("offer/answer"));
    let media = ["index", "type", "protocol", "codec", "streams", "flags"];
    assert_eq!(keys(at(&dict, &["tags", "A", "medias", "0"])), media);
    assert_eq!(at(&dict, &["tags", "A", "medias", "0", "codec"]), &Value::text("PCMA/8000"));
    assert_eq!(
        at(&dict, &["tags", "B", "medias", "0", "flags"]),
        &Value::texts(["initialized", "send", "recv"])
    );
    let rtp =
        ["local port", "local address", "family", "endpoint", "advertised endpoint", "last packet", "flags"];
    let rtp: Vec<&str> = rtp.into_iter().chain(["SSRC", "stats"]).collect();
    let streams = |n, key| at(&dict, &["tags", "A", "medias", "0", "streams", n, key]);
    assert_eq!(keys(at(&dict, &["tags", "A", "medias", "0", "streams", "0"])), rtp);
    assert_eq!(
        (streams("0", "local port"), streams("1", "local port")),
        (&Value::Int(30_000), &Value::Int(30_001))
    );
    assert_eq!(streams("0", "flags"), &Value::texts(["RTP", "filled", "confirmed"]));
    assert_eq!(streams("1", "flags"), &Value::texts(["RTCP", "filled", "confirmed"]));
    let endpoint = at(&dict, &["tags", "A", "medias", "0", "streams", "0", "endpoint"]);
    assert_eq!(endpoint, &Value::from(endpoint_dict(Some("198.51.100.0:5000".parse().unwrap()))));
    assert_eq!(keys(endpoint), ["family", "address", "port"]);
    assert_eq!(streams("0", "last packet"), &Value::Int(1_795_284_294));
    assert_eq!((streams("0", "SSRC"), streams("1", "SSRC")), (&Value::Int(4_369), &Value::Int(4_369)));
    assert_eq!(keys(streams("0", "stats")), ["packets", "bytes", "errors"]);
    assert_eq!(at(&dict, &["totals", "RTP"]), &Value::from(stats(514, 514 * 172, 4)));
    assert_eq!(at(&dict, &["totals", "RTCP", "packets"]), &Value::Int(6));
}

#[test]
fn a_call_without_media_is_told_of_and_one_tag_with_its_peer() {
    let mut facts = two();
    facts.parties.push(party(2, "C", &[]));
    facts.parties.push(party(3, "", &[2]));
    let dict = query(&ask(&facts, None));
    assert_eq!(keys(at(&dict, &["tags"])), ["A", "B", "C", "<untagged 3>"]);
    assert_eq!(at(&dict, &["SSRC"]), &Value::from(Dict::new()));
    assert_eq!(at(&dict, &["totals", "RTP", "packets"]), &Value::Int(0));
    assert_eq!(
        at(&dict, &["tags", "A", "medias", "0", "streams", "0", "last packet"]),
        &Value::Int(1_795_284_266)
    );
    let one = query(&Query { from_tag: Some(b"A"), ..ask(&facts, None) });
    assert_eq!(keys(at(&one, &["tags"])), ["A", "B"]);
    let to = query(&Query { from_tag: Some(b"A"), to_tag: Some(b"C"), ..ask(&facts, None) });
    assert_eq!(keys(at(&to, &["tags"])), ["C"]);
    let nobody = query(&Query { from_tag: Some(b"X"), ..ask(&facts, None) });
    assert_eq!(keys(at(&nobody, &["tags"])), Vec::<String>::new());
}

#[test]
fn rtcp_on_one_port_is_one_stream_and_what_is_on_is_flagged() {
    let mut facts = two();
    let state = facts.parties[0].lines[0].state.as_mut().unwrap();
    (state.mux, state.sends, state.is_sealed) = (RtcpMux::Muxed, false, true);
    facts.parties[1].role = Role::Publishes;
    let dict = query(&Query { metadata: Some(b"m"), is_recorded: true, ..ask(&facts, None) });
    assert_eq!(at(&dict, &["tags", "A", "medias", "0", "streams"]).as_list().unwrap().len(), 1);
    let flags = at(&dict, &["tags", "A", "medias", "0", "flags"]);
    assert_eq!(flags, &Value::texts(["initialized", "send", "rtcp-mux", "passthrough"]));
    assert_eq!(at(&dict, &["tags", "B", "medias", "0", "flags"]), &Value::texts(["initialized", "recv"]));
    assert_eq!(at(&dict, &["metadata"]), &Value::text("m"));
    assert_eq!(at(&dict, &["recording", "call recording"]), &Value::Int(1));
}

fn written(dict: &Dict) -> usize {
    fn write(value: &Value, out: &mut Vec<u8>) {
        match value {
            Value::Int(n) => out.extend(format!("i{n}e").bytes()),
            Value::Text(text) => {
                out.extend(format!("{}:", text.len()).bytes());
                out.extend(text);
            }
            Value::List(values) => {
                out.push(b'l');
                values.iter().for_each(|value| write(value, out));
                out.push(b'e');
            }
            Value::Dict(dict) => {
                out.push(b'd');
                for (key, value) in &dict.0 {
                    write(&Value::Text(key.clone()), out);
                    write(value, out);
                }
                out.push(b'e');
            }
        }
    }
    let mut out = Vec::new();
    write(&dict.clone().into(), &mut out);
    out.len()
}

#[test]
fn an_answer_fits_a_datagram_and_keeps_the_newest_streams_and_all_sums() {
    let facts = two();
    let streams = |from: u32| -> Vec<StreamReport> {
        let at = |n: u32| StreamReport { last: Instant(u64::from(n)), ..stream(n, 10, Some(4.0)) };
        (from..from + 200).map(at).collect()
    };
    let report = BridgeReport { ports: vec![port(0, 2_000, streams(1_000)), port(1, 3_000, streams(5_000))] };
    let dict = query(&ask(&facts, Some(&report)));
    let shown = keys(at(&dict, &["SSRC"]));
    assert!(shown.len() > 80 && shown.len() < 400, "{}", shown.len());
    assert!(shown.contains(&"5199".to_owned()) && !shown.contains(&"1000".to_owned()));
    let warning = format!("{} oldest SSRCs left out", 400 - shown.len());
    assert_eq!(at(&dict, &["warning"]), &Value::text(warning));
    assert_eq!(at(&dict, &["totals", "RTP", "packets"]), &Value::Int(5_000));
    let size = written(&dict);
    assert!(size < 60_000 && size > 45_000, "{size} bytes");

    let mut facts = two();
    facts.parties = (0..200).map(|n| party(n, &format!("tag-{n}"), &[0])).collect();
    let dict = query(&ask(&facts, None));
    assert!(written(&dict) < 60_000, "{} bytes", written(&dict));
    assert_eq!(keys(at(&dict, &["tags"])).len(), 200);
    assert!(matches!(at(&dict, &["warning"]), Value::Text(text) if text.starts_with(b"media of ")));
    assert!(at(&dict, &["tags", "tag-199"]).as_dict().unwrap().get("medias").is_some());
}

#[test]
fn the_estimate_of_a_size_is_never_below_it() {
    let facts = two();
    let report = BridgeReport { ports: vec![port(0, 1, vec![stream(1, 1, Some(1.0)), stream(2, 9, None)])] };
    let dict = query(&ask(&facts, Some(&report)));
    let (estimate, real) = (size_of(&dict), written(&dict));
    assert!(estimate >= real && estimate < real * 3 / 2, "{estimate} for {real}");
}

#[test]
fn calls_are_listed_up_to_the_limit() {
    let book = Book::default();
    let mut ids = ledger::CallIds::new(WALL, 0, 0);
    for n in 0..40 {
        book.begin(ids.mint(), format!("call-{n}").into_bytes().into());
    }
    let of = |limit| list(&book, limit).get("calls").unwrap().as_list().unwrap().len();
    assert_eq!((of(None), of(Some(2)), of(Some(0)), of(Some(u32::MAX))), (32, 2, 0, 40));
    let long = vec![b'x'; 1_000];
    (0..80).for_each(|_| book.begin(ids.mint(), long.clone().into()));
    let dict = list(&book, Some(1_000));
    assert!(written(&dict) < 60_000 && dict.get("warning").is_some());
}

#[test]
fn statistics_count_calls_and_requests() {
    let requests =
        [("offer", "ok", 5), ("offer", "bad_sdp", 1), ("start-recording", "ok", 2), ("ping", "pong", 3)];
    let requests = requests.map(|(command, result, n)| (vec![command.to_owned(), result.to_owned()], n));
    let totals = crate::book::Totals {
        now: 2,
        calls: 9,
        rejected: 1,
        ended: [3, 1, 1, 1, 1, 0],
        duration: Duration::from_secs(70),
        packets: 1_000,
        bytes: 172_000,
        errors: 4,
        silent: 1,
        one_way: 2,
    };
    let clients = [("192.0.2.1", "offer", "ok", 5), ("192.0.2.9", "offer", "error", 1)];
    let clients =
        clients.map(|(ip, command, result, n)| ([ip, command, result].map(str::to_owned).to_vec(), n));
    let clients = clients.to_vec();
    let figures =
        Figures { uptime: Duration::from_millis(18_900), totals, requests: requests.to_vec(), clients };
    let dict = statistics(&figures);
    let of = |part: &str, key: &str| at(&dict, &["statistics", part, key]).clone();
    assert_eq!(of("currentstatistics", "sessionstotal"), Value::Int(2));
    assert_eq!(of("totalstatistics", "uptime"), Value::text("18"));
    assert_eq!(of("totalstatistics", "managedsessions"), Value::Int(7));
    assert_eq!(of("totalstatistics", "forcedterminatedsessions"), Value::Int(2));
    assert_eq!(of("totalstatistics", "avgcallduration"), Value::text("10.000000"));
    assert_eq!(of("totalstatistics", "relayedpackets"), Value::Int(1_000));
    assert_eq!(of("intervalstatistics", "maxofferdelay"), Value::text("0.000000"));
    assert_eq!(of("controlstatistics", "totaloffercount"), Value::Int(6));
    assert_eq!(of("controlstatistics", "totalstartreccount"), Value::Int(2));
    assert_eq!(of("controlstatistics", "totalerrorcount"), Value::Int(1));
    let proxies = of("controlstatistics", "proxies");
    let client =
        |n: usize, key: &str| proxies.as_list().unwrap()[n].as_dict().unwrap().get(key).unwrap().clone();
    assert_eq!((client(0, "proxy"), client(0, "offercount")), (Value::text("192.0.2.1"), Value::Int(5)));
    assert_eq!((client(1, "proxy"), client(1, "errorcount")), (Value::text("192.0.2.9"), Value::Int(1)));
    for command in crate::request::Command::ALL {
        assert!(figures::COMMANDS.iter().any(|(name, _)| *name == command.name()), "{command:?} is counted");
    }
}
