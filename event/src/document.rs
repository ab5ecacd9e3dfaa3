//! A document on its way through a pipeline: ordered fields whose values stay as the sender spelled them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The text of one valid JSON value, as it was sent: `0.470` stays `0.470`.
pub type RawJson = Box<RawValue>;

/// A JSON object as the list of its top-level fields, in order, duplicates kept, values not parsed.
///
/// Steps of a pipeline read and change it; what no step touches comes out byte for byte as it came in.
#[derive(Debug, Clone, Default)]
pub struct Document {
    fields: Vec<(String, RawJson)>,
}

/// The text is not one JSON object.
#[derive(Debug, thiserror::Error)]
#[error("not a JSON object: {0}")]
pub struct DocumentError(#[from] serde_json::Error);

impl Document {
    /// An object without fields.
    pub fn new() -> Document {
        Document::default()
    }

    /// Reads the text of one JSON object.
    ///
    /// # Errors
    /// The text is not valid JSON in UTF-8, is no object, or something follows it; with line and column.
    pub fn parse(json: &[u8]) -> Result<Document, DocumentError> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let document = deserializer.deserialize_map(FieldsVisitor)?;
        deserializer.end()?;
        Ok(document)
    }

    /// The fields in order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.fields
            .iter()
            .map(|(name, value)| (name.as_str(), &**value))
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The last value under `path`: a field of just this name, else the nested one that dots lead to.
    pub fn get(&self, path: &str) -> Option<Cow<'_, RawValue>> {
        let own = self.fields.iter().rev().find(|(name, _)| name == path);
        if let Some((_, value)) = own {
            return Some(Cow::Borrowed(value));
        }
        let mut dots = path.match_indices('.');
        dots.find_map(|(at, _)| {
            let parent = self
                .fields
                .iter()
                .rev()
                .find(|(name, _)| name == &path[..at])?;
            let child = Document::parse(parent.1.get().as_bytes()).ok()?;
            child
                .get(&path[at + 1..])
                .map(|value| Cow::Owned(value.into_owned()))
        })
    }

    /// The text under `path`, when its value is a string.
    pub fn get_str(&self, path: &str) -> Option<String> {
        let value = self.get(path)?;
        serde_json::from_str::<String>(value.get()).ok()
    }

    /// Sets a top-level field: in place when it exists (the last of duplicates), else at the end.
    pub fn set(&mut self, name: &str, value: RawJson) {
        match self
            .fields
            .iter_mut()
            .rev()
            .find(|(known, _)| known == name)
        {
            Some((_, old)) => *old = value,
            None => self.fields.push((name.to_owned(), value)),
        }
    }

    /// Sets a top-level field to a string.
    pub fn set_str(&mut self, name: &str, text: &str) {
        self.set(name, raw(&text));
    }

    /// Sets a top-level field to anything serde can write as JSON without failing: numbers, booleans, strings.
    pub fn set_value<T: serde::Serialize>(&mut self, name: &str, value: &T) {
        self.set(name, raw(value));
    }

    /// Adds the fields of `other` behind our own, its duplicates kept. Where both have a name, `overwrite` puts its
    /// value in our place, else ours stays and its value is gone. Linear in the number of fields.
    pub fn merge(&mut self, other: Document, overwrite: bool) {
        let own_names: HashMap<String, usize> = self
            .fields
            .iter()
            .enumerate()
            .map(|(at, (name, _))| (name.clone(), at))
            .collect();
        for (name, value) in other.fields {
            match own_names.get(&name) {
                Some(at) if overwrite => self.fields[*at].1 = value,
                Some(_) => {}
                None => self.fields.push((name, value)),
            }
        }
    }

    /// Removes every top-level field of this name; answers the last one's value.
    pub fn remove(&mut self, name: &str) -> Option<RawJson> {
        let mut removed = None;
        let mut at = 0;
        while at < self.fields.len() {
            if self.fields[at].0 == name {
                removed = Some(self.fields.remove(at).1);
            } else {
                at += 1;
            }
        }
        removed
    }

    /// The text of the object, without white space between the fields.
    pub fn to_bytes(&self) -> Bytes {
        let value_bytes: usize = self
            .fields
            .iter()
            .map(|(name, value)| name.len() + value.get().len() + 4)
            .sum();
        let mut out = Vec::with_capacity(value_bytes + 2);
        out.push(b'{');
        for (at, (name, value)) in self.fields.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            serde_json::to_writer(&mut out, name).expect("a string is written to memory");
            out.push(b':');
            out.extend_from_slice(value.get().as_bytes());
        }
        out.push(b'}');
        Bytes::from(out)
    }
}

fn raw<T: serde::Serialize>(value: &T) -> RawJson {
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry::<String, RawJson>()? {
            fields.push(field);
        }
        Ok(Document { fields })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn untouched_fields_keep_their_spelling_and_order() {
        let text = r#"{"b":0.470,"a":[1, 2],"b":12345678901234567890123,"":null}"#;
        let mut document = Document::parse(text.as_bytes()).unwrap();
        document.set_str("new", "x\ny");
        assert_eq!(
            document.to_bytes(),
            r#"{"b":0.470,"a":[1, 2],"b":12345678901234567890123,"":null,"new":"x\ny"}"#
        );
    }

    #[test]
    fn dots_lead_into_objects_and_literal_names_come_first() {
        let document =
            Document::parse(br#"{"a":{"b":{"c":"deep"}},"x.y":"flat","x":{"y":"nested"}}"#)
                .unwrap();
        assert_eq!(document.get_str("a.b.c").as_deref(), Some("deep"));
        assert_eq!(document.get_str("x.y").as_deref(), Some("flat"));
        assert_eq!(document.get_str("a.b"), None);
        assert_eq!(document.get("a.b").unwrap().get(), r#"{"c":"deep"}"#);
    }

    #[test]
    fn merging_overwrites_in_place_or_leaves_alone() {
        let other = || Document::parse(br#"{"b":2.50,"c":1,"c":2}"#).unwrap();
        let mut document = Document::parse(br#"{"a":0,"b":1,"z":9}"#).unwrap();
        document.merge(other(), true);
        assert_eq!(document.to_bytes(), r#"{"a":0,"b":2.50,"z":9,"c":1,"c":2}"#);
        let mut document = Document::parse(br#"{"a":0,"b":1}"#).unwrap();
        document.merge(other(), false);
        assert_eq!(document.to_bytes(), r#"{"a":0,"b":1,"c":1,"c":2}"#);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "[]", "1", "{", r#"{"a":1} x"#, r#"{"a":}"#] {
            assert!(Document::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Document::parse(&bytes);
        }
    }
}
