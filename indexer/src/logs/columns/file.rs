//! The file around the columns: its directory and footer, written and read. `mod.rs` draws the format.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::is_too_distinct;

/// The format this build writes. A file with a newer one is refused.
const VERSION: u8 = 1;

const MAGIC: [u8; 7] = *b"columns";

pub const FOOTER_BYTES: usize = 32;

/// The part of the footer that its checksum covers.
const FOOTER_BYTES_CHECKED: usize = 16;

/// A directory entry of a path without a name and columns; no path takes less.
const PATH_BYTES_MIN: usize = 4 + 1 + 8 + 8 + 1;

const HAS_FULL_TEXT: u8 = 1;
const IS_TOO_DISTINCT: u8 = 2;

/// `decimals` of a column that is not scaled.
pub const NOT_SCALED: u8 = u8::MAX;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ColumnKind {
    /// Whole numbers.
    Integer,
    /// Whole numbers, some above `i64::MAX`.
    Unsigned,
    /// Numbers.
    Float,
    /// Texts.
    Text,
    /// Booleans.
    Bool,
    /// Times.
    Time,
}

impl ColumnKind {
    const ALL: [ColumnKind; 6] = [
        ColumnKind::Integer,
        ColumnKind::Unsigned,
        ColumnKind::Float,
        ColumnKind::Text,
        ColumnKind::Bool,
        ColumnKind::Time,
    ];

    /// How it is written in files: never change one.
    fn code(self) -> u8 {
        match self {
            ColumnKind::Integer => 0,
            ColumnKind::Unsigned => 1,
            ColumnKind::Float => 2,
            ColumnKind::Text => 3,
            ColumnKind::Bool => 4,
            ColumnKind::Time => 5,
        }
    }

