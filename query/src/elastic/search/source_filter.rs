//! `_source`: whether and which part of the stored document is sent back.

use event::Document;
use regex::RegexSet;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::elastic::error::ElasticError;
use crate::elastic::language::lenient;
use crate::logs::filter::wildcard_regex_text;

/// Levels of nesting that are filtered; what lies deeper is kept or dropped as a whole.
const DEPTH_MAX: usize = 128;

/// What to send of a document.
#[derive(Debug, Clone, Default)]
pub(super) struct SourceFilter {
    is_off: bool,
    includes: Option<RegexSet>,
    excludes: Option<RegexSet>,
}

impl SourceFilter {
    /// Nothing is sent.
    pub fn off() -> SourceFilter {
        SourceFilter {
            is_off: true,
            ..SourceFilter::default()
        }
    }

    /// Reads `true`, `false`, `"a.*"`, `["a","b.*"]` or `{"includes":…,"excludes":…}`.
    pub fn parse(value: &Value) -> Result<SourceFilter, ElasticError> {
        match value {
            Value::Null => Ok(SourceFilter::default()),
            Value::Bool(true) => Ok(SourceFilter::default()),
            Value::Bool(false) => Ok(SourceFilter::off()),
            Value::Object(options) => {
                let list = |names: [&str; 2]| {
                    let value = names.iter().find_map(|name| options.get(*name));
                    match value {
                        None | Some(Value::Null) => Ok(Vec::new()),
                        Some(value) => lenient::texts(value).ok_or_else(|| refuse(value)),
                    }
                };
                let includes = list(["includes", "include"])?;
                SourceFilter::of(&includes, &list(["excludes", "exclude"])?)
            }
            other => {
                let includes = lenient::texts(other).ok_or_else(|| refuse(other))?;
                SourceFilter::of(&includes, &[])
            }
        }
    }

    /// Reads `_source` of a URL: `true`, `false` or a comma list.
    pub fn parse_url(text: &str) -> Result<SourceFilter, ElasticError> {
        match text {
            "" | "true" => Ok(SourceFilter::default()),
            "false" => Ok(SourceFilter::off()),
            list => {
                let includes: Vec<String> = list.split(',').map(str::to_owned).collect();
                SourceFilter::of(&includes, &[])
            }
        }
    }

    /// Only what fits `includes`, where there are some, without what fits `excludes`.
    pub fn of(includes: &[String], excludes: &[String]) -> Result<SourceFilter, ElasticError> {
        Ok(SourceFilter {
            is_off: false,
            includes: patterns(includes)?,
            excludes: patterns(excludes)?,
        })
    }

    /// Whether nothing is sent.
    pub fn is_off(&self) -> bool {
        self.is_off
    }

    /// Writes what is to be sent of a document: all of it as it was stored, or a smaller object.
    pub fn write(&self, source: &[u8], out: &mut Vec<u8>) {
        if self.includes.is_none() && self.excludes.is_none() {
            out.extend_from_slice(source);
            return;
        }
        match Document::parse(source) {
            Ok(document) => {
                let mut path = String::new();
                let is_included = self.includes.is_none();
                if !self.object(&document, &mut path, is_included, 0, out) {
                    out.extend_from_slice(b"{}");
                }
            }
            // A stored document that cannot be walked is sent whole rather than not at all.
            Err(_) => out.extend_from_slice(source),
        }
    }

    /// Writes what is left of an object; writes nothing and answers no when nothing is.
    fn object(
        &self,
        document: &Document,
        path: &mut String,
        is_included: bool,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let start = out.len();
        out.push(b'{');
        let mut is_first = true;
        for (name, value) in document.fields() {
            let length = path.len();
            if length > 0 {
                path.push('.');
            }
            path.push_str(name);
            let field_start = out.len();
            if !is_first {
                out.push(b',');
            }
            super::reply::write_text(name, out);
            out.push(b':');
            match self.value(value, path, is_included, depth + 1, out) {
                true => is_first = false,
                false => out.truncate(field_start),
            }
            path.truncate(length);
        }
        out.push(b'}');
        // An empty object that is wanted stays: it was sent like that.
        let keeps = !is_first || (is_included && document.is_empty());
        if !keeps {
            out.truncate(start);
        }
        keeps
    }

