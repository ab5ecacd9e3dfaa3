//! What a value says, from how it is spelled in JSON; and what a search can rule out by a summary of it.

use std::borrow::Cow;

use super::super::flatten::LeafValue;

/// The letters a to z, each a bit; then [`DIGIT`] and the others. Of the lower-cased text.
pub type Letters = u32;

/// Some digit.
pub const DIGIT: Letters = 1 << 26;
/// A low line.
pub const LOW_LINE: Letters = 1 << 27;
/// Something beyond ASCII.
pub const BEYOND_ASCII: Letters = 1 << 28;
/// Is spelled with escapes, so that its bytes are not those of the text.
pub const ESCAPED: Letters = 1 << 29;
/// Any other character.
pub const OTHER: Letters = 1 << 30;
/// Nothing can be ruled out.
pub const ANYTHING: Letters = u32::MAX;

/// The text that stands between the quotes; `None` when it cannot be held (a lone surrogate).
pub fn text_of(spelled: &[u8]) -> Option<Cow<'_, str>> {
    text_in(std::str::from_utf8(spelled).ok()?)
}

/// The same of what is known to be UTF-8.
pub fn text_in(spelled: &str) -> Option<Cow<'_, str>> {
    if memchr::memchr(b'\\', spelled.as_bytes()).is_none() {
        return Some(Cow::Borrowed(spelled));
    }
    let mut quoted = String::with_capacity(spelled.len() + 2);
    quoted.push('"');
    quoted.push_str(spelled);
    quoted.push('"');
    serde_json::from_str::<String>(&quoted).ok().map(Cow::Owned)
}

/// Whether some character may be spelled by its number.
pub fn has_numbered_characters(spelled: &[u8]) -> bool {
    let mut escapes = memchr::memchr_iter(b'\\', spelled);
    escapes.any(|at| spelled.get(at + 1) == Some(&b'u'))
}

/// The value of a number, `true` or `false`, as a document's leaf has it; `None` for what has none: `null`, and what is
/// no such thing.
pub fn bare_of(spelled: &[u8]) -> Option<LeafValue<'static>> {
    // The bulk: whole numbers that fit in any case.
    if spelled.len() <= 18 && spelled.iter().all(u8::is_ascii_digit) && !spelled.is_empty() {
        let number = spelled
            .iter()
            .fold(0_i64, |number, digit| number * 10 + i64::from(digit - b'0'));
        return Some(LeafValue::Integer(number));
    }
    match serde_json::from_slice::<serde_json::Value>(spelled).ok()? {
        serde_json::Value::Bool(truth) => Some(LeafValue::Bool(truth)),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Some(LeafValue::Integer(number)),
            (None, Some(number)) => Some(LeafValue::Unsigned(number)),
            (None, None) => number
                .as_f64()
                .filter(|number| number.is_finite())
                .map(LeafValue::Float),
        },
        _ => None,
    }
}

/// How a value that is no text is spelled when it is searched as one.
pub fn spelled(value: &LeafValue) -> String {
    match value {
        LeafValue::Text(text) => text.to_string(),
        LeafValue::Integer(number) => number.to_string(),
        LeafValue::Unsigned(number) => number.to_string(),
        LeafValue::Float(number) => number.to_string(),
        LeafValue::Bool(truth) => truth.to_string(),
    }
}

/// The letters of a text.
pub fn letters_of(text: &str) -> Letters {
    let mut letters = 0;
    for byte in text.bytes() {
        letters |= LETTERS[usize::from(byte)];
    }
    if letters & BEYOND_ASCII != 0 {
        // Some become letters of ASCII when they are lower-cased.
        for c in text.chars().filter(|c| !c.is_ascii()) {
            for lower in c.to_lowercase().filter(char::is_ascii) {
                letters |= LETTERS[lower as usize];
            }
        }
    }
    letters
}

/// By byte.
static LETTERS: [Letters; 256] = {
    let mut letters = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        letters[byte] = match byte as u8 {
            letter @ b'a'..=b'z' => 1 << (letter - b'a'),
            letter @ b'A'..=b'Z' => 1 << (letter - b'A'),
            b'0'..=b'9' => DIGIT,
            b'_' => LOW_LINE,
            128.. => BEYOND_ASCII,
            _ => OTHER,
        };
        byte += 1;
    }
    letters
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_the_document_says() {
        assert_eq!(text_of(br#"a\n\u00e9"#).as_deref(), Some("a\né"));
        assert_eq!(text_of(br"\ud800"), None);
        let cases = [
            ("7", Some(LeafValue::Integer(7))),
            ("-0.50", Some(LeafValue::Float(-0.5))),
            ("1e3", Some(LeafValue::Float(1000.0))),
            ("18446744073709551615", Some(LeafValue::Unsigned(u64::MAX))),
            ("true", Some(LeafValue::Bool(true))),
            ("null", None),
            ("1e999", None),
            ("", None),
        ];
        for (bare, value) in cases {
            assert_eq!(bare_of(bare.as_bytes()), value, "{bare}");
        }
    }

    #[test]
    fn letters_are_those_of_the_lower_cased_text() {
        assert_eq!(letters_of("aB_1"), 0b11 | LOW_LINE | DIGIT);
        // The Kelvin sign becomes a k.
        assert_eq!(letters_of("\u{212A} "), 1 << 10 | BEYOND_ASCII | OTHER);
    }
}
