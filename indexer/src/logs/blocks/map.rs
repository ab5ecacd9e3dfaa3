//! Which group each document of a block is of.

use std::sync::OnceLock;

use super::BlockError;
use super::block::{Block, Group};
use super::writer::by_frequency;

/// A block's map, read.
pub struct Map {
    /// The group of each document.
    group_of: Vec<u16>,
    /// The documents of each group in order, one group behind the other; made when rows are asked for.
    documents: OnceLock<Vec<u32>>,
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
            true => Ok(Map {
                group_of,
                documents: OnceLock::new(),
            }),
            false => Err(WRONG),
        }
    }

    /// About how much memory it takes, in bytes, with what is made of it later.
    pub fn memory_bytes(&self) -> usize {
        (size_of::<u16>() + size_of::<u32>()) * self.group_of.len()
    }

    /// The place among [`Block::groups`] of each document's group.
    pub fn groups_of(&self) -> &[u16] {
        &self.group_of
    }

    /// The documents of a group, by row.
    pub fn documents_of<'m>(&'m self, block: &Block, group: &Group) -> &'m [u32] {
        let documents = self.documents.get_or_init(|| self.invert(block));
        &documents[group.first_row as usize..(group.first_row + group.rows) as usize]
    }

    /// The group of a document, and its row there.
    pub fn row_of<'b>(&self, block: &'b Block, document: u32) -> Option<(&'b Group, usize)> {
        let group = *self.group_of.get(document as usize)?;
        let group = &block.groups()[usize::from(group)];
        let documents = self.documents_of(block, group);
        Some((group, documents.binary_search(&document).ok()?))
    }

    fn invert(&self, block: &Block) -> Vec<u32> {
        let mut next: Vec<u32> = block.groups().iter().map(|group| group.first_row).collect();
        let mut documents = vec![0; self.group_of.len()];
        for (document, group) in self.group_of.iter().enumerate() {
            let row = &mut next[usize::from(*group)];
            documents[*row as usize] = document as u32;
            *row += 1;
        }
        documents
    }
}
