//! Starts the sources of the section `sources`, once the index has read what the journal holds: only then is it
//! known how far they had come.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use collector::cpu::CpuPermits;
use collector::listener::seats::Seats;
use collector::listener::{Listening, SharedMemory, Sockets};
use collector::source::SourceParts;
use collector::source::beats::BeatsSource;
use collector::source::checkpoint::Entries;
use collector::source::docker::{DockerCounts, DockerSource};
use collector::source::file::tailer::FileCounts;
use collector::source::file::{self, FileSource};
use collector::source::fluent_forward::FluentForwardSource;
use collector::source::gelf::GelfSource;
use collector::source::host::HostSource;
use collector::source::journald::{JournaldCounts, JournaldSource};
#[cfg(feature = "kafka")]
use collector::source::kafka::{KafkaSource, board::Board, board::KafkaCounts};
use collector::source::syslog::SyslogSource;
use event::{Append, Ledger, Timestamp};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::pipelines::Pipelines;
use crate::settings::{Settings, Source};
use crate::telemetry::{FigureKind, HostFigures, Metrics};
#[cfg(feature = "kafka")]
use crate::telemetry::{LagFigures, PartitionLag};

/// What sources are started from.
pub struct Sources {
    /// The settings in force.
    pub settings: Settings,
    /// Where their events become durable.
    pub append: Arc<dyn Append>,
    /// The books.
    pub ledger: Arc<Ledger>,
    /// How far each of them had come, by name.
    pub recovered: BTreeMap<String, Entries>,
    /// The pipelines they name.
    pub pipelines: Pipelines,
    /// Where they show their figures.
    pub metrics: Metrics,
    /// The addresses they take from. Locked only while sources are started.
    pub sockets: Mutex<Sockets>,
    /// Permits for work, the whole process's.
    pub cpu: CpuPermits,
    /// What those that listen share.
    pub memory: SharedMemory,
    /// Connections that each of them may hold.
    pub connections_max: usize,
}

/// A source at work, until it is told to stop.
type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Kind, name and help of a metric, and which of a source's counts it shows.
type CountFigure<C> = (FigureKind, &'static str, &'static str, fn(&C) -> &AtomicU64);

