//! `sort` and `search_after`: from requests to the engine's order and back into replies.
//!
//! `_doc` is only ever a tiebreaker: Grafana puts it first when the time field's name sorts behind it, and means the time.
//! The engine therefore gets it last; clients get and send the values in the order they asked for.

use event::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use crate::elastic::error::ElasticError;
use crate::elastic::language::date_format::{DateFormat, Fill, format_timestamp};
use crate::elastic::language::lenient;
use crate::logs::filter::TIMESTAMP_FIELD;
use crate::logs::plan::{Missing, Pick, Resolution, SortBy, SortKey, SortValue};

/// More keys than this make no sense, and each costs a column.
const KEYS_MAX: usize = 32;

/// The order that a request asks for.
#[derive(Debug, Clone, Default)]
pub(super) struct Sort {
    /// In the order of the request.
    keys: Vec<Key>,
}

#[derive(Debug, Clone)]
struct Key {
    key: SortKey,
    format: Option<DateFormat>,
    is_score: bool,
}

impl Sort {
    /// Reads `sort` as it stands in a body: a name, an object, or a list of both.
    pub fn parse(value: &Value) -> Result<Sort, ElasticError> {
        let mut keys = Vec::new();
        match value {
            Value::Null => {}
            Value::Array(entries) => {
                for entry in entries {
                    add(entry, &mut keys)?;
                }
            }
            entry => add(entry, &mut keys)?,
        }
        if keys.len() > KEYS_MAX {
            return Err(ElasticError::illegal_argument(format!(
                "[sort] has more than [{KEYS_MAX}] keys"
            )));
        }
        Ok(Sort { keys })
    }

    /// Reads `sort` as it stands in a URL: `a:desc,b`.
    pub fn parse_url(text: &str) -> Result<Sort, ElasticError> {
        let mut keys = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (name, order) = match part.rsplit_once(':') {
                Some((name, order)) => (name, Some(Value::from(order))),
                None => (part, None),
            };
            keys.push(key(name, order.as_ref())?);
        }
        Ok(Sort { keys })
    }

    /// Whether the request leaves the order to us.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether the request orders by score, so that hits must tell one.
    pub fn has_score(&self) -> bool {
        self.keys.iter().any(|key| key.is_score)
    }

    /// The engine's order. Without any wish, newest first: what people who read logs want.
    pub fn order(&self) -> Vec<SortKey> {
        if self.keys.is_empty() {
            return vec![SortKey::newest_first()];
        }
        self.engine_places()
            .into_iter()
            .map(|place| self.keys[place].key.clone())
            .collect()
    }

    /// For each key of the engine's order its place in the request.
    fn engine_places(&self) -> Vec<usize> {
        let is_tiebreaker = |place: &usize| self.keys[*place].key.by == SortBy::Position;
        let places = 0..self.keys.len();
        let (last, mut first): (Vec<usize>, Vec<usize>) = places.partition(is_tiebreaker);
        first.extend(last);
        first
    }

    /// Reads `search_after`. Fewer values than keys are taken as a place for the first keys only.
    pub fn search_after(&self, value: &Value) -> Result<Option<Vec<SortValue>>, ElasticError> {
        let values = match value {
            Value::Null => return Ok(None),
            Value::Array(values) => values,
            _ => {
                return Err(ElasticError::illegal_argument(
                    "[search_after] must be an array of values",
                ));
            }
        };
        if self.keys.is_empty() {
            return Err(ElasticError::illegal_argument(
                "Sort must contain at least one field.",
            ));
        }
        if values.is_empty() || values.len() > self.keys.len() {
            return Err(ElasticError::illegal_argument(format!(
                "search_after has {} value(s) but sort has {}.",
                values.len(),
                self.keys.len()
            )));
        }
        let mut after = Vec::with_capacity(values.len());
        for place in self.engine_places() {
            // A value that the client left out ends what is known of the place.
            let Some(value) = values.get(place) else {
                break;
            };
            after.push(self.keys[place].read(value)?);
        }
        Ok(Some(after))
    }

    /// Writes the values of a hit, which come in the engine's order, in the request's.
    pub fn write(&self, values: &[SortValue], out: &mut Vec<u8>) {
        let mut in_request_order = vec![&SortValue::Missing; self.keys.len()];
        for (place, value) in self.engine_places().into_iter().zip(values) {
            in_request_order[place] = value;
        }
        out.push(b'[');
        for (at, (key, value)) in self.keys.iter().zip(in_request_order).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            key.write(value, out);
        }
        out.push(b']');
    }
}

impl Key {
    fn resolution(&self) -> Option<Resolution> {
        match &self.key.by {
            SortBy::Time(resolution) => Some(*resolution),
            _ => None,
        }
    }

