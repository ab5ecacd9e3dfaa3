//! Finding documents by their values in columns.

use std::ops::{Bound, RangeInclusive};

use tantivy::columnar::{Cardinality, Column, StrColumn};
use tantivy::query::Scorer;
use tantivy::{BitSet, DateTime, DocId};

use super::verify::Verified;
use super::{Matches, Work};
use crate::logs::Scalar;
use crate::logs::reader::ValueColumn;

/// Dictionaries up to this size are looked through whole rather than value by value as documents come up.
const SMALL_DICTIONARY_TERMS: usize = 2 * 1024;

/// The documents whose value lies in `range`, both ends inclusive.
pub(super) fn in_range<T>(
    work: &Work,
    column: &Column<T>,
    range: RangeInclusive<T>,
) -> tantivy::Result<Matches>
where
    T: PartialOrd + Copy + Send + Sync + std::fmt::Debug + 'static,
{
    if range.is_empty() || column.values.num_vals() == 0 {
        return Ok(Matches::None);
    }
    let (min, max) = (column.min_value(), column.max_value());
    if max < *range.start() || min > *range.end() {
        return Ok(Matches::None);
    }
    let covers_all_values = *range.start() <= min && max <= *range.end();
    if covers_all_values && column.get_cardinality() == Cardinality::Full {
        return Ok(Matches::All);
    }
    let mut set = work.empty_set();
    let mut found = Vec::new();
    work.in_chunks(|documents| {
        found.clear();
        column.get_docids_for_value_range(range.clone(), documents, &mut found);
        for doc in &found {
            set.insert(*doc);
        }
    })?;
    Ok(Matches::Documents(set))
}

/// The documents that have a value.
pub(super) fn with_value(work: &Work, column: &ValueColumn) -> tantivy::Result<Matches> {
    match column {
        ValueColumn::Text(column) => in_range(work, column.ords(), 0..=u64::MAX),
        ValueColumn::Integer(column) => in_range(work, column, i64::MIN..=i64::MAX),
        ValueColumn::Unsigned(column) => in_range(work, column, 0..=u64::MAX),
        ValueColumn::Float(column) => in_range(work, column, f64::NEG_INFINITY..=f64::INFINITY),
        ValueColumn::Bool(column) => in_range(work, column, false..=true),
        ValueColumn::Time(column) => in_range(work, column, DateTime::MIN..=DateTime::MAX),
    }
}

/// The documents whose number, truth or time equals `scalar`; texts are another matter.
pub(super) fn equal_to(
    work: &Work,
    column: &ValueColumn,
    scalar: &Scalar,
) -> tantivy::Result<Matches> {
    let bound = || Bound::Included(scalar);
    match (column, scalar) {
        (ValueColumn::Text(_), _) => Ok(Matches::None),
        (ValueColumn::Bool(column), Scalar::Bool(truth)) => in_range(work, column, *truth..=*truth),
        (ValueColumn::Bool(_), _) | (_, Scalar::Bool(_)) => Ok(Matches::None),
        _ => super::range::in_column(work, column, bound(), bound()),
    }
}

/// The documents that have a text for which `fits` holds; each distinct text that begins with `prefix` is asked once.
pub(super) fn with_text_like(
    work: &Work,
    column: &StrColumn,
    prefix: &str,
    mut fits: impl FnMut(&str) -> bool,
) -> tantivy::Result<Matches> {
    let dictionary = column.dictionary();
    let mut ords = BitSet::with_max_value(dictionary.num_terms() as u32);
    let (mut first, mut last, mut count) = (u64::MAX, 0, 0u64);
    let mut stream = dictionary.prefix_range(prefix).into_stream()?;
    let mut asked = 0u32;
    while stream.advance() {
        asked += 1;
        if asked.is_multiple_of(super::DOCUMENTS_PER_CHECK) {
            work.check()?;
        }
        if std::str::from_utf8(stream.key()).is_ok_and(&mut fits) {
            let ord = stream.term_ord();
            ords.insert(ord as u32);
            (first, last, count) = (first.min(ord), ord, count + 1);
        }
    }
    if count == 0 {
        return Ok(Matches::None);
    }
    let is_one_run = last - first + 1 == count;
    if is_one_run {
        return in_range(work, column.ords(), first..=last);
    }
    let mut set = work.empty_set();
    work.in_chunks(|documents| {
        for doc in documents {
            if column.term_ords(doc).any(|ord| ords.contains(ord as u32)) {
                set.insert(doc);
            }
        }
    })?;
    Ok(Matches::Documents(set))
}

/// The candidates that have a text for which `fits` holds; each distinct text is asked at most once.
pub(super) fn candidates_with_text_like(
    work: &Work,
    column: &StrColumn,
    candidates: Box<dyn Scorer>,
    mut fits: impl FnMut(&str) -> bool + Send + 'static,
) -> tantivy::Result<Matches> {
    let is_small = column.num_terms() <= SMALL_DICTIONARY_TERMS;
    if is_small {
        return with_text_like(work, column, "", fits);
    }
    let column = column.clone();
    let mut known: Vec<Option<bool>> = vec![None; column.num_terms()];
    let mut text = String::new();
    let check = move |doc: DocId| -> tantivy::Result<bool> {
        for ord in column.term_ords(doc) {
            let fits = match known.get(ord as usize).copied().flatten() {
                Some(fits) => fits,
                None => {
                    let fits = column.ord_to_str(ord, &mut text)? && fits(&text);
                    known[ord as usize] = Some(fits);
                    fits
                }
            };
            if fits {
                return Ok(true);
            }
        }
        Ok(false)
    };
    Ok(Verified::new(candidates, Box::new(check), work.interrupt).into_matches())
}
