//! Aliases: second names for indices. `_alias` and `_aliases`.
//!
//! An alias keeps the concrete names it was put on. One on `logs` grows with every new day of `logs`.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::routing::{get, put};
use axum::{Json, Router};
use bytes::Bytes;
use event::IndexName;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::cat::is_listed;
use super::error::{Cause, ElasticError};
use super::indices::{delete_resolved, names_of};
use super::params::Params;
use super::registry::{Change, Kind};
use super::state::ElasticState;
use super::target::{Names, Pattern, TargetOptions};

type Reply = Result<Json<Value>, ElasticError>;

/// The most actions of one request.
const ACTIONS_MAX: usize = 1_000;

/// The routes of aliases.
pub fn routes(state: ElasticState) -> Router {
    let mut router = Router::new()
        .route("/_aliases", get(list_all).post(change_aliases))
        .route("/_alias", get(list_all))
        .route("/_alias/{names}", get(list_named));
    for name in ["_alias", "_aliases"] {
        router = router
            .route(&format!("/{{target}}/{name}"), get(list_of))
            .route(
                &format!("/{{target}}/{name}/{{names}}"),
                get(list_named_of).merge(put(add_one).post(add_one).delete(remove_one)),
            );
    }
    router.with_state(state)
}

async fn list_all(State(state): State<ElasticState>, params: Params) -> Reply {
    list(&state, "*", None, &params)
}

async fn list_named(
    State(state): State<ElasticState>,
    Path(names): Path<String>,
    params: Params,
) -> Reply {
    list(&state, "*", Some(&names), &params)
}

async fn list_of(
    State(state): State<ElasticState>,
    Path(target): Path<String>,
    params: Params,
) -> Reply {
    list(&state, &target, None, &params)
}

async fn list_named_of(
    State(state): State<ElasticState>,
    Path((target, names)): Path<(String, String)>,
    params: Params,
) -> Reply {
    list(&state, &target, Some(&names), &params)
}

/// By concrete index. Without names every index is there, with them those that have such an alias.
fn list(state: &ElasticState, target: &str, wanted: Option<&str>, params: &Params) -> Reply {
    let options = TargetOptions {
        expand_hidden: true,
        ..TargetOptions::default()
    };
    let resolved = state.resolve(target, params, options)?;
    let names = state.names();
    let mut reply = Map::new();
    for index in names_of(&resolved) {
        let mut aliases = of_index(state, &names, &index);
        if let Some(wanted) = wanted {
            aliases.retain(|alias, _| is_listed(wanted, alias));
            if aliases.is_empty() {
                continue;
            }
        }
        reply.insert(index, json!({ "aliases": aliases }));
    }
    match wanted {
        Some(wanted) if reply.is_empty() && !Pattern::is_wildcard(wanted) => {
            Err(ElasticError::alias_missing(wanted))
        }
        _ => Ok(Json(Value::Object(reply))),
    }
}

/// The aliases of one concrete index, with their properties.
pub(super) fn of_index(state: &ElasticState, names: &Names, index: &str) -> Map<String, Value> {
    let mut aliases = Map::new();
    for (alias, members) in state.registry().entries(Kind::Alias) {
        let mut members = members.as_object().into_iter().flatten();
        if let Some((_, properties)) = members.find(|(member, _)| names.holds(member, index)) {
            aliases.insert(alias, properties.clone());
        }
    }
    aliases
}

/// The change that puts an alias on some indices.
pub(super) fn added(
    state: &ElasticState,
    names: &Names,
    alias: &str,
    members: &[String],
    properties: Value,
) -> Result<Change, ElasticError> {
    let mut table = Table::of(state);
    table.add(names, alias, members, &properties)?;
    let members = table.aliases.remove(alias).unwrap_or_default();
    Ok(Change::Put(
        Kind::Alias,
        alias.to_owned(),
        Value::Object(members),
    ))
}

