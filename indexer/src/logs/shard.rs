//! The writing side of one shard: one UTC day of one index.
//!
//! Lives on the indexer's thread. An event passes three stages: *added* (in tantivy's memory), *visible* (committed and
//! searchable, files not synced), *persisted* (synced, with the journal position inside the commit). Only what is
//! persisted may leave the journal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Instant;

use bytes::Bytes;
use event::{Event, Operation, Position, Timestamp};
use rustc_hash::FxHashMap;
use tantivy::index::SegmentId;
use tantivy::indexer::IndexWriterOptions;
use tantivy::query::RangeQuery;
use tantivy::schema::Term;
use tantivy::{Index, IndexBuilder, IndexReader, IndexWriter, ReloadPolicy};

use super::blocks::BlockCache;
use super::convert;
use super::directory::ShardDirectory;
use super::document::LogDocument;
use super::event_id::EventIds;
use super::plugin::{EventsPlugin, MergeWishes};
use super::reader::{ShardContents, ShardId, ShardReader};
use super::schema::{self, FORMAT_READ, FORMAT_VERSION, Fields};
use super::segment::{Segment, SegmentContents};
use crate::{Error, filenames};

/// Memory for the writer of a shard that does not keep it, in bytes.
const VISITING_WRITER_BYTES: usize = 24_000_000;

/// What an event held back costs beside its bytes.
const HELD_BACK_BYTES: u64 = 160;

/// How a shard's writer works.
#[derive(Debug, Clone, Copy)]
pub struct WriterSettings {
    /// Threads that index events of one shard.
    pub threads: usize,
    /// Memory each of them fills before it writes a segment, in bytes.
    pub memory_bytes_per_thread: usize,
}

/// What is needed to search a shard. Cheap to clone.
#[derive(Clone)]
pub struct ShardFiles {
    id: ShardId,
    ids: EventIds,
    fields: Fields,
    index: Index,
    reader: IndexReader,
    directory: ShardDirectory,
    cache: BlockCache,
    /// Of its merges.
    wishes: Arc<MergeWishes>,
    known_segments: Arc<std::sync::Mutex<FxHashMap<SegmentId, Arc<SegmentContents>>>>,
}

/// A field that this many searches sorted or aggregated by keeps its column when the day is sealed.
const ASKED_OFTEN: u32 = 3;
/// With more texts than this a field gets a column only when the settings say so: some 100 bytes each while it is made.
const ASKED_TEXTS_MAX: u64 = 2_000_000;

/// The writer of one shard.
///
/// tantivy's writer costs threads and some MiB, so only a few shards keep theirs ([`Shard::keep_writer`]). The others
/// hold their events back until they are to become visible, and have a writer for just that long.
pub struct Shard {
    files: ShardFiles,
    writer: Option<IndexWriter<LogDocument>>,
    keeps_writer: bool,
    /// Tells the end of a merge that seals the shard.
    sealing: Option<Receiver<tantivy::Result<()>>>,
    /// The writer before this one, whose merges still run on a thread of their own.
    leaving: Option<Receiver<tantivy::Result<()>>>,
    /// Events added and held back.
    held_back: Vec<HeldBack>,
    held_back_bytes: u64,
    writer_settings: WriterSettings,
    /// Every event before this position that belongs here has been added.
    added: Position,
    /// Every event before this position that belongs here is visible.
    visible: Position,
    added_since_visible: Since,
    visible_since_persisted: Since,
    /// What is being persisted just now.
    persisting: Option<Since>,
    /// Events before it are stored without their fields and words: one of them is more than the index can take.
    plain_until: Position,
    /// An event whose writing fails.
    #[cfg(test)]
    poison: Option<Position>,
}

/// An event that waits for a writer.
struct HeldBack {
    event: Event,
    position: Position,
    received: Timestamp,
}

/// What happened since the last time a stage was reached.
#[derive(Debug, Clone, Copy, Default)]
pub struct Since {
    /// The position of the first event since then; `None` when there was none.
    pub first: Option<Position>,
    /// When that event came.
    pub began: Option<Instant>,
    /// The bytes of the events since then.
    pub bytes: u64,
}

impl Since {
    fn add(&mut self, position: Position, bytes: u64) {
        self.first.get_or_insert(position);
        self.began.get_or_insert_with(Instant::now);
        self.bytes += bytes;
    }
}

