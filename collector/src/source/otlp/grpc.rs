//! OTLP over gRPC: the unary `Export` of each signal.
//!
//! The message is taken from the wire by the same reader as every other body, so that the same bounds hold; tonic's
//! own server would take it without them, and answers `OutOfRange` for a message over its limit, which clients send
//! again. A unary exchange is one frame in, one frame out and trailers; HTTP/2 itself is the accept loop's.

use std::sync::Arc;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt, Full};
use opentelemetry_proto::tonic::collector as services;
use prost::Message;
use tonic::metadata::{GRPC_CONTENT_TYPE, MetadataValue};
use tonic::{Code, Status as GrpcStatus};

use super::status::{Failure, response_protobuf};
use super::{Format, Otlp, Receipt, Signal};
use crate::body::{Body, BodyError, Encoding};

/// A flag that says whether the message is compressed, and its length in four bytes.
const FRAME_HEAD_BYTES: usize = 5;

/// What we decompress, told to senders that used something else.
const ACCEPTED_ENCODINGS: &str = "identity,gzip,zstd";

/// The routes of the gRPC services. Paths of other services are a plain 404, which gRPC takes for `Unimplemented`.
pub fn routes(otlp: &Arc<Otlp>) -> Router {
    let path = |service: &str| format!("/{service}/Export");
    Router::new()
        .route(
            &path(services::logs::v1::logs_service_server::SERVICE_NAME),
            post(logs),
        )
        .route(
            &path(services::metrics::v1::metrics_service_server::SERVICE_NAME),
            post(metrics),
        )
        .route(
            &path(services::trace::v1::trace_service_server::SERVICE_NAME),
            post(traces),
        )
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
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !content_type.is_some_and(|value| value.starts_with(b"application/grpc")) {
        let mut response = Response::new(AxumBody::empty());
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    let message = match read_message(otlp, headers, body).await {
        Ok(message) => message,
        Err((status, reason)) => {
            otlp.intake.count_unread_request(reason, 0);
            return status.into_http();
        }
    };
    match otlp.receive(signal, Format::Protobuf, message).await {
        Ok(receipt) => success(&receipt),
        Err(failure) => status_of(&failure).into_http(),
    }
}

/// The one message of the request, decompressed; or a status and what the books call the refusal.
async fn read_message(
    otlp: &Otlp,
    headers: &HeaderMap,
    body: AxumBody,
) -> Result<Body, (GrpcStatus, &'static str)> {
    let refuse = |error: BodyError| {
        let reason = error.reason();
        (status_of(&Failure::from(error)), reason)
    };
    let bodies = &otlp.intake.bodies;
    let Body {
        mut bytes,
        reservation,
    } = bodies.read_wire(headers, body).await.map_err(refuse)?;
    let Some(&[flag, l0, l1, l2, l3]) = bytes.first_chunk::<FRAME_HEAD_BYTES>() else {
        let status = GrpcStatus::invalid_argument("the request has no message");
        return Err((status, "malformed"));
    };
    let message = bytes.split_off(FRAME_HEAD_BYTES);
    if u32::from_be_bytes([l0, l1, l2, l3]) as usize != message.len() {
        let status = GrpcStatus::invalid_argument("the request is not one whole message");
        return Err((status, "malformed"));
    }
    let wire = Body {
        bytes: message,
        reservation,
    };
    if flag == 0 {
        return Ok(wire);
    }
    let name = headers.get("grpc-encoding").map(HeaderValue::as_bytes);
    let name = String::from_utf8_lossy(name.unwrap_or_default());
    match Encoding::parse(&name) {
        Some(Encoding::Identity) => {
            let status = GrpcStatus::internal("the message is compressed, but not said how");
            Err((status, "malformed"))
        }
        Some(encoding) => bodies.decode(encoding, wire).await.map_err(refuse),
        None => {
            let text = format!("encoding [{name:.64}] is not supported, use gzip or zstd");
            let mut status = GrpcStatus::unimplemented(text);
            let accepted = MetadataValue::from_static(ACCEPTED_ENCODINGS);
            status
                .metadata_mut()
                .insert("grpc-accept-encoding", accepted);
            Err((status, "unknown_encoding"))
        }
    }
}

fn status_of(failure: &Failure) -> GrpcStatus {
    let status = failure.to_status();
    match status.details.is_empty() {
        true => GrpcStatus::new(failure.code(), status.message),
        false => {
            let details = Bytes::from(status.encode_to_vec());
            GrpcStatus::with_details(failure.code(), status.message, details)
        }
    }
}

fn success(receipt: &Receipt) -> Response {
    let message = response_protobuf(receipt);
    let mut frame = BytesMut::with_capacity(FRAME_HEAD_BYTES + message.len());
    frame.extend_from_slice(&[0]);
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(&message);
    let mut trailers = HeaderMap::new();
    trailers.insert(GrpcStatus::GRPC_STATUS, HeaderValue::from(Code::Ok as i32));
    let body = Full::new(frame.freeze()).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(AxumBody::new(body));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    response
}
