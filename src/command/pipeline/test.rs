//! `daybook pipeline test NAME < lines`: what a pipeline makes of them, without a server.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use collector::pipeline::{AUTOMATIC, Pipeline};
use event::{Document, IndexName, Timestamp};

use crate::settings::Settings;

/// Arguments of `pipeline test`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The pipeline: of the settings, a shipped one, or auto; several with commas between them run one after the other.
    name: String,
    /// The settings file; without one, only the shipped pipelines are known.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// The settings are wrong, there is no such pipeline, or stdin and stdout fail.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let pipeline = match arguments.name.as_str() {
        AUTOMATIC => Arc::new(Pipeline::automatic()),
        name => {
            let settings = Settings::load(arguments.config.as_deref())?.settings;
            settings.library().pipeline(name)?
        }
    };
    let mut stdout = std::io::stdout().lock();
    for line in std::io::stdin().lock().split(b'\n') {
        let line = line.context("cannot read stdin")?;
        // As the file source reads lines.
        let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line));
        let arrived = Timestamp::now();
        let mut document = Document::new();
        document.set_str("@timestamp", &arrived.to_rfc3339());
        document.set_str("message", &line);
        let index = IndexName::default_index();
        let written = match pipeline.event(&mut document, &index, arrived) {
            Ok(event) => {
                let source = String::from_utf8_lossy(&event.source);
                match event.index == index {
                    true => writeln!(stdout, "{source}"),
                    false => writeln!(stdout, "# to the index {}:\n{source}", event.index),
                }
            }
            Err(reason) => writeln!(stdout, "# dropped: {reason}"),
        };
        match written {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
            result => result.context("cannot write to stdout")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
