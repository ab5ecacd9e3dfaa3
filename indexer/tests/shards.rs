//! The log index as its two users see it: events go in with their positions, leaves are asked of snapshots.

#![allow(clippy::unwrap_used)]

mod store;

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use event::{Event, Operation, Position};
use indexer::Settings;
use indexer::logs::{Field, Interrupt, Leaf, LogIndex, Pattern, Scalar, Snapshot};

use tantivy::query::EnableScoring;

use store::{NOW, Store, event, found, hits, time};

fn named(name: &str) -> Field {
    Field::Named(name.into())
}

/// Asserts which documents, by their number, match.
#[track_caller]
fn check(snapshot: &Snapshot, documents: &[&str], leaf: Leaf, expected: &[usize]) {
    let numbers: Vec<usize> = found(snapshot, &leaf)
        .iter()
        .map(|source| {
            documents
                .iter()
                .position(|document| document == source)
                .unwrap()
        })
        .collect();
    assert_eq!(numbers, expected, "{leaf:?}");
}

#[test]
fn one_field_of_every_type_is_found_by_every_leaf() {
    let documents = [
        r#"{"@timestamp":"2026-11-23T09:00:00Z","message":"Got exception while serving blk_123","status":500,"level":"ERROR"}"#,
        r#"{"@timestamp":"2026-11-23T09:00:01Z","message":"exception? while","status":"500","level":"info"}"#,
        r#"{"@timestamp":"2026-11-22T23:59:59Z","message":["a b","while exception"],"status":{"code":500,"text":"Not Found"}}"#,
        r#"{"@timestamp":"2026-11-23T09:00:03Z","status":[1,"x",null,2.5],"ip":"192.168.7.1","user.name":"Zoë Smith"}"#,
        r#"{"@timestamp":"2026-11-23T09:00:04Z","status":null,"user":{"name":"bob"},"ok":true,"at":"2026-11-01T00:00:00Z"}"#,
        r#"{"@timestamp":"2026-11-23T09:00:05Z","big":18446744073709551615,"neg":-5,"zero":0.470,"empty":""}"#,
    ];
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), Position::ZERO);
    store.add_documents(&documents[..3]);
    let _ = store.snapshot();
    store.add_documents(&documents[3..]);
    let snapshot = store.snapshot();
    assert_eq!(snapshot.shards.len(), 2);
    let check = |leaf, expected: &[usize]| check(&snapshot, &documents, leaf, expected);
    let words = |field, text: &str| Leaf::Words(field, text.into());
    let text = |text: &str| Scalar::Text(text.into());

    check(words(Field::Any, "exception"), &[0, 1, 2]);
    check(words(Field::Any, "EXCEPTION while"), &[0, 1]);
    check(words(Field::Any, "zoë"), &[3]);
    check(words(Field::Any, "500"), &[0, 1, 2]);
    check(words(named("message"), "while"), &[0, 1, 2]);
    check(words(named("message"), "while exception"), &[2]);
    check(words(named("level"), "error"), &[0]);
    check(words(named("level.keyword"), "error"), &[0]);
    check(words(named("status"), "500"), &[0, 1]);
    check(words(named("status.text"), "found"), &[2]);
    check(words(named("user.name"), "smith"), &[3]);
    check(words(named("nothing"), "smith"), &[]);
    check(words(named("@timestamp"), "2026-11-23T09:00:00Z"), &[0]);

    check(Leaf::Equals(named("status"), Scalar::Integer(500)), &[0, 1]);
    check(Leaf::Equals(named("status"), text("500")), &[0, 1]);
    check(Leaf::Equals(named("status"), Scalar::Float(2.5)), &[3]);
    check(
        Leaf::Equals(named("status.code"), Scalar::Float(500.0)),
        &[2],
    );
    check(Leaf::Equals(named("status.text"), text("Not Found")), &[2]);
    check(Leaf::Equals(named("status.text"), text("not found")), &[]);
    check(Leaf::Equals(named("message"), text("a b")), &[2]);
    check(Leaf::Equals(named("ok"), text("true")), &[4]);
    check(Leaf::Equals(named("big"), Scalar::Unsigned(u64::MAX)), &[5]);
    check(Leaf::Equals(named("empty"), text("")), &[5]);
    check(Leaf::Equals(named("at"), text("2026-11-01")), &[4]);

    let wildcard = |pattern: &str| Pattern::Wildcard(pattern.into());
    check(
        Leaf::WordPattern(Field::Any, wildcard("exc*ion")),
        &[0, 1, 2],
    );
    check(Leaf::WordPattern(named("message"), wildcard("blk_*")), &[0]);
    check(Leaf::WordPattern(named("message"), wildcard("*erv*")), &[0]);
    check(Leaf::WordPattern(named("ip"), wildcard("192.168.*")), &[3]);
    check(Leaf::WordPattern(Field::Any, wildcard("192.168.*")), &[3]);
    check(
        Leaf::WordPattern(named("level"), Pattern::Prefix("ERR".into())),
        &[0],
    );
    check(Leaf::WordPattern(named("status"), wildcard("5*")), &[0, 1]);
    check(
        Leaf::ValuePattern(named("user.name"), wildcard("Z* Smith")),
        &[3],
    );
    check(
        Leaf::ValuePattern(named("level"), Pattern::Regex("(ERROR|WARN)".into())),
        &[0],
    );
    check(
        Leaf::ValuePattern(named("message.keyword"), Pattern::Regex("Got.*".into())),
        &[0],
    );
    check(
        Leaf::WordPattern(named("message"), Pattern::Fuzzy("exceptoin".into(), 1)),
        &[0, 1, 2],
    );

    let range = |name: &str, lower, upper| Leaf::Range(named(name), lower, upper);
    check(
        range(
            "status",
            Bound::Included(Scalar::Integer(500)),
            Bound::Unbounded,
        ),
        &[0],
    );
    check(
        range(
            "status",
            Bound::Excluded(Scalar::Integer(1)),
            Bound::Included(Scalar::Float(2.5)),
        ),
        &[3],
    );
    check(
        range("neg", Bound::Unbounded, Bound::Excluded(Scalar::Integer(0))),
        &[5],
    );
    check(
        range(
            "level",
            Bound::Included(text("a")),
            Bound::Included(text("z")),
        ),
        &[1],
    );
    check(
        range(
            "@timestamp",
            Bound::Excluded(Scalar::Time(time("2026-11-23T09:00:03Z"))),
            Bound::Unbounded,
        ),
        &[4, 5],
    );
    check(
        range(
            "at",
            Bound::Included(text("2026-10-31")),
            Bound::Excluded(text("2026-11-02")),
        ),
        &[4],
    );
    check(
        range(
            "event.ingested",
            Bound::Included(Scalar::Time(time(NOW))),
            Bound::Included(Scalar::Time(time(NOW))),
        ),
        &[0, 1, 2, 3, 4, 5],
    );

    check(Leaf::Exists("status".into()), &[0, 1, 2, 3]);
    check(Leaf::Exists("status.code".into()), &[2]);
    check(Leaf::Exists("message".into()), &[0, 1, 2]);
    check(Leaf::Exists("user".into()), &[3, 4]);
    check(Leaf::Exists("empty".into()), &[5]);
    check(Leaf::Exists("@timestamp".into()), &[0, 1, 2, 3, 4, 5]);

    let kinds = snapshot.shards[1].fields();
    assert!(
        kinds["status"].integer
            && kinds["status"].text
            && kinds["message"].full_text
            && kinds["@timestamp"].time
    );
}

