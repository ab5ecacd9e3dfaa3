//! `highlight`: the values in which the query found something, whole, with tags around what it found.
//!
//! Fragments are never cut: the clients that ask (Grafana, Discover) ask for whole values and pick the tagged words out.

use std::ops::Range;

use indexer::logs::{Field, Leaf, Pattern, Scalar, ShardReader};
use regex::Regex;
use rustc_hash::FxHashMap;
use serde_json::{Map, Value};

use super::leaves::visit_leaves;
use super::reply::write_text;
use crate::elastic::error::ElasticError;
use crate::logs::filter::{Filter, wildcard_regex_text};

/// The most conditions that are looked for; a filter with thousands of values marks the first ones.
const MARKS_MAX: usize = 1024;

/// The longest value that is looked through, in bytes.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// What to mark in hits, and how.
pub(super) struct Highlight {
    fields: Vec<HighlightField>,
    marks: Vec<Mark>,
}

struct HighlightField {
    name: Regex,
    pre_tag: String,
    post_tag: String,
    requires_field_match: bool,
}

/// One positive condition of the query.
struct Mark {
    /// The field it is asked of; `None` is any.
    field: Option<Regex>,
    look: Look,
}

enum Look {
    /// These words, next to each other.
    Words(Vec<String>),
    /// Words that fit.
    WordsLike(Regex),
    WordsNear(String, u8),
    /// The whole value, when it fits.
    Whole(Regex),
    WholeText(String),
}

impl Highlight {
    /// Reads `highlight`; `None` when no field is asked for. Marks what makes `query` true.
    pub fn parse(value: &Value, query: &Filter) -> Result<Option<Highlight>, ElasticError> {
        let Value::Object(options) = value else {
            return Ok(None);
        };
        let empty = Map::new();
        let requested: Vec<(&String, &Map<String, Value>)> = match options.get("fields") {
            Some(Value::Object(fields)) => fields
                .iter()
                .map(|(name, own)| (name, own.as_object().unwrap_or(&empty)))
                .collect(),
            Some(Value::Array(fields)) => fields
                .iter()
                .filter_map(Value::as_object)
                .flatten()
                .map(|(name, own)| (name, own.as_object().unwrap_or(&empty)))
                .collect(),
            _ => Vec::new(),
        };
        let mut fields = Vec::with_capacity(requested.len());
        for (name, own) in requested {
            let option = |key: &str| own.get(key).or_else(|| options.get(key));
            let tag = |key: &str, default: &str| match option(key) {
                Some(Value::Array(tags)) => tags
                    .first()
                    .and_then(Value::as_str)
                    .unwrap_or(default)
                    .to_owned(),
                Some(Value::String(tag)) => tag.clone(),
                _ => default.to_owned(),
            };
            fields.push(HighlightField {
                name: path_regex(name).ok_or_else(|| {
                    ElasticError::illegal_argument(format!(
                        "[highlight] pattern [{name}] is too large"
                    ))
                })?,
                pre_tag: tag("pre_tags", "<em>"),
                post_tag: tag("post_tags", "</em>"),
                requires_field_match: option("require_field_match") != Some(&Value::Bool(false)),
            });
        }
        if fields.is_empty() {
            return Ok(None);
        }
        let mut marks = Vec::new();
        add_marks(query, None, &mut marks);
        Ok(Some(Highlight { fields, marks }))
    }

    /// Writes `{"message":["a <em>b</em>"]}`; writes nothing and answers no when nothing is marked.
    pub fn write(&self, source: &[u8], out: &mut Vec<u8>) -> bool {
        if self.marks.is_empty() {
            return false;
        }
        let mut values: Vec<(String, Vec<String>)> = Vec::new();
        let mut places: FxHashMap<String, usize> = FxHashMap::default();
        visit_leaves(source, &mut |path, raw| {
            let keyword = format!("{path}.keyword");
            let field = self
                .fields
                .iter()
                .find(|field| field.name.is_match(path) || field.name.is_match(&keyword));
            let Some(field) = field.filter(|_| raw.len() <= VALUE_BYTES_MAX) else {
                return;
            };
            let text = match serde_json::from_str::<Value>(raw) {
                Ok(Value::String(text)) => text,
                _ => raw.to_owned(),
            };
            let Some(marked) = self.marked(path, &keyword, &text, field) else {
                return;
            };
            let place = *places.entry(path.to_owned()).or_insert_with(|| {
                values.push((path.to_owned(), Vec::new()));
                values.len() - 1
            });
            values[place].1.push(marked);
        });
        if values.is_empty() {
            return false;
        }
        out.push(b'{');
        for (at, (path, marked)) in values.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_text(path, out);
            out.extend_from_slice(b":[");
            for (at, value) in marked.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_text(value, out);
            }
            out.push(b']');
        }
        out.push(b'}');
        true
    }

    /// The value with tags; nothing when nothing in it is marked.
    fn marked(
        &self,
        path: &str,
        keyword: &str,
        text: &str,
        field: &HighlightField,
    ) -> Option<String> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let mut words = None;
        for mark in &self.marks {
            let is_asked = match &mark.field {
                Some(name) if field.requires_field_match => {
                    name.is_match(path) || name.is_match(keyword)
                }
                _ => true,
            };
            if is_asked {
                mark.look.find(text, &mut words, &mut ranges);
            }
        }
        if ranges.is_empty() {
            return None;
        }
        ranges.sort_unstable_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
        let mut marked = String::with_capacity(text.len() + ranges.len() * 16);
        let mut at = 0;
        for range in ranges {
            // Overlapping marks: the one that begins first holds.
            if range.start < at {
                continue;
            }
            marked.push_str(&text[at..range.start]);
            marked.push_str(&field.pre_tag);
            marked.push_str(&text[range.clone()]);
            marked.push_str(&field.post_tag);
            at = range.end;
        }
        marked.push_str(&text[at..]);
        Some(marked)
    }
}

