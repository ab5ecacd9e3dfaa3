//! One search at work: what all its threads share.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use event::Timestamp;
use indexer::logs::{Interrupt, ReadError, ShardReader};
use tantivy::DateTime;

use super::answer::{Answer, FoundHit, SearchError, ShardFailure, Total};
use super::key_reader::time_rank;
use super::rank::{Rank, compare_values};
use super::segment::{SegmentFound, SegmentHit, SegmentSearch};
use super::zones::ZoneCache;
use crate::limits::{Budget, Stop};
use crate::logs::aggregate::{AggregateError, Aggregation, Kind, Partial};
use crate::logs::filter::{Filter, Scope, TimeRange};
use crate::logs::plan::{Count, Plan, Resolution, SortBy};

/// A shard to search, whole or the part of it with events in `time_range`.
pub(super) struct Part {
    pub reader: ShardReader,
    pub time_range: TimeRange,
}

pub(super) struct JobShard {
    pub reader: ShardReader,
    /// The same view for reading the hits, which are read even when the query was stopped.
    hits_reader: ShardReader,
    interrupt: Arc<ShardInterrupt>,
    /// Matching events looked at, for `terminate_after`.
    pub looked_at: AtomicU64,
}

/// One segment to search.
pub(super) struct Unit {
    /// Into [`Job::shards`].
    pub shard: usize,
    pub segment: usize,
    /// The times of the segment's events.
    pub time_range: TimeRange,
    /// The plan's filter, resolved for this segment.
    pub filter: Filter,
    /// Its matching events have been counted beforehand.
    pub is_counted: bool,
}

impl Unit {
    /// Resolves another filter for this segment.
    pub fn resolve(&self, shard: &ShardReader, filter: &Filter) -> Filter {
        Scope::with(shard, self.time_range, |scope| filter.resolve(scope))
    }
}

/// Why a segment's search ended.
pub(super) enum Failure {
    /// It must not go on.
    Stop(Stop),
    /// Its shard cannot be read.
    Shard(String),
    /// The whole request is wrong.
    Aggregate(AggregateError),
}

impl From<Stop> for Failure {
    fn from(stop: Stop) -> Failure {
        Failure::Stop(stop)
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Failure {
        Failure::Shard(error.message)
    }
}

impl From<AggregateError> for Failure {
    fn from(error: AggregateError) -> Failure {
        match error {
            AggregateError::Stop(stop) => Failure::Stop(stop),
            AggregateError::Read(error) => Failure::from(error),
            other => Failure::Aggregate(other),
        }
    }
}

fn is_global((_, aggregation): &(String, Aggregation)) -> bool {
    matches!(aggregation.kind, Kind::Global)
}

/// What all threads of a search share.
pub(super) struct Job {
    pub plan: Arc<Plan>,
    pub budget: Budget,
    pub zones: Arc<ZoneCache>,
    pub shards: Vec<JobShard>,
    /// Ordered so that the best hits are likely to be found first.
    pub units: Vec<Unit>,
    /// `from` and `size` together.
    pub hits_wanted: usize,
    /// The first key of the order is the event's time: with this resolution, descending or not.
    pub time_first: Option<(Resolution, bool)>,
    pub terminated_early: AtomicBool,
    next_unit: AtomicUsize,
    counted: AtomicU64,
    /// The worst first rank that can still be a hit, as the number of its time; see [`Job::threshold`].
    threshold: Mutex<Option<Rank>>,
    found: Mutex<Found>,
    shard_count: usize,
    skipped_count: usize,
}

/// What was found so far.
#[derive(Default)]
struct Found {
    hits: Vec<SegmentHit>,
    partial: Partial,
    failures: BTreeMap<String, String>,
    stop: Option<Stop>,
    aggregate_error: Option<AggregateError>,
}

/// Stops the index's own work when the budget is used up, and hears of documents that cannot be read.
struct ShardInterrupt {
    budget: Budget,
    failed: Mutex<Option<String>>,
}

impl ShardInterrupt {
    fn take_failure(&self) -> Option<String> {
        let mut failed = self.failed.lock().expect("no holder of this lock panics");
        failed.take()
    }
}

impl Interrupt for ShardInterrupt {
    fn is_interrupted(&self) -> bool {
        self.budget.check().is_err()
    }

