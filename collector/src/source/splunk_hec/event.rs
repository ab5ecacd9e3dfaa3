//! Events and raw lines as HEC takes them.
//!
//! An event is `{"event": ..., "time": ..., "host": ..., "source": ..., "sourcetype": ..., "index": ..., "fields": {}}`,
//! one after the other with or without anything between them. A text is the `message`; an object's fields are the
//! event's. `host` is `host.name`; the others keep their names. What the event itself says under such a name stays.

use std::sync::Arc;

use event::{Document, IndexName, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::gathered::{Gathered, MEMORY_BYTES_MAX, Terms};
use crate::pipeline::Pipeline;
use crate::transform::detect;

/// The first event that is wrong, in Splunk's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem {
    /// From 0.
    pub number: u64,
    /// Splunk's code.
    pub code: u8,
    /// Splunk's text.
    pub text: &'static str,
}

#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    host: Option<String>,
    source: Option<String>,
    sourcetype: Option<String>,
    index: Option<String>,
    #[serde(borrow)]
    fields: Option<&'a RawValue>,
}

/// Reads events. Behind a mistake in JSON itself nobody knows where the next event begins; an event that only lacks
/// something does not harm those behind it. `objects` is what events go through that are objects.
pub fn read_events(
    body: &[u8],
    terms: Terms,
    objects: Arc<Pipeline>,
) -> (Gathered, Option<Problem>) {
    let received = terms.received.to_rfc3339();
    let default_index = terms.index.clone();
    let mut texts = Gathered::new(terms.clone());
    let mut others = Gathered::new(Terms {
        pipeline: objects,
        ..terms
    });
    let mut first_problem = None;
    let mut document = Document::new();
    let values = serde_json::Deserializer::from_slice(body).into_iter::<&RawValue>();
    for (number, value) in (0u64..).zip(values) {
        if texts.memory_bytes() + others.memory_bytes() > MEMORY_BYTES_MAX {
            break;
        }
        let length = value.as_ref().map_or(0, |value| value.get().len());
        if texts.refuse_by_length(length) {
            continue;
        }
        let (sent, problem) = match value.map(|value| serde_json::from_str::<Sent<'_>>(value.get()))
        {
            Ok(Ok(sent)) => (Some(sent), None),
            Ok(Err(_)) | Err(_) => (None, Some((6, "Invalid data format"))),
        };
        let problem = problem.or_else(|| match sent.as_ref().and_then(|sent| sent.event) {
            None => Some((12, "Event field is required")),
            Some(event) if matches!(event.get(), "\"\"" | "null") => {
                Some((13, "Event field cannot be blank"))
            }
            Some(_) => None,
        });
        if let Some((code, text)) = problem {
            first_problem.get_or_insert(Problem { number, code, text });
            texts.refuse("malformed", format!("event {number}: {text}"));
            continue;
        }
        let Some(sent) = sent else {
            continue;
        };
        let is_text = fill(&mut document, &sent, &received);
        let own = sent
            .index
            .as_deref()
            .and_then(|name| IndexName::parse(name).ok());
        let index = own.as_ref().unwrap_or(&default_index);
        let gathered = if is_text { &mut texts } else { &mut others };
        gathered.push_to(&mut document, index, None);
    }
    texts.absorb(others);
    (texts, first_problem)
}

/// Reads raw lines; `metadata` holds what the URL says of them.
pub fn read_raw(body: &[u8], metadata: &[(String, String)], terms: Terms) -> Gathered {
    let received = terms.received.to_rfc3339();
    let named = metadata.iter().find(|(name, _)| name == "index");
    let index = named
        .and_then(|(_, name)| IndexName::parse(name).ok())
        .unwrap_or_else(|| terms.index.clone());
    let mut gathered = Gathered::new(terms);
    let mut document = Document::new();
    for line in body.split(|byte| *byte == b'\n') {
        if gathered.is_over() {
            break;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.trim_ascii().is_empty() || gathered.refuse_by_length(line.len()) {
            continue;
        }
        document.clear();
        document.set_str("@timestamp", &received);
        document.set_str("message", &String::from_utf8_lossy(line));
        for (name, value) in metadata.iter().filter(|(name, _)| name != "index") {
            add(&mut document, name_of(name), value);
        }
        gathered.push_to(&mut document, &index, None);
    }
    gathered
}

/// Answers whether the event is a text.
fn fill(document: &mut Document, sent: &Sent<'_>, received: &str) -> bool {
    document.clear();
    let event = sent.event.map_or("null", RawValue::get);
    let is_object = event.starts_with('{');
    document.set_str("@timestamp", received);
    match (is_object, event::json_text::unquoted(event)) {
        (true, _) => {
            if let Ok(object) = Document::parse(event.as_bytes()) {
                document.merge(&object, true);
            }
        }
        (false, Some(text)) => document.set_str("message", &text),
        // A number or a list is told as it was written.
        (false, None) => document.set_str("message", event),
    }
    if let Some(time) = sent.time.and_then(|time| time_of(time.get())) {
        document.set_str("@timestamp", &time.to_rfc3339());
    }
    for (name, value) in [
        ("host", &sent.host),
        ("source", &sent.source),
        ("sourcetype", &sent.sourcetype),
    ] {
        if let Some(value) = value {
            add(document, name_of(name), value);
        }
    }
    if let Some(fields) = sent.fields
        && let Ok(fields) = Document::parse(fields.get().as_bytes())
    {
        document.merge(&fields, false);
    }
    !is_object
}

/// Seconds since 1970 as a number or a text, or, as Splunk guesses, milliseconds.
fn time_of(json: &str) -> Option<Timestamp> {
    let text = json.trim_matches('"');
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    // Shorter than today's seconds: before 2001.
    if whole.len() < 10 && !whole.is_empty() && fraction.is_empty() {
        let seconds: i64 = whole.parse().ok()?;
        return seconds
            .checked_mul(1_000_000_000)
            .map(Timestamp::from_nanos);
    }
    detect::read_time(text)
}

fn name_of(name: &str) -> &str {
    match name {
        "host" => "host.name",
        name => name,
    }
}

fn add(document: &mut Document, name: &str, value: &str) {
    if document.get(name).is_none() {
        document.set_str(name, value);
    }
}
