//! Numbers the buckets of one aggregation in one segment, and counts what falls into them.

use rustc_hash::FxHashMap;

use super::Ordinal;

/// How many places a dense table may have: 16 MiB of 32-bit ordinals. Beyond, a hash table takes over.
const DENSE_PLACES_MAX: u64 = 4 << 20;
const VACANT: Ordinal = Ordinal::MAX;

/// Which bucket: the parent's bucket, the column the value came from, and the value's code there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    pub parent: Ordinal,
    pub column: u8,
    pub code: u64,
}

/// From owner to ordinal. Ordinals are given in the order of first appearance, so metrics can be kept in a `Vec`.
pub(super) struct Slots {
    dense: Option<Dense>,
    hashed: FxHashMap<Owner, Ordinal>,
    owners: Vec<Owner>,
    counts: Vec<u64>,
}

/// Codes of column 0 below `width`, one row per parent.
struct Dense {
    width: u64,
    ordinals: Vec<Ordinal>,
}

impl Slots {
    /// `width`: how many codes the first column has, when that is known.
    pub fn new(width: Option<u64>) -> Slots {
        let dense = width
            .filter(|width| (1..=DENSE_PLACES_MAX).contains(width))
            .map(|width| Dense {
                width,
                ordinals: Vec::new(),
            });
        Slots {
            dense,
            hashed: FxHashMap::default(),
            owners: Vec::new(),
            counts: Vec::new(),
        }
    }

    /// The bucket's ordinal; a new bucket gets the next one.
    #[inline]
    pub fn ordinal(&mut self, owner: Owner) -> Ordinal {
        if let Some(dense) = &mut self.dense
            && owner.column == 0
            && owner.code < dense.width
        {
            let place = u64::from(owner.parent) * dense.width + owner.code;
            if place >= DENSE_PLACES_MAX {
                self.give_up_density();
                return self.hashed_ordinal(owner);
            }
            let place = place as usize;
            if place >= dense.ordinals.len() {
                let row_end = (u64::from(owner.parent) + 1) * dense.width;
                dense.ordinals.resize(row_end as usize, VACANT);
            }
            let ordinal = dense.ordinals[place];
            if ordinal != VACANT {
                return ordinal;
            }
            dense.ordinals[place] = self.owners.len() as Ordinal;
            return self.push(owner);
        }
        self.hashed_ordinal(owner)
    }

    /// Counts `count` more events in a bucket.
    #[inline]
    pub fn count(&mut self, ordinal: Ordinal, count: u64) {
        self.counts[ordinal as usize] += count;
    }

    /// About how many bytes it occupies.
    pub fn byte_size(&self) -> u64 {
        let dense = self.dense.as_ref().map_or(0, |dense| dense.ordinals.len());
        (dense * size_of::<Ordinal>() + self.hashed.len() * 32 + self.owners.len() * 24) as u64
    }

    /// How many buckets there are.
    pub fn len(&self) -> usize {
        self.owners.len()
    }

    /// Takes out buckets, codes with their counts; nothing can be added any more, because the others get new ordinals.
    pub fn take(&mut self, is_wanted: impl Fn(&Owner) -> bool) -> Vec<(u64, u64)> {
        let mut taken = Vec::new();
        let (mut owners, mut counts) = (Vec::new(), Vec::new());
        for (owner, count) in self.owners.drain(..).zip(self.counts.drain(..)) {
            if is_wanted(&owner) {
                taken.push((owner.code, count));
            } else {
                owners.push(owner);
                counts.push(count);
            }
        }
        (self.owners, self.counts) = (owners, counts);
        taken
    }

    /// Owners and counts by ordinal.
    pub fn finish(self) -> (Vec<Owner>, Vec<u64>) {
        (self.owners, self.counts)
    }

    fn hashed_ordinal(&mut self, owner: Owner) -> Ordinal {
        if let Some(ordinal) = self.hashed.get(&owner) {
            return *ordinal;
        }
        self.hashed.insert(owner, self.owners.len() as Ordinal);
        self.push(owner)
    }

    fn push(&mut self, owner: Owner) -> Ordinal {
        self.owners.push(owner);
        self.counts.push(0);
        (self.owners.len() - 1) as Ordinal
    }

    fn give_up_density(&mut self) {
        self.dense = None;
        self.hashed = self
            .owners
            .iter()
            .enumerate()
            .map(|(ordinal, owner)| (*owner, ordinal as Ordinal))
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(parent: Ordinal, code: u64) -> Owner {
        Owner {
            parent,
            column: 0,
            code,
        }
    }

    #[test]
    fn ordinals_stay_when_the_dense_table_becomes_too_large() {
        let mut slots = Slots::new(Some(DENSE_PLACES_MAX / 2));
        let first = slots.ordinal(owner(0, 7));
        let second = slots.ordinal(owner(1, 7));
        let third = slots.ordinal(owner(2, 7));
        let foreign = slots.ordinal(Owner {
            parent: 0,
            column: 1,
            code: 7,
        });
        assert_eq!([first, second, third, foreign], [0, 1, 2, 3]);
        assert_eq!(slots.ordinal(owner(0, 7)), first);
        assert_eq!(slots.ordinal(owner(1, 7)), second);
        assert_eq!(slots.ordinal(owner(0, 8)), 4);
    }
}
