//! The shared vocabulary of Daybook: what an event is, how events travel in batches, and who answers for them.
//!
//! No I/O happens here. Every other crate depends on this one and on nothing beside it that is ours,
//! except `query`, which also reads from `indexer`.

mod append;
mod batch;
mod day;
mod document;
mod index_name;
mod json_object;
pub mod json_text;
mod ledger;
mod refresh;
mod retry;
mod timestamp;

pub use append::{Ack, Append, AppendError, Outcome};
pub use batch::{Batch, Event, Operation, Position};
pub use day::Day;
pub use document::{Document, DocumentError};
pub use index_name::{IndexName, IndexNameError, WriteTarget};
pub use ledger::{Ledger, SourceCounts, SourceLedger, SourceTotals};
pub use refresh::Refresh;
pub use retry::RetryAfter;
pub use timestamp::{Timestamp, TimestampError};
