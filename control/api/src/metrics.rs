//! The page that Prometheus reads: families with their members, rendered as text 0.0.4 or OpenMetrics 1.0. Filled anew
//! for each scrape from counters that others own; it keeps nothing.

pub mod families; // every family that exists, with its meaning
mod signalling; // what a signalling shard counts
mod limit; // how full a limit is
mod store; // what the CDR writer counts

use base::Histogram;
use base::counter::BOUNDS_US;
use core::fmt::Write;
use std::collections::BTreeMap;

/// A family of metrics: a name, what it means, and which labels its members have.
#[derive(Debug, PartialEq, Eq)]
pub struct Family {
    /// As exported; counters end in `_total`.
    pub name: &'static str,
    /// What kind of figure.
    pub kind: Kind,
    /// Names of the labels, in the order in which [`Page::add`] takes their values.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

/// Kinds of figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bound, in seconds.
    Histogram,
}

impl Kind {
    /// As in `# TYPE`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// How the page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What the client's `Accept` asks for; text if it does not say.
    pub fn of_accept(accept: &str) -> Format {
        let wanted = accept.split(',').any(|range| {
            let mut parts = range.split(';').map(str::trim);
            parts.next() == Some("application/openmetrics-text") && !parts.any(|part| part == "q=0")
        });
        if wanted { Format::OpenMetrics } else { Format::Text }
    }

    /// For `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// One scrape's figures. Members that are added twice add up: so figures of several shards become one.
#[derive(Debug, Default)]
pub struct Page {
    families: BTreeMap<&'static str, (&'static Family, BTreeMap<Vec<String>, Value>)>,
}

#[derive(Debug)]
enum Value {
    Number(f64),
    /// Counts by bucket, not cumulated, and the sum in nanoseconds.
    Histogram(Box<[u64; BOUNDS_US.len() + 1]>, u64),
    /// The same for something without unit.
    Scores(Scores),
}

/// A histogram of scores with bounds of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Upper bounds, rising.
    pub bounds: &'static [f64],
    /// One a bound, and one for what is above all; not cumulated.
    pub counts: Vec<u64>,
    /// Of all scores.
    pub sum: f64,
}

impl Scores {
    /// Nothing yet.
    pub fn new(bounds: &'static [f64]) -> Scores {
        Scores { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }
}

/// A family has at most so many members; labels are bounded by configuration, and this bounds a mistake.
const MEMBERS_MAX: usize = 20_000;

impl Page {
    /// Adds a figure to a member of a counter or gauge. `labels` are the values in the family's order.
    pub fn add(&mut self, family: &'static Family, labels: &[&str], value: impl Into<f64>) {
        debug_assert!(family.kind != Kind::Histogram, "{} is a histogram", family.name);
        let Some(member) = self.member(family, labels, || Value::Number(0.0)) else { return };
        if let Value::Number(number) = member {
            *number += value.into();
        }
    }

    /// The same for a counter of 64 bits; exact up to 2^53.
    pub fn count(&mut self, family: &'static Family, labels: &[&str], value: u64) {
        self.add(family, labels, value as f64);
    }

    /// Adds the counts of a histogram to a member of its family.
    pub fn histogram(&mut self, family: &'static Family, labels: &[&str], histogram: &Histogram) {
        debug_assert!(family.kind == Kind::Histogram, "{} is no histogram", family.name);
        let zero = || Value::Histogram(Box::new([0; BOUNDS_US.len() + 1]), 0);
        let Some(Value::Histogram(counts, sum_ns)) = self.member(family, labels, zero) else { return };
        for (count, more) in counts.iter_mut().zip(histogram.counts()) {
            *count += more;
        }
        *sum_ns = sum_ns.wrapping_add(histogram.sum_ns());
    }

