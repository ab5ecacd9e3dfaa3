//! The thread that reads: polls librdkafka, gathers batches, commits what is durable, and answers when partitions come
//! and go.
//!
//! Whatever goes wrong in a way that leaves it unclear how far it has read ends in the same place: the consumer is
//! closed and a new one begins where the group and the checkpoints say.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use event::{Batch, Event, Timestamp};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Message, Offset, Statistics, TopicPartitionList};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

use super::board::Board;
use super::message::{Made, Maker, Record};
use super::place::{self, Committed, MARK, Partition, Places, Start};
use super::running::Flight;
use super::settings::Settings;
use crate::source::delivery::CountedBatch;

/// One batch: large enough that an fsync of some milliseconds still lets 100 MB pass in a second.
const BATCH_BYTES: usize = 1 << 20;
/// A message waits this long for others to share its fsync.
const GATHER_FOR: Duration = Duration::from_millis(20);
/// The longest poll: how late a stop is noticed.
const POLL_FOR: Duration = Duration::from_millis(50);
/// How long a full batch waits without a poll before reading is paused. Pausing throws away what is read ahead.
const PAUSE_AFTER: Duration = Duration::from_secs(1);
/// Between commits of what is durable. What another Daybook reads twice when this one is killed came within it.
const COMMIT_EVERY: Duration = Duration::from_millis(200);
/// How long a partition that is taken away is held for what is on its way to the journal.
const FINISH_WITHIN: Duration = Duration::from_secs(10);
/// The same when Daybook stops, which has ten seconds for everything.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// For answers of brokers while partitions are handed out.
const ASK_FOR: Duration = Duration::from_secs(10);
/// Between the end of one consumer and the start of the next.
const RESTART_FIRST: Duration = Duration::from_secs(1);
const RESTART_MAX: Duration = Duration::from_secs(30);

/// What the thread works with.
pub struct Follower {
    /// The entry under `sources:`.
    pub settings: Settings,
    /// Makes events of messages.
    pub maker: Maker,
    /// The source's name.
    pub name: Arc<str>,
    /// The clock, UTC.
    pub now: fn() -> Timestamp,
    /// How far the source is.
    pub board: Arc<Board>,
    /// The way to the journal.
    pub flights: mpsc::Sender<Flight>,
    /// The end.
    pub shutdown: CancellationToken,
}

impl Follower {
    /// Reads until the source is to stop.
    pub fn run(self) {
        let source = Arc::clone(&self.name);
        let follower = Arc::new(self);
        let mut restart_after = RESTART_FIRST;
        let mut is_told = false;
        while !follower.is_over() {
            let started = Instant::now();
            let Err(problem) = follower.consume() else {
                return;
            };
            if started.elapsed() > RESTART_MAX {
                (restart_after, is_told) = (RESTART_FIRST, false);
            }
            if !std::mem::replace(&mut is_told, true) {
                tracing::warn!(%source, problem, "reading from Kafka begins anew");
            }
            let counts = follower.board.counts();
            counts.restarts.fetch_add(1, Ordering::Relaxed);
            let deadline = Instant::now() + restart_after;
            while Instant::now() < deadline && !follower.is_over() {
                std::thread::sleep(POLL_FOR);
            }
            restart_after = RESTART_MAX.min(restart_after * 2);
        }
    }

    fn is_over(&self) -> bool {
        self.shutdown.is_cancelled() || self.board.is_over()
    }

    /// The life of one consumer; an error begins the next one.
    fn consume(self: &Arc<Follower>) -> Result<(), String> {
        let context = Context {
            follower: Arc::clone(self),
            gathered: Mutex::new(Gathered::default()),
            is_paused: AtomicBool::new(false),
            must_restart: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            told: Mutex::default(),
        };
        let config = self.settings.client_config();
        let consumer: BaseConsumer<Context> = config
            .create_with_context(context)
            .map_err(|error| error.to_string())?;
        let topics: Vec<&str> = self.settings.topics.iter().map(String::as_str).collect();
        consumer
            .subscribe(&topics)
            .map_err(|error| error.to_string())?;
        let outcome = Reading {
            follower: self,
            consumer: &consumer,
            context: consumer.context(),
            full_since: None,
            committed_at: Instant::now(),
        }
        .run();
        let context = consumer.context();
        context.is_stopping.store(true, Ordering::Relaxed);
        let patience = match outcome {
            Ok(()) => STOP_WITHIN,
            Err(_) => FINISH_WITHIN,
        };
        self.board.wait_for_landing(patience);
        context.commit(&consumer);
        // Leaves the group; the callback for what it still owned runs in here.
        drop(consumer);
        outcome
    }
}

