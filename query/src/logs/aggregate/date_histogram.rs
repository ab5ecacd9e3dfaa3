//! `date_histogram`: one bucket per interval of time.
//!
//! The path that draws log volumes must be quick: where all intervals of a segment have one length, a bucket is a
//! subtraction and a division, and neighbours in the same bucket skip even that. Elsewhere (calendar units, changing
//! clocks) the borders of the intervals seen so far are kept in a sorted table.

use indexer::logs::ValueColumn;
use tantivy::DocId;
use tantivy::columnar::Column;

use super::buckets::SegmentBuckets;
use super::collector::{Collect, Segment};
use super::key::Key;
use super::order::Order;
use super::partial::PartialAggregation;
use super::rounding::{Arithmetic, Rounding};
use super::slots::Owner;
use super::values::{Block, ValueKind};
use super::zero_fill::Bounds;
use super::{AggregateError, Aggregations, Ordinal};

/// Intervals beyond this many are not given a dense table.
const DENSE_INTERVALS_MAX: i64 = 1 << 20;
const NANOS_PER_MILLI: i64 = 1_000_000;

/// One bucket per interval of time. Keys are [`Key::Time`]: the start of the interval.
#[derive(Debug, Clone, PartialEq)]
pub struct DateHistogram {
    /// The field; times, or numbers that are milliseconds since 1970.
    pub field: String,
    /// Where intervals begin.
    pub rounding: Rounding,
    /// The time of events that have none, milliseconds; without it they are left out.
    pub missing: Option<i64>,
    /// Buckets with fewer events are left out; 0 fills gaps between the first and the last bucket.
    pub min_count: u64,
    /// With a `min_count` of 0: fill at least from the first bound to the last, milliseconds.
    pub extended_bounds: Option<Bounds<i64>>,
    /// Leave out buckets that begin before the first bound, or at or after the last, milliseconds.
    pub hard_bounds: Option<Bounds<i64>>,
    /// The order of the buckets; empty means by time.
    pub order: Vec<Order>,
}

pub(super) fn open(
    request: &DateHistogram,
    children: &Aggregations,
    segment: Segment<'_>,
) -> Result<Box<dyn Collect>, AggregateError> {
    let columns = segment
        .shard
        .columns(segment.number, &request.field)?
        .into_iter()
        .filter_map(|column| {
            Some(match column {
                ValueColumn::Time(column) => TimeColumn::Time(column, Block::default()),
                ValueColumn::Integer(column) => TimeColumn::Millis(column, Block::default()),
                _ => return None,
            })
        })
        .collect();
    DateHistogramCollector::open(request, columns, children, segment)
}

enum TimeColumn {
    Time(Column<tantivy::DateTime>, Block<tantivy::DateTime>),
    Millis(Column<i64>, Block<i64>),
}

impl TimeColumn {
    /// Earliest and latest value, milliseconds; `None` when the column is empty.
    fn range(&self) -> Option<(i64, i64)> {
        match self {
            TimeColumn::Time(column, _) if column.values.num_vals() > 0 => Some((
                super::values::millis(column.min_value()),
                super::values::millis(column.max_value()),
            )),
            TimeColumn::Millis(column, _) if column.values.num_vals() > 0 => {
                Some((column.min_value(), column.max_value()))
            }
            _ => None,
        }
    }
}

struct DateHistogramCollector {
    columns: Vec<TimeColumn>,
    intervals: Intervals,
    buckets: SegmentBuckets,
    missing: Option<i64>,
    is_answered: Vec<bool>,
}

