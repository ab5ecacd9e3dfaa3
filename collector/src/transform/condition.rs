//! `when`: which events a step runs for.

use event::Document;
use event::json_text::unquoted;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `when: { field: log.level, equals: [error, fatal] }`. Whoever needs more than one field writes the step `vrl`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The field that is looked at.
    pub field: String,
    /// The value it has, or one of several. Texts and numbers are compared as they are spelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<Value>,
    /// A regular expression that fits somewhere in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matches: Option<String>,
    /// Whether it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
    /// Whether the step runs for all other events.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
}

/// The condition, ready to use.
pub struct Condition {
    field: String,
    test: Test,
    not: bool,
}

enum Test {
    Equals(Vec<String>),
    Matches(regex::Regex),
    Exists(bool),
}

impl Condition {
    /// Checks the settings.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub fn compile(settings: &Settings) -> Result<Condition, String> {
        super::check_field(&settings.field)?;
        let test = match (&settings.equals, &settings.matches, settings.exists) {
            (Some(Value::Array(values)), None, None) => {
                Test::Equals(values.iter().map(spelled).collect())
            }
            (Some(value), None, None) => Test::Equals(vec![spelled(value)]),
            (None, Some(pattern), None) => Test::Matches(
                regex::Regex::new(pattern)
                    .map_err(|error| format!("when.matches {pattern:?}: {error}"))?,
            ),
            (None, None, Some(exists)) => Test::Exists(exists),
            _ => {
                return Err(
                    "when needs one of equals, matches and exists; write for instance when: { field: log.level, equals: error }"
                        .to_owned(),
                );
            }
        };
        Ok(Condition {
            field: settings.field.clone(),
            test,
            not: settings.not,
        })
    }

    /// Whether the step runs for this event. A field that is missing equals and matches nothing.
    pub fn holds(&self, document: &Document) -> bool {
        let json = document.get(&self.field);
        let holds = match &self.test {
            Test::Exists(exists) => json.is_some_and(|json| json != "null") == *exists,
            Test::Equals(values) => json.is_some_and(|json| {
                let text = unquoted(json).unwrap_or(json.into());
                values.iter().any(|value| *value == text)
            }),
            Test::Matches(regex) => json.is_some_and(|json| {
                let text = unquoted(json).unwrap_or(json.into());
                regex.is_match(&text)
            }),
        };
        holds != self.not
    }
}

fn spelled(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(settings: &str, document: &str) -> bool {
        let settings: Settings = serde_json::from_str(settings).unwrap();
        let document = Document::parse(document.as_bytes()).unwrap();
        Condition::compile(&settings).unwrap().holds(&document)
    }

    #[test]
    fn fields_are_compared_as_they_are_spelled() {
        let document = r#"{"log.level":"error","status":500,"a":{"b":"x y"},"none":null}"#;
        for (settings, expected) in [
            (r#"{"field":"log.level","equals":"error"}"#, true),
            (r#"{"field":"log.level","equals":["warn","error"]}"#, true),
            (
                r#"{"field":"log.level","equals":"error","not":true}"#,
                false,
            ),
            (r#"{"field":"status","equals":500}"#, true),
            (r#"{"field":"status","equals":"500"}"#, true),
            (r#"{"field":"status","matches":"^5"}"#, true),
            (r#"{"field":"a.b","matches":"^x y$"}"#, true),
            (r#"{"field":"gone","equals":"x"}"#, false),
            (r#"{"field":"gone","equals":"x","not":true}"#, true),
            (r#"{"field":"gone","exists":false}"#, true),
            (r#"{"field":"none","exists":true}"#, false),
        ] {
            assert_eq!(holds(settings, document), expected, "{settings}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (settings, part) in [
            (r#"{"field":"a"}"#, "when needs one of"),
            (
                r#"{"field":"a","equals":1,"exists":true}"#,
                "when needs one of",
            ),
            (r#"{"field":"a","matches":"("}"#, "when.matches"),
            (r#"{"field":"","exists":true}"#, "empty"),
        ] {
            let settings: Settings = serde_json::from_str(settings).unwrap();
            let problem = Condition::compile(&settings).err().unwrap();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
