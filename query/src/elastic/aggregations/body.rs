//! Reads the parameters of one aggregation leniently: numbers may be texts, texts numbers, as clients send them.

use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use crate::elastic::error::ElasticError;
use crate::elastic::language::date_format::{DateFormat, Fill, parse_time_zone};
use crate::elastic::language::date_math::DateContext;
use crate::logs::aggregate::pipeline::Path;
use crate::logs::aggregate::{Bounds, Key, Order, OrderBy};

use super::AggregationContext;
use super::presentation::ValueFormat;

/// The parameters of one aggregation.
pub(super) struct Body<'a> {
    pub aggregation: &'a str,
    /// The type, as `terms`.
    pub kind: &'a str,
    pub map: &'a Map<String, Value>,
}

impl<'a> Body<'a> {
    /// A parameter that is there and not null.
    pub fn value(&self, name: &str) -> Option<&'a Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// A text; numbers and booleans are taken as they are written.
    pub fn text(&self, name: &str) -> Result<Option<String>, ElasticError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(value.to_string())),
            Some(_) => Err(self.invalid(name, "must be a text")),
        }
    }

    /// The field; empty texts count as none.
    pub fn field(&self) -> Result<Option<String>, ElasticError> {
        Ok(self.text("field")?.filter(|field| !field.is_empty()))
    }

    /// The field, which must be there.
    pub fn required_field(&self) -> Result<String, ElasticError> {
        self.field()?.ok_or_else(|| {
            ElasticError::illegal_argument(format!(
                "Required one of fields [field, script], but none were specified in aggregation [{}] of type [{}]",
                self.aggregation, self.kind
            ))
        })
    }

    /// A number, or a text that spells one.
    pub fn number(&self, name: &str) -> Result<Option<f64>, ElasticError> {
        match self.value(name) {
            None => Ok(None),
            Some(value) => match lenient_number(value) {
                Some(number) => Ok(Some(number)),
                None => Err(self.invalid(name, "must be a number")),
            },
        }
    }

    /// A whole number that is not negative.
    pub fn count(&self, name: &str) -> Result<Option<u64>, ElasticError> {
        match self.number(name)? {
            None => Ok(None),
            Some(number) if number >= 0.0 && number.fract() == 0.0 => Ok(Some(number as u64)),
            Some(_) => Err(self.invalid(name, "must be a whole number of at least 0")),
        }
    }

    /// A count that is used as a size in memory.
    pub fn size(&self, name: &str, default: usize) -> Result<usize, ElasticError> {
        let count = self.count(name)?;
        Ok(count.map_or(default, |count| {
            usize::try_from(count).unwrap_or(usize::MAX)
        }))
    }

    /// Truth, or a text that spells it.
    pub fn boolean(&self, name: &str) -> Result<Option<bool>, ElasticError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(truth)) => Ok(Some(*truth)),
            Some(Value::String(text)) if text == "true" => Ok(Some(true)),
            Some(Value::String(text)) if text == "false" || text.is_empty() => Ok(Some(false)),
            Some(_) => Err(self.invalid(name, "must be true or false")),
        }
    }

    /// A list of numbers; a single one counts as a list.
    pub fn numbers(&self, name: &str) -> Result<Option<Vec<f64>>, ElasticError> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let values = match value {
            Value::Array(values) => values.as_slice(),
            single => std::slice::from_ref(single),
        };
        let numbers: Option<Vec<f64>> = values.iter().map(lenient_number).collect();
        match numbers {
            Some(numbers) => Ok(Some(numbers)),
            None => Err(self.invalid(name, "must be numbers")),
        }
    }

    /// The zone of `time_zone`; UTC when there is none.
    pub fn time_zone(&self) -> Result<TimeZone, ElasticError> {
        match self.text("time_zone")? {
            None => Ok(TimeZone::UTC),
            Some(name) => parse_time_zone(&name).ok_or_else(|| {
                ElasticError::illegal_argument(format!(
                    "unknown time zone [{name}]; use a name as [Europe/Berlin] or an offset as [+01:00]"
                ))
            }),
        }
    }

    /// How values are written besides as numbers.
    pub fn value_format(&self) -> Result<Option<ValueFormat>, ElasticError> {
        let format = self.text("format")?.filter(|format| !format.is_empty());
        match format {
            None => Ok(None),
            Some(format) => ValueFormat::parse(&format).map(Some),
        }
    }

    /// How dates are read and written.
    pub fn date_format(&self) -> Result<DateFormat, ElasticError> {
        match self.text("format")?.filter(|format| !format.is_empty()) {
            None => Ok(DateFormat::default_format()),
            Some(format) => DateFormat::parse(&format)
                .map_err(|error| ElasticError::illegal_argument(error.to_string())),
        }
    }

    /// A time in milliseconds: a number, or a text in the aggregation's format, with date math.
    pub fn millis(
        &self,
        name: &str,
        value: &Value,
        context: &AggregationContext<'_>,
    ) -> Result<i64, ElasticError> {
        match value {
            Value::Number(_) => lenient_number(value)
                .map(|millis| millis as i64)
                .ok_or_else(|| self.invalid(name, "must be a time")),
            Value::String(text) => self.millis_of_text(text, context),
            _ => Err(self.invalid(name, "must be a time")),
        }
    }

    fn millis_of_text(
        &self,
        text: &str,
        context: &AggregationContext<'_>,
    ) -> Result<i64, ElasticError> {
        let dates = DateContext {
            format: &self.date_format()?,
            zone: &self.time_zone()?,
            now: context.now,
        };
        match dates.read(text, Fill::Earliest) {
            Ok(time) => Ok(time.millis()),
            // Clients send milliseconds as text whatever the format is.
            Err(error) => text
                .parse::<i64>()
                .map_err(|_| ElasticError::date(&error.text, &error.format)),
        }
    }

    /// `{"min":…,"max":…}` of times.
    pub fn time_bounds(
        &self,
        name: &str,
        context: &AggregationContext<'_>,
    ) -> Result<Option<Bounds<i64>>, ElasticError> {
        let Some(bounds) = self.object(name)? else {
            return Ok(None);
        };
        let side = |side: &str| {
            let value = bounds.get(side).filter(|value| !value.is_null());
            value
                .map(|value| self.millis(name, value, context))
                .transpose()
        };
        self.bounds(name, side("min")?, side("max")?).map(Some)
    }

    /// `{"min":…,"max":…}` of numbers.
    pub fn number_bounds(&self, name: &str) -> Result<Option<Bounds<f64>>, ElasticError> {
        let Some(bounds) = self.object(name)? else {
            return Ok(None);
        };
        let side = |side: &str| {
            let value = bounds.get(side).filter(|value| !value.is_null());
            value
                .map(|value| {
                    lenient_number(value).ok_or_else(|| self.invalid(name, "must hold numbers"))
                })
                .transpose()
        };
        self.bounds(name, side("min")?, side("max")?).map(Some)
    }

    fn bounds<T: PartialOrd + std::fmt::Display>(
        &self,
        name: &str,
        min: Option<T>,
        max: Option<T>,
    ) -> Result<Bounds<T>, ElasticError> {
        if let (Some(min), Some(max)) = (&min, &max)
            && min > max
        {
            return Err(ElasticError::illegal_argument(format!(
                "[{name}.min][{min}] cannot be greater than [{name}.max][{max}] for aggregation [{}]",
                self.aggregation
            )));
        }
        Ok(Bounds { min, max })
    }

    /// A parameter that is an object.
    pub fn object(&self, name: &str) -> Result<Option<&'a Map<String, Value>>, ElasticError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(_) => Err(self.invalid(name, "must be an object")),
        }
    }

    /// The order of buckets: an object, or a list of objects. Empty means the default.
    pub fn order(&self) -> Result<Vec<Order>, ElasticError> {
        let Some(value) = self.value("order") else {
            return Ok(Vec::new());
        };
        let entries = match value {
            Value::Array(entries) => entries.as_slice(),
            single => std::slice::from_ref(single),
        };
        let mut orders = Vec::new();
        for entry in entries {
            let Value::Object(entry) = entry else {
                return Err(self.invalid("order", "must be an object as {\"_count\":\"desc\"}"));
            };
            for (by, direction) in entry {
                let by = match by.as_str() {
                    "_count" => OrderBy::Count,
                    "_key" | "_term" | "_time" => OrderBy::Key,
                    path => OrderBy::Metric(Path::parse(path)),
                };
                let descending = is_descending(direction)
                    .ok_or_else(|| self.invalid("order", "goes either asc or desc"))?;
                orders.push(Order { by, descending });
            }
        }
        Ok(orders)
    }

    /// The value that stands for a missing one.
    pub fn missing_key(&self) -> Result<Option<Key>, ElasticError> {
        match self.value("missing") {
            None => Ok(None),
            Some(value) => match key_of(value) {
                Some(key) => Ok(Some(key)),
                None => Err(self.invalid("missing", "must be a single value")),
            },
        }
    }

    /// An error about one parameter.
    pub fn invalid(&self, name: &str, problem: &str) -> ElasticError {
        ElasticError::illegal_argument(format!(
            "[{name}] {problem} in aggregation [{}] of type [{}]",
            self.aggregation, self.kind
        ))
    }
}

/// The key that a JSON value is; `None` for lists, objects and null.
pub(super) fn key_of(value: &Value) -> Option<Key> {
    match value {
        Value::String(text) => Some(Key::from(text.as_str())),
        Value::Bool(truth) => Some(Key::Bool(*truth)),
        Value::Number(number) => Some(match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Key::Integer(integer),
            (None, Some(unsigned)) => Key::unsigned(unsigned),
            (None, None) => Key::number(number.as_f64()?),
        }),
        _ => None,
    }
}

/// A number, or a text that spells one; never NaN.
pub(super) fn lenient_number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number: &f64| !number.is_nan())
}

/// `"desc"`, or `{"order":"desc"}`.
pub(super) fn is_descending(direction: &Value) -> Option<bool> {
    match direction {
        Value::String(text) if text.eq_ignore_ascii_case("desc") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("asc") => Some(false),
        Value::Object(map) => match map.get("order") {
            Some(order) => is_descending(order),
            None => Some(false),
        },
        _ => None,
    }
}
