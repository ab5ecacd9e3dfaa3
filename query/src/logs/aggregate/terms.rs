//! `terms`: one bucket per value, of any type.
//!
//! Texts are counted by their ordinals in the segment's dictionary and become texts when the segment is finished.
//! Every value of every shard is kept until the end, so counts are exact; the budget bounds how many there can be.

use std::hash::{Hash, Hasher};
use std::ops::Range;

use indexer::logs::ValueColumn;
use regex::Regex;
use rustc_hash::{FxHashSet, FxHasher};
use tantivy::columnar::{Column, StrColumn};
use tantivy::{DateTime, DocId};

use super::buckets::SegmentBuckets;
use super::collector::{Collect, Meter, Segment};
use super::key::Key;
use super::order::{Order, OrderBy};
use super::partial::{PartialAggregation, PartialBuckets};
use super::slots::Owner;
use super::unnamed::Unnamed;
use super::values::{Block, INDEX_FIELD, ValueKind, millis};
use super::{AggregateError, Aggregations, Ordinal};

/// How many values without events a segment tells when `min_count` is 0. More than any `size` that clients send.
const EMPTY_TERMS_MAX: usize = 10_000;
/// The column number that stands for the value of events that have none.
const MISSING_COLUMN: u8 = u8::MAX;
/// So few texts are named at once in any case.
const NAMED_AT_ONCE_MAX: usize = 1024;
/// How many terms of a dictionary are tested between two looks at the clock.
const TERMS_PER_CHECK: usize = 4096;

/// One bucket per value.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// The field; `_index` is the shard's name.
    pub field: String,
    /// How many buckets are kept.
    pub size: usize,
    /// Buckets with fewer events are left out; 0 also tells values that only other events have.
    pub min_count: u64,
    /// The value of events that have none; without it they are left out.
    pub missing: Option<Key>,
    /// Which values count.
    pub filter: TermsFilter,
    /// The order of the buckets; equal ones are ordered by key.
    pub order: Vec<Order>,
}

/// Which values get a bucket.
#[derive(Debug, Clone, Default)]
pub struct TermsFilter {
    /// Only texts that fit this as a whole.
    pub include: Option<Regex>,
    /// No texts that fit this as a whole.
    pub exclude: Option<Regex>,
    /// Only these.
    pub include_keys: Option<Vec<Key>>,
    /// Not these.
    pub exclude_keys: Vec<Key>,
    /// Only this part of so many parts: part, parts.
    pub partition: Option<(u64, u64)>,
}

impl PartialEq for TermsFilter {
    fn eq(&self, other: &TermsFilter) -> bool {
        let text = |regex: &Option<Regex>| regex.as_ref().map(|regex| regex.as_str().to_owned());
        text(&self.include) == text(&other.include)
            && text(&self.exclude) == text(&other.exclude)
            && self.include_keys == other.include_keys
            && self.exclude_keys == other.exclude_keys
            && self.partition == other.partition
    }
}

impl TermsFilter {
    /// Whether every value gets a bucket.
    pub fn is_all(&self) -> bool {
        *self == TermsFilter::default()
    }

    /// Whether this value gets a bucket.
    pub fn has(&self, key: &Key) -> bool {
        if let Some(keys) = &self.include_keys
            && !keys.contains(key)
        {
            return false;
        }
        if self.exclude_keys.contains(key) {
            return false;
        }
        if let Key::Text(text) = key {
            let is_included = |regex: &Regex| regex.is_match(text);
            if !self.include.as_ref().is_none_or(is_included) {
                return false;
            }
            if self.exclude.as_ref().is_some_and(is_included) {
                return false;
            }
        }
        match self.partition {
            Some((part, parts)) => {
                let mut hasher = FxHasher::default();
                key.hash(&mut hasher);
                (hasher.finish() >> 7) % parts.max(1) == part
            }
            None => true,
        }
    }
}

