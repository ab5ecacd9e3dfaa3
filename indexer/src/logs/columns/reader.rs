//! A file of columns, read.

use std::io;

use tantivy::columnar::ColumnarReader;
use tantivy::directory::{FileSlice, OwnedBytes};

use super::encode::{decode, open_columnar};
use super::file::{ColumnEntry, ColumnKind, FOOTER_BYTES, Footer, OpenError, PathSummary};
use crate::logs::reader::ValueColumn;
use crate::logs::segment::is_at_or_under;

/// The columns of one segment. Only the directory is in memory; columns are opened when asked for.
pub struct ColumnsFile {
    columns: FileSlice,
    document_count: u32,
    /// Ascending.
    paths: Vec<(Box<str>, PathSummary)>,
}

impl ColumnsFile {
    /// Reads the directory of a file.
    ///
    /// # Errors
    /// [`OpenError::NewerFormat`] when a newer Daybook wrote it; the others when it is damaged or cannot be read.
    pub fn open(file: FileSlice) -> Result<ColumnsFile, OpenError> {
        let too_short = OpenError::Damaged("ends too early");
        if file.num_bytes().get_bytes() < FOOTER_BYTES as u64 {
            return Err(too_short);
        }
        let (file, footer) = file.split_from_end(FOOTER_BYTES);
        let footer = Footer::parse(&footer.read_bytes()?)?;
        let length = file.num_bytes().get_bytes();
        let Some(columns_length) = length.checked_sub(footer.directory_length) else {
            return Err(too_short);
        };
        let (columns, directory) = file.split_from_end(footer.directory_length as usize);
        Ok(ColumnsFile {
            paths: footer.paths(&directory.read_bytes()?, columns_length)?,
            document_count: footer.document_count,
            columns,
        })
    }

    /// How many documents the segment has, deleted ones included.
    pub fn document_count(&self) -> u32 {
        self.document_count
    }

    /// Every path with what it has, ascending.
    pub fn paths(&self) -> impl Iterator<Item = (&str, &PathSummary)> {
        self.paths.iter().map(|(path, summary)| (&**path, summary))
    }

    /// What one path has; `None` when no document has a value under it.
    pub fn path(&self, path: &str) -> Option<&PathSummary> {
        let at = self
            .paths
            .binary_search_by(|(known, _)| (**known).cmp(path))
            .ok()?;
        Some(&self.paths[at].1)
    }

    /// Every path at `path` or below it, ascending.
    pub fn under<'s>(&'s self, path: &'s str) -> impl Iterator<Item = (&'s str, &'s PathSummary)> {
        let first = self.paths.partition_point(|(known, _)| **known < *path);
        self.paths[first..]
            .iter()
            .map(|(known, summary)| (&**known, summary))
            .take_while(move |(known, _)| known.starts_with(path))
            .filter(move |(known, _)| is_at_or_under(known, path))
    }

    /// All columns of a path: numbers, texts, booleans, times; as tantivy orders the columns of a JSON field. None when
    /// the path has none.
    ///
    /// The first time, the bytes of each are read to check them.
    ///
    /// # Errors
    /// A column is damaged or cannot be read.
    pub fn columns(&self, path: &str) -> tantivy::Result<Vec<ValueColumn>> {
        let entries = self.path(path).map_or(&[][..], |summary| &summary.columns);
        let mut columns = Vec::with_capacity(entries.len());
        for entry in entries {
            columns.push(decode(entry, self.bytes(entry)?)?);
        }
        Ok(columns)
    }

    /// The columns of a path, but not its texts.
    pub(super) fn columns_but_texts(&self, path: &str) -> io::Result<Vec<ValueColumn>> {
        let entries = self.path(path).map_or(&[][..], |summary| &summary.columns);
        let mut columns = Vec::with_capacity(entries.len());
        for entry in entries
            .iter()
            .filter(|entry| entry.kind != ColumnKind::Text)
        {
            columns.push(decode(entry, self.bytes(entry)?)?);
        }
        Ok(columns)
    }

    /// The columnar with the texts of a path.
    pub(super) fn texts(&self, path: &str) -> io::Result<Option<ColumnarReader>> {
        let entries = self.path(path).map_or(&[][..], |summary| &summary.columns);
        let entry = entries.iter().find(|entry| entry.kind == ColumnKind::Text);
        entry
            .map(|entry| open_columnar(self.bytes(entry)?))
            .transpose()
    }

    fn bytes(&self, entry: &ColumnEntry) -> io::Result<OwnedBytes> {
        // Within the file: the directory's columns fill the file up to the directory.
        let start = entry.start as usize;
        let bytes = self
            .columns
            .read_bytes_slice(start..start + entry.length as usize)?;
        if entry.is_of(&bytes) {
            return Ok(bytes);
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("wrong checksum of the column at byte {start}"),
        ))
    }
}
