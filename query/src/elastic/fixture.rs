//! A small world for the tests of the metadata resources: two indices, three days, one alias to come.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use event::{Position, Refresh, Timestamp, WriteTarget};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use indexer::logs::{FieldKinds, Hit, ReadError, ShardId};
use serde_json::Value;
use tower::ServiceExt;

use super::registry::MemoryRegistry;
use super::state::{ElasticSettings, ElasticState};
use super::store::{FieldMap, LogStore, Partial, ShardSummary};

/// The events of each shard, by id.
pub(super) struct FakeStore {
    shards: Mutex<BTreeMap<ShardId, FakeShard>>,
}

#[derive(Clone, Default)]
struct FakeShard {
    summary: ShardSummary,
    fields: FieldMap,
    events: BTreeMap<String, Hit>,
    is_broken: bool,
}

/// Counts how often it was asked.
#[derive(Default)]
pub(super) struct FakeRefresh(pub(super) AtomicUsize);

impl Refresh for FakeRefresh {
    fn refresh(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(()))
    }
}

/// The dialect's metadata resources over the small world.
pub(super) struct World {
    pub(super) router: Router,
    pub(super) store: Arc<FakeStore>,
    pub(super) refresh: Arc<FakeRefresh>,
}

/// What came back.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

impl World {
    /// `logs` on 2026.11.22 (two events) and 2026.11.23 (one), `nginx` on 2026.11.23 (none readable yet).
    pub(super) fn new() -> World {
        let store = Arc::new(FakeStore::new());
        let refresh = Arc::new(FakeRefresh::default());
        let now = Timestamp::parse_iso("2026-11-23T10:00:00Z").unwrap();
        let state = ElasticState::new(
            Arc::clone(&store) as Arc<dyn LogStore>,
            Arc::new(MemoryRegistry::new()),
            Arc::clone(&refresh) as Arc<dyn Refresh>,
            Arc::new(move || now),
            ElasticSettings::default(),
        );
        let router = super::envelope::layer(super::metadata_routes(&state));
        World {
            router,
            store,
            refresh,
        }
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        assert_eq!(parts.headers["x-elastic-product"], "Elasticsearch");
        Reply {
            status: parts.status,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    pub(super) async fn call(&self, method: &str, uri: &str, body: &str) -> Reply {
        let method: Method = method.parse().unwrap();
        let builder = Request::builder().method(method).uri(uri);
        let builder = builder.header("content-type", "application/json");
        let request = builder.body(Body::from(body.to_owned())).unwrap();
        self.send(request).await
    }

    pub(super) async fn fetch(&self, uri: &str) -> Reply {
        self.call("GET", uri, "").await
    }

    /// The JSON of a reply that must be fine.
    pub(super) async fn fetch_json(&self, uri: &str) -> Value {
        let reply = self.fetch(uri).await;
        assert_eq!(reply.status, 200, "{uri}: {}", reply.text);
        reply.json()
    }
}

/// A shard by its name.
pub(super) fn shard(name: &str) -> ShardId {
    let target = WriteTarget::parse(name).unwrap();
    ShardId {
        index: target.index,
        day: target.day.unwrap(),
    }
}

/// Kinds by the letters t, T (full text), i, f, b, d (time).
pub(super) fn kinds(letters: &str) -> FieldKinds {
    FieldKinds {
        text: letters.contains('t'),
        full_text: letters.contains('T'),
        integer: letters.contains('i'),
        float: letters.contains('f'),
        boolean: letters.contains('b'),
        time: letters.contains('d'),
    }
}

impl FakeStore {
    fn new() -> FakeStore {
        let store = FakeStore {
            shards: Mutex::default(),
        };
        let basic = [
            ("@timestamp", "d"),
            ("message", "tT"),
            ("kubernetes.pod.name", "t"),
        ];
        let with_code = |letters| basic.iter().copied().chain([("code", letters)]);
        store.put("logs-2026.11.22", with_code("i"), 12_288);
        store.put("logs-2026.11.23", with_code("t"), 512);
        store.put("nginx-2026.11.23", [("@timestamp", "d"), ("bytes", "i")], 0);
        store.put_event(
            "logs-2026.11.22",
            "a",
            r#"{"message":"first","price":0.470}"#,
        );
        store.put_event("logs-2026.11.22", "b", r#"{"message":"second"}"#);
        store.put_event(
            "logs-2026.11.23",
            "c/d",
            r#"{"message":"third","user":{"name":"x","id":1}}"#,
        );
        store
    }

    /// Adds an empty shard with these fields.
    pub(super) fn put<'a>(
        &self,
        name: &str,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
        byte_size: u64,
    ) {
        let fields = fields.into_iter();
        let fields = fields.map(|(path, letters)| (path.to_owned(), kinds(letters)));
        let summary = ShardSummary {
            event_count: 0,
            byte_size,
            time_range: None,
        };
        let fake = FakeShard {
            summary,
            fields: fields.collect(),
            ..FakeShard::default()
        };
        self.shards.lock().unwrap().insert(shard(name), fake);
    }

    fn put_event(&self, name: &str, id: &str, source: &str) {
        let id_of_shard = shard(name);
        let timestamp = id_of_shard.day.start();
        let mut shards = self.shards.lock().unwrap();
        let fake = shards.get_mut(&id_of_shard).unwrap();
        fake.summary.event_count += 1;
        fake.summary.time_range = Some((timestamp, timestamp));
        let hit = Hit {
            id: id.to_owned(),
            position: Position(40 + fake.summary.event_count),
            timestamp,
            source: Bytes::copy_from_slice(source.as_bytes()),
        };
        fake.events.insert(id.to_owned(), hit);
    }

    /// Makes every later read of a shard fail.
    pub(super) fn break_shard(&self, name: &str) {
        let mut shards = self.shards.lock().unwrap();
        shards.get_mut(&shard(name)).unwrap().is_broken = true;
    }

    fn ask<T>(&self, shards: &[ShardId], question: impl Fn(FakeShard) -> T) -> Partial<T> {
        let mut partial = Partial {
            found: Vec::new(),
            failed: Vec::new(),
        };
        for shard in shards {
            match self.fake(shard) {
                Ok(Some(fake)) => partial.found.push((shard.clone(), question(fake))),
                Ok(None) => {}
                Err(error) => partial.failed.push(error),
            }
        }
        partial
    }

    fn fake(&self, id: &ShardId) -> Result<Option<FakeShard>, ReadError> {
        let fake = self.shards.lock().unwrap().get(id).cloned();
        match fake {
            Some(fake) if fake.is_broken => Err(ReadError {
                shard: id.index.shard_name(id.day),
                message: "checksum mismatch".to_owned(),
            }),
            fake => Ok(fake),
        }
    }
}

impl LogStore for FakeStore {
    fn shards(&self) -> Vec<ShardId> {
        self.shards.lock().unwrap().keys().cloned().collect()
    }

    fn summaries(&self, shards: &[ShardId]) -> Partial<ShardSummary> {
        self.ask(shards, |fake| fake.summary)
    }

    fn fields(&self, shards: &[ShardId]) -> Partial<FieldMap> {
        self.ask(shards, |fake| fake.fields)
    }

    fn event(&self, shards: &[ShardId], id: &str) -> Result<Option<(ShardId, Hit)>, ReadError> {
        for shard in shards {
            let fake = self.fake(shard)?;
            if let Some(hit) = fake.and_then(|fake| fake.events.get(id).cloned()) {
                return Ok(Some((shard.clone(), hit)));
            }
        }
        Ok(None)
    }

    fn delete(&self, shards: &[ShardId]) -> Result<(), ReadError> {
        let mut kept = self.shards.lock().unwrap();
        kept.retain(|id, _| !shards.contains(id));
        Ok(())
    }
}