/// The changes that take indices that go out of all aliases.
pub(super) fn without_members(state: &ElasticState, gone: &[String]) -> Vec<Change> {
    let mut table = Table::of(state);
    for members in table.aliases.values_mut() {
        members.retain(|member, _| !gone.contains(member));
    }
    table.into_changes(state)
}

async fn add_one(
    State(state): State<ElasticState>,
    Path((target, alias)): Path<(String, String)>,
    body: Bytes,
) -> Reply {
    let properties = match body.iter().all(u8::is_ascii_whitespace) {
        true => json!({}),
        false => serde_json::from_slice(&body).map_err(|error| ElasticError::json_parse(&error))?,
    };
    let names = state.names();
    let members = members_of(&state, &names, &target)?;
    let change = added(&state, &names, &alias, &members, properties)?;
    state.change(vec![change]).await?;
    Ok(Json(json!({ "acknowledged": true })))
}

async fn remove_one(
    State(state): State<ElasticState>,
    Path((target, aliases)): Path<(String, String)>,
) -> Reply {
    let names = state.names();
    let mut table = Table::of(&state);
    let members = members_of(&state, &names, &target)?;
    if !table.remove(&names, &aliases, &members) {
        return Err(ElasticError::aliases_not_found(&aliases));
    }
    state.change(table.into_changes(&state)).await?;
    Ok(Json(json!({ "acknowledged": true })))
}

#[derive(Deserialize)]
struct AliasesBody {
    actions: Vec<BTreeMap<String, Action>>,
}

#[derive(Deserialize)]
struct Action {
    index: Option<String>,
    #[serde(default)]
    indices: Vec<String>,
    alias: Option<String>,
    #[serde(default)]
    aliases: Vec<String>,
    must_exist: Option<bool>,
    /// What becomes the alias' properties: `filter`, `is_write_index`, `routing`.
    #[serde(flatten)]
    properties: Map<String, Value>,
}

/// All actions happen, or none: dashboards swap an alias from one index to the next in one request.
async fn change_aliases(State(state): State<ElasticState>, params: Params, body: Bytes) -> Reply {
    let body: AliasesBody =
        serde_json::from_slice(&body).map_err(|error| ElasticError::json_parse(&error))?;
    if body.actions.len() > ACTIONS_MAX {
        return Err(ElasticError::illegal_argument(format!(
            "[{}] actions are more than [{ACTIONS_MAX}]",
            body.actions.len()
        )));
    }
    let names = state.names();
    let mut table = Table::of(&state);
    let mut removed_indices = Vec::new();
    for (name, action) in body.actions.iter().flatten() {
        let target = action.target()?;
        match name.as_str() {
            "add" => {
                let members = members_of(&state, &names, &target)?;
                for alias in action.aliases() {
                    let properties = Value::Object(action.properties.clone());
                    table.add(&names, alias, &members, &properties)?;
                }
            }
            "remove" => {
                let members = members_of(&state, &names, &target)?;
                for alias in action.aliases() {
                    let is_found = table.remove(&names, alias, &members);
                    if !is_found && action.must_exist != Some(false) {
                        return Err(ElasticError::aliases_not_found(alias));
                    }
                }
            }
            "remove_index" => removed_indices.push(target),
            other => {
                return Err(ElasticError::illegal_argument(format!(
                    "unknown action [{other}], expected add, remove or remove_index"
                )));
            }
        }
    }
    for target in &removed_indices {
        let resolved = state.resolve(target, &params, TargetOptions::default())?;
        delete_resolved(&state, resolved, std::slice::from_ref(target)).await?;
        for members in table.aliases.values_mut() {
            members.retain(|member, _| member != target);
        }
    }
    state.change(table.into_changes(&state)).await?;
    Ok(Json(json!({ "acknowledged": true })))
}

