//! The slow, obvious answer to a leaf: look at every value of the document.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;

use event::Timestamp;
use indexer::logs::{Field, Leaf, Scalar};

use super::document::{Document, Kind, Seen, Value};
use super::pattern::Matcher;
use super::words::{has_phrase, words};

/// Names that mean another one where nothing has the name itself.
const ALIASES: [(&str, &str); 2] = [("trace_id", "trace.id"), ("span_id", "span.id")];

/// Whether a document matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Yes,
    No,
    /// A corner that nobody relies on: either answer is right.
    Unsettled,
}

/// What no single document knows.
#[derive(Default)]
pub struct Facts {
    /// The paths that have a value somewhere.
    paths: BTreeSet<String>,
    /// The paths with numbers that are not whole, or above `i64::MAX`.
    other_numbers: BTreeSet<String>,
}

/// A leaf that can be asked of documents.
pub struct Question<'a> {
    leaf: &'a Leaf,
    /// The path that a field name means.
    path: Option<String>,
    facts: &'a Facts,
    matcher: Option<Matcher>,
}

impl From<bool> for Answer {
    fn from(is_match: bool) -> Answer {
        if is_match { Answer::Yes } else { Answer::No }
    }
}

impl Answer {
    /// Yes, when any is.
    fn any(answers: impl Iterator<Item = Answer>) -> Answer {
        let mut any = Answer::No;
        for answer in answers {
            match answer {
                Answer::Yes => return Answer::Yes,
                Answer::Unsettled => any = Answer::Unsettled,
                Answer::No => {}
            }
        }
        any
    }

    fn unsettled_if(is_unsettled: bool) -> Answer {
        if is_unsettled {
            Answer::Unsettled
        } else {
            Answer::No
        }
    }
}

impl Facts {
    /// Takes in a document that is sent. What is deleted later counts too: its part of the index may still be there.
    pub fn learn(&mut self, document: &Document) {
        for value in &document.values {
            self.paths.insert(value.path.clone());
            if matches!(value.kind, Kind::Float(_) | Kind::Unsigned(_)) {
                self.other_numbers.insert(value.path.clone());
            }
        }
    }

    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    pub fn has_other_numbers(&self, path: &str) -> bool {
        self.other_numbers.contains(path)
    }

    fn resolve(&self, name: &str) -> String {
        let meant = [
            Some(name),
            name.strip_suffix(".keyword"),
            ALIASES
                .iter()
                .find(|(alias, _)| *alias == name)
                .map(|(_, path)| *path),
        ];
        let known = meant
            .into_iter()
            .flatten()
            .find(|path| self.paths.contains(*path));
        known.unwrap_or(name).to_owned()
    }
}

