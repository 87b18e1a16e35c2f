//! Who is calling: source addresses to trunks. The most specific entry wins; a port is more specific than none.

use crate::spec::{Source, Spec, Transport};
use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet};

/// All sources of one configuration, for look-up.
#[derive(Clone, Debug, Default)]
pub struct Identities {
    /// By prefix length (IPv4 counts as 96 more, so that both families share the map), longest first.
    nets: Vec<(u8, BTreeMap<u128, Vec<Entry>>)>,
    /// Addresses that are called. What comes from there makes no calls by itself, but belongs to some.
    called: BTreeSet<IpAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    trunk: usize,
    port: Option<u16>,
    listener: Option<usize>,
}

impl Identities {
    /// `resolved` gives the addresses of host names that have been looked up; others match nothing yet.
    pub fn new(spec: &Spec, resolved: &BTreeMap<String, Vec<IpAddr>>) -> Self {
        let mut nets: BTreeMap<u8, BTreeMap<u128, Vec<Entry>>> = BTreeMap::new();
        for (index, trunk) in spec.trunks.iter().enumerate() {
            let listener = trunk.listener_only.then_some(trunk.listener);
            let mut add = |address: IpAddr, prefix: u8, port| {
                let (bits, prefix) = widen(address, prefix);
                let entries = nets.entry(prefix).or_default().entry(mask(bits, prefix)).or_default();
                entries.push(Entry { trunk: index, port, listener });
            };
            for source in &trunk.from {
                match source {
                    Source::Net { address, prefix, port } => add(*address, *prefix, *port),
                    Source::Host { name, port } => {
                        for address in resolved.get(name).into_iter().flatten() {
                            add(*address, if address.is_ipv4() { 32 } else { 128 }, *port);
                        }
                    }
                }
            }
        }
        let hosts = spec.trunks.iter().flat_map(|trunk| &trunk.to).map(|to| to.host.trim_matches(['[', ']']));
        let called = hosts.filter_map(|host| host.parse().ok()).collect();
        Identities { nets: nets.into_iter().rev().collect(), called }
    }

    /// The trunk that a message is from. Ports of streams are chosen by the peer's system and say nothing, so there
    /// `sent_by` (the port of the top Via) stands in.
    pub fn find(
        &self,
        listener: usize,
        transport: Transport,
        source: SocketAddr,
        sent_by: Option<u16>,
    ) -> Option<usize> {
        let (bits, _) = widen(source.ip(), 0);
        let port = if transport == Transport::Udp { source.port() } else { sent_by.unwrap_or(5060) };
        for (prefix, nets) in &self.nets {
            let Some(entries) = nets.get(&mask(bits, *prefix)) else { continue };
            let here = || entries.iter().filter(|e| e.listener.is_none_or(|l| l == listener));
            let exact = here().find(|e| e.port == Some(port));
            if let Some(entry) = exact.or_else(|| here().find(|e| e.port.is_none())) {
                return Some(entry.trunk);
            }
            // A stream from an address that only one trunk has is that trunk's, whatever it wrote into its Via.
            if transport != Transport::Udp
                && let Some(first) = here().next()
                && here().all(|e| e.trunk == first.trunk)
            {
                return Some(first.trunk);
            }
        }
        None
    }

    /// Whether an address is any trunk's, whatever its port and listener: one that calls or is called.
    pub fn knows(&self, address: IpAddr) -> bool {
        let (bits, _) = widen(address, 0);
        self.called.contains(&address)
            || self.nets.iter().any(|(prefix, nets)| nets.contains_key(&mask(bits, *prefix)))
    }
}

fn widen(address: IpAddr, prefix: u8) -> (u128, u8) {
    match address {
        IpAddr::V4(v4) => (v4.to_ipv6_mapped().to_bits(), prefix.saturating_add(96)),
        IpAddr::V6(v6) => (v6.to_bits(), prefix),
    }
}

