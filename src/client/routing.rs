//! `strowger route explain`, `trunks`, `limits`: where calls would go, and how full everything is.

use super::http::{self, Api};
use super::table::{Table, clean, date_time};
use super::{ApiArgs, ClientError, JSON, Screen, print_json, rows};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// `strowger route`.
#[derive(Args, Debug)]
pub struct Route {
    /// Where the engine is.
    #[command(flatten)]
    pub api: ApiArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: RouteCommand,
}

/// What to do with routes.
#[derive(Subcommand, Debug)]
pub enum RouteCommand {
    /// The whole decision without a call: rules tried, rewrites, verdicts, members and why not, limits
    #[command(
        after_help = "Example: strowger route explain --from 2001 --to +15035550100 --source 10.0.0.2:5060\n         \
                            strowger route explain --from 2001 --to 911 --trunk pbx --config strowger.toml"
    )]
    Explain(Box<Explain>),
}

/// A call that nobody makes.
#[derive(Args, Debug)]
pub struct Explain {
    /// Calling number
    #[arg(long, value_name = "NUMBER")]
    pub from: String,
    /// Called number
    #[arg(long, value_name = "NUMBER")]
    pub to: String,
    /// Where the INVITE would come from; says which trunk it is
    #[arg(long, value_name = "IP:PORT")]
    pub source: Option<String>,
    /// The source trunk by name
    #[arg(long, value_name = "NAME")]
    pub trunk: Option<String>,
    /// The calling account by name
    #[arg(long, value_name = "NAME")]
    pub account: Option<String>,
    /// A further header of the INVITE; may be given again
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub headers: Vec<String>,
    /// When, such as 2026-11-21T08:00:00Z; now, if not given
    #[arg(long, value_name = "TIME")]
    pub at: Option<String>,
    /// Decide by this file, without an engine
    #[arg(long, value_name = "FILE", conflicts_with = "api")]
    pub config: Option<PathBuf>,
}

impl Explain {
    /// The question as the API takes it.
    ///
    /// # Errors
    /// A header is none.
    pub fn question(&self) -> Result<Value, ClientError> {
        let mut headers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for header in &self.headers {
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| ClientError::Usage(format!("--header {header}: expected NAME: VALUE")))?;
            headers.entry(name.trim()).or_default().push(value.trim());
        }
        let mut question = json!({ "from": self.from, "to": self.to, "headers": headers });
        let texts =
            [("source", &self.source), ("trunk", &self.trunk), ("account", &self.account), ("at", &self.at)];
        for (name, text) in texts {
            if let Some(text) = text {
                question[name] = json!(text);
            }
        }
        Ok(question)
    }
}

/// `strowger trunks`.
#[derive(Args, Debug)]
pub struct Trunks {
    /// Where the engine is.
    #[command(flatten)]
    pub api: ApiArgs,
    /// What to do; `list` if not said.
    #[command(subcommand)]
    pub command: Option<TrunksCommand>,
}

/// What to do with trunks.
#[derive(Subcommand, Debug)]
pub enum TrunksCommand {
    /// Trunks, whether they are called, and the calls on them
    #[command(after_help = "Example: strowger trunks list --json")]
    List,
    /// Send no new calls there; those in progress go on
    #[command(after_help = "Example: strowger trunks disable acme --for 10m")]
    Disable {
        /// Name of the trunk
        name: String,
        /// Such as 30s, 10m, 1h; until it is enabled, if not given
        #[arg(long = "for", value_name = "DURATION")]
        period: Option<String>,
    },
    /// Send calls there again, whatever its breaker has said
    #[command(after_help = "Example: strowger trunks enable acme")]
    Enable {
        /// Name of the trunk
        name: String,
    },
}

/// `strowger limits`.
#[derive(Args, Debug)]
pub struct Limits {
    /// Where the engine is.
    #[command(flatten)]
    pub api: ApiArgs,
}

pub(super) fn route(args: &Route, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    let RouteCommand::Explain(explain) = &args.command;
    let question = explain.question()?;
    if let Some(file) = &explain.config {
        let told = (screen.offline)(file, &question.to_string()).map_err(ClientError::Usage)?;
        return decision(&told, args.api.json, screen);
    }
    let api = Api::new(&args.api)?;
    let answer = api.send("POST", "/v1/route/explain", &[JSON], question.to_string().as_bytes())?;
    decision(&answer.json()?, api.json, screen)
}

