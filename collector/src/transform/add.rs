//! Adds fields: `add: { service.environment: production, service.name: "%{program}" }`.

use event::{Document, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Transform, TransformError, Verdict, any_text_of, check_field};

/// Names and values. A text may name other fields as `%{field}`; where one of them is missing, the field is not added.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Settings {
    /// The fields. One that exists is replaced.
    pub fields: Map<String, Value>,
}

/// The step, ready to run.
pub struct Add {
    fields: Vec<(String, Content)>,
}

enum Content {
    Fixed(Value),
    /// Texts, each with the field behind it.
    Template(Vec<(String, String)>, String),
}

impl Add {
    /// Checks the names and reads the templates.
    ///
    /// # Errors
    /// There is no field, a name is empty, or a `%{` is never closed.
    pub fn compile(settings: &Settings) -> Result<Add, String> {
        if settings.fields.is_empty() {
            return Err("no fields; write for instance add: { service.name: shop }".to_owned());
        }
        let mut fields = Vec::new();
        for (name, value) in &settings.fields {
            check_field(name)?;
            let content = match value {
                Value::String(text) if text.contains("%{") => template(text)?,
                value => Content::Fixed(value.clone()),
            };
            fields.push((name.clone(), content));
        }
        Ok(Add { fields })
    }
}

impl Transform for Add {
    fn apply(&self, document: &mut Document, _: Timestamp) -> Result<Verdict, TransformError> {
        for (name, content) in &self.fields {
            match content {
                Content::Fixed(value) => document.set_value(name, value),
                Content::Template(parts, end) => {
                    if let Some(text) = filled(parts, end, document) {
                        document.set_str(name, &text);
                    }
                }
            }
        }
        Ok(Verdict::Keep)
    }
}

fn template(text: &str) -> Result<Content, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("%{") {
        let (field, next) = behind
            .split_once('}')
            .ok_or_else(|| format!("{text:?}: a %{{ is never closed"))?;
        check_field(field)?;
        parts.push((before.to_owned(), field.to_owned()));
        rest = next;
    }
    Ok(Content::Template(parts, rest.to_owned()))
}

fn filled(parts: &[(String, String)], end: &str, document: &Document) -> Option<String> {
    let mut text = String::new();
    for (before, field) in parts {
        text.push_str(before);
        text.push_str(&any_text_of(document, field)?);
    }
    text.push_str(end);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::super::tried::{run, step};

    #[test]
    fn fields_are_added_and_filled_in() {
        assert_eq!(
            run(
                r#"{"add":{"env":"prod","n":1,"who":"%{user.name}@%{port}","no":"%{gone}"}}"#,
                r#"{"user":{"name":"ada"},"port":22,"env":"x"}"#
            )
            .unwrap(),
            r#"{"user":{"name":"ada"},"port":22,"env":"prod","n":1,"who":"ada@22"}"#
        );
        assert!(step(r#"{"add":{}}"#).is_err());
        assert!(step(r#"{"add":{"a":"%{b"}}"#).is_err());
    }
}
