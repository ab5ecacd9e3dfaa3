//! From partials to results: orders, cuts and fills buckets, then runs the pipelines.

use std::cmp::Ordering;

use rustc_hash::FxHashMap;

use super::date_histogram::DateHistogram;
use super::histogram::Histogram;
use super::key::Key;
use super::order::{Order, OrderBy};
use super::partial::{Partial, PartialAggregation, PartialBucket, PartialBuckets};
use super::pipeline::{self, Path, Surroundings};
use super::results::{AggregationResult, Bucket, Buckets, Results};
use super::rounding::CalendarUnit;
use super::terms::Terms;
use super::unnamed::{Unnamed, name_most_frequent};
use super::zero_fill::{Bounds, span};
use super::{AggregateError, Aggregation, Aggregations, BUCKETS_MAX, Kind};

pub(super) fn finish(partial: Partial, request: &Aggregations) -> Result<Results, AggregateError> {
    let mut limit = Limit { left: BUCKETS_MAX };
    single(partial, request, &mut limit, None).map(|bucket| bucket.results)
}

/// How many buckets may still be made.
struct Limit {
    left: usize,
}

impl Limit {
    fn take(&mut self) -> Result<(), AggregateError> {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(AggregateError::TooManyBuckets),
        }
    }
}

/// The interval of the nearest date histogram around.
#[derive(Clone, Copy)]
struct Around<'a> {
    histogram: &'a DateHistogram,
    start: i64,
}

/// What is inside the only bucket of an aggregation, pipelines included.
fn single(
    partial: Partial,
    request: &Aggregations,
    limit: &mut Limit,
    around: Option<Around<'_>>,
) -> Result<Bucket, AggregateError> {
    let mut buckets = vec![Bucket {
        key: Key::Bool(true),
        count: 0,
        results: level(partial, request, limit, around)?,
    }];
    pipeline::run(request, &mut buckets, Surroundings::One)?;
    let bucket = buckets.pop();
    bucket.ok_or_else(|| AggregateError::Request("a pipeline removed its only bucket".to_owned()))
}

/// The results of one level without its pipelines, whose places stay empty.
fn level(
    partial: Partial,
    request: &Aggregations,
    limit: &mut Limit,
    around: Option<Around<'_>>,
) -> Result<Results, AggregateError> {
    let mut partials = partial.0.into_iter();
    let mut results = Vec::with_capacity(request.0.len());
    for (_, aggregation) in &request.0 {
        let partial = partials.next().flatten();
        let result = match &aggregation.kind {
            Kind::Pipeline(_) => None,
            _ => Some(one(partial, aggregation, limit, around)?),
        };
        results.push(result);
    }
    Ok(Results(results))
}

fn one(
    partial: Option<PartialAggregation>,
    aggregation: &Aggregation,
    limit: &mut Limit,
    around: Option<Around<'_>>,
) -> Result<AggregationResult, AggregateError> {
    let children = &aggregation.children;
    if let Kind::Filter(_) | Kind::Global = aggregation.kind {
        let bucket = match partial {
            Some(PartialAggregation::Single(bucket)) => bucket,
            _ => PartialBucket::default(),
        };
        let inside = single(bucket.children, children, limit, around)?;
        return Ok(AggregationResult::Single {
            count: bucket.count,
            results: inside.results,
        });
    }
    if aggregation.is_multi_bucket() {
        let partial = match partial {
            Some(PartialAggregation::Buckets(buckets)) => buckets,
            _ => PartialBuckets::default(),
        };
        let mut reducer = Reducer {
            children,
            limit,
            around,
        };
        let mut buckets = reducer.reduce(partial, &aggregation.kind)?;
        let surroundings = match aggregation.kind {
            Kind::Histogram(_) | Kind::DateHistogram(_) => Surroundings::Histogram,
            _ => Surroundings::Many,
        };
        pipeline::run(children, &mut buckets.buckets, surroundings)?;
        return Ok(AggregationResult::Buckets(buckets));
    }
    Ok(metric(partial, &aggregation.kind, around))
}

