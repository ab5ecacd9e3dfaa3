//! `?pretty`: a JSON text with line breaks, its numbers and strings as they were spelled.

/// Two blanks per level, a blank behind the colon, `{ }` and `[ ]` for what is empty, a line break at the end.
///
/// Expects valid JSON; of anything else the result means nothing, and it does not panic.
pub(super) fn pretty(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 3 / 2);
    let mut depth = 0usize;
    let mut at = 0;
    while at < json.len() {
        let byte = json[at];
        match byte {
            b'"' => {
                let end = string_end(json, at);
                out.extend_from_slice(&json[at..end]);
                at = end;
                continue;
            }
            b'{' | b'[' => {
                let next = json[at + 1..].iter().position(|b| !b.is_ascii_whitespace());
                let next = next.map_or(json.len(), |offset| at + 1 + offset);
                let is_empty = matches!(json.get(next), Some(b'}' | b']'));
                out.push(byte);
                if is_empty {
                    out.extend_from_slice(&[b' ', json[next]]);
                    at = next + 1;
                    continue;
                }
                depth += 1;
                new_line(depth, &mut out);
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                new_line(depth, &mut out);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                new_line(depth, &mut out);
            }
            b':' => out.extend_from_slice(b" : "),
            byte if byte.is_ascii_whitespace() => {}
            byte => out.push(byte),
        }
        at += 1;
    }
    out.push(b'\n');
    out
}

fn string_end(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < json.len() {
        match json[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    json.len()
}

fn new_line(depth: usize, out: &mut Vec<u8>) {
    // A line never begins with more blanks than this, or a deep value would grow with the square of its depth.
    const DEPTH_SHOWN_MAX: usize = 64;
    out.push(b'\n');
    out.extend(std::iter::repeat_n(b' ', depth.min(DEPTH_SHOWN_MAX) * 2));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_looks_as_elasticsearch_writes_it() {
        let json = r#"{"a":1.50,"b":[ ],"c":{},"d":[true,{"e\"}":"x, y"}]}"#;
        let expected = concat!(
            "{\n  \"a\" : 1.50,\n  \"b\" : [ ],\n  \"c\" : { },\n  \"d\" : [\n    true,\n    {\n",
            "      \"e\\\"}\" : \"x, y\"\n    }\n  ]\n}\n"
        );
        assert_eq!(
            String::from_utf8(pretty(json.as_bytes())).unwrap(),
            expected
        );
    }

    proptest! {
        #[test]
        fn it_means_the_same(keys in proptest::collection::vec(".{0,6}", 0..6), number in any::<i64>()) {
            let mut value = serde_json::json!([number, null, {}]);
            for key in keys {
                value = serde_json::json!({ key: value, "list": [] });
            }
            let text = pretty(value.to_string().as_bytes());
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&text).unwrap(), value);
        }

        #[test]
        fn any_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = pretty(&bytes);
        }
    }
}
