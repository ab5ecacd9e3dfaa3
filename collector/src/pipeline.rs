//! The steps between a source and the journal: what happens to one event's document before it is appended.
//!
//! A step that fails on an event never loses it: the event goes on as it was, says so in `error.message` and
//! `error.type`, and is counted by pipeline, step and reason.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use event::{Document, Event, IndexName, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::transform::{StepSettings, Transform, TransformError, Verdict};

/// One entry under `pipelines:` in the settings file.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The steps, in the order they run.
    #[serde(default)]
    pub steps: Vec<StepSettings>,
    /// Examples that `daybook config check` runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<TestSettings>,
}

/// One example: what goes in, and fields that must come out.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TestSettings {
    /// The event before the first step.
    pub input: Map<String, Value>,
    /// Fields of the event after the last step, compared as JSON values; `null` also means absent. Names may lead
    /// into objects with dots. Fields not named here may be anything.
    pub expect: Map<String, Value>,
}

/// A pipeline, ready to run. Shared by every source that names it.
pub struct Pipeline {
    name: Arc<str>,
    steps: Vec<Step>,
    // A short lock, once per failed event.
    failures: Mutex<BTreeMap<(usize, &'static str), u64>>,
}

struct Step {
    kind: &'static str,
    transform: Box<dyn Transform>,
}

/// A step whose settings cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pipeline {pipeline}, step {step} ({kind}): {problem}")]
pub struct CompileError {
    /// The pipeline's name.
    pub pipeline: String,
    /// The step's number, from 1.
    pub step: usize,
    /// The step's name: `grok`.
    pub kind: &'static str,
    /// What is wrong and what would be right.
    pub problem: String,
}

/// An example that came out otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pipeline {pipeline}, test {test}: {problem}")]
pub struct TestFailure {
    /// The pipeline's name.
    pub pipeline: String,
    /// The test's number, from 1.
    pub test: usize,
    /// The field, what was expected and what came.
    pub problem: String,
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

impl Pipeline {
    /// Makes every step ready to run.
    ///
    /// # Errors
    /// The first step that cannot work, with its number.
    pub fn compile(name: &str, settings: &Settings) -> Result<Pipeline, CompileError> {
        let mut steps = Vec::with_capacity(settings.steps.len());
        for (at, step) in settings.steps.iter().enumerate() {
            let transform = step.compile().map_err(|problem| CompileError {
                pipeline: name.to_owned(),
                step: at + 1,
                kind: step.kind(),
                problem,
            })?;
            steps.push(Step {
                kind: step.kind(),
                transform,
            });
        }
        Ok(Pipeline {
            name: Arc::from(name),
            steps,
            failures: Mutex::default(),
        })
    }

    /// The name from the settings.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Runs the steps in order until one drops the event.
    pub fn run(&self, document: &mut Document) -> Verdict {
        for (at, step) in self.steps.iter().enumerate() {
            match step.transform.apply(document) {
                Ok(Verdict::Keep) => {}
                Ok(dropped) => return dropped,
                Err(error) => self.note_failure(at + 1, step.kind, &error, document),
            }
        }
        Verdict::Keep
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
        mut document: Document,
        index: &IndexName,
        arrived: Timestamp,
    ) -> Result<Event, &'static str> {
        if let Verdict::Drop { reason } = self.run(&mut document) {
            return Err(reason);
        }
        let timestamp = self.timestamp_of(&mut document, arrived);
        Ok(Event::create(index.clone(), timestamp, document.to_bytes()))
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

    /// Runs the examples of the settings and answers every one that comes out otherwise.
    pub fn run_tests(&self, tests: &[TestSettings]) -> Vec<TestFailure> {
        let problems = tests.iter().enumerate().flat_map(|(at, test)| {
            let problems = self.problems_of(test);
            problems.into_iter().map(move |problem| (at + 1, problem))
        });
        problems
            .map(|(test, problem)| TestFailure {
                pipeline: self.name.to_string(),
                test,
                problem,
            })
            .collect()
    }

    fn timestamp_of(&self, document: &mut Document, arrived: Timestamp) -> Timestamp {
        let text = match document.get("@timestamp") {
            Some(value) if !value.get().starts_with('"') => Some(value.get().to_owned()),
            Some(_) => document.get_str("@timestamp"),
            None => None,
        };
        let Some(text) = text else {
            document.set_str("@timestamp", &arrived.to_rfc3339());
            return arrived;
        };
        Timestamp::parse_lenient(&text).unwrap_or_else(|error| {
            let error = TransformError {
                reason: "timestamp_unreadable",
                message: format!("@timestamp is {error}"),
            };
            self.note_failure(0, "timestamp", &error, document);
            arrived
        })
    }

    fn note_failure(
        &self,
        step: usize,
        kind: &'static str,
        error: &TransformError,
        document: &mut Document,
    ) {
        let mut failures = self.failures.lock().expect("no holder of this lock panics");
        *failures.entry((step, error.reason)).or_default() += 1;
        drop(failures);
        // The first failure is the cause of those behind it, and a sender's own error is worth more than ours.
        if document.get("error.message").is_none() {
            let text = format!("pipeline {}, step {step} ({kind}): {error}", self.name);
            document.set_str("error.message", &text);
            document.set_str("error.type", error.reason);
        }
    }

    fn problems_of(&self, test: &TestSettings) -> Vec<String> {
        let mut document = Document::new();
        for (name, value) in &test.input {
            document.set_value(name, value);
        }
        if let Verdict::Drop { reason } = self.run(&mut document) {
            return vec![format!("the event was dropped ({reason})")];
        }
        let wrong = test.expect.iter().filter_map(|(field, expected)| {
            let found = document
                .get(field)
                .and_then(|value| serde_json::from_str::<Value>(value.get()).ok())
                .unwrap_or(Value::Null);
            (!is_same_value(&found, expected))
                .then(|| format!("field {field}: expected {expected}, found {found}"))
        });
        let mut problems: Vec<String> = wrong.collect();
        let failure = document.get_str("error.message");
        if let (false, Some(failure)) = (problems.is_empty(), failure) {
            problems.push(failure);
        }
        problems
    }
}

/// Equal as JSON values; 1 and 1.0 are the same number.
fn is_same_value(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => found == expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline(settings: &str) -> (Pipeline, Settings) {
        let settings: Settings = serde_json::from_str(settings).unwrap();
        (Pipeline::compile("web", &settings).unwrap(), settings)
    }

    fn event_of(pipeline: &Pipeline, document: &str) -> (Event, Document) {
        let document = Document::parse(document.as_bytes()).unwrap();
        let arrived = Timestamp::parse_iso("2026-11-23T10:00:00Z").unwrap();
        let event = pipeline
            .event(document, &IndexName::default_index(), arrived)
            .unwrap();
        let source = Document::parse(&event.source).unwrap();
        (event, source)
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
}
