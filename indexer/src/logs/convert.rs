//! Shards of format 1 become shards of this build's format, at start, before anybody searches them.
//!
//! Format 1 kept each document whole in tantivy's store, as `_source` beside `_id`, and when we took it as
//! `event.ingested` in the fast JSON field `columns`; `_position`, `_timestamp` and the payload were what they are now.
//!
//! The copy is written beside the shard, read back and compared, made durable, and takes the shard's place:
//!
//! ```text
//! DAY              DAY.converting              at the next start, after a kill
//! format 1         being written, or whole     the copy is removed, the conversion begins again
//! DAY.replaced     whole                       DAY gets its name back, then as above
//! format 3, and DAY.replaced (format 1)        DAY.replaced becomes DAY.deleted
//! format 3, and DAY.deleted                    DAY.deleted is removed
//! ```
//!
//! What must hold: until a whole, durable copy has the shard's name, the shard of format 1 is there under one of two names
//! and nothing in it has changed.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use bytes::Bytes;
use event::{Event, Position, Timestamp};
use tantivy::columnar::{Column, ColumnarReader, DynamicColumn};
use tantivy::index::SegmentComponent;
use tantivy::schema::{Field, TantivyDocument, Value};
use tantivy::store::StoreReader;
use tantivy::{DateTime, DocId, Index, IndexReader, ReloadPolicy, SegmentReader, TantivyError};
use xxhash_rust::xxh3::Xxh3;

use super::blocks::BlockCache;
use super::directory::ShardDirectory;
use super::document::LogDocument;
use super::event_id::EventIds;
use super::reader::{ShardId, ShardReader};
use super::schema::FORMAT_VERSION;
use super::shard::{self, ShardFiles, WriterSettings};
use crate::retention::folder_bytes;
use crate::{Error, filenames};

/// Blocks of the old document store that are kept per segment: of the runs that a segment was merged from few are being
/// read at a time.
const STORE_BLOCKS_KEPT: usize = 8;

/// After so many bytes of documents what was written is committed: a failure goes back no further.
const COMMIT_BYTES: u64 = match cfg!(test) {
    true => 4096,
    false => 256 * 1024 * 1024,
};

/// Room that must be left beside the copy: what the rest of a start writes.
const SPARE_BYTES: u64 = 32 * 1024 * 1024;

/// A writer that fails this often at one place, while its disk works, has an event that the index cannot take.
const PLAIN_AFTER_FAILURES: u32 = 2;

/// The column of format 1 that holds when we took an event: field, a byte 1, path.
const RECEIVED_COLUMN: &str = "columns\u{1}event.ingested";

/// Converts the shards of one data directory.
pub struct Converter<'a> {
    /// The data directory.
    pub data_dir: &'a Path,
    /// Its ids.
    pub ids: &'a EventIds,
    /// What is read back is cached here.
    pub cache: &'a BlockCache,
    /// How the new shards are written.
    pub writer_settings: WriterSettings,
    /// Free room on the directory's disk, in bytes; `None` when nobody knows.
    pub free_bytes: fn(&Path) -> Option<u64>,
    /// Whether the disk takes writes and has plenty of room.
    pub disk_works: fn(&Path) -> bool,
    /// An event whose writing fails.
    #[cfg(test)]
    pub poison: Option<Position>,
}

/// Why a shard is still of an older format. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum Unconverted {
    /// The disk has no room for the copy.
    #[error(
        "{needed} bytes of free disk are needed for the copy and {free} are free; free some and start daybook again"
    )]
    NoRoom {
        /// What the copy may take, and what must be left.
        needed: u64,
        /// What there is.
        free: u64,
    },
    /// Its files are wrong: a copy would hide that.
    #[error("its files are damaged ({0}); daybook check --repair sets it aside")]
    Damaged(String),
    /// Something cannot be read or written.
    #[error("{0}; it is tried again at the next start")]
    Failed(String),
}

