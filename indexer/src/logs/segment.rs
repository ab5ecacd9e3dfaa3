//! A fixed view of one tantivy segment: its columns by path, its words, its documents.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use event::{Position, Timestamp};
use tantivy::columnar::{Column, ColumnType, ColumnarReader, DynamicColumn, DynamicColumnHandle};
use tantivy::index::SegmentComponent;
use tantivy::postings::SegmentPostings;
use tantivy::schema::{IndexRecordOption, Term, Value};
use tantivy::store::StoreReader;
use tantivy::{DateTime, DocId, DocSet, SegmentReader, TERMINATED, TantivyDocument};

use super::document::TIMESTAMP_PATH;
use super::id_filter::IdFilter;
use super::reader::{FieldKinds, ValueColumn};
use super::schema::Fields;

/// Blocks of documents kept decompressed per segment: some 64 KiB each.
pub const STORE_BLOCKS_CACHED: usize = 8;

/// Names that are found under another one when nothing has the name itself: OTLP's and ECS's spelling of the same.
const ALIASES: [(&str, &str); 2] = [("trace_id", "trace.id"), ("span_id", "span.id")];

/// What a segment has, read once when it is first seen and kept as long as it lives.
pub struct SegmentContents {
    columns: BTreeMap<String, Vec<DynamicColumnHandle>>,
    /// Paths with full texts.
    full_texts: Vec<String>,
    positions: Column<u64>,
    timestamps: Column<DateTime>,
    store: Mutex<Option<StoreReader>>,
    id_filter: OnceLock<IdFilter>,
}

/// A segment and what is known of it. Cheap to clone.
#[derive(Clone)]
pub struct Segment {
    pub(super) reader: SegmentReader,
    pub(super) contents: Arc<SegmentContents>,
    pub(super) fields: Fields,
}

/// One document as it is stored.
pub struct StoredDocument {
    /// The sender's id, if there was one.
    pub id: Option<String>,
    /// The document as sent.
    pub source: Vec<u8>,
}

/// Called with a word and a way to read its documents; answers whether to go on.
pub type WordVisitor<'v> =
    dyn FnMut(&str, &dyn Fn() -> tantivy::Result<SegmentPostings>) -> tantivy::Result<bool> + 'v;

impl SegmentContents {
    /// Reads the directory of the segment's columns and the paths of its full texts.
    pub fn read(reader: &SegmentReader, fields: Fields) -> tantivy::Result<SegmentContents> {
        let columnar = ColumnarReader::open(
            reader
                .open_read(SegmentComponent::FastFields)
                .map_err(tantivy::TantivyError::from)?,
        )?;
        let mut columns: BTreeMap<String, Vec<DynamicColumnHandle>> = BTreeMap::new();
        for (name, handle) in columnar.iter_columns()? {
            // A column of the JSON field is named by the field, a byte 1 and the path.
            if let Some((_, path)) = name.split_once('\u{1}') {
                columns.entry(path.to_owned()).or_default().push(handle);
            }
        }
        let has = reader.inverted_index(fields.has)?;
        let mut full_texts = Vec::new();
        let mut stream = has.terms().stream()?;
        while stream.advance() {
            full_texts.push(String::from_utf8_lossy(stream.key()).into_owned());
        }
        Ok(SegmentContents {
            columns,
            full_texts,
            positions: reader.fast_fields().u64("_position")?,
            timestamps: reader.fast_fields().date("_timestamp")?,
            store: Mutex::new(None),
            id_filter: OnceLock::new(),
        })
    }
}

impl Segment {
    /// How many documents it has, deleted ones included; documents are numbered from 0.
    pub fn document_count(&self) -> DocId {
        self.reader.max_doc()
    }

