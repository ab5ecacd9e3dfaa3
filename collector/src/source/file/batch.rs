//! Lines into a batch: each becomes the text of one JSON object.
//!
//! Without a pipeline the text is written straight into one buffer that all events of the batch share.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use event::{Batch, Document, Event, IndexName, Timestamp};

use super::tailer::{FileCounts, Line};
use crate::pipeline::Pipeline;
use crate::source::delivery::CountedBatch;

/// What every event of a source has in common.
pub struct Stamp {
    /// The source's name.
    pub source: Arc<str>,
    /// Where its events go.
    pub index: IndexName,
    /// `host.name`, when it is known.
    pub host_name: Option<String>,
    /// The steps, when there are any.
    pub pipeline: Option<Arc<Pipeline>>,
    /// Where lines that are no UTF-8 are counted.
    pub counts: Arc<FileCounts>,
}

/// Collects the lines of one batch.
pub struct BatchBuilder<'a> {
    stamp: &'a Stamp,
    received: Timestamp,
    received_text: String,
    /// One for all lines, so that its memory is used again.
    document: Document,
    /// `{"@timestamp":"...","message":"`, the same for every line of the batch.
    opening: Vec<u8>,
    /// `","host.name":"..."}`, or less.
    closing: Vec<u8>,
    sources: Vec<u8>,
    /// Where each line's text ends in `sources`.
    ends: Vec<usize>,
    /// Events that went through a pipeline.
    events: Vec<Event>,
    lines: u64,
    raw_bytes: u64,
    dropped: Vec<&'static str>,
}

impl<'a> BatchBuilder<'a> {
    /// An empty batch; `received` is the time of every line that brings none of its own.
    pub fn new(stamp: &'a Stamp, received: Timestamp) -> BatchBuilder<'a> {
        let mut closing = Vec::new();
        if let Some(host_name) = &stamp.host_name {
            closing.extend_from_slice(b",\"host.name\":\"");
            push_escaped(&mut closing, host_name);
            closing.push(b'"');
        }
        closing.push(b'}');
        BatchBuilder {
            stamp,
            received,
            received_text: received.to_rfc3339(),
            document: Document::new(),
            opening: format!(
                "{{\"@timestamp\":\"{}\",\"message\":\"",
                received.to_rfc3339()
            )
            .into_bytes(),
            closing,
            sources: Vec::new(),
            ends: Vec::new(),
            events: Vec::new(),
            lines: 0,
            raw_bytes: 0,
            dropped: Vec::new(),
        }
    }

    /// Adds a line.
    pub fn push(&mut self, line: Line<'_>) {
        self.lines += 1;
        self.raw_bytes += line.raw_bytes as u64;
        match &self.stamp.pipeline {
            Some(pipeline) => self.push_through(pipeline, line),
            None => self.push_plain(line),
        }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.lines == 0
    }

    /// Whether there is something to append; not so when a pipeline dropped every line.
    pub fn has_events(&self) -> bool {
        !self.ends.is_empty() || !self.events.is_empty()
    }

    /// The batch, with how far the files have been read.
    pub fn finish(self, checkpoint: Option<Bytes>) -> CountedBatch {
        let mut events = self.events;
        events.reserve_exact(self.ends.len());
        let sources = Bytes::from(self.sources);
        let mut start = 0;
        for end in self.ends {
            let source = sources.slice(start..end);
            events.push(Event::create(
                self.stamp.index.clone(),
                self.received,
                source,
            ));
            start = end;
        }
        CountedBatch {
            batch: Batch {
                source: Arc::clone(&self.stamp.source),
                received: self.received,
                events,
                checkpoint,
            },
            received: self.lines,
            received_bytes: self.raw_bytes,
            dropped: self.dropped,
        }
    }

    fn push_plain(&mut self, line: Line<'_>) {
        let out = &mut self.sources;
        out.extend_from_slice(&self.opening);
        match std::str::from_utf8(line.text) {
            Ok(text) => push_escaped(out, text),
            Err(_) => {
                self.stamp
                    .counts
                    .invalid_utf8_lines
                    .fetch_add(1, Ordering::Relaxed);
                push_escaped(out, &String::from_utf8_lossy(line.text));
            }
        }
        out.extend_from_slice(b"\",\"log.file.path\":\"");
        push_escaped(out, &line.path.to_string_lossy());
        out.extend_from_slice(b"\",\"log.offset\":");
        push_number(out, line.offset);
        if line.is_cut {
            out.extend_from_slice(b",\"event.truncated\":true");
        }
        out.extend_from_slice(&self.closing);
        self.ends.push(out.len());
    }

    fn push_through(&mut self, pipeline: &Pipeline, line: Line<'_>) {
        let mut document = std::mem::take(&mut self.document);
        self.fill(&mut document, line);
        match pipeline.event(&mut document, &self.stamp.index, self.received) {
            Ok(event) => self.events.push(event),
            Err(reason) => self.dropped.push(reason),
        }
        self.document = document;
    }

    fn fill(&self, document: &mut Document, line: Line<'_>) {
        document.clear();
        let text = String::from_utf8_lossy(line.text);
        if matches!(text, std::borrow::Cow::Owned(_)) {
            self.stamp
                .counts
                .invalid_utf8_lines
                .fetch_add(1, Ordering::Relaxed);
        }
        document.set_str("@timestamp", &self.received_text);
        match text.contains("\r\n") {
            true => document.set_str("message", &text.replace("\r\n", "\n")),
            false => document.set_str("message", &text),
        }
        document.set_str("log.file.path", &path_text(line.path));
        document.set_value("log.offset", &line.offset);
        if line.is_cut {
            document.set_value("event.truncated", &true);
        }
        if let Some(host_name) = &self.stamp.host_name {
            document.set_str("host.name", host_name);
        }
    }
}

fn path_text(path: &Path) -> std::borrow::Cow<'_, str> {
    path.to_string_lossy()
}

