//! `cardinality` and `value_count`: how many different values, how many values; of any type.
//!
//! Different values are counted exactly, by their 64-bit hashes, up to the asked precision; above it a HyperLogLog
//! sketch of 2^14 registers takes over, whose error is about 0.8 %.

use std::hash::{DefaultHasher, Hash, Hasher};

use datasketches::hll::{HllSketch, HllType, HllUnion};
use rustc_hash::{FxHashMap, FxHashSet};
use tantivy::DocId;

use super::collector::{Collect, Meter, Segment};
use super::key::Key;
use super::moments::grow;
use super::partial::PartialAggregation;
use super::terms::TermColumn;
use super::values::INDEX_FIELD;
use super::{AggregateError, Ordinal};

/// Up to this many different values the answer is exact when the request says nothing else; as in Elasticsearch.
pub const CARDINALITY_PRECISION_DEFAULT: usize = 3_000;
/// The highest precision a request can ask for; as in Elasticsearch.
pub const CARDINALITY_PRECISION_MAX: usize = 40_000;

const REGISTERS_LOG2: u8 = 14;
/// How many texts are held at once while they are hashed.
const HASHED_AT_ONCE: usize = 16 * 1024;

/// Different values.
#[derive(Debug, Clone)]
pub(super) struct Distinct {
    exact: FxHashSet<u64>,
    sketch: Option<HllSketch>,
    precision: usize,
}

impl Distinct {
    fn new(precision: usize) -> Distinct {
        Distinct {
            exact: FxHashSet::default(),
            sketch: None,
            precision,
        }
    }

    fn add(&mut self, hash: u64) {
        match &mut self.sketch {
            Some(sketch) => sketch.update(hash),
            None => {
                self.exact.insert(hash);
                self.estimate_beyond_precision();
            }
        }
    }

    pub fn merge(&mut self, other: Distinct) {
        for hash in other.exact {
            self.add(hash);
        }
        let Some(theirs) = other.sketch else {
            return;
        };
        let mine = self.sketch.take().unwrap_or_else(new_sketch);
        let mut union = new_union();
        union.update(&mine);
        union.update(&theirs);
        for hash in self.exact.drain() {
            union.update_value(hash);
        }
        self.sketch = Some(union.to_sketch(HllType::Hll8));
    }

    /// How many there are.
    pub fn estimate(&self) -> u64 {
        match &self.sketch {
            Some(sketch) => sketch.estimate().round() as u64,
            None => self.exact.len() as u64,
        }
    }

    fn estimate_beyond_precision(&mut self) {
        if self.exact.len() > self.precision {
            let mut sketch = new_sketch();
            for hash in self.exact.drain() {
                sketch.update(hash);
            }
            self.sketch = Some(sketch);
        }
    }
}

fn new_sketch() -> HllSketch {
    HllSketch::new(REGISTERS_LOG2, HllType::Hll8).expect("14 is between 4 and 21")
}

fn new_union() -> HllUnion {
    HllUnion::new(REGISTERS_LOG2).expect("14 is between 4 and 21")
}

fn hash(key: &Key) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

pub(super) fn open(
    field: &str,
    missing: Option<&Key>,
    precision: usize,
    segment: Segment<'_>,
) -> Result<Box<dyn Collect>, AggregateError> {
    let columns = segment.shard.columns(segment.number, field)?;
    let index = Key::from(segment.shard.name().as_str());
    let missing = match field {
        INDEX_FIELD => Some(&index),
        _ => missing,
    };
    Ok(Box::new(DistinctCollector {
        columns: columns.into_iter().map(TermColumn::new).collect(),
        missing: missing.map(hash),
        precision,
        by_parent: Vec::new(),
        is_answered: Vec::new(),
        code_count: 0,
        shard: segment.shard.name(),
        meter: Meter::new(segment.budget),
    }))
}

struct DistinctCollector {
    columns: Vec<TermColumn>,
    missing: Option<u64>,
    precision: usize,
    by_parent: Vec<Codes>,
    is_answered: Vec<bool>,
    code_count: usize,
    shard: String,
    meter: Meter,
}

/// Different codes of one parent.
#[derive(Default)]
struct Codes {
    by_column: Vec<FxHashSet<u64>>,
    has_missing: bool,
    /// The last code of the last column: neighbours are often equal.
    last: Option<(usize, u64)>,
}

impl Collect for DistinctCollector {
    fn collect(&mut self, docs: &[DocId], parents: &[Ordinal]) -> Result<(), AggregateError> {
        grow(&mut self.by_parent, parents);
        self.is_answered.clear();
        self.is_answered.resize(docs.len(), false);
        for (number, column) in self.columns.iter_mut().enumerate() {
            let (by_parent, is_answered) = (&mut self.by_parent, &mut self.is_answered);
            let code_count = &mut self.code_count;
            column.for_each(docs, |position, code| {
                is_answered[position] = true;
                let codes = &mut by_parent[parents[position] as usize];
                if codes.last == Some((number, code)) {
                    return;
                }
                codes.last = Some((number, code));
                if codes.by_column.len() <= number {
                    codes.by_column.resize_with(number + 1, FxHashSet::default);
                }
                *code_count += usize::from(codes.by_column[number].insert(code));
            });
        }
        if self.missing.is_some() {
            for (position, is_answered) in self.is_answered.iter().enumerate() {
                if !is_answered {
                    self.by_parent[parents[position] as usize].has_missing = true;
                }
            }
        }
        let bytes = self.by_parent.len() * size_of::<Codes>() + self.code_count * 16;
        self.meter.grow_to(bytes as u64)
    }

