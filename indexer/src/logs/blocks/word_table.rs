//! Which frames of a block have a word: one look for a whole block instead of one into a filter of each frame.
//!
//! For each word the frames it is in are kept under the word's hash, cut down to a few bits more than are needed to tell
//! the words of the block apart. So a word that is there leads to its frames and sometimes to others, one that is not
//! leads nowhere except in one of some fifty blocks. The table of a block:
//!
//! ```text
//! places     how many pairs of a word and a frame (unsigned LEB128)
//! starts     where each bucket begins among the bits (u32, little-endian), and the end of the last one
//! bits       bucket by bucket, low bits first; then eight bytes 0
//! ```
//!
//! Hashes are scaled to `0..places << SLACK_BITS`; a bucket has `1 << BUCKET_BITS` of these values. It holds in order, for
//! each value that occurs: how many are skipped since the last one (Rice code with [`SLACK_BITS`] low bits), then its frames,
//! each followed by a bit that says whether there is one more.

use super::BlockError;
use super::number::{Cursor, push_number};

/// A word that is not in the block leads to a frame in one of `1 << SLACK_BITS` cases, or fewer.
const SLACK_BITS: u32 = 5;
/// About 32 places a bucket.
const BUCKET_BITS: u32 = SLACK_BITS + 5;
/// So that the universe of hashes fits 32 bits.
const PLACES_MAX: usize = 1 << (31 - SLACK_BITS);
/// Behind the bits, so that eight bytes can be read from everywhere.
const PADDING: usize = 8;

const DAMAGED: BlockError = BlockError::Damaged("a table of words");

/// About what a word takes in one frame of a block of so many.
pub fn place_bits(frame_count: usize) -> usize {
    (SLACK_BITS + frame_bits(frame_count)) as usize + 3
}

/// Writes the table of a block; `places` has the hash and frame of each word, in any order, maybe several times.
/// `frame_count` is that of the block; without frames there is no table.
pub fn write(places: &mut Vec<(u64, u32)>, frame_count: usize, out: &mut Vec<u8>) {
    if frame_count == 0 {
        return;
    }
    places.truncate(PLACES_MAX);
    push_number(out, places.len());
    let frame_bits = frame_bits(frame_count);
    let universe = universe(places.len());
    let mut scaled: Vec<(u32, u32)> = places
        .drain(..)
        .map(|(hash, frame)| (scale(hash, universe), frame))
        .collect();
    scaled.sort_unstable();
    scaled.dedup();
    let mut starts = Vec::with_capacity(bucket_count(universe) + 1);
    let mut bits = BitWriter::default();
    let mut next = 0;
    let mut words = scaled.chunk_by(|a, b| a.0 == b.0).peekable();
    for bucket in 0..bucket_count(universe) as u32 {
        starts.push(bits.len as u32);
        next = next.max(bucket << BUCKET_BITS);
        while let Some(word) = words.next_if(|word| word[0].0 >> BUCKET_BITS == bucket) {
            bits.push_rice(word[0].0 - next);
            next = word[0].0 + 1;
            for (at, (_, frame)) in word.iter().enumerate() {
                bits.push(u64::from(*frame), frame_bits);
                bits.push(u64::from(at + 1 < word.len()), 1);
            }
        }
    }
    starts.push(bits.len as u32);
    for start in starts {
        out.extend_from_slice(&start.to_le_bytes());
    }
    bits.finish(out);
}

/// A table, as it lies in the file.
#[derive(Clone, Copy)]
pub struct WordTable<'a> {
    starts: &'a [[u8; 4]],
    bits: &'a [u8],
    universe: u64,
    frame_count: usize,
}

impl<'a> WordTable<'a> {
    /// Opens the table of a block of so many frames.
    ///
    /// # Errors
    /// It is damaged.
    pub fn open(bytes: &'a [u8], frame_count: usize) -> Result<WordTable<'a>, BlockError> {
        if frame_count == 0 {
            return Ok(WordTable {
                starts: &[],
                bits: &[],
                universe: 0,
                frame_count,
            });
        }
        let mut cursor = Cursor::new(bytes);
        let places = cursor.number()?;
        if places > PLACES_MAX {
            return Err(DAMAGED);
        }
        let universe = universe(places);
        let (starts, _) = cursor
            .take(4 * (bucket_count(universe) + 1))?
            .as_chunks::<4>();
        Ok(WordTable {
            starts,
            bits: &bytes[cursor.at()..],
            universe,
            frame_count,
        })
    }

    /// Calls `visit` with each frame that may have the word of this hash, in order.
    ///
    /// # Errors
    /// The table is damaged.
    pub fn frames_with(&self, hash: u64, mut visit: impl FnMut(usize)) -> Result<(), BlockError> {
        if self.universe == 0 {
            return Ok(());
        }
        let wanted = scale(hash, self.universe);
        let bucket = (wanted >> BUCKET_BITS) as usize;
        let start_of = |bucket: usize| {
            let start = self.starts.get(bucket).ok_or(DAMAGED)?;
            Ok::<_, BlockError>(u32::from_le_bytes(*start) as usize)
        };
        let (start, end) = (start_of(bucket)?, start_of(bucket + 1)?);
        let frame_bits = frame_bits(self.frame_count);
        let mut bits = BitReader {
            bytes: self.bits,
            at: start,
        };
        let mut next = (wanted >> BUCKET_BITS) << BUCKET_BITS;
        while bits.at < end {
            let value = next.checked_add(bits.rice()?).ok_or(DAMAGED)?;
            if value > wanted {
                return Ok(());
            }
            loop {
                let frame = bits.take(frame_bits)? as usize;
                if value == wanted && frame < self.frame_count {
                    visit(frame);
                }
                if bits.take(1)? == 0 {
                    break;
                }
            }
            next = value + 1;
        }
        Ok(())
    }
}

fn universe(places: usize) -> u64 {
    (places as u64) << SLACK_BITS
}

fn bucket_count(universe: u64) -> usize {
    universe.div_ceil(1 << BUCKET_BITS) as usize
}

/// The high half of a hash, which needs no division to be cut down.
fn scale(hash: u64, universe: u64) -> u32 {
    (((hash >> 32) * universe) >> 32) as u32
}

fn frame_bits(frame_count: usize) -> u32 {
    usize::BITS - frame_count.saturating_sub(1).leading_zeros()
}

#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    waiting: u64,
    len: usize,
}

