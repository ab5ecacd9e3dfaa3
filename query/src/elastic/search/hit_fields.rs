//! `fields` and `docvalue_fields`: values by dotted path, always in arrays, times in the format asked for.

use event::Timestamp;
use indexer::logs::Hit;
use jiff::tz::TimeZone;
use regex::Regex;
use rustc_hash::FxHashMap;
use serde_json::Value;

use super::leaves::visit_leaves;
use super::reply::write_text;
use crate::elastic::error::ElasticError;
use crate::elastic::language::date_format::{DateFormat, Fill, format_timestamp};
use crate::logs::filter::{TIMESTAMP_FIELD, wildcard_regex_text};

/// The most entries of one list.
const REQUESTS_MAX: usize = 1024;

/// Which fields of a hit are told, and how.
#[derive(Debug, Clone, Default)]
pub(super) struct HitFields(Vec<Requested>);

#[derive(Debug, Clone)]
struct Requested {
    name: String,
    /// Set for wildcards; else the name is compared.
    pattern: Option<Regex>,
    format: Option<DateFormat>,
}

impl HitFields {
    /// Reads `["a","b*"]` or `[{"field":"a","format":"epoch_millis"}]` and adds it; what was added first goes first.
    pub fn add(&mut self, value: &Value) -> Result<(), ElasticError> {
        let single = [value.clone()];
        let entries = match value {
            Value::Null => return Ok(()),
            Value::Array(entries) => entries.as_slice(),
            _ => &single,
        };
        if entries.len() > REQUESTS_MAX {
            return Err(ElasticError::illegal_argument(format!(
                "more than [{REQUESTS_MAX}] fields"
            )));
        }
        for entry in entries {
            let (name, format) = match entry {
                Value::String(name) => (name.as_str(), None),
                Value::Object(options) => (
                    options
                        .get("field")
                        .and_then(Value::as_str)
                        .ok_or_else(|| {
                            ElasticError::illegal_argument("[fields] requires 'field'")
                        })?,
                    options.get("format").and_then(Value::as_str),
                ),
                other => {
                    return Err(ElasticError::parsing(
                        format!("[fields] expected a name or an object, but found [{other}]"),
                        1,
                        1,
                    ));
                }
            };
            self.0.push(Requested::new(name, format)?);
        }
        Ok(())
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes `{"a":[1],"b":["x","y"]}`; writes nothing and answers no when the hit has none of the fields.
    pub fn write(&self, hit: &Hit, out: &mut Vec<u8>) -> bool {
        let mut values = Values::default();
        if let Some(requested) = self.wanted(TIMESTAMP_FIELD) {
            values.add(TIMESTAMP_FIELD, &requested.timestamp(hit.timestamp));
        }
        let has_keywords = self.0.iter().any(|one| one.name.ends_with(".keyword"));
        visit_leaves(&hit.source, &mut |path, raw| {
            if path == TIMESTAMP_FIELD {
                return;
            }
            if let Some(requested) = self.wanted(path) {
                values.add(path, &requested.value(raw));
            }
            // The keyword twin of a text is told only to those who name it.
            if !has_keywords {
                return;
            }
            let keyword = format!("{path}.keyword");
            let is_named = |requested: &&Requested| requested.name == keyword;
            if let Some(requested) = self.0.iter().find(is_named) {
                values.add(&keyword, &requested.value(raw));
            }
        });
        if values.lists.is_empty() {
            return false;
        }
        out.push(b'{');
        for (at, (path, list)) in values.lists.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_text(path, out);
            out.extend_from_slice(b":[");
            out.extend_from_slice(list);
            out.push(b']');
        }
        out.push(b'}');
        true
    }

    /// The first entry for a field that says how to write it, else the first one.
    fn wanted(&self, path: &str) -> Option<&Requested> {
        let fitting = || self.0.iter().filter(|requested| requested.fits(path));
        let with_format = fitting().find(|requested| requested.format.is_some());
        with_format.or_else(|| fitting().next())
    }
}

