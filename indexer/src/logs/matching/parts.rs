//! The documents of a segment that match a leaf, found block by block when they are asked for.

use std::ops::Range;

use tantivy::query::Scorer;
use tantivy::{COLLECT_BLOCK_BUFFER_LEN, DocId, DocSet, Score, TERMINATED};

use super::LeafQuery;
use crate::logs::blocks::{Answer, OpenBlock};
use crate::logs::segment::{Segment, unreadable};

/// Documents of one block.
pub(super) struct BlockSet {
    first: DocId,
    end: DocId,
    bits: Vec<u64>,
}

/// One way to match; a leaf's answer is the union of its parts.
pub(super) trait Part: Send {
    /// Adds the matching documents of the set's block, whose number is `block`.
    ///
    /// # Errors
    /// The segment cannot be read.
    fn mark(&mut self, block: usize, set: &mut BlockSet) -> tantivy::Result<()>;

    /// How dear a block is, in steps of a postings list: an intersection asks dear ones for few blocks.
    fn cost(&self) -> u64;
}

impl BlockSet {
    /// The documents it is about.
    pub(super) fn documents(&self) -> Range<DocId> {
        self.first..self.end
    }

    /// Adds a document of the block.
    pub(super) fn insert(&mut self, doc: DocId) {
        let at = doc - self.first;
        self.bits[at as usize / 64] |= 1 << (at % 64);
    }

    /// Adds a document by its number in the block.
    pub(super) fn insert_own(&mut self, at: u32) {
        self.bits[at as usize / 64] |= 1 << (at % 64);
    }

    /// Adds all.
    pub(super) fn insert_all(&mut self) {
        let count = (self.end - self.first) as usize;
        self.bits.fill(u64::MAX);
        if !count.is_multiple_of(64)
            && let Some(last) = self.bits.last_mut()
        {
            *last = (1 << (count % 64)) - 1;
        }
    }

    /// Adds all documents of some groups of the block.
    ///
    /// # Errors
    /// The block is damaged.
    pub(super) fn insert_groups(
        &mut self,
        open: &OpenBlock,
        groups: &[u16],
    ) -> tantivy::Result<()> {
        if groups.is_empty() {
            return Ok(());
        }
        let groups_of = open.groups_of().map_err(unreadable)?;
        if let [only] = groups {
            self.insert_where(groups_of, |group| group == *only);
            return Ok(());
        }
        let mut are_in = vec![false; open.groups().len()];
        groups
            .iter()
            .for_each(|group| are_in[usize::from(*group)] = true);
        self.insert_where(groups_of, |group| are_in[usize::from(group)]);
        Ok(())
    }

    fn insert_where(&mut self, groups_of: &[u16], is_in: impl Fn(u16) -> bool) {
        for (bits, groups) in self.bits.iter_mut().zip(groups_of.chunks(64)) {
            for (at, group) in groups.iter().enumerate() {
                *bits |= u64::from(is_in(*group)) << at;
            }
        }
    }

    fn go_to(&mut self, documents: Range<DocId>) {
        (self.first, self.end) = (documents.start, documents.end);
        self.bits.clear();
        self.bits.resize(documents.len().div_ceil(64), 0);
    }

    fn first_from(&self, doc: DocId) -> Option<DocId> {
        let at = (doc.max(self.first) - self.first) as usize;
        let mut word = at / 64;
        let mut bits = self.bits.get(word)? & (u64::MAX << (at % 64));
        while bits == 0 {
            word += 1;
            bits = *self.bits.get(word)?;
        }
        Some(self.first + 64 * word as u32 + bits.trailing_zeros())
    }
}

/// The union of parts as tantivy walks over it.
///
/// When the work is interrupted or a block cannot be read, the rest counts as not matching; the interrupt knows, and who
/// asked looks there.
pub(super) struct LeafScorer {
    leaf: LeafQuery,
    segment: Segment,
    /// Made at the first block without a known answer.
    parts: Option<Vec<Box<dyn Part>>>,
    block: usize,
    end_block: usize,
    set: BlockSet,
    doc: DocId,
    cost: u64,
}

/// What a block with a known answer costs, in steps of a postings list.
const KNOWN_COST: u64 = 64;

impl LeafScorer {
    /// Over the blocks that have documents the leaf asks about.
    ///
    /// # Errors
    /// The segment cannot be read, or the work shall stop.
    pub(super) fn new(leaf: LeafQuery, segment: &Segment) -> tantivy::Result<LeafScorer> {
        let places = segment.blocks().places();
        let documents = &leaf.documents;
        let blocks = places.partition_point(|place| place.end_document() <= documents.start)
            ..places.partition_point(|place| place.first_document < documents.end);
        let is_known = |block: usize| {
            let question = leaf.question;
            question.is_some_and(|question| segment.blocks().answer(question, block).is_some())
        };
        let known = blocks.clone().filter(|block| is_known(*block)).count();
        let mut scorer = LeafScorer {
            leaf,
            segment: segment.clone(),
            parts: None,
            block: blocks.start,
            end_block: blocks.end,
            set: BlockSet {
                first: 0,
                end: 0,
                bits: Vec::new(),
            },
            doc: TERMINATED,
            cost: KNOWN_COST * known as u64,
        };
        if known < blocks.len() {
            let parts = scorer.leaf.parts(segment)?;
            if parts.is_empty() {
                return Ok(scorer);
            }
            let cost: u64 = parts.iter().map(|part| part.cost()).sum();
            scorer.cost += cost * (blocks.len() - known) as u64;
            scorer.parts = Some(parts);
        }
        scorer.doc = scorer.go_from(blocks.start, 0);
        Ok(scorer)
    }

