//! The way in: what every source appends to. Checks what can be refused, settles whose id is new, makes the rest durable.
//!
//! Most events have no id of their own and pass straight to the journal. For those that have one, the answer depends on
//! what is stored: `create` on an id that exists is a conflict, `index` replaces, `delete` removes. The index alone
//! cannot say, because it lags behind the journal; so ids that are on their way are kept in a table until they can be
//! found. A batch reserves all its ids at once or none: when another batch that is not durable yet has one of
//! them, it waits for that one's outcome.
//!
//! What the journal gets is settled: `Create` is new, `Index` replaces an event of the same shard, `Delete` names the
//! shard. Replaying it needs no table.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use event::{
    Ack, Append, AppendError, Batch, Day, Event, IndexName, Ledger, Operation, Outcome, Position,
    RetryAfter, Timestamp,
};
use indexer::Retention;
use indexer::logs::{LogIndex, ShardId};
use journal::{Journal, Kind};
use tokio::sync::watch;

use crate::pending::PendingIds;

/// Ids on their way above which what can be found already is forgotten.
const TABLE_LEN_PRUNED: usize = 64 * 1024;

/// Ids on their way above which batches with ids are refused until the index has caught up: some 200 MB.
const TABLE_LEN_MAX: usize = 1024 * 1024;

/// Indices there may be; each costs files and memory, and their names come from senders.
const INDICES_MAX: usize = 1_000;

/// How long an index counts as being made after its first event was let through: far longer than the way to a shard.
const ADMITTED_FOR: Duration = Duration::from_secs(600);

/// How long pruning waits for the index.
const REFRESH_WAIT_MAX: Duration = Duration::from_secs(5);

/// The way in.
pub struct Intake {
    journal: Arc<dyn Journal>,
    log_index: LogIndex,
    ledger: Arc<Ledger>,
    retention: ArcSwap<Retention>,
    table: Arc<Mutex<Table>>,
    /// Ids that an earlier process accepted, until the index has read them: before, it cannot say whether they exist.
    pending: ArcSwapOption<PendingIds>,
    /// Indices that exist or are about to, because an event for them was let through at that time.
    indices: Mutex<HashMap<IndexName, Instant>>,
    /// Changes whenever a batch with ids is durable or has failed.
    settled: watch::Sender<u64>,
    gate: Gate,
}

/// What keeps everything out.
#[derive(Default)]
struct Gate {
    is_stopping: AtomicBool,
    disk_full: Mutex<Option<String>>,
}

/// Ids on their way.
#[derive(Default)]
struct Table {
    entries: HashMap<Key, Entry>,
    next_token: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    /// Where the event is; `None` when it was deleted.
    day: Option<Day>,
    /// The batch that has the id.
    token: u64,
    /// The end of that batch in the journal once it is durable.
    durable: Option<Position>,
}

/// What a batch becomes.
struct Settled {
    batch: Batch,
    /// For each event of the sender's batch: its outcome, or its place in `batch`.
    answers: Vec<Answer>,
    /// The ids it has reserved.
    reserved: Option<Reserved>,
}

/// The ids a batch holds until it is durable or has failed.
struct Reserved {
    token: u64,
    /// Each with the entry it had before.
    before: Vec<(Key, Option<Entry>)>,
}

type Key = (IndexName, Box<str>);

enum Answer {
    Refused(Outcome),
    Created { at: usize },
    Updated { at: usize },
    Deleted { at: usize },
}

/// Another batch that is not durable yet has one of the ids.
struct Busy;

impl Intake {
    /// Joins the journal and the index.
    pub fn new(
        journal: Arc<dyn Journal>,
        log_index: LogIndex,
        ledger: Arc<Ledger>,
        retention: Retention,
        pending: PendingIds,
    ) -> Intake {
        let existing = log_index.shard_ids().into_iter();
        let indices = Mutex::new(
            existing
                .map(|shard| (shard.index, Instant::now()))
                .collect(),
        );
        Intake {
            journal,
            log_index,
            ledger,
            pending: ArcSwapOption::from_pointee(pending),
            indices,
            retention: ArcSwap::from_pointee(retention),
            table: Arc::default(),
            settled: watch::Sender::new(0),
            gate: Gate::default(),
        }
    }

