//! What was read of blocks and is kept, of all files together.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use zstd::bulk::Decompressor;

use super::BlockError;
use super::answers::Answers;
use super::block::{Block, Slots};
use super::file::{ENDS_EARLY, Frame, Section};
use super::map::{Map, Rows};

/// A section or frame that claims to be longer is none of ours.
const PLAIN_BYTES_MAX: u64 = 1 << 28;

/// Parts and frames of blocks that were read, of all files; the ones used least are dropped.
///
/// Each kind has room of its own, so that a search that reads many frames does not drive the parts out; answers to questions
/// (answers.rs) have a sixth.
#[derive(Clone)]
pub struct BlockCache {
    pub(super) parts: Arc<Cache<Key, Part, ByMemory>>,
    pub(super) frames: Arc<Cache<Key, Arc<Frame>, ByMemory>>,
    pub(super) answers: Answers,
    pub(super) next_file: Arc<AtomicU64>,
    /// Those not at work: making one costs as much as decompressing some KiB.
    decompressors: Arc<Mutex<Vec<Decompressor<'static>>>>,
}

/// A file, a block, and which frame or part of it.
pub(super) type Key = (u64, u32, u32);

/// What a block has beside its frames, read.
#[derive(Clone)]
pub(super) enum Part {
    Block(Arc<Block>),
    Slots(Arc<Slots>),
    Map(Arc<Map>),
    Rows(Arc<Rows>),
}

pub(super) const BLOCK_PART: u32 = 0;
pub(super) const SLOTS_PART: u32 = 1;
pub(super) const MAP_PART: u32 = 2;
pub(super) const ROWS_PART: u32 = 3;

#[derive(Clone)]
pub(super) struct ByMemory;

impl Weighter<Key, Part> for ByMemory {
    fn weight(&self, _: &Key, part: &Part) -> u64 {
        let bytes = match part {
            Part::Block(block) => block.memory_bytes(),
            Part::Slots(slots) => slots.memory_bytes(),
            Part::Map(map) => map.memory_bytes(),
            Part::Rows(rows) => rows.memory_bytes(),
        };
        bytes as u64 + 64
    }
}

impl Weighter<Key, Arc<Frame>> for ByMemory {
    fn weight(&self, _: &Key, frame: &Arc<Frame>) -> u64 {
        frame.memory_bytes() as u64 + 64
    }
}

impl BlockCache {
    /// Keeps about so many bytes.
    pub fn new(bytes: u64) -> BlockCache {
        let answers = bytes / 6;
        let half = (bytes - answers) / 2;
        let items = |bytes_each: u64| (half / bytes_each) as usize;
        BlockCache {
            parts: Arc::new(Cache::with_weighter(items(128 * 1024), half, ByMemory)),
            frames: Arc::new(Cache::with_weighter(items(128 * 1024), half, ByMemory)),
            answers: Answers::new(answers),
            next_file: Arc::default(),
            decompressors: Arc::default(),
        }
    }

    pub(super) fn decompress(
        &self,
        compressed: &[u8],
        plain_len: u64,
    ) -> Result<Vec<u8>, BlockError> {
        if plain_len > PLAIN_BYTES_MAX {
            return Err(BlockError::Damaged("a length beyond all bounds"));
        }
        let lock = || {
            let free = self.decompressors.lock();
            free.expect("no holder of this lock panics")
        };
        let free = lock().pop();
        let mut decompressor = match free {
            Some(decompressor) => decompressor,
            None => Decompressor::new().map_err(|_| BlockError::Damaged("no memory"))?,
        };
        let plain = decompressor.decompress(compressed, plain_len as usize);
        lock().push(decompressor);
        match plain {
            Ok(plain) if plain.len() as u64 == plain_len => Ok(plain),
            _ => Err(BlockError::Damaged("a part does not decompress")),
        }
    }

    pub(super) fn section(&self, bytes: &[u8], section: Section) -> Result<Vec<u8>, BlockError> {
        let start = usize::try_from(section.start).map_err(|_| ENDS_EARLY)?;
        let end = usize::try_from(section.len)
            .ok()
            .and_then(|len| start.checked_add(len));
        let compressed = bytes.get(start..end.ok_or(ENDS_EARLY)?);
        self.decompress(compressed.ok_or(ENDS_EARLY)?, section.plain_len)
    }
}
