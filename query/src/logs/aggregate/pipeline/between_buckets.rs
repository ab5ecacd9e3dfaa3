//! Differences and sums along a histogram: `derivative`, `serial_diff`, `cumulative_sum`.

use super::super::results::{AggregationResult, Bucket};

/// The change since the bucket before; absent where either value is.
pub(super) fn derivative(
    values: &[Option<f64>],
    unit: Option<f64>,
    buckets: &[Bucket],
) -> Vec<Option<AggregationResult>> {
    let mut results = vec![None; values.len().min(1)];
    for (pair, neighbours) in values.windows(2).zip(buckets.windows(2)) {
        let (Some(before), Some(now)) = (pair[0], pair[1]) else {
            results.push(None);
            continue;
        };
        let change = now - before;
        let normalized = unit.map(|unit| {
            let distance = neighbours[1].key.as_f64()? - neighbours[0].key.as_f64()?;
            finite(change / (distance / unit))
        });
        results.push(Some(AggregationResult::Derivative {
            value: finite(change),
            normalized,
        }));
    }
    results
}

/// The sum of all values so far.
pub(super) fn cumulative_sum(values: &[Option<f64>]) -> Vec<Option<AggregationResult>> {
    let mut sum = 0.0;
    let results = values.iter().map(|value| {
        sum += value.filter(|value| value.is_finite()).unwrap_or(0.0);
        Some(AggregationResult::Number(Some(sum)))
    });
    results.collect()
}

/// The change since `lag` buckets before; absent where either value is, or is a gap.
pub(super) fn serial_difference(
    values: &[Option<f64>],
    lag: usize,
) -> Vec<Option<AggregationResult>> {
    let results = values.iter().enumerate().map(|(at, now)| {
        let before = values[at.checked_sub(lag)?]?;
        let change = finite((*now)? - before)?;
        Some(AggregationResult::Number(Some(change)))
    });
    results.collect()
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::super::super::key::Key;
    use super::super::super::results::Results;
    use super::*;

    fn numbers(results: &[Option<AggregationResult>]) -> Vec<Option<Option<f64>>> {
        let number = |result: &Option<AggregationResult>| match result {
            Some(AggregationResult::Number(value)) => Some(*value),
            Some(AggregationResult::Derivative { value, .. }) => Some(*value),
            _ => None,
        };
        results.iter().map(number).collect()
    }

    fn buckets(count: usize) -> Vec<Bucket> {
        let bucket = |at: usize| Bucket {
            key: Key::Time(at as i64 * 60_000),
            count: 1,
            results: Results::default(),
        };
        (0..count).map(bucket).collect()
    }

    #[test]
    fn the_first_bucket_has_no_derivative_and_gaps_spread() {
        let values = [Some(1.0), Some(4.0), Some(f64::NAN), Some(5.0), Some(7.0)];
        let results = derivative(&values, Some(1000.0), &buckets(5));
        assert_eq!(
            numbers(&results),
            [
                None,
                Some(Some(3.0)),
                Some(None),
                Some(None),
                Some(Some(2.0))
            ]
        );
        let Some(AggregationResult::Derivative { normalized, .. }) = &results[1] else {
            panic!("a derivative");
        };
        assert_eq!(*normalized, Some(Some(0.05)));
        assert!(derivative(&[], None, &[]).is_empty());
    }

    #[test]
    fn differences_are_absent_for_the_lag_and_around_gaps() {
        let values = [Some(1.0), Some(f64::NAN), Some(4.0), Some(9.0)];
        let results = serial_difference(&values, 2);
        assert_eq!(numbers(&results), [None, None, Some(Some(3.0)), None]);
    }

    #[test]
    fn sums_run_on_over_gaps() {
        let results = cumulative_sum(&[Some(1.0), None, Some(f64::NAN), Some(2.0)]);
        assert_eq!(
            numbers(&results),
            [
                Some(Some(1.0)),
                Some(Some(1.0)),
                Some(Some(1.0)),
                Some(Some(3.0))
            ]
        );
    }
}
