//! The steps between a source and the journal: what happens to one event's document before it is appended.
//!
//! A step that fails on an event never loses it: the event goes on as it was, says so in `error.message` and
//! `error.type`, and is counted by pipeline, step and reason; or it becomes a [`dead_letter`], when the settings want
//! that.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use event::{Document, Event, IndexName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::level;
use crate::transform::condition::Condition;
use crate::transform::date;
use crate::transform::redact::{self, Redact};
use crate::transform::step::{OnError, StepSettings, TransformSettings};
use crate::transform::{Lookup, Transform, TransformError, Verdict, detect};

pub mod dead_letter;
mod examples;
mod library;

pub use examples::{TestFailure, TestSettings};
pub use library::{Library, names, split_names};

/// The name of the pipeline of events nobody configured one for.
pub const AUTOMATIC: &str = "auto";

/// One entry under `pipelines:` in the settings file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What becomes of events a step fails on, unless the step says otherwise.
    #[serde(default, skip_serializing_if = "is_keep")]
    pub on_error: OnError,
    /// The steps, in the order they run.
    #[serde(default)]
    pub steps: Vec<StepSettings>,
    /// Examples that `daybook config check` runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<TestSettings>,
}

impl Settings {
    /// The same as they are on a machine whose zone is UTC: examples come out alike everywhere.
    pub fn in_utc(mut self) -> Settings {
        for step in &mut self.steps {
            if let TransformSettings::Date(date) = &mut step.transform
                && date.timezone == date::LOCAL
            {
                date.timezone = "UTC".to_owned();
            }
        }
        self
    }
}

/// A pipeline, ready to run. Shared by every source that names it.
pub struct Pipeline {
    name: Arc<str>,
    steps: Vec<Step>,
    /// What is hidden from dead letters: all that a `redact` of this pipeline, or of one it leads to, looks for.
    redactions: Vec<Arc<Redact>>,
    /// Whether an event may become a dead letter, here or where it is sent on to.
    has_dead_letters: bool,
    /// Whether what a sender wrote stays as it is, its level among it.
    only_adds: bool,
    dead_letters: AtomicU64,
    // A short lock, once per failed event.
    failures: Mutex<BTreeMap<(usize, &'static str), u64>>,
}

struct Step {
    kind: &'static str,
    transform: Box<dyn Transform>,
    when: Option<Condition>,
    on_error: OnError,
}

/// Why there is no pipeline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// A step's settings cannot work.
    #[error("pipeline {pipeline}, step {step} ({kind}): {problem}")]
    Step {
        /// The pipeline's name.
        pipeline: String,
        /// The step's number, from 1.
        step: usize,
        /// The step's name: `grok`.
        kind: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// Nobody defined it.
    #[error("there is no pipeline {name:?}")]
    Unknown {
        /// The name as written.
        name: String,
    },
    /// It leads back to itself.
    #[error("pipeline {name} leads back to itself")]
    Cycle {
        /// Its name.
        name: String,
    },
}

/// How often one step failed for one reason since the process started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepFailures {
    /// The step's number, from 1; 0 stands for the time read from `@timestamp` behind the last step.
    pub step: usize,
    /// The step's name; `timestamp` for number 0.
    pub kind: &'static str,
    /// Short and stable: `grok_no_match`.
    pub reason: &'static str,
    /// Events the step could not work on. They were kept.
    pub events: u64,
}

/// What the steps made of an event.
enum Outcome {
    /// It is stored, in another index where one is named.
    Kept { index: Option<IndexName> },
    /// It is not stored.
    Dropped { reason: &'static str },
    /// It is stored as it was before the pipeline.
    Dead(Failure),
}

/// A step's failure and where it happened.
struct Failure {
    pipeline: Arc<str>,
    step: usize,
    kind: &'static str,
    error: TransformError,
}

impl Pipeline {
    /// Makes every step ready to run. A `route` of it can name no pipeline; [`Library`] is for those that do.
    ///
    /// # Errors
    /// The first step that cannot work, with its number.
    pub fn compile(name: &str, settings: &Settings) -> Result<Pipeline, CompileError> {
        Pipeline::compile_among(name, settings, &mut |name| {
            Err(format!("no pipeline is named {name}"))
        })
    }

