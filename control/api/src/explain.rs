//! `/v1/route/explain`: what would happen to a call, without one; told by the shard code that decides on calls. Also the
//! form in which `strowger route explain --config FILE` prints the same.

use crate::ask::ask;
use crate::input;
use crate::problem::Problem;
use crate::server::Api;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use ledger::{Ask, ExplainQuestion, Explanation};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A call that nobody makes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    /// Calling number.
    from: String,
    /// Called number.
    to: String,
    /// Where the INVITE would come from, `ADDRESS:PORT` or `ADDRESS`; says the trunk unless `trunk` does.
    source: Option<String>,
    /// The source trunk by name.
    trunk: Option<String>,
    /// The calling account by name.
    account: Option<String>,
    /// Further headers of the INVITE.
    #[serde(default)]
    headers: BTreeMap<String, Values>,
    /// When, as `2026-11-21T08:00:00Z`; now, if not given.
    at: Option<String>,
}

/// One value, or several.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Values {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// What would happen.
#[derive(Debug, Serialize, ToSchema)]
pub struct Decision {
    /// `route`, `refuse`, `divert`, `silence`, or `ask` where a hook would be asked.
    verdict: &'static str,
    /// Status that the caller would get; absent for a call that goes on.
    status: Option<u16>,
    /// Its phrase.
    reason: Option<String>,
    /// Stable word of the refusal, as in metrics and records.
    refusal: Option<&'static str>,
    /// Source trunk.
    trunk_in: Option<String>,
    /// The account.
    account: Option<String>,
    /// The route.
    route: Option<String>,
    /// The group by which the trunk was chosen.
    group: Option<String>,
    /// The trunk that would be called first.
    trunk_out: Option<String>,
    /// Request-URI of the first attempt.
    uri: Option<String>,
    /// Calling number on the outgoing leg.
    caller: String,
    /// Called number after all rewriting, without technical prefix.
    callee: String,
    /// Every step in order.
    steps: Vec<DecisionStep>,
}

/// One step.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DecisionStep {
    /// `who`, `guard`, `what`, `may it`, `where`, `how much`.
    stage: &'static str,
    /// What was looked at and what came of it.
    text: String,
}

impl From<Explanation> for Decision {
    fn from(told: Explanation) -> Self {
        let (status, reason) = told.status.unzip();
        let steps = told.steps.into_iter().map(|step| DecisionStep { stage: step.stage, text: step.text });
        Decision {
            verdict: told.verdict,
            status,
            reason,
            refusal: told.refusal,
            trunk_in: told.trunk_in,
            account: told.account,
            route: told.route,
            group: told.group,
            trunk_out: told.trunk_out,
            uri: told.uri,
            caller: told.caller,
            callee: told.callee,
            steps: steps.collect(),
        }
    }
}

/// Tells the whole decision for a call without making one: rules tried, rewrites, verdicts, members and why not, limits.
#[utoipa::path(post, path = "/v1/route/explain", tag = "routing", request_body = Question,
    responses((status = 200, body = Decision), (status = 422, body = Problem), (status = 503, body = Problem)))]
pub(crate) async fn explain(State(api): State<Api>, body: Body) -> Result<Json<Decision>, Problem> {
    let question: Question = input::json(&api.limits, body).await?;
    let question = question.checked()?;
    // Every shard has the same configuration; the limits and states that it reads are shared.
    let told = ask(&api, 0, |reply| Ask::Explain(Box::new(question), reply)).await?;
    told.map(|told| Json(Decision::from(*told))).map_err(|expected| Problem::field("body", expected))
}

/// The question of a body, for those who decide without an engine.
///
/// # Errors
/// The field that is wrong, and what was expected there.
pub fn question(text: &str) -> Result<ExplainQuestion, String> {
    let question: Question = serde_json::from_str(text).map_err(|error| error.to_string())?;
    question.checked().map_err(|problem| problem.detail().to_owned())
}

impl Question {
    fn checked(self) -> Result<ExplainQuestion, Problem> {
        let names = [("trunk", &self.trunk), ("account", &self.account)];
        for (field, text) in [("from", &self.from), ("to", &self.to)]
            .into_iter()
            .chain(names.into_iter().filter_map(|(f, t)| Some((f, t.as_ref()?))))
        {
            if text.len() > TEXT_MAX {
                return Err(Problem::field(field, format!("at most {TEXT_MAX} bytes")));
            }
        }
        let headers = self.headers.into_iter().flat_map(|(name, values)| {
            let values = match values {
                Values::One(value) => vec![value],
                Values::Many(values) => values,
            };
            values.into_iter().map(move |value| (name.clone(), value))
        });
        Ok(ExplainQuestion {
            from: self.from,
            to: self.to,
            source: self.source.map(|text| input::source("source", &text)).transpose()?,
            trunk: self.trunk,
            account: self.account,
            headers: headers.collect(),
            at: self.at.map(|text| input::time("at", &text)).transpose()?,
        })
    }
}

/// Longer than any number; what a caller may send that is longer is refused before it is routed.
const TEXT_MAX: usize = 16 << 10;
