//! Pipelines, end to end.

use serde_json::{Value, json};

use super::store::Store;

/// Four minutes: 10, 30, nothing, 60.
fn store() -> Store {
    let documents = [
        json!({"@timestamp":"2026-11-23T10:00:00Z","host":"a","v":10}),
        json!({"@timestamp":"2026-11-23T10:01:00Z","host":"a","v":10}),
        json!({"@timestamp":"2026-11-23T10:01:30Z","host":"b","v":20}),
        json!({"@timestamp":"2026-11-23T10:03:00Z","host":"b","v":60}),
    ];
    Store::new(&[&documents[..2], &documents[2..]])
}

/// The result of `p` in each minute; absent ones are the text "absent".
fn per_minute(pipeline: Value) -> Vec<Value> {
    let reply = store().ask(json!({"2":{
        "date_histogram":{"field":"@timestamp","fixed_interval":"1m","min_doc_count":0},
        "aggs":{"1":{"sum":{"field":"v"}},"p":pipeline}}}));
    let buckets = reply["2"]["buckets"].as_array().unwrap().clone();
    let value = |bucket: &Value| {
        bucket
            .get("p")
            .map_or(json!("absent"), |p| p["value"].clone())
    };
    buckets.iter().map(value).collect()
}

#[test]
fn along_the_buckets() {
    let cases = [
        (
            json!({"derivative":{"buckets_path":"1"}}),
            json!(["absent", 20.0, null, null]),
        ),
        (
            json!({"derivative":{"buckets_path":"1","gap_policy":"insert_zeros"}}),
            json!(["absent", 20.0, -30.0, 60.0]),
        ),
        (
            json!({"derivative":{"buckets_path":"_count"}}),
            json!(["absent", 1.0, -2.0, 1.0]),
        ),
        (
            json!({"cumulative_sum":{"buckets_path":"1"}}),
            json!([10.0, 40.0, 40.0, 100.0]),
        ),
        (
            json!({"serial_diff":{"buckets_path":"1","lag":"2"}}),
            json!(["absent", "absent", "absent", 30.0]),
        ),
        (
            json!({"moving_fn":{"buckets_path":"1","window":"2","script":"MovingFunctions.unweightedAvg(values)"}}),
            json!([null, 10.0, "absent", 20.0]),
        ),
        (
            json!({"moving_fn":{"buckets_path":"1","window":2,"shift":1,"script":{"source":"MovingFunctions.max(values)"}}}),
            json!([10.0, 30.0, "absent", 60.0]),
        ),
        (
            json!({"moving_avg":{"buckets_path":"1","window":2,"model":"simple"}}),
            json!([10.0, 20.0, "absent", 45.0]),
        ),
        (
            json!({"bucket_script":{"buckets_path":{"count":"_count"},"script":{"source":"count * 1","lang":"expression"},"gap_policy":"skip"}}),
            json!([1.0, 2.0, 0.0, 1.0]),
        ),
        (
            json!({"bucket_script":{"buckets_path":{"a":"1"},"script":{"source":"params.a / params._interval","params":{"_interval":10}}}}),
            json!([1.0, 3.0, "absent", 6.0]),
        ),
        (
            json!({"bucket_script":{"buckets_path":{"a":"1"},"script":"params.a > 20 ? 1 : 0","gap_policy":"insert_zeros"}}),
            json!([0.0, 1.0, 0.0, 1.0]),
        ),
    ];
    for (pipeline, expected) in cases {
        assert_eq!(json!(per_minute(pipeline.clone())), expected, "{pipeline}");
    }
}

#[test]
fn pipelines_can_need_each_other_in_any_order() {
    let reply = store().ask(json!({"2":{
        "date_histogram":{"field":"@timestamp","fixed_interval":"1m","min_doc_count":0},
        "aggs":{
            "last":{"bucket_script":{"buckets_path":{"d":"middle"},"script":"params.d + 1"}},
            "middle":{"derivative":{"buckets_path":"first"}},
            "first":{"cumulative_sum":{"buckets_path":"1"}},
            "1":{"sum":{"field":"v"}}}}}));
    let buckets = reply["2"]["buckets"].as_array().unwrap();
    assert_eq!(buckets[0].get("last"), None);
    assert_eq!(buckets[1]["last"], json!({"value":31.0}));
    let error = store().ask_error(json!({"2":{
        "date_histogram":{"field":"@timestamp","fixed_interval":"1m"},
        "aggs":{"a":{"derivative":{"buckets_path":"b"}},"b":{"derivative":{"buckets_path":"a"}}}}}));
    let reason = error["error"]["reason"].as_str().unwrap();
    assert!(reason.contains("depends on itself"), "{reason}");
}

