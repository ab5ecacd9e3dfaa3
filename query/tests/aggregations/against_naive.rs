//! Random aggregations over random documents, compared with a slow evaluator that reads the documents one by one.
//!
//! Goal: whatever the segments and shards the documents lie in, the reply is what the documents say. A failure prints
//! the aggregation, shrunk; documents come from fixed seeds.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};

use super::store::{Store, ms, time};

/// An aggregation; its only child is called `c`.
#[derive(Debug, Clone)]
enum Asked {
    Terms {
        field: &'static str,
        size: usize,
        by_metric: bool,
        descending: bool,
        missing: bool,
        child: Box<Asked>,
    },
    Days {
        zone: &'static str,
        child: Box<Asked>,
    },
    Fixed {
        minutes: i64,
        min_count: u64,
        child: Box<Asked>,
    },
    Numbers {
        field: &'static str,
        interval: i64,
        child: Box<Asked>,
    },
    Ranges {
        at: i64,
        child: Box<Asked>,
    },
    Filter {
        host: &'static str,
        child: Box<Asked>,
    },
    Metric {
        kind: &'static str,
        field: &'static str,
    },
}

impl Asked {
    fn request(&self) -> Value {
        let body = match self {
            Asked::Terms {
                field,
                size,
                by_metric,
                descending,
                missing,
                ..
            } => {
                let direction = if *descending { "desc" } else { "asc" };
                let by = if *by_metric { "c" } else { "_count" };
                let mut terms = json!({"field":field,"size":size,"order":{by:direction}});
                if *missing {
                    terms["missing"] = json!("none");
                }
                json!({"terms":terms})
            }
            Asked::Days { zone, .. } => json!({"date_histogram":{
                "field":"@timestamp","calendar_interval":"day","time_zone":zone,"format":"epoch_millis","min_doc_count":1}}),
            Asked::Fixed {
                minutes, min_count, ..
            } => json!({"date_histogram":{
                "field":"@timestamp","fixed_interval":format!("{minutes}m"),
                "min_doc_count":min_count,"format":"epoch_millis"}}),
            Asked::Numbers {
                field, interval, ..
            } => json!({"histogram":{"field":field,"interval":interval,"min_doc_count":1}}),
            Asked::Ranges { at, .. } => json!({"range":{"field":"bytes","ranges":[
                {"key":"low","to":at},{"key":"high","from":at - 20}]}}),
            Asked::Filter { host, .. } => json!({"filter":{"term":{"host":host}}}),
            Asked::Metric {
                kind: "percentiles",
                field,
            } => json!({"percentiles":{"field":field,"percents":[0,33,50,100]}}),
            Asked::Metric { kind, field } => json!({*kind:{"field":field}}),
        };
        let mut body = body;
        if let Some(child) = self.child() {
            body["aggs"] = json!({"c":child.request()});
        }
        body
    }

    fn child(&self) -> Option<&Asked> {
        match self {
            Asked::Terms { child, .. }
            | Asked::Days { child, .. }
            | Asked::Fixed { child, .. }
            | Asked::Numbers { child, .. }
            | Asked::Ranges { child, .. }
            | Asked::Filter { child, .. } => Some(child),
            Asked::Metric { .. } => None,
        }
    }

