//! Events of many connections into few journal batches, one after the other.
//!
//! Memory comes first: whoever wants to read takes [`Room`] before, and gets it when there is some. A journal that
//! stalls therefore stops the reading of sockets, and senders wait or the kernel drops their datagrams. One batch is
//! being made durable at a time, so events of one connection keep their order; all that arrives meanwhile shares the
//! next fsync.

use std::sync::Arc;
use std::time::Duration;

use event::{Append, AppendError, Batch, Event, Outcome, SourceLedger, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

/// One batch: large enough that an fsync of some milliseconds lets 100 MB pass in a second.
const BATCH_BYTES: usize = 1 << 20;

/// Loads waiting for their batch. Their memory is bounded by room; this bounds the list of them.
const WAITING_LOADS: usize = 4096;

/// After the stop is asked for, how long the journal may take for what was read.
const LAST_BATCHES: Duration = Duration::from_secs(2);

/// The wide end: cheap to clone, one for each connection. The narrow end ends when all of them are gone.
#[derive(Debug, Clone)]
pub struct Funnel {
    loads: mpsc::Sender<Load>,
    memory: Arc<Semaphore>,
    memory_bytes: usize,
}

/// The narrow end: makes batches and appends them.
pub struct FunnelEnd {
    loads: mpsc::Receiver<Load>,
    source: Arc<str>,
    append: Arc<dyn Append>,
    ledger: Arc<SourceLedger>,
    now: fn() -> Timestamp,
}

/// Memory somebody may use; given back when it is dropped.
#[derive(Debug)]
pub struct Room {
    permit: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

/// Events of one sender on their way.
struct Load {
    events: Vec<Event>,
    room: Room,
    done: Option<oneshot::Sender<Stored>>,
}

/// What a load holds while its batch is made durable, and who wants to know when it is.
type Waiting = (Room, Option<oneshot::Sender<Stored>>);

/// What became of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// All is durable, but for events that the store refuses for what they are; those are counted.
    Yes,
    /// We are stopping and the journal did not take it.
    No,
}

impl Funnel {
    /// A funnel of `memory_bytes` into `append`; events are counted under `source`.
    pub fn new(
        source: Arc<str>,
        append: Arc<dyn Append>,
        ledger: Arc<SourceLedger>,
        now: fn() -> Timestamp,
        memory_bytes: usize,
    ) -> (Funnel, FunnelEnd) {
        let (sender, receiver) = mpsc::channel(WAITING_LOADS);
        let memory_bytes = memory_bytes.clamp(1, u32::MAX as usize);
        let funnel = Funnel {
            loads: sender,
            memory: Arc::new(Semaphore::new(memory_bytes)),
            memory_bytes,
        };
        let end = FunnelEnd {
            loads: receiver,
            source,
            append,
            ledger,
            now,
        };
        (funnel, end)
    }

    /// Waits for `bytes` of memory, at most all there is. First come, first served.
    pub async fn room(&self, bytes: usize) -> Room {
        let bytes = bytes.clamp(1, self.memory_bytes);
        let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        let permit = Arc::clone(&self.memory)
            .acquire_many_owned(permits)
            .await
            .ok();
        Room { permit, bytes }
    }

    /// Hands events over; they keep `room` until they are durable. Nobody waits for the journal here.
    pub async fn pour(&self, events: Vec<Event>, room: Room) {
        if events.is_empty() {
            return;
        }
        let load = Load {
            events,
            room,
            done: None,
        };
        // The end outlives its funnels.
        self.loads.send(load).await.ok();
    }

    /// Hands events over and answers once they are durable: for protocols that acknowledge.
    pub async fn store(&self, events: Vec<Event>, room: Room) -> Stored {
        if events.is_empty() {
            return Stored::Yes;
        }
        let (done, answer) = oneshot::channel();
        let load = Load {
            events,
            room,
            done: Some(done),
        };
        match self.loads.send(load).await {
            Ok(()) => answer.await.unwrap_or(Stored::No),
            Err(_) => Stored::No,
        }
    }
}

impl Room {
    /// How much it is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back all but `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let Some(permit) = &mut self.permit else {
            return;
        };
        let fewer = self.bytes.saturating_sub(bytes.max(1));
        drop(permit.split(fewer));
        self.bytes -= fewer;
    }
}

