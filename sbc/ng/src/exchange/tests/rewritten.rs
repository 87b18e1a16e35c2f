//! What the client may change about the SDP: origins, addresses, RTCP, directions, attributes, media.

use super::world::*;
use crate::options::{AttributeChange, AttributePlace, Change, Options, RtcpMuxOptions, SdpOptions};
use command::RtcpMux;
use sdp::Side::{A, B};

fn options(sdp: SdpOptions) -> Options {
    Options { sdp, ..Options::default() }
}

fn default() -> SdpOptions {
    SdpOptions::default()
}

fn audio(head: &str, port: u16) -> String {
    format!("{head}m=audio {port} RTP/AVP 0\n")
}

fn line<'s>(sdp: &'s str, start: &str) -> Option<&'s str> {
    sdp.lines().find(|line| line.starts_with(start))
}

#[test]
fn origins_are_replaced_as_far_as_wanted() {
    let table = [
        (default(), "o=alice 111 222 IN IP4 192.0.2.1"),
        (SdpOptions { replace_origin: true, ..default() }, "o=alice 111 222 IN IP4 203.0.113.9"),
        (SdpOptions { replace_origin_full: true, ..default() }, "o=alice 111 222 IN IP4 203.0.113.9"),
        (SdpOptions { replace_username: true, ..default() }, "o=alice 111 222 IN IP4 192.0.2.1"),
    ];
    for (sdp, expected) in table {
        let mut world = World::new();
        let told = world.offer(A, &audio(ALICE, 4000), &options(sdp.clone())).unwrap();
        assert_eq!(line(&told, "o="), Some(expected), "{sdp:?}");
    }
    // Over a call the first stays where it is replaced.
    let later = "v=0\no=else 999 5 IN IP6 2001:db8::1\ns=x\nc=IN IP4 192.0.2.1\nt=0 0\n";
    let table = [
        (default(), "o=else 999 5 IN IP6 2001:db8::1", "s=x"),
        (SdpOptions { replace_username: true, ..default() }, "o=alice 999 5 IN IP6 2001:db8::1", "s=x"),
        (SdpOptions { replace_session_name: true, ..default() }, "o=else 999 5 IN IP6 2001:db8::1", "s=-"),
        (SdpOptions { replace_origin_full: true, ..default() }, "o=alice 111 223 IN IP4 203.0.113.9", "s=x"),
    ];
    for (sdp, origin, name) in table {
        let mut world = World::new();
        world.offer(A, &audio(ALICE, 4000), &options(sdp.clone())).unwrap();
        let told = world.offer(A, &audio(later, 4000), &options(sdp.clone())).unwrap();
        assert_eq!((line(&told, "o="), line(&told, "s=")), (Some(origin), Some(name)), "{sdp:?}");
    }
}

#[test]
fn versions_grow_when_the_sdp_changes() {
    let head = |version: u32| ALICE.replace("222", &version.to_string());
    let version = |told: String| told.lines().nth(1).unwrap().split(' ').nth(2).unwrap().to_owned();
    let ours = options(SdpOptions { replace_version: true, ..default() });
    let mut world = World::new();
    let mut offer = |sdp: String, options: &Options| version(world.offer(A, &sdp, options).unwrap());
    assert_eq!(offer(audio(&head(222), 4000), &ours), "222");
    assert_eq!(offer(audio(&head(222), 4000), &ours), "222");
    assert_eq!(offer(audio(&head(230), 4000), &ours), "222", "only the version has changed");
    assert_eq!(offer(audio(&head(231), 4000) + "a=sendonly\n", &ours), "223");
    assert_eq!(offer(audio(&head(231), 4000) + "a=sendonly\n", &ours), "223");
    let forced = options(SdpOptions { force_version: true, ..default() });
    assert_eq!(offer(audio(&head(231), 4000) + "a=sendonly\n", &forced), "224");
    assert_eq!(offer(audio(&head(231), 4000) + "a=sendonly\n", &forced), "225");
}

#[test]
fn media_addresses_can_be_given() {
    let mut world = World::new();
    let address = Some("2001:db8::9".parse().unwrap());
    let sdp = SdpOptions { replace_origin: true, full_rtcp: true, ..default() };
    let told = world
        .offer(A, &audio(ALICE, 4000), &Options { media_address: address, sdp, ..Options::default() })
        .unwrap();
    assert_eq!(line(&told, "o="), Some("o=alice 111 222 IN IP6 2001:db8::9"));
    assert_eq!(line(&told, "c="), Some("c=IN IP6 2001:db8::9"));
    assert_eq!(line(&told, "a=rtcp:"), Some("a=rtcp:30001 IN IP6 2001:db8::9"));
}

#[test]
fn rtcp_is_told_as_wanted() {
    let mut world = World::new();
    let told =
        world.offer(A, &audio(ALICE, 4000), &options(SdpOptions { no_rtcp: true, ..default() })).unwrap();
    assert_eq!(line(&told, "a=rtcp:"), None);
    let told =
        world.offer(A, &audio(ALICE, 4000), &options(SdpOptions { full_rtcp: true, ..default() })).unwrap();
    assert_eq!(line(&told, "a=rtcp:"), Some("a=rtcp:30001 IN IP4 203.0.113.9"));
}

