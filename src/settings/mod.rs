//! daybook.yaml to a checked value. The only place that reads the settings file and the environment.
//!
//! A missing key means its default; `config/daybook.yaml` shows them all. Every mistake is reported with its
//! line, not only the first one.

mod byte_size;
mod environment;
mod findings;
mod index;
mod listen;
mod node;
mod period;
mod print;
mod section;
mod shipped;
mod source;
mod suggestion;
mod telemetry;
mod yaml;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use collector::pipeline::{self, AUTOMATIC, CompileError, Library};
use collector::source::{docker, file, host, syslog};

pub use byte_size::ByteSize;
pub use findings::Mistake;
pub use index::IndexSettings;
pub use listen::{Listen, Service, Speaker};
pub use node::Place;
pub use period::{parse as parse_period, write as write_period};
pub use print::to_yaml;
pub use source::Source;
pub use telemetry::{LogFormat, OtlpExport, OtlpProtocol, TelemetrySettings};

use findings::Findings;
use node::{Node, Value};
use section::Section;

/// What is read when nobody says otherwise.
const VAR_LOG: [&str; 3] = ["/var/log/*.log", "/var/log/syslog", "/var/log/nginx/*.log"];

/// What a source may name instead of a pipeline of its own: detection, and nothing at all.
pub const NO_PIPELINE: &str = "none";
const RESERVED: [&str; 2] = [AUTOMATIC, NO_PIPELINE];

/// What our own compose file calls our container.
const OWN_CONTAINER: &str = "daybook";

/// Everything an operator can set, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Where everything we keep is kept.
    pub data_dir: PathBuf,
    /// Addresses by what they serve.
    pub listen: Listen,
    /// What the whole process may use.
    pub limits: Limits,
    /// The journal.
    pub journal: JournalSettings,
    /// Sources by name.
    pub sources: BTreeMap<String, Source>,
    /// Pipelines by name.
    pub pipelines: BTreeMap<String, pipeline::Settings>,
    /// Settings of indices by pattern; `default` is for indices no pattern names.
    pub indices: BTreeMap<String, IndexSettings>,
    /// Our own logs and traces.
    pub telemetry: TelemetrySettings,
}

/// What the whole process may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Memory the parts divide among themselves.
    pub memory: ByteSize,
    /// Disk space of the data directory; near it the oldest days are deleted.
    pub disk: ByteSize,
    /// The largest single event.
    pub event: ByteSize,
    /// The largest request, decompressed.
    pub request: ByteSize,
    /// How long a query may run.
    pub query_time: Duration,
    /// How many bytes of documents a query may decompress.
    pub query_decoded: ByteSize,
}

/// The journal. It fsyncs every batch before its sender hears an OK (`fsync: always`, the only choice).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalSettings {
    /// The most it holds before inputs are told to wait.
    pub max_size: ByteSize,
}

/// Settings with what an operator should be told about them.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// One line each: what is accepted and has no effect yet, what is dangerous.
    pub notices: Vec<String>,
    /// Where the tests of each pipeline of the file stand, in their order.
    pub test_places: BTreeMap<String, Vec<Place>>,
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("cannot read the settings file {path}: {source}; check the path behind --config")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is read and wrong.
    #[error("{}", lines(.path, .mistakes))]
    Wrong {
        /// The file.
        path: String,
        /// All of its mistakes, in its order.
        mistakes: Vec<Mistake>,
    },
}

fn lines(path: &str, mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes
        .iter()
        .map(|mistake| match mistake.place {
            Some(_) => format!("{path}:{mistake}"),
            None => format!("{path}: {mistake}"),
        })
        .collect();
    lines.join("\n")
}

impl Default for Settings {
    fn default() -> Settings {
        let var_log = file::Settings::including(VAR_LOG.map(str::to_owned).to_vec());
        let mut docker = docker::Settings::default();
        docker.exclude.containers.push(OWN_CONTAINER.to_owned());
        Settings {
            data_dir: PathBuf::from("/var/lib/daybook"),
            listen: listen::default_listen(),
            limits: Limits {
                memory: ByteSize::gib(1),
                disk: ByteSize::gib(50),
                event: ByteSize::mib(1),
                request: ByteSize::mib(64),
                query_time: Duration::from_secs(30),
                query_decoded: ByteSize::gib(64),
            },
            journal: JournalSettings {
                max_size: ByteSize::gib(4),
            },
            sources: BTreeMap::from([
                ("docker".to_owned(), Source::Docker(docker)),
                ("host".to_owned(), Source::Host(host::Settings::default())),
                (
                    "syslog".to_owned(),
                    Source::Syslog(syslog::Settings::default()),
                ),
                ("var_log".to_owned(), Source::File(var_log)),
            ]),
            pipelines: BTreeMap::new(),
            indices: BTreeMap::from([("default".to_owned(), IndexSettings::default())]),
            telemetry: TelemetrySettings::default(),
        }
    }
}

