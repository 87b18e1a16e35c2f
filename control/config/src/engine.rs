//! `[engine]` and `[unknown]`: the engine itself, and what sources get that are nobody.

use crate::describe::{choices, table};
use crate::error::{Kind, nearest};
use crate::read::{Item, Reader, push_text};
use crate::secret::Secret;
use crate::value::{Bad, Lack, Value, Visitor, Word, text_of};
use crate::words::{Digits, DnsServer, Name, Network, Rate, RateLimit, Timer, Url};
use base::Duration;
use core::net::{Ipv4Addr, SocketAddr};
use routing::Order;
use std::path::PathBuf;
use toml::de::DeValue;

table! {
    /// The engine itself.
    pub struct Engine {
        /// HTTP API, metrics, dashboard; port 0 lets the system choose.
        api: SocketAddr = SocketAddr::new(core::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
        /// Who may use the API; needed when `api` is not loopback. Without any, everybody on this machine may.
        tokens: Vec<Token> = Vec::new();
        /// Threads that move media; `"auto"` is the allowed CPUs less one, at least 1.
        media_shards: Shards = Shards::Auto;
        /// How media shards receive and send; `"auto"` takes the best that this host offers.
        backend: Backend = Backend::Auto;
        /// Whether media threads stay on one CPU; `"auto"` does it from 4 CPUs on.
        pin: Pin = Pin::Auto;
        /// Threads that do signalling.
        signalling_shards: u32 = 1, in 1..=64;
        /// Which of several matching routes is taken.
        route_order: Order = Order::First;
        /// Who is asked for names.
        dns: Dns = Dns::System;
        /// Where the engine keeps what must last. The secret of this installation lies in the same folder.
        store: Store = Store::Sqlite("strowger.db".into());
        /// Where records of calls go: files to which lines are added, or a program of yours that gets each by HTTP POST,
        /// again until it has answered 200 to 299. They are always kept in `store`, too.
        cdr: Vec<CdrSink> = vec![CdrSink::Jsonl("cdr.jsonl".into())];
        /// How long `store` keeps records.
        cdr_keep: Timer = Timer::seconds(90 * 86_400), in Duration::from_secs(3600)..=Duration::from_secs(3650 * 86_400);
        /// Folder of recordings.
        recordings: Folder = Folder("recordings".into());
        /// Folder of sounds that can be played by their name.
        sounds: Folder = Folder("sounds".into());
        /// How hard Opus encoders try, from 0 to 10; `"auto"` follows the load.
        opus_complexity: Complexity = Complexity::Auto;
        /// Emergency numbers: their calls exceed every limit and no policy is applied to them.
        emergency: Vec<Digits> = vec![Digits("112".into()), Digits("911".into()), Digits("933".into())];
        /// Where rtpengine's NG protocol is spoken; nowhere, if empty.
        ng: Vec<NgAddress> = Vec::new();
        /// Whether NG calls take media from foreign sources after they have learned theirs.
        ng_source: NgSource = NgSource::Locked;
        /// Names of limits; each NG call takes a place in all of them.
        ng_pool: Vec<Name> = Vec::new();
        /// Where digits of NG calls are told, one JSON object a datagram.
        ng_events: Vec<SocketAddr> = Vec::new();
        /// How long an NG call lives on after `delete`.
        delete_delay: Duration = Duration::from_secs(30), in Duration::ZERO..=Duration::from_secs(86_400);
        /// How long media goes on after the death of its signalling shard.
        orphan: Duration = Duration::from_secs(30), in Duration::ZERO..=Duration::from_secs(86_400);
        /// How much is logged: a level, and levels of parts, such as `"info,sip=debug"`.
        log: LogFilter = LogFilter("info".into());
    }
}

table! {
    /// A password of the API.
    pub struct Token {
        /// The token.
        token: Secret = Secret::Env(String::new()), required "where the token is: \"env:NAME\" or \"file:PATH\"";
        /// What it allows.
        role: Role = Role::Read, required "what the token allows: \"read\", \"calls\" or \"admin\"";
    }
}

choices! {
    /// What a token allows; each includes the one before.
    pub enum Role {
        /// To look.
        Read = "read";
        /// To start, change and end calls.
        Calls = "calls";
        /// Everything.
        Admin = "admin";
    }
}

impl PartialOrd for Role {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        (*self as u8).partial_cmp(&(*other as u8))
    }
}

/// How many threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shards {
    /// As many as this host has room for.
    Auto,
    /// So many.
    Count(u32),
}