pub(super) fn open(
    request: &Terms,
    children: &Aggregations,
    segment: Segment<'_>,
) -> Result<Box<dyn Collect>, AggregateError> {
    if request.field == INDEX_FIELD {
        return open_index(request, children, segment);
    }
    let columns = segment.shard.columns(segment.number, &request.field)?;
    let meter = Meter::new(segment.budget);
    let columns: Vec<TermColumn> = columns.into_iter().map(TermColumn::new).collect();
    let mut accepted = Vec::with_capacity(columns.len());
    for column in &columns {
        accepted.push(column.accepted(&request.filter, &meter, segment)?);
    }
    let width = columns.first().and_then(TermColumn::width);
    let missing = request
        .missing
        .clone()
        .filter(|key| request.filter.has(key));
    Ok(Box::new(TermsCollector {
        buckets: SegmentBuckets::open(children, segment, width)?,
        columns,
        accepted,
        missing,
        tells_empty: request.min_count == 0,
        is_top: segment.is_top(),
        named_max: named_max(request, children, segment),
        filter: request.filter.clone(),
        is_answered: Vec::new(),
        shard: segment.shard.name(),
        meter,
    }))
}

/// How many texts a segment names at once; `None` when it must name all. Only the most frequent are wanted otherwise.
fn named_max(request: &Terms, children: &Aggregations, segment: Segment<'_>) -> Option<usize> {
    let by_count = request
        .order
        .first()
        .is_some_and(|order| order.by == OrderBy::Count && order.descending);
    let then_by_key = request
        .order
        .iter()
        .skip(1)
        .all(|order| order.by == OrderBy::Key && !order.descending);
    let is_plain = segment.is_top() && children.0.is_empty() && request.min_count == 1;
    (is_plain && by_count && then_by_key).then(|| NAMED_AT_ONCE_MAX.max(8 * request.size))
}

/// Every event of a shard has the same `_index`.
fn open_index(
    request: &Terms,
    children: &Aggregations,
    segment: Segment<'_>,
) -> Result<Box<dyn Collect>, AggregateError> {
    let name = Key::from(segment.shard.name().as_str());
    let missing = request.filter.has(&name).then_some(name);
    Ok(Box::new(TermsCollector {
        buckets: SegmentBuckets::open(children, segment, None)?,
        columns: Vec::new(),
        accepted: Vec::new(),
        missing,
        tells_empty: false,
        is_top: false,
        named_max: None,
        filter: TermsFilter::default(),
        is_answered: Vec::new(),
        shard: segment.shard.name(),
        meter: Meter::new(segment.budget),
    }))
}

/// A column whose values are read as codes of 64 bits.
pub(super) enum TermColumn {
    Text(StrColumn, Block<u64>),
    Integer(Column<i64>, Block<i64>),
    Unsigned(Column<u64>, Block<u64>),
    Float(Column<f64>, Block<f64>),
    Bool(Column<bool>, Block<bool>),
    Time(Column<DateTime>, Block<DateTime>),
}

impl TermColumn {
    pub fn new(column: ValueColumn) -> TermColumn {
        match column {
            ValueColumn::Text(column) => TermColumn::Text(column, Block::default()),
            ValueColumn::Integer(column) => TermColumn::Integer(column, Block::default()),
            ValueColumn::Unsigned(column) => TermColumn::Unsigned(column, Block::default()),
            ValueColumn::Float(column) => TermColumn::Float(column, Block::default()),
            ValueColumn::Bool(column) => TermColumn::Bool(column, Block::default()),
            ValueColumn::Time(column) => TermColumn::Time(column, Block::default()),
        }
    }

    /// How many codes there are, when they are numbered from 0.
    fn width(&self) -> Option<u64> {
        match self {
            TermColumn::Text(column, _) => Some(column.num_terms() as u64),
            TermColumn::Bool(..) => Some(2),
            _ => None,
        }
    }

    fn kind(&self) -> Option<ValueKind> {
        match self {
            TermColumn::Text(..) => None,
            TermColumn::Integer(..) | TermColumn::Unsigned(..) => Some(ValueKind::Integer),
            TermColumn::Float(..) => Some(ValueKind::Float),
            TermColumn::Bool(..) => Some(ValueKind::Bool),
            TermColumn::Time(..) => Some(ValueKind::Time),
        }
    }

