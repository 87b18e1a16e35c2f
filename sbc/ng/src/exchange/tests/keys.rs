//! Encryption: which keys are offered and answered, and that none is ever seen by the other side.

use super::world::*;
use crate::failure::Failure;
use crate::options::{Options, OsrtpOptions, SdesOptions, Transport};
use command::Suite;
use command::spec::Secure;
use sdp::Side::{A, B};

const KEY: &str = "QjnnaukLn7iwASAs0YLzPUplJkjOhTZK2dvOwo6c";
const OTHER: &str = "dfgadgdfgdfgdfgd6AYjs3vKw7CeBdWZCj0isbJv";
const AVP: Option<Transport> = Some(Transport::Rtp { secure: false, feedback: false });
const SAVP: Option<Transport> = Some(Transport::Rtp { secure: true, feedback: false });

fn crypto(tag: u32, suite: &str, key: &str) -> String {
    format!("a=crypto:{tag} {suite} inline:{key}\n")
}

fn secure(head: &str, port: u16, lines: &str) -> String {
    format!("{head}m=audio {port} RTP/SAVP 0\n{lines}")
}

/// `1 AES_CM_128_HMAC_SHA1_80`, in order.
fn suites(sdp: &str) -> Vec<String> {
    let lines = sdp.lines().filter_map(|line| line.strip_prefix("a=crypto:"));
    lines.map(|line| line.split(" inline:").next().unwrap_or_default().to_owned()).collect()
}

fn protocol(sdp: &str) -> &str {
    sdp.lines().find_map(|line| line.strip_prefix("m=audio ")).and_then(|m| m.split(' ').nth(1)).unwrap()
}

const ALL: [&str; 6] = [
    "1 AEAD_AES_256_GCM",
    "2 AEAD_AES_128_GCM",
    "3 AES_256_CM_HMAC_SHA1_80",
    "4 AES_256_CM_HMAC_SHA1_32",
    "5 AES_CM_128_HMAC_SHA1_80",
    "6 AES_CM_128_HMAC_SHA1_32",
];

#[test]
fn a_plain_offer_can_become_an_encrypted_one() {
    let mut world = World::new();
    let options = Options { transport: SAVP, ..Options::default() };
    let offered = world.offer(A, &format!("{ALICE}m=audio 4000 RTP/AVP 0\n"), &options).unwrap();
    assert_eq!((protocol(&offered), suites(&offered)), ("RTP/SAVP", ALL.map(str::to_owned).to_vec()));
    // Until the answer says which, ours is there and what comes is dropped.
    let lines = world.exchange.lines();
    assert!(lines[0].sides[1].secure.is_some() && lines[0].sides[1].keys.is_none());

    let answer = secure(BOB, 5000, &crypto(5, "AES_CM_128_HMAC_SHA1_80", OTHER));
    let told = world.answer(B, &answer, &Options::default()).unwrap();
    assert_eq!((protocol(&told), suites(&told).len()), ("RTP/AVP", 0));
    let lines = world.exchange.lines();
    let [near, far] = &lines[0].sides;
    assert!(near.secure.is_none() && near.keys.is_none());
    let theirs = far.keys.as_ref().expect("B has keys");
    assert_eq!(theirs.suite, Suite::AesCm128Sha1_80);
    let Some(Secure::Sdes(ours)) = &far.secure else { panic!("{:?}", far.secure) };
    assert_eq!(ours.suite, theirs.suite);
    assert!(ours.key != theirs.key);
}

#[test]
fn an_encrypted_offer_can_become_a_plain_one() {
    let mut world = World::new();
    let options = Options { transport: AVP, ..Options::default() };
    let lines = crypto(1, "F8_128_HMAC_SHA1_80", KEY)
        + &crypto(2, "AES_CM_128_HMAC_SHA1_32", KEY)
        + &crypto(3, "AES_CM_128_HMAC_SHA1_80", KEY);
    let offered = world.offer(A, &secure(ALICE, 4000, &lines), &options).unwrap();
    assert_eq!((protocol(&offered), suites(&offered).len()), ("RTP/AVP", 0));
    let told = world.answer(B, &format!("{BOB}m=audio 5000 RTP/AVP 0\n"), &Options::default()).unwrap();
    assert_eq!(protocol(&told), "RTP/SAVP");
    assert_eq!(suites(&told), ["2 AES_CM_128_HMAC_SHA1_32"], "the first that we have");
    assert!(!told.contains(KEY));
    let sides = &world.exchange.lines()[0].sides;
    assert!(sides[0].secure.is_some() && sides[0].keys.is_some() && sides[1].secure.is_none());
}

