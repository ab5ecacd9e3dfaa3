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
use event::IndexName;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};

use super::gathered::{Gathered, Terms};
use super::refusal::Refusal;
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
    #[serde(
        deserialize_with = "crate::pipeline::names",
        skip_serializing_if = "Option::is_none"
    )]
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
    intake: Intake,
}

/// The routes of the source.
pub fn routes(settings: Settings, context: PushContext) -> Router {
    let source = Arc::new(LokiPush {
        intake: Intake::new(&settings.source_name, context),
        settings,
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
        let received = (self.intake.now)();
        let body = self.read_body(format, headers, body).await;
        let body = self.intake.counted(body);
        let Body { bytes, reservation } = body.map_err(|error| refused(&error.into()))?;
        let terms = Terms {
            index: self.settings.index.clone(),
            received,
            event_bytes_max: self.settings.event_bytes_max,
            pipeline: Arc::clone(&self.settings.pipeline),
        };
        let body_bytes = bytes.len();
        let read = move || read(format, &bytes, terms);
        let read = self.intake.cpu.run(body_bytes, read).await;
        let mut gathered = read.map_err(|unreadable| {
            self.intake
                .count_unread_request("malformed", body_bytes as u64);
            let status = match unreadable {
                Unreadable::NoStreams => StatusCode::UNPROCESSABLE_ENTITY,
                Unreadable::Malformed(_) => StatusCode::BAD_REQUEST,
            };
            problem_of(status, &unreadable.to_string())
        })?;
        let kept = self.intake.keep(&mut gathered, body_bytes, reservation);
        kept.await.map_err(|refusal| refused(&refusal))?;
        // The good entries are stored; senders drop a batch that gets a 400 and log the first line of it.
        match gathered.first_problem {
            None => Ok(()),
            Some(problem) => Err(problem_of(StatusCode::BAD_REQUEST, &problem)),
        }
    }

    async fn read_body(
        &self,
        format: Format,
        headers: &HeaderMap,
        body: AxumBody,
    ) -> Result<Body, BodyError> {
        let bodies = &self.intake.bodies;
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

fn problem_of(status: StatusCode, problem: &str) -> Response {
    let text = Bytes::from(format!("{problem}\n"));
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

fn refused(refusal: &Refusal) -> Response {
    // Loki calls an encoding it does not know a bad request.
    let status = match refusal {
        Refusal::Body(BodyError::UnknownEncoding { .. }) => StatusCode::BAD_REQUEST,
        refusal => refusal.status(),
    };
    refusal.tell_when(problem_of(status, &refusal.to_string()))
}

#[cfg(test)]
mod tests;
