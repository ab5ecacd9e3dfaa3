//! The syntax tree of a `query_string`, as Lucene's classic parser reads it.

use std::ops::Bound;

/// One clause of a group with what stands before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Clause {
    /// `AND`, `OR` or nothing before it.
    pub conjunction: Conjunction,
    /// `+`, `-`, `!`, `NOT` or nothing.
    pub modifier: Modifier,
    /// What is asked.
    pub node: Node,
}

/// What joins a clause to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conjunction {
    /// Nothing: the default operator decides.
    Juxtaposed,
    /// `AND`, `&&`.
    And,
    /// `OR`, `||`.
    Or,
}

/// What a clause is marked with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Modifier {
    /// Nothing.
    Plain,
    /// `+`.
    Required,
    /// `-`, `!`, `NOT`.
    Prohibited,
}

/// A group or a term.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// Clauses between parentheses, or the whole query.
    Group(Vec<Clause>),
    /// One term on one field; without a field on the default fields.
    Term(Option<String>, Term),
}

/// What a field is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Term {
    /// A word, escapes resolved.
    Word(String),
    /// A text between quotes, escapes resolved, and how far its words may be apart.
    Phrase(String, Option<u32>),
    /// A word with `*` or `?`; a backslash takes the next character literally.
    Wildcard(String),
    /// An expression between slashes, in Lucene's syntax.
    Regex(String),
    /// A word with `~`, and how many edits it may be away; nothing means that its length decides.
    Fuzzy(String, Option<f64>),
    /// Bounds, escapes resolved.
    Range(Bound<String>, Bound<String>),
}
