//! Bent and broken text: never a panic, and what is accepted reads back equal.

use proptest::prelude::*;

const GOOD: [&str; 4] = [
    include_str!("../../../tests/data/config/smallest.toml"),
    include_str!("../../../tests/data/config/fuller.toml"),
    include_str!("../../../tests/data/config/behind-nat.toml"),
    include_str!("../../../tests/data/config/longest-match.toml"),
];

/// Things that hurt in the place of a value.
const VALUES: [&str; 16] = [
    "\"\"",
    "0",
    "-1",
    "1e999",
    "nan",
    "true",
    "[]",
    "{}",
    "\"\\u0000\"",
    "99999999999999999999",
    "\"off\"",
    "\"0s\"",
    "[[[[]]]]",
    "1979-05-27",
    "\"é\"",
    "\"default\"",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn flipped_and_cut_bytes_never_panic(
        which in 0..GOOD.len(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..8),
    ) {
        let mut bytes = GOOD[which].as_bytes().to_vec();
        for (at, byte, how) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => { bytes.remove(at); }
            }
        }
        config::fuzz::check(&bytes);
    }

    #[test]
    fn lines_that_go_or_come_twice_never_panic(
        which in 0..GOOD.len(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4_u8), 1..6),
    ) {
        let mut lines: Vec<String> = GOOD[which].lines().map(str::to_owned).collect();
        for (at, other, how) in edits {
            if lines.is_empty() {
                break;
            }
            let (at, other) = (at.index(lines.len()), other.index(lines.len()));
            match how {
                0 => { lines.remove(at); }
                1 => { let line = lines[other].clone(); lines.insert(at, line); }
                2 => lines.swap(at, other),
                // A value of another line, or one that hurts.
                _ => {
                    let value = lines[other].split_once('=').map(|(_, value)| value.to_owned());
                    let value = value.unwrap_or_else(|| VALUES[other % VALUES.len()].to_owned());
                    if let Some((key, _)) = lines[at].split_once('=') {
                        lines[at] = format!("{key}= {value}");
                    }
                }
            }
        }
        config::fuzz::check(lines.join("\n").as_bytes());
    }

    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        config::fuzz::check(&bytes);
    }
}

#[test]
fn what_is_nested_too_deep_is_refused() {
    for depth in [50, 100, 1000, 100_000] {
        for text in [
            format!("a = {}", "[".repeat(depth)),
            format!("a = {}{}", "[".repeat(depth), "]".repeat(depth)),
            format!("a = {}", "{a=".repeat(depth)),
            format!("{}a = 1", "a.".repeat(depth)),
            format!("[{}a]", "a.".repeat(depth)),
            format!("[[{}a]]\nb = 1", "trunk.".repeat(depth)),
            format!("trunk = {{ {}a = 1 }}", "a.".repeat(depth)),
        ] {
            config::fuzz::check(text.as_bytes());
        }
    }
}

/// Every key of the schema with every value that hurts.
#[test]
fn every_key_takes_every_value_without_a_panic() {
    let mut paths = Vec::new();
    let page = config::docs::page();
    let mut section = String::new();
    for line in page.lines() {
        if let Some(head) = line.strip_prefix("## `") {
            section = head.trim_matches(['`', '[', ']']).replace("USER@DOMAIN", "u@d").replace("NAME", "n");
        } else if let Some(row) = line.strip_prefix("| `") {
            let key = row.split('`').next().unwrap_or_default();
            paths.push((section.clone(), key.replace("[]", "")));
        }
    }
    assert!(paths.len() > 100, "the page lists the keys: {}", paths.len());
    for (section, key) in paths {
        for value in VALUES {
            let head = if section == "route" || section == "number_rule" {
                format!("[[{section}]]")
            } else {
                format!("[{section}]")
            };
            config::fuzz::check(format!("{head}\n{key} = {value}\n").as_bytes());
            config::fuzz::check(format!("{head}\n{key} = [{value}, {value}]\n").as_bytes());
        }
    }
}
