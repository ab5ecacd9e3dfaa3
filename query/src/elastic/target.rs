//! Which shards an index expression names.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use event::Timestamp;
use indexer::logs::ShardId;
use xxhash_rust::xxh3::xxh3_128;

use super::error::ElasticError;

/// The flags that come with an index expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetOptions {
    /// Skip concrete names that do not exist, instead of answering 404.
    pub ignore_unavailable: bool,
    /// Take an expression that matches nothing as no shards, instead of answering 404.
    pub allow_no_indices: bool,
    /// Wildcards also match names that begin with a dot.
    pub expand_hidden: bool,
    /// Wildcards match open indices, which all of ours are; without it wildcards match nothing.
    pub expand_open: bool,
}

/// A shard to read, whole or in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The shard.
    pub shard: ShardId,
    /// Only its events in this time; `None` is all of them.
    pub time_slice: Option<TimeSlice>,
}

/// A stretch of time, UTC: `start` belongs to it, `end` does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeSlice {
    /// The first moment.
    pub start: Timestamp,
    /// The moment after the last.
    pub end: Timestamp,
}

/// The shards that `expression` names, by name and then by time; one shard may come in several disjoint slices.
///
/// # Errors
/// 404 `index_not_found_exception` for a missing name, as the options say; 400 for a name no index can have.
pub fn resolve(
    _expression: &str,
    _options: &TargetOptions,
    _known: &[ShardId],
    _now: Timestamp,
) -> Result<Vec<Target>, ElasticError> {
    Ok(Vec::new())
}

/// The 22 characters Elasticsearch would call the index's unique id: made from the name, so that it never changes.
pub fn index_uuid(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(xxh3_128(name.as_bytes()).to_be_bytes())
}
