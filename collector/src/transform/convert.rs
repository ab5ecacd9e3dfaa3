//! Makes numbers and truths of texts: `convert: { status: int, took: float }`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use event::{Document, Timestamp};
use serde::{Deserialize, Serialize};

use super::typed::{self, FieldType};
use super::{Transform, TransformError, Verdict, check_field};

/// Fields and what their texts stand for. What is not there is left out; what does not convert stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Settings {
    /// Field, type.
    pub types: BTreeMap<String, FieldType>,
}

/// The step, ready to run.
pub struct Convert {
    types: Vec<(String, FieldType)>,
}

impl Convert {
    /// Checks the names.
    ///
    /// # Errors
    /// There is none, or one is empty.
    pub fn compile(settings: &Settings) -> Result<Convert, String> {
        if settings.types.is_empty() {
            return Err("no fields; write for instance convert: { status: int }".to_owned());
        }
        for field in settings.types.keys() {
            check_field(field)?;
        }
        let types = settings.types.clone().into_iter();
        Ok(Convert {
            types: types.collect(),
        })
    }
}

impl Transform for Convert {
    fn apply(&self, document: &mut Document, _: Timestamp) -> Result<Verdict, TransformError> {
        for (field, field_type) in &self.types {
            let Some(json) = document.get(field) else {
                continue;
            };
            let text = match json.starts_with('"') {
                true => document.get_str(field).map(Cow::into_owned),
                false => is_number_or_truth(json).then(|| json.to_owned()),
            };
            let Some(text) = text else {
                continue;
            };
            // Inside an object: the value moves out of it.
            if !document.fields().any(|(name, _)| name == field) {
                document.remove_path(field);
            }
            typed::set(document, field, *field_type, text.trim());
        }
        Ok(Verdict::Keep)
    }
}

fn is_number_or_truth(json: &str) -> bool {
    json.starts_with(|first: char| matches!(first, '-' | '0'..='9' | 't' | 'f'))
}

#[cfg(test)]
mod tests {
    use super::super::tried::{run, step};

    #[test]
    fn texts_become_what_they_stand_for() {
        let settings = r#"{"convert":{"a":"int","b":"float","c":"bool","d":"string","e":"int","f":"int","o.n":"int"}}"#;
        let document =
            r#"{"a":" 007","b":"0.470","c":"TRUE","d":12,"e":"12a","o":{"n":"5","m":1}}"#;
        assert_eq!(
            run(settings, document).unwrap(),
            r#"{"a":7,"b":0.470,"c":true,"d":"12","e":"12a","o":{"m":1},"o.n":5}"#,
            "what does not convert stays"
        );
        for wrong in [r#"{"convert":{}}"#, r#"{"convert":{"":"int"}}"#] {
            assert!(step(wrong).is_err(), "{wrong}");
        }
    }
}
