//! Walks through one segment file: whole records, and the holes between them.
//!
//! The one place where a segment's bytes are read: at open, by readers and by `verify`. Where bytes are no record,
//! it looks for the next mark with a right checksum. Memory: one chunk, or the largest record.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use event::Position;
use rustix::io::Errno;

use crate::Error;
use crate::file_system::File;
use crate::record::{
    FORMAT_VERSION, RECORD_HEADER_BYTES, RECORD_MARK, RecordHeader, SEGMENT_HEADER_BYTES,
    SegmentHeader,
};

/// How much is read at a time: large enough for the disk's full speed, small enough to have one per reader.
const CHUNK_BYTES: usize = 256 << 10;
/// A part of the file that cannot be read is left out in steps of a disk's block.
const BLOCK_BYTES: usize = 4096;

/// Reads one segment from its first record on, up to an end that may move on.
pub(crate) struct Scanner {
    file: Arc<dyn File>,
    path: PathBuf,
    segment_first: Position,
    /// Where the next record must begin at least.
    expected: Position,
    /// Where the last record must end at most.
    limit: Position,
    /// Nothing at or behind this byte is read.
    end: u64,
    /// Where `buffer` begins in the file.
    offset: u64,
    buffer: BytesMut,
    hole_from: Option<u64>,
}

/// A whole record.
pub(crate) struct Found {
    /// Its header.
    pub header: RecordHeader,
    /// Where it begins in the file.
    pub offset: u64,
    /// Its bytes.
    pub payload: Bytes,
    /// The hole before it, if there is one.
    pub hole: Option<Hole>,
}

/// Bytes that are no record, before one that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hole {
    /// Where they begin in the file.
    pub offset: u64,
    /// How many they are.
    pub bytes: u64,
    /// Where the record before it ended.
    pub first: Position,
    /// How many positions are missing: exact, because the record behind it says where it begins.
    pub events_lost: u64,
}

impl Scanner {
    /// A scanner of the segment that begins at `segment_first`, up to byte `end`.
    pub fn new(file: Arc<dyn File>, path: PathBuf, segment_first: Position, end: u64) -> Scanner {
        Scanner {
            file,
            path,
            segment_first,
            expected: segment_first,
            limit: Position(u64::MAX),
            end,
            offset: SEGMENT_HEADER_BYTES as u64,
            buffer: BytesMut::new(),
            hole_from: None,
        }
    }

    /// Takes no record that ends behind `limit`: that is where the next segment's events begin, and what stands
    /// here beyond was never accepted.
    pub fn with_limit(self, limit: Position) -> Scanner {
        Scanner { limit, ..self }
    }

    /// More of the file may be read.
    pub fn move_end(&mut self, end: u64) {
        self.end = end;
    }

    /// The next whole record; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read, or a newer Daybook wrote the record.
    pub fn next(&mut self) -> Result<Option<Found>, Error> {
        loop {
            let Some(header) = self.next_header()? else {
                return Ok(None);
            };
            let offset = self.offset;
            let is_in_file = header.record_bytes() <= self.end.saturating_sub(offset);
            let record_bytes = header.record_bytes() as usize;
            if !is_in_file || !self.fill(record_bytes)? {
                self.begin_hole();
                self.skip_to_end();
                return Ok(None);
            }
            let payload_crc = crc32fast::hash(&self.buffer[RECORD_HEADER_BYTES..record_bytes]);
            if payload_crc != header.payload_crc {
                // The header is whole, so its length is right: nothing inside the payload can pose as a record.
                self.begin_hole();
                self.skip(record_bytes);
                continue;
            }
            if !header.is_readable() {
                return Err(Error::NewerFormat {
                    path: self.path.clone(),
                    what: "codec",
                    found: u32::from(header.codec),
                    supported: 0,
                });
            }
            return Ok(Some(self.take_record(header)));
        }
    }

    fn take_record(&mut self, header: RecordHeader) -> Found {
        let offset = self.offset;
        let hole = self.hole_from.take().map(|from| Hole {
            offset: from,
            bytes: offset - from,
            first: self.expected,
            events_lost: header.first.0 - self.expected.0,
        });
        let mut payload = self
            .buffer
            .split_to(header.record_bytes() as usize)
            .freeze();
        self.offset += header.record_bytes();
        self.expected = header.end();
        Found {
            header,
            offset,
            payload: payload.split_off(RECORD_HEADER_BYTES),
            hole,
        }
    }

