//! The indexer: receives batches with their journal position, chooses index and day, and carries each event through
//! the stages added, visible, persisted.
//!
//! One thread owns an [`Indexer`] and calls [`Indexer::apply`] for each batch in the journal's order, and
//! [`Indexer::tick`] between batches, at least every 50 ms. Everything is repeatable: feeding a batch again skips what a
//! shard has, so after a failure or a restart the journal is simply read again.

mod sealing;
mod stages;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use event::{Batch, Day, IndexName, Ledger, Operation, Position, SourceCounts, Timestamp};

use crate::catalog::{Catalog, SavedLedger};
use crate::logs::ShardId;
use crate::logs::blocks::BlockCache;
use crate::logs::convert::{self, Converter};
use crate::logs::event_id::EventIds;
use crate::logs::log_index::{LogIndex, Slot};
use crate::logs::shard::{Shard, WriterSettings, check_format};
use crate::persister::Persister;
use crate::retention::{ShardSize, fits, shard_bytes};
use crate::{Error, filenames};
use sealing::Sealing;

/// How the indexer works.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data directory.
    pub data_dir: PathBuf,
    /// Threads that index events of one shard.
    pub writer_threads: usize,
    /// Memory for events that are added but not visible, over all shards, in bytes.
    pub writer_memory_bytes: usize,
    /// Memory for parts of blocks that were read, of all shards together, in bytes.
    pub cache_bytes: u64,
    /// Shards that keep a writer: each costs a few threads and its share of the writers' memory.
    pub writers_kept_max: usize,
    /// How long an added event stays invisible while its shard is searched.
    pub refresh_interval: Duration,
    /// How long a visible event may stay unpersisted: what a restart reads again from the journal.
    pub persist_interval: Duration,
    /// How many bytes of events may stay unpersisted per shard.
    pub persist_bytes: u64,
    /// How long after its end, and after its last event, a day is sealed.
    pub late_window: Duration,
    /// Fields that get a column when a day is sealed, however many different texts they have: by index name or by name with
    /// `*`; the longest pattern that fits decides.
    pub exact: Vec<(String, Vec<String>)>,
}

/// Shards that are being written at the same time; each costs mapped files. Beyond that the one unused longest is
/// closed. As many as there may be indices.
const OPEN_SHARDS_MAX: usize = 1_000;

/// A shard that fails this often at the same place, while its disk works, has an event that the index cannot take.
const PLAIN_AFTER_FAILURES: u32 = 4;

/// How often the books are saved.
const LEDGER_SAVE_INTERVAL: Duration = Duration::from_secs(2);

/// Free space above which a writer that fails does not fail for want of it.
const DISK_ROOM_BYTES: u64 = 1024 * 1024 * 1024;

/// Written and removed to see whether the disk takes writes.
const DISK_PROBE: &str = "disk_probe";

/// In the books, whose events the records were that nobody can read.
const UNREADABLE_SOURCE: &str = "journal";

/// The kind of the catalog's documents that remember deleted shards.
const DELETED: &str = "deleted_shard";

/// A deletion is remembered until this many events came after it: more than the journal keeps behind what it released,
/// which is one segment of at most 64 MiB with events of some bytes.
const DELETED_KEPT_EVENTS: u64 = 8 * 1024 * 1024;

/// tantivy asks for 15 MB per thread at least.
const WRITER_THREAD_BYTES_MIN: usize = 15_000_000;

impl Settings {
    /// The defaults for a data directory.
    pub fn new(data_dir: &Path) -> Settings {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Settings {
            data_dir: data_dir.to_owned(),
            writer_threads: cores.clamp(1, 8),
            writer_memory_bytes: 128 * 1024 * 1024,
            cache_bytes: 192 * 1024 * 1024,
            writers_kept_max: 4,
            refresh_interval: Duration::from_millis(400),
            persist_interval: Duration::from_secs(30),
            persist_bytes: 256 * 1024 * 1024,
            late_window: Duration::from_secs(15 * 60),
            exact: Vec::new(),
        }
    }

