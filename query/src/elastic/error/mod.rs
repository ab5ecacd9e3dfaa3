//! Errors as Elasticsearch words them: the one place where this dialect turns a mistake into a status and a body.
//!
//! Clients look at the HTTP status, `error.type`, `error.root_cause[0].reason` and `status`, so the names and the
//! order of the keys are Elasticsearch's. Sources: section 2.7 of the Elasticsearch contract.

mod cause;

use axum::response::{IntoResponse, Response};
use event::RetryAfter;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use indexer::logs::ReadError;
use serde_json::{Map, Value, json};

pub use cause::{Cause, ShardFailure};

/// The most buckets all aggregations of one search may make together.
pub const BUCKETS_MAX: u64 = 65_536;

/// The deepest hit that `from` and `size` can reach; beyond it a client pages with `search_after`.
pub const RESULT_WINDOW_MAX: u64 = 10_000;

/// What a client is told went wrong: a status, and a body in Elasticsearch's form.
#[derive(Debug, Clone, PartialEq)]
pub struct ElasticError(Box<Inner>);

#[derive(Debug, Clone, PartialEq)]
struct Inner {
    status: StatusCode,
    body: Body,
    headers: HeaderMap,
}

#[derive(Debug, Clone, PartialEq)]
enum Body {
    /// An object with `root_cause`: nearly all errors.
    Cause(Cause),
    /// `search_phase_execution_exception`: every shard said no.
    AllShardsFailed(Vec<ShardFailure>),
    /// `{"error":"text"}`, as some old endpoints answer; with or without `status`.
    Text { text: String, has_status: bool },
    /// A whole body of its own, for the answers that are no `error` at all, as `{}` for a missing template.
    Other(Value),
}

/// Mistakes in the request: the client has to change it.
impl ElasticError {
    /// The body or a part of it is not what is expected there. `line` and `column` count from 1.
    pub fn parsing(reason: impl Into<String>, line: usize, column: usize) -> ElasticError {
        let cause = Cause::new("parsing_exception", reason)
            .with("line", line)
            .with("col", column);
        ElasticError::cause(StatusCode::BAD_REQUEST, cause)
    }

    /// A value of the body has the wrong form, where no line and column are at hand.
    pub fn x_content_parse(reason: impl Into<String>) -> ElasticError {
        ElasticError::cause(
            StatusCode::BAD_REQUEST,
            Cause::new("x_content_parse_exception", reason),
        )
    }

    /// The body is not JSON.
    pub fn json_parse(error: &serde_json::Error) -> ElasticError {
        let cause = Cause::new("json_parse_exception", error.to_string())
            .with("line", error.line())
            .with("col", error.column());
        ElasticError::cause(StatusCode::BAD_REQUEST, cause)
    }

    /// There is no query type of this name.
    pub fn unknown_query(name: &str, line: usize, column: usize) -> ElasticError {
        ElasticError::parsing(format!("unknown query [{name}]"), line, column)
    }

    /// There is no aggregation type of this name.
    pub fn unknown_aggregation(name: &str, line: usize, column: usize) -> ElasticError {
        ElasticError::parsing(format!("Unknown aggregation type [{name}]"), line, column)
    }

    /// A parameter or option has a value that cannot be used.
    pub fn illegal_argument(reason: impl Into<String>) -> ElasticError {
        ElasticError::cause(
            StatusCode::BAD_REQUEST,
            Cause::new("illegal_argument_exception", reason),
        )
    }

    /// The text of a `query_string` breaks its grammar; every shard of `indices` says so.
    ///
    /// `problem` tells where and what was expected.
    pub fn query_syntax(query: &str, problem: &str, indices: &[String]) -> ElasticError {
        let syntax = Cause::new(
            "parse_exception",
            format!("Cannot parse '{query}': {problem}"),
        );
        let cause = Cause::new(
            "query_shard_exception",
            format!("Failed to parse query [{query}]"),
        )
        .caused_by(syntax);
        ElasticError::cause(StatusCode::BAD_REQUEST, cause).on_every_shard(indices)
    }

