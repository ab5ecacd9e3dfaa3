//! What a word is, said as plainly as can be: characters of words stand together, Han and Hiragana alone, and after
//! 255 characters the next word begins.

const WORD_CHARS_MAX: usize = 255;

/// The words of a text, lower-cased, one after the other.
pub fn words(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let lowered = |(start, end): (usize, usize)| {
        let word: String = chars[start..end].iter().collect();
        lower(&word)
    };
    word_ranges(&chars).into_iter().map(lowered).collect()
}

/// From which character to before which one each word goes.
pub fn word_ranges(chars: &[char]) -> Vec<(usize, usize)> {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    let mut may_go_on = false;
    for (at, c) in chars.iter().enumerate() {
        if !is_word_char(*c) {
            may_go_on = false;
            continue;
        }
        match ranges.last_mut() {
            Some((start, end))
                if may_go_on && !stands_alone(*c) && at - *start < WORD_CHARS_MAX =>
            {
                *end = at + 1;
            }
            _ => ranges.push((at, at + 1)),
        }
        may_go_on = !stands_alone(*c);
    }
    ranges
}

pub fn is_word_char(c: char) -> bool {
    let is_mark = matches!(c, '\u{300}'..='\u{36F}' | '\u{900}'..='\u{DFF}' | '\u{E31}'..='\u{E4E}' | '\u{200C}' | '\u{200D}');
    c.is_alphanumeric() || c == '_' || is_mark
}

fn stands_alone(c: char) -> bool {
    let is_hiragana = matches!(c, '\u{3040}'..='\u{309F}');
    let is_han = matches!(c, '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}');
    is_hiragana || is_han
}

/// Lower case, character by character.
pub fn lower(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Whether these words stand in that list next to each other and in this order.
pub fn has_phrase(list: &[String], phrase: &[String]) -> bool {
    (0..list.len()).any(|start| list[start..].starts_with(phrase))
}

#[test]
fn words_are_cut_at_separators_alone_standing_characters_and_length() {
    assert_eq!(
        words("GET /Größe_1, 日本語ログx"),
        ["get", "größe_1", "日", "本", "語", "ログx"]
    );
    assert_eq!(words("- . 🔥"), [""; 0]);
    let lengths: Vec<usize> = words(&"a".repeat(600)).iter().map(String::len).collect();
    assert_eq!(lengths, [255, 255, 90]);
    assert!(has_phrase(&words("a a b"), &words("A-b")));
    assert!(!has_phrase(&words("a x b"), &words("a b")));
}
