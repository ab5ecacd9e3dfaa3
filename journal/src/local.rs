//! The journal of one machine: segment files in one directory, a thread that writes them, readers that follow.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use event::Position;

use crate::file_system::{FileSystem, LocalFileSystem};
use crate::queue::{Append, Queue};
use crate::reader::Reader;
use crate::record::POSITION_LIMIT;
use crate::segment::{self, ActiveSegment};
use crate::state::Shared;
use crate::survey::{Cause, Damage, Survey};
use crate::writer::Writer;
use crate::{Appending, Error, Journal, Kind, Payload, RecordReader, Status};

/// The settings of a local journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The directory of the segment files; made when it is missing. One process per directory.
    pub dir: PathBuf,
    /// What all segment files may occupy before appends are refused: `journal.max_size`, 4 GiB.
    pub max_size_bytes: u64,
    /// How long a segment gets before the next one begins: 64 MiB, at most a quarter of `max_size_bytes`.
    /// Released bytes are given back in steps of a segment.
    pub segment_bytes: u64,
    /// When an append is durable: `journal.fsync`.
    pub fsync: Fsync,
}

/// When bytes are fsynced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fsync {
    /// Before the answer, one fsync for all that wait. There is no other way yet: accepted means on disk.
    #[default]
    Always,
}

/// A local journal, open. Closed by [`Local::close`] or when it is dropped.
pub struct Local {
    queue: Arc<Queue>,
    shared: Arc<Shared>,
    /// `None` after it was joined.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Settings {
    /// The usual settings for a journal in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Settings {
        Settings {
            dir: dir.into(),
            max_size_bytes: 4 << 30,
            segment_bytes: 64 << 20,
            fsync: Fsync::Always,
        }
    }
}

impl Local {
    /// Opens the journal, reads all of it once, cuts a torn tail, and begins to take appends. Blocks.
    ///
    /// `at_least` is the highest end position that any shard knows: positions go on from there, should the journal
    /// have lost its end, so that none is given twice. Damage does not hinder it and shows in [`Journal::status`].
    ///
    /// # Errors
    /// [`Error::NewerFormat`]; [`Error::Io`] and [`Error::DiskFull`] when the directory cannot be read or fsynced;
    /// [`Error::OutOfPositions`] when `at_least` is 2^53 or more.
    pub fn open(settings: Settings, at_least: Position) -> Result<Local, Error> {
        Local::open_on(Arc::new(LocalFileSystem), settings, at_least)
    }

