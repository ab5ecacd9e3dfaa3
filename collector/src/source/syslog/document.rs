//! Messages into events: each becomes the text of one flat JSON object, with the names of the Elastic Common Schema.
//!
//! All texts of a piece are written into one buffer that its events share.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event::{Document, Event, IndexName, Timestamp};
use jiff::tz::TimeZone;

use super::message::{Message, Parameter, parse};
use super::time::Clock;
use crate::flat_json::{push_field, push_raw_field, push_string};
use crate::level;
use crate::listener::reception::Written;
use crate::pipeline::Pipeline;

/// A message this far ahead of its arrival is not believed: the sender's clock is wrong.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// What all events of a source have in common.
pub struct Stamp {
    /// Where they go.
    pub index: IndexName,
    /// The zone of times that name none.
    pub zone: TimeZone,
    /// The steps, when there are any.
    pub pipeline: Option<Arc<Pipeline>>,
    /// This machine's name, for messages of its own that name no host.
    pub host_name: Option<String>,
    /// By priority, from [`super::priority::field_texts`].
    pub priority_fields: Vec<Box<[u8]>>,
}

/// Writes the events of one sender after the other.
pub struct Writer {
    stamp: Arc<Stamp>,
    clock: Clock,
    peer: Peer,
    second: SecondText,
    out: Vec<u8>,
    written: Vec<(usize, Timestamp)>,
    /// Events that went through a pipeline.
    events: Vec<Event>,
    received: u64,
    received_bytes: u64,
    dropped: Vec<&'static str>,
}

/// Who sends, as texts.
struct Peer {
    address: Option<IpAddr>,
    text: String,
    host: String,
}

/// `2026-11-23T10:00:00` of a second, kept for those that share it.
struct SecondText {
    second: i64,
    text: String,
}

impl Writer {
    /// A writer of no messages yet.
    pub fn new(stamp: Arc<Stamp>) -> Writer {
        Writer {
            clock: Clock::new(stamp.zone.clone()),
            stamp,
            peer: Peer {
                address: None,
                text: String::new(),
                host: String::new(),
            },
            second: SecondText {
                second: i64::MIN,
                text: String::new(),
            },
            out: Vec::new(),
            written: Vec::new(),
            events: Vec::new(),
            received: 0,
            received_bytes: 0,
            dropped: Vec::new(),
        }
    }

    /// Sets when the next messages arrived, UTC.
    pub fn arrived(&mut self, now: Timestamp) {
        self.clock.set(now);
    }

    /// Sets who sent the next messages.
    pub fn from(&mut self, address: IpAddr) {
        if self.peer.address == Some(address) {
            return;
        }
        let canonical = address.to_canonical();
        let text = canonical.to_string();
        let host = match &self.stamp.host_name {
            Some(own) if canonical.is_loopback() => own.clone(),
            _ => text.clone(),
        };
        self.peer = Peer {
            address: Some(address),
            text,
            host,
        };
    }

    /// Whether steps run, which takes longer than writing.
    pub fn has_pipeline(&self) -> bool {
        self.stamp.pipeline.is_some()
    }

    /// Adds a message; line ends and NULs behind it are not of it. One without anything else is none.
    pub fn push(&mut self, message: &[u8], is_cut: bool) {
        let end = message
            .iter()
            .rposition(|byte| !matches!(byte, b'\n' | b'\r' | 0))
            .map_or(0, |last| last + 1);
        let message = &message[..end];
        if message.is_empty() {
            return;
        }
        self.received += 1;
        self.received_bytes += message.len() as u64;
        let text = match is_cut {
            true => whole_characters(message),
            false => String::from_utf8_lossy(message),
        };
        let start = self.out.len();
        let message = parse(&text, &mut self.clock);
        let timestamp = self.write(&message, is_cut);
        match &self.stamp.pipeline {
            None => self.written.push((self.out.len(), timestamp)),
            Some(pipeline) => {
                let mut document = Document::parse(&self.out[start..])
                    .expect("what is written here is a JSON object");
                self.out.truncate(start);
                match pipeline.event(&mut document, &self.stamp.index, self.clock.now()) {
                    Ok(event) => self.events.push(event),
                    Err(reason) => self.dropped.push(reason),
                }
            }
        }
    }

