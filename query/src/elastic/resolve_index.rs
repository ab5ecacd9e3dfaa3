//! `_resolve/index`: what a name or wildcard stands for, for the wizards of dashboards.

use std::collections::BTreeSet;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::aliases;
use super::error::ElasticError;
use super::indices::names_of;
use super::params::Params;
use super::registry::Kind;
use super::state::ElasticState;
use super::target::TargetOptions;

/// The route of `_resolve/index`.
pub fn routes(state: ElasticState) -> Router {
    Router::new()
        .route("/_resolve/index/{target}", get(resolve))
        .with_state(state)
}

/// Lists sorted by name: indices, the aliases and data streams that the expression itself names.
async fn resolve(
    State(state): State<ElasticState>,
    Path(target): Path<String>,
    params: Params,
) -> Result<Json<Value>, ElasticError> {
    let options = params.target_options(TargetOptions::default())?;
    let names = state.names();
    let resolved = names.resolve(&target, &options, state.now())?;

    let mut indices = std::collections::BTreeMap::new();
    let mut streams = BTreeSet::new();
    for shard in resolved.shards() {
        let name = shard.index.shard_name(shard.day);
        let mut entry = described(&state, &name);
        entry.insert("data_stream".to_owned(), shard.index.as_str().into());
        indices.insert(name, Value::Object(entry));
        streams.insert(shard.index);
    }
    for name in &resolved.created {
        indices.insert(name.clone(), Value::Object(described(&state, name)));
    }

    let is_named = |name: &str| names.is_named(name, &target, &options, state.now());
    let mut shown_aliases = Vec::new();
    for (alias, _) in state.registry().entries(Kind::Alias) {
        if is_named(&alias)? {
            let members = names.resolve(&alias, &TargetOptions::default(), state.now())?;
            shown_aliases.push(json!({ "name": alias, "indices": names_of(&members) }));
        }
    }
    let mut shown_streams = Vec::new();
    for stream in streams {
        if is_named(stream.as_str())? {
            let days = names.days().get(&stream).into_iter().flatten();
            let backing: Vec<String> = days.map(|day| stream.shard_name(*day)).collect();
            shown_streams.push(json!({
                "name": stream.as_str(),
                "backing_indices": backing,
                "timestamp_field": "@timestamp",
            }));
        }
    }
    let indices: Vec<Value> = indices.into_values().collect();
    Ok(Json(json!({
        "indices": indices,
        "aliases": shown_aliases,
        "data_streams": shown_streams,
    })))
}

fn described(state: &ElasticState, name: &str) -> Map<String, Value> {
    let mut entry = Map::from_iter([("name".to_owned(), Value::from(name))]);
    let aliases = aliases::of_index(state, &state.names(), name);
    if !aliases.is_empty() {
        let names: Vec<&String> = aliases.keys().collect();
        entry.insert("aliases".to_owned(), json!(names));
    }
    let attributes = match name.starts_with('.') {
        true => json!(["open", "hidden"]),
        false => json!(["open"]),
    };
    entry.insert("attributes".to_owned(), attributes);
    entry
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::World;

    #[tokio::test]
    async fn wizards_see_indices_aliases_and_streams() {
        let world = World::new();
        world.call("PUT", "/nginx/_alias/web", "").await;
        world.call("PUT", "/.kibana_1", "").await;
        let all = world
            .fetch_json("/_resolve/index/*?expand_wildcards=open")
            .await;
        assert_eq!(
            all,
            json!({
                "indices": [
                    {"name": "logs-2026.11.22", "attributes": ["open"], "data_stream": "logs"},
                    {"name": "logs-2026.11.23", "attributes": ["open"], "data_stream": "logs"},
                    {"name": "nginx-2026.11.23", "aliases": ["web"], "attributes": ["open"], "data_stream": "nginx"},
                ],
                "aliases": [{"name": "web", "indices": ["nginx-2026.11.23"]}],
                "data_streams": [
                    {"name": "logs", "backing_indices": ["logs-2026.11.22", "logs-2026.11.23"], "timestamp_field": "@timestamp"},
                    {"name": "nginx", "backing_indices": ["nginx-2026.11.23"], "timestamp_field": "@timestamp"},
                ],
            })
        );
        let one = world
            .fetch_json("/_resolve/index/logs-2026.11.2*,-logs-2026.11.22")
            .await;
        assert_eq!(one["indices"].as_array().unwrap().len(), 1);
        assert_eq!(one["data_streams"], json!([]));
        let alias = world.fetch_json("/_resolve/index/web").await;
        assert_eq!(alias["aliases"][0]["name"], "web");
        assert_eq!(alias["data_streams"], json!([]));
        let hidden = world
            .fetch_json("/_resolve/index/*?expand_wildcards=all")
            .await;
        assert_eq!(
            hidden["indices"][0],
            json!({"name": ".kibana_1", "attributes": ["open", "hidden"]})
        );
        assert_eq!(world.fetch("/_resolve/index/missing").await.status, 404);
    }
}
