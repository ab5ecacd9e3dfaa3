//! What every reply of this dialect has in common, and what every request is relieved of, in one layer.
//!
//! On the way in: doubled and trailing slashes, `Content-Encoding`, a body that came as `source=` in the URL.
//! On the way out: the product header, errors in Elasticsearch's words also for unknown paths and methods,
//! `filter_path`, `pretty`, the vendor's media type, compression.

mod filter_path;
mod pretty;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request};
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use http_body::Body as _;
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;
use tower_http::decompression::RequestDecompression;

use super::error::{Cause, ElasticError};
use super::params::Params;
use filter_path::FilterPath;

/// Clients refuse to talk to a server whose replies lack this header.
const PRODUCT: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-elastic-product"),
    HeaderValue::from_static("Elasticsearch"),
);

/// The largest request body a query handler reads, decompressed. Dashboards send some KiB; a list of ten thousand
/// ids is under 1 MiB. Write paths read their bodies themselves, under their own limit.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The largest reply that `filter_path` and `pretty` work on, because they hold it twice in memory; a larger one is
/// sent as it is. Clients ask for both to save themselves work, none fails without them.
const REWRITE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The largest error text of a framework's rejection that is passed on.
const REJECTION_BYTES_MAX: u64 = 4 * 1024;

/// Smaller replies do not shrink enough to be worth the work.
const COMPRESS_BYTES_MIN: u64 = 512;

/// Wraps all routes of the Elasticsearch dialect, those of its write paths included.
///
/// The result has no routes, only a fallback, so that merged with other dialects' routers it gets what they leave.
/// What must stand inside the wrap to get the product header (access control, which answers 401) is layered onto
/// `router` before. Requests to `_bulk` keep their `Content-Encoding`: its source decodes under limits of its own.
pub fn layer(router: Router) -> Router {
    let dialect = router
        .fallback(no_handler)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    let answer = move |request: Request| answer(dialect.clone(), request);
    let compression = CompressionLayer::new().compress_when(SizeAbove::new(COMPRESS_BYTES_MIN));
    Router::new().fallback(answer).layer(compression)
}

async fn no_handler(method: Method, uri: Uri) -> ElasticError {
    ElasticError::no_handler(&uri.to_string(), &method)
}

async fn answer(dialect: Router, mut request: Request) -> Response {
    let params = Params::of(request.uri());
    let method = request.method().clone();
    let uri = request.uri().clone();
    let style = Style::of(request.headers(), &params);
    tidy_path(&mut request);
    take_body_from_url(&mut request, &params);

    let response = if decodes_its_body(&request) {
        dialect.oneshot(request).await.into_response()
    } else {
        let decompressing = RequestDecompression::new(dialect);
        match decompressing.oneshot(request).await {
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        }
    };
    let response = in_elastic_words(response, &method, &uri).await;
    let mut response = style.apply(response).await;
    let (name, value) = PRODUCT;
    response.headers_mut().insert(name, value);
    if method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    response
}

fn decodes_its_body(request: &Request) -> bool {
    let is_bulk = request.uri().path().ends_with("/_bulk");
    is_bulk || !request.headers().contains_key(CONTENT_ENCODING)
}

/// `//_bulk/` becomes `/_bulk`; escapes like `%2F` stay what they are.
fn tidy_path(request: &mut Request) {
    let path = request.uri().path();
    let is_tidy = !path.contains("//") && (path == "/" || !path.ends_with('/'));
    if is_tidy {
        return;
    }
    let mut tidy = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        tidy.push('/');
        tidy.push_str(segment);
    }
    if tidy.is_empty() {
        tidy.push('/');
    }
    if let Some(query) = request.uri().query() {
        tidy.push('?');
        tidy.push_str(query);
    }
    if let Ok(uri) = tidy.parse() {
        *request.uri_mut() = uri;
    }
}

/// Some clients cannot send a GET with a body: they put it into the URL.
fn take_body_from_url(request: &mut Request, params: &Params) {
    let Some(source) = params.text("source") else {
        return;
    };
    if !request.body().is_end_stream() {
        return;
    }
    let content_type = params
        .text("source_content_type")
        .and_then(|text| HeaderValue::from_str(text).ok())
        .unwrap_or(HeaderValue::from_static("application/json"));
    *request.body_mut() = Body::from(source.to_owned());
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.remove(CONTENT_LENGTH);
}

