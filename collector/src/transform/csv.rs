//! Cuts a line of comma-separated values into fields, RFC 4180.

use std::borrow::Cow;

use event::{Document, Timestamp};
use serde::{Deserialize, Serialize};

use super::typed::{self, FieldType};
use super::{Transform, TransformError, Verdict, check_field, message_field, text_of};

/// `csv: { columns: [time, user, "status:int"] }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The field that holds the line.
    #[serde(default = "message_field")]
    pub field: String,
    /// The names of the columns in their order, with a type (`int`, `float`, `bool`) behind a colon where wanted. An
    /// empty name leaves its column out.
    pub columns: Vec<String>,
    /// What stands between two values: one character.
    #[serde(default = "comma")]
    pub separator: char,
}

/// The step, ready to run.
pub struct Csv {
    field: String,
    columns: Vec<(String, FieldType)>,
    separator: char,
}

impl Csv {
    /// Checks the settings.
    ///
    /// # Errors
    /// There are no columns, a type is unknown, or the separator is a quote.
    pub fn compile(settings: &Settings) -> Result<Csv, String> {
        check_field(&settings.field)?;
        if settings.columns.is_empty() {
            return Err(
                "columns is empty; write for instance columns: [time, \"status:int\"]".to_owned(),
            );
        }
        if matches!(settings.separator, '"' | '\n' | '\r') {
            return Err(format!(
                "separator {:?} cannot separate values",
                settings.separator
            ));
        }
        let columns = settings.columns.iter().map(|column| {
            let Some((name, kind)) = column.rsplit_once(':') else {
                return Ok((column.clone(), FieldType::String));
            };
            let kind = FieldType::parse(kind).ok_or_else(|| {
                format!(
                    "column {column:?}: unknown type {kind}; known are int, float, bool, string"
                )
            })?;
            Ok((name.to_owned(), kind))
        });
        Ok(Csv {
            field: settings.field.clone(),
            columns: columns.collect::<Result<_, String>>()?,
            separator: settings.separator,
        })
    }
}

impl Transform for Csv {
    fn apply(&self, document: &mut Document, _: Timestamp) -> Result<Verdict, TransformError> {
        let text = text_of(document, &self.field)?;
        let failed = |reason, problem: String| TransformError {
            reason,
            message: format!("field {}: {problem}", self.field),
        };
        let values = values_of(&text, self.separator)
            .ok_or_else(|| failed("csv_malformed", "a quote is never closed".to_owned()))?;
        if values.len() != self.columns.len() {
            let problem = format!("{} values for {} columns", values.len(), self.columns.len());
            return Err(failed("csv_columns", problem));
        }
        for ((name, field_type), value) in self.columns.iter().zip(&values) {
            if !name.is_empty() && !value.is_empty() {
                typed::set(document, name, *field_type, value);
            }
        }
        Ok(Verdict::Keep)
    }
}

/// The values of one record; `None` when a quote is never closed.
pub(super) fn values_of(line: &str, separator: char) -> Option<Vec<Cow<'_, str>>> {
    let mut values = Vec::new();
    let mut rest = line;
    loop {
        let (value, behind) = match rest.strip_prefix('"') {
            Some(inner) => quoted(inner)?,
            None => {
                let end = rest.find(separator).unwrap_or(rest.len());
                (Cow::Borrowed(&rest[..end]), &rest[end..])
            }
        };
        // What stands behind a closing quote belongs to the value, as in what spreadsheets read.
        let end = behind.find(separator).unwrap_or(behind.len());
        values.push(match end {
            0 => value,
            _ => Cow::Owned(value.into_owned() + &behind[..end]),
        });
        match behind[end..].strip_prefix(separator) {
            Some(next) => rest = next,
            None => return Some(values),
        }
    }
}

/// The value in front of the closing quote, and what follows the quote; two quotes stand for one.
fn quoted(inner: &str) -> Option<(Cow<'_, str>, &str)> {
    let mut from = 0;
    loop {
        let at = from + inner[from..].find('"')?;
        if inner[at + 1..].starts_with('"') {
            from = at + 2;
            continue;
        }
        let value = match from {
            0 => Cow::Borrowed(&inner[..at]),
            _ => Cow::Owned(inner[..at].replace("\"\"", "\"")),
        };
        return Some((value, &inner[at + 1..]));
    }
}

fn comma() -> char {
    ','
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tried::{run, step};
    use super::*;

    #[test]
    fn values_become_the_columns() {
        let settings = r#"{"csv":{"columns":["time","","who","status:int"]}}"#;
        let line = r#"{"message":"10:00,x,\"Ada \"\"A.\"\", L.\",0200"}"#;
        let expected = line.replace(
            '}',
            r#","time":"10:00","who":"Ada \"A.\", L.","status":200}"#,
        );
        assert_eq!(run(settings, line).unwrap(), expected);
        for (line, reason) in [("a,b,c", "csv_columns"), (r#"a,b,c,\"d"#, "csv_malformed")] {
            let document = format!("{{\"message\":\"{line}\"}}");
            let problem = run(settings, &document).unwrap_err();
            assert!(problem.starts_with(reason), "{problem}");
        }
        for wrong in [
            r#"{"columns":[]}"#,
            r#"{"columns":["a:date"]}"#,
            r#"{"columns":["a"],"separator":"\""}"#,
        ] {
            assert!(step(&format!("{{\"csv\":{wrong}}}")).is_err(), "{wrong}");
        }
    }

    proptest! {
        /// What is written by the rules is read back.
        #[test]
        fn records_are_read_back(values in proptest::collection::vec("[a,\"\u{e9} \n]{0,6}", 1..6)) {
            let quoted: Vec<String> = values.iter().map(|value| format!("\"{}\"", value.replace('"', "\"\""))).collect();
            let line = quoted.join(",");
            prop_assert_eq!(values_of(&line, ',').unwrap(), values);
        }

        #[test]
        fn any_line_is_cut_or_refused(line in "[a,\"]{0,20}") {
            let _ = values_of(&line, ',');
        }
    }
}
