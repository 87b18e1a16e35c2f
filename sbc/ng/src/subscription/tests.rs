//! Parties that only speak or only hear, beside two that talk.

use super::*;
use crate::facts::testing::{WALL, spec, two};
use crate::options::{All, CodecName, Learning, SourceOptions};
use command::{Learn, Transform};
use proptest::prelude::{any, proptest};
use sdp::crypto::KeySource;
use std::sync::Arc;

const MAKEABLE: [Makeable; 3] = [
    Makeable { name: "PCMU", clock: 8_000, channels: 1, fmtp: "", number: 0, ptimes: &[20] },
    Makeable { name: "PCMA", clock: 8_000, channels: 1, fmtp: "", number: 8, ptimes: &[20] },
    Makeable { name: "opus", clock: 48_000, channels: 2, fmtp: "", number: 96, ptimes: &[20] },
];

struct World {
    subscriptions: Subscriptions,
    facts: CallFacts,
    parties: u16,
    ports: u16,
    rng: Rng,
}

impl World {
    /// A and B talk with each other.
    fn new() -> World {
        World {
            subscriptions: Subscriptions::default(),
            facts: two(),
            parties: 2,
            ports: 2,
            rng: Rng::from_seed(1),
        }
    }

    fn facts(&self) -> CallFacts {
        let mut facts = self.facts.clone();
        facts.parties.extend(self.subscriptions.parties());
        facts
    }

    fn ask(&mut self, request: &Request) -> Result<Dict, Failure> {
        let facts = self.facts();
        let wanted = self.subscriptions.ports_wanted(request, &facts)?;
        let opened: Vec<OpenLine> = (0..wanted).map(|_| self.open()).collect();
        let parties = &mut self.parties;
        let mut new_party = || {
            *parties += 1;
            Party(*parties - 1)
        };
        let makeable: Arc<[Makeable]> = Arc::new(MAKEABLE);
        let mut new_exchange =
            || Exchange::new(Arc::clone(&makeable), KeySource::from_seed([7; 32]), 0x1234_5678);
        let said = |party: Party| {
            let (address, port) = [("192.0.2.1", 40_000), ("192.0.2.2", 40_000)][usize::from(party.0)];
            Some(sdp(address, port, "sendrecv").into_bytes())
        };
        let mut helper = Helper {
            wall: WALL,
            new_party: &mut new_party,
            new_exchange: &mut new_exchange,
            rng: &mut self.rng,
            said: &said,
            makeable: &MAKEABLE,
        };
        self.subscriptions.handle(request, &facts, &opened, &mut helper)
    }

    fn open(&mut self) -> OpenLine {
        self.ports += 1;
        let port = 30_000 + (self.ports - 1) * 2;
        OpenLine {
            port: PortIndex(self.ports - 1),
            local: SocketAddr::new("127.0.0.1".parse().unwrap(), port),
            place: Place { address: "198.51.100.1".parse().unwrap(), port },
            dscp: 46,
        }
    }

    fn spec(&self) -> BridgeSpec {
        let mut spec = spec(&self.facts);
        self.subscriptions.apply(SourceRule::Locked, None, &mut spec);
        spec
    }

    fn ways(&self) -> Vec<(u16, u16)> {
        self.spec().edges.iter().map(|edge| (edge.from.0, edge.to.0)).collect()
    }
}

fn sdp(address: &str, port: u16, direction: &str) -> String {
    format!(
        "v=0\r\no=peer 1 1 IN IP4 {address}\r\ns=call\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {port} RTP/AVP 0 8 101\r\n\
         a=rtpmap:101 telephone-event/8000\r\na={direction}\r\na=candidate:1 1 UDP 1 {address} {port} typ host\r\n"
    )
}

fn request(command: Command) -> Request {
    Request {
        command,
        call_id: Some(b"call".to_vec()),
        from_tag: None,
        to_tag: None,
        via_branch: None,
        sdp: None,
        options: Options::default(),
        unknown: Vec::new(),
    }
}

fn subscribe(from: &str, to: &str) -> Request {
    Request {
        from_tag: Some(from.as_bytes().to_vec()),
        to_tag: (!to.is_empty()).then(|| to.as_bytes().to_vec()),
        ..request(Command::SubscribeRequest)
    }
}

