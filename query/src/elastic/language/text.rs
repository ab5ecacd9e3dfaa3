//! What a text means on a field, given that there is no mapping: every string is both full text and keyword.
//!
//! - Words of a search (`match`, `match_phrase`, `query_string`) are searched as words: next to each other when one
//!   word of the request is cut into several (`web-1`). On `f.keyword` they are the whole value.
//! - A `term` is the whole value, or, when it could be a word of a full text (one lower-case word), that word.
//! - Patterns fit a word or the whole value; on `f.keyword` the whole value.
//! - Ranges compare like with like: numbers with numbers, times with times, texts with texts. What the request's
//!   bounds can be read as is asked, and any of these answers counts.
//! - `@timestamp` is the event's own time and takes dates only; `_id`, `_index` and `_type` are what they are called.

use std::ops::Bound;

use event::Timestamp;
use indexer::logs::{Field, Leaf, Pattern, Scalar};

use super::QueryError;
use super::date_format::Fill;
use super::date_math::DateContext;
use crate::logs::filter::{Filter, TIMESTAMP_FIELD, TimeRange};

/// The suffix under which Elasticsearch's default mapping keeps the whole value of a text.
const KEYWORD_SUFFIX: &str = ".keyword";

/// Digits alone are taken for milliseconds since 1970 from here on (1973): smaller numbers are counts and codes.
const EPOCH_MILLIS_MIN: f64 = 1e11;

/// The fields that a condition is asked of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fields {
    /// All of them, as a search without a field does.
    Any,
    /// One or more, by path or by wildcard pattern; any of them may fulfil the condition.
    Named(Vec<FieldPath>),
}

/// A path, or a wildcard pattern over paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldPath {
    /// This field.
    Exact(String),
    /// Every field that fits, as `k8s.*`.
    Wildcard(String),
}

impl FieldPath {
    /// Reads `message`, `k8s.*`, and `message^2`, whose boost is ignored because nothing is scored.
    pub fn parse(text: &str) -> FieldPath {
        let name = match text.rsplit_once('^') {
            Some((name, boost)) if boost.parse::<f64>().is_ok() => name,
            _ => text,
        };
        match name.contains('*') {
            true => FieldPath::Wildcard(name.to_owned()),
            false => FieldPath::Exact(name.to_owned()),
        }
    }
}

impl Fields {
    /// Just this path, even when it has an asterisk.
    pub fn exact(path: &str) -> Fields {
        Fields::Named(vec![FieldPath::Exact(path.to_owned())])
    }

    /// These paths and patterns; `*` among them is all.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Fields {
        let paths: Vec<FieldPath> = names.into_iter().map(FieldPath::parse).collect();
        let is_any = paths
            .iter()
            .any(|path| matches!(path, FieldPath::Wildcard(pattern) if pattern == "*"));
        match is_any {
            true => Fields::Any,
            false => Fields::Named(paths),
        }
    }

    /// How many conditions one condition becomes when it is asked of these fields.
    pub fn count(&self) -> usize {
        match self {
            Fields::Any => 1,
            Fields::Named(paths) => paths.len(),
        }
    }

    /// The condition, asked of these fields.
    ///
    /// # Errors
    /// Those of `condition`.
    pub fn ask(
        &self,
        condition: &mut dyn FnMut(&Field) -> Result<Filter, QueryError>,
    ) -> Result<Filter, QueryError> {
        let paths = match self {
            Fields::Any => return condition(&Field::Any),
            Fields::Named(paths) => paths,
        };
        let mut filters = Vec::with_capacity(paths.len());
        let mut wildcards = Vec::new();
        for path in paths {
            match path {
                FieldPath::Exact(path) => filters.push(condition(&Field::Named(path.clone()))?),
                FieldPath::Wildcard(pattern) => wildcards.push(pattern.clone()),
            }
        }
        if !wildcards.is_empty() {
            filters.push(Filter::AnyField {
                paths: wildcards,
                of: Box::new(condition(&Field::Any)?),
            });
        }
        Ok(Filter::any(filters))
    }
}

