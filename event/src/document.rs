//! A document on its way through a pipeline: ordered fields whose values stay as the sender spelled them.
//!
//! All names and values stand in one text, which only grows: setting a field allocates nothing of its own, and a
//! document that is cleared and filled again allocates nothing at all.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::{json_object, json_text};

/// From this many fields on, names are looked up in a table when documents are merged.
const TABLE_FROM: usize = 16;

/// A JSON object as the list of its top-level fields, in order, duplicates kept, values not parsed.
///
/// Steps of a pipeline read and change it; what no step touches comes out byte for byte as it came in.
#[derive(Debug, Clone, Default)]
pub struct Document {
    text: String,
    fields: Vec<Field>,
}

/// Where a field's name, unescaped, and its value stand.
#[derive(Debug, Clone)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
    /// Set where the value stands as plain text: its JSON, made when somebody wants it. Most texts are only read as
    /// what they are, or written out once.
    quoted: Option<OnceLock<Box<str>>>,
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
        let mut document = Document::new();
        document.append_object(json)?;
        Ok(document)
    }

    /// Adds the fields of the text of one JSON object behind our own, whatever they are called, and answers how many
    /// there were before: those from there on are the object's. [`Document::merge_appended`] has to follow.
    ///
    /// # Errors
    /// As [`Document::parse`]; nothing was added.
    pub fn append_object(&mut self, json: &[u8]) -> Result<usize, DocumentError> {
        let own_count = self.fields.len();
        let own_text = self.text.len();
        self.text.reserve(json.len().min(1 << 20));
        // Nearly all objects are as programs write them; what is not, or is wrong, is for the reader that knows why.
        let is_read = std::str::from_utf8(json).is_ok_and(|json| {
            json_object::split(json, |name, value| self.push(name, value)).is_some()
        });
        if is_read {
            return Ok(own_count);
        }
        self.fields.truncate(own_count);
        self.text.truncate(own_text);
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let read = deserializer
            .deserialize_map(FieldsVisitor(self))
            .and_then(|()| deserializer.end());
        match read {
            Ok(()) => Ok(own_count),
            Err(error) => {
                self.fields.truncate(own_count);
                self.text.truncate(own_text);
                Err(error.into())
            }
        }
    }

    /// Makes one document of our own `own_count` fields and of those that [`Document::append_object`] added, as
    /// [`Document::merge`] does. Own fields of the name `without` are removed first.
    pub fn merge_appended(&mut self, own_count: usize, without: Option<&str>, overwrite: bool) {
        let own_count = own_count.min(self.fields.len());
        let mut kept = 0;
        for at in 0..own_count {
            let name = self.name(&self.fields[at]);
            if without != Some(name) {
                self.fields.swap(kept, at);
                kept += 1;
            }
        }
        let own_kept = kept;
        let table = self.table(own_kept);
        for at in own_count..self.fields.len() {
            let name = self.name(&self.fields[at]);
            let known = match &table {
                Some(table) => table.get(name).copied(),
                None => self.fields[..own_kept]
                    .iter()
                    .rposition(|own| self.name(own) == name),
            };
            match known {
                Some(known) if overwrite => {
                    self.fields[known].value = self.fields[at].value.clone();
                    self.fields[known].quoted = None;
                }
                Some(_) => {}
                None => {
                    self.fields.swap(kept, at);
                    kept += 1;
                }
            }
        }
        self.fields.truncate(kept);
    }

    /// Removes all fields and keeps the memory for the next ones.
    pub fn clear(&mut self) {
        self.text.clear();
        self.fields.clear();
    }

    /// The fields in order: the name, and the JSON text of the value.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields_from(0)
    }

    /// As [`Document::fields`], without the first `from` of them.
    pub fn fields_from(&self, from: usize) -> impl Iterator<Item = (&str, &str)> {
        self.fields[from.min(self.fields.len())..]
            .iter()
            .map(|field| (self.name(field), self.json(field)))
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The JSON text of the last value under `path`: a field of just this name, else the nested one that dots lead to.
    pub fn get(&self, path: &str) -> Option<&str> {
        match self.position(path) {
            Some(at) => Some(self.json(&self.fields[at])),
            None => self.get_nested(path),
        }
    }

    /// Whether [`Document::get`] finds something.
    pub fn has(&self, path: &str) -> bool {
        self.position(path).is_some() || self.get_nested(path).is_some()
    }

    /// The text under `path`, when its value is a string; copied only where it has escapes.
    pub fn get_str(&self, path: &str) -> Option<Cow<'_, str>> {
        let Some(at) = self.position(path) else {
            return json_text::unquoted(self.get_nested(path)?);
        };
        let field = &self.fields[at];
        let value = &self.text[field.value.clone()];
        match field.quoted {
            Some(_) => Some(Cow::Borrowed(value)),
            None => json_text::unquoted(value),
        }
    }

    /// Sets a top-level field: in place when it exists (the last of duplicates), else at the end.
    pub fn set(&mut self, name: &str, value: &RawValue) {
        self.set_json(name, value.get());
    }

    /// Sets a top-level field to a string.
    pub fn set_str(&mut self, name: &str, text: &str) {
        self.set_value_text(name, text, Some(OnceLock::new()));
    }

    /// Sets a top-level field to the number that `text` spells, when that is how JSON spells numbers: `0.470` stays
    /// `0.470`. Answers whether it is.
    pub fn set_number(&mut self, name: &str, text: &str) -> bool {
        let is_number = json_text::is_number(text);
        if is_number {
            self.set_json(name, text);
        }
        is_number
    }

    /// Sets a top-level field to anything serde can write as JSON without failing: numbers, booleans, strings.
    pub fn set_value<T: serde::Serialize>(&mut self, name: &str, value: &T) {
        match serde_json::to_string(value) {
            Ok(json) => self.set_json(name, &json),
            Err(_) => self.set_json(name, "null"),
        }
    }

    /// Adds the fields of `other` behind our own, its duplicates kept. Where both have a name, `overwrite` puts its
    /// value in our place, else ours stays and its value is gone. Linear in the number of fields.
    pub fn merge(&mut self, other: &Document, overwrite: bool) {
        let own_count = self.fields.len();
        let table = self.table(own_count);
        self.text.reserve(other.text.len());
        for field in &other.fields {
            let name = other.name(field);
            let known = match &table {
                Some(table) => table.get(name).copied(),
                None => self.fields[..own_count]
                    .iter()
                    .rposition(|own| self.name(own) == name),
            };
            if known.is_some() && !overwrite {
                continue;
            }
            let quoted = field.quoted.as_ref().map(|_| OnceLock::new());
            self.put(known, name, &other.text[field.value.clone()], quoted);
        }
    }

    /// Removes every top-level field of this name; answers whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.fields.len();
        let text = &self.text;
        self.fields
            .retain(|field| &text[field.name.clone()] != name);
        self.fields.len() < before
    }

    /// Removes what [`Document::get`] finds under `path`, also inside objects; answers whether there was something.
    pub fn remove_path(&mut self, path: &str) -> bool {
        if self.remove(path) {
            return true;
        }
        for (at, _) in path.match_indices('.') {
            let Some(parent) = self.position(&path[..at]) else {
                continue;
            };
            if self.fields[parent].quoted.is_some() {
                continue;
            }
            let object = &self.text[self.fields[parent].value.clone()];
            let Ok(mut object) = Document::parse(object.as_bytes()) else {
                continue;
            };
            if object.remove_path(&path[at + 1..]) {
                let start = self.text.len();
                object.push_to(&mut self.text);
                self.fields[parent].value = start..self.text.len();
                return true;
            }
        }
        false
    }

    /// Gives the top-level field `from` the name `to`, in its place; a field that had this name is gone. Answers
    /// whether there was one.
    pub fn rename(&mut self, from: &str, to: &str) -> bool {
        let Some(at) = self.position(from) else {
            return false;
        };
        if from == to {
            return true;
        }
        let (mut kept, mut place) = (0, at);
        for position in 0..self.fields.len() {
            let name = self.name(&self.fields[position]);
            let stays = position == at || (name != to && name != from);
            if stays {
                if position == at {
                    place = kept;
                }
                self.fields.swap(kept, position);
                kept += 1;
            }
        }
        self.fields.truncate(kept);
        self.fields[place].name = append(&mut self.text, to);
        true
    }

    /// Appends the text of the object, without white space between the fields.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.reserve(self.text.len() + 4 * self.fields.len() + 2);
        out.push(b'{');
        for (at, field) in self.fields.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            json_text::write_quoted(out, self.name(field));
            out.push(b':');
            let value = &self.text[field.value.clone()];
            match field.quoted {
                Some(_) => json_text::write_quoted(out, value),
                None => out.extend_from_slice(value.as_bytes()),
            }
        }
        out.push(b'}');
    }

    /// The text of the object, without white space between the fields.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::new();
        self.write_to(&mut out);
        Bytes::from(out)
    }

    fn name(&self, field: &Field) -> &str {
        &self.text[field.name.clone()]
    }

    /// The last field of this name.
    fn position(&self, name: &str) -> Option<usize> {
        self.fields
            .iter()
            .rposition(|field| self.name(field) == name)
    }

    /// The JSON text of a field's value.
    fn json<'a>(&'a self, field: &'a Field) -> &'a str {
        let value = &self.text[field.value.clone()];
        match &field.quoted {
            None => value,
            Some(quoted) => quoted.get_or_init(|| {
                let mut json = String::with_capacity(value.len() + 2);
                json_text::push_quoted(&mut json, value);
                json.into_boxed_str()
            }),
        }
    }

    fn get_nested(&self, path: &str) -> Option<&str> {
        let mut dots = path.match_indices('.');
        dots.find_map(|(at, _)| {
            let parent = &self.fields[self.position(&path[..at])?];
            if parent.quoted.is_some() {
                return None;
            }
            nested(&self.text[parent.value.clone()], &path[at + 1..])
        })
    }

    /// Where the names of the first fields stand, the last of each, when there are many.
    fn table(&self, count: usize) -> Option<HashMap<String, usize>> {
        let names = self.fields[..count].iter().enumerate();
        (count >= TABLE_FROM).then(|| {
            names
                .map(|(at, field)| (self.name(field).to_owned(), at))
                .collect()
        })
    }

    /// `json` is valid.
    fn set_json(&mut self, name: &str, json: &str) {
        self.set_value_text(name, json, None);
    }

    fn set_value_text(&mut self, name: &str, value: &str, quoted: Option<OnceLock<Box<str>>>) {
        self.put(self.position(name), name, value, quoted);
    }

    /// Gives the field that is known a value, or adds one of this name.
    fn put(
        &mut self,
        known: Option<usize>,
        name: &str,
        value: &str,
        quoted: Option<OnceLock<Box<str>>>,
    ) {
        let value = append(&mut self.text, value);
        match known {
            Some(at) => {
                self.fields[at].value = value;
                self.fields[at].quoted = quoted;
            }
            None => {
                let name = append(&mut self.text, name);
                self.fields.push(Field {
                    name,
                    value,
                    quoted,
                });
            }
        }
    }

    fn push(&mut self, name: &str, json: &str) {
        let name = append(&mut self.text, name);
        let value = append(&mut self.text, json);
        self.fields.push(Field {
            name,
            value,
            quoted: None,
        });
    }

    fn push_to(&self, out: &mut String) {
        out.push('{');
        for (at, (name, value)) in self.fields().enumerate() {
            if at > 0 {
                out.push(',');
            }
            json_text::push_quoted(out, name);
            out.push(':');
            out.push_str(value);
        }
        out.push('}');
    }
}

