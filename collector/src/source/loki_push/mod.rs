//! Loki's push API: protobuf in snappy, and JSON, as Promtail, Alloy, Fluent Bit, Vector and Docker's driver send it.
//!
//! Labels and structured metadata are fields of an event under their own names, the line is its `message`. An entry that
//! is sent again, as senders do when an answer got lost, is stored once.

mod entry;
mod json;
mod labels;
mod protobuf;

use std::sync::Arc;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use event::{AppendError, IndexName, Outcome};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::gathered::{Gathered, Terms};
use super::{Intake, PushContext};
use crate::body::{Body, BodyError};
use crate::pipeline::Pipeline;

pub use self::entry::Unreadable;

/// `type: loki_push` under `sources:` in the settings file. The source is there without an entry, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntrySettings {
    /// The index of its events; `logs` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// The pipeline its events go through; without it they stay as they are and get `log.level`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
}

/// How the source behaves.
#[derive(Clone)]
pub struct Settings {
    /// The source's name in the books.
    pub source_name: Arc<str>,
    /// The index of its events.
    pub index: IndexName,
    /// The most bytes of one event: `limits.event`.
    pub event_bytes_max: usize,
    /// What its events go through.
    pub pipeline: Arc<Pipeline>,
}

/// How a push is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `logproto.PushRequest`.
    Protobuf,
    /// `{"streams":[...]}`.
    Json,
}

struct LokiPush {
    settings: Settings,
    context: PushContext,
    intake: Intake,
}

/// The routes of the source.
pub fn routes(settings: Settings, context: PushContext) -> Router {
    let source = Arc::new(LokiPush {
        intake: Intake::new(&settings.source_name, &context),
        settings,
        context,
    });
    Router::new()
        .route("/loki/api/v1/push", post(push))
        .route("/api/prom/push", post(push))
        .with_state(source)
}

/// Reads all entries of a decoded body. What is wrong with one entry is refused for itself.
///
/// # Errors
/// The body is not of its format, or holds no streams; nothing of it is to be stored then.
pub fn read(format: Format, body: &[u8], terms: Terms) -> Result<Gathered, Unreadable> {
    let mut reader = entry::Reader::new(terms);
    match format {
        Format::Protobuf => protobuf::read(body, &mut reader)?,
        Format::Json => json::read(body, &mut reader)?,
    }
    reader.finish()
}

async fn push(State(source): State<Arc<LokiPush>>, headers: HeaderMap, body: AxumBody) -> Response {
    match source.push(&headers, body).await {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(response) => response,
    }
}

impl LokiPush {
    async fn push(&self, headers: &HeaderMap, body: AxumBody) -> Result<(), Response> {
        let format = format_of(headers);
        let received = (self.context.now)();
        let Body {
            bytes,
            mut reservation,
        } = self
            .read_body(format, headers, body)
            .await
            .map_err(|error| {
                self.intake.count_unread_request(error.reason(), 0);
                body_refusal(&error)
            })?;
        let terms = Terms {
            index: self.settings.index.clone(),
            received,
            event_bytes_max: self.settings.event_bytes_max,
            pipeline: Arc::clone(&self.settings.pipeline),
        };
        let body_bytes = bytes.len();
        let read = self
            .context
            .cpu
            .run(body_bytes, move || read(format, &bytes, terms))
            .await;
        let mut gathered = read.map_err(|unreadable| {
            self.intake
                .count_unread_request("malformed", body_bytes as u64);
            let status = match unreadable {
                Unreadable::NoStreams => StatusCode::UNPROCESSABLE_ENTITY,
                Unreadable::Malformed(_) => StatusCode::BAD_REQUEST,
            };
            refusal(status, &unreadable.to_string())
        })?;
        if !reservation.grow(gathered.memory_bytes()) {
            self.intake.count_unread_request("busy", body_bytes as u64);
            return Err(body_refusal(&self.context.bodies.busy()));
        }
        gathered.count(&self.intake.ledger, body_bytes);
        let events = std::mem::take(&mut gathered.events);
        let stored = self.intake.store(received, events, reservation).await;
        let ack = stored.map_err(|error| append_refusal(&error))?;
        // The good entries are stored; senders drop a batch that gets a 400 and log the first line of it.
        let rejected = ack.outcomes.into_iter().find_map(|outcome| match outcome {
            Outcome::Rejected { message, .. } => Some(message),
            _ => None,
        });
        match gathered.first_problem.or(rejected) {
            None => Ok(()),
            Some(problem) => Err(refusal(StatusCode::BAD_REQUEST, &problem)),
        }
    }

    async fn read_body(
        &self,
        format: Format,
        headers: &HeaderMap,
        body: AxumBody,
    ) -> Result<Body, BodyError> {
        let bodies = &self.context.bodies;
        if format == Format::Json {
            return bodies.read(headers, body).await;
        }
        let encoding = headers
            .get(CONTENT_ENCODING)
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        let wire = bodies.read_wire(headers, body).await?;
        match encoding.as_deref().map(str::trim) {
            None | Some("" | "snappy") => bodies.decode_snappy(wire).await,
            Some(other) => Err(BodyError::UnknownEncoding {
                encoding: other.chars().take(64).collect(),
            }),
        }
    }
}

/// Anything that is not called JSON is protobuf, as in Loki.
fn format_of(headers: &HeaderMap) -> Format {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let media_type = value
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    match media_type.trim().eq_ignore_ascii_case("application/json") {
        true => Format::Json,
        false => Format::Protobuf,
    }
}

fn refusal(status: StatusCode, problem: &str) -> Response {
    let text = Bytes::from(format!("{problem}\n"));
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

fn body_refusal(error: &BodyError) -> Response {
    // Loki calls an encoding it does not know a bad request.
    let status = match error {
        BodyError::UnknownEncoding { .. } => StatusCode::BAD_REQUEST,
        error => error.status(),
    };
    let response = refusal(status, &error.to_string());
    match error {
        BodyError::Busy { retry_after, .. } => (
            [(RETRY_AFTER, retry_after.whole_seconds().to_string())],
            response,
        )
            .into_response(),
        _ => response,
    }
}

fn append_refusal(error: &AppendError) -> Response {
    let status = match error.is_overload() {
        true => StatusCode::TOO_MANY_REQUESTS,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    let seconds = error.retry_after().whole_seconds().to_string();
    (
        [(RETRY_AFTER, seconds)],
        refusal(status, &error.to_string()),
    )
        .into_response()
}

#[cfg(test)]
mod tests;
