//! Virtual names: what may stand behind an index's name besides a day. All of it is UTC.
//!
//! | suffix          | means                                                  |
//! |-----------------|--------------------------------------------------------|
//! | `2026`          | the shards of the year                                 |
//! | `2026.11`       | the shards of the month; see below                     |
//! | `2026.48`       | the shards of the ISO week, Monday to Sunday           |
//! | `2026.w05`      | the same, for the weeks that could be months           |
//! | `2026.11.23`    | the shard of the day                                   |
//! | `2026.11.23.10` | the hour from 10:00 of that shard                      |
//!
//! `2026.05` can be May or week 5: it is May when the index has a shard in May, else week 5. So a client with weekly
//! names, who asks in January, finds January; within an index that keeps more than some months the month wins.

use std::ops::RangeInclusive;

use event::{Day, Timestamp};
use jiff::ToSpan;
use jiff::civil::{Date, ISOWeekDate, Weekday};

use super::TimeSlice;

/// The mask of a whole day.
pub(super) const ALL_HOURS: u32 = (1 << 24) - 1;

const NANOS_PER_HOUR: i64 = 3_600 * 1_000_000_000;

/// Some days, and which hours of each; bit 0 is the hour from midnight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) days: RangeInclusive<Day>,
    pub(super) hours: u32,
}

impl Period {
    /// What a suffix can mean, the likelier meaning first.
    pub(super) fn readings(suffix: &str) -> impl Iterator<Item = Period> {
        let numbers: Vec<&str> = suffix.split('.').collect();
        let readings = match numbers.as_slice() {
            [year] => [of_year(year), None],
            [year, week] if week.starts_with('w') => [of_week(year, &week[1..]), None],
            [year, number] => [of_month(year, number), of_week(year, number)],
            [_, _, _] => [Day::parse(suffix).map(of_day), None],
            [_, _, _, hour] => [
                of_hour(&suffix[..suffix.len() - hour.len() - 1], hour),
                None,
            ],
            _ => [None, None],
        };
        readings.into_iter().flatten()
    }
}

/// The stretches of consecutive hours in a mask.
pub(super) fn slices(day: Day, hours: u32) -> Vec<TimeSlice> {
    let mut slices = Vec::new();
    let mut hour = 0;
    while hour < 24 {
        let skipped = (hours >> hour).trailing_zeros();
        let from = hour + skipped;
        if from >= 24 {
            break;
        }
        let to = from + (hours >> from).trailing_ones();
        slices.push(TimeSlice {
            start: at_hour(day, from),
            end: at_hour(day, to),
        });
        hour = to;
    }
    slices
}

fn at_hour(day: Day, hour: u32) -> Timestamp {
    let nanos = i64::from(hour) * NANOS_PER_HOUR;
    Timestamp::from_nanos(day.start().nanos().saturating_add(nanos))
}

fn of_day(day: Day) -> Period {
    Period {
        days: day..=day,
        hours: ALL_HOURS,
    }
}

fn of_hour(day: &str, hour: &str) -> Option<Period> {
    let day = Day::parse(day)?;
    let hour = number(hour, 2).filter(|hour| *hour < 24)?;
    Some(Period {
        days: day..=day,
        hours: 1 << hour,
    })
}

fn of_year(year: &str) -> Option<Period> {
    let year = number(year, 4)?;
    let first = Date::new(year, 1, 1).ok()?;
    let last = Date::new(year, 12, 31).ok()?;
    between(first, last)
}

fn of_month(year: &str, month: &str) -> Option<Period> {
    let month = i8::try_from(number(month, 2)?).ok()?;
    let first = Date::new(number(year, 4)?, month, 1).ok()?;
    between(first, first.last_of_month())
}

fn of_week(year: &str, week: &str) -> Option<Period> {
    let week = i8::try_from(number(week, 2)?).ok()?;
    let monday = ISOWeekDate::new(number(year, 4)?, week, Weekday::Monday).ok()?;
    let first = monday.date();
    between(first, first.checked_add(6.days()).ok()?)
}

fn between(first: Date, last: Date) -> Option<Period> {
    Some(Period {
        days: day_of(first)?..=day_of(last)?,
        hours: ALL_HOURS,
    })
}

fn day_of(date: Date) -> Option<Day> {
    let epoch = Date::new(1970, 1, 1).ok()?;
    let days = date.since(epoch).ok()?.get_days();
    Some(Day::from_number(days))
}

/// Exactly this many digits.
fn number(text: &str, digits: usize) -> Option<i16> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_mean_days() {
        let cases = [
            ("2026", "2026.01.01..2026.12.31"),
            ("2026.11", "2026.11.01..2026.11.30 2026.03.09..2026.03.15"),
            ("2024.02", "2024.02.01..2024.02.29 2024.01.08..2024.01.14"),
            ("2026.48", "2026.11.23..2026.11.29"),
            ("2026.01", "2026.01.01..2026.01.31 2025.12.29..2026.01.04"),
            ("2026.w01", "2025.12.29..2026.01.04"),
            ("2026.53", "2026.12.28..2027.01.03"),
            ("2025.53", ""),
            ("2026.00", ""),
            ("2026.11.23", "2026.11.23..2026.11.23"),
            ("2026.11.23.10", "2026.11.23..2026.11.23"),
            ("2026.11.23.24", ""),
            ("2026.11.31", ""),
            ("2026.1", ""),
            ("2026.é", ""),
            ("2026.w", ""),
            ("26", ""),
            ("", ""),
            ("2026.11.23.10.1", ""),
        ];
        for (suffix, expected) in cases {
            let readings: Vec<String> = Period::readings(suffix)
                .map(|period| format!("{}..{}", period.days.start(), period.days.end()))
                .collect();
            assert_eq!(readings.join(" "), expected, "{suffix}");
        }
    }

    #[test]
    fn hours_that_touch_are_one_slice() {
        let day = Day::parse("2026.11.23").unwrap();
        let text = |hours| -> Vec<String> {
            let slices = slices(day, hours);
            slices
                .iter()
                .map(|slice| format!("{} {}", slice.start, slice.end))
                .collect()
        };
        assert_eq!(text(0), Vec::<String>::new());
        assert_eq!(
            text(1 << 10 | 1 << 11 | 1 << 23),
            [
                "2026-11-23T10:00:00.000Z 2026-11-23T12:00:00.000Z",
                "2026-11-23T23:00:00.000Z 2026-11-24T00:00:00.000Z",
            ]
        );
    }
}
