//! The parts between the listeners and the disk: what they are, how they are joined, and how they end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use collector::body::BodyReader;
use collector::cpu::CpuPermits;
use collector::source::otlp::{self, Otlp};
use collector::source::{PushContext, elastic_bulk};
use event::{Append, Ledger, Refresh, Timestamp};
use indexer::logs::LogIndex;
use indexer::{Catalog, Indexer, Retention};
use journal::{Journal, Local};
use query::elastic::state::{ElasticSettings, ElasticState};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::data_directory::DataDirectory;
use crate::disk::DiskWatch;
use crate::feed::{Errand, Feed};
use crate::intake::Intake;
use crate::kept_registry::KeptRegistry;
use crate::log_store::{IndexedLogs, IntakeRefresh};
use crate::settings::Settings;
use crate::status::Readiness;
use crate::telemetry::Metrics;

/// How `limits.memory` is divided: events on their way into shards get this part of it...
const WRITER_MEMORY_PART: u64 = 8;

/// ...and the bodies of requests under way this one.
const BODIES_MEMORY_PART: u64 = 4;

/// What the parts are built from.
pub struct Context<'a> {
    /// The settings in force.
    pub settings: &'a Settings,
    /// The directory, ours alone.
    pub directory: &'a DataDirectory,
    /// The books every source and the indexer write.
    pub ledger: Arc<Ledger>,
    /// Where parts show their figures.
    pub metrics: Metrics,
    /// Where parts say what they wait for.
    pub readiness: Readiness,
    /// Where HTTP clients reach us, as `127.0.0.1:8365`.
    pub http_address: String,
}

/// The running parts.
#[derive(Default)]
pub struct Parts {
    /// What each of them serves.
    pub routes: PartRoutes,
    /// What was found at the start, one short line each, for the operator.
    pub found: Vec<String>,
    retention: Option<(Arc<ArcSwap<Retention>>, Arc<Intake>)>,
    stages: Vec<Stage>,
}

/// Routes by dialect; the listeners combine them.
#[derive(Default)]
pub struct PartRoutes {
    /// The Elasticsearch dialect, reads and writes.
    pub elasticsearch: Router,
    /// OTLP over HTTP.
    pub otlp_http: Router,
    /// OTLP over gRPC.
    pub otlp_grpc: Router,
}

/// One part that must be stopped.
struct Stage {
    name: &'static str,
    stop: Stop,
}

type Stop = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// Builds and joins the parts, from the disk outwards. [`Parts::stop`] ends them in the exact reverse, which is the
/// flow of an event: sources, intake, journal, index.
pub async fn start(context: &Context<'_>) -> anyhow::Result<Parts> {
    let mut parts = Parts::default();
    observe_disk(context)?;
    let (store, feed) = open_store(context)?;
    show_figures(context, &store)?;
    if let Some(damage) = store.damage() {
        parts.found.push(damage);
    }
    parts.retention = Some((Arc::clone(&store.retention), Arc::clone(&store.intake)));
    let refresh: Arc<dyn Refresh> = Arc::new(IntakeRefresh(Arc::clone(&store.intake)));
    let push = push_context(context, Arc::clone(&store.intake) as Arc<dyn Append>);

    let journal = Arc::clone(&store.journal);
    parts.started("index and journal", move || async move {
        let closing = tokio::task::spawn_blocking(move || {
            feed.stop();
            journal.close();
        });
        // A panic was reported by the panic hook.
        let _ = closing.await;
    });
    let intake = Arc::clone(&store.intake);
    parts.started("intake", move || async move { intake.stop() });
    let watch = DiskWatch {
        data_dir: context.directory.path().to_owned(),
        budget_bytes: context.settings.limits.disk.0,
        retention: Arc::clone(&store.retention),
        intake: Arc::clone(&store.intake),
        errands: store.errands.clone(),
    };
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(watch.run(shutdown.clone()));
    parts.started("disk watch", move || end_task(shutdown, task));

    let state = elastic_state(context, &store, Arc::clone(&refresh))?;
    let elastic = elastic_bulk::routes(
        elastic_bulk_settings(context.settings),
        push.clone(),
        refresh,
    );
    let elastic = elastic.merge(query::elastic::metadata_routes(&state));
    parts.routes.elasticsearch = query::elastic::envelope::layer(elastic);
    let otlp = Otlp::new(otlp_settings(context.settings), push);
    parts.routes.otlp_http = otlp.http_routes();
    parts.routes.otlp_grpc = otlp.grpc_routes();
    Ok(parts)
}

