//! `daybook pipeline`: tries a pipeline on lines, and takes dead letters through again.

mod replay;
mod test;

use std::process::ExitCode;

/// What to do with pipelines.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Run a pipeline on the lines of stdin and print the events they become.
    Test(test::Arguments),
    /// Take the dead letters of a running server through their corrected pipelines and remove them.
    Replay(replay::Arguments),
}

/// Runs it.
///
/// # Errors
/// As its subcommands.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Test(arguments) => test::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
    }
}
