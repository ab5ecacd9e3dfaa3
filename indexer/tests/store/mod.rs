//! A log index in a temporary directory, as its two users see it.

#![allow(dead_code, clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event::{Batch, Event, IndexName, Ledger, Position, Timestamp};
use indexer::logs::{Hit, Leaf, Snapshot};
use indexer::{Catalog, Indexer, Settings};
use tantivy::query::EnableScoring;
use tantivy::{DocSet, TERMINATED};

pub const NOW: &str = "2026-11-23T10:00:00Z";

pub fn time(text: &str) -> Timestamp {
    Timestamp::parse_iso(text).unwrap()
}

pub struct Store {
    pub indexer: Indexer,
    pub ledger: Arc<Ledger>,
    pub next: Position,
}

impl Store {
    pub fn open(dir: &Path, journal_end: Position) -> Store {
        let settings = Settings {
            refresh_interval: Duration::ZERO,
            ..Settings::new(dir)
        };
        Store::open_with(settings, journal_end)
    }

    pub fn open_with(settings: Settings, journal_end: Position) -> Store {
        let ledger = Arc::new(Ledger::new());
        let catalog = Arc::new(Catalog::open(&settings.data_dir).unwrap());
        let indexer = Indexer::open(settings, catalog, Arc::clone(&ledger), journal_end).unwrap();
        Store {
            indexer,
            ledger,
            next: Position::ZERO,
        }
    }

    pub fn add(&mut self, events: Vec<Event>) {
        let count = events.len() as u64;
        let batch = Batch::new("test".into(), time(NOW), events);
        self.indexer.apply(self.next, &batch).unwrap();
        self.next = self.next.plus(count);
    }

    pub fn add_documents(&mut self, documents: &[&str]) {
        self.add(documents.iter().map(|document| event(document)).collect());
    }

    /// A fresh view of all shards; the indexer works on while the search waits for it.
    pub fn snapshot(&mut self) -> Snapshot {
        let log_index = self.indexer.log_index();
        std::thread::scope(|scope| {
            let search = scope.spawn(|| {
                let until = self.next;
                assert!(log_index.refresh(until, Duration::from_secs(60)));
                log_index.snapshot(|_| true)
            });
            while !search.is_finished() {
                self.indexer.tick().unwrap();
            }
            search.join().unwrap()
        })
    }
}

pub fn event(document: &str) -> Event {
    let value: serde_json::Value = serde_json::from_str(document).unwrap_or_default();
    let timestamp = value["@timestamp"].as_str().map_or(time(NOW), time);
    Event::create(
        IndexName::default_index(),
        timestamp,
        Bytes::copy_from_slice(document.as_bytes()),
    )
}

/// The sources of the events that match, in the order of their positions.
pub fn found(snapshot: &Snapshot, leaf: &Leaf) -> Vec<String> {
    let source = |hit: Hit| String::from_utf8(hit.source.to_vec()).unwrap();
    hits(snapshot, leaf).into_iter().map(source).collect()
}

/// The events that match, in the order of their positions.
pub fn hits(snapshot: &Snapshot, leaf: &Leaf) -> Vec<Hit> {
    let mut hits = Vec::new();
    for shard in &snapshot.shards {
        let query = shard.query(leaf).unwrap();
        let weight = query
            .weight(EnableScoring::disabled_from_searcher(shard.searcher()))
            .unwrap();
        for (number, reader) in shard.searcher().segment_readers().iter().enumerate() {
            let mut scorer = weight.scorer(reader, 1.0).unwrap();
            while scorer.doc() != TERMINATED {
                if !reader.is_deleted(scorer.doc()) {
                    hits.push(shard.event(number, scorer.doc()).unwrap());
                }
                scorer.advance();
            }
        }
    }
    hits.sort_by_key(|hit| hit.position);
    hits
}
