//! JSON that somebody will send one day.

use super::random::Random;
use super::templates::{hex, letters, word};

/// Keys that meet each other: nested and dotted, twice, with characters that mean something elsewhere.
const KEYS: [&str; 16] = [
    "a", "b", "c", "a.b", "b.c", "k q", "ключ", "x\\y", "q\"z", "", "tags", "message", "Ünï",
    "a.b.c", "nul\u{0}", "*",
];

/// Texts that look like something else, or that a format may use for itself.
const TEXTS: [&str; 52] = [
    "",
    " ",
    "-",
    "...",
    "\u{0}",
    "\u{1}\u{2}",
    "\t\r\n",
    "\u{7f}",
    "\u{fffd}",
    "\u{e000}",
    "\u{f8ff}x",
    "<*>",
    "%s %d",
    "{}",
    "{0}",
    "$1",
    "\\",
    "\\*",
    "*",
    "?",
    "\"",
    "\"quoted\"",
    "0.470",
    "1e3",
    "007",
    "-5",
    "500",
    "1.0",
    "true",
    "TRUE",
    "null",
    "NaN",
    "2026-11-23",
    "2026-11-23T09:00:00.123456789Z",
    "2026-11-23 10:00:00+01:00",
    "2026-13-01",
    "12345678901234567890",
    "日本語ログ",
    "ひらがな カタカナ",
    "한국어 로그",
    "Größe ÄÖÜ ß",
    "e\u{301}te\u{301} cafe\u{301}",
    "👩\u{200d}💻 done 🔥🔥",
    "İstanbul ığdır",
    "ΑΣ ΣΑΣ",
    "हिन्दी लॉग",
    "العربية",
    "a\u{a0}b\u{2003}c",
    "a=1;b=\"x y\";c='z'",
    "x_y-z_",
    "abc123def456",
    "\u{1f600}",
];

/// Numbers that are the same, or nearly.
const NUMBERS: [&str; 16] = [
    "0", "1", "1.0", "-5", "5", "0.470", "0.47", "1e3", "1000", "2.5", "-1.5e-3", "100", "500",
    "404", "1E+2", "7",
];

/// A text that is odd in some way.
pub fn text(random: &mut Random) -> String {
    match random.below(12) {
        0..=5 => random.pick(&TEXTS).to_owned(),
        6 => format!("{}{}", random.pick(&TEXTS), random.pick(&TEXTS)),
        7 => format!("{} {} {}", word(random), random.pick(&TEXTS), word(random)),
        8 => border_text(random),
        9 => {
            let length = random.between(500, 3000);
            let mut long = String::new();
            while long.len() < length {
                long.push_str(&word(random));
                long.push_str(random.pick(&[" ", ", ", "=", "/", "\n", "", ": "]));
            }
            long
        }
        10 => {
            // Around the longest word.
            let count = random.between(250, 520);
            letters(random, count)
        }
        _ => format!("{}-{}", hex(random, 8), random.below(100)),
    }
}

/// A text of some bytes more or less than a column takes.
pub fn border_text(random: &mut Random) -> String {
    let length = random.pick(&[250, 255, 256, 256, 257, 257, 258, 300]);
    let filler = random.pick(&["word ", "é", "日", "x", "🔥", "a-1 "]);
    let mut text = word(random);
    while text.len() + filler.len() <= length {
        text.push_str(filler);
    }
    while text.len() < length {
        text.push('.');
    }
    text
}

/// A JSON text, escaped in one of the ways there are.
pub fn quote(random: &mut Random, text: &str) -> String {
    let escapes_more = random.percent(15);
    let mut quoted = String::from("\"");
    for c in text.chars() {
        let is_control = c < ' ';
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '/' if escapes_more => quoted.push_str("\\/"),
            _ if is_control || (escapes_more && !c.is_ascii()) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    quoted.push_str(&format!("\\u{unit:04x}"));
                }
            }
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A whole document's fields: `"key":value` each.
pub fn fields(random: &mut Random) -> Vec<String> {
    let mut fields: Vec<String> = (0..random.below(7)).map(|_| field(random, 0)).collect();
    match random.below(12) {
        0 => fields.push(format!(
            "\"big\":{}",
            random.pick(&[
                "18446744073709551615",
                "9223372036854775807",
                "9223372036854775808",
                "3"
            ])
        )),
        1 => fields.push(format!(
            "\"huge\":{}",
            random.pick(&["12345678901234567890123", "1e300", "-2.5e20"])
        )),
        2 => fields.push(format!(
            "\"beyond\":{}",
            random.pick(&["1e999", "[1,-1E400]"])
        )),
        3 => fields.push("\"lone\":\"\\ud800x \\udc00 \\ud83d\\ude00 y\"".to_owned()),
        4 => fields.push("\"lone\\ud800\":\"key\"".to_owned()),
        5 => fields.push(format!(
            "\"deep\":{}1{}",
            "{\"d\":[".repeat(20),
            "]}".repeat(20)
        )),
        6 => fields.push("\"minus_zero\":[-0,-0.0]".to_owned()),
        _ => {}
    }
    fields
}

fn field(random: &mut Random, depth: usize) -> String {
    let key = random.pick(&KEYS);
    format!("{}:{}", quote(random, key), value(random, depth))
}

fn value(random: &mut Random, depth: usize) -> String {
    match random.below(if depth < 3 { 13 } else { 9 }) {
        0..=4 => {
            let text = text(random);
            quote(random, &text)
        }
        5 | 6 => random.pick(&NUMBERS).to_owned(),
        7 => random.percent(50).to_string(),
        8 => "null".to_owned(),
        9 | 10 => {
            let parts: Vec<String> = (0..random.below(4))
                .map(|_| value(random, depth + 1))
                .collect();
            format!("[{}]", parts.join(","))
        }
        _ => {
            let parts: Vec<String> = (0..random.below(4))
                .map(|_| field(random, depth + 1))
                .collect();
            format!("{{{}}}", parts.join(", "))
        }
    }
}
