//! What nobody should send: the right words come back, or nothing, and the media of a call that lives hears nothing of it.

use crate::stand::{Call, Pair, Ports, Proxy, audio, bencoded, packets, passes, scenarios};
use crate::support::softphone::sdp;
use serde_json::json;

scenarios! {
    broken_bencode_harms_nobody,
    broken_json_harms_nobody,
    an_sdp_that_lies_harms_nobody,
    requests_about_strangers_harm_nobody,
    more_requests_than_can_be_served_harm_no_media,
    ;
    only strowger:
    dictionaries_without_end_harm_nobody = "10.5 reads them by recursion and ends with SIGSEGV",
    thousands_of_formats_and_lines_harm_nobody = "10.5 ends with SIGABRT",
}

/// A call that lives while others misbehave.
struct Living {
    call: Call,
    pair: Pair,
    ports: Ports,
}

impl Living {
    fn new(proxy: &Proxy) -> Living {
        let (call, pair) = (proxy.call(), proxy.pair());
        let ports = call.connect(&pair);
        pair.talk(ports);
        Living { call, pair, ports }
    }

    /// Not one packet is lost or out of order.
    fn speaks(&self) {
        passes(&self.pair.a, self.ports.a, &self.pair.b, self.ports.b, 3);
        passes(&self.pair.b, self.ports.b, &self.pair.a, self.ports.a, 3);
    }

    fn ends(self) {
        let reply = self.call.delete();
        assert_eq!(reply["totals"]["RTP"]["errors"], 0, "{reply:#}");
    }
}

fn broken_bencode_harms_nobody(proxy: &Proxy) {
    let (living, ng) = (Living::new(proxy), proxy.ng());
    let mut whole = Vec::new();
    bencoded(&living.call.offering(&audio(living.pair.a.address()), &json!({}))).write(&mut whole);
    let deep = |open: &str, times: usize| open.repeat(times).into_bytes();
    let mut bodies = vec![
        deep("l", 10_000),
        deep("d1:a", 10_000),
        b"d999999999999999999:ae".to_vec(),
        b"d7:command1000000000000000000:pinge".to_vec(),
        b"d7:commandi99999999999999999999999999ee".to_vec(),
        b"di1e4:pinge".to_vec(),
        b"d7:command-1:pinge".to_vec(),
        b"d7:command".to_vec(),
        b"d".to_vec(),
        vec![0xff; 1_000],
        b"i1e".to_vec(),
        b"4:ping".to_vec(),
        b"d7:commandl4:pingee".to_vec(),
        b"d7:commandd4:ping0:ee".to_vec(),
        b"d7:command0:e".to_vec(),
    ];
    // An offer that ends too early, at every tenth octet.
    bodies.extend((0..whole.len()).step_by(10).map(|end| whole[..end].to_vec()));
    for (n, body) in bodies.iter().enumerate() {
        ng.send(&[format!("bad{n} ").as_bytes(), body].concat());
        living.speaks();
    }
    // Whatever comes back is a refusal.
    while let Some(reply) = ng.receive_within(std::time::Duration::from_millis(50)) {
        let text = String::from_utf8_lossy(&reply).into_owned();
        assert!(text.contains("6:result5:error"), "{text}");
    }
    ng.pings();
    living.ends();
}

fn dictionaries_without_end_harm_nobody(proxy: &Proxy) {
    let (living, ng) = (Living::new(proxy), proxy.ng());
    for (n, body) in [vec![b'd'; 60_000], vec![b'l'; 60_000], b"d0:".repeat(20_000)].iter().enumerate() {
        ng.send(&[format!("deep{n} ").as_bytes(), body].concat());
        living.speaks();
    }
    proxy.ng().pings();
    living.ends();
}

fn thousands_of_formats_and_lines_harm_nobody(proxy: &Proxy) {
    let living = Living::new(proxy);
    let at = living.pair.a.address();
    let formats = sdp(at, &format!("audio {{port}} RTP/AVP {}", "0 ".repeat(5_000)), &[]);
    for lie in [formats, audio(at) + &"m=audio 4000 RTP/AVP 0\r\n".repeat(500)] {
        let call = proxy.call();
        let reply = call.ng.ask(&call.offering(&lie, &json!({})));
        assert!(reply["result"].is_string(), "{reply:#}");
        living.speaks();
    }
    living.ends();
}