    /// What was added since the last call.
    pub fn take(&mut self) -> Written {
        let mut events = std::mem::take(&mut self.events);
        let sources = Bytes::from(std::mem::take(&mut self.out));
        events.reserve_exact(self.written.len());
        let mut start = 0;
        for (end, timestamp) in self.written.drain(..) {
            let source = sources.slice(start..end);
            events.push(Event::create(self.stamp.index.clone(), timestamp, source));
            start = end;
        }
        Written {
            events,
            received: std::mem::take(&mut self.received),
            received_bytes: std::mem::take(&mut self.received_bytes),
            dropped: std::mem::take(&mut self.dropped),
            rejected: Vec::new(),
        }
    }

    fn write(&mut self, message: &Message<'_>, is_cut: bool) -> Timestamp {
        let arrived = self.clock.now();
        let believed = message
            .timestamp
            .filter(|time| *time <= arrived.plus(AHEAD_MAX));
        let timestamp = believed.unwrap_or(arrived);
        let out = &mut self.out;
        out.extend_from_slice(b"{\"@timestamp\":\"");
        self.second.push(out, timestamp);
        out.extend_from_slice(b"\",\"message\":");
        push_string(out, message.text);
        match message.priority {
            Some(priority) => {
                let fields = &self.stamp.priority_fields[usize::from(priority.number())];
                out.extend_from_slice(fields);
            }
            None => {
                let level = level::detect(message.text).unwrap_or(level::UNKNOWN);
                push_field(out, "log.level", level);
            }
        }
        if let Some(version) = message.version {
            push_raw_field(out, "log.syslog.version", &version.to_string());
        }
        push_field(out, "host.name", message.host.unwrap_or(&self.peer.host));
        if let Some(host) = message.host {
            push_field(out, "log.syslog.hostname", host);
        }
        if let Some(app) = message.app {
            push_field(out, "process.name", app);
            push_field(out, "log.syslog.appname", app);
        }
        if let Some(process) = message.process {
            if is_process_id(process) {
                push_raw_field(out, "process.pid", process);
            }
            push_field(out, "log.syslog.procid", process);
        }
        if let Some(message_id) = message.message_id {
            push_field(out, "log.syslog.msgid", message_id);
        }
        if !message.structured.is_empty() {
            push_structured(out, &message.structured);
        }
        push_field(out, "log.source.address", &self.peer.text);
        if is_cut {
            out.extend_from_slice(b",\"event.truncated\":true");
        }
        if let (Some(claimed), None) = (message.timestamp, believed) {
            push_field(out, "event.created", &claimed.to_rfc3339());
        }
        if let Some(problem) = message.problem {
            push_field(out, "error.type", problem.kind);
            let text = format!("expected {} at byte {}", problem.expected, problem.at);
            push_field(out, "error.message", &text);
        }
        out.push(b'}');
        timestamp
    }
}

impl SecondText {
    /// Writes a time as [`Timestamp::to_rfc3339`] does.
    fn push(&mut self, out: &mut Vec<u8>, time: Timestamp) {
        let second = time.nanos().div_euclid(1_000_000_000);
        let nanos = time.nanos().rem_euclid(1_000_000_000);
        if second != self.second {
            self.text = time.to_rfc3339();
            self.text.truncate("2026-11-23T10:00:00".len());
            self.second = second;
        }
        out.extend_from_slice(self.text.as_bytes());
        out.push(b'.');
        let digits = match nanos {
            n if n % 1_000_000 == 0 => 3,
            n if n % 1_000 == 0 => 6,
            _ => 9,
        };
        let mut unit = 100_000_000;
        for _ in 0..digits {
            out.push(b'0' + (nanos / unit % 10) as u8);
            unit /= 10;
        }
        out.push(b'Z');
    }
}

