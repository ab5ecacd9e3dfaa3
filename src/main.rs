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

fn main() -> ExitCode {
    command::Cli::parse().run()
}