    /// Makes every step ready to run; `pipelines` answers those it leads to.
    ///
    /// # Errors
    /// The first step that cannot work, with its number.
    fn compile_among(
        name: &str,
        settings: &Settings,
        pipelines: &mut Lookup<'_>,
    ) -> Result<Pipeline, CompileError> {
        let mut pipeline = Pipeline {
            name: Arc::from(name),
            steps: Vec::with_capacity(settings.steps.len()),
            redactions: Vec::new(),
            has_dead_letters: false,
            only_adds: settings.steps.is_empty(),
            dead_letters: AtomicU64::new(0),
            failures: Mutex::default(),
        };
        for (at, step) in settings.steps.iter().enumerate() {
            let kind = step.transform.kind();
            let compiled = pipeline.add_step(step, settings.on_error, pipelines);
            compiled.map_err(|problem| CompileError::Step {
                pipeline: name.to_owned(),
                step: at + 1,
                kind,
                problem,
            })?;
        }
        Ok(pipeline)
    }

    /// The pipeline of events nobody configured one for: the step [`detect`] alone.
    pub fn automatic() -> Pipeline {
        let detect = detect::Detect::compile(&detect::Settings::default());
        Pipeline::adding(Box::new(detect))
    }

    /// The same for events that are objects already and need a level only.
    pub fn automatic_for_objects() -> Pipeline {
        Pipeline::adding(Box::new(detect::DetectLevel))
    }

    fn adding(transform: Box<dyn Transform>) -> Pipeline {
        Pipeline {
            name: Arc::from(AUTOMATIC),
            steps: vec![Step {
                kind: "detect",
                transform,
                when: None,
                on_error: OnError::Keep,
            }],
            redactions: Vec::new(),
            has_dead_letters: false,
            only_adds: true,
            dead_letters: AtomicU64::new(0),
            failures: Mutex::default(),
        }
    }

    /// The name from the settings.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Runs the steps and makes the event of what comes out.
    ///
    /// Its time is the document's `@timestamp`; where that is missing it becomes `arrived`, and where it is no time
    /// the text stays and the event is filed under `arrived`.
    ///
    /// # Errors
    /// A step dropped the event; the reason is for the ledger.
    pub fn event(
        &self,
        document: &mut Document,
        index: &IndexName,
        arrived: Timestamp,
    ) -> Result<Event, &'static str> {
        let mut source = Vec::new();
        let (index, timestamp) = self.write(document, index, arrived, &mut source)?;
        Ok(Event::create(index, timestamp, Bytes::from(source)))
    }

