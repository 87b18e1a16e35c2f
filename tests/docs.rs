//! The examples of the pages for operators: every configuration passes `strowger check`, every command that needs no
//! running engine says what the page says it does.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A fenced block of a page.
struct Block {
    /// Line of its fence, from 1.
    line: usize,
    /// What stands behind the fence: `toml`, `console`, `csv rates.csv`.
    kind: String,
    text: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (at, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(kind)) => {
                open = Some(Block { line: at + 1, kind: kind.trim().to_owned(), text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.text.extend([line, "\n"]),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is not closed");
    blocks
}

/// A folder for the files of one page.
fn folder(page: &str) -> PathBuf {
    let name = format!("docs-{}-{page}", std::process::id());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("the folder of tests is writable");
    folder
}

fn strowger(folder: &Path, arguments: &[String]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_strowger"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("STROWGER_API")
        .env_remove("STROWGER_TOKEN")
        .output()
        .expect("the binary that cargo built starts")
}

/// Words of a command line; quotes as a shell has them.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            ('\'' | '"', None) => (quote, word) = (Some(c), Some(word.take().unwrap_or_default())),
            (' ', None) => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.into_iter().chain(word).collect()
}

/// Whether it needs no engine.
fn is_offline(arguments: &[String]) -> bool {
    match arguments.first().map(String::as_str) {
        Some("check" | "inspect") => true,
        Some("route") => arguments.iter().any(|word| word == "--config"),
        _ => false,
    }
}

/// What was said is what was written; a line `…` stands for any lines, blanks at both ends and empty lines do not count.
fn is_as_written(said: &str, written: &[&str]) -> Result<(), String> {
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let (mut at, mut gap) = (0, false);
    for line in written.iter().map(|line| line.trim()).filter(|line| !line.is_empty()) {
        if line == "…" {
            gap = true;
            continue;
        }
        match said[at..].iter().position(|known| *known == line) {
            Some(skipped) if gap || skipped == 0 => at += skipped + 1,
            _ => return Err(format!("not said: {line}")),
        }
        gap = false;
    }
    if gap || at == said.len() { Ok(()) } else { Err(format!("not written: {}", said[at])) }
}

/// The commands of a console block with what the page says they print.
fn commands(block: &Block) -> Vec<(&str, Vec<&str>)> {
    let mut commands: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in block.text.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command, Vec::new())),
            (None, Some((_, output))) => output.push(line),
            (None, None) => panic!("line {}: output without a command: {line}", block.line),
        }
    }
    commands
}

/// Checks a page; how many configurations and commands it has.
fn check(page: &str) -> (usize, usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    let blocks = blocks(&std::fs::read_to_string(&path).expect("the page is there"));
    let folder = folder(page);
    let written = |kind: &str| -> Option<PathBuf> {
        let (kind, name) = kind.split_once(' ').unwrap_or((kind, "strowger.toml"));
        (kind == "toml" || name != "strowger.toml").then(|| folder.join(name))
    };
    // Files that configurations name may stand below them.
    for block in blocks.iter().filter(|block| !block.kind.starts_with("toml")) {
        if let Some(file) = written(&block.kind) {
            std::fs::write(file, &block.text).expect("writable");
        }
    }
    let (mut configurations, mut ran) = (0, 0);
    for block in &blocks {
        let place = format!("docs/{page}, line {}", block.line);
        if block.kind.split(' ').next() == Some("toml") {
            let file = written(&block.kind).expect("a configuration is a file");
            std::fs::write(&file, &block.text).expect("writable");
            let name = file.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
            let output = strowger(&folder, &["check".to_owned(), name]);
            let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{place}: {said}");
            configurations += 1;
        }
        if block.kind != "console" {
            continue;
        }
        for (command, expected) in commands(block) {
            let Some(arguments) = command.strip_prefix("strowger ").map(words) else { continue };
            if !is_offline(&arguments) {
                continue;
            }
            let output = strowger(&folder, &arguments);
            let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code().is_some_and(|code| code < 2), "{place}: {command}: {said}");
            if let Err(why) = is_as_written(&said, &expected) {
                panic!("{place}: {command}: {why}\n{said}");
            }
            ran += 1;
        }
    }
    let _ = std::fs::remove_dir_all(&folder);
    (configurations, ran)
}

#[test]
fn the_examples_of_routing_work() {
    works("routing.md");
}

#[test]
fn the_examples_of_limits_work() {
    works("limits.md");
}

#[test]
fn the_examples_of_fraud_work() {
    works("fraud.md");
}

#[test]
fn the_examples_of_media_work() {
    works("media.md");
}

#[test]
fn the_examples_of_ng_work() {
    works("ng.md");
}

fn works(page: &str) {
    let (configurations, commands) = check(page);
    assert!(configurations > 0 && commands > 0, "{page}: {configurations} examples, {commands} commands");
}

#[test]
fn output_is_compared_but_for_what_is_left_out() {
    let said = "one\n  two\n\nthree\n";
    for (written, same) in [
        ("one\ntwo\nthree", true),
        ("one\n…", true),
        ("…\nthree", true),
        ("one\n…\nthree", true),
        ("one\nthree", false),
        ("one\ntwo", false),
        ("…\nfour\n…", false),
    ] {
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(is_as_written(said, &lines).is_ok(), same, "{written}");
    }
    assert_eq!(words("events --kind 'fraud.*' \"a b\" c"), ["events", "--kind", "fraud.*", "a b", "c"]);
}
