//! `top_metrics` and `top_hits`: the first events by some order.

use std::cmp::Ordering;
use std::sync::Arc;

use indexer::logs::{ShardReader, ValueColumn};
use tantivy::{DocId, f64_to_u64, i64_to_u64, u64_to_f64, u64_to_i64};

use super::collector::{Collect, Meter, Segment};
use super::key::Key;
use super::moments::grow;
use super::partial::{PartialAggregation, PartialTop};
use super::results::{TopEntry, TopHit};
use super::terms::TermColumn;
use super::{AggregateError, Ordinal};

/// The first events by some order, and some of their values.
#[derive(Debug, Clone, PartialEq)]
pub struct TopMetrics {
    /// The order.
    pub sort: Vec<SortField>,
    /// The fields whose values are told.
    pub fields: Vec<String>,
    /// How many events.
    pub size: usize,
}

/// The first events by some order, whole.
#[derive(Debug, Clone, PartialEq)]
pub struct TopHits {
    /// The order; of equal ones, or without an order, those stored first come first.
    pub sort: Vec<SortField>,
    /// How many are skipped.
    pub from: usize,
    /// How many are told after those.
    pub size: usize,
}

/// What events are ordered by. Events without a value come last.
#[derive(Debug, Clone, PartialEq)]
pub struct SortField {
    /// The field; of several values the smallest counts, or the largest when descending.
    pub field: String,
    /// Largest first.
    pub descending: bool,
}

/// A value that events are ordered by, or that is told of them.
#[derive(Debug, Clone, PartialEq)]
pub enum SortValue {
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// Truth.
    Bool(bool),
    /// Milliseconds since 1970.
    Time(i64),
    /// A text.
    Text(Box<str>),
}

impl SortValue {
    /// The number a client sees; `None` for texts.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            SortValue::Integer(value) | SortValue::Time(value) => Some(*value as f64),
            SortValue::Float(value) => Some(*value),
            SortValue::Bool(value) => Some(f64::from(u8::from(*value))),
            SortValue::Text(_) => None,
        }
    }

    fn of(key: Key) -> SortValue {
        match key {
            Key::Integer(value) => SortValue::Integer(value),
            Key::Unsigned(value) => SortValue::Float(value as f64),
            Key::Float(bits) => SortValue::Float(f64::from_bits(bits)),
            Key::Bool(value) => SortValue::Bool(value),
            Key::Time(value) => SortValue::Time(value),
            Key::Text(text) => SortValue::Text(text),
            Key::Several(_) => SortValue::Bool(false),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            SortValue::Integer(_) | SortValue::Float(_) => 0,
            SortValue::Bool(_) => 1,
            SortValue::Time(_) => 2,
            SortValue::Text(_) => 3,
        }
    }

    fn compare(&self, other: &SortValue) -> Ordering {
        match (self, other) {
            (SortValue::Integer(a), SortValue::Integer(b))
            | (SortValue::Time(a), SortValue::Time(b)) => a.cmp(b),
            (SortValue::Bool(a), SortValue::Bool(b)) => a.cmp(b),
            (SortValue::Text(a), SortValue::Text(b)) => a.cmp(b),
            _ if self.rank() != other.rank() => self.rank().cmp(&other.rank()),
            _ => {
                let a = self.as_f64().unwrap_or(f64::NAN);
                a.total_cmp(&other.as_f64().unwrap_or(f64::NAN))
            }
        }
    }
}

