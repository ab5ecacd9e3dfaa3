//! What the metadata resources ask of the log store: which shards exist, what is in them, one event, delete them.
//!
//! The indexer's store implements it; tests use a small one in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use event::Timestamp;
use indexer::logs::{FieldKinds, Hit, ReadError, ShardId};

/// The log store behind the metadata resources.
pub trait LogStore: Send + Sync {
    /// Every shard that exists, in any order. Answers from memory.
    fn shards(&self) -> Vec<ShardId>;

    /// What is in a shard as queries see it now; `None` when it has gone meanwhile. Blocking.
    ///
    /// # Errors
    /// The shard's files cannot be read.
    fn summary(&self, shard: &ShardId) -> Result<Option<ShardSummary>, ReadError>;

    /// The event with this id in a shard, as queries see it now. Blocking.
    ///
    /// # Errors
    /// The shard's files cannot be read.
    fn event(&self, shard: &ShardId, id: &str) -> Result<Option<Hit>, ReadError>;

    /// Deletes whole shards, for good. Blocking. A shard that does not exist is no error. Events that are accepted
    /// later may make a shard of the same name again.
    ///
    /// # Errors
    /// The files of one cannot be removed; those before it are gone.
    fn delete(&self, shards: &[ShardId]) -> Result<(), ReadError>;
}

/// What is in a shard.
#[derive(Debug, Clone, Default)]
pub struct ShardSummary {
    /// How many events it has, deleted ones not counted.
    pub event_count: u64,
    /// How much of the disk it takes.
    pub byte_size: u64,
    /// The earliest and latest timestamp of its events, UTC.
    pub time_range: Option<(Timestamp, Timestamp)>,
    /// Every path that has a value, dotted, with the kinds of its values.
    pub fields: Arc<BTreeMap<String, FieldKinds>>,
}
