//! Questions, most of them cut out of what the corpus says, so that they find something or fail by a hair.

use std::ops::Bound;

use event::Timestamp;
use indexer::logs::{Field, Leaf, Pattern, Scalar};

use super::document::{Document, Kind, Seen, Value};
use super::pattern::Matcher;
use super::random::Random;
use super::reference::Facts;
use super::templates::word;
use super::words::{is_word_char, word_ranges, words};

/// Whole numbers beyond this are not all doubles.
const EXACT_DOUBLE_MAX: i64 = 1 << 53;

/// Asks about a corpus.
pub struct Asker<'a> {
    pub documents: &'a [&'a Document],
    pub facts: &'a Facts,
}

impl Asker<'_> {
    /// A question that has an answer: none of the corners left out.
    pub fn leaf(&self, random: &mut Random) -> Leaf {
        loop {
            let leaf = self.any_leaf(random);
            if self.is_settled(&leaf) {
                return leaf;
            }
        }
    }

    fn any_leaf(&self, random: &mut Random) -> Leaf {
        let value = self.value(random);
        let field = self.field(random, value);
        match random.below(20) {
            0..=5 => Leaf::Words(field, phrase(random, value)),
            6 | 7 => Leaf::Equals(field, scalar(random, value)),
            8..=11 => Leaf::WordPattern(field, word_pattern(random, value)),
            12..=14 => Leaf::ValuePattern(field, value_pattern(random, value)),
            15..=17 => {
                let lower = self.bound(random, value);
                let upper = self.bound(random, value);
                Leaf::Range(self.name(random, value), lower, upper)
            }
            18 => match self.name(random, value) {
                Field::Named(name) => Leaf::Exists(self.parent(random, name)),
                Field::Any => Leaf::Exists(value.path.clone()),
            },
            _ => Leaf::Ids(self.ids(random)),
        }
    }

    fn document(&self, random: &mut Random) -> Option<&Document> {
        let number = random.below(self.documents.len().max(1));
        self.documents.get(number).copied()
    }

    /// A value that some document has.
    fn value(&self, random: &mut Random) -> &Value {
        loop {
            // Every document has some, if only its time; an index without documents is not asked.
            let document = self.document(random).unwrap();
            // The last two are times that are not in the document.
            let is_hidden = random.percent(4);
            let count = document.values.len() - if is_hidden { 0 } else { 2 };
            if count > 0 {
                return &document.values[random.below(count)];
            }
        }
    }

    fn field(&self, random: &mut Random, value: &Value) -> Field {
        let may_be_unnamed = value.seen == Seen::Always;
        match may_be_unnamed && random.percent(35) {
            true => Field::Any,
            false => self.name(random, value),
        }
    }

    /// The name of the value's field, or a near one.
    fn name(&self, random: &mut Random, value: &Value) -> Field {
        let path = &value.path;
        Field::Named(match random.below(20) {
            0..=12 => path.clone(),
            13..=16 => format!("{path}.keyword"),
            17 => match path.as_str() {
                "trace.id" => "trace_id".to_owned(),
                _ => format!("{path}.x"),
            },
            18 => {
                let number = random.below(self.facts.paths().count());
                self.facts.paths().nth(number).unwrap().to_owned()
            }
            _ => random
                .pick(&["nothing", "trace_id", "span_id", "a", "Message"])
                .to_owned(),
        })
    }

    fn parent(&self, random: &mut Random, name: String) -> String {
        match name.rsplit_once('.') {
            Some((parent, _)) if random.percent(40) => parent.to_owned(),
            _ => name,
        }
    }

    fn ids(&self, random: &mut Random) -> Vec<String> {
        let mut ids = vec!["nobody".to_owned()];
        for _ in 0..random.below(4) {
            ids.extend(self.document(random).map(|document| document.id.clone()));
        }
        ids
    }

    fn bound(&self, random: &mut Random, value: &Value) -> Bound<Scalar> {
        let other = self.value(random);
        let scalar = match random.percent(70) {
            true => scalar(random, value),
            // Another value of the same field comes by often enough; one of another field is of another kind.
            false => scalar(random, other),
        };
        match random.below(5) {
            0 => Bound::Unbounded,
            1 | 2 => Bound::Included(scalar),
            _ => Bound::Excluded(scalar),
        }
    }

    /// Whether there is one right answer; see the corners left out.
    fn is_settled(&self, leaf: &Leaf) -> bool {
        let has_name = |name: &str| {
            let is_part_of = |part: &str| name.split('.').any(|key| key == part);
            !name.split('.').all(str::is_empty) && !is_part_of("minus_zero")
        };
        let has_good_field = match leaf {
            Leaf::Words(field, _)
            | Leaf::Equals(field, _)
            | Leaf::WordPattern(field, _)
            | Leaf::ValuePattern(field, _)
            | Leaf::Range(field, _, _) => match field {
                Field::Named(name) => has_name(name),
                Field::Any => true,
            },
            Leaf::Exists(name) => has_name(name),
            Leaf::Ids(_) => true,
        };
        let is_rounded = |scalar: &Scalar, name: &str| {
            let is_large = match scalar {
                Scalar::Integer(number) => number.abs() > EXACT_DOUBLE_MAX,
                Scalar::Unsigned(_) => true,
                Scalar::Text(text) => text
                    .parse::<f64>()
                    .is_ok_and(|number| number.abs() > EXACT_DOUBLE_MAX as f64),
                Scalar::Float(_) | Scalar::Bool(_) | Scalar::Time(_) => false,
            };
            is_large
                && self
                    .facts
                    .has_other_numbers(name.trim_end_matches(".keyword"))
                && !name.starts_with("big")
        };
        let has_good_value = match leaf {
            Leaf::WordPattern(_, pattern) => !Matcher::on_words(pattern).has_open_end(),
            Leaf::Equals(Field::Named(name), scalar) => !is_rounded(scalar, name),
            Leaf::Range(Field::Named(name), lower, upper) => {
                [lower, upper].into_iter().all(|bound| match bound {
                    Bound::Included(scalar) | Bound::Excluded(scalar) => !is_rounded(scalar, name),
                    Bound::Unbounded => true,
                })
            }
            _ => true,
        };
        has_good_field && has_good_value
    }
}