/// Where a conversion stands; told after each of its file operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The folder of the copy is there.
    Begun,
    /// Some events are in the copy.
    Committed,
    /// All are.
    Written,
    /// The copy is durable.
    Persisted,
    /// The old shard has given its name away.
    MovedAside,
    /// The copy has it.
    Swapped,
    /// The old shard is garbage by name.
    Doomed,
    /// The old shard is gone.
    Removed,
}

impl Converter<'_> {
    /// Converts every shard of an older format; answers which could not be, and why. The smallest come first, because
    /// each makes room for the next.
    ///
    /// # Errors
    /// The folders cannot be listed.
    pub fn convert_all(&self) -> io::Result<BTreeMap<ShardId, Unconverted>> {
        let mut older = Vec::new();
        for id in filenames::list_shards(self.data_dir)? {
            let folder = filenames::shard_folder(self.data_dir, &id);
            if shard::is_older(&folder) {
                older.push((folder_bytes(&folder), id));
            }
        }
        older.sort();
        if !older.is_empty() {
            let bytes: u64 = older.iter().map(|(bytes, _)| bytes).sum();
            tracing::info!(
                shards = older.len(),
                bytes,
                "shards of an older format are converted; the start goes on afterwards"
            );
        }
        let mut waiting = BTreeMap::new();
        for (_, id) in older {
            if let Err(reason) = self.convert(&id, &mut |_| Ok(())) {
                tracing::error!(
                    shard = id.name(),
                    reason = reason.to_string(),
                    "a shard of an older format waits to be converted and cannot be searched"
                );
                waiting.insert(id, reason);
            }
        }
        Ok(waiting)
    }

    /// Converts a shard that an event wants to get into, in case it still waits.
    ///
    /// # Errors
    /// `Error::Damaged`: it was set aside. `Error::Stalled`: try again later.
    pub fn convert_for_writing(&self, id: &ShardId) -> Result<(), Error> {
        let folder = filenames::shard_folder(self.data_dir, id);
        if !shard::is_older(&folder) {
            return Ok(());
        }
        self.convert(id, &mut |_| Ok(()))
            .map_err(|reason| match reason {
                Unconverted::Damaged(message) => shard::set_aside(&folder, id, &message),
                waits => Error::Stalled {
                    shard: id.name(),
                    message: format!("it waits to be converted: {waits}"),
                },
            })
    }

    /// Converts one shard; `after` is told each step and can end it there.
    fn convert(
        &self,
        id: &ShardId,
        after: &mut dyn FnMut(Step) -> io::Result<()>,
    ) -> Result<(), Unconverted> {
        let began = Instant::now();
        let folder = filenames::shard_folder(self.data_dir, id);
        let old_bytes = folder_bytes(&folder);
        self.check_room(old_bytes)?;
        let old = OldShard::open(&folder)?;
        let copy = filenames::converting_folder(&folder);
        let converted = remove_folder(&copy)
            .map_err(failed(&copy))
            .and_then(|()| self.write_copy(id, &old, &copy, after))
            .and_then(|()| swap(&folder, after).map_err(failed(&folder)));
        if let Err(reason) = converted {
            // What cannot be removed now is removed at the next start, or try.
            let _ = remove_folder(&copy);
            return Err(self.as_want_of_room(reason, old_bytes));
        }
        tracing::info!(
            shard = id.name(),
            events = old.event_count(),
            bytes_before = old_bytes,
            bytes_after = folder_bytes(&folder),
            milliseconds = began.elapsed().as_millis() as u64,
            "a shard was converted to format {FORMAT_VERSION}"
        );
        Ok(())
    }

    fn check_room(&self, old_bytes: u64) -> Result<(), Unconverted> {
        // A copy takes less than half of that, and as much again while segments are merged.
        let needed = old_bytes + SPARE_BYTES;
        match (self.free_bytes)(self.data_dir) {
            Some(free) if free < needed => Err(Unconverted::NoRoom { needed, free }),
            _ => Ok(()),
        }
    }

    /// A disk that somebody else fills meanwhile is still a full disk.
    fn as_want_of_room(&self, reason: Unconverted, old_bytes: u64) -> Unconverted {
        match (reason, self.check_room(old_bytes)) {
            (Unconverted::Failed(_), Err(no_room)) => no_room,
            (reason, _) => reason,
        }
    }

    /// Writes all events of the old shard into a folder, durably.
    fn write_copy(
        &self,
        id: &ShardId,
        old: &OldShard,
        copy: &Path,
        after: &mut dyn FnMut(Step) -> io::Result<()>,
    ) -> Result<(), Unconverted> {
        let files = ShardFiles::open_folder(copy, id, self.ids, self.cache)
            .map_err(|error| Unconverted::Failed(error.to_string()))?;
        after(Step::Begun).map_err(failed(copy))?;
        let Some(contents) = &old.contents else {
            // It was begun and never persisted: its events are in the journal.
            return Ok(());
        };
        let sum = self.write_events(contents, &files, after)?;
        after(Step::Written).map_err(failed(copy))?;
        let view = files.view().map_err(cannot("read the copy"))?;
        let read_back = self.sum_of(&view).map_err(cannot("read the copy"))?;
        if sum != read_back || sum.count != old.event_count() {
            return Err(Unconverted::Failed(format!(
                "the copy is not the same: {read_back:?} instead of {sum:?} of {} events",
                old.event_count()
            )));
        }
        files.directory().persist().map_err(failed(copy))?;
        after(Step::Persisted).map_err(failed(copy))
    }

    /// Writes the events, going back to the last commit when the writer fails.
    fn write_events(
        &self,
        old: &OldContents,
        files: &ShardFiles,
        after: &mut dyn FnMut(Step) -> io::Result<()>,
    ) -> Result<EventSum, Unconverted> {
        let mut progress = Progress::default();
        let mut failures = 0;
        loop {
            let from = progress.committed;
            let error = match self.write_from(old, files, &mut progress, after) {
                Ok(()) => return Ok(progress.sum),
                Err(WriteError::Stopped(reason)) => return Err(reason),
                Err(WriteError::Writer(error)) => error,
            };
            failures = match progress.committed > from {
                true => 1,
                false => failures + 1,
            };
            if failures > PLAIN_AFTER_FAILURES || !(self.disk_works)(self.data_dir) {
                return Err(cannot("write the copy")(error));
            }
            if failures == PLAIN_AFTER_FAILURES {
                tracing::error!(
                    %error,
                    first = %progress.committed,
                    last = %progress.reached,
                    "the index cannot take one of these events; they are stored and found by time alone"
                );
                progress.plain_until = progress.reached.plus(1);
            }
        }
    }

    fn write_from(
        &self,
        old: &OldContents,
        files: &ShardFiles,
        progress: &mut Progress,
        after: &mut dyn FnMut(Step) -> io::Result<()>,
    ) -> Result<(), WriteError> {
        let mut writer = files
            .writer(self.writer_settings)
            .map_err(WriteError::Writer)?;
        let mut sum = progress.sum;
        let mut bytes = 0;
        let mut runs = old.runs(progress.committed);
        while let Some(Reverse(run)) = runs.pop() {
            let (event, received) = old.event(&run)?;
            let position = run.position;
            runs.extend(old.next_of(run).map(Reverse));
            bytes += event.byte_size() as u64;
            let made_id = || self.ids.id_of(position);
            let id = event.id.as_deref().map_or_else(made_id, str::to_owned);
            sum.add(position, event.timestamp, &id, &event.source);
            progress.reached = progress.reached.max(position);
            let mut document = LogDocument::new(files.fields(), &event, position, received);
            document.is_plain = position < progress.plain_until;
            #[cfg(test)]
            if self.poison == Some(position) && !document.is_plain {
                let error = "a poisonous event".to_owned();
                return Err(WriteError::Writer(TantivyError::InternalError(error)));
            }
            writer.add_document(document).map_err(WriteError::Writer)?;
            if bytes >= COMMIT_BYTES {
                bytes = 0;
                writer.commit().map_err(WriteError::Writer)?;
                progress.committed = position.plus(1);
                progress.sum = sum;
                after(Step::Committed)
                    .map_err(|error| WriteError::Stopped(Unconverted::Failed(error.to_string())))?;
            }
        }
        let mut commit = writer.prepare_commit().map_err(WriteError::Writer)?;
        if let Some(payload) = &old.payload {
            commit.set_payload(payload);
        }
        commit.commit().map_err(WriteError::Writer)?;
        progress.sum = sum;
        // A merge that fails leaves the segments that were to be merged.
        if let Err(error) = writer.wait_merging_threads() {
            tracing::warn!(%error, "segments could not be merged; they will be later");
        }
        Ok(())
    }

    /// The sum of all events that a shard has.
    fn sum_of(&self, view: &ShardReader) -> tantivy::Result<EventSum> {
        let mut sum = EventSum::default();
        for segment in view.segments() {
            segment.for_each_stored(|doc, id, source| {
                let position = segment.position(doc);
                let made_id = || Cow::Owned(self.ids.id_of(position));
                let id = id.map_or_else(made_id, Cow::Borrowed);
                sum.add(position, segment.timestamp(doc), &id, source);
            })?;
        }
        Ok(sum)
    }
}

