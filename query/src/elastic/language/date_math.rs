//! Date math: `now-1h/d`, `2026-11-23||+1M/d`.
//!
//! Additions and roundings happen on the wall clock of the zone, as Elasticsearch does: a calendar day may have 23
//! or 25 hours. `now` itself is the same moment in every zone.

use event::Timestamp;
use jiff::Span;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;

use super::date_format::{DateFormat, Fill};

/// The most operations behind one date; nobody writes more than three.
const OPERATIONS_MAX: usize = 64;

/// What a date text depends on beside itself.
#[derive(Debug, Clone)]
pub struct DateContext<'a> {
    /// How literals are written.
    pub format: &'a DateFormat,
    /// Holds for literals that name none, and for rounding.
    pub zone: &'a TimeZone,
    /// What `now` means.
    pub now: Timestamp,
}

/// A text that is no date.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse date field [{text}] with format [{format}]{problem}")]
pub struct DateError {
    /// The text as it was given.
    pub text: String,
    /// The format it was tried with.
    pub format: String,
    /// More about it, beginning with a colon; may be empty.
    pub problem: String,
}

impl DateContext<'_> {
    /// The moment that `text` means; what it leaves out or rounds away goes to the end that `fill` says.
    ///
    /// # Errors
    /// The literal does not fit the format, an operation has no such unit, or the time is outside 1677 to 2262.
    pub fn read(&self, text: &str, fill: Fill) -> Result<Timestamp, DateError> {
        let (base, operations) = if let Some(operations) = text.strip_prefix("now") {
            (self.now, operations)
        } else if let Some((literal, operations)) = text.split_once("||") {
            // Operations act on the first moment; only a rounding among them goes to the end.
            let literal_fill = if operations.is_empty() {
                fill
            } else {
                Fill::Earliest
            };
            (self.literal(text, literal, literal_fill)?, operations)
        } else {
            return self.literal(text, text, fill);
        };
        self.apply(base, operations, fill)
            .map_err(|problem| self.refuse(text, format!(": {problem}")))
    }

    fn literal(&self, text: &str, literal: &str, fill: Fill) -> Result<Timestamp, DateError> {
        self.format
            .read(literal, self.zone, fill)
            .ok_or_else(|| self.refuse(text, String::new()))
    }

    fn refuse(&self, text: &str, problem: String) -> DateError {
        DateError {
            text: text.chars().take(256).collect(),
            format: self.format.name().to_owned(),
            problem,
        }
    }

    fn apply(&self, base: Timestamp, operations: &str, fill: Fill) -> Result<Timestamp, String> {
        let mut moment = base;
        let mut rest = operations;
        for _ in 0..OPERATIONS_MAX {
            if rest.is_empty() {
                return Ok(moment);
            }
            let (operation, tail) = Operation::parse(rest)?;
            moment = operation
                .apply(moment, self.zone, fill)
                .ok_or_else(|| format!("[{operations}] leads out of the years 1677 to 2262"))?;
            rest = tail;
        }
        Err(format!("more than {OPERATIONS_MAX} operations"))
    }
}

#[derive(Debug, Clone, Copy)]
enum Operation {
    Add(i64, Unit),
    Round(Unit),
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    Year,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
}

impl Operation {
    fn parse(text: &str) -> Result<(Operation, &str), String> {
        let mut chars = text.chars();
        let operator = chars.next().unwrap_or_default();
        let after = chars.as_str();
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = after.split_at(digits);
        let number: Option<i64> = match number {
            "" => None,
            digits => Some(
                digits
                    .parse()
                    .map_err(|_| format!("number [{digits}] is too large"))?,
            ),
        };
        let mut chars = after.chars();
        let unit = match chars.next() {
            Some('y') => Unit::Year,
            Some('M') => Unit::Month,
            Some('w') => Unit::Week,
            Some('d') => Unit::Day,
            Some('h' | 'H') => Unit::Hour,
            Some('m') => Unit::Minute,
            Some('s') => Unit::Second,
            Some(other) => {
                return Err(format!(
                    "unit [{other}] not supported for date math [{text}]"
                ));
            }
            None => return Err(format!("truncated date math [{text}]")),
        };
        let operation = match (operator, number) {
            ('+', number) => Operation::Add(number.unwrap_or(1), unit),
            ('-', number) => Operation::Add(-number.unwrap_or(1), unit),
            ('/', None | Some(1)) => Operation::Round(unit),
            ('/', Some(_)) => {
                return Err(format!(
                    "rounding `/` can only be used on single unit types [{text}]"
                ));
            }
            _ => return Err(format!("operator not supported for date math [{text}]")),
        };
        Ok((operation, chars.as_str()))
    }

