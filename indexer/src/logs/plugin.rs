//! What our two files of each segment have to do with tantivy's writing and merging: see `schema.rs` for what they hold.

use std::any::Any;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use event::Timestamp;
use tantivy::directory::{TerminatingWrite, WritePtr};
use tantivy::index::{SegmentComponent, SegmentReader};
use tantivy::indexer::doc_id_mapping::DocIdMapping;
use tantivy::plugin::{PluginMergeContext, PluginWriter, PluginWriterContext, SegmentPlugin};
use tantivy::schema::Schema;
use tantivy::schema::document::ErasedDocument;
use tantivy::{DocId, Segment, TantivyError};

use super::blocks::{self, BlockCache, BlockSize, BlocksFile, BlocksWriter};
use super::columns::{self, ColumnsFile, ColumnsWriter, PathNumber};
use super::document::{INGESTED_PATH, LogDocument, TIMESTAMP_PATH};
use super::flatten::LeafValue;
use super::matching::values::made_texts;
use super::schema::{FULL_TEXT_FIELDS, is_full_text};

/// The extension of the file of blocks, and of that of columns.
pub const BLOCKS: &str = "blocks";
pub const COLUMNS: &str = "columns";

/// Writes and merges the blocks and columns of segments.
pub struct EventsPlugin {
    cache: BlockCache,
    wishes: Arc<MergeWishes>,
}

/// How much a merge that seals a day gives way to everything else.
const SEALING_NICENESS: i32 = 10;

/// What a shard's writer wants of its merges, which run on threads of tantivy.
#[derive(Debug, Default)]
pub struct MergeWishes {
    /// They make what a day that is over shall be.
    pub is_sealing: AtomicBool,
    /// Then these paths get columns, however distinct their texts are.
    pub exact: Mutex<Vec<String>>,
    /// They end soon, without a segment: those that were to be merged stay.
    pub are_given_up: AtomicBool,
}

impl EventsPlugin {
    /// What is read for merges is cached in `cache`.
    pub fn new(cache: BlockCache, wishes: Arc<MergeWishes>) -> EventsPlugin {
        EventsPlugin { cache, wishes }
    }
}

/// Opens the blocks of a segment.
///
/// # Errors
/// They are damaged, of a newer form, or cannot be read.
pub fn open_blocks(segment: &SegmentReader, cache: &BlockCache) -> tantivy::Result<BlocksFile> {
    let file = segment.open_read(SegmentComponent::Custom(BLOCKS.into()))?;
    Ok(BlocksFile::open(file.read_bytes()?, cache).map_err(damaged)?)
}

/// Opens the columns of a segment.
///
/// # Errors
/// They are damaged, of a newer format, or cannot be read.
pub fn open_columns(segment: &SegmentReader) -> tantivy::Result<ColumnsFile> {
    let file = segment.open_read(SegmentComponent::Custom(COLUMNS.into()))?;
    Ok(ColumnsFile::open(file).map_err(damaged)?)
}

fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl SegmentPlugin for EventsPlugin {
    fn extensions(&self) -> &[&str] {
        &[BLOCKS, COLUMNS]
    }

    fn create_writer(&self, ctx: &PluginWriterContext) -> tantivy::Result<Box<dyn PluginWriter>> {
        let out = ctx
            .segment
            .open_write(SegmentComponent::Custom(BLOCKS.into()))?;
        Ok(Box::new(EventsWriter {
            blocks: BlocksWriter::new(out, BlockSize::Open)?,
            columns: Columns::default(),
            document_count: 0,
        }))
    }

    fn merge(&self, ctx: PluginMergeContext) -> tantivy::Result<()> {
        let target = ctx.target_segment;
        let mut files = Vec::with_capacity(ctx.readers.len());
        let mut column_files = Vec::with_capacity(ctx.readers.len());
        for reader in ctx.readers {
            let times = reader.fast_fields().date("_timestamp")?;
            files.push((
                open_blocks(reader, &self.cache)?,
                times,
                reader.alive_bitset(),
            ));
            column_files.push(open_columns(reader)?);
        }
        let are_alive: Vec<_> = files
            .iter()
            .map(|(.., alive)| move |doc| alive.is_none_or(|alive| alive.is_alive(doc)))
            .collect();
        let timestamps: Vec<_> = files
            .iter()
            .map(|(_, times, _)| |doc| times.first(doc).unwrap_or_default().into_timestamp_nanos())
            .collect();
        let mut inputs = Vec::with_capacity(files.len());
        for (at, (file, _, alive)) in files.iter().enumerate() {
            inputs.push(blocks::MergeInput {
                file,
                is_alive: alive.is_some().then_some(&are_alive[at]),
                timestamp: &timestamps[at],
            });
        }
        let mut size = BlockSize::Open;
        if self.wishes.is_sealing.load(Ordering::Relaxed) {
            size = BlockSize::Sealed;
            // Of this thread alone, which does nothing but merge; not having it is no reason to fail.
            let _ = rustix::process::nice(SEALING_NICENESS);
        }
        let out = target.open_write(SegmentComponent::Custom(BLOCKS.into()))?;
        let are_given_up = || self.wishes.are_given_up.load(Ordering::Relaxed);
        blocks::merge(&inputs, size, &are_given_up, out)?.terminate()?;
        let mut exact = match size {
            BlockSize::Open => Vec::new(),
            BlockSize::Sealed => {
                let exact = self.wishes.exact.lock();
                exact.expect("no holder of this lock panics").clone()
            }
        };
        // What was exact stays it: late events are no reason to give it up.
        for (path, summary) in column_files.iter().flat_map(ColumnsFile::paths) {
            if summary.is_exact() && !exact.iter().any(|exact| exact == path) {
                exact.push(path.to_owned());
            }
        }
        let made: Vec<_> = files
            .iter()
            .map(|(file, ..)| |path: &str| made_texts(file, path).map_err(io::Error::other))
            .collect();
        let mut inputs = Vec::with_capacity(files.len());
        for (at, (file, reader)) in column_files.iter().zip(ctx.readers).enumerate() {
            inputs.push(columns::MergeInput {
                file,
                alive: reader.alive_bitset(),
                made_texts: &made[at],
            });
        }
        let mut out = target.open_write(SegmentComponent::Custom(COLUMNS.into()))?;
        columns::merge(&inputs, &exact, &mut out)?;
        out.terminate()?;
        Ok(())
    }
}

