//! Blocks of several segments as those of one.

use std::io::{self, Write};

use super::file::{BlocksFile, OpenBlock};
use super::writer::{BlockSize, BlocksWriter};

/// Blocks are taken over as they are when they have at least one part in so many of the documents that a block may have;
/// smaller ones are joined, and older ones without tables written anew, which costs as much as taking their documents in again.
const COPIED_PART_OPEN: usize = 4;
/// For a day that is over that work is done once.
const COPIED_PART_SEALED: usize = 1;

/// A segment that is merged.
pub struct MergeInput<'a> {
    /// Its blocks.
    pub file: &'a BlocksFile,
    /// Whether a document is kept; `None` when all are.
    pub is_alive: Option<&'a dyn Fn(u32) -> bool>,
    /// The time of a document, in nanoseconds since 1970.
    pub timestamp: &'a dyn Fn(u32) -> i64,
}

/// How many documents are taken in between two looks at whether to go on.
const DOCUMENTS_PER_CHECK: u32 = 4096;

/// Writes, in blocks of this size, the documents of all inputs, one input behind the other, those left out that are not alive.
///
/// # Errors
/// An input is damaged, or the output could not be written; `Interrupted` when `is_given_up`.
pub fn merge<W: Write>(
    inputs: &[MergeInput],
    size: BlockSize,
    is_given_up: &dyn Fn() -> bool,
    out: W,
) -> io::Result<W> {
    let check = || match is_given_up() {
        true => Err(io::ErrorKind::Interrupted.into()),
        false => Ok::<(), io::Error>(()),
    };
    let mut writer = BlocksWriter::new(out, size)?;
    let part = match size {
        BlockSize::Open => COPIED_PART_OPEN,
        BlockSize::Sealed => COPIED_PART_SEALED,
    };
    let copied_min = size.documents() / part;
    let mut source = Vec::new();
    for input in inputs {
        for (number, place) in input.file.places().iter().enumerate() {
            let documents = place.first_document..place.end_document();
            let are_alive = input
                .is_alive
                .is_none_or(|is_alive| documents.clone().all(is_alive));
            let is_large = place.entry.document_count as usize >= copied_min;
            check()?;
            if are_alive && is_large && input.file.has_tables() {
                writer.copy_block(input.file, number)?;
                continue;
            }
            let damaged = |error| io::Error::new(io::ErrorKind::InvalidData, error);
            let block = OpenBlock::new(input.file, number).map_err(damaged)?;
            for document in documents {
                if input.is_alive.is_some_and(|is_alive| !is_alive(document)) {
                    continue;
                }
                let timestamp = (input.timestamp)(document);
                source.clear();
                let own = document - place.first_document;
                if own % DOCUMENTS_PER_CHECK == 0 {
                    check()?;
                }
                let id = block
                    .document(own, timestamp, &mut source)
                    .map_err(damaged)?;
                writer.add(&source, timestamp, id.as_deref(), &mut |_, _, _| ())?;
            }
        }
    }
    writer.finish()
}
