//! `Leaf::WordPattern` and `Leaf::ValuePattern`: a word, or the whole value, fits a pattern.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use super::parts::Part;
use super::scan::{self, Need, ValueTest, WordTest};
use super::{Work, columns};
use crate::logs::blocks::spelling::spelled;
use crate::logs::flatten::LeafValue;
use crate::logs::reader::ValueColumn;
use crate::logs::words::{is_cut, is_word_char, lower_case, words};
use crate::logs::{Field, Pattern};

/// A compiled expression may take this much memory; more is refused.
const REGEX_BYTES_MAX: usize = 1024 * 1024;

/// Longer words of a pattern are not looked for by themselves.
const PIECE_BYTES_MAX: usize = 128;

/// A pattern, ready to be tried on words or on values.
#[derive(Clone)]
pub(super) struct Matcher {
    field: Field,
    target: Target,
    /// Every fitting word, or value, begins with this.
    prefix: String,
    test: Test,
    /// What a fitting value certainly has.
    needs: Vec<Need>,
    /// Whether full texts are asked as a whole, which means reading every one.
    takes_full_texts: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    /// One word, lower-cased.
    Word,
    /// A stretch of the lower-cased value that begins and ends at word borders.
    Stretch,
    /// The whole value as it is.
    Value,
}

#[derive(Clone)]
enum Test {
    Prefix,
    Regex(Regex),
    Fuzzy(Vec<char>, usize),
}

impl Matcher {
    /// For `Leaf::WordPattern`.
    ///
    /// # Errors
    /// The expression is invalid or too large.
    pub(super) fn on_words(field: &Field, pattern: &Pattern) -> Result<Matcher, String> {
        let lowered = match pattern {
            Pattern::Prefix(text) => Pattern::Prefix(lower_case(text)),
            Pattern::Wildcard(text) => Pattern::Wildcard(lower_case(text)),
            Pattern::Fuzzy(text, edits) => Pattern::Fuzzy(lower_case(text), *edits),
            // Lower-casing an expression would change its classes; its matching ignores case instead.
            Pattern::Regex(text) => Pattern::Regex(format!("(?i:{text})")),
        };
        let spans_words = match &lowered {
            Pattern::Prefix(text) => text.chars().any(|c| !is_word_char(c)),
            Pattern::Wildcard(text) => wildcard_parts(text)
                .iter()
                .any(|part| matches!(part, Glob::Literal(c) if !is_word_char(*c))),
            Pattern::Regex(_) | Pattern::Fuzzy(..) => false,
        };
        let target = if spans_words {
            Target::Stretch
        } else {
            Target::Word
        };
        let lowered = match lowered {
            Pattern::Prefix(text) if spans_words => {
                Pattern::Wildcard(format!("{}*", escape_wildcard(&text)))
            }
            other => other,
        };
        Matcher::new(field, &lowered, target)
    }

    /// For `Leaf::ValuePattern`.
    ///
    /// # Errors
    /// The expression is invalid or too large.
    pub(super) fn on_values(field: &Field, pattern: &Pattern) -> Result<Matcher, String> {
        Matcher::new(field, pattern, Target::Value)
    }

    fn new(field: &Field, pattern: &Pattern, target: Target) -> Result<Matcher, String> {
        let (prefix, test) = match pattern {
            Pattern::Prefix(text) => (text.clone(), Test::Prefix),
            Pattern::Fuzzy(text, edits) => (
                String::new(),
                Test::Fuzzy(text.chars().collect(), usize::from(*edits)),
            ),
            Pattern::Regex(text) => (
                String::new(),
                Test::Regex(compile(&format!("^(?:{text})$"))?),
            ),
            Pattern::Wildcard(text) => {
                let parts = wildcard_parts(text);
                let prefix: String = parts.iter().map_while(Glob::literal).collect();
                (
                    prefix,
                    Test::Regex(compile(&wildcard_regex(&parts, target))?),
                )
            }
        };
        let needs = match (pattern, target) {
            (Pattern::Wildcard(text), _) => needs_of(&wildcard_parts(text)),
            (Pattern::Prefix(text), Target::Word) => vec![Need::Beginning(text.clone())],
            (Pattern::Prefix(text), _) => {
                needs_of(&wildcard_parts(&format!("{}*", escape_wildcard(text))))
            }
            (Pattern::Regex(_) | Pattern::Fuzzy(..), _) => Vec::new(),
        };
        let prefix = if target == Target::Stretch {
            String::new()
        } else {
            prefix
        };
        // Without a field, and where `f.keyword` says so; else a full text is searched by its words alone.
        let takes_full_texts = match field {
            Field::Any => true,
            Field::Named(name) => target != Target::Value || name.ends_with(".keyword"),
        };
        Ok(Matcher {
            field: field.clone(),
            target,
            prefix,
            test,
            needs,
            takes_full_texts,
        })
    }