/// A bound of a range as the request has it.
#[derive(Debug, Clone, PartialEq)]
pub enum RangeValue {
    /// A text, which may spell a number or a date.
    Text(String),
    /// A JSON number.
    Number(serde_json::Number),
}

/// Conditions on one field, in the words of the request.
#[derive(Debug, Clone)]
pub struct TextContext<'a> {
    /// How dates are read.
    pub dates: DateContext<'a>,
    /// The request says how its dates are written, so its values are dates.
    pub has_date_format: bool,
}

impl TextContext<'_> {
    /// The text as words next to each other; the whole value on `f.keyword` and where the text has no word.
    ///
    /// # Errors
    /// The field is `@timestamp` and the text is no date.
    pub fn words(&self, field: &Field, text: &str) -> Result<Filter, QueryError> {
        if let Some(special) = self.special(field, text)? {
            return Ok(special);
        }
        if is_keyword(field) || !has_word(text) {
            return Ok(equals(field, Scalar::Text(text.to_owned())));
        }
        Ok(Filter::Leaf(Leaf::Words(field.clone(), text.to_owned())))
    }

    /// All words of the text, anywhere in the value and in any order: what proximity (`"a b"~2`) comes to.
    ///
    /// # Errors
    /// As [`TextContext::words`].
    pub fn words_near(&self, field: &Field, text: &str) -> Result<Filter, QueryError> {
        if is_keyword(field) || self.special(field, text)?.is_some() {
            return self.words(field, text);
        }
        let words: Vec<Filter> = split_words(text)
            .map(|word| Filter::Leaf(Leaf::Words(field.clone(), word.to_owned())))
            .collect();
        Ok(match words.is_empty() {
            true => equals(field, Scalar::Text(text.to_owned())),
            false => Filter::all(words),
        })
    }

    /// The words of the text, the last of which may go on: `match_phrase_prefix`.
    ///
    /// # Errors
    /// As [`TextContext::words`].
    pub fn words_prefix(&self, field: &Field, text: &str) -> Result<Filter, QueryError> {
        if is_keyword(field) {
            return Ok(self.pattern(field, Pattern::Prefix(text.to_owned())));
        }
        if !has_word(text) || self.special(field, text)?.is_some() {
            return self.words(field, text);
        }
        let mut pattern = escape_wildcard(text.trim());
        pattern.push('*');
        Ok(Filter::Leaf(Leaf::WordPattern(
            field.clone(),
            Pattern::Wildcard(pattern),
        )))
    }

    /// The whole value, or one lower-case word of a full text: `term`.
    ///
    /// # Errors
    /// The field is `@timestamp` and the value is no date.
    pub fn term(&self, field: &Field, value: Scalar) -> Result<Filter, QueryError> {
        let text = match &value {
            Scalar::Text(text) => text.clone(),
            Scalar::Integer(number) => number.to_string(),
            Scalar::Unsigned(number) => number.to_string(),
            Scalar::Float(number) => number.to_string(),
            Scalar::Bool(truth) => truth.to_string(),
            Scalar::Time(_) => return Ok(equals(field, value)),
        };
        if let Some(special) = self.special(field, &text)? {
            return Ok(special);
        }
        let is_text = matches!(value, Scalar::Text(_));
        let whole = equals(field, value);
        if !is_text || is_keyword(field) || !is_one_lower_case_word(&text) {
            return Ok(whole);
        }
        let word = Filter::Leaf(Leaf::Words(field.clone(), text));
        Ok(Filter::any(vec![whole, word]))
    }

    /// The whole value, case ignored.
    ///
    /// # Errors
    /// As [`TextContext::term`].
    pub fn term_ignoring_case(&self, field: &Field, text: &str) -> Result<Filter, QueryError> {
        if let Some(special) = self.special(field, text)? {
            return Ok(special);
        }
        let regex = format!("(?i){}", regex::escape(text));
        Ok(self.pattern(field, Pattern::Regex(regex)))
    }

    /// A word or the whole value fits; on `f.keyword` the whole value.
    pub fn pattern(&self, field: &Field, pattern: Pattern) -> Filter {
        match field {
            Field::Named(path) if path == "_index" => Filter::Index(pattern),
            Field::Named(path) if path == "_id" => match pattern {
                Pattern::Wildcard(wildcard) if wildcard == "*" => Filter::All,
                Pattern::Fuzzy(id, _) => Filter::Leaf(Leaf::Ids(vec![id])),
                // Ids cannot be searched by pattern, in Elasticsearch neither.
                _ => Filter::None,
            },
            _ if is_keyword(field) => Filter::Leaf(Leaf::ValuePattern(field.clone(), pattern)),
            // Without a field name it is words that people look for.
            Field::Any => Filter::Leaf(Leaf::WordPattern(Field::Any, pattern)),
            _ => Filter::any(vec![
                Filter::Leaf(Leaf::WordPattern(field.clone(), pattern.clone())),
                Filter::Leaf(Leaf::ValuePattern(field.clone(), pattern)),
            ]),
        }
    }

    /// The value lies between the bounds.
    ///
    /// # Errors
    /// A bound should be a date and is none: on `@timestamp`, and where the request has a date format.
    pub fn range(
        &self,
        field: &Field,
        lower: &Bound<RangeValue>,
        upper: &Bound<RangeValue>,
    ) -> Result<Filter, QueryError> {
        if is_timestamp(field) {
            return Ok(Filter::During(self.time_range(lower, upper)?));
        }
        if matches!(field, Field::Named(path) if path.starts_with('_') && is_metadata(path)) {
            return Ok(Filter::None);
        }
        if matches!((lower, upper), (Bound::Unbounded, Bound::Unbounded)) {
            return Ok(exists(field));
        }
        let mut readings = Vec::new();
        if let Some((lower, upper)) = both(lower, upper, number) {
            let is_wanted = !self.has_date_format || is_json_number(&[&lower.1, &upper.1]);
            if is_wanted {
                readings.push(Leaf::Range(field.clone(), lower.0, upper.0));
            }
        }
        if let Some(range) = self.dates(lower, upper)? {
            let bound = |timestamp| Bound::Included(Scalar::Time(timestamp));
            readings.push(Leaf::Range(
                field.clone(),
                bound(range.first),
                bound(range.last),
            ));
        }
        if let (false, Some((lower, upper))) = (self.has_date_format, texts(lower, upper)) {
            readings.push(Leaf::Range(field.clone(), lower, upper));
        }
        Ok(Filter::any(
            readings.into_iter().map(Filter::Leaf).collect(),
        ))
    }

    /// Fields that mean something by their name.
    fn special(&self, field: &Field, text: &str) -> Result<Option<Filter>, QueryError> {
        let Field::Named(path) = field else {
            return Ok(None);
        };
        Ok(match path.as_str() {
            TIMESTAMP_FIELD => {
                let literal = Bound::Included(RangeValue::Text(text.to_owned()));
                Some(Filter::During(self.time_range(&literal, &literal)?))
            }
            "_id" => Some(Filter::Leaf(Leaf::Ids(vec![text.to_owned()]))),
            "_index" => Some(Filter::Index(Pattern::Wildcard(escape_wildcard(text)))),
            // Every document of ours has the one type that version 7 still knew.
            "_type" if text == "_doc" => Some(Filter::All),
            "_type" => Some(Filter::None),
            _ => None,
        })
    }

    /// The bounds as times: a lower bound is the first moment of what it spells, an upper bound the last.
    fn time_range(
        &self,
        lower: &Bound<RangeValue>,
        upper: &Bound<RangeValue>,
    ) -> Result<TimeRange, QueryError> {
        let first = match lower {
            Bound::Unbounded => Timestamp::MIN,
            Bound::Included(value) => self.date(value, Fill::Earliest)?,
            Bound::Excluded(value) => {
                match self.date(value, Fill::Latest)?.nanos().checked_add(1) {
                    Some(nanos) => Timestamp::from_nanos(nanos),
                    None => return Ok(TimeRange::EMPTY),
                }
            }
        };
        let last = match upper {
            Bound::Unbounded => Timestamp::MAX,
            Bound::Included(value) => self.date(value, Fill::Latest)?,
            Bound::Excluded(value) => {
                return Ok(TimeRange::until(first, self.date(value, Fill::Earliest)?));
            }
        };
        Ok(TimeRange { first, last })
    }

    fn date(&self, value: &RangeValue, fill: Fill) -> Result<Timestamp, QueryError> {
        match value {
            RangeValue::Text(text) => Ok(self.dates.read(text, fill)?),
            RangeValue::Number(number) => {
                let text = number_text(number);
                if let (true, Ok(timestamp)) = (self.has_date_format, self.dates.read(&text, fill))
                {
                    return Ok(timestamp);
                }
                let millis = super::date_format::epoch_millis();
                let dates = DateContext {
                    format: &millis,
                    ..self.dates.clone()
                };
                Ok(dates.read(&text, fill)?)
            }
        }
    }

    /// The bounds as times, when they can be; an error when they must be.
    fn dates(
        &self,
        lower: &Bound<RangeValue>,
        upper: &Bound<RangeValue>,
    ) -> Result<Option<TimeRange>, QueryError> {
        let could_be = |bound: &Bound<RangeValue>| match bound {
            Bound::Unbounded => true,
            Bound::Included(value) | Bound::Excluded(value) => {
                number(value).is_none_or(|(_, is_millis)| is_millis)
            }
        };
        if self.has_date_format {
            return self.time_range(lower, upper).map(Some);
        }
        if !could_be(lower) || !could_be(upper) {
            return Ok(None);
        }
        Ok(self.time_range(lower, upper).ok())
    }
}

