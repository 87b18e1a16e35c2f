//! Where the ports of a party are bound and what SDPs say of them: by the names that requests give, and by family.

use super::Call;
use super::party::SetId;
use crate::exchange::Place;
use crate::spec::Spec;
use core::net::IpAddr;

/// A listener and one of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub listener: u16,
    pub bind: IpAddr,
    pub advertised: IpAddr,
}

/// The listener of a name, or the first one that has media; its address of the wanted family, or the other one. What was
/// asked for and is not there is a warning. `None` if there is no listener for media at all.
pub(super) fn choose(
    spec: &Spec,
    name: Option<&str>,
    is_ipv6: Option<bool>,
    warnings: &mut Vec<String>,
) -> Option<Bound> {
    let with_media = || spec.listeners.iter().enumerate().filter(|(_, listener)| !listener.media.is_empty());
    let named = name.and_then(|name| with_media().find(|(_, listener)| listener.name == name));
    let (index, listener) = named.or_else(|| with_media().next())?;
    if let Some(name) = name.filter(|_| named.is_none()) {
        warnings.push(format!("no interface {name:.64}, {} is used", listener.name));
    }
    let of = |list: &[IpAddr], is_ipv6: bool| list.iter().copied().find(|ip| ip.is_ipv6() == is_ipv6);
    let bind = is_ipv6.and_then(|wanted| of(&listener.media, wanted)).unwrap_or(listener.media[0]);
    let advertised = of(&listener.advertise, bind.is_ipv6()).unwrap_or(bind);
    Some(Bound { listener: u16::try_from(index).ok()?, bind, advertised })
}

/// The family that an SDP's first address has.
pub(super) fn is_ipv6(sdp: &[u8]) -> Option<bool> {
    let mut lines = sdp.split(|byte| matches!(byte, b'\r' | b'\n'));
    let connection = lines.find_map(|line| line.strip_prefix(b"c="))?;
    match connection.trim_ascii() {
        [b'I', b'N', b' ', b'I', b'P', b'6', ..] => Some(true),
        [b'I', b'N', b' ', b'I', b'P', b'4', ..] => Some(false),
        _ => None,
    }
}

impl Call {
    /// What the SDP says that goes to whom these ports face. `told` is said instead of our address.
    pub(super) fn places(&self, set: SetId, told: Option<IpAddr>) -> Vec<Place> {
        let set = self.set(set);
        let address = told.unwrap_or(set.advertised);
        let port = |port: &command::PortIndex| self.ports[usize::from(port.0)].port();
        set.ports.iter().map(|index| Place { address, port: port(index) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Listener;

    fn spec() -> Spec {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let listener = |name: &str, media: &[&str], advertise: &[&str]| Listener {
            name: name.into(),
            media: media.iter().map(|text| ip(text)).collect(),
            advertise: advertise.iter().map(|text| ip(text)).collect(),
            dscp: 0,
        };
        let both = listener("priv", &["10.0.0.1", "fd00::1"], &[]);
        let public = listener("pub", &["0.0.0.0"], &["192.0.2.9"]);
        Spec { listeners: vec![listener("sip", &[], &[]), both, public], ..Spec::default() }
    }

    #[track_caller]
    fn check(name: Option<&str>, is_ipv6: Option<bool>, expected: (u16, &str, &str), warned: bool) {
        let mut warnings = Vec::new();
        let found = choose(&spec(), name, is_ipv6, &mut warnings).unwrap();
        let found = (found.listener, found.bind.to_string(), found.advertised.to_string());
        assert_eq!(found, (expected.0, expected.1.to_owned(), expected.2.to_owned()), "{name:?}");
        assert_eq!(!warnings.is_empty(), warned, "{warnings:?}");
    }

    #[test]
    fn a_name_finds_its_listener_and_a_family_its_address() {
        check(None, None, (1, "10.0.0.1", "10.0.0.1"), false);
        check(Some("priv"), Some(true), (1, "fd00::1", "fd00::1"), false);
        check(Some("pub"), Some(false), (2, "0.0.0.0", "192.0.2.9"), false);
        check(Some("pub"), Some(true), (2, "0.0.0.0", "192.0.2.9"), false);
    }

    #[test]
    fn an_unknown_name_is_the_first_listener_with_media_and_a_warning() {
        check(Some("elsewhere"), Some(false), (1, "10.0.0.1", "10.0.0.1"), true);
        check(Some("sip"), None, (1, "10.0.0.1", "10.0.0.1"), true);
        assert_eq!(choose(&Spec::default(), None, None, &mut Vec::new()), None);
    }

    #[test]
    fn the_first_connection_line_says_the_family() {
        assert_eq!(is_ipv6(b"v=0\r\nc=IN IP6 2001:db8::1\r\nm=audio 4000 RTP/AVP 0\r\n"), Some(true));
        assert_eq!(is_ipv6(b"v=0\nm=audio 4000 RTP/AVP 0\nc=IN IP4 192.0.2.1\n"), Some(false));
        assert_eq!(is_ipv6(b"v=0\r\nm=audio 4000 RTP/AVP 0\r\n"), None);
    }
}
