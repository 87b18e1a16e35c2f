//! SRTP by SDES, ended here (media.md, "SRTP by SDES").

use crate::world::*;
use command::spec::Secure;
use command::{BridgeSpec, Learn, RemoteTag, SdesKeys, Suite, Verdict};
use media::srtp::{Opener, Sealer};
use media::wire::rtp::Header;

const OURS: u8 = 1;
const THEIRS: u8 = 101;

/// B's media is encrypted: our key, and its.
fn seal(spec: &mut BridgeSpec, ours: SdesKeys, theirs: Option<SdesKeys>) {
    spec.ports[1].secure = Some(Secure::Sdes(ours));
    spec.ports[1].remotes[0].keys = theirs;
}

/// B, with its own end of the encryption.
struct Peer {
    sealer: Sealer,
    opener: Opener,
}

impl Peer {
    fn new(suite: Suite) -> Self {
        Peer {
            sealer: Sealer::new(&keys(suite, THEIRS)).unwrap(),
            opener: Opener::new(&keys(suite, OURS)).unwrap(),
        }
    }

    fn seal(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut buffer = [0; 2048];
        buffer[..packet.len()].copy_from_slice(packet);
        let len = if (192..=223).contains(&packet[1]) {
            self.sealer.seal_rtcp(&mut buffer, packet.len())
        } else {
            self.sealer.seal_rtp(&mut buffer, packet.len())
        };
        buffer[..len.unwrap()].to_vec()
    }

    fn open(&mut self, packet: &[u8]) -> Result<Vec<u8>, Verdict> {
        let mut packet = packet.to_vec();
        let len = if (192..=223).contains(&packet[1]) {
            self.opener.open_rtcp(&mut packet)?
        } else {
            self.opener.open_rtp(&mut packet)?
        };
        packet.truncate(len);
        Ok(packet)
    }
}

/// A relayed call whose B is encrypted.
fn call(suite: Suite) -> (World, Peer, Talker, Talker) {
    let world = World::with(&[pcmu()], &[pcmu()], |spec| {
        seal(spec, keys(suite, OURS), Some(keys(suite, THEIRS)));
    });
    (world, Peer::new(suite), Talker::a(&pcmu(), 20), Talker::b(&pcmu(), 20))
}

#[test]
fn every_suite_is_sealed_towards_the_peer_and_opened_from_it() {
    for suite in Suite::ALL {
        let (mut world, mut peer, mut a, mut b) = call(suite);
        for _ in 0..100 {
            let (from_a, from_b) = (a.speak(), b.speak());
            assert_eq!(world.send(A_RTP, A, &from_a), Ok(true));
            let sealed = world.raw(B_RTP).pop().unwrap().bytes;
            assert!(sealed.len() > from_a.len() && sealed[12..40] != from_a[12..40], "{suite:?}");
            assert_eq!(peer.open(&sealed), Ok(from_a), "{suite:?}");
            let sealed = peer.seal(&from_b);
            assert_eq!(world.send(B_RTP, B, &sealed), Ok(true));
            assert_eq!(world.raw(A_RTP).pop().unwrap().bytes, from_b, "{suite:?}");
            world.wait(20);
        }
        // RTCP as well.
        let report = rtcp(0x80, 201, &[a.header.ssrc]);
        assert_eq!(world.send(A_RTCP, A_CONTROL, &report), Ok(true));
        let sealed = world.raw(B_RTCP).pop().unwrap().bytes;
        assert_eq!(peer.open(&sealed), Ok(report), "{suite:?}");
        let report = rtcp(0x80, 201, &[b.header.ssrc]);
        let sealed = peer.seal(&report);
        assert_eq!(world.send(B_RTCP, B_CONTROL, &sealed), Ok(true));
        assert_eq!(world.raw(A_RTCP).pop().unwrap().bytes, report, "{suite:?}");
        assert_eq!((world.drops(0), world.drops(1)), (vec![], vec![]));
        // What went out is counted as it went out.
        assert!(world.port(1).sent.bytes > world.port(0).received.bytes);
    }
}

