//! Aggregations: buckets and metrics over the matching events, one file per variant.
//!
//! A request is a tree of [`Aggregation`]s. Each segment runs its own [`SegmentCollector`]; what it found is a
//! [`Partial`]; partials of all segments and shards merge into one, and [`Partial::finish`] turns that into
//! [`Results`], which stand in the order of the request. Nothing here knows a dialect.
//!
//! Inside a segment every bucket has an ordinal. A bucket aggregation maps each pair of document and parent ordinal
//! to ordinals of its own and hands those pairs to its children in blocks; metrics keep a `Vec` by ordinal.

mod buckets;
mod collector;
mod composite;
mod date_histogram;
mod distinct;
mod expression;
mod filters;
mod geo;
mod global;
mod histogram;
mod key;
mod moments;
mod moving;
mod order;
mod partial;
mod patterns;
pub mod pipeline;
mod quantiles;
mod range;
mod reduce;
mod results;
mod rounding;
mod slots;
mod terms;
mod top;
mod unnamed;
mod values;
mod zero_fill;

use indexer::logs::{FieldKinds, ReadError, ShardReader, ValueColumn};

use crate::limits::{Budget, Stop};
use crate::logs::filter::Filter;

pub use collector::SegmentCollector;
pub use composite::{Composite, Source, SourceKind};
pub use date_histogram::DateHistogram;
pub use distinct::{CARDINALITY_PRECISION_DEFAULT, CARDINALITY_PRECISION_MAX};
pub use expression::{Expression, ExpressionError};
pub use filters::Filters;
pub use geo::{Cells, GeoGrid, GeoPoints};
pub use histogram::Histogram;
pub use key::Key;
pub use moments::{Moment, Moments};
pub use moving::MovingFunction;
pub use order::{Order, OrderBy};
pub use partial::Partial;
pub use patterns::{FoundPattern, FoundPatterns, MessagePlace, PatternKey, Patterns};
pub use pipeline::Pipeline;
pub use quantiles::Quantiles;
pub use range::{NumberRange, Ranges};
pub use results::{AggregationResult, Bucket, Buckets, GeoCentre, Results, TopEntry, TopHit};
pub use rounding::{CalendarUnit, Interval, Rounding};
pub use terms::{Terms, TermsFilter};
pub use top::{SortField, SortValue, TopHits, TopMetrics};
pub use values::{NumberSource, ValueKind};
pub use zero_fill::Bounds;

/// How many buckets one answer may hold, over all levels. Elasticsearch's `search.max_buckets`.
pub const BUCKETS_MAX: usize = 65_536;
/// How deep aggregations may nest; keeps every walk over the tree within a thread's stack.
pub const DEPTH_MAX: usize = 32;

/// A bucket's number within one aggregation and one segment; children see it as their parent.
type Ordinal = u32;

/// Named aggregations, side by side, in the order of the request.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Aggregations(pub Vec<(String, Aggregation)>);

/// One aggregation and those inside its buckets.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregation {
    /// What it computes.
    pub kind: Kind,
    /// What is computed in each of its buckets; empty for metrics and pipelines.
    pub children: Aggregations,
}

