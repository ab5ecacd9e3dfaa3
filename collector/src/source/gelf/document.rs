//! GELF messages into events: one JSON object each, its own names where it has them, those of the Elastic Common Schema
//! where GELF means the same.
//!
//! | GELF | event |
//! | --- | --- |
//! | `short_message` | `message` |
//! | `timestamp` (seconds since 1970) | `@timestamp`, else the arrival |
//! | `level` (0 to 7, as syslog) | `log.level`, `log.syslog.severity.code` |
//! | `host` | `host.name` |
//! | `file`, `line` | `log.origin.file.name`, `log.origin.file.line` |
//! | `_x` | `x`; `gelf.x` where `x` is a name of ours |
//! | `_container_id`, `_container_name`, `_image_name` | `container.id`, `container.name`, `container.image.name` |
//! | `version` | left out |

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event::{Document, DocumentError, Event, IndexName, Timestamp};

use crate::flat_json::{push_field, push_raw_field, push_sent_field};
use crate::level;
use crate::listener::reception::Written;
use crate::pipeline::Pipeline;
use crate::source::syslog::priority::Priority;

/// A message this far ahead of its arrival is not believed: the sender's clock is wrong.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// Names we give.
const OWN_NAMES: [&str; 10] = [
    "@timestamp",
    "message",
    "log.level",
    "log.syslog.severity.code",
    "host.name",
    "log.source.address",
    "event.created",
    "event.truncated",
    "error.type",
    "error.message",
];

/// What all events of a source have in common.
pub struct Stamp {
    /// Where they go.
    pub index: IndexName,
    /// The steps, when there are any.
    pub pipeline: Option<Arc<Pipeline>>,
}

/// Makes events of messages.
pub struct Writer {
    stamp: Arc<Stamp>,
    now: Timestamp,
    written: Written,
}

impl Writer {
    /// A writer of no messages yet.
    pub fn new(stamp: Arc<Stamp>) -> Writer {
        Writer {
            stamp,
            now: Timestamp::default(),
            written: Written::default(),
        }
    }

