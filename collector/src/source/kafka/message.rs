//! One message of Kafka as an event. Nothing of Kafka's library is needed here.

use std::collections::BTreeMap;
use std::sync::Arc;

use event::{Document, Event, IndexName, Timestamp};
use serde_json::Value as Json;

use crate::pipeline::Pipeline;

/// A message as a broker stores it.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// The partition of the topic.
    pub partition: i32,
    /// Its number in the partition.
    pub offset: i64,
    /// When it was made or stored, UTC, as the topic is configured.
    pub time: Option<Timestamp>,
    /// What producers choose the partition by.
    pub key: Option<&'a [u8]>,
    /// In the producer's order; names may come twice.
    pub headers: Vec<(String, Option<&'a [u8]>)>,
    /// `None` is a tombstone, which tells a compacted topic to forget the key.
    pub value: Option<&'a [u8]>,
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Made {
    /// It is stored.
    Event(Event),
    /// It is not, by our own doing.
    Dropped(&'static str),
    /// It cannot be stored.
    Rejected(&'static str),
}

/// Makes events of messages.
pub struct Maker {
    /// Where they go.
    pub index: IndexName,
    /// What they go through; one without steps for those that stay as they are.
    pub pipeline: Arc<Pipeline>,
    /// The most bytes of one event: `limits.event`.
    pub event_bytes_max: usize,
}

impl Maker {
    /// The event of a message, and whether bytes in it were no UTF-8 and are replaced.
    ///
    /// A JSON object is the document as it is; other text becomes `message`. Where the message comes from is added as
    /// `kafka.*`; names the document has already stay the producer's. Without an `@timestamp` of its own it gets the
    /// message's.
    pub fn make(&self, record: &Record<'_>, received: Timestamp) -> (Made, bool) {
        let Some(value) = record.value else {
            return (Made::Dropped("tombstone"), false);
        };
        if value.len() > self.event_bytes_max {
            return (Made::Rejected("too_large"), false);
        }
        let mut is_invalid = false;
        let mut text_of = |bytes: &[u8]| match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => {
                is_invalid = true;
                String::from_utf8_lossy(bytes).into_owned()
            }
        };
        let mut document = document_of(value).unwrap_or_else(|| {
            let mut document = Document::new();
            document.set_str("message", &text_of(value));
            document
        });
        let mut origin = Document::new();
        if document.get("@timestamp").is_none() {
            let time = record.time.unwrap_or(received);
            origin.set_str("@timestamp", &time.to_rfc3339());
        }
        origin.set_str("kafka.topic", record.topic);
        origin.set_value("kafka.partition", &record.partition);
        origin.set_value("kafka.offset", &record.offset);
        if let Some(key) = record.key {
            origin.set_str("kafka.key", &text_of(key));
        }
        if !record.headers.is_empty() {
            origin.set_value("kafka.headers", &headers_of(record, &mut text_of));
        }
        document.merge(&origin, false);
        let made = match self.pipeline.event(&mut document, &self.index, received) {
            Ok(event) if event.source.len() > self.event_bytes_max => Made::Rejected("too_large"),
            Ok(event) => Made::Event(event),
            Err(reason) => Made::Dropped(reason),
        };
        (made, is_invalid)
    }
}

fn document_of(value: &[u8]) -> Option<Document> {
    match value.trim_ascii_start().first() {
        Some(b'{') => Document::parse(value).ok(),
        _ => None,
    }
}

/// One value is a text, several are a list, none is `null`.
fn headers_of(
    record: &Record<'_>,
    text_of: &mut impl FnMut(&[u8]) -> String,
) -> serde_json::Map<String, Json> {
    let mut values: BTreeMap<&str, Vec<Json>> = BTreeMap::new();
    for (name, value) in &record.headers {
        let text = value.map_or(Json::Null, |bytes| Json::String(text_of(bytes)));
        values.entry(name).or_default().push(text);
    }
    let one_or_all = |mut values: Vec<Json>| match values.len() {
        1 => values.remove(0),
        _ => Json::Array(values),
    };
    values
        .into_iter()
        .map(|(name, values)| (name.to_owned(), one_or_all(values)))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::source::fake::fixed_now;
    use crate::source::gathered::no_steps;

    fn maker(event_bytes_max: usize) -> Maker {
        Maker {
            index: IndexName::default_index(),
            pipeline: no_steps("kafka"),
            event_bytes_max,
        }
    }

    fn record(value: Option<&[u8]>) -> Record<'_> {
        Record {
            topic: "orders",
            partition: 3,
            offset: 41,
            time: Timestamp::from_millis(1_795_428_000_123),
            key: None,
            headers: Vec::new(),
            value,
        }
    }

    fn text_of(made: (Made, bool)) -> String {
        match made.0 {
            Made::Event(event) => String::from_utf8(event.source.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_object_is_the_document_and_other_text_the_message() {
        let object = text_of(maker(1000).make(
            &record(Some(
                br#"{"@timestamp":"2026-11-23T10:00:00Z","a":1.0,"kafka.topic":"mine"}"#,
            )),
            fixed_now(),
        ));
        assert_eq!(
            object,
            r#"{"@timestamp":"2026-11-23T10:00:00Z","a":1.0,"kafka.topic":"mine","kafka.partition":3,"kafka.offset":41}"#
        );
        let mut with_all = record(Some(b"not { json"));
        with_all.key = Some(b"k");
        with_all.headers = vec![
            ("trace".to_owned(), Some(b"1")),
            ("tag".to_owned(), Some(b"a")),
            ("tag".to_owned(), None),
        ];
        assert_eq!(
            text_of(maker(1000).make(&with_all, fixed_now())),
            r#"{"message":"not { json","@timestamp":"2026-11-23T10:00:00.123Z","kafka.topic":"orders","kafka.partition":3,"kafka.offset":41,"kafka.key":"k","kafka.headers":{"tag":["a",null],"trace":"1"}}"#
        );
        for text in ["[1]", "{\"a\":", "7", ""] {
            let made = text_of(maker(1000).make(&record(Some(text.as_bytes())), fixed_now()));
            let message = Document::parse(made.as_bytes()).unwrap();
            assert_eq!(message.get_str("message").unwrap(), text);
        }
    }

    #[test]
    fn tombstones_are_dropped_and_large_messages_refused() {
        let made = maker(1000).make(&record(None), fixed_now());
        assert_eq!(made, (Made::Dropped("tombstone"), false));
        let long = "x".repeat(1001);
        let made = maker(1000).make(&record(Some(long.as_bytes())), fixed_now());
        assert_eq!(made.0, Made::Rejected("too_large"));
        // Small itself, but not with all its headers.
        let mut small = record(Some(b"x"));
        small.headers = vec![("h".to_owned(), Some(long.as_bytes()))];
        let made = maker(1000).make(&small, fixed_now());
        assert_eq!(made.0, Made::Rejected("too_large"));
    }

    proptest! {
        /// Whatever a producer sends becomes one JSON object that says where it comes from.
        #[test]
        fn any_message_becomes_an_event(
            value in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..60),
                "\\{(\"[a-z@.]{0,3}\":[0-9\"{}\\[\\],a-z]{0,6},?){0,4}\\}?".prop_map(String::into_bytes),
            ],
            key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..8)),
            headers in proptest::collection::vec((".{0,4}", proptest::option::of(proptest::collection::vec(any::<u8>(), 0..8))), 0..4),
            millis in proptest::option::of(any::<i64>()),
        ) {
            let mut record = record(Some(&value));
            record.key = key.as_deref();
            record.headers = headers.iter().map(|(name, value)| (name.clone(), value.as_deref())).collect();
            record.time = millis.and_then(Timestamp::from_millis);
            let (made, is_invalid) = maker(1 << 20).make(&record, fixed_now());
            let Made::Event(event) = made else { panic!("{made:?}") };
            let document = Document::parse(&event.source).unwrap();
            prop_assert!(document.get("kafka.offset").is_some());
            prop_assert!(document.get("@timestamp").is_some());
            if !is_invalid && document.get("message").is_some() && document_of(&value).is_none() {
                let message = document.get_str("message").unwrap();
                prop_assert_eq!(message.as_bytes(), &value[..]);
            }
        }
    }
}