/// What is on disk, and the ways to it.
struct Store {
    journal: Arc<Local>,
    catalog: Arc<Catalog>,
    log_index: LogIndex,
    intake: Arc<Intake>,
    errands: Sender<Errand>,
    retention: Arc<ArcSwap<Retention>>,
}

fn open_store(context: &Context<'_>) -> anyhow::Result<(Store, Feed)> {
    let data_dir = context.directory.path();
    let limits = &context.settings.limits;
    let catalog = Arc::new(Catalog::open(data_dir)?);
    let floor = Indexer::position_floor(data_dir, &catalog)?;
    let journal_settings = journal::Settings {
        max_size_bytes: context.settings.journal.max_size.0,
        ..journal::Settings::new(data_dir.join("journal"))
    };
    let journal = Arc::new(Local::open(journal_settings, floor)?);
    let indexer_settings = indexer::Settings {
        writer_memory_bytes: usize::try_from(limits.memory.0 / WRITER_MEMORY_PART)?,
        ..indexer::Settings::new(data_dir)
    };
    let indexer = Indexer::open(
        indexer_settings,
        Arc::clone(&catalog),
        Arc::clone(&context.ledger),
        journal.end(),
    )?;
    let log_index = indexer.log_index();
    let (errands, for_indexer) = channel();
    let feed = Feed::start(
        Arc::clone(&journal) as Arc<dyn Journal>,
        indexer,
        for_indexer,
    )?;
    let retention = retention_of(context.settings);
    let intake = Intake::new(
        Arc::clone(&journal) as Arc<dyn Journal>,
        log_index.clone(),
        Arc::clone(&context.ledger),
        retention.clone(),
    );
    let retention = Arc::new(ArcSwap::from_pointee(retention));
    let store = Store {
        journal,
        catalog,
        log_index,
        intake: Arc::new(intake),
        errands,
        retention,
    };
    Ok((store, feed))
}

impl Store {
    /// What was found damaged at the start, for the operator.
    fn damage(&self) -> Option<String> {
        let damage = self.journal.status().damage;
        let lost: u64 = damage.iter().map(|damage| damage.events_lost).sum();
        (!damage.is_empty()).then(|| {
            format!(
                "the journal was damaged in {} places: {lost} events are lost",
                damage.len()
            )
        })
    }
}

fn retention_of(settings: &Settings) -> Retention {
    let kept = |index: &crate::settings::IndexSettings| index.retention.unwrap_or(Duration::MAX);
    let default = settings.indices.get("default").map_or(Duration::MAX, kept);
    let rules = settings
        .indices
        .iter()
        .filter(|(pattern, _)| *pattern != "default");
    Retention {
        default,
        rules: rules
            .map(|(pattern, index)| (pattern.clone(), kept(index)))
            .collect(),
    }
}

fn push_context(context: &Context<'_>, append: Arc<dyn Append>) -> PushContext {
    let limits = &context.settings.limits;
    let bytes_max = usize::try_from(limits.request.0).unwrap_or(usize::MAX);
    let bodies = collector::body::Settings {
        bytes_max,
        in_flight_bytes_max: (limits.memory.0 / BODIES_MEMORY_PART).max(limits.request.0),
        ..collector::body::Settings::default()
    };
    let cpu = CpuPermits::for_this_machine();
    PushContext {
        append,
        ledger: Arc::clone(&context.ledger),
        bodies: BodyReader::new(bodies, cpu.clone()),
        cpu,
        now: Timestamp::now,
    }
}

fn elastic_bulk_settings(settings: &Settings) -> elastic_bulk::Settings {
    elastic_bulk::Settings {
        event_bytes_max: usize::try_from(settings.limits.event.0).unwrap_or(usize::MAX),
        ..elastic_bulk::Settings::default()
    }
}

fn otlp_settings(settings: &Settings) -> otlp::Settings {
    otlp::Settings {
        event_bytes_max: usize::try_from(settings.limits.event.0).unwrap_or(usize::MAX),
        ..otlp::Settings::default()
    }
}

fn elastic_state(
    context: &Context<'_>,
    store: &Store,
    refresh: Arc<dyn Refresh>,
) -> anyhow::Result<ElasticState> {
    let data_dir = context.directory.path().to_owned();
    let logs = IndexedLogs::new(store.log_index.clone(), data_dir, store.errands.clone());
    let registry = KeptRegistry::open(Arc::clone(&store.catalog))?;
    let settings = ElasticSettings {
        cluster_uuid: query::elastic::target::index_uuid(
            &store.catalog.directory_number()?.to_string(),
        ),
        publish_address: context.http_address.clone(),
        ..ElasticSettings::default()
    };
    Ok(ElasticState::new(
        Arc::new(logs),
        Arc::new(registry),
        refresh,
        Arc::new(Timestamp::now),
        settings,
    ))
}

