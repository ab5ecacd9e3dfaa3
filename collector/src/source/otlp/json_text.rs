//! Writes values as JSON text, without building anything in between.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::record::{Attribute, Value};

/// The most bytes of one character.
const UTF8_BYTES_MAX: usize = 4;

/// Writes JSON text to the end of a buffer.
pub struct JsonText<'o> {
    /// Where the text goes.
    pub out: &'o mut Vec<u8>,
    /// The most bytes of one string value before escaping; longer ones are cut at a character's border.
    pub string_bytes_max: usize,
    /// The most bytes of a key inside of a value.
    pub name_bytes_max: usize,
    /// How deep values are written as JSON. What lies deeper is written as the text of its JSON, in a string.
    pub depth_max: usize,
    /// When `out` is longer than this, nobody wants the rest: writing may stop anywhere.
    pub full_at: usize,
}

impl JsonText<'_> {
    /// Whether the text is too long already, so that the rest need not be written.
    pub fn is_full(&self) -> bool {
        self.out.len() > self.full_at
    }

    /// Writes a string value, cut when it is too long.
    pub fn string(&mut self, text: &str) {
        let end = text.floor_char_boundary(self.wanted_bytes());
        self.name(&text[..end]);
    }

    /// How much of a string is written: of one that nobody wants the rest of, just enough to be full.
    fn wanted_bytes(&self) -> usize {
        let room = self.full_at.saturating_sub(self.out.len());
        self.string_bytes_max
            .min(room.saturating_add(UTF8_BYTES_MAX))
    }

    /// Writes a key, or a string that is never cut.
    pub fn name(&mut self, text: &str) {
        serde_json::to_writer(&mut *self.out, text).expect("a string is written to memory");
    }

    /// Writes a number or anything else whose text is JSON.
    pub fn plain(&mut self, value: impl Display) {
        write!(self.out, "{value}").expect("memory takes every write");
    }

    /// Writes any value; `depth` counts the objects and arrays around it.
    pub fn value(&mut self, value: &Value<'_>, depth: usize) {
        match value {
            Value::Null => self.out.extend_from_slice(b"null"),
            Value::Bool(value) => self.plain(value),
            Value::Int(value) => self.plain(value),
            Value::Double(value) if value.is_finite() => {
                serde_json::to_writer(&mut *self.out, value).expect("a number is written to memory")
            }
            Value::List(values) if depth < self.depth_max => self.list(values, depth),
            Value::Map(attributes) if depth < self.depth_max => self.map(attributes, depth),
            other => self.string(&text_up_to(other, self.wanted_bytes())),
        }
    }

    fn list(&mut self, values: &[Value<'_>], depth: usize) {
        self.out.push(b'[');
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            self.value(value, depth + 1);
            if self.is_full() {
                return;
            }
        }
        self.out.push(b']');
    }

    fn map(&mut self, attributes: &[Attribute<'_>], depth: usize) {
        self.out.push(b'{');
        for (at, attribute) in attributes.iter().enumerate() {
            if at > 0 {
                self.out.push(b',');
            }
            let end = attribute.key.floor_char_boundary(self.name_bytes_max);
            self.name(&attribute.key[..end]);
            self.out.push(b':');
            self.value(&attribute.value, depth + 1);
            if self.is_full() {
                return;
            }
        }
        self.out.push(b'}');
    }
}

/// A value as a reader of text wants it: strings as they are, bytes as base64, everything else as JSON. What JSON
/// has no number for is called as in protobuf's JSON.
pub fn text_of<'v>(value: &'v Value<'_>) -> Cow<'v, str> {
    text_up_to(value, usize::MAX)
}