    pub(super) fn parts(self: &Arc<Self>, work: &Work) -> tantivy::Result<Vec<Box<dyn Part>>> {
        let mut parts = Vec::new();
        let Field::Named(name) = &self.field else {
            scan::anywhere(work, self.clone(), &mut parts)?;
            return Ok(parts);
        };
        let path = work.segment.resolve(name);
        for column in work.segment.ready_columns(path)? {
            match &column {
                ValueColumn::Text(texts) => {
                    let prefix = match self.target {
                        Target::Value => &*self.prefix,
                        Target::Word | Target::Stretch => "",
                    };
                    let fits = |text: &str| self.fits_text(text);
                    columns::with_text_like(work, texts, prefix, fits, &mut parts)?;
                }
                ValueColumn::Integer(numbers) => {
                    let this = Arc::clone(self);
                    let fits = move |number: &str| this.fits_text(number);
                    columns::spelled_like(numbers, fits, &mut parts);
                }
                _ => {}
            }
        }
        // Where only full texts lie in slots, there is nothing for a pattern that takes none.
        let summary = work.segment.path(path);
        if self.takes_full_texts || summary.is_some_and(|summary| summary.is_too_distinct) {
            scan::in_field(work, path, self.clone(), &mut parts)?;
        }
        Ok(parts)
    }

    /// Whether a whole value fits, whatever the target.
    fn fits_text(&self, text: &str) -> bool {
        match self.target {
            Target::Value => self.fits(text),
            Target::Stretch => self.fits(&lower_case(text)),
            Target::Word => words(text).any(|(_, word)| self.fits(&word)),
        }
    }

    /// Whether one word, lower-cased value or value, as the target says, fits.
    fn fits(&self, text: &str) -> bool {
        match &self.test {
            Test::Prefix => text.starts_with(&self.prefix),
            Test::Regex(regex) => regex.is_match(text),
            Test::Fuzzy(wanted, edits) => is_within_edits(wanted, text, *edits),
        }
    }
}

impl ValueTest for Matcher {
    fn fits(&self, value: &LeafValue, is_full_text: bool) -> bool {
        if is_full_text && !self.takes_full_texts {
            return false;
        }
        match value {
            LeafValue::Text(text) => self.fits_text(text),
            other => self.fits_text(&spelled(other)),
        }
    }

    fn needs(&self) -> &[Need] {
        &self.needs
    }

    fn word_test(&self) -> Option<&dyn WordTest> {
        (self.target == Target::Word).then_some(self)
    }
}

impl WordTest for Matcher {
    fn fits_word(&self, word: &str) -> bool {
        self.fits(word)
    }