    /// Adds the counts of a histogram of scores to a member of its family.
    pub fn scores(&mut self, family: &'static Family, labels: &[&str], scores: &Scores) {
        debug_assert!(family.kind == Kind::Histogram, "{} is no histogram", family.name);
        let zero = || Value::Scores(Scores::new(scores.bounds));
        let Some(Value::Scores(known)) = self.member(family, labels, zero) else { return };
        for (count, more) in known.counts.iter_mut().zip(&scores.counts) {
            *count += more;
        }
        known.sum += scores.sum;
    }

    /// Lists a family without members, so that it is on the page before its first event.
    pub fn declare(&mut self, family: &'static Family) {
        self.families.entry(family.name).or_insert_with(|| (family, BTreeMap::new()));
    }

    /// Names of the families that are on the page.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.families.keys().copied()
    }

    fn member(
        &mut self,
        family: &'static Family,
        labels: &[&str],
        zero: impl FnOnce() -> Value,
    ) -> Option<&mut Value> {
        debug_assert_eq!(family.labels.len(), labels.len(), "{} has labels {:?}", family.name, family.labels);
        let members = &mut self.families.entry(family.name).or_insert_with(|| (family, BTreeMap::new())).1;
        let labels: Vec<String> = labels.iter().map(|&label| label.to_owned()).collect();
        if members.len() >= MEMBERS_MAX && !members.contains_key(&labels) {
            return None;
        }
        Some(members.entry(labels).or_insert_with(zero))
    }

    /// The page as text.
    pub fn render(&self, format: Format) -> String {
        let mut out = String::new();
        for (name, (family, members)) in &self.families {
            // A family that has labels and no member yet would only be its head.
            if members.is_empty() && !family.labels.is_empty() {
                continue;
            }
            // In OpenMetrics a counter's family has the bare name, its samples the suffix.
            let head = match format {
                Format::OpenMetrics => name.strip_suffix("_total").unwrap_or(name),
                Format::Text => name,
            };
            let _ = writeln!(out, "# HELP {head} {}", escape(family.help, false));
            let _ = writeln!(out, "# TYPE {head} {}", family.kind.name());
            for (values, value) in members {
                let labels: Vec<(&str, &str)> =
                    family.labels.iter().copied().zip(values.iter().map(String::as_str)).collect();
                match value {
                    Value::Number(number) => sample(&mut out, name, "", &labels, *number),
                    Value::Histogram(counts, sum_ns) => {
                        let bounds = BOUNDS_US.map(|us| us as f64 / 1e6);
                        buckets(&mut out, name, &labels, (&bounds, &counts[..]), *sum_ns as f64 / 1e9);
                    }
                    Value::Scores(Scores { bounds, counts, sum }) => {
                        buckets(&mut out, name, &labels, (bounds, counts), *sum);
                    }
                }
            }
            if members.is_empty() {
                sample(&mut out, name, "", &[], 0.0);
            }
        }
        if format == Format::OpenMetrics {
            out.push_str("# EOF\n");
        }
        out
    }
}

fn buckets(
    out: &mut String,
    name: &str,
    labels: &[(&str, &str)],
    (bounds, counts): (&[f64], &[u64]),
    sum: f64,
) {
    let mut total = 0;
    for (i, count) in counts.iter().enumerate() {
        total += count;
        // `1.0` rather than `1`, which OpenMetrics wants and text allows: the series is the same in both.
        let bound = bounds.get(i).map_or_else(|| "+Inf".to_owned(), |bound| format!("{bound:?}"));
        let mut labels = labels.to_vec();
        labels.push(("le", &bound));
        sample(out, name, "_bucket", &labels, total as f64);
    }
    sample(out, name, "_sum", labels, sum);
    sample(out, name, "_count", labels, total as f64);
}

fn sample(out: &mut String, name: &str, suffix: &str, labels: &[(&str, &str)], value: f64) {
    out.push_str(name);
    out.push_str(suffix);
    for (i, (label, text)) in labels.iter().enumerate() {
        let _ = write!(out, "{}{label}=\"{}\"", if i == 0 { '{' } else { ',' }, escape(text, true));
    }
    out.push_str(if labels.is_empty() { " " } else { "} " });
    let _ = writeln!(out, "{value}");
}