    /// Refuses everything from now on.
    pub fn stop(&self) {
        self.gate.is_stopping.store(true, Ordering::Relaxed);
    }

    /// Refuses everything while the disk is full; `None` opens the gate again.
    pub fn set_disk_full(&self, message: Option<String>) {
        *self
            .gate
            .disk_full
            .lock()
            .expect("no holder of this lock panics") = message;
    }

    /// Puts other retention rules in force.
    pub fn set_retention(&self, retention: Retention) {
        self.retention.store(Arc::new(retention));
    }

    /// Forgets the ids of a shard that was deleted.
    pub fn forget_shard(&self, index: &IndexName, day: Day) {
        lock(&self.table).entries.retain(|key, entry| {
            entry.durable.is_none() || key.0 != *index || entry.day != Some(day)
        });
    }

    /// Everything accepted until now can be found when this answers `true`; blocking for up to some seconds.
    pub fn refresh(&self) -> bool {
        self.log_index.refresh(self.journal.end(), REFRESH_WAIT_MAX)
    }

    async fn append_batch(&self, batch: Batch) -> Result<Ack, AppendError> {
        self.gate.check()?;
        let source = self.ledger.source(&batch.source);
        let mut settled = self.settle(batch).await?;
        let mut guard = ReservationGuard {
            intake: self,
            reserved: settled.reserved.take(),
            durable: None,
        };
        let first = match journal::events::encode(&settled.batch) {
            Some((count, payload)) => {
                let first = self
                    .journal
                    .append(Kind::Events, count, payload)
                    .await
                    .map_err(append_error)?;
                guard.durable = Some(first.plus(u64::from(count.get())));
                first
            }
            None => Position::ZERO,
        };
        drop(guard);
        self.announce(&settled.batch.events);
        let mut accepted = 0;
        let mut outcomes = Vec::with_capacity(settled.answers.len());
        for answer in settled.answers {
            let outcome = match answer {
                Answer::Refused(outcome) => {
                    source.rejected(reason_of(&outcome), 1);
                    outcomes.push(outcome);
                    continue;
                }
                Answer::Created { at } => {
                    let position = first.plus(at as u64);
                    Outcome::Created {
                        position,
                        id: self.id_of(&settled.batch.events[at], position),
                    }
                }
                Answer::Updated { at } => {
                    let position = first.plus(at as u64);
                    Outcome::Updated {
                        position,
                        id: self.id_of(&settled.batch.events[at], position),
                    }
                }
                Answer::Deleted { at } => {
                    let position = first.plus(at as u64);
                    Outcome::Deleted {
                        position,
                        id: self.id_of(&settled.batch.events[at], position),
                    }
                }
            };
            accepted += 1;
            outcomes.push(outcome);
        }
        source.accepted(accepted);
        Ok(Ack { outcomes })
    }

    fn announce(&self, events: &[Event]) {
        let mut last: Option<ShardId> = None;
        for event in events
            .iter()
            .filter(|event| event.operation != Operation::Delete)
        {
            let day = Day::of(event.timestamp);
            let is_last = last
                .as_ref()
                .is_some_and(|shard| shard.day == day && shard.index == event.index);
            if !is_last {
                let shard = ShardId {
                    index: event.index.clone(),
                    day,
                };
                self.log_index.announce(&shard);
                last = Some(shard);
            }
        }
    }

    fn id_of(&self, event: &Event, position: Position) -> Box<str> {
        match &event.id {
            Some(id) => id.clone(),
            None => self.log_index.event_ids().id_of(position).into_boxed_str(),
        }
    }

