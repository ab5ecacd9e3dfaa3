//! Finding documents by their values in columns.

use std::ops::{Bound, RangeInclusive};

use tantivy::columnar::{Cardinality, Column, StrColumn};
use tantivy::{BitSet, DateTime, DocId};

use super::parts::{All, BlockSet, Part};
use super::{DOCUMENTS_PER_CHECK, Work};
use crate::logs::Scalar;
use crate::logs::reader::ValueColumn;

/// The documents whose value lies in a range, both ends inclusive.
struct InRange<T> {
    column: Column<T>,
    range: RangeInclusive<T>,
    found: Vec<DocId>,
}

impl<T> Part for InRange<T>
where
    T: PartialOrd + Copy + Send + Sync + std::fmt::Debug + 'static,
{
    fn mark(&mut self, _: usize, set: &mut BlockSet) -> tantivy::Result<()> {
        self.found.clear();
        self.column.get_docids_for_value_range(
            self.range.clone(),
            set.documents(),
            &mut self.found,
        );
        for doc in &self.found {
            set.insert(*doc);
        }
        Ok(())
    }

    fn cost(&self) -> u64 {
        20_000
    }
}

/// Adds the documents whose value lies in `range`, both ends inclusive.
pub(super) fn in_range<T>(
    column: &Column<T>,
    range: RangeInclusive<T>,
    parts: &mut Vec<Box<dyn Part>>,
) where
    T: PartialOrd + Copy + Send + Sync + std::fmt::Debug + 'static,
{
    if range.is_empty() || column.values.num_vals() == 0 {
        return;
    }
    let (min, max) = (column.min_value(), column.max_value());
    if max < *range.start() || min > *range.end() {
        return;
    }
    let covers_all_values = *range.start() <= min && max <= *range.end();
    if covers_all_values && column.get_cardinality() == Cardinality::Full {
        parts.push(Box::new(All));
        return;
    }
    parts.push(Box::new(InRange {
        column: column.clone(),
        range,
        found: Vec::new(),
    }));
}

/// Adds the documents that have a value.
pub(super) fn with_value(column: &ValueColumn, parts: &mut Vec<Box<dyn Part>>) {
    match column {
        ValueColumn::Text(column) => in_range(column.ords(), 0..=u64::MAX, parts),
        ValueColumn::Integer(column) => in_range(column, i64::MIN..=i64::MAX, parts),
        ValueColumn::Unsigned(column) => in_range(column, 0..=u64::MAX, parts),
        ValueColumn::Float(column) => in_range(column, f64::NEG_INFINITY..=f64::INFINITY, parts),
        ValueColumn::Bool(column) => in_range(column, false..=true, parts),
        ValueColumn::Time(column) => in_range(column, DateTime::MIN..=DateTime::MAX, parts),
    }
}

/// Adds the documents whose number, truth or time equals `scalar`; texts are another matter.
pub(super) fn equal_to(column: &ValueColumn, scalar: &Scalar, parts: &mut Vec<Box<dyn Part>>) {
    let bound = || Bound::Included(scalar);
    match (column, scalar) {
        (ValueColumn::Text(_), _) => {}
        (ValueColumn::Bool(column), Scalar::Bool(truth)) => {
            in_range(column, *truth..=*truth, parts);
        }
        (ValueColumn::Bool(_), _) | (_, Scalar::Bool(_)) => {}
        _ => super::range::in_column(column, bound(), bound(), parts),
    }
}

/// The documents that have one of some texts.
struct WithOrds {
    column: StrColumn,
    ords: BitSet,
}

impl Part for WithOrds {
    fn mark(&mut self, _: usize, set: &mut BlockSet) -> tantivy::Result<()> {
        for doc in set.documents() {
            let mut ords = self.column.term_ords(doc);
            if ords.any(|ord| self.ords.contains(ord as u32)) {
                set.insert(doc);
            }
        }
        Ok(())
    }

    fn cost(&self) -> u64 {
        100_000
    }
}

/// Adds the documents that have a text for which `fits` holds; each distinct text that begins with `prefix` is asked once.
pub(super) fn with_text_like(
    work: &Work,
    column: &StrColumn,
    prefix: &str,
    mut fits: impl FnMut(&str) -> bool,
    parts: &mut Vec<Box<dyn Part>>,
) -> tantivy::Result<()> {
    let dictionary = column.dictionary();
    let mut ords = BitSet::with_max_value(dictionary.num_terms() as u32);
    let (mut first, mut last, mut count) = (u64::MAX, 0, 0u64);
    let mut stream = dictionary.prefix_range(prefix).into_stream()?;
    let mut asked = 0u32;
    while stream.advance() {
        asked += 1;
        if asked.is_multiple_of(DOCUMENTS_PER_CHECK) {
            work.check()?;
        }
        if std::str::from_utf8(stream.key()).is_ok_and(&mut fits) {
            let ord = stream.term_ord();
            ords.insert(ord as u32);
            (first, last, count) = (first.min(ord), ord, count + 1);
        }
    }
    if count == 0 {
        return Ok(());
    }
    let is_one_run = last - first + 1 == count;
    match is_one_run {
        true => in_range(column.ords(), first..=last, parts),
        false => parts.push(Box::new(WithOrds {
            column: column.clone(),
            ords,
        })),
    }
    Ok(())
}

/// The documents that have a number whose spelling fits.
struct SpelledLike<F> {
    column: Column<i64>,
    fits: F,
}

impl<F: FnMut(&str) -> bool + Send> Part for SpelledLike<F> {
    fn mark(&mut self, _: usize, set: &mut BlockSet) -> tantivy::Result<()> {
        for doc in set.documents() {
            let mut numbers = self.column.values_for_doc(doc);
            if numbers.any(|number| (self.fits)(&number.to_string())) {
                set.insert(doc);
            }
        }
        Ok(())
    }

    fn cost(&self) -> u64 {
        1_000_000
    }
}

/// Adds the documents that have a number for whose spelling `fits` holds.
pub(super) fn spelled_like(
    column: &Column<i64>,
    fits: impl FnMut(&str) -> bool + Send + 'static,
    parts: &mut Vec<Box<dyn Part>>,
) {
    parts.push(Box::new(SpelledLike {
        column: column.clone(),
        fits,
    }));
}
