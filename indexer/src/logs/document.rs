//! One event as tantivy takes it in: its id, position and time. What is in the document the plugin sees to (`plugin.rs`).

use bytes::Bytes;
use event::{Event, Position, Timestamp};
use tantivy::DateTime;
use tantivy::schema::Field;
use tantivy::schema::document::{Document, ReferenceValue, ReferenceValueLeaf, Value};

use super::schema::Fields;

/// When we took the event, found under this name unless the document has a field of this name itself.
pub const INGESTED_PATH: &str = "event.ingested";

/// The event's time; its column is `_timestamp`.
pub const TIMESTAMP_PATH: &str = "@timestamp";

/// One event, ready to be indexed.
#[derive(Debug)]
pub struct LogDocument {
    fields: Fields,
    /// The document as it was sent.
    pub source: Bytes,
    /// The sender's id.
    pub id: Option<Box<str>>,
    position: u64,
    /// The event's time.
    pub timestamp: Timestamp,
    /// When we took the event.
    pub received: Timestamp,
    /// It is stored without its fields and words: what is left to do with one that the index cannot take.
    pub is_plain: bool,
}

impl LogDocument {
    /// An event at `position`, which we took at `received`, UTC.
    pub fn new(
        fields: Fields,
        event: &Event,
        position: Position,
        received: Timestamp,
    ) -> LogDocument {
        LogDocument {
            fields,
            source: event.source.clone(),
            id: event.id.clone(),
            position: position.0,
            timestamp: event.timestamp,
            received,
            is_plain: false,
        }
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
        let fields = &document.fields;
        let number = self.next;
        self.next += 1;
        let (field, leaf) = match number {
            0 => (fields.position, ReferenceValueLeaf::U64(document.position)),
            1 => {
                let time = DateTime::from_timestamp_nanos(document.timestamp.nanos());
                (fields.timestamp, ReferenceValueLeaf::Date(time))
            }
            2 => (fields.id, ReferenceValueLeaf::Str(document.id.as_deref()?)),
            _ => return None,
        };
        Some((field, DocumentValue(leaf)))
    }
}

/// A value for tantivy.
#[derive(Debug, Clone)]
pub struct DocumentValue<'a>(ReferenceValueLeaf<'a>);

impl<'a> Value<'a> for DocumentValue<'a> {
    type ArrayIter = std::iter::Empty<Self>;
    type ObjectIter = std::iter::Empty<(&'a str, Self)>;

    fn as_value(&self) -> ReferenceValue<'a, Self> {
        ReferenceValue::Leaf(self.0.clone())
    }
}