fn show_figures(context: &Context<'_>, store: &Store) -> anyhow::Result<()> {
    use crate::telemetry::FigureKind::{Counter, Gauge};
    let metrics = &context.metrics;
    let journal = Arc::clone(&store.journal);
    let status = move || journal.status();
    let (bytes, segments, end) = (status.clone(), status.clone(), status.clone());
    metrics.observe(
        Gauge,
        "daybook_journal_bytes",
        "Bytes in the journal's files.",
        move || bytes().bytes as f64,
    )?;
    metrics.observe(
        Gauge,
        "daybook_journal_segments",
        "Files of the journal.",
        move || segments().segment_count as f64,
    )?;
    metrics.observe(
        Counter,
        "daybook_journal_events_total",
        "Events made durable since the data directory was made.",
        move || end().end.0 as f64,
    )?;
    let journal = Arc::clone(&store.journal);
    let index = store.log_index.clone();
    metrics.observe(
        Gauge,
        "daybook_index_lag_events",
        "Events that are durable but not in the index yet.",
        move || journal.end().0.saturating_sub(index.progress().added.0) as f64,
    )?;
    let journal = Arc::clone(&store.journal);
    let index = store.log_index.clone();
    metrics.observe(
        Gauge,
        "daybook_index_invisible_events",
        "Events that are durable but not found by a search yet.",
        move || journal.end().0.saturating_sub(index.progress().visible.0) as f64,
    )?;
    let index = store.log_index.clone();
    metrics.observe(
        Gauge,
        "daybook_index_shards",
        "Shards: one for each index and day.",
        move || index.shard_ids().len() as f64,
    )?;
    Ok(())
}

async fn end_task(shutdown: CancellationToken, task: JoinHandle<()>) {
    shutdown.cancel();
    // A panic was reported by the panic hook.
    let _ = task.await;
}

/// How much room the data directory's file system has left.
fn observe_disk(context: &Context<'_>) -> anyhow::Result<()> {
    use crate::telemetry::FigureKind;
    let path = context.directory.path().to_owned();
    context.metrics.observe(
        FigureKind::Gauge,
        "daybook_disk_free_bytes",
        "Free space on the file system of the data directory.",
        move || match rustix::fs::statvfs(&path) {
            Ok(stat) => stat.f_bavail as f64 * stat.f_frsize as f64,
            Err(_) => f64::NAN,
        },
    )?;
    Ok(())
}

impl Parts {
    /// Notes that a part has started and how it stops; call it in the order of the starts.
    pub fn started<F>(&mut self, name: &'static str, stop: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.stages.push(Stage {
            name,
            stop: Box::new(move || Box::pin(stop())),
        });
    }

    /// Brings reloadable settings into force.
    pub fn reload(&self, settings: &Settings) {
        if let Some((retention, intake)) = &self.retention {
            let now = retention_of(settings);
            intake.set_retention(now.clone());
            retention.store(Arc::new(now));
        }
    }

    /// Stops every part, the last one started first, all within `time`. What does not end in time is left to the end
    /// of the process: whatever was accepted is on disk.
    pub async fn stop(self, time: Duration) {
        let deadline = Instant::now() + time;
        for stage in self.stages.into_iter().rev() {
            let stopping = (stage.stop)();
            if timeout_at(deadline, stopping).await.is_err() {
                tracing::warn!(part = stage.name, "did not stop in time");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn parts_stop_in_the_reverse_order_and_a_hanging_one_does_not_keep_the_others() {
        let stopped: Arc<Mutex<Vec<&str>>> = Arc::default();
        let mut parts = Parts::default();
        for name in ["index", "hanging", "journal", "sources"] {
            let stopped = Arc::clone(&stopped);
            parts.started(name, move || async move {
                if name == "hanging" {
                    std::future::pending::<()>().await;
                }
                stopped.lock().unwrap().push(name);
            });
        }
        // No time at all: what can end at once does, and what cannot is left.
        parts.stop(Duration::ZERO).await;
        assert_eq!(*stopped.lock().unwrap(), ["sources", "journal", "index"]);
    }
}