    /// Sets when the next messages arrived, UTC.
    pub fn arrived(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// Whether steps run.
    pub fn has_pipeline(&self) -> bool {
        self.stamp.pipeline.is_some()
    }

    /// Adds a message, decompressed. One that is no JSON object is kept as text and says so.
    pub fn push(&mut self, peer: IpAddr, message: &[u8], is_cut: bool) {
        self.count(message.len());
        let (text, timestamp) = match Document::parse(message) {
            Ok(sent) => text_of(&sent, peer, self.now),
            Err(error) => (
                self.text_of_malformed(peer, message, is_cut, &error),
                self.now,
            ),
        };
        let index = &self.stamp.index;
        let Some(pipeline) = &self.stamp.pipeline else {
            let event = Event::create(index.clone(), timestamp, Bytes::from(text));
            self.written.events.push(event);
            return;
        };
        let mut document = Document::parse(&text).expect("what is written here is a JSON object");
        match pipeline.event(&mut document, index, self.now) {
            Ok(event) => self.written.events.push(event),
            Err(reason) => self.written.dropped.push(reason),
        }
    }

    fn text_of_malformed(
        &self,
        peer: IpAddr,
        message: &[u8],
        is_cut: bool,
        error: &DocumentError,
    ) -> Vec<u8> {
        let mut out = format!("{{\"@timestamp\":\"{}\"", self.now.to_rfc3339()).into_bytes();
        push_field(&mut out, "message", &String::from_utf8_lossy(message));
        push_field(&mut out, "log.level", level::UNKNOWN);
        push_field(
            &mut out,
            "log.source.address",
            &peer.to_canonical().to_string(),
        );
        if is_cut {
            push_raw_field(&mut out, "event.truncated", "true");
        }
        push_field(&mut out, "error.type", "gelf_malformed");
        push_field(&mut out, "error.message", &error.to_string());
        out.push(b'}');
        out
    }

    /// Counts a message that cannot become an event.
    pub fn reject(&mut self, reason: &'static str, bytes: usize) {
        self.count(bytes);
        self.written.rejected.push(reason);
    }

    /// What was added since the last call.
    pub fn take(&mut self) -> Written {
        std::mem::take(&mut self.written)
    }

    fn count(&mut self, bytes: usize) {
        self.written.received += 1;
        self.written.received_bytes += bytes as u64;
    }
}

fn text_of(sent: &Document, peer: IpAddr, now: Timestamp) -> (Vec<u8>, Timestamp) {
    let claimed = sent.get("timestamp").and_then(seconds);
    let believed = claimed.filter(|time| *time <= now.plus(AHEAD_MAX));
    let timestamp = believed.unwrap_or(now);
    let mut out = format!("{{\"@timestamp\":\"{}\"", timestamp.to_rfc3339()).into_bytes();
    let message = sent.get_str("short_message").unwrap_or_default();
    push_field(&mut out, "message", &message);
    let severity = sent.get("level").and_then(severity);
    let own_level = match severity.and_then(Priority::new) {
        Some(priority) => priority.level(),
        None => level::detect(&message).unwrap_or(level::UNKNOWN),
    };
    push_field(&mut out, "log.level", own_level);
    if let Some(severity) = severity {
        push_raw_field(&mut out, "log.syslog.severity.code", &severity.to_string());
    }
    let address = peer.to_canonical().to_string();
    let host = sent.get_str("host").filter(|host| !host.is_empty());
    push_field(&mut out, "host.name", host.as_deref().unwrap_or(&address));
    let mut names = HashSet::new();
    for (name, value) in sent.fields() {
        // The first of a name stays, as in most readers of GELF.
        if let Some(name) = name_of(name, severity.is_some())
            && !names.contains(&name)
        {
            push_sent_field(&mut out, &name, value);
            names.insert(name);
        }
    }
    push_field(&mut out, "log.source.address", &address);
    if let (Some(claimed), None) = (claimed, believed) {
        push_field(&mut out, "event.created", &claimed.to_rfc3339());
    }
    let problem = match sent.get("short_message") {
        None => Some("the field short_message is missing"),
        Some(_) if claimed.is_none() && sent.get("timestamp").is_some() => {
            Some("timestamp is not a number of seconds since 1970")
        }
        Some(_) => None,
    };
    if let Some(problem) = problem {
        push_field(&mut out, "error.type", "gelf_malformed");
        push_field(&mut out, "error.message", problem);
    }
    out.push(b'}');
    (out, timestamp)
}

/// What a field is called; `None` for those that are in the event already, or mean nothing there.
fn name_of(name: &str, has_severity: bool) -> Option<String> {
    let own = match name {
        "version" | "short_message" | "timestamp" | "host" => return None,
        "level" if has_severity => return None,
        "file" => "log.origin.file.name",
        "line" => "log.origin.file.line",
        "_container_id" => "container.id",
        "_container_name" => "container.name",
        "_image_name" => "container.image.name",
        other => match other.strip_prefix('_') {
            Some(additional) if !additional.is_empty() => {
                let is_taken = OWN_NAMES.contains(&additional);
                return Some(match is_taken {
                    true => format!("gelf.{additional}"),
                    false => additional.to_owned(),
                });
            }
            // Names without an underscore are not GELF's, but senders use them.
            _ if OWN_NAMES.contains(&other) => return Some(format!("gelf.{other}")),
            _ => other,
        },
    };
    Some(own.to_owned())
}

/// 0 to 7, as a number or as a text.
fn severity(value: &str) -> Option<u8> {
    let number: u8 = value.trim_matches('"').parse().ok()?;
    (number < 8).then_some(number)
}

/// Seconds since 1970 with a fraction, exactly as it is written; also as a text.
fn seconds(value: &str) -> Option<Timestamp> {
    let text = value.trim_matches('"');
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_plain = fraction.bytes().all(|byte| byte.is_ascii_digit());
    let Some(seconds) = whole.parse::<i64>().ok().filter(|_| is_plain) else {
        // 1.7954e9, as some languages write large numbers.
        let seconds: f64 = text.parse().ok()?;
        let nanos = seconds * 1e9;
        return (nanos.abs() < 9.2e18).then_some(Timestamp::from_nanos(nanos as i64));
    };
    let nanos = (0..9).fold(0, |nanos, at| {
        let digit = fraction.as_bytes().get(at).map_or(0, |byte| byte - b'0');
        nanos * 10 + i64::from(digit)
    });
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    let whole = seconds.checked_mul(1_000_000_000)?;
    whole.checked_add(sign * nanos).map(Timestamp::from_nanos)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::fake::fixed_now;

    fn text(message: &str) -> (String, Timestamp) {
        let mut writer = Writer::new(Arc::new(Stamp {
            index: IndexName::default_index(),
            pipeline: None,
        }));
        writer.arrived(fixed_now());
        writer.push("192.0.2.7".parse().unwrap(), message.as_bytes(), false);
        let event = writer.take().events.remove(0);
        (
            String::from_utf8(event.source.to_vec()).unwrap(),
            event.timestamp,
        )
    }

    #[test]
    fn the_specifications_example_is_mapped() {
        let (text, time) = text(
            r#"{"version":"1.1","host":"example.org","short_message":"A short message","full_message":"Backtrace here\n\nmore",
               "timestamp":1795427999.307205,"level":3,"facility":"app","file":"a.rb","line":12,
               "_user_id":9001,"_some_info":"foo","_ratio":0.50,"_message":"taken","_container_name":"web","_":1}"#,
        );
        assert_eq!(
            text,
            concat!(
                r#"{"@timestamp":"2026-11-23T09:59:59.307205Z","message":"A short message","log.level":"error","#,
                r#""log.syslog.severity.code":3,"host.name":"example.org","full_message":"Backtrace here\n\nmore","#,
                r#""facility":"app","log.origin.file.name":"a.rb","log.origin.file.line":12,"user_id":9001,"#,
                r#""some_info":"foo","ratio":0.50,"gelf.message":"taken","container.name":"web","_":1,"#,
                r#""log.source.address":"192.0.2.7"}"#
            )
        );
        assert_eq!(time.to_rfc3339(), "2026-11-23T09:59:59.307205Z");
    }

