//! Lines into a batch: each becomes the text of one JSON object.
//!
//! Without a pipeline the text is written straight into one buffer that all events of the batch share.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use event::{Batch, Document, Event, IndexName, Timestamp};

use super::framing::Format;
use super::tailer::{FileCounts, Line};
use crate::pipeline::Pipeline;
use crate::source::delivery::CountedBatch;
use crate::source::journald::entry;
use crate::source::journald::export::{Decoder, Entry, ExportError};

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
    /// What its files consist of.
    pub format: Format,
    /// Longer values of a journal's entry are cut. Bytes.
    pub value_bytes_max: usize,
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
    rows: Vec<Row>,
    lines: u64,
    raw_bytes: u64,
    dropped: Vec<&'static str>,
}

/// One event whose text is in the buffer.
struct Row {
    /// Where its text ends.
    end: usize,
    /// Where it goes and when it was, unless it is as with all others.
    target: Option<(IndexName, Timestamp)>,
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
            rows: Vec::new(),
            lines: 0,
            raw_bytes: 0,
            dropped: Vec::new(),
        }
    }

    /// Adds a line.
    pub fn push(&mut self, line: Line<'_>) {
        self.lines += 1;
        self.raw_bytes += line.raw_bytes as u64;
        match (self.stamp.format, &self.stamp.pipeline) {
            (Format::JournaldExport, _) => self.push_entry(line),
            (Format::Lines, Some(pipeline)) => {
                let mut document = std::mem::take(&mut self.document);
                self.fill(&mut document, line);
                self.push_through(pipeline, &mut document);
                self.document = document;
            }
            (Format::Lines, None) => self.push_plain(line),
        }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.lines == 0
    }

    /// Whether there is something to append; not so when a pipeline dropped every line.
    pub fn has_events(&self) -> bool {
        !self.rows.is_empty()
    }

    /// The batch, with how far the files have been read.
    pub fn finish(self, checkpoint: Option<Bytes>) -> CountedBatch {
        let sources = Bytes::from(self.sources);
        let mut events = Vec::with_capacity(self.rows.len());
        let mut start = 0;
        for row in self.rows {
            let source = sources.slice(start..row.end);
            let (index, timestamp) = row
                .target
                .unwrap_or_else(|| (self.stamp.index.clone(), self.received));
            events.push(Event::create(index, timestamp, source));
            start = row.end;
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
        let text = self.text_of(line.text);
        let out = &mut self.sources;
        out.extend_from_slice(&self.opening);
        push_escaped(out, &text);
        out.extend_from_slice(b"\",\"log.file.path\":\"");
        push_escaped(out, &line.path.to_string_lossy());
        out.extend_from_slice(b"\",\"log.offset\":");
        push_number(out, line.offset);
        if line.is_cut {
            out.extend_from_slice(b",\"event.truncated\":true");
        }
        out.extend_from_slice(&self.closing);
        let end = out.len();
        self.rows.push(Row { end, target: None });
    }

    fn push_through(&mut self, pipeline: &Pipeline, document: &mut Document) {
        let (index, received) = (&self.stamp.index, self.received);
        match pipeline.write(document, index, received, &mut self.sources) {
            Ok(target) => self.rows.push(Row {
                end: self.sources.len(),
                target: Some(target),
            }),
            Err(reason) => self.dropped.push(reason),
        }
    }

    fn fill(&self, document: &mut Document, line: Line<'_>) {
        document.clear();
        document.set_str("@timestamp", &self.received_text);
        let text = self.text_of(line.text);
        let has_return = memchr::memchr(b'\r', text.as_bytes()).is_some();
        match has_return && text.contains("\r\n") {
            true => document.set_str("message", &text.replace("\r\n", "\n")),
            false => document.set_str("message", &text),
        }
        set_place(document, line);
        if let Some(host_name) = &self.stamp.host_name {
            document.set_str("host.name", host_name);
        }
    }

    /// An entry of systemd's journal; what is none is kept as it came.
    fn push_entry(&mut self, line: Line<'_>) {
        let (mut document, time) = match self.read_entry(line) {
            Ok(Some(entry)) => {
                let (document, is_invalid) = entry::document_of(&entry, self.received);
                self.stamp
                    .counts
                    .invalid_utf8_lines
                    .fetch_add(u64::from(is_invalid), Ordering::Relaxed);
                (document, entry::time_of(&entry))
            }
            Ok(None) => (self.unread_entry(line, "an entry without fields"), None),
            Err(error) => (self.unread_entry(line, &error.to_string()), None),
        };
        set_place(&mut document, line);
        if let Some(pipeline) = &self.stamp.pipeline {
            self.push_through(pipeline, &mut document);
            return;
        }
        document.write_to(&mut self.sources);
        self.rows.push(Row {
            end: self.sources.len(),
            target: Some((self.stamp.index.clone(), time.unwrap_or(self.received))),
        });
    }

    fn read_entry(&self, line: Line<'_>) -> Result<Option<Entry>, ExportError> {
        let (mut decoder, mut entries) = (Decoder::new(self.stamp.value_bytes_max), Vec::new());
        decoder.push(line.text, &mut entries)?;
        // Its blank line is not of the text, and where it was cut there is none.
        Ok(entries.pop().or_else(|| decoder.finish()))
    }

    fn unread_entry(&self, line: Line<'_>, problem: &str) -> Document {
        let mut document = Document::new();
        document.set_str("@timestamp", &self.received_text);
        let kept = line.text.len().min(self.stamp.value_bytes_max);
        document.set_str("message", &self.text_of(&line.text[..kept]));
        if kept < line.text.len() {
            document.set_value("event.truncated", &true);
        }
        document.set_str("error.type", "journald_export_malformed");
        document.set_str("error.message", problem);
        document
    }

    /// The bytes as text; what is none is replaced and counted.
    fn text_of<'t>(&self, bytes: &'t [u8]) -> Cow<'t, str> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => {
                self.stamp
                    .counts
                    .invalid_utf8_lines
                    .fetch_add(1, Ordering::Relaxed);
                String::from_utf8_lossy(bytes)
            }
        }
    }
}

