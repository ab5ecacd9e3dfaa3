//! Gives fields other names: `rename: { msg: message, pid: process.pid }`.

use std::collections::BTreeMap;

use event::{Document, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Transform, TransformError, Verdict, check_field};

/// Old names and the new ones. What is not there is left out; a field that has the new name already is replaced.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Settings {
    /// From, to.
    pub names: BTreeMap<String, String>,
}

/// The step, ready to run.
pub struct Rename {
    names: Vec<(String, String)>,
}

impl Rename {
    /// Checks the names.
    ///
    /// # Errors
    /// There is none, or one is empty.
    pub fn compile(settings: &Settings) -> Result<Rename, String> {
        if settings.names.is_empty() {
            return Err("no names; write for instance rename: { msg: message }".to_owned());
        }
        for (from, to) in &settings.names {
            check_field(from)?;
            check_field(to)?;
        }
        let names = settings.names.clone().into_iter();
        Ok(Rename {
            names: names.collect(),
        })
    }
}

impl Transform for Rename {
    fn apply(&self, document: &mut Document, _: Timestamp) -> Result<Verdict, TransformError> {
        for (from, to) in &self.names {
            if document.rename(from, to) {
                continue;
            }
            // Inside an object: the value moves out of it.
            let Some(value) = document.get(from).map(str::to_owned) else {
                continue;
            };
            document.remove_path(from);
            if let Ok(value) = serde_json::from_str::<&serde_json::value::RawValue>(&value) {
                document.set(to, value);
            }
        }
        Ok(Verdict::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tried::{run, step};

    #[test]
    fn fields_change_their_names_and_keep_their_values() {
        let settings = r#"{"rename":{"msg":"message","a.b":"c","gone":"x"}}"#;
        assert_eq!(
            run(
                settings,
                r#"{"message":"old","msg":"new","a":{"b":0.50,"k":1}}"#
            )
            .unwrap(),
            r#"{"message":"new","a":{"k":1},"c":0.50}"#
        );
        assert!(step(r#"{"rename":{}}"#).is_err());
        assert!(step(r#"{"rename":{"a":""}}"#).is_err());
    }
}