    /// Decides what each event becomes and reserves the ids.
    async fn settle(&self, batch: Batch) -> Result<Settled, AppendError> {
        let checked = self.check_events(&batch);
        if batch.events.iter().all(|event| event.id.is_none()) {
            return Ok(without_ids(batch, checked));
        }
        let batch = Arc::new(batch);
        let checked = Arc::new(checked);
        loop {
            let mut settled = self.settled.subscribe();
            let (table, log_index) = (Arc::clone(&self.table), self.log_index.clone());
            let (job_batch, job_checked, journal) = (
                Arc::clone(&batch),
                Arc::clone(&checked),
                Arc::clone(&self.journal),
            );
            let pending = self.still_pending();
            let reserved = tokio::task::spawn_blocking(move || {
                let known_until = wait_until_known(&log_index, pending.as_deref(), &job_batch)?;
                prune(&table, &log_index, &*journal)?;
                let mut table = lock(&table);
                let index = Known {
                    log_index: &log_index,
                    until: known_until,
                };
                reserve(&mut table, &index, &job_batch, &job_checked)
            });
            match reserved.await {
                Ok(Ok(Ok(done))) => return Ok(done),
                Ok(Ok(Err(Busy))) => {
                    // The sender lives as long as the intake, so a change always comes.
                    let _ = settled.changed().await;
                }
                Ok(Err(error)) => return Err(error),
                Err(panicked) => {
                    return Err(AppendError::Unavailable {
                        message: panicked.to_string(),
                        retry_after: RetryAfter::ONE_SECOND,
                    });
                }
            }
        }
    }

    /// The ids of an earlier process that the index may not know yet; forgotten once it does.
    fn still_pending(&self) -> Option<Arc<PendingIds>> {
        let pending = self.pending.load_full()?;
        if self.log_index.progress().visible >= pending.until() {
            self.pending.store(None);
            return None;
        }
        Some(pending)
    }

    /// What can be refused without looking at ids; `None` for what cannot.
    fn check_events(&self, batch: &Batch) -> Vec<Option<Outcome>> {
        let retention = self.retention.load();
        let mut bounds: HashMap<&IndexName, Bounds> = HashMap::new();
        let mut checked = Vec::with_capacity(batch.events.len());
        for event in &batch.events {
            if event.operation == Operation::Delete {
                checked.push(None);
                continue;
            }
            let bounds = bounds
                .entry(&event.index)
                .or_insert_with(|| self.bounds(&retention, &event.index, batch.received));
            checked.push(bounds.check(event));
        }
        checked
    }

    fn bounds(&self, retention: &Retention, index: &IndexName, now: Timestamp) -> Bounds {
        let kept = retention.of(index).max(Duration::from_secs(86_400));
        let refusal = if !indexer::index_name_fits(index) {
            Some((
                "invalid_index",
                format!("invalid index name [{index}], its folder's name would be too long"),
            ))
        } else if !self.admit_index(index) {
            let message = format!(
                "cannot make index [{index}]: there are {INDICES_MAX} indices already; write to one of them or delete some"
            );
            Some(("too_many_indices", message))
        } else {
            None
        };
        Bounds {
            refusal,
            earliest: now.minus(kept),
            latest: now.plus(kept),
        }
    }

    /// Whether the index exists or may be made.
    fn admit_index(&self, index: &IndexName) -> bool {
        let mut indices = self.indices.lock().expect("no holder of this lock panics");
        if indices.contains_key(index) {
            return true;
        }
        if indices.len() >= INDICES_MAX {
            // Some may have been deleted; those let through lately may only be on their way.
            indices.retain(|known, admitted| {
                admitted.elapsed() < ADMITTED_FOR || self.log_index.has_index(known)
            });
        }
        let has_room = indices.len() < INDICES_MAX;
        if has_room {
            indices.insert(index.clone(), Instant::now());
        }
        has_room
    }
}

/// What an index takes at the moment.
#[derive(Clone)]
struct Bounds {
    refusal: Option<(&'static str, String)>,
    earliest: Timestamp,
    latest: Timestamp,
}

impl Bounds {
    fn check(&self, event: &Event) -> Option<Outcome> {
        if let Some((reason, message)) = &self.refusal {
            return Some(Outcome::Rejected {
                reason,
                message: message.clone(),
            });
        }
        let (time, index) = (event.timestamp, &event.index);
        if time < self.earliest {
            let message = format!(
                "@timestamp {time} is before {}, the earliest that index [{index}] keeps",
                self.earliest
            );
            return Some(Outcome::Rejected {
                reason: "too_old",
                message,
            });
        }
        if time > self.latest {
            let message = format!(
                "@timestamp {time} is after {}, the latest that index [{index}] takes; check the sender's clock",
                self.latest
            );
            return Some(Outcome::Rejected {
                reason: "too_far_ahead",
                message,
            });
        }
        None
    }
}

impl Append for Intake {
    fn append(
        &self,
        batch: Batch,
    ) -> Pin<Box<dyn Future<Output = Result<Ack, AppendError>> + Send + '_>> {
        Box::pin(self.append_batch(batch))
    }
}

