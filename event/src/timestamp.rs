//! Points in time: UTC, nanoseconds since 1970, from 1677 to 2262.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

/// Nanoseconds since 1970-01-01T00:00:00Z, from 1677 to 2262.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// A text or number that is not a time we can keep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a time: {0:?} (expected RFC 3339, for instance 2026-11-23T10:00:00.123Z, or milliseconds since 1970)"
)]
pub struct TimestampError(pub String);

impl Timestamp {
    /// The earliest time we can keep.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// The latest time we can keep.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// From nanoseconds since 1970, UTC.
    pub const fn from_nanos(nanos: i64) -> Timestamp {
        Timestamp(nanos)
    }

    /// From milliseconds since 1970, UTC; `None` outside 1677 to 2262.
    pub fn from_millis(millis: i64) -> Option<Timestamp> {
        millis.checked_mul(1_000_000).map(Timestamp)
    }

    /// From the system's clock.
    pub fn now() -> Timestamp {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
    }

    /// Nanoseconds since 1970, UTC.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since 1970, UTC, rounded down.
    pub fn millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This much later, at most [`Timestamp::MAX`].
    pub fn plus(self, duration: Duration) -> Timestamp {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_add(nanos))
    }

    /// This much earlier, at least [`Timestamp::MIN`].
    pub fn minus(self, duration: Duration) -> Timestamp {
        let nanos = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Timestamp(self.0.saturating_sub(nanos))
    }

    /// Reads ISO 8601 as Elasticsearch's `strict_date_optional_time` does: `2026`, `2026-11`, `2026-11-23`,
    /// `2026-11-23T10`, `…10:00`, `…10:00:00`, `…10:00:00.123456789`, then nothing (UTC), `Z`, `+01:00`, `+0100`
    /// or `+01`. A blank instead of `T` and a comma before the fraction are taken too.
    ///
    /// # Errors
    /// The text is none of these, or outside 1677 to 2262.
    pub fn parse_iso(text: &str) -> Result<Timestamp, TimestampError> {
        parse_iso(text).ok_or_else(|| TimestampError(text.chars().take(64).collect()))
    }

    /// Reads the `@timestamp` of a document: a string as [`Timestamp::parse_iso`], or digits, which are
    /// milliseconds since 1970 and may carry a fraction.
    ///
    /// # Errors
    /// As [`Timestamp::parse_iso`].
    pub fn parse_lenient(text: &str) -> Result<Timestamp, TimestampError> {
        let is_year = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
        let starts_as_number = text.starts_with(|c: char| c.is_ascii_digit() || c == '-');
        match text.parse::<f64>() {
            Ok(millis) if starts_as_number && !is_year => parse_millis(text, millis)
                .ok_or_else(|| TimestampError(text.chars().take(64).collect())),
            _ => Timestamp::parse_iso(text),
        }
    }

    /// Writes RFC 3339 in UTC with three digits of fraction, or as many as the nanoseconds need:
    /// `2026-11-23T10:00:00.120Z`, `2026-11-23T10:00:00.123456789Z`.
    pub fn to_rfc3339(self) -> String {
        let (date_time, nanos) = self.civil();
        match nanos {
            n if n % 1_000_000 == 0 => written(date_time, n / 1_000_000, 3),
            n if n % 1_000 == 0 => written(date_time, n / 1_000, 6),
            n => written(date_time, n, 9),
        }
    }

    /// Writes RFC 3339 in UTC with exactly three digits of fraction, cutting the rest.
    pub fn to_rfc3339_millis(self) -> String {
        let (date_time, nanos) = self.civil();
        written(date_time, nanos / 1_000_000, 3)
    }

    fn civil(self) -> (DateTime, i32) {
        let timestamp = jiff::Timestamp::from_nanosecond(i128::from(self.0))
            .expect("every i64 of nanoseconds is within jiff's years");
        let date_time = TimeZone::UTC.to_datetime(timestamp);
        (date_time, date_time.subsec_nanosecond())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339())
    }
}

/// By hand: every event whose line has a time of its own gets one.
fn written(date_time: DateTime, fraction: i32, digits: u32) -> String {
    let mut out = String::with_capacity(30);
    for (number, digits, behind) in [
        (i32::from(date_time.year()), 4, '-'),
        (i32::from(date_time.month()), 2, '-'),
        (i32::from(date_time.day()), 2, 'T'),
        (i32::from(date_time.hour()), 2, ':'),
        (i32::from(date_time.minute()), 2, ':'),
        (i32::from(date_time.second()), 2, '.'),
        (fraction, digits, 'Z'),
    ] {
        for place in (0..digits).rev() {
            let digit = number.unsigned_abs() / 10u32.pow(place) % 10;
            out.push(char::from(b'0' + digit as u8));
        }
        out.push(behind);
    }
    out
}

/// Milliseconds since 1970: exactly where the text is plain digits, else as the double says.
fn parse_millis(text: &str, millis: f64) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_plain = fraction.bytes().all(|byte| byte.is_ascii_digit());
    if let (Ok(whole_millis), true) = (whole.parse::<i64>(), is_plain) {
        let nanos = (0..6).fold(0, |nanos, at| {
            let digit = fraction.as_bytes().get(at).map_or(0, |byte| byte - b'0');
            nanos * 10 + i64::from(digit)
        });
        let signed_nanos = if whole.starts_with('-') {
            -nanos
        } else {
            nanos
        };
        let timestamp = Timestamp::from_millis(whole_millis)?;
        return timestamp.0.checked_add(signed_nanos).map(Timestamp);
    }
    let nanos = millis * 1e6;
    (nanos.abs() < 9.2e18).then_some(Timestamp(nanos as i64))
}

