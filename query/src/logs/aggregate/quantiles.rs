//! `percentiles` and `percentile_ranks`: the distribution of numbers.
//!
//! Few numbers are kept as they are and answered exactly, with linear interpolation between neighbours. Beyond
//! [`EXACT_VALUES_MAX`] a DDSketch takes over; its answers are within 0.5 % of the true value.

use sketches_ddsketch::{Config, DDSketch};
use tantivy::DocId;

use super::collector::{Collect, Meter, Segment};
use super::moments::grow;
use super::partial::PartialAggregation;
use super::values::{NumberSource, Numbers, ValueKind};
use super::{AggregateError, Ordinal};

/// How many numbers of one bucket are kept: 32 KiB, about what a sketch of as many different numbers occupies.
const EXACT_VALUES_MAX: usize = 4096;
const RELATIVE_ERROR: f64 = 0.005;
/// Enough for numbers from 1e-9 to 1e9 at this error; wider distributions lose their smallest numbers.
const BINS_MAX: u32 = 4096;
const SMALLEST: f64 = 1e-9;
/// Halvings when a rank is searched; more than the digits of a double tell.
const SEARCH_STEPS: usize = 48;

/// The distribution of numbers.
#[derive(Debug, Clone, Default)]
pub struct Quantiles {
    values: Vec<f64>,
    is_sorted: bool,
    sketch: Option<Sketch>,
    kind: Option<ValueKind>,
}

#[derive(Clone)]
struct Sketch(DDSketch);

impl std::fmt::Debug for Sketch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sketch of {} numbers", self.0.count())
    }
}

impl Quantiles {
    fn add(&mut self, value: f64) {
        match &mut self.sketch {
            Some(sketch) => sketch.0.add(value),
            None => {
                self.values.push(value);
                self.is_sorted = false;
                if self.values.len() > EXACT_VALUES_MAX {
                    self.begin_sketch();
                }
            }
        }
    }

    fn begin_sketch(&mut self) {
        let mut sketch = DDSketch::new(Config::new(RELATIVE_ERROR, BINS_MAX, SMALLEST));
        self.values.drain(..).for_each(|value| sketch.add(value));
        self.values.shrink_to_fit();
        self.sketch = Some(Sketch(sketch));
    }

    pub(super) fn merge(&mut self, other: Quantiles) {
        self.kind = self.kind.max(other.kind);
        if let Some(theirs) = other.sketch {
            if self.sketch.is_none() {
                self.begin_sketch();
            }
            if let Some(mine) = &mut self.sketch {
                let merged = mine.0.merge(&theirs.0);
                debug_assert!(merged.is_ok(), "all sketches have one configuration");
            }
        }
        for value in other.values {
            self.add(value);
        }
    }

    /// Makes it ready to be asked.
    pub(super) fn finish(&mut self) {
        self.values.sort_unstable_by(f64::total_cmp);
        self.is_sorted = true;
    }

    /// What the numbers are; `None` when no segment had any.
    pub fn kind(&self) -> Option<ValueKind> {
        self.kind
    }

    /// The number below which `percent` of the numbers lie; `None` when there are none or `percent` is not within
    /// 0 to 100.
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        if !(0.0..=100.0).contains(&percent) {
            return None;
        }
        let fraction = percent / 100.0;
        if let Some(Sketch(sketch)) = &self.sketch {
            let within = |value: f64| match (sketch.min(), sketch.max()) {
                (Some(min), Some(max)) => value.clamp(min, max),
                _ => value,
            };
            return sketch.quantile(fraction).ok().flatten().map(within);
        }
        debug_assert!(self.is_sorted || self.values.len() < 2);
        let last = self.values.len().checked_sub(1)?;
        let place = fraction * last as f64;
        let below = self.values[place as usize];
        let above = self.values[(place as usize + 1).min(last)];
        let part = place.fract();
        Some(if part == 0.0 {
            below
        } else {
            below * (1.0 - part) + above * part
        })
    }

    /// The percentage of the numbers that lie below `value`, half of those equal to it counted; `None` when there
    /// are none.
    pub fn rank(&self, value: f64) -> Option<f64> {
        if let Some(Sketch(sketch)) = &self.sketch {
            return Some(rank_in(sketch, value));
        }
        let count = self.values.len();
        if count == 0 {
            return None;
        }
        let below = self.values.partition_point(|known| *known < value);
        let up_to = self.values.partition_point(|known| *known <= value);
        Some((below + up_to) as f64 / 2.0 / count as f64 * 100.0)
    }
}