#[test]
fn a_transcoded_call_is_encrypted_on_one_side_with_its_reports() {
    for suite in Suite::ALL {
        let mut world = World::call(&[pcmu()], 20, &[opus()], 20);
        let mut peer = Peer::new(suite);
        world.set(|spec| seal(spec, keys(suite, OURS), Some(keys(suite, THEIRS))));
        let (mut a, mut b) = (Talker::a(&pcmu(), 20), Talker::b(&opus(), 20));
        for _ in 0..500 {
            let (from_a, from_b) = (a.speak(), peer.seal(&b.speak()));
            world.send(A_RTP, A, &from_a).unwrap();
            world.send(B_RTP, B, &from_b).unwrap();
            world.wait(20);
        }
        let opened: Vec<Heard> = world
            .raw(B_RTP)
            .into_iter()
            .map(|sent| {
                let clear = peer.open(&sent.bytes).unwrap();
                let rtp = media::wire::rtp::Rtp::parse(&clear).unwrap();
                Heard { at: sent.at, header: rtp.header(), payload: rtp.payload().to_vec() }
            })
            .collect();
        assert!(opened[0].header.sequence <= 0x8000);
        assert_steps(&opened, 960);
        let (pcm, rate) = listen(&opus(), &opened);
        assert!((frequency(&pcm[12_000..], rate) - 440.0).abs() < 5.0, "{suite:?}");
        let (pcm, rate) = listen(&pcmu(), &world.heard(A_RTP));
        assert!((frequency(&pcm[2_000..], rate) - 440.0).abs() < 5.0, "{suite:?}");
        let reports = world.raw(B_RTCP);
        assert!(!reports.is_empty());
        for report in reports {
            let clear = peer.open(&report.bytes).unwrap();
            assert_eq!(Told::of(report.at, &clear).sender, opened[0].header.ssrc);
        }
    }
}

#[test]
fn the_key_identifier_is_sent_and_wanted() {
    let with_mki = |fill| SdesKeys { mki: vec![0, 0, 7], ..keys(Suite::AesCm128Sha1_80, fill) };
    let (mut world, _, mut a, mut b) = call(Suite::AesCm128Sha1_80);
    world.set(|spec| seal(spec, with_mki(OURS), Some(with_mki(THEIRS))));
    let mut peer = Peer {
        sealer: Sealer::new(&with_mki(THEIRS)).unwrap(),
        opener: Opener::new(&with_mki(OURS)).unwrap(),
    };
    let packet = a.speak();
    world.send(A_RTP, A, &packet).unwrap();
    let sealed = world.raw(B_RTP).pop().unwrap().bytes;
    assert_eq!(sealed.len(), packet.len() + 3 + 10);
    assert_eq!(peer.open(&sealed), Ok(packet));
    let packet = b.speak();
    let sealed = peer.seal(&packet);
    assert_eq!(world.send(B_RTP, B, &sealed), Ok(true));
    let mut other = peer.seal(&b.speak());
    let at = other.len() - 11;
    other[at] = 9;
    assert_eq!(world.send(B_RTP, B, &other), Err(Verdict::NoKey));
}

