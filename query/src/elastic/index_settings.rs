//! `_settings`: kept as clients put them, given back with what every index has. None has an effect.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::error::ElasticError;
use super::flat_settings::{flatten, merge, nest};
use super::indices::{concrete_names, stored_index};
use super::params::Params;
use super::registry::{Change, Kind};
use super::state::ElasticState;
use super::target::index_uuid;

type Reply = Result<Json<Value>, ElasticError>;

/// The routes of settings.
pub fn routes(state: ElasticState) -> Router {
    Router::new()
        .route("/_settings", get(settings_of_all))
        .route("/_settings/{names}", get(named_settings_of_all))
        .route("/{target}/_settings", get(settings_of).put(put_settings))
        .route("/{target}/_settings/{names}", get(named_settings_of))
        .with_state(state)
}

async fn settings_of_all(State(state): State<ElasticState>, params: Params) -> Reply {
    settings(&state, "*", "*", &params)
}

async fn named_settings_of_all(
    State(state): State<ElasticState>,
    Path(names): Path<String>,
    params: Params,
) -> Reply {
    settings(&state, "*", &names, &params)
}

async fn settings_of(
    State(state): State<ElasticState>,
    Path(target): Path<String>,
    params: Params,
) -> Reply {
    settings(&state, &target, "*", &params)
}

async fn named_settings_of(
    State(state): State<ElasticState>,
    Path((target, names)): Path<(String, String)>,
    params: Params,
) -> Reply {
    settings(&state, &target, &names, &params)
}

fn settings(state: &ElasticState, target: &str, wanted: &str, params: &Params) -> Reply {
    let is_flat = params.flag("flat_settings", false)?;
    let mut reply = Map::new();
    for name in concrete_names(state, target, params)? {
        let mut settings = settings_of_name(state, &name);
        settings.retain(|setting, _| super::cat::is_listed(wanted, setting));
        reply.insert(
            name,
            json!({ "settings": shown_settings(settings, is_flat) }),
        );
    }
    Ok(Json(Value::Object(reply)))
}

pub(super) fn settings_of_name(state: &ElasticState, name: &str) -> Map<String, Value> {
    let index = stored_index(state, name);
    let created = index.get("created_millis").and_then(Value::as_i64);
    let day = event::WriteTarget::parse(name)
        .ok()
        .and_then(|target| target.day);
    let created_millis = created.or(day.map(|day| day.start().millis()));
    let created_millis = created_millis.unwrap_or_default().to_string();
    let mut settings = Map::new();
    let defaults = [
        ("index.creation_date", created_millis.as_str()),
        ("index.number_of_shards", "1"),
        ("index.number_of_replicas", "0"),
        ("index.uuid", &index_uuid(name)),
        ("index.version.created", "8170099"),
        ("index.provided_name", name),
    ];
    for (setting, value) in defaults {
        settings.insert(setting.to_owned(), value.into());
    }
    if let Some(Value::Object(stored)) = index.get("settings") {
        merge(&mut settings, stored.clone());
    }
    settings
}

pub(super) fn shown_settings(flat: Map<String, Value>, is_flat: bool) -> Value {
    if is_flat {
        Value::Object(flat)
    } else {
        nest(&flat)
    }
}

/// Keeps the settings and has no other effect.
async fn put_settings(
    State(state): State<ElasticState>,
    Path(target): Path<String>,
    params: Params,
    body: Bytes,
) -> Reply {
    let body: Value =
        serde_json::from_slice(&body).map_err(|error| ElasticError::json_parse(&error))?;
    let body = body.get("settings").cloned().unwrap_or(body);
    let changed = index_settings(&body);
    let mut changes = Vec::new();
    for name in concrete_names(&state, &target, &params)? {
        let mut index = stored_index(&state, &name);
        let settings = index.entry("settings").or_insert_with(|| json!({}));
        if let Value::Object(settings) = settings {
            merge(settings, changed.clone());
        }
        changes.push(Change::Put(Kind::Index, name, Value::Object(index)));
    }
    state.change(changes).await?;
    Ok(Json(json!({ "acknowledged": true })))
}

/// The settings of a body: flat, each name with `index.` before it, as Elasticsearch keeps them.
pub(super) fn index_settings(settings: &Value) -> Map<String, Value> {
    let flat = flatten(settings).into_iter();
    flat.map(|(name, value)| match name.starts_with("index.") {
        true => (name, value),
        false => (format!("index.{name}"), value),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::World;

    #[tokio::test]
    async fn settings_are_kept_and_given_back_in_both_forms() {
        let world = World::new();
        let body = r#"{"index":{"blocks":{"write":true}}}"#;
        assert_eq!(
            world.call("PUT", "/nginx/_settings", body).await.status,
            200
        );
        let flat = world.fetch_json("/nginx/_settings?flat_settings").await;
        assert_eq!(
            flat["nginx-2026.11.23"]["settings"]["index.blocks.write"],
            "true"
        );
        let nested = world.fetch_json("/nginx/_settings/index.blocks.*").await;
        assert_eq!(
            nested["nginx-2026.11.23"]["settings"],
            json!({"index": {"blocks": {"write": "true"}}})
        );
        world
            .call("PUT", "/nginx/_settings", r#"{"blocks.write":null}"#)
            .await;
        let nested = world.fetch_json("/nginx/_settings/index.blocks.*").await;
        assert_eq!(nested["nginx-2026.11.23"]["settings"], json!({}));
    }
}
