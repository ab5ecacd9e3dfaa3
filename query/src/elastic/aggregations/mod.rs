//! Aggregations as Elasticsearch writes them: requests to plans, results to replies.
//!
//! [`parse`] reads `aggs` into the engine's [`Aggregations`] and, beside it and in the same shape, what the reply must
//! look like. [`AggregationRequest::render`] walks both together over the results and writes compact JSON in the
//! order of Elasticsearch's keys. Options that change nothing here are accepted and ignored; unknown types are not.
//!
//! Source: section 4 of the Elasticsearch contract.

mod body;
mod buckets;
pub(crate) mod interval;
mod metrics;
mod number;
mod pipelines;
mod presentation;
mod render;
mod render_metric;
mod script;

use event::Timestamp;
use http::StatusCode;
use serde_json::{Map, Value};

use crate::elastic::error::{Cause, ElasticError};
use crate::limits::Stop;
use crate::logs::aggregate::{AggregateError, Aggregation, Aggregations, DEPTH_MAX, Results};
use crate::logs::filter::Filter;

use body::Body;
use presentation::Presentation;
pub use render::RenderHit;

/// What the meaning of a request depends on beside its text.
#[derive(Clone, Copy)]
pub struct AggregationContext<'a> {
    /// What `now` means.
    pub now: Timestamp,
    /// Reads a query inside an aggregation.
    pub filter: &'a dyn Fn(&Value) -> Result<Filter, ElasticError>,
}

/// A request, ready to be run and to have its results rendered.
#[derive(Debug, Clone, Default)]
pub struct AggregationRequest {
    /// For the engine.
    pub aggregations: Aggregations,
    presentations: Vec<Presentation>,
}

impl AggregationRequest {
    /// The value of `aggregations` in the reply, as JSON text.
    ///
    /// `typed_keys` writes `terms#name` instead of `name`; `hit` writes one hit of `top_hits`.
    pub fn render(&self, results: &Results, typed_keys: bool, hit: &RenderHit<'_>) -> String {
        let renderer = render::Renderer { typed_keys, hit };
        renderer.render(&self.aggregations, &self.presentations, results)
    }
}

/// Reads the value of `aggs` or `aggregations`.
///
/// # Errors
/// The JSON has the wrong shape, a type is unknown, or a parameter has a value that cannot be used.
pub fn parse(
    aggregations: &Value,
    context: &AggregationContext<'_>,
) -> Result<AggregationRequest, ElasticError> {
    let parser = Parser { context };
    let (aggregations, presentations) = parser.level(aggregations, 0)?;
    Ok(AggregationRequest {
        aggregations,
        presentations,
    })
}

impl From<AggregateError> for ElasticError {
    fn from(error: AggregateError) -> ElasticError {
        match error {
            AggregateError::FullText { field } => ElasticError::text_field(&field),
            AggregateError::Request(_) | AggregateError::WrongType { .. } => {
                ElasticError::illegal_argument(error.to_string())
            }
            AggregateError::TooManyBuckets => {
                ElasticError::too_many_buckets(crate::elastic::error::BUCKETS_MAX + 1)
            }
            AggregateError::Stop(Stop::OutOfMemory) => ElasticError::cause(
                StatusCode::TOO_MANY_REQUESTS,
                Cause::new(
                    "circuit_breaking_exception",
                    format!("{error}; narrow the time range or ask for fewer buckets"),
                ),
            ),
            AggregateError::Stop(_) => ElasticError::cause(
                StatusCode::GATEWAY_TIMEOUT,
                Cause::new("timeout_exception", error.to_string()),
            ),
            AggregateError::Read(error) => ElasticError::shard_unavailable(error.to_string()),
        }
    }
}

/// Keys of an aggregation that are not its type.
const CHILDREN_KEYS: [&str; 2] = ["aggs", "aggregations"];
const META_KEY: &str = "meta";

struct Parser<'a> {
    context: &'a AggregationContext<'a>,
}

