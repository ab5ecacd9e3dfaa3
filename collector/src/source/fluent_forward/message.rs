//! One message of Fluentd's forward protocol into events.
//!
//! ```text
//! [tag, time, record, option?]                 message
//! [tag, [[time, record], ...], option?]        forward
//! [tag, bytes of [time, record]..., option?]   packed forward; option.compressed: gzip
//! ```

use std::collections::HashSet;
use std::io::Read;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use event::{Document, Event, IndexName, Timestamp};
use flate2::bufread::MultiGzDecoder;

use super::msgpack::{Head, MsgpackError, Reader};
use crate::flat_json::{push_field, push_sent_field, push_string};
use crate::level;
use crate::listener::reception::Written;
use crate::pipeline::Pipeline;

/// The most bytes of a packed message, decompressed.
const INFLATED_BYTES_MAX: usize = 32 << 20;

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
    /// The chunk its sender wants to hear of again.
    pub chunk: Option<String>,
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

/// Reads a whole message. Entries that cannot be read are counted, those before and behind them kept.
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
    let mut writer = Writer {
        stamp,
        arrival,
        tag,
        written: Written::default(),
    };
    let start = reader;
    let (packed, options) = match reader.head()? {
        Head::Array(entries) => {
            let (mut ahead, entries_from) = (start, reader);
            ahead.skip()?;
            let options = read_options(ahead, count > 2)?;
            let mut reader = entries_from;
            for _ in 0..entries {
                let mut entry = Reader {
                    rest: reader.skip()?,
                };
                writer.entry(&mut entry);
            }
            return Ok(Message {
                written: writer.written,
                chunk: options.chunk,
            });
        }
        Head::Text(length) | Head::Binary(length) if count < 4 => {
            let packed = reader.take(length as usize)?;
            (packed, read_options(reader, count > 2)?)
        }
        _ => {
            reader = start;
            let time = reader.time()?;
            let record = Reader {
                rest: reader.skip()?,
            };
            let options = read_options(reader, count > 3)?;
            writer.record(time, record);
            return Ok(Message {
                written: writer.written,
                chunk: options.chunk,
            });
        }
    };
    match options.is_gzip {
        false => writer.packed(packed),
        true => {
            let mut inflated = Vec::new();
            let mut decoder = MultiGzDecoder::new(packed).take(INFLATED_BYTES_MAX as u64 + 1);
            match decoder.read_to_end(&mut inflated) {
                Err(_) => writer.reject("compression_broken", packed.len()),
                Ok(_) if inflated.len() > INFLATED_BYTES_MAX => {
                    writer.reject("too_large", packed.len());
                }
                Ok(_) => writer.packed(&inflated),
            }
        }
    }
    Ok(Message {
        written: writer.written,
        chunk: options.chunk,
    })
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
            "compressed" => options.is_gzip = reader.bytes()? == b"gzip",
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
}

impl Writer<'_> {
    /// Entries one behind the other.
    fn packed(&mut self, bytes: &[u8]) {
        let mut reader = Reader { rest: bytes };
        while !reader.rest.is_empty() {
            match reader.skip() {
                Ok(entry) => self.entry(&mut Reader { rest: entry }),
                Err(_) => return self.reject("malformed", reader.rest.len()),
            }
        }
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
                self.written.events.push(event);
            }
            Some(pipeline) => {
                let mut document = Document::parse(&text).expect("what is written here is JSON");
                match pipeline.event(&mut document, index, self.arrival.now) {
                    Ok(event) => self.written.events.push(event),
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
