//! Socket addresses as the kernel writes and reads them, without allocation. No system call.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// A `sockaddr_in` or `sockaddr_in6` in place, ready to be pointed at.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(4))]
pub struct RawAddress {
    bytes: [u8; RawAddress::MAX],
    len: u32,
}

impl RawAddress {
    /// The longest of both: a `sockaddr_in6`.
    pub const MAX: usize = size_of::<libc::sockaddr_in6>();

    /// Room for an address, nothing in it.
    pub const EMPTY: RawAddress = RawAddress { bytes: [0; RawAddress::MAX], len: 0 };

    /// The bytes that the kernel takes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }

    /// All of the room, for the kernel to write into.
    #[inline]
    pub fn room(&mut self) -> &mut [u8; RawAddress::MAX] {
        &mut self.bytes
    }
}

impl From<SocketAddr> for RawAddress {
    #[inline]
    fn from(address: SocketAddr) -> Self {
        let mut raw = RawAddress::EMPTY;
        raw.bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address {
            SocketAddr::V4(v4) => {
                raw.bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                raw.bytes[4..8].copy_from_slice(&v4.ip().octets());
                raw.len = size_of::<libc::sockaddr_in>() as u32;
            }
            SocketAddr::V6(v6) => {
                raw.bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                raw.bytes[8..24].copy_from_slice(&v6.ip().octets());
                raw.bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                raw.len = size_of::<libc::sockaddr_in6>() as u32;
            }
        }
        raw
    }
}

/// Reads what the kernel wrote; `None` for another family. Flow labels are left out, so that addresses compare.
#[inline]
pub fn parse(bytes: &[u8]) -> Option<SocketAddr> {
    let (family, rest) = bytes.split_first_chunk::<2>()?;
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    match i32::from(u16::from_ne_bytes(*family)) {
        libc::AF_INET => {
            let ip = Ipv4Addr::from(*rest.first_chunk::<4>()?);
            Some(SocketAddr::V4(SocketAddrV4::new(ip, port)))
        }
        libc::AF_INET6 => {
            let (_flow, rest) = rest.split_first_chunk::<4>()?;
            let (ip, rest) = rest.split_first_chunk::<16>()?;
            let scope = u32::from_ne_bytes(*rest.first_chunk::<4>()?);
            Some(SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from(*ip), port, 0, scope)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_back_as_they_went() {
        for text in ["192.0.2.7:5004", "[2001:db8::7]:65534", "[fe80::1%3]:1", "0.0.0.0:0"] {
            let address: SocketAddr = text.parse().unwrap();
            let raw = RawAddress::from(address);
            assert_eq!(parse(raw.as_bytes()), Some(address));
            // The standard's own conversion is the oracle for the layout.
            let oracle = socket2::SockAddr::from(address);
            assert_eq!(oracle.len() as usize, raw.as_bytes().len());
            assert_eq!(oracle.as_socket(), Some(address));
        }
    }

    #[test]
    fn short_and_foreign_addresses_are_none() {
        let full = RawAddress::from("[2001:db8::7]:9".parse::<SocketAddr>().unwrap());
        for len in 0..full.as_bytes().len() {
            assert_eq!(parse(&full.as_bytes()[..len]), None);
        }
        assert_eq!(parse(&[libc::AF_UNIX as u8, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