/// One consumer at work.
struct Reading<'a> {
    follower: &'a Follower,
    consumer: &'a BaseConsumer<Context>,
    context: &'a Context,
    full_since: Option<Instant>,
    committed_at: Instant,
}

impl Reading<'_> {
    fn run(mut self) -> Result<(), String> {
        while !self.follower.is_over() {
            if self.context.must_restart.load(Ordering::Relaxed) {
                return Err("where it stands in its partitions is not clear".to_owned());
            }
            self.commit();
            if self.hand_over()? {
                self.follower.board.wait_for_change(POLL_FOR);
                continue;
            }
            // A guard within the match would be held while librdkafka calls back.
            let poll_for = self.context.gathered().poll_for();
            match self.consumer.poll(poll_for) {
                Some(Ok(message)) => self.context.take(&message),
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    let fatal = self.consumer.client().fatal_error();
                    return Err(fatal.map_or_else(|| code.to_string(), |(_, words)| words));
                }
                Some(Err(error)) => self.context.tell(&error, ""),
                None => {}
            }
        }
        Ok(())
    }

    fn commit(&mut self) {
        if self.committed_at.elapsed() >= COMMIT_EVERY {
            self.committed_at = Instant::now();
            self.context.commit(self.consumer);
        }
    }

    /// Sends what is due, and pauses or resumes by whether it can. `true` asks to wait without polling.
    fn hand_over(&mut self) -> Result<bool, String> {
        let (is_due, is_full) = {
            let gathered = self.context.gathered();
            (gathered.is_due(), gathered.bytes >= BATCH_BYTES)
        };
        if !is_due {
            return Ok(false);
        }
        if self.context.try_send() {
            self.full_since = None;
            if self.context.is_paused.swap(false, Ordering::Relaxed) {
                let all = self.consumer.assignment();
                all.and_then(|all| self.consumer.resume(&all))
                    .map_err(|error| error.to_string())?;
            }
            return Ok(false);
        }
        if !is_full || self.context.is_paused.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let full_since = *self.full_since.get_or_insert_with(Instant::now);
        if full_since.elapsed() < PAUSE_AFTER {
            return Ok(true);
        }
        // From here on polls bring no messages, but the group sees that we live.
        self.context.is_paused.store(true, Ordering::Relaxed);
        let counts = self.follower.board.counts();
        counts.pauses.fetch_add(1, Ordering::Relaxed);
        let all = self.consumer.assignment();
        all.and_then(|all| self.consumer.pause(&all))
            .map_err(|error| error.to_string())?;
        Ok(false)
    }
}

/// What librdkafka calls back, always within a poll of the thread that reads.
struct Context {
    follower: Arc<Follower>,
    /// Locked for moments, never during a poll.
    gathered: Mutex<Gathered>,
    is_paused: AtomicBool,
    must_restart: AtomicBool,
    is_stopping: AtomicBool,
    /// What was told since the last message, so that a broker that is away is told once.
    told: Mutex<Vec<RDKafkaErrorCode>>,
}

/// The next batch.
#[derive(Default)]
struct Gathered {
    events: Vec<Event>,
    since: Option<Instant>,
    received: u64,
    received_bytes: u64,
    dropped: Vec<&'static str>,
    rejected: BTreeMap<&'static str, u64>,
    rejected_bytes: u64,
    places: Places,
    /// In memory.
    bytes: usize,
    /// When its first message came.
    arrived: Option<Timestamp>,
    /// The topic of the last message: most often that of the next.
    topic: Option<Arc<str>>,
}

impl Gathered {
    fn is_due(&self) -> bool {
        self.bytes >= BATCH_BYTES
            || self
                .since
                .is_some_and(|since| since.elapsed() >= GATHER_FOR)
    }

