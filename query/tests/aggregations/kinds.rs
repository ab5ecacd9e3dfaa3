//! Each kind of aggregation: the samples of the contract, mistakes, and fields that are not there.

use serde_json::{Value, json};

use super::store::{Store, ms};

fn mixed() -> Store {
    let documents = [
        json!({"@timestamp":"2026-11-23T09:00:00Z","host":"web-1","bytes":10,"ok":true,"loc":{"lat":52.52,"lon":13.405}}),
        json!({"@timestamp":"2026-11-23T09:30:00Z","host":"web-2","bytes":110,"ok":false,"loc":{"lat":48.14,"lon":11.58}}),
        json!({"@timestamp":"2026-11-22T23:30:00Z","host":"db-1","bytes":150,"ok":true,"tags":["x","y","x"]}),
        json!({"@timestamp":"2026-11-22T12:00:00Z","host":"web-1","bytes":50,"at":"2026-11-01T00:00:00Z"}),
        json!({"@timestamp":"2026-11-22T12:00:01Z","load":0.5}),
    ];
    Store::new(&[&documents[..2], &documents[2..4], &documents[4..]])
}

#[test]
fn ranges_of_numbers() {
    let reply = mixed().ask_text(json!({"r":{"range":{"field":"bytes","ranges":[
        {"from":100,"to":"200","key":"mid"},{"to":100}]}}}));
    assert_eq!(
        reply,
        r#"{"r":{"buckets":[{"key":"*-100.0","to":100.0,"doc_count":2},{"key":"mid","from":100.0,"to":200.0,"doc_count":2}]}}"#
    );
    let keyed =
        mixed().ask(json!({"r":{"range":{"field":"bytes","keyed":true,"ranges":[{"from":100}]}}}));
    assert_eq!(
        keyed["r"]["buckets"],
        json!({"100.0-*":{"from":100.0,"doc_count":2}})
    );
}

#[test]
fn ranges_of_dates_with_date_math() {
    let reply = mixed().ask_text(json!({"r":{"date_range":{
        "field":"@timestamp","time_zone":"UTC","ranges":[{"from":"now-1w/w","to":"now"}]}}}));
    assert_eq!(
        reply,
        concat!(
            r#"{"r":{"buckets":[{"key":"2026-11-16T00:00:00.000Z-2026-11-23T10:00:00.000Z","#,
            r#""from":1.7947872E12,"from_as_string":"2026-11-16T00:00:00.000Z","#,
            r#""to":1.795428E12,"to_as_string":"2026-11-23T10:00:00.000Z","doc_count":5}]}}"#
        )
    );
}

#[test]
fn histograms_fill_gaps() {
    let reply = mixed()
        .ask_text(json!({"h":{"histogram":{"field":"bytes","interval":"50","min_doc_count":0}}}));
    assert_eq!(
        reply,
        concat!(
            r#"{"h":{"buckets":[{"key":0.0,"doc_count":1},{"key":50.0,"doc_count":1},"#,
            r#"{"key":100.0,"doc_count":1},{"key":150.0,"doc_count":1}]}}"#
        )
    );
    let reply = mixed().ask(json!({"h":{"histogram":{
        "field":"bytes","interval":100,"keyed":true,"min_doc_count":1,"extended_bounds":{"min":0,"max":900}}}}));
    assert_eq!(
        reply["h"]["buckets"],
        json!({"0.0":{"key":0.0,"doc_count":2},"100.0":{"key":100.0,"doc_count":2}})
    );
}