    fn read(&self, value: &Value) -> Result<SortValue, ElasticError> {
        let refuse = || {
            ElasticError::illegal_argument(format!(
                "Failed to parse search_after value {value} for field [{}]",
                self.name()
            ))
        };
        if value.is_null() {
            return Ok(SortValue::Missing);
        }
        if self.is_score {
            return Ok(SortValue::Integer(0));
        }
        match (&self.key.by, value) {
            (SortBy::Time(resolution), Value::String(text)) => {
                if let Some(number) = lenient::integer(value) {
                    return Ok(SortValue::Integer(number));
                }
                let default = DateFormat::default_format();
                let format = self.format.as_ref().unwrap_or(&default);
                let timestamp = format.read(text, &TimeZone::UTC, Fill::Earliest);
                let timestamp = timestamp.ok_or_else(refuse)?;
                Ok(SortValue::Integer(resolution.of(timestamp)))
            }
            (SortBy::Time(_) | SortBy::Position, value) => lenient::integer(value)
                .map(SortValue::Integer)
                .ok_or_else(refuse),
            (_, Value::String(text)) => Ok(SortValue::Text(text.clone())),
            (_, Value::Bool(truth)) => Ok(SortValue::Bool(*truth)),
            (_, Value::Number(number)) => {
                let whole = number.as_i64().map(SortValue::Integer);
                let unsigned = || number.as_u64().map(SortValue::Unsigned);
                let float = || number.as_f64().map(SortValue::Float);
                whole.or_else(unsigned).or_else(float).ok_or_else(refuse)
            }
            _ => Err(refuse()),
        }
    }

    fn write(&self, value: &SortValue, out: &mut Vec<u8>) {
        if self.is_score {
            out.extend_from_slice(b"1.0");
            return;
        }
        if let (Some(format), SortValue::Integer(number)) = (&self.format, value) {
            let timestamp = match self.resolution() {
                Some(Resolution::Nanos) => Some(Timestamp::from_nanos(*number)),
                Some(Resolution::Millis) => Timestamp::from_millis(*number),
                None => None,
            };
            if let Some(timestamp) = timestamp {
                let text = format_timestamp(timestamp, format, &TimeZone::UTC);
                match format.writes_number() {
                    true => out.extend_from_slice(text.as_bytes()),
                    false => super::reply::write_text(&text, out),
                }
                return;
            }
        }
        match value {
            SortValue::Missing => out.extend_from_slice(b"null"),
            SortValue::Bool(truth) => out.extend_from_slice(truth.to_string().as_bytes()),
            SortValue::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
            SortValue::Unsigned(number) => out.extend_from_slice(number.to_string().as_bytes()),
            SortValue::Float(number) => {
                out.extend_from_slice(Value::from(*number).to_string().as_bytes());
            }
            SortValue::Text(text) => super::reply::write_text(text, out),
        }
    }

    fn name(&self) -> &str {
        match &self.key.by {
            SortBy::Time(_) => TIMESTAMP_FIELD,
            SortBy::Field(name, _) => name,
            SortBy::Position => "_doc",
            SortBy::ShardName => "_index",
            SortBy::Nothing => "_score",
        }
    }
}

fn add(entry: &Value, keys: &mut Vec<Key>) -> Result<(), ElasticError> {
    match entry {
        Value::String(name) => keys.push(key(name, None)?),
        Value::Object(entries) => {
            for (name, options) in entries {
                keys.push(key(name, Some(options))?);
            }
        }
        other => {
            return Err(ElasticError::parsing(
                format!("[sort] expected a field name or an object, but found [{other}]"),
                1,
                1,
            ));
        }
    }
    Ok(())
}

