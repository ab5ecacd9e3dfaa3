//! Keeps the data directory within its bounds: deletes what retention says, then the oldest days near the disk budget or a
//! full disk, and closes the intake when that cannot help. Searches go on whatever happens here.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use event::Timestamp;
use indexer::{Indexer, Retention, folder_bytes, oldest_to_free};
use tokio_util::sync::CancellationToken;

use crate::feed::Errand;
use crate::intake::Intake;
use crate::reserve;

/// How often free space is looked at: a full disk must close the intake within a second or so.
const FREE_INTERVAL: Duration = Duration::from_secs(1);

/// How often the folders are measured and retention runs.
const MEASURE_INTERVAL: Duration = Duration::from_secs(10);

/// Free space below this part of the disk, at most [`RESERVE_BYTES_MAX`], counts as full: a commit needs room for a merge.
const RESERVE_PART: u64 = 20;
const RESERVE_BYTES_MAX: u64 = 1 << 30;

/// The oldest days go when more than this part of the budget is used.
const NEARLY_USED_PERCENT: u64 = 95;

/// What is watched.
pub struct DiskWatch {
    /// The data directory.
    pub data_dir: PathBuf,
    /// The disk budget, in bytes.
    pub budget_bytes: u64,
    /// Which index keeps its events how long.
    pub retention: Arc<ArcSwap<Retention>>,
    /// Is closed when nothing else helps.
    pub intake: Arc<Intake>,
    /// To the indexer's thread, which alone deletes shards.
    pub errands: Sender<Errand>,
}

/// Free space on the data directory's file system, in bytes.
struct Free {
    bytes: u64,
    /// With less than this the disk counts as full.
    reserve: u64,
}

impl DiskWatch {
    /// Watches until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let watch = Arc::new(self);
        let mut measured_at: Option<Instant> = None;
        let mut used_bytes = 0;
        let is_retaining = Arc::new(AtomicBool::new(false));
        let mut clock = tokio::time::interval(FREE_INTERVAL);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = clock.tick() => {}
            }
            let is_due = measured_at.is_none_or(|at| at.elapsed() >= MEASURE_INTERVAL);
            let free = watch.free();
            let is_nearly_used = used_bytes > watch.budget_bytes / 100 * NEARLY_USED_PERCENT;
            let is_tight = is_nearly_used
                || free
                    .as_ref()
                    .is_some_and(|free| free.bytes < 2 * free.reserve);
            if is_due || is_tight {
                measured_at = Some(Instant::now());
                let measuring = Arc::clone(&watch);
                let measuring = tokio::task::spawn_blocking(move || {
                    if let Err(error) = reserve::keep(&measuring.data_dir) {
                        tracing::warn!(%error, "no room can be kept back for a start on a full disk");
                    }
                    folder_bytes(&measuring.data_dir)
                });
                used_bytes = measuring.await.unwrap_or(used_bytes);
                watch.send_retention(used_bytes, free.as_ref(), &is_retaining);
            }
            watch
                .intake
                .set_disk_full(watch.problem(used_bytes, free.as_ref()));
        }
    }

    /// Why nothing may come in; `None` when all is well.
    fn problem(&self, used_bytes: u64, free: Option<&Free>) -> Option<String> {
        if let Some(Free { bytes, reserve }) = free.filter(|free| free.bytes < free.reserve) {
            return Some(format!(
                "{bytes} bytes free on the data directory's disk, at least {reserve} are needed; free some"
            ));
        }
        let budget = self.budget_bytes;
        (used_bytes > budget).then(|| {
            format!("the data directory holds {used_bytes} of at most {budget} bytes and no day before today is left to delete; raise limits.disk")
        })
    }

    fn free(&self) -> Option<Free> {
        let stat = rustix::fs::statvfs(&self.data_dir).ok()?;
        let part =
            (stat.f_blocks.saturating_mul(stat.f_frsize) / RESERVE_PART).min(RESERVE_BYTES_MAX);
        Some(Free {
            bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            // What a start on a full disk took from the reserve is for that start, not for senders.
            reserve: part + reserve::missing_bytes(&self.data_dir),
        })
    }

    /// Asks the indexer's thread to delete what must go; one request at a time, because each is made for what was measured
    /// just before.
    fn send_retention(&self, used_bytes: u64, free: Option<&Free>, is_under_way: &Arc<AtomicBool>) {
        if is_under_way.swap(true, Ordering::Relaxed) {
            return;
        }
        let done = Arc::clone(is_under_way);
        let over_budget = used_bytes.saturating_sub(self.budget_bytes / 100 * NEARLY_USED_PERCENT);
        let over_free = free.map_or(0, |free| (2 * free.reserve).saturating_sub(free.bytes));
        let excess = over_budget.max(over_free);
        let retention = self.retention.load_full();
        let errand: Errand = Box::new(move |indexer: &mut Indexer| {
            retain(indexer, &retention, excess);
            done.store(false, Ordering::Relaxed);
        });
        // The indexer's thread is gone only when we are stopping.
        let _ = self.errands.send(errand);
    }
}

/// Deletes what is too old, then the oldest days until `excess` bytes are free.
fn retain(indexer: &mut Indexer, retention: &Retention, excess: u64) {
    let now = Timestamp::now();
    let shards = indexer.shard_sizes();
    let mut doomed: Vec<_> = retention
        .too_old(&shards, now)
        .into_iter()
        .cloned()
        .collect();
    let freed: u64 = shards
        .iter()
        .filter(|shard| doomed.contains(&shard.id))
        .map(|shard| shard.bytes)
        .sum();
    let left: Vec<_> = shards
        .into_iter()
        .filter(|shard| !doomed.contains(&shard.id))
        .collect();
    doomed.extend(
        oldest_to_free(&left, excess.saturating_sub(freed), now)
            .into_iter()
            .cloned(),
    );
    for id in doomed {
        match indexer.delete_shard(&id) {
            Ok(()) => tracing::info!(shard = id.name(), "deleted by retention"),
            Err(error) => tracing::error!(shard = id.name(), %error, "cannot be deleted"),
        }
    }
}
