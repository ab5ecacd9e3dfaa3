//! Wording, order of keys, status and headers, situation by situation.

use super::*;

#[test]
fn a_missing_index_is_worded_as_elasticsearch_does() {
    assert_eq!(
        ElasticError::index_not_found("idx").body().to_string(),
        concat!(
            r#"{"error":{"root_cause":[{"type":"index_not_found_exception","reason":"no such index [idx]","#,
            r#""resource.type":"index_or_alias","resource.id":"idx","index_uuid":"_na_","index":"idx"}],"#,
            r#""type":"index_not_found_exception","reason":"no such index [idx]","#,
            r#""resource.type":"index_or_alias","resource.id":"idx","index_uuid":"_na_","index":"idx"},"#,
            r#""status":404}"#
        )
    );
}

#[test]
fn a_query_no_shard_can_parse_is_told_once_with_its_cause() {
    let indices = ["logs-1".to_owned(), "logs-2".to_owned()];
    let error = ElasticError::query_syntax("a AND", "expected a term at 6", &indices);
    let uuid = crate::elastic::target::index_uuid("logs-1");
    let expected = format!(
        concat!(
            r#"{{"error":{{"root_cause":[{{"type":"query_shard_exception","reason":"Failed to parse query [a AND]","#,
            r#""index_uuid":"{uuid}","index":"logs-1"}}],"#,
            r#""type":"search_phase_execution_exception","reason":"all shards failed","phase":"query","#,
            r#""grouped":true,"failed_shards":[{{"shard":0,"index":"logs-1","node":"{node}","#,
            r#""reason":{{"type":"query_shard_exception","reason":"Failed to parse query [a AND]","#,
            r#""caused_by":{{"type":"parse_exception","reason":"Cannot parse 'a AND': expected a term at 6"}}}}}}]}},"#,
            r#""status":400}}"#
        ),
        uuid = uuid,
        node = crate::elastic::cluster::NODE_ID,
    );
    assert_eq!(error.body().to_string(), expected);
    assert_eq!(error.kind(), "query_shard_exception");
}

/// Grafana's decoder fails the whole reply when an item's `error` is not an object.
#[test]
fn an_item_of_msearch_always_has_an_object_with_a_root_cause() {
    let errors = [
        ElasticError::illegal_argument("x"),
        ElasticError::no_handler("/x", &Method::GET),
        ElasticError::alias_missing("a"),
        ElasticError::query_syntax("a AND", "b", &["l".to_owned()]),
        ElasticError::query_syntax("a AND", "b", &[]),
        ElasticError::not_found_with(json!({})),
    ];
    for error in errors {
        let item = error.to_item_json();
        assert!(
            item["error"]["root_cause"][0]["reason"].is_string(),
            "{item}"
        );
        assert_eq!(item["status"], error.status().as_u16(), "{item}");
    }
}

#[test]
fn each_situation_has_its_status_and_type() {
    let wait = RetryAfter::ONE_SECOND;
    let broken = serde_json::from_str::<Value>("{\n \"a\":}").unwrap_err();
    let cases = [
        (ElasticError::parsing("p", 1, 2), 400, "parsing_exception"),
        (
            ElasticError::unknown_query("q", 1, 2),
            400,
            "parsing_exception",
        ),
        (
            ElasticError::x_content_parse("p"),
            400,
            "x_content_parse_exception",
        ),
        (
            ElasticError::json_parse(&broken),
            400,
            "json_parse_exception",
        ),
        (
            ElasticError::unknown_aggregation("a", 1, 2),
            400,
            "parsing_exception",
        ),
        (
            ElasticError::illegal_argument("i"),
            400,
            "illegal_argument_exception",
        ),
        (
            ElasticError::text_field("message"),
            400,
            "illegal_argument_exception",
        ),
        (
            ElasticError::result_window(10_001),
            400,
            "illegal_argument_exception",
        ),
        (
            ElasticError::date("abc", "epoch_millis"),
            400,
            "parse_exception",
        ),
        (
            ElasticError::too_many_buckets(70_000),
            400,
            "too_many_buckets_exception",
        ),
        (
            ElasticError::validation("index is missing"),
            400,
            "action_request_validation_exception",
        ),
        (
            ElasticError::index_exists("i"),
            400,
            "resource_already_exists_exception",
        ),
        (
            ElasticError::invalid_index_name("I", "must be lowercase"),
            400,
            "invalid_index_name_exception",
        ),
        (
            ElasticError::unauthenticated("u"),
            401,
            "security_exception",
        ),
        (ElasticError::forbidden("f"), 403, "security_exception"),
        (
            ElasticError::aliases_not_found("a"),
            404,
            "aliases_not_found_exception",
        ),
        (
            ElasticError::resource_not_found("r"),
            404,
            "resource_not_found_exception",
        ),
        (
            ElasticError::search_context_missing("s"),
            404,
            "search_context_missing_exception",
        ),
        (
            ElasticError::document_missing("d", "i"),
            404,
            "document_missing_exception",
        ),
        (
            ElasticError::version_conflict("d", "i", "p"),
            409,
            "version_conflict_engine_exception",
        ),
        (
            ElasticError::content_too_large(2, 1),
            413,
            "content_too_long_exception",
        ),
        (
            ElasticError::rejected("r", wait),
            429,
            "es_rejected_execution_exception",
        ),
        (
            ElasticError::circuit_breaking(2, 1),
            429,
            "circuit_breaking_exception",
        ),
        (
            ElasticError::shard_unavailable("s"),
            503,
            "no_shard_available_action_exception",
        ),
    ];
    for (error, status, kind) in cases {
        assert_eq!(
            (error.status().as_u16(), error.kind()),
            (status, kind),
            "{error}"
        );
        let body = error.body();
        assert_eq!(body["error"]["type"], kind);
        assert_eq!(body["error"]["root_cause"][0]["type"], kind);
        assert_eq!(body["status"], status);
    }
}

#[test]
fn headers_tell_what_to_do_next() {
    let response = ElasticError::rejected("busy", RetryAfter::ONE_SECOND).into_response();
    assert_eq!(response.headers()[RETRY_AFTER], "1");

    let response = ElasticError::unauthenticated("who are you").into_response();
    assert_eq!(
        response.headers().get_all(WWW_AUTHENTICATE).iter().count(),
        3
    );
    assert_eq!(response.headers()[CONTENT_TYPE], "application/json");

    let allowed = HeaderValue::from_static("GET,HEAD");
    let error = ElasticError::method_not_allowed("/_search/x", &Method::PATCH, &allowed);
    assert_eq!(
        error.body().to_string(),
        r#"{"error":"Incorrect HTTP method for uri [/_search/x] and method [PATCH], allowed: [GET, HEAD]","status":405}"#
    );
    assert_eq!(error.into_response().headers()[ALLOW], "GET,HEAD");
}