    fn apply(self, moment: Timestamp, zone: &TimeZone, fill: Fill) -> Option<Timestamp> {
        let civil = super::date_format::wall_clock(moment, zone);
        match self {
            Operation::Add(count, unit) => match unit.exact_seconds() {
                // Hours and less are lengths of time, whatever the clocks on the wall do.
                Some(seconds) => {
                    let nanos = seconds.checked_mul(count)?.checked_mul(1_000_000_000)?;
                    moment.nanos().checked_add(nanos).map(Timestamp::from_nanos)
                }
                None => to_moment(civil.checked_add(unit.span(count)?).ok()?, zone),
            },
            Operation::Round(unit) => {
                let start = unit.start_of(civil)?;
                if fill == Fill::Earliest {
                    return to_moment(start, zone);
                }
                let end = to_moment(start.checked_add(unit.span(1)?).ok()?, zone)?;
                end.nanos().checked_sub(1).map(Timestamp::from_nanos)
            }
        }
    }
}

impl Unit {
    fn exact_seconds(self) -> Option<i64> {
        match self {
            Unit::Hour => Some(3600),
            Unit::Minute => Some(60),
            Unit::Second => Some(1),
            Unit::Year | Unit::Month | Unit::Week | Unit::Day => None,
        }
    }

    fn span(self, count: i64) -> Option<Span> {
        let span = Span::new();
        match self {
            Unit::Year => span.try_years(count),
            Unit::Month => span.try_months(count),
            Unit::Week => span.try_weeks(count),
            Unit::Day => span.try_days(count),
            Unit::Hour => span.try_hours(count),
            Unit::Minute => span.try_minutes(count),
            Unit::Second => span.try_seconds(count),
        }
        .ok()
    }

    fn start_of(self, civil: DateTime) -> Option<DateTime> {
        let date = civil.date();
        let at = |hour: i8, minute: i8, second: i8| Time::new(hour, minute, second, 0).ok();
        let start = match self {
            Unit::Year => date.first_of_year().to_datetime(Time::midnight()),
            Unit::Month => date.first_of_month().to_datetime(Time::midnight()),
            Unit::Week => {
                let days = i64::from(date.weekday().to_monday_zero_offset());
                let monday = date.checked_sub(Span::new().try_days(days).ok()?).ok()?;
                monday.to_datetime(Time::midnight())
            }
            Unit::Day => date.to_datetime(Time::midnight()),
            Unit::Hour => date.to_datetime(at(civil.hour(), 0, 0)?),
            Unit::Minute => date.to_datetime(at(civil.hour(), civil.minute(), 0)?),
            Unit::Second => date.to_datetime(at(civil.hour(), civil.minute(), civil.second())?),
        };
        Some(start)
    }
}

