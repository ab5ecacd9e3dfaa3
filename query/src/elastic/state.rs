//! What the metadata resources hold: the store, the registry, the clock, and how we call ourselves.

use std::collections::BTreeSet;
use std::sync::Arc;

use event::{Refresh, Timestamp};
use indexer::logs::{ReadError, ShardId};
use serde_json::Value;
use tokio::sync::Semaphore;

use super::error::ElasticError;
use super::params::Params;
use super::registry::{Change, Kind, Registry};
use super::store::{FieldMap, LogStore, Partial, ShardSummary};
use super::target::{Names, Resolved, TargetOptions};
use super::version::VersionSettings;

/// How many metadata requests may read shards at the same time: they are few, and searches go before them.
const READS_MAX: usize = 4;

/// The present time, UTC.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the metadata resources need. Cheap to clone.
#[derive(Clone)]
pub struct ElasticState {
    store: Arc<dyn LogStore>,
    registry: Arc<dyn Registry>,
    refresh: Arc<dyn Refresh>,
    clock: Clock,
    settings: Arc<ElasticSettings>,
    read_permits: Arc<Semaphore>,
}

/// How we call ourselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElasticSettings {
    /// The version to report.
    pub version: VersionSettings,
    /// The node's name.
    pub node_name: String,
    /// The cluster's name.
    pub cluster_name: String,
    /// 22 characters that stay the same for a data directory.
    pub cluster_uuid: String,
    /// Where clients reach us, as `127.0.0.1:8365`; clients that sniff connect to it.
    pub publish_address: String,
}

impl Default for ElasticSettings {
    fn default() -> ElasticSettings {
        ElasticSettings {
            version: VersionSettings::default(),
            node_name: "daybook-1".to_owned(),
            cluster_name: "daybook".to_owned(),
            cluster_uuid: super::target::index_uuid("daybook"),
            publish_address: "127.0.0.1:8365".to_owned(),
        }
    }
}

/// A shard and what was asked about it.
pub(super) struct ShardView<T> {
    pub(super) shard: ShardId,
    pub(super) answer: T,
}

impl<T> ShardView<T> {
    /// Its name as clients see it.
    pub(super) fn name(&self) -> String {
        self.shard.index.shard_name(self.shard.day)
    }
}

impl ElasticState {
    /// Puts the parts together.
    pub fn new(
        store: Arc<dyn LogStore>,
        registry: Arc<dyn Registry>,
        refresh: Arc<dyn Refresh>,
        clock: Clock,
        settings: ElasticSettings,
    ) -> ElasticState {
        ElasticState {
            store,
            registry,
            refresh,
            clock,
            settings: Arc::new(settings),
            read_permits: Arc::new(Semaphore::new(READS_MAX)),
        }
    }

    /// How we call ourselves.
    pub fn settings(&self) -> &ElasticSettings {
        &self.settings
    }

    /// The present time, UTC.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Everything a name can mean at this moment: shards, aliases, and indices that were created and are empty.
    pub fn names(&self) -> Names {
        let created = [Kind::Index, Kind::DataStream]
            .into_iter()
            .flat_map(|kind| self.registry.entries(kind))
            .map(|(name, _)| name);
        let aliases = self.registry.entries(Kind::Alias);
        let aliases = aliases.into_iter().map(|(name, members)| {
            let members: BTreeSet<String> = match members {
                Value::Object(members) => members.into_iter().map(|(member, _)| member).collect(),
                _ => BTreeSet::new(),
            };
            (name, members)
        });
        Names::new(self.store.shards())
            .with_created(created)
            .with_aliases(aliases)
    }

    /// What an expression with the request's flags names.
    pub(super) fn resolve(
        &self,
        expression: &str,
        params: &Params,
        default: TargetOptions,
    ) -> Result<Resolved, ElasticError> {
        let options = params.target_options(default)?;
        self.names().resolve(expression, &options, self.now())
    }

    pub(super) fn registry(&self) -> &dyn Registry {
        &*self.registry
    }

    /// Makes changes to the registry, off the async threads.
    pub(super) async fn change(&self, changes: Vec<Change>) -> Result<(), ElasticError> {
        let registry = Arc::clone(&self.registry);
        let applied = tokio::task::spawn_blocking(move || registry.apply(changes));
        Ok(applied.await.map_err(broken_task)??)
    }

    /// Waits until everything accepted before is found.
    pub(super) async fn refresh(&self) {
        self.refresh.refresh().await;
    }

    /// Asks the store something that blocks.
    pub(super) async fn read<T, F>(&self, question: F) -> Result<T, ElasticError>
    where
        T: Send + 'static,
        F: FnOnce(&dyn LogStore) -> Result<T, ReadError> + Send + 'static,
    {
        let permits = Arc::clone(&self.read_permits);
        let permit = permits.acquire_owned().await;
        let store = Arc::clone(&self.store);
        let answer = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            question(&*store)
        });
        Ok(answer.await.map_err(broken_task)??)
    }

    /// How much is in some shards. One that cannot be read is left out and logged: the rest still answers.
    pub(super) async fn summaries(
        &self,
        shards: Vec<ShardId>,
    ) -> Result<Vec<ShardView<ShardSummary>>, ElasticError> {
        let asked = self.read(move |store| Ok(store.summaries(&shards)));
        Ok(readable(asked.await?))
    }

    /// The fields of some shards. One that cannot be read is left out and logged: the rest still answers.
    pub(super) async fn fields(
        &self,
        shards: Vec<ShardId>,
    ) -> Result<Vec<ShardView<FieldMap>>, ElasticError> {
        let asked = self.read(move |store| Ok(store.fields(&shards)));
        Ok(readable(asked.await?))
    }
}

fn readable<T>(partial: Partial<T>) -> Vec<ShardView<T>> {
    for error in &partial.failed {
        tracing::error!(%error, "a shard is left out of a reply");
    }
    let found = partial.found.into_iter();
    found
        .map(|(shard, answer)| ShardView { shard, answer })
        .collect()
}

fn broken_task(error: tokio::task::JoinError) -> ElasticError {
    ElasticError::internal(format!("a task ended early: {error}"))
}
