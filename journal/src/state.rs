//! What is durable now: shared by the writer, the readers and those who ask.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use event::Position;

use crate::file_system::FileSystem;
use crate::record::SEGMENT_HEADER_BYTES;
use crate::survey::{Damage, Survey};
use crate::{Error, Status};

/// How many places of damage readers may add to those found at open.
const DAMAGE_NOTED_MAX: usize = 1000;

/// The state, and a bell for readers.
pub(crate) struct Shared {
    file_system: Arc<dyn FileSystem>,
    dir: PathBuf,
    bytes_max: u64,
    /// Held for a few instructions, never across I/O.
    state: Mutex<State>,
    /// Rung when the end moves and at close.
    changed: Condvar,
    /// Held while segments are deleted, so that they go one after the other.
    releasing: Mutex<()>,
}

struct State {
    /// In order of position; the last one may be written to.
    segments: VecDeque<Segment>,
    next_serial: u64,
    end: Position,
    released: Position,
    is_closed: bool,
    damage: Vec<Damage>,
    torn_tail_bytes: u64,
}

struct Segment {
    /// Its identity: an empty one can be made anew with the same first position.
    serial: u64,
    first: Position,
    path: PathBuf,
    /// How far readers may read.
    durable_bytes: u64,
    file_bytes: u64,
}

/// What a reader may read.
pub(crate) struct View {
    pub serial: u64,
    pub first: Position,
    pub path: PathBuf,
    pub durable_bytes: u64,
    /// Whether a later segment exists, so that this one does not grow any more.
    pub is_finished: bool,
    /// The durable end of the journal.
    pub end: Position,
}

impl Shared {
    pub fn new(
        file_system: Arc<dyn FileSystem>,
        dir: &Path,
        bytes_max: u64,
        survey: &Survey,
        end: Position,
    ) -> Shared {
        let mut segments = VecDeque::new();
        for (serial, segment) in (0u64..).zip(&survey.segments) {
            segments.push_back(Segment {
                serial,
                first: segment.first,
                path: segment.path.clone(),
                durable_bytes: segment.valid_bytes,
                file_bytes: segment.file_bytes,
            });
        }
        let state = State {
            next_serial: segments.len() as u64,
            segments,
            end,
            released: Position::ZERO,
            is_closed: false,
            damage: survey.damage.clone(),
            torn_tail_bytes: survey.torn_tail_bytes,
        };
        Shared {
            file_system,
            dir: dir.to_owned(),
            bytes_max,
            state: Mutex::new(state),
            changed: Condvar::new(),
            releasing: Mutex::new(()),
        }
    }

    pub fn file_system(&self) -> &dyn FileSystem {
        &*self.file_system
    }

    pub fn end(&self) -> Position {
        self.lock().end
    }

    pub fn released(&self) -> Position {
        self.lock().released
    }

    /// Bytes in all segment files.
    pub fn bytes(&self) -> u64 {
        self.lock().bytes()
    }

    pub fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    pub fn status(&self) -> Status {
        let state = self.lock();
        Status {
            bytes: state.bytes(),
            bytes_max: self.bytes_max,
            segment_count: state.segments.len(),
            first: state
                .segments
                .front()
                .map_or(state.end, |segment| segment.first),
            end: state.end,
            damage: state.damage.clone(),
            torn_tail_bytes: state.torn_tail_bytes,
        }
    }

    /// A new segment exists, durably. It replaces an empty one of the same first position.
    pub fn add_segment(&self, first: Position, path: &Path) {
        let mut state = self.lock();
        if state
            .segments
            .back()
            .is_some_and(|last| last.first == first)
        {
            state.segments.pop_back();
        }
        let serial = state.next_serial;
        state.next_serial += 1;
        state.segments.push_back(Segment {
            serial,
            first,
            path: path.to_owned(),
            durable_bytes: SEGMENT_HEADER_BYTES as u64,
            file_bytes: SEGMENT_HEADER_BYTES as u64,
        });
    }