impl Gate {
    fn check(&self) -> Result<(), AppendError> {
        if self.is_stopping.load(Ordering::Relaxed) {
            return Err(AppendError::Stopping);
        }
        match &*self
            .disk_full
            .lock()
            .expect("no holder of this lock panics")
        {
            Some(message) => Err(AppendError::DiskFull {
                message: message.clone(),
                retry_after: RetryAfter::ONE_SECOND,
            }),
            None => Ok(()),
        }
    }
}

/// Ends a batch's hold on its ids, whatever happens to the batch, and wakes those who wait for it.
struct ReservationGuard<'a> {
    intake: &'a Intake,
    reserved: Option<Reserved>,
    durable: Option<Position>,
}

impl Drop for ReservationGuard<'_> {
    fn drop(&mut self) {
        let Some(Reserved { token, before }) = self.reserved.take() else {
            return;
        };
        let mut table = lock(&self.intake.table);
        for (key, entry_before) in before {
            let is_ours = table
                .entries
                .get(&key)
                .is_some_and(|entry| entry.token == token);
            if !is_ours {
                continue;
            }
            match (self.durable, entry_before) {
                (Some(end), _) => {
                    if let Some(entry) = table.entries.get_mut(&key) {
                        entry.durable = Some(end);
                    }
                }
                // What an earlier, durable batch did with the id still holds.
                (None, Some(entry)) => drop(table.entries.insert(key, entry)),
                (None, None) => drop(table.entries.remove(&key)),
            }
        }
        drop(table);
        self.intake.settled.send_modify(|count| *count += 1);
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().expect("no holder of this lock panics")
}

fn reason_of(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Conflict => "conflict",
        Outcome::NotFound => "not_found",
        Outcome::Rejected { reason, .. } => reason,
        Outcome::Created { .. } | Outcome::Updated { .. } | Outcome::Deleted { .. } => "accepted",
    }
}

fn append_error(error: journal::Error) -> AppendError {
    let retry_after = RetryAfter::ONE_SECOND;
    let message = error.to_string();
    match error {
        journal::Error::Full { .. } => AppendError::Full {
            message,
            retry_after,
        },
        journal::Error::DiskFull { .. } => AppendError::DiskFull {
            message,
            retry_after,
        },
        journal::Error::Closed => AppendError::Stopping,
        _ => AppendError::Unavailable {
            message,
            retry_after,
        },
    }
}

fn without_ids(mut batch: Batch, checked: Vec<Option<Outcome>>) -> Settled {
    let mut answers = Vec::with_capacity(checked.len());
    let mut kept = 0;
    let is_kept: Vec<bool> = checked.iter().map(Option::is_none).collect();
    for outcome in checked {
        answers.push(match outcome {
            Some(outcome) => Answer::Refused(outcome),
            None => {
                kept += 1;
                Answer::Created { at: kept - 1 }
            }
        });
    }
    let mut is_kept = is_kept.into_iter();
    batch.events.retain(|_| is_kept.next().unwrap_or(true));
    // Without an id nothing can be replaced.
    for event in &mut batch.events {
        event.operation = Operation::Create;
    }
    Settled {
        batch,
        answers,
        reserved: None,
    }
}

/// The index, while it can say which ids exist.
struct Known<'a> {
    log_index: &'a LogIndex,
    /// What must be visible for that.
    until: Position,
}

