//! The thread that makes shards durable, so that syncing files stalls neither input nor freshness.

use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread::JoinHandle;

use crate::logs::ShardId;
use crate::logs::directory::ShardDirectory;

/// Shards waiting to be synced. A full queue delays the next persist, nothing else.
const QUEUE_LEN: usize = 64;

/// Syncs shards one after the other.
pub struct Persister {
    jobs: Option<SyncSender<Job>>,
    results: Receiver<Persisted>,
    thread: Option<JoinHandle<()>>,
}

struct Job {
    shard: ShardId,
    directory: ShardDirectory,
}

/// What became of a job.
pub struct Persisted {
    /// Which shard.
    pub shard: ShardId,
    /// Why it is not durable.
    pub result: std::io::Result<()>,
}

impl Persister {
    /// Starts the thread.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start() -> std::io::Result<Persister> {
        let (jobs, queue) = sync_channel::<Job>(QUEUE_LEN);
        let (report, results): (Sender<Persisted>, _) = channel();
        let thread = std::thread::Builder::new()
            .name("shard-persist".into())
            .spawn(move || {
                for job in queue {
                    let result = job.directory.persist().map(drop);
                    if report
                        .send(Persisted {
                            shard: job.shard,
                            result,
                        })
                        .is_err()
                    {
                        return;
                    }
                }
            })?;
        Ok(Persister {
            jobs: Some(jobs),
            results,
            thread: Some(thread),
        })
    }

    /// Queues a shard; `false` when the queue is full.
    pub fn queue(&self, shard: ShardId, directory: ShardDirectory) -> bool {
        let Some(jobs) = &self.jobs else { return false };
        !matches!(
            jobs.try_send(Job { shard, directory }),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_))
        )
    }

    /// The next finished job, if there is one.
    pub fn finished(&self) -> Option<Persisted> {
        self.results.try_recv().ok()
    }

    /// Waits for the next finished job.
    pub fn wait(&self) -> Option<Persisted> {
        self.results.recv().ok()
    }
}

impl Drop for Persister {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was reported by the panic hook.
            let _ = thread.join();
        }
    }
}
