//! The dialect from outside: documents in, Grafana's and others' requests as they send them, and what comes back.

#![allow(clippy::unwrap_used)]

mod patterns;
mod store;

use http::Method;
use serde_json::{Value, json};

use store::{Server, Store, values};

fn document(at: &str, message: &str, level: &str, number: usize) -> String {
    json!({"@timestamp": at, "message": message, "level": level, "n": number, "host": {"name": format!("web-{}", number % 3)}})
        .to_string()
}

fn server() -> Server {
    store().server()
}

/// Ten events a second apart, over two days, in three segments.
fn store() -> Store {
    let mut store = Store::new();
    let on = |day: &str, seconds: std::ops::Range<usize>| -> Vec<String> {
        seconds
            .map(|second| {
                let at = format!("{day}T09:00:{second:02}.123456789Z");
                let level = if second % 2 == 0 { "error" } else { "info" };
                document(&at, &format!("request {second} timed out"), level, second)
            })
            .collect()
    };
    store.add("logs", &on("2026-11-22", 0..3));
    store.add("logs", &on("2026-11-23", 3..6));
    store.add("logs", &on("2026-11-23", 6..10));
    store
}

fn millis(text: &str) -> i64 {
    store::time(text).millis()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grafanas_logs_query_is_answered_as_it_reads_it() {
    let mut server = server();
    let (first, last) = (
        millis("2026-11-22T00:00:00Z"),
        millis("2026-11-23T09:00:08.123Z"),
    );
    let header = r#"{"ignore_unavailable":true,"index":"logs-2026.11.22,logs-2026.11.23,logs-2026.11.24","search_type":"query_then_fetch"}"#;
    let body = format!(
        r#"{{"aggs":{{"1":{{"date_histogram":{{"extended_bounds":{{"max":{last},"min":{first}}},"field":"@timestamp","fixed_interval":"3600000ms","format":"epoch_millis","min_doc_count":1}}}}}},"docvalue_fields":["@timestamp"],"fields":[{{"field":"@timestamp","format":"strict_date_optional_time_nanos"}}],"highlight":{{"fields":{{"*":{{}}}},"fragment_size":2147483647,"post_tags":["@/HIGHLIGHT@"],"pre_tags":["@HIGHLIGHT@"]}},"query":{{"bool":{{"filter":[{{"range":{{"@timestamp":{{"format":"epoch_millis","gte":{first},"lte":{last}}}}}}},{{"query_string":{{"analyze_wildcard":true,"query":"level:error AND timed"}}}}]}}}},"script_fields":{{}},"size":3,"sort":{{"@timestamp":{{"order":"desc","unmapped_type":"boolean"}},"_doc":{{"order":"desc"}}}}}}"#
    );
    let broken = r#"{"query":{"query_string":{"query":"a AND"}}}"#;
    let request = format!("{header}\n{body}\n{header}\n{broken}\n");
    let uri = "/_msearch?max_concurrent_shard_requests=5&ignore_throttled=false";
    let (status, reply) = server.ask(Method::POST, uri, &request).await;
    assert_eq!(status, 200, "{reply}");
    let responses = reply["responses"].as_array().unwrap();
    assert_eq!(responses.len(), 2);

    let logs = &responses[0];
    assert_eq!(logs["status"], 200);
    assert_eq!(logs["hits"]["total"], json!({"value": 5, "relation": "eq"}));
    // The range ends within the millisecond of number 8, which belongs to it.
    assert_eq!(values(logs, "n"), [8, 6, 4]);
    let hit = &logs["hits"]["hits"][0];
    assert_eq!(hit["_index"], "logs-2026.11.23");
    assert_eq!(
        hit["fields"],
        json!({"@timestamp": ["2026-11-23T09:00:08.123456789Z"]})
    );
    assert_eq!(hit["_score"], Value::Null);
    assert_eq!(
        hit["highlight"],
        json!({"message": ["request 8 @HIGHLIGHT@timed@/HIGHLIGHT@ out"], "level": ["@HIGHLIGHT@error@/HIGHLIGHT@"]})
    );
    assert_eq!(hit["sort"][0], millis("2026-11-23T09:00:08.123Z"));
    assert!(hit["sort"][1].is_u64() && hit["_id"].as_str().is_some_and(|id| !id.is_empty()));
    let buckets = logs["aggregations"]["1"]["buckets"].as_array().unwrap();
    let counts: Vec<&Value> = buckets.iter().map(|bucket| &bucket["doc_count"]).collect();
    assert_eq!(counts, [2, 3]);

    let mistake = &responses[1];
    assert_eq!(mistake["status"], 400);
    let reason = &mistake["error"]["root_cause"][0]["reason"];
    assert_eq!(reason, "Failed to parse query [a AND]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reply_has_the_bytes_and_the_order_of_elasticsearch() {
    let mut store = Store::new();
    let source = r#"{"@timestamp":"2026-11-23T09:00:00Z", "z":0.470, "a":[1,  2]}"#;
    store.add("logs", &[source.to_owned()]);
    let mut server = store.server();
    let body = r#"{"sort":[{"@timestamp":"desc"}],"version":true,"seq_no_primary_term":true}"#;
    let (_, text) = server.ask_text(Method::POST, "/logs/_search", body).await;
    let value: Value = serde_json::from_str(&text).unwrap();
    let id = value["hits"]["hits"][0]["_id"].as_str().unwrap();
    let (took, rest) = text.split_once(",\"timed_out\"").unwrap();
    assert!(took.starts_with("{\"took\":"), "{text}");
    let expected = format!(
        r#":false,"_shards":{{"total":1,"successful":1,"skipped":0,"failed":0}},"hits":{{"total":{{"value":1,"relation":"eq"}},"max_score":null,"hits":[{{"_index":"logs-2026.11.23","_id":"{id}","_version":1,"_seq_no":0,"_primary_term":1,"_score":null,"_source":{source},"sort":[1795424400000]}}]}}}}"#
    );
    assert_eq!(rest, expected);
}

/// Every event once, whatever the page size, over events that share their millisecond and lie in many segments.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn search_after_neither_loses_nor_doubles_over_equal_times() {
    let mut store = Store::new();
    let mut number = 0;
    for day in ["2026-11-21", "2026-11-22", "2026-11-23"] {
        for segment in 0..3 {
            let documents: Vec<String> = (0..14)
                .map(|at| {
                    number += 1;
                    // Two milliseconds, each with several nanoseconds, in no order.
                    let nanos = 1_000_000 * (at % 2) + 100 * ((at * 7 + segment) % 5);
                    document(&format!("{day}T09:00:00.{nanos:09}Z"), "x", "info", number)
                })
                .collect();
            store.add("logs", &documents);
        }
    }
    let mut server = store.server();
    let total = number;
    for order in ["asc", "desc"] {
        let sorts = [
            json!({"@timestamp": {"order": order, "unmapped_type": "boolean"}, "_doc": {"order": order}}),
            json!([{"@timestamp": order}, {"_doc": order}]),
            json!({"_doc": {"order": order}, "@timestamp": {"order": order}}),
            json!([{"@timestamp": {"order": order, "numeric_type": "date_nanos"}}, {"_doc": "asc"}]),
            json!([{"host.name.keyword": order}, {"_doc": order}]),
            json!([{"n": order}]),
            json!([{"nothing": {"order": order, "unmapped_type": "boolean"}}, {"_doc": order}]),
        ];
        for sort in sorts {
            let whole = server
                .search("logs", json!({"size": 1000, "sort": sort}))
                .await;
            let expected: Vec<Value> = values(&whole, "n").into_iter().cloned().collect();
            assert_eq!(expected.len(), total);
            let mut found: Vec<Value> = Vec::new();
            let mut after = Value::Null;
            loop {
                let body = json!({"size": 11, "sort": sort, "search_after": after, "track_total_hits": false});
                let page = server.search("logs", body).await;
                let hits = page["hits"]["hits"].as_array().unwrap();
                let Some(last) = hits.last() else { break };
                after = last["sort"].clone();
                found.extend(values(&page, "n").into_iter().cloned());
                assert!(found.len() <= total, "{sort}: some come twice");
            }
            assert_eq!(found, expected, "{sort}");
        }
    }
    // One value is a place before or behind all events of its millisecond.
    let body = json!({"size": 100, "sort": [{"@timestamp": "desc"}, {"_doc": "desc"}],
        "search_after": [millis("2026-11-23T09:00:00.001Z")]});
    let reply = server.search("logs", body).await;
    assert_eq!(reply["hits"]["hits"].as_array().unwrap().len(), 100);
    assert_eq!(
        reply["hits"]["hits"][0]["sort"][0],
        millis("2026-11-23T09:00:00Z")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_context_of_a_log_line_is_found_on_both_sides() {
    let mut server = server();
    let anchor = server
        .search(
            "logs",
            json!({"query": {"term": {"n": 5}}, "sort": {"@timestamp": "desc", "_doc": "desc"}}),
        )
        .await;
    let place = &anchor["hits"]["hits"][0]["sort"];
    for (order, expected) in [("desc", [4, 3]), ("asc", [6, 7])] {
        let range = json!({"range": {"@timestamp": {"gte": millis("2026-11-22T00:00:00Z"), "lte": millis("2026-11-24T00:00:00Z"), "format": "epoch_millis"}}});
        let body = json!({
            "query": {"bool": {"filter": range}}, "size": 2, "search_after": place,
            "sort": {"@timestamp": {"order": order, "unmapped_type": "boolean"}, "_doc": {"order": order}},
        });
        let reply = server.search("logs", body).await;
        assert_eq!(values(&reply, "n"), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_ask_for_a_total_is_answered() {
    let mut server = server();
    let cases = [
        (json!({}), json!({"value": 10, "relation": "eq"})),
        (
            json!({"track_total_hits": true}),
            json!({"value": 10, "relation": "eq"}),
        ),
        (
            json!({"track_total_hits": 4}),
            json!({"value": 4, "relation": "gte"}),
        ),
        (
            json!({"track_total_hits": 10}),
            json!({"value": 10, "relation": "eq"}),
        ),
        (json!({"track_total_hits": false}), Value::Null),
        (json!({"size": 0}), json!({"value": 10, "relation": "eq"})),
        (
            json!({"size": 0, "query": {"match": {"level": "error"}}}),
            json!({"value": 5, "relation": "eq"}),
        ),
        (
            json!({"query": {"match": {"level": "error"}}, "post_filter": {"term": {"n": 4}}}),
            json!({"value": 1, "relation": "eq"}),
        ),
        (
            json!({"query": {"range": {"@timestamp": {"lt": "2026-11-23"}}}}),
            json!({"value": 3, "relation": "eq"}),
        ),
        (
            json!({"query": {"ids": {"values": ["nobody"]}}}),
            json!({"value": 0, "relation": "eq"}),
        ),
    ];
    for (body, expected) in cases {
        let reply = server.search("logs", body.clone()).await;
        assert_eq!(reply["hits"]["total"], expected, "{body}");
    }
    let uri = "/logs/_search?rest_total_hits_as_int=true&track_total_hits=true&size=0";
    let (_, reply) = server.ask(Method::GET, uri, "").await;
    assert_eq!(reply["hits"]["total"], 10);
    let body = r#"{"query":{"term":{"level":"error"}}}"#;
    let (_, reply) = server.ask(Method::POST, "/logs-*/_count", body).await;
    assert_eq!(
        reply,
        json!({"count": 5, "_shards": {"total": 2, "successful": 2, "skipped": 0, "failed": 0}})
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_find_what_they_should() {
    let mut server = server();
    let cases: [(&str, &[usize]); 14] = [
        ("level:error AND n:>=6", &[8, 6]),
        ("n:[3 TO 5}", &[4, 3]),
        ("level:error OR n:1 AND n:<4", &[1]),
        ("NOT level:error AND n:<4", &[3, 1]),
        ("-level:\"error\" AND host.name:\"web-1\"", &[7, 1]),
        ("host.name.keyword:web\\-2", &[8, 5, 2]),
        ("host.name:/web.[01]/ AND n:<2", &[1, 0]),
        ("_exists_:host AND n:0", &[0]),
        ("\"request 3 timed\"", &[3]),
        ("mess\\*:\"request 4\"", &[4]),
        ("tim* AND n:9", &[9]),
        ("timde~ AND n:9", &[9]),
        ("_index:logs\\-2026.11.22", &[2, 1, 0]),
        ("@timestamp:<2026-11-23 AND NOT n:1", &[2, 0]),
    ];
    for (query, expected) in cases {
        let body = json!({"query": {"query_string": {"query": query}}, "size": 100});
        let reply = server.search("logs", body).await;
        assert_eq!(values(&reply, "n"), expected, "{query}");
    }
    let (_, reply) = server
        .ask(Method::GET, "/_search?q=n:7&_source_includes=n", "")
        .await;
    assert_eq!(reply["hits"]["hits"][0]["_source"], json!({"n": 7}));
    assert_eq!(reply["hits"]["max_score"], 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_events_and_other_days_are_not_found() {
    let mut store = Store::new();
    let at = "2026-11-23T09:00:00Z";
    store.add(
        "logs",
        &[document(at, "a", "info", 1), document(at, "b", "info", 2)],
    );
    let mut server = store.server();
    let whole = server.search("logs", json!({"sort": ["_doc"]})).await;
    let id = whole["hits"]["hits"][0]["_id"].as_str().unwrap().to_owned();
    let by_id = server
        .search("logs", json!({"query": {"ids": {"values": [id]}}}))
        .await;
    assert_eq!(values(&by_id, "n"), [1]);
    server.delete("logs", &id, at);
    for body in [
        json!({}),
        json!({"query": {"term": {"level": "info"}}}),
        json!({"size": 0}),
    ] {
        let reply = server.search("logs", body.clone()).await;
        assert_eq!(reply["hits"]["total"]["value"], 1, "{body}");
    }
    let (status, _) = server
        .ask(Method::POST, "/logs-2026.11.22/_search", "{}")
        .await;
    assert_eq!(status, 404);
    let uri = "/logs-2026.11.22/_search?ignore_unavailable=true";
    let (status, reply) = server.ask(Method::POST, uri, "{}").await;
    assert_eq!(
        (status.as_u16(), &reply["hits"]["total"]["value"]),
        (200, &json!(0))
    );
    assert_eq!(reply["_shards"]["total"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_are_told_and_irrelevant_options_are_not() {
    let mut server = server();
    let cases = [
        (r#"{"query":{"no_such":{}}}"#, 400, "parsing_exception"),
        (r#"{"aggs":{"a":{"no_such":{}}}}"#, 400, "parsing_exception"),
        (r#"{"query""#, 400, "json_parse_exception"),
        (
            r#"{"from":9999,"size":2}"#,
            400,
            "illegal_argument_exception",
        ),
        (r#"{"size":-1}"#, 400, "illegal_argument_exception"),
        (r#"{"search_after":[1]}"#, 400, "illegal_argument_exception"),
        (
            r#"{"collapse":{"field":"a"}}"#,
            400,
            "illegal_argument_exception",
        ),
        (
            r#"{"script_fields":{"a":{"script":"1"}}}"#,
            400,
            "script_exception",
        ),
        (
            r#"{"query":{"range":{"@timestamp":{"gte":"soon"}}}}"#,
            400,
            "parse_exception",
        ),
        (
            r#"{"query":{"query_string":{"query":"f:/(/"}}}"#,
            400,
            "search_phase_execution_exception",
        ),
    ];
    for (body, status, kind) in cases {
        let (found, reply) = server.ask(Method::POST, "/logs/_search", body).await;
        assert_eq!(
            (found.as_u16(), &reply["error"]["type"]),
            (status, &json!(kind)),
            "{body}: {reply}"
        );
        assert!(
            reply["error"]["root_cause"][0]["reason"].is_string(),
            "{reply}"
        );
    }
    let uri = "/logs/_search?ignore_unavailable=true&ignore_throttled=true&timeout=30000ms&preference=1&max_concurrent_shard_requests=5&batched_reduce_size=64";
    let body = r#"{"script_fields":{},"runtime_mappings":{},"highlight":{},"post_filter":{},"stored_fields":["*"],"docvalue_fields":[{"field":"@timestamp","format":"date_time"}],"_source":{"excludes":[]},"profile":false,"whatever":1,"size":"1"}"#;
    let (status, reply) = server.ask(Method::POST, uri, body).await;
    assert_eq!(status, 200, "{reply}");
    assert_eq!(values(&reply, "n"), [9]);
    assert_eq!(
        reply["hits"]["hits"][0]["fields"],
        json!({"@timestamp": ["2026-11-23T09:00:09.123Z"]})
    );
    let (status, _) = server.ask(Method::POST, "/nope/_search", "{}").await;
    assert_eq!(status, 404);
    let (status, _) = server
        .ask(Method::POST, "/logs/_search?scroll=1m", "{}")
        .await;
    assert_eq!(status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_searches_of_one_request_are_answered_in_its_order() {
    let mut server = server();
    let mut body = String::new();
    for number in 0..30 {
        body.push_str("{}\n");
        body.push_str(
            &json!({"query": {"term": {"n": number % 10}}, "_source": ["n"]}).to_string(),
        );
        body.push('\n');
    }
    let (status, reply) = server.ask(Method::POST, "/logs/_msearch", &body).await;
    assert_eq!(status, 200);
    let responses = reply["responses"].as_array().unwrap();
    assert_eq!(responses.len(), 30);
    for (number, response) in responses.iter().enumerate() {
        let source = &response["hits"]["hits"][0]["_source"];
        assert_eq!(*source, json!({"n": number % 10}), "{response}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hits_inside_buckets_are_told_like_others() {
    let mut server = server();
    let body = json!({"size": 0, "aggs": {"levels": {"terms": {"field": "level"}, "aggs": {"newest": {"top_hits": {
        "size": 1, "sort": [{"@timestamp": {"order": "desc"}}], "_source": {"includes": ["n"]},
        "docvalue_fields": [{"field": "@timestamp", "format": "epoch_millis"}],
    }}}}}});
    let reply = server.search("logs", body).await;
    let newest = |bucket: usize| {
        &reply["aggregations"]["levels"]["buckets"][bucket]["newest"]["hits"]["hits"][0]
    };
    assert_eq!(newest(0)["_source"], json!({"n": 8}));
    assert_eq!(newest(1)["_source"], json!({"n": 9}));
    assert_eq!(newest(1)["_index"], "logs-2026.11.23");
    assert_eq!(
        newest(1)["sort"],
        json!([millis("2026-11-23T09:00:09.123Z")])
    );
    let at = millis("2026-11-23T09:00:09.123Z").to_string();
    assert_eq!(newest(1)["fields"], json!({"@timestamp": [at]}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deepest_queries_that_are_taken_are_answered_too() {
    let mut server = server();
    let deep = |inner: &str| format!("{}{inner}{}", "(a -".repeat(99), ")".repeat(99));
    let texts = [
        ("query_string", deep("timed")),
        ("simple_query_string", deep(&"a + b | ".repeat(50))),
    ];
    for (language, text) in texts {
        let mut query = json!({ language: { "query": text } });
        // The reader of JSON takes no deeper ones.
        for _ in 0..40 {
            query = json!({"bool": {"should": [query, {"term": {"host": "a"}}]}});
        }
        let reply = server.search("logs", json!({"query": query})).await;
        assert_eq!(reply["_shards"]["failed"], 0, "{language} {reply}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_lacks_what_was_accepted_says_so() {
    let mut store = store();
    store.fall_behind();
    let mut server = store.server();
    let reply = server.search("logs", json!({"size": 1})).await;
    assert_eq!(reply["timed_out"], true);
    assert_eq!(reply["hits"]["hits"].as_array().unwrap().len(), 1);
    let (_, reply) = server.ask(Method::GET, "/logs/_count", "").await;
    assert_eq!(
        (&reply["count"], &reply["timed_out"]),
        (&json!(10), &json!(true))
    );

    let whole = "/logs/_search?allow_partial_search_results=false";
    let (status, reply) = server.ask(Method::POST, whole, "{}").await;
    assert_eq!(status, 503);
    let reason = reply["error"]["reason"].as_str().unwrap();
    assert!(reason.contains("behind its input"), "{reason}");
}
