//! A document as the list of its leaves: dotted path and value.
//!
//! `{"a":{"b":1}}` and `{"a.b":1}` give the same leaf. Arrays give one leaf per element under the array's path, as in
//! Elasticsearch; objects inside arrays are flattened. Null gives none. Duplicate keys give all their leaves.
//! Below [`DEPTH_MAX`] levels the rest is one leaf: its JSON text.
//!
//! Every accepted document goes through here. A document that serde cannot walk to its end, though its syntax is right
//! (a number beyond a double, a lone surrogate), is mended and walked on; see `mend.rs`. Should that not help, its whole
//! text is one more leaf, so that it can be found.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::mend::mend;

/// Levels of nesting that become paths. A level costs a few stack frames of the parser, so there must be a bound.
pub const DEPTH_MAX: usize = 256;

/// The longest path in bytes; what lies deeper is one leaf, its JSON text. tantivy keeps a path in front of each word.
const PATH_BYTES_MAX: usize = 4 * 1024;

/// The path under which the text of a document that cannot be walked is found.
const WHOLE_DOCUMENT: &str = "event.original";

/// A value without parts.
#[derive(Debug, Clone, PartialEq)]
pub enum LeafValue<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// A whole number.
    Integer(i64),
    /// A whole number above `i64::MAX`.
    Unsigned(u64),
    /// Another number; finite.
    Float(f64),
    /// Truth.
    Bool(bool),
}

/// Calls `visit` with every leaf of the JSON object `source`, in order.
pub fn flatten<'a>(source: &'a str, visit: &mut dyn FnMut(&str, LeafValue<'a>)) {
    let mut visited = 0_usize;
    let walked = walk(source, &mut |path, value| {
        visited += 1;
        visit(path, value);
    });
    if walked.is_ok() {
        return;
    }
    // Up to where it failed the mended document has the same leaves.
    let mut at = 0_usize;
    let walked = walk(&mend(source), &mut |path, value| {
        if at >= visited {
            visit(path, value.into_owned());
        }
        at += 1;
    });
    if walked.is_err() {
        visit(WHOLE_DOCUMENT, LeafValue::Text(Cow::Borrowed(source)));
    }
}

fn walk<'a>(
    source: &'a str,
    visit: &mut dyn FnMut(&str, LeafValue<'a>),
) -> Result<(), serde_json::Error> {
    let mut path = String::with_capacity(64);
    let walk = Walk {
        path: &mut path,
        depth: 0,
        visit,
    };
    let mut deserializer = serde_json::Deserializer::from_str(source);
    deserializer.disable_recursion_limit();
    walk.deserialize(&mut deserializer)
}

impl LeafValue<'_> {
    fn into_owned(self) -> LeafValue<'static> {
        match self {
            LeafValue::Text(text) => LeafValue::Text(Cow::Owned(text.into_owned())),
            LeafValue::Integer(value) => LeafValue::Integer(value),
            LeafValue::Unsigned(value) => LeafValue::Unsigned(value),
            LeafValue::Float(value) => LeafValue::Float(value),
            LeafValue::Bool(value) => LeafValue::Bool(value),
        }
    }
}

struct Walk<'w, 'a> {
    path: &'w mut String,
    depth: usize,
    visit: &'w mut dyn FnMut(&str, LeafValue<'a>),
}

impl<'a> Walk<'_, 'a> {
    fn reborrow(&mut self) -> Walk<'_, 'a> {
        Walk {
            path: self.path,
            depth: self.depth,
            visit: self.visit,
        }
    }

    fn leaf<E>(self, value: LeafValue<'a>) -> Result<(), E> {
        (self.visit)(self.path, value);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.depth < DEPTH_MAX && self.path.len() <= PATH_BYTES_MAX {
            return deserializer.deserialize_any(self);
        }
        let rest: &'de RawValue = serde::Deserialize::deserialize(deserializer)?;
        self.leaf(LeafValue::Text(Cow::Borrowed(rest.get())))
    }
}

