//! `strowger config import`: other programs' configurations as ours. Reads the file, knows the machine, writes nothing but
//! the text.

use crate::client::ClientError;
use config::import::{Host, rtpengine};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::path::PathBuf;

/// Arguments of `config import`.
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// An rtpengine.conf
    file: PathBuf,
    /// Its section
    #[arg(long, value_name = "NAME", default_value = "rtpengine")]
    section: String,
}

/// Prints the configuration, and on standard error what needs a look.
///
/// # Errors
/// The file cannot be read, or nothing be printed.
pub fn import(arguments: &Arguments, out: &mut dyn Write) -> Result<(), ClientError> {
    let name = arguments.file.display();
    let bytes =
        std::fs::read(&arguments.file).map_err(|error| ClientError::Usage(format!("{name}: {error}")))?;
    let text = String::from_utf8_lossy(&bytes);
    // Nothing is sent: the kernel is asked which address it would send from.
    let address = edge::udp::source_address(([192, 0, 2, 1], 9).into());
    let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let imported = rtpengine(&text, &Host { section: &arguments.section, address, resolve: &resolve });
    out.write_all(imported.toml.as_bytes())?;
    for warning in &imported.warnings {
        eprintln!("{name}: {warning}");
    }
    Ok(())
}

/// The addresses of a host; a name without a dot may be one of a network interface, which nobody else would know.
fn resolve(name: &str) -> Vec<IpAddr> {
    let found = name.contains('.').then(|| (name, 0).to_socket_addrs().ok()).flatten();
    found.into_iter().flatten().map(|address| address.ip()).collect()
}
