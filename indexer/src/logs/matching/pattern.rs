//! `Leaf::WordPattern` and `Leaf::ValuePattern`: a word, or the whole value, fits a pattern.

use regex::{Regex, RegexBuilder};
use tantivy::schema::Term;

use super::verify::by_stored_document;
use super::{DOCUMENTS_PER_CHECK, Matches, Work, columns};
use crate::logs::flatten::LeafValue;
use crate::logs::reader::ValueColumn;
use crate::logs::schema::FULL_TEXT_FIELDS;
use crate::logs::words::{is_word_char, lower_case, words};
use crate::logs::{Field, Pattern};

/// A compiled expression may take this much memory; more is refused.
const REGEX_BYTES_MAX: usize = 1024 * 1024;

/// A pattern, ready to be tried on words or on values.
#[derive(Clone)]
pub(super) struct Matcher {
    field: Field,
    target: Target,
    /// Every fitting word, or value, begins with this.
    prefix: String,
    test: Test,
    /// Words that a fitting value certainly has.
    certain_words: Vec<String>,
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
                .any(|part| matches!(part, Part::Literal(c) if !is_word_char(*c))),
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
                let prefix: String = parts.iter().map_while(Part::literal).collect();
                (
                    prefix,
                    Test::Regex(compile(&wildcard_regex(&parts, target))?),
                )
            }
        };
        let certain_words = match (pattern, target) {
            (Pattern::Wildcard(text), Target::Stretch | Target::Value) => {
                certain_words(&wildcard_parts(text))
            }
            _ => Vec::new(),
        };
        let prefix = if target == Target::Stretch {
            String::new()
        } else {
            prefix
        };
        Ok(Matcher {
            field: field.clone(),
            target,
            prefix,
            test,
            certain_words,
        })
    }

    pub(super) fn matches(&self, work: &Work) -> tantivy::Result<Matches> {
        match &self.field {
            Field::Any => self.anywhere(work),
            Field::Named(name) => {
                let asks_for_keyword = name.ends_with(".keyword");
                self.in_field(work, work.segment.resolve(name), asks_for_keyword)
            }
        }
    }

    fn anywhere(&self, work: &Work) -> tantivy::Result<Matches> {
        let full_texts: Vec<&str> = FULL_TEXT_FIELDS
            .into_iter()
            .filter(|path| work.segment.has_full_text(path))
            .collect();
        if self.target == Target::Word {
            let mut parts = vec![self.documents_with_word(work, None)?];
            for path in full_texts {
                parts.push(self.documents_with_word(work, Some(path))?);
            }
            return work.union(parts);
        }
        let mut candidates = vec![self.candidates(work, None)?];
        for path in full_texts {
            candidates.push(self.candidates(work, Some(path))?);
        }
        let candidates = work.union(candidates)?;
        let this = self.clone();
        Ok(by_stored_document(work, candidates, move |_, value| {
            this.fits_leaf(value)
        }))
    }

    fn in_field(
        &self,
        work: &Work,
        path: &str,
        asks_for_keyword: bool,
    ) -> tantivy::Result<Matches> {
        let mut parts = Vec::new();
        for column in work.segment.columns(path)? {
            parts.push(match &column {
                ValueColumn::Text(texts) => {
                    let this = self.clone();
                    match self.target {
                        Target::Value => {
                            columns::with_text_like(work, texts, &self.prefix, |text| {
                                this.fits(text)
                            })?
                        }
                        Target::Word | Target::Stretch => {
                            let candidates = match self.target {
                                Target::Word => self.documents_with_word(work, None)?,
                                _ => self.candidates(work, None)?,
                            };
                            let scorer = candidates.into_scorer(work.segment.document_count());
                            columns::candidates_with_text_like(work, texts, scorer, move |text| {
                                this.fits_text(text)
                            })?
                        }
                    }
                }
                ValueColumn::Integer(numbers) => {
                    let (this, numbers) = (self.clone(), numbers.clone());
                    let candidates = match self.target {
                        Target::Word => self.documents_with_word(work, None)?,
                        _ => columns::with_value(work, &column)?,
                    };
                    let check = move |doc| {
                        Ok(numbers
                            .values_for_doc(doc)
                            .any(|number| this.fits_text(&number.to_string())))
                    };
                    let scorer = candidates.into_scorer(work.segment.document_count());
                    super::verify::Verified::new(scorer, Box::new(check), work.interrupt)
                        .into_matches()
                }
                _ => Matches::None,
            });
        }
        // A full text is searched by its words; as a whole, which means reading every document, only when asked for.
        let is_searched = self.target != Target::Value || asks_for_keyword;
        if is_searched && work.segment.has_full_text(path) {
            parts.push(match self.target {
                Target::Word => self.documents_with_word(work, Some(path))?,
                Target::Stretch | Target::Value => {
                    let candidates = self.candidates(work, Some(path))?;
                    let (this, path) = (self.clone(), path.to_owned());
                    by_stored_document(work, candidates, move |at, value| {
                        at == path && this.fits_leaf(value)
                    })
                }
            });
        }
        work.union(parts)
    }

    /// The documents that have a fitting word in a full text, or among the values in columns.
    fn documents_with_word(&self, work: &Work, path: Option<&str>) -> tantivy::Result<Matches> {
        let mut set = work.empty_set();
        let mut is_empty = true;
        let mut asked = 0u32;
        work.segment
            .visit_words(path, &self.prefix, &mut |word, documents| {
                asked += 1;
                if asked.is_multiple_of(DOCUMENTS_PER_CHECK) {
                    work.check()?;
                }
                if self.fits(word) {
                    let mut postings = documents()?;
                    is_empty = false;
                    while postings.doc() != tantivy::TERMINATED {
                        set.insert(postings.doc());
                        postings.advance();
                    }
                }
                Ok(true)
            })?;
        Ok(if is_empty {
            Matches::None
        } else {
            Matches::Documents(set)
        })
    }

    /// The documents that may have a fitting value: by the words it certainly has.
    fn candidates(&self, work: &Work, path: Option<&str>) -> tantivy::Result<Matches> {
        let any = work.segment.fields.any;
        match (path, self.certain_words.is_empty()) {
            (Some(path), true) => {
                work.any_of(vec![Term::from_field_text(work.segment.fields.has, path)])
            }
            (Some(path), false) => work.all_of(
                self.certain_words
                    .iter()
                    .map(|word| work.segment.text_term(path, word))
                    .collect(),
            ),
            (None, true) => Ok(Matches::All),
            (None, false) => work.all_of(
                self.certain_words
                    .iter()
                    .map(|word| Term::from_field_text(any, word))
                    .collect(),
            ),
        }
    }

    /// Whether a whole value fits, whatever the target.
    fn fits_text(&self, text: &str) -> bool {
        match self.target {
            Target::Value => self.fits(text),
            Target::Stretch => self.fits(&lower_case(text)),
            Target::Word => words(text).any(|(_, word)| self.fits(&word)),
        }
    }

    fn fits_leaf(&self, value: &LeafValue) -> bool {
        match value {
            LeafValue::Text(text) => self.fits_text(text),
            LeafValue::Integer(number) => self.fits_text(&number.to_string()),
            LeafValue::Unsigned(number) => self.fits_text(&number.to_string()),
            LeafValue::Float(number) => self.fits_text(&number.to_string()),
            LeafValue::Bool(truth) => self.fits_text(&truth.to_string()),
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

use tantivy::DocSet;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Literal(char),
    One,
    Many,
}

impl Part {
    fn literal(&self) -> Option<char> {
        match self {
            Part::Literal(c) => Some(*c),
            Part::One | Part::Many => None,
        }
    }
}

fn wildcard_parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let part = match c {
            '*' => Part::Many,
            '?' => Part::One,
            '\\' => Part::Literal(chars.next().unwrap_or('\\')),
            other => Part::Literal(other),
        };
        let is_repeated = part == Part::Many && parts.last() == Some(&Part::Many);
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

fn wildcard_regex(parts: &[Part], target: Target) -> String {
    let (one, many) = match target {
        Target::Word | Target::Value => ("(?s:.)", "(?s:.*)"),
        Target::Stretch => (r"\S", r"\S*"),
    };
    let mut regex = String::new();
    let needs_border = |part: Option<&Part>| part.and_then(Part::literal).is_some_and(is_word_char);
    match target {
        Target::Stretch if needs_border(parts.first()) => regex.push_str(r"(?:^|\W)"),
        Target::Stretch => {}
        _ => regex.push('^'),
    }
    let mut buffer = [0; 4];
    for part in parts {
        match part {
            Part::Literal(c) => regex.push_str(&regex::escape(c.encode_utf8(&mut buffer))),
            Part::One => regex.push_str(one),
            Part::Many => regex.push_str(many),
        }
    }
    match target {
        Target::Stretch if needs_border(parts.last()) => regex.push_str(r"(?:$|\W)"),
        Target::Stretch => {}
        _ => regex.push('$'),
    }
    regex
}

/// The words of a wildcard that no `*` or `?` touches.
fn certain_words(parts: &[Part]) -> Vec<String> {
    let mut certain = Vec::new();
    let mut run = String::new();
    let mut touches_gap = false;
    for part in parts.iter().chain([&Part::Literal(' ')]) {
        match part.literal() {
            Some(c) if is_word_char(c) => run.push(c),
            Some(_) => {
                if !touches_gap {
                    certain.extend(words(&run).map(|(_, word)| word));
                }
                run.clear();
                touches_gap = false;
            }
            None => {
                run.clear();
                touches_gap = true;
            }
        }
    }
    certain
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
    fn certain_words_are_those_no_gap_touches() {
        let check = |pattern: &str, expected: &[&str]| {
            assert_eq!(
                certain_words(&wildcard_parts(pattern)),
                expected,
                "{pattern}"
            )
        };
        check("192.168.*", &["192", "168"]);
        check("foo-ba*", &["foo"]);
        check("*a.b?c.d", &["d"]);
        check("*", &[]);
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
