//! `daybook serve`: the main job.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{SettingsArguments, config};
use crate::app::App;
use crate::settings::{Loaded, Settings};
use crate::telemetry::Telemetry;

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    settings: SettingsArguments,
}

/// Where data goes when nobody chose a place and the default one cannot be written.
pub const FALLBACK_DATA_DIR: &str = "daybook-data";

/// Time for own traces and logs to leave, and for blocking work to end, before the process does.
const LAST_EXPORT: Duration = Duration::from_millis(500);
const LAST_THREADS: Duration = Duration::from_millis(500);

/// Runs until it is told to stop.
///
/// # Errors
/// It cannot start.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let Loaded {
        mut settings,
        notices,
        ..
    } = Settings::load(arguments.settings.config.as_deref())?;
    config::tell_notices(&notices);
    choose_data_dir(&mut settings, &arguments.settings);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime; the system has no threads or file descriptors left")?;
    let served = runtime.block_on(serve(settings, &arguments.settings));
    // Whatever was accepted is on disk: threads that are still busy are not waited for longer.
    runtime.shutdown_timeout(LAST_THREADS);
    served.map(|()| ExitCode::SUCCESS)
}

async fn serve(settings: Settings, arguments: &SettingsArguments) -> anyhow::Result<()> {
    // Before anything can be seen from outside: a signal must find its handler.
    let mut signals = Signals::install()?;
    let telemetry = Telemetry::start(&settings.telemetry)?;
    log_panics();
    let mut app = App::start(settings, raise_descriptor_limit()).await?;
    greet(&app.greeting());
    let mut death = std::pin::pin!(app.death());
    let outcome = loop {
        let asked = tokio::select! {
            asked = signals.next() => asked,
            // Whoever supervises us starts us again, which is as safe as after a kill.
            part = &mut death => break Err(anyhow::anyhow!("the {part} ended by a mistake of ours; what was accepted is on disk, start daybook again")),
        };
        match asked {
            Asked::Stop => break Ok(()),
            Asked::Reload => reload(&mut app, arguments, &telemetry),
        }
    };
    tracing::info!("stopping");
    app.stop().await;
    let export = tokio::task::spawn_blocking(move || telemetry.stop(LAST_EXPORT));
    export.await.context("the last export failed")?;
    outcome
}

/// Without any choice of the operator's, an ordinary user gets a directory beside where they are.
fn choose_data_dir(settings: &mut Settings, arguments: &SettingsArguments) {
    if let Some(data_dir) = &arguments.data_dir {
        settings.data_dir.clone_from(data_dir);
    } else if arguments.config.is_none() && !is_writable(&settings.data_dir) {
        settings.data_dir = FALLBACK_DATA_DIR.into();
    }
}

fn is_writable(directory: &Path) -> bool {
    use rustix::fs::{Access, access};
    std::fs::create_dir_all(directory).is_ok() && access(directory, Access::WRITE_OK).is_ok()
}

/// Wrong settings are told and the old ones stay.
fn reload(app: &mut App, arguments: &SettingsArguments, telemetry: &Telemetry) {
    match Settings::load(arguments.config.as_deref()) {
        Ok(Loaded {
            mut settings,
            notices,
            ..
        }) => {
            for notice in notices {
                tracing::warn!(notice, "settings");
            }
            choose_data_dir(&mut settings, arguments);
            app.reload(settings, telemetry);
        }
        Err(error) => tracing::error!(%error, "the new settings are wrong, the old ones stay"),
    }
}

/// Connections and shards each need file descriptors; the soft limit of most systems is far below the hard one.
fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

/// A panic is a mistake of ours: the log tells where, with the request's span around it.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("no message");
        let place = panic.location().map(ToString::to_string);
        tracing::error!(message, place, "a mistake in daybook; please report it");
    }));
}

/// Somebody may have closed our stdout; that is no reason not to serve.
fn greet(greeting: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{greeting}");
    let _ = stdout.flush();
}

enum Asked {
    Stop,
    Reload,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn install() -> anyhow::Result<Signals> {
        let install = |kind| signal(kind).context("cannot install a signal handler");
        Ok(Signals {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
            hang_up: install(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            _ = self.hang_up.recv() => Asked::Reload,
        }
    }
}