    /// Opens the journal on another file system.
    ///
    /// # Errors
    /// As [`Local::open`].
    pub fn open_on(
        file_system: Arc<dyn FileSystem>,
        settings: Settings,
        at_least: Position,
    ) -> Result<Local, Error> {
        let writer = open_writer(file_system, settings, at_least)?;
        let shared = writer.shared.clone();
        let queue = Arc::new(Queue::new());
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn({
                let queue = queue.clone();
                move || writer.run(&queue)
            });
        let thread = thread
            .map_err(|error| Error::io("start the thread of", Path::new("the journal"), error))?;
        Ok(Local {
            queue,
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Takes no more appends, makes those that wait durable and answers them, marks the end, and lets readers end.
    /// Blocks for that; a second call does nothing.
    pub fn close(&self) {
        self.queue.close();
        let thread = self
            .thread
            .lock()
            .expect("no holder of this lock panics")
            .take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the journal's thread panicked");
        }
        self.shared.close();
    }
}

impl Journal for Local {
    fn append(&self, kind: Kind, count: NonZeroU32, payload: Payload) -> Appending<'_> {
        Box::pin(async move {
            let (append, answered) = Append::new(kind, count, payload);
            self.queue.push(append).await?;
            // Without an answer the thread is gone.
            answered.await.unwrap_or(Err(Error::Closed))
        })
    }

    fn reader(&self, from: Position) -> Result<Box<dyn RecordReader>, Error> {
        if self.shared.is_closed() {
            return Err(Error::Closed);
        }
        Ok(Box::new(Reader::new(self.shared.clone(), from)))
    }

    fn release(&self, before: Position) {
        self.shared.release(before);
    }

    fn end(&self) -> Position {
        self.shared.end()
    }

    fn status(&self) -> Status {
        self.shared.status()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.close();
    }
}

/// Opens the directory and prepares its writer, without a thread.
pub(crate) fn open_writer(
    file_system: Arc<dyn FileSystem>,
    settings: Settings,
    at_least: Position,
) -> Result<Writer, Error> {
    if at_least.0 >= POSITION_LIMIT {
        return Err(Error::OutOfPositions {
            next: at_least.0,
            max: POSITION_LIMIT - 1,
        });
    }
    let dir = settings.dir;
    file_system
        .create_dir(&dir)
        .map_err(|error| Error::io("create", &dir, error))?;
    remove_unfinished(&*file_system, &dir)?;
    settle_last_segment(&*file_system, &dir)?;
    let mut survey = Survey::take(&*file_system, &dir)?;
    let survey_end = survey.end();
    if at_least > survey_end {
        survey.damage.push(ends_early(&survey, at_least));
    }
    report(&survey);

    let end = survey_end.max(at_least);
    let segment_bytes = settings.segment_bytes.min(settings.max_size_bytes / 4);
    let active = resume_last_segment(&*file_system, &mut survey)?
        .filter(|active| active.durable_bytes() < segment_bytes && survey_end == end);
    file_system
        .sync_dir(&dir)
        .map_err(|error| Error::io("sync", &dir, error))?;
    let shared = Shared::new(file_system, &dir, settings.max_size_bytes, &survey, end);
    Ok(Writer {
        shared: Arc::new(shared),
        dir,
        segment_bytes,
        bytes_max: settings.max_size_bytes,
        active,
        records_end: survey.records_end(),
        is_marked: survey
            .segments
            .last()
            .is_none_or(|last| last.ends_with_mark || last.records == 0),
    })
}

fn list(file_system: &dyn FileSystem, dir: &Path) -> Result<Vec<String>, Error> {
    file_system
        .file_names(dir)
        .map_err(|error| Error::io("list", dir, error))
}

fn remove_unfinished(file_system: &dyn FileSystem, dir: &Path) -> Result<(), Error> {
    for name in list(file_system, dir)? {
        if segment::is_unfinished(&name) {
            let path = dir.join(name);
            file_system
                .remove(&path)
                .map_err(|error| Error::io("delete", &path, error))?;
        }
    }
    Ok(())
}

/// Makes the last segment durable as the disk has it, before it is read.
///
/// After a kill its records may be whole in the system's cache and not yet on the disk, and from now on readers will
/// see them: so they are fsynced first. And where an fsync failed before the kill, the cache may show what the disk
/// never got and no fsync will write any more: so it is read from the disk.
fn settle_last_segment(file_system: &dyn FileSystem, dir: &Path) -> Result<(), Error> {
    let names = list(file_system, dir)?;
    let last = names
        .iter()
        .filter_map(|name| segment::first_of(name))
        .max();
    let Some(first) = last else {
        return Ok(());
    };
    let path = segment::path_of(dir, first);
    let failed = |error| Error::io("sync", &path, error);
    let file = file_system.open(&path).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    if let Err(error) = file.forget_cached() {
        tracing::debug!(%error, "the file system cannot drop its cache, so it is trusted");
    }
    Ok(())
}

/// Cuts the torn tail of the last segment, and answers the segment when it can be gone on with.
fn resume_last_segment(
    file_system: &dyn FileSystem,
    survey: &mut Survey,
) -> Result<Option<ActiveSegment>, Error> {
    let Some(last) = survey.segments.last_mut() else {
        return Ok(None);
    };
    // The tail of one that is damaged stays, out of reach: the next segment begins where it does.
    if !last.has_header || last.has_holes() {
        return Ok(None);
    }
    let failed = |error| Error::io("cut", &last.path, error);
    let file = file_system.open(&last.path).map_err(failed)?;
    if last.valid_bytes < last.file_bytes {
        file.set_len(last.valid_bytes).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        last.file_bytes = last.valid_bytes;
    }
    let active = ActiveSegment::resume(file, last.path.clone(), last.first, last.valid_bytes);
    Ok(Some(active))
}

fn ends_early(survey: &Survey, at_least: Position) -> Damage {
    let last = survey.segments.last();
    Damage {
        segment: last.map(|last| last.name.clone()).unwrap_or_default(),
        offset: last.map_or(0, |last| last.valid_bytes),
        bytes: 0,
        first: survey.end(),
        events_lost: at_least.0 - survey.end().0,
        cause: Cause::EndsEarly,
    }
}

fn report(survey: &Survey) {
    if survey.torn_tail_bytes > 0 {
        tracing::info!(
            bytes = survey.torn_tail_bytes,
            "cut what was never acknowledged from the end of the journal"
        );
    }
    for damage in &survey.damage {
        tracing::error!(
            segment = damage.segment,
            offset = damage.offset,
            bytes = damage.bytes,
            first = damage.first.0,
            events_lost = damage.events_lost,
            cause = ?damage.cause,
            "the journal is damaged"
        );
    }
}
