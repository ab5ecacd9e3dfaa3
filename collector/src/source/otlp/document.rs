//! From log records to the documents Daybook stores: one flat JSON object each, names of the Elastic Common Schema
//! first, the sender's own names beside them.
//!
//! All documents of a request are written into one buffer and sliced out of it. Resource and scope are written once
//! for all their records. Nothing of a record is lost: what would take a name that is taken gets a second name.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use event::{Event, IndexName, Timestamp};

use super::super::taken_through;
use super::json_text::{JsonText, text_of};
use super::record::{Attribute, FEW_ATTRIBUTES, Part, ReadError, Record, Scope, Value};
use crate::level;
use crate::pipeline::Pipeline;

/// The most records of one request. Each costs some hundred bytes beside its own.
const RECORDS_MAX: usize = 262_144;

/// How many times the request's own limit its documents may take: a resource is sent once and stored with every
/// record, so that a small request could become a huge one.
const GROWTH_MAX: usize = 2;

/// How many times the request's own limit may be written and thrown away again, because what was written of a record
/// was too large. Halving the strings of a record takes some ten tries, each about as long as an event may be. The
/// bound is there for many small records behind a resource that is too large for an event.
const DISCARDED_MAX: usize = 4;

/// As many times the longest event may be thrown away in any case: enough for all tries at one record.
const DISCARDED_EVENTS_MIN: usize = 32;

/// A record this far ahead of its arrival is not believed: the sender's clock is wrong.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// About what an event and its outcome take beside the document.
const EVENT_BYTES: usize = 200;

/// How deep a document's values are JSON; what lies deeper is kept as text.
const DEPTH_MAX: usize = 32;

/// Strings are not cut shorter than this to make a record fit: then it is no string that makes it too large.
const CUT_STRING_BYTES_MIN: usize = 64;

/// The names we give, which an attribute of the same name does not get when a record has them.
const OWN_NAMES: [&str; 13] = [
    "@timestamp",
    "event.ingested",
    "event.created",
    "event.truncated",
    "event.name",
    "message",
    "log.level",
    "severity_number",
    "severity_text",
    "trace.id",
    "span.id",
    "trace_flags",
    "dropped_attributes_count",
];

/// Attributes under which senders without a severity write their level.
const LEVEL_KEYS: [&str; 4] = ["log.level", "level", "severity", "lvl"];

/// What all documents of a request have in common.
#[derive(Debug, Clone)]
pub struct Terms {
    /// The index they go to.
    pub index: IndexName,
    /// When the request arrived, UTC.
    pub received: Timestamp,
    /// `limits.event`: longer documents are cut.
    pub event_bytes_max: usize,
    /// `limits.request`.
    pub request_bytes_max: usize,
}

/// The documents of a request.
#[derive(Debug, Default)]
pub struct Documents {
    /// For [`event::Append`].
    pub events: Vec<Event>,
    /// About how many bytes the events take in memory.
    pub byte_size: usize,
    /// How many records the request had.
    pub record_count: u64,
    /// Records that could not be read.
    pub malformed_count: u64,
    /// Records that are larger than an event may be although their strings were cut.
    pub too_large_count: u64,
    /// Why the first of them was refused.
    pub first_problem: Option<String>,
    /// Records whose time lay too far ahead and was replaced.
    pub ahead_count: u64,
    /// Records whose strings were cut.
    pub truncated_count: u64,
    /// Records that steps of a pipeline dropped, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
}

impl Documents {
    /// The same as a pipeline makes them.
    pub fn through(
        mut self,
        pipeline: &Pipeline,
        received: Timestamp,
        event_bytes_max: usize,
    ) -> Documents {
        self.byte_size = 0;
        for event in std::mem::take(&mut self.events) {
            match taken_through(pipeline, event, received) {
                Err(reason) => *self.dropped.entry(reason).or_default() += 1,
                Ok(event) if event.source.len() > event_bytes_max => {
                    self.too_large_count += 1;
                    let problem = format!(
                        "a record is {} bytes long behind its pipeline, more than {event_bytes_max} (limits.event)",
                        event.source.len()
                    );
                    self.first_problem.get_or_insert(problem);
                }
                Ok(event) => {
                    self.byte_size += event.source.len() + EVENT_BYTES;
                    self.events.push(event);
                }
            }
        }
        self
    }
}

