//! Texts with gaps, tried on every position instead of being clever.

use indexer::logs::Pattern;
use regex::Regex;

use super::reference::Answer;
use super::words::{is_word_char, lower, word_ranges};

/// A pattern and what it is tried on.
pub struct Matcher {
    target: Target,
    test: Test,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    /// One word.
    Word,
    /// A stretch between word borders; gaps hold no white space.
    Stretch,
    /// The whole value.
    Value,
}

enum Test {
    Parts(Vec<Part>),
    Regex(Box<Regex>),
    Fuzzy(Vec<char>, usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Literal(char),
    One,
    Many,
}

impl Matcher {
    pub fn on_words(pattern: &Pattern) -> Matcher {
        let test = match pattern {
            Pattern::Regex(text) => Test::regex(&format!("(?i:{text})")),
            other => Test::new(other, lower),
        };
        let spans_words = match &test {
            Test::Parts(parts) => parts.iter().any(Part::is_separator),
            Test::Regex(_) | Test::Fuzzy(..) => false,
        };
        let target = if spans_words {
            Target::Stretch
        } else {
            Target::Word
        };
        Matcher { target, test }
    }

    pub fn on_values(pattern: &Pattern) -> Matcher {
        Matcher {
            target: Target::Value,
            test: Test::new(pattern, str::to_owned),
        }
    }

    /// Whether the pattern is tried on stretches that may span words.
    pub fn spans_words(&self) -> bool {
        self.target == Target::Stretch
    }

    /// Whether a stretch may begin or end with a `?` and nothing that could stretch further; see the corners left out.
    pub fn has_open_end(&self) -> bool {
        let Test::Parts(parts) = &self.test else {
            return false;
        };
        let is_open = |gap: &[Part]| !gap.is_empty() && !gap.contains(&Part::Many);
        let is_gap = |part: &&Part| !matches!(part, Part::Literal(_));
        let first = parts.iter().take_while(is_gap).count();
        let last = parts.iter().rev().take_while(is_gap).count();
        self.spans_words() && (is_open(&parts[..first]) || is_open(&parts[parts.len() - last..]))
    }

    /// Whether a value fits: how it is spelled, and its words.
    pub fn fits(&self, spelled: &str, words: &[String]) -> Answer {
        match self.target {
            Target::Word => Answer::from(words.iter().any(|word| self.test.fits_all(word))),
            Target::Value => Answer::from(self.test.fits_all(spelled)),
            Target::Stretch => self.fits_stretch(spelled),
        }
    }

    fn fits_stretch(&self, spelled: &str) -> Answer {
        let Test::Parts(parts) = &self.test else {
            return Answer::No;
        };
        let chars: Vec<char> = lower(spelled).chars().collect();
        let mut is_inside = vec![false; chars.len() + 1];
        for (start, end) in word_ranges(&chars) {
            is_inside[start + 1..end].fill(true);
        }
        let between_words = |at: usize| !is_inside[at];
        // A border between two words that touch (Han, pieces of a long run) need not be one.
        let beside_separator = |at: usize| {
            at == 0
                || at == chars.len()
                || !(is_word_char(chars[at - 1]) && is_word_char(chars[at]))
        };
        let no_blank = |c: char| !c.is_whitespace();
        match (
            fits_parts(parts, &chars, between_words, no_blank),
            fits_parts(parts, &chars, beside_separator, no_blank),
        ) {
            (true, true) => Answer::Yes,
            (false, false) => Answer::No,
            _ => Answer::Unsettled,
        }
    }
}

impl Test {
    fn new(pattern: &Pattern, case: fn(&str) -> String) -> Test {
        match pattern {
            Pattern::Prefix(text) => {
                let literals = case(text).chars().map(Part::Literal).collect::<Vec<_>>();
                Test::Parts([literals, vec![Part::Many]].concat())
            }
            Pattern::Wildcard(text) => Test::Parts(parts(&case(text))),
            Pattern::Regex(text) => Test::regex(text),
            Pattern::Fuzzy(text, edits) => {
                Test::Fuzzy(case(text).chars().collect(), usize::from(*edits))
            }
        }
    }

    fn regex(text: &str) -> Test {
        Test::Regex(Box::new(Regex::new(&format!("^(?:{text})$")).unwrap()))
    }

