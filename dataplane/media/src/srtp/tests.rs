//! The vectors of the RFCs and of libsrtp, and what holds for any packets. What is in the RFCs stands here as well, for
//! machines without the shared test data. libsrtp's cases with AES-192, without cipher and with encrypted header
//! extensions (RFC 6904) are left out: no suite of RFC 4568, 6188 or 7714 that we have asks for them.

use super::derive::{Label, number};
use super::*;
use aes::cipher::KeyInit;
use aes::{Aes128Enc, Aes256Enc};
use command::Suite;
use proptest::prelude::*;
use serde_json::Value;
use std::path::PathBuf;

#[test]
fn key_streams_are_those_of_rfc_3711_and_6188() {
    let check = |key: &str, block: usize, expected: &str| {
        let mut stream = vec![0; (block + 1) * 16];
        let counter = number(&unhex("f0f1f2f3f4f5f6f7f8f9fafbfcfd")) << 16;
        let key = unhex(key);
        match Aes128Enc::new_from_slice(&key) {
            Ok(cipher) => counter::apply(&cipher, counter, &mut stream),
            Err(_) => counter::apply(&Aes256Enc::new_from_slice(&key).unwrap(), counter, &mut stream),
        }
        assert_eq!(hex(&stream[block * 16..]), expected, "block {block}");
        // Alone, and in a piece that ends within the block.
        let mut alone = [0; 15];
        match Aes128Enc::new_from_slice(&key) {
            Ok(cipher) => counter::apply(&cipher, counter + block as u128, &mut alone),
            Err(_) => {
                counter::apply(
                    &Aes256Enc::new_from_slice(&key).unwrap(),
                    counter + block as u128,
                    &mut alone,
                );
            }
        }
        assert_eq!(hex(&alone), expected[..30], "block {block}");
    };
    let key = "2b7e151628aed2a6abf7158809cf4f3c";
    check(key, 0, "e03ead0935c95e80e166b16dd92b4eb4");
    check(key, 1, "d23513162b02d0f72a43a2fe4a5f97ab");
    check(key, 2, "41e95b3bb0a2e8dd477901e4fca894c0");
    check(key, 0xfeff, "ec8cdf7398607cb0f2d21675ea9ea1e4");
    let key = "57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98";
    check(key, 0, "92bdd28a93c3f52511c677d08b5515a4");
    check(key, 0xff01, "6eb246913062a16891433e97dd01a57f");
    for (file, part) in [("rfc3711.json", "aes_cm"), ("rfc6188.json", "aes256_cm")] {
        let Some(vectors) = vectors(file) else { continue };
        let part = &vectors[part];
        for (block, expected) in part["blocks"].as_object().unwrap() {
            check(text(&part["session_key"]), block.parse().unwrap(), text(expected));
        }
    }
}

#[test]
fn session_keys_are_those_of_rfc_3711_and_6188() {
    let check = |(key, salt): (&str, &str), label, rtcp, expected: &str| {
        let mut out = vec![0; expected.len() / 2];
        Master::new(&unhex(key), &unhex(salt)).derive(label, rtcp, &mut out);
        assert_eq!(hex(&out), expected, "{label:?}, rtcp: {rtcp}");
    };
    let master = ("e1f97a0d3e018be0d64fa32c06de4139", "0ec675ad498afeebb6960b3aabe6");
    check(master, Label::Key, false, "c61e7a93744f39ee10734afe3ff7a087");
    check(master, Label::Salt, false, "30cbbc08863d8c85d49db34a9ae1");
    check(master, Label::Auth, false, "cebe321f6ff7716b6fd4ab49af256a156d38baa4");
    let master =
        ("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6", "3b04803de51ee7c96423ab5b78d2");
    check(master, Label::Key, false, "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4");
    check(master, Label::Salt, false, "fa31791685ca444a9e07c6c64e93");
    check(master, Label::Auth, false, "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05");
    if let Some(vectors) = vectors("rfc3711.json") {
        let kdf = &vectors["kdf"];
        let master = (text(&kdf["master_key"]), text(&kdf["master_salt"]));
        for (rtcp, names) in [
            (false, ["rtp_cipher_key", "rtp_auth_key", "rtp_salt"]),
            (true, ["rtcp_cipher_key", "rtcp_auth_key", "rtcp_salt"]),
        ] {
            for (label, name) in [Label::Key, Label::Auth, Label::Salt].into_iter().zip(names) {
                check(master, label, rtcp, text(&kdf[name]));
            }
        }
    }
    if let Some(vectors) = vectors("rfc6188.json") {
        let kdf = &vectors["kdf256"];
        let master = (text(&kdf["master_key"]), text(&kdf["master_salt"]));
        for (label, name) in
            [(Label::Key, "cipher_key"), (Label::Salt, "cipher_salt"), (Label::Auth, "auth_key")]
        {
            check(master, label, false, text(&kdf[name]));
        }
    }
}