/// Takes the parts of a request and writes documents.
pub struct Writer<'a> {
    terms: Terms,
    /// `,"event.ingested":"..."`, the same for all.
    ingested: Vec<u8>,
    resource: Vec<Attribute<'a>>,
    resource_has_service: bool,
    scope: Scope<'a>,
    /// Of each attribute of the resource `,"key":value`, as long as nothing is cut.
    resource_text: Vec<u8>,
    resource_ranges: Vec<Range<usize>>,
    scope_text: Vec<u8>,
    text: Vec<u8>,
    written: Vec<(Range<usize>, Timestamp)>,
    discarded_bytes: usize,
    documents: Documents,
}

/// Which of [`OWN_NAMES`] and which families of names a document has.
#[derive(Default, Clone, Copy)]
struct Taken {
    own: u32,
    has_body_fields: bool,
    has_scope: bool,
}

impl Taken {
    fn note(&mut self, name: &str) {
        self.own |= bit_of(name);
    }

    fn has(self, name: &str) -> bool {
        self.own & bit_of(name) != 0
            || (self.has_body_fields && name.starts_with("body."))
            || (self.has_scope && name.starts_with("scope."))
    }
}

fn bit_of(name: &str) -> u32 {
    let at = OWN_NAMES.iter().position(|own| *own == name);
    at.map_or(0, |at| 1 << at)
}

