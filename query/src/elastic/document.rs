//! Single documents by id: `_doc`, `_source`, `_mget`.
//!
//! A read is real-time: it first waits until accepted events are found, unless `realtime=false`.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use indexer::logs::{Hit, ReadError, ShardId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::error::{ElasticError, RESULT_WINDOW_MAX};
use super::params::Params;
use super::source_filter::SourceFilter;
use super::state::ElasticState;
use super::store::LogStore;
use super::target::{Target, TargetOptions};
use super::version::Version;

/// The most documents of one `_mget`: as many as a search can reach.
const DOCUMENTS_MAX: usize = RESULT_WINDOW_MAX as usize;

/// The routes of single documents.
pub fn routes(state: ElasticState) -> Router {
    Router::new()
        .route("/{target}/_doc/{id}", get(document))
        .route("/{target}/_source/{id}", get(source))
        .route("/_mget", get(documents_of_any).post(documents_of_any))
        .route("/{target}/_mget", get(documents_of).post(documents_of))
        .with_state(state)
}

/// A document and the name of the index it is in.
#[derive(Debug, Clone)]
struct Found {
    index: String,
    hit: Hit,
}

async fn document(
    State(state): State<ElasticState>,
    Path((target, id)): Path<(String, String)>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ElasticError> {
    let filter = SourceFilter::ALL.with_params(&params)?;
    let is_typed = is_typed(&state, &headers);
    match find(&state, &target, &id, &params).await? {
        Some(found) => Ok(json_text(StatusCode::OK, shown(&found, &filter, is_typed)?)),
        None => {
            let missing = not_found(&target, &id, is_typed);
            Ok((StatusCode::NOT_FOUND, Json(missing)).into_response())
        }
    }
}

async fn source(
    State(state): State<ElasticState>,
    Path((target, id)): Path<(String, String)>,
    params: Params,
) -> Result<Response, ElasticError> {
    let filter = SourceFilter::ALL.with_params(&params)?;
    match find(&state, &target, &id, &params).await? {
        Some(found) => {
            let shown = filter.apply(&found.hit.source).into_owned();
            Ok(json_text(StatusCode::OK, shown))
        }
        None => Err(ElasticError::resource_not_found(format!(
            "Document not found [{target}]/[{id}]"
        ))),
    }
}

async fn find(
    state: &ElasticState,
    target: &str,
    id: &str,
    params: &Params,
) -> Result<Option<Found>, ElasticError> {
    refresh(state, params).await?;
    let resolved = state.resolve(target, params, TargetOptions::default())?;
    let id = id.to_owned();
    state
        .read(move |store| first_found(store, &resolved.targets, &id))
        .await
}

async fn refresh(state: &ElasticState, params: &Params) -> Result<(), ElasticError> {
    if params.flag("realtime", true)? {
        state.refresh().await;
    }
    Ok(())
}

/// Looks in the newest day first: there the events are that people have just seen.
fn first_found(
    store: &dyn LogStore,
    targets: &[Target],
    id: &str,
) -> Result<Option<Found>, ReadError> {
    let mut newest_first: Vec<ShardId> = targets.iter().map(|t| t.shard.clone()).collect();
    newest_first.sort_by_key(|shard| std::cmp::Reverse(shard.day));
    newest_first.dedup();
    let Some((shard, hit)) = store.event(&newest_first, id)? else {
        return Ok(None);
    };
    let is_in_slice = |target: &Target| {
        let slice = target.time_slice;
        slice.is_none_or(|slice| slice.start <= hit.timestamp && hit.timestamp < slice.end)
    };
    let mut of_shard = targets.iter().filter(|target| target.shard == shard);
    let index = shard.index.shard_name(shard.day);
    Ok(of_shard.any(is_in_slice).then_some(Found { index, hit }))
}

/// Clients of version 7 expect a type.
fn is_typed(state: &ElasticState, headers: &HeaderMap) -> bool {
    Version::negotiate(headers, &state.settings().version).major() < 8
}

#[derive(Serialize)]
struct ShownDocument<'a> {
    _index: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    _type: Option<&'static str>,
    _id: &'a str,
    _version: u64,
    _seq_no: u64,
    _primary_term: u64,
    found: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    _source: Option<&'a RawValue>,
}

/// The position in the journal stands for the sequence number: it grows with every write of the document.
fn shown(found: &Found, filter: &SourceFilter, is_typed: bool) -> Result<Vec<u8>, ElasticError> {
    let broken = |error: serde_json::Error| {
        ElasticError::internal(format!(
            "document [{}] cannot be written: {error}",
            found.hit.id
        ))
    };
    let source = filter.apply(&found.hit.source);
    let source = match filter.is_shown() {
        true => Some(serde_json::from_slice(&source).map_err(broken)?),
        false => None,
    };
    let document = ShownDocument {
        _index: &found.index,
        _type: is_typed.then_some("_doc"),
        _id: &found.hit.id,
        _version: 1,
        _seq_no: found.hit.position.0,
        _primary_term: 1,
        found: true,
        _source: source,
    };
    serde_json::to_vec(&document).map_err(broken)
}

