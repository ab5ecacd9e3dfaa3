//! Names that hold a date: `<logs-{now/d}>` is today's, `<logs-{now/M-1M{yyyy.MM}}>` last month's.
//!
//! Between braces: `now`, then any of `+1d`, `-2w`, `/M` with the units y M w d h H m s, then perhaps a format in
//! braces of its own with a time zone behind `|`. The default format is `yyyy.MM.dd`, the default zone UTC.

use std::borrow::Cow;
use std::fmt::Write;

use event::Timestamp;
use jiff::Span;
use jiff::civil::{Date, DateTime, ISOWeekDate, Weekday};
use jiff::tz::{Offset, TimeZone};

use super::invalid_expression;
use crate::elastic::error::ElasticError;

const DEFAULT_FORMAT: &str = "yyyy.MM.dd";

/// Writes out the dates in a name; a name without `<…>` around it comes back as it is.
///
/// # Errors
/// 400 with the whole expression, where it breaks the form above.
pub(super) fn expand(name: &str, now: Timestamp) -> Result<Cow<'_, str>, ElasticError> {
    let (sign, body) = match name.strip_prefix('-') {
        Some(body) => ("-", body),
        None => ("", name),
    };
    let Some(inner) = body.strip_prefix('<').and_then(|b| b.strip_suffix('>')) else {
        return Ok(Cow::Borrowed(name));
    };
    let mut written = sign.to_owned();
    let mut rest = inner;
    while let Some(at) = rest.find(['{', '\\', '}']) {
        written.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        match &rest[at..=at] {
            "\\" => {
                let mut escaped = after.chars();
                written.extend(escaped.next());
                rest = escaped.as_str();
            }
            "{" => {
                let Some(length) = closing(after) else {
                    return Err(invalid_expression(inner, "a closing brace is missing"));
                };
                written.push_str(
                    &evaluate(&after[..length], now)
                        .map_err(|problem| invalid_expression(inner, &problem))?,
                );
                rest = &after[length + 1..];
            }
            _ => return Err(invalid_expression(inner, "a brace closes that none opened")),
        }
    }
    written.push_str(rest);
    Ok(Cow::Owned(written))
}

/// Where the brace closes that was opened before `text`.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn evaluate(expression: &str, now: Timestamp) -> Result<String, String> {
    let (math, format) = match expression.split_once('{') {
        Some((math, format)) => {
            let format = format.strip_suffix('}');
            (math, format.ok_or("text follows the date format")?)
        }
        None => (expression, DEFAULT_FORMAT),
    };
    let (format, zone) = match format.split_once('|') {
        Some((format, zone)) => (format, time_zone(zone)?),
        None => (format, TimeZone::UTC),
    };
    let utc = jiff::Timestamp::from_nanosecond(i128::from(now.nanos()));
    let start = utc.map_err(|error| error.to_string())?;
    let date_time = calculate(math, zone.to_datetime(start))?;
    write_date(format, date_time)
}

fn time_zone(name: &str) -> Result<TimeZone, String> {
    let unknown = || format!("unknown time zone [{name}]");
    let Some(sign) = name.strip_prefix(['+', '-']) else {
        return TimeZone::get(name).map_err(|_| unknown());
    };
    let (hours, minutes) = sign.split_once(':').unwrap_or((sign, "0"));
    let hours: i32 = hours.parse().map_err(|_| unknown())?;
    let minutes: i32 = minutes.parse().map_err(|_| unknown())?;
    let is_offset = (0..=18).contains(&hours) && (0..60).contains(&minutes);
    let seconds = if name.starts_with('-') { -60 } else { 60 } * (hours * 60 + minutes);
    let offset = Offset::from_seconds(seconds).ok().filter(|_| is_offset);
    offset.map(TimeZone::fixed).ok_or_else(unknown)
}

fn calculate(math: &str, start: DateTime) -> Result<DateTime, String> {
    let mut rest = math.strip_prefix("now").ok_or("a date begins with now")?;
    let mut date_time = start;
    while !rest.is_empty() {
        let operator = rest.as_bytes()[0];
        if !matches!(operator, b'+' | b'-' | b'/') {
            return Err(format!("expected +, - or / before [{rest}]"));
        }
        let digits = rest[1..].bytes().take_while(u8::is_ascii_digit).count();
        let count = match digits {
            0 => 1,
            _ => rest[1..=digits].parse::<i64>().map_err(|e| e.to_string())?,
        };
        let mut units = rest[1 + digits..].chars();
        let unit = units.next().ok_or("a unit is missing at the end")?;
        let out_of_range = |_| "the date is out of range".to_owned();
        date_time = match operator {
            b'/' => floor(date_time, unit)?,
            b'+' => date_time
                .checked_add(span(count, unit)?)
                .map_err(out_of_range)?,
            _ => date_time
                .checked_sub(span(count, unit)?)
                .map_err(out_of_range)?,
        };
        rest = units.as_str();
    }
    Ok(date_time)
}

fn span(count: i64, unit: char) -> Result<Span, String> {
    let span = Span::new();
    let span = match unit {
        'y' => span.try_years(count),
        'M' => span.try_months(count),
        'w' => span.try_weeks(count),
        'd' => span.try_days(count),
        'h' | 'H' => span.try_hours(count),
        'm' => span.try_minutes(count),
        's' => span.try_seconds(count),
        _ => return Err(unknown_unit(unit)),
    };
    span.map_err(|_| format!("[{count}{unit}] is out of range"))
}

