//! Every route in one table, with the role that it needs; and the same routes as OpenAPI.

use crate::auth::{Role, guard};
use crate::problem::uniform;
use crate::server::Api;
use crate::{bans, calls, cdrs, configuration, debug, events, explain, fraud, objects, operation, trunks};
use crate::{forks, media, recordings, rooms};
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, delete, get, post, put};
use serde_json::{Value, json};
use std::sync::LazyLock;
use utoipa::OpenApi;

struct Route {
    method: &'static str,
    path: &'static str,
    /// `None`: open to anybody, since it tells nothing of calls or configuration.
    role: Option<Role>,
    handler: MethodRouter<Api>,
}

fn all() -> Vec<Route> {
    use Role::{Admin, Calls, Read};
    let route = |method, path, role: Option<Role>, handler| Route { method, path, role, handler };
    vec![
        route("get", "/v1/calls", Some(Read), get(calls::list)),
        route("get", "/v1/calls/{id}", Some(Read), get(calls::show)),
        route("delete", "/v1/calls/{id}", Some(Calls), delete(calls::hangup)),
        route("get", "/v1/calls/{id}/trace", Some(Read), get(calls::trace)),
        route("post", "/v1/calls/{id}/play", Some(Calls), post(media::play)),
        route("post", "/v1/calls/{id}/stop", Some(Calls), post(media::stop)),
        route("post", "/v1/calls/{id}/dtmf", Some(Calls), post(media::dtmf)),
        route("post", "/v1/calls/{id}/record", Some(Calls), post(media::record)),
        route("post", "/v1/calls/{id}/fork", Some(Calls), post(forks::call)),
        route("post", "/v1/calls/{id}/mute", Some(Calls), post(media::mute)),
        route("post", "/v1/calls/{id}/hold", Some(Calls), post(media::hold)),
        route("post", "/v1/calls/{id}/join", Some(Calls), post(rooms::join)),
        route("post", "/v1/calls/{id}/leave", Some(Calls), post(rooms::leave)),
        route("get", "/v1/rooms", Some(Read), get(rooms::list)),
        route("get", "/v1/rooms/{name}", Some(Read), get(rooms::show)),
        route("put", "/v1/rooms/{name}", Some(Calls), put(rooms::put)),
        route("delete", "/v1/rooms/{name}", Some(Calls), delete(rooms::end)),
        route("put", "/v1/rooms/{name}/calls/{id}", Some(Calls), put(rooms::seat)),
        route("delete", "/v1/rooms/{name}/calls/{id}", Some(Calls), delete(rooms::unseat)),
        route("post", "/v1/rooms/{name}/play", Some(Calls), post(rooms::play)),
        route("post", "/v1/rooms/{name}/stop", Some(Calls), post(rooms::stop)),
        route("post", "/v1/rooms/{name}/record", Some(Calls), post(rooms::record)),
        route("post", "/v1/rooms/{name}/fork", Some(Calls), post(forks::room)),
        // What people said is not for everybody who may look at figures.
        route("get", "/v1/recordings", Some(Calls), get(recordings::list)),
        route("get", "/v1/recordings/{id}", Some(Calls), get(recordings::show)),
        route("get", "/v1/recordings/{id}/file", Some(Calls), get(recordings::file)),
        route("delete", "/v1/recordings/{id}", Some(Calls), delete(recordings::delete)),
        route("get", "/v1/cdrs", Some(Read), get(cdrs::list)),
        route("get", "/v1/listeners", Some(Read), get(objects::listeners)),
        route("get", "/v1/listeners/{name}", Some(Read), get(objects::listener)),
        route("get", "/v1/trunks", Some(Read), get(objects::trunks)),
        route("get", "/v1/trunks/{name}", Some(Read), get(objects::trunk)),
        route("get", "/v1/trunks/{name}/status", Some(Read), get(trunks::status)),
        route("post", "/v1/trunks/{name}/disable", Some(Admin), post(trunks::disable)),
        route("post", "/v1/trunks/{name}/enable", Some(Admin), post(trunks::enable)),
        route("get", "/v1/groups", Some(Read), get(objects::groups)),
        route("get", "/v1/groups/{name}", Some(Read), get(objects::group)),
        route("get", "/v1/groups/{name}/status", Some(Read), get(trunks::group)),
        route("get", "/v1/limits", Some(Read), get(trunks::limits)),
        route("post", "/v1/route/explain", Some(Read), post(explain::explain)),
        route("get", "/v1/routes", Some(Read), get(objects::routes)),
        route("get", "/v1/routes/{name}", Some(Read), get(objects::route)),
        route("get", "/v1/number_rules", Some(Read), get(objects::number_rules)),
        route("get", "/v1/number_rules/{name}", Some(Read), get(objects::number_rule)),
        route("get", "/v1/policies", Some(Read), get(objects::policies)),
        route("get", "/v1/policies/{name}", Some(Read), get(objects::policy)),
        route("get", "/v1/bans", Some(Read), get(bans::list)),
        route("post", "/v1/bans", Some(Admin), post(bans::add)),
        route("delete", "/v1/bans", Some(Admin), delete(bans::remove)),
        route("post", "/v1/fraud/reset", Some(Admin), post(fraud::reset)),
        route("get", "/v1/events", Some(Read), get(events::follow)),
        // The text of a configuration may hold passwords.
        route("get", "/v1/config", Some(Admin), get(configuration::show)),
        route("put", "/v1/config", Some(Admin), put(configuration::replace)),
        route("get", "/v1/config/versions", Some(Admin), get(configuration::versions)),
        route("post", "/v1/config/validate", Some(Admin), post(configuration::validate)),
        route("post", "/v1/config/diff", Some(Admin), post(configuration::diff)),
        route("post", "/v1/config/rollback", Some(Admin), post(configuration::rollback)),
        route("post", "/v1/drain", Some(Admin), post(operation::drain)),
        route("get", "/v1/log", Some(Admin), get(operation::log)),
        route("put", "/v1/log", Some(Admin), put(operation::set_log)),
        route("get", "/metrics", Some(Read), get(operation::metrics)),
        route("get", "/healthz", None, get(operation::health)),
        route("get", "/readyz", None, get(operation::ready)),
        route("get", "/openapi.json", None, get(operation::openapi)),
        route("get", "/docs", None, get(operation::docs)),
    ]
}

