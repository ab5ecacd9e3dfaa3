//! Finished results, in the order of the request.

use std::sync::Arc;

use indexer::logs::Hit;

use super::distinct::Distinct;
use super::key::Key;
use super::moments::Moments;
use super::patterns::FoundPatterns;
use super::quantiles::Quantiles;
use super::top::SortValue;
use super::values::ValueKind;

/// One result per aggregation of a level, at the same place as in the request.
///
/// `None`: a pipeline has no value here, as a derivative in the first bucket.
#[derive(Debug, Clone, Default)]
pub struct Results(pub Vec<Option<AggregationResult>>);

/// The result of one aggregation.
#[derive(Debug, Clone)]
pub enum AggregationResult {
    /// Of an aggregation with many buckets.
    Buckets(Buckets),
    /// Of an aggregation with one bucket.
    Single {
        /// How many events are in it.
        count: u64,
        /// What is inside.
        results: Results,
    },
    /// Count, sum, extremes, spread.
    Moments(Moments),
    /// How many values, or different values.
    Count(u64),
    /// The distribution of numbers.
    Quantiles(Box<Quantiles>),
    /// The first events by some order.
    Top {
        /// Best first.
        entries: Vec<TopEntry>,
        /// How many events there were altogether.
        count: u64,
    },
    /// Points on the map.
    Geo(Option<GeoCentre>),
    /// The patterns of messages.
    Patterns(Box<FoundPatterns>),
    /// A number computed from other results; `None` where it has no value.
    Number(Option<f64>),
    /// A change from one bucket to the next.
    Derivative {
        /// The change.
        value: Option<f64>,
        /// The change per unit of time, when a unit was asked for.
        normalized: Option<Option<f64>>,
    },
    /// The extreme over buckets, and where it is.
    Extreme {
        /// The value; `None` when no bucket has one.
        value: Option<f64>,
        /// The buckets that have it.
        keys: Vec<Key>,
        /// The type of those keys.
        kind: Option<ValueKind>,
        /// The bucket aggregation they belong to, by its place in the request's level.
        of: usize,
    },
    /// Values at percents, over buckets.
    Percentiles(Vec<(f64, Option<f64>)>),
}

/// Buckets in their final order.
#[derive(Debug, Clone, Default)]
pub struct Buckets {
    /// The buckets.
    pub buckets: Vec<Bucket>,
    /// How many events are in buckets that were cut off.
    pub other_count: u64,
    /// The widest type of the numbers among the keys; `Float` writes `5` as `5.0`.
    pub kind: Option<ValueKind>,
    /// Where the next page of a composite begins.
    pub after: Option<Key>,
}

/// One bucket.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// Its key.
    pub key: Key,
    /// How many events are in it.
    pub count: u64,
    /// What is inside.
    pub results: Results,
}

/// One of the first events by some order.
#[derive(Debug, Clone)]
pub struct TopEntry {
    /// The values it was ordered by; `None` where it has none.
    pub sort: Vec<Option<SortValue>>,
    /// The values that were asked for; `None` where it has none.
    pub metrics: Vec<Option<SortValue>>,
    /// The whole event, for top hits.
    pub hit: Option<Arc<TopHit>>,
}

/// A whole event and where it comes from.
#[derive(Debug, Clone)]
pub struct TopHit {
    /// The name of its shard: `logs-2026.11.23`.
    pub index: String,
    /// The event.
    pub hit: Hit,
}

/// The corners and the middle of points on the map, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GeoCentre {
    /// How many points.
    pub count: u64,
    /// North-west corner: latitude, longitude.
    pub top_left: (f64, f64),
    /// South-east corner: latitude, longitude.
    pub bottom_right: (f64, f64),
    /// Mean latitude and longitude.
    pub centre: (f64, f64),
}

impl From<&Distinct> for AggregationResult {
    fn from(distinct: &Distinct) -> AggregationResult {
        AggregationResult::Count(distinct.estimate())
    }
}
