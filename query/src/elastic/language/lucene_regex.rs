//! Lucene's regular expressions, translated into those of the `regex` crate.
//!
//! Both are anchored at both ends. Lucene knows `"literal"`, `@` (anything) and `#` (nothing); `^` and `$` are ordinary
//! characters there, but people write them as anchors: at the ends we take them so. `&`, `~` and `<1-9>` (intersection,
//! complement, numbers between) are refused: no engine with linear time has them.

use regex::RegexBuilder;

/// The longest expression, in characters; Elasticsearch's `index.max_regex_length`.
const CHARS_MAX: usize = 1000;

/// How large a compiled expression may be, in bytes: bounds what `{1000}{1000}` can cost.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Translates an expression. `has_optional_operators` says whether `# @ & < > ~` are operators or ordinary characters.
///
/// # Errors
/// The expression is not valid, too long or too large; the text says why.
pub fn translate(lucene: &str, has_optional_operators: bool) -> Result<String, String> {
    if lucene.chars().count() > CHARS_MAX {
        return Err(format!(
            "The length of regex has exceeded the allowed maximum of [{CHARS_MAX}]"
        ));
    }
    let mut translation = Translation {
        chars: lucene.chars().collect(),
        at: 0,
        out: String::with_capacity(lucene.len() + 16),
        has_optional_operators,
        previous: Previous::Opening,
    };
    translation.out.push_str("(?s)");
    translation.run()?;
    let regex = translation.out;
    RegexBuilder::new(&regex)
        .size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| problem_of(&error))?;
    Ok(regex)
}

fn problem_of(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => {
            format!("it compiles to more than {COMPILED_BYTES_MAX} bytes")
        }
        // The crate draws the expression and marks the place; its last line says what is wrong.
        other => {
            let drawing = other.to_string();
            let last = drawing.lines().last().unwrap_or_default().trim();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
    }
}

struct Translation {
    chars: Vec<char>,
    at: usize,
    out: String,
    has_optional_operators: bool,
    previous: Previous,
}

/// What the last piece was, as far as a quantifier behind it cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Previous {
    Opening,
    Operand,
    Quantifier,
}

impl Translation {
    fn run(&mut self) -> Result<(), String> {
        let length = self.chars.len();
        while let Some(c) = self.next() {
            let is_first = self.at == 1;
            let is_last = self.at == length;
            match c {
                '^' if is_first => {}
                '$' if is_last => {}
                '.' | '?' | '*' | '+' | '|' | '(' | ')' => {
                    self.operator(c)?;
                    continue;
                }
                '{' => {
                    self.repetition()?;
                    self.previous = Previous::Quantifier;
                    continue;
                }
                '"' => self.quoted()?,
                '\\' => self.escaped()?,
                '[' => self.class()?,
                '@' if self.has_optional_operators => self.out.push_str(".*"),
                '#' if self.has_optional_operators => self.out.push_str(r"[^\s\S]"),
                '&' | '~' | '<' | '>' if self.has_optional_operators => {
                    return Err(format!(
                        "operator '{c}' at position {} is not supported; write \\{c} for the character",
                        self.at - 1
                    ));
                }
                other => self.literal(other),
            }
            self.previous = Previous::Operand;
        }
        Ok(())
    }