impl ShardFiles {
    /// Opens a shard's folder, making it when it is missing.
    ///
    /// # Errors
    /// The format is not ours; the files are damaged or cannot be read.
    pub fn open(
        data_dir: &Path,
        id: &ShardId,
        ids: &EventIds,
        cache: &BlockCache,
    ) -> Result<ShardFiles, Error> {
        ShardFiles::open_folder(&filenames::shard_folder(data_dir, id), id, ids, cache)
    }

    /// Opens the files of a shard in a folder, making it when it is missing.
    ///
    /// # Errors
    /// As [`ShardFiles::open`].
    pub fn open_folder(
        path: &Path,
        id: &ShardId,
        ids: &EventIds,
        cache: &BlockCache,
    ) -> Result<ShardFiles, Error> {
        make_folder(path, id)?;
        let open = || -> tantivy::Result<ShardFiles> {
            let directory = ShardDirectory::open(path)?;
            let wishes = Arc::default();
            let index = IndexBuilder::new()
                .schema(schema::schema())
                .settings(schema::index_settings())
                .register_plugin(Arc::new(EventsPlugin::new(
                    cache.clone(),
                    Arc::clone(&wishes),
                )))
                .open_or_create(directory.clone())?;
            let reader = index
                .reader_builder()
                .reload_policy(ReloadPolicy::Manual)
                .doc_store_cache_num_blocks(0)
                .try_into()?;
            let fields = Fields::of(&index.schema())
                .ok_or_else(|| tantivy::TantivyError::SchemaError("not a shard of ours".into()))?;
            let files = ShardFiles {
                id: id.clone(),
                ids: ids.clone(),
                fields,
                index,
                reader,
                directory,
                cache: cache.clone(),
                wishes,
                known_segments: Arc::default(),
            };
            files.view()?;
            Ok(files)
        };
        open().map_err(|error| {
            if is_damage(&error) {
                set_aside(path, id, &error.to_string())
            } else {
                Error::io(path)(std::io::Error::other(error.to_string()))
            }
        })
    }

    /// The fields of its events.
    pub fn fields(&self) -> Fields {
        self.fields
    }

    /// Where its files are, and are made durable.
    pub fn directory(&self) -> &ShardDirectory {
        &self.directory
    }

    /// A writer for all the events that are to come. There is one writer of a folder at a time.
    ///
    /// # Errors
    /// Its threads cannot be started.
    pub fn writer(&self, settings: WriterSettings) -> tantivy::Result<IndexWriter<LogDocument>> {
        let options = IndexWriterOptions::builder()
            .num_worker_threads(settings.threads)
            .memory_budget_per_thread(settings.memory_bytes_per_thread)
            .build();
        self.index.writer_with_options(options)
    }

    /// A writer for a few events.
    fn visiting_writer(&self) -> tantivy::Result<IndexWriter<LogDocument>> {
        let options = IndexWriterOptions::builder()
            .num_worker_threads(1)
            .num_merge_threads(1)
            .memory_budget_per_thread(VISITING_WRITER_BYTES)
            .build();
        self.index.writer_with_options(options)
    }

    /// The newest visible state.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn view(&self) -> tantivy::Result<ShardReader> {
        self.reader.reload()?;
        let searcher = self.reader.searcher();
        let mut known = self
            .known_segments
            .lock()
            .expect("no holder of this lock panics");
        let mut still_known = FxHashMap::default();
        let mut segments = Vec::with_capacity(searcher.segment_readers().len());
        for reader in searcher.segment_readers() {
            let contents = match known.get(&reader.segment_id()) {
                Some(contents) => Arc::clone(contents),
                None => Arc::new(SegmentContents::read(reader, &self.cache)?),
            };
            still_known.insert(reader.segment_id(), Arc::clone(&contents));
            segments.push(Segment::new(reader.clone(), contents, self.fields));
        }
        *known = still_known;
        Ok(ShardReader::new(ShardContents {
            id: self.id.clone(),
            searcher,
            segments,
            ids: self.ids.clone(),
        }))
    }
}

impl ShardFiles {
    /// The paths for which searches made columns often enough to keep them from now on, when they are not too large to be
    /// made in a merge.
    fn asked_columns(&self) -> Vec<String> {
        let known = self.known_segments.lock();
        let known = known.expect("no holder of this lock panics");
        let mut asked: std::collections::BTreeMap<String, (u32, u64)> = Default::default();
        for (path, times, texts) in known.values().flat_map(|contents| contents.asked_columns()) {
            let (all_times, all_texts) = asked.entry(path).or_default();
            *all_times += times;
            *all_texts += texts;
        }
        let times_min = ASKED_OFTEN * known.len() as u32;
        let is_worth =
            |(times, texts): &(u32, u64)| *times >= times_min && *texts <= ASKED_TEXTS_MAX;
        let asked = asked.into_iter().filter(|(_, asked)| is_worth(asked));
        asked.map(|(path, _)| path).collect()
    }
}