const GALLIA: &str =
    "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573";
const MARS: &str = "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61\
    deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";

#[test]
fn gcm_seals_and_opens_the_packets_of_rfc_7714() {
    let key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    check_gcm(
        (&key[..32], false, 0xf17b),
        GALLIA,
        "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833\
         899d7f27beb16a9152cf765ee4390cce",
    );
    check_gcm(
        (key, false, 0xf17b),
        GALLIA,
        "8040f17b8041f8d35501a0b232b1de78a822fe12ef9f78fa332e33aab18012389a58e2f3b50b2a0276ffae0f1ba63799b87b\
         7aa3db36dfffd6b0f9bb7878d7a76c13",
    );
    check_gcm(
        (&key[..32], true, 0x5d4),
        MARS,
        "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9\
         275bc84aa45896cf4d2fc5abf87245d9eade800005d4",
    );
    check_gcm(
        (&key[..32], true, 0x5d4),
        MARS,
        "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdead\
         beef841dd9683dd78ec92ae58790125f62b3000005d4",
    );
    let Some(vectors) = vectors("rfc7714.json") else { return };
    for case in vectors["srtp"].as_array().unwrap() {
        check_gcm(
            (text(&case["session_key"]), false, 0xf17b),
            text(&case["rtp_packet"]),
            text(&case["srtp_packet"]),
        );
    }
    for case in vectors["srtcp"].as_array().unwrap() {
        let index = case["index"].as_u64().unwrap();
        check_gcm(
            (text(&case["session_key"]), true, index),
            text(&case["rtcp_packet"]),
            text(&case["srtcp_packet"]),
        );
    }
}

/// With the session key and salt of RFC 7714 section 16 as they are.
fn check_gcm((key, rtcp, index): (&str, bool, u64), plain: &str, sealed: &str) {
    let suite = if key.len() == 32 { Suite::AeadAes128Gcm } else { Suite::AeadAes256Gcm };
    let salt = number(&unhex("517569642070726f2071756f"));
    let lane = Lane::of_session_keys(suite, rtcp, &unhex(key), salt, &[]).unwrap();
    let (plain, sealed) = (unhex(plain), unhex(sealed));
    let word = rtcp.then(|| crate::wire::rtcp::word(&sealed, sealed.len() - 4).unwrap());
    let ssrc_at = if rtcp { 4 } else { 8 };
    let ssrc = crate::wire::rtcp::word(&plain, ssrc_at).unwrap();
    let job = Job { ssrc, index, word, mki: &[], clear: ssrc_at + 4 };
    let mut packet = sealed.clone();
    assert!(lane.open(&job, &mut packet, plain.len()));
    assert_eq!(packet[..plain.len()], plain);
    if word.is_none_or(|word| word & ENCRYPTED != 0) {
        let len = lane.seal(&job, &mut packet, plain.len());
        assert_eq!(packet[..len], sealed);
    }
}