impl Action {
    fn target(&self) -> Result<String, ElasticError> {
        let names = self.index.iter().chain(&self.indices);
        let names: Vec<&str> = names.map(String::as_str).collect();
        if names.is_empty() {
            return Err(ElasticError::validation(
                "One of [index] or [indices] is required",
            ));
        }
        Ok(names.join(","))
    }

    fn aliases(&self) -> impl Iterator<Item = &str> {
        self.alias.iter().chain(&self.aliases).map(String::as_str)
    }
}

/// The names an alias is put on: as they were written, wildcards as what they match now.
fn members_of(
    state: &ElasticState,
    names: &Names,
    target: &str,
) -> Result<Vec<String>, ElasticError> {
    let mut members = Vec::new();
    for part in target
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
    {
        let is_pattern = Pattern::is_wildcard(part) || part == "_all";
        let resolved = names.resolve(part, &TargetOptions::default(), state.now())?;
        if is_pattern || state.registry().entry(Kind::Alias, part).is_some() {
            members.extend(names_of(&resolved));
        } else {
            members.push(part.to_owned());
        }
    }
    Ok(members)
}

/// All aliases while they are changed.
struct Table {
    aliases: BTreeMap<String, Map<String, Value>>,
}

impl Table {
    fn of(state: &ElasticState) -> Table {
        let entries = state.registry().entries(Kind::Alias).into_iter();
        let aliases = entries.map(|(alias, members)| match members {
            Value::Object(members) => (alias, members),
            _ => (alias, Map::new()),
        });
        Table {
            aliases: aliases.collect(),
        }
    }

    fn add(
        &mut self,
        names: &Names,
        alias: &str,
        members: &[String],
        properties: &Value,
    ) -> Result<(), ElasticError> {
        let invalid = |problem: &str| {
            let cause = Cause::new(
                "invalid_alias_name_exception",
                format!("Invalid alias name [{alias}], {problem}"),
            );
            ElasticError::cause(StatusCode::BAD_REQUEST, cause)
        };
        if let Err(error) = IndexName::parse(alias) {
            return Err(invalid(error.problem));
        }
        if names.is_index(alias) {
            return Err(invalid(
                "an index or data stream exists with the same name as the alias",
            ));
        }
        let known = self.aliases.entry(alias.to_owned()).or_default();
        for member in members {
            known.insert(member.clone(), properties.clone());
        }
        Ok(())
    }

    /// Whether an alias in the list stood for one of the members.
    fn remove(&mut self, names: &Names, aliases: &str, members: &[String]) -> bool {
        let mut is_found = false;
        for (alias, known) in &mut self.aliases {
            if !is_listed(aliases, alias) {
                continue;
            }
            let before = known.len();
            known.retain(|member, _| !members.iter().any(|gone| names.holds(gone, member)));
            is_found |= known.len() < before;
        }
        is_found
    }

