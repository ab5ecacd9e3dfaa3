//! How Daybook is: `/health`, `/ready`, `/metrics` and `/api/daybook/v1/ledger`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use event::{Ledger, SourceTotals};
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt;

use crate::server::Routes;
use crate::telemetry::Metrics;

/// What the status pages show.
#[derive(Clone)]
pub struct Status {
    /// All figures.
    pub metrics: Metrics,
    /// The books.
    pub ledger: Arc<Ledger>,
    /// Who is not ready.
    pub readiness: Readiness,
}

/// Which parts are not ready, and why. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    // A short lock, when a part changes and when somebody asks.
    waiting: Arc<Mutex<BTreeMap<&'static str, String>>>,
}

impl Readiness {
    /// Notes that `part` is not ready; the reason is for people.
    pub fn wait_for(&self, part: &'static str, reason: &str) {
        let mut waiting = self.waiting.lock().expect("no holder of this lock panics");
        waiting.insert(part, reason.to_owned());
    }

    /// Notes that `part` is ready.
    pub fn ready(&self, part: &'static str) {
        let mut waiting = self.waiting.lock().expect("no holder of this lock panics");
        waiting.remove(part);
    }

    /// Everybody who is not ready, with the reasons. Empty means ready.
    pub fn waiting(&self) -> BTreeMap<&'static str, String> {
        self.waiting
            .lock()
            .expect("no holder of this lock panics")
            .clone()
    }
}

impl Status {
    /// The routes. They need no other part, so they answer while the others still start.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/health", get(|| async { "alive\n" }))
            .route("/ready", get(ready))
            .route("/metrics", get(metrics))
            .route("/api/daybook/v1/ledger", get(ledger))
            .with_state(self.clone())
    }

    /// The same, and everything else waits for the start: what is served until all parts are there.
    pub fn starting_router(&self, start: Start) -> Router {
        let others = Router::new().fallback(starting).with_state(start);
        self.router().fallback_service(others)
    }
}

/// What requests wait for that come before all parts are there.
///
/// A 503 at once would do for most senders, but rsyslog takes it for a refusal of what it sent, and drops it.
#[derive(Clone)]
pub struct Start {
    /// What answers once `is_over`.
    pub routes: Routes,
    /// Whether all parts are there.
    pub is_over: watch::Receiver<bool>,
    /// How long they wait.
    pub wait_max: Duration,
}

async fn starting(State(mut start): State<Start>, request: Request) -> Response {
    let wait = tokio::time::timeout(start.wait_max, start.is_over.wait_for(|is| *is));
    let is_over = matches!(wait.await, Ok(Ok(_)));
    if is_over {
        let router = Router::clone(&start.routes.load());
        let Ok(response) = router.oneshot(request).await;
        return response;
    }
    let body = json!({
        "error": { "type": "starting", "reason": "daybook is starting; GET /ready says what it waits for" },
        "status": 503,
    });
    (
        StatusCode::SERVICE_UNAVAILABLE,
        [(header::RETRY_AFTER, "1")],
        Json(body),
    )
        .into_response()
}

async fn ready(State(status): State<Status>) -> Response {
    let waiting = status.readiness.waiting();
    let code = match waiting.is_empty() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let body = json!({ "ready": waiting.is_empty(), "waiting_for": waiting });
    (code, Json(body)).into_response()
}

async fn metrics(State(status): State<Status>) -> Response {
    let content_type = (header::CONTENT_TYPE, prometheus::TEXT_FORMAT);
    // Some figures are read from files when they are asked for.
    let rendered = tokio::task::spawn_blocking(move || status.metrics.render()).await;
    ([content_type], rendered.unwrap_or_default()).into_response()
}

async fn ledger(State(status): State<Status>) -> Json<Value> {
    let sources = status.ledger.totals();
    let sources: Vec<Value> = sources.iter().map(ledger_entry).collect();
    Json(json!({ "sources": sources }))
}