    /// What the reply must be for these documents.
    fn expected(&self, documents: &[&Value]) -> Value {
        match self {
            Asked::Metric { kind, field } => metric(kind, field, documents),
            Asked::Filter { host, child } => {
                let is_wanted =
                    |document: &&&Value| values(document, "host").contains(&json!(host));
                let inside: Vec<&Value> = documents.iter().filter(is_wanted).copied().collect();
                json!({"doc_count":inside.len(),"c":child.expected(&inside)})
            }
            Asked::Ranges { at, child } => {
                let bucket = |key: &str, side: &str, border: i64, has: &dyn Fn(f64) -> bool| {
                    let is_in =
                        |document: &&&Value| numbers(document, "bytes").iter().any(|v| has(*v));
                    let inside: Vec<&Value> = documents.iter().filter(is_in).copied().collect();
                    json!({"key":key,side:border,"doc_count":inside.len(),"c":child.expected(&inside)})
                };
                let low = *at as f64;
                json!({"buckets":[
                    bucket("low", "to", *at, &|v| v < low),
                    bucket("high", "from", at - 20, &|v| v >= low - 20.0)]})
            }
            Asked::Numbers {
                field,
                interval,
                child,
            } => {
                let keys = |document: &Value| {
                    let start = |v: &f64| (v / *interval as f64).floor() as i64 * interval;
                    numbers(document, field).iter().map(start).collect()
                };
                let groups = grouped(documents, keys);
                let bucket = |(key, inside): (&i64, &Vec<&Value>)| json!({"key":key,"doc_count":inside.len(),"c":child.expected(inside)});
                json!({"buckets":groups.iter().map(bucket).collect::<Vec<_>>()})
            }
            Asked::Days { zone, child } => {
                let zone = TimeZone::get(zone).unwrap();
                let midnight = |document: &Value| {
                    let millis = ms(document["@timestamp"].as_str().unwrap());
                    let instant = jiff::Timestamp::from_millisecond(millis).unwrap();
                    let date = zone.to_datetime(instant).date();
                    let start = zone.to_timestamp(date.at(0, 0, 0, 0)).unwrap();
                    vec![start.as_millisecond()]
                };
                times(&grouped(documents, midnight), child)
            }
            Asked::Fixed {
                minutes,
                min_count,
                child,
            } => {
                let length = minutes * 60_000;
                let start = |document: &Value| {
                    let millis = ms(document["@timestamp"].as_str().unwrap());
                    vec![millis.div_euclid(length) * length]
                };
                let mut groups = grouped(documents, start);
                if *min_count == 0
                    && let (Some(first), Some(last)) =
                        (groups.keys().next().copied(), groups.keys().last().copied())
                {
                    for start in (first..=last).step_by(length as usize) {
                        groups.entry(start).or_default();
                    }
                }
                groups.retain(|_, inside| inside.len() as u64 >= *min_count);
                times(&groups, child)
            }
            Asked::Terms {
                field,
                size,
                by_metric,
                descending,
                missing,
                child,
            } => {
                let keys = |document: &Value| {
                    let mut keys: Vec<Term> =
                        values(document, field).into_iter().map(Term).collect();
                    if keys.is_empty() && *missing {
                        keys.push(Term(json!("none")));
                    }
                    keys
                };
                let groups = grouped(documents, keys);
                let mut buckets: Vec<(f64, &Term, &Vec<&Value>, Value)> = groups
                    .iter()
                    .map(|(key, inside)| {
                        let child = child.expected(inside);
                        let by = match *by_metric {
                            true => child["value"].as_f64().unwrap_or(f64::NAN),
                            false => inside.len() as f64,
                        };
                        (by, key, inside, child)
                    })
                    .collect();
                buckets.sort_by(|a, b| {
                    let order = match (a.0.is_nan(), b.0.is_nan()) {
                        (false, false) if *descending => b.0.total_cmp(&a.0),
                        (false, false) => a.0.total_cmp(&b.0),
                        (a, b) => a.cmp(&b),
                    };
                    order.then_with(|| a.1.cmp(b.1))
                });
                let counts = |buckets: &[(f64, &Term, &Vec<&Value>, Value)]| -> usize {
                    buckets.iter().map(|(_, _, inside, _)| inside.len()).sum()
                };
                let kept = buckets.len().min(*size);
                let other = counts(&buckets[kept..]);
                let bucket = |(_, key, inside, child): &(f64, &Term, &Vec<&Value>, Value)| {
                    let mut bucket = Map::new();
                    match &key.0 {
                        Value::Bool(truth) => {
                            bucket.insert("key".into(), json!(u8::from(*truth)));
                            bucket.insert("key_as_string".into(), json!(truth.to_string()));
                        }
                        other => {
                            bucket.insert("key".into(), other.clone());
                        }
                    }
                    bucket.insert("doc_count".into(), json!(inside.len()));
                    bucket.insert("c".into(), child.clone());
                    Value::Object(bucket)
                };
                let shown: Vec<Value> = buckets[..kept].iter().map(bucket).collect();
                json!({"doc_count_error_upper_bound":0,"sum_other_doc_count":other,"buckets":shown})
            }
        }
    }
}

