//! The parts between the listeners and the disk: what they offer, and how they end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use event::Ledger;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::data_directory::DataDirectory;
use crate::settings::Settings;
use crate::telemetry::Metrics;

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
    /// Where HTTP clients reach us, as `127.0.0.1:8365`; empty when nothing listens for them.
    pub http_address: String,
    /// How many files and connections may be open.
    pub descriptors: u64,
}

/// The running parts.
#[derive(Default)]
pub struct Parts {
    /// What each of them serves.
    pub routes: PartRoutes,
    /// What was found at the start, one short line each, for the operator.
    pub found: Vec<String>,
    stages: Vec<Stage>,
    reload: Option<Reload>,
    deaths: Deaths,
}

/// Which part ended by a mistake of ours, as soon as one does.
type Deaths = watch::Sender<Option<&'static str>>;

/// Brings new settings into force.
type Reload = Box<dyn Fn(&Settings) + Send + Sync>;

/// Routes by dialect; the listeners combine them.
#[derive(Default)]
pub struct PartRoutes {
    /// The Elasticsearch dialect, reads and writes.
    pub elasticsearch: Router,
    /// Our own API over the logs.
    pub own: Router,
    /// What senders push in other dialects: Loki's, Splunk's, plain HTTP.
    pub pushed: Router,
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

    /// What a part without which nothing works calls when it ends by a mistake of ours.
    pub fn on_death(&self, part: &'static str) -> impl FnOnce() + Send + 'static {
        let deaths = self.deaths.clone();
        move || {
            deaths.send_replace(Some(part));
        }
    }

    /// Answers once such a part has ended, with its name.
    pub fn death(&self) -> impl Future<Output = &'static str> + 'static {
        let mut deaths = self.deaths.subscribe();
        async move {
            loop {
                let dead = *deaths.borrow_and_update();
                match dead {
                    Some(part) => return part,
                    // The sender lives as long as the parts.
                    None if deaths.changed().await.is_err() => std::future::pending().await,
                    None => {}
                }
            }
        }
    }

    /// Notes how the parts take new settings.
    pub fn reload_with(&mut self, reload: impl Fn(&Settings) + Send + Sync + 'static) {
        self.reload = Some(Box::new(reload));
    }

    /// Brings reloadable settings into force.
    pub fn reload(&self, settings: &Settings) {
        if let Some(reload) = &self.reload {
            reload(settings);
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
    async fn a_dead_part_is_told() {
        let parts = Parts::default();
        let (index, death) = (parts.on_death("index"), parts.death());
        std::thread::spawn(index).join().unwrap();
        assert_eq!(death.await, "index");
    }

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
