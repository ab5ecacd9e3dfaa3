//! Searches one segment: finds matching documents block by block and feeds counts, hits and aggregations.
//!
//! The time of the events never goes through the index: a condition on it that must hold is taken out of the filter
//! and checked on the time column, zone by zone first. When the hits are ordered by time, the end of the segment where
//! the best hits are likely is searched first; after that most zones cannot hold a better one and are skipped.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use event::Timestamp;
use indexer::logs::{Leaf, ShardReader};
use tantivy::query::EnableScoring;
use tantivy::{COLLECT_BLOCK_BUFFER_LEN, DateTime, DocId, SegmentReader};

use super::job::{Failure, Job, Unit};
use super::key_reader::{KeyReader, time_rank};
use super::rank::Rank;
use super::top::{Candidate, Top};
use super::zones::{ZONE_DOCS, Zones};
use crate::logs::aggregate::{Partial, SegmentCollector};
use crate::logs::filter::{Filter, TimeRange};
use crate::logs::plan::{Plan, Resolution, SortValue};

/// Blocks between two looks at the clock.
const BLOCKS_PER_CHECK: u32 = 64;

/// The part of a segment, at its likely end, that is searched first for hits ordered by time.
const PROBE_DOCS: DocId = if cfg!(test) { 3 } else { 16 } * ZONE_DOCS;

/// What one segment contributed.
#[derive(Default)]
pub(super) struct SegmentFound {
    pub hits: Vec<SegmentHit>,
    pub partial: Partial,
}

/// A hit of a segment, comparable with those of others.
pub(super) struct SegmentHit {
    pub sort: Vec<SortValue>,
    pub position: u64,
    pub unit: usize,
    pub doc: DocId,
}

/// What one pass over the matching documents is for.
#[derive(Clone, Copy)]
struct Feeds {
    hits: bool,
    count: bool,
    aggregations: bool,
}

pub(super) struct SegmentSearch<'a> {
    job: &'a Job,
    unit_number: usize,
    unit: &'a Unit,
    shard: &'a ShardReader,
    reader: &'a SegmentReader,
    zones: Arc<Zones>,
    keys: Vec<KeyReader>,
    after: Vec<Rank>,
    /// The first key is the event's time.
    time_first: Option<(Resolution, bool)>,
    top: Top,
    collector: Option<SegmentCollector>,
    blocks: u32,
    is_over: bool,
    times: [DateTime; COLLECT_BLOCK_BUFFER_LEN],
}

