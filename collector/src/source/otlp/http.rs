//! OTLP over HTTP: protobuf or JSON, answered in the encoding of the request.

use std::sync::Arc;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use prost::Message;

use super::status::{Failure, Status, response_json, response_protobuf, status_json};
use super::{Format, Otlp, Signal};

/// The routes of all signals under all the paths that clients build: `/v1/logs`, `/otlp/v1/logs`, and so on.
pub fn routes(otlp: &Arc<Otlp>) -> Router {
    Router::new()
        .route("/v1/logs", post(logs))
        .route("/otlp/v1/logs", post(logs))
        .route("/v1/metrics", post(metrics))
        .route("/otlp/v1/metrics", post(metrics))
        .route("/api/v1/otlp/v1/metrics", post(metrics))
        .route("/v1/traces", post(traces))
        .route("/otlp/v1/traces", post(traces))
        .with_state(Arc::clone(otlp))
}

async fn logs(State(otlp): State<Arc<Otlp>>, headers: HeaderMap, body: AxumBody) -> Response {
    export(&otlp, Signal::Logs, &headers, body).await
}

async fn metrics(State(otlp): State<Arc<Otlp>>, headers: HeaderMap, body: AxumBody) -> Response {
    export(&otlp, Signal::Metrics, &headers, body).await
}

async fn traces(State(otlp): State<Arc<Otlp>>, headers: HeaderMap, body: AxumBody) -> Response {
    export(&otlp, Signal::Traces, &headers, body).await
}

async fn export(otlp: &Otlp, signal: Signal, headers: &HeaderMap, body: AxumBody) -> Response {
    let Some(format) = format_of(headers) else {
        otlp.intake.count_unread_request("unknown_content_type", 0);
        let status = Status {
            code: tonic::Code::InvalidArgument as i32,
            message: "unknown content type, send application/x-protobuf or application/json"
                .to_owned(),
            details: Vec::new(),
        };
        let body = status.encode_to_vec();
        return response(StatusCode::UNSUPPORTED_MEDIA_TYPE, Format::Protobuf, body);
    };
    let outcome = match otlp.intake.read_body(headers, body).await {
        Ok(body) => otlp.receive(signal, format, body).await,
        Err(error) => Err(Failure::from(error)),
    };
    match outcome {
        Ok(receipt) => {
            let body = match format {
                Format::Protobuf => response_protobuf(&receipt),
                Format::Json => response_json(signal, &receipt),
            };
            response(StatusCode::OK, format, body)
        }
        Err(failure) => failure_response(format, &failure),
    }
}

fn format_of(headers: &HeaderMap) -> Option<Format> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let media_type = value.split(';').next().unwrap_or_default().trim();
    match media_type.to_ascii_lowercase().as_str() {
        "application/x-protobuf" | "application/protobuf" => Some(Format::Protobuf),
        "application/json" => Some(Format::Json),
        _ => None,
    }
}

fn failure_response(format: Format, failure: &Failure) -> Response {
    let status = failure.to_status();
    let body = match format {
        Format::Protobuf => status.encode_to_vec(),
        Format::Json => status_json(&status),
    };
    let mut response = response(failure.http_status(), format, body);
    if let Some(retry_after) = failure.retry_after() {
        let seconds = HeaderValue::from(retry_after.whole_seconds());
        response.headers_mut().insert(RETRY_AFTER, seconds);
    }
    response
}

fn response(status: StatusCode, format: Format, body: Vec<u8>) -> Response {
    let mut response = Response::new(AxumBody::from(body));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(match format {
        Format::Protobuf => "application/x-protobuf",
        Format::Json => "application/json",
    });
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}
