//! `/v1/listeners`, `trunks`, `groups`, `routes`, `number_rules`, `policies`: the objects of the configuration in force, to read.
//! They are shown as they are written in the file, whose schema is the API's; secrets that stand in it are not shown.

use crate::problem::{Class, Problem};
use crate::server::Api;
use crate::standing::TrunkStatus;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use toml::de::{DeTable, DeValue};
use utoipa::ToSchema;

/// Objects of one kind, in the order that counts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ObjectList {
    /// Version of the configuration that they are from.
    version: u64,
    /// The objects.
    objects: Vec<Object>,
}

/// One object of the configuration.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Object {
    /// Its name.
    name: String,
    /// Its keys as written in the file.
    settings: Value,
    /// Trunks: calls that exist now, by direction as seen from us.
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<BTreeMap<&'static str, i64>>,
    /// Trunks: whether they are called.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<TrunkStatus>,
}

/// A kind of object that can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Listener,
    Trunk,
    Group,
    Route,
    NumberRule,
    Policy,
}

impl Kind {
    /// The table of the file.
    fn key(self) -> &'static str {
        match self {
            Kind::Listener => "listener",
            Kind::Trunk => "trunk",
            Kind::Group => "group",
            Kind::Route => "route",
            Kind::NumberRule => "number_rule",
            Kind::Policy => "policy",
        }
    }
}

macro_rules! listings {
    ($($list:ident $show:ident $kind:ident $path:literal $one:literal $all_of:tt $one_of:tt;)+) => {
        $(
            #[doc = $all_of]
            #[utoipa::path(get, path = $path, tag = "objects", responses((status = 200, body = ObjectList)))]
            pub(crate) async fn $list(State(api): State<Api>) -> Result<Json<ObjectList>, Problem> {
                list(&api, Kind::$kind).map(Json)
            }

            #[doc = $one_of]
            #[utoipa::path(get, path = $one, tag = "objects", params(("name" = String, Path, description = "Its name")),
                responses((status = 200, body = Object), (status = 404, body = Problem)))]
            pub(crate) async fn $show(State(api): State<Api>, Path(name): Path<String>) -> Result<Response, Problem> {
                show(&api, Kind::$kind, &name)
            }
        )+
    };
}

listings! {
    listeners listener Listener "/v1/listeners" "/v1/listeners/{name}"
        "Listeners of the configuration in force." "One listener.";
    trunks trunk Trunk "/v1/trunks" "/v1/trunks/{name}"
        "Trunks of the configuration in force, with their state and the calls on each now."
        "One trunk, with its state and its calls.";
    groups group Group "/v1/groups" "/v1/groups/{name}"
        "Groups of the configuration in force." "One group.";
    routes route Route "/v1/routes" "/v1/routes/{name}"
        "Routes of the configuration in force, in the order of the file." "One route.";
    number_rules number_rule NumberRule "/v1/number_rules" "/v1/number_rules/{name}"
        "Number rules of the configuration in force, in the order of the file." "One number rule.";
    policies policy Policy "/v1/policies" "/v1/policies/{name}"
        "Policies of the configuration in force." "One policy.";
}

fn list(api: &Api, kind: Kind) -> Result<ObjectList, Problem> {
    let no_config = || Problem::new(Class::Internal, "no configuration is in force");
    let config = api.engine.config(None).ok_or_else(no_config)?;
    let mut objects = objects(&config.text, kind);
    if kind == Kind::Trunk {
        let mut calls: BTreeMap<String, BTreeMap<&'static str, i64>> = BTreeMap::new();
        for stats in api.engine.signalling() {
            for (labels, n) in stats.calls_active.snapshot() {
                let [trunk, direction] = &labels[..] else { continue };
                let direction = if direction == "in" { "in" } else { "out" };
                *calls.entry(trunk.clone()).or_default().entry(direction).or_default() += n;
            }
        }
        let mut states: BTreeMap<String, TrunkStatus> =
            api.engine.trunks().into_iter().map(|status| (status.trunk.clone(), status)).collect();
        for object in &mut objects {
            object.status = states.remove(&object.name);
            let mut of_trunk = BTreeMap::from([("in", 0), ("out", 0)]);
            of_trunk.extend(calls.remove(&object.name).unwrap_or_default());
            object.calls = Some(of_trunk);
        }
    }
    Ok(ObjectList { version: config.version, objects })
}

