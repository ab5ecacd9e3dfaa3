//! Whether a document is one JSON object, and the time it carries.
//!
//! A document is stored as it was sent, so this only looks: whatever RFC 8259's grammar allows is taken, also what
//! programs stumble over (lone surrogates, `1e999`, duplicate keys, any depth). It does not recurse.

use std::fmt;

use event::Timestamp;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::plain::{self, PlainTime};
use crate::text::Text;

const TIMESTAMP_KEY: &str = "@timestamp";

/// Where and why a text is not one JSON object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("[{line}:{column}] {message}")]
pub struct NotJson {
    /// From 1.
    pub line: usize,
    /// In bytes, from 1.
    pub column: usize,
    /// What was expected or found.
    pub message: String,
}

/// Checks that `document` is the text of one JSON object and reads its top-level `@timestamp`, the last one.
///
/// A missing or unreadable `@timestamp` is `None` and no error.
///
/// # Errors
/// The bytes are not UTF-8, not JSON, not an object, or more than one.
pub fn check(document: &[u8]) -> Result<Option<Timestamp>, NotJson> {
    let text = std::str::from_utf8(document).map_err(|error| not_utf8(document, error))?;
    match plain::look_at(text) {
        Some(PlainTime::None) => return Ok(None),
        Some(PlainTime::Text(time)) => return Ok(Timestamp::parse_lenient(time).ok()),
        Some(PlainTime::Other) | None => {}
    }
    check_all(text)
}

/// The same for all that the grammar allows.
fn check_all(text: &str) -> Result<Option<Timestamp>, NotJson> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let timestamp = deserializer
        .deserialize_map(ObjectVisitor)
        .and_then(|timestamp| deserializer.end().map(|()| timestamp))
        .map_err(|error| NotJson {
            line: error.line().max(1),
            // Serde knows no place when it expected something else at the very beginning.
            column: error.column().max(1),
            message: without_position(&error.to_string()).to_owned(),
        })?;
    Ok(timestamp)
}

/// Reads the text of one JSON value as a time; what is none is `None`.
fn timestamp_of(value: &RawValue) -> Option<Timestamp> {
    let text = value.get();
    let Some(quoted) = text.strip_prefix('"') else {
        let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
        return is_number.then(|| Timestamp::parse_lenient(text).ok())?;
    };
    if !quoted.contains('\\') {
        return Timestamp::parse_lenient(quoted.strip_suffix('"')?).ok();
    }
    let unescaped: String = serde_json::from_str(text).ok()?;
    Timestamp::parse_lenient(&unescaped).ok()
}

fn not_utf8(document: &[u8], error: std::str::Utf8Error) -> NotJson {
    let before = &document[..error.valid_up_to()];
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
    NotJson {
        line: 1 + memchr::memchr_iter(b'\n', before).count(),
        column: before.len() - line_start + 1,
        message: format!(
            "invalid UTF-8: unexpected byte 0x{:02x}",
            document[before.len()]
        ),
    }
}

