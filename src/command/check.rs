//! `daybook check`: verifies a data directory while no server runs on it.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::data_directory::DataDirectory;

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Repair what can be repaired, telling what is lost.
    #[arg(long)]
    repair: bool,
}

/// Runs it.
///
/// # Errors
/// The directory is in use, is none of ours, or is damaged.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let directory = DataDirectory::open_existing(&arguments.data_dir)?;
    // The journal and the shards are verified here once they offer it; until then nothing claims to have done so.
    let action = match arguments.repair {
        true => "repaired",
        false => "verified",
    };
    anyhow::bail!(
        "{}: lock and format are fine; journal and shards cannot be {action} by this version",
        directory.path().display()
    );
}