    #[test]
    fn what_is_no_gelf_is_kept_and_says_so() {
        for (message, expected) in [
            (
                "hello",
                r#""error.message":"not a JSON object: expected value"#,
            ),
            (r#"{"a":1}"#, "the field short_message is missing"),
            (
                r#"{"short_message":"x","timestamp":"soon"}"#,
                "timestamp is not a number",
            ),
        ] {
            let (text, time) = text(message);
            assert!(text.contains(expected), "{text}");
            assert_eq!(time, fixed_now());
        }
        let (ahead, time) = text(r#"{"short_message":"x","timestamp":1895427999}"#);
        assert_eq!(time, fixed_now());
        assert!(ahead.contains("\"event.created\":\"2030-"), "{ahead}");
    }

    #[test]
    fn seconds_are_read_exactly() {
        for (text, expected) in [
            ("1795427999", "2026-11-23T09:59:59.000Z"),
            ("1795427999.123456789", "2026-11-23T09:59:59.123456789Z"),
            ("\"1795427999.5\"", "2026-11-23T09:59:59.500Z"),
            ("1.795427999e9", "2026-11-23T09:59:59.000Z"),
            ("-1.5", "1969-12-31T23:59:58.500Z"),
        ] {
            assert_eq!(seconds(text).unwrap().to_rfc3339(), expected, "{text}");
        }
        assert_eq!(seconds("1e300"), None);
        assert_eq!(seconds("null"), None);
    }

    proptest! {
        #[test]
        fn any_object_becomes_an_event_with_each_name_once(
            fields in proptest::collection::vec(("_?(a|level|host|timestamp|message|short_message|@timestamp|container_id|container.id)",
                prop_oneof![Just("1"), Just("\"x\""), Just("null"), Just("[1]"), Just("{\"a\":1}")]), 0..8)
        ) {
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            let (text, time) = text(&format!("{{{}}}", fields.join(",")));
            let document = Document::parse(text.as_bytes()).unwrap();
            let names: Vec<&str> = document.fields().map(|(name, _)| name).collect();
            let mut distinct = names.clone();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(names.len(), distinct.len(), "{}", text);
            prop_assert_eq!(document.get_str("@timestamp").unwrap(), time.to_rfc3339());
        }
    }
}