fn append(text: &mut String, piece: &str) -> Range<usize> {
    let start = text.len();
    text.push_str(piece);
    start..text.len()
}

/// The last value in an object's text that a path leads to.
fn nested<'a>(json: &'a str, path: &str) -> Option<&'a str> {
    if !json.starts_with('{') {
        return None;
    }
    let found = |name: &str| -> Option<&'a str> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let value = deserializer.deserialize_map(Finder { name }).ok()?;
        value.map(RawValue::get)
    };
    if let Some(value) = found(path) {
        return Some(value);
    }
    let mut dots = path.match_indices('.');
    dots.find_map(|(at, _)| nested(found(&path[..at])?, &path[at + 1..]))
}

/// Finds the last value of one name in an object.
struct Finder<'n> {
    name: &'n str,
}

impl<'de> Visitor<'de> for Finder<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(is_wanted) = map.next_key_seed(IsName(self.name))? {
            match is_wanted {
                true => found = Some(map.next_value()?),
                false => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// Whether a key is this name.
struct IsName<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for IsName<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsName<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

/// Appends all fields of an object.
struct FieldsVisitor<'d>(&'d mut Document);

impl<'de> Visitor<'de> for FieldsVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let document = self.0;
        while let Some(name) = map.next_key_seed(AppendName(&mut document.text))? {
            let value: &RawValue = map.next_value()?;
            let value = append(&mut document.text, value.get());
            document.fields.push(Field {
                name,
                value,
                quoted: None,
            });
        }
        Ok(())
    }
}