#[test]
fn packets_are_those_of_libsrtp() {
    let Some(vectors) = vectors("libsrtp.json") else { return };
    for (case, mki, rtcp) in [
        ("srtp_validate", 0, true),
        ("srtp_validate_gcm", 0, true),
        ("srtp_validate_aes_256", 0, false),
        ("srtp_validate_mki", 4, true),
    ] {
        let case = &vectors[case];
        let suite = Suite::by_name(text(&case["profile"]).split(' ').next().unwrap()).unwrap();
        let name = text(&case["key_name"]);
        let material = unhex(text(if case[name].is_null() { &vectors["keys"][name] } else { &case[name] }));
        let key = material[..suite.key_len() + suite.salt_len()].to_vec();
        // The identifier of its test is the beginning of the key.
        let keys = SdesKeys { suite, mki: material[..mki].to_vec(), key };
        let plain =
            if case["srtp_plaintext_ref"].is_null() { "rtp_plaintext_ref" } else { "srtp_plaintext_ref" };
        Pair::new(&keys).check(false, &unhex(text(&case[plain])), &unhex(text(&case["srtp_ciphertext"])));
        if rtcp {
            let (plain, sealed) = (&case["rtcp_plaintext_ref"], &case["srtcp_ciphertext"]);
            Pair::new(&keys).check(true, &unhex(text(plain)), &unhex(text(sealed)));
        }
    }
}

#[test]
fn whole_sequences_over_a_wrap_are_those_of_libsrtp() {
    let Some(vectors) = vectors("srtp_sequences.json") else { return };
    for sequence in vectors["sequences"].as_array().unwrap() {
        let suite = Suite::by_name(text(&sequence["profile"])).unwrap();
        let keys = SdesKeys { suite, key: unhex(text(&sequence["master_key_and_salt"])), mki: Vec::new() };
        let mut pair = Pair::new(&keys);
        let mut last = Vec::new();
        for (n, row) in sequence["srtp"].as_array().unwrap().iter().enumerate() {
            if n == 5 {
                for bad in &sequence["negative"].as_array().unwrap()[1..] {
                    let bad = unhex(text(bad.as_object().unwrap().values().next().unwrap()));
                    assert_eq!(pair.opener.open_rtp(&mut bad.clone()), Err(Verdict::AuthFailed));
                }
            }
            last = unhex(text(&row["srtp"]));
            pair.check(false, &unhex(text(&row["rtp"])), &last);
        }
        assert_eq!(pair.opener.open_rtp(&mut last), Err(Verdict::Replayed));
        for row in sequence["srtcp"].as_array().unwrap() {
            let sealed = unhex(text(&row["srtcp"]));
            pair.check(true, &unhex(text(&row["rtcp"])), &sealed);
            assert_eq!(pair.opener.open_rtcp(&mut sealed.clone()), Err(Verdict::Replayed));
        }
    }
}

#[test]
fn the_short_tag_is_of_rtp_only() {
    for (suite, rtp, rtcp) in [
        (Suite::AesCm128Sha1_32, 4, 14),
        (Suite::AesCm256Sha1_32, 4, 14),
        (Suite::AesCm128Sha1_80, 10, 14),
        (Suite::AesCm256Sha1_80, 10, 14),
        (Suite::AeadAes128Gcm, 16, 20),
        (Suite::AeadAes256Gcm, 16, 20),
    ] {
        let mut pair = Pair::new(&keys(suite, 0));
        assert_eq!(pair.seal(&packet(7, 1, b"")).unwrap().len(), 12 + rtp);
        assert_eq!(pair.seal_rtcp(&REPORT).unwrap().len(), REPORT.len() + rtcp);
        assert!(rtcp <= OVERHEAD_MAX && pair.sealer.rtp_overhead() == rtp);
    }
}

