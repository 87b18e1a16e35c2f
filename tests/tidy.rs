//! The rules of the project that no compiler knows: who may use whom, what every file has, what no file may have.
//! ARCHITECTURE.md states them; this holds the code to it, and it to the code.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crates that hold `unsafe` (vectors, system calls, rings shared with the kernel), or whose tests do.
const UNSAFE: [&str; 4] = ["codec", "shard", "edge", "loadtest"];

/// What a core must not get at, not even through a package from outside.
const NOT_IN_CORES: [&str; 9] =
    ["tokio", "socket2", "libc", "mio", "io-uring", "hyper", "axum", "hickory-resolver", "rand"];

/// One row of the table in ARCHITECTURE.md.
struct Row {
    kind: String,
    may_use: BTreeSet<String>,
    outside: BTreeSet<String>,
}

#[test]
fn the_table_of_crates_is_true() {
    let (table, crates) = (table(), crates());
    let names: Vec<_> = crates.keys().collect();
    assert_eq!(table.keys().collect::<Vec<_>>(), names, "one row a crate");
    for (name, uses) in &crates {
        let row = &table[name];
        let (inside, outside): (BTreeSet<_>, BTreeSet<_>) =
            uses.iter().cloned().partition(|used| crates.contains_key(used));
        let surplus: Vec<_> = inside.difference(&row.may_use).collect();
        let everything = row.may_use.contains("everything");
        assert!(
            everything || surplus.is_empty(),
            "{name} may not use {surplus:?}: say so in the table, with its reason"
        );
        assert_eq!(outside, row.outside, "outside packages of {name}, as found and as in the table");
    }
}

#[test]
fn dependence_has_one_direction() {
    let table = table();
    let kind = |name: &str| table[name].kind.as_str();
    for (name, uses) in &crates() {
        for used in uses.iter().filter(|used| table.contains_key(*used)) {
            let allowed = match kind(name) {
                "core" => kind(used) == "core",
                "shell" => kind(used) == "core" || SHELLS_ON_SHELLS.contains(&(name, used)),
                "tool" => kind(used) == "core",
                "wiring" => true,
                other => panic!("{name}: {other} is no kind"),
            };
            assert!(allowed, "{name} ({}) uses {used} ({})", kind(name), kind(used));
        }
        let data_plane = ["base", "command", "codec", "media", "xdp", "shard"];
        if data_plane.contains(&name.as_str()) {
            let signalling: Vec<_> =
                uses.iter().filter(|used| ["sip", "sdp", "b2bua", "ng"].contains(&used.as_str())).collect();
            assert!(
                signalling.is_empty(),
                "{name}: the data plane knows nothing of signalling: {signalling:?}"
            );
        }
        if kind(name) == "core" {
            let forbidden: Vec<_> =
                uses.iter().filter(|used| NOT_IN_CORES.contains(&used.as_str())).collect();
            assert!(forbidden.is_empty(), "{name} is a core: {forbidden:?}");
        }
    }
}

/// Shells that stand on another shell's API; the table says why.
const SHELLS_ON_SHELLS: [(&str, &str); 4] =
    [("shard", "xdp"), ("api", "store"), ("store", "http-out"), ("hook", "http-out")];

#[test]
fn unsafe_is_forbidden_but_where_it_is_listed() {
    for (name, folder) in folders() {
        let root = folder.join(if name == "strowger" { "src/main.rs" } else { "src/lib.rs" });
        let forbids = text(&root).contains("#![forbid(unsafe_code)]");
        let has = sources()
            .iter()
            .any(|file| file.starts_with(folder.join("src")) && text(file).contains("unsafe {"));
        assert!(forbids || has || name == "strowger", "{name} has no unsafe code: let it forbid it");
        assert_eq!(
            !forbids && name != "strowger",
            UNSAFE.contains(&name.as_str()),
            "{name}: unsafe code, and the list"
        );
        assert!(!(name == "strowger" && has), "the wiring needs no unsafe code");
    }
}

#[test]
fn every_source_file_begins_with_what_it_owns() {
    let bare: Vec<_> = sources().into_iter().filter(|file| !text(file).starts_with("//! ")).collect();
    assert!(bare.is_empty(), "without a module comment in the first line: {bare:#?}");
}