#[test]
fn terms_of_every_type() {
    let store = mixed();
    let buckets =
        |field: &str| store.ask(json!({"t":{"terms":{"field":field}}}))["t"]["buckets"].clone();
    assert_eq!(
        buckets("ok"),
        json!([{"key":1,"key_as_string":"true","doc_count":2},{"key":0,"key_as_string":"false","doc_count":1}])
    );
    assert_eq!(buckets("load"), json!([{"key":0.5,"doc_count":1}]));
    assert_eq!(
        buckets("tags.keyword"),
        json!([{"key":"x","doc_count":1},{"key":"y","doc_count":1}])
    );
    assert_eq!(
        buckets("at"),
        json!([{"key":ms("2026-11-01"),"key_as_string":"2026-11-01T00:00:00.000Z","doc_count":1}])
    );
    assert_eq!(
        buckets("_index"),
        json!([{"key":"logs-2026.11.22","doc_count":3},{"key":"logs-2026.11.23","doc_count":2}])
    );
    let text =
        store.ask_text(json!({"t":{"terms":{"field":"bytes","size":1,"order":{"_key":"desc"}}}}));
    assert_eq!(
        text,
        r#"{"t":{"doc_count_error_upper_bound":0,"sum_other_doc_count":3,"buckets":[{"key":150,"doc_count":1}]}}"#
    );
}