impl Value for Shards {
    fn form() -> String {
        "\"auto\" or a number from 1 to 256".to_owned()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match item.get_ref() {
            DeValue::String(word) if word == "auto" => Some(Shards::Auto),
            DeValue::Integer(_) => {
                let count = u32::read(item, reader)?;
                let kind = crate::value::Within::outside(&count, &(1..=256));
                if let Some(kind) = kind {
                    reader.error(item.span().start, kind);
                    return None;
                }
                Some(Shards::Count(count))
            }
            _ => {
                reader.wrong_type(item, Self::form());
                None
            }
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Shards::Auto => push_text(out, "auto"),
            Shards::Count(count) => count.write(out),
        }
    }

    fn visit(&self, path: &crate::place::Path<'_>, visitor: &mut dyn Visitor) {
        visitor.leaf(path, &|| text_of(self));
    }
}

choices! {
    /// How media shards receive and send.
    pub enum Backend {
        /// The best that this host offers.
        Auto = "auto";
        /// A socket a port, epoll.
        Epoll = "epoll";
        /// io_uring.
        Uring = "uring";
        /// One socket a shard, fed by the kernel.
        Steer = "steer", later "not in effect yet: `auto` is used instead";
        /// Relayed inside the kernel.
        Xdp = "xdp", later "not in effect yet: `auto` is used instead";
    }
}

/// A folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder(pub PathBuf);

impl Word for Folder {
    const FORM: &'static str = "a path";

    fn parse(text: &str) -> Result<Self, Bad> {
        match text.is_empty() || text.contains('\0') {
            true => Err(Bad::new("is no path")),
            false => Ok(Folder(text.into())),
        }
    }

    fn word(&self) -> String {
        self.0.display().to_string()
    }
}

/// How hard Opus encoders try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complexity {
    /// As the load allows.
    Auto,
    /// So hard, 0 to 10.
    Fixed(u8),
}

impl Value for Complexity {
    fn form() -> String {
        "\"auto\" or a number from 0 to 10".to_owned()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match item.get_ref() {
            DeValue::String(word) if word == "auto" => Some(Complexity::Auto),
            DeValue::Integer(_) => {
                let number = u32::read(item, reader)?;
                if let Some(kind) = crate::value::Within::outside(&number, &(0..=10)) {
                    reader.error(item.span().start, kind);
                    return None;
                }
                Some(Complexity::Fixed(number as u8))
            }
            _ => {
                reader.wrong_type(item, Self::form());
                None
            }
        }
    }

    fn write(&self, out: &mut String) {
        match self {
            Complexity::Auto => push_text(out, "auto"),
            Complexity::Fixed(number) => u32::from(*number).write(out),
        }
    }

    fn visit(&self, path: &crate::place::Path<'_>, visitor: &mut dyn Visitor) {
        visitor.leaf(path, &|| text_of(self));
    }
}

/// Whether threads stay on one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// From 4 CPUs on.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

impl Value for Pin {
    fn form() -> String {
        "\"auto\", true or false".to_owned()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        match item.get_ref() {
            DeValue::String(word) if word == "auto" => Some(Pin::Auto),
            DeValue::Boolean(true) => Some(Pin::On),
            DeValue::Boolean(false) => Some(Pin::Off),
            _ => {
                reader.wrong_type(item, Self::form());
                None
            }
        }
    }

    fn write(&self, out: &mut String) {
        out.push_str(match self {
            Pin::Auto => "\"auto\"",
            Pin::On => "true",
            Pin::Off => "false",
        });
    }

    fn visit(&self, path: &crate::place::Path<'_>, visitor: &mut dyn Visitor) {
        visitor.leaf(path, &|| text_of(self));
    }
}

choices!(for Order {
    /// The first in the file.
    First = "first";
    /// The one with the longest match, the most places of the called number that are fixed.
    Longest = "longest";
});

choices! {
    /// What NG calls do with foreign sources after they have learned theirs.
    pub enum NgSource {
        /// Drop and count.
        Locked = "locked";
        /// Forward them, as rtpengine does.
        Rtpengine = "rtpengine";
    }
}

/// Who is asked for names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dns {
    /// Whoever the system asks.
    System,
    /// These, in this order.
    Servers(Vec<DnsServer>),
}

impl Value for Dns {
    fn form() -> String {
        "\"system\", or a list of \"IP[:PORT]\"".to_owned()
    }

