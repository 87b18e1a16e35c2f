//! Calls for tests of this crate.

use super::{CallFacts, LineFacts, PartyFacts, Role};
use crate::exchange::SideState;
use base::Wall;
use command::{BridgeSpec, EdgeSpec, Party, Payload, PortIndex, PortSpec, Remote, RemoteTag, Transform};
use core::net::SocketAddr;

pub(crate) const WALL: Wall = Wall(1_795_284_266_588_971);

pub(crate) fn payload(number: u8, encoding: &str, clock: u32) -> Payload {
    Payload { number, clock, encoding: encoding.to_owned(), fmtp: String::new() }
}

pub(crate) fn side(rtp: &str, payloads: Vec<Payload>) -> SideState {
    let rtp: SocketAddr = rtp.parse().unwrap();
    SideState {
        rtp: Some(rtp),
        rtcp: Some(SocketAddr::new(rtp.ip(), rtp.port() + 1)),
        sends: true,
        receives: true,
        mux: command::RtcpMux::Separate,
        payloads,
        secure: None,
        keys: None,
        is_sealed: false,
        digits: command::Digits::default(),
    }
}

/// A party with one line of PCMU, PCMA and events on the port of its number.
pub(crate) fn party(number: u16, tag: &str, peers: &[u16]) -> PartyFacts {
    let payloads =
        vec![payload(0, "pcmu", 8_000), payload(8, "pcma", 8_000), payload(101, "telephone-event", 8_000)];
    PartyFacts {
        party: Party(number),
        tag: tag.as_bytes().to_vec(),
        via_branch: Vec::new(),
        label: None,
        created: WALL,
        role: Role::Talks,
        peers: peers.iter().map(|peer| Party(*peer)).collect(),
        sources: Vec::new(),
        address: Some(format!("192.0.2.{}", number + 1).parse().unwrap()),
        lines: vec![LineFacts {
            line: 0,
            kind: sdp::Kind::Audio,
            protocol: b"RTP/AVP".to_vec(),
            port: PortIndex(number),
            local: format!("127.0.0.1:{}", 30_000 + number * 2).parse().unwrap(),
            advertised: "127.0.0.1".parse().unwrap(),
            is_refused: false,
            state: Some(side(&format!("192.0.2.{}:{}", number + 1, 40_000), payloads)),
        }],
    }
}

/// A and B, who have answered each other.
pub(crate) fn two() -> CallFacts {
    let parties = vec![party(0, "A", &[1]), party(1, "B", &[0])];
    CallFacts { call_id: b"call".to_vec(), created: WALL, last_signal: WALL, parties }
}

/// The spec of parties that have answered each other.
pub(crate) fn spec(facts: &CallFacts) -> BridgeSpec {
    let lines = facts.parties.iter().flat_map(|party| party.lines.iter().map(move |line| (party, line)));
    let ports = lines.clone().map(|(party, line)| {
        let state = line.state.as_ref().unwrap();
        PortSpec {
            port: line.port,
            party: party.party,
            class: command::MediaClass::Rtp,
            remotes: vec![Remote {
                tag: RemoteTag(1),
                rtp: state.rtp,
                rtcp: state.rtcp,
                sends: true,
                receives: true,
                keys: None,
                sealed: false,
            }],
            active: Some(RemoteTag(1)),
            mux: command::RtcpMux::Separate,
            learn: command::Learn::Window,
            signalling_source: None,
            accept: command::Accept::Locked,
            send_to: command::SendTo::Learned,
            payloads: state.payloads.clone(),
            dscp: 0,
            secure: None,
            ice: None,
            voice: command::Voice::default(),
        }
    });
    let mut edges = Vec::new();
    for (party, line) in lines.clone() {
        for (other, to) in lines.clone().filter(|(other, _)| party.peers.contains(&other.party)) {
            let _ = other;
            edges.push(EdgeSpec {
                from: line.port,
                to: to.port,
                transform: Transform::Relay { payload_map: Vec::new(), rewrite: None },
                gain_centibel: 0,
                audience: command::spec::Audience::All,
            });
        }
    }
    BridgeSpec { ports: ports.collect(), edges, phase: command::Phase::Active, ..BridgeSpec::default() }
}
