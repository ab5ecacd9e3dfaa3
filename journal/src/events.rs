//! The payload of a record of kind [`crate::Kind::Events`]: one batch.
//!
//! ```text
//! 1 byte    version of this form: 1
//! 8 bytes   received, nanoseconds since 1970, little-endian
//! text      source                                        text: length, UTF-8
//! number    0: no checkpoint; else one more than its length, then its bytes
//! number    how many indices, then a text for each        number: unsigned LEB128
//! number    how many events, then for each:
//!   number    which index
//!   1 byte    bits 0-1 operation (0 create, 1 index, 2 delete, 3 displace), bit 2 has an id
//!   8 bytes   timestamp, nanoseconds since 1970, little-endian
//!   text      id, where it has one
//!   number    length of its source
//! the sources, one behind the other, to the end of the payload
//! ```
//!
//! Names stand once and sources last, so that reading takes slices of the record and copies nothing large.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use event::{Batch, Event, IndexName, Operation, Timestamp};

use crate::Payload;

const VERSION: u8 = 1;
const OPERATION_BITS: u8 = 0b011;
const HAS_ID_BIT: u8 = 0b100;
/// The fewest bytes an event occupies: index, flags, timestamp, length of its source.
const EVENT_BYTES_MIN: usize = 11;

/// A payload that is no batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A newer Daybook wrote it. Start that one again.
    #[error("a batch has form {0}, this daybook reads up to {VERSION}; start a newer daybook")]
    NewerForm(u8),
    /// The checksum was right, so it was written this way: a mistake of ours. Report it, go on with the next record.
    #[error("a batch is malformed at byte {at}: {what}")]
    Malformed {
        /// Bytes from the start of the payload.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
}

/// Writes a batch; the sources are shared, not copied. `None` for a batch without events, which needs no record.
pub fn encode(batch: &Batch) -> Option<(NonZeroU32, Payload)> {
    // A batch of more than 2^32 events does not fit into any memory this runs in.
    let count = u32::try_from(batch.events.len())
        .ok()
        .and_then(NonZeroU32::new)?;
    let mut indices: Vec<&IndexName> = Vec::new();
    let mut entries = Vec::with_capacity(batch.events.len() * (EVENT_BYTES_MIN + 24));
    for event in &batch.events {
        // Most batches have one index, hardly any has more than a few.
        let index = indices.iter().rposition(|name| **name == event.index);
        let index = index.unwrap_or_else(|| {
            indices.push(&event.index);
            indices.len() - 1
        });
        write_event(&mut entries, index, event);
    }

    let mut head = Vec::with_capacity(64);
    head.push(VERSION);
    head.extend_from_slice(&batch.received.nanos().to_le_bytes());
    write_text(&mut head, &batch.source);
    write_checkpoint(&mut head, batch.checkpoint.as_deref());
    write_number(&mut head, indices.len() as u64);
    for index in indices {
        write_text(&mut head, index.as_str());
    }
    write_number(&mut head, u64::from(count.get()));

    let mut parts = Vec::with_capacity(batch.events.len() + 2);
    parts.push(Bytes::from(head));
    parts.push(Bytes::from(entries));
    let sources = batch.events.iter().map(|event| &event.source);
    parts.extend(sources.filter(|source| !source.is_empty()).cloned());
    Some((count, Payload::from(parts)))
}

/// Reads a batch; the sources are slices of `payload` and keep it in memory.
///
/// What it allocates is bounded by some ten times the length of `payload`.
///
/// # Errors
/// The payload is of a newer form or malformed.
pub fn decode(payload: Bytes) -> Result<Batch, DecodeError> {
    let mut cursor = Cursor {
        bytes: &payload,
        at: 0,
    };
    let version = cursor.byte()?;
    if version != VERSION {
        return match version {
            0 => Err(cursor.malformed("form 0")),
            newer => Err(DecodeError::NewerForm(newer)),
        };
    }
    let received = cursor.timestamp()?;
    let source: Arc<str> = Arc::from(cursor.text()?);
    let checkpoint = read_checkpoint(&mut cursor)?;
    let indices = read_indices(&mut cursor)?;
    let count = cursor.count(EVENT_BYTES_MIN)?;
    let mut events = Vec::with_capacity(count);
    let mut source_lengths = Vec::with_capacity(count);
    for _ in 0..count {
        events.push(read_event(&mut cursor, &indices)?);
        source_lengths.push(cursor.number()?);
    }

    let mut at = cursor.at;
    for (event, length) in events.iter_mut().zip(source_lengths) {
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| at.checked_add(length));
        match end.filter(|end| *end <= payload.len()) {
            Some(end) => {
                event.source = payload.slice(at..end);
                at = end;
            }
            None => {
                return Err(DecodeError::Malformed {
                    at,
                    what: "sources end early",
                });
            }
        }
    }
    if at != payload.len() {
        return Err(DecodeError::Malformed {
            at,
            what: "bytes behind the last source",
        });
    }
    Ok(Batch {
        source,
        received,
        events,
        checkpoint,
    })
}

