//! `Leaf::Range`: the value lies between two bounds.

use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use tantivy::DateTime;
use tantivy::columnar::StrColumn;

use super::parts::Part;
use super::scan::{self, ValueTest};
use super::{Work, columns};
use crate::logs::flatten::LeafValue;
use crate::logs::reader::ValueColumn;
use crate::logs::{Field, Scalar};

/// Two bounds on the values of a field.
pub(super) struct Range {
    field: Field,
    lower: Bound<Scalar>,
    upper: Bound<Scalar>,
}

impl Range {
    pub(super) fn new(field: &Field, lower: &Bound<Scalar>, upper: &Bound<Scalar>) -> Range {
        Range {
            field: field.clone(),
            lower: lower.clone(),
            upper: upper.clone(),
        }
    }

    pub(super) fn parts(&self, work: &Work) -> tantivy::Result<Vec<Box<dyn Part>>> {
        let mut parts = Vec::new();
        let Field::Named(name) = &self.field else {
            return Ok(parts);
        };
        let path = work.segment.resolve(name);
        for column in work.segment.ready_columns(path)? {
            in_column(
                &column,
                self.lower.as_ref(),
                self.upper.as_ref(),
                &mut parts,
            );
            if let ValueColumn::Text(texts) = &column {
                in_texts(texts, self.lower.as_ref(), self.upper.as_ref(), &mut parts)?;
            }
        }
        if let (Some(lower), Some(upper)) = (
            text_bound(self.lower.as_ref()),
            text_bound(self.upper.as_ref()),
        ) {
            let summary = work.segment.path(path);
            if summary.is_some_and(|summary| summary.is_too_distinct) {
                let between = TextBetween { lower, upper };
                scan::in_field(work, path, Arc::new(between), &mut parts)?;
            }
        }
        Ok(parts)
    }
}

/// Texts between two bounds; those that are too many for a column are asked one by one.
struct TextBetween {
    lower: Bound<String>,
    upper: Bound<String>,
}

impl ValueTest for TextBetween {
    fn fits(&self, value: &LeafValue, is_full_text: bool) -> bool {
        let LeafValue::Text(text) = value else {
            return false;
        };
        let bounds = (
            self.lower.as_ref().map(String::as_str),
            self.upper.as_ref().map(String::as_str),
        );
        !is_full_text && RangeBounds::<str>::contains(&bounds, &**text)
    }
}

/// Adds the documents with a value between the bounds. A bound of a type that the column cannot compare with matches
/// nothing; texts are another matter.
pub(super) fn in_column(
    column: &ValueColumn,
    lower: Bound<&Scalar>,
    upper: Bound<&Scalar>,
    parts: &mut Vec<Box<dyn Part>>,
) {
    match column {
        ValueColumn::Text(_) | ValueColumn::Bool(_) => {}
        ValueColumn::Integer(column) => {
            if let (Some(low), Some(high)) = (lowest_integer(lower), highest_integer(upper)) {
                columns::in_range(column, low..=high, parts);
            }
        }
        ValueColumn::Unsigned(column) => {
            if let (Some(low), Some(high)) = (lowest_unsigned(lower), highest_unsigned(upper)) {
                columns::in_range(column, low..=high, parts);
            }
        }
        ValueColumn::Float(column) => {
            if let (Some(low), Some(high)) = (lowest_float(lower), highest_float(upper)) {
                columns::in_range(column, low..=high, parts);
            }
        }
        ValueColumn::Time(column) => {
            if let (Some(low), Some(high)) = (lowest_time(lower), highest_time(upper)) {
                let time = DateTime::from_timestamp_nanos;
                columns::in_range(column, time(low)..=time(high), parts);
            }
        }
    }
}

fn in_texts(
    texts: &StrColumn,
    lower: Bound<&Scalar>,
    upper: Bound<&Scalar>,
    parts: &mut Vec<Box<dyn Part>>,
) -> tantivy::Result<()> {
    let (Some(lower), Some(upper)) = (text_bound(lower), text_bound(upper)) else {
        return Ok(());
    };
    let (low, high) = texts.dictionary().term_bounds_to_ord(lower, upper)?;
    let low = match low {
        Bound::Included(ord) => Some(ord),
        Bound::Excluded(ord) => ord.checked_add(1),
        Bound::Unbounded => Some(0),
    };
    let high = match high {
        Bound::Included(ord) => Some(ord),
        Bound::Excluded(ord) => ord.checked_sub(1),
        Bound::Unbounded => Some(u64::MAX),
    };
    if let (Some(low), Some(high)) = (low, high) {
        columns::in_range(texts.ords(), low..=high, parts);
    }
    Ok(())
}

fn text_bound(bound: Bound<&Scalar>) -> Option<Bound<String>> {
    let spell = |scalar: &Scalar| match scalar {
        Scalar::Text(text) => Some(text.clone()),
        Scalar::Time(time) => Some(time.to_rfc3339()),
        _ => None,
    };
    match bound {
        Bound::Included(scalar) => spell(scalar).map(Bound::Included),
        Bound::Excluded(scalar) => spell(scalar).map(Bound::Excluded),
        Bound::Unbounded => Some(Bound::Unbounded),
    }
}

/// A number as a double and, where it is one exactly, as a whole number.
enum Number {
    Whole(i128),
    Float(f64),
}