#[test]
fn keys_end_here_also_where_both_sides_encrypt() {
    let mut world = World::new();
    let lines = crypto(1, "AES_CM_128_HMAC_SHA1_80", KEY) + &crypto(2, "AES_CM_128_HMAC_SHA1_32", KEY);
    let offered = world.offer(A, &secure(ALICE, 4000, &lines), &Options::default()).unwrap();
    assert_eq!(
        suites(&offered),
        [
            "1 AES_CM_128_HMAC_SHA1_80",
            "2 AES_CM_128_HMAC_SHA1_32",
            "3 AEAD_AES_256_GCM",
            "4 AEAD_AES_128_GCM",
            "5 AES_256_CM_HMAC_SHA1_80",
            "6 AES_256_CM_HMAC_SHA1_32"
        ],
        "the suites of the offer first, under its tags, then ours"
    );
    assert!(!offered.contains(KEY), "its keys stay here");
    let answer = secure(BOB, 5000, &crypto(2, "AES_CM_128_HMAC_SHA1_32", OTHER));
    let told = world.answer(B, &answer, &Options::default()).unwrap();
    assert_eq!(suites(&told), ["2 AES_CM_128_HMAC_SHA1_32"], "as the other side has chosen");
    assert!(!told.contains(OTHER) && !told.contains(KEY));
    let sides = &world.exchange.lines()[0].sides;
    assert!(sides.iter().all(|side| side.secure.is_some() && side.keys.is_some() && !side.is_sealed));
}

#[test]
fn suites_are_offered_as_the_client_wants() {
    let three = crypto(1, "AES_CM_128_HMAC_SHA1_80", KEY) + &crypto(2, "AES_CM_128_HMAC_SHA1_32", KEY);
    let suite = |name: &str| Suite::by_name(name).unwrap();
    let of = |sdes: SdesOptions| {
        let mut world = World::new();
        let options = Options { sdes, ..Options::default() };
        suites(&world.offer(A, &secure(ALICE, 4000, &three), &options).unwrap())
    };
    let default = SdesOptions::default;
    assert_eq!(
        of(SdesOptions { no_new: true, ..default() }),
        ["1 AES_CM_128_HMAC_SHA1_80", "2 AES_CM_128_HMAC_SHA1_32"]
    );
    let without = vec![suite("AES_CM_128_HMAC_SHA1_80"), suite("AEAD_AES_256_GCM")];
    assert_eq!(
        of(SdesOptions { without, ..default() }),
        [
            "2 AES_CM_128_HMAC_SHA1_32",
            "3 AEAD_AES_128_GCM",
            "4 AES_256_CM_HMAC_SHA1_80",
            "5 AES_256_CM_HMAC_SHA1_32"
        ]
    );
    let only = vec![suite("AES_CM_128_HMAC_SHA1_32")];
    assert_eq!(
        of(SdesOptions { only: only.clone(), without: only, ..default() }),
        ["2 AES_CM_128_HMAC_SHA1_32"],
        "what alone is wanted outranks what is not"
    );
    let order = vec![suite("AEAD_AES_128_GCM"), suite("AES_CM_128_HMAC_SHA1_32")];
    assert_eq!(
        of(SdesOptions { order, no_new: false, ..default() })[..3],
        ["4 AEAD_AES_128_GCM", "2 AES_CM_128_HMAC_SHA1_32", "1 AES_CM_128_HMAC_SHA1_80"]
    );
}

