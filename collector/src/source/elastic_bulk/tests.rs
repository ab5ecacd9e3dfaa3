//! The source as its clients see it: requests in, replies out, a fake journal behind it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body as AxumBody;
use event::{AppendError, Refresh, RetryAfter, SourceTotals, Timestamp};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::{Parameters, Pipelines, Settings, routes};
use crate::body;
use crate::pipeline::Pipeline;
use crate::source::PushContext;
use crate::source::fake::FakeJournal;

#[derive(Default)]
struct CountedRefresh(AtomicUsize);

impl Refresh for CountedRefresh {
    fn refresh(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async {})
    }
}

struct Fixture {
    journal: Arc<FakeJournal>,
    context: PushContext,
    refresh: Arc<CountedRefresh>,
    router: Router,
}

struct Reply {
    status: StatusCode,
    headers: http::HeaderMap,
    body: String,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture::with(body::Settings::default())
    }

    fn with(bodies: body::Settings) -> Fixture {
        let journal = Arc::new(FakeJournal::default());
        let context = journal.context_with(bodies);
        let refresh = Arc::new(CountedRefresh::default());
        let hook = Arc::clone(&refresh) as Arc<dyn Refresh>;
        let pipelines = Pipelines {
            own: None,
            named: Arc::new(|name| (name == "web").then(web_pipeline)),
        };
        Fixture {
            router: routes(Settings::default(), pipelines, context.clone(), hook),
            journal,
            context,
            refresh,
        }
    }

    async fn send(&self, method: &str, uri: &str, body: impl Into<AxumBody>) -> Reply {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .body(body.into())
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Reply {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    fn totals(&self) -> SourceTotals {
        self.context.ledger.totals().remove(0)
    }
}

#[tokio::test]
async fn a_batch_is_answered_item_by_item_in_elasticsearchs_own_bytes() {
    let fixture = Fixture::new();
    let body = "{\"create\":{\"_index\":\"web-2026.11.23\",\"_id\":\"x1\"}}\n\
                {\"@timestamp\":\"2026-11-22T10:00:00Z\",\"m\":\"a\"}\n\
                {\"index\":{\"_index\":\"web\"}}\n{\"m\":\"b\"}\n";
    let reply = fixture.send("POST", "/_bulk", body).await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.headers["content-type"], "application/json");
    let took = reply.body.find(",\"errors\"").unwrap();
    let rest = &reply.body[took..];
    assert_eq!(
        rest,
        ",\"errors\":false,\"items\":[\
         {\"create\":{\"_index\":\"web-2026.11.22\",\"_id\":\"x1\",\"_version\":1,\"result\":\"created\",\
         \"_shards\":{\"total\":1,\"successful\":1,\"failed\":0},\"_seq_no\":0,\"_primary_term\":1,\"status\":201}},\
         {\"index\":{\"_index\":\"web-2026.11.23\",\"_id\":\"made-1\",\"_version\":1,\"result\":\"created\",\
         \"_shards\":{\"total\":1,\"successful\":1,\"failed\":0},\"_seq_no\":1,\"_primary_term\":1,\"status\":201}}]}"
    );
    let batches = fixture.journal.batches.lock().unwrap();
    assert_eq!(batches.len(), 1, "one request is one batch");
    assert_eq!(&*batches[0].source, "elastic_bulk");
}

fn web_pipeline() -> Arc<Pipeline> {
    let settings = r#"{"steps":[{"drop":{},"when":{"field":"level","equals":"debug"}},{"redact":{"presets":["email"]}},{"route":{"index":"errors"},"when":{"field":"level","equals":"error"}}]}"#;
    Arc::new(Pipeline::compile("web", &serde_json::from_str(settings).unwrap()).unwrap())
}

