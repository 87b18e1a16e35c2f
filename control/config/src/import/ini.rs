//! Files of keys in sections, as rtpengine's is: `[section]`, `key = value`, `# comment`. Knows no key.

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// From 1.
    pub line: usize,
    pub section: &'a str,
    pub key: &'a str,
    pub value: &'a str,
}

/// All entries in their order, and lines that are none.
pub(super) fn read(text: &str) -> (Vec<Entry<'_>>, Vec<(usize, &'static str)>) {
    let (mut entries, mut bad) = (Vec::new(), Vec::new());
    let mut section = None;
    for (number, line) in text.lines().enumerate().take(LINES_MAX) {
        let (number, line) = (number + 1, line.trim());
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            section = rest.strip_suffix(']').map(str::trim);
            if section.is_none() {
                bad.push((number, "a section has no closing bracket; what follows it is passed over"));
                section = Some("");
            }
            continue;
        }
        match (section, line.split_once('=')) {
            (None, _) => bad.push((number, "stands before any [section]; passed over")),
            (Some(_), None) => bad.push((number, "is no `key = value`; passed over")),
            (Some(_), Some((key, _))) if key.trim().is_empty() => {
                bad.push((number, "has no key before its `=`; passed over"));
            }
            (Some(section), Some((key, value))) => {
                entries.push(Entry { line: number, section, key: key.trim(), value: value.trim() });
            }
        }
    }
    (entries, bad)
}

/// More is no configuration.
const LINES_MAX: usize = 10_000;
