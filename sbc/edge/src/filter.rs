//! Which way a datagram takes into the engine: networks compiled to a classic BPF program that the kernel runs for each
//! datagram of a group of sockets (SO_ATTACH_REUSEPORT_CBPF). It reads the source from the network header and answers
//! with the number of a socket. Another kind of program drops banned sources. Makes programs only; loads none.

use core::net::IpAddr;
use libc::sock_filter;
use std::collections::BTreeMap;

/// A network; a single address has the full prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Net {
    /// Any address of it.
    pub address: IpAddr,
    /// Prefix length in the address's own family.
    pub prefix: u8,
}

/// A family of addresses; a socket has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What the kernel is given.
#[derive(Clone, Debug)]
pub struct Program {
    /// Instructions, at most as many as were allowed.
    pub code: Vec<sock_filter>,
    /// Prefixes were cut to this length, since all of them in full did not fit: more sources count as known.
    pub cut_to: Option<u8>,
}

/// The kernel takes no longer programs (BPF_MAXINSNS).
pub const INSTRUCTIONS_MAX: usize = 4_096;

/// The network header, wherever the payload begins (SKF_NET_OFF).
const HEADER: u32 = (-0x10_0000i32) as u32;
/// Scratch memory: the number of the socket for known sources, and that for strangers.
const KNOWN: u32 = 0;
const STRANGER: u32 = 1;

/// A program that sends the datagrams of `nets` to the sockets `0..shards` and all others to `shards..2 * shards`.
/// Those of one source always go to the same socket.
pub fn compile(family: Family, nets: &[Net], shards: u32, instructions_max: usize) -> Program {
    let lengths: &[u8] = match family {
        Family::V4 => &[32, 30, 28, 26, 24, 22, 20, 18, 16, 12, 8, 4, 0],
        Family::V6 => &[128, 64, 56, 48, 40, 32, 28, 24, 20, 16, 8, 4, 0],
    };
    let answers = match shards {
        0 | 1 => Answers { listed: vec![give(KNOWN)], other: vec![give(STRANGER)] },
        _ => Answers { listed: recall(KNOWN), other: recall(STRANGER) },
    };
    let mut last = Vec::new();
    for length in lengths {
        let keys: Vec<Key> = nets.iter().filter_map(|net| Key::of(family, net, *length)).collect();
        last = spread(family, shards);
        last.push(load(family, 0));
        last.extend(search(family, &keys, 0, &answers));
        if last.len() <= instructions_max {
            return Program { code: last, cut_to: (*length != lengths[0]).then_some(*length) };
        }
    }
    Program { code: last, cut_to: Some(0) }
}

/// A filter for one socket (SO_ATTACH_FILTER) that drops the datagrams of `nets`: of the first ones, as many as fit. The
/// rest is for others to drop; nobody is dropped who is not listed.
pub fn compile_drops(family: Family, nets: &[Net], instructions_max: usize) -> Vec<sock_filter> {
    let answers = Answers { listed: vec![give(0)], other: vec![give(u32::MAX)] };
    let mut taken = nets.len();
    loop {
        let keys: Vec<Key> = nets[..taken].iter().filter_map(|net| Key::of(family, net, u8::MAX)).collect();
        let mut code = vec![load(family, 0)];
        code.extend(search(family, &keys, 0, &answers));
        if code.len() <= instructions_max || taken == 0 {
            return code;
        }
        taken = taken * 3 / 4;
    }
}

/// What a program answers.
struct Answers {
    listed: Vec<sock_filter>,
    other: Vec<sock_filter>,
}

/// The network of one family as the words that the program loads.
#[derive(Clone, Copy)]
struct Key {
    words: [u32; 4],
    prefix: u32,
}

impl Key {
    fn of(family: Family, net: &Net, length: u8) -> Option<Key> {
        let prefix = u32::from(net.prefix.min(length));
        match (family, net.address) {
            (Family::V4, IpAddr::V4(v4)) => Some(Key { words: [v4.to_bits(), 0, 0, 0], prefix }),
            (Family::V6, IpAddr::V6(v6)) => {
                let bits = v6.to_bits();
                let words = [96, 64, 32, 0].map(|shift| (bits >> shift) as u32);
                Some(Key { words, prefix })
            }
            _ => None,
        }
    }
}

