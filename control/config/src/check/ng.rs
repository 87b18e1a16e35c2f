//! Where the NG protocol is spoken: addresses that meet others, limits that do not exist, and who may reach it.

use super::{Check, addresses_meet};
use crate::engine::{NgAddress, NgCarrier};
use crate::error::Notice;
use crate::place::Path;
use crate::root::Checked;
use crate::value::Word;
use b2bua::spec::Transport;
use core::net::SocketAddr;

impl Checked {
    /// Addresses of NG that others than this machine reach: the protocol knows no password.
    pub(crate) fn open_ng(&self) -> Vec<Notice> {
        let root = Path::ROOT.key("engine");
        let list = root.key("ng");
        let addresses = self.engine().ng.iter().enumerate();
        let open = addresses.filter(|(_, ng)| !ng.address.ip().to_canonical().is_loopback());
        let notice = |(index, ng): (usize, &NgAddress)| {
            let why = format!(
                "{} is not loopback, and NG has no passwords: whoever reaches it directs calls and their media",
                ng.address
            );
            self.notice(&list.entry(index), why, false)
        };
        open.map(notice).collect()
    }
}

impl Check<'_> {
    pub(super) fn ng(&mut self) {
        let config = self.config;
        let root = Path::ROOT.key("engine");
        let list = root.key("ng");
        if config.engine.ng.len() > ADDRESSES_MAX {
            return self.unfit(&list, format!("more than {ADDRESSES_MAX} addresses"));
        }
        for (index, ng) in config.engine.ng.iter().enumerate() {
            let here = list.entry(index);
            if ng.address.ip().is_multicast() {
                self.unfit(&here, "is the address of many");
            }
            if let Some(first) = config.engine.ng[..index].iter().position(|other| ng_sockets_meet(ng, other))
            {
                self.twice(
                    &here,
                    format!("the address {}", config.engine.ng[first].word()),
                    &list.entry(first),
                );
            }
            if ng.carrier != NgCarrier::Udp && sockets_meet(ng.address, config.engine.api) {
                self.twice(&here, format!("the address {}", config.engine.api), &root.key("api"));
            }
            self.ng_beside_listeners(&here, ng);
        }
        let has_media = config.listener.iter().any(|(_, listener)| !listener.media.is_empty());
        if !config.engine.ng.is_empty() && !has_media && !self.is_unread(&Path::ROOT.key("listener")) {
            self.unfit(&list, "no listener has `media`, so NG calls can have no ports");
        }
        let list = root.key("ng_pool");
        for (index, name) in config.engine.ng_pool.iter().enumerate() {
            let here = list.entry(index);
            match config.limit.get(name) {
                None => self.no_such(&here, "limit", name, config.limit.names()),
                Some(limit) if limit.per.is_some() => {
                    self.unfit(&here, "an NG call has no numbers that a limit with `per` could count by");
                }
                Some(_) => {}
            }
        }
    }

    /// SIP on the same socket, media on the same port.
    fn ng_beside_listeners(&mut self, here: &Path<'_>, ng: &NgAddress) {
        let config = self.config;
        let is_udp = ng.carrier == NgCarrier::Udp;
        let root = Path::ROOT.key("listener");
        for (name, listener) in config.listener.iter() {
            let path = root.key(name);
            let sip = listener.sip.iter().position(|sip| {
                (sip.transport == Transport::Udp) == is_udp && sockets_meet(sip.address, ng.address)
            });
            let media = listener.media.iter().position(|range| {
                is_udp
                    && range.ports.contains(&ng.address.port())
                    && *range.ports.start() != 0
                    && addresses_meet(range.address, ng.address.ip())
            });
            for (key, found) in [("sip", sip), ("media", media)] {
                let Some(index) = found else { continue };
                let list = path.key(key);
                let there = list.entry(index);
                let line = self.line(&there);
                self.unfit(here, format!("overlaps {there} (line {line})"));
            }
        }
    }
}

/// One server answers HTTP and WebSockets, so that these two may share an address.
fn ng_sockets_meet(a: &NgAddress, b: &NgAddress) -> bool {
    let web = |ng: &NgAddress| matches!(ng.carrier, NgCarrier::Http | NgCarrier::Ws);
    let is_shared = a.carrier != b.carrier && web(a) && web(b);
    (a.carrier == NgCarrier::Udp) == (b.carrier == NgCarrier::Udp)
        && !(is_shared && a.address == b.address)
        && sockets_meet(a.address, b.address)
}

fn sockets_meet(a: SocketAddr, b: SocketAddr) -> bool {
    a.port() == b.port() && a.port() != 0 && addresses_meet(a.ip(), b.ip())
}

/// Each is a socket on every signalling shard.
const ADDRESSES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use crate::Config;

    #[test]
    fn calls_without_ports_are_no_calls() {
        let text = "listener.x = { sip = \"udp:127.0.0.1:5060\" }\nengine.ng = \"udp:127.0.0.1:2223\"";
        let errors = Config::check(text, "x.toml").unwrap_err();
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(errors, ["x.toml:2: engine.ng: no listener has `media`, so NG calls can have no ports"]);
    }

    #[test]
    fn an_address_that_others_reach_is_said() {
        let text = "listener.x = { media = \"127.0.0.1:3000-3999\" }\n\
                    engine.ng = [\"udp:127.0.0.1:2223\", \"udp:192.0.2.1:2223\", \"ws:[::1]:2224\", \"http:[::1]:2224\"]";
        let notices = Config::check(text, "x.toml").unwrap().not_in_effect();
        let notices: Vec<_> = notices.iter().map(|n| (n.path.as_str(), n.protective)).collect();
        assert_eq!(notices, [("engine.ng[1]", false)]);
    }
}
