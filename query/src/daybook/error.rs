//! What a client of our own API is told went wrong: the one place that turns a mistake into a status and a body.

use axum::Json;
use axum::response::{IntoResponse, Response};
use event::RetryAfter;
use http::StatusCode;
use http::header::RETRY_AFTER;
use serde_json::json;

use crate::elastic::error::ElasticError;
use crate::elastic::language::QueryError;
use crate::limits::Stop;
use crate::logs::execute::SearchError;

/// A status and `{"error":{"type":…,"reason":…},"status":…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    status: StatusCode,
    reason: String,
    retry_after: Option<RetryAfter>,
}

impl ApiError {
    fn new(status: StatusCode, reason: impl Into<String>) -> ApiError {
        ApiError {
            status,
            reason: reason.into(),
            retry_after: None,
        }
    }

    /// The client has to change the request.
    pub fn bad_request(reason: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, reason)
    }

    /// A fault of ours.
    pub fn internal(error: impl std::fmt::Display) -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }

    fn kind(&self) -> &'static str {
        match self.status {
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::TOO_MANY_REQUESTS => "overloaded",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            status if status.is_client_error() => "bad_request",
            _ => "internal",
        }
    }
}

impl From<ElasticError> for ApiError {
    fn from(error: ElasticError) -> ApiError {
        ApiError::new(error.status(), error.reason())
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> ApiError {
        ApiError::bad_request(error.to_string())
    }
}

impl From<SearchError> for ApiError {
    fn from(error: SearchError) -> ApiError {
        let status = match &error {
            SearchError::Aggregate(_) => StatusCode::BAD_REQUEST,
            SearchError::Stopped(Stop::OutOfMemory) => {
                return ApiError::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    format!("{error}; ask for a shorter time or fewer events"),
                );
            }
            SearchError::Overloaded(_) => {
                return ApiError {
                    retry_after: Some(RetryAfter::ONE_SECOND),
                    ..ApiError::new(StatusCode::TOO_MANY_REQUESTS, error.to_string())
                };
            }
            SearchError::AllShardsFailed(_) => StatusCode::SERVICE_UNAVAILABLE,
            SearchError::Stopped(_) | SearchError::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        ApiError::new(status, error.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({
            "error": { "type": self.kind(), "reason": self.reason },
            "status": self.status.as_u16(),
        });
        let mut response = (self.status, Json(body)).into_response();
        if let Some(retry_after) = self.retry_after {
            let seconds = retry_after.whole_seconds().into();
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}