    /// Goes to the next header with a right checksum.
    fn next_header(&mut self) -> Result<Option<RecordHeader>, Error> {
        while self.fill(RECORD_HEADER_BYTES)? {
            if let Some(header) = self.header_here() {
                return Ok(Some(header));
            }
            self.begin_hole();
            // The last bytes of the buffer may be the beginning of a mark.
            let kept_bytes = RECORD_MARK.len() - 1;
            let next_mark = memchr::memmem::find(&self.buffer[1..], &RECORD_MARK);
            let skipped = next_mark.map_or(self.buffer.len() - kept_bytes, |at| at + 1);
            self.skip(skipped);
        }
        if self.offset < self.end {
            self.begin_hole();
            self.skip_to_end();
        }
        Ok(None)
    }

    fn header_here(&self) -> Option<RecordHeader> {
        let bytes = self.buffer.first_chunk::<RECORD_HEADER_BYTES>()?;
        let header = RecordHeader::decode(bytes, self.segment_first)?;
        let is_in_order = header.first >= self.expected && header.end() <= self.limit;
        is_in_order.then_some(header)
    }

    fn begin_hole(&mut self) {
        self.hole_from.get_or_insert(self.offset);
    }

    fn skip(&mut self, bytes: usize) {
        let _ = self.buffer.split_to(bytes);
        self.offset += bytes as u64;
    }

    fn skip_to_end(&mut self) {
        self.buffer.clear();
        self.offset = self.end;
    }

    /// Reads on until `wanted` bytes are there; `false` when there are not so many before the end.
    fn fill(&mut self, wanted: usize) -> Result<bool, Error> {
        let wanted_end = self.offset + wanted as u64;
        if wanted_end > self.end {
            return Ok(false);
        }
        while self.buffer.len() < wanted {
            let kept = self.buffer.len();
            let at = self.offset + kept as u64;
            let missing = (wanted - kept).max(CHUNK_BYTES);
            let missing = missing.min(usize::try_from(self.end - at).unwrap_or(missing));
            self.buffer.resize(kept + missing, 0);
            let read = read_or_blank(&*self.file, &mut self.buffer[kept..], at);
            let read = match read {
                Ok(read) => read,
                Err(error) => {
                    self.buffer.truncate(kept);
                    return Err(Error::io("read", &self.path, error));
                }
            };
            self.buffer.truncate(kept + read);
            if read == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Reads a segment's header: `None` when it is damaged or belongs to a file of another name.
///
/// # Errors
/// The file cannot be read, or a newer Daybook wrote it.
pub(crate) fn read_segment_header(
    file: &dyn File,
    path: &Path,
    first: Position,
) -> Result<Option<SegmentHeader>, Error> {
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    let mut filled = 0;
    while filled < bytes.len() {
        let read = read_or_blank(file, &mut bytes[filled..], filled as u64)
            .map_err(|error| Error::io("read", path, error))?;
        if read == 0 {
            return Ok(None);
        }
        filled += read;
    }
    let Some(header) = SegmentHeader::decode(&bytes) else {
        return Ok(None);
    };
    if header.version > FORMAT_VERSION {
        return Err(Error::NewerFormat {
            path: path.to_owned(),
            what: "format",
            found: header.version,
            supported: FORMAT_VERSION,
        });
    }
    let is_sound = header.version == FORMAT_VERSION
        && header.first == first
        && header.previous_end <= header.first;
    Ok(is_sound.then_some(header))
}

/// Reads as [`File::read_at`]; blocks that the disk cannot read any more are blank, and so become holes.
fn read_or_blank(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let is_unreadable = |error: &io::Error| error.raw_os_error() == Some(Errno::IO.raw_os_error());
    match file.read_at(buffer, offset) {
        Err(error) if is_unreadable(&error) => {}
        result => return result,
    }
    let mut filled = 0;
    while filled < buffer.len() {
        let at = offset + filled as u64;
        let block_bytes = BLOCK_BYTES - (at % BLOCK_BYTES as u64) as usize;
        let block_end = (filled + block_bytes).min(buffer.len());
        let block = &mut buffer[filled..block_end];
        match file.read_at(block, at) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if is_unreadable(&error) => {
                block.fill(0);
                filled = block_end;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
