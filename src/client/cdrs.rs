//! `strowger cdrs`: call detail records that have been written.

use super::http::{self, Api};
use super::table::{Table, clean, date_time, duration};
use super::{ApiArgs, ClientError, Screen, rows};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// `strowger cdrs`.
#[derive(Args, Debug)]
pub struct Cdrs {
    /// Where the engine is.
    #[command(flatten)]
    pub api: ApiArgs,
    /// What to do; `list` if not said.
    #[command(subcommand)]
    pub command: Option<CdrsCommand>,
}

/// What to do with records.
#[derive(Subcommand, Debug)]
pub enum CdrsCommand {
    /// One line a leg, newest first
    #[command(
        after_help = "Example: strowger cdrs list --trunk acme --from 2026-11-21T00:00:00Z --limit 20\n         \
                            strowger cdrs list --callee '+1503*' --csv > calls.csv"
    )]
    List(Box<CdrFilter>),
}

/// Which records.
#[derive(Args, Debug, Default)]
pub struct CdrFilter {
    /// Created at this time or later, such as 2026-11-21T08:00:00Z
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Created before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Legs of this trunk
    #[arg(long, value_name = "NAME")]
    pub trunk: Option<String>,
    /// Legs of this account
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// This calling number; +1503* for how it begins
    #[arg(long, value_name = "NUMBER")]
    pub caller: Option<String>,
    /// This called number; +1503* for how it begins
    #[arg(long, value_name = "NUMBER")]
    pub callee: Option<String>,
    /// This cause, such as normal or no_route
    #[arg(long, value_name = "WORD")]
    pub cause: Option<String>,
    /// Who ended the leg: caller, callee, engine or operator
    #[arg(long, value_name = "WHO")]
    pub released_by: Option<String>,
    /// This final status
    #[arg(long, value_name = "CODE")]
    pub status: Option<String>,
    /// Refused or cut by this rule
    #[arg(long, value_name = "RULE")]
    pub policy: Option<String>,
    /// Legs of this call
    #[arg(long, value_name = "ID")]
    pub call: Option<String>,
    /// Only answered legs (true), or only others (false)
    #[arg(long, value_name = "BOOL")]
    pub answered: Option<bool>,
    /// The oldest first
    #[arg(long)]
    pub oldest: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: u64,
    /// Go on behind a page
    #[arg(long, value_name = "TOKEN")]
    pub after: Option<String>,
    /// Comma-separated values
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
}

/// Records that the API gives at once.
const PAGE: u64 = 1_000;

pub(super) fn run(args: &Cdrs, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    let api = Api::new(&args.api)?;
    match &args.command {
        Some(CdrsCommand::List(filter)) => list(&api, filter, screen),
        None => list(&api, &CdrFilter { limit: 50, ..CdrFilter::default() }, screen),
    }
}

fn list(api: &Api, filter: &CdrFilter, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    let mut after = filter.after.clone();
    let mut left = filter.limit;
    let mut all = Vec::new();
    let mut pages = 0;
    loop {
        let answer = api.get(&path(filter, left.min(PAGE), after.as_deref()))?;
        pages += 1;
        let got;
        if filter.csv {
            // Names once, on the first page.
            let body = &answer.body[..];
            let names = body.iter().position(|byte| *byte == b'\n').map_or(body.len(), |end| end + 1);
            screen.out.write_all(if pages == 1 { body } else { &body[names..] })?;
            got = left.min(PAGE);
            after = answer.header("next-page").map(str::to_owned);
        } else {
            let page = answer.json()?;
            after = page["next"].as_str().map(str::to_owned);
            got = rows(&page, "cdrs").len() as u64;
            all.extend_from_slice(rows(&page, "cdrs"));
        }
        left = left.saturating_sub(got);
        if after.is_none() || left == 0 {
            break;
        }
    }
    if filter.csv {
        return Ok(());
    }
    if api.json {
        return Ok(writeln!(screen.out, "{}", json!({ "cdrs": all, "next": after }))?);
    }
    Ok(write!(screen.out, "{}", table(&all, after.as_deref()))?)
}

fn path(filter: &CdrFilter, limit: u64, after: Option<&str>) -> String {
    let mut path = format!("/v1/cdrs?limit={limit}");
    let flags = [
        ("order", filter.oldest.then_some("oldest")),
        ("format", filter.csv.then_some("csv")),
        ("after", after),
    ];
    let answered = filter.answered.map(|answered| answered.to_string());
    let texts = [
        ("from", &filter.from),
        ("until", &filter.until),
        ("trunk", &filter.trunk),
        ("account", &filter.account),
        ("caller", &filter.caller),
        ("callee", &filter.callee),
        ("cause", &filter.cause),
        ("released_by", &filter.released_by),
        ("status", &filter.status),
        ("policy", &filter.policy),
        ("call", &filter.call),
        ("answered", &answered),
    ];
    let texts = texts.into_iter().map(|(name, text)| (name, text.as_deref()));
    for (name, text) in texts.chain(flags) {
        if let Some(text) = text {
            path.push_str(&format!("&{name}={}", http::escape(text)));
        }
    }
    path
}

fn table(records: &[Value], next: Option<&str>) -> String {
    let mut table =
        Table::new(&["ID", "CREATED", "WAY", "TRUNK", "FROM", "TO", "STATUS", "LENGTH", "ENDED BY", "CAUSE"]);
    for record in records {
        let text = |name: &str| clean(record[name].as_str().unwrap_or("-"));
        table.row([
            text("id"),
            date_time(&record["created"]),
            text("direction"),
            text("trunk"),
            text("from_user"),
            text("to_user"),
            record["final_status"].as_u64().map_or_else(|| "-".to_owned(), |status| status.to_string()),
            record["duration_ms"].as_u64().map_or_else(|| "-".to_owned(), duration),
            text("release_by"),
            text("release_cause"),
        ]);
    }
    let more = next.map_or_else(String::new, |next| format!(" shown; next page: --after {}", clean(next)));
    let plural = if records.len() == 1 { "" } else { "s" };
    format!("{table}{} record{plural}{more}\n", records.len())
}
