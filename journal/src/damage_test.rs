//! Damage at rest: a byte flipped, a file cut or gone. Everything whole before and after is read, and the loss is
//! counted exactly.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event::Position;
use proptest::prelude::*;

use crate::local::open_writer;
use crate::model::{ModelDisk, Random};
use crate::queue::Append;
use crate::reader::Reader;
use crate::segment::path_of;
use crate::survey::Cause;
use crate::verify::{repair_on, verify_on};
use crate::{
    Error, Fsync, Kind, Payload, Record, RecordHeader, RecordReader, SegmentHeader, Settings,
    Status,
};

type Files = BTreeMap<PathBuf, Vec<u8>>;

const DIR: &str = "journal";

fn settings() -> Settings {
    Settings {
        dir: PathBuf::from(DIR),
        max_size_bytes: 1 << 20,
        segment_bytes: 400,
        fsync: Fsync::Always,
    }
}

/// Three segments with groups of several records, closed cleanly, and the records in them.
fn small_journal() -> (Files, Vec<Record>) {
    let disk = ModelDisk::new(0);
    let mut writer = open_writer(Arc::new(disk.clone()), settings(), Position::ZERO).unwrap();
    let mut random = Random::new(7);
    for group_size in [1, 3, 2, 1, 4, 2, 3] {
        let mut append = || {
            let count = NonZeroU32::new(1 + random.below(5) as u32).unwrap();
            let payload: Vec<u8> = (0..random.below(60))
                .map(|_| random.number() as u8)
                .collect();
            Append::new(Kind::Events, count, Payload::from(Bytes::from(payload))).0
        };
        writer.commit((0..group_size).map(|_| append()).collect());
    }
    writer.close();
    let (records, status) = read(&disk);
    assert_eq!((status.segment_count, records.len()), (3, 16));
    (disk.files(), records)
}

/// Opens what is on the disk and reads it all.
fn read(disk: &ModelDisk) -> (Vec<Record>, Status) {
    let writer = open_writer(Arc::new(disk.clone()), settings(), Position::ZERO).unwrap();
    let mut reader = Reader::new(writer.shared.clone(), Position::ZERO);
    let mut records = Vec::new();
    while let Some(record) = reader.next(Duration::ZERO).unwrap() {
        records.push(record);
    }
    (records, writer.shared.status())
}

fn events_in(records: &[Record]) -> u64 {
    records.iter().map(|record| u64::from(record.count)).sum()
}

fn events_lost(status: &Status) -> u64 {
    status.damage.iter().map(|damage| damage.events_lost).sum()
}

/// The records of `whole` that are not in `found`, which has no others.
fn missing<'a>(whole: &'a [Record], found: &[Record]) -> Vec<&'a Record> {
    assert!(
        found.iter().all(|record| whole.contains(record)),
        "a record that never was"
    );
    assert!(found.is_sorted_by(|before, after| before.end() <= after.first));
    whole
        .iter()
        .filter(|record| !found.contains(record))
        .collect()
}

#[test]
fn any_flipped_byte_costs_at_most_its_own_record_and_is_counted() {
    let (files, whole) = small_journal();
    for (path, content) in &files {
        for (at, mask) in (0..content.len()).flat_map(|at| [(at, 0x01), (at, 0xFF)]) {
            let mut damaged = files.clone();
            damaged.get_mut(path).unwrap()[at] ^= mask;
            let disk = ModelDisk::with_files(0, &damaged);
            let report = verify_on(&disk, Path::new(DIR)).unwrap();
            let (found, status) = read(&disk);
            let place = format!("{path:?} byte {at}: {:?}", status.damage);

            let lost = missing(&whole, &found);
            assert!(lost.len() <= 1, "{place}");
            assert_eq!(
                events_lost(&status),
                events_in(&whole) - events_in(&found),
                "{place}"
            );
            assert_eq!(report.damage, status.damage, "{place}");
            assert_eq!(report.events, events_in(&found), "{place}");
            assert_eq!(status.end, whole.last().unwrap().end(), "{place}");
            let is_seen = !status.damage.is_empty() || status.torn_tail_bytes > 0;
            assert!(is_seen, "{place}");
        }
    }
}

#[test]
fn a_file_cut_anywhere_keeps_what_is_before_the_cut_and_all_other_files() {
    let (files, whole) = small_journal();
    let last_path = files.keys().next_back().unwrap();
    for (path, content) in &files {
        for byte_len in 0..content.len() {
            let mut damaged = files.clone();
            damaged.get_mut(path).unwrap().truncate(byte_len);
            let (found, status) = read(&ModelDisk::with_files(0, &damaged));
            let place = format!("{path:?} cut to {byte_len}: {status:?}");

            let lost = missing(&whole, &found);
            let lost_events = events_in(&whole) - events_in(&found);
            let is_one_stretch = lost.windows(2).all(|pair| pair[0].end() == pair[1].first);
            assert!(is_one_stretch, "{place}");
            if path == last_path {
                // Nothing behind the cut can tell how much there was.
                assert_eq!(events_lost(&status), 0, "{place}");
                assert_eq!(status.end, found.last().unwrap().end(), "{place}");
            } else {
                assert_eq!(events_lost(&status), lost_events, "{place}");
            }
        }
    }
}

