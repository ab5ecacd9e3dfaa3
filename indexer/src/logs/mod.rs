//! The log index: one tantivy shard per index and UTC day.
//!
//! `query` sees [`ShardReader`] and [`Leaf`]; everything else here may change without it noticing.

pub(crate) mod blocks;
mod bloom;
mod columns;
pub(crate) mod convert;
pub(crate) mod directory;
mod document;
pub(crate) mod event_id;
mod flatten;
mod id_filter;
mod interrupt;
mod leaf;
pub(crate) mod log_index;
mod matching;
mod mend;
mod plugin;
mod reader;
mod schema;
mod segment;
pub(crate) mod shard;
mod templates;
pub(crate) mod untouched;
mod usage;
mod words;

pub use event_id::EventIds;
pub use interrupt::Interrupt;
pub use leaf::{Field, Leaf, Pattern, Scalar};
pub use log_index::{LogIndex, Progress, Snapshot};
pub use reader::{FieldKinds, Hit, ReadError, ShardId, ShardReader, ValueColumn};
pub use templates::{SegmentTemplates, TemplateBlock, TemplateId, VARIABLE};
pub use usage::{FieldUsage, ServiceUsage, TemplateUsage, Usage};
