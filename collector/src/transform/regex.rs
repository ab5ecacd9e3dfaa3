//! Cuts a text into fields by a regular expression with named groups: `(?<client.ip>\S+) (?<status>\d+)`.

use std::collections::BTreeMap;

use event::{Document, Timestamp};
use serde::{Deserialize, Serialize};

use super::typed::{self, FieldType};
use super::{Transform, TransformError, Verdict, check_field, message_field, text_of};

/// `regex: { pattern: '^(?<verb>\S+) ', types: { status: int } }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The field that is cut.
    #[serde(default = "message_field")]
    pub field: String,
    /// The expression; each named group is a field. Names may have dots.
    pub pattern: String,
    /// What groups are turned into.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub types: BTreeMap<String, FieldType>,
}

/// The step, ready to run.
pub struct Regex {
    field: String,
    regex: regex::Regex,
    /// Group number, field, type.
    groups: Vec<(usize, String, FieldType)>,
}

impl Regex {
    /// Compiles the expression.
    ///
    /// # Errors
    /// It cannot be used, names no group, or a type is for no group.
    pub fn compile(settings: &Settings) -> Result<Regex, String> {
        check_field(&settings.field)?;
        let regex = regex::Regex::new(&settings.pattern)
            .map_err(|error| format!("pattern {:?}: {error}", settings.pattern))?;
        let names = regex.capture_names().enumerate();
        let groups: Vec<(usize, String, FieldType)> = names
            .filter_map(|(group, name)| {
                let name = name?;
                let field_type = settings.types.get(name).copied().unwrap_or_default();
                Some((group, name.to_owned(), field_type))
            })
            .collect();
        if groups.is_empty() {
            return Err(
                "the pattern has no named group; write for instance (?<user>\\S+)".to_owned(),
            );
        }
        let is_unknown = |name: &&String| groups.iter().all(|(_, group, _)| group != *name);
        if let Some(name) = settings.types.keys().find(is_unknown) {
            return Err(format!(
                "types names {name}, but the pattern has no such group"
            ));
        }
        Ok(Regex {
            field: settings.field.clone(),
            regex,
            groups,
        })
    }
}

impl Transform for Regex {
    fn apply(&self, document: &mut Document, _: Timestamp) -> Result<Verdict, TransformError> {
        let text = text_of(document, &self.field)?;
        let Some(found) = self.regex.captures(&text) else {
            return Err(TransformError {
                reason: "regex_no_match",
                message: format!("the pattern does not fit field {}", self.field),
            });
        };
        for (group, field, field_type) in &self.groups {
            let part = found.get(*group).map_or("", |part| part.as_str());
            if !part.is_empty() {
                typed::set(document, field, *field_type, part);
            }
        }
        Ok(Verdict::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tried::{run, step};

    #[test]
    fn named_groups_are_fields() {
        let settings = r#"{"regex":{"pattern":"^(?<http.verb>\\w+) (?:-|(?<status>\\d+))$","types":{"status":"int"}}}"#;
        assert_eq!(
            run(settings, r#"{"message":"GET 0200"}"#).unwrap(),
            r#"{"message":"GET 0200","http.verb":"GET","status":200}"#
        );
        assert_eq!(
            run(settings, r#"{"message":"GET -"}"#).unwrap(),
            r#"{"message":"GET -","http.verb":"GET"}"#
        );
        assert!(
            run(settings, r#"{"message":"?"}"#)
                .unwrap_err()
                .starts_with("regex_no_match")
        );
        for (wrong, part) in [
            (r#"{"pattern":"(a"}"#, "unclosed group"),
            (r#"{"pattern":"a"}"#, "no named group"),
            (
                r#"{"pattern":"(?<a>.)","types":{"b":"int"}}"#,
                "no such group",
            ),
        ] {
            let problem = step(&format!("{{\"regex\":{wrong}}}")).err().unwrap();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
