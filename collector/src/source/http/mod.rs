//! Events over plain HTTP: JSON objects line by line, a JSON array, or lines of text.
//!
//! For programs and scripts without a protocol of their own: `curl --data-binary @app.log URL`. The answer comes when
//! the events are durable and says how many were taken.

mod read;

use std::sync::Arc;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use event::IndexName;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::gathered::{Gathered, Terms};
use super::refusal::Refusal;
use super::{Intake, PushContext};
use crate::body::Body;
use crate::pipeline::Pipeline;

pub use self::read::{Format, read};

/// `type: http` under `sources:` in the settings file. The source is there without an entry, too.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntrySettings {
    /// The index of its events whose request names none; `logs` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// The pipeline its events go through; without it lines of text go through detection and JSON stays as it is.
    #[serde(
        deserialize_with = "crate::pipeline::names",
        skip_serializing_if = "Option::is_none"
    )]
    pub pipeline: Option<String>,
    /// The field that holds an object's time: ISO 8601, or seconds, milli-, micro- or nanoseconds since 1970.
    pub time_field: String,
}

impl Default for EntrySettings {
    fn default() -> EntrySettings {
        EntrySettings {
            index: None,
            pipeline: None,
            time_field: "@timestamp".to_owned(),
        }
    }
}

/// How the source behaves.
#[derive(Clone)]
pub struct Settings {
    /// The source's name in the books.
    pub source_name: Arc<str>,
    /// The index of events whose request names none.
    pub index: IndexName,
    /// The most bytes of one event: `limits.event`.
    pub event_bytes_max: usize,
    /// What lines of text go through.
    pub lines_pipeline: Arc<Pipeline>,
    /// What JSON objects go through.
    pub json_pipeline: Arc<Pipeline>,
    /// The field that holds an object's time.
    pub time_field: String,
}

struct Http {
    settings: Settings,
    intake: Intake,
}

/// The routes of the source.
pub fn routes(settings: Settings, context: PushContext) -> Router {
    let source = Arc::new(Http {
        intake: Intake::new(&settings.source_name, context),
        settings,
    });
    Router::new()
        .route("/api/daybook/v1/ingest", post(ingest).put(ingest))
        .route(
            "/api/daybook/v1/ingest/{index}",
            post(ingest_into).put(ingest_into),
        )
        .with_state(source)
}

async fn ingest(
    State(source): State<Arc<Http>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: AxumBody,
) -> Response {
    source.take(None, query, &headers, body).await
}

async fn ingest_into(
    State(source): State<Arc<Http>>,
    Path(index): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: AxumBody,
) -> Response {
    source.take(Some(index), query, &headers, body).await
}

impl Http {
    async fn take(
        &self,
        index: Option<String>,
        query: Option<String>,
        headers: &HeaderMap,
        body: AxumBody,
    ) -> Response {
        match self.try_take(index, query, headers, body).await {
            Ok(response) | Err(response) => response,
        }
    }

    async fn try_take(
        &self,
        index: Option<String>,
        query: Option<String>,
        headers: &HeaderMap,
        body: AxumBody,
    ) -> Result<Response, Response> {
        let index = match index.as_deref().map(IndexName::parse) {
            None => self.settings.index.clone(),
            Some(Ok(index)) => index,
            Some(Err(error)) => {
                self.intake.count_unread_request("bad_index", 0);
                return Err(problem_of(StatusCode::BAD_REQUEST, &error.to_string()));
            }
        };
        let received = (self.intake.now)();
        let body = self.intake.read_body(headers, body).await;
        let Body { bytes, reservation } = body.map_err(|error| refused(&error.into()))?;
        let body_bytes = bytes.len();
        let format = Format::of(
            headers
                .get(CONTENT_TYPE)
                .and_then(|value| value.to_str().ok()),
            &bytes,
        );
        let terms = Terms {
            index,
            received,
            event_bytes_max: self.settings.event_bytes_max,
            pipeline: Arc::clone(match format {
                Format::Lines => &self.settings.lines_pipeline,
                Format::Objects | Format::Array => &self.settings.json_pipeline,
            }),
        };
        let time_field =
            time_field(query.as_deref()).unwrap_or_else(|| self.settings.time_field.clone());
        let read = move || read(format, &bytes, &time_field, terms);
        let mut gathered = self.intake.cpu.run(body_bytes, read).await;
        let kept = self.intake.keep(&mut gathered, body_bytes, reservation);
        kept.await.map_err(|refusal| refused(&refusal))?;
        Ok(answer(&gathered))
    }
}

