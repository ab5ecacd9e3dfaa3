//! Examples in the settings: what goes into a pipeline and what must come out.

use std::fmt;

use event::{Document, Timestamp};
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Outcome, Pipeline};

/// When the examples arrive: 2026-11-23T10:00:00Z, so that those with half a date come out alike every day.
const ARRIVED: Timestamp = Timestamp::from_nanos(1_795_428_000_000_000_000);

/// One example: what goes in, and fields that must come out.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TestSettings {
    /// The event before the first step, or its `message` alone. Without an `@timestamp` it arrives on
    /// 2026-11-23T10:00:00Z.
    #[serde(deserialize_with = "event_or_message")]
    pub input: Map<String, Value>,
    /// Fields of the event after the last step, compared as JSON values; `null` also means absent. Names may lead
    /// into objects with dots. Fields not named here may be anything; but a step that fails must be expected, by
    /// naming `error.type` or `error.message`.
    #[serde(default)]
    pub expect: Map<String, Value>,
    /// The reason for which the event must be dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<String>,
    /// The index a `route` must have sent it to; `dead-letter` for one that fails so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
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

impl Pipeline {
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

    fn problems_of(&self, test: &TestSettings) -> Vec<String> {
        let mut document = Document::new();
        if !test.input.contains_key("@timestamp") {
            document.set_str("@timestamp", &ARRIVED.to_rfc3339());
        }
        for (name, value) in &test.input {
            document.set_value(name, value);
        }
        let arrived = document
            .get_str("@timestamp")
            .and_then(|text| Timestamp::parse_iso(&text).ok())
            .unwrap_or(ARRIVED);
        let index = match (self.run(&mut document, arrived), &test.dropped) {
            (Outcome::Dropped { reason }, Some(expected)) if reason == expected => {
                return Vec::new();
            }
            (Outcome::Dropped { reason }, _) => {
                return vec![format!("the event was dropped ({reason})")];
            }
            (_, Some(expected)) => {
                return vec![format!(
                    "the event was kept, expected it to be dropped ({expected})"
                )];
            }
            (Outcome::Kept { index }, None) => {
                self.tidy(&mut document);
                index.map(|index| index.to_string())
            }
            (Outcome::Dead(failure), None) => {
                failure.mark(&mut document);
                Some(super::dead_letter::INDEX.to_owned())
            }
        };
        let mut problems = Vec::new();
        if test.index != index {
            let told =
                |index: &Option<String>| index.clone().unwrap_or("the source's own".to_owned());
            let (expected, found) = (told(&test.index), told(&index));
            problems.push(format!("index: expected {expected}, found {found}"));
        }
        for (field, expected) in &test.expect {
            let found = document
                .get(field)
                .and_then(|value| serde_json::from_str::<Value>(value).ok())
                .unwrap_or(Value::Null);
            if !is_same_value(&found, expected) {
                problems.push(format!("field {field}: expected {expected}, found {found}"));
            }
        }
        let is_failure_expected = ["error.type", "error.message"]
            .iter()
            .any(|name| test.expect.get(*name).is_some_and(|value| !value.is_null()));
        if let (false, Some(failure)) = (is_failure_expected, document.get_str("error.message")) {
            problems.push(failure.into_owned());
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

fn event_or_message<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Map<String, Value>, D::Error> {
    deserializer.deserialize_any(InputVisitor)
}

struct InputVisitor;

impl<'de> Visitor<'de> for InputVisitor {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event, or the text of its message")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Map<String, Value>, E> {
        Ok(Map::from_iter([(
            "message".to_owned(),
            Value::String(text.to_owned()),
        )]))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Map<String, Value>, A::Error> {
        Map::deserialize(de::value::MapAccessDeserializer::new(map))
    }
}