/// The sketch only answers the reverse question, so the rank is searched between 0 and 1.
fn rank_in(sketch: &DDSketch, value: f64) -> f64 {
    if sketch.min().is_some_and(|min| value < min) {
        return 0.0;
    }
    if sketch.max().is_some_and(|max| value >= max) {
        return 100.0;
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..SEARCH_STEPS {
        let middle = (low + high) / 2.0;
        match sketch.quantile(middle) {
            Ok(Some(at_middle)) if at_middle <= value => low = middle,
            _ => high = middle,
        }
    }
    (low + high) / 2.0 * 100.0
}

pub(super) fn open(
    source: &NumberSource,
    segment: Segment<'_>,
) -> Result<Box<dyn Collect>, AggregateError> {
    Ok(Box::new(QuantilesCollector {
        numbers: Numbers::open(segment.shard, segment.number, source)?,
        by_parent: Vec::new(),
        value_count: 0,
        meter: Meter::new(segment.budget),
    }))
}

struct QuantilesCollector {
    numbers: Numbers,
    by_parent: Vec<Quantiles>,
    value_count: u64,
    meter: Meter,
}

impl Collect for QuantilesCollector {
    fn collect(&mut self, docs: &[DocId], parents: &[Ordinal]) -> Result<(), AggregateError> {
        grow(&mut self.by_parent, parents);
        let (by_parent, value_count) = (&mut self.by_parent, &mut self.value_count);
        self.numbers.for_each(docs, |position, value| {
            by_parent[parents[position] as usize].add(value);
            *value_count += 1;
        });
        // Each bucket stops growing at some 48 KiB, so this is the smaller of two bounds.
        let bucket_bytes = self.by_parent.len() as u64 * (12 * EXACT_VALUES_MAX) as u64;
        let headers = (self.by_parent.len() * size_of::<Quantiles>()) as u64;
        self.meter
            .grow_to(headers + bucket_bytes.min(self.value_count * 16))
    }

    fn finish(
        mut self: Box<Self>,
        parent_count: usize,
    ) -> Result<Vec<PartialAggregation>, AggregateError> {
        self.by_parent.resize_with(parent_count, Quantiles::default);
        let kind = self.numbers.kind();
        let found = self.by_parent.into_iter().map(|quantiles| {
            PartialAggregation::Quantiles(Box::new(Quantiles { kind, ..quantiles }))
        });
        Ok(found.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = f64>) -> Quantiles {
        let mut quantiles = Quantiles::default();
        values.into_iter().for_each(|value| quantiles.add(value));
        quantiles.finish();
        quantiles
    }

    #[test]
    fn few_numbers_are_interpolated() {
        let quantiles = of([151.0, 1.0, 101.0, 51.0]);
        let percentiles = [0.0, 1.0, 25.0, 50.0, 100.0].map(|at| quantiles.percentile(at).unwrap());
        assert_eq!(percentiles, [1.0, 2.5, 38.5, 76.0, 151.0]);
        assert_eq!(quantiles.percentile(101.0), None);
        assert_eq!(of([]).percentile(50.0), None);
        assert_eq!(of([]).rank(50.0), None);
    }

    #[test]
    fn ranks_count_half_of_what_is_equal() {
        let quantiles = of([1.0, 2.0, 2.0, 3.0]);
        let ranks = [0.5, 2.0, 2.5, 9.0].map(|value| quantiles.rank(value).unwrap());
        assert_eq!(ranks, [0.0, 50.0, 75.0, 100.0]);
    }

    #[test]
    fn many_numbers_are_close() {
        let mut quantiles = of((0..20_000).map(f64::from));
        quantiles.merge(of((20_000..40_000).rev().map(f64::from)));
        quantiles.merge(of((40_000..40_010).map(f64::from)));
        for percent in [1.0, 50.0, 99.9] {
            let ratio = quantiles.percentile(percent).unwrap() / (percent / 100.0 * 40_009.0);
            assert!((ratio - 1.0).abs() < 0.01, "{percent}: {ratio}");
        }
        let rank = quantiles.rank(10_000.0).unwrap();
        assert!((rank - 25.0).abs() < 0.5, "{rank}");
        assert_eq!(quantiles.percentile(100.0), Some(40_009.0));
    }
}
