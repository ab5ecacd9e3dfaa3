//! Any query that is taken is asked of a small index: the search ends, and an event fulfils either the query or its
//! opposite.
//!
//! The first byte chooses the language and its options.

#![no_main]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use event::{Batch, Event, IndexName, Ledger, Position, Timestamp};
use indexer::logs::ShardReader;
use indexer::{Catalog, Indexer, Settings};
use libfuzzer_sys::fuzz_target;
use query::elastic::language::dsl::{QueryContext, parse};
use query::logs::filter::Filter;
use serde_json::json;

/// Words, numbers, times, nested fields; one has no field beside its time.
const DOCUMENTS: [&str; 4] = [
    r#"{"message":"Request 7 timed out at web-1","level":"error","status":504,"host":{"name":"web-1"},"took":1.5}"#,
    r#"{"message":"größe é 10.0.0.1 C:\\temp","level":"info","status":-1,"tags":["a","b c"],"ok":true}"#,
    r#"{"message":"a b a b AND OR","due":"2026-11-23T10:00:00Z","status":"504","took":9e15,"host":{"ip":"10.0.0.1"}}"#,
    "{}",
];

fuzz_target!(|input: (u8, &str)| {
    let (choice, text) = input;
    let mut query = json!({"query": text});
    if choice & 1 != 0 {
        query["default_operator"] = "and".into();
    }
    if choice & 2 != 0 {
        query["fields"] = json!(["message", "host.*", "status"]);
    }
    let language = match choice & 4 {
        0 => "query_string",
        _ => "simple_query_string",
    };
    let context = QueryContext {
        now: Timestamp::from_nanos(0),
    };
    let Ok(filter) = parse(&json!({ language: query }), &context) else {
        return;
    };
    let shard = shard();
    let (Some(fitting), Some(others)) = (
        count(&filter, shard),
        count(&filter.clone().negate(), shard),
    ) else {
        return;
    };
    assert_eq!(fitting + others, DOCUMENTS.len(), "{filter:?}");
});

/// `None` when the shard refuses a pattern.
fn count(filter: &Filter, shard: &ShardReader) -> Option<usize> {
    let query = filter.query(shard).ok()?;
    Some(
        query
            .count(shard.searcher())
            .expect("a small index is read"),
    )
}

fn shard() -> &'static ShardReader {
    static SHARD: OnceLock<ShardReader> = OnceLock::new();
    SHARD.get_or_init(|| {
        // The files are read through open handles; the folder may go.
        let dir = tempfile::tempdir().expect("a temporary folder is made");
        shard_in(dir.path())
    })
}

fn shard_in(dir: &std::path::Path) -> ShardReader {
    let settings = Settings {
        refresh_interval: Duration::ZERO,
        ..Settings::new(dir)
    };
    let catalog = Arc::new(Catalog::open(dir).expect("an empty folder is opened"));
    let ledger = Arc::new(Ledger::new());
    let mut indexer = Indexer::open(settings, catalog, ledger, Position::ZERO)
        .expect("an empty folder is opened");
    let time = Timestamp::from_nanos(1_795_428_000_000_000_000);
    let event = |document: &'static str| {
        Event::create(IndexName::default_index(), time, Bytes::from(document))
    };
    let batch = Batch::new("fuzz".into(), time, DOCUMENTS.map(event).into());
    indexer
        .apply(Position::ZERO, &batch)
        .expect("events are indexed");
    let log_index = indexer.log_index();
    let until = Position(DOCUMENTS.len() as u64);
    let asked = std::thread::spawn(move || {
        assert!(log_index.refresh(until, Duration::from_secs(60)));
        log_index.snapshot(|_| true)
    });
    while !asked.is_finished() {
        indexer.tick().expect("events are made visible");
    }
    let mut snapshot = asked.join().expect("the snapshot is made");
    snapshot.shards.remove(0)
}