#[test]
fn ids_are_unique_and_events_can_be_replaced_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), Position::ZERO);
    let with_id = |operation, id: &str, source: &str| Event {
        id: Some(id.into()),
        operation,
        ..event(source)
    };
    store.add(vec![
        event(r#"{"n":0}"#),
        with_id(Operation::Create, "a", r#"{"n":1}"#),
        with_id(Operation::Create, "b", r#"{"n":2}"#),
    ]);
    let snapshot = store.snapshot();
    let ours = hits(&snapshot, &Leaf::Equals(named("n"), Scalar::Integer(0)))
        .remove(0)
        .id;
    assert_eq!(
        store.indexer.log_index().event_ids().position_of(&ours),
        Some(Position(0))
    );
    assert_eq!(
        found(
            &snapshot,
            &Leaf::Ids(vec!["a".into(), ours.clone(), "x".into()])
        ),
        [r#"{"n":0}"#, r#"{"n":1}"#]
    );

    store.add(vec![
        with_id(Operation::Index, "a", r#"{"n":3}"#),
        with_id(Operation::Delete, "b", ""),
    ]);
    let snapshot = store.snapshot();
    assert_eq!(
        found(&snapshot, &Leaf::Exists("n".into())),
        [r#"{"n":0}"#, r#"{"n":3}"#]
    );
    store.add(vec![
        with_id(Operation::Delete, &ours, ""),
        with_id(Operation::Index, "a", r#"{"n":4}"#),
        with_id(Operation::Index, "a", r#"{"n":5}"#),
    ]);
    let snapshot = store.snapshot();
    assert_eq!(found(&snapshot, &Leaf::Exists("n".into())), [r#"{"n":5}"#]);
    assert_eq!(snapshot.shards[0].event_count(), 1);
}

#[test]
fn feeding_the_journal_again_stores_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let documents: Vec<String> = (0..100)
        .map(|n| format!(r#"{{"@timestamp":"2026-11-2{}T09:00:00Z","n":{n}}}"#, n % 4))
        .collect();
    let batches: Vec<Vec<Event>> = documents
        .chunks(7)
        .map(|chunk| chunk.iter().map(|document| event(document)).collect())
        .collect();
    let feed = |store: &mut Store, count: usize| {
        store.next = Position::ZERO;
        for batch in &batches[..count] {
            store.add(batch.clone());
        }
    };
    let mut store = Store::open(dir.path(), Position::ZERO);
    feed(&mut store, 5);
    store.indexer.close().unwrap();

    // Some events are visible, some only added; nothing of them is persisted when the process dies.
    let mut store = Store::open(dir.path(), Position(35));
    feed(&mut store, 9);
    let _ = store.snapshot();
    feed(&mut store, 12);
    drop(store.indexer);

    let mut store = Store::open(dir.path(), Position(84));
    feed(&mut store, batches.len());
    let snapshot = store.snapshot();
    let mut all = found(&snapshot, &Leaf::Exists("n".into()));
    all.sort_by_key(|source| documents.iter().position(|document| document == source));
    assert_eq!(all, documents);
    let totals = store.ledger.totals().remove(0);
    assert_eq!((totals.stored, totals.in_flight), (100, 0));
    assert_eq!(store.indexer.release_before(), Position(35));
    store.indexer.close().unwrap();
    let store = Store::open(dir.path(), Position(100));
    assert_eq!(store.ledger.totals()[0].stored, 100);
}

#[test]
fn sources_come_back_as_they_were_sent() {
    let deep = format!("{}1{}", r#"{"a":"#.repeat(200), "}".repeat(200));
    let wide = format!(
        "{{{}}}",
        (0..10_000)
            .map(|n| format!("\"field_{n}\":{n}"))
            .collect::<Vec<_>>()
            .join(",")
    );
    let long = format!(r#"{{"blob":"{}","needle":"here"}}"#, "x y ".repeat(225_000));
    let documents = [
        r#"{ "b" : 0.470, "a":1e3, "b":12345678901234567890123, "":{"":null}, "u":"\u00e9\ud83d\ude00", "arr":[[],{}] }"#,
        r#"{"lone":"\ud800","big":1e999}"#,
        &deep,
        &wide,
        &long,
    ];
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), Position::ZERO);
    store.add_documents(&documents);
    let snapshot = store.snapshot();
    check(
        &snapshot,
        &documents,
        Leaf::Exists("event.ingested".into()),
        &[0, 1, 2, 3, 4],
    );
    check(
        &snapshot,
        &documents,
        Leaf::Exists(vec!["a"; 200].join(".")),
        &[2],
    );
    check(
        &snapshot,
        &documents,
        Leaf::Equals(named("field_9999"), Scalar::Integer(9999)),
        &[3],
    );
    check(
        &snapshot,
        &documents,
        Leaf::Words(named("needle"), "here".into()),
        &[4],
    );
    check(
        &snapshot,
        &documents,
        Leaf::Words(named("blob"), "x y x y".into()),
        &[4],
    );
    check(&snapshot, &documents, Leaf::Exists("lone".into()), &[1]);
    check(
        &snapshot,
        &documents,
        Leaf::Words(named("big"), "1e999".into()),
        &[1],
    );
}

#[test]
fn a_search_waits_for_a_shard_nobody_searched_and_a_refresh_waits_for_a_position() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), Position::ZERO);
    let log_index: LogIndex = store.indexer.log_index();
    store.add_documents(&[r#"{"n":1}"#]);
    store.indexer.tick().unwrap();
    assert_eq!(log_index.progress().visible, Position::ZERO);
    let searcher = {
        let log_index = log_index.clone();
        std::thread::spawn(move || found(&log_index.snapshot(|_| true), &Leaf::Exists("n".into())))
    };
    while !searcher.is_finished() {
        store.indexer.tick().unwrap();
    }
    assert_eq!(searcher.join().unwrap(), [r#"{"n":1}"#]);
    assert!(log_index.refresh(Position(1), Duration::ZERO));
    assert!(!log_index.refresh(Position(2), Duration::ZERO));
}

#[test]
fn a_day_that_is_over_becomes_one_segment_and_takes_late_events() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        refresh_interval: Duration::ZERO,
        late_window: Duration::ZERO,
        ..Settings::new(dir.path())
    };
    let mut store = Store::open_with(settings, Position::ZERO);
    let document = |number: usize| {
        format!(
            r#"{{"@timestamp":"2026-11-20T09:00:00.{number:03}Z","message":"request {number} took 5 ms"}}"#
        )
    };
    let words = Leaf::Words(Field::Any, "took".into());
    let segments = |snapshot: &Snapshot| snapshot.shards[0].searcher().segment_readers().len();
    let mut sent = Vec::new();
    for round in 0..3 {
        // A day is sealed once it is quiet; then a late event opens it again.
        for _ in 0..5 {
            let document = document(sent.len());
            store.add_documents(&[&document]);
            sent.push(document);
            assert_eq!(found(&store.snapshot(), &words), sent, "round {round}");
        }
        let begun = std::time::Instant::now();
        while segments(&store.snapshot()) > 1 {
            assert!(begun.elapsed() < Duration::from_secs(60), "is never sealed");
            store.indexer.tick().unwrap();
        }
        assert_eq!(found(&store.snapshot(), &words), sent, "round {round}");
    }
    store.indexer.close().unwrap();
    let mut store = Store::open(dir.path(), Position::ZERO);
    let snapshot = store.snapshot();
    assert_eq!(segments(&snapshot), 1);
    assert_eq!(found(&snapshot, &words), sent);
}

#[test]
fn a_piece_that_lies_where_a_long_run_is_cut_into_words_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), Position::ZERO);
    // Words end after 255 characters.
    let token = |number: usize| format!("{}needle{number:04}{}", "x".repeat(250), "y".repeat(40));
    let different: Vec<String> = (0..40)
        .map(|number| format!(r#"{{"token":"{}"}}"#, token(number)))
        .collect();
    let alike = format!(r#"{{"same":"{}"}}"#, token(7));
    for document in &different {
        store.add_documents(&[document, &alike]);
    }
    let snapshot = store.snapshot();
    let pattern = |field, text: &str| {
        let leaf = Leaf::ValuePattern(field, Pattern::Wildcard(text.into()));
        found(&snapshot, &leaf).len()
    };
    assert_eq!(pattern(Field::Any, "*needle0007*"), 41);
    assert_eq!(
        pattern(Field::Named("token.keyword".into()), "*eedle0003*"),
        1
    );
    assert_eq!(
        pattern(Field::Named("same.keyword".into()), "*xneedle0*"),
        40
    );
    assert_eq!(pattern(Field::Any, "*needles*"), 0);
}

#[test]
fn a_beginning_is_found_where_words_have_nearly_all_beginnings() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), Position::ZERO);
    // Every three hexadecimal digits once, in some order, and more behind them.
    let id = |number: u32| format!("{:03x}{number:05x}", number * 1_557 % 4_096);
    let documents: Vec<String> = (0..4_096)
        .map(|number| format!(r#"{{"id":"{}"}}"#, id(number)))
        .collect();
    store.add_documents(&documents.iter().map(String::as_str).collect::<Vec<_>>());
    let snapshot = store.snapshot();
    for beginning in ["abc", "00", "fff0", "7d1"] {
        let expected = (0..4_096).filter(|number| id(*number).starts_with(beginning));
        for field in [Field::Any, Field::Named("id".into())] {
            let leaf = Leaf::WordPattern(field, Pattern::Prefix(beginning.into()));
            assert_eq!(
                found(&snapshot, &leaf).len(),
                expected.clone().count(),
                "{beginning}"
            );
        }
    }
}

/// A store whose days are sealed at once.
fn sealing(dir: &std::path::Path, exact: &[&str]) -> Store {
    let settings = Settings {
        refresh_interval: Duration::ZERO,
        // So that a batch is one segment.
        writer_threads: 1,
        late_window: Duration::ZERO,
        exact: vec![(
            "*".to_owned(),
            exact.iter().map(|path| (*path).to_owned()).collect(),
        )],
        ..Settings::new(dir)
    };
    Store::open_with(settings, Position::ZERO)
}

/// More different ids, and users, than get a column by themselves.
fn orders(from: u32) -> Vec<String> {
    let order = |number: u32| {
        format!(
            r#"{{"@timestamp":"2026-11-20T09:00:00Z","trace":{{"id":"t-{number}"}},"user":"u-{number}","n":{number}}}"#
        )
    };
    (from..from + 1_500).map(order).collect()
}

fn is_column(snapshot: &Snapshot, path: &str) -> bool {
    let shard = &snapshot.shards[0];
    (0..shard.searcher().segment_readers().len())
        .all(|segment| shard.has_text_column(segment, path))
}

fn wait_for(store: &mut Store, holds: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let begun = std::time::Instant::now();
    loop {
        let snapshot = store.snapshot();
        if holds(&snapshot) {
            return snapshot;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it never holds");
        store.indexer.tick().unwrap();
    }
}

fn segment_count(snapshot: &Snapshot) -> usize {
    snapshot.shards[0].searcher().segment_readers().len()
}

#[test]
fn an_exact_field_has_its_column_once_the_day_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = sealing(dir.path(), &["trace.id"]);
    let add = |store: &mut Store, from: u32| {
        let orders = orders(from);
        store.add_documents(&orders.iter().map(String::as_str).collect::<Vec<_>>());
        store.snapshot()
    };
    let by_id = |id: &str| Leaf::Equals(Field::Named("trace.id".into()), Scalar::Text(id.into()));
    add(&mut store, 0);
    let snapshot = add(&mut store, 1_500);
    assert!(!is_column(&snapshot, "user"));
    let snapshot = wait_for(&mut store, |snapshot| segment_count(snapshot) == 1);
    assert!(is_column(&snapshot, "trace.id"));
    assert!(!is_column(&snapshot, "user"));
    assert_eq!(
        found(&snapshot, &by_id("t-2999")),
        [orders(2_999).remove(0)]
    );
    assert!(found(&snapshot, &by_id("T-2999")).is_empty());
    drop(snapshot);

    // Late events do not take it away.
    add(&mut store, 3_000);
    let snapshot = wait_for(&mut store, |snapshot| segment_count(snapshot) == 1);
    assert!(is_column(&snapshot, "trace.id"));
    assert_eq!(
        found(&snapshot, &by_id("t-4499")),
        [orders(4_499).remove(0)]
    );
    drop(snapshot);
    store.indexer.close().unwrap();

    // The settings name another one: the day is sealed again, though it was one segment.
    let mut store = sealing(dir.path(), &["user"]);
    let snapshot = wait_for(&mut store, |snapshot| is_column(snapshot, "user"));
    assert!(is_column(&snapshot, "trace.id"));
    assert_eq!(segment_count(&snapshot), 1);
    assert_eq!(found(&snapshot, &Leaf::Exists("n".into())).len(), 4_500);
}

#[test]
fn a_field_that_searches_aggregate_by_has_its_column_once_the_day_is_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        refresh_interval: Duration::ZERO,
        // So that a batch is one segment.
        writer_threads: 1,
        ..Settings::new(dir.path())
    };
    let mut store = Store::open_with(settings, Position::ZERO);
    for from in [0, 1_500] {
        let orders = orders(from);
        store.add_documents(&orders.iter().map(String::as_str).collect::<Vec<_>>());
        store.snapshot();
    }
    let snapshot = store.snapshot();
    assert!(!is_column(&snapshot, "user"));
    for _ in 0..3 {
        for segment in 0..segment_count(&snapshot) {
            assert_eq!(
                snapshot.shards[0].columns(segment, "user").unwrap().len(),
                1
            );
        }
    }
    drop(snapshot);
    store.indexer.seal_at_once();
    let snapshot = wait_for(&mut store, |snapshot| segment_count(snapshot) == 1);
    assert!(is_column(&snapshot, "user"));
    assert!(!is_column(&snapshot, "trace.id"));
}

/// Stops work once it decompressed so much.
struct Budget {
    decoded: AtomicU64,
    max: u64,
    failures: AtomicU64,
}

impl Interrupt for Budget {
    fn is_interrupted(&self) -> bool {
        self.decoded.load(Ordering::Relaxed) > self.max
    }

    fn decoded(&self, bytes: u64) {
        self.decoded.fetch_add(bytes, Ordering::Relaxed);
    }

    fn failed(&self, _: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_search_reads_no_further_than_it_may() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), Position::ZERO);
    // One block of many frames: nothing in these messages comes twice, and any may have what is sought.
    let mut state = 7_u64;
    let mut word = || {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
        format!("{:08x}", state >> 32)
    };
    let documents: Vec<String> = (0..12_000)
        .map(|_| {
            let words: Vec<String> = (0..12).map(|_| word()).collect();
            format!("{{\"message\":\"{}\"}}", words.join(" "))
        })
        .collect();
    store.add(documents.iter().map(|document| event(document)).collect());
    let snapshot = store.snapshot();
    let leaf = Leaf::WordPattern(named("message"), Pattern::Wildcard("*1234*".into()));
    let read_at_most = |max: u64| {
        let budget = Arc::new(Budget {
            decoded: AtomicU64::new(0),
            max,
            failures: AtomicU64::new(0),
        });
        let mut found = 0;
        for shard in &snapshot.shards {
            let shard = shard.interruptible(Arc::clone(&budget) as Arc<dyn Interrupt>);
            let query = shard.query(&leaf).unwrap();
            let enabled = EnableScoring::disabled_from_searcher(shard.searcher());
            let weight = query.weight(enabled).unwrap();
            // A segment that is not begun any more is an error.
            let counts = shard.searcher().segment_readers().iter();
            found += counts.map_while(|one| weight.count(one).ok()).sum::<u32>() as usize;
        }
        assert_eq!(budget.failures.load(Ordering::Relaxed), 0);
        (found, budget.decoded.load(Ordering::Relaxed))
    };
    // What is in the cache costs nothing: the bounded search comes first.
    let max = 600_000;
    let (found, decoded) = read_at_most(max);
    // A frame is the last thing that is read.
    assert!(decoded > max && decoded < max + 256 * 1024, "{decoded}");
    let (all, rest) = read_at_most(u64::MAX);
    assert!(rest > max / 2, "{rest}");
    assert!(found < all, "{found} of {all}");
    let expected = documents.iter().filter(|text| {
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
        words.any(|word| word.contains("1234"))
    });
    assert_eq!(all, expected.count());
}
