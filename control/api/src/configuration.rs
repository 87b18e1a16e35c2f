//! `/v1/config`: read, check, compare, replace and roll back the configuration, by number. The text is the TOML file.

use crate::engine::{ApplyError, ConfigVersion, Fault};
use crate::input;
use crate::objects;
use crate::problem::{Class, Problem};
use crate::server::Api;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_MATCH};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A version was put in force.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Applied {
    /// Its number.
    version: u64,
}

/// The versions that are kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Versions {
    /// The one in force.
    current: u64,
    /// Oldest first.
    versions: Vec<Version>,
}

/// One kept version.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Version {
    /// Its number.
    version: u64,
    /// When it was put in force.
    applied: String,
}

/// The configuration is valid.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Valid {
    /// Always true: an invalid one is a 422 with its fields.
    valid: bool,
}

/// What would change.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Diff {
    /// The version in force, with which the text was compared.
    version: u64,
    /// Keys that differ, in order.
    changes: Vec<Change>,
}

/// One key that differs.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Change {
    /// Path of the key, such as `trunk.acme.limit.cps`.
    path: String,
    /// Its value in force; null if it is new.
    before: Value,
    /// Its value in the text; null if it goes.
    after: Value,
}

/// To which version to go back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    /// Its number.
    version: u64,
}

/// The configuration as TOML: the one in force, or a kept one by its number.
#[utoipa::path(get, path = "/v1/config", tag = "config",
    params(("version" = Option<u64>, Query, description = "Number of a kept version")),
    responses((status = 200, description = "application/toml, its number as ETag", body = String),
        (status = 404, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn show(State(api): State<Api>, uri: Uri) -> Result<Response, Problem> {
    let query = input::query(&uri, &["version"])?;
    let config = find(&api, input::number(&query, "version")?)?;
    let headers = [(CONTENT_TYPE, "application/toml".to_owned()), (ETAG, etag(config.version))];
    Ok((headers, config.text.to_string()).into_response())
}

/// Numbers of the kept versions.
#[utoipa::path(get, path = "/v1/config/versions", tag = "config", responses((status = 200, body = Versions)))]
pub(crate) async fn versions(State(api): State<Api>) -> Result<Json<Versions>, Problem> {
    let current = find(&api, None)?.version;
    let version = |(version, applied): (u64, base::Wall)| Version { version, applied: applied.to_string() };
    Ok(Json(Versions { current, versions: api.engine.versions().into_iter().map(version).collect() }))
}

/// Puts a configuration in force, whole or not at all; calls in progress keep what they started with.
#[utoipa::path(put, path = "/v1/config", tag = "config",
    params(("If-Match" = Option<String>, Header, description = "ETag of the version that is to be replaced")),
    request_body(content = String, content_type = "application/toml"),
    responses((status = 200, body = Applied), (status = 409, body = Problem), (status = 412, body = Problem),
        (status = 413, body = Problem), (status = 415, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn replace(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let expected = expected(&headers)?;
    let text = toml_text(&api, &headers, body).await?;
    apply(api, text, expected).await
}

/// Checks a configuration and changes nothing.
#[utoipa::path(post, path = "/v1/config/validate", tag = "config",
    request_body(content = String, content_type = "application/toml"),
    responses((status = 200, body = Valid), (status = 422, body = Problem)))]
pub(crate) async fn validate(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Valid>, Problem> {
    let text = toml_text(&api, &headers, body).await?;
    check(&api, text).await?;
    Ok(Json(Valid { valid: true }))
}

/// Says what a configuration would change, and changes nothing.
#[utoipa::path(post, path = "/v1/config/diff", tag = "config",
    request_body(content = String, content_type = "application/toml"),
    responses((status = 200, body = Diff), (status = 422, body = Problem)))]
pub(crate) async fn diff(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Diff>, Problem> {
    let text = toml_text(&api, &headers, body).await?;
    check(&api, text.clone()).await?;
    let current = find(&api, None)?;
    let not_toml = || Problem::fields(vec![Fault { expected: "TOML".into(), ..Fault::default() }]);
    let before = objects::read(&current.text).unwrap_or_default();
    let after = objects::read(&text).ok_or_else(not_toml)?;
    Ok(Json(Diff { version: current.version, changes: changes(&before, &after) }))
}

/// Puts a kept version in force again, under a new number.
#[utoipa::path(post, path = "/v1/config/rollback", tag = "config", request_body = Rollback,
    params(("If-Match" = Option<String>, Header, description = "ETag of the version that is to be replaced")),
    responses((status = 200, body = Applied), (status = 404, body = Problem), (status = 409, body = Problem),
        (status = 412, body = Problem), (status = 422, body = Problem)))]
pub(crate) async fn rollback(
    State(api): State<Api>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let expected = expected(&headers)?;
    let Rollback { version } = input::json(&api.limits, body).await?;
    let text = find(&api, Some(version))?.text.to_string();
    apply(api, text, expected).await
}

