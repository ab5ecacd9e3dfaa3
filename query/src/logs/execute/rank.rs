//! Places in an order: comparable, small, and the same for numbers of all types.

use std::cmp::Ordering;

use tantivy::{f64_to_u64, i64_to_u64};

use crate::logs::plan::{Missing, SortKey, SortValue};

const MISSING_FIRST: u8 = 0;
const NUMBER: u8 = 10;
const TEXT: u8 = 20;
const MISSING_LAST: u8 = 255;

/// The place of an event in the order of one key, within one segment: smaller comes first, in either direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct Rank {
    class: u8,
    /// The number as a double, or the text's ordinal, mapped so that it orders.
    major: u64,
    /// Tells whole numbers apart that are the same double.
    minor: u64,
}

impl Rank {
    /// A whole number.
    pub fn integer(value: i64) -> Rank {
        Rank {
            class: NUMBER,
            major: f64_to_u64(value as f64),
            minor: i64_to_u64(value),
        }
    }

    /// A whole number above `i64::MAX`, or below.
    pub fn unsigned(value: u64) -> Rank {
        match i64::try_from(value) {
            Ok(value) => Rank::integer(value),
            Err(_) => Rank {
                class: NUMBER,
                major: f64_to_u64(value as f64),
                minor: value,
            },
        }
    }

    /// A number. One that is whole has the rank of the whole number.
    pub fn float(value: f64) -> Rank {
        let is_whole = value.fract() == 0.0 && value.abs() < 9e18;
        if is_whole {
            return Rank::integer(value as i64);
        }
        Rank {
            class: NUMBER,
            major: f64_to_u64(value),
            minor: 0,
        }
    }

    /// A text by twice its place in the segment's dictionary plus one; even numbers lie between two texts.
    pub fn text(place: u64) -> Rank {
        Rank {
            class: TEXT,
            major: place,
            minor: 0,
        }
    }

    /// What [`Rank::text`] was made of.
    pub fn text_place(self) -> Option<u64> {
        (self.class == TEXT).then_some(self.major)
    }

    /// The rank of events without a value, in the final direction.
    pub fn missing(missing: &Missing) -> Rank {
        let class = match missing {
            Missing::First => MISSING_FIRST,
            Missing::Last | Missing::Value(_) => MISSING_LAST,
        };
        Rank {
            class,
            ..Rank::default()
        }
    }

    /// The opposite order; what is missing stays where it is.
    pub fn directed(self, descending: bool) -> Rank {
        if !descending || matches!(self.class, MISSING_FIRST | MISSING_LAST) {
            return self;
        }
        Rank {
            class: NUMBER + TEXT - self.class,
            major: !self.major,
            minor: !self.minor,
        }
    }

    /// A value that is no text, undirected.
    pub fn of_number(value: &SortValue) -> Option<Rank> {
        match value {
            SortValue::Bool(truth) => Some(Rank::integer(i64::from(*truth))),
            SortValue::Integer(value) => Some(Rank::integer(*value)),
            SortValue::Unsigned(value) => Some(Rank::unsigned(*value)),
            SortValue::Float(value) => Some(Rank::float(*value)),
            SortValue::Missing | SortValue::Text(_) => None,
        }
    }
}

/// Which of two places comes first in the order of all keys; across segments.
pub(super) fn compare_values(order: &[SortKey], a: &[SortValue], b: &[SortValue]) -> Ordering {
    for ((key, a), b) in order.iter().zip(a).zip(b) {
        let ordering = compare_by(key, a, b);
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    Ordering::Equal
}

fn compare_by(key: &SortKey, a: &SortValue, b: &SortValue) -> Ordering {
    if let (SortValue::Text(a), SortValue::Text(b)) = (a, b) {
        let ordering = a.cmp(b);
        return if key.descending {
            ordering.reverse()
        } else {
            ordering
        };
    }
    let rank = |value: &SortValue| match value {
        SortValue::Missing => Rank::missing(&key.missing),
        SortValue::Text(_) => Rank::text(0).directed(key.descending),
        number => Rank::of_number(number)
            .unwrap_or_default()
            .directed(key.descending),
    };
    rank(a).cmp(&rank(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::plan::SortBy;
    use proptest::prelude::*;

    fn key(descending: bool, missing: Missing) -> SortKey {
        SortKey {
            by: SortBy::Nothing,
            descending,
            missing,
            pick: None,
        }
    }

    #[test]
    fn numbers_of_all_types_order_among_each_other_and_before_texts() {
        let ascending = [
            SortValue::Float(-1e300),
            SortValue::Integer(i64::MIN),
            SortValue::Float(-0.5),
            SortValue::Bool(false),
            SortValue::Float(0.5),
            SortValue::Integer(1),
            SortValue::Integer((1 << 53) + 1),
            SortValue::Integer((1 << 53) + 2),
            SortValue::Integer(i64::MAX),
            SortValue::Unsigned(u64::MAX - 1),
            SortValue::Unsigned(u64::MAX),
            SortValue::Float(1e300),
            SortValue::Text("a".to_owned()),
            SortValue::Text("b".to_owned()),
            SortValue::Missing,
        ];
        let up = key(false, Missing::Last);
        for pair in ascending.windows(2) {
            assert_eq!(
                compare_by(&up, &pair[0], &pair[1]),
                Ordering::Less,
                "{pair:?}"
            );
        }
        let down = key(true, Missing::Last);
        for pair in ascending[..14].windows(2) {
            assert_eq!(
                compare_by(&down, &pair[0], &pair[1]),
                Ordering::Greater,
                "{pair:?}"
            );
        }
        let missing = &SortValue::Missing;
        assert_eq!(compare_by(&down, missing, &ascending[0]), Ordering::Greater);
        let first = key(true, Missing::First);
        assert_eq!(compare_by(&first, missing, &ascending[0]), Ordering::Less);
        assert_eq!(
            compare_by(&up, &SortValue::Float(2.0), &SortValue::Integer(2)),
            Ordering::Equal
        );
    }

    proptest! {
        #[test]
        fn directions_are_mirrors(a in any::<i64>(), b in any::<i64>()) {
            let (up_a, up_b) = (Rank::integer(a), Rank::integer(b));
            prop_assert_eq!(up_a.cmp(&up_b), a.cmp(&b));
            prop_assert_eq!(up_a.directed(true).cmp(&up_b.directed(true)), b.cmp(&a));
        }
    }
}
