//! `global`: every event of the shards, whatever the query selects.
//!
//! Only shards that the query reads take part: a shard its time range rules out is not opened for this.

use tantivy::DocId;

use super::collector::{BLOCK_DOCS, Children, Collect, Segment};
use super::partial::{PartialAggregation, PartialBucket};
use super::{AggregateError, Aggregations, Ordinal};
use crate::limits::Budget;

pub(super) fn open(
    children: &Aggregations,
    segment: Segment<'_>,
) -> Result<Box<dyn Collect>, AggregateError> {
    if !segment.is_top() {
        let message = "the global aggregation can only stand at the top level".to_owned();
        return Err(AggregateError::Request(message));
    }
    let reader = segment.reader();
    Ok(Box::new(GlobalCollector {
        alive: reader.doc_ids_alive().collect(),
        children: Children::open_below(children, segment)?,
        budget: segment.budget.clone(),
    }))
}

struct GlobalCollector {
    alive: Vec<DocId>,
    children: Children,
    budget: Budget,
}

impl Collect for GlobalCollector {
    fn collect(&mut self, _docs: &[DocId], _parents: &[Ordinal]) -> Result<(), AggregateError> {
        Ok(())
    }

    fn finish(
        mut self: Box<Self>,
        parent_count: usize,
    ) -> Result<Vec<PartialAggregation>, AggregateError> {
        let parents = [0; BLOCK_DOCS];
        for docs in self.alive.chunks(BLOCK_DOCS) {
            self.budget.check()?;
            self.children.collect(docs, &parents[..docs.len()])?;
        }
        let count = self.alive.len() as u64;
        let found = self.children.finish(parent_count)?;
        let buckets = found
            .into_iter()
            .map(|children| PartialAggregation::Single(PartialBucket { count, children }));
        Ok(buckets.collect())
    }
}
