//! Days that are over: each becomes one segment, one day at a time, in the background.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use event::Timestamp;

use super::Indexer;
use crate::logs::ShardId;
use crate::logs::directory::ShardDirectory;
use crate::logs::shard::is_older;
use crate::logs::untouched;
use crate::{Error, filenames};

/// Which days are sealed.
pub(super) struct Sealing {
    under_way: Option<ShardId>,
    /// It got an event since.
    is_touched: bool,
    /// Those with which it was tried, until they get an event.
    done: HashSet<ShardId>,
    looked_at: Instant,
}

/// How often a day that is over is looked for.
const SEALING_LOOK_INTERVAL: Duration = Duration::from_secs(10);

impl Sealing {
    /// Nothing was sealed yet.
    pub(super) fn new() -> Sealing {
        Sealing {
            under_way: None,
            is_touched: false,
            done: HashSet::new(),
            looked_at: Instant::now(),
        }
    }

    /// A shard got an event, maybe a late one: it is to be sealed again.
    pub(super) fn note_event(&mut self, id: &ShardId) {
        self.done.remove(id);
        self.is_touched |= self.under_way.as_ref() == Some(id);
    }
}

impl Indexer {
    /// Makes one segment of each day that is over, one day at a time. `now` is UTC.
    pub(super) fn seal_due(&mut self, now: Timestamp) -> Result<(), Error> {
        if let Some(id) = self.sealing.under_way.clone() {
            return self.finish_sealing(&id);
        }
        let interval = SEALING_LOOK_INTERVAL.min(self.settings.late_window);
        if self.sealing.looked_at.elapsed() < interval {
            return Ok(());
        }
        self.sealing.looked_at = Instant::now();
        let Some(id) = self.next_to_seal(now) else {
            return Ok(());
        };
        self.open_shard(&id)?;
        self.refresh_shard(&id)?;
        let Some(open) = self.shards.get_mut(&id) else {
            return Ok(());
        };
        let exact = self.settings.exact_of(&id.index);
        let begun = open.shard.begin_sealing(exact.to_vec());
        match begun {
            Ok(()) => {
                self.sealing.under_way = Some(id);
                self.sealing.is_touched = false;
            }
            Err(error) => {
                tracing::warn!(shard = id.name(), %error, "cannot be sealed; it stays as it is");
                self.sealing.done.insert(id);
            }
        }
        Ok(())
    }

    fn finish_sealing(&mut self, id: &ShardId) -> Result<(), Error> {
        let Some(open) = self.shards.get_mut(id) else {
            self.sealing.under_way = None;
            return Ok(());
        };
        let outcome = match open.shard.is_sealing() {
            true => match open.shard.sealed() {
                None => return Ok(()),
                Some(outcome) => outcome,
            },
            // Its writer was given up in between; it will be tried again.
            false => {
                self.sealing.under_way = None;
                return Ok(());
            }
        };
        self.sealing.under_way = None;
        match outcome {
            Ok(()) => tracing::info!(shard = id.name(), "sealed"),
            // A full disk, perhaps: what was there is there still. It is tried again after a restart, or a late event.
            Err(error) => {
                tracing::warn!(shard = id.name(), %error, "cannot be sealed; it stays as it is");
            }
        }
        if !self.sealing.is_touched {
            self.sealing.done.insert(id.clone());
        }
        match open.shard.files().view() {
            Ok(view) => open.slot.publish(view, open.shard.files()),
            Err(error) => tracing::warn!(shard = id.name(), %error, "cannot be read anew"),
        }
        // Should it not become durable, the segments that were there before still are.
        let directory = open.shard.begin_persisting();
        if !self.persister.queue(id.clone(), directory) {
            open.shard.persisting_failed();
        }
        Ok(())
    }

    /// Seals days that are over without waiting for late events, from the next tick on.
    pub fn seal_at_once(&mut self) {
        self.settings.late_window = Duration::ZERO;
    }

    /// A day that ended long enough ago, got nothing for a while, and has several segments or lacks a column.
    fn next_to_seal(&mut self, now: Timestamp) -> Option<ShardId> {
        let late = i64::try_from(self.settings.late_window.as_nanos()).unwrap_or(i64::MAX);
        let is_over = |id: &ShardId| id.day.end().nanos().saturating_add(late) <= now.nanos();
        let is_quiet = |id: &ShardId| {
            let open = self.shards.get(id);
            open.is_none_or(|open| open.used_at.elapsed() >= self.settings.late_window)
        };
        let shards = self.log_index.shard_ids().into_iter();
        let due =
            shards.filter(|id| !self.sealing.done.contains(id) && is_over(id) && is_quiet(id));
        for id in due.collect::<Vec<_>>() {
            if self.is_unsealed(&id) {
                return Some(id);
            }
            // Until it is written to.
            self.sealing.done.insert(id);
        }
        None
    }

    fn is_unsealed(&self, id: &ShardId) -> bool {
        let exact = self.settings.exact_of(&id.index);
        if let Some(open) = self.shards.get(id) {
            return open.shard.segment_count().is_ok_and(|count| count > 1)
                || open.shard.lacks_columns(exact).unwrap_or_default();
        }
        let folder = filenames::shard_folder(&self.settings.data_dir, id);
        // One that waits to be converted is no concern of sealing.
        if is_older(&folder) {
            return false;
        }
        ShardDirectory::segments_on_disk(&folder).is_ok_and(|count| count > 1)
            || self.lacks_columns(id, &folder)
    }

    /// Whether the settings ask for columns that a shard nobody writes to was sealed without.
    fn lacks_columns(&self, id: &ShardId, folder: &Path) -> bool {
        let exact = self.settings.exact_of(&id.index);
        let view = || untouched::view(folder, id).ok().flatten();
        !exact.is_empty()
            && view().is_some_and(|view| exact.iter().any(|path| view.is_too_distinct(path)))
    }
}
