//! The fields of a shard's tantivy index, which texts are full texts, and the version of the format.
//!
//! Format version 2 (this file, `words.rs`, `flatten.rs`, `bloom.rs`, `blocks/` and `columns/` define it):
//!
//! | field | tantivy | holds |
//! | --- | --- | --- |
//! | `_id` | indexed raw | the sender's id; absent when the id is ours, which follows from the position |
//! | `_position` | fast u64 | the journal position: `_doc` order, our ids, exactly-once |
//! | `_timestamp` | fast date, nanoseconds | the event's time |
//!
//! Everything else is in two files of each segment: `blocks` has the documents and answers what their values say,
//! `columns` has short values by path for sorting and aggregating. tantivy stores nothing but these.

use tantivy::IndexSettings;
use tantivy::schema::{
    DateOptions, DateTimePrecision, Field, IndexRecordOption, NumericOptions, Schema,
    TextFieldIndexing, TextOptions,
};
use tantivy::store::{Compressor, ZstdCompressor};

/// The format this build writes. A shard with a newer one is refused.
pub const FORMAT_VERSION: u32 = 3;
/// Shards from here on are read and written on as they are; older ones are converted. Format 3 has other tables in its blocks
/// (`blocks/mod.rs`).
pub const FORMAT_READ: u32 = 2;

/// Values up to this many bytes get a column; longer ones are full texts. Elasticsearch's `ignore_above` is the same.
pub const COLUMN_BYTES_MAX: usize = 256;

/// Fields whose texts are prose, however short: they are searched by word, not grouped by value, so a column would
/// only be a second copy.
pub const FULL_TEXT_FIELDS: [&str; 8] = [
    "message",
    "msg",
    "log",
    "body",
    "event.original",
    "error.message",
    "error.stack_trace",
    "exception.stacktrace",
];

/// tantivy writes an empty row for each document into its store; big blocks of them compress to nearly nothing.
const STORE_BLOCK_BYTES: usize = 1024 * 1024;

/// The fields of the schema, by name.
#[derive(Debug, Clone, Copy)]
pub struct Fields {
    /// The sender's id.
    pub id: Field,
    /// The journal position.
    pub position: Field,
    /// The event's time.
    pub timestamp: Field,
}

impl Fields {
    /// Finds the fields in a shard's schema; `None` when it is not a schema of ours.
    pub fn of(schema: &Schema) -> Option<Fields> {
        let field = |name| schema.get_field(name).ok();
        Some(Fields {
            id: field("_id")?,
            position: field("_position")?,
            timestamp: field("_timestamp")?,
        })
    }
}

/// The schema of a new shard.
pub fn schema() -> Schema {
    let raw = TextFieldIndexing::default()
        .set_tokenizer("raw")
        .set_index_option(IndexRecordOption::Basic)
        .set_fieldnorms(false);
    let mut builder = Schema::builder();
    builder.add_text_field("_id", TextOptions::default().set_indexing_options(raw));
    builder.add_u64_field("_position", NumericOptions::default().set_fast());
    builder.add_date_field(
        "_timestamp",
        DateOptions::default()
            .set_fast()
            .set_precision(DateTimePrecision::Nanoseconds),
    );
    builder.build()
}

/// How a new shard's files are written.
pub fn index_settings() -> IndexSettings {
    IndexSettings {
        docstore_compression: Compressor::Zstd(ZstdCompressor {
            compression_level: Some(3),
        }),
        docstore_blocksize: STORE_BLOCK_BYTES,
        ..IndexSettings::default()
    }
}

/// Whether a text under `path` is a full text: words without a column.
pub fn is_full_text(path: &str, text: &str) -> bool {
    text.len() > COLUMN_BYTES_MAX || FULL_TEXT_FIELDS.contains(&path)
}