    fn of_code(code: u8) -> Option<ColumnKind> {
        ColumnKind::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// What a segment has under one path.
#[derive(Debug, Default)]
pub struct PathSummary {
    /// Whether some texts have no column by their nature; the path may have a column of other texts all the same.
    pub has_full_text: bool,
    /// Whether no text has a column because too many of them are distinct.
    pub is_too_distinct: bool,
    /// How many texts it has, full texts not counted. After a merge of a path that is too distinct, deleted ones are
    /// counted too.
    pub text_count: u64,
    /// How many different texts its column has; 0 without a column.
    pub distinct_text_count: u64,
    pub(super) columns: Vec<ColumnEntry>,
}

/// Where a column lies in the file.
#[derive(Debug)]
pub struct ColumnEntry {
    pub kind: ColumnKind,
    pub decimals: u8,
    pub start: u64,
    pub length: u64,
    pub checksum: u64,
    /// Whether its bytes were found to have the checksum.
    pub is_checked: AtomicBool,
}

impl PathSummary {
    /// The kinds of its columns, in the order [`super::ColumnsFile::columns`] gives them.
    pub fn kinds(&self) -> impl Iterator<Item = ColumnKind> {
        self.columns.iter().map(|column| column.kind)
    }

    /// Whether some of its texts have no column.
    pub fn has_slot_text(&self) -> bool {
        self.has_full_text || self.is_too_distinct
    }

    /// Whether its texts have a column although they are so many different ones that they would have none by themselves.
    pub fn is_exact(&self) -> bool {
        !self.is_too_distinct && is_too_distinct(self.text_count, self.distinct_text_count)
    }

    /// The bytes of its columns.
    pub fn bytes(&self) -> u64 {
        self.columns.iter().map(|column| column.length).sum()
    }
}

/// A file of columns cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Only a newer Daybook can read it.
    #[error("columns have format {found}, this daybook knows up to {known}")]
    NewerFormat {
        /// The file's format.
        found: u8,
        /// The newest format we know.
        known: u8,
    },
    /// Its bytes are not what was written.
    #[error("columns are damaged: {0}")]
    Damaged(&'static str),
    /// Its bytes cannot be read.
    #[error("cannot read columns: {0}")]
    Io(#[from] io::Error),
}

/// Writes a file from its beginning to its end; paths must come in ascending order.
pub struct FileWriter<'o> {
    out: &'o mut dyn Write,
    directory: Vec<u8>,
    path_count: u32,
    /// The entries of the path being written.
    entries: Vec<u8>,
    entry_count: u8,
}

impl<'o> FileWriter<'o> {
    pub fn new(out: &'o mut dyn Write) -> FileWriter<'o> {
        FileWriter {
            out,
            directory: Vec::new(),
            path_count: 0,
            entries: Vec::new(),
            entry_count: 0,
        }
    }

    /// Writes a column of the next path.
    pub fn column(&mut self, kind: ColumnKind, decimals: u8, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.entries.extend([kind.code(), decimals]);
        self.entries.extend((bytes.len() as u64).to_le_bytes());
        self.entries.extend(xxh3_64(bytes).to_le_bytes());
        self.entry_count += 1;
        Ok(())
    }

    /// Ends a path; one without any values is left out. The columns of `summary` are not looked at.
    pub fn end_path(&mut self, path: &str, summary: &PathSummary) {
        if self.entry_count == 0 && !summary.has_slot_text() {
            return;
        }
        let mut flags = 0;
        if summary.has_full_text {
            flags |= HAS_FULL_TEXT;
        }
        if summary.is_too_distinct {
            flags |= IS_TOO_DISTINCT;
        }
        let directory = &mut self.directory;
        directory.extend((path.len() as u32).to_le_bytes());
        directory.extend(path.as_bytes());
        directory.push(flags);
        directory.extend(summary.text_count.to_le_bytes());
        directory.extend(summary.distinct_text_count.to_le_bytes());
        directory.push(self.entry_count);
        directory.append(&mut self.entries);
        self.entry_count = 0;
        self.path_count += 1;
    }

    /// Ends the file.
    pub fn finish(self, document_count: u32) -> io::Result<()> {
        let mut footer = Vec::with_capacity(FOOTER_BYTES);
        footer.extend((self.directory.len() as u64).to_le_bytes());
        footer.extend(self.path_count.to_le_bytes());
        footer.extend(document_count.to_le_bytes());
        footer.extend(directory_checksum(&self.directory, &footer).to_le_bytes());
        footer.push(VERSION);
        footer.extend(MAGIC);
        self.out.write_all(&self.directory)?;
        self.out.write_all(&footer)
    }
}

fn directory_checksum(directory: &[u8], footer_start: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(directory);
    hash.update(footer_start);
    hash.digest()
}

/// The end of a file.
#[derive(Clone, Copy)]
pub struct Footer {
    pub directory_length: u64,
    pub path_count: u32,
    pub document_count: u32,
    checksum: u64,
    start: [u8; FOOTER_BYTES_CHECKED],
}

impl Footer {
    /// Reads the last bytes of a file.
    pub fn parse(bytes: &[u8]) -> Result<Footer, OpenError> {
        let mut rest = Bytes(bytes);
        let start = rest.array()?;
        let checksum = u64::from_le_bytes(rest.array()?);
        let [version] = rest.array()?;
        if rest.array()? != MAGIC {
            return Err(OpenError::Damaged("not a file of columns"));
        }
        if version > VERSION {
            return Err(OpenError::NewerFormat {
                found: version,
                known: VERSION,
            });
        }
        if version != VERSION {
            return Err(OpenError::Damaged("no such format"));
        }
        let mut rest = Bytes(&start);
        Ok(Footer {
            directory_length: u64::from_le_bytes(rest.array()?),
            path_count: u32::from_le_bytes(rest.array()?),
            document_count: u32::from_le_bytes(rest.array()?),
            checksum,
            start,
        })
    }

    /// Reads the directory. The columns must lie in `columns_length` bytes.
    pub fn paths(
        &self,
        directory: &[u8],
        columns_length: u64,
    ) -> Result<Vec<(Box<str>, PathSummary)>, OpenError> {
        if directory_checksum(directory, &self.start) != self.checksum {
            return Err(OpenError::Damaged("wrong checksum of the directory"));
        }
        let mut rest = Bytes(directory);
        let path_count = (self.path_count as usize).min(directory.len() / PATH_BYTES_MIN);
        let mut paths: Vec<(Box<str>, PathSummary)> = Vec::with_capacity(path_count);
        let mut start = 0;
        while !rest.0.is_empty() {
            let (path, summary) = rest.path(&mut start)?;
            if paths.last().is_some_and(|(last, _)| **last >= *path) {
                return Err(OpenError::Damaged("paths out of order"));
            }
            paths.push((path, summary));
        }
        if paths.len() != self.path_count as usize || start != columns_length {
            return Err(OpenError::Damaged("wrong length"));
        }
        Ok(paths)
    }
}

/// Bytes still to be read.
struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn take(&mut self, length: usize) -> Result<&'b [u8], OpenError> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(OpenError::Damaged("ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], OpenError> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("it has this length"))
    }

    /// The next path; its columns lie after `start`, which moves on.
    fn path(&mut self, start: &mut u64) -> Result<(Box<str>, PathSummary), OpenError> {
        let length = u32::from_le_bytes(self.array()?) as usize;
        let path = std::str::from_utf8(self.take(length)?)
            .map_err(|_| OpenError::Damaged("a path is not UTF-8"))?;
        let [flags] = self.array()?;
        let mut summary = PathSummary {
            has_full_text: flags & HAS_FULL_TEXT != 0,
            is_too_distinct: flags & IS_TOO_DISTINCT != 0,
            text_count: u64::from_le_bytes(self.array()?),
            distinct_text_count: u64::from_le_bytes(self.array()?),
            columns: Vec::new(),
        };
        let [column_count] = self.array()?;
        summary.columns.reserve_exact(usize::from(column_count));
        for _ in 0..column_count {
            summary.columns.push(self.entry(start)?);
        }
        Ok((path.into(), summary))
    }

    fn entry(&mut self, start: &mut u64) -> Result<ColumnEntry, OpenError> {
        let [kind, decimals] = self.array()?;
        let length = u64::from_le_bytes(self.array()?);
        let entry = ColumnEntry {
            kind: ColumnKind::of_code(kind).ok_or(OpenError::Damaged("no such kind"))?,
            decimals,
            start: *start,
            length,
            checksum: u64::from_le_bytes(self.array()?),
            is_checked: AtomicBool::new(false),
        };
        *start = start
            .checked_add(length)
            .ok_or(OpenError::Damaged("a column is too long"))?;
        Ok(entry)
    }
}

impl ColumnEntry {
    /// Whether these are its bytes; looked at only the first time.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        if self.is_checked.load(Ordering::Relaxed) {
            return true;
        }
        let is_right = xxh3_64(bytes) == self.checksum;
        self.is_checked.store(is_right, Ordering::Relaxed);
        is_right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_with_two_paths() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut file = FileWriter::new(&mut bytes);
        for path in ["a", "b"] {
            file.column(ColumnKind::Bool, NOT_SCALED, b"bytes").unwrap();
            file.end_path(path, &PathSummary::default());
        }
        file.finish(3).unwrap();
        bytes
    }

    #[test]
    fn a_newer_format_is_refused_by_its_number() {
        let mut bytes = file_with_two_paths();
        let version_at = bytes.len() - MAGIC.len() - 1;
        bytes[version_at] = VERSION + 1;
        let parsed = Footer::parse(&bytes[bytes.len() - FOOTER_BYTES..]);
        assert!(matches!(
            parsed,
            Err(OpenError::NewerFormat { found, known: VERSION }) if found == VERSION + 1
        ));
    }

    /// Invariant: lengths and counts in a directory are not believed, even if the checksum is right.
    #[test]
    fn a_directory_of_wrong_numbers_is_an_error_or_harmless() {
        let bytes = file_with_two_paths();
        let (rest, footer) = bytes.split_at(bytes.len() - FOOTER_BYTES);
        let footer = Footer::parse(footer).unwrap();
        let (columns, directory) = rest.split_at(rest.len() - footer.directory_length as usize);
        assert_eq!(
            footer.paths(directory, columns.len() as u64).unwrap().len(),
            2
        );
        for at in 0..directory.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut directory = directory.to_vec();
                directory[at] = value;
                for path_count in [0, 1, 2, u32::MAX] {
                    let mut footer = footer;
                    footer.path_count = path_count;
                    footer.checksum = directory_checksum(&directory, &footer.start);
                    if let Ok(paths) = footer.paths(&directory, columns.len() as u64) {
                        let ends = paths.iter().flat_map(|(_, summary)| &summary.columns);
                        assert!(
                            ends.map(|c| c.start + c.length).max() <= Some(columns.len() as u64)
                        );
                    }
                }
            }
        }
    }
}