    /// As [`Pipeline::event`], with the event's text appended to `out`: many events share one piece of memory.
    /// Answers its index and its time.
    ///
    /// # Errors
    /// A step dropped the event; nothing was appended.
    pub fn write(
        &self,
        document: &mut Document,
        index: &IndexName,
        arrived: Timestamp,
        out: &mut Vec<u8>,
    ) -> Result<(IndexName, Timestamp), &'static str> {
        let original = self.has_dead_letters.then(|| document.to_bytes());
        let index = match self.run(document, arrived) {
            Outcome::Kept { index: None } => index.clone(),
            Outcome::Kept { index: Some(index) } => index,
            Outcome::Dropped { reason } => return Err(reason),
            Outcome::Dead(failure) => {
                self.dead_letters.fetch_add(1, Ordering::Relaxed);
                let original = original.unwrap_or_else(|| document.to_bytes());
                let letter = self.dead_letter(&failure, &original, index, arrived);
                out.extend_from_slice(&letter.source);
                return Ok((letter.index, letter.timestamp));
            }
        };
        let timestamp = self.timestamp_of(document, arrived);
        self.tidy(document);
        document.write_to(out);
        Ok((index, timestamp))
    }

    /// Events that became dead letters so far, for the metrics.
    pub fn dead_letters(&self) -> u64 {
        self.dead_letters.load(Ordering::Relaxed)
    }

    /// What failed so far, for the metrics.
    pub fn failures(&self) -> Vec<StepFailures> {
        let failures = self.failures.lock().expect("no holder of this lock panics");
        let rows = failures
            .iter()
            .map(|((step, reason), events)| StepFailures {
                step: *step,
                kind: match step.checked_sub(1) {
                    Some(at) => self.steps[at].kind,
                    None => "timestamp",
                },
                reason,
                events: *events,
            });
        rows.collect()
    }

    fn add_step(
        &mut self,
        settings: &StepSettings,
        on_error: OnError,
        pipelines: &mut Lookup<'_>,
    ) -> Result<(), String> {
        let (redactions, has_dead_letters) = (&mut self.redactions, &mut self.has_dead_letters);
        let mut lookup = |name: &str| {
            let target = pipelines(name)?;
            redactions.extend(target.redactions.iter().cloned());
            *has_dead_letters |= target.has_dead_letters;
            Ok(target)
        };
        let transform = settings.transform.compile(&mut lookup)?;
        if let TransformSettings::Redact(settings) = &settings.transform {
            // A field that is hidden after it was cut out of the line stands in the line, too.
            let everywhere = redact::Settings {
                fields: vec!["*".to_owned()],
                ..settings.clone()
            };
            self.redactions
                .push(Arc::new(Redact::compile(&everywhere)?));
        }
        let on_error = settings.on_error.unwrap_or(on_error);
        self.has_dead_letters |= on_error == OnError::DeadLetter;
        self.steps.push(Step {
            kind: settings.transform.kind(),
            transform,
            when: settings.when.as_ref().map(Condition::compile).transpose()?,
            on_error,
        });
        Ok(())
    }

    /// Runs the steps in order until one drops the event or sends it elsewhere.
    fn run(&self, document: &mut Document, arrived: Timestamp) -> Outcome {
        let mut index = None;
        for (at, step) in self.steps.iter().enumerate() {
            if step.when.as_ref().is_some_and(|when| !when.holds(document)) {
                continue;
            }
            match step.transform.apply(document, arrived) {
                Ok(Verdict::Keep) => {}
                Ok(Verdict::Drop { reason }) => return Outcome::Dropped { reason },
                Ok(Verdict::Route(target)) => {
                    index = target.index.clone().or(index);
                    if let Some(pipeline) = &target.pipeline {
                        return match pipeline.run(document, arrived) {
                            Outcome::Kept { index: None } => Outcome::Kept { index },
                            other => other,
                        };
                    }
                }
                Err(error) => {
                    self.count_failure(at + 1, error.reason);
                    let failure = Failure {
                        pipeline: Arc::clone(&self.name),
                        step: at + 1,
                        kind: step.kind,
                        error,
                    };
                    if step.on_error == OnError::DeadLetter {
                        return Outcome::Dead(failure);
                    }
                    failure.mark(document);
                }
            }
        }
        Outcome::Kept { index }
    }

    fn timestamp_of(&self, document: &mut Document, arrived: Timestamp) -> Timestamp {
        let text = document
            .get_str("@timestamp")
            .or_else(|| document.get("@timestamp").map(Cow::Borrowed));
        let Some(text) = text else {
            document.set_str("@timestamp", &arrived.to_rfc3339());
            return arrived;
        };
        match Timestamp::parse_lenient(&text) {
            Ok(timestamp) => timestamp,
            Err(error) => {
                let error = TransformError {
                    reason: "timestamp_unreadable",
                    message: format!("@timestamp is {error}"),
                };
                self.count_failure(0, error.reason);
                let failure = Failure {
                    pipeline: Arc::clone(&self.name),
                    step: 0,
                    kind: "timestamp",
                    error,
                };
                failure.mark(document);
                arrived
            }
        }
    }

    /// What all events have in common that a pipeline changed.
    fn tidy(&self, document: &mut Document) {
        if !self.only_adds {
            normalise_level(document);
        }
    }

    fn count_failure(&self, step: usize, reason: &'static str) {
        let mut failures = self.failures.lock().expect("no holder of this lock panics");
        *failures.entry((step, reason)).or_default() += 1;
    }
}

impl Failure {
    /// Says in the event what failed. The first failure is the cause of those behind it, and a sender's own error is
    /// worth more than ours.
    fn mark(&self, document: &mut Document) {
        if !document.has("error.message") {
            document.set_str("error.message", &self.text());
            document.set_str("error.type", self.error.reason);
        }
    }

    fn text(&self) -> String {
        format!(
            "pipeline {}, step {} ({}): {}",
            self.pipeline, self.step, self.kind, self.error
        )
    }
}

