//! The layer around a small dialect: one document to read, one body to echo, one guarded door.

use std::io::Write as _;

use axum::Json;
use axum::routing::{get, post};
use bytes::Bytes;
use http::header::ACCEPT_ENCODING;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

fn dialect() -> Router {
    let document = || async { Json(json!({ "took": 1, "hits": { "total": 2, "list": [1.5] } })) };
    let missing = || async { ElasticError::index_not_found("nope") };
    let door = || async {
        (
            StatusCode::UNAUTHORIZED,
            [("www-authenticate", "Basic")],
            "who?",
        )
    };
    let large = || async { Json(json!({ "text": "a".repeat(100_000) })) };
    let echo = |body: Bytes| async move {
        Json(json!({ "bytes": body.len(), "body": String::from_utf8_lossy(&body) }))
    };
    let raw = |request: Request| async move {
        let is_encoded = request.headers().contains_key(CONTENT_ENCODING);
        Json(json!({ "encoded": is_encoded }))
    };
    let routes = Router::new()
        .route("/doc", get(document))
        .route("/nope/_doc/{id}", get(missing))
        .route("/door", get(door))
        .route("/large", get(large))
        .route("/text", get(|| async { "health status\n" }))
        .route("/_search", get(echo).post(echo))
        .route("/_bulk", post(raw));
    layer(routes)
}

async fn send(
    request: http::request::Builder,
    body: impl Into<Body>,
) -> (StatusCode, HeaderMap, Bytes) {
    let request = request.body(body.into()).unwrap();
    let response = dialect().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    assert_eq!(parts.headers["x-elastic-product"], "Elasticsearch");
    (parts.status, parts.headers, bytes)
}