impl Settings {
    /// Reads a settings file; without one, the defaults.
    ///
    /// # Errors
    /// The file cannot be read, or holds mistakes.
    pub fn load(file: Option<&Path>) -> Result<Loaded, SettingsError> {
        let Some(file) = file else {
            return Ok(Loaded {
                settings: Settings::default(),
                notices: Vec::new(),
                test_places: BTreeMap::new(),
            });
        };
        let path = file.display().to_string();
        let text = fs::read_to_string(file).map_err(|source| SettingsError::Unreadable {
            path: path.clone(),
            source,
        })?;
        // Variables that are not UTF-8 are left out: a settings file cannot name them anyway.
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Settings::parse(&text, &environment.collect())
            .map_err(|mistakes| SettingsError::Wrong { path, mistakes })
    }

    /// Reads the text of a settings file.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn parse(
        text: &str,
        environment: &HashMap<String, String>,
    ) -> Result<Loaded, Vec<Mistake>> {
        let mut root = yaml::parse(text).map_err(|mistake| vec![mistake])?;
        let findings = Findings::default();
        if let Some(root) = &mut root {
            environment::fill_in(root, environment, &findings);
        }
        let mut settings = Settings::default();
        if let Some(section) = root
            .as_ref()
            .and_then(|root| Section::of(root, "", &findings))
        {
            settings.read(section, &findings);
        }
        let (mistakes, notices) = findings.into_parts();
        let test_places = root.as_ref().map(test_places).unwrap_or_default();
        match mistakes.is_empty() {
            true => Ok(Loaded {
                settings,
                notices,
                test_places,
            }),
            false => Err(mistakes),
        }
    }

    /// Every pipeline that can be named: those of the settings and, where they say nothing else, the shipped ones.
    pub fn library(&self) -> Library {
        Library::new(self.all_pipelines())
    }

    /// The settings of all of them.
    pub fn all_pipelines(&self) -> BTreeMap<String, pipeline::Settings> {
        let mut all = shipped::pipelines();
        all.extend(self.pipelines.clone());
        all
    }

    /// The sections in which `new` differs and that only a restart brings into force.
    pub fn restart_needed_for(&self, new: &Settings) -> Vec<&'static str> {
        let sections = [
            ("data_dir", self.data_dir != new.data_dir),
            ("listen", self.listen != new.listen),
            ("limits", self.limits != new.limits),
            ("journal", self.journal != new.journal),
            ("sources", self.sources != new.sources),
            ("pipelines", self.pipelines != new.pipelines),
            (
                "telemetry.log_format",
                self.telemetry.log_format != new.telemetry.log_format,
            ),
            ("telemetry.otlp", self.telemetry.otlp != new.telemetry.otlp),
            ("indices (exact)", self.exact() != new.exact()),
        ];
        sections
            .into_iter()
            .filter_map(|(section, differs)| differs.then_some(section))
            .collect()
    }

    /// The fields that get columns however many different texts they have, by the pattern of their indices; that of
    /// `default` is `*`.
    pub fn exact(&self) -> Vec<(String, Vec<String>)> {
        let pattern = |name: &str| match name {
            "default" => "*".to_owned(),
            name => name.to_owned(),
        };
        let with_exact = self
            .indices
            .iter()
            .filter(|(_, index)| !index.exact.is_empty());
        with_exact
            .map(|(name, index)| (pattern(name), index.exact.clone()))
            .collect()
    }

    fn read(&mut self, mut root: Section<'_>, findings: &Findings) {
        root.scalar("data_dir", &mut self.data_dir, |text| match text {
            "" => Err("is empty; write for instance /var/lib/daybook".to_owned()),
            text => Ok(PathBuf::from(text)),
        });
        if let Some(section) = root.section("listen") {
            listen::read(section, &mut self.listen, findings);
        }
        if let Some(section) = root.section("limits") {
            self.limits.read(section, findings);
        }
        if let Some(section) = root.section("journal") {
            self.journal.read(section, findings);
        }
        if let Some(section) = root.section("pipelines") {
            self.read_pipelines(&section, findings);
        }
        if let Some(section) = root.section("sources") {
            self.read_sources(&section, findings);
        }
        if let Some(section) = root.section("indices") {
            index::read(&section, &mut self.indices, findings);
        }
        if let Some(section) = root.section("telemetry") {
            telemetry::read(section, &mut self.telemetry, findings);
        }
        for later in ["metrics", "rules", "alerting"] {
            if root.node(later).is_some() {
                findings.notice(format!("{later}: not built yet, ignored"));
            }
        }
        self.tell_loose_listeners(findings);
        root.finish();
    }

    /// Whether a source takes from the listener.
    pub fn has_source_at(&self, service: Service) -> bool {
        let mut names = self.sources.values().flat_map(Source::listeners);
        names.any(|name| name == service.name())
    }

    /// Listeners without a source, sources without a listener, and two sources at one.
    fn tell_loose_listeners(&self, findings: &Findings) {
        let default_listen = listen::default_listen();
        for (service, addresses) in &self.listen {
            let is_loose =
                matches!(service.speaker(), Speaker::Source(_)) && !self.has_source_at(*service);
            if is_loose && default_listen.get(service) != Some(addresses) {
                let name = service.name();
                findings.notice(format!(
                    "listen.{name}: no source takes from it, so it stays closed; add {name} to the listen of a source"
                ));
            }
        }
        let mut takers: BTreeMap<&str, &str> = BTreeMap::new();
        for (name, source) in &self.sources {
            let key = format!("sources.{name}.listen");
            for listener in source.listeners() {
                if let Some(other) = takers.insert(listener, name) {
                    let problem = format!("{listener} is taken by sources.{other} already");
                    findings.mistake(None, &key, problem);
                }
            }
            let open = |listener: &String| {
                let mut services = self.listen.keys();
                services.any(|service| service.name() == listener)
            };
            let listeners = source.listeners();
            if !listeners.is_empty() && !listeners.iter().any(open) {
                let listeners = listeners.join(", ");
                findings.notice(format!("{key}: {listeners} is off, so nothing comes in"));
            }
        }
    }

    fn read_pipelines(&mut self, section: &Section<'_>, findings: &Findings) {
        for (name, node) in section.entries() {
            let key = section.path_of(&name.name);
            if RESERVED.contains(&name.name.as_str()) {
                let problem = format!(
                    "{} means something else already; choose another name",
                    name.name
                );
                findings.mistake(Some(name.place), &key, problem);
                continue;
            }
            let Some(settings) = read_pipeline(&key, node, findings) else {
                continue;
            };
            self.pipelines.insert(name.name.clone(), settings);
        }
        // Only now, because one may lead to another that stands below it.
        let mut library = self.library();
        for (name, node) in section.entries() {
            let Err(error) = library.pipeline(&name.name) else {
                continue;
            };
            let key = section.path_of(&name.name);
            let (place, key) = match &error {
                // Of a pipeline this one leads to, the mistake is told there.
                CompileError::Step { pipeline, step, .. } if *pipeline == name.name => (
                    item_place(node, "steps", *step).unwrap_or(node.place),
                    format!("{key}.steps[{step}]"),
                ),
                _ => (node.place, key),
            };
            findings.mistake(Some(place), &key, error.to_string());
        }
    }

    /// A file that has a section `sources` names all of them: the default one is gone.
    fn read_sources(&mut self, section: &Section<'_>, findings: &Findings) {
        let given = shipped::names().chain(RESERVED).map(str::to_owned);
        let pipelines: Vec<String> = self.pipelines.keys().cloned().chain(given).collect();
        self.sources.clear();
        for (name, node) in section.entries() {
            let Some(source) = source::read(&name.name, node, &pipelines, findings) else {
                continue;
            };
            let is_second = self
                .sources
                .values()
                .any(|other| other.kind() == source.kind());
            if let (true, Some(what)) = (is_second, source.only_one_reads()) {
                let problem = format!(
                    "there is a source of type {} already, and only one can {what}",
                    source.kind()
                );
                findings.mistake(Some(name.place), &section.path_of(&name.name), problem);
                continue;
            }
            self.sources.insert(name.name.clone(), source);
        }
    }
}

