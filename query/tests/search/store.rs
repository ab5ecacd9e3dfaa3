//! A log index in a temporary directory, and the dialect's routes over it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use event::{Batch, Event, IndexName, Ledger, Operation, Position, Timestamp};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use indexer::{Catalog, Indexer, Settings};
use query::daybook::{self, ApiState};
use query::elastic::envelope;
use query::elastic::search::{SearchLimits, SearchService, routes};
use query::elastic::target::Names;
use query::logs::execute::Executor;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

pub const NOW: &str = "2026-11-23T10:00:00Z";

pub fn time(text: &str) -> Timestamp {
    Timestamp::parse_iso(text).unwrap()
}

pub struct Store {
    indexer: Indexer,
    next: Position,
    _dir: TempDir,
}

impl Store {
    pub fn new() -> Store {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            refresh_interval: Duration::ZERO,
            ..Settings::new(dir.path())
        };
        let catalog = Arc::new(Catalog::open(&settings.data_dir).unwrap());
        let ledger = Arc::new(Ledger::new());
        let indexer = Indexer::open(settings, catalog, ledger, Position::ZERO).unwrap();
        Store {
            indexer,
            next: Position::ZERO,
            _dir: dir,
        }
    }

    /// Adds documents and makes them visible: each call makes a segment of its own in each shard.
    pub fn add(&mut self, index: &str, documents: &[String]) {
        let events = documents.iter().map(|document| {
            let value: Value = serde_json::from_str(document).unwrap();
            let timestamp = value["@timestamp"].as_str().map_or(time(NOW), time);
            let source = Bytes::copy_from_slice(document.as_bytes());
            Event::create(IndexName::parse(index).unwrap(), timestamp, source)
        });
        let events = events.collect();
        self.apply(events);
        self.indexer.caught_up();
        self.indexer.tick().unwrap();
    }

    /// The index stands still: events that were received long ago are not found yet.
    pub fn fall_behind(&mut self) {
        self.apply(Vec::new());
    }

    pub fn delete(&mut self, index: &str, id: &str, at: &str) {
        let mut event = Event::create(IndexName::parse(index).unwrap(), time(at), Bytes::new());
        event.operation = Operation::Delete;
        event.id = Some(id.into());
        self.apply(vec![event]);
    }

    fn apply(&mut self, events: Vec<Event>) {
        let count = events.len() as u64;
        let batch = Batch {
            source: "test".into(),
            received: time(NOW),
            checkpoint: None,
            events,
        };
        self.indexer.apply(self.next, &batch).unwrap();
        self.next = self.next.plus(count);
        self.make_visible();
    }

    fn make_visible(&mut self) {
        let log_index = self.indexer.log_index();
        let until = self.next;
        std::thread::scope(|scope| {
            let refresh = scope.spawn(|| log_index.refresh(until, Duration::from_secs(60)));
            while !refresh.is_finished() {
                self.indexer.tick().unwrap();
            }
            assert!(refresh.join().unwrap());
        });
    }

    /// The dialect over what is there now; the indexer goes on ticking in the background while it is asked.
    pub fn server(self) -> Server {
        let log_index = self.indexer.log_index();
        let executor = Executor::new(Arc::new(log_index), 2);
        let limits = SearchLimits {
            time: Duration::from_secs(30),
            memory_bytes_max: 64 << 20,
            decoded_bytes_max: u64::MAX,
        };
        let shards = Arc::clone(executor.shards());
        let names = Arc::new(move || Names::new(shards.shard_ids()));
        let clock = Arc::new(|| time(NOW));
        let api = ApiState::new(executor.clone(), names.clone(), clock.clone(), limits);
        let service = SearchService::new(executor, names, clock, limits);
        Server {
            router: envelope::layer(routes(service)).merge(daybook::routes(api)),
            store: self,
        }
    }
}

pub struct Server {
    router: Router,
    store: Store,
}

impl Server {
    pub async fn ask(&mut self, method: Method, uri: &str, body: &str) -> (StatusCode, Value) {
        let (status, text) = self.ask_text(method, uri, body).await;
        let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        (status, value)
    }

    pub async fn ask_text(
        &mut self,
        method: Method,
        uri: &str,
        body: &str,
    ) -> (StatusCode, String) {
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header("content-type", "application/json")
            .body(Body::from(body.to_owned()))
            .unwrap();
        let router = self.router.clone();
        let answer = tokio::spawn(async move {
            let response = router.oneshot(request).await.unwrap();
            let status = response.status();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            (status, String::from_utf8(body.to_vec()).unwrap())
        });
        // The first search of a shard waits for the indexer's thread, which is this one.
        while !answer.is_finished() {
            self.store.indexer.tick().unwrap();
            tokio::task::yield_now().await;
        }
        answer.await.unwrap()
    }

    pub fn delete(&mut self, index: &str, id: &str, at: &str) {
        self.store.delete(index, id, at);
    }

    pub async fn get(&mut self, uri: &str) -> (StatusCode, Value) {
        self.ask(Method::GET, uri, "").await
    }

    pub async fn search(&mut self, target: &str, body: Value) -> Value {
        let uri = format!("/{target}/_search");
        let (status, reply) = self.ask(Method::POST, &uri, &body.to_string()).await;
        assert_eq!(status, 200, "{reply}");
        reply
    }
}

/// The values of one field of the hits' documents.
pub fn values<'a>(reply: &'a Value, field: &str) -> Vec<&'a Value> {
    let hits = reply["hits"]["hits"].as_array().unwrap();
    hits.iter().map(|hit| &hit["_source"][field]).collect()
}
