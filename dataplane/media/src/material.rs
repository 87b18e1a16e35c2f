//! Test material of others, where it is at hand.

use std::path::PathBuf;

/// Samples of a 16-bit mono WAV file of the shared test data; none, loudly, where it is absent.
#[expect(clippy::print_stderr, reason = "absent material is named")]
pub fn wav(name: &str) -> Option<Vec<i16>> {
    let Ok(file) = std::fs::read(path("audio").join(name)) else {
        eprintln!("ABSENT: testdata/audio/{name}: nothing was heard of it");
        return None;
    };
    let mut rest = &file[12..];
    while rest.len() > 8 {
        let len = u32::from_le_bytes([rest[4], rest[5], rest[6], rest[7]]) as usize;
        let body = &rest[8..rest.len().min(8 + len)];
        if rest.starts_with(b"data") {
            let (samples, _) = body.as_chunks::<2>();
            return Some(samples.iter().map(|sample| i16::from_le_bytes(*sample)).collect());
        }
        rest = &rest[rest.len().min(8 + len + len % 2)..];
    }
    panic!("{name} has no data");
}

/// UDP payloads of a capture with their time in nanoseconds; none, loudly, where it is absent.
#[expect(clippy::print_stderr, reason = "absent material is named")]
pub fn datagrams(name: &str) -> Vec<(u64, Vec<u8>)> {
    let Ok(file) = std::fs::read(path("pcap").join(name)) else {
        eprintln!("ABSENT: testdata/pcap/{name}: nothing was replayed");
        return Vec::new();
    };
    let swapped = file[..4] == [0xa1, 0xb2, 0xc3, 0xd4];
    let word = |bytes: &[u8]| {
        let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
        if swapped { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    let link_len = match word(&file[20..]) {
        1 => 14,
        113 => 16,
        101 | 228 => 0,
        other => panic!("{name}: link type {other}"),
    };
    let mut found = Vec::new();
    let mut rest = &file[24..];
    while rest.len() >= 16 {
        let at = u64::from(word(rest)) * 1_000_000_000 + u64::from(word(&rest[4..])) * 1_000;
        let len = word(&rest[8..]) as usize;
        let ip = &rest[16 + link_len..16 + len];
        rest = &rest[16 + len..];
        let header_len = usize::from(ip[0] & 0x0f) * 4;
        if ip[0] >> 4 == 4 && ip[9] == 17 {
            let udp = &ip[header_len..];
            let udp_len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
            found.push((at, udp[8..udp_len.min(udp.len())].to_vec()));
        }
    }
    found
}

fn path(folder: &str) -> PathBuf {
    let root = std::env::var_os("STROWGER_TESTDATA").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata"),
        PathBuf::from,
    );
    root.join(folder)
}