/// A reader over the bytes of an ISO 8601 text; every step answers `None` when the text does not fit.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn digits(&mut self, count: usize) -> Option<i64> {
        let (head, tail) = self.0.split_at_checked(count)?;
        let mut value = 0i64;
        for byte in head {
            if !byte.is_ascii_digit() {
                return None;
            }
            value = value * 10 + i64::from(byte - b'0');
        }
        self.0 = tail;
        Some(value)
    }

    fn take(&mut self, wanted: &[u8]) -> bool {
        match self.0.first() {
            Some(byte) if wanted.contains(byte) => {
                self.0 = &self.0[1..];
                true
            }
            _ => false,
        }
    }

    fn fraction_nanos(&mut self) -> Option<i32> {
        let digit_count = self.0.iter().take_while(|b| b.is_ascii_digit()).count();
        if digit_count == 0 {
            return None;
        }
        let mut nanos = 0i32;
        for at in 0..9 {
            let digit = if at < digit_count {
                i32::from(self.0[at] - b'0')
            } else {
                0
            };
            nanos = nanos * 10 + digit;
        }
        self.0 = &self.0[digit_count..];
        Some(nanos)
    }

    /// The offset from UTC in seconds; nothing left to read means UTC.
    fn offset_seconds(&mut self) -> Option<i64> {
        if self.0.is_empty() || self.take(b"Zz") {
            return Some(0);
        }
        let sign = if self.take(b"+") {
            1
        } else if self.take(b"-") {
            -1
        } else {
            return None;
        };
        let hours = self.digits(2)?;
        let minutes = if self.0.is_empty() {
            0
        } else {
            self.take(b":");
            self.digits(2)?
        };
        (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3600 + minutes * 60))
    }
}

fn parse_iso(text: &str) -> Option<Timestamp> {
    let mut cursor = Cursor(text.trim().as_bytes());
    let year = cursor.digits(4)?;
    let (mut month, mut day) = (1, 1);
    let (mut hour, mut minute, mut second, mut nanos) = (0, 0, 0, 0);
    if cursor.take(b"-") {
        month = cursor.digits(2)?;
        if cursor.take(b"-") {
            day = cursor.digits(2)?;
        }
    }
    if cursor.take(b"Tt ") {
        hour = cursor.digits(2)?;
        if cursor.take(b":") {
            minute = cursor.digits(2)?;
            if cursor.take(b":") {
                second = cursor.digits(2)?;
                if cursor.take(b".,") {
                    nanos = cursor.fraction_nanos()?;
                }
            }
        }
        let is_zone_after_blank = cursor.0.len() > 1 && cursor.0[0] == b' ';
        if is_zone_after_blank {
            cursor.take(b" ");
        }
    }
    let offset_seconds = cursor.offset_seconds()?;
    if !cursor.0.is_empty() {
        return None;
    }
    // A leap second is the last nanosecond of its minute: no clock of ours has a 60th second.
    if second == 60 {
        (second, nanos) = (59, 999_999_999);
    }
    let date = Date::new(year as i16, month as i8, day as i8).ok()?;
    let time = Time::new(hour as i8, minute as i8, second as i8, nanos).ok()?;
    let utc = TimeZone::UTC
        .to_timestamp(DateTime::from_parts(date, time))
        .ok()?;
    let nanos = utc.as_nanosecond() - i128::from(offset_seconds) * 1_000_000_000;
    i64::try_from(nanos).ok().map(Timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_shippers_write() {
        let cases = [
            ("2026-11-23T10:00:00.123Z", "2026-11-23T10:00:00.123Z"),
            (
                "2026-11-23T10:00:00.123456789Z",
                "2026-11-23T10:00:00.123456789Z",
            ),
            ("2026-11-23T11:00:00+01:00", "2026-11-23T10:00:00.000Z"),
            ("2026-11-23T11:00:00,5+0100", "2026-11-23T10:00:00.500Z"),
            ("2026-11-23 10:00:00", "2026-11-23T10:00:00.000Z"),
            ("2026-11-23T05-05", "2026-11-23T10:00:00.000Z"),
            ("2026-11-23", "2026-11-23T00:00:00.000Z"),
            ("2026-11", "2026-11-01T00:00:00.000Z"),
            ("2026", "2026-01-01T00:00:00.000Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999999Z"),
            ("1795428000123", "2026-11-23T10:00:00.123Z"),
            ("1795428000123.5", "2026-11-23T10:00:00.123500Z"),
            ("-1", "1969-12-31T23:59:59.999Z"),
            ("0", "1970-01-01T00:00:00.000Z"),
        ];
        for (text, expected) in cases {
            assert_eq!(
                Timestamp::parse_lenient(text).unwrap().to_rfc3339(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "abc",
            "2026-13-01",
            "2026-11-31",
            "2026-11-23T25",
            "2026-11-23T10:00:00.Z",
            "9999-01-01",
            "99999999999999999999",
            "2026-11-23T10:00:00Zx",
        ] {
            assert!(Timestamp::parse_lenient(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(nanos in any::<i64>()) {
            let timestamp = Timestamp::from_nanos(nanos);
            prop_assert_eq!(Timestamp::parse_iso(&timestamp.to_rfc3339()).unwrap(), timestamp);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = Timestamp::parse_lenient(&text);
        }
    }
}
