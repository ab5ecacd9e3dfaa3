//! Keys of buckets: values of any type, equal and ordered over all segments and shards.

use std::cmp::Ordering;

/// What makes one bucket different from its neighbours.
///
/// Numbers that are equal are the same key whatever column they came from: a whole `Float` is kept as `Integer`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A whole number.
    Integer(i64),
    /// A whole number above `i64::MAX`.
    Unsigned(u64),
    /// Any other number, as the bits of an `f64`; make it with [`Key::number`].
    Float(u64),
    /// Truth.
    Bool(bool),
    /// Milliseconds since 1970, UTC.
    Time(i64),
    /// A text.
    Text(Box<str>),
    /// One key per source of a composite aggregation; `None` where the event has no value.
    Several(Box<[Option<Key>]>),
}

impl Key {
    /// The key of a number; NaN is a key of its own.
    pub fn number(value: f64) -> Key {
        let is_whole = value.fract() == 0.0;
        if is_whole && (-9.2e18..=9.2e18).contains(&value) {
            Key::Integer(value as i64)
        } else if is_whole && (0.0..=1.8e19).contains(&value) {
            Key::Unsigned(value as u64)
        } else {
            Key::Float(value.to_bits())
        }
    }

    /// The key of a whole number.
    pub fn unsigned(value: u64) -> Key {
        i64::try_from(value).map_or(Key::Unsigned(value), Key::Integer)
    }

    /// The number a client sees: milliseconds for times, 1 and 0 for booleans; `None` for texts.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Key::Integer(value) | Key::Time(value) => Some(*value as f64),
            Key::Unsigned(value) => Some(*value as f64),
            Key::Float(bits) => Some(f64::from_bits(*bits)),
            Key::Bool(value) => Some(f64::from(u8::from(*value))),
            Key::Text(_) | Key::Several(_) => None,
        }
    }

    /// About how many bytes it occupies.
    pub(super) fn byte_size(&self) -> usize {
        let heap = match self {
            Key::Text(text) => text.len(),
            Key::Several(keys) => keys.iter().flatten().map(Key::byte_size).sum(),
            _ => 0,
        };
        size_of::<Key>() + heap
    }

    fn rank(&self) -> u8 {
        match self {
            Key::Integer(_) | Key::Unsigned(_) | Key::Float(_) => 0,
            Key::Bool(_) => 1,
            Key::Time(_) => 2,
            Key::Text(_) => 3,
            Key::Several(_) => 4,
        }
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Key {
        Key::Text(text.into())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Numbers before booleans before times before texts; each by value, texts by code point.
impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        match (self, other) {
            (Key::Integer(a), Key::Integer(b)) | (Key::Time(a), Key::Time(b)) => a.cmp(b),
            (Key::Unsigned(a), Key::Unsigned(b)) => a.cmp(b),
            (Key::Bool(a), Key::Bool(b)) => a.cmp(b),
            (Key::Text(a), Key::Text(b)) => a.cmp(b),
            (Key::Several(a), Key::Several(b)) => a.cmp(b),
            _ if self.rank() != other.rank() => self.rank().cmp(&other.rank()),
            _ => {
                let a = self.as_f64().unwrap_or(f64::NAN);
                let b = other.as_f64().unwrap_or(f64::NAN);
                a.total_cmp(&b)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_numbers_are_one_key() {
        assert_eq!(Key::number(5.0), Key::Integer(5));
        assert_eq!(Key::number(-0.0), Key::Integer(0));
        assert_eq!(Key::unsigned(7), Key::Integer(7));
        assert_eq!(Key::unsigned(u64::MAX), Key::Unsigned(u64::MAX));
        assert_ne!(Key::number(5.5), Key::Integer(5));
    }

    #[test]
    fn keys_are_ordered_by_type_and_then_by_value() {
        let mut keys = vec![
            Key::from("b"),
            Key::Time(3),
            Key::Bool(true),
            Key::number(2.5),
            Key::from("a"),
            Key::Integer(3),
            Key::Integer(-1),
            Key::Unsigned(u64::MAX),
        ];
        keys.sort();
        let expected = [
            Key::Integer(-1),
            Key::number(2.5),
            Key::Integer(3),
            Key::Unsigned(u64::MAX),
            Key::Bool(true),
            Key::Time(3),
            Key::from("a"),
            Key::from("b"),
        ];
        assert_eq!(keys, expected);
    }
}
