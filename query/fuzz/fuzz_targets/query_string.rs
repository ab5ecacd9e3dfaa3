//! Any text is a query or is refused with a reason; the parser neither panics nor recurses without bound.

#![no_main]

use event::Timestamp;
use libfuzzer_sys::fuzz_target;
use query::elastic::language::dsl::{QueryContext, parse};
use serde_json::json;

fuzz_target!(|text: &str| {
    let context = QueryContext {
        now: Timestamp::from_nanos(0),
    };
    for kind in ["query_string", "simple_query_string"] {
        let query = json!({ kind: { "query": text } });
        if let Err(error) = parse(&query, &context) {
            assert!(!error.to_string().is_empty());
        }
    }
});
