//! Where events come from that nobody sends: the section `sources`, one file per type.
//!
//! A new type is a file beside `file.rs`, a variant of [`Source`], and a line in [`BUILT`] and in [`Source::parts`].

mod beats;
mod docker;
mod file;
mod fluent_forward;
mod gelf;
mod host;
mod journald;
mod kafka;
mod push;
mod syslog;

use collector::pipeline::split_names;
use collector::source as sources;
use collector::transform::multiline::{self, Multiline};
use event::IndexName;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::NO_PIPELINE;
use super::findings::Findings;
use super::node::{Node, Place};
use super::suggestion::did_you_mean;

/// One entry under `sources`.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// `type: docker`.
    Docker(sources::docker::Settings),
    /// `type: file`.
    File(sources::file::Settings),
    /// `type: beats`.
    Beats(sources::beats::Settings),
    /// `type: fluent_forward`.
    FluentForward(sources::fluent_forward::Settings),
    /// `type: gelf`.
    Gelf(sources::gelf::Settings),
    /// `type: syslog`.
    Syslog(sources::syslog::Settings),
    /// `type: elastic_bulk`.
    ElasticBulk(sources::elastic_bulk::EntrySettings),
    /// `type: otlp`.
    Otlp(sources::otlp::EntrySettings),
    /// `type: http`.
    Http(sources::http::EntrySettings),
    /// `type: loki_push`.
    LokiPush(sources::loki_push::EntrySettings),
    /// `type: splunk_hec`.
    SplunkHec(sources::splunk_hec::EntrySettings),
    /// `type: journald`.
    Journald(sources::journald::Settings),
    /// `type: host`.
    Host(sources::host::Settings),
    /// `type: kafka`.
    Kafka(sources::kafka::Settings),
}

type Read = fn(&Entry<'_>) -> Option<Source>;

/// The types that are built, each with what reads an entry of it.
const BUILT: [(&str, Read); 14] = [
    ("beats", beats::read),
    ("docker", docker::read),
    ("elastic_bulk", push::read_elastic_bulk),
    ("file", file::read),
    ("fluent_forward", fluent_forward::read),
    ("gelf", gelf::read),
    ("host", host::read),
    ("http", push::read_http),
    ("journald", journald::read),
    ("kafka", kafka::read),
    ("loki_push", push::read_loki_push),
    ("otlp", push::read_otlp),
    ("splunk_hec", push::read_splunk_hec),
    ("syslog", syslog::read),
];

/// Types of the product page whose capability is not there yet.
const NOT_BUILT: [&str; 1] = ["scrape"];

/// What people call a source after the agent they come with, and what it is here.
const AGENTS: [(&str, &str); 8] = [
    (
        "filebeat metricbeat beat lumberjack logstash elastic_agent elastic-agent",
        "beats",
    ),
    (
        "fluentd fluentbit fluent-bit fluent_bit fluent forward",
        "fluent_forward",
    ),
    ("loki promtail alloy", "loki_push"),
    ("splunk hec splunk-hec", "splunk_hec"),
    ("graylog gelf_udp gelf_tcp", "gelf"),
    ("tail log logs filestream", "file"),
    ("journal systemd systemd_journal", "journald"),
    ("elasticsearch elastic opensearch bulk", "elastic_bulk"),
];

impl Source {
    /// The pipeline its events go through.
    pub fn pipeline(&self) -> Option<&str> {
        self.parts().1
    }

    /// The entry as it would be written in the settings file, without `type`; secrets are `***`.
    pub fn to_json(&self) -> Json {
        self.parts().2
    }

    /// The listeners it takes from, by their names in `listen:`.
    pub fn listeners(&self) -> &[String] {
        match self {
            Source::Docker(_)
            | Source::Journald(_)
            | Source::Kafka(_)
            | Source::File(_)
            | Source::Host(_)
            | Source::ElasticBulk(_)
            | Source::Otlp(_)
            | Source::Http(_)
            | Source::LokiPush(_)
            | Source::SplunkHec(_) => &[],
            Source::Beats(beats) => &beats.listen,
            Source::FluentForward(forward) => &forward.listen,
            Source::Gelf(gelf) => &gelf.listen,
            Source::Syslog(syslog) => &syslog.listen,
        }
    }

    /// Its `type`.
    pub fn kind(&self) -> &'static str {
        self.parts().0
    }

    /// What there is only one of, so that there can be only one source of the type; `None` where there can be several.
    pub fn only_one_reads(&self) -> Option<&'static str> {
        match self {
            Source::ElasticBulk(_)
            | Source::Otlp(_)
            | Source::Http(_)
            | Source::LokiPush(_)
            | Source::SplunkHec(_) => Some("be on the listener for HTTP"),
            Source::Host(_) => Some("read the machine"),
            _ => None,
        }
    }

    fn parts(&self) -> (&'static str, Option<&str>, Json) {
        match self {
            Source::Docker(docker) => ("docker", docker.pipeline.as_deref(), json!(docker)),
            Source::File(file) => ("file", file.pipeline.as_deref(), json!(file)),
            Source::Beats(beats) => ("beats", beats.pipeline.as_deref(), json!(beats)),
            Source::FluentForward(forward) => (
                "fluent_forward",
                forward.pipeline.as_deref(),
                json!(forward),
            ),
            Source::Gelf(gelf) => ("gelf", gelf.pipeline.as_deref(), json!(gelf)),
            Source::Syslog(syslog) => ("syslog", syslog.pipeline.as_deref(), json!(syslog)),
            Source::ElasticBulk(bulk) => ("elastic_bulk", bulk.pipeline.as_deref(), json!(bulk)),
            Source::Otlp(otlp) => ("otlp", otlp.pipeline.as_deref(), json!(otlp)),
            Source::Http(http) => ("http", http.pipeline.as_deref(), json!(http)),
            Source::LokiPush(loki) => ("loki_push", loki.pipeline.as_deref(), json!(loki)),
            Source::SplunkHec(hec) => ("splunk_hec", hec.pipeline.as_deref(), json!(hec)),
            Source::Journald(journal) => ("journald", journal.pipeline.as_deref(), json!(journal)),
            Source::Host(host) => ("host", None, json!(host)),
            Source::Kafka(kafka) => ("kafka", kafka.pipeline.as_deref(), json!(kafka)),
        }
    }
}

