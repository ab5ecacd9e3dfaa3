//! What an event must fulfil: the leaves of the shard combined with and, or, not.

use indexer::logs::{Leaf, ReadError, ShardReader};
use tantivy::query::{AllQuery, BooleanQuery, EmptyQuery, Occur, Query};

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
}

impl Filter {
    /// At least one of these.
    pub fn any(of: Vec<Filter>) -> Filter {
        Filter::AtLeast { minimum: 1, of }
    }

    /// The tantivy query that answers this for one shard.
    ///
    /// # Errors
    /// The shard's files cannot be read, or a pattern is no valid regular expression.
    pub fn query(&self, shard: &ShardReader) -> Result<Box<dyn Query>, ReadError> {
        let query: Box<dyn Query> = match self {
            Filter::All => Box::new(AllQuery),
            Filter::None => Box::new(EmptyQuery),
            Filter::And(of) => and(of, shard)?,
            Filter::AtLeast { minimum: 0, .. } => Box::new(AllQuery),
            Filter::AtLeast { minimum, of } if *minimum > of.len() => Box::new(EmptyQuery),
            Filter::AtLeast { minimum, of } => {
                let clauses = of
                    .iter()
                    .map(|filter| Ok((Occur::Should, filter.query(shard)?)))
                    .collect::<Result<Vec<_>, ReadError>>()?;
                Box::new(BooleanQuery::with_minimum_required_clauses(
                    clauses, *minimum,
                ))
            }
            Filter::Not(_) => and(std::slice::from_ref(self), shard)?,
            Filter::Leaf(leaf) => shard.query(leaf)?,
        };
        Ok(query)
    }
}

/// tantivy's boolean query needs something to subtract from, so a purely negative one gets every event.
fn and(of: &[Filter], shard: &ShardReader) -> Result<Box<dyn Query>, ReadError> {
    let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::with_capacity(of.len() + 1);
    for filter in of {
        match filter {
            Filter::Not(inner) => clauses.push((Occur::MustNot, inner.query(shard)?)),
            other => clauses.push((Occur::Must, other.query(shard)?)),
        }
    }
    let is_purely_negative = clauses.iter().all(|(occur, _)| *occur == Occur::MustNot);
    if is_purely_negative {
        clauses.push((Occur::Must, Box::new(AllQuery)));
    }
    Ok(Box::new(BooleanQuery::new(clauses)))
}
