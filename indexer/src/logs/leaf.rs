//! The smallest questions a shard can be asked. `query` combines them with and, or, not.

use std::ops::Bound;

use event::Timestamp;

/// Which values of an event a [`Leaf`] looks at.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Field {
    /// Every value of the event, as a search without a field name does.
    Any,
    /// The values under one dotted path; `{"a":{"b":1}}` and `{"a.b":1}` are the same path `a.b`.
    ///
    /// `f.keyword` means `f` where no field of that very name exists, as Elasticsearch's default mapping has it.
    Named(String),
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    /// A text, compared byte for byte; in ranges by code point.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number above `i64::MAX`.
    Unsigned(u64),
    /// Any other number; never NaN.
    Float(f64),
    /// Truth.
    Bool(bool),
    /// A point in time, for fields that hold times.
    Time(Timestamp),
}

/// A text with gaps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Begins with this.
    Prefix(String),
    /// `*` any characters, `?` one character, `\` takes the next one literally.
    Wildcard(String),
    /// A regular expression in the syntax of the `regex` crate, anchored at both ends.
    Regex(String),
    /// Within this many edits (0 to 2; insertions, deletions, substitutions, transpositions of neighbours).
    Fuzzy(String, u8),
}

/// One question about one event; the answer is yes or no.
///
/// A field that an event lacks, or that has another type, is a no, never an error.
/// A field with several values (an array) is a yes when any of them is.
#[derive(Debug, Clone, PartialEq)]
pub enum Leaf {
    /// The value contains these words next to each other and in this order; words are cut and lower-cased by the
    /// index's tokenizer. One word is the common case. A text without any word matches nothing.
    /// On numbers, booleans and times: equality with the value that the text spells, when it spells one.
    Words(Field, String),
    /// The whole value equals this one. Numbers compare by value (`1`, `1.0`); a text that spells a number or a
    /// boolean also equals that number or boolean, and the reverse.
    Equals(Field, Scalar),
    /// A word of the value fits the pattern, case ignored. When the pattern holds characters that separate words,
    /// `*` and `?` stand for anything but white space and the whole must fit between word borders.
    WordPattern(Field, Pattern),
    /// The whole value fits the pattern, case kept. Full texts, which have no column, are asked only under `f.keyword`:
    /// it means reading every document that has one.
    ValuePattern(Field, Pattern),
    /// The value lies between the bounds. Texts against texts, numbers against numbers, times against times.
    Range(Field, Bound<Scalar>, Bound<Scalar>),
    /// The event has a value that is not null, under this path or below it; an empty string counts, an empty array
    /// or object does not.
    Exists(String),
    /// The event has one of these ids.
    Ids(Vec<String>),
}