/// Writes a text as the inside of a JSON string, `\r\n` as `\n`.
pub(in crate::source) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut plain_from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if !NEEDS_ESCAPE[usize::from(*byte)] {
            continue;
        }
        out.extend_from_slice(&bytes[plain_from..at]);
        plain_from = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\r' if bytes.get(at + 1) == Some(&b'\n') => {}
            b'\r' => out.extend_from_slice(b"\\r"),
            control => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(control >> 4)]);
                out.push(HEX[usize::from(control & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[plain_from..]);
}

const NEEDS_ESCAPE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

fn push_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Settings;
    use proptest::prelude::*;

    fn stamp(steps: Option<&str>) -> Stamp {
        let pipeline = steps.map(|steps| {
            let settings: Settings = serde_json::from_str(steps).unwrap();
            Arc::new(Pipeline::compile("p", &settings).unwrap())
        });
        Stamp {
            source: Arc::from("files"),
            index: IndexName::default_index(),
            host_name: Some("web-1".to_owned()),
            pipeline,
            counts: Arc::default(),
        }
    }

    fn line(text: &[u8]) -> Line<'_> {
        Line {
            text,
            path: Path::new("/var/log/a \"b\".log"),
            offset: 1234,
            raw_bytes: text.len() + 1,
            is_cut: false,
        }
    }

    fn sources(stamp: &Stamp, lines: &[Line<'_>]) -> Vec<String> {
        let received = Timestamp::parse_iso("2026-11-23T10:00:00Z").unwrap();
        let mut builder = BatchBuilder::new(stamp, received);
        lines.iter().for_each(|line| builder.push(*line));
        let batch = builder.finish(None).batch;
        let text = |event: &Event| String::from_utf8(event.source.to_vec()).unwrap();
        batch.events.iter().map(text).collect()
    }

    #[test]
    fn a_line_becomes_a_document() {
        let cut = Line {
            is_cut: true,
            ..line(b"a\r\nb")
        };
        assert_eq!(
            sources(&stamp(None), &[line(b"say \"hi\"\t\x00\xff"), cut]),
            [
                r#"{"@timestamp":"2026-11-23T10:00:00.000Z","message":"say \"hi\"\t\u0000�","log.file.path":"/var/log/a \"b\".log","log.offset":1234,"host.name":"web-1"}"#,
                r#"{"@timestamp":"2026-11-23T10:00:00.000Z","message":"a\nb","log.file.path":"/var/log/a \"b\".log","log.offset":1234,"event.truncated":true,"host.name":"web-1"}"#,
            ]
        );
    }

    #[test]
    fn invalid_bytes_are_counted() {
        let stamp = stamp(None);
        sources(&stamp, &[line(b"\xc3"), line("é".as_bytes())]);
        assert_eq!(stamp.counts.invalid_utf8_lines.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_pipeline_sees_the_same_fields() {
        let stamp = stamp(Some(r#"{"steps":[{"json":{"remove":true}}]}"#));
        assert_eq!(
            sources(&stamp, &[line(br#"{"n":1.50}"#)]),
            [
                r#"{"@timestamp":"2026-11-23T10:00:00.000Z","log.file.path":"/var/log/a \"b\".log","log.offset":1234,"host.name":"web-1","n":1.50}"#
            ]
        );
    }

    proptest! {
        /// Both ways write the same JSON, and it reads back as the text.
        #[test]
        fn any_line_is_valid_json(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let plain = sources(&stamp(None), &[line(&bytes)]).remove(0);
            let through = sources(&stamp(Some("{}")), &[line(&bytes)]).remove(0);
            let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            prop_assert_eq!(read(&plain), read(&through));
            let expected = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
            let read_back = read(&plain);
            prop_assert_eq!(read_back["message"].as_str().unwrap(), expected);
        }
    }
}
