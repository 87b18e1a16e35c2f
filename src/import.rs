//! `strowger config import`: other programs' configurations as ours. Reads the file, knows the machine, writes nothing but
//! the text.

use config::import::{Host, rtpengine};
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::path::Path;

/// The configuration that a section of an rtpengine.conf makes; what needs a look goes to standard error.
///
/// # Errors
/// The file cannot be read, in words.
pub fn import(file: &Path, section: &str) -> Result<String, String> {
    let name = file.display();
    let bytes = std::fs::read(file).map_err(|error| format!("{name}: {error}"))?;
    let text = String::from_utf8_lossy(&bytes);
    // Nothing is sent: the kernel is asked which address it would send from.
    let address = edge::udp::source_address(([192, 0, 2, 1], 9).into());
    let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let imported = rtpengine(&text, &Host { section, address, resolve: &resolve });
    for warning in &imported.warnings {
        eprintln!("{name}: {warning}");
    }
    Ok(imported.toml)
}

/// The addresses of a host; a name without a dot may be one of a network interface, which nobody else would know.
fn resolve(name: &str) -> Vec<IpAddr> {
    let found = name.contains('.').then(|| (name, 0).to_socket_addrs().ok()).flatten();
    found.into_iter().flatten().map(|address| address.ip()).collect()
}