/// How far the copy is.
#[derive(Default)]
struct Progress {
    /// Every event before it is committed.
    committed: Position,
    /// What is committed.
    sum: EventSum,
    /// The last event that the writer was given.
    reached: Position,
    /// Events before it are stored without their fields and words.
    plain_until: Position,
}

enum WriteError {
    /// The writer failed, which may be for an event it cannot take.
    Writer(TantivyError),
    /// It makes no sense to go on.
    Stopped(Unconverted),
}

impl From<Unconverted> for WriteError {
    fn from(reason: Unconverted) -> WriteError {
        WriteError::Stopped(reason)
    }
}

/// Tells whether two lots of events are the same, in whatever order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct EventSum {
    count: u64,
    hash: u64,
}

impl EventSum {
    fn add(&mut self, position: Position, timestamp: Timestamp, id: &str, source: &[u8]) {
        let mut hasher = Xxh3::new();
        hasher.update(&position.0.to_le_bytes());
        hasher.update(&timestamp.nanos().to_le_bytes());
        hasher.update(&id.len().to_le_bytes());
        hasher.update(id.as_bytes());
        hasher.update(source);
        self.count += 1;
        self.hash = self.hash.wrapping_add(hasher.digest());
    }
}

/// A shard of format 1, its durable state.
struct OldShard {
    /// `None` when nothing of it was ever durable.
    contents: Option<OldContents>,
}

