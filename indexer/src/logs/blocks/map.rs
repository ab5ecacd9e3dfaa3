//! Which group each document of a block is of.

use rustc_hash::FxHashMap;

use super::BlockError;
use super::block::{Block, Group};

/// A block's map, read.
pub struct Map {
    /// The group of each document.
    group_of: Vec<u16>,
}

const WRONG: BlockError = BlockError::Damaged("a map is not for its documents");

impl Map {
    /// Reads a map of these groups: the rank by frequency of each document's group, low bytes first.
    ///
    /// # Errors
    /// It is damaged.
    pub fn read(section: &[u8], block: &Block) -> Result<Map, BlockError> {
        let counts: Vec<u32> = block.groups().iter().map(|group| group.rows).collect();
        let documents = counts.iter().map(|rows| *rows as usize).sum::<usize>();
        if section.len() != 2 * documents {
            return Err(WRONG);
        }
        let by_rank: Vec<u16> = by_frequency(&counts)
            .into_iter()
            .map(|group| group as u16)
            .collect();
        let (low, high) = section.split_at(documents);
        let mut seen = vec![0_u32; counts.len()];
        let mut group_of = Vec::with_capacity(documents);
        for (low, high) in low.iter().zip(high) {
            let rank = u16::from_le_bytes([*low, *high]);
            let group = *by_rank.get(usize::from(rank)).ok_or(WRONG)?;
            seen[usize::from(group)] += 1;
            group_of.push(group);
        }
        match seen == counts {
            true => Ok(Map { group_of }),
            false => Err(WRONG),
        }
    }

    /// About how much memory it takes, in bytes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<u16>() * self.group_of.len()
    }

    /// The place among [`Block::groups`] of each document's group.
    pub fn groups_of(&self) -> &[u16] {
        &self.group_of
    }
}

/// A map's bytes, for [`Map::read`]: the group of each document, and how many documents each of the groups has.
pub fn write_map(document_groups: &[u32], groups: &[u32], rows: &[u32]) -> Vec<u8> {
    let mut ranks: FxHashMap<u32, u16> = FxHashMap::default();
    for (rank, group) in by_frequency(rows).into_iter().enumerate() {
        ranks.insert(groups[group as usize], rank as u16);
    }
    let count = document_groups.len();
    let mut map = vec![0; 2 * count];
    for (at, group) in document_groups.iter().enumerate() {
        let [low, high] = ranks[group].to_le_bytes();
        map[at] = low;
        map[count + at] = high;
    }
    map
}

/// Groups by rank: those with most rows first, earlier ones first among equals.
fn by_frequency(rows: &[u32]) -> Vec<u32> {
    let mut groups: Vec<u32> = (0..rows.len() as u32).collect();
    groups.sort_by_key(|group| std::cmp::Reverse(rows[*group as usize]));
    groups
}

/// The documents of each group of a block in order, one group behind the other.
pub struct Rows {
    documents: Vec<u32>,
}

impl Rows {
    /// Of a block with these groups and this map.
    pub fn new(block: &Block, map: &Map) -> Rows {
        let mut next: Vec<u32> = block.groups().iter().map(|group| group.first_row).collect();
        let mut documents = vec![0; map.group_of.len()];
        for (document, group) in map.group_of.iter().enumerate() {
            let row = &mut next[usize::from(*group)];
            documents[*row as usize] = document as u32;
            *row += 1;
        }
        Rows { documents }
    }

    /// The documents of a group, by row.
    pub fn of(&self, group: &Group) -> &[u32] {
        &self.documents[group.first_row as usize..(group.first_row + group.rows) as usize]
    }

    /// About how much memory they take, in bytes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<u32>() * self.documents.len()
    }
}
