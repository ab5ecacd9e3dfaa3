//! What everybody who searches holds: the shards, and how fresh they are.
//!
//! The indexer's thread publishes; queries take snapshots. A shard nobody has searched for [`IDLE_AFTER`] is not made
//! visible every half second, because segments written that small cost more to merge than to write; the first search
//! after such a pause asks for it and waits.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock};
use std::time::{Duration, Instant};

use event::{Day, IndexName, Position, Timestamp};

use super::blocks::BlockCache;
use super::event_id::EventIds;
use super::reader::{ReadError, ShardId, ShardReader};
use super::shard::{Shard, ShardFiles};
use crate::Error;

/// A shard counts as searched for this long.
pub const IDLE_AFTER: Duration = Duration::from_secs(30);

/// How long a search waits for a shard to become fresh before it answers from what there is.
const FRESH_WAIT_MAX: Duration = Duration::from_secs(5);

/// Views of shards that are not being written; beyond that the ones unused longest are closed.
const COLD_VIEWS_MAX: usize = 256;

/// Events that wait this long to be found make answers incomplete.
const BEHIND_AFTER: Duration = Duration::from_secs(5);

/// All shards, for searching. Cheap to clone.
#[derive(Clone)]
pub struct LogIndex {
    inner: Arc<Inner>,
}

struct Inner {
    data_dir: PathBuf,
    ids: EventIds,
    cache: BlockCache,
    shards: RwLock<BTreeMap<ShardId, Arc<Slot>>>,
    progress: Mutex<Progress>,
    progressed: Condvar,
}

/// One shard as the searching side knows it.
pub struct Slot {
    // Short locks; opening a cold shard happens under `view`, so that two searches open it once.
    view: Mutex<Option<View>>,
    state: Mutex<SlotState>,
}

/// A shard that was opened: its files, so that they stay open, and its newest view.
struct View {
    reader: ShardReader,
    _files: ShardFiles,
    opened_at: Instant,
}

impl View {
    fn new(reader: ShardReader, files: ShardFiles) -> View {
        View {
            reader,
            _files: files,
            opened_at: Instant::now(),
        }
    }
}

#[derive(Default)]
struct SlotState {
    searched_at: Option<Instant>,
    has_invisible: bool,
    /// Why the shard cannot be read until the next start, or the next event that belongs there.
    waiting: Option<String>,
    /// The shard was deleted; set under the lock of `view`, so that nobody opens its folder again through this slot.
    is_gone: bool,
}

/// How far the indexer is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Every event before it has been added to its shard.
    pub added: Position,
    /// Every event before it can be found.
    pub visible: Position,
    /// The furthest that `visible` has been in this process; it goes back when files could not be synced.
    pub furthest: Position,
    /// When the event that is applied next was received; `None` when there is none.
    waiting_since: Option<Timestamp>,
    /// Refreshes asked for and done, counted.
    asked: u64,
    done: u64,
    is_stopped: bool,
}

/// A fixed view of several shards.
pub struct Snapshot {
    /// The shards, ordered by index and day.
    pub shards: Vec<ShardReader>,
    /// Shards that should be there but cannot be read.
    pub failed: Vec<ReadError>,
}

impl LogIndex {
    pub(crate) fn new(data_dir: &Path, ids: EventIds, cache: BlockCache) -> LogIndex {
        LogIndex {
            inner: Arc::new(Inner {
                data_dir: data_dir.to_owned(),
                ids,
                cache,
                shards: RwLock::default(),
                progress: Mutex::default(),
                progressed: Condvar::new(),
            }),
        }
    }

    /// The ids of all shards, ordered by index and day.
    pub fn shard_ids(&self) -> Vec<ShardId> {
        let shards = self
            .inner
            .shards
            .read()
            .expect("no holder of this lock panics");
        shards.keys().cloned().collect()
    }

    /// The ids of events in this data directory.
    pub fn event_ids(&self) -> &EventIds {
        &self.inner.ids
    }

    /// A view of the chosen shards, fresh to within a second. Blocking: call it from a blocking thread.
    pub fn snapshot(&self, is_wanted: impl Fn(&ShardId) -> bool) -> Snapshot {
        let wanted: Vec<(ShardId, Arc<Slot>)> = {
            let shards = self
                .inner
                .shards
                .read()
                .expect("no holder of this lock panics");
            shards
                .iter()
                .filter(|(id, _)| is_wanted(id))
                .map(|(id, slot)| (id.clone(), Arc::clone(slot)))
                .collect()
        };
        let needs_refresh = wanted
            .iter()
            .map(|(_, slot)| slot.note_search())
            .fold(false, |any, one| any | one);
        if needs_refresh {
            self.ask_for_refresh(FRESH_WAIT_MAX);
        }
        let mut snapshot = Snapshot {
            shards: Vec::with_capacity(wanted.len()),
            failed: Vec::new(),
        };
        for (id, slot) in wanted {
            match self.view(&id, &slot) {
                Ok(reader) => snapshot.shards.extend(reader),
                Err(error) => snapshot.failed.push(error),
            }
        }
        snapshot
    }

