//! A log record as both encodings of OTLP carry it, borrowed from the request wherever that can be.

pub use crate::source::protobuf::Undecodable;
use std::borrow::Cow;
use std::collections::HashSet;

/// How deep values are read. What lies deeper is kept as one opaque value: a request must not decide how much
/// stack we need.
pub const DEPTH_READ_MAX: usize = 64;

/// Up to so many attributes duplicates are looked for by comparing all with all.
pub const FEW_ATTRIBUTES: usize = 32;

/// OTLP's `AnyValue`.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// No value is set.
    Null,
    /// A string.
    Text(Cow<'a, str>),
    /// A boolean.
    Bool(bool),
    /// A 64-bit integer.
    Int(i64),
    /// A double, also NaN and infinite ones.
    Double(f64),
    /// Raw bytes.
    Bytes(Cow<'a, [u8]>),
    /// Values in order.
    List(Vec<Value<'a>>),
    /// Values under keys, no key twice.
    Map(Vec<Attribute<'a>>),
}

/// A value under a key. Keys may hold any character.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute<'a> {
    /// The key as it was sent.
    pub key: Cow<'a, str>,
    /// The value.
    pub value: Value<'a>,
}

/// The library or module that made records.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scope<'a> {
    /// Its name; empty when unknown.
    pub name: Cow<'a, str>,
    /// Its version; empty when unknown.
    pub version: Cow<'a, str>,
    /// No key twice.
    pub attributes: Vec<Attribute<'a>>,
}

/// One log record. Absent fields have the default of their type, as in protobuf.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record<'a> {
    /// When it happened, nanoseconds since 1970, UTC; 0 is unknown.
    pub time_unix_nano: u64,
    /// When it was first seen, nanoseconds since 1970, UTC; 0 is unknown.
    pub observed_time_unix_nano: u64,
    /// 1 to 24; 0 is unknown.
    pub severity_number: i32,
    /// As the sender's logger calls it.
    pub severity_text: Cow<'a, str>,
    /// What it says.
    pub body: Option<Value<'a>>,
    /// No key twice.
    pub attributes: Vec<Attribute<'a>>,
    /// How many attributes the sender left out.
    pub dropped_attributes_count: u32,
    /// The low eight bits are the W3C trace flags.
    pub flags: u32,
    /// 16 bytes; any other length is invalid.
    pub trace_id: Cow<'a, [u8]>,
    /// 8 bytes; any other length is invalid.
    pub span_id: Cow<'a, [u8]>,
    /// Names the kind of event; empty when it is no event.
    pub event_name: Cow<'a, str>,
}

/// What a request consists of, in its order: a resource and a scope hold for the records behind them.
#[derive(Debug, PartialEq)]
pub enum Part<'a> {
    /// Who made the following records.
    Resource(Vec<Attribute<'a>>),
    /// Which part of it made them.
    Scope(Scope<'a>),
    /// A record, or why it cannot be read.
    Record(Result<Record<'a>, String>),
}

/// Why the reading of a request ended before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The sender must send it correctly.
    #[error("{0}")]
    Undecodable(#[from] Undecodable),
    /// The sender must send less at once.
    #[error("{0}")]
    TooMuch(String),
}

/// Takes the parts of a request one by one.
pub type Take<'t, 'a> = &'t mut dyn FnMut(Part<'a>) -> Result<(), ReadError>;

/// Removes attributes whose key comes again behind them.
pub fn keep_last_of_each_key(attributes: &mut Vec<Attribute<'_>>) {
    if attributes.len() <= FEW_ATTRIBUTES {
        let mut at = 0;
        while at < attributes.len() {
            let (key, behind) = (&attributes[at].key, &attributes[at + 1..]);
            if behind.iter().any(|later| later.key == *key) {
                attributes.remove(at);
            } else {
                at += 1;
            }
        }
        return;
    }
    let mut seen = HashSet::with_capacity(attributes.len());
    let is_last: Vec<bool> = attributes
        .iter()
        .rev()
        .map(|attribute| seen.insert(attribute.key.as_ref()))
        .collect();
    if seen.len() < attributes.len() {
        let mut is_last = is_last.into_iter().rev();
        attributes.retain(|_| is_last.next().unwrap_or(true));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_duplicate_keys_is_kept_in_its_place() {
        for count in [3, 100] {
            let mut attributes: Vec<Attribute<'_>> = (0..count)
                .map(|n| Attribute {
                    key: Cow::Owned(format!("key{}", n % (count - 1))),
                    value: Value::Int(n),
                })
                .collect();
            keep_last_of_each_key(&mut attributes);
            assert_eq!(attributes.len() as i64, count - 1);
            assert_eq!(attributes[0].key, "key1");
            let last = attributes.last().unwrap();
            assert_eq!((&*last.key, &last.value), ("key0", &Value::Int(count - 1)));
        }
    }
}
