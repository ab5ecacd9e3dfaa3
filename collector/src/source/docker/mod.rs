//! Logs of Docker containers, asked of the engine over its socket.
//!
//! [`DockerSource`] keeps one [`reader`] per container at work: those that run, and once those that ended. It hears of
//! new ones by the engine's events and looks at the list of all from time to time. Lines become batches one at a
//! time; how far each container was read travels inside the batch (see [`super::checkpoint`]).

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use event::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::source::checkpoint;
use crate::source::delivery::{CountedBatch, Delivery};
use crate::source::file::StartAt;
use crate::source::file::tailer::POLL_EVERY;
use crate::source::{SourceParts, index_name};
use crate::transform::multiline::{self, Multiline};

mod batch;
mod container;
pub mod cursor;
mod engine;
mod files;
pub mod frames;
mod joiner;
mod reader;
#[cfg(test)]
mod tests;

pub use batch::DockerCounts;
use batch::Stamp;
pub use container::Patterns;
use container::Selection;
use cursor::Cursor;
use engine::{Engine, EngineError, Listed};
use files::DockerFiles;
use frames::Held;
use reader::{Common, End, Ended, Message, Portion, Reader};

/// Where an engine listens unless told otherwise.
pub const SOCKET: &str = "/var/run/docker.sock";
/// Where it keeps its files unless told otherwise.
const DATA_ROOT: &str = "/var/lib/docker";
/// One batch: large enough that an fsync of some milliseconds still lets 100 MB pass in a second.
const BATCH_BYTES: usize = 1 << 20;
/// Lines on their way to a batch: some batches, so that reading goes on during an fsync.
const QUEUED_BYTES_MAX: u32 = 8 << 20;
/// Portions on their way; their bytes are the real bound.
const QUEUED_PORTIONS_MAX: usize = 256;
/// Unfinished lines of all containers; at it lines of more than 32 KiB are cut early.
const HELD_BYTES_MAX: usize = 64 << 20;
/// A quarter of what a process may usually hold open (1024): each running container takes a connection.
const READERS_MAX: usize = 256;
/// Of these, at most so many read containers that ended: they have time, those that run do not.
const ENDED_READERS_MAX: usize = 8;
/// How often the list of all is looked at, whatever the events say.
const LIST_EVERY: Duration = Duration::from_secs(10);
/// How often an engine that is away is looked for.
const RECONNECT_EVERY: Duration = Duration::from_secs(1);
/// A container whose log the engine refuses is asked for again after this.
const REFUSED_WAIT: Duration = Duration::from_secs(60);

/// `type: docker` under `sources:` in the settings file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The engine's socket, absolute.
    #[serde(default = "socket")]
    pub socket: PathBuf,
    /// Where the engine keeps its files, absolute; they are read where its socket cannot be used.
    #[serde(default = "data_root")]
    pub data_root: PathBuf,
    /// Only these containers.
    #[serde(default, skip_serializing_if = "Patterns::is_empty")]
    pub include: Patterns,
    /// None of these.
    #[serde(default, skip_serializing_if = "Patterns::is_empty")]
    pub exclude: Patterns,
    /// The index of its events; `logs` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// The pipeline its events go through.
    #[serde(
        default,
        deserialize_with = "crate::pipeline::names",
        skip_serializing_if = "Option::is_none"
    )]
    pub pipeline: Option<String>,
    /// How lines are joined, within a stream of a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiline: Option<multiline::Settings>,
    /// Where the logs of containers that exist at the very first start are read from.
    #[serde(default)]
    pub start_at: StartAt,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            socket: socket(),
            data_root: data_root(),
            include: Patterns::default(),
            exclude: Patterns::default(),
            index: None,
            pipeline: None,
            multiline: None,
            start_at: StartAt::Beginning,
        }
    }
}

impl Settings {
    /// Checks everything that can be checked without an engine.
    ///
    /// # Errors
    /// What is wrong, as a sentence that names the value.
    pub fn check(&self) -> Result<(), String> {
        for (name, path, usual) in [
            ("socket", &self.socket, SOCKET),
            ("data_root", &self.data_root, DATA_ROOT),
        ] {
            if !path.is_absolute() {
                let path = path.display().to_string();
                return Err(format!(
                    "{name} {path:?} is not absolute; write for instance {usual}"
                ));
            }
        }
        self.multiline
            .as_ref()
            .map(Multiline::compile)
            .transpose()?;
        index_name(self.index.as_ref())?;
        Selection::compile(&self.include, &self.exclude, None).map(|_| ())
    }