#[test]
fn an_index_is_never_sealed_twice() {
    let mut pair = Pair::new(&keys(Suite::AeadAes128Gcm, 0));
    let mut seal = |ssrc, sequence| pair.seal(&packet(ssrc, sequence, b"x")).map(|_| ());
    assert_eq!(seal(7, 1000), Ok(()));
    assert_eq!(seal(7, 1000), Err(Verdict::Replayed));
    assert_eq!(seal(7, 998), Ok(()), "a late one that was not sealed yet");
    assert_eq!(seal(7, 998), Err(Verdict::Replayed));
    assert_eq!(seal(7, 1001), Ok(()));
    // The source begins anew: nothing of that can be told from what was sealed.
    assert_eq!(seal(7, 500), Err(Verdict::NoKey));
    assert_eq!(seal(7, 60_000), Err(Verdict::NoKey), "before the beginning");
    assert_eq!(seal(8, 500), Ok(()), "another SSRC has numbers of its own");
    assert_eq!(seal(7, 1002), Ok(()));
    // Streams are not forgotten: when there are too many, new ones are refused.
    for ssrc in 100..114 {
        assert_eq!(seal(ssrc, 1), Ok(()));
    }
    assert_eq!(seal(200, 1), Err(Verdict::NoKey));
    assert_eq!(seal(7, 1002), Err(Verdict::Replayed));
    assert_eq!(seal(113, 2), Ok(()));
}

#[test]
fn a_forged_packet_changes_nothing() {
    for suite in Suite::ALL {
        let mut pair = Pair::new(&keys(suite, 0));
        let first = pair.seal(&packet(7, 1, b"first")).unwrap();
        let second = pair.seal(&packet(7, 2, b"second")).unwrap();
        assert_eq!(pair.opener.open_rtp(&mut first.clone()), Ok(17));
        // One that would move the window far ahead, and one of another stream.
        for (at, with) in [(2, 0x40), (11, 1)] {
            let mut forged = second.clone();
            forged[at] ^= with;
            let before = forged.clone();
            assert_eq!(pair.opener.open_rtp(&mut forged), Err(Verdict::AuthFailed));
            assert_eq!(forged, before, "the bytes stay as they were");
        }
        assert_eq!(pair.opener.len, 1);
        assert_eq!(pair.opener.open_rtp(&mut second.clone()), Ok(18));
        assert_eq!(pair.opener.open_rtp(&mut second.clone()), Err(Verdict::Replayed));
    }
}

#[test]
fn the_stream_silent_longest_gives_way() {
    let mut pair = Pair::new(&keys(Suite::AesCm128Sha1_80, 0));
    let mut packets = Vec::new();
    for ssrc in 0..OPENED_MAX as u32 {
        packets.push(pair.seal(&packet(ssrc, 1, b"x")).unwrap());
    }
    for packet in &packets {
        assert!(pair.opener.open_rtp(&mut packet.clone()).is_ok());
    }
    // The first is heard again, so the second goes.
    let again = pair.seal(&packet(0, 2, b"x")).unwrap();
    let new = pair.seal(&packet(99, 1, b"x")).unwrap();
    for packet in [again, new] {
        assert!(pair.opener.open_rtp(&mut packet.clone()).is_ok());
    }
    let known: Vec<u32> = pair.opener.streams.iter().map(|stream| stream.ssrc).collect();
    assert_eq!(known, [0, 99, 2, 3, 4, 5, 6, 7]);
    assert_eq!(pair.opener.open_rtp(&mut packets[0].clone()), Err(Verdict::Replayed));
}

#[test]
fn a_master_key_identifier_is_carried_and_asked_for() {
    for suite in Suite::ALL {
        let with = keys(suite, 3);
        let mut pair = Pair::new(&with);
        let sealed = pair.seal(&packet(7, 1, b"speech")).unwrap();
        let report = pair.seal_rtcp(&REPORT).unwrap();
        let mut other = Opener::new(&SdesKeys { mki: vec![9; 3], ..with.clone() }).unwrap();
        assert_eq!(other.open_rtp(&mut sealed.clone()), Err(Verdict::NoKey));
        assert_eq!(other.open_rtcp(&mut report.clone()), Err(Verdict::NoKey));
        assert_eq!(pair.opener.open_rtp(&mut sealed.clone()), Ok(18));
        assert_eq!(pair.opener.open_rtcp(&mut report.clone()), Ok(REPORT.len()));
        assert!(pair.opener.same_key(&with) && !other.same_key(&with));
    }
}

