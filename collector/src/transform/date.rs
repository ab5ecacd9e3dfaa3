//! Reads a time as the application wrote it and puts it into `@timestamp`.
//!
//! Grok cuts `23/Nov/2026:10:00:00 +0100` out of a line; this step makes it the time of the event.

use std::time::Duration;

use event::{Document, Timestamp};
use jiff::civil::DateTime;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{Transform, TransformError, Verdict};

/// `2026-11-23`, whose hyphens are no offset.
const DATE_BYTES: usize = 10;

/// The zone of the machine Daybook runs on.
pub const LOCAL: &str = "local";

/// How far ahead of its arrival a line without a year may be: clocks of other zones and a little more.
const AHEAD_MAX: Duration = Duration::from_secs(86_400);

/// `date: { field: timestamp, formats: ["%d/%b/%Y:%H:%M:%S %z"] }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The field that holds the time.
    pub field: String,
    /// How it may be written, tried in order: `iso8601`, `unix` (seconds), `unix_ms`, `http`
    /// (`23/Nov/2026:10:00:00 +0100`), `syslog` (`Nov 23 10:00:00`), or `strftime` letters. Where no year is named it
    /// is the latest one that brings the time not more than a day ahead of `@timestamp`, as with the source `syslog`.
    #[serde(default = "default_formats")]
    pub formats: Vec<String>,
    /// The zone of times that name none: `UTC`, for instance `Europe/Berlin`, or `local` for this machine's.
    #[serde(default = "utc")]
    pub timezone: String,
    /// The field the time goes to.
    #[serde(default = "timestamp_field")]
    pub target: String,
    /// Whether the field is removed once it is read.
    #[serde(default)]
    pub remove: bool,
}

/// The step, ready to run.
pub struct Date {
    settings: Settings,
    formats: Vec<Format>,
    zone: TimeZone,
}

enum Format {
    Iso8601,
    UnixSeconds,
    UnixMillis,
    /// Names no year; ours is put in front.
    Yearless(String),
    Strptime(String),
}

impl Date {
    /// Checks zone and formats.
    ///
    /// # Errors
    /// There is no format, a format has unknown letters, or nobody knows the zone.
    pub fn compile(settings: &Settings) -> Result<Date, String> {
        let zone = match settings.timezone.as_str() {
            "UTC" => TimeZone::UTC,
            LOCAL => TimeZone::system(),
            name => TimeZone::get(name).map_err(|_| {
                format!("unknown timezone {name:?}; write for instance Europe/Berlin, or local")
            })?,
        };
        if settings.formats.is_empty() {
            return Err("formats is empty; write for instance formats: [iso8601]".to_owned());
        }
        let formats = settings.formats.iter().map(|text| Format::parse(text));
        Ok(Date {
            formats: formats.collect::<Result<_, _>>()?,
            settings: settings.clone(),
            zone,
        })
    }

    fn read(&self, text: &str, document: &Document, arrived: Timestamp) -> Option<Timestamp> {
        self.formats.iter().find_map(|format| match format {
            Format::Iso8601 => read_iso(text, &self.zone),
            Format::UnixSeconds => unix_seconds(text),
            Format::UnixMillis => Timestamp::parse_lenient(text).ok(),
            Format::Yearless(format) => self.read_yearless(format, text, document, arrived),
            Format::Strptime(format) => self.read_strptime(format, text),
        })
    }

    fn read_strptime(&self, format: &str, text: &str) -> Option<Timestamp> {
        let time = BrokenDownTime::parse(format, text).ok()?;
        let instant = match time.offset() {
            Some(_) => time.to_timestamp().ok()?,
            None => self.zone.to_timestamp(time.to_datetime().ok()?).ok()?,
        };
        timestamp_of(instant)
    }

    /// `Nov 23 10:00:00` names no year: a line is from the past, or of a clock that is a little ahead.
    fn read_yearless(
        &self,
        format: &str,
        text: &str,
        document: &Document,
        arrived: Timestamp,
    ) -> Option<Timestamp> {
        let arrived = document
            .get_str("@timestamp")
            .and_then(|text| Timestamp::parse_iso(&text).ok())
            .unwrap_or(arrived);
        let latest = arrived.plus(AHEAD_MAX);
        let year: i16 = arrived.to_rfc3339().get(..4)?.parse().ok()?;
        let candidates = [year - 1, year, year + 1].into_iter().filter_map(|year| {
            let time = BrokenDownTime::parse(format, format!("{year} {text}")).ok()?;
            let civil: DateTime = time.to_datetime().ok()?;
            timestamp_of(self.zone.to_timestamp(civil).ok()?)
        });
        candidates.filter(|time| *time <= latest).max()
    }
}

