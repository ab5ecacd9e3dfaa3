//! Reads the log of one container until the container has ended, from where it was left.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use event::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout_at};

use super::batch::DockerCounts;
use super::container::{Container, Selection};
use super::cursor::{Channel, Cursor, Resume};
use super::engine::{Engine, EngineError, Inspected, Stream};
use super::frames::{Demultiplexer, Held, Line, Output};
use super::joiner::{Joiner, PlacedLine};
use crate::transform::multiline::Multiline;

/// What an engine that ends answers early, again and again, is given between two attempts.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// What the readers of a source have in common.
pub struct Common {
    /// Whom to ask.
    pub engine: Engine,
    /// Which containers are wanted.
    pub selection: Arc<Selection>,
    /// How lines are joined.
    pub multiline: Option<Multiline>,
    /// Longer lines are cut.
    pub event_bytes_max: usize,
    /// For `host.name`.
    pub host_name: Option<String>,
    /// Bounds unfinished lines.
    pub held: Arc<Held>,
    /// Bounds lines on their way to a batch, in bytes; `queued_bytes_max` permits.
    pub queued: Arc<Semaphore>,
    /// The permits of `queued`.
    pub queued_bytes_max: u32,
    /// Where lines go.
    pub sender: mpsc::Sender<Message>,
    /// What is counted on the way.
    pub counts: Arc<DockerCounts>,
}

/// From readers to whoever makes batches.
pub enum Message {
    /// Lines of one container, in order.
    Lines(Portion),
    /// A container is gone; its place need not be kept.
    Gone(String),
}

/// Lines that are stored together with how far they bring their container.
pub struct Portion {
    /// Whose.
    pub container: Arc<Container>,
    /// In the order of the log.
    pub lines: Vec<PlacedLine>,
    /// How far the log is read with them.
    pub cursor: Cursor,
    /// Given back when a batch holds them.
    pub permit: OwnedSemaphorePermit,
}

/// Why a reader ended.
#[derive(Debug)]
pub enum End {
    /// The container has ended and its log was read to the end.
    Over,
    /// The container is gone.
    Gone,
    /// It is none of those wanted.
    NotSelected,
    /// The engine is away, or refuses.
    Failed(EngineError),
}

/// What a reader leaves behind.
#[derive(Debug)]
pub struct Ended {
    /// The container.
    pub id: String,
    /// How far it came.
    pub cursor: Option<Cursor>,
    /// Why it ended.
    pub end: End,
}

/// Reads one container.
pub struct Reader {
    /// What it shares.
    pub common: Arc<Common>,
    /// The container.
    pub id: String,
    /// Where to go on; from the beginning without one.
    pub cursor: Option<Cursor>,
}

impl Reader {
    /// Reads until one of [`End`].
    pub async fn run(mut self) -> Ended {
        let end = match self.read_until_over().await {
            Ok(end) => end,
            Err(error) => End::Failed(error),
        };
        Ended {
            id: self.id,
            cursor: self.cursor,
            end,
        }
    }

    async fn read_until_over(&mut self) -> Result<End, EngineError> {
        let mut retry_after = RETRY_FIRST;
        let mut inspected = self.common.engine.inspect(&self.id).await?;
        loop {
            let Some(known) = inspected else {
                return Ok(End::Gone);
            };
            if !self.common.selection.selects(&self.id, &known) {
                return Ok(End::NotSelected);
            }
            let mut reading = self.reading(&known);
            let stream = self.since_of(&self.cursor);
            let stream = self.common.engine.logs(&self.id, stream).await?;
            let has_progress = reading.read(stream, self).await?;
            inspected = self.common.engine.inspect(&self.id).await?;
            if !inspected.as_ref().is_some_and(|now| now.state.running) {
                reading.finish(self).await;
                return Ok(match inspected {
                    Some(_) => End::Over,
                    None => End::Gone,
                });
            }
            // It was started again meanwhile, or the engine gave up reading. What has begun is read again.
            drop(reading);
            match has_progress {
                true => retry_after = RETRY_FIRST,
                false => retry_after = RETRY_MAX.min(retry_after * 2),
            }
            tokio::time::sleep(retry_after).await;
        }
    }

    fn since_of(&self, cursor: &Option<Cursor>) -> Timestamp {
        cursor.map_or(Timestamp::from_nanos(0), |cursor| cursor.ask_since())
    }

    fn reading(&self, inspected: &Inspected) -> Reading {
        let common = &self.common;
        let marks = self.cursor.unwrap_or_default().marks;
        let joiner = || Joiner::new(common.multiline.clone(), common.event_bytes_max);
        let host_name = common.host_name.as_deref();
        Reading {
            container: Arc::new(Container::new(&self.id, inspected, host_name)),
            demultiplexer: Demultiplexer::new(common.event_bytes_max, &common.held),
            resume: marks.map(Resume::behind),
            joiners: [joiner(), joiner()],
            flush_at: None,
            is_troubled: false,
        }
    }

