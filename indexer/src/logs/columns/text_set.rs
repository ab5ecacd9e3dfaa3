//! Distinct texts, numbered in the order they came.

use std::hash::{BuildHasher, Hasher, RandomState};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::documents::push_counted;

/// An empty slot; no text has this ordinal.
const EMPTY: u64 = u64::MAX;

const SLOTS_AT_FIRST: usize = 8;

/// An open-addressing hash table over one string: half the memory of a map of boxed strings, and one allocation for
/// many texts.
pub struct TextSet {
    /// The upper half of the hash above, the ordinal below; a power of two of them, at most three quarters used.
    slots: Vec<u64>,
    /// Where each text ends in `texts`.
    ends: Vec<usize>,
    texts: String,
    /// Senders choose the texts, so they must not know which of them collide.
    seed: u64,
}

impl Default for TextSet {
    fn default() -> TextSet {
        TextSet {
            slots: Vec::new(),
            ends: Vec::new(),
            texts: String::new(),
            seed: RandomState::new().build_hasher().finish(),
        }
    }
}

impl TextSet {
    /// The ordinal of a text, a new one if it is new. Adds to `memory_bytes` what was allocated.
    pub fn intern(&mut self, text: &str, memory_bytes: &mut usize) -> u32 {
        if self.ends.len() * 4 >= self.slots.len() * 3 {
            self.grow(memory_bytes);
        }
        let hash = (xxh3_64_with_seed(text.as_bytes(), self.seed) >> 32) as u32;
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == EMPTY {
                break;
            }
            let ordinal = slot as u32;
            if (slot >> 32) as u32 == hash && self.get(ordinal) == text {
                return ordinal;
            }
            at = (at + 1) & mask;
        }
        let ordinal = self.ends.len() as u32;
        self.slots[at] = (u64::from(hash) << 32) | u64::from(ordinal);
        let before = self.texts.capacity();
        self.texts.push_str(text);
        *memory_bytes += self.texts.capacity() - before;
        push_counted(&mut self.ends, self.texts.len(), memory_bytes);
        ordinal
    }

    fn grow(&mut self, memory_bytes: &mut usize) {
        let slot_count = (self.slots.len() * 2).max(SLOTS_AT_FIRST);
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; slot_count]);
        *memory_bytes += (slot_count - old.len()) * size_of::<u64>();
        let mask = slot_count - 1;
        for slot in old.into_iter().filter(|slot| *slot != EMPTY) {
            let mut at = (slot >> 32) as usize & mask;
            while self.slots[at] != EMPTY {
                at = (at + 1) & mask;
            }
            self.slots[at] = slot;
        }
    }

    /// The text with this ordinal.
    pub fn get(&self, ordinal: u32) -> &str {
        let ordinal = ordinal as usize;
        let start = ordinal.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.texts[start..self.ends[ordinal]]
    }

    /// How many texts it has.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The ordinals in the order of their texts' bytes.
    pub fn sorted(&self) -> Vec<u32> {
        let mut ordinals: Vec<u32> = (0..self.ends.len() as u32).collect();
        ordinals.sort_unstable_by(|a, b| self.get(*a).cmp(self.get(*b)));
        ordinals
    }

    /// What it has allocated.
    pub fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u64>()
            + self.ends.capacity() * size_of::<usize>()
            + self.texts.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_texts_in_order_and_finds_them_again() {
        let mut set = TextSet::default();
        let mut memory = 0;
        let texts: Vec<String> = (0..5000).map(|n| format!("text {}", n * 7919)).collect();
        for (number, text) in texts.iter().enumerate() {
            assert_eq!(set.intern(text, &mut memory), number as u32);
        }
        for (number, text) in texts.iter().enumerate() {
            assert_eq!(set.intern(text, &mut memory), number as u32);
            assert_eq!(set.get(number as u32), text);
        }
        assert_eq!(set.len(), 5000);
        assert_eq!(memory, set.memory_bytes());
    }

    #[test]
    fn the_empty_text_is_a_text() {
        let mut set = TextSet::default();
        let mut memory = 0;
        assert_eq!(set.intern("", &mut memory), 0);
        assert_eq!(set.intern("a", &mut memory), 1);
        assert_eq!(set.intern("", &mut memory), 0);
        assert_eq!(set.sorted(), [0, 1]);
    }
}
