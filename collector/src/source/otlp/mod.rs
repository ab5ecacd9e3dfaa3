//! OTLP over HTTP and gRPC. Logs are stored; metrics and traces are told that they are not, and counted.
//!
//! Both transports take a body, hand it to [`Otlp::receive`], and word what comes back. The mapping of a record to a
//! document is in `document.rs`; protobuf and JSON are read in place by readers of our own that meet in `record.rs`.

mod document;
mod grpc;
mod http;
mod json;
mod json_text;
mod protobuf;
mod record;
mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use event::{IndexName, Outcome};
use serde::{Deserialize, Serialize};

use self::document::Writer;
use self::record::Undecodable;
use self::status::Failure;
use super::{Intake, PushContext};
use crate::body::Body;
use crate::pipeline::Pipeline;

pub use self::document::{Documents, Terms};
pub use self::record::ReadError;

/// `type: otlp` under `sources:` in the settings file. The source is there without an entry, too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EntrySettings {
    /// The index of its log records; `logs` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// The pipeline log records go through once they are documents.
    #[serde(
        deserialize_with = "crate::pipeline::names",
        skip_serializing_if = "Option::is_none"
    )]
    pub pipeline: Option<String>,
}

/// How the source behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The source's name in the books.
    pub source_name: Arc<str>,
    /// The index that log records go to.
    pub index: IndexName,
    /// The most bytes of one document: `limits.event`. The strings of larger ones are cut.
    pub event_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            source_name: Arc::from("otlp"),
            index: IndexName::default_index(),
            event_bytes_max: 1024 * 1024,
        }
    }
}

/// The receiver, one for both transports.
pub struct Otlp {
    settings: Settings,
    pipeline: Option<Arc<Pipeline>>,
    intake: Intake,
    ahead_count: AtomicU64,
    truncated_count: AtomicU64,
}

/// What was changed in records on their way in, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Adjusted {
    /// Records whose time lay more than a day ahead: stored under their arrival, the sender's time is kept in
    /// `event.created`.
    pub ahead_count: u64,
    /// Records whose longest strings were cut to fit `limits.event`.
    pub truncated_count: u64,
}

/// What a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Logs,
    Metrics,
    Traces,
}

/// How a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// proto3's binary encoding.
    Protobuf,
    /// OTLP's JSON.
    Json,
}

/// A request that was taken, perhaps not with everything in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Receipt {
    rejected_count: u64,
    message: String,
}

impl Otlp {
    /// The receiver. Log records go through `pipeline` once they are documents.
    pub fn new(
        settings: Settings,
        pipeline: Option<Arc<Pipeline>>,
        context: PushContext,
    ) -> Arc<Otlp> {
        Arc::new(Otlp {
            pipeline,
            intake: Intake::new(&settings.source_name, context),
            settings,
            ahead_count: AtomicU64::new(0),
            truncated_count: AtomicU64::new(0),
        })
    }

    /// The routes of OTLP over HTTP.
    pub fn http_routes(self: &Arc<Otlp>) -> Router {
        http::routes(self)
    }

    /// The routes of OTLP over gRPC, for an accept loop that speaks HTTP/2 without TLS (h2c).
    pub fn grpc_routes(self: &Arc<Otlp>) -> Router {
        grpc::routes(self)
    }

    /// What was changed in records so far, for two counters.
    pub fn adjusted(&self) -> Adjusted {
        Adjusted {
            ahead_count: self.ahead_count.load(Ordering::Relaxed),
            truncated_count: self.truncated_count.load(Ordering::Relaxed),
        }
    }

    async fn receive(
        &self,
        signal: Signal,
        format: Format,
        body: Body,
    ) -> Result<Receipt, Failure> {
        match signal {
            Signal::Logs => self.receive_logs(format, body).await,
            Signal::Metrics | Signal::Traces => self.refuse_all(signal, format, body).await,
        }
    }