fn mask(bits: u128, prefix: u8) -> u128 {
    if prefix == 0 { 0 } else { bits & (u128::MAX << (128 - u32::from(prefix.min(128)))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::tests::trunk;

    fn spec(sources: &[(&str, &str, u8, Option<u16>)]) -> Spec {
        let mut spec = Spec::default();
        for (name, address, prefix, port) in sources {
            let source = Source::Net { address: address.parse().unwrap(), prefix: *prefix, port: *port };
            spec.trunks.push(trunk(name, vec![source]));
        }
        spec
    }

    #[test]
    fn the_most_specific_source_wins() {
        let spec = spec(&[
            ("any", "0.0.0.0", 0, None),
            ("net", "203.0.113.0", 28, None),
            ("host", "203.0.113.5", 32, None),
            ("port", "203.0.113.5", 32, Some(5080)),
            ("six", "2001:db8::", 32, None),
        ]);
        let ids = Identities::new(&spec, &BTreeMap::new());
        let find = |source: &str| {
            ids.find(0, Transport::Udp, source.parse().unwrap(), None).map(|i| spec.trunks[i].name.as_str())
        };
        assert_eq!(find("198.51.100.1:5060"), Some("any"));
        assert_eq!(find("203.0.113.6:5060"), Some("net"));
        assert_eq!(find("203.0.113.5:5060"), Some("host"));
        assert_eq!(find("203.0.113.5:5080"), Some("port"));
        assert_eq!(find("[2001:db8::7]:5060"), Some("six"));
        assert_eq!(find("[2001:db9::7]:5060"), None);
    }

    #[test]
    fn the_port_of_a_stream_is_its_vias() {
        let spec = spec(&[("a", "127.0.0.1", 32, Some(5071)), ("b", "127.0.0.1", 32, Some(5072))]);
        let ids = Identities::new(&spec, &BTreeMap::new());
        let find = |sent_by| ids.find(0, Transport::Tcp, "127.0.0.1:40000".parse().unwrap(), sent_by);
        assert_eq!((find(Some(5072)), find(Some(9)), find(None)), (Some(1), None, None));
        let alone =
            Identities::new(&Spec { trunks: spec.trunks[..1].to_vec(), ..Spec::default() }, &BTreeMap::new());
        assert_eq!(alone.find(0, Transport::Tcp, "127.0.0.1:40000".parse().unwrap(), Some(9)), Some(0));
        assert_eq!(alone.find(0, Transport::Udp, "127.0.0.1:40000".parse().unwrap(), Some(5071)), None);
    }

    #[test]
    fn host_names_match_once_they_are_resolved() {
        let mut spec = Spec::default();
        spec.trunks.push(trunk("named", vec![Source::Host { name: "sbc.example".into(), port: None }]));
        let source = "192.0.2.7:5060".parse().unwrap();
        assert_eq!(Identities::new(&spec, &BTreeMap::new()).find(0, Transport::Udp, source, None), None);
        let resolved = BTreeMap::from([("sbc.example".to_owned(), vec!["192.0.2.7".parse().unwrap()])]);
        assert_eq!(Identities::new(&spec, &resolved).find(0, Transport::Udp, source, None), Some(0));
    }

    #[test]
    fn who_is_only_called_is_known_and_no_caller() {
        let mut spec = Spec::default();
        spec.trunks.push(trunk("out", Vec::new()));
        let to =
            |host: &str| crate::spec::Target { host: host.into(), port: None, transport: None, weight: 1 };
        spec.trunks[0].to = vec![to("192.0.2.7"), to("[2001:db8::7]"), to("carrier.example")];
        let ids = Identities::new(&spec, &BTreeMap::new());
        assert_eq!(ids.find(0, Transport::Udp, "192.0.2.7:5060".parse().unwrap(), None), None);
        let knows = |address: &str| ids.knows(address.parse().unwrap());
        assert!(knows("192.0.2.7") && knows("2001:db8::7") && !knows("192.0.2.8"));
    }
}