/// As [`text_of`], for one who takes `bytes_max` of it: what lies behind them need not be right or there.
fn text_up_to<'v>(value: &'v Value<'_>, bytes_max: usize) -> Cow<'v, str> {
    match value {
        Value::Text(text) => Cow::Borrowed(text),
        // Base64 only grows.
        Value::Bytes(bytes) => Cow::Owned(STANDARD.encode(&bytes[..bytes.len().min(bytes_max)])),
        Value::Double(value) if value.is_nan() => Cow::Borrowed("NaN"),
        Value::Double(f64::INFINITY) => Cow::Borrowed("Infinity"),
        Value::Double(f64::NEG_INFINITY) => Cow::Borrowed("-Infinity"),
        other => {
            // A cut moves back to the border of a character.
            let bytes_max = bytes_max.saturating_add(UTF8_BYTES_MAX);
            let mut out = Vec::new();
            let mut text = JsonText {
                out: &mut out,
                string_bytes_max: bytes_max,
                name_bytes_max: bytes_max,
                // The readers have bounded the depth already.
                depth_max: usize::MAX,
                full_at: bytes_max,
            };
            text.value(other, 0);
            Cow::Owned(String::from_utf8(out).expect("JSON is written from strings and ASCII"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &Value<'_>, string_bytes_max: usize, depth_max: usize) -> String {
        let mut out = Vec::new();
        let mut text = JsonText {
            out: &mut out,
            string_bytes_max,
            name_bytes_max: usize::MAX,
            depth_max,
            full_at: usize::MAX,
        };
        text.value(value, 0);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_kind_of_value_has_its_json() {
        let map = Value::Map(vec![Attribute {
            key: "k\"".into(),
            value: Value::List(vec![Value::Null, Value::Bool(true)]),
        }]);
        for (value, json, text) in [
            (Value::Null, "null", "null"),
            (
                Value::Int(i64::MIN),
                "-9223372036854775808",
                "-9223372036854775808",
            ),
            (Value::Double(1.0), "1.0", "1.0"),
            (Value::Double(f64::NAN), "\"NaN\"", "NaN"),
            (
                Value::Double(f64::NEG_INFINITY),
                "\"-Infinity\"",
                "-Infinity",
            ),
            (
                Value::Text("a\n\u{1}".into()),
                "\"a\\n\\u0001\"",
                "a\n\u{1}",
            ),
            (Value::Bytes(vec![0xff, 0xef].into()), "\"/+8=\"", "/+8="),
            (map, "{\"k\\\"\":[null,true]}", "{\"k\\\"\":[null,true]}"),
        ] {
            assert_eq!(written(&value, usize::MAX, 32), json);
            assert_eq!(text_of(&value), text);
        }
    }

    #[test]
    fn long_strings_are_cut_between_characters_and_deep_values_become_text() {
        assert_eq!(written(&Value::Text("aéb".into()), 2, 32), "\"a\"");
        let deep = Value::List(vec![Value::List(vec![Value::Text("x".into())])]);
        assert_eq!(written(&deep, 100, 1), "[\"[\\\"x\\\"]\"]");
        let bytes = Value::Bytes(vec![0xff; 1000].into());
        assert_eq!(written(&bytes, 7, 32), "\"///////\"");
        let mut out = Vec::new();
        let mut text = JsonText {
            out: &mut out,
            string_bytes_max: usize::MAX,
            name_bytes_max: usize::MAX,
            depth_max: 32,
            full_at: 20,
        };
        text.value(&bytes, 0);
        assert!(text.is_full() && text.out.len() < 30);
        // Nothing of what is cut away makes a difference to what is kept.
        let map = Value::Map(vec![
            Attribute {
                key: "kéy".repeat(9).into(),
                value: Value::Bytes(vec![7; 50].into()),
            },
            Attribute {
                key: "b".into(),
                value: Value::List(vec![Value::Text("\"é\n".repeat(20).into()), Value::Null]),
            },
        ]);
        let whole = text_of(&map);
        for bytes_max in 0..whole.len() + 2 {
            let end = whole.floor_char_boundary(bytes_max);
            let part = written(&map, bytes_max, 0);
            let part: String = serde_json::from_str(&part).unwrap();
            assert_eq!(part, whole[..end], "{bytes_max}");
        }
    }
}
