//! What must not take anything from the heap, counted by the allocator of this test binary: reading a SIP message, and
//! relaying packets by the spec that a real offer and answer lead to. Whole media shards are counted in `shard`'s tests.

#[path = "support/counting.rs"]
mod counting;

use base::{Duration, Instant, Now, Rng, Wall};
use command::{BridgeId, PortIndex, RemoteTag};
use counting::allocations;
use media::{Bridges, BridgesConfig, OpenPort, Packet, Slot};
use sdp::{Negotiation, NegotiationConfig, Side, SideConfig};
use sip::frame::{Frame, Framing, frame};
use sip::message::{Message, Name};
use std::hint::black_box;
use std::net::{IpAddr, SocketAddr};

const INVITE: &[u8] = include_bytes!("data/typical/invite.sip");
const ANSWER: &[u8] = include_bytes!("data/typical/answer.sdp");

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(black_box(Box::new(1)))), 1);
}

#[test]
fn reading_a_typical_invite_takes_nothing_from_the_heap() {
    assert!((1_100..1_500).contains(&INVITE.len()), "a typical INVITE has 1.2 KB: {}", INVITE.len());
    for framing in [Framing::Datagram, Framing::Stream] {
        let taken = allocations(|| {
            assert_eq!(frame(INVITE, framing), Frame::Message(0..INVITE.len()));
            let message = Message::parse(INVITE, framing).expect("a valid INVITE");
            read(&message);
        });
        assert_eq!(taken, 0, "{framing:?}");
    }
}

/// Everything that the way of a call asks of an INVITE.
fn read(message: &Message<'_>) {
    assert!(message.is_request() && message.earns(&sip::message::OPTION_TAGS).is_none());
    black_box((message.method(), message.request_uri().expect("a URI").host, message.cseq()));
    black_box((message.top_via().branch(), message.vias().count(), message.max_forwards()));
    black_box((message.from().parsed(), message.from_tag(), message.to().parsed(), message.to_tag()));
    black_box((
        message.call_id(),
        message.contact().expect("a Contact").parsed(),
        message.record_routes().count(),
    ));
    black_box((
        message.supports(b"timer"),
        message.requires(b"100rel"),
        message.session_expires(),
        message.min_se(),
    ));
    black_box((message.is_content(b"application/sdp"), message.body().len()));
    black_box((message.header(Name::UserAgent), message.header_named(b"P-Asserted-Identity")));
    black_box(message.headers().map(|field| field.value.len()).sum::<usize>());
}

/// The sockets of the two ports: RTP and RTCP of A, then of B.
const SLOTS: [Slot; 4] = [Slot(0), Slot(1), Slot(2), Slot(3)];

#[test]
fn a_warm_bridge_relays_without_the_heap() {
    let mut now = Now { mono: Instant(1_000_000_000), wall: Wall(0) };
    let mut bridges = Bridges::new(
        now,
        BridgesConfig {
            shard: 0,
            bridges_max: 1,
            slots_max: 4,
            events_max: 8,
            orphan: Duration::from_secs(30),
            own: Vec::new(),
            rng: Rng::from_seed(1),
        },
    );
    let id = BridgeId::new(0, 0, 0, 1);
    for (index, local) in [(0, "203.0.113.1:20000"), (1, "203.0.113.1:20002")] {
        let slot = 2 * usize::from(index);
        let open = OpenPort {
            port: PortIndex(index),
            local: address(local),
            rtp: SLOTS[slot],
            rtcp: SLOTS[slot + 1],
        };
        bridges.open(now, id, open).expect("there is room");
    }
    bridges.set(now, id, &negotiated()).expect("a bridge of two is supported");

    let peers = [
        ("192.0.2.15:16384", 7),
        ("192.0.2.15:16385", 7),
        ("198.51.100.40:30004", 8),
        ("198.51.100.40:30005", 8),
    ];
    let mut buffer = [0; 2048];
    let mut round = |n: u64| {
        now.mono += Duration::from_millis(20);
        let mut passed = 0;
        for (slot, (source, ssrc)) in SLOTS.into_iter().zip(peers) {
            let len = if slot.0 % 2 == 0 { rtp(&mut buffer, ssrc, n) } else { rtcp(&mut buffer, ssrc) };
            let mut packet = Packet { buffer: &mut buffer, len, truncated: false };
            let hop = bridges.handle_packet(now, slot, address(source), &mut packet);
            passed += u64::from(hop.is_ok());
        }
        passed
    };
    for n in 0..100 {
        round(n);
    }
    let mut passed = 0;
    assert_eq!(allocations(|| passed = (100..5_100).map(&mut round).sum()), 0);
    assert_eq!(passed, 20_000);
}

/// What the bridge is told after the typical INVITE was answered.
fn negotiated() -> command::BridgeSpec {
    let ours: IpAddr = "203.0.113.1".parse().expect("an address");
    let side = || SideConfig { address: Some(ours), ..SideConfig::default() };
    let mut call =
        Negotiation::new(NegotiationConfig { a: side(), b: side(), ..NegotiationConfig::default() });
    call.add_ports(Side::A, [(PortIndex(0), 20_000)]);
    call.add_ports(Side::B, [(PortIndex(1), 20_002)]);
    let invite = Message::parse(INVITE, Framing::Datagram).expect("a valid INVITE");
    call.offer(Side::A, invite.body()).expect("an offer that can be passed on");
    call.answer(Side::B, RemoteTag(0), ANSWER).expect("an answer that fits");
    call.commit(RemoteTag(0)).expect("it has answered");
    call.answered();
    call.spec()
}

/// 20 ms of A-law.
fn rtp(buffer: &mut [u8], ssrc: u32, n: u64) -> usize {
    buffer[..2].copy_from_slice(&[0x80, 8]);
    buffer[2..4].copy_from_slice(&(n as u16).to_be_bytes());
    buffer[4..8].copy_from_slice(&(n as u32 * 160).to_be_bytes());
    buffer[8..12].copy_from_slice(&ssrc.to_be_bytes());
    buffer[12..172].fill(0xd5);
    172
}

/// An empty receiver report with a CNAME.
fn rtcp(buffer: &mut [u8], ssrc: u32) -> usize {
    let [a, b, c, d] = ssrc.to_be_bytes();
    let report = [0x80, 201, 0, 1, a, b, c, d, 0x81, 202, 0, 2, a, b, c, d, 1, 1, b'x', 0];
    buffer[..report.len()].copy_from_slice(&report);
    report.len()
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}
