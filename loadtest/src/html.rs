//! A report as one HTML file that needs nothing else: facts, tables, and plots as inline SVG. Knows nothing of runs.

use std::fmt::{self, Write as _};

/// What a report shows, top to bottom.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Heading.
    pub title: String,
    /// Name and value, such as the machine or the seed.
    pub facts: Vec<(String, String)>,
    /// Tables below the facts.
    pub tables: Vec<Table>,
    /// Plots below the tables.
    pub plots: Vec<Plot>,
}

/// A table; rows that are shorter than the head are filled up.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Heading.
    pub title: String,
    /// Names of the columns.
    pub head: Vec<String>,
    /// Cells.
    pub rows: Vec<Vec<String>>,
}

/// Lines over time, on one scale that begins at zero.
#[derive(Clone, Debug, Default)]
pub struct Plot {
    /// Heading.
    pub title: String,
    /// Unit of the values.
    pub unit: String,
    /// The lines.
    pub series: Vec<Series>,
}

/// One line of a plot.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Seconds since the run began, and the value. What is not finite is a gap.
    pub points: Vec<(f64, f64)>,
}

/// The file's text.
pub fn write(page: &Page) -> String {
    let mut out = String::with_capacity(16_384);
    compose(page, &mut out).expect("a string takes everything");
    out
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 70.0;
const BOTTOM: f64 = 28.0;
const TOP: f64 = 10.0;
const RIGHT: f64 = 12.0;
/// Points a line has at most: more would not be seen.
const POINTS_MAX: usize = 1_440;
const COLOURS: [&str; 8] =
    ["#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#bf3989", "#0a7ea4", "#57606a"];
const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1f2328}\
h1{font-size:1.5rem}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
td,th{padding:.2rem .7rem;border-bottom:1px solid #d0d7de;text-align:left;vertical-align:top}th{font-weight:600}\
svg{max-width:100%;height:auto}.legend span{margin-right:1.2rem}.legend i{display:inline-block;width:.9rem;height:.2rem;\
vertical-align:middle;margin-right:.35rem}@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}}";

