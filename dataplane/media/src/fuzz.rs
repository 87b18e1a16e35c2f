//! Fuzz entries: plain functions on bytes that must neither panic nor break what they promise. A driver (ours or
//! cargo-fuzz) feeds them.

use crate::bridge::{Bridges, BridgesConfig, OpenPort, Packet, Slot};
use crate::dtmf::event::{self, REORDER, Receiver, Sender};
use crate::mixer::{Chime, Heard, Mixer, MixerConfig, SeatConfig, SeatKey};
use crate::playout::{Coded, Playout, PlayoutConfig};
use crate::srtp::{OVERHEAD_MAX, Opener, Sealer};
use crate::tone;
use crate::wire::classify::classify;
use crate::wire::rtcp::Compound;
use crate::wire::rtp::{Header, Rtp};
use base::{Duration, Instant, Now, Rng, Wall};
use codec::coder::Format;
use codec::payload::Kind;
use codec::resample::RATES;
use command::spec::{Audience, Rewrite};
use command::{
    Accept, BridgeId, BridgeSpec, EdgeSpec, Learn, MediaClass, Party, Phase, PortIndex, PortSpec, Remote,
    RemoteTag, RtcpMux, SdesKeys, SendTo, Suite, Timeouts, Transform, Verdict,
};
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Packets of telephone events: each is eight bytes of time, number, timestamp and payload, of whatever sense.
pub fn digits(data: &[u8]) {
    let mut receiver = Receiver::new(REORDER);
    let mut sender = Sender::new(16_000, Duration::from_millis(20));
    let (mut now, mut begun, mut ended) = (Instant(1_000_000_000), 0, 0);
    let (packets, rest) = data.as_chunks::<8>();
    let _ = receiver.handle(now, &Header::default(), 8_000, rest);
    for &[gap, sequence, high, low, ref payload @ ..] in packets {
        now += Duration::from_millis(gap.into());
        let timestamp = u32::from(u16::from_be_bytes([high, low])) * 80;
        let (sequence, marker) = (u16::from(sequence) * 3, gap & 1 == 1);
        let header = Header { marker, payload_type: 101, sequence, timestamp, ssrc: 1 };
        let _ = receiver.handle(now, &header, 8_000, payload);
        while let Some(event) = receiver.poll(now) {
            begun += u32::from(event.phase == event::Phase::Begin);
            ended += u32::from(event.phase == event::Phase::End);
            assert!(begun - ended <= 1, "one key after the other");
            sender.follow(now, &event, timestamp);
        }
        let sent = core::iter::from_fn(|| sender.poll(now)).take(1_000).count();
        assert!(sent < 1_000, "what comes in is not multiplied");
    }
}

/// Text that is a tone or not; what is one sounds.
pub fn tones(data: &[u8]) {
    let Ok(text) = core::str::from_utf8(data) else { return };
    if let Ok(tone) = tone::parse(text) {
        let mut pcm = [0; 320];
        let mut player = tone::Player::new(&tone, 8_000, Some(2), Duration::from_millis(7), 0);
        assert_eq!(player.fill(&mut pcm).samples == pcm.len(), !player.is_done());
    }
}

/// One datagram through every view of it.
pub fn wire(data: &[u8]) {
    let _ = classify(data);
    if let Ok(rtp) = Rtp::parse(data) {
        let extension = rtp.extension().map_or(0, |(_, body)| body.len() + 4);
        let behind_head = rtp.csrcs().count() * 4 + extension + rtp.payload().len();
        assert_eq!(12 + behind_head + usize::from(rtp.padding()), data.len(), "the parts make up the packet");
        let mut copy = data.to_vec();
        rtp.header().write(&mut copy);
        assert_eq!(copy, data, "a header written over itself changes nothing");
    }
    if let Ok(compound) = Compound::parse(data) {
        let mut len = 0;
        for part in compound.parts() {
            len += part.bytes().len();
            let _ = (part.sender(), part.sender_info(), part.blocks().count(), part.items().count());
        }
        assert_eq!(len, data.len(), "the parts make up the packet");
    }
}