    fn read(item: &Item<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        if item.get_ref().as_str() == Some("system") {
            return Some(Dns::System);
        }
        let servers: Vec<DnsServer> = Vec::read(item, reader)?;
        if servers.is_empty() && item.get_ref().as_array().is_some_and(|list| list.is_empty()) {
            reader.error(item.span().start, Kind::Unfit("the list of DNS servers is empty".to_owned()));
        }
        Some(Dns::Servers(servers))
    }

    fn write(&self, out: &mut String) {
        match self {
            Dns::System => push_text(out, "system"),
            Dns::Servers(servers) => servers.write(out),
        }
    }

    fn visit(&self, path: &crate::place::Path<'_>, visitor: &mut dyn Visitor) {
        visitor.leaf(path, &|| text_of(self));
    }
}

/// Where the engine keeps what must last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// One file.
    Sqlite(PathBuf),
    /// A database.
    Postgres(String),
}

impl Store {
    /// The folder of the file: what else must last lies there too. The current folder for a database elsewhere.
    pub fn folder(&self) -> &std::path::Path {
        match self {
            Store::Sqlite(file) => {
                file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."))
            }
            Store::Postgres(_) => std::path::Path::new("."),
        }
    }
}

impl Word for Store {
    const FORM: &'static str = "\"sqlite:PATH\" or \"postgres://HOST/DATABASE\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        match text.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() && !path.contains('\0') => {
                Ok(Store::Sqlite(path.into()))
            }
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") && rest.len() > 2 => {
                let authority = rest[2..].split('/').next().unwrap_or_default();
                if authority.split_once('@').is_some_and(|(user, _)| user.contains(':')) {
                    // Not echoed in full: only up to the password.
                    return Err(Bad::new("holds a password; PGPASSFILE is the place for it"));
                }
                Ok(Store::Postgres(text.to_owned()))
            }
            Some(_) => Err(Bad::new("is no store")),
            None => Err(Bad::meant("is no store", format!("sqlite:{text}"))),
        }
    }

    fn word(&self) -> String {
        match self {
            Store::Sqlite(file) => format!("sqlite:{}", file.display()),
            Store::Postgres(url) => url.clone(),
        }
    }

    fn lack(&self) -> Option<Lack> {
        match self {
            Store::Sqlite(_) => None,
            Store::Postgres(_) => {
                Some(Lack { why: "not in effect yet: nothing is kept in PostgreSQL", protective: false })
            }
        }
    }
}

/// Where records of calls go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CdrSink {
    /// A file, one JSON object a line.
    Jsonl(PathBuf),
    /// A file, comma-separated values, one record a line.
    Csv(PathBuf),
    /// A program that is asked to take them.
    Webhook(Url),
}

impl Word for CdrSink {
    const FORM: &'static str = "\"jsonl:PATH\", \"csv:PATH\" or \"webhook:http://HOST/…\"";

    fn parse(text: &str) -> Result<Self, Bad> {
        let path_fine = |path: &str| !path.is_empty() && !path.contains('\0');
        match text.split_once(':') {
            Some(("jsonl", path)) if path_fine(path) => Ok(CdrSink::Jsonl(path.into())),
            Some(("csv", path)) if path_fine(path) => Ok(CdrSink::Csv(path.into())),
            Some(("webhook", url)) => match Url::parse(url) {
                Ok(url) => Ok(CdrSink::Webhook(url)),
                Err(bad) => Err(Bad::new(format!("names an address that {}", bad.why))),
            },
            Some(("http" | "https", _)) => {
                Err(Bad::meant("is no place for records", format!("webhook:{text}")))
            }
            Some((_, path)) => Err(Bad::meant("is no place for records", format!("jsonl:{path}"))),
            None => Err(Bad::meant("is no place for records", format!("jsonl:{text}"))),
        }
    }

    fn word(&self) -> String {
        match self {
            CdrSink::Jsonl(file) => format!("jsonl:{}", file.display()),
            CdrSink::Csv(file) => format!("csv:{}", file.display()),
            CdrSink::Webhook(url) => format!("webhook:{}", url.0),
        }
    }
}

/// Where the NG protocol is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NgAddress {
    /// How it travels.
    pub carrier: NgCarrier,
    /// Where.
    pub address: SocketAddr,
}

choices! {
    /// How NG travels.
    pub enum NgCarrier {
        /// Datagrams.
        Udp = "udp";
        /// A stream.
        Tcp = "tcp";
        /// HTTP.
        Http = "http";
        /// WebSocket.
        Ws = "ws";
    }
}

impl Word for NgAddress {
    const FORM: &'static str = "\"udp:IP:PORT\", or the same with tcp, http or ws";

