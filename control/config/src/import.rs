//! Other programs' configurations as ours: rtpengine's file becomes a strowger.toml that says of each key what became of
//! it. Reads no file and asks nobody for a name: who calls it does.

mod ini; // sections, keys, values
mod reasons; // why keys are not carried over

use crate::read::push_text;
use crate::value::Word;
use crate::words::MediaAddress;
use core::fmt::Write as _;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use ini::Entry;
use std::collections::BTreeMap;

/// What the file does not say of the machine.
pub struct Host<'a> {
    /// The section to read: `rtpengine`, unless it was started with `--config-section`.
    pub section: &'a str,
    /// The address by which others reach this machine, for `interface = any`.
    pub address: IpAddr,
    /// The addresses of a host name or of a network interface; none if it is not known.
    pub resolve: &'a dyn Fn(&str) -> Vec<IpAddr>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// A whole configuration, with comments.
    pub toml: String,
    /// What is not carried over, or differently.
    pub warnings: Vec<Warning>,
}

/// One thing that needs a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Of the file that was read, from 1; 0 for what stands on no line.
    pub line: usize,
    /// A sentence. Values are not in it where they may be passwords.
    pub text: String,
}

impl core::fmt::Display for Warning {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.line {
            0 => f.write_str(&self.text),
            line => write!(f, "line {line}: {}", self.text),
        }
    }
}

/// Makes a configuration of an rtpengine.conf. Whatever the file is, something comes out that can be checked and run.
pub fn rtpengine(text: &str, host: &Host<'_>) -> Imported {
    let (entries, bad) = ini::read(text);
    let mut import = Import { host, warnings: Vec::new(), done: Vec::new(), keys: BTreeMap::new() };
    for (line, words) in bad {
        import.warn(line, words.to_owned());
    }
    import.collect(&entries);
    let (ng, api) = import.control();
    let interfaces = import.interfaces(&entries);
    let listeners = import.listeners(interfaces, &ng);
    let toml = import.write(&listeners, &ng, api);
    let mut warnings = import.warnings;
    warnings.sort_by_key(|warning| (warning.line == 0, warning.line));
    Imported { toml, warnings }
}

struct Import<'a> {
    host: &'a Host<'a>,
    warnings: Vec<Warning>,
    /// Keys that something became of, or whose fate was told.
    done: Vec<&'a str>,
    /// The section's keys; of repeated ones the last counts.
    keys: BTreeMap<&'a str, Entry<'a>>,
}

/// An address on which media is heard.
struct Interface {
    name: String,
    address: IpAddr,
    advertise: Option<IpAddr>,
    ports: (u16, u16),
    line: usize,
}

/// A listener of ours.
struct Listener {
    name: String,
    interfaces: Vec<Interface>,
}

/// Where the API is heard unless told otherwise.
const API_PORT: u16 = 8080;

impl<'a> Import<'a> {
    fn warn(&mut self, line: usize, mut text: String) {
        // One line each, however the file was written.
        if text.contains(char::is_control) {
            text = text.replace(char::is_control, " ");
        }
        if let Some((end, _)) = text.char_indices().nth(400) {
            text.truncate(end);
        }
        self.warnings.push(Warning { line, text });
    }