impl DateHistogramCollector {
    fn open(
        request: &DateHistogram,
        columns: Vec<TimeColumn>,
        children: &Aggregations,
        segment: Segment<'_>,
    ) -> Result<Box<dyn Collect>, AggregateError> {
        let mut ranges: Vec<(i64, i64)> = columns.iter().filter_map(TimeColumn::range).collect();
        ranges.extend(request.missing.map(|missing| (missing, missing)));
        let earliest = ranges.iter().map(|range| range.0).min().unwrap_or(0);
        let latest = ranges.iter().map(|range| range.1).max().unwrap_or(0);
        let intervals = Intervals::new(request, earliest, latest);
        Ok(Box::new(DateHistogramCollector {
            buckets: SegmentBuckets::open(children, segment, intervals.width(latest))?,
            columns,
            intervals,
            missing: request.missing,
            is_answered: Vec::new(),
        }))
    }
}

impl Collect for DateHistogramCollector {
    fn collect(&mut self, docs: &[DocId], parents: &[Ordinal]) -> Result<(), AggregateError> {
        self.is_answered.clear();
        if self.missing.is_some() {
            self.is_answered.resize(docs.len(), false);
        }
        for column in &mut self.columns {
            let mut pass = Pass {
                intervals: &mut self.intervals,
                buckets: &mut self.buckets,
                docs,
                parents,
            };
            let positions = match column {
                TimeColumn::Time(column, block) => {
                    block.read(column, docs);
                    pass.run(&block.positions, &block.values, |time| {
                        time.into_timestamp_nanos()
                    });
                    &block.positions
                }
                TimeColumn::Millis(column, block) => {
                    block.read(column, docs);
                    pass.run(&block.positions, &block.values, |millis| {
                        millis.saturating_mul(NANOS_PER_MILLI)
                    });
                    &block.positions
                }
            };
            if self.missing.is_some() {
                for position in positions {
                    self.is_answered[*position as usize] = true;
                }
            }
            self.buckets.flush()?;
        }
        if let Some(missing) = self.missing {
            let nanos = missing.saturating_mul(NANOS_PER_MILLI);
            for (position, is_answered) in self.is_answered.iter().enumerate() {
                if !is_answered && let Some(code) = self.intervals.code(nanos) {
                    self.buckets
                        .add(docs[position], owner(parents[position], code));
                }
            }
            self.buckets.flush()?;
        }
        Ok(())
    }

    fn finish(
        self: Box<Self>,
        parent_count: usize,
    ) -> Result<Vec<PartialAggregation>, AggregateError> {
        let intervals = self.intervals;
        let keys_of = |owners: &[Owner]| {
            let keys = owners.iter().map(|owner| {
                let start = intervals.start(owner.code);
                let is_within = intervals.hard_bounds.is_none_or(|bounds| bounds.has(start));
                is_within.then_some(Key::Time(start))
            });
            Ok(keys.collect())
        };
        let found = self
            .buckets
            .finish(parent_count, Some(ValueKind::Time), keys_of)?;
        Ok(found.into_iter().map(PartialAggregation::Buckets).collect())
    }
}

fn owner(parent: Ordinal, code: u64) -> Owner {
    Owner {
        parent,
        column: 0,
        code,
    }
}

/// One pass over a block of one column.
struct Pass<'a> {
    intervals: &'a mut Intervals,
    buckets: &'a mut SegmentBuckets,
    docs: &'a [DocId],
    parents: &'a [Ordinal],
}