    fn poll_for(&self) -> Duration {
        self.since.map_or(POLL_FOR, |since| {
            // At least a little, or a full slot would make this loop spin.
            let left = GATHER_FOR.saturating_sub(since.elapsed());
            left.max(Duration::from_millis(2))
        })
    }

    fn topic(&mut self, name: &str) -> Arc<str> {
        match &self.topic {
            Some(topic) if **topic == *name => Arc::clone(topic),
            _ => {
                let topic: Arc<str> = Arc::from(name);
                self.topic = Some(Arc::clone(&topic));
                topic
            }
        }
    }
}

impl Context {
    fn take(&self, message: &BorrowedMessage<'_>) {
        let follower = &*self.follower;
        let mut gathered = self.gathered();
        gathered.since.get_or_insert_with(Instant::now);
        let received = *gathered.arrived.get_or_insert_with(follower.now);
        let record = record_of(message);
        let bytes = message.payload_len() + message.key_len();
        let (made, is_invalid) = follower.maker.make(&record, received);
        if is_invalid {
            let counts = follower.board.counts();
            counts.invalid_utf8_messages.fetch_add(1, Ordering::Relaxed);
        }
        match made {
            Made::Rejected(reason) => {
                *gathered.rejected.entry(reason).or_default() += 1;
                gathered.rejected_bytes += bytes as u64;
                gathered.bytes += size_of::<Event>();
            }
            Made::Dropped(reason) => {
                gathered.received += 1;
                gathered.received_bytes += bytes as u64;
                gathered.dropped.push(reason);
                gathered.bytes += size_of::<Event>();
            }
            Made::Event(event) => {
                gathered.received += 1;
                gathered.received_bytes += bytes as u64;
                gathered.bytes += event.byte_size() + size_of::<Event>();
                gathered.events.push(event);
            }
        }
        let topic = gathered.topic(record.topic);
        let next = record.offset.saturating_add(1);
        gathered.places.insert((topic, record.partition), next);
        // It works again: the next trouble is news.
        self.told().clear();
    }

    /// Hands over what is gathered; `false` when there is no room on the way.
    fn try_send(&self) -> bool {
        let follower = &*self.follower;
        let mut gathered = self.gathered();
        if gathered.since.is_none() {
            return true;
        }
        let permit = match follower.flights.try_reserve() {
            Ok(permit) => permit,
            Err(TrySendError::Full(())) => return false,
            Err(TrySendError::Closed(())) => return true,
        };
        let gathered = std::mem::take(&mut *gathered);
        let received = gathered.arrived.unwrap_or_else(follower.now);
        let mut batch = Batch::new(Arc::clone(&follower.name), received, gathered.events);
        batch.checkpoint = Some(place::checkpoint_of(&gathered.places));
        follower.board.departs(&gathered.places);
        permit.send(Flight {
            counted: CountedBatch {
                batch,
                received: gathered.received,
                received_bytes: gathered.received_bytes,
                dropped: gathered.dropped,
            },
            rejected: gathered.rejected,
            rejected_bytes: gathered.rejected_bytes,
            places: gathered.places,
        });
        true
    }

    /// Commits what is durable and not committed yet, without waiting for the answer.
    fn commit(&self, consumer: &BaseConsumer<Context>) {
        let due = self.follower.board.take_uncommitted();
        if due.is_empty() {
            return;
        }
        if let Err(error) = commit(consumer, &due, CommitMode::Async) {
            self.commit_failed(&error);
        }
    }

    fn commit_failed(&self, error: &KafkaError) {
        let counts = self.follower.board.counts();
        counts.commit_errors.fetch_add(1, Ordering::Relaxed);
        self.follower.board.commit_failed();
        tracing::debug!(source = %self.follower.name, %error, "offsets were not committed; it is tried again");
    }

    /// Sends what is gathered and waits for all of it to be durable; `false` when that takes too long.
    fn finish(&self) -> bool {
        let deadline = Instant::now() + FINISH_WITHIN;
        let board = &self.follower.board;
        while !self.try_send() {
            if Instant::now() >= deadline || self.follower.is_over() {
                return false;
            }
            board.wait_for_change(POLL_FOR);
        }
        board.wait_for_landing(deadline.saturating_duration_since(Instant::now()))
    }

