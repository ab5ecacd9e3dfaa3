//! The query DSL: JSON objects with one query type each, as clients send them, into filters.
//!
//! Options that change scores or speed only are ignored. An unknown query type is an error.

mod full_text;
mod term_level;

use event::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::QueryError;
use super::date_format::{DateFormat, parse_time_zone};
use super::date_math::DateContext;
use super::minimum::MinimumShouldMatch;
use super::text::TextContext;
use crate::logs::filter::Filter;

/// What queries depend on beside themselves.
#[derive(Debug, Clone)]
pub struct QueryContext {
    /// What `now` means, the same for a whole request.
    pub now: Timestamp,
}

/// The filter that a query means: `{"bool":{…}}`, `{"term":{…}}` and so on.
///
/// # Errors
/// The query type is unknown, a query lacks something or has a value that cannot be used.
pub fn parse(query: &Value, context: &QueryContext) -> Result<Filter, QueryError> {
    let object = object(query, "query")?;
    let mut entries = object.iter();
    let Some((name, body)) = entries.next() else {
        return Err(QueryError::Value(
            "query malformed, empty clause found".to_owned(),
        ));
    };
    if let Some((second, _)) = entries.next() {
        return Err(QueryError::Shape(format!(
            "[{name}] malformed query, expected [END_OBJECT] but found [FIELD_NAME] [{second}]"
        )));
    }
    let request = Request {
        name,
        body,
        context,
    };
    match name.as_str() {
        "match_all" => Ok(Filter::All),
        "match_none" => Ok(Filter::None),
        "bool" => request.bool(),
        "constant_score" => request.inner("filter"),
        // Arrays of objects are flattened, so the inner query asks the same fields.
        "nested" => request.inner("query"),
        "function_score" => match object_of(body).and_then(|body| body.get("query")) {
            Some(_) => request.inner("query"),
            None => Ok(Filter::All),
        },
        "boosting" => request.inner("positive"),
        "dis_max" => request.dis_max(),
        "query_string" => request.query_string(),
        "simple_query_string" => request.simple_query_string(),
        "match" => request.match_words(),
        "match_phrase" => request.match_phrase(),
        "match_phrase_prefix" => request.match_phrase_prefix(),
        "match_bool_prefix" => request.match_bool_prefix(),
        "multi_match" => request.multi_match(),
        "range" => request.range(),
        "term" => request.term(),
        "terms" => request.terms(),
        "exists" => request.exists(),
        "ids" => request.ids(),
        "wildcard" => request.wildcard(),
        "prefix" => request.prefix(),
        "regexp" => request.regexp(),
        "fuzzy" => request.fuzzy(),
        "script" => Err(QueryError::Value(
            "[script] queries are not supported; express the condition with other queries"
                .to_owned(),
        )),
        _ => Err(QueryError::UnknownQuery(name.clone())),
    }
}

/// One query: its type and what stands behind it.
struct Request<'a> {
    name: &'a str,
    body: &'a Value,
    context: &'a QueryContext,
}

impl<'a> Request<'a> {
    fn bool(&self) -> Result<Filter, QueryError> {
        let mut required = Vec::new();
        let mut optional = Vec::new();
        let mut minimum = None;
        for (key, value) in self.object()? {
            match key.as_str() {
                "must" | "filter" => required.extend(self.clauses(value)?),
                "must_not" | "mustNot" => {
                    required.extend(self.clauses(value)?.into_iter().map(Filter::negate));
                }
                "should" => optional.extend(self.clauses(value)?),
                "minimum_should_match" | "minimumShouldMatch" => {
                    minimum = self.minimum(value)?;
                }
                "boost" | "_name" | "adjust_pure_negative" | "disable_coord" => {}
                other => return Err(self.unsupported(other)),
            }
        }
        let has_required = self
            .object()?
            .iter()
            .any(|(key, value)| matches!(key.as_str(), "must" | "filter") && !is_empty(value));
        let minimum = match minimum {
            Some(minimum) => minimum.of(optional.len()),
            None if has_required || optional.is_empty() => 0,
            None => 1,
        };
        match minimum {
            0 => {}
            1 => required.push(Filter::any(optional)),
            minimum => required.push(Filter::AtLeast {
                minimum,
                of: optional,
            }),
        }
        Ok(Filter::all(required))
    }