    /// The fields of an index that get a column however many different texts they have.
    fn exact_of(&self, index: &IndexName) -> &[String] {
        let fitting = self.exact.iter();
        let fitting = fitting.filter(|(pattern, _)| fits(pattern, index.as_str()));
        let longest = fitting.max_by_key(|(pattern, _)| pattern.len());
        longest.map_or(&[], |(_, fields)| fields)
    }

    fn writer(&self) -> WriterSettings {
        WriterSettings {
            threads: self.writer_threads,
            memory_bytes_per_thread: (self.writer_memory_bytes / self.writer_threads)
                .max(WRITER_THREAD_BYTES_MIN),
        }
    }
}

/// The only writer of log files.
pub struct Indexer {
    settings: Settings,
    ids: EventIds,
    cache: BlockCache,
    log_index: LogIndex,
    catalog: Arc<Catalog>,
    ledger: Arc<Ledger>,
    persister: Persister,
    shards: HashMap<ShardId, OpenShard>,
    /// Every event before this position has been added.
    added: Position,
    /// Where the journal must be read again from, because a shard gave up what it had; kept until the feed takes it.
    resume_from: Option<Position>,
    /// Deleted shards: what the journal still has of them before these positions must not come back.
    deleted: HashMap<ShardId, Position>,
    /// Shards whose writer failed and has not come further since.
    failing: HashMap<ShardId, Failing>,
    /// When the batch that was applied last was received; `None` once nothing is left to apply.
    waiting_since: Option<Timestamp>,
    looked_for_cold_at: Instant,
    sealing: Sealing,
    /// Not before then are shards made visible that keep no writer.
    next_visits: Instant,
    /// The next tick makes durable whatever is not.
    is_asked_to_persist: bool,
    /// Not before then is it asked who may keep a writer.
    next_grant: Instant,
    books: Books,
    /// An event whose writing fails.
    #[cfg(test)]
    poison: Option<Position>,
}

/// How often a shard's writer failed in a row.
struct Failing {
    /// Where its visible events ended each time.
    visible: Position,
    times: u32,
}

struct OpenShard {
    shard: Shard,
    slot: Arc<Slot>,
    used_at: Instant,
}

/// Where the books stand.
struct Books {
    /// Every event before it is in the ledger as stored.
    counted: Position,
    /// Events before it were accepted by an earlier process and are counted as such when they are read.
    accepted_before: Position,
    saved_at: Instant,
    saved: Option<SavedLedger>,
}

impl Indexer {
    /// Opens the log index of a data directory.
    ///
    /// `journal_end` is where the journal stood at its opening: what lies before it was accepted by an earlier process.
    ///
    /// # Errors
    /// A shard or the catalog is of a newer format, or the directory cannot be read.
    pub fn open(
        settings: Settings,
        catalog: Arc<Catalog>,
        ledger: Arc<Ledger>,
        journal_end: Position,
    ) -> Result<Indexer, Error> {
        let data_dir = settings.data_dir.clone();
        let logs = data_dir.join(filenames::LOGS);
        std::fs::create_dir_all(&logs).map_err(Error::io(&logs))?;
        let ids = EventIds::new(catalog.directory_number()?);
        let cache = BlockCache::new(settings.cache_bytes);
        let log_index = LogIndex::new(&data_dir, ids.clone(), cache.clone());
        let shards = filenames::list_shards(&data_dir).map_err(Error::io(&logs))?;
        for id in &shards {
            let folder = filenames::counting_folder(&data_dir, id);
            if let Ok(format) = std::fs::read_to_string(folder.join(filenames::SHARD_FORMAT)) {
                check_format(&folder, &format)?;
            }
        }
        for id in &shards {
            let folder = filenames::shard_folder(&data_dir, id);
            convert::restore(&folder).map_err(Error::io(&folder))?;
        }
        filenames::remove_garbage(&data_dir).map_err(Error::io(&logs))?;
        let mut waiting = converter(&settings, &ids, &cache)
            .convert_all()
            .map_err(Error::io(&logs))?;
        for id in &shards {
            let slot = log_index.add_shard(id);
            if let Some(reason) = waiting.remove(id) {
                slot.set_waiting(&format!("it waits to be converted: {reason}"));
            }
        }
        let deleted = read_deleted(&catalog)?;
        let saved = catalog.saved_ledger()?;
        for (source, counts) in &saved.sources {
            ledger.source(source).restore(counts);
        }
        let books = Books {
            counted: saved.position,
            accepted_before: journal_end,
            saved_at: Instant::now(),
            saved: Some(saved),
        };
        let persister = Persister::start().map_err(Error::io(&logs))?;
        Ok(Indexer {
            settings,
            ids,
            cache,
            log_index,
            catalog,
            ledger,
            persister,
            shards: HashMap::new(),
            added: Position::ZERO,
            resume_from: None,
            deleted,
            failing: HashMap::new(),
            // Until the journal's end has been read nobody knows how old the oldest event is.
            waiting_since: (journal_end > Position::ZERO).then(|| Timestamp::from_nanos(0)),
            looked_for_cold_at: Instant::now(),
            sealing: Sealing::new(),
            next_visits: Instant::now(),
            is_asked_to_persist: false,
            next_grant: Instant::now(),
            books,
            #[cfg(test)]
            poison: None,
        }
        .announced())
    }

