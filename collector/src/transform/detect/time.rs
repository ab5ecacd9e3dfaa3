//! Times as programs write them into lines.

use event::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::super::date::read_iso;

/// The keys under which JSON and logfmt lines carry their time.
const KEYS: [&str; 6] = ["@timestamp", "timestamp", "time", "ts", "datetime", "@t"];

const MONTHS: [&[u8]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// Whether loggers keep the time under this key.
pub fn is_key(name: &str) -> bool {
    KEYS.contains(&name)
}

/// Reads ISO 8601 with date and time, or a number since 1970 in the unit its size tells: seconds, milli-, micro- or
/// nanoseconds.
pub fn read(text: &str) -> Option<Timestamp> {
    read_in(text, &TimeZone::UTC)
}

/// The same; a time that names no zone is of this one.
pub fn read_in(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    if text.as_bytes().get(4) == Some(&b'-') {
        return read_iso(text, zone);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) {
        return None;
    }
    // From 2001 to 2286 the number of digits tells the unit.
    let nanos_each: i64 = match whole.len() {
        10 => 1_000_000_000,
        13 => 1_000_000,
        16 => 1_000,
        19 => 1,
        _ => return None,
    };
    let number: i64 = whole.parse().ok()?;
    let mut nanos = number.checked_mul(nanos_each)?;
    let mut digit_nanos = nanos_each / 10;
    for digit in fraction.bytes() {
        nanos = nanos.checked_add(i64::from(digit - b'0') * digit_nanos)?;
        digit_nanos /= 10;
    }
    Some(Timestamp::from_nanos(nanos))
}

/// The number of a month of three letters, from 1.
pub fn month(name: &[u8]) -> Option<i8> {
    let at = MONTHS.iter().position(|month| *month == name)?;
    i8::try_from(at + 1).ok()
}

/// `23/Nov/2026:10:00:00 +0100`.
pub fn read_http(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() != 26
        || bytes[2] != b'/'
        || bytes[6] != b'/'
        || bytes[11] != b':'
        || bytes[20] != b' '
    {
        return None;
    }
    let date = DateTime::new(
        number(&bytes[7..11])?.try_into().ok()?,
        month(&bytes[3..6])?,
        number(&bytes[..2])?.try_into().ok()?,
        number(&bytes[12..14])?.try_into().ok()?,
        number(&bytes[15..17])?.try_into().ok()?,
        number(&bytes[18..20])?.try_into().ok()?,
        0,
    )
    .ok()?;
    let offset = i64::from(number(&bytes[22..24])? * 3600 + number(&bytes[24..26])? * 60);
    let offset = if bytes[21] == b'-' { -offset } else { offset };
    let utc = TimeZone::UTC.to_timestamp(date).ok()?.as_second();
    Some(Timestamp::from_nanos(
        (utc - offset).checked_mul(1_000_000_000)?,
    ))
}

/// `Nov 23 10:00:00` in the year that brings it nearest to `arrived`.
pub fn read_syslog(text: &str, arrived: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    if bytes.len() != 15
        || bytes[3] != b' '
        || bytes[6] != b' '
        || bytes[9] != b':'
        || bytes[12] != b':'
    {
        return None;
    }
    let day = match bytes[4] {
        b' ' => number(&bytes[5..6])?,
        _ => number(&bytes[4..6])?,
    };
    let arrived_at = jiff::Timestamp::from_nanosecond(i128::from(arrived.nanos())).ok()?;
    let year = arrived_at.to_zoned_datetime(zone.clone()).year();
    let candidates = [year - 1, year, year + 1].into_iter().filter_map(|year| {
        let date = DateTime::new(
            year,
            month(&bytes[..3])?,
            day.try_into().ok()?,
            number(&bytes[7..9])?.try_into().ok()?,
            number(&bytes[10..12])?.try_into().ok()?,
            number(&bytes[13..15])?.try_into().ok()?,
            0,
        );
        let instant = zone.to_timestamp(date.ok()?).ok()?;
        i64::try_from(instant.as_nanosecond())
            .ok()
            .map(Timestamp::from_nanos)
    });
    candidates.min_by_key(|time| time.nanos().abs_diff(arrived.nanos()))
}

fn number(digits: &[u8]) -> Option<i32> {
    let mut number = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i32::from(digit - b'0');
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_the_unit_their_size_tells() {
        for (text, expected) in [
            ("1795428000", Some("2026-11-23T10:00:00.000Z")),
            ("1795428000.25", Some("2026-11-23T10:00:00.250Z")),
            ("1795428000123", Some("2026-11-23T10:00:00.123Z")),
            ("1795428000123456", Some("2026-11-23T10:00:00.123456Z")),
            (
                "1795428000123456789",
                Some("2026-11-23T10:00:00.123456789Z"),
            ),
            (
                "2026-11-23T10:00:00+01:00",
                Some("2026-11-23T09:00:00.000Z"),
            ),
            ("12", None),
            ("-1795428000", None),
            ("soon", None),
            ("", None),
        ] {
            let read = read(text).map(Timestamp::to_rfc3339);
            assert_eq!(read.as_deref(), expected, "{text}");
        }
        assert_eq!(
            read_http("23/Nov/2026:10:00:00 -0530")
                .unwrap()
                .to_rfc3339(),
            "2026-11-23T15:30:00.000Z"
        );
        assert_eq!(read_http("23/Nov/2026:10:00:61 +0000"), None);
        assert_eq!(read_http("é3/Nov/2026:10:00:00 +000"), None);
    }

    #[test]
    fn the_old_years_last_line_may_arrive_in_the_new_year() {
        let arrived = Timestamp::parse_iso("2027-01-01T00:05:00Z").unwrap();
        for (text, expected) in [
            ("Dec 31 23:59:59", "2026-12-31T23:59:59.000Z"),
            ("Jan  1 00:00:01", "2027-01-01T00:00:01.000Z"),
        ] {
            let read = read_syslog(text, arrived, &TimeZone::UTC).unwrap();
            assert_eq!(read.to_rfc3339(), expected);
        }
        assert_eq!(
            read_syslog("Foo 31 23:59:59", arrived, &TimeZone::UTC),
            None
        );
    }
}