    /// The last segment is durable up to `durable_bytes`, which is position `end`.
    pub fn grow(&self, durable_bytes: u64, end: Position) {
        let mut state = self.lock();
        if let Some(last) = state.segments.back_mut() {
            last.durable_bytes = durable_bytes;
            last.file_bytes = durable_bytes;
        }
        state.end = end;
        self.changed.notify_all();
    }

    /// No reader waits any more.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Notes damage that a reader met, once; `false` when it was known.
    pub fn note_damage(&self, damage: Damage) -> bool {
        let mut state = self.lock();
        let is_known = state
            .damage
            .iter()
            .any(|known| known.segment == damage.segment && known.offset == damage.offset);
        let is_noted = !is_known && state.damage.len() < DAMAGE_NOTED_MAX;
        if is_noted {
            state.damage.push(damage);
        }
        is_noted
    }

    /// Deletes whole segments below `before`, the oldest first. Blocks.
    pub fn release(&self, before: Position) {
        let _one_at_a_time = self
            .releasing
            .lock()
            .expect("no holder of this lock panics");
        {
            let mut state = self.lock();
            state.released = state.released.max(before);
        }
        loop {
            let oldest = self.lock().oldest_below_released();
            let Some((serial, path)) = oldest else {
                return;
            };
            if let Err(error) = self.delete(&path) {
                tracing::warn!(%error, "cannot delete a journal segment, trying again later");
                return;
            }
            let mut state = self.lock();
            if state
                .segments
                .front()
                .is_some_and(|oldest| oldest.serial == serial)
            {
                state.segments.pop_front();
            }
        }
    }

    /// Each deletion is durable before the next begins, so that no power loss leaves an old segment without its
    /// successor: that would look like a loss.
    fn delete(&self, path: &Path) -> Result<(), Error> {
        match self.file_system.remove(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("delete", path, error));
            }
            _ => {}
        }
        self.file_system
            .sync_dir(&self.dir)
            .map_err(|error| Error::io("sync", &self.dir, error))
    }

    /// The segment with this serial number; `None` when it is gone.
    pub fn view(&self, serial: u64) -> Option<View> {
        let state = self.lock();
        let at = state
            .segments
            .iter()
            .position(|segment| segment.serial == serial)?;
        state.view_at(at)
    }

    /// The first segment behind the one with this serial number.
    pub fn view_behind(&self, serial: u64) -> Option<View> {
        let state = self.lock();
        let at = state
            .segments
            .iter()
            .position(|segment| segment.serial > serial)?;
        state.view_at(at)
    }

    /// The segment that holds `position`, or the first one behind it.
    pub fn view_of(&self, position: Position) -> Option<View> {
        let state = self.lock();
        let behind = state
            .segments
            .partition_point(|segment| segment.first <= position);
        state.view_at(behind.saturating_sub(1))
    }

    /// Waits until the durable end is behind `position` or the journal is closed; at most for `wait`. Answers
    /// whether either came to be.
    pub fn wait_behind(&self, position: Position, wait: Duration) -> bool {
        let deadline = Instant::now().checked_add(wait);
        let mut state = self.lock();
        while state.end <= position && !state.is_closed {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return false;
            }
            let left = left.unwrap_or(Duration::MAX);
            let (woken, _) = self
                .changed
                .wait_timeout(state, left)
                .expect("no holder of this lock panics");
            state = woken;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl State {
    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.file_bytes).sum()
    }

    /// The oldest segment, when all of it is released and it is not the last.
    fn oldest_below_released(&self) -> Option<(u64, PathBuf)> {
        let oldest = self.segments.front()?;
        let next = self.segments.get(1)?;
        (next.first <= self.released).then(|| (oldest.serial, oldest.path.clone()))
    }

    fn view_at(&self, at: usize) -> Option<View> {
        let segment = self.segments.get(at)?;
        Some(View {
            serial: segment.serial,
            first: segment.first,
            path: segment.path.clone(),
            durable_bytes: segment.durable_bytes,
            is_finished: at + 1 < self.segments.len(),
            end: self.end,
        })
    }
}