    /// Searches must not take the answer for complete before the first event is read.
    fn announced(self) -> Indexer {
        self.advance();
        self
    }

    /// The highest journal position that any shard, or the books, know of; a new journal must begin there.
    ///
    /// # Errors
    /// The catalog or the folders cannot be read.
    pub fn position_floor(data_dir: &Path, catalog: &Catalog) -> Result<Position, Error> {
        let logs = data_dir.join(filenames::LOGS);
        let shards = filenames::list_shards(data_dir).map_err(Error::io(&logs))?;
        let persisted = shards.iter().map(|id| {
            crate::logs::shard::persisted_position(&filenames::counting_folder(data_dir, id))
        });
        let highest = persisted.max().unwrap_or_default();
        Ok(highest.max(catalog.saved_ledger()?.position))
    }

    /// For searching.
    pub fn log_index(&self) -> LogIndex {
        self.log_index.clone()
    }

    /// Adds the events of one journal record, whose first stands at `first`.
    ///
    /// # Errors
    /// A shard cannot be written or opened. Wait, then read the journal again from [`Indexer::take_resume_from`].
    pub fn apply(&mut self, first: Position, batch: &Batch) -> Result<(), Error> {
        let source = self.ledger.source(&batch.source);
        self.waiting_since = Some(batch.received);
        for (at, event) in batch.events.iter().enumerate() {
            let position = first.plus(at as u64);
            let id = ShardId {
                index: event.index.clone(),
                day: Day::of(event.timestamp),
            };
            let added = match self.open_shard(&id) {
                Ok(open) => open.shard.add(event, position, batch.received),
                Err(error) => {
                    self.give_up(position);
                    return Err(error);
                }
            };
            if let Err(error) = added {
                self.give_up(position);
                return Err(self.stall(&id, &error.to_string()));
            }
            let is_in_books = event.operation != Operation::Displace;
            if position >= self.books.counted {
                self.books.counted = position.plus(1);
                if is_in_books && position < self.books.accepted_before {
                    source.received(1, 0);
                    source.accepted(1);
                }
                if is_in_books {
                    source.stored(1);
                }
            }
        }
        self.added = self.added.max(first.plus(batch.events.len() as u64));
        Ok(())
    }

    /// Where the journal must be read again from, when a shard gave up what it had since this was asked last. Ask after
    /// every call, also of those that went well: one shard's trouble can come up while another is dealt with.
    pub fn take_resume_from(&mut self) -> Option<Position> {
        self.resume_from.take()
    }

    fn give_up(&mut self, position: Position) {
        self.added = self.added.min(position);
        self.resume_from = Some(
            self.resume_from
                .map_or(position, |earlier| earlier.min(position)),
        );
        self.advance();
    }

