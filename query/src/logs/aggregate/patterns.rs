//! `patterns`: how often each template of messages occurs, over time.
//!
//! Counts by the number of the template's group within a block of the shard, so that no value of a document is read
//! but its time.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use event::Timestamp;
use indexer::logs::{ReadError, SegmentTemplates, TemplateBlock, TemplateId};
use rustc_hash::FxHashMap;
use tantivy::columnar::Column;
use tantivy::{DateTime, DocId};

use super::collector::{Collect, Meter, Segment};
use super::partial::PartialAggregation;
use super::{AggregateError, Ordinal};

/// The patterns of messages; stands at the top level only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patterns {
    /// The length of a bucket of time, in nanoseconds; more than 0. Buckets begin at multiples of it since 1970.
    pub step_nanos: i64,
}

/// The templates that were found, and messages that have none.
#[derive(Debug, Clone, Default)]
pub struct FoundPatterns {
    /// What was found of each.
    pub patterns: FxHashMap<PatternKey, FoundPattern>,
    /// How many messages have no template.
    pub without_template: u64,
}

/// A template in a field.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PatternKey {
    /// The field, dotted.
    pub field: Box<str>,
    /// The text, with [`indexer::logs::VARIABLE`] for each variable.
    pub text: Box<str>,
}

/// What was found of a template.
#[derive(Debug, Clone)]
pub struct FoundPattern {
    /// How many messages have it.
    pub count: u64,
    /// The time of the first of them.
    pub first_seen: Timestamp,
    /// The time of the last of them.
    pub last_seen: Timestamp,
    /// How many by bucket, whose number is its start divided by the step; ascending, without empty ones.
    pub buckets: Vec<(i64, u64)>,
    /// The last of them.
    pub newest: MessagePlace,
}

/// Where a message stands. Keeps the view of its shard open.
#[derive(Debug, Clone)]
pub struct MessagePlace {
    templates: Arc<SegmentTemplates>,
    doc: DocId,
}

impl MessagePlace {
    /// Reads the message. Blocking.
    ///
    /// # Errors
    /// The shard's files cannot be read.
    pub fn read(&self) -> Result<Option<String>, ReadError> {
        self.templates.message(self.doc)
    }
}

impl FoundPatterns {
    /// Adds what was found elsewhere.
    pub fn merge(&mut self, other: FoundPatterns) {
        self.without_template += other.without_template;
        if self.patterns.is_empty() {
            self.patterns = other.patterns;
            return;
        }
        for (key, pattern) in other.patterns {
            match self.patterns.entry(key) {
                Entry::Occupied(mut known) => known.get_mut().merge(pattern),
                Entry::Vacant(vacant) => {
                    vacant.insert(pattern);
                }
            }
        }
    }
}

impl FoundPattern {
    /// Adds what was found of the same template, or of one that is shown as the same.
    pub fn merge(&mut self, other: FoundPattern) {
        self.count += other.count;
        self.first_seen = self.first_seen.min(other.first_seen);
        if other.last_seen > self.last_seen {
            self.last_seen = other.last_seen;
            self.newest = other.newest;
        }
        let mut buckets = Vec::with_capacity(self.buckets.len().max(other.buckets.len()));
        let mut theirs = other.buckets.into_iter().peekable();
        for (bucket, mut count) in self.buckets.drain(..) {
            while let Some(earlier) = theirs.next_if(|(known, _)| *known < bucket) {
                buckets.push(earlier);
            }
            if let Some((_, more)) = theirs.next_if(|(known, _)| *known == bucket) {
                count += more;
            }
            buckets.push((bucket, count));
        }
        buckets.extend(theirs);
        self.buckets = buckets;
    }
}

pub(super) fn open(
    request: &Patterns,
    segment: Segment<'_>,
) -> Result<Box<dyn Collect>, AggregateError> {
    if !segment.is_top() {
        let message = "patterns can only stand at the top level".to_owned();
        return Err(AggregateError::Request(message));
    }
    Ok(Box::new(PatternCollector {
        templates: Arc::new(segment.shard.templates(segment.number)?),
        times: segment.shard.timestamps(segment.number).clone(),
        step_nanos: request.step_nanos,
        block: None,
        ordinals: FxHashMap::default(),
        counted: Vec::new(),
        without_template: 0,
        bucket: Bucket::default(),
        room: Vec::new(),
        meter: Meter::new(segment.budget),
        bucket_count: 0,
    }))
}

struct PatternCollector {
    templates: Arc<SegmentTemplates>,
    times: Column<DateTime>,
    step_nanos: i64,
    block: Option<OpenBlock>,
    ordinals: FxHashMap<TemplateId, usize>,
    /// By ordinal.
    counted: Vec<Counted>,
    without_template: u64,
    /// The one of the last time.
    bucket: Bucket,
    room: Vec<DateTime>,
    meter: Meter,
    /// How many buckets there are, of all templates together.
    bucket_count: u64,
}

/// The block at work, with the ordinal of each group's template.
struct OpenBlock {
    block: TemplateBlock,
    ordinals: Vec<Option<usize>>,
}

/// A bucket: its first and last nanosecond, and its number. Empty by default.
struct Bucket {
    first: i64,
    last: i64,
    number: i64,
}

