//! Indices as things: create, show, delete, their sizes, make them current.
//!
//! An index comes to be with its first event; `PUT` only keeps the name, so that it is found until then.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use event::IndexName;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::aliases;
use super::error::ElasticError;
use super::index_settings::{index_settings, settings_of_name, shown_settings};
use super::mapping::mappings_of_shard;
use super::params::Params;
use super::registry::{Change, Kind};
use super::state::ElasticState;
use super::target::{Names, Pattern, Resolved, TargetOptions, index_uuid};

type Reply = Result<Json<Value>, ElasticError>;

/// The routes of indices.
pub fn routes(state: ElasticState) -> Router {
    let mut router = Router::new()
        .route(
            "/{target}",
            get(show).head(exists).put(create).delete(delete),
        )
        .route("/_stats", get(stats_of_all))
        .route("/_stats/{metrics}", get(stats_of_all))
        .route("/{target}/_stats", get(stats_of))
        .route("/{target}/_stats/{metrics}", get(stats_of_metrics));
    for action in ["_refresh", "_flush", "_forcemerge"] {
        router = router
            .route(
                &format!("/{action}"),
                get(make_current_all).post(make_current_all),
            )
            .route(
                &format!("/{{target}}/{action}"),
                get(make_current).post(make_current),
            );
    }
    router.with_state(state)
}

async fn exists(
    State(state): State<ElasticState>,
    Path(target): Path<String>,
    params: Params,
) -> Result<StatusCode, ElasticError> {
    let resolved = state.resolve(&target, &params, TargetOptions::default())?;
    let is_there = !resolved.targets.is_empty() || !resolved.created.is_empty();
    Ok(if is_there {
        StatusCode::OK
    } else {
        StatusCode::NOT_FOUND
    })
}

async fn show(
    State(state): State<ElasticState>,
    Path(target): Path<String>,
    params: Params,
) -> Reply {
    let is_flat = params.flag("flat_settings", false)?;
    let resolved = state.resolve(&target, &params, TargetOptions::default())?;
    let names = state.names();
    let mut reply = Map::new();
    for view in state.fields(resolved.shards()).await? {
        let (name, mappings) = mappings_of_shard(&view);
        let shown = json!({
            "aliases": aliases::of_index(&state, &names, &name),
            "mappings": mappings,
            "settings": shown_settings(settings_of_name(&state, &name), is_flat),
            "data_stream": view.shard.index.as_str(),
        });
        reply.insert(name, shown);
    }
    for name in resolved.created {
        let shown = json!({
            "aliases": aliases::of_index(&state, &names, &name),
            "mappings": stored_mappings(&state, &name),
            "settings": shown_settings(settings_of_name(&state, &name), is_flat),
        });
        reply.insert(name, shown);
    }
    Ok(Json(Value::Object(reply)))
}

#[derive(Default, Deserialize)]
struct CreateBody {
    #[serde(default)]
    mappings: Value,
    #[serde(default)]
    settings: Value,
    #[serde(default)]
    aliases: Map<String, Value>,
}

async fn create(
    State(state): State<ElasticState>,
    Path(name): Path<String>,
    params: Params,
    body: Bytes,
) -> Reply {
    let body: CreateBody = match body.iter().all(u8::is_ascii_whitespace) {
        true => CreateBody::default(),
        false => serde_json::from_slice(&body).map_err(|error| ElasticError::json_parse(&error))?,
    };
    let names = state.names();
    check_new_name(&state, &names, &name)?;
    let mappings = untyped(body.mappings, params.flag("include_type_name", false)?);
    let index = json!({
        "mappings": if mappings.is_null() { json!({}) } else { mappings },
        "settings": index_settings(&body.settings),
        "created_millis": state.now().millis(),
    });
    let mut changes = vec![Change::Put(Kind::Index, name.clone(), index)];
    for (alias, properties) in body.aliases {
        changes.push(aliases::added(
            &state,
            &names,
            &alias,
            std::slice::from_ref(&name),
            properties,
        )?);
    }
    state.change(changes).await?;
    Ok(Json(
        json!({ "acknowledged": true, "shards_acknowledged": true, "index": name }),
    ))
}

/// A name that an index may have and nothing has.
pub(super) fn check_new_name(
    state: &ElasticState,
    names: &Names,
    name: &str,
) -> Result<(), ElasticError> {
    if let Err(error) = IndexName::parse(name) {
        return Err(ElasticError::invalid_index_name(name, error.problem));
    }
    if state.registry().entry(Kind::Alias, name).is_some() {
        return Err(ElasticError::invalid_index_name(
            name,
            "already exists as alias",
        ));
    }
    if names.is_index(name) {
        return Err(ElasticError::index_exists(name));
    }
    Ok(())
}

