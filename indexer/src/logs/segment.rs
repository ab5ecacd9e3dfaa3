//! A fixed view of one tantivy segment: its columns by path, its blocks, its documents.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use event::{Position, Timestamp};
use tantivy::columnar::{Column, ColumnarReader, DynamicColumn, StrColumn};
use tantivy::directory::FileSlice;
use tantivy::schema::{IndexRecordOption, Term};
use tantivy::{DateTime, DocId, DocSet, SegmentReader, TERMINATED};

use super::blocks::{BlockCache, BlocksFile, OpenBlock};
use super::columns::{ColumnKind, ColumnsFile, PathSummary, TEXTS_NAME};
use super::document::TIMESTAMP_PATH;
use super::id_filter::IdFilter;
use super::interrupt::Interrupt;
use super::matching::values::made_texts;
use super::plugin::{open_blocks, open_columns};
use super::reader::{FieldKinds, ValueColumn};
use super::schema::Fields;

/// Names that are found under another one when nothing has the name itself: OTLP's and ECS's spelling of the same.
const ALIASES: [(&str, &str); 2] = [("trace_id", "trace.id"), ("span_id", "span.id")];

/// Columns made of slots that a segment keeps, in bytes; the ones made first go first.
const MADE_COLUMNS_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a segment has, read once when it is first seen and kept as long as it lives.
pub struct SegmentContents {
    columns: ColumnsFile,
    blocks: BlocksFile,
    positions: Column<u64>,
    timestamps: Column<DateTime>,
    id_filter: OnceLock<IdFilter>,
    /// Columns of texts that lie in slots alone, made when they were asked for: path, column, bytes.
    made_columns: Mutex<Vec<(String, StrColumn, usize)>>,
    /// How often each of them was asked for.
    asked: Mutex<BTreeMap<String, u32>>,
}

/// A segment and what is known of it. Cheap to clone.
#[derive(Clone)]
pub struct Segment {
    pub(super) reader: SegmentReader,
    pub(super) contents: Arc<SegmentContents>,
    pub(super) fields: Fields,
    blocks: BlocksFile,
}

/// One document as it is stored.
pub struct StoredDocument {
    /// The sender's id, if there was one.
    pub id: Option<String>,
    /// The document as sent.
    pub source: Vec<u8>,
}

impl SegmentContents {
    /// Reads where the segment's columns and blocks are.
    pub fn read(reader: &SegmentReader, cache: &BlockCache) -> tantivy::Result<SegmentContents> {
        Ok(SegmentContents {
            columns: open_columns(reader)?,
            blocks: open_blocks(reader, cache)?,
            positions: reader.fast_fields().u64("_position")?,
            timestamps: reader.fast_fields().date("_timestamp")?,
            id_filter: OnceLock::new(),
            made_columns: Mutex::default(),
            asked: Mutex::default(),
        })
    }

    /// The paths that were sorted or aggregated by without having a column, how often, and how many texts they have.
    pub fn asked_columns(&self) -> Vec<(String, u32, u64)> {
        let asked = self.asked.lock().expect("no holder of this lock panics");
        let text_count = |path: &str| self.columns.path(path).map_or(0, |path| path.text_count);
        asked
            .iter()
            .map(|(path, times)| (path.clone(), *times, text_count(path)))
            .collect()
    }

    /// Whether the texts of a path have no column for being too many different ones.
    pub fn is_too_distinct(&self, path: &str) -> bool {
        let summary = self.columns.path(path);
        summary.is_some_and(|summary| summary.is_too_distinct)
    }
}

impl Segment {
    /// A segment, and what was read of it.
    pub fn new(reader: SegmentReader, contents: Arc<SegmentContents>, fields: Fields) -> Segment {
        Segment {
            blocks: contents.blocks.clone(),
            reader,
            contents,
            fields,
        }
    }

    /// The same segment, read for work that `interrupt` watches over.
    pub fn watched(&self, interrupt: &Arc<dyn Interrupt>) -> Segment {
        Segment {
            blocks: self.contents.blocks.watched(interrupt),
            ..self.clone()
        }
    }

    /// How many documents it has, deleted ones included; documents are numbered from 0.
    pub fn document_count(&self) -> DocId {
        self.reader.max_doc()
    }

    /// The documents, and what their values say.
    pub fn blocks(&self) -> &BlocksFile {
        &self.blocks
    }

