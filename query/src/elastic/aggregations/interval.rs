//! Lengths of time as requests write them: `30s`, `1M`, `month`, and the Go durations of Grafana's variables.

use crate::logs::aggregate::{CalendarUnit, Interval};

const SECOND_MS: f64 = 1_000.0;
const MINUTE_MS: f64 = 60.0 * SECOND_MS;
const HOUR_MS: f64 = 60.0 * MINUTE_MS;
const DAY_MS: f64 = 24.0 * HOUR_MS;

/// Longest length that can be an interval: the time an event can have spans less.
const MILLIS_MAX: f64 = 9.2e15;

/// A calendar unit by name or as one of it: `month`, `1M`.
pub(super) fn parse_calendar(text: &str) -> Option<CalendarUnit> {
    Some(match text {
        "second" | "1s" => CalendarUnit::Second,
        "minute" | "1m" => CalendarUnit::Minute,
        "hour" | "1h" => CalendarUnit::Hour,
        "day" | "1d" => CalendarUnit::Day,
        "week" | "1w" => CalendarUnit::Week,
        "month" | "1M" => CalendarUnit::Month,
        "quarter" | "1q" => CalendarUnit::Quarter,
        "year" | "1y" => CalendarUnit::Year,
        _ => return None,
    })
}

/// A length in milliseconds: numbers with units, one after the other; a plain number is milliseconds.
///
/// `1m0s` and `1h30m` are Go durations, which dashboards put where Elasticsearch has one number and one unit.
pub(crate) fn parse_millis(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.trim().split_at_checked(1) {
        Some(("-", rest)) => (-1.0, rest),
        Some(("+", rest)) => (1.0, rest),
        _ => (1.0, text.trim()),
    };
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let is_digit = |c: char| c.is_ascii_digit() || c == '.';
        let (number, after) = rest.split_at(rest.find(|c| !is_digit(c)).unwrap_or(rest.len()));
        let unit_length = after.find(is_digit).unwrap_or(after.len());
        let (unit, following) = after.split_at(unit_length);
        let unit_ms = match unit {
            "nanos" | "ns" => 1e-6,
            "micros" | "us" | "µs" => 1e-3,
            "" | "ms" => 1.0,
            "s" => SECOND_MS,
            "m" => MINUTE_MS,
            "h" => HOUR_MS,
            "d" => DAY_MS,
            "w" => 7.0 * DAY_MS,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * unit_ms;
        rest = following;
    }
    (total < MILLIS_MAX).then_some((sign * total) as i64)
}

/// A fixed interval of at least a millisecond.
pub(super) fn parse_fixed(text: &str) -> Option<Interval> {
    let millis = parse_millis(text).filter(|millis| *millis > 0)?;
    Some(Interval::Fixed(millis))
}

/// The `interval` of old clients: a calendar unit where it is one, else fixed.
pub(super) fn parse_legacy(text: &str) -> Option<Interval> {
    match parse_calendar(text) {
        Some(unit) => Some(Interval::Calendar(unit)),
        None => parse_fixed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_as_clients_write_them() {
        let cases = [
            ("20000ms", Some(20_000)),
            ("30s", Some(30_000)),
            ("1m0s", Some(60_000)),
            ("1h30m", Some(5_400_000)),
            ("1.5s", Some(1_500)),
            ("7d", Some(604_800_000)),
            ("+6h", Some(21_600_000)),
            ("-1d", Some(-86_400_000)),
            ("500", Some(500)),
            ("1M", None),
            ("abc", None),
            ("", None),
            ("-", None),
            ("s", None),
            ("1e9d", None),
            ("99999999999999999999d", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_millis(text), expected, "{text}");
        }
        assert_eq!(parse_fixed("0s"), None);
        assert_eq!(parse_fixed("-1s"), None);
    }

    #[test]
    fn old_intervals_are_calendar_where_they_can_be() {
        assert_eq!(
            parse_legacy("1d"),
            Some(Interval::Calendar(CalendarUnit::Day))
        );
        assert_eq!(
            parse_legacy("month"),
            Some(Interval::Calendar(CalendarUnit::Month))
        );
        assert_eq!(parse_legacy("2d"), Some(Interval::Fixed(172_800_000)));
    }
}
