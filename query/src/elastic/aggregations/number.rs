//! Numbers as Elasticsearch writes them: doubles always with a fraction, large and small ones with an exponent.

use std::fmt::Write;

/// Appends a double: `1.0`, `1.795428E12`, `"NaN"`.
pub(super) fn write_double(out: &mut String, value: f64) {
    if value.is_finite() {
        out.push_str(&double_text(value));
    } else {
        // JSON has no such numbers; Elasticsearch writes them as texts, which Grafana reads.
        let _ = write!(out, "\"{}\"", double_text(value));
    }
}

/// Appends a double, or `null` when there is none or it is not finite.
pub(super) fn write_optional_double(out: &mut String, value: Option<f64>) {
    match value.filter(|value| value.is_finite()) {
        Some(value) => write_double(out, value),
        None => out.push_str("null"),
    }
}

/// A double as Java prints it.
pub(super) fn double_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let size = value.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        let text = value.to_string();
        return if text.contains('.') {
            text
        } else {
            text + ".0"
        };
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if digits.contains('.') => format!("{digits}E{exponent}"),
        Some((digits, exponent)) => format!("{digits}.0E{exponent}"),
        None => text,
    }
}

/// Appends a JSON string.
pub(super) fn write_text(out: &mut String, text: &str) {
    // A string is always valid JSON, so this cannot fail.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_look_as_in_java() {
        let cases = [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (150.25, "150.25"),
            (9_999_999.0, "9999999.0"),
            (1e7, "1.0E7"),
            (1_795_428_000_000.0, "1.795428E12"),
            (1_795_428_000_123.0, "1.795428000123E12"),
            (0.001, "0.001"),
            (0.0009, "9.0E-4"),
            (-123_456_789.5, "-1.234567895E8"),
            (f64::NAN, "\"NaN\""),
            (f64::INFINITY, "\"Infinity\""),
        ];
        for (value, expected) in cases {
            let mut out = String::new();
            write_double(&mut out, value);
            assert_eq!(out, expected);
        }
    }
}
