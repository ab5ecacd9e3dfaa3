//! Splunk's HTTP Event Collector: JSON events and raw lines, tokens, indexer acknowledgement.
//!
//! An answer comes when the events are durable, so whatever got an `ackId` is acknowledged at once when its sender asks.
//! Channels and their ids live in memory: after a restart a sender hears `false` and sends again.

mod acks;
mod event;

use std::sync::Arc;

use ::event::IndexName;
use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::acks::Acks;
use super::gathered::Terms;
use super::refusal::Refusal;
use super::{Intake, PushContext};
use crate::body::Body;
use crate::pipeline::Pipeline;
use crate::secret::Secret;

pub use self::event::{read_events, read_raw};

/// Where senders name their channel.
const CHANNEL_HEADER: &str = "x-splunk-request-channel";

/// `type: splunk_hec` under `sources:` in the settings file. The source is there without an entry, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntrySettings {
    /// The index of its events that name none; `logs` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// The pipeline its events go through; without it texts and raw lines go through detection and objects stay as they are.
    #[serde(
        deserialize_with = "crate::pipeline::names",
        skip_serializing_if = "Option::is_none"
    )]
    pub pipeline: Option<String>,
    /// Tokens that are let in, each a text or `file:/run/secrets/x`; without any, everybody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<Secret>,
}

/// How the source behaves.
#[derive(Clone)]
pub struct Settings {
    /// The source's name in the books.
    pub source_name: Arc<str>,
    /// The index of events that name none, or one that cannot be.
    pub index: IndexName,
    /// The most bytes of one event: `limits.event`.
    pub event_bytes_max: usize,
    /// What events go through that are a text, and raw lines.
    pub lines_pipeline: Arc<Pipeline>,
    /// What events go through that are objects.
    pub objects_pipeline: Arc<Pipeline>,
    /// The tokens that are let in; without any, everybody.
    pub tokens: Vec<Secret>,
}

struct SplunkHec {
    settings: Settings,
    intake: Intake,
    acks: Acks,
}

/// An answer in Splunk's words.
struct Reply {
    status: StatusCode,
    text: &'static str,
    code: u8,
    more: Option<(&'static str, u64)>,
    retry_after_seconds: Option<u64>,
}

/// The routes of the source.
pub fn routes(settings: Settings, context: PushContext) -> Router {
    let source = Arc::new(SplunkHec {
        intake: Intake::new(&settings.source_name, context),
        settings,
        acks: Acks::default(),
    });
    let mut router = Router::new();
    for path in ["", "/event", "/event/1.0"] {
        router = router.route(&format!("/services/collector{path}"), post(events));
    }
    for path in ["/raw", "/raw/1.0"] {
        router = router.route(&format!("/services/collector{path}"), post(raw));
    }
    for path in ["/health", "/health/1.0"] {
        router = router.route(&format!("/services/collector{path}"), get(health));
    }
    router
        .route("/services/collector/ack", post(ack))
        .route("/services/collector/ack/1.0", post(ack))
        .with_state(source)
}

async fn events(
    State(source): State<Arc<SplunkHec>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: AxumBody,
) -> Response {
    let outcome = source.take(false, query, &headers, body).await;
    outcome.unwrap_or_else(Reply::into_response)
}

async fn raw(
    State(source): State<Arc<SplunkHec>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: AxumBody,
) -> Response {
    let outcome = source.take(true, query, &headers, body).await;
    outcome.unwrap_or_else(Reply::into_response)
}

async fn health() -> Response {
    Reply::new(StatusCode::OK, "HEC is healthy", 17).into_response()
}

async fn ack(
    State(source): State<Arc<SplunkHec>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: AxumBody,
) -> Response {
    match source.ack(query, &headers, body).await {
        Ok(acks) => axum::Json(json!({ "acks": acks })).into_response(),
        Err(reply) => reply.into_response(),
    }
}

impl SplunkHec {
    async fn take(
        &self,
        is_raw: bool,
        query: Option<String>,
        headers: &HeaderMap,
        body: AxumBody,
    ) -> Result<Response, Reply> {
        let parameters = Parameters::of(query.as_deref());
        if let Err(reply) = self.admit(&parameters, headers) {
            self.intake.count_unread_request("unauthorized", 0);
            return Err(reply);
        }
        let received = (self.intake.now)();
        let body = self.intake.read_body(headers, body).await;
        let Body { bytes, reservation } = body.map_err(|error| Reply::of(&error.into()))?;
        let body_bytes = bytes.len();
        if bytes.trim_ascii().is_empty() {
            self.intake.count_unread_request("no_data", 0);
            return Err(Reply::new(StatusCode::BAD_REQUEST, "No data", 5));
        }
        let terms = Terms {
            index: self.settings.index.clone(),
            received,
            event_bytes_max: self.settings.event_bytes_max,
            pipeline: Arc::clone(&self.settings.lines_pipeline),
        };
        let objects = Arc::clone(&self.settings.objects_pipeline);
        let metadata = parameters.metadata;
        let read = move || match is_raw {
            true => (read_raw(&bytes, &metadata, terms), None),
            false => read_events(&bytes, terms, objects),
        };
        let (mut gathered, problem) = self.intake.cpu.run(body_bytes, read).await;
        let kept = self.intake.keep(&mut gathered, body_bytes, reservation);
        kept.await.map_err(|refusal| Reply::of(&refusal))?;
        // As Splunk does: the events that are right are kept, and the sender hears of the first that is not.
        if let Some(problem) = problem {
            let reply = Reply::new(StatusCode::BAD_REQUEST, problem.text, problem.code);
            return Err(reply.with("invalid-event-number", problem.number));
        }
        if gathered.first_problem.is_some() {
            return Err(Reply::new(
                StatusCode::BAD_REQUEST,
                "Invalid data format",
                6,
            ));
        }
        let reply = Reply::new(StatusCode::OK, "Success", 0);
        let channel = channel_of(&parameters.channel, headers);
        Ok(match channel {
            Some(channel) => {
                let id = self.acks.next(&channel);
                reply.with("ackId", id).into_response()
            }
            None => reply.into_response(),
        })
    }

