//! Runs a program in the Vector Remap Language: `vrl: '.status = to_int!(.status)'`.
//!
//! The program sees the event as nested objects: `log.level` is `.log.level`, whether the event has it as one name or
//! as an object. Fields it does not change come out as they were spelled; new objects become names with dots, as all
//! of ours are. It reads no environment and opens no connection, and ends after a number of operations.

use std::ops::ControlFlow;

use event::{Document, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use vrl::compiler::runtime::{Runtime, Terminate};
use vrl::compiler::state::RuntimeState;
use vrl::compiler::{ExpressionError, Function, Program, TargetValueRef, TimeZone};
use vrl::value::{KeyString, ObjectMap, Secrets, Value};

use super::{Transform, TransformError, Verdict};

/// Operations one event may take; a program of a hundred lines takes some hundreds.
const OPERATIONS_MAX: u32 = 100_000;
/// A program may be this long.
const PROGRAM_BYTES_MAX: usize = 64 << 10;

/// Functions that are not offered: what they take or give has no bound (decompression, `range`), their patterns are
/// not linear in the text (`parse_grok`; the step `grok` is), or they write our own log for every event.
const WITHHELD: [&str; 13] = [
    "decode_gzip",
    "decode_lz4",
    "decode_snappy",
    "decode_zlib",
    "decode_zstd",
    "log",
    "match_datadog_query",
    "parse_grok",
    "parse_groks",
    "parse_xml",
    "parse_yaml",
    "random_bytes",
    "range",
];

/// The program.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Settings {
    /// Its text. `abort` drops the event.
    pub program: String,
}

/// The step, ready to run.
pub struct Vrl {
    program: Program,
}

impl Vrl {
    /// Compiles the program.
    ///
    /// # Errors
    /// Its first mistake with line and column, and what would be right.
    pub fn compile(settings: &Settings) -> Result<Vrl, String> {
        if settings.program.len() > PROGRAM_BYTES_MAX {
            return Err(format!(
                "the program is longer than {PROGRAM_BYTES_MAX} bytes"
            ));
        }
        let functions: Vec<Box<dyn Function>> = vrl::stdlib::all()
            .into_iter()
            .filter(|function| !WITHHELD.contains(&function.identifier()))
            .collect();
        let compiled = vrl::compiler::compile(&settings.program, &functions);
        match compiled {
            Ok(result) => Ok(Vrl {
                program: result.program,
            }),
            Err(mistakes) => Err(told(&settings.program, &mistakes)),
        }
    }
}

