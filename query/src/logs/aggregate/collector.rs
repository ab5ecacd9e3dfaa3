//! Runs a tree of aggregations over the matching documents of one segment.

use indexer::logs::ShardReader;
use tantivy::{DocId, SegmentReader};

use crate::limits::Budget;
use crate::logs::filter::Filter;

use super::partial::{Partial, PartialAggregation};
use super::{AggregateError, Aggregation, Aggregations, DEPTH_MAX, Kind, Ordinal};
use super::{composite, date_histogram, distinct, filters, geo, global, histogram, moments};
use super::{patterns, quantiles, range, terms, top};

/// How many documents are handled at once: enough to make calls cheap, few enough to stay in the cache.
pub(super) const BLOCK_DOCS: usize = 1024;

/// What one aggregation does in one segment.
///
/// `docs` ascend but may repeat: a document can be in several buckets of the parent. `parents[i]` is the bucket that
/// `docs[i]` is in; parents are numbered from 0 in the order they appear.
pub(super) trait Collect {
    fn collect(&mut self, docs: &[DocId], parents: &[Ordinal]) -> Result<(), AggregateError>;

    /// What was found for each parent, exactly `parent_count` of them.
    fn finish(
        self: Box<Self>,
        parent_count: usize,
    ) -> Result<Vec<PartialAggregation>, AggregateError>;
}

/// The segment and what may be used to read it.
#[derive(Clone, Copy)]
pub(super) struct Segment<'a> {
    pub shard: &'a ShardReader,
    pub number: usize,
    pub budget: &'a Budget,
    pub depth: usize,
}

impl<'a> Segment<'a> {
    pub fn reader(&self) -> &'a SegmentReader {
        self.shard.searcher().segment_reader(self.number as u32)
    }

    /// Whether buckets here have one parent only: the whole of the segment.
    pub fn is_top(&self) -> bool {
        self.depth == 0
    }

    pub fn unreadable(&self, error: impl std::fmt::Display) -> AggregateError {
        AggregateError::Read(indexer::logs::ReadError {
            shard: self.shard.name(),
            message: error.to_string(),
        })
    }
}

/// Collects the matching documents of one segment. Feed it ascending blocks of documents that match and are alive.
pub struct SegmentCollector {
    children: Children,
    waiting: Vec<DocId>,
    parents: Vec<Ordinal>,
    budget: Budget,
}

impl SegmentCollector {
    pub(super) fn new(
        aggregations: &Aggregations,
        shard: &ShardReader,
        segment: usize,
        budget: &Budget,
    ) -> Result<SegmentCollector, AggregateError> {
        let segment = Segment {
            shard,
            number: segment,
            budget,
            depth: 0,
        };
        Ok(SegmentCollector {
            children: Children::open(aggregations, segment)?,
            waiting: Vec::with_capacity(BLOCK_DOCS),
            parents: vec![0; BLOCK_DOCS],
            budget: budget.clone(),
        })
    }

    /// Takes matching documents; each call continues after the last document of the one before.
    ///
    /// # Errors
    /// The budget is used up, or the shard cannot be read. The collector is useless then.
    pub fn collect(&mut self, docs: &[DocId]) -> Result<(), AggregateError> {
        let mut docs = docs;
        while !docs.is_empty() {
            let room = BLOCK_DOCS - self.waiting.len();
            let (now, later) = docs.split_at(room.min(docs.len()));
            self.waiting.extend_from_slice(now);
            docs = later;
            if self.waiting.len() == BLOCK_DOCS {
                self.flush()?;
            }
        }
        Ok(())
    }

    /// What was found. Reads the texts of the buckets.
    ///
    /// # Errors
    /// As [`SegmentCollector::collect`].
    pub fn finish(mut self) -> Result<Partial, AggregateError> {
        self.flush()?;
        let mut partials = self.children.finish(1)?;
        Ok(partials.pop().unwrap_or_default())
    }

    fn flush(&mut self) -> Result<(), AggregateError> {
        self.budget.check()?;
        self.children
            .collect(&self.waiting, &self.parents[..self.waiting.len()])?;
        self.waiting.clear();
        Ok(())
    }
}

/// The aggregations inside the buckets of one parent aggregation.
pub(super) struct Children(Vec<Option<Box<dyn Collect>>>);

