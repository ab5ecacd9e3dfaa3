//! Queries as clients send them, and what they mean.

use super::super::query_string::draw;
use super::*;
use proptest::prelude::*;

fn parse_text(query: &str) -> Result<Filter, QueryError> {
    let query: Value = serde_json::from_str(query).unwrap();
    let context = QueryContext {
        now: Timestamp::parse_iso("2026-11-23T10:00:00Z").unwrap(),
    };
    parse(&query, &context)
}

fn formula(query: &str) -> String {
    draw(&parse_text(query).unwrap_or_else(|error| panic!("{query}: {error}")))
}

const LAST_HOUR: &str = "during(2026-11-23T10:00:00.000Z..2026-11-23T11:00:00.000999999Z)";

#[test]
fn whole_queries_of_real_clients_are_understood() {
    let cases = [
        // Grafana, a panel or the logs view.
        (
            r#"{"bool":{"filter":[{"range":{"@timestamp":{"gte":1795428000000,"lte":1795431600000,"format":"epoch_millis"}}},{"query_string":{"analyze_wildcard":true,"query":"level:error AND -host:\"a b\""}}]}}"#,
            format!("({LAST_HOUR} & (w(level,error) & !w(host,a b)))"),
        ),
        // Grafana, log context: a single filter as an object.
        (
            r#"{"bool":{"filter":{"range":{"@timestamp":{"gte":1795428000000,"lte":1795431600000,"format":"epoch_millis"}}}}}"#,
            LAST_HOUR.to_owned(),
        ),
        // Grafana, annotations of old versions.
        (
            r#"{"bool":{"filter":[{"bool":{"should":[{"range":{"@timestamp":{"from":1795428000000,"to":1795431600000,"format":"epoch_millis"}}},{"range":{"endTime":{"gte":1,"lte":2,"format":"epoch_millis"}}}],"minimum_should_match":1}},{"query_string":{"query":"x"}}]}}"#,
            format!(
                "(({LAST_HOUR} | (r(endTime,=1,=2) | \
                 r(endTime,=1970-01-01T00:00:00.001Z,=1970-01-01T00:00:00.002999999Z))) & w(*,x))"
            ),
        ),
        // Discover.
        (
            r#"{"bool":{"must":[],"filter":[{"match_all":{}},{"range":{"@timestamp":{"gte":"2026-11-23T10:00:00.000Z","lte":"2026-11-23T11:00:00.000Z","format":"strict_date_optional_time"}}}],"should":[],"must_not":[{"match_phrase":{"host":"a"}}]}}"#,
            format!("(all & {LAST_HOUR} & !w(host,a))"),
        ),
        // elastalert2.
        (
            r#"{"bool":{"filter":{"bool":{"must":[{"range":{"@timestamp":{"gt":"2026-11-23T09:00:00Z","lte":"2026-11-23T09:15:00Z"}}},{"term":{"status":"500"}}]}}}}"#,
            "(during(2026-11-23T09:00:01.000Z..2026-11-23T09:15:00.999999999Z) & (e(status,'500') | w(status,500)))"
                .to_owned(),
        ),
        // DQL.
        (
            r#"{"bool":{"should":[{"query_string":{"fields":["message"],"query":"time*out"}}],"minimum_should_match":1}}"#,
            "(p(message,time*out) | v(message,time*out))".to_owned(),
        ),
        // Saved objects.
        (
            r#"{"bool":{"filter":[{"bool":{"should":[{"bool":{"must":[{"term":{"type":"index-pattern"}}],"should":[{"bool":{"must_not":[{"exists":{"field":"namespace"}}]}}],"minimum_should_match":1,"must_not":[{"exists":{"field":"namespaces"}}]}}],"minimum_should_match":1}}]}}"#,
            "(e(type,'index-pattern') & !exists(namespaces) & !exists(namespace))".to_owned(),
        ),
        // Surrounding documents.
        (
            r#"{"bool":{"must":{"constant_score":{"filter":{"range":{"@timestamp":{"gte":"2026-11-23T10:00:00.000Z","lte":"2026-11-23T11:00:00.000Z","format":"strict_date_optional_time"}}}}},"must_not":{"ids":{"values":["x"]}}}}"#,
            format!("({LAST_HOUR} & !ids(x))"),
        ),
        (
            r#"{"multi_match":{"type":"best_fields","query":"time out","lenient":true}}"#,
            "(w(*,time) | w(*,out))".to_owned(),
        ),
        (
            r#"{"multi_match":{"type":"phrase","query":"time out","lenient":true,"fields":["a","b^2"]}}"#,
            "(w(a,time out) | w(b,time out))".to_owned(),
        ),
        (
            r#"{"nested":{"path":"references","query":{"term":{"references.id":{"value":"1"}}},"score_mode":"none"}}"#,
            "(e(references.id,'1') | w(references.id,1))".to_owned(),
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(formula(query), expected, "{query}");
    }
}

#[test]
fn every_query_type_means_something() {
    let cases = [
        (r#"{"match_none":{}}"#, "none"),
        (r#"{"bool":{}}"#, "all"),
        (r#"{"bool":{"must_not":{"term":{"a":1}}}}"#, "!e(a,1)"),
        (
            r#"{"bool":{"must":{"exists":{"field":"a"}},"should":[{"term":{"b":1}}]}}"#,
            "exists(a)",
        ),
        (
            r#"{"bool":{"must":[],"should":[{"term":{"b":1}}]}}"#,
            "e(b,1)",
        ),
        (
            r#"{"bool":{"should":[{"term":{"a":1}},{"term":{"b":2}},{"term":{"c":3}}],"minimum_should_match":"67%"}}"#,
            "2 of (e(a,1), e(b,2), e(c,3))",
        ),
        (
            r#"{"term":{"level":{"value":"error","boost":2}}}"#,
            "(e(level,'error') | w(level,error))",
        ),
        (r#"{"term":{"level":"Error"}}"#, "e(level,'Error')"),
        (
            r#"{"term":{"level.keyword":"error"}}"#,
            "e(level.keyword,'error')",
        ),
        (
            r#"{"term":{"a":{"value":"b.","case_insensitive":true}}}"#,
            "(p(a,/(?i)b\\./) | v(a,/(?i)b\\./))",
        ),
        (r#"{"term":{"ok":true}}"#, "e(ok,true)"),
        (
            r#"{"term":{"a":18446744073709551615}}"#,
            "e(a,18446744073709551615)",
        ),
        (r#"{"term":{"_id":"x"}}"#, "ids(x)"),
        (r#"{"term":{"_index":"logs-*"}}"#, "index(logs-\\*)"),
        (
            r#"{"terms":{"a":["X","Y"],"boost":1}}"#,
            "(e(a,'X') | e(a,'Y'))",
        ),
        (r#"{"terms":{"a":[]}}"#, "()"),
        (r#"{"terms":{"_id":["x",1]}}"#, "ids(x,1)"),
        (r#"{"match":{"m":"time out"}}"#, "(w(m,time) | w(m,out))"),
        (
            r#"{"match":{"m":{"query":"time out","operator":"AND"}}}"#,
            "(w(m,time) & w(m,out))",
        ),
        (
            r#"{"match":{"m":{"query":"a b c","minimum_should_match":2}}}"#,
            "2 of (w(m,a), w(m,b), w(m,c))",
        ),
        (
            r#"{"match":{"m":{"query":"time","fuzziness":"AUTO"}}}"#,
            "(p(m,time~1) | v(m,time~1))",
        ),
        (
            r#"{"match":{"m":{"query":"time out","type":"phrase"}}}"#,
            "w(m,time out)",
        ),
        (
            r#"{"match":{"m.keyword":"time out"}}"#,
            "e(m.keyword,'time out')",
        ),
        (r#"{"match":{"status":500}}"#, "w(status,500)"),
        (
            r#"{"match":{"m":{"query":"--","zero_terms_query":"all"}}}"#,
            "all",
        ),
        (
            r#"{"match_phrase":{"m":{"query":"a b","slop":2}}}"#,
            "(w(m,a) & w(m,b))",
        ),
        (
            r#"{"match_phrase_prefix":{"m":"time ou"}}"#,
            "p(m,time ou*)",
        ),
        (
            r#"{"match_bool_prefix":{"m":"time ou"}}"#,
            "(w(m,time) | p(m,ou*))",
        ),
        (
            r#"{"match_bool_prefix":{"m":"ou time ou"}}"#,
            "(w(m,ou) | w(m,time) | p(m,ou*))",
        ),
        (
            r#"{"wildcard":{"a":{"wildcard":"w*b"}}}"#,
            "(p(a,w*b) | v(a,w*b))",
        ),
        (r#"{"wildcard":{"a.keyword":"w*"}}"#, "v(a.keyword,w*)"),
        (
            r#"{"prefix":{"a.keyword":{"value":"w"}}}"#,
            "v(a.keyword,w…)",
        ),
        (
            r#"{"regexp":{"a.keyword":{"value":"w.+","flags":"ALL"}}}"#,
            "v(a.keyword,/(?s)w.+/)",
        ),
        (
            r#"{"fuzzy":{"a.keyword":{"value":"wood","fuzziness":2}}}"#,
            "v(a.keyword,wood~2)",
        ),
        (
            r#"{"simple_query_string":{"query":"a + b","fields":["t"]}}"#,
            "(w(t,a) & w(t,b))",
        ),
        (
            r#"{"dis_max":{"queries":[{"term":{"a":1}},{"term":{"b":1}}]}}"#,
            "(e(a,1) | e(b,1))",
        ),
        (r#"{"exists":{"field":"k8s.*"}}"#, "fields(k8s.*: exists())"),
        (r#"{"range":{"a":{"gte":1,"lt":2.5}}}"#, "r(a,=1,2.5)"),
        (r#"{"range":{"a":{"gte":null,"lt":"m"}}}"#, "r(a,*,'m')"),
        (
            r#"{"range":{"@timestamp":{"gte":"now-1d/d","lt":"now/d","time_zone":"+01:00"}}}"#,
            "during(2026-11-21T23:00:00.000Z..2026-11-22T22:59:59.999999999Z)",
        ),
        (
            r#"{"range":{"@timestamp":{"gte":"23/11/2026","format":"dd/MM/yyyy"}}}"#,
            "during(2026-11-23T00:00:00.000Z..*)",
        ),
        (
            r#"{"range":{"@timestamp":{"gte":"1795428000000"}}}"#,
            "during(2026-11-23T10:00:00.000Z..*)",
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(formula(query), expected, "{query}");
    }
}

#[test]
fn mistakes_are_worded_as_elasticsearch_does() {
    let cases = [
        (r#"{"no_such":{}}"#, "unknown query [no_such]"),
        (r#"{"knn":{}}"#, "unknown query [knn]"),
        (r#"{}"#, "query malformed, empty clause found"),
        (r#"[]"#, "[query] query malformed, no start_object"),
        (
            r#"{"term":{"a":1},"match_all":{}}"#,
            "[term] malformed query, expected [END_OBJECT]",
        ),
        (
            r#"{"bool":{"musty":[]}}"#,
            "[bool] query does not support [musty]",
        ),
        (
            r#"{"term":{"a":1,"b":2}}"#,
            "doesn't support multiple fields",
        ),
        (r#"{"term":{"a":null}}"#, "value cannot be null"),
        (
            r#"{"range":{"a":{"gte":1,"x":2}}}"#,
            "[range] query does not support [x]",
        ),
        (
            r#"{"range":{"@timestamp":{"gte":"soon"}}}"#,
            "failed to parse date field [soon]",
        ),
        (
            r#"{"range":{"@timestamp":{"gte":1,"format":"bb"}}}"#,
            "Invalid format: [bb]",
        ),
        (
            r#"{"range":{"@timestamp":{"gte":1,"time_zone":"Mars"}}}"#,
            "failed to parse time zone [Mars]",
        ),
        (
            r#"{"query_string":{"query":"a","fields":["b"],"default_field":"c"}}"#,
            "can not combine",
        ),
        (r#"{"query_string":{}}"#, "must be provided with a [query]"),
        (
            r#"{"query_string":{"query":"a AND"}}"#,
            "Failed to parse query [a AND]",
        ),
        (r#"{"regexp":{"a":"("}}"#, "[regexp] [(]: unclosed group"),
        (r#"{"terms":{"a":"b"}}"#, "requires an array"),
        (r#"{"script":{"script":{}}}"#, "[script]"),
        (
            r#"{"bool":{"should":[],"minimum_should_match":"x"}}"#,
            "[minimum_should_match]",
        ),
    ];
    for (query, expected) in cases {
        let error = parse_text(query).unwrap_err().to_string();
        assert!(error.contains(expected), "{query}: {error}");
    }
}

#[test]
fn words_without_bound_are_refused() {
    let long = "a ".repeat(50_000);
    for query in [
        format!(r#"{{"match":{{"m":"{long}"}}}}"#),
        format!(r#"{{"multi_match":{{"query":"{long}"}}}}"#),
        format!(
            r#"{{"multi_match":{{"query":"a b c","fields":[{}"x"]}}}}"#,
            r#""f","#.repeat(50_000)
        ),
    ] {
        let error = parse_text(&query).unwrap_err();
        assert!(error.to_string().contains("too much"), "{error:.200}");
    }
}

proptest! {
    /// Any JSON under any query type is understood or refused.
    #[test]
    fn any_body_is_understood_or_refused(
        name in proptest::sample::select(vec![
            "bool", "term", "terms", "range", "match", "match_phrase", "match_bool_prefix", "multi_match", "exists", "ids",
            "wildcard", "prefix", "regexp", "fuzzy", "query_string", "simple_query_string", "nested", "constant_score",
        ]),
        key in proptest::sample::select(vec!["f", "query", "filter", "must", "values", "field", "@timestamp", "fields"]),
        body in proptest::sample::select(vec![
            "1", "\"x\"", "null", "[]", "{}", "[1,null]", "{\"value\":1}", "{\"gte\":[]}", "{\"query\":{}}", "true",
            "{\"term\":{\"a\":1}}", "[{}]", "{\"gte\":1e300}", "{\"lte\":\"now+9999999y\"}",
        ]),
    ) {
        let _ = parse_text(&format!("{{\"{name}\":{{\"{key}\":{body}}}}}"));
        let _ = parse_text(&format!("{{\"{name}\":{body}}}"));
    }
}
