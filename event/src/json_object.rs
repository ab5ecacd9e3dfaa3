//! The fields of a JSON object's text, for objects as programs write them.
//!
//! A quick look that never decides that something is wrong: where it is not sure (escapes in names, deep nesting), and
//! where the text is no object, it says nothing, and serde's reader has the word.

use crate::json_text::{is_number, plain_length};

/// Objects and arrays inside each other that are looked into.
const DEPTH_MAX: u32 = 16;

/// Hands out the name and the value's text of each field, in order. `None`: not understood, and what was handed out
/// before is void.
pub fn split<'a>(json: &'a str, mut push: impl FnMut(&'a str, &'a str)) -> Option<()> {
    let bytes = json.as_bytes();
    let mut at = after_white(bytes, 0);
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    at = after_white(bytes, at + 1);
    if bytes.get(at) != Some(&b'}') {
        loop {
            let name_end = string_end(bytes, at)?;
            let name = json.get(at + 1..name_end - 1)?;
            if name.as_bytes().contains(&b'\\') {
                return None;
            }
            at = after_colon(bytes, name_end)?;
            let value_end = value_end(bytes, at, DEPTH_MAX)?;
            push(name, json.get(at..value_end)?);
            at = after_white(bytes, value_end);
            match bytes.get(at)? {
                b',' => at = after_white(bytes, at + 1),
                b'}' => break,
                _ => return None,
            }
        }
    }
    (after_white(bytes, at + 1) == bytes.len()).then_some(())
}

fn value_end(bytes: &[u8], at: usize, depth: u32) -> Option<usize> {
    let literal = |text: &[u8]| bytes[at..].starts_with(text).then_some(at + text.len());
    match bytes.get(at)? {
        b'"' => string_end(bytes, at),
        b'{' | b'[' => container_end(bytes, at, depth),
        b't' => literal(b"true"),
        b'f' => literal(b"false"),
        b'n' => literal(b"null"),
        _ => {
            let is_part = |byte: &u8| {
                byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E')
            };
            let length = bytes[at..].iter().take_while(|byte| is_part(byte)).count();
            let number = std::str::from_utf8(&bytes[at..at + length]).ok()?;
            is_number(number).then_some(at + length)
        }
    }
}

fn container_end(bytes: &[u8], at: usize, depth: u32) -> Option<usize> {
    if depth == 0 {
        return None;
    }
    let is_object = bytes[at] == b'{';
    let close = if is_object { b'}' } else { b']' };
    let mut at = after_white(bytes, at + 1);
    if bytes.get(at) == Some(&close) {
        return Some(at + 1);
    }
    loop {
        if is_object {
            at = after_colon(bytes, string_end(bytes, at)?)?;
        }
        at = after_white(bytes, value_end(bytes, at, depth - 1)?);
        match bytes.get(at)? {
            b',' => at = after_white(bytes, at + 1),
            byte if *byte == close => return Some(at + 1),
            _ => return None,
        }
    }
}

/// Where the string ends that begins at `at`, behind its closing quote.
fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at + 1;
    loop {
        at += plain_length(&bytes[at..]);
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => match bytes.get(at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at += 2,
                b'u' => {
                    let digits = bytes.get(at + 2..at + 6)?;
                    if !digits.iter().all(u8::is_ascii_hexdigit) {
                        return None;
                    }
                    at += 6;
                }
                _ => return None,
            },
            _ => return None,
        }
    }
}

fn after_colon(bytes: &[u8], at: usize) -> Option<usize> {
    let at = after_white(bytes, at);
    (bytes.get(at) == Some(&b':')).then(|| after_white(bytes, at + 1))
}

fn after_white(bytes: &[u8], mut at: usize) -> usize {
    while matches!(bytes.get(at), Some(b' ' | b'\n' | b'\t' | b'\r')) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    fn fields(json: &str) -> Option<Vec<(&str, &str)>> {
        let mut fields = Vec::new();
        split(json, |name, value| fields.push((name, value)))?;
        Some(fields)
    }

    #[test]
    fn objects_are_split_where_they_are_plain() {
        let json =
            " { \"a\" : -1.50e3 , \"b\":[1,{\"c\":\"}\\\"\\u00e9\"}], \"\":null,\"t\":true }\n";
        let expected = [
            ("a", "-1.50e3"),
            ("b", "[1,{\"c\":\"}\\\"\\u00e9\"}]"),
            ("", "null"),
            ("t", "true"),
        ];
        assert_eq!(fields(json).unwrap(), expected);
        assert_eq!(fields("{}"), Some(Vec::new()));
        for json in [
            "",
            "[]",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":01}",
            "{\"a\":1,}",
            "{\"a\":1} x",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\t\"}",
            "{\"a\":tru}",
            "{a:1}",
            "{\"a\":[1,]}",
            "{\"a\":[1}}",
            "{\"\\n\":1}",
        ] {
            assert_eq!(fields(json), None, "{json}");
        }
    }

    proptest! {
        /// What it takes for an object is one to serde, too, with the same fields.
        #[test]
        fn it_is_never_surer_than_serde(json in "\\{?( ?(\"[ab\\\\]{0,2}\"|[:,{}\\[\\]]|-?[01]{0,2}(\\.5)?(e1)?|true|null|\"\\\\u00[0-9ag]{1,2}\"|\u{e9}|\t)){0,9}\\}?") {
            if let Some(fields) = fields(&json) {
                let read: BTreeMap<String, &RawValue> = serde_json::from_str(&json).unwrap();
                for (name, value) in &read {
                    let last = fields.iter().rfind(|(own, _)| own == name).unwrap();
                    prop_assert_eq!(last.1, value.get());
                }
            }
        }

        #[test]
        fn what_serde_writes_is_split(names in proptest::collection::vec("[a-z\u{e9}]{0,3}", 0..5), text in "\\PC{0,10}") {
            let object: BTreeMap<&String, (&str, f64, Option<bool>)> =
                names.iter().map(|name| (name, (&text[..], 0.5, None))).collect();
            let json = serde_json::to_string(&object).unwrap();
            prop_assert_eq!(fields(&json).map(|fields| fields.len()), Some(object.len()));
        }
    }
}
