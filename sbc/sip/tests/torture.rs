//! SIP torture messages: RFC 4475, our own after it, and what vendors send. One row a message, none left out.
use sip::frame::{Frame, Framing, Progress, frame, resume};
use sip::inspect::inspect;
use sip::message::write::Writer;
use sip::message::{ErrorClass, Message, Method, Name, Scheme, unfold};
use std::path::{Path, PathBuf};

/// RFC 4475 has so many.
const MESSAGES: usize = 49;

#[test]
fn every_message_of_rfc_4475_gives_the_expected_result() {
    let rows = table("rfc4475.csv");
    assert_eq!(rows.len(), MESSAGES, "none left out");
    let Some(folder) = corpus("sip/rfc4475") else { return };
    for (file, error, response) in rows {
        check(&file, &read(&folder.join(&file)), &error, response);
    }
}

#[test]
fn what_stands_beside_rfc_4475_is_refused() {
    let Some(folder) = corpus("sip/rfc4475/extra") else { return };
    check("test", &read(&folder.join("test.dat")), "bad_start_line", 400);
    check("baddn-no-final-crlf", &read(&folder.join("baddn-no-final-crlf.dat")), "truncated", 400);
}

#[test]
fn every_message_of_our_own_gives_the_expected_result() {
    let rows = own();
    assert_eq!(rows.len(), MESSAGES, "one message a section");
    for (name, bytes, error, response) in rows {
        check(&name, &bytes, &error, response);
    }
}

/// Captures and test material of others, damaged by those who kept it.
#[test]
#[expect(clippy::print_stderr, reason = "says how many there were")]
fn what_vendors_send_is_parsed() {
    let mut count = 0;
    for folder in [corpus("sip/vendor"), corpus("sip/vendor-composed")].into_iter().flatten() {
        for path in files(&folder, "sip") {
            let name = path.file_stem().expect("a file has a name").to_string_lossy().into_owned();
            let bytes = read(&path);
            // This one is scalarlg of RFC 4475 again, with its overlarge CSeq.
            let error = if name == "other-23-resp503-OPTIONS" { "bad_cseq" } else { "" };
            let response = match name.as_str() {
                "microsoft-teams-rtc-02-BYE" => 483, // Max-Forwards is 0.
                "other-12-INVITE" => 400,            // It has two From.
                _ => 0,
            };
            check(&name, &bytes, error, response);
            count += 1;
        }
    }
    eprintln!("{count} vendor messages");
}

#[test]
fn a_valid_message_written_again_has_the_same_fields() {
    for (name, bytes) in every_message() {
        let Ok(message) = Message::parse(&bytes, Framing::Datagram) else { continue };
        let written = rewritten(&message);
        let again = Message::parse(&written, Framing::Stream).unwrap_or_else(|bad| panic!("{name}: {bad}"));
        assert_eq!(fields(&again), fields(&message), "{name}");
        assert_eq!(again.body(), message.body(), "{name}");
        assert_eq!((again.method(), again.status()), (message.method(), message.status()), "{name}");
        assert_eq!(again.cseq(), message.cseq(), "{name}");
    }
}

#[test]
fn an_invalid_request_with_a_top_via_can_be_answered() {
    for (name, bytes) in every_message() {
        let Err(malformed) = Message::parse(&bytes, Framing::Datagram) else { continue };
        let Some(status) = malformed.status() else {
            assert!(malformed.reply_to().is_none(), "{name}");
            continue;
        };
        let request = malformed.reply_to().unwrap_or_else(|| panic!("{name} cannot be answered"));
        let reply = Writer::reply(request, status, Some(b"ours")).finish();
        let text = String::from_utf8_lossy(&reply);
        assert!(text.starts_with(&format!("SIP/2.0 {status} ")), "{name}: {text}");
        assert!(
            text.contains("\r\nVia: ") && text.ends_with("\r\nContent-Length: 0\r\n\r\n"),
            "{name}: {text}"
        );
    }
}

