//! Joins the parts, from the disk outwards: catalog, index, journal, the feed between them, the intake, the sources.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use collector::body::BodyReader;
use collector::cpu::CpuPermits;
use collector::listener::{SharedMemory, Sockets};
use collector::source::PushContext;
use collector::source::checkpoint::{CheckpointStore, Entries};
use event::{Append, Refresh, Timestamp};
use indexer::logs::LogIndex;
use indexer::{Catalog, Indexer, Retention};
use journal::{Journal, Local};
use query::daybook::ApiState;
use query::elastic::search::{self, SearchLimits, SearchService};
use query::elastic::state::{ElasticSettings, ElasticState};
use query::logs::execute::Executor;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::parts::{Context, Parts};
use super::pipelines::Pipelines;
use super::push_sources;
use super::sources::{self, Sources};
use crate::disk::DiskWatch;
use crate::feed::Feed;
use crate::intake::Intake;
use crate::kept_registry::KeptRegistry;
use crate::log_store::{IndexedLogs, IntakeRefresh};
use crate::pending::PendingIds;
use crate::settings::{IndexSettings, Settings};
use crate::telemetry::{FigureKind, Metrics};

/// Of the memory limit, the indexer's writers, the request bodies under way, and messages of connections that are not whole yet
/// may take this share each.
const WRITER_MEMORY_SHARE: u64 = 8;
const BODY_MEMORY_SHARE: u64 = 4;
const HALVES_MEMORY_SHARE: u64 = 8;

/// Of the descriptors, one source that listens may take this share for connections: four of them leave a tenth beside HTTP's half.
const SOURCE_DESCRIPTOR_SHARE: u64 = 10;

/// One search may take this share.
const SEARCH_MEMORY_SHARE: u64 = 8;

/// How far the sources have come, below the data directory; written before the journal forgets.
const CHECKPOINTS: &str = "file_checkpoints";

/// What opening the files gives.
struct Storage {
    catalog: Arc<Catalog>,
    checkpoints: Arc<Mutex<CheckpointStore>>,
    /// How far each source had come, by name. Not to be asked of `checkpoints` later: the feed notes the journal's
    /// records again from the oldest on, and until it is through they say less than is known.
    recovered: BTreeMap<String, Entries>,
    journal: Arc<Local>,
    indexer: Indexer,
    log_index: LogIndex,
    pending: PendingIds,
}

/// Starts every part in the order of this function's lines; [`Parts::stop`] goes through them backwards, which is
/// the flow of an event: sources, intake, journal, index.
///
/// # Errors
/// A part cannot start; what was started is stopped by dropping it.
pub async fn start(context: &Context<'_>, sockets: Sockets) -> anyhow::Result<Parts> {
    let mut parts = Parts::default();
    let shutdown = CancellationToken::new();

    let storage = open_storage(context).await?;
    let journal: Arc<dyn Journal> = Arc::clone(&storage.journal) as Arc<dyn Journal>;
    let log_index = storage.log_index;
    let (errands, errands_of_indexer) = mpsc::channel();
    let checkpoints = Arc::clone(&storage.checkpoints);
    let feed = Feed::start(
        Arc::clone(&journal),
        storage.indexer,
        checkpoints,
        errands_of_indexer,
        parts.on_death("indexer"),
    )
    .context("cannot start the indexer's thread; the system has no threads left")?;
    parts.started("index", move || blocking(move || feed.stop()));
    // Opened before the feed that reads it, closed before it too: the feed ends once it has read the journal's end.
    let local = storage.journal;
    parts.started("journal", move || blocking(move || local.close()));

    let rules = retention(context.settings);
    let shared_rules = Arc::new(ArcSwap::from_pointee(rules.clone()));
    let ledger = Arc::clone(&context.ledger);
    let intake = Intake::new(
        Arc::clone(&journal),
        log_index.clone(),
        ledger,
        rules,
        storage.pending,
    );
    let intake = Arc::new(intake);
    let stopping_intake = Arc::clone(&intake);
    parts.started("intake", move || async move { stopping_intake.stop() });

    let disk_watch = DiskWatch {
        data_dir: context.directory.path().to_owned(),
        budget_bytes: context.settings.limits.disk.0,
        retention: Arc::clone(&shared_rules),
        intake: Arc::clone(&intake),
        errands: errands.clone(),
    };
    let watching = tokio::spawn(disk_watch.run(shutdown.child_token()));
    let cpu = CpuPermits::for_this_machine();
    let pipelines = Pipelines::new(context.settings, context.metrics.clone());
    let sources = Sources {
        settings: context.settings.clone(),
        append: Arc::clone(&intake) as Arc<dyn Append>,
        ledger: Arc::clone(&context.ledger),
        recovered: storage.recovered,
        pipelines: pipelines.clone(),
        metrics: context.metrics.clone(),
        sockets: Mutex::new(sockets),
        cpu: cpu.clone(),
        memory: SharedMemory::new(context.settings.limits.memory.0 / HALVES_MEMORY_SHARE),
        connections_max: usize::try_from(context.descriptors / SOURCE_DESCRIPTOR_SHARE)
            .unwrap_or(usize::MAX),
    };
    let following = tokio::spawn(sources.run(shutdown.child_token()));
    parts.found.extend(sources::found(context.settings));
    parts.started("watchers", move || {
        stop_tasks(shutdown, vec![watching, following])
    });

    let push = push_context(context, Arc::clone(&intake) as Arc<dyn Append>, cpu);
    let refresh: Arc<dyn Refresh> = Arc::new(IntakeRefresh(Arc::clone(&intake)));
    let intake_of_deleted = Arc::clone(&intake);
    let logs = IndexedLogs::new(log_index.clone(), context.directory.path(), errands)
        .on_deletion(move |shard| intake_of_deleted.forget_shard(&shard.index, shard.day));
    let state = elastic_state(context, logs, &storage.catalog, Arc::clone(&refresh))?;
    let search = search_parts(context, log_index.clone(), state.clone());
    let elasticsearch =
        push_sources::bulk_routes(context.settings, &pipelines, push.clone(), refresh)?
            .merge(query::elastic::metadata_routes(&state))
            .merge(search::routes(search.service()));
    parts.routes.own = query::daybook::routes(search.api());
    parts.routes.elasticsearch = query::elastic::envelope::layer(elasticsearch);
    parts.routes.pushed = push_sources::routes(context.settings, &pipelines, &push);
    let otlp = push_sources::otlp(context.settings, &pipelines, push)?;
    parts.routes.otlp_http = otlp.http_routes();
    parts.routes.otlp_grpc = otlp.grpc_routes();
    parts.reload_with(move |settings| {
        let rules = retention(settings);
        intake.set_retention(rules.clone());
        shared_rules.store(Arc::new(rules));
    });
    let data_dir = context.directory.path();
    observe_storage(&context.metrics, data_dir, &journal, &log_index)?;
    Ok(parts)
}