#[test]
fn beside_the_buckets() {
    let reply = store().ask(json!({
        "h":{"terms":{"field":"host"},"aggs":{"s":{"sum":{"field":"v"}}}},
        "sum":{"sum_bucket":{"buckets_path":"h>s"}},
        "avg":{"avg_bucket":{"buckets_path":"h>s"}},
        "min":{"min_bucket":{"buckets_path":"h>s"}},
        "max":{"max_bucket":{"buckets_path":"h>s"}},
        "count":{"max_bucket":{"buckets_path":"h>_count"}},
        "stats":{"stats_bucket":{"buckets_path":"h>s"}},
        "ext":{"extended_stats_bucket":{"buckets_path":"h>s"}},
        "pct":{"percentiles_bucket":{"buckets_path":"h>s","percents":[50,99]}},
        "d":{"date_histogram":{"field":"@timestamp","fixed_interval":"1m","format":"HH:mm"},
             "aggs":{"s":{"sum":{"field":"v"}}}},
        "peak":{"max_bucket":{"buckets_path":"d>s"}},
        "none":{"max_bucket":{"buckets_path":"e>s"}},
        "e":{"terms":{"field":"nope"},"aggs":{"s":{"sum":{"field":"v"}}}}}));
    assert_eq!(reply["sum"], json!({"value":100.0}));
    assert_eq!(reply["avg"], json!({"value":50.0}));
    assert_eq!(reply["min"], json!({"value":20.0,"keys":["a"]}));
    assert_eq!(reply["max"], json!({"value":80.0,"keys":["b"]}));
    assert_eq!(reply["count"], json!({"value":2.0,"keys":["a","b"]}));
    assert_eq!(
        reply["stats"],
        json!({"count":2,"min":20.0,"max":80.0,"avg":50.0,"sum":100.0})
    );
    assert_eq!(reply["ext"]["std_deviation"], 30.0);
    assert_eq!(reply["pct"], json!({"values":{"50.0":80.0,"99.0":80.0}}));
    assert_eq!(reply["peak"], json!({"value":60.0,"keys":["10:03"]}));
    assert_eq!(reply["none"], json!({"value":null,"keys":[]}));
}

#[test]
fn buckets_are_selected_sorted_and_cut() {
    let reply = store().ask(json!({"2":{
        "date_histogram":{"field":"@timestamp","fixed_interval":"1m","format":"mm"},
        "aggs":{
            "1":{"sum":{"field":"v"}},
            "keep":{"bucket_selector":{"buckets_path":{"a":"1"},"script":"params.a >= 30"}}}}}));
    let names = |reply: &Value| -> Vec<String> {
        let buckets = reply["2"]["buckets"].as_array().unwrap().clone();
        buckets
            .iter()
            .map(|b| b["key_as_string"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&reply), ["01", "03"]);
    assert_eq!(reply["2"]["buckets"][0].get("keep"), None);
    let sorted = |sort: Value| {
        let reply = store().ask(json!({"2":{
            "date_histogram":{"field":"@timestamp","fixed_interval":"1m","format":"mm"},
            "aggs":{"1":{"sum":{"field":"v"}},"s":{"bucket_sort":sort}}}}));
        names(&reply)
    };
    assert_eq!(
        sorted(json!({"sort":[{"1":{"order":"desc"}}],"size":2})),
        ["03", "01"]
    );
    assert_eq!(
        sorted(json!({"sort":[{"_key":"desc"}],"from":1,"size":2})),
        ["02", "01"]
    );
    assert_eq!(sorted(json!({"size":1})), ["00"]);
}
