//! Full disks, full journals, failing disks: refused with the right error, and fine again without a restart. And the
//! whole of [`Local`] with its thread, on a real directory.

use std::collections::BTreeMap;
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
use crate::{Error, Journal, Kind, Local, Payload, RecordReader, Settings};

/// Longer than any test may wait, so that a lost wake-up is a failure and not a pause.
const LONG: Duration = Duration::from_secs(60);

fn settings() -> Settings {
    Settings {
        max_size_bytes: 1 << 20,
        segment_bytes: 4000,
        ..Settings::new("journal")
    }
}

fn open(disk: &ModelDisk, settings: Settings) -> Writer {
    open_writer(Arc::new(disk.clone()), settings, Position::ZERO).unwrap()
}

fn append(writer: &mut Writer, byte_len: usize) -> Result<Position, Error> {
    let payload = Payload::from(Bytes::from(vec![b'x'; byte_len]));
    let (append, mut answered) = Append::new(Kind::Events, NonZeroU32::MIN, payload);
    writer.commit(vec![append]);
    answered.try_recv().unwrap()
}

fn count_records(writer: &Writer) -> u64 {
    let mut reader = Reader::new(writer.shared.clone(), Position::ZERO);
    let mut count = 0;
    while let Some(record) = reader.next(Duration::ZERO).unwrap() {
        assert_eq!(record.first, Position(count));
        count += 1;
    }
    count
}

#[test]
fn a_full_disk_refuses_and_takes_again_when_there_is_room() {
    for can_reserve in [true, false] {
        let disk = ModelDisk::new(0);
        disk.set_can_reserve(can_reserve);
        disk.set_capacity(Some(50_000));
        let mut writer = open(&disk, settings());
        let mut accepted = 0;
        while append(&mut writer, 1000).is_ok() {
            accepted += 1;
        }
        assert!(accepted > 40, "the disk is used to its brim: {accepted}");
        for _ in 0..3 {
            let error = append(&mut writer, 1000).unwrap_err();
            assert!(matches!(error, Error::DiskFull { .. }), "{error:?}");
        }
        assert_eq!(count_records(&writer), accepted);

        disk.set_capacity(Some(60_000));
        assert_eq!(append(&mut writer, 1000).unwrap(), Position(accepted));
        drop(writer);
        disk.lose_power();
        assert_eq!(count_records(&open(&disk, settings())), accepted + 1);
    }
}

#[test]
fn a_full_journal_refuses_until_something_is_released() {
    let disk = ModelDisk::new(0);
    let settings = Settings {
        max_size_bytes: 20_000,
        ..settings()
    };
    let mut writer = open(&disk, settings);
    let mut accepted = 0;
    let error = loop {
        match append(&mut writer, 1000) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    let Error::Full {
        bytes,
        bytes_max: 20_000,
    } = error
    else {
        panic!("{error:?}");
    };
    assert!((18_900..=20_000).contains(&bytes) && disk.used_bytes() >= bytes);

    writer.shared.release(Position(accepted / 2));
    assert_eq!(append(&mut writer, 1000).unwrap(), Position(accepted));
}

#[test]
fn a_full_journal_of_one_released_segment_begins_a_new_one() {
    let disk = ModelDisk::new(0);
    let settings = Settings {
        max_size_bytes: 20_000,
        segment_bytes: u64::MAX,
        ..settings()
    };
    let mut writer = open(&disk, settings);
    append(&mut writer, 15_000).unwrap();
    assert!(matches!(
        append(&mut writer, 15_000),
        Err(Error::Full { .. })
    ));
    writer.shared.release(Position(1));
    assert_eq!(append(&mut writer, 15_000).unwrap(), Position(1));
    assert_eq!(writer.shared.status().first, Position(1));

    let error = append(&mut writer, 30_000).unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { bytes: 30_040, .. }),
        "{error:?}"
    );
}

#[test]
fn after_a_failed_fsync_the_next_group_begins_a_new_segment() {
    let disk = ModelDisk::new(0);
    let mut writer = open(&disk, settings());
    append(&mut writer, 100).unwrap();
    disk.fail_syncs(0, 1);
    let error = append(&mut writer, 100).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot sync journal/00000000000000000000.journal"
    );
    assert_eq!(append(&mut writer, 100).unwrap(), Position(1));
    assert_eq!(writer.shared.status().segment_count, 2);
    drop(writer);
    disk.lose_power();
    assert_eq!(count_records(&open(&disk, settings())), 2);
}

fn one_event(text: &str) -> Payload {
    Payload::from(Bytes::copy_from_slice(text.as_bytes()))
}