    /// Drops a shard whose files cannot be trusted; it begins again from what is durable.
    fn drop_shard(&mut self, id: &ShardId, message: String) -> Error {
        let folder = filenames::shard_folder(&self.settings.data_dir, id);
        self.shards.remove(id);
        self.give_up(crate::logs::shard::persisted_position(&folder));
        Error::Stalled {
            shard: id.name(),
            message,
        }
    }

    /// Takes note that the journal's end was reached: nothing waits.
    pub fn caught_up(&mut self) {
        self.waiting_since = None;
    }

    /// Takes note that a record cannot be read: `count` events up to `end` were accepted and are lost. Nobody knows
    /// whose they were, so the books have them under a source of this crate's.
    pub fn lose(&mut self, count: u32, end: Position) {
        if self.books.counted < end {
            let source = self.ledger.source(UNREADABLE_SOURCE);
            source.received(u64::from(count), 0);
            source.dropped("unreadable", u64::from(count));
        }
        self.skip_to(end);
    }

    /// Takes note that the journal has nothing before `position` that was not applied, though no record said so: lost
    /// or unknown records.
    pub fn skip_to(&mut self, position: Position) {
        self.added = self.added.max(position);
        self.books.counted = self.books.counted.max(position);
    }

    /// Does what is due: makes events visible, persists, closes writers, saves the books, tells how far it is.
    ///
    /// # Errors
    /// As [`Indexer::apply`].
    pub fn tick(&mut self) -> Result<(), Error> {
        while let Some(done) = self.persister.finished() {
            self.note_persisted(done)?;
        }
        let asked = self.log_index.refreshes_asked();
        self.refresh_due(asked.is_some())?;
        self.persist_due()?;
        self.seal_due(Timestamp::now())?;
        self.close_idle()?;
        self.close_cold();
        self.advance();
        if let Some(asked) = asked {
            self.log_index.refreshed(asked);
        }
        if self.books.saved_at.elapsed() >= LEDGER_SAVE_INTERVAL {
            self.save_books()?;
        }
        Ok(())
    }

    /// Asks the next tick to make durable what is not, whatever its age and size: somebody waits for the journal to
    /// forget it.
    pub fn persist_soon(&mut self) {
        self.is_asked_to_persist = true;
    }

    /// Every event before it is durable in its shard; the journal may forget it.
    pub fn release_before(&self) -> Position {
        // The books must not forget what the journal can no longer tell.
        let saved = self
            .books
            .saved
            .as_ref()
            .map_or(Position::ZERO, |saved| saved.position);
        self.shards
            .values()
            .filter_map(|open| open.first_unpersisted())
            .fold(self.added.min(saved), Position::min)
    }

    /// The shards and their bytes on disk.
    pub fn shard_sizes(&self) -> Vec<ShardSize> {
        let sized = |id: ShardId| ShardSize {
            bytes: shard_bytes(&self.settings.data_dir, &id),
            id,
        };
        self.log_index.shard_ids().into_iter().map(sized).collect()
    }

    /// Deletes a shard. Searches that have it open finish undisturbed; its bytes are free when they have.
    ///
    /// # Errors
    /// The folder cannot be renamed or removed.
    pub fn delete_shard(&mut self, id: &ShardId) -> Result<(), Error> {
        self.wait_until_persisted(id)?;
        let until = self.added;
        self.catalog
            .change_documents(&[(DELETED, id.name(), Some(until.to_string()))])?;
        self.deleted.insert(id.clone(), until);
        self.shards.remove(id);
        self.log_index.remove_shard(id);
        let folder = filenames::shard_folder(&self.settings.data_dir, id);
        let doomed = filenames::deleted_folder(&folder);
        // Renamed first, so that a kill in between leaves no half of a shard.
        if doomed.exists() {
            std::fs::remove_dir_all(&doomed).map_err(Error::io(&doomed))?;
        }
        match std::fs::rename(&folder, &doomed) {
            Ok(()) => std::fs::remove_dir_all(&doomed).map_err(Error::io(&doomed)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::io(&folder)(error)),
        }
    }

