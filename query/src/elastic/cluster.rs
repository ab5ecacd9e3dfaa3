//! The handshake: `/`, `_nodes`, `_cluster`, `_license`, `_xpack`, `_tasks`.
//!
//! Shippers and dashboards ask these before anything else, and stop when the answer is not the one they know.

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_128;

use super::error::ElasticError;
use super::flat_settings::{flatten, merge, nest};
use super::params::Params;
use super::registry::{Change, Kind};
use super::state::ElasticState;
use super::target::TargetOptions;
use super::version::Version;

/// The id of the one node we are, as clients see it.
pub const NODE_ID: &str = "dayb00kNode1";

/// What the one node does, in Elasticsearch's words.
const ROLES: [&str; 4] = ["data", "ingest", "master", "remote_cluster_client"];

/// When this dialect was first built; clients show it, none compares it.
const BUILD_DATE: &str = "2026-01-01T00:00:00.000000000Z";
const BUILD_DATE_MILLIS: i64 = 1_767_225_600_000;
const BUILD_HASH: &str = "0000000000000000000000000000000000000000";

/// The handshake's routes.
pub fn routes(state: ElasticState) -> Router {
    Router::new()
        .route("/", get(root))
        .route("/_nodes", get(nodes))
        .route("/_nodes/{a}", get(nodes))
        .route("/_nodes/{a}/{b}", get(nodes))
        .route("/_cluster/health", get(health_of_all))
        .route("/_cluster/health/{target}", get(health_of))
        .route(
            "/_cluster/settings",
            get(cluster_settings).put(put_cluster_settings),
        )
        .route("/_cluster/state", get(cluster_state))
        .route("/_cluster/state/{metrics}", get(cluster_state))
        .route("/_cluster/state/{metrics}/{target}", get(cluster_state))
        .route("/_license", get(license))
        .route("/_xpack", get(xpack))
        .route("/_tasks", get(tasks))
        .route("/_tasks/{id}", get(task))
        .with_state(state)
}

async fn root(State(state): State<ElasticState>, headers: HeaderMap) -> Json<Value> {
    let settings = state.settings();
    let version = Version::negotiate(&headers, &settings.version);
    let companions = version.companions();
    Json(json!({
        "name": settings.node_name,
        "cluster_name": settings.cluster_name,
        "cluster_uuid": settings.cluster_uuid,
        "version": {
            "number": version.number,
            "build_flavor": "default",
            "build_type": "tar",
            "build_hash": BUILD_HASH,
            "build_date": BUILD_DATE,
            "build_snapshot": false,
            "lucene_version": companions.lucene,
            "minimum_wire_compatibility_version": companions.wire,
            "minimum_index_compatibility_version": companions.index,
        },
        "tagline": "You Know, for Search",
    }))
}

async fn nodes(State(state): State<ElasticState>, headers: HeaderMap) -> Json<Value> {
    let settings = state.settings();
    let version = Version::negotiate(&headers, &settings.version);
    let address = settings.publish_address.as_str();
    let ip = address.rsplit_once(':').map_or(address, |(ip, _)| ip);
    Json(json!({
        "_nodes": { "total": 1, "successful": 1, "failed": 0 },
        "cluster_name": settings.cluster_name,
        "nodes": {
            NODE_ID: {
                "name": settings.node_name,
                "transport_address": address,
                "host": ip,
                "ip": ip,
                "version": version.number,
                "build_flavor": "default",
                "build_type": "tar",
                "build_hash": BUILD_HASH,
                "roles": ROLES,
                "attributes": {},
                "http": {
                    "bound_address": [address],
                    "publish_address": address,
                    "max_content_length_in_bytes": 104_857_600,
                },
            },
        },
    }))
}

async fn health_of_all(state: State<ElasticState>) -> (StatusCode, Json<Value>) {
    let State(state) = state;
    let shard_count = state.names().days().values().map(Vec::len).sum();
    (StatusCode::OK, Json(health(&state, shard_count, true)))
}

/// Of an index that does not exist Elasticsearch waits for it, and tells after a while that it did not come. So do
/// we, without the while.
async fn health_of(
    State(state): State<ElasticState>,
    Path(target): Path<String>,
    params: Params,
) -> Result<(StatusCode, Json<Value>), ElasticError> {
    match state.resolve(&target, &params, TargetOptions::default()) {
        Ok(resolved) => {
            let shard_count = resolved.shards().len();
            Ok((StatusCode::OK, Json(health(&state, shard_count, true))))
        }
        Err(error) if error.status() == StatusCode::NOT_FOUND => {
            Ok((StatusCode::REQUEST_TIMEOUT, Json(health(&state, 0, false))))
        }
        Err(error) => Err(error),
    }
}