#[test]
fn keys_that_do_not_fit_are_refused_and_none_is_printed() {
    let good = keys(Suite::AeadAes256Gcm, 0);
    assert!(Sealer::new(&good).is_ok());
    assert_eq!(Sealer::new(&SdesKeys { key: vec![1; 43], ..good.clone() }).err(), Some(BadKeys));
    assert_eq!(Opener::new(&SdesKeys { mki: vec![1; 129], ..good.clone() }).err(), Some(BadKeys));
    let pair = Pair::new(&good);
    let printed = format!("{:?} {:?}", pair.sealer, pair.opener);
    assert_eq!(printed, "Sealer(SdesKeys(AEAD_AES_256_GCM)) Opener(SdesKeys(AEAD_AES_256_GCM))");
}

#[test]
fn a_packet_without_room_for_its_trailer_is_refused_and_its_number_kept() {
    let mut pair = Pair::new(&keys(Suite::AesCm128Sha1_80, 0));
    let mut buffer = packet(7, 1, b"speech");
    let len = buffer.len();
    buffer.extend([0; 9]);
    assert_eq!(pair.sealer.seal_rtp(&mut buffer, len), Err(Verdict::Oversize));
    assert_eq!(pair.sealer.seal_rtp(&mut buffer, len + 10), Err(Verdict::Oversize));
    assert_eq!(pair.sealer.seal_rtcp(&mut [0x80; 20], 8), Err(Verdict::Oversize));
    buffer.push(0);
    assert_eq!(pair.sealer.seal_rtp(&mut buffer, len), Ok(len + 10));
}

