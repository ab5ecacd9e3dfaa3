//! Which three letters follow each other in the words of a frame, for searches by a piece of a word.
//!
//! One bit for each three letters `a` to `z`, several sharing one. What has other characters is not told. A frame
//! without letters has no bits at all. The pieces of a block are, for each frame, one byte (0: none, 1: a map), then the maps.

use super::BlockError;

/// 512 bytes a frame, less than half a percent of it compressed; prose and paths set a third to a half of the bits.
const BITS: usize = 4096;
const MAP_BYTES: usize = BITS / 8;

/// The pieces of one frame.
#[derive(Clone)]
pub struct Pieces(Box<[u64; BITS / 64]>);

impl Default for Pieces {
    fn default() -> Pieces {
        Pieces(Box::new([0; BITS / 64]))
    }
}

impl Pieces {
    /// Adds those of a word, which is lower-cased.
    pub fn add(&mut self, word: &str) {
        for_each(word, |bit| self.0[bit / 64] |= 1 << (bit % 64));
    }

    /// Adds all there are.
    pub fn add_all(&mut self) {
        self.0.fill(u64::MAX);
    }

    /// Adds those of another.
    pub fn add_those_of(&mut self, other: &Pieces) {
        for (mine, theirs) in self.0.iter_mut().zip(&*other.0) {
            *mine |= theirs;
        }
    }

    /// Begins anew.
    pub fn clear(&mut self) {
        self.0.fill(0);
    }
}

/// Writes the pieces of the frames of a block.
pub fn write(frames: &[Pieces], out: &mut Vec<u8>) {
    let has_some = |pieces: &&Pieces| pieces.0.iter().any(|bits| *bits != 0);
    out.extend(frames.iter().map(|pieces| u8::from(has_some(&pieces))));
    for pieces in frames.iter().filter(has_some) {
        out.extend(pieces.0.iter().flat_map(|bits| bits.to_le_bytes()));
    }
}

/// For each frame whether all pieces of `part`, which is lower-cased, are there; `bytes` is what was written.
///
/// # Errors
/// It is damaged.
pub fn frames_with(
    part: &str,
    bytes: &[u8],
    frame_count: usize,
    mut visit: impl FnMut(usize),
) -> Result<(), BlockError> {
    const DAMAGED: BlockError = BlockError::Damaged("the pieces of a frame");
    let (kinds, maps) = bytes.split_at_checked(frame_count).ok_or(DAMAGED)?;
    let mut wanted = Vec::new();
    for_each(part, |bit| wanted.push(bit));
    let mut maps = maps.chunks_exact(MAP_BYTES);
    for (frame, kind) in kinds.iter().enumerate() {
        let is_there = match kind {
            0 => wanted.is_empty(),
            _ => {
                let map = maps.next().ok_or(DAMAGED)?;
                wanted
                    .iter()
                    .all(|bit| map[bit / 8] & (1 << (bit % 8)) != 0)
            }
        };
        if is_there {
            visit(frame);
        }
    }
    Ok(())
}

/// Calls `visit` with the bit of each three letters that follow each other.
fn for_each(word: &str, mut visit: impl FnMut(usize)) {
    let (mut letters, mut known) = (0_u32, 0);
    for byte in word.bytes() {
        let letter = byte.wrapping_sub(b'a');
        if letter >= 26 {
            known = 0;
            continue;
        }
        letters = (letters << 5 | u32::from(letter)) & 0x7FFF;
        known += 1;
        if known >= 3 {
            visit((letters.wrapping_mul(0x9E37_79B1) >> 20) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(part: &str, bytes: &[u8]) -> Vec<usize> {
        let mut frames = Vec::new();
        frames_with(part, bytes, 3, |frame| frames.push(frame)).unwrap();
        frames
    }

    #[test]
    fn a_part_leads_to_frames_that_may_have_it() {
        let mut frames = [Pieces::default(), Pieces::default(), Pieces::default()];
        frames[0].add("sockettimeout");
        frames[0].add("x7retry");
        frames[2].add("timetable");
        let mut bytes = Vec::new();
        write(&frames, &mut bytes);
        assert_eq!(bytes.len(), 3 + 2 * MAP_BYTES);
        assert_eq!(with("timeout", &bytes), [0]);
        assert_eq!(with("time", &bytes), [0, 2]);
        assert_eq!(with("retr", &bytes), [0]);
        assert_eq!(with("7retry", &bytes), [0]);
        // Too short, or no letters: any frame may have it.
        assert_eq!(with("ti", &bytes), [0, 1, 2]);
        assert_eq!(with("4711", &bytes), [0, 1, 2]);
        assert_eq!(with("größe", &bytes), [0, 1, 2]);
        frames[1].add_all();
        bytes.clear();
        write(&frames, &mut bytes);
        assert_eq!(with("timeout", &bytes), [0, 1]);
        assert!(frames_with("tim", &bytes[..600], 3, |_| ()).is_err());
    }
}
