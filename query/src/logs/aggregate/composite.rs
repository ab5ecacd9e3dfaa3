//! `composite`: one bucket per combination of values, in pages.
//!
//! A segment keeps only the first `size` combinations after the page's beginning: no later one can be among the
//! first `size` of all segments, because combinations are ordered by nothing but their keys.

use std::cmp::Ordering;

use rustc_hash::FxHashMap;
use tantivy::DocId;

use super::buckets::SegmentBuckets;
use super::collector::{Collect, Meter, Segment};
use super::histogram::Histogram;
use super::key::Key;
use super::partial::PartialAggregation;
use super::rounding::Rounding;
use super::slots::Owner;
use super::terms::TermColumn;
use super::values::{INDEX_FIELD, NumberSource, Numbers};
use super::{AggregateError, Aggregations, Ordinal};

/// One bucket per combination of one value of each source. Keys are [`Key::Several`].
#[derive(Debug, Clone, PartialEq)]
pub struct Composite {
    /// Where the parts of the key come from; at least one.
    pub sources: Vec<Source>,
    /// How many buckets a page has.
    pub size: usize,
    /// The key of the last bucket of the page before.
    pub after: Option<Vec<Option<Key>>>,
}

/// One part of the key.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// The field.
    pub field: String,
    /// What is made of the field's values.
    pub kind: SourceKind,
    /// Largest first.
    pub descending: bool,
    /// Whether events without a value have a bucket too.
    pub has_missing: bool,
    /// Whether that bucket comes first; `None`: as the smallest value would.
    pub missing_first: Option<bool>,
}

/// What is made of a field's values.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceKind {
    /// The values themselves.
    Terms,
    /// Intervals of numbers.
    Histogram {
        /// Their length, above 0.
        interval: f64,
    },
    /// Intervals of time.
    DateHistogram(Rounding),
}

