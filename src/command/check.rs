//! `daybook check`: verifies a data directory while no server runs on it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use journal::Report;

use super::WRONG;
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

/// Runs it: prints what is there, and what is damaged to stderr.
///
/// # Errors
/// The directory is in use, is none of ours, or cannot be read.
pub fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let directory = DataDirectory::open_existing(&arguments.data_dir)?;
    let journal = directory.path().join("journal");
    if !journal.is_dir() {
        println!("journal: none");
        return Ok(ExitCode::SUCCESS);
    }
    let found = match arguments.repair {
        false => journal::verify(&journal),
        true => journal::repair(&journal),
    };
    let report =
        found.with_context(|| format!("cannot read the journal in {}", journal.display()))?;
    print(&report);
    if report.is_clean() {
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.repair {
        println!("journal: repaired; damaged bytes are set aside in files *.damaged");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "daybook: the journal is damaged; run daybook check --repair --data-dir {}",
        directory.path().display()
    );
    Ok(ExitCode::from(WRONG))
}

fn print(report: &Report) {
    println!(
        "journal: {} segments, {} records, {} events at {} to {}, {} bytes, {} of them never acknowledged",
        report.segments,
        report.records,
        report.events,
        report.first,
        report.end,
        report.bytes,
        report.torn_tail_bytes
    );
    for damage in &report.damage {
        eprintln!(
            "daybook: {} at byte {}: {} bytes damaged, {} events lost from position {}",
            damage.segment, damage.offset, damage.bytes, damage.events_lost, damage.first
        );
    }
}
