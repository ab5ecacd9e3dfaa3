//! Date formats as Elasticsearch names them: `epoch_millis`, `strict_date_optional_time`, Java patterns, `a||b`.
//!
//! Reading fills what a text leaves out with its earliest or latest value ([`Fill`]), so that `2026-11` can be both
//! ends of a range. We keep nanoseconds; Elasticsearch's `date` keeps milliseconds. Therefore the latest moment of
//! `10:00:00.123` is its last nanosecond.

mod iso;
mod named;
mod parts;
mod pattern;
mod zone;

use event::Timestamp;
use jiff::tz::TimeZone;

use parts::Parts;
use pattern::Pattern;
pub(super) use pattern::civil_in as wall_clock;
pub use zone::parse_time_zone;

/// The most alternatives (`a||b||c`) one format may have; nobody writes more than a handful.
const ALTERNATIVES_MAX: usize = 32;

/// How a date is read and written: alternatives, tried in order; the first one writes.
#[derive(Debug, Clone, PartialEq)]
pub struct DateFormat {
    name: String,
    alternatives: Vec<Alternative>,
}

/// What to put where a text is silent: `2026-11` is its first or its last nanosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// The earliest moment the text can mean.
    Earliest,
    /// The latest moment the text can mean, to the nanosecond.
    Latest,
}

/// The format cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid format: [{format}]: {problem}")]
pub struct DateFormatError {
    /// The format as it was given.
    pub format: String,
    /// What is wrong with it.
    pub problem: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Alternative {
    EpochMillis,
    EpochSecond,
    /// ISO 8601 with optional parts; `nanos`: writes up to nine digits of fraction instead of three.
    OptionalTime {
        nanos: bool,
    },
    Pattern(Pattern),
}

impl DateFormat {
    /// Reads a format: a name of Elasticsearch's, a Java pattern, or several of them between `||`.
    ///
    /// # Errors
    /// A pattern has a letter we do not know, or a quote or bracket that does not close.
    pub fn parse(format: &str) -> Result<DateFormat, DateFormatError> {
        let refuse = |problem: String| DateFormatError {
            format: format.chars().take(256).collect(),
            problem,
        };
        // `8` in front marks java.time patterns in indices made by version 6; it means nothing any more.
        let without_mark = match format.strip_prefix('8') {
            Some(rest) if !rest.is_empty() => rest,
            _ => format,
        };
        let mut alternatives = Vec::new();
        for one in without_mark.split("||") {
            if one.is_empty() {
                return Err(refuse("empty alternative".to_owned()));
            }
            if alternatives.len() == ALTERNATIVES_MAX {
                return Err(refuse(format!("more than {ALTERNATIVES_MAX} alternatives")));
            }
            alternatives.push(named::alternative(one).map_err(refuse)?);
        }
        Ok(DateFormat {
            name: format.to_owned(),
            alternatives,
        })
    }

    /// What dates are read with where nothing else is said: `strict_date_optional_time||epoch_millis`.
    ///
    /// Reads also what we take on input beyond that: nine digits of fraction, a blank instead of `T`.
    pub fn default_format() -> DateFormat {
        DateFormat {
            name: "strict_date_optional_time||epoch_millis".to_owned(),
            alternatives: vec![
                Alternative::OptionalTime { nanos: false },
                Alternative::EpochMillis,
            ],
        }
    }

    /// The format as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether dates are written as numbers (`epoch_millis`, `epoch_second`).
    pub fn writes_number(&self) -> bool {
        matches!(
            self.alternatives.first(),
            Some(Alternative::EpochMillis | Alternative::EpochSecond)
        )
    }

