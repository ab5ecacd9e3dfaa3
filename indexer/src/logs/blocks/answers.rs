//! Which documents of a block a question found: segments never change, so an answer holds as long as its segment.
//!
//! Dashboards and rules ask the same of the same blocks every few seconds, most of them with another range of time.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// A segment's file, a question (its hash), a block.
type Key = (u64, u128, u32);

/// Answers of all segments; those used least are dropped.
#[derive(Clone)]
pub(super) struct Answers(Arc<Cache<Key, Answer, ByMemory>>);

/// The documents of a block, deleted ones included.
#[derive(Clone)]
pub enum Answer {
    /// By number in the block, ascending.
    Few(Arc<[u32]>),
    /// A bit for each document, lowest first.
    Many(Arc<[u64]>),
}

/// So many take more room than the bits of a block do.
const FEW_PER_WORD: usize = 2;

impl Answer {
    /// Of a set of bits.
    pub fn new(bits: &[u64]) -> Answer {
        let count: usize = bits.iter().map(|bits| bits.count_ones() as usize).sum();
        if count > bits.len() * FEW_PER_WORD {
            return Answer::Many(bits.into());
        }
        let mut few = Vec::with_capacity(count);
        for (word, bits) in bits.iter().enumerate() {
            let mut left = *bits;
            while left != 0 {
                few.push(64 * word as u32 + left.trailing_zeros());
                left &= left - 1;
            }
        }
        Answer::Few(few.into())
    }

    /// Adds the documents to a set of bits.
    pub fn add_to(&self, set: &mut [u64]) {
        match self {
            Answer::Few(documents) => {
                for document in &**documents {
                    set[*document as usize / 64] |= 1 << (document % 64);
                }
            }
            Answer::Many(bits) => {
                for (mine, theirs) in set.iter_mut().zip(&**bits) {
                    *mine |= theirs;
                }
            }
        }
    }
}

#[derive(Clone)]
struct ByMemory;

impl Weighter<Key, Answer> for ByMemory {
    fn weight(&self, _: &Key, answer: &Answer) -> u64 {
        let bytes = match answer {
            Answer::Few(documents) => size_of_val(&**documents),
            Answer::Many(bits) => size_of_val(&**bits),
        };
        bytes as u64 + 96
    }
}

impl Answers {
    /// Keeps about so many bytes.
    pub fn new(bytes: u64) -> Answers {
        let items = (bytes / 1024) as usize;
        Answers(Arc::new(Cache::with_weighter(items, bytes, ByMemory)))
    }

    pub fn get(&self, file: u64, question: u128, block: u32) -> Option<Answer> {
        self.0.get(&(file, question, block))
    }

    pub fn insert(&self, file: u64, question: u128, block: u32, answer: Answer) {
        self.0.insert((file, question, block), answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_the_set_it_was_made_of() {
        let few = [1 << 63, 0, 0, 5];
        let many = [u64::MAX, 0, 1, u64::MAX - 1];
        for bits in [few, many, [0; 4]] {
            let mut set = [0; 4];
            Answer::new(&bits).add_to(&mut set);
            assert_eq!(set, bits);
        }
        assert!(matches!(Answer::new(&few), Answer::Few(_)));
        assert!(matches!(Answer::new(&many), Answer::Many(_)));
    }
}