/// The event has a value under this path or below it; `*` in it stands for any characters.
pub fn exists(field: &Field) -> Filter {
    match field {
        Field::Any => Filter::Leaf(Leaf::Exists(String::new())),
        Field::Named(path) => exists_path(path),
    }
}

/// As [`exists`], by path.
pub fn exists_path(path: &str) -> Filter {
    if path == TIMESTAMP_FIELD || is_metadata(path) || path == "*" {
        return Filter::All;
    }
    match FieldPath::parse(path) {
        FieldPath::Exact(path) => Filter::Leaf(Leaf::Exists(path)),
        FieldPath::Wildcard(pattern) => Filter::AnyField {
            paths: vec![pattern],
            of: Box::new(Filter::Leaf(Leaf::Exists(String::new()))),
        },
    }
}

/// A text as a wildcard pattern that stands for itself only.
pub fn escape_wildcard(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '\\') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// The pieces of a text between white space that have words in them.
pub fn split_words(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().filter(|piece| has_word(piece))
}

fn has_word(text: &str) -> bool {
    text.chars().any(is_word_char)
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_one_lower_case_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| is_word_char(c) && !c.is_uppercase())
}

fn is_keyword(field: &Field) -> bool {
    matches!(field, Field::Named(path) if path.ends_with(KEYWORD_SUFFIX))
}

