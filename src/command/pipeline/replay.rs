//! `daybook pipeline replay`: dead letters go through their pipelines again, those of the settings as they are now.
//!
//! Each event is stored with an id made of its dead letter's, and only then is the letter removed. A replay that was
//! interrupted is simply run again: what it had stored is a conflict then, which counts as done, so that an event is
//! stored once. A letter whose event fails again stays where it is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use collector::pipeline::Library;
use collector::pipeline::dead_letter::{self, DeadLetter};
use event::Event;
use serde_json::{Value, json};

use super::super::WRONG;
use super::super::running_server::{RunningServer, ServerArguments, block_on};
use crate::settings::Settings;

/// Letters of one step.
const PAGE: usize = 500;

/// Arguments of `pipeline replay`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The settings file with the corrected pipelines; the server need not know them yet.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only the letters of this pipeline.
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// Say what would become of them, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    server: ServerArguments,
}

/// What became of the letters.
#[derive(Debug, Default)]
struct Outcome {
    stored: u64,
    stored_before: u64,
    dropped: u64,
    /// By reason, with one example.
    failed: BTreeMap<String, u64>,
}

/// Runs it. Exit code 1 when letters are left.
///
/// # Errors
/// The settings are wrong, no server is found, or it refuses.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(arguments.config.as_deref())?.settings;
    let mut library = settings.library();
    let is_known = |name: &String| settings.all_pipelines().contains_key(name);
    if let Some(name) = arguments.pipeline.as_ref().filter(|name| !is_known(name)) {
        bail!(
            "there is no pipeline {name:?} in the settings; name the one that dead_letter.pipeline says"
        );
    }
    // The server that works on the data directory of the settings, not on the usual one.
    let data_dir = arguments.config.as_ref().map(|_| settings.data_dir.clone());
    let outcome = block_on(replay(arguments, data_dir.as_deref(), &mut library))?;
    println!(
        "{}{} stored, {} had been stored before, {} dropped by their pipeline, {} left",
        if arguments.dry_run { "would be: " } else { "" },
        outcome.stored,
        outcome.stored_before,
        outcome.dropped,
        outcome.failed.values().sum::<u64>(),
    );
    for (problem, count) in &outcome.failed {
        eprintln!("daybook: {count} left: {problem}");
    }
    Ok(match outcome.failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(WRONG),
    })
}

async fn replay(
    arguments: &Arguments,
    data_dir: Option<&Path>,
    library: &mut Library,
) -> anyhow::Result<Outcome> {
    let server = RunningServer::of_data_dir(&arguments.server, data_dir)?;
    let mut outcome = Outcome::default();
    // Pages go by the letters' own places: those that stay are not read again, nor are those that come meanwhile.
    let mut after: Option<Value> = None;
    let newest = newest_position(&server).await?;
    loop {
        let page = letters(&server, after.as_ref(), newest.as_ref()).await?;
        let Some(last) = page.last() else {
            return Ok(outcome);
        };
        after = Some(last["sort"].clone());
        let mut writes = Vec::new();
        let mut removals = Vec::new();
        for letter in &page {
            let id = letter["_id"].as_str().unwrap_or_default().to_owned();
            let pipeline = letter["_source"]["dead_letter.pipeline"].as_str();
            if arguments.pipeline.is_some() && arguments.pipeline.as_deref() != pipeline {
                continue;
            }
            match made(letter, library) {
                Ok(Some(event)) => writes.push((id, event)),
                Ok(None) => {
                    outcome.dropped += 1;
                    removals.push(id);
                }
                Err(problem) => *outcome.failed.entry(problem).or_default() += 1,
            }
        }
        if arguments.dry_run {
            outcome.stored += writes.len() as u64;
            continue;
        }
        removals.extend(store(&server, writes, &mut outcome).await?);
        remove(&server, &removals).await?;
    }
}