/// Words of the value next to each other, as they stand there with what separates them; or nearly so.
fn phrase(random: &mut Random, value: &Value) -> String {
    let chars: Vec<char> = value.spelled.chars().collect();
    let ranges = word_ranges(&chars);
    if ranges.is_empty() {
        return match random.percent(50) {
            true => value.spelled.clone(),
            false => word(random),
        };
    }
    let first = random.below(ranges.len());
    let count = random.pick(&[1, 1, 1, 2, 2, 3, 5, 12]);
    let last = (first + count - 1).min(ranges.len() - 1);
    let (start, end) = (ranges[first].0, ranges[last].1);
    let cut: String = chars[start..end].iter().collect();
    match random.below(14) {
        0..=6 => cut,
        7 => other_case(random, &cut),
        8 => one_changed(random, &cut),
        // Anywhere, also in the middle of words.
        9 => {
            let end = random.between(start + 1, chars.len().min(start + 40));
            let start = random.below(end);
            chars[start..end].iter().collect()
        }
        10 => words(&cut).join(random.pick(&[" ", " - ", "."])),
        11 => {
            let mut reversed = words(&cut);
            reversed.reverse();
            reversed.join(" ")
        }
        12 => format!("{cut} {}", word(random)),
        _ => value.spelled.clone(),
    }
}