impl Aggregation {
    /// Whether its result is a list of buckets.
    pub(super) fn is_multi_bucket(&self) -> bool {
        matches!(
            self.kind,
            Kind::DateHistogram(_)
                | Kind::Terms(_)
                | Kind::Histogram(_)
                | Kind::Filters(_)
                | Kind::Ranges(_)
                | Kind::Composite(_)
                | Kind::GeoGrid(_)
        )
    }
}

fn metric(
    partial: Option<PartialAggregation>,
    kind: &Kind,
    around: Option<Around<'_>>,
) -> AggregationResult {
    let result = match partial {
        Some(PartialAggregation::Moments(moments)) => AggregationResult::Moments(moments),
        Some(PartialAggregation::Single(bucket)) => AggregationResult::Count(bucket.count),
        Some(PartialAggregation::Count(count)) => AggregationResult::Count(count),
        Some(PartialAggregation::Distinct(distinct)) => AggregationResult::from(&*distinct),
        Some(PartialAggregation::Quantiles(mut quantiles)) => {
            quantiles.finish();
            AggregationResult::Quantiles(quantiles)
        }
        Some(PartialAggregation::Top(top)) => AggregationResult::Top {
            entries: top.entries,
            count: top.count,
        },
        Some(PartialAggregation::Geo(extent)) => AggregationResult::Geo(extent.finish()),
        Some(PartialAggregation::Patterns(found)) => AggregationResult::Patterns(found),
        Some(PartialAggregation::Buckets(_)) | None => empty_metric(kind),
    };
    match kind {
        Kind::Rate {
            counts_values,
            unit,
            ..
        } => rate(&result, *counts_values, *unit, around),
        _ => result,
    }
}

fn empty_metric(kind: &Kind) -> AggregationResult {
    match kind {
        Kind::Quantiles(_) => AggregationResult::Quantiles(Box::default()),
        Kind::TopMetrics(_) | Kind::TopHits(_) => AggregationResult::Top {
            entries: Vec::new(),
            count: 0,
        },
        Kind::GeoPoints(_) => AggregationResult::Geo(None),
        Kind::Patterns(_) => AggregationResult::Patterns(Box::default()),
        Kind::ValueCount { .. } | Kind::Cardinality { .. } | Kind::Rate { source: None, .. } => {
            AggregationResult::Count(0)
        }
        _ => AggregationResult::Moments(super::Moments::default()),
    }
}

/// Without a histogram around there is no time to divide by, hence no value.
fn rate(
    total: &AggregationResult,
    counts_values: bool,
    unit: Option<CalendarUnit>,
    around: Option<Around<'_>>,
) -> AggregationResult {
    let total = match total {
        AggregationResult::Moments(moments) if counts_values => moments.count as f64,
        AggregationResult::Moments(moments) => moments.sum(),
        AggregationResult::Count(count) => *count as f64,
        _ => f64::NAN,
    };
    let value = around.map(|around| {
        let next = around.histogram.rounding.next(around.start);
        let length = (next - around.start) as f64;
        total / unit.map_or(1.0, |unit| length / unit_millis(unit))
    });
    AggregationResult::Number(value.filter(|value| value.is_finite()))
}

/// Months have 30.4375 days here and years 365.25, so that a quarter has three months and a year twelve.
fn unit_millis(unit: CalendarUnit) -> f64 {
    const DAY_MS: f64 = 86_400_000.0;
    match unit {
        CalendarUnit::Second => 1_000.0,
        CalendarUnit::Minute => 60_000.0,
        CalendarUnit::Hour => 3_600_000.0,
        CalendarUnit::Day => DAY_MS,
        CalendarUnit::Week => 7.0 * DAY_MS,
        CalendarUnit::Month => 30.4375 * DAY_MS,
        CalendarUnit::Quarter => 3.0 * 30.4375 * DAY_MS,
        CalendarUnit::Year => 365.25 * DAY_MS,
    }
}

/// Makes the buckets of one aggregation.
struct Reducer<'a> {
    children: &'a Aggregations,
    limit: &'a mut Limit,
    around: Option<Around<'a>>,
}

type Entry = (Key, PartialBucket);

