//! How a shard answers a [`Leaf`]: one file per kind of leaf, each giving the matching documents of one segment.
//!
//! The words in the index give candidates; what words alone cannot tell (a phrase, a whole value, which of the fields)
//! is checked on the value itself: by the column's dictionary where the value has a column, once per distinct value;
//! on the stored document otherwise. Checks on stored documents are lazy, so that other conditions cut them down first.

mod columns;
mod equals;
mod exists;
mod ids;
mod pattern;
mod range;
mod verify;
mod words;

use std::sync::Arc;

use tantivy::query::{
    AllScorer, BitSetDocSet, BooleanQuery, ConstScorer, EmptyScorer, EnableScoring, Explanation,
    Query, Scorer, TermQuery, Weight,
};
use tantivy::schema::{IndexRecordOption, Term};
use tantivy::{BitSet, DocId, DocSet, Score, SegmentReader, TERMINATED, TantivyError};

use super::reader::{Interrupt, ShardContents};
use super::segment::Segment;
use super::{Leaf, Scalar};

/// Documents looked at between two looks at the interrupt.
const DOCUMENTS_PER_CHECK: u32 = 32 * 1024;

/// A leaf with what can be prepared once for all segments.
enum Prepared {
    Words(words::Words),
    Equals(equals::Equals),
    Pattern(pattern::Matcher),
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
}

/// One segment at work, and who may stop it.
pub(super) struct Work<'a> {
    pub(super) segment: &'a Segment,
    pub(super) shard: &'a Arc<ShardContents>,
    pub(super) interrupt: &'a Arc<dyn Interrupt>,
}

/// The documents of one segment that match.
pub(super) enum Matches {
    None,
    All,
    Documents(BitSet),
    Lazy(Box<dyn Scorer>),
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
    ) -> Result<LeafQuery, String> {
        let prepared = match leaf {
            Leaf::Words(field, text) => Prepared::Words(words::Words::new(field, text)),
            Leaf::Equals(field, scalar) => Prepared::Equals(equals::Equals::new(field, scalar)),
            Leaf::WordPattern(field, pattern) => {
                Prepared::Pattern(pattern::Matcher::on_words(field, pattern)?)
            }
            Leaf::ValuePattern(field, pattern) => {
                Prepared::Pattern(pattern::Matcher::on_values(field, pattern)?)
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
        })
    }

    fn matches(&self, reader: &SegmentReader) -> tantivy::Result<Matches> {
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
        let work = Work {
            segment,
            shard: &self.shard,
            interrupt: &self.interrupt,
        };
        // A query may have a thousand leaves, each too cheap to look for itself.
        work.check()?;
        match &*self.prepared {
            Prepared::Words(words) => words.matches(&work),
            Prepared::Equals(equals) => equals.matches(&work),
            Prepared::Pattern(matcher) => matcher.matches(&work),
            Prepared::Range(range) => range.matches(&work),
            Prepared::Exists(path) => exists::matches(&work, path),
            Prepared::Ids(wanted) => ids::matches(&work, wanted),
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

    pub(super) fn empty_set(&self) -> BitSet {
        BitSet::with_max_value(self.segment.document_count())
    }

    /// The documents that have any of these terms; lazy.
    pub(super) fn any_of(&self, terms: Vec<Term>) -> tantivy::Result<Matches> {
        self.combine(terms, BooleanQuery::union)
    }

    /// The documents that have all of these terms; lazy.
    pub(super) fn all_of(&self, terms: Vec<Term>) -> tantivy::Result<Matches> {
        self.combine(terms, BooleanQuery::intersection)
    }

    fn combine(
        &self,
        mut terms: Vec<Term>,
        join: fn(Vec<Box<dyn Query>>) -> BooleanQuery,
    ) -> tantivy::Result<Matches> {
        // A phrase may say one word a thousand times.
        terms.sort_unstable();
        terms.dedup();
        let query =
            |term| -> Box<dyn Query> { Box::new(TermQuery::new(term, IndexRecordOption::Basic)) };
        let whole = match terms.len() {
            0 => return Ok(Matches::None),
            1 => query(terms.remove(0)),
            _ => Box::new(join(terms.into_iter().map(query).collect())),
        };
        let reader = &self.segment.reader;
        let weight = whole.weight(EnableScoring::disabled_from_schema(reader.schema()))?;
        let scorer = weight.scorer(reader, 1.0)?;
        Ok(if scorer.doc() == TERMINATED {
            Matches::None
        } else {
            Matches::Lazy(scorer)
        })
    }

    /// Joins alternatives.
    pub(super) fn union(&self, mut parts: Vec<Matches>) -> tantivy::Result<Matches> {
        parts.retain(|part| !matches!(part, Matches::None));
        if parts.iter().any(|part| matches!(part, Matches::All)) {
            return Ok(Matches::All);
        }
        if parts.len() <= 1 {
            return Ok(parts.pop().unwrap_or(Matches::None));
        }
        let mut all = self.empty_set();
        for part in parts {
            let mut scorer = part.into_scorer(self.segment.document_count());
            let mut until_check = DOCUMENTS_PER_CHECK;
            while scorer.doc() != TERMINATED {
                all.insert(scorer.doc());
                scorer.advance();
                until_check -= 1;
                if until_check == 0 {
                    self.check()?;
                    until_check = DOCUMENTS_PER_CHECK;
                }
            }
        }
        Ok(Matches::Documents(all))
    }

    /// Calls `visit` with consecutive ranges of all documents, and stops when it must.
    pub(super) fn in_chunks(
        &self,
        mut visit: impl FnMut(std::ops::Range<DocId>),
    ) -> tantivy::Result<()> {
        let count = self.segment.document_count();
        let mut start = 0;
        while start < count {
            self.check()?;
            let end = count.min(start + DOCUMENTS_PER_CHECK);
            visit(start..end);
            start = end;
        }
        Ok(())
    }
}

impl Matches {
    pub(super) fn into_scorer(self, document_count: DocId) -> Box<dyn Scorer> {
        match self {
            Matches::None => Box::new(EmptyScorer),
            Matches::All => Box::new(AllScorer::new(document_count)),
            Matches::Documents(set) => Box::new(ConstScorer::new(BitSetDocSet::from(set), 1.0)),
            Matches::Lazy(scorer) => scorer,
        }
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
        Ok(self.0.matches(reader)?.into_scorer(reader.max_doc()))
    }

    fn explain(&self, _: &SegmentReader, _: DocId) -> tantivy::Result<Explanation> {
        Ok(Explanation::new("leaf", 1.0))
    }
}
