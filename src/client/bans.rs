//! `strowger bans`: sources that are not listened to.

use super::http::{self, Api};
use super::table::{Table, clean, date_time};
use super::{ApiArgs, ClientError, JSON, Screen, print_json, rows};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

/// `strowger bans`.
#[derive(Args, Debug)]
pub struct Bans {
    /// Where the engine is.
    #[command(flatten)]
    pub api: ApiArgs,
    /// What to do; `list` if not said.
    #[command(subcommand)]
    pub command: Option<BansCommand>,
}

/// What to do with bans.
#[derive(Subcommand, Debug)]
pub enum BansCommand {
    /// Bans in force, in the order of their networks
    #[command(after_help = "Example: strowger bans list --limit 20")]
    List {
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u64,
        /// Behind this network
        #[arg(long, value_name = "NETWORK")]
        after: Option<String>,
    },
    /// Drop what comes from an address or a network
    #[command(after_help = "Example: strowger bans add 203.0.113.0/24 --for 1h --reason scans")]
    Add {
        /// An address or a network
        address: String,
        /// Such as 30s, 10m, 1h, 7d; until it is removed, if not given
        #[arg(long = "for", value_name = "DURATION")]
        period: Option<String>,
        /// For whoever reads the list
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
        /// Also if a trunk calls from there
        #[arg(long)]
        force: bool,
    },
    /// Listen to a source again
    #[command(after_help = "Example: strowger bans remove 203.0.113.0/24")]
    Remove {
        /// As it is listed
        address: String,
    },
}

pub(super) fn run(args: &Bans, screen: &mut Screen<'_>) -> Result<(), ClientError> {
    let api = Api::new(&args.api)?;
    match args.command.as_ref().unwrap_or(&BansCommand::List { limit: 100, after: None }) {
        BansCommand::List { limit, after } => {
            let after =
                after.as_ref().map_or_else(String::new, |net| format!("&after={}", http::escape(net)));
            let answer = api.get(&format!("/v1/bans?limit={limit}{after}"))?;
            if api.json {
                return print_json(&answer, screen);
            }
            Ok(write!(screen.out, "{}", table(&answer.json()?))?)
        }
        BansCommand::Add { address, period, reason, force } => {
            let body = json!({ "address": address, "ttl": period, "reason": reason, "force": force });
            let answer = api.send("POST", "/v1/bans", &[JSON], body.to_string().as_bytes())?;
            if api.json {
                return print_json(&answer, screen);
            }
            let ban = answer.json()?;
            let until = ban["until"]
                .as_str()
                .map_or_else(String::new, |_| format!(" until {}", date_time(&ban["until"])));
            Ok(writeln!(screen.out, "{} is banned{until}", clean(ban["address"].as_str().unwrap_or("")))?)
        }
        BansCommand::Remove { address } => {
            api.send("DELETE", &format!("/v1/bans?address={}", http::escape(address)), &[], b"")?;
            if api.json {
                return Ok(writeln!(screen.out, "{}", json!({ "address": address, "banned": false }))?);
            }
            Ok(writeln!(screen.out, "{} is listened to again", clean(address))?)
        }
    }
}

fn table(list: &Value) -> String {
    let mut table = Table::new(&["ADDRESS", "BY", "SINCE", "UNTIL", "REASON"]);
    let bans = rows(list, "bans");
    for ban in bans {
        let text = |name: &str| clean(ban[name].as_str().unwrap_or(""));
        table.row([
            text("address"),
            text("by"),
            date_time(&ban["since"]),
            date_time(&ban["until"]),
            text("reason"),
        ]);
    }
    let more = list["next"]
        .as_str()
        .map_or_else(String::new, |next| format!(" shown; next page: --after {}", clean(next)));
    let total = list["total"].as_u64().unwrap_or(0);
    let plural = if total == 1 { "" } else { "s" };
    format!("{table}{} of {total} ban{plural}{more}\n", bans.len())
}
