//! `query_string`: Lucene's query language, as Grafana's and Kibana's search fields speak it.
//!
//! Text → tree ([`parser`]) → filter. The booleans follow Lucene's classic algorithm, in which AND does not bind tighter
//! than OR: `a OR b AND c` requires b and c, and a changes nothing. Nothing is scored, so clauses that would only
//! raise a score are left out.

mod ast;
mod parser;

use std::ops::Bound;

use indexer::logs::{Field, Pattern};

use super::QueryError;
use super::bounds;
use super::lucene_regex;
use super::minimum::MinimumShouldMatch;
use super::text::{FieldPath, Fields, RangeValue, TextContext, exists, exists_path, split_words};
use crate::logs::filter::Filter;
use ast::{Clause, Conjunction, Modifier, Node, Term};

/// The longest text we parse, in bytes; filters made by programs stay far below it.
const BYTES_MAX: usize = 1 << 20;

/// What joins clauses that stand side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// All of them.
    And,
    /// At least one of them.
    Or,
}

/// How a text is to be read.
#[derive(Debug, Clone)]
pub struct QueryString<'a> {
    /// What is searched where no field is named.
    pub default_fields: Fields,
    /// What joins clauses side by side.
    pub default_operator: Operator,
    /// How far the words of a phrase may be apart where the text does not say.
    pub phrase_slop: u32,
    /// How many of the optional clauses on the top level must hold, of how many there are; `None`: the usual rule.
    pub minimum_should_match: Option<&'a MinimumShouldMatch>,
    /// What texts mean.
    pub text: TextContext<'a>,
}