fn find(api: &Api, version: Option<u64>) -> Result<ConfigVersion, Problem> {
    let missing = || match version {
        Some(version) => {
            Problem::new(Class::NotFound, format!("version {version} is not kept; see /v1/config/versions"))
        }
        None => Problem::new(Class::NotFound, "no configuration is in force"),
    };
    api.engine.config(version).ok_or_else(missing)
}

fn etag(version: u64) -> String {
    format!("\"{version}\"")
}

/// The version that `If-Match` names; `None` for any.
fn expected(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let Some(value) = headers.get(IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or("").trim();
    if text == "*" {
        return Ok(None);
    }
    let number =
        text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| Problem::field("If-Match", "an ETag of /v1/config, or *"))
}

async fn toml_text(api: &Api, headers: &HeaderMap, body: Body) -> Result<String, Problem> {
    if input::is_json(headers) {
        return Err(Problem::new(Class::MediaType, "a configuration is sent as application/toml"));
    }
    input::text(&api.limits, body).await
}

/// Validation of a large file takes its time: the other requests go on meanwhile.
async fn check(api: &Api, text: String) -> Result<(), Problem> {
    let engine = api.engine.clone();
    let done = tokio::task::spawn_blocking(move || engine.validate(&text)).await;
    done.map_err(|_| panicked())?.map_err(Problem::fields)
}

async fn apply(api: Api, text: String, expected: Option<u64>) -> Result<Response, Problem> {
    let engine = api.engine.clone();
    let done = tokio::task::spawn_blocking(move || engine.apply(&text, expected)).await;
    match done.map_err(|_| panicked())? {
        Ok(version) => Ok(([(ETAG, etag(version))], Json(Applied { version })).into_response()),
        Err(ApplyError::Invalid(faults)) => Err(Problem::fields(faults)),
        Err(ApplyError::Stale { version }) => {
            Err(Problem::new(Class::Stale, format!("version {version} is in force by now")))
        }
        Err(ApplyError::Refused(why)) => Err(Problem::new(Class::WrongState, why)),
    }
}

fn panicked() -> Problem {
    Problem::new(Class::Internal, "the configuration could not be examined; nothing has changed")
}

/// The keys that differ between two files.
fn changes(before: &Value, after: &Value) -> Vec<Change> {
    let (mut old, mut new) = (BTreeMap::new(), BTreeMap::new());
    flatten(String::new(), before, &mut old);
    flatten(String::new(), after, &mut new);
    let mut paths: Vec<&String> =
        old.keys().chain(new.keys().filter(|path| !old.contains_key(*path))).collect();
    paths.sort();
    let value =
        |side: &BTreeMap<String, Value>, path: &String| side.get(path).cloned().unwrap_or(Value::Null);
    paths
        .into_iter()
        .map(|path| Change { path: path.clone(), before: value(&old, path), after: value(&new, path) })
        .filter(|change| change.before != change.after)
        .collect()
}

/// Leaves by path. Objects in ordered lists go by their name, or by their place.
fn flatten(path: String, value: &Value, out: &mut BTreeMap<String, Value>) {
    let join = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(table) if !table.is_empty() => {
            for (key, value) in table {
                flatten(join(key), value, out);
            }
        }
        Value::Array(list) if list.iter().any(Value::is_object) => {
            for (i, value) in list.iter().enumerate() {
                let name = value.get("name").and_then(Value::as_str).map(str::to_owned);
                flatten(join(&name.unwrap_or_else(|| (i + 1).to_string())), value, out);
            }
        }
        leaf => {
            out.insert(path, leaf.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_names_keys_and_both_values() {
        let before = objects::read("trunk.a = '10.0.0.1'\n[[route]]\nfrom = 'a'\nvia = 'b'").unwrap();
        let after =
            objects::read("trunk.a = '10.0.0.2'\ntrunk.c.to = ['x', 'y']\n[[route]]\nfrom = 'a'\nvia = 'b'")
                .unwrap();
        let lines: Vec<String> = changes(&before, &after)
            .iter()
            .map(|c| format!("{}: {} -> {}", c.path, c.before, c.after))
            .collect();
        assert_eq!(lines, ["trunk.a: \"10.0.0.1\" -> \"10.0.0.2\"", "trunk.c.to: null -> [\"x\",\"y\"]"]);
        assert!(changes(&before, &before).is_empty());
    }

    #[test]
    fn if_match_is_an_etag_or_a_star() {
        let of = |text: &str| expected(&HeaderMap::from_iter([(IF_MATCH, text.parse().unwrap())])).ok();
        assert_eq!((of("\"3\""), of("*"), of("3"), of("W/\"3\"")), (Some(Some(3)), Some(None), None, None));
    }
}
