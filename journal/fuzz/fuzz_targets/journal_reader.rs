//! Any bytes as segment files: opening, reading, appending and repairing never panic, and what was read once is read
//! again after a restart.
//!
//! Raw bytes hardly ever pass the checksums, so the first byte may ask for a file built of records with right checksums
//! and arbitrary fields.

#![no_main]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event::Position;
use journal::model::ModelDisk;
use journal::{Fsync, Journal, Local, Record, RecordHeader, SegmentHeader, Settings};
use libfuzzer_sys::fuzz_target;

const DIR: &str = "journal";

fuzz_target!(|input: &[u8]| {
    let Some((&mode, bytes)) = input.split_first() else {
        return;
    };
    let _ = journal::events::decode(Bytes::copy_from_slice(bytes));
    let split = bytes.len() * usize::from(mode >> 1) / 128;
    let second_first = 1 + u64::from(mode >> 4);
    let mut files = BTreeMap::new();
    for (first, bytes) in [(0, &bytes[..split]), (second_first, &bytes[split..])] {
        let content = if mode & 1 == 0 { bytes.to_vec() } else { built(first, bytes) };
        files.insert(PathBuf::from(format!("{DIR}/{first:020}.journal")), content);
    }
    let disk = ModelDisk::with_files(0, &files);
    let Some(first_read) = read(&disk) else { return };
    let second_read = read(&disk).expect("what opened once opens again");
    assert_eq!(first_read, second_read);
});

/// A segment of records with right checksums: 8 bytes of input for each header, then its payload.
fn built(first: u64, mut bytes: &[u8]) -> Vec<u8> {
    let header = SegmentHeader {
        version: 1,
        first: Position(first),
        previous_end: Position(first),
    };
    let mut content = header.encode().to_vec();
    while let Some((fields, rest)) = bytes.split_first_chunk::<8>() {
        let payload = &rest[..rest.len().min(usize::from(fields[0] & 0x1F))];
        let header = RecordHeader {
            payload_bytes: payload.len() as u32 + u32::from(fields[1] == 255),
            payload_crc: crc32fast::hash(payload) ^ u32::from(fields[2] == 255),
            first: Position(first + u64::from(fields[3])),
            group_first: Position(first + u64::from(fields[4])),
            count: u32::from(fields[5] & 0x0F),
            kind_byte: fields[6] & 0x03,
            codec: u8::from(fields[7] == 255),
        };
        content.extend(header.encode(Position(first)));
        content.extend(payload);
        bytes = &rest[payload.len()..];
    }
    content.extend(bytes);
    content
}

fn read(disk: &ModelDisk) -> Option<Vec<Record>> {
    let settings = Settings {
        dir: Path::new(DIR).to_owned(),
        max_size_bytes: 1 << 20,
        segment_bytes: 1 << 10,
        fsync: Fsync::Always,
    };
    let local = Local::open_on(Arc::new(disk.clone()), settings, Position::ZERO).ok()?;
    let mut reader = local.reader(Position::ZERO).ok()?;
    let mut records = Vec::new();
    while let Some(record) = reader.next(Duration::ZERO).ok()? {
        records.push(record);
    }
    Some(records)
}