impl<'a> Writer<'a> {
    /// A writer without parts yet.
    pub fn new(terms: Terms) -> Writer<'a> {
        let ingested = format!(",\"event.ingested\":\"{}\"", terms.received).into_bytes();
        Writer {
            terms,
            ingested,
            resource: Vec::new(),
            resource_has_service: false,
            scope: Scope::default(),
            resource_text: Vec::new(),
            resource_ranges: Vec::new(),
            scope_text: Vec::new(),
            text: Vec::new(),
            written: Vec::new(),
            discarded_bytes: 0,
            documents: Documents::default(),
        }
    }

    /// Takes the next part.
    ///
    /// # Errors
    /// [`ReadError::TooMuch`]: the request has too many records or its documents are too large together.
    pub fn take(&mut self, part: Part<'a>) -> Result<(), ReadError> {
        match part {
            Part::Resource(attributes) => self.take_resource(attributes),
            Part::Scope(scope) => self.take_scope(scope),
            Part::Record(record) => return self.take_record(record),
        }
        Ok(())
    }

    /// The documents of all parts.
    pub fn finish(self) -> Documents {
        let Writer {
            terms,
            text,
            written,
            mut documents,
            ..
        } = self;
        let text = Bytes::from(text);
        documents.byte_size = text.len() + EVENT_BYTES * written.len();
        documents.events = written
            .into_iter()
            .map(|(range, timestamp)| {
                Event::create(terms.index.clone(), timestamp, text.slice(range))
            })
            .collect();
        documents
    }

    fn take_resource(&mut self, attributes: Vec<Attribute<'a>>) {
        self.resource_text.clear();
        self.resource_ranges.clear();
        for attribute in &attributes {
            let begin = self.resource_text.len();
            push_attribute(&mut uncut(&mut self.resource_text), "", attribute);
            self.resource_ranges.push(begin..self.resource_text.len());
        }
        self.resource_has_service = has_key(&attributes, "service.name");
        self.resource = attributes;
        self.take_scope(Scope::default());
    }

    fn take_scope(&mut self, scope: Scope<'a>) {
        self.scope_text.clear();
        push_scope(&mut uncut(&mut self.scope_text), &scope);
        self.scope = scope;
    }

    fn take_record(&mut self, record: Result<Record<'a>, String>) -> Result<(), ReadError> {
        self.documents.record_count += 1;
        if self.documents.record_count > RECORDS_MAX as u64 {
            return Err(ReadError::TooMuch(format!(
                "the request has more than {RECORDS_MAX} records, send smaller batches"
            )));
        }
        let record = match record {
            Ok(record) => record,
            Err(problem) => {
                self.documents.malformed_count += 1;
                self.documents.first_problem.get_or_insert(problem);
                return Ok(());
            }
        };
        let sent = sent_time(&record);
        let is_ahead = sent.is_some_and(|sent| sent > self.terms.received.plus(AHEAD_MAX));
        self.documents.ahead_count += u64::from(is_ahead);
        let timestamp = sent.filter(|_| !is_ahead).unwrap_or(self.terms.received);
        let created = sent.filter(|_| is_ahead);

        let begin = self.text.len();
        if self.write_to_fit(&record, timestamp, created) {
            self.written.push((begin..self.text.len(), timestamp));
        } else {
            self.documents.too_large_count += 1;
            self.documents.first_problem.get_or_insert(format!(
                "the record is larger than the {} bytes of limits.event",
                self.terms.event_bytes_max
            ));
        }
        let discarded_bytes_max = self
            .terms
            .request_bytes_max
            .saturating_mul(DISCARDED_MAX)
            .max(
                self.terms
                    .event_bytes_max
                    .saturating_mul(DISCARDED_EVENTS_MIN),
            );
        if self.discarded_bytes > discarded_bytes_max {
            return Err(ReadError::TooMuch(format!(
                "too many of the request's records are with their resources larger than the {} bytes of limits.event, \
                 send less in each record",
                self.terms.event_bytes_max
            )));
        }
        let documents_bytes_max = self
            .terms
            .request_bytes_max
            .saturating_mul(GROWTH_MAX)
            .max(self.terms.event_bytes_max);
        if self.text.len() > documents_bytes_max {
            return Err(ReadError::TooMuch(format!(
                "the request's records take more than {documents_bytes_max} bytes with their resources, send smaller batches"
            )));
        }
        Ok(())
    }

    /// Writes one document, with its longest strings cut when it is too large; `false` when that does not help.
    fn write_to_fit(
        &mut self,
        record: &Record<'a>,
        timestamp: Timestamp,
        created: Option<Timestamp>,
    ) -> bool {
        let begin = self.text.len();
        let mut string_bytes_max = usize::MAX;
        loop {
            self.write(record, timestamp, created, string_bytes_max);
            if self.text.len() - begin <= self.terms.event_bytes_max {
                let is_truncated = string_bytes_max != usize::MAX;
                self.documents.truncated_count += u64::from(is_truncated);
                return true;
            }
            self.discarded_bytes = self.discarded_bytes.saturating_add(self.text.len() - begin);
            self.text.truncate(begin);
            string_bytes_max = string_bytes_max.min(self.terms.event_bytes_max) / 2;
            if string_bytes_max < CUT_STRING_BYTES_MIN {
                return false;
            }
        }
    }

    fn write(
        &mut self,
        record: &Record<'a>,
        timestamp: Timestamp,
        created: Option<Timestamp>,
        string_bytes_max: usize,
    ) {
        let is_cut = string_bytes_max != usize::MAX;
        let full_at = self.text.len() + self.terms.event_bytes_max;
        let mut text = JsonText {
            out: &mut self.text,
            string_bytes_max,
            name_bytes_max: usize::MAX,
            depth_max: DEPTH_MAX,
            full_at,
        };
        text.out.extend_from_slice(b"{\"@timestamp\":\"");
        text.plain(timestamp);
        text.out.push(b'"');
        text.out.extend_from_slice(&self.ingested);
        let mut taken = Taken {
            has_scope: self.scope != Scope::default(),
            ..Taken::default()
        };
        taken.note("@timestamp");
        taken.note("event.ingested");
        if let Some(created) = created {
            own(&mut text, &mut taken, "event.created").string(&created.to_rfc3339());
        }
        if is_cut {
            own(&mut text, &mut taken, "event.truncated").plain(true);
        }
        push_own_fields(&mut text, &mut taken, record);
        match is_cut {
            false => text.out.extend_from_slice(&self.scope_text),
            true => push_scope(&mut text, &self.scope),
        }
        let record_keys = Keys::of(&record.attributes);
        if !self.resource_has_service && !record_keys.has("service.name") {
            text.out
                .extend_from_slice(b",\"service.name\":\"unknown_service\"");
        }
        for (attribute, range) in self.resource.iter().zip(&self.resource_ranges) {
            let is_taken = taken.has(&attribute.key) || record_keys.has(&attribute.key);
            match (is_taken, is_cut) {
                (false, false) => text
                    .out
                    .extend_from_slice(&self.resource_text[range.clone()]),
                (false, true) => push_attribute(&mut text, "", attribute),
                (true, _) => push_attribute(&mut text, "resource.", attribute),
            }
            if text.is_full() {
                return;
            }
        }
        for attribute in &record.attributes {
            let prefix = match taken.has(&attribute.key) {
                true => "attributes.",
                false => "",
            };
            push_attribute(&mut text, prefix, attribute);
            if text.is_full() {
                return;
            }
        }
        if let Some(Value::Map(attributes)) = &record.body {
            push_body_fields(&mut text, &mut "body".to_owned(), attributes, 0);
        }
        text.out.push(b'}');
    }
}

