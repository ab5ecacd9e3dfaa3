//! Count, sum, extremes and spread: what `avg`, `sum`, `min`, `max`, `stats` and `extended_stats` are made of.

use tantivy::DocId;

use super::collector::{Collect, Meter, Segment};
use super::partial::PartialAggregation;
use super::values::{NumberSource, Numbers, ValueKind};
use super::{AggregateError, Ordinal};

/// The one number of [`Moments`] that a metric stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The mean.
    Average,
    /// The sum.
    Sum,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

impl Moment {
    /// Its name in requests: `avg`.
    pub fn name(self) -> &'static str {
        match self {
            Moment::Average => "avg",
            Moment::Sum => "sum",
            Moment::Min => "min",
            Moment::Max => "max",
        }
    }
}

/// Sums of numbers and of their squares. Sums carry what rounding lost, so their order does not matter much.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// How many numbers.
    pub count: u64,
    /// The smallest; infinite when there is none.
    pub min: f64,
    /// The largest; negative infinite when there is none.
    pub max: f64,
    /// What the numbers are; `None` when no segment had any.
    pub kind: Option<ValueKind>,
    sum: f64,
    sum_lost: f64,
    squares: f64,
    squares_lost: f64,
}

impl Default for Moments {
    fn default() -> Moments {
        Moments {
            count: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
            kind: None,
            sum: 0.0,
            sum_lost: 0.0,
            squares: 0.0,
            squares_lost: 0.0,
        }
    }
}

/// Adds with the error kept aside (Neumaier).
#[inline]
fn add(sum: &mut f64, lost: &mut f64, value: f64) {
    let total = *sum + value;
    let error = if sum.abs() >= value.abs() {
        (*sum - total) + value
    } else {
        (value - total) + *sum
    };
    *sum = total;
    if error.is_finite() {
        *lost += error;
    }
}

impl Moments {
    /// Adds a number.
    #[inline]
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        add(&mut self.sum, &mut self.sum_lost, value);
        add(&mut self.squares, &mut self.squares_lost, value * value);
    }

    /// Adds all numbers of another.
    pub fn merge(&mut self, other: &Moments) {
        self.count += other.count;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.kind = self.kind.max(other.kind);
        add(&mut self.sum, &mut self.sum_lost, other.sum);
        add(&mut self.squares, &mut self.squares_lost, other.squares);
        self.sum_lost += other.sum_lost;
        self.squares_lost += other.squares_lost;
    }

    /// The sum; 0 when there are no numbers.
    pub fn sum(&self) -> f64 {
        self.sum + self.sum_lost
    }

    /// The sum of the squares.
    pub fn sum_of_squares(&self) -> f64 {
        self.squares + self.squares_lost
    }

    /// The mean; NaN when there are no numbers.
    pub fn average(&self) -> f64 {
        self.sum() / self.count as f64
    }

    /// The variance of the population; never below 0.
    pub fn variance(&self) -> f64 {
        self.deviation_squares() / self.count as f64
    }

    /// The variance estimated from a sample; NaN for a single number.
    pub fn variance_sampling(&self) -> f64 {
        self.deviation_squares() / (self.count as f64 - 1.0)
    }

    fn deviation_squares(&self) -> f64 {
        let sum = self.sum();
        let squares = self.sum_of_squares() - sum * sum / self.count as f64;
        // Rounding can leave a tiny negative rest where all numbers are equal.
        if squares < 0.0 { 0.0 } else { squares }
    }

    /// A property by its name in paths: `count`, `avg`, `std_deviation`, `std_upper` and so on. Bounds are `sigma`
    /// standard deviations away from the mean.
    pub fn property(&self, name: &str, sigma: f64) -> Option<f64> {
        let deviation = self.variance().sqrt();
        let sampling = self.variance_sampling().sqrt();
        Some(match name {
            "count" => self.count as f64,
            "sum" => self.sum(),
            "min" => self.min,
            "max" => self.max,
            "avg" => self.average(),
            "sum_of_squares" => self.sum_of_squares(),
            "variance" | "variance_population" => self.variance(),
            "variance_sampling" => self.variance_sampling(),
            "std_deviation" | "std_deviation_population" => deviation,
            "std_deviation_sampling" => sampling,
            "std_upper" | "std_deviation_bounds.upper" => self.average() + sigma * deviation,
            "std_lower" | "std_deviation_bounds.lower" => self.average() - sigma * deviation,
            _ => return None,
        })
    }
}

pub(super) fn open(
    source: &NumberSource,
    segment: Segment<'_>,
) -> Result<Box<dyn Collect>, AggregateError> {
    Ok(Box::new(MomentsCollector {
        numbers: Numbers::open(segment.shard, segment.number, source)?,
        by_parent: Vec::new(),
        meter: Meter::new(segment.budget),
    }))
}

struct MomentsCollector {
    numbers: Numbers,
    by_parent: Vec<Moments>,
    meter: Meter,
}

impl Collect for MomentsCollector {
    fn collect(&mut self, docs: &[DocId], parents: &[Ordinal]) -> Result<(), AggregateError> {
        let by_parent = &mut self.by_parent;
        grow(by_parent, parents);
        self.numbers.for_each(docs, |position, value| {
            by_parent[parents[position] as usize].add(value);
        });
        self.meter
            .grow_to((self.by_parent.len() * size_of::<Moments>()) as u64)
    }

    fn finish(
        mut self: Box<Self>,
        parent_count: usize,
    ) -> Result<Vec<PartialAggregation>, AggregateError> {
        self.by_parent.resize(parent_count, Moments::default());
        let kind = self.numbers.kind();
        let found = self
            .by_parent
            .into_iter()
            .map(|moments| PartialAggregation::Moments(Moments { kind, ..moments }));
        Ok(found.collect())
    }
}

/// Makes room for every parent of a block.
pub(super) fn grow<T: Default>(by_parent: &mut Vec<T>, parents: &[Ordinal]) {
    let count = parents.iter().max().map_or(0, |max| *max as usize + 1);
    if count > by_parent.len() {
        by_parent.resize_with(count, T::default);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Moments {
        let mut moments = Moments::default();
        values.iter().for_each(|value| moments.add(*value));
        moments
    }

    #[test]
    fn spread_of_one_and_three() {
        let moments = of(&[1.0, 3.0]);
        assert_eq!(moments.average(), 2.0);
        assert_eq!(moments.variance(), 1.0);
        assert_eq!(moments.variance_sampling(), 2.0);
        assert_eq!(moments.property("std_upper", 2.0), Some(4.0));
        assert_eq!(moments.property("nonsense", 2.0), None);
        assert!(of(&[1.0]).variance_sampling().is_nan());
    }

    #[test]
    fn merging_is_adding_and_loses_nothing() {
        let mut parts = of(&[1e100, 1.0]);
        parts.merge(&of(&[-1e100, 1.0]));
        assert_eq!(parts.sum(), 2.0);
        assert_eq!(parts.count, 4);
        assert_eq!(parts.min, -1e100);
        assert_eq!(of(&[0.1; 10]).sum(), 1.0);
        assert!(of(&[0.1; 10]).variance() < 1e-16);
    }
}
