//! One event as a line for people: time, level, service, message.

use serde_json::Value;

/// `2026-11-23T10:00:00.000Z ERROR checkout connection refused`; parts an event lacks are left out, and an event
/// without a message is shown as JSON.
///
/// Control characters are shown, not sent: a log line must not steer the terminal of whoever reads it.
pub fn of(source: &Value) -> String {
    let level = text(source, "log.level").or_else(|| text(source, "level"));
    let message = text(source, "message").unwrap_or_else(|| source.to_string());
    let parts = [
        text(source, "@timestamp"),
        level.map(|level| level.to_uppercase()),
        text(source, "service.name"),
        Some(message),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .flatten()
        .map(|part| shown(&part))
        .collect();
    parts.join(" ")
}

/// A field by its dotted name, however the sender nested it.
fn text(source: &Value, name: &str) -> Option<String> {
    let value = source.get(name).or_else(|| {
        let (head, tail) = name.split_once('.')?;
        source.get(head)?.get(tail)
    })?;
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Further lines are indented; other control characters are written as escapes.
fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.trim_end().chars() {
        match c {
            '\n' => shown.push_str("\n    "),
            '\t' => shown.push('\t'),
            '\r' => {}
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_of_any_shape_become_lines() {
        for (source, expected) in [
            (
                json!({"@timestamp": "2026-11-23T10:00:00Z", "log": {"level": "error"}, "service.name": "shop", "message": "down"}),
                "2026-11-23T10:00:00Z ERROR shop down",
            ),
            (json!({"message": "only this"}), "only this"),
            (json!({"level": 3, "message": {"a": 1}}), r#"3 {"a":1}"#),
            (json!({"a": 1}), r#"{"a":1}"#),
            (json!({"message": "one\r\ntwo\n"}), "one\n    two"),
            (json!({"message": "\u{1b}[2Jgone"}), "\\u{1b}[2Jgone"),
        ] {
            assert_eq!(of(&source), expected);
        }
    }
}