/// The value in one of the types it can be compared in; or nearly so.
fn scalar(random: &mut Random, value: &Value) -> Scalar {
    if random.percent(35) {
        let text = match value.spelled.is_empty() {
            false => value.spelled.clone(),
            true => random
                .pick(&["", "2026-11-23", "2026-11-23T10:00:00Z", "b"])
                .to_owned(),
        };
        return Scalar::Text(match random.below(8) {
            0 => one_changed(random, &text),
            1 => other_case(random, &text),
            2 => {
                let length = random.below(text.chars().count() + 1);
                text.chars().take(length).collect()
            }
            _ => text,
        });
    }
    let step = random.pick(&[-1, 0, 0, 0, 1]);
    match value.kind {
        Kind::Keyword | Kind::Prose => Scalar::Text(value.spelled.clone()),
        Kind::Time(time) => match random.below(5) {
            0 => Scalar::Integer(time.millis() + step),
            1 => Scalar::Text(time.to_rfc3339()),
            _ => Scalar::Time(Timestamp::from_nanos(time.nanos() + step)),
        },
        Kind::Integer(number) => match random.below(4) {
            0 if number.abs() < EXACT_DOUBLE_MAX => {
                Scalar::Float(number as f64 + step as f64 / 2.0)
            }
            1 => Scalar::Text(number.saturating_add(step).to_string()),
            _ => Scalar::Integer(number.saturating_add(step)),
        },
        Kind::Unsigned(number) => Scalar::Unsigned(number),
        Kind::Float(number) => match random.below(4) {
            0 if number.abs() < EXACT_DOUBLE_MAX as f64 => Scalar::Integer(number as i64 + step),
            1 => Scalar::Text(number.to_string()),
            _ => Scalar::Float(number + step as f64 / 8.0),
        },
        Kind::Bool(truth) => match random.below(3) {
            0 => Scalar::Bool(!truth),
            _ => Scalar::Bool(truth),
        },
    }
}

/// A pattern for a word of the value, or for a stretch of it.
fn word_pattern(random: &mut Random, value: &Value) -> Pattern {
    let chars: Vec<char> = value.spelled.chars().collect();
    let ranges = word_ranges(&chars);
    let (start, end) = match ranges.is_empty() {
        true => (0, chars.len()),
        false => random.pick(&ranges),
    };
    let word: String = chars[start..end].iter().collect();
    match random.below(10) {
        0 | 1 => {
            let length = random.between(0, (end - start).min(12));
            let until = if random.percent(70) {
                start + length
            } else {
                (end + length).min(chars.len())
            };
            let prefix: String = chars[start..until].iter().collect();
            Pattern::Prefix(other_case_sometimes(random, prefix))
        }
        2 | 3 => {
            let word = other_case_sometimes(random, word);
            Pattern::Wildcard(gaps(random, &word))
        }
        4..=6 => Pattern::Wildcard(stretch(random, &chars, start, end)),
        7 | 8 => Pattern::Regex(expression(random, &word)),
        _ => fuzzy(random, &word),
    }
}

/// A wildcard for what stands around a word up to the next blanks, or beyond.
fn stretch(random: &mut Random, chars: &[char], start: usize, end: usize) -> String {
    let (mut low, mut high) = (start, end);
    let reach = random.between(0, 12);
    let crosses_blanks = random.percent(15);
    let goes_on = |c: char| crosses_blanks || !c.is_whitespace();
    while low > 0 && start - low < reach && goes_on(chars[low - 1]) {
        low -= 1;
    }
    while high < chars.len() && high - end < reach && goes_on(chars[high]) {
        high += 1;
    }
    let cut: String = chars[low..high].iter().collect();
    let cut = match random.percent(10) {
        true => one_changed(random, &cut),
        false => other_case_sometimes(random, cut),
    };
    let pattern = match random.percent(25) {
        true => escape(&cut),
        false => gaps(random, &cut),
    };
    match random.below(5) {
        0 => format!("*{pattern}*"),
        1 => format!("*{pattern}"),
        2 => format!("{pattern}*"),
        _ => pattern,
    }
}

