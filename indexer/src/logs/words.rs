//! What a word is: the one rule that cuts and lower-cases texts, used when events are indexed and when they are searched.
//!
//! A word is a run of letters, digits and `_` (any script), at most [`WORD_CHARS_MAX`] characters; a longer run is cut
//! into pieces. Han and Hiragana characters are words of their own, because their scripts put no blanks between words.
//! Everything else separates. Case is folded by Unicode's full lower-casing, character by character.
//!
//! The rule is part of the shard format: change it together with [`super::schema::FORMAT_VERSION`].

use std::ops::Range;

/// The longest word; Elasticsearch's standard analyzer cuts at the same length.
pub const WORD_CHARS_MAX: usize = 255;

/// Answers whether a character belongs to words.
pub fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || is_combining_mark(c)
}

/// Cuts a text into words: each with its byte range in `text` and its lower-cased form.
pub fn words(text: &str) -> Words<'_> {
    Words { text, at: 0 }
}

/// The byte ranges of the words of a text.
pub fn word_ranges(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut words = words(text);
    std::iter::from_fn(move || words.next_range())
}

/// Whether a word as it stands in a text is `wanted`, which is lower-cased.
pub fn is_word(word: &str, wanted: &str) -> bool {
    match word.is_ascii() {
        true => word.eq_ignore_ascii_case(wanted),
        false => word.chars().flat_map(char::to_lowercase).eq(wanted.chars()),
    }
}

/// Whether a word is so long that it may be one piece of a longer run.
pub fn is_cut(word: &str) -> bool {
    word.len() >= WORD_CHARS_MAX && word.chars().count() >= WORD_CHARS_MAX
}

/// Calls `visit` with each word of a text, lower-cased; `room` is overwritten.
pub fn for_each_word(text: &str, room: &mut String, mut visit: impl FnMut(&str)) {
    let mut words = words(text);
    while let Some(range) = words.next_range() {
        lower_case_into(&text[range], room);
        visit(room);
    }
}

/// Lower-cases as the index does; `out` is overwritten.
pub fn lower_case_into(word: &str, out: &mut String) {
    out.clear();
    if word.is_ascii() {
        out.push_str(word);
        out.make_ascii_lowercase();
    } else {
        out.extend(word.chars().flat_map(char::to_lowercase));
    }
}

/// Lower-cases as the index does.
pub fn lower_case(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    lower_case_into(word, &mut out);
    out
}

/// The words of a text, one after the other.
pub struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl Words<'_> {
    /// The byte range of the next word.
    fn next_range(&mut self) -> Option<Range<usize>> {
        let bytes = self.text.as_bytes();
        // ASCII separators and words, the bulk of logs, are walked byte by byte.
        loop {
            match bytes.get(self.at) {
                None => return None,
                Some(byte) if byte.is_ascii() => {
                    if is_ascii_word_byte(*byte) {
                        break;
                    }
                    self.at += 1;
                }
                Some(_) => {
                    let c = self.text[self.at..].chars().next()?;
                    if is_word_char(c) {
                        break;
                    }
                    self.at += c.len_utf8();
                }
            }
        }
        let start = self.at;
        let mut end = start;
        let mut char_count = 0;
        while char_count < WORD_CHARS_MAX {
            match bytes.get(end) {
                Some(byte) if byte.is_ascii() => {
                    if !is_ascii_word_byte(*byte) {
                        break;
                    }
                    end += 1;
                }
                Some(_) => {
                    let Some(c) = self.text[end..].chars().next() else {
                        break;
                    };
                    if !is_word_char(c) || (is_word_alone(c) && end > start) {
                        break;
                    }
                    end += c.len_utf8();
                    if is_word_alone(c) {
                        break;
                    }
                }
                None => break,
            }
            char_count += 1;
        }
        self.at = end;
        Some(start..end)
    }
}

impl Iterator for Words<'_> {
    type Item = (Range<usize>, String);

    fn next(&mut self) -> Option<Self::Item> {
        let range = self.next_range()?;
        let word = lower_case(&self.text[range.clone()]);
        Some((range, word))
    }
}

fn is_ascii_word_byte(byte: u8) -> bool {
    const IS_WORD: [bool; 256] = {
        let mut is_word = [false; 256];
        let mut byte = 0;
        while byte < 128 {
            is_word[byte] = (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'_';
            byte += 1;
        }
        is_word
    };
    IS_WORD[usize::from(byte)]
}

fn is_word_alone(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{309F}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
}

/// Marks that change the letter before them, in the blocks that logs have.
fn is_combining_mark(c: char) -> bool {
    matches!(c, '\u{0300}'..='\u{036F}' | '\u{0900}'..='\u{0DFF}' | '\u{0E31}'..='\u{0E4E}' | '\u{200C}' | '\u{200D}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &[&str]) {
        let found: Vec<String> = words(text).map(|(_, word)| word).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn words_are_cut_as_people_expect() {
        check(
            "GET /index.html HTTP/1.1",
            &["get", "index", "html", "http", "1", "1"],
        );
        check("user_id=42; Größe: ÉTÉ", &["user_id", "42", "größe", "été"]);
        check("日本語ログ error", &["日", "本", "語", "ログ", "error"]);
        check("", &[]);
        check(" -- 🔥 ", &[]);
        check("blk_-1608999687919862906", &["blk_", "1608999687919862906"]);
    }

    #[test]
    fn a_long_run_is_cut_into_pieces() {
        let lengths: Vec<usize> = words(&"a".repeat(600))
            .map(|(_, word)| word.len())
            .collect();
        assert_eq!(lengths, [255, 255, 90]);
    }

    proptest! {
        #[test]
        fn ranges_are_ordered_and_cover_every_word_char(text in "\\PC{0,60}") {
            let mut covered = 0;
            let mut last_end = 0;
            for (range, word) in words(&text) {
                prop_assert!(range.start >= last_end && range.end > range.start);
                prop_assert_eq!(&lower_case(&text[range.clone()]), &word);
                covered += text[range.clone()].chars().count();
                last_end = range.end;
            }
            prop_assert_eq!(covered, text.chars().filter(|c| is_word_char(*c)).count());
        }
    }
}