/// Says where in which file it stands, and whether it was cut.
fn set_place(document: &mut Document, line: Line<'_>) {
    document.set_str("log.file.path", &path_text(line.path));
    let mut digits = [0; 20];
    let digits = digits_of(line.offset, &mut digits);
    document.set_number("log.offset", std::str::from_utf8(digits).unwrap_or("0"));
    if line.is_cut {
        document.set_value("event.truncated", &true);
    }
}

fn path_text(path: &Path) -> Cow<'_, str> {
    path.to_string_lossy()
}

/// Writes a text as the inside of a JSON string, `\r\n` as `\n`.
pub(in crate::source) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    loop {
        let plain = event::json_text::plain_length(rest);
        out.extend_from_slice(&rest[..plain]);
        let Some(byte) = rest.get(plain) else {
            return;
        };
        rest = &rest[plain + 1..];
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\r' if rest.first() == Some(&b'\n') => {}
            b'\r' => out.extend_from_slice(b"\\r"),
            control => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(control >> 4)]);
                out.push(HEX[usize::from(control & 15)]);
            }
        }
    }
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(digits_of(number, &mut [0; 20]));
}

fn digits_of(mut number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    &digits[at..]
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
            format: Format::Lines,
            value_bytes_max: 1 << 20,
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

    #[test]
    fn an_entry_of_the_journal_becomes_what_the_journals_source_makes_of_it() {
        let stamp = Stamp {
            format: Format::JournaldExport,
            value_bytes_max: 20,
            host_name: None,
            ..stamp(None)
        };
        let whole = line(b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=1795428000123456\n_HOSTNAME=db-1\nPRIORITY=3\nMESSAGE=it broke\n");
        let cut = Line {
            is_cut: true,
            ..line(b"__CURSOR=s=2\nMESSAGE\n\x40\0\0\0\0\0\0\0abcdefghijk")
        };
        let malformed = line(b"__CURSOR=s=3\nno field");
        let place = r#""log.file.path":"/var/log/a \"b\".log","log.offset":1234"#;
        assert_eq!(
            sources(&stamp, &[whole, cut, malformed]),
            [
                format!(
                    r#"{{"@timestamp":"2026-11-23T10:00:00.123456Z","message":"it broke","log.level":"error","host.name":"db-1","log.syslog.severity.code":3,{place}}}"#
                ),
                format!(
                    r#"{{"@timestamp":"2026-11-23T10:00:00.000Z","message":"abcdefghijk","event.truncated":true,{place}}}"#
                ),
                format!(
                    r#"{{"@timestamp":"2026-11-23T10:00:00.000Z","message":"__CURSOR=s=3\nno fiel","event.truncated":true,"error.type":"journald_export_malformed","error.message":"no field name: \"no field\"",{place}}}"#
                ),
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