fn answer(to: &str, sdp: &str) -> Request {
    Request {
        to_tag: Some(to.as_bytes().to_vec()),
        sdp: Some(sdp.as_bytes().to_vec()),
        ..request(Command::SubscribeAnswer)
    }
}

fn publish(tag: &str, sdp: &str) -> Request {
    Request {
        from_tag: Some(tag.as_bytes().to_vec()),
        sdp: Some(sdp.as_bytes().to_vec()),
        ..request(Command::Publish)
    }
}

#[track_caller]
fn text(dict: &Dict, key: &str) -> String {
    String::from_utf8(dict.get(key).expect(key).as_text().unwrap().to_vec()).unwrap()
}

#[track_caller]
fn has(sdp: &str, lines: &[&str]) {
    let found: Vec<&str> = sdp.lines().collect();
    for line in lines {
        assert!(found.contains(line), "no {line} in\n{sdp}");
    }
}

#[test]
fn who_subscribes_is_offered_what_the_party_says_and_hears_it_after_the_answer() {
    let mut world = World::new();
    let reply = world.ask(&subscribe("A", "S")).unwrap();
    let keys: Vec<&[u8]> = reply.0.iter().map(|(key, _)| &key[..]).collect();
    assert_eq!(keys, [&b"sdp"[..], b"from-tag", b"from-tags", b"tag-medias", b"to-tag"]);
    assert_eq!((text(&reply, "from-tag"), text(&reply, "to-tag")), ("A".into(), "S".into()));
    assert_eq!(reply.get("from-tags"), Some(&Value::texts(["A"])));
    let media = Dict::new().with("index", Value::Int(1)).with("type", Value::text("audio"));
    let media = Value::from(media.with("mode", Value::text("sendrecv")));
    let of_tag = Dict::new().with("tag", Value::text("A")).with("medias", Value::List(vec![media]));
    assert_eq!(reply.get("tag-medias"), Some(&Value::List(vec![of_tag.into()])));
    let offered = text(&reply, "sdp");
    has(&offered, &["o=peer 1 1 IN IP4 192.0.2.1", "s=call", "m=audio 30004 RTP/AVP 0 8 101", "a=sendonly"]);
    has(&offered, &["c=IN IP4 198.51.100.1", "a=rtpmap:101 telephone-event/8000", "a=rtcp:30005"]);
    assert!(!offered.contains("candidate") && !offered.contains("sendrecv"), "{offered}");
    assert_eq!(world.ways(), [(0, 1), (1, 0)], "nobody is heard before the answer");
    world.ask(&answer("S", &sdp("203.0.113.9", 5_000, "recvonly"))).unwrap();
    assert_eq!(world.ways(), [(0, 1), (1, 0), (0, 2)]);
    let spec = world.spec();
    let port = spec.ports.iter().find(|port| port.port == PortIndex(2)).unwrap();
    let remote = &port.remotes[0];
    assert_eq!(remote.rtp, Some("203.0.113.9:5000".parse().unwrap()));
    assert_eq!((remote.sends, remote.receives, port.dscp), (false, true, 46));
    assert_eq!(spec.edges[2].transform, Transform::Relay { payload_map: Vec::new(), rewrite: None });
    let party = world.facts().parties.pop().unwrap();
    assert_eq!((party.role, party.sources, party.lines.len()), (Role::Subscribes, vec![Party(0)], 1));
    // It ends.
    let unsubscribe = |tag: &str| Request { to_tag: Some(tag.into()), ..request(Command::Unsubscribe) };
    assert_eq!(world.ask(&unsubscribe("X")), Err(Failure::Media("To-tag not found")));
    assert_eq!(world.ask(&unsubscribe("S")), Ok(Dict::new()));
    assert_eq!((world.ways(), world.subscriptions.is_empty()), (vec![(0, 1), (1, 0)], true));
}

