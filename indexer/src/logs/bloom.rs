//! Split-block bloom filters: which keys a set certainly does not have.
//!
//! A filter is a run of blocks of 512 bits; a key sets eight bits, one in each 64-bit word of one block. Filters live in
//! memory alone; the hash (xxh3) is part of the shard format, because tables of words are by it.

use xxhash_rust::xxh3::xxh3_64;

const WORDS_PER_BLOCK: usize = 8;
const BLOCK_BYTES: usize = 8 * WORDS_PER_BLOCK;

/// The hash of a key.
pub fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// A filter for `key_count` keys, each given by its hash.
pub fn build(hashes: impl Iterator<Item = u64>, key_count: usize, bits_per_key: usize) -> Vec<u8> {
    let block_count = (key_count * bits_per_key).div_ceil(8 * BLOCK_BYTES);
    let mut filter = vec![0; block_count * BLOCK_BYTES];
    for hash in hashes {
        insert(&mut filter, hash);
    }
    filter
}

/// Adds a key.
pub fn insert(filter: &mut [u8], hash: u64) {
    let Some(start) = block_start(filter, hash) else {
        return;
    };
    let block = &mut filter[start..start + BLOCK_BYTES];
    for (word, bit) in bits(hash).enumerate() {
        block[8 * word + bit / 8] |= 1 << (bit % 8);
    }
}

/// Whether the key may have been added; `false` is certain. A filter without blocks has nothing.
pub fn may_have(filter: &[u8], hash: u64) -> bool {
    block_start(filter, hash).is_some_and(|start| {
        let block = &filter[start..start + BLOCK_BYTES];
        bits(hash)
            .enumerate()
            .all(|(word, bit)| block[8 * word + bit / 8] & (1 << (bit % 8)) != 0)
    })
}

/// The high half of the hash scaled to the number of blocks, which needs no division.
fn block_start(filter: &[u8], hash: u64) -> Option<usize> {
    let block_count = (filter.len() / BLOCK_BYTES) as u64;
    let scaled = (hash >> 32) * block_count;
    (block_count > 0).then_some((scaled >> 32) as usize * BLOCK_BYTES)
}

/// One bit for each word of a block, from the low half of the hash.
fn bits(hash: u64) -> impl Iterator<Item = usize> {
    const SALTS: [u32; WORDS_PER_BLOCK] = [
        0x9E37_79B1,
        0x85EB_CA77,
        0xC2B2_AE3D,
        0x27D4_EB2F,
        0x1656_67B1,
        0x2C1B_3C6D,
        0x297A_2D39,
        0x4CF5_AD43,
    ];
    let low = hash as u32;
    SALTS
        .into_iter()
        .map(move |salt| (low.wrapping_mul(salt) >> 26) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_there_and_little_else() {
        let keys: Vec<u64> = (0..10_000_u32)
            .map(|key| hash(&key.to_le_bytes()))
            .collect();
        let filter = build(keys.iter().copied(), keys.len(), 12);
        assert_eq!(filter.len() % BLOCK_BYTES, 0);
        assert!(keys.iter().all(|key| may_have(&filter, *key)));
        let strangers = (10_000..110_000_u32).map(|key| hash(&key.to_le_bytes()));
        let false_alarms = strangers.filter(|key| may_have(&filter, *key)).count();
        assert!(false_alarms < 2_000, "{false_alarms} of 100,000");
        assert!(!may_have(&[], keys[0]));
    }
}