impl Transform for Vrl {
    fn apply(&self, document: &mut Document, _: Timestamp) -> Result<Verdict, TransformError> {
        let view = View::of(document);
        let mut value = Value::Object(view.root.clone());
        let mut metadata = Value::Object(ObjectMap::new());
        let mut secrets = Secrets::default();
        let mut target = TargetValueRef {
            value: &mut value,
            metadata: &mut metadata,
            secrets: &mut secrets,
        };
        let mut operations = 0;
        let mut budget = || {
            operations += 1;
            match operations > OPERATIONS_MAX {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let outcome = Runtime::new(RuntimeState::default()).resolve_with_control(
            &mut target,
            &self.program,
            &TimeZone::default(),
            &mut budget,
        );
        let failed = |reason, message| Err(TransformError { reason, message });
        match outcome {
            Ok(_) => {}
            Err(Terminate::Abort(ExpressionError::Abort { .. })) => {
                return Ok(Verdict::Drop {
                    reason: "vrl_abort",
                });
            }
            Err(Terminate::Interrupted) => {
                let message = format!("the program took more than {OPERATIONS_MAX} operations");
                return failed("vrl_too_long", message);
            }
            Err(Terminate::Abort(error) | Terminate::Error(error)) => {
                return failed("vrl_failed", error.to_string());
            }
        }
        match value {
            Value::Object(after) => {
                view.write_back(&after, document);
                Ok(Verdict::Keep)
            }
            _ => failed(
                "vrl_no_object",
                "the program made the event something that is no object".to_owned(),
            ),
        }
    }
}

/// The first mistake in one line, with its place in the program.
fn told(program: &str, mistakes: &vrl::diagnostic::DiagnosticList) -> String {
    let Some(mistake) = mistakes.iter().find(|mistake| mistake.is_problem()) else {
        return "the program cannot be compiled".to_owned();
    };
    let mut text = String::new();
    if let Some(label) = mistake.labels().first() {
        let before = program.get(..label.span.start()).unwrap_or(program);
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        text = format!("line {line}, column {column}: ");
    }
    text.push_str(mistake.message());
    if let Some(label) = mistake.labels().first()
        && let Some(code) = program
            .get(label.span.range())
            .filter(|code| code.len() <= 64)
    {
        text.push_str(&format!(" `{}`", code.trim()));
    }
    for label in mistake.labels() {
        if !label.message.is_empty() && !text.contains(&label.message) {
            text.push_str("; ");
            text.push_str(&label.message);
        }
    }
    text
}

/// An event as a program sees it.
struct View {
    root: ObjectMap,
    /// Each field that could be shown: its name, the path it is shown under, and what was shown.
    shown: Vec<(String, Vec<KeyString>)>,
}

impl View {
    fn of(document: &Document) -> View {
        let mut view = View {
            root: ObjectMap::new(),
            shown: Vec::new(),
        };
        for (name, json) in document.fields() {
            // A number beyond 64 bits or an object too deep cannot be shown; it stays as it is.
            let Ok(value) = serde_json::from_str::<Value>(json) else {
                continue;
            };
            let path: Vec<KeyString> = match name.split('.').any(str::is_empty) {
                true => vec![KeyString::from(name)],
                false => name.split('.').map(KeyString::from).collect(),
            };
            let path = match place(&mut view.root, &path, value.clone()) {
                true => path,
                // `a.b` and an object `a` behind it: the object is not shown and stays as it is.
                false if path.len() == 1 => continue,
                // `a`, which is no object, and `a.b` behind it: that one keeps its dots, `."a.b"`.
                false => {
                    view.root.insert(KeyString::from(name), value);
                    vec![KeyString::from(name)]
                }
            };
            view.shown.push((name.to_owned(), path));
        }
        view
    }

    /// Brings what the program did into the document.
    fn write_back(&self, after: &ObjectMap, document: &mut Document) {
        let mut rest = after.clone();
        for (name, path) in &self.shown {
            let (old, new) = (find(&self.root, path), find(after, path));
            match new {
                None => {
                    document.remove(name);
                }
                Some(new) => {
                    if old != Some(new) {
                        set(document, name, new);
                    }
                    take(&mut rest, path);
                }
            }
        }
        for (key, value) in &rest {
            write_new(document, key.as_str(), value);
        }
    }
}

/// Puts a value under a path; answers no where something that is no object is in the way, or something is there.
fn place(object: &mut ObjectMap, path: &[KeyString], value: Value) -> bool {
    let Some((key, rest)) = path.split_first() else {
        return false;
    };
    if rest.is_empty() {
        // Of a name that is there twice the last value counts.
        if matches!(object.get(key), Some(Value::Object(_))) {
            return false;
        }
        object.insert(key.clone(), value);
        return true;
    }
    match object
        .entry(key.clone())
        .or_insert_with(|| Value::Object(ObjectMap::new()))
    {
        Value::Object(inner) => place(inner, rest, value),
        _ => false,
    }
}

fn find<'v>(object: &'v ObjectMap, path: &[KeyString]) -> Option<&'v Value> {
    let (key, rest) = path.split_first()?;
    match (object.get(key)?, rest.is_empty()) {
        (value, true) => Some(value),
        (Value::Object(inner), false) => find(inner, rest),
        _ => None,
    }
}