    fn value(
        &self,
        text: &str,
        path: &mut String,
        is_included: bool,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let fits = |set: &Option<RegexSet>| set.as_ref().is_some_and(|set| set.is_match(path));
        if fits(&self.excludes) {
            return false;
        }
        let is_included = is_included || fits(&self.includes);
        let is_whole = is_included && self.excludes.is_none();
        match text.as_bytes().first() {
            Some(b'{') if !is_whole && depth < DEPTH_MAX => {
                match Document::parse(text.as_bytes()) {
                    Ok(document) => self.object(&document, path, is_included, depth, out),
                    Err(_) => false,
                }
            }
            Some(b'[') if !is_whole && depth < DEPTH_MAX => {
                self.array(text, path, is_included, depth, out)
            }
            _ if is_included => {
                out.extend_from_slice(text.as_bytes());
                true
            }
            _ => false,
        }
    }

    fn array(
        &self,
        text: &str,
        path: &mut String,
        is_included: bool,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(text) else {
            return false;
        };
        let start = out.len();
        out.push(b'[');
        let mut is_first = true;
        for element in &elements {
            let element_start = out.len();
            if !is_first {
                out.push(b',');
            }
            match self.value(element.get(), path, is_included, depth + 1, out) {
                true => is_first = false,
                false => out.truncate(element_start),
            }
        }
        out.push(b']');
        let keeps = !is_first || is_included;
        if !keeps {
            out.truncate(start);
        }
        keeps
    }
}

fn refuse(value: &Value) -> ElasticError {
    ElasticError::parsing(
        format!(
            "Expected one of [VALUE_BOOLEAN, START_OBJECT, START_ARRAY] in [_source], but found [{value}]"
        ),
        1,
        1,
    )
}

fn patterns(wildcards: &[String]) -> Result<Option<RegexSet>, ElasticError> {
    if wildcards.is_empty() {
        return Ok(None);
    }
    let regexes = wildcards
        .iter()
        .map(|wildcard| format!("(?s)^(?:{})$", wildcard_regex_text(wildcard)));
    RegexSet::new(regexes)
        .map(Some)
        .map_err(|_| ElasticError::illegal_argument("the patterns of [_source] are too large"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_are_cut_by_path_and_the_rest_keeps_its_spelling() {
        let source =
            r#"{"a":0.470,"b":{"c":1,"d":{"e":"x"}},"l":[{"c":1,"f":2},{"f":3},4],"b.z":5,"o":{}}"#;
        let cases = [
            (json!(true), source),
            (json!("a"), r#"{"a":0.470}"#),
            (json!(["b.c", "l.c"]), r#"{"b":{"c":1},"l":[{"c":1}]}"#),
            (json!("b"), r#"{"b":{"c":1,"d":{"e":"x"}}}"#),
            (json!("b.*"), r#"{"b":{"c":1,"d":{"e":"x"}},"b.z":5}"#),
            (json!("*.e"), r#"{"b":{"d":{"e":"x"}}}"#),
            (json!({"excludes":["b","l","o"]}), r#"{"a":0.470,"b.z":5}"#),
            (
                json!({"includes":["b*"],"excludes":"*.d"}),
                r#"{"b":{"c":1},"b.z":5}"#,
            ),
            (json!({"excludes":[]}), source),
            (json!("nothing"), "{}"),
        ];
        for (filter, expected) in cases {
            let mut out = Vec::new();
            SourceFilter::parse(&filter)
                .unwrap()
                .write(source.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{filter}");
        }
        assert!(SourceFilter::parse(&json!(false)).unwrap().is_off());
        assert!(SourceFilter::parse(&json!([{}])).is_err());
    }
}
