//! What is told about calls: `query`, `list`, `statistics`, in the layout that Kamailio reads.

use crate::stand::{Pair, Proxy, audio, packets, scenarios, ssrc_of};
use crate::support::wire::Wire;
use serde_json::{Value as Json, json};
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

scenarios! {
    a_query_tells_parties_ports_and_counts,
    a_query_can_be_for_one_tag,
    a_list_names_the_calls,
    a_list_is_limited,
    statistics_count_calls_and_requests,
    the_score_of_speech_comes_from_reports,
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64
}

fn a_query_tells_parties_ports_and_counts(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let began = now();
    let ports = call.connect(&pair);
    pair.talk(ports);
    let reply = call.does("query", &json!({}));
    let created = reply["created"].as_i64().expect("a time");
    assert!((began..=now()).contains(&created), "{created}");
    let signal = reply["last signal"].as_i64().expect("a time");
    assert!((began..=now()).contains(&signal), "{signal}");
    let rtp = &reply["totals"]["RTP"];
    assert_eq!((&rtp["packets"], &rtp["bytes"], &rtp["errors"]), (&json!(20), &json!(20 * 172), &json!(0)));
    assert_eq!(reply["totals"]["RTCP"]["packets"], 0);
    let sides = [("a", "b", &pair.a, ports.a), ("b", "a", &pair.b, ports.b)];
    for (tag, other, wire, port) in sides {
        let party = &reply["tags"][tag];
        assert_eq!(party["tag"], tag, "{party:#}");
        // By either of the names that it has had.
        let with = [&party["in dialogue with"], &party["subscribers"][0]["tag"]];
        assert!(with.contains(&&json!(other)), "{party:#}");
        assert!(party["created"].as_i64().is_some_and(|at| at >= began), "{party:#}");
        let media = &party["medias"][0];
        assert_eq!(
            (&media["index"], &media["type"], &media["protocol"]),
            (&json!(1), &json!("audio"), &json!("RTP/AVP"))
        );
        let streams = media["streams"].as_array().expect("streams");
        assert_eq!(streams.len(), 2, "RTP and RTCP: {media:#}");
        let rtp = &streams[0];
        assert_eq!(rtp["local port"], port.port(), "{rtp:#}");
        assert_eq!(rtp["endpoint"], endpoint(wire.address()), "{rtp:#}");
        assert_eq!(rtp["advertised endpoint"], endpoint(wire.address()), "{rtp:#}");
        assert_eq!((&rtp["stats"]["packets"], &rtp["stats"]["bytes"]), (&json!(10), &json!(1720)), "{rtp:#}");
        assert!(rtp["last packet"].as_i64().is_some_and(|at| at >= began), "{rtp:#}");
        assert_eq!(rtp["SSRC"], ssrc_of(wire), "{rtp:#}");
        assert!(rtp["flags"].as_array().is_some_and(|flags| flags.contains(&json!("RTP"))), "{rtp:#}");
        assert_eq!(streams[1]["local port"], port.port() + 1);
        assert!(streams[1]["flags"].as_array().is_some_and(|f| f.contains(&json!("RTCP"))), "{media:#}");
    }
}

fn endpoint(address: SocketAddr) -> Json {
    json!({"family": "IPv4", "address": address.ip().to_string(), "port": address.port()})
}

fn a_query_can_be_for_one_tag(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    pair.talk(call.connect(&pair));
    let reply = call.does("query", &json!({"from-tag": "a"}));
    assert!(reply["tags"]["a"].is_object(), "{reply:#}");
    assert_eq!(reply["totals"]["RTP"]["packets"], 20, "{reply:#}");
}

fn a_list_names_the_calls(proxy: &Proxy) {
    let (one, two, pair) = (proxy.call(), proxy.call(), proxy.pair());
    assert_eq!(one.ng.does(&json!({"command": "list"}))["calls"], json!([]));
    one.connect(&pair);
    two.offer(&audio(pair.a.address()), &json!({}));
    let list = one.ng.does(&json!({"command": "list"}));
    let mut names: Vec<&str> =
        list["calls"].as_array().expect("a list").iter().filter_map(Json::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, [one.id.as_str(), two.id.as_str()]);
}

fn a_list_is_limited(proxy: &Proxy) {
    let pair = proxy.pair();
    for _ in 0..40 {
        proxy.call().offer(&audio(pair.a.address()), &json!({}));
    }
    let count = |more: Json| {
        let mut request = json!({"command": "list"});
        request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        proxy.ng().does(&request)["calls"].as_array().expect("a list").len()
    };
    assert_eq!(count(json!({})), 32, "so many by default");
    assert_eq!(count(json!({"limit": 7})), 7);
    assert_eq!(count(json!({"limit": "7"})), 7);
    assert_eq!(count(json!({"limit": 100})), 40);
}