    fn assigned(&self, consumer: &BaseConsumer<Context>, partitions: &mut TopicPartitionList) {
        let places = self.choose_starts(consumer, partitions);
        let outcome = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_assign(partitions),
            _ => consumer.assign(partitions),
        };
        if let Err(error) = outcome {
            return self.begin_anew(&error);
        }
        if !places.is_empty() {
            tracing::info!(source = %self.follower.name, partitions = places.len(), "partitions were given to us");
        }
        self.follower.board.own(places);
        if self.is_paused.load(Ordering::Relaxed)
            && let Err(error) = consumer.pause(partitions)
        {
            self.begin_anew(&error);
        }
    }

    fn revoked(&self, consumer: &BaseConsumer<Context>, partitions: &TopicPartitionList) {
        let is_stopping = self.is_stopping.load(Ordering::Relaxed);
        // What is lost is somebody else's already: what is only gathered is theirs to read.
        if !is_stopping && (consumer.assignment_lost() || !self.finish()) {
            *self.gathered() = Gathered::default();
            self.must_restart.store(true, Ordering::Relaxed);
        }
        // librdkafka lets partitions go only after commits that are under way.
        self.commit(consumer);
        let gone: Vec<Partition> = partitions
            .elements()
            .iter()
            .map(|element| (Arc::from(element.topic()), element.partition()))
            .collect();
        self.follower.board.disown(gone.iter());
        tracing::info!(source = %self.follower.name, partitions = gone.len(), "partitions were taken from us");
        let outcome = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => consumer.incremental_unassign(partitions),
            _ => consumer.unassign(),
        };
        if let Err(error) = outcome {
            self.begin_anew(&error);
        }
    }

    /// Writes into `partitions` where each begins, and answers the same.
    fn choose_starts(
        &self,
        consumer: &BaseConsumer<Context>,
        partitions: &mut TopicPartitionList,
    ) -> Places {
        let board = &self.follower.board;
        let names: Vec<Partition> = partitions
            .elements()
            .iter()
            .map(|element| (Arc::from(element.topic()), element.partition()))
            .collect();
        let unknown = || names.iter().map(|name| (name.clone(), -1)).collect();
        if names.is_empty() {
            return Places::new();
        }
        let committed = match consumer.committed_offsets(partitions.clone(), ASK_FOR) {
            Ok(list) => committed_of(&list),
            Err(error) => Err(error),
        };
        let committed = match committed {
            Ok(committed) => committed,
            Err(error) => {
                // librdkafka asks again by itself, and begins there: at worst events of the last moments come twice.
                tracing::warn!(source = %self.follower.name, %error, "the group's offsets cannot be read for now");
                return unknown();
            }
        };
        let is_new_group = board.is_new() && committed.is_empty();
        let fresh = place::fresh_start(self.follower.settings.start_at, is_new_group);
        let (mut places, mut new) = (Places::new(), Places::new());
        for name in names {
            let start = place::start(committed.get(&name).copied(), board.reached(&name), fresh);
            let offset = match start {
                Start::At(offset) => Some(offset),
                // Once one is not answered, the consumer ends with the next poll: the others need not be asked for.
                _ if self.must_restart.load(Ordering::Relaxed) => None,
                Start::First | Start::Last => self.watermark(consumer, &name, start),
            };
            let raw = offset.map_or(Offset::End, Offset::Offset);
            if let Some(offset) = offset
                && place::is_news(committed.get(&name).copied(), offset)
            {
                new.insert(name.clone(), offset);
            }
            if let Err(error) = partitions.set_partition_offset(&name.0, name.1, raw) {
                self.tell(&error, "");
            }
            places.insert(name, offset.unwrap_or(-1));
        }
        // Written down before the first message: a group that has begun at the end stays there, and our checkpoints
        // count from now on. When we know of more than the group does and nothing new comes, nobody else would tell it.
        if !new.is_empty()
            && let Err(error) = commit(consumer, &new, CommitMode::Sync)
        {
            tracing::warn!(source = %self.follower.name, %error, "where the group begins cannot be committed");
        }
        places
    }

    /// The offset of the first message of a partition, or behind its last; without an answer the consumer begins anew.
    fn watermark(
        &self,
        consumer: &BaseConsumer<Context>,
        (topic, partition): &Partition,
        start: Start,
    ) -> Option<i64> {
        match consumer.fetch_watermarks(topic, *partition, ASK_FOR) {
            Ok((low, high)) => Some(if start == Start::Last { high } else { low }),
            Err(error) => {
                self.begin_anew(&error);
                None
            }
        }
    }

    fn begin_anew(&self, error: &KafkaError) {
        self.tell(error, "");
        self.must_restart.store(true, Ordering::Relaxed);
    }

    /// Counts an error, and tells it unless it was told since the last message.
    fn tell(&self, error: &KafkaError, reason: &str) {
        let counts = self.follower.board.counts();
        counts.errors.fetch_add(1, Ordering::Relaxed);
        let mut told = self.told();
        if let Some(code) = error.rdkafka_error_code() {
            if told.contains(&code) {
                return;
            }
            told.push(code);
        }
        let source = &self.follower.name;
        tracing::warn!(%source, %error, reason, "Kafka has trouble; reading goes on when it is over");
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().expect("no holder of this lock panics")
    }

    fn told(&self) -> MutexGuard<'_, Vec<RDKafkaErrorCode>> {
        self.told.lock().expect("no holder of this lock panics")
    }
}