#[test]
fn all_parties_are_heard_line_by_line() {
    let mut world = World::new();
    let mut all = subscribe("", "");
    all.from_tag = None;
    all.options.selector.all = Some(All::All);
    let reply = world.ask(&all).unwrap();
    let tag = text(&reply, "to-tag");
    assert_eq!((tag.len(), reply.get("from-tag")), (32, None));
    assert_eq!(reply.get("from-tags"), Some(&Value::texts(["A", "B"])));
    let offered = text(&reply, "sdp");
    has(&offered, &["m=audio 30004 RTP/AVP 0 8 101", "m=audio 30006 RTP/AVP 0 8 101"]);
    assert!(offered.contains("s=strowger"), "{offered}");
    // The second line is refused.
    let both = sdp("203.0.113.9", 5_000, "recvonly") + "m=audio 0 RTP/AVP 0\r\n";
    world.ask(&answer(&tag, &both)).unwrap();
    assert_eq!(world.ways(), [(0, 1), (1, 0), (0, 2)]);
    let both = sdp("203.0.113.9", 5_000, "recvonly") + "m=audio 5002 RTP/AVP 8\r\na=recvonly\r\n";
    world.ask(&answer(&tag, &both)).unwrap();
    assert_eq!(world.ways(), [(0, 1), (1, 0), (0, 2), (1, 3)]);
    // The next one is no source of the one after it, and tags make the same.
    let mut list = subscribe("", "T");
    list.from_tag = None;
    list.options.selector.from_tags = vec![b"B".to_vec(), b"A".to_vec(), b"nobody".to_vec()];
    let reply = world.ask(&list).unwrap();
    assert_eq!(reply.get("from-tags"), Some(&Value::texts(["B", "A"])));
    let mut all = Request { from_tag: None, ..subscribe("", "U") };
    all.options.selector.all = Some(All::All);
    assert_eq!(world.ask(&all).unwrap().get("from-tags"), Some(&Value::texts(["A", "B"])));
}

#[test]
fn what_the_hearer_cannot_hear_is_converted() {
    let mut world = World::new();
    let mut ask = subscribe("A", "S");
    ask.options.codec.transcode = vec![CodecName {
        name: "opus".into(),
        clock: Some(48_000),
        channels: Some(2),
        ..CodecName::default()
    }];
    let offered = text(&world.ask(&ask).unwrap(), "sdp");
    assert!(offered.contains("opus/48000/2"), "{offered}");
    let number = offered.lines().find(|line| line.contains("opus/")).unwrap();
    let number = &number["a=rtpmap:".len()..number.find(' ').unwrap()];
    let only = format!(
        "v=0\r\no=s 1 1 IN IP4 203.0.113.9\r\ns=-\r\nc=IN IP4 203.0.113.9\r\nt=0 0\r\n\
         m=audio 5000 RTP/AVP {number}\r\na=rtpmap:{number} opus/48000/2\r\na=recvonly\r\n"
    );
    world.ask(&answer("S", &only)).unwrap();
    let edges = world.spec().edges;
    assert!(matches!(edges[2].transform, Transform::Transcode { ptime_ms: 20, .. }), "{:?}", edges[2]);
}

#[test]
fn a_subscription_may_be_encrypted_and_go_both_ways() {
    let mut world = World::new();
    let mut ask = subscribe("A", "S");
    ask.options.transport = Some(Transport::Rtp { secure: true, feedback: false });
    ask.options.selector.bidirectional = true;
    let offered = text(&world.ask(&ask).unwrap(), "sdp");
    has(&offered, &["m=audio 30004 RTP/SAVP 0 8 101", "a=sendrecv"]);
    let crypto = offered.lines().find(|line| line.starts_with("a=crypto:1 ")).unwrap();
    let answered = sdp("203.0.113.9", 5_000, "sendrecv").replace("RTP/AVP", "RTP/SAVP") + crypto + "\r\n";
    world.ask(&answer("S", &answered)).unwrap();
    assert_eq!(world.ways(), [(0, 1), (1, 0), (0, 2), (2, 0)]);
    let spec = world.spec();
    let port = spec.ports.iter().find(|port| port.port == PortIndex(2)).unwrap();
    assert!(port.secure.is_some() && port.remotes[0].keys.is_some());
}

