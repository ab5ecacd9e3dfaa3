//! From a time to the start of its interval: fixed lengths and calendar units, in any time zone.
//!
//! Rounding happens in the wall time of the zone, so days have 23 or 25 hours where the clocks change.
//! All times are milliseconds since 1970, UTC.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// The range of times an event can have, in milliseconds; anything outside is moved to its border.
const MILLIS_MAX: i64 = i64::MAX / 1_000_000;
/// How many changes of the clocks one interval may span before we stop looking for its end.
const TRANSITIONS_MAX: usize = 8;

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// The length of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// So many milliseconds; at least 1.
    Fixed(i64),
    /// A unit of the calendar.
    Calendar(CalendarUnit),
}

/// A unit of the calendar; weeks begin on Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalendarUnit {
    /// One second.
    Second,
    /// One minute.
    Minute,
    /// One hour.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday.
    Week,
    /// From the first to the first.
    Month,
    /// Three months, from January, April, July and October.
    Quarter,
    /// From the first of January.
    Year,
}

/// Cuts time into intervals.
#[derive(Debug, Clone, PartialEq)]
pub struct Rounding {
    interval: Interval,
    zone: TimeZone,
    /// Set when the zone never changes its clocks; then all is arithmetic.
    zone_offset_ms: Option<i64>,
    offset_ms: i64,
}

impl Rounding {
    /// Intervals in the wall time of `zone`, each begun `offset_ms` later than it would be.
    pub fn new(interval: Interval, zone: TimeZone, offset_ms: i64) -> Rounding {
        let zone_offset_ms = zone.to_fixed_offset().ok().map(offset_millis);
        let interval = match interval {
            Interval::Fixed(millis) => Interval::Fixed(millis.max(1)),
            calendar => calendar,
        };
        Rounding {
            interval,
            zone,
            zone_offset_ms,
            offset_ms,
        }
    }

    /// The start of the interval that `millis` lies in.
    pub fn floor(&self, millis: i64) -> i64 {
        let millis = clamp(millis).saturating_sub(self.offset_ms);
        self.floor_plain(clamp(millis))
            .saturating_add(self.offset_ms)
    }

    /// The start of the interval after the one that begins at `start`; always later than `start`.
    pub fn next(&self, start: i64) -> i64 {
        let plain = clamp(start.saturating_sub(self.offset_ms));
        let next = self.next_plain(plain).saturating_add(self.offset_ms);
        next.max(start.saturating_add(1))
    }

    /// The zone whose wall time is cut.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// When every interval between the two times has the same length: that length, and a time before both at
    /// which some interval begins.
    pub(super) fn arithmetic(&self, earliest: i64, latest: i64) -> Option<Arithmetic> {
        let step = self.step()?;
        let from = clamp(earliest.saturating_sub(self.offset_ms));
        let to = clamp(latest.saturating_sub(self.offset_ms));
        let zone_offset = match self.zone_offset_ms {
            Some(offset) => offset,
            None if self.next_transition(from).is_none_or(|at| at > to) => self.zone_offset(from),
            None => return None,
        };
        let local = from.checked_add(zone_offset)?;
        let start = local.div_euclid(step).checked_mul(step)? - zone_offset;
        Some(Arithmetic {
            base: start.checked_add(self.offset_ms)?,
            step,
        })
    }

    /// The length of an interval as the clock on the wall counts it, for those shorter than a day.
    fn step(&self) -> Option<i64> {
        match self.interval {
            Interval::Fixed(millis) => Some(millis),
            Interval::Calendar(CalendarUnit::Second) => Some(SECOND_MS),
            Interval::Calendar(CalendarUnit::Minute) => Some(MINUTE_MS),
            Interval::Calendar(CalendarUnit::Hour) => Some(HOUR_MS),
            Interval::Calendar(_) => None,
        }
    }

    fn floor_plain(&self, millis: i64) -> i64 {
        match (self.step(), self.zone_offset_ms) {
            (Some(step), Some(offset)) => {
                (millis + offset)
                    .div_euclid(step)
                    .saturating_mul(step)
                    .max(-MILLIS_MAX)
                    - offset
            }
            (Some(step), None) => self.floor_zoned(millis, step),
            (None, _) => self.midnight(self.first_date(self.date(millis))),
        }
    }