    /// The day of the visible event with this id; the newest day when several have one. Blocking.
    ///
    /// # Errors
    /// A shard cannot be read.
    pub fn find_event(&self, index: &IndexName, id: &str) -> Result<Option<Day>, ReadError> {
        let slots: Vec<(ShardId, Arc<Slot>)> = {
            let shards = self
                .inner
                .shards
                .read()
                .expect("no holder of this lock panics");
            let of_index = shards
                .range(ShardId::first_of(index)..)
                .take_while(|(shard, _)| shard.index == *index);
            of_index
                .map(|(shard, slot)| (shard.clone(), Arc::clone(slot)))
                .collect()
        };
        for (shard, slot) in slots.into_iter().rev() {
            let Some(reader) = self.view(&shard, &slot)? else {
                continue;
            };
            if reader.has_event(id)? {
                return Ok(Some(shard.day));
            }
        }
        Ok(None)
    }

    /// Makes a shard known by name before its first event has reached it: a sender that got its OK may ask for it at once.
    pub fn announce(&self, id: &ShardId) {
        let is_known = self
            .inner
            .shards
            .read()
            .expect("no holder of this lock panics")
            .contains_key(id);
        if !is_known {
            self.add_shard(id);
        }
    }

    /// How many indices there are.
    pub fn index_count(&self) -> usize {
        let shards = self
            .inner
            .shards
            .read()
            .expect("no holder of this lock panics");
        let mut last = None;
        shards
            .keys()
            .filter(|shard| last.replace(&shard.index) != Some(&shard.index))
            .count()
    }

    /// Whether an index has a shard.
    pub fn has_index(&self, index: &IndexName) -> bool {
        let shards = self
            .inner
            .shards
            .read()
            .expect("no holder of this lock panics");
        shards
            .range(ShardId::first_of(index)..)
            .next()
            .is_some_and(|(shard, _)| shard.index == *index)
    }

    /// Makes every event before `until` findable and waits for it; `false` when that took longer than `timeout`.
    /// Blocking.
    pub fn refresh(&self, until: Position, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        if !self.wait_for(deadline, |progress| progress.added >= until) {
            return false;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        self.progress().visible >= until || self.ask_for_refresh(left)
    }

    /// How far the indexer is.
    pub fn progress(&self) -> Progress {
        *self.progress_lock()
    }

    /// How long the oldest accepted event that cannot be found yet has waited at `now`, when that is longer than a
    /// search may pass over in silence.
    pub fn behind(&self, now: Timestamp) -> Option<Duration> {
        let since = self.progress().waiting_since?;
        let nanos = now.nanos().saturating_sub(since.nanos());
        let waited = Duration::from_nanos(u64::try_from(nanos).unwrap_or_default());
        (waited >= BEHIND_AFTER).then_some(waited)
    }

    fn ask_for_refresh(&self, timeout: Duration) -> bool {
        let mut progress = self.progress_lock();
        progress.asked += 1;
        let mine = progress.asked;
        drop(progress);
        self.wait_for(Instant::now() + timeout, |progress| progress.done >= mine)
    }

    /// Waits until the indexer has come so far; `false` when it stopped or the deadline passed before.
    fn wait_for(&self, deadline: Instant, is_reached: impl Fn(&Progress) -> bool) -> bool {
        let mut progress = self.progress_lock();
        while !is_reached(&progress) {
            let left = deadline.checked_duration_since(Instant::now());
            let Some(left) = left.filter(|_| !progress.is_stopped) else {
                return false;
            };
            progress = self
                .inner
                .progressed
                .wait_timeout(progress, left)
                .expect("no holder of this lock panics")
                .0;
        }
        true
    }

    /// The newest view of a shard; `None` when it was deleted.
    fn view(&self, id: &ShardId, slot: &Slot) -> Result<Option<ShardReader>, ReadError> {
        let mut view = slot.view.lock().expect("no holder of this lock panics");
        let error = |message: String| ReadError {
            shard: id.name(),
            message,
        };
        {
            let state = slot.state.lock().expect("no holder of this lock panics");
            if state.is_gone {
                return Ok(None);
            }
            if let Some(reason) = &state.waiting {
                return Err(error(reason.clone()));
            }
        }
        if let Some(view) = &*view {
            return Ok(Some(view.reader.clone()));
        }
        let files = ShardFiles::open(&self.inner.data_dir, id, &self.inner.ids, &self.inner.cache)
            .map_err(|cause| error(cause.to_string()))?;
        let reader = files.view().map_err(|cause| error(cause.to_string()))?;
        *view = Some(View::new(reader.clone(), files));
        Ok(Some(reader))
    }

    fn progress_lock(&self) -> MutexGuard<'_, Progress> {
        self.inner
            .progress
            .lock()
            .expect("no holder of this lock panics")
    }

    // What follows is for the indexer's thread.

