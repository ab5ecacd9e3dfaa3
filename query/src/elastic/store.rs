//! What the metadata resources ask of the log store: which shards exist, what is in them, one event, delete them.

use std::collections::{BTreeMap, HashSet};

use event::Timestamp;
use indexer::logs::{FieldKinds, Hit, Leaf, LogIndex, ReadError, ShardId, ShardReader};
use tantivy::collector::TopDocs;

/// The log store behind the metadata resources. [`IndexedLogs`] is the real one, tests have one in memory.
pub trait LogStore: Send + Sync {
    /// Every shard that exists, in any order. Answers from memory.
    fn shards(&self) -> Vec<ShardId>;

    /// The sizes of some shards, as queries see them now. Blocking.
    fn summaries(&self, shards: &[ShardId]) -> Partial<ShardSummary>;

    /// The fields of some shards, as queries see them now. Blocking.
    fn fields(&self, shards: &[ShardId]) -> Partial<FieldMap>;

    /// The event with this id in the first of the shards that has it. Blocking.
    ///
    /// # Errors
    /// No shard that can be read has it, and one cannot be read.
    fn event(&self, shards: &[ShardId], id: &str) -> Result<Option<(ShardId, Hit)>, ReadError>;

    /// Deletes whole shards, for good. Blocking. A shard that does not exist is no error. Events that are accepted
    /// later may make a shard of the same name again.
    ///
    /// # Errors
    /// The files of one cannot be removed; others may be gone.
    fn delete(&self, shards: &[ShardId]) -> Result<(), ReadError>;
}

/// Every path that has a value in a shard, dotted, with the kinds of its values.
pub type FieldMap = BTreeMap<String, FieldKinds>;

/// What several shards answered. One that has gone meanwhile is in neither list.
#[derive(Debug)]
pub struct Partial<T> {
    /// The answers, in the order of the index and the day.
    pub found: Vec<(ShardId, T)>,
    /// Shards that cannot be read.
    pub failed: Vec<ReadError>,
}

/// How much is in a shard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShardSummary {
    /// How many events it has, deleted ones not counted.
    pub event_count: u64,
    /// How much of the disk it takes, in bytes.
    pub byte_size: u64,
    /// The earliest and latest timestamp of its events, UTC.
    pub time_range: Option<(Timestamp, Timestamp)>,
}

/// Answers the bytes on disk of a shard. Blocking.
pub type SizeOf = Box<dyn Fn(&ShardId) -> u64 + Send + Sync>;

/// Deletes shards, as [`LogStore::delete`] says; only the indexer's thread can.
pub type Delete = Box<dyn Fn(&[ShardId]) -> Result<(), ReadError> + Send + Sync>;

/// The indexer's shards. Reading goes to them straight; sizes and deletion are the writer's to know and to do.
pub struct IndexedLogs {
    index: LogIndex,
    size_of: SizeOf,
    delete: Delete,
}

impl IndexedLogs {
    /// The shards of a log index, and how to size and delete them.
    pub fn new(index: LogIndex, size_of: SizeOf, delete: Delete) -> IndexedLogs {
        IndexedLogs {
            index,
            size_of,
            delete,
        }
    }

    fn ask<T>(&self, shards: &[ShardId], question: impl Fn(&ShardReader) -> T) -> Partial<T> {
        let wanted: HashSet<&ShardId> = shards.iter().collect();
        let snapshot = self.index.snapshot(|shard| wanted.contains(shard));
        let readers = snapshot.shards.iter();
        let found = readers.map(|reader| (reader.id().clone(), question(reader)));
        Partial {
            found: found.collect(),
            failed: snapshot.failed,
        }
    }
}

impl LogStore for IndexedLogs {
    fn shards(&self) -> Vec<ShardId> {
        self.index.shard_ids()
    }

    fn summaries(&self, shards: &[ShardId]) -> Partial<ShardSummary> {
        self.ask(shards, |reader| ShardSummary {
            event_count: reader.event_count(),
            byte_size: (self.size_of)(reader.id()),
            time_range: reader.time_range(),
        })
    }

    fn fields(&self, shards: &[ShardId]) -> Partial<FieldMap> {
        self.ask(shards, ShardReader::fields)
    }

