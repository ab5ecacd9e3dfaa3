//! `daybook check`: verifies a data directory while no server runs on it.

use std::path::{Path, PathBuf};
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
    let is_journal_sound = check_journal(directory.path(), arguments.repair)?;
    let is_index_sound = check_index(directory.path(), arguments.repair)?;
    if is_journal_sound && is_index_sound {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "daybook: damage was found; run daybook check --repair --data-dir {}",
        directory.path().display()
    );
    Ok(ExitCode::from(WRONG))
}

/// Answers whether the journal is sound now.
fn check_journal(data_dir: &Path, is_repairing: bool) -> anyhow::Result<bool> {
    let journal = data_dir.join("journal");
    if !journal.is_dir() {
        println!("journal: none");
        return Ok(true);
    }
    let found = match is_repairing {
        false => journal::verify(&journal),
        true => journal::repair(&journal),
    };
    let report =
        found.with_context(|| format!("cannot read the journal in {}", journal.display()))?;
    print(&report);
    if !report.is_clean() && is_repairing {
        println!("journal: repaired; damaged bytes are set aside in files *.damaged");
    }
    Ok(report.is_clean() || is_repairing)
}

/// Answers whether shards and catalog are sound now.
fn check_index(data_dir: &Path, is_repairing: bool) -> anyhow::Result<bool> {
    let report = indexer::check(data_dir, is_repairing)?;
    let events: u64 = report.shards.iter().map(|shard| shard.events).sum();
    println!("index: {} shards, {events} events", report.shards.len());
    for shard in &report.shards {
        if let Some(damage) = &shard.damage {
            eprintln!("daybook: shard {} is damaged: {damage}", shard.name);
        }
        if let Some(name) = &shard.set_aside {
            println!("index: shard {} was set aside as {name}", shard.name);
        }
    }
    if let Some(damage) = &report.catalog_damage {
        eprintln!(
            "daybook: catalog.db is damaged: {damage}; remove it and restart, the books begin anew"
        );
    }
    let is_repaired = is_repairing && report.catalog_damage.is_none();
    Ok(report.is_clean() || is_repaired)
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