type Words = Vec<(Range<usize>, String)>;

impl Look {
    fn find(&self, text: &str, words: &mut Option<Words>, ranges: &mut Vec<Range<usize>>) {
        let whole = 0..text.len();
        match self {
            Look::Whole(regex) => {
                if regex.is_match(text) {
                    ranges.push(whole);
                }
            }
            Look::WholeText(wanted) => {
                if text == wanted && !text.is_empty() {
                    ranges.push(whole);
                }
            }
            Look::Words(wanted) => {
                let words = words.get_or_insert_with(|| ShardReader::words(text));
                for run in words.windows(wanted.len()) {
                    let is_found = run.iter().zip(wanted).all(|((_, word), want)| word == want);
                    if is_found {
                        ranges.extend(run.iter().map(|(range, _)| range.clone()));
                    }
                }
            }
            Look::WordsLike(regex) => {
                let words = words.get_or_insert_with(|| ShardReader::words(text));
                let fitting = words.iter().filter(|(_, word)| regex.is_match(word));
                ranges.extend(fitting.map(|(range, _)| range.clone()));
            }
            Look::WordsNear(wanted, edits) => {
                let words = words.get_or_insert_with(|| ShardReader::words(text));
                let near = words
                    .iter()
                    .filter(|(_, word)| is_within_edits(wanted, word, usize::from(*edits)));
                ranges.extend(near.map(|(range, _)| range.clone()));
            }
        }
    }
}

/// Collects what makes the filter true; what it denies marks nothing.
fn add_marks(filter: &Filter, paths: Option<&[String]>, marks: &mut Vec<Mark>) {
    match filter {
        Filter::And(of) | Filter::AtLeast { of, .. } => {
            for one in of {
                add_marks(one, paths, marks);
            }
        }
        Filter::AnyField { paths, of } => add_marks(of, Some(paths), marks),
        Filter::Leaf(leaf) => {
            if marks.len() < MARKS_MAX {
                marks.extend(mark(leaf, paths));
            }
        }
        Filter::All | Filter::None | Filter::Not(_) | Filter::During(_) | Filter::Index(_) => {}
    }
}

fn mark(leaf: &Leaf, paths: Option<&[String]>) -> Option<Mark> {
    let (field, look) = match leaf {
        Leaf::Words(field, text) => {
            let words: Vec<String> = ShardReader::words(text)
                .into_iter()
                .map(|(_, word)| word)
                .collect();
            if words.is_empty() {
                return None;
            }
            (field, Look::Words(words))
        }
        Leaf::Equals(field, Scalar::Text(text)) => (field, Look::WholeText(text.clone())),
        Leaf::Equals(field, Scalar::Integer(number)) => {
            (field, Look::WholeText(number.to_string()))
        }
        Leaf::WordPattern(field, Pattern::Fuzzy(text, edits)) => {
            (field, Look::WordsNear(text.to_lowercase(), *edits))
        }
        Leaf::WordPattern(field, pattern) => (field, Look::WordsLike(regex_of(pattern, "(?is)")?)),
        Leaf::ValuePattern(field, pattern) => (field, Look::Whole(regex_of(pattern, "(?s)")?)),
        Leaf::Equals(..) | Leaf::Range(..) | Leaf::Exists(_) | Leaf::Ids(_) => return None,
    };
    let field = match (field, paths) {
        (Field::Named(path), _) => Some(path_regex(path)?),
        (Field::Any, Some(paths)) => {
            let alternatives: Vec<String> =
                paths.iter().map(|path| wildcard_regex_text(path)).collect();
            Some(Regex::new(&format!("(?s)^(?:{})$", alternatives.join("|"))).ok()?)
        }
        (Field::Any, None) => None,
    };
    Some(Mark { field, look })
}