fn show(api: &Api, kind: Kind, name: &str) -> Result<Response, Problem> {
    let list = list(api, kind)?;
    let object = list.objects.into_iter().find(|object| object.name == name);
    let missing = || Problem::new(Class::NotFound, format!("there is no {} named {name}", kind.key()));
    let object = object.ok_or_else(missing)?;
    Ok(([("etag", format!("\"{}\"", list.version))], Json(object)).into_response())
}

fn objects(text: &str, kind: Kind) -> Vec<Object> {
    // It was validated when it was put in force.
    let Some(Value::Object(mut file)) = read(text) else { return Vec::new() };
    match file.remove(kind.key()) {
        Some(Value::Object(tables)) => tables
            .into_iter()
            .map(|(name, settings)| {
                // `trunk.x = "HOST"` is short for its address.
                let settings = if settings.is_string() { json!({ "address": settings }) } else { settings };
                Object { name, settings, calls: None, status: None }
            })
            .collect(),
        Some(Value::Array(list)) => list
            .into_iter()
            .enumerate()
            .map(|(i, settings)| {
                let given = settings.get("name").and_then(Value::as_str).map(str::to_owned);
                let name = given.unwrap_or_else(|| format!("{}-{}", kind.key().replace('_', "-"), i + 1));
                Object { name, settings, calls: None, status: None }
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// A TOML text as JSON, without the secrets that stand in it; `None` if it is no TOML.
pub(crate) fn read(text: &str) -> Option<Value> {
    DeTable::parse(text).ok().map(|table| of_table(table.get_ref()))
}

fn of_table(table: &DeTable<'_>) -> Value {
    let entry = |(key, value): (&toml::Spanned<toml::de::DeString<'_>>, &toml::Spanned<DeValue<'_>>)| {
        let (key, value) = (key.get_ref().to_string(), of_value(value.get_ref()));
        let value = if is_secret(&key) { hidden(value) } else { value };
        (key, value)
    };
    Value::Object(table.iter().map(entry).collect::<Map<_, _>>())
}

fn of_value(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or_else(|_| json!(integer.as_str()), Value::from),
        DeValue::Float(float) => {
            float.as_str().parse::<f64>().map_or_else(|_| json!(float.as_str()), |number| json!(number))
        }
        DeValue::Boolean(on) => Value::Bool(*on),
        DeValue::Datetime(at) => Value::String(at.to_string()),
        DeValue::Array(list) => Value::Array(list.iter().map(|value| of_value(value.get_ref())).collect()),
        DeValue::Table(table) => of_table(table),
    }
}

fn is_secret(key: &str) -> bool {
    matches!(key, "password" | "token" | "secret" | "key" | "passphrase")
}

/// Where a secret comes from may be seen, the secret itself not.
fn hidden(value: Value) -> Value {
    match value.as_str() {
        Some(text) if text.starts_with("env:") || text.starts_with("file:") => value,
        _ => json!("(hidden)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_shown_as_written_but_without_secrets() {
        let text = r#"
            listener.main = { sip = "udp:0.0.0.0:5060" }
            trunk.pbx = "10.0.0.2"
            [trunk.acme]
            auth = { user = "u", password = "geheim" }
            also = { password = "env:PW", n = 0x1f, f = 0.5, on = true, at = 2026-11-21 }
            [[route]]
            from = "pbx"
            [[route]]
            name = "us"
            to = ["+1X.", "+44"]
        "#;
        let show = |kind| serde_json::to_string(&objects(text, kind)).unwrap();
        assert_eq!(show(Kind::Listener), r#"[{"name":"main","settings":{"sip":"udp:0.0.0.0:5060"}}]"#);
        assert_eq!(
            show(Kind::Trunk),
            concat!(
                r#"[{"name":"acme","settings":{"also":{"at":"2026-11-21","f":0.5,"n":31,"on":true,"password":"env:PW"},"#,
                r#""auth":{"password":"(hidden)","user":"u"}}},{"name":"pbx","settings":{"address":"10.0.0.2"}}]"#
            )
        );
        assert_eq!(
            show(Kind::Route),
            r#"[{"name":"route-1","settings":{"from":"pbx"}},{"name":"us","settings":{"name":"us","to":["+1X.","+44"]}}]"#
        );
        assert_eq!(show(Kind::NumberRule), "[]");
    }
}
