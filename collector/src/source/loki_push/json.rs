//! `{"streams":[{"stream":{"k":"v"},"values":[["<ns>","line",{"trace_id":"x"}]]}]}`.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use event::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::entry::{Entry, Reader, Unreadable};
use super::labels::Labels;

/// The most streams of a request, and values of a stream.
const LIST_LEN_MAX: usize = 1 << 20;

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow, default, deserialize_with = "bounded")]
    streams: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Stream<'a> {
    #[serde(borrow, default)]
    stream: Option<&'a RawValue>,
    /// Before Loki 1.0: the text form.
    #[serde(default)]
    labels: Option<String>,
    #[serde(borrow, default, deserialize_with = "bounded")]
    values: Vec<&'a RawValue>,
    /// Before Loki 1.0.
    #[serde(borrow, default, deserialize_with = "bounded")]
    entries: Vec<&'a RawValue>,
}

/// Before Loki 1.0.
#[derive(Deserialize)]
struct OldEntry {
    ts: String,
    line: String,
}

/// Reads all entries of a request.
///
/// # Errors
/// The request is no JSON, or a stream has another shape. What is wrong with one entry is refused for itself.
pub fn read(body: &[u8], reader: &mut Reader) -> Result<(), Unreadable> {
    let malformed =
        |error: serde_json::Error| Unreadable::Malformed(format!("not valid JSON: {error}"));
    let request: Request<'_> = serde_json::from_slice(body).map_err(malformed)?;
    for raw in request.streams {
        reader.begin_stream();
        let stream: Stream<'_> = serde_json::from_str(raw.get()).map_err(malformed)?;
        let labels_bytes = stream.stream.map_or(0, |labels| labels.get().len());
        if reader.refuse_by_length(labels_bytes) {
            continue;
        }
        let labels = labels_of(&stream);
        for value in &stream.values {
            if reader.is_over() {
                return Ok(());
            }
            if !reader.refuse_by_length(value.get().len()) {
                add(&labels, entry(value), reader);
            }
        }
        for old in &stream.entries {
            if reader.is_over() {
                return Ok(());
            }
            if !reader.refuse_by_length(old.get().len()) {
                add(&labels, old_entry(old), reader);
            }
        }
    }
    Ok(())
}

/// A list with so many places at most: each costs eight times what the shortest value takes in the request.
fn bounded<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<&'a RawValue>, D::Error> {
    deserializer.deserialize_seq(Bounded(PhantomData))
}

struct Bounded<'a>(PhantomData<&'a RawValue>);

impl<'de: 'a, 'a> Visitor<'de> for Bounded<'a> {
    type Value = Vec<&'a RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element()? {
            if values.len() == LIST_LEN_MAX {
                let problem = format!("a list of more than {LIST_LEN_MAX}, send smaller batches");
                return Err(A::Error::custom(problem));
            }
            values.push(value);
        }
        Ok(values)
    }
}

fn add(labels: &Result<Labels, String>, entry: Result<Entry<'_>, String>, reader: &mut Reader) {
    match (labels, entry) {
        (Ok(labels), Ok(entry)) => reader.add(labels, &entry),
        (Err(problem), _) => reader.refuse("bad_labels", problem.clone()),
        (_, Err(problem)) => reader.refuse("malformed", problem),
    }
}

fn labels_of(stream: &Stream<'_>) -> Result<Labels, String> {
    match (&stream.stream, &stream.labels) {
        (Some(object), _) => {
            Ok(Labels::of(pairs(object).map_err(|error| {
                format!("error parsing labels: {error}")
            })?))
        }
        (None, Some(text)) => Labels::parse(text),
        (None, None) => Ok(Labels::default()),
    }
}

/// An object of strings.
fn pairs(object: &RawValue) -> Result<Vec<(String, String)>, serde_json::Error> {
    let map: serde_json::Map<String, serde_json::Value> = serde_json::from_str(object.get())?;
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(map
        .into_iter()
        .map(|(name, value)| (name, text(value)))
        .collect())
}

fn entry(value: &RawValue) -> Result<Entry<'_>, String> {
    let parts: Vec<&RawValue> = serde_json::from_str(value.get())
        .map_err(|error| format!("a value is no list: {error}"))?;
    let [time, line, rest @ ..] = parts.as_slice() else {
        return Err("a value needs a time and a line".to_owned());
    };
    let time: String = serde_json::from_str(time.get())
        .map_err(|_| format!("the time {} is no string of nanoseconds", short(time.get())))?;
    let nanos: i64 = time
        .parse()
        .map_err(|_| format!("the time {} is no number of nanoseconds", short(&time)))?;
    let line: String = serde_json::from_str(line.get())
        .map_err(|_| format!("the line {} is no string", short(line.get())))?;
    let metadata = match rest.first() {
        None => Vec::new(),
        Some(object) => pairs(object).map_err(|error| format!("structured metadata: {error}"))?,
    };
    Ok(Entry {
        timestamp: Timestamp::from_nanos(nanos),
        line: Cow::Owned(line),
        metadata: metadata
            .into_iter()
            .map(|(name, value)| (Cow::Owned(name), Cow::Owned(value)))
            .collect(),
    })
}

fn old_entry(value: &RawValue) -> Result<Entry<'_>, String> {
    let old: OldEntry = serde_json::from_str(value.get()).map_err(|error| error.to_string())?;
    let timestamp = Timestamp::parse_iso(&old.ts).map_err(|error| error.to_string())?;
    Ok(Entry {
        timestamp,
        line: Cow::Owned(old.line),
        metadata: Vec::new(),
    })
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}