#[test]
fn suites_are_answered_as_the_client_wants() {
    let lines = crypto(1, "AES_CM_128_HMAC_SHA1_80", KEY) + &crypto(2, "AES_CM_128_HMAC_SHA1_32", KEY);
    let plain = format!("{BOB}m=audio 5000 RTP/AVP 0\n");
    let answered = |asked: SdesOptions, sdes: SdesOptions| {
        let mut world = World::new();
        let asked = Options { transport: AVP, sdes: asked, ..Options::default() };
        world.offer(A, &secure(ALICE, 4000, &lines), &asked).unwrap();
        suites(&world.answer(B, &plain, &Options { sdes, ..Options::default() }).unwrap())
    };
    let without = vec![Suite::AesCm128Sha1_80];
    let without = SdesOptions { without, ..SdesOptions::default() };
    assert_eq!(answered(without, SdesOptions::default()), ["2 AES_CM_128_HMAC_SHA1_32"]);
    let preferred =
        SdesOptions { offerer_preference: vec![Suite::AesCm128Sha1_32], ..SdesOptions::default() };
    assert_eq!(answered(SdesOptions::default(), preferred), ["2 AES_CM_128_HMAC_SHA1_32"]);
}

#[test]
fn keys_are_padded_and_given_lifetimes_on_demand() {
    for (pad, lifetime, ending) in
        [(false, false, ""), (true, false, "="), (true, true, "=|2^31"), (false, true, "|2^31")]
    {
        let mut world = World::new();
        let only = vec![Suite::AeadAes128Gcm];
        let sdes = SdesOptions { pad, lifetime, only, ..SdesOptions::default() };
        let options = Options { transport: SAVP, sdes, ..Options::default() };
        let offered = world.offer(A, &format!("{ALICE}m=audio 4000 RTP/AVP 0\n"), &options).unwrap();
        let line = offered.lines().find(|line| line.starts_with("a=crypto:")).unwrap();
        assert!(line.ends_with(ending), "{line}");
        assert_eq!(line["a=".len()..].contains('='), pad, "{line}");
    }
}

#[test]
fn opportunistic_keys_pass_in_plain_profiles() {
    let offer = format!("{ALICE}m=audio 4000 RTP/AVP 0\n{}", crypto(3, "AES_CM_128_HMAC_SHA1_80", KEY));
    let plain = format!("{BOB}m=audio 5000 RTP/AVP 0\n");
    // Passed on, and refused.
    let mut world = World::new();
    let offered = world.offer(A, &offer, &Options::default()).unwrap();
    assert_eq!((protocol(&offered), suites(&offered).len()), ("RTP/AVP", 6));
    let told = world.answer(B, &plain, &Options::default()).unwrap();
    assert_eq!((protocol(&told), suites(&told).len()), ("RTP/AVP", 0));
    assert!(world.exchange.lines()[0].sides.iter().all(|side| side.secure.is_none()));
    // Passed on, refused there, and accepted here.
    let osrtp = OsrtpOptions { accept: true, ..OsrtpOptions::default() };
    let told = world.answer(B, &plain, &Options { osrtp, ..Options::default() }).unwrap();
    assert_eq!(suites(&told), ["3 AES_CM_128_HMAC_SHA1_80"]);
    assert!(world.exchange.lines()[0].sides[0].keys.is_some());
    // Offered for one that does not know it.
    let mut world = World::new();
    let osrtp = OsrtpOptions { offer: true, ..OsrtpOptions::default() };
    let offered = world
        .offer(A, &format!("{ALICE}m=audio 4000 RTP/AVP 0\n"), &Options { osrtp, ..Options::default() })
        .unwrap();
    assert_eq!((protocol(&offered), suites(&offered).len()), ("RTP/AVP", 6));
    let answer = format!("{plain}{}", crypto(5, "AES_CM_128_HMAC_SHA1_80", OTHER));
    let told = world.answer(B, &answer, &Options::default()).unwrap();
    assert_eq!(suites(&told).len(), 0);
    assert!(world.exchange.lines()[0].sides[1].keys.is_some());
}