    async fn ack(
        &self,
        query: Option<String>,
        headers: &HeaderMap,
        body: AxumBody,
    ) -> Result<Value, Reply> {
        let parameters = Parameters::of(query.as_deref());
        self.admit(&parameters, headers)?;
        let Some(channel) = channel_of(&parameters.channel, headers) else {
            return Err(Reply::new(
                StatusCode::BAD_REQUEST,
                "Data channel is missing",
                10,
            ));
        };
        let body = self.intake.bodies.read(headers, body).await;
        let body = body.map_err(|error| Reply::of(&error.into()))?;
        let asked: Option<Vec<u64>> = serde_json::from_slice::<Value>(&body.bytes)
            .ok()
            .and_then(|value| serde_json::from_value(value["acks"].clone()).ok());
        let Some(asked) = asked else {
            return Err(Reply::new(
                StatusCode::BAD_REQUEST,
                "Invalid data format",
                6,
            ));
        };
        let answers = asked
            .into_iter()
            .map(|id| (id.to_string(), json!(self.acks.is_known(&channel, id))));
        Ok(Value::Object(answers.collect()))
    }

    fn admit(&self, parameters: &Parameters, headers: &HeaderMap) -> Result<(), Reply> {
        if self.settings.tokens.is_empty() {
            return Ok(());
        }
        let token = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .map(token_of)
            .or_else(|| Some(parameters.token.clone()))
            .flatten();
        let Some(token) = token else {
            return Err(Reply::new(StatusCode::UNAUTHORIZED, "Token is required", 2));
        };
        let is_known = self.settings.tokens.iter().fold(false, |is_known, known| {
            is_known | is_same(known.expose(), &token)
        });
        match is_known {
            true => Ok(()),
            false => Err(Reply::new(StatusCode::FORBIDDEN, "Invalid token", 4)),
        }
    }
}

/// `Splunk TOKEN`, or the password of `Basic`.
fn token_of(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("splunk") || scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = base64::engine::general_purpose::STANDARD
        .decode(rest.trim())
        .ok()?;
    let text = String::from_utf8(decoded).ok()?;
    text.split_once(':')
        .map(|(_, password)| password.to_owned())
}

/// Takes as long for a token that is nearly right as for one that is wrong from its first letter.
fn is_same(known: &str, given: &str) -> bool {
    let pairs = known.bytes().zip(given.bytes());
    let difference = pairs.fold(0, |difference, (a, b)| difference | (a ^ b));
    difference == 0 && known.len() == given.len()
}

/// What a request's URL says.
#[derive(Debug, Default)]
struct Parameters {
    channel: Option<String>,
    token: Option<String>,
    /// `host`, `source`, `sourcetype`, `index` of raw lines.
    metadata: Vec<(String, String)>,
}

impl Parameters {
    fn of(query: Option<&str>) -> Parameters {
        let mut parameters = Parameters::default();
        for pair in query.unwrap_or_default().split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value);
            match name {
                "channel" => parameters.channel = Some(value),
                "token" => parameters.token = Some(value),
                "host" | "source" | "sourcetype" | "index" => {
                    parameters.metadata.push((name.to_owned(), value));
                }
                _ => {}
            }
        }
        parameters
    }
}

/// `%2F` and `+` of a query.
fn decoded(value: &str) -> String {
    let bytes = value.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let code = bytes
            .get(at + 1..at + 3)
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (bytes[at], code) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (b'+', _) => {
                out.push(b' ');
                at += 1;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The channel of a request, when it has one.
fn channel_of(parameter: &Option<String>, headers: &HeaderMap) -> Option<String> {
    let header = headers
        .get(CHANNEL_HEADER)
        .and_then(|value| value.to_str().ok());
    let channel = header.map(str::to_owned).or_else(|| parameter.clone())?;
    (!channel.is_empty() && channel.len() <= 128).then_some(channel)
}

impl Reply {
    fn new(status: StatusCode, text: &'static str, code: u8) -> Reply {
        Reply {
            status,
            text,
            code,
            more: None,
            retry_after_seconds: None,
        }
    }

    fn of(refusal: &Refusal) -> Reply {
        match refusal.retry_after() {
            None if refusal.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Reply::new(refusal.status(), "Request entity too large", 27)
            }
            None => Reply::new(refusal.status(), "Invalid data format", 6),
            Some(retry_after) => Reply {
                retry_after_seconds: Some(retry_after.whole_seconds()),
                ..Reply::new(StatusCode::SERVICE_UNAVAILABLE, "Server is busy", 9)
            },
        }
    }

    fn with(mut self, name: &'static str, value: u64) -> Reply {
        self.more = Some((name, value));
        self
    }

    fn into_response(self) -> Response {
        let mut body = json!({ "text": self.text, "code": self.code });
        if let Some((name, value)) = self.more {
            body[name] = json!(value);
        }
        let response = (self.status, axum::Json(body)).into_response();
        match self.retry_after_seconds {
            Some(seconds) => ([(RETRY_AFTER, seconds.to_string())], response).into_response(),
            None => response,
        }
    }
}

#[cfg(test)]
mod tests;