/// The offer has it; the option; what B is told; whether B takes it; what A is told; where RTCP is then.
#[test]
fn rtcp_mux_is_offered_and_answered_as_wanted() {
    use RtcpMux::{Muxed, Separate};
    let none = RtcpMuxOptions::default;
    let [plus, with] = [Some("a=rtcp:30001"), Some("a=rtcp:30000")];
    let table = [
        (false, none(), (plus, false), true, false, [Separate, Separate]),
        (true, none(), (plus, true), true, true, [Muxed, Muxed]),
        (true, none(), (plus, true), false, false, [Separate, Separate]),
        (false, RtcpMuxOptions { offer: true, ..none() }, (plus, true), true, false, [Separate, Muxed]),
        (false, RtcpMuxOptions { require: true, ..none() }, (with, true), true, false, [Separate, Muxed]),
        (true, RtcpMuxOptions { demux: true, ..none() }, (plus, false), false, true, [Muxed, Separate]),
        (true, RtcpMuxOptions { accept: true, ..none() }, (plus, true), false, true, [Muxed, Separate]),
        (true, RtcpMuxOptions { reject: true, ..none() }, (plus, true), true, false, [Separate, Muxed]),
    ];
    for (offers, rtcp_mux, (rtcp, mux), takes, told_mux, after) in table {
        let mut world = World::new();
        let attribute = |has: bool| if has { "a=rtcp-mux\n" } else { "" };
        let offered = world
            .offer(A, &(audio(ALICE, 4000) + attribute(offers)), &Options { rtcp_mux, ..Options::default() })
            .unwrap();
        let case = format!("{offers} {rtcp_mux:?} {takes}");
        assert_eq!(
            (line(&offered, "a=rtcp:"), line(&offered, "a=rtcp-mux").is_some()),
            (rtcp, mux),
            "{case}"
        );
        let told = world.answer(B, &(audio(BOB, 5000) + attribute(takes)), &Options::default()).unwrap();
        let port = if told_mux { "a=rtcp:20000" } else { "a=rtcp:20001" };
        assert_eq!(
            (line(&told, "a=rtcp:"), line(&told, "a=rtcp-mux").is_some()),
            (Some(port), told_mux),
            "{case}"
        );
        assert_eq!(world.exchange.lines()[0].sides.each_ref().map(|side| side.mux), after, "{case}");
    }
}

#[test]
fn marks_keep_sdp_of_ours_from_being_taken_twice() {
    let mut world = World::new();
    let marked = options(SdpOptions { loop_protect: true, ..default() });
    let told = world.offer(A, &audio(ALICE, 4000), &marked).unwrap();
    assert_eq!(line(&told, "a=rtpengine:"), Some("a=rtpengine:123456789abc"));
    let lines = world.exchange.lines();
    assert_eq!(world.offer(A, &told, &marked).unwrap(), told, "left alone");
    assert_eq!(world.exchange.lines(), lines);
    let other = told.replace("123456789abc", "000000000001");
    assert_eq!(world.offer(B, &other, &marked).unwrap().matches("a=rtpengine:").count(), 1);
}

#[test]
fn lines_get_names_on_demand_and_keep_their_own() {
    let mut world = World::new();
    let offer = audio(ALICE, 4000) + "a=mid:x\nm=video 4002 RTP/AVP 96\na=rtpmap:96 VP8/90000\n";
    let told = world.offer(A, &offer, &options(SdpOptions { generate_mid: true, ..default() })).unwrap();
    let mids: Vec<_> = told.lines().filter(|line| line.starts_with("a=mid:")).collect();
    assert_eq!(mids, ["a=mid:x", "a=mid:2"]);
    // An answer that leaves the offerer's name out gets it back.
    let answer = audio(BOB, 5000) + "m=video 0 RTP/AVP 96\n";
    let told = world.answer(B, &answer, &Options::default()).unwrap();
    assert_eq!(line(&told, "a=mid:"), Some("a=mid:x"));
}

