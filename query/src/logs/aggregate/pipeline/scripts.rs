//! `bucket_script` and `bucket_selector`: arithmetic over the values of one bucket.

use super::super::expression::Expression;
use super::super::results::{AggregationResult, Bucket};
use super::super::{AggregateError, Aggregations};
use super::{GapPolicy, Path, value_of};

/// Names and the values they have in a bucket.
pub(super) type Values<'a> = Vec<(&'a str, Option<f64>)>;

pub(super) fn values<'a>(
    paths: &'a [(String, Path)],
    gaps: GapPolicy,
    bucket: &Bucket,
    request: &Aggregations,
) -> Result<Values<'a>, AggregateError> {
    paths
        .iter()
        .map(|(name, path)| Ok((name.as_str(), value_of(path, gaps, bucket, request)?)))
        .collect()
}

/// The script's value; absent where an input is a gap that is to be skipped.
pub(super) fn run(
    script: &Expression,
    values: &Values<'_>,
    gaps: GapPolicy,
) -> Option<AggregationResult> {
    let is_gap = |value: &Option<f64>| value.is_none_or(f64::is_nan);
    if gaps == GapPolicy::Skip && values.iter().any(|(_, value)| is_gap(value)) {
        return None;
    }
    let result = evaluate(script, values);
    Some(AggregationResult::Number(
        result.is_finite().then_some(result),
    ))
}

pub(super) fn is_selected(script: &Expression, values: &Values<'_>) -> bool {
    let result = evaluate(script, values);
    result != 0.0 && !result.is_nan()
}

fn evaluate(script: &Expression, values: &Values<'_>) -> f64 {
    let lookup = |name: &str| {
        let found = values.iter().find(|(known, _)| *known == name);
        found.and_then(|(_, value)| *value)
    };
    script.evaluate(&lookup, &[])
}