#[tokio::test]
async fn documents_go_through_the_pipeline_their_sender_asks_for() {
    let fixture = Fixture::new();
    let body = "{\"create\":{\"_index\":\"web\",\"_id\":\"1\"}}\n{\"m\":\"ada@example.org\"}\n\
                {\"create\":{\"_index\":\"web\",\"_id\":\"2\"}}\n{\"level\":\"debug\"}\n\
                {\"create\":{\"_index\":\"web\",\"_id\":\"3\",\"pipeline\":\"_none\"}}\n{\"level\":\"debug\"}\n\
                {\"index\":{\"_index\":\"web\",\"pipeline\":\"web\"}}\n{\"level\":\"error\"}\n\
                {\"index\":{\"_index\":\"web\",\"pipeline\":\"filebeat-8.15.0-nginx-access\"}}\n{ \"a\" : 1 }\n\
                {\"delete\":{\"_index\":\"web\",\"_id\":\"1\"}}\n";
    let reply = fixture.send("POST", "/_bulk?pipeline=web", body).await;
    let answer: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(answer["items"][1]["create"]["result"], "noop", "{answer}");
    assert_eq!(answer["items"][1]["create"]["status"], 200);
    assert_eq!(answer["items"][3]["index"]["_index"], "errors-2026.11.23");
    let events = fixture.journal.events();
    let sources: Vec<String> = events
        .iter()
        .map(|event| String::from_utf8_lossy(&event.source).into_owned())
        .collect();
    let arrived = "\"@timestamp\":\"2026-11-23T10:00:00.000Z\"";
    assert_eq!(
        sources,
        [
            format!("{{\"m\":\"<email>\",{arrived}}}"),
            "{\"level\":\"debug\"}".to_owned(),
            format!("{{\"level\":\"error\",{arrived}}}"),
            "{ \"a\" : 1 }".to_owned(),
            String::new(),
        ]
    );
    assert_eq!(events[0].id.as_deref(), Some("1"));
    let totals = fixture.totals();
    assert_eq!(
        (totals.received, totals.dropped["dropped_by_pipeline"]),
        (6, 1)
    );
}

#[tokio::test]
async fn every_kind_of_item_gets_its_own_status() {
    let fixture = Fixture::new();
    let body = "{\"create\":{\"_id\":\"1\"}}\n{\"n\":1}\n\
                {\"create\":{\"_id\":\"1\"}}\n{\"n\":2}\n\
                {\"index\":{\"_id\":\"1\"}}\n{\"n\":3}\n\
                {\"index\":{\"_id\":\"2\"}}\n{\"n\":4,}\n\
                {\"delete\":{\"_id\":\"1\"}}\n\
                {\"delete\":{\"_id\":\"1\"}}\n\
                {\"update\":{\"_id\":\"1\"}}\n{\"doc\":{}}";
    let reply = fixture.send("PUT", "/logs/_bulk/", body).await;
    assert!(reply.body.contains(",\"errors\":true,\"items\":["));
    let value: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    let items: Vec<(String, u64, String)> = value["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            let (verb, item) = item.as_object().unwrap().iter().next().unwrap();
            let said = item.get("result").or(item["error"].get("type")).unwrap();
            let status = item["status"].as_u64().unwrap();
            (verb.clone(), status, said.as_str().unwrap().to_owned())
        })
        .collect();
    let expected = [
        ("create", 201, "created"),
        ("create", 409, "version_conflict_engine_exception"),
        ("index", 200, "updated"),
        ("index", 400, "document_parsing_exception"),
        ("delete", 200, "deleted"),
        ("delete", 404, "not_found"),
        ("update", 400, "illegal_argument_exception"),
    ];
    let items: Vec<(&str, u64, &str)> = items
        .iter()
        .map(|(verb, status, said)| (verb.as_str(), *status, said.as_str()))
        .collect();
    assert_eq!(items, expected);

    let totals = fixture.totals();
    assert_eq!(totals.received, 7);
    assert_eq!(totals.received_bytes, body.len() as u64);
    assert_eq!(totals.rejected["malformed"], 1);
    assert_eq!(totals.rejected["unsupported"], 1);
}

