//! A fixed view of one shard, for `query`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use event::{Day, IndexName, Position, Timestamp};
use tantivy::columnar::{Column, StrColumn};
use tantivy::query::{EnableScoring, Query};
use tantivy::{DateTime, DocId, DocSet, Searcher, TERMINATED};

use super::Leaf;
use super::event_id::EventIds;
use super::interrupt::{Interrupt, Never};
use super::matching::LeafQuery;
use super::segment::Segment;
use super::templates::SegmentTemplates;
use super::usage::{self, Usage};
use super::words;

/// Which shard: one UTC day of one index.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId {
    /// The index.
    pub index: IndexName,
    /// The day of its events' timestamps.
    pub day: Day,
}

impl ShardId {
    /// Its name as clients see it: `logs-2026.11.23`.
    pub fn name(&self) -> String {
        self.index.shard_name(self.day)
    }

    /// Orders before every shard of an index.
    pub(crate) fn first_of(index: &IndexName) -> ShardId {
        ShardId {
            index: index.clone(),
            day: Day::from_number(i32::MIN),
        }
    }
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
    contents: Arc<ShardContents>,
    interrupt: Arc<dyn Interrupt>,
    documents: Range<DocId>,
}

pub(super) struct ShardContents {
    pub(super) id: ShardId,
    pub(super) searcher: Searcher,
    pub(super) segments: Vec<Segment>,
    pub(super) ids: EventIds,
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
    pub(super) fn new(contents: ShardContents) -> ShardReader {
        ShardReader {
            contents: Arc::new(contents),
            interrupt: Arc::new(Never),
            documents: 0..TERMINATED,
        }
    }

    /// The same view, whose work stops when `interrupt` says so; what was interrupted is an error.
    pub fn interruptible(&self, interrupt: Arc<dyn Interrupt>) -> ShardReader {
        let segments = self.contents.segments.iter();
        ShardReader {
            contents: Arc::new(ShardContents {
                segments: segments.map(|one| one.watched(&interrupt)).collect(),
                id: self.contents.id.clone(),
                searcher: self.contents.searcher.clone(),
                ids: self.contents.ids.clone(),
            }),
            interrupt,
            documents: self.documents.clone(),
        }
    }

    /// The same view for a search that wants documents of this range of a segment alone: queries may leave out the others.
    pub fn within(&self, documents: Range<DocId>) -> ShardReader {
        ShardReader {
            documents,
            ..self.clone()
        }
    }

    /// Which shard this is.
    pub fn id(&self) -> &ShardId {
        &self.contents.id
    }

    /// Its name as clients see it: `logs-2026.11.23`.
    pub fn name(&self) -> String {
        self.contents.id.name()
    }

    /// How many events it has, deleted ones not counted.
    pub fn event_count(&self) -> u64 {
        self.contents.searcher.num_docs()
    }