/// A pattern for the whole value.
fn value_pattern(random: &mut Random, value: &Value) -> Pattern {
    let chars: Vec<char> = value.spelled.chars().collect();
    match random.below(10) {
        0 | 1 => {
            let length = random.below(chars.len().min(20) + 1);
            let prefix: String = chars[..length].iter().collect();
            Pattern::Prefix(match random.percent(15) {
                true => other_case(random, &prefix),
                false => prefix,
            })
        }
        2..=4 => Pattern::Wildcard(gaps(random, &value.spelled)),
        5 => {
            let start = random.below(chars.len() + 1);
            let end = random.between(start, chars.len());
            let infix: String = chars[start..end].iter().take(30).collect();
            Pattern::Wildcard(format!("*{}*", escape(&infix)))
        }
        6 | 7 => Pattern::Regex(expression(random, &value.spelled)),
        8 => Pattern::Regex(format!(
            ".*{}.*",
            regex::escape(&chars.iter().take(10).collect::<String>())
        )),
        _ => fuzzy(random, &value.spelled),
    }
}

/// A wildcard that fits the text: some of it replaced by gaps.
fn gaps(random: &mut Random, text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let start = random.below(chars.len() + 1);
    let end = random.between(start, chars.len());
    let one_percent = random.pick(&[0, 5, 30]);
    let mut pattern = String::new();
    for (at, c) in chars.iter().enumerate() {
        if at == start {
            pattern.push('*');
        }
        if (start..end).contains(&at) {
            continue;
        }
        match random.percent(one_percent) {
            true => pattern.push('?'),
            false => pattern.push_str(&escape(&c.to_string())),
        }
    }
    match random.percent(10) {
        true => pattern.replacen('*', "**?", 1),
        false => pattern,
    }
}

fn escape(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            matches!(c, '*' | '?' | '\\')
                .then_some('\\')
                .into_iter()
                .chain([c])
        })
        .collect()
}

/// A regular expression that fits the text.
fn expression(random: &mut Random, text: &str) -> String {
    let chars: Vec<char> = text.chars().take(60).collect();
    let is_cut = text.chars().count() > chars.len();
    let mut expression = String::new();
    for c in &chars {
        let literal = regex::escape(&c.to_string());
        match random.below(20) {
            0 => expression.push('.'),
            1 if c.is_ascii_digit() => expression.push_str("[0-9]+"),
            1 if is_word_char(*c) => expression.push_str("\\w"),
            2 => expression.push_str(&format!("({literal}|zz)")),
            3 => expression.push_str(&format!("{literal}+q?")),
            4 => expression.push_str(&format!("[^{}]", if *c == 'e' { 'f' } else { 'e' })),
            _ => expression.push_str(&literal),
        }
    }
    if is_cut || random.percent(20) {
        expression.push_str("(?s:.*)");
    }
    match random.below(8) {
        0 => format!("{expression}|none"),
        1 => format!("(?i){expression}"),
        _ => expression,
    }
}

/// The text after up to two edits, and how many are allowed.
fn fuzzy(random: &mut Random, text: &str) -> Pattern {
    let mut chars: Vec<char> = text.chars().collect();
    let made = random.below(3);
    for _ in 0..made {
        let at = match random.percent(30) {
            true => 0,
            false => random.below(chars.len().max(1)),
        };
        match random.below(5) {
            0 => chars.insert(at.min(chars.len()), 'e'),
            1 if !chars.is_empty() => drop(chars.remove(at)),
            2 | 4 if at + 1 < chars.len() => chars.swap(at, at + 1),
            3 if !chars.is_empty() => chars[at] = 'x',
            _ => {}
        }
    }
    // As many as were made, or one too few, or many.
    let edits = random.pick(&[made, made, made, made.saturating_sub(1), 2]) as u8;
    Pattern::Fuzzy(
        other_case_sometimes(random, chars.into_iter().collect()),
        edits,
    )
}

fn other_case_sometimes(random: &mut Random, text: String) -> String {
    match random.percent(25) {
        true => other_case(random, &text),
        false => text,
    }
}

fn other_case(random: &mut Random, text: &str) -> String {
    match random.percent(50) {
        true => text.to_uppercase(),
        false => text.to_lowercase(),
    }
}

fn one_changed(random: &mut Random, text: &str) -> String {
    let at = random.below(text.chars().count().max(1));
    let other = random.pick(&['q', '7', ' ', 'É']);
    text.chars()
        .enumerate()
        .map(|(number, c)| if number == at { other } else { c })
        .collect()
}
