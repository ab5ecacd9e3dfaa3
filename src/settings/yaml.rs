//! YAML text to a tree with places. The only file that knows which YAML library we use.

use serde_saphyr::{DuplicateKeyPolicy, Error, options};

use super::findings::{Mistake, one_line};
use super::node::{Node, Place};

/// Reads one YAML document. An empty text is `None`.
///
/// # Errors
/// The text is no YAML or holds a key twice; the first such place.
pub fn parse(text: &str) -> Result<Option<Node>, Mistake> {
    let options = options! {
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| mistake_of(&error))
}

/// Writes a value as YAML.
pub fn write(value: &serde_json::Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_else(|error| format!("# cannot be written: {error}\n"))
}

fn mistake_of(error: &Error) -> Mistake {
    let place = error
        .location()
        .filter(|location| location.line() > 0)
        .map(|location| Place {
            line: location.line(),
            column: location.column(),
        });
    Mistake {
        place,
        key: String::new(),
        problem: one_line(&error.without_snippet().to_string()),
    }
}