/// Where the words of the source stand in the network header.
fn word_at(family: Family, depth: usize) -> u32 {
    let first = if family == Family::V4 { 12 } else { 8 };
    first + 4 * depth as u32
}

/// Finds out the shard and stores both possible answers.
fn spread(family: Family, shards: u32) -> Vec<sock_filter> {
    if shards <= 1 {
        return Vec::new();
    }
    // The last word of the source and, unless the header has extensions, the port: enough to spread.
    let (word, port) = if family == Family::V4 { (12, 20) } else { (20, 40) };
    vec![
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, HEADER.wrapping_add(word)),
        op(libc::BPF_MISC | libc::BPF_TAX, 0),
        op(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, HEADER.wrapping_add(port)),
        op(libc::BPF_ALU | libc::BPF_ADD | libc::BPF_X, 0),
        op(libc::BPF_ALU | libc::BPF_MUL | libc::BPF_K, 0x9e37_79b1),
        op(libc::BPF_ALU | libc::BPF_RSH | libc::BPF_K, 16),
        op(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, shards),
        op(libc::BPF_ST, KNOWN),
        op(libc::BPF_ALU | libc::BPF_ADD | libc::BPF_K, shards),
        op(libc::BPF_ST, STRANGER),
    ]
}

fn load(family: Family, depth: usize) -> sock_filter {
    op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, HEADER.wrapping_add(word_at(family, depth)))
}

fn give(answer: u32) -> sock_filter {
    op(libc::BPF_RET | libc::BPF_K, answer)
}

/// Gives what was stored.
fn recall(place: u32) -> Vec<sock_filter> {
    vec![op(libc::BPF_LD | libc::BPF_MEM, place), op(libc::BPF_RET | BPF_A, 0)]
}

/// The accumulator as an operand; libc leaves it out.
const BPF_A: u32 = 0x10;

/// Decides by the word at `depth`, which is loaded: a binary search over ranges of its values.
fn search(family: Family, keys: &[Key], depth: usize, answers: &Answers) -> Vec<sock_filter> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    let mut deeper: BTreeMap<u32, Vec<Key>> = BTreeMap::new();
    for key in keys {
        let (word, bits) = (key.words[depth], key.prefix.saturating_sub(32 * depth as u32));
        if bits > 32 {
            deeper.entry(word).or_default().push(*key);
        } else {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            ranges.push((word & mask, word | !mask));
        }
    }
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::new();
    for (low, high) in ranges {
        match merged.last_mut() {
            Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
            _ => merged.push((low, high)),
        }
    }
    let mut places: BTreeMap<u32, (u32, Vec<sock_filter>)> =
        merged.iter().map(|(low, high)| (*low, (*high, answers.listed.clone()))).collect();
    for (word, keys) in &deeper {
        let covered = places.range(..=*word).next_back().is_some_and(|(_, (high, _))| high >= word);
        if !covered {
            let mut code = vec![load(family, depth + 1)];
            code.extend(search(family, keys, depth + 1, answers));
            places.insert(*word, (*word, code));
        }
    }
    // What lies between them is a stranger's.
    let (mut segments, mut next) = (Vec::new(), Some(0u32));
    for (low, (high, code)) in places {
        if let Some(start) = next
            && start < low
        {
            segments.push((start, answers.other.clone()));
        }
        segments.push((low, code));
        next = high.checked_add(1);
    }
    if let Some(start) = next {
        segments.push((start, answers.other.clone()));
    }
    tree(&segments)
}

/// Segments with their first values, in order, as a tree of comparisons.
fn tree(segments: &[(u32, Vec<sock_filter>)]) -> Vec<sock_filter> {
    let [one] = segments else {
        let (low, high) = segments.split_at(segments.len() / 2);
        let (Some(start), below, above) = (high.first().map(|s| s.0), tree(low), tree(high)) else {
            return Vec::new();
        };
        let mut compare = op(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, start);
        let mut code = Vec::with_capacity(below.len() + above.len() + 2);
        match u8::try_from(below.len()) {
            Ok(near) => {
                compare.jt = near;
                code.push(compare);
            }
            Err(_) => {
                // A comparison jumps no further than 255.
                compare.jf = 1;
                code.push(compare);
                code.push(op(libc::BPF_JMP | libc::BPF_JA, below.len() as u32));
            }
        }
        code.extend(below);
        code.extend(above);
        return code;
    };
    one.1.clone()
}