#[test]
fn before_the_peers_key_has_come_its_packets_are_dropped_and_ours_are_sealed() {
    let suite = Suite::AeadAes128Gcm;
    let (mut world, mut peer, mut a, mut b) = call(suite);
    world.set(|spec| seal(spec, keys(suite, OURS), None));
    let sealed = peer.seal(&b.speak());
    assert_eq!(world.send(B_RTP, B, &sealed), Err(Verdict::NoKey));
    let packet = a.speak();
    assert_eq!(world.send(A_RTP, A, &packet), Ok(true));
    let sealed = world.raw(B_RTP).pop().unwrap().bytes;
    assert_eq!(peer.open(&sealed), Ok(packet));
    let report = peer.seal(&rtcp(0x80, 201, &[b.header.ssrc]));
    assert_eq!(world.send(B_RTCP, B_CONTROL, &report), Err(Verdict::NoKey));
    assert_eq!(world.drops(1), [(Verdict::NoKey, 2)]);
    assert_eq!((world.port(1).learned, world.port(1).received.packets), (None, 0));
    world.set(|spec| seal(spec, keys(suite, OURS), Some(keys(suite, THEIRS))));
    let sealed = peer.seal(&b.speak());
    assert_eq!(world.send(B_RTP, B, &sealed), Ok(true));
}

#[test]
fn what_does_not_authenticate_is_counted_and_teaches_nothing() {
    let (mut world, mut peer, mut a, mut b) = call(Suite::AesCm256Sha1_80);
    // Plain RTP, a bad tag, another's key; from the right place and from a stranger.
    let plain = b.speak();
    let mut bad = peer.seal(&b.speak());
    *bad.last_mut().unwrap() ^= 1;
    let mut stranger = Sealer::new(&keys(Suite::AesCm256Sha1_80, 55)).unwrap();
    let mut foreign = [0; 2048];
    let packet = b.speak();
    foreign[..packet.len()].copy_from_slice(&packet);
    let len = stranger.seal_rtp(&mut foreign, packet.len()).unwrap();
    for source in [B, STRANGER] {
        for bytes in [&plain, &bad, &foreign[..len].to_vec()] {
            for _ in 0..10 {
                assert_eq!(world.send(B_RTP, source, bytes), Err(Verdict::AuthFailed));
            }
        }
    }
    assert_eq!(world.drops(1), [(Verdict::AuthFailed, 60)]);
    let port = world.port(1);
    assert_eq!(
        (port.learned, port.received.packets, port.streams.len(), port.last_heard),
        (None, 0, 0, None)
    );
    let mut report = peer.seal(&rtcp(0x80, 201, &[b.header.ssrc]));
    report[9] ^= 1;
    assert_eq!(world.send(B_RTCP, B_CONTROL, &report), Err(Verdict::AuthFailed));
    // The others go on.
    let sealed = peer.seal(&b.speak());
    assert_eq!(world.send(B_RTP, B, &sealed), Ok(true));
    let packet = a.speak();
    assert_eq!(world.send(A_RTP, A, &packet), Ok(true));
}

#[test]
fn a_replay_is_dropped_and_counted() {
    let (mut world, mut peer, _, mut b) = call(Suite::AeadAes256Gcm);
    let sealed: Vec<Vec<u8>> = (0..5).map(|_| peer.seal(&b.speak())).collect();
    for packet in &sealed {
        assert_eq!(world.send(B_RTP, B, packet), Ok(true));
    }
    for packet in &sealed {
        assert_eq!(world.send(B_RTP, B, packet), Err(Verdict::Replayed));
        assert_eq!(world.send(B_RTP, STRANGER, packet), Err(Verdict::Replayed));
    }
    let report = peer.seal(&rtcp(0x80, 201, &[b.header.ssrc]));
    assert_eq!(world.send(B_RTCP, B_CONTROL, &report), Ok(true));
    assert_eq!(world.send(B_RTCP, B_CONTROL, &report), Err(Verdict::Replayed));
    assert_eq!(world.dropped(1, Verdict::Replayed), 11);
    assert_eq!(world.port(1).moves, 0);
}

