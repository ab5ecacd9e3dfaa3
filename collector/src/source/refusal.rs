//! Why a push request is not taken as a whole. Each protocol says it in its own words.

use axum::response::Response;
use event::{AppendError, RetryAfter};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};

use crate::body::BodyError;

/// Cut by what the sender should do.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Its body cannot be had, or not now.
    #[error("{0}")]
    Body(#[from] BodyError),
    /// Send it again later.
    #[error("{0}")]
    Append(#[from] AppendError),
}

impl Refusal {
    /// The HTTP status. Never 500: senders drop what is answered so.
    pub fn status(&self) -> StatusCode {
        match self {
            Refusal::Body(error) => error.status(),
            Refusal::Append(error) if error.is_overload() => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Append(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// When to send it again, if at all.
    pub fn retry_after(&self) -> Option<RetryAfter> {
        match self {
            Refusal::Body(BodyError::Busy { retry_after, .. }) => Some(*retry_after),
            Refusal::Body(_) => None,
            Refusal::Append(error) => Some(error.retry_after()),
        }
    }

    /// Adds that to the answer which says so.
    pub fn tell_when(&self, mut answer: Response) -> Response {
        if let Some(retry_after) = self.retry_after() {
            let seconds = HeaderValue::from(retry_after.whole_seconds());
            answer.headers_mut().insert(RETRY_AFTER, seconds);
        }
        answer
    }
}
