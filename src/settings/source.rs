//! Where events come from that nobody sends: the section `sources`.

use collector::source::file;
use collector::transform::multiline::Multiline;
use event::IndexName;

use super::findings::Findings;
use super::node::{Node, Value};
use super::suggestion::did_you_mean;

/// One entry under `sources`.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// `type: file`.
    File(file::Settings),
}

const BUILT: [&str; 1] = ["file"];

/// Types of the product page and of agents people come from, whose capability is not there yet.
const NOT_BUILT: [&str; 9] = [
    "docker",
    "syslog",
    "journald",
    "kafka",
    "loki",
    "scrape",
    "host",
    "otlp",
    "elasticsearch",
];

/// Reads one entry; `None` when it is wrong or not built yet, which `findings` tells.
pub fn read(name: &str, node: &Node, pipelines: &[String], findings: &Findings) -> Option<Source> {
    let key = format!("sources.{name}");
    let Some(kind) = node.entry("type") else {
        let problem = "the key type is missing; write for instance type: file";
        findings.mistake(Some(node.place), &key, problem);
        return None;
    };
    match kind.scalar_text().unwrap_or_default().as_str() {
        "file" => read_file(&key, node, pipelines, findings).map(Source::File),
        later if NOT_BUILT.contains(&later) => {
            findings.notice(format!("{key}: type {later} is not built yet, ignored"));
            None
        }
        unknown => {
            let known: Vec<&str> = BUILT.into_iter().chain(NOT_BUILT).collect();
            let problem = format!("unknown type {unknown:?}{}", did_you_mean(unknown, &known));
            findings.mistake(Some(kind.place), &format!("{key}.type"), problem);
            None
        }
    }
}

/// Looks at each setting for itself, so that each tells its own mistake.
fn read_file(
    key: &str,
    node: &Node,
    pipelines: &[String],
    findings: &Findings,
) -> Option<file::Settings> {
    let settings: file::Settings = match node.without("type").read() {
        Ok(settings) => settings,
        Err(misfit) => {
            findings.mistake(misfit.place, key, misfit.problem);
            return None;
        }
    };
    let mut is_told = false;
    let mut tell = |setting: &str, problem: String| {
        is_told = true;
        let place = node.entry(setting).unwrap_or(node).place;
        findings.mistake(Some(place), &format!("{key}.{setting}"), problem);
    };
    if let Some(index) = &settings.index
        && let Err(error) = IndexName::parse(index)
    {
        tell("index", error.to_string());
    }
    if let Some(pipeline) = &settings.pipeline
        && !pipelines.contains(pipeline)
    {
        let suggestion = did_you_mean(pipeline, pipelines);
        tell(
            "pipeline",
            format!("there is no pipeline {pipeline:?}{suggestion}"),
        );
    }
    if let Some(multiline) = &settings.multiline
        && let Err(problem) = Multiline::compile(multiline)
    {
        tell("multiline", problem);
    }
    for setting in ["include", "exclude"] {
        is_told |= tell_wrong_patterns(key, setting, node, findings);
    }
    // Whatever else the source itself finds wrong.
    if !is_told && let Err(problem) = settings.check() {
        findings.mistake(Some(node.place), key, problem);
    }
    Some(settings)
}

/// Whether one of the patterns is wrong; every such one is told with its own place.
fn tell_wrong_patterns(key: &str, setting: &str, node: &Node, findings: &Findings) -> bool {
    let Some(Value::List(patterns)) = node.entry(setting).map(|node| &node.value) else {
        return false;
    };
    let mut is_told = false;
    for pattern in patterns {
        let text = pattern.scalar_text().unwrap_or_default();
        if let Err(problem) = file::Settings::including(vec![text]).check() {
            findings.mistake(Some(pattern.place), &format!("{key}.{setting}"), problem);
            is_told = true;
        }
    }
    is_told
}