impl QueryString<'_> {
    /// The filter that `query` means.
    ///
    /// # Errors
    /// The text breaks the grammar, a regular expression is not valid, or a date on `@timestamp` is none.
    pub fn parse(&self, query: &str) -> Result<Filter, QueryError> {
        let syntax = |problem: String| QueryError::Syntax {
            query: query.chars().take(1024).collect(),
            problem,
        };
        if query.len() > BYTES_MAX {
            return Err(syntax(format!("longer than {BYTES_MAX} bytes")));
        }
        let clauses = parser::parse(query).map_err(syntax)?;
        if clauses.is_empty() {
            return Ok(Filter::None);
        }
        bounds::check(self.term_count(&clauses), &self.default_fields).map_err(syntax)?;
        self.group(&clauses, self.minimum_should_match)
            .map_err(|error| match error {
                QueryError::Value(problem) => syntax(problem),
                QueryError::Date(error) => syntax(error.to_string()),
                other => other,
            })
    }

    /// Terms as [`bounds`] counts them: words that only have to be near each other are terms of their own.
    fn term_count(&self, clauses: &[Clause]) -> usize {
        let count = |clause: &Clause| match &clause.node {
            Node::Group(clauses) => self.term_count(clauses),
            Node::Term(_, Term::Phrase(text, slop)) if slop.unwrap_or(self.phrase_slop) > 0 => {
                split_words(text).count().max(1)
            }
            Node::Term(..) => 1,
        };
        clauses.iter().map(count).sum()
    }

    fn group(
        &self,
        clauses: &[Clause],
        minimum: Option<&MinimumShouldMatch>,
    ) -> Result<Filter, QueryError> {
        let mut required = Vec::new();
        let mut optional = Vec::new();
        let occurrences = self.occurrences(clauses);
        let has_must = occurrences.contains(&Occurrence::Must);
        for (clause, occurrence) in clauses.iter().zip(occurrences) {
            let filter = self.node(&clause.node)?;
            match occurrence {
                Occurrence::Must => required.push(filter),
                Occurrence::MustNot => required.push(filter.negate()),
                Occurrence::Should => optional.push(filter),
            }
        }
        let minimum = match minimum {
            Some(minimum) => minimum.of(optional.len()),
            None if has_must || optional.is_empty() => 0,
            None => 1,
        };
        if minimum > 0 {
            required.push(match minimum {
                1 => Filter::any(optional),
                minimum => Filter::AtLeast {
                    minimum,
                    of: optional,
                },
            });
        }
        Ok(Filter::all(required))
    }

    /// Lucene's classic rule, left to right: AND reaches back to the clause before it.
    fn occurrences(&self, clauses: &[Clause]) -> Vec<Occurrence> {
        let mut occurrences: Vec<Occurrence> = Vec::with_capacity(clauses.len());
        for clause in clauses {
            if let Some(previous) = occurrences.last_mut() {
                let is_prohibited = *previous == Occurrence::MustNot;
                let reaches_back = match (clause.conjunction, self.default_operator) {
                    (Conjunction::And, _) => Some(Occurrence::Must),
                    (Conjunction::Or, Operator::And) => Some(Occurrence::Should),
                    _ => None,
                };
                if let (Some(occurrence), false) = (reaches_back, is_prohibited) {
                    *previous = occurrence;
                }
            }
            let own = match (clause.modifier, self.default_operator) {
                (Modifier::Prohibited, _) => Occurrence::MustNot,
                (Modifier::Required, Operator::Or) => Occurrence::Must,
                (Modifier::Plain, Operator::Or) if clause.conjunction == Conjunction::And => {
                    Occurrence::Must
                }
                (Modifier::Plain, Operator::Or) => Occurrence::Should,
                (_, Operator::And) if clause.conjunction == Conjunction::Or => Occurrence::Should,
                (_, Operator::And) => Occurrence::Must,
            };
            occurrences.push(own);
        }
        occurrences
    }

    fn node(&self, node: &Node) -> Result<Filter, QueryError> {
        match node {
            Node::Group(clauses) => self.group(clauses, None),
            Node::Term(Some(field), term) if field == "_exists_" => Ok(match term {
                Term::Word(path) | Term::Phrase(path, _) => exists_path(path),
                Term::Wildcard(pattern) => exists_path(&pattern.replace('\\', "")),
                _ => Filter::None,
            }),
            Node::Term(field, term) => {
                let named = field
                    .as_deref()
                    .map(|field| Fields::parse([field]))
                    // A caret in a name is a boost only in lists of fields.
                    .map(|fields| match (fields, field.as_deref()) {
                        (Fields::Named(_), Some(field)) if !field.contains('*') => {
                            Fields::exact(field)
                        }
                        (fields, _) => fields,
                    });
                let fields = named.as_ref().unwrap_or(&self.default_fields);
                self.term(fields, term)
            }
        }
    }

    fn term(&self, fields: &Fields, term: &Term) -> Result<Filter, QueryError> {
        if is_everything(term) {
            return Ok(existence(fields));
        }
        let text = &self.text;
        match term {
            Term::Word(word) => fields.ask(&mut |field| text.words(field, word)),
            Term::Phrase(phrase, slop) => match slop.unwrap_or(self.phrase_slop) {
                0 => fields.ask(&mut |field| text.words(field, phrase)),
                _ => fields.ask(&mut |field| text.words_near(field, phrase)),
            },
            Term::Wildcard(pattern) => {
                let pattern = Pattern::Wildcard(pattern.clone());
                fields.ask(&mut |field| Ok(text.pattern(field, pattern.clone())))
            }
            Term::Regex(regex) => {
                let regex = lucene_regex::translate(regex, true).map_err(|problem| {
                    QueryError::Value(format!("invalid regular expression /{regex}/: {problem}"))
                })?;
                let pattern = Pattern::Regex(regex);
                fields.ask(&mut |field| Ok(text.pattern(field, pattern.clone())))
            }
            Term::Fuzzy(word, edits) => {
                let edits = fuzzy_edits(word, *edits);
                let pattern = Pattern::Fuzzy(word.clone(), edits);
                fields.ask(&mut |field| Ok(text.pattern(field, pattern.clone())))
            }
            Term::Range(lower, upper) => {
                let (lower, upper) = (range_value(lower), range_value(upper));
                fields.ask(&mut |field| text.range(field, &lower, &upper))
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Occurrence {
    Must,
    Should,
    MustNot,
}

/// Edits that a fuzzy word may be away: as asked, at most two, or by its length.
///
/// Numbers below one are similarities of old versions of Lucene.
pub fn fuzzy_edits(word: &str, asked: Option<f64>) -> u8 {
    let length = word.chars().count();
    match asked {
        Some(edits) if edits >= 1.0 => edits.min(2.0) as u8,
        Some(similarity) if similarity > 0.0 => ((1.0 - similarity) * length as f64).min(2.0) as u8,
        Some(_) => 0,
        None => match length {
            0..=2 => 0,
            3..=5 => 1,
            _ => 2,
        },
    }
}

fn is_everything(term: &Term) -> bool {
    match term {
        Term::Wildcard(pattern) => !pattern.is_empty() && pattern.bytes().all(|byte| byte == b'*'),
        Term::Range(Bound::Unbounded, Bound::Unbounded) => true,
        _ => false,
    }
}

/// `*` and `*:*` are every event; `f:*` is every event that has the field.
fn existence(fields: &Fields) -> Filter {
    match fields {
        Fields::Any => Filter::All,
        Fields::Named(paths) => Filter::any(
            paths
                .iter()
                .map(|path| match path {
                    FieldPath::Exact(path) => exists(&Field::Named(path.clone())),
                    FieldPath::Wildcard(pattern) => exists_path(pattern),
                })
                .collect(),
        ),
    }
}

fn range_value(bound: &Bound<String>) -> Bound<RangeValue> {
    match bound {
        Bound::Unbounded => Bound::Unbounded,
        Bound::Included(text) => Bound::Included(RangeValue::Text(text.clone())),
        Bound::Excluded(text) => Bound::Excluded(RangeValue::Text(text.clone())),
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::draw;