/// 200 when anything was taken or nothing was wrong, else 400.
fn answer(gathered: &Gathered) -> Response {
    let refused = gathered.refused_count();
    let accepted = gathered.received - gathered.dropped_count() - refused;
    let status = match accepted == 0 && refused > 0 {
        true => StatusCode::BAD_REQUEST,
        false => StatusCode::OK,
    };
    let mut body = json!({
        "accepted": accepted,
        "dropped": gathered.dropped_count(),
        "rejected": refused,
    });
    if let Some(problem) = &gathered.first_problem {
        body["first_error"] = json!(problem);
    }
    (status, axum::Json(body)).into_response()
}

fn problem_of(status: StatusCode, problem: &str) -> Response {
    (status, axum::Json(json!({ "error": problem }))).into_response()
}

fn refused(refusal: &Refusal) -> Response {
    refusal.tell_when(problem_of(refusal.status(), &refusal.to_string()))
}

/// `time_field=ts` of a query; names of fields need no escapes.
fn time_field(query: Option<&str>) -> Option<String> {
    let value = query?
        .split('&')
        .find_map(|pair| pair.strip_prefix("time_field="))?;
    (!value.is_empty()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use event::{AppendError, RetryAfter};
    use http::Request;
    use serde_json::Value;
    use tower::ServiceExt;

    use super::super::gathered::no_steps;
    use super::*;
    use crate::body;
    use crate::source::fake::FakeJournal;

    struct Fixture {
        journal: Arc<FakeJournal>,
        context: PushContext,
        router: Router,
    }

    fn fixture() -> Fixture {
        let journal = Arc::new(FakeJournal::default());
        let context = journal.context_with(body::Settings::default());
        let settings = Settings {
            source_name: Arc::from("http"),
            index: IndexName::default_index(),
            event_bytes_max: 200,
            lines_pipeline: Arc::new(Pipeline::automatic()),
            json_pipeline: no_steps("http"),
            time_field: "@timestamp".to_owned(),
        };
        Fixture {
            journal,
            router: routes(settings, context.clone()),
            context,
        }
    }

    impl Fixture {
        async fn post(&self, path: &str, content_type: &str, body: &str) -> (StatusCode, Value) {
            let request = Request::post(path)
                .header(CONTENT_TYPE, content_type)
                .body(AxumBody::from(body.to_owned()))
                .unwrap();
            let response = self.router.clone().oneshot(request).await.unwrap();
            let status = response.status();
            let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
            (status, serde_json::from_slice(&body).unwrap())
        }

        fn sources(&self) -> Vec<String> {
            let events = self.journal.events();
            events
                .iter()
                .map(|event| {
                    format!(
                        "{} {} {}",
                        event.index,
                        event.timestamp.to_rfc3339(),
                        String::from_utf8_lossy(&event.source)
                    )
                })
                .collect()
        }
    }

    #[tokio::test]
    async fn lines_objects_and_arrays_are_taken() {
        let fixture = fixture();
        let (status, reply) = fixture
            .post(
                "/api/daybook/v1/ingest",
                "text/plain",
                "it works\r\n\nERROR no money",
            )
            .await;
        assert_eq!(
            (status, reply["accepted"].as_u64()),
            (StatusCode::OK, Some(2))
        );
        let ndjson = "{\"ts\":1795427998.5,\"n\":0.470}\n{\"ts\":\"soon\"}\n{broken}\n{\"m\":1}\n";
        let (status, reply) = fixture
            .post(
                "/api/daybook/v1/ingest/shop?time_field=ts",
                "application/x-ndjson",
                ndjson,
            )
            .await;
        assert_eq!(
            (
                status,
                reply["accepted"].as_u64(),
                reply["rejected"].as_u64()
            ),
            (StatusCode::OK, Some(3), Some(1))
        );
        assert!(
            reply["first_error"]
                .as_str()
                .unwrap()
                .starts_with("line 3: "),
            "{reply}"
        );
        let array = r#"[{"a":1},7,{"@timestamp":"2026-11-23T09:00:00Z"}]"#;
        let (_, reply) = fixture
            .post("/api/daybook/v1/ingest", "application/json", array)
            .await;
        assert_eq!(
            (reply["accepted"].as_u64(), reply["rejected"].as_u64()),
            (Some(2), Some(1))
        );
        let sources = fixture.sources();
        let expected = [
            r#"logs 2026-11-23T10:00:00.000Z {"@timestamp":"2026-11-23T10:00:00.000Z","message":"it works"}"#,
            r#"logs 2026-11-23T10:00:00.000Z {"@timestamp":"2026-11-23T10:00:00.000Z","message":"ERROR no money","log.level":"error"}"#,
            r#"shop 2026-11-23T09:59:58.500Z {"ts":1795427998.5,"n":0.470,"@timestamp":"2026-11-23T09:59:58.500Z"}"#,
            r#"shop 2026-11-23T10:00:00.000Z {"ts":"soon","@timestamp":"2026-11-23T10:00:00.000Z"}"#,
            r#"shop 2026-11-23T10:00:00.000Z {"m":1,"@timestamp":"2026-11-23T10:00:00.000Z"}"#,
            r#"logs 2026-11-23T10:00:00.000Z {"a":1,"@timestamp":"2026-11-23T10:00:00.000Z"}"#,
            r#"logs 2026-11-23T09:00:00.000Z {"@timestamp":"2026-11-23T09:00:00Z"}"#,
        ];
        assert_eq!(sources, expected);
        let totals = fixture.context.ledger.totals().remove(0);
        assert_eq!((totals.received, totals.rejected["malformed"]), (9, 2));
    }

    /// Their bytes are few, the events made of them would be a hundred times as many.
    #[tokio::test]
    async fn more_events_than_one_request_may_hold_are_refused() {
        let count = 60_000;
        let array = format!("[{}{{}}]", "{},".repeat(count));
        for (content_type, body) in [
            ("text/plain", "x\n".repeat(count)),
            ("application/x-ndjson", "{}\n".repeat(count)),
            ("application/json", array),
        ] {
            let fixture = fixture();
            let (status, reply) = fixture
                .post("/api/daybook/v1/ingest", content_type, &body)
                .await;
            assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{reply}");
            assert!(reply["error"].as_str().unwrap().contains("smaller batches"));
            assert!(fixture.journal.events().is_empty());
            let totals = fixture.context.ledger.totals().remove(0);
            assert_eq!(totals.rejected["request_too_large"], 1);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_taken_is_told() {
        let fixture = fixture();
        for (path, body, expected) in [
            ("/api/daybook/v1/ingest/Shop", "{}", StatusCode::BAD_REQUEST),
            (
                "/api/daybook/v1/ingest",
                "{broken}",
                StatusCode::BAD_REQUEST,
            ),
            ("/api/daybook/v1/ingest", "", StatusCode::OK),
        ] {
            let (status, _) = fixture.post(path, "application/json", body).await;
            assert_eq!(status, expected, "{path} {body}");
        }
        let long = format!("{{\"a\":\"{}\"}}\n{{\"b\":1}}", "x".repeat(300));
        let (status, reply) = fixture
            .post("/api/daybook/v1/ingest", "application/json", &long)
            .await;
        assert_eq!(
            (status, reply["accepted"].as_u64()),
            (StatusCode::OK, Some(1))
        );
        assert!(
            reply["first_error"]
                .as_str()
                .unwrap()
                .contains("limits.event")
        );
        *fixture.journal.refuse_with.lock().unwrap() = Some(AppendError::Full {
            message: "x".to_owned(),
            retry_after: RetryAfter::ONE_SECOND,
        });
        let (status, _) = fixture
            .post("/api/daybook/v1/ingest", "text/plain", "x")
            .await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
        let totals = fixture.context.ledger.totals().remove(0);
        assert_eq!(totals.received, totals.rejected.values().sum::<u64>() + 1);
    }
}