impl Shard {
    /// Opens a shard for writing. Events before `floor` are not added: an earlier shard of this name was deleted there.
    ///
    /// # Errors
    /// As [`ShardFiles::open`].
    pub fn open(
        data_dir: &Path,
        id: &ShardId,
        ids: &EventIds,
        cache: &BlockCache,
        floor: Position,
        writer_settings: WriterSettings,
    ) -> Result<Shard, Error> {
        let files = ShardFiles::open(data_dir, id, ids, cache)?;
        let persisted = position_in(files.directory.payload_when_opened().as_deref()).max(floor);
        Ok(Shard {
            files,
            writer: None,
            keeps_writer: false,
            leaving: None,
            sealing: None,
            held_back: Vec::new(),
            held_back_bytes: 0,
            writer_settings,
            added: persisted,
            visible: persisted,
            added_since_visible: Since::default(),
            visible_since_persisted: Since::default(),
            persisting: None,
            plain_until: Position::ZERO,
            #[cfg(test)]
            poison: None,
        })
    }

    /// What is needed to search it.
    pub fn files(&self) -> &ShardFiles {
        &self.files
    }

    /// Adds the event at `position`, unless it was added before.
    ///
    /// # Errors
    /// The writer failed; call [`Shard::go_back`] and feed again from there.
    pub fn add(
        &mut self,
        event: &Event,
        position: Position,
        received: Timestamp,
    ) -> tantivy::Result<()> {
        if position < self.added {
            return Ok(());
        }
        if self.keeps_writer {
            self.write_held_back()?;
            self.write(event, position, received)?;
        } else {
            self.hold_back(event, position, received);
        }
        self.added = position.plus(1);
        self.added_since_visible
            .add(position, event.byte_size() as u64);
        Ok(())
    }

    fn hold_back(&mut self, event: &Event, position: Position, received: Timestamp) {
        // Copied: a slice would keep its neighbours of other shards in memory.
        let source = Bytes::copy_from_slice(&event.source);
        self.held_back_bytes += event.byte_size() as u64 + HELD_BACK_BYTES;
        self.held_back.push(HeldBack {
            event: Event {
                source,
                ..event.clone()
            },
            position,
            received,
        });
    }

    fn write_held_back(&mut self) -> tantivy::Result<()> {
        self.held_back_bytes = 0;
        for held in std::mem::take(&mut self.held_back) {
            self.write(&held.event, held.position, held.received)?;
        }
        Ok(())
    }

    fn write(
        &mut self,
        event: &Event,
        position: Position,
        received: Timestamp,
    ) -> tantivy::Result<()> {
        if let (Operation::Index | Operation::Delete | Operation::Displace, Some(id)) =
            (event.operation, &event.id)
        {
            self.remove(id)?;
        }
        if matches!(event.operation, Operation::Create | Operation::Index) {
            let is_plain = position < self.plain_until;
            #[cfg(test)]
            if self.poison == Some(position) && !is_plain {
                let error = "a poisonous event".to_owned();
                return Err(tantivy::TantivyError::InternalError(error));
            }
            let mut document = LogDocument::new(self.files.fields, event, position, received);
            document.is_plain = is_plain;
            self.writer()?.add_document(document)?;
        }
        Ok(())
    }

    /// Lets the shard keep its writer from now on, or not; takes effect with the next event, or the next refresh.
    pub fn keep_writer(&mut self, keeps_writer: bool) {
        self.keeps_writer = keeps_writer;
    }

    /// Whether it keeps its writer.
    pub fn keeps_writer(&self) -> bool {
        self.keeps_writer
    }

    /// Memory in events held back, in bytes.
    pub fn held_back_bytes(&self) -> u64 {
        self.held_back_bytes
    }

    /// Whether an earlier writer still merges: a refresh would wait for it.
    pub fn is_writer_leaving(&mut self) -> bool {
        match self.leaving.as_ref().map(Receiver::try_recv) {
            Some(Err(TryRecvError::Empty)) => true,
            _ => {
                self.leaving = None;
                false
            }
        }
    }

