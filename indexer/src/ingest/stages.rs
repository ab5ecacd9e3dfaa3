//! The stages of the open shards: when their events become visible and durable, who keeps a writer, and what is closed.

use std::time::{Duration, Instant};

use event::Position;

use super::{Indexer, OpenShard, Settings};
use crate::Error;
use crate::logs::ShardId;
use crate::persister::Persisted;

/// A shard that got nothing for this long leaves its place among them to another.
const WRITER_KEPT_IDLE_MAX: Duration = Duration::from_secs(10);

/// How often it is looked whether there is such a place.
const GRANT_INTERVAL: Duration = Duration::from_secs(1);

/// A shard that got nothing for this long is closed.
const SHARD_IDLE_MAX: Duration = Duration::from_secs(300);

/// Memory for events that wait for a writer, over all shards, in bytes.
const HELD_BACK_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Shards that begin to be persisted between two batches: many fall due together.
const PERSISTED_AT_ONCE_MAX: usize = 4;

/// Making shards visible that keep no writer takes at most one part in this many of the time.
const VISITS_PART: u32 = 3;

/// A view that nobody searched for this long is closed, unless its shard is being written: it holds mapped files,
/// filters and blocks.
pub(super) const COLD_AFTER: Duration = Duration::from_secs(600);

/// How often such views are looked for.
const COLD_LOOK_INTERVAL: Duration = Duration::from_secs(10);

impl Indexer {
    /// Makes visible what is due: all of it when that `is_asked`, else what was searched and is old enough, and the largest
    /// when there is too much in memory.
    pub(super) fn refresh_due(&mut self, is_asked: bool) -> Result<(), Error> {
        let memory_per_shard = self.settings.writer_memory_bytes as u64;
        let (mut memory, mut held_back) = (0, 0);
        let (mut due, mut visits) = (Vec::new(), Vec::new());
        let mut largest: Option<(u64, ShardId)> = None;
        let mut largest_held: Option<(u64, ShardId)> = None;
        for (id, open) in &mut self.shards {
            let since = open.shard.since_visible();
            let Some(began) = since.began else { continue };
            open.slot.set_has_invisible(true);
            let is_due =
                open.slot.is_searched() && began.elapsed() >= self.settings.refresh_interval;
            if open.shard.keeps_writer() {
                // A writer flushes by itself when its own memory is full.
                let used = since.bytes.min(memory_per_shard);
                if is_asked || is_due {
                    due.push(id.clone());
                } else {
                    memory += used;
                    note_largest(&mut largest, used, id);
                }
                continue;
            }
            let held = open.shard.held_back_bytes();
            held_back += held;
            note_largest(&mut largest_held, held, id);
            if is_asked {
                due.push(id.clone());
            } else if is_due && !open.shard.is_writer_leaving() {
                visits.push(id.clone());
            }
        }
        due.extend(
            largest
                .filter(|_| memory > 2 * memory_per_shard)
                .map(|(_, id)| id),
        );
        due.extend(
            largest_held
                .filter(|_| held_back > HELD_BACK_BYTES_MAX)
                .map(|(_, id)| id),
        );
        for id in &due {
            self.refresh_shard(id)?;
        }
        self.visit(&visits)
    }

    /// Makes shards visible that keep no writer, in moderation: each costs some milliseconds, however little there is.
    fn visit(&mut self, due: &[ShardId]) -> Result<(), Error> {
        let began = Instant::now();
        if due.is_empty() || began < self.next_visits {
            return Ok(());
        }
        for id in due {
            self.refresh_shard(id)?;
        }
        self.next_visits = Instant::now() + began.elapsed() * (VISITS_PART - 1);
        Ok(())
    }

    /// Chooses who keeps a writer: who came first, as long as something comes.
    pub(super) fn grant_writer(&mut self, id: &ShardId) {
        self.next_grant = Instant::now();
        let kept = self
            .shards
            .iter()
            .filter(|(_, open)| open.shard.keeps_writer());
        let (count, idle) = kept.fold((0, None), |(count, idle), (id, open)| {
            let is_idle = open.used_at.elapsed() >= WRITER_KEPT_IDLE_MAX;
            (count + 1, idle.or_else(|| is_idle.then(|| id.clone())))
        });
        if count >= self.settings.writers_kept_max {
            let Some(idle) = idle else {
                self.next_grant += GRANT_INTERVAL;
                return;
            };
            if let Some(open) = self.shards.get_mut(&idle) {
                open.shard.keep_writer(false);
            }
        }
        if let Some(open) = self.shards.get_mut(id) {
            open.shard.keep_writer(true);
        }
    }