/// Clients of version 6 and 7 put a type's name around the mapping.
fn untyped(mappings: Value, is_typed: bool) -> Value {
    match mappings {
        Value::Object(types) if is_typed && types.len() == 1 => {
            let only = types.into_iter().next();
            only.map_or(Value::Null, |(_, mapping)| mapping)
        }
        mappings => mappings,
    }
}

/// Deletes what the target names, for good. Wildcards are refused, so that a slip of the finger deletes one index
/// and not all: a list of names deletes several.
async fn delete(
    State(state): State<ElasticState>,
    Path(target): Path<String>,
    params: Params,
) -> Reply {
    if target == "_all" || Pattern::is_wildcard(&target) {
        return Err(ElasticError::illegal_argument(
            "Wildcard expressions or all indices are not allowed, name each index to delete",
        ));
    }
    for name in target.split(',') {
        if state.registry().entry(Kind::Alias, name).is_some() {
            return Err(ElasticError::illegal_argument(format!(
                "The provided expression [{name}] matches an alias, specify the corresponding concrete indices instead."
            )));
        }
    }
    let resolved = state.resolve(&target, &params, TargetOptions::default())?;
    let mut names: Vec<String> = target.split(',').map(str::to_owned).collect();
    names.extend(resolved.created.iter().cloned());
    delete_resolved(&state, resolved, &names).await?;
    Ok(Json(json!({ "acknowledged": true })))
}

/// Deletes shards, and what is kept under the names.
pub(super) async fn delete_resolved(
    state: &ElasticState,
    resolved: Resolved,
    names: &[String],
) -> Result<(), ElasticError> {
    if resolved
        .targets
        .iter()
        .any(|target| target.time_slice.is_some())
    {
        return Err(ElasticError::illegal_argument(
            "A part of a day cannot be deleted, name the day",
        ));
    }
    let shards = resolved.shards();
    let mut gone: Vec<String> = shards
        .iter()
        .map(|shard| shard.index.shard_name(shard.day))
        .collect();
    gone.extend(names.iter().cloned());
    if !shards.is_empty() {
        tracing::info!(shards = ?gone, "deleting shards on a client's request");
        state.read(move |store| store.delete(&shards)).await?;
    }
    let mut changes = aliases::without_members(state, &gone);
    for name in gone {
        changes.push(Change::Delete(Kind::Index, name.clone()));
        changes.push(Change::Delete(Kind::DataStream, name));
    }
    state.change(changes).await
}

/// What was put as mapping of an index that has no event yet.
pub(super) fn stored_mappings(state: &ElasticState, name: &str) -> Value {
    let index = state.registry().entry(Kind::Index, name);
    let mappings = index.and_then(|mut index| Some(index.get_mut("mappings")?.take()));
    mappings.unwrap_or_else(|| json!({}))
}

/// Puts a mapping over the stored ones of every index the target names.
pub(super) async fn store_mapping(
    state: &ElasticState,
    target: &str,
    params: &Params,
    body: &[u8],
) -> Reply {
    let body: Value =
        serde_json::from_slice(body).map_err(|error| ElasticError::json_parse(&error))?;
    let is_typed = params.flag("include_type_name", false)?;
    let Value::Object(added) = untyped(body, is_typed) else {
        return Err(ElasticError::x_content_parse("a mapping must be an object"));
    };
    let mut changes = Vec::new();
    for name in concrete_names(state, target, params)? {
        let mut index = stored_index(state, &name);
        let mappings = index.entry("mappings").or_insert_with(|| json!({}));
        merge_mapping(mappings, &added)?;
        changes.push(Change::Put(Kind::Index, name, Value::Object(index)));
    }
    state.change(changes).await?;
    Ok(Json(json!({ "acknowledged": true })))
}

fn merge_mapping(mappings: &mut Value, added: &Map<String, Value>) -> Result<(), ElasticError> {
    let Value::Object(mappings) = mappings else {
        *mappings = Value::Object(added.clone());
        return Ok(());
    };
    for (key, value) in added {
        match (key.as_str(), mappings.get_mut(key), value) {
            ("properties", Some(Value::Object(properties)), Value::Object(added)) => {
                merge_properties(properties, added)?;
            }
            _ => {
                mappings.insert(key.clone(), value.clone());
            }
        }
    }
    Ok(())
}

fn merge_properties(
    properties: &mut Map<String, Value>,
    added: &Map<String, Value>,
) -> Result<(), ElasticError> {
    for (field, mapping) in added {
        let before = properties.get(field).and_then(|known| known.get("type"));
        let after = mapping.get("type");
        if let (Some(before), Some(after)) = (before, after)
            && before != after
        {
            let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            return Err(ElasticError::illegal_argument(format!(
                "mapper [{field}] cannot be changed from type [{}] to [{}]",
                name(before),
                name(after)
            )));
        }
        properties.insert(field.clone(), mapping.clone());
    }
    Ok(())
}

