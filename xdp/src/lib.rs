//! The kernel's fast path for plain relay flows. This is the variant without kernel programs: it has the API of the
//! one that has them, and attaching always says [`Absent`]. Nothing here can forward, count or be switched on.
#![forbid(unsafe_code)]

use base::Instant;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

/// What to attach to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the network interface whose packets are to be forwarded in the kernel.
    pub interface: String,
    /// How the program is hooked in.
    pub mode: Mode,
}

/// How a program is hooked into an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// In the driver where it can, else generic.
    #[default]
    Auto,
    /// In the driver only.
    Native,
    /// After the kernel has made its packet of it: works everywhere, gains less.
    Generic,
}

/// An attached program; dropping it detaches. Without kernel programs there is no value of this type.
#[derive(Debug)]
pub enum Xdp {}

impl Xdp {
    /// Loads the programs and attaches them.
    ///
    /// # Errors
    /// [`Absent`]: this build has none.
    pub fn attach(_config: &Config) -> Result<Xdp, Absent> {
        Err(Absent)
    }

    /// How it is hooked in; never [`Mode::Auto`].
    pub fn mode(&self) -> Mode {
        match *self {}
    }

    /// The list of sources to drop.
    pub fn drop_list(&self) -> DropList {
        match *self {}
    }

    /// Forwards the packets of a flow from now on; sending it again replaces the action.
    ///
    /// # Errors
    /// The table is full: the flow stays with the sockets.
    pub fn insert(&mut self, _flow: Flow, _action: Action) -> Result<(), Full> {
        match *self {}
    }

    /// Gives the packets of a flow back to the sockets and tells what was forwarded.
    pub fn remove(&mut self, _flow: Flow) -> Seen {
        match *self {}
    }

    /// What was forwarded so far.
    pub fn seen(&self, _flow: Flow) -> Seen {
        match *self {}
    }
}

/// Sources whose packets go no further than the network interface. What engines without kernel programs have instead is
/// a filter on their own sockets. Without kernel programs there is no value of this type.
#[derive(Debug)]
pub enum DropList {}

impl DropList {
    /// Drops the packets of a network from now on, unless their destination is no port of ours.
    ///
    /// # Errors
    /// The table is full: they go up to the sockets.
    pub fn add(&self, _address: IpAddr, _prefix: u8) -> Result<(), Full> {
        match *self {}
    }

    /// Lets them through again.
    pub fn remove(&self, _address: IpAddr, _prefix: u8) {
        match *self {}
    }

    /// Packets dropped so far.
    pub fn dropped(&self) -> u64 {
        match *self {}
    }
}

/// Packets from one source to one of our ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Our address and port.
    pub local: SocketAddr,
    /// The locked source; packets from elsewhere go up to the sockets.
    pub source: SocketAddr,
}

/// What becomes of a flow's packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// Our address and port that they leave from.
    pub from: SocketAddr,
    /// Where they go.
    pub target: SocketAddr,
}

/// What the kernel has forwarded of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Seen {
    /// Packets.
    pub packets: u64,
    /// Bytes of UDP payload.
    pub bytes: u64,
    /// When the last one came.
    pub last: Option<Instant>,
}

/// The kernel's table of flows or of dropped sources is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("xdp: the table is full")
    }
}

impl core::error::Error for Full {}

/// This build has no kernel programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absent;

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("xdp: off (this build has no kernel programs)")
    }
}

impl core::error::Error for Absent {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_absent_variant_says_that_it_is_off() {
        let config = Config { interface: "lo".into(), mode: Mode::Auto };
        let absent = Xdp::attach(&config).unwrap_err();
        assert!(absent.to_string().starts_with("xdp: off"));
    }
}
