//! The corpus of foreign SDP (not in the repository) and our own samples: all parse or give a typed error, nothing of
//! the other side's addresses survives, unknown lines do, and rewriting twice changes nothing more.

use crate::call::call;
use sdp::{Edit, LineEdit, OriginEdit, Proto, Sdp, Side};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Every `.sdp` file of the corpus and of our samples, as it is and with CRLF.
fn each_sdp(mut check: impl FnMut(&str, &[u8])) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let corpus = std::env::var_os("STROWGER_TESTDATA")
        .map_or_else(|| here.join("../../../shared/testdata"), PathBuf::from)
        .join("sdp");
    if !corpus.is_dir() {
        eprintln!("ABSENT: corpus testdata/sdp; only our own samples are checked");
    }
    for folder in [corpus, here.join("tests/samples")] {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.sort();
        for file in files.iter().filter(|file| file.extension().is_some_and(|ext| ext == "sdp")) {
            let text = std::fs::read(file).expect("readable");
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            check(&name, &text);
            let mut crlf = Vec::new();
            for line in sdp::Lines::new(&text) {
                crlf.extend_from_slice(line.text);
                crlf.extend_from_slice(b"\r\n");
            }
            check(&format!("{name} with CRLF"), &crlf);
        }
    }
}

fn edit_all(sdp: &Sdp<'_>, out: &mut Vec<u8>) {
    let pass = LineEdit { port: 30000, rtcp_port: 30001, keep_mux: true, ..LineEdit::default() };
    let lines: Vec<LineEdit> = sdp
        .media()
        .iter()
        .map(|media| if media.port() == 0 { LineEdit::default() } else { pass.clone() })
        .collect();
    let origin = OriginEdit { username: "-", session_id: 1, version: 2 };
    let address = "255.0.255.0".parse().expect("an address");
    sdp::edit::write(sdp, &Edit { origin, address, lines: &lines }, out);
}

#[test]
fn every_sdp_parses_or_gives_a_typed_error() {
    let mut errors: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut read = 0;
    each_sdp(|name, text| match Sdp::parse(text) {
        Ok(_) => read += 1,
        Err(error) => errors.entry(error.class()).or_default().push(name.to_owned()),
    });
    eprintln!("{read} read; refused: {errors:#?}");
    assert!(read > 0);
}

#[test]
fn rewriting_twice_changes_nothing_more() {
    each_sdp(|name, text| {
        let Ok(sdp) = Sdp::parse(text) else { return };
        let (mut once, mut twice) = (Vec::new(), Vec::new());
        edit_all(&sdp, &mut once);
        let again = Sdp::parse(&once).unwrap_or_else(|error| panic!("{name}: {error}"));
        edit_all(&again, &mut twice);
        assert_eq!(String::from_utf8_lossy(&once), String::from_utf8_lossy(&twice), "{name}");
        assert_eq!(sdp.media().len(), again.media().len(), "{name}");
        for (before, after) in sdp.media().iter().zip(again.media()) {
            assert_eq!(before.kind(), after.kind(), "{name}");
            assert_eq!(before.proto_text(), after.proto_text(), "{name}");
            assert!(before.formats().eq(after.formats()), "{name}");
            assert_eq!(before.port() == 0, after.port() == 0, "{name}");
            if after.port() != 0 {
                assert_eq!(before.codecs(), after.codecs(), "{name}");
                assert_eq!(before.direction(), after.direction(), "{name}");
                assert_eq!(before.rtcp_mux(), after.rtcp_mux(), "{name}");
            }
        }
    });
}

/// Everything that looks like an address, and every host name of lines that give addresses: found by other means than
/// the crate's.
fn addresses(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-');
        for word in line.split(|c| !is_word(c)) {
            for at in 0..word.len() {
                for end in at + 2..=word.len() {
                    let part = &word[at..end];
                    let is_whole =
                        |c: Option<char>| c.is_none_or(|c| !c.is_ascii_hexdigit() && c != '.' && c != ':');
                    let is_edge = is_whole(word[end..].chars().next());
                    if is_edge && part.len() > 6 && part.parse::<std::net::Ipv4Addr>().is_ok() {
                        found.insert(part.to_owned());
                    }
                    if part.contains("::") && part.len() > 3 && part.parse::<std::net::Ipv6Addr>().is_ok() {
                        found.insert(part.to_owned());
                    }
                }
            }
        }
        let fields: Vec<&str> = line.split_whitespace().collect();
        let host = match line.get(..2) {
            Some("o=" | "c=") => fields.last().copied(),
            Some("a=") if line.starts_with("a=rtcp:") => fields.get(3).copied(),
            Some("a=") if line.starts_with("a=candidate:") => fields.get(4).copied(),
            Some("e=") => line.split(['@', ' ', '>']).nth(1),
            Some("u=") => line.split('/').nth(2),
            _ => None,
        };
        if let Some(host) = host.and_then(|host| host.split('/').next())
            && host.contains('.')
        {
            found.insert(host.to_owned());
        }
    }
    found
}