/// Any datagram under any suite: opened if it may be; what can be sealed opens to itself, once. The first byte says how.
pub fn srtp(data: &[u8]) {
    let Some((how, data)) = data.split_first() else { return };
    let suite = Suite::ALL[usize::from(*how) % Suite::ALL.len()];
    let keys = SdesKeys {
        suite,
        key: vec![3; suite.key_len() + suite.salt_len()],
        mki: vec![1; usize::from(how >> 6)],
    };
    let (Ok(mut sealer), Ok(mut opener)) = (Sealer::new(&keys), Opener::new(&keys)) else {
        panic!("keys that fit their suite");
    };
    let _ = (opener.open_rtp(&mut data.to_vec()), opener.open_rtcp(&mut data.to_vec()));
    let mut buffer = [data, &[0; OVERHEAD_MAX]].concat();
    if let Ok(len) = sealer.seal_rtp(&mut buffer, data.len()) {
        let mut packet = buffer[..len].to_vec();
        assert_eq!(opener.open_rtp(&mut packet), Ok(data.len()));
        assert_eq!(packet[..data.len()], *data, "what was sealed opens to itself");
        assert_eq!(opener.open_rtp(&mut buffer[..len]), Err(Verdict::Replayed));
    }
    let mut buffer = [data, &[0; OVERHEAD_MAX]].concat();
    if let Ok(len) = sealer.seal_rtcp(&mut buffer, data.len()) {
        let mut packet = buffer[..len].to_vec();
        assert_eq!(opener.open_rtcp(&mut packet), Ok(data.len()));
        assert_eq!(packet[..data.len()], *data, "what was sealed opens to itself");
        assert_eq!(opener.open_rtcp(&mut buffer[..len]), Err(Verdict::Replayed));
    }
}

/// A room whose seats come, go, change and speak as the bytes say, five a step.
pub fn mixer(data: &[u8]) {
    let Some(([shape, talkers], steps)) = data.split_first_chunk::<2>() else { return };
    let frame_ms = if shape & 1 == 0 { 10 } else { 20 };
    let mut mixer = Mixer::new(MixerConfig { frame_ms, talkers: *talkers, seats_max: 12 });
    let mut seats: Vec<(SeatKey, SeatConfig)> = Vec::new();
    let mut out = [0; 960];
    for step in steps.as_chunks::<5>().0 {
        let [what, who, whom, how, gain] = *step;
        let at = usize::from(who) % seats.len().max(1);
        let config = SeatConfig {
            rate: RATES[usize::from(how) % RATES.len()],
            talks: how & 0x40 == 0,
            hears: how & 0x80 == 0,
            gain_centibel: i16::from_be_bytes([gain, whom]),
            coaches: seats.get(usize::from(whom)).map(|(key, _)| *key),
            announces: what & 0x80 != 0,
        };
        match what & 7 {
            0 | 1 => seats.extend(mixer.join(config).map(|key| (key, config))),
            2 if !seats.is_empty() => mixer.leave(seats.swap_remove(at).0),
            3 if !seats.is_empty() => {
                seats[at].1 = config;
                assert_eq!(mixer.configure(seats[at].0, config), Ok(()), "the rate is one of ours");
            }
            4 => mixer.set_talkers(gain),
            5 => mixer.chime(if how & 1 == 0 { Chime::Joined } else { Chime::Left }),
            _ => {}
        }
        mixer.begin();
        for (n, (key, _)) in seats.iter().enumerate() {
            if who >> (n % 8) & 1 == 1 {
                let sample = i16::from_be_bytes([whom, gain]).wrapping_mul(n as i16);
                mixer.put(*key, &vec![sample; usize::from(how) * 5], (what & 0x40 != 0).then_some(gain));
            }
        }
        mixer.mix();
        assert_eq!(mixer.seats(), seats.len(), "no seat is lost");
        for (key, config) in &seats {
            let out = &mut out[..config.rate as usize * usize::from(frame_ms) / 1_000];
            match mixer.take(*key, out) {
                Heard::Common(group) => assert_eq!(mixer.common(group), out, "common is common"),
                Heard::Nothing => assert!(!config.hears && out.iter().all(|sample| *sample == 0)),
                Heard::Own => assert!(config.hears),
            }
        }
        let changes = core::iter::from_fn(|| mixer.poll_talking()).count();
        assert!(changes <= 32, "changes come to an end");
    }
}

