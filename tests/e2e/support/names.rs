//! A name server of a test: answers by UDP from a table, and can be slow with some names (RFC 1035, 2782, 3403).

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a name has.
#[derive(Clone, Debug)]
pub enum Record {
    A(Ipv4Addr),
    /// Priority, weight, port, target.
    Srv(u16, u16, u16, &'static str),
    /// Order, preference, flags, service, replacement.
    Naptr(u16, u16, &'static str, &'static str, &'static str),
}

/// A running name server. It ends with its owner.
pub struct Names {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<(String, u16)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Names {
    /// Serves these names; questions for a name that ends with `.slow.test` are never answered.
    pub fn serve(ip: Ipv4Addr, table: Vec<(&'static str, Record)>) -> Names {
        let socket = UdpSocket::bind((ip, 0)).expect("a port of our own address");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
        let address = socket.local_addr().expect("bound");
        let (asked, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::new(AtomicBool::new(false)));
        let thread = std::thread::spawn({
            let (asked, stop) = (Arc::clone(&asked), Arc::clone(&stop));
            move || {
                let mut buffer = [0; 1500];
                while !stop.load(Ordering::Relaxed) {
                    let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
                    let Some((name, kind, end)) = question(&buffer[..len]) else { continue };
                    asked.lock().expect("not poisoned").push((name.clone(), kind));
                    if !name.ends_with(".slow.test") {
                        let _ = socket.send_to(&answer(&buffer[..end], &name, kind, &table), from);
                    }
                }
            }
        });
        Names { address, asked, stop, thread: Some(thread) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether a question of this type was asked for the name.
    pub fn was_asked(&self, name: &str, kind: u16) -> bool {
        self.asked.lock().expect("not poisoned").iter().any(|(n, k)| n == name && *k == kind)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Types of questions.
pub const A: u16 = 1;
pub const SRV: u16 = 33;
pub const NAPTR: u16 = 35;

impl Record {
    fn kind(&self) -> u16 {
        match self {
            Record::A(_) => A,
            Record::Srv(..) => SRV,
            Record::Naptr(..) => NAPTR,
        }
    }

    fn data(&self) -> Vec<u8> {
        match self {
            Record::A(ip) => ip.octets().to_vec(),
            Record::Srv(priority, weight, port, target) => {
                let numbers = [priority, weight, port].into_iter().flat_map(|n| n.to_be_bytes());
                numbers.chain(labels(target)).collect()
            }
            Record::Naptr(order, preference, flags, service, replacement) => {
                let numbers = [order, preference].into_iter().flat_map(|n| n.to_be_bytes());
                let strings = [flags, service, &""]
                    .into_iter()
                    .flat_map(|s| core::iter::once(s.len() as u8).chain(s.bytes()));
                numbers.chain(strings).chain(labels(replacement)).collect()
            }
        }
    }
}

fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|l| !l.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

/// Name and type of the question, and where it ends.
fn question(query: &[u8]) -> Option<(String, u16, usize)> {
    let (mut at, mut name) = (12, String::new());
    loop {
        let len = usize::from(*query.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(query.get(at..at + len)?).to_lowercase());
        at += len;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    Some((name, kind, at + 4))
}

fn answer(question: &[u8], name: &str, kind: u16, table: &[(&str, Record)]) -> Vec<u8> {
    let records: Vec<&Record> =
        table.iter().filter(|(n, r)| *n == name && r.kind() == kind).map(|(_, r)| r).collect();
    let known = table.iter().any(|(n, _)| *n == name);
    let mut reply = question.to_vec();
    // A response, authoritative, recursion as asked and available; 3 is "no such name".
    (reply[2], reply[3]) = (0x84 | (question[2] & 1), if known { 0x80 } else { 0x83 });
    reply[4..12].copy_from_slice(&[0, 1, 0, records.len() as u8, 0, 0, 0, 0]);
    for record in records {
        let data = record.data();
        reply.extend_from_slice(&[0xc0, 12]);
        reply.extend_from_slice(&kind.to_be_bytes());
        reply.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        reply.extend_from_slice(&(data.len() as u16).to_be_bytes());
        reply.extend_from_slice(&data);
    }
    reply
}
