//! A fixed view of one shard, for `query`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use event::{Day, IndexName, Position, Timestamp};
use tantivy::columnar::{Column, StrColumn};
use tantivy::query::Query;
use tantivy::{DateTime, DocId, Searcher};

use super::Leaf;

/// Which shard: one UTC day of one index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId {
    /// The index.
    pub index: IndexName,
    /// The day of its events' timestamps.
    pub day: Day,
}

/// What kinds of values a path has in a shard; several can be true, because nothing is refused for its type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FieldKinds {
    /// Texts that can be aggregated and sorted by (no longer than the column's bound).
    pub text: bool,
    /// Long texts or full text: can be searched, not aggregated.
    pub full_text: bool,
    /// Whole numbers.
    pub integer: bool,
    /// Other numbers.
    pub float: bool,
    /// Booleans.
    pub boolean: bool,
    /// Times.
    pub time: bool,
}

/// A fixed view of one shard. Cheap to clone. Blocking: call its methods from a blocking thread.
#[derive(Clone)]
pub struct ShardReader {
    _todo: Arc<()>,
}

/// One event as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The sender's id or ours.
    pub id: String,
    /// Its number in the journal: unique, stable, below 2^53.
    pub position: Position,
    /// Its time.
    pub timestamp: Timestamp,
    /// The document, byte for byte as it was sent.
    pub source: Bytes,
}

/// The values of one field in one segment, by document; one field may have several columns of different types.
///
/// tantivy's columns: `values_for_doc(doc)` gives all values of a document, `first(doc)` the first one.
pub enum ValueColumn {
    /// Texts: ordinals into a sorted dictionary.
    Text(StrColumn),
    /// Whole numbers.
    Integer(Column<i64>),
    /// Whole numbers, some above `i64::MAX`.
    Unsigned(Column<u64>),
    /// Numbers.
    Float(Column<f64>),
    /// Booleans.
    Bool(Column<bool>),
    /// Times, nanoseconds since 1970.
    Time(Column<DateTime>),
}

/// A shard cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read shard {shard}: {message}")]
pub struct ReadError {
    /// The shard's name, as `logs-2026.11.23`.
    pub shard: String,
    /// What failed.
    pub message: String,
}

impl ShardReader {
    /// Which shard this is.
    pub fn id(&self) -> &ShardId {
        unimplemented!()
    }

    /// Its name as clients see it: `logs-2026.11.23`.
    pub fn name(&self) -> String {
        unimplemented!()
    }

    /// How many events it has, deleted ones not counted.
    pub fn event_count(&self) -> u64 {
        unimplemented!()
    }

    /// The earliest and latest timestamp of its events; `None` when it is empty.
    pub fn time_range(&self) -> Option<(Timestamp, Timestamp)> {
        unimplemented!()
    }

    /// Every path that has a value somewhere in the shard, dotted, with its kinds. `@timestamp` is among them.
    pub fn fields(&self) -> Arc<BTreeMap<String, FieldKinds>> {
        unimplemented!()
    }

    /// tantivy's view; its segments are numbered as below.
    pub fn searcher(&self) -> &Searcher {
        unimplemented!()
    }

    /// A tantivy query that answers `leaf`; it combines with tantivy's own queries. It gives no scores.
    ///
    /// # Errors
    /// The shard's files cannot be read, or a pattern is no valid regular expression.
    pub fn query(&self, _leaf: &Leaf) -> Result<Box<dyn Query>, ReadError> {
        unimplemented!()
    }

    /// All columns of a field in one segment; none when the segment has no such values.
    /// Also `@timestamp` (a `Time` column) and `f.keyword`, as [`super::Field::Named`] says.
    ///
    /// # Errors
    /// The shard's files cannot be read.
    pub fn columns(&self, _segment: usize, _field: &str) -> Result<Vec<ValueColumn>, ReadError> {
        unimplemented!()
    }

    /// The timestamp of each document of a segment, in nanoseconds since 1970; every document has exactly one.
    ///
    /// # Errors
    /// The shard's files cannot be read.
    pub fn timestamps(&self, _segment: usize) -> Result<Column<i64>, ReadError> {
        unimplemented!()
    }

    /// The journal position of each document of a segment; every document has exactly one.
    ///
    /// # Errors
    /// The shard's files cannot be read.
    pub fn positions(&self, _segment: usize) -> Result<Column<u64>, ReadError> {
        unimplemented!()
    }

    /// Reads one event back. Dearer than a column: decompresses a block of some 64 KiB, the last ones are kept.
    ///
    /// # Errors
    /// The shard's files cannot be read.
    pub fn event(&self, _segment: usize, _doc: DocId) -> Result<Hit, ReadError> {
        unimplemented!()
    }

    /// The words of a text, cut and lower-cased as the index does, with their byte ranges in `text`.
    pub fn words(text: &str) -> Vec<(std::ops::Range<usize>, String)> {
        let _ = text;
        unimplemented!()
    }
}