#[test]
fn keys_stay_over_later_offers() {
    let mut world = World::new();
    let offer = secure(ALICE, 4000, &crypto(1, "AES_CM_128_HMAC_SHA1_80", KEY));
    let answer = secure(BOB, 5000, &crypto(1, "AES_CM_128_HMAC_SHA1_80", OTHER));
    let line = |sdp: &str| sdp.lines().find(|line| line.starts_with("a=crypto:1 ")).map(str::to_owned);
    let first = world.offer(A, &offer, &Options::default()).unwrap();
    let told = world.answer(B, &answer, &Options::default()).unwrap();
    let before = world.exchange.lines();
    let second = world.offer(A, &offer, &Options::default()).unwrap();
    assert_eq!((&line(&first), first == second), (&line(&second), true));
    assert_eq!(world.exchange.lines()[0].sides[1].secure, before[0].sides[1].secure);
    assert_eq!(world.answer(B, &answer, &Options::default()).unwrap(), told);
    assert_eq!(world.exchange.lines(), before);
    // Who comes with another key is answered with another one.
    let offer = secure(ALICE, 4000, &crypto(1, "AES_CM_128_HMAC_SHA1_80", OTHER));
    world.offer(A, &offer, &Options::default()).unwrap();
    assert_ne!(line(&world.answer(B, &answer, &Options::default()).unwrap()), line(&told));
}

#[test]
fn who_comes_from_elsewhere_is_answered_with_another_key() {
    let mut world = World::new();
    let offer = |port| secure(ALICE, port, &crypto(1, "AES_CM_128_HMAC_SHA1_80", KEY));
    let answer = secure(BOB, 5000, &crypto(1, "AES_CM_128_HMAC_SHA1_80", OTHER));
    let mut told = |offer: &str| {
        world.offer(A, offer, &Options::default()).unwrap();
        world.answer(B, &answer, &Options::default()).unwrap()
    };
    let first = told(&offer(4000));
    assert_eq!(told(&offer(4000)), first);
    let moved = told(&offer(4002));
    assert_eq!(suites(&moved), suites(&first));
    assert_ne!(moved, first);
    assert_eq!(told(&offer(4002)), moved);
}

#[test]
fn answers_name_one_line_and_echo_its_identifier() {
    let key = |end: &str| format!("{KEY}{end}");
    for suite in ["AES_CM_128_HMAC_SHA1_32", "AES_CM_128_HMAC_SHA1_80"] {
        let mut world = World::new();
        // Parameters that we do not do void the first line.
        let lines = crypto(1, suite, &key(" UNENCRYPTED_SRTCP")) + &crypto(7, suite, &key("|2^20|5:2"));
        let offer = secure(ALICE, 4000, &(lines + &crypto(8, "AES_256_CM_HMAC_SHA1_80", "x")));
        world.offer(A, &offer, &Options { transport: AVP, ..Options::default() }).unwrap();
        let told = world.answer(B, &format!("{BOB}m=audio 5000 RTP/AVP 0\n"), &Options::default()).unwrap();
        assert_eq!(suites(&told), [format!("7 {suite}")]);
        assert!(told.lines().any(|line| line.starts_with("a=crypto:7 ") && line.ends_with("|5:2")), "{told}");
    }
}

#[test]
fn copies_for_forks_have_keys_of_their_own() {
    let options = Options { transport: SAVP, ..Options::default() };
    let offer = format!("{ALICE}m=audio 4000 RTP/AVP 0\n");
    let mut one = World::new();
    let mut other = World { exchange: one.exchange.clone() };
    let mut third = World { exchange: one.exchange.clone() };
    let offers = [&mut one, &mut other, &mut third].map(|world| world.offer(A, &offer, &options).unwrap());
    assert!(offers[0] != offers[1] && offers[1] != offers[2] && offers[0] != offers[2]);
}