    /// The documents, read whatever the interrupt says.
    pub fn unwatched_blocks(&self) -> &BlocksFile {
        &self.contents.blocks
    }

    /// Every path with its kinds, `@timestamp` among them.
    pub fn add_fields_to(&self, kinds: &mut BTreeMap<String, FieldKinds>) {
        for (path, summary) in self.contents.columns.paths() {
            let kinds = kinds.entry(path.to_owned()).or_default();
            for kind in summary.kinds() {
                match kind {
                    ColumnKind::Text => kinds.text = true,
                    ColumnKind::Integer | ColumnKind::Unsigned => kinds.integer = true,
                    ColumnKind::Float => kinds.float = true,
                    ColumnKind::Bool => kinds.boolean = true,
                    ColumnKind::Time => kinds.time = true,
                }
            }
            kinds.text |= summary.is_too_distinct;
            kinds.full_text |= summary.has_full_text;
        }
        if self.document_count() > 0 {
            kinds.entry(TIMESTAMP_PATH.to_owned()).or_default().time = true;
        }
    }

    /// The path under which this segment has what a query calls `name`.
    pub fn resolve<'n>(&self, name: &'n str) -> &'n str {
        if self.has_path(name) {
            return name;
        }
        let parent = name.strip_suffix(".keyword");
        if let Some(parent) =
            parent.filter(|parent| self.has_path(parent) || *parent == TIMESTAMP_PATH)
        {
            return parent;
        }
        match ALIASES.iter().find(|(alias, _)| *alias == name) {
            Some((_, path)) if self.has_path(path) => path,
            _ => name,
        }
    }

    fn has_path(&self, path: &str) -> bool {
        self.contents.columns.path(path).is_some()
    }

    /// What there is under a path.
    pub fn path(&self, path: &str) -> Option<&PathSummary> {
        self.contents.columns.path(path)
    }

    /// Every path that has values, with what there is of it in columns.
    pub fn column_paths(&self) -> impl Iterator<Item = (&str, &PathSummary)> {
        self.contents.columns.paths()
    }

    /// Whether some document has a full text under `path`.
    pub fn has_full_text(&self, path: &str) -> bool {
        self.path(path).is_some_and(|summary| summary.has_full_text)
    }

    /// Every path that lies at `path` or below it.
    pub fn paths_under<'s>(&'s self, path: &'s str) -> impl Iterator<Item = &'s str> {
        self.contents.columns.under(path).map(|(known, _)| known)
    }

    /// All columns of a resolved path; one is made of the slots when too many texts are distinct for a column in the
    /// segment, which costs some 100 ms per million of them the first time.
    pub fn columns(&self, path: &str) -> tantivy::Result<Vec<ValueColumn>> {
        let mut opened = self.ready_columns(path)?;
        if self
            .path(path)
            .is_some_and(|summary| summary.is_too_distinct)
        {
            opened.extend(self.made_column(path)?.map(ValueColumn::Text));
        }
        Ok(opened)
    }

    /// The columns of a resolved path that the segment has.
    pub fn ready_columns(&self, path: &str) -> tantivy::Result<Vec<ValueColumn>> {
        let mut opened = Vec::new();
        if path == TIMESTAMP_PATH {
            opened.push(ValueColumn::Time(self.contents.timestamps.clone()));
        }
        opened.extend(self.contents.columns.columns(path)?);
        Ok(opened)
    }

    fn made_column(&self, path: &str) -> tantivy::Result<Option<StrColumn>> {
        let lock = || {
            let made = &self.contents.made_columns;
            made.lock().expect("no holder of this lock panics")
        };
        {
            let asked = self.contents.asked.lock();
            let mut asked = asked.expect("no holder of this lock panics");
            *asked.entry(path.to_owned()).or_default() += 1;
        }
        if let Some((_, column, _)) = lock().iter().find(|(made, ..)| made == path) {
            return Ok(Some(column.clone()));
        }
        let bytes = made_texts(self.blocks(), path)?;
        let len = bytes.len();
        let columnar = ColumnarReader::open(FileSlice::from(bytes))?;
        let mut column = None;
        for handle in columnar.read_columns(TEXTS_NAME)? {
            if let DynamicColumn::Str(texts) = handle.open()? {
                column = Some(texts);
            }
        }
        if let Some(column) = &column {
            let mut made = lock();
            made.push((path.to_owned(), column.clone(), len));
            while made.len() > 1
                && made.iter().map(|(.., len)| len).sum::<usize>() > MADE_COLUMNS_BYTES_MAX
            {
                made.remove(0);
            }
        }
        Ok(column)
    }

    /// The journal position of each document.
    pub fn positions(&self) -> &Column<u64> {
        &self.contents.positions
    }

    /// The time of each document.
    pub fn timestamps(&self) -> &Column<DateTime> {
        &self.contents.timestamps
    }

    /// The position of one document.
    pub fn position(&self, doc: DocId) -> Position {
        Position(self.contents.positions.first(doc).unwrap_or_default())
    }

    /// The time of one document.
    pub fn timestamp(&self, doc: DocId) -> Timestamp {
        let time = self.contents.timestamps.first(doc).unwrap_or_default();
        Timestamp::from_nanos(time.into_timestamp_nanos())
    }

    /// Whether an event that is not deleted was sent with this id.
    pub fn has_given_id(&self, id: &str) -> tantivy::Result<bool> {
        if !self.id_filter()?.may_have(id.as_bytes()) {
            return Ok(false);
        }
        let term = Term::from_field_text(self.fields.id, id);
        let inverted = self.reader.inverted_index(self.fields.id)?;
        let Some(mut documents) = inverted.read_postings(&term, IndexRecordOption::Basic)? else {
            return Ok(false);
        };
        while documents.doc() != TERMINATED {
            if !self.reader.is_deleted(documents.doc()) {
                return Ok(true);
            }
            documents.advance();
        }
        Ok(false)
    }

    /// Whether an event that is not deleted stands at this position and was sent without an id.
    pub fn has_made_id(&self, position: Position) -> tantivy::Result<bool> {
        match self.at_position(position) {
            Some(doc) if !self.reader.is_deleted(doc) => {
                Ok(!self.blocks().has_id(doc).map_err(unreadable)?)
            }
            _ => Ok(false),
        }
    }

    /// The document at a position, deleted or not.
    pub fn at_position(&self, position: Position) -> Option<DocId> {
        let column = &self.contents.positions;
        if column.values.num_vals() == 0
            || !(column.min_value()..=column.max_value()).contains(&position.0)
        {
            return None;
        }
        let mut documents = Vec::new();
        column.get_docids_for_value_range(
            position.0..=position.0,
            0..self.document_count(),
            &mut documents,
        );
        documents.first().copied()
    }

    fn id_filter(&self) -> tantivy::Result<&IdFilter> {
        if let Some(filter) = self.contents.id_filter.get() {
            return Ok(filter);
        }
        let inverted = self.reader.inverted_index(self.fields.id)?;
        let mut filter = IdFilter::with_capacity(inverted.terms().num_terms());
        let mut ids = inverted.terms().stream()?;
        while ids.advance() {
            filter.insert(ids.key());
        }
        Ok(self.contents.id_filter.get_or_init(|| filter))
    }

    /// Reads one document.
    pub fn stored(&self, doc: DocId) -> tantivy::Result<StoredDocument> {
        let timestamp = self.timestamp(doc).nanos();
        let mut source = Vec::with_capacity(512);
        let id = self
            .blocks()
            .document(doc, timestamp, &mut source)
            .map_err(unreadable)?;
        Ok(StoredDocument { id, source })
    }

    /// Reads all documents that are not deleted, a block at a time: far less work than one by one.
    ///
    /// # Errors
    /// The files are damaged.
    pub fn for_each_stored(
        &self,
        mut visit: impl FnMut(DocId, Option<&str>, &[u8]),
    ) -> tantivy::Result<()> {
        let mut source = Vec::new();
        for (number, place) in self.blocks().places().iter().enumerate() {
            let block = OpenBlock::new(self.blocks(), number).map_err(unreadable)?;
            for doc in place.first_document..place.end_document() {
                if self.reader.is_deleted(doc) {
                    continue;
                }
                source.clear();
                let timestamp = self.timestamp(doc).nanos();
                let id = block
                    .document(doc - place.first_document, timestamp, &mut source)
                    .map_err(unreadable)?;
                visit(doc, id.as_deref(), &source);
            }
        }
        Ok(())
    }
}

/// Blocks that cannot be read as tantivy's kind of error.
pub fn unreadable(error: super::blocks::BlockError) -> tantivy::TantivyError {
    std::io::Error::new(std::io::ErrorKind::InvalidData, error).into()
}

/// Whether `known` is `path` itself or one of its parts.
pub fn is_at_or_under(known: &str, path: &str) -> bool {
    known
        .strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
