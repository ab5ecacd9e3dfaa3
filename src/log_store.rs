//! The log index as the dialects' metadata pages ask for it, and as those who want events visible at once do.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

use event::Refresh;
use indexer::logs::{FieldKinds, Hit, Leaf, LogIndex, ReadError, ShardId, ShardReader};
use query::elastic::store::{LogStore, ShardSummary};

use crate::feed::Errand;
use crate::intake::Intake;

/// The log index and the way to the thread that alone deletes shards.
pub struct IndexedLogs {
    log_index: LogIndex,
    data_dir: PathBuf,
    // A Sender is not shared between threads as it is.
    errands: Mutex<Sender<Errand>>,
}

impl IndexedLogs {
    /// Over the index of a data directory.
    pub fn new(log_index: LogIndex, data_dir: PathBuf, errands: Sender<Errand>) -> IndexedLogs {
        IndexedLogs {
            log_index,
            data_dir,
            errands: Mutex::new(errands),
        }
    }

    fn reader(&self, shard: &ShardId) -> Result<Option<ShardReader>, ReadError> {
        let mut snapshot = self.log_index.snapshot(|id| id == shard);
        match snapshot.failed.pop() {
            Some(error) => Err(error),
            None => Ok(snapshot.shards.pop()),
        }
    }
}

impl LogStore for IndexedLogs {
    fn shards(&self) -> Vec<ShardId> {
        self.log_index.shard_ids()
    }

    fn summary(&self, shard: &ShardId) -> Result<Option<ShardSummary>, ReadError> {
        let Some(reader) = self.reader(shard)? else {
            return Ok(None);
        };
        let fields: Arc<BTreeMap<String, FieldKinds>> = Arc::new(reader.fields());
        Ok(Some(ShardSummary {
            event_count: reader.event_count(),
            byte_size: indexer::shard_bytes(&self.data_dir, shard),
            time_range: reader.time_range(),
            fields,
        }))
    }

    fn event(&self, shard: &ShardId, id: &str) -> Result<Option<Hit>, ReadError> {
        match self.reader(shard)? {
            Some(reader) => reader.first_event(&Leaf::Ids(vec![id.to_owned()])),
            None => Ok(None),
        }
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
                Some(Ok(())) => continue,
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
