//! What the metadata resources ask of the log store: which shards exist, what is in them, one event, delete them.

use std::collections::BTreeMap;

use event::Timestamp;
use indexer::logs::{FieldKinds, Hit, ReadError, ShardId};

/// The log store behind the metadata resources. The binary implements it over the indexer, tests have one in memory.
pub trait LogStore: Send + Sync {
    /// Every shard that exists, in any order. Answers from memory.
    fn shards(&self) -> Vec<ShardId>;

    /// The sizes of some shards, as queries see them now. Blocking.
    fn summaries(&self, shards: &[ShardId]) -> Partial<ShardSummary>;

    /// The fields of some shards, as queries see them now. Blocking.
    fn fields(&self, shards: &[ShardId]) -> Partial<FieldMap>;

    /// The event with this id in the first of the shards that has it. Blocking.
    ///
    /// # Errors
    /// No shard that can be read has it, and one cannot be read.
    fn event(&self, shards: &[ShardId], id: &str) -> Result<Option<(ShardId, Hit)>, ReadError>;

    /// Deletes whole shards, for good. Blocking. A shard that does not exist is no error. Events that are accepted
    /// later may make a shard of the same name again.
    ///
    /// # Errors
    /// The files of one cannot be removed; others may be gone.
    fn delete(&self, shards: &[ShardId]) -> Result<(), ReadError>;
}

/// Every path that has a value in a shard, dotted, with the kinds of its values.
pub type FieldMap = BTreeMap<String, FieldKinds>;

/// What several shards answered. One that has gone meanwhile is in neither list.
#[derive(Debug)]
pub struct Partial<T> {
    /// The answers, in the order of the index and the day.
    pub found: Vec<(ShardId, T)>,
    /// Shards that cannot be read.
    pub failed: Vec<ReadError>,
}

/// How much is in a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardSummary {
    /// How many events it has, deleted ones not counted.
    pub event_count: u64,
    /// How much of the disk it takes, in bytes.
    pub byte_size: u64,
    /// The earliest and latest timestamp of its events, UTC.
    pub time_range: Option<(Timestamp, Timestamp)>,
}