impl Limits {
    fn read(&mut self, mut section: Section<'_>, findings: &Findings) {
        section.scalar("memory", &mut self.memory, at_least(ByteSize::mib(128)));
        section.scalar("disk", &mut self.disk, at_least(ByteSize::mib(16)));
        section.scalar("event", &mut self.event, at_least(ByteSize(1024)));
        section.scalar("request", &mut self.request, at_least(ByteSize(1024)));
        section.scalar("query_time", &mut self.query_time, positive_period);
        let at_least_a_frame = at_least(ByteSize::mib(1));
        section.scalar("query_decoded", &mut self.query_decoded, at_least_a_frame);
        if self.event > self.request {
            let place = section.node("event").map(|node| node.place);
            let problem = format!(
                "{} is more than limits.request, {}; no such event could be sent",
                self.event, self.request
            );
            findings.mistake(place, &section.path_of("event"), problem);
        }
        section.finish();
    }
}

impl JournalSettings {
    fn read(&mut self, mut section: Section<'_>, findings: &Findings) {
        section.scalar("max_size", &mut self.max_size, at_least(ByteSize::mib(8)));
        section.scalar("fsync", &mut (), |text| match text {
            "always" => Ok(()),
            other => Err(format!(
                "{other:?} would break the promise that accepted means on disk; the only choice is always"
            )),
        });
        // Ignoring it would keep events on one machine that the operator believes to be shared.
        if let Some(node) = section.node("kafka") {
            let problem = "not built yet; take it out, the local journal is used";
            findings.mistake(Some(node.place), &section.path_of("kafka"), problem);
        }
        section.finish();
    }
}