    /// Whether this process may talk to the engine, for the start-up lines. Blocks for a local connect.
    pub fn is_reachable(&self) -> bool {
        std::os::unix::net::UnixStream::connect(&self.socket).is_ok()
    }
}

/// Reads the containers of one entry under `sources:`.
pub struct DockerSource {
    settings: Settings,
    stamp: Arc<Stamp>,
    selection: Arc<Selection>,
    multiline: Option<Multiline>,
    parts: SourceParts,
    event_bytes_max: usize,
}

impl DockerSource {
    /// Joins a source; nothing is asked before [`DockerSource::run`].
    ///
    /// # Errors
    /// As [`Settings::check`].
    pub fn new(
        settings: &Settings,
        event_bytes_max: usize,
        parts: SourceParts,
    ) -> Result<DockerSource, String> {
        settings.check()?;
        let host_name = parts.host_name.as_deref();
        Ok(DockerSource {
            settings: settings.clone(),
            stamp: Arc::new(Stamp {
                source: Arc::clone(&parts.name),
                index: index_name(settings.index.as_ref())?,
                pipeline: parts.steps(),
                counts: Arc::default(),
            }),
            selection: Arc::new(Selection::compile(
                &settings.include,
                &settings.exclude,
                host_name,
            )?),
            multiline: settings
                .multiline
                .as_ref()
                .map(Multiline::compile)
                .transpose()?,
            parts,
            event_bytes_max,
        })
    }

    /// What it sees besides events, for the metrics.
    pub fn counts(&self) -> Arc<DockerCounts> {
        Arc::clone(&self.stamp.counts)
    }

    /// Reads until `shutdown`; what was not answered by then is read again next time.
    pub async fn run(self, shutdown: CancellationToken) {
        let delivery = Delivery::new(&self.parts, shutdown.clone());
        let recovered = &self.parts.recovered;
        let positions = recovered.iter().filter_map(|(key, value)| {
            let id = std::str::from_utf8(key).ok()?.to_owned();
            Some((id, Cursor::decode(value)?))
        });
        let Some(positions) = self.read_files(positions.collect(), &delivery).await else {
            return;
        };
        let (sender, receiver) = mpsc::channel(QUEUED_PORTIONS_MAX);
        // The files' places say nothing any more once containers are read on through the API.
        let lives = recovered.keys().filter(|key| files::is_life(key));
        let collector = Collector {
            receiver,
            stamp: Arc::clone(&self.stamp),
            now: self.parts.now,
            delivery,
            changes: lives.map(|key| (key.clone(), None)).collect(),
        };
        tokio::select! {
            () = self.attendant(sender, positions).run() => {}
            () = collector.run(shutdown) => {}
        }
    }

    /// Reads the engine's files as long as its socket cannot be used and its files can. Answers how far the
    /// containers were read then; `None` when the source is to stop.
    async fn read_files(
        &self,
        positions: HashMap<String, Cursor>,
        delivery: &Delivery,
    ) -> Option<HashMap<String, Cursor>> {
        let engine = Engine::at(self.settings.socket.clone());
        let data_root = &self.settings.data_root;
        if engine.is_reachable().await || !DockerFiles::are_readable(data_root) {
            return Some(positions);
        }
        tracing::info!(
            source = %self.stamp.source,
            socket = %self.settings.socket.display(),
            data_root = %data_root.display(),
            "the Docker engine's socket cannot be used; its files are read"
        );
        if self.multiline.is_some() {
            tracing::warn!(source = %self.stamp.source, "lines of the engine's files are not joined; multiline has no effect until its socket can be used");
        }
        let rules = files::Rules {
            data_root: data_root.clone(),
            start_at: self.settings.start_at,
            event_bytes_max: self.event_bytes_max,
            host_name: self.parts.host_name.clone(),
        };
        let (stamp, recovered) = (Arc::clone(&self.stamp), &self.parts.recovered);
        let mut files = match DockerFiles::new(rules, stamp, recovered, positions) {
            Ok(files) => files,
            Err(problem) => {
                tracing::error!(source = %self.stamp.source, problem, "the Docker engine's files cannot be followed");
                return None;
            }
        };
        let mut looked_at = Instant::now();
        loop {
            let (selection, now) = (Arc::clone(&self.selection), self.parts.now);
            let reading = tokio::task::spawn_blocking(move || {
                let counted = files.read(now(), &selection);
                (files, counted)
            });
            let (read, counted) = reading.await.ok()?;
            files = read;
            let goes_on = match counted {
                Some(counted) => delivery.send(counted).await,
                None => !delivery.is_stopped_within(POLL_EVERY).await,
            };
            if !goes_on {
                return None;
            }
            if looked_at.elapsed() > LIST_EVERY {
                looked_at = Instant::now();
                if engine.is_reachable().await {
                    return Some(files.into_positions());
                }
            }
        }
    }

