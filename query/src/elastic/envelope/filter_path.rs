//! `filter_path`: keeps, or leaves out, parts of a reply.
//!
//! Works on the text of a JSON value and copies what stays byte for byte, so that `0.470` in a `_source` stays so.

use serde_json::value::RawValue;

use crate::elastic::raw_object::RawObject;
use crate::elastic::target::Pattern;

/// Deeper than this nothing is looked into: what `**` would have to search there is kept or left out as a whole.
const DEPTH_MAX: usize = 100;

/// The more paths, the more work per value; a client that sends more gets the first ones.
const PATHS_MAX: usize = 64;

/// The paths of one `filter_path` parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilterPath {
    include: Vec<Vec<Step>>,
    exclude: Vec<Vec<Step>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// One level, by its name, where `*` stands for any characters.
    Name(String),
    /// Any number of levels.
    AnyDepth,
}

impl FilterPath {
    /// Reads a comma list of dotted paths; one behind `-` is left out. `None` when there is nothing in it.
    pub(super) fn parse(text: &str) -> Option<FilterPath> {
        let (mut include, mut exclude) = (Vec::new(), Vec::new());
        for path in text
            .split(',')
            .map(str::trim)
            .filter(|p| !p.is_empty())
            .take(PATHS_MAX)
        {
            match path.strip_prefix('-') {
                Some(path) => exclude.push(steps_of(path)),
                None => include.push(steps_of(path)),
            }
        }
        let has_paths = !include.is_empty() || !exclude.is_empty();
        has_paths.then_some(FilterPath { include, exclude })
    }

    /// What is left of a JSON text; `{}` when nothing is. `None` when the text is not JSON.
    pub(super) fn apply(&self, json: &[u8]) -> Option<Vec<u8>> {
        let value: &RawValue = serde_json::from_slice(json).ok()?;
        let mut out = Vec::with_capacity(json.len().min(64 * 1024));
        let include: Vec<&[Step]> = match self.include.is_empty() {
            true => vec![&[]],
            false => self.include.iter().map(Vec::as_slice).collect(),
        };
        let exclude: Vec<&[Step]> = self.exclude.iter().map(Vec::as_slice).collect();
        if !write(value.get(), &include, &exclude, 0, &mut out) {
            out.clear();
            out.extend_from_slice(b"{}");
        }
        Some(out)
    }
}

fn steps_of(path: &str) -> Vec<Step> {
    let steps = path.split('.').filter(|step| !step.is_empty());
    let mut steps: Vec<Step> = steps
        .map(|step| match step {
            "**" => Step::AnyDepth,
            name => Step::Name(name.to_owned()),
        })
        .collect();
    steps.dedup_by(|a, b| *a == Step::AnyDepth && *b == Step::AnyDepth);
    steps
}

/// Writes what stays of a value; answers whether anything does. A path that has no steps left means: all of it.
fn write(
    json: &str,
    include: &[&[Step]],
    exclude: &[&[Step]],
    depth: usize,
    out: &mut Vec<u8>,
) -> bool {
    let is_kept = include.iter().any(|steps| is_done(steps));
    if is_kept && exclude.is_empty() {
        out.extend_from_slice(json.as_bytes());
        return true;
    }
    match json.as_bytes().first() {
        Some(b'{') if depth < DEPTH_MAX => write_object(json, include, exclude, depth, out),
        Some(b'[') if depth < DEPTH_MAX => write_array(json, include, exclude, depth, out),
        _ if is_kept => {
            out.extend_from_slice(json.as_bytes());
            true
        }
        _ => false,
    }
}

fn write_object(
    json: &str,
    include: &[&[Step]],
    exclude: &[&[Step]],
    depth: usize,
    out: &mut Vec<u8>,
) -> bool {
    let is_kept = include.iter().any(|steps| is_done(steps));
    let Ok(RawObject(fields)) = serde_json::from_str(json) else {
        return false;
    };
    let start = out.len();
    out.push(b'{');
    let mut is_first = true;
    for (quoted, value) in fields {
        let Ok(name) = serde_json::from_str::<String>(quoted.get()) else {
            continue;
        };
        let exclude_below = below(exclude, &name);
        if exclude_below.iter().any(|steps| is_done(steps)) {
            continue;
        }
        let include_below = if is_kept {
            vec![&[][..]]
        } else {
            below(include, &name)
        };
        if include_below.is_empty() {
            continue;
        }
        let before = out.len();
        if !is_first {
            out.push(b',');
        }
        out.extend_from_slice(quoted.get().as_bytes());
        out.push(b':');
        if write(value.get(), &include_below, &exclude_below, depth + 1, out) {
            is_first = false;
        } else {
            out.truncate(before);
        }
    }
    close(b'}', start, is_kept, is_first, out)
}

/// Arrays are no level of their own: the paths go on in each element.
fn write_array(
    json: &str,
    include: &[&[Step]],
    exclude: &[&[Step]],
    depth: usize,
    out: &mut Vec<u8>,
) -> bool {
    let is_kept = include.iter().any(|steps| is_done(steps));
    let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(json) else {
        return false;
    };
    let start = out.len();
    out.push(b'[');
    let mut is_first = true;
    for element in elements {
        let before = out.len();
        if !is_first {
            out.push(b',');
        }
        if write(element.get(), include, exclude, depth + 1, out) {
            is_first = false;
        } else {
            out.truncate(before);
        }
    }
    close(b']', start, is_kept, is_first, out)
}

