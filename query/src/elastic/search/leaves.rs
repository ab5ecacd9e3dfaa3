//! The values of a stored document by dotted path, as the sender spelled them.

use event::Document;
use serde_json::value::RawValue;

/// Levels of nesting that are looked into; what lies deeper is left out of `fields` and `highlight`.
const DEPTH_MAX: usize = 128;

/// Calls `visit` with the dotted path and the JSON text of every value that is no object, array or null, in order.
pub(super) fn visit_leaves(source: &[u8], visit: &mut dyn FnMut(&str, &str)) {
    if let Ok(document) = Document::parse(source) {
        let mut path = String::new();
        object(&document, &mut path, 0, visit);
    }
}

fn object(document: &Document, path: &mut String, depth: usize, visit: &mut dyn FnMut(&str, &str)) {
    for (name, field) in document.fields() {
        let length = path.len();
        if length > 0 {
            path.push('.');
        }
        path.push_str(name);
        value(field, path, depth + 1, visit);
        path.truncate(length);
    }
}

fn value(raw: &str, path: &mut String, depth: usize, visit: &mut dyn FnMut(&str, &str)) {
    match raw.as_bytes().first() {
        Some(b'{') if depth < DEPTH_MAX => {
            if let Ok(document) = Document::parse(raw.as_bytes()) {
                object(&document, path, depth, visit);
            }
        }
        Some(b'[') if depth < DEPTH_MAX => {
            if let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(raw) {
                for element in elements {
                    value(element.get(), path, depth + 1, visit);
                }
            }
        }
        Some(b'{' | b'[' | b'n') | None => {}
        Some(_) => visit(path, raw),
    }
}
