//! Events on their way in: one [`Event`], and the [`Batch`] it travels in.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::{IndexName, Timestamp};

/// Where an event stands in the journal: the number of events before it since the data directory was made.
///
/// Positions only grow, also over restarts, and are never given twice. They stay below 2^53, so that
/// they survive a client that reads JSON numbers as doubles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position(pub u64);

impl Position {
    /// The position of the first event of a new data directory.
    pub const ZERO: Position = Position(0);

    /// The position `count` events later.
    pub fn plus(self, count: u64) -> Position {
        Position(self.0 + count)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the sender asks to be done with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Store it; an event with the same id in the same index is a conflict.
    Create,
    /// Store it; an event with the same id in the same index is replaced.
    Index,
    /// Remove the event with this id.
    Delete,
    /// Remove the event with this id, because a newer version of it goes to another day's shard. Made by the intake
    /// beside the `Index` that causes it; not an event of its own in the books.
    Displace,
}

/// One log event, or a request to remove one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The index it belongs to, without a day.
    pub index: IndexName,
    /// The sender's id; without one the event gets an id of ours.
    pub id: Option<Box<str>>,
    /// The time of the event, UTC. Chooses the day's shard.
    pub timestamp: Timestamp,
    /// What to do. `Delete` needs an id and has an empty `source`.
    pub operation: Operation,
    /// The document as the sender wrote it: the text of one valid JSON object in UTF-8.
    pub source: Bytes,
}

impl Event {
    /// A new event without an id of its own, as most sources make them.
    pub fn create(index: IndexName, timestamp: Timestamp, source: Bytes) -> Event {
        Event {
            index,
            id: None,
            timestamp,
            operation: Operation::Create,
            source,
        }
    }

    /// About how many bytes it occupies in memory and in the journal.
    pub fn byte_size(&self) -> usize {
        self.source.len() + self.id.as_ref().map_or(0, |id| id.len()) + 64
    }
}

/// Events of one source that are accepted, or refused, together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The source's name as in the settings file; the ledger counts by it.
    pub source: Arc<str>,
    /// When we took it, UTC; becomes `event.ingested`.
    pub received: Timestamp,
    /// The events, in the sender's order.
    pub events: Vec<Event>,
    /// How far the source has come once this batch is durable: bytes only the source understands.
    ///
    /// The journal stores it in the batch's own record, so that both are durable or neither is; at start it hands
    /// out what its records hold, in order, and the source continues there. A source whose senders repeat what was
    /// not answered needs none.
    pub checkpoint: Option<Bytes>,
}

impl Batch {
    /// A batch without a checkpoint, as the sources make it whose senders wait for an answer.
    pub fn new(source: Arc<str>, received: Timestamp, events: Vec<Event>) -> Batch {
        Batch {
            source,
            received,
            events,
            checkpoint: None,
        }
    }

    /// About how many bytes it occupies in memory and in the journal.
    pub fn byte_size(&self) -> usize {
        let events: usize = self.events.iter().map(Event::byte_size).sum();
        events + self.checkpoint.as_ref().map_or(0, Bytes::len)
    }
}