impl Known<'_> {
    fn check(&self) -> Result<(), AppendError> {
        match self.log_index.progress().visible >= self.until {
            true => Ok(()),
            false => Err(AppendError::Unavailable {
                message: "the index is still reading the journal, so it is not known whether these ids exist"
                    .to_owned(),
                retry_after: RetryAfter::ONE_SECOND,
            }),
        }
    }

    fn find(&self, key: &Key) -> Result<Option<Day>, AppendError> {
        let found = self.log_index.find_event(&key.0, &key.1);
        found.map_err(|error| AppendError::Unavailable {
            message: error.to_string(),
            retry_after: RetryAfter::ONE_SECOND,
        })
    }
}

/// Waits until the index can say of a batch's ids whether they exist. Not so while it reads an id again: after a
/// restart, and after files could not be synced. Answers what must be visible for that.
fn wait_until_known(
    log_index: &LogIndex,
    pending: Option<&PendingIds>,
    batch: &Batch,
) -> Result<Position, AppendError> {
    let mut until = log_index.progress().furthest;
    if let Some(pending) = pending {
        let mut keys = batch.events.iter().filter_map(key_of);
        if keys.any(|(index, id)| pending.may_have(&index, &id)) {
            until = until.max(pending.until());
        }
    }
    if log_index.progress().visible < until {
        log_index.refresh(until, REFRESH_WAIT_MAX);
    }
    let known = Known { log_index, until };
    known.check().map(|()| until)
}

/// Forgets ids that can be found by now; asks the index to hurry when there are too many.
fn prune(
    table: &Mutex<Table>,
    log_index: &LogIndex,
    journal: &dyn Journal,
) -> Result<(), AppendError> {
    if lock(table).entries.len() < TABLE_LEN_PRUNED {
        return Ok(());
    }
    let forget = || {
        let visible = log_index.progress().visible;
        let mut table = lock(table);
        table
            .entries
            .retain(|_, entry| entry.durable.is_none_or(|end| end > visible));
        table.entries.len()
    };
    if forget() < TABLE_LEN_PRUNED {
        return Ok(());
    }
    log_index.refresh(journal.end(), REFRESH_WAIT_MAX);
    match forget() {
        len if len < TABLE_LEN_MAX => Ok(()),
        len => Err(AppendError::Full {
            message: format!("{len} events with ids of their own wait to be indexed"),
            retry_after: RetryAfter::ONE_SECOND,
        }),
    }
}

fn reserve(
    table: &mut Table,
    index: &Known<'_>,
    batch: &Batch,
    checked: &[Option<Outcome>],
) -> Result<Result<Settled, Busy>, AppendError> {
    let is_busy = batch.events.iter().filter_map(key_of).any(|key| {
        table
            .entries
            .get(&key)
            .is_some_and(|entry| entry.durable.is_none())
    });
    if is_busy {
        return Ok(Err(Busy));
    }
    let token = table.next_token;
    table.next_token += 1;
    let mut mine: HashMap<Key, Option<Day>> = HashMap::new();
    let mut events = Vec::with_capacity(batch.events.len());
    let mut answers = Vec::with_capacity(batch.events.len());
    for (event, refusal) in batch.events.iter().zip(checked) {
        if let Some(outcome) = refusal {
            answers.push(Answer::Refused(outcome.clone()));
            continue;
        }
        let Some(key) = key_of(event) else {
            answers.push(Answer::Created { at: events.len() });
            events.push(Event {
                operation: Operation::Create,
                ..event.clone()
            });
            continue;
        };
        let there = match (mine.get(&key), table.entries.get(&key)) {
            (Some(day), _) => *day,
            (None, Some(entry)) => entry.day,
            (None, None) => index.find(&key)?,
        };
        let day = Day::of(event.timestamp);
        match (event.operation, there) {
            (Operation::Create, Some(_)) => answers.push(Answer::Refused(Outcome::Conflict)),
            (Operation::Delete | Operation::Displace, None) => {
                answers.push(Answer::Refused(Outcome::NotFound))
            }
            (Operation::Create | Operation::Index, None) => {
                answers.push(Answer::Created { at: events.len() });
                events.push(Event {
                    operation: Operation::Create,
                    ..event.clone()
                });
                mine.insert(key, Some(day));
            }
            (Operation::Index, Some(old_day)) => {
                if old_day != day {
                    let displaced = Event {
                        operation: Operation::Displace,
                        timestamp: old_day.start(),
                        source: Default::default(),
                        ..event.clone()
                    };
                    events.push(displaced);
                }
                answers.push(Answer::Updated { at: events.len() });
                events.push(event.clone());
                mine.insert(key, Some(day));
            }
            (Operation::Delete | Operation::Displace, Some(old_day)) => {
                answers.push(Answer::Deleted { at: events.len() });
                events.push(Event {
                    operation: Operation::Delete,
                    timestamp: old_day.start(),
                    ..event.clone()
                });
                mine.insert(key, None);
            }
        }
    }
    // It may have gone back while it was asked.
    index.check()?;
    let mut before = Vec::with_capacity(mine.len());
    for (key, day) in mine {
        let entry = Entry {
            day,
            token,
            durable: None,
        };
        before.push((key.clone(), table.entries.insert(key, entry)));
    }
    let batch = Batch {
        events,
        source: Arc::clone(&batch.source),
        received: batch.received,
        checkpoint: batch.checkpoint.clone(),
    };
    Ok(Ok(Settled {
        batch,
        answers,
        reserved: Some(Reserved { token, before }),
    }))
}