impl Parser<'_> {
    fn level(
        &self,
        value: &Value,
        depth: usize,
    ) -> Result<(Aggregations, Vec<Presentation>), ElasticError> {
        if depth > DEPTH_MAX {
            return Err(ElasticError::illegal_argument(format!(
                "aggregations are nested deeper than [{DEPTH_MAX}]"
            )));
        }
        let Value::Object(map) = value else {
            return Err(shape("[aggs] must be an object of names and aggregations"));
        };
        let mut aggregations = Vec::with_capacity(map.len());
        let mut presentations = Vec::with_capacity(map.len());
        for (name, value) in map {
            let (aggregation, presentation) = self.one(name, value, depth)?;
            aggregations.push((name.clone(), aggregation));
            presentations.push(presentation);
        }
        Ok((Aggregations(aggregations), presentations))
    }

    fn one(
        &self,
        name: &str,
        value: &Value,
        depth: usize,
    ) -> Result<(Aggregation, Presentation), ElasticError> {
        if name.is_empty() || name.contains(['[', ']', '>']) {
            return Err(ElasticError::illegal_argument(format!(
                "Invalid aggregation name [{name}]. Aggregation names cannot contain '[', ']', and '>'"
            )));
        }
        let Value::Object(map) = value else {
            return Err(shape(format!(
                "Expected an object as definition of aggregation [{name}]"
            )));
        };
        let (kind_name, body) = type_and_body(name, map)?;
        let body = Body {
            aggregation: name,
            kind: kind_name,
            map: body,
        };
        let (children, child_presentations) = match children_of(name, map)? {
            Some(children) => self.level(children, depth + 1)?,
            None => Default::default(),
        };
        let (kind, style) = self.kind(&body)?;
        if !style.takes_children() && !children.is_empty() {
            return Err(ElasticError::illegal_argument(format!(
                "Aggregator [{name}] of type [{kind_name}] cannot accept sub-aggregations"
            )));
        }
        let presentation = Presentation {
            meta: map.get(META_KEY).filter(|meta| meta.is_object()).cloned(),
            format: body.value_format()?,
            zone: body.time_zone()?,
            style,
            children: child_presentations,
        };
        Ok((Aggregation { kind, children }, presentation))
    }

    fn kind(&self, body: &Body<'_>) -> Result<presentation::KindAndStyle, ElasticError> {
        if let Some(found) = buckets::parse(body, self.context)? {
            return Ok(found);
        }
        if let Some(found) = metrics::parse(body)? {
            return Ok(found);
        }
        match pipelines::parse(body)? {
            Some(found) => Ok(found),
            None => Err(ElasticError::unknown_aggregation(body.kind, 1, 1)),
        }
    }
}

fn type_and_body<'a>(
    name: &str,
    map: &'a Map<String, Value>,
) -> Result<(&'a str, &'a Map<String, Value>), ElasticError> {
    let is_type = |key: &str| key != META_KEY && !CHILDREN_KEYS.contains(&key);
    let mut types = map.iter().filter(|(key, _)| is_type(key));
    let Some((kind, body)) = types.next() else {
        return Err(shape(format!(
            "Missing definition for aggregation [{name}]"
        )));
    };
    if let Some((second, _)) = types.next() {
        return Err(shape(format!(
            "Found two aggregation type definitions in [{name}]: [{kind}] and [{second}]"
        )));
    }
    match body {
        Value::Object(body) => Ok((kind, body)),
        _ => Err(shape(format!(
            "Expected an object under [{kind}] in aggregation [{name}]"
        ))),
    }
}

fn children_of<'a>(
    name: &str,
    map: &'a Map<String, Value>,
) -> Result<Option<&'a Value>, ElasticError> {
    let mut found = CHILDREN_KEYS.iter().filter_map(|key| map.get(*key));
    let children = found.next();
    if found.next().is_some() {
        return Err(shape(format!(
            "Found two sub aggregation definitions under [{name}]"
        )));
    }
    Ok(children)
}