    /// Calls `each` with position and code of every value of the block; a value a document has twice is told once.
    #[inline]
    pub fn for_each(&mut self, docs: &[DocId], each: impl FnMut(usize, u64)) {
        match self {
            TermColumn::Text(column, block) => {
                block.read(column.ords(), docs);
                distinct(&block.positions, &block.values, |ordinal| ordinal, each);
            }
            TermColumn::Integer(column, block) => {
                block.read(column, docs);
                distinct(&block.positions, &block.values, |v| v as u64, each);
            }
            TermColumn::Unsigned(column, block) => {
                block.read(column, docs);
                distinct(&block.positions, &block.values, |v| v, each);
            }
            TermColumn::Float(column, block) => {
                block.read(column, docs);
                distinct(&block.positions, &block.values, f64::to_bits, each);
            }
            TermColumn::Bool(column, block) => {
                block.read(column, docs);
                distinct(&block.positions, &block.values, u64::from, each);
            }
            TermColumn::Time(column, block) => {
                block.read(column, docs);
                distinct(&block.positions, &block.values, |v| millis(v) as u64, each);
            }
        }
    }

    /// Calls `each` with the code of every value of a range of documents; `false`, and nothing happened, when that needs
    /// a look at each document.
    fn for_each_in(&mut self, docs: Range<DocId>, mut each: impl FnMut(u64)) -> bool {
        let TermColumn::Text(column, block) = self else {
            return false;
        };
        let is_read = block.read_range(column.ords(), docs);
        if is_read {
            block.values.iter().for_each(|code| each(*code));
        }
        is_read
    }

    /// The keys of codes, in the order of the codes given. Texts are read in one pass over the dictionary.
    pub fn keys(&self, codes: &[u64], shard: &str) -> Result<Vec<Key>, AggregateError> {
        let key = |code: &u64| match self {
            TermColumn::Text(..) => Key::Bool(false),
            TermColumn::Integer(..) => Key::Integer(*code as i64),
            TermColumn::Unsigned(..) => Key::unsigned(*code),
            TermColumn::Float(..) => Key::number(f64::from_bits(*code)),
            TermColumn::Bool(..) => Key::Bool(*code != 0),
            TermColumn::Time(..) => Key::Time(*code as i64),
        };
        let TermColumn::Text(column, _) = self else {
            return Ok(codes.iter().map(key).collect());
        };
        let mut sorted: Vec<u64> = codes.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut texts: Vec<Key> = Vec::with_capacity(sorted.len());
        column
            .dictionary()
            .sorted_ords_to_term_cb(&sorted, |term| {
                texts.push(Key::Text(String::from_utf8_lossy(term).into()));
            })
            .map_err(|error| unreadable(shard, &error))?;
        let text = |code: &u64| {
            let at = sorted.binary_search(code).ok()?;
            texts.get(at).cloned()
        };
        codes
            .iter()
            .map(|code| text(code).ok_or_else(|| unreadable(shard, &"a term is missing")))
            .collect()
    }

    /// Tests every term of the dictionary once; `None` means all are accepted.
    fn accepted(
        &self,
        filter: &TermsFilter,
        meter: &Meter,
        segment: Segment<'_>,
    ) -> Result<Option<Vec<bool>>, AggregateError> {
        let TermColumn::Text(column, _) = self else {
            return Ok(None);
        };
        if filter.is_all() {
            return Ok(None);
        }
        let mut accepted = Vec::with_capacity(column.num_terms());
        let mut terms = column
            .dictionary()
            .stream()
            .map_err(|error| segment.unreadable(error))?;
        while terms.advance() {
            if accepted.len() % TERMS_PER_CHECK == 0 {
                meter.check()?;
            }
            let text = String::from_utf8_lossy(terms.key());
            accepted.push(filter.has(&Key::from(&*text)));
        }
        Ok(Some(accepted))
    }

