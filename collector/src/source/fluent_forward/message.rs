//! One message of Fluentd's forward protocol into events.
//!
//! ```text
//! [tag, time, record, option?]                 message
//! [tag, [[time, record], ...], option?]        forward
//! [tag, bytes of [time, record]..., option?]   packed forward; option.compressed: gzip
//! ```

use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use event::{Document, Event, IndexName, Timestamp};
use memchr::memmem;

use super::msgpack::{Head, MsgpackError, Reader};
use crate::body::{Encoding, Inflation, inflate_within};
use crate::flat_json::{push_field, push_sent_field, push_string};
use crate::level;
use crate::listener::conversation::{INFLATED_BYTES_MAX, PART_BYTES};
use crate::listener::reception::Written;
use crate::pipeline::Pipeline;

/// What a refused entry counts in a part: more than its place in the list of refusals, which grows by doubling.
const REFUSAL_BYTES: usize = 4 * size_of::<&str>();

/// The option that says how entries are compressed.
const COMPRESSED: &str = "compressed";

/// Fields that are `message` when a record has none of that name, in this order.
const MESSAGE_KEYS: [&str; 3] = ["message", "log", "msg"];

/// Fields in which loggers write their level.
const LEVEL_KEYS: [&str; 5] = ["log.level", "level", "severity", "levelname", "lvl"];

/// Names we give, which a record's field of the same name does not get.
const OWN_NAMES: [&str; 3] = ["@timestamp", "fluent.tag", "log.source.address"];

/// What all events of a source have in common.
pub struct Stamp {
    /// Where they go.
    pub index: IndexName,
    /// The steps, when there are any.
    pub pipeline: Option<Arc<Pipeline>>,
    /// `limits.event`.
    pub event_bytes_max: usize,
}

/// What a message brought.
#[derive(Debug, Default)]
pub struct Message {
    /// Its events.
    pub written: Written,
    /// The chunk its sender wants to hear of again, once all of it is durable.
    pub chunk: Option<String>,
    /// What of the message is still to be read.
    pub rest: Option<Rest>,
}

/// The rest of a message whose events were too many to be made at once.
#[derive(Debug)]
pub struct Rest {
    tag: String,
    chunk: Option<String>,
    entries: Entries,
    taken: usize,
}

/// Entries one behind the other.
#[derive(Debug)]
enum Entries {
    /// There in the message.
    Sent(Range<usize>),
    Inflated(Vec<u8>),
}

/// What is known of the sender.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// From where.
    pub peer: IpAddr,
    /// When, UTC.
    pub now: Timestamp,
}

#[derive(Default)]
struct Options {
    chunk: Option<String>,
    is_gzip: bool,
}

impl Rest {
    /// Reads the next part of the message, which is in `bytes`.
    pub fn read(self, bytes: &[u8], stamp: &Stamp, arrival: Arrival) -> Message {
        let mut writer = Writer::new(stamp, arrival, self.tag);
        let entries = match &self.entries {
            Entries::Sent(range) => &bytes[range.clone()],
            Entries::Inflated(inflated) => inflated,
        };
        match writer.packed(entries, self.taken) {
            None => writer.message(self.chunk),
            Some(taken) => Message {
                rest: Some(Rest {
                    tag: std::mem::take(&mut writer.tag),
                    taken,
                    ..self
                }),
                ..writer.message(None)
            },
        }
    }

    /// How many decompressed bytes it holds.
    pub fn inflated_bytes(&self) -> usize {
        match &self.entries {
            Entries::Sent(_) => 0,
            Entries::Inflated(inflated) => inflated.len(),
        }
    }
}

/// Whether a message may be compressed.
pub fn may_inflate(bytes: &[u8]) -> bool {
    memmem::find(bytes, COMPRESSED.as_bytes()).is_some()
}

