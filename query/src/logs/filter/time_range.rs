//! A stretch of time, both ends included, to the nanosecond.

use event::Timestamp;

/// From `first` to `last`, both of them belonging to it, UTC. Empty when `last` is before `first`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    /// The first nanosecond.
    pub first: Timestamp,
    /// The last nanosecond.
    pub last: Timestamp,
}

impl TimeRange {
    /// Every time we can keep.
    pub const ALL: TimeRange = TimeRange {
        first: Timestamp::MIN,
        last: Timestamp::MAX,
    };

    /// No time at all.
    pub const EMPTY: TimeRange = TimeRange {
        first: Timestamp::MAX,
        last: Timestamp::MIN,
    };

    /// From `start`, which belongs to it, to `end`, which does not.
    pub fn until(start: Timestamp, end: Timestamp) -> TimeRange {
        match end.nanos().checked_sub(1) {
            Some(last) => TimeRange {
                first: start,
                last: Timestamp::from_nanos(last),
            },
            None => TimeRange::EMPTY,
        }
    }

    /// Whether no time is in it.
    pub fn is_empty(self) -> bool {
        self.last < self.first
    }

    /// Whether this time is in it.
    pub fn contains(self, timestamp: Timestamp) -> bool {
        self.first <= timestamp && timestamp <= self.last
    }

    /// Whether every time of `other` is in it.
    pub fn covers(self, other: TimeRange) -> bool {
        other.is_empty() || (self.first <= other.first && other.last <= self.last)
    }

    /// The times that are in both.
    pub fn intersection(self, other: TimeRange) -> TimeRange {
        TimeRange {
            first: self.first.max(other.first),
            last: self.last.min(other.last),
        }
    }

    /// Whether some time is in both.
    pub fn overlaps(self, other: TimeRange) -> bool {
        !self.intersection(other).is_empty()
    }
}