#[test]
fn nothing_unfinished_and_no_skipped_test() {
    let marks = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("d", "bg!("),
        concat!("#[ig", "nore"),
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
    ];
    forbid(&sources(), |line| marks.iter().any(|mark| line.contains(mark)));
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    let folders =
        [concat!("/wo", "rk/"), concat!("/fa", "rm/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    let part_of_path = |c: char| c.is_ascii_alphanumeric() || "_.".contains(c);
    let named = |line: &str| {
        folders.iter().any(|folder| {
            line.match_indices(folder).any(|(at, _)| {
                !line[..at].ends_with(part_of_path) && line[at + folder.len()..].starts_with(part_of_path)
            })
        })
    };
    forbid(&tracked(), named);
}

#[test]
fn packages_come_from_the_one_registry_which_only_the_lock_names() {
    let files: Vec<_> = tracked().into_iter().filter(|file| !file.ends_with("Cargo.lock")).collect();
    let hosts = [
        concat!("sparse", "+http"),
        concat!("registry", "+http"),
        concat!("index.crates", ".io"),
        concat!("static.crates", ".io"),
        concat!("deb.debian", ".org"),
    ];
    forbid(&files, |line| hosts.iter().any(|host| line.contains(host)));
    let registry = concat!("\"registry", "+https://github.com/rust-lang/crates.io-index\"");
    let lock = text(&root().join("Cargo.lock"));
    for source in lock.lines().filter_map(|line| line.strip_prefix("source = ")) {
        assert_eq!(source, registry);
    }
}

#[test]
fn every_module_is_in_the_architecture() {
    let architecture = architecture();
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let words: BTreeSet<_> = architecture.split(|c| !is_word(c)).collect();
    let module = |file: PathBuf| {
        let inside = file.strip_prefix(root()).expect("a file of the project").to_owned();
        let is_source = inside.components().any(|part| part.as_os_str() == "src");
        let name = file.file_stem().expect("a file has a name").to_string_lossy().into_owned();
        (is_source && !["lib", "main", "tests"].contains(&name.as_str())).then_some((name, inside))
    };
    let modules = sources().into_iter().filter_map(module);
    let absent: Vec<_> =
        modules.filter(|(name, _)| !words.contains(name.as_str())).map(|(_, file)| file).collect();
    assert!(absent.is_empty(), "ARCHITECTURE.md does not mention: {absent:#?}");
}

/// Names each line of `files` for which `wrong` holds.
fn forbid(files: &[PathBuf], wrong: impl Fn(&str) -> bool) {
    let mut found = Vec::new();
    for file in files {
        // Captures and pictures are no text.
        let Ok(text) = String::from_utf8(std::fs::read(file).expect("a readable file")) else { continue };
        let lines = text.lines().enumerate().filter(|(_, line)| wrong(line));
        found.extend(lines.map(|(n, line)| format!("{}:{}: {}", file.display(), n + 1, line.trim())));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

fn table() -> BTreeMap<String, Row> {
    let words = |cell: &str| -> BTreeSet<String> {
        cell.split_whitespace().filter(|word| *word != "–").map(str::to_owned).collect()
    };
    let row = |line: &str| {
        let cells: Vec<_> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, may_use, outside] = cells[..] else { return None };
        let row = Row { kind: kind.to_owned(), may_use: words(may_use), outside: words(outside) };
        (name != "crate" && !name.starts_with('-')).then(|| (name.to_owned(), row))
    };
    let architecture = architecture();
    let start = architecture.find("| crate | kind |").expect("ARCHITECTURE.md has the table of crates");
    architecture[start..].lines().take_while(|line| line.starts_with('|')).filter_map(row).collect()
}

fn architecture() -> String {
    text(&root().join("ARCHITECTURE.md"))
}

/// Each crate of the workspace with its direct dependencies, those of tests and build scripts aside.
fn crates() -> BTreeMap<String, BTreeSet<String>> {
    let dependency = |it: &Value| it["kind"].is_null().then(|| name(it));
    let uses = |package: &Value| list(&package["dependencies"]).iter().filter_map(dependency).collect();
    packages().iter().map(|package| (name(package), uses(package))).collect()
}

/// Each crate of the workspace with its folder.
fn folders() -> BTreeMap<String, PathBuf> {
    let folder = |package: &Value| {
        let manifest = Path::new(package["manifest_path"].as_str().expect("a path")).to_owned();
        manifest.parent().expect("a folder").to_owned()
    };
    packages().iter().map(|package| (name(package), folder(package))).collect()
}

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    list(&metadata["packages"]).to_vec()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn name(value: &Value) -> String {
    value["name"].as_str().expect("a name").to_owned()
}

fn sources() -> Vec<PathBuf> {
    tracked().into_iter().filter(|file| file.extension().is_some_and(|ending| ending == "rs")).collect()
}

/// The files that belong to the project. Without git, as in an unpacked archive, all but hidden and built ones.
fn tracked() -> Vec<PathBuf> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let files: Vec<_> = match output {
        Ok(output) if output.status.success() => {
            let names = String::from_utf8(output.stdout).expect("names are text");
            names.split_terminator('\0').map(|name| root().join(name)).filter(|file| file.is_file()).collect()
        }
        _ => walk(&root()),
    };
    assert!(files.len() > 100, "the files of the project: {}", files.len());
    files
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        let name = path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
        if path.is_file() {
            files.push(path);
        } else if name != "target" && !name.starts_with('.') {
            files.extend(walk(&path));
        }
    }
    files
}

fn text(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