/// Reads a message, of one with very many entries some: the others are [`Message::rest`]. Entries that cannot be read are
/// counted, those before and behind them kept.
///
/// # Errors
/// It is none of the forms above; nothing of it is taken.
pub fn read(bytes: &[u8], stamp: &Stamp, arrival: Arrival) -> Result<Message, MsgpackError> {
    let mut reader = Reader { rest: bytes };
    let Head::Array(count) = reader.head()? else {
        return Err(MsgpackError::Wrong("a message is an array"));
    };
    if !(2..=4).contains(&count) {
        return Err(MsgpackError::Wrong("a message has two to four parts"));
    }
    let tag = String::from_utf8_lossy(reader.bytes()?).into_owned();
    let place = |reader: Reader<'_>| bytes.len() - reader.rest.len();
    let start = reader;
    let (entries, options) = match reader.head()? {
        Head::Array(_) => {
            let mut behind = start;
            behind.skip()?;
            let entries = place(reader)..place(behind);
            (entries, read_options(behind, count > 2)?)
        }
        Head::Text(length) | Head::Binary(length) if count < 4 => {
            let from = place(reader);
            reader.take(length as usize)?;
            let options = read_options(reader, count > 2)?;
            (from..place(reader), options)
        }
        _ => {
            reader = start;
            let time = reader.time()?;
            let record = Reader {
                rest: reader.skip()?,
            };
            let options = read_options(reader, count > 3)?;
            let mut writer = Writer::new(stamp, arrival, tag);
            writer.record(time, record);
            return Ok(writer.message(options.chunk));
        }
    };
    let packed = &bytes[entries.clone()];
    let entries = match options.is_gzip {
        false => Entries::Sent(entries),
        true => match inflate_within(Encoding::Gzip, packed, INFLATED_BYTES_MAX) {
            Ok(inflated) => Entries::Inflated(inflated),
            Err(problem) => {
                let mut writer = Writer::new(stamp, arrival, tag);
                let reason = match problem {
                    Inflation::Broken => "compression_broken",
                    Inflation::TooLarge => "too_large",
                };
                writer.reject(reason, packed.len());
                return Ok(writer.message(options.chunk));
            }
        },
    };
    let whole = Rest {
        tag,
        chunk: options.chunk,
        entries,
        taken: 0,
    };
    Ok(whole.read(bytes, stamp, arrival))
}

fn read_options(mut reader: Reader<'_>, has_options: bool) -> Result<Options, MsgpackError> {
    let mut options = Options::default();
    if !has_options {
        return Ok(options);
    }
    let Head::Map(count) = reader.head()? else {
        return Ok(options);
    };
    for _ in 0..count {
        let key = reader.key()?;
        match key.as_str() {
            "chunk" => options.chunk = Some(String::from_utf8_lossy(reader.bytes()?).into_owned()),
            COMPRESSED => options.is_gzip = reader.bytes()? == b"gzip",
            _ => drop(reader.skip()?),
        }
    }
    Ok(options)
}

struct Writer<'a> {
    stamp: &'a Stamp,
    arrival: Arrival,
    tag: String,
    written: Written,
    /// About what `written` takes in memory.
    written_bytes: usize,
}

impl<'a> Writer<'a> {
    fn new(stamp: &'a Stamp, arrival: Arrival, tag: String) -> Writer<'a> {
        Writer {
            stamp,
            arrival,
            tag,
            written: Written::default(),
            written_bytes: 0,
        }
    }

    fn message(self, chunk: Option<String>) -> Message {
        Message {
            written: self.written,
            chunk,
            rest: None,
        }
    }

    /// Entries one behind the other, from `taken` on; answers where to go on when there are too many.
    fn packed(&mut self, bytes: &[u8], mut taken: usize) -> Option<usize> {
        while taken < bytes.len() {
            if self.written_bytes >= PART_BYTES {
                return Some(taken);
            }
            let mut reader = Reader {
                rest: &bytes[taken..],
            };
            match reader.skip() {
                Ok(entry) => {
                    taken += entry.len();
                    self.entry(&mut Reader { rest: entry });
                }
                Err(_) => {
                    self.reject("malformed", bytes.len() - taken);
                    return None;
                }
            }
        }
        None
    }

    /// `[time, record]`, or with metadata `[[time, metadata], record]`.
    fn entry(&mut self, reader: &mut Reader<'_>) {
        let bytes = reader.rest.len();
        let read = |reader: &mut Reader<'_>| {
            if reader.head()? != Head::Array(2) {
                return Err(MsgpackError::Wrong("an entry has a time and a record"));
            }
            let mut ahead = *reader;
            if ahead.head()? != Head::Array(2) {
                return reader.time();
            }
            reader.skip()?;
            ahead.time()
        };
        match read(reader) {
            Ok(time) => self.record(time, *reader),
            Err(_) => self.reject("malformed", bytes),
        }
    }