#[test]
fn a_missing_file_is_counted_exactly() {
    let (files, whole) = small_journal();
    let paths: Vec<&PathBuf> = files.keys().collect();
    let mut damaged = files.clone();
    damaged.remove(paths[1]);
    let (found, status) = read(&ModelDisk::with_files(0, &damaged));
    assert_eq!(events_lost(&status), events_in(&whole) - events_in(&found));
    assert_eq!(status.damage.len(), 1);
    assert_eq!(status.damage[0].cause, Cause::Missing);
}

#[test]
fn a_lost_end_that_the_shards_know_of_is_reported_and_its_positions_are_not_given_again() {
    let (files, whole) = small_journal();
    let end = whole.last().unwrap().end();
    let mut damaged = files.clone();
    damaged.pop_last();
    let disk = ModelDisk::with_files(0, &damaged);
    let open = || open_writer(Arc::new(disk.clone()), settings(), end).unwrap();

    let mut writer = open();
    let damage = &writer.shared.status().damage[0];
    assert_eq!(
        (damage.cause, damage.first.plus(damage.events_lost)),
        (Cause::EndsEarly, end)
    );
    let (append, mut answered) = Append::new(Kind::Events, NonZeroU32::MIN, Payload::default());
    writer.commit(vec![append]);
    assert_eq!(answered.try_recv().unwrap().unwrap(), end);
    drop(writer);

    // Once told, it is no longer news: the new segment says where the old ones ended.
    assert_eq!(open().shared.status().damage, []);
}

#[test]
fn a_kind_of_a_newer_daybook_is_kept_with_its_positions() {
    let disk = ModelDisk::new(0);
    let mut writer = open_writer(Arc::new(disk.clone()), settings(), Position::ZERO).unwrap();
    for kind in [Kind::Unknown(77), Kind::Events] {
        let (append, _) = Append::new(kind, NonZeroU32::MIN, Payload::default());
        writer.commit(vec![append]);
    }
    drop(writer);
    let (records, status) = read(&disk);
    let kinds: Vec<Kind> = records.iter().map(|record| record.kind).collect();
    assert_eq!(kinds, [Kind::Unknown(77), Kind::Events]);
    assert_eq!(status.end, Position(2));
}

#[test]
fn a_newer_format_is_refused_with_a_clear_message() {
    let header = SegmentHeader {
        version: 2,
        first: Position::ZERO,
        previous_end: Position::ZERO,
    };
    let path = path_of(Path::new(DIR), Position::ZERO);
    let disk = ModelDisk::with_files(0, &BTreeMap::from([(path, header.encode().to_vec())]));
    let error = open_writer(Arc::new(disk), settings(), Position::ZERO)
        .err()
        .unwrap();
    assert_eq!(
        error.to_string(),
        "journal/00000000000000000000.journal has format 2, this daybook reads up to 1; start a newer daybook"
    );
}

#[test]
fn bytes_the_disk_cannot_read_cost_their_records_alone() {
    let disk = ModelDisk::new(0);
    let settings = Settings {
        segment_bytes: 1 << 20,
        max_size_bytes: 8 << 20,
        ..settings()
    };
    let mut writer = open_writer(Arc::new(disk.clone()), settings.clone(), Position::ZERO).unwrap();
    for _ in 0..20 {
        let payload = Payload::from(Bytes::from(vec![7; 2000]));
        writer.commit(vec![Append::new(Kind::Events, NonZeroU32::MIN, payload).0]);
    }
    writer.close();
    drop(writer);
    disk.make_unreadable(&path_of(Path::new(DIR), Position::ZERO), 9000..9001);

    let (found, status) = read(&disk);
    // The disk fails by the block of 4096 bytes, which touches three records of 2040.
    assert_eq!((found.len(), events_lost(&status)), (17, 3));
}

#[test]
fn a_record_in_the_payload_of_a_damaged_one_is_not_taken_for_real() {
    let disk = ModelDisk::new(0);
    let mut writer = open_writer(Arc::new(disk.clone()), settings(), Position::ZERO).unwrap();
    let forged = RecordHeader {
        first: Position(50),
        group_first: Position(50),
        ..RecordHeader::end_mark(Position(0))
    };
    let payload = Payload::from(Bytes::copy_from_slice(&forged.encode(Position::ZERO)));
    for payload in [payload, Payload::default()] {
        writer.commit(vec![Append::new(Kind::Events, NonZeroU32::MIN, payload).0]);
    }
    writer.close();
    let mut files = disk.files();
    let content = files.values_mut().next().unwrap();
    // The last byte of the first record's payload: the forged record before it stays whole but for that byte.
    let (segment_header_bytes, record_header_bytes) = (32, 40);
    content[segment_header_bytes + 2 * record_header_bytes - 1] ^= 1;
    let (found, status) = read(&ModelDisk::with_files(0, &files));
    assert_eq!(
        (found.len(), found[0].first, events_lost(&status)),
        (1, Position(1), 1)
    );
}