    fn attendant(
        self,
        sender: mpsc::Sender<Message>,
        positions: HashMap<String, Cursor>,
    ) -> Attendant {
        let common = Common {
            engine: Engine::at(self.settings.socket.clone()),
            selection: self.selection,
            multiline: self.multiline,
            event_bytes_max: self.event_bytes_max,
            host_name: self.parts.host_name,
            held: Held::at_most(HELD_BYTES_MAX),
            queued: Arc::new(Semaphore::new(QUEUED_BYTES_MAX as usize)),
            queued_bytes_max: QUEUED_BYTES_MAX,
            sender,
            counts: Arc::clone(&self.stamp.counts),
        };
        Attendant {
            source: Arc::clone(&self.stamp.source),
            common: Arc::new(common),
            starts_at_end: self.settings.start_at == StartAt::End && positions.is_empty(),
            now: self.parts.now,
            positions,
            readers: JoinSet::new(),
            tasks: HashMap::new(),
            active: HashSet::new(),
            started_again: HashSet::new(),
            waiting: VecDeque::new(),
            catching_up: HashSet::new(),
            over: HashSet::new(),
            not_selected: HashSet::new(),
            refused: HashMap::new(),
            is_away: false,
            is_full_told: false,
        }
    }
}

/// Keeps a reader at work for each container that needs one.
struct Attendant {
    source: Arc<str>,
    common: Arc<Common>,
    now: fn() -> Timestamp,
    /// Whether logs that exist at the first look are passed over.
    starts_at_end: bool,
    /// How far each container was read when its last reader ended.
    positions: HashMap<String, Cursor>,
    readers: JoinSet<Ended>,
    /// Whose reader a task is.
    tasks: HashMap<task::Id, String>,
    /// Containers with a reader.
    active: HashSet<String>,
    /// Those of them that were started while theirs was ending.
    started_again: HashSet<String>,
    /// Containers that ended and were not read yet.
    waiting: VecDeque<String>,
    /// Those of them that are being read.
    catching_up: HashSet<String>,
    /// Containers that ended and were read to the end.
    over: HashSet<String>,
    not_selected: HashSet<String>,
    /// When to ask again.
    refused: HashMap<String, Instant>,
    is_away: bool,
    is_full_told: bool,
}

impl Attendant {
    async fn run(mut self) {
        loop {
            let outcome = self.attend().await;
            if !std::mem::replace(&mut self.is_away, true) {
                match outcome {
                    // Most machines have no engine, and nobody said that this one has.
                    Err(EngineError::Unreachable { socket, source }) => {
                        tracing::info!(source = %self.source, socket, error = %source, "no Docker engine answers; it is looked for every second");
                    }
                    Err(error) => {
                        tracing::warn!(source = %self.source, %error, "the Docker engine is looked for every second");
                    }
                    Ok(()) => {
                        tracing::info!(source = %self.source, "the Docker engine ended; it is looked for every second");
                    }
                }
            }
            tokio::time::sleep(RECONNECT_EVERY).await;
        }
    }