    /// A text that should be a date is none; `format` is what was tried, as `strict_date_optional_time`.
    pub fn date(text: &str, format: &str) -> ElasticError {
        let tried = format!("failed to parse date field [{text}] with format [{format}]");
        let innermost = Cause::new(
            "date_time_parse_exception",
            "Failed to parse with all enclosed parsers",
        );
        let cause = Cause::new("parse_exception", format!("{tried}: [{tried}]"))
            .caused_by(Cause::new("illegal_argument_exception", tried).caused_by(innermost));
        ElasticError::cause(StatusCode::BAD_REQUEST, cause)
    }

    /// Texts cut into words cannot be aggregated or sorted by; their `.keyword` can.
    pub fn text_field(field: &str) -> ElasticError {
        ElasticError::illegal_argument(format!(
            "Field [{field}] of type [text] holds words, which cannot be aggregated or sorted by; use [{field}.keyword]"
        ))
    }

    /// `from + size` reaches deeper than [`RESULT_WINDOW_MAX`].
    pub fn result_window(from_plus_size: u64) -> ElasticError {
        ElasticError::illegal_argument(format!(
            "Result window is too large, from + size must be less than or equal to: [{RESULT_WINDOW_MAX}] but was \
             [{from_plus_size}]; page with search_after"
        ))
    }

    /// The aggregations would make more than [`BUCKETS_MAX`] buckets.
    pub fn too_many_buckets(count: u64) -> ElasticError {
        let cause = Cause::new(
            "too_many_buckets_exception",
            format!(
                "Trying to create too many buckets. Must be less than or equal to: [{BUCKETS_MAX}] but was [{count}]"
            ),
        )
        .with("max_buckets", BUCKETS_MAX);
        ElasticError::cause(StatusCode::BAD_REQUEST, cause)
    }

    /// The request lacks something; Elasticsearch's form is `Validation Failed: 1: index is missing;`.
    pub fn validation(problem: &str) -> ElasticError {
        ElasticError::cause(
            StatusCode::BAD_REQUEST,
            Cause::new(
                "action_request_validation_exception",
                format!("Validation Failed: 1: {problem};"),
            ),
        )
    }

    /// The index exists and was to be created.
    pub fn index_exists(name: &str) -> ElasticError {
        let uuid = crate::elastic::target::index_uuid(name);
        let cause = Cause::new(
            "resource_already_exists_exception",
            format!("index [{name}/{uuid}] already exists"),
        )
        .with("index_uuid", uuid)
        .with("index", name);
        ElasticError::cause(StatusCode::BAD_REQUEST, cause)
    }

    /// No index can have this name; `problem` as [`event::IndexNameError`] words it.
    pub fn invalid_index_name(name: &str, problem: &str) -> ElasticError {
        let cause = Cause::new(
            "invalid_index_name_exception",
            format!("Invalid index name [{name}], {problem}"),
        )
        .with("index_uuid", "_na_")
        .with("index", name);
        ElasticError::cause(StatusCode::BAD_REQUEST, cause)
    }

    /// The request body is larger than we take.
    pub fn content_too_large(bytes: u64, bytes_max: u64) -> ElasticError {
        ElasticError::cause(
            StatusCode::PAYLOAD_TOO_LARGE,
            Cause::new(
                "content_too_long_exception",
                format!(
                    "entity content is too long [{bytes}] for the configured buffer limit [{bytes_max}]"
                ),
            ),
        )
    }

    /// No resource has this path. `uri` as it was sent, with its query.
    pub fn no_handler(uri: &str, method: &Method) -> ElasticError {
        let text = format!("no handler found for uri [{uri}] and method [{method}]");
        let has_status = false;
        ElasticError::of(StatusCode::BAD_REQUEST, Body::Text { text, has_status })
    }