    fn decoded(&self, bytes: u64) {
        self.budget.count_decoded(bytes);
    }

    fn failed(&self, message: &str) {
        let mut failed = self.failed.lock().expect("no holder of this lock panics");
        failed.get_or_insert_with(|| message.to_owned());
    }
}

impl Job {
    /// Looks at what is known about each shard and segment, and lists those that must be searched.
    pub fn open(
        parts: Vec<Part>,
        failed: Vec<ReadError>,
        plan: Arc<Plan>,
        budget: Budget,
        zones: Arc<ZoneCache>,
    ) -> Job {
        let time_first = match &plan.order[0].by {
            SortBy::Time(resolution) => Some((*resolution, plan.order[0].descending)),
            _ => None,
        };
        let mut job = Job {
            hits_wanted: plan.from.saturating_add(plan.size) * usize::from(plan.size > 0),
            shard_count: parts.len() + failed.len(),
            plan,
            budget,
            zones,
            shards: Vec::new(),
            units: Vec::new(),
            time_first,
            terminated_early: AtomicBool::new(false),
            next_unit: AtomicUsize::new(0),
            counted: AtomicU64::new(0),
            threshold: Mutex::new(None),
            found: Mutex::default(),
            skipped_count: 0,
        };
        for error in failed {
            job.found().failures.insert(error.shard, error.message);
        }
        for part in parts {
            let unit_count = job.units.len();
            job.add(part);
            job.skipped_count += usize::from(job.units.len() == unit_count);
        }
        job.order_units();
        job
    }

    fn add(&mut self, part: Part) {
        let interrupt = Arc::new(ShardInterrupt {
            budget: self.budget.clone(),
            failed: Mutex::default(),
        });
        let reader = part
            .reader
            .interruptible(Arc::clone(&interrupt) as Arc<dyn Interrupt>);
        let filter = Filter::And(vec![
            Filter::During(part.time_range),
            self.plan.filter.clone(),
        ]);
        // First for the whole shard: which fields it has is dear to ask for each segment.
        let filter = filter.resolve_for(&reader);
        let shard = self.shards.len();
        // A global aggregation sees every event, whatever the filter says.
        let needs_all = self.plan.aggregations.0.iter().any(is_global);
        for (segment, segment_reader) in reader.searcher().segment_readers().iter().enumerate() {
            if segment_reader.num_docs() == 0 {
                continue;
            }
            let times = reader.timestamps(segment);
            let nanos = |time: DateTime| Timestamp::from_nanos(time.into_timestamp_nanos());
            let mut unit = Unit {
                shard,
                segment,
                time_range: TimeRange {
                    first: nanos(times.min_value()),
                    last: nanos(times.max_value()),
                },
                filter: Filter::None,
                is_counted: false,
            };
            unit.filter = unit.resolve(&reader, &filter);
            if unit.filter == Filter::None && !needs_all {
                continue;
            }
            let is_whole = unit.filter == Filter::All
                && self.plan.post_filter.is_none()
                && self.plan.terminate_after.is_none();
            if is_whole {
                unit.is_counted = true;
                self.count(u64::from(segment_reader.num_docs()));
            }
            self.units.push(unit);
        }
        self.shards.push(JobShard {
            reader,
            hits_reader: part.reader,
            interrupt,
            looked_at: AtomicU64::new(0),
        });
    }

    fn order_units(&mut self) {
        match self.time_first {
            Some((_, true)) => self
                .units
                .sort_by_key(|unit| std::cmp::Reverse(unit.time_range.last)),
            Some((_, false)) => self.units.sort_by_key(|unit| unit.time_range.first),
            None => {}
        }
    }