    fn beginning(&self) -> &str {
        &self.prefix
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Glob {
    Literal(char),
    One,
    Many,
}

impl Glob {
    fn literal(&self) -> Option<char> {
        match self {
            Glob::Literal(c) => Some(*c),
            Glob::One | Glob::Many => None,
        }
    }
}

fn wildcard_parts(text: &str) -> Vec<Glob> {
    let mut parts = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let part = match c {
            '*' => Glob::Many,
            '?' => Glob::One,
            '\\' => Glob::Literal(chars.next().unwrap_or('\\')),
            other => Glob::Literal(other),
        };
        let is_repeated = part == Glob::Many && parts.last() == Some(&Glob::Many);
        if !is_repeated {
            parts.push(part);
        }
    }
    parts
}

fn escape_wildcard(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn wildcard_regex(parts: &[Glob], target: Target) -> String {
    let (one, many) = match target {
        Target::Word | Target::Value => ("(?s:.)", "(?s:.*)"),
        Target::Stretch => (r"\S", r"\S*"),
    };
    let mut regex = String::new();
    let needs_border = |part: Option<&Glob>| part.and_then(Glob::literal).is_some_and(is_word_char);
    match target {
        Target::Stretch if needs_border(parts.first()) => regex.push_str(r"(?:^|\W)"),
        Target::Stretch => {}
        _ => regex.push('^'),
    }
    let mut buffer = [0; 4];
    for part in parts {
        match part {
            Glob::Literal(c) => regex.push_str(&regex::escape(c.encode_utf8(&mut buffer))),
            Glob::One => regex.push_str(one),
            Glob::Many => regex.push_str(many),
        }
    }
    match target {
        Target::Stretch if needs_border(parts.last()) => regex.push_str(r"(?:$|\W)"),
        Target::Stretch => {}
        _ => regex.push('$'),
    }
    regex
}

/// What a value has that fits a wildcard: words that no `*` or `?` touches, and pieces of words.
fn needs_of(parts: &[Glob]) -> Vec<Need> {
    let mut needs = Vec::new();
    // Words within a run of literals, each with whether the run's ends are borders of words.
    for run in runs(parts) {
        let text = lower_case(&run.text);
        let starts_word = run.is_first || text.chars().next().is_some_and(|c| !is_word_char(c));
        let ends_word = run.is_last || text.chars().last().is_some_and(|c| !is_word_char(c));
        let ranges: Vec<_> = words(&text).collect();
        let last = ranges.len().saturating_sub(1);
        let mut cut_until = None;
        for (at, (range, word)) in ranges.into_iter().enumerate() {
            // Words that long are cut into pieces, elsewhere perhaps, and so is what goes on behind the cut.
            let goes_on = cut_until == Some(range.start);
            if word.len() > PIECE_BYTES_MAX || goes_on {
                cut_until = (goes_on || is_cut(&word)).then_some(range.end);
                continue;
            }
            let is_start = at > 0 || starts_word || range.start > 0;
            let is_end = at < last || ends_word || range.end < text.len();
            needs.push(match (is_start, is_end) {
                (true, true) => Need::Word(word),
                (true, false) => Need::Beginning(word),
                (false, _) => Need::Part(word),
            });
        }
    }
    needs
}

struct Run {
    text: String,
    is_first: bool,
    is_last: bool,
}

/// The literals between gaps.
fn runs(parts: &[Glob]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut text = String::new();
    let mut start = 0;
    for (at, part) in parts.iter().enumerate() {
        match part.literal() {
            Some(c) => text.push(c),
            None => {
                runs.push(Run {
                    text: std::mem::take(&mut text),
                    is_first: start == 0,
                    is_last: false,
                });
                start = at + 1;
            }
        }
    }
    runs.push(Run {
        text,
        is_first: start == 0,
        is_last: true,
    });
    runs
}

fn compile(regex: &str) -> Result<Regex, String> {
    RegexBuilder::new(regex)
        .size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => {
                format!("regular expression is too large: over {limit} bytes when compiled")
            }
            other => format!(
                "invalid regular expression: {}",
                other.to_string().lines().last().unwrap_or_default()
            ),
        })
}