struct OldContents {
    source: Field,
    id: Field,
    payload: Option<String>,
    segments: Vec<OldSegment>,
    reader: IndexReader,
}

struct OldSegment {
    reader: SegmentReader,
    store: StoreReader,
    positions: Column<u64>,
    timestamps: Column<DateTime>,
    received: Option<Column<DateTime>>,
}

/// Documents of one segment whose positions ascend; `position` and `doc` are those of the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Run {
    position: Position,
    segment: usize,
    doc: DocId,
    end: DocId,
}

impl OldShard {
    /// Opens the durable state of a shard, changing nothing, after all its checksums were found right.
    fn open(folder: &Path) -> Result<OldShard, Unconverted> {
        let open = || -> tantivy::Result<Result<Option<OldContents>, Unconverted>> {
            let directory = ShardDirectory::open_untouched(folder)?;
            if !Index::exists(&directory)? {
                return Ok(Ok(None));
            }
            let payload = directory.payload_when_opened();
            let index = Index::open(directory)?;
            let damaged = index.validate_checksum()?;
            if !damaged.is_empty() {
                let message = format!("wrong checksum of {damaged:?}");
                return Ok(Err(Unconverted::Damaged(message)));
            }
            OldContents::read(&index, payload).map(|contents| Ok(Some(contents)))
        };
        let contents = open().map_err(|error| match shard::is_damage(&error) {
            true => Unconverted::Damaged(error.to_string()),
            false => cannot("read the shard")(error),
        })??;
        Ok(OldShard { contents })
    }

    /// How many events it has, deleted ones not counted.
    fn event_count(&self) -> u64 {
        let searcher = self.contents.as_ref().map(|old| old.reader.searcher());
        searcher.map_or(0, |searcher| searcher.num_docs())
    }
}

