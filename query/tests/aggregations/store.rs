//! A log index in a temporary directory, and aggregations asked of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event::{Batch, Event, IndexName, Ledger, Position, Timestamp};
use indexer::logs::Snapshot;
use indexer::{Catalog, Indexer, Settings};
use query::elastic::aggregations::{self, AggregationContext};
use query::elastic::error::ElasticError;
use query::elastic::language::dsl::{self, QueryContext};
use query::limits::Budget;
use query::logs::aggregate::{Partial, TopEntry};
use query::logs::filter::Filter;
use serde_json::{Value, json};
use tantivy::query::EnableScoring;
use tempfile::TempDir;

pub const NOW: &str = "2026-11-23T10:00:00Z";

pub fn time(text: &str) -> Timestamp {
    Timestamp::parse_iso(text).unwrap()
}

pub fn ms(text: &str) -> i64 {
    time(text).millis()
}

/// Documents in shards; each slice of documents becomes segments of its own.
pub struct Store {
    snapshot: Snapshot,
    _indexer: Indexer,
    _directory: TempDir,
}

impl Store {
    pub fn new(segments: &[&[Value]]) -> Store {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings {
            refresh_interval: Duration::ZERO,
            writer_threads: 1,
            ..Settings::new(directory.path())
        };
        let catalog = Arc::new(Catalog::open(directory.path()).unwrap());
        let ledger = Arc::new(Ledger::new());
        let mut indexer = Indexer::open(settings, catalog, ledger, Position::ZERO).unwrap();
        let mut next = Position::ZERO;
        let mut latest = view(&mut indexer, next);
        for documents in segments {
            let events: Vec<Event> = documents.iter().map(event).collect();
            let batch = Batch::new("test".into(), time(NOW), events);
            indexer.apply(next, &batch).unwrap();
            next = next.plus(documents.len() as u64);
            latest = view(&mut indexer, next);
        }
        Store {
            snapshot: latest,
            _indexer: indexer,
            _directory: directory,
        }
    }

    /// The value of `aggregations` for all events.
    #[track_caller]
    pub fn ask(&self, aggs: Value) -> Value {
        self.try_ask(&json!({"match_all":{}}), &aggs, false)
            .unwrap()
    }

    /// The text of `aggregations` for all events.
    #[track_caller]
    pub fn ask_text(&self, aggs: Value) -> String {
        self.text(&json!({"match_all":{}}), &aggs, false).unwrap()
    }

    /// The body of the error.
    #[track_caller]
    pub fn ask_error(&self, aggs: Value) -> Value {
        let error = self
            .try_ask(&json!({"match_all":{}}), &aggs, false)
            .unwrap_err();
        let mut body = error.body();
        body["http"] = error.status().as_u16().into();
        body
    }

    pub fn try_ask(
        &self,
        query: &Value,
        aggs: &Value,
        typed_keys: bool,
    ) -> Result<Value, ElasticError> {
        let text = self.text(query, aggs, typed_keys)?;
        Ok(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    fn text(&self, query: &Value, aggs: &Value, typed_keys: bool) -> Result<String, ElasticError> {
        let context = QueryContext { now: time(NOW) };
        let filter =
            |query: &Value| dsl::parse(query, &context).map_err(|error| error.into_elastic(&[]));
        let request = aggregations::parse(
            aggs,
            &AggregationContext {
                now: time(NOW),
                filter: &filter,
            },
        )?;
        request.aggregations.check(&self.snapshot.shards)?;
        let budget = Budget::new(Duration::from_secs(60), 256 << 20);
        let query: Filter = filter(query)?;
        let mut found = Partial::default();
        for shard in &self.snapshot.shards {
            let weight = query
                .query(shard)
                .unwrap()
                .weight(EnableScoring::disabled_from_searcher(shard.searcher()))
                .unwrap();
            for (number, reader) in shard.searcher().segment_readers().iter().enumerate() {
                let mut collector = request.aggregations.collector(shard, number, &budget)?;
                let mut outcome = Ok(());
                weight
                    .for_each_no_score(reader, &mut |docs| {
                        let alive: Vec<u32> = docs
                            .iter()
                            .copied()
                            .filter(|doc| !reader.is_deleted(*doc))
                            .collect();
                        if outcome.is_ok() {
                            outcome = collector.collect(&alive);
                        }
                    })
                    .unwrap();
                outcome?;
                found.merge(collector.finish()?);
            }
        }
        let results = found.finish(&request.aggregations)?;
        Ok(request.render(&results, typed_keys, &hit))
    }
}

fn hit(entry: &TopEntry, options: &Value) -> String {
    let hit = entry.hit.as_ref().unwrap();
    let source: Value = serde_json::from_slice(&hit.hit.source).unwrap();
    json!({"_index":hit.index,"_source":source,"asked":options["_source"]}).to_string()
}

/// A fresh view of all shards; the indexer works on while it is waited for.
fn view(indexer: &mut Indexer, until: Position) -> Snapshot {
    let log_index = indexer.log_index();
    std::thread::scope(|scope| {
        let search = scope.spawn(move || {
            assert!(log_index.refresh(until, Duration::from_secs(60)));
            log_index.snapshot(|_| true)
        });
        while !search.is_finished() {
            indexer.tick().unwrap();
        }
        search.join().unwrap()
    })
}

fn event(document: &Value) -> Event {
    let timestamp = document["@timestamp"].as_str().map_or(time(NOW), time);
    Event::create(
        IndexName::default_index(),
        timestamp,
        Bytes::from(document.to_string()),
    )
}
