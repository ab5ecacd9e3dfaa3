//! What Grafana and Plutono send, byte for byte where the contract has it.

use serde_json::{Value, json};

use super::store::{Store, ms};

fn minutes() -> Store {
    let documents = [
        json!({"@timestamp":"2026-11-23T10:00:05Z","level":"error","host":"a","bytes":100,"ms":1.5}),
        json!({"@timestamp":"2026-11-23T10:00:45Z","level":"error","host":"b","bytes":200,"ms":2.5}),
        json!({"@timestamp":"2026-11-23T10:02:10Z","level":"info","host":"a","bytes":50,"ms":4.0}),
        json!({"@timestamp":"2026-11-23T10:02:20Z","host":"a","bytes":70}),
    ];
    Store::new(&[&documents[..3], &documents[3..]])
}

#[test]
fn log_volume_is_split_by_level_and_filled_over_the_whole_range() {
    let store = minutes();
    let (from, to) = (ms("2026-11-23T10:00:00Z"), ms("2026-11-23T10:03:00Z"));
    let reply = store.ask_text(json!({"2":{
        "terms":{"field":"level","size":500,"order":{"_count":"desc"},"min_doc_count":0,"missing":"unknown"},
        "aggs":{"3":{"date_histogram":{
            "field":"@timestamp","fixed_interval":"60000ms","min_doc_count":0,
            "extended_bounds":{"min":from,"max":to},"format":"epoch_millis"}}}}}));
    let histogram = |counts: [u64; 4]| -> String {
        let buckets = counts.iter().enumerate().map(|(at, count)| {
            let key = from + at as i64 * 60_000;
            format!(r#"{{"key_as_string":"{key}","key":{key},"doc_count":{count}}}"#)
        });
        buckets.collect::<Vec<_>>().join(",")
    };
    let expected = format!(
        concat!(
            r#"{{"2":{{"doc_count_error_upper_bound":0,"sum_other_doc_count":0,"buckets":["#,
            r#"{{"key":"error","doc_count":2,"3":{{"buckets":[{}]}}}},"#,
            r#"{{"key":"info","doc_count":1,"3":{{"buckets":[{}]}}}},"#,
            r#"{{"key":"unknown","doc_count":1,"3":{{"buckets":[{}]}}}}]}}}}"#
        ),
        histogram([2, 0, 0, 0]),
        histogram([0, 0, 1, 0]),
        histogram([0, 0, 1, 0])
    );
    assert_eq!(reply, expected);
}

#[test]
fn old_versions_send_bounds_and_counts_as_texts() {
    let (from, to) = (ms("2026-11-23T10:00:00Z"), ms("2026-11-23T10:03:59Z"));
    for interval in [
        json!({"interval":"1m"}),
        json!({"fixed_interval":"1m0s"}),
        json!({"calendar_interval":"minute"}),
    ] {
        let mut histogram = json!({
            "field":"@timestamp","min_doc_count":"0","format":"epoch_millis",
            "extended_bounds":{"min":from.to_string(),"max":to.to_string()}});
        let (name, length) = interval.as_object().unwrap().iter().next().unwrap();
        histogram[name] = length.clone();
        let reply = minutes().ask(json!({"1":{"date_histogram":histogram}}));
        let buckets = reply["1"]["buckets"].as_array().unwrap();
        let counts: Vec<u64> = buckets
            .iter()
            .map(|b| b["doc_count"].as_u64().unwrap())
            .collect();
        assert_eq!(counts, [2, 0, 2, 0], "{interval}");
        assert_eq!(buckets[0]["key"], from);
    }
}

#[test]
fn a_panel_with_everything_in_one_histogram() {
    let (from, to) = (ms("2026-11-23T10:00:00Z"), ms("2026-11-23T10:02:00Z"));
    let reply = minutes().ask(json!({"2":{"date_histogram":{
        "field":"@timestamp","fixed_interval":"60000ms","min_doc_count":0,
        "extended_bounds":{"min":from,"max":to},"format":"epoch_millis"},
        "aggs":{
            "1":{"sum":{"field":"bytes"}},
            "3":{"derivative":{"buckets_path":"1","unit":"1s"}},
            "4":{"bucket_script":{"buckets_path":{"a":"1","b":"_count"},"script":"params.a / params.b"}},
            "5_groupby":{"terms":{"field":"host","size":500},"aggs":{"5_inner":{"max":{"field":"bytes"}}}},
            "5":{"sum_bucket":{"buckets_path":"5_groupby>5_inner"}},
            "6":{"top_metrics":{"metrics":[{"field":"bytes"}],"size":"1","sort":[{"@timestamp":"desc"}]}},
            "7":{"percentiles":{"field":"bytes","percents":["25","50","99.9"]}}}}}));
    let buckets = reply["2"]["buckets"].as_array().unwrap();
    assert_eq!(buckets.len(), 3);
    let expected_first = json!({
        "key_as_string":from.to_string(),"key":from,"doc_count":2,
        "1":{"value":300.0},
        "4":{"value":150.0},
        "5_groupby":{"doc_count_error_upper_bound":0,"sum_other_doc_count":0,"buckets":[
            {"key":"a","doc_count":1,"5_inner":{"value":100.0}},
            {"key":"b","doc_count":1,"5_inner":{"value":200.0}}]},
        "5":{"value":300.0},
        "6":{"top":[{"sort":["2026-11-23T10:00:45.000Z"],"metrics":{"bytes":200}}]},
        "7":{"values":{"25.0":125.0,"50.0":150.0,"99.9":199.9}}});
    assert_eq!(buckets[0], expected_first);
    let empty = &buckets[1];
    assert_eq!(empty["1"], json!({"value":0.0}));
    // The bucket is empty, so its value is a gap: the change is unknown, and the script is left out.
    assert_eq!(empty["3"], json!({"value":null,"normalized_value":null}));
    assert_eq!(empty.get("4"), None);
    assert_eq!(empty["6"], json!({"top":[]}));
    assert_eq!(
        empty["7"],
        json!({"values":{"25.0":null,"50.0":null,"99.9":null}})
    );
}

#[test]
fn filters_are_a_map_by_label() {
    let reply = minutes().ask_text(json!({"4":{"filters":{"filters":{
        "errors":{"query_string":{"query":"level:error","analyze_wildcard":true}},
        "*":{"query_string":{"query":"*","analyze_wildcard":true}}}}}}));
    assert_eq!(
        reply,
        r#"{"4":{"buckets":{"*":{"doc_count":4},"errors":{"doc_count":2}}}}"#
    );
}

#[test]
fn terms_are_ordered_by_metrics_inside() {
    let documents: Vec<Value> = [("a", 1), ("a", 9), ("b", 5), ("b", 5), ("c", 7), ("c", 6)]
        .map(|(host, ms)| json!({"host":host,"took":ms}))
        .to_vec();
    let store = Store::new(&[&documents[..3], &documents[3..]]);
    let keys = |order: Value, metric: Value| -> Vec<String> {
        let reply = store.ask(json!({"2":{
            "terms":{"field":"host","size":"10","order":order},"aggs":{"1":metric}}}));
        let buckets = reply["2"]["buckets"].as_array().unwrap().clone();
        buckets
            .iter()
            .map(|b| b["key"].as_str().unwrap().to_owned())
            .collect()
    };
    let stats = json!({"extended_stats":{"field":"took"}});
    assert_eq!(
        keys(json!({"1.std_deviation":"desc"}), stats.clone()),
        ["a", "c", "b"]
    );
    assert_eq!(
        keys(json!({"1[std_deviation]":"asc"}), stats),
        ["b", "c", "a"]
    );
    let percentiles = json!({"percentiles":{"field":"took","percents":["95"]}});
    assert_eq!(
        keys(json!({"1[95.0]":"desc"}), percentiles),
        ["a", "c", "b"]
    );
    let average = json!({"avg":{"field":"took"}});
    let order = json!([{"1":"asc"},{"_key":"desc"}]);
    assert_eq!(keys(order, average.clone()), ["b", "a", "c"]);
    assert_eq!(
        keys(json!({"_term":"desc"}), average.clone()),
        ["c", "b", "a"]
    );
    assert_eq!(keys(json!({}), average), ["a", "b", "c"]);
}

#[test]
fn terms_without_events_are_told_when_asked_for() {
    let store = minutes();
    let ask = |query: Value| {
        let aggs = json!({"2":{"terms":{"field":"level","min_doc_count":0,"missing":"unknown"}}});
        store.try_ask(&query, &aggs, false).unwrap()["2"]["buckets"].clone()
    };
    assert_eq!(
        ask(json!({"term":{"host":"b"}})),
        json!([{"key":"error","doc_count":1},{"key":"info","doc_count":0}])
    );
    assert_eq!(
        ask(json!({"term":{"bytes":70}})),
        json!([{"key":"unknown","doc_count":1},{"key":"error","doc_count":0},{"key":"info","doc_count":0}])
    );
}

#[test]
fn rate_divides_by_the_unit() {
    let reply = minutes().ask(json!({"2":{"date_histogram":{
        "field":"@timestamp","calendar_interval":"1h"},"aggs":{
            "sum":{"rate":{"field":"bytes","unit":"minute"}},
            "values":{"rate":{"field":"ms","unit":"minute","mode":"value_count"}},
            "events":{"rate":{"unit":"hour"}}}}}));
    let bucket = &reply["2"]["buckets"][0];
    assert_eq!(bucket["sum"], json!({"value":7.0}));
    assert_eq!(bucket["values"], json!({"value":0.05}));
    assert_eq!(bucket["events"], json!({"value":4.0}));
}

#[test]
fn scripts_of_metrics_compute_with_the_value() {
    let store = minutes();
    let reply = store.ask(json!({
        "1":{"avg":{"field":"ms","script":"_value * 1000"}},
        "2":{"sum":{"script":{"inline":"doc['bytes'].value / params.k","params":{"k":10}}}},
        "3":{"max":{"field":"bytes","script":{}}}}));
    assert_eq!(reply["1"]["value"], 8000.0 / 3.0);
    assert_eq!(reply["2"]["value"], 42.0);
    assert_eq!(reply["3"]["value"], 200.0);
    let error = store.ask_error(json!({"1":{"avg":{"field":"ms","script":"while(true){}"}}}));
    assert_eq!(error["error"]["type"], "script_exception");
    assert_eq!(error["http"], 400);
}