    fn finish(
        mut self: Box<Self>,
        parent_count: usize,
    ) -> Result<Vec<PartialAggregation>, AggregateError> {
        self.by_parent.resize_with(parent_count, Codes::default);
        let mut found: Vec<Distinct> = vec![Distinct::new(self.precision); parent_count];
        for (number, column) in self.columns.iter().enumerate() {
            let hashes = hashes(column, number, &self.by_parent, &self.shard, &self.meter)?;
            for (distinct, codes) in found.iter_mut().zip(&self.by_parent) {
                for code in codes.by_column.get(number).into_iter().flatten() {
                    if let Some(hash) = hashes.get(code) {
                        distinct.add(*hash);
                    }
                }
            }
        }
        for (distinct, codes) in found.iter_mut().zip(&self.by_parent) {
            if let Some(hash) = self.missing.filter(|_| codes.has_missing) {
                distinct.add(hash);
            }
        }
        let found = found.into_iter();
        Ok(found
            .map(|distinct| PartialAggregation::Distinct(Box::new(distinct)))
            .collect())
    }
}

/// The hash of every code that some parent has in this column.
fn hashes(
    column: &TermColumn,
    number: usize,
    by_parent: &[Codes],
    shard: &str,
    meter: &Meter,
) -> Result<FxHashMap<u64, u64>, AggregateError> {
    let mut codes: Vec<u64> = by_parent
        .iter()
        .filter_map(|codes| codes.by_column.get(number))
        .flatten()
        .copied()
        .collect();
    codes.sort_unstable();
    codes.dedup();
    let mut hashes = FxHashMap::default();
    hashes.reserve(codes.len());
    for codes in codes.chunks(HASHED_AT_ONCE) {
        meter.check()?;
        let keys = column.keys(codes, shard)?;
        hashes.extend(codes.iter().copied().zip(keys.iter().map(hash)));
    }
    Ok(hashes)
}

pub(super) fn open_value_count(
    field: &str,
    has_missing: bool,
    segment: Segment<'_>,
) -> Result<Box<dyn Collect>, AggregateError> {
    let columns = segment.shard.columns(segment.number, field)?;
    let counts_all = has_missing || field == INDEX_FIELD;
    Ok(Box::new(ValueCountCollector {
        columns: columns.into_iter().map(TermColumn::new).collect(),
        has_missing: counts_all,
        by_parent: Vec::new(),
        is_answered: Vec::new(),
    }))
}

/// A value a document has twice counts once, as it does for keywords in Elasticsearch.
struct ValueCountCollector {
    columns: Vec<TermColumn>,
    has_missing: bool,
    by_parent: Vec<u64>,
    is_answered: Vec<bool>,
}

impl Collect for ValueCountCollector {
    fn collect(&mut self, docs: &[DocId], parents: &[Ordinal]) -> Result<(), AggregateError> {
        grow(&mut self.by_parent, parents);
        self.is_answered.clear();
        self.is_answered.resize(docs.len(), false);
        for column in &mut self.columns {
            let (by_parent, is_answered) = (&mut self.by_parent, &mut self.is_answered);
            column.for_each(docs, |position, _| {
                by_parent[parents[position] as usize] += 1;
                is_answered[position] = true;
            });
        }
        if self.has_missing {
            for (position, is_answered) in self.is_answered.iter().enumerate() {
                self.by_parent[parents[position] as usize] += u64::from(!is_answered);
            }
        }
        Ok(())
    }

    fn finish(
        mut self: Box<Self>,
        parent_count: usize,
    ) -> Result<Vec<PartialAggregation>, AggregateError> {
        self.by_parent.resize(parent_count, 0);
        let counts = self.by_parent.into_iter();
        Ok(counts.map(PartialAggregation::Count).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(range: std::ops::Range<i64>, precision: usize) -> Distinct {
        let mut distinct = Distinct::new(precision);
        range.for_each(|number| distinct.add(hash(&Key::Integer(number))));
        distinct
    }

    #[test]
    fn it_is_exact_up_to_the_precision_and_close_beyond() {
        assert_eq!(of(0..3000, 3000).estimate(), 3000);
        let estimate = of(0..100_000, 3000).estimate() as f64;
        assert!((estimate / 100_000.0 - 1.0).abs() < 0.03, "{estimate}");
    }

    #[test]
    fn values_both_sides_have_count_once() {
        let cases = [
            (0..100, 50..150, 3000, 150.0),
            (0..5000, 2500..7500, 3000, 7500.0),
            (0..5000, 4900..5100, 3000, 5100.0),
            (0..100, 50..5100, 3000, 5100.0),
        ];
        for (mine, theirs, precision, expected) in cases {
            let mut merged = of(mine, precision);
            merged.merge(of(theirs, precision));
            let ratio = merged.estimate() as f64 / expected;
            let allowed = if expected <= 3000.0 { 0.0 } else { 0.03 };
            assert!((ratio - 1.0).abs() <= allowed, "{ratio} of {expected}");
        }
    }
}