    /// Waits until there is room, then hands the lines on and notes how far they came.
    async fn send(&mut self, reading: &Reading, lines: Vec<PlacedLine>) {
        let cursor = reading.cursor_behind(self.cursor.unwrap_or_default(), &lines);
        let bytes: usize = lines
            .iter()
            .map(|placed| placed.line.text.len() + size_of::<PlacedLine>())
            .sum();
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let permits = bytes.min(self.common.queued_bytes_max);
        let queued = Arc::clone(&self.common.queued);
        let Ok(permit) = queued.acquire_many_owned(permits).await else {
            return;
        };
        let portion = Portion {
            container: Arc::clone(&reading.container),
            lines,
            cursor,
            permit,
        };
        // Without a receiver the source is stopping.
        if self
            .common
            .sender
            .send(Message::Lines(portion))
            .await
            .is_ok()
        {
            self.cursor = Some(cursor);
        }
    }
}

/// One answer while it is read.
struct Reading {
    container: Arc<Container>,
    demultiplexer: Demultiplexer,
    resume: [Resume; 2],
    joiners: [Joiner; 2],
    /// When joined lines are not waited for any longer.
    flush_at: Option<Instant>,
    is_troubled: bool,
}

impl Reading {
    /// Reads to the end of the answer; whether anything new came.
    async fn read(&mut self, mut stream: Stream, reader: &mut Reader) -> Result<bool, EngineError> {
        let mut has_progress = false;
        loop {
            let mut whole = Vec::new();
            let bytes = match self.flush_at {
                None => stream.next().await?,
                Some(at) => match timeout_at(at, stream.next()).await {
                    Ok(bytes) => bytes?,
                    Err(_) => {
                        self.flush_joined(&mut whole);
                        has_progress |= self.send(whole, reader).await;
                        continue;
                    }
                },
            };
            let Some(bytes) = bytes else {
                return Ok(has_progress);
            };
            let mut output = Output::default();
            let pushed = self.demultiplexer.push(&bytes, &mut output);
            self.take(output, &reader.common, &mut whole);
            has_progress |= self.send(whole, reader).await;
            if let Err(error) = pushed {
                return Err(EngineError::Unreadable {
                    path: format!("/containers/{}/logs", self.container.id),
                    problem: error.to_string(),
                });
            }
        }
    }

    /// The container has ended: what has begun is whole.
    async fn finish(&mut self, reader: &mut Reader) {
        let (mut output, mut whole) = (Output::default(), Vec::new());
        self.demultiplexer.finish(&mut output);
        self.take(output, &reader.common, &mut whole);
        self.flush_joined(&mut whole);
        self.send(whole, reader).await;
    }

    async fn send(&mut self, whole: Vec<PlacedLine>, reader: &mut Reader) -> bool {
        let has_any = !whole.is_empty();
        if has_any {
            reader.send(self, whole).await;
        }
        has_any
    }

    fn take(&mut self, output: Output, common: &Common, whole: &mut Vec<PlacedLine>) {
        if let Some(trouble) = output.trouble {
            common.counts.log_errors.fetch_add(1, Ordering::Relaxed);
            if !std::mem::replace(&mut self.is_troubled, true) {
                tracing::warn!(
                    container = self.container.name,
                    trouble,
                    "the Docker engine cannot read a log of its own"
                );
            }
        }
        for line in output.lines {
            self.take_line(line, whole);
        }
        let waits = self.joiners.iter().filter_map(Joiner::waits).min();
        self.flush_at = waits.map(|wait| Instant::now() + wait);
    }

    fn take_line(&mut self, line: Line, whole: &mut Vec<PlacedLine>) {
        let stream = line.channel as usize;
        let mark = match line.time {
            Some(time) => match self.resume[stream].line(time, &line.text) {
                Some(mark) => Some(mark),
                None => return,
            },
            None if self.resume[stream].is_behind() => return,
            None => None,
        };
        self.joiners[stream].push(PlacedLine { line, mark }, whole);
    }

    fn flush_joined(&mut self, whole: &mut Vec<PlacedLine>) {
        for joiner in &mut self.joiners {
            whole.extend(joiner.flush());
        }
        self.flush_at = None;
    }

    /// How far the log is read once `lines` are stored, too.
    fn cursor_behind(&self, before: Cursor, lines: &[PlacedLine]) -> Cursor {
        let mut cursor = before;
        for placed in lines {
            if let Some(mark) = placed.mark {
                cursor.marks[placed.line.channel as usize] = Some(mark);
                cursor.since = mark.time;
            }
        }
        let joined = self.joiners.iter().filter_map(Joiner::oldest);
        let begun = self.demultiplexer.oldest_unfinished();
        if let Some(oldest) = joined.chain(begun).min() {
            cursor.since = cursor.since.min(oldest);
        }
        cursor
    }
}

const _: () = assert!(Channel::Stdout as usize == 0 && Channel::Stderr as usize == 1);