fn write_event(bytes: &mut Vec<u8>, index: usize, event: &Event) {
    write_number(bytes, index as u64);
    let operation = match event.operation {
        Operation::Create => 0,
        Operation::Index => 1,
        Operation::Delete => 2,
        Operation::Displace => 3,
    };
    let has_id = if event.id.is_some() { HAS_ID_BIT } else { 0 };
    bytes.push(operation | has_id);
    bytes.extend_from_slice(&event.timestamp.nanos().to_le_bytes());
    if let Some(id) = &event.id {
        write_text(bytes, id);
    }
    write_number(bytes, event.source.len() as u64);
}

fn write_checkpoint(bytes: &mut Vec<u8>, checkpoint: Option<&[u8]>) {
    match checkpoint {
        None => bytes.push(0),
        Some(checkpoint) => {
            write_number(bytes, checkpoint.len() as u64 + 1);
            bytes.extend_from_slice(checkpoint);
        }
    }
}

fn read_checkpoint(cursor: &mut Cursor<'_>) -> Result<Option<Bytes>, DecodeError> {
    let Some(length) = cursor.number()?.checked_sub(1) else {
        return Ok(None);
    };
    let length = usize::try_from(length)
        .map_err(|_| cursor.malformed("checkpoint above what there is room for"))?;
    // Copied: a source keeps it long after the record.
    Ok(Some(Bytes::copy_from_slice(cursor.take(length)?)))
}