fn is_timestamp(field: &Field) -> bool {
    matches!(field, Field::Named(path) if path == TIMESTAMP_FIELD)
}

fn is_metadata(path: &str) -> bool {
    matches!(path, "_id" | "_index" | "_source" | "_type" | "_doc")
}

fn equals(field: &Field, value: Scalar) -> Filter {
    Filter::Leaf(Leaf::Equals(field.clone(), value))
}

fn number_text(number: &serde_json::Number) -> String {
    match (number.as_i64(), number.as_f64()) {
        (None, Some(float)) => format!("{float}"),
        _ => number.to_string(),
    }
}

/// The value as a number, and whether it is large enough to be milliseconds since 1970.
fn number(value: &RangeValue) -> Option<(Scalar, bool)> {
    let text = match value {
        RangeValue::Text(text) => text.clone(),
        RangeValue::Number(number) => number_text(number),
    };
    let scalar = spelled_number(&text)?;
    let magnitude: f64 = text.parse().ok()?;
    Some((scalar, magnitude.abs() >= EPOCH_MILLIS_MIN))
}

/// The number that a text spells, when it spells one.
pub fn spelled_number(text: &str) -> Option<Scalar> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if let Ok(integer) = text.parse::<i64>() {
        return Some(Scalar::Integer(integer));
    }
    if let Ok(integer) = text.parse::<u64>() {
        return Some(Scalar::Unsigned(integer));
    }
    let float: f64 = text.parse().ok()?;
    float.is_finite().then_some(Scalar::Float(float))
}

