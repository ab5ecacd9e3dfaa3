//! Finds out by itself what a line is: JSON, logfmt, an access log, syslog, or plain text with a level in it.
//!
//! This is what events go through that nobody configured a pipeline for. It only adds: the line stays as it came, no
//! field that is there is changed, and what is found under a name that is taken is left in the line. The one exception
//! is `@timestamp`, which becomes the line's own time where that lies at most [`AGE_MAX`] back and a day ahead of the
//! arrival: a line from long ago may not end up behind what its index keeps.

use std::time::Duration;

use event::{Document, Timestamp};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::json::is_too_deep;
use super::logfmt::Pairs;
use super::{Transform, TransformError, Verdict, message_field};
use crate::level;

mod access_log;
mod syslog_line;
mod time;

pub use time::read as read_time;

/// Longer lines are only looked at for their level.
const LINE_BYTES_MAX: usize = 64 << 10;
/// How far back a line's own time is believed.
const AGE_MAX: Duration = Duration::from_secs(7 * 86_400);
/// How far ahead: clocks of other zones and a little more.
const AHEAD_MAX: Duration = Duration::from_secs(86_400);

/// `detect: { field: message }`, also a step of its own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The field that holds the line.
    #[serde(default = "message_field")]
    pub field: String,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            field: message_field(),
        }
    }
}

/// The step, ready to run.
pub struct Detect {
    field: String,
    /// The zone of times that name none: this machine's, where files and containers are read.
    zone: TimeZone,
}

impl Detect {
    /// Nothing can be wrong.
    pub fn compile(settings: &Settings) -> Detect {
        Detect::in_zone(settings, TimeZone::system())
    }

    /// With this zone for times that name none.
    pub fn in_zone(settings: &Settings, zone: TimeZone) -> Detect {
        Detect {
            field: settings.field.clone(),
            zone,
        }
    }

    /// Adds what the line tells; whether it is more than plain text.
    fn parse(&self, line: &str, document: &mut Document, arrived: Timestamp) -> bool {
        let Some(first) = line.trim_start().bytes().next() else {
            return true;
        };
        if line.len() > LINE_BYTES_MAX {
            return false;
        }
        match first {
            b'{' => json(line, document, arrived, &self.zone),
            b'<' => syslog_line::with_priority(line, document, arrived, &self.zone),
            _ => {
                access_log::parse(line, document, arrived)
                    || syslog_line::without_priority(line, document, arrived, &self.zone)
                    || logfmt(line, document, arrived, &self.zone)
            }
        }
    }
}

impl Transform for Detect {
    fn apply(
        &self,
        document: &mut Document,
        arrived: Timestamp,
    ) -> Result<Verdict, TransformError> {
        let Some(line) = document.get_str(&self.field) else {
            return Ok(Verdict::Keep);
        };
        let line = line.into_owned();
        let is_parsed = self.parse(&line, document, arrived);
        if !is_parsed && let Some(level) = level::detect(&line) {
            add_level(document, level);
        }
        Ok(Verdict::Keep)
    }
}

/// Gives an object its `log.level`, from a field of such a name or from its message, and leaves everything else alone.
pub struct DetectLevel;

impl Transform for DetectLevel {
    fn apply(&self, document: &mut Document, _: Timestamp) -> Result<Verdict, TransformError> {
        if has_level(document) {
            return Ok(Verdict::Keep);
        }
        let own = document
            .fields()
            .filter(|(name, _)| level::is_key(name))
            .find_map(|(_, value)| {
                let text = value.trim_matches('"');
                level::named(text).or_else(|| level::numbered(text))
            });
        let found = own.or_else(|| level::detect(&document.get_str("message")?));
        if let Some(level) = found {
            document.set_str("log.level", level);
        }
        Ok(Verdict::Keep)
    }
}

/// Whether the event has a level that says something: a source that must write one may have found none.
fn has_level(document: &Document) -> bool {
    document.has("log.level") && document.get_str("log.level").as_deref() != Some(level::UNKNOWN)
}

fn add_level(document: &mut Document, level: &str) {
    if !has_level(document) {
        document.set_str("log.level", level);
    }
}

fn json(line: &str, document: &mut Document, arrived: Timestamp, zone: &TimeZone) -> bool {
    if !line.trim_end().ends_with('}') || is_too_deep(line) {
        return false;
    }
    let has_level = has_level(document);
    let Ok(own_count) = document.append_object(line.as_bytes()) else {
        return false;
    };
    let (mut level, mut time) = (None, None);
    for (name, value) in document.fields_from(own_count) {
        if level.is_none() && level::is_key(name) {
            let text = value.trim_matches('"');
            level = level::named(text).or_else(|| level::numbered(text));
        }
        if time.is_none() && time::is_key(name) {
            time = time::read_in(value.trim_matches('"'), zone);
        }
    }
    document.merge_appended(own_count, None, false);
    set_time(document, time, arrived);
    if let (false, Some(level)) = (has_level, level) {
        document.set_str("log.level", level);
    }
    true
}