impl<'a> Reducer<'a> {
    fn reduce(
        &mut self,
        partial: PartialBuckets,
        kind: &'a Kind,
    ) -> Result<Buckets, AggregateError> {
        let number_kind = partial.kind;
        let (by_key, unnamed) = (partial.by_key, partial.unnamed);
        let mut buckets = match kind {
            Kind::DateHistogram(request) => self.date_histogram(by_key, request)?,
            Kind::Histogram(request) => self.histogram(by_key, request)?,
            Kind::Terms(request) => self.terms(by_key, &unnamed, request)?,
            Kind::Filters(request) => {
                let labels = request.filters.iter().map(|(label, _)| label);
                self.labelled(by_key, labels.chain(&request.other))?
            }
            Kind::Ranges(request) => {
                self.labelled(by_key, request.ranges.iter().map(|range| &range.key))?
            }
            Kind::GeoGrid(request) => {
                let mut entries: Vec<Entry> = by_key.into_iter().collect();
                entries
                    .sort_unstable_by(|a, b| b.1.count.cmp(&a.1.count).then_with(|| a.0.cmp(&b.0)));
                entries.truncate(request.size);
                self.buckets(entries)?
            }
            Kind::Composite(request) => {
                let mut entries: Vec<Entry> = by_key.into_iter().collect();
                entries.sort_unstable_by(|a, b| request.compare_keys(&a.0, &b.0));
                entries.truncate(request.size);
                let after = entries.last().map(|(key, _)| key.clone());
                Buckets {
                    after,
                    ..self.buckets(entries)?
                }
            }
            _ => Buckets::default(),
        };
        buckets.kind = number_kind;
        Ok(buckets)
    }

    fn buckets(&mut self, entries: Vec<Entry>) -> Result<Buckets, AggregateError> {
        let mut buckets = Vec::with_capacity(entries.len());
        for (key, partial) in entries {
            buckets.push(self.bucket(key, partial)?);
        }
        Ok(Buckets {
            buckets,
            ..Buckets::default()
        })
    }

    fn bucket(&mut self, key: Key, partial: PartialBucket) -> Result<Bucket, AggregateError> {
        self.limit.take()?;
        let results = level(partial.children, self.children, self.limit, self.around)?;
        Ok(Bucket {
            key,
            count: partial.count,
            results,
        })
    }