impl Pass<'_> {
    fn run<T: Copy>(&mut self, positions: &[u32], values: &[T], nanos: impl Fn(T) -> i64) {
        if self.buckets.only_counts() {
            self.count(positions, values, nanos);
        } else {
            self.place(positions, values, nanos);
        }
    }

    /// Adds up neighbours of the same bucket before it looks for the bucket's slot.
    fn count<T: Copy>(&mut self, positions: &[u32], values: &[T], nanos: impl Fn(T) -> i64) {
        let mut run: Option<(Owner, u64)> = None;
        let mut last = (u32::MAX, u64::MAX);
        for (position, value) in positions.iter().zip(values) {
            let Some(code) = self.intervals.code(nanos(*value)) else {
                continue;
            };
            // A document with two times in one interval counts once.
            let is_repeated = (*position, code) == last;
            last = (*position, code);
            if is_repeated {
                continue;
            }
            let owner = owner(self.parents[*position as usize], code);
            match &mut run {
                Some((running, count)) if *running == owner => *count += 1,
                _ => {
                    if let Some((finished, count)) = run.replace((owner, 1)) {
                        self.buckets.add_count(finished, count);
                    }
                }
            }
        }
        if let Some((finished, count)) = run {
            self.buckets.add_count(finished, count);
        }
    }

    fn place<T: Copy>(&mut self, positions: &[u32], values: &[T], nanos: impl Fn(T) -> i64) {
        let mut seen: Vec<u64> = Vec::new();
        let mut last_position = u32::MAX;
        for (position, value) in positions.iter().zip(values) {
            let Some(code) = self.intervals.code(nanos(*value)) else {
                continue;
            };
            if *position == last_position {
                if seen.contains(&code) {
                    continue;
                }
            } else {
                last_position = *position;
                seen.clear();
            }
            seen.push(code);
            let at = *position as usize;
            self.buckets
                .add(self.docs[at], owner(self.parents[at], code));
        }
    }
}

/// From times to codes of intervals and back.
struct Intervals {
    rounding: Rounding,
    arithmetic: Option<Arithmetic>,
    earliest: i64,
    /// Nanoseconds; values outside never count.
    hard_nanos: Option<(i64, i64)>,
    hard_bounds: Option<Bounds<i64>>,
    /// The interval of the last value, nanoseconds, end exclusive; and its code.
    current: (i64, i64, u64),
    /// Intervals seen, by start: start and end in nanoseconds. Their code is the start in milliseconds.
    table: Vec<(i64, i64)>,
}

impl Intervals {
    fn new(request: &DateHistogram, earliest: i64, latest: i64) -> Intervals {
        let nanos = |millis: i64| millis.saturating_mul(NANOS_PER_MILLI);
        // Rough: what lies a whole interval outside. The exact test is on the bucket's start.
        let hard_nanos = request.hard_bounds.map(|bounds| {
            let from = bounds
                .min
                .map_or(i64::MIN, |min| nanos(request.rounding.floor(min)));
            let to = bounds.max.map_or(i64::MAX, |max| {
                nanos(request.rounding.next(request.rounding.floor(max)))
            });
            (from, to)
        });
        Intervals {
            arithmetic: request
                .rounding
                .arithmetic(earliest, latest)
                .filter(|arithmetic| arithmetic.step < i64::MAX / NANOS_PER_MILLI),
            rounding: request.rounding.clone(),
            earliest,
            hard_nanos,
            hard_bounds: request.hard_bounds,
            current: (0, 0, 0),
            table: Vec::new(),
        }
    }

    /// How many codes a dense table needs.
    fn width(&self, latest: i64) -> Option<u64> {
        let arithmetic = self.arithmetic?;
        let count = latest.checked_sub(arithmetic.base)? / arithmetic.step + 1;
        (1..=DENSE_INTERVALS_MAX)
            .contains(&count)
            .then_some(count as u64)
    }

    /// The code of the interval a time lies in; `None` when it is out of bounds.
    #[inline]
    fn code(&mut self, nanos: i64) -> Option<u64> {
        let (from, to, code) = self.current;
        if nanos >= from && nanos < to {
            return Some(code);
        }
        self.look_up(nanos)
    }

    fn look_up(&mut self, nanos: i64) -> Option<u64> {
        if let Some((from, to)) = self.hard_nanos
            && (nanos < from || nanos >= to)
        {
            return None;
        }
        let current = match self.arithmetic {
            Some(arithmetic) => {
                let base = arithmetic.base.saturating_mul(NANOS_PER_MILLI);
                let step = arithmetic.step * NANOS_PER_MILLI;
                let index = nanos.saturating_sub(base).div_euclid(step).max(0);
                let from = base.saturating_add(index.saturating_mul(step));
                (from, from.saturating_add(step), index as u64)
            }
            None => self.look_up_table(nanos),
        };
        self.current = current;
        Some(current.2)
    }

