//! What an event must fulfil: the leaves of the shard combined with and, or, not.
//!
//! A filter is made once per question and resolved per shard and per segment ([`Filter::resolve`]): there, conditions on the
//! shard's name, its fields and its time become yes or no, and what is left is asked of the index. A filter that
//! resolves to [`Filter::None`] means that the shard or segment need not be opened at all.

mod resolve;
mod time_range;

use std::ops::Bound;

use indexer::logs::{Field, Leaf, Pattern, ReadError, Scalar, ShardReader};
use tantivy::query::{AllQuery, BooleanQuery, EmptyQuery, Occur, Query};

pub use resolve::Scope;
pub(crate) use resolve::wildcard_regex_text;
pub use time_range::TimeRange;

/// The field whose value is the event's own time.
pub const TIMESTAMP_FIELD: &str = "@timestamp";

/// A condition on an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Every event.
    All,
    /// No event.
    None,
    /// All of these; of none, every event.
    And(Vec<Filter>),
    /// At least `minimum` of these.
    AtLeast {
        /// How many must hold; 0 means every event.
        minimum: usize,
        /// The conditions.
        of: Vec<Filter>,
    },
    /// Not this.
    Not(Box<Filter>),
    /// One question to the shard.
    Leaf(Leaf),
    /// The event's own time is in this range. Prunes shards and segments; not for other fields that hold times.
    During(TimeRange),
    /// The event's index has a name that fits: the index (`logs`) or the shard (`logs-2026.11.23`).
    Index(Pattern),
    /// The condition holds for at least one field whose path fits one of the wildcard patterns (`k8s.*`).
    ///
    /// Inside, [`Field::Any`] and an empty path of [`Leaf::Exists`] stand for that field.
    AnyField {
        /// Wildcard patterns over dotted paths; `*` any characters, `?` one, `\` takes the next one literally.
        paths: Vec<String>,
        /// The condition.
        of: Box<Filter>,
    },
}

impl Filter {
    /// At least one of these; a single one is itself.
    pub fn any(mut of: Vec<Filter>) -> Filter {
        match of.len() {
            1 => of.remove(0),
            _ => Filter::AtLeast { minimum: 1, of },
        }
    }

    /// All of these; a single one is itself.
    pub fn all(mut of: Vec<Filter>) -> Filter {
        match of.len() {
            0 => Filter::All,
            1 => of.remove(0),
            _ => Filter::And(of),
        }
    }

    /// Not this.
    pub fn negate(self) -> Filter {
        match self {
            Filter::All => Filter::None,
            Filter::None => Filter::All,
            Filter::Not(inner) => *inner,
            other => Filter::Not(Box::new(other)),
        }
    }

    /// The time outside of which no event can fulfil this, as far as conditions that must hold tell.
    pub fn time_range(&self) -> TimeRange {
        match self {
            Filter::During(range) => *range,
            Filter::None => TimeRange::EMPTY,
            Filter::And(of) => of.iter().fold(TimeRange::ALL, |range, filter| {
                range.intersection(filter.time_range())
            }),
            Filter::AtLeast { minimum: 1, of } if of.len() == 1 => of[0].time_range(),
            _ => TimeRange::ALL,
        }
    }

    /// The tantivy query that answers this for one shard. It gives no scores.
    ///
    /// # Errors
    /// The shard's files cannot be read, or a pattern is no valid regular expression.
    pub fn query(&self, shard: &ShardReader) -> Result<Box<dyn Query>, ReadError> {
        self.resolve_for(shard).resolved_query(shard)
    }

    /// This filter for the events of one shard; see [`Filter::resolve`].
    pub(crate) fn resolve_for(&self, shard: &ShardReader) -> Filter {
        let range = match shard.time_range() {
            Some((first, last)) => TimeRange { first, last },
            None => TimeRange::EMPTY,
        };
        Scope::with(shard, range, |scope| self.resolve(scope))
    }

    /// As [`Filter::query`], for a filter that was resolved for this shard or one of its segments.
    pub(crate) fn resolved_query(&self, shard: &ShardReader) -> Result<Box<dyn Query>, ReadError> {
        let query: Box<dyn Query> = match self {
            Filter::All => Box::new(AllQuery),
            // A condition that only resolving can answer has been resolved; what is left of it never holds.
            Filter::None | Filter::Index(_) | Filter::AnyField { .. } => Box::new(EmptyQuery),
            Filter::And(of) => and(of, shard)?,
            Filter::AtLeast { minimum: 0, .. } => Box::new(AllQuery),
            Filter::AtLeast { minimum, of } if *minimum > of.len() => Box::new(EmptyQuery),
            Filter::AtLeast { minimum, of } => {
                let clauses = of
                    .iter()
                    .map(|filter| Ok((Occur::Should, filter.resolved_query(shard)?)))
                    .collect::<Result<Vec<_>, ReadError>>()?;
                Box::new(BooleanQuery::with_minimum_required_clauses(
                    clauses, *minimum,
                ))
            }
            Filter::Not(_) => and(std::slice::from_ref(self), shard)?,
            Filter::Leaf(leaf) => shard.query(leaf)?,
            Filter::During(range) => shard.query(&during_leaf(*range))?,
        };
        Ok(query)
    }
}

fn during_leaf(range: TimeRange) -> Leaf {
    Leaf::Range(
        Field::Named(TIMESTAMP_FIELD.to_owned()),
        Bound::Included(Scalar::Time(range.first)),
        Bound::Included(Scalar::Time(range.last)),
    )
}

/// tantivy's boolean query needs something to subtract from, so a purely negative one gets every event.
fn and(of: &[Filter], shard: &ShardReader) -> Result<Box<dyn Query>, ReadError> {
    let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::with_capacity(of.len() + 1);
    for filter in of {
        match filter {
            Filter::Not(inner) => clauses.push((Occur::MustNot, inner.resolved_query(shard)?)),
            other => clauses.push((Occur::Must, other.resolved_query(shard)?)),
        }
    }
    let is_purely_negative = clauses.iter().all(|(occur, _)| *occur == Occur::MustNot);
    if is_purely_negative {
        clauses.push((Occur::Must, Box::new(AllQuery)));
    }
    Ok(Box::new(BooleanQuery::new(clauses)))
}