/// Opens everything on disk; blocking work, on a thread for it.
async fn open_storage(context: &Context<'_>) -> anyhow::Result<Storage> {
    let data_dir = context.directory.path().to_owned();
    let ledger = Arc::clone(&context.ledger);
    let limits = context.settings.limits.clone();
    let sources: Vec<String> = context.settings.sources.keys().cloned().collect();
    let mut journal_settings = journal::Settings::new(data_dir.join("journal"));
    journal_settings.max_size_bytes = context.settings.journal.max_size.0;
    journal_settings.segment_bytes = journal_settings
        .segment_bytes
        .min(journal_settings.max_size_bytes / 4);
    let mut indexer_settings = indexer::Settings::new(&data_dir);
    indexer_settings.exact = context.settings.exact();
    let writer_memory = limits.memory.0 / WRITER_MEMORY_SHARE;
    indexer_settings.writer_memory_bytes = usize::try_from(writer_memory).unwrap_or(usize::MAX);

    let opening = tokio::task::spawn_blocking(move || -> anyhow::Result<Storage> {
        let catalog = Arc::new(Catalog::open(&data_dir)?);
        let floor = Indexer::position_floor(&data_dir, &catalog)?;
        let journal = Arc::new(Local::open(journal_settings, floor)?);
        tell_damage(&*journal);
        let journal_end = journal.end();
        let indexer = Indexer::open(indexer_settings, Arc::clone(&catalog), ledger, journal_end)?;
        let mut checkpoints = CheckpointStore::open(&data_dir.join(CHECKPOINTS))
            .with_context(|| format!("cannot read {CHECKPOINTS} in {}", data_dir.display()))?;
        let pending = PendingIds::read(&*journal, &mut checkpoints)?;
        let recovered = sources.into_iter().map(|name| {
            let entries = checkpoints.entries(&name);
            (name, entries)
        });
        Ok(Storage {
            catalog,
            recovered: recovered.collect(),
            checkpoints: Arc::new(Mutex::new(checkpoints)),
            journal,
            log_index: indexer.log_index(),
            indexer,
            pending,
        })
    });
    opening.await.context("opening the data directory failed")?
}

/// Damage is told once, here; the journal goes on without what is lost.
fn tell_damage(journal: &dyn Journal) {
    for damage in journal.status().damage {
        tracing::error!(
            segment = damage.segment,
            offset = damage.offset,
            events_lost = damage.events_lost,
            "the journal is damaged; stop daybook and run daybook check --repair"
        );
    }
}

/// What the sources that senders push to have in common.
fn push_context(context: &Context<'_>, append: Arc<dyn Append>, cpu: CpuPermits) -> PushContext {
    let limits = &context.settings.limits;
    let bodies = collector::body::Settings {
        bytes_max: usize::try_from(limits.request.0).unwrap_or(usize::MAX),
        in_flight_bytes_max: (limits.memory.0 / BODY_MEMORY_SHARE).max(limits.request.0),
        ..collector::body::Settings::default()
    };
    PushContext {
        append,
        ledger: Arc::clone(&context.ledger),
        bodies: BodyReader::new(bodies, cpu.clone()),
        cpu,
        now: Timestamp::now,
    }
}