#[test]
fn terms_are_chosen_by_pattern_list_and_partition() {
    let store = mixed();
    let keys = |parameters: Value| -> Vec<String> {
        let mut terms = json!({"field":"host","order":{"_key":"asc"}});
        for (name, value) in parameters.as_object().unwrap() {
            terms[name] = value.clone();
        }
        let reply = store.ask(json!({"suggestions":{"terms":terms}}));
        let buckets = reply["suggestions"]["buckets"].as_array().unwrap().clone();
        buckets
            .iter()
            .map(|b| b["key"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        keys(
            json!({"field":"host.keyword","include":"web\\-.*","execution_hint":"map","shard_size":10})
        ),
        ["web-1", "web-2"]
    );
    assert_eq!(keys(json!({"exclude":"web.*"})), ["db-1"]);
    assert_eq!(
        keys(json!({"include":["db-1","web-1","no"],"exclude":["web-1"]})),
        ["db-1"]
    );
    let mut parts = keys(json!({"include":{"partition":0,"num_partitions":2}}));
    parts.extend(keys(json!({"include":{"partition":1,"num_partitions":2}})));
    parts.sort();
    assert_eq!(parts, ["db-1", "web-1", "web-2"]);
}

#[test]
fn single_buckets() {
    let store = mixed();
    let query = json!({"term":{"host":"web-1"}});
    let aggs = json!({
        "m":{"missing":{"field":"ok"}},
        "f":{"filter":{"range":{"bytes":{"gte":20}}},"aggs":{"s":{"sum":{"field":"bytes"}}}},
        "g":{"global":{},"aggs":{"c":{"value_count":{"field":"bytes"}}}},
        "n":{"nested":{"path":"loc"},"aggs":{"a":{"avg":{"field":"loc.lat"}}}},
        "none":{"nested":{"path":"nope"},"aggs":{"t":{"terms":{"field":"host"}}}}});
    let reply = store.try_ask(&query, &aggs, false).unwrap();
    assert_eq!(reply["m"], json!({"doc_count":1}));
    assert_eq!(reply["f"], json!({"doc_count":1,"s":{"value":50.0}}));
    assert_eq!(reply["g"], json!({"doc_count":5,"c":{"value":4}}));
    assert_eq!(reply["n"], json!({"doc_count":1,"a":{"value":52.52}}));
    assert_eq!(
        reply["none"],
        json!({"doc_count":0,"t":{"doc_count_error_upper_bound":0,"sum_other_doc_count":0,"buckets":[]}})
    );
}

#[test]
fn filters_without_names_are_a_list_and_the_rest_can_be_told() {
    let reply = mixed().ask(json!({"f":{"filters":{"other_bucket":true,"filters":[
        {"term":{"ok":true}},{"match_phrase":{"host":"web-2"}}]}}}));
    assert_eq!(
        reply["f"]["buckets"],
        json!([{"doc_count":2},{"doc_count":1},{"doc_count":2}])
    );
}

#[test]
fn days_in_berlin_and_months_over_a_change_of_the_clocks() {
    let reply = mixed().ask_text(json!({"d":{"date_histogram":{
        "field":"@timestamp","calendar_interval":"1d","time_zone":"Europe/Berlin","min_doc_count":1}}}));
    let (first, second) = (ms("2026-11-21T23:00:00Z"), ms("2026-11-22T23:00:00Z"));
    assert_eq!(
        reply,
        format!(
            concat!(
                r#"{{"d":{{"buckets":[{{"key_as_string":"2026-11-22T00:00:00.000+01:00","key":{},"doc_count":2}},"#,
                r#"{{"key_as_string":"2026-11-23T00:00:00.000+01:00","key":{},"doc_count":3}}]}}}}"#
            ),
            first, second
        )
    );
    let documents = [
        json!({"@timestamp":"2026-03-15T12:00:00Z"}),
        json!({"@timestamp":"2026-03-31T22:30:00Z"}),
        json!({"@timestamp":"2026-03-31T21:30:00Z"}),
    ];
    let reply = Store::new(&[&documents]).ask(json!({"d":{"date_histogram":{
        "field":"@timestamp","calendar_interval":"1M","time_zone":"Europe/Berlin","format":"yyyy-MM",
        "extended_bounds":{"min":"2026-02","max":"2026-05"}}}}));
    let buckets: Vec<(String, u64)> = reply["d"]["buckets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| {
            (
                b["key_as_string"].as_str().unwrap().to_owned(),
                b["doc_count"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("2026-02", 0),
        ("2026-03", 2),
        ("2026-04", 1),
        ("2026-05", 0),
    ];
    assert_eq!(
        buckets,
        expected.map(|(key, count)| (key.to_owned(), count))
    );
}

#[test]
fn date_histograms_take_all_their_options() {
    let store = mixed();
    let ask = |options: Value| {
        let mut histogram =
            json!({"field":"@timestamp","fixed_interval":"12h","format":"dd HH:mm"});
        for (name, value) in options.as_object().unwrap() {
            histogram[name] = value.clone();
        }
        store.ask(json!({"d":{"date_histogram":histogram}}))["d"]["buckets"].clone()
    };
    let names = |buckets: Value| -> Vec<String> {
        let buckets = buckets.as_array().unwrap().clone();
        let name = |b: &Value| {
            format!(
                "{} {}",
                b["key_as_string"].as_str().unwrap(),
                b["doc_count"]
            )
        };
        buckets.iter().map(name).collect()
    };
    assert_eq!(names(ask(json!({}))), ["22 12:00 3", "23 00:00 2"]);
    assert_eq!(
        names(ask(json!({"offset":"+6h"}))),
        ["22 06:00 2", "22 18:00 1", "23 06:00 2"]
    );
    assert_eq!(
        names(ask(json!({"order":{"_count":"asc"}}))),
        ["23 00:00 2", "22 12:00 3"]
    );
    assert_eq!(
        names(ask(json!({"order":{"_key":"desc"}}))),
        ["23 00:00 2", "22 12:00 3"]
    );
    assert_eq!(
        names(ask(
            json!({"hard_bounds":{"min":ms("2026-11-22T12:00:00Z"),"max":ms("2026-11-22T23:00:00Z")}})
        )),
        ["22 12:00 3"]
    );
    let keyed = ask(json!({"keyed":true,"min_doc_count":3}));
    let start = ms("2026-11-22T12:00:00Z");
    assert_eq!(
        keyed,
        json!({"22 12:00":{"key_as_string":"22 12:00","key":start,"doc_count":3}})
    );
    let missing = store.ask(json!({"d":{"date_histogram":{
        "field":"at","calendar_interval":"1y","format":"yyyy","missing":"2024","min_doc_count":1}}}));
    assert_eq!(
        missing["d"]["buckets"],
        json!([
            {"key_as_string":"2024","key":ms("2024"),"doc_count":4},
            {"key_as_string":"2026","key":ms("2026"),"doc_count":1}])
    );
}

#[test]
fn composite_pages_visit_every_combination_once() {
    let store = mixed();
    let mut after: Option<Value> = None;
    let mut seen = Vec::new();
    loop {
        let mut composite = json!({"size":2,"sources":[
            {"h":{"terms":{"field":"host","order":"desc"}}},
            {"d":{"date_histogram":{"field":"@timestamp","calendar_interval":"1d","format":"yyyy-MM-dd"}}}]});
        if let Some(after) = &after {
            composite["after"] = after.clone();
        }
        let reply =
            store.ask(json!({"c":{"composite":composite,"aggs":{"s":{"sum":{"field":"bytes"}}}}}));
        let buckets = reply["c"]["buckets"].as_array().unwrap().clone();
        if buckets.is_empty() {
            assert_eq!(reply["c"].get("after_key"), None);
            break;
        }
        assert_eq!(reply["c"]["after_key"], buckets.last().unwrap()["key"]);
        after = Some(reply["c"]["after_key"].clone());
        seen.extend(buckets);
    }
    let bucket = |host: &str, day: &str, bytes: f64| json!({"key":{"h":host,"d":day},"doc_count":1,"s":{"value":bytes}});
    let expected = [
        bucket("web-2", "2026-11-23", 110.0),
        bucket("web-1", "2026-11-22", 50.0),
        bucket("web-1", "2026-11-23", 10.0),
        bucket("db-1", "2026-11-22", 150.0),
    ];
    assert_eq!(seen, expected);
}

#[test]
fn composite_tells_missing_values_when_asked_for() {
    let reply = mixed().ask(json!({"c":{"composite":{"sources":[
        {"ok":{"terms":{"field":"ok","missing_bucket":true}}},
        {"b":{"histogram":{"field":"bytes","interval":100}}}]}}}));
    assert_eq!(
        reply["c"]["buckets"],
        json!([
            {"key":{"ok":null,"b":0.0},"doc_count":1},
            {"key":{"ok":false,"b":100.0},"doc_count":1},
            {"key":{"ok":true,"b":0.0},"doc_count":1},
            {"key":{"ok":true,"b":100.0},"doc_count":1}])
    );
}

#[test]
fn maps() {
    let reply = mixed().ask(json!({
        "hash":{"geohash_grid":{"field":"loc","precision":"3"}},
        "tile":{"geotile_grid":{"field":"loc","precision":7}},
        "bounds":{"geo_bounds":{"field":"loc"}},
        "middle":{"geo_centroid":{"field":"loc"}}}));
    assert_eq!(
        reply["hash"]["buckets"],
        json!([{"key":"u28","doc_count":1},{"key":"u33","doc_count":1}])
    );
    assert_eq!(reply["tile"]["buckets"].as_array().unwrap().len(), 2);
    assert_eq!(
        reply["bounds"]["bounds"]["top_left"],
        json!({"lat":52.52,"lon":11.58})
    );
    assert_eq!(reply["middle"]["count"], 2);
}

#[test]
fn metrics_of_numbers_times_and_nothing() {
    let store = mixed();
    let reply = store.ask_text(json!({
        "a":{"max":{"field":"@timestamp"}},
        "b":{"stats":{"field":"nope"}},
        "c":{"avg":{"field":"nope"}},
        "d":{"sum":{"field":"nope"}},
        "e":{"cardinality":{"field":"host","precision_threshold":"100"}},
        "f":{"sum":{"field":"bytes","missing":"5"}},
        "g":{"percentiles":{"field":"bytes","percents":[50],"keyed":false}},
        "h":{"percentile_ranks":{"field":"bytes","values":[100]}},
        "i":{"avg":{"field":"bytes","format":"0.00"}}}));
    assert_eq!(
        reply,
        concat!(
            r#"{"a":{"value":1.7954262E12,"value_as_string":"2026-11-23T09:30:00.000Z"},"#,
            r#""b":{"count":0,"min":null,"max":null,"avg":null,"sum":0.0},"#,
            r#""c":{"value":null},"d":{"value":0.0},"e":{"value":3},"f":{"value":325.0},"#,
            r#""g":{"values":[{"key":50.0,"value":80.0}]},"h":{"values":{"100.0":50.0}},"#,
            r#""i":{"value":80.0,"value_as_string":"80.00"}}"#
        )
    );
    let one = store.ask(json!({"s":{"extended_stats":{"field":"load","sigma":3}}}));
    assert_eq!(one["s"]["std_deviation"], 0.0);
    assert_eq!(one["s"]["variance_sampling"], "NaN");
    assert_eq!(one["s"]["std_deviation_bounds"]["upper"], 0.5);
}

#[test]
fn top_hits_and_top_metrics() {
    let reply = mixed().ask(json!({"t":{"terms":{"field":"ok"},"aggs":{
        "hits":{"top_hits":{"size":1,"sort":[{"@timestamp":{"order":"desc"}}],"_source":{"includes":["host"]}}},
        "top":{"top_metrics":{"metrics":{"field":"host"},"sort":{"bytes":"desc"},"size":2}}}}}));
    let yes = &reply["t"]["buckets"][0];
    assert_eq!(
        yes["hits"]["hits"]["total"],
        json!({"value":2,"relation":"eq"})
    );
    let hits = yes["hits"]["hits"]["hits"].as_array().unwrap();
    assert_eq!(hits.len(), 1);
    assert_eq!(hits[0]["_source"]["host"], "web-1");
    assert_eq!(hits[0]["_index"], "logs-2026.11.23");
    assert_eq!(hits[0]["asked"], json!({"includes":["host"]}));
    assert_eq!(
        yes["top"]["top"],
        json!([{"sort":[150],"metrics":{"host":"db-1"}},{"sort":[10],"metrics":{"host":"web-1"}}])
    );
}

#[test]
fn unmapped_fields_give_empty_results() {
    let reply = mixed().ask(json!({
        "t":{"terms":{"field":"nope"}},
        "d":{"date_histogram":{"field":"nope","fixed_interval":"1h"}},
        "p":{"percentiles":{"field":"nope","percents":[50]}},
        "c":{"cardinality":{"field":"nope"}},
        "g":{"geohash_grid":{"field":"nope"}}}));
    assert_eq!(reply["t"]["buckets"], json!([]));
    assert_eq!(reply["d"]["buckets"], json!([]));
    assert_eq!(reply["p"]["values"], json!({"50.0":null}));
    assert_eq!(reply["c"]["value"], 0);
    assert_eq!(reply["g"]["buckets"], json!([]));
}

#[test]
fn names_can_be_typed_and_meta_is_echoed() {
    let aggs = json!({
        "a":{"terms":{"field":"host"},"meta":{"timeField":"x"}},
        "b":{"terms":{"field":"bytes"}},
        "c":{"date_histogram":{"field":"@timestamp","fixed_interval":"1d"},"aggs":{"d":{"avg":{"field":"bytes"}}}},
        "e":{"percentiles":{"field":"bytes"}}});
    let reply = mixed()
        .try_ask(&json!({"match_all":{}}), &aggs, true)
        .unwrap();
    let names: Vec<&String> = reply.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "sterms#a",
            "lterms#b",
            "date_histogram#c",
            "tdigest_percentiles#e"
        ]
    );
    assert_eq!(reply["sterms#a"]["meta"], json!({"timeField":"x"}));
    assert_eq!(
        reply["date_histogram#c"]["buckets"][0]["avg#d"],
        json!({"value":100.0})
    );
}

#[test]
fn mistakes_are_told_with_their_type() {
    let documents =
        [json!({"message":"many words of text","host":"a","@timestamp":"2026-11-23T09:00:00Z"})];
    let store = Store::new(&[&documents]);
    let cases = [
        (
            json!({"a":{"nope":{}}}),
            "parsing_exception",
            "Unknown aggregation type [nope]",
        ),
        (
            json!({"a":{}}),
            "parsing_exception",
            "Missing definition for aggregation [a]",
        ),
        (
            json!({"a":{"avg":{"field":"x"},"sum":{"field":"x"}}}),
            "parsing_exception",
            "two aggregation type definitions",
        ),
        (
            json!({"a[":{"avg":{"field":"x"}}}),
            "illegal_argument_exception",
            "Invalid aggregation name [a[]",
        ),
        (
            json!({"a":{"avg":{"field":"x"},"aggs":{"b":{"max":{"field":"x"}}}}}),
            "illegal_argument_exception",
            "cannot accept sub-aggregations",
        ),
        (
            json!({"a":{"terms":{"field":"message"}}}),
            "illegal_argument_exception",
            "[message]",
        ),
        (
            json!({"a":{"avg":{"field":"host"}}}),
            "illegal_argument_exception",
            "[host] of type [keyword] is not supported for aggregation [avg]",
        ),
        (
            json!({"a":{"date_histogram":{"field":"@timestamp","fixed_interval":"1h","calendar_interval":"1h"}}}),
            "illegal_argument_exception",
            "[fixed_interval] and [calendar_interval]",
        ),
        (
            json!({"a":{"date_histogram":{"field":"@timestamp","calendar_interval":"2d"}}}),
            "illegal_argument_exception",
            "[2d] could not be parsed as a calendar interval",
        ),
        (
            json!({"a":{"date_histogram":{"field":"@timestamp","fixed_interval":"1h","time_zone":"Mars"}}}),
            "illegal_argument_exception",
            "unknown time zone [Mars]",
        ),
        (
            json!({"a":{"terms":{"field":"host","order":{"nope":"asc"}}}}),
            "illegal_argument_exception",
            "Invalid aggregation order path [nope]",
        ),
        (
            json!({"a":{"terms":{"field":"host","include":"(("}}}),
            "illegal_argument_exception",
            "[include]",
        ),
        (
            json!({"a":{"derivative":{"buckets_path":"b"}}}),
            "illegal_argument_exception",
            "must have a histogram",
        ),
        (
            json!({"a":{"terms":{"field":"host"}},"b":{"sum_bucket":{"buckets_path":"a>nope"}}}),
            "illegal_argument_exception",
            "No aggregation found for path [a>nope]",
        ),
        (
            json!({"a":{"date_histogram":{"field":"@timestamp","fixed_interval":"1ms","extended_bounds":{"min":0,"max":1795428000000i64}}}}),
            "too_many_buckets_exception",
            "65536",
        ),
        (
            json!({"a":{"date_histogram":{"field":"@timestamp","fixed_interval":"1h","extended_bounds":{"min":"2026-99"}}}}),
            "parse_exception",
            "2026-99",
        ),
    ];
    for (aggs, kind, reason) in cases {
        let error = store.ask_error(aggs.clone());
        assert_eq!(error["error"]["type"], kind, "{aggs}: {error}");
        let text = error["error"]["root_cause"][0]["reason"].as_str().unwrap();
        assert!(text.contains(reason), "{aggs}: {text}");
        assert_eq!(error["http"], 400, "{aggs}");
    }
}

#[test]
fn too_many_buckets_count_over_all_levels() {
    let documents: Vec<Value> = (0..300)
        .map(|number| json!({"n":number,"@timestamp":"2026-11-23T09:00:00Z"}))
        .collect();
    let store = Store::new(&[&documents]);
    let ask = |size: u64| {
        json!({"a":{"terms":{"field":"n","size":size},"aggs":{"h":{"histogram":{
        "field":"n","interval":1,"extended_bounds":{"min":0,"max":299}}}}}})
    };
    let reply = store.ask(ask(200));
    assert_eq!(reply["a"]["buckets"].as_array().unwrap().len(), 200);
    let error = store.ask_error(ask(300));
    assert_eq!(error["error"]["type"], "too_many_buckets_exception");
}