#[test]
fn the_same_key_again_keeps_the_count_of_wraps_both_ways() {
    let suite = Suite::AesCm128Sha1_32;
    let (mut world, mut peer, mut a, mut b) = call(suite);
    (a.header.sequence, b.header.sequence) = (65_500, 65_500);
    for n in 0..100 {
        if n % 9 == 0 {
            world.set(|_| {});
        }
        if n == 50 {
            // A re-INVITE that changes all but the keys.
            world.set(|spec| spec.ports[1].remotes[0].sends = true);
        }
        let (from_a, from_b) = (a.speak(), b.speak());
        let sealed = peer.seal(&from_b);
        assert_eq!(world.send(B_RTP, B, &sealed), Ok(true), "{n}");
        assert_eq!(world.raw(A_RTP).pop().unwrap().bytes, from_b);
        assert_eq!(world.send(A_RTP, A, &from_a), Ok(true));
        let sealed = world.raw(B_RTP).pop().unwrap().bytes;
        assert_eq!(peer.open(&sealed), Ok(from_a), "{n}");
    }
}

#[test]
fn a_new_key_of_the_peer_begins_its_count_anew_and_ours_goes_on() {
    let suite = Suite::AesCm128Sha1_80;
    let (mut world, mut peer, mut a, mut b) = call(suite);
    (a.header.sequence, b.header.sequence) = (65_500, 65_500);
    for _ in 0..50 {
        let (from_a, from_b) = (a.speak(), peer.seal(&b.speak()));
        world.send(B_RTP, B, &from_b).unwrap();
        world.send(A_RTP, A, &from_a).unwrap();
        peer.open(&world.raw(B_RTP).pop().unwrap().bytes).unwrap();
    }
    let new = keys(suite, 77);
    world.set(|spec| seal(spec, keys(suite, OURS), Some(keys(suite, 77))));
    let old = peer.seal(&b.speak());
    assert_eq!(world.send(B_RTP, B, &old), Err(Verdict::AuthFailed));
    peer.sealer = Sealer::new(&new).unwrap();
    let sealed = peer.seal(&b.speak());
    assert_eq!(world.send(B_RTP, B, &sealed), Ok(true), "its count is 0 again");
    let from_a = a.speak();
    world.send(A_RTP, A, &from_a).unwrap();
    assert_eq!(peer.open(&world.raw(B_RTP).pop().unwrap().bytes), Ok(from_a));
    // A new key of ours.
    world.set(|spec| seal(spec, keys(suite, 88), Some(keys(suite, 77))));
    peer.opener = Opener::new(&keys(suite, 88)).unwrap();
    let from_a = a.speak();
    world.send(A_RTP, A, &from_a).unwrap();
    assert_eq!(peer.open(&world.raw(B_RTP).pop().unwrap().bytes), Ok(from_a));
}

#[test]
fn forks_have_keys_of_their_own() {
    const OTHER: &str = "198.51.100.2:5000";
    let suite = Suite::AesCm128Sha1_80;
    let (mut world, mut peer, _, mut b) = call(suite);
    let second = keys(suite, 33);
    world.set(|spec| {
        let mut other = remote(1, OTHER);
        other.keys = Some(second.clone());
        spec.ports[1].remotes.push(other);
    });
    let mut fork =
        Peer { sealer: Sealer::new(&second).unwrap(), opener: Opener::new(&keys(suite, OURS)).unwrap() };
    let mut c = Talker::b(&pcmu(), 20);
    (c.header.ssrc, c.address) = (0xcc, OTHER);
    (b.header.sequence, c.header.sequence) = (65_530, 65_530);
    let speak = |world: &mut World, peer: &mut Peer, talker: &mut Talker| {
        let sealed = peer.seal(&talker.speak());
        world.send(B_RTP, talker.address, &sealed)
    };
    for _ in 0..10 {
        assert_eq!(speak(&mut world, &mut peer, &mut b), Ok(true));
    }
    assert_eq!(speak(&mut world, &mut fork, &mut c), Err(Verdict::ForkInactive));
    world.set(|spec| spec.ports[1].active = Some(RemoteTag(1)));
    for _ in 0..10 {
        assert_eq!(speak(&mut world, &mut fork, &mut c), Ok(true));
    }
    assert_eq!(speak(&mut world, &mut peer, &mut b), Err(Verdict::ForkInactive));
    // The first again: its count of wraps and what was seen of it are kept.
    world.set(|spec| spec.ports[1].active = Some(RemoteTag(0)));
    assert_eq!(speak(&mut world, &mut peer, &mut b), Ok(true));
}

