//! One event as tantivy takes it in: its leaves sorted into columns and full texts, without copying the document.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use event::{Event, Position, Timestamp};
use rustc_hash::FxHashSet;
use tantivy::DateTime;
use tantivy::schema::Field;
use tantivy::schema::document::{Document, ReferenceValue, ReferenceValueLeaf, Value};

use super::flatten::{LeafValue, flatten};
use super::schema::{FULL_TEXT_FIELDS, Fields, is_full_text};

/// When we took the event, found under this name unless the document has a field of this name itself.
pub const INGESTED_PATH: &str = "event.ingested";

/// The event's time; its column is `_timestamp`.
pub const TIMESTAMP_PATH: &str = "@timestamp";

/// The entries of `LogDocument::fixed_entry`.
const FIXED_ENTRIES: usize = 5;

/// Paths remembered to be shared by documents; when there are more, all are forgotten and learned anew.
const KNOWN_PATHS_MAX: usize = 16 * 1024;

/// Makes documents for one shard; remembers the paths it has seen.
pub struct DocumentBuilder {
    fields: Fields,
    known_paths: FxHashSet<Arc<str>>,
}

/// One event, ready to be indexed.
#[derive(Debug)]
pub struct LogDocument {
    fields: Fields,
    source: Bytes,
    id: Option<Box<str>>,
    position: u64,
    timestamp: DateTime,
    leaves: Vec<DocumentLeaf>,
    /// The words of numbers and booleans, one after the other.
    spelled: String,
}

#[derive(Debug)]
struct DocumentLeaf {
    path: Arc<str>,
    value: Held,
    is_full_text: bool,
    /// Where the value is spelled for free-text search; `None` when `value` is a text itself.
    spelled: Option<Range<usize>>,
}

/// A value; texts without escapes stay in the source.
#[derive(Debug)]
enum Held {
    InSource(Range<usize>),
    Text(Box<str>),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Bool(bool),
    Time(DateTime, Range<usize>),
}

impl DocumentBuilder {
    /// A builder for shards with these fields.
    pub fn new(fields: Fields) -> DocumentBuilder {
        DocumentBuilder {
            fields,
            known_paths: FxHashSet::default(),
        }
    }

    /// Takes an event apart. `received` is when we took it, UTC.
    pub fn build(&mut self, event: &Event, position: Position, received: Timestamp) -> LogDocument {
        let mut document = self.without_leaves(event, position);
        document.leaves.reserve(16);
        let mut has_ingested = false;
        // Sources check their documents' UTF-8; should one not, its text is found with replacement characters.
        let text = String::from_utf8_lossy(&event.source);
        let base = match &text {
            Cow::Borrowed(text) => Some(text.as_ptr() as usize),
            Cow::Owned(_) => None,
        };
        flatten(&text, &mut |path, value| {
            has_ingested |= path == INGESTED_PATH;
            let is_own_timestamp = path == TIMESTAMP_PATH && is_time_of(&value, event.timestamp);
            if !is_own_timestamp {
                let path = share(&mut self.known_paths, path);
                document.push(path, value, base);
            }
        });
        if !has_ingested {
            self.add_ingested(&mut document, received);
        }
        document
    }

    /// An event without its fields and words: what is left to do with one that the index cannot take.
    pub fn build_plain(
        &mut self,
        event: &Event,
        position: Position,
        received: Timestamp,
    ) -> LogDocument {
        let mut document = self.without_leaves(event, position);
        self.add_ingested(&mut document, received);
        document
    }

    fn without_leaves(&self, event: &Event, position: Position) -> LogDocument {
        LogDocument {
            fields: self.fields,
            source: event.source.clone(),
            id: event.id.clone(),
            position: position.0,
            timestamp: DateTime::from_timestamp_nanos(event.timestamp.nanos()),
            leaves: Vec::new(),
            spelled: String::new(),
        }
    }

    fn add_ingested(&mut self, document: &mut LogDocument, received: Timestamp) {
        // Milliseconds suffice and take a quarter of the bytes.
        let millis = DateTime::from_timestamp_millis(received.millis());
        let path = share(&mut self.known_paths, INGESTED_PATH);
        document.leaves.push(DocumentLeaf {
            path,
            value: Held::Time(millis, 0..0),
            is_full_text: false,
            spelled: None,
        });
    }
}

