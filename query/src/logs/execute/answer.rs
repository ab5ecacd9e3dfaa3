//! What a search found.

use std::time::Duration;

use indexer::logs::Hit;

use crate::limits::Stop;
use crate::logs::aggregate::{AggregateError, Results};
use crate::logs::plan::SortValue;

/// The answer to a plan. Partial when `timed_out`, `terminated_early`, `behind` or `failures` say so.
#[derive(Debug, Default)]
pub struct Answer {
    /// How many events match, as far as was asked.
    pub total: Option<Total>,
    /// The hits, in order.
    pub hits: Vec<FoundHit>,
    /// The results of the aggregations, in the order of the request.
    pub aggregations: Results,
    /// The time was up before everything was looked at.
    pub timed_out: bool,
    /// Accepted events have been waiting this long to be found: the index is behind its input, or stands still.
    pub behind: Option<Duration>,
    /// The plan's `terminate_after` was reached.
    pub terminated_early: bool,
    /// How many shards were asked for.
    pub shard_count: usize,
    /// How many of them could have no matching event and were not searched.
    pub skipped_count: usize,
    /// Shards that could not be read; what others found is here.
    pub failures: Vec<ShardFailure>,
}

/// How many events match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// This many.
    pub count: u64,
    /// Or more.
    pub is_lower_bound: bool,
}

/// An event and its place in the order.
#[derive(Debug, Clone)]
pub struct FoundHit {
    /// The name of its shard: `logs-2026.11.23`.
    pub index: String,
    /// The event.
    pub hit: Hit,
    /// One value per key of the plan's order.
    pub sort: Vec<SortValue>,
}

/// A shard that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardFailure {
    /// Its name: `logs-2026.11.23`.
    pub shard: String,
    /// What failed.
    pub message: String,
}

/// Why there is no answer at all.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// The request must be changed.
    #[error(transparent)]
    Aggregate(AggregateError),
    /// The query stopped in a way that leaves nothing to answer with: no memory, or nobody there.
    #[error(transparent)]
    Stopped(Stop),
    /// Too many searches wait already; the client should ask again later.
    #[error("{0} searches are waiting already")]
    Overloaded(usize),
    /// None of the shards can be read.
    #[error("none of the shards can be read")]
    AllShardsFailed(Vec<ShardFailure>),
    /// A fault of ours.
    #[error("the search ended early: {0}")]
    Internal(String),
}