#[tokio::test]
async fn what_the_store_rejects_is_told_to_the_item() {
    let fixture = Fixture::new();
    *fixture.journal.oldest.lock().unwrap() = Some(Timestamp::parse_iso("2026").unwrap());
    let body = "{\"create\":{}}\n{\"@timestamp\":\"2001\"}\n{\"create\":{}}\n{}\n";
    let reply = fixture.send("POST", "/logs/_bulk", body).await;
    let value: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!(value["items"][0]["create"]["status"], 400);
    assert_eq!(
        value["items"][0]["create"]["error"]["reason"],
        "the event is older than its index keeps"
    );
    assert_eq!(value["items"][1]["create"]["status"], 201);
}

#[tokio::test]
async fn a_request_that_cannot_be_split_is_a_400_with_an_error_body() {
    let fixture = Fixture::new();
    let reply = fixture
        .send("POST", "/logs/_bulk", "{\"x\":{}}\n{}\n")
        .await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    let cause = "\"type\":\"illegal_argument_exception\",\"reason\":\"Malformed action/metadata line [1], \
                 expected field [create], [delete], [index] or [update] but found [x]\"";
    assert_eq!(
        reply.body,
        format!("{{\"error\":{{\"root_cause\":[{{{cause}}}],{cause}}},\"status\":400}}")
    );
    let reply = fixture.send("POST", "/_bulk", "{\"index\":{}}\n{}\n").await;
    assert!(
        reply
            .body
            .contains("Validation Failed: 1: index is missing;")
    );
    let reply = fixture.send("POST", "/_bulk", "").await;
    assert!(reply.body.contains("request body is required"));

    assert!(fixture.journal.events().is_empty());
    let totals = fixture.totals();
    assert_eq!((totals.received, totals.rejected["malformed"]), (3, 3));
}

