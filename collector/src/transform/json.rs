//! Reads a field that holds a JSON object into fields of its own.
//!
//! Values are moved as text: numbers keep their spelling, nested objects their shape, duplicates stay.

use event::{Document, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Transform, TransformError, Verdict, message_field, text_of, yes};

/// `json: { field: message }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The field that holds the object's text.
    #[serde(default = "message_field")]
    pub field: String,
    /// Where the object goes as a whole; without it, its fields become fields of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whether the object's fields win over fields the event has already, `@timestamp` and `message` among them.
    #[serde(default = "yes")]
    pub overwrite: bool,
    /// Whether the field is removed once it is read (unless the object brought one of the same name).
    #[serde(default)]
    pub remove: bool,
}

/// Objects nested deeper stay in the line: clients read answers with parsers that give up at some hundred levels, and one
/// line may not make an answer unreadable.
const DEPTH_MAX: usize = 64;

/// Whether a JSON text is nested deeper than events may be. One pass over few bytes where it is not.
pub fn is_too_deep(text: &str) -> bool {
    let opened = memchr::memchr2_iter(b'{', b'[', text.as_bytes());
    if opened.take(DEPTH_MAX + 1).count() <= DEPTH_MAX {
        return false;
    }
    let (mut depth, mut is_string, mut is_escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_string,
            b'"' => is_string = !is_string,
            b'{' | b'[' if !is_string => depth += 1,
            b'}' | b']' if !is_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

/// The step, ready to run.
pub struct Json {
    settings: Settings,
}

impl Json {
    /// Checks the settings.
    ///
    /// # Errors
    /// A field name is empty.
    pub fn compile(settings: &Settings) -> Result<Json, String> {
        if settings.field.is_empty() || settings.target.as_deref() == Some("") {
            return Err("a field name is empty; write for instance field: message".to_owned());
        }
        Ok(Json {
            settings: settings.clone(),
        })
    }

    fn set_whole(&self, target: &str, text: &str, document: &mut Document) -> Result<(), String> {
        if !text.trim_start().starts_with('{') {
            return Err("not a JSON object".to_owned());
        }
        let value: &RawValue = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if self.settings.overwrite || document.get(target).is_none() {
            document.set(target, value);
        }
        if self.settings.remove && self.settings.field != target {
            document.remove(&self.settings.field);
        }
        Ok(())
    }

    fn spread(&self, text: &str, document: &mut Document) -> Result<(), String> {
        let own_count = document
            .append_object(text.as_bytes())
            .map_err(|error| error.to_string())?;
        let Settings {
            field, overwrite, ..
        } = &self.settings;
        let brings_own = document
            .fields_from(own_count)
            .any(|(name, _)| name == field);
        let is_removed = self.settings.remove && !(brings_own && *overwrite);
        document.merge_appended(own_count, is_removed.then_some(field), *overwrite);
        Ok(())
    }
}

impl Transform for Json {
    fn apply(&self, document: &mut Document, _: Timestamp) -> Result<Verdict, TransformError> {
        let text = text_of(document, &self.settings.field)?;
        // A byte order mark, as programs on Windows write it.
        let text = text.trim_start_matches('\u{feff}');
        if is_too_deep(text) {
            return Err(TransformError {
                reason: "json_too_deep",
                message: format!(
                    "field {}: nested deeper than {DEPTH_MAX} levels",
                    self.settings.field
                ),
            });
        }
        let outcome = match &self.settings.target {
            Some(target) => self.set_whole(target, text, document),
            None => self.spread(text, document),
        };
        match outcome {
            Ok(()) => Ok(Verdict::Keep),
            Err(problem) => Err(TransformError {
                reason: "json_malformed",
                message: format!("field {}: {problem}", self.settings.field),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(settings: &str, document: &str) -> (Result<Verdict, TransformError>, String) {
        let settings: Settings = serde_json::from_str(settings).unwrap();
        let mut document = Document::parse(document.as_bytes()).unwrap();
        let outcome = Json::compile(&settings)
            .unwrap()
            .apply(&mut document, Timestamp::MIN);
        let text = String::from_utf8(document.to_bytes().to_vec()).unwrap();
        (outcome, text)
    }

    #[test]
    fn fields_come_out_as_they_were_spelled() {
        let (outcome, text) = run(
            "{}",
            r#"{"@timestamp":"t0","message":"{\"@timestamp\":\"t1\",\"n\":0.470,\"big\":12345678901234567890123,\"o\":{\"a\": [1]}}"}"#,
        );
        assert!(outcome.is_ok());
        assert_eq!(
            text,
            r#"{"@timestamp":"t1","message":"{\"@timestamp\":\"t1\",\"n\":0.470,\"big\":12345678901234567890123,\"o\":{\"a\": [1]}}","n":0.470,"big":12345678901234567890123,"o":{"a": [1]}}"#
        );
    }

    #[test]
    fn what_is_nested_too_deep_stays_in_the_line() {
        let nested =
            |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(!is_too_deep(&nested(63)));
        assert!(is_too_deep(&nested(64)));
        assert!(!is_too_deep(&format!("{{\"a\":\"{}\"}}", "[".repeat(100))));
        assert!(!is_too_deep(&format!("[{}]", vec!["{}"; 100].join(","))));
        let mut document = Document::new();
        document.set_str("message", &nested(5000));
        let json = Json::compile(&serde_json::from_str("{}").unwrap()).unwrap();
        let error = json.apply(&mut document, Timestamp::MIN).err().unwrap();
        assert_eq!(error.reason, "json_too_deep");
        document.set_str("message", "\u{feff}{\"a\":1}");
        json.apply(&mut document, Timestamp::MIN).unwrap();
        assert_eq!(document.get("a"), Some("1"));
    }

    #[test]
    fn the_read_field_goes_when_asked_to_and_an_own_message_stays() {
        let cases = [
            (
                r#"{"remove":true}"#,
                r#"{"message":"{\"a\":1}"}"#,
                r#"{"a":1}"#,
            ),
            (
                r#"{"remove":true}"#,
                r#"{"message":"{\"a\":1,\"message\":\"inner\"}"}"#,
                r#"{"message":"inner","a":1}"#,
            ),
            (
                r#"{"overwrite":false}"#,
                r#"{"x":1,"message":"{\"x\":2}"}"#,
                r#"{"x":1,"message":"{\"x\":2}"}"#,
            ),
            (
                r#"{"target":"body","remove":true}"#,
                r#"{"message":" {\"a\":1.0}"}"#,
                r#"{"body":{"a":1.0}}"#,
            ),
            (
                r#"{"field":"log.raw","target":"body"}"#,
                r#"{"log":{"raw":"{}"}}"#,
                r#"{"log":{"raw":"{}"},"body":{}}"#,
            ),
        ];
        for (settings, document, expected) in cases {
            assert_eq!(run(settings, document).1, expected, "{settings} {document}");
        }
    }

    #[test]
    fn what_is_no_object_leaves_the_document_alone() {
        for (document, reason) in [
            (r#"{"message":"plain text"}"#, "json_malformed"),
            (r#"{"message":"[1]"}"#, "json_malformed"),
            (r#"{"message":"{\"a\":1} trailing"}"#, "json_malformed"),
            (r#"{"message":[7]}"#, "not_a_string"),
            (r#"{"other":"x"}"#, "field_missing"),
        ] {
            for settings in ["{}", r#"{"target":"t"}"#] {
                let (outcome, text) = run(settings, document);
                assert_eq!(outcome.err().unwrap().reason, reason, "{document}");
                assert_eq!(text, document);
            }
        }
    }

    #[test]
    fn ten_thousand_fields_are_read_quickly() {
        let object: Vec<String> = (0..170_000).map(|n| format!("\"f{n}\":1")).collect();
        let mut document = Document::new();
        document.set_str("message", &format!("{{{}}}", object.join(",")));
        let step = Json::compile(&serde_json::from_str("{}").unwrap()).unwrap();
        assert!(step.apply(&mut document, Timestamp::MIN).is_ok());
        assert_eq!(document.fields().count(), 170_001);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            let mut document = Document::new();
            document.set_str("message", &text);
            let step = Json::compile(&serde_json::from_str("{}").unwrap()).unwrap();
            let _ = step.apply(&mut document, Timestamp::MIN);
        }
    }
}
