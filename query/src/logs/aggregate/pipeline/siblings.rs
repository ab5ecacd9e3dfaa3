//! Sums over the buckets of a sibling: `sum_bucket`, `avg_bucket`, `max_bucket`, `stats_bucket` and so on.

use super::super::moments::Moments;
use super::super::results::{AggregationResult, Results};
use super::super::{AggregateError, Aggregations};
use super::path::BucketValue;
use super::{GapPolicy, Path};

/// What is computed over the buckets of a sibling.
#[derive(Debug, Clone, PartialEq)]
pub enum Summary {
    /// The sum.
    Sum,
    /// The mean.
    Average,
    /// The smallest, and the buckets that have it.
    Min,
    /// The largest, and the buckets that have it.
    Max,
    /// Count, sum, extremes; also for the extended form.
    Stats,
    /// The values at these percents; of the values there are, none between them.
    Percentiles(Vec<f64>),
}

pub(super) fn run(
    path: &Path,
    summary: &Summary,
    gaps: GapPolicy,
    results: &Results,
    request: &Aggregations,
) -> Result<AggregationResult, AggregateError> {
    let (of, found, buckets) = path.values_of_buckets(results, request)?;
    let values: Vec<(&BucketValue<'_>, f64)> = found
        .iter()
        .filter_map(|bucket| Some((bucket, filled(bucket, gaps)?)))
        .collect();
    let mut moments = Moments::default();
    values.iter().for_each(|(_, value)| moments.add(*value));
    let finite = |value: f64| value.is_finite().then_some(value);
    let extreme = |extreme: f64| AggregationResult::Extreme {
        value: finite(extreme),
        keys: values
            .iter()
            .filter(|(_, value)| *value == extreme)
            .map(|(bucket, _)| bucket.key.clone())
            .collect(),
        kind: buckets.and_then(|buckets| buckets.kind),
        of,
    };
    Ok(match summary {
        Summary::Sum => AggregationResult::Number(Some(moments.sum())),
        Summary::Average => AggregationResult::Number(finite(moments.average())),
        Summary::Min => extreme(moments.min),
        Summary::Max => extreme(moments.max),
        Summary::Stats => AggregationResult::Moments(moments),
        Summary::Percentiles(percents) => {
            let mut sorted: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
            sorted.sort_by(f64::total_cmp);
            AggregationResult::Percentiles(
                percents
                    .iter()
                    .map(|percent| (*percent, nearest(&sorted, *percent)))
                    .collect(),
            )
        }
    })
}

/// The value that counts for a bucket; `None` when it does not count.
fn filled(bucket: &BucketValue<'_>, gaps: GapPolicy) -> Option<f64> {
    let value = bucket.value.filter(|value| value.is_finite());
    let is_empty = bucket.count == 0 && !bucket.is_count;
    match gaps {
        GapPolicy::InsertZeros if is_empty => Some(0.0),
        GapPolicy::InsertZeros => value.or(Some(0.0)),
        GapPolicy::Skip if is_empty => None,
        GapPolicy::Skip | GapPolicy::KeepValues => value,
    }
}

fn nearest(sorted: &[f64], percent: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = (percent / 100.0 * last as f64 + 0.5).floor();
    sorted.get((at.max(0.0) as usize).min(last)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_pick_values_that_exist() {
        let sorted = [1.0, 2.0, 4.0];
        let picked = [0.0, 25.0, 50.0, 99.0].map(|percent| nearest(&sorted, percent).unwrap());
        assert_eq!(picked, [1.0, 2.0, 2.0, 4.0]);
        assert_eq!(nearest(&[], 50.0), None);
    }
}