    fn floor_zoned(&self, millis: i64, step: i64) -> i64 {
        let local = millis + self.zone_offset(millis);
        let floored = clamp(local.div_euclid(step).saturating_mul(step));
        match self.offsets_of(floored) {
            AmbiguousOffset::Unambiguous { offset } => floored - offset_millis(offset),
            AmbiguousOffset::Fold { before, after } => {
                let second_time = floored - offset_millis(after);
                if second_time <= millis {
                    second_time
                } else {
                    floored - offset_millis(before)
                }
            }
            AmbiguousOffset::Gap { after, .. } => self.end_of_gap(floored, after),
        }
    }

    fn next_plain(&self, start: i64) -> i64 {
        match (self.step(), self.zone_offset_ms) {
            (Some(step), Some(offset)) => {
                let next = (start + offset).div_euclid(step).saturating_add(1);
                next.saturating_mul(step) - offset
            }
            (Some(step), None) => self.next_zoned(start, step),
            (None, _) => {
                let first = self.first_date(self.date(start));
                self.midnight(self.following_date(first))
            }
        }
    }

    /// Goes from one change of the clocks to the next: between two of them all is arithmetic.
    fn next_zoned(&self, start: i64, step: i64) -> i64 {
        let mut from = start;
        for _ in 0..TRANSITIONS_MAX {
            let offset = self.zone_offset(from);
            let ordinal = (from + offset).div_euclid(step).saturating_add(1);
            let next = ordinal.saturating_mul(step) - offset;
            match self.next_transition(from) {
                Some(transition) if transition <= next => {
                    let floored = self.floor_zoned(transition, step);
                    if floored > start {
                        return floored;
                    }
                    from = transition;
                }
                _ => return next,
            }
        }
        from.saturating_add(step)
    }

    fn zone_offset(&self, millis: i64) -> i64 {
        match self.zone_offset_ms {
            Some(offset) => offset,
            None => offset_millis(self.zone.to_offset(instant(millis))),
        }
    }

    fn next_transition(&self, millis: i64) -> Option<i64> {
        let mut following = self.zone.following(instant(millis));
        following
            .next()
            .map(|transition| transition.timestamp().as_millisecond())
    }

    fn offsets_of(&self, local_millis: i64) -> AmbiguousOffset {
        self.zone
            .to_ambiguous_timestamp(civil(local_millis))
            .offset()
    }

    /// The instant at which the clocks jumped over this wall time.
    fn end_of_gap(&self, local_millis: i64, after: Offset) -> i64 {
        let before_the_jump = local_millis - offset_millis(after);
        self.next_transition(before_the_jump)
            .unwrap_or(before_the_jump)
    }

    fn date(&self, millis: i64) -> Date {
        civil(millis + self.zone_offset(millis)).date()
    }

    /// The first instant of a date; where midnight does not exist, the end of the gap.
    fn midnight(&self, date: Date) -> i64 {
        let local = local_millis(date);
        if let Some(offset) = self.zone_offset_ms {
            return local - offset;
        }
        match self.offsets_of(local) {
            AmbiguousOffset::Unambiguous { offset } => local - offset_millis(offset),
            AmbiguousOffset::Fold { before, .. } => local - offset_millis(before),
            AmbiguousOffset::Gap { after, .. } => self.end_of_gap(local, after),
        }
    }

    fn first_date(&self, date: Date) -> Date {
        let Interval::Calendar(unit) = self.interval else {
            return date;
        };
        let month = match unit {
            CalendarUnit::Month => date.month(),
            CalendarUnit::Quarter => (date.month() - 1) / 3 * 3 + 1,
            CalendarUnit::Year => 1,
            CalendarUnit::Week => {
                let days_since_monday = i64::from(date.weekday().to_monday_zero_offset());
                return plus_days(date, -days_since_monday);
            }
            _ => return date,
        };
        Date::new(date.year(), month, 1).unwrap_or(date)
    }

    fn following_date(&self, first: Date) -> Date {
        let Interval::Calendar(unit) = self.interval else {
            return first;
        };
        let months = match unit {
            CalendarUnit::Month => 1,
            CalendarUnit::Quarter => 3,
            CalendarUnit::Year => 12,
            CalendarUnit::Week => return plus_days(first, 7),
            _ => return plus_days(first, 1),
        };
        let month = i32::from(first.month()) - 1 + months;
        let year = i32::from(first.year()) + month / 12;
        Date::new(year as i16, (month % 12 + 1) as i8, 1).unwrap_or(first)
    }
}