fn share(known_paths: &mut FxHashSet<Arc<str>>, path: &str) -> Arc<str> {
    if let Some(known) = known_paths.get(path) {
        return Arc::clone(known);
    }
    if known_paths.len() >= KNOWN_PATHS_MAX {
        known_paths.clear();
    }
    let path: Arc<str> = Arc::from(path);
    known_paths.insert(Arc::clone(&path));
    path
}

/// A `@timestamp` that says what the `_timestamp` column holds needs no column of its own.
fn is_time_of(value: &LeafValue, timestamp: Timestamp) -> bool {
    let said = match value {
        LeafValue::Text(text) => Timestamp::parse_lenient(text).ok(),
        LeafValue::Integer(millis) => Timestamp::from_millis(*millis),
        LeafValue::Float(millis) => Timestamp::parse_lenient(&millis.to_string()).ok(),
        LeafValue::Unsigned(_) | LeafValue::Bool(_) => None,
    };
    said == Some(timestamp)
}

/// Texts that are a full date, as Elasticsearch's date detection takes them for times.
fn time_in(text: &str) -> Option<DateTime> {
    let bytes = text.as_bytes();
    let looks_like_date = (10..=40).contains(&bytes.len())
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && bytes[0].is_ascii_digit();
    if !looks_like_date {
        return None;
    }
    let timestamp = Timestamp::parse_iso(text).ok()?;
    Some(DateTime::from_timestamp_nanos(timestamp.nanos()))
}

impl LogDocument {
    fn push(&mut self, path: Arc<str>, value: LeafValue, source_base: Option<usize>) {
        let mut spelled = None;
        let mut is_full = false;
        let value = match value {
            LeafValue::Text(text) => {
                is_full = is_full_text(&path, &text);
                let time = if is_full { None } else { time_in(&text) };
                match (time, text, source_base) {
                    (Some(time), text, _) => {
                        let start = self.spelled.len();
                        self.spelled.push_str(&text);
                        Held::Time(time, start..self.spelled.len())
                    }
                    (None, Cow::Borrowed(text), Some(base)) => {
                        let start = text.as_ptr() as usize - base;
                        Held::InSource(start..start + text.len())
                    }
                    (None, text, _) => Held::Text(text.into_owned().into_boxed_str()),
                }
            }
            LeafValue::Integer(number) => {
                spelled = Some(self.spell(number));
                Held::Integer(number)
            }
            LeafValue::Unsigned(number) => {
                spelled = Some(self.spell(number));
                Held::Unsigned(number)
            }
            LeafValue::Float(number) => {
                spelled = Some(self.spell(number));
                Held::Float(number)
            }
            LeafValue::Bool(truth) => {
                spelled = Some(self.spell(truth));
                Held::Bool(truth)
            }
        };
        if let Held::Time(_, range) = &value {
            spelled = Some(range.clone());
        }
        self.leaves.push(DocumentLeaf {
            path,
            value,
            is_full_text: is_full,
            spelled,
        });
    }

    fn spell(&mut self, value: impl std::fmt::Display) -> Range<usize> {
        let start = self.spelled.len();
        // Writing to a String cannot fail.
        let _ = write!(self.spelled, "{value}");
        start..self.spelled.len()
    }

    fn text_of<'a>(&'a self, held: &'a Held) -> Option<&'a str> {
        match held {
            Held::InSource(range) => std::str::from_utf8(&self.source[range.clone()]).ok(),
            Held::Text(text) => Some(text),
            _ => None,
        }
    }

    fn leaf_value<'a>(&'a self, leaf: &'a DocumentLeaf) -> ReferenceValueLeaf<'a> {
        match &leaf.value {
            Held::InSource(_) | Held::Text(_) => {
                ReferenceValueLeaf::Str(self.text_of(&leaf.value).unwrap_or_default())
            }
            Held::Integer(number) => ReferenceValueLeaf::I64(*number),
            Held::Unsigned(number) => ReferenceValueLeaf::U64(*number),
            Held::Float(number) => ReferenceValueLeaf::F64(*number),
            Held::Bool(truth) => ReferenceValueLeaf::Bool(*truth),
            Held::Time(time, _) => ReferenceValueLeaf::Date(*time),
        }
    }

