//! Whatever arrives, parsing returns; whatever is written, reads back as it was meant.
use proptest::collection::vec;
use proptest::prelude::*;
use sip::frame::{Frame, Framing, Progress, resume};
use sip::fuzz;
use sip::message::write::Writer;
use sip::message::{Message, Name, unfold};
use std::path::Path;

/// Octets that print as text.
#[derive(Clone)]
struct Octets(Vec<u8>);

impl std::fmt::Debug for Octets {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}", self.0.escape_ascii())
    }
}

/// Our own torture messages: the seeds that are mutated.
fn seeds() -> Vec<Octets> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/sip");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("a readable folder")
        .map(|entry| entry.expect("a readable entry").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "sip"))
        .collect();
    paths.sort();
    paths.iter().map(|path| Octets(std::fs::read(path).expect("a readable file"))).collect()
}

#[derive(Clone, Debug)]
enum Change {
    Set(u8),
    Insert(u8),
    /// Takes this many octets away.
    Cut(usize),
    /// Says this many octets twice.
    Repeat(usize),
}

fn change() -> impl Strategy<Value = (prop::sample::Index, Change)> {
    // Octets that mean something in the grammar come more often than others.
    let octet = || prop_oneof![prop::sample::select(&b"\r\n \t:;,=<>\"\\@?%/*0\0\x7f\xff"[..]), any::<u8>()];
    let change = prop_oneof![
        octet().prop_map(Change::Set),
        octet().prop_map(Change::Insert),
        (1..40_usize).prop_map(Change::Cut),
        (1..200_usize).prop_map(Change::Repeat),
    ];
    (any::<prop::sample::Index>(), change)
}

fn mutate(mut bytes: Vec<u8>, changes: &[(prop::sample::Index, Change)]) -> Vec<u8> {
    for (at, change) in changes {
        let at = at.index(bytes.len() + 1);
        match *change {
            Change::Set(octet) => {
                if let Some(there) = bytes.get_mut(at) {
                    *there = octet;
                }
            }
            Change::Insert(octet) => bytes.insert(at, octet),
            Change::Cut(len) => drop(bytes.drain(at..bytes.len().min(at + len))),
            Change::Repeat(len) => {
                let said = bytes[at..bytes.len().min(at + len)].to_vec();
                bytes.splice(at..at, said);
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_message_never_panics(seed in prop::sample::select(seeds()), changes in vec(change(), 1..6)) {
        let bytes = mutate(seed.0, &changes);
        fuzz::parse(&bytes);
        fuzz::cut(&bytes);
        fuzz::show(&bytes);
    }

    #[test]
    fn any_octets_never_panic(bytes in vec(any::<u8>(), 0..600)) {
        fuzz::parse(&bytes);
        fuzz::cut(&bytes);
        fuzz::show(&bytes);
    }

    #[test]
    fn no_value_adds_a_field(
        values in vec(vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b' '), any::<u8>()], 0..60), 0..20),
        body in vec(any::<u8>(), 0..200),
    ) {
        let mut writer = Writer::request(b"MESSAGE", b"sip:a@b.example");
        writer
            .header("Via", "SIP/2.0/UDP a.example;branch=z9hG4bK1")
            .header("From", "<sip:a@a.example>;tag=1")
            .header("To", "<sip:b@b.example>")
            .header("Call-ID", "1")
            .header("CSeq", "1 MESSAGE");
        for value in &values {
            writer.header("X-Any", value);
        }
        let written = writer.body("text/plain", &body).finish();
        let message = Message::parse(&written, Framing::Stream).expect("what is written is valid");
        let read: Vec<_> = message.headers().filter(|field| field.name == Name::Other).collect();
        prop_assert_eq!(read.len(), values.len());
        for (field, value) in read.iter().zip(&values) {
            let meant = unfold(value);
            prop_assert_eq!(field.value, sip::message::trim(&meant));
        }
        prop_assert_eq!(message.body(), &body[..]);
        prop_assert_eq!(message.header_named(b"x-any"), read.first().map(|field| field.value));
    }

    #[test]
    fn no_uri_or_reason_breaks_the_start_line(uri in vec(any::<u8>(), 0..60), reason in vec(any::<u8>(), 0..60)) {
        for written in [Writer::request(b"INVITE", &uri).finish(), Writer::response_with(200, &reason).finish()] {
            let lines = written.iter().filter(|&&octet| octet == b'\n' || octet == b'\r').count();
            prop_assert_eq!(lines, 6, "start line, Content-Length, empty line");
        }
    }

    #[test]
    fn a_stream_is_cut_the_same_however_it_arrives(
        bodies in vec(vec(any::<u8>(), 0..300), 1..5),
        pings in vec(0..3_usize, 1..5),
        steps in vec(1..90_usize, 1..40),
    ) {
        let mut stream = Vec::new();
        let mut sent = Vec::new();
        for (index, body) in bodies.iter().enumerate() {
            stream.extend(b"\r\n\r\n".repeat(pings[index % pings.len()]));
            let mut writer = Writer::response(200);
            let message = writer.header("Via", "SIP/2.0/TCP a.example").body("text/plain", body).finish();
            stream.extend_from_slice(&message);
            sent.push(message);
        }
        let (mut at, mut have, mut progress, mut received) = (0, 0, Progress::default(), Vec::new());
        for step in steps.iter().cycle() {
            have = stream.len().min(have + step);
            loop {
                match resume(&stream[at..have], Framing::Stream, &mut progress) {
                    Frame::Message(range) => {
                        received.push(stream[at..][range.clone()].to_vec());
                        at += range.end;
                    }
                    Frame::KeepAlive { len, .. } => at += len,
                    Frame::NeedMore(_) => break,
                    Frame::Bad(class) => return Err(TestCaseError::fail(class.name())),
                }
                progress = Progress::default();
            }
            if have == stream.len() {
                break;
            }
        }
        prop_assert_eq!(at, stream.len());
        prop_assert_eq!(received, sent);
    }
}