    /// The first codes of the column, whether or not an event that matches has them.
    fn some_codes(&self) -> Vec<u64> {
        fn distinct_codes<T>(values: impl Iterator<Item = T>, code: impl Fn(T) -> u64) -> Vec<u64> {
            let mut codes = FxHashSet::default();
            for value in values {
                codes.insert(code(value));
                if codes.len() >= EMPTY_TERMS_MAX {
                    break;
                }
            }
            codes.into_iter().collect()
        }
        match self {
            TermColumn::Text(column, _) => {
                (0..column.num_terms().min(EMPTY_TERMS_MAX) as u64).collect()
            }
            TermColumn::Integer(column, _) => distinct_codes(column.values.iter(), |v| v as u64),
            TermColumn::Unsigned(column, _) => distinct_codes(column.values.iter(), |v| v),
            TermColumn::Float(column, _) => distinct_codes(column.values.iter(), f64::to_bits),
            TermColumn::Bool(column, _) => distinct_codes(column.values.iter(), u64::from),
            TermColumn::Time(column, _) => {
                distinct_codes(column.values.iter(), |v| millis(v) as u64)
            }
        }
    }
}

fn unreadable(shard: &str, error: &dyn std::fmt::Display) -> AggregateError {
    AggregateError::Read(indexer::logs::ReadError {
        shard: shard.to_owned(),
        message: error.to_string(),
    })
}

/// A document's values stand together; those it has twice are skipped.
#[inline]
fn distinct<T: Copy>(
    positions: &[u32],
    values: &[T],
    code: impl Fn(T) -> u64,
    mut each: impl FnMut(usize, u64),
) {
    let mut at = 0;
    while at < positions.len() {
        let position = positions[at];
        let mut end = at + 1;
        while end < positions.len() && positions[end] == position {
            end += 1;
        }
        if end == at + 1 {
            each(position as usize, code(values[at]));
        } else {
            let mut codes: Vec<u64> = values[at..end].iter().map(|value| code(*value)).collect();
            codes.sort_unstable();
            codes.dedup();
            for code in codes {
                each(position as usize, code);
            }
        }
        at = end;
    }
}

struct TermsCollector {
    columns: Vec<TermColumn>,
    accepted: Vec<Option<Vec<bool>>>,
    buckets: SegmentBuckets,
    missing: Option<Key>,
    tells_empty: bool,
    is_top: bool,
    /// Texts may stay unread until all segments are there, if there are more of them than this.
    named_max: Option<usize>,
    filter: TermsFilter,
    is_answered: Vec<bool>,
    shard: String,
    meter: Meter,
}

impl Collect for TermsCollector {
    fn collect(&mut self, docs: &[DocId], parents: &[Ordinal]) -> Result<(), AggregateError> {
        let notes_answers = self.missing.is_some() && !self.columns.is_empty();
        self.is_answered.clear();
        self.is_answered.resize(docs.len(), false);
        // Where all documents of a range are counted it does not matter which of them has a value.
        let range = match docs {
            [first, .., last] if (last - first) as usize + 1 == docs.len() => *first..last + 1,
            _ => 0..0,
        };
        let is_counted_by_range =
            self.is_top && self.buckets.only_counts() && !notes_answers && !range.is_empty();
        for (number, column) in self.columns.iter_mut().enumerate() {
            let accepted = self.accepted[number].as_deref();
            let (buckets, is_answered) = (&mut self.buckets, &mut self.is_answered);
            let count = |code: u64| {
                if accepted.is_none_or(|accepted| accepted[code as usize]) {
                    let owner = Owner {
                        parent: 0,
                        column: number as u8,
                        code,
                    };
                    buckets.add_count(owner, 1);
                }
            };
            if is_counted_by_range && column.for_each_in(range.clone(), count) {
                self.buckets.flush()?;
                continue;
            }
            column.for_each(docs, |position, code| {
                if notes_answers {
                    is_answered[position] = true;
                }
                if accepted.is_none_or(|accepted| accepted[code as usize]) {
                    let owner = Owner {
                        parent: parents[position],
                        column: number as u8,
                        code,
                    };
                    buckets.add(docs[position], owner);
                }
            });
            self.buckets.flush()?;
        }
        if self.missing.is_some() {
            for (position, is_answered) in self.is_answered.iter().enumerate() {
                if !is_answered {
                    let owner = Owner {
                        parent: parents[position],
                        column: MISSING_COLUMN,
                        code: 0,
                    };
                    self.buckets.add(docs[position], owner);
                }
            }
            self.buckets.flush()?;
        }
        Ok(())
    }

