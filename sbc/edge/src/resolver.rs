//! Where a target really is (RFC 3263): NAPTR, SRV, A and AAAA, asked on the control threads; a signalling thread only
//! ever posts a question and gets an answer. The resolver keeps its own cache by the records' TTL.

use crate::input::{Input, QueueFull};
use crate::udp::source_address;
use b2bua::Hop;
use b2bua::desk::Query;
use b2bua::spec::{Source, Spec, Target, Transport};
use base::{Duration, Mailbox, Rng};
use core::net::{IpAddr, SocketAddr};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Which DNS servers to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Servers {
    /// Those of the machine.
    #[default]
    System,
    /// These.
    Given(Vec<SocketAddr>),
}

/// The asking end; clones share the queue.
#[derive(Clone, Debug)]
pub struct Resolver {
    questions: mpsc::Sender<Question>,
}

#[derive(Debug)]
enum Question {
    Target {
        shard: usize,
        query: Query,
        target: Target,
    },
    /// Host names that identify trunks: looked up now and then.
    Watch(BTreeSet<String>),
}

/// Questions that may wait.
const QUESTIONS_MAX: usize = 4_096;
/// Addresses that one target may have.
const HOPS_MAX: usize = 16;
/// How often names that identify trunks are looked up.
const WATCH_EVERY: Duration = Duration::from_secs(30);

impl Resolver {
    /// Starts it on the runtime that this is called in; answers go to `inboxes`, by shard.
    ///
    /// # Errors
    /// The machine's DNS configuration cannot be read.
    pub fn start(servers: &Servers, inboxes: Vec<Mailbox<Input>>, rng: Rng) -> Result<Resolver, String> {
        let dns = Arc::new(make(servers)?);
        let (sender, receiver) = mpsc::channel(QUESTIONS_MAX);
        tokio::spawn(serve(dns, receiver, inboxes, rng));
        Ok(Resolver { questions: sender })
    }

    /// Posts a question; the answer comes as `Input::Resolved`.
    ///
    /// # Errors
    /// Too many wait already.
    pub fn ask(&self, shard: usize, query: Query, target: Target) -> Result<(), QueueFull> {
        self.questions.try_send(Question::Target { shard, query, target }).map_err(|_| QueueFull)
    }

    /// Looks up the host names by which a configuration knows its trunks, now and from time to time.
    pub fn watch(&self, spec: &Spec) {
        let hosts = spec.trunks.iter().flat_map(|t| &t.from).filter_map(|source| match source {
            Source::Host { name, .. } => Some(name.clone()),
            Source::Net { .. } => None,
        });
        let _ = self.questions.try_send(Question::Watch(hosts.collect()));
    }
}

/// An address written as such, IPv6 also in brackets.
pub fn is_literal(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).parse().ok()
}

