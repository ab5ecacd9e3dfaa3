//! Which group each document of a block is of.

use super::BlockError;
use super::block::{Block, Group};
use super::writer::by_frequency;

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