impl Format {
    fn parse(text: &str) -> Result<Format, String> {
        Ok(match text {
            "iso8601" => Format::Iso8601,
            "unix" => Format::UnixSeconds,
            "unix_ms" => Format::UnixMillis,
            "syslog" => Format::Yearless("%Y %b %e %H:%M:%S".to_owned()),
            "http" => Format::Strptime("%d/%b/%Y:%H:%M:%S %z".to_owned()),
            own if own.contains('%') => {
                // A format that cannot be written cannot be read either; reading nothing would hide its mistakes.
                let sample = jiff::Timestamp::UNIX_EPOCH.to_zoned_datetime(TimeZone::UTC);
                jiff::fmt::strtime::format(own, &sample)
                    .map_err(|error| format!("cannot use format {own:?}: {error}"))?;
                match names_year(own) {
                    true => Format::Strptime(own.to_owned()),
                    false => Format::Yearless(format!("%Y {own}")),
                }
            }
            other => {
                return Err(format!(
                    "unknown format {other:?}; known are iso8601, unix, unix_ms, http, syslog and strftime letters like %Y-%m-%d"
                ));
            }
        })
    }
}

impl Transform for Date {
    fn apply(
        &self,
        document: &mut Document,
        arrived: Timestamp,
    ) -> Result<Verdict, TransformError> {
        let field = &self.settings.field;
        let text = match document.get(field) {
            None => {
                return Err(TransformError {
                    reason: "field_missing",
                    message: format!("the event has no field {field}"),
                });
            }
            Some(value) => document
                .get_str(field)
                .map_or_else(|| value.to_owned(), std::borrow::Cow::into_owned),
        };
        let Some(timestamp) = self.read(text.trim(), document, arrived) else {
            let shown: String = text.chars().take(64).collect();
            return Err(TransformError {
                reason: "date_unreadable",
                message: format!("field {field}: no format fits {shown:?}"),
            });
        };
        document.set_str(&self.settings.target, &timestamp.to_rfc3339());
        if self.settings.remove && *field != self.settings.target {
            document.remove(field);
        }
        Ok(Verdict::Keep)
    }
}

/// Reads ISO 8601; a time that names no zone is of this one.
pub fn read_iso(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    let in_utc = Timestamp::parse_iso(text).ok()?;
    let names_zone = text
        .get(DATE_BYTES..)
        .unwrap_or_default()
        .contains(['Z', 'z', '+', '-']);
    if names_zone || *zone == TimeZone::UTC {
        return Some(in_utc);
    }
    let instant = jiff::Timestamp::from_nanosecond(i128::from(in_utc.nanos())).ok()?;
    let civil = TimeZone::UTC.to_datetime(instant);
    timestamp_of(zone.to_timestamp(civil).ok()?)
}

/// Whether a time in this format says in which year it was.
fn names_year(format: &str) -> bool {
    ["%Y", "%y", "%F", "%D", "%s", "%G", "%C", "%c", "%x"]
        .iter()
        .any(|letters| format.contains(letters))
}

fn unix_seconds(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction
        .chars()
        .chain("000000000".chars())
        .take(9)
        .collect();
    let nanos: i64 = digits.parse().ok()?;
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let whole = seconds.checked_mul(1_000_000_000)?;
    whole.checked_add(sign * nanos).map(Timestamp::from_nanos)
}

fn timestamp_of(instant: jiff::Timestamp) -> Option<Timestamp> {
    i64::try_from(instant.as_nanosecond())
        .ok()
        .map(Timestamp::from_nanos)
}

fn default_formats() -> Vec<String> {
    ["iso8601", "http", "syslog"].map(str::to_owned).to_vec()
}

fn utc() -> String {
    "UTC".to_owned()
}