    /// Aliases that stand for nothing are gone.
    fn into_changes(self, state: &ElasticState) -> Vec<Change> {
        let changes = self.aliases.into_iter().filter_map(|(alias, members)| {
            if members.is_empty() {
                return Some(Change::Delete(Kind::Alias, alias));
            }
            let members = Value::Object(members);
            let is_changed = state.registry().entry(Kind::Alias, &alias).as_ref() != Some(&members);
            is_changed.then_some(Change::Put(Kind::Alias, alias, members))
        });
        changes.collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::World;

    #[tokio::test]
    async fn an_alias_is_a_name_for_what_it_stands_for() {
        let world = World::new();
        let add = r#"{"actions":[{"add":{"index":"logs","alias":"all"}},{"add":{"indices":["nginx"],"aliases":["all","web"],"is_write_index":true}}]}"#;
        assert_eq!(
            world.call("POST", "/_aliases", add).await.text,
            r#"{"acknowledged":true}"#
        );
        assert_eq!(world.fetch("/_cat/count/all?h=count").await.text, "3\n");
        assert_eq!(
            world.fetch_json("/_alias/all").await,
            json!({
                "logs-2026.11.22": {"aliases": {"all": {}}},
                "logs-2026.11.23": {"aliases": {"all": {}}},
                "nginx-2026.11.23": {"aliases": {"all": {"is_write_index": true}}},
            })
        );
        let both = world.fetch_json("/nginx/_alias").await;
        assert_eq!(
            both["nginx-2026.11.23"]["aliases"]
                .as_object()
                .unwrap()
                .len(),
            2
        );
        assert_eq!(world.call("HEAD", "/_alias/web", "").await.status, 200);
        assert_eq!(
            world
                .fetch_json("/_alias/w*")
                .await
                .as_object()
                .unwrap()
                .len(),
            1
        );
        assert_eq!(world.fetch("/logs/_alias/web").await.status, 404);

        let reply = world.fetch("/_alias/missing").await;
        assert_eq!(
            (reply.status.as_u16(), reply.text.as_str()),
            (404, r#"{"error":"alias [missing] missing","status":404}"#)
        );
        assert_eq!(world.fetch_json("/_alias/missing*").await, json!({}));
        assert_eq!(world.call("HEAD", "/_alias/missing", "").await.status, 404);
    }

    #[tokio::test]
    async fn a_swap_happens_whole_or_not_at_all() {
        let world = World::new();
        world
            .call("PUT", "/.kibana_1", r#"{"aliases":{".kibana":{}}}"#)
            .await;
        world.call("PUT", "/.kibana_2", "").await;
        let broken = r#"{"actions":[{"remove":{"index":".kibana_1","alias":".kibana"}},{"add":{"index":"missing","alias":".kibana"}}]}"#;
        assert_eq!(world.call("POST", "/_aliases", broken).await.status, 404);
        assert_eq!(
            world.fetch_json("/_alias/.kibana").await,
            json!({".kibana_1": {"aliases": {".kibana": {}}}})
        );

        let swap = r#"{"actions":[{"remove":{"index":".kibana_1","alias":".kibana","must_exist":true}},{"add":{"index":".kibana_2","alias":".kibana"}}]}"#;
        assert_eq!(world.call("POST", "/_aliases", swap).await.status, 200);
        assert_eq!(
            world.fetch_json("/_alias/.kibana").await,
            json!({".kibana_2": {"aliases": {".kibana": {}}}})
        );
        let again = world.call("POST", "/_aliases", swap).await.json();
        assert_eq!(again["error"]["type"], "aliases_not_found_exception");

        let remove = r#"{"actions":[{"remove_index":{"index":".kibana_1"}}]}"#;
        assert_eq!(world.call("POST", "/_aliases", remove).await.status, 200);
        assert_eq!(world.call("HEAD", "/.kibana_1", "").await.status, 404);
    }

    #[tokio::test]
    async fn single_aliases_are_put_and_deleted() {
        let world = World::new();
        assert_eq!(
            world
                .call("PUT", "/logs-*/_alias/a", r#"{"filter":{"term":{"x":1}}}"#)
                .await
                .status,
            200
        );
        assert_eq!(
            world.fetch_json("/_alias/a").await["logs-2026.11.23"]["aliases"]["a"]["filter"]["term"]
                ["x"],
            1
        );
        assert_eq!(world.call("DELETE", "/logs/_alias/a", "").await.status, 200);
        assert_eq!(world.call("DELETE", "/logs/_alias/a", "").await.status, 404);

        for (uri, status) in [
            ("/logs/_alias/nginx", 400),
            ("/logs/_alias/BAD", 400),
            ("/missing/_alias/a", 404),
        ] {
            assert_eq!(world.call("PUT", uri, "").await.status, status, "{uri}");
        }
        for body in [
            "{",
            r#"{"actions":[{"swap":{"index":"logs"}}]}"#,
            r#"{"actions":[{"add":{"alias":"a"}}]}"#,
        ] {
            assert_eq!(
                world.call("POST", "/_aliases", body).await.status,
                400,
                "{body}"
            );
        }
    }
}