fn number(scalar: &Scalar) -> Option<Number> {
    match scalar {
        Scalar::Integer(number) => Some(Number::Whole(i128::from(*number))),
        Scalar::Unsigned(number) => Some(Number::Whole(i128::from(*number))),
        Scalar::Float(number) => Some(Number::Float(*number)),
        Scalar::Text(text) => super::spellings(text)
            .iter()
            .find_map(|spelled| match spelled {
                Scalar::Text(_) => None,
                other => number(other),
            }),
        Scalar::Bool(_) | Scalar::Time(_) => None,
    }
}

/// The least whole number that fulfils a lower bound; `None` when none can.
fn lowest_whole(bound: Bound<&Scalar>) -> Option<i128> {
    match bound {
        Bound::Unbounded => Some(i128::MIN),
        Bound::Included(scalar) => Some(match number(scalar)? {
            Number::Whole(whole) => whole,
            Number::Float(float) => float.ceil() as i128,
        }),
        Bound::Excluded(scalar) => Some(match number(scalar)? {
            Number::Whole(whole) => whole + 1,
            Number::Float(float) => (float.floor() as i128).saturating_add(1),
        }),
    }
}

/// The greatest whole number that fulfils an upper bound; `None` when none can.
fn highest_whole(bound: Bound<&Scalar>) -> Option<i128> {
    match bound {
        Bound::Unbounded => Some(i128::MAX),
        Bound::Included(scalar) => Some(match number(scalar)? {
            Number::Whole(whole) => whole,
            Number::Float(float) => float.floor() as i128,
        }),
        Bound::Excluded(scalar) => Some(match number(scalar)? {
            Number::Whole(whole) => whole - 1,
            Number::Float(float) => (float.ceil() as i128).saturating_sub(1),
        }),
    }
}

fn lowest_integer(bound: Bound<&Scalar>) -> Option<i64> {
    let low = lowest_whole(bound)?.max(i128::from(i64::MIN));
    i64::try_from(low).ok()
}

fn highest_integer(bound: Bound<&Scalar>) -> Option<i64> {
    let high = highest_whole(bound)?.min(i128::from(i64::MAX));
    i64::try_from(high).ok()
}

fn lowest_unsigned(bound: Bound<&Scalar>) -> Option<u64> {
    let low = lowest_whole(bound)?.max(0);
    u64::try_from(low).ok()
}

fn highest_unsigned(bound: Bound<&Scalar>) -> Option<u64> {
    let high = highest_whole(bound)?.min(i128::from(u64::MAX));
    u64::try_from(high).ok()
}

fn as_float(scalar: &Scalar) -> Option<f64> {
    Some(match number(scalar)? {
        Number::Whole(whole) => whole as f64,
        Number::Float(float) => float,
    })
}

fn lowest_float(bound: Bound<&Scalar>) -> Option<f64> {
    match bound {
        Bound::Unbounded => Some(f64::NEG_INFINITY),
        Bound::Included(scalar) => as_float(scalar),
        Bound::Excluded(scalar) => as_float(scalar).map(f64::next_up),
    }
}

fn highest_float(bound: Bound<&Scalar>) -> Option<f64> {
    match bound {
        Bound::Unbounded => Some(f64::INFINITY),
        Bound::Included(scalar) => as_float(scalar),
        Bound::Excluded(scalar) => as_float(scalar).map(f64::next_down),
    }
}

/// Nanoseconds since 1970. Whole numbers are milliseconds, as Elasticsearch reads them.
fn time_nanos(scalar: &Scalar) -> Option<i64> {
    match scalar {
        Scalar::Time(time) => Some(time.nanos()),
        Scalar::Integer(millis) => millis.checked_mul(1_000_000),
        Scalar::Text(text) => event::Timestamp::parse_lenient(text)
            .ok()
            .map(event::Timestamp::nanos),
        Scalar::Float(_) | Scalar::Unsigned(_) | Scalar::Bool(_) => None,
    }
}

fn lowest_time(bound: Bound<&Scalar>) -> Option<i64> {
    match bound {
        Bound::Unbounded => Some(i64::MIN),
        Bound::Included(scalar) => time_nanos(scalar),
        Bound::Excluded(scalar) => time_nanos(scalar)?.checked_add(1),
    }
}

fn highest_time(bound: Bound<&Scalar>) -> Option<i64> {
    match bound {
        Bound::Unbounded => Some(i64::MAX),
        Bound::Included(scalar) => time_nanos(scalar),
        Bound::Excluded(scalar) => time_nanos(scalar)?.checked_sub(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_between_whole_numbers_round_inwards() {
        let float = Scalar::Float(1.5);
        assert_eq!(lowest_integer(Bound::Included(&float)), Some(2));
        assert_eq!(lowest_integer(Bound::Excluded(&float)), Some(2));
        assert_eq!(highest_integer(Bound::Included(&float)), Some(1));
        assert_eq!(highest_integer(Bound::Excluded(&float)), Some(1));
        let whole = Scalar::Float(2.0);
        assert_eq!(lowest_integer(Bound::Excluded(&whole)), Some(3));
        assert_eq!(highest_integer(Bound::Excluded(&whole)), Some(1));
        let text = Scalar::Text("500".into());
        assert_eq!(lowest_integer(Bound::Included(&text)), Some(500));
        assert_eq!(
            lowest_integer(Bound::Included(&Scalar::Text("x".into()))),
            None
        );
        assert_eq!(
            lowest_integer(Bound::Included(&Scalar::Unsigned(u64::MAX))),
            None
        );
        assert_eq!(
            highest_integer(Bound::Included(&Scalar::Unsigned(u64::MAX))),
            Some(i64::MAX)
        );
        assert_eq!(
            lowest_unsigned(Bound::Included(&Scalar::Integer(-1))),
            Some(0)
        );
    }
}
