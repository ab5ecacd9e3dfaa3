//! The format of segment files, version 1. Numbers are little-endian.
//!
//! ```text
//! file name   FIRST.journal             FIRST: position of its first event, 20 digits
//! file        segment header, records   nothing in between, nothing behind
//!
//! segment header, 32 bytes              magic, version and crc keep their places in every later version
//!   0  8  magic F6 "daybook"
//!   8  4  format version
//!  12  4  crc32 of bytes 0..12 and 16..32
//!  16  8  first position, as in the file name
//!  24  8  previous end: where the records before this segment ended. Below `first` only where positions
//!         were skipped at open; so a missing file is counted exactly
//!
//! record, 40 bytes and the payload
//!   0  4  mark F7 FF "DR": no UTF-8 text contains it, so no sender's text can pose as a record
//!   4  4  crc32 of the segment's first position (8 bytes) and of bytes 8..40: a block of another segment
//!         never passes
//!   8  4  payload length
//!  12  4  crc32 of the payload
//!  16  8  first position
//!  24  8  first position of its group: when this record was written, everything before was durable
//!  32  4  count of positions; 0 for an end mark alone
//!  36  1  kind: 0 end mark, 1 events, 2 samples, 3 spans
//!  37  1  codec of the payload: 0 plain. A new codec needs a new format version
//!  38  2  zero
//! ```
//!
//! An end mark (kind 0, no payload) is written by a clean close: everything before it was accepted.

use event::Position;

/// The newest format this code reads, and the one it writes.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// Bytes of a segment's header.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 32;
/// Bytes before a record's payload.
pub(crate) const RECORD_HEADER_BYTES: usize = 40;
/// What every record begins with.
pub(crate) const RECORD_MARK: [u8; 4] = [0xF7, 0xFF, b'D', b'R'];
/// The largest payload: twice the largest request, since the form of small events is longer in the journal. It
/// bounds the memory of a reader.
pub const RECORD_BYTES_MAX: usize = 128 << 20;
/// One more than the highest position: numbers below it survive a client that reads JSON numbers as doubles.
pub(crate) const POSITION_LIMIT: u64 = 1 << 53;

const SEGMENT_MAGIC: [u8; 8] = *b"\xF6daybook";
const END_MARK_BYTE: u8 = 0;
const CODEC_PLAIN: u8 = 0;

/// What the payload of a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Log events, see [`crate::events`].
    Events,
    /// Samples of metrics.
    Samples,
    /// Spans of traces.
    Spans,
    /// A kind that a newer Daybook writes. It keeps its positions; readers skip it.
    Unknown(u8),
}

impl Kind {
    fn from_byte(byte: u8) -> Kind {
        match byte {
            1 => Kind::Events,
            2 => Kind::Samples,
            3 => Kind::Spans,
            other => Kind::Unknown(other),
        }
    }

    fn byte(self) -> u8 {
        match self {
            Kind::Events => 1,
            Kind::Samples => 2,
            Kind::Spans => 3,
            Kind::Unknown(byte) => byte,
        }
    }
}

/// The first bytes of a segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The format of everything behind it.
    pub version: u32,
    /// The position of the first event in the segment.
    pub first: Position,
    /// Where the records before this segment ended.
    pub previous_end: Position,
}

impl SegmentHeader {
    /// The header as it stands in the file.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..12].copy_from_slice(&self.version.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.previous_end.0.to_le_bytes());
        let crc = segment_crc(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header; `None` when it is damaged. Of a newer version only `version` means something.
    pub fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Option<SegmentHeader> {
        let is_whole = bytes[0..8] == SEGMENT_MAGIC && u32_at(bytes, 12) == segment_crc(bytes);
        is_whole.then(|| SegmentHeader {
            version: u32_at(bytes, 8),
            first: Position(u64_at(bytes, 16)),
            previous_end: Position(u64_at(bytes, 24)),
        })
    }
}

/// The bytes before a record's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordHeader {
    /// Bytes of the payload.
    pub payload_bytes: u32,
    /// crc32 of the payload.
    pub payload_crc: u32,
    /// The position of its first event; of an end mark, the end.
    pub first: Position,
    /// The first position of the group it was written with.
    pub group_first: Position,
    /// How many positions it occupies; 0 in an end mark alone.
    pub count: u32,
    /// The kind, as a byte: 0 is an end mark.
    pub kind_byte: u8,
    /// How the payload is compressed.
    pub codec: u8,
}

impl RecordHeader {
    /// The header of a record that holds `payload_bytes` bytes.
    pub fn of_payload(
        kind: Kind,
        count: u32,
        payload_bytes: u32,
        payload_crc: u32,
    ) -> RecordHeader {
        RecordHeader {
            payload_bytes,
            payload_crc,
            first: Position::ZERO,
            group_first: Position::ZERO,
            count,
            kind_byte: kind.byte(),
            codec: CODEC_PLAIN,
        }
    }

    /// The mark of a clean close at `end`.
    pub fn end_mark(end: Position) -> RecordHeader {
        RecordHeader {
            payload_bytes: 0,
            payload_crc: crc32fast::hash(&[]),
            first: end,
            group_first: end,
            count: 0,
            kind_byte: END_MARK_BYTE,
            codec: CODEC_PLAIN,
        }
    }

