//! `filters` and `filter`: a bucket for the events that fulfil a condition.
//!
//! Each condition is answered once per segment for all its documents, as a set of bits.

use tantivy::DocId;
use tantivy::query::EnableScoring;

use crate::logs::filter::Filter;

use super::buckets::SegmentBuckets;
use super::collector::{Children, Collect, Segment};
use super::key::Key;
use super::partial::{PartialAggregation, PartialBucket};
use super::slots::Owner;
use super::{AggregateError, Aggregations, Ordinal};

/// One bucket per filter, in their order; an event is in each whose filter it fulfils. Keys are texts: the labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Filters {
    /// Labels and conditions.
    pub filters: Vec<(String, Filter)>,
    /// The label of one more bucket, after the last, for events that fulfil none of them.
    pub other: Option<String>,
}

pub(super) fn open(
    request: &Filters,
    children: &Aggregations,
    segment: Segment<'_>,
) -> Result<Box<dyn Collect>, AggregateError> {
    let sets: Result<Vec<DocumentSet>, AggregateError> = request
        .filters
        .iter()
        .map(|(_, filter)| DocumentSet::of(filter, segment))
        .collect();
    let width = request.filters.len() as u64 + 1;
    Ok(Box::new(FiltersCollector {
        sets: sets?,
        has_other: request.other.is_some(),
        buckets: SegmentBuckets::open(children, segment, Some(width))?,
    }))
}

pub(super) fn open_one(
    filter: &Filter,
    children: &Aggregations,
    segment: Segment<'_>,
) -> Result<Box<dyn Collect>, AggregateError> {
    Ok(Box::new(FilterCollector {
        set: DocumentSet::of(filter, segment)?,
        children: Children::open_below(children, segment)?,
        counts: Vec::new(),
        docs: Vec::new(),
        parents: Vec::new(),
    }))
}

/// The documents of a segment that fulfil a condition, deleted ones among them.
pub(super) enum DocumentSet {
    All,
    Bits(Vec<u64>),
}

impl DocumentSet {
    pub fn of(filter: &Filter, segment: Segment<'_>) -> Result<DocumentSet, AggregateError> {
        if *filter == Filter::All {
            return Ok(DocumentSet::All);
        }
        let reader = segment.reader();
        let word_count = (reader.max_doc() as usize).div_ceil(64);
        segment.budget.take_memory(word_count as u64 * 8)?;
        let mut bits = vec![0u64; word_count];
        if *filter == Filter::None {
            return Ok(DocumentSet::Bits(bits));
        }
        let query = filter.query(segment.shard)?;
        let searcher = segment.shard.searcher();
        let mut stopped = None;
        query
            .weight(EnableScoring::disabled_from_searcher(searcher))
            .and_then(|weight| {
                weight.for_each_no_score(reader, &mut |docs| {
                    if stopped.is_none() {
                        stopped = segment.budget.check().err();
                        docs.iter()
                            .for_each(|doc| bits[*doc as usize / 64] |= 1 << (doc % 64));
                    }
                })
            })
            .map_err(|error| segment.unreadable(error))?;
        match stopped {
            Some(stop) => Err(stop.into()),
            None => Ok(DocumentSet::Bits(bits)),
        }
    }

    #[inline]
    pub fn has(&self, doc: DocId) -> bool {
        match self {
            DocumentSet::All => true,
            DocumentSet::Bits(bits) => bits[doc as usize / 64] >> (doc % 64) & 1 == 1,
        }
    }
}

struct FiltersCollector {
    sets: Vec<DocumentSet>,
    has_other: bool,
    buckets: SegmentBuckets,
}

impl Collect for FiltersCollector {
    fn collect(&mut self, docs: &[DocId], parents: &[Ordinal]) -> Result<(), AggregateError> {
        for (doc, parent) in docs.iter().zip(parents) {
            let mut owner = Owner {
                parent: *parent,
                column: 0,
                code: 0,
            };
            let mut is_other = self.has_other;
            for (number, set) in self.sets.iter().enumerate() {
                if set.has(*doc) {
                    owner.code = number as u64;
                    self.buckets.add(*doc, owner);
                    is_other = false;
                }
            }
            if is_other {
                owner.code = self.sets.len() as u64;
                self.buckets.add(*doc, owner);
            }
        }
        self.buckets.flush()
    }

    fn finish(
        self: Box<Self>,
        parent_count: usize,
    ) -> Result<Vec<PartialAggregation>, AggregateError> {
        // In partials the key is the filter's place, so that empty buckets can be found later.
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

/// The only bucket of each parent has the parent's ordinal.
struct FilterCollector {
    set: DocumentSet,
    children: Children,
    counts: Vec<u64>,
    docs: Vec<DocId>,
    parents: Vec<Ordinal>,
}

impl Collect for FilterCollector {
    fn collect(&mut self, docs: &[DocId], parents: &[Ordinal]) -> Result<(), AggregateError> {
        self.docs.clear();
        self.parents.clear();
        for (doc, parent) in docs.iter().zip(parents) {
            if self.set.has(*doc) {
                self.docs.push(*doc);
                self.parents.push(*parent);
            }
        }
        for parent in &self.parents {
            let parent = *parent as usize;
            if parent >= self.counts.len() {
                self.counts.resize(parent + 1, 0);
            }
            self.counts[parent] += 1;
        }
        self.children.collect(&self.docs, &self.parents)
    }

    fn finish(
        self: Box<Self>,
        parent_count: usize,
    ) -> Result<Vec<PartialAggregation>, AggregateError> {
        let children = self.children.finish(parent_count)?;
        let counts = self.counts.into_iter().chain(std::iter::repeat(0));
        let buckets = children
            .into_iter()
            .zip(counts)
            .map(|(children, count)| PartialAggregation::Single(PartialBucket { count, children }));
        Ok(buckets.collect())
    }
}