fn close(bracket: u8, start: usize, is_kept: bool, is_empty: bool, out: &mut Vec<u8>) -> bool {
    if is_empty && !is_kept {
        out.truncate(start);
        return false;
    }
    out.push(bracket);
    true
}

fn is_done(steps: &[Step]) -> bool {
    matches!(steps, [] | [Step::AnyDepth])
}

/// What is left of each path below the field `name`; paths that do not lead there are gone.
fn below<'a>(paths: &[&'a [Step]], name: &str) -> Vec<&'a [Step]> {
    let mut left = Vec::with_capacity(paths.len());
    for path in paths {
        let mut add = |steps: &'a [Step]| {
            if !left.contains(&steps) {
                left.push(steps);
            }
        };
        match path.split_first() {
            Some((Step::Name(pattern), rest)) if fits(pattern, name) => add(rest),
            Some((Step::AnyDepth, rest)) => {
                add(path);
                if let Some((Step::Name(pattern), rest)) = rest.split_first()
                    && fits(pattern, name)
                {
                    add(rest);
                }
            }
            _ => {}
        }
    }
    left
}

fn fits(pattern: &str, name: &str) -> bool {
    Pattern::new(pattern).matches(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filtered(path: &str, json: &str) -> String {
        let filter = FilterPath::parse(path).unwrap();
        String::from_utf8(filter.apply(json.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn shippers_get_the_parts_of_a_bulk_reply_they_read() {
        let reply = concat!(
            r#"{"took":7,"errors":true,"items":[{"create":{"_index":"a","_id":"1","status":201}},"#,
            r#"{"index":{"_index":"a","status":400,"error":{"type":"t","reason":"r"}}}]}"#
        );
        assert_eq!(
            filtered("errors,items.*.error,items.*.status", reply),
            concat!(
                r#"{"errors":true,"items":[{"create":{"status":201}},"#,
                r#"{"index":{"status":400,"error":{"type":"t","reason":"r"}}}]}"#
            )
        );
    }

    #[test]
    fn paths_keep_and_leave_out() {
        let json = r#"{"a":{"b":{"c":1,"d":[0.470, 2]},"bb":"x"},"list":[{"k":1,"v":2},{"v":3}],"e":{},"n":null}"#;
        let cases = [
            ("a.b.c", r#"{"a":{"b":{"c":1}}}"#),
            ("a.b*", r#"{"a":{"b":{"c":1,"d":[0.470, 2]},"bb":"x"}}"#),
            ("**.c", r#"{"a":{"b":{"c":1}}}"#),
            ("a.**", r#"{"a":{"b":{"c":1,"d":[0.470, 2]},"bb":"x"}}"#),
            ("**.v", r#"{"list":[{"v":2},{"v":3}]}"#),
            ("list.k", r#"{"list":[{"k":1}]}"#),
            ("a.**.d,n", r#"{"a":{"b":{"d":[0.470, 2]}},"n":null}"#),
            ("e", r#"{"e":{}}"#),
            ("e.x", "{}"),
            ("missing", "{}"),
            ("n.x", "{}"),
            ("-a,-list.v", r#"{"list":[{"k":1},{}],"e":{},"n":null}"#),
            ("a,-a.b.d", r#"{"a":{"b":{"c":1},"bb":"x"}}"#),
            (
                "-**.c,-list,-e,-n",
                r#"{"a":{"b":{"d":[0.470,2]},"bb":"x"}}"#,
            ),
            ("-*", "{}"),
            ("**", json),
            ("*", json),
        ];
        for (path, expected) in cases {
            assert_eq!(filtered(path, json), expected, "{path}");
        }
        assert_eq!(FilterPath::parse(" , "), None);
        assert_eq!(filtered("a", r#"[{"a":1,"b":2},{"b":3}]"#), r#"[{"a":1}]"#);
    }

    #[test]
    fn names_with_escapes_keep_their_spelling() {
        assert_eq!(
            filtered("a*", r#"{"a\n\u00e9":1,"b":2}"#),
            r#"{"a\n\u00e9":1}"#
        );
    }

    #[test]
    fn a_deep_value_does_not_go_deeper_than_we_do() {
        let json = format!("{}1{}", r#"{"a":"#.repeat(120), "}".repeat(120));
        assert_eq!(filtered("**.nothing", &json), "{}");
        assert_eq!(filtered("a", &json), json);
    }

    proptest! {
        /// Whatever the path: the result is JSON, and a filter that keeps everything changes nothing.
        #[test]
        fn the_result_is_json(path in "[-a-c.*,]{0,12}", keys in proptest::collection::vec("[a-c]{1,2}", 1..5)) {
            let mut json = "[1,{\"a\":2}]".to_owned();
            for key in &keys {
                json = format!("{{\"{key}\":{json},\"z\":0}}");
            }
            if let Some(filter) = FilterPath::parse(&path) {
                let out = filter.apply(json.as_bytes()).unwrap();
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok());
            }
            prop_assert_eq!(filtered("**", &json), json);
        }

        #[test]
        fn any_bytes_are_filtered_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = FilterPath::parse("a.**.b,-c").unwrap().apply(&bytes);
        }
    }
}
