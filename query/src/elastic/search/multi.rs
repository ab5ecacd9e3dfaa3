//! `_msearch`: pairs of lines, a header that says where to search and a body that says what.

use serde_json::{Map, Value};

use super::request::parse_body;
use crate::elastic::error::ElasticError;
use crate::elastic::language::lenient;
use crate::elastic::target::TargetOptions;

/// The most searches of one request; a dashboard has some dozens.
const SEARCHES_MAX: usize = 1024;

/// One search of several.
pub(super) struct Item {
    /// Where; empty is everywhere.
    pub expression: String,
    pub options: TargetOptions,
    /// What, or why it cannot be read: one search's mistake is not the others'.
    pub body: Result<Map<String, Value>, ElasticError>,
}

/// Cuts a body into its searches. `expression` holds for headers that name no index.
///
/// # Errors
/// 400 for a header that is no JSON object, or has a value it cannot have, and for a last header without a body.
pub(super) fn parse(
    body: &[u8],
    expression: &str,
    options: TargetOptions,
) -> Result<Vec<Item>, ElasticError> {
    let mut items = Vec::new();
    let mut lines = body.split(|byte| *byte == b'\n');
    while let Some(header) = lines.next() {
        let is_blank = header.iter().all(u8::is_ascii_whitespace);
        let Some(search) = lines.next() else {
            // What is behind the last newline.
            if is_blank {
                break;
            }
            return Err(malformed("the last header has no body behind it"));
        };
        let search_is_blank = search.iter().all(u8::is_ascii_whitespace);
        if is_blank && search_is_blank {
            continue;
        }
        if items.len() == SEARCHES_MAX {
            return Err(malformed(&format!("more than {SEARCHES_MAX} searches")));
        }
        let header = parse_body(header)?;
        items.push(item(&header, search, expression, options)?);
    }
    if items.is_empty() {
        return Err(ElasticError::validation("no requests added"));
    }
    Ok(items)
}

fn item(
    header: &Map<String, Value>,
    search: &[u8],
    expression: &str,
    mut options: TargetOptions,
) -> Result<Item, ElasticError> {
    let index = header.get("index").or_else(|| header.get("indices"));
    let expression = match index {
        None | Some(Value::Null) => expression.to_owned(),
        Some(index) => lenient::texts(index)
            .ok_or_else(|| malformed(&format!("[index] must be a text or a list, but is {index}")))?
            .join(","),
    };
    if let Some(words) = header.get("expand_wildcards").and_then(lenient::texts) {
        options = options.expand_wildcards(&words.join(","))?;
    }
    let flag = |name: &str, default: bool| match header.get(name) {
        None | Some(Value::Null) => Ok(default),
        Some(value) => lenient::boolean(value)
            .ok_or_else(|| malformed(&format!("[{name}] must be true or false, but is {value}"))),
    };
    options.ignore_unavailable = flag("ignore_unavailable", options.ignore_unavailable)?;
    options.allow_no_indices = flag("allow_no_indices", options.allow_no_indices)?;
    Ok(Item {
        expression,
        options,
        body: parse_body(search),
    })
}

fn malformed(problem: &str) -> ElasticError {
    ElasticError::illegal_argument(format!("Malformed _msearch body: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(body: &str) -> Result<Vec<Item>, ElasticError> {
        parse(body.as_bytes(), "logs", TargetOptions::default())
    }

    #[test]
    fn headers_come_in_all_the_forms_clients_use() {
        let body = concat!(
            "{\"ignore_unavailable\":true,\"index\":\"a,b\",\"search_type\":\"query_then_fetch\"}\n{\"size\":0}\n",
            "{\"index\":[\"c\",\"d*\"]}\r\n{}\r\n",
            "{}\n{}\n",
            "\n{\"size\":1}\n",
            "{\"index\":\"\"}\n{}",
        );
        let items = parse_text(body).unwrap();
        let expressions: Vec<&str> = items.iter().map(|item| item.expression.as_str()).collect();
        assert_eq!(expressions, ["a,b", "c,d*", "logs", "logs", ""]);
        assert!(items[0].options.ignore_unavailable);
        assert!(!items[1].options.ignore_unavailable);
        assert!(items.iter().all(|item| item.body.is_ok()));
    }

    #[test]
    fn a_broken_body_is_one_searchs_mistake_and_a_broken_header_the_requests() {
        let items = parse_text("{}\n{\"size\":\n{}\n{}\n").unwrap();
        assert!(items[0].body.is_err() && items[1].body.is_ok());
        for body in [
            "{\n{}\n",
            "[]\n{}\n",
            "{}",
            "{\"index\":{}}\n{}\n",
            "",
            "\n\n",
        ] {
            assert!(parse_text(body).is_err(), "{body:?}");
        }
    }
}