#[test]
fn a_subscription_that_is_asked_for_again_begins_anew_on_its_ports() {
    let mut world = World::new();
    world.ask(&subscribe("A", "S")).unwrap();
    world.ask(&answer("S", &sdp("203.0.113.9", 5_000, "recvonly"))).unwrap();
    assert_eq!(world.subscriptions.ports_wanted(&subscribe("B", "S"), &world.facts()), Ok(0));
    let reply = world.ask(&subscribe("B", "S")).unwrap();
    has(&text(&reply, "sdp"), &["m=audio 30004 RTP/AVP 0 8 101", "o=peer 1 1 IN IP4 192.0.2.2"]);
    assert_eq!(world.ways(), [(0, 1), (1, 0)]);
    world.ask(&answer("S", &sdp("203.0.113.9", 5_000, "recvonly"))).unwrap();
    assert_eq!(world.ways(), [(0, 1), (1, 0), (1, 2)]);
}

#[test]
fn what_is_published_is_heard_by_those_who_subscribe() {
    let mut world = World::new();
    world.facts.parties.clear();
    let reply = world.ask(&publish("P", &sdp("192.0.2.7", 41_000, "sendonly"))).unwrap();
    let keys: Vec<&[u8]> = reply.0.iter().map(|(key, _)| &key[..]).collect();
    assert_eq!(keys, [&b"call-id"[..], b"from-tag", b"sdp"]);
    let told = text(&reply, "sdp");
    has(&told, &["m=audio 30004 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=recvonly", "a=rtcp:30005"]);
    let before = world.spec();
    assert_eq!((before.phase, before.ports.len(), before.edges.len()), (Phase::Active, 1, 0));
    assert_eq!(before.ports[0].payloads.iter().map(|payload| payload.number).collect::<Vec<_>>(), [0]);
    assert!(before.ports[0].remotes[0].sends && !before.ports[0].remotes[0].receives);
    let reply = world.ask(&subscribe("P", "S")).unwrap();
    has(&text(&reply, "sdp"), &["m=audio 30006 RTP/AVP 0 8 101", "a=sendonly"]);
    let mut all = Request { from_tag: None, ..subscribe("", "T") };
    all.options.selector.all = Some(All::All);
    assert_eq!(
        world.ask(&all),
        Err(Failure::Media("No call participant specified")),
        "of offers and answers"
    );
    world.ask(&answer("S", &sdp("203.0.113.9", 5_000, "recvonly"))).unwrap();
    assert_eq!(world.ways(), [(2, 3)]);
    // Its address moves.
    world.ask(&publish("P", &sdp("192.0.2.8", 41_000, "sendonly"))).unwrap();
    let moved = world.spec().ports.into_iter().find(|port| port.port == PortIndex(2)).unwrap();
    assert_eq!(moved.remotes[0].rtp, Some("192.0.2.8:41000".parse().unwrap()));
    assert_eq!(world.subscriptions.delete(b"P"), Some(Party(2)));
    assert_eq!((world.ways(), world.subscriptions.delete(b"P")), (vec![], None));
}

#[test]
fn a_publisher_is_answered_with_the_codec_that_is_wanted() {
    let of = |accept: &[&str], formats: &str| {
        let mut world = World::new();
        let offer = sdp("192.0.2.7", 41_000, "sendonly").replace("0 8 101", formats);
        let mut publish = publish("P", &offer);
        let name = |name: &&str| CodecName { name: (*name).into(), ..CodecName::default() };
        publish.options.codec.accept = accept.iter().map(name).collect();
        let told = text(&world.ask(&publish)?, "sdp");
        Ok::<_, Failure>(told.lines().find(|line| line.starts_with("m=")).unwrap().to_owned())
    };
    assert_eq!(of(&["PCMA"], "0 8 101"), Ok("m=audio 30004 RTP/AVP 8".into()));
    assert_eq!(of(&["all"], "0 8 18 101"), Ok("m=audio 30004 RTP/AVP 0 8 101".into()));
    assert_eq!(of(&["any"], "18 0 101"), Ok("m=audio 30004 RTP/AVP 18".into()));
    assert_eq!(of(&[], "18 8 101"), Ok("m=audio 30004 RTP/AVP 8".into()));
    assert_eq!(of(&[], "18 101"), Err(Failure::NoCodecs));
}