    /// The path exists, but not for this method. `allowed` is a list as in the header `Allow`.
    pub fn method_not_allowed(uri: &str, method: &Method, allowed: &HeaderValue) -> ElasticError {
        let names = allowed.to_str().unwrap_or_default().replace(',', ", ");
        let text = format!(
            "Incorrect HTTP method for uri [{uri}] and method [{method}], allowed: [{names}]"
        );
        let has_status = true;
        ElasticError::of(
            StatusCode::METHOD_NOT_ALLOWED,
            Body::Text { text, has_status },
        )
        .header(ALLOW, allowed.clone())
    }
}

/// What does not exist, or exists differently.
impl ElasticError {
    /// No index of this name.
    pub fn index_not_found(name: &str) -> ElasticError {
        let cause = Cause::new(
            "index_not_found_exception",
            format!("no such index [{name}]"),
        )
        .with("resource.type", "index_or_alias")
        .with("resource.id", name)
        .with("index_uuid", "_na_")
        .with("index", name);
        ElasticError::cause(StatusCode::NOT_FOUND, cause)
    }

    /// Aliases that were to be removed do not exist.
    pub fn aliases_not_found(names: &str) -> ElasticError {
        let cause = Cause::new(
            "aliases_not_found_exception",
            format!("aliases [{names}] missing"),
        )
        .with("resource.type", "aliases")
        .with("resource.id", names);
        ElasticError::cause(StatusCode::NOT_FOUND, cause)
    }

    /// No alias of this name: a text as `error`, as the alias endpoints answer.
    pub fn alias_missing(names: &str) -> ElasticError {
        let text = format!("alias [{names}] missing");
        let has_status = true;
        ElasticError::of(StatusCode::NOT_FOUND, Body::Text { text, has_status })
    }

    /// Something named, not an index, does not exist; the whole sentence.
    pub fn resource_not_found(reason: impl Into<String>) -> ElasticError {
        ElasticError::cause(
            StatusCode::NOT_FOUND,
            Cause::new("resource_not_found_exception", reason),
        )
    }

    /// Not found, with this body instead of an error: `{}` for templates and pipelines.
    pub fn not_found_with(body: Value) -> ElasticError {
        ElasticError::of(StatusCode::NOT_FOUND, Body::Other(body))
    }

    /// The scroll, point in time or asynchronous search is over, or never was.
    pub fn search_context_missing(id: &str) -> ElasticError {
        ElasticError::cause(
            StatusCode::NOT_FOUND,
            Cause::new(
                "search_context_missing_exception",
                format!("No search context found for id [{id}]"),
            ),
        )
    }

    /// An update names a document that is not there.
    pub fn document_missing(id: &str, index: &str) -> ElasticError {
        let cause = Cause::new(
            "document_missing_exception",
            format!("[{id}]: document missing"),
        )
        .with("index_uuid", crate::elastic::target::index_uuid(index))
        .with("shard", "0")
        .with("index", index);
        ElasticError::cause(StatusCode::NOT_FOUND, cause)
    }

    /// The document has changed since the client read it, or exists and was to be created.
    /// `problem` as `document already exists (current version [1])`.
    pub fn version_conflict(id: &str, index: &str, problem: &str) -> ElasticError {
        let cause = Cause::new(
            "version_conflict_engine_exception",
            format!("[{id}]: version conflict, {problem}"),
        )
        .with("index_uuid", crate::elastic::target::index_uuid(index))
        .with("shard", "0")
        .with("index", index);
        ElasticError::cause(StatusCode::CONFLICT, cause)
    }
}

