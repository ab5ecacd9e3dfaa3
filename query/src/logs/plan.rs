//! What to find: the question after the dialect is gone.

use event::Timestamp;

use super::aggregate::Aggregations;
use super::filter::Filter;

/// A question about the events of some shards.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What an event must fulfil.
    pub filter: Filter,
    /// What a hit must fulfil besides; aggregations do not see it.
    pub post_filter: Option<Filter>,
    /// The order of the hits, most important first; at least one.
    pub order: Vec<SortKey>,
    /// Only hits behind this place in the order: one value per key, or for the first few keys only.
    pub search_after: Option<Vec<SortValue>>,
    /// How many hits are skipped.
    pub from: usize,
    /// How many hits are told after those.
    pub size: usize,
    /// How far hits are counted.
    pub count: Count,
    /// Looks at no more than this many matching events of each shard.
    pub terminate_after: Option<u64>,
    /// What is computed from the matching events.
    pub aggregations: Aggregations,
}

impl Default for Plan {
    /// Every event, newest first, none told, none counted.
    fn default() -> Plan {
        Plan {
            filter: Filter::All,
            post_filter: None,
            order: vec![SortKey::newest_first()],
            search_after: None,
            from: 0,
            size: 0,
            count: Count::Nothing,
            terminate_after: None,
            aggregations: Aggregations::default(),
        }
    }
}

/// How far matching events are counted. Counting less lets a search stop early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Not at all.
    Nothing,
    /// Exactly up to this number; beyond it "more than".
    UpTo(u64),
    /// All of them.
    Exactly,
}

/// One thing that hits are ordered by.
#[derive(Debug, Clone, PartialEq)]
pub struct SortKey {
    /// What.
    pub by: SortBy,
    /// Largest first.
    pub descending: bool,
    /// Where events without a value go.
    pub missing: Missing,
    /// Which of several values counts; nothing means the one that comes first in the order.
    pub pick: Option<Pick>,
}

impl SortKey {
    /// By the event's own time to the nanosecond.
    pub fn newest_first() -> SortKey {
        SortKey {
            by: SortBy::Time(Resolution::Nanos),
            descending: true,
            missing: Missing::Last,
            pick: None,
        }
    }
}

/// What hits can be ordered by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SortBy {
    /// The event's own time.
    Time(Resolution),
    /// The values of a field: numbers, booleans and times before texts.
    Field(String, Resolution),
    /// The event's number in the journal.
    Position,
    /// The name of the shard.
    ShardName,
    /// Nothing: all events are equal.
    Nothing,
}

/// How exactly times are compared and told. A client that is told milliseconds and comes back with them as its place
/// in the order must find events that share one millisecond equal, else it would lose some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Milliseconds since 1970.
    Millis,
    /// Nanoseconds since 1970.
    Nanos,
}

impl Resolution {
    /// The number that a time is.
    pub fn of(self, timestamp: Timestamp) -> i64 {
        match self {
            Resolution::Millis => timestamp.millis(),
            Resolution::Nanos => timestamp.nanos(),
        }
    }
}

/// Where events go that lack what hits are ordered by.
#[derive(Debug, Clone, PartialEq)]
pub enum Missing {
    /// Before all others, whatever the direction.
    First,
    /// Behind all others, whatever the direction.
    Last,
    /// Among the others, as if they had this value.
    Value(SortValue),
}

/// Which of several values of an event counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// The smallest.
    Smallest,
    /// The largest.
    Largest,
}

/// The place of a hit in the order, for one key.
#[derive(Debug, Clone, PartialEq)]
pub enum SortValue {
    /// It has none.
    Missing,
    /// Truth.
    Bool(bool),
    /// A whole number, or a time in the key's resolution.
    Integer(i64),
    /// A number above `i64::MAX`.
    Unsigned(u64),
    /// Another number.
    Float(f64),
    /// A text.
    Text(String),
}