/// The names under which shards and created indices are shown.
pub(super) fn concrete_names(
    state: &ElasticState,
    target: &str,
    params: &Params,
) -> Result<Vec<String>, ElasticError> {
    let resolved = state.resolve(target, params, TargetOptions::default())?;
    Ok(names_of(&resolved))
}

/// The names of what an expression named.
pub(super) fn names_of(resolved: &Resolved) -> Vec<String> {
    let shards = resolved.shards();
    let names = shards.iter().map(|shard| shard.index.shard_name(shard.day));
    names.chain(resolved.created.iter().cloned()).collect()
}

pub(super) fn stored_index(state: &ElasticState, name: &str) -> Map<String, Value> {
    match state.registry().entry(Kind::Index, name) {
        Some(Value::Object(index)) => index,
        _ => Map::new(),
    }
}

async fn stats_of_all(State(state): State<ElasticState>, params: Params) -> Reply {
    stats(&state, "*", &params).await
}

async fn stats_of(
    State(state): State<ElasticState>,
    Path(target): Path<String>,
    params: Params,
) -> Reply {
    stats(&state, &target, &params).await
}

async fn stats_of_metrics(
    State(state): State<ElasticState>,
    Path((target, _)): Path<(String, String)>,
    params: Params,
) -> Reply {
    stats(&state, &target, &params).await
}

async fn stats(state: &ElasticState, target: &str, params: &Params) -> Reply {
    let resolved = state.resolve(target, params, TargetOptions::default())?;
    let (mut events, mut bytes) = (0, 0);
    let mut indices = Map::new();
    for view in state.summaries(resolved.shards()).await? {
        events += view.answer.event_count;
        bytes += view.answer.byte_size;
        let name = view.name();
        let mut entry = json!({ "uuid": index_uuid(&name), "health": "green", "status": "open" });
        let sizes = both(view.answer.event_count, view.answer.byte_size);
        if let (Value::Object(entry), Value::Object(sizes)) = (&mut entry, sizes) {
            entry.extend(sizes);
        }
        indices.insert(name, entry);
    }
    let count = indices.len();
    Ok(Json(json!({
        "_shards": { "total": count, "successful": count, "failed": 0 },
        "_all": both(events, bytes),
        "indices": indices,
    })))
}

/// There are no replicas: all of it is primary.
fn both(events: u64, bytes: u64) -> Value {
    let sizes = json!({
        "docs": { "count": events, "deleted": 0 },
        "store": { "size_in_bytes": bytes, "total_data_set_size_in_bytes": bytes, "reserved_in_bytes": 0 },
    });
    json!({ "primaries": sizes, "total": sizes })
}

async fn make_current_all(State(state): State<ElasticState>, params: Params) -> Reply {
    refreshed(&state, "*", &params).await
}

async fn make_current(
    State(state): State<ElasticState>,
    Path(target): Path<String>,
    params: Params,
) -> Reply {
    refreshed(&state, &target, &params).await
}