    /// Every path with its kinds, `@timestamp` among them.
    pub fn add_fields_to(&self, kinds: &mut BTreeMap<String, FieldKinds>) {
        for (path, handles) in &self.contents.columns {
            let kinds = kinds.entry(path.clone()).or_default();
            for handle in handles {
                match handle.column_type() {
                    ColumnType::Str => kinds.text = true,
                    ColumnType::I64 | ColumnType::U64 => kinds.integer = true,
                    ColumnType::F64 => kinds.float = true,
                    ColumnType::Bool => kinds.boolean = true,
                    ColumnType::DateTime => kinds.time = true,
                    ColumnType::Bytes | ColumnType::IpAddr => {}
                }
            }
        }
        for path in &self.contents.full_texts {
            kinds.entry(path.clone()).or_default().full_text = true;
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
        self.contents.columns.contains_key(path) || self.has_full_text(path)
    }

    /// Whether some document has a full text under `path`.
    pub fn has_full_text(&self, path: &str) -> bool {
        self.contents
            .full_texts
            .binary_search_by(|known| known.as_str().cmp(path))
            .is_ok()
    }

    /// The paths of full texts.
    pub fn full_texts(&self) -> &[String] {
        &self.contents.full_texts
    }

    /// Every path that has columns and lies at `path` or below it.
    pub fn column_paths_under<'s>(&'s self, path: &'s str) -> impl Iterator<Item = &'s str> {
        self.contents
            .columns
            .range(path.to_owned()..)
            .map(|(known, _)| known.as_str())
            .take_while(move |known| known.starts_with(path))
            .filter(move |known| is_at_or_under(known, path))
    }

    /// All columns of a resolved path.
    pub fn columns(&self, path: &str) -> tantivy::Result<Vec<ValueColumn>> {
        let mut opened = Vec::new();
        let own = self.contents.columns.get(path);
        if path == TIMESTAMP_PATH {
            opened.push(ValueColumn::Time(self.contents.timestamps.clone()));
        }
        for handle in own.into_iter().flatten() {
            let column = match handle.open()? {
                DynamicColumn::Str(column) => ValueColumn::Text(column),
                DynamicColumn::I64(column) => ValueColumn::Integer(column),
                DynamicColumn::U64(column) => ValueColumn::Unsigned(column),
                DynamicColumn::F64(column) => ValueColumn::Float(column),
                DynamicColumn::Bool(column) => ValueColumn::Bool(column),
                DynamicColumn::DateTime(column) => ValueColumn::Time(column),
                DynamicColumn::Bytes(_) | DynamicColumn::IpAddr(_) => continue,
            };
            opened.push(column);
        }
        Ok(opened)
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

    /// The term of a word in the full text under `path`.
    pub fn text_term(&self, path: &str, word: &str) -> Term {
        let mut term = Term::from_field_json_path(self.fields.text, &escape_path(path), false);
        term.append_type_and_str(word);
        term
    }

    /// Calls `visit` with each word of the dictionary that begins with `prefix`, and its documents, until it answers
    /// `false`. `path` chooses a full text's words; `None` the words of values in columns.
    pub fn visit_words(
        &self,
        path: Option<&str>,
        prefix: &str,
        visit: &mut WordVisitor,
    ) -> tantivy::Result<()> {
        let (field, key_prefix) = match path {
            None => (self.fields.any, Vec::new()),
            Some(path) => (
                self.fields.text,
                self.text_term(path, "").serialized_value_bytes().to_vec(),
            ),
        };
        let mut first = key_prefix.clone();
        first.extend_from_slice(prefix.as_bytes());
        let inverted = self.reader.inverted_index(field)?;
        let mut stream = inverted.terms().range().ge(&first).into_stream()?;
        while stream.advance() {
            let key = stream.key();
            if !key.starts_with(&first) {
                break;
            }
            let Ok(word) = std::str::from_utf8(&key[key_prefix.len()..]) else {
                continue;
            };
            let term_info = stream.value().clone();
            let read =
                || Ok(inverted.read_postings_from_terminfo(&term_info, IndexRecordOption::Basic)?);
            if !visit(word, &read)? {
                break;
            }
        }
        Ok(())
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
        let column = &self.contents.positions;
        if column.values.num_vals() == 0
            || !(column.min_value()..=column.max_value()).contains(&position.0)
        {
            return Ok(false);
        }
        let mut documents = Vec::new();
        column.get_docids_for_value_range(
            position.0..=position.0,
            0..self.document_count(),
            &mut documents,
        );
        match documents.first() {
            Some(doc) if !self.reader.is_deleted(*doc) => Ok(self.stored(*doc)?.id.is_none()),
            _ => Ok(false),
        }
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
        let mut store = self
            .contents
            .store
            .lock()
            .expect("no holder of this lock panics");
        let store = match &mut *store {
            Some(store) => store,
            empty => empty.insert(self.reader.get_store_reader(STORE_BLOCKS_CACHED)?),
        };
        let document: TantivyDocument = store.get(doc)?;
        let source = document
            .get_first(self.fields.source)
            .and_then(|value| value.as_bytes().map(<[u8]>::to_vec));
        let id = document
            .get_first(self.fields.id)
            .and_then(|value| value.as_str().map(str::to_owned));
        Ok(StoredDocument {
            id,
            source: source.unwrap_or_default(),
        })
    }
}

/// Whether `known` is `path` itself or one of its parts.
pub fn is_at_or_under(known: &str, path: &str) -> bool {
    known
        .strip_prefix(path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// tantivy cuts a path at its dots; our paths are one part each.
fn escape_path(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len() + 8);
    for c in path.chars() {
        if matches!(c, '.' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