impl OldContents {
    fn read(index: &Index, payload: Option<String>) -> tantivy::Result<OldContents> {
        let schema = index.schema();
        let reader: IndexReader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .doc_store_cache_num_blocks(0)
            .try_into()?;
        let mut segments = Vec::new();
        for segment in reader.searcher().segment_readers() {
            segments.push(OldSegment::read(segment)?);
        }
        Ok(OldContents {
            source: schema.get_field("_source")?,
            id: schema.get_field("_id")?,
            payload,
            segments,
            reader,
        })
    }

    /// The runs of all segments from a position on. A segment is written by one thread, in the journal's order, and a merge
    /// puts segments one behind the other; so there are no more runs than there were segments.
    fn runs(&self, from: Position) -> BinaryHeap<Reverse<Run>> {
        let mut runs = BinaryHeap::new();
        for (number, segment) in self.segments.iter().enumerate() {
            let count = segment.reader.max_doc();
            let mut begin = 0;
            let mut last = None;
            for doc in 0..=count {
                let position = (doc < count).then(|| segment.position(doc));
                if doc > begin && position <= last {
                    runs.extend(self.run(number, begin, doc, from).map(Reverse));
                    begin = doc;
                }
                last = position;
            }
        }
        runs
    }

    /// What is left of a run behind its next document.
    fn next_of(&self, run: Run) -> Option<Run> {
        self.run(run.segment, run.doc + 1, run.end, run.position)
    }

    /// The run that begins with the first document in `begin..end` that is alive and not before `from`.
    fn run(&self, number: usize, begin: DocId, end: DocId, from: Position) -> Option<Run> {
        let segment = &self.segments[number];
        (begin..end)
            .map(|doc| (doc, segment.position(doc)))
            .find(|(doc, position)| *position >= from && !segment.reader.is_deleted(*doc))
            .map(|(doc, position)| Run {
                position,
                segment: number,
                doc,
                end,
            })
    }

    /// The next event of a run, and when we took it.
    fn event(&self, run: &Run) -> Result<(Event, Timestamp), Unconverted> {
        let segment = &self.segments[run.segment];
        let document: TantivyDocument = segment
            .store
            .get(run.doc)
            .map_err(|error| Unconverted::Damaged(error.to_string()))?;
        let source = document
            .get_first(self.source)
            .and_then(|value| value.as_bytes());
        let Some(source) = source else {
            let message = format!("the event at position {} has no document", run.position);
            return Err(Unconverted::Damaged(message));
        };
        let id = document.get_first(self.id).and_then(|value| value.as_str());
        let timestamp = segment.timestamp(run.doc);
        Ok((
            Event {
                id: id.map(Box::from),
                ..Event::create(
                    event::IndexName::default_index(),
                    timestamp,
                    Bytes::copy_from_slice(source),
                )
            },
            // A document with an `event.ingested` of its own, where it may be no time, keeps that.
            segment.received(run.doc).unwrap_or(timestamp),
        ))
    }
}

impl OldSegment {
    fn read(reader: &SegmentReader) -> tantivy::Result<OldSegment> {
        let columnar = ColumnarReader::open(reader.open_read(SegmentComponent::FastFields)?)?;
        let mut received = None;
        for handle in columnar.read_columns(RECEIVED_COLUMN)? {
            if let DynamicColumn::DateTime(column) = handle.open()? {
                received = Some(column);
            }
        }
        Ok(OldSegment {
            reader: reader.clone(),
            store: reader.get_store_reader(STORE_BLOCKS_KEPT)?,
            positions: reader.fast_fields().u64("_position")?,
            timestamps: reader.fast_fields().date("_timestamp")?,
            received,
        })
    }

    fn position(&self, doc: DocId) -> Position {
        Position(self.positions.first(doc).unwrap_or_default())
    }

    fn timestamp(&self, doc: DocId) -> Timestamp {
        let time = self.timestamps.first(doc).unwrap_or_default();
        Timestamp::from_nanos(time.into_timestamp_nanos())
    }