impl FunnelEnd {
    /// Appends batches until every [`Funnel`] is gone and nothing waits.
    ///
    /// A journal that does not take a batch is asked again until it does. Only after `shutdown` that ends, after two
    /// seconds: what was read by then and is not durable is counted as dropped.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut deadline = None;
        while let Some(first) = self.loads.recv().await {
            let (batch, waiting) = self.batch_of(first);
            let stored = self.append(batch, &shutdown, &mut deadline).await;
            for (room, done) in waiting {
                drop(room);
                if let Some(done) = done {
                    done.send(stored).ok();
                }
            }
        }
    }

    fn batch_of(&mut self, first: Load) -> (Batch, Vec<Waiting>) {
        let mut events = first.events;
        let mut batch_bytes: usize = events.iter().map(Event::byte_size).sum();
        let mut waiting = vec![(first.room, first.done)];
        while batch_bytes < BATCH_BYTES
            && let Ok(load) = self.loads.try_recv()
        {
            batch_bytes += load.events.iter().map(Event::byte_size).sum::<usize>();
            events.extend(load.events);
            waiting.push((load.room, load.done));
        }
        let batch = Batch::new(Arc::clone(&self.source), (self.now)(), events);
        (batch, waiting)
    }

    async fn append(
        &self,
        batch: Batch,
        shutdown: &CancellationToken,
        deadline: &mut Option<Instant>,
    ) -> Stored {
        let event_count = batch.events.len() as u64;
        let mut has_waited = false;
        loop {
            // Its events share their bytes: sending it again costs no copy of them.
            match self.append.append(batch.clone()).await {
                Ok(ack) => {
                    if has_waited {
                        tracing::info!(source = %self.source, "reading goes on");
                    }
                    tell_refusals(&self.source, &ack.outcomes);
                    return Stored::Yes;
                }
                Err(error) => {
                    let is_new = !std::mem::replace(&mut has_waited, true);
                    if is_new && error != AppendError::Stopping {
                        tracing::warn!(source = %self.source, %error, "reading is paused");
                    }
                    if error == AppendError::Stopping
                        || !may_try_again(error.retry_after().0, shutdown, deadline).await
                    {
                        self.ledger.dropped("stopping", event_count);
                        return Stored::No;
                    }
                }
            }
        }
    }
}

/// Waits before the next try; `false` when there is none, because it would be too long after the stop was asked for.
async fn may_try_again(
    wait: Duration,
    shutdown: &CancellationToken,
    deadline: &mut Option<Instant>,
) -> bool {
    if deadline.is_none() {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => *deadline = Some(Instant::now() + LAST_BATCHES),
            () = sleep(wait) => return true,
        }
    }
    let deadline = deadline.unwrap_or_else(Instant::now);
    // A journal that is full for a moment is worth another look sooner than it says.
    let wait = wait.min(Duration::from_millis(100));
    timeout_at(deadline, sleep(wait)).await.is_ok() && Instant::now() < deadline
}

/// The store's refusals are counted in the ledger; why is told here, because these senders cannot be told.
fn tell_refusals(source: &str, outcomes: &[Outcome]) {
    let refused = outcomes.iter().filter_map(|outcome| match outcome {
        Outcome::Rejected { message, .. } => Some(message),
        _ => None,
    });
    if let Some(message) = refused.clone().next() {
        tracing::debug!(source, events = refused.count(), message, "events refused");
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use event::{IndexName, Ledger, RetryAfter};

    use super::*;
    use crate::source::fake::{FakeJournal, fixed_now};

    fn event(text: &str) -> Event {
        let source = Bytes::from(format!("{{\"message\":\"{text}\"}}"));
        Event::create(IndexName::default_index(), fixed_now(), source)
    }

    fn full() -> AppendError {
        AppendError::Full {
            message: "4 GiB".to_owned(),
            retry_after: RetryAfter(Duration::from_millis(1)),
        }
    }

    #[tokio::test]
    async fn loads_that_wait_share_a_batch_in_their_order() {
        let journal = Arc::new(FakeJournal::default());
        let ledger = Ledger::new().source("syslog");
        let append = Arc::clone(&journal) as Arc<dyn Append>;
        let (funnel, end) = Funnel::new(Arc::from("syslog"), append, ledger, fixed_now, 1000);
        for text in ["a", "b", "c"] {
            let room = funnel.room(300).await;
            funnel.pour(vec![event(text), event(text)], room).await;
        }
        let other = funnel.clone();
        let store = tokio::spawn(async move {
            let room = other.room(1000).await;
            other.store(vec![event("d")], room).await
        });
        drop(funnel);
        end.run(CancellationToken::new()).await;
        assert_eq!(store.await.unwrap(), Stored::Yes);
        let batches = journal.batches.lock().unwrap();
        let sizes: Vec<usize> = batches.iter().map(|batch| batch.events.len()).collect();
        assert_eq!(
            sizes,
            [6, 1],
            "the last one waited for the memory of the others"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_journal_that_refuses_is_asked_again_until_the_stop() {
        let journal = Arc::new(FakeJournal::default());
        *journal.refuse_with.lock().unwrap() = Some(full());
        let ledger = Ledger::new();
        let append = Arc::clone(&journal) as Arc<dyn Append>;
        let books = ledger.source("syslog");
        let (funnel, end) = Funnel::new(Arc::from("syslog"), append, books, fixed_now, 100);
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(end.run(shutdown.clone()));
        let room = funnel.room(100).await;
        funnel.pour(vec![event("a")], room).await;
        let starved = tokio::time::timeout(Duration::from_secs(60), funnel.room(1)).await;
        assert!(starved.is_err(), "nothing is read while the journal stalls");
        *journal.refuse_with.lock().unwrap() = None;
        let room = funnel.room(100).await;
        assert_eq!(journal.events().len(), 1);

        *journal.refuse_with.lock().unwrap() = Some(full());
        let lost = funnel.clone();
        let lost = tokio::spawn(async move { lost.store(vec![event("b")], room).await });
        tokio::time::sleep(Duration::from_secs(60)).await;
        shutdown.cancel();
        assert_eq!(lost.await.unwrap(), Stored::No);
        drop(funnel);
        running.await.unwrap();
        assert_eq!(ledger.totals()[0].dropped["stopping"], 1);
    }
}