    fn look_up_table(&mut self, nanos: i64) -> (i64, i64, u64) {
        let after = self.table.partition_point(|(from, _)| *from <= nanos);
        if let Some((from, to)) = after.checked_sub(1).map(|at| self.table[at])
            && nanos < to
        {
            return (from, to, from.div_euclid(NANOS_PER_MILLI) as u64);
        }
        let start = self.rounding.floor(nanos.div_euclid(NANOS_PER_MILLI));
        let end = self.rounding.next(start);
        let from = start.saturating_mul(NANOS_PER_MILLI);
        let to = end.saturating_mul(NANOS_PER_MILLI);
        let is_known = after
            .checked_sub(1)
            .is_some_and(|at| self.table[at].0 == from);
        if !is_known {
            let place = self.table.partition_point(|(known, _)| *known < from);
            self.table.insert(place, (from, to));
        }
        (from, to, start as u64)
    }

    /// The start of the interval with this code, milliseconds.
    fn start(&self, code: u64) -> i64 {
        match self.arithmetic {
            // The first interval may begin before the clocks changed: only a time inside it tells its start.
            Some(Arithmetic { base, step }) => self
                .rounding
                .floor((base + code as i64 * step).max(self.earliest)),
            None => code as i64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rounding::{CalendarUnit, Interval};
    use super::*;
    use jiff::tz::TimeZone;

    fn request(interval: Interval, zone: &str) -> DateHistogram {
        DateHistogram {
            field: "@timestamp".to_owned(),
            rounding: Rounding::new(interval, TimeZone::get(zone).unwrap(), 0),
            missing: None,
            min_count: 0,
            extended_bounds: None,
            hard_bounds: None,
            order: Vec::new(),
        }
    }

    fn ms(text: &str) -> i64 {
        event::Timestamp::parse_iso(text).unwrap().millis()
    }

    /// Whatever the way, a time falls into the interval that rounding says.
    #[test]
    fn every_way_of_looking_up_agrees_with_rounding() {
        let requests = [
            request(Interval::Fixed(20_000), "UTC"),
            request(Interval::Fixed(7_200_000), "Europe/Berlin"),
            request(Interval::Calendar(CalendarUnit::Hour), "Europe/Berlin"),
            request(Interval::Calendar(CalendarUnit::Day), "Europe/Berlin"),
            request(Interval::Calendar(CalendarUnit::Month), "UTC"),
        ];
        let spans = [
            ("2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"),
            ("2026-10-24T20:00:00Z", "2026-10-25T20:00:00Z"),
        ];
        for request in &requests {
            for (from, to) in spans {
                let mut intervals = Intervals::new(request, ms(from), ms(to));
                // Forth and back, so that the table is met in any order.
                let times: Vec<i64> = (ms(from)..=ms(to)).step_by(1_234_567).collect();
                for millis in times.iter().chain(times.iter().rev()) {
                    let code = intervals.code(millis * NANOS_PER_MILLI + 999).unwrap();
                    assert_eq!(intervals.start(code), request.rounding.floor(*millis));
                }
            }
        }
    }

    #[test]
    fn a_day_of_twenty_second_intervals_is_dense_and_a_year_of_milliseconds_is_not() {
        let from = ms("2026-11-23");
        let day = Intervals::new(
            &request(Interval::Fixed(20_000), "UTC"),
            from,
            from + 86_399_999,
        );
        assert_eq!(day.width(from + 86_399_999), Some(4320));
        let to = from + 365 * 86_400_000;
        let year = Intervals::new(&request(Interval::Fixed(1), "UTC"), from, to);
        assert_eq!(year.width(to), None);
    }
}