fn regex_of(pattern: &Pattern, flags: &str) -> Option<Regex> {
    let text = match pattern {
        Pattern::Prefix(prefix) => format!("{}.*", regex::escape(prefix)),
        Pattern::Wildcard(wildcard) => wildcard_regex_text(wildcard),
        Pattern::Regex(regex) => regex.clone(),
        Pattern::Fuzzy(text, _) => regex::escape(text),
    };
    Regex::new(&format!("{flags}^(?:{text})$")).ok()
}

fn path_regex(wildcard: &str) -> Option<Regex> {
    Regex::new(&format!("(?s)^{}$", wildcard_regex_text(wildcard))).ok()
}

/// Whether two words are at most `edits` insertions, deletions, substitutions or swaps of neighbours apart.
fn is_within_edits(a: &str, b: &str, edits: usize) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > edits {
        return false;
    }
    let width = b.len() + 1;
    let mut before_last = vec![0; width];
    let mut last: Vec<usize> = (0..width).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1; width];
        for (j, to) in b.iter().enumerate() {
            let substituted = last[j] + usize::from(from != to);
            row[j + 1] = substituted.min(last[j + 1] + 1).min(row[j] + 1);
            let is_swap = i > 0 && j > 0 && *from == b[j - 1] && a[i - 1] == *to;
            if is_swap {
                row[j + 1] = row[j + 1].min(before_last[j - 1] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()] <= edits
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn filter(query: &str) -> Filter {
        let query = json!({"query_string": {"query": query}});
        let context = crate::elastic::language::dsl::QueryContext {
            now: event::Timestamp::from_nanos(0),
        };
        crate::elastic::language::dsl::parse(&query, &context).unwrap()
    }

    fn write(query: &str, fields: Value, source: &str) -> String {
        let request = json!({"fields": fields, "pre_tags": ["["], "post_tags": ["]"], "fragment_size": 2147483647});
        let highlight = Highlight::parse(&request, &filter(query)).unwrap().unwrap();
        let mut out = Vec::new();
        highlight.write(source.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_the_query_found_is_tagged_in_whole_values() {
        let source = r#"{"message":"GET /api: Connection refused","level":"error","tags":["a refused","b"],"n":{"code":500}}"#;
        let all = json!({"*": {}});
        let cases = [
            (
                "refused",
                r#"{"message":"GET /api: Connection [refused]","tags":["a [refused]"]}"#,
            ),
            (
                "\"connection refused\"",
                r#"{"message":"GET /api: [Connection] [refused]"}"#,
            ),
            (
                "message:conn*",
                r#"{"message":"GET /api: [Connection] refused"}"#,
            ),
            (
                "conection~",
                r#"{"message":"GET /api: [Connection] refused"}"#,
            ),
            ("level.keyword:error", r#"{"level":"[error]"}"#),
            ("n.code:500", r#"{"n.code":"[500]"}"#),
            (
                "message:refused AND NOT level:error",
                r#"{"message":"GET /api: Connection [refused]"}"#,
            ),
            (
                "m\\*:get",
                r#"{"message":"[GET] /api: Connection refused"}"#,
            ),
            (
                "/re.*/",
                r#"{"message":"GET /api: Connection [refused]","tags":["a [refused]"]}"#,
            ),
            ("nothing", ""),
            ("*", ""),
        ];
        for (query, expected) in cases {
            let expected = expected.replace(
                r#":"GET /api: Connection [refused]""#,
                r#":["GET /api: Connection [refused]"]"#,
            );
            let written = write(query, all.clone(), source);
            let normal = |text: &str| -> Value {
                match text {
                    "" => Value::Null,
                    text => {
                        let mut value: Value = serde_json::from_str(text).unwrap();
                        for (_, entry) in value.as_object_mut().unwrap() {
                            if entry.is_string() {
                                *entry = json!([entry.clone()]);
                            }
                        }
                        value
                    }
                }
            };
            assert_eq!(normal(&written), normal(&expected), "{query}");
        }
        assert_eq!(
            write("refused", json!({"tags": {}}), source),
            r#"{"tags":["a [refused]"]}"#
        );
    }

    #[test]
    fn edits_are_counted_with_swaps() {
        assert!(is_within_edits("abcd", "abdc", 1));
        assert!(is_within_edits("kitten", "sitten", 1));
        assert!(!is_within_edits("kitten", "sitting", 2));
        assert!(is_within_edits("", "ab", 2));
    }
}
