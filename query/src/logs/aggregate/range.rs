//! `range` and `date_range`: one bucket per range of numbers or times; ranges may overlap.

use tantivy::DocId;

use super::buckets::SegmentBuckets;
use super::collector::{Collect, Segment};
use super::key::Key;
use super::partial::PartialAggregation;
use super::slots::Owner;
use super::values::{NumberSource, Numbers};
use super::{AggregateError, Aggregations, Ordinal};

/// One bucket per range, in their order, also for those without events. Keys are texts: the labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranges {
    /// The numbers; times are milliseconds since 1970.
    pub source: NumberSource,
    /// The ranges.
    pub ranges: Vec<NumberRange>,
}

/// From, inclusive, to, exclusive; `None` is open.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberRange {
    /// Its label.
    pub key: String,
    /// The lowest number.
    pub from: Option<f64>,
    /// The first number above.
    pub to: Option<f64>,
}

impl NumberRange {
    fn has(&self, value: f64) -> bool {
        self.from.is_none_or(|from| value >= from) && self.to.is_none_or(|to| value < to)
    }
}

pub(super) fn open(
    request: &Ranges,
    children: &Aggregations,
    segment: Segment<'_>,
) -> Result<Box<dyn Collect>, AggregateError> {
    let width = Some(request.ranges.len() as u64);
    Ok(Box::new(RangesCollector {
        numbers: Numbers::open(segment.shard, segment.number, &request.source)?,
        buckets: SegmentBuckets::open(children, segment, width)?,
        ranges: request.ranges.clone(),
        found: Vec::new(),
    }))
}

struct RangesCollector {
    numbers: Numbers,
    buckets: SegmentBuckets,
    ranges: Vec<NumberRange>,
    found: Vec<(u32, u32)>,
}

impl Collect for RangesCollector {
    fn collect(&mut self, docs: &[DocId], parents: &[Ordinal]) -> Result<(), AggregateError> {
        let (ranges, found) = (&self.ranges, &mut self.found);
        found.clear();
        self.numbers.for_each(docs, |position, value| {
            for (number, range) in ranges.iter().enumerate() {
                if range.has(value) {
                    found.push((position as u32, number as u32));
                }
            }
        });
        found.sort_unstable();
        found.dedup();
        for (position, number) in found {
            let position = *position as usize;
            let owner = Owner {
                parent: parents[position],
                column: 0,
                code: u64::from(*number),
            };
            self.buckets.add(docs[position], owner);
        }
        self.buckets.flush()
    }

    fn finish(
        self: Box<Self>,
        parent_count: usize,
    ) -> Result<Vec<PartialAggregation>, AggregateError> {
        let keys_of = |owners: &[Owner]| {
            let keys = owners
                .iter()
                .map(|owner| Some(Key::Integer(owner.code as i64)));
            Ok(keys.collect())
        };
        let found = self.buckets.finish(parent_count, None, keys_of)?;
        Ok(found.into_iter().map(PartialAggregation::Buckets).collect())
    }
}
