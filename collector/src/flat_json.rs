//! The text of one flat JSON object, written field by field to the end of a buffer, for sources that make their
//! documents themselves.

/// Writes a string value with its quotes.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string is written to memory");
}

/// Writes `,"name":"value"`. The name is one of ours: nothing in it needs an escape.
pub fn push_field(out: &mut Vec<u8>, name: &str, value: &str) {
    push_name(out, name);
    push_string(out, value);
}

/// Writes `,"name":value`, where the value is the text of a JSON value. The name is one of ours.
pub fn push_raw_field(out: &mut Vec<u8>, name: &str, json: &str) {
    push_name(out, name);
    out.extend_from_slice(json.as_bytes());
}

/// Writes `,"name":value`, where the name is a sender's and the value the text of a JSON value.
pub fn push_sent_field(out: &mut Vec<u8>, name: &str, json: &str) {
    out.push(b',');
    push_string(out, name);
    out.push(b':');
    out.extend_from_slice(json.as_bytes());
}

fn push_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}
