//! What Daybook tells about itself: log lines on stderr, metrics, and traces and logs to any OTLP endpoint.

mod export;
mod host_figures;
#[cfg(feature = "kafka")]
mod lag_figures;
mod ledger_figures;
mod metrics;
mod process_figures;

use std::time::Duration;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

pub use export::{SELF_HEADER, suppressed};
pub use host_figures::HostFigures;
#[cfg(feature = "kafka")]
pub use lag_figures::{LagFigures, PartitionLag};
pub use metrics::{FigureKind, Metrics};

use crate::settings::{LogFormat, TelemetrySettings};
use export::Export;

/// Logging and tracing of the process. One per process, because Rust's subscriber is one per process.
pub struct Telemetry {
    level: reload::Handle<EnvFilter, Registry>,
    export: Option<Export>,
}

/// Our own telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The exporter refuses its settings.
    #[error("cannot export own traces and logs to {endpoint}: {problem}; check telemetry.otlp")]
    Export {
        /// Where to.
        endpoint: String,
        /// The exporter's words.
        problem: String,
    },
    /// Somebody else logs already.
    #[error("logging is started already")]
    StartedTwice,
}

impl Telemetry {
    /// Starts logging. Must be called inside the runtime that carries exports.
    ///
    /// # Errors
    /// See [`TelemetryError`].
    pub fn start(settings: &TelemetrySettings) -> Result<Telemetry, TelemetryError> {
        let (level, handle) = reload::Layer::new(env_filter(&settings.log_level));
        let lines: Box<dyn Layer<_> + Send + Sync> = match settings.log_format {
            LogFormat::Text => fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(false)
                .boxed(),
            LogFormat::Json => fmt::layer().json().with_writer(std::io::stderr).boxed(),
        };
        let export = settings.otlp.as_ref().map(Export::start).transpose()?;
        let export_layers = export.as_ref().map(Export::layers);
        tracing_subscriber::registry()
            .with(lines.with_filter(level))
            .with(export_layers)
            .try_init()
            .map_err(|_| TelemetryError::StartedTwice)?;
        Ok(Telemetry {
            level: handle,
            export,
        })
    }

    /// Brings a new log level into force. The settings have checked its syntax.
    pub fn reload(&self, settings: &TelemetrySettings) {
        if let Err(error) = self.level.reload(env_filter(&settings.log_level)) {
            tracing::error!(%error, "cannot change the log level");
        }
    }

    /// Sends what is waiting to be exported and gives up after `time`. Blocks.
    pub fn stop(self, time: Duration) {
        if let Some(export) = self.export {
            export.stop(time);
        }
    }
}

fn env_filter(level: &str) -> EnvFilter {
    EnvFilter::builder().parse_lossy(level)
}
