//! The log index as the dialects' metadata pages ask for it, and as those who want events visible at once do.

use std::collections::HashSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use event::Refresh;
use indexer::logs::{Hit, Leaf, LogIndex, ReadError, ShardId, ShardReader, Snapshot};
use query::elastic::store::{FieldMap, LogStore, Partial, ShardSummary};

use crate::feed::Errand;
use crate::intake::Intake;

/// The log index and the way to the thread that alone deletes shards.
pub struct IndexedLogs {
    log_index: LogIndex,
    data_dir: PathBuf,
    // A Sender is not shared between threads as it is.
    errands: Mutex<Sender<Errand>>,
    deleted: Box<dyn Fn(&ShardId) + Send + Sync>,
}

impl IndexedLogs {
    /// Over the index of a data directory.
    pub fn new(log_index: LogIndex, data_dir: &Path, errands: Sender<Errand>) -> IndexedLogs {
        IndexedLogs {
            log_index,
            data_dir: data_dir.to_owned(),
            errands: Mutex::new(errands),
            deleted: Box::new(|_| {}),
        }
    }

    /// Tells `deleted` of every shard that a client has deleted.
    pub fn on_deletion(
        mut self,
        deleted: impl Fn(&ShardId) + Send + Sync + 'static,
    ) -> IndexedLogs {
        self.deleted = Box::new(deleted);
        self
    }

    /// One snapshot for all: each costs a walk over every shard there is.
    fn snapshot(&self, shards: &[ShardId]) -> Snapshot {
        let wanted: HashSet<&ShardId> = shards.iter().collect();
        self.log_index.snapshot(|id| wanted.contains(id))
    }

    fn ask<T>(&self, shards: &[ShardId], question: impl Fn(&ShardReader) -> T) -> Partial<T> {
        let snapshot = self.snapshot(shards);
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
        self.log_index.shard_ids()
    }

    fn summaries(&self, shards: &[ShardId]) -> Partial<ShardSummary> {
        self.ask(shards, |reader| ShardSummary {
            event_count: reader.event_count(),
            byte_size: indexer::shard_bytes(&self.data_dir, reader.id()),
            time_range: reader.time_range(),
        })
    }

    fn fields(&self, shards: &[ShardId]) -> Partial<FieldMap> {
        self.ask(shards, ShardReader::fields)
    }

    fn event(&self, shards: &[ShardId], id: &str) -> Result<Option<(ShardId, Hit)>, ReadError> {
        let snapshot = self.snapshot(shards);
        let mut failed = snapshot.failed.into_iter().next();
        let with_id = Leaf::Ids(vec![id.to_owned()]);
        for shard in shards {
            let mut readers = snapshot.shards.iter();
            let Some(reader) = readers.find(|reader| reader.id() == shard) else {
                continue;
            };
            match reader.first_event(&with_id) {
                Ok(Some(hit)) => return Ok(Some((shard.clone(), hit))),
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    fn delete(&self, shards: &[ShardId]) -> Result<(), ReadError> {
        for shard in shards {
            let (done, outcome) = channel();
            let id = shard.clone();
            let errand: Errand = Box::new(move |indexer| {
                // Who asked may have given up.
                let _ = done.send(indexer.delete_shard(&id).map_err(|error| error.to_string()));
            });
            let sent = self
                .errands
                .lock()
                .expect("no holder of this lock panics")
                .send(errand)
                .is_ok();
            let answer = if sent { outcome.recv().ok() } else { None };
            let message = match answer {
                Some(Ok(())) => {
                    (self.deleted)(shard);
                    continue;
                }
                Some(Err(message)) => message,
                None => "daybook is stopping".to_owned(),
            };
            return Err(ReadError {
                shard: shard.name(),
                message,
            });
        }
        Ok(())
    }
}

/// Makes what was accepted findable, off the async threads.
pub struct IntakeRefresh(pub Arc<Intake>);

impl Refresh for IntakeRefresh {
    fn refresh(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        let intake = Arc::clone(&self.0);
        Box::pin(async move {
            let refreshed = tokio::task::spawn_blocking(move || intake.refresh()).await;
            if !matches!(refreshed, Ok(true)) {
                tracing::warn!("a refresh took too long: the index is behind its input");
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use event::{Batch, Event, IndexName, Ledger, Position, Timestamp};
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
        let (errands, asked) = channel();
        let store = IndexedLogs::new(index.clone(), folder.path(), errands);
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

        let (shard, hit) = store.event(&shards, "a").unwrap().unwrap();
        assert_eq!(shard, shards[0]);
        assert_eq!(hit.source, r#"{"message":"first","price":0.470}"#);
        assert_eq!(store.event(&shards[1..], "a").unwrap(), None);
        assert_eq!(store.event(&shards, "zzz").unwrap(), None);

        std::thread::scope(|scope| {
            let deleting = scope.spawn(|| store.delete(&shards[..1]));
            let errand: Errand = asked.recv().unwrap();
            errand(&mut indexer);
            deleting.join().unwrap().unwrap();
        });
        assert_eq!(store.shards(), &shards[1..]);
        assert_eq!(store.event(&shards, "a").unwrap(), None);
    }
}