fn is_json_number(bounds: &[&Option<RangeValue>]) -> bool {
    bounds
        .iter()
        .flat_map(|bound| bound.as_ref())
        .all(|value| matches!(value, RangeValue::Number(_)))
}

type ReadBound = (Bound<Scalar>, Option<RangeValue>);

/// Both bounds as what `read` makes of them; nothing when one of them cannot be read so.
fn both(
    lower: &Bound<RangeValue>,
    upper: &Bound<RangeValue>,
    read: impl Fn(&RangeValue) -> Option<(Scalar, bool)>,
) -> Option<(ReadBound, ReadBound)> {
    let one = |bound: &Bound<RangeValue>| -> Option<ReadBound> {
        Some(match bound {
            Bound::Unbounded => (Bound::Unbounded, None),
            Bound::Included(value) => (Bound::Included(read(value)?.0), Some(value.clone())),
            Bound::Excluded(value) => (Bound::Excluded(read(value)?.0), Some(value.clone())),
        })
    };
    Some((one(lower)?, one(upper)?))
}

/// Both bounds as texts, by code point. Digits as bounds reach only texts that begin with a digit, so that `>500` finds
/// `"503"` and not `"n/a"`.
fn texts(
    lower: &Bound<RangeValue>,
    upper: &Bound<RangeValue>,
) -> Option<(Bound<Scalar>, Bound<Scalar>)> {
    let text = |bound: &Bound<RangeValue>| -> Option<Bound<String>> {
        let of = |value: &RangeValue| match value {
            RangeValue::Text(text) if text.starts_with("now") || text.contains("||") => None,
            RangeValue::Text(text) => Some(text.clone()),
            RangeValue::Number(_) => None,
        };
        Some(match bound {
            Bound::Unbounded => Bound::Unbounded,
            Bound::Included(value) => Bound::Included(of(value)?),
            Bound::Excluded(value) => Bound::Excluded(of(value)?),
        })
    };
    let (lower, upper) = (text(lower)?, text(upper)?);
    let is_number = |bound: &Bound<String>| match bound {
        Bound::Unbounded => false,
        Bound::Included(text) | Bound::Excluded(text) => spelled_number(text).is_some(),
    };
    let is_lower_number = is_number(&lower);
    let is_upper_number = is_number(&upper);
    let lower = match lower {
        Bound::Unbounded if is_upper_number => Bound::Included("0".to_owned()),
        other => other,
    };
    let upper = match upper {
        // The character behind `9`.
        Bound::Unbounded if is_lower_number => Bound::Excluded(":".to_owned()),
        other => other,
    };
    let scalar = |bound: Bound<String>| match bound {
        Bound::Unbounded => Bound::Unbounded,
        Bound::Included(text) => Bound::Included(Scalar::Text(text)),
        Bound::Excluded(text) => Bound::Excluded(Scalar::Text(text)),
    };
    Some((scalar(lower), scalar(upper)))
}