fn compose(page: &Page, out: &mut String) -> fmt::Result {
    let title = Escaped(&page.title);
    write!(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>")?;
    write!(out, "<style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n<table>")?;
    for (name, value) in &page.facts {
        write!(out, "<tr><th>{}</th><td>{}</td></tr>", Escaped(name), Escaped(value))?;
    }
    writeln!(out, "</table>")?;
    for table in &page.tables {
        write!(out, "<h2>{}</h2>\n<table><tr>", Escaped(&table.title))?;
        for name in &table.head {
            write!(out, "<th>{}</th>", Escaped(name))?;
        }
        write!(out, "</tr>")?;
        for row in &table.rows {
            write!(out, "<tr>")?;
            for place in 0..table.head.len().max(row.len()) {
                write!(out, "<td>{}</td>", Escaped(row.get(place).map_or("", String::as_str)))?;
            }
            write!(out, "</tr>")?;
        }
        writeln!(out, "</table>")?;
    }
    for plot in &page.plots {
        draw(plot, out)?;
    }
    writeln!(out, "</body></html>")
}

fn draw(plot: &Plot, out: &mut String) -> fmt::Result {
    let points = || plot.series.iter().flat_map(|series| &series.points).filter(|p| is_point(p));
    let seconds = points().map(|p| p.0).fold(0.0, f64::max);
    let most = points().map(|p| p.1).fold(0.0, f64::max);
    write!(out, "<h2>{}", Escaped(&plot.title))?;
    if !plot.unit.is_empty() {
        write!(out, " ({})", Escaped(&plot.unit))?;
    }
    writeln!(out, "</h2>")?;
    if points().next().is_none() {
        return writeln!(out, "<p>Nothing was measured.</p>");
    }
    let step = [step_of(seconds), step_of(most)];
    let span = [seconds, most].map(|value| if value > 0.0 { value } else { 1.0 });
    let span = [span[0], (span[1] / step[1]).ceil() * step[1]];
    let x = |at: f64| LEFT + at / span[0] * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value.max(0.0) / span[1] * (HEIGHT - BOTTOM - TOP);
    write!(
        out,
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" font-size=\"11\" fill=\"currentColor\"><title>{}</title>",
        Escaped(&plot.title)
    )?;
    let line = |out: &mut String, from: (f64, f64), to: (f64, f64)| {
        write!(
            out,
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"currentColor\" stroke-opacity=\".18\"/>",
            from.0, from.1, to.0, to.1
        )
    };
    for mark in marks(span[1], step[1]) {
        line(out, (LEFT, y(mark)), (WIDTH - RIGHT, y(mark)))?;
        write!(out, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">", LEFT - 6.0, y(mark) + 4.0)?;
        write!(out, "{}</text>", short(mark))?;
    }
    for mark in marks(span[0], step[0]) {
        let under = HEIGHT - BOTTOM + 16.0;
        write!(out, "<text x=\"{:.1}\" y=\"{under:.1}\" text-anchor=\"middle\">", x(mark))?;
        write!(out, "{} s</text>", short(mark))?;
    }
    for (series, colour) in plot.series.iter().zip(COLOURS.iter().cycle()) {
        let mut open = false;
        for point in thin(&series.points) {
            if !is_point(point) {
                if std::mem::take(&mut open) {
                    write!(out, "\"/>")?;
                }
                continue;
            }
            if !std::mem::replace(&mut open, true) {
                write!(out, "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"")?;
            }
            write!(out, "{:.1},{:.1} ", x(point.0), y(point.1))?;
        }
        if open {
            write!(out, "\"/>")?;
        }
    }
    write!(out, "</svg>\n<p class=\"legend\">")?;
    for (series, colour) in plot.series.iter().zip(COLOURS.iter().cycle()) {
        write!(out, "<span><i style=\"background:{colour}\"></i>{}</span>", Escaped(&series.name))?;
    }
    writeln!(out, "</p>")
}

fn is_point(point: &(f64, f64)) -> bool {
    point.0.is_finite() && point.1.is_finite()
}

/// All of them, or the highest of each stretch: peaks are what a reader looks for.
fn thin(points: &[(f64, f64)]) -> Vec<&(f64, f64)> {
    let stretch = points.len().div_ceil(POINTS_MAX).max(1);
    points.chunks(stretch).filter_map(|some| some.iter().max_by(|a, b| a.1.total_cmp(&b.1))).collect()
}

/// 1, 2 or 5 times a power of ten, so that about five fit.
fn step_of(most: f64) -> f64 {
    if most <= 0.0 {
        return 0.2;
    }
    let rough = most / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|step| *step >= rough).unwrap_or(rough)
}

fn marks(most: f64, step: f64) -> impl Iterator<Item = f64> {
    (0..=20).map(move |n| f64::from(n) * step).take_while(move |mark| *mark <= most * 1.001)
}

fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{} M", trimmed(v / 1e6)),
        v if v >= 1e4 => format!("{} k", trimmed(v / 1e3)),
        v => trimmed(v),
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Text whose signs cannot be taken for markup.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for sign in self.0.chars() {
            match sign {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                sign => f.write_char(sign)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, f64)>) -> String {
        let series = vec![Series { name: "p99 <b>".into(), points }];
        let plot = Plot { title: "Latency".into(), unit: "ms".into(), series };
        write(&Page { title: "a & b".into(), plots: vec![plot], ..Page::default() })
    }

    #[test]
    fn a_page_stands_alone_and_takes_no_markup_from_text() {
        let mut page = Page { title: "<script>".into(), ..Page::default() };
        page.facts.push(("seed".into(), "\"1\"".into()));
        let (head, rows) = (vec!["a".into(), "b".into()], vec![vec!["1".into()]]);
        page.tables.push(Table { title: "T".into(), head, rows });
        let text = write(&page);
        assert!(
            text.contains("&lt;script&gt;") && text.contains("&quot;1&quot;") && !text.contains("<script")
        );
        assert!(text.contains("<td>1</td><td></td>"), "{text}");
        assert!(!text.contains("http") && !text.contains("src="));
    }

    #[test]
    fn gaps_break_a_line_and_peaks_survive_thinning() {
        let text = plot(vec![(0.0, 1.0), (1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0)]);
        assert_eq!(text.matches("<polyline").count(), 2);
        assert!(text.contains("p99 &lt;b&gt;") && text.contains("Latency (ms)"));
        let mut many: Vec<(f64, f64)> = (0..100_000).map(|n| (f64::from(n), 1.0)).collect();
        many[77_777].1 = 50.0;
        assert!(thin(&many).len() <= POINTS_MAX && thin(&many).iter().any(|p| p.1 == 50.0));
        assert!(plot(many).len() < 60_000);
    }

    #[test]
    fn nothing_and_zero_are_drawn_without_nonsense() {
        assert!(plot(vec![]).contains("Nothing was measured"));
        for points in [vec![(0.0, 0.0)], vec![(f64::INFINITY, 1.0), (0.0, 0.0)], vec![(1.0, 1e-7)]] {
            let text = plot(points);
            assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        }
    }

    #[test]
    fn scales_have_about_five_round_marks() {
        assert_eq!([step_of(10.0), step_of(7.0), step_of(0.9), step_of(1234.0)], [2.0, 2.0, 0.2, 500.0]);
        assert_eq!([short(12_500.0), short(0.25), short(2e6)], ["12.5 k", "0.25", "2 M"]);
    }
}