    /// How many documents match that are not deleted.
    pub(super) fn count_alive(mut self) -> u32 {
        let segment = self.segment.clone();
        let alive = segment.reader.alive_bitset();
        let mut count = 0;
        while self.doc != TERMINATED {
            match alive {
                None => {
                    count += self
                        .set
                        .bits
                        .iter()
                        .map(|bits| bits.count_ones())
                        .sum::<u32>()
                }
                Some(alive) => {
                    let mut next = self.set.first_from(self.set.first);
                    while let Some(doc) = next {
                        count += u32::from(alive.is_alive(doc));
                        next = self.set.first_from(doc + 1);
                    }
                }
            }
            self.doc = self.go_from(self.block + 1, 0);
        }
        count
    }

    /// The first match from `doc` on in the blocks from `block` on.
    fn go_from(&mut self, block: usize, doc: DocId) -> DocId {
        let segment = self.segment.clone();
        let places = segment.blocks().places().iter().enumerate();
        for (number, place) in places.take(self.end_block).skip(block) {
            if self.leaf.interrupt.is_interrupted() {
                return TERMINATED;
            }
            self.block = number;
            self.set.go_to(place.first_document..place.end_document());
            if let Err(error) = self.mark(number) {
                // Between frames, too, work may be told to stop; that is no failure.
                if !self.leaf.interrupt.is_interrupted() {
                    self.leaf.interrupt.failed(&error.to_string());
                }
                return TERMINATED;
            }
            if let Some(found) = self.set.first_from(doc) {
                return found;
            }
        }
        TERMINATED
    }

    /// Marks the matching documents of a block in the set, which is of that block and empty.
    fn mark(&mut self, number: usize) -> tantivy::Result<()> {
        let blocks = self.segment.blocks();
        let question = self.leaf.question;
        if let Some(answer) = question.and_then(|question| blocks.answer(question, number)) {
            answer.add_to(&mut self.set.bits);
            return Ok(());
        }
        let parts = match &mut self.parts {
            Some(parts) => parts,
            // What was known is forgotten by now.
            none => none.insert(self.leaf.parts(&self.segment)?),
        };
        for part in parts {
            part.mark(number, &mut self.set)?;
        }
        if let Some(question) = question {
            blocks.keep_answer(question, number, Answer::new(&self.set.bits));
        }
        Ok(())
    }
}

impl DocSet for LeafScorer {
    fn advance(&mut self) -> DocId {
        if self.doc == TERMINATED {
            return TERMINATED;
        }
        self.doc = match self.set.first_from(self.doc + 1) {
            Some(doc) => doc,
            None => self.go_from(self.block + 1, 0),
        };
        self.doc
    }

    fn seek(&mut self, target: DocId) -> DocId {
        if target <= self.doc {
            return self.doc;
        }
        let is_here = target < self.set.end;
        let here = is_here.then(|| self.set.first_from(target)).flatten();
        self.doc = match (here, is_here) {
            (Some(doc), _) => doc,
            (None, true) => self.go_from(self.block + 1, 0),
            (None, false) => match self.segment.blocks().locate(target) {
                Some((block, _)) => self.go_from(block, target),
                None => TERMINATED,
            },
        };
        self.doc
    }

    fn fill_buffer(&mut self, buffer: &mut [DocId; COLLECT_BLOCK_BUFFER_LEN]) -> usize {
        for (count, place) in buffer.iter_mut().enumerate() {
            if self.doc == TERMINATED {
                return count;
            }
            *place = self.doc;
            self.advance();
        }
        buffer.len()
    }

    fn doc(&self) -> DocId {
        self.doc
    }

    fn size_hint(&self) -> u32 {
        self.segment.document_count() / 8
    }

    fn cost(&self) -> u64 {
        self.cost
    }
}

impl Scorer for LeafScorer {
    fn score(&mut self) -> Score {
        1.0
    }
}

/// All documents.
pub(super) struct All;

impl Part for All {
    fn mark(&mut self, _: usize, set: &mut BlockSet) -> tantivy::Result<()> {
        set.insert_all();
        Ok(())
    }

    fn cost(&self) -> u64 {
        64
    }
}

/// A few documents, in order.
pub(super) struct Few(pub(super) Vec<DocId>);

impl Part for Few {
    fn mark(&mut self, _: usize, set: &mut BlockSet) -> tantivy::Result<()> {
        let documents = set.documents();
        let first = self.0.partition_point(|doc| *doc < documents.start);
        for doc in &self.0[first..] {
            if *doc >= documents.end {
                break;
            }
            set.insert(*doc);
        }
        Ok(())
    }

    fn cost(&self) -> u64 {
        1
    }
}