/// Reads one pipeline, each step and test for itself, so that each tells its own mistake.
fn read_pipeline(key: &str, node: &Node, findings: &Findings) -> Option<pipeline::Settings> {
    let mut section = Section::of(node, key, findings)?;
    let mut settings = pipeline::Settings::default();
    let mut is_whole = true;
    if let Some(on_error) = section.node("on_error") {
        match on_error.read() {
            Ok(on_error) => settings.on_error = on_error,
            Err(misfit) => {
                findings.mistake(misfit.place, &format!("{key}.on_error"), misfit.problem);
            }
        }
    }
    for (at, step) in items(&mut section, "steps", findings).iter().enumerate() {
        let step_key = format!("{key}.steps[{}]", at + 1);
        match step.read() {
            Ok(step) => settings.steps.push(step),
            Err(misfit) => {
                findings.mistake(misfit.place, &step_key, misfit.problem);
                is_whole = false;
            }
        }
    }
    for (at, test) in items(&mut section, "tests", findings).iter().enumerate() {
        match test.read() {
            Ok(test) => settings.tests.push(test),
            Err(misfit) => {
                let test_key = format!("{key}.tests[{}]", at + 1);
                findings.mistake(misfit.place, &test_key, misfit.problem);
            }
        }
    }
    section.finish();
    // A pipeline that lacks a step is not compiled; its name stays known to sources all the same.
    if !is_whole {
        settings.steps.clear();
    }
    Some(settings)
}

/// Where the tests of each pipeline stand.
fn test_places(root: &Node) -> BTreeMap<String, Vec<Place>> {
    let Some(Value::Map(pipelines)) = root.entry("pipelines").map(|node| &node.value) else {
        return BTreeMap::new();
    };
    let places = |pipeline: &Node| match pipeline.entry("tests").map(|node| &node.value) {
        Some(Value::List(tests)) => tests.iter().map(|test| test.place).collect(),
        _ => Vec::new(),
    };
    pipelines
        .iter()
        .map(|(name, pipeline)| (name.name.clone(), places(pipeline)))
        .collect()
}

/// Where an item of a list under a key stands; they are counted from 1.
fn item_place(node: &Node, key: &str, number: usize) -> Option<Place> {
    match &node.entry(key)?.value {
        Value::List(nodes) => Some(nodes.get(number.checked_sub(1)?)?.place),
        _ => None,
    }
}

fn items<'a>(section: &mut Section<'a>, key: &'static str, findings: &Findings) -> &'a [Node] {
    match section.node(key) {
        None => &[],
        Some(node) => match &node.value {
            Value::List(nodes) => nodes,
            Value::Null => &[],
            _ => {
                let problem = format!("expected a list, found {}", node.kind());
                findings.mistake(Some(node.place), &section.path_of(key), problem);
                &[]
            }
        },
    }
}

fn at_least(least: ByteSize) -> impl FnOnce(&str) -> Result<ByteSize, String> {
    move |text| match ByteSize::parse(text)? {
        size if size < least => Err(format!("{text} is too small; the least is {least}")),
        size => Ok(size),
    }
}

fn positive_period(text: &str) -> Result<Duration, String> {
    match period::parse(text)? {
        Duration::ZERO => Err("must be more than nothing; write for instance 30s".to_owned()),
        period => Ok(period),
    }
}

#[cfg(test)]
mod tests;
