//! Runs a plan over shards: prunes by time, searches segments on several threads, puts the answer together.
//!
//! [`job`] is one search and what its threads share, [`segment`] the search of one segment. All of that blocks and runs
//! on blocking threads, as many as there are permits; async code only waits. A client that leaves drops the future,
//! which cancels the budget, which ends the threads at their next look at it.

mod answer;
mod job;
mod key_reader;
mod rank;
mod segment;
mod top;
mod zones;

use std::sync::Arc;
use std::time::Duration;

use event::Timestamp;
use indexer::logs::{LogIndex, ReadError, ShardId, ShardReader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub use answer::{Answer, FoundHit, SearchError, ShardFailure, Total};
use job::{Job, Part};
use zones::ZoneCache;

use crate::limits::Budget;
use crate::logs::filter::TimeRange;
use crate::logs::plan::Plan;

/// How many searches may wait for a thread. More than a few screens' worth of dashboards cannot be answered in time
/// anyway, and their clients ask again.
pub const WAITING_MAX: usize = 256;

/// Where shards come from. Blocking.
pub trait Shards: Send + Sync {
    /// The names of all shards, ordered by index and day.
    fn shard_ids(&self) -> Vec<ShardId>;

    /// A fixed view of some of them, and those that cannot be read.
    fn open(&self, wanted: &[ShardId]) -> (Vec<ShardReader>, Vec<ReadError>);

    /// How long accepted events have been waiting to be found, when that is worth telling.
    fn behind(&self) -> Option<Duration> {
        None
    }
}

impl Shards for LogIndex {
    fn shard_ids(&self) -> Vec<ShardId> {
        LogIndex::shard_ids(self)
    }

    fn open(&self, wanted: &[ShardId]) -> (Vec<ShardReader>, Vec<ReadError>) {
        let snapshot = self.snapshot(|id| wanted.binary_search(id).is_ok());
        (snapshot.shards, snapshot.failed)
    }

    fn behind(&self) -> Option<Duration> {
        LogIndex::behind(self, Timestamp::now())
    }
}

/// What to search: shards, each whole or the part of it with events in a time range.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SearchTarget(pub Vec<(ShardId, TimeRange)>);

/// Runs searches. Cheap to clone; all clones share their threads.
#[derive(Clone)]
pub struct Executor {
    shards: Arc<dyn Shards>,
    permits: Arc<Semaphore>,
    places: Arc<Semaphore>,
    threads: usize,
    zones: Arc<ZoneCache>,
}

impl Executor {
    /// An executor with at most `threads` threads at work; as many as the machine has cores is right.
    pub fn new(shards: Arc<dyn Shards>, threads: usize) -> Executor {
        let threads = threads.max(1);
        Executor {
            shards,
            permits: Arc::new(Semaphore::new(threads)),
            places: Arc::new(Semaphore::new(WAITING_MAX)),
            threads,
            zones: Arc::default(),
        }
    }

    /// The shards that are searched.
    pub fn shards(&self) -> &Arc<dyn Shards> {
        &self.shards
    }

    /// Runs a plan. Dropping the future cancels the search.
    ///
    /// # Errors
    /// The request is wrong, uses too much memory, or no shard can be read. Time that runs out is no error: the answer
    /// says so.
    pub async fn search(
        &self,
        target: SearchTarget,
        plan: Arc<Plan>,
        budget: Budget,
    ) -> Result<Answer, SearchError> {
        let _cancels = CancelWhenDropped(budget.clone());
        let permit = self.permit().await?;
        let shards = Arc::clone(&self.shards);
        let zones = Arc::clone(&self.zones);
        let job = blocking(move || {
            let (parts, failed) = open(&*shards, &target);
            let aggregations = &plan.aggregations;
            aggregations
                .check(parts.iter().map(|part| &part.reader))
                .map_err(SearchError::Aggregate)?;
            Ok(Arc::new(Job::open(parts, failed, plan, budget, zones)))
        })
        .await?;
        let helpers = self.helpers(&job);
        let own_job = Arc::clone(&job);
        blocking(move || {
            own_job.work();
            Ok(())
        })
        .await?;
        for helper in helpers {
            helper.await.map_err(internal)?;
        }
        let behind = self.shards.behind();
        let answer = blocking(move || job.finish()).await;
        drop(permit);
        answer.map(|answer| Answer { behind, ..answer })
    }

    /// Runs work that is no search but as dear as one, on one of the executor's threads.
    ///
    /// # Errors
    /// Too many wait already, or the work panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Shards) -> T + Send + 'static,
    ) -> Result<T, SearchError> {
        let _permit = self.permit().await?;
        let shards = Arc::clone(&self.shards);
        blocking(move || Ok(work(&*shards))).await
    }

    /// More threads for a search, as far as others leave some.
    fn helpers(&self, job: &Arc<Job>) -> Vec<tokio::task::JoinHandle<()>> {
        let wanted = job.units.len().min(self.threads).saturating_sub(1);
        let mut helpers = Vec::with_capacity(wanted);
        for _ in 0..wanted {
            let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
                break;
            };
            let job = Arc::clone(job);
            helpers.push(tokio::task::spawn_blocking(move || {
                job.work();
                drop(permit);
            }));
        }
        helpers
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, SearchError> {
        let _place = self
            .places
            .try_acquire()
            .map_err(|_| SearchError::Overloaded(WAITING_MAX))?;
        Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .map_err(internal)
    }
}

/// Opens the shards; one that comes in several time slices comes several times.
fn open(shards: &dyn Shards, target: &SearchTarget) -> (Vec<Part>, Vec<ReadError>) {
    let mut wanted: Vec<ShardId> = target.0.iter().map(|(id, _)| id.clone()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let (readers, failed) = shards.open(&wanted);
    let mut parts = Vec::with_capacity(target.0.len());
    for (id, time_range) in &target.0 {
        let reader = readers.iter().find(|reader| reader.id() == id);
        if let Some(reader) = reader {
            parts.push(Part {
                reader: reader.clone(),
                time_range: *time_range,
            });
        }
    }
    (parts, failed)
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SearchError> + Send + 'static,
) -> Result<T, SearchError> {
    tokio::task::spawn_blocking(work).await.map_err(internal)?
}

fn internal(error: impl std::fmt::Display) -> SearchError {
    SearchError::Internal(error.to_string())
}

/// Tells the threads of a search that nobody waits for it any more.
struct CancelWhenDropped(Budget);

impl Drop for CancelWhenDropped {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

#[cfg(test)]
mod tests;
