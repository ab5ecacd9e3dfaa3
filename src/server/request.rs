//! What happens around every request: an id, a span, a figure, and a 500 instead of a crash.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use futures_util::FutureExt;
use hyper::body::Incoming;
use tower::ServiceExt;
use tracing::Instrument;
use tracing::field::Empty;

use crate::telemetry::{Metrics, SELF_HEADER, suppressed};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A sender's own request id is taken when it is no longer than this.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Answers one request.
pub async fn answer(
    router: Router,
    mut request: Request<Incoming>,
    metrics: &Metrics,
) -> Response<Body> {
    let started = Instant::now();
    let route = route_class(request.method(), request.uri().path());
    let request_id = request_id(&request);
    request.headers_mut().insert(REQUEST_ID, request_id.clone());
    metrics.requests_in_flight.inc();
    // Dropped with this future, so that a client that leaves is counted out too.
    let _in_flight = InFlight(metrics);

    let mut response = match request.headers().contains_key(SELF_HEADER) {
        true => suppressed(handled(router, request, route, &request_id, metrics)).await,
        false => handled(router, request, route, &request_id, metrics).await,
    };

    metrics
        .request_seconds
        .with_label_values(&[route, response.status().as_str()])
        .observe(started.elapsed().as_secs_f64());
    response.headers_mut().insert(REQUEST_ID, request_id);
    response
}

async fn handled(
    router: Router,
    request: Request<Incoming>,
    route: &'static str,
    request_id: &HeaderValue,
    metrics: &Metrics,
) -> Response<Body> {
    let span = tracing::info_span!(
        "request",
        otel.kind = "server",
        otel.name = route,
        http.request.method = %request.method(),
        url.path = request.uri().path(),
        request.id = request_id.to_str().unwrap_or_default(),
        http.response.status_code = Empty,
        otel.status_code = Empty,
    );
    let answering = AssertUnwindSafe(router.oneshot(request.map(Body::new))).catch_unwind();
    let response = match answering.instrument(span.clone()).await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_panic) => {
            metrics.request_panics.inc();
            internal_error()
        }
    };
    span.record("http.response.status_code", response.status().as_u16());
    if response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    response
}

/// The panic itself is logged by the process's panic hook, with its place.
fn internal_error() -> Response<Body> {
    let body = concat!(
        r#"{"error":{"type":"internal_error","#,
        r#""reason":"a mistake in Daybook; its log tells more under this x-request-id"},"status":500}"#
    );
    let content_type = (header::CONTENT_TYPE, "application/json");
    (StatusCode::INTERNAL_SERVER_ERROR, [content_type], body).into_response()
}

struct InFlight<'a>(&'a Metrics);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.requests_in_flight.dec();
    }
}

/// The sender's id, or one of ours: unique within the process and told apart between processes by its start.
fn request_id(request: &Request<Incoming>) -> HeaderValue {
    if let Some(id) = request.headers().get(REQUEST_ID)
        && id.len() <= REQUEST_ID_BYTES_MAX
    {
        return id.clone();
    }
    static REQUESTS: AtomicU64 = AtomicU64::new(0);
    let number = REQUESTS.fetch_add(1, Ordering::Relaxed);
    let text = format!("{:x}-{number:x}", std::process::id());
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("0"))
}

/// Which of a few classes a request belongs to. Bounded, because it becomes a metric's label.
pub fn route_class(method: &Method, path: &str) -> &'static str {
    let last = path.rsplit('/').next().unwrap_or_default();
    match path {
        "/" => return "elastic_cluster",
        "/metrics" | "/health" | "/ready" => return "own",
        "/v1/logs" | "/v1/metrics" | "/v1/traces" => return "otlp_http",
        _ => {}
    }
    let prefixes = [
        ("/api/daybook/", "own"),
        ("/ui/", "ui"),
        ("/opentelemetry.proto.", "otlp_grpc"),
        ("/services/collector", "splunk_hec"),
        ("/api/prom/", "loki"),
        ("/loki/", "loki"),
        ("/api/v1/", "prometheus"),
        ("/api/v2/", "alertmanager"),
    ];
    if let Some((_, class)) = prefixes.iter().find(|(prefix, _)| path.starts_with(prefix)) {
        return class;
    }
    match last {
        "_bulk" => "elastic_bulk",
        "_search" | "_msearch" | "_count" | "_async_search" => "elastic_search",
        "_mapping" | "_field_caps" => "elastic_mapping",
        _ if path.contains("/_doc") || path.contains("/_create") || path.contains("/_source") => {
            match *method {
                Method::GET | Method::HEAD => "elastic_read",
                _ => "elastic_write",
            }
        }
        _ if path.contains("/_") => "elastic_cluster",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_what_they_do() {
        for (method, path, class) in [
            (Method::GET, "/", "elastic_cluster"),
            (Method::POST, "/_bulk", "elastic_bulk"),
            (Method::POST, "/logs/_bulk", "elastic_bulk"),
            (Method::POST, "/logs-*/_msearch", "elastic_search"),
            (Method::GET, "/logs/_mapping", "elastic_mapping"),
            (Method::GET, "/logs/_doc/1", "elastic_read"),
            (Method::PUT, "/logs/_doc/1", "elastic_write"),
            (Method::GET, "/_cat/indices", "elastic_cluster"),
            (Method::GET, "/metrics", "own"),
            (Method::GET, "/api/daybook/v1/ledger", "own"),
            (Method::POST, "/v1/logs", "otlp_http"),
            (
                Method::POST,
                "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
                "otlp_grpc",
            ),
            (Method::GET, "/whatever/a/stranger/asks", "other"),
        ] {
            assert_eq!(route_class(&method, path), class, "{method} {path}");
        }
    }
}
