//! What every bucket aggregation does in a segment: number the buckets, count, hand documents to the children.

use tantivy::DocId;

use super::collector::{BLOCK_DOCS, Children, Meter, Segment};
use super::key::Key;
use super::partial::{PartialBucket, PartialBuckets};
use super::slots::{Owner, Slots};
use super::values::ValueKind;
use super::{AggregateError, Aggregations, Ordinal};

/// The buckets of one aggregation in one segment.
pub(super) struct SegmentBuckets {
    slots: Slots,
    children: Children,
    needs_docs: bool,
    docs: Vec<DocId>,
    ordinals: Vec<Ordinal>,
    meter: Meter,
}

impl SegmentBuckets {
    /// `width`: how many codes the first column has, when that is known.
    pub fn open(
        children: &Aggregations,
        segment: Segment<'_>,
        width: Option<u64>,
    ) -> Result<SegmentBuckets, AggregateError> {
        let children = Children::open_below(children, segment)?;
        Ok(SegmentBuckets {
            slots: Slots::new(width),
            needs_docs: !children.is_empty(),
            children,
            docs: Vec::new(),
            ordinals: Vec::new(),
            meter: Meter::new(segment.budget),
        })
    }

    /// Whether only counts are wanted, so that documents need not be told one by one.
    pub fn only_counts(&self) -> bool {
        !self.needs_docs
    }

    /// Adds a document to a bucket.
    #[inline]
    pub fn add(&mut self, doc: DocId, owner: Owner) {
        let ordinal = self.slots.ordinal(owner);
        self.slots.count(ordinal, 1);
        if self.needs_docs {
            self.docs.push(doc);
            self.ordinals.push(ordinal);
        }
    }

    /// Adds `count` documents at once, when [`SegmentBuckets::only_counts`].
    #[inline]
    pub fn add_count(&mut self, owner: Owner, count: u64) {
        let ordinal = self.slots.ordinal(owner);
        self.slots.count(ordinal, count);
    }

    /// Hands what was added to the children. Call it after each pass over a block, so that documents ascend.
    pub fn flush(&mut self) -> Result<(), AggregateError> {
        self.meter.grow_to(self.slots.byte_size())?;
        if self.needs_docs {
            // A document in many buckets must not make blocks of unbounded size.
            for (docs, ordinals) in self
                .docs
                .chunks(4 * BLOCK_DOCS)
                .zip(self.ordinals.chunks(4 * BLOCK_DOCS))
            {
                self.children.collect(docs, ordinals)?;
            }
            self.docs.clear();
            self.ordinals.clear();
        }
        Ok(())
    }

    /// Takes out the buckets that `is_wanted`, when [`SegmentBuckets::only_counts`]: codes with their counts.
    pub fn take_counts(&mut self, is_wanted: impl Fn(&Owner) -> bool) -> Vec<(u64, u64)> {
        self.slots.take(is_wanted)
    }

    /// How many buckets there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// The buckets of each parent. `key_of` answers the keys of all owners, in their order; `None` drops the bucket.
    pub fn finish(
        mut self,
        parent_count: usize,
        kind: Option<ValueKind>,
        keys_of: impl FnOnce(&[Owner]) -> Result<Vec<Option<Key>>, AggregateError>,
    ) -> Result<Vec<PartialBuckets>, AggregateError> {
        let (owners, counts) = self.slots.finish();
        let keys = keys_of(&owners)?;
        let key_bytes: usize = keys.iter().flatten().map(Key::byte_size).sum();
        let bucket_bytes = owners.len() * 2 * size_of::<PartialBucket>();
        self.meter
            .grow_to((owners.len() * size_of::<Owner>() + key_bytes + bucket_bytes) as u64)?;
        let children = self.children.finish(owners.len())?;
        let mut per_parent = vec![0usize; parent_count];
        for owner in &owners {
            per_parent[owner.parent as usize] += 1;
        }
        let mut found: Vec<PartialBuckets> = per_parent
            .into_iter()
            .map(|count| PartialBuckets {
                kind,
                ..PartialBuckets::with_capacity(count)
            })
            .collect();
        let buckets = counts
            .into_iter()
            .zip(children)
            .map(|(count, children)| PartialBucket { count, children });
        for ((owner, key), bucket) in owners.iter().zip(keys).zip(buckets) {
            if let Some(key) = key {
                found[owner.parent as usize].add(key, bucket);
            }
        }
        Ok(found)
    }
}
