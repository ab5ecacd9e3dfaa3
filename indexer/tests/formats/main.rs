//! Shards that an older daybook wrote: everything in them is found, and they are written to as if they were new.

#![allow(clippy::unwrap_used)]

mod golden;
#[path = "../store/mod.rs"]
mod store;

use std::ops::Bound;
use std::path::Path;

use bytes::Bytes;
use event::{Day, Event, IndexName, Operation, Position, Timestamp};
use indexer::Settings;
use indexer::logs::{Field, Hit, Leaf, Scalar, Snapshot};

use golden::{Golden, Stored};
use store::{Store, hits, time};

const DAYS: [&str; 2] = ["2026.11.22", "2026.11.23"];

fn folder(data_dir: &Path, day: &str) -> std::path::PathBuf {
    data_dir.join("logs/shop").join(day)
}

fn open(data_dir: &Path, golden: &Golden) -> Store {
    let mut store = Store::open(data_dir, Position(golden.end));
    store.next = Position(golden.end);
    store.indexer.skip_to(store.next);
    store
}

/// Everything there is, in the order of the positions.
fn everything(snapshot: &Snapshot) -> Vec<Stored> {
    let stored = |hit: Hit| Stored {
        position: hit.position.0,
        shard: IndexName::parse("shop")
            .unwrap()
            .shard_name(Day::of(hit.timestamp)),
        id: hit.id,
        timestamp_ns: hit.timestamp.nanos(),
        source: hit.source.to_vec(),
    };
    let all = Leaf::Exists("@timestamp".into());
    hits(snapshot, &all).into_iter().map(stored).collect()
}

fn ids(ids: &[&str]) -> Leaf {
    Leaf::Ids(ids.iter().map(|id| (*id).to_owned()).collect())
}

fn with_id(operation: Operation, id: &str, timestamp_ns: i64, source: &str) -> Event {
    Event {
        id: Some(id.into()),
        operation,
        ..Event::create(
            IndexName::parse("shop").unwrap(),
            Timestamp::from_nanos(timestamp_ns),
            Bytes::copy_from_slice(source.as_bytes()),
        )
    }
}

#[test]
fn everything_in_shards_of_format_1_is_found() {
    let dir = everything_is_found("v1");
    assert_eq!(formats(dir.path()), ["3\n", "3\n"]);
}

#[test]
fn everything_in_shards_of_format_2_is_found() {
    everything_is_found("v2");
}

fn formats(data_dir: &Path) -> [String; 2] {
    DAYS.map(|day| std::fs::read_to_string(folder(data_dir, day).join("format")).unwrap())
}

fn everything_is_found(format: &str) -> tempfile::TempDir {
    let golden = Golden::read(format);
    let dir = golden::data_dir(format);
    let mut store = open(dir.path(), &golden);
    let snapshot = store.snapshot();
    assert!(snapshot.failed.is_empty(), "{:?}", snapshot.failed);
    assert_eq!(everything(&snapshot), golden.events);
    for event in &golden.events {
        let found = hits(&snapshot, &ids(&[&event.id]));
        let positions: Vec<u64> = found.iter().map(|hit| hit.position.0).collect();
        assert_eq!(positions, [event.position], "{}", event.id);
    }
    for id in &golden.gone {
        assert!(hits(&snapshot, &ids(&[id])).is_empty(), "{id}");
    }
    let named = |name: &str| Field::Named(name.into());
    let positions = |leaf: Leaf| -> Vec<u64> {
        let found = hits(&snapshot, &leaf);
        found.iter().map(|hit| hit.position.0).collect()
    };
    // When it was received stays, unless the document says so itself.
    for received in &golden.received {
        let at = || Bound::Included(Scalar::Time(time(received)));
        let all = golden.events.iter().zip(&golden.received);
        let has_own = |source: &[u8]| {
            let source = String::from_utf8_lossy(source);
            source.contains("\"own\"") && !source.contains("\"nothing\"")
        };
        let expected: Vec<u64> = all
            .filter(|(event, of_event)| *of_event == received && !has_own(&event.source))
            .map(|(event, _)| event.position)
            .collect();
        assert_eq!(
            positions(Leaf::Range(named("event.ingested"), at(), at())),
            expected,
            "{received}"
        );
    }
    let own = Leaf::Equals(named("event.ingested"), Scalar::Text("long ago".into()));
    assert_eq!(positions(own).len(), 1);
    let words = |field, text: &str| positions(Leaf::Words(field, text.into())).len();
    assert_eq!(words(Field::Any, "zoë"), 1);
    assert_eq!(words(named("message"), "order 10041"), 1);
    let level = Leaf::Equals(named("level"), Scalar::Text("warn".into()));
    assert_eq!(positions(level).len(), 19);
    drop(snapshot);
    dir
}