/// JSON of the wrong shape. Positions are not kept past the JSON parser; clients read the reason.
fn shape(reason: impl Into<String>) -> ElasticError {
    ElasticError::parsing(reason, 1, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn parse_any(aggs: &Value) -> Result<AggregationRequest, ElasticError> {
        let filter = |_: &Value| Ok(Filter::All);
        let context = AggregationContext {
            now: Timestamp::from_nanos(0),
            filter: &filter,
        };
        parse(aggs, &context)
    }

    #[test]
    fn without_shards_every_result_is_there_and_empty() {
        let request = parse_any(&json!({
            "1":{"terms":{"field":"host"},"aggs":{"x":{"avg":{"field":"ms"}}}},
            "2":{"date_histogram":{"field":"@timestamp","fixed_interval":"1m","format":"epoch_millis",
                 "extended_bounds":{"min":0,"max":60000}},"aggs":{"x":{"sum":{"field":"ms"}},
                 "y":{"cumulative_sum":{"buckets_path":"x"}}}},
            "3":{"filters":{"filters":{"a":{"match_all":{}}}}}}))
        .unwrap();
        let results = crate::logs::aggregate::Partial::default()
            .finish(&request.aggregations)
            .unwrap();
        let text = request.render(&results, false, &|_, _| String::new());
        assert_eq!(
            text,
            concat!(
                r#"{"1":{"doc_count_error_upper_bound":0,"sum_other_doc_count":0,"buckets":[]},"#,
                r#""2":{"buckets":["#,
                r#"{"key_as_string":"0","key":0,"doc_count":0,"x":{"value":0.0},"y":{"value":0.0}},"#,
                r#"{"key_as_string":"60000","key":60000,"doc_count":0,"x":{"value":0.0},"y":{"value":0.0}}]},"#,
                r#""3":{"buckets":{"a":{"doc_count":0}}}}"#
            )
        );
    }

    #[test]
    fn nesting_has_an_end() {
        let mut aggs = json!({"a":{"avg":{"field":"x"}}});
        for _ in 0..DEPTH_MAX + 2 {
            aggs = json!({"a":{"terms":{"field":"x"},"aggs":aggs}});
        }
        assert!(parse_any(&aggs).is_err());
    }

    /// Parameters that mean something, with values that may not.
    fn any_aggregation() -> impl Strategy<Value = Value> {
        let kinds = prop::sample::select(vec![
            "terms",
            "date_histogram",
            "histogram",
            "filters",
            "range",
            "date_range",
            "composite",
            "geohash_grid",
            "avg",
            "percentiles",
            "cardinality",
            "top_metrics",
            "top_hits",
            "derivative",
            "moving_fn",
            "bucket_script",
            "bucket_sort",
            "sum_bucket",
            "rate",
            "nope",
        ]);
        let names = prop::sample::select(vec![
            "field",
            "size",
            "order",
            "include",
            "interval",
            "fixed_interval",
            "calendar_interval",
            "time_zone",
            "offset",
            "extended_bounds",
            "min_doc_count",
            "missing",
            "format",
            "ranges",
            "sources",
            "after",
            "filters",
            "percents",
            "metrics",
            "sort",
            "buckets_path",
            "script",
            "window",
            "lag",
            "unit",
            "precision",
            "keyed",
            "gap_policy",
            "bounds",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            Just(json!(1e300)),
            prop::sample::select(vec![
                "1d", "a", "-", "1M", "UTC", "0", "{", "a>b", "yyyy", "[", "_value*2"
            ])
            .prop_map(Value::from),
        ];
        let value = leaf.prop_recursive(2, 6, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                prop::collection::vec(
                    (
                        prop::sample::select(vec![
                            "min", "max", "from", "to", "a", "terms", "field", "order"
                        ]),
                        inner
                    ),
                    0..3
                )
                .prop_map(|fields| {
                    Value::Object(
                        fields
                            .into_iter()
                            .map(|(name, value)| (name.to_owned(), value))
                            .collect(),
                    )
                }),
            ]
        });
        (kinds, prop::collection::vec((names, value), 0..5)).prop_map(|(kind, parameters)| {
            let body: Map<String, Value> = parameters
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            json!({"a":{kind:body}})
        })
    }

    proptest! {
        /// Any request is read or refused; what is read can be run over nothing and written.
        #[test]
        fn any_request_is_read_or_refused(aggs in any_aggregation()) {
            if let Ok(request) = parse_any(&aggs) {
                let finished = crate::logs::aggregate::Partial::default().finish(&request.aggregations);
                if let Ok(results) = finished {
                    let text = request.render(&results, true, &|_, _| String::new());
                    prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
                }
            }
        }
    }
}
