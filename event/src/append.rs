//! The edge between those who take events in and the journal that makes them durable.
//!
//! A source hands over a [`Batch`] and waits; the answer comes only after the events are fsynced,
//! so a source may turn it straight into its own OK.

use std::future::Future;
use std::pin::Pin;

use crate::{Batch, Position, RetryAfter};

/// Takes batches and makes them durable. Sources hold it as `Arc<dyn Append>`.
pub trait Append: Send + Sync {
    /// Stores the batch and answers once every accepted event of it is fsynced.
    ///
    /// The outcomes of the [`Ack`] stand in the order of the batch's events. A refused item does not
    /// harm its neighbours.
    ///
    /// # Errors
    /// Nothing of the batch was stored; see [`AppendError`] for what the sender should do.
    fn append(
        &self,
        batch: Batch,
    ) -> Pin<Box<dyn Future<Output = Result<Ack, AppendError>> + Send + '_>>;
}

/// What became of a batch, told after it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// One outcome per event of the batch, in its order.
    pub outcomes: Vec<Outcome>,
}

/// What became of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A new event; `id` is the sender's or the one we made.
    Created {
        /// Where it stands in the journal.
        position: Position,
        /// The sender's id, or ours.
        id: Box<str>,
    },
    /// An `index` operation replaced the event that had this id.
    Updated {
        /// Where the new version stands in the journal.
        position: Position,
        /// The id both share.
        id: Box<str>,
    },
    /// A `delete` operation; the event is gone once the index has read this position.
    Deleted {
        /// Where the deletion stands in the journal.
        position: Position,
        /// The id that was deleted.
        id: Box<str>,
    },
    /// A `create` operation on an id that exists already. Nothing was stored.
    Conflict,
    /// A `delete` operation on an id that does not exist. Nothing was stored.
    NotFound,
    /// The event cannot be stored, for instance because it is older than its index keeps.
    Rejected {
        /// Short and stable, used as a counter's label: `too_old`.
        reason: &'static str,
        /// For the sender: what is wrong and with which value.
        message: String,
    },
}

/// Why nothing of a batch was stored. Every variant may be retried; none lost anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Too much is waiting to be indexed. Answer 429 with `Retry-After`, or pause reading.
    #[error("the journal is full: {message}")]
    Full {
        /// What is full and how full it is.
        message: String,
        /// When to try again.
        retry_after: RetryAfter,
    },
    /// The disk has no room. Answer 429 with `Retry-After`, or pause reading.
    #[error("the disk is full: {message}")]
    DiskFull {
        /// Which disk and how much is left.
        message: String,
        /// When to try again.
        retry_after: RetryAfter,
    },
    /// The journal cannot be written for another reason. Answer 503 with `Retry-After`.
    #[error("the journal cannot be written: {message}")]
    Unavailable {
        /// The cause.
        message: String,
        /// When to try again.
        retry_after: RetryAfter,
    },
    /// The appliance is stopping. Answer 503 with `Retry-After`.
    #[error("daybook is stopping")]
    Stopping,
}

impl AppendError {
    /// When the sender should try again.
    pub fn retry_after(&self) -> RetryAfter {
        match self {
            AppendError::Full { retry_after, .. }
            | AppendError::DiskFull { retry_after, .. }
            | AppendError::Unavailable { retry_after, .. } => *retry_after,
            AppendError::Stopping => RetryAfter::ONE_SECOND,
        }
    }

    /// Whether the sender should slow down (429) rather than wait for a repair (503).
    pub fn is_overload(&self) -> bool {
        matches!(
            self,
            AppendError::Full { .. } | AppendError::DiskFull { .. }
        )
    }
}