/// Rejections of the framework (a body too large, an unknown encoding, a wrong method) become errors of ours.
async fn in_elastic_words(response: Response, method: &Method, uri: &Uri) -> Response {
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    if !is_error || is_json(response.headers()) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let error = match (status, parts.headers.get(ALLOW)) {
        (StatusCode::METHOD_NOT_ALLOWED, Some(allowed)) => {
            ElasticError::method_not_allowed(&uri.to_string(), method, allowed)
        }
        _ => {
            let reason = text_of(body).await;
            let reason = reason.unwrap_or_else(|| status.to_string());
            ElasticError::cause(status, Cause::new(kind_of(status), reason))
        }
    };
    let told = error.into_response();
    parts.headers.remove(CONTENT_LENGTH);
    for (name, value) in told.headers() {
        parts.headers.insert(name, value.clone());
    }
    Response::from_parts(parts, told.into_body())
}

fn kind_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "security_exception",
        StatusCode::PAYLOAD_TOO_LARGE => "content_too_long_exception",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "media_type_header_exception",
        StatusCode::TOO_MANY_REQUESTS => "es_rejected_execution_exception",
        status if status.is_client_error() => "illegal_argument_exception",
        _ => "exception",
    }
}

async fn text_of(body: Body) -> Option<String> {
    let is_short = body.size_hint().upper()? <= REJECTION_BYTES_MAX;
    if !is_short {
        return None;
    }
    let bytes = body.collect().await.ok()?.to_bytes();
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|content_type| content_type.starts_with(b"application/json"))
}

/// How a client wants its replies written.
struct Style {
    filter: Option<FilterPath>,
    is_pretty: bool,
    media_type: Option<HeaderValue>,
}

impl Style {
    fn of(headers: &HeaderMap, params: &Params) -> Style {
        Style {
            filter: params.text("filter_path").and_then(FilterPath::parse),
            is_pretty: params.flag("pretty", false).unwrap_or(false),
            media_type: vendor_type(headers),
        }
    }

    async fn apply(&self, response: Response) -> Response {
        if !is_json(response.headers()) {
            return response;
        }
        let is_error = response.status().is_client_error() || response.status().is_server_error();
        // As in Elasticsearch, a filter never hides an error.
        let filter = self.filter.as_ref().filter(|_| !is_error);
        let (mut parts, mut body) = response.into_parts();
        let length = body.size_hint().exact();
        let is_rewritable = length.is_some_and(|bytes| bytes > 0 && bytes <= REWRITE_BYTES_MAX);
        if is_rewritable && (filter.is_some() || self.is_pretty) {
            let Ok(whole) = body.collect().await else {
                return ElasticError::internal("the reply broke off").into_response();
            };
            let mut json = Vec::from(whole.to_bytes());
            if let Some(filtered) = filter.and_then(|filter| filter.apply(&json)) {
                json = filtered;
            }
            if self.is_pretty {
                json = pretty::pretty(&json);
            }
            parts.headers.remove(CONTENT_LENGTH);
            body = Body::from(json);
        }
        if let Some(media_type) = &self.media_type {
            parts.headers.insert(CONTENT_TYPE, media_type.clone());
        }
        Response::from_parts(parts, body)
    }
}

/// The vendor's JSON type with the version that the client asked for, when it asked for one.
fn vendor_type(headers: &HeaderMap) -> Option<HeaderValue> {
    let accepted = headers.get_all(ACCEPT).iter();
    let texts = accepted.filter_map(|value| value.to_str().ok());
    let vendor = texts
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .find(|media| media.starts_with("application/vnd.elasticsearch+"))?;
    let mut parameters = vendor.split(';').skip(1).map(str::trim);
    let version = parameters.find_map(|parameter| parameter.strip_prefix("compatible-with="))?;
    let is_version = matches!(version, "7" | "8" | "9");
    let media_type = format!("application/vnd.elasticsearch+json;compatible-with={version}");
    is_version
        .then(|| HeaderValue::try_from(media_type).ok())
        .flatten()
}

#[cfg(test)]
mod tests;