/// What an aggregation computes.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// One bucket per interval of time.
    DateHistogram(DateHistogram),
    /// One bucket per value.
    Terms(Terms),
    /// One bucket per interval of numbers.
    Histogram(Histogram),
    /// One bucket per filter, in their order.
    Filters(Filters),
    /// One bucket: the events that fulfil it.
    Filter(Filter),
    /// One bucket: every event of the shards, whatever the query.
    Global,
    /// One bucket per range of numbers or times.
    Ranges(Ranges),
    /// One bucket per combination of values, in pages.
    Composite(Composite),
    /// One bucket per cell of the map.
    GeoGrid(GeoGrid),
    /// Count, sum, extremes and spread of numbers.
    Moments {
        /// The numbers.
        source: NumberSource,
        /// The one number that stands for it in paths and orders; `None` when a path must name a property.
        value: Option<Moment>,
        /// How many standard deviations the bounds of the spread are away from the mean.
        sigma: f64,
    },
    /// Events, values or their sum per unit of time; inside a [`Kind::DateHistogram`].
    Rate {
        /// The numbers; without them events are counted.
        source: Option<NumberSource>,
        /// Counts the values instead of adding them up.
        counts_values: bool,
        /// The unit of time; `None` is the interval of the histogram.
        unit: Option<CalendarUnit>,
    },
    /// How many values there are, of any type.
    ValueCount {
        /// The field.
        field: String,
        /// Whether events without a value count as one.
        has_missing: bool,
    },
    /// How many different values there are.
    Cardinality {
        /// The field.
        field: String,
        /// The value of events that have none.
        missing: Option<Key>,
        /// Up to this many different values the answer is exact.
        precision: usize,
    },
    /// The distribution of numbers.
    Quantiles(NumberSource),
    /// The first events by some order, and some of their values.
    TopMetrics(TopMetrics),
    /// The first events by some order, whole.
    TopHits(TopHits),
    /// The corners and the middle of points on the map.
    GeoPoints(GeoPoints),
    /// The patterns of messages.
    Patterns(Patterns),
    /// Something computed from the results of other aggregations.
    Pipeline(Pipeline),
}

/// Why aggregations failed.
#[derive(Debug, thiserror::Error)]
pub enum AggregateError {
    /// The request asks for something that cannot be computed; the client must change it.
    #[error("{0}")]
    Request(String),
    /// A field of the request has no values that can be aggregated; the client must choose another.
    #[error(
        "field [{field}] holds full text, which cannot be aggregated or sorted by; use a shorter field or [{field}.keyword]"
    )]
    FullText {
        /// The field.
        field: String,
    },
    /// A field of the request has values of the wrong type; the client must choose another.
    #[error(
        "field [{field}] of type [{kind}] is not supported for aggregation [{aggregation}]; use a field of numbers or times"
    )]
    WrongType {
        /// The field.
        field: String,
        /// What it holds: `keyword`.
        kind: &'static str,
        /// What was asked of it.
        aggregation: &'static str,
    },
    /// The answer would have too many buckets; the client must ask for fewer.
    #[error(
        "trying to create too many buckets: at most {BUCKETS_MAX} are allowed; use a larger interval or a smaller size"
    )]
    TooManyBuckets,
    /// The budget is used up.
    #[error(transparent)]
    Stop(#[from] Stop),
    /// A shard cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Aggregations {
    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks fields against the shards of the query; call it once, before any collector.
    ///
    /// A field no shard knows is fine: its buckets are empty. A field that some shard can aggregate is fine too,
    /// its other values are left out.
    ///
    /// # Errors
    /// A field has values in these shards, but none that its aggregation can use.
    pub fn check<'a>(
        &self,
        shards: impl IntoIterator<Item = &'a ShardReader>,
    ) -> Result<(), AggregateError> {
        let mut wanted = Vec::new();
        self.wanted_fields(&mut wanted);
        let mut kinds = vec![FieldKinds::default(); wanted.len()];
        for shard in shards {
            for segment in 0..shard.searcher().segment_readers().len() {
                for ((field, use_of), kinds) in wanted.iter().zip(&mut kinds) {
                    if !use_of.is_served_by(*kinds) {
                        add_kinds(kinds, shard, segment, field)?;
                    }
                }
            }
        }
        for ((field, use_of), kinds) in wanted.iter().zip(&kinds) {
            check_field(field, *use_of, *kinds)?;
        }
        Ok(())
    }

    /// Begins to collect one segment of a shard; `segment` counts as the shard's searcher does.
    ///
    /// # Errors
    /// The shard cannot be read, a pattern is invalid, or the budget is used up.
    pub fn collector(
        &self,
        shard: &ShardReader,
        segment: usize,
        budget: &Budget,
    ) -> Result<SegmentCollector, AggregateError> {
        SegmentCollector::new(self, shard, segment, budget)
    }

    fn wanted_fields<'a>(&'a self, wanted: &mut Vec<(&'a str, UseOf)>) {
        for (_, aggregation) in &self.0 {
            match &aggregation.kind {
                Kind::DateHistogram(histogram) => {
                    wanted.push((&histogram.field, UseOf::Numbers("date_histogram")));
                }
                Kind::Histogram(histogram) => {
                    wanted.push((&histogram.source.field, UseOf::Numbers("histogram")));
                }
                Kind::Ranges(ranges) => {
                    wanted.push((&ranges.source.field, UseOf::Numbers("range")));
                }
                Kind::Moments { source, value, .. } => {
                    let name = value.map_or("stats", Moment::name);
                    wanted.push((&source.field, UseOf::Numbers(name)));
                }
                Kind::Rate { source, .. } => {
                    let source = source.iter();
                    wanted.extend(source.map(|source| (&*source.field, UseOf::Numbers("rate"))));
                }
                Kind::Quantiles(source) => {
                    wanted.push((&source.field, UseOf::Numbers("percentiles")));
                }
                Kind::Terms(terms) => wanted.push((&terms.field, UseOf::Values)),
                Kind::ValueCount { field, .. } | Kind::Cardinality { field, .. } => {
                    wanted.push((field, UseOf::Values));
                }
                Kind::Composite(composite) => {
                    for source in &composite.sources {
                        wanted.push((&source.field, UseOf::Values));
                    }
                }
                Kind::TopMetrics(_)
                | Kind::TopHits(_)
                | Kind::Filters(_)
                | Kind::Filter(_)
                | Kind::Global
                | Kind::GeoGrid(_)
                | Kind::GeoPoints(_)
                | Kind::Patterns(_)
                | Kind::Pipeline(_) => {}
            }
            aggregation.children.wanted_fields(wanted);
        }
    }

    /// Where the aggregation of this name stands.
    fn position(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|(known, _)| known == name)
    }
}