/// A bridge whose spec and packets are made of the data: each record is a length, an instruction and its bytes.
pub fn bridge(mut data: &[u8]) {
    let start = Instant(1_000_000_000);
    let mut now = Now { mono: start, wall: Wall(0) };
    let id = BridgeId::new(0, 0, 0, 1);
    let mut bridges = Bridges::new(
        now,
        BridgesConfig {
            shard: 0,
            bridges_max: 1,
            slots_max: 4,
            events_max: 8,
            orphan: Duration::from_secs(1),
            own: Vec::new(),
            rng: Rng::from_seed(1),
        },
    );
    for index in 0..2u16 {
        let (rtp, rtcp) = (Slot(u32::from(index) * 2), Slot(u32::from(index) * 2 + 1));
        let local = peer(9, index as u8);
        let opened = bridges.open(now, id, OpenPort { port: PortIndex(index), local, rtp, rtcp });
        assert_eq!(opened, Ok(()), "there is room for two ports");
    }
    let mut buffer = [0; 256];
    while let Some(([len, what], rest)) = data.split_first_chunk::<2>() {
        let (bytes, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        data = rest;
        now.mono += Duration::from_millis(u64::from(what >> 4) * 40);
        if *what & 0x0f == 0 {
            let _ = bridges.set(now, id, &spec(bytes));
            bridges.handle_timeout(now);
            while bridges.poll_event().is_some() {}
            continue;
        }
        buffer[..bytes.len()].copy_from_slice(bytes);
        let mut packet = Packet { buffer: &mut buffer, len: bytes.len(), truncated: false };
        let source = peer(what & 3, what >> 3 & 1);
        let hop = bridges.handle_packet(now, Slot(u32::from(what & 3)), source, &mut packet);
        assert!(packet.len <= bytes.len() || hop.is_err(), "relay never makes a packet longer");
    }
    let counters = bridges.counters();
    let dropped: u64 = counters.dropped.iter().sum();
    assert_eq!(counters.packets_in, counters.packets_out + dropped, "every packet is counted once");
    assert!(bridges.close(now, id, |_, _| {}).is_some(), "the bridge is still there");
}

fn peer(host: u8, port: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)), 4000 + u16::from(port) * 2)
}

/// Any spec of two ports.
fn spec(bytes: &[u8]) -> BridgeSpec {
    let byte = |n: usize| bytes.get(n).copied().unwrap_or(0);
    let port = |index: u16| {
        let at = usize::from(index) * 3;
        let (policy, peers, flags) = (byte(at), byte(at + 1), byte(at + 2));
        let remote = |n: u8| Remote {
            tag: RemoteTag(n.into()),
            rtp: (peers >> n & 8 == 0).then(|| peer(peers & 3, n)),
            rtcp: None,
            sends: flags & 1 == 0,
            receives: flags & 2 == 0,
            keys: None,
            sealed: false,
        };
        PortSpec {
            port: PortIndex(index),
            party: Party(index),
            class: [MediaClass::Rtp, MediaClass::Rtp, MediaClass::Udptl, MediaClass::Opaque]
                [usize::from(flags >> 2 & 3)],
            remotes: (0..1 + (peers >> 6 & 1)).map(remote).collect(),
            active: Some(RemoteTag(u32::from(peers >> 7))),
            mux: [RtcpMux::Separate, RtcpMux::Muxed, RtcpMux::Offered, RtcpMux::Muxed]
                [usize::from(flags >> 4 & 3)],
            learn: [Learn::Window, Learn::Strict, Learn::Signalled, Learn::Handover][usize::from(policy & 3)],
            accept: [Accept::Locked, Accept::Any, Accept::AnyThenLocked, Accept::Signalled]
                [usize::from(policy >> 2 & 3)],
            send_to: [SendTo::Learned, SendTo::Signalled][usize::from(policy >> 4 & 1)],
            ..PortSpec::default()
        }
    };
    let edge = |from: u16, to: u16| {
        let shape = byte(6 + usize::from(from));
        let rewrite = Rewrite { ssrc: shape.into(), sequence_offset: 5, timestamp_offset: 9 };
        let payload_map = if shape & 2 == 0 { Vec::new() } else { vec![(0, 8)] };
        let relay = Transform::Relay { payload_map, rewrite: (shape & 4 != 0).then_some(rewrite) };
        EdgeSpec {
            from: PortIndex(from),
            to: PortIndex(to),
            transform: if shape & 1 == 0 { relay } else { Transform::Drop },
            gain_centibel: 0,
            audience: Audience::All,
        }
    };
    BridgeSpec {
        phase: [Phase::Early, Phase::Active, Phase::Held][usize::from(byte(8) % 3)],
        timeouts: Timeouts::default(),
        ports: (0..2).map(port).collect(),
        edges: vec![edge(0, 1), edge(1, 0)],
        room: None,
    }
}