fn not_found(index: &str, id: &str, is_typed: bool) -> Value {
    match is_typed {
        true => json!({ "_index": index, "_type": "_doc", "_id": id, "found": false }),
        false => json!({ "_index": index, "_id": id, "found": false }),
    }
}

fn json_text(status: StatusCode, body: Vec<u8>) -> Response {
    let content_type = HeaderValue::from_static("application/json");
    (status, [(CONTENT_TYPE, content_type)], body).into_response()
}

#[derive(Deserialize)]
struct ManyBody {
    #[serde(default)]
    docs: Vec<WantedBody>,
    #[serde(default)]
    ids: Vec<Id>,
}

#[derive(Deserialize)]
struct WantedBody {
    _index: Option<String>,
    _id: Id,
    #[serde(default)]
    _source: Value,
}

/// Ids may arrive as numbers.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Text(String),
    Number(i64),
}

impl Id {
    fn into_text(self) -> String {
        match self {
            Id::Text(text) => text,
            Id::Number(number) => number.to_string(),
        }
    }
}

/// One document of a `_mget`, and where to look: nowhere when its index does not exist.
struct Wanted {
    index: String,
    id: String,
    filter: SourceFilter,
    targets: Result<Vec<Target>, ElasticError>,
}

async fn documents_of_any(
    State(state): State<ElasticState>,
    params: Params,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ElasticError> {
    documents(&state, None, &params, &headers, &body).await
}

async fn documents_of(
    State(state): State<ElasticState>,
    Path(target): Path<String>,
    params: Params,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ElasticError> {
    documents(&state, Some(&target), &params, &headers, &body).await
}

/// Documents in the order of the request. A missing index is an error of its document alone.
async fn documents(
    state: &ElasticState,
    target: Option<&str>,
    params: &Params,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response, ElasticError> {
    let wanted = wanted_documents(target, params, body)?;
    refresh(state, params).await?;
    let (names, now) = (state.names(), state.now());
    let resolve = |index: &str| {
        let resolved = names.resolve(index, &TargetOptions::default(), now);
        resolved.map(|resolved| resolved.targets)
    };
    let wanted: Vec<Wanted> = wanted
        .into_iter()
        .map(|(index, id, filter)| Wanted {
            targets: resolve(&index),
            index,
            id,
            filter,
        })
        .collect();
    let is_typed = is_typed(state, headers);
    let answers = state
        .read(move |store| {
            let answer = |one: Wanted| answer(store, one, is_typed);
            Ok(wanted.into_iter().map(answer).collect::<Vec<_>>())
        })
        .await?;
    let mut reply = br#"{"docs":["#.to_vec();
    for (at, answer) in answers.iter().enumerate() {
        if at > 0 {
            reply.push(b',');
        }
        reply.extend_from_slice(answer);
    }
    reply.extend_from_slice(b"]}");
    Ok(json_text(StatusCode::OK, reply))
}

fn wanted_documents(
    target: Option<&str>,
    params: &Params,
    body: &[u8],
) -> Result<Vec<(String, String, SourceFilter)>, ElasticError> {
    let body: ManyBody =
        serde_json::from_slice(body).map_err(|error| ElasticError::json_parse(&error))?;
    let count = body.docs.len() + body.ids.len();
    if count == 0 {
        return Err(ElasticError::validation("no documents to get"));
    }
    if count > DOCUMENTS_MAX {
        return Err(ElasticError::illegal_argument(format!(
            "[{count}] documents are more than [{DOCUMENTS_MAX}], ask in several requests"
        )));
    }
    let default_filter = SourceFilter::ALL.with_params(params)?;
    let mut wanted = Vec::with_capacity(count);
    for one in body.docs {
        let index = one._index.as_deref().or(target);
        let index = index.ok_or_else(|| ElasticError::validation("index is missing for doc 0"))?;
        let filter = match one._source.is_null() {
            true => default_filter.clone(),
            false => SourceFilter::of_json(&one._source)?,
        };
        wanted.push((index.to_owned(), one._id.into_text(), filter));
    }
    for id in body.ids {
        let index = target.ok_or_else(|| ElasticError::validation("index is missing for doc 0"))?;
        wanted.push((index.to_owned(), id.into_text(), default_filter.clone()));
    }
    Ok(wanted)
}

fn answer(store: &dyn LogStore, wanted: Wanted, is_typed: bool) -> Vec<u8> {
    let found = match wanted.targets {
        Ok(targets) => first_found(store, &targets, &wanted.id).map_err(ElasticError::from),
        Err(error) => Err(error),
    };
    let shown = match found {
        Ok(Some(found)) => shown(&found, &wanted.filter, is_typed),
        Ok(None) => Ok(not_found(&wanted.index, &wanted.id, is_typed)
            .to_string()
            .into_bytes()),
        Err(error) => Err(error),
    };
    shown.unwrap_or_else(|error| {
        let error = error.to_item_json()["error"].take();
        let answer = json!({ "_index": wanted.index, "_id": wanted.id, "error": error });
        answer.to_string().into_bytes()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use http::Request;
    use serde_json::json;

    use super::super::fixture::World;

    #[tokio::test]
    async fn a_document_is_found_by_index_day_or_wildcard() {
        let world = World::new();
        let expected = r#"{"_index":"logs-2026.11.22","_id":"a","_version":1,"_seq_no":41,"_primary_term":1,"found":true,"_source":{"message":"first","price":0.470}}"#;
        for target in ["logs", "logs-2026.11.22", "logs-*", "logs-2026.11.22.00"] {
            let reply = world.fetch(&format!("/{target}/_doc/a")).await;
            assert_eq!(
                (reply.status.as_u16(), reply.text.as_str()),
                (200, expected),
                "{target}"
            );
        }
        assert_eq!(
            world.fetch("/logs/_doc/c%2Fd").await.json()["_source"]["user"]["id"],
            1
        );
        assert_eq!(world.refresh.0.load(Ordering::Relaxed), 5);
        world.fetch("/logs/_doc/a?realtime=false").await;
        assert_eq!(world.refresh.0.load(Ordering::Relaxed), 5);
    }

    #[tokio::test]
    async fn what_is_missing_is_told_apart() {
        let world = World::new();
        let reply = world.fetch("/logs/_doc/zzz").await;
        assert_eq!(
            (reply.status.as_u16(), reply.text.as_str()),
            (404, r#"{"_index":"logs","_id":"zzz","found":false}"#)
        );
        for target in ["logs-2026.11.23", "logs-2026.11.22.05"] {
            assert_eq!(
                world.fetch(&format!("/{target}/_doc/a")).await.status,
                404,
                "{target}"
            );
        }
        let reply = world.fetch("/missing/_doc/a").await;
        assert_eq!(
            (
                reply.status.as_u16(),
                reply.json()["error"]["type"].as_str()
            ),
            (404, Some("index_not_found_exception"))
        );
        assert_eq!(world.call("HEAD", "/logs/_doc/a", "").await.status, 200);
        assert_eq!(world.call("HEAD", "/logs/_doc/zzz", "").await.status, 404);

        world.store.break_shard("logs-2026.11.22");
        let reply = world.fetch("/logs-2026.11.22/_doc/a").await;
        assert_eq!(reply.status, 503);
        assert!(reply.text.contains("checksum mismatch"));
    }

    #[tokio::test]
    async fn the_source_is_shown_in_parts() {
        let world = World::new();
        assert_eq!(
            world.fetch("/logs/_source/a").await.text,
            r#"{"message":"first","price":0.470}"#
        );
        assert_eq!(
            world
                .fetch("/logs/_source/c%2Fd?_source_includes=user.name")
                .await
                .text,
            r#"{"user":{"name":"x"}}"#
        );
        let error = world.fetch("/logs/_source/zzz").await;
        assert_eq!(
            error.json()["error"]["type"],
            "resource_not_found_exception"
        );
        assert!(
            world
                .fetch("/logs/_doc/a?_source=false")
                .await
                .json()
                .get("_source")
                .is_none()
        );
        let part = world
            .fetch("/logs/_doc/a?_source_excludes=price")
            .await
            .json();
        assert_eq!(part["_source"], json!({ "message": "first" }));
    }

    #[tokio::test]
    async fn clients_of_version_7_get_a_type() {
        let world = World::new();
        let builder = Request::get("/logs/_doc/a")
            .header("x-elastic-product-origin", "opensearch-dashboards");
        let reply = world.send(builder.body("".into()).unwrap()).await;
        assert_eq!(reply.json()["_type"], "_doc");
    }

    #[tokio::test]
    async fn many_documents_come_in_the_order_of_the_request() {
        let world = World::new();
        let body = r#"{"docs":[{"_index":"logs","_id":"b","_source":["message"]},{"_index":"missing","_id":"x"},{"_index":"logs","_id":1},{"_index":"logs-2026.11.22","_id":"a","_source":false}]}"#;
        let reply = world.call("POST", "/_mget", body).await;
        assert_eq!(reply.status, 200);
        let docs = &reply.json()["docs"];
        assert_eq!(docs[0]["_source"], json!({ "message": "second" }));
        assert_eq!(docs[1]["error"]["type"], "index_not_found_exception");
        assert_eq!(
            docs[2],
            json!({ "_index": "logs", "_id": "1", "found": false })
        );
        assert_eq!(
            (docs[3]["found"].as_bool(), docs[3].get("_source")),
            (Some(true), None)
        );

        let reply = world
            .call(
                "GET",
                "/logs/_mget?_source_includes=price",
                r#"{"ids":["a","zzz"]}"#,
            )
            .await;
        assert_eq!(
            reply.json()["docs"][0]["_source"].to_string(),
            r#"{"price":0.47}"#
        );
        assert!(reply.text.contains(r#""_source":{"price":0.470}"#));
        for body in ["{}", "{", r#"{"ids":["a"]}"#, r#"{"docs":[{"_id":"a"}]}"#] {
            assert_eq!(
                world.call("POST", "/_mget", body).await.status,
                400,
                "{body}"
            );
        }
    }
}