fn health(state: &ElasticState, shard_count: usize, is_reached: bool) -> Value {
    json!({
        "cluster_name": state.settings().cluster_name,
        "status": if is_reached { "green" } else { "red" },
        "timed_out": !is_reached,
        "number_of_nodes": 1,
        "number_of_data_nodes": 1,
        "active_primary_shards": shard_count,
        "active_shards": shard_count,
        "relocating_shards": 0,
        "initializing_shards": 0,
        "unassigned_shards": 0,
        "delayed_unassigned_shards": 0,
        "number_of_pending_tasks": 0,
        "number_of_in_flight_fetch": 0,
        "task_max_waiting_in_queue_millis": 0,
        "active_shards_percent_as_number": if is_reached { 100.0 } else { 0.0 },
    })
}

/// All three objects are always there: Kibana reads each without looking whether it is.
async fn cluster_settings(
    State(state): State<ElasticState>,
    params: Params,
) -> Result<Json<Value>, ElasticError> {
    let is_flat = params.flag("flat_settings", false)?;
    Ok(Json(json!({
        "persistent": shown(stored_settings(&state, "persistent"), is_flat),
        "transient": shown(stored_settings(&state, "transient"), is_flat),
        "defaults": {},
    })))
}

/// Keeps the settings and has no other effect.
async fn put_cluster_settings(
    State(state): State<ElasticState>,
    params: Params,
    body: Bytes,
) -> Result<Json<Value>, ElasticError> {
    let is_flat = params.flag("flat_settings", false)?;
    let body: Map<String, Value> =
        serde_json::from_slice(&body).map_err(|error| ElasticError::json_parse(&error))?;
    if let Some(unknown) = body
        .keys()
        .find(|key| !matches!(key.as_str(), "persistent" | "transient"))
    {
        return Err(ElasticError::illegal_argument(format!(
            "unknown field [{unknown}], expected persistent or transient"
        )));
    }
    let mut reply = Map::from_iter([("acknowledged".to_owned(), Value::Bool(true))]);
    let mut changes = Vec::new();
    for scope in ["persistent", "transient"] {
        let changed = body.get(scope).map(flatten).unwrap_or_default();
        let mut settings = stored_settings(&state, scope);
        merge(&mut settings, changed.clone());
        changes.push(Change::Put(
            Kind::ClusterSettings,
            scope.to_owned(),
            Value::Object(settings),
        ));
        reply.insert(scope.to_owned(), shown(changed, is_flat));
    }
    state.change(changes).await?;
    Ok(Json(Value::Object(reply)))
}

fn stored_settings(state: &ElasticState, scope: &str) -> Map<String, Value> {
    match state.registry().entry(Kind::ClusterSettings, scope) {
        Some(Value::Object(settings)) => settings,
        _ => Map::new(),
    }
}

fn shown(flat: Map<String, Value>, is_flat: bool) -> Value {
    if is_flat {
        Value::Object(flat)
    } else {
        nest(&flat)
    }
}

async fn cluster_state(State(state): State<ElasticState>) -> Json<Value> {
    let settings = state.settings();
    Json(json!({
        "cluster_name": settings.cluster_name,
        "cluster_uuid": settings.cluster_uuid,
        "version": 1,
        "state_uuid": settings.cluster_uuid,
        "master_node": NODE_ID,
        "blocks": {},
        "nodes": {
            NODE_ID: {
                "name": settings.node_name,
                "ephemeral_id": NODE_ID,
                "transport_address": settings.publish_address,
                "attributes": {},
                "roles": ROLES,
            },
        },
    }))
}

/// Beats and Logstash start to send only after an active license.
async fn license(State(state): State<ElasticState>) -> Json<Value> {
    Json(json!({
        "license": {
            "status": "active",
            "uid": license_uid(&state),
            "type": "basic",
            "issue_date": "2026-01-01T00:00:00.000Z",
            "issue_date_in_millis": BUILD_DATE_MILLIS,
            "max_nodes": 1000,
            "max_resource_units": null,
            "issued_to": state.settings().cluster_name,
            "issuer": "daybook",
            "start_date_in_millis": -1,
        },
    }))
}

/// Security counts as off, so that Kibana shows no login page of its own: who may do what is decided before us.
async fn xpack(State(state): State<ElasticState>) -> Json<Value> {
    let feature = |is_enabled: bool| json!({ "available": true, "enabled": is_enabled });
    Json(json!({
        "build": { "hash": BUILD_HASH, "date": BUILD_DATE },
        "license": {
            "uid": license_uid(&state),
            "type": "basic",
            "mode": "basic",
            "status": "active",
        },
        "features": {
            "security": feature(false),
            "ilm": feature(true),
            "data_streams": feature(true),
        },
        "tagline": "You know, for X",
    }))
}

/// A UUID that stays the same for a data directory.
fn license_uid(state: &ElasticState) -> String {
    let hex = format!(
        "{:032x}",
        xxh3_128(state.settings().cluster_uuid.as_bytes())
    );
    let (a, b, c, d, e) = (
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    );
    format!("{a}-{b}-{c}-{d}-{e}")
}

/// Nothing runs in the background on a client's behalf.
async fn tasks() -> Json<Value> {
    Json(json!({ "nodes": {} }))
}