impl Default for Bucket {
    fn default() -> Bucket {
        Bucket {
            first: 0,
            last: -1,
            number: 0,
        }
    }
}

impl Bucket {
    fn of(nanos: i64, step_nanos: i64) -> Bucket {
        let number = nanos.div_euclid(step_nanos);
        let first = number.saturating_mul(step_nanos);
        Bucket {
            first,
            last: first.saturating_add(step_nanos - 1),
            number,
        }
    }
}

/// What was counted of a template.
struct Counted {
    template: TemplateId,
    count: u64,
    first: i64,
    last: i64,
    newest: DocId,
    buckets: Vec<(i64, u64)>,
}

impl Counted {
    fn new(template: TemplateId) -> Counted {
        Counted {
            template,
            count: 0,
            first: i64::MAX,
            last: i64::MIN,
            newest: 0,
            buckets: Vec::new(),
        }
    }

    /// Answers whether it takes more room now.
    fn add(&mut self, doc: DocId, nanos: i64, bucket: i64) -> bool {
        self.count += 1;
        self.first = self.first.min(nanos);
        if nanos >= self.last {
            (self.last, self.newest) = (nanos, doc);
        }
        // Events come nearly in the order of their times.
        match self.buckets.last_mut() {
            Some((last, count)) if *last == bucket => {
                *count += 1;
                return false;
            }
            Some((last, _)) if *last < bucket => {}
            None => {}
            Some(_) => match self.buckets.binary_search_by_key(&bucket, |(at, _)| *at) {
                Ok(at) => {
                    self.buckets[at].1 += 1;
                    return false;
                }
                Err(at) => {
                    self.buckets.insert(at, (bucket, 1));
                    return true;
                }
            },
        }
        self.buckets.push((bucket, 1));
        true
    }
}

impl PatternCollector {
    fn open_block(&mut self, doc: DocId) -> Result<OpenBlock, AggregateError> {
        let block = self.templates.block_of(doc)?;
        let mut ordinals = Vec::with_capacity(block.templates().len());
        for template in block.templates() {
            ordinals.push(template.map(|template| {
                *self.ordinals.entry(template).or_insert_with(|| {
                    self.counted.push(Counted::new(template));
                    self.counted.len() - 1
                })
            }));
        }
        Ok(OpenBlock { block, ordinals })
    }

    /// About how much memory it takes, texts not counted.
    fn memory_bytes(&self) -> u64 {
        let templates = self.counted.len() * (size_of::<Counted>() + 2 * size_of::<TemplateId>());
        templates as u64 + self.bucket_count * 2 * size_of::<(i64, u64)>() as u64
    }
}

impl Collect for PatternCollector {
    fn collect(&mut self, docs: &[DocId], _parents: &[Ordinal]) -> Result<(), AggregateError> {
        let mut times = std::mem::take(&mut self.room);
        times.resize(docs.len(), DateTime::MIN);
        self.times.values.get_vals(docs, &mut times);
        let mut open = self.block.take();
        for (doc, time) in docs.iter().zip(&times) {
            let at = match open {
                Some(at) if at.block.documents().contains(doc) => at,
                _ => self.open_block(*doc)?,
            };
            let ordinal = at.ordinals[at.block.group_of(*doc)];
            open = Some(at);
            let Some(ordinal) = ordinal else {
                self.without_template += 1;
                continue;
            };
            let nanos = time.into_timestamp_nanos();
            if !(self.bucket.first..=self.bucket.last).contains(&nanos) {
                self.bucket = Bucket::of(nanos, self.step_nanos);
            }
            let has_grown = self.counted[ordinal].add(*doc, nanos, self.bucket.number);
            self.bucket_count += u64::from(has_grown);
        }
        self.block = open;
        self.room = times;
        self.meter.grow_to(self.memory_bytes())
    }

    fn finish(
        mut self: Box<Self>,
        parent_count: usize,
    ) -> Result<Vec<PartialAggregation>, AggregateError> {
        let mut found = FoundPatterns {
            without_template: self.without_template,
            ..FoundPatterns::default()
        };
        let time = |nanos: i64| Timestamp::from_nanos(nanos);
        let mut bytes = self.memory_bytes();
        for counted in self.counted.into_iter().filter(|one| one.count > 0) {
            let key = PatternKey {
                field: self.templates.field(counted.template)?.into(),
                text: self.templates.text(counted.template)?.into(),
            };
            bytes += key.text.len() as u64 + 64;
            self.meter.grow_to(bytes)?;
            let pattern = FoundPattern {
                count: counted.count,
                first_seen: time(counted.first),
                last_seen: time(counted.last),
                buckets: counted.buckets,
                newest: MessagePlace {
                    templates: Arc::clone(&self.templates),
                    doc: counted.newest,
                },
            };
            match found.patterns.entry(key) {
                Entry::Occupied(mut known) => known.get_mut().merge(pattern),
                Entry::Vacant(vacant) => {
                    vacant.insert(pattern);
                }
            }
        }
        let mut found = vec![PartialAggregation::Patterns(Box::new(found))];
        found.resize_with(
            parent_count,
            || PartialAggregation::Patterns(Box::default()),
        );
        Ok(found)
    }
}