    async fn receive_logs(&self, format: Format, body: Body) -> Result<Receipt, Failure> {
        let Body {
            bytes,
            mut reservation,
        } = body;
        let body_bytes = bytes.len();
        let received = (self.intake.now)();
        let terms = Terms {
            index: self.settings.index.clone(),
            received,
            event_bytes_max: self.settings.event_bytes_max,
            request_bytes_max: self.intake.bodies.bytes_max(),
        };
        let pipeline = self.pipeline.clone();
        let event_bytes_max = self.settings.event_bytes_max;
        let read = self
            .intake
            .cpu
            .run(body_bytes, move || {
                let documents = read_logs(format, &bytes, terms)?;
                drop(bytes);
                Ok(match pipeline {
                    Some(pipeline) => documents.through(&pipeline, received, event_bytes_max),
                    None => documents,
                })
            })
            .await;
        let documents = read.map_err(|error| self.count_refused(error, body_bytes))?;
        // The body is gone; its documents are what the request holds from here on.
        reservation.shrink(body_bytes);
        if !reservation.grow(documents.byte_size) {
            self.intake.count_unread_request("busy", body_bytes as u64);
            return Err(self.intake.bodies.busy().into());
        }
        self.count(&documents, body_bytes);

        let mut rejected_count = documents.malformed_count + documents.too_large_count;
        let mut first_problem = documents.first_problem;
        let ack = self
            .intake
            .store(received, documents.events, reservation)
            .await?;
        for outcome in ack.outcomes {
            let problem = match outcome {
                Outcome::Rejected { message, .. } => message,
                Outcome::Conflict | Outcome::NotFound => "the journal refused it".to_owned(),
                Outcome::Created { .. } | Outcome::Updated { .. } | Outcome::Deleted { .. } => {
                    continue;
                }
            };
            rejected_count += 1;
            first_problem.get_or_insert(problem);
        }
        Ok(Receipt {
            rejected_count,
            message: match first_problem {
                Some(problem) => format!("{rejected_count} log records rejected, first: {problem}"),
                None => String::new(),
            },
        })
    }

    /// Metrics and traces have no store yet: their senders are told, so that nothing is lost in silence.
    async fn refuse_all(
        &self,
        signal: Signal,
        format: Format,
        body: Body,
    ) -> Result<Receipt, Failure> {
        let body_bytes = body.bytes.len();
        let (bytes, _held) = (body.bytes, body.reservation);
        let counted = self
            .intake
            .cpu
            .run(body_bytes, move || {
                count_refused_items(signal, format, &bytes)
            })
            .await;
        let rejected_count =
            counted.map_err(|error| self.count_refused(error.into(), body_bytes))?;
        let (reason, message) = match signal {
            Signal::Metrics => (
                "metrics_not_supported",
                "this server does not store metrics yet, send logs only",
            ),
            _ => (
                "traces_not_supported",
                "this server does not store traces yet, send logs only",
            ),
        };
        let ledger = &self.intake.ledger;
        ledger.received(rejected_count, body_bytes as u64);
        ledger.rejected(reason, rejected_count);
        Ok(Receipt {
            rejected_count,
            message: message.to_owned(),
        })
    }

    fn count(&self, documents: &Documents, body_bytes: usize) {
        let ledger = &self.intake.ledger;
        ledger.received(documents.record_count, body_bytes as u64);
        ledger.rejected("malformed", documents.malformed_count);
        ledger.rejected("too_large", documents.too_large_count);
        for (reason, count) in &documents.dropped {
            ledger.dropped(reason, *count);
        }
        self.ahead_count
            .fetch_add(documents.ahead_count, Ordering::Relaxed);
        self.truncated_count
            .fetch_add(documents.truncated_count, Ordering::Relaxed);
    }

    fn count_refused(&self, error: ReadError, body_bytes: usize) -> Failure {
        let (reason, failure) = match error {
            ReadError::Undecodable(Undecodable(problem)) => {
                ("malformed", Failure::Undecodable(problem))
            }
            ReadError::TooMuch(problem) => ("request_too_large", Failure::TooMuch(problem)),
        };
        self.intake.count_unread_request(reason, body_bytes as u64);
        failure
    }
}

/// Makes the documents of an `ExportLogsServiceRequest`. Public for benches and fuzz targets.
///
/// # Errors
/// The whole request is to be refused: it is not of its format, or too much at once.
pub fn read_logs(format: Format, bytes: &[u8], terms: Terms) -> Result<Documents, ReadError> {
    let mut writer = Writer::new(terms);
    let take = &mut |part| writer.take(part);
    match format {
        Format::Protobuf => protobuf::read_logs(bytes, take)?,
        Format::Json => json::read_logs(bytes, take)?,
    }
    Ok(writer.finish())
}

fn count_refused_items(signal: Signal, format: Format, bytes: &[u8]) -> Result<u64, Undecodable> {
    match (signal, format) {
        (Signal::Metrics, Format::Protobuf) => {
            // Metric.{gauge, sum, histogram, exponential_histogram, summary}.data_points
            protobuf::count(bytes, &[&[1], &[2], &[2], &[5, 7, 9, 10, 11], &[1]])
        }
        (Signal::Metrics, Format::Json) => json::count(
            bytes,
            &[
                &["resourceMetrics"],
                &["scopeMetrics"],
                &["metrics"],
                &[
                    "gauge",
                    "sum",
                    "histogram",
                    "exponentialHistogram",
                    "summary",
                ],
                &["dataPoints"],
            ],
        ),
        (_, Format::Protobuf) => protobuf::count(bytes, &[&[1], &[2], &[2]]),
        (_, Format::Json) => json::count(bytes, &[&["resourceSpans"], &["scopeSpans"], &["spans"]]),
    }
}

#[cfg(test)]
mod tests;
