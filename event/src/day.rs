//! A UTC day: what a shard is cut by.

use std::fmt;

use crate::Timestamp;

const NANOS_PER_DAY: i64 = 86_400 * 1_000_000_000;

/// One UTC calendar day, as days since 1970-01-01. Written `2026.11.23`, as index names write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i32);

impl Day {
    /// The day that `timestamp` falls into.
    pub fn of(timestamp: Timestamp) -> Day {
        Day(timestamp.nanos().div_euclid(NANOS_PER_DAY) as i32)
    }

    /// Reads `2026.11.23`; anything else, and days that do not exist, is `None`.
    pub fn parse(text: &str) -> Option<Day> {
        let bytes = text.as_bytes();
        let is_shaped = bytes.len() == 10
            && bytes.iter().enumerate().all(|(at, byte)| match at {
                4 | 7 => *byte == b'.',
                _ => byte.is_ascii_digit(),
            });
        if !is_shaped {
            return None;
        }
        let year: i16 = text[0..4].parse().ok()?;
        let month: i8 = text[5..7].parse().ok()?;
        let day: i8 = text[8..10].parse().ok()?;
        let date = jiff::civil::Date::new(year, month, day).ok()?;
        let midnight = date.at(0, 0, 0, 0);
        let start = jiff::tz::TimeZone::UTC.to_timestamp(midnight).ok()?;
        Some(Day(start.as_second().div_euclid(86_400) as i32))
    }

    /// Midnight at its beginning, UTC; belongs to the day.
    pub fn start(self) -> Timestamp {
        Timestamp::from_nanos(i64::from(self.0).saturating_mul(NANOS_PER_DAY))
    }

    /// Midnight at its end, UTC; belongs to the next day.
    pub fn end(self) -> Timestamp {
        self.next().start()
    }

    /// The day after.
    pub fn next(self) -> Day {
        Day(self.0 + 1)
    }

    /// Days since 1970-01-01; negative before it.
    pub fn number(self) -> i32 {
        self.0
    }

    /// The day with this number of days since 1970-01-01.
    pub fn from_number(number: i32) -> Day {
        Day(number)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = jiff::Timestamp::from_second(i64::from(self.0) * 86_400)
            .expect("a day made from a nanosecond timestamp is within jiff's years");
        let date = jiff::tz::TimeZone::UTC.to_datetime(start).date();
        write!(
            f,
            "{:04}.{:02}.{:02}",
            date.year(),
            date.month(),
            date.day()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_read_as_it_is_written() {
        for text in [
            "1970.01.01",
            "2026.11.23",
            "2024.02.29",
            "1969.12.31",
            "2262.04.11",
        ] {
            assert_eq!(Day::parse(text).unwrap().to_string(), text);
        }
        for text in [
            "2026.02.30",
            "2026-11-23",
            "2026.1.1",
            "2026.11.23x",
            "",
            "20 6.11.23",
        ] {
            assert_eq!(Day::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_borders_belong_to_the_right_day() {
        let day = Day::parse("2026.11.23").unwrap();
        assert_eq!(Day::of(day.start()), day);
        assert_eq!(Day::of(day.end()), day.next());
        assert_eq!(Day::of(Timestamp::from_nanos(day.end().nanos() - 1)), day);
        assert_eq!(Day::of(Timestamp::from_nanos(-1)).to_string(), "1969.12.31");
    }
}
