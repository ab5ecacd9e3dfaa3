//! Reads what hits are ordered by, document for document, in one segment.

use std::ops::Bound;

use indexer::logs::{ReadError, ShardReader, ValueColumn};
use tantivy::columnar::{Column, StrColumn};
use tantivy::{DateTime, DocId};

use super::rank::Rank;
use crate::logs::filter::TIMESTAMP_FIELD;
use crate::logs::plan::{Missing, Pick, Resolution, SortBy, SortKey, SortValue};

/// One key of the order in one segment.
pub(super) struct KeyReader {
    key: SortKey,
    source: Source,
    missing: Rank,
}

enum Source {
    Time(Column<DateTime>, Resolution),
    Position(Column<u64>),
    Columns(Vec<ValueColumn>, Resolution),
    /// The same for every document of the shard.
    Same(SortValue),
}

impl KeyReader {
    /// Opens the columns a key needs.
    pub fn open(
        key: &SortKey,
        shard: &ShardReader,
        segment: usize,
    ) -> Result<KeyReader, ReadError> {
        let source = match &key.by {
            SortBy::Time(resolution) => {
                Source::Time(shard.timestamps(segment).clone(), *resolution)
            }
            SortBy::Field(field, resolution) if field == TIMESTAMP_FIELD => {
                Source::Time(shard.timestamps(segment).clone(), *resolution)
            }
            SortBy::Field(field, resolution) => {
                Source::Columns(shard.columns(segment, field)?, *resolution)
            }
            SortBy::Position => Source::Position(shard.positions(segment).clone()),
            SortBy::ShardName => Source::Same(SortValue::Text(shard.name())),
            SortBy::Nothing => Source::Same(SortValue::Integer(0)),
        };
        let mut reader = KeyReader {
            key: key.clone(),
            source,
            missing: Rank::missing(&key.missing),
        };
        if let Missing::Value(value) = &key.missing {
            reader.missing = reader.rank_of(value);
        }
        Ok(reader)
    }

    /// The document's place, directed: smaller comes first.
    pub fn rank(&self, doc: DocId) -> Rank {
        let descending = self.key.descending;
        match &self.source {
            Source::Time(column, resolution) => match column.first(doc) {
                Some(time) => time_rank(time, *resolution).directed(descending),
                None => self.missing,
            },
            Source::Position(column) => match column.first(doc) {
                Some(position) => Rank::unsigned(position).directed(descending),
                None => self.missing,
            },
            Source::Same(SortValue::Text(_)) => Rank::text(1).directed(descending),
            Source::Same(_) => Rank::integer(0).directed(descending),
            Source::Columns(columns, resolution) => {
                let largest = match self.key.pick {
                    None => descending,
                    Some(pick) => pick == Pick::Largest,
                };
                let ranks = columns.iter().map(|column| {
                    let ranks = ranks(column, doc, *resolution);
                    if largest { ranks.max() } else { ranks.min() }
                });
                let ranks = ranks.flatten();
                let picked = if largest { ranks.max() } else { ranks.min() };
                picked.map_or(self.missing, |rank| rank.directed(descending))
            }
        }
    }

    /// Where a value would stand in this segment, directed.
    pub fn rank_of(&self, value: &SortValue) -> Rank {
        let descending = self.key.descending;
        let text = match value {
            SortValue::Missing => return Rank::missing(&self.key.missing),
            SortValue::Text(text) => text,
            number => {
                return Rank::of_number(number)
                    .unwrap_or_default()
                    .directed(descending);
            }
        };
        let place = match &self.source {
            Source::Columns(columns, _) => columns
                .iter()
                .find_map(|column| match column {
                    ValueColumn::Text(texts) => Some(text_place(texts, text)),
                    _ => None,
                })
                .unwrap_or(0),
            Source::Same(SortValue::Text(name)) => match text.as_str().cmp(name) {
                std::cmp::Ordering::Less => 0,
                std::cmp::Ordering::Equal => 1,
                std::cmp::Ordering::Greater => 2,
            },
            Source::Time(..) | Source::Position(_) | Source::Same(_) => 0,
        };
        Rank::text(place).directed(descending)
    }

