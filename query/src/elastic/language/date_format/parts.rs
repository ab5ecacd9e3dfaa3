//! What a text says about a date, piece by piece, before the rest is filled in.

use event::Timestamp;
use jiff::civil::{Date, DateTime, ISOWeekDate, Time, Weekday};
use jiff::tz::{Offset, TimeZone};

use super::Fill;

/// The pieces a text named. What it left out is `None`.
#[derive(Debug, Clone, Default)]
pub(super) struct Parts {
    pub year: Option<i64>,
    pub month: Option<i64>,
    pub day: Option<i64>,
    pub day_of_year: Option<i64>,
    pub week_year: Option<i64>,
    pub week: Option<i64>,
    /// 1 is Monday.
    pub weekday: Option<i64>,
    pub hour: Option<i64>,
    /// 1 to 12, with `is_afternoon`.
    pub half_day_hour: Option<i64>,
    pub is_afternoon: Option<bool>,
    pub minute: Option<i64>,
    pub second: Option<i64>,
    /// The fraction of a second that was written, in nanoseconds, and with how many digits.
    pub fraction: Option<(i64, u32)>,
    pub milli_of_day: Option<i64>,
    pub zone: Option<TimeZone>,
}

impl Parts {
    /// The moment these pieces mean. `zone` holds when they name none.
    pub fn resolve(&self, zone: &TimeZone, fill: Fill) -> Option<Timestamp> {
        let date = self.date(fill)?;
        let time = self.time(fill)?;
        let zone = self.zone.as_ref().unwrap_or(zone);
        let moment = zone.to_timestamp(DateTime::from_parts(date, time)).ok()?;
        i64::try_from(moment.as_nanosecond())
            .ok()
            .map(Timestamp::from_nanos)
    }

    fn date(&self, fill: Fill) -> Option<Date> {
        if let Some(week_year) = self.week_year {
            return self.week_date(week_year, fill);
        }
        let year = i16::try_from(self.year.unwrap_or(1970)).ok()?;
        if let Some(day_of_year) = self.day_of_year {
            let day_of_year = i16::try_from(day_of_year).ok()?;
            let first = Date::new(year, 1, 1).ok()?;
            return first.with().day_of_year(day_of_year).build().ok();
        }
        // A time without any date is on 1970-01-01, at either end.
        let has_no_date = self.year.is_none() && self.month.is_none() && self.day.is_none();
        let is_latest = fill == Fill::Latest && !has_no_date;
        let month = self.month.unwrap_or(if is_latest { 12 } else { 1 });
        let month_start = Date::new(year, i8::try_from(month).ok()?, 1).ok()?;
        match self.day {
            Some(day) => Date::new(year, month_start.month(), i8::try_from(day).ok()?).ok(),
            None if is_latest => Some(month_start.last_of_month()),
            None => Some(month_start),
        }
    }

    fn week_date(&self, week_year: i64, fill: Fill) -> Option<Date> {
        let year = i16::try_from(week_year).ok()?;
        let is_latest = fill == Fill::Latest;
        let last_week = || {
            ISOWeekDate::new(year, 1, Weekday::Monday)
                .map(|first| first.weeks_in_year())
                .ok()
        };
        let week = match self.week {
            Some(week) => i8::try_from(week).ok()?,
            None if is_latest => last_week()?,
            None => 1,
        };
        let weekday = match self.weekday {
            Some(weekday) => Weekday::from_monday_one_offset(i8::try_from(weekday).ok()?).ok()?,
            None if is_latest => Weekday::Sunday,
            None => Weekday::Monday,
        };
        Some(ISOWeekDate::new(year, week, weekday).ok()?.date())
    }

    fn time(&self, fill: Fill) -> Option<Time> {
        if let Some(milli_of_day) = self.milli_of_day {
            return time_of_milli(milli_of_day);
        }
        let or = |value: Option<i64>, latest: i64| match (value, fill) {
            (Some(value), _) => value,
            (None, Fill::Earliest) => 0,
            (None, Fill::Latest) => latest,
        };
        let half_day_hour = match (self.half_day_hour, self.is_afternoon) {
            (Some(hour), _) if !(1..=12).contains(&hour) => return None,
            (Some(hour), Some(true)) => Some(hour % 12 + 12),
            (Some(hour), _) => Some(hour % 12),
            (None, _) => None,
        };
        let hour = or(self.hour.or(half_day_hour), 23);
        let minute = or(self.minute, 59);
        let second = or(self.second, 59);
        let nanos = match (self.fraction, fill) {
            (None, Fill::Earliest) => 0,
            (None, Fill::Latest) => 999_999_999,
            (Some((nanos, _)), Fill::Earliest) => nanos,
            (Some((nanos, digits)), Fill::Latest) => {
                nanos + 10i64.pow(9u32.saturating_sub(digits)) - 1
            }
        };
        // A leap second is the last nanosecond of its minute: no clock of ours has a 60th second.
        let (second, nanos) = match second {
            60 => (59, 999_999_999),
            other => (other, nanos),
        };
        Time::new(
            i8::try_from(hour).ok()?,
            i8::try_from(minute).ok()?,
            i8::try_from(second).ok()?,
            i32::try_from(nanos).ok()?,
        )
        .ok()
    }
}

