//! What shippers put before they send: templates, lifecycle policies, ingest pipelines. Kept and given back.
//!
//! None of it changes how Daybook stores events; a shipper that finds its template does not put it again.

use axum::extract::{Path, State};
use axum::routing::{MethodRouter, get};
use axum::{Json, Router};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::cat::is_listed;
use super::error::{Cause, ElasticError};
use super::params::Params;
use super::registry::{Change, Kind};
use super::state::ElasticState;
use super::target::{Pattern, TargetOptions};

type Reply = Result<Json<Value>, ElasticError>;

/// The routes of all kinds.
pub fn routes(state: ElasticState) -> Router {
    let kinds = [
        ("/_template", Kind::Template),
        ("/_index_template", Kind::IndexTemplate),
        ("/_component_template", Kind::ComponentTemplate),
        ("/_ilm/policy", Kind::LifecyclePolicy),
        ("/_ingest/pipeline", Kind::IngestPipeline),
    ];
    let mut router = Router::new()
        .route("/_ilm/status", get(lifecycle_status))
        .route("/{target}/_ilm/explain", get(explain_lifecycle));
    for (path, kind) in kinds {
        let all = get(move |state: State<ElasticState>| async move { list(&state.0, kind, "*") });
        router = router
            .route(path, all)
            .route(&format!("{path}/{{name}}"), named(kind));
    }
    router.with_state(state)
}

fn named(kind: Kind) -> MethodRouter<ElasticState> {
    let show = move |State(state): State<ElasticState>, Path(name): Path<String>| async move {
        list(&state, kind, &name)
    };
    let put = move |State(state): State<ElasticState>,
                    Path(name): Path<String>,
                    params: Params,
                    body: Bytes| async move {
        let is_create_only = params.flag("create", false)?;
        put(&state, kind, name, is_create_only, &body).await
    };
    let delete = move |State(state): State<ElasticState>, Path(name): Path<String>| async move {
        delete(&state, kind, &name).await
    };
    get(show).put(put).post(put).delete(delete)
}

fn list(state: &ElasticState, kind: Kind, names: &str) -> Reply {
    let mut found = state.registry().entries(kind);
    found.retain(|(name, _)| is_listed(names, name));
    let is_missing = found.is_empty() && !Pattern::is_wildcard(names) && names != "_all";
    if is_missing {
        return Err(missing(kind, names, &Method::GET));
    }
    Ok(Json(listed(kind, found)))
}

async fn put(
    state: &ElasticState,
    kind: Kind,
    name: String,
    is_create_only: bool,
    body: &[u8],
) -> Reply {
    let body: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| ElasticError::json_parse(&error))?;
    if is_create_only && state.registry().entry(kind, &name).is_some() {
        return Err(ElasticError::illegal_argument(format!(
            "{} [{name}] already exists",
            kind.name().replace('_', " ")
        )));
    }
    let kept = match kind {
        Kind::LifecyclePolicy => json!({
            "version": 1,
            "modified_date": state.now().to_rfc3339_millis(),
            "policy": body.get("policy").cloned().unwrap_or(Value::Null),
            "in_use_by": { "indices": [], "data_streams": [], "composable_templates": [] },
        }),
        _ => Value::Object(body),
    };
    state.change(vec![Change::Put(kind, name, kept)]).await?;
    Ok(Json(json!({ "acknowledged": true })))
}

async fn delete(state: &ElasticState, kind: Kind, names: &str) -> Reply {
    let mut found = state.registry().entries(kind);
    found.retain(|(name, _)| is_listed(names, name));
    if found.is_empty() && !Pattern::is_wildcard(names) {
        return Err(missing(kind, names, &Method::DELETE));
    }
    let changes = found
        .into_iter()
        .map(|(name, _)| Change::Delete(kind, name));
    state.change(changes.collect()).await?;
    Ok(Json(json!({ "acknowledged": true })))
}

/// Each kind has its own form of a list.
fn listed(kind: Kind, found: Vec<(String, Value)>) -> Value {
    let in_list = |list: &str, item: &str| {
        let items = found
            .iter()
            .map(|(name, body)| json!({ "name": name, item: body }));
        json!({ list: items.collect::<Vec<Value>>() })
    };
    match kind {
        Kind::IndexTemplate => in_list("index_templates", "index_template"),
        Kind::ComponentTemplate => in_list("component_templates", "component_template"),
        _ => Value::Object(found.into_iter().collect()),
    }
}