impl Question<'_> {
    pub fn new<'a>(leaf: &'a Leaf, facts: &'a Facts) -> Question<'a> {
        let name = match leaf {
            Leaf::Words(field, _)
            | Leaf::Equals(field, _)
            | Leaf::WordPattern(field, _)
            | Leaf::ValuePattern(field, _)
            | Leaf::Range(field, _, _) => match field {
                Field::Named(name) => Some(name),
                Field::Any => None,
            },
            Leaf::Exists(path) => Some(path),
            Leaf::Ids(_) => None,
        };
        let matcher = match leaf {
            Leaf::WordPattern(_, pattern) => Some(Matcher::on_words(pattern)),
            Leaf::ValuePattern(_, pattern) => Some(Matcher::on_values(pattern)),
            _ => None,
        };
        let path = name.map(|name| facts.resolve(name));
        Question {
            leaf,
            path,
            facts,
            matcher,
        }
    }

    /// Whether the document matches.
    pub fn ask(&self, document: &Document) -> Answer {
        match self.leaf {
            Leaf::Ids(ids) => return Answer::from(ids.contains(&document.id)),
            Leaf::Exists(name) => return self.exists(document, name),
            _ => {}
        }
        Answer::any(document.values.iter().map(|value| match &self.path {
            Some(path) if value.path == *path && value.seen != Seen::PerhapsWithoutName => {
                let has_prose = || {
                    let mut values = document.values.iter();
                    values.any(|other| other.path == *path && other.kind == Kind::Prose)
                };
                self.ask_in_field(value, &has_prose)
            }
            None if value.seen == Seen::Always => self.ask_anywhere(value),
            None if value.seen == Seen::PerhapsWithoutName => {
                Answer::unsettled_if(self.ask_anywhere(value) != Answer::No)
            }
            _ => Answer::No,
        }))
    }

    fn exists(&self, document: &Document, name: &str) -> Answer {
        let path = self.path.as_deref().unwrap();
        let below = format!("{path}.");
        let mut values = document.values.iter();
        if values.any(|value| value.path == path) {
            return Answer::Yes;
        }
        let mut values = document.values.iter();
        match values.any(|value| value.path.starts_with(&below)) {
            // `f.keyword` means `f` where that is a value, which here it is not.
            true if path != name => Answer::Unsettled,
            is_parent => Answer::from(is_parent),
        }
    }

    /// A question with a field name, to a value of that field; `has_prose` tells whether a full text is beside it.
    fn ask_in_field(&self, value: &Value, has_prose: &dyn Fn() -> bool) -> Answer {
        let is_text = matches!(value.kind, Kind::Keyword | Kind::Prose);
        match self.leaf {
            Leaf::Words(_, text) => {
                let phrase = words(text);
                let has_phrase = !phrase.is_empty() && has_phrase(&value.words, &phrase);
                if is_text {
                    return Answer::from(has_phrase);
                }
                if !phrase.is_empty() && equals_spelled(value, text.trim()) {
                    return Answer::Yes;
                }
                // A phrase over the digits of a number, in an array with a full text.
                Answer::unsettled_if(has_phrase && phrase.len() > 1 && has_prose())
            }
            Leaf::Equals(_, scalar) if is_text => Answer::from(value.spelled == spell(scalar)),
            Leaf::Equals(_, scalar) => Answer::from(equals(value, scalar)),
            Leaf::Range(_, lower, upper) => {
                Answer::from(is_between(value, lower.as_ref(), upper.as_ref()))
            }
            Leaf::WordPattern(..) => self.fits_in_field(value, true, has_prose),
            Leaf::ValuePattern(Field::Named(name), _) => {
                self.fits_in_field(value, name.ends_with(".keyword"), has_prose)
            }
            Leaf::ValuePattern(Field::Any, _) | Leaf::Exists(_) | Leaf::Ids(_) => Answer::No,
        }
    }

    fn fits_in_field(
        &self,
        value: &Value,
        may_be_prose: bool,
        has_prose: &dyn Fn() -> bool,
    ) -> Answer {
        match value.kind {
            Kind::Prose if !may_be_prose => Answer::No,
            Kind::Keyword | Kind::Prose => self.fits(value),
            // Whole numbers are spelled. Beside other numbers they may be held as those, which are not.
            Kind::Integer(_) if self.facts.has_other_numbers(&value.path) => {
                Answer::unsettled_if(self.fits(value) != Answer::No)
            }
            Kind::Integer(_) => self.fits(value),
            // Not spelled; unless the document is read because of a full text in the same array.
            Kind::Time(_) | Kind::Unsigned(_) | Kind::Float(_) | Kind::Bool(_) => {
                Answer::unsettled_if(may_be_prose && has_prose() && self.fits(value) != Answer::No)
            }
        }
    }

    /// A question without a field name.
    fn ask_anywhere(&self, value: &Value) -> Answer {
        let is_text = matches!(value.kind, Kind::Keyword | Kind::Prose);
        match self.leaf {
            Leaf::Words(_, text) => {
                let phrase = words(text);
                if phrase.is_empty() || has_phrase(&value.words, &phrase) {
                    return Answer::from(!phrase.is_empty());
                }
                // `0.470` is spelled 0.47.
                Answer::unsettled_if(!is_text && equals_spelled(value, text.trim()))
            }
            Leaf::Equals(_, scalar) => {
                let text = spell(scalar);
                match value.spelled == text {
                    // A text without words is not found without a field name.
                    true if words(&text).is_empty() => Answer::Unsettled,
                    true => Answer::Yes,
                    false => Answer::unsettled_if(!is_text && equals(value, scalar)),
                }
            }
            Leaf::WordPattern(..) | Leaf::ValuePattern(..) => self.fits(value),
            Leaf::Range(..) | Leaf::Exists(_) | Leaf::Ids(_) => Answer::No,
        }
    }

    fn fits(&self, value: &Value) -> Answer {
        let matcher = self.matcher.as_ref().unwrap();
        matcher.fits(&value.spelled, &value.words)
    }
}

/// How a scalar is spelled when it is compared with texts.
pub fn spell(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Text(text) => text.clone(),
        Scalar::Integer(number) => number.to_string(),
        Scalar::Unsigned(number) => number.to_string(),
        Scalar::Float(number) => number.to_string(),
        Scalar::Bool(truth) => truth.to_string(),
        Scalar::Time(time) => time.to_rfc3339(),
    }
}

/// Whether a value that is no text equals the one that the text spells.
fn equals_spelled(value: &Value, text: &str) -> bool {
    equals(value, &Scalar::Text(text.to_owned()))
}