    fn finish(
        self: Box<Self>,
        parent_count: usize,
    ) -> Result<Vec<PartialAggregation>, AggregateError> {
        let mut meter = self.meter;
        let (columns, filter, shard) = (self.columns, self.filter, self.shard);
        let kind = columns.iter().filter_map(TermColumn::kind).max();
        let missing = self.missing;
        let mut buckets = self.buckets;
        let mut unnamed = Vec::new();
        if self.named_max.is_some_and(|max| buckets.len() > max) {
            for (number, column) in columns.iter().enumerate() {
                if let TermColumn::Text(column, _) = column {
                    let counts = buckets.take_counts(|owner| usize::from(owner.column) == number);
                    unnamed.push(Unnamed::new(column.clone(), shard.clone(), counts));
                }
            }
            let bytes: usize = unnamed.iter().map(Unnamed::byte_size).sum();
            meter.grow_to(bytes as u64)?;
        }
        let keys_of = |owners: &[Owner]| keys(owners, &columns, missing.as_ref(), &filter, &shard);
        let mut found = buckets.finish(parent_count, kind, keys_of)?;
        if let Some(only) = found.first_mut() {
            only.unnamed = unnamed;
        }
        if self.tells_empty {
            for column in &columns {
                let keys = column.keys(&column.some_codes(), &shard)?;
                let bytes: usize = keys.iter().map(Key::byte_size).sum();
                meter.grow_to((bytes * 2 * found.len()) as u64)?;
                let keys: Vec<Key> = keys.into_iter().filter(|key| filter.has(key)).collect();
                found
                    .iter_mut()
                    .for_each(|buckets| add_empty(buckets, &keys));
            }
        }
        Ok(found.into_iter().map(PartialAggregation::Buckets).collect())
    }
}

fn add_empty(buckets: &mut PartialBuckets, keys: &[Key]) {
    for key in keys {
        buckets.by_key.entry(key.clone()).or_default();
    }
}

/// Numbers are tested here, one test per bucket; texts were tested when the segment was opened.
fn keys(
    owners: &[Owner],
    columns: &[TermColumn],
    missing: Option<&Key>,
    filter: &TermsFilter,
    shard: &str,
) -> Result<Vec<Option<Key>>, AggregateError> {
    let mut keys: Vec<Option<Key>> = vec![None; owners.len()];
    for (number, column) in columns.iter().enumerate() {
        let mine = |owner: &&Owner| owner.column == number as u8;
        let codes: Vec<u64> = owners.iter().filter(mine).map(|owner| owner.code).collect();
        let mut column_keys = column.keys(&codes, shard)?.into_iter();
        for (owner, key) in owners.iter().zip(&mut keys) {
            if mine(&owner) {
                *key = column_keys.next().filter(|key| filter.has(key));
            }
        }
    }
    for (owner, key) in owners.iter().zip(&mut keys) {
        if owner.column == MISSING_COLUMN {
            *key = missing.cloned();
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_lists_patterns_and_partitions() {
        let filter = TermsFilter {
            include: Some(Regex::new("^(?:web-.*)$").unwrap()),
            exclude_keys: vec![Key::from("web-3")],
            ..TermsFilter::default()
        };
        let taken = ["web-1", "web-3", "db-1"].map(|name| filter.has(&Key::from(name)));
        assert_eq!(taken, [true, false, false]);

        let parts: Vec<usize> = (0..3)
            .map(|part| {
                let filter = TermsFilter {
                    partition: Some((part, 3)),
                    ..TermsFilter::default()
                };
                let keys = (0..300).map(|n| Key::from(format!("host-{n}").as_str()));
                keys.filter(|key| filter.has(key)).count()
            })
            .collect();
        assert_eq!(parts.iter().sum::<usize>(), 300);
        assert!(parts.iter().all(|count| *count > 50), "{parts:?}");
    }

    #[test]
    fn a_value_a_document_has_twice_counts_once() {
        let mut seen = Vec::new();
        distinct(
            &[0, 0, 0, 2],
            &[7u64, 3, 7, 7],
            |v| v,
            |p, c| seen.push((p, c)),
        );
        assert_eq!(seen, [(0, 3), (0, 7), (2, 7)]);
    }
}
