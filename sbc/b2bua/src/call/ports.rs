//! The ports of a call: where they are bound, what the SDPs say of them, and what waits until they are open.

use super::{Call, Media, Stage};
use crate::desk::Desk;
use crate::spec::Listener;
use base::Now;
use command::{Command, OpenedPort, PortWant};
use core::net::IpAddr;
use sdp::{Sdp, Side};
use sip::flow::Flow;

impl Call {
    /// Where A's ports are bound and what its SDP says; chosen once, by the family that A's SDP or signalling has.
    pub(crate) fn choose_a_media(&mut self, desk: &Desk, flow: &Flow) -> bool {
        let sdp = self.initial_offer();
        let said = sdp
            .as_deref()
            .and_then(|bytes| Sdp::parse(bytes).ok())
            .and_then(|sdp| sdp.media().iter().find_map(|m| m.address()));
        let peer = said.unwrap_or(flow.remote.ip());
        let Some(media) = self.media_address(desk, usize::from(flow.listener), peer, flow.local.ip()) else {
            return false;
        };
        self.a_bind = Some(media.bind);
        self.negotiation.set_local(Side::A, media.public);
        true
    }

    /// As [`media_address`], by the number of the listener.
    pub(super) fn media_address(
        &self,
        desk: &Desk,
        listener: usize,
        peer: IpAddr,
        kernel: IpAddr,
    ) -> Option<MediaAddress> {
        let media = media_address(self.spec.listeners.get(listener)?, peer, kernel)?;
        Some(MediaAddress { public: desk.advertised(listener, media.public), ..media })
    }

    /// Asks for the ports that are missing so that `wanted` m-lines can pass; false if none is missing.
    pub(super) fn open_ports(&mut self, desk: &mut Desk, wanted: usize) -> bool {
        let missing = |side| wanted.saturating_sub(self.negotiation.lines_open(side));
        let (a, b) = (missing(Side::A), missing(Side::B));
        let (Some(a_bind), Some(b_bind)) = (self.a_bind, self.b_bind) else { return false };
        if a == 0 && b == 0 {
            return false;
        }
        let a_listener = self.a.target.listener;
        let b_listener = self.trunk_out().map_or(0, |trunk| self.trunk(trunk).listener) as u16;
        let mut want = vec![PortWant { listener: a_listener, address: a_bind }; a];
        want.extend(vec![PortWant { listener: b_listener, address: b_bind }; b]);
        let bridge = *self.bridge.get_or_insert_with(|| desk.new_bridge());
        self.media = Media::Opening { a, b };
        desk.media(bridge.media_shard(), Command::Open { bridge, want });
        true
    }

    /// Ports are open: what waited for them goes on.
    pub(super) fn on_opened(&mut self, desk: &mut Desk, now: Now, ports: &[OpenedPort]) {
        let Media::Opening { a, .. } = self.media else {
            // Asked for before the call ended: the bridge exists now and must go.
            return self.close_bridge(desk);
        };
        self.media = Media::Open;
        let pairs = |ports: &[OpenedPort]| ports.iter().map(|p| (p.port, p.local.port())).collect::<Vec<_>>();
        let (for_a, for_b) = ports.split_at(a.min(ports.len()));
        self.negotiation.add_ports(Side::A, pairs(for_a));
        self.negotiation.add_ports(Side::B, pairs(for_b));
        match self.stage {
            Stage::Opening => self.call_out(desk, now),
            Stage::Calling | Stage::Up => self.on_offer_ports(desk, now),
            Stage::Ending => self.close_bridge(desk),
            Stage::Resolving => {}
        }
    }
}

/// Where media of a side is bound and where it comes from: the listener's range of the wanted family, else of the
/// other one (each side of a call may have its own). On a wildcard it is the address that the kernel would take.
fn media_address(listener: &Listener, peer: IpAddr, kernel: IpAddr) -> Option<MediaAddress> {
    let ranges = &listener.media;
    let range = ranges.iter().find(|r| r.address.is_ipv4() == peer.is_ipv4()).or(ranges.first())?;
    let ip = if range.address.is_unspecified() && kernel.is_ipv4() == range.address.is_ipv4() {
        kernel
    } else {
        range.address
    };
    // Bound to what is announced, so that media leaves from there; a link-local address would need its interface, too.
    let link_local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
    Some(MediaAddress { bind: if link_local { range.address } else { ip }, public: ip })
}

/// Where media of one side lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MediaAddress {
    /// What the shard binds.
    pub(super) bind: IpAddr,
    /// What the SDP says.
    pub(super) public: IpAddr,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::MediaRange;

    fn check(ranges: &[&str], peer: &str, kernel: &str, expected: Option<(&str, &str)>) {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let media = ranges.iter().map(|r| MediaRange { address: ip(r), ports: 0..=0 }).collect();
        let listener = Listener {
            name: "main".into(),
            sip: Vec::new(),
            media,
            advertise: Vec::new(),
            dscp_sip: 0,
            dscp_rtp: 0,
            texts: crate::spec::Texts::Rfc,
        };
        let found = media_address(&listener, ip(peer), ip(kernel));
        let expected = expected.map(|(bind, public)| MediaAddress { bind: ip(bind), public: ip(public) });
        assert_eq!(found, expected, "{ranges:?} for {peer} by {kernel}");
    }

    #[test]
    fn media_lives_in_the_family_of_the_peer_where_there_is_one() {
        let both = ["192.0.2.1", "2001:db8::1"];
        check(&both, "198.51.100.1", "192.0.2.1", Some(("192.0.2.1", "192.0.2.1")));
        check(&both, "2001:db8::7", "192.0.2.1", Some(("2001:db8::1", "2001:db8::1")));
        check(&both[..1], "2001:db8::7", "2001:db8::1", Some(("192.0.2.1", "192.0.2.1")));
        check(&[], "198.51.100.1", "192.0.2.1", None);
    }

    #[test]
    fn a_wildcard_takes_the_address_that_the_kernel_would() {
        check(&["0.0.0.0"], "198.51.100.1", "192.0.2.9", Some(("192.0.2.9", "192.0.2.9")));
        check(&["::"], "fe80::2", "fe80::1", Some(("::", "fe80::1")));
    }
}