/// `_refresh` waits until accepted events are found. So do `_flush` and `_forcemerge`: accepted events are durable
/// before, and shards merge by themselves.
async fn refreshed(state: &ElasticState, target: &str, params: &Params) -> Reply {
    // Events on their way may make the very index that is named.
    state.refresh().await;
    let resolved = state.resolve(target, params, TargetOptions::default())?;
    let count = resolved.shards().len() + resolved.created.len();
    Ok(Json(
        json!({ "_shards": { "total": count, "successful": count, "failed": 0 } }),
    ))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use serde_json::json;

    use super::super::fixture::World;

    #[tokio::test]
    async fn an_index_can_be_created_before_its_first_event() {
        let world = World::new();
        assert_eq!(world.call("HEAD", "/.kibana_1", "").await.status, 404);
        let body = r#"{"mappings":{"dynamic":"strict","_meta":{"h":"1"}},"settings":{"number_of_shards":1,"auto_expand_replicas":"0-1"},"aliases":{".kibana":{}}}"#;
        let reply = world
            .call("PUT", "/.kibana_1?wait_for_active_shards=all", body)
            .await;
        assert_eq!(
            reply.text,
            r#"{"acknowledged":true,"shards_acknowledged":true,"index":".kibana_1"}"#
        );
        assert_eq!(world.call("HEAD", "/.kibana_1", "").await.status, 200);

        let shown = world.fetch_json("/.kibana").await;
        assert_eq!(
            shown[".kibana_1"]["mappings"].to_string(),
            r#"{"dynamic":"strict","_meta":{"h":"1"}}"#
        );
        assert_eq!(shown[".kibana_1"]["aliases"], json!({".kibana": {}}));
        assert_eq!(
            shown[".kibana_1"]["settings"]["index"]["auto_expand_replicas"],
            "0-1"
        );
        assert_eq!(
            shown[".kibana_1"]["settings"]["index"]["provided_name"],
            ".kibana_1"
        );

        let again = world.call("PUT", "/.kibana_1", body).await;
        assert_eq!(
            again.json()["error"]["type"],
            "resource_already_exists_exception"
        );
        assert_eq!(
            world.call("PUT", "/.kibana", "").await.json()["error"]["type"],
            "invalid_index_name_exception"
        );
        assert_eq!(world.call("PUT", "/logs-2026.11.23", "").await.status, 400);
        assert_eq!(
            world.call("PUT", "/BAD", "").await.json()["error"]["type"],
            "invalid_index_name_exception"
        );
        assert_eq!(world.call("PUT", "/fresh", "{").await.status, 400);
    }

    #[tokio::test]
    async fn indices_are_shown_by_name_and_wildcard() {
        let world = World::new();
        let shown = world.fetch_json("/logs-2026.11.23").await;
        let index = &shown["logs-2026.11.23"];
        assert_eq!(index["data_stream"], "logs");
        assert_eq!(
            index["mappings"]["properties"]["@timestamp"]["type"],
            "date"
        );
        assert_eq!(index["settings"]["index"]["number_of_shards"], "1");
        assert_eq!(world.fetch("/missing").await.status, 404);
        assert_eq!(
            world.fetch_json("/missing?ignore_unavailable=true").await,
            json!({})
        );
        assert_eq!(world.fetch_json("/missing*").await, json!({}));
        assert_eq!(world.call("HEAD", "/missing*", "").await.status, 404);
        assert_eq!(world.call("HEAD", "/logs", "").await.status, 200);
        assert_eq!(
            world.fetch("/_unknown").await.json()["error"]["type"],
            "invalid_index_name_exception"
        );
    }

    #[tokio::test]
    async fn an_index_or_a_day_of_it_is_deleted_by_name() {
        let world = World::new();
        world.call("PUT", "/logs/_alias/all", "").await;
        for refused in ["/_all", "/*", "/logs*", "/all", "/logs-2026.11.23.10"] {
            assert_eq!(
                world.call("DELETE", refused, "").await.status,
                400,
                "{refused}"
            );
        }
        assert_eq!(world.call("DELETE", "/missing", "").await.status, 404);
        assert_eq!(world.fetch("/_cat/count?h=count").await.text, "3\n");

        let reply = world.call("DELETE", "/logs-2026.11.22", "").await;
        assert_eq!(reply.text, r#"{"acknowledged":true}"#);
        assert_eq!(
            world.fetch("/_cat/indices?h=index").await.text,
            "logs-2026.11.23\nnginx-2026.11.23\n"
        );
        assert_eq!(world.call("DELETE", "/logs,nginx", "").await.status, 200);
        assert_eq!(world.fetch("/_cat/indices").await.text, "");
        assert_eq!(world.fetch("/_alias/all").await.status, 404);

        world.call("PUT", "/fresh", "").await;
        assert_eq!(world.call("DELETE", "/fresh", "").await.status, 200);
        assert_eq!(world.call("HEAD", "/fresh", "").await.status, 404);
    }

    #[tokio::test]
    async fn sizes_add_up() {
        let world = World::new();
        let stats = world.fetch_json("/logs/_stats/docs,store").await;
        assert_eq!(stats["_all"]["primaries"]["docs"]["count"], 3);
        assert_eq!(stats["_all"]["total"]["store"]["size_in_bytes"], 12_800);
        assert_eq!(
            stats["indices"]["logs-2026.11.22"]["total"]["docs"]["count"],
            2
        );
        assert_eq!(world.fetch_json("/_stats").await["_shards"]["total"], 3);
    }

    #[tokio::test]
    async fn a_refresh_waits_for_the_index() {
        let world = World::new();
        let reply = world.call("POST", "/logs/_refresh", "").await;
        assert_eq!(
            reply.text,
            r#"{"_shards":{"total":2,"successful":2,"failed":0}}"#
        );
        assert_eq!(world.refresh.0.load(Ordering::Relaxed), 1);
        for uri in [
            "/_refresh",
            "/_flush",
            "/logs/_forcemerge?max_num_segments=1",
        ] {
            assert_eq!(world.call("POST", uri, "").await.status, 200, "{uri}");
        }
        assert_eq!(
            world.call("POST", "/missing/_refresh", "").await.status,
            404
        );
    }
}
