//! Takes fields out of an event: `remove: [password, "headers.*"]`.

use event::{Document, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Transform, TransformError, Verdict, check_field};

/// Names of fields, also inside objects (`a.b`); a star at the end stands for anything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Settings {
    /// The names.
    pub fields: Vec<String>,
}

/// The step, ready to run.
pub struct Remove {
    names: Vec<String>,
    beginnings: Vec<String>,
}

impl Remove {
    /// Checks the names.
    ///
    /// # Errors
    /// There is none, one is empty, or a star stands elsewhere.
    pub fn compile(settings: &Settings) -> Result<Remove, String> {
        if settings.fields.is_empty() {
            return Err("no fields; write for instance remove: [password]".to_owned());
        }
        let mut remove = Remove {
            names: Vec::new(),
            beginnings: Vec::new(),
        };
        for field in &settings.fields {
            check_field(field)?;
            let beginning = field.strip_suffix('*');
            if beginning.unwrap_or(field).contains('*') {
                return Err(format!("{field:?}: a star may only stand at the end"));
            }
            match beginning {
                Some(beginning) => remove.beginnings.push(beginning.to_owned()),
                None => remove.names.push(field.clone()),
            }
        }
        Ok(remove)
    }
}

impl Transform for Remove {
    fn apply(&self, document: &mut Document, _: Timestamp) -> Result<Verdict, TransformError> {
        for name in &self.names {
            document.remove_path(name);
        }
        for beginning in &self.beginnings {
            let fits = |name: &&str| name.starts_with(beginning.as_str());
            let names: Vec<String> = document
                .fields()
                .map(|(name, _)| name)
                .filter(fits)
                .map(str::to_owned)
                .collect();
            for name in names {
                document.remove(&name);
            }
            // `headers.*` also means what is inside an object `headers`.
            if let Some(object) = beginning.strip_suffix('.')
                && document
                    .get(object)
                    .is_some_and(|json| json.starts_with('{'))
            {
                document.remove_path(object);
            }
        }
        Ok(Verdict::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tried::{run, step};

    #[test]
    fn fields_are_taken_out_wherever_they_are() {
        assert_eq!(
            run(
                r#"{"remove":["a","b.c","h.*","gone"]}"#,
                r#"{"a":1,"b":{"c":2,"d":3},"h.x":4,"h":{"y":5},"hx":6}"#
            )
            .unwrap(),
            r#"{"b":{"d":3},"hx":6}"#
        );
        assert!(step(r#"{"remove":[]}"#).is_err());
        assert!(step(r#"{"remove":["a*b"]}"#).is_err());
    }
}
