//! Cuts the values out of a JSON document: what is left is its shape.

use std::ops::Range;

use super::{BARE, TEXT, WHOLE};

/// A value that was cut out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// Where it stands in the document; a text without its quotes.
    pub range: Range<usize>,
    /// Where its mark stands in the shape.
    pub mark: usize,
    /// It is a text; else a number, `true`, `false`, `null`.
    pub is_text: bool,
}

/// Writes the shape of `document` and its values, in order; both are overwritten.
///
/// The document is JSON that was accepted, and has no byte up to [`super::MARK_MAX`]. Should it be no JSON, it is one value,
/// [`WHOLE`].
pub fn cut(document: &[u8], shape: &mut Vec<u8>, values: &mut Vec<Value>) {
    shape.clear();
    values.clear();
    if walk(document, shape, values).is_none() {
        shape.clear();
        values.clear();
        shape.push(WHOLE);
        values.push(Value {
            range: 0..document.len(),
            mark: 0,
            is_text: false,
        });
    }
}

fn walk(document: &[u8], shape: &mut Vec<u8>, values: &mut Vec<Value>) -> Option<()> {
    let mut at = 0;
    // What lies before was written already.
    let mut written = 0;
    while let Some(&byte) = document.get(at) {
        let (range, is_text, end) = match byte {
            b'"' => {
                let text = at + 1..end_of_text(document, at + 1)?;
                let end = text.end + 1;
                if is_key(document, end) {
                    at = end;
                    continue;
                }
                (text, true, end)
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                let end = end_of_bare(document, at);
                (at..end, false, end)
            }
            b'{' | b'}' | b'[' | b']' | b':' | b',' | b' ' | b'\t' | b'\n' | b'\r' => {
                at += 1;
                continue;
            }
            _ => return None,
        };
        shape.extend_from_slice(&document[written..at]);
        values.push(Value {
            range,
            mark: shape.len(),
            is_text,
        });
        shape.push(if is_text { TEXT } else { BARE });
        at = end;
        written = end;
    }
    shape.extend_from_slice(&document[written..]);
    Some(())
}

/// Where the quote stands that ends the text whose first byte is at `at`.
fn end_of_text(document: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr2(b'"', b'\\', document.get(at..)?)?;
        if document[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

/// Whether what stands before `at` is a key.
fn is_key(document: &[u8], at: usize) -> bool {
    let rest = document[at..].iter();
    let next = rest.copied().find(|byte| !byte.is_ascii_whitespace());
    next == Some(b':')
}

fn end_of_bare(document: &[u8], at: usize) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
    let rest = &document[at..];
    at + rest
        .iter()
        .position(|byte| !is_part(byte))
        .unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(document: &str) -> (String, Vec<&str>) {
        let (mut shape, mut values) = (Vec::new(), Vec::new());
        cut(document.as_bytes(), &mut shape, &mut values);
        let values = values.iter().map(|value| &document[value.range.clone()]);
        (String::from_utf8(shape).unwrap(), values.collect())
    }

    #[test]
    fn values_are_cut_out_and_keys_stay() {
        assert_eq!(
            parts(r#"{"a":"x","b" : [1, -2.50e3,null],"c":{"d:\"":"\\\"e"}}"#),
            (
                "{\"a\":\u{1},\"b\" : [\u{2}, \u{2},\u{2}],\"c\":{\"d:\\\"\":\u{1}}}".into(),
                vec!["x", "1", "-2.50e3", "null", r#"\\\"e"#]
            )
        );
        assert_eq!(parts("{}"), ("{}".into(), vec![]));
    }

    #[test]
    fn what_is_no_json_is_one_value() {
        for document in ["no json", "{\"a", "{\"a\":\"\\", ""] {
            let (shape, values) = parts(document);
            match document {
                "" => assert_eq!((shape.as_str(), values), ("", vec![])),
                _ => assert_eq!((shape.as_str(), values), ("\u{3}", vec![document])),
            }
        }
    }
}
