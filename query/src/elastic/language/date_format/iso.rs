//! `strict_date_optional_time`: ISO 8601 whose later parts may be missing.

use event::Timestamp;
use jiff::tz::TimeZone;

use super::parts::Cursor;
use super::{Parts, pattern};

/// Reads `2026`, `2026-11`, `2026-11-23`, `2026-11-23T10`, … down to nine digits of fraction, then an offset or nothing.
/// A blank instead of `T` and a comma before the fraction are taken too: people write them.
pub(super) fn read(text: &str) -> Option<Parts> {
    let mut cursor = Cursor { rest: text };
    let mut parts = Parts {
        year: Some(cursor.digits(4, 4)?),
        ..Parts::default()
    };
    if !cursor.take("-") {
        return finished(cursor, parts);
    }
    parts.month = Some(cursor.digits(2, 2)?);
    if !cursor.take("-") {
        return finished(cursor, parts);
    }
    parts.day = Some(cursor.digits(2, 2)?);
    if !cursor.take("T") && !cursor.take("t") && !cursor.take(" ") {
        return finished(cursor, parts);
    }
    // `2026-11-23T` alone is a date.
    if cursor.rest.is_empty() {
        return Some(parts);
    }
    parts.hour = Some(cursor.digits(2, 2)?);
    if cursor.take(":") {
        parts.minute = Some(cursor.digits(2, 2)?);
        if cursor.take(":") {
            parts.second = Some(cursor.digits(2, 2)?);
            if cursor.take(".") || cursor.take(",") {
                parts.fraction = Some(cursor.fraction()?);
            }
        }
    }
    if !cursor.rest.is_empty() {
        parts.zone = Some(cursor.offset()?);
    }
    finished(cursor, parts)
}

fn finished(cursor: Cursor<'_>, parts: Parts) -> Option<Parts> {
    cursor.rest.is_empty().then_some(parts)
}

/// Writes `2026-11-23T11:00:00.123+01:00`, with `Z` for UTC; up to nine digits when `nanos` and when needed.
pub(super) fn write(timestamp: Timestamp, zone: &TimeZone, nanos: bool) -> String {
    let (civil, offset_seconds) = pattern::civil(timestamp, zone);
    let subsecond_nanos = civil.subsec_nanosecond();
    let fraction = match subsecond_nanos {
        n if !nanos || n % 1_000_000 == 0 => format!("{:03}", n / 1_000_000),
        n if n % 1_000 == 0 => format!("{:06}", n / 1_000),
        n => format!("{n:09}"),
    };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{fraction}{}",
        civil.year(),
        civil.month(),
        civil.day(),
        civil.hour(),
        civil.minute(),
        civil.second(),
        pattern::offset_text(offset_seconds, true, true),
    )
}
