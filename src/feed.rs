//! Carries what the journal has to the indexer, on a thread of its own, and lets the journal forget what is safe.
//!
//! The journal's reader is the only way: at full speed, after a restart and after a failure of the indexer alike. So
//! there is one path to test, and memory stays the same however far the indexer is behind.
//!
//! The indexer makes its shards durable in its own time, some 30 seconds. A journal that is half full cannot wait for that: senders
//! would be told to wait although the index has everything.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use collector::source::checkpoint::CheckpointStore;
use event::Position;
use indexer::Indexer;
use journal::{Journal, Kind, Record, RecordReader};

/// How long the reader waits for news before the indexer's clock ticks.
const IDLE_WAIT: Duration = Duration::from_millis(20);

/// The pause after the indexer stalled; the disk may be full, and an operator or the retention needs time.
const STALL_PAUSE: Duration = Duration::from_millis(250);

/// How often the journal is told what it may forget.
const RELEASE_INTERVAL: Duration = Duration::from_millis(500);

/// How often the same complaint is logged while the indexer is stalled.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// The running thread.
pub struct Feed {
    thread: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

/// What other threads ask the indexer's thread to do between two batches.
pub type Errand = Box<dyn FnOnce(&mut Indexer) + Send>;

struct Worker {
    journal: Arc<dyn Journal>,
    indexer: Indexer,
    checkpoints: Arc<Mutex<CheckpointStore>>,
    errands: std::sync::mpsc::Receiver<Errand>,
    stop: Arc<AtomicBool>,
    released_at: Instant,
    complained_at: Option<Instant>,
}

impl Feed {
    /// Starts the thread. It runs `errands` between batches. Should it end by a mistake of ours, it calls `died`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        journal: Arc<dyn Journal>,
        indexer: Indexer,
        checkpoints: Arc<Mutex<CheckpointStore>>,
        errands: std::sync::mpsc::Receiver<Errand>,
        died: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<Feed> {
        let stop = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            journal,
            indexer,
            checkpoints,
            errands,
            stop: Arc::clone(&stop),
            released_at: Instant::now(),
            complained_at: None,
        };
        // Walking a deeply nested document takes stack.
        let thread = std::thread::Builder::new()
            .name("indexer".into())
            .stack_size(16 * 1024 * 1024)
            .spawn(move || {
                if catch_unwind(AssertUnwindSafe(|| worker.run())).is_err() {
                    died();
                }
            })?;
        Ok(Feed { thread, stop })
    }

    /// Lets the thread finish what the journal has, make it durable and end. Blocking.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        // A panic in the thread was reported by the panic hook.
        let _ = self.thread.join();
    }
}

impl Worker {
    fn run(mut self) {
        let mut reader: Option<Box<dyn RecordReader>> = None;
        let mut from = Position::ZERO;
        loop {
            let end = self.journal.end();
            let next = match &mut reader {
                Some(reader) => reader.next(IDLE_WAIT),
                None => match self.journal.reader(from) {
                    Ok(opened) => {
                        reader = Some(opened);
                        continue;
                    }
                    Err(error) => Err(error),
                },
            };
            let is_stopping = self.stop.load(Ordering::Relaxed);
            let fed = match next {
                Ok(Some(record)) => self.feed(record),
                Ok(None) if is_stopping => break,
                Ok(None) => {
                    // Whatever lay before the end has been read, or is lost.
                    self.indexer.skip_to(end);
                    self.indexer.caught_up();
                    Ok(())
                }
                Err(journal::Error::Closed) => break,
                Err(error) => {
                    self.complain("the journal cannot be read", &error);
                    std::thread::sleep(STALL_PAUSE);
                    Ok(())
                }
            };
            for errand in self.errands.try_iter() {
                errand(&mut self.indexer);
            }
            let done = fed.and_then(|()| self.indexer.tick());
            if let Some(resume_from) = self.indexer.take_resume_from() {
                from = resume_from;
                reader = None;
            }
            if let Err(error) = done {
                self.complain("the index cannot be written", &error);
                if is_stopping {
                    // What is missing is in the journal and comes with the next start.
                    break;
                }
                std::thread::sleep(STALL_PAUSE);
                continue;
            }
            if self.released_at.elapsed() >= RELEASE_INTERVAL {
                self.released_at = Instant::now();
                self.release(self.indexer.release_before());
                let status = self.journal.status();
                if status.bytes > status.bytes_max / 2 {
                    self.indexer.persist_soon();
                }
            }
        }
        let Worker {
            indexer,
            journal,
            checkpoints,
            ..
        } = self;
        match indexer.close() {
            Ok(release_before) => release(&*journal, &checkpoints, release_before),
            Err(error) => {
                tracing::warn!(%error, "not all shards are durable; the rest is read from the journal at the next start")
            }
        }
    }