async fn task(Path(id): Path<String>) -> ElasticError {
    ElasticError::resource_not_found(format!(
        "task [{id}] isn't running and hasn't stored its results"
    ))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::super::fixture::World;
    use super::*;

    #[tokio::test]
    async fn the_root_has_what_clients_check() {
        let world = World::new();
        let root = world.fetch_json("/").await;
        let keys: Vec<&String> = root.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            ["name", "cluster_name", "cluster_uuid", "version", "tagline"]
        );
        assert_eq!(root["tagline"], "You Know, for Search");
        assert_eq!(root["cluster_uuid"].as_str().unwrap().len(), 22);
        assert_eq!(root["version"]["number"], "8.17.0");
        assert_eq!(root["version"]["build_flavor"], "default");
        assert!(root["version"].get("distribution").is_none());

        let reply = world.call("HEAD", "/", "").await;
        assert_eq!((reply.status.as_u16(), reply.text.as_str()), (200, ""));
    }

    #[tokio::test]
    async fn dashboards_find_a_node_of_a_version_they_take() {
        let world = World::new();
        let uri = "/_nodes?filter_path=nodes.*.version,nodes.*.http.publish_address,nodes.*.ip";
        let builder = Request::get(uri).header("x-elastic-product-origin", "opensearch-dashboards");
        let reply = world.send(builder.body("".into()).unwrap()).await;
        assert_eq!(
            reply.text,
            r#"{"nodes":{"dayb00kNode1":{"ip":"127.0.0.1","version":"7.10.2","http":{"publish_address":"127.0.0.1:8365"}}}}"#
        );
        for uri in [
            "/_nodes",
            "/_nodes/_local",
            "/_nodes/http",
            "/_nodes/_all/http",
        ] {
            let nodes = world.fetch_json(uri).await;
            assert_eq!(nodes["nodes"][NODE_ID]["version"], "8.17.0", "{uri}");
        }
    }

    #[tokio::test]
    async fn health_is_green_at_once() {
        let world = World::new();
        let health = world
            .fetch_json("/_cluster/health?wait_for_status=yellow&timeout=30s")
            .await;
        assert_eq!(health["status"], "green");
        assert_eq!(health["timed_out"], false);
        assert_eq!(health["active_shards"], 3);
        let health = world
            .fetch_json("/_cluster/health/logs-*?wait_for_status=green")
            .await;
        assert_eq!(health["active_shards"], 2);

        let reply = world.fetch("/_cluster/health/missing").await;
        assert_eq!(reply.status, 408);
        assert_eq!(reply.json()["timed_out"], true);
    }

    #[tokio::test]
    async fn shippers_find_an_active_license() {
        let world = World::new();
        let license = world.fetch_json("/_license?human=false").await;
        assert_eq!(license["license"]["status"], "active");
        assert_eq!(
            license["license"]["uid"]
                .as_str()
                .unwrap()
                .split('-')
                .count(),
            5
        );
        let xpack = world.fetch_json("/_xpack?accept_enterprise=true").await;
        assert_eq!(xpack["license"]["uid"], license["license"]["uid"]);
        assert_eq!(xpack["features"]["security"]["enabled"], false);
    }

    #[tokio::test]
    async fn cluster_settings_are_kept() {
        let world = World::new();
        let uri = "/_cluster/settings?flat_settings=true&include_defaults=true";
        let empty = json!({ "persistent": {}, "transient": {}, "defaults": {} });
        assert_eq!(world.fetch_json(uri).await, empty);

        let body = r#"{"persistent":{"a":{"b":true}},"transient":{"c.d":null}}"#;
        let reply = world.call("PUT", "/_cluster/settings", body).await;
        assert_eq!(
            reply.text,
            r#"{"acknowledged":true,"persistent":{"a":{"b":"true"}},"transient":{"c":{"d":null}}}"#
        );
        assert_eq!(
            world.fetch_json(uri).await["persistent"],
            json!({ "a.b": "true" })
        );
        assert_eq!(
            world.fetch_json("/_cluster/settings").await["persistent"],
            json!({ "a": { "b": "true" } })
        );

        assert_eq!(
            world.call("PUT", "/_cluster/settings", "{").await.status,
            400
        );
        assert_eq!(
            world
                .call("PUT", "/_cluster/settings", r#"{"x":1}"#)
                .await
                .status,
            400
        );
    }

    #[tokio::test]
    async fn there_are_no_tasks_and_no_security() {
        let world = World::new();
        assert_eq!(world.fetch_json("/_tasks").await, json!({ "nodes": {} }));
        assert_eq!(world.fetch("/_tasks/n:1").await.status, 404);
        assert_eq!(world.fetch("/_security/_authenticate").await.status, 400);
        let state = world
            .fetch_json("/_cluster/state?filter_path=nodes.*.attributes.*")
            .await;
        assert_eq!(state, json!({}));
    }
}