/// Looks keys up: by comparing while they are few, else by a table.
enum Keys<'k> {
    Few(&'k [Attribute<'k>]),
    Many(HashSet<&'k str>),
}

impl<'k> Keys<'k> {
    fn of(attributes: &'k [Attribute<'_>]) -> Keys<'k> {
        match attributes.len() <= FEW_ATTRIBUTES {
            true => Keys::Few(attributes),
            false => Keys::Many(attributes.iter().map(|a| a.key.as_ref()).collect()),
        }
    }

    fn has(&self, key: &str) -> bool {
        match self {
            Keys::Few(attributes) => has_key(attributes, key),
            Keys::Many(keys) => keys.contains(key),
        }
    }
}

fn has_key(attributes: &[Attribute<'_>], key: &str) -> bool {
    attributes.iter().any(|attribute| attribute.key == key)
}

fn uncut(out: &mut Vec<u8>) -> JsonText<'_> {
    JsonText {
        out,
        string_bytes_max: usize::MAX,
        name_bytes_max: usize::MAX,
        depth_max: DEPTH_MAX,
        full_at: usize::MAX,
    }
}

/// The record's own time, else when it was first seen; times we cannot keep are as good as none.
fn sent_time(record: &Record<'_>) -> Option<Timestamp> {
    [record.time_unix_nano, record.observed_time_unix_nano]
        .into_iter()
        .filter(|nanos| *nanos > 0)
        .find_map(|nanos| i64::try_from(nanos).ok())
        .map(Timestamp::from_nanos)
}

/// Writes `,"name":` for one of [`OWN_NAMES`].
fn own<'t, 'o>(
    text: &'t mut JsonText<'o>,
    taken: &mut Taken,
    name: &'static str,
) -> &'t mut JsonText<'o> {
    taken.note(name);
    text.out.extend_from_slice(b",\"");
    text.out.extend_from_slice(name.as_bytes());
    text.out.extend_from_slice(b"\":");
    text
}

fn push_own_fields(text: &mut JsonText<'_>, taken: &mut Taken, record: &Record<'_>) {
    let message = match &record.body {
        None | Some(Value::Null) => None,
        Some(body) => Some(text_of(body)),
    };
    taken.has_body_fields = matches!(&record.body, Some(Value::Map(_)));
    if let Some(message) = &message {
        own(text, taken, "message").string(message);
    }
    own(text, taken, "log.level").name(level_of(record, message.as_deref()));
    if record.severity_number != 0 {
        own(text, taken, "severity_number").plain(record.severity_number);
    }
    if !record.severity_text.is_empty() {
        own(text, taken, "severity_text").string(&record.severity_text);
    }
    for (name, id, length) in [
        ("trace.id", &record.trace_id, 16),
        ("span.id", &record.span_id, 8),
    ] {
        if id.len() == length && id.iter().any(|byte| *byte != 0) {
            push_hex(own(text, taken, name), id);
        }
    }
    if record.flags != 0 {
        own(text, taken, "trace_flags").plain(record.flags);
    }
    if !record.event_name.is_empty() {
        own(text, taken, "event.name").string(&record.event_name);
    }
    if record.dropped_attributes_count != 0 {
        own(text, taken, "dropped_attributes_count").plain(record.dropped_attributes_count);
    }
}