    /// One bucket per label, also where there is nothing; partial keys are places.
    fn labelled<'l>(
        &mut self,
        mut by_key: FxHashMap<Key, PartialBucket>,
        labels: impl Iterator<Item = &'l String>,
    ) -> Result<Buckets, AggregateError> {
        let entries = labels.enumerate().map(|(place, label)| {
            let partial = by_key.remove(&Key::Integer(place as i64));
            (Key::from(label.as_str()), partial.unwrap_or_default())
        });
        let entries = entries.collect();
        self.buckets(entries)
    }

    fn date_histogram(
        &mut self,
        by_key: FxHashMap<Key, PartialBucket>,
        request: &'a DateHistogram,
    ) -> Result<Buckets, AggregateError> {
        let mut entries: Vec<(i64, PartialBucket)> = by_key
            .into_iter()
            .filter_map(|(key, bucket)| match key {
                Key::Time(start) => Some((start, bucket)),
                _ => None,
            })
            .collect();
        entries.sort_unstable_by_key(|(start, _)| *start);
        let round = |at: i64| request.rounding.floor(at);
        let bounds = request.extended_bounds.map(|bounds| Bounds {
            min: bounds.min.map(round),
            max: bounds.max.map(round),
        });
        let starts: Vec<i64> = entries.iter().map(|(start, _)| *start).collect();
        let filled = if request.min_count == 0 {
            let next = |start: i64| request.rounding.next(start);
            self.fill(entries, span(&starts, bounds), next)?
        } else {
            entries.retain(|(_, bucket)| bucket.count >= request.min_count);
            entries
        };
        let mut buckets = Vec::with_capacity(filled.len());
        let around = self.around;
        for (start, partial) in filled {
            self.around = Some(Around {
                histogram: request,
                start,
            });
            buckets.push(self.bucket(Key::Time(start), partial)?);
        }
        self.around = around;
        self.sort(&mut buckets, &request.order)?;
        Ok(Buckets {
            buckets,
            ..Buckets::default()
        })
    }

    fn histogram(
        &mut self,
        by_key: FxHashMap<Key, PartialBucket>,
        request: &Histogram,
    ) -> Result<Buckets, AggregateError> {
        let mut entries: Vec<(i64, PartialBucket)> = by_key
            .into_iter()
            .filter_map(|(key, bucket)| match key {
                Key::Integer(index) => Some((index, bucket)),
                _ => None,
            })
            .collect();
        entries.sort_unstable_by_key(|(index, _)| *index);
        let bounds = request.extended_bounds.map(|bounds| Bounds {
            min: bounds.min.map(|min| request.index(min)),
            max: bounds.max.map(|max| request.index(max)),
        });
        let indexes: Vec<i64> = entries.iter().map(|(index, _)| *index).collect();
        let filled = if request.min_count == 0 {
            let next = |index: i64| index.saturating_add(1);
            self.fill(entries, span(&indexes, bounds), next)?
        } else {
            entries.retain(|(_, bucket)| bucket.count >= request.min_count);
            entries
        };
        let entries = filled
            .into_iter()
            .map(|(index, partial)| (Key::number(request.start(index)), partial));
        let mut buckets = self.buckets(entries.collect())?;
        self.sort(&mut buckets.buckets, &request.order)?;
        Ok(buckets)
    }

    /// Adds empty buckets so that none is missing within the span.
    fn fill(
        &self,
        entries: Vec<(i64, PartialBucket)>,
        span: Option<(i64, i64)>,
        next: impl Fn(i64) -> i64,
    ) -> Result<Vec<(i64, PartialBucket)>, AggregateError> {
        let Some((first, last)) = span else {
            return Ok(entries);
        };
        let mut filled = Vec::with_capacity(entries.len());
        let mut present = entries.into_iter().peekable();
        let mut start = first;
        while start <= last {
            // Where clocks change, a start of before and one of after the change can both lie ahead of the next.
            while let Some(earlier) = present.next_if(|(known, _)| *known < start) {
                filled.push(earlier);
            }
            let partial = present.next_if(|(known, _)| *known == start);
            filled.push(partial.unwrap_or((start, PartialBucket::default())));
            if filled.len() > self.limit.left {
                return Err(AggregateError::TooManyBuckets);
            }
            let following = next(start);
            if following <= start {
                break;
            }
            start = following;
        }
        filled.extend(present);
        Ok(filled)
    }

    /// The order of histograms; theirs are few enough to be ordered when they are finished.
    fn sort(&self, buckets: &mut Vec<Bucket>, order: &[Order]) -> Result<(), AggregateError> {
        if order.is_empty() {
            return Ok(());
        }
        let mut keyed = Vec::with_capacity(buckets.len());
        for bucket in buckets.drain(..) {
            let mut values = Vec::with_capacity(order.len());
            for order in order {
                values.push(match &order.by {
                    OrderBy::Metric(path) => path.value(&bucket, self.children)?,
                    OrderBy::Count | OrderBy::Key => None,
                });
            }
            keyed.push((values, bucket));
        }
        keyed.sort_by(|(a_values, a), (b_values, b)| {
            let a = (&a.key, a.count, a_values.as_slice());
            let b = (&b.key, b.count, b_values.as_slice());
            compare(a, b, order)
        });
        *buckets = keyed.into_iter().map(|(_, bucket)| bucket).collect();
        Ok(())
    }

    /// Ordered before their insides are finished, because most terms are cut off.
    fn terms(
        &mut self,
        mut by_key: FxHashMap<Key, PartialBucket>,
        unnamed: &[Unnamed],
        request: &Terms,
    ) -> Result<Buckets, AggregateError> {
        let total = match unnamed {
            [] => None,
            unnamed => Some(name_most_frequent(&mut by_key, unnamed, request.size)?),
        };
        let is_enough = |entry: &Entry| entry.1.count >= request.min_count;
        let entries: Vec<Entry> = by_key.into_iter().filter(is_enough).collect();
        let sum = || entries.iter().map(|(_, bucket)| bucket.count).sum();
        let total: u64 = total.unwrap_or_else(sum);
        let mut keyed = Vec::with_capacity(entries.len());
        for entry in entries {
            keyed.push((self.order_values(&entry.1, &request.order)?, entry));
        }
        let by_order = |a: &(Vec<Option<f64>>, Entry), b: &(Vec<Option<f64>>, Entry)| {
            let a = (&a.1.0, a.1.1.count, a.0.as_slice());
            let b = (&b.1.0, b.1.1.count, b.0.as_slice());
            compare(a, b, &request.order)
        };
        if request.size > 0 && keyed.len() > request.size {
            keyed.select_nth_unstable_by(request.size - 1, by_order);
        }
        keyed.truncate(request.size);
        keyed.sort_unstable_by(by_order);
        let kept: u64 = keyed.iter().map(|(_, (_, bucket))| bucket.count).sum();
        let entries = keyed.into_iter().map(|(_, entry)| entry).collect();
        Ok(Buckets {
            other_count: total - kept,
            ..self.buckets(entries)?
        })
    }

    /// The metrics a term is ordered by; nothing is computed when it is ordered by count or key.
    fn order_values(
        &self,
        partial: &PartialBucket,
        order: &[Order],
    ) -> Result<Vec<Option<f64>>, AggregateError> {
        let needs_metric = |order: &Order| matches!(order.by, OrderBy::Metric(_));
        if !order.iter().any(needs_metric) {
            return Ok(Vec::new());
        }
        order
            .iter()
            .map(|order| match &order.by {
                OrderBy::Metric(path) => self.order_value(path, partial),
                OrderBy::Count | OrderBy::Key => Ok(None),
            })
            .collect()
    }

    fn order_value(
        &self,
        path: &Path,
        partial: &PartialBucket,
    ) -> Result<Option<f64>, AggregateError> {
        if path.is_count() {
            return Ok(Some(partial.count as f64));
        }
        let Some(position) = path.first_position(self.children) else {
            return Err(invalid_order(path, "names no aggregation"));
        };
        let aggregation = &self.children.0[position].1;
        if let Kind::Pipeline(_) = aggregation.kind {
            return Err(invalid_order(path, "names a pipeline aggregation"));
        }
        if aggregation.is_multi_bucket() {
            return Err(invalid_order(path, "names an aggregation of many buckets"));
        }
        let child = partial.children.0.get(position).cloned().flatten();
        // Only this child is finished, and its buckets do not count: it is finished again if the term is kept.
        let mut unlimited = Limit { left: usize::MAX };
        let result = one(child, aggregation, &mut unlimited, self.around)?;
        let mut results = Results(vec![None; self.children.0.len()]);
        results.0[position] = Some(result);
        path.value_among(&results, self.children)
    }
}

fn invalid_order(path: &Path, problem: &str) -> AggregateError {
    AggregateError::Request(format!(
        "Invalid aggregation order path [{}]: it {problem}",
        path.text()
    ))
}

type Compared<'a> = (&'a Key, u64, &'a [Option<f64>]);

/// By each criterion, then by key. Buckets without a value come last in either direction.
fn compare(a: Compared<'_>, b: Compared<'_>, order: &[Order]) -> Ordering {
    for (at, order) in order.iter().enumerate() {
        let found = match &order.by {
            OrderBy::Count => a.1.cmp(&b.1),
            OrderBy::Key => a.0.cmp(b.0),
            OrderBy::Metric(_) => {
                let value = |values: &[Option<f64>]| values.get(at).copied().flatten();
                match (value(a.2), value(b.2)) {
                    (Some(a), Some(b)) => a.total_cmp(&b),
                    (None, None) => Ordering::Equal,
                    (None, Some(_)) => return Ordering::Greater,
                    (Some(_), None) => return Ordering::Less,
                }
            }
        };
        if found != Ordering::Equal {
            return if order.descending {
                found.reverse()
            } else {
                found
            };
        }
    }
    a.0.cmp(b.0)
}