    /// Chooses the entries of our section, and says what is left of others.
    fn collect(&mut self, entries: &[Entry<'a>]) {
        let section = self.host.section;
        let mut others: Vec<&str> = Vec::new();
        for entry in entries {
            if entry.section != section {
                if !others.contains(&entry.section) {
                    others.push(entry.section);
                }
                continue;
            }
            if let Some(before) = self.keys.insert(entry.key, *entry) {
                let text =
                    format!("{} counts no more, because line {} says it again", before.key, entry.line);
                self.warn(before.line, text);
            }
        }
        if self.keys.is_empty() {
            self.warn(0, format!("no key stands in a section [{section}]: what follows are defaults"));
        }
        let prefix = self.keys.get("interfaces-config").map(|entry| format!("{}-", entry.value));
        let is_interface = |other: &str| prefix.as_ref().is_some_and(|prefix| other.starts_with(prefix));
        let templates = self.keys.get("templates").map(|entry| entry.value);
        for other in others {
            if is_interface(other) {
                continue;
            }
            let line = entries.iter().find(|entry| entry.section == other).map_or(0, |entry| entry.line);
            if templates == Some(other) {
                let text = format!(
                    "[{other}] is not carried over, because Strowger knows no templates: give the flags in each request"
                );
                self.warn(line, text);
            } else {
                let text = format!(
                    "[{other}] is not carried over, because [{section}] is: --section {other} takes it instead"
                );
                self.warn(line, text);
            }
        }
    }

    /// A key of ours, of which something becomes now.
    fn take(&mut self, key: &'a str) -> Option<Entry<'a>> {
        self.done.push(key);
        self.keys.get(key).copied().filter(|entry| !entry.value.is_empty())
    }

    /// A number within bounds, or `None` with a warning.
    fn number(
        &mut self,
        entry: Entry<'_>,
        range: core::ops::RangeInclusive<i64>,
        otherwise: &str,
    ) -> Option<i64> {
        let number = entry.value.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let (key, from, to) = (entry.key, range.start(), range.end());
            self.warn(entry.line, format!("{key} is no number from {from} to {to}: {otherwise}"));
        }
        number
    }

    /// Where NG is spoken, each with the key it comes from, and where the API goes.
    fn control(&mut self) -> (Vec<(String, Entry<'a>)>, SocketAddr) {
        let mut found: Vec<(String, Entry<'a>)> = Vec::new();
        let mut taken: Vec<(bool, SocketAddr)> = Vec::new();
        for (key, carriers) in
            [("listen-ng", &["udp"][..]), ("listen-tcp-ng", &["tcp"]), ("listen-http", &["http", "ws"])]
        {
            let Some(entry) = self.take(key) else { continue };
            for text in entry.value.split(';').map(str::trim).filter(|text| !text.is_empty()) {
                let addresses = self.listening(entry, text);
                for address in addresses {
                    let is_udp = carriers == ["udp"];
                    let meets = taken.iter().any(|(udp, other)| {
                        let wild = other.ip().is_unspecified() || address.ip().is_unspecified();
                        *udp == is_udp
                            && other.port() == address.port()
                            && (wild || other.ip() == address.ip())
                    });
                    if meets || found.len() + carriers.len() > NG_MAX {
                        self.warn(
                            entry.line,
                            format!("{key}: {address} is left out, because it stands there already"),
                        );
                        continue;
                    }
                    taken.push((is_udp, address));
                    found.extend(carriers.iter().map(|carrier| (format!("{carrier}:{address}"), entry)));
                }
            }
        }
        if found.is_empty() {
            self.warn(0, "no listen-ng: NG is spoken nowhere until engine.ng says where".to_owned());
        }
        let port = (API_PORT..).find(|port| !taken.iter().any(|(udp, ng)| !udp && ng.port() == *port));
        (found, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port.unwrap_or(API_PORT)))
    }

    /// `[ADDRESS:]PORT`; a port by itself is heard everywhere.
    fn listening(&mut self, entry: Entry<'_>, text: &str) -> Vec<SocketAddr> {
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        let Some(port) = port.parse().ok().filter(|port| *port > 0) else {
            self.warn(entry.line, format!("{} has no port: passed over", entry.key));
            return Vec::new();
        };
        let addresses = match host {
            "" | "*" => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED)],
            host => self.addresses(host),
        };
        let fit: Vec<_> = addresses.into_iter().filter(|address| !is_of_many(*address)).collect();
        if fit.is_empty() {
            self.warn(entry.line, format!("{}: its address is not known here: passed over", entry.key));
        }
        fit.into_iter().take(4).map(|address| SocketAddr::new(address, port)).collect()
    }