    #[cfg(test)]
    pub fn poisoned(mut self, poison: Option<Position>) -> Shard {
        self.poison = poison;
        self
    }

    /// Stores events before `until` without their fields and words.
    pub fn store_plainly(&mut self, until: Position) {
        self.plain_until = self.plain_until.max(until);
    }

    /// Every event before it that belongs here has been added.
    pub fn added(&self) -> Position {
        self.added
    }

    /// Every event before it that belongs here can be found.
    pub fn visible(&self) -> Position {
        self.visible
    }

    /// Makes everything added visible.
    ///
    /// # Errors
    /// The writer failed; call [`Shard::go_back`].
    pub fn refresh(&mut self) -> tantivy::Result<ShardReader> {
        if self.added_since_visible.first.is_some() {
            self.write_held_back()?;
            let payload = payload_of(self.added);
            let mut commit = self.writer()?.prepare_commit()?;
            commit.set_payload(&payload);
            commit.commit()?;
            self.visible = self.added;
            let since = std::mem::take(&mut self.added_since_visible);
            if let Some(first) = since.first {
                self.visible_since_persisted.add(first, since.bytes);
            }
        }
        let view = self.files.view()?;
        if !self.keeps_writer && self.sealing.is_none() {
            self.let_writer_go();
        }
        Ok(view)
    }

