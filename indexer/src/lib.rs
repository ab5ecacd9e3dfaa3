//! Batches in, searchable files out: the only writer of log files.

mod catalog;
mod error;
mod filenames;
mod ingest;
pub mod logs;
mod persister;

pub use catalog::{Catalog, SavedLedger};
pub use error::Error;
pub use ingest::{Indexer, Settings};