/// Reads one entry; `None` when it is wrong or not built yet, which `findings` tells.
pub fn read(name: &str, node: &Node, pipelines: &[String], findings: &Findings) -> Option<Source> {
    let key = format!("sources.{name}");
    let Some(kind) = node.entry("type") else {
        let problem = "the key type is missing; write for instance type: file";
        findings.mistake(Some(node.place), &key, problem);
        return None;
    };
    let kind_text = kind.scalar_text().unwrap_or_default();
    if let Some((_, read)) = BUILT.iter().find(|(built, _)| *built == kind_text) {
        return read(&Entry {
            key,
            node,
            pipelines,
            findings,
        });
    }
    if NOT_BUILT.contains(&kind_text.as_str()) {
        findings.notice(format!("{key}: type {kind_text} is not built yet, ignored"));
        return None;
    }
    let of_agent = AGENTS.iter().find(|(agents, _)| {
        let mut agents = agents.split(' ');
        agents.any(|agent| kind_text.eq_ignore_ascii_case(agent))
    });
    let suggestion = match of_agent {
        Some((_, kind)) => format!("; write type: {kind}"),
        None => {
            let known: Vec<&str> = BUILT.iter().map(|(built, _)| *built).collect();
            did_you_mean(&kind_text, &known)
        }
    };
    let problem = format!("unknown type {kind_text:?}{suggestion}");
    findings.mistake(Some(kind.place), &format!("{key}.type"), problem);
    None
}

/// An entry under `sources` while it is read. Each check looks at one setting for itself, so that each tells its own
/// mistake, and answers whether it told one.
struct Entry<'a> {
    /// `sources.nginx`.
    key: String,
    node: &'a Node,
    pipelines: &'a [String],
    findings: &'a Findings,
}

impl Entry<'_> {
    /// The settings of the part that is configured; `None` when they do not fit, which is told.
    fn settings<T: DeserializeOwned>(&self) -> Option<T> {
        match self.node.without("type").read() {
            Ok(settings) => Some(settings),
            Err(misfit) => {
                self.findings
                    .mistake(misfit.place, &self.key, misfit.problem);
                None
            }
        }
    }

    /// Tells a mistake in one setting.
    fn tell(&self, setting: &str, problem: impl Into<String>) {
        let place = self.node.entry(setting).unwrap_or(self.node).place;
        self.tell_at(place, setting, problem);
    }

    /// Tells a mistake in one setting whose place is known better.
    fn tell_at(&self, place: Place, setting: &str, problem: impl Into<String>) {
        self.findings
            .mistake(Some(place), &format!("{}.{setting}", self.key), problem);
    }

    fn tells_wrong_index(&self, index: Option<&str>) -> bool {
        if let Some(index) = index.filter(|index| index.contains("%{")) {
            let problem = format!(
                "index {index:?} is taken as it stands, without fields or dates in it; days are made by themselves"
            );
            self.tell("index", problem);
            return true;
        }
        let Some(Err(error)) = index.map(IndexName::parse) else {
            return false;
        };
        self.tell("index", error.to_string());
        true
    }

    fn tells_unknown_pipeline(&self, pipeline: Option<&str>) -> bool {
        let names: Vec<&str> = pipeline
            .map(|names| split_names(names).collect())
            .unwrap_or_default();
        if names.len() > 1 && names.contains(&NO_PIPELINE) {
            let problem = format!("{NO_PIPELINE} stands alone; take it out of the list");
            self.tell("pipeline", problem);
            return true;
        }
        let is_known = |name: &str| self.pipelines.iter().any(|known| known == name);
        let Some(pipeline) = names.into_iter().find(|name| !is_known(name)) else {
            return false;
        };
        let suggestion = did_you_mean(pipeline, self.pipelines);
        let problem = format!("there is no pipeline {pipeline:?}{suggestion}");
        self.tell("pipeline", problem);
        true
    }

    fn tells_wrong_multiline(&self, multiline: Option<&multiline::Settings>) -> bool {
        let Some(Err(problem)) = multiline.map(Multiline::compile) else {
            return false;
        };
        self.tell("multiline", problem);
        true
    }

    /// Whatever else the source itself finds wrong.
    fn tell_check(&self, check: Result<(), String>) {
        if let Err(problem) = check {
            self.findings
                .mistake(Some(self.node.place), &self.key, problem);
        }
    }
}
