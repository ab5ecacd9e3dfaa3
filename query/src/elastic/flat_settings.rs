//! Settings as clients write them: nested (`{"index":{"blocks":{"write":true}}}`) or flat (`{"index.blocks.write":true}`).

use serde_json::{Map, Value};

/// Deeper than this an object is taken as one value: no setting of Elasticsearch is.
const DEPTH_MAX: usize = 16;

/// Every value under its dotted name, as text where Elasticsearch gives text; a null stays, it means "remove".
pub(super) fn flatten(settings: &Value) -> Map<String, Value> {
    let mut flat = Map::new();
    if let Value::Object(fields) = settings {
        flatten_into("", fields, 0, &mut flat);
    }
    flat
}

fn flatten_into(
    prefix: &str,
    fields: &Map<String, Value>,
    depth: usize,
    flat: &mut Map<String, Value>,
) {
    for (name, value) in fields {
        let path = match prefix {
            "" => name.clone(),
            prefix => format!("{prefix}.{name}"),
        };
        match value {
            Value::Object(below) if depth < DEPTH_MAX => {
                flatten_into(&path, below, depth + 1, flat);
            }
            Value::Bool(_) | Value::Number(_) => {
                flat.insert(path, Value::String(value.to_string()));
            }
            value => {
                flat.insert(path, value.clone());
            }
        }
    }
}

/// Puts `changes` over `settings`; a null takes a setting away. Both flat.
pub(super) fn merge(settings: &mut Map<String, Value>, changes: Map<String, Value>) {
    for (name, value) in changes {
        if value.is_null() {
            settings.shift_remove(&name);
        } else {
            settings.insert(name, value);
        }
    }
}

/// The nested form of flat settings. Where a name is both a value and a parent, the longer name stays flat.
pub(super) fn nest(flat: &Map<String, Value>) -> Value {
    let mut nested = Map::new();
    for (name, value) in flat {
        insert(&mut nested, name, value, 0);
    }
    Value::Object(nested)
}

fn insert(into: &mut Map<String, Value>, name: &str, value: &Value, depth: usize) {
    let parent = name.split_once('.').filter(|_| depth < DEPTH_MAX);
    let Some((head, tail)) = parent else {
        into.insert(name.to_owned(), value.clone());
        return;
    };
    let below = into
        .entry(head)
        .or_insert_with(|| Value::Object(Map::new()));
    match below {
        Value::Object(below) => insert(below, tail, value, depth + 1),
        _ => {
            into.insert(name.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_spellings_mean_the_same() {
        let nested =
            json!({"index": {"blocks": {"write": true}, "number_of_shards": 1, "list": ["a"]}});
        let flat = flatten(&nested);
        assert_eq!(
            Value::Object(flat.clone()),
            json!({"index.blocks.write": "true", "index.number_of_shards": "1", "index.list": ["a"]})
        );
        assert_eq!(
            nest(&flat),
            json!({"index": {"blocks": {"write": "true"}, "number_of_shards": "1", "list": ["a"]}})
        );
        assert_eq!(flatten(&nest(&flat)), flat);
    }

    #[test]
    fn a_null_takes_a_setting_away() {
        let mut settings = flatten(&json!({"a": {"b": 1, "c": 2}}));
        merge(&mut settings, flatten(&json!({"a.b": null, "a": {"d": 3}})));
        assert_eq!(Value::Object(settings), json!({"a.c": "2", "a.d": "3"}));
    }

    #[test]
    fn a_value_that_is_also_a_parent_loses_nothing() {
        let flat = flatten(&json!({"a": "x", "a.b": "y"}));
        assert_eq!(nest(&flat), json!({"a": "x", "a.b": "y"}));
    }
}
