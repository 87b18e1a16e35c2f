//! The engine's own part of set-up: from the kernel's stamp of an INVITE that came in to that of the INVITE that went
//! out, and the same for the 200. Captured by `dumpcap` on the loopback interface while calls come in.

use crate::Options;
use crate::peers::{Engine, Folder, is_installed, spawn};
use crate::relay::{CALLEES, CALLERS};
use anyhow::{Context, Result};
use loadtest::figures::Times;
use loadtest::run::{Lines, LoadSip};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

/// 200 and 500 calls a second.
pub fn measure(options: &Options) -> Result<()> {
    if !is_installed("dumpcap") {
        println!(
            "dumpcap is not installed (apt install tshark): the engine's own part of set-up is not measured"
        );
        return Ok(());
    }
    println!("\nThe engine's own part of set-up, kernel stamps:");
    for cps in [200, 500] {
        let [invites, answers, misordered] = run(cps, options.seconds.max(5.0) * 2.0)?;
        for (name, times) in [("INVITE in to out", invites.0), ("200 in to out", answers.0)] {
            println!("{cps} calls/s, {name}: {}, of {}", times.percentiles(), times.count());
        }
        println!("{cps} calls/s, replies that overtook an earlier one: {}", misordered.1);
    }
    Ok(())
}

fn run(cps: u32, seconds: f64) -> Result<[(Times, u64); 3]> {
    let lines = Lines::bind((CALLERS, 0).into(), Some((CALLEES, 0).into()))?;
    let (uac, uas) = (lines.uac()?, lines.uas()?.context("an answering side")?);
    let engine = Engine::start("epoll", uac, uas)?;
    let folder = Folder::new("capture")?;
    let file = folder.0.join("calls.pcap");
    let filter = format!("udp port {}", engine.sip.port());
    let mut capture = Command::new("dumpcap");
    capture.args(["-q", "-P", "-i", "lo", "-B", "64", "-f", &filter, "-w"]).arg(&file);
    let capture = spawn(&mut capture, &folder)?;
    std::thread::sleep(Duration::from_secs(2)); // dumpcap tells only on a terminal that it has begun
    let mut load = LoadSip::steady(engine.sip, cps, f64::from(cps), seconds);
    (load.uac, load.uas, load.media) = (lines.uac()?, lines.uas()?, None);
    (load.hold, load.settle) = (Duration::ZERO, Duration::ZERO);
    let report = loadtest::run::run_on(lines, &load, |_| ())?;
    if report.calls.failed > 0 {
        println!("{} of {} calls failed", report.calls.failed, report.calls.placed);
    }
    std::thread::sleep(Duration::from_secs(1));
    drop(capture);
    Ok(analyse(&std::fs::read(&file)?, engine.sip, uac, uas))
}

/// The number called names the call on both sides; of messages that came again the first counts.
fn analyse(pcap: &[u8], sip: SocketAddr, uac: SocketAddr, uas: SocketAddr) -> [(Times, u64); 3] {
    let mut seen: BTreeMap<(u8, Vec<u8>), u64> = BTreeMap::new();
    let mut statuses: BTreeMap<Vec<u8>, u16> = BTreeMap::new();
    let mut misordered = 0;
    for (at, from, to, payload) in packets(pcap) {
        let is_invite = payload.starts_with(b"INVITE ");
        let status = payload
            .strip_prefix(b"SIP/2.0 ")
            .and_then(|r| std::str::from_utf8(r.get(..3)?).ok()?.parse().ok());
        let of_invite = memory_find(payload, b"CSeq: ").is_some_and(|line| line.ends_with(b"INVITE"));
        if !of_invite {
            continue;
        }
        let Some(number) = memory_find(payload, b"To: ").and_then(called) else { continue };
        let kind = match (is_invite, status) {
            (true, _) if to == sip && from == uac => 0,
            (true, _) if from == sip && to == uas => 1,
            (_, Some(200)) if to == sip && from == uas => 2,
            (_, Some(200)) if from == sip && to == uac => 3,
            _ => u8::MAX,
        };
        if let Some(status) = status
            && from == sip
            && to == uac
        {
            let last = statuses.entry(number.clone()).or_default();
            misordered += u64::from(status < *last);
            *last = status.max(*last);
        }
        if kind != u8::MAX {
            seen.entry((kind, number)).or_insert(at);
        }
    }
    let gaps = |into: u8, out: u8| {
        let mut times = Times::default();
        for ((_, number), begun) in seen.iter().filter(|((kind, _), _)| *kind == into) {
            if let Some(end) = seen.get(&(out, number.clone())) {
                times.record(end.saturating_sub(*begun) * 1_000);
            }
        }
        times
    };
    [(gaps(0, 1), 0), (gaps(2, 3), 0), (Times::default(), misordered)]
}

/// The line that begins with `name`, without the name.
fn memory_find<'a>(message: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut lines = message.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines.find_map(|line| line.strip_prefix(name))
}

fn called(to: &[u8]) -> Option<Vec<u8>> {
    let start = to.windows(4).position(|w| w == b"sip:")? + 4;
    let len = to[start..].iter().position(|b| *b == b'@')?;
    Some(to[start..start + len].to_vec())
}

/// IPv4 UDP datagrams of a classic pcap file: microseconds, from, to, payload.
fn packets(pcap: &[u8]) -> Vec<(u64, SocketAddr, SocketAddr, &[u8])> {
    let word = |at: usize| pcap.get(at..at + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let mut found = Vec::new();
    let mut at = 24;
    while let (Some(seconds), Some(micros), Some(len)) = (word(at), word(at + 4), word(at + 8)) {
        let Some(frame) = pcap.get(at + 16..at + 16 + len as usize) else { break };
        at += 16 + len as usize;
        let Some(ip) = frame.get(14..).filter(|ip| ip.len() >= 28 && ip[0] >> 4 == 4) else { continue };
        let header = usize::from(ip[0] & 15) * 4;
        let (Some(udp), Some(payload)) = (ip.get(header..header + 8), ip.get(header + 8..)) else { continue };
        let address = |ip: &[u8], port: &[u8]| {
            SocketAddr::from(([ip[0], ip[1], ip[2], ip[3]], u16::from_be_bytes([port[0], port[1]])))
        };
        let (from, to) = (address(&ip[12..16], &udp[0..2]), address(&ip[16..20], &udp[2..4]));
        found.push((u64::from(seconds) * 1_000_000 + u64::from(micros), from, to, payload));
    }
    found
}