fn make(servers: &Servers) -> Result<TokioResolver, String> {
    let mut builder = match servers {
        Servers::System => TokioResolver::builder_tokio().map_err(|e| e.to_string())?,
        Servers::Given(addresses) => {
            let servers = addresses.iter().map(|address| {
                let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
                for connection in &mut connections {
                    connection.port = address.port();
                }
                let mut server = NameServerConfig::udp_and_tcp(address.ip());
                server.connections = connections;
                server
            });
            let config = ResolverConfig::from_parts(None, Vec::new(), servers.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options = builder.options_mut();
    options.timeout = Duration::from_secs(2);
    options.attempts = 2;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build().map_err(|e| e.to_string())
}

async fn serve(
    dns: Arc<TokioResolver>,
    mut questions: mpsc::Receiver<Question>,
    inboxes: Vec<Mailbox<Input>>,
    mut rng: Rng,
) {
    let mut watched = BTreeSet::new();
    let mut tick = tokio::time::interval(WATCH_EVERY);
    loop {
        let question = tokio::select! {
            question = questions.recv() => match question {
                Some(question) => question,
                None => return,
            },
            _ = tick.tick() => Question::Watch(watched.clone()),
        };
        match question {
            Question::Target { shard, query, target } => {
                let (dns, inbox, mut rng) = (Arc::clone(&dns), inboxes[shard].clone(), rng.fork());
                tokio::spawn(async move {
                    let hops = look_up(&dns, &target, &mut rng).await;
                    // A full inbox sheds the call: its attempt ends by the next target or timer.
                    let _ = inbox.send(Input::Resolved(query, hops));
                });
            }
            Question::Watch(hosts) => {
                watched = hosts;
                for host in watched.clone() {
                    let (dns, inboxes) = (Arc::clone(&dns), inboxes.clone());
                    tokio::spawn(async move {
                        let found = addresses(&dns, &host).await;
                        // A failure keeps what was known: a trunk must not vanish because a name server has.
                        if !found.is_empty() {
                            for inbox in &inboxes {
                                let _ = inbox.send(Input::Host(host.clone(), found.clone()));
                            }
                        }
                    });
                }
            }
        }
    }
}

/// RFC 3263 section 4: transport first, then port, then address.
async fn look_up(dns: &TokioResolver, target: &Target, rng: &mut Rng) -> Vec<Hop> {
    let host = target.host.as_str();
    let mut hops = Vec::new();
    if target.port.is_some() {
        // A port means: neither NAPTR nor SRV.
        let transport = target.transport.unwrap_or(Transport::Udp);
        add(dns, &mut hops, host, transport, target.port).await;
        return hops;
    }
    let services: Vec<(Transport, String)> = match target.transport {
        Some(transport) => vec![(transport, srv_name(transport, host))],
        None => {
            let found = naptr(dns, host).await;
            match found.is_empty() {
                false => found,
                true => [Transport::Udp, Transport::Tcp].map(|t| (t, srv_name(t, host))).to_vec(),
            }
        }
    };
    for (transport, name) in services {
        for (host, port) in srv(dns, &name, rng).await {
            add(dns, &mut hops, &host, transport, Some(port)).await;
        }
    }
    if hops.is_empty() {
        add(dns, &mut hops, host, target.transport.unwrap_or(Transport::Udp), None).await;
    }
    hops
}

fn srv_name(transport: Transport, host: &str) -> String {
    match transport {
        Transport::Udp => format!("_sip._udp.{host}"),
        Transport::Tcp | Transport::Ws => format!("_sip._tcp.{host}"),
        Transport::Tls | Transport::Wss => format!("_sips._tcp.{host}"),
    }
}

async fn add(dns: &TokioResolver, hops: &mut Vec<Hop>, host: &str, transport: Transport, port: Option<u16>) {
    for ip in addresses(dns, host).await {
        let remote = SocketAddr::new(ip, port.unwrap_or(transport.default_port()));
        let known = hops.iter().any(|hop| hop.remote == remote && hop.transport == transport);
        if hops.len() < HOPS_MAX
            && !known
            && let Some(local) = source_address(remote)
        {
            hops.push(Hop { transport, remote, local });
        }
    }
}

async fn addresses(dns: &TokioResolver, host: &str) -> Vec<IpAddr> {
    if let Some(ip) = is_literal(host) {
        return vec![ip];
    }
    // A final dot: what is configured is a whole name, so search domains are not tried.
    let name = format!("{}.", host.trim_end_matches('.'));
    match dns.lookup_ip(name).await {
        Ok(found) => found.iter().collect(),
        Err(error) => {
            tracing::debug!(host, %error, "no address");
            Vec::new()
        }
    }
}

/// NAPTR: the transports that a domain offers, its preference first (RFC 3263 section 4.1).
async fn naptr(dns: &TokioResolver, host: &str) -> Vec<(Transport, String)> {
    let Ok(found) = dns.lookup(format!("{}.", host.trim_end_matches('.')), RecordType::NAPTR).await else {
        return Vec::new();
    };
    let mut records: Vec<(u16, u16, Transport, String)> = Vec::new();
    for record in found.answers() {
        let RData::NAPTR(naptr) = &record.data else { continue };
        let transport = match naptr.services.to_ascii_uppercase().as_slice() {
            b"SIP+D2U" => Transport::Udp,
            b"SIP+D2T" => Transport::Tcp,
            _ => continue, // TLS and others come with their transport.
        };
        if naptr.flags.eq_ignore_ascii_case(b"s") {
            records.push((naptr.order, naptr.preference, transport, naptr.replacement.to_ascii()));
        }
    }
    records.sort();
    records.into_iter().map(|(_, _, transport, name)| (transport, name)).collect()
}

/// SRV: hosts and ports, by priority, then at random by weight (RFC 2782).
async fn srv(dns: &TokioResolver, name: &str, rng: &mut Rng) -> Vec<(String, u16)> {
    let Ok(found) = dns.srv_lookup(format!("{}.", name.trim_end_matches('.'))).await else {
        return Vec::new();
    };
    let mut records: Vec<(u16, u16, String, u16)> = Vec::new();
    for record in found.answers() {
        // A target of "." says that the service is not offered.
        if let RData::SRV(srv) = &record.data
            && !srv.target.is_root()
        {
            records.push((srv.priority, srv.weight, srv.target.to_ascii(), srv.port));
        }
    }
    order_by_weight(&mut records, rng);
    records.into_iter().map(|(_, _, host, port)| (host, port)).collect()
}

fn order_by_weight(records: &mut [(u16, u16, String, u16)], rng: &mut Rng) {
    records.sort(); // priority, and weight 0 first within it
    for start in 0..records.len() {
        let priority = records[start].0;
        let end = records[start..].iter().position(|r| r.0 != priority).map_or(records.len(), |n| start + n);
        let sum: u64 = records[start..end].iter().map(|r| u64::from(r.1)).sum();
        let mut pick = rng.below(sum + 1);
        let chosen = records[start..end]
            .iter()
            .position(|r| {
                let weight = u64::from(r.1);
                let here = pick <= weight;
                pick = pick.saturating_sub(weight);
                here
            })
            .unwrap_or(0);
        records[start..=start + chosen].rotate_right(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_priorities_come_first_and_weights_share() {
        let mut rng = Rng::from_seed(1);
        let mut firsts = [0; 2];
        for _ in 0..2_000 {
            let mut records = vec![
                (20, 0, "last".to_owned(), 1),
                (10, 10, "small".to_owned(), 1),
                (10, 90, "large".to_owned(), 1),
            ];
            order_by_weight(&mut records, &mut rng);
            assert_eq!(records[2].2, "last");
            firsts[usize::from(records[0].2 == "large")] += 1;
        }
        assert!((1_650..1_950).contains(&firsts[1]), "{firsts:?}");
    }

    #[test]
    fn literals_need_no_dns() {
        assert_eq!(is_literal("[2001:db8::1]"), Some("2001:db8::1".parse().unwrap()));
        assert_eq!(is_literal("192.0.2.1"), Some("192.0.2.1".parse().unwrap()));
        assert_eq!(is_literal("sbc.example"), None);
    }
}
