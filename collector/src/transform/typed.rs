//! Parts of a line as fields with a type: `%{INT:status:int}` of grok, `status:int` of csv.

use event::Document;
use serde::{Deserialize, Serialize};

/// What a field's text is turned into.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldType {
    /// It stays a text.
    #[default]
    String,
    /// A whole number of any length.
    Int,
    /// A number.
    Float,
    /// `true` or `false`.
    Bool,
}

impl FieldType {
    /// Reads `int`, `float`, `bool` or `string`.
    pub fn parse(name: &str) -> Option<FieldType> {
        Some(match name {
            "int" => FieldType::Int,
            "float" => FieldType::Float,
            "bool" => FieldType::Bool,
            "string" => FieldType::String,
            _ => return None,
        })
    }
}

/// Sets a field to the value a text stands for. What is no number stays a text: a field may hold both.
pub fn set(document: &mut Document, field: &str, field_type: FieldType, text: &str) {
    let is_set = match field_type {
        FieldType::String => false,
        FieldType::Int => set_integer(document, field, text),
        FieldType::Float => set_float(document, field, text),
        FieldType::Bool => set_bool(document, field, text),
    };
    if !is_set {
        document.set_str(field, text);
    }
}

fn set_integer(document: &mut Document, field: &str, text: &str) -> bool {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    match digits.trim_start_matches('0') {
        "" => document.set_number(field, "0"),
        significant if sign.is_empty() => document.set_number(field, significant),
        significant => document.set_number(field, &format!("-{significant}")),
    }
}

/// Keeps the spelling where it is JSON's own: `0.470` stays `0.470`.
fn set_float(document: &mut Document, field: &str, text: &str) -> bool {
    if document.set_number(field, text) {
        return true;
    }
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() => {
            document.set_value(field, &value);
            true
        }
        _ => false,
    }
}

fn set_bool(document: &mut Document, field: &str, text: &str) -> bool {
    let is_true = text.eq_ignore_ascii_case("true");
    if !is_true && !text.eq_ignore_ascii_case("false") {
        return false;
    }
    document.set_value(field, &is_true);
    true
}