    fn event(&self, shards: &[ShardId], id: &str) -> Result<Option<(ShardId, Hit)>, ReadError> {
        let wanted: HashSet<&ShardId> = shards.iter().collect();
        let snapshot = self.index.snapshot(|shard| wanted.contains(shard));
        let mut failed = snapshot.failed.into_iter().next();
        for shard in shards {
            let Some(reader) = snapshot.shards.iter().find(|reader| reader.id() == shard) else {
                continue;
            };
            match find_event(reader, id) {
                Ok(Some(hit)) => return Ok(Some((shard.clone(), hit))),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    fn delete(&self, shards: &[ShardId]) -> Result<(), ReadError> {
        (self.delete)(shards)
    }
}

/// Reads one event of a shard by its id. Blocking.
fn find_event(reader: &ShardReader, id: &str) -> Result<Option<Hit>, ReadError> {
    let query = reader.query(&Leaf::Ids(vec![id.to_owned()]))?;
    let one = TopDocs::with_limit(1).order_by_score();
    let found = reader.searcher().search(&query, &one);
    let found = found.map_err(|error| ReadError {
        shard: reader.name(),
        message: error.to_string(),
    })?;
    let Some((_, address)) = found.first() else {
        return Ok(None);
    };
    let hit = reader.event(address.segment_ord as usize, address.doc_id)?;
    Ok(Some(hit))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use event::{Batch, Event, IndexName, Ledger, Position};
    use indexer::{Catalog, Indexer, Settings};

    use super::*;

    fn event(timestamp: &str, id: &str, source: &str) -> Event {
        let timestamp = Timestamp::parse_iso(timestamp).unwrap();
        let source = Bytes::copy_from_slice(source.as_bytes());
        Event {
            id: Some(id.into()),
            ..Event::create(IndexName::default_index(), timestamp, source)
        }
    }

    /// The real shards answer as the resources expect: fields with their kinds, sizes, and events by id.
    #[test]
    fn real_shards_answer() {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Arc::new(Catalog::open(folder.path()).unwrap());
        let ledger = Arc::new(Ledger::new());
        let settings = Settings::new(folder.path());
        let mut indexer = Indexer::open(settings, catalog, ledger, Position::ZERO).unwrap();
        let batch = Batch {
            source: Arc::from("test"),
            received: Timestamp::parse_iso("2026-11-23T10:00:00Z").unwrap(),
            checkpoint: None,
            events: vec![
                event(
                    "2026-11-22T09:00:00Z",
                    "a",
                    r#"{"message":"first","price":0.470}"#,
                ),
                event(
                    "2026-11-23T09:00:00Z",
                    "b",
                    r#"{"message":"second","code":5}"#,
                ),
            ],
        };
        indexer.apply(Position::ZERO, &batch).unwrap();
        let index = indexer.log_index();
        let deleted = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&deleted);
        let store = IndexedLogs::new(
            index.clone(),
            Box::new(|_| 7),
            Box::new(move |shards| {
                noted.lock().unwrap().extend_from_slice(shards);
                Ok(())
            }),
        );
        let shards = store.shards();
        assert_eq!(shards.len(), 2);

        // The refresh that a snapshot waits for happens on the thread that owns the indexer.
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| store.fields(&shards));
            while !asking.is_finished() {
                indexer.tick().unwrap();
                std::thread::yield_now();
            }
            let fields = asking.join().unwrap();
            assert!(fields.failed.is_empty());
            assert_eq!(fields.found.len(), 2);
            assert!(fields.found[0].1["price"].float);
            assert!(fields.found[1].1["code"].integer);
            assert!(fields.found[1].1["@timestamp"].time);
        });
        let summaries = store.summaries(&shards[..1]);
        assert_eq!(summaries.found[0].1.event_count, 1);
        assert_eq!(summaries.found[0].1.byte_size, 7);

        let (shard, hit) = store.event(&shards, "a").unwrap().unwrap();
        assert_eq!(shard, shards[0]);
        assert_eq!(hit.source, r#"{"message":"first","price":0.470}"#);
        assert_eq!(store.event(&shards[1..], "a").unwrap(), None);
        assert_eq!(store.event(&shards, "zzz").unwrap(), None);

        store.delete(&shards[..1]).unwrap();
        assert_eq!(deleted.lock().unwrap().as_slice(), &shards[..1]);
    }
}
