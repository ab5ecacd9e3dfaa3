//! Pipelines: aggregations over the results of other aggregations.
//!
//! They run on the final tree, children before parents, and within a level in the order they need each other.
//! A *parent* pipeline walks along the buckets around it; a *sibling* pipeline sums up the buckets beside it.

mod between_buckets;
mod moving_window;
mod path;
mod scripts;
mod siblings;
mod sort;

use super::expression::Expression;
use super::results::{AggregationResult, Bucket};
use super::{AggregateError, Aggregations, Kind};

pub use path::Path;
pub use siblings::Summary;

/// What a pipeline computes.
#[derive(Debug, Clone, PartialEq)]
pub enum Pipeline {
    /// The change since the bucket before.
    Derivative {
        /// What changes.
        path: Path,
        /// Also tell the change per so many milliseconds (or units of the key, for numbers).
        unit: Option<f64>,
        /// What to do about buckets without a value.
        gaps: GapPolicy,
    },
    /// The sum of this bucket and all before.
    CumulativeSum {
        /// What is summed.
        path: Path,
    },
    /// The change since so many buckets before.
    SerialDifference {
        /// What changes.
        path: Path,
        /// How many buckets before; at least 1.
        lag: usize,
        /// What to do about buckets without a value.
        gaps: GapPolicy,
    },
    /// A function over a window of buckets.
    MovingFunction {
        /// What the function sees.
        path: Path,
        /// How many buckets; at least 1.
        window: usize,
        /// By how many buckets the window is moved; 0 ends right before this bucket.
        shift: i64,
        /// The function.
        script: Expression,
        /// What to do about buckets without a value.
        gaps: GapPolicy,
    },
    /// Arithmetic over values of the bucket.
    BucketScript {
        /// Names and what they stand for.
        paths: Vec<(String, Path)>,
        /// The arithmetic.
        script: Expression,
        /// What to do about buckets without a value.
        gaps: GapPolicy,
    },
    /// Keeps the buckets for which the script is true.
    BucketSelector {
        /// Names and what they stand for.
        paths: Vec<(String, Path)>,
        /// The condition.
        script: Expression,
        /// What to do about buckets without a value.
        gaps: GapPolicy,
    },
    /// Orders and cuts the buckets.
    BucketSort {
        /// What is compared, and whether the largest comes first. Empty keeps the order.
        sort: Vec<(Path, bool)>,
        /// How many are skipped.
        from: usize,
        /// How many are kept after those.
        size: Option<usize>,
        /// What to do about buckets without a value.
        gaps: GapPolicy,
    },
    /// One number, or some, over the buckets of a sibling.
    Siblings {
        /// The sibling and the number in its buckets.
        path: Path,
        /// What is computed.
        summary: Summary,
        /// What to do about buckets without a value.
        gaps: GapPolicy,
    },
}

/// What a pipeline does about a bucket that is empty or lacks the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GapPolicy {
    /// As if the bucket were not there.
    #[default]
    Skip,
    /// The value is 0.
    InsertZeros,
    /// An empty bucket's value is used when it has one.
    KeepValues,
}

impl Pipeline {
    fn paths(&self) -> Vec<&Path> {
        match self {
            Pipeline::Derivative { path, .. }
            | Pipeline::CumulativeSum { path }
            | Pipeline::SerialDifference { path, .. }
            | Pipeline::MovingFunction { path, .. }
            | Pipeline::Siblings { path, .. } => vec![path],
            Pipeline::BucketScript { paths, .. } | Pipeline::BucketSelector { paths, .. } => {
                paths.iter().map(|(_, path)| path).collect()
            }
            Pipeline::BucketSort { sort, .. } => sort.iter().map(|(path, _)| path).collect(),
        }
    }
}

/// What the buckets around a pipeline are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surroundings {
    /// Buckets in the order of their keys.
    Histogram,
    /// Buckets in any order.
    Many,
    /// One bucket; there is nothing to walk along.
    One,
}

/// Runs the pipelines of `request`, the aggregations inside `buckets`.
pub(super) fn run(
    request: &Aggregations,
    buckets: &mut Vec<Bucket>,
    surroundings: Surroundings,
) -> Result<(), AggregateError> {
    for position in in_order(request)? {
        let Kind::Pipeline(pipeline) = &request.0[position].1.kind else {
            continue;
        };
        let place = Place {
            request,
            position,
            surroundings,
        };
        place.run(pipeline, buckets)?;
    }
    Ok(())
}

/// A pipeline's place in the request.
struct Place<'a> {
    request: &'a Aggregations,
    position: usize,
    surroundings: Surroundings,
}

