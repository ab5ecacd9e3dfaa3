//! `${NAME}` and `${NAME:-default}` in settings: values from the environment.
//!
//! In every text, quoted or not, because inside `{...}` YAML wants such texts quoted. A bare `$NAME` stays as it is:
//! patterns end in `$`. `$${` stands for `${` itself.

use std::collections::HashMap;

use super::findings::Findings;
use super::node::{Node, Value};

/// Fills in every text of the tree; keys stay as they are.
pub fn fill_in(node: &mut Node, environment: &HashMap<String, String>, findings: &Findings) {
    match &mut node.value {
        Value::Text(text) if text.contains("${") => match expand(text, environment) {
            Ok(expanded) => *text = expanded,
            Err(problem) => findings.mistake(Some(node.place), "", problem),
        },
        Value::List(nodes) => {
            for node in nodes {
                fill_in(node, environment, findings);
            }
        }
        Value::Map(entries) => {
            for (_, node) in entries {
                fill_in(node, environment, findings);
            }
        }
        _ => {}
    }
}

/// What comes from the environment is not looked into again.
fn expand(text: &str, environment: &HashMap<String, String>) -> Result<String, String> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, reference) = rest.split_at(at);
        if let Some(escaped) = before.strip_suffix('$') {
            expanded.push_str(escaped);
            expanded.push_str("${");
            rest = &reference[2..];
            continue;
        }
        expanded.push_str(before);
        let (inner, behind) = reference[2..].split_once('}').ok_or_else(|| {
            "a ${ is never closed; write } behind the name, or $${ for ${ itself".to_owned()
        })?;
        expanded.push_str(&value_of(inner, environment)?);
        rest = behind;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

fn value_of(inner: &str, environment: &HashMap<String, String>) -> Result<String, String> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    let is_name = name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic())
        && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
    if !is_name {
        return Err(format!(
            "${{{inner}}} names no variable; write ${{NAME}} or ${{NAME:-default}}, or $${{ for ${{ itself"
        ));
    }
    match (environment.get(name), default) {
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value.clone()),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!(
            "the environment variable {name} is not set; set it, or write ${{{name}:-default}}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in_and_patterns_left_alone() {
        let environment = HashMap::from([
            ("PORT".to_owned(), "9999".to_owned()),
            ("EMPTY".to_owned(), String::new()),
            ("SLY".to_owned(), "${PORT}".to_owned()),
        ]);
        for (text, expected) in [
            ("127.0.0.1:${PORT}", "127.0.0.1:9999"),
            ("${PORT}${PORT}", "99999999"),
            ("${EMPTY}", ""),
            ("${EMPTY:-x}", "x"),
            ("${NONE:-}", ""),
            ("${NONE:-a:-b}", "a:-b"),
            ("${SLY}", "${PORT}"),
            ("$${PORT}", "${PORT}"),
            ("^a$", "^a$"),
            ("$PORT", "$PORT"),
        ] {
            assert_eq!(
                expand(text, &environment).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
        for text in ["${NONE}", "${PORT", "${}", "${jndi:ldap://x}", "${1A}"] {
            assert!(expand(text, &environment).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_expanded_or_refused(text in "[$\\{\\}:a-]{0,20}") {
            let _ = expand(&text, &HashMap::from([("a".to_owned(), "1".to_owned())]));
        }
    }
}