#[test]
fn an_authenticated_packet_from_elsewhere_moves_the_source_and_others_never_do() {
    const ROAMED: &str = "203.0.113.9:7000";
    let (mut world, mut peer, mut a, mut b) = call(Suite::AeadAes128Gcm);
    for _ in 0..10 {
        let sealed = peer.seal(&b.speak());
        world.send(B_RTP, B, &sealed).unwrap();
        world.wait(20);
    }
    // No silence before it, another SSRC even: the key says who it is.
    let plain = b.speak();
    assert_eq!(world.send(B_RTP, ROAMED, &plain), Err(Verdict::AuthFailed));
    assert_eq!(world.port(1).learned, Some(address(B)));
    b.header.ssrc = 4_711;
    let sealed = peer.seal(&b.speak());
    assert_eq!(world.send(B_RTP, ROAMED, &sealed), Ok(true));
    assert_eq!((world.port(1).learned, world.port(1).moves), (Some(address(ROAMED)), 1));
    let packet = a.speak();
    world.send(A_RTP, A, &packet).unwrap();
    assert_eq!(world.raw(B_RTP).pop().unwrap().target, ROAMED);
    // At most one move a second.
    let sealed = peer.seal(&b.speak());
    assert_eq!(world.send(B_RTP, "203.0.113.9:7001", &sealed), Err(Verdict::SourceLocked));
    world.wait(1_000);
    let sealed = peer.seal(&b.speak());
    assert_eq!(world.send(B_RTP, "203.0.113.9:7001", &sealed), Ok(true));
    assert_eq!(world.port(1).moves, 2);
    // Where nothing is learned, nothing is.
    world.set(|spec| spec.ports[1].learn = Learn::Strict);
    let sealed = peer.seal(&b.speak());
    assert_eq!(world.send(B_RTP, ROAMED, &sealed), Err(Verdict::SourceLocked));
}

#[test]
fn no_index_is_sealed_twice_when_a_source_begins_anew_under_its_old_ssrc() {
    let (mut world, mut peer, mut a, _) = call(Suite::AesCm128Sha1_80);
    let ssrc = a.header.ssrc;
    let mut streams: Vec<Header> = Vec::new();
    for begin in [20_000, 100, 30_000, 5, 19_000] {
        a.header = Header { sequence: begin, ssrc, timestamp: u32::from(begin) * 7_919, ..a.header };
        for _ in 0..200 {
            let packet = a.speak();
            assert_eq!(world.send(A_RTP, A, &packet), Ok(true), "{begin}");
            let sealed = world.raw(B_RTP).pop().unwrap().bytes;
            let clear = peer.open(&sealed).expect("the far end follows");
            assert_eq!(clear[12..], packet[12..]);
            streams.push(media::wire::rtp::Rtp::parse(&clear).unwrap().header());
            world.wait(20);
        }
    }
    let mut indices: Vec<(u32, u16)> = streams.iter().map(|header| (header.ssrc, header.sequence)).collect();
    indices.sort();
    let count = indices.len();
    indices.dedup();
    assert_eq!(indices.len(), count);
    assert!(streams.iter().any(|header| header.ssrc != ssrc));
    // Reports name the stream as the far end knows it.
    let report = rtcp(0x80, 200, &[ssrc, 1, 2, 3, 4, 5]);
    assert_eq!(world.send(A_RTCP, A_CONTROL, &report), Ok(true));
    let clear = peer.open(&world.raw(B_RTCP).pop().unwrap().bytes).unwrap();
    assert_eq!(Told::of(0, &clear).sender, streams.last().unwrap().ssrc);
}