    fn feed(&mut self, record: Record) -> Result<(), indexer::Error> {
        let end = record.end();
        match record.kind {
            Kind::Events => match journal::events::decode(record.payload) {
                Ok(batch) => {
                    if let Some(checkpoint) = &batch.checkpoint {
                        lock(&self.checkpoints).note(&batch.source, checkpoint);
                    }
                    self.indexer.apply(record.first, &batch)
                }
                Err(error) => {
                    let events = record.count;
                    tracing::error!(%error, position = %record.first, events, "a journal record cannot be read; its events are lost");
                    self.indexer.lose(record.count, end);
                    Ok(())
                }
            },
            Kind::Samples | Kind::Spans | Kind::Unknown(_) => {
                self.indexer.skip_to(end);
                Ok(())
            }
        }
    }

    fn release(&self, before: Position) {
        release(&*self.journal, &self.checkpoints, before);
    }

    fn complain(&mut self, what: &'static str, error: &(dyn std::error::Error + 'static)) {
        let is_new = self
            .complained_at
            .is_none_or(|at| at.elapsed() >= COMPLAINT_INTERVAL);
        if is_new {
            self.complained_at = Some(Instant::now());
            tracing::error!(error, "{what}; nothing is lost, trying again");
        }
    }
}

/// Lets the journal forget, after what it says of the sources' progress is kept elsewhere.
fn release(journal: &dyn Journal, checkpoints: &Mutex<CheckpointStore>, before: Position) {
    match lock(checkpoints).write() {
        Ok(()) => journal.release(before),
        Err(error) => {
            tracing::warn!(%error, "the sources' checkpoints cannot be written; the journal keeps everything until they can")
        }
    }
}

fn lock(checkpoints: &Mutex<CheckpointStore>) -> std::sync::MutexGuard<'_, CheckpointStore> {
    checkpoints.lock().expect("no holder of this lock panics")
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::mpsc::channel;

    use bytes::Bytes;
    use event::{Batch, Event, IndexName, Ledger, Timestamp};
    use indexer::Catalog;
    use journal::Local;

    use super::*;

    /// Longer than the way through the index takes, shorter than the indexer would wait of its own accord.
    const SOON: Duration = Duration::from_secs(15);

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_full_journal_has_room_again_as_soon_as_the_index_has_its_events() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = journal::Settings::new(dir.path().join("journal"));
        settings.max_size_bytes = 1 << 20;
        let journal: Arc<dyn Journal> = Arc::new(Local::open(settings, Position::ZERO).unwrap());
        let catalog = Arc::new(Catalog::open(dir.path()).unwrap());
        let settings = indexer::Settings::new(dir.path());
        let indexer = Indexer::open(settings, catalog, Arc::new(Ledger::new()), journal.end());
        let checkpoints = CheckpointStore::open(&dir.path().join("checkpoints")).unwrap();
        let feed = Feed::start(
            Arc::clone(&journal),
            indexer.unwrap(),
            Arc::new(Mutex::new(checkpoints)),
            channel().1,
            || {},
        )
        .unwrap();
        let text = format!(r#"{{"message":"{}"}}"#, "x".repeat(100_000));
        let now = Timestamp::now();
        let event = Event::create(IndexName::default_index(), now, Bytes::from(text));
        let batch = Batch::new("test".into(), now, vec![event]);
        let (mut taken, begun) = (0, Instant::now());
        // Three times what it holds.
        while taken < 30 {
            let (_, payload) = journal::events::encode(&batch).unwrap();
            match journal.append(Kind::Events, NonZeroU32::MIN, payload).await {
                Ok(_) => taken += 1,
                Err(journal::Error::Full { .. }) => {
                    assert!(begun.elapsed() < SOON, "full after {taken} events");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        feed.stop();
    }
}