impl<'a> SegmentSearch<'a> {
    pub fn open(job: &'a Job, unit_number: usize) -> Result<SegmentSearch<'a>, Failure> {
        let unit = &job.units[unit_number];
        let shard = &job.shards[unit.shard].reader;
        let reader = shard.searcher().segment_reader(unit.segment as u32);
        let zones = job.zones.zones(
            reader.segment_id(),
            shard.timestamps(unit.segment),
            reader.max_doc(),
        );
        let plan = &job.plan;
        let wants_hits = job.hits_wanted > 0;
        let keys = match wants_hits {
            true => plan
                .order
                .iter()
                .map(|key| KeyReader::open(key, shard, unit.segment))
                .collect::<Result<Vec<_>, _>>()?,
            false => Vec::new(),
        };
        let after = match &plan.search_after {
            Some(values) => keys
                .iter()
                .zip(values)
                .map(|(key, value)| key.rank_of(value))
                .collect(),
            None => Vec::new(),
        };
        let collector = match plan.aggregations.is_empty() {
            true => None,
            false => Some(
                plan.aggregations
                    .collector(shard, unit.segment, &job.budget)?,
            ),
        };
        Ok(SegmentSearch {
            job,
            unit_number,
            unit,
            shard,
            reader,
            zones,
            keys,
            after,
            time_first: job.time_first,
            top: Top::new(job.hits_wanted),
            collector,
            blocks: 0,
            is_over: false,
            times: [DateTime::MIN; COLLECT_BLOCK_BUFFER_LEN],
        })
    }

    /// Searches. When it fails with [`Failure::Stop`], [`SegmentSearch::finish`] still tells the hits found.
    pub fn run(&mut self) -> Result<(), Failure> {
        let plan: &Plan = &self.job.plan;
        let wants_hits = self.job.hits_wanted > 0;
        let wants_count = !self.unit.is_counted && self.job.counts();
        let aggregates = self.collector.is_some();
        match &plan.post_filter {
            None => self.pass(
                &self.unit.filter,
                Feeds {
                    hits: wants_hits,
                    count: wants_count,
                    aggregations: aggregates,
                },
            ),
            Some(post_filter) => {
                if aggregates {
                    let feeds = Feeds {
                        hits: false,
                        count: false,
                        aggregations: true,
                    };
                    self.pass(&self.unit.filter, feeds)?;
                }
                let both = Filter::And(vec![self.unit.filter.clone(), post_filter.clone()]);
                let both = self.unit.resolve(self.shard, &both);
                let feeds = Feeds {
                    hits: wants_hits,
                    count: wants_count,
                    aggregations: false,
                };
                self.pass(&both, feeds)
            }
        }
    }

    /// What was found, ready to be compared with what others found.
    pub fn finish(self, is_complete: bool) -> Result<SegmentFound, Failure> {
        let positions = self.shard.positions(self.unit.segment);
        let mut hits = Vec::new();
        for candidate in self.top.finish() {
            hits.push(SegmentHit {
                sort: self
                    .keys
                    .iter()
                    .map(|key| key.value(candidate.doc))
                    .collect(),
                position: positions.first(candidate.doc).unwrap_or_default(),
                unit: self.unit_number,
                doc: candidate.doc,
            });
        }
        let partial = match self.collector {
            Some(collector) if is_complete => collector.finish()?,
            _ => Partial::default(),
        };
        Ok(SegmentFound { hits, partial })
    }

    fn pass(&mut self, filter: &Filter, feeds: Feeds) -> Result<(), Failure> {
        let (range, rest) = split_time(filter);
        let has_nothing_to_do =
            *filter == Filter::None || !(feeds.hits || feeds.count || feeds.aggregations);
        if has_nothing_to_do {
            return Ok(());
        }
        let searcher = self.shard.searcher();
        let only_counts = feeds.count && !feeds.hits && !feeds.aggregations;
        if only_counts
            && range.covers(self.unit.time_range)
            && self.job.plan.terminate_after.is_none()
        {
            let query = rest.resolved_query(self.shard)?;
            let count = query
                .weight(EnableScoring::disabled_from_searcher(searcher))
                .and_then(|weight| weight.count(self.reader))
                .map_err(|error| self.unreadable(&error))?;
            self.job.budget.check_stopped()?;
            self.job.count(u64::from(count));
            return Ok(());
        }
        for (start, end) in self.windows(&rest, feeds) {
            // Blocks that hold no wanted event are not even looked at.
            let Some(start) = self.next_wanted(start, end, range, feeds) else {
                continue;
            };
            let end = self.last_wanted(start, end, range);
            let query = rest.resolved_query(&self.shard.within(start..end))?;
            let mut scorer = query
                .weight(EnableScoring::disabled_from_searcher(searcher))
                .and_then(|weight| weight.scorer(self.reader, 1.0))
                .map_err(|error| self.unreadable(&error))?;
            if scorer.doc() < start {
                scorer.seek(start);
            }
            let mut docs = [0; COLLECT_BLOCK_BUFFER_LEN];
            while scorer.doc() < end && !self.is_over {
                let doc = scorer.doc();
                match self.next_wanted(doc, end, range, feeds) {
                    None => break,
                    Some(next) if next > doc => {
                        scorer.seek(next);
                        continue;
                    }
                    Some(_) => {}
                }
                let count = scorer.fill_buffer(&mut docs);
                self.job.budget.check_stopped()?;
                let count = docs[..count].partition_point(|doc| *doc < end);
                self.block(&mut docs, count, range, feeds)?;
                self.blocks += 1;
                if self.blocks.is_multiple_of(BLOCKS_PER_CHECK) {
                    self.job.budget.check()?;
                }
            }
            self.job.budget.check_stopped()?;
            self.top.shrink();
            self.publish_threshold();
        }
        Ok(())
    }

    /// The whole segment, or first the end of it where the newest events are likely to be.
    fn windows(&self, filter: &Filter, feeds: Feeds) -> Vec<(DocId, DocId)> {
        let end = self.reader.max_doc();
        let newest_first = matches!(self.time_first, Some((_, true)));
        let probes = newest_first
            && feeds.hits
            && !feeds.aggregations
            && end > 2 * PROBE_DOCS
            && is_cheap_to_open(filter);
        match probes {
            true => vec![(end - PROBE_DOCS, end), (0, end - PROBE_DOCS)],
            false => vec![(0, end)],
        }
    }

    /// The first document from `doc` on that is in a zone worth a look; none before `end` when there is none.
    fn next_wanted(&self, doc: DocId, end: DocId, range: TimeRange, feeds: Feeds) -> Option<DocId> {
        let counts = feeds.count && !self.job.is_counted_enough();
        let only_hits = !feeds.aggregations && !counts;
        if only_hits && !feeds.hits {
            return None;
        }
        let threshold = match only_hits {
            true => self.threshold(),
            false => None,
        };
        let mut at = doc;
        while at < end {
            let times = self.zones.around(at);
            let is_wanted =
                range.overlaps(times) && threshold.is_none_or(|worst| self.best(times) <= worst);
            if is_wanted {
                return Some(at);
            }
            at = (at / ZONE_DOCS + 1) * ZONE_DOCS;
        }
        None
    }

    /// The document behind the last one of `start..end` that is in a zone with times of `range`.
    fn last_wanted(&self, start: DocId, end: DocId, range: TimeRange) -> DocId {
        let mut end = end;
        while end > start {
            let zone_start = (end - 1) / ZONE_DOCS * ZONE_DOCS;
            if range.overlaps(self.zones.around(zone_start)) {
                break;
            }
            end = zone_start;
        }
        end.max(start)
    }

    /// The best first rank that an event of these times can have.
    fn best(&self, times: TimeRange) -> Rank {
        self.job.best_rank(times)
    }

    /// The worst first rank that can still be a hit, where hits are ordered by time.
    fn threshold(&self) -> Option<Rank> {
        self.time_first?;
        match (self.top.threshold(), self.job.threshold()) {
            (Some(mine), Some(shared)) => Some(mine.min(shared)),
            (mine, shared) => mine.or(shared),
        }
    }

    fn publish_threshold(&self) {
        if let (Some(_), Some(threshold)) = (self.time_first, self.top.threshold()) {
            self.job.lower_threshold(threshold);
        }
    }

    fn block(
        &mut self,
        docs: &mut [DocId; COLLECT_BLOCK_BUFFER_LEN],
        count: usize,
        range: TimeRange,
        feeds: Feeds,
    ) -> Result<(), Failure> {
        let mut count = count;
        if let Some(alive) = self.reader.alive_bitset() {
            count = keep(docs, count, |doc| alive.is_alive(doc));
        }
        let checks_time = !range.covers(self.unit.time_range);
        let needs_times = checks_time || (feeds.hits && self.time_first.is_some());
        if needs_times && count > 0 {
            let times = self.shard.timestamps(self.unit.segment);
            times
                .values
                .get_vals(&docs[..count], &mut self.times[..count]);
        }
        if checks_time {
            let mut kept = 0;
            for at in 0..count {
                let time = self.times[at];
                if range.contains(Timestamp::from_nanos(time.into_timestamp_nanos())) {
                    docs[kept] = docs[at];
                    self.times[kept] = time;
                    kept += 1;
                }
            }
            count = kept;
        }
        count = self.within_terminate_after(count);
        let docs = &docs[..count];
        if docs.is_empty() {
            return Ok(());
        }
        if feeds.count {
            self.job.count(docs.len() as u64);
        }
        if let (true, Some(collector)) = (feeds.aggregations, &mut self.collector) {
            collector.collect(docs)?;
        }
        if feeds.hits {
            self.offer(docs);
        }
        Ok(())
    }

    /// How many of `count` more documents the plan's `terminate_after` lets through.
    fn within_terminate_after(&mut self, count: usize) -> usize {
        let Some(limit) = self.job.plan.terminate_after else {
            return count;
        };
        let looked_at = &self.job.shards[self.unit.shard].looked_at;
        let before = looked_at.fetch_add(count as u64, Ordering::Relaxed);
        let room = limit.saturating_sub(before);
        if room <= count as u64 {
            self.is_over = true;
            self.job.terminated_early.store(true, Ordering::Relaxed);
        }
        count.min(usize::try_from(room).unwrap_or(usize::MAX))
    }

    fn offer(&mut self, docs: &[DocId]) {
        let positions = self.shard.positions(self.unit.segment);
        let mut threshold = self.threshold();
        for (at, &doc) in docs.iter().enumerate() {
            let first = match self.time_first {
                Some((resolution, descending)) => {
                    time_rank(self.times[at], resolution).directed(descending)
                }
                None => self.keys[0].rank(doc),
            };
            if threshold
                .or(self.top.threshold())
                .is_some_and(|worst| first > worst)
            {
                continue;
            }
            if self.after.first().is_some_and(|after| first < *after) {
                continue;
            }
            let rest: Box<[Rank]> = self.keys[1..].iter().map(|key| key.rank(doc)).collect();
            if !self.is_behind(first, &rest) {
                continue;
            }
            let position = positions.first(doc).unwrap_or_default();
            let tie = match self.job.plan.order[0].descending {
                true => !position,
                false => position,
            };
            self.top.push(Candidate {
                first,
                rest,
                tie,
                doc,
            });
            threshold = self.threshold();
        }
    }

    /// Whether a place is behind the one that the client has seen.
    fn is_behind(&self, first: Rank, rest: &[Rank]) -> bool {
        let Some((after_first, after_rest)) = self.after.split_first() else {
            return true;
        };
        let own = std::iter::once(&first).chain(rest).take(self.after.len());
        own.cmp(std::iter::once(after_first).chain(after_rest))
            .is_gt()
    }

    fn unreadable(&self, error: &tantivy::TantivyError) -> Failure {
        // A leaf that was interrupted fails too; why, the budget knows.
        match self.job.budget.check() {
            Err(stop) => Failure::Stop(stop),
            Ok(()) => Failure::Shard(error.to_string()),
        }
    }
}

/// Takes the time that must hold out of a resolved filter.
fn split_time(filter: &Filter) -> (TimeRange, Filter) {
    match filter {
        Filter::During(range) => (*range, Filter::All),
        Filter::And(of) => {
            let range = filter.time_range();
            let is_time = |filter: &&Filter| matches!(filter, Filter::During(_));
            let rest = of.iter().filter(|filter| !is_time(filter)).cloned();
            (range, Filter::all(rest.collect()))
        }
        other => (TimeRange::ALL, other.clone()),
    }
}

/// Whether opening a search a second time costs next to nothing: words are looked up, patterns are worked out.
fn is_cheap_to_open(filter: &Filter) -> bool {
    match filter {
        Filter::All | Filter::None | Filter::During(_) => true,
        Filter::And(of) | Filter::AtLeast { of, .. } => of.iter().all(is_cheap_to_open),
        Filter::Not(inner) => is_cheap_to_open(inner),
        Filter::Leaf(leaf) => matches!(leaf, Leaf::Words(..) | Leaf::Ids(_)),
        Filter::Index(_) | Filter::AnyField { .. } => false,
    }
}

fn keep(
    docs: &mut [DocId; COLLECT_BLOCK_BUFFER_LEN],
    count: usize,
    is_kept: impl Fn(DocId) -> bool,
) -> usize {
    let mut kept = 0;
    for at in 0..count {
        let doc = docs[at];
        if is_kept(doc) {
            docs[kept] = doc;
            kept += 1;
        }
    }
    kept
}
