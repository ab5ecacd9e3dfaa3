//! `moving_fn`: a function over a window of buckets before this one.

use super::super::expression::Expression;
use super::super::results::AggregationResult;

/// Which buckets a function sees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// How many.
    pub length: usize,
    /// Moved by how many towards the later ones; 0 ends right before the bucket.
    pub shift: i64,
}

impl Window {
    /// The function's value in each bucket; absent in gaps, which the windows do not see either.
    pub fn run(
        &self,
        values: &[Option<f64>],
        script: &Expression,
    ) -> Vec<Option<AggregationResult>> {
        let known: Vec<f64> = values
            .iter()
            .flatten()
            .copied()
            .filter(|value| !value.is_nan())
            .collect();
        let mut index: i64 = 0;
        let results = values.iter().map(|value| {
            value.filter(|value| !value.is_nan())?;
            let clamp = |at: i64| at.clamp(0, known.len() as i64) as usize;
            let end = index.saturating_add(self.shift);
            let begin = end.saturating_sub(self.length as i64);
            index += 1;
            let result = script.evaluate(&|_| None, &known[clamp(begin)..clamp(end)]);
            Some(AggregationResult::Number(
                result.is_finite().then_some(result),
            ))
        });
        results.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str, window: Window, values: &[f64]) -> Vec<Option<Option<f64>>> {
        let script = Expression::parse(script, &[]).unwrap();
        let values: Vec<Option<f64>> = values.iter().copied().map(Some).collect();
        let results = window.run(&values, &script).into_iter();
        let number = |result| match result {
            Some(AggregationResult::Number(value)) => Some(value),
            _ => None,
        };
        results.map(number).collect()
    }

    #[test]
    fn a_window_ends_before_its_bucket_unless_it_is_shifted() {
        let average = "MovingFunctions.unweightedAvg(values)";
        let window = Window {
            length: 2,
            shift: 0,
        };
        assert_eq!(
            run(average, window, &[2.0, 4.0, f64::NAN, 8.0, 0.0]),
            [
                Some(None),
                Some(Some(2.0)),
                None,
                Some(Some(3.0)),
                Some(Some(6.0))
            ]
        );
        let centred = Window { shift: 1, ..window };
        assert_eq!(
            run(average, centred, &[2.0, 4.0, 8.0]),
            [Some(Some(2.0)), Some(Some(3.0)), Some(Some(6.0))]
        );
    }
}
