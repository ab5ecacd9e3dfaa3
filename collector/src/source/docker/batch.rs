//! Lines of containers into a batch: each becomes the text of one JSON object.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use event::{Batch, Document, Event, IndexName, Timestamp};

use super::container::Container;
use super::joiner::PlacedLine;
use crate::pipeline::Pipeline;
use crate::source::delivery::CountedBatch;
use crate::source::file::batch::push_escaped;

/// What every event of a source has in common.
pub struct Stamp {
    /// The source's name.
    pub source: Arc<str>,
    /// Where its events go.
    pub index: IndexName,
    /// The steps, when there are any.
    pub pipeline: Option<Arc<Pipeline>>,
    /// What is counted on the way.
    pub counts: Arc<DockerCounts>,
}

/// What the source sees besides events.
#[derive(Debug, Default)]
pub struct DockerCounts {
    /// Containers whose log is being read.
    pub containers: AtomicU64,
    /// How often the engine was found again after it was away.
    pub reconnects: AtomicU64,
    /// Lines longer than allowed, stored cut.
    pub cut_lines: AtomicU64,
    /// Lines that were no UTF-8 and stored with replacement characters.
    pub invalid_utf8_lines: AtomicU64,
    /// Times the engine could not read a log of its own.
    pub log_errors: AtomicU64,
}

/// Makes events of lines; the batch has no checkpoint yet.
pub fn batch<'a>(
    stamp: &Stamp,
    lines: impl Iterator<Item = (&'a Container, &'a PlacedLine)>,
    received: Timestamp,
) -> CountedBatch {
    let (mut sources, mut ends, mut events, mut dropped) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut count, mut raw_bytes) = (0, 0);
    for (container, placed) in lines {
        let line = &placed.line;
        count += 1;
        raw_bytes += line.raw_bytes as u64;
        let text = String::from_utf8_lossy(&line.text);
        if matches!(text, Cow::Owned(_)) {
            stamp
                .counts
                .invalid_utf8_lines
                .fetch_add(1, Ordering::Relaxed);
        }
        if line.is_cut {
            stamp.counts.cut_lines.fetch_add(1, Ordering::Relaxed);
        }
        let time = line.time.unwrap_or(received);
        let fields = Fields {
            text: &text,
            time,
            placed,
            container,
        };
        match &stamp.pipeline {
            None => {
                fields.write(&mut sources);
                ends.push((time, sources.len()));
            }
            Some(pipeline) => {
                match pipeline.event(&mut fields.document(), &stamp.index, received) {
                    Ok(event) => events.push(event),
                    Err(reason) => dropped.push(reason),
                }
            }
        }
    }
    let sources = Bytes::from(sources);
    let mut start = 0;
    for (time, end) in ends {
        events.push(Event::create(
            stamp.index.clone(),
            time,
            sources.slice(start..end),
        ));
        start = end;
    }
    CountedBatch {
        batch: Batch::new(Arc::clone(&stamp.source), received, events),
        received: count,
        received_bytes: raw_bytes,
        dropped,
    }
}

/// One line on its way to a document. Both ways give the same fields in the same order.
struct Fields<'a> {
    text: &'a str,
    time: Timestamp,
    placed: &'a PlacedLine,
    container: &'a Container,
}

impl Fields<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"@timestamp\":\"");
        out.extend_from_slice(self.time.to_rfc3339().as_bytes());
        out.extend_from_slice(b"\",\"message\":\"");
        push_escaped(out, self.text);
        out.extend_from_slice(b"\",\"stream\":\"");
        out.extend_from_slice(self.placed.line.channel.name().as_bytes());
        out.push(b'"');
        if self.placed.line.is_cut {
            out.extend_from_slice(b",\"event.truncated\":true");
        }
        out.extend_from_slice(&self.container.fields_json);
        out.push(b'}');
    }

    fn document(&self) -> Document {
        let mut document = Document::new();
        document.set_str("@timestamp", &self.time.to_rfc3339());
        document.set_str("message", &self.text.replace("\r\n", "\n"));
        document.set_str("stream", self.placed.line.channel.name());
        if self.placed.line.is_cut {
            document.set_value("event.truncated", &true);
        }
        document.merge(&self.container.fields, false);
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::docker::cursor::Channel;
    use crate::source::docker::engine::Inspected;
    use crate::source::docker::frames::Line;

    #[test]
    fn a_line_becomes_the_same_document_with_and_without_a_pipeline() {
        let inspected: Inspected =
            serde_json::from_str(r#"{"Name":"/web","Config":{"Image":"shop"}}"#).unwrap();
        let container = Container::new("f00d", &inspected, None);
        let time = Timestamp::from_nanos(1_795_428_000_000_000_001);
        let placed = PlacedLine {
            line: Line {
                channel: Channel::Stderr,
                time: Some(time),
                text: b"say \"hi\"\xff\r\nb".to_vec(),
                is_cut: true,
                raw_bytes: 20,
            },
            mark: None,
        };
        let undated = PlacedLine {
            line: Line {
                time: None,
                is_cut: false,
                ..placed.line.clone()
            },
            mark: None,
        };
        let mut seen = Vec::new();
        for steps in [None, Some(r#"{"steps":[{"grok":{"pattern":"."}}]}"#)] {
            let pipeline = steps.map(|steps| {
                let settings = serde_json::from_str(steps).unwrap();
                Arc::new(Pipeline::compile("p", &settings).unwrap())
            });
            let stamp = Stamp {
                source: Arc::from("docker"),
                index: IndexName::default_index(),
                pipeline,
                counts: Arc::default(),
            };
            let lines = [(&container, &placed), (&container, &undated)];
            let counted = batch(&stamp, lines.into_iter(), Timestamp::from_nanos(0));
            assert_eq!((counted.received, counted.received_bytes), (2, 40));
            assert_eq!(stamp.counts.invalid_utf8_lines.load(Ordering::Relaxed), 2);
            assert_eq!(counted.batch.events[0].timestamp, time);
            assert_eq!(counted.batch.events[1].timestamp.nanos(), 0);
            let text = |event: &Event| String::from_utf8(event.source.to_vec()).unwrap();
            seen.push(text(&counted.batch.events[0]));
        }
        assert_eq!(
            seen[0],
            "{\"@timestamp\":\"2026-11-23T10:00:00.000000001Z\",\"message\":\"say \\\"hi\\\"\u{FFFD}\\nb\",\"stream\":\"stderr\",\"event.truncated\":true,\"container.id\":\"f00d\",\"container.name\":\"web\",\"container.image.name\":\"shop\"}"
        );
        assert_eq!(seen[0], seen[1]);
    }
}