impl Sources {
    /// Runs all of them until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut running = JoinSet::new();
        for (name, source) in &self.settings.sources {
            match self.start(name, source, shutdown.clone()) {
                Ok(source) => drop(running.spawn(source)),
                Err(problem) => tracing::error!(
                    source = name,
                    problem,
                    "the source is not started; correct the settings and restart"
                ),
            }
        }
        while let Some(ended) = running.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a source ended by a mistake of ours");
            }
        }
    }

    /// One arm per type; what it answers is polled on a task of its own. Whatever blocks belongs inside the future.
    fn start(
        &self,
        name: &str,
        source: &Source,
        shutdown: CancellationToken,
    ) -> Result<Running, String> {
        let parts = self.parts(name, source)?;
        Ok(match source {
            Source::Docker(settings) => {
                let source = DockerSource::new(settings, self.event_bytes_max(), parts)?;
                self.show_docker(name, source.counts());
                Box::pin(source.run(shutdown))
            }
            Source::File(settings) => {
                let source = FileSource::new(&self.file_settings(settings), parts)?;
                self.show_files(name, source.counts());
                Box::pin(source.run(shutdown))
            }
            Source::Host(settings) => {
                let source = HostSource::new(settings, parts)?;
                if let Err(error) = self.metrics.register(HostFigures::new(source.machine())?) {
                    tracing::error!(source = name, %error, "the machine's figures cannot be shown");
                }
                Box::pin(source.run(shutdown))
            }
            Source::Journald(settings) => {
                let source = JournaldSource::new(settings, self.event_bytes_max(), parts)?;
                self.show_journal(name, source.counts());
                Box::pin(source.run(shutdown))
            }
            #[cfg(feature = "kafka")]
            Source::Kafka(settings) => {
                let source = KafkaSource::new(settings, self.event_bytes_max(), parts)?;
                self.show_kafka(name, source.board());
                Box::pin(source.run(shutdown))
            }
            // The settings refuse it.
            #[cfg(not(feature = "kafka"))]
            Source::Kafka(_) => return Err("this build cannot read Kafka".to_owned()),
            Source::Beats(settings) => {
                let source = BeatsSource::new(settings, parts, self.listening(source))?;
                self.show_connections(name, source.seats());
                Box::pin(source.run(shutdown))
            }
            Source::FluentForward(settings) => {
                let source = FluentForwardSource::new(settings, parts, self.listening(source))?;
                self.show_connections(name, source.seats());
                Box::pin(source.run(shutdown))
            }
            Source::Gelf(settings) => {
                let source = GelfSource::new(settings, parts, self.listening(source))?;
                self.show_connections(name, source.seats());
                Box::pin(source.run(shutdown))
            }
            Source::Syslog(settings) => {
                let source = SyslogSource::new(settings, parts, self.listening(source))?;
                self.show_connections(name, source.seats());
                Box::pin(source.run(shutdown))
            }
            // Their routes are on the listener for HTTP; see `push_sources.rs`.
            Source::ElasticBulk(_)
            | Source::Otlp(_)
            | Source::Http(_)
            | Source::LokiPush(_)
            | Source::SplunkHec(_) => Box::pin(std::future::ready(())),
        })
    }

    fn parts(&self, name: &str, source: &Source) -> Result<SourceParts, String> {
        Ok(SourceParts {
            name: Arc::from(name),
            pipeline: self.pipelines.of_source(source.pipeline())?,
            append: Arc::clone(&self.append),
            ledger: self.ledger.source(name),
            host_name: host_name(),
            recovered: self.recovered.get(name).cloned().unwrap_or_default(),
            now: Timestamp::now,
        })
    }

    fn listening(&self, source: &Source) -> Listening {
        let mut sockets = self.sockets.lock().expect("no holder of this lock panics");
        Listening {
            sockets: sockets.take(source.listeners()),
            cpu: self.cpu.clone(),
            memory: self.memory.clone(),
            connections_max: self.connections_max,
            message_bytes_max: self.event_bytes_max(),
        }
    }

    fn file_settings(&self, settings: &file::Settings) -> file::Settings {
        let mut settings = settings.clone();
        // What Daybook writes because of an event must not become the next event.
        settings.exclude_folder(&self.settings.data_dir);
        let own = settings.max_line_bytes.unwrap_or(usize::MAX);
        settings.max_line_bytes = Some(own.min(self.event_bytes_max()));
        settings
    }

    fn show_counts<C: Send + Sync + 'static>(
        &self,
        name: &str,
        counts: &Arc<C>,
        figures: impl IntoIterator<Item = CountFigure<C>>,
    ) {
        for (kind, figure, help, count) in figures {
            let counts = Arc::clone(counts);
            self.show(name, kind, figure, help, move || {
                count(&counts).load(Ordering::Relaxed) as f64
            });
        }
    }

    fn show_docker(&self, name: &str, counts: Arc<DockerCounts>) {
        let figures: [CountFigure<DockerCounts>; 5] = [
            (
                FigureKind::Gauge,
                "daybook_docker_containers",
                "Containers whose log is being read.",
                |counts| &counts.containers,
            ),
            (
                FigureKind::Counter,
                "daybook_docker_reconnects_total",
                "How often the engine was found again after it was away.",
                |counts| &counts.reconnects,
            ),
            (
                FigureKind::Counter,
                "daybook_docker_cut_lines_total",
                "Lines longer than allowed, stored cut.",
                |counts| &counts.cut_lines,
            ),
            (
                FigureKind::Counter,
                "daybook_docker_invalid_utf8_lines_total",
                "Lines that were no UTF-8, stored with replacement characters.",
                |counts| &counts.invalid_utf8_lines,
            ),
            (
                FigureKind::Counter,
                "daybook_docker_log_errors_total",
                "Times the engine could not read a log of its own.",
                |counts| &counts.log_errors,
            ),
        ];
        self.show_counts(name, &counts, figures);
    }

    fn show_files(&self, name: &str, counts: Arc<FileCounts>) {
        let figures: [CountFigure<FileCounts>; 7] = [
            (
                FigureKind::Gauge,
                "daybook_file_followed",
                "Files that are followed.",
                |counts| &counts.files,
            ),
            (
                FigureKind::Gauge,
                "daybook_file_open",
                "Files that are held open.",
                |counts| &counts.open_files,
            ),
            (
                FigureKind::Counter,
                "daybook_file_cut_lines_total",
                "Lines longer than allowed, stored cut.",
                |counts| &counts.cut_lines,
            ),
            (
                FigureKind::Counter,
                "daybook_file_skipped_bytes_total",
                "Bytes of those lines that were not stored.",
                |counts| &counts.skipped_bytes,
            ),
            (
                FigureKind::Counter,
                "daybook_file_invalid_utf8_lines_total",
                "Lines that were no UTF-8, stored with replacement characters.",
                |counts| &counts.invalid_utf8_lines,
            ),
            (
                FigureKind::Counter,
                "daybook_file_truncations_total",
                "Files found truncated or replaced in place.",
                |counts| &counts.truncations,
            ),
            (
                FigureKind::Counter,
                "daybook_file_read_errors_total",
                "Failed attempts to open or read a file.",
                |counts| &counts.read_errors,
            ),
        ];
        self.show_counts(name, &counts, figures);
    }

    fn show_connections(&self, name: &str, seats: Seats) {
        let open = seats.clone();
        self.show(
            name,
            FigureKind::Gauge,
            "daybook_source_connections",
            "Open connections of senders.",
            move || open.counts().open as f64,
        );
        let displaced = seats.clone();
        self.show(
            name,
            FigureKind::Counter,
            "daybook_source_connections_displaced_total",
            "Silent connections closed to make room for new ones.",
            move || displaced.counts().displaced as f64,
        );
        self.show(
            name,
            FigureKind::Counter,
            "daybook_source_connections_refused_total",
            "Connections turned away because all others were busy.",
            move || seats.counts().refused as f64,
        );
    }

    fn show_journal(&self, name: &str, counts: Arc<JournaldCounts>) {
        let figures: [CountFigure<JournaldCounts>; 3] = [
            (
                FigureKind::Counter,
                "daybook_journald_restarts_total",
                "How often journalctl ended and was started again.",
                |counts| &counts.restarts,
            ),
            (
                FigureKind::Counter,
                "daybook_journald_cut_entries_total",
                "Entries larger than allowed, stored cut.",
                |counts| &counts.cut_entries,
            ),
            (
                FigureKind::Counter,
                "daybook_journald_invalid_utf8_entries_total",
                "Entries that were no UTF-8, stored with replacement characters.",
                |counts| &counts.invalid_utf8_entries,
            ),
        ];
        self.show_counts(name, &counts, figures);
    }

    #[cfg(feature = "kafka")]
    fn show_kafka(&self, name: &str, board: Arc<Board>) {
        let figures: [CountFigure<KafkaCounts>; 7] = [
            (
                FigureKind::Gauge,
                "daybook_kafka_partitions",
                "Partitions the source reads.",
                |counts| &counts.partitions,
            ),
            (
                FigureKind::Counter,
                "daybook_kafka_rebalances_total",
                "Times the group gave partitions to the source or took them away.",
                |counts| &counts.rebalances,
            ),
            (
                FigureKind::Counter,
                "daybook_kafka_restarts_total",
                "Times reading began anew at the group's offsets.",
                |counts| &counts.restarts,
            ),
            (
                FigureKind::Counter,
                "daybook_kafka_errors_total",
                "Errors of brokers and of connections to them.",
                |counts| &counts.errors,
            ),
            (
                FigureKind::Counter,
                "daybook_kafka_commit_errors_total",
                "Commits of offsets that failed; they are repeated.",
                |counts| &counts.commit_errors,
            ),
            (
                FigureKind::Counter,
                "daybook_kafka_pauses_total",
                "Times reading was paused because the journal had no room.",
                |counts| &counts.pauses,
            ),
            (
                FigureKind::Counter,
                "daybook_kafka_invalid_utf8_messages_total",
                "Messages that were no UTF-8, stored with replacement characters.",
                |counts| &counts.invalid_utf8_messages,
            ),
        ];
        self.show_counts(name, &board.counts(), figures);
        let lags = move || {
            let lags = board.lags().into_iter().map(|lag| PartitionLag {
                topic: lag.partition.0.to_string(),
                partition: lag.partition.1,
                messages: lag.messages,
            });
            lags.collect()
        };
        let shown = LagFigures::new(name, lags).and_then(|lags| self.metrics.register(lags));
        if let Err(error) = shown {
            tracing::error!(source = name, %error, "the lag cannot be shown");
        }
    }

    /// Shows one figure of a source under `/metrics`.
    fn show(
        &self,
        source: &str,
        kind: FigureKind,
        figure: &str,
        help: &str,
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        let observed = self
            .metrics
            .observe_source(source, kind, figure, help, read);
        if let Err(error) = observed {
            tracing::error!(source, figure, %error, "a figure cannot be shown");
        }
    }

    fn event_bytes_max(&self) -> usize {
        usize::try_from(self.settings.limits.event.0).unwrap_or(usize::MAX)
    }
}

/// What the sources find now, one short line per type, for the operator.
pub fn found(settings: &Settings) -> Vec<String> {
    let mut files = 0;
    let mut lines = Vec::new();
    for source in settings.sources.values() {
        match source {
            Source::Docker(source) if source.is_reachable() => lines.push(format!(
                "Docker at {}, whose containers' logs are read",
                source.socket.display()
            )),
            Source::Docker(_) | Source::Host(_) | Source::Journald(_) | Source::Kafka(_) => {}
            Source::File(source) => files += FileSource::paths_found(source).len(),
            Source::Beats(_)
            | Source::FluentForward(_)
            | Source::Gelf(_)
            | Source::ElasticBulk(_)
            | Source::Otlp(_)
            | Source::Http(_)
            | Source::LokiPush(_)
            | Source::SplunkHec(_)
            | Source::Syslog(_) => {}
        }
    }
    lines.push(format!("{files} log files to follow"));
    lines
}

/// The machine's name, for `host.name`.
fn host_name() -> Option<String> {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    (!name.is_empty()).then_some(name)
}