fn level_of(record: &Record<'_>, message: Option<&str>) -> &'static str {
    let by_attribute = || {
        let named = record.attributes.iter().find_map(|attribute| {
            let is_level = LEVEL_KEYS.contains(&attribute.key.as_ref());
            match &attribute.value {
                Value::Text(text) if is_level => level::named(text),
                _ => None,
            }
        });
        named.or_else(|| message.and_then(level::detect))
    };
    level::of_severity_number(record.severity_number)
        .or_else(|| level::named(&record.severity_text))
        .or_else(by_attribute)
        .unwrap_or(level::UNKNOWN)
}

fn push_hex(text: &mut JsonText<'_>, id: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    text.out.push(b'"');
    for byte in id {
        text.out.push(DIGITS[usize::from(byte >> 4)]);
        text.out.push(DIGITS[usize::from(byte & 15)]);
    }
    text.out.push(b'"');
}

fn push_scope(text: &mut JsonText<'_>, scope: &Scope<'_>) {
    for (name, value) in [
        (",\"scope.name\":", &scope.name),
        (",\"scope.version\":", &scope.version),
    ] {
        if !value.is_empty() {
            text.out.extend_from_slice(name.as_bytes());
            text.string(value);
        }
    }
    for attribute in &scope.attributes {
        push_attribute(text, "scope.attributes.", attribute);
    }
}

/// Writes `,"prefix+key":value`.
fn push_attribute(text: &mut JsonText<'_>, prefix: &str, attribute: &Attribute<'_>) {
    text.out.push(b',');
    match prefix {
        "" => text.name(&attribute.key),
        prefix => text.name(&format!("{prefix}{}", attribute.key)),
    }
    text.out.push(b':');
    text.value(&attribute.value, 1);
}

/// Writes the leaves of a map under their paths: `{"a":{"b":1}}` as `,"body.a.b":1`.
fn push_body_fields(
    text: &mut JsonText<'_>,
    path: &mut String,
    attributes: &[Attribute<'_>],
    depth: usize,
) {
    let path_bytes = path.len();
    for attribute in attributes {
        path.push('.');
        path.push_str(&attribute.key);
        match &attribute.value {
            Value::Map(inner) if !inner.is_empty() && depth < DEPTH_MAX => {
                push_body_fields(text, path, inner, depth + 1);
            }
            leaf => {
                text.out.push(b',');
                text.name(path);
                text.out.push(b':');
                text.value(leaf, depth + 1);
            }
        }
        path.truncate(path_bytes);
        // Long paths before many leaves could make a small body a huge document.
        if text.is_full() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::fake::fixed_now;

    const RECEIVED: &str = "2026-11-23T10:00:00.000Z";

    fn terms(event_bytes_max: usize) -> Terms {
        Terms {
            index: IndexName::default_index(),
            received: fixed_now(),
            event_bytes_max,
            request_bytes_max: 1 << 20,
        }
    }

    fn attribute<'a>(key: &'a str, value: Value<'a>) -> Attribute<'a> {
        Attribute {
            key: key.into(),
            value,
        }
    }

    fn text(text: &str) -> Value<'_> {
        Value::Text(text.into())
    }

    fn documents_of<'a>(resource: Vec<Attribute<'a>>, records: Vec<Record<'a>>) -> Vec<String> {
        let mut writer = Writer::new(terms(1 << 20));
        writer.take(Part::Resource(resource)).unwrap();
        for record in records {
            writer.take(Part::Record(Ok(record))).unwrap();
        }
        let events = writer.finish().events;
        events
            .iter()
            .map(|event| String::from_utf8(event.source.to_vec()).unwrap())
            .collect()
    }

    fn document_of(record: Record<'_>) -> String {
        documents_of(Vec::new(), vec![record]).remove(0)
    }

    #[test]
    fn a_whole_record_has_one_flat_shape() {
        let mut writer = Writer::new(terms(1 << 20));
        let resource = vec![
            attribute("service.name", text("checkout")),
            attribute("host.cpus", Value::Int(8)),
        ];
        writer.take(Part::Resource(resource)).unwrap();
        let scope = Scope {
            name: "app.db".into(),
            version: "1.2".into(),
            attributes: vec![attribute("k", Value::Bool(true))],
        };
        writer.take(Part::Scope(scope)).unwrap();
        let record = Record {
            time_unix_nano: 1_795_427_999_000_000_001,
            severity_number: 17,
            severity_text: "ERROR".into(),
            body: Some(text("time\"out")),
            attributes: vec![attribute("rows", Value::Int(10))],
            dropped_attributes_count: 2,
            flags: 1,
            trace_id: (1..=16).collect::<Vec<u8>>().into(),
            span_id: vec![0xab; 8].into(),
            event_name: "db.timeout".into(),
            ..Record::default()
        };
        writer.take(Part::Record(Ok(record))).unwrap();
        let events = writer.finish().events;
        assert_eq!(
            events[0].source,
            "{\"@timestamp\":\"2026-11-23T09:59:59.000000001Z\",\"event.ingested\":\"2026-11-23T10:00:00.000Z\",\
             \"message\":\"time\\\"out\",\"log.level\":\"error\",\"severity_number\":17,\"severity_text\":\"ERROR\",\
             \"trace.id\":\"0102030405060708090a0b0c0d0e0f10\",\"span.id\":\"abababababababab\",\"trace_flags\":1,\
             \"event.name\":\"db.timeout\",\"dropped_attributes_count\":2,\
             \"scope.name\":\"app.db\",\"scope.version\":\"1.2\",\"scope.attributes.k\":true,\
             \"service.name\":\"checkout\",\"host.cpus\":8,\"rows\":10}"
        );
        assert_eq!(events[0].timestamp.nanos(), 1_795_427_999_000_000_001);
    }

    #[test]
    fn an_empty_record_has_its_arrival_and_an_unknown_service() {
        assert_eq!(
            document_of(Record::default()),
            format!(
                "{{\"@timestamp\":\"{RECEIVED}\",\"event.ingested\":\"{RECEIVED}\",\
                 \"log.level\":\"unknown\",\"service.name\":\"unknown_service\"}}"
            )
        );
    }

    #[test]
    fn names_that_are_taken_get_a_second_name() {
        let resource = vec![
            attribute("host", text("h1")),
            attribute("message", text("m1")),
            attribute("service.name", text("s1")),
        ];
        let record = Record {
            body: Some(Value::Map(vec![attribute("x", Value::Int(1))])),
            attributes: vec![
                attribute("host", text("h2")),
                attribute("service.name", text("s2")),
                attribute("log.level", text("WARN")),
                attribute("trace.id", text("t")),
                attribute("body.x", Value::Int(2)),
            ],
            ..Record::default()
        };
        let documents = documents_of(resource, vec![record, Record::default()]);
        for part in [
            "\"log.level\":\"warn\"",
            "\"resource.host\":\"h1\"",
            "\"resource.message\":\"m1\"",
            "\"resource.service.name\":\"s1\"",
            "\"host\":\"h2\"",
            "\"service.name\":\"s2\"",
            "\"attributes.log.level\":\"WARN\"",
            // Nothing of ours has this name in this record.
            ",\"trace.id\":\"t\"",
            "\"attributes.body.x\":2",
            "\"body.x\":1",
        ] {
            assert!(documents[0].contains(part), "{part} in {}", documents[0]);
        }
        assert!(
            documents[1].contains(",\"host\":\"h1\",\"message\":\"m1\",\"service.name\":\"s1\"}")
        );
    }

    #[test]
    fn bodies_of_every_kind_are_found_as_text_and_maps_also_by_path() {
        for (body, fields) in [
            (Value::Null, ""),
            (text(""), ",\"message\":\"\""),
            (Value::Int(5), ",\"message\":\"5\""),
            (Value::Double(f64::NAN), ",\"message\":\"NaN\""),
            (Value::Bytes(vec![1, 2].into()), ",\"message\":\"AQI=\""),
            (Value::List(vec![text("a")]), ",\"message\":\"[\\\"a\\\"]\""),
        ] {
            let document = document_of(Record {
                body: Some(body),
                ..Record::default()
            });
            let expected = format!("{RECEIVED}\"{fields},\"log.level\"");
            assert!(document.contains(&expected), "{expected} in {document}");
        }
        let inner = vec![
            attribute("b", Value::Int(1)),
            attribute("e", Value::Map(vec![])),
        ];
        let document = document_of(Record {
            body: Some(Value::Map(vec![
                attribute("a", Value::Map(inner)),
                attribute("c.d", Value::List(vec![Value::Null])),
            ])),
            ..Record::default()
        });
        let message = "\"message\":\"{\\\"a\\\":{\\\"b\\\":1,\\\"e\\\":{}},\\\"c.d\\\":[null]}\"";
        assert!(document.contains(message), "{document}");
        let fields = ",\"body.a.b\":1,\"body.a.e\":{},\"body.c.d\":[null]}";
        assert!(document.ends_with(fields), "{document}");
    }

    #[test]
    fn the_level_comes_from_number_then_text_then_attribute_then_message() {
        let level_of = |number, severity_text: &str, level: Option<&str>, message: &str| {
            let attributes = level.map(|level| attribute("level", text(level)));
            let document = document_of(Record {
                severity_number: number,
                severity_text: severity_text.to_owned().into(),
                attributes: attributes.into_iter().collect(),
                body: Some(text(message)),
                ..Record::default()
            });
            let value: serde_json::Value = serde_json::from_str(&document).unwrap();
            value["log.level"].as_str().unwrap().to_owned()
        };
        assert_eq!(level_of(9, "ERROR", Some("debug"), "warn"), "info");
        assert_eq!(level_of(0, "Critical", Some("debug"), "warn"), "fatal");
        assert_eq!(level_of(99, "loud", Some("debug"), "warn"), "debug");
        assert_eq!(level_of(0, "", None, "level=warn x"), "warn");
        assert_eq!(level_of(0, "", None, "hello"), "unknown");
    }

    #[test]
    fn a_time_too_far_ahead_is_kept_beside_the_arrival() {
        let hour = 3_600_000_000_000;
        let at = |hours: i64| Record {
            observed_time_unix_nano: (fixed_now().nanos() + hours * hour) as u64,
            ..Record::default()
        };
        let mut writer = Writer::new(terms(1 << 20));
        for record in [
            at(23),
            at(25),
            Record {
                time_unix_nano: u64::MAX,
                ..at(-1)
            },
        ] {
            writer.take(Part::Record(Ok(record))).unwrap();
        }
        let documents = writer.finish();
        assert_eq!(documents.ahead_count, 1);
        let times: Vec<String> = documents
            .events
            .iter()
            .map(|event| event.timestamp.to_rfc3339())
            .collect();
        let expected = [
            "2026-11-24T09:00:00.000Z",
            RECEIVED,
            "2026-11-23T09:00:00.000Z",
        ];
        assert_eq!(times, expected);
        let ahead = std::str::from_utf8(&documents.events[1].source).unwrap();
        assert!(
            ahead.contains("\"event.created\":\"2026-11-24T11:00:00.000Z\""),
            "{ahead}"
        );
    }

    #[test]
    fn a_resource_too_large_for_an_event_is_not_tried_on_every_record() {
        let keys: Vec<String> = (0..200).map(|n| format!("key-{n:060}")).collect();
        let resource = keys.iter().map(|key| attribute(key, text(key))).collect();
        let mut writer = Writer::new(Terms {
            request_bytes_max: 1 << 16,
            ..terms(10_000)
        });
        writer.take(Part::Resource(resource)).unwrap();
        let mut taken = 0;
        let refused = (0..RECORDS_MAX).find_map(|_| {
            taken += 1;
            writer.take(Part::Record(Ok(Record::default()))).err()
        });
        assert!(matches!(refused, Some(ReadError::TooMuch(_))));
        assert!(
            taken < 100,
            "{taken} records of a request of {} KiB",
            1 << 6
        );
    }

    #[test]
    fn a_record_that_is_too_large_is_cut_in_its_longest_strings() {
        let long = "é".repeat(2000);
        let record = Record {
            body: Some(text(&long)),
            attributes: vec![
                attribute("short", text("kept")),
                attribute("n", Value::Int(7)),
            ],
            ..Record::default()
        };
        let mut writer = Writer::new(terms(1000));
        writer
            .take(Part::Resource(vec![attribute("big", text(&long))]))
            .unwrap();
        writer.take(Part::Record(Ok(record))).unwrap();
        let many = (0..200).map(|_| Value::Int(1_000_000)).collect();
        let numbers = Record {
            attributes: vec![attribute("numbers", Value::List(many))],
            ..Record::default()
        };
        writer.take(Part::Record(Ok(numbers))).unwrap();
        let documents = writer.finish();
        assert_eq!(
            (documents.truncated_count, documents.too_large_count),
            (1, 1)
        );
        let [event] = &documents.events[..] else {
            panic!("{}", documents.events.len())
        };
        assert!(event.source.len() <= 1000);
        let value: serde_json::Value = serde_json::from_slice(&event.source).unwrap();
        assert_eq!(value["event.truncated"], true);
        assert_eq!((&value["short"], &value["n"]), (&"kept".into(), &7.into()));
        let message = value["message"].as_str().unwrap();
        assert!(message.len() > 200 && long.starts_with(message));
        assert!(value["big"].as_str().unwrap().len() > 200);
    }

    #[test]
    fn a_small_request_cannot_become_a_huge_one() {
        let long = "x".repeat(1 << 19);
        let mut writer = Writer::new(terms(1 << 20));
        writer
            .take(Part::Resource(vec![attribute("big", text(&long))]))
            .unwrap();
        let outcomes: Vec<bool> = (0..5)
            .map(|_| writer.take(Part::Record(Ok(Record::default()))).is_ok())
            .collect();
        assert_eq!(outcomes, [true, true, true, false, false]);

        // One long path and many leaves behind it.
        let leaves = (0..2000).map(|_| attribute("l", Value::Int(1))).collect();
        let record = Record {
            body: Some(Value::Map(vec![attribute(&long, Value::Map(leaves))])),
            ..Record::default()
        };
        let mut writer = Writer::new(terms(1 << 20));
        writer.take(Part::Record(Ok(record))).unwrap();
        assert!(writer.text.capacity() < 8 << 20);
        assert_eq!(writer.finish().too_large_count, 1);
    }

    #[test]
    fn values_deeper_than_we_write_are_kept_as_text() {
        let mut deep = text("bottom");
        for _ in 0..60 {
            deep = Value::Map(vec![attribute("k", deep)]);
        }
        let document = document_of(Record {
            attributes: vec![attribute("deep", deep.clone())],
            body: Some(deep),
            ..Record::default()
        });
        let value: serde_json::Value = serde_json::from_str(&document).unwrap();
        let mut inner = &value["deep"];
        while inner.is_object() {
            inner = &inner["k"];
        }
        assert!(inner.as_str().unwrap().contains("bottom"));
    }

    proptest! {
        /// Whatever the keys and values are, the document is one JSON object that has them all.
        #[test]
        fn any_record_becomes_valid_json(
            keys in proptest::collection::vec(".{0,6}", 0..50),
            body in ".{0,30}",
            numbers in any::<(u64, u64, i32, u32)>(),
        ) {
            let mut attributes: Vec<Attribute<'_>> = keys
                .iter()
                .map(|key| attribute(key, text(key)))
                .collect();
            super::super::record::keep_last_of_each_key(&mut attributes);
            let count = attributes.len();
            let document = document_of(Record {
                time_unix_nano: numbers.0,
                observed_time_unix_nano: numbers.1,
                severity_number: numbers.2,
                flags: numbers.3,
                body: Some(text(&body)),
                attributes,
                ..Record::default()
            });
            let value: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&document).unwrap();
            prop_assert!(value.len() >= count + 5);
            prop_assert_eq!(value["message"].as_str(), Some(&body[..]));
            for key in &keys {
                prop_assert_eq!(value[key].as_str(), Some(&key[..]));
            }
        }
    }
}
