//! What some segments found: mergeable, before ordering and cutting.

use rustc_hash::FxBuildHasher;
use rustc_hash::FxHashMap;
use std::collections::hash_map::Entry;

use super::distinct::Distinct;
use super::geo::GeoExtent;
use super::key::Key;
use super::moments::Moments;
use super::patterns::FoundPatterns;
use super::quantiles::Quantiles;
use super::reduce;
use super::results::{Results, TopEntry};
use super::unnamed::Unnamed;
use super::values::ValueKind;
use super::{AggregateError, Aggregations};

/// What some segments found for all aggregations of one level. The default is: nothing at all.
#[derive(Debug, Clone, Default)]
pub struct Partial(pub(super) Vec<Option<PartialAggregation>>);

impl Partial {
    /// Adds what other segments found for the same request.
    pub fn merge(&mut self, other: Partial) {
        if self.0.is_empty() {
            self.0 = other.0;
            return;
        }
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            match (mine.as_mut(), theirs) {
                (Some(mine), Some(theirs)) => mine.merge(theirs),
                (None, Some(theirs)) => *mine = Some(theirs),
                (_, None) => {}
            }
        }
    }

    /// Orders, cuts and fills the buckets and runs the pipelines; `request` is what the collectors were made of.
    ///
    /// # Errors
    /// The answer has too many buckets, or a pipeline names an aggregation that does not exist.
    pub fn finish(self, request: &Aggregations) -> Result<Results, AggregateError> {
        reduce::finish(self, request)
    }
}

/// What some segments found for one aggregation in one bucket of its parent.
#[derive(Debug, Clone)]
pub(super) enum PartialAggregation {
    Buckets(PartialBuckets),
    Single(PartialBucket),
    Moments(Moments),
    Count(u64),
    Distinct(Box<Distinct>),
    Quantiles(Box<Quantiles>),
    Top(PartialTop),
    Geo(GeoExtent),
    Patterns(Box<FoundPatterns>),
}

impl PartialAggregation {
    /// Both sides come from the same aggregation, so their variants are the same.
    fn merge(&mut self, other: PartialAggregation) {
        use PartialAggregation as P;
        match (self, other) {
            (P::Buckets(mine), P::Buckets(theirs)) => mine.merge(theirs),
            (P::Single(mine), P::Single(theirs)) => mine.merge(theirs),
            (P::Moments(mine), P::Moments(theirs)) => mine.merge(&theirs),
            (P::Count(mine), P::Count(theirs)) => *mine += theirs,
            (P::Distinct(mine), P::Distinct(theirs)) => mine.merge(*theirs),
            (P::Quantiles(mine), P::Quantiles(theirs)) => mine.merge(*theirs),
            (P::Top(mine), P::Top(theirs)) => mine.merge(theirs),
            (P::Geo(mine), P::Geo(theirs)) => mine.merge(&theirs),
            (P::Patterns(mine), P::Patterns(theirs)) => mine.merge(*theirs),
            (_, _) => debug_assert!(false, "partials of different aggregations"),
        }
    }
}

/// One bucket so far.
#[derive(Debug, Clone, Default)]
pub(super) struct PartialBucket {
    pub count: u64,
    pub children: Partial,
}

impl PartialBucket {
    pub fn merge(&mut self, other: PartialBucket) {
        self.count += other.count;
        self.children.merge(other.children);
    }
}

/// Buckets by key, in no order.
#[derive(Debug, Clone, Default)]
pub(super) struct PartialBuckets {
    pub by_key: FxHashMap<Key, PartialBucket>,
    /// Buckets whose texts are only read when all segments are there.
    pub unnamed: Vec<Unnamed>,
    /// The widest type of the numbers among the keys, where that matters for how they are written.
    pub kind: Option<ValueKind>,
}

impl PartialBuckets {
    pub fn with_capacity(capacity: usize) -> PartialBuckets {
        PartialBuckets {
            by_key: FxHashMap::with_capacity_and_hasher(capacity, FxBuildHasher),
            ..PartialBuckets::default()
        }
    }

    /// Adds a bucket; one of the same key takes it in.
    pub fn add(&mut self, key: Key, bucket: PartialBucket) {
        match self.by_key.entry(key) {
            Entry::Occupied(mut known) => known.get_mut().merge(bucket),
            Entry::Vacant(vacant) => {
                vacant.insert(bucket);
            }
        }
    }

    fn merge(&mut self, other: PartialBuckets) {
        self.kind = self.kind.max(other.kind);
        self.unnamed.extend(other.unnamed);
        if self.by_key.is_empty() {
            self.by_key = other.by_key;
            return;
        }
        for (key, bucket) in other.by_key {
            self.add(key, bucket);
        }
    }
}

/// The first events by some order, best first.
#[derive(Debug, Clone)]
pub(super) struct PartialTop {
    pub entries: Vec<TopEntry>,
    /// How many events there were altogether.
    pub count: u64,
    /// How many entries are kept.
    pub size: usize,
    /// For each sort field, whether larger values come first.
    pub descending: Vec<bool>,
}

impl PartialTop {
    fn merge(&mut self, other: PartialTop) {
        self.count += other.count;
        self.entries.extend(other.entries);
        let descending = &self.descending;
        self.entries
            .sort_by(|a, b| super::top::compare(&a.sort, &b.sort, descending));
        self.entries.truncate(self.size);
    }
}
