//! What is known about one content: bytes that are only ever appended to, whatever file holds them.
//!
//! A file gets a new life when it is truncated; a life moves to another file when the first one was renamed away,
//! copied and truncated, or compressed. Its record is what a checkpoint holds.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use bytes::{Buf, BufMut, Bytes};
use event::Timestamp;

use super::content::{FileKey, Fingerprint};
use super::encoding::Encoding;

/// The first bytes of a content by which it is known again; less is too often the same banner or header line.
pub const HEAD_BYTES: usize = 1024;
/// The bytes before the offset by which it is seen that a file was replaced under our feet.
pub const ANCHOR_BYTES: usize = 64;

const RECORD_VERSION: u8 = 1;
const IS_SKIPPING: u8 = 1;
const IS_FINISHED: u8 = 2;
const IS_TRUNCATED: u8 = 4;
/// Two bits: which byte order mark it began with.
const MARK_SHIFT: u8 = 3;
const MARKS: [Option<Encoding>; 4] = [
    None,
    Some(Encoding::Utf8),
    Some(Encoding::Utf16Le),
    Some(Encoding::Utf16Be),
];

/// One content and how far it has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// The file that holds it, or held it last.
    pub key: FileKey,
    /// The path it was first seen under; events carry it also after a rotation.
    pub path: PathBuf,
    /// Its first bytes, at most [`HEAD_BYTES`].
    pub head: Fingerprint,
    /// Where reading began: 0, or the end of the file when the source starts there.
    pub base: u64,
    /// How far it has been read: the end of the last event.
    pub offset: u64,
    /// CRC-32 of the bytes from `base` to `offset`.
    pub crc: u32,
    /// The bytes before `offset`, at most [`ANCHOR_BYTES`].
    pub anchor: Fingerprint,
    /// Whether `offset` is inside a line that was cut, whose rest is to be skipped.
    pub is_skipping: bool,
    /// The encoding its byte order mark names, once that was read.
    pub mark: Option<Encoding>,
    /// Whether it was read to the end of a compressed file.
    pub is_finished: bool,
    /// Whether its file was truncated, so that only a copy may still hold it.
    pub is_truncated: bool,
    /// Whether the record differs from the one last put into a checkpoint.
    pub is_changed: bool,
    /// When no file held it any more; not kept over a restart.
    pub lost_at: Option<Timestamp>,
    /// Its very first bytes, as far as they were seen since the start: with thousands of files most are told apart by
    /// them, without looking into each.
    pub start: Start,
}

/// The first bytes of a content, at most [`START_BYTES`]. Not part of its record.
#[derive(Debug, Clone, Default)]
pub struct Start(Box<[u8]>);

/// Enough for a time and the beginning of a message.
pub const START_BYTES: usize = 128;

impl Start {
    /// Of bytes from the very beginning.
    pub fn of(bytes: &[u8]) -> Start {
        Start(bytes[..bytes.len().min(START_BYTES)].into())
    }

    /// Whether these first bytes could be followed by the same content.
    pub fn may_be_of(&self, head: &[u8]) -> bool {
        let both = self.0.len().min(head.len());
        self.0[..both] == head[..both]
    }

    /// Whether more bytes would tell more.
    pub fn is_short_of(&self, head: &[u8]) -> bool {
        self.0.len() < head.len().min(START_BYTES)
    }
}

/// What is seen of a content is no difference between two records of it.
impl PartialEq for Start {
    fn eq(&self, _: &Start) -> bool {
        true
    }
}

impl Eq for Start {}

impl Life {
    /// A content nothing of was read.
    pub fn new(key: FileKey, path: PathBuf, head: Fingerprint) -> Life {
        Life {
            key,
            path,
            head,
            base: 0,
            offset: 0,
            crc: 0,
            anchor: Fingerprint::of(b""),
            is_skipping: false,
            mark: None,
            is_finished: false,
            is_truncated: false,
            is_changed: false,
            lost_at: None,
            start: Start::default(),
        }
    }