impl Children {
    /// Opens the children of the aggregation that `segment` describes one level up.
    pub fn open_below(
        aggregations: &Aggregations,
        segment: Segment<'_>,
    ) -> Result<Children, AggregateError> {
        let below = Segment {
            depth: segment.depth + 1,
            ..segment
        };
        Children::open(aggregations, below)
    }

    fn open(aggregations: &Aggregations, segment: Segment<'_>) -> Result<Children, AggregateError> {
        if segment.depth > DEPTH_MAX {
            let message = format!("aggregations are nested deeper than {DEPTH_MAX}");
            return Err(AggregateError::Request(message));
        }
        let open = |(_, aggregation): &(String, Aggregation)| open(aggregation, segment);
        let children: Result<Vec<_>, AggregateError> = aggregations.0.iter().map(open).collect();
        Ok(Children(children?))
    }

    /// Whether nothing needs the documents.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    pub fn collect(&mut self, docs: &[DocId], parents: &[Ordinal]) -> Result<(), AggregateError> {
        if docs.is_empty() {
            return Ok(());
        }
        for child in self.0.iter_mut().flatten() {
            child.collect(docs, parents)?;
        }
        Ok(())
    }

    /// One partial per parent, in the order of the parents' ordinals.
    pub fn finish(self, parent_count: usize) -> Result<Vec<Partial>, AggregateError> {
        if self.is_empty() {
            return Ok(vec![Partial::default(); parent_count]);
        }
        let mut partials = vec![Partial::default(); parent_count];
        for child in self.0 {
            match child {
                None => partials.iter_mut().for_each(|partial| partial.0.push(None)),
                Some(child) => {
                    let found = child.finish(parent_count)?;
                    debug_assert_eq!(found.len(), parent_count);
                    for (partial, found) in partials.iter_mut().zip(found) {
                        partial.0.push(Some(found));
                    }
                }
            }
        }
        Ok(partials)
    }
}

/// Pipelines need no documents.
fn open(
    aggregation: &Aggregation,
    segment: Segment<'_>,
) -> Result<Option<Box<dyn Collect>>, AggregateError> {
    let children = &aggregation.children;
    Ok(Some(match &aggregation.kind {
        Kind::DateHistogram(request) => date_histogram::open(request, children, segment)?,
        Kind::Terms(request) => terms::open(request, children, segment)?,
        Kind::Histogram(request) => histogram::open(request, children, segment)?,
        Kind::Filters(request) => filters::open(request, children, segment)?,
        Kind::Filter(filter) => filters::open_one(filter, children, segment)?,
        Kind::Global => global::open(children, segment)?,
        Kind::Ranges(request) => range::open(request, children, segment)?,
        Kind::Composite(request) => composite::open(request, children, segment)?,
        Kind::GeoGrid(request) => geo::open_grid(request, children, segment)?,
        Kind::GeoPoints(request) => geo::open_points(request, segment)?,
        Kind::Patterns(request) => patterns::open(request, segment)?,
        Kind::Moments { source, .. } => moments::open(source, segment)?,
        Kind::Rate {
            source: Some(source),
            ..
        } => moments::open(source, segment)?,
        Kind::Rate { source: None, .. } => {
            filters::open_one(&Filter::All, &Aggregations::default(), segment)?
        }
        Kind::ValueCount { field, has_missing } => {
            distinct::open_value_count(field, *has_missing, segment)?
        }
        Kind::Cardinality {
            field,
            missing,
            precision,
        } => distinct::open(field, missing.as_ref(), *precision, segment)?,
        Kind::Quantiles(source) => quantiles::open(source, segment)?,
        Kind::TopMetrics(request) => top::open_metrics(request, segment)?,
        Kind::TopHits(request) => top::open_hits(request, segment)?,
        Kind::Pipeline(_) => return Ok(None),
    }))
}

/// Takes memory from the budget as something grows.
pub(super) struct Meter {
    budget: Budget,
    taken_bytes: u64,
}

impl Meter {
    pub fn new(budget: &Budget) -> Meter {
        Meter {
            budget: budget.clone(),
            taken_bytes: 0,
        }
    }

    /// Takes what `bytes` is more than before.
    pub fn grow_to(&mut self, bytes: u64) -> Result<(), AggregateError> {
        if bytes > self.taken_bytes {
            self.budget.take_memory(bytes - self.taken_bytes)?;
            self.taken_bytes = bytes;
        }
        Ok(())
    }

    /// Whether the query may go on; for loops that do not pass through a collector.
    pub fn check(&self) -> Result<(), AggregateError> {
        Ok(self.budget.check()?)
    }
}