#[tokio::test]
async fn overload_is_a_429_and_trouble_a_503_both_with_retry_after() {
    let fixture = Fixture::new();
    let retry_after = RetryAfter(Duration::from_secs(7));
    let message = "95% of 4 GiB".to_owned();
    for (error, status, error_type, reason) in [
        (
            AppendError::Full {
                message: message.clone(),
                retry_after,
            },
            StatusCode::TOO_MANY_REQUESTS,
            "es_rejected_execution_exception",
            "journal_full",
        ),
        (
            AppendError::Unavailable {
                message,
                retry_after,
            },
            StatusCode::SERVICE_UNAVAILABLE,
            "no_shard_available_action_exception",
            "journal_unavailable",
        ),
    ] {
        *fixture.journal.refuse_with.lock().unwrap() = Some(error);
        let body = "{\"create\":{}}\n{}\n{\"create\":{}}\n{}\n";
        let reply = fixture.send("POST", "/logs/_bulk", body).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.headers["retry-after"], "7");
        assert!(reply.body.contains(error_type), "{}", reply.body);
        assert_eq!(fixture.totals().rejected[reason], 2);
    }
    assert_eq!(fixture.totals().in_flight, 0);
    assert_eq!(fixture.context.bodies.in_flight().used(), 0);
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_413_and_counted() {
    let fixture = Fixture::with(body::Settings {
        bytes_max: 100,
        ..body::Settings::default()
    });
    let reply = fixture.send("POST", "/logs/_bulk", "x".repeat(101)).await;
    assert_eq!(reply.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(reply.body.contains("limits.request"));
    assert_eq!(fixture.totals().rejected["request_too_large"], 1);
}

#[tokio::test]
async fn a_large_body_is_read_away_from_the_io_threads_and_answered_alike() {
    let fixture = Fixture::new();
    let pair = "{\"create\":{}}\n{\"@timestamp\":\"2026-11-23T10:00:00Z\",\"message\":\"hello\"}\n";
    let count = 300 * 1024 / pair.len();
    let reply = fixture
        .send("POST", "/logs/_bulk", pair.repeat(count))
        .await;
    assert!(reply.body.contains("\"errors\":false,\"items\":["));
    assert_eq!(reply.body.matches("\"status\":201").count(), count);
    assert_eq!(fixture.journal.events().len(), count);
}

#[tokio::test]
async fn single_documents_are_added_replaced_and_deleted() {
    let fixture = Fixture::new();
    let reply = fixture
        .send("POST", "/logs/_doc", "{\n  \"m\": 1\n}\n")
        .await;
    assert_eq!(reply.status, StatusCode::CREATED);
    assert_eq!(reply.headers["location"], "/logs-2026.11.23/_doc/made-0");
    assert_eq!(
        reply.body,
        "{\"_index\":\"logs-2026.11.23\",\"_id\":\"made-0\",\"_version\":1,\"result\":\"created\",\
         \"_shards\":{\"total\":1,\"successful\":1,\"failed\":0},\"_seq_no\":0,\"_primary_term\":1}"
    );
    assert_eq!(fixture.journal.events()[0].source, "{\n  \"m\": 1\n}");

    for (method, uri, body, status) in [
        ("PUT", "/logs/_doc/a%3Ab", "{}", StatusCode::CREATED),
        ("PUT", "/logs/_doc/a%3Ab", "{\"n\":2}", StatusCode::OK),
        ("POST", "/logs/_create/a:b", "{}", StatusCode::CONFLICT),
        (
            "PUT",
            "/logs/_doc/a:b?op_type=create",
            "{}",
            StatusCode::CONFLICT,
        ),
        (
            "PUT",
            "/logs/_doc/a:b?if_seq_no=1",
            "{}",
            StatusCode::BAD_REQUEST,
        ),
        ("PUT", "/logs/_doc/c", "{", StatusCode::BAD_REQUEST),
        ("PUT", "/Logs/_doc/c", "{}", StatusCode::BAD_REQUEST),
        ("DELETE", "/logs/_doc/a:b", "", StatusCode::OK),
        ("DELETE", "/logs/_doc/a:b", "", StatusCode::NOT_FOUND),
        ("POST", "/system/events", "{}", StatusCode::CREATED),
    ] {
        let reply = fixture.send(method, uri, body).await;
        assert_eq!(reply.status, status, "{method} {uri}: {}", reply.body);
        let value: serde_json::Value = serde_json::from_str(&reply.body).unwrap();
        let is_error = value.get("error").is_some();
        let is_conflict_or_bad =
            status == StatusCode::CONFLICT || status == StatusCode::BAD_REQUEST;
        assert_eq!(is_error, is_conflict_or_bad, "{method} {uri}");
    }
}

#[tokio::test]
async fn old_typed_paths_reach_bulk() {
    let fixture = Fixture::new();
    for uri in ["/_bulk/", "/web/_bulk", "/web/doc/_bulk", "/web/_doc/_bulk"] {
        let body = "{\"index\":{\"_index\":\"web\"}}\n{}\n";
        let reply = fixture.send("POST", uri, body).await;
        assert!(
            reply.body.contains("\"status\":201"),
            "{uri}: {}",
            reply.body
        );
    }
    let reply = fixture.send("POST", "/api/unknown", "{}").await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn refresh_waits_for_the_index_only_when_asked() {
    let fixture = Fixture::new();
    for (uri, refreshes) in [
        ("/logs/_bulk", 0),
        ("/logs/_bulk?refresh=false", 0),
        ("/logs/_bulk?refresh=true&pipeline=x", 1),
        ("/logs/_bulk?refresh", 2),
        ("/logs/_doc/1?timeout=1m&refresh=wait_for", 3),
    ] {
        let body = match uri.contains("_bulk") {
            true => "{\"index\":{}}\n{}\n",
            false => "{}",
        };
        fixture.send("PUT", uri, body).await;
        assert_eq!(
            fixture.refresh.0.load(Ordering::Relaxed),
            refreshes,
            "{uri}"
        );
    }
    assert_eq!(Parameters::of(None), Parameters::default());
}