    /// Attends to one engine until it ends.
    async fn attend(&mut self) -> Result<(), EngineError> {
        // Events first: whatever starts after the list was made is heard of.
        let mut events = self.common.engine.events().await?;
        let listed = self.common.engine.containers().await?;
        if std::mem::replace(&mut self.is_away, false) {
            self.common
                .counts
                .reconnects
                .fetch_add(1, Ordering::Relaxed);
        }
        tracing::info!(source = %self.source, containers = listed.len(), "reading the logs of Docker containers");
        // Whatever ended while nobody listened may have been started and ended again.
        self.over.clear();
        self.not_selected.clear();
        if std::mem::replace(&mut self.starts_at_end, false) {
            let since = (self.now)().plus(cursor::RACE);
            let marks = [None; 2];
            let positions = listed
                .iter()
                .map(|listed| (listed.id.clone(), Cursor { since, marks }));
            self.positions.extend(positions);
        }
        self.reconcile(&listed);
        let mut look_again = tokio::time::interval_at(Instant::now() + LIST_EVERY, LIST_EVERY);
        loop {
            tokio::select! {
                event = events.next() => match event? {
                    Some(event) => self.note(&event.action, event.actor.id),
                    None => return Ok(()),
                },
                Some(ended) = self.readers.join_next_with_id() => self.reader_ended(ended),
                _ = look_again.tick() => {
                    let listed = self.common.engine.containers().await?;
                    self.reconcile(&listed);
                }
            }
        }
    }

    fn note(&mut self, action: &str, id: String) {
        self.not_selected.remove(&id);
        if action != "start" {
            return;
        }
        self.over.remove(&id);
        self.refused.remove(&id);
        match self.active.contains(&id) {
            true => drop(self.started_again.insert(id)),
            false => drop(self.start(id)),
        }
    }

    /// Compares what is read with what there is.
    fn reconcile(&mut self, listed: &[Listed]) {
        let now = Instant::now();
        let known: HashSet<&str> = listed.iter().map(|listed| listed.id.as_str()).collect();
        for ids in [&mut self.over, &mut self.not_selected] {
            ids.retain(|id| known.contains(id.as_str()));
        }
        self.refused.retain(|_, until| *until > now);
        self.forget_others(&known);
        self.waiting.clear();
        for container in listed {
            let id = &container.id;
            let is_wanted = is_id(id)
                && !self.active.contains(id)
                && !self.not_selected.contains(id)
                && !self.refused.contains_key(id);
            if !is_wanted {
                continue;
            }
            match container.state.as_str() {
                "created" | "removing" => {}
                "running" | "paused" | "restarting" => drop(self.start(id.clone())),
                _ if self.over.contains(id) => {}
                _ => self.waiting.push_back(id.clone()),
            }
        }
        self.start_waiting();
    }

    /// Gives up the places of containers that are gone.
    fn forget_others(&mut self, known: &HashSet<&str>) {
        let gone = self.positions.keys().filter(|id| {
            let id = id.as_str();
            !known.contains(id) && !self.active.contains(id)
        });
        for id in gone.cloned().collect::<Vec<_>>() {
            // When there is no room now, there will be at the next look.
            if self
                .common
                .sender
                .try_send(Message::Gone(id.clone()))
                .is_ok()
            {
                self.positions.remove(&id);
            }
        }
    }

    fn start_waiting(&mut self) {
        while self.catching_up.len() < ENDED_READERS_MAX {
            let Some(id) = self.waiting.pop_front() else {
                return;
            };
            if !self.active.contains(&id) && self.start(id.clone()) {
                self.catching_up.insert(id);
            }
        }
    }

    /// Whether there was room for another reader.
    fn start(&mut self, id: String) -> bool {
        if self.readers.len() >= READERS_MAX {
            if !std::mem::replace(&mut self.is_full_told, true) {
                tracing::warn!(source = %self.source, "more than {READERS_MAX} containers run; the logs of the others are read when one of these ends");
            }
            return false;
        }
        let reader = Reader {
            common: Arc::clone(&self.common),
            cursor: self.positions.get(&id).copied(),
            id: id.clone(),
        };
        let task = self.readers.spawn(reader.run());
        self.tasks.insert(task.id(), id.clone());
        self.active.insert(id);
        self.count();
        true
    }

