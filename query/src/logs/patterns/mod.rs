//! The patterns of messages: how often each occurs, over time, and since when.
//!
//! The engine counts templates (`aggregate/patterns.rs`); here those that are alike become one ([`alike`]), the ones that
//! were asked for are chosen, and of each a message is read.

mod alike;

use std::collections::BTreeMap;
use std::sync::Arc;

use event::Timestamp;

pub use alike::shown_template;

use super::aggregate::{
    Aggregation, AggregationResult, Aggregations, FoundPattern, FoundPatterns, Kind, PatternKey,
    Patterns,
};
use super::execute::{Answer, Executor, SearchError, SearchTarget};
use super::filter::{Filter, TimeRange};
use super::plan::Plan;
use crate::limits::Budget;

/// What is asked about patterns.
#[derive(Debug, Clone)]
pub struct PatternsQuestion {
    /// What a message's event must fulfil.
    pub filter: Filter,
    /// The time of the events.
    pub range: TimeRange,
    /// The length of a bucket, in nanoseconds; more than 0.
    pub step_nanos: i64,
    /// Only patterns whose first message is not before this.
    pub new_since: Option<Timestamp>,
    /// Only patterns whose last message is before this.
    pub gone_since: Option<Timestamp>,
    /// At most this many patterns, the most frequent ones.
    pub limit: usize,
}

/// The patterns of messages. Partial when the answer of the search says so.
#[derive(Debug)]
pub struct PatternsAnswer {
    /// The most frequent first; of equal ones by field and text.
    pub patterns: Vec<Pattern>,
    /// How many there are without the limit.
    pub pattern_count: usize,
    /// How many messages there are, with and without a template, of whatever pattern.
    pub total: u64,
    /// How many of them have no template.
    pub without_template: u64,
    /// Some examples are missing, because the time was up.
    pub lacks_examples: bool,
    /// What else the search says.
    pub search: Answer,
}

/// One pattern.
#[derive(Debug)]
pub struct Pattern {
    /// The field, dotted.
    pub field: Box<str>,
    /// The text, with `<*>` for variables.
    pub text: String,
    /// How many templates are shown as this.
    pub template_count: usize,
    /// How often and when.
    pub found: FoundPattern,
    /// Its last message; `None` when it could not be read.
    pub example: Option<String>,
}

impl PatternsQuestion {
    /// Finds out. `budget` is what the search may use; reading examples has the same deadline.
    ///
    /// # Errors
    /// As [`Executor::search`].
    pub async fn ask(
        self,
        executor: &Executor,
        target: SearchTarget,
        budget: Budget,
    ) -> Result<PatternsAnswer, SearchError> {
        let plan = Plan {
            filter: Filter::all(vec![Filter::During(self.range), self.filter.clone()]),
            aggregations: Aggregations(vec![(
                String::new(),
                Aggregation {
                    kind: Kind::Patterns(Patterns {
                        step_nanos: self.step_nanos,
                    }),
                    children: Aggregations::default(),
                },
            )]),
            ..Plan::default()
        };
        // The search's own budget ends with it.
        let search = budget.again();
        let mut answer = executor.search(target, Arc::new(plan), search).await?;
        let found = match answer.aggregations.0.pop().flatten() {
            Some(AggregationResult::Patterns(found)) => *found,
            _ => FoundPatterns::default(),
        };
        let summarized = tokio::task::spawn_blocking(move || {
            let mut summary = self.summarize(found);
            summary.read_examples(&budget);
            summary
        });
        let summary = summarized
            .await
            .map_err(|error| SearchError::Internal(error.to_string()))?;
        Ok(PatternsAnswer {
            search: answer,
            ..summary
        })
    }

    fn summarize(&self, found: FoundPatterns) -> PatternsAnswer {
        let mut total = found.without_template;
        let (keys, templates): (Vec<PatternKey>, Vec<FoundPattern>) =
            found.patterns.into_iter().unzip();
        let texts = alike::patterns_of(&keys);
        let mut patterns: BTreeMap<(Box<str>, String), Pattern> = BTreeMap::new();
        for ((key, text), found) in keys.into_iter().zip(texts).zip(templates) {
            total += found.count;
            match patterns.get_mut(&(key.field.clone(), text.clone())) {
                Some(pattern) => {
                    pattern.template_count += 1;
                    pattern.found.merge(found);
                }
                None => {
                    let pattern = Pattern {
                        field: key.field.clone(),
                        text: text.clone(),
                        template_count: 1,
                        found,
                        example: None,
                    };
                    patterns.insert((key.field, text), pattern);
                }
            }
        }
        let mut patterns: Vec<Pattern> = patterns
            .into_values()
            .filter(|pattern| self.is_wanted(&pattern.found))
            .collect();
        patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.found.count));
        let pattern_count = patterns.len();
        patterns.truncate(self.limit);
        PatternsAnswer {
            patterns,
            pattern_count,
            total,
            without_template: found.without_template,
            lacks_examples: false,
            search: Answer::default(),
        }
    }

    fn is_wanted(&self, found: &FoundPattern) -> bool {
        self.new_since.is_none_or(|time| found.first_seen >= time)
            && self.gone_since.is_none_or(|time| found.last_seen < time)
    }
}

impl PatternsAnswer {
    fn read_examples(&mut self, budget: &Budget) {
        for pattern in &mut self.patterns {
            if budget.check().is_err() {
                self.lacks_examples = true;
                return;
            }
            match pattern.found.newest.read() {
                Ok(message) => pattern.example = message,
                Err(error) => {
                    tracing::error!(%error, "the example of a pattern cannot be read");
                    self.lacks_examples = true;
                }
            }
        }
    }

    /// Whether something may be missing.
    pub fn is_partial(&self) -> bool {
        let search = &self.search;
        self.lacks_examples
            || search.timed_out
            || search.behind.is_some()
            || !search.failures.is_empty()
    }
}
