//! A request's body into events.

use std::fmt;

use event::{Document, Timestamp};
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::gathered::{Gathered, Terms};
use crate::transform::detect;

/// What a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines of text, each the message of an event.
    Lines,
    /// JSON objects, one after the other, usually one per line.
    Objects,
    /// A JSON array of objects.
    Array,
}

impl Format {
    /// By `Content-Type`, and by how the body begins: what is called JSON may be an array or objects, and nobody tells
    /// curl what it sends.
    pub fn of(content_type: Option<&str>, body: &[u8]) -> Format {
        let media_type = content_type
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default();
        let is_text = media_type.trim().eq_ignore_ascii_case("text/plain");
        match (is_text, body.trim_ascii_start().first()) {
            (false, Some(b'[')) => Format::Array,
            (false, Some(b'{')) => Format::Objects,
            (false, _) if media_type.to_ascii_lowercase().contains("json") => Format::Objects,
            _ => Format::Lines,
        }
    }
}

/// Reads all events of a body. What is wrong is refused for itself.
pub fn read(format: Format, body: &[u8], time_field: &str, terms: Terms) -> Gathered {
    let mut reader = Reader {
        gathered: Gathered::new(terms),
        time_field,
        document: Document::new(),
    };
    match format {
        Format::Lines => reader.lines(body),
        Format::Objects => reader.objects(body),
        Format::Array => reader.array(body),
    }
    reader.gathered
}

struct Reader<'a> {
    gathered: Gathered,
    time_field: &'a str,
    document: Document,
}

impl Reader<'_> {
    fn lines(&mut self, body: &[u8]) {
        let received = self.gathered.terms().received.to_rfc3339();
        for line in body.split(|byte| *byte == b'\n') {
            if self.gathered.is_over() {
                return;
            }
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.trim_ascii().is_empty() || self.gathered.refuse_by_length(line.len()) {
                continue;
            }
            self.document.clear();
            self.document.set_str("@timestamp", &received);
            self.document
                .set_str("message", &String::from_utf8_lossy(line));
            self.gathered.push(&mut self.document);
        }
    }

    /// One per line. An object over several lines is taken, too, when the body is not one object per line.
    fn objects(&mut self, body: &[u8]) {
        let is_one = serde_json::from_slice::<&RawValue>(body).is_ok();
        if is_one {
            return self.object(body, "the body");
        }
        for (at, line) in body.split(|byte| *byte == b'\n').enumerate() {
            if self.gathered.is_over() {
                return;
            }
            if !line.trim_ascii().is_empty() {
                self.object(line, &format!("line {}", at + 1));
            }
        }
    }

    fn array(&mut self, body: &[u8]) {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let read = deserializer.deserialize_seq(Elements(self));
        let read = read.and_then(|()| deserializer.end());
        // A request with too many events is refused for that.
        if let Err(error) = read
            && !self.gathered.is_over()
        {
            // The elements in front of the mistake are taken; behind it nobody knows where the next one begins.
            self.gathered
                .refuse("malformed", format!("the array: {error}"));
        }
    }

    fn object(&mut self, json: &[u8], place: &str) {
        if self.gathered.refuse_by_length(json.len()) {
            return;
        }
        match Document::parse(json) {
            Ok(document) => {
                self.document = document;
                self.set_time();
                self.gathered.push(&mut self.document);
            }
            Err(error) => self
                .gathered
                .refuse("malformed", format!("{place}: {error}")),
        }
    }

    /// Moves the time of an object that keeps it elsewhere; one that cannot be read leaves the arrival.
    fn set_time(&mut self) {
        if self.time_field == "@timestamp" {
            return;
        }
        let read = |json: &str| {
            let text = json.trim_matches('"');
            detect::read_time(text).or_else(|| Timestamp::parse_iso(text).ok())
        };
        if let Some(time) = self.document.get(self.time_field).and_then(read) {
            self.document.set_str("@timestamp", &time.to_rfc3339());
        }
    }
}

struct Elements<'r, 'a>(&'r mut Reader<'a>);

impl<'de> Visitor<'de> for Elements<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let mut number = 0;
        while !self.0.gathered.is_over()
            && let Some(element) = elements.next_element::<&RawValue>()?
        {
            number += 1;
            self.0
                .object(element.get().as_bytes(), &format!("element {number}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use event::IndexName;
    use proptest::prelude::*;

    use super::super::super::gathered::no_steps;
    use super::*;

    fn terms() -> Terms {
        Terms {
            index: IndexName::default_index(),
            received: Timestamp::from_nanos(1_795_428_000_000_000_000),
            event_bytes_max: 1 << 20,
            pipeline: Arc::clone(&no_steps("http")),
        }
    }

    #[test]
    fn the_body_tells_what_it_is() {
        for (content_type, body, expected) in [
            (None, "x", Format::Lines),
            (None, " {", Format::Objects),
            (
                Some("application/x-www-form-urlencoded"),
                "[1]",
                Format::Array,
            ),
            (Some("text/plain; charset=utf-8"), "{}", Format::Lines),
            (Some("application/json"), "", Format::Objects),
        ] {
            assert_eq!(
                Format::of(content_type, body.as_bytes()),
                expected,
                "{content_type:?} {body}"
            );
        }
    }

    #[test]
    fn an_array_is_taken_up_to_its_mistake() {
        let gathered = read(
            Format::Array,
            br#"[{"a":1},{"b":2},{"c"]"#,
            "@timestamp",
            terms(),
        );
        assert_eq!((gathered.events.len(), gathered.refused_count()), (2, 1));
        let one = read(Format::Objects, b"{\n \"a\": 1\n}", "@timestamp", terms());
        assert_eq!(one.events.len(), 1);
    }

    proptest! {
        #[test]
        fn any_body_is_taken_or_refused(body in "[\\[\\]{}a:1,\"\\n ]{0,40}") {
            for format in [Format::Lines, Format::Objects, Format::Array] {
                let gathered = read(format, body.as_bytes(), "a", terms());
                prop_assert_eq!(gathered.received, gathered.events.len() as u64 + gathered.refused_count());
            }
        }
    }
}
