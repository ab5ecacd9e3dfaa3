//! `_data_stream`: every index of ours is one, its days are the backing indices.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use event::{Day, IndexName};
use serde_json::{Value, json};

use super::cat::is_listed;
use super::error::ElasticError;
use super::indices::{check_new_name, delete_resolved};
use super::registry::{Change, Kind};
use super::state::ElasticState;
use super::target::{Pattern, TargetOptions, index_uuid};

type Reply = Result<Json<Value>, ElasticError>;

/// The routes of data streams.
pub fn routes(state: ElasticState) -> Router {
    Router::new()
        .route("/_data_stream", get(list_all))
        .route(
            "/_data_stream/{names}",
            get(list_named).put(create).delete(delete),
        )
        .with_state(state)
}

async fn list_all(State(state): State<ElasticState>) -> Reply {
    list(&state, "*")
}

async fn list_named(State(state): State<ElasticState>, Path(names): Path<String>) -> Reply {
    list(&state, &names)
}

fn list(state: &ElasticState, wanted: &str) -> Reply {
    let known = state.names();
    let with_days = known.days().iter();
    let mut streams: Vec<Value> = with_days
        .filter(|(index, _)| is_listed(wanted, index.as_str()))
        .map(|(index, days)| shown(index, days))
        .collect();
    for (name, _) in state.registry().entries(Kind::DataStream) {
        if is_listed(wanted, &name)
            && let Ok(index) = IndexName::parse(&name)
            && !known.days().contains_key(&index)
        {
            streams.push(shown(&index, &[]));
        }
    }
    if streams.is_empty() && !Pattern::is_wildcard(wanted) {
        return Err(ElasticError::index_not_found(wanted));
    }
    Ok(Json(json!({ "data_streams": streams })))
}

fn shown(index: &IndexName, days: &[Day]) -> Value {
    let indices = days.iter().map(|day| {
        let name = index.shard_name(*day);
        let uuid = index_uuid(&name);
        json!({ "index_name": name, "index_uuid": uuid })
    });
    json!({
        "name": index.as_str(),
        "timestamp_field": { "name": "@timestamp" },
        "indices": indices.collect::<Vec<Value>>(),
        "generation": days.len().max(1),
        "status": "GREEN",
        "template": index.as_str(),
        "hidden": index.as_str().starts_with('.'),
        "system": false,
    })
}

async fn create(State(state): State<ElasticState>, Path(name): Path<String>) -> Reply {
    check_new_name(&state, &state.names(), &name)?;
    let stream = json!({ "created_millis": state.now().millis() });
    state
        .change(vec![Change::Put(Kind::DataStream, name, stream)])
        .await?;
    Ok(Json(json!({ "acknowledged": true })))
}

/// Deletes all days of the streams, for good. Wildcards are refused, as they are for indices.
async fn delete(State(state): State<ElasticState>, Path(names): Path<String>) -> Reply {
    let known = state.names();
    let streams: Vec<String> = names.split(',').map(str::to_owned).collect();
    for name in &streams {
        if Pattern::is_wildcard(name) || name == "_all" {
            return Err(ElasticError::illegal_argument(
                "Wildcard expressions are not allowed, name each data stream to delete",
            ));
        }
        let is_stream = known.days().contains_key(name.as_str())
            || state.registry().entry(Kind::DataStream, name).is_some();
        if !is_stream {
            return Err(ElasticError::index_not_found(name));
        }
    }
    let resolved = known.resolve(&names, &TargetOptions::default(), state.now())?;
    delete_resolved(&state, resolved, &streams).await?;
    Ok(Json(json!({ "acknowledged": true })))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::World;

    #[tokio::test]
    async fn an_index_is_a_stream_of_its_days() {
        let world = World::new();
        let streams = world.fetch_json("/_data_stream/logs").await;
        let stream = &streams["data_streams"][0];
        assert_eq!(stream["name"], "logs");
        assert_eq!(stream["timestamp_field"]["name"], "@timestamp");
        assert_eq!(stream["indices"][1]["index_name"], "logs-2026.11.23");
        assert_eq!(stream["generation"], 2);
        assert_eq!(
            world.fetch_json("/_data_stream").await["data_streams"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
        assert_eq!(world.fetch("/_data_stream/missing").await.status, 404);
        assert_eq!(
            world.fetch_json("/_data_stream/missing*").await,
            json!({ "data_streams": [] })
        );
    }

    #[tokio::test]
    async fn a_stream_is_created_once_and_deleted_with_its_days() {
        let world = World::new();
        assert_eq!(
            world.call("PUT", "/_data_stream/fresh", "").await.status,
            200
        );
        assert_eq!(
            world.call("PUT", "/_data_stream/fresh", "").await.status,
            400
        );
        assert_eq!(
            world.call("PUT", "/_data_stream/logs", "").await.status,
            400
        );
        assert_eq!(world.call("HEAD", "/fresh", "").await.status, 200);
        assert_eq!(
            world.fetch_json("/_data_stream/fresh").await["data_streams"][0]["indices"],
            json!([])
        );

        assert_eq!(
            world.call("DELETE", "/_data_stream/*", "").await.status,
            400
        );
        assert_eq!(
            world
                .call("DELETE", "/_data_stream/logs,fresh", "")
                .await
                .status,
            200
        );
        assert_eq!(
            world.fetch("/_cat/indices?h=index").await.text,
            "nginx-2026.11.23\n"
        );
        assert_eq!(
            world.call("DELETE", "/_data_stream/logs", "").await.status,
            404
        );
    }
}
