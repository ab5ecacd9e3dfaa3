//! Replies as Elasticsearch words them: compact JSON, keys in its order, because clients search the raw bytes.

use std::io::Write;

use axum::response::Response;
use bytes::Bytes;
use event::{AppendError, Day, IndexName, Outcome, RetryAfter};
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderValue, StatusCode};

use super::request::{Item, ItemState, RequestError};
use crate::body::BodyError;

/// What an unassigned sequence number is in Elasticsearch: a delete of nothing has no position.
const NO_SEQUENCE_NUMBER: &str = "-2";

/// An error of a whole request.
#[derive(Debug)]
pub struct ErrorReply {
    status: StatusCode,
    error_type: &'static str,
    reason: String,
    retry_after: Option<RetryAfter>,
}

impl ErrorReply {
    /// The sender's mistake.
    pub fn bad_request(reason: String) -> ErrorReply {
        ErrorReply::new(
            StatusCode::BAD_REQUEST,
            "illegal_argument_exception",
            reason,
        )
    }

    fn new(status: StatusCode, error_type: &'static str, reason: String) -> ErrorReply {
        ErrorReply {
            status,
            error_type,
            reason,
            retry_after: None,
        }
    }

    /// The response.
    pub fn into_response(self) -> Response {
        let mut out = Vec::with_capacity(2 * self.reason.len() + 128);
        out.extend_from_slice(b"{\"error\":{\"root_cause\":[{");
        push_error_members(&mut out, self.error_type, &self.reason);
        out.extend_from_slice(b"}],");
        push_error_members(&mut out, self.error_type, &self.reason);
        push(
            &mut out,
            format_args!("}},\"status\":{}}}", self.status.as_u16()),
        );
        let mut response = json_response(self.status, out);
        if let Some(retry_after) = self.retry_after {
            let seconds = HeaderValue::from(retry_after.whole_seconds());
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

impl From<BodyError> for ErrorReply {
    fn from(error: BodyError) -> ErrorReply {
        let error_type = match error {
            BodyError::Busy { .. } => "es_rejected_execution_exception",
            _ => "illegal_argument_exception",
        };
        let mut reply = ErrorReply::new(error.status(), error_type, error.to_string());
        if let BodyError::Busy { retry_after, .. } = error {
            reply.retry_after = Some(retry_after);
        }
        reply
    }
}

impl From<RequestError> for ErrorReply {
    fn from(error: RequestError) -> ErrorReply {
        let (status, error_type) = match error {
            RequestError::Empty => (StatusCode::BAD_REQUEST, "parse_exception"),
            RequestError::NoActions | RequestError::IndexMissing { .. } => (
                StatusCode::BAD_REQUEST,
                "action_request_validation_exception",
            ),
            RequestError::MalformedAction { .. } => {
                (StatusCode::BAD_REQUEST, "illegal_argument_exception")
            }
            RequestError::TooManyItems => {
                (StatusCode::PAYLOAD_TOO_LARGE, "illegal_argument_exception")
            }
        };
        ErrorReply::new(status, error_type, error.to_string())
    }
}

impl From<AppendError> for ErrorReply {
    fn from(error: AppendError) -> ErrorReply {
        let (status, error_type) = match error.is_overload() {
            true => (
                StatusCode::TOO_MANY_REQUESTS,
                "es_rejected_execution_exception",
            ),
            false => (
                StatusCode::SERVICE_UNAVAILABLE,
                "no_shard_available_action_exception",
            ),
        };
        ErrorReply {
            retry_after: Some(error.retry_after()),
            ..ErrorReply::new(status, error_type, error.to_string())
        }
    }
}

/// The reply to `_bulk`. `outcomes` belong to the items that were sent, in order.
pub fn bulk_response(took_millis: u128, items: &[Item], outcomes: &[Outcome]) -> Response {
    let mut out = Vec::with_capacity(64 + 192 * items.len());
    push(
        &mut out,
        format_args!("{{\"took\":{took_millis},\"errors\":"),
    );
    let errors_at = out.len();
    out.extend_from_slice(b"false,\"items\":[");
    let mut writer = ItemWriter::default();
    let mut has_errors = false;
    let mut outcomes = outcomes.iter();
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push(&mut out, format_args!("{{\"{}\":{{", item.verb.name()));
        let status = writer.write(&mut out, item, &mut outcomes);
        // A delete of what is not there is no error.
        has_errors |= status.is_error;
        push(&mut out, format_args!(",\"status\":{}", status.code));
        if let Some((error_type, reason)) = status.error {
            out.extend_from_slice(b",\"error\":{");
            push_error_members(&mut out, error_type, &reason);
            out.push(b'}');
        }
        out.extend_from_slice(b"}}");
    }
    out.extend_from_slice(b"]}");
    if has_errors {
        out.splice(errors_at..errors_at + b"false".len(), *b"true");
    }
    json_response(StatusCode::OK, out)
}

/// The reply to a request about one document.
pub fn single_response(item: &Item, outcomes: &[Outcome]) -> Response {
    let mut out = Vec::with_capacity(256);
    out.push(b'{');
    let mut outcomes = outcomes.iter();
    let status = ItemWriter::default().write(&mut out, item, &mut outcomes);
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some((error_type, reason)) = status.error {
        return ErrorReply::new(code, error_type, reason).into_response();
    }
    out.push(b'}');
    let mut response = json_response(code, out);
    if let Some(location) = status.location {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

struct ItemStatus {
    code: u16,
    is_error: bool,
    error: Option<(&'static str, String)>,
    location: Option<HeaderValue>,
}

/// Writes items; keeps the last shard's name, because most items of a request share it.
#[derive(Default)]
struct ItemWriter {
    shard: Option<(IndexName, Option<Day>, String)>,
}

impl ItemWriter {
    /// Writes the members of an item before its status, without braces.
    fn write<'o>(
        &mut self,
        out: &mut Vec<u8>,
        item: &Item,
        outcomes: &mut impl Iterator<Item = &'o Outcome>,
    ) -> ItemStatus {
        let (index, day) = match &item.state {
            ItemState::Sent { index, day } => (index, *day),
            // In the words of a drop in Elasticsearch's own pipelines.
            ItemState::Dropped { index, .. } => {
                push_names(out, index.as_str(), item.id.as_deref());
                out.extend_from_slice(
                    b",\"_version\":-3,\"result\":\"noop\",\"_shards\":{\"total\":0,\"successful\":0,\"failed\":0}",
                );
                return ItemStatus::fine(200);
            }
            ItemState::Refused(refusal) => {
                push_names(out, &refusal.index, item.id.as_deref());
                let error = (refusal.error_type, refusal.reason.clone());
                return ItemStatus::error(refusal.status, error);
            }
        };
        let name = self.shard_name(index, day);
        let own_id = item.id.as_deref();
        match outcomes.next() {
            Some(Outcome::Created { position, id }) => {
                push_names(out, name, Some(id));
                push_result(out, 1, "created", position);
                ItemStatus {
                    location: HeaderValue::try_from(format!("/{name}/_doc/{id}")).ok(),
                    ..ItemStatus::fine(201)
                }
            }
            Some(Outcome::Updated { position, id }) => {
                push_names(out, name, Some(id));
                push_result(out, 2, "updated", position);
                ItemStatus::fine(200)
            }
            Some(Outcome::Deleted { position, id }) => {
                push_names(out, name, Some(id));
                push_result(out, 2, "deleted", position);
                ItemStatus::fine(200)
            }
            Some(Outcome::NotFound) => {
                push_names(out, name, own_id);
                push_result(out, 1, "not_found", &NO_SEQUENCE_NUMBER);
                ItemStatus::fine(404)
            }
            Some(Outcome::Conflict) => {
                push_names(out, name, own_id);
                let reason = format!(
                    "[{}]: version conflict, document already exists (current version [1])",
                    own_id.unwrap_or_default()
                );
                ItemStatus::error(409, ("version_conflict_engine_exception", reason))
            }
            Some(Outcome::Rejected { message, .. }) => {
                push_names(out, name, own_id);
                ItemStatus::error(400, ("illegal_argument_exception", message.clone()))
            }
            None => {
                push_names(out, name, own_id);
                let reason = "the journal did not say what became of it, send it again";
                let error_type = "no_shard_available_action_exception";
                ItemStatus::error(503, (error_type, reason.to_owned()))
            }
        }
    }

    fn shard_name(&mut self, index: &IndexName, day: Option<Day>) -> &str {
        let is_same = self
            .shard
            .as_ref()
            .is_some_and(|(known, known_day, _)| known == index && *known_day == day);
        if !is_same {
            let name = match day {
                Some(day) => index.shard_name(day),
                None => index.as_str().to_owned(),
            };
            self.shard = Some((index.clone(), day, name));
        }
        self.shard.as_ref().map_or("", |(_, _, name)| name)
    }
}

impl ItemStatus {
    fn fine(code: u16) -> ItemStatus {
        ItemStatus {
            code,
            is_error: false,
            error: None,
            location: None,
        }
    }

    fn error(code: u16, error: (&'static str, String)) -> ItemStatus {
        ItemStatus {
            is_error: true,
            error: Some(error),
            ..ItemStatus::fine(code)
        }
    }
}

fn push_names(out: &mut Vec<u8>, index: &str, id: Option<&str>) {
    out.extend_from_slice(b"\"_index\":");
    push_text(out, index);
    out.extend_from_slice(b",\"_id\":");
    match id {
        Some(id) => push_text(out, id),
        None => out.extend_from_slice(b"null"),
    }
}

fn push_result(
    out: &mut Vec<u8>,
    version: u8,
    result: &str,
    sequence_number: &impl std::fmt::Display,
) {
    push(
        out,
        format_args!(
            ",\"_version\":{version},\"result\":\"{result}\",\"_shards\":{{\"total\":1,\"successful\":1,\"failed\":0}},\
             \"_seq_no\":{sequence_number},\"_primary_term\":1"
        ),
    );
}

fn push_error_members(out: &mut Vec<u8>, error_type: &str, reason: &str) {
    out.extend_from_slice(b"\"type\":");
    push_text(out, error_type);
    out.extend_from_slice(b",\"reason\":");
    push_text(out, reason);
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string is written to memory");
}

fn push(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("memory takes every write");
}

fn json_response(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Bytes::from(body).into());
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