#[test]
fn what_cannot_be_encrypted_or_decrypted_is_refused() {
    let mut world = World::new();
    let unusable = crypto(1, "F8_128_HMAC_SHA1_80", KEY);
    let offer = secure(ALICE, 4000, &unusable);
    let to_plain = Options { transport: AVP, ..Options::default() };
    assert_eq!(world.offer(A, &offer, &to_plain), Err(Failure::NoKeys));
    let off = SdesOptions { off: true, ..SdesOptions::default() };
    let off = Options { transport: SAVP, sdes: off, ..Options::default() };
    assert_eq!(world.offer(A, &format!("{ALICE}m=audio 4000 RTP/AVP 0\n"), &off), Err(Failure::Transport));
    let to_secure = Options { transport: SAVP, ..Options::default() };
    world.offer(A, &format!("{ALICE}m=audio 4000 RTP/AVP 0\n"), &to_secure).unwrap();
    let before = world.exchange.lines();
    assert_eq!(world.answer(B, &secure(BOB, 5000, &unusable), &Options::default()), Err(Failure::NoKeys));
    assert_eq!(world.exchange.lines(), before, "nothing has changed");
    // A tag that is wrong with a suite that is right is what some answer.
    let sloppy = secure(BOB, 5000, &crypto(1, "AES_CM_128_HMAC_SHA1_80", OTHER));
    world.answer(B, &sloppy, &Options::default()).unwrap();
    assert_eq!(world.exchange.lines()[0].sides[1].keys.as_ref().unwrap().suite, Suite::AesCm128Sha1_80);
}

#[test]
fn dtls_and_ice_are_said_to_be_missing() {
    let mut world = World::new();
    let plain = format!("{ALICE}m=audio 4000 RTP/AVP 0\n");
    let dtls = Options { transport: Some(Transport::Dtls), ..Options::default() };
    assert_eq!(world.offer(A, &plain, &dtls), Err(Failure::Transport));
    let ice = Options { ice: crate::options::Ice::Force, ..Options::default() };
    assert_eq!(world.offer(A, &plain, &ice), Err(Failure::Transport));
    let offer = format!("{ALICE}m=audio 4000 UDP/TLS/RTP/SAVPF 0\na=fingerprint:sha-1 AA\na=setup:actpass\n");
    assert_eq!(world.offer(A, &offer, &Options::default()), Err(Failure::Transport));
    // Beside a line that can pass it is refused.
    let told = world.offer(A, &format!("{offer}m=audio 4002 RTP/AVP 0\n"), &Options::default()).unwrap();
    assert!(told.contains("m=audio 0 UDP/TLS/RTP/SAVPF 0\n") && told.contains("m=audio 30002 RTP/AVP 0\n"));
    assert!(!told.contains("fingerprint"));
}

#[test]
fn keys_that_are_agreed_elsewhere_pass_sealed() {
    let mut world = World::new();
    world.offer(A, &secure(ALICE, 4000, ""), &Options::default()).unwrap();
    world.answer(B, &secure(BOB, 5000, ""), &Options::default()).unwrap();
    let lines = world.exchange.lines();
    assert!(lines[0].sides.iter().all(|side| side.is_sealed && side.secure.is_none()));
}

#[test]
fn feedback_profiles_are_converted_and_answered_in_the_offerers() {
    for (from, to, told) in [
        ("RTP/AVP", Some(Transport::Rtp { secure: false, feedback: true }), "RTP/AVPF"),
        ("RTP/AVPF", AVP, "RTP/AVP"),
        ("RTP/AVPF", None, "RTP/AVPF"),
        ("RTP/AVPF", Some(Transport::Unknown), "RTP/AVPF"),
        ("RTP/AVP", Some(Transport::Accept), "RTP/AVP"),
    ] {
        let mut world = World::new();
        let offer = format!("{ALICE}m=audio 4000 {from} 0\na=rtcp-fb:* nack\na=rtcp-fb:0 pli\n");
        let offered = world.offer(A, &offer, &Options { transport: to, ..Options::default() }).unwrap();
        assert_eq!(protocol(&offered), told);
        let answer = format!("{BOB}m=audio 5000 {told} 0\n");
        assert_eq!(protocol(&world.answer(B, &answer, &Options::default()).unwrap()), from);
    }
}

#[test]
fn a_key_in_the_session_is_not_told_to_the_other_side() {
    let mut world = World::new();
    let offer = ALICE.replace("t=0 0", "t=0 0\nk=clear:secret") + "m=audio 4000 RTP/AVP 0\n";
    assert!(offer.contains("\nk=clear"));
    let told = world.offer(A, &offer, &Options::default()).unwrap();
    assert!(!told.contains("secret"), "{told}");
}