fn key(name: &str, options: Option<&Value>) -> Result<Key, ElasticError> {
    let empty = Map::new();
    let (order, options) = match options {
        Some(Value::String(order)) => (Some(order.as_str()), &empty),
        Some(Value::Object(options)) => (options.get("order").and_then(Value::as_str), options),
        _ => (None, &empty),
    };
    let text = |option: &str| options.get(option).and_then(Value::as_str);
    let is_score = name == "_score";
    let descending = match order.map(str::to_ascii_lowercase).as_deref() {
        None => is_score,
        Some("asc") => false,
        Some("desc") => true,
        Some(other) => {
            return Err(ElasticError::illegal_argument(format!(
                "Unknown sort order [{other}] for [{name}], expected [asc] or [desc]"
            )));
        }
    };
    let format = match text("format") {
        Some(format) => Some(
            DateFormat::parse(format)
                .map_err(|error| ElasticError::illegal_argument(error.to_string()))?,
        ),
        None => None,
    };
    let resolution = match text("numeric_type") {
        Some("date_nanos") => Resolution::Nanos,
        _ => Resolution::Millis,
    };
    let by = match name {
        TIMESTAMP_FIELD => SortBy::Time(resolution),
        "_doc" | "_shard_doc" | "_seq_no" => SortBy::Position,
        "_score" => SortBy::Nothing,
        "_index" => SortBy::ShardName,
        "_id" => {
            return Err(ElasticError::illegal_argument(
                "Sorting by [_id] is not supported; use [_doc] as the tiebreaker",
            ));
        }
        field => SortBy::Field(field.to_owned(), resolution),
    };
    let missing = match options.get("missing") {
        None | Some(Value::Null) => Missing::Last,
        Some(Value::String(text)) if text == "_last" => Missing::Last,
        Some(Value::String(text)) if text == "_first" => Missing::First,
        Some(Value::String(text)) => Missing::Value(SortValue::Text(text.clone())),
        Some(Value::Bool(truth)) => Missing::Value(SortValue::Bool(*truth)),
        Some(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Missing::Value(SortValue::Integer(whole)),
            (None, Some(float)) => Missing::Value(SortValue::Float(float)),
            (None, None) => Missing::Last,
        },
    };
    let pick = match text("mode") {
        Some("min") => Some(Pick::Smallest),
        Some("max") => Some(Pick::Largest),
        _ => None,
    };
    Ok(Key {
        key: SortKey {
            by,
            descending,
            missing,
            pick,
        },
        format,
        is_score,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(sort: &Sort) -> Vec<String> {
        let name = |key: &SortKey| {
            let direction = if key.descending { '-' } else { '+' };
            match &key.by {
                SortBy::Time(_) => format!("{direction}time"),
                SortBy::Field(name, _) => format!("{direction}{name}"),
                other => format!("{direction}{other:?}"),
            }
        };
        sort.order().iter().map(name).collect()
    }

    #[test]
    fn every_form_is_read_and_the_tiebreaker_goes_last() {
        let cases = [
            (
                json!({"@timestamp":{"order":"desc","unmapped_type":"boolean"},"_doc":{"order":"desc"}}),
                vec!["-time", "-Position"],
            ),
            (
                json!([{"@timestamp":"asc"},{"_doc":"asc"}]),
                vec!["+time", "+Position"],
            ),
            (
                json!({"_doc":{"order":"desc"},"timestamp":{"order":"desc"}}),
                vec!["-timestamp", "-Position"],
            ),
            (json!(["_doc"]), vec!["+Position"]),
            (json!("level"), vec!["+level"]),
            (
                json!(["_score", {"a.keyword":{"order":"DESC"}}]),
                vec!["-Nothing", "-a.keyword"],
            ),
            (json!([]), vec!["-time"]),
        ];
        for (value, expected) in cases {
            assert_eq!(names(&Sort::parse(&value).unwrap()), expected, "{value}");
        }
        assert_eq!(
            names(&Sort::parse_url("@timestamp:desc,b").unwrap()),
            ["-time", "+b"]
        );
    }

    #[test]
    fn values_are_told_and_taken_back_in_the_order_of_the_request() {
        let sort = Sort::parse(&json!({"_doc":"desc","@timestamp":"desc"})).unwrap();
        let after = sort
            .search_after(&json!([42, 1795428000123i64]))
            .unwrap()
            .unwrap();
        assert_eq!(
            after,
            [SortValue::Integer(1795428000123), SortValue::Integer(42)]
        );
        let mut out = Vec::new();
        sort.write(&after, &mut out);
        assert_eq!(out, b"[42,1795428000123]");

        let sort = Sort::parse(
            &json!([{"@timestamp":{"order":"asc","format":"strict_date_optional_time"}}]),
        )
        .unwrap();
        let after = sort
            .search_after(&json!(["2026-11-23T10:00:00.123Z"]))
            .unwrap()
            .unwrap();
        assert_eq!(after, [SortValue::Integer(1795428000123)]);
        let mut out = Vec::new();
        sort.write(&after, &mut out);
        assert_eq!(out, br#"["2026-11-23T10:00:00.123Z"]"#);
    }

    #[test]
    fn a_place_that_does_not_fit_the_order_is_refused() {
        let sort = Sort::parse(&json!([{"@timestamp":"asc"},{"_doc":"asc"}])).unwrap();
        assert_eq!(sort.search_after(&json!([5])).unwrap().unwrap().len(), 1);
        for after in [json!([1, 2, 3]), json!([]), json!("x"), json!(["soon", 1])] {
            assert!(sort.search_after(&after).is_err(), "{after}");
        }
        assert!(Sort::default().search_after(&json!([1])).is_err());
        assert!(Sort::parse(&json!([{"a":"up"}])).is_err());
        assert!(Sort::parse(&json!([5])).is_err());
    }
}