    fn record(&mut self, time: Option<Timestamp>, record: Reader<'_>) {
        self.written.received += 1;
        self.written.received_bytes += record.rest.len() as u64;
        // A time of nothing is what senders write who have none.
        let timestamp = time
            .filter(|time| time.nanos() > 0)
            .unwrap_or(self.arrival.now);
        self.written_bytes += REFUSAL_BYTES;
        let text = match self.document(timestamp, record) {
            Ok(text) if text.len() > self.stamp.event_bytes_max => {
                return self.written.rejected.push("too_large");
            }
            Ok(text) => text,
            Err(_) => return self.written.rejected.push("malformed"),
        };
        let index = &self.stamp.index;
        match &self.stamp.pipeline {
            None => {
                let event = Event::create(index.clone(), timestamp, Bytes::from(text));
                self.written_bytes += self.written.push(event);
            }
            Some(pipeline) => {
                let mut document = Document::parse(&text).expect("what is written here is JSON");
                match pipeline.event(&mut document, index, self.arrival.now) {
                    Ok(event) => self.written_bytes += self.written.push(event),
                    Err(reason) => self.written.dropped.push(reason),
                }
            }
        }
    }

    fn document(
        &self,
        timestamp: Timestamp,
        mut record: Reader<'_>,
    ) -> Result<Vec<u8>, MsgpackError> {
        let mut out = format!("{{\"@timestamp\":\"{}\"", timestamp.to_rfc3339()).into_bytes();
        let start = record;
        let Head::Map(count) = record.head()? else {
            record = start;
            out.extend_from_slice(b",\"message\":");
            let mut value = Vec::new();
            record.write_json(&mut value, 0)?;
            match value.first() {
                Some(b'"') => out.extend_from_slice(&value),
                _ => push_string(&mut out, &String::from_utf8_lossy(&value)),
            }
            self.close(&mut out);
            return Ok(out);
        };
        let mut fields = Vec::new();
        for _ in 0..count {
            let name = record.key()?;
            let mut value = Vec::new();
            record.write_json(&mut value, 1)?;
            fields.push((name, String::from_utf8(value).unwrap_or_default()));
        }
        let text_of = |key: &&str| {
            let of_key = fields
                .iter()
                .find(|(name, value)| name == *key && value.starts_with('"'));
            of_key.map(|(name, value)| (name.clone(), value.clone()))
        };
        let message = MESSAGE_KEYS.iter().find_map(text_of);
        let own_level = LEVEL_KEYS
            .iter()
            .find_map(text_of)
            .and_then(|(_, value)| level::named(value.trim_matches('"')));
        let has_level = fields.iter().any(|(name, _)| name == "log.level");
        let mut names: HashSet<&str> = HashSet::new();
        if let Some((_, text)) = &message {
            out.extend_from_slice(b",\"message\":");
            out.extend_from_slice(text.as_bytes());
            names.insert("message");
        }
        if !has_level {
            let detected = || message.as_ref().and_then(|(_, text)| level::detect(text));
            push_field(
                &mut out,
                "log.level",
                own_level.or_else(detected).unwrap_or(level::UNKNOWN),
            );
        }
        for (name, value) in &fields {
            if message
                .as_ref()
                .is_some_and(|(of, text)| of == name && text == value)
            {
                continue;
            }
            let own = match name.as_str() {
                "container_id" => "container.id",
                "container_name" => "container.name",
                other => other,
            };
            if OWN_NAMES.contains(&own) || !names.insert(own) {
                push_sent_field(&mut out, &format!("fluent.record.{name}"), value);
            } else {
                push_sent_field(&mut out, own, value);
            }
        }
        self.close(&mut out);
        Ok(out)
    }