    /// How many segments its visible state has.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn segment_count(&self) -> tantivy::Result<usize> {
        Ok(self.files.index.searchable_segment_ids()?.len())
    }

    /// Begins to make one segment of all that are visible, regrouped in larger blocks, on threads of its own. Events may be
    /// added meanwhile; they stay in segments of their own. The paths of `exact` get columns however distinct their texts
    /// are, and so do those that searches asked for often.
    ///
    /// # Errors
    /// The writer cannot be had.
    pub fn begin_sealing(&mut self, mut exact: Vec<String>) -> tantivy::Result<()> {
        exact.extend(self.files.asked_columns());
        {
            let wanted = self.files.wishes.exact.lock();
            *wanted.expect("no holder of this lock panics") = exact;
        }
        let segments = self.files.index.searchable_segment_ids()?;
        self.writer()?;
        self.files.wishes.is_sealing.store(true, Ordering::Relaxed);
        let merge = self.writer()?.merge(&segments);
        let (done, sealing) = channel();
        let spawned = std::thread::Builder::new()
            .name("shard-seal".into())
            .spawn(move || {
                // The shard may be gone.
                let _ = done.send(merge.wait().map(drop));
            });
        self.sealing = spawned.is_ok().then_some(sealing);
        Ok(())
    }

    /// Whether it is being sealed.
    pub fn is_sealing(&self) -> bool {
        self.sealing.is_some()
    }

    /// What came of sealing; `None` while it is under way. What it made is visible with the next view and must be
    /// persisted.
    pub fn sealed(&mut self) -> Option<tantivy::Result<()>> {
        let outcome = match self.sealing.as_ref()?.try_recv() {
            Ok(outcome) => outcome,
            Err(TryRecvError::Empty) => return None,
            // The thread is gone without a word only when the process ends.
            Err(TryRecvError::Disconnected) => Ok(()),
        };
        self.sealing = None;
        self.files.wishes.is_sealing.store(false, Ordering::Relaxed);
        Some(outcome)
    }

    /// Whether some segment lacks the column of one of these paths.
    ///
    /// # Errors
    /// The files cannot be read.
    pub fn lacks_columns(&self, paths: &[String]) -> tantivy::Result<bool> {
        let view = self.files.view()?;
        Ok(paths.iter().any(|path| view.is_too_distinct(path)))
    }

    /// Gives up the writer; its merges go on, on a thread that ends with them. Everything must be visible.
    fn let_writer_go(&mut self) {
        let Some(writer) = self.writer.take() else {
            return;
        };
        let (done, leaving) = channel();
        let spawned = std::thread::Builder::new()
            .name("shard-merge".into())
            .spawn(move || {
                let merged = writer.wait_merging_threads();
                if let Err(error) = &merged {
                    tracing::warn!(%error, "segments could not be merged; they will be later");
                }
                // The shard may be gone.
                let _ = done.send(merged);
            });
        // Without a thread the closure, and the writer in it, are gone, which gives up the merges alone.
        self.leaving = spawned.is_ok().then_some(leaving);
    }

    fn wait_for_leaving(&mut self) {
        if let Some(leaving) = self.leaving.take() {
            // What failed was told; the segments that were to be merged are still there.
            let _ = leaving.recv();
        }
    }

    /// Takes note that the visible state is being made durable.
    pub fn begin_persisting(&mut self) -> ShardDirectory {
        self.persisting = Some(std::mem::take(&mut self.visible_since_persisted));
        self.files.directory.clone()
    }

    /// Whether a state is being made durable just now.
    pub fn is_persisting(&self) -> bool {
        self.persisting.is_some()
    }

    /// The first event of the state that is being made durable.
    pub fn being_persisted(&self) -> Option<Position> {
        self.persisting.and_then(|since| since.first)
    }

    /// Takes note that a state is durable.
    pub fn persisted(&mut self) {
        self.persisting = None;
    }

    /// Takes note that nothing was made durable; to be tried again.
    pub fn persisting_failed(&mut self) {
        if let Some(since) = self.persisting.take() {
            let later = self.visible_since_persisted;
            self.visible_since_persisted = Since {
                first: since.first.or(later.first),
                began: since.began.or(later.began),
                bytes: since.bytes + later.bytes,
            };
        }
    }

    /// Gives up what is not visible after a failure of the writer. Answers where to feed again from.
    pub fn go_back(&mut self) -> Position {
        // Dropping the writer gives up what it holds; files it left are removed by the next one.
        self.writer = None;
        self.sealing = None;
        self.files.wishes.is_sealing.store(false, Ordering::Relaxed);
        self.held_back = Vec::new();
        self.held_back_bytes = 0;
        self.added = self.visible;
        self.added_since_visible = Since::default();
        self.added
    }

    /// Events added that are not visible yet.
    pub fn since_visible(&self) -> Since {
        self.added_since_visible
    }

    /// Events visible that nobody has begun to persist.
    pub fn since_persisted(&self) -> Since {
        self.visible_since_persisted
    }

    /// Lets merges that run end soon; what they were to merge stays as it is.
    pub fn give_up_merges(&self) {
        let wishes = &self.files.wishes;
        wishes.are_given_up.store(true, Ordering::Relaxed);
    }

    /// Gives up the writer after merges that run have ended. Everything must be visible.
    pub fn close_writer(&mut self) -> tantivy::Result<()> {
        self.wait_for_leaving();
        self.sealing = None;
        match self.writer.take() {
            Some(writer) => writer.wait_merging_threads(),
            None => Ok(()),
        }
    }

    fn writer(&mut self) -> tantivy::Result<&mut IndexWriter<LogDocument>> {
        if self.writer.is_none() {
            // There is one writer of a folder at a time.
            self.wait_for_leaving();
            self.writer = Some(match self.keeps_writer {
                true => self.files.writer(self.writer_settings)?,
                false => self.files.visiting_writer()?,
            });
        }
        Ok(self.writer.as_mut().expect("made just above"))
    }

    /// Removes the event with this id, be it the sender's or ours.
    fn remove(&mut self, id: &str) -> tantivy::Result<()> {
        let Fields {
            id: id_field,
            position: position_field,
            ..
        } = self.files.fields;
        let position = self.files.ids.position_of(id);
        let writer = self.writer()?;
        writer.delete_term(Term::from_field_text(id_field, id));
        if let Some(position) = position {
            let bound =
                || std::ops::Bound::Included(Term::from_field_u64(position_field, position.0));
            writer.delete_query(Box::new(RangeQuery::new(bound(), bound())))?;
        }
        Ok(())
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        // Whoever opens the folder next must find nobody at work in it.
        self.wait_for_leaving();
    }
}

fn payload_of(position: Position) -> String {
    format!("position={position}")
}

/// The journal position inside the state on disk: every event before it that belongs to the shard is in it. Zero when
/// it cannot be read, which only means that more of the journal is read again.
pub fn persisted_position(folder: &Path) -> Position {
    position_in(
        ShardDirectory::payload_on_disk(folder)
            .ok()
            .flatten()
            .as_deref(),
    )
}

fn position_in(payload: Option<&str>) -> Position {
    let number = payload.and_then(|payload| payload.strip_prefix("position=")?.parse().ok());
    Position(number.unwrap_or_default())
}

