//! JSON strings and numbers as text: quoted, unquoted, checked.

use std::borrow::Cow;

/// Appends a text as a JSON string, with its quotes.
pub fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(needs_escape) {
        out.push_str(&rest[..at]);
        push_escape(rest.as_bytes()[at], |piece| out.push_str(piece));
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// Appends a text as a JSON string, with its quotes, to bytes.
pub fn write_quoted(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(needs_escape) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        push_escape(rest.as_bytes()[at], |piece| {
            out.extend_from_slice(piece.as_bytes());
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

/// The text a JSON string stands for, copied only where it has escapes; `None` for any other value.
pub fn unquoted(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.as_bytes().contains(&b'\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(json).ok().map(Cow::Owned)
}

/// Whether this is how JSON spells a number.
pub fn is_number(text: &str) -> bool {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let whole = digits(unsigned);
    if whole == 0 || (whole > 1 && unsigned.starts_with('0')) {
        return false;
    }
    let mut rest = &unsigned[whole..];
    if let Some(fraction) = rest.strip_prefix('.') {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        let count = digits(exponent);
        if count == 0 {
            return false;
        }
        rest = &exponent[count..];
    }
    rest.is_empty()
}

fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn push_escape(byte: u8, mut push: impl FnMut(&str)) {
    match byte {
        b'"' => push("\\\""),
        b'\\' => push("\\\\"),
        b'\n' => push("\\n"),
        b'\t' => push("\\t"),
        b'\r' => push("\\r"),
        0x08 => push("\\b"),
        0x0c => push("\\f"),
        control => push(&format!("\\u{control:04x}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_what_serde_takes_for_numbers() {
        for text in [
            "0", "-0", "12", "1.5", "0.470", "1e9", "1E+9", "-1.0e-2", "", "-", "01", ".5", "1.",
            "1e", "+1", "1 ", "0x1", "inf", "1.5.", "--1",
        ] {
            let is_json = serde_json::from_str::<&serde_json::value::RawValue>(text)
                .is_ok_and(|raw| raw.get() == text)
                && !text.ends_with(' ');
            assert_eq!(is_number(text), is_json, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_quoted_as_serde_does(text in "\\PC{0,20}[\"\\\\\u{0}-\u{1f}]{0,6}\\PC{0,20}") {
            let (mut out, mut bytes) = (String::new(), Vec::new());
            push_quoted(&mut out, &text);
            write_quoted(&mut bytes, &text);
            prop_assert_eq!(&out, &serde_json::to_string(&text).unwrap());
            prop_assert_eq!(out.as_bytes(), &bytes[..]);
            prop_assert_eq!(unquoted(&out).unwrap(), text);
        }
    }
}