    /// Makes everything durable and gives up the writers. Answers what the journal may forget.
    ///
    /// # Errors
    /// A shard cannot be written; what is missing will be read from the journal again.
    pub fn close(mut self) -> Result<Position, Error> {
        let ids: Vec<ShardId> = self.shards.keys().cloned().collect();
        let mut outcome = Ok(());
        // A day may take minutes to seal, and who stops us waits seconds.
        for open in self.shards.values() {
            open.shard.give_up_merges();
        }
        for id in &ids {
            outcome = outcome.and(self.close_shard(id));
        }
        self.advance();
        self.log_index.stop();
        outcome.and(self.save_books())?;
        Ok(self.release_before())
    }

    fn open_shard(&mut self, id: &ShardId) -> Result<&mut OpenShard, Error> {
        if !self.shards.contains_key(id) {
            if self.shards.len() >= OPEN_SHARDS_MAX {
                let oldest = self
                    .shards
                    .iter()
                    .min_by_key(|(_, open)| open.used_at)
                    .map(|(id, _)| id.clone());
                if let Some(oldest) = oldest {
                    self.close_shard(&oldest)?;
                }
            }
            let slot = self.log_index.add_shard(id);
            let floor = self.deleted.get(id).copied().unwrap_or_default();
            let opened = slot.open_for_writing(|| {
                converter(&self.settings, &self.ids, &self.cache).convert_for_writing(id)?;
                Shard::open(
                    &self.settings.data_dir,
                    id,
                    &self.ids,
                    &self.cache,
                    floor,
                    self.settings.writer(),
                )
            });
            let shard = opened.map_err(|error| match error {
                // A disk that is full today is not tomorrow.
                Error::Io { path, source } => Error::Stalled {
                    shard: id.name(),
                    message: format!("{path}: {source}"),
                },
                other => other,
            })?;
            #[cfg(test)]
            let shard = shard.poisoned(self.poison);
            self.shards.insert(
                id.clone(),
                OpenShard {
                    shard,
                    slot,
                    used_at: Instant::now(),
                },
            );
        }
        if !self.shards[id].shard.keeps_writer() && Instant::now() >= self.next_grant {
            self.grant_writer(id);
        }
        let open = self.shards.get_mut(id).expect("inserted just above");
        self.sealing.note_event(id);
        open.used_at = Instant::now();
        Ok(open)
    }

    fn stall(&mut self, id: &ShardId, message: &str) -> Error {
        let mut from = self.added;
        if let Some(open) = self.shards.get_mut(id) {
            let failed_at = open.shard.added();
            from = open.shard.go_back();
            let failing = self.failing.entry(id.clone()).or_insert(Failing {
                visible: from,
                times: 0,
            });
            if failing.visible != from {
                *failing = Failing {
                    visible: from,
                    times: 0,
                };
            }
            failing.times += 1;
            let is_event =
                failing.times >= PLAIN_AFTER_FAILURES && disk_works(&self.settings.data_dir);
            if is_event {
                tracing::error!(
                    shard = id.name(),
                    message,
                    first = %from,
                    last = %failed_at,
                    "the index cannot take one of these events; they are stored and found by time alone"
                );
                open.shard.store_plainly(failed_at.plus(1));
            }
        }
        self.give_up(from);
        Error::Stalled {
            shard: id.name(),
            message: message.to_owned(),
        }
    }

    fn advance(&self) {
        let visible = self
            .shards
            .values()
            .filter_map(|open| open.shard.since_visible().first)
            .fold(self.added, Position::min);
        self.log_index
            .advance(self.added, visible, self.waiting_since);
    }

    /// Forgets deletions that the journal has nothing of any more.
    fn forget_deleted(&mut self) -> Result<(), Error> {
        let released = self.release_before();
        let past: Vec<ShardId> = self
            .deleted
            .iter()
            .filter(|(_, until)| **until <= released)
            .map(|(id, _)| id.clone())
            .collect();
        // The journal's last segment is kept whole, so what was released may still be read at the next start: the
        // deletion is kept one segment's worth longer by waiting until the shard is old news to the books as well.
        let past: Vec<ShardId> = past
            .into_iter()
            .filter(|id| self.added.0 > self.deleted[id].0 + DELETED_KEPT_EVENTS)
            .collect();
        for id in past {
            self.catalog
                .change_documents(&[(DELETED, id.name(), None)])?;
            self.deleted.remove(&id);
        }
        Ok(())
    }