    /// The fields every document has.
    fn fixed_entry(&self, number: usize) -> (Field, DocumentValue<'_>) {
        let leaf = DocumentValue::Leaf;
        match number {
            0 => (
                self.fields.source,
                leaf(ReferenceValueLeaf::Bytes(&self.source)),
            ),
            1 => (
                self.fields.position,
                leaf(ReferenceValueLeaf::U64(self.position)),
            ),
            2 => (
                self.fields.timestamp,
                leaf(ReferenceValueLeaf::Date(self.timestamp)),
            ),
            3 => (
                self.fields.columns,
                DocumentValue::Object {
                    document: self,
                    is_full_text: false,
                },
            ),
            _ => (
                self.fields.text,
                DocumentValue::Object {
                    document: self,
                    is_full_text: true,
                },
            ),
        }
    }

    /// What free-text search without a field name finds of a leaf. The fields that are always full text are searched
    /// by their paths instead.
    fn any_entry<'a>(&'a self, leaf: &'a DocumentLeaf) -> Option<(Field, DocumentValue<'a>)> {
        if leaf.is_full_text && FULL_TEXT_FIELDS.contains(&&*leaf.path) {
            return None;
        }
        let text = match &leaf.spelled {
            Some(range) => &self.spelled[range.clone()],
            None => self.text_of(&leaf.value).unwrap_or_default(),
        };
        Some((
            self.fields.any,
            DocumentValue::Leaf(ReferenceValueLeaf::Str(text)),
        ))
    }
}

impl Document for LogDocument {
    type Value<'a> = DocumentValue<'a>;
    type FieldsValuesIter<'a> = EntryIter<'a>;

    fn iter_fields_and_values(&self) -> EntryIter<'_> {
        EntryIter {
            document: self,
            next: 0,
        }
    }
}

/// The fields of a document for tantivy.
pub struct EntryIter<'a> {
    document: &'a LogDocument,
    next: usize,
}

impl<'a> Iterator for EntryIter<'a> {
    type Item = (Field, DocumentValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let document = self.document;
        let leaf_count = document.leaves.len();
        loop {
            let number = self.next;
            self.next += 1;
            if number < FIXED_ENTRIES {
                return Some(document.fixed_entry(number));
            }
            if number < FIXED_ENTRIES + leaf_count {
                match document.any_entry(&document.leaves[number - FIXED_ENTRIES]) {
                    Some(entry) => return Some(entry),
                    None => continue,
                }
            }
            if number < FIXED_ENTRIES + 2 * leaf_count {
                let leaf = &document.leaves[number - FIXED_ENTRIES - leaf_count];
                if leaf.is_full_text {
                    let path = ReferenceValueLeaf::Str(&leaf.path);
                    return Some((document.fields.has, DocumentValue::Leaf(path)));
                }
                continue;
            }
            let id = document
                .id
                .as_deref()
                .filter(|_| number == FIXED_ENTRIES + 2 * leaf_count)?;
            return Some((
                document.fields.id,
                DocumentValue::Leaf(ReferenceValueLeaf::Str(id)),
            ));
        }
    }
}

/// A value for tantivy.
#[derive(Debug, Clone)]
pub enum DocumentValue<'a> {
    /// A value without parts.
    Leaf(ReferenceValueLeaf<'a>),
    /// All columns, or all full texts, of a document by path.
    Object {
        /// Whose.
        document: &'a LogDocument,
        /// Which of the two.
        is_full_text: bool,
    },
}

impl<'a> Value<'a> for DocumentValue<'a> {
    type ArrayIter = std::iter::Empty<Self>;
    type ObjectIter = LeafIter<'a>;

    fn as_value(&self) -> ReferenceValue<'a, Self> {
        match self {
            DocumentValue::Leaf(leaf) => ReferenceValue::Leaf(leaf.clone()),
            DocumentValue::Object {
                document,
                is_full_text,
            } => ReferenceValue::Object(LeafIter {
                document,
                is_full_text: *is_full_text,
                next: 0,
            }),
        }
    }
}

/// The columns, or the full texts, of a document by path.
pub struct LeafIter<'a> {
    document: &'a LogDocument,
    is_full_text: bool,
    next: usize,
}

impl<'a> Iterator for LeafIter<'a> {
    type Item = (&'a str, DocumentValue<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let leaf = self.document.leaves.get(self.next)?;
            self.next += 1;
            if leaf.is_full_text == self.is_full_text {
                return Some((
                    &leaf.path,
                    DocumentValue::Leaf(self.document.leaf_value(leaf)),
                ));
            }
        }
    }
}