    fn received(&self, doc: DocId) -> Option<Timestamp> {
        let time = self.received.as_ref()?.first(doc)?;
        Some(Timestamp::from_nanos(time.into_timestamp_nanos()))
    }
}

/// Puts a whole, durable copy in the place of the shard, and removes the shard.
fn swap(folder: &Path, after: &mut dyn FnMut(Step) -> io::Result<()>) -> io::Result<()> {
    let replaced = filenames::replaced_folder(folder);
    rename(folder, &replaced)?;
    let swapped = after(Step::MovedAside)
        .and_then(|()| rename(&filenames::converting_folder(folder), folder));
    if let Err(error) = swapped {
        if !folder.try_exists()? {
            // Should that fail too, whoever opens the shard next does it.
            restore(folder)?;
        }
        // Should the copy be in place and this not be durable, the old one stays until the next start.
        return Err(error);
    }
    // From here on the new shard is the shard, whatever becomes of the old one.
    let removed = after(Step::Swapped)
        .and_then(|()| doom(folder, &replaced))
        .and_then(|doomed| {
            after(Step::Doomed)?;
            std::fs::remove_dir_all(doomed)?;
            after(Step::Removed)
        });
    if let Err(error) = removed {
        tracing::warn!(
            folder = %folder.display(),
            %error,
            "what a converted shard was before cannot be removed; it is at the next start"
        );
    }
    Ok(())
}

/// Ends a swap that a kill cut short: afterwards the shard has its name, and nothing else has one of its own.
///
/// # Errors
/// A folder cannot be renamed.
pub fn restore(folder: &Path) -> io::Result<()> {
    let replaced = filenames::replaced_folder(folder);
    if !replaced.try_exists()? {
        return Ok(());
    }
    if !folder.try_exists()? {
        return rename(&replaced, folder);
    }
    if !shard::is_older(folder) {
        return doom(folder, &replaced).map(drop);
    }
    // An older daybook ran in between, knew nothing of the shard and began it anew.
    let target = filenames::damaged_folder(folder);
    tracing::error!(
        folder = %folder.display(),
        set_aside = %target.display(),
        "an older daybook began this shard anew while it was being converted; what it was before is set aside"
    );
    rename(&replaced, &target)
}

/// Gives a folder the name of one that may be removed.
fn doom(folder: &Path, replaced: &Path) -> io::Result<PathBuf> {
    let doomed = filenames::deleted_folder(folder);
    remove_folder(&doomed)?;
    rename(replaced, &doomed)?;
    Ok(doomed)
}