fn key_of(event: &Event) -> Option<Key> {
    event
        .id
        .as_ref()
        .map(|id| (event.index.clone(), id.clone()))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use bytes::Bytes;
    use collector::source::checkpoint::CheckpointStore;
    use indexer::{Catalog, Indexer};
    use journal::Local;

    use super::*;
    use crate::feed::Feed;

    const DAY: Duration = Duration::from_secs(86_400);

    struct Appliance {
        intake: Arc<Intake>,
        feed: Feed,
        ledger: Arc<Ledger>,
        _dir: tempfile::TempDir,
    }

    fn start() -> Appliance {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Arc::new(Catalog::open(dir.path()).unwrap());
        let ledger = Arc::new(Ledger::new());
        let journal: Arc<dyn Journal> = Arc::new(
            Local::open(
                journal::Settings::new(dir.path().join("journal")),
                Position::ZERO,
            )
            .unwrap(),
        );
        let settings = indexer::Settings::new(dir.path());
        let indexer = Indexer::open(settings, catalog, Arc::clone(&ledger), journal.end()).unwrap();
        let log_index = indexer.log_index();
        let retention = Retention {
            default: 30 * DAY,
            rules: Vec::new(),
        };
        let mut checkpoints = CheckpointStore::open(&dir.path().join("file_checkpoints")).unwrap();
        let pending = PendingIds::read(&*journal, &mut checkpoints).unwrap();
        let checkpoints = Arc::new(Mutex::new(checkpoints));
        let feed = Feed::start(
            Arc::clone(&journal),
            indexer,
            checkpoints,
            channel().1,
            || {},
        )
        .unwrap();
        let intake = Arc::new(Intake::new(
            journal,
            log_index,
            Arc::clone(&ledger),
            retention,
            pending,
        ));
        Appliance {
            intake,
            feed,
            ledger,
            _dir: dir,
        }
    }

    fn event(operation: Operation, id: &str, source: &'static str) -> Event {
        let id = (!id.is_empty()).then(|| Box::from(id));
        Event {
            index: IndexName::default_index(),
            id,
            timestamp: Timestamp::now(),
            operation,
            source: Bytes::from_static(source.as_bytes()),
        }
    }

    async fn append(intake: &Intake, events: Vec<Event>) -> Vec<Outcome> {
        let batch = Batch::new("test".into(), Timestamp::now(), events);
        intake.append(batch).await.unwrap().outcomes
    }

    fn names(outcomes: &[Outcome]) -> Vec<&'static str> {
        let name = |outcome: &Outcome| match outcome {
            Outcome::Created { .. } => "created",
            Outcome::Updated { .. } => "updated",
            Outcome::Deleted { .. } => "deleted",
            Outcome::Conflict => "conflict",
            Outcome::NotFound => "not found",
            Outcome::Rejected { reason, .. } => reason,
        };
        outcomes.iter().map(name).collect()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn ids_are_settled_before_and_after_they_can_be_found() {
        let appliance = start();
        let intake = &appliance.intake;
        use Operation::{Create, Delete, Index};
        let first = vec![
            event(Create, "a", "{}"),
            event(Create, "a", "{}"),
            event(Index, "a", "{}"),
            event(Delete, "b", ""),
            event(Index, "b", "{}"),
        ];
        assert_eq!(
            names(&append(intake, first).await),
            ["created", "conflict", "updated", "not found", "created"]
        );
        for is_indexed in [false, true] {
            if is_indexed {
                assert!(intake.refresh());
                lock(&intake.table).entries.clear();
            }
            let again = vec![
                event(Create, "a", "{}"),
                event(Index, "a", "{}"),
                event(Delete, "b", ""),
                event(Delete, "b", ""),
                event(Create, "b", "{}"),
            ];
            assert_eq!(
                names(&append(intake, again).await),
                ["conflict", "updated", "deleted", "not found", "created"],
                "indexed: {is_indexed}"
            );
        }
        let mut moved = event(Index, "a", "{\"moved\":true}");
        moved.timestamp = Timestamp::now().minus(3 * DAY);
        assert_eq!(names(&append(intake, vec![moved]).await), ["updated"]);
        assert!(intake.refresh());
        let count: u64 = intake
            .log_index
            .snapshot(|_| true)
            .shards
            .iter()
            .map(|shard| shard.event_count())
            .sum();
        assert_eq!(count, 2);
        let totals = appliance.ledger.totals().remove(0);
        assert_eq!((totals.accepted, totals.stored), (10, 10));
        assert_eq!(totals.rejected.values().sum::<u64>(), 6);
        appliance.feed.stop();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_many_who_create_the_same_id_at_once_one_wins() {
        let appliance = start();
        let mut tasks = Vec::new();
        for _ in 0..20 {
            let intake = Arc::clone(&appliance.intake);
            tasks.push(tokio::spawn(async move {
                append(
                    &intake,
                    vec![
                        event(Operation::Create, "same", "{}"),
                        event(Operation::Create, "", "{}"),
                    ],
                )
                .await
            }));
        }
        let mut created = 0;
        for task in tasks {
            let outcomes = task.await.unwrap();
            created += names(&outcomes)
                .iter()
                .filter(|name| **name == "created")
                .count();
        }
        assert_eq!(created, 21);
        appliance.feed.stop();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_an_index_does_not_keep_is_refused_and_its_neighbours_are_stored() {
        let appliance = start();
        let mut old = event(Operation::Create, "", "{}");
        old.timestamp = Timestamp::now().minus(31 * DAY);
        let mut ahead = event(Operation::Create, "", "{}");
        ahead.timestamp = Timestamp::now().plus(31 * DAY);
        let outcomes = append(
            &appliance.intake,
            vec![old, event(Operation::Create, "", "{}"), ahead],
        )
        .await;
        assert_eq!(names(&outcomes), ["too_old", "created", "too_far_ahead"]);
        let events = (0..INDICES_MAX + 5).map(|number| {
            let index = IndexName::parse(&format!("index-{number}")).unwrap();
            Event {
                index,
                ..event(Operation::Delete, "x", "")
            }
        });
        let outcomes = append(&appliance.intake, events.collect()).await;
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::NotFound));
        let events = (0..INDICES_MAX + 5)
            .map(|number| IndexName::parse(&format!("index-{number}")).unwrap());
        let checked = appliance.intake.check_events(&Batch::new(
            "test".into(),
            Timestamp::now(),
            events
                .map(|index| Event {
                    index,
                    ..event(Operation::Create, "", "{}")
                })
                .collect(),
        ));
        assert!(checked[INDICES_MAX - 10].is_none() && checked[INDICES_MAX + 4].is_some());
        appliance.intake.stop();
        let refused = appliance
            .intake
            .append(Batch::new("test".into(), Timestamp::now(), Vec::new()))
            .await;
        assert_eq!(refused, Err(AppendError::Stopping));
        appliance.feed.stop();
    }
}