/// Intervals that all have one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arithmetic {
    /// Where the first of them begins.
    pub base: i64,
    /// Their length.
    pub step: i64,
}

fn clamp(millis: i64) -> i64 {
    millis.clamp(-MILLIS_MAX, MILLIS_MAX)
}

fn offset_millis(offset: Offset) -> i64 {
    i64::from(offset.seconds()) * SECOND_MS
}

fn instant(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(clamp(millis)).unwrap_or_default()
}

/// Reads milliseconds as wall time.
fn civil(local_millis: i64) -> DateTime {
    TimeZone::UTC.to_datetime(instant(local_millis))
}

fn local_millis(date: Date) -> i64 {
    TimeZone::UTC
        .to_timestamp(date.at(0, 0, 0, 0))
        .map_or(0, |timestamp| timestamp.as_millisecond())
}

fn plus_days(date: Date, days: i64) -> Date {
    civil(local_millis(date) + days * 24 * HOUR_MS).date()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(text: &str) -> i64 {
        event::Timestamp::parse_iso(text).unwrap().millis()
    }

    fn text(millis: i64) -> String {
        event::Timestamp::from_millis(millis).unwrap().to_rfc3339()
    }

    fn berlin() -> TimeZone {
        TimeZone::get("Europe/Berlin").unwrap()
    }

    fn calendar(unit: CalendarUnit, zone: TimeZone) -> Rounding {
        Rounding::new(Interval::Calendar(unit), zone, 0)
    }

    #[track_caller]
    fn check(rounding: &Rounding, time: &str, start: &str, next: &str) {
        let floored = rounding.floor(ms(time));
        assert_eq!(text(floored), start, "start of {time}");
        assert_eq!(text(rounding.next(floored)), next, "next after {time}");
    }

    #[test]
    fn months_in_berlin_span_the_change_of_the_clocks() {
        let months = calendar(CalendarUnit::Month, berlin());
        check(
            &months,
            "2026-10-31T22:59:59.999Z",
            "2026-09-30T22:00:00.000Z",
            "2026-10-31T23:00:00.000Z",
        );
        check(
            &months,
            "2026-10-31T23:00:00Z",
            "2026-10-31T23:00:00.000Z",
            "2026-11-30T23:00:00.000Z",
        );
    }

    #[test]
    fn days_have_23_and_25_hours_where_the_clocks_change() {
        let days = calendar(CalendarUnit::Day, berlin());
        check(
            &days,
            "2026-03-29T12:00:00Z",
            "2026-03-28T23:00:00.000Z",
            "2026-03-29T22:00:00.000Z",
        );
        check(
            &days,
            "2026-10-25T12:00:00Z",
            "2026-10-24T22:00:00.000Z",
            "2026-10-25T23:00:00.000Z",
        );
    }

    #[test]
    fn a_midnight_that_does_not_exist_is_the_end_of_its_gap() {
        let havana = TimeZone::get("America/Havana").unwrap();
        let days = calendar(CalendarUnit::Day, havana);
        // On 2026-03-08 the clocks go from 00:00 to 01:00.
        check(
            &days,
            "2026-03-08T12:00:00Z",
            "2026-03-08T05:00:00.000Z",
            "2026-03-09T04:00:00.000Z",
        );
    }

    #[test]
    fn units_begin_where_the_calendar_says() {
        let utc = TimeZone::UTC;
        let cases = [
            (CalendarUnit::Week, "2026-11-23", "2026-11-30"),
            (CalendarUnit::Month, "2026-11-01", "2026-12-01"),
            (CalendarUnit::Quarter, "2026-10-01", "2027-01-01"),
            (CalendarUnit::Year, "2026-01-01", "2027-01-01"),
            (CalendarUnit::Day, "2026-11-25", "2026-11-26"),
        ];
        for (unit, start, next) in cases {
            let midnight = |day: &str| format!("{day}T00:00:00.000Z");
            check(
                &calendar(unit, utc.clone()),
                "2026-11-25T13:14:15Z",
                &midnight(start),
                &midnight(next),
            );
        }
    }

    #[test]
    fn the_hour_that_comes_twice_is_two_hours() {
        let hours = calendar(CalendarUnit::Hour, berlin());
        check(
            &hours,
            "2026-10-25T00:30:00Z",
            "2026-10-25T00:00:00.000Z",
            "2026-10-25T01:00:00.000Z",
        );
        check(
            &hours,
            "2026-10-25T01:30:00Z",
            "2026-10-25T01:00:00.000Z",
            "2026-10-25T02:00:00.000Z",
        );
    }

    #[test]
    fn fixed_intervals_follow_the_wall_clock_and_the_offset() {
        let half_days = Rounding::new(Interval::Fixed(12 * HOUR_MS), berlin(), 0);
        check(
            &half_days,
            "2026-11-23T12:00:00Z",
            "2026-11-23T11:00:00.000Z",
            "2026-11-23T23:00:00.000Z",
        );
        check(
            &half_days,
            "2026-03-29T05:00:00Z",
            "2026-03-28T23:00:00.000Z",
            "2026-03-29T10:00:00.000Z",
        );
        let shifted = Rounding::new(Interval::Fixed(24 * HOUR_MS), TimeZone::UTC, 6 * HOUR_MS);
        check(
            &shifted,
            "2026-11-23T05:59:59Z",
            "2026-11-22T06:00:00.000Z",
            "2026-11-23T06:00:00.000Z",
        );
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        for unit in [CalendarUnit::Year, CalendarUnit::Week, CalendarUnit::Hour] {
            for zone in [TimeZone::UTC, berlin()] {
                let rounding = calendar(unit, zone);
                for millis in [i64::MIN, i64::MAX, 0] {
                    let start = rounding.floor(millis);
                    assert!(rounding.next(start) > start);
                }
            }
        }
    }

    fn any_rounding() -> impl Strategy<Value = Rounding> {
        let zones = [
            "UTC",
            "Europe/Berlin",
            "America/Havana",
            "Asia/Kathmandu",
            "Australia/Lord_Howe",
        ];
        let interval = prop_oneof![
            prop::sample::select(vec![
                1i64, 5, 15, 20, 30, 60, 90, 120, 180, 720, 1440, 10_080
            ])
            .prop_map(|minutes| Interval::Fixed(minutes * MINUTE_MS)),
            prop::sample::select(vec![
                CalendarUnit::Minute,
                CalendarUnit::Hour,
                CalendarUnit::Day,
                CalendarUnit::Week,
                CalendarUnit::Month,
                CalendarUnit::Quarter,
                CalendarUnit::Year,
            ])
            .prop_map(Interval::Calendar),
        ];
        let offset_ms = prop_oneof![Just(0i64), -48i64 * HOUR_MS..48 * HOUR_MS];
        (interval, prop::sample::select(zones.to_vec()), offset_ms).prop_map(
            |(interval, zone, offset_ms)| {
                Rounding::new(interval, TimeZone::get(zone).unwrap(), offset_ms)
            },
        )
    }

    proptest! {
        /// Starts are stable, not later than their times, and `next` leads to a later start that is stable too.
        #[test]
        fn every_time_has_one_interval(rounding in any_rounding(), millis in 1_700_000_000_000i64..1_900_000_000_000) {
            let start = rounding.floor(millis);
            prop_assert!(start <= millis);
            prop_assert_eq!(rounding.floor(start), start);
            let next = rounding.next(start);
            prop_assert!(next > start);
            prop_assert_eq!(rounding.floor(next), next);
        }

        /// Where arithmetic is offered it agrees with the exact way.
        #[test]
        fn arithmetic_agrees(rounding in any_rounding(), from in 1_700_000_000_000i64..1_900_000_000_000, length in 0i64..86_400_000) {
            if let Some(arithmetic) = rounding.arithmetic(from, from + length) {
                for millis in [from, from + length / 2, from + length] {
                    let index = (millis - arithmetic.base).div_euclid(arithmetic.step);
                    prop_assert!(index >= 0);
                    let start = arithmetic.base + index * arithmetic.step;
                    let again = rounding.floor(start.max(from));
                    prop_assert_eq!(rounding.floor(millis), again);
                }
            }
        }
    }
}
