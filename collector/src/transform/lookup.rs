//! Adds what a table says of a value: `lookup: { file: owners.csv, field: service.name }`.
//!
//! The table is a CSV file with names in its first line. It is read when the step is made ready.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use event::{Document, Timestamp};
use serde::{Deserialize, Serialize};

use super::csv::values_of;
use super::{Transform, TransformError, Verdict, any_text_of, check_field};

/// A table may have this many bytes.
const TABLE_BYTES_MAX: u64 = 64 << 20;

/// `lookup: { file: /etc/daybook/owners.csv, field: service.name }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The table.
    pub file: PathBuf,
    /// The field whose value is looked up.
    pub field: String,
    /// The column it is looked up in; without it, the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Put before the names of the other columns: `prefix: owner.`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Whether a value that is not in the table is a failure; else such an event goes on as it is.
    #[serde(default)]
    pub required: bool,
}

/// The step, ready to run.
pub struct Lookup {
    field: String,
    required: bool,
    /// The names of the fields, without the key's.
    names: Vec<String>,
    rows: HashMap<String, Vec<String>>,
}

impl Lookup {
    /// Reads the table.
    ///
    /// # Errors
    /// It cannot be read, is too large, has no such column, or a line is wrong; with its number.
    pub fn compile(settings: &Settings) -> Result<Lookup, String> {
        check_field(&settings.field)?;
        let path = settings.file.display();
        let unreadable = |error: std::io::Error| format!("cannot read the table {path}: {error}");
        if fs::metadata(&settings.file).map_err(unreadable)?.len() > TABLE_BYTES_MAX {
            return Err(format!(
                "the table {path} is larger than {TABLE_BYTES_MAX} bytes"
            ));
        }
        let text = fs::read_to_string(&settings.file).map_err(unreadable)?;
        let mut lines = text
            .trim_start_matches('\u{feff}')
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty());
        let (_, head) = lines
            .next()
            .ok_or_else(|| format!("the table {path} is empty"))?;
        let columns =
            values_of(head, ',').ok_or_else(|| format!("{path}:1: a quote is never closed"))?;
        let key = match &settings.column {
            None => 0,
            Some(name) => columns
                .iter()
                .position(|column| column.trim() == name)
                .ok_or_else(|| {
                    format!(
                        "the table {path} has no column {name}; it has {}",
                        columns.join(", ")
                    )
                })?,
        };
        let mut rows = HashMap::new();
        for (at, line) in lines {
            let values = values_of(line, ',').filter(|values| values.len() == columns.len());
            let Some(mut values) = values else {
                return Err(format!(
                    "{path}:{}: expected {} values; quotes that span lines are not read",
                    at + 1,
                    columns.len()
                ));
            };
            let key = values.remove(key).trim().to_owned();
            // The first line about a value wins, as a reader from the top would have it.
            rows.entry(key)
                .or_insert_with(|| values.iter().map(|value| value.trim().to_owned()).collect());
        }
        let names = columns.iter().enumerate().filter(|(at, _)| *at != key);
        Ok(Lookup {
            field: settings.field.clone(),
            required: settings.required,
            names: names
                .map(|(_, name)| format!("{}{}", settings.prefix, name.trim()))
                .collect(),
            rows,
        })
    }
}

impl Transform for Lookup {
    fn apply(&self, document: &mut Document, _: Timestamp) -> Result<Verdict, TransformError> {
        let row = any_text_of(document, &self.field).and_then(|value| self.rows.get(value.trim()));
        match row {
            Some(row) => {
                for (name, value) in self.names.iter().zip(row) {
                    if !value.is_empty() {
                        document.set_str(name, value);
                    }
                }
                Ok(Verdict::Keep)
            }
            None if self.required => Err(TransformError {
                reason: "lookup_missing",
                message: format!("the table says nothing about field {}", self.field),
            }),
            None => Ok(Verdict::Keep),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tried::{run, step};

    #[test]
    fn a_row_becomes_fields() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("owners.csv");
        std::fs::write(
            &path,
            "team,service,tier\n\"Shop, web\",shop,1\n\nOps,db,\nLate,shop,9\n",
        )
        .unwrap();
        let settings = |more: &str| {
            format!(
                "{{\"lookup\":{{\"file\":\"{}\",\"field\":\"service.name\"{more}}}}}",
                path.display()
            )
        };
        let by_service = settings(r#","column":"service","prefix":"owner.""#);
        assert_eq!(
            run(&by_service, r#"{"service":{"name":"shop"}}"#).unwrap(),
            r#"{"service":{"name":"shop"},"owner.team":"Shop, web","owner.tier":"1"}"#
        );
        assert_eq!(
            run(&by_service, r#"{"service.name":"db"}"#).unwrap(),
            r#"{"service.name":"db","owner.team":"Ops"}"#
        );
        assert_eq!(
            run(&by_service, r#"{"service.name":"x"}"#).unwrap(),
            r#"{"service.name":"x"}"#
        );
        let required = run(&settings(r#","required":true"#), "{}").unwrap_err();
        assert!(required.starts_with("lookup_missing"), "{required}");
        let problem = step(&settings(r#","column":"owner""#)).err().unwrap();
        assert!(problem.contains("it has team, service, tier"), "{problem}");
        std::fs::write(&path, "a,b\n1,2\n1\n").unwrap();
        assert!(
            step(&settings(""))
                .err()
                .unwrap()
                .contains("owners.csv:3: expected 2 values")
        );
    }
}