/// Makes the folder durably, with its format version in it.
fn make_folder(path: &Path, id: &ShardId) -> Result<(), Error> {
    let format_path = path.join(filenames::SHARD_FORMAT);
    // A new shard must not be begun where one was being replaced by its conversion.
    convert::restore(path).map_err(Error::io(path))?;
    match std::fs::read_to_string(&format_path) {
        Ok(text) => {
            check_format(path, &text)?;
            if is_older(path) {
                return Err(Error::Unconverted { shard: id.name() });
            }
            // What is written from here on is not for an older daybook.
            if text.trim() != FORMAT_VERSION.to_string() {
                write_format(path).map_err(Error::io(&format_path))?;
            }
            return Ok(());
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::io(&format_path)(error)),
    }
    std::fs::create_dir_all(path).map_err(Error::io(path))?;
    write_format(path).map_err(Error::io(&format_path))
}

/// Writes the format of a shard durably; one that is there is replaced as a whole.
fn write_format(path: &Path) -> std::io::Result<()> {
    let begun = path.join(filenames::SHARD_FORMAT_BEGUN);
    let mut file = std::fs::File::create(&begun)?;
    std::io::Write::write_all(&mut file, format!("{FORMAT_VERSION}\n").as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&begun, path.join(filenames::SHARD_FORMAT))?;
    let mut folder: Option<&Path> = Some(path);
    // The folder itself, the index's folder and `logs` may all be new.
    for _ in 0..3 {
        let Some(at) = folder else { break };
        std::fs::File::open(at)?.sync_all()?;
        folder = at.parent();
    }
    Ok(())
}

/// Reads every byte of a shard's durable state and compares checksums, changing nothing. Answers how many events it has.
///
/// # Errors
/// What is damaged.
pub fn verify_shard(folder: &Path) -> Result<u64, String> {
    if let Ok(format) = std::fs::read_to_string(folder.join(filenames::SHARD_FORMAT)) {
        check_format(folder, &format).map_err(|error| error.to_string())?;
    }
    let verify = || -> tantivy::Result<Result<u64, String>> {
        let directory = ShardDirectory::open_untouched(folder)?;
        if !Index::exists(&directory)? {
            // A shard that was begun and never persisted: its events are in the journal.
            return Ok(Ok(0));
        }
        let index = Index::open(directory)?;
        let damaged = index.validate_checksum()?;
        if !damaged.is_empty() {
            return Ok(Err(format!("wrong checksum of {damaged:?}")));
        }
        let reader = index
            .reader_builder()
            .reload_policy(ReloadPolicy::Manual)
            .try_into()?;
        Ok(Ok(reader.searcher().num_docs()))
    };
    verify().map_err(|error| error.to_string())?
}

/// Refuses a shard of a newer format than ours.
///
/// # Errors
/// `Error::NewerFormat`.
pub fn check_format(path: &Path, text: &str) -> Result<(), Error> {
    let found: u32 = text.trim().parse().unwrap_or(FORMAT_VERSION);
    if found > FORMAT_VERSION {
        return Err(Error::NewerFormat {
            path: path.display().to_string(),
            found,
            known: FORMAT_VERSION,
        });
    }
    Ok(())
}

/// Whether a shard is of a format that is no longer read.
pub fn is_older(folder: &Path) -> bool {
    let format = std::fs::read_to_string(folder.join(filenames::SHARD_FORMAT));
    let found = format.ok().and_then(|text| text.trim().parse::<u32>().ok());
    found.is_some_and(|found| found < FORMAT_READ)
}

/// Whether a shard's files are wrong, rather than out of reach for the moment.
pub fn is_damage(error: &tantivy::TantivyError) -> bool {
    use std::io::ErrorKind;
    use tantivy::TantivyError;
    use tantivy::directory::error::OpenReadError;
    match error {
        TantivyError::IoError(source) => matches!(
            source.kind(),
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof
        ),
        TantivyError::OpenReadError(error) => !matches!(error, OpenReadError::IoError { .. }),
        TantivyError::DataCorruption(_)
        | TantivyError::IncompatibleIndex(_)
        | TantivyError::SchemaError(_) => true,
        _ => false,
    }
}

/// Sets a damaged shard aside; answers what there is to say about that.
pub fn set_aside(path: &Path, id: &ShardId, message: &str) -> Error {
    let target: PathBuf = filenames::damaged_folder(path);
    match std::fs::rename(path, &target) {
        Ok(()) => Error::Damaged {
            shard: id.name(),
            message: message.to_owned(),
            set_aside: target
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
        },
        Err(source) => Error::Io {
            path: path.display().to_string(),
            source,
        },
    }
}