/// Renames a folder within its parent, durably.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    std::fs::rename(from, to)?;
    match to.parent() {
        Some(parent) => std::fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn remove_folder(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> Unconverted {
    let path = path.display().to_string();
    move |error| Unconverted::Failed(format!("{path}: {error}"))
}

fn cannot(what: &'static str) -> impl FnOnce(TantivyError) -> Unconverted {
    move |error| Unconverted::Failed(format!("cannot {what}: {error}"))
}

#[cfg(test)]
#[path = "../../tests/formats/golden.rs"]
mod golden;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use event::Ledger;

    use super::golden::{self, Golden, Stored};
    use super::*;
    use crate::{Catalog, Indexer, Settings, check};

    const DAYS: [&str; 2] = ["2026.11.22", "2026.11.23"];

    fn open(data_dir: &Path) -> Indexer {
        let catalog = Arc::new(Catalog::open(data_dir).unwrap());
        let ledger = Arc::new(Ledger::new());
        Indexer::open(Settings::new(data_dir), catalog, ledger, Position::ZERO).unwrap()
    }

    /// Everything that is found, in the order of the positions.
    fn everything(data_dir: &Path) -> Vec<Stored> {
        let indexer = open(data_dir);
        let snapshot = indexer.log_index().snapshot(|_| true);
        assert!(snapshot.failed.is_empty(), "{:?}", snapshot.failed);
        let mut stored = Vec::new();
        for shard in &snapshot.shards {
            for (number, reader) in shard.searcher().segment_readers().iter().enumerate() {
                for doc in reader.doc_ids_alive() {
                    let hit = shard.event(number, doc).unwrap();
                    stored.push(Stored {
                        position: hit.position.0,
                        shard: shard.name(),
                        id: hit.id,
                        timestamp_ns: hit.timestamp.nanos(),
                        source: hit.source.to_vec(),
                    });
                }
            }
        }
        stored.sort();
        stored
    }

    /// The names beside the shards.
    fn names(data_dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(data_dir.join("logs/shop"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn convert_with<T>(data_dir: &Path, work: impl FnOnce(Converter) -> T) -> T {
        let number = Catalog::open(data_dir).unwrap().directory_number().unwrap();
        work(Converter {
            data_dir,
            ids: &EventIds::new(number),
            cache: &BlockCache::new(1 << 20),
            writer_settings: WriterSettings {
                threads: 2,
                memory_bytes_per_thread: 15_000_000,
            },
            free_bytes: |_| None,
            disk_works: |_| true,
            poison: None,
        })
    }

    fn shards(data_dir: &Path) -> Vec<ShardId> {
        filenames::list_shards(data_dir).unwrap()
    }

    /// Whatever a kill leaves behind after any file operation, the next start has every event once.
    #[test]
    fn a_kill_after_any_step_loses_and_doubles_nothing() {
        let golden = Golden::read("v1");
        let dir = golden::data_dir("v1");
        let states = tempfile::tempdir().unwrap();
        let mut steps = Vec::new();
        for id in shards(dir.path()) {
            convert_with(dir.path(), |converter| {
                let mut keep = |step| {
                    // Commits are alike: the first three will do.
                    let count = steps.iter().filter(|seen| **seen == step).count();
                    if step != Step::Committed || count < 3 {
                        let state = states.path().join(steps.len().to_string());
                        golden::copy(dir.path(), &state);
                        steps.push(step);
                    }
                    Ok(())
                };
                converter.convert(&id, &mut keep).unwrap();
            });
        }
        assert_eq!(steps.len(), 3 + 2 * 7, "{steps:?}");
        for (number, step) in steps.iter().enumerate() {
            let state = states.path().join(number.to_string());
            let catalog = Catalog::open(&state).unwrap();
            let floor = Indexer::position_floor(&state, &catalog).unwrap();
            assert_eq!(floor, Position(golden.end), "{step:?}");
            let report = check(&state, false).unwrap();
            let checked: u64 = report.shards.iter().map(|shard| shard.events).sum();
            assert!(report.is_clean(), "{step:?}: {report:?}");
            assert_eq!(checked, golden.events.len() as u64, "{step:?}");
            if *step == Step::Doomed {
                // Killed while the files were removed.
                for day in DAYS {
                    let doomed = state.join("logs/shop").join(format!("{day}.deleted"));
                    let _ = std::fs::remove_file(doomed.join("meta.json"));
                }
            }
            assert_eq!(everything(&state), golden.events, "{step:?}");
            assert_eq!(names(&state), DAYS, "{step:?}");
            assert_eq!(everything(&state), golden.events, "{step:?}");
        }
    }

    /// A failure at any step leaves the old shard or the new one, whole, and is made up for later.
    #[test]
    fn a_failure_at_any_step_leaves_a_whole_shard() {
        let golden = Golden::read("v1");
        for failing in [
            Step::Begun,
            Step::Committed,
            Step::Written,
            Step::Persisted,
            Step::MovedAside,
            Step::Swapped,
            Step::Doomed,
            Step::Removed,
        ] {
            let dir = golden::data_dir("v1");
            let id = shards(dir.path()).remove(0);
            let folder = filenames::shard_folder(dir.path(), &id);
            let outcome = convert_with(dir.path(), |converter| {
                let mut fail = |step| match step == failing {
                    true => Err(io::Error::other("no more")),
                    false => Ok(()),
                };
                converter.convert(&id, &mut fail)
            });
            let is_swapped = matches!(failing, Step::Swapped | Step::Doomed | Step::Removed);
            assert_eq!(outcome.is_ok(), is_swapped, "{failing:?}: {outcome:?}");
            assert_eq!(shard::is_older(&folder), !is_swapped, "{failing:?}");
            if !is_swapped {
                assert_eq!(names(dir.path()), DAYS, "{failing:?}");
            }
            assert_eq!(everything(dir.path()), golden.events, "{failing:?}");
            assert_eq!(names(dir.path()), DAYS, "{failing:?}");
        }
    }

    #[test]
    fn without_room_for_the_copy_a_shard_waits_as_it_is() {
        let golden = Golden::read("v1");
        let dir = golden::data_dir("v1");
        let waiting = convert_with(dir.path(), |converter| {
            let converter = Converter {
                free_bytes: |_| Some(SPARE_BYTES),
                ..converter
            };
            converter.convert_all().unwrap()
        });
        assert_eq!(waiting.len(), 2);
        for (id, reason) in &waiting {
            assert!(matches!(reason, Unconverted::NoRoom { .. }), "{reason}");
            let folder = filenames::shard_folder(dir.path(), id);
            let before = golden::left_by("v1")
                .join("logs/shop")
                .join(id.day.to_string());
            assert_eq!(folder_bytes(&folder), folder_bytes(&before));
        }
        // An event for such a shard waits, and comes in when there is room.
        convert_with(dir.path(), |converter| {
            let id = shards(dir.path()).remove(1);
            let full = Converter {
                free_bytes: |_| Some(SPARE_BYTES),
                ..converter
            };
            let error = full.convert_for_writing(&id).unwrap_err();
            assert!(matches!(error, Error::Stalled { .. }), "{error}");
            let roomy = Converter {
                free_bytes: |_| Some(2 * SPARE_BYTES),
                ..full
            };
            roomy.convert_for_writing(&id).unwrap();
            roomy.convert_for_writing(&id).unwrap();
        });
        assert_eq!(everything(dir.path()), golden.events);
    }

    #[test]
    fn an_event_that_the_index_cannot_take_is_stored_plainly() {
        let golden = Golden::read("v1");
        let dir = golden::data_dir("v1");
        let waiting = convert_with(dir.path(), |converter| {
            let converter = Converter {
                poison: Some(Position(1043)),
                ..converter
            };
            converter.convert_all().unwrap()
        });
        assert!(waiting.is_empty(), "{waiting:?}");
        assert_eq!(everything(dir.path()), golden.events);
        let indexer = open(dir.path());
        let snapshot = indexer.log_index().snapshot(|_| true);
        let is_found = |path: &str| {
            let found = snapshot.shards[0].first_event(&super::super::Leaf::Exists(path.into()));
            found.unwrap().is_some()
        };
        assert!(!is_found("u") && is_found("trace.id"));
    }

    #[test]
    fn a_shard_that_was_never_persisted_is_converted_to_an_empty_one() {
        let dir = golden::data_dir("v1");
        let begun = dir.path().join("logs/shop/2026.11.24");
        std::fs::create_dir(&begun).unwrap();
        std::fs::write(begun.join(filenames::SHARD_FORMAT), "1\n").unwrap();
        assert_eq!(everything(dir.path()), Golden::read("v1").events);
        assert!(!shard::is_older(&begun));
    }

    /// An older daybook that ran between the two renames began the shard anew: neither part is removed.
    #[test]
    fn what_an_older_daybook_began_in_between_does_not_displace_the_shard() {
        let golden = Golden::read("v1");
        let dir = golden::data_dir("v1");
        let folder = dir.path().join("logs/shop").join(DAYS[0]);
        std::fs::rename(&folder, filenames::replaced_folder(&folder)).unwrap();
        golden::copy(&dir.path().join("logs/shop").join(DAYS[1]), &folder);
        drop(open(dir.path()));
        let aside = format!("{}.damaged", DAYS[0]);
        assert_eq!(names(dir.path()), [DAYS[0], &aside, DAYS[1]]);
        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::rename(dir.path().join("logs/shop").join(aside), &folder).unwrap();
        assert_eq!(everything(dir.path()), golden.events);
    }
}