    fn save_books(&mut self) -> Result<(), Error> {
        self.books.saved_at = Instant::now();
        let sources: BTreeMap<String, SourceCounts> = self
            .ledger
            .totals()
            .into_iter()
            .map(|totals| {
                let counts = SourceCounts {
                    accepted: totals.stored,
                    stored: totals.stored,
                    received_bytes: totals.received_bytes,
                    rejected: totals.rejected,
                    dropped: totals.dropped,
                };
                (totals.source, counts)
            })
            .collect();
        let ledger = SavedLedger {
            position: self.books.counted,
            sources: sources.into_iter().collect(),
        };
        self.forget_deleted()?;
        if self.books.saved.as_ref() != Some(&ledger) {
            self.catalog.save_ledger(&ledger)?;
            self.books.saved = Some(ledger);
        }
        Ok(())
    }
}

fn converter<'a>(
    settings: &'a Settings,
    ids: &'a EventIds,
    cache: &'a BlockCache,
) -> Converter<'a> {
    Converter {
        data_dir: &settings.data_dir,
        ids,
        cache,
        writer_settings: settings.writer(),
        free_bytes,
        disk_works,
        #[cfg(test)]
        poison: None,
    }
}

/// Whether a failed write was not the disk's fault: there is plenty of room, and a file can be written and synced.
fn disk_works(data_dir: &Path) -> bool {
    let has_room = free_bytes(data_dir).is_some_and(|free| free >= DISK_ROOM_BYTES);
    let probe = data_dir.join(DISK_PROBE);
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(&probe)?;
        std::io::Write::write_all(&mut file, &[0; 4096])?;
        file.sync_all()?;
        std::fs::remove_file(&probe)
    };
    has_room && write().is_ok()
}

