//! Where forks of speech may go: addresses are checked and resolved here, before a call is touched. And the WebSockets
//! among them.
mod socket; // WebSockets that the engine opens, on a thread of their own

pub use socket::WebSockets;

use api::SoundError;
use b2bua::Spec;
use command::{ForkCoding, ForkTo};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use http_out::Url;

/// How long names may take.
const RESOLVE: Duration = Duration::from_secs(3);

/// Where a fork to this address goes.
///
/// # Errors
/// It is no such address, or none that media may be sent to.
pub async fn find(to: &str, spec: &Spec) -> Result<ForkTo, SoundError> {
    let wrong = |expected: &str| SoundError::Wrong(expected.to_owned());
    let Some((scheme, rest)) = to.split_once("://") else { return Err(wrong(EXPECTED)) };
    let parsed = || format!("http://{rest}").parse::<Url>().map_err(|error| wrong(&error.to_string()));
    match scheme.to_ascii_lowercase().as_str() {
        "rtp" => {
            let url = parsed()?;
            // The parser gives each address a port and a path: here the one must be said and the other is nothing.
            if url.target() != "/" || !rest.trim_end_matches('/').ends_with(&format!(":{}", url.port())) {
                return Err(wrong("rtp://HOST:PORT"));
            }
            let target = resolve(url.host(), url.port()).await?;
            match refuse(target, spec) {
                Some(why) => Err(wrong(why)),
                None => Ok(ForkTo::Rtp { target, coding: ForkCoding::L16 }),
            }
        }
        "ws" => Ok(ForkTo::WebSocket { url: format!("ws{}", &parsed()?.to_string()["http".len()..]) }),
        "wss" => Err(wrong("ws://HOST/PATH: wss:// is not in effect yet")),
        _ => Err(wrong(EXPECTED)),
    }
}

const EXPECTED: &str = "rtp://HOST:PORT or ws://HOST/PATH";

async fn resolve(host: &str, port: u16) -> Result<SocketAddr, SoundError> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip.to_canonical(), port));
    }
    let found = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((host, port))).await;
    let found = found.map_err(|_| SoundError::Busy(format!("{host} is not resolved in time")))?;
    let first = found.ok().and_then(|mut addresses| addresses.next());
    first.ok_or_else(|| SoundError::Wrong(format!("a host that exists: {host} has no address")))
}

/// Why media is not sent there.
fn refuse(target: SocketAddr, spec: &Spec) -> Option<&'static str> {
    let is_nobody = match target.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
    };
    if is_nobody {
        return Some("the address of one host, no multicast or broadcast");
    }
    let is_here = |own: IpAddr| own == target.ip() || own.is_unspecified() && is_of_this_host(target.ip());
    let is_own = spec.listeners.iter().any(|listener| {
        listener.media.iter().any(|range| range.ports.contains(&target.port()) && is_here(range.address))
            || listener.sip.iter().any(|sip| sip.address.port() == target.port() && is_here(sip.address.ip()))
    });
    is_own.then_some("an address that is not one of the engine's own")
}

fn is_of_this_host(ip: IpAddr) -> bool {
    ip.is_loopback() || shard::sys::own_addresses().contains(&ip)
}

#[cfg(test)]
mod tests;