    /// Makes visible what was added to a shard.
    pub(super) fn refresh_shard(&mut self, id: &ShardId) -> Result<(), Error> {
        let Some(open) = self.shards.get_mut(id) else {
            return Ok(());
        };
        match open.shard.refresh() {
            Ok(reader) => {
                open.slot.publish(reader, open.shard.files());
                open.slot.set_has_invisible(false);
                let visible = open.shard.visible();
                if self
                    .failing
                    .get(id)
                    .is_some_and(|failing| failing.visible < visible)
                {
                    self.failing.remove(id);
                }
                Ok(())
            }
            Err(error) => Err(self.stall(id, &error.to_string())),
        }
    }

    /// Begins to make durable what is due.
    pub(super) fn persist_due(&mut self) -> Result<(), Error> {
        let is_asked = std::mem::take(&mut self.is_asked_to_persist);
        let due: Vec<ShardId> = self
            .shards
            .iter()
            .filter(|(_, open)| {
                let has_something = is_asked && open.first_unpersisted().is_some();
                !open.shard.is_persisting()
                    && (has_something || open.needs_persisting(&self.settings))
            })
            .map(|(id, _)| id.clone())
            .take(PERSISTED_AT_ONCE_MAX)
            .collect();
        for id in due {
            self.refresh_shard(&id)?;
            let Some(open) = self.shards.get_mut(&id) else {
                continue;
            };
            let directory = open.shard.begin_persisting();
            if !self.persister.queue(id.clone(), directory) {
                open.shard.persisting_failed();
                break;
            }
        }
        Ok(())
    }

    /// Takes note of what the persister has done.
    pub(super) fn note_persisted(&mut self, done: Persisted) -> Result<(), Error> {
        let Some(open) = self.shards.get_mut(&done.shard) else {
            return Ok(());
        };
        match done.result {
            Ok(()) => {
                open.shard.persisted();
                Ok(())
            }
            Err(error) => {
                // After a failed sync the files cannot be trusted.
                Err(self.drop_shard(&done.shard, error.to_string()))
            }
        }
    }

    /// Closes the shards that got nothing for long.
    pub(super) fn close_idle(&mut self) -> Result<(), Error> {
        let idle: Vec<ShardId> = self
            .shards
            .iter()
            .filter(|(_, open)| {
                open.used_at.elapsed() >= SHARD_IDLE_MAX
                    && !open.shard.is_persisting()
                    && !open.shard.is_sealing()
            })
            .map(|(id, _)| id.clone())
            .collect();
        idle.iter().try_for_each(|id| self.close_shard(id))
    }

    /// Waits for the persister, should it work on this shard.
    pub(super) fn wait_until_persisted(&mut self, id: &ShardId) -> Result<(), Error> {
        let is_persisting = |open: &OpenShard| open.shard.is_persisting();
        while self.shards.get(id).is_some_and(is_persisting) {
            match self.persister.wait() {
                Some(done) => self.note_persisted(done)?,
                None => break,
            }
        }
        Ok(())
    }

    /// Makes a shard durable and gives up its writer; waits for both.
    pub(super) fn close_shard(&mut self, id: &ShardId) -> Result<(), Error> {
        self.wait_until_persisted(id)?;
        self.refresh_shard(id)?;
        let Some(open) = self.shards.get_mut(id) else {
            return Ok(());
        };
        let closed = open.shard.close_writer().map_err(|error| error.to_string());
        let persisted = closed.and_then(|()| {
            open.shard
                .begin_persisting()
                .persist()
                .map(drop)
                .map_err(|error| error.to_string())
        });
        match persisted {
            Ok(()) => {
                self.shards.remove(id);
                Ok(())
            }
            Err(message) => Err(self.drop_shard(id, message)),
        }
    }

    /// Closes the views that nobody searched for long.
    pub(super) fn close_cold(&mut self) {
        if self.looked_for_cold_at.elapsed() >= COLD_LOOK_INTERVAL {
            self.looked_for_cold_at = Instant::now();
            self.log_index
                .close_cold(COLD_AFTER, |id| self.shards.contains_key(id));
        }
    }
}

impl OpenShard {
    /// The first event that a restart would read again.
    pub(super) fn first_unpersisted(&self) -> Option<Position> {
        [
            self.shard.since_visible().first,
            self.shard.since_persisted().first,
            self.shard.being_persisted(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn needs_persisting(&self, settings: &Settings) -> bool {
        let (added, visible) = (self.shard.since_visible(), self.shard.since_persisted());
        let began = [added.began, visible.began].into_iter().flatten().min();
        let is_old = began.is_some_and(|at| at.elapsed() >= settings.persist_interval);
        is_old || added.bytes + visible.bytes >= settings.persist_bytes
    }
}

fn note_largest(largest: &mut Option<(u64, ShardId)>, bytes: u64, id: &ShardId) {
    if largest.as_ref().is_none_or(|(most, _)| *most < bytes) {
        *largest = Some((bytes, id.clone()));
    }
}
