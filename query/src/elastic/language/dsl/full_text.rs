//! Queries for words: the `match` family, `multi_match`, `query_string`, `simple_query_string`.

use indexer::logs::{Field, Pattern};
use serde_json::{Map, Value};

use super::super::bounds;
use super::super::lenient;
use super::super::minimum::MinimumShouldMatch;
use super::super::query_string::{Operator, QueryString, fuzzy_edits};
use super::super::simple_query_string::SimpleQueryString;
use super::super::text::{Fields, TextContext, split_words};
use super::{DateOptions, QueryError, Request};
use crate::logs::filter::Filter;

/// How the words of a `match` are to be found.
struct Words<'a> {
    text: TextContext<'a>,
    query: String,
    kind: Kind,
    operator: Operator,
    minimum: Option<MinimumShouldMatch>,
    /// Words may differ by some edits; the inner value is how many, without it their length decides.
    fuzziness: Option<Option<f64>>,
    slop: i64,
    matches_all_without_words: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Each word for itself.
    Separate,
    /// All words, in order and next to each other.
    Phrase,
    /// A phrase whose last word may go on.
    PhrasePrefix,
    /// Each word for itself, the last one may go on.
    BoolPrefix,
}

impl Request<'_> {
    pub(super) fn match_words(&self) -> Result<Filter, QueryError> {
        self.match_on_field(Kind::Separate)
    }

    pub(super) fn match_phrase(&self) -> Result<Filter, QueryError> {
        self.match_on_field(Kind::Phrase)
    }

    pub(super) fn match_phrase_prefix(&self) -> Result<Filter, QueryError> {
        self.match_on_field(Kind::PhrasePrefix)
    }

    pub(super) fn match_bool_prefix(&self) -> Result<Filter, QueryError> {
        self.match_on_field(Kind::BoolPrefix)
    }

    fn match_on_field(&self, kind: Kind) -> Result<Filter, QueryError> {
        let (field, body) = self.field()?;
        let (query, options) = self.value_of(body, &["query"])?;
        let dates = DateOptions::read(options)?;
        let words = self.words(query, options, kind, &dates)?;
        let fields = Fields::exact(field);
        self.check_size(&words, &fields)?;
        fields.ask(&mut |field| words.on(field))
    }

    pub(super) fn multi_match(&self) -> Result<Filter, QueryError> {
        let options = self.object()?;
        let query = options.get("query").ok_or_else(|| self.requires("query"))?;
        let dates = DateOptions::read(Some(options))?;
        let kind = Kind::Separate;
        let words = self.words(query, Some(options), kind, &dates)?;
        let fields = self.fields(options)?;
        self.check_size(&words, &fields)?;
        let is_across = options.get("type").and_then(Value::as_str) == Some("cross_fields");
        if is_across {
            return words
                .combine(&mut |word| fields.ask(&mut |field| words.text.words(field, word)));
        }
        fields.ask(&mut |field| words.on(field))
    }

    fn words<'b>(
        &self,
        query: &Value,
        options: Option<&Map<String, Value>>,
        kind: Kind,
        dates: &'b DateOptions,
    ) -> Result<Words<'b>, QueryError> {
        let option = |key: &str| options.and_then(|options| options.get(key));
        let Some(query) = lenient::text(query) else {
            return Err(QueryError::Value(format!(
                "[{}] No text specified for text query",
                self.name
            )));
        };
        let kind = match option("type").and_then(Value::as_str) {
            Some("phrase") => Kind::Phrase,
            Some("phrase_prefix") => Kind::PhrasePrefix,
            Some("bool_prefix") => Kind::BoolPrefix,
            _ => kind,
        };
        let fuzziness = option("fuzziness").map(lenient::float);
        let zero_terms = option("zero_terms_query").and_then(Value::as_str);
        Ok(Words {
            text: dates.text(self.context),
            query,
            kind,
            operator: self.operator(option("operator"))?.unwrap_or(Operator::Or),
            minimum: match option("minimum_should_match") {
                Some(value) => self.minimum(value)?,
                None => None,
            },
            fuzziness,
            slop: option("slop").and_then(lenient::integer).unwrap_or(0),
            matches_all_without_words: zero_terms == Some("all"),
        })
    }

    fn check_size(&self, words: &Words<'_>, fields: &Fields) -> Result<(), QueryError> {
        let term_count = split_words(&words.query).count();
        bounds::check(term_count, fields).map_err(|problem| {
            QueryError::Value(format!("[{}] asks for too much: {problem}", self.name))
        })
    }

    pub(super) fn query_string(&self) -> Result<Filter, QueryError> {
        let options = self.object()?;
        let query = options.get("query").and_then(lenient::text);
        let query = query.ok_or_else(|| {
            QueryError::Shape("[query_string] must be provided with a [query]".to_owned())
        })?;
        let dates = DateOptions::read(Some(options))?;
        let minimum = match options.get("minimum_should_match") {
            Some(value) => self.minimum(value)?,
            None => None,
        };
        let operator = self.operator(options.get("default_operator"))?;
        let language = QueryString {
            default_fields: self.fields(options)?,
            default_operator: operator.unwrap_or(Operator::Or),
            phrase_slop: options
                .get("phrase_slop")
                .and_then(lenient::integer)
                .map_or(0, |slop| u32::try_from(slop).unwrap_or(0)),
            minimum_should_match: minimum.as_ref(),
            text: TextContext {
                has_date_format: false,
                ..dates.text(self.context)
            },
        };
        language.parse(&query)
    }

    pub(super) fn simple_query_string(&self) -> Result<Filter, QueryError> {
        let options = self.object()?;
        let query = options.get("query").and_then(lenient::text);
        let query = query.ok_or_else(|| {
            QueryError::Shape("[simple_query_string] query text missing".to_owned())
        })?;
        let dates = DateOptions::read(None)?;
        let operator = self.operator(options.get("default_operator"))?;
        let flags = options.get("flags").and_then(lenient::text);
        let language = SimpleQueryString {
            fields: self.fields(options)?,
            default_operator: operator.unwrap_or(Operator::Or),
            has_operators: flags.as_deref() != Some("NONE"),
            text: dates.text(self.context),
        };
        language.parse(&query)
    }

    /// `fields`, else `default_field`, else all.
    fn fields(&self, options: &Map<String, Value>) -> Result<Fields, QueryError> {
        let names = options.get("fields").and_then(lenient::texts);
        let default_field = options.get("default_field").and_then(Value::as_str);
        match (names, default_field) {
            (Some(names), Some(_)) if !names.is_empty() => Err(QueryError::Value(format!(
                "[{}] query can not combine [fields] with [default_field]",
                self.name
            ))),
            (Some(names), _) if !names.is_empty() => {
                Ok(Fields::parse(names.iter().map(String::as_str)))
            }
            (_, Some(field)) => Ok(Fields::parse([field])),
            _ => Ok(Fields::Any),
        }
    }

    fn operator(&self, value: Option<&Value>) -> Result<Option<Operator>, QueryError> {
        let Some(value) = value.filter(|value| !value.is_null()) else {
            return Ok(None);
        };
        let name = lenient::text(value).unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "and" => Ok(Some(Operator::And)),
            "or" => Ok(Some(Operator::Or)),
            _ => Err(QueryError::Value(format!(
                "operator needs to be either [and] or [or], but not [{name}]"
            ))),
        }
    }
}

