//! What fills shards, by the time there is to find out.

use std::sync::Arc;

use indexer::logs::{Interrupt, ReadError, ShardId, ShardReader, Usage};

use super::execute::{Executor, SearchError, ShardFailure, Shards};
use crate::limits::Budget;

/// What fills some shards.
#[derive(Debug, Default)]
pub struct UsageAnswer {
    /// Shard by shard, in the order they were asked for.
    pub shards: Vec<ShardSize>,
    /// All of them together.
    pub total: Usage,
    /// The time was up before all were looked at.
    pub timed_out: bool,
    /// Shards that cannot be read.
    pub failures: Vec<ShardFailure>,
}

/// How much is in a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardSize {
    /// The shard.
    pub id: ShardId,
    /// How many documents, deleted ones included.
    pub documents: u64,
    /// As they were sent.
    pub raw_bytes: u64,
    /// As they are stored.
    pub stored_bytes: u64,
}

impl UsageAnswer {
    /// Adds what fills a shard.
    pub fn add(&mut self, id: ShardId, usage: Usage) {
        self.shards.push(ShardSize {
            id,
            documents: usage.documents,
            raw_bytes: usage.raw_bytes,
            stored_bytes: usage.stored_bytes,
        });
        self.total.add(usage);
    }

    /// Whether something is missing.
    pub fn is_partial(&self) -> bool {
        self.timed_out || !self.failures.is_empty()
    }
}

/// Finds out what fills these shards; ascending. Dropping the future ends the work.
///
/// # Errors
/// As [`Executor::run`]. Time that runs out is no error: the answer says so.
pub async fn usage_of(
    executor: &Executor,
    shards: Vec<ShardId>,
    budget: Budget,
) -> Result<UsageAnswer, SearchError> {
    let _cancels = CancelWhenDropped(budget.clone());
    executor
        .run(move |source| look_at(source, &shards, &budget))
        .await
}

fn look_at(source: &dyn Shards, shards: &[ShardId], budget: &Budget) -> UsageAnswer {
    let (readers, failed) = source.open(shards);
    let mut answer = UsageAnswer::default();
    answer.failures.extend(failed.into_iter().map(failure));
    let interrupt: Arc<dyn Interrupt> = Arc::new(BudgetInterrupt(budget.clone()));
    for reader in readers {
        match usage_of_shard(&reader.interruptible(Arc::clone(&interrupt))) {
            Ok(usage) => answer.add(reader.id().clone(), usage),
            Err(_) if budget.check().is_err() => {
                answer.timed_out = true;
                break;
            }
            Err(error) => {
                tracing::error!(%error, "the usage of a shard cannot be told");
                answer.failures.push(failure(error));
            }
        }
    }
    answer
}

fn usage_of_shard(reader: &ShardReader) -> Result<Usage, ReadError> {
    let mut usage = Usage::default();
    for segment in 0..reader.searcher().segment_readers().len() {
        usage.add(reader.usage(segment)?);
    }
    Ok(usage)
}

fn failure(error: ReadError) -> ShardFailure {
    ShardFailure {
        shard: error.shard,
        message: error.message,
    }
}

struct BudgetInterrupt(Budget);

impl Interrupt for BudgetInterrupt {
    fn is_interrupted(&self) -> bool {
        self.0.check().is_err()
    }

    fn decoded(&self, bytes: u64) {
        self.0.count_decoded(bytes);
    }

    fn failed(&self, message: &str) {
        tracing::error!(message, "a document cannot be read");
    }
}

/// Tells the work that nobody waits for it any more.
struct CancelWhenDropped(Budget);

impl Drop for CancelWhenDropped {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
