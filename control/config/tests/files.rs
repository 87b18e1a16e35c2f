//! The example files: the good ones pass and read back equal, the bad ones earn exactly the errors that they announce.

use config::Config;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/config"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn good_files_pass_and_read_back_equal() {
    for name in ["smallest.toml", "fuller.toml", "behind-nat.toml", "longest-match.toml", "media-only.toml"] {
        let path = folder().join(name).display().to_string();
        let checked = Config::check(&read(name), &path).unwrap_or_else(|errors| {
            panic!("{}", errors.iter().map(|e| format!("{e}\n")).collect::<String>())
        });
        let printed = checked.config().to_string();
        let again = Config::check(&printed, &path).unwrap_or_else(|errors| panic!("{errors:?}\n{printed}"));
        assert_eq!(again.config(), checked.config(), "{printed}");
    }
}

#[test]
fn bad_files_earn_the_errors_that_they_announce() {
    for name in ["bad-many.toml", "bad-syntax.toml", "bad-together.toml"] {
        let text = read(name);
        let expected: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# wrong: ")).collect();
        let errors = Config::check(&text, name).expect_err(name);
        let found: Vec<String> = errors
            .iter()
            .map(|e| format!("{} {} {}", e.line, e.kind.class(), e.path).trim_end().to_owned())
            .collect();
        let shown: String = errors.iter().map(|e| format!("{e}\n")).collect();
        let (mut found_sorted, mut expected_sorted) = (found.clone(), expected.clone());
        found_sorted.sort();
        expected_sorted.sort_unstable();
        assert_eq!(found_sorted, expected_sorted, "{name}\n{shown}");
        assert!(errors.is_sorted_by_key(|e| (e.line, e.column)), "{name}: in the order of the text\n{shown}");
    }
}

#[test]
fn every_example_file_is_tested() {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let tested = [
        "bad-many.toml",
        "bad-syntax.toml",
        "bad-together.toml",
        "behind-nat.toml",
        "fuller.toml",
        "longest-match.toml",
        "media-only.toml",
        "rates-bad.csv",
        "rates.csv",
        "smallest.toml",
    ];
    assert_eq!(names, tested);
}

#[test]
fn the_page_of_reference_is_what_the_code_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let page = config::docs::page();
    if std::env::var_os("STROWGER_WRITE").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let stands = std::fs::read_to_string(path).unwrap_or_default();
    let differs = page.lines().zip(stands.lines()).position(|(a, b)| a != b);
    assert!(
        stands == page,
        "docs/configuration.md differs from the code (line {}): STROWGER_WRITE=1 cargo test -p config",
        differs.map_or_else(|| "count".to_owned(), |line| (line + 1).to_string())
    );
}

#[test]
fn the_page_shows_the_smallest_file() {
    assert!(config::docs::page().contains(&read("smallest.toml")));
}