/// Whether a value that is no text equals the scalar.
fn equals(value: &Value, scalar: &Scalar) -> bool {
    match (&value.kind, scalar) {
        (Kind::Bool(own), Scalar::Bool(truth)) => own == truth,
        (Kind::Bool(own), Scalar::Text(text)) => text.parse() == Ok(*own),
        (Kind::Time(own), scalar) => Timestamp::parse_lenient(&spell(scalar)) == Ok(*own),
        (kind, scalar) => match (number_of(kind), number(scalar)) {
            (Some(own), Some(wanted)) => own.compare(wanted) == Ordering::Equal,
            _ => false,
        },
    }
}

#[derive(Debug, Clone, Copy)]
enum Number {
    Whole(i128),
    Float(f64),
}

impl Number {
    /// Exactly, whatever the size.
    fn compare(self, other: Number) -> Ordering {
        match (self, other) {
            (Number::Whole(a), Number::Whole(b)) => a.cmp(&b),
            (Number::Float(a), Number::Float(b)) => a.partial_cmp(&b).unwrap(),
            (Number::Whole(a), Number::Float(b)) => {
                let whole = b.floor();
                let is_more = b > whole;
                a.cmp(&(whole as i128)).then(if is_more {
                    Ordering::Less
                } else {
                    Ordering::Equal
                })
            }
            (Number::Float(_), Number::Whole(_)) => other.compare(self).reverse(),
        }
    }
}

fn number_of(kind: &Kind) -> Option<Number> {
    match kind {
        Kind::Integer(number) => Some(Number::Whole(i128::from(*number))),
        Kind::Unsigned(number) => Some(Number::Whole(i128::from(*number))),
        Kind::Float(number) => Some(Number::Float(*number)),
        Kind::Keyword | Kind::Prose | Kind::Time(_) | Kind::Bool(_) => None,
    }
}

fn number(scalar: &Scalar) -> Option<Number> {
    match scalar {
        Scalar::Integer(number) => Some(Number::Whole(i128::from(*number))),
        Scalar::Unsigned(number) => Some(Number::Whole(i128::from(*number))),
        Scalar::Float(number) => Some(Number::Float(*number)),
        Scalar::Text(text) => match (text.parse::<i64>(), text.parse::<u64>()) {
            (Ok(number), _) => Some(Number::Whole(i128::from(number))),
            (_, Ok(number)) => Some(Number::Whole(i128::from(number))),
            _ => {
                let float = text.parse::<f64>().ok();
                float.filter(|float| float.is_finite()).map(Number::Float)
            }
        },
        Scalar::Bool(_) | Scalar::Time(_) => None,
    }
}

fn is_between(value: &Value, lower: Bound<&Scalar>, upper: Bound<&Scalar>) -> bool {
    match &value.kind {
        Kind::Keyword => {
            let compare = |bound: &Scalar| match bound {
                Scalar::Text(_) | Scalar::Time(_) => Some(value.spelled.cmp(&spell(bound))),
                _ => None,
            };
            lies_between(lower, upper, compare)
        }
        Kind::Time(own) => {
            lies_between(lower, upper, |bound| time(bound).map(|time| own.cmp(&time)))
        }
        Kind::Integer(_) | Kind::Unsigned(_) | Kind::Float(_) => {
            lies_between(lower, upper, |bound| {
                Some(number_of(&value.kind)?.compare(number(bound)?))
            })
        }
        // Full texts and booleans have no order.
        Kind::Prose | Kind::Bool(_) => false,
    }
}

/// `compare` tells how the value stands to a bound; `None` when the two cannot be compared.
fn lies_between(
    lower: Bound<&Scalar>,
    upper: Bound<&Scalar>,
    compare: impl Fn(&Scalar) -> Option<Ordering>,
) -> bool {
    let is_above = match lower {
        Bound::Unbounded => true,
        Bound::Included(bound) => compare(bound).is_some_and(Ordering::is_ge),
        Bound::Excluded(bound) => compare(bound).is_some_and(Ordering::is_gt),
    };
    let is_below = match upper {
        Bound::Unbounded => true,
        Bound::Included(bound) => compare(bound).is_some_and(Ordering::is_le),
        Bound::Excluded(bound) => compare(bound).is_some_and(Ordering::is_lt),
    };
    is_above && is_below
}

/// The time that a bound stands for; whole numbers are milliseconds.
fn time(scalar: &Scalar) -> Option<Timestamp> {
    match scalar {
        Scalar::Time(time) => Some(*time),
        Scalar::Integer(millis) => Timestamp::from_millis(*millis),
        Scalar::Text(text) => Timestamp::parse_lenient(text).ok(),
        Scalar::Float(_) | Scalar::Unsigned(_) | Scalar::Bool(_) => None,
    }
}