/// Who may not, what is too much, what is broken.
impl ElasticError {
    /// Nobody, or nobody we know, asks: 401 with `WWW-Authenticate`.
    pub fn unauthenticated(reason: impl Into<String>) -> ElasticError {
        let cause = Cause::new("security_exception", reason);
        ElasticError::cause(StatusCode::UNAUTHORIZED, cause)
            .header(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"daybook\", charset=\"UTF-8\""),
            )
            .header(WWW_AUTHENTICATE, HeaderValue::from_static("ApiKey"))
            .header(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"daybook\""),
            )
    }

    /// We know who asks, and they may not.
    pub fn forbidden(reason: impl Into<String>) -> ElasticError {
        ElasticError::cause(
            StatusCode::FORBIDDEN,
            Cause::new("security_exception", reason),
        )
    }

    /// Too much is going on; the client should ask again later.
    pub fn rejected(reason: impl Into<String>, retry_after: RetryAfter) -> ElasticError {
        let cause = Cause::new("es_rejected_execution_exception", reason);
        ElasticError::cause(StatusCode::TOO_MANY_REQUESTS, cause)
            .header(RETRY_AFTER, HeaderValue::from(retry_after.whole_seconds()))
    }

    /// One request would use more memory than it may.
    pub fn circuit_breaking(bytes_wanted: u64, bytes_limit: u64) -> ElasticError {
        let cause = Cause::new(
            "circuit_breaking_exception",
            format!(
                "[request] Data too large, data for [query] would be [{bytes_wanted}b], which is larger than the \
                 limit of [{bytes_limit}b]; narrow the time range or ask for fewer buckets"
            ),
        )
        .with("bytes_wanted", bytes_wanted)
        .with("bytes_limit", bytes_limit)
        .with("durability", "TRANSIENT");
        ElasticError::cause(StatusCode::TOO_MANY_REQUESTS, cause)
    }

    /// A shard, or what it lies on, cannot be read now.
    pub fn shard_unavailable(reason: impl Into<String>) -> ElasticError {
        ElasticError::cause(
            StatusCode::SERVICE_UNAVAILABLE,
            Cause::new("no_shard_available_action_exception", reason),
        )
    }

    /// Every shard that was asked failed: 503 when a file could not be read, so the status is the caller's.
    pub fn all_shards_failed(status: StatusCode, failures: Vec<ShardFailure>) -> ElasticError {
        ElasticError::of(status, Body::AllShardsFailed(failures))
    }

    /// Something of ours broke. The reason is for the operator's eyes too.
    pub fn internal(reason: impl Into<String>) -> ElasticError {
        ElasticError::cause(
            StatusCode::INTERNAL_SERVER_ERROR,
            Cause::new("exception", reason),
        )
    }
}

/// Building and looking.
impl ElasticError {
    /// Any other error.
    pub fn cause(status: StatusCode, cause: Cause) -> ElasticError {
        ElasticError::of(status, Body::Cause(cause))
    }

    /// The same mistake as each of these shards would report it: `search_phase_execution_exception`.
    /// Errors that are not about a shard, and an empty list, stay as they are.
    pub fn on_every_shard(self, indices: &[String]) -> ElasticError {
        let Body::Cause(cause) = &self.0.body else {
            return self;
        };
        if indices.is_empty() {
            return self;
        }
        let failures = indices
            .iter()
            .map(|index| ShardFailure {
                index: index.clone(),
                cause: cause.clone(),
            })
            .collect();
        ElasticError::all_shards_failed(self.0.status, failures)
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The innermost type that names the mistake: `index_not_found_exception`, not the search phase around it.
    pub fn kind(&self) -> &'static str {
        self.first_cause().map_or("", |cause| cause.kind)
    }

    /// The reason a person should read.
    pub fn reason(&self) -> &str {
        match &self.0.body {
            Body::Text { text, .. } => text,
            _ => self.first_cause().map_or("", Cause::reason),
        }
    }

    /// What a shard's failure, or a bulk item's `error`, carries.
    pub fn into_cause(self) -> Cause {
        match self.0.body {
            Body::Cause(cause) => cause,
            Body::AllShardsFailed(failures) => match failures.into_iter().next() {
                Some(failure) => failure.cause,
                None => Cause::new("exception", "all shards failed"),
            },
            Body::Text { text, .. } => Cause::new("exception", text),
            Body::Other(body) => Cause::new("exception", body.to_string()),
        }
    }