fn op(code: u32, k: u32) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Rng;
    use core::net::{Ipv4Addr, Ipv6Addr};

    /// Runs a program as the kernel would, over the network header of a datagram.
    fn run(code: &[sock_filter], source: IpAddr, port: u16) -> u32 {
        let header = header(source, port);
        let at = |k: u32, len: usize| {
            let start = k.wrapping_sub(HEADER) as usize;
            header[start..start + len].iter().fold(0u32, |all, byte| all << 8 | u32::from(*byte))
        };
        let (mut a, mut x, mut memory, mut pc) = (0u32, 0u32, [0u32; 16], 0usize);
        for _ in 0..10_000 {
            let op = code[pc];
            pc += 1;
            match op.code {
                0x20 => a = at(op.k, 4),
                0x28 => a = at(op.k, 2),
                0x60 => a = memory[op.k as usize],
                0x02 => memory[op.k as usize] = a,
                0x07 => x = a,
                0x0c => a = a.wrapping_add(x),
                0x04 => a = a.wrapping_add(op.k),
                0x24 => a = a.wrapping_mul(op.k),
                0x74 => a >>= op.k,
                0x94 => a %= op.k,
                0x05 => pc += op.k as usize,
                0x35 => pc += usize::from(if a >= op.k { op.jt } else { op.jf }),
                0x06 => return op.k,
                0x16 => return a,
                other => panic!("no instruction of ours: {other:#x}"),
            }
        }
        panic!("it does not end");
    }

    fn header(source: IpAddr, port: u16) -> Vec<u8> {
        let mut header = vec![0xffu8; 48];
        match source {
            IpAddr::V4(v4) => {
                header[12..16].copy_from_slice(&v4.octets());
                header[20..22].copy_from_slice(&port.to_be_bytes());
            }
            IpAddr::V6(v6) => {
                header[8..24].copy_from_slice(&v6.octets());
                header[40..42].copy_from_slice(&port.to_be_bytes());
            }
        }
        header
    }

    fn net(text: &str) -> Net {
        let (address, prefix) = text.split_once('/').expect("address/prefix");
        Net { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
    }

    fn is_in(net: &Net, ip: IpAddr) -> bool {
        let shifted = |bits: u128, width: u32| bits.checked_shr(width - u32::from(net.prefix)).unwrap_or(0);
        match (net.address, ip) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                shifted(a.to_bits().into(), 32) == shifted(b.to_bits().into(), 32)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => shifted(a.to_bits(), 128) == shifted(b.to_bits(), 128),
            _ => false,
        }
    }

    fn random_ip(rng: &mut Rng, family: Family) -> IpAddr {
        // Few different bits, so that networks overlap and addresses hit them.
        match family {
            Family::V4 => Ipv4Addr::from_bits(rng.u32() & 0x8300_0f83).into(),
            Family::V6 => {
                let words = [0x8000_0001, 0x3, 0x8000_0000, 0xf].map(|mask| u128::from(rng.u32() & mask));
                let bits = words.into_iter().fold(0, |all, word| all << 32 | word);
                Ipv6Addr::from_bits(bits).into()
            }
        }
    }

    #[test]
    fn programs_agree_with_the_networks_that_they_are_made_of() {
        let mut rng = Rng::from_seed(7);
        let mut known = 0;
        for round in 0..600 {
            let family = if round % 2 == 0 { Family::V4 } else { Family::V6 };
            let bits = if family == Family::V4 { 32 } else { 128 };
            let nets: Vec<Net> = (0..rng.below(40))
                .map(|_| {
                    let prefix = if rng.below(2) == 0 { bits } else { bits - rng.below(bits) };
                    Net { address: random_ip(&mut rng, family), prefix: prefix as u8 }
                })
                .collect();
            let shards = 1 + rng.below(3) as u32;
            let program = compile(family, &nets, shards, INSTRUCTIONS_MAX);
            assert_eq!(program.cut_to, None);
            let edges = [Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into()];
            let edges = edges.into_iter().filter(|_| family == Family::V4);
            let random: Vec<IpAddr> = (0..20).map(|_| random_ip(&mut rng, family)).collect();
            for ip in edges.chain(nets.iter().map(|net| net.address)).chain(random) {
                let port = rng.u32() as u16;
                let socket = run(&program.code, ip, port);
                let expected = nets.iter().any(|net| is_in(net, ip));
                known += u32::from(expected);
                assert_eq!(socket < shards, expected, "{ip} of {nets:?}");
                assert!(socket < 2 * shards);
                assert_eq!(run(&program.code, ip, port), socket, "one source, one socket");
            }
        }
        assert!(known > 1_000, "{known}: both outcomes were tried");
    }

    #[test]
    fn sources_spread_over_the_shards() {
        let program = compile(Family::V4, &[net("192.0.2.0/24")], 4, INSTRUCTIONS_MAX);
        let mut seen = [0; 8];
        for host in 0..200u8 {
            seen[run(&program.code, Ipv4Addr::new(192, 0, 2, host).into(), 5060) as usize] += 1;
            seen[run(&program.code, Ipv4Addr::new(198, 51, 100, host).into(), 5060) as usize] += 1;
        }
        assert!(seen.iter().all(|n| *n > 20), "{seen:?}");
        let mut ports = [0; 4];
        for port in 0..200u16 {
            ports[run(&program.code, "192.0.2.1".parse().unwrap(), 40_000 + port) as usize] += 1;
        }
        assert!(ports.iter().all(|n| *n > 20), "{ports:?}");
    }

    #[test]
    fn too_many_networks_make_more_sources_known_and_never_fewer() {
        for (family, count) in [(Family::V4, 20_000u32), (Family::V6, 3_000)] {
            let mut rng = Rng::from_seed(3);
            let nets: Vec<Net> = (0..count)
                .map(|_| match family {
                    Family::V4 => Net { address: Ipv4Addr::from_bits(rng.u32()).into(), prefix: 32 },
                    Family::V6 => {
                        let bits = u128::from(rng.u64()) << 64 | u128::from(rng.u64());
                        Net { address: Ipv6Addr::from_bits(bits).into(), prefix: 128 }
                    }
                })
                .collect();
            let program = compile(family, &nets, 2, INSTRUCTIONS_MAX);
            assert!(program.code.len() <= INSTRUCTIONS_MAX && program.cut_to.is_some());
            assert!(nets.iter().all(|net| run(&program.code, net.address, 5060) < 2));
        }
    }

    #[test]
    fn as_many_single_addresses_as_an_operator_has_fit_in_full() {
        let mut rng = Rng::from_seed(5);
        let nets: Vec<Net> =
            (0..600).map(|_| Net { address: Ipv4Addr::from_bits(rng.u32()).into(), prefix: 32 }).collect();
        for shards in [1, 4] {
            assert_eq!(compile(Family::V4, &nets, shards, INSTRUCTIONS_MAX).cut_to, None);
        }
        assert_eq!(compile(Family::V4, &[net("0.0.0.0/0")], 1, 16).code.len(), 2);
    }

    #[test]
    fn nobody_is_dropped_who_is_not_listed() {
        let mut rng = Rng::from_seed(11);
        let mut spread = |family| match family {
            Family::V4 => IpAddr::from(Ipv4Addr::from_bits(rng.u32())),
            Family::V6 => Ipv6Addr::from_bits(u128::from(rng.u64()) << 64 | u128::from(rng.u64())).into(),
        };
        for (family, prefix) in [(Family::V4, 32), (Family::V6, 64)] {
            let nets: Vec<Net> = (0..2_000).map(|_| Net { address: spread(family), prefix }).collect();
            let code = compile_drops(family, &nets, 600);
            assert!(code.len() <= 600);
            let dropped: Vec<bool> = nets.iter().map(|net| run(&code, net.address, 1) == 0).collect();
            let told = dropped.iter().take_while(|dropped| **dropped).count();
            assert!(told >= 40, "the first ones are: {told}");
            assert!(dropped[told..].iter().all(|dropped| !dropped));
            assert!((0..2_000).all(|_| run(&code, spread(family), 1) == u32::MAX));
        }
        assert_eq!(run(&compile_drops(Family::V4, &[], 600), "192.0.2.1".parse().unwrap(), 1), u32::MAX);
    }
}
