//! The program: arguments in, exit code out.
//!
//! `command/` has one file per subcommand; `app/` builds the parts and joins them to the listeners of `server/`.

mod app;
mod command;
mod data_directory;
mod disk;
mod feed;
mod intake;
mod kept_registry;
mod log_store;
mod pending;
mod reserve;
mod server;
mod settings;
mod status;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

/// The system's allocator gives each of our threads an arena, and keeps in them what was needed once: after a day of full
/// ingest some 900 MB. This one has few arenas and gives back (`.cargo/config.toml`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    command::Cli::parse().run()
}