/// Removes what is under a path, and the objects that are empty then.
fn take(object: &mut ObjectMap, path: &[KeyString]) {
    let Some((key, rest)) = path.split_first() else {
        return;
    };
    if rest.is_empty() {
        object.remove(key);
        return;
    }
    if let Some(Value::Object(inner)) = object.get_mut(key) {
        take(inner, rest);
        if inner.is_empty() {
            object.remove(key);
        }
    }
}

/// Objects become names with dots, so that what a program adds looks like what we add.
fn write_new(document: &mut Document, name: &str, value: &Value) {
    match value {
        Value::Object(inner) if !inner.is_empty() => {
            for (key, value) in inner {
                write_new(document, &format!("{name}.{key}"), value);
            }
        }
        value => set(document, name, value),
    }
}

fn set(document: &mut Document, name: &str, value: &Value) {
    if let Ok(json) = serde_json::to_string(value)
        && let Ok(raw) = serde_json::from_str::<&RawValue>(&json)
    {
        document.set(name, raw);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tried::{run, step};

    fn vrl(program: &str) -> String {
        serde_json::json!({ "vrl": program }).to_string()
    }

    #[test]
    fn a_program_changes_what_it_names_and_nothing_else() {
        for (program, document, expected) in [
            (
                ".status = to_int!(.status)",
                r#"{"n":0.470,"status":"200","o":{"x": 1.50}}"#,
                r#"{"n":0.470,"status":200,"o":{"x": 1.50}}"#,
            ),
            (
                ".log.level = downcase!(.log.level); .http.code = 5; del(.gone.one)",
                r#"{"log.level":"WARN","log.file.path":"/x","gone.one":1,"gone.two":2}"#,
                r#"{"log.level":"warn","log.file.path":"/x","gone.two":2,"http.code":5}"#,
            ),
            (
                ".o.y = .a.b",
                r#"{"o":{"x":1},"a":1,"a.b":2,"big":123456789012345678901234567890}"#,
                r#"{"o":{"x":1,"y":null},"a":1,"a.b":2,"big":123456789012345678901234567890}"#,
            ),
            (
                ". |= object!(parse_json!(.message))",
                r#"{"message":"{\"user\":{\"name\":\"ada\"},\"t\":1}"}"#,
                r#"{"message":"{\"user\":{\"name\":\"ada\"},\"t\":1}","t":1,"user.name":"ada"}"#,
            ),
        ] {
            assert_eq!(
                run(&vrl(program), document).as_deref(),
                Ok(expected),
                "{program}"
            );
        }
    }

    #[test]
    fn a_program_may_drop_fail_or_run_too_long() {
        assert_eq!(
            run(&vrl("if .a == 1 { abort }"), r#"{"a":1}"#).unwrap_err(),
            "dropped: vrl_abort"
        );
        let failed = run(&vrl(".a = to_int!(.a)"), r#"{"a":"x"}"#).unwrap_err();
        assert!(failed.starts_with("vrl_failed: "), "{failed}");
        let whole = run(&vrl(". = 1"), "{}").unwrap_err();
        assert!(whole.starts_with("vrl_no_object"), "{whole}");
        let numbers: Vec<u32> = (0..400).collect();
        let document = serde_json::json!({ "l": numbers }).to_string();
        let program =
            "for_each(array!(.l)) -> |_i, _x| { for_each(array!(.l)) -> |_j, y| { .s = y } }";
        let long = run(&vrl(program), &document).unwrap_err();
        assert!(long.starts_with("vrl_too_long"), "{long}");
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        for (program, part) in [
            (".a = 1\n.b = to_int(.c)", "line 2, column 6: "),
            (".a = nope(.b)", "line 1, column 6: "),
            (".a = get_env_var!(\"HOME\")", "get_env_var"),
            (".a = dns_lookup!(\"x\")", "dns_lookup"),
            (".a = decode_gzip!(.b)", "decode_gzip"),
            (".a = ", "line 1"),
        ] {
            let problem = step(&vrl(program)).err().unwrap();
            assert!(problem.contains(part), "{program}: {problem}");
            assert!(!problem.contains('\n'), "{problem}");
        }
    }
}