    /// The value that gave a document its rank, as a client is told it.
    pub fn value(&self, doc: DocId) -> SortValue {
        match &self.source {
            Source::Time(column, resolution) => match column.first(doc) {
                Some(time) => SortValue::Integer(time_number(time, *resolution)),
                None => SortValue::Missing,
            },
            Source::Position(column) => match column.first(doc) {
                Some(position) => SortValue::Integer(position as i64),
                None => SortValue::Missing,
            },
            Source::Same(value) => value.clone(),
            Source::Columns(columns, resolution) => {
                let wanted = self.rank(doc);
                if wanted == self.missing {
                    return SortValue::Missing;
                }
                let undirected = wanted.directed(self.key.descending);
                columns
                    .iter()
                    .find_map(|column| value_at(column, doc, undirected, *resolution))
                    .unwrap_or(SortValue::Missing)
            }
        }
    }
}

fn time_number(time: DateTime, resolution: Resolution) -> i64 {
    resolution.of(event::Timestamp::from_nanos(time.into_timestamp_nanos()))
}

/// The undirected place of a time.
pub(super) fn time_rank(time: DateTime, resolution: Resolution) -> Rank {
    Rank::integer(time_number(time, resolution))
}

fn ranks(
    column: &ValueColumn,
    doc: DocId,
    resolution: Resolution,
) -> Box<dyn Iterator<Item = Rank> + '_> {
    match column {
        ValueColumn::Text(texts) => {
            let places = texts.term_ords(doc);
            Box::new(places.map(|ordinal| Rank::text(place_of(ordinal))))
        }
        ValueColumn::Integer(numbers) => Box::new(numbers.values_for_doc(doc).map(Rank::integer)),
        ValueColumn::Unsigned(numbers) => Box::new(numbers.values_for_doc(doc).map(Rank::unsigned)),
        ValueColumn::Float(numbers) => Box::new(numbers.values_for_doc(doc).map(Rank::float)),
        ValueColumn::Bool(truths) => {
            let truths = truths.values_for_doc(doc);
            Box::new(truths.map(|truth| Rank::integer(i64::from(truth))))
        }
        ValueColumn::Time(times) => {
            let times = times.values_for_doc(doc);
            Box::new(times.map(move |time| time_rank(time, resolution)))
        }
    }
}

/// The value of the document in this column that has this undirected rank.
fn value_at(
    column: &ValueColumn,
    doc: DocId,
    wanted: Rank,
    resolution: Resolution,
) -> Option<SortValue> {
    match column {
        ValueColumn::Text(texts) => {
            let ordinal = wanted.text_place()?.checked_sub(1)? / 2;
            let mut text = String::new();
            let is_known = texts.ord_to_str(ordinal, &mut text).ok()?;
            is_known.then_some(SortValue::Text(text))
        }
        ValueColumn::Integer(numbers) => numbers
            .values_for_doc(doc)
            .find(|number| Rank::integer(*number) == wanted)
            .map(SortValue::Integer),
        ValueColumn::Unsigned(numbers) => numbers
            .values_for_doc(doc)
            .find(|number| Rank::unsigned(*number) == wanted)
            .map(SortValue::Unsigned),
        ValueColumn::Float(numbers) => numbers
            .values_for_doc(doc)
            .find(|number| Rank::float(*number) == wanted)
            .map(SortValue::Float),
        ValueColumn::Bool(truths) => truths
            .values_for_doc(doc)
            .find(|truth| Rank::integer(i64::from(*truth)) == wanted)
            .map(SortValue::Bool),
        ValueColumn::Time(times) => times
            .values_for_doc(doc)
            .map(|time| time_number(time, resolution))
            .find(|number| Rank::integer(*number) == wanted)
            .map(SortValue::Integer),
    }
}

fn place_of(ordinal: u64) -> u64 {
    ordinal.saturating_mul(2).saturating_add(1)
}

/// Odd for a text of the dictionary, even for one between two of them.
fn text_place(texts: &StrColumn, text: &str) -> u64 {
    let dictionary = texts.dictionary();
    if let Ok(Some(ordinal)) = dictionary.term_ord(text) {
        return place_of(ordinal);
    }
    match dictionary.term_bounds_to_ord(Bound::Included(text), Bound::Unbounded) {
        Ok((Bound::Included(next), _)) => next.saturating_mul(2),
        _ => u64::MAX - 1,
    }
}
