//! The command line: one file per subcommand.

pub mod check;
pub mod config;
pub mod inspect;
pub mod patterns;
pub mod pipeline;
mod printing;
mod running_server;
pub mod search;
pub mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit code for "the thing asked about is wrong". clap itself ends wrong usage with 2.
pub const WRONG: u8 = 1;

/// Self-hosted logs, metrics and alerts: one binary beside your application.
#[derive(Debug, Parser)]
#[command(name = "daybook", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Collect, store and answer queries: the main job.
    Serve(serve::Arguments),
    /// Check or print settings.
    #[command(subcommand)]
    Config(config::Command),
    /// Search a running server.
    Search(search::Arguments),
    /// Show the patterns of a running server's messages: what they are, how often, what is new.
    Patterns(patterns::Arguments),
    /// Try a pipeline on lines, or take dead letters through again.
    #[command(subcommand)]
    Pipeline(pipeline::Command),
    /// Show what fills a shard: which fields, services and templates; while no server runs on the directory.
    Inspect(inspect::Arguments),
    /// Verify a data directory while no server runs on it.
    Check(check::Arguments),
}

/// Where the settings come from; the flags choose the file and the directory and nothing else.
#[derive(Debug, clap::Args)]
pub struct SettingsArguments {
    /// The settings file; without one, the defaults.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data directory, instead of the settings' data_dir.
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

impl Cli {
    /// Does what was asked for. Errors go to stderr, one line each, with the next step.
    pub fn run(self) -> ExitCode {
        let done = match self.command {
            Command::Serve(arguments) => serve::run(arguments),
            Command::Config(command) => config::run(command),
            Command::Search(arguments) => search::run(arguments),
            Command::Patterns(arguments) => patterns::run(arguments),
            Command::Pipeline(command) => pipeline::run(command),
            Command::Inspect(arguments) => inspect::run(arguments),
            Command::Check(arguments) => check::run(arguments),
        };
        match done {
            Ok(code) => code,
            Err(error) => {
                for line in format!("{error:#}").lines() {
                    eprintln!("daybook: {line}");
                }
                ExitCode::from(WRONG)
            }
        }
    }
}
