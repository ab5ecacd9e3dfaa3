//! Queries for values as they are: `term`, `terms`, `range`, `exists`, `ids`, `wildcard`, `prefix`, `regexp`, `fuzzy`.

use std::ops::Bound;

use indexer::logs::{Field, Leaf, Pattern, Scalar};
use serde_json::{Map, Value};

use super::super::lenient;
use super::super::lucene_regex;
use super::super::query_string::fuzzy_edits;
use super::super::text::{RangeValue, TextContext, exists_path};
use super::{DateOptions, QueryError, Request};
use crate::logs::filter::{Filter, wildcard_regex_text};

/// How many values `terms` may have; Elasticsearch's `index.max_terms_count`.
const TERMS_MAX: usize = 65_536;

/// A value and what stands beside it in the long form.
pub(super) type ValueAndOptions<'a> = (&'a Value, Option<&'a Map<String, Value>>);

impl Request<'_> {
    pub(super) fn term(&self) -> Result<Filter, QueryError> {
        let (field, body) = self.field()?;
        let (value, options) = self.value_of(body, &["value"])?;
        let dates = DateOptions::read(None)?;
        let text = dates.text(self.context);
        let field = Field::Named(field.to_owned());
        if self.ignores_case(options) {
            let value = lenient::text(value).ok_or_else(|| self.no_value())?;
            return text.term_ignoring_case(&field, &value);
        }
        self.term_on(&text, &field, value)
    }

    pub(super) fn terms(&self) -> Result<Filter, QueryError> {
        let (field, body) = self.field()?;
        let Value::Array(values) = body else {
            return Err(QueryError::Shape(
                "[terms] query requires an array of terms; lookups are not supported".to_owned(),
            ));
        };
        if values.len() > TERMS_MAX {
            return Err(QueryError::Value(format!(
                "The number of terms [{}] used in the Terms Query request has exceeded the allowed maximum of [{TERMS_MAX}]",
                values.len()
            )));
        }
        if field == "_id" {
            let ids = values.iter().filter_map(lenient::text).collect();
            return Ok(Filter::Leaf(Leaf::Ids(ids)));
        }
        let dates = DateOptions::read(None)?;
        let text = dates.text(self.context);
        let field = Field::Named(field.to_owned());
        let filters = values
            .iter()
            .map(|value| self.term_on(&text, &field, value))
            .collect::<Result<Vec<_>, QueryError>>()?;
        Ok(Filter::any(filters))
    }

    pub(super) fn exists(&self) -> Result<Filter, QueryError> {
        let field = self.object()?.get("field").and_then(Value::as_str);
        match field {
            Some(path) => Ok(exists_path(path)),
            None => Err(QueryError::Value(
                "[exists] must be provided with a [field]".to_owned(),
            )),
        }
    }

    pub(super) fn ids(&self) -> Result<Filter, QueryError> {
        let ids = self.object()?.get("values").and_then(lenient::texts);
        match ids {
            Some(ids) => Ok(Filter::Leaf(Leaf::Ids(ids))),
            None => Err(self.requires("values")),
        }
    }

    pub(super) fn wildcard(&self) -> Result<Filter, QueryError> {
        self.pattern(&["value", "wildcard"], |value, ignores_case| {
            Ok(match ignores_case {
                true => Pattern::Regex(format!("(?is){}", wildcard_regex_text(value))),
                false => Pattern::Wildcard(value.to_owned()),
            })
        })
    }

    pub(super) fn prefix(&self) -> Result<Filter, QueryError> {
        self.pattern(&["value", "prefix"], |value, ignores_case| {
            Ok(match ignores_case {
                true => Pattern::Regex(format!("(?is){}.*", regex::escape(value))),
                false => Pattern::Prefix(value.to_owned()),
            })
        })
    }

    pub(super) fn regexp(&self) -> Result<Filter, QueryError> {
        let (_, body) = self.field()?;
        let flags = body.get("flags").and_then(Value::as_str);
        let has_optional_operators = flags != Some("NONE");
        self.pattern(&["value"], |value, ignores_case| {
            let regex = lucene_regex::translate(value, has_optional_operators)
                .map_err(|problem| QueryError::Value(format!("[regexp] [{value}]: {problem}")))?;
            Ok(Pattern::Regex(match ignores_case {
                true => format!("(?i){regex}"),
                false => regex,
            }))
        })
    }

    pub(super) fn fuzzy(&self) -> Result<Filter, QueryError> {
        let (_, body) = self.field()?;
        let edits = body.get("fuzziness").and_then(lenient::float);
        self.pattern(&["value"], |value, _| {
            Ok(Pattern::Fuzzy(value.to_owned(), fuzzy_edits(value, edits)))
        })
    }

    pub(super) fn range(&self) -> Result<Filter, QueryError> {
        let (field, body) = self.field()?;
        let Value::Object(options) = body else {
            return Err(QueryError::Shape(format!(
                "[range] query malformed, no start_object after field name [{field}]"
            )));
        };
        let is_known = |key: &str| {
            matches!(
                key,
                "gte"
                    | "gt"
                    | "lte"
                    | "lt"
                    | "from"
                    | "to"
                    | "include_lower"
                    | "include_upper"
                    | "format"
                    | "time_zone"
                    | "relation"
                    | "boost"
                    | "_name"
            )
        };
        if let Some(unknown) = options.keys().find(|key| !is_known(key)) {
            return Err(self.unsupported(unknown));
        }
        let flag = |key: &str| options.get(key).and_then(lenient::boolean).unwrap_or(true);
        let lower = [
            self.bound(options, "gte", true)?,
            self.bound(options, "gt", false)?,
            self.bound(options, "from", flag("include_lower"))?,
        ];
        let upper = [
            self.bound(options, "lte", true)?,
            self.bound(options, "lt", false)?,
            self.bound(options, "to", flag("include_upper"))?,
        ];
        let first = |bounds: [Bound<RangeValue>; 3]| {
            let mut bounds = bounds.into_iter();
            bounds
                .find(|bound| *bound != Bound::Unbounded)
                .unwrap_or(Bound::Unbounded)
        };
        let dates = DateOptions::read(Some(options))?;
        let text = dates.text(self.context);
        text.range(
            &Field::Named(field.to_owned()),
            &first(lower),
            &first(upper),
        )
    }

    fn bound(
        &self,
        options: &Map<String, Value>,
        key: &str,
        is_included: bool,
    ) -> Result<Bound<RangeValue>, QueryError> {
        let value = match options.get(key) {
            None | Some(Value::Null) => return Ok(Bound::Unbounded),
            Some(Value::Number(number)) => RangeValue::Number(number.clone()),
            Some(Value::String(text)) => RangeValue::Text(text.clone()),
            Some(Value::Bool(truth)) => RangeValue::Text(truth.to_string()),
            Some(Value::Array(_) | Value::Object(_)) => {
                return Err(QueryError::Shape(format!(
                    "[range] query: [{key}] must be a value"
                )));
            }
        };
        Ok(match is_included {
            true => Bound::Included(value),
            false => Bound::Excluded(value),
        })
    }

    fn pattern(
        &self,
        keys: &[&str],
        pattern: impl Fn(&str, bool) -> Result<Pattern, QueryError>,
    ) -> Result<Filter, QueryError> {
        let (field, body) = self.field()?;
        let (value, options) = self.value_of(body, keys)?;
        let value = lenient::text(value).ok_or_else(|| self.no_value())?;
        let pattern = pattern(&value, self.ignores_case(options))?;
        let dates = DateOptions::read(None)?;
        let text = dates.text(self.context);
        Ok(text.pattern(&Field::Named(field.to_owned()), pattern))
    }

    fn term_on(
        &self,
        text: &TextContext<'_>,
        field: &Field,
        value: &Value,
    ) -> Result<Filter, QueryError> {
        let scalar = match value {
            Value::String(text) => Scalar::Text(text.clone()),
            Value::Bool(truth) => Scalar::Bool(*truth),
            Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(integer), _, _) => Scalar::Integer(integer),
                (None, Some(integer), _) => Scalar::Unsigned(integer),
                (None, None, Some(float)) => Scalar::Float(float),
                (None, None, None) => return Ok(Filter::None),
            },
            Value::Null | Value::Array(_) | Value::Object(_) => return Err(self.no_value()),
        };
        text.term(field, scalar)
    }

    /// The value, short (`{field: value}`) or long (`{field: {value: …}}`), with the options of the long form.
    pub(super) fn value_of<'b>(
        &self,
        body: &'b Value,
        keys: &[&str],
    ) -> Result<ValueAndOptions<'b>, QueryError> {
        let Value::Object(options) = body else {
            return Ok((body, None));
        };
        let value = keys.iter().find_map(|key| options.get(*key));
        match value {
            Some(value) => Ok((value, Some(options))),
            None => Err(self.no_value()),
        }
    }

    fn ignores_case(&self, options: Option<&Map<String, Value>>) -> bool {
        options
            .and_then(|options| options.get("case_insensitive"))
            .and_then(lenient::boolean)
            .unwrap_or(false)
    }

    fn no_value(&self) -> QueryError {
        QueryError::Value(format!("[{}] query: value cannot be null", self.name))
    }
}