/// A line is logfmt when it has two pairs at least and nothing else: prose with an `=` in it is not.
fn logfmt(line: &str, document: &mut Document, arrived: Timestamp, zone: &TimeZone) -> bool {
    let Some((key, _)) = line.split_once('=') else {
        return false;
    };
    if !is_key(key) {
        return false;
    }
    let mut count = 0;
    for pair in Pairs::of(line) {
        if pair.value.is_none() || !is_key(pair.key) {
            return false;
        }
        count += 1;
    }
    if count < 2 {
        return false;
    }
    let has_level = has_level(document);
    let (mut level, mut time) = (None, None);
    for pair in Pairs::of(line) {
        let Some(value) = pair.value else {
            continue;
        };
        if level.is_none() && level::is_key(pair.key) {
            level = level::named(&value).or_else(|| level::numbered(&value));
        }
        if time.is_none() && time::is_key(pair.key) {
            time = time::read_in(&value, zone);
        }
        if !document.has(pair.key) && (pair.is_quoted || !document.set_number(pair.key, &value)) {
            document.set_str(pair.key, &value);
        }
    }
    set_time(document, time, arrived);
    if let (false, Some(level)) = (has_level, level) {
        document.set_str("log.level", level);
    }
    true
}

fn is_key(key: &str) -> bool {
    let is_key_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'@' | b'/');
    (1..=64).contains(&key.len())
        && key.bytes().all(is_key_byte)
        && !key.as_bytes()[0].is_ascii_digit()
}

/// Sets a field that is not there yet.
fn add_str(document: &mut Document, name: &str, text: &str) {
    if !document.has(name) {
        document.set_str(name, text);
    }
}

/// Sets a field that is not there yet to digits.
fn add_number(document: &mut Document, name: &str, digits: &str) {
    if !document.has(name) && !document.set_number(name, digits) {
        document.set_str(name, digits);
    }
}