/// `log.level` is in lower case and in our words, whatever a step took it from: `WARNING`, or `{"log":{"level":"WARN"}}`
/// within an object. What is no level stays.
fn normalise_level(document: &mut Document) {
    let Some(text) = document.get_str("log.level") else {
        return;
    };
    let Some(known) = level::named(&text).filter(|known| *known != text) else {
        return;
    };
    // A nested one moves out of its object, which must not keep it.
    let is_own = document.fields().any(|(name, _)| name == "log.level");
    if !is_own {
        document.remove_path("log.level");
    }
    document.set_str("log.level", known);
}

fn is_keep(on_error: &OnError) -> bool {
    *on_error == OnError::Keep
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(settings: &str) -> (Pipeline, Settings) {
        let settings: Settings = serde_json::from_str(settings).unwrap();
        (Pipeline::compile("web", &settings).unwrap(), settings)
    }

    fn event_of(pipeline: &Pipeline, document: &str) -> (Event, Document) {
        let mut document = Document::parse(document.as_bytes()).unwrap();
        let arrived = Timestamp::parse_iso("2026-11-23T10:00:00Z").unwrap();
        let event = pipeline
            .event(&mut document, &IndexName::default_index(), arrived)
            .unwrap();
        let source = Document::parse(&event.source).unwrap();
        (event, source)
    }

    #[test]
    fn a_level_is_in_our_words_whatever_step_it_came_from() {
        let (pipeline, _) = pipeline(
            r#"{"steps":[{"grok":{"pattern":"^%{LOGLEVEL:log.level} "},"when":{"field":"message","exists":true}}]}"#,
        );
        for (document, expected) in [
            (r#"{"message":"WARNING x"}"#, r#""warn""#),
            (r#"{"log":{"level":"ERROR","logger":"a"}}"#, r#""error""#),
            (r#"{"log.level":"loud"}"#, r#""loud""#),
            (r#"{"log.level":3}"#, "3"),
        ] {
            let (_, source) = event_of(&pipeline, document);
            assert_eq!(source.get("log.level"), Some(expected), "{document}");
            let names = source.fields().filter(|(name, _)| *name == "log.level");
            assert_eq!(names.count(), 1, "{document}");
        }
        let (_, source) = event_of(&Pipeline::automatic(), r#"{"log":{"level":"ERROR"}}"#);
        assert_eq!(
            source.get("log"),
            Some(r#"{"level":"ERROR"}"#),
            "the sender's own"
        );
    }

    #[test]
    fn objects_without_a_pipeline_get_their_level() {
        let pipeline = Pipeline::automatic_for_objects();
        for (document, expected) in [
            (r#"{"level":"WARNING","msg":"x"}"#, Some("warn")),
            (r#"{"level":50}"#, Some("error")),
            (r#"{"message":"an error: x"}"#, Some("error")),
            (r#"{"log.level":"info","level":"error"}"#, Some("info")),
            (r#"{"log":{"level":"INFO"},"level":"error"}"#, Some("INFO")),
            (r#"{"a":1,"message":"{"}"#, None),
        ] {
            let (_, source) = event_of(&pipeline, document);
            assert_eq!(
                source.get_str("log.level").as_deref(),
                expected,
                "{document}"
            );
        }
    }

    #[test]
    fn the_event_takes_its_time_from_what_the_steps_found() {
        let (pipeline, _) = pipeline(r#"{"steps":[{"json":{"field":"message"}}]}"#);
        let cases = [
            (
                r#"{"message":"{\"@timestamp\":\"2026-11-22T01:02:03Z\"}"}"#,
                "2026-11-22T01:02:03.000Z",
            ),
            (
                r#"{"message":"{\"@timestamp\":1795428000123}"}"#,
                "2026-11-23T10:00:00.123Z",
            ),
            (r#"{"message":"{\"a\":1}"}"#, "2026-11-23T10:00:00.000Z"),
            (
                r#"{"message":"{\"@timestamp\":\"soon\"}"}"#,
                "2026-11-23T10:00:00.000Z",
            ),
        ];
        for (document, expected) in cases {
            let (event, source) = event_of(&pipeline, document);
            assert_eq!(event.timestamp.to_rfc3339(), expected, "{document}");
            assert!(source.get("@timestamp").is_some());
        }
        let failures = pipeline.failures();
        assert_eq!(
            (
                failures.len(),
                failures[0].kind,
                failures[0].reason,
                failures[0].events
            ),
            (1, "timestamp", "timestamp_unreadable", 1)
        );
    }

    #[test]
    fn a_step_that_fails_keeps_the_event_and_is_counted() {
        let (pipeline, _) = pipeline(
            r#"{"steps":[{"grok":{"pattern":"%{IP:client}"}},{"json":{"field":"message"}}]}"#,
        );
        let (_, source) = event_of(&pipeline, r#"{"message":"hello"}"#);
        assert_eq!(source.get_str("message").as_deref(), Some("hello"));
        assert_eq!(
            source.get_str("error.type").as_deref(),
            Some("grok_no_match")
        );
        let message = source.get_str("error.message").unwrap();
        assert!(
            message.starts_with("pipeline web, step 1 (grok): "),
            "{message}"
        );
        let counted: Vec<_> = pipeline
            .failures()
            .iter()
            .map(|row| (row.step, row.reason, row.events))
            .collect();
        assert_eq!(counted, [(1, "grok_no_match", 1), (2, "json_malformed", 1)]);
    }

    #[test]
    fn a_mistake_names_pipeline_step_and_pattern() {
        let settings: Settings =
            serde_json::from_str(r#"{"steps":[{"json":{}},{"grok":{"pattern":"%{NOPE:x}"}}]}"#)
                .unwrap();
        let error = Pipeline::compile("web", &settings)
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.starts_with("pipeline web, step 2 (grok): "),
            "{error}"
        );
        assert!(error.contains("NOPE"), "{error}");
        let unknown = serde_json::from_str::<Settings>(r#"{"steps":[{"gork":{}}]}"#);
        assert!(
            unknown
                .unwrap_err()
                .to_string()
                .contains("expected one of `json`, `grok`")
        );
    }

    #[test]
    fn the_examples_of_the_settings_are_run() {
        let (pipeline, settings) = pipeline(
            r#"{"steps":[{"grok":{"pattern":"%{WORD:verb} %{INT:status:int}"}}],
                "tests":[
                  {"input":{"message":"GET 200"},"expect":{"status":200.0,"verb":"GET","error.message":null}},
                  {"input":{"message":"GET 200"},"expect":{"status":"200"}},
                  {"input":{"message":"?"},"expect":{"verb":"GET"}}]}"#,
        );
        let failures: Vec<String> = pipeline
            .run_tests(&settings.tests)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            failures[0],
            r#"pipeline web, test 2: field status: expected "200", found 200"#
        );
        assert_eq!(
            failures[1],
            r#"pipeline web, test 3: field verb: expected "GET", found null"#
        );
        assert!(failures[2].contains("no pattern fits"), "{}", failures[2]);
    }

    #[test]
    fn steps_run_for_the_events_they_are_meant_for() {
        let (pipeline, _) = pipeline(
            r#"{"steps":[
                {"drop":{},"when":{"field":"path","equals":"/health"}},
                {"route":{"index":"errors"},"when":{"field":"status","matches":"^5"}},
                {"add":{"seen":true}}]}"#,
        );
        let (event, source) = event_of(&pipeline, r#"{"status":503}"#);
        assert_eq!(
            (event.index.as_str(), source.get("seen")),
            ("errors", Some("true"))
        );
        let (event, _) = event_of(&pipeline, r#"{"status":200}"#);
        assert_eq!(event.index.as_str(), "logs");
        let mut health = Document::parse(br#"{"path":"/health"}"#).unwrap();
        let dropped = pipeline.event(&mut health, &IndexName::default_index(), Timestamp::MIN);
        assert_eq!(dropped, Err("dropped_by_pipeline"));
    }

    #[test]
    fn an_event_nobody_configured_keeps_its_line_and_gets_its_level() {
        let (_, source) = event_of(
            &Pipeline::automatic(),
            r#"{"message":"{\"level\":\"WARN\",\"n\":1.50}"}"#,
        );
        assert_eq!(
            source.get_str("message").unwrap(),
            r#"{"level":"WARN","n":1.50}"#
        );
        assert_eq!(
            (source.get_str("log.level").as_deref(), source.get("n")),
            (Some("warn"), Some("1.50"))
        );
    }
}
