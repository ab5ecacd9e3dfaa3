//! Scripts of aggregations: the arithmetic among them is supported, everything else is a `script_exception`.

use http::StatusCode;
use regex::Regex;
use serde_json::Value;

use crate::elastic::error::{Cause, ElasticError};
use crate::logs::aggregate::Expression;

use super::body::{Body, lenient_number};

/// The source of a script and the numbers among its parameters.
struct Script {
    source: String,
    params: Vec<(String, f64)>,
}

/// The script of a pipeline; every name in it must be one of `names`.
pub(super) fn parse(body: &Body<'_>, names: &[&str]) -> Result<Expression, ElasticError> {
    let script = read(body)?.ok_or_else(|| body.invalid("script", "is needed"))?;
    compile(&script, names)
}

/// The script of a metric: arithmetic over `_value`, or over one field as `doc['field'].value`.
///
/// Answers the expression over `_value`, and the field when the script names it.
pub(super) fn parse_metric(
    body: &Body<'_>,
) -> Result<Option<(Expression, Option<String>)>, ElasticError> {
    let Some(mut script) = read(body)? else {
        return Ok(None);
    };
    let is_plain_value = script.source.trim() == "_value";
    if is_plain_value {
        return Ok(None);
    }
    let doc_value = Regex::new(r#"doc\[\s*(?:'([^']+)'|"([^"]+)")\s*\]\.value"#)
        .expect("a constant pattern is valid");
    let mut field: Option<String> = None;
    for found in doc_value.captures_iter(&script.source) {
        let name = found
            .get(1)
            .or(found.get(2))
            .map_or("", |name| name.as_str());
        if field.as_deref().is_some_and(|known| known != name) {
            return Err(error(
                &script.source,
                "only one field can be used in a script",
            ));
        }
        field = Some(name.to_owned());
    }
    if field.is_some() {
        script.source = doc_value.replace_all(&script.source, "_value").into_owned();
    }
    let expression = compile(&script, &["_value"])?;
    Ok(Some((expression, field)))
}

/// A text, or `{"source"|"inline":…,"lang":…,"params":{…}}`; empty texts and objects are none.
fn read(body: &Body<'_>) -> Result<Option<Script>, ElasticError> {
    let script = match body.value("script") {
        None => return Ok(None),
        Some(Value::String(source)) => Script {
            source: source.clone(),
            params: Vec::new(),
        },
        Some(Value::Object(map)) => {
            let source = map.get("source").or_else(|| map.get("inline"));
            let Some(Value::String(source)) = source else {
                return match map.is_empty() {
                    true => Ok(None),
                    false => Err(body.invalid("script", "must have a [source]")),
                };
            };
            let params = map.get("params").and_then(Value::as_object);
            let numbers = params
                .into_iter()
                .flatten()
                .filter_map(|(name, value)| Some((name.clone(), lenient_number(value)?)));
            Script {
                source: source.clone(),
                params: numbers.collect(),
            }
        }
        Some(_) => return Err(body.invalid("script", "must be a text or an object")),
    };
    Ok(Some(script).filter(|script| !script.source.trim().is_empty()))
}

fn compile(script: &Script, names: &[&str]) -> Result<Expression, ElasticError> {
    let expression = Expression::parse(&script.source, &script.params)
        .map_err(|problem| error(&script.source, &problem.to_string()))?;
    let mut unknown = expression
        .names()
        .iter()
        .filter(|name| !names.contains(&name.as_str()));
    match unknown.next() {
        None => Ok(expression),
        Some(name) => {
            let problem = format!("cannot resolve symbol [{name}]");
            Err(error(&script.source, &problem))
        }
    }
}

fn error(source: &str, problem: &str) -> ElasticError {
    let shown: String = source.chars().take(256).collect();
    ElasticError::cause(
        StatusCode::BAD_REQUEST,
        Cause::new("script_exception", "compile error")
            .with("script", shown)
            .with("lang", "painless")
            .caused_by(Cause::new("illegal_argument_exception", problem)),
    )
}
