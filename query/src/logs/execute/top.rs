//! The best hits of a segment, kept while it is searched.

use std::cmp::Ordering;

use tantivy::DocId;

use super::rank::Rank;

/// How many candidates more than needed are kept before the worst are thrown out: makes throwing out rare.
const SLACK: usize = 64;

/// A document and its place in the order.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// By the first key.
    pub first: Rank,
    /// By the other keys.
    pub rest: Box<[Rank]>,
    /// Its number in the journal, directed; what is equal otherwise is ordered by it.
    pub tie: u64,
    /// Its number in the segment.
    pub doc: DocId,
}

impl Candidate {
    fn compare(&self, other: &Candidate) -> Ordering {
        self.first
            .cmp(&other.first)
            .then_with(|| self.rest.cmp(&other.rest))
            .then_with(|| self.tie.cmp(&other.tie))
    }
}

/// The best `wanted` candidates of those it was given.
pub(super) struct Top {
    wanted: usize,
    kept: Vec<Candidate>,
    threshold: Option<Rank>,
}

impl Top {
    pub fn new(wanted: usize) -> Top {
        Top {
            wanted,
            kept: Vec::new(),
            threshold: None,
        }
    }

    /// Candidates whose first rank is larger cannot be among the best.
    pub fn threshold(&self) -> Option<Rank> {
        self.threshold
    }

    /// Takes over what is known from elsewhere.
    pub fn limit(&mut self, threshold: Rank) {
        self.threshold = Some(match self.threshold {
            Some(known) => known.min(threshold),
            None => threshold,
        });
    }

    pub fn push(&mut self, candidate: Candidate) {
        self.kept.push(candidate);
        if self.kept.len() >= self.wanted * 2 + SLACK {
            self.shrink();
        }
    }

    /// Throws out what is not among the best.
    pub fn shrink(&mut self) {
        if self.kept.len() < self.wanted || self.wanted == 0 {
            return;
        }
        let last = self.wanted - 1;
        self.kept.select_nth_unstable_by(last, Candidate::compare);
        self.kept.truncate(self.wanted);
        let worst = self.kept[last].first;
        self.limit(worst);
    }

    /// The best, in order.
    pub fn finish(mut self) -> Vec<Candidate> {
        self.kept.sort_unstable_by(Candidate::compare);
        self.kept.truncate(self.wanted);
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever the order of arrival, the best are kept, in order, and nothing below the threshold is lost.
        #[test]
        fn the_best_are_kept(values in proptest::collection::vec(0i64..50, 0..500), wanted in 1usize..40) {
            let mut top = Top::new(wanted);
            for (doc, value) in values.iter().enumerate() {
                let first = Rank::integer(*value);
                if top.threshold().is_some_and(|threshold| first > threshold) {
                    continue;
                }
                top.push(Candidate { first, rest: Box::default(), tie: doc as u64, doc: doc as DocId });
            }
            let mut expected: Vec<(i64, DocId)> =
                values.iter().enumerate().map(|(doc, value)| (*value, doc as DocId)).collect();
            expected.sort_unstable();
            expected.truncate(wanted);
            let found: Vec<DocId> = top.finish().iter().map(|candidate| candidate.doc).collect();
            let expected: Vec<DocId> = expected.into_iter().map(|(_, doc)| doc).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