impl BitWriter {
    /// At most 32 bits.
    fn push(&mut self, value: u64, bits: u32) {
        let used = self.len % 8;
        self.waiting |= value << used;
        self.len += bits as usize;
        let mut left = used + bits as usize;
        while left >= 8 {
            self.bytes.push(self.waiting as u8);
            self.waiting >>= 8;
            left -= 8;
        }
    }

    fn push_rice(&mut self, value: u32) {
        for _ in 0..value >> SLACK_BITS {
            self.push(1, 1);
        }
        self.push(0, 1);
        self.push(u64::from(value & ((1 << SLACK_BITS) - 1)), SLACK_BITS);
    }

    fn finish(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes);
        if !self.len.is_multiple_of(8) {
            out.push(self.waiting as u8);
        }
        out.extend_from_slice(&[0; PADDING]);
    }
}

struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl BitReader<'_> {
    /// At least 57 of the next bits.
    fn peek(&self) -> Result<u64, BlockError> {
        let rest = self.bytes.get(self.at / 8..).ok_or(DAMAGED)?;
        let bytes = rest.first_chunk::<8>().ok_or(DAMAGED)?;
        Ok(u64::from_le_bytes(*bytes) >> (self.at % 8))
    }

    /// At most 32 bits.
    fn take(&mut self, bits: u32) -> Result<u64, BlockError> {
        let value = self.peek()? & ((1 << bits) - 1);
        self.at += bits as usize;
        Ok(value)
    }

    fn rice(&mut self) -> Result<u32, BlockError> {
        let mut high = 0_u32;
        loop {
            let ones = self.peek()?.trailing_ones().min(32);
            high += ones;
            self.at += ones as usize;
            if ones < 32 {
                break;
            }
            // A bucket has no more values than that.
            if high > 1 << BUCKET_BITS {
                return Err(DAMAGED);
            }
        }
        self.at += 1;
        let low = self.take(SLACK_BITS)? as u32;
        Ok(high << SLACK_BITS | low)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::bloom::hash;
    use super::*;

    fn frames(table: &WordTable, word: u64) -> Vec<usize> {
        let mut frames = Vec::new();
        table.frames_with(word, |frame| frames.push(frame)).unwrap();
        frames
    }

    proptest! {
        #[test]
        fn a_word_leads_to_its_frames(
            words in prop::collection::vec((0_u32..400, 0_u32..70), 0..600),
        ) {
            let mut places: Vec<(u64, u32)> = words
                .iter()
                .map(|(word, frame)| (hash(&word.to_le_bytes()), *frame))
                .collect();
            let mut bytes = Vec::new();
            write(&mut places, 70, &mut bytes);
            let table = WordTable::open(&bytes, 70).unwrap();
            for (word, frame) in &words {
                let found = frames(&table, hash(&word.to_le_bytes()));
                prop_assert!(found.contains(&(*frame as usize)));
                prop_assert!(found.is_sorted());
            }
        }

        #[test]
        fn damage_is_noticed_or_harmless(at in 0_usize..4000, bit in 0..8, word in any::<u64>()) {
            let mut places: Vec<(u64, u32)> =
                (0..500_u32).map(|word| (hash(&word.to_le_bytes()), word % 9)).collect();
            let mut bytes = Vec::new();
            write(&mut places, 9, &mut bytes);
            let len = bytes.len();
            bytes[at % len] ^= 1_u8 << bit;
            if let Ok(table) = WordTable::open(&bytes, 9) {
                let _ = table.frames_with(word, |frame| assert!(frame < 9));
            }
        }
    }

    #[test]
    fn strangers_lead_nowhere() {
        let mut places: Vec<(u64, u32)> = (0..50_000_u32)
            .map(|word| (hash(&word.to_le_bytes()), word % 100))
            .collect();
        let mut bytes = Vec::new();
        write(&mut places, 100, &mut bytes);
        let table = WordTable::open(&bytes, 100).unwrap();
        let strangers = (50_000..150_000_u32).map(|word| hash(&word.to_le_bytes()));
        let found: usize = strangers.map(|word| frames(&table, word).len()).sum();
        assert!((1_500..4_500).contains(&found), "{found} of 100,000");
        assert!(bytes.len() < 50_000 * 2, "{} bytes", bytes.len());
        let empty = WordTable::open(&[], 0).unwrap();
        assert_eq!(frames(&empty, 7), [] as [usize; 0]);
    }
}