#[tokio::test]
async fn a_real_directory_keeps_what_many_senders_append_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        segment_bytes: 2000,
        ..Settings::new(dir.path().join("a/journal"))
    };
    let local = Local::open(settings.clone(), Position::ZERO).unwrap();
    let texts: Vec<String> = (0..200).map(|number| format!("event {number}")).collect();
    let mut positions = BTreeMap::new();
    for wave in texts.chunks(100) {
        let append = |text: &String| local.append(Kind::Events, NonZeroU32::MIN, one_event(text));
        let answers = join_all(wave.iter().map(append)).await;
        for (text, position) in wave.iter().zip(answers) {
            positions.insert(position.unwrap(), text.clone());
        }
    }
    let mut reader = local.reader(Position::ZERO).unwrap();
    for (position, text) in &positions {
        let record = reader.next(LONG).unwrap().unwrap();
        assert_eq!(
            (record.first, &record.payload[..]),
            (*position, text.as_bytes())
        );
    }
    assert_eq!(local.end(), Position(200));
    assert!(local.status().segment_count > 1);
    local.close();
    assert!(matches!(
        local
            .append(Kind::Events, NonZeroU32::MIN, one_event("late"))
            .await,
        Err(Error::Closed)
    ));
    assert!(matches!(reader.next(LONG), Err(Error::Closed)));

    let report = crate::verify(&settings.dir).unwrap();
    assert!(report.is_clean());
    assert_eq!((report.events, report.end), (200, Position(200)));
    let local = Local::open(settings, Position(500)).unwrap();
    let position = local
        .append(Kind::Spans, NonZeroU32::new(3).unwrap(), one_event("later"))
        .await
        .unwrap();
    assert_eq!((position, local.end()), (Position(500), Position(503)));
}

/// Polls all of them before it waits for any, so that appends share fsyncs.
async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(|future| Some(Box::pin(future))).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(move |context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if let Some(waiting) = future
                && let std::task::Poll::Ready(ready) = waiting.as_mut().poll(context)
            {
                *output = Some(ready);
                *future = None;
            }
        }
        match outputs.iter().all(Option::is_some) {
            true => std::task::Poll::Ready(outputs.drain(..).flatten().collect()),
            false => std::task::Poll::Pending,
        }
    })
    .await
}

#[test]
fn a_reader_that_waits_is_woken_by_an_append_and_by_the_close() {
    let dir = tempfile::tempdir().unwrap();
    let local = Local::open(Settings::new(dir.path()), Position::ZERO).unwrap();
    let mut reader = local.reader(Position::ZERO).unwrap();
    assert_eq!(reader.next(Duration::ZERO).unwrap(), None);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            let record = reader.next(LONG).unwrap().unwrap();
            (record, reader.next(LONG))
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime
            .block_on(local.append(Kind::Samples, NonZeroU32::MIN, one_event("woken")))
            .unwrap();
        local.close();
        let (record, end) = waiting.join().unwrap();
        assert_eq!(
            (record.kind, &record.payload[..]),
            (Kind::Samples, &b"woken"[..])
        );
        assert!(matches!(end, Err(Error::Closed)));
    });
}

#[test]
fn a_reader_that_is_overtaken_by_releases_goes_on_at_the_first_kept_record() {
    let disk = ModelDisk::new(0);
    let mut writer = open(
        &disk,
        Settings {
            segment_bytes: 1000,
            ..settings()
        },
    );
    for _ in 0..20 {
        append(&mut writer, 500).unwrap();
    }
    let mut reader = Reader::new(writer.shared.clone(), Position::ZERO);
    assert_eq!(
        reader.next(Duration::ZERO).unwrap().unwrap().first,
        Position::ZERO
    );
    writer.shared.release(Position(11));
    let kept = writer.shared.status().first;
    assert!(kept > Position(5) && kept <= Position(11));
    assert_eq!(reader.next(Duration::ZERO).unwrap().unwrap().first, kept);

    let mut reader = Reader::new(writer.shared.clone(), Position(15));
    assert_eq!(
        reader.next(Duration::ZERO).unwrap().unwrap().first,
        Position(15)
    );
    let mut reader = Reader::new(writer.shared.clone(), Position(3));
    assert_eq!(reader.next(Duration::ZERO).unwrap().unwrap().first, kept);
}

#[test]
fn unknown_files_in_the_directory_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let foreign: PathBuf = dir.path().join("notes.txt");
    std::fs::write(&foreign, "mine").unwrap();
    let local = Local::open(Settings::new(dir.path()), Position::ZERO).unwrap();
    local.release(Position(100));
    drop(local);
    assert_eq!(std::fs::read_to_string(foreign).unwrap(), "mine");
}