#[test]
fn a_stream_cut_at_every_octet_gives_the_same_frames() {
    for (name, bytes) in every_message() {
        let whole = frame(&bytes, Framing::Stream);
        for cut in 0..bytes.len() {
            let mut progress = Progress::default();
            let first = resume(&bytes[..cut], Framing::Stream, &mut progress);
            match first {
                Frame::NeedMore(least) => {
                    assert!(least > cut, "{name} at {cut}");
                    assert_eq!(resume(&bytes, Framing::Stream, &mut progress), whole, "{name} at {cut}");
                }
                decided => assert_eq!(decided, whole, "{name} at {cut}"),
            }
        }
        sip::fuzz::cut(&bytes);
    }
}

#[test]
fn what_follows_a_message_is_dropped_in_a_datagram_and_the_next_frame_in_a_stream() {
    let (_, bytes, _, _) = own().into_iter().find(|row| row.0 == "octets-behind-the-end").expect("a row");
    let first = Message::parse(&bytes, Framing::Datagram).expect("valid");
    assert_eq!(first.method(), Method::Register);
    assert!(first.raw().len() < bytes.len());
    let Frame::Message(range) = frame(&bytes, Framing::Stream) else { panic!("a whole message") };
    assert_eq!(&bytes[range.clone()], first.raw());
    let rest = &bytes[range.end..];
    assert_eq!(frame(rest, Framing::Stream), Frame::Message(0..rest.len()));
    assert_eq!(Message::parse(rest, Framing::Stream).expect("valid").method(), Method::Invite);
}

#[test]
fn the_values_of_the_tortuous_invite_are_read() {
    let bytes = read(&data().join("folds-and-blanks.sip"));
    let message = Message::parse(&bytes, Framing::Datagram).expect("valid");
    assert_eq!(message.method(), Method::Invite);
    assert_eq!(message.request_uri().expect("a URI").host, b"exchange.example");
    assert_eq!(message.max_forwards(), Some(31));
    assert_eq!(message.cseq().number, 12);
    assert_eq!(message.call_id(), b"folds@gate.example");
    assert_eq!(message.from().display_text().as_ref(), b"The \\ \"Lobby\"");
    assert_eq!((message.from_tag(), message.to_tag()), (Some(&b"lo77"[..]), Some(&b"q8"[..])));
    let branches: Vec<_> = message.vias().map(|via| via.branch().unwrap_or_default()).collect();
    assert_eq!(branches, [&b"z9hG4bK-s1"[..], b"z9hG4bK-s0"]);
    assert_eq!(message.top_via().transport, b"TCP");
    let contact = message.contact().expect("a Contact");
    assert_eq!(contact.param(b"q"), Some(&b"0.7"[..]));
    assert!(message.routes().all(|route| route.parsed().is_some_and(|uri| uri.lr())));
    assert_eq!(
        unfold(message.header_named(b"curious-field").expect("a field")).as_ref(),
        b"a value that goes on"
    );
    assert_eq!(message.header(Name::Subject), Some(&b""[..]));
    assert!(message.is_content(b"application/sdp") && message.body().starts_with(b"v=0"));
}

#[test]
fn octets_that_are_no_text_are_kept() {
    let bytes = read(&data().join("wide-octets.sip"));
    let message = Message::parse(&bytes, Framing::Datagram).expect("valid");
    assert_eq!(message.method(), Method::Other(b"!ring-Ring9*_+`.%'~"));
    assert_eq!(message.to().display_text().as_ref(), b"bell \x07 nul \0 del \x7f");
    assert_eq!(message.header_named(b"Latin"), Some(&b"caf\xe9"[..]));
    assert!(inspect(&bytes).to_json().contains("caf\\u00e9"));
}