impl ClientContext for Context {
    /// What concerns the operator comes as an error, too.
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(source = %self.follower.name, facility, message, "librdkafka says");
    }

    fn stats(&self, statistics: Statistics) {
        self.follower.board.note_statistics(&statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.tell(&error, reason);
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Context>,
        what: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let counts = self.follower.board.counts();
        counts.rebalances.fetch_add(1, Ordering::Relaxed);
        match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                self.assigned(consumer, partitions);
            }
            _ => self.revoked(consumer, partitions),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        match result {
            Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) | Ok(()) => {}
            Err(error) => self.commit_failed(&error),
        }
    }
}

fn commit(consumer: &BaseConsumer<Context>, places: &Places, mode: CommitMode) -> KafkaResult<()> {
    let mut list = TopicPartitionList::with_capacity(places.len());
    for ((topic, partition), next) in places {
        list.add_partition_offset(topic, *partition, Offset::Offset(*next))?;
    }
    for element in &mut list.elements() {
        element.set_metadata(MARK);
    }
    consumer.commit(&list, mode)
}

fn committed_of(list: &TopicPartitionList) -> KafkaResult<BTreeMap<Partition, Committed>> {
    let mut committed = BTreeMap::new();
    for element in list.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            let partition = (Arc::from(element.topic()), element.partition());
            let is_ours = element.metadata() == MARK;
            committed.insert(partition, Committed { offset, is_ours });
        }
    }
    Ok(committed)
}

fn record_of<'a>(message: &'a BorrowedMessage<'_>) -> Record<'a> {
    Record {
        topic: message.topic(),
        partition: message.partition(),
        offset: message.offset(),
        time: message
            .timestamp()
            .to_millis()
            .and_then(Timestamp::from_millis),
        key: message.key(),
        headers: headers_of(message),
        value: message.payload(),
    }
}

fn headers_of<'a>(message: &'a BorrowedMessage<'_>) -> Vec<(String, Option<&'a [u8]>)> {
    let Some(headers) = message.headers() else {
        return Vec::new();
    };
    let read = |at| {
        // The library panics where a header's name is no UTF-8, and has no other way to read it.
        let header = catch_unwind(AssertUnwindSafe(|| headers.get(at)));
        header.map_or_else(
            |_| ("invalid_name".to_owned(), None),
            |header| (header.key.to_owned(), header.value),
        )
    };
    (0..headers.count()).map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_due_when_it_is_full_or_has_waited() {
        let mut gathered = Gathered::default();
        assert!(!gathered.is_due());
        assert_eq!(gathered.poll_for(), POLL_FOR);
        gathered.since = Some(Instant::now() - GATHER_FOR);
        assert!(gathered.is_due());
        gathered.since = Some(Instant::now() + GATHER_FOR);
        gathered.bytes = BATCH_BYTES;
        assert!(gathered.is_due());
    }
}