    fn close(&self, out: &mut Vec<u8>) {
        push_field(out, "fluent.tag", &self.tag);
        let peer = self.arrival.peer.to_canonical().to_string();
        push_field(out, "log.source.address", &peer);
        out.push(b'}');
    }

    fn reject(&mut self, reason: &'static str, bytes: usize) {
        self.written_bytes += REFUSAL_BYTES;
        self.written.received += 1;
        self.written.received_bytes += bytes as u64;
        self.written.rejected.push(reason);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;
    use crate::source::fake::fixed_now;

    fn text(text: &str) -> Vec<u8> {
        [vec![0xd9, text.len() as u8], text.as_bytes().to_vec()].concat()
    }

    fn record(message: &str) -> Vec<u8> {
        [vec![0x81], text("log"), text(message)].concat()
    }

    fn entry(message: &str) -> Vec<u8> {
        // 2026-11-23T10:00:00.000000007Z as EventTime.
        let time = [
            b"\xd7\x00".as_slice(),
            &1_795_428_000u32.to_be_bytes(),
            &7u32.to_be_bytes(),
        ]
        .concat();
        [vec![0x92], time, record(message)].concat()
    }

    fn packed(bytes: &[u8], options: &[u8]) -> Vec<u8> {
        let length = (bytes.len() as u32).to_be_bytes();
        [
            vec![0x93],
            text("tag"),
            vec![0xc6],
            length.to_vec(),
            bytes.to_vec(),
            options.to_vec(),
        ]
        .concat()
    }

    fn taken(bytes: &[u8]) -> Message {
        let stamp = Stamp {
            index: IndexName::default_index(),
            pipeline: None,
            event_bytes_max: 1000,
        };
        let arrival = Arrival {
            peer: "192.0.2.7".parse().unwrap(),
            now: fixed_now(),
        };
        read(bytes, &stamp, arrival).unwrap()
    }

    fn texts(message: &Message) -> Vec<String> {
        let text = |event: &Event| String::from_utf8(event.source.to_vec()).unwrap();
        message.written.events.iter().map(text).collect()
    }

    fn messages(message: &Message) -> Vec<String> {
        let of = |text: &String| {
            Document::parse(text.as_bytes())
                .unwrap()
                .get_str("message")
                .unwrap()
                .into_owned()
        };
        texts(message).iter().map(of).collect()
    }

    #[test]
    fn every_mode_brings_its_events() {
        let single = [
            vec![0x93],
            text("tag"),
            vec![0xce, 0x6b, 0x03, 0xeb, 0x60],
            record("one"),
        ]
        .concat();
        assert_eq!(messages(&taken(&single)), ["one"]);
        let chunk = [vec![0x82], text("chunk"), text("c1"), text("size"), vec![2]].concat();
        let forward = [
            vec![0x93],
            text("tag"),
            vec![0x92],
            entry("two"),
            entry("three"),
            chunk.clone(),
        ]
        .concat();
        let forward = taken(&forward);
        assert_eq!(messages(&forward), ["two", "three"]);
        assert_eq!(forward.chunk.as_deref(), Some("c1"));
        assert_eq!(
            texts(&forward)[0],
            r#"{"@timestamp":"2026-11-23T10:00:00.000000007Z","message":"two","log.level":"unknown","fluent.tag":"tag","log.source.address":"192.0.2.7"}"#
        );
        let entries = [entry("four"), entry("five")].concat();
        let plain = taken(&packed(&entries, &chunk));
        assert_eq!(
            (messages(&plain), plain.chunk.as_deref()),
            (vec!["four".to_owned(), "five".to_owned()], Some("c1"))
        );
        let gzip = |bytes: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        };
        let option = [vec![0x81], text("compressed"), text("gzip")].concat();
        // Fluentd may put several gzip streams behind each other.
        let streams = [gzip(&entry("six")), gzip(&entry("seven"))].concat();
        assert_eq!(
            messages(&taken(&packed(&streams, &option))),
            ["six", "seven"]
        );
        let bomb = taken(&packed(&gzip(&vec![0xc0; INFLATED_BYTES_MAX + 1]), &option));
        assert_eq!(
            (bomb.written.rejected, bomb.written.received),
            (vec!["too_large"], 1)
        );
    }