impl<'de> Visitor<'de> for Walk<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key)? {
            let parent_len = self.path.len();
            if self.depth > 0 {
                self.path.push('.');
            }
            push_key(self.path, &key);
            let mut child = self.reborrow();
            child.depth += 1;
            map.next_value_seed(child)?;
            self.path.truncate(parent_len);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        loop {
            let mut child = self.reborrow();
            child.depth += 1;
            if seq.next_element_seed(child)?.is_none() {
                return Ok(());
            }
        }
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.leaf(LeafValue::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.leaf(LeafValue::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        let leaf = i64::try_from(value).map_or(LeafValue::Unsigned(value), LeafValue::Integer);
        self.leaf(leaf)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        if !value.is_finite() {
            return Err(E::custom("a number beyond a double"));
        }
        self.leaf(LeafValue::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<(), E> {
        self.leaf(LeafValue::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.leaf(LeafValue::Text(Cow::Owned(value.to_owned())))
    }
}

/// Reads a key without copying it when it has no escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Cow<'de, str>, E> {
        if key.len() > PATH_BYTES_MAX {
            return Err(E::custom("a key that is too long"));
        }
        Ok(Cow::Owned(key.to_owned()))
    }
}

/// tantivy ends a path with a zero byte and joins its parts with a byte 1; a key may hold neither.
fn push_key(path: &mut String, key: &str) {
    if key.bytes().any(|byte| byte < 2) {
        path.extend(
            key.chars()
                .map(|c| if c < '\u{2}' { '\u{FFFD}' } else { c }),
        );
    } else {
        path.push_str(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaves(source: &str) -> Vec<(String, String)> {
        let mut leaves = Vec::new();
        flatten(source, &mut |path, value| {
            leaves.push((path.to_owned(), format!("{value:?}")))
        });
        leaves
    }

    fn check(source: &str, expected: &[(&str, &str)]) {
        let found = leaves(source);
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(path, value)| (&**path, &**value))
            .collect();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn nested_and_dotted_keys_are_the_same_path() {
        check(r#"{"a":{"b":1}}"#, &[("a.b", "Integer(1)")]);
        check(r#"{"a.b":1}"#, &[("a.b", "Integer(1)")]);
    }

    #[test]
    fn arrays_nulls_duplicates_and_empty_keys() {
        check(
            r#"{"a":[1,[2.5,"x"],{"b":true}],"n":null,"e":[],"o":{}}"#,
            &[
                ("a", "Integer(1)"),
                ("a", "Float(2.5)"),
                ("a", "Text(\"x\")"),
                ("a.b", "Bool(true)"),
            ],
        );
        check(
            r#"{"a":1,"a":"x","":2,"b":{"":3}}"#,
            &[
                ("a", "Integer(1)"),
                ("a", "Text(\"x\")"),
                ("", "Integer(2)"),
                ("b.", "Integer(3)"),
            ],
        );
        check(
            r#"{"u":18446744073709551615}"#,
            &[("u", "Unsigned(18446744073709551615)")],
        );
    }

    #[test]
    fn fields_behind_what_cannot_be_held_are_still_found() {
        check(
            r#"{"a":1,"big":[2,1e999],"b":{"lone":"\ud800x"},"c":"end"}"#,
            &[
                ("a", "Integer(1)"),
                ("big", "Integer(2)"),
                ("big", "Text(\"1e999\")"),
                ("b.lone", "Text(\"\u{fffd}x\")"),
                ("c", "Text(\"end\")"),
            ],
        );
        // Nothing can be done about a document that is no JSON; sources refuse it.
        let broken = leaves(r#"{"a":1,"b":tru}"#);
        assert_eq!((&*broken[0].0, &*broken[1].0), ("a", "event.original"));
    }

    #[test]
    fn depth_is_bounded_and_nothing_is_lost() {
        let deep =
            |levels: usize| format!("{}\"leaf\"{}", "{\"k\":".repeat(levels), "}".repeat(levels));
        let found = leaves(&deep(200));
        assert_eq!(found, [(vec!["k"; 200].join("."), "Text(\"leaf\")".into())]);
        let found = leaves(&deep(100_000));
        assert_eq!(found.len(), 1);
        assert!(found[0].1.contains("leaf"));
        let found = leaves(&format!(
            "{{\"a\":{}1{}}}",
            "[".repeat(50_000),
            "]".repeat(50_000)
        ));
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn bytes_that_separate_paths_are_replaced_in_keys() {
        assert_eq!(
            leaves("{\"a\\u0000b\\u0001\":1}")[0].0,
            "a\u{FFFD}b\u{FFFD}"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_walked(text in "\\PC{0,80}") {
            flatten(&text, &mut |_, _| {});
        }
    }
}
