//! What passes, line by line.

use super::world::*;
use crate::options::Options;
use command::{MediaClass, Transform};
use sdp::Side::{A, B};

#[test]
fn an_sdp_is_written_anew_in_the_order_of_rtpengine() {
    let mut world = World::new();
    let offer = "v=0\no=alice 111 222 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\ni=about\nu=http://h\ne=a@b\np=1\n\
        b=AS:512\nt=0 0\na=sendrecv\na=tool:x\na=ice-lite\n\
        m=audio 4000 RTP/AVP 8 0 101 96\ni=info\nb=TIAS:64000\na=rtpmap:101 telephone-event/8000\n\
        a=fmtp:101 0-15\na=rtpmap:96 opus/48000/2\na=fmtp:96 useinbandfec=1\na=rtcp-fb:96 nack\n\
        a=mid:0\na=label:x\na=ptime:20\na=maxptime:40\n\
        a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\na=unknown:1\na=silenceSupp:off - - - -\n\
        a=candidate:1 1 udp 1 192.0.2.1 4000 typ host\na=ice-ufrag:abcd\na=ice-pwd:abcd\na=rtcp-mux\n";
    let told = world.offer(A, offer, &Options::default()).unwrap();
    assert_eq!(
        told,
        "v=0\no=alice 111 222 IN IP4 192.0.2.1\ns=-\ni=about\nu=http://h\ne=a@b\np=1\nb=AS:512\nt=0 0\na=tool:x\n\
        m=audio 30000 RTP/AVP 8 0 101 96\ni=info\nc=IN IP4 203.0.113.9\nb=TIAS:64000\na=mid:0\na=label:x\n\
        a=rtpmap:8 PCMA/8000\na=rtpmap:0 PCMU/8000\na=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n\
        a=rtpmap:96 opus/48000/2\na=fmtp:96 useinbandfec=1\na=rtcp-fb:96 nack\n\
        a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\na=unknown:1\na=silenceSupp:off - - - -\n\
        a=sendrecv\na=rtcp:30001\na=rtcp-mux\na=ptime:20\na=maxptime:40\n"
    );
}

#[test]
fn a_plain_call_is_relayed_and_its_answer_told() {
    let mut world = World::new();
    let told = world
        .offer(A, &format!("{ALICE}m=audio 4000 RTP/AVP 0 8\na=sendrecv\n"), &Options::default())
        .unwrap();
    assert_eq!(
        told,
        format!(
            "{OF_ALICE}m=audio 30000 RTP/AVP 0 8\nc=IN IP4 203.0.113.9\na=rtpmap:0 PCMU/8000\n\
            a=rtpmap:8 PCMA/8000\na=sendrecv\na=rtcp:30001\n"
        )
    );
    let told = world.answer(B, &format!("{BOB}m=audio 5000 RTP/AVP 8\n"), &Options::default()).unwrap();
    assert_eq!(
        told,
        format!(
            "{OF_BOB}m=audio 20000 RTP/AVP 8\nc=IN IP4 198.51.100.9\na=rtpmap:8 PCMA/8000\na=sendrecv\n\
            a=rtcp:20001\n"
        )
    );
    let lines = world.exchange.lines();
    assert_eq!(lines.len(), 1);
    let line = &lines[0];
    assert_eq!((line.class, line.is_refused), (MediaClass::Rtp, false));
    assert_eq!(line.sides[0].rtp, Some("192.0.2.1:4000".parse().unwrap()));
    assert_eq!(line.sides[1].rtcp, Some("192.0.2.2:5001".parse().unwrap()));
    assert_eq!(line.sides[0].payloads[0].encoding, "pcma");
    for transform in &line.transforms {
        assert_eq!(*transform, Transform::Relay { payload_map: vec![], rewrite: None });
    }
}