    #[test]
    fn few_bytes_that_are_very_many_entries_are_read_in_parts() {
        let (small, nothing) = ([0x92, 0x00, 0x80], [0xc0; 3]);
        let chunk = [vec![0x81], text("chunk"), text("c1")].concat();
        for (entry, each) in [(small, 1), (nothing, 3)] {
            let bytes = packed(&entry.repeat(200_000), &chunk);
            let mut message = taken(&bytes);
            let stamp = Stamp {
                index: IndexName::default_index(),
                pipeline: None,
                event_bytes_max: 1000,
            };
            let arrival = Arrival {
                peer: "192.0.2.7".parse().unwrap(),
                now: fixed_now(),
            };
            let (mut received, mut parts) = (0, 1);
            loop {
                assert!(message.written.byte_size() < 2 * PART_BYTES);
                assert!(message.written.rejected.len() * REFUSAL_BYTES < 2 * PART_BYTES);
                received += message.written.received;
                let Some(rest) = message.rest else { break };
                assert_eq!(message.chunk, None, "not all of it was read");
                message = rest.read(&bytes, &stamp, arrival);
                parts += 1;
            }
            assert_eq!(
                (received, message.chunk.as_deref()),
                (200_000 * each, Some("c1"))
            );
            assert!(parts > 1, "{parts} parts");
        }
    }

    #[test]
    fn a_bad_entry_leaves_its_neighbours_alone() {
        let deep = [vec![0x92, 0x00], vec![0x91; 100], vec![0xc0]].concat();
        let texts = text(&"x".repeat(255)).repeat(5);
        let large = [vec![0x92, 0x01, 0x81], text("a"), vec![0x95], texts].concat();
        let entries = [
            entry("a"),
            deep,
            vec![0x07],
            large,
            entry("b"),
            vec![0x92, 0x01],
        ]
        .concat();
        let message = taken(&packed(&entries, b"\xc0"));
        assert_eq!(messages(&message), ["a", "b"]);
        assert_eq!(
            message.written.rejected,
            ["malformed", "malformed", "too_large", "malformed"]
        );
        assert_eq!(message.written.received, 6);
    }

    #[test]
    fn records_are_mapped_and_nothing_is_lost() {
        let record = [
            vec![0x87],
            text("log"),
            text("hello"),
            text("level"),
            text("WARNING"),
            text("container_name"),
            text("/web"),
            text("@timestamp"),
            text("theirs"),
            text("n"),
            vec![0xcb, 0x3f, 0xe0, 0, 0, 0, 0, 0, 0],
            text("k"),
            vec![0x81],
            text("pod"),
            text("p"),
            text("message"),
            vec![0x01],
        ]
        .concat();
        let message = taken(&[vec![0x93], text("t"), vec![0x00], record].concat());
        assert_eq!(
            texts(&message)[0],
            concat!(
                r#"{"@timestamp":"2026-11-23T10:00:00.000Z","message":"hello","log.level":"warn","level":"WARNING","#,
                r#""container.name":"/web","fluent.record.@timestamp":"theirs","n":0.5,"k":{"pod":"p"},"#,
                r#""fluent.record.message":1,"fluent.tag":"t","log.source.address":"192.0.2.7"}"#
            )
        );
        let message = taken(&[vec![0x93], text("t"), vec![0x00], text("only text")].concat());
        assert_eq!(messages(&message), ["only text"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_events_or_counted(bytes in proptest::collection::vec(any::<u8>(), 0..80), is_packed in any::<bool>()) {
            let bytes = if is_packed { packed(&bytes, b"\xc0") } else { bytes };
            let stamp = Stamp { index: IndexName::default_index(), pipeline: None, event_bytes_max: 1000 };
            let arrival = Arrival { peer: "::1".parse().unwrap(), now: fixed_now() };
            if let Ok(message) = read(&bytes, &stamp, arrival) {
                prop_assert_eq!(message.written.received as usize, message.written.events.len() + message.written.rejected.len());
                for event in &message.written.events {
                    Document::parse(&event.source).unwrap();
                }
            }
        }
    }
}