    fn reader_ended(&mut self, ended: Result<(task::Id, Ended), JoinError>) {
        let Ended { id, cursor, end } = match ended {
            Ok((task, ended)) => {
                self.tasks.remove(&task);
                ended
            }
            Err(error) => {
                // How far it came is not known: what was read since it began would be doubled.
                let id = self.tasks.remove(&error.id()).unwrap_or_default();
                tracing::error!(source = %self.source, container = id, %error, "reading a container's log ended by a mistake of ours; restart to read it on");
                return;
            }
        };
        self.active.remove(&id);
        self.count();
        if let Some(cursor) = cursor {
            self.positions.insert(id.clone(), cursor);
        }
        self.catching_up.remove(&id);
        if self.started_again.remove(&id) {
            self.start(id);
            return;
        }
        match end {
            End::Over => drop(self.over.insert(id)),
            End::Gone => {}
            End::NotSelected => drop(self.not_selected.insert(id)),
            End::Failed(error @ EngineError::Refused { .. }) => {
                tracing::warn!(source = %self.source, container = id, %error, "a container's log cannot be read; it is tried again in a minute");
                self.refused.insert(id, Instant::now() + REFUSED_WAIT);
            }
            // The engine is away; its return starts the reader again.
            End::Failed(error) => {
                tracing::debug!(container = id, %error, "reading a container's log broke off")
            }
        }
        self.start_waiting();
    }

    fn count(&self) {
        let count = self.active.len() as u64;
        self.common
            .counts
            .containers
            .store(count, Ordering::Relaxed);
    }
}

/// What goes into paths must be what the engine calls an id.
fn is_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Makes batches of what the readers bring, one at a time.
struct Collector {
    receiver: mpsc::Receiver<Message>,
    stamp: Arc<Stamp>,
    now: fn() -> Timestamp,
    delivery: Delivery,
    /// By checkpoint key: how far a container was read, or that it is gone; what no batch has taken along yet.
    changes: BTreeMap<Bytes, Option<Bytes>>,
}

impl Collector {
    async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let first = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                message = self.receiver.recv() => message,
            };
            let Some(first) = first else {
                return;
            };
            let portions = self.gather(first);
            let stamp = Arc::clone(&self.stamp);
            let Some(mut counted) = counted_batch(portions, stamp, (self.now)()).await else {
                tracing::error!(source = %self.stamp.source, "making a batch ended unexpectedly; restart to go on");
                return;
            };
            // Progress without events waits for the next ones: the journal stores events.
            if !counted.batch.events.is_empty() {
                counted.batch.checkpoint = Some(self.take_checkpoint());
            }
            if !self.delivery.send(counted).await {
                return;
            }
        }
    }

    /// What has come by now, up to a batch.
    fn gather(&mut self, first: Message) -> Vec<Portion> {
        let (mut portions, mut bytes) = (Vec::new(), 0);
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Gone(id) => drop(self.changes.insert(Bytes::from(id), None)),
                Message::Lines(portion) => {
                    let id = Bytes::from(portion.container.id.clone());
                    self.changes.insert(id, Some(portion.cursor.encode()));
                    bytes += portion.permit.num_permits();
                    portions.push(portion);
                }
            }
            next = match bytes < BATCH_BYTES {
                true => self.receiver.try_recv().ok(),
                false => None,
            };
        }
        portions
    }

    fn take_checkpoint(&mut self) -> Bytes {
        let changes = std::mem::take(&mut self.changes);
        let entries = changes.iter();
        checkpoint::encode(entries.map(|(key, value)| (&key[..], value.as_deref())))
    }
}

/// On a thread for it: a pipeline may take its time.
async fn counted_batch(
    portions: Vec<Portion>,
    stamp: Arc<Stamp>,
    received: Timestamp,
) -> Option<CountedBatch> {
    tokio::task::spawn_blocking(move || {
        let lines = portions.iter().flat_map(|portion| {
            let lines = portion.lines.iter();
            lines.map(|line| (&*portion.container, line))
        });
        batch::batch(&stamp, lines, received)
    })
    .await
    .ok()
}

fn data_root() -> PathBuf {
    PathBuf::from(DATA_ROOT)
}

fn socket() -> PathBuf {
    PathBuf::from(SOCKET)
}
