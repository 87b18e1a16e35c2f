//! `strowger events`: what happens, as it happens.

use super::http::{self, Api};
use super::table::{clean, clock_time};
use super::{ApiArgs, ClientError, Screen};
use clap::Args;
use serde_json::Value;

/// `strowger events`.
#[derive(Args, Debug)]
pub struct Events {
    /// Where the engine is.
    #[command(flatten)]
    pub api: ApiArgs,
    /// Only these kinds, such as fraud.*,trunk.down
    #[arg(long, value_name = "KINDS")]
    pub kind: Option<String>,
    /// Begin behind this event, as far as it is remembered
    #[arg(long, value_name = "ID")]
    pub after: Option<u64>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    pub count: Option<u64>,
}

pub(super) fn run(args: &Events, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    let api = Api::new(&args.api)?;
    let kind = args.kind.as_ref().map_or_else(String::new, |kind| format!("?kind={}", http::escape(kind)));
    let after = args.after.map(|id| format!("Last-Event-ID: {id}"));
    let headers: Vec<&str> = after.iter().map(String::as_str).collect();
    let (mut id, mut seen, mut comment) = (String::new(), 0, String::new());
    api.follow(&format!("/v1/events{kind}"), &headers, |line| {
        if let Some(text) = line.strip_prefix(": ") {
            comment = clean(text);
        } else if let Some(number) = line.strip_prefix("id: ") {
            id = number.to_owned();
        } else if let Some(data) = line.strip_prefix("data: ") {
            let event: Value = serde_json::from_str(data).unwrap_or_default();
            print(&id, event, api.json, screen)?;
            seen += 1;
        }
        Ok(args.count.is_none_or(|count| seen < count))
    })?;
    if args.count.is_some_and(|count| seen >= count) {
        return Ok(());
    }
    let why = if comment.starts_with("too slow") { format!(": {comment}") } else { String::new() };
    let last = if id.is_empty() { String::new() } else { format!("; the last id was {id}") };
    Err(ClientError::Unreachable(format!("the engine has ended the events{why}{last}")))
}

fn print(id: &str, mut event: Value, json: bool, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    if json {
        if let Some(object) = event.as_object_mut() {
            object.insert("id".to_owned(), id.into());
        }
        writeln!(screen.out, "{event}")?;
        return Ok(screen.out.flush()?);
    }
    write!(screen.out, "{} {}", clock_time(&event["at"]), clean(event["kind"].as_str().unwrap_or("?")))?;
    for (name, value) in event.as_object().into_iter().flatten() {
        if name != "at" && name != "kind" {
            let text = clean(value.as_str().unwrap_or(""));
            let quote = if text.is_empty() || text.contains(' ') { "\"" } else { "" };
            write!(screen.out, " {}={quote}{text}{quote}", clean(name))?;
        }
    }
    writeln!(screen.out)?;
    Ok(screen.out.flush()?)
}
