//! The bytes of a file by their offset, whether they lie on disk plain or compressed by gzip.

use std::fs::{File, Metadata};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use xxhash_rust::xxh3::xxh3_64;

const GZIP_MAGIC: &[u8] = &[0x1F, 0x8B];
/// Compressed bytes are read in pieces of this size.
const COMPRESSED_PIECE_BYTES: usize = 64 << 10;

/// Which file it is, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey {
    /// The device's number.
    pub device: u64,
    /// The inode's number on it.
    pub inode: u64,
}

impl FileKey {
    /// No file's: inodes are numbered from 1.
    pub const NONE: FileKey = FileKey {
        device: 0,
        inode: 0,
    };
}

/// What the file system says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Which file it is.
    pub key: FileKey,
    /// Bytes on disk.
    pub size: u64,
    /// When it was written last, nanoseconds; only compared with itself.
    pub modified_nanos: i128,
    /// Whether no name leads to it any more.
    pub is_unlinked: bool,
    /// Whether it is a file with contents, and no pipe, folder or device.
    pub is_regular: bool,
}

impl Stat {
    /// Asks for a path; links are followed.
    ///
    /// # Errors
    /// Those of `stat`.
    pub fn of_path(path: &Path) -> io::Result<Stat> {
        Ok(Stat::of(&std::fs::metadata(path)?))
    }

    fn of(metadata: &Metadata) -> Stat {
        Stat {
            key: FileKey {
                device: metadata.dev(),
                inode: metadata.ino(),
            },
            size: metadata.len(),
            modified_nanos: i128::from(metadata.mtime()) * 1_000_000_000
                + i128::from(metadata.mtime_nsec()),
            is_unlinked: metadata.nlink() == 0,
            is_regular: metadata.is_file(),
        }
    }

    /// Whether nothing was written between the two.
    pub fn is_unchanged_since(&self, earlier: &Stat) -> bool {
        self.size == earlier.size && self.modified_nanos == earlier.modified_nanos
    }
}

/// Length and hash of some bytes, to know them again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fingerprint {
    /// How many bytes.
    pub length: u16,
    /// Their XXH3.
    pub hash: u64,
}

impl Fingerprint {
    /// Of these bytes, at most 65,535 of them.
    pub fn of(bytes: &[u8]) -> Fingerprint {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        Fingerprint {
            length,
            hash: xxh3_64(&bytes[..usize::from(length)]),
        }
    }

    /// Whether `bytes` begin with the bytes this was taken of.
    pub fn is_start_of(&self, bytes: &[u8]) -> bool {
        bytes
            .get(..usize::from(self.length))
            .is_some_and(|start| xxh3_64(start) == self.hash)
    }
}

/// Why a read stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As many bytes as wanted were there.
    More,
    /// The file ends here, for now.
    OfFile,
    /// The compressed stream breaks off: still being written, or damaged.
    BrokenOff,
}

/// An open file.
pub struct Content {
    file: Arc<File>,
    gzip: Option<Box<Gzip>>,
}

/// Decompressed bytes come in order only, so the last ones wanted are kept for being asked for again.
struct Gzip {
    decoder: MultiGzDecoder<BufReader<FromStart>>,
    window: Vec<u8>,
    window_start: u64,
    end: Option<End>,
}

/// Reads a shared file with a position of its own.
struct FromStart {
    file: Arc<File>,
    position: u64,
}

impl Content {
    /// Opens a file and looks at its first bytes to see whether it is compressed.
    ///
    /// # Errors
    /// Those of opening and reading. `WouldBlock` cannot occur: what is no regular file is `InvalidInput`.
    pub fn open(path: &Path) -> io::Result<(Content, Stat)> {
        // A pipe put in the place of a file must not block the opening.
        let nonblock = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let file = File::options()
            .read(true)
            .custom_flags(nonblock)
            .open(path)?;
        let stat = Stat::of(&file.metadata()?);
        if !stat.is_regular {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "no regular file",
            ));
        }
        let mut content = Content {
            file: Arc::new(file),
            gzip: None,
        };
        let mut magic = Vec::new();
        content.read_at(0, GZIP_MAGIC.len(), &mut magic)?;
        if magic == GZIP_MAGIC {
            content.gzip = Some(Box::new(Gzip::new(Arc::clone(&content.file))));
        }
        Ok((content, stat))
    }

    /// Whether it is compressed.
    pub fn is_gzip(&self) -> bool {
        self.gzip.is_some()
    }

    /// What the file system says of the open file.
    ///
    /// # Errors
    /// Those of `fstat`.
    pub fn stat(&self) -> io::Result<Stat> {
        Ok(Stat::of(&self.file.metadata()?))
    }

    /// Replaces `into` by up to `length` bytes from `offset` on, decompressed.
    ///
    /// Going back further than the last call's offset starts a decompression over; going on is free.
    ///
    /// # Errors
    /// Those of reading.
    pub fn read_at(&mut self, offset: u64, length: usize, into: &mut Vec<u8>) -> io::Result<End> {
        match &mut self.gzip {
            Some(gzip) => gzip.read_at(&self.file, offset, length, into),
            None => read_plain(&self.file, offset, length, into),
        }
    }
}