fn broken_json_harms_nobody(proxy: &Proxy) {
    let (living, ng) = (Living::new(proxy), proxy.ng());
    let bodies = [
        "{".to_owned(),
        "{\"command\": \"ping\"".to_owned(),
        "{\"command\": [\"ping\"]}".to_owned(),
        "{\"command\": {\"ping\": 1}}".to_owned(),
        "{\"command\": 7}".to_owned(),
        "{\"command\": null}".to_owned(),
        "{\"command\": \"offer\", \"call-id\": {\"a\": []}, \"from-tag\": [1, 2], \"sdp\": 5}".to_owned(),
        "{\"command\": \"offer\", \"call-id\": \"x\", \"from-tag\": \"y\", \"sdp\": [\"v=0\"], \"flags\": 5}"
            .to_owned(),
        "[".repeat(10_000),
        "{\"a\":".repeat(10_000),
        format!("{{\"command\": \"{}\"}}", "x".repeat(50_000)),
        "{\"command\": \"pi\\u0000ng\"}".to_owned(),
        "{\"command\": \"\\ud800\"}".to_owned(),
    ];
    for (n, body) in bodies.iter().enumerate() {
        ng.send(format!("bad{n} {body}").as_bytes());
        living.speaks();
    }
    while let Some(reply) = ng.receive_within(std::time::Duration::from_millis(50)) {
        let text = String::from_utf8_lossy(&reply).into_owned();
        assert!(text.contains("error"), "{text}");
    }
    ng.pings();
    living.ends();
}

fn an_sdp_that_lies_harms_nobody(proxy: &Proxy) {
    let living = Living::new(proxy);
    let good = audio(living.pair.a.address());
    let mut lies = vec![
        good.replace("m=audio", "m=audio 99999999999 m=audio"),
        good.replace("RTP/AVP", ""),
        good.replace("c=IN IP4", "c=IN IP9"),
        good.replace("c=IN IP4", "c=XX IP4"),
        good.replace("a=rtpmap:0 PCMU/8000", "a=rtpmap:999999 PCMU/0"),
        good.replace("a=rtpmap:0 PCMU/8000", "a=rtpmap:0 PCMU/99999999999999"),
        good.replace("a=rtpmap:0 PCMU/8000", "a=ptime:-5\r\na=rtcp:x\r\na=crypto:1\r\na=candidate:"),
        good.clone() + &"m=audio 4000 RTP/AVP 0\r\n".repeat(40),
        good.clone() + &"a=x\r\n".repeat(10_000),
        good.clone() + "a=" + &"x".repeat(40_000) + "\r\n",
        good.replace('\r', "").replace('\n', "\r"),
        "\r\n".repeat(1_000),
    ];
    lies.extend((0..good.len()).step_by(7).map(|end| good[..end].to_owned()));
    for sdp in &lies {
        let call = proxy.call();
        let reply = call.ng.ask(&call.offering(sdp, &json!({})));
        assert!(reply["result"] == "ok" || reply["result"] == "error", "{reply:#}");
        living.speaks();
        call.ng.ask(&call.request("delete", &json!({"from-tag": "a"})));
    }
    living.ends();
}

fn requests_about_strangers_harm_nobody(proxy: &Proxy) {
    let (living, ng) = (Living::new(proxy), proxy.ng());
    let commands = [
        "answer",
        "delete",
        "query",
        "start recording",
        "stop recording",
        "block DTMF",
        "unblock DTMF",
        "block media",
        "unblock media",
        "silence media",
        "unsilence media",
        "play media",
        "stop media",
        "play DTMF",
        "publish",
        "subscribe request",
        "subscribe answer",
        "unsubscribe",
    ];
    let sdp = audio(living.pair.b.address());
    for command in commands {
        for call in ["unknown", living.call.id.as_str()] {
            let reply = ng.ask(&json!({
                "command": command, "call-id": call, "from-tag": "stranger", "to-tag": "other", "sdp": sdp
            }));
            // Some make something new; none of them touches the parties that there are.
            assert!(reply["result"].is_string(), "{command}: {reply:#}");
            living.speaks();
        }
    }
    living.ends();
}

fn more_requests_than_can_be_served_harm_no_media(proxy: &Proxy) {
    let (living, ng) = (Living::new(proxy), proxy.ng());
    let offer = audio(living.pair.a.address());
    for burst in 0..40 {
        for n in 0..50 {
            let call = format!("flood-{burst}-{n}");
            let mut bytes = format!("{call} ").into_bytes();
            let request =
                json!({"command": "offer", "call-id": call, "from-tag": "a", "sdp": offer, "ICE": "remove"});
            bencoded(&request).write(&mut bytes);
            ng.send(&bytes);
        }
        // Ten packets each way while fifty requests are waiting.
        let (a, b) = (packets(&living.pair.a, 10), packets(&living.pair.b, 10));
        for (of_a, of_b) in a.iter().zip(&b) {
            living.pair.a.rtp.send(living.ports.a, of_a);
            living.pair.b.rtp.send(living.ports.b, of_b);
        }
        for (sent, ear) in [(&a, &living.pair.b), (&b, &living.pair.a)] {
            let mut heard: Vec<Vec<u8>> = sent.iter().map(|_| ear.rtp.receive().0).collect();
            // 10.5 changes their order when two of its threads are at it.
            if !proxy.is_ours() {
                heard.sort();
            }
            assert_eq!(&heard, sent);
        }
    }
    proxy.ng().pings();
    living.ends();
}