    fn dis_max(&self) -> Result<Filter, QueryError> {
        match self.object()?.get("queries") {
            Some(queries) => Ok(Filter::any(self.clauses(queries)?)),
            None => Err(self.requires("queries")),
        }
    }

    /// One query, or a list of them; nothing where there is null.
    fn clauses(&self, value: &Value) -> Result<Vec<Filter>, QueryError> {
        match value {
            Value::Null => Ok(Vec::new()),
            Value::Array(queries) => queries
                .iter()
                .map(|query| parse(query, self.context))
                .collect(),
            query => Ok(vec![parse(query, self.context)?]),
        }
    }

    fn inner(&self, key: &str) -> Result<Filter, QueryError> {
        match self.object()?.get(key) {
            Some(query) => parse(query, self.context),
            None => Err(self.requires(key)),
        }
    }

    fn minimum(&self, value: &Value) -> Result<Option<MinimumShouldMatch>, QueryError> {
        if value.is_null() {
            return Ok(None);
        }
        match MinimumShouldMatch::parse(value) {
            Some(minimum) => Ok(Some(minimum)),
            None => Err(QueryError::Value(format!(
                "[{}] cannot read [minimum_should_match]: {value}",
                self.name
            ))),
        }
    }

    fn object(&self) -> Result<&'a Map<String, Value>, QueryError> {
        object(self.body, self.name)
    }

    /// `{field: body}`, with a boost or a name beside it.
    fn field(&self) -> Result<(&'a str, &'a Value), QueryError> {
        let mut fields = self
            .object()?
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "boost" | "_name"));
        let Some((field, body)) = fields.next() else {
            return Err(QueryError::Value(format!(
                "[{}] requires a field name",
                self.name
            )));
        };
        match fields.next() {
            None => Ok((field, body)),
            Some((second, _)) => Err(QueryError::Shape(format!(
                "[{}] query doesn't support multiple fields, found [{field}] and [{second}]",
                self.name
            ))),
        }
    }

    fn unsupported(&self, key: &str) -> QueryError {
        QueryError::Shape(format!("[{}] query does not support [{key}]", self.name))
    }

    fn requires(&self, key: &str) -> QueryError {
        QueryError::Value(format!("[{}] requires '{key}' field", self.name))
    }
}

/// The date format and zone that a query names, owned for the time it is read.
struct DateOptions {
    format: DateFormat,
    zone: TimeZone,
    has_format: bool,
}

impl DateOptions {
    fn read(options: Option<&Map<String, Value>>) -> Result<DateOptions, QueryError> {
        let text = |key: &str| options?.get(key)?.as_str();
        let format = match text("format") {
            Some(format) => {
                DateFormat::parse(format).map_err(|error| QueryError::Value(error.to_string()))?
            }
            None => DateFormat::default_format(),
        };
        let zone = match text("time_zone") {
            Some(zone) => parse_time_zone(zone)
                .ok_or_else(|| QueryError::Value(format!("failed to parse time zone [{zone}]")))?,
            None => TimeZone::UTC,
        };
        Ok(DateOptions {
            format,
            zone,
            has_format: text("format").is_some(),
        })
    }

    fn text<'a>(&'a self, context: &QueryContext) -> TextContext<'a> {
        TextContext {
            dates: DateContext {
                format: &self.format,
                zone: &self.zone,
                now: context.now,
            },
            has_date_format: self.has_format,
        }
    }
}

fn object<'a>(value: &'a Value, name: &str) -> Result<&'a Map<String, Value>, QueryError> {
    object_of(value).ok_or_else(|| {
        QueryError::Shape(format!(
            "[{name}] query malformed, no start_object after query name"
        ))
    })
}

fn object_of(value: &Value) -> Option<&Map<String, Value>> {
    value.as_object()
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(queries) => queries.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