    fn addresses(&self, text: &str) -> Vec<IpAddr> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        match (bare.parse(), bare) {
            (Ok(address), _) => vec![address],
            (Err(_), "localhost") => vec![Ipv4Addr::LOCALHOST.into()],
            (Err(_), name) => (self.host.resolve)(name),
        }
    }

    /// The ports of the whole, made even at the beginning and odd at the end.
    fn ports(&mut self, min: Option<Entry<'_>>, max: Option<Entry<'_>>, otherwise: (u16, u16)) -> (u16, u16) {
        let mut port = |entry: Option<Entry<'_>>, default: u16| {
            let number =
                entry.and_then(|entry| self.number(entry, 1..=65_535, &format!("{default} is used")));
            number.map_or(default, |number| number as u16)
        };
        let (first, last) = (port(min, otherwise.0), port(max, otherwise.1));
        let (even, odd) =
            (first.saturating_add(first % 2).max(2), if last % 2 == 0 { last - 1 } else { last });
        if even < odd && (first % 2 == 0 || first < 65_535) {
            return (even, odd);
        }
        let line = max.or(min).map_or(0, |entry| entry.line);
        self.warn(line, "port-min and port-max leave no pair of ports: 30000 to 39999 are used".to_owned());
        (30_000, 39_999)
    }

    /// All that `interface` and the sections of interfaces say.
    fn interfaces(&mut self, entries: &[Entry<'a>]) -> Vec<Interface> {
        let (min, max) = (self.take("port-min"), self.take("port-max"));
        let ports = self.ports(min, max, (30_000, 40_000));
        let mut found = Vec::new();
        if let Some(entry) = self.take("interface") {
            for text in entry.value.split(';').map(str::trim).filter(|text| !text.is_empty()) {
                let (name, rest) = text.split_once('/').unwrap_or(("default", text));
                if let Some((alias, of)) = text.split_once('=') {
                    let text = format!(
                        "the alias {alias} is not carried over, because listeners have one name: let requests say {of}"
                    );
                    self.warn(entry.line, text);
                    continue;
                }
                let (address, advertise) = match rest.split_once('!') {
                    Some((address, advertise)) => (address, Some(advertise)),
                    None => (rest, None),
                };
                self.interface(&mut found, name, address, advertise, ports, entry.line);
            }
        }
        if let Some(config) = self.take("interfaces-config") {
            let prefix = format!("{}-", config.value);
            let mut sections: Vec<&str> = Vec::new();
            for entry in entries {
                if entry.section.starts_with(&prefix) && !sections.contains(&entry.section) {
                    sections.push(entry.section);
                }
            }
            for section in sections {
                self.section(&mut found, entries, section, &prefix, ports);
            }
        }
        found
    }

    /// `[interface-NAME]`.
    fn section(
        &mut self,
        found: &mut Vec<Interface>,
        entries: &[Entry<'a>],
        section: &'a str,
        prefix: &str,
        ports: (u16, u16),
    ) {
        let key = |key: &str| entries.iter().rev().find(|it| it.section == section && it.key == key).copied();
        let name = key("name").map_or(&section[prefix.len()..], |entry| entry.value);
        for entry in entries.iter().filter(|entry| entry.section == section) {
            let why = match entry.key {
                "name" | "address" | "advertised" | "port-min" | "port-max" => continue,
                "alias" => "because listeners have one name: let requests use that of the interface",
                "exclude-ports" => "because a listener has one range of ports: choose one without them",
                _ => "because no interface has such a key",
            };
            self.warn(entry.line, format!("[{section}] {} is not carried over, {why}", entry.key));
        }
        let Some(address) = key("address") else { return };
        let ports = match (key("port-min"), key("port-max")) {
            (None, None) => ports,
            (min, max) => self.ports(min, max, ports),
        };
        self.interface(found, name, address.value, key("advertised").map(|it| it.value), ports, address.line);
    }

    /// One interface, which may have several addresses.
    fn interface(
        &mut self,
        found: &mut Vec<Interface>,
        name: &str,
        address: &str,
        advertise: Option<&str>,
        ports: (u16, u16),
        line: usize,
    ) {
        let (base, suffix) = name.split_once(':').map_or((name, None), |(base, suffix)| (base, Some(suffix)));
        if suffix.is_some() {
            let text = format!(
                "{name} becomes an address of the listener {base}, because names are not taken in turn here"
            );
            self.warn(line, text);
        }
        let name: String =
            base.chars().filter(|c| c.is_alphanumeric() || "-_.".contains(*c)).take(60).collect();
        let name = if name.is_empty() { "default".to_owned() } else { name };
        let addresses = match address {
            "any" => {
                let ours = self.host.address;
                self.warn(line, format!("{name}: `any` becomes {ours}, by which others reach this machine as it seems: name the addresses"));
                vec![ours]
            }
            address => self.addresses(address),
        };
        let mut fit = addresses.into_iter().filter(|it| !is_of_many(*it) && !it.is_unspecified()).peekable();
        if fit.peek().is_none() {
            self.warn(line, format!("{name}: {address} is no address that is known here: passed over"));
        }
        let advertised = advertise.and_then(|text| self.addresses(text.trim()).first().copied());
        let advertised = advertised.filter(|it| !is_of_many(*it) && !it.is_unspecified());
        if let (Some(text), None) = (advertise, advertised) {
            self.warn(line, format!("{name}: {text} is no address to advertise: passed over"));
        }
        let new: Vec<_> = fit.take(64).collect();
        for address in new {
            let advertise = advertised.filter(|it| it.is_ipv4() == address.is_ipv4());
            if advertised.is_some() && advertise.is_none() {
                self.warn(
                    line,
                    format!("{name}: {address} and what it advertises are of two families: passed over"),
                );
            }
            let is_twice =
                |it: &Interface| it.name == name && it.address == address && it.advertise == advertise;
            if found.iter().any(is_twice) || found.len() >= INTERFACES_MAX {
                self.warn(line, format!("{name}: {address} stands there already: passed over"));
            } else {
                found.push(Interface { name: name.clone(), address, advertise, ports, line });
            }
        }
    }

    /// Interfaces as listeners: no port belongs to two of them, and each has one address to advertise a family.
    fn listeners(&mut self, mut interfaces: Vec<Interface>, ng: &[(String, Entry<'_>)]) -> Vec<Listener> {
        if interfaces.is_empty() {
            let ours = self.host.address;
            self.warn(
                0,
                format!(
                    "no interface: media is heard on {ours}, by which others reach this machine as it seems"
                ),
            );
            let ports = (30_000, 39_999);
            let name = "default".to_owned();
            interfaces.push(Interface { name, address: ours, advertise: None, ports, line: 0 });
        }
        self.share_ports(&mut interfaces);
        // NG may be heard where media would be.
        let control = ng.iter().filter_map(|(text, _)| text.strip_prefix("udp:")?.parse::<SocketAddr>().ok());
        for port in control.map(|address| address.port()) {
            for interface in interfaces.iter_mut().filter(|it| (it.ports.0..=it.ports.1).contains(&port)) {
                interface.ports = without(interface.ports, port);
                let text = format!(
                    "{}: its ports end before or begin behind {port}, where NG is heard",
                    interface.name
                );
                self.warnings.push(Warning { line: interface.line, text });
            }
        }
        let mut listeners: Vec<Listener> = Vec::new();
        for interface in interfaces {
            let fits = |listener: &&mut Listener| {
                let mut same = listener
                    .interfaces
                    .iter()
                    .filter(|it| it.address.is_ipv4() == interface.address.is_ipv4());
                let is_ours = listener.name == interface.name
                    || listener.name.starts_with(&format!("{}-", interface.name));
                is_ours
                    && listener.interfaces[0].name == interface.name
                    && same.all(|it| it.advertise == interface.advertise && it.address != interface.address)
            };
            match listeners.iter_mut().find(fits) {
                Some(listener) => listener.interfaces.push(interface),
                None => {
                    let is_free = |name: &String| listeners.iter().all(|it| it.name != *name);
                    let mut names = core::iter::once(interface.name.clone())
                        .chain((2..).map(|n| format!("{}-{n}", interface.name)));
                    let name = names.find(is_free).expect("numbers do not end");
                    if name != interface.name {
                        let text = format!(
                            "{}: {} becomes the listener {name}, because a listener advertises one address of a family",
                            interface.name, interface.address
                        );
                        self.warn(interface.line, text);
                    }
                    listeners.push(Listener { name, interfaces: vec![interface] });
                }
            }
        }
        listeners
    }

    /// The same address under several names: rtpengine shares its ports out as they are asked for, we once for all.
    fn share_ports(&mut self, interfaces: &mut [Interface]) {
        let mut groups: BTreeMap<IpAddr, Vec<usize>> = BTreeMap::new();
        for (index, interface) in interfaces.iter().enumerate() {
            groups.entry(interface.address).or_default().push(index);
        }
        for (address, members) in groups.into_iter().filter(|(_, members)| members.len() > 1) {
            let first = members.iter().map(|at| interfaces[*at].ports.0).min().unwrap_or(30_000);
            let last = members.iter().map(|at| interfaces[*at].ports.1).max().unwrap_or(39_999);
            let pairs = (u32::from(last) + 1 - u32::from(first)) / 2;
            let share = pairs / members.len() as u32;
            // Too few for all: other ports, of which there are enough.
            let (first, share) =
                if share == 0 { (30_000, 5_000 / members.len() as u32) } else { (first, share) };
            for (n, at) in (0u32..).zip(&members) {
                let begin = u32::from(first) + 2 * n * share;
                interfaces[*at].ports = (begin as u16, (begin + 2 * share - 1) as u16);
            }
            let text = format!("{address} stands under several names: each gets a part of its ports");
            self.warn(interfaces[members[0]].line, text);
        }
    }

    /// The whole file.
    fn write(&mut self, listeners: &[Listener], ng: &[(String, Entry<'_>)], api: SocketAddr) -> String {
        let mut out = String::from(
            "# Made of an rtpengine.conf by `strowger config import`. Each comment says what a line comes from.\n",
        );
        let tos =
            self.take("tos").and_then(|entry| Some((entry, self.number(entry, 0..=255, "EF is used")?)));
        for listener in listeners {
            self.write_listener(&mut out, listener, tos);
        }
        let sessions = self.take("max-sessions");
        let sessions = sessions.filter(|entry| entry.value != "-1");
        let sessions =
            sessions.and_then(|it| Some((it, self.number(it, 1..=10_000_000, "there is no limit")?)));
        if let Some((entry, calls)) = sessions {
            let line = entry.line;
            let _ = writeln!(
                out,
                "\n[limit.ng] # max-sessions (line {line}): offers beyond it are answered as rtpengine does\ncalls = {calls}"
            );
        }
        out.push_str("\n[engine]\n");
        if api.port() != API_PORT {
            let _ = writeln!(out, "api = \"{api}\" # port {API_PORT} is taken by listen-http");
        }
        if !ng.is_empty() {
            let mut keys: Vec<String> = Vec::new();
            for (_, entry) in ng {
                let from = format!("{} (line {})", entry.key, entry.line);
                if !keys.contains(&from) {
                    keys.push(from);
                }
            }
            let texts: Vec<_> = ng.iter().map(|(text, _)| quoted(text)).collect();
            let _ = writeln!(out, "ng = [{}] # {}", texts.join(", "), keys.join(", "));
        }
        if sessions.is_some() {
            out.push_str("ng_pool = [\"ng\"] # each NG call takes a place in limit.ng\n");
        }
        self.write_engine(&mut out);
        self.write_rest(&mut out);
        out
    }

    fn write_listener(&mut self, out: &mut String, listener: &Listener, tos: Option<(Entry<'_>, i64)>) {
        let media = listener.interfaces.iter().map(|it| {
            let ports = it.ports.0..=it.ports.1;
            quoted(&MediaAddress { address: it.address, ports }.word())
        });
        let media: Vec<_> = media.collect();
        let mut advertise: Vec<String> = Vec::new();
        for address in listener.interfaces.iter().filter_map(|it| it.advertise) {
            let text = quoted(&address.to_string());
            if !advertise.contains(&text) {
                advertise.push(text);
            }
        }
        let line = listener.interfaces[0].line;
        let from =
            if line == 0 { String::new() } else { format!(" # interface (line {line}), port-min, port-max") };
        let _ =
            writeln!(out, "\n[listener.{}]{from}\nmedia = [{}]", quoted(&listener.name), media.join(", "));
        if !advertise.is_empty() {
            let _ = writeln!(out, "advertise = [{}] # what stood behind `!`", advertise.join(", "));
        }
        if let Some((entry, tos)) = tos {
            let _ = writeln!(
                out,
                "dscp = {{ rtp = {} }} # tos (line {}): its upper six bits",
                tos >> 2,
                entry.line
            );
        }
    }

    /// Keys that have one line each.
    fn write_engine(&mut self, out: &mut String) {
        if let Some(entry) = self.take("delete-delay")
            && let Some(seconds) = self.number(entry, 0..=86_400, "30 seconds are used")
        {
            let _ = writeln!(out, "delete_delay = \"{seconds}s\" # delete-delay (line {})", entry.line);
        }
        if let Some(entry) = self.take("num-threads") {
            match entry.value {
                "0" => {}
                _ => {
                    if let Some(threads) =
                        self.number(entry, 1..=256, "as many are used as there are CPUs, less one")
                    {
                        let _ = writeln!(out, "media_shards = {threads} # num-threads (line {})", entry.line);
                    }
                }
            }
        }
        if let Some(entry) = self.take("recording-dir") {
            if entry.value.contains('\0') {
                self.warn(entry.line, "recording-dir is no path: passed over".to_owned());
            } else {
                let (path, line) = (quoted(entry.value), entry.line);
                let _ = writeln!(
                    out,
                    "recordings = {path} # recording-dir (line {line}): sound files, no captures of packets"
                );
            }
        }
        if let Some(entry) = self.take("dtmf-log-dest") {
            let (host, port) = entry.value.rsplit_once(':').unwrap_or(("", entry.value));
            let address =
                self.addresses(host).first().copied().filter(|it| !is_of_many(*it) && !it.is_unspecified());
            match (address, port.parse::<u16>().ok().filter(|port| *port > 0)) {
                (Some(address), Some(port)) => {
                    let to = quoted(&SocketAddr::new(address, port).to_string());
                    let _ = writeln!(out, "ng_events = [{to}] # dtmf-log-dest (line {})", entry.line);
                }
                _ => self.warn(entry.line, "dtmf-log-dest is no address with a port: passed over".to_owned()),
            }
        }
        if let Some(entry) = self.take("log-level")
            && let Some(level) = self.number(entry, -1..=99, "`info` is used")
        {
            let word = match level {
                ..=3 => "error",
                4 => "warn",
                5..=6 => "info",
                7.. => "debug",
            };
            let _ = writeln!(out, "log = \"{word}\" # log-level (line {})", entry.line);
        }
    }

    /// What is as it is here, and what is not carried over.
    fn write_rest(&mut self, out: &mut String) {
        let left: Vec<_> =
            self.keys.values().filter(|entry| !self.done.contains(&entry.key)).copied().collect();
        let mut left: Vec<_> =
            left.into_iter().map(|entry| (entry, reasons::of(entry.key, entry.value))).collect();
        left.sort_by_key(|(entry, _)| entry.line);
        let mut head = "\n# Not carried over:\n";
        for (entry, why) in left {
            let Some(why) = why else { continue };
            let key: String = entry.key.chars().filter(|c| !c.is_control()).take(64).collect();
            let _ = writeln!(out, "{head}# {key} (line {}), because {why}", entry.line);
            head = "";
            self.warn(entry.line, format!("not carried over: {key}, because {why}"));
        }
    }
}

/// The larger part of a range on one side of a port; from even to odd.
fn without((first, last): (u16, u16), port: u16) -> (u16, u16) {
    let below = (first, port.saturating_sub(1 + port % 2));
    let above = (port.saturating_add(2 - port % 2), last);
    let len = |(first, last): (u16, u16)| i32::from(last) - i32::from(first);
    let larger = if len(below) >= len(above) { below } else { above };
    match (len(larger) > 0, port) {
        (true, _) => larger,
        (false, 30_000..40_000) => (40_000, 49_999),
        (false, _) => (30_000, 39_999),
    }
}

/// NG is heard on so many addresses at most.
const NG_MAX: usize = 16;

/// More interfaces are no configuration.
const INTERFACES_MAX: usize = 256;

fn is_of_many(address: IpAddr) -> bool {
    address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    push_text(&mut out, text);
    out
}

#[cfg(test)]
mod tests;