fn elastic_state(
    context: &Context<'_>,
    logs: IndexedLogs,
    catalog: &Arc<Catalog>,
    refresh: Arc<dyn Refresh>,
) -> anyhow::Result<ElasticState> {
    let registry = KeptRegistry::open(Arc::clone(catalog))?;
    let directory_number = catalog.directory_number()?.to_string();
    let settings = ElasticSettings {
        cluster_uuid: query::elastic::target::index_uuid(&directory_number),
        publish_address: context.http_address.clone(),
        ..ElasticSettings::default()
    };
    let clock = Arc::new(Timestamp::now);
    Ok(ElasticState::new(
        Arc::new(logs),
        Arc::new(registry),
        refresh,
        clock,
        settings,
    ))
}

/// What everything that searches shares: the threads, and what names mean.
struct SearchParts {
    executor: Executor,
    state: ElasticState,
    limits: SearchLimits,
}

fn search_parts(context: &Context<'_>, log_index: LogIndex, state: ElasticState) -> SearchParts {
    let limits = &context.settings.limits;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    SearchParts {
        executor: Executor::new(Arc::new(log_index), threads),
        state,
        limits: SearchLimits {
            time: limits.query_time,
            memory_bytes_max: limits.memory.0 / SEARCH_MEMORY_SHARE,
            decoded_bytes_max: limits.query_decoded.0,
        },
    }
}

impl SearchParts {
    fn service(&self) -> SearchService {
        let state = self.state.clone();
        SearchService::new(
            self.executor.clone(),
            Arc::new(move || state.names()),
            Arc::new(Timestamp::now),
            self.limits,
        )
    }

    fn api(&self) -> ApiState {
        let state = self.state.clone();
        ApiState::new(
            self.executor.clone(),
            Arc::new(move || state.names()),
            Arc::new(Timestamp::now),
            self.limits,
        )
    }
}

/// The retention rules as the indexer has them.
fn retention(settings: &Settings) -> Retention {
    let kept = |index: &IndexSettings| index.retention.unwrap_or(Duration::MAX);
    let default = settings.indices.get("default").map(kept);
    Retention {
        default: default.unwrap_or_else(|| kept(&IndexSettings::default())),
        rules: settings
            .indices
            .iter()
            .filter(|(pattern, _)| *pattern != "default")
            .map(|(pattern, index)| (pattern.clone(), kept(index)))
            .collect(),
    }
}

fn observe_storage(
    metrics: &Metrics,
    data_dir: &Path,
    journal: &Arc<dyn Journal>,
    log_index: &LogIndex,
) -> prometheus::Result<()> {
    let status = || {
        let journal = Arc::clone(journal);
        move || journal.status()
    };
    let (bytes, bytes_max, segments) = (status(), status(), status());
    let (appended, end, damage) = (status(), status(), status());
    metrics.observe(
        FigureKind::Gauge,
        "daybook_journal_bytes",
        "Bytes in the journal's segment files.",
        move || bytes().bytes as f64,
    )?;
    metrics.observe(
        FigureKind::Gauge,
        "daybook_journal_max_bytes",
        "What the journal may grow to before inputs are told to wait.",
        move || bytes_max().bytes_max as f64,
    )?;
    metrics.observe(
        FigureKind::Gauge,
        "daybook_journal_segments",
        "Segment files of the journal.",
        move || segments().segment_count as f64,
    )?;
    metrics.observe(
        FigureKind::Counter,
        "daybook_journal_events_total",
        "Events ever appended to the journal, over all starts.",
        move || appended().end.0 as f64,
    )?;
    metrics.observe(
        FigureKind::Gauge,
        "daybook_journal_damage",
        "Damaged places found in the journal since the start.",
        move || damage().damage.len() as f64,
    )?;
    let progress = log_index.clone();
    metrics.observe(
        FigureKind::Gauge,
        "daybook_index_behind_events",
        "Events that are durable and cannot be found yet.",
        move || end().end.0.saturating_sub(progress.progress().visible.0) as f64,
    )?;
    let shards = log_index.clone();
    metrics.observe(
        FigureKind::Gauge,
        "daybook_index_shards",
        "Shards, one for each index and UTC day.",
        move || shards.shard_ids().len() as f64,
    )?;
    let data_dir = data_dir.to_owned();
    metrics.observe(
        FigureKind::Gauge,
        "daybook_disk_free_bytes",
        "Free space on the file system of the data directory.",
        move || match rustix::fs::statvfs(&data_dir) {
            Ok(stat) => stat.f_bavail as f64 * stat.f_frsize as f64,
            Err(_) => f64::NAN,
        },
    )
}

async fn stop_tasks(shutdown: CancellationToken, tasks: Vec<JoinHandle<()>>) {
    shutdown.cancel();
    for task in tasks {
        if let Err(error) = task.await {
            tracing::error!(%error, "a task ended by a mistake of ours");
        }
    }
}

async fn blocking(work: impl FnOnce() + Send + 'static) {
    if let Err(error) = tokio::task::spawn_blocking(work).await {
        tracing::error!(%error, "a part ended by a mistake of ours");
    }
}
