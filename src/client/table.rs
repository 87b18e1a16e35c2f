//! Columns for people. Numbers and names come from strangers: what could steer a terminal is not printed.

use core::fmt;
use serde_json::Value;

/// Columns as wide as their widest cell.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these heads.
    pub(super) fn new(heads: &[&str]) -> Table {
        Table { rows: vec![heads.iter().map(|&head| head.to_owned()).collect()] }
    }

    /// One more row, a cell for each head.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows[0].len();
        let widths: Vec<usize> = (0..columns)
            .map(|i| self.rows.iter().filter_map(|row| Some(row.get(i)?.chars().count())).max().unwrap_or(0))
            .collect();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:<width$}  "));
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// The text without control characters, and not endless.
pub(super) fn clean(text: &str) -> String {
    // Marks that turn the direction of writing can make a number look like another.
    let harmful = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out: String = text.chars().take(TEXT_MAX).map(|c| if harmful(c) { '?' } else { c }).collect();
    if text.chars().count() > TEXT_MAX {
        out.push('…');
    }
    out
}

const TEXT_MAX: usize = 2_000;

/// `08:01:56.500` of an RFC 3339 time.
pub(super) fn clock_time(value: &Value) -> String {
    clean(value.as_str().and_then(|text| text.get(11..23)).unwrap_or("-"))
}

/// `2026-11-21 08:01:56` of an RFC 3339 time.
pub(super) fn date_time(value: &Value) -> String {
    let text = value.as_str().unwrap_or("");
    let parts = text.get(..10).zip(text.get(11..19));
    parts.map_or_else(|| "-".to_owned(), |(date, time)| clean(&format!("{date} {time}")))
}

/// `1:02:03` or `2:03` of milliseconds.
pub(super) fn duration(millis: u64) -> String {
    let seconds = millis / 1_000;
    match seconds / 3_600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_control_characters_are_gone() {
        let mut table = Table::new(&["A", "B"]);
        table.row(["xyz".to_owned(), clean("1\x1b[2J\u{202e}é")]);
        assert_eq!(table.to_string(), "A    B\nxyz  1?[2J?é\n");
        assert_eq!((duration(125_999), duration(3_725_000)), ("2:05".into(), "1:02:05".into()));
        assert_eq!(clean(&"x".repeat(5_000)).chars().count(), TEXT_MAX + 1);
    }
}