    /// The header as it stands in the segment that begins at `segment_first`.
    pub fn encode(&self, segment_first: Position) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&RECORD_MARK);
        bytes[8..12].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.payload_crc.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.group_first.0.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.count.to_le_bytes());
        bytes[36] = self.kind_byte;
        bytes[37] = self.codec;
        let crc = record_crc(&bytes, segment_first);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header of the segment that begins at `segment_first`; `None` when these bytes are none, or when its
    /// parts cannot be true together.
    pub fn decode(
        bytes: &[u8; RECORD_HEADER_BYTES],
        segment_first: Position,
    ) -> Option<RecordHeader> {
        let is_whole =
            bytes[0..4] == RECORD_MARK && u32_at(bytes, 4) == record_crc(bytes, segment_first);
        if !is_whole {
            return None;
        }
        let header = RecordHeader {
            payload_bytes: u32_at(bytes, 8),
            payload_crc: u32_at(bytes, 12),
            first: Position(u64_at(bytes, 16)),
            group_first: Position(u64_at(bytes, 24)),
            count: u32_at(bytes, 32),
            kind_byte: bytes[36],
            codec: bytes[37],
        };
        header.is_sound().then_some(header)
    }

    /// The position behind it.
    pub fn end(&self) -> Position {
        self.first.plus(u64::from(self.count))
    }

    /// Header and payload together.
    pub fn record_bytes(&self) -> u64 {
        RECORD_HEADER_BYTES as u64 + u64::from(self.payload_bytes)
    }

    /// Whether it says only that the journal was closed here.
    pub fn is_end_mark(&self) -> bool {
        self.kind_byte == END_MARK_BYTE
    }

    /// Whether it begins a group: everything in the file before it was durable when it was written.
    pub fn begins_group(&self) -> bool {
        self.first == self.group_first
    }

    /// What the payload holds.
    pub fn kind(&self) -> Kind {
        Kind::from_byte(self.kind_byte)
    }

    /// Whether the payload is stored in a way that this code reads.
    pub fn is_readable(&self) -> bool {
        self.codec == CODEC_PLAIN
    }

    fn is_sound(&self) -> bool {
        let has_positions = self
            .first
            .0
            .checked_add(u64::from(self.count))
            .is_some_and(|end| end <= POSITION_LIMIT);
        has_positions
            && self.group_first <= self.first
            && (self.count == 0) == self.is_end_mark()
            && self.payload_bytes as usize <= RECORD_BYTES_MAX
    }
}

fn segment_crc(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[0..12]);
    hasher.update(&bytes[16..]);
    hasher.finalize()
}

fn record_crc(bytes: &[u8; RECORD_HEADER_BYTES], segment_first: Position) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&segment_first.0.to_le_bytes());
    hasher.update(&bytes[8..]);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> RecordHeader {
        RecordHeader {
            first: Position(1000),
            group_first: Position(990),
            ..RecordHeader::of_payload(Kind::Spans, 7, 123, 0xDEAD_BEEF)
        }
    }

    #[test]
    fn a_record_header_is_read_back_only_in_its_own_segment_and_only_whole() {
        let bytes = header().encode(Position(900));
        assert_eq!(RecordHeader::decode(&bytes, Position(900)), Some(header()));
        assert_eq!(RecordHeader::decode(&bytes, Position(901)), None);
        for at in 0..bytes.len() {
            let mut flipped = bytes;
            flipped[at] ^= 1;
            assert_eq!(
                RecordHeader::decode(&flipped, Position(900)),
                None,
                "byte {at}"
            );
        }
    }

    #[test]
    fn a_segment_header_is_read_back_only_whole() {
        let header = SegmentHeader {
            version: FORMAT_VERSION,
            first: Position(150),
            previous_end: Position(100),
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::decode(&bytes), Some(header));
        for at in 0..bytes.len() {
            let mut flipped = bytes;
            flipped[at] ^= 0x80;
            assert_eq!(SegmentHeader::decode(&flipped), None, "byte {at}");
        }
    }

    #[test]
    fn the_bytes_of_version_1_are_these() {
        let segment = SegmentHeader {
            version: 1,
            first: Position(5),
            previous_end: Position(4),
        };
        let expected = "f6646179626f6f6b01000000SEGMCRC_05000000000000000400000000000000";
        assert_eq!(hex_without_crc(&segment.encode(), 12, "SEGMCRC_"), expected);
        let expected = "f7ff4452RECRDCRC7b000000efbeadde\
                        e803000000000000de030000000000000700000003000000";
        let bytes = header().encode(Position(900));
        assert_eq!(hex_without_crc(&bytes, 4, "RECRDCRC"), expected);
    }

    #[test]
    fn headers_that_contradict_themselves_are_refused_even_with_a_right_checksum() {
        let wrong = [
            RecordHeader {
                group_first: Position(1001),
                ..header()
            },
            RecordHeader {
                count: 0,
                ..header()
            },
            RecordHeader {
                kind_byte: END_MARK_BYTE,
                ..header()
            },
            RecordHeader {
                first: Position(POSITION_LIMIT),
                ..header()
            },
            RecordHeader {
                first: Position(u64::MAX),
                ..header()
            },
            RecordHeader {
                payload_bytes: RECORD_BYTES_MAX as u32 + 1,
                ..header()
            },
        ];
        for header in wrong {
            let bytes = header.encode(Position(900));
            assert_eq!(
                RecordHeader::decode(&bytes, Position(900)),
                None,
                "{header:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_panic(bytes in any::<[u8; RECORD_HEADER_BYTES]>(), first: u64) {
            let _ = RecordHeader::decode(&bytes, Position(first));
        }
    }

    fn hex_without_crc(bytes: &[u8], crc_at: usize, name: &str) -> String {
        let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        text.replace_range(2 * crc_at..2 * crc_at + 8, name);
        text
    }
}