    /// Searches segments until there are none left. Several threads may do so at the same time.
    pub fn work(&self) {
        loop {
            let number = self.next_unit.fetch_add(1, Ordering::Relaxed);
            if number >= self.units.len() || self.found().stop.is_some() {
                return;
            }
            // A damaged file may panic deep inside: it must not take the other shards' answer along.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.search(number)));
            let failure = match outcome {
                Ok(Ok(found)) => {
                    self.take(found);
                    continue;
                }
                Ok(Err(failure)) => failure,
                Err(_) => {
                    Failure::Shard("its search panicked; its files may be damaged".to_owned())
                }
            };
            let shard = &self.shards[self.units[number].shard].reader;
            // What fails because it was told to stop has not failed.
            let failure = match (failure, self.budget.check_stopped()) {
                (Failure::Shard(_), Err(stop)) => Failure::Stop(stop),
                (failure, _) => failure,
            };
            let mut found = self.found();
            match failure {
                Failure::Stop(stop) => {
                    found.stop.get_or_insert(stop);
                }
                Failure::Shard(message) => {
                    tracing::error!(shard = shard.name(), message, "a shard cannot be read");
                    found.failures.entry(shard.name()).or_insert(message);
                }
                Failure::Aggregate(error) => {
                    found.aggregate_error.get_or_insert(error);
                    found.stop.get_or_insert(Stop::Cancelled);
                }
            }
        }
    }