fn to_moment(civil: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let moment = zone.to_timestamp(civil).ok()?;
    i64::try_from(moment.as_nanosecond())
        .ok()
        .map(Timestamp::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::super::date_format::parse_time_zone;
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str, zone: &str, fill: Fill) -> Result<String, DateError> {
        let format = DateFormat::default_format();
        let zone = parse_time_zone(zone).unwrap();
        let context = DateContext {
            format: &format,
            zone: &zone,
            // A Monday.
            now: Timestamp::parse_iso("2026-11-23T10:20:30.456Z").unwrap(),
        };
        context
            .read(text, fill)
            .map(|timestamp| timestamp.to_rfc3339())
    }

    #[test]
    fn dates_move_and_round_to_either_end() {
        let cases = [
            (
                "now",
                "2026-11-23T10:20:30.456Z",
                "2026-11-23T10:20:30.456Z",
            ),
            (
                "now-1h",
                "2026-11-23T09:20:30.456Z",
                "2026-11-23T09:20:30.456Z",
            ),
            (
                "now-1h/d",
                "2026-11-23T00:00:00.000Z",
                "2026-11-23T23:59:59.999999999Z",
            ),
            (
                "now/w",
                "2026-11-23T00:00:00.000Z",
                "2026-11-29T23:59:59.999999999Z",
            ),
            (
                "now-1d/w",
                "2026-11-16T00:00:00.000Z",
                "2026-11-22T23:59:59.999999999Z",
            ),
            (
                "now/M",
                "2026-11-01T00:00:00.000Z",
                "2026-11-30T23:59:59.999999999Z",
            ),
            (
                "now/y",
                "2026-01-01T00:00:00.000Z",
                "2026-12-31T23:59:59.999999999Z",
            ),
            (
                "now/h",
                "2026-11-23T10:00:00.000Z",
                "2026-11-23T10:59:59.999999999Z",
            ),
            (
                "now+1M-1d",
                "2026-12-22T10:20:30.456Z",
                "2026-12-22T10:20:30.456Z",
            ),
            (
                "2026-01-31||+1M/d",
                "2026-02-28T00:00:00.000Z",
                "2026-02-28T23:59:59.999999999Z",
            ),
            (
                "2026-11-23||",
                "2026-11-23T00:00:00.000Z",
                "2026-11-23T23:59:59.999999999Z",
            ),
            (
                "2026-11-23||+1H",
                "2026-11-23T01:00:00.000Z",
                "2026-11-23T01:00:00.000Z",
            ),
            (
                "2026-11-23T10:00:00.000Z",
                "2026-11-23T10:00:00.000Z",
                "2026-11-23T10:00:00.000999999Z",
            ),
        ];
        for (text, earliest, latest) in cases {
            assert_eq!(
                read(text, "UTC", Fill::Earliest).unwrap(),
                earliest,
                "{text}"
            );
            assert_eq!(read(text, "UTC", Fill::Latest).unwrap(), latest, "{text}");
        }
    }

    #[test]
    fn the_zone_moves_roundings_and_not_now() {
        assert_eq!(
            read("now", "Asia/Tokyo", Fill::Earliest).unwrap(),
            "2026-11-23T10:20:30.456Z"
        );
        assert_eq!(
            read("now/d", "Asia/Tokyo", Fill::Earliest).unwrap(),
            "2026-11-22T15:00:00.000Z"
        );
        // 2026-10-25 has 25 hours in Berlin.
        assert_eq!(
            read("2026-10-25||/d", "Europe/Berlin", Fill::Earliest).unwrap(),
            "2026-10-24T22:00:00.000Z"
        );
        assert_eq!(
            read("2026-10-25||/d", "Europe/Berlin", Fill::Latest).unwrap(),
            "2026-10-25T22:59:59.999999999Z"
        );
    }

    #[test]
    fn what_is_no_date_is_refused_with_the_text_and_the_format() {
        for text in [
            "",
            "abc",
            "now+",
            "now+1",
            "now+1x",
            "now/2d",
            "now*1d",
            "2026||+99999999999y",
            "nowhere",
            "now+99999999999999999999d",
        ] {
            assert!(read(text, "UTC", Fill::Earliest).is_err(), "{text}");
        }
        assert_eq!(
            read("abc", "UTC", Fill::Earliest).unwrap_err().to_string(),
            "failed to parse date field [abc] with format [strict_date_optional_time||epoch_millis]"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(now|2026-11-23\\|\\||\\PC{0,4})[-+/0-9yMwdhHmsé]{0,12}") {
            let _ = read(&text, "Europe/Berlin", Fill::Latest);
        }
    }
}