    /// Moves on over bytes that were read: the last `consumed` bytes of `seen`, which begins with the anchor.
    pub fn advance(&mut self, seen: &[u8], consumed: usize) {
        debug_assert!(consumed <= seen.len());
        let mut crc = crc32fast::Hasher::new_with_initial(self.crc);
        crc.update(&seen[seen.len() - consumed..]);
        self.crc = crc.finalize();
        self.offset += consumed as u64;
        self.anchor = Fingerprint::of(&seen[seen.len().saturating_sub(ANCHOR_BYTES)..]);
        self.is_changed = true;
    }

    /// The record for a checkpoint: version, flags, then big-endian numbers, then the path's bytes.
    pub fn encode(&self) -> Bytes {
        let path = self.path.as_os_str().as_bytes();
        let mut out = Vec::with_capacity(72 + path.len());
        out.put_u8(RECORD_VERSION);
        let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
        let mark = MARKS.iter().position(|mark| *mark == self.mark);
        out.put_u8(
            flag(self.is_skipping, IS_SKIPPING)
                | flag(self.is_finished, IS_FINISHED)
                | flag(self.is_truncated, IS_TRUNCATED)
                | (mark.unwrap_or(0) as u8) << MARK_SHIFT,
        );
        out.put_u64(self.key.device);
        out.put_u64(self.key.inode);
        out.put_u64(self.base);
        out.put_u64(self.offset);
        out.put_u32(self.crc);
        for fingerprint in [self.head, self.anchor] {
            out.put_u16(fingerprint.length);
            out.put_u64(fingerprint.hash);
        }
        out.put_slice(path);
        Bytes::from(out)
    }

    /// Reads a record; `None` when it is none of ours.
    pub fn decode(mut record: &[u8]) -> Option<Life> {
        let version = record.try_get_u8().ok()?;
        let flags = record.try_get_u8().ok()?;
        let key = FileKey {
            device: record.try_get_u64().ok()?,
            inode: record.try_get_u64().ok()?,
        };
        let base = record.try_get_u64().ok()?;
        let offset = record.try_get_u64().ok()?;
        let crc = record.try_get_u32().ok()?;
        let head = decode_fingerprint(&mut record)?;
        let anchor = decode_fingerprint(&mut record)?;
        let is_sound = version == RECORD_VERSION
            && base <= offset
            && u64::from(anchor.length) <= offset
            && usize::from(anchor.length) <= ANCHOR_BYTES
            && usize::from(head.length) <= HEAD_BYTES;
        is_sound.then(|| Life {
            key,
            path: PathBuf::from(std::ffi::OsString::from_vec(record.to_vec())),
            head,
            base,
            offset,
            crc,
            anchor,
            is_skipping: flags & IS_SKIPPING != 0,
            mark: MARKS[usize::from(flags >> MARK_SHIFT & 3)],
            is_finished: flags & IS_FINISHED != 0,
            is_truncated: flags & IS_TRUNCATED != 0,
            is_changed: false,
            lost_at: None,
            start: Start::default(),
        })
    }
}

fn decode_fingerprint(record: &mut &[u8]) -> Option<Fingerprint> {
    Some(Fingerprint {
        length: record.try_get_u16().ok()?,
        hash: record.try_get_u64().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let key = FileKey {
            device: 7,
            inode: 9,
        };
        let mut life = Life::new(
            key,
            PathBuf::from("/var/log/x.log"),
            Fingerprint::of(b"one"),
        );
        life.advance(b"one\n", 4);
        life.is_skipping = true;
        life.mark = Some(Encoding::Utf16Be);
        let mut expected = life.clone();
        expected.is_changed = false;
        assert_eq!(Life::decode(&life.encode()), Some(expected));
        assert_eq!((life.offset, life.crc), (4, crc32fast::hash(b"one\n")));
        life.advance(b"one\ntwo\n", 4);
        assert_eq!(life.crc, crc32fast::hash(b"one\ntwo\n"));
        assert_eq!(life.anchor, Fingerprint::of(b"one\ntwo\n"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Life::decode(&bytes);
        }
    }
}
