//! Where events come from that nobody sends: the section `sources`.

use event::IndexName;
use serde::{Deserialize, Serialize};

use super::findings::Findings;
use super::node::Node;
use super::suggestion::did_you_mean;

/// One entry under `sources`.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// `type: file`.
    File(FileSource),
}

/// Log files that are followed.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileSource {
    /// Paths with `*`, `**`, `?` and `[...]`.
    pub include: Vec<String>,
    /// Paths that are left out although `include` names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// The index the events go to; `logs` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// The pipeline they pass first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// How lines are joined to events; without it, every line is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiline: Option<collector::transform::multiline::Settings>,
    /// Where reading begins in a file that is seen for the first time.
    #[serde(default)]
    pub start_at: StartAt,
}

/// Where reading begins in a file that is seen for the first time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StartAt {
    /// At its first line.
    #[default]
    Beginning,
    /// At what is written from now on.
    End,
}

impl FileSource {
    /// Files with nothing else said about them.
    pub fn of(include: &[&str]) -> FileSource {
        FileSource {
            include: include.iter().map(|glob| (*glob).to_owned()).collect(),
            exclude: Vec::new(),
            index: None,
            pipeline: None,
            multiline: None,
            start_at: StartAt::default(),
        }
    }
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

fn read_file(
    key: &str,
    node: &Node,
    pipelines: &[String],
    findings: &Findings,
) -> Option<FileSource> {
    let source: FileSource = match node.without("type").read() {
        Ok(source) => source,
        Err(misfit) => {
            findings.mistake(misfit.place, key, misfit.problem);
            return None;
        }
    };
    let place_of = |name: &str| node.entry(name).map(|node| node.place);
    if source.include.is_empty() {
        let problem = "is empty; write for instance include: [\"/var/log/*.log\"]";
        findings.mistake(place_of("include"), &format!("{key}.include"), problem);
    }
    for (name, globs) in [("include", &source.include), ("exclude", &source.exclude)] {
        for problem in globs.iter().filter_map(|glob| problem_of_glob(glob)) {
            findings.mistake(place_of(name), &format!("{key}.{name}"), problem);
        }
    }
    if let Some(index) = &source.index
        && let Err(error) = IndexName::parse(index)
    {
        findings.mistake(
            place_of("index"),
            &format!("{key}.index"),
            error.to_string(),
        );
    }
    if let Some(pipeline) = &source.pipeline
        && !pipelines.contains(pipeline)
    {
        let problem = format!(
            "there is no pipeline {pipeline:?}{}",
            did_you_mean(pipeline, pipelines)
        );
        findings.mistake(place_of("pipeline"), &format!("{key}.pipeline"), problem);
    }
    if let Some(multiline) = &source.multiline
        && let Err(problem) = collector::transform::multiline::Multiline::compile(multiline)
    {
        findings.mistake(place_of("multiline"), &format!("{key}.multiline"), problem);
    }
    Some(source)
}

fn problem_of_glob(glob: &str) -> Option<String> {
    if !glob.starts_with('/') {
        return Some(format!(
            "{glob:?} is no absolute path; write for instance /var/log/*.log"
        ));
    }
    let opened = glob.rfind('[');
    let is_open = opened.is_some_and(|at| !glob[at..].contains(']'));
    is_open.then(|| format!("the [ in {glob:?} is never closed; write ] behind its characters"))
}