    pub(crate) fn add_shard(&self, id: &ShardId) -> Arc<Slot> {
        let mut shards = self
            .inner
            .shards
            .write()
            .expect("no holder of this lock panics");
        let slot = shards.entry(id.clone()).or_insert_with(|| {
            Arc::new(Slot {
                view: Mutex::default(),
                state: Mutex::default(),
            })
        });
        Arc::clone(slot)
    }

    pub(crate) fn remove_shard(&self, id: &ShardId) {
        let removed = self
            .inner
            .shards
            .write()
            .expect("no holder of this lock panics")
            .remove(id);
        if let Some(slot) = removed {
            let mut view = slot.view.lock().expect("no holder of this lock panics");
            slot.state
                .lock()
                .expect("no holder of this lock panics")
                .is_gone = true;
            *view = None;
        }
    }

    /// Answers how many refreshes were asked for; hand it to [`LogIndex::refreshed`] when all is visible.
    pub(crate) fn refreshes_asked(&self) -> Option<u64> {
        let progress = self.progress_lock();
        (progress.asked > progress.done).then_some(progress.asked)
    }

    pub(crate) fn refreshed(&self, asked: u64) {
        self.progress_lock().done = asked;
        self.inner.progressed.notify_all();
    }

    pub(crate) fn advance(
        &self,
        added: Position,
        visible: Position,
        waiting_since: Option<Timestamp>,
    ) {
        let mut progress = self.progress_lock();
        progress.added = added;
        progress.visible = visible;
        progress.furthest = progress.furthest.max(visible);
        progress.waiting_since = waiting_since;
        drop(progress);
        self.inner.progressed.notify_all();
    }

    /// Closes views that nobody used for `unused`; not those of shards that are being written, whose newest state may
    /// stand in memory alone.
    pub(crate) fn close_cold(&self, unused: Duration, is_written: impl Fn(&ShardId) -> bool) {
        let mut open: Vec<(Instant, Arc<Slot>)> = {
            let shards = self
                .inner
                .shards
                .read()
                .expect("no holder of this lock panics");
            let mut cold = Vec::new();
            for (_, slot) in shards.iter().filter(|(id, _)| !is_written(id)) {
                cold.extend(
                    slot.opened_or_searched_at()
                        .map(|at| (at, Arc::clone(slot))),
                );
            }
            cold
        };
        open.sort_unstable_by_key(|(at, _)| std::cmp::Reverse(*at));
        for (number, (at, slot)) in open.into_iter().enumerate() {
            if number >= COLD_VIEWS_MAX || at.elapsed() >= unused {
                *slot.view.lock().expect("no holder of this lock panics") = None;
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn open_view_count(&self) -> usize {
        let shards = self.inner.shards.read().unwrap();
        let is_open = |slot: &&Arc<Slot>| slot.view.lock().unwrap().is_some();
        shards.values().filter(is_open).count()
    }

    pub(crate) fn stop(&self) {
        self.progress_lock().is_stopped = true;
        self.inner.progressed.notify_all();
    }
}

impl Slot {
    /// Notes a search; answers whether it must wait for a refresh.
    fn note_search(&self) -> bool {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        let was_idle = state.searched_at.is_none_or(|at| at.elapsed() > IDLE_AFTER);
        state.searched_at = Some(Instant::now());
        was_idle && state.has_invisible
    }

    /// Whether somebody searched the shard lately.
    pub(crate) fn is_searched(&self) -> bool {
        let state = self.state.lock().expect("no holder of this lock panics");
        state
            .searched_at
            .is_some_and(|at| at.elapsed() <= IDLE_AFTER)
    }

    /// When the view was last of use; `None` when none is open, or somebody is opening it.
    fn opened_or_searched_at(&self) -> Option<Instant> {
        let opened_at = self.view.try_lock().ok()?.as_ref()?.opened_at;
        let state = self.state.lock().expect("no holder of this lock panics");
        Some(state.searched_at.map_or(opened_at, |at| at.max(opened_at)))
    }

    pub(crate) fn set_has_invisible(&self, has_invisible: bool) {
        self.state
            .lock()
            .expect("no holder of this lock panics")
            .has_invisible = has_invisible;
    }

    /// Lets searches know why the shard cannot be read.
    pub(crate) fn set_waiting(&self, reason: &str) {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        state.waiting = Some(reason.to_owned());
    }

    /// Opens the shard's writing side while no search opens the reading side: there is one owner of the folder.
    pub(crate) fn open_for_writing(
        &self,
        open: impl FnOnce() -> Result<Shard, Error>,
    ) -> Result<Shard, Error> {
        let mut view = self.view.lock().expect("no holder of this lock panics");
        let shard = open()?;
        let reader = shard.files().view().map_err(|error| {
            Error::io(Path::new("shard"))(std::io::Error::other(error.to_string()))
        })?;
        *view = Some(View::new(reader, shard.files().clone()));
        let mut state = self.state.lock().expect("no holder of this lock panics");
        state.waiting = None;
        Ok(shard)
    }

    pub(crate) fn publish(&self, reader: ShardReader, files: &ShardFiles) {
        let view = View::new(reader, files.clone());
        *self.view.lock().expect("no holder of this lock panics") = Some(view);
    }
}
