//! Makes a JSON document walkable whose syntax is right and whose values no parser of ours takes.
//!
//! Two things are allowed by RFC 8259 and cannot be held: numbers beyond a double, and escapes of one half of a
//! surrogate pair, which are no text. The former become texts, the latter replacement characters. What is stored stays
//! as it was sent; only what is found of it is mended.

/// The document with such values replaced. Anything else stays as it is, also when it is no JSON.
pub fn mend(source: &str) -> String {
    let mut mended = String::with_capacity(source.len() + 16);
    let mut rest = source;
    while let Some(start) = rest.find(starts_token) {
        mended.push_str(&rest[..start]);
        rest = &rest[start..];
        let length = match rest.starts_with('"') {
            true => mend_text(rest, &mut mended),
            false => mend_number(rest, &mut mended),
        };
        rest = &rest[length..];
    }
    mended.push_str(rest);
    mended
}

fn starts_token(c: char) -> bool {
    c == '"' || c == '-' || c.is_ascii_digit()
}

/// Writes the text that `rest` begins with, quotes included. Answers its length.
fn mend_text(rest: &str, mended: &mut String) -> usize {
    let bytes = rest.as_bytes();
    let (mut at, mut copied) = (1, 0);
    while at < bytes.len() && bytes[at] != b'"' {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        let Some(unit) = utf16_unit(rest, at) else {
            at += 2;
            continue;
        };
        let is_pair = (0xD800..0xDC00).contains(&unit)
            && utf16_unit(rest, at + 6).is_some_and(|low| (0xDC00..0xE000).contains(&low));
        if is_pair {
            at += 12;
            continue;
        }
        if (0xD800..0xE000).contains(&unit) {
            mended.push_str(&rest[copied..at]);
            mended.push('\u{FFFD}');
            copied = at + 6;
        }
        at += 6;
    }
    let end = (at + 1).min(bytes.len());
    mended.push_str(&rest[copied..end]);
    end
}

/// The unit of the escape `\uXXXX` that stands at `at`.
fn utf16_unit(text: &str, at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}

/// Writes the number that `rest` begins with; as a text when it is beyond a double. Answers its length.
fn mend_number(rest: &str, mended: &mut String) -> usize {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
    let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
    let number = &rest[..length];
    let is_finite = number.parse::<f64>().is_ok_and(f64::is_finite);
    match is_finite {
        true => mended.push_str(number),
        false => mended.extend(["\"", number, "\""]),
    }
    length
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_beyond_a_double_become_texts() {
        assert_eq!(
            mend(r#"{"a":1e999,"b":[-1E400, 2.5],"1e999":7}"#),
            r#"{"a":"1e999","b":["-1E400", 2.5],"1e999":7}"#
        );
    }

    #[test]
    fn halves_of_pairs_become_replacement_characters() {
        assert_eq!(
            mend(
                r#"{"a\udc00":"x\ud800y","b":"\ud83d\ude00","c":"\\ud800","d":"\ud83d\ud83d\ude00"}"#
            ),
            "{\"a\u{FFFD}\":\"x\u{FFFD}y\",\"b\":\"\\ud83d\\ude00\",\"c\":\"\\\\ud800\",\"d\":\"\u{FFFD}\\ud83d\\ude00\"}"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in r#"[\\"ud8c0-9eE.+{}:, é😀-]{0,40}"#) {
            mend(&text);
        }

        #[test]
        fn what_can_be_walked_stays(number in any::<f64>(), text in any::<String>()) {
            let document = serde_json::json!({ "n": number, "t": text }).to_string();
            prop_assert_eq!(mend(&document), document);
        }
    }
}