/// What an aggregation needs of a field.
#[derive(Debug, Clone, Copy)]
enum UseOf {
    Values,
    Numbers(&'static str),
}

impl UseOf {
    fn is_served_by(self, kinds: FieldKinds) -> bool {
        let has_numbers = kinds.integer || kinds.float || kinds.boolean || kinds.time;
        match self {
            UseOf::Values => has_numbers || kinds.text,
            UseOf::Numbers(_) => has_numbers,
        }
    }
}

fn add_kinds(
    kinds: &mut FieldKinds,
    shard: &ShardReader,
    segment: usize,
    field: &str,
) -> Result<(), AggregateError> {
    kinds.full_text |= shard.has_full_text(segment, field);
    for column in shard.columns(segment, field)? {
        match column {
            ValueColumn::Text(_) => kinds.text = true,
            ValueColumn::Integer(_) | ValueColumn::Unsigned(_) => kinds.integer = true,
            ValueColumn::Float(_) => kinds.float = true,
            ValueColumn::Bool(_) => kinds.boolean = true,
            ValueColumn::Time(_) => kinds.time = true,
        }
    }
    Ok(())
}

fn check_field(field: &str, use_of: UseOf, kinds: FieldKinds) -> Result<(), AggregateError> {
    let field = field.to_owned();
    match use_of {
        _ if use_of.is_served_by(kinds) => Ok(()),
        UseOf::Numbers(aggregation) if kinds.text => Err(AggregateError::WrongType {
            field,
            kind: "keyword",
            aggregation,
        }),
        _ if kinds.full_text => Err(AggregateError::FullText { field }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_must_have_values_that_its_aggregation_can_use() {
        let text = FieldKinds {
            text: true,
            ..FieldKinds::default()
        };
        let full_text = FieldKinds {
            full_text: true,
            ..FieldKinds::default()
        };
        let both = FieldKinds {
            integer: true,
            ..text
        };
        let numbers = UseOf::Numbers("avg");
        assert!(check_field("f", UseOf::Values, text).is_ok());
        assert!(check_field("f", numbers, both).is_ok());
        assert!(check_field("f", numbers, FieldKinds::default()).is_ok());
        let wrong = check_field("f", numbers, text).unwrap_err().to_string();
        assert!(wrong.contains("field [f] of type [keyword]"), "{wrong}");
        let full = check_field("f", UseOf::Values, full_text)
            .unwrap_err()
            .to_string();
        assert!(full.contains("[f.keyword]"), "{full}");
    }
}