/// Each kind has its own words for what is missing.
fn missing(kind: Kind, name: &str, method: &Method) -> ElasticError {
    match kind {
        Kind::Template | Kind::IndexTemplate if method == Method::DELETE => {
            let cause = Cause::new(
                "index_template_missing_exception",
                format!("index_template [{name}] missing"),
            );
            ElasticError::cause(StatusCode::NOT_FOUND, cause)
        }
        Kind::IndexTemplate => {
            ElasticError::resource_not_found(format!("index template matching [{name}] not found"))
        }
        Kind::ComponentTemplate => ElasticError::resource_not_found(format!(
            "component template matching [{name}] not found"
        )),
        Kind::LifecyclePolicy => {
            ElasticError::resource_not_found(format!("Lifecycle policy not found: {name}"))
        }
        Kind::IngestPipeline if method == Method::DELETE => {
            ElasticError::resource_not_found(format!("pipeline [{name}] is missing"))
        }
        _ => ElasticError::not_found_with(json!({})),
    }
}

async fn lifecycle_status() -> Json<Value> {
    Json(json!({ "operation_mode": "RUNNING" }))
}

/// No index is managed by a policy: retention is a setting of Daybook.
async fn explain_lifecycle(
    State(state): State<ElasticState>,
    Path(target): Path<String>,
    params: Params,
) -> Reply {
    let resolved = state.resolve(&target, &params, TargetOptions::default())?;
    let shards = resolved.shards();
    let names = shards.iter().map(|shard| shard.index.shard_name(shard.day));
    let indices = names.chain(resolved.created.clone()).map(|name| {
        let explained = json!({ "index": name, "managed": false });
        (name, explained)
    });
    Ok(Json(json!({ "indices": indices.collect::<Map<_, _>>() })))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixture::World;

    #[tokio::test]
    async fn what_is_put_comes_back_in_each_kinds_form() {
        let world = World::new();
        let cases = [
            ("/_template/t", r#"{"order":1}"#, json!({"t": {"order": 1}})),
            (
                "/_index_template/t",
                r#"{"priority":1}"#,
                json!({"index_templates": [{"name": "t", "index_template": {"priority": 1}}]}),
            ),
            (
                "/_component_template/t",
                r#"{"template":{}}"#,
                json!({"component_templates": [{"name": "t", "component_template": {"template": {}}}]}),
            ),
            (
                "/_ingest/pipeline/t",
                r#"{"processors":[]}"#,
                json!({"t": {"processors": []}}),
            ),
            (
                "/_ilm/policy/t",
                r#"{"policy":{"phases":{}}}"#,
                json!({"t": {"version": 1, "modified_date": "2026-11-23T10:00:00.000Z",
                "policy": {"phases": {}}, "in_use_by": {"indices": [], "data_streams": [], "composable_templates": []}}}),
            ),
        ];
        for (uri, body, expected) in cases {
            assert_eq!(world.fetch(uri).await.status, 404, "{uri}");
            assert_eq!(world.call("HEAD", uri, "").await.status, 404, "{uri}");
            assert_eq!(
                world.call("PUT", uri, body).await.text,
                r#"{"acknowledged":true}"#,
                "{uri}"
            );
            assert_eq!(world.call("HEAD", uri, "").await.status, 200, "{uri}");
            assert_eq!(world.fetch_json(uri).await, expected, "{uri}");
            let list = uri.strip_suffix("/t").unwrap();
            assert_eq!(world.fetch_json(list).await, expected, "{list}");
            let others = world.fetch_json(&format!("{list}/x*")).await.to_string();
            assert!(!others.contains("\"t\""), "{list}");
            assert_eq!(world.call("DELETE", uri, "").await.status, 200, "{uri}");
            assert_eq!(world.call("DELETE", uri, "").await.status, 404, "{uri}");
        }
    }

    #[tokio::test]
    async fn what_is_missing_is_told_in_each_kinds_words() {
        let world = World::new();
        for uri in ["/_template/x", "/_ingest/pipeline/x"] {
            assert_eq!(world.fetch(uri).await.text, "{}");
        }
        for uri in [
            "/_index_template/x",
            "/_component_template/x",
            "/_ilm/policy/x",
        ] {
            let error = world.fetch(uri).await.json();
            assert_eq!(
                error["error"]["type"], "resource_not_found_exception",
                "{uri}"
            );
        }
        assert_eq!(world.call("PUT", "/_template/x", "[]").await.status, 400);
        assert_eq!(world.call("PUT", "/_template/x", "{}").await.status, 200);
        assert_eq!(
            world
                .call("PUT", "/_template/x?create=true", "{}")
                .await
                .status,
            400
        );
    }

    #[tokio::test]
    async fn no_index_is_managed() {
        let world = World::new();
        let explained = world.fetch_json("/nginx/_ilm/explain").await;
        assert_eq!(
            explained,
            json!({"indices": {"nginx-2026.11.23": {"index": "nginx-2026.11.23", "managed": false}}})
        );
        assert_eq!(
            world.fetch_json("/_ilm/status").await["operation_mode"],
            "RUNNING"
        );
    }
}