#[test]
fn no_address_of_the_other_side_survives() {
    each_sdp(|name, text| {
        let Ok(sdp) = Sdp::parse(text) else { return };
        let mut out = Vec::new();
        edit_all(&sdp, &mut out);
        let out = String::from_utf8_lossy(&out).replace("255.0.255.0", "OURS");
        for address in addresses(&String::from_utf8_lossy(text).replace('\r', "\n")) {
            assert!(!out.contains(&address), "{name}: {address} survives in\n{out}");
        }
        assert_eq!(addresses(&out), BTreeSet::new(), "{name}:\n{out}");
        for gone in ["a=candidate", "a=ice-", "a=remote-candidates", "a=end-of-candidates", "a=group:BUNDLE"]
        {
            assert!(!out.contains(gone), "{name}: {gone}");
        }
        if let Some(origin) = sdp.origin()
            && origin.username.len() > 2
        {
            let user = String::from_utf8_lossy(origin.username).into_owned();
            assert!(!out.contains(&format!("o={user} ")), "{name}: {user}");
        }
    });
}

#[test]
fn unknown_lines_survive_in_order() {
    each_sdp(|name, text| {
        let Ok(sdp) = Sdp::parse(text) else { return };
        let mut out = Vec::new();
        edit_all(&sdp, &mut out);
        let known = [
            "rtcp",
            "rtcp-mux",
            "rtcp-mux-only",
            "candidate",
            "remote-candidates",
            "end-of-candidates",
            "bundle-only",
            "fingerprint",
            "setup",
            "connection",
            "tls-id",
            "identity",
            "source-filter",
            "group",
            "tcap",
            "acap",
            "pcfg",
            "acfg",
        ];
        let survivors = |sdp: &Sdp<'_>| {
            let live =
                sdp.media().iter().filter(|media| media.port() != 0).flat_map(|media| media.lines().skip(1));
            let all = sdp.session_lines().chain(live).filter(|line| line.letter == b'a' || line.letter == 0);
            all.map(|line| String::from_utf8_lossy(line.text).into_owned())
                .filter(|line| {
                    let attribute =
                        line.trim_start_matches("a=").split(':').next().unwrap_or_default().trim();
                    !known.contains(&attribute) && !attribute.starts_with("ice-")
                })
                .filter(|line| addresses(line).is_empty())
                .collect::<Vec<_>>()
        };
        let again = Sdp::parse(&out).expect("what we write can be read");
        let names: Vec<String> = addresses(&String::from_utf8_lossy(text)).into_iter().collect();
        let before =
            survivors(&sdp).into_iter().filter(|line| !names.iter().any(|name| line.contains(name.as_str())));
        assert_eq!(before.collect::<Vec<_>>(), survivors(&again), "{name}");
    });
}

#[test]
fn another_library_reads_what_we_write() {
    let mut compared = 0;
    each_sdp(|name, text| {
        let Ok(sdp) = Sdp::parse(text) else { return };
        if sdp.media().iter().any(|media| media.formats().next().is_none()) {
            return; // a refused line without formats: it may not like that, and we did not make it
        }
        let mut out = Vec::new();
        edit_all(&sdp, &mut out);
        let other = match sdp_types::Session::parse(&out) {
            Ok(other) => other,
            Err(error) => {
                // It is strict about lines that we keep as they come.
                assert!(
                    sdp_types::Session::parse(text).is_err(),
                    "{name}: {error}\n{}",
                    String::from_utf8_lossy(&out)
                );
                return;
            }
        };
        assert_eq!(other.medias.len(), sdp.media().len(), "{name}");
        for (theirs, ours) in other.medias.iter().zip(sdp.media()) {
            assert_eq!(theirs.port, if ours.port() == 0 { 0 } else { 30000 }, "{name}");
            assert_eq!(theirs.proto.as_bytes(), ours.proto_text(), "{name}");
            let is_ours = |c: &sdp_types::Connection| c.connection_address == "255.0.255.0";
            assert!(theirs.connections.iter().all(is_ours), "{name}");
            assert!(other.connection.iter().all(is_ours), "{name}");
        }
        compared += 1;
    });
    eprintln!("{compared} compared");
}

#[test]
fn an_offer_of_the_corpus_passes_or_says_why_not() {
    let mut refused: BTreeMap<&str, usize> = BTreeMap::new();
    each_sdp(|name, text| {
        let Ok(sdp) = Sdp::parse(text) else { return };
        let mut negotiation = call(8);
        assert!(negotiation.lines_wanted(text).expect("it parses") <= 8);
        let offered = match negotiation.offer(Side::A, text) {
            Ok(offered) => offered,
            Err(why) => {
                assert!(matches!(why.status(), 400 | 488), "{name}: {why}");
                *refused.entry(why.class()).or_default() += 1;
                assert_eq!(negotiation.spec().ports.len(), 0, "{name}");
                return;
            }
        };
        let offered = Sdp::parse(&offered).expect("what we write can be read");
        assert_eq!(offered.media().len(), sdp.media().len(), "{name}");
        for (index, (ours, theirs)) in offered.media().iter().zip(sdp.media()).enumerate() {
            let can_pass = theirs.port() != 0
                && !theirs.needs_dtls()
                && matches!(
                    theirs.proto(),
                    Proto::Rtp | Proto::Srtp | Proto::OtherRtp | Proto::Udptl | Proto::Udp
                );
            assert_eq!(ours.port() != 0, can_pass && index < 8, "{name}: line {index}");
        }
    });
    eprintln!("refused: {refused:?}");
}