fn timestamp_field() -> String {
    "@timestamp".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(formats: &[&str], zone: &str, time: &str) -> Option<String> {
        let settings = Settings {
            field: "time".to_owned(),
            formats: formats.iter().map(|text| (*text).to_owned()).collect(),
            timezone: zone.to_owned(),
            target: "@timestamp".to_owned(),
            remove: true,
        };
        let mut document = Document::new();
        document.set_str("@timestamp", "2027-01-01T00:05:00.000Z");
        document.set("time", serde_json::from_str(time).unwrap());
        Date::compile(&settings)
            .unwrap()
            .apply(&mut document, Timestamp::MIN)
            .ok()?;
        assert!(document.get("time").is_none());
        document
            .get_str("@timestamp")
            .map(std::borrow::Cow::into_owned)
    }

    #[test]
    fn times_are_read_as_applications_write_them() {
        let cases: &[(&[&str], &str, &str, &str)] = &[
            (
                &["http"],
                "UTC",
                r#""23/Nov/2026:11:00:00 +0100""#,
                "2026-11-23T10:00:00.000Z",
            ),
            (&["unix"], "UTC", "1795428000", "2026-11-23T10:00:00.000Z"),
            (
                &["unix"],
                "UTC",
                r#""1795428000.25""#,
                "2026-11-23T10:00:00.250Z",
            ),
            (
                &["unix_ms"],
                "UTC",
                "1795428000123",
                "2026-11-23T10:00:00.123Z",
            ),
            (
                &["unix", "iso8601"],
                "UTC",
                r#""2026-11-23T10:00:00Z""#,
                "2026-11-23T10:00:00.000Z",
            ),
            (
                &["%Y/%m/%d %H:%M:%S"],
                "Europe/Berlin",
                r#""2026/11/23 11:00:00""#,
                "2026-11-23T10:00:00.000Z",
            ),
            (
                &["%d.%m.%Y %H:%M:%S%.f"],
                "UTC",
                r#""23.11.2026 10:00:00.123456789""#,
                "2026-11-23T10:00:00.123456789Z",
            ),
            (
                &["iso8601"],
                "Europe/Berlin",
                r#""2026-11-23 11:00:00,5""#,
                "2026-11-23T10:00:00.500Z",
            ),
            (
                &["iso8601"],
                "Europe/Berlin",
                r#""2026-07-23""#,
                "2026-07-22T22:00:00.000Z",
            ),
            (
                &["iso8601"],
                "Europe/Berlin",
                r#""2026-11-23T10:00:00-0000""#,
                "2026-11-23T10:00:00.000Z",
            ),
            // The old year's last line arrives in the new year.
            (
                &["syslog"],
                "UTC",
                r#""Dec 31 23:59:59""#,
                "2026-12-31T23:59:59.000Z",
            ),
            // Not half a year ahead, however near that is.
            (
                &["syslog"],
                "UTC",
                r#""Jun 15 02:04:59""#,
                "2026-06-15T02:04:59.000Z",
            ),
            (
                &["%m%d %H:%M:%S%.f"],
                "UTC",
                r#""1231 23:59:59.5""#,
                "2026-12-31T23:59:59.500Z",
            ),
            (
                &["syslog"],
                "UTC",
                r#""Jan  1 00:00:01""#,
                "2027-01-01T00:00:01.000Z",
            ),
        ];
        for (formats, zone, time, expected) in cases {
            assert_eq!(
                read(formats, zone, time).as_deref(),
                Some(*expected),
                "{formats:?} {time}"
            );
        }
        let local = TimeZone::system();
        let noon: DateTime = "2026-11-23T12:00:00".parse().unwrap();
        let expected = timestamp_of(local.to_timestamp(noon).unwrap()).unwrap();
        assert_eq!(
            read(&["%Y/%m/%d %H:%M:%S"], "local", r#""2026/11/23 12:00:00""#),
            Some(expected.to_rfc3339())
        );
        assert_eq!(read(&["http"], "UTC", r#""yesterday""#), None);
        assert_eq!(read(&["unix"], "UTC", "99999999999999"), None);
    }

    #[test]
    fn mistakes_in_the_settings_are_named() {
        for (settings, part) in [
            (
                r#"{"field":"t","formats":["rfc1"]}"#,
                "unknown format \"rfc1\"",
            ),
            (r#"{"field":"t","formats":[]}"#, "formats is empty"),
            (r#"{"field":"t","formats":["%!"]}"#, "cannot use format"),
            (
                r#"{"field":"t","timezone":"Mars/North"}"#,
                "unknown timezone",
            ),
        ] {
            let settings: Settings = serde_json::from_str(settings).unwrap();
            let problem = Date::compile(&settings).err().unwrap();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