/// A value that can be ordered as the engine orders keys: numbers, booleans, texts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term(Value);

impl Term {
    fn rank(&self) -> u8 {
        match self.0 {
            Value::Number(_) => 0,
            Value::Bool(_) => 1,
            _ => 2,
        }
    }
}

impl PartialOrd for Term {
    fn partial_cmp(&self, other: &Term) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Term {
    fn cmp(&self, other: &Term) -> Ordering {
        match (&self.0, &other.0) {
            (Value::Number(a), Value::Number(b)) => {
                a.as_f64().unwrap().total_cmp(&b.as_f64().unwrap())
            }
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::String(a), Value::String(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

fn grouped<'a, K: Ord>(
    documents: &[&'a Value],
    keys: impl Fn(&Value) -> Vec<K>,
) -> BTreeMap<K, Vec<&'a Value>> {
    let mut groups: BTreeMap<K, Vec<&Value>> = BTreeMap::new();
    for document in documents {
        let mut keys = keys(document);
        keys.sort();
        keys.dedup();
        for key in keys {
            groups.entry(key).or_default().push(document);
        }
    }
    groups
}

fn times(groups: &BTreeMap<i64, Vec<&Value>>, child: &Asked) -> Value {
    let bucket = |(key, inside): (&i64, &Vec<&Value>)| json!({"key_as_string":key.to_string(),"key":key,"doc_count":inside.len(),"c":child.expected(inside)});
    json!({"buckets":groups.iter().map(bucket).collect::<Vec<_>>()})
}

fn values(document: &Value, field: &str) -> Vec<Value> {
    match &document[field] {
        Value::Null => Vec::new(),
        Value::Array(values) => values.clone(),
        value => vec![value.clone()],
    }
}

fn numbers(document: &Value, field: &str) -> Vec<f64> {
    values(document, field)
        .iter()
        .filter_map(Value::as_f64)
        .collect()
}

fn metric(kind: &str, field: &str, documents: &[&Value]) -> Value {
    let mut numbers: Vec<f64> = documents.iter().flat_map(|d| numbers(d, field)).collect();
    numbers.sort_by(f64::total_cmp);
    let sum: f64 = numbers.iter().sum();
    let known = |value: f64| (!numbers.is_empty()).then_some(value);
    let average = known(sum / numbers.len() as f64);
    let (min, max) = (numbers.first().copied(), numbers.last().copied());
    match kind {
        "sum" => json!({"value":sum}),
        "avg" => json!({"value":average}),
        "min" => json!({"value":min}),
        "max" => json!({"value":max}),
        "value_count" | "cardinality" => {
            let mut all: Vec<Term> = documents
                .iter()
                .flat_map(|document| values(document, field))
                .map(Term)
                .collect();
            if kind == "cardinality" {
                all.sort();
                all.dedup();
            }
            json!({"value":all.len()})
        }
        "stats" => json!({"count":numbers.len(),"min":min,"max":max,"avg":average,"sum":sum}),
        _ => {
            let at = |percent: f64| {
                let last = numbers.len().checked_sub(1)?;
                let place = percent / 100.0 * last as f64;
                let (below, above) = (
                    numbers[place as usize],
                    numbers[(place as usize + 1).min(last)],
                );
                Some(below + (above - below) * place.fract())
            };
            json!({"values":{"0.0":at(0.0),"33.0":at(33.0),"50.0":at(50.0),"100.0":at(100.0)}})
        }
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let kinds = vec![
        "sum",
        "avg",
        "min",
        "max",
        "value_count",
        "cardinality",
        "stats",
        "percentiles",
    ];
    let metric = (
        prop::sample::select(kinds),
        prop::sample::select(vec!["bytes", "took"]),
    )
        .prop_map(|(kind, field)| Asked::Metric { kind, field });
    metric.prop_recursive(2, 4, 1, |inner| {
        let terms = (
            prop::sample::select(vec!["host", "bytes", "took", "ok", "mixed"]),
            1usize..12,
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
            inner.clone(),
        );
        prop_oneof![
            3 => terms.prop_map(|(field, size, by_metric, descending, missing, child)| {
                let has_one_number = matches!(
                    child,
                    Asked::Metric { kind: "sum" | "avg" | "min" | "max" | "value_count" | "cardinality", .. }
                );
                Asked::Terms {
                    field,
                    size,
                    by_metric: by_metric && has_one_number,
                    descending,
                    missing,
                    child: Box::new(child),
                }
            }),
            1 => (prop::sample::select(vec!["UTC", "Europe/Berlin", "Asia/Kathmandu"]), inner.clone())
                .prop_map(|(zone, child)| Asked::Days { zone, child: Box::new(child) }),
            1 => (prop::sample::select(vec![1i64, 7, 60, 1440]), prop::sample::select(vec![0u64, 1, 2]), inner.clone())
                .prop_map(|(minutes, min_count, child)| Asked::Fixed {
                    // A minute over two days without gaps would be too many buckets in a bucket.
                    min_count: if minutes < 60 { min_count.max(1) } else { min_count },
                    minutes,
                    child: Box::new(child),
                }),
            1 => (prop::sample::select(vec!["bytes", "took"]), 1i64..40, inner.clone())
                .prop_map(|(field, interval, child)| Asked::Numbers { field, interval, child: Box::new(child) }),
            1 => (-10i64..60, inner.clone()).prop_map(|(at, child)| Asked::Ranges { at, child: Box::new(child) }),
            1 => (prop::sample::select(vec!["a", "b", "zz"]), inner)
                .prop_map(|(host, child)| Asked::Filter { host, child: Box::new(child) }),
        ]
    })
}

/// A small generator, so that documents are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Two days around the end of summer time in Berlin; fields may be absent, lists, or of several types.
fn documents(seed: u64, count: usize) -> Vec<Value> {
    let mut random = Random(seed);
    let from = time("2026-10-24T12:00:00Z").millis();
    let document = |_| {
        let millis = from + random.below(48 * 3_600_000) as i64;
        let at = event::Timestamp::from_millis(millis).unwrap().to_rfc3339();
        let mut document = json!({"@timestamp":at});
        let host = ["a", "b", "c", "d"][random.below(4) as usize];
        match random.below(5) {
            0 => {}
            1 => document["host"] = json!([host, "e"]),
            _ => document["host"] = json!(host),
        }
        match random.below(6) {
            0 => {}
            1 => document["bytes"] = json!([random.below(50), 50 + random.below(50)]),
            _ => document["bytes"] = json!(random.below(60) as i64 - 10),
        }
        if random.below(4) > 0 {
            document["took"] = json!(random.below(200) as f64 / 4.0 + 0.125);
        }
        if random.below(3) > 0 {
            document["ok"] = json!(random.below(2) == 0);
        }
        match random.below(4) {
            0 => document["mixed"] = json!(random.below(3)),
            1 => document["mixed"] = json!(["x", "y"][random.below(2) as usize]),
            2 => document["mixed"] = json!(true),
            _ => {}
        }
        document
    };
    (0..count).map(document).collect()
}

/// Equal, but numbers only nearly, because sums depend on the order of their parts.
fn is_close(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_close(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .all(|(name, a)| b.get(name).is_some_and(|b| is_close(a, b)))
        }
        _ => a == b,
    }
}

#[test]
fn replies_are_what_the_documents_say() {
    for (seed, count) in [(1, 3), (2, 40), (3, 400)] {
        let documents = documents(seed, count);
        let third = count / 3;
        let segments = [
            &documents[..third],
            &documents[third..2 * third],
            &documents[2 * third..],
        ];
        let store = Store::new(&segments);
        let all: Vec<&Value> = documents.iter().collect();
        let mut runner = TestRunner::new(Config {
            cases: 120,
            failure_persistence: None,
            ..Config::default()
        });
        let outcome = runner.run(&asked(), |asked| {
            let reply = store.ask(json!({"c":asked.request()}));
            let expected = asked.expected(&all);
            prop_assert!(
                is_close(&reply["c"], &expected),
                "seed {seed}\nasked    {}\nreply    {}\nexpected {expected}",
                asked.request(),
                reply["c"]
            );
            Ok(())
        });
        outcome.unwrap_or_else(|failure| panic!("{failure}"));
    }
}