/// `balanced` says whether received = stored + rejected + dropped + in flight.
fn ledger_entry(totals: &SourceTotals) -> Value {
    let gone = totals.stored
        + totals.rejected.values().sum::<u64>()
        + totals.dropped.values().sum::<u64>();
    json!({
        "source": totals.source,
        "received": totals.received,
        "received_bytes": totals.received_bytes,
        "accepted": totals.accepted,
        "stored": totals.stored,
        "rejected": totals.rejected,
        "dropped": totals.dropped,
        "in_flight": totals.in_flight,
        "balanced": totals.received == gone + totals.in_flight,
    })
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;

    use super::*;

    fn status() -> Status {
        let ledger = Arc::new(Ledger::new());
        Status {
            metrics: Metrics::new(Arc::clone(&ledger)).unwrap(),
            ledger,
            readiness: Readiness::default(),
        }
    }

    async fn ask(router: Router, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let reply = router.oneshot(request).await.unwrap();
        let code = reply.status();
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn not_ready_names_every_reason_until_all_are_gone() {
        let status = status();
        status
            .readiness
            .wait_for("journal", "replaying 3 of 9 segments");
        status.readiness.wait_for("index", "opening shards");
        let (code, body) = ask(status.router(), "/ready").await;
        assert_eq!(code, 503);
        assert_eq!(
            body,
            r#"{"ready":false,"waiting_for":{"index":"opening shards","journal":"replaying 3 of 9 segments"}}"#
        );
        status.readiness.ready("journal");
        assert_eq!(ask(status.router(), "/ready").await.0, 503);
        status.readiness.ready("index");
        let (code, body) = ask(status.router(), "/ready").await;
        assert_eq!(
            (code.as_u16(), body.as_str()),
            (200, r#"{"ready":true,"waiting_for":{}}"#)
        );
    }

    #[tokio::test]
    async fn while_starting_the_status_is_answered_and_everything_else_waits() {
        let routes = Routes::default();
        let (over, is_over) = watch::channel(false);
        let start = Start {
            routes: Arc::clone(&routes),
            is_over,
            wait_max: Duration::from_secs(60),
        };
        let router = status().starting_router(start);
        assert_eq!(ask(router.clone(), "/health").await.0, 200);
        let (code, body) = ask(router.clone(), "/metrics").await;
        assert_eq!(code, 200);
        assert!(body.contains("daybook_build_info{version="));

        // The first is polled until it waits, then the second.
        let ((code, body), ()) = tokio::join!(ask(router, "/logs/_search"), async {
            let found = Router::new().route("/logs/_search", get(|| async { "found" }));
            routes.store(Arc::new(found));
            over.send_replace(true);
        });
        assert_eq!((code.as_u16(), body.as_str()), (200, "found"));
    }

    #[tokio::test]
    async fn a_start_that_takes_too_long_is_told() {
        let (_over, is_over) = watch::channel(false);
        let start = Start {
            routes: Routes::default(),
            is_over,
            wait_max: Duration::from_millis(1),
        };
        let router = status().starting_router(start);
        let (code, body) = ask(router, "/logs/_search").await;
        assert_eq!(code, 503);
        assert!(body.contains("daybook is starting"), "{body}");
    }

    #[tokio::test]
    async fn the_ledger_shows_every_source_and_whether_it_balances() {
        let status = status();
        let nginx = status.ledger.source("nginx");
        nginx.received(10, 1000);
        nginx.accepted(7);
        nginx.stored(5);
        nginx.rejected("malformed", 2);
        let (_, body) = ask(status.router(), "/api/daybook/v1/ledger").await;
        let shown: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            shown,
            json!({"sources": [{
                "source": "nginx", "received": 10, "received_bytes": 1000, "accepted": 7, "stored": 5,
                "rejected": {"malformed": 2}, "dropped": {}, "in_flight": 3, "balanced": true,
            }]})
        );
        // More stored than was ever received: a mistake of ours, and the page says so.
        nginx.stored(20);
        let (_, body) = ask(status.router(), "/api/daybook/v1/ledger").await;
        assert!(body.contains(r#""balanced":false"#), "{body}");
    }
}