fn write_text(bytes: &mut Vec<u8>, text: &str) {
    write_number(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

fn write_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_indices(cursor: &mut Cursor<'_>) -> Result<Vec<IndexName>, DecodeError> {
    // A length and one letter are the least a name takes.
    let count = cursor.count(2)?;
    let mut indices = Vec::with_capacity(count);
    for _ in 0..count {
        let name = cursor.text()?;
        let index = IndexName::parse(name).map_err(|_| cursor.malformed("no index name"))?;
        indices.push(index);
    }
    Ok(indices)
}

/// An event without its source.
fn read_event(cursor: &mut Cursor<'_>, indices: &[IndexName]) -> Result<Event, DecodeError> {
    let index = usize::try_from(cursor.number()?).ok();
    let index = index.and_then(|index| indices.get(index));
    let index = index.ok_or(cursor.malformed("no such index"))?.clone();
    let flags = cursor.byte()?;
    if flags & !(OPERATION_BITS | HAS_ID_BIT) != 0 {
        return Err(cursor.malformed("unknown flags"));
    }
    let operation = match flags & OPERATION_BITS {
        0 => Operation::Create,
        1 => Operation::Index,
        2 => Operation::Delete,
        _ => Operation::Displace,
    };
    let timestamp = cursor.timestamp()?;
    let id = match flags & HAS_ID_BIT {
        0 => None,
        _ => Some(Box::from(cursor.text()?)),
    };
    Ok(Event {
        index,
        id,
        timestamp,
        operation,
        source: Bytes::new(),
    })
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, _) = self.bytes[self.at..]
            .split_at_checked(length)
            .ok_or(self.malformed("ends early"))?;
        self.at += length;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        Ok(self.take(1)?[0])
    }

    fn timestamp(&mut self) -> Result<Timestamp, DecodeError> {
        let mut nanos = [0; 8];
        nanos.copy_from_slice(self.take(8)?);
        Ok(Timestamp::from_nanos(i64::from_le_bytes(nanos)))
    }

    fn number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.malformed("number above 2^64"))
    }

    /// How many things follow that take at least `bytes_min` bytes each: never more than there is room for.
    fn count(&mut self, bytes_min: usize) -> Result<usize, DecodeError> {
        let count = self.number()?;
        let count_max = (self.bytes.len() - self.at) / bytes_min;
        match usize::try_from(count) {
            Ok(count) if count <= count_max => Ok(count),
            _ => Err(self.malformed("count above what there is room for")),
        }
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        let length = self.count(1)?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed("no UTF-8"))
    }

    fn malformed(&self, what: &'static str) -> DecodeError {
        DecodeError::Malformed { at: self.at, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn joined(payload: &Payload) -> Bytes {
        Bytes::from(payload.parts().concat())
    }

    fn any_event() -> impl Strategy<Value = Event> {
        let index = prop_oneof!["[a-z]{1,8}", Just("logs".to_owned())];
        let operation = prop_oneof![
            Just(Operation::Create),
            Just(Operation::Index),
            Just(Operation::Delete),
            Just(Operation::Displace)
        ];
        let id = proptest::option::of(".{0,300}");
        (
            index,
            id,
            any::<i64>(),
            operation,
            proptest::collection::vec(any::<u8>(), 0..300),
        )
            .prop_map(|(index, id, nanos, operation, source)| Event {
                index: IndexName::parse(&index).unwrap(),
                id: id.map(Box::from),
                timestamp: Timestamp::from_nanos(nanos),
                operation,
                source: Bytes::from(source),
            })
    }

    fn any_batch() -> impl Strategy<Value = Batch> {
        let events = proptest::collection::vec(any_event(), 1..20);
        let checkpoint = proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20));
        (".{0,20}", any::<i64>(), events, checkpoint).prop_map(
            |(source, nanos, events, checkpoint)| Batch {
                source: Arc::from(source),
                received: Timestamp::from_nanos(nanos),
                events,
                checkpoint: checkpoint.map(Bytes::from),
            },
        )
    }

    #[test]
    fn a_batch_without_events_needs_no_record() {
        let batch = Batch::new(Arc::from("nginx"), Timestamp::from_nanos(1), Vec::new());
        assert!(encode(&batch).is_none());
    }

    #[test]
    fn sources_are_slices_of_the_record() {
        let source = Bytes::from_static(b"{\"message\":\"started\"}");
        let events = vec![Event::create(
            IndexName::default_index(),
            Timestamp::from_nanos(2),
            source.clone(),
        )];
        let batch = Batch::new(Arc::from("nginx"), Timestamp::from_nanos(1), events);
        let (_, payload) = encode(&batch).unwrap();
        assert_eq!(payload.parts().last().unwrap().as_ptr(), source.as_ptr());

        let record = joined(&payload);
        let decoded = decode(record.clone()).unwrap();
        assert_eq!(decoded, batch);
        assert!(
            record
                .as_ptr_range()
                .contains(&decoded.events[0].source.as_ptr())
        );
    }

    #[test]
    fn a_newer_form_is_told_from_a_malformed_one() {
        assert_eq!(
            decode(Bytes::from_static(&[2, 0])),
            Err(DecodeError::NewerForm(2))
        );
        let malformed = decode(Bytes::from_static(&[0])).unwrap_err();
        assert!(matches!(malformed, DecodeError::Malformed { .. }));
        assert_eq!(
            decode(Bytes::new()).unwrap_err().to_string(),
            "a batch is malformed at byte 0: ends early"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(batch in any_batch()) {
            let (count, payload) = encode(&batch).unwrap();
            prop_assert_eq!(count.get() as usize, batch.events.len());
            prop_assert_eq!(decode(joined(&payload)).unwrap(), batch);
        }

        #[test]
        fn a_batch_cut_anywhere_is_refused(batch in any_batch(), at in any::<prop::sample::Index>()) {
            let (_, payload) = encode(&batch).unwrap();
            let whole = joined(&payload);
            prop_assert!(decode(whole.slice(..at.index(whole.len()))).is_err());
        }

        #[test]
        fn any_bytes_are_refused_or_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut versioned = vec![VERSION];
            versioned.extend(&bytes);
            for bytes in [bytes, versioned] {
                if let Ok(batch) = decode(Bytes::from(bytes.clone())) {
                    prop_assert!(batch.events.len() * EVENT_BYTES_MIN <= bytes.len());
                }
            }
        }

        #[test]
        fn a_changed_byte_never_allocates_beyond_the_input(
            batch in any_batch(), at in any::<prop::sample::Index>(), byte: u8,
        ) {
            let (_, payload) = encode(&batch).unwrap();
            let mut bytes = joined(&payload).to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(batch) = decode(Bytes::from(bytes.clone())) {
                prop_assert!(batch.events.capacity() * EVENT_BYTES_MIN <= bytes.len());
            }
        }
    }
}