#[test]
fn however_many_streams_a_source_begins_they_all_go_on_under_few_of_ours() {
    let (mut world, mut peer, mut a, _) = call(Suite::AesCm128Sha1_80);
    let mut ssrcs = std::collections::BTreeSet::new();
    for ssrc in 1..=100 {
        a.header.ssrc = ssrc;
        for _ in 0..5 {
            let packet = a.speak();
            assert_eq!(world.send(A_RTP, A, &packet), Ok(true), "stream {ssrc}");
            let clear = peer.open(&world.raw(B_RTP).pop().unwrap().bytes).expect("the far end follows");
            assert_eq!(clear[12..], packet[12..]);
            ssrcs.insert(media::wire::rtp::Rtp::parse(&clear).unwrap().header().ssrc);
            world.wait(20);
        }
    }
    assert_eq!(ssrcs.len(), media::srtp::SEALED_MAX);
    assert_eq!(world.drops(0), []);
}

#[test]
fn a_fork_that_comes_back_with_its_key_finds_the_count_of_wraps_as_it_was() {
    let suite = Suite::AesCm128Sha1_80;
    let (mut world, mut peer, mut a, _) = call(suite);
    let mut other = Peer { opener: Opener::new(&keys(suite, 77)).unwrap(), ..Peer::new(suite) };
    a.header.sequence = 65_500;
    for turn in 0..4 {
        let (ours, far) = if turn % 2 == 0 { (OURS, &mut peer) } else { (77, &mut other) };
        world.set(|spec| seal(spec, keys(suite, ours), Some(keys(suite, THEIRS))));
        for _ in 0..50 {
            let packet = a.speak();
            assert_eq!(world.send(A_RTP, A, &packet), Ok(true));
            let clear = far.open(&world.raw(B_RTP).pop().unwrap().bytes);
            assert_eq!(clear.expect("the far end follows")[12..], packet[12..], "turn {turn}");
            world.wait(20);
        }
    }
}

#[test]
fn a_key_identifier_that_fits_no_packet_is_refused() {
    let (mut world, ..) = call(Suite::AesCm128Sha1_80);
    let long = SdesKeys { mki: vec![1; 129], ..keys(Suite::AesCm128Sha1_80, OURS) };
    let before = world.spec.clone();
    assert!(world.try_set(|spec| seal(spec, long, None)).is_err());
    world.spec = before;
    world.set(|_| {});
}

#[test]
fn both_sides_may_be_encrypted_with_keys_and_suites_of_their_own() {
    let (first, second) = (Suite::AeadAes256Gcm, Suite::AesCm128Sha1_32);
    let mut world = World::with(&[pcmu()], &[pcma()], |spec| {
        seal(spec, keys(second, OURS), Some(keys(second, THEIRS)));
        spec.ports[0].secure = Some(Secure::Sdes(keys(first, 21)));
        spec.ports[0].remotes[0].keys = Some(keys(first, 22));
        spec.edges[0].transform = transcode(8, 20);
        spec.edges[1].transform = transcode(0, 20);
    });
    let mut peer = Peer::new(second);
    let mut from = Sealer::new(&keys(first, 22)).unwrap();
    let mut a = Talker::a(&pcmu(), 20);
    for _ in 0..20 {
        let packet = a.speak();
        let mut buffer = [0; 400];
        buffer[..172].copy_from_slice(&packet);
        let len = from.seal_rtp(&mut buffer, 172).unwrap();
        assert_eq!(world.send(A_RTP, A, &buffer[..len]), Ok(true));
        let clear = peer.open(&world.raw(B_RTP).pop().unwrap().bytes).unwrap();
        let mut payload = packet[12..].to_vec();
        codec::g711::ulaw_to_alaw(&mut payload);
        assert_eq!((clear[1] & 0x7f, &clear[12..]), (8, &payload[..]));
    }
}