fn escape(text: &str, quotes: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    static CALLS: Family = Family {
        name: "x_calls_total",
        kind: Kind::Counter,
        labels: &["trunk"],
        help: "Calls of a \\trunk\nof it.",
    };
    static SETUP: Family =
        Family { name: "x_setup_seconds", kind: Kind::Histogram, labels: &["shard"], help: "Set-up." };

    #[test]
    fn figures_of_several_shards_add_up_and_labels_are_escaped() {
        let mut page = Page::default();
        page.count(&CALLS, &["a\"b\\c\nd"], 2);
        page.count(&CALLS, &["a\"b\\c\nd"], 3);
        page.count(&CALLS, &["é"], 1 << 40);
        assert_eq!(
            page.render(Format::Text),
            "# HELP x_calls_total Calls of a \\\\trunk\\nof it.\n# TYPE x_calls_total counter\n\
             x_calls_total{trunk=\"a\\\"b\\\\c\\nd\"} 5\nx_calls_total{trunk=\"é\"} 1099511627776\n"
        );
        let open = page.render(Format::OpenMetrics);
        assert!(
            open.contains("# TYPE x_calls counter\nx_calls_total{") && open.ends_with("# EOF\n"),
            "{open}"
        );
    }

    #[test]
    fn histograms_are_cumulated_in_seconds() {
        let histogram = Histogram::default();
        histogram.record(5_000, 2);
        histogram.record(1_500_000_000, 1);
        let mut page = Page::default();
        page.histogram(&SETUP, &["0"], &histogram);
        page.histogram(&SETUP, &["0"], &histogram);
        let text = page.render(Format::Text);
        for line in [
            "x_setup_seconds_bucket{shard=\"0\",le=\"5e-6\"} 4",
            "x_setup_seconds_bucket{shard=\"0\",le=\"1.0\"} 4",
            "x_setup_seconds_bucket{shard=\"0\",le=\"2.0\"} 6",
            "x_setup_seconds_bucket{shard=\"0\",le=\"+Inf\"} 6",
            "x_setup_seconds_sum{shard=\"0\"} 3.00002",
            "x_setup_seconds_count{shard=\"0\"} 6",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn scores_are_cumulated_by_bounds_of_their_own() {
        static MOS: Family =
            Family { name: "x_mos", kind: Kind::Histogram, labels: &["trunk"], help: "Scores." };
        let scores = Scores { bounds: &[2.0, 3.5, 4.0], counts: vec![1, 1, 1, 1], sum: 12.6 };
        let mut page = Page::default();
        page.scores(&MOS, &["a"], &scores);
        page.scores(&MOS, &["a"], &scores);
        let text = page.render(Format::Text);
        let counts: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            counts,
            [
                "x_mos_bucket{trunk=\"a\",le=\"2.0\"} 2",
                "x_mos_bucket{trunk=\"a\",le=\"3.5\"} 4",
                "x_mos_bucket{trunk=\"a\",le=\"4.0\"} 6",
                "x_mos_bucket{trunk=\"a\",le=\"+Inf\"} 8",
                "x_mos_sum{trunk=\"a\"} 25.2",
                "x_mos_count{trunk=\"a\"} 8",
            ]
        );
    }

    #[test]
    fn accept_chooses_the_format() {
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/plain;version=0.0.4", Format::Text),
            ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", Format::OpenMetrics),
            ("text/plain, application/openmetrics-text; q=0", Format::Text),
        ] {
            assert_eq!(Format::of_accept(accept), format, "{accept}");
        }
    }

    proptest! {
        #[test]
        fn any_label_stays_on_its_line(text in any::<String>()) {
            let mut page = Page::default();
            page.count(&CALLS, &[&text], 1);
            let rendered = page.render(Format::Text);
            prop_assert_eq!(rendered.matches('\n').count(), 3);
        }
    }
}