fn decision(told: &Value, json: bool, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    if json {
        return Ok(writeln!(screen.out, "{told}")?);
    }
    let text = |name: &str| told[name].as_str().map(clean);
    let width =
        rows(told, "steps").iter().filter_map(|step| Some(step["stage"].as_str()?.len())).max().unwrap_or(0);
    let mut before = "";
    for step in rows(told, "steps") {
        let stage = step["stage"].as_str().unwrap_or("");
        // A stage is named once, at its first step.
        let shown = if stage == before { "" } else { stage };
        before = stage;
        writeln!(screen.out, "{:<width$}  {}", clean(shown), clean(step["text"].as_str().unwrap_or("")))?;
    }
    let status =
        told["status"].as_u64().map(|status| format!(" {status} {}", text("reason").unwrap_or_default()));
    let why = text("refusal").map(|refusal| format!(" ({refusal})"));
    writeln!(
        screen.out,
        "\n=> {}{}{}",
        text("verdict").unwrap_or_default(),
        status.unwrap_or_default(),
        why.unwrap_or_default()
    )?;
    for (label, name) in [
        ("from trunk", "trunk_in"),
        ("account", "account"),
        ("route", "route"),
        ("group", "group"),
        ("to trunk", "trunk_out"),
        ("uri", "uri"),
        ("caller", "caller"),
        ("callee", "callee"),
    ] {
        if let Some(value) = text(name).filter(|value| !value.is_empty()) {
            writeln!(screen.out, "   {label:<10}  {value}")?;
        }
    }
    Ok(())
}

pub(super) fn trunks(args: &Trunks, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    let api = Api::new(&args.api)?;
    let answer = match args.command.as_ref().unwrap_or(&TrunksCommand::List) {
        TrunksCommand::List => {
            let answer = api.get("/v1/trunks")?;
            if api.json {
                return print_json(&answer, screen);
            }
            return Ok(write!(screen.out, "{}", table(&answer.json()?))?);
        }
        TrunksCommand::Disable { name, period } => {
            let body = period.as_ref().map_or_else(|| json!({}), |period| json!({ "for": period }));
            api.send("POST", &trunk_path(name, "disable"), &[JSON], body.to_string().as_bytes())?
        }
        TrunksCommand::Enable { name } => api.send("POST", &trunk_path(name, "enable"), &[], b"")?,
    };
    if api.json {
        return print_json(&answer, screen);
    }
    let status = answer.json()?;
    let text = |name: &str| clean(status[name].as_str().unwrap_or(""));
    let until = status["until"]
        .as_str()
        .map_or_else(String::new, |_| format!(" until {}", date_time(&status["until"])));
    Ok(writeln!(screen.out, "trunk {} is {}{until}", text("trunk"), text("state"))?)
}

fn trunk_path(name: &str, what: &str) -> String {
    format!("/v1/trunks/{}/{what}", http::escape(name))
}

fn table(list: &Value) -> Table {
    let mut table = Table::new(&["TRUNK", "ADDRESS", "STATE", "SINCE", "CALLS IN", "CALLS OUT"]);
    for trunk in rows(list, "objects") {
        let (settings, status) = (&trunk["settings"], &trunk["status"]);
        let uris = rows(settings, "to").iter().filter_map(|to| to["uri"].as_str().or(to.as_str()));
        let address = settings["address"].as_str().or(settings["to"].as_str()).map(str::to_owned);
        let address = address.unwrap_or_else(|| uris.collect::<Vec<_>>().join(", "));
        let state = clean(status["state"].as_str().unwrap_or("-"));
        let until = status["until"]
            .as_str()
            .map_or_else(String::new, |_| format!(" until {}", date_time(&status["until"])));
        let calls = |way: &str| trunk["calls"][way].as_i64().unwrap_or(0).to_string();
        table.row([
            clean(trunk["name"].as_str().unwrap_or("")),
            clean(&address),
            format!("{state}{until}"),
            date_time(&status["since"]),
            calls("in"),
            calls("out"),
        ]);
    }
    table
}

pub(super) fn limits(args: &Limits, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    let api = Api::new(&args.api)?;
    let answer = api.get("/v1/limits")?;
    if api.json {
        return print_json(&answer, screen);
    }
    let list = answer.json()?;
    let mut table = Table::new(&["LIMIT", "USED", "MAX", "RESERVED", "RATE", "FULL", "TOO FAST"]);
    for limit in rows(&list, "limits") {
        let number =
            |value: &Value| value.as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string());
        let max = match limit["lowered"].as_u64() {
            Some(lowered) => format!("{} (lowered to {lowered})", number(&limit["max"])),
            None => number(&limit["max"]),
        };
        let used = match limit["keys"].as_u64() {
            Some(keys) => format!("{} of {keys} keys", number(&limit["used"])),
            None => number(&limit["used"]),
        };
        table.row([
            clean(limit["limit"].as_str().unwrap_or("")),
            used,
            max,
            number(&limit["reserved"]),
            limit["rate"].as_f64().map_or_else(|| "-".to_owned(), |rate| format!("{rate}/s")),
            number(&limit["refused"]["full"]),
            number(&limit["refused"]["fast"]),
        ]);
    }
    Ok(write!(screen.out, "{table}")?)
}
