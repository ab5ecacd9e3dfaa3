//! The messages a receiver answers with: `Export…ServiceResponse`, and google.rpc's `Status` and `RetryInfo`.

use event::{AppendError, RetryAfter};
use http::StatusCode;
use prost::Message;

use super::{Receipt, Signal};
use crate::body::BodyError;

/// Why a whole request was refused, cut by what the sender should do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The body cannot be had.
    #[error("{0}")]
    Body(#[from] BodyError),
    /// Send it correctly.
    #[error("{0}")]
    Undecodable(String),
    /// Send less at once.
    #[error("{0}")]
    TooMuch(String),
    /// Send it again later.
    #[error("{0}")]
    Append(#[from] AppendError),
}

impl Failure {
    /// The HTTP status. Never 500: senders drop what is answered so.
    pub fn http_status(&self) -> StatusCode {
        match self {
            Failure::Body(error) => error.status(),
            Failure::Undecodable(_) => StatusCode::BAD_REQUEST,
            Failure::TooMuch(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Failure::Append(error) if error.is_overload() => StatusCode::TOO_MANY_REQUESTS,
            Failure::Append(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The gRPC code. What may be sent again is `Unavailable`; `ResourceExhausted` without a delay is not.
    pub fn code(&self) -> tonic::Code {
        match self {
            Failure::Body(BodyError::TooLarge { .. } | BodyError::TooManyEvents { .. })
            | Failure::TooMuch(_) => tonic::Code::ResourceExhausted,
            Failure::Body(BodyError::Busy { .. }) | Failure::Append(_) => tonic::Code::Unavailable,
            Failure::Body(BodyError::TooSlow { .. }) => tonic::Code::DeadlineExceeded,
            Failure::Body(BodyError::BrokenOff { .. }) => tonic::Code::Cancelled,
            Failure::Body(BodyError::UnknownEncoding { .. }) => tonic::Code::Unimplemented,
            Failure::Body(BodyError::Malformed { .. }) | Failure::Undecodable(_) => {
                tonic::Code::InvalidArgument
            }
        }
    }

    /// When to send it again, if at all.
    pub fn retry_after(&self) -> Option<RetryAfter> {
        match self {
            Failure::Body(BodyError::Busy { retry_after, .. }) => Some(*retry_after),
            Failure::Append(error) => Some(error.retry_after()),
            _ => None,
        }
    }

    /// The failure as google.rpc's `Status`, with `RetryInfo` when it may be sent again.
    pub fn to_status(&self) -> Status {
        let retry_info = self.retry_after().map(|retry_after| {
            let delay = Duration {
                seconds: i64::try_from(retry_after.0.as_secs()).unwrap_or(i64::MAX),
                nanos: retry_after.0.subsec_nanos() as i32,
            };
            Any {
                type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
                value: RetryInfo {
                    retry_delay: Some(delay),
                }
                .encode_to_vec(),
            }
        });
        Status {
            code: self.code() as i32,
            message: self.to_string(),
            details: retry_info.into_iter().collect(),
        }
    }
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// A gRPC code.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// For a person.
    #[prost(string, tag = "2")]
    pub message: String,
    /// For a program.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub struct Any {
    /// Names the type of `value`.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The message.
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
pub struct RetryInfo {
    /// How long to wait at least.
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<Duration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
pub struct Duration {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// The rest.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

/// `ExportLogsServiceResponse` and its siblings for metrics and traces, which are the same on the wire.
#[derive(Clone, PartialEq, Message)]
pub struct ExportResponse {
    /// Absent when everything was taken.
    #[prost(message, optional, tag = "1")]
    pub partial_success: Option<PartialSuccess>,
}

/// `ExportLogsPartialSuccess` and its siblings.
#[derive(Clone, PartialEq, Message)]
pub struct PartialSuccess {
    /// Records, points or spans that are not kept and must not be sent again.
    #[prost(int64, tag = "1")]
    pub rejected: i64,
    /// Why.
    #[prost(string, tag = "2")]
    pub error_message: String,
}

/// The response in protobuf.
pub fn response_protobuf(receipt: &Receipt) -> Vec<u8> {
    let partial_success = (receipt.rejected_count > 0).then(|| PartialSuccess {
        rejected: receipt.rejected_count as i64,
        error_message: receipt.message.clone(),
    });
    ExportResponse { partial_success }.encode_to_vec()
}

/// The response in JSON, where 64-bit integers are strings.
pub fn response_json(signal: Signal, receipt: &Receipt) -> Vec<u8> {
    if receipt.rejected_count == 0 {
        return b"{}".to_vec();
    }
    let name = match signal {
        Signal::Logs => "rejectedLogRecords",
        Signal::Metrics => "rejectedDataPoints",
        Signal::Traces => "rejectedSpans",
    };
    let message = quoted(&receipt.message);
    let count = receipt.rejected_count;
    format!("{{\"partialSuccess\":{{\"{name}\":\"{count}\",\"errorMessage\":{message}}}}}").into()
}

/// A status in JSON. Its details are left out: HTTP has `Retry-After` for them.
pub fn status_json(status: &Status) -> Vec<u8> {
    let (code, message) = (status.code, quoted(&status.message));
    format!("{{\"code\":{code},\"message\":{message}}}").into()
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}