#[test]
fn contact_parameters_belong_to_the_field_or_the_uri_by_the_brackets() {
    let bytes = read(&data().join("contact-parameter.sip"));
    let contact = Message::parse(&bytes, Framing::Datagram).expect("valid").contact().expect("a Contact");
    assert_eq!(contact.param(b"colour"), Some(&b"blue"[..]));
    assert_eq!(contact.uri, b"sip:lobby@192.0.2.60");
    let bytes = read(&data().join("contact-uri-parameter.sip"));
    let contact = Message::parse(&bytes, Framing::Datagram).expect("valid").contact().expect("a Contact");
    assert_eq!(contact.param(b"colour"), None);
    assert_eq!(contact.parsed().expect("a URI").param(b"colour"), Some(&b"blue"[..]));
    let bytes = read(&data().join("escaped-user.sip"));
    let uri = Message::parse(&bytes, Framing::Datagram).expect("valid").request_uri().expect("a URI");
    assert_eq!((uri.scheme, uri.host), (Scheme::Sip, &b"front.example"[..]));
}

fn check(name: &str, bytes: &[u8], error: &str, response: u16) {
    let found = inspect(bytes);
    assert_eq!(found.error.map_or("", ErrorClass::name), error, "{name}");
    assert_eq!(found.response.unwrap_or(0), response, "{name}");
    sip::fuzz::parse(bytes);
    sip::fuzz::show(bytes);
}

fn rewritten(message: &Message<'_>) -> Vec<u8> {
    let mut writer = match message.request() {
        Some(line) => Writer::request(line.method.as_bytes(), line.uri),
        None => Writer::response_with(message.status().expect("a response"), message.reason()),
    };
    for field in message.headers() {
        if !matches!(field.name, Name::ContentLength | Name::ContentType) {
            writer.field(&field);
        }
    }
    if let Some(content_type) = message.content_type() {
        if message.body().is_empty() {
            writer.header("Content-Type", content_type);
        } else {
            writer.body(&String::from_utf8_lossy(content_type), message.body());
        }
    }
    writer.finish()
}

/// Names and unfolded values, the length and the type of the body aside, which the writer moves to the end.
fn fields(message: &Message<'_>) -> Vec<(Name, String)> {
    message
        .headers()
        .filter(|field| !matches!(field.name, Name::ContentLength | Name::ContentType))
        .map(|field| (field.name, unfold(field.value).escape_ascii().to_string()))
        .collect()
}

fn every_message() -> Vec<(String, Vec<u8>)> {
    let mut messages: Vec<_> = own().into_iter().map(|(name, bytes, ..)| (name, bytes)).collect();
    let folders = [("sip/rfc4475", "dat"), ("sip/vendor", "sip"), ("sip/vendor-composed", "sip")];
    for (folder, ending) in folders {
        for path in corpus(folder).iter().flat_map(|folder| files(folder, ending)) {
            messages.push((path.display().to_string(), read(&path)));
        }
    }
    messages
}

/// Name, octets, error class and status of each row.
fn own() -> Vec<(String, Vec<u8>, String, u16)> {
    let row = |(file, error, response): (String, String, u16)| {
        let name = file.strip_suffix(".sip").expect("a .sip file").to_owned();
        (name, read(&data().join(file)), error, response)
    };
    table("expectations.csv").into_iter().map(row).collect()
}

/// File, error class (empty: valid syntax), status that the message earns whoever sends it (0: none).
fn table(name: &str) -> Vec<(String, String, u16)> {
    let table = String::from_utf8(read(&data().join(name))).expect("text");
    let row = |line: &str| {
        let cells: Vec<_> = line.split(',').collect();
        let [file, _, error, response] = cells[..] else { panic!("four columns: {line}") };
        (file.to_owned(), error.to_owned(), response.parse().unwrap_or(0))
    };
    table.lines().skip(1).map(row).collect()
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/sip")
}

/// A folder of the corpora, which are not part of the project; says so where it is absent.
#[expect(clippy::print_stderr, reason = "an absent corpus must be seen")]
fn corpus(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("STROWGER_TESTDATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata"),
        PathBuf::from,
    );
    let path = root.join(folder);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("ABSENT CORPUS: {} (set STROWGER_TESTDATA); only our own messages are checked", path.display());
    None
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a readable folder");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == ending));
    paths.sort();
    paths
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
