//! The journal: what makes the answer "accepted" true.
//!
//! Collectors append, and get their OK once the bytes are fsynced; the indexer reads what is durable, in order, and
//! releases what it has committed. [`Local`] keeps segment files on this machine. [`Journal`] is the seam where a
//! Kafka topic takes their place when one machine is not enough.

mod error;
pub mod events;
pub mod file_system;
mod local;
#[cfg(any(test, fuzzing))]
pub mod model;
mod queue;
mod reader;
mod record;
mod scan;
mod segment;
mod state;
mod survey;
mod verify;
mod writer;

#[cfg(test)]
mod damage_test;
#[cfg(test)]
mod full_test;
#[cfg(test)]
mod leftover_test;
#[cfg(test)]
mod power_loss_test;

use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use event::Position;

pub use error::Error;
pub use local::{Fsync, Local, Settings};
pub use record::{Kind, RECORD_BYTES_MAX};
#[cfg(any(test, fuzzing))]
pub use record::{RecordHeader, SegmentHeader};
pub use survey::{Cause, Damage};
pub use verify::{Report, repair, verify};

/// The future that [`Journal::append`] answers with.
pub type Appending<'a> = Pin<Box<dyn Future<Output = Result<Position, Error>> + Send + 'a>>;

/// A durable queue of records. Shared as `Arc<dyn Journal>` between the collectors' side and the indexer's.
pub trait Journal: Send + Sync {
    /// Appends one record that occupies `count` positions, and answers the first of them once it is durable.
    ///
    /// Appends that wait at the same time share one fsync. Waits for a place in the bounded queue first. Dropping
    /// the future before it is ready leaves open whether the record is stored; it is stored whole or not at all.
    ///
    /// # Errors
    /// Nothing of the record was accepted: [`Error::Full`] and [`Error::DiskFull`] pass when there is room again,
    /// [`Error::Io`] perhaps, [`Error::TooLarge`] never, [`Error::Closed`] means that we are stopping.
    fn append(&self, kind: Kind, count: NonZeroU32, payload: Payload) -> Appending<'_>;

    /// A reader of durable records, in order, from the first record that ends behind `from`.
    ///
    /// A record that begins before `from` and ends behind it is given whole. Where `from` was released already,
    /// reading begins at the first kept record; the gap shows in [`Record::first`]. `from` may lie ahead of the end.
    ///
    /// # Errors
    /// [`Error::Closed`] after the journal was closed.
    fn reader(&self, from: Position) -> Result<Box<dyn RecordReader>, Error>;

    /// Says that nothing before `before` is needed any more: whole segments below it are deleted.
    ///
    /// Blocks for the deletions. One that fails is logged and tried again with the next call.
    fn release(&self, before: Position);

    /// The durable end: the position that the next event gets.
    fn end(&self) -> Position;

    /// What the journal holds now, for metrics and `/health`.
    fn status(&self) -> Status;
}

/// Reads durable records in order. Blocking: call it from a thread of its own.
pub trait RecordReader: Send {
    /// The next record; `None` when nothing new became durable within `wait`.
    ///
    /// Positions only grow from record to record. Where they jump, records are missing: released, damaged, or of
    /// a stretch that was skipped when the journal was opened (see [`Local::open`]). A record whose kind is
    /// [`Kind::Unknown`] is to be skipped by the caller. The payload shares memory with its neighbours, up to
    /// 256 KiB: copy what is to be kept for long.
    ///
    /// # Errors
    /// [`Error::Closed`] once the journal is closed and everything was read; [`Error::Io`] when a segment cannot be
    /// read, after which the call may be repeated; [`Error::NewerFormat`] when a newer Daybook wrote it.
    fn next(&mut self, wait: Duration) -> Result<Option<Record>, Error>;
}

/// One durable record as it is read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What the payload holds.
    pub kind: Kind,
    /// The position of its first event.
    pub first: Position,
    /// How many positions it occupies, at least one.
    pub count: u32,
    /// The bytes that were appended.
    pub payload: Bytes,
}

impl Record {
    /// The position behind its last event.
    pub fn end(&self) -> Position {
        self.first.plus(u64::from(self.count))
    }
}

/// The bytes of one record, in parts, so that the sender's bytes need not be copied together first.
#[derive(Debug, Clone, Default)]
pub struct Payload {
    parts: Vec<Bytes>,
    byte_len: usize,
}

impl Payload {
    /// The parts, in order.
    pub fn parts(&self) -> &[Bytes] {
        &self.parts
    }

    /// The bytes of all parts together.
    pub fn byte_len(&self) -> usize {
        self.byte_len
    }
}

impl From<Vec<Bytes>> for Payload {
    fn from(parts: Vec<Bytes>) -> Payload {
        let byte_len = parts.iter().map(Bytes::len).sum();
        Payload { parts, byte_len }
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Payload {
        Payload::from(vec![bytes])
    }
}

/// What the journal holds at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Bytes in all segment files.
    pub bytes: u64,
    /// What `bytes` may grow to before appends are refused.
    pub bytes_max: u64,
    /// Segment files.
    pub segment_count: usize,
    /// Where the first kept segment begins.
    pub first: Position,
    /// The durable end: the position of the next event.
    pub end: Position,
    /// What was found damaged at open, and by readers since, without repetition.
    pub damage: Vec<Damage>,
    /// Bytes of a group that was never acknowledged, cut off at open. Usual after a crash.
    pub torn_tail_bytes: u64,
}
