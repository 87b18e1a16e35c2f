//! An SDP as a proxy wrote it, line by line, and SDP that parties write.

use crate::support::softphone::sdp;
use crate::support::talker::Codec;
use std::net::{IpAddr, SocketAddr};

/// What a proxy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sdp(pub String);

impl Sdp {
    /// The lines of the session.
    pub fn session(&self) -> Vec<&str> {
        self.0.lines().take_while(|line| !line.starts_with("m=")).collect()
    }

    /// The lines of m-line `n`, from itself on.
    pub fn section(&self, n: usize) -> Vec<&str> {
        let mut sections: Vec<Vec<&str>> = Vec::new();
        for line in self.0.lines() {
            if line.starts_with("m=") {
                sections.push(Vec::new());
            }
            if let Some(section) = sections.last_mut() {
                section.push(line);
            }
        }
        sections.get(n).unwrap_or_else(|| panic!("no m-line {n} in {}", self.0)).clone()
    }

    /// How many m-lines.
    pub fn count(&self) -> usize {
        self.0.lines().filter(|line| line.starts_with("m=")).count()
    }

    /// m-line `n` in words: kind, port, protocol, formats.
    pub fn line(&self, n: usize) -> Vec<&str> {
        self.section(n)[0]["m=".len()..].split(' ').collect()
    }

    /// The protocol of m-line `n`.
    pub fn protocol(&self, n: usize) -> &str {
        self.line(n)[2]
    }

    /// The formats of m-line `n`, with a blank between.
    pub fn formats(&self, n: usize) -> String {
        self.line(n)[3..].join(" ")
    }

    /// The codecs of m-line `n` by name, as its rtpmap lines and static numbers say, in order.
    pub fn codecs(&self, n: usize) -> Vec<String> {
        let name = |number: &&str| {
            let map = format!("{number} ");
            let said = self.attributes(n, "rtpmap").into_iter().find_map(|value| value.strip_prefix(&map));
            let fixed = match *number {
                "0" => "PCMU",
                "8" => "PCMA",
                "9" => "G722",
                "18" => "G729",
                other => other,
            };
            said.map_or(fixed, |said| said.split('/').next().unwrap_or(said)).to_owned()
        };
        self.line(n)[3..].iter().map(name).collect()
    }

    /// Where m-line `n` wants RTP.
    pub fn media(&self, n: usize) -> SocketAddr {
        let find = |lines: &[&str]| {
            lines.iter().find_map(|line| line.strip_prefix("c=IN IP")?[2..].parse::<IpAddr>().ok())
        };
        let ip = find(&self.section(n)).or_else(|| find(&self.session())).expect("an address");
        SocketAddr::new(ip, self.line(n)[1].parse().expect("a port"))
    }

    /// Where m-line `n` wants RTCP.
    pub fn rtcp(&self, n: usize) -> SocketAddr {
        let media = self.media(n);
        let port = self.attributes(n, "rtcp").first().and_then(|v| v.split(' ').next()?.parse().ok());
        SocketAddr::new(media.ip(), port.unwrap_or(media.port() + 1))
    }

    /// The values of an attribute of m-line `n`.
    pub fn attributes(&self, n: usize, name: &str) -> Vec<&str> {
        let (key, bare) = (format!("a={name}:"), format!("a={name}"));
        let value = |line: &'_ str| line.len() >= key.len() && line.starts_with(&key);
        self.section(n)
            .into_iter()
            .filter_map(
                |line| if value(line) { Some(&line[key.len()..]) } else { (line == bare).then_some("") },
            )
            .collect()
    }

    /// Whether this is a line of m-line `n`.
    pub fn has(&self, n: usize, line: &str) -> bool {
        self.section(n).contains(&line)
    }
}

/// SDP of a phone with these codecs and nothing else.
pub fn of_codecs(media: SocketAddr, codecs: &[Codec]) -> String {
    let numbers: Vec<String> = codecs.iter().map(|codec| codec.number.to_string()).collect();
    let mut text = sdp(media, &format!("audio {{port}} RTP/AVP {}", numbers.join(" ")), &[]);
    codecs.iter().for_each(|codec| text.push_str(&codec.lines()));
    text
}