impl Words<'_> {
    fn on(&self, field: &Field) -> Result<Filter, QueryError> {
        let text = &self.text;
        match self.kind {
            Kind::Phrase if self.slop > 0 => text.words_near(field, &self.query),
            Kind::Phrase => text.words(field, &self.query),
            Kind::PhrasePrefix => text.words_prefix(field, &self.query),
            Kind::Separate | Kind::BoolPrefix if is_whole_value(field) => {
                text.words(field, &self.query)
            }
            Kind::Separate => self.combine(&mut |word| match self.fuzziness {
                Some(edits) => {
                    let edits = fuzzy_edits(word, edits);
                    Ok(text.pattern(field, Pattern::Fuzzy(word.to_owned(), edits)))
                }
                None => text.words(field, word),
            }),
            Kind::BoolPrefix => {
                let (count, mut number) = (split_words(&self.query).count(), 0);
                self.combine(&mut |word| {
                    number += 1;
                    match number == count {
                        true => text.words_prefix(field, word),
                        false => text.words(field, word),
                    }
                })
            }
        }
    }

    /// Each word's condition, joined as the request says.
    fn combine(
        &self,
        condition: &mut dyn FnMut(&str) -> Result<Filter, QueryError>,
    ) -> Result<Filter, QueryError> {
        let mut filters = Vec::new();
        for word in split_words(&self.query) {
            filters.push(condition(word)?);
        }
        if filters.is_empty() {
            let is_blank = self.query.trim().is_empty();
            return match (self.matches_all_without_words, is_blank) {
                (true, _) => Ok(Filter::All),
                (false, true) => Ok(Filter::None),
                // Punctuation alone can still be a whole value.
                (false, false) => condition(self.query.trim()),
            };
        }
        Ok(match (self.operator, &self.minimum) {
            (Operator::And, _) => Filter::all(filters),
            (Operator::Or, None) => Filter::any(filters),
            (Operator::Or, Some(minimum)) => Filter::AtLeast {
                minimum: minimum.of(filters.len()).max(1),
                of: filters,
            },
        })
    }
}

/// Fields whose values are not cut into words: keywords, times, ids.
fn is_whole_value(field: &Field) -> bool {
    matches!(field, Field::Named(path)
        if path.ends_with(".keyword") || path.starts_with('_') || path == crate::logs::filter::TIMESTAMP_FIELD)
}