#[test]
fn attributes_are_added_removed_and_exchanged() {
    let change = |place, change| AttributeChange { place, change };
    let kind = || AttributePlace::Kind(b"audio".to_vec());
    let attributes = vec![
        change(AttributePlace::Session, Change::Remove(b"tool".to_vec())),
        change(AttributePlace::Session, Change::Add(b"new".to_vec())),
        change(kind(), Change::Substitute(b"fmtp:101".to_vec(), b"fmtp:101 0-15,32".to_vec())),
        change(kind(), Change::Remove(b"x".to_vec())),
        change(kind(), Change::Add(b"in\r\njected:1".to_vec())),
        change(AttributePlace::All, Change::Remove(b"sendrecv".to_vec())),
    ];
    let offer = "v=0\no=alice 111 222 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\na=tool:1\na=keep\n\
        m=audio 4000 RTP/AVP 0 101\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-16\na=x:1\na=xy:2\n\
        m=video 4002 RTP/AVP 96\na=rtpmap:96 VP8/90000\na=x:1\n";
    let mut world = World::new();
    let told = world.offer(A, offer, &options(SdpOptions { attributes, ..default() })).unwrap();
    assert_eq!(
        told,
        format!(
            "{OF_ALICE}a=keep\na=new\nm=audio 30000 RTP/AVP 0 101\nc=IN IP4 203.0.113.9\na=rtpmap:0 PCMU/8000\n\
            a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15,32\na=xy:2\na=rtcp:30001\na=injected:1\n\
            m=video 30002 RTP/AVP 96\nc=IN IP4 203.0.113.9\na=rtpmap:96 VP8/90000\na=x:1\na=rtcp:30003\n"
        )
    );
}

#[test]
fn header_extensions_can_be_left_out() {
    let mut world = World::new();
    let offer = audio(ALICE, 4000) + "a=extmap:1 urn:x\na=sendonly\n";
    let told = world.offer(A, &offer, &options(SdpOptions { strip_extmap: true, ..default() })).unwrap();
    assert!(!told.contains("extmap"));
}

#[test]
fn kinds_of_media_can_be_kept_from_the_other_side() {
    let offer = "m=video 4002 RTP/AVP 96\na=rtpmap:96 VP8/90000\nm=audio 4000 RTP/AVP 0\n";
    let removes = options(SdpOptions { remove_media: vec![b"video".to_vec()], ..default() });
    let mut world = World::new();
    let told = world.offer(A, &format!("{ALICE}{offer}"), &removes).unwrap();
    assert!(!told.contains("m=video") && told.contains("m=audio 30002 RTP/AVP 0\n"), "{told}");
    let told = world.answer(B, &audio(BOB, 5000), &Options::default()).unwrap();
    assert_eq!(
        told,
        format!(
            "{OF_BOB}m=video 0 RTP/AVP 96\nc=IN IP4 0.0.0.0\nm=audio 20002 RTP/AVP 0\nc=IN IP4 198.51.100.9\n\
            a=rtpmap:0 PCMU/8000\na=sendrecv\na=rtcp:20003\n"
        ),
        "the offerer has its line refused in its place"
    );
    let lines = world.exchange.lines();
    assert_eq!(lines.iter().map(|line| line.is_refused).collect::<Vec<_>>(), [true, false]);
    assert_eq!(lines[1].sides[1].rtp, Some("192.0.2.2:5000".parse().unwrap()));
    // A later offer of the other side has one line, and means that one.
    let told = world.offer(B, &audio(BOB, 5000), &Options::default()).unwrap();
    assert!(told.contains("m=video 0 RTP/AVP 96\n") && told.contains("m=audio 20002 RTP/AVP 0\n"), "{told}");
}

#[test]
fn ways_around_us_are_not_passed_on() {
    let offer = audio(ALICE, 4000)
        + "a=candidate:1 1 udp 1 192.0.2.1 4000 typ host\na=ice-ufrag:u\na=ice-pwd:p\na=end-of-candidates\n\
        a=alt:1 1 : x y 192.0.2.1 4000\na=rtcp:4001 IN IP4 192.0.2.1\na=bundle-only\na=kept:1\n\
        a=tcap:1 RTP/SAVP\na=acap:1 crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\na=pcfg:1 t=1 a=1\n\
        a=source-filter: incl IN IP4 * 198.51.100.7\n";
    let mut world = World::new();
    let replaced = options(SdpOptions { replace_origin: true, ..default() });
    let told = world.offer(A, &offer, &replaced).unwrap();
    assert!(!told.contains("192.0.2.1") && !told.contains("a=ice") && !told.contains("bundle"), "{told}");
    assert!(!told.contains("cap:") && !told.contains("pcfg") && !told.contains("filter"), "{told}");
    assert!(told.contains("a=kept:1\n"));
}

#[test]
fn rtcp_that_goes_with_rtp_is_told_so_in_later_offers() {
    let mut world = World::new();
    let (none, mux) = (Options::default(), "a=rtcp-mux\n");
    world.offer(A, &(audio(ALICE, 4000) + mux), &none).unwrap();
    world.answer(B, &(audio(BOB, 5000) + mux), &none).unwrap();
    let told = world.offer(A, &(audio(ALICE, 4000) + mux), &none).unwrap();
    assert_eq!(line(&told, "a=rtcp:"), Some("a=rtcp:30000"));
    // It may still be refused.
    world.answer(B, &audio(BOB, 5000), &none).unwrap();
    assert_eq!(world.exchange.lines()[0].sides[1].mux, RtcpMux::Separate);
    let told = world.offer(A, &(audio(ALICE, 4000) + mux), &none).unwrap();
    assert_eq!(line(&told, "a=rtcp:"), Some("a=rtcp:30001"));
}
