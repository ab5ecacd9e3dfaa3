//! `daybook config check` and `daybook config print`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use collector::pipeline::Library;

use super::{SettingsArguments, WRONG};
use crate::settings::{self, Loaded, Place, Settings};

/// What to do with the settings.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Report every mistake in a settings file with its line, and run the tests of its pipelines.
    Check {
        /// The settings file.
        file: PathBuf,
    },
    /// Print the settings in force, secrets as ***.
    Print(SettingsArguments),
}

/// Runs it.
///
/// # Errors
/// The file cannot be read or holds mistakes.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Check { file } => {
            let loaded = Settings::load(Some(&file))?;
            tell_notices(&loaded.notices);
            let failures = test_failures(&loaded);
            for (place, failure) in &failures {
                let place = place.map_or_else(String::new, |place| {
                    format!("{}:{}:", place.line, place.column)
                });
                eprintln!("daybook: {}:{place} {failure}", file.display());
            }
            if !failures.is_empty() {
                return Ok(ExitCode::from(WRONG));
            }
            println!("{}: fine", file.display());
        }
        Command::Print(arguments) => {
            let Loaded {
                mut settings,
                notices,
                ..
            } = Settings::load(arguments.config.as_deref())?;
            tell_notices(&notices);
            if let Some(data_dir) = arguments.data_dir {
                settings.data_dir = data_dir;
            }
            print!("{}", settings::to_yaml(&settings));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Notices go to stderr, so that stdout is only what was asked for.
pub fn tell_notices(notices: &[String]) {
    for notice in notices {
        eprintln!("daybook: note: {notice}");
    }
}

/// What came out otherwise than a test says, in the order of the file, with the test's place; shipped pipelines have none.
fn test_failures(loaded: &Loaded) -> Vec<(Option<Place>, String)> {
    let mut failures = Vec::new();
    let all = loaded.settings.all_pipelines().into_iter();
    let all: BTreeMap<_, _> = all
        .map(|(name, pipeline)| (name, pipeline.in_utc()))
        .collect();
    let mut library = Library::new(all.clone());
    for (name, pipeline) in &all {
        match library.pipeline(name) {
            Ok(compiled) => {
                let found = compiled.run_tests(&pipeline.tests);
                let places = loaded.test_places.get(name);
                failures.extend(found.iter().map(|failure| {
                    let place = places.and_then(|places| places.get(failure.test - 1));
                    (place.copied(), failure.to_string())
                }));
            }
            Err(error) => failures.push((None, error.to_string())),
        }
    }
    failures.sort_by_key(|(place, _)| *place);
    failures
}
