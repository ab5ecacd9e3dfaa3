//! JSON strings and numbers as text: quoted, unquoted, checked.

use std::borrow::Cow;

/// Appends a text as a JSON string, with its quotes.
pub fn push_quoted(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    loop {
        let plain = plain_length(rest.as_bytes());
        out.push_str(&rest[..plain]);
        let Some(byte) = rest.as_bytes().get(plain) else {
            break;
        };
        push_escape(*byte, |piece| out.push_str(piece));
        rest = &rest[plain + 1..];
    }
    out.push('"');
}

/// Appends a text as a JSON string, with its quotes, to bytes.
pub fn write_quoted(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let plain = plain_length(rest);
        out.extend_from_slice(&rest[..plain]);
        let Some(byte) = rest.get(plain) else {
            break;
        };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            byte => push_escape(*byte, |piece| out.extend_from_slice(piece.as_bytes())),
        }
        rest = &rest[plain + 1..];
    }
    out.push(b'"');
}

/// How many bytes stand before the first one that a JSON string has to escape: quotes, backslashes and controls.
pub fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);
    // Eight bytes at a time: the lowest high bit that is set marks the first of them; those above it may be wrong.
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGHS;
    let mut at = 0;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word = u64::from_le_bytes(word.try_into().unwrap_or([0; 8]));
        let found = below(word, 0x20)
            | below(word ^ (ONES * u64::from(b'"')), 1)
            | below(word ^ (ONES * u64::from(b'\\')), 1);
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = words.remainder();
    at + rest
        .iter()
        .position(|byte| needs_escape(*byte))
        .unwrap_or(rest.len())
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
        fn plain_bytes_are_counted_as_one_by_one(bytes in proptest::collection::vec(prop_oneof![8 => 0x20u8..=0xFF, 1 => any::<u8>()], 0..40)) {
            let expected = bytes.iter().position(|byte| needs_escape(*byte));
            prop_assert_eq!(plain_length(&bytes), expected.unwrap_or(bytes.len()));
        }

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