/// The event a letter becomes; nothing when its pipeline drops it.
fn made(letter: &Value, library: &mut Library) -> Result<Option<Event>, String> {
    let source = letter["_source"].to_string();
    let mut read = DeadLetter::read(source.as_bytes()).map_err(|problem| {
        format!(
            "an event of {} is no dead letter: {problem}",
            dead_letter::INDEX
        )
    })?;
    let pipeline = library
        .pipeline(&read.pipeline)
        .map_err(|error| error.to_string())?;
    match pipeline.event(&mut read.document, &read.index, read.arrived) {
        Err(_) => Ok(None),
        Ok(event) if event.index.as_str() == dead_letter::INDEX => {
            let again: Value = serde_json::from_slice(&event.source).unwrap_or_default();
            let problem = again["error.message"].as_str().unwrap_or("it fails again");
            Err(problem.to_owned())
        }
        Ok(event) => Ok(Some(event)),
    }
}

async fn newest_position(server: &RunningServer) -> anyhow::Result<Option<Value>> {
    let body = json!({ "size": 1, "sort": [{ "_doc": "desc" }], "query": { "match_all": {} } });
    let hits = search(server, &body).await?;
    Ok(hits.first().map(|hit| hit["sort"][0].clone()))
}

/// The next letters in the order they came.
async fn letters(
    server: &RunningServer,
    after: Option<&Value>,
    newest: Option<&Value>,
) -> anyhow::Result<Vec<Value>> {
    let Some(newest) = newest else {
        return Ok(Vec::new());
    };
    let mut body = json!({
        "size": PAGE,
        "sort": [{ "_doc": "asc" }],
        "query": { "match_all": {} },
    });
    if let Some(after) = after {
        body["search_after"] = after.clone();
    }
    let mut hits = search(server, &body).await?;
    hits.retain(|hit| hit["sort"][0].as_u64() <= newest.as_u64());
    Ok(hits)
}

async fn search(server: &RunningServer, body: &Value) -> anyhow::Result<Vec<Value>> {
    let mut url = server.url(&[dead_letter::INDEX, "_search"])?;
    url.set_query(Some("ignore_unavailable=true&allow_no_indices=true"));
    let mut answer = server.post(url, body).await?;
    match answer["hits"]["hits"].take() {
        Value::Array(hits) => Ok(hits),
        _ => Ok(Vec::new()),
    }
}

/// Stores the events; answers the letters that are done with.
async fn store(
    server: &RunningServer,
    writes: Vec<(String, Event)>,
    outcome: &mut Outcome,
) -> anyhow::Result<Vec<String>> {
    let mut body = Vec::new();
    for (id, event) in &writes {
        let action = json!({ "create": { "_index": event.index.as_str(), "_id": format!("replayed-{id}") } });
        body.extend_from_slice(action.to_string().as_bytes());
        body.push(b'\n');
        body.extend_from_slice(&event.source);
        body.push(b'\n');
    }
    let mut done = Vec::new();
    let items = bulk(server, body).await?;
    for ((id, _), item) in writes.into_iter().zip(&items) {
        let item = &item["create"];
        match item["status"].as_u64() {
            Some(201) => outcome.stored += 1,
            Some(409) => outcome.stored_before += 1,
            _ => {
                let reason = item["error"]["reason"]
                    .as_str()
                    .unwrap_or("the server refused it");
                *outcome.failed.entry(reason.to_owned()).or_default() += 1;
                continue;
            }
        }
        done.push(id);
    }
    Ok(done)
}

async fn remove(server: &RunningServer, ids: &[String]) -> anyhow::Result<()> {
    let mut body = Vec::new();
    for id in ids {
        let action = json!({ "delete": { "_index": dead_letter::INDEX, "_id": id } });
        body.extend_from_slice(action.to_string().as_bytes());
        body.push(b'\n');
    }
    bulk(server, body).await?;
    Ok(())
}

async fn bulk(server: &RunningServer, body: Vec<u8>) -> anyhow::Result<Vec<Value>> {
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let mut url = server.url(&["_bulk"])?;
    // They have been through theirs.
    url.set_query(Some("pipeline=_none"));
    let mut answer = server.post_lines(url, body).await?;
    match answer["items"].take() {
        Value::Array(items) => Ok(items),
        _ => Ok(Vec::new()),
    }
}
