//! `strowger check`, `inspect` and `doctor`: what can be told without running an engine.

use crate::usage;
use b2bua::Spec;
use config::Config;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Arguments of `check`.
#[derive(clap::Args)]
pub struct CheckArguments {
    /// The configuration.
    file: PathBuf,
    /// Also prints the value of every key that was not given.
    #[arg(long)]
    defaults: bool,
}

/// What `inspect` looks at.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum InspectKind {
    /// One SIP message.
    Sip,
    /// One session description.
    Sdp,
}

/// `strowger check FILE`.
pub fn check(arguments: &CheckArguments) -> ExitCode {
    let name = arguments.file.display().to_string();
    let text = match std::fs::read_to_string(&arguments.file) {
        Ok(text) => text,
        Err(error) => return usage(format!("{name}: {error}")),
    };
    match Config::check(&text, &name) {
        Ok(checked) => {
            for notice in checked.missing_secrets() {
                println!("{notice}");
            }
            for notice in checked.not_in_effect() {
                println!("{notice}");
            }
            if arguments.defaults {
                for (key, value) in checked.defaults() {
                    println!("{key} = {value}");
                }
            }
            println!("{name}: valid");
            ExitCode::SUCCESS
        }
        Err(errors) => {
            for error in &errors {
                eprintln!("{error}");
            }
            eprintln!("{name}: {} error{}", errors.len(), if errors.len() == 1 { "" } else { "s" });
            ExitCode::from(2)
        }
    }
}

/// `strowger inspect sip|sdp FILE`: exit 0 if it is valid, 1 if it is not.
pub fn inspect(kind: InspectKind, file: &Path) -> ExitCode {
    let bytes = match std::fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => return usage(format!("{}: {error}", file.display())),
    };
    match kind {
        InspectKind::Sip => {
            let inspection = sip::inspect::inspect(&bytes);
            println!("{}", inspection.to_json());
            ExitCode::from(u8::from(!inspection.is_valid()))
        }
        InspectKind::Sdp => {
            let (json, valid) = inspect_sdp(&bytes);
            println!("{json:#}");
            ExitCode::from(u8::from(!valid))
        }
    }
}

fn inspect_sdp(bytes: &[u8]) -> (serde_json::Value, bool) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let sdp = match sdp::Sdp::parse(bytes) {
        Ok(sdp) => sdp,
        Err(error) => {
            let json = serde_json::json!({
                "valid": false, "error": error.class(), "error_text": error.to_string(), "response": 488,
            });
            return (json, false);
        }
    };
    let media: Vec<_> = sdp
        .media()
        .iter()
        .map(|line| {
            serde_json::json!({
                "kind": line.kind().name(),
                "port": line.port(),
                "proto": text(line.proto_text()),
                "formats": line.formats().map(text).collect::<Vec<_>>(),
                "address": line.rtp().map(|a| a.to_string()),
                "rtcp": line.rtcp(line.rtcp_mux()).map(|a| a.to_string()),
                "rtcp_mux": line.rtcp_mux(),
                "direction": line.direction().name(),
                "ptime": line.ptime(),
                "crypto": line.has_crypto(),
                "dtls": line.needs_dtls(),
                "candidates": line.candidates().count(),
            })
        })
        .collect();
    let json = serde_json::json!({
        "valid": true,
        "error": null,
        "response": null,
        "origin": sdp.origin().map(|o| text(o.session_id)),
        "connection": sdp.first_address().map(|a| a.to_string()),
        "media": media,
    });
    (json, true)
}

/// `strowger doctor`: what this host offers, and what to do about what is missing.
pub fn doctor() -> ExitCode {
    let cpus = shard::sys::allowed_cpus();
    row(
        "cores",
        format!("{} allowed: {} media shards by default", cpus.len(), cpus.len().saturating_sub(1).max(1)),
    );
    let (soft, hard) = shard::sys::descriptor_limits();
    row(
        "descriptors",
        format!("{soft} now, {hard} at most: about {} relayed calls", hard.saturating_sub(64) / 4),
    );
    if hard < 65_536 {
        advice("raise the limit for the service: LimitNOFILE=1048576 in its systemd unit");
    }
    for probe in shard::probe() {
        match &probe.absent {
            None => row(probe.name, "works".to_owned()),
            Some(why) => row(probe.name, format!("absent: {why}")),
        }
        match (probe.name, &probe.absent) {
            ("uring", Some(_)) => advice(
                "sysctl kernel.io_uring_disabled=0, or allow io_uring in the container's seccomp profile",
            ),
            ("xdp", Some(_)) => advice("media goes through sockets; nothing to do"),
            _ => {}
        }
    }
    row("run would choose", "epoll (back end `auto`)".to_owned());
    instructions();
    for (name, path, wanted) in [
        ("rmem_max", "/proc/sys/net/core/rmem_max", 8 << 20),
        ("wmem_max", "/proc/sys/net/core/wmem_max", 4 << 20),
    ] {
        let value: u64 = read_number(path);
        row(name, value.to_string());
        if value < wanted {
            advice(&format!("sysctl net.core.{name}={wanted}: bursts of SIP fit the socket's queue"));
        }
    }
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let reserved = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
    row("ephemeral ports", format!("{} (reserved: {})", range.trim().replace('\t', "-"), reserved.trim()));
    advice(
        "keep media ranges below the ephemeral ports, or reserve them: sysctl net.ipv4.ip_local_reserved_ports",
    );
    ExitCode::SUCCESS
}

fn instructions() {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags =
        info.lines().find(|l| l.starts_with("flags") || l.starts_with("Features")).unwrap_or_default();
    let has = |name: &str| flags.split_whitespace().any(|f| f == name);
    let found: Vec<&str> =
        ["aes", "sha_ni", "avx2", "avx512f", "vaes"].into_iter().filter(|f| has(f)).collect();
    row("instructions", found.join(" "));
    if !has("aes") || !has("sha_ni") {
        advice("without AES and SHA instructions SRTP costs about three times as much");
    }
}

fn row(name: &str, value: impl std::fmt::Display) {
    println!("{name:18} {value}");
}

fn advice(text: &str) {
    println!("{:18} -> {text}", "");
}

fn read_number(path: &str) -> u64 {
    std::fs::read_to_string(path).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0)
}

/// Listeners whose media range overlaps the kernel's ephemeral ports where those are not reserved, with these ports.
pub fn overlapping_ports(spec: &Spec) -> Vec<(String, u16, u16)> {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let reserved = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_reserved_ports").unwrap_or_default();
    let mut numbers = range.split_whitespace().filter_map(|n| n.parse::<u16>().ok());
    let (Some(low), Some(high)) = (numbers.next(), numbers.next()) else { return Vec::new() };
    let is_reserved = |ports: &std::ops::RangeInclusive<u16>| {
        reserved.trim().split(',').any(|part| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            match (from.parse::<u16>(), to.parse::<u16>()) {
                (Ok(from), Ok(to)) => from <= *ports.start() && *ports.end() <= to,
                _ => false,
            }
        })
    };
    let overlaps = |ports: &std::ops::RangeInclusive<u16>| *ports.start() <= high && low <= *ports.end();
    spec.listeners
        .iter()
        .filter(|l| {
            l.media.iter().any(|m| *m.ports.start() > 0 && overlaps(&m.ports) && !is_reserved(&m.ports))
        })
        .map(|l| (l.name.clone(), low, high))
        .collect()
}