    /// The earliest and latest timestamp of its events, deleted ones included; `None` when it is empty.
    pub fn time_range(&self) -> Option<(Timestamp, Timestamp)> {
        let ranges = self
            .contents
            .segments
            .iter()
            .filter(|segment| segment.document_count() > 0)
            .map(|segment| {
                let column = segment.timestamps();
                (
                    column.min_value().into_timestamp_nanos(),
                    column.max_value().into_timestamp_nanos(),
                )
            });
        let (first, last) = ranges.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)))?;
        Some((Timestamp::from_nanos(first), Timestamp::from_nanos(last)))
    }

    /// Every path that has a value somewhere in the shard, dotted, with its kinds. `@timestamp` is among them.
    pub fn fields(&self) -> BTreeMap<String, FieldKinds> {
        let mut kinds = BTreeMap::new();
        for segment in &self.contents.segments {
            segment.add_fields_to(&mut kinds);
        }
        kinds
    }

    /// What each segment has.
    /// Whether a segment has a column for the texts of a field, so that none must be made to sort or aggregate by it.
    pub fn has_text_column(&self, segment: usize, field: &str) -> bool {
        let segment = &self.contents.segments[segment];
        let path = segment.path(segment.resolve(field));
        path.is_some_and(|path| path.distinct_text_count > 0)
    }

    /// Whether some segment has no column for the texts of a path, for being too many different ones.
    pub(crate) fn is_too_distinct(&self, path: &str) -> bool {
        let mut segments = self.segments().iter();
        segments.any(|segment| segment.contents.is_too_distinct(path))
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.contents.segments
    }

    /// tantivy's view; its segments are numbered as below.
    pub fn searcher(&self) -> &Searcher {
        &self.contents.searcher
    }

    /// A tantivy query that answers `leaf`; it combines with tantivy's own queries. It gives no scores.
    ///
    /// # Errors
    /// A pattern is no valid regular expression, or too large.
    pub fn query(&self, leaf: &Leaf) -> Result<Box<dyn Query>, ReadError> {
        let query = LeafQuery::new(
            leaf,
            Arc::clone(&self.contents),
            Arc::clone(&self.interrupt),
            self.documents.clone(),
        );
        match query {
            Ok(query) => Ok(Box::new(query)),
            Err(message) => Err(ReadError {
                shard: self.name(),
                message,
            }),
        }
    }

    /// All columns of a field in one segment; none when the segment has no such values.
    /// Also `@timestamp` (a `Time` column) and `f.keyword`, as [`super::Field::Named`] says.
    ///
    /// # Errors
    /// The shard's files cannot be read.
    pub fn columns(&self, segment: usize, field: &str) -> Result<Vec<ValueColumn>, ReadError> {
        let segment = &self.contents.segments[segment];
        segment
            .columns(segment.resolve(field))
            .map_err(|error| self.error(error))
    }

    /// Whether a field of one segment has full texts, which have no column.
    pub fn has_full_text(&self, segment: usize, field: &str) -> bool {
        let segment = &self.contents.segments[segment];
        segment.has_full_text(segment.resolve(field))
    }

    /// The time of each document of a segment; every document has exactly one.
    pub fn timestamps(&self, segment: usize) -> &Column<DateTime> {
        self.contents.segments[segment].timestamps()
    }

    /// The journal position of each document of a segment; every document has exactly one.
    pub fn positions(&self, segment: usize) -> &Column<u64> {
        self.contents.segments[segment].positions()
    }

    /// What fills a segment. Reads it nearly whole: a second for some GB of documents.
    ///
    /// # Errors
    /// The shard's files cannot be read, or the interrupt said to stop.
    pub fn usage(&self, segment: usize) -> Result<Usage, ReadError> {
        let segment = &self.contents.segments[segment];
        usage::of_segment(&self.name(), segment, &*self.interrupt)
    }

    /// The templates of a segment's messages.
    ///
    /// # Errors
    /// The shard's files cannot be read.
    pub fn templates(&self, segment: usize) -> Result<SegmentTemplates, ReadError> {
        SegmentTemplates::new(self.name(), &self.contents.segments[segment])
    }

    /// Reads one event back. Dearer than a column: decompresses some frames of 128 KiB, the last ones are kept.
    ///
    /// # Errors
    /// The shard's files cannot be read.
    pub fn event(&self, segment: usize, doc: DocId) -> Result<Hit, ReadError> {
        let segment = &self.contents.segments[segment];
        let stored = segment.stored(doc).map_err(|error| self.error(error))?;
        let position = segment.position(doc);
        Ok(Hit {
            id: stored
                .id
                .unwrap_or_else(|| self.contents.ids.id_of(position)),
            position,
            timestamp: segment.timestamp(doc),
            source: Bytes::from(stored.source),
        })
    }

    /// The first event that matches, in no particular order; deleted ones do not count.
    ///
    /// # Errors
    /// The shard's files cannot be read.
    pub fn first_event(&self, leaf: &Leaf) -> Result<Option<Hit>, ReadError> {
        let query = self.query(leaf)?;
        let find = || -> tantivy::Result<Option<(usize, DocId)>> {
            let weight = query.weight(EnableScoring::disabled_from_searcher(self.searcher()))?;
            for (number, reader) in self.searcher().segment_readers().iter().enumerate() {
                let mut scorer = weight.scorer(reader, 1.0)?;
                while scorer.doc() != TERMINATED {
                    if !reader.is_deleted(scorer.doc()) {
                        return Ok(Some((number, scorer.doc())));
                    }
                    scorer.advance();
                }
            }
            Ok(None)
        };
        let found = find().map_err(|error| self.error(error))?;
        found
            .map(|(segment, doc)| self.event(segment, doc))
            .transpose()
    }

    /// Whether the shard has the event with this id, be it the sender's or ours; deleted ones do not count.
    ///
    /// # Errors
    /// The shard's files cannot be read.
    pub fn has_event(&self, id: &str) -> Result<bool, ReadError> {
        let position = self.contents.ids.position_of(id);
        for segment in &self.contents.segments {
            let has = segment
                .has_given_id(id)
                .map_err(|error| self.error(error))?;
            if has {
                return Ok(true);
            }
            let Some(position) = position else { continue };
            if segment
                .has_made_id(position)
                .map_err(|error| self.error(error))?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The words of a text, cut and lower-cased as the index does, with their byte ranges in `text`.
    pub fn words(text: &str) -> Vec<(std::ops::Range<usize>, String)> {
        words::words(text).collect()
    }

    fn error(&self, error: tantivy::TantivyError) -> ReadError {
        ReadError {
            shard: self.name(),
            message: error.to_string(),
        }
    }
}