#[test]
fn repair_leaves_every_whole_record_in_its_place_and_nothing_to_find() {
    let (files, whole) = small_journal();
    for (path, content) in &files {
        for at in (0..content.len()).step_by(7) {
            let mut damaged = files.clone();
            damaged.get_mut(path).unwrap()[at] ^= 0x10;
            let disk = ModelDisk::with_files(0, &damaged);
            let (found, _) = read(&disk);
            let disk = ModelDisk::with_files(0, &damaged);

            let before = repair_on(&disk, Path::new(DIR)).unwrap();
            let after = verify_on(&disk, Path::new(DIR)).unwrap();
            let place = format!("{path:?} byte {at}: {before:?}, then {after:?}");
            assert!(after.is_clean() && after.torn_tail_bytes == 0, "{place}");
            assert_eq!(
                before.events_lost(),
                events_in(&whole) - events_in(&found),
                "{place}"
            );
            let is_aside = |path: &PathBuf| path.to_string_lossy().ends_with(".damaged");
            assert!(disk.files().keys().any(is_aside), "{place}");
            assert_eq!(read(&disk).0, found, "{place}");
        }
    }
}

#[test]
fn repair_closes_the_gap_of_a_missing_file() {
    let (mut files, _) = small_journal();
    let second = files.keys().nth(1).unwrap().clone();
    files.remove(&second);
    let disk = ModelDisk::with_files(0, &files);
    let found = read(&disk).0;
    assert!(repair_on(&disk, Path::new(DIR)).unwrap().events_lost() > 0);
    assert!(verify_on(&disk, Path::new(DIR)).unwrap().is_clean());
    assert_eq!(read(&disk).0, found);
}

#[test]
fn damage_that_comes_while_the_journal_is_open_is_noted_once() {
    let (files, whole) = small_journal();
    let disk = ModelDisk::with_files(0, &files);
    let writer = open_writer(Arc::new(disk.clone()), settings(), Position::ZERO).unwrap();
    let first_path = files.keys().next().unwrap();
    let file = crate::file_system::FileSystem::open(&disk, first_path).unwrap();
    file.write_all_at(&[0xAA; 8], 40).unwrap();
    for _ in 0..2 {
        let mut reader = Reader::new(writer.shared.clone(), Position::ZERO);
        let record = reader.next(Duration::ZERO).unwrap().unwrap();
        assert_eq!(record, whole[1]);
        assert_eq!(writer.shared.status().damage.len(), 1);
        assert_eq!(
            events_lost(&writer.shared.status()),
            u64::from(whole[0].count)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    // Of a closed journal whose last mark is whole, every position is either read or counted as lost.
    #[test]
    fn many_changes_are_counted_exactly(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..12)
    ) {
        let (mut files, whole) = small_journal();
        let last = files.keys().next_back().unwrap().clone();
        let paths: Vec<PathBuf> = files.keys().cloned().collect();
        for (file, at, byte) in changes {
            let path = file.get(&paths);
            let mark_bytes = if *path == last { 40 } else { 0 };
            let content = files.get_mut(path).unwrap();
            let at = at.index(content.len() - mark_bytes);
            content[at] = byte;
        }
        let (found, status) = read(&ModelDisk::with_files(0, &files));
        missing(&whole, &found);
        prop_assert_eq!(events_lost(&status), events_in(&whole) - events_in(&found));
    }

    #[test]
    fn any_bytes_as_a_segment_are_no_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        headers in proptest::collection::vec((any::<u32>(), 0u64..40, 0u64..40, 0u32..5, 0u8..5), 0..6),
    ) {
        let mut content = SegmentHeader { version: 1, first: Position::ZERO, previous_end: Position::ZERO }.encode().to_vec();
        for (length, first, group_first, count, kind_byte) in headers {
            let header = RecordHeader {
                payload_bytes: length % 64,
                payload_crc: crc32fast::hash(&[]),
                first: Position(first),
                group_first: Position(group_first),
                count,
                kind_byte,
                codec: 0,
            };
            content.extend(header.encode(Position::ZERO));
        }
        for content in [[&content[..], &bytes].concat(), bytes] {
            let path = path_of(Path::new(DIR), Position::ZERO);
            let disk = ModelDisk::with_files(0, &BTreeMap::from([(path, content)]));
            let (first_found, _) = read(&disk);
            // What a start leaves behind, the next one finds in the same state.
            let (found, _) = read(&disk);
            prop_assert_eq!(found, first_found);
        }
    }
}

#[test]
fn a_closed_reader_says_so_after_the_last_record() {
    let (files, whole) = small_journal();
    let disk = ModelDisk::with_files(0, &files);
    let writer = open_writer(Arc::new(disk), settings(), Position::ZERO).unwrap();
    let mut reader = Reader::new(writer.shared.clone(), whole[15].first);
    writer.shared.close();
    assert_eq!(
        reader.next(Duration::ZERO).unwrap(),
        Some(whole[15].clone())
    );
    assert!(matches!(reader.next(Duration::MAX), Err(Error::Closed)));
}