impl Place<'_> {
    fn run(&self, pipeline: &Pipeline, buckets: &mut Vec<Bucket>) -> Result<(), AggregateError> {
        if let Pipeline::Siblings {
            path,
            summary,
            gaps,
        } = pipeline
        {
            for bucket in buckets {
                let result = siblings::run(path, summary, *gaps, &bucket.results, self.request)?;
                self.set(bucket, Some(result));
            }
            return Ok(());
        }
        match pipeline {
            Pipeline::Derivative { path, unit, gaps } => {
                self.needs_histogram("derivative")?;
                let values = self.values(path, *gaps, buckets)?;
                let results = between_buckets::derivative(&values, *unit, buckets);
                self.set_all(buckets, results);
            }
            Pipeline::CumulativeSum { path } => {
                self.needs_histogram("cumulative_sum")?;
                let values = self.values(path, GapPolicy::InsertZeros, buckets)?;
                self.set_all(buckets, between_buckets::cumulative_sum(&values));
            }
            Pipeline::SerialDifference { path, lag, gaps } => {
                self.needs_histogram("serial_diff")?;
                let values = self.values(path, *gaps, buckets)?;
                self.set_all(buckets, between_buckets::serial_difference(&values, *lag));
            }
            Pipeline::MovingFunction {
                path,
                window,
                shift,
                script,
                gaps,
            } => {
                self.needs_histogram("moving_fn")?;
                let values = self.values(path, *gaps, buckets)?;
                let window = moving_window::Window {
                    length: *window,
                    shift: *shift,
                };
                self.set_all(buckets, window.run(&values, script));
            }
            Pipeline::BucketScript {
                paths,
                script,
                gaps,
            } => {
                self.needs_many("bucket_script")?;
                for bucket in buckets.iter_mut() {
                    let values = scripts::values(paths, *gaps, bucket, self.request)?;
                    self.set(bucket, scripts::run(script, &values, *gaps));
                }
            }
            Pipeline::BucketSelector {
                paths,
                script,
                gaps,
            } => {
                self.needs_many("bucket_selector")?;
                let mut kept = Vec::with_capacity(buckets.len());
                for bucket in buckets.drain(..) {
                    let values = scripts::values(paths, *gaps, &bucket, self.request)?;
                    if scripts::is_selected(script, &values) {
                        kept.push(bucket);
                    }
                }
                *buckets = kept;
            }
            Pipeline::BucketSort {
                sort,
                from,
                size,
                gaps,
            } => {
                self.needs_many("bucket_sort")?;
                let cut = sort::Cut {
                    from: *from,
                    size: *size,
                };
                sort::run(sort, cut, *gaps, buckets, self.request)?;
            }
            Pipeline::Siblings { .. } => {}
        }
        Ok(())
    }

    /// The value of each bucket, gaps filled in; NaN is a gap that stays, `None` a value that is not there at all.
    fn values(
        &self,
        path: &Path,
        gaps: GapPolicy,
        buckets: &[Bucket],
    ) -> Result<Vec<Option<f64>>, AggregateError> {
        buckets
            .iter()
            .map(|bucket| value_of(path, gaps, bucket, self.request))
            .collect()
    }

    fn set(&self, bucket: &mut Bucket, result: Option<AggregationResult>) {
        if let Some(place) = bucket.results.0.get_mut(self.position) {
            *place = result;
        }
    }

    fn set_all(&self, buckets: &mut [Bucket], results: Vec<Option<AggregationResult>>) {
        for (bucket, result) in buckets.iter_mut().zip(results) {
            self.set(bucket, result);
        }
    }

    fn needs_histogram(&self, what: &str) -> Result<(), AggregateError> {
        if self.surroundings == Surroundings::Histogram {
            return Ok(());
        }
        Err(AggregateError::Request(format!(
            "{what} aggregation [{}] must have a histogram, date_histogram or auto_date_histogram as parent",
            self.request.0[self.position].0
        )))
    }

    fn needs_many(&self, what: &str) -> Result<(), AggregateError> {
        if self.surroundings != Surroundings::One {
            return Ok(());
        }
        Err(AggregateError::Request(format!(
            "{what} aggregation [{}] must be declared inside of another aggregation",
            self.request.0[self.position].0
        )))
    }
}

/// The value of one bucket, gaps filled in; NaN is a gap that stays, `None` a value that is not there at all.
fn value_of(
    path: &Path,
    gaps: GapPolicy,
    bucket: &Bucket,
    request: &Aggregations,
) -> Result<Option<f64>, AggregateError> {
    let value = path.value(bucket, request)?;
    let is_own = path.is_count() || path.is_key();
    let is_absent = value.is_none() && is_pipeline(path, request);
    let is_empty = bucket.count == 0 && !is_own;
    Ok(match gaps {
        GapPolicy::InsertZeros if is_empty || value.is_none() => Some(0.0),
        GapPolicy::Skip if is_empty => Some(f64::NAN),
        _ if is_absent => None,
        _ => Some(value.unwrap_or(f64::NAN)),
    })
}

/// A pipeline may have no result in a bucket; every other aggregation has one, if only an empty one.
fn is_pipeline(path: &Path, request: &Aggregations) -> bool {
    path.first_position(request)
        .is_some_and(|at| matches!(request.0[at].1.kind, Kind::Pipeline(_)))
}

/// The places of the pipelines, those that others need first.
fn in_order(request: &Aggregations) -> Result<Vec<usize>, AggregateError> {
    let mut waiting: Vec<(usize, &Pipeline)> = Vec::new();
    for (position, (_, aggregation)) in request.0.iter().enumerate() {
        if let Kind::Pipeline(pipeline) = &aggregation.kind {
            waiting.push((position, pipeline));
        }
    }
    let mut ordered = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let is_waiting = |at: usize| waiting.iter().any(|(position, _)| *position == at);
        let ready = waiting.iter().position(|(_, pipeline)| {
            let mut needs = pipeline
                .paths()
                .into_iter()
                .filter_map(|path| path.first_position(request));
            !needs.any(is_waiting)
        });
        let Some(ready) = ready else {
            let name = &request.0[waiting[0].0].0;
            return Err(AggregateError::Request(format!(
                "pipeline aggregation [{name}] depends on itself"
            )));
        };
        ordered.push(waiting.remove(ready).0);
    }
    Ok(ordered)
}
