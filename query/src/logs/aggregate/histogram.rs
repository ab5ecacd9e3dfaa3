//! `histogram`: one bucket per interval of numbers.

use tantivy::DocId;

use super::buckets::SegmentBuckets;
use super::collector::{Collect, Segment};
use super::key::Key;
use super::order::Order;
use super::partial::PartialAggregation;
use super::slots::Owner;
use super::values::{NumberSource, Numbers, ValueKind};
use super::zero_fill::Bounds;
use super::{AggregateError, Aggregations, Ordinal};

/// One bucket per interval of numbers. Keys are numbers: the start of the interval.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// The numbers.
    pub source: NumberSource,
    /// The length of an interval, above 0.
    pub interval: f64,
    /// Where intervals begin: at `offset` plus a multiple of `interval`.
    pub offset: f64,
    /// Buckets with fewer events are left out; 0 fills gaps between the first and the last bucket.
    pub min_count: u64,
    /// With a `min_count` of 0: fill at least from the first bound to the last.
    pub extended_bounds: Option<Bounds<f64>>,
    /// Leave out buckets that begin outside.
    pub hard_bounds: Option<Bounds<f64>>,
    /// The order of the buckets; empty means by number.
    pub order: Vec<Order>,
}

impl Histogram {
    /// Which interval a number lies in.
    pub(super) fn index(&self, value: f64) -> i64 {
        ((value - self.offset) / self.interval).floor() as i64
    }

    /// Where an interval begins.
    pub(super) fn start(&self, index: i64) -> f64 {
        index as f64 * self.interval + self.offset
    }
}

pub(super) fn open(
    request: &Histogram,
    children: &Aggregations,
    segment: Segment<'_>,
) -> Result<Box<dyn Collect>, AggregateError> {
    Ok(Box::new(HistogramCollector {
        numbers: Numbers::open(segment.shard, segment.number, &request.source)?,
        buckets: SegmentBuckets::open(children, segment, None)?,
        request: request.clone(),
        found: Vec::new(),
    }))
}

struct HistogramCollector {
    numbers: Numbers,
    buckets: SegmentBuckets,
    request: Histogram,
    found: Vec<(u32, i64)>,
}

impl Collect for HistogramCollector {
    fn collect(&mut self, docs: &[DocId], parents: &[Ordinal]) -> Result<(), AggregateError> {
        let (request, found) = (&self.request, &mut self.found);
        found.clear();
        self.numbers.for_each(docs, |position, value| {
            found.push((position as u32, request.index(value)));
        });
        // Columns come one after the other; a document's intervals must stand together to count once each.
        found.sort_unstable();
        found.dedup();
        for (position, index) in found {
            let position = *position as usize;
            let owner = Owner {
                parent: parents[position],
                column: 0,
                code: *index as u64,
            };
            self.buckets.add(docs[position], owner);
        }
        self.buckets.flush()
    }

    fn finish(
        self: Box<Self>,
        parent_count: usize,
    ) -> Result<Vec<PartialAggregation>, AggregateError> {
        let request = &self.request;
        let keys_of = |owners: &[Owner]| {
            let keys = owners.iter().map(|owner| {
                let index = owner.code as i64;
                let bounds = request.hard_bounds;
                let is_within = bounds.is_none_or(|bounds| bounds.has(request.start(index)));
                is_within.then_some(Key::Integer(index))
            });
            Ok(keys.collect())
        };
        let found = self
            .buckets
            .finish(parent_count, Some(ValueKind::Float), keys_of)?;
        Ok(found.into_iter().map(PartialAggregation::Buckets).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_begin_at_the_offset() {
        let histogram = Histogram {
            source: NumberSource::default(),
            interval: 50.0,
            offset: 10.0,
            min_count: 0,
            extended_bounds: None,
            hard_bounds: None,
            order: Vec::new(),
        };
        let starts = [9.9, 10.0, 59.9, -41.0].map(|value| histogram.start(histogram.index(value)));
        assert_eq!(starts, [-40.0, 10.0, 10.0, -90.0]);
    }
}
