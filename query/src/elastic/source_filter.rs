//! `_source`: which parts of a document a client wants to see.
//!
//! Patterns are matched against dotted paths, so that `log.level` finds `{"log":{"level":…}}` and `{"log.level":…}`;
//! `*` stands for any characters, dots too; a pattern that fits an object takes all of it. What stays is copied
//! byte for byte.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

use super::error::ElasticError;
use super::params::Params;
use super::raw_object::RawObject;
use super::target::Pattern;

/// What is deeper is kept or left out with the object at this depth.
const DEPTH_MAX: usize = 100;

/// The most patterns; each costs time for every field of every document.
const PATTERNS_MAX: usize = 1_000;

/// Which parts of documents to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFilter {
    is_shown: bool,
    includes: Vec<String>,
    excludes: Vec<String>,
}

impl SourceFilter {
    /// Everything is shown.
    pub const ALL: SourceFilter = SourceFilter {
        is_shown: true,
        includes: Vec::new(),
        excludes: Vec::new(),
    };

    /// Whether anything is shown; without, a hit has no `_source`.
    pub fn is_shown(&self) -> bool {
        self.is_shown
    }

    /// Reads `_source` of a body: a boolean, a pattern, a list of them, or `includes` and `excludes`.
    ///
    /// # Errors
    /// 400 for anything else, and for too many patterns.
    pub fn of_json(value: &Value) -> Result<SourceFilter, ElasticError> {
        let mut filter = SourceFilter::ALL;
        match value {
            Value::Null => {}
            Value::Bool(is_shown) => filter.is_shown = *is_shown,
            Value::String(text) if text == "false" => filter.is_shown = false,
            Value::String(text) if text == "true" => {}
            Value::String(_) | Value::Array(_) => filter.includes = patterns(value)?,
            Value::Object(fields) => {
                for (name, value) in fields {
                    match name.as_str() {
                        "includes" | "include" => filter.includes = patterns(value)?,
                        "excludes" | "exclude" => filter.excludes = patterns(value)?,
                        other => return Err(unknown(&format!("the key [{other}]"))),
                    }
                }
            }
            Value::Number(number) => return Err(unknown(&number.to_string())),
        }
        filter.checked()
    }

    /// Puts the URL's `_source`, `_source_includes` and `_source_excludes` over this.
    ///
    /// # Errors
    /// 400 for too many patterns.
    pub fn with_params(mut self, params: &Params) -> Result<SourceFilter, ElasticError> {
        let list = |names: [&str; 2]| {
            let list = names.iter().find_map(|name| params.list(name))?;
            Some(list.into_iter().map(str::to_owned).collect::<Vec<String>>())
        };
        match params.text("_source") {
            None => {}
            Some("" | "true") => self = SourceFilter::ALL,
            Some("false") => self.is_shown = false,
            Some(_) => {
                self = SourceFilter::ALL;
                self.includes = list(["_source", "_source"]).unwrap_or_default();
            }
        }
        if let Some(includes) = list(["_source_includes", "_source_include"]) {
            self.includes = includes;
        }
        if let Some(excludes) = list(["_source_excludes", "_source_exclude"]) {
            self.excludes = excludes;
        }
        self.checked()
    }

    /// What is shown of a document, as JSON text. A text that is not JSON comes back as it is.
    pub fn apply<'a>(&self, source: &'a [u8]) -> Cow<'a, [u8]> {
        if self.includes.is_empty() && self.excludes.is_empty() {
            return Cow::Borrowed(source);
        }
        let Ok(value) = serde_json::from_slice::<&RawValue>(source) else {
            return Cow::Borrowed(source);
        };
        let walk = Walk {
            includes: self
                .includes
                .iter()
                .map(|text| Pattern::new(text))
                .collect(),
            excludes: self
                .excludes
                .iter()
                .map(|text| Pattern::new(text))
                .collect(),
        };
        let mut out = Vec::with_capacity(source.len());
        let is_included = self.includes.is_empty();
        if !walk.write(value.get(), &mut String::new(), is_included, 0, &mut out) {
            out.extend_from_slice(b"{}");
        }
        Cow::Owned(out)
    }

    fn checked(self) -> Result<SourceFilter, ElasticError> {
        let count = self.includes.len() + self.excludes.len();
        if count > PATTERNS_MAX {
            return Err(ElasticError::illegal_argument(format!(
                "[{count}] patterns of [_source] are more than [{PATTERNS_MAX}]"
            )));
        }
        Ok(self)
    }
}

fn patterns(value: &Value) -> Result<Vec<String>, ElasticError> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    let texts = items.iter().map(|item| match item {
        Value::String(text) => Ok(text.clone()),
        other => Err(unknown(&other.to_string())),
    });
    texts.collect()
}

fn unknown(found: &str) -> ElasticError {
    ElasticError::x_content_parse(format!(
        "[_source] expects true, false, a pattern, a list of patterns, or an object with includes and excludes, not {found}"
    ))
}

struct Walk<'a> {
    includes: Vec<Pattern<'a>>,
    excludes: Vec<Pattern<'a>>,
}