fn free_bytes(data_dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(data_dir).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The deletions that the catalog remembers.
fn read_deleted(catalog: &Catalog) -> Result<HashMap<ShardId, Position>, Error> {
    let mut deleted = HashMap::new();
    for (name, position) in catalog.documents(DELETED)? {
        let target = event::WriteTarget::parse(&name).ok();
        let id = target.and_then(|target| {
            Some(ShardId {
                index: target.index,
                day: target.day?,
            })
        });
        if let (Some(id), Ok(position)) = (id, position.parse()) {
            deleted.insert(id, Position(position));
        }
    }
    Ok(deleted)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use event::{Event, IndexName};

    use super::*;
    use crate::logs::{Field, Leaf, ShardReader};

    fn events(count: u64) -> Batch {
        let now = Timestamp::parse_iso("2026-11-23T10:00:00Z").unwrap();
        let event = |number: u64| {
            let source = format!(r#"{{"message":"number{number}"}}"#);
            Event::create(IndexName::default_index(), now, Bytes::from(source))
        };
        Batch::new("test".into(), now, (0..count).map(event).collect())
    }

    fn open(data_dir: &Path) -> Indexer {
        let catalog = Arc::new(Catalog::open(data_dir).unwrap());
        let ledger = Arc::new(Ledger::new());
        Indexer::open(Settings::new(data_dir), catalog, ledger, Position::ZERO).unwrap()
    }

    /// One event that the index cannot take does not hold up the others for ever, and is not lost.
    #[test]
    fn an_event_that_always_fails_is_stored_plainly_in_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut indexer = open(dir.path());
        indexer.poison = Some(Position(3));
        let batch = events(6);
        let mut failures = 0;
        while let Err(error) = indexer.apply(Position::ZERO, &batch) {
            assert!(matches!(error, Error::Stalled { .. }), "{error}");
            assert_eq!(indexer.take_resume_from(), Some(Position::ZERO));
            failures += 1;
            assert!(failures <= PLAIN_AFTER_FAILURES, "it never ends");
        }
        assert_eq!(failures, PLAIN_AFTER_FAILURES);

        // What comes later has its words; up to the place of the failure only the time is known.
        indexer.apply(Position(6), &events(6)).unwrap();
        let log_index = indexer.log_index();
        indexer.tick().unwrap();
        let id = log_index.shard_ids().remove(0);
        indexer.refresh_shard(&id).unwrap();
        let snapshot = log_index.snapshot(|_| true);
        let reader = &snapshot.shards[0];
        assert_eq!(reader.event_count(), 12);
        let count = |word: &str| {
            let query = reader.query(&Leaf::Words(Field::Any, word.into())).unwrap();
            let counted = reader
                .searcher()
                .search(&*query, &tantivy::collector::Count);
            counted.unwrap()
        };
        assert_eq!((count("number5"), count("number2")), (2, 1));
    }

    /// Many indices at once: few keep a writer, the others hold their events back, and nothing is lost or doubled.
    #[test]
    fn of_many_shards_few_keep_a_writer() {
        let dir = tempfile::tempdir().unwrap();
        let mut indexer = open(dir.path());
        let log_index = indexer.log_index();
        let mut batch = events(30);
        for (number, event) in batch.events.iter_mut().enumerate() {
            event.index = IndexName::parse(&format!("service{}", number % 10)).unwrap();
        }
        let mut first = Position::ZERO;
        for round in 1..=3 {
            indexer.apply(first, &batch).unwrap();
            first = first.plus(30);
            let kept = indexer.shards.values();
            let kept = kept.filter(|open| open.shard.keeps_writer()).count();
            assert_eq!(kept, indexer.settings.writers_kept_max);
            let held: u64 = indexer
                .shards
                .values()
                .map(|open| open.shard.held_back_bytes())
                .sum();
            assert!(held > 0);
            for id in log_index.shard_ids() {
                indexer.refresh_shard(&id).unwrap();
            }
            let snapshot = log_index.snapshot(|_| true);
            let counts = snapshot.shards.iter().map(ShardReader::event_count);
            assert_eq!(counts.collect::<Vec<_>>(), [3 * round; 10]);
        }
        assert!(
            indexer
                .shards
                .values()
                .all(|open| open.shard.held_back_bytes() == 0)
        );
        assert_eq!(indexer.close().unwrap(), first);
    }

    /// Views that nobody uses are closed and opened again when somebody searches.
    #[test]
    fn many_cold_shards_do_not_stay_open() {
        let dir = tempfile::tempdir().unwrap();
        let mut indexer = open(dir.path());
        let mut batch = events(1);
        for number in 0..3 {
            batch.events[0].timestamp = Day::from_number(20_000 + number).start();
            indexer.apply(Position(number as u64), &batch).unwrap();
        }
        indexer.close().unwrap();

        let indexer = open(dir.path());
        let log_index = indexer.log_index();
        assert_eq!(log_index.snapshot(|_| true).shards.len(), 3);
        assert_eq!(log_index.open_view_count(), 3);
        log_index.close_cold(Duration::ZERO, |id| id.day.number() == 20_001);
        assert_eq!(log_index.open_view_count(), 1);
        assert_eq!(log_index.snapshot(|_| true).shards.len(), 3);
        log_index.close_cold(stages::COLD_AFTER, |_| false);
        assert_eq!(log_index.open_view_count(), 3, "searched just now");
    }

    /// A search is told when accepted events have waited too long.
    #[test]
    fn what_waits_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let mut indexer = open(dir.path());
        let log_index = indexer.log_index();
        let batch = events(1);
        let later = |seconds| batch.received.plus(Duration::from_secs(seconds));
        assert_eq!(log_index.behind(later(60)), None);
        indexer.apply(Position::ZERO, &batch).unwrap();
        indexer.tick().unwrap();
        assert_eq!(log_index.behind(later(1)), None);
        assert_eq!(log_index.behind(later(60)), Some(Duration::from_secs(60)));
        indexer.caught_up();
        indexer.tick().unwrap();
        assert_eq!(log_index.behind(later(60)), None);
    }
}
