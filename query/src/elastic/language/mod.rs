//! The language of requests: query DSL, query_string, dates. Turns text and JSON into filters.

mod bounds;
pub mod date_format;
pub mod date_math;
pub mod dsl;
pub mod lenient;
pub mod lucene_regex;
pub mod minimum;
pub mod query_string;
pub mod simple_query_string;
pub mod text;

use crate::elastic::error::ElasticError;
use date_math::DateError;

/// A query that cannot be answered; the client has to change it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// There is no query type of this name.
    #[error("unknown query [{0}]")]
    UnknownQuery(String),
    /// The JSON has the wrong shape.
    #[error("{0}")]
    Shape(String),
    /// A parameter has a value that cannot be used.
    #[error("{0}")]
    Value(String),
    /// The text of a `query_string` breaks its grammar.
    #[error("Failed to parse query [{query}]: {problem}")]
    Syntax {
        /// The text.
        query: String,
        /// Where it breaks and what was expected there.
        problem: String,
    },
    /// A text that should be a date is none.
    #[error(transparent)]
    Date(#[from] DateError),
}

impl QueryError {
    /// The answer to the client; `indices` are those that were to be searched.
    pub fn into_elastic(self, indices: &[String]) -> ElasticError {
        match self {
            // Positions are not kept past the JSON parser; clients read the reason.
            QueryError::UnknownQuery(name) => ElasticError::unknown_query(&name, 1, 1),
            QueryError::Shape(reason) => ElasticError::parsing(reason, 1, 1),
            QueryError::Value(reason) => ElasticError::illegal_argument(reason),
            QueryError::Syntax { query, problem } => {
                ElasticError::query_syntax(&query, &problem, indices)
            }
            QueryError::Date(error) => ElasticError::date(&error.text, &error.format),
        }
    }
}
