//! The fields of a shard's tantivy index, and the version of the format.
//!
//! Format version 1 (this file, `words.rs` and `flatten.rs` define it):
//!
//! | field | tantivy | holds |
//! | --- | --- | --- |
//! | `_source` | stored | the document as it was sent: the only copy of its text |
//! | `_id` | indexed raw, stored | the sender's id; absent when the id is ours, which follows from the position |
//! | `_position` | fast u64 | the journal position: `_doc` order, our ids, exactly-once |
//! | `_timestamp` | fast date, nanoseconds | the event's time |
//! | `columns` | fast JSON | every short value under its dotted path, typed; `event.ingested` too |
//! | `any` | words, document ids only | the words of all values that are in `columns` |
//! | `text` | words by path, document ids only | the words of full texts: `message` and its kin, and long values |
//! | `has` | raw | the paths of full texts, because these have no column to tell that they exist |
//!
//! No positions, no frequencies, no norms: a phrase is verified on the value itself.

use tantivy::IndexSettings;
use tantivy::schema::{
    BytesOptions, DateOptions, DateTimePrecision, Field, IndexRecordOption, JsonObjectOptions,
    NumericOptions, STORED, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::store::{Compressor, ZstdCompressor};
use tantivy::tokenizer::{TextAnalyzer, TokenizerManager};

use super::words::WordTokenizer;

/// The format this build writes. A shard with a newer one is refused, with an older one read.
pub const FORMAT_VERSION: u32 = 1;

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

/// Blocks of the document store before compression. Bigger ones compress better and cost more per read:
/// 64 KiB took 59.7 MB where 16 KiB took 66.1 and 256 KiB 56.8, at the same speed.
const STORE_BLOCK_BYTES: usize = 64 * 1024;

const WORDS: &str = "words";
const RAW: &str = "raw";

/// The fields of the schema, by name.
#[derive(Debug, Clone, Copy)]
pub struct Fields {
    /// The document as sent.
    pub source: Field,
    /// The sender's id.
    pub id: Field,
    /// The journal position.
    pub position: Field,
    /// The event's time.
    pub timestamp: Field,
    /// Typed values by path.
    pub columns: Field,
    /// Words of all values in `columns`.
    pub any: Field,
    /// Words of full texts by path.
    pub text: Field,
    /// Paths of full texts.
    pub has: Field,
}

impl Fields {
    /// Finds the fields in a shard's schema; `None` when it is not a schema of ours.
    pub fn of(schema: &Schema) -> Option<Fields> {
        let field = |name| schema.get_field(name).ok();
        Some(Fields {
            source: field("_source")?,
            id: field("_id")?,
            position: field("_position")?,
            timestamp: field("_timestamp")?,
            columns: field("columns")?,
            any: field("any")?,
            text: field("text")?,
            has: field("has")?,
        })
    }
}

/// The schema of a new shard.
pub fn schema() -> Schema {
    let ids_only = |tokenizer| {
        TextFieldIndexing::default()
            .set_tokenizer(tokenizer)
            .set_index_option(IndexRecordOption::Basic)
            .set_fieldnorms(false)
    };
    let mut builder = Schema::builder();
    builder.add_bytes_field("_source", BytesOptions::from(STORED));
    builder.add_text_field(
        "_id",
        TextOptions::default()
            .set_indexing_options(ids_only(RAW))
            .set_stored(),
    );
    builder.add_u64_field("_position", NumericOptions::default().set_fast());
    builder.add_date_field(
        "_timestamp",
        DateOptions::default()
            .set_fast()
            .set_precision(DateTimePrecision::Nanoseconds),
    );
    builder.add_json_field("columns", JsonObjectOptions::default().set_fast(RAW));
    builder.add_text_field(
        "any",
        TextOptions::default().set_indexing_options(ids_only(WORDS)),
    );
    builder.add_json_field(
        "text",
        JsonObjectOptions::default().set_indexing_options(ids_only(WORDS)),
    );
    builder.add_text_field(
        "has",
        TextOptions::default().set_indexing_options(ids_only(RAW)),
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

/// The tokenizers the schema names.
pub fn tokenizers() -> TokenizerManager {
    let manager = TokenizerManager::default();
    manager.register(WORDS, TextAnalyzer::from(WordTokenizer::default()));
    manager
}

/// Whether a text under `path` is a full text: words without a column.
pub fn is_full_text(path: &str, text: &str) -> bool {
    text.len() > COLUMN_BYTES_MAX || FULL_TEXT_FIELDS.contains(&path)
}
