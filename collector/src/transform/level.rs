//! Makes `log.level` of a level as loggers spell it: `LOG`, `W`, `*`, `30`.

use std::collections::BTreeMap;

use event::{Document, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Transform, TransformError, Verdict, any_text_of, check_field};
use crate::level;

/// `level: { field: severity, values: { LOG: info } }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The field that holds the level.
    #[serde(default = "level_field")]
    pub field: String,
    /// What words mean that are not known everywhere, as they are spelled.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, String>,
    /// Whether the field is removed once it is read.
    #[serde(default)]
    pub remove: bool,
}

/// The step, ready to run.
pub struct Level {
    settings: Settings,
    values: BTreeMap<String, &'static str>,
}

impl Level {
    /// Checks the words.
    ///
    /// # Errors
    /// A word is to mean something that is no level.
    pub fn compile(settings: &Settings) -> Result<Level, String> {
        check_field(&settings.field)?;
        let values = settings.values.iter().map(|(word, meaning)| {
            let known = level::named(meaning).ok_or_else(|| {
                format!("{meaning:?} is no level; known are trace, debug, info, warn, error, fatal")
            })?;
            Ok((word.clone(), known))
        });
        Ok(Level {
            values: values.collect::<Result<_, String>>()?,
            settings: settings.clone(),
        })
    }
}

impl Transform for Level {
    fn apply(&self, document: &mut Document, _: Timestamp) -> Result<Verdict, TransformError> {
        let field = &self.settings.field;
        let Some(text) = any_text_of(document, field) else {
            return Err(TransformError {
                reason: "field_missing",
                message: format!("the event has no field {field}"),
            });
        };
        let own = self.values.get(text.trim()).copied();
        let Some(found) = own
            .or_else(|| level::named(&text))
            .or_else(|| level::numbered(&text))
        else {
            let shown: String = text.chars().take(32).collect();
            return Err(TransformError {
                reason: "level_unknown",
                message: format!("field {field}: {shown:?} is no level"),
            });
        };
        if self.settings.remove && field != "log.level" {
            document.remove_path(field);
        }
        document.set_str("log.level", found);
        Ok(Verdict::Keep)
    }
}

fn level_field() -> String {
    "level".to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tried::{run, step};

    #[test]
    fn levels_are_normalised() {
        for (document, expected) in [
            (r#"{"level":"WARNING"}"#, r#"{"log.level":"warn"}"#),
            (r#"{"level":"LOG"}"#, r#"{"log.level":"info"}"#),
            (r#"{"level":50}"#, r#"{"log.level":"error"}"#),
        ] {
            let settings = r#"{"level":{"values":{"LOG":"info"},"remove":true}}"#;
            assert_eq!(run(settings, document).unwrap(), expected);
        }
        for (document, reason) in [
            (r#"{"level":"loud"}"#, "level_unknown"),
            ("{}", "field_missing"),
        ] {
            assert!(
                run(r#"{"level":{}}"#, document)
                    .unwrap_err()
                    .starts_with(reason)
            );
        }
        assert!(step(r#"{"level":{"values":{"a":"b"}}}"#).is_err());
    }
}