fn time_of_milli(milli_of_day: i64) -> Option<Time> {
    let seconds = milli_of_day.div_euclid(1000);
    Time::new(
        i8::try_from(seconds / 3600).ok()?,
        i8::try_from(seconds / 60 % 60).ok()?,
        i8::try_from(seconds % 60).ok()?,
        i32::try_from(milli_of_day.rem_euclid(1000)).ok()? * 1_000_000,
    )
    .ok()
}

/// The zone that is `seconds` east of UTC.
pub(super) fn fixed_zone(seconds: i32) -> Option<TimeZone> {
    Some(Offset::from_seconds(seconds).ok()?.to_time_zone())
}

/// Digits with an optional sign and fraction, as a count of units of `unit_nanos`.
pub(super) fn read_epoch(text: &str, unit_nanos: i64, fill: Fill) -> Option<Timestamp> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (digits, ""),
    };
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    let mut nanos = i128::from(whole.parse::<i64>().ok()?) * i128::from(unit_nanos);
    let mut digit_nanos = unit_nanos;
    for byte in fraction.bytes() {
        digit_nanos /= 10;
        nanos += i128::from(digit_nanos) * i128::from(byte - b'0');
    }
    if is_negative {
        nanos = -nanos;
    }
    if fill == Fill::Latest {
        // A whole number of milliseconds is the whole millisecond; seconds likewise.
        nanos += i128::from((digit_nanos - 1).max(0));
    }
    i64::try_from(nanos).ok().map(Timestamp::from_nanos)
}

/// Seconds since 1970; with a fraction only where there is one.
pub(super) fn write_epoch_seconds(timestamp: Timestamp) -> String {
    let seconds = timestamp.nanos().div_euclid(1_000_000_000);
    let nanos = timestamp.nanos().rem_euclid(1_000_000_000);
    if nanos == 0 {
        return seconds.to_string();
    }
    // Below zero the fraction counts towards zero: -0.5 is half a second before 1970.
    let (sign, seconds, nanos) = match seconds < 0 {
        true => ("-", -(seconds + 1), 1_000_000_000 - nanos),
        false => ("", seconds, nanos),
    };
    let fraction = format!("{nanos:09}");
    format!("{sign}{seconds}.{}", fraction.trim_end_matches('0'))
}

/// A reader over a text; every step answers `None` when the text does not fit and then has not moved.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    pub rest: &'a str,
}

impl<'a> Cursor<'a> {
    /// Takes `literal` if it is next.
    pub fn take(&mut self, literal: &str) -> bool {
        match self.rest.strip_prefix(literal) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Between `min` and `max` digits, as many as there are, as a number.
    pub fn digits(&mut self, min: usize, max: usize) -> Option<i64> {
        let count = self.count_digits(max);
        if count < min {
            return None;
        }
        let (head, tail) = self.rest.split_at(count);
        let value = head.parse().ok()?;
        self.rest = tail;
        Some(value)
    }

    /// One to nine digits after the point, in nanoseconds, with their number.
    pub fn fraction(&mut self) -> Option<(i64, u32)> {
        let count = self.count_digits(9);
        if count == 0 {
            return None;
        }
        let value = self.digits(1, 9)?;
        let digits = count as u32;
        Some((value * 10i64.pow(9 - digits), digits))
    }

    fn count_digits(&self, max: usize) -> usize {
        self.rest
            .bytes()
            .take(max)
            .take_while(u8::is_ascii_digit)
            .count()
    }

    /// `Z`, or a signed offset of any of the usual forms.
    pub fn offset(&mut self) -> Option<TimeZone> {
        if self.take("Z") || self.take("z") {
            return Some(TimeZone::UTC);
        }
        let length = self
            .rest
            .bytes()
            .enumerate()
            .take_while(|(at, byte)| match at {
                0 => matches!(byte, b'+' | b'-'),
                _ => byte.is_ascii_digit() || *byte == b':',
            })
            .count();
        let (head, tail) = self.rest.split_at(length);
        let zone = fixed_zone(super::zone::offset_seconds(head)?)?;
        self.rest = tail;
        Some(zone)
    }
}
