//! Cuts the variables out of a message: what is left is its template.
//!
//! A word is a variable when it has a digit, is four or more letters of hexadecimal digits alone, or is longer than 64
//! bytes; so is what stands in quotes. Variables that only a sign or a blank-free separator keeps apart are one.

use std::ops::Range;

use super::TEXT;
use super::cut::Value;

/// Longer words are variables whatever they are made of.
const WORD_BYTES_MAX: usize = 64;

/// Shorter texts, and those without a blank, are no messages.
const MESSAGE_BYTES_MIN: usize = 12;

/// A message with more is not cut: its template would not come again.
const VARIABLES_MAX: usize = 256;

/// Which of the texts is the message: the longest that has a blank.
pub fn message_of(document: &[u8], values: &[Value]) -> Option<usize> {
    let mut longest = None;
    let mut len = MESSAGE_BYTES_MIN - 1;
    for (at, value) in values.iter().enumerate() {
        if value.is_text
            && value.range.len() > len
            && memchr::memchr(b' ', &document[value.range.clone()]).is_some()
        {
            longest = Some(at);
            len = value.range.len();
        }
    }
    longest
}

/// Writes the template of a text as it is spelled in JSON, and where its variables stand; both are overwritten.
/// Answers `false` when the text cannot be cut. It has no byte
/// up to [`super::MARK_MAX`].
pub fn cut(text: &[u8], template: &mut Vec<u8>, variables: &mut Vec<Range<usize>>) -> bool {
    template.clear();
    variables.clear();
    let mut at = 0;
    let mut written = 0;
    while at < text.len() {
        let (variable, next) = match text[at] {
            b'\\' => match quoted(text, at) {
                Some(quoted) if is_worth_cutting(&text[quoted.clone()]) => {
                    let next = quoted.end + QUOTE.len();
                    (quoted, next)
                }
                Some(quoted) => {
                    at = quoted.end + QUOTE.len();
                    continue;
                }
                None => {
                    at += escape_len(text, at);
                    continue;
                }
            },
            byte if is_word_byte(byte) => {
                let end = end_of_word(text, at);
                if !is_variable(&text[at..end]) {
                    at = end;
                    continue;
                }
                let end = end_of_run(text, end);
                (at..end, end)
            }
            _ => {
                at += 1;
                continue;
            }
        };
        if variables.len() == VARIABLES_MAX {
            return false;
        }
        template.extend_from_slice(&text[written..variable.start]);
        template.push(TEXT);
        written = variable.end;
        at = next;
        variables.push(variable);
    }
    template.extend_from_slice(&text[written..]);
    true
}

/// A quote as it is spelled inside of a text.
const QUOTE: &[u8] = b"\\\"";

/// What stands between the quotes of which the first is at `at`; `None` when there is none, or it is the last one.
fn quoted(text: &[u8], at: usize) -> Option<Range<usize>> {
    let start = at + QUOTE.len();
    if text.get(at..start)? != QUOTE {
        return None;
    }
    let mut end = start;
    loop {
        end += memchr::memchr(b'\\', text.get(end..)?)?;
        if text.get(end + 1) == Some(&b'"') {
            return Some(start..end);
        }
        end += 2;
    }
}

/// Access logs write `"-"` for what is not known.
fn is_worth_cutting(quoted: &[u8]) -> bool {
    !quoted.is_empty() && quoted != b"-"
}

/// The length of the escape at `at`, never beyond the end.
fn escape_len(text: &[u8], at: usize) -> usize {
    let len = if text.get(at + 1) == Some(&b'u') {
        6
    } else {
        2
    };
    len.min(text.len() - at)
}

fn is_word_byte(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & WORD != 0
}

const WORD: u8 = 1;
const DIGIT: u8 = 2;
/// Of a word, but no hexadecimal digit.
const NOT_HEX: u8 = 4;

/// What a byte is.
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80 {
            classes[byte] |= WORD;
            if !b.is_ascii_hexdigit() {
                classes[byte] |= NOT_HEX;
            }
        }
        if b.is_ascii_digit() {
            classes[byte] |= DIGIT;
        }
        byte += 1;
    }
    classes
};

fn end_of_word(text: &[u8], at: usize) -> usize {
    let rest = &text[at..];
    let len = rest.iter().position(|byte| !is_word_byte(*byte));
    at + len.unwrap_or(rest.len())
}

fn is_variable(word: &[u8]) -> bool {
    let classes = word
        .iter()
        .fold(0, |all, byte| all | CLASSES[usize::from(*byte)]);
    let is_hex = word.len() >= 4 && classes & NOT_HEX == 0;
    classes & DIGIT != 0 || is_hex || word.len() > WORD_BYTES_MAX
}

/// Where the run of variables ends of which the first ends at `end`.
fn end_of_run(text: &[u8], mut end: usize) -> usize {
    while let [separator, first, ..] = &text[end..]
        && matches!(separator, b'.' | b':' | b'-' | b'/' | b',' | b'_' | b'@')
        && is_word_byte(*first)
    {
        let next = end_of_word(text, end + 1);
        if !is_variable(&text[end + 1..next]) {
            break;
        }
        end = next;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, Vec<&str>) {
        let (mut template, mut variables) = (Vec::new(), Vec::new());
        assert!(cut(text.as_bytes(), &mut template, &mut variables));
        let variables = variables.iter().map(|range| &text[range.clone()]);
        let template = String::from_utf8(template).unwrap().replace('\u{1}', "*");
        (template, variables.collect())
    }

    #[test]
    fn variables_are_cut_out() {
        assert_eq!(
            parts("Received block blk_38 of size 7388643 from /10.253.241.124:80 dead beef"),
            (
                "Received block * of size * from /* * *".into(),
                vec!["blk_38", "7388643", "10.253.241.124:80", "dead", "beef"]
            )
        );
        assert_eq!(
            parts(r#"- [01/Mar] \"GET /a?b=1\" \"-\" \n5x \u00e9t\u00e9 1"#),
            (
                r#"- [*/Mar] \"*\" \"-\" \n* \u00e9t\u00e9 *"#.into(),
                vec!["01", "GET /a?b=1", "5x", "1"]
            )
        );
    }

    #[test]
    fn odd_ends_are_survived() {
        for text in [
            "\\",
            "a\\",
            "\\\"",
            "\\\"open 1",
            "\\u00",
            "1.",
            "1.a",
            "ü1-",
            "\\\"\\\"",
        ] {
            parts(text);
        }
    }
}