#[test]
fn a_sealer_whose_indices_are_spent_needs_a_new_key() {
    let mut pair = Pair::new(&keys(Suite::AesCm128Sha1_80, 0));
    pair.sealer.rtcp_index = ENCRYPTED - 2;
    assert!(pair.seal_rtcp(&REPORT).is_ok());
    assert_eq!(pair.seal_rtcp(&REPORT), Err(Verdict::NoKey));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn each_packet_that_arrives_is_opened_once_whatever_the_network_does(
        suite in 0..6usize,
        mki in 0..5usize,
        start: u16,
        fates in proptest::collection::vec((0..12u8, 0..60u64), 1..300),
    ) {
        let mut pair = Pair::new(&keys(Suite::ALL[suite], mki));
        // (time of arrival, number); the first comes first, for it begins the count.
        let mut arrivals = vec![(0, 0)];
        for (n, (fate, delay)) in (1..).zip(&fates) {
            match fate {
                0 => {}
                1 => arrivals.extend([(n, n), (n + delay, n)]),
                2..4 => arrivals.push((n + delay, n)),
                _ => arrivals.push((n, n)),
            }
        }
        let plain = |n: u64| packet(7, start.wrapping_add(n as u16), &vec![n as u8; n as usize % 200]);
        let sealed: Vec<_> = (0..=fates.len() as u64).map(|n| pair.seal(&plain(n)).unwrap()).collect();
        arrivals.sort_unstable();
        let mut seen = std::collections::BTreeSet::new();
        for (_, n) in arrivals {
            let mut packet = sealed[n as usize].clone();
            let opened = pair.opener.open_rtp(&mut packet);
            if seen.insert(n) {
                prop_assert_eq!(opened.map(|len| &packet[..len]), Ok(&plain(n)[..]));
            } else {
                prop_assert_eq!(opened, Err(Verdict::Replayed));
            }
        }
    }

    #[test]
    fn any_bit_that_flips_is_noticed(suite in 0..6usize, mki in 0..3usize, len in 0..40usize) {
        let mut pair = Pair::new(&keys(Suite::ALL[suite], mki));
        let sealed = pair.seal(&packet(7, 9, &vec![5; len])).unwrap();
        let report = pair.seal_rtcp(&REPORT).unwrap();
        for bit in 0..sealed.len() * 8 {
            let mut packet = sealed.clone();
            packet[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(pair.opener.open_rtp(&mut packet).is_err(), "bit {}", bit);
        }
        for bit in 0..report.len() * 8 {
            let mut packet = report.clone();
            packet[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(pair.opener.open_rtcp(&mut packet).is_err(), "bit {} of the report", bit);
        }
        prop_assert!(pair.opener.open_rtp(&mut sealed.clone()).is_ok());
        prop_assert!(pair.opener.open_rtcp(&mut report.clone()).is_ok());
    }

    #[test]
    fn any_datagram_is_survived(data in proptest::collection::vec(any::<u8>(), 0..120), first in 0..=255u8) {
        crate::fuzz::srtp(&data);
        crate::fuzz::srtp(&[&[first, 0x90], &data[..]].concat());
    }
}

/// Both ends of one key.
struct Pair {
    sealer: Sealer,
    opener: Opener,
}

impl Pair {
    fn new(keys: &SdesKeys) -> Self {
        Pair { sealer: Sealer::new(keys).unwrap(), opener: Opener::new(keys).unwrap() }
    }

    fn seal(&mut self, packet: &[u8]) -> Result<Vec<u8>, Verdict> {
        let mut buffer = [packet, &[0; OVERHEAD_MAX]].concat();
        let len = self.sealer.seal_rtp(&mut buffer, packet.len())?;
        buffer.truncate(len);
        Ok(buffer)
    }

    fn seal_rtcp(&mut self, packet: &[u8]) -> Result<Vec<u8>, Verdict> {
        let mut buffer = [packet, &[0; OVERHEAD_MAX]].concat();
        let len = self.sealer.seal_rtcp(&mut buffer, packet.len())?;
        buffer.truncate(len);
        Ok(buffer)
    }

    /// One becomes the other, and back.
    fn check(&mut self, rtcp: bool, plain: &[u8], sealed: &[u8]) {
        let ours = if rtcp { self.seal_rtcp(plain) } else { self.seal(plain) };
        assert_eq!(ours.map(|bytes| hex(&bytes)), Ok(hex(sealed)));
        let mut packet = sealed.to_vec();
        let len = if rtcp { self.opener.open_rtcp(&mut packet) } else { self.opener.open_rtp(&mut packet) };
        assert_eq!(len.map(|len| hex(&packet[..len])), Ok(hex(plain)));
    }
}

const REPORT: [u8; 16] = [0x80, 201, 0, 1, 1, 2, 3, 4, 0x80, 203, 0, 1, 1, 2, 3, 4];

fn keys(suite: Suite, mki: usize) -> SdesKeys {
    let key = (0..).take(suite.key_len() + suite.salt_len()).collect();
    SdesKeys { suite, key, mki: vec![7; mki] }
}

fn packet(ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let header = crate::wire::rtp::Header { ssrc, sequence, timestamp: 160, ..Default::default() };
    [&header.to_bytes()[..], payload].concat()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// A file of the shared test data; `None`, loudly, where it is absent.
#[expect(clippy::print_stderr, reason = "absent material is named")]
fn vectors(name: &str) -> Option<Value> {
    let root = std::env::var_os("STROWGER_TESTDATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata"),
        PathBuf::from,
    );
    let Ok(text) = std::fs::read_to_string(root.join("vectors").join(name)) else {
        eprintln!("ABSENT: testdata/vectors/{name}: its values were not compared");
        return None;
    };
    Some(serde_json::from_str(&text).unwrap())
}
