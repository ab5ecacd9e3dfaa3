//! Starts the file sources, once the index has read what the journal holds: only then is it known how far they had come.

use std::sync::{Arc, Mutex};

use collector::pipeline::Pipeline;
use collector::source::checkpoint::CheckpointStore;
use collector::source::file::{self, FileSource};
use event::{Append, Ledger};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::settings::{Settings, Source};

/// What file sources are started from.
pub struct FileSources {
    /// The settings in force.
    pub settings: Settings,
    /// Where their events become durable.
    pub append: Arc<dyn Append>,
    /// The books.
    pub ledger: Arc<Ledger>,
    /// How far each of them had come.
    pub checkpoints: Arc<Mutex<CheckpointStore>>,
}

impl FileSources {
    /// Runs all of them until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut running = JoinSet::new();
        for (name, Source::File(source)) in &self.settings.sources {
            match self.source(name, source) {
                Ok(source) => drop(running.spawn(source.run(shutdown.clone()))),
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

    fn source(&self, name: &str, source: &file::Settings) -> Result<FileSource, String> {
        let pipeline = match &source.pipeline {
            None => None,
            Some(pipeline) => {
                let settings = self
                    .settings
                    .pipelines
                    .get(pipeline)
                    .ok_or_else(|| format!("no pipeline is named {pipeline}"))?;
                Some(Arc::new(
                    Pipeline::compile(pipeline, settings).map_err(|error| error.to_string())?,
                ))
            }
        };
        let mut settings = source.clone();
        // What Daybook writes because of an event must not become the next event.
        settings.exclude_folder(&self.settings.data_dir);
        settings.max_line_bytes =
            usize::try_from(self.settings.limits.event.0).unwrap_or(usize::MAX);
        let recovered = self
            .checkpoints
            .lock()
            .expect("no holder of this lock panics")
            .entries(name);
        let parts = file::Parts {
            name: Arc::from(name),
            pipeline,
            append: Arc::clone(&self.append),
            ledger: self.ledger.source(name),
            host_name: host_name(),
            recovered,
        };
        FileSource::new(&settings, parts)
    }
}

/// How many files the sources find now, for the operator.
pub fn files_found(settings: &Settings) -> usize {
    let found = settings
        .sources
        .values()
        .map(|Source::File(source)| FileSource::paths_found(source).len());
    found.sum()
}

/// The machine's name, for `host.name`.
fn host_name() -> Option<String> {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    (!name.is_empty()).then_some(name)
}