    fn search(&self, number: usize) -> Result<SegmentFound, Failure> {
        self.budget.check()?;
        let unit = &self.units[number];
        if self.can_skip(unit) {
            return Ok(SegmentFound::default());
        }
        let mut search = SegmentSearch::open(self, number)?;
        match search.run() {
            Ok(()) => search.finish(true),
            // What was found until the time was up is part of the partial answer.
            Err(Failure::Stop(stop)) => {
                let found = search.finish(false)?;
                self.take(found);
                Err(Failure::Stop(stop))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Whether no event of a segment can change the answer any more.
    fn can_skip(&self, unit: &Unit) -> bool {
        let counts = self.counts() && !unit.is_counted && !self.is_counted_enough();
        if counts || !self.plan.aggregations.is_empty() {
            return false;
        }
        if self.hits_wanted == 0 {
            return true;
        }
        match self.threshold() {
            Some(worst) => self.best_rank(unit.time_range) > worst,
            None => false,
        }
    }

    fn take(&self, segment: SegmentFound) {
        let mut found = self.found();
        found.partial.merge(segment.partial);
        found.hits.extend(segment.hits);
        if found.hits.len() > self.hits_wanted * 4 {
            self.cut(&mut found.hits);
        }
    }

    fn cut(&self, hits: &mut Vec<SegmentHit>) {
        let descending = self.plan.order[0].descending;
        hits.sort_by(|a, b| {
            compare_values(&self.plan.order, &a.sort, &b.sort).then_with(|| match descending {
                true => b.position.cmp(&a.position),
                false => a.position.cmp(&b.position),
            })
        });
        hits.truncate(self.hits_wanted);
    }

    /// Puts together what all threads found, and reads the hits. Blocking.
    pub fn finish(&self) -> Result<Answer, SearchError> {
        let mut found = std::mem::take(&mut *self.found());
        if let Some(error) = found.aggregate_error {
            return Err(SearchError::Aggregate(error));
        }
        match found.stop {
            Some(stop @ (Stop::Cancelled | Stop::OutOfMemory)) => {
                return Err(SearchError::Stopped(stop));
            }
            Some(stop @ (Stop::OutOfTime | Stop::ReadEnough)) => {
                let decoded_bytes = self.budget.decoded_bytes();
                tracing::info!(%stop, decoded_bytes, "the answer to a query is partial");
            }
            None => {}
        }
        for shard in &self.shards {
            if let Some(message) = shard.interrupt.take_failure() {
                let name = shard.reader.name();
                tracing::error!(shard = name, message, "a document cannot be read");
                found.failures.entry(name).or_insert(message);
            }
        }
        let mut answer = Answer {
            timed_out: found.stop.is_some(),
            terminated_early: self.terminated_early.load(Ordering::Relaxed),
            shard_count: self.shard_count,
            skipped_count: self.skipped_count,
            ..Answer::default()
        };
        self.cut(&mut found.hits);
        self.read_hits(&found.hits, &mut answer.hits, &mut found.failures)?;
        answer.total = self.total();
        if !self.plan.aggregations.is_empty() {
            let results = found.partial.finish(&self.plan.aggregations);
            answer.aggregations = match results {
                Ok(results) => results,
                Err(error) => return Err(SearchError::Aggregate(error)),
            };
        }
        let failures = found.failures.into_iter();
        answer.failures = failures
            .map(|(shard, message)| ShardFailure { shard, message })
            .collect();
        let all_failed = !answer.failures.is_empty() && answer.failures.len() >= self.shard_count;
        if all_failed {
            return Err(SearchError::AllShardsFailed(answer.failures));
        }
        Ok(answer)
    }

    /// Reads the hits of the page, those of one segment in the order they are stored.
    fn read_hits(
        &self,
        found: &[SegmentHit],
        hits: &mut Vec<FoundHit>,
        failures: &mut BTreeMap<String, String>,
    ) -> Result<(), SearchError> {
        let page = found.get(self.plan.from..).unwrap_or_default();
        let mut by_place: Vec<usize> = (0..page.len()).collect();
        by_place.sort_unstable_by_key(|at| (page[*at].unit, page[*at].doc));
        let mut read: Vec<Option<FoundHit>> = Vec::new();
        read.resize_with(page.len(), || None);
        for at in by_place {
            let one = &page[at];
            let unit = &self.units[one.unit];
            let shard = &self.shards[unit.shard].hits_reader;
            match shard.event(unit.segment, one.doc) {
                Ok(hit) => {
                    self.budget
                        .take_memory(hit.source.len() as u64)
                        .map_err(SearchError::Stopped)?;
                    read[at] = Some(FoundHit {
                        index: shard.name(),
                        hit,
                        sort: one.sort.clone(),
                    });
                }
                Err(error) => {
                    failures.entry(error.shard).or_insert(error.message);
                }
            }
        }
        hits.extend(read.into_iter().flatten());
        Ok(())
    }

    fn total(&self) -> Option<Total> {
        let count = self.counted.load(Ordering::Relaxed);
        match self.plan.count {
            Count::Nothing => None,
            Count::Exactly => Some(Total {
                count,
                is_lower_bound: false,
            }),
            Count::UpTo(limit) => Some(Total {
                count: count.min(limit),
                is_lower_bound: count > limit,
            }),
        }
    }

    /// Whether matching events are counted at all.
    pub fn counts(&self) -> bool {
        self.plan.count != Count::Nothing
    }

    /// Counts matching events.
    pub fn count(&self, more: u64) {
        self.counted.fetch_add(more, Ordering::Relaxed);
    }

    /// Whether counting further would not change the answer.
    pub fn is_counted_enough(&self) -> bool {
        match self.plan.count {
            Count::Nothing => true,
            Count::Exactly => false,
            Count::UpTo(limit) => self.counted.load(Ordering::Relaxed) > limit,
        }
    }

    /// The best first rank that an event of these times can have.
    pub fn best_rank(&self, times: TimeRange) -> Rank {
        let time = |timestamp: Timestamp| DateTime::from_timestamp_nanos(timestamp.nanos());
        match self.time_first {
            Some((resolution, true)) => time_rank(time(times.last), resolution).directed(true),
            Some((resolution, false)) => time_rank(time(times.first), resolution),
            None => Rank::default(),
        }
    }

    /// Where hits are ordered by time: an event whose first rank is larger cannot be a hit.
    pub fn threshold(&self) -> Option<Rank> {
        *self
            .threshold
            .lock()
            .expect("no holder of this lock panics")
    }

    /// Tells the others what is known now.
    pub fn lower_threshold(&self, threshold: Rank) {
        let mut shared = self
            .threshold
            .lock()
            .expect("no holder of this lock panics");
        *shared = Some(shared.map_or(threshold, |known| known.min(threshold)));
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().expect("no holder of this lock panics")
    }
}