fn read_plain(file: &File, offset: u64, length: usize, into: &mut Vec<u8>) -> io::Result<End> {
    into.resize(length, 0);
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut into[filled..], offset + filled as u64) {
            Ok(0) => {
                into.truncate(filled);
                return Ok(End::OfFile);
            }
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(End::More)
}

impl Gzip {
    fn new(file: Arc<File>) -> Gzip {
        let from_start = FromStart { file, position: 0 };
        Gzip {
            decoder: MultiGzDecoder::new(BufReader::with_capacity(
                COMPRESSED_PIECE_BYTES,
                from_start,
            )),
            window: Vec::new(),
            window_start: 0,
            end: None,
        }
    }

    fn read_at(
        &mut self,
        file: &Arc<File>,
        offset: u64,
        length: usize,
        into: &mut Vec<u8>,
    ) -> io::Result<End> {
        if offset < self.window_start {
            *self = Gzip::new(Arc::clone(file));
        }
        loop {
            let behind = usize::try_from(offset - self.window_start).unwrap_or(usize::MAX);
            let dropped = behind.min(self.window.len());
            self.window.drain(..dropped);
            self.window_start += dropped as u64;
            let is_there = self.window_start == offset;
            if (is_there && self.window.len() >= length) || self.end.is_some() {
                let count = if is_there {
                    self.window.len().min(length)
                } else {
                    0
                };
                into.clear();
                into.extend_from_slice(&self.window[..count]);
                let is_all = is_there && count == length;
                return Ok(self.end.filter(|_| !is_all).unwrap_or(End::More));
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let old = self.window.len();
        self.window.resize(old + COMPRESSED_PIECE_BYTES, 0);
        let read = self.decoder.read(&mut self.window[old..]);
        self.window.truncate(old + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => self.end = Some(End::OfFile),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // The decoder says these of the compressed bytes; the disk has other words.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::UnexpectedEof
                        | io::ErrorKind::InvalidInput
                        | io::ErrorKind::InvalidData
                ) =>
            {
                self.end = Some(End::BrokenOff);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn compressed_bytes_are_read_by_offset_like_plain_ones() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..300_000u32)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect();
        let compressed = [gzip(&bytes[..100]), gzip(&bytes[100..])].concat();
        let cases = [
            ("plain", bytes.clone(), false),
            ("members.gz", compressed, true),
        ];
        for (name, on_disk, is_gzip) in cases {
            let path = folder.path().join(name);
            std::fs::write(&path, on_disk).unwrap();
            let (mut content, stat) = Content::open(&path).unwrap();
            assert!(stat.is_regular && content.is_gzip() == is_gzip);
            let mut read = Vec::new();
            for (offset, length) in [
                (0, 10),
                (5, 100),
                (200_000, 50),
                (199_000, 10),
                (0, 300_000),
            ] {
                assert_eq!(
                    content.read_at(offset, length, &mut read).unwrap(),
                    End::More
                );
                assert_eq!(read, bytes[offset as usize..][..length]);
            }
            assert_eq!(
                content.read_at(299_990, 11, &mut read).unwrap(),
                End::OfFile
            );
            assert_eq!(read, bytes[299_990..]);
            assert_eq!(
                content.read_at(400_000, 11, &mut read).unwrap(),
                End::OfFile
            );
            assert_eq!(read, b"");
        }
    }

    #[test]
    fn a_broken_off_stream_gives_what_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.gz");
        let compressed = gzip(&b"0123456789".repeat(100));
        std::fs::write(&path, &compressed[..compressed.len() - 9]).unwrap();
        let (mut content, _) = Content::open(&path).unwrap();
        let mut read = Vec::new();
        assert_eq!(content.read_at(0, 5000, &mut read).unwrap(), End::BrokenOff);
        assert!(read.len() <= 1000 && b"0123456789".repeat(100).starts_with(&read));
    }
}