async fn fetch(uri: &str) -> (StatusCode, HeaderMap, String) {
    let (status, headers, bytes) = send(Request::get(uri), Body::empty()).await;
    (status, headers, String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn every_reply_names_the_product_and_errors_speak_elasticsearch() {
    let (status, _, body) = fetch("/doc").await;
    assert_eq!(
        (status.as_u16(), body.as_str()),
        (200, r#"{"took":1,"hits":{"total":2,"list":[1.5]}}"#)
    );

    let (status, _, body) = fetch("/nope/_doc/1").await;
    assert_eq!(status, 404);
    assert!(body.contains("index_not_found_exception"));

    let (status, headers, body) = fetch("/door").await;
    assert_eq!(status, 401);
    assert_eq!(headers["www-authenticate"], "Basic");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["error"]["type"], "security_exception");
    assert_eq!(body["error"]["reason"], "who?");

    let (status, _, body) = fetch("/x/y?a=1").await;
    assert_eq!(status, 400);
    assert_eq!(
        body,
        r#"{"error":"no handler found for uri [/x/y?a=1] and method [GET]"}"#
    );

    let (status, headers, body) = send(Request::delete("/_search"), Body::empty()).await;
    assert_eq!(status, 405);
    assert_eq!(headers[ALLOW], "GET,HEAD,POST");
    assert!(
        body.starts_with(
            br#"{"error":"Incorrect HTTP method for uri [/_search] and method [DELETE]"#
        )
    );

    for uri in ["/doc", "/nope/_doc/1", "/x/y", "/door"] {
        let (_, _, body) = send(Request::head(uri), Body::empty()).await;
        assert!(body.is_empty(), "{uri}");
    }
}

#[tokio::test]
async fn slashes_are_forgiven_and_escapes_kept() {
    for uri in ["//doc", "/doc/", "///doc//?x=1"] {
        assert_eq!(fetch(uri).await.0, 200, "{uri}");
    }
    assert_eq!(fetch("/nope/_doc/a%2Fb/").await.0, 404);
}

#[tokio::test]
async fn replies_are_filtered_and_pretty() {
    assert_eq!(
        fetch("/doc?filter_path=hits.*,-hits.list").await.2,
        r#"{"hits":{"total":2}}"#
    );
    assert_eq!(fetch("/doc?filter_path=none").await.2, "{}");
    assert_eq!(
        fetch("/doc?filter_path=took&pretty").await.2,
        "{\n  \"took\" : 1\n}\n"
    );
    // A filter never hides an error.
    let (_, _, body) = fetch("/nope/_doc/1?filter_path=hits&pretty=true").await;
    assert!(
        body.contains("\"type\" : \"index_not_found_exception\""),
        "{body}"
    );
    assert_eq!(
        fetch("/text?filter_path=x&pretty").await.2,
        "health status\n"
    );
}

#[tokio::test]
async fn the_media_type_is_the_one_asked_for() {
    let cases = [
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        (
            "application/vnd.elasticsearch+json; compatible-with=8",
            "application/vnd.elasticsearch+json;compatible-with=8",
        ),
        (
            "application/vnd.elasticsearch+json;compatible-with=9",
            "application/vnd.elasticsearch+json;compatible-with=9",
        ),
        (
            "text/plain, application/vnd.elasticsearch+x-ndjson ; compatible-with=8",
            "application/vnd.elasticsearch+json;compatible-with=8",
        ),
        (
            "application/vnd.elasticsearch+json;compatible-with=77",
            "application/json",
        ),
    ];
    for (accept, expected) in cases {
        for uri in ["/doc", "/x/y"] {
            let (_, headers, _) =
                send(Request::get(uri).header(ACCEPT, accept), Body::empty()).await;
            assert_eq!(headers[CONTENT_TYPE], expected, "{accept}");
        }
    }
}

#[tokio::test]
async fn bodies_come_plain_compressed_or_in_the_url() {
    let (_, _, body) = send(Request::get("/_search"), r#"{"size":0}"#).await;
    assert_eq!(body, r#"{"bytes":10,"body":"{\"size\":0}"}"#);

    let uri = "/_search?source=%7B%22size%22%3A0%7D&source_content_type=application%2Fjson";
    assert_eq!(fetch(uri).await.2, r#"{"bytes":10,"body":"{\"size\":0}"}"#);

    let gzip = Request::post("/_search").header(CONTENT_ENCODING, "gzip");
    let (_, _, body) = send(gzip, gzipped(br#"{"size":0}"#)).await;
    assert_eq!(body, r#"{"bytes":10,"body":"{\"size\":0}"}"#);

    let gzip = Request::post("/_bulk").header(CONTENT_ENCODING, "gzip");
    let (_, _, body) = send(gzip, gzipped(b"x")).await;
    assert_eq!(body, r#"{"encoded":true}"#);

    let unknown = Request::post("/_search").header(CONTENT_ENCODING, "br");
    let (status, _, body) = send(unknown, "x").await;
    assert_eq!(status, 415);
    assert!(body.starts_with(br#"{"error":{"root_cause""#));
}

#[tokio::test]
async fn a_gzip_bomb_ends_at_the_limit() {
    let bomb = gzipped(&vec![b' '; BODY_BYTES_MAX + 1]);
    assert!(bomb.len() < 64 * 1024);
    let gzip = Request::post("/_search").header(CONTENT_ENCODING, "gzip");
    let (status, _, body) = send(gzip, bomb).await;
    assert_eq!(status, 413);
    assert!(body.starts_with(br#"{"error":{"root_cause":[{"type":"content_too_long_exception""#));
}

#[tokio::test]
async fn large_replies_are_compressed_when_that_is_accepted() {
    let gzip = Request::get("/large?pretty").header(ACCEPT_ENCODING, "gzip, deflate");
    let (_, headers, body) = send(gzip, Body::empty()).await;
    assert_eq!(headers[CONTENT_ENCODING], "gzip");
    assert!(body.len() < 10_000);

    let gzip = Request::get("/doc").header(ACCEPT_ENCODING, "gzip");
    let (_, headers, _) = send(gzip, Body::empty()).await;
    assert!(!headers.contains_key(CONTENT_ENCODING));
}

#[tokio::test]
async fn other_dialects_keep_their_replies_to_themselves() {
    let other = Router::new().route("/loki/ready", get(|| async { "ready" }));
    let both = other.merge(dialect());
    for (uri, is_ours) in [
        ("/loki/ready", false),
        ("/doc", true),
        ("/loki/unknown", true),
    ] {
        let request = Request::get(uri).body(Body::empty()).unwrap();
        let response = both.clone().oneshot(request).await.unwrap();
        assert_eq!(
            response.headers().contains_key("x-elastic-product"),
            is_ours,
            "{uri}"
        );
    }
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