/// The router, with the guard of each route inside and the form of errors outside.
pub(crate) fn router(api: Api) -> Router {
    let mut router = Router::new();
    for Route { path, role, handler, .. } in all() {
        router = router.route(path, handler.route_layer(from_fn_with_state((api.clone(), role), guard)));
    }
    if api.engine.may_fail() {
        let admin = from_fn_with_state((api.clone(), Some(Role::Admin)), guard);
        router = router.route("/v1/debug/panic", post(debug::panic).route_layer(admin));
    }
    router.layer(from_fn(uniform)).with_state(api)
}

/// The description, made once.
pub(crate) fn openapi() -> &'static str {
    &TEXT
}

static TEXT: LazyLock<String> = LazyLock::new(|| description().to_string());

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Strowger",
        description = "Control API of the Strowger session border controller and media engine.",
        version = env!("CARGO_PKG_VERSION"),
    ),
    paths(
        calls::list, calls::show, calls::hangup, calls::trace, cdrs::list,
        media::play, media::stop, media::dtmf, media::record, media::mute, media::hold,
        rooms::join, rooms::leave, rooms::list, rooms::show, rooms::put, rooms::end, rooms::seat, rooms::unseat,
        rooms::play, rooms::stop, rooms::record, forks::call, forks::room,
        recordings::list, recordings::show, recordings::file, recordings::delete,
        objects::listeners, objects::listener, objects::trunks, objects::trunk,
        trunks::status, trunks::disable, trunks::enable,
        objects::groups, objects::group, trunks::group, trunks::limits, explain::explain,
        objects::routes, objects::route, objects::number_rules, objects::number_rule,
        objects::policies, objects::policy,
        bans::list, bans::add, bans::remove, fraud::reset, events::follow,
        configuration::show, configuration::replace, configuration::versions,
        configuration::validate, configuration::diff, configuration::rollback,
        operation::drain, operation::log, operation::set_log, operation::metrics,
        operation::health, operation::ready, operation::openapi, operation::docs,
    ),
)]
struct Description;

/// What the macros cannot know is added here: which role each route needs, and that errors are problem+json.
fn description() -> Value {
    let mut api = serde_json::to_value(Description::openapi()).expect("the description is plain data");
    api["components"]["securitySchemes"] = json!({ "token": { "type": "http", "scheme": "bearer" } });
    for Route { method, path, role, .. } in all() {
        let operation = &mut api["paths"][path][method];
        match role {
            Some(role) => {
                operation["security"] = json!([{ "token": [] }]);
                operation["x-role"] = json!(role.name());
            }
            None => operation["security"] = json!([]),
        }
        let Some(responses) = operation["responses"].as_object_mut() else { continue };
        for response in responses.values_mut() {
            let content = &mut response["content"];
            let problem = json!({ "$ref": "#/components/schemas/Problem" });
            if content["application/json"]["schema"] == problem {
                *content = json!({ "application/problem+json": { "schema": problem } });
            } else if content.is_null()
                && let Some(response) = response.as_object_mut()
            {
                response.remove("content");
            }
        }
    }
    api
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_description_lists_exactly_the_routes_that_exist() {
        let api = serde_json::to_value(Description::openapi()).unwrap();
        let described: BTreeSet<(String, String)> = api["paths"]
            .as_object()
            .unwrap()
            .iter()
            .flat_map(|(path, methods)| {
                methods.as_object().unwrap().keys().map(|m| (m.clone(), path.clone()))
            })
            .collect();
        let existing: BTreeSet<(String, String)> =
            all().iter().map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
        assert_eq!(described, existing);
    }

    #[test]
    fn each_operation_says_its_role_and_what_it_does() {
        let api = description();
        for Route { method, path, role, .. } in all() {
            let operation = &api["paths"][path][method];
            assert_eq!(operation["x-role"].as_str(), role.map(Role::name), "{method} {path}");
            assert!(operation["summary"].as_str().is_some_and(|text| text.ends_with('.')), "{method} {path}");
        }
        let wrong = &api["paths"]["/v1/calls/{id}"]["get"]["responses"]["404"]["content"];
        assert!(wrong["application/problem+json"].is_object(), "{wrong}");
    }

    #[test]
    fn every_route_is_documented() {
        let page = include_str!("../../../docs/api.md");
        for Route { method, path, role, .. } in all() {
            let row = format!("| `{} {path}` | {} |", method.to_uppercase(), role.map_or("open", Role::name));
            assert!(page.contains(&row), "docs/api.md lacks {row}");
        }
    }
}
