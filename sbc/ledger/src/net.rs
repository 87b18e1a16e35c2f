//! Networks as bans name them: an address and how many of its bits count (RFC 4632, RFC 4291 section 2.3).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// A network or a single address. IPv4 addresses mapped into IPv6 are IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Net {
    address: IpAddr,
    prefix: u8,
}

impl Net {
    /// The network of an address; bits behind the prefix do not matter. `None`: the prefix is longer than the address.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Net> {
        match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(v4)) if (96..=128).contains(&prefix) => Net::v4(v4, prefix - 96),
            (_, IpAddr::V4(v4)) if address.is_ipv4() => Net::v4(v4, prefix),
            (IpAddr::V6(v6), _) if prefix <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                Some(Net { address: Ipv6Addr::from_bits(v6.to_bits() & mask).into(), prefix })
            }
            _ => None,
        }
    }

    /// What an automatic ban of a source covers: an IPv4 address, or the /64 of an IPv6 address, for whoever has one
    /// has them all.
    pub fn of_source(source: IpAddr) -> Net {
        match source.to_canonical() {
            v4 @ IpAddr::V4(_) => Net { address: v4, prefix: 32 },
            IpAddr::V6(v6) => {
                Net { address: Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(), prefix: 64 }
            }
        }
    }

    fn v4(address: Ipv4Addr, prefix: u8) -> Option<Net> {
        let mask = u32::MAX.checked_shl(32u32.checked_sub(prefix.into())?).unwrap_or(0);
        Some(Net { address: Ipv4Addr::from_bits(address.to_bits() & mask).into(), prefix })
    }

    /// The first address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits count.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether an address lies in it.
    pub fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && Net::new(address, self.prefix) == Some(self)
    }

    /// Whether one look-up finds it: the form of all automatic bans.
    pub(crate) fn is_host(self) -> bool {
        self.prefix == if self.address.is_ipv4() { 32 } else { 64 }
    }
}

impl fmt::Display for Net {
    /// A single address stands without its prefix.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.prefix) {
            (IpAddr::V4(address), 32) => address.fmt(f),
            (IpAddr::V6(address), 128) => address.fmt(f),
            (address, prefix) => write!(f, "{address}/{prefix}"),
        }
    }
}

/// The text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoNet {
    /// Neither an address nor `address/prefix`.
    Malformed,
    /// Bits behind the prefix are set: `10.0.0.1/8` may mean one address or sixteen million.
    HostBits,
}

impl FromStr for Net {
    type Err = NoNet;
    fn from_str(text: &str) -> Result<Net, NoNet> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) if prefix.bytes().all(|b| b.is_ascii_digit()) => (address, Some(prefix)),
            Some(_) => return Err(NoNet::Malformed),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NoNet::Malformed)?;
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| NoNet::Malformed)?,
            None if address.is_ipv4() => 32,
            None => 128,
        };
        let net = Net::new(address, prefix).ok_or(NoNet::Malformed)?;
        if net.address != address.to_canonical() {
            return Err(NoNet::HostBits);
        }
        Ok(net)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Net {
        text.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_are_read_as_they_are_written() {
        for text in ["192.0.2.1", "10.0.0.0/8", "0.0.0.0/0", "2001:db8::/64", "2001:db8::1", "::/0"] {
            assert_eq!(net(text).to_string(), text);
        }
        assert_eq!(net("::ffff:10.0.0.0/104"), net("10.0.0.0/8"));
        assert_eq!("10.0.0.1/8".parse::<Net>(), Err(NoNet::HostBits));
        for text in
            ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/8/8", "host", "10.0.0/8"]
        {
            assert_eq!(text.parse::<Net>(), Err(NoNet::Malformed), "{text}");
        }
        assert!(net("10.0.0.0/8").contains(ip("::ffff:10.1.1.1")) && !net("::/0").contains(ip("10.1.1.1")));
    }
}