/// Takes the line's time where it is believed.
fn set_time(document: &mut Document, time: Option<Timestamp>, arrived: Timestamp) {
    let is_believed =
        |time: &Timestamp| *time >= arrived.minus(AGE_MAX) && *time <= arrived.plus(AHEAD_MAX);
    if let Some(time) = time.filter(is_believed) {
        document.set_str("@timestamp", &time.to_rfc3339());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tried::arrived;
    use super::*;

    /// What detection adds to a line, as JSON.
    fn added(line: &str) -> String {
        let mut document = Document::new();
        document.set_str("@timestamp", "arrived");
        document.set_str("message", line);
        let detect = Detect::in_zone(&Settings::default(), TimeZone::UTC);
        detect.apply(&mut document, arrived()).unwrap();
        assert_eq!(document.get_str("message").unwrap(), line);
        document.remove("message");
        if document.get_str("@timestamp").as_deref() == Some("arrived") {
            document.remove("@timestamp");
        }
        String::from_utf8(document.to_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_source_that_found_no_level_does_not_keep_one_from_being_found() {
        for (line, expected) in [
            (
                r#"203.0.113.7 - - [23/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 500 1534"#,
                "error",
            ),
            (r#"{"log.level":"WARN"}"#, "warn"),
            ("level=debug a=1", "debug"),
            ("nothing", "unknown"),
        ] {
            let mut document = Document::new();
            document.set_str("message", line);
            document.set_str("log.level", "unknown");
            let detect = Detect::in_zone(&Settings::default(), TimeZone::UTC);
            detect.apply(&mut document, arrived()).unwrap();
            assert_eq!(document.get_str("log.level").unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn times_without_a_zone_are_this_machines() {
        for line in [
            r#"{"timestamp":"2026-11-23 10:59:58.5"}"#,
            "time=2026-11-23T10:59:58.5 level=info",
        ] {
            let mut document = Document::new();
            document.set_str("message", line);
            let zone = TimeZone::get("Europe/Berlin").unwrap();
            let detect = Detect::in_zone(&Settings::default(), zone);
            detect.apply(&mut document, arrived()).unwrap();
            let time = document.get_str("@timestamp").unwrap();
            assert_eq!(time, "2026-11-23T09:59:58.500Z", "{line}");
        }
    }

    #[test]
    fn lines_are_what_they_look_like() {
        for (line, expected) in [
            (
                r#"{"time":"2026-11-23T09:59:58Z","level":"WARN","msg":"x","n":0.470,"message":"inner"}"#,
                r#"{"@timestamp":"2026-11-23T09:59:58.000Z","time":"2026-11-23T09:59:58Z","level":"WARN","msg":"x","n":0.470,"log.level":"warn"}"#,
            ),
            (
                r#"{"level":30,"time":1795427998123,"pid":1,"msg":"pino"}"#,
                r#"{"@timestamp":"2026-11-23T09:59:58.123Z","level":30,"time":1795427998123,"pid":1,"msg":"pino","log.level":"info"}"#,
            ),
            (
                r#"time="2026-11-23T09:59:58.5Z" level=error msg="cannot \"pay\"" took=0.50 id="7""#,
                r#"{"@timestamp":"2026-11-23T09:59:58.500Z","time":"2026-11-23T09:59:58.5Z","level":"error","msg":"cannot \"pay\"","took":0.50,"id":"7","log.level":"error"}"#,
            ),
            (
                r#"203.0.113.9 - ada [23/Nov/2026:10:59:58 +0100] "GET /a?b=1 HTTP/1.1" 404 5120 "https://e.org/" "Mozilla/5.0 (X11; \"q\")" 0.003"#,
                r#"{"@timestamp":"2026-11-23T09:59:58.000Z","client.address":"203.0.113.9","user.name":"ada","http.request.method":"GET","url.original":"/a?b=1","http.version":"1.1","http.response.status_code":404,"http.response.body.bytes":5120,"http.request.referrer":"https://e.org/","user_agent.original":"Mozilla/5.0 (X11; \\\"q\\\")","log.level":"warn"}"#,
            ),
            (
                r#"::1 - - [23/Nov/2026:10:00:00 +0000] "\x16\x03" 400 -"#,
                r#"{"@timestamp":"2026-11-23T10:00:00.000Z","client.address":"::1","http.request.original":"\\x16\\x03","http.response.status_code":400,"log.level":"warn"}"#,
            ),
            (
                "Nov 23 09:59:58 web-1 sshd[4711]: error: no key",
                r#"{"@timestamp":"2026-11-23T09:59:58.000Z","log.syslog.hostname":"web-1","process.name":"sshd","process.pid":4711,"log.level":"error"}"#,
            ),
            (
                "2026-11-23T10:59:58.123456+01:00 web-1 CRON[7]: (root) CMD (x)",
                r#"{"@timestamp":"2026-11-23T09:59:58.123456Z","log.syslog.hostname":"web-1","process.name":"CRON","process.pid":7}"#,
            ),
            (
                "<11>Nov 23 09:59:58 web-1 app: it broke",
                r#"{"@timestamp":"2026-11-23T09:59:58.000Z","log.syslog.priority":11,"log.syslog.facility.code":1,"log.syslog.severity.code":3,"log.level":"error","log.syslog.hostname":"web-1","process.name":"app"}"#,
            ),
            (
                "<34>1 2026-11-23T09:59:58.003Z host app 12 ID47 [x@1 a=\"b\"] it works",
                r#"{"@timestamp":"2026-11-23T09:59:58.003Z","log.syslog.priority":34,"log.syslog.facility.code":4,"log.syslog.severity.code":2,"log.level":"fatal","log.syslog.hostname":"host","process.name":"app","process.pid":12,"log.syslog.msgid":"ID47"}"#,
            ),
            (
                "2026-11-23 10:00:00 ERROR cannot open",
                r#"{"log.level":"error"}"#,
            ),
        ] {
            assert_eq!(added(line), expected, "{line}");
        }
    }

    #[test]
    fn prose_stays_prose() {
        for line in [
            "",
            "  ",
            "all is fine",
            "x=1",
            "set a=1 and b=2",
            "a = b",
            "{not json}",
            "{\"cut\":",
            "[1,2]",
            "<html>",
            "<999>x",
            "203.0.113.9 did [something] \"else\"",
            "Nov 23 is a day",
            "May the force",
            "1=2 3=4",
        ] {
            assert_eq!(added(line), "{}", "{line}");
        }
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(LINE_BYTES_MAX));
        assert_eq!(added(&long), "{}");
    }

    #[test]
    fn times_far_from_the_arrival_are_not_believed() {
        for line in [
            r#"{"time":"2005-12-04T04:47:44Z"}"#,
            r#"{"time":"2026-11-25T10:00:00Z"}"#,
            r#"{"time":7}"#,
            r#"{"time":"soon"}"#,
            r#"{"@timestamp":"2005-12-04T04:47:44Z"}"#,
        ] {
            assert!(!added(line).contains("@timestamp"), "{line}");
        }
    }

    #[test]
    fn fields_that_are_there_are_not_changed() {
        let mut document = Document::parse(
            br#"{"@timestamp":"t","message":"{\"host\":1,\"host.name\":\"evil\",\"level\":\"error\"}","host.name":"web-1","log.level":"info"}"#,
        )
        .unwrap();
        Detect::compile(&Settings::default())
            .apply(&mut document, arrived())
            .unwrap();
        assert_eq!(document.get_str("host.name").unwrap(), "web-1");
        assert_eq!(document.get_str("log.level").unwrap(), "info");
        assert_eq!(document.get("host"), Some("1"));
    }

    proptest! {
        /// Whatever a line is, it comes out as it came.
        #[test]
        fn any_line_stays(line in "(<[0-9]{1,3}>)?(1 )?(Nov 23 10:00:00|203\\.0\\.113\\.9 - - \\[|\\{\"a\":)?[\\PC]{0,30}") {
            added(&line);
        }
    }
}