/// A playout of every codec that is fed and pulled as the data says: each record is an instruction, a step of the number,
/// and a payload behind its length.
pub fn playout(mut data: &[u8]) {
    let formats = [("pcmu", 8_000, 1), ("g722", 8_000, 1), ("opus", 48_000, 2), ("l16", 16_000, 1)];
    let mut coded: Vec<Coded> = (0..)
        .zip(formats)
        .filter_map(|(payload_type, (name, clock, channels))| {
            let format = Format { name, clock, channels, fmtp: "" };
            let decoder = codec::registry::find(&format)?.decoder(&format, 16_000);
            Some(Coded { payload_type, clock, kind: Kind::Audio, decoder: Some(decoder) })
        })
        .collect();
    coded.push(Coded { payload_type: 13, clock: 8_000, kind: Kind::Noise, decoder: None });
    coded.push(Coded { payload_type: 101, clock: 8_000, kind: Kind::Event, decoder: None });
    let (first, rest) = data.split_first().map_or((0, data), |(first, rest)| (*first, rest));
    data = rest;
    let config = PlayoutConfig {
        rate: [8_000, 16_000, 48_000][usize::from(first % 3)],
        min: Duration::from_millis(20),
        max: Duration::from_millis(500),
        patient: first & 0x80 != 0,
        seed: 1,
    };
    let mut playout = Playout::new(config, coded);
    let mut now = Instant(1_000_000_000);
    let mut header = Header::default();
    let mut pcm = vec![0; config.rate as usize / 50];
    while let Some(([what, step, len], rest)) = data.split_first_chunk::<3>() {
        let (payload, rest) = rest.split_at(rest.len().min(usize::from(*len)));
        data = rest;
        header.payload_type = [0, 1, 2, 3, 13, 101, 77, 0][usize::from(what & 7)];
        header.sequence = header.sequence.wrapping_add_signed(i16::from(*step as i8));
        header.timestamp = header.timestamp.wrapping_add_signed(i32::from(*step as i8) * 160);
        match what >> 3 & 7 {
            0 => header.ssrc = (*step).into(),
            1 => header.timestamp = header.timestamp.wrapping_mul(77).wrapping_add((*step).into()),
            2 => now += Duration::from_millis(u64::from(*step) * 50),
            _ => now += Duration::from_millis(10),
        }
        let _ = playout.insert(now, &header, payload);
        for _ in 0..what >> 6 {
            let len = if step & 1 == 0 { pcm.len() } else { pcm.len() / 2 };
            playout.pull(now, &mut pcm[..len]);
        }
        let report = playout.report();
        assert!(report.buffered < Duration::from_secs(9), "what waits is bounded: {report:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_datagram_is_survived(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            wire(&data);
        }

        #[test]
        fn any_source_is_survived(data in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            playout(&data);
        }

        #[test]
        fn any_room_is_survived(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            mixer(&data);
        }

        #[test]
        fn any_keys_are_survived(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            digits(&data);
        }

        #[test]
        fn any_story_is_survived(data in proptest::collection::vec(any::<u8>(), 0..600)) {
            bridge(&data);
        }

        /// Bytes that look like media more often than chance would have it.
        #[test]
        fn any_likely_story_is_survived(
            records in proptest::collection::vec(
                (any::<u8>(), prop_oneof![Just(0u8), Just(200), Just(201), Just(202), Just(205), Just(207)], 0..12u8),
                1..60,
            ),
        ) {
            let mut data = Vec::new();
            for (what, kind, words) in records {
                let body = [&[0x81, kind, 0, words][..], &vec![words; usize::from(words) * 4]].concat();
                data.extend([body.len() as u8, what]);
                data.extend(body);
            }
            bridge(&data);
        }
    }
}