/// Whether `text` is `wanted` after at most `edits` insertions, deletions, substitutions or swaps of neighbours.
fn is_within_edits(wanted: &[char], text: &str, edits: usize) -> bool {
    let text: Vec<char> = text.chars().take(wanted.len() + edits + 1).collect();
    if text.len().abs_diff(wanted.len()) > edits {
        return false;
    }
    let width = text.len() + 1;
    let mut two_ago = vec![0; width];
    let mut last: Vec<usize> = (0..width).collect();
    for (row, w) in wanted.iter().enumerate() {
        let mut this = vec![row + 1; width];
        for (column, t) in text.iter().enumerate() {
            let substituted = last[column] + usize::from(w != t);
            this[column + 1] = substituted.min(last[column + 1] + 1).min(this[column] + 1);
            let is_swap = row > 0 && column > 0 && *w == text[column - 1] && wanted[row - 1] == *t;
            if is_swap {
                this[column + 1] = this[column + 1].min(two_ago[column - 1] + 1);
            }
        }
        two_ago = std::mem::replace(&mut last, this);
    }
    last[text.len()] <= edits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_words(pattern: Pattern) -> Matcher {
        Matcher::on_words(&Field::Any, &pattern).unwrap()
    }

    #[test]
    fn wildcards_on_words_and_stretches() {
        let check = |pattern: &str, text: &str, expected| {
            assert_eq!(
                on_words(Pattern::Wildcard(pattern.into())).fits_text(text),
                expected,
                "{pattern} on {text}"
            );
        };
        check("Time*out", "a TIMEXXOUT b", true);
        check("time*out", "time is out", false);
        check("t?me", "no time", true);
        check("*meo*", "timeout", true);
        check("192.168.*", "from 192.168.7.1 to", true);
        check("192.168.*", "from 7.192.168.1", true);
        check("192.168.*", "from 1192.168.1", false);
        check("foo-bar", "x foo-bar y", true);
        check("foo-bar", "x foo-barn", false);
        check("a\\*b", "a*b", true);
        check("a\\*b", "axb", false);
    }

    #[test]
    fn what_a_fitting_value_has() {
        let check = |pattern: &str, expected: &[Need]| {
            assert_eq!(needs_of(&wildcard_parts(pattern)), expected, "{pattern}");
        };
        let word = |text: &str| Need::Word(text.into());
        let beginning = |text: &str| Need::Beginning(text.into());
        let part = |text: &str| Need::Part(text.into());
        check("192.168.*", &[word("192"), word("168")]);
        check("foo-ba*", &[word("foo"), beginning("ba")]);
        check(
            "*a.b?c.d",
            &[part("a"), beginning("b"), part("c"), word("d")],
        );
        check("*Time?out", &[part("time"), part("out")]);
        check("*", &[]);
        // Where a run is cut into words depends on what is before it.
        let long = "x".repeat(300);
        check(&format!("*{long}"), &[]);
        check(
            &format!("a b*{long} c"),
            &[word("a"), beginning("b"), word("c")],
        );
    }

    #[test]
    fn values_are_matched_whole_and_with_their_case() {
        let matcher =
            Matcher::on_values(&Field::Any, &Pattern::Wildcard("GET /a*".into())).unwrap();
        assert!(matcher.fits_text("GET /a\nb"));
        assert!(!matcher.fits_text("get /a"));
        let matcher = Matcher::on_values(&Field::Any, &Pattern::Regex("a|bc".into())).unwrap();
        assert!(matcher.fits_text("bc") && !matcher.fits_text("ac"));
        assert!(Matcher::on_values(&Field::Any, &Pattern::Regex("(".into())).is_err());
        assert!(
            Matcher::on_values(
                &Field::Any,
                &Pattern::Regex("((a{1000}){1000}){1000}".into())
            )
            .is_err()
        );
    }

    #[test]
    fn edits_count_swaps_once() {
        let check = |wanted: &str, text, edits, expected| {
            assert_eq!(
                is_within_edits(&wanted.chars().collect::<Vec<_>>(), text, edits),
                expected,
                "{wanted} {text}"
            );
        };
        check("error", "error", 0, true);
        check("error", "eror", 1, true);
        check("error", "errro", 1, true);
        check("error", "terror", 1, true);
        check("error", "arrow", 2, true);
        check("error", "arrow", 1, false);
        check("error", "warning", 2, false);
    }
}