    /// The response's body: `{"error":{…},"status":404}`. The same object is an item of `_msearch`.
    pub fn body(&self) -> Value {
        let status = self.0.status.as_u16();
        match &self.0.body {
            Body::Cause(cause) => json!({ "error": plain(cause), "status": status }),
            Body::AllShardsFailed(failures) => {
                json!({ "error": search_phase(failures), "status": status })
            }
            Body::Text {
                text,
                has_status: true,
            } => json!({ "error": text, "status": status }),
            Body::Text { text, .. } => json!({ "error": text }),
            Body::Other(body) => body.clone(),
        }
    }

    /// One item of an `_msearch` reply, where `error` must be an object: the body, with a bare text wrapped.
    pub fn to_item_json(&self) -> Value {
        match &self.0.body {
            Body::Cause(_) | Body::AllShardsFailed(_) => self.body(),
            Body::Text { .. } | Body::Other(_) => {
                let cause = self.clone().into_cause();
                json!({ "error": plain(&cause), "status": self.0.status.as_u16() })
            }
        }
    }

    fn first_cause(&self) -> Option<&Cause> {
        match &self.0.body {
            Body::Cause(cause) => Some(cause),
            Body::AllShardsFailed(failures) => failures.first().map(|failure| &failure.cause),
            Body::Text { .. } | Body::Other(_) => None,
        }
    }

    fn of(status: StatusCode, body: Body) -> ElasticError {
        let headers = HeaderMap::new();
        ElasticError(Box::new(Inner {
            status,
            body,
            headers,
        }))
    }

    fn header(mut self, name: http::HeaderName, value: HeaderValue) -> ElasticError {
        self.0.headers.append(name, value);
        self
    }
}

fn plain(cause: &Cause) -> Value {
    let mut error = Map::new();
    error.insert("root_cause".to_owned(), json!([cause.to_object()]));
    if let Value::Object(whole) = cause.to_json() {
        error.extend(whole);
    }
    Value::Object(error)
}

/// Shards that failed alike are told once, as Elasticsearch's `grouped` does; each cause names its shard.
fn search_phase(failures: &[ShardFailure]) -> Value {
    let mut groups: Vec<&ShardFailure> = Vec::new();
    for failure in failures {
        if groups.iter().all(|known| known.cause != failure.cause) {
            groups.push(failure);
        }
    }
    let root_causes: Vec<Value> = groups
        .iter()
        .map(|failure| Value::Object(in_index(failure).to_object()))
        .collect();
    let failed_shards: Vec<Value> = groups.iter().map(|failure| failure.to_json()).collect();
    json!({
        "root_cause": root_causes,
        "type": "search_phase_execution_exception",
        "reason": "all shards failed",
        "phase": "query",
        "grouped": true,
        "failed_shards": failed_shards,
    })
}

/// A query that a shard cannot parse names its index; other causes stand as they are.
fn in_index(failure: &ShardFailure) -> Cause {
    let cause = failure.cause.clone();
    if cause.kind != "query_shard_exception" {
        return cause;
    }
    cause
        .with(
            "index_uuid",
            crate::elastic::target::index_uuid(&failure.index),
        )
        .with("index", failure.index.as_str())
}

impl IntoResponse for ElasticError {
    fn into_response(self) -> Response {
        let body = self.body().to_string();
        let mut response = (self.0.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(self.0.headers);
        response
    }
}

impl From<ReadError> for ElasticError {
    fn from(error: ReadError) -> ElasticError {
        ElasticError::shard_unavailable(error.to_string())
    }
}

impl std::fmt::Display for ElasticError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind(), self.reason())
    }
}

impl std::error::Error for ElasticError {}

#[cfg(test)]
mod tests;