/// Our part of a segment that is being written.
struct EventsWriter {
    blocks: BlocksWriter<WritePtr>,
    columns: Columns,
    document_count: u32,
}

/// Puts the values of documents into columns.
#[derive(Default)]
struct Columns {
    writer: ColumnsWriter,
    /// By the number that the blocks give a path.
    plans: Vec<Option<PathPlan>>,
    ingested: Option<PathNumber>,
}

/// What happens to the values under a path.
#[derive(Clone, Copy)]
struct PathPlan {
    number: PathNumber,
    is_prose: bool,
    is_ingested: bool,
    is_timestamp: bool,
}

impl Columns {
    fn plan(&mut self, number: u32, path: &str) -> PathPlan {
        let at = number as usize;
        if let Some(Some(plan)) = self.plans.get(at) {
            return *plan;
        }
        let plan = PathPlan {
            number: self.writer.path(path),
            is_prose: FULL_TEXT_FIELDS.contains(&path),
            is_ingested: path == INGESTED_PATH,
            is_timestamp: path == TIMESTAMP_PATH,
        };
        if self.plans.len() <= at {
            self.plans.resize(at + 1, None);
        }
        self.plans[at] = Some(plan);
        plan
    }

    fn add(&mut self, doc: DocId, path: &PathPlan, value: &LeafValue, timestamp: Timestamp) {
        if path.is_timestamp && is_time_of(value, timestamp) {
            return;
        }
        let number = path.number;
        match value {
            LeafValue::Text(_) if path.is_prose => self.writer.slot_text(number),
            // The path of what is not prose does not matter.
            LeafValue::Text(text) if is_full_text("", text) => self.writer.slot_text(number),
            LeafValue::Text(text) => match time_in(text) {
                Some(time) => self.writer.time(number, doc, time.nanos()),
                None => self.writer.text(number, doc, text),
            },
            LeafValue::Integer(value) => self.writer.integer(number, doc, *value),
            LeafValue::Unsigned(value) => self.writer.unsigned(number, doc, *value),
            LeafValue::Float(value) => self.writer.float(number, doc, *value),
            LeafValue::Bool(truth) => self.writer.bool(number, doc, *truth),
        }
    }

    fn add_ingested(&mut self, doc: DocId, received: Timestamp) {
        let writer = &mut self.writer;
        let number = *self
            .ingested
            .get_or_insert_with(|| writer.path(INGESTED_PATH));
        // Milliseconds suffice and take a quarter of the bytes.
        self.writer.time(number, doc, received.millis() * 1_000_000);
    }
}

impl PluginWriter for EventsWriter {
    fn add_document(
        &mut self,
        doc_id: DocId,
        document: &dyn ErasedDocument,
        _: &Schema,
    ) -> tantivy::Result<()> {
        let Some(document) = document.as_any().downcast_ref::<LogDocument>() else {
            let message = "a document that is none of ours".to_owned();
            return Err(TantivyError::InternalError(message));
        };
        self.document_count = doc_id + 1;
        let columns = &mut self.columns;
        let mut has_ingested = false;
        match document.is_plain {
            true => self
                .blocks
                .add_unread(&document.source, document.id.as_deref())?,
            false => self.blocks.add(
                &document.source,
                document.timestamp.nanos(),
                document.id.as_deref(),
                &mut |number, path, value| {
                    let plan = columns.plan(number, path);
                    has_ingested |= plan.is_ingested;
                    columns.add(doc_id, &plan, &value, document.timestamp);
                },
            )?,
        }
        if !has_ingested {
            self.columns.add_ingested(doc_id, document.received);
        }
        Ok(())
    }

    fn serialize(
        self: Box<Self>,
        segment: &Segment,
        _: Option<&DocIdMapping>,
    ) -> tantivy::Result<()> {
        self.blocks.finish()?.terminate()?;
        let mut out = segment.open_write(SegmentComponent::Custom(COLUMNS.into()))?;
        self.columns.writer.write(self.document_count, &mut out)?;
        out.terminate()?;
        Ok(())
    }

    fn mem_usage(&self) -> usize {
        self.blocks.memory_bytes() + self.columns.writer.memory_bytes()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
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
pub fn time_in(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let looks_like_date = (10..=40).contains(&bytes.len())
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && bytes[0].is_ascii_digit();
    if !looks_like_date {
        return None;
    }
    Timestamp::parse_iso(text).ok()
}