    /// Reads `text` with the first alternative that fits. `zone` holds for texts that name none.
    ///
    /// `None`: no alternative fits, or the time is outside 1677 to 2262.
    pub fn read(&self, text: &str, zone: &TimeZone, fill: Fill) -> Option<Timestamp> {
        self.alternatives
            .iter()
            .find_map(|alternative| alternative.read(text, zone, fill))
    }
}

impl Alternative {
    fn read(&self, text: &str, zone: &TimeZone, fill: Fill) -> Option<Timestamp> {
        match self {
            Alternative::EpochMillis => parts::read_epoch(text, 1_000_000, fill),
            Alternative::EpochSecond => parts::read_epoch(text, 1_000_000_000, fill),
            Alternative::OptionalTime { .. } => iso::read(text)?.resolve(zone, fill),
            Alternative::Pattern(pattern) => pattern.read(text)?.resolve(zone, fill),
        }
    }
}

/// Milliseconds since 1970.
pub(super) fn epoch_millis() -> DateFormat {
    DateFormat {
        name: "epoch_millis".to_owned(),
        alternatives: vec![Alternative::EpochMillis],
    }
}

/// Writes a time with the first alternative of `format`, as seen in `zone`.
pub fn format_timestamp(timestamp: Timestamp, format: &DateFormat, zone: &TimeZone) -> String {
    match format.alternatives.first() {
        Some(Alternative::EpochMillis) => timestamp.millis().to_string(),
        Some(Alternative::EpochSecond) => parts::write_epoch_seconds(timestamp),
        Some(Alternative::Pattern(pattern)) => pattern.write(timestamp, zone),
        Some(Alternative::OptionalTime { nanos: true }) => iso::write(timestamp, zone, true),
        Some(Alternative::OptionalTime { nanos: false }) | None => {
            iso::write(timestamp, zone, false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(format: &str, text: &str, zone: &str, fill: Fill) -> Option<String> {
        let format = DateFormat::parse(format).unwrap();
        let zone = parse_time_zone(zone).unwrap();
        format
            .read(text, &zone, fill)
            .map(|timestamp| timestamp.to_rfc3339())
    }

    #[test]
    fn what_is_left_out_is_filled_at_either_end() {
        let iso = "strict_date_optional_time||epoch_millis";
        let cases = [
            (
                "2026",
                "2026-01-01T00:00:00.000Z",
                "2026-12-31T23:59:59.999999999Z",
            ),
            (
                "2028-02",
                "2028-02-01T00:00:00.000Z",
                "2028-02-29T23:59:59.999999999Z",
            ),
            (
                "2026-11-23",
                "2026-11-23T00:00:00.000Z",
                "2026-11-23T23:59:59.999999999Z",
            ),
            (
                "2026-11-23T10",
                "2026-11-23T10:00:00.000Z",
                "2026-11-23T10:59:59.999999999Z",
            ),
            (
                "2026-11-23T10:05Z",
                "2026-11-23T10:05:00.000Z",
                "2026-11-23T10:05:59.999999999Z",
            ),
            (
                "2026-11-23T10:05:06+01:00",
                "2026-11-23T09:05:06.000Z",
                "2026-11-23T09:05:06.999999999Z",
            ),
            (
                "2026-11-23T10:05:06.123+0100",
                "2026-11-23T09:05:06.123Z",
                "2026-11-23T09:05:06.123999999Z",
            ),
            (
                "2026-11-23T10:05:06.123456789Z",
                "2026-11-23T10:05:06.123456789Z",
                "2026-11-23T10:05:06.123456789Z",
            ),
            (
                "1795428000123",
                "2026-11-23T10:00:00.123Z",
                "2026-11-23T10:00:00.123999999Z",
            ),
            (
                "-1",
                "1969-12-31T23:59:59.999Z",
                "1969-12-31T23:59:59.999999999Z",
            ),
        ];
        for (text, earliest, latest) in cases {
            assert_eq!(
                read(iso, text, "UTC", Fill::Earliest).as_deref(),
                Some(earliest),
                "{text}"
            );
            assert_eq!(
                read(iso, text, "UTC", Fill::Latest).as_deref(),
                Some(latest),
                "{text}"
            );
        }
        for text in [
            "",
            "abc",
            "2026-13",
            "2026-11-31",
            "2026-11-23T24:01",
            "2026-11-23T10:05:06.",
            "26-11-23",
        ] {
            assert_eq!(read(iso, text, "UTC", Fill::Earliest), None, "{text}");
        }
    }

    #[test]
    fn the_zone_holds_for_texts_without_one() {
        let iso = "strict_date_optional_time";
        let cases = [
            ("2026-07-01", "Europe/Berlin", "2026-06-30T22:00:00.000Z"),
            ("2026-11-23", "+05:30", "2026-11-22T18:30:00.000Z"),
            (
                "2026-11-23T00:00Z",
                "Europe/Berlin",
                "2026-11-23T00:00:00.000Z",
            ),
            // The hour that daylight saving skips: the time after the gap.
            (
                "2026-03-29T02:30",
                "Europe/Berlin",
                "2026-03-29T01:30:00.000Z",
            ),
        ];
        for (text, zone, expected) in cases {
            assert_eq!(
                read(iso, text, zone, Fill::Earliest).as_deref(),
                Some(expected),
                "{text} {zone}"
            );
        }
    }

    #[test]
    fn java_patterns_read_and_write() {
        let cases = [
            (
                "yyyy-MM-dd HH:mm:ss",
                "2026-11-23 10:00:00",
                "2026-11-23T10:00:00.000Z",
            ),
            ("yyyy/MM/dd", "2026/11/23", "2026-11-23T00:00:00.000Z"),
            ("yyyyMMdd", "20261123", "2026-11-23T00:00:00.000Z"),
            ("basic_date", "20261123", "2026-11-23T00:00:00.000Z"),
            (
                "uuuu-MM-dd'T'HH:mm:ss.SSSXXX",
                "2026-11-23T11:00:00.250+01:00",
                "2026-11-23T10:00:00.250Z",
            ),
            (
                "date_time",
                "2026-11-23T10:00:00.123Z",
                "2026-11-23T10:00:00.123Z",
            ),
            (
                "dd/MMM/yyyy:HH:mm:ss Z",
                "23/Nov/2026:10:00:00 +0000",
                "2026-11-23T10:00:00.000Z",
            ),
            (
                "E, d MMM yyyy h:mm a",
                "Mon, 3 Nov 2025 1:05 PM",
                "2025-11-03T13:05:00.000Z",
            ),
            ("yyyy-DDD", "2026-032", "2026-02-01T00:00:00.000Z"),
            ("xxxx-'W'ww-e", "2026-W01-1", "2025-12-29T00:00:00.000Z"),
            (
                "yyyy-MM-dd[ HH:mm]",
                "2026-11-23",
                "2026-11-23T00:00:00.000Z",
            ),
            (
                "yyyy-MM-dd[ HH:mm]",
                "2026-11-23 10:30",
                "2026-11-23T10:30:00.000Z",
            ),
            ("epoch_second", "1795428000", "2026-11-23T10:00:00.000Z"),
            ("epoch_second", "1795428000.5", "2026-11-23T10:00:00.500Z"),
            ("year_month", "2026-11", "2026-11-01T00:00:00.000Z"),
            (
                "date_hour_minute_second",
                "2026-11-23T10:00:00",
                "2026-11-23T10:00:00.000Z",
            ),
        ];
        for (format, text, expected) in cases {
            assert_eq!(
                read(format, text, "UTC", Fill::Earliest).as_deref(),
                Some(expected),
                "{format} {text}"
            );
        }
        assert_eq!(
            read(
                "yyyy-MM-dd HH:mm:ss||epoch_millis",
                "5",
                "UTC",
                Fill::Earliest
            )
            .as_deref(),
            Some("1970-01-01T00:00:00.005Z")
        );
        assert_eq!(
            read("yyyy-MM-dd", "2026-11-23x", "UTC", Fill::Earliest),
            None
        );
        assert_eq!(read("yyyy-MM-dd", "2026-11", "UTC", Fill::Earliest), None);
    }

    #[test]
    fn times_are_written_in_their_zone() {
        let timestamp = Timestamp::parse_iso("2026-11-23T10:00:00.123456Z").unwrap();
        let cases = [
            (
                "strict_date_optional_time",
                "UTC",
                "2026-11-23T10:00:00.123Z",
            ),
            (
                "strict_date_optional_time",
                "Europe/Berlin",
                "2026-11-23T11:00:00.123+01:00",
            ),
            (
                "strict_date_optional_time_nanos",
                "UTC",
                "2026-11-23T10:00:00.123456Z",
            ),
            (
                "strict_date_optional_time||epoch_millis",
                "-03:30",
                "2026-11-23T06:30:00.123-03:30",
            ),
            ("epoch_millis", "Europe/Berlin", "1795428000123"),
            ("epoch_second", "UTC", "1795428000.123456"),
            ("date_time", "UTC", "2026-11-23T10:00:00.123Z"),
            ("yyyy-MM-dd", "Asia/Tokyo", "2026-11-23"),
            ("yyyy-MM-dd HH:mm:ss", "Asia/Tokyo", "2026-11-23 19:00:00"),
            (
                "E d MMMM yy, h:mm:ss.SSSSSS a z",
                "America/New_York",
                "Mon 23 November 26, 5:00:00.123456 AM America/New_York",
            ),
            ("XXX X Z xxx", "UTC", "Z Z +0000 +00:00"),
            ("XXX X Z xxx", "+02:00", "+02:00 +02 +0200 +02:00"),
            (
                "yyyy 'o''clock' ''D n A",
                "UTC",
                "2026 o'clock '327 123456000 36000123",
            ),
            ("xxxx-'W'ww-e Q G", "UTC", "2026-W48-1 4 AD"),
        ];
        for (format, zone, expected) in cases {
            let format = DateFormat::parse(format).unwrap();
            let zone = parse_time_zone(zone).unwrap();
            assert_eq!(
                format_timestamp(timestamp, &format, &zone),
                expected,
                "{}",
                format.name()
            );
        }
    }

    #[test]
    fn formats_that_cannot_work_are_refused() {
        for format in [
            "",
            "yyyy||",
            "yyyy-MM-dd'T",
            "yyyy-[MM",
            "yyyy]",
            "bbbb",
            "no_such_format",
            "yyyy-{",
        ] {
            assert!(DateFormat::parse(format).is_err(), "{format}");
        }
        let error = DateFormat::parse("no_such_format").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("Invalid format: [no_such_format]: "),
            "{error}"
        );
    }

    proptest! {
        /// Any pattern is taken or refused, and what is taken neither reads nor writes itself into a panic.
        #[test]
        fn any_format_and_text_are_read_or_refused(
            format in "[a-zA-Z'\\[\\]|:/. -]{0,24}", text in "\\PC{0,24}", nanos in any::<i64>(),
        ) {
            if let Ok(format) = DateFormat::parse(&format) {
                let _ = format.read(&text, &TimeZone::UTC, Fill::Latest);
                let timestamp = Timestamp::from_nanos(nanos);
                let written = format_timestamp(timestamp, &format, &TimeZone::UTC);
                let _ = format.read(&written, &TimeZone::UTC, Fill::Earliest);
            }
        }

        /// Whatever is written with nanoseconds is read back as the same moment, in any zone.
        #[test]
        fn nanosecond_texts_are_read_back(nanos in any::<i64>(), offset_minutes in -840i32..840) {
            let zone = jiff::tz::Offset::from_seconds(offset_minutes * 60).unwrap().to_time_zone();
            let format = DateFormat::parse("strict_date_optional_time_nanos").unwrap();
            let timestamp = Timestamp::from_nanos(nanos);
            let text = format_timestamp(timestamp, &format, &zone);
            prop_assert_eq!(format.read(&text, &TimeZone::UTC, Fill::Earliest), Some(timestamp));
        }
    }
}
