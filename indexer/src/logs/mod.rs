//! The log index: one tantivy shard per index and UTC day.
//!
//! `query` sees [`ShardReader`] and [`Leaf`]; everything else here may change without it noticing.

mod leaf;
mod reader;

pub use leaf::{Field, Leaf, Pattern, Scalar};
pub use reader::{FieldKinds, Hit, ReadError, ShardId, ShardReader, ValueColumn};