/// Appends a key to the text, without a copy in between.
struct AppendName<'t>(&'t mut String);

impl<'de> DeserializeSeed<'de> for AppendName<'_> {
    type Value = Range<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for AppendName<'_> {
    type Value = Range<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(append(self.0, key))
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
        assert_eq!(document.get("a.b").unwrap(), r#"{"c":"deep"}"#);
    }

    #[test]
    fn merging_overwrites_in_place_or_leaves_alone() {
        let other = || Document::parse(br#"{"b":2.50,"c":1,"c":2}"#).unwrap();
        let mut document = Document::parse(br#"{"a":0,"b":1,"z":9}"#).unwrap();
        document.merge(&other(), true);
        assert_eq!(document.to_bytes(), r#"{"a":0,"b":2.50,"z":9,"c":1,"c":2}"#);
        let mut document = Document::parse(br#"{"a":0,"b":1}"#).unwrap();
        document.merge(&other(), false);
        assert_eq!(document.to_bytes(), r#"{"a":0,"b":1,"c":1,"c":2}"#);
    }

    #[test]
    fn fields_are_removed_and_renamed_wherever_they_are() {
        let text = br#"{"a":{"b":{"c":1,"d":2}},"x.y":3,"to":4,"from":5}"#;
        let mut document = Document::parse(text).unwrap();
        assert!(document.remove_path("a.b.c"));
        assert!(document.remove_path("x.y"));
        assert!(!document.remove_path("a.q"));
        assert!(document.rename("from", "to"));
        assert!(!document.rename("from", "to"));
        assert_eq!(document.to_bytes(), r#"{"a":{"b":{"d":2}},"to":5}"#);
        document.clear();
        document.set_str("n\u{e9}w", "\u{e9}\u{1}");
        assert!(document.set_number("n", "-0.50e3"));
        assert!(!document.set_number("n", "0x1"));
        assert_eq!(
            document.to_bytes(),
            "{\"n\u{e9}w\":\"\u{e9}\\u0001\",\"n\":-0.50e3}"
        );
    }

    #[test]
    fn texts_are_what_they_are_until_their_json_is_wanted() {
        let mut document = Document::new();
        document.set_str("a", "x\ny");
        document.set_str("b", "");
        document.set_str("c", "");
        document.set_str("b", "");
        document.set_str("c", "");
        assert_eq!(document.get_str("a").as_deref(), Some("x\ny"));
        assert_eq!(document.get("a"), Some("\"x\\ny\""));
        assert!(document.has("a") && !document.has("a.b"));
        assert!(document.rename("c", "d") && !document.remove_path("a.b"));
        let mut other = Document::parse(br#"{"a":1}"#).unwrap();
        other.merge(&document, true);
        let written = r#"{"a":"x\ny","b":"","d":""}"#;
        assert_eq!(document.to_bytes(), written);
        assert_eq!(other.to_bytes(), written);
        let fields: Vec<_> = other.fields().collect();
        assert_eq!(fields[1], ("b", "\"\""));
    }

    #[test]
    fn an_objects_text_is_merged_or_leaves_everything_as_it_was() {
        let mut document = Document::parse(br#"{"a":0,"line":"l"}"#).unwrap();
        assert!(document.append_object(br#"{"b":1,"c":}"#).is_err());
        assert_eq!(document.to_bytes(), r#"{"a":0,"line":"l"}"#);
        let own_count = document.append_object(br#"{"a":1, "\u006c":2}"#).unwrap();
        assert_eq!(document.fields_from(own_count).count(), 2);
        document.merge_appended(own_count, Some("line"), true);
        assert_eq!(document.to_bytes(), r#"{"a":1,"l":2}"#);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "[]", "1", "{", r#"{"a":1} x"#, r#"{"a":}"#] {
            assert!(Document::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    /// A document as plainly as it can be: a list of names and values.
    #[derive(Debug, Default)]
    struct Model(Vec<(String, String)>);

    impl Model {
        fn set(&mut self, name: &str, value: &str) {
            match self.0.iter_mut().rev().find(|(known, _)| known == name) {
                Some((_, old)) => *old = value.to_owned(),
                None => self.0.push((name.to_owned(), value.to_owned())),
            }
        }

        fn rename(&mut self, from: &str, to: &str) {
            let Some(at) = self.0.iter().rposition(|(name, _)| name == from) else {
                return;
            };
            if from == to {
                return;
            }
            self.0[at].0 = "\u{0}".to_owned();
            self.0.retain(|(name, _)| name != from && name != to);
            for (name, _) in &mut self.0 {
                if name == "\u{0}" {
                    *name = to.to_owned();
                }
            }
        }

        fn merge(&mut self, other: &Model, overwrite: bool) {
            let own = self.0.len();
            for (name, value) in &other.0 {
                match self.0[..own].iter().rposition(|(known, _)| known == name) {
                    Some(at) if overwrite => self.0[at].1 = value.clone(),
                    Some(_) => {}
                    None => self.0.push((name.clone(), value.clone())),
                }
            }
        }
    }

    proptest! {
        /// Whatever is done to a document, it holds what a list of names and values would.
        #[test]
        fn a_document_is_a_list_of_names_and_values(
            steps in proptest::collection::vec((0..6u8, "[a-d]", "[a-d]", 0..100u32), 0..40),
        ) {
            let (mut document, mut model) = (Document::new(), Model::default());
            for (step, first, second, number) in steps {
                let value = number.to_string();
                match step {
                    0 | 1 => {
                        document.set_value(&first, &number);
                        model.set(&first, &value);
                    }
                    2 => {
                        document.remove(&first);
                        model.0.retain(|(name, _)| *name != first);
                    }
                    3 => {
                        document.rename(&first, &second);
                        model.rename(&first, &second);
                    }
                    _ => {
                        let text = format!("{{\"{first}\":{value},\"{second}\":-1}}");
                        let other = Document::parse(text.as_bytes()).unwrap();
                        let pairs = [(first.clone(), value.clone()), (second.clone(), "-1".to_owned())];
                        document.merge(&other, step == 4);
                        model.merge(&Model(pairs.to_vec()), step == 4);
                    }
                }
                let fields: Vec<(String, String)> = document
                    .fields()
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect();
                prop_assert_eq!(&fields, &model.0);
                let last = model.0.iter().rev().find(|(name, _)| *name == first);
                prop_assert_eq!(document.get(&first), last.map(|(_, value)| value.as_str()));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Document::parse(&bytes);
        }
    }
}