#[test]
fn a_publisher_may_encrypt() {
    let mut world = World::new();
    let key = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";
    let offer = sdp("192.0.2.7", 41_000, "sendonly").replace("RTP/AVP", "RTP/SAVP") + key;
    let told = text(&world.ask(&publish("P", &offer)).unwrap(), "sdp");
    has(&told, &["m=audio 30004 RTP/SAVP 0", "a=recvonly"]);
    assert!(told.contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80"), "{told}");
    let port = world.spec().ports.pop().unwrap();
    assert!(port.secure.is_some() && port.remotes[0].keys.is_some());
}

#[test]
fn sources_of_a_publication_are_learned_as_those_of_calls_are() {
    let off = Some(Learning::Off);
    for (learning, strict, handover, expected) in [
        (None, false, false, Learn::Window),
        (None, true, false, Learn::Window),
        (None, false, true, Learn::Handover),
        (off, false, true, Learn::Signalled),
        (off, true, false, Learn::Strict),
    ] {
        let mut world = World::new();
        let source = SourceOptions { learning, strict, handover, ..SourceOptions::default() };
        let publish = publish("P", &sdp("192.0.2.9", 40_000, "sendonly"));
        world.ask(&Request { options: Options { source, ..Options::default() }, ..publish }).unwrap();
        assert_eq!(world.spec().ports.last().unwrap().learn, expected, "{source:?}");
    }
}

#[test]
fn what_cannot_be_heard_is_refused_and_changes_nothing() {
    let mut world = World::new();
    let none = Failure::Media("No call participant specified");
    assert_eq!(world.ask(&Request { from_tag: None, ..subscribe("", "S") }), Err(none));
    let unknown = Failure::Media("From-tag given, but no such tag exists");
    assert_eq!(world.ask(&subscribe("X", "S")), Err(unknown));
    let talks = Failure::Media("The to-tag is that of a party that does not only subscribe");
    assert_eq!(world.ask(&subscribe("A", "B")), Err(talks));
    let talks = Failure::Media("The from-tag is that of a party that does not only publish");
    assert_eq!(world.ask(&publish("A", &sdp("192.0.2.7", 41_000, "sendonly"))), Err(talks));
    assert_eq!(world.ask(&publish("P", "v=1\r\n")), Err(Failure::BadSdp));
    assert_eq!(world.ask(&answer("S", "v=0\r\n")), Err(Failure::Media("To-tag not found")));
    assert_eq!(world.ask(&Request { to_tag: None, ..answer("", "x") }), Err(Failure::NoToTag));
    world.facts.parties[0].lines[0].state.as_mut().unwrap().is_sealed = true;
    let sealed = Failure::Media("Media whose keys pass through cannot be subscribed to");
    assert_eq!(world.ask(&subscribe("A", "S")), Err(sealed));
    assert!(world.subscriptions.is_empty());
    world.ask(&subscribe("B", "S")).unwrap();
    assert_eq!(world.ask(&answer("S", "v=1\r\n")), Err(Failure::BadSdp));
    assert_eq!(world.ways(), [(0, 1), (1, 0)]);
}

#[test]
fn parties_that_only_hear_are_bounded() {
    let mut world = World::new();
    for n in 0..WATCHED_MAX {
        world.ask(&subscribe("A", &format!("S{n}"))).unwrap();
    }
    let many = Failure::Media("Too many publications and subscriptions in one call");
    assert_eq!(world.ask(&subscribe("A", "more")), Err(many));
    world.ask(&subscribe("A", "S1")).unwrap();
}

proptest! {
    /// Descriptions with lines cut, doubled and overwritten.
    #[test]
    fn any_description_is_survived(
        edits in proptest::collection::vec((any::<usize>(), any::<u8>(), 0..4_u8), 0..12),
        lines in 1..40_usize,
    ) {
        let mut text = Vec::new();
        for n in 0..lines {
            let port = 4_000 + n * 2;
            text.extend(format!("m=audio {port} RTP/SAVP 0 8\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 \
                                 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\na=mid:{n}\r\n").bytes());
        }
        let mut text = [sdp("192.0.2.7", 41_000, "sendonly").as_bytes(), &text].concat();
        for (at, byte, how) in edits {
            if text.len() < 2 {
                break;
            }
            let at = at % text.len();
            match how {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                2 => _ = text.remove(at),
                _ => text.truncate(at.max(1)),
            }
        }
        fuzz(&text);
    }
}