/// Which of two events comes first; what has no value comes last in either direction.
pub(super) fn compare(
    a: &[Option<SortValue>],
    b: &[Option<SortValue>],
    descending: &[bool],
) -> Ordering {
    for ((a, b), descending) in a.iter().zip(b).zip(descending) {
        let order = match (a, b) {
            (Some(a), Some(b)) if *descending => b.compare(a),
            (Some(a), Some(b)) => a.compare(b),
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

pub(super) fn open_metrics(
    request: &TopMetrics,
    segment: Segment<'_>,
) -> Result<Box<dyn Collect>, AggregateError> {
    let metrics: Result<Vec<SortColumns>, AggregateError> = request
        .fields
        .iter()
        .map(|field| SortColumns::open(field, false, segment))
        .collect();
    open(
        &request.sort,
        request.size,
        Told::Metrics(metrics?),
        segment,
    )
}

pub(super) fn open_hits(
    request: &TopHits,
    segment: Segment<'_>,
) -> Result<Box<dyn Collect>, AggregateError> {
    let told = Told::Hits {
        shard: segment.shard.clone(),
        segment: segment.number,
    };
    open(&request.sort, request.from + request.size, told, segment)
}

fn open(
    sort: &[SortField],
    size: usize,
    told: Told,
    segment: Segment<'_>,
) -> Result<Box<dyn Collect>, AggregateError> {
    let columns: Result<Vec<SortColumns>, AggregateError> = sort
        .iter()
        .map(|field| SortColumns::open(&field.field, field.descending, segment))
        .collect();
    Ok(Box::new(TopCollector {
        sort: columns?,
        descending: sort.iter().map(|field| field.descending).collect(),
        size,
        told,
        by_parent: Vec::new(),
        shard: segment.shard.name(),
        meter: Meter::new(segment.budget),
    }))
}

/// What is told of the events found.
enum Told {
    Metrics(Vec<SortColumns>),
    Hits { shard: ShardReader, segment: usize },
}

/// A value of this segment that compares like the value itself: rank of its type, then ordered bits.
type Code = (u8, u64);

/// The columns of a field, read as codes.
struct SortColumns {
    columns: Vec<TermColumn>,
    descending: bool,
    codes: Vec<Option<Code>>,
}

impl SortColumns {
    fn open(
        field: &str,
        descending: bool,
        segment: Segment<'_>,
    ) -> Result<SortColumns, AggregateError> {
        let columns: Vec<ValueColumn> = segment.shard.columns(segment.number, field)?;
        Ok(SortColumns {
            columns: columns.into_iter().map(TermColumn::new).collect(),
            descending,
            codes: Vec::new(),
        })
    }

    /// The code to order by, for each document of the block.
    fn read(&mut self, docs: &[DocId]) {
        self.codes.clear();
        self.codes.resize(docs.len(), None);
        let (codes, descending) = (&mut self.codes, self.descending);
        for column in &mut self.columns {
            let rank = rank(column);
            let encode = encoder(column);
            column.for_each(docs, |position, code| {
                let code = (rank, encode(code));
                let chosen = match codes[position] {
                    Some(known) if descending => known.max(code),
                    Some(known) => known.min(code),
                    None => code,
                };
                codes[position] = Some(chosen);
            });
        }
    }

    /// Back from codes to values.
    fn values(
        &self,
        codes: &[Option<Code>],
        shard: &str,
    ) -> Result<Vec<Option<SortValue>>, AggregateError> {
        let mut values = vec![None; codes.len()];
        for column in &self.columns {
            let rank = rank(column);
            let mine = |code: &Option<Code>| code.filter(|code| code.0 == rank);
            let wanted: Vec<u64> = codes
                .iter()
                .filter_map(mine)
                .map(|code| decode(column, code.1))
                .collect();
            let mut keys = column.keys(&wanted, shard)?.into_iter();
            for (code, value) in codes.iter().zip(&mut values) {
                if mine(code).is_some() {
                    *value = keys.next().map(SortValue::of);
                }
            }
        }
        Ok(values)
    }
}

fn rank(column: &TermColumn) -> u8 {
    match column {
        TermColumn::Integer(..) => 0,
        TermColumn::Unsigned(..) => 1,
        TermColumn::Float(..) => 2,
        TermColumn::Bool(..) => 3,
        TermColumn::Time(..) => 4,
        TermColumn::Text(..) => 5,
    }
}

/// From the codes of [`TermColumn`], which only tell values apart, to codes that are ordered.
fn encoder(column: &TermColumn) -> fn(u64) -> u64 {
    match column {
        TermColumn::Integer(..) | TermColumn::Time(..) => |code| i64_to_u64(code as i64),
        TermColumn::Float(..) => |code| f64_to_u64(f64::from_bits(code)),
        _ => |code| code,
    }
}

fn decode(column: &TermColumn, code: u64) -> u64 {
    match column {
        TermColumn::Integer(..) | TermColumn::Time(..) => u64_to_i64(code) as u64,
        TermColumn::Float(..) => u64_to_f64(code).to_bits(),
        _ => code,
    }
}

struct TopCollector {
    sort: Vec<SortColumns>,
    descending: Vec<bool>,
    size: usize,
    told: Told,
    by_parent: Vec<Best>,
    shard: String,
    meter: Meter,
}

/// The best documents of one parent so far, best first.
#[derive(Default)]
struct Best {
    count: u64,
    docs: Vec<(DocId, Vec<Option<Code>>)>,
}

impl Collect for TopCollector {
    fn collect(&mut self, docs: &[DocId], parents: &[Ordinal]) -> Result<(), AggregateError> {
        grow(&mut self.by_parent, parents);
        for columns in &mut self.sort {
            columns.read(docs);
        }
        let mut codes: Vec<Option<Code>> = Vec::with_capacity(self.sort.len());
        for (position, (doc, parent)) in docs.iter().zip(parents).enumerate() {
            let best = &mut self.by_parent[*parent as usize];
            best.count += 1;
            codes.clear();
            codes.extend(self.sort.iter().map(|columns| columns.codes[position]));
            best.offer(*doc, &mut codes, self.size, &self.descending);
        }
        let entry_bytes = size_of::<(DocId, Vec<Option<Code>>)>() + self.sort.len() * 24;
        let bytes = self.by_parent.len() * (size_of::<Best>() + self.size.min(64) * entry_bytes);
        self.meter.grow_to(bytes as u64)
    }

    fn finish(
        mut self: Box<Self>,
        parent_count: usize,
    ) -> Result<Vec<PartialAggregation>, AggregateError> {
        self.by_parent.resize_with(parent_count, Best::default);
        let by_parent = std::mem::take(&mut self.by_parent);
        let mut entries = self.entries(&by_parent)?.into_iter();
        let found = by_parent.iter().map(|best| {
            PartialAggregation::Top(PartialTop {
                entries: entries.by_ref().take(best.docs.len()).collect(),
                count: best.count,
                size: self.size,
                descending: self.descending.clone(),
            })
        });
        Ok(found.collect())
    }
}

impl TopCollector {
    /// The entries of all parents, one parent after the other.
    fn entries(&mut self, by_parent: &[Best]) -> Result<Vec<TopEntry>, AggregateError> {
        let docs: Vec<&(DocId, Vec<Option<Code>>)> =
            by_parent.iter().flat_map(|best| &best.docs).collect();
        let mut entries: Vec<TopEntry> = docs
            .iter()
            .map(|_| TopEntry {
                sort: Vec::with_capacity(self.sort.len()),
                metrics: Vec::new(),
                hit: None,
            })
            .collect();
        for (number, columns) in self.sort.iter().enumerate() {
            let codes: Vec<Option<Code>> = docs.iter().map(|(_, codes)| codes[number]).collect();
            let values = columns.values(&codes, &self.shard)?;
            for (entry, value) in entries.iter_mut().zip(values) {
                entry.sort.push(value);
            }
        }
        match &mut self.told {
            Told::Metrics(metrics) => {
                let ids: Vec<DocId> = docs.iter().map(|(doc, _)| *doc).collect();
                for columns in metrics {
                    columns.read(&ids);
                    let values = columns.values(&columns.codes, &self.shard)?;
                    for (entry, value) in entries.iter_mut().zip(values) {
                        entry.metrics.push(value);
                    }
                }
            }
            Told::Hits { shard, segment } => {
                let mut bytes = 0;
                for (entry, (doc, _)) in entries.iter_mut().zip(docs) {
                    self.meter.check()?;
                    let hit = shard.event(*segment, *doc)?;
                    bytes += hit.source.len() as u64;
                    self.meter.grow_to(bytes)?;
                    entry.hit = Some(Arc::new(TopHit {
                        index: self.shard.clone(),
                        hit,
                    }));
                }
            }
        }
        Ok(entries)
    }
}

impl Best {
    /// Takes a document in when it is among the best; leaves something to reuse in `codes`.
    fn offer(
        &mut self,
        doc: DocId,
        codes: &mut Vec<Option<Code>>,
        size: usize,
        descending: &[bool],
    ) {
        let is_before = |known: &Vec<Option<Code>>| compare_codes(codes, known, descending).is_lt();
        let is_full = self.docs.len() >= size;
        if is_full && !self.docs.last().is_some_and(|(_, worst)| is_before(worst)) {
            return;
        }
        let place = self.docs.partition_point(|(_, known)| !is_before(known));
        let reused = if is_full { self.docs.pop() } else { None };
        let mut entry = reused.map_or_else(Vec::new, |(_, codes)| codes);
        std::mem::swap(&mut entry, codes);
        self.docs.insert(place, (doc, entry));
    }
}

fn compare_codes(a: &[Option<Code>], b: &[Option<Code>], descending: &[bool]) -> Ordering {
    for ((a, b), descending) in a.iter().zip(b).zip(descending) {
        let order = match (a, b) {
            (Some(a), Some(b)) if *descending => b.cmp(a),
            (Some(a), Some(b)) => a.cmp(b),
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_kept_in_order_and_the_first_of_equals_wins() {
        let mut best = Best::default();
        let offers = [Some(3), Some(9), None, Some(9), Some(5), Some(1)];
        for (doc, code) in offers.into_iter().enumerate() {
            let mut codes = vec![code.map(|code| (0, code))];
            best.offer(doc as DocId, &mut codes, 3, &[true]);
        }
        let docs: Vec<DocId> = best.docs.iter().map(|(doc, _)| *doc).collect();
        assert_eq!(docs, [1, 3, 4]);
    }

    #[test]
    fn events_without_a_value_come_last_in_both_directions() {
        let one = [Some(SortValue::Integer(1))];
        let half = [Some(SortValue::Float(0.5))];
        assert_eq!(compare(&one, &[None], &[false]), Ordering::Less);
        assert_eq!(compare(&one, &[None], &[true]), Ordering::Less);
        assert_eq!(compare(&one, &half, &[false]), Ordering::Greater);
        assert_eq!(compare(&one, &half, &[true]), Ordering::Less);
    }
}