    fn next(&mut self) -> Option<char> {
        let c = self.chars.get(self.at).copied()?;
        self.at += 1;
        Some(c)
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn literal(&mut self, c: char) {
        self.out
            .push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    }

    /// `(?` would begin a flag and `*?` be lazy in the `regex` crate; in Lucene the first is wrong, the second optional.
    fn operator(&mut self, c: char) -> Result<(), String> {
        match c {
            '?' if self.previous == Previous::Opening => {
                return Err(format!("nothing to repeat at position {}", self.at - 1));
            }
            '?' if self.previous == Previous::Quantifier => self.out.push_str("{0,1}"),
            other => self.out.push(other),
        }
        self.previous = match c {
            '?' | '*' | '+' => Previous::Quantifier,
            '(' => Previous::Opening,
            _ => Previous::Operand,
        };
        Ok(())
    }

    fn quoted(&mut self) -> Result<(), String> {
        let start = self.at - 1;
        loop {
            match self.next() {
                Some('"') => return Ok(()),
                Some(c) => self.literal(c),
                None => return Err(format!("expected '\"' for the one at position {start}")),
            }
        }
    }

    fn escaped(&mut self) -> Result<(), String> {
        match self.next() {
            Some(c @ ('d' | 'D' | 'w' | 'W' | 's' | 'S')) => {
                self.out.push('\\');
                self.out.push(c);
            }
            Some(c) => self.literal(c),
            None => return Err("it ends with an escape character".to_owned()),
        }
        Ok(())
    }

    fn repetition(&mut self) -> Result<(), String> {
        let start = self.at - 1;
        let rest: String = self.chars[self.at..]
            .iter()
            .take_while(|c| **c != '}')
            .collect();
        let is_closed = self.chars.get(self.at + rest.chars().count()) == Some(&'}');
        let is_shaped = rest
            .split(',')
            .all(|part| part.chars().all(|c| c.is_ascii_digit()))
            && rest.split(',').count() <= 2
            && rest.starts_with(|c: char| c.is_ascii_digit());
        if !is_closed || !is_shaped {
            return Err(format!(
                "expected {{n}}, {{n,}} or {{n,m}} at position {start}"
            ));
        }
        self.at += rest.chars().count() + 1;
        self.out.push('{');
        self.out.push_str(&rest);
        self.out.push('}');
        Ok(())
    }

    fn class(&mut self) -> Result<(), String> {
        let start = self.at - 1;
        self.out.push('[');
        if self.peek() == Some('^') {
            self.at += 1;
            self.out.push('^');
        }
        let mut is_first = true;
        loop {
            match self.next() {
                Some(']') if !is_first => {
                    self.out.push(']');
                    return Ok(());
                }
                Some('\\') => self.escaped()?,
                // A dash between two characters makes a range, as in both languages.
                Some('-') if !is_first && self.peek() != Some(']') => self.out.push('-'),
                Some(c) => self.literal_in_class(c),
                None => return Err(format!("expected ']' for the '[' at position {start}")),
            }
            is_first = false;
        }
    }

    /// Inside brackets the `regex` crate has operators (`&&`, `--`, `~~`, nested brackets) that Lucene has not.
    fn literal_in_class(&mut self, c: char) {
        if matches!(c, '[' | ']' | '&' | '~' | '-' | '^' | '\\') {
            self.out.push('\\');
        }
        self.out.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use regex::Regex;

    fn matches(lucene: &str, text: &str) -> bool {
        let regex = translate(lucene, true).unwrap();
        Regex::new(&format!("^(?:{regex})$"))
            .unwrap()
            .is_match(text)
    }

    #[test]
    fn expressions_match_as_in_lucene() {
        let cases = [
            ("jo(hn|e)", "joe", true),
            ("jo(hn|e)", "joes", false),
            ("err.*", "error\nsecond", true),
            ("a{2,3}", "aaa", true),
            ("[a-c]+", "abc", true),
            ("[^a-c]+", "abc", false),
            ("[a&&b]+", "a&b", true),
            ("[-a]", "-", true),
            ("a\\.b", "axb", false),
            ("\"a.b\"", "a.b", true),
            ("\"a.b\"", "axb", false),
            ("a@", "abcdef", true),
            ("^abc$", "abc", true),
            ("a\\$b", "a$b", true),
            ("a$b", "a$b", true),
            ("\\d+", "42", true),
            ("ab*?", "abbb", true),
            ("ab+?", "a", true),
            ("a\\*?", "a*", true),
            ("a#", "a", false),
            ("é|ü", "ü", true),
        ];
        for (lucene, text, expected) in cases {
            assert_eq!(matches(lucene, text), expected, "{lucene} {text}");
        }
    }

    #[test]
    fn what_cannot_be_matched_is_refused_with_its_place() {
        let cases = [
            ("a&b", "operator '&' at position 1"),
            ("~a", "operator '~' at position 0"),
            ("<1-9>", "operator '<' at position 0"),
            ("a(", "unclosed group"),
            ("[a", "expected ']'"),
            ("a{x}", "expected {n}"),
            ("\"a", "expected '\"'"),
            ("a\\", "ends with an escape"),
            ("*a", "repetition operator missing expression"),
            ("(?i)a", "nothing to repeat at position 1"),
            ("((a{1000}){1000}){1000}", "compiles to more than"),
        ];
        for (lucene, expected) in cases {
            let problem = translate(lucene, true).unwrap_err();
            assert!(problem.contains(expected), "{lucene}: {problem}");
        }
        assert!(translate(&"a".repeat(1001), true).is_err());
        assert!(translate("a&b~<1>", false).is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_translated_or_refused(lucene in "[\\\\\\[\\]{}()\"|?*+.^$&~<>@#a-c0-9,é-]{0,16}") {
            let _ = translate(&lucene, true);
        }
    }
}
