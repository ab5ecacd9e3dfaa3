//! How Daybook is: `/health`, `/ready`, `/metrics` and `/api/daybook/v1/ledger`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use event::{Ledger, SourceTotals};
use serde_json::{Value, json};

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

    /// The same, with 503 for everything else: what is served until all parts are there.
    pub fn starting_router(&self) -> Router {
        self.router().fallback(starting)
    }
}

async fn starting() -> Response {
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
    ([content_type], status.metrics.render()).into_response()
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
    use tower::ServiceExt;

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
    async fn while_starting_everything_but_the_status_is_told_to_come_back() {
        let router = status().starting_router();
        assert_eq!(ask(router.clone(), "/logs/_search").await.0, 503);
        assert_eq!(ask(router.clone(), "/health").await.0, 200);
        let (code, body) = ask(router, "/metrics").await;
        assert_eq!(code, 200);
        assert!(body.contains("daybook_build_info{version="));
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