    /// Whether the whole text fits.
    fn fits_all(&self, text: &str) -> bool {
        match self {
            Test::Regex(regex) => regex.is_match(text),
            Test::Parts(parts) => {
                let chars: Vec<char> = text.chars().collect();
                let is_end = |at| at == chars.len();
                starts_fit(parts, &chars) && fits_parts_from(parts, &chars, &[0], is_end, |_| true)
            }
            Test::Fuzzy(wanted, edits) => {
                let chars: Vec<char> = text.chars().collect();
                wanted.len().abs_diff(chars.len()) <= *edits && distance(wanted, &chars) <= *edits
            }
        }
    }
}

impl Part {
    fn is_separator(&self) -> bool {
        matches!(self, Part::Literal(c) if !is_word_char(*c))
    }
}

fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        parts.push(match c {
            '*' => Part::Many,
            '?' => Part::One,
            '\\' => Part::Literal(chars.next().unwrap_or('\\')),
            literal => Part::Literal(literal),
        });
    }
    parts
}

/// Spares most texts the work.
fn starts_fit(parts: &[Part], chars: &[char]) -> bool {
    match (parts.first(), chars.first()) {
        (Some(Part::Literal(wanted)), first) => first == Some(wanted),
        _ => true,
    }
}

/// Whether the parts fit from some border to some border.
fn fits_parts(
    parts: &[Part],
    chars: &[char],
    is_border: impl Fn(usize) -> bool,
    may_fill_gap: fn(char) -> bool,
) -> bool {
    let starts: Vec<usize> = (0..=chars.len()).filter(|at| is_border(*at)).collect();
    fits_parts_from(parts, chars, &starts, is_border, may_fill_gap)
}

fn fits_parts_from(
    parts: &[Part],
    chars: &[char],
    starts: &[usize],
    is_end: impl Fn(usize) -> bool,
    may_fill_gap: fn(char) -> bool,
) -> bool {
    // Where one can stand after the parts so far.
    let mut reached = vec![false; chars.len() + 1];
    for start in starts {
        reached[*start] = true;
    }
    for part in parts {
        let mut next = vec![false; chars.len() + 1];
        for at in 0..=chars.len() {
            let before = at.checked_sub(1).map(|before| (before, chars[before]));
            next[at] = match (part, before) {
                (Part::Literal(wanted), Some((before, c))) => reached[before] && c == *wanted,
                (Part::One, Some((before, c))) => reached[before] && may_fill_gap(c),
                (Part::Literal(_) | Part::One, None) => false,
                (Part::Many, Some((before, c))) => reached[at] || (next[before] && may_fill_gap(c)),
                (Part::Many, None) => reached[at],
            };
        }
        if !next.contains(&true) {
            return false;
        }
        reached = next;
    }
    (0..=chars.len()).any(|at| reached[at] && is_end(at))
}

/// How many insertions, deletions, substitutions and swaps of neighbours lie between two texts; what was swapped is
/// not edited again.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                table[i][j] = i + j;
                continue;
            }
            let is_other = usize::from(a[i - 1] != b[j - 1]);
            let mut least = table[i - 1][j - 1] + is_other;
            least = least.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(table[i - 2][j - 2] + 1);
            }
            table[i][j] = least;
        }
    }
    table[a.len()][b.len()]
}

#[test]
fn patterns_fit_words_stretches_and_values() {
    let check = |matcher: &Matcher, text: &str, expected| {
        let found = matcher.fits(text, &super::words::words(text));
        assert_eq!(found, expected, "{text}");
    };
    let wildcard = |text: &str| Pattern::Wildcard(text.into());
    let matcher = Matcher::on_words(&wildcard("T?me*"));
    check(&matcher, "no TIMEOUT", Answer::Yes);
    check(&matcher, "no out", Answer::No);
    let matcher = Matcher::on_words(&wildcard("192.168.*"));
    check(&matcher, "from 7.192.168.1", Answer::Yes);
    check(&matcher, "from 1192.168.1", Answer::No);
    check(&matcher, "from 192.168", Answer::No);
    let matcher = Matcher::on_words(&Pattern::Prefix("本.x".into()));
    check(&matcher, "日本.xy", Answer::Unsettled);
    let matcher = Matcher::on_values(&wildcard("GET /a*\\*"));
    check(&matcher, "GET /a\nb*", Answer::Yes);
    check(&matcher, "get /a*", Answer::No);
    let matcher = Matcher::on_words(&Pattern::Fuzzy("Errro".into(), 1));
    check(&matcher, "an error", Answer::Yes);
    check(&matcher, "an eror0", Answer::No);
    assert!(Matcher::on_words(&wildcard("?a.b")).has_open_end());
    assert!(!Matcher::on_words(&wildcard("*?a.b?*")).has_open_end());
}