/// The text of a message that was cut, without the part of a character at its end.
fn whole_characters(message: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(message) {
        Err(error) if error.error_len().is_none() => {
            String::from_utf8_lossy(&message[..error.valid_up_to()])
        }
        _ => String::from_utf8_lossy(message),
    }
}

/// Whether a text is a number as JSON writes it, of a process as systems have them.
fn is_process_id(text: &str) -> bool {
    let is_plain = text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain && (text == "0" || !text.starts_with('0'))
}

/// `,"log.syslog.structured_data.ID.NAME":"value"`; a name that comes again makes a list of its values.
fn push_structured(out: &mut Vec<u8>, parameters: &[Parameter<'_>]) {
    let mut sorted: Vec<&Parameter<'_>> = parameters.iter().collect();
    sorted.sort_by_key(|parameter| (parameter.id, parameter.name));
    for same in sorted.chunk_by(|a, b| (a.id, a.name) == (b.id, b.name)) {
        let Parameter { id, name, .. } = same[0];
        let dot = if name.is_empty() { "" } else { "." };
        out.push(b',');
        push_string(out, &format!("log.syslog.structured_data.{id}{dot}{name}"));
        out.push(b':');
        match same {
            [one] => push_string(out, &one.value),
            several => {
                for (at, parameter) in several.iter().enumerate() {
                    out.push(if at == 0 { b'[' } else { b',' });
                    push_string(out, &parameter.value);
                }
                out.push(b']');
            }
        }
    }
}

/// A stamp for the default index.
#[cfg(test)]
pub fn stamp(pipeline: Option<Arc<Pipeline>>) -> Arc<Stamp> {
    Arc::new(Stamp {
        index: IndexName::default_index(),
        zone: TimeZone::UTC,
        pipeline,
        host_name: Some("here".to_owned()),
        priority_fields: super::priority::field_texts(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pipeline;
    use crate::source::fake::fixed_now;

    fn written(message: &[u8], is_cut: bool, peer: &str) -> Written {
        let mut writer = Writer::new(stamp(None));
        writer.arrived(fixed_now());
        writer.from(peer.parse().unwrap());
        writer.push(message, is_cut);
        writer.take()
    }

    fn text(message: &[u8], is_cut: bool, peer: &str) -> String {
        let written = written(message, is_cut, peer);
        assert_eq!(written.events.len(), 1);
        String::from_utf8(written.events[0].source.to_vec()).unwrap()
    }

    #[test]
    fn a_message_has_the_names_of_the_common_schema() {
        let message = br#"<165>1 2026-11-22T09:00:00.000003Z web-1 shop 8710 ID47 [a@1 k="v" k="w" x="1"][b@1] hi "you""#;
        assert_eq!(
            text(message, false, "192.0.2.7"),
            concat!(
                r#"{"@timestamp":"2026-11-22T09:00:00.000003Z","message":"hi \"you\"","log.level":"info","log.syslog.priority":165,"#,
                r#""log.syslog.facility.code":20,"log.syslog.facility.name":"local4","log.syslog.severity.code":5,"#,
                r#""log.syslog.severity.name":"notice","log.syslog.version":1,"host.name":"web-1","log.syslog.hostname":"web-1","#,
                r#""process.name":"shop","log.syslog.appname":"shop","process.pid":8710,"log.syslog.procid":"8710","#,
                r#""log.syslog.msgid":"ID47","log.syslog.structured_data.a@1.k":["v","w"],"log.syslog.structured_data.a@1.x":"1","#,
                r#""log.syslog.structured_data.b@1":"","log.source.address":"192.0.2.7"}"#
            )
        );
    }

    #[test]
    fn who_names_no_host_is_named_by_its_address() {
        let host = |peer: &str| {
            let text = text(b"<13>x", false, peer);
            Document::parse(text.as_bytes())
                .unwrap()
                .get_str("host.name")
                .unwrap()
                .into_owned()
        };
        assert_eq!(host("192.0.2.7"), "192.0.2.7");
        assert_eq!(host("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(host("127.0.0.1"), "here");
    }

    #[test]
    fn what_is_odd_is_kept_and_says_so() {
        let odd = text("ERROR é".as_bytes(), false, "::1");
        assert!(
            odd.contains(r#""message":"ERROR é","log.level":"error""#),
            "{odd}"
        );
        assert!(
            odd.ends_with(r#""error.type":"syslog_no_priority","error.message":"expected a priority as <13> at byte 0"}"#),
            "{odd}"
        );
        let cut = text(&b"<13>caf\xc3"[..], true, "::1");
        assert!(
            cut.contains(r#""message":"caf""#) && cut.contains(r#""event.truncated":true"#),
            "{cut}"
        );
        let ahead = written(b"<13>1 2026-12-23T10:00:00Z h a - - - x", false, "::1");
        assert_eq!(ahead.events[0].timestamp, fixed_now());
        let source = String::from_utf8_lossy(&ahead.events[0].source).into_owned();
        assert!(
            source.contains(r#""event.created":"2026-12-23T10:00:00.000Z""#),
            "{source}"
        );
        assert!(written(b"\r\n\0", false, "::1").events.is_empty());
    }

    #[test]
    fn a_pipeline_sees_the_fields_and_may_drop() {
        let settings: pipeline::Settings =
            serde_json::from_str(r#"{"steps":[{"json":{"remove":true}}]}"#).unwrap();
        let pipeline = Arc::new(Pipeline::compile("p", &settings).unwrap());
        let mut writer = Writer::new(stamp(Some(pipeline)));
        writer.arrived(fixed_now());
        writer.from("::1".parse().unwrap());
        writer.push(b"<13>Nov 22 10:00:00 h a: {\"n\":1.50}", false);
        let written = writer.take();
        let source = String::from_utf8_lossy(&written.events[0].source).into_owned();
        assert!(
            source.ends_with(r#""log.source.address":"::1","n":1.50}"#),
            "{source}"
        );
        assert_eq!(
            written.events[0].timestamp.to_rfc3339(),
            "2026-11-22T10:00:00.000Z"
        );
    }

    proptest! {
        /// Every message becomes one valid JSON object, whose time is its event's.
        #[test]
        fn any_bytes_become_an_event(
            bytes in prop_oneof![
                proptest::collection::vec(any::<u8>(), 1..100),
                "<[0-9]{1,3}>(1 )?[-A-Za-z0-9 \\[\\]:=\"\\\\é]{0,80}".prop_map(String::into_bytes),
                "<13>1 - h a p i (\\[[a-c] ([a-b]=\"[a-z\\\\\"\\]]{0,3}\" ?){0,3}\\]){1,3} x".prop_map(String::into_bytes),
            ],
            is_cut in any::<bool>(),
        ) {
            let written = written(&bytes, is_cut, "10.0.0.1");
            for event in &written.events {
                let document = Document::parse(&event.source).unwrap();
                let time = document.get_str("@timestamp").unwrap();
                prop_assert_eq!(Timestamp::parse_iso(&time).unwrap(), event.timestamp);
                let names: Vec<&str> = document.fields().map(|(name, _)| name).collect();
                let mut distinct = names.clone();
                distinct.sort_unstable();
                distinct.dedup();
                prop_assert_eq!(names.len(), distinct.len());
            }
        }

        #[test]
        fn times_are_written_as_everywhere(nanos in any::<i64>()) {
            let mut second = SecondText { second: i64::MIN, text: String::new() };
            let mut out = Vec::new();
            let time = Timestamp::from_nanos(nanos);
            second.push(&mut out, time);
            prop_assert_eq!(String::from_utf8(out).unwrap(), time.to_rfc3339());
        }
    }
}
