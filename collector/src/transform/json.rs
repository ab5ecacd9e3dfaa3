//! Reads a field that holds a JSON object into fields of its own.