fn statistics_count_calls_and_requests(proxy: &Proxy) {
    let (one, two, pair) = (proxy.call(), proxy.call(), proxy.pair());
    pair.talk(one.connect(&pair));
    two.connect(&pair);
    two.delete();
    let reply = one.ng.does(&json!({"command": "statistics"}));
    let all = &reply["statistics"];
    let number = |value: &Json| value.as_i64().or_else(|| value.as_str()?.parse().ok());
    assert_eq!(number(&all["currentstatistics"]["sessionsown"]), Some(1), "{all:#}");
    assert_eq!(number(&all["currentstatistics"]["sessionstotal"]), Some(1), "{all:#}");
    assert_eq!(number(&all["totalstatistics"]["managedsessions"]), Some(1), "calls that have ended: {all:#}");
    assert!(number(&all["totalstatistics"]["uptime"]).is_some(), "{all:#}");
    for (key, count) in [("totaloffercount", 2), ("totalanswercount", 2), ("totaldeletecount", 1)] {
        assert_eq!(number(&all["controlstatistics"][key]), Some(count), "{key} in {all:#}");
    }
    let client = &all["controlstatistics"]["proxies"][0];
    assert_eq!(number(&client["offercount"]), Some(2), "{client:#}");
    assert_eq!(client["proxy"], pair.a.address().ip().to_string());
}

/// A sender report of now, or a receiver report about `about` that answers it after `delay`.
fn report(of: &Wire, ntp: u64, about: Option<(&Wire, u64)>) -> Vec<u8> {
    let mut packet = vec![0x80 | u8::from(about.is_some()), 200, 0, if about.is_some() { 12 } else { 6 }];
    packet.extend(ssrc_of(of).to_be_bytes());
    packet.extend(ntp.to_be_bytes());
    packet.extend(16_000u32.to_be_bytes());
    packet.extend(10u32.to_be_bytes());
    packet.extend(1_600u32.to_be_bytes());
    if let Some((about, heard)) = about {
        packet.extend(ssrc_of(about).to_be_bytes());
        packet.extend([0, 0, 0, 0]); // nothing lost
        packet.extend(109u32.to_be_bytes());
        packet.extend(8u32.to_be_bytes()); // jitter: 1 ms of 8 kHz
        packet.extend((((heard >> 16) & 0xffff_ffff) as u32).to_be_bytes());
        packet.extend(1u32.to_be_bytes()); // hardly any time between
    }
    packet.extend([0x81, 202, 0, 3]);
    packet.extend(ssrc_of(of).to_be_bytes());
    packet.extend([1, 4, b't', b'e', b's', b't', 0, 0]);
    packet
}

fn the_score_of_speech_comes_from_reports(proxy: &Proxy) {
    let (call, pair) = (proxy.call(), proxy.pair());
    let to_b = call.offer(&audio(pair.a.address()), &json!({}));
    let to_a = call.answer(&audio(pair.b.address()), &json!({}));
    speak_with_reports(&pair, [to_a.media(0), to_b.media(0)], 4);
    let reply = call.does("query", &json!({}));
    let of_a = &reply["SSRC"][ssrc_of(&pair.a).to_string()];
    for kind in ["average MOS", "lowest MOS", "highest MOS"] {
        let score = &of_a[kind];
        let mos = score["MOS"].as_i64().unwrap_or_else(|| panic!("{kind} in {reply:#}"));
        assert!((40..=45).contains(&mos), "ten times the score: {score:#}");
        assert_eq!(score["packet loss"], 0, "{score:#}");
        assert!(score["jitter"].as_i64().is_some_and(|ms| ms <= 20), "{score:#}");
        assert!(score["round-trip time"].is_i64(), "{score:#}");
    }
    assert!(of_a["average MOS"]["samples"].as_i64().is_some_and(|n| n >= 1), "{of_a:#}");
    assert!(of_a["lowest MOS"]["reported at"].is_i64(), "{of_a:#}");
}

/// So many times twenty packets each way, and reports from which the way there and back can be told. RTCP is next to RTP.
pub fn speak_with_reports(pair: &Pair, [to_a, to_b]: [SocketAddr; 2], rounds: u64) {
    let next = |at: SocketAddr| SocketAddr::new(at.ip(), at.port() + 1);
    for round in 0..rounds {
        // At the pace of phones: jitter counts.
        let began = Instant::now();
        for (n, (of_a, of_b)) in packets(&pair.a, 20).iter().zip(packets(&pair.b, 20)).enumerate() {
            let due = Duration::from_millis(20) * n as u32;
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            pair.a.rtp.send(to_a, of_a);
            pair.b.rtp.send(to_b, &of_b);
            pair.b.rtp.receive();
            pair.a.rtp.receive();
        }
        let ntp = ((0xe000_0000 + round) << 32) | 0x1234_5678;
        // A report of each side, then an answer of the other that tells the time between: both halves of the way.
        pair.a.rtcp.send(next(to_a), &report(&pair.a, ntp, None));
        pair.b.rtcp.receive();
        pair.b.rtcp.send(next(to_b), &report(&pair.b, ntp + 1_000_000, Some((&pair.a, ntp))));
        pair.a.rtcp.receive();
        pair.a.rtcp.send(next(to_a), &report(&pair.a, ntp + 2_000_000, Some((&pair.b, ntp + 1_000_000))));
        pair.b.rtcp.receive();
    }
}