fn floor(at: DateTime, unit: char) -> Result<DateTime, String> {
    let date = at.date();
    let floored = match unit {
        'y' => date.first_of_year().at(0, 0, 0, 0),
        'M' => date.first_of_month().at(0, 0, 0, 0),
        'w' => monday_of(date)?.at(0, 0, 0, 0),
        'd' => date.at(0, 0, 0, 0),
        'h' | 'H' => date.at(at.hour(), 0, 0, 0),
        'm' => date.at(at.hour(), at.minute(), 0, 0),
        's' => date.at(at.hour(), at.minute(), at.second(), 0),
        _ => return Err(unknown_unit(unit)),
    };
    Ok(floored)
}

fn monday_of(date: Date) -> Result<Date, String> {
    let week = date.iso_week_date();
    let monday = ISOWeekDate::new(week.year(), week.week(), Weekday::Monday);
    let monday = monday.map_err(|_| "the date is out of range".to_owned());
    Ok(monday?.date())
}

fn unknown_unit(unit: char) -> String {
    format!("unknown unit [{unit}], expected y, M, w, d, h, m or s")
}

/// Writes a date by the letters index names use; `'…'` is literal text.
fn write_date(format: &str, at: DateTime) -> Result<String, String> {
    let mut written = String::with_capacity(format.len());
    let mut rest = format;
    while let Some(letter) = rest.chars().next() {
        if letter == '\'' {
            let (literal, after) = rest[1..].split_once('\'').ok_or("a quote is not closed")?;
            written.push_str(literal);
            rest = after;
            continue;
        }
        let width = rest.chars().take_while(|c| *c == letter).count();
        let number = match letter {
            'y' | 'u' => i64::from(at.year()),
            'Y' | 'x' => i64::from(at.date().iso_week_date().year()),
            'M' => i64::from(at.month()),
            'w' => i64::from(at.date().iso_week_date().week()),
            'd' => i64::from(at.day()),
            'D' => i64::from(at.date().day_of_year()),
            'H' => i64::from(at.hour()),
            'm' => i64::from(at.minute()),
            's' => i64::from(at.second()),
            c if c.is_ascii_alphabetic() => {
                return Err(format!("unknown letter [{c}] in the format"));
            }
            c => {
                written.extend(std::iter::repeat_n(c, width));
                rest = &rest[width * c.len_utf8()..];
                continue;
            }
        };
        let is_short_year = matches!(letter, 'y' | 'u' | 'Y' | 'x') && width == 2;
        let number = if is_short_year { number % 100 } else { number };
        // Wider than any number of a date means nothing, and must not grow without bound.
        let width_shown = width.min(9);
        write!(written, "{number:0width_shown$}").map_err(|e| e.to_string())?;
        rest = &rest[width..];
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_iso(text).unwrap()
    }

    #[test]
    fn dates_are_written_out() {
        let now = at("2026-11-23T22:30:15Z");
        let cases = [
            ("logs", "logs"),
            ("<logs>", "logs"),
            ("<logs-{now/d}>", "logs-2026.11.23"),
            ("<logs-{now/d-1d}>", "logs-2026.11.22"),
            ("<logs-{now-1d/d}>", "logs-2026.11.22"),
            ("-<logs-{now/d}>", "-logs-2026.11.23"),
            ("<logs-{now/M-1M{yyyy.MM}}>", "logs-2026.10"),
            ("<logs-{now/w{xxxx.ww}}>", "logs-2026.48"),
            ("<logs-{now{YYYY.MM.dd.HH}}>", "logs-2026.11.23.22"),
            ("<logs-{now/d{yyyy.MM.dd|+02:00}}>", "logs-2026.11.24"),
            ("<logs-{now/d{yyyy.MM.dd|Asia/Tokyo}}>", "logs-2026.11.24"),
            (
                "<logs-{now+1y+1M+1w+1h+1m+1s{yy'x'MMddHHmmss}}>",
                "logs-27x1230233116",
            ),
            ("<a\\{b\\}-{now/d}-*>", "a{b}-2026.11.23-*"),
            ("<{now/y{yyyy}}-{now/M{MM}}>", "2026-11"),
        ];
        for (name, expected) in cases {
            assert_eq!(expand(name, now).unwrap(), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused_with_its_reason() {
        let now = at("2026-11-23T22:30:15Z");
        let cases = [
            ("<logs-{now/d>", "brace"),
            ("<logs-now}>", "brace"),
            ("<logs-{today}>", "begins with now"),
            ("<logs-{now/q}>", "unknown unit [q]"),
            ("<logs-{now+}>", "unit is missing"),
            ("<logs-{now*2d}>", "expected +, - or /"),
            ("<logs-{now+99999999999999999999d}>", ""),
            ("<logs-{now+9999999y}>", "out of range"),
            ("<logs-{now/d{yyyy|Mars/Olympus}}>", "unknown time zone"),
            ("<logs-{now/d{nnn}}>", "unknown letter [n]"),
            ("<logs-{now/d{yyyy}x}>", "follows"),
        ];
        for (name, expected) in cases {
            let error = expand(name, now).unwrap_err();
            assert_eq!(error.status(), 400);
            assert!(error.reason().contains(expected), "{name}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_written_out_or_refused(text in "<?[-{}<>\\\\a-zA-Z0-9+/.'|é]{0,40}>?", nanos in any::<i64>()) {
            let _ = expand(&text, Timestamp::from_nanos(nanos));
        }

        #[test]
        fn any_date_is_written_or_refused(math in "[-+/0-9yMwdhHms]{0,20}", nanos in any::<i64>()) {
            let _ = expand(&format!("<a-{{now{math}}}>"), Timestamp::from_nanos(nanos));
        }
    }
}