impl Walk<'_> {
    /// Writes what is shown of the value under `path`; answers whether anything is.
    fn write(
        &self,
        json: &str,
        path: &mut String,
        is_included: bool,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let is_all = is_included && self.excludes.is_empty();
        match json.as_bytes().first() {
            Some(b'{') if !is_all && depth < DEPTH_MAX => {
                self.write_object(json, path, is_included, depth, out)
            }
            Some(b'[') if !is_all && depth < DEPTH_MAX => {
                self.write_array(json, path, is_included, depth, out)
            }
            _ if is_included => {
                out.extend_from_slice(json.as_bytes());
                true
            }
            _ => false,
        }
    }

    fn write_object(
        &self,
        json: &str,
        path: &mut String,
        is_included: bool,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let Ok(RawObject(fields)) = serde_json::from_str(json) else {
            return false;
        };
        let (start, path_length) = (out.len(), path.len());
        out.push(b'{');
        for (quoted, value) in fields {
            let Ok(name) = serde_json::from_str::<String>(quoted.get()) else {
                continue;
            };
            if path_length > 0 {
                path.push('.');
            }
            path.push_str(&name);
            let before = out.len();
            if before > start + 1 {
                out.push(b',');
            }
            out.extend_from_slice(quoted.get().as_bytes());
            out.push(b':');
            let is_excluded = self.excludes.iter().any(|pattern| pattern.matches(path));
            let is_field_included =
                is_included || self.includes.iter().any(|pattern| pattern.matches(path));
            let is_written =
                !is_excluded && self.write(value.get(), path, is_field_included, depth + 1, out);
            if !is_written {
                out.truncate(before);
            }
            path.truncate(path_length);
        }
        let is_empty = out.len() == start + 1;
        if is_empty && !is_included {
            out.truncate(start);
            return false;
        }
        out.push(b'}');
        true
    }

    fn write_array(
        &self,
        json: &str,
        path: &mut String,
        is_included: bool,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(json) else {
            return false;
        };
        let start = out.len();
        out.push(b'[');
        for element in elements {
            let before = out.len();
            if before > start + 1 {
                out.push(b',');
            }
            if !self.write(element.get(), path, is_included, depth + 1, out) {
                out.truncate(before);
            }
        }
        let is_empty = out.len() == start + 1;
        if is_empty && !is_included {
            out.truncate(start);
            return false;
        }
        out.push(b']');
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn shown(filter: Value, source: &str) -> String {
        let filter = SourceFilter::of_json(&filter).unwrap();
        String::from_utf8(filter.apply(source.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn patterns_match_paths_and_whole_subtrees() {
        let source = r#"{"a":{"b":0.470,"c":[{"d":1,"e":2},3]},"log.level":"x","log":{"file":{"path":"/"}},"n":null}"#;
        let cases = [
            (json!("a.b"), r#"{"a":{"b":0.470}}"#),
            (json!("a"), r#"{"a":{"b":0.470,"c":[{"d":1,"e":2},3]}}"#),
            (json!("a.*"), r#"{"a":{"b":0.470,"c":[{"d":1,"e":2},3]}}"#),
            (json!(["a.c.d", "n"]), r#"{"a":{"c":[{"d":1}]},"n":null}"#),
            (json!("log.level"), r#"{"log.level":"x"}"#),
            (
                json!("log*"),
                r#"{"log.level":"x","log":{"file":{"path":"/"}}}"#,
            ),
            (json!("*.path"), r#"{"log":{"file":{"path":"/"}}}"#),
            (json!({"excludes": ["a", "log*"]}), r#"{"n":null}"#),
            (
                json!({"includes": "a.*", "excludes": "*.d"}),
                r#"{"a":{"b":0.470,"c":[{"e":2},3]}}"#,
            ),
            (
                json!({"exclude": "log.file.path"}),
                r#"{"a":{"b":0.470,"c":[{"d":1,"e":2},3]},"log.level":"x","log":{"file":{}},"n":null}"#,
            ),
            (json!("nothing"), "{}"),
            (json!(true), source),
            (json!([]), source),
        ];
        for (filter, expected) in cases {
            assert_eq!(shown(filter.clone(), source), expected, "{filter}");
        }
    }

    #[test]
    fn the_url_goes_over_the_body() {
        let of = |query: &str| {
            let params = Params::of(&format!("/?{query}").parse().unwrap());
            SourceFilter::ALL.with_params(&params).unwrap()
        };
        assert_eq!(of(""), SourceFilter::ALL);
        assert!(!of("_source=false").is_shown());
        assert_eq!(
            of("_source=a,b").apply(br#"{"a":1,"c":2}"#).as_ref(),
            br#"{"a":1}"#
        );
        assert_eq!(
            of("_source_excludes=a").apply(br#"{"a":1,"c":2}"#).as_ref(),
            br#"{"c":2}"#
        );
        assert_eq!(
            of("_source_includes=a").apply(br#"{"a":1,"c":2}"#).as_ref(),
            br#"{"a":1}"#
        );
    }

    #[test]
    fn other_forms_are_refused() {
        for value in [
            json!(1),
            json!([1]),
            json!({"x": 1}),
            json!({"includes": [{}]}),
        ] {
            assert_eq!(
                SourceFilter::of_json(&value).unwrap_err().status(),
                400,
                "{value}"
            );
        }
        let many = vec!["a"; PATTERNS_MAX + 1];
        assert!(SourceFilter::of_json(&json!(many)).is_err());
        assert!(!SourceFilter::of_json(&json!(false)).unwrap().is_shown());
    }

    proptest! {
        #[test]
        fn what_is_shown_is_json(include in "[ab.*]{0,5}", exclude in "[ab.*]{1,5}", keys in proptest::collection::vec("[ab]{1,2}", 1..5)) {
            let mut source = json!([{"a": 1}, 2]);
            for key in keys {
                source = json!({ key: source, "b": null });
            }
            let text = shown(json!({"includes": [include], "excludes": exclude}), &source.to_string());
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok(), "{}", text);
        }

        #[test]
        fn any_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let filter = SourceFilter::of_json(&json!({"includes": "a", "excludes": "b"})).unwrap();
            let _ = filter.apply(&bytes);
        }
    }
}