/// Serde ends its messages with ` at line 1 column 7`; we put the position in front.
fn without_position(message: &str) -> &str {
    message
        .rfind(" at line ")
        .map_or(message, |at| &message[..at])
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Option<Timestamp>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<Timestamp>, A::Error> {
        let mut timestamp = None;
        // Keys as raw text: as text serde refuses lone surrogates, as bytes it takes control characters.
        while let Some(key) = map.next_key::<&RawValue>()? {
            if is_timestamp_key(key) {
                timestamp = timestamp_of(map.next_value::<&RawValue>()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(timestamp)
    }
}

/// Whether the text of a key, quotes and escapes included, spells `@timestamp`.
fn is_timestamp_key(key: &RawValue) -> bool {
    let text = key.get();
    match text.contains('\\') {
        false => text.trim_matches('"') == TIMESTAMP_KEY,
        true => serde_json::from_str::<Text<'_>>(text).is_ok_and(|key| key.0 == TIMESTAMP_KEY),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn everything_the_grammar_allows_is_taken() {
        let deep = format!("{}1{}", r#"{"a":["#.repeat(2000), "]}".repeat(2000));
        let documents = [
            "{}",
            " \t{ \"a\" : 1 } \r",
            "{\"a\":1,\n  \"b\":[\n]}",
            r#"{"a":1,"a":2,"":null}"#,
            r#"{"n":[1e999,-0,-0.0,123456789012345678901234567890,1E+2]}"#,
            r#"{"lone":"\ud800","\udfff":"\ud800\ud800","\u0000":"\u0000"}"#,
            r#"{"escapes":"\"\\\/\b\f\n\r\t"}"#,
            "{\"\u{7f}\u{10ffff}é\":\"\u{7f}\"}",
            &deep,
        ];
        for document in documents {
            assert_eq!(check(document.as_bytes()), Ok(None), "{document:.80}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_its_place() {
        let documents: [&[u8]; 20] = [
            b"",
            b"   ",
            b"[]",
            b"1",
            b"{",
            br#"{"a":1"#,
            br#"{"a":1,}"#,
            br#"{"a":}"#,
            br#"{a:1}"#,
            br#"{"a":01}"#,
            br#"{"a":NaN}"#,
            br#"{"a":tru}"#,
            br#"{"a":"\x"}"#,
            b"{\"a\":\"\t\"}",
            b"{\"a\tb\":1}",
            b"{\"\0\":1}",
            br#"{"\x":1}"#,
            br#"{"a":1} {}"#,
            br#"{"a":"\u12"}"#,
            b"{\"a\":\"\xff\"}",
        ];
        for document in documents {
            let error = check(document).unwrap_err();
            let text = String::from_utf8_lossy(document);
            let is_inside = (1..=document.len().max(1)).contains(&error.column);
            assert!(is_inside, "{text}: {error}");
            assert!(!error.message.contains("column"), "{text}: {error}");
        }
        let not_utf8 = check(b"{\"a\":\"\xff\"}").unwrap_err().to_string();
        assert_eq!(not_utf8, "[1:7] invalid UTF-8: unexpected byte 0xff");
        assert_eq!(check(b"{\"a\":1,\n\"b\":\"\xff\"}").unwrap_err().line, 2);
        assert_eq!(
            check(br#"{"a":1,}"#).unwrap_err().to_string(),
            "[1:8] trailing comma"
        );
    }

    #[test]
    fn the_time_is_read_from_the_top_level_only() {
        let ten = Timestamp::parse_iso("2026-11-23T10:00:00Z").unwrap();
        for (document, expected) in [
            (r#"{"@timestamp":"2026-11-23T10:00:00Z"}"#, Some(ten)),
            (r#"{"@timestamp":"2026-11-23T11:00:00+01:00"}"#, Some(ten)),
            (
                r#"{"@timestamp":"2026-11-23T11:00:00\u002b01:00"}"#,
                Some(ten),
            ),
            (r#"{"\u0040timestamp":1795428000000}"#, Some(ten)),
            (r#"{"@timestamp":"1795428000000"}"#, Some(ten)),
            (r#"{"@timestamp": 1795428000000.0 }"#, Some(ten)),
            (
                r#"{"@timestamp":"x","@timestamp":1795428000000}"#,
                Some(ten),
            ),
            (r#"{"a":{"@timestamp":1795428000000}}"#, None),
            (r#"{"@timestamp":null}"#, None),
            (r#"{"@timestamp":["2026-11-23"]}"#, None),
            (r#"{"@timestamp":"yesterday"}"#, None),
            (r#"{"@timestamp":"\ud800"}"#, None),
            (r#"{"@timestamp":1e999}"#, None),
            (r#"{"@timestamp":true}"#, None),
        ] {
            assert_eq!(check(document.as_bytes()), Ok(expected), "{document}");
        }
    }

    proptest! {
        /// Whatever serde_json can build a value from is a document when it is an object, and the reverse
        /// except for what the grammar allows and serde_json does not.
        #[test]
        fn any_text_is_judged_as_serde_judges_it(text in r#"[\[\]{}:,"0-9eE.+\-truefalsn \\/\u{e9}]{0,24}"#) {
            let ours = check(text.as_bytes()).is_ok();
            let theirs = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text).is_ok();
            prop_assert!(ours || !theirs, "{}", text);
        }

        /// The quick look never takes what serde refuses, and reads the same time.
        #[test]
        fn the_quick_look_is_right(
            value in r#"[\[\]{}:,"0-9eE.+\-truefalsn \\/\u{e9}]{0,24}"#,
            nested in proptest::bool::ANY,
        ) {
            let text = match nested {
                true => format!("{{\"@timestamp\":{value}}}"),
                false => value,
            };
            if plain::look_at(&text).is_some() {
                let all = check_all(&text);
                prop_assert!(all.is_ok(), "{}", text);
                prop_assert_eq!(check(text.as_bytes()), all);
            }
        }

        #[test]
        fn documents_that_serde_writes_are_plain(
            values in proptest::collection::vec((".{0,8}", proptest::num::f64::NORMAL, -9..9_i32), 0..6),
        ) {
            let mut document = serde_json::Map::new();
            for (text, float, integer) in values {
                document.insert(format!("k {text}"), serde_json::json!([text, float, {"n": integer}, null, []]));
            }
            document.insert("@timestamp".into(), "2026-11-23T10:00:00Z".into());
            let text = serde_json::Value::from(document).to_string();
            let keys_are_plain = !text.contains('\\');
            let looked = plain::look_at(&text);
            prop_assert!(!keys_are_plain || looked == Some(PlainTime::Text("2026-11-23T10:00:00Z")), "{}", text);
        }

        #[test]
        fn any_bytes_are_judged(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = check(&bytes);
            let _ = check(&[b"{\"@timestamp\":", &bytes[..], b"}"].concat());
        }
    }
}