impl Composite {
    /// Which of two keys comes first.
    pub(super) fn compare(&self, a: &[Option<Key>], b: &[Option<Key>]) -> Ordering {
        for ((a, b), source) in a.iter().zip(b).zip(&self.sources) {
            let missing_first = source.missing_first.unwrap_or(!source.descending);
            let missing = if missing_first {
                Ordering::Less
            } else {
                Ordering::Greater
            };
            let order = match (a, b) {
                (Some(a), Some(b)) if source.descending => compare_values(b, a),
                (Some(a), Some(b)) => compare_values(a, b),
                (None, None) => Ordering::Equal,
                (None, Some(_)) => missing,
                (Some(_), None) => missing.reverse(),
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        Ordering::Equal
    }

    /// Whether a key belongs to this page or a later one.
    pub(super) fn is_after(&self, key: &Key) -> bool {
        match (key, &self.after) {
            (Key::Several(key), Some(after)) => self.compare(key, after).is_gt(),
            _ => true,
        }
    }

    /// Orders keys of this composite.
    pub(super) fn compare_keys(&self, a: &Key, b: &Key) -> Ordering {
        match (a, b) {
            (Key::Several(a), Key::Several(b)) => self.compare(a, b),
            _ => a.cmp(b),
        }
    }
}

/// A client sends the time of the page before as the number it got.
fn compare_values(a: &Key, b: &Key) -> Ordering {
    match (a, b) {
        (Key::Time(a), Key::Integer(b)) | (Key::Integer(a), Key::Time(b)) => a.cmp(b),
        _ => a.cmp(b),
    }
}

pub(super) fn open(
    request: &Composite,
    children: &Aggregations,
    segment: Segment<'_>,
) -> Result<Box<dyn Collect>, AggregateError> {
    let sources: Result<Vec<SourceReader>, AggregateError> = request
        .sources
        .iter()
        .map(|source| SourceReader::open(source, segment))
        .collect();
    Ok(Box::new(CompositeCollector {
        request: request.clone(),
        sources: sources?,
        combinations: FxHashMap::default(),
        buckets: SegmentBuckets::open(children, segment, None)?,
        shard: segment.shard.name(),
        meter: Meter::new(segment.budget),
    }))
}

/// A value of a source in this segment: its column and its code there. `None`: no value.
type Code = Option<(u8, u64)>;
type Combination = Box<[Code]>;

struct SourceReader {
    values: SourceValues,
    has_missing: bool,
    /// Position in the block and code; ascending by position.
    found: Vec<(u32, Code)>,
}

enum SourceValues {
    Index,
    Terms(Vec<TermColumn>),
    Histogram(Numbers, Histogram),
    DateHistogram(Numbers, Rounding),
}

impl SourceReader {
    fn open(source: &Source, segment: Segment<'_>) -> Result<SourceReader, AggregateError> {
        let number_source = NumberSource {
            field: source.field.clone(),
            ..NumberSource::default()
        };
        let numbers = || Numbers::open(segment.shard, segment.number, &number_source);
        let values = match &source.kind {
            SourceKind::Terms if source.field == INDEX_FIELD => SourceValues::Index,
            SourceKind::Terms => {
                let columns = segment.shard.columns(segment.number, &source.field)?;
                SourceValues::Terms(columns.into_iter().map(TermColumn::new).collect())
            }
            SourceKind::Histogram { interval } => {
                let histogram = Histogram {
                    source: number_source.clone(),
                    interval: *interval,
                    offset: 0.0,
                    min_count: 0,
                    extended_bounds: None,
                    hard_bounds: None,
                    order: Vec::new(),
                };
                SourceValues::Histogram(numbers()?, histogram)
            }
            SourceKind::DateHistogram(rounding) => {
                SourceValues::DateHistogram(numbers()?, rounding.clone())
            }
        };
        Ok(SourceReader {
            values,
            has_missing: source.has_missing,
            found: Vec::new(),
        })
    }

    fn read(&mut self, docs: &[DocId]) {
        let found = &mut self.found;
        found.clear();
        match &mut self.values {
            SourceValues::Index => {
                found.extend((0..docs.len() as u32).map(|position| (position, Some((0, 0)))));
            }
            SourceValues::Terms(columns) => {
                for (number, column) in columns.iter_mut().enumerate() {
                    column.for_each(docs, |position, code| {
                        found.push((position as u32, Some((number as u8, code))));
                    });
                }
            }
            SourceValues::Histogram(numbers, histogram) => {
                numbers.for_each(docs, |position, value| {
                    let index = histogram.index(value);
                    found.push((position as u32, Some((0, index as u64))));
                });
            }
            SourceValues::DateHistogram(numbers, rounding) => {
                let mut current = (0, 0);
                numbers.for_each(docs, |position, value| {
                    let millis = value as i64;
                    if millis < current.0 || millis >= current.1 {
                        let start = rounding.floor(millis);
                        current = (start, rounding.next(start));
                    }
                    found.push((position as u32, Some((0, current.0 as u64))));
                });
            }
        }
        if self.has_missing {
            let mut is_answered = vec![false; docs.len()];
            found
                .iter()
                .for_each(|(position, _)| is_answered[*position as usize] = true);
            let missing = is_answered.iter().enumerate().filter(|(_, is)| !**is);
            let missing: Vec<(u32, Code)> = missing.map(|(at, _)| (at as u32, None)).collect();
            found.extend(missing);
        }
        found.sort_unstable();
        found.dedup();
    }

    fn keys(&self, codes: &[Code], shard: &str) -> Result<Vec<Option<Key>>, AggregateError> {
        match &self.values {
            SourceValues::Index => Ok(vec![Some(Key::from(shard)); codes.len()]),
            SourceValues::Histogram(_, histogram) => {
                let key =
                    |code: &Code| code.map(|(_, index)| Key::number(histogram.start(index as i64)));
                Ok(codes.iter().map(key).collect())
            }
            SourceValues::DateHistogram(..) => {
                let key = |code: &Code| code.map(|(_, start)| Key::Time(start as i64));
                Ok(codes.iter().map(key).collect())
            }
            SourceValues::Terms(columns) => {
                let mut keys = vec![None; codes.len()];
                for (number, column) in columns.iter().enumerate() {
                    let mine = |code: &Code| code.filter(|code| code.0 == number as u8);
                    let wanted: Vec<u64> =
                        codes.iter().filter_map(mine).map(|code| code.1).collect();
                    let mut found = column.keys(&wanted, shard)?.into_iter();
                    for (code, key) in codes.iter().zip(&mut keys) {
                        if mine(code).is_some() {
                            *key = found.next();
                        }
                    }
                }
                Ok(keys)
            }
        }
    }
}

struct CompositeCollector {
    request: Composite,
    sources: Vec<SourceReader>,
    combinations: FxHashMap<Combination, u64>,
    buckets: SegmentBuckets,
    shard: String,
    meter: Meter,
}

impl Collect for CompositeCollector {
    fn collect(&mut self, docs: &[DocId], parents: &[Ordinal]) -> Result<(), AggregateError> {
        for source in &mut self.sources {
            source.read(docs);
        }
        let mut starts = vec![0usize; self.sources.len()];
        let mut picked: Vec<Code> = Vec::new();
        for (position, (doc, parent)) in docs.iter().zip(parents).enumerate() {
            let values: Vec<&[(u32, Code)]> = self
                .sources
                .iter()
                .zip(&mut starts)
                .map(|(source, start)| values_of(&source.found, start, position as u32))
                .collect();
            // Counts through all combinations of the document's values, the last source fastest.
            let combination_count: usize = values.iter().map(|values| values.len()).product();
            for number in 0..combination_count {
                picked.clear();
                let mut rest = number;
                for values in values.iter().rev() {
                    picked.push(values[rest % values.len()].1);
                    rest /= values.len();
                }
                picked.reverse();
                let code = match self.combinations.get(picked.as_slice()) {
                    Some(code) => *code,
                    None => {
                        let code = self.combinations.len() as u64;
                        self.combinations.insert(picked.as_slice().into(), code);
                        code
                    }
                };
                let owner = Owner {
                    parent: *parent,
                    column: 0,
                    code,
                };
                self.buckets.add(*doc, owner);
            }
        }
        let bytes = self.combinations.len() * (self.sources.len() * size_of::<Code>() + 32);
        self.meter.grow_to(bytes as u64)?;
        self.buckets.flush()
    }

    fn finish(
        self: Box<Self>,
        parent_count: usize,
    ) -> Result<Vec<PartialAggregation>, AggregateError> {
        let keys = self.keys()?;
        let request = self.request;
        let keys_of = |owners: &[Owner]| {
            let keys = owners.iter().map(|owner| {
                let key = keys.get(owner.code as usize)?;
                request.is_after(key).then(|| key.clone())
            });
            Ok(keys.collect())
        };
        let mut found = self.buckets.finish(parent_count, None, keys_of)?;
        for buckets in &mut found {
            if buckets.by_key.len() > request.size {
                let mut page: Vec<_> = std::mem::take(&mut buckets.by_key).into_iter().collect();
                page.sort_unstable_by(|a, b| request.compare_keys(&a.0, &b.0));
                page.truncate(request.size);
                buckets.by_key = page.into_iter().collect();
            }
        }
        Ok(found.into_iter().map(PartialAggregation::Buckets).collect())
    }
}

impl CompositeCollector {
    /// The keys of all combinations, by their code.
    fn keys(&self) -> Result<Vec<Key>, AggregateError> {
        let mut combinations: Vec<(&Combination, u64)> = self
            .combinations
            .iter()
            .map(|(combination, code)| (combination, *code))
            .collect();
        combinations.sort_unstable_by_key(|(_, code)| *code);
        let mut by_source = Vec::with_capacity(self.sources.len());
        for (number, source) in self.sources.iter().enumerate() {
            let codes: Vec<Code> = combinations
                .iter()
                .map(|(combination, _)| combination[number])
                .collect();
            by_source.push(source.keys(&codes, &self.shard)?);
        }
        let key = |at: usize| {
            let parts = by_source.iter().map(|keys| keys[at].clone());
            Key::Several(parts.collect())
        };
        Ok((0..combinations.len()).map(key).collect())
    }
}

/// The values of the document at `position`; `start` moves behind them.
fn values_of<'a>(found: &'a [(u32, Code)], start: &mut usize, position: u32) -> &'a [(u32, Code)] {
    let from = *start;
    let count = found[from..]
        .iter()
        .take_while(|(at, _)| *at == position)
        .count();
    *start = from + count;
    &found[from..from + count]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(descending: bool, missing_first: Option<bool>) -> Source {
        Source {
            name: "s".to_owned(),
            field: "f".to_owned(),
            kind: SourceKind::Terms,
            descending,
            has_missing: true,
            missing_first,
        }
    }

    #[test]
    fn keys_follow_each_sources_direction() {
        let composite = Composite {
            sources: vec![source(false, None), source(true, Some(true))],
            size: 10,
            after: Some(vec![Some(Key::from("a")), Some(Key::Integer(2))]),
        };
        let key = |a: &str, b: Option<i64>| {
            Key::Several([Some(Key::from(a)), b.map(Key::Integer)].into())
        };
        let mut keys = vec![
            key("b", Some(3)),
            key("a", Some(1)),
            key("a", None),
            key("a", Some(3)),
        ];
        keys.sort_by(|a, b| composite.compare_keys(a, b));
        let expected = [
            key("a", None),
            key("a", Some(3)),
            key("a", Some(1)),
            key("b", Some(3)),
        ];
        assert_eq!(keys, expected);
        let later = expected.map(|key| composite.is_after(&key));
        assert_eq!(later, [false, false, true, true]);
    }
}
