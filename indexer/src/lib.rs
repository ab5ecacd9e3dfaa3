//! Batches in, searchable files out: the only writer of log files.

mod catalog;
mod check;
mod error;
mod filenames;
mod ingest;
mod inspect;
pub mod logs;
mod persister;
mod retention;

pub use catalog::{Catalog, SavedLedger};
pub use check::{CheckedShard, IndexReport, check};
pub use error::Error;
pub use filenames::fits as index_name_fits;
pub use ingest::{Indexer, Settings};
pub use inspect::{Inspection, inspect, shard_ids};
pub use retention::{Retention, ShardSize, folder_bytes, oldest_to_free, shard_bytes};