    fn parse(text: &str) -> Result<Self, Bad> {
        let (carrier, address) = text.split_once(':').unwrap_or(("", text));
        match (NgCarrier::parse(carrier), address.parse()) {
            (Ok(carrier), Ok(address)) => Ok(NgAddress { carrier, address }),
            (Ok(_), Err(_)) => Err(Bad::new("has no IP address with a port after its first colon")),
            (Err(_), _) => {
                let nearest = text.parse::<SocketAddr>().ok().map(|address| format!("udp:{address}"));
                Err(Bad { why: "names no carrier of NG".to_owned(), nearest })
            }
        }
    }

    fn word(&self) -> String {
        format!("{}:{}", self.carrier.word(), self.address)
    }
}

/// How much is logged: levels by part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(pub String);

impl Word for LogFilter {
    const FORM: &'static str =
        "\"off\" | \"error\" | \"warn\" | \"info\" | \"debug\" | \"trace\", and PART=LEVEL after commas";

    fn parse(text: &str) -> Result<Self, Bad> {
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        for item in text.split(',') {
            let (part, level) =
                item.split_once('=').map_or((None, item), |(part, level)| (Some(part), level));
            if !levels.contains(&level) {
                let nearest = nearest(level, levels).map(|near| text.replacen(level, &near, 1));
                return Err(Bad { why: "names no level".to_owned(), nearest });
            }
            let name_char = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
            if part.is_some_and(|part| part.is_empty() || !part.chars().all(name_char)) {
                return Err(Bad::new("names no part before `=`"));
            }
        }
        Ok(LogFilter(text.to_owned()))
    }

    fn word(&self) -> String {
        self.0.clone()
    }
}

table! {
    /// What sources get that are neither a trunk nor an account. The source of a datagram can be forged, so identified
    /// trunks are never banned.
    pub struct Unknown {
        /// What they are answered.
        answer: Answer = Answer::Silent;
        /// So many offences within `window` (requests of nobody, malformed SIP, wrong passwords) and the source is banned;
        /// 0 never bans for them.
        ban_after: u32 = 3, in 0..=1_000_000;
        /// How long a ban holds.
        ban: Duration = Duration::from_secs(3600), in Duration::from_secs(1)..=Duration::from_secs(3650 * 86_400);
        /// How long an offence counts.
        window: Duration = Duration::from_secs(60), in Duration::from_secs(1)..=Duration::from_secs(86_400);
        /// A source that sends more requests than this is banned.
        flood: RateLimit = RateLimit(Some(Rate { count: 100, per: Duration::from_secs(1) }));
        /// Sources are banned at once that call themselves by the name of a known scanner.
        scanners: bool = true;
        /// Further names of scanners, as they stand in User-Agent; capital letters do not matter.
        scanner_names: Vec<String> = Vec::new();
        /// Never banned.
        exempt: Vec<Network> = Vec::new();
        /// At most so many diverted calls at a time; further ones are answered by silence.
        divert_calls: u32 = 20, in 1..=100_000;
        /// Diverted calls end after this.
        divert_duration: Duration = Duration::from_secs(300), in Duration::from_secs(1)..=Duration::from_secs(86_400);
    }
}

/// What unknown sources are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing at all.
    Silent,
    /// 403.
    Forbidden,
    /// 503 "Attack!" to INVITE, 500 "Attack!!" to the rest.
    Attack,
    /// Calls go to a flow; for now only `tarpit`, which answers and plays nothing.
    Divert(String),
}

impl Word for Answer {
    const FORM: &'static str = "\"silent\" | \"403\" | \"attack\" | \"divert:FLOW\"";
    const NUMBER_TOO: bool = true;

    fn parse(text: &str) -> Result<Self, Bad> {
        match text {
            "silent" => Ok(Answer::Silent),
            "403" => Ok(Answer::Forbidden),
            "attack" => Ok(Answer::Attack),
            _ => match text.strip_prefix("divert:") {
                Some(flow) if !flow.is_empty() => Ok(Answer::Divert(flow.to_owned())),
                _ => Err(Bad {
                    why: "is no answer".to_owned(),
                    nearest: nearest(text, ["silent", "403", "attack", "divert:FLOW"]),
                }),
            },
        }
    }

    fn word(&self) -> String {
        match self {
            Answer::Silent => "silent".to_owned(),
            Answer::Forbidden => "403".to_owned(),
            Answer::Attack => "attack".to_owned(),
            Answer::Divert(flow) => format!("divert:{flow}"),
        }
    }
}