impl Requested {
    fn new(name: &str, format: Option<&str>) -> Result<Requested, ElasticError> {
        let refuse = |problem: String| ElasticError::illegal_argument(problem);
        let pattern = match name.contains('*') {
            true => {
                let regex = format!("(?s)^{}$", wildcard_regex_text(name));
                let regex = Regex::new(&regex);
                Some(regex.map_err(|_| refuse(format!("pattern [{name}] is too large")))?)
            }
            false => None,
        };
        let format = match format {
            None | Some("use_field_mapping") => None,
            Some(format) => {
                let format = DateFormat::parse(format);
                Some(format.map_err(|error| refuse(error.to_string()))?)
            }
        };
        Ok(Requested {
            name: name.to_owned(),
            pattern,
            format,
        })
    }

    fn fits(&self, path: &str) -> bool {
        match &self.pattern {
            Some(pattern) => pattern.is_match(path),
            None => self.name == path,
        }
    }

    fn timestamp(&self, timestamp: Timestamp) -> Vec<u8> {
        let default = DateFormat::default_format();
        let format = self.format.as_ref().unwrap_or(&default);
        let mut out = Vec::new();
        write_text(
            &format_timestamp(timestamp, format, &TimeZone::UTC),
            &mut out,
        );
        out
    }

    /// The value as it is, or as a date where a format is asked for and the value is one.
    fn value(&self, raw: &str) -> Vec<u8> {
        let as_date = || {
            self.format.as_ref()?;
            let text = match serde_json::from_str::<Value>(raw).ok()? {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                _ => return None,
            };
            let timestamp =
                DateFormat::default_format().read(&text, &TimeZone::UTC, Fill::Earliest)?;
            Some(self.timestamp(timestamp))
        };
        as_date().unwrap_or_else(|| raw.as_bytes().to_vec())
    }
}

/// The values of a hit by path, in the order the paths appear.
#[derive(Default)]
struct Values {
    lists: Vec<(String, Vec<u8>)>,
    places: FxHashMap<String, usize>,
}

impl Values {
    fn add(&mut self, path: &str, value: &[u8]) {
        if let Some(place) = self.places.get(path) {
            let list = &mut self.lists[*place].1;
            list.push(b',');
            list.extend_from_slice(value);
            return;
        }
        self.places.insert(path.to_owned(), self.lists.len());
        self.lists.push((path.to_owned(), value.to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use event::Position;
    use serde_json::json;

    fn write(requests: &[Value], source: &str) -> String {
        let mut fields = HitFields::default();
        for request in requests {
            fields.add(request).unwrap();
        }
        let hit = Hit {
            id: "x".to_owned(),
            position: Position(1),
            timestamp: Timestamp::parse_iso("2026-11-23T10:00:00.123456789Z").unwrap(),
            source: Bytes::copy_from_slice(source.as_bytes()),
        };
        let mut out = Vec::new();
        fields.write(&hit, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_come_in_arrays_under_dotted_names() {
        let source = r#"{"@timestamp":1,"a":{"b":[1,[2.50,null]]},"l":[{"c":"x"},{"c":"y"}],"n":null,"a.b":true}"#;
        let all =
            r#"{"@timestamp":["2026-11-23T10:00:00.123Z"],"a.b":[1,2.50,true],"l.c":["x","y"]}"#;
        assert_eq!(write(&[json!(["*"])], source), all);
        assert_eq!(
            write(&[json!([{"field":"l.*"}])], source),
            r#"{"l.c":["x","y"]}"#
        );
        assert_eq!(
            write(&[json!(["l.c.keyword"])], source),
            r#"{"l.c.keyword":["x","y"]}"#
        );
        assert_eq!(write(&[json!(["nothing"])], source), "");
    }

    #[test]
    fn the_time_is_written_as_grafana_needs_it() {
        let grafana = [
            json!([{"field":"@timestamp","format":"strict_date_optional_time_nanos"},{"field":"*"}]),
            json!(["@timestamp"]),
        ];
        assert_eq!(
            write(
                &grafana,
                r#"{"@timestamp":"2026-11-23T10:00:00.123456789Z"}"#
            ),
            r#"{"@timestamp":["2026-11-23T10:00:00.123456789Z"]}"#
        );
        let formats =
            [json!([{"field":"at","format":"yyyy/MM/dd"},{"field":"m","format":"epoch_millis"}])];
        assert_eq!(
            write(&formats, r#"{"at":"2026-11-23","m":"no date"}"#),
            r#"{"at":["2026/11/23"],"m":["no date"]}"#
        );
    }
}
