//! The events of a segment without their repetitions: shapes, templates and slots, in blocks of some ten thousand.
//!
//! Logs are printed by code. A *shape* is a document without its values, a *template* a message without its variables;
//! there are some thousand of either in a segment. A *slot* is one place for a value; the values of one slot over all
//! documents of a *group* (same shape, same template) lie together, so that they compress like a column and can be
//! searched like one. What comes back is the document byte for byte. Documents keep the order they came in.
//!
//! The file `blocks` of a segment, form 2; numbers are unsigned LEB128 unless they say otherwise, sections are zstd:
//!
//! ```text
//! blocks     for each block: its frames (zstd), words (word_table.rs), pieces (pieces.rs), map, groups, slots
//! shapes     section: count, lengths, bytes
//! texts      section: templates and values that all documents of a group have, with their words (texts.rs)
//! index      section: for each block where its parts stand (file.rs)
//! footer     place, length, plain length of the index (u64 each), form (u32), "DBLK"; all little-endian
//! ```
//!
//! A block's map has for each document the rank of its group by frequency, low bytes first, then high bytes. Its groups
//! have a shape, a template and a number of rows; a slot (block.rs) is one value for all (its text's number), or it lies in
//! a frame: as lines, as a dictionary with a code for each row, or as lengths and values. Small groups are *packed*:
//! the values of their slots that are no texts are one slot in a frame, one slot behind the other. Words lead to the
//! frames that have them, and so do beginnings of words; pieces tell which letters follow each other in a frame.
//!
//! Form 1, of shard format 2, had a filter behind each frame instead of words and pieces, and groups and slots in one
//! section. It is read without its filters, so searches look through all of it; merges write it anew.

mod answers;
mod block;
mod cache;
mod cut;
mod file;
mod frames;
mod known;
mod map;
mod merge;
mod number;
pub mod pieces;
mod shape;
mod slot;
pub mod spelling;
mod template;
#[cfg(test)]
mod tests;
pub mod texts;
mod time;
pub mod usage;
mod word_table;
mod writer;

pub use answers::Answer;
pub use block::{FramedSlot, Group, Slot, Slots};
pub use cache::BlockCache;
pub use file::{BlocksFile, OpenBlock, Row};
pub use map::Map;
pub use merge::{MergeInput, merge};
pub use shape::{Mark, MarkKind, Shapes};

pub use writer::{BlockSize, BlocksWriter};

/// The form this build writes.
const FORM: u32 = 2;
/// The one that had filters instead of tables.
const FORM_OF_FILTERS: u32 = 1;

/// How the values of a slot are written.
const FORM_ONE: u8 = 1;
const FORM_LINES: u8 = 2;
const FORM_LENGTHS: u8 = 3;
const FORM_DICTIONARY: u8 = 4;
const FORM_PACKED: u8 = 5;

/// Stand in shapes and templates where something was cut out. None of them can stand in JSON outside of texts, nor in a
/// text's spelling.
const ID: u8 = 0;
const TEXT: u8 = 1;
const BARE: u8 = 2;
const WHOLE: u8 = 3;
const TEMPLATE: u8 = 4;
/// The event's time without a fraction; with milliseconds, microseconds, nanoseconds: 6, 7, 8.
const TIME_FIRST: u8 = 5;
const MARK_MAX: u8 = 8;

/// The first letters of a word that are a key of a block's table of their own, for searches by beginning.
pub const BEGINNING_CHARS: usize = 3;

/// The key in a table for words that begin with these [`BEGINNING_CHARS`] characters.
pub fn beginning_key(beginning: &str) -> u64 {
    super::bloom::hash(beginning.as_bytes()) ^ 0x5851_F42D_4C95_7F2D
}

/// A frame with more different beginnings than these, of hexadecimal ids for instance, has nearly any: it is found under
/// [`ANY_BEGINNING`] alone.
const BEGINNINGS_MAX: usize = 1024;

/// Stands for all beginnings; no word begins with nothing else.
pub const ANY_BEGINNING: &str = "";

/// Stands for all words: a frame whose words would cost more than they are worth is found under it alone.
pub const ANY_WORD: &str = "";

/// The key of a word in a table.
pub fn word_key(word: &str) -> u64 {
    super::bloom::hash(word.as_bytes())
}

/// Where the first [`BEGINNING_CHARS`] characters of a word end; `None` when it has fewer.
pub fn beginning_of(word: &str) -> Option<&str> {
    let (last, c) = word.char_indices().nth(BEGINNING_CHARS - 1)?;
    Some(&word[..last + c.len_utf8()])
}

/// A block cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlockError {
    /// A newer Daybook wrote it.
    #[error("blocks have form {0}, this daybook reads up to {FORM}; start a newer daybook")]
    NewerForm(u32),
    /// Its bytes are not what was written.
    #[error("blocks are damaged: {0}")]
    Damaged(&'static str),
    /// The work it was for shall stop.
    #[error("interrupted")]
    Interrupted,
}
