//! How a shard answers a [`Leaf`]: one file per kind of leaf, each giving the parts whose union is the answer.
//!
//! A part finds the documents of one block at a time, and only of blocks that somebody asks for. Values in columns are
//! asked by the column (`columns.rs`), everything else by what the blocks say (`scan.rs`).

mod columns;
mod equals;
mod exists;
mod has_text;
mod ids;
mod leaves;
mod parts;
mod pattern;
mod range;
mod scan;
mod sought;
pub mod values;
mod words;

use std::ops::Range;
use std::sync::Arc;

use tantivy::query::{EmptyScorer, EnableScoring, Explanation, Query, Scorer, Weight};
use tantivy::{DocId, Score, SegmentReader, TERMINATED, TantivyError};

use xxhash_rust::xxh3::xxh3_128;

use super::interrupt::Interrupt;
use super::reader::ShardContents;
use super::segment::Segment;
use super::{Leaf, Scalar};
use parts::{LeafScorer, Part};

/// Documents looked at between two looks at the interrupt.
const DOCUMENTS_PER_CHECK: u32 = 32 * 1024;

/// A leaf with what can be prepared once for all segments.
enum Prepared {
    Words(words::Words),
    Equals(equals::Equals),
    Pattern(Arc<pattern::Matcher>),
    Range(range::Range),
    Exists(String),
    Ids(Vec<String>),
}

/// A leaf as a tantivy query over one shard.
#[derive(Clone)]
pub struct LeafQuery {
    prepared: Arc<Prepared>,
    shard: Arc<ShardContents>,
    interrupt: Arc<dyn Interrupt>,
    /// Documents outside need not be found.
    documents: Range<DocId>,
    /// The hash of all that the answer depends on but the block, for leaves whose answers are worth keeping.
    question: Option<u128>,
}

/// One segment at work, and who may stop it.
pub(super) struct Work<'a> {
    pub(super) segment: &'a Segment,
    pub(super) shard: &'a Arc<ShardContents>,
    pub(super) interrupt: &'a Arc<dyn Interrupt>,
}

impl LeafQuery {
    /// Prepares a leaf.
    ///
    /// # Errors
    /// A pattern is no valid regular expression, or too large; the message says where.
    pub fn new(
        leaf: &Leaf,
        shard: Arc<ShardContents>,
        interrupt: Arc<dyn Interrupt>,
        documents: Range<DocId>,
    ) -> Result<LeafQuery, String> {
        let prepared = match leaf {
            Leaf::Words(field, text) => Prepared::Words(words::Words::new(field, text)),
            Leaf::Equals(field, scalar) => Prepared::Equals(equals::Equals::new(field, scalar)),
            Leaf::WordPattern(field, pattern) => {
                Prepared::Pattern(Arc::new(pattern::Matcher::on_words(field, pattern)?))
            }
            Leaf::ValuePattern(field, pattern) => {
                Prepared::Pattern(Arc::new(pattern::Matcher::on_values(field, pattern)?))
            }
            Leaf::Range(field, lower, upper) => {
                Prepared::Range(range::Range::new(field, lower, upper))
            }
            Leaf::Exists(path) => Prepared::Exists(path.clone()),
            Leaf::Ids(ids) => Prepared::Ids(ids.clone()),
        };
        Ok(LeafQuery {
            prepared: Arc::new(prepared),
            shard,
            interrupt,
            documents,
            question: match leaf {
                // What a column answers is asked again as quickly, and ranges of time differ from one search to the next.
                Leaf::Range(..) | Leaf::Exists(_) | Leaf::Ids(_) => None,
                _ => Some(xxh3_128(format!("{leaf:?}").as_bytes())),
            },
        })
    }

    fn matches(&self, reader: &SegmentReader) -> tantivy::Result<LeafScorer> {
        let id = reader.segment_id();
        let segment = self
            .shard
            .segments
            .iter()
            .find(|segment| segment.reader.segment_id() == id);
        let Some(segment) = segment else {
            return Err(TantivyError::InternalError(format!(
                "segment {} is not of this view",
                id.short_uuid_string()
            )));
        };
        LeafScorer::new(self.clone(), segment)
    }

    /// The ways to match in a segment.
    fn parts(&self, segment: &Segment) -> tantivy::Result<Vec<Box<dyn Part>>> {
        let work = Work {
            segment,
            shard: &self.shard,
            interrupt: &self.interrupt,
        };
        // A query may have a thousand leaves, each too cheap to look for itself.
        work.check()?;
        match &*self.prepared {
            Prepared::Words(words) => words.parts(&work),
            Prepared::Equals(equals) => equals.parts(&work),
            Prepared::Pattern(matcher) => matcher.parts(&work),
            Prepared::Range(range) => range.parts(&work),
            Prepared::Exists(path) => exists::parts(&work, path),
            Prepared::Ids(wanted) => ids::parts(&work, wanted),
        }
    }
}

impl Work<'_> {
    /// Fails when the work shall stop.
    pub(super) fn check(&self) -> tantivy::Result<()> {
        if self.interrupt.is_interrupted() {
            return Err(TantivyError::InternalError("interrupted".into()));
        }
        Ok(())
    }
}

/// The values a scalar equals when it is spelled: `"200"` is 200, `"true"` is true.
pub(super) fn spellings(text: &str) -> Vec<Scalar> {
    let mut spelled = Vec::new();
    if let Ok(number) = text.parse::<i64>() {
        spelled.push(Scalar::Integer(number));
    } else if let Ok(number) = text.parse::<u64>() {
        spelled.push(Scalar::Unsigned(number));
    } else if let Some(number) = text.parse::<f64>().ok().filter(|number| number.is_finite()) {
        spelled.push(Scalar::Float(number));
    }
    if let Ok(truth) = text.parse::<bool>() {
        spelled.push(Scalar::Bool(truth));
    }
    spelled
}

impl std::fmt::Debug for LeafQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LeafQuery")
    }
}

impl Query for LeafQuery {
    fn weight(&self, _: EnableScoring<'_>) -> tantivy::Result<Box<dyn Weight>> {
        Ok(Box::new(LeafWeight(self.clone())))
    }
}

struct LeafWeight(LeafQuery);

impl Weight for LeafWeight {
    fn scorer(&self, reader: &SegmentReader, _boost: Score) -> tantivy::Result<Box<dyn Scorer>> {
        let scorer = self.0.matches(reader)?;
        Ok(match tantivy::DocSet::doc(&scorer) {
            TERMINATED => Box::new(EmptyScorer),
            _ => Box::new(scorer),
        })
    }

    fn explain(&self, _: &SegmentReader, _: DocId) -> tantivy::Result<Explanation> {
        Ok(Explanation::new("leaf", 1.0))
    }

    fn count(&self, reader: &SegmentReader) -> tantivy::Result<u32> {
        Ok(self.0.matches(reader)?.count_alive())
    }
}