#[test]
fn converted_shards_are_written_to_as_if_they_were_new() {
    are_written_to("v1");
}

#[test]
fn shards_of_format_2_are_written_to_as_if_they_were_new() {
    let dir = are_written_to("v2");
    assert_eq!(formats(dir.path()), ["3\n", "3\n"]);
}

fn are_written_to(format: &str) -> tempfile::TempDir {
    let golden = Golden::read(format);
    let dir = golden::data_dir(format);
    let mut store = open(dir.path(), &golden);
    let mut expected = golden.events.clone();
    // One with an id of its sender, one with an id of ours.
    let replaced: Vec<Stored> = ["invoice-1", &golden.events[1].id]
        .iter()
        .map(|id| expected.remove(expected.iter().position(|event| event.id == **id).unwrap()))
        .collect();
    let deleted = expected.remove(
        expected
            .iter()
            .position(|event| event.id == "job-9")
            .unwrap(),
    );
    // The journal is read again from before the end of what the shards have.
    let again = &golden.events[golden.events.len() - 1];
    store.next = Position(again.position);
    store.add(vec![with_id(
        Operation::Create,
        "never stored",
        again.timestamp_ns,
        "{}",
    )]);
    store.next = Position(golden.end);
    let mut events = vec![with_id(
        Operation::Delete,
        &deleted.id,
        deleted.timestamp_ns,
        "",
    )];
    for old in &replaced {
        let source = r#"{"replaced":true}"#;
        expected.push(Stored {
            position: golden.end + events.len() as u64,
            source: source.as_bytes().to_vec(),
            ..old.clone()
        });
        events.push(with_id(Operation::Index, &old.id, old.timestamp_ns, source));
    }
    store.add(events);
    assert_eq!(everything(&store.snapshot()), expected);
    store.indexer.close().unwrap();
    let mut store = open(dir.path(), &golden);
    assert_eq!(everything(&store.snapshot()), expected);
    drop(store);
    dir
}

#[test]
fn a_check_verifies_older_shards_and_changes_nothing() {
    for format in ["v1", "v2"] {
        check_changes_nothing(format);
    }
}

fn check_changes_nothing(format: &str) {
    let golden = Golden::read(format);
    let dir = golden::data_dir(format);
    let report = indexer::check(dir.path(), true).unwrap();
    assert!(report.is_clean(), "{report:?}");
    let events: u64 = report.shards.iter().map(|shard| shard.events).sum();
    assert_eq!(events, golden.events.len() as u64);
    let expected = format!("{}\n", &format[1..]);
    assert_eq!(formats(dir.path()), [expected.clone(), expected]);
}

/// A shard that cannot be converted is no reason not to start, and is not forgotten either.
#[test]
fn a_damaged_shard_of_format_1_is_reported_and_stays_until_an_event_needs_its_place() {
    let golden = Golden::read("v1");
    let dir = golden::data_dir("v1");
    let damaged = folder(dir.path(), DAYS[1]);
    let store_file = std::fs::read_dir(&damaged)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|kind| kind == "store"))
        .unwrap();
    let mut bytes = std::fs::read(&store_file).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&store_file, bytes).unwrap();

    let of_first_day: Vec<Stored> = golden
        .events
        .iter()
        .filter(|event| event.shard.ends_with(DAYS[0]))
        .cloned()
        .collect();
    for _ in 0..2 {
        let mut store = open(dir.path(), &golden);
        for _ in 0..2 {
            let snapshot = store.snapshot();
            assert_eq!(everything(&snapshot), of_first_day);
            let failed: Vec<String> = snapshot.failed.iter().map(ToString::to_string).collect();
            assert!(
                failed.len() == 1 && failed[0].contains("wrong checksum"),
                "{failed:?}"
            );
        }
        assert!(store_file.exists());
    }
    let report = indexer::check(dir.path(), false).unwrap();
    assert!(report.shards[1].damage.is_some(), "{report:?}");

    let mut store = Store::open_with(Settings::new(dir.path()), Position(golden.end));
    let late = golden.events[golden.events.len() - 1].timestamp_ns;
    let batch = event::Batch::new(
        "test".into(),
        time(store::NOW),
        vec![with_id(Operation::Create, "late", late, "{}")],
    );
    let error = store
        .indexer
        .apply(Position(golden.end), &batch)
        .unwrap_err();
    assert!(matches!(error, indexer::Error::Damaged { .. }), "{error}");
    store.indexer.apply(Position(golden.end), &batch).unwrap();
    store.next = Position(golden.end + 1);
    let snapshot = store.snapshot();
    assert!(snapshot.failed.is_empty());
    assert_eq!(everything(&snapshot).len(), of_first_day.len() + 1);
    assert!(folder(dir.path(), "2026.11.23.damaged").exists());
}
