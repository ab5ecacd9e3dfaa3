//! The hits inside a `top_hits` aggregation.

use serde_json::Value;

use super::reply::write_top_hit;
use crate::logs::aggregate::{SortValue, TopEntry};

/// Writes one of them; `body` is that of the aggregation.
pub(super) fn render(entry: &TopEntry, body: &Value) -> String {
    let Some(top) = &entry.hit else {
        return "{}".to_owned();
    };
    let is_sorted = body.get("sort").is_some_and(|sort| !sort.is_null());
    let sort = match is_sorted {
        true => {
            let values: Vec<Value> = entry.sort.iter().map(value).collect();
            Value::from(values).to_string()
        }
        false => String::new(),
    };
    write_top_hit(&top.index, &top.hit, &sort, body)
}

fn value(value: &Option<SortValue>) -> Value {
    match value {
        None => Value::Null,
        Some(SortValue::Integer(number) | SortValue::Time(number)) => Value::from(*number),
        Some(SortValue::Float(number)) => Value::from(*number),
        Some(SortValue::Bool(truth)) => Value::from(*truth),
        Some(SortValue::Text(text)) => Value::from(&**text),
    }
}
