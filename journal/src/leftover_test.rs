//! What was refused or cut off does not come back behind what is written in its place.
//!
//! All records are equally long here, so that a leftover would fit exactly behind the next record: the rarest case,
//! which random steps hardly ever meet.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event::Position;

use crate::local::open_writer;
use crate::model::ModelDisk;
use crate::queue::Append;
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{Error, Kind, Payload, RecordReader, Settings};

const SEGMENT_HEADER_BYTES: usize = 32;
/// A multiple of the 16 bytes that the model loses at a time, as the segment's header is.
const RECORD_BYTES: usize = 48;
/// How many ways to lose power are tried.
const SEEDS: u64 = 2000;

fn open(disk: &ModelDisk) -> Writer {
    open_writer(
        Arc::new(disk.clone()),
        Settings::new("journal"),
        Position::ZERO,
    )
    .unwrap()
}

/// Appends one record for each letter as one group; answers whether it was accepted.
fn append(writer: &mut Writer, letters: &'static str) -> Result<(), Error> {
    let appends = letters.bytes().map(|letter| {
        let payload = Payload::from(Bytes::from(vec![letter; 8]));
        Append::new(Kind::Events, NonZeroU32::MIN, payload)
    });
    let (group, answers): (Vec<_>, Vec<_>) = appends.unzip();
    writer.commit(group);
    let mut answers = answers
        .into_iter()
        .map(|mut answer| answer.try_recv().unwrap());
    answers.try_for_each(|answer| answer.map(drop))
}

/// The letters of all records, after a restart.
fn letters(disk: &ModelDisk) -> String {
    disk.restart_process();
    let writer = open(disk);
    let mut reader = Reader::new(writer.shared.clone(), Position::ZERO);
    let mut letters = String::new();
    while let Some(record) = reader.next(Duration::ZERO).unwrap() {
        letters.push(char::from(record.payload[0]));
    }
    letters
}

/// A disk after a power loss in the midst of the group "ABC": A is torn, B and C are whole.
fn disk_with_torn_group(seed: u64) -> ModelDisk {
    let disk = ModelDisk::new(0);
    append(&mut open(&disk), "ABC").unwrap();
    let mut files = disk.files();
    let content = files.values_mut().next().unwrap();
    content[SEGMENT_HEADER_BYTES + RECORD_BYTES - 1] ^= 1;
    ModelDisk::with_files(seed, &files)
}

#[test]
fn a_torn_group_is_cut_and_does_not_come_back() {
    let disk = disk_with_torn_group(0);
    let mut writer = open(&disk);
    assert_eq!(writer.shared.status().damage, []);
    assert_eq!(
        writer.shared.status().torn_tail_bytes,
        3 * RECORD_BYTES as u64
    );
    append(&mut writer, "x").unwrap();
    assert_eq!(letters(&disk), "x");
}

#[test]
fn the_cut_is_durable_before_anything_is_written_in_its_place() {
    for seed in 0..SEEDS {
        let disk = disk_with_torn_group(seed);
        let mut writer = open(&disk);
        // The write is made, its fsync is not.
        disk.die_after(2);
        assert!(append(&mut writer, "x").is_err());
        disk.lose_power();
        let letters = letters(&disk);
        assert!(
            letters.is_empty() || letters == "x",
            "seed {seed}: {letters}"
        );
    }
}

#[test]
fn a_group_whose_fsync_failed_does_not_come_back() {
    for seed in 0..SEEDS {
        let disk = ModelDisk::new(seed);
        let mut writer = open(&disk);
        append(&mut writer, "a").unwrap();
        disk.fail_syncs(0, 1 + seed % 2);
        assert!(append(&mut writer, "BCD").is_err());
        append(&mut writer, "x").unwrap();
        match seed % 3 {
            0 => disk.restart_process(),
            _ => disk.lose_power(),
        }
        assert_eq!(letters(&disk), "ax", "seed {seed}");
    }
}

#[test]
fn a_group_that_did_not_fit_on_the_disk_does_not_come_back() {
    for seed in 0..SEEDS {
        let disk = ModelDisk::new(seed);
        disk.set_can_reserve(false);
        let mut writer = open(&disk);
        append(&mut writer, "a").unwrap();
        disk.set_capacity(Some(
            disk.used_bytes() + 2 * RECORD_BYTES as u64 + seed % 48,
        ));
        assert!(matches!(
            append(&mut writer, "BCD"),
            Err(Error::DiskFull { .. })
        ));
        disk.set_capacity(None);
        if seed % 2 == 0 {
            disk.lose_power();
            assert_eq!(letters(&disk), "a", "seed {seed}");
        } else {
            append(&mut writer, "x").unwrap();
            assert_eq!(letters(&disk), "ax", "seed {seed}");
        }
    }
}

#[test]
fn a_segment_whose_making_was_interrupted_is_removed() {
    let path = PathBuf::from("journal/00000000000000000007.journal.new");
    let disk = ModelDisk::with_files(0, &[(path, vec![1, 2, 3])].into());
    assert_eq!(open(&disk).shared.end(), Position::ZERO);
    assert!(disk.files().is_empty());
}
